"""PPO of Stable-Baselines3 learns to drive. Needs `pip install "gigaflow-env[sb3]"`.

A plain perceptron and mild penalties for crashes, so that a minute on a laptop shows something: the mean return of an
episode and the share of routes that were completed rise. The package's own trainer is the one for good drivers.
"""

import argparse

import gymnasium
from stable_baselines3 import PPO

from gigaflow_env.adapters.sb3 import SB3VecEnv

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=300_000, help="agent steps to learn from")
steps = parser.parse_args().steps

penalties = {"collision": (0.5, 0.5), "offroad": (0.5, 0.5), "comfort": (0.0, 0.0)}
config = {**penalties, "progress": (0.1, 0.1), "goal_speed": 30.0}
env = gymnasium.make_vec("gigaflow_env:GigaFlow-v0", num_envs=128, preset="laptop", agents_per_world=4, config=config)
model = PPO(
    "MlpPolicy", SB3VecEnv(env), n_steps=32, batch_size=512, n_epochs=8, learning_rate=5e-4, gamma=0.97, ent_coef=0.005,
    seed=0, device="cpu", verbose=1,
)  # fmt: skip
model.learn(steps, log_interval=5)
env.close()
