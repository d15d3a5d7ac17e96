"""Throughput on a CUDA device: `gigaflow-env bench --backend cuda`. One flat dict, ready for a JSON line.

Times are of the device, between events. `share_of_bytes`: the bytes that a step has to move at least (every state array read
and written once, the observation written once), over its time, as a share of the rate at which the same device copies.
"""

import itertools
from typing import Any

import numpy as np

from gigaflow_env.backend.world_step import SAME_STEP
from gigaflow_env.bench.machine import machine
from gigaflow_env.bench.throughput import STEPS
from gigaflow_env.bounds import choice, whole
from gigaflow_env.config import PRESETS
from gigaflow_env.layout import ACTIONS
from gigaflow_env.simulator import Simulator

ROWS = (1_000, 10_000, 100_000, 1_000_000)
AGENTS = (64, 150)
WARM = 5
"""Steps before the clock: kernels are compiled, and not everybody has just started."""


def run(
    *,
    map: str = "downtown",
    preset: str = "paper",
    agents: tuple[int, ...] = AGENTS,
    rows: tuple[int, ...] = ROWS,
    steps: int = 100,
    device: int = 0,
    obs_dtype: str = "float32",
) -> dict[str, Any]:
    """Measure each number of agents a world with each number of rows; those that do not fit the device are said so.

    Raises ValueError for arguments out of range.
    """
    steps, _ = whole("steps", steps, STEPS), choice("preset", preset, PRESETS)
    measured, facts, rate = [], {}, None
    for many, few in itertools.product(rows, agents):
        config = PRESETS[preset]().replace(agents_per_world=few)
        try:
            sim = Simulator(map, many, config, mode=SAME_STEP, backend="cuda", device=device, obs_dtype=obs_dtype)
        except MemoryError as error:
            measured.append({"rows": many, "agents_per_world": few, "error": str(error)})
            continue
        card: Any = sim._machine
        rate = rate or card.copy_rate()
        measured.append(measure(sim, steps, rate))
        facts = card.facts()
        sim.close()
    settings = {"map": map, "preset": preset, "steps": steps, "obs_dtype": obs_dtype, "dt": PRESETS[preset]().dt}
    return {"copy_bytes_per_s": rate, "measured": measured, **facts, "settings": settings, **machine()}


def measure(sim: Simulator, steps: int, rate: float) -> dict[str, Any]:
    """One line: steps from a reset, with random actions that lie on the device."""
    sim.reset(np.array([1, 2], np.uint32))
    actions = np.random.default_rng(0).integers(0, ACTIONS, sim.rows)
    for _ in range(WARM):
        sim.step(actions)

    def drive(count: int) -> None:
        for _ in range(count):
            sim.step(sim.actions)

    card: Any = sim._machine
    seconds = card.timed(lambda: drive(steps))
    kernels = card.timed_by_kernel(lambda: drive(10))
    names = [name for name, _ in kernels[: len(kernels) // 10]]
    # A kernel that runs twice in a step has two lines: of the rows that ended, and of all.
    labels = [
        f"{name} {number}" if names.count(name) > 1 else name for name, number in zip(names, _numbers(names), strict=True)
    ]
    by_kernel = {
        label: round(min(time for _, time in kernels[k :: len(names)]) / sim.rows * 1e9, 3) for k, label in enumerate(labels)
    }
    unused = sim.state.neighbours.scratch.nbytes + sim.state.neighbours.seen.nbytes
    state = sum(array.nbytes for group in sim.state for array in group) - unused
    moved = 2 * state + sim.observations.nbytes
    return {
        "rows": sim.rows,
        "agents_per_world": sim.agents,
        "agent_steps_per_s": round(steps * sim.rows / seconds),
        "ns_by_kernel": by_kernel,
        "bytes_per_agent_step": round(moved / sim.rows),
        "share_of_bytes": round(moved * steps / seconds / rate, 4),
        "memory_bytes": sim.nbytes(),
    }


def _numbers(names: list[str]) -> list[int]:
    """How many of the same name came before, and it."""
    return [names[: k + 1].count(name) for k, name in enumerate(names)]
