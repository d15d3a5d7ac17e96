"""An iteration in arrays of fixed shape: what `rollout.collect` and `train.update` do, without a wait for the device.

A rollout's step and a minibatch are functions of tensors which stay where they are. Rows without a driver fill a fixed
number of places up, samples that a minibatch lacks have weight 0, and what would not have a place goes to a bin, the last
entry of an array. Counters are tensors, too. So on a card both are recorded once as CUDA graphs and replayed, and the host
reads once an iteration: how many samples are kept, and with that all figures. The losses it reads are those of the update
before, unless it is asked to wait.

Equal to the plain way but for the order of sums. It keeps observations, and every sample has its place in memory.
"""

import math
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from gigaflow_train import ranks
from gigaflow_train.actions import KINDS
from gigaflow_train.advantage import gae
from gigaflow_train.config import TrainConfig
from gigaflow_train.evaluate.metrics import Tally, ages_of, count
from gigaflow_train.opponents import Opponent
from gigaflow_train.ppo import Batch, Losses, losses
from gigaflow_train.rollout import USED, Driven, Found, Storage, value_of

CUT_SHARE = 16
"""Of T * N steps one in so many may be an episode's truncation, at least two a row: their last observations are kept."""
WARM_UP = 2
"""Calls before a function is recorded, as torch asks for: they load kernels and find workspaces."""


def compact(mask: Tensor, places: int) -> tuple[Tensor, Tensor]:
    """Indices (places,) of what is True, ascending, then 0; and their number (). What finds no place is left out."""
    at = mask.long().cumsum(0) - 1
    at = torch.where(mask & (at < places), at, places)
    out = torch.zeros(places + 1, dtype=torch.int64, device=mask.device)
    out.scatter_(0, at, torch.arange(len(mask), device=mask.device))
    return out[:-1], mask.sum()


def places_for(env: Any) -> int:
    """Places for driven rows: all, or where worlds draw their number of agents, six deviations above the mean."""
    low, high = env.config.agents
    worlds = math.ceil(env.num_envs / env.agents_per_world)
    mean, deviation = worlds * (low + high) / 2, math.sqrt(worlds * ((high - low + 1) ** 2 - 1) / 12)
    return min(env.num_envs, 64 * math.ceil((mean + 6.0 * deviation) / 64))


