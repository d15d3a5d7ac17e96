"""Memory of the environment over a million steps: it stays flat: `python benchmarks/memory.py`.

The public vector environment on one thread, in the paper's world: worlds draw one of several maps whenever they begin, a
share of the rows has rule-based drivers, a log of events is kept. Every now and then some rows are reset, or worlds are
kept and put back. Until all rows are reset, the log of events grows, as its docstring says. Exit status 1 if the process
grows by more than a few MB after the first tenth of the steps.
"""

import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tyro

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text

LIMIT_MB = 4.0
"""A step that keeps 5 bytes fails. What the allocator takes now and then, as the longest log so far grows, is below it."""


@dataclass(frozen=True)
class Memory:
    """Step the environment for a long time and watch the memory of the process."""

    steps: int = 1_000_000
    rows: int = 64
    agents: int = 32
    """Most agents in a world; a world draws at least half as many."""
    maps: tuple[str, ...] = ("loop", "downtown", "lefthand")
    """A world has one of them, drawn whenever it begins."""
    reset_every: int = 5_000
    """[steps] All rows begin anew."""
    disturb_every: int = 250
    """[steps] Some worlds are reset, or kept, or put back."""
    seed: int = 0
    json: Path | None = None
    """Put the result into this file."""


def make(memory: Memory) -> Any:
    """The environment that is watched."""
    return gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0",
        num_envs=memory.rows,
        map=list(memory.maps),
        map_shares=[1.0] * len(memory.maps),
        preset="paper",
        config={"agents_per_world": ((memory.agents + 1) // 2, memory.agents)},
        threads=1,
        drivers={"policy": 0.8, "idm": 0.2},
        events=True,
        record_stats=True,
    ).unwrapped


def resident_mb() -> float:
    """Resident memory of this process [MB]."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6, 2)


def drive(env: Any, memory: Memory) -> dict[str, Any]:
    """Resident memory after every tenth of the steps, and what was done meanwhile."""
    rng, times = np.random.default_rng(memory.seed), memory.steps // 10
    resident, done = [], {"resets": 0, "resets_of_some": 0, "snapshots": 0, "restores": 0, "events": 0, "ended": 0}
    env.reset(seed=memory.seed)
    kept = env.snapshot()
    for step in range(1, 10 * times + 1):
        _, _, terminated, truncated, _ = env.step(rng.choice([3, 6, 7, 7, 8, 10], memory.rows))
        done["ended"] += int((terminated | truncated).sum())
        if step % memory.disturb_every == 0:
            disturb(env, rng, kept, done)
        if step % memory.reset_every == 0:
            done["events"] += len(env.event_log)
            env.reset()
            kept = env.snapshot()
            done["resets"] += 1
            done["snapshots"] += 1
        if step % times == 0:
            resident.append(resident_mb())
            _progress(step / memory.steps, resident)
    return {"resident_mb": resident, "grown_mb": round(max(resident) - resident[0], 2), **done}


def disturb(env: Any, rng: np.random.Generator, kept: dict[str, np.ndarray], done: dict[str, int]) -> None:
    """What a trainer does beside stepping: rows start anew, all worlds or one are put back."""
    match rng.integers(3):
        case 0:
            env.reset(options={"reset_mask": env.world_of_row == rng.integers(env.num_worlds)})
            done["resets_of_some"] += 1
        case 1:
            env.restore(kept)
            done["restores"] += 1
        case 2:
            env.restore(env.snapshot([int(rng.integers(env.num_worlds))]))
            done["snapshots"] += 1
            done["restores"] += 1


def _progress(share: float, resident: Sequence[float]) -> None:
    if sys.stderr.isatty():
        print(f"\r{share:4.0%}: {resident[-1]:.1f} MB ", end="", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 if memory grows."""
    memory = tyro.cli(Memory, args=argv)
    here = machine() | {"command": " ".join(["benchmarks/memory.py", *sys.argv[1:]])}
    began, env = time.process_time(), make(memory)
    result = drive(env, memory) | {"limit_mb": LIMIT_MB, "seconds": round(time.process_time() - began, 1)}
    env.close()
    print(" ".join(f"{one:.1f}" for one in result["resident_mb"]), f"MB: {result['grown_mb']:+.2f} MB after the first tenth")
    if memory.json is not None:
        result |= {"settings": asdict(replace(memory, json=None))} | here
        write_text(memory.json, json.dumps(result, indent=1) + "\n")
    return 1 if result["grown_mb"] > LIMIT_MB else 0


if __name__ == "__main__":
    sys.exit(main())
