"""Driving: the policy acts for some steps, everything lands in tensors which are allocated once.

What happens is a grid (steps, rows). What is large, the observations, is kept only of the rows that the policy drives, one
after another: with the paper's population half of the rows are empty at any time.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gigaflow_train.actions import KINDS, Kind
from gigaflow_train.evaluate.metrics import Tally, ages_of, count, total
from gigaflow_train.opponents import Opponent
from gigaflow_train.threads import ALONE, Team

USED = (
    "active", "erratic", "traffic", "collision", "offroad", "red_light", "goal", "route_done", "timeout", "distance",
    "final_obs", "_episode",
)  # fmt: skip
"""Entries of the step's info that are arrays by row."""


_REBUILDING = threading.Lock()
"""States are unpacked in one place, by all threads of the environment: one part of a minibatch after another."""


class Storage(NamedTuple):
    """T steps of N rows. The grid, and the samples: what the policy saw and did, in the order in which it happened."""

    value: Tensor  # (T + 1, N) 0 where the policy doesn't drive
    reward: Tensor  # (T, N), with discount * value of the last observation where an episode was truncated
    ended: Tensor  # bool (T, N)
    obs: Tensor  # (T * N, D): on the CPU, memory that no sample reaches is never touched; (0, D) where states are kept
    cell: Tensor  # int64 (T * N,): where in the grid, step * N + row
    learns: Tensor  # bool (T * N,): not an erratic driver's
    action: Tensor  # (T * N, ...) as it was drawn
    log_prob: Tensor  # (T * N,)
    ages: Tensor  # int64 (2, N) of each row's episode and route, see metrics.Ages: for what is counted
    states: Any = None  # the environment's memory of states instead of observations, see store.py


class Present(NamedTuple):
    """What the environment shows now."""

    obs: Tensor  # (N, D): the environment's own array, which the next step overwrites
    active: Tensor  # bool (N,): with an agent that is no rule-based driver
    rows: Tensor  # int64 (n,): that the policy drives
    learners: Tensor  # bool (N,): to learn from and to count


class Chance(NamedTuple):
    """From which the actions of a rollout are drawn."""

    seed: int
    step: int  # number of the first step among all
    first: int = 0  # number of row 0 among the rows of all processes
    actions: Kind = KINDS["discrete"]

    def action(self, outputs: Tensor, t: int, rows: Tensor) -> Tensor:
        """Actions (n, ...) of some rows in step t of the rollout."""
        return self.actions.draw(outputs, self.actions.noises(self.seed, self.step + t, rows + self.first))


class Driven(NamedTuple):
    """What happened in a rollout, beyond the tensors."""

    samples: int  # in the storage
    tally: Tally
    episodes: int  # of learners, that ended
    episode_return: float  # sum over them, not discounted


class Found(NamedTuple):
    """What an iteration came to, on the host."""

    driven: Driven  # of all processes
    explained: float  # share of the returns' variance that the critic foresaw
    live: int  # samples to learn from
    kept: int
    largest: float  # running largest |advantage|
    threshold: float
    spike: float  # largest |advantage| of this rollout
    learned: dict[str, float]  # figures of the update; none where they aren't known yet
    read_at: float  # [s] when the host had waited for the device
    drove: float  # [s] of the rollout alone; nan where it isn't known


def allocate(
    steps: int,
    rows: int,
    columns: int,
    device: torch.device | str = "cpu",
    seen: torch.dtype = torch.float32,
    actions: Kind = KINDS["discrete"],
    states: Any = None,
) -> Storage:
    """Storage for a rollout; seen: type of the observations in it; states: kept instead of them."""

    def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros(*shape, dtype=dtype, device=device)

    return Storage(
        value=zeros(steps + 1, rows),
        reward=zeros(steps, rows),
        ended=zeros(steps, rows, dtype=torch.bool),
        obs=torch.empty(0 if states is not None else steps * rows, columns, dtype=seen, device=device),
        cell=zeros(steps * rows, dtype=torch.int64),
        learns=zeros(steps * rows, dtype=torch.bool),
        action=zeros(steps * rows, *actions.shape, dtype=actions.dtype),
        log_prob=zeros(steps * rows),
        ages=zeros(2, rows, dtype=torch.int64),
        states=states,
    )


def present(obs: Any, info: Mapping[str, Any], opponents: Sequence[Opponent] = ()) -> Present:
    """What `env.reset`, `env.restore` or `env.step` returned. Rows of opponents are not the policy's.

    Erratic drivers are but traffic: the policy drives them, nobody learns from them. Source: arXiv 2502.03349, App. B.4 (A).
    """
    active, erratic, traffic = (torch.as_tensor(info[name]) for name in ("active", "erratic", "traffic"))
    active = active & ~traffic
    driven = active
    for opponent in opponents:
        driven = driven.index_fill(0, opponent.rows, False)
    return Present(torch.as_tensor(obs), active, driven.nonzero().squeeze(1), driven & ~erratic)


