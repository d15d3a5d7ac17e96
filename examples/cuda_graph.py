"""Drive on a CUDA device without leaving it: tensors in and out, and a step is one launch of a graph.

Needs a card, and `pip install "gigaflow-env[train,cuda13]"`, or cuda12.
"""

import time

import gymnasium
import torch

import gigaflow_env  # registers GigaFlow-v0

ROWS, WARM, STEPS = 65_536, 10, 200

env = gymnasium.make_vec("GigaFlow-v0", num_envs=ROWS, map="downtown", backend="cuda", output="torch", copy=False)
env.unwrapped.capture()
obs, info = env.reset(seed=0)
actions = torch.empty(ROWS, dtype=torch.int64, device=obs.device)
goals = torch.zeros((), device=obs.device)
for step in range(WARM + STEPS):
    if step == WARM:  # by now kernels are compiled and the graph is recorded
        torch.cuda.synchronize()
        start = time.perf_counter()
    actions.random_(gigaflow_env.ACTIONS)  # your policy goes here
    obs, reward, terminated, truncated, info = env.step(actions)
    goals += info["goal"].sum()
torch.cuda.synchronize()
rate = STEPS * ROWS / (time.perf_counter() - start)
print(f"{rate:.3g} agent-steps/s, {goals.item():.0f} goals reached by chance on {torch.cuda.get_device_name()}")
env.close()
