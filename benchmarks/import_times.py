"""Import and compile times of two revisions, in turns on one machine: `python benchmarks/import_times.py BEFORE FILE ...`.

BEFORE is a checkout of the other revision (`git worktree add BEFORE REVISION`). Each round one process of either revision
measures every file; what counts is the median over the rounds of the ratio of processor seconds.
"""

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text

ROOT = Path(__file__).resolve().parents[1]

MEASURE = """
import json, sys, time, warnings
from gigaflow_env.roads import load
try:
    from gigaflow_env.roads.compiled.compile import compile_roads
except ImportError:  # its name up to 0.1
    from gigaflow_env.roads.compile import compile as compile_roads
warnings.simplefilter("ignore")

def least(call):
    seconds = []
    for _ in range(int(sys.argv[1])):
        began = time.process_time()
        call()
        seconds.append(time.process_time() - began)
    return min(seconds)

found = {}
for path in sys.argv[2:]:
    road_map = load(path)
    compile_roads(road_map, cache=False)
    found[path] = [least(lambda: load(path)), least(lambda: compile_roads(road_map, cache=False)), len(road_map.lanes)]
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Times:
    """Compare import and compile times with another revision's."""

    before: Annotated[Path, tyro.conf.Positional]
    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    rounds: int = 5
    repeat: int = 2
    """Runs of a file in each round, of which the fastest counts."""
    json: Path | None = None
    """Write the result into this file."""


def measured(checkout: Path, files: Sequence[str], repeat: int) -> dict[str, list[float]]:
    """Processor seconds of import and compilation, and lanes, of each file in one process of a revision."""
    environment = os.environ | {"PYTHONPATH": str(checkout), "GIGAFLOW_QUIET": "1"}
    command = [sys.executable, "-c", MEASURE, str(repeat), *files]
    done = subprocess.run(command, cwd=checkout, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def main(argv: Sequence[str] | None = None) -> None:
    given = tyro.cli(Times, args=argv)
    files = [str(path.resolve()) for path in given.files]
    ratios: dict[str, list[list[float]]] = {path: [] for path in files}
    seconds: dict[str, list[list[float]]] = {path: [] for path in files}
    lanes: dict[str, tuple[int, int]] = {}
    for number in range(given.rounds):
        pair = [given.before.resolve(), ROOT]
        found = {k: measured(pair[k], files, given.repeat) for k in ((0, 1) if number % 2 else (1, 0))}
        for path in files:
            before, now = found[0][path], found[1][path]
            ratios[path].append([now[0] / before[0], now[1] / before[1], sum(now[:2]) / sum(before[:2])])
            seconds[path].append(now[:2])
            lanes[path] = int(before[2]), int(now[2])
        print(f"round {number + 1} of {given.rounds}", flush=True)
    result = {}
    for path in files:
        imported, compiled, both = (round(statistics.median(column), 3) for column in zip(*ratios[path], strict=True))
        least = [round(min(column), 3) for column in zip(*seconds[path], strict=True)]
        result[Path(path).name] = {
            "import_ratio": imported, "compile_ratio": compiled, "both_ratio": both,
            "import_s": least[0], "compile_s": least[1], "lanes_before": lanes[path][0], "lanes": lanes[path][1],
        }  # fmt: skip
        print(Path(path).name, json.dumps(result[Path(path).name]), flush=True)
    if given.json is not None:
        revision = subprocess.run(["git", "rev-parse", "HEAD"], cwd=given.before, capture_output=True, text=True, check=True)
        command = " ".join(["benchmarks/import_times.py", *sys.argv[1:]])
        facts = {"before": revision.stdout.strip(), "maps": result, **machine(), "command": command}
        write_text(given.json, json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
