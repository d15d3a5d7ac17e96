"""How fast this tree steps beside another revision: both in turns of some hundredths of a second, on one thread.

    python benchmarks/against.py 163c8ce [MAP ...] [--cases downtown-64 ...] [--pairs 41] [--json FILE]

Random actions, preset "paper", arrays not copied. Each tree has a process of its own and waits while the other has its turn;
who begins changes from pair to pair. A ratio is that of the processor times of a pair: what others do to the machine meets
both, and their median is what counts. Every MAP (for example a CARLA town) is measured too, with 64 agents a world.

What each kernel takes is measured once, after all pairs. Beside each pair the machine itself is measured, as a step uses it:
reading at random from a table of 4 MB, and storing 10 MB one after the other. Machines may be compared by these.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from turns import WATCH_KERNELS, Worker, quartiles, unpack

WORKER = (
    WATCH_KERNELS
    + """
import json, sys, time
import numpy as np
from gigaflow_env import ACTIONS, GigaflowVectorEnv

case = json.loads(sys.argv[1])
rows, steps = case.pop("rows"), case.pop("steps")
env = GigaflowVectorEnv(rows, preset="paper", threads=1, **{"copy": False, **case.pop("options"), **case})
env.reset(seed=0)
actions = np.random.default_rng(0).integers(0, ACTIONS, (64, rows))
for chosen in actions[:40]:  # compiles, and leaves the moment in which everybody has just started
    env.step(chosen)

spent = {}

def timed(call, name):
    start = time.process_time()
    call()
    spent[name] = spent.get(name, 0.0) + time.process_time() - start

def by_kernel():  # nanoseconds of an agent-step by kernel, in a turn of its own
    spent.clear()
    watch_kernels(timed)
    for chosen in actions:
        env.step(chosen)
    return {name: round(seconds / (len(actions) * rows) * 1e9, 1) for name, seconds in spent.items()}

print("ready", flush=True)
turn = 0
for line in sys.stdin:
    if line.strip() == "kernels":
        print(json.dumps(by_kernel()), flush=True)
        continue
    wall, cpu_time = time.perf_counter(), time.process_time()
    for k in range(turn, turn + steps):
        env.step(actions[k % len(actions)])
    wall, cpu_time = time.perf_counter() - wall, time.process_time() - cpu_time
    turn += steps
    print(json.dumps({"ns": cpu_time / (steps * rows) * 1e9, "wall_ns": wall / (steps * rows) * 1e9}), flush=True)
