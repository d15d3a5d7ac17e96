"""What the worlds of the preset `generalist` are worth: benchmarks/results/driver_ablations.json.

    gigaflow-train sweep benchmarks/driver_ablations.toml --out runs/driver-ablations
    python benchmarks/driver_ablations.py runs/driver-ablations

Every run of the sweep drives in the same towns that none has seen, as the ladder of driver.py has them: 20 random towns, the
same with map variants and erratic drivers, and real maps where there are any. The table has means over the seeds and
Student's intervals.
"""

import json
import sys
import tomllib
from pathlib import Path
from typing import Any

from driver import UNSEEN, Card, Row, drive, plain, real, rounded, timed

from gigaflow_env import driver
from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_train.sweep import mean_and_half

RESULT = Path(__file__).parent / "results" / "driver_ablations.json"
SWEEP = Path(__file__).with_suffix(".toml")
FIGURES = ("goal_rate", "collision_rate", "offroad_rate", "red_lights_per_km")
ROWS, STEPS = 256, 500


def worlds() -> dict[str, tuple[tuple[str, ...], Any]]:
    """Maps and environment of each column, the same for all runs."""
    calm = plain(Card())
    varied = timed(driver.config_of(driver.PRETRAINED))
    found = {"20 random towns": ((UNSEEN,), calm), "with variants and erratic drivers": ((UNSEEN,), varied)}
    return found | {name: (maps, calm) for name, maps in real().items() if name in ("Town01", "Town02")}


def main(folder: str) -> None:
    sweep = tomllib.loads(SWEEP.read_text())
    table: dict[str, Any] = {}
    for name in sweep["settings"]:
        table[name] = {}
        for world, (maps, config) in worlds().items():
            found = []
            for seed in sweep["seeds"]:
                card = Card(policy=str(Path(folder, f"{name}-{seed}")), threads=1)
                found.append(drive(card, Row("ladder", world, maps, config, ROWS, STEPS)))
            columns = {figure: mean_and_half([one[figure]["value"] for one in found]) for figure in FIGURES}
            table[name][world] = columns
            print(f"{name}: {world}: {columns['goal_rate']['mean']:.1%} goals", flush=True)
    result = {"table": table, "steps": sweep["steps"], "seeds": sweep["seeds"], **machine()}
    result["command"] = f"python benchmarks/driver_ablations.py {folder}"
    write_text(RESULT, json.dumps(rounded(result), indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
