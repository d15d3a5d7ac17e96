"""Where the time of training goes, part by part, on this machine.

    python benchmarks/training.py [--preset laptop] [--json]

Runs iterations of the trainer on the real environment with a clock around every part, and prints microseconds a sample that
was driven. On the CPU the parts that the trainer's threads share run in one of them, and only the undisturbed whole in all.
On a card every part waits for the device before its clock is read: honest parts, whose sum is more than the
undisturbed whole, which is printed, too. `--budget` prints instead the FLOPs and bytes of the preset's network for a sample,
what this machine gives of both, and how long a sample takes at least by either.
"""

import argparse
import json
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch

from gigaflow_env.bench.machine import machine
from gigaflow_train import environment
from gigaflow_train.advantage import gae, keep_informative
from gigaflow_train.config import PRESETS, TrainConfig
from gigaflow_train.networks import build
from gigaflow_train.ppo import losses, normalise
from gigaflow_train.rollout import Chance, allocate, collect, present
from gigaflow_train.threads import team_for
from gigaflow_train.train import batch_of, measure, update

PARTS = (
    "simulate", "observe", "infer", "sample and store", "advantage", "filter", "gather", "forward", "backward", "optimise",
)  # fmt: skip


OBSERVED = 20
"""Observations of all rows whose time is taken."""


class Clock:
    """Seconds by part; waits for the device where there is one.

    With one thread on a CPU it is the process's own time: others who use the machine hardly change it.
    """

    def __init__(self, device: torch.device, threads: int) -> None:
        self.now = time.process_time if device.type == "cpu" and threads == 1 else time.perf_counter
        self.wait: Callable[[], Any] = torch.cuda.synchronize if device.type == "cuda" else lambda: None
        self.spent: dict[str, float] = defaultdict(float)
        self.before = self.now()

    def start(self) -> None:
        self.wait()
        self.before = self.now()

    def add(self, part: str) -> None:
        self.wait()
        now = self.now()
        self.spent[part] += now - self.before
        self.before = now


class Clocked:
    """An environment, or a policy, whose calls are timed."""

    def __init__(self, inner: Any, clock: Clock, part: str) -> None:
        self.inner, self.clock, self.part = inner, clock, part

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def step(self, actions: Any) -> Any:
        self.clock.add("sample and store")
        found = self.inner.step(actions)
        self.clock.add(self.part)
        return found

    def __call__(self, obs: torch.Tensor) -> Any:
        self.clock.add("sample and store")
        found = self.inner(obs)
        self.clock.add(self.part)
        return found

    def value(self, obs: torch.Tensor) -> torch.Tensor:
        self.clock.add("sample and store")
        found = self.inner.value(obs)
        self.clock.add(self.part)
        return found