def collect(
    env: Any,
    policy: Any,
    storage: Storage,
    now: Present,
    chance: Chance,
    discount: float,
    opponents: Sequence[Opponent] = (),
    *,
    half: bool = False,
    team: Team = ALONE,
) -> tuple[Present, Driven]:
    """Drive on from `now` and fill the storage.

    env: returns arrays, or tensors on the storage's device; nothing but counts and indices leaves it. half: networks run in
    bfloat16. team: threads that share the rows which act.
    """
    steps, rows = storage.reward.shape
    places, last_obs = [], []  # of truncated episodes
    tallies, episodes, episode_returns = [], [], []
    on_host = storage.obs.device.type == "cpu"
    kind, known = chance.actions, ages_of(env.config, *storage.ages)
    every = torch.zeros(rows, *kind.shape, dtype=kind.dtype, device=storage.obs.device)  # an action for each row
    storage.value.zero_()
    used = 0

    def free() -> Any:
        """Without gradients, and as precise as asked for: both hold in the thread that enters them."""
        modes = ExitStack()
        modes.enter_context(torch.inference_mode())
        modes.enter_context(torch.autocast(storage.obs.device.type, torch.bfloat16, enabled=half))
        return modes

    def act(t: int, now: Present, first: int, part: slice) -> None:
        """Some of the rows act; the storage has places for all of them from `first` on."""
        with free():
            own, new = now.rows[part], slice(first + part.start, first + part.stop)
            seen = storage.obs[new]  # (n, D)
            if storage.states is not None:
                seen = now.obs[own]
            elif seen.dtype == now.obs.dtype:
                torch.index_select(now.obs, 0, own, out=seen)
            else:
                seen.copy_(now.obs[own])
            outputs, value = policy(seen.float())
            action = chance.action(outputs.float(), t, own)  # (n, ...)
            storage.value[t].index_copy_(0, own, value.float())
            storage.action[new] = action
            storage.log_prob[new] = kind.log_prob(outputs.float(), action)
            storage.cell[new] = own + t * rows
            storage.learns[new] = now.learners[own]
            every.index_copy_(0, own, kind.driven(action))

    with free():
        for t in range(steps):
            if storage.states is not None:
                storage.states.keep(t)
            team.each(len(now.rows), partial(act, t, now, used))
            used += len(now.rows)
            for opponent in opponents:
                theirs = opponent.rows[now.active[opponent.rows]]
                outputs, _ = opponent.policy(now.obs[theirs])
                every.index_copy_(0, theirs, kind.driven(chance.action(outputs.float(), t, theirs)))

            obs, reward, terminated, truncated, info = env.step(every.numpy() if on_host else every)
            reward, terminated, truncated = map(torch.as_tensor, (reward, terminated, truncated))
            info = {name: torch.as_tensor(info[name]) for name in USED} | {"r": torch.as_tensor(info["episode"]["r"])}
            storage.reward[t].copy_(reward)
            torch.logical_or(terminated, truncated, out=storage.ended[t])

            # The returned obs is already the next episode's: the value of a time-out is that of `final_obs`.
            cut = (truncated & ~terminated & now.learners).nonzero().squeeze(1)  # waits for the device
            if len(cut):
                places.append(t * rows + cut)
                last_obs.append(info["final_obs"][cut])
            tallies.append(count(known, now.learners, terminated, truncated, info))
            over = info["_episode"] & now.learners
            episodes.append(over.sum())
            episode_returns.append((info["r"] * over).sum())
            now = present(obs, info, opponents)
        if len(now.rows):
            storage.value[steps].index_copy_(0, now.rows, value_of(policy, now.obs[now.rows]))
        if places:
            storage.reward.view(-1).index_add_(0, torch.cat(places), discount * value_of(policy, torch.cat(last_obs)))
    return now, Driven(used, total(tallies), int(sum(episodes)), float(sum(episode_returns)))


def observed(storage: Storage, samples: Tensor) -> Tensor:
    """Observations float32 (n, D) of some samples int64 (n,): those which were kept, or rebuilt from states."""
    if storage.states is None:
        return storage.obs[samples].float()
    with _REBUILDING:
        return torch.from_numpy(storage.states.observe(storage.cell[samples].numpy()))


def value_of(policy: Any, obs: Tensor) -> Tensor:
    """Values (n,) alone; a network that has no `value` runs as a whole."""
    return (policy.value(obs) if hasattr(policy, "value") else policy(obs)[1]).float()
