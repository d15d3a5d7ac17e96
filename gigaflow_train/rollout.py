"""Driving: the policy acts for some steps, everything lands in tensors which are allocated once."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gigaflow_train.evaluate.metrics import Tally, count, total
from gigaflow_train.policy import Policy, sample

USED = (
    "active", "erratic", "traffic", "collision", "offroad", "red_light", "goal", "route_done", "timeout", "distance",
    "final_obs", "_episode",
)  # fmt: skip
"""Entries of the step's info that are arrays by row."""


class Storage(NamedTuple):
    """T steps of N rows; obs, value and active have one more: what the last action led to."""

    obs: Tensor  # (T + 1, N, D)
    active: Tensor  # bool (T + 1, N): the row was there to act, and to learn from
    value: Tensor  # (T + 1, N)
    action: Tensor  # int64 (T, N)
    log_prob: Tensor  # (T, N)
    reward: Tensor  # (T, N)
    bootstrap: Tensor  # (T, N) value of the last observation of an episode that was truncated, else 0
    terminated: Tensor  # bool (T, N)
    truncated: Tensor  # bool (T, N)


def allocate(steps: int, rows: int, columns: int, device: torch.device | str = "cpu") -> Storage:
    def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(*shape, dtype=dtype, device=device)

    return Storage(
        obs=zeros(steps + 1, rows, columns),
        active=zeros(steps + 1, rows, dtype=torch.bool),
        value=zeros(steps + 1, rows),
        action=zeros(steps, rows, dtype=torch.int64),
        log_prob=zeros(steps, rows),
        reward=zeros(steps, rows),
        bootstrap=zeros(steps, rows),
        terminated=zeros(steps, rows, dtype=torch.bool),
        truncated=zeros(steps, rows, dtype=torch.bool),
    )


def begin(storage: Storage, obs: Any, info: Mapping[str, Any]) -> None:
    """Put what `env.reset` returned where `collect` goes on from."""
    storage.obs[-1].copy_(torch.as_tensor(obs))
    storage.active[-1].copy_(learners(info))


def learners(info: Mapping[str, Any]) -> Tensor:
    """Rows to learn from and to count, bool (N,): they have an agent, the policy drives it, and it is not erratic.

    Source: arXiv 2502.03349, App. B.4: erratic drivers are but traffic (A).
    """
    active, erratic, traffic = (torch.as_tensor(info[name]) for name in ("active", "erratic", "traffic"))
    return active & ~erratic & ~traffic


class Driven(NamedTuple):
    """What happened in a rollout, beyond the tensors."""

    tally: Tally
    episodes: int  # that ended
    episode_return: float  # sum over them, not discounted


def collect(env: Any, policy: Policy, storage: Storage, generator: torch.Generator) -> Driven:
    """Drive on from the last observation and fill the storage.

    env: returns arrays, or tensors on the storage's device; nothing but counts and indices leaves it.
    """
    steps, rows = storage.action.shape
    storage.obs[0].copy_(storage.obs[-1])
    storage.active[0].copy_(storage.active[-1])
    storage.bootstrap.zero_()
    places, last_obs = [], []  # of truncated episodes
    tallies, episodes, episode_returns = [], [], []
    on_host = storage.obs.device.type == "cpu"
    with torch.inference_mode():
        for t in range(steps):
            logits, storage.value[t] = policy(storage.obs[t])
            action = sample(logits, generator)  # (N,)
            storage.action[t] = action
            storage.log_prob[t] = torch.log_softmax(logits, dim=1).gather(1, action[:, None]).squeeze(1)

            obs, *outcome, info = env.step(action.numpy() if on_host else action)
            info = {name: torch.as_tensor(info[name]) for name in USED} | {"r": torch.as_tensor(info["episode"]["r"])}
            storage.obs[t + 1].copy_(torch.as_tensor(obs))
            storage.active[t + 1].copy_(learners(info))
            for kept, new in zip((storage.reward, storage.terminated, storage.truncated), outcome, strict=True):
                kept[t].copy_(torch.as_tensor(new))

            # The returned obs is already the next episode's: the value of a time-out is that of `final_obs`.
            cut = (storage.truncated[t] & ~storage.terminated[t]).nonzero().squeeze(1)  # waits for the device
            if len(cut):
                places.append(t * rows + cut)
                last_obs.append(info["final_obs"][cut])
            tallies.append(count(storage.active[t], storage.terminated[t], info))
            episodes.append(info["_episode"].sum())
            episode_returns.append((info["r"] * info["_episode"]).sum())
        storage.value[steps] = policy(storage.obs[steps])[1]
        if places:
            storage.bootstrap.view(-1)[torch.cat(places)] = policy(torch.cat(last_obs))[1]
    return Driven(total(tallies), int(sum(episodes)), float(sum(episode_returns)))
