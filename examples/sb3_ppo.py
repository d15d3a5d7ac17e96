"""PPO of Stable-Baselines3 learns to drive. Needs `pip install "gigaflow-env[sb3]"`.

A plain perceptron, few cars and mild penalties for crashes, so that a minute on a laptop shows something. The package's own
trainer is the one for good drivers.
"""

import argparse
import time

import gymnasium
import torch
from stable_baselines3 import PPO

import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)
from gigaflow_env.adapters.sb3 import SB3VecEnv
from gigaflow_env.bench.easy import CONFIG, MAP, rates

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=400_000, help="agent steps to learn from")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

torch.set_num_threads(1)
env = SB3VecEnv(gymnasium.make_vec("GigaFlow-v0", num_envs=128, map=MAP, config=CONFIG))
model = PPO(
    "MlpPolicy", env, n_steps=32, batch_size=512, n_epochs=8, learning_rate=5e-4, gamma=0.97, ent_coef=0.005,
    seed=args.seed, device="cpu",
)  # fmt: skip


def act(observations):
    return model.predict(observations)[0]


before, began = rates(act), time.perf_counter()
model.learn(args.steps)
env.close()

seconds = time.perf_counter() - began
print(f"{model.num_timesteps} steps in {seconds:.0f} s; before: {before}; after: {rates(act)}")
