"""Random cars in one world, by PettingZoo's parallel interface. Needs `pip install "gigaflow-env[pettingzoo]"`.

PettingZoo is an interface and no trainer: there is nothing to learn here. Each car has a name, and leaves when it crashes.
"""

import argparse

from gigaflow_env.adapters.pettingzoo import parallel_env

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--worlds", type=int, default=5, help="how many, one after the other")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

env = parallel_env(agents=16, map="loop", preset="laptop", max_steps=100)
for number, name in enumerate(env.possible_agents):
    env.action_space(name).seed(args.seed + number)
steps = goals = crashes = 0
for world in range(args.worlds):
    observations, infos = env.reset(seed=args.seed + world)
    while env.agents:
        actions = {name: env.action_space(name).sample() for name in env.agents}
        observations, rewards, terminations, truncations, infos = env.step(actions)
        steps += len(actions)
        goals += sum(info["goal"] for info in infos.values())
        crashes += sum(info["collision"] or info["offroad"] for info in infos.values())
env.close()
print(f"{1000 * goals / steps:.1f} goals and {1000 * crashes / steps:.1f} crashes in 1,000 steps of {steps}")