def profile(config: TrainConfig, iterations: int, warm_up: int, *, fused: bool) -> dict[str, Any]:
    """Microseconds a driven sample by part, over some iterations after those that warm up."""
    torch.manual_seed(config.seed)
    env = environment.of_training(config)
    obs, _ = env.reset(seed=config.seed)
    device = torch.as_tensor(obs).device
    policy = build(env.layout, config).to(device)
    for body in getattr(policy, "bodies", []):
        body.fused = fused
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate, eps=config.adam_epsilon, fused=True)
    generator = torch.Generator(device).manual_seed(config.seed)
    storage = allocate(config.rollout, env.num_envs, env.layout.size, device)
    team = team_for(policy, config, device)
    measure(env, policy, storage, config, config.seed)
    now, clock, samples, kept, largest, whole = (
        present(*env.reset(seed=config.seed)),
        Clock(device, config.threads),
        0,
        0,
        None,
        0.0,
    )
    for iteration in range(iterations + warm_up):
        if iteration == warm_up:
            clock.spent.clear()
            samples, kept, whole = 0, 0, 0.0
        chance = Chance(config.seed, iteration * config.rollout)
        clock.start()
        timed_env, timed_policy = Clocked(env, clock, "simulate"), Clocked(policy, clock, "infer")
        now, driven = collect(timed_env, timed_policy, storage, now, chance, config.discount)
        clock.add("sample and store")
        n = driven.samples
        grid = gae(storage.reward, storage.value, storage.ended, discount=config.discount, trace=config.trace)
        advantage = grid.view(-1)[storage.cell[:n]]
        target = advantage + storage.value.view(-1)[storage.cell[:n]]
        clock.add("advantage")
        filtered = keep_informative(
            advantage, storage.learns[:n], largest,
            share=config.filter_share, rate=config.filter_rate, least=config.kept_least,
        )  # fmt: skip
        largest = filtered.largest
        clock.add("filter")
        learn(policy, optimizer, storage, advantage, target, filtered.keep, generator, config, clock)
        samples, kept = samples + n, kept + len(filtered.keep)

        start = clock.now()  # the same undisturbed
        now, driven = collect(env, policy, storage, now, chance, config.discount, team=team)
        n = driven.samples
        grid = gae(storage.reward, storage.value, storage.ended, discount=config.discount, trace=config.trace)
        advantage = grid.view(-1)[storage.cell[:n]]
        target = advantage + storage.value.view(-1)[storage.cell[:n]]
        filtered = keep_informative(
            advantage, storage.learns[:n], largest,
            share=config.filter_share, rate=config.filter_rate, least=config.kept_least,
        )  # fmt: skip
        update(policy, optimizer, storage, advantage, target, filtered.keep, generator, config, config.entropy, team)
        clock.wait()
        whole += (clock.now() - start) / n
    # A step simulates and observes: how long it takes to observe alone is taken off.
    clock.start()
    for _ in range(OBSERVED):
        env.unwrapped.simulator.observe()
    clock.add("observe")
    seconds = clock.spent["observe"] / OBSERVED * config.rollout * iterations
    clock.spent["observe"], clock.spent["simulate"] = seconds, clock.spent["simulate"] - seconds
    env.close()
    parts = {part: 1e6 * clock.spent[part] / samples for part in PARTS}
    return {
        "us_per_sample": parts, "sum_us": sum(parts.values()), "whole_us": 1e6 * whole / iterations,
        "kept": kept / samples, "fused": fused, "clock": clock.now.__name__,
    }  # fmt: skip


def learn(policy, optimizer, storage, advantage, target, keep, generator, config, clock) -> None:
    """`gigaflow_train.train.update` of one process, with clocks."""
    normalised = torch.zeros_like(advantage)
    normalised[keep] = normalise(advantage[keep])
    halves = policy.halves() if hasattr(policy, "halves") else [list(policy.parameters())]
    for _ in range(config.epochs):
        order = keep[torch.randperm(len(keep), generator=generator, device=keep.device)]
        for chosen in order.tensor_split(max(1, round(len(keep) / config.minibatch))):
            clock.start()
            batch = batch_of(storage, chosen, normalised, target)
            clock.add("gather")
            logits, value = policy(batch.obs)
            found = losses(
                logits, value, batch, clip=config.clip, entropy_weight=config.entropy, value_weight=config.value_weight
            )
            clock.add("forward")
            optimizer.zero_grad()
            found.total.backward()
            clock.add("backward")
            for half in halves:
                torch.nn.utils.clip_grad_norm_(half, config.gradient_norm)
            optimizer.step()
            clock.add("optimise")


