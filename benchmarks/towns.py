"""Random towns: draws many, checks each, and prints what it finds as JSON: `python benchmarks/towns.py`.

Exit status 1 if one is not plausible. Seconds are those of the processor: other programs don't count.
"""

import json
import statistics
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_env.roads import summary
from gigaflow_env.roads.towns import random_town

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from plausibility import CHECKS, check_all, forget


@dataclass(frozen=True)
class Towns:
    """Draw random towns and check that they are plausible."""

    first: int = 0
    """Seed of the first."""
    seeds: int = 200
    """How many."""
    style: str = ""
    """Of the towns: old, tight, wide, or that of `random:SEED`."""
    json: Path | None = None
    """Write the result into this file."""


def main(towns: Towns) -> None:
    failures: Counter[str] = Counter()
    rejected, seconds, lane_km = 0, [], []
    random_town.town(towns.first, towns.style)  # loads the kernels, so that the first seed's time is its own
    for seed in range(towns.first, towns.first + towns.seeds):
        began = time.process_time()
        drawn = random_town.town(seed, towns.style)
        seconds.append(time.process_time() - began)
        rejected += drawn.rejected
        lane_km.append(summary(drawn.town)["lane_km"])
        for name, message in check_all(drawn.town, towns.style):
            failures[name] += 1
            print(f"seed {seed}: {name}: {message}", file=sys.stderr)
        forget()
    found = {
        "seeds": towns.seeds,
        "rejected": round(rejected / (rejected + towns.seeds), 3),
        "lane_km": [round(min(lane_km), 1), round(max(lane_km), 1)],
        "median_s": round(statistics.median(seconds), 2),
        "slowest_s": round(max(seconds), 2),
        "slowest_seed": towns.first + seconds.index(max(seconds)),
        "over_2_s": sum(second > 2 for second in seconds),
        "checks": [check.__name__ for check in CHECKS],
        "failures": dict(failures),
        **machine(),
        "command": " ".join(["benchmarks/towns.py", *sys.argv[1:]]),
    }
    print(json.dumps(found))
    if towns.json is not None:
        write_text(towns.json, json.dumps(found, indent=1) + "\n")
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main(tyro.cli(Towns))
