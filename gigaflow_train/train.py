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
from gigaflow_train.journal import Journal, Row
from gigaflow_train.policy import Policy
from gigaflow_train.ppo import Batch, Losses, losses, normalise
from gigaflow_train.rollout import Driven, Storage, allocate, begin, collect

MEASURED = 65_536
"""Samples the normaliser is fitted to, at most: enough for two digits of a standard deviation."""


def train(
    env: Any,
    config: TrainConfig,
    directory: Path,
    *,
    resume: bool = False,
    show: Callable[[Row], None] = lambda row: None,
    say: Callable[[str], None] = lambda line: None,
) -> Row:
    """Train a policy until a budget is spent or Ctrl-C is pressed, and return the last row of the journal.

    env: GigaFlow vector environment, SameStep; the learner works where its observations are. directory: for checkpoint,
    journal and TensorBoard files; made if needed.
    show gets a row after every iteration, say a line where something is worth telling.
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
        env.capture()
    saved = (directory, env, config, policy, optimizer, generator, storage)

    if resume:
        progress, restored = checkpoint.resume(directory, env, policy, optimizer, generator, storage)
        if not restored:
            say("this environment's state can't be restored: its worlds begin anew")
            obs, info = env.reset(seed=config.seed + progress.iteration)
            begin(storage, obs, info)
    else:
        progress = Progress()
        begin(storage, obs, info)
        # One rollout of the untrained policy shows what is usual for each feature.
        collect(env, policy, storage, generator)
        seen = storage.obs[storage.active]
        policy.measure(seen[:: -(-len(seen) // MEASURED)])

    row: Row = {}
    began = time.perf_counter() - progress.seconds
    with interruptible() as interrupted, Journal(directory, progress.iteration) as journal:
        while (share := spent(config, progress)) < 1.0 and not interrupted.is_set():
            rate = 0.5 * config.learning_rate * (1.0 + math.cos(math.pi * share))
            entropy_weight = config.entropy + (config.entropy_end - config.entropy) * share
            for group in optimizer.param_groups:
                group["lr"] = rate

            start = time.perf_counter()
            driven = collect(env, policy, storage, generator)
            drove = time.perf_counter()
            advantage = gae(
                storage.reward,
                storage.value,
                storage.bootstrap,
                storage.terminated,
                storage.truncated,
                discount=config.discount,
                trace=config.trace,
            )
            filtered = keep_informative(
                advantage,
                storage.active[:-1],
                progress.largest,
                share=config.filter_share,
                rate=config.filter_rate,
                least=config.kept_least,
            )
            learned = update(policy, optimizer, storage, advantage, filtered.keep, generator, config, entropy_weight)
            now = time.perf_counter()

            live = int(storage.active[:-1].sum())
            progress = Progress(progress.iteration + 1, progress.step + live, now - began, filtered.largest)
            row = {
                "iteration": progress.iteration,
                "step": progress.step,
                "minutes": progress.seconds / 60.0,
                "spent": spent(config, progress),
                **driving(driven, env.config.dt),
                **learning(storage, advantage, filtered, learned, live),
                "learning_rate": rate,
                "samples_per_s": live / (now - start),
                "rollout_s": drove - start,
                "update_s": now - drove,
            }
            journal.write(row)
            show(row)
            if progress.iteration % config.checkpoint_every == 0:
                checkpoint.save(*saved, progress)
    checkpoint.save(*saved, progress)
    return row


def spent(config: TrainConfig, progress: Progress) -> float:
    """Share of the budget that is spent; of two budgets the one that ends first."""
    minutes = progress.seconds / 60.0 / config.minutes if config.minutes is not None else 0.0
    steps = progress.step / config.steps if config.steps is not None else 0.0
    return min(1.0, max(minutes, steps))


def update(
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    storage: Storage,
    advantage: Tensor,
    keep: Tensor,
    generator: torch.Generator,
    config: TrainConfig,
    entropy_weight: float,
) -> Losses:
    """Learn from the samples `keep` of a rollout; returns the losses' means over all minibatches."""
    obs = storage.obs[:-1].flatten(0, 1)  # (T * N, D), a view
    action, log_prob = storage.action.flatten(), storage.log_prob.flatten()
    target = (advantage + storage.value[:-1]).flatten()
    normalised = torch.zeros_like(target)
    normalised[keep] = normalise(advantage.flatten()[keep])
    minibatches = max(1, round(len(keep) / config.minibatch))
    learned = []
    for _ in range(config.epochs):
        order = keep[torch.randperm(len(keep), generator=generator, device=keep.device)]
        for chosen in order.tensor_split(minibatches):
            batch = Batch(obs[chosen], action[chosen], log_prob[chosen], normalised[chosen], target[chosen])
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
            torch.nn.utils.clip_grad_norm_(policy.parameters(), config.gradient_norm)
            optimizer.step()
            learned.append(torch.stack([part.detach() for part in found]))
    return Losses(*torch.stack(learned).mean(0))


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


def learning(storage: Storage, advantage: Tensor, filtered: Filtered, learned: Losses, live: int) -> Row:
    """How the update went. `explained`: share of the returns' variance that the critic foresaw."""
    active = storage.active[:-1]
    target = (advantage + storage.value[:-1])[active]
    unexplained = advantage[active].var() / target.var().clamp_min(1e-12)
    return {
        "kept": len(filtered.keep) / live,
        "largest_advantage": filtered.spike,
        "threshold": filtered.threshold,
        "explained": float(1.0 - unexplained),
        "policy_loss": float(learned.policy),
        "value_loss": float(learned.value),
        "entropy": float(learned.entropy),
        "kl": float(learned.kl),
        "clipped": float(learned.clipped),
    }


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C sets, so that a run ends between two iterations, with a checkpoint; the second one kills it."""
    interrupted = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interrupted  # only the main thread may handle signals
        return
    before = signal.getsignal(signal.SIGINT)

    def interrupt(*_: Any) -> None:
        interrupted.set()
        signal.signal(signal.SIGINT, before)

    signal.signal(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        signal.signal(signal.SIGINT, before)
