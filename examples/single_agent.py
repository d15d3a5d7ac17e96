"""One car among rule-based traffic, as an ordinary Gymnasium environment: PPO of Stable-Baselines3 learns in it.

Needs `pip install "gigaflow-env[sb3]"`. A minute shows that it works; good drivers take the package's own trainer.
"""

import argparse

import gymnasium
from stable_baselines3 import PPO

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=50_000, help="steps to learn from")
steps = parser.parse_args().steps

env = gymnasium.make(
    "gigaflow_env:GigaFlow-v0", map="loop", preset="laptop", agents_per_world=8, traffic="idm", action="continuous"
)
model = PPO("MlpPolicy", env, n_steps=256, batch_size=256, gamma=0.97, seed=0, device="cpu", verbose=1)
model.learn(steps, log_interval=10)

obs, info = env.reset(seed=1)
way, ended = 0.0, False
while not ended:
    action, _ = model.predict(obs, deterministic=True)
    obs, _, terminated, truncated, info = env.step(action)
    way, ended = way + info["distance"], terminated or truncated
print(f"drove {way:.0f} m; reached the goal: {info['route_done']}, collided: {info['collision']}")
env.close()
