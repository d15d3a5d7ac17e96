"""PPO in one sheet, on nothing but the environment's public interface: `python examples/train_minimal.py --updates 200`.

Needs `pip install "gigaflow-env[train]"`; with `--video drive.gif` also the extra `render`. Every row is an agent of its
own, so a rollout is a matrix (steps, rows) as with any vector environment. What is left out here, and done by
`gigaflow-train`: the value of an episode that ran out of time, the advantage filter, sets, checkpoints.
"""

import argparse

import gymnasium
import numpy as np
import torch
from torch import nn

import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)


def main(updates: int = 60, rows: int = 256, steps: int = 32, seed: int = 0, video: str = "") -> list[float]:
    """Train a small network; returns the mean return of the episodes that ended in each rollout, nan where none did."""
    torch.manual_seed(seed)
    torch.set_num_threads(1)  # networks this small gain nothing from more
    env = gymnasium.make_vec("GigaFlow-v0", num_envs=rows, map="loop", preset="laptop", copy=False, record_stats=True)
    columns, actions = env.single_observation_space.shape[0], int(env.single_action_space.n)
    actor = nn.Sequential(nn.Linear(columns, 64), nn.Tanh(), nn.Linear(64, actions))
    critic = nn.Sequential(nn.Linear(columns, 64), nn.Tanh(), nn.Linear(64, 1))
    optimizer = torch.optim.Adam([*actor.parameters(), *critic.parameters()], lr=1e-3, eps=1e-5)

    obs = torch.zeros(steps + 1, rows, columns)
    action = torch.zeros(steps, rows, dtype=torch.int64)
    log_prob, reward, going = (torch.zeros(steps, rows) for _ in range(3))
    obs[steps] = torch.from_numpy(env.reset(seed=seed)[0])
    returns = []
    for update in range(updates):
        obs[0] = obs[steps]
        ended = []
        with torch.no_grad():
            for t in range(steps):
                policy = torch.distributions.Categorical(logits=actor(obs[t]))
                action[t] = policy.sample()
                log_prob[t] = policy.log_prob(action[t])
                seen, gained, terminated, truncated, info = env.step(action[t].numpy())
                obs[t + 1], reward[t] = torch.from_numpy(seen), torch.from_numpy(gained)
                going[t] = torch.from_numpy(~(terminated | truncated))
                ended.append(info["episode"]["r"][info["_episode"]].copy())

            value = critic(obs).squeeze(-1)  # (steps + 1, rows)
            advantage, ahead = torch.zeros(steps, rows), torch.zeros(rows)
            for t in reversed(range(steps)):
                delta = reward[t] + 0.99 * going[t] * value[t + 1] - value[t]
                advantage[t] = ahead = delta + 0.99 * 0.95 * going[t] * ahead
            target = (advantage + value[:-1]).flatten()
            advantage = ((advantage - advantage.mean()) / (advantage.std() + 1e-8)).flatten()

        flat_obs, flat_action, flat_log_prob = obs[:-1].flatten(0, 1), action.flatten(), log_prob.flatten()
        for batch in torch.randperm(steps * rows).split(1024) + torch.randperm(steps * rows).split(1024):
            policy = torch.distributions.Categorical(logits=actor(flat_obs[batch]))
            ratio = (policy.log_prob(flat_action[batch]) - flat_log_prob[batch]).exp()
            gain = torch.minimum(ratio * advantage[batch], ratio.clamp(0.8, 1.2) * advantage[batch]).mean()
            miss = (critic(flat_obs[batch]).squeeze(-1) - target[batch]).square().mean()
            loss = 0.25 * miss - gain - 0.01 * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_([*actor.parameters(), *critic.parameters()], 0.5)
            optimizer.step()

        over = np.concatenate(ended)
        returns.append(float(over.mean()) if len(over) else float("nan"))
        if update % 10 == 9:
            print(f"update {update + 1}: {reward.mean():+.4f} reward a step, mean return {np.nanmean(returns[-10:]):+.2f}")
    if video:
        record(env, actor, video)
    env.close()
    return returns


def record(env: gymnasium.vector.VectorEnv, actor: nn.Module, path: str) -> None:
    """A minute of agent 0 of world 0, three times as fast as it is."""
    from gigaflow_env.render import write_video

    def frames():
        seen, _ = env.reset(seed=1)
        for _ in range(round(60 / env.unwrapped.config.dt)):
            yield env.unwrapped.render_world(world=0, agent=0)
            with torch.no_grad():
                chosen = torch.distributions.Categorical(logits=actor(torch.from_numpy(seen))).sample()
            seen, *_ = env.step(chosen.numpy())

    write_video(path, frames(), 3 / env.unwrapped.config.dt)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--video", default="")
    given = parser.parse_args()
    main(given.updates, given.rows, seed=given.seed, video=given.video)