class Fixed:
    """Rollouts and updates of one run: its arrays, and on a card its graphs. `iterate` is an iteration."""

    def __init__(
        self,
        env: Any,
        policy: Any,
        optimizer: torch.optim.Optimizer,
        config: TrainConfig,
        device: torch.device,
        generator: torch.Generator,
        others: Sequence[Opponent] = (),
    ) -> None:
        self.env, self.policy, self.optimizer, self.config, self.others = env, policy, optimizer, config, others
        self.device, self.generator, self.kind = device, generator, KINDS[config.action]
        self.half = config.precision == "bf16"
        steps, rows, columns = config.rollout, env.num_envs, env.layout.size
        self.steps, self.rows, self.samples = steps, rows, steps * rows
        self.places = places_for(env)
        self.most = min(self.samples, 1 + math.ceil(1.5 * config.minibatch))  # of a minibatch: n / round(n / M) <= 1.5 M

        def zeros(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
            return torch.zeros(shape, dtype=dtype, device=device)

        # One entry more than there are samples: the bin.
        seen = torch.float16 if self.half else torch.float32
        self.value = zeros((steps + 1) * rows + 1)
        self.obs = torch.zeros(self.samples + 1, columns, dtype=seen, device=device)
        self.cell, self.learns = zeros(self.samples + 1, dtype=torch.int64), zeros(self.samples + 1, dtype=torch.bool)
        self.action = zeros(self.samples + 1, *self.kind.shape, dtype=self.kind.dtype)
        self.log_prob = zeros(self.samples + 1)
        self.storage = Storage(
            self.value[:-1].view(steps + 1, rows), zeros(steps, rows), zeros(steps, rows, dtype=torch.bool), self.obs[:-1],
            self.cell[:-1], self.learns[:-1], self.action[:-1], self.log_prob[:-1], zeros(2, rows, dtype=torch.int64),
        )  # fmt: skip
        self.ages = ages_of(env.config, *self.storage.ages)
        self.every = zeros(rows + 1, *self.kind.shape, dtype=self.kind.dtype)
        self.cuts = max(2 * rows, self.samples // CUT_SHARE)
        self.last_obs, self.last_cell = zeros(self.cuts + 1, columns), zeros(self.cuts + 1, dtype=torch.int64)
        self.t, self.number = zeros(1, dtype=torch.int64), zeros(dtype=torch.int64)
        self.used, self.cut, self.missed = (zeros(dtype=torch.int64) for _ in range(3))
        self.sums = zeros(len(Tally._fields) + 2, dtype=torch.float64)  # a tally, episodes and their returns
        self.largest = zeros().fill_(torch.nan)  # nan: none yet

        self.advantage, self.target, self.normalised = (zeros(self.samples) for _ in range(3))
        self.order = zeros(self.samples, dtype=torch.int64)
        self.kept_of = zeros(ranks.count(), dtype=torch.int64)  # of each process
        self.part, self.parts = zeros(dtype=torch.int64), zeros(dtype=torch.int64)
        self.entropy_weight = zeros()
        self.learned, self.updates, self.norm = zeros(len(Losses._fields)), zeros(), zeros()
        self.replays: dict[str, Any] = {}
        self.calls: dict[str, int] = {}
        self.learns_already = False
        self.now: Any = None

    # Driving

    def begin(self, obs: Any, info: Any) -> None:
        """From what `env.reset` or `env.restore` returned. The environment's tensors stay where they are from here on."""
        self.now = self.present(obs, info)

    def present(self, obs: Any, info: Any) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Observations, rows with an agent, rows of the policy, rows to learn from, as `rollout.present` has them."""
        active, erratic, traffic = (torch.as_tensor(info[name]) for name in ("active", "erratic", "traffic"))
        active = active & ~traffic
        driven = active
        for opponent in self.others:
            driven = driven.index_fill(0, opponent.rows, False)
        return torch.as_tensor(obs), active, driven, driven & ~erratic

    def drive(self) -> None:
        """One step of the rollout, as the loop of `rollout.collect`."""
        obs, _, driven, learners = self.now
        kind, seed, first = self.kind, self.config.seed, ranks.rank() * self.rows
        rows, live = compact(driven, self.places)
        k = torch.arange(self.places, device=self.device)
        real = k < live
        self.missed += (live - self.places).clamp_min(0)
        place = torch.where(real, self.used + k, self.samples)
        seen = obs.index_select(0, rows)
        self.obs.index_copy_(0, place, seen.to(self.obs.dtype))
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            outputs, value = self.policy(seen.to(self.obs.dtype).float())
        outputs = outputs.float()
        action = kind.draw(outputs, kind.noises(seed, self.number, rows + first))
        at = self.t * self.rows + rows
        self.value.index_copy_(0, torch.where(real, at, len(self.value) - 1), value.float())
        self.action.index_copy_(0, place, action)
        self.log_prob.index_copy_(0, place, kind.log_prob(outputs, action))
        self.cell.index_copy_(0, place, torch.where(real, at, 0))
        self.learns.index_copy_(0, place, learners.index_select(0, rows) & real)
        self.every.index_copy_(0, torch.where(real, rows, self.rows), kind.driven(action))
        for opponent in self.others:
            outputs, _ = opponent.policy(obs.index_select(0, opponent.rows))
            theirs = kind.draw(outputs.float(), kind.noises(seed, self.number, opponent.rows))
            self.every.index_copy_(0, opponent.rows, kind.driven(theirs))
        self.used += live.clamp_max(self.places)

        actions = self.every[:-1]
        obs, reward, terminated, truncated, info = self.env.step(actions.numpy() if self.device.type == "cpu" else actions)
        reward, terminated, truncated = map(torch.as_tensor, (reward, terminated, truncated))
        info = {name: torch.as_tensor(info[name]) for name in USED} | {"r": torch.as_tensor(info["episode"]["r"])}
        self.storage.reward.index_copy_(0, self.t, reward[None])
        self.storage.ended.index_copy_(0, self.t, (terminated | truncated)[None])
        rows, cut = compact(truncated & ~terminated & learners, self.rows)
        k = torch.arange(self.rows, device=self.device)
        at = torch.where(k < cut, self.cut + k, self.cuts).clamp_max(self.cuts)
        self.last_obs.index_copy_(0, at, info["final_obs"].index_select(0, rows).float())
        self.last_cell.index_copy_(0, at, self.t * self.rows + rows)
        self.cut += cut
        over = info["_episode"] & learners
        counts = [*count(self.ages, learners, terminated, truncated, info), over.sum(), (info["r"] * over).sum()]
        self.sums += torch.stack([number.double() for number in counts])
        # Into the tensors of before, which the next step of a graph reads; the environment's own are the same ones anyway.
        for old, new in zip(self.now, self.present(obs, info), strict=True):
            if old.data_ptr() != new.data_ptr():
                old.copy_(new)
        self.t += 1
        self.number += 1

    def collect(self, number: int) -> None:
        """Drive on and fill the storage; number: of the first step among all."""
        for counter in (self.t, self.used, self.cut, self.missed, self.sums, self.value, self.learns):
            counter.zero_()
        self.number.fill_(number)
        with torch.inference_mode():
            for _ in range(self.steps):
                self.replay("drive", self.drive)
            obs, _, driven, _ = self.now
            rows, live = compact(driven, self.places)
            real = torch.arange(self.places, device=self.device) < live
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
                after = value_of(self.policy, obs.index_select(0, rows))
                last = value_of(self.policy, self.last_obs[:-1])
            self.value.index_copy_(0, torch.where(real, self.samples + rows, len(self.value) - 1), after)
            there = torch.arange(self.cuts, device=self.device) < self.cut
            earned = torch.where(there, self.config.discount * last, 0.0)
            self.storage.reward.view(-1).index_add_(0, torch.where(there, self.last_cell[:-1], 0), earned)

    # Learning

    def filter(self) -> Tensor:
        """Advantages, and which samples are kept, as `advantage.keep_informative`; all figures as one vector float64."""
        config, storage = self.config, self.storage
        grid = gae(storage.reward, storage.value, storage.ended, discount=config.discount, trace=config.trace)
        self.advantage.copy_(grid.view(-1)[self.cell[:-1]])
        torch.add(self.advantage, storage.value.view(-1)[self.cell[:-1]], out=self.target)
        learns = self.learns[:-1]
        size = torch.where(learns, self.advantage.abs(), -1.0)
        spike = ranks.max_(size.max().nan_to_num(nan=torch.inf, posinf=torch.inf))
        running = torch.where(
            self.largest.isnan(), spike, config.filter_rate * spike + (1 - config.filter_rate) * self.largest
        )
        self.largest.copy_(torch.where(spike.isfinite(), running, self.largest))
        threshold = config.filter_share * self.largest
        keep = size >= threshold
        own = learns.sum()
        a = torch.where(learns, self.advantage.double(), 0.0)
        r = torch.where(learns, self.target.double(), 0.0)
        moments = [own, a.sum(), a.square().sum(), r.sum(), r.square().sum(), self.used, keep.sum()]
        sums = torch.cat([torch.stack([number.double() for number in moments]), self.sums])
        sums = ranks.sum_(sums)
        live, kept = sums[0], sums[6]
        # Too few: as many of the largest as there have to be.
        wanted = (config.kept_least * own).round().clamp(1).clamp_max(own).long()
        least = size.sort(descending=True).values.gather(0, (wanted - 1).clamp_min(0)[None])[0].clamp_min(0.0)
        few = kept < (config.kept_least * live).round().clamp(1)
        keep = torch.where(few, size >= least, keep) & learns

        n = keep.sum()
        self.kept_of.zero_()
        self.kept_of[ranks.rank()] = n
        ranks.sum_(self.kept_of)
        exact = torch.where(keep, self.advantage.double(), 0.0)
        total = ranks.sum_(torch.stack([n.double(), exact.sum(), exact.square().sum()]))
        mean = total[1] / total[0]
        deviation = (total[2] / total[0] - mean.square()).clamp_min(0.0).sqrt()
        self.normalised.copy_((self.advantage - mean.float()) / (deviation.float() + 1e-8))
        self.order.copy_(compact(keep, self.samples)[0])
        self.parts.copy_((self.kept_of.sum() / config.minibatch).round().clamp(1))
        learned = self.losses()
        figures = [spike, self.largest, threshold, self.missed, self.cut, self.parts, self.kept_of.sum()]
        return torch.cat([sums, torch.stack([number.double() for number in figures]), learned])

    def minibatch(self) -> None:
        """One step of the optimiser, as the body of `train.update`."""
        config = self.config
        mine = self.kept_of[ranks.rank()]
        low, high = (mine * self.part) // self.parts, (mine * (self.part + 1)) // self.parts
        k = low + torch.arange(self.most, device=self.device)
        weight = (k < high).float()
        chosen = self.order.index_select(0, k.clamp_max(self.samples - 1))
        count = (
            ((self.kept_of * (self.part + 1)) // self.parts - (self.kept_of * self.part) // self.parts).sum().clamp_min(1)
        )
        storage = self.storage
        batch = Batch(
            storage.obs.index_select(0, chosen).float(), storage.action.index_select(0, chosen),
            storage.log_prob.index_select(0, chosen), self.normalised.index_select(0, chosen),
            self.target.index_select(0, chosen),
        )  # fmt: skip
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            outputs, value = self.policy(batch.obs)
        found = losses(
            outputs.float(), value.float(), batch, clip=config.clip, entropy_weight=self.entropy_weight,
            value_weight=config.value_weight, count=count, actions=self.kind, weight=weight,
        )  # fmt: skip
        parameters = list(self.policy.parameters())
        self.optimizer.zero_grad(set_to_none=False)
        found.total.backward()
        ranks.sum_gradients(parameters)
        halves = self.policy.halves() if hasattr(self.policy, "halves") else [parameters]
        norms = [torch.nn.utils.clip_grad_norm_(half, config.gradient_norm) for half in halves]
        self.optimizer.step()
        with torch.no_grad():
            self.learned += torch.stack([part.detach() for part in found])
            self.updates += 1
            self.norm.copy_(torch.stack([self.norm, *norms]).max())
            self.part += 1

    def losses(self) -> Tensor:
        """Means over the minibatches of the last update, and its longest gradient: float64 (7,)."""
        mean = ranks.sum_(self.learned.double()) / self.updates.clamp_min(1.0)
        return torch.cat([mean, self.norm[None].double()])

    def update(self, minibatches: int, entropy_weight: float) -> None:
        """Learn from the samples that `filter` kept, in so many minibatches an epoch."""
        for figure in (self.learned, self.updates, self.norm):
            figure.zero_()
        self.entropy_weight.fill_(entropy_weight)
        places = torch.arange(self.samples, device=self.device)
        mine = self.kept_of[ranks.rank()]
        for _ in range(self.config.epochs):
            key = torch.rand(self.samples, generator=self.generator, device=self.device)
            # Those that are kept first, in an order by chance.
            self.order.copy_(self.order[torch.where(places < mine, key, 2.0).argsort()])
            self.part.zero_()
            for _ in range(minibatches):
                self.replay("minibatch", self.minibatch)

    def iterate(self, number: int, largest: float | None, entropy_weight: float, *, wait: bool) -> Found:
        """Drive, filter, read once, learn. wait: for the update, too, and read its losses."""
        self.largest.fill_(math.nan if largest is None else largest)
        self.collect(number)
        with torch.no_grad():
            read = self.filter().tolist()  # the one wait
        read_at = time.perf_counter()
        sums, figures, learned = read[: 7 + len(self.sums)], read[7 + len(self.sums) : -7], read[-7:]
        live, mean, square, mean_r, square_r, samples, _, *counts = sums
        spike, running, threshold, missed, cut, parts, kept = figures
        if missed or cut > self.cuts:
            raise ValueError(
                f"fixed=True has places for {self.places} driven rows and {self.cuts} truncated episodes: {missed:.0f} rows "
                f"found none, and {cut:.0f} were truncated; give fixed=False"
            )
        known = self.learns_already
        if live and math.isfinite(spike):
            self.update(int(parts), entropy_weight)
            self.learns_already = True
        if wait:
            learned = self.losses().tolist()
            read_at, known = time.perf_counter(), True
        tally = Tally(*(kind(value) for kind, value in zip(map(type, Tally()), counts[:-2], strict=True)))
        unexplained = (square - mean * mean / max(live, 1)) / max(square_r - mean_r * mean_r / max(live, 1), 1e-12)
        return Found(
            Driven(int(samples), tally, int(counts[-2]), counts[-1]), 1.0 - unexplained, int(live), int(kept), running,
            threshold, spike, figures_of(learned) if known else {}, read_at, math.nan,
        )  # fmt: skip

    def replay(self, name: str, function: Callable[[], None]) -> None:
        """Call a function; on a card record it once it is warm, and replay that from then on."""
        if self.device.type != "cuda":
            function()
            return
        if name in self.replays:
            self.replays[name].replay()
            return
        self.calls[name] = self.calls.get(name, 0) + 1
        if self.calls[name] <= WARM_UP:
            side = torch.cuda.Stream(self.device)
            side.wait_stream(torch.cuda.current_stream(self.device))
            with torch.cuda.stream(side):
                function()
            torch.cuda.current_stream(self.device).wait_stream(side)
            return
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph):
            function()
        self.replays[name] = graph
        graph.replay()  # recording does nothing but record


def figures_of(learned: Sequence[float]) -> dict[str, float]:
    """The losses' means and the longest gradient, by the names of the journal."""
    _, policy, value, entropy, kl, clipped, norm = learned
    return {
        "policy_loss": policy, "value_loss": value, "entropy": entropy, "kl": kl, "clipped": clipped, "gradient": norm,
    }  # fmt: skip