def budget(config: TrainConfig, kept: float) -> dict[str, Any]:
    """What a driven sample costs at least: multiply-adds of all networks, and bytes that are kept of it.

    A gradient pass is three times a forward pass. Bytes: observations as float32, as float16, and as states. An observation
    is moved when it is written, when the policy reads it, when it is kept, and twice for each gradient pass.
    """
    env = environment.of_training(config.replace(num_envs=min(config.num_envs, 1024), backend="cpu"))
    layout, policy = env.layout, build(env.layout, config)
    states = env.state_memory(1).nbytes / env.num_envs
    env.close()
    counted: list[int] = []
    for module in policy.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(
                lambda layer, given, out: counted.append(out.numel() // out.shape[-1] * layer.weight.numel())
            )
    with torch.no_grad():
        policy(torch.zeros(1, layout.size))
    forward = sum(counted)
    flops = 2 * forward * (1 + 3 * kept * config.epochs)
    return {
        "parameters": sum(one.numel() for one in policy.parameters()),
        "multiply_adds_forward": forward,
        "mflop_per_sample": flops / 1e6,
        "kept": kept,
        "bytes_float32": 4 * layout.size,
        "bytes_float16": 2 * layout.size,
        "bytes_states": round(states, 1),
        "bytes_moved": round(4 * layout.size * (4 + 2 * kept * config.epochs)),
        "gradient_bytes_per_step": 4 * sum(one.numel() for one in policy.parameters()),
    }


def gives(device: torch.device, threads: int) -> dict[str, float]:
    """What the machine gives: multiply-adds of a large product of matrices, and bytes read and written by a copy."""
    torch.set_num_threads(threads)
    wait, now = Clock(device, threads).wait, Clock(device, threads).now
    size = 8192 if device.type == "cuda" else 1024
    square = torch.rand(size, size, device=device)
    long, other = (torch.zeros(2**28 if device.type == "cuda" else 2**25, device=device) for _ in range(2))

    def fastest(function: Callable[[], Any]) -> float:
        spent = []
        for _ in range(5):
            wait()
            start = now()
            function()
            wait()
            spent.append(now() - start)
        return min(spent)

    found = {"gflops_float32": 2e-9 * size**3 / fastest(lambda: square @ square)}
    if device.type == "cuda":
        torch.set_float32_matmul_precision("high")
        found["gflops_tf32"] = 2e-9 * size**3 / fastest(lambda: square @ square)
        half = square.bfloat16()
        found["gflops_bf16"] = 2e-9 * size**3 / fastest(lambda: half @ half)
    found["gb_per_s"] = 1e-9 * 2 * long.nbytes / fastest(lambda: other.copy_(long))
    return {name: round(number, 1) for name, number in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="laptop", choices=sorted(PRESETS))
    parser.add_argument("--map", default="loop")
    parser.add_argument("--backend", default="cpu", choices=("cpu", "cuda"))
    parser.add_argument("--num-envs", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--iterations", type=int, default=10)
    parser.add_argument("--warm-up", type=int, default=2, help="iterations before: the more, the less the filter keeps")
    parser.add_argument("--filter-share", type=float, help="0: no filter")
    parser.add_argument("--plain", action="store_true", help="set encoders by torch")
    parser.add_argument("--budget", action="store_true", help="FLOPs and bytes of a sample instead")
    parser.add_argument("--kept", type=float, default=0.2, help="share kept by the filter, for --budget")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    config = PRESETS[given.preset]().replace(maps=(given.map,), backend=given.backend, threads=given.threads)
    config = config.replace(num_envs=given.num_envs or config.num_envs, map_shares="equal")
    if given.budget:
        found = budget(config, given.kept)
        found["machine"] = rates = gives(torch.device(given.backend), given.threads)
        fastest = max(number for name, number in rates.items() if name.startswith("gflops"))
        found["us_at_least_by_flops"] = round(1e3 * found["mflop_per_sample"] / fastest, 3)
        found["us_at_least_by_bytes"] = round(1e-3 * found["bytes_moved"] / rates["gb_per_s"], 4)
        print(json.dumps(found, indent=1))
        return
    if given.filter_share is not None:
        config = config.replace(filter_share=given.filter_share)
    found = profile(config, given.iterations, given.warm_up, fused=not given.plain)
    if given.json:
        command = " ".join(["python benchmarks/training.py", *sys.argv[1:]])
        print(json.dumps({**found, "preset": given.preset, "rows": config.num_envs, **machine(), "command": command}))
        return
    for part, spent in found["us_per_sample"].items():
        print(f"{part:22} {spent:8.2f} us a sample")
    print(f"{'sum of the parts':22} {found['sum_us']:8.2f}\n{'undisturbed':22} {found['whole_us']:8.2f}")
    print(f"kept by the filter: {found['kept']:.0%}; {1e6 / found['whole_us']:,.0f} samples/s")


if __name__ == "__main__":
    main()
