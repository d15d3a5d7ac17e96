"""What a newcomer waits for: the README's commands in a fresh clone, a new virtual environment and empty caches.

    python benchmarks/newcomer.py

Times each step by the clock and writes benchmarks/results/newcomer.json. pip finds its packages where it is told to look.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from gigaflow_env.bench.machine import machine
from gigaflow_env.progress import say

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "newcomer.json"
STEPS = (
    ("virtual environment", [sys.executable, "-m", "venv", ".venv"]),
    ("`pip install -c constraints.txt \".[train,render,viewer]\"`",
     [".venv/bin/python", "-m", "pip", "install", "-q", "-c", "constraints.txt", ".[train,render,viewer]"]),
    ("`python examples/quickstart.py`: kernels are compiled, the first picture",
     [".venv/bin/python", "examples/quickstart.py"]),
    ("again with `--video traffic.mp4`: the first traffic video",
     [".venv/bin/python", "examples/quickstart.py", "--video", "traffic.mp4"]),
    ("`gigaflow-train run --minutes 1`: the first training, with start and end",
     [".venv/bin/gigaflow-train", "run", "--preset", "laptop", "--minutes", "1", "--out", "runs/first"]),
    ("`gigaflow-train evaluate pretrained --map village --video drive.mp4`, 60 s of driving",
     [".venv/bin/gigaflow-train", "evaluate", "pretrained", "--map", "village", "--num-envs", "64", "--seconds", "60",
      "--video", "drive.mp4"]),
)  # fmt: skip
PAGE = "`gigaflow-env watch`: until its page can be opened, a town full of trained drivers"


def until_served(clone: Path, environment: dict[str, str]) -> float:
    """Seconds until the viewer prints its address."""
    start = time.perf_counter()
    command = [".venv/bin/gigaflow-env", "watch", "--no-browser"]
    with subprocess.Popen(command, cwd=clone, env=environment, stdout=subprocess.PIPE, text=True) as viewer:
        assert viewer.stdout
        for line in viewer.stdout:
            if "http://" in line:
                break
        seconds = time.perf_counter() - start
        viewer.terminate()
    return seconds


def main() -> None:
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        clone = Path(folder, "gigaflow-env")
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
        environment |= {"GIGAFLOW_CACHE_DIR": str(Path(folder, "cache"))}
        for name, command in STEPS:
            start = time.perf_counter()
            subprocess.run(command, cwd=clone, env=environment, check=True, stdout=subprocess.DEVNULL)
            rows.append({"step": name, "seconds": round(time.perf_counter() - start, 1)})
            say(f"{name}: {rows[-1]['seconds']} s")
        rows.append({"step": PAGE, "seconds": round(until_served(clone, environment), 1)})
    load = round(os.getloadavg()[0], 1)
    result = {"steps": rows, "load_average": load, **machine(), "command": "python benchmarks/newcomer.py"}
    RESULT.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
