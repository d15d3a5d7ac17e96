"""Driving: the policy acts for some steps, everything lands in tensors which are allocated once."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gigaflow_train.evaluate.metrics import Tally, count, total
from gigaflow_train.policy import Policy, sample


class Storage(NamedTuple):
    """T steps of N rows; obs, value and active have one more: what the last action led to."""

    obs: Tensor  # (T + 1, N, D)
    active: Tensor  # bool (T + 1, N): the policy acted in the row
    value: Tensor  # (T + 1, N)
    action: Tensor  # int64 (T, N)
    log_prob: Tensor  # (T, N)
    reward: Tensor  # (T, N)
    bootstrap: Tensor  # (T, N) value of the last observation of an episode that was truncated, else 0
    terminated: Tensor  # bool (T, N)
    truncated: Tensor  # bool (T, N)


def allocate(steps: int, rows: int, columns: int) -> Storage:
    return Storage(
        obs=torch.zeros(steps + 1, rows, columns),
        active=torch.zeros(steps + 1, rows, dtype=torch.bool),
        value=torch.zeros(steps + 1, rows),
        action=torch.zeros(steps, rows, dtype=torch.int64),
        log_prob=torch.zeros(steps, rows),
        reward=torch.zeros(steps, rows),
        bootstrap=torch.zeros(steps, rows),
        terminated=torch.zeros(steps, rows, dtype=torch.bool),
        truncated=torch.zeros(steps, rows, dtype=torch.bool),
    )


def acting(info: Mapping[str, Any]) -> np.ndarray:
    """Rows in which the policy acts: they have an agent, and no driver of their own."""
    return info["active"] & ~info["traffic"]


def begin(storage: Storage, obs: np.ndarray, info: Mapping[str, Any]) -> None:
    """Put what `env.reset` returned where `collect` goes on from."""
    storage.obs[-1].copy_(torch.from_numpy(obs))
    storage.active[-1].copy_(torch.from_numpy(acting(info)))


class Driven(NamedTuple):
    """What happened in a rollout, beyond the tensors."""

    tally: Tally
    episodes: int  # that ended
    episode_return: float  # sum over them, not discounted


def collect(env: Any, policy: Policy, storage: Storage, generator: torch.Generator) -> Driven:
    """Drive on from the last observation and fill the storage."""
    steps, rows = storage.action.shape
    storage.obs[0].copy_(storage.obs[-1])
    storage.active[0].copy_(storage.active[-1])
    storage.bootstrap.zero_()
    places, last_obs = [], []  # of truncated episodes
    tallies, episodes, episode_return = [], 0, 0.0
    with torch.inference_mode():
        for t in range(steps):
            logits, storage.value[t] = policy(storage.obs[t])
            action = sample(logits, generator)  # (N,)
            storage.action[t] = action
            storage.log_prob[t] = torch.log_softmax(logits, dim=1).gather(1, action[:, None]).squeeze(1)

            obs, reward, terminated, truncated, info = env.step(action.numpy())
            storage.obs[t + 1].copy_(torch.from_numpy(obs))
            storage.active[t + 1].copy_(torch.from_numpy(acting(info)))
            storage.reward[t].copy_(torch.from_numpy(reward))
            storage.terminated[t].copy_(torch.from_numpy(terminated))
            storage.truncated[t].copy_(torch.from_numpy(truncated))

            # The returned obs is already the next episode's: the value of a time-out is that of `final_obs`.
            cut = np.flatnonzero(truncated & ~terminated)
            if cut.size:
                places.append(torch.from_numpy(t * rows + cut))
                last_obs.append(torch.from_numpy(info["final_obs"][cut]))
            tallies.append(count(storage.active[t].numpy(), terminated, info))
            over = info["_episode"]
            episodes += int(np.count_nonzero(over))
            episode_return += float(info["episode"]["r"][over].sum())
        storage.value[steps] = policy(storage.obs[steps])[1]
        if places:
            storage.bootstrap.view(-1)[torch.cat(places)] = policy(torch.cat(last_obs))[1]
    return Driven(total(tallies), episodes, episode_return)
