"""The training loop, top to bottom: drive, estimate advantages, drop what teaches nothing, learn, write down."""

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gigaflow_train import checkpoint
from gigaflow_train.advantage import Filtered, gae, keep_informative
from gigaflow_train.checkpoint import Progress
from gigaflow_train.config import TrainConfig
from gigaflow_train.evaluate.held_out import evaluate
from gigaflow_train.journal import Journal, Row
from gigaflow_train.policy import Policy
from gigaflow_train.ppo import Batch, Losses, losses, normalise
from gigaflow_train.rollout import Driven, Storage, allocate, collect, present

MEASURED = 4
"""Rollouts of the untrained policy that the normaliser is fitted to, each in worlds of its own: one shows too few."""


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
    torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    obs, info = env.reset(seed=config.seed)
    device = torch.as_tensor(obs).device
    policy = Policy(env.layout, config).to(device)
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate, eps=config.adam_epsilon, fused=True)
    generator = torch.Generator(device).manual_seed(config.seed)
    storage = allocate(config.rollout, env.num_envs, env.layout.size, device)
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
        env.capture()
    saved = (directory, env, config, policy, optimizer, generator)

    if resume:
        progress, restored = checkpoint.resume(directory, env, policy, optimizer, generator)
        if restored is None:
            say("this environment's state can't be restored: its worlds begin anew")
        now = present(*(restored or env.reset(seed=config.seed + progress.iteration)))
    else:
        progress = Progress()
        measure(env, policy, storage, generator, config)
        now = present(*env.reset(seed=config.seed))
        checkpoint.save(*saved, progress)

    row: Row = {}
    with interruptible() as interrupted, Journal(directory, progress.iteration) as journal:
        while (share := spent(config, progress)) < 1.0 and not interrupted.is_set():
            rate = 0.5 * config.learning_rate * (1.0 + math.cos(math.pi * share))
            entropy_weight = config.entropy + (config.entropy_end - config.entropy) * share
            for group in optimizer.param_groups:
                group["lr"] = rate

            start = time.perf_counter()
            now, driven = collect(env, policy, storage, now, generator, config.discount)
            drove = time.perf_counter()
            grid = gae(storage.reward, storage.value, storage.ended, discount=config.discount, trace=config.trace)
            cell, learns = storage.cell[: driven.samples], storage.learns[: driven.samples]
            advantage, value = grid.view(-1)[cell], storage.value.view(-1)[cell]  # (samples,)
            live = int(learns.sum())
            if live == 0:
                raise ValueError(nobody(info, progress.iteration + 1))
            filtered = keep_informative(
                advantage,
                learns,
                progress.largest,
                share=config.filter_share,
                rate=config.filter_rate,
                least=config.kept_least,
            )
            finite({"advantage": filtered.spike}, progress.iteration + 1)
            target = advantage + value
            learned = update(policy, optimizer, storage, advantage, target, filtered.keep, generator, config, entropy_weight)
            finite(learned, progress.iteration + 1)
            took = time.perf_counter() - start  # the losses are read: the device has finished

            progress = progress._replace(
                iteration=progress.iteration + 1,
                step=progress.step + live,
                seconds=progress.seconds + took,
                largest=filtered.largest,
            )
            row = {
                "iteration": progress.iteration,
                "step": progress.step,
                "minutes": progress.seconds / 60.0,
                "spent": spent(config, progress),
                **driving(driven, env.config.dt),
                **learning(advantage[learns], target[learns], filtered, live),
                **learned,
                "learning_rate": rate,
                "samples_per_s": live / took,
                "rollout_s": drove - start,
                "update_s": took - (drove - start),
            }
            journal.write(row)
            show(row)
            if held_out is not None and progress.iteration % config.eval_every == 0:
                progress = evaluate(held_out, policy, env, config, directory, progress, journal, say)
            if progress.iteration % config.checkpoint_every == 0:
                checkpoint.save(*saved, progress)
        if held_out is not None and row and not interrupted.is_set() and progress.iteration % config.eval_every:
            progress = evaluate(held_out, policy, env, config, directory, progress, journal, say)
    checkpoint.save(*saved, progress)
    return row


def measure(env: Any, policy: Any, storage: Storage, generator: torch.Generator, config: TrainConfig) -> None:
    """Show the policy's normaliser what is usual for each feature, where it has one: `policy.measure`."""
    if not hasattr(policy, "measure"):
        return
    for k in range(MEASURED):
        now = present(*env.reset(seed=config.seed + k))
        _, driven = collect(env, policy, storage, now, generator, config.discount)
        seen = storage.obs[: driven.samples]
        policy.measure(seen[storage.learns[: driven.samples]])


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
) -> Row:
    """Learn from the samples `keep` of a rollout; returns the losses' means over all minibatches, and the longest gradient.

    advantage, target (samples,).
    """
    normalised = torch.zeros_like(advantage)
    normalised[keep] = normalise(advantage[keep])
    minibatches = max(1, round(len(keep) / config.minibatch))
    halves = policy.halves() if hasattr(policy, "halves") else [list(policy.parameters())]
    learned, norms = [], []
    for _ in range(config.epochs):
        order = keep[torch.randperm(len(keep), generator=generator, device=keep.device)]
        for chosen in order.tensor_split(minibatches):
            batch = Batch(
                storage.obs[chosen],
                storage.action[chosen],
                storage.log_prob[chosen],
                normalised[chosen],
                target[chosen],
            )
            logits, value = policy(batch.obs)
            found = losses(
                logits,
                value,
                batch,
                clip=config.clip,
                entropy_weight=entropy_weight,
                value_weight=config.value_weight,
            )
            optimizer.zero_grad()
            found.total.backward()
            norms += [torch.nn.utils.clip_grad_norm_(half, config.gradient_norm) for half in halves]
            optimizer.step()
            learned.append(torch.stack([part.detach() for part in found]))
    means = Losses(*torch.stack(learned).mean(0).tolist())  # waits for the device
    return {
        "policy_loss": means.policy,
        "value_loss": means.value,
        "entropy": means.entropy,
        "kl": means.kl,
        "clipped": means.clipped,
        "gradient": float(torch.stack(norms).max()),
    }


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


def learning(advantage: Tensor, target: Tensor, filtered: Filtered, live: int) -> Row:
    """What the filter left. `explained`: share of the returns' variance that the critic foresaw."""
    unexplained = advantage.var(correction=0) / target.var(correction=0).clamp_min(1e-12)
    return {
        "kept": len(filtered.keep) / live,
        "largest_advantage": filtered.spike,
        "threshold": filtered.threshold,
        "explained": float(1.0 - unexplained),
    }


def finite(figures: Row, iteration: int) -> None:
    """Raises NotFinite for the first figure that is infinite or not a number."""
    for name, number in figures.items():
        if not math.isfinite(number):
            raise NotFinite(
                f"iteration {iteration}: {name.replace('_', ' ')} is {number}; the last checkpoint stays as it is"
            )


def nobody(info: Any, iteration: int) -> str:
    """Why there is nothing to learn from."""
    active, erratic, traffic = (torch.as_tensor(info[name]) for name in ("active", "erratic", "traffic"))
    here = int(active.sum())
    return (
        f"iteration {iteration}: nobody to learn from: of {len(active)} rows {here} have an agent, "
        f"{int((active & traffic).sum())} of them are rule-based traffic and {int((active & erratic).sum())} erratic drivers"
    )


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets, so that a run ends between two iterations, with a checkpoint; the second Ctrl-C
    kills it."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread may handle signals
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def interrupt(number: int, _: Any) -> None:
        interrupted.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, interrupt)
    try:
        yield interrupted
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
