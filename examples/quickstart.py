"""256 agents drive through a town at random: how often do they reach their goals, how often do they crash?"""

import gymnasium

env = gymnasium.make_vec("gigaflow_env:GigaFlow-v0", num_envs=256, preset="laptop")
env.action_space.seed(0)
obs, info = env.reset(seed=0)
episodes = goals = crashes = 0
for _ in range(300):
    obs, reward, terminated, truncated, info = env.step(env.action_space.sample())
    episodes += (terminated | truncated).sum()
    goals += info["route_done"].sum()
    crashes += (info["collision"] | info["offroad"]).sum()
print(f"{episodes} episodes: {goals / episodes:.1%} reached their goal, {crashes / episodes:.1%} crashed")
env.close()
