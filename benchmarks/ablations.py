"""What the documents show of a sweep of benchmarks/ablations.toml: benchmarks/results/ablations.json.

    gigaflow-train sweep benchmarks/ablations.toml --out runs/ablations
    python benchmarks/ablations.py runs/ablations

The sweep's table, and of each run the share of samples that the filter kept in its last iteration.
"""

import json
import sys
from pathlib import Path

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text

RESULT = Path(__file__).parent / "results" / "ablations.json"


def main(folder: str) -> None:
    sweep, kept = json.loads(Path(folder, "sweep.json").read_text()), {}
    for name in sweep["table"]:
        journals = sorted(Path(folder).glob(f"{name}-[0-9]*/metrics.jsonl"))
        kept[name] = [round(json.loads(path.read_text().splitlines()[-1])["kept"], 3) for path in journals]
    command = (
        "gigaflow-train sweep benchmarks/ablations.toml --out runs/ablations; python benchmarks/ablations.py runs/ablations"
    )
    result = {"table": sweep["table"], "kept_at_the_end": kept, **machine(), "command": command}
    write_text(RESULT, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
