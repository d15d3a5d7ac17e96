"""One command for a machine with a card, under 8 minutes: `make gpu-check`, or `python benchmarks/gpu_check.py --out FILE`.

Runs the throughput benchmark, the tests of the card, a short training and compute-sanitizer where it is there, each in a
process of its own with a time limit, and writes one JSON file after each part: what was done counts, also where something
hangs.
"""

import json
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text

ROOT = Path(__file__).parents[1]

SANITIZED = """
import numpy as np
from gigaflow_env import GigaflowVectorEnv
env = GigaflowVectorEnv(256, map="loop", preset="laptop", backend="cuda", config={"world_steps": 12})
env.reset(seed=0)
for _ in range(15):
    env.step(np.full(256, 10))
env.reset(options={"reset_mask": np.arange(256) % 2 == 0})
"""


@dataclass(frozen=True)
class Check:
    out: Path = ROOT / "benchmarks" / "results" / "cuda.json"
    """Where the result is written."""
    minutes: float = 8.0
    """Time limit of all together."""


def main(check: Check) -> None:
    began = time.perf_counter()
    result: dict[str, Any] = {**machine(), "command": " ".join(["python", *sys.argv]), "parts": {}}

    def part(name: str, share: float, *command: str, read: Any = None) -> None:
        left = check.minutes * 60 - (time.perf_counter() - began)
        limit = max(10.0, min(left, share * check.minutes * 60))
        start = time.perf_counter()
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=limit, cwd=ROOT)
            told = {"status": done.returncode, "tail": (done.stdout + done.stderr)[-3000:].splitlines()}
            if read and done.returncode == 0:
                told = {"status": 0, "result": read(done.stdout)}
        except subprocess.TimeoutExpired as late:
            text = b"".join(part or b"" for part in (late.stdout, late.stderr)).decode(errors="replace")
            told = {"status": "timeout", "tail": text[-3000:].splitlines()}
        result["parts"][name] = {
            **told,
            "seconds": round(time.perf_counter() - start, 1),
            "command": " ".join(command)[:200],
        }
        write_text(check.out, json.dumps(result, indent=1) + "\n")
        print(f"{name}: {told['status']}, {result['parts'][name]['seconds']} s", flush=True)

    python = sys.executable
    part(
        "throughput", 0.35, python, "-m", "gigaflow_env", "bench", "--backend", "cuda", "--map", "downtown", read=json.loads
    )
    part("tests", 0.5, python, "-m", "pytest", "-q", "tests/test_cuda_card.py")
    part(
        "training", 0.2, python, "-m", "gigaflow_train", "run", "--backend", "cuda", "--minutes", "1", "--out",
        str(check.out.with_suffix("")) + "-run",
    )  # fmt: skip
    if shutil.which("compute-sanitizer"):
        part("sanitizer", 0.3, "compute-sanitizer", "--error-exitcode", "3", python, "-c", SANITIZED)
    else:
        result["parts"]["sanitizer"] = {"status": "compute-sanitizer is not there"}
        write_text(check.out, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Check))
