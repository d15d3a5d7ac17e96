"""PPO in the manner of CleanRL's `ppo.py`, on all rows at once. Needs `pip install "gigaflow-env[train]"`.

The lines that differ from CleanRL's are marked with `# here`: one makes the environment, two look at the info. Its own copy
with these lines changed works as well.
"""

import argparse
import time

import gymnasium
import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)
from gigaflow_env.bench.easy import CONFIG, MAP, rates

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--steps", type=int, default=400_000, help="agent steps to learn from")
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()
rows, length, gamma, gae_lambda, clip, entropy_coef, value_coef = 128, 32, 0.97, 0.95, 0.2, 0.005, 0.5


def layer(inputs: int, outputs: int, std: float = 2**0.5) -> nn.Linear:
    made = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(made.weight, std)
    nn.init.constant_(made.bias, 0.0)
    return made


torch.manual_seed(args.seed)
torch.set_num_threads(1)
envs = gymnasium.make_vec("GigaFlow-v0", num_envs=rows, map=MAP, config=CONFIG)  # here: no SyncVectorEnv
columns, actions = envs.single_observation_space.shape[0], envs.single_action_space.n
critic = nn.Sequential(layer(columns, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, 1, 1.0))
actor = nn.Sequential(layer(columns, 64), nn.Tanh(), layer(64, 64), nn.Tanh(), layer(64, actions, 0.01))
parameters = [*actor.parameters(), *critic.parameters()]
optimizer = torch.optim.Adam(parameters, lr=5e-4, eps=1e-5)


@torch.no_grad()
def act(observations: np.ndarray) -> np.ndarray:
    return Categorical(logits=actor(torch.from_numpy(observations))).sample().numpy()


before, began = rates(act), time.perf_counter()
obs = torch.zeros(length, rows, columns)
action = torch.zeros(length, rows, dtype=torch.int64)
logprob, reward, done, value, counts = (torch.zeros(length, rows) for _ in range(5))
next_obs, info = envs.reset(seed=args.seed)
next_obs, next_done = torch.from_numpy(next_obs), torch.zeros(rows)
updates = args.steps // (rows * length)
for _ in range(updates):
    for step in range(length):
        obs[step], done[step] = next_obs, next_done
        counts[step] = torch.from_numpy(info["active"] & ~info["traffic"] & ~info["erratic"])  # here: what to learn from
        with torch.no_grad():
            policy, value[step] = Categorical(logits=actor(next_obs)), critic(next_obs).flatten()
        action[step] = policy.sample()
        logprob[step] = policy.log_prob(action[step])
        next_obs, gained, terminated, truncated, info = envs.step(action[step].numpy())
        next_obs, reward[step] = torch.from_numpy(next_obs), torch.from_numpy(gained)
        next_done = torch.from_numpy(terminated | truncated).float()

    with torch.no_grad():
        following, going, last = critic(next_obs).flatten(), 1 - next_done, torch.zeros(rows)
        advantage = torch.zeros(length, rows)
        for step in reversed(range(length)):
            delta = reward[step] + gamma * following * going - value[step]
            advantage[step] = last = delta + gamma * gae_lambda * going * last
            following, going = value[step], 1 - done[step]

    keep = counts.flatten().bool()  # here
    flat = [one.flatten(0, 1)[keep] for one in (obs, action, logprob, advantage, advantage + value)]
    for _ in range(8):
        for batch in torch.randperm(len(flat[0])).split(512):
            b_obs, b_action, b_logprob, b_advantage, b_return = (one[batch] for one in flat)
            policy = Categorical(logits=actor(b_obs))
            ratio = (policy.log_prob(b_action) - b_logprob).exp()
            b_advantage = (b_advantage - b_advantage.mean()) / (b_advantage.std() + 1e-8)
            gain = torch.min(b_advantage * ratio, b_advantage * ratio.clamp(1 - clip, 1 + clip)).mean()
            miss = 0.5 * (critic(b_obs).flatten() - b_return).square().mean()
            loss = value_coef * miss - gain - entropy_coef * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, 0.5)
            optimizer.step()
envs.close()

seconds = time.perf_counter() - began
print(f"{updates * rows * length} steps in {seconds:.0f} s; before: {before}; after: {rates(act)}")
