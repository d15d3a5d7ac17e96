"""The training loop, top to bottom: drive, estimate advantages, drop what teaches nothing, learn, write down."""

import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gigaflow_env.memory import fitting
from gigaflow_train import checkpoint, opponents, ranks
from gigaflow_train.actions import KINDS
from gigaflow_train.advantage import gae, keep_informative
from gigaflow_train.checkpoint import Progress
from gigaflow_train.config import TrainConfig
from gigaflow_train.evaluate.held_out import evaluate
from gigaflow_train.evaluate.metrics import Tally
from gigaflow_train.fixed import Fixed, figures_of
from gigaflow_train.interrupts import interruptible
from gigaflow_train.journal import Journal, Row
from gigaflow_train.networks import build
from gigaflow_train.opponents import Opponent
from gigaflow_train.policy import MEASURED_AT_ONCE, NormalisedLinear
from gigaflow_train.ppo import Batch, Losses, losses, normalise
from gigaflow_train.rollout import Chance, Driven, Found, Present, Storage, allocate, collect, observed, present
from gigaflow_train.store import states_for
from gigaflow_train.threads import ALONE, Team, add_gradients, team_for

MEASURED = 4
"""Rollouts of the untrained policy that the normaliser is fitted to, each in worlds of its own: one shows too few."""

APART = 1_000_003
"""Between the seeds of two processes' worlds."""


class NotFinite(RuntimeError):
    """Training has come to a number that is infinite or not a number; the message names the iteration and what it was."""


def train(
    env: Any,
    config: TrainConfig,
    directory: Path,
    *,
    resume: bool = False,
    held_out: Any = None,
    show: Callable[[Row], None] = lambda row: None,
    say: Callable[[str], None] = lambda line: None,
) -> Row:
    """Train a policy until a budget is spent or Ctrl-C or SIGTERM comes, and return the last row of the journal.

    env: GigaFlow vector environment, SameStep; the learner works where its observations are. directory: for checkpoint,
    journal and TensorBoard files; made if needed. held_out: environment of the evaluations, see `config.eval_every`.
    show gets a row after every iteration, say a line where something is worth telling.
    Raises ValueError where nobody is there to learn from, NotFinite where a loss, advantage or gradient is not finite; the
    last checkpoint stays.
    """
    directory.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(config.seed)
    worlds = config.seed + APART * ranks.rank()  # each process has worlds and an order of samples of its own
    obs, info = env.reset(seed=worlds)
    device = torch.as_tensor(obs).device
    with fitting(f"networks of set_widths={config.set_widths}, trunk_widths={config.trunk_widths}"):
        policy = build(env.layout, config).to(device)
    others = opponents.load(env, config, device)
    team = team_for(policy, config, device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate, eps=config.adam_epsilon, fused=True)
    set_rate(optimizer, config.learning_rate, device)
    generator = torch.Generator(device).manual_seed(worlds)
    half = config.precision == "bf16"
    seen = torch.float16 if half else torch.float32
    actions = KINDS[config.action]
    with fitting(f"a rollout of num_envs={config.num_envs}, rollout={config.rollout}"):
        fixed = Fixed(env, policy, optimizer, config, device, generator, others) if config.fixed else None
        if fixed is None:
            states = states_for(env, config, device, say)
            storage = allocate(config.rollout, env.num_envs, env.layout.size, device, seen, actions, states)
        else:
            storage = fixed.storage
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
        if not config.fixed:  # else the step is a part of a larger graph
            env.capture()
    saved = (directory, env, config, policy, optimizer, generator, storage.ages)

    if resume:
        progress, restored = checkpoint.resume(directory, env, policy, optimizer, generator, storage.ages, say)
        obs, info = restored or env.reset(seed=worlds + progress.iteration)
    else:
        progress = Progress()
        if config.start:
            progress = progress._replace(before=checkpoint.start_from(config.start, env, policy))
        else:
            measure(env, policy, storage, config, worlds)
        ranks.broadcast_(policy.state_dict().values())
        obs, info = env.reset(seed=worlds)
        storage.ages.zero_()
        checkpoint.save(*saved, progress)
    now = present(obs, info, others)
    if fixed is not None:
        fixed.begin(obs, info)

    row: Row = {}
    stop = False
    first = ranks.rank() == 0
    with interruptible() as interrupted, Journal(directory, progress.iteration, config, writes=first) as journal:
        start = time.perf_counter()
        while (share := spent(config, progress)) < 1.0 and not stop:
            rate = 0.5 * config.learning_rate * (1.0 + math.cos(math.pi * share))
            entropy_weight = config.entropy + (config.entropy_end - config.entropy) * share
            set_rate(optimizer, rate, device)

            number = (1 + progress.iteration) * config.rollout  # of the first step among all
            if fixed is not None:
                wait = due(config, progress.iteration + 1, held_out)
                found = fixed.iterate(number, progress.largest, entropy_weight, wait=wait)
            else:
                chance = Chance(config.seed, number, ranks.rank() * env.num_envs, actions)
                now, found = iterate(
                    env, policy, optimizer, storage, now, chance, config, others, generator, progress.largest,
                    entropy_weight, team,
                )  # fmt: skip
            if found.live == 0:
                raise ValueError(nobody(info, progress.iteration + 1))
            finite({"advantage": found.spike, **found.learned}, progress.iteration + 1)
            # The slowest process says how long it took, from one moment at which the device had finished to the next.
            took, stop = slowest(found.read_at - start, interrupted.is_set(), device)

            progress = progress._replace(
                iteration=progress.iteration + 1,
                step=progress.step + found.live,
                seconds=progress.seconds + took,
                largest=found.largest,
            )
            row = {
                "iteration": progress.iteration,
                "step": progress.step,
                "minutes": progress.seconds / 60.0,
                "spent": spent(config, progress),
                **driving(found.driven, env.config.dt),
                "kept": found.kept / found.live,
                "largest_advantage": found.spike,
                "threshold": found.threshold,
                "explained": found.explained,
                **found.learned,
                "learning_rate": rate,
                "samples_per_s": found.live / took,
                **({} if fixed is not None else {"rollout_s": found.drove, "update_s": took - found.drove}),
            }
            journal.write(row)
            show(row)
            if held_out is not None and (progress.iteration % config.eval_every == 0 or row["spent"] >= 1.0):
                progress = evaluate(held_out, policy, env, config, directory, progress, journal, say)
            if progress.iteration % config.checkpoint_every == 0:
                checkpoint.save(*saved, progress)
            # With fixed shapes the device is at the update still.
            start = found.read_at if fixed is not None and not wait else time.perf_counter()
    if fixed is not None and fixed.learns_already:
        finite(figures_of(fixed.losses().tolist()), progress.iteration)
    checkpoint.save(*saved, progress)
    return row


