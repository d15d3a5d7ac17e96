"""How soon a run reached its goals, and what came of it: benchmarks/results/time_to_99.json.

    gigaflow-train run --preset laptop --map loop --out RUN
    python benchmarks/time_to.py RUN

The goal rate while it trains, every quarter of a minute, from its metrics.jsonl; then it drives, as by
`gigaflow-train evaluate`.
"""

import json
import subprocess
import sys
from pathlib import Path

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text

RESULT = Path(__file__).parent / "results" / "time_to_99.json"
STEP = 0.25
"""[min] From one line of the curve to the next."""
GOALS = 0.99
COMMAND = "gigaflow-train run --preset laptop --map loop --out RUN; python benchmarks/time_to.py RUN"


def curve(rows: list[dict]) -> list[dict]:
    """The last line of the journal of each quarter of a minute."""
    found = []
    for k in range(1, int(rows[-1]["minutes"] / STEP) + 1):
        row = [row for row in rows if row["minutes"] <= k * STEP][-1]
        found.append({"minutes": k * STEP, "samples": row["step"], "goal_rate": round(row["goal_rate"], 4)})
    return found


def main(run: str) -> None:
    rows = [json.loads(line) for line in Path(run, "metrics.jsonl").read_text().splitlines()]
    points = curve([row for row in rows if "goal_rate" in row])
    stays = [k for k, point in enumerate(points) if all(later["goal_rate"] >= GOALS for later in points[k:])]
    words = [sys.executable, "-m", "gigaflow_train", "evaluate", run, "--json"]
    evaluated = json.loads(subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True).stdout)
    result = {
        "stays_at_99": points[stays[0]] if stays else None,
        "goal_rate_while_it_trains": points,
        "evaluated": {name: evaluated[name] for name in ("goal_rate", "collision_rate", "offroad_rate")},
        **machine(),
        "command": COMMAND,
    }
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
