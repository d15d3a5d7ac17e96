"""How long the first step takes where no kernel has been compiled: this tree against another commit, in turns.

    python benchmarks/cold_start.py --against 163c8ce --runs 3

Each run is a process with empty caches: import, make, reset, one step. Times are from after the import to the end of the
step. In turns, as a shared machine has bad moments; the ratio is the median over the pairs. Appends a line to
benchmarks/results/cold_start.jsonl.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from gigaflow_env.bench.machine import machine
from gigaflow_env.progress import say

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "cold_start.jsonl"

PROGRAM = """
import time
import gymnasium, gigaflow_env
start = time.perf_counter()
env = gymnasium.make_vec("GigaFlow-v0", num_envs=1024, map="loop", preset="laptop")
env.reset(seed=0)
env.step(env.action_space.sample())
print(time.perf_counter() - start, gigaflow_env.__file__)
"""


def measure(tree: Path) -> tuple[float, float]:
    """Wall time to the first step and processor time of the whole process with its children [s]."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryDirectory() as empty:
        caches = {"NUMBA_CACHE_DIR": empty, "GIGAFLOW_CACHE_DIR": empty, "PYTHONPATH": str(tree)}
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM], env={**os.environ, **caches}, cwd=empty, stdout=subprocess.PIPE, check=True
        )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, _, file = done.stdout.decode().strip().partition(" ")
    if not Path(file).is_relative_to(tree):
        raise RuntimeError(f"measured {file}, not the tree {tree}")
    return float(seconds), after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def unpack(commit: str, folder: Path) -> None:
    """The files of a commit."""
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit], stdout=subprocess.PIPE, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", default="163c8ce", help="the commit to compare with")
    parser.add_argument("--runs", type=int, default=3, help="pairs of runs")
    given = parser.parse_args()
    here, there = [], []
    with tempfile.TemporaryDirectory() as folder:
        unpack(given.against, Path(folder))
        for k in range(given.runs):
            here.append(measure(ROOT))
            there.append(measure(Path(folder)))
            say(f"pair {k + 1}: {here[-1][0]:.1f} s here, {there[-1][0]:.1f} s in {given.against}")
    wall = [one[0] / other[0] for one, other in zip(here, there, strict=True)]
    processor = [one[1] / other[1] for one, other in zip(here, there, strict=True)]
    result = {
        "against": given.against,
        "first_step_s": round(statistics.median(one[0] for one in here), 1),
        "first_step_s_against": round(statistics.median(one[0] for one in there), 1),
        "ratio": round(statistics.median(wall), 3),
        "ratio_processor_time": round(statistics.median(processor), 3),
        "ratios": [round(one, 3) for one in wall],
        "load_average": round(os.getloadavg()[0], 1),
        **machine(),
        "command": " ".join(["python benchmarks/cold_start.py", *sys.argv[1:]]),
    }
    with open(RESULTS, "a", encoding="utf-8") as file:
        file.write(json.dumps(result) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