def iterate(
    env: Any,
    policy: Any,
    optimizer: torch.optim.Optimizer,
    storage: Storage,
    now: Present,
    chance: Chance,
    config: TrainConfig,
    others: Sequence[Opponent],
    generator: torch.Generator,
    largest: float | None,
    entropy_weight: float,
    team: Team = ALONE,
) -> tuple[Present, Found]:
    """One iteration: drive, estimate advantages, drop what teaches nothing, learn. `fixed.Fixed.iterate` is another way.

    largest: of the filter, of the iteration before. Where nobody is there to learn from, or an advantage is not finite,
    nothing is learned.
    """
    start = time.perf_counter()
    half = config.precision == "bf16"
    now, driven = collect(env, policy, storage, now, chance, config.discount, others, half=half, team=team)
    drove = time.perf_counter() - start
    grid = gae(storage.reward, storage.value, storage.ended, discount=config.discount, trace=config.trace)
    cell, learns = storage.cell[: driven.samples], storage.learns[: driven.samples]
    advantage, value = grid.view(-1)[cell], storage.value.view(-1)[cell]  # (samples,)
    target = advantage + value
    driven, explained, live = everywhere(driven, advantage[learns], target[learns])
    if live == 0:
        return now, Found(driven, explained, 0, 0, largest or 0.0, 0.0, 0.0, {}, time.perf_counter(), drove)
    filtered = keep_informative(
        advantage, learns, largest, share=config.filter_share, rate=config.filter_rate, least=config.kept_least
    )
    kept, learned = 0, Row()
    if math.isfinite(filtered.spike):
        kept, learned = update(
            policy, optimizer, storage, advantage, target, filtered.keep, generator, config, entropy_weight, team
        )
    # The losses are read: the device has finished.
    return now, Found(
        driven,
        explained,
        live,
        kept,
        filtered.largest,
        filtered.threshold,
        filtered.spike,
        learned,
        time.perf_counter(),
        drove,
    )


