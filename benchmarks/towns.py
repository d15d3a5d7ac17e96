"""Random towns: draws many, checks each, and prints one JSON line: `python benchmarks/towns.py`."""

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import tyro

from gigaflow_env.roads import draw, summary

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

from plausibility import CHECKS, forget


@dataclass(frozen=True)
class Towns:
    """Draw random towns and check that they are plausible."""

    first: int = 0
    """Seed of the first."""
    seeds: int = 200
    """How many."""


def main(towns: Towns) -> None:
    failures: Counter[str] = Counter()
    rejected, seconds, lane_km = 0, [], []
    for seed in range(towns.first, towns.first + towns.seeds):
        began = time.perf_counter()
        drawn = draw.town(seed)
        seconds.append(time.perf_counter() - began)
        rejected += drawn.rejected
        lane_km.append(summary(drawn.town)["lane_km"])
        for check in CHECKS:
            try:
                check(drawn.town)
            except AssertionError as error:
                failures[check.__name__] += 1
                print(f"seed {seed}: {check.__name__}: {error}", file=sys.stderr)
        forget()
    found = {
        "seeds": towns.seeds,
        "rejected": round(rejected / (rejected + towns.seeds), 3),
        "lane_km": [round(min(lane_km), 1), round(max(lane_km), 1)],
        "slowest_s": round(max(seconds), 2),
        "failures": dict(failures),
    }
    print(json.dumps(found))
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main(tyro.cli(Towns))