"""
)


class Case(NamedTuple):
    """What is measured: a map, agents in each world, rows, steps of a turn, and other arguments of the environment."""

    map: str
    agents_per_world: int
    rows: int = 4096
    steps: int = 16
    options: dict[str, Any] = {}  # nobody changes it


CASES = {
    "downtown-150": Case("downtown", 150),
    "downtown-64": Case("downtown", 64),
    "downtown-64-small": Case("downtown", 64, rows=128, steps=200),
    "loop-16-small": Case("loop", 16, rows=128, steps=200),
    "rule-based": Case("downtown", 150, options={"drivers": {"policy": 0.8, "idm": 0.2}}),
    "event-log": Case("downtown", 150, options={"events": True}),
    "float16": Case("downtown", 150, options={"obs_dtype": "float16"}),
    "copies": Case("downtown", 150, options={"copy": True}),
}

GATHERED, STORED = 1_000_000, 10_000_000
"""float32 of the table that is read at random, 4 MB; bytes that are stored."""


def cases_of(maps: list[str]) -> dict[str, Case]:
    """All cases by name, with those of the maps."""
    found = dict(CASES)
    for path in maps:
        whole, name = str(Path(path).resolve()), Path(path).stem
        found |= {f"{name}-64": Case(whole, 64), f"{name}-64-small": Case(whole, 64, rows=128, steps=200)}
    return found


class Machine:
    """What the memory of this machine gives, moment by moment."""

    def __init__(self) -> None:
        draw = np.random.default_rng(0)
        self._table, self._places = draw.random(GATHERED, np.float32), draw.integers(0, GATHERED, GATHERED)
        self._found, self._stored = np.empty(GATHERED, np.float32), np.empty(STORED, np.uint8)

    def measure(self) -> dict[str, float]:
        """Nanoseconds of a read at random, and of a stored line of 64 bytes."""
        times = [time.process_time()]
        np.take(self._table, self._places, out=self._found, mode="clip")
        times.append(time.process_time())
        self._stored.fill(1)
        times.append(time.process_time())
        return {"read_ns": (times[1] - times[0]) / GATHERED * 1e9, "store_ns": (times[2] - times[1]) / STORED * 64e9}


def compare(ours: Path, other: Path, case: Case, pairs: int) -> dict[str, Any]:
    """Both trees in turns. The first pair warms up and is left out."""
    words = [json.dumps(case._asdict())]
    machine, found, memory = Machine(), [], []
    with Worker(ours, WORKER, words) as one, Worker(other, WORKER, words) as two:
        one.wait()
        two.wait()
        for pair in range(pairs + 1):
            order = (one, two) if pair % 2 == 0 else (two, one)
            done = {worker: worker.turn() for worker in order}
            found.append((done[one], done[two]))
            memory.append(machine.measure())
        kernels = [worker.turn("kernels") for worker in (one, two)]
    return summary(found[1:], memory[1:]) | {"kernels": kernels[0], "other_kernels": kernels[1]}


def summary(pairs: list[tuple[Any, Any]], memory: list[dict[str, float]]) -> dict[str, Any]:
    """Ratios pair by pair, and medians."""
    return {
        "faster": quartiles([other["ns"] / our["ns"] for our, other in pairs]),
        "faster_by_wall": quartiles([other["wall_ns"] / our["wall_ns"] for our, other in pairs]),
        "ns": round(statistics.median(our["ns"] for our, _ in pairs), 1),
        "other_ns": round(statistics.median(other["ns"] for _, other in pairs), 1),
        "memory": {name: round(statistics.median(moment[name] for moment in memory), 2) for name in memory[0]},
        "pairs": len(pairs),
    }


def main() -> None:
    from gigaflow_env.bench.machine import machine
    from gigaflow_env.files import write_text

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("revision", help="what this tree is compared with: a git revision")
    parser.add_argument("maps", nargs="*", help="files of more maps")
    parser.add_argument("--cases", nargs="+", help="some of the cases, by name")
    parser.add_argument("--pairs", type=int, default=41)
    parser.add_argument("--json", type=Path, help="where results go; cases that are not measured stay as they are there")
    given = parser.parse_args()
    cases = cases_of(given.maps)
    missing = sorted(set(given.cases or ()) - set(cases))
    if missing:
        parser.error(f"no case {missing[0]!r}: there are {', '.join(cases)}")
    ours, results = Path(__file__).resolve().parents[1], {}
    with tempfile.TemporaryDirectory() as folder:
        other = unpack(given.revision, Path(folder))
        for name in given.cases or cases:
            results[name] = compare(ours, other, cases[name], given.pairs)
            settings = cases[name]._asdict() | {"map": Path(cases[name].map).name}
            one = results[name]
            print(
                f"{name}: {one['faster']['median']} times as fast, {one['ns']} ns an agent-step", file=sys.stderr, flush=True
            )
            results[name] |= settings
    if given.json is None:
        print(json.dumps(results, indent=1))
        return
    kept = json.loads(given.json.read_text()) if given.json.exists() else {}
    names = " ".join(Path(path).name for path in given.maps)
    command = f"python benchmarks/against.py {given.revision} {names}".strip()
    whole = {"against": given.revision, "cases": {**kept.get("cases", {}), **results}, **machine(), "command": command}
    write_text(given.json, json.dumps(whole, indent=1) + "\n")


if __name__ == "__main__":
    main()
