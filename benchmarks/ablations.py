"""What the documents show of a sweep of benchmarks/NAME.toml: benchmarks/results/NAME.json.

    gigaflow-train sweep benchmarks/ablations.toml --out runs/ablations
    python benchmarks/ablations.py runs/ablations

NAME is `ablations` (of the method) or `worlds` (of the driver's training). The sweep's table, and of each run the share of
samples that the filter kept in its last iteration.
"""

import json
import sys
from pathlib import Path

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text

RESULTS = Path(__file__).parent / "results"


def main(folder: str) -> None:
    sweep, kept = json.loads(Path(folder, "sweep.json").read_text()), {}
    for name in sweep["table"]:
        journals = sorted(Path(folder).glob(f"{name}-[0-9]*/metrics.jsonl"))
        kept[name] = [round(json.loads(path.read_text().splitlines()[-1])["kept"], 3) for path in journals]
    name = Path(sweep["file"]).stem
    command = f"gigaflow-train sweep benchmarks/{name}.toml --out {folder}; python benchmarks/ablations.py {folder}"
    result = {"table": sweep["table"], "kept_at_the_end": kept, **machine(), "command": command}
    write_text(RESULTS / f"{name}.json", json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
