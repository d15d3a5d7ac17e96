"""What a step costs on CUDA, counted without a card: `make cuda-cost`.

The compiled kernels run on the CPU (benchmarks/emulator), which counts as warps in lockstep would: instructions, the share
of lanes that are busy in them, and the sectors of 32 bytes that loads and stores touch. Counts of PTX, not of machine code,
and no time: they say what a change saves, not how fast a card is.

Needs gcc and the extra `cuda13`, and no card.
"""

import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import tyro

from benchmarks.emulator import launch as emulator
from gigaflow_env.bench.machine import machine
from gigaflow_env.config import paper
from gigaflow_env.simulator import Simulator
from gigaflow_env.snapshot import WORKSPACE

TWICE = ("write_observation",)
"""Kernels with two launches a step: for rows that ended, then for all."""
ACTIONS = {"random": (4, 7, 7, 10, 10, 10, 7, 9, 11), "brake": (1,)}
"""What drivers choose from: at random, rather ahead; or they brake and then stand, where next to no episode ends. A trained
policy lies in between, close to the latter: of some 300 of its steps one ends an episode."""


@dataclass(frozen=True)
class Cost:
    """Count what the kernels of a step do."""

    map: str = "downtown"
    """Name or file."""
    agents: int = 150
    """Agents a world."""
    worlds: int = 2
    """Worlds: more of them cost time and change little."""
    warm: int = 20
    """Steps on the CPU before it counts."""
    steps: int = 2
    """Steps that are counted."""
    actions: str = "random"
    """How they drive: random or brake."""
    idm: float = 0.0
    """Share of drivers that go by rules."""
    json: Path | None = None
    """A file to which the result is added as one line."""


def count(settings: Cost, folder: Path) -> tuple[dict[str, dict[str, float]], float]:
    """Counts per agent-step, by kernel; and the share of rows whose episode ended in a step."""
    from gigaflow_env.backend import cuda as backend

    mode = emulator.attach(folder).mode
    counts: dict[str, Counter] = {}
    called: Counter = Counter()
    run = backend.Launch.__call__

    def counted(launch: Any, blocks: int, threads: int, shared: int, stream: int) -> None:
        run(launch, blocks, threads, shared, stream)
        name = names[id(launch)]
        if name in TWICE:
            called[name] += 1
            name += " (ended)" if called[name] % 2 else " (all)"
        counts.setdefault(name, Counter()).update(dict(zip(emulator.COUNTS, mode.counts, strict=True)))

    rows = settings.agents * settings.worlds
    config = paper().replace(agents_per_world=settings.agents)
    drivers = {"policy": 1 - settings.idm, "idm": settings.idm}
    cpu, cuda = (Simulator(settings.map, rows, config, backend=name, drivers=drivers) for name in ("cpu", "cuda"))
    rng, actions, ended = np.random.default_rng(0), ACTIONS[settings.actions], 0
    cpu.reset(np.array([1, 2], np.uint32))
    for _ in range(settings.warm):
        cpu.step(rng.choice(actions, rows))
    cuda.step(rng.choice(actions, rows))  # prepares the launches
    for group, arrays in cpu.state._asdict().items():
        for name, array in arrays._asdict().items():
            if f"{group}.{name}" not in WORKSPACE:
                cuda._machine.write(getattr(getattr(cuda.state, group), name), array)
    names = {id(launch): key[0] for key, launch in cuda._machine._launches.items()}
    backend.Launch.__call__ = counted  # type: ignore[method-assign]
    mode.count = 1
    for _ in range(settings.steps):
        cuda.step(rng.choice(actions, rows))
        outcome = cuda.state.outcome
        ended += int((cuda.host(outcome.terminated) | cuda.host(outcome.truncated)).sum())
    found = {}
    for name, sums in counts.items():
        each = {what: round(value / rows / settings.steps, 2) for what, value in sums.items()}
        lanes = sums["thread_instructions"] / max(sums["warp_instructions"], 1) / 32
        found[name] = each | {"busy_lanes": round(lanes, 2)}
    return found, round(ended / rows / settings.steps, 4)


def main(settings: Cost) -> None:
    """Count, print, and keep."""
    if "EMULATED" not in os.environ:  # the driver has to be found before CUDA is loaded
        with tempfile.TemporaryDirectory() as name:
            folder = emulator.build(Path(name))
            environment = {**os.environ, **emulator.environment(folder), "EMULATED": str(folder)}
            raise SystemExit(subprocess.run([sys.executable, *sys.argv], env=environment).returncode)
    found, ended = count(settings, Path(os.environ["EMULATED"]))
    columns = ("warp_instructions", "busy_lanes", "load_sectors", "store_sectors", "load_bytes", "store_bytes")
    print(f"{'an agent-step':28}" + "".join(f"{column:>20}" for column in columns))
    for name, row in found.items():
        print(f"{name:28}" + "".join(f"{row[column]:20}" for column in columns))
    total = {what: round(sum(row[what] for row in found.values()), 1) for what in emulator.COUNTS}
    print(f"{'together':28}" + "".join(f"{total.get(column, ''):>20}" for column in columns))
    print(f"episodes ended in {ended:.1%} of the rows of a step")
    if settings.json is not None:
        given = {k: v for k, v in vars(settings).items() if k != "json"}
        line = {
            "settings": given,
            "ended": ended,
            "kernels": found,
            "together": total,
            **machine(),
            "command": " ".join(sys.argv),
        }
        with settings.json.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Cost))