def slowest(took: float, stop: bool, device: torch.device) -> tuple[float, bool]:
    """Seconds of the slowest process, and whether any of them wants to stop. One alone asks nobody and needn't wait."""
    if ranks.count() == 1:
        return took, stop
    took, stopped = ranks.max_(torch.tensor([took, float(stop)], dtype=torch.float64, device=device)).tolist()
    return took, bool(stopped)


def due(config: TrainConfig, iteration: int, held_out: Any) -> bool:
    """Whether a checkpoint or an evaluation comes after an iteration: its losses have to be known by then."""
    return iteration % config.checkpoint_every == 0 or (held_out is not None and iteration % config.eval_every == 0)


def set_rate(optimizer: torch.optim.Optimizer, rate: float, device: torch.device) -> None:
    """The learning rate: a number, on a card a tensor, which a recorded graph reads anew."""
    for group in optimizer.param_groups:
        if device.type != "cuda":
            group["lr"] = rate
        elif isinstance(group["lr"], Tensor) and group["lr"].device.type == "cuda":
            group["lr"].fill_(rate)
        else:
            group["lr"], group["capturable"] = torch.tensor(rate, device=device), True


def measure(env: Any, policy: Any, storage: Storage, config: TrainConfig, worlds: int) -> None:
    """Show the policy's normaliser what is usual for each feature, where it has one: `policy.measure`."""
    if not hasattr(policy, "measure"):
        return
    for k in range(MEASURED):
        now = present(*env.reset(seed=worlds + k))
        chance = Chance(config.seed + 1 + k, 0, ranks.rank() * env.num_envs, KINDS[config.action])
        _, driven = collect(env, policy, storage, now, chance, config.discount)
        for samples in storage.learns[: driven.samples].nonzero().squeeze(1).split(MEASURED_AT_ONCE):
            policy.measure(observed(storage, samples))
    for module in policy.modules():
        if ranks.count() > 1 and isinstance(module, NormalisedLinear):
            ranks.sum_(module.sums)
            module.fit()


def spent(config: TrainConfig, progress: Progress) -> float:
    """Share of the budget that is spent; of two budgets the one that ends first."""
    minutes = progress.seconds / 60.0 / config.minutes if config.minutes is not None else 0.0
    steps = progress.step / config.steps if config.steps is not None else 0.0
    return min(1.0, max(minutes, steps))


