"""PPO of AgileRL learns to drive. Needs `pip install "gigaflow-env[agilerl]"`.

AgileRL steps the vector environment as it is. What it collects holds rows of agents that wait for a place, too: their reward
is 0, and they are few.
"""

import argparse
import time

import gymnasium
import numpy as np
import torch
from agilerl.algorithms.ppo import PPO
from agilerl.rollouts.on_policy import collect_rollouts

import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)
from gigaflow_env.bench.easy import CONFIG, MAP, rates

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=300_000, help="agent steps to learn from")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

rows, length = 128, 32
torch.set_num_threads(1)
torch.manual_seed(args.seed)
np.random.seed(args.seed)
env = gymnasium.make_vec("GigaFlow-v0", num_envs=rows, map=MAP, config=CONFIG)
agent = PPO(
    env.single_observation_space, env.single_action_space, num_envs=rows, learn_step=rows * length, batch_size=512,
    update_epochs=8, lr=1e-3, gamma=0.97, ent_coef=0.005, net_config={"encoder_config": {"hidden_size": [128, 128]}},
)  # fmt: skip


def act(observations: np.ndarray) -> np.ndarray:
    return agent.get_action(observations)[0]


before, began = rates(act), time.perf_counter()
obs, info = env.reset(seed=args.seed)
done, scores = np.zeros(rows), np.zeros(rows)
turns = max(1, args.steps // (rows * length))
for _ in range(turns):
    _, obs, done, scores, info = collect_rollouts(
        agent, env, last_obs=obs, last_done=done, last_scores=scores, last_info=info
    )  # fmt: skip
    agent.learn()
env.close()

seconds = time.perf_counter() - began
print(f"{turns * rows * length} steps in {seconds:.0f} s; before: {before}; after: {rates(act)}")