def update(
    policy: Any,
    optimizer: torch.optim.Optimizer,
    storage: Storage,
    advantage: Tensor,
    target: Tensor,
    keep: Tensor,
    generator: torch.Generator,
    config: TrainConfig,
    entropy_weight: float,
    team: Team = ALONE,
) -> tuple[int, Row]:
    """Learn from the samples `keep` of a rollout; the losses' means over all minibatches, and the longest gradient.

    advantage, target (samples,). With several processes each learns from a part of every minibatch: their gradients add up.
    Returns the number of samples that were kept in all of them, and the figures.
    """
    normalised = torch.zeros_like(advantage)
    normalised[keep] = normalise(advantage[keep])
    kept = ranks.gathered(len(keep), keep.device)  # of each process
    minibatches = max(1, round(sum(kept) / config.minibatch))
    parameters = list(policy.parameters())
    halves = policy.halves() if hasattr(policy, "halves") else [parameters]
    learned, norms = [], []

    def gradient(minibatch: Tensor, count: int, part: slice) -> tuple[tuple[Tensor | None, ...], Tensor]:
        """Gradient and losses of a part of a minibatch, which has `count` samples in all processes."""
        chosen = minibatch[part]
        batch = batch_of(storage, chosen, normalised, target)
        with torch.autocast(keep.device.type, torch.bfloat16, enabled=config.precision == "bf16"):
            outputs, value = policy(batch.obs)
        found = losses(
            outputs.float(),
            value.float(),
            batch,
            clip=config.clip,
            entropy_weight=entropy_weight,
            value_weight=config.value_weight,
            count=count,
            actions=KINDS[config.action],
        )
        return torch.autograd.grad(found.total, parameters, allow_unused=True), torch.stack(
            [part.detach() for part in found]
        )

    for _ in range(config.epochs):
        order = keep[torch.randperm(len(keep), generator=generator, device=keep.device)]
        for k, chosen in enumerate(order.tensor_split(minibatches)):
            count = sum(n // minibatches + (k < n % minibatches) for n in kept)
            parts = team.each(len(chosen), partial(gradient, chosen, count))
            add_gradients(parameters, [found for found, _ in parts])
            ranks.sum_gradients(parameters)
            norms += [torch.nn.utils.clip_grad_norm_(half, config.gradient_norm) for half in halves]
            optimizer.step()
            learned.append(torch.stack([found for _, found in parts]).sum(0))
    means = dict(zip(Losses._fields, ranks.sum_(torch.stack(learned)).mean(0).tolist(), strict=True))  # waits for the device
    return sum(kept), {
        "policy_loss": means["policy"],
        "value_loss": means["value"],
        "entropy": means["entropy"],
        "kl": means["kl"],
        "clipped": means["clipped"],
        "gradient": float(torch.stack(norms).max()),
    }


def batch_of(storage: Storage, chosen: Tensor, advantage: Tensor, target: Tensor) -> Batch:
    """Some samples int64 (n,) of a rollout, to learn from; advantage, normalised, and target (samples,)."""
    return Batch(
        observed(storage, chosen), storage.action[chosen], storage.log_prob[chosen], advantage[chosen], target[chosen]
    )


def everywhere(driven: Driven, advantage: Tensor, target: Tensor) -> tuple[Driven, float, int]:
    """What happened in all processes; the share of the returns' variance that the critic foresaw; samples to learn from."""
    a, r = advantage.double(), target.double()
    moments = len(a), a.sum(), a.square().sum(), r.sum(), r.square().sum()
    own = (*moments, driven.samples, driven.episodes, driven.episode_return, *driven.tally)
    sums = ranks.sum_(torch.stack([torch.as_tensor(x, dtype=torch.float64, device=a.device) for x in own]))
    live, mean, square, mean_r, square_r, samples, episodes, earned, *counts = sums.tolist()
    tally = Tally(*(kind(number) for kind, number in zip(map(type, Tally()), counts, strict=True)))
    unexplained = (square - mean * mean / max(live, 1)) / max(square_r - mean_r * mean_r / max(live, 1), 1e-12)
    return Driven(int(samples), tally, int(episodes), earned), 1.0 - unexplained, int(live)


def driving(driven: Driven, dt: float) -> Row:
    """How the rollout went: shares of the routes that ended in it. Nothing is said where none did."""
    tally = driven.tally
    row: Row = {"mean_speed_mps": tally.distance / max(tally.steps, 1) / dt, "routes": tally.routes}
    if tally.routes:
        row["goal_rate"] = tally.completed / tally.routes
        row["crash_rate"] = 1.0 - (tally.completed + tally.timed_out) / tally.routes
        row["collision_rate"] = tally.collided / tally.routes
        row["offroad_rate"] = tally.left_road / tally.routes
        row["timeout_rate"] = tally.timed_out / tally.routes
    if driven.episodes:
        row["episode_return"] = driven.episode_return / driven.episodes
    return row


def finite(figures: Row, iteration: int) -> None:
    """Raises NotFinite for the first figure that is infinite or not a number."""
    for name, number in figures.items():
        if not math.isfinite(number):
            raise NotFinite(f"iteration {iteration}: {name.replace('_', ' ')} is not finite; the last checkpoint stays")


def nobody(info: Any, iteration: int) -> str:
    """Why there is nothing to learn from."""
    active, erratic, traffic = (torch.as_tensor(info[name]) for name in ("active", "erratic", "traffic"))
    here = int(active.sum())
    return (
        f"iteration {iteration}: nobody to learn from: of {len(active)} rows {here} have an agent, "
        f"{int((active & traffic).sum())} of them are rule-based traffic and {int((active & erratic).sum())} erratic drivers"
    )
