"""How many instructions an agent-step takes, by kernel.

    python benchmarks/instructions.py [--against 163c8ce] [--idm 0.2] [--json FILE]

Valgrind runs the compiled kernels and counts: a busy machine changes nothing. Valgrind knows no AVX-512, so kernels are
compiled for AVX2 here; loops over many numbers at once take fewer instructions where a processor has it.
"Mispredicted" are branches that Valgrind's simple predictor would miss; a real one misses fewer.

Preset "paper", downtown with 64 agents a world, random actions. Needs `valgrind` with its headers, and a C compiler.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from turns import WATCH_KERNELS, unpack

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text

ROOT = Path(__file__).resolve().parents[1]
ROWS, AGENTS, BEFORE, STEPS = 512, 64, 40, 8
"""Rows, agents a world, steps that are not counted, and those that are."""
PROCESSOR = {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "+avx,+avx2,+fma,+f16c,+bmi,+bmi2,+popcnt,+sse4.2"}
"""What Valgrind knows, as LLVM calls it."""
EVENTS = ("Ir", "Bc", "Bcm")
"""Valgrind's names of instructions, branches, and mispredicted ones."""

SHIM = """
#include <valgrind/callgrind.h>
void begin(void) { CALLGRIND_ZERO_STATS; }
void end(const char *name) { CALLGRIND_DUMP_STATS_AT(name); }
"""

WORKER = (
    WATCH_KERNELS
    + """
import ctypes, gc, json, sys
import numpy as np
from gigaflow_env import ACTIONS, GigaflowVectorEnv

rows, agents, before, steps, idm = json.loads(sys.argv[1])
drivers = {"drivers": {"policy": 1.0 - idm, "idm": idm}} if idm else {}
env = GigaflowVectorEnv(rows, map="downtown", preset="paper", agents_per_world=agents, threads=1, copy=False, **drivers)
env.reset(seed=0)
actions = np.random.default_rng(0).integers(0, ACTIONS, (before + steps, rows))
if len(sys.argv) == 2:  # compiles
    env.step(actions[0])
    sys.exit()
shim = ctypes.CDLL(sys.argv[2])

def counted(call, name):
    shim.begin()
    call()
    shim.end(name.replace(" ", "~").encode())

for chosen in actions[:before]:
    env.step(chosen)
watch_kernels(counted)
gc.disable()
for chosen in actions[before:]:
    env.step(chosen)
"""
)


def needed() -> str:
    """The C compiler. Raises SystemExit that says what is missing."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if not shutil.which("valgrind") or not compiler:
        raise SystemExit("instructions are counted by Valgrind: install `valgrind` and a C compiler")
    return compiler


def count(tree: Path, folder: Path, idm: float = 0.0) -> dict[str, dict[str, float]]:
    """Instructions, branches and mispredicted ones of an agent-step, by kernel, of the package in `tree`.

    idm: share of rule-based drivers.
    """
    library = folder / "shim.so"
    shim = folder / "shim.c"
    shim.write_text(SHIM)
    subprocess.run([needed(), "-shared", "-fPIC", "-o", str(library), str(shim)], check=True)
    environment = {**os.environ, **PROCESSOR, "PYTHONPATH": str(tree)}
    worker = [sys.executable, "-c", WORKER, json.dumps([ROWS, AGENTS, BEFORE, STEPS, idm])]
    subprocess.run(worker, check=True, env=environment, cwd=folder)
    print("counting, some minutes ...", file=sys.stderr, flush=True)
    out = folder / "counts"
    watched = ["valgrind", "--tool=callgrind", "--branch-sim=yes", f"--callgrind-out-file={out}", *worker, str(library)]
    with (folder / "said").open("w") as said:
        if subprocess.run(watched, env=environment, cwd=folder, stdout=said, stderr=said, check=False).returncode:
            raise SystemExit(f"Valgrind failed: {(folder / 'said').read_text()[-2000:]}")
    steps = defaultdict(list)
    for part in folder.glob("counts.*"):
        kernel, counts = read(part.read_text(errors="replace"))
        steps[kernel].append(counts)
    return {
        kernel: {name: round(statistics.median(one[name] for one in parts) / ROWS, 1) for name in EVENTS}
        for kernel, parts in sorted(steps.items())
    }


def read(text: str) -> tuple[str, dict[str, int]]:
    """Kernel and counts of what Valgrind wrote after it."""
    kernel = re.search(r"^desc: Trigger: Client Request: (\S+)$", text, re.MULTILINE)
    names = re.search(r"^events: (.*)$", text, re.MULTILINE)
    totals = re.search(r"^(?:summary|totals): (.*)$", text, re.MULTILINE)
    if not kernel or not names or not totals:
        raise SystemExit(f"Valgrind wrote something else than expected: {text[:500]!r}")
    counts = dict(zip(names[1].split(), map(int, totals[1].split()), strict=False))
    return kernel[1].replace("~", " "), {name: counts.get(name, 0) for name in EVENTS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--against", help="count for this git revision, too")
    parser.add_argument("--idm", type=float, default=0.0, help="share of rule-based drivers")
    parser.add_argument("--json", type=Path, help="write the result into this file")
    given = parser.parse_args()
    needed()
    result: dict[str, Any] = {"rows": ROWS, "agents_per_world": AGENTS, "map": "downtown", "idm": given.idm}
    with tempfile.TemporaryDirectory() as temporary:
        trees = {"now": ROOT}
        if given.against:
            trees["before"] = Path(temporary) / "other"
            unpack(given.against, trees["before"])
        for when, tree in trees.items():
            folder = Path(temporary) / when
            folder.mkdir()
            result[when] = count(tree, folder, given.idm)
            for kernel, counts in result[when].items():
                numbers = " ".join(f"{name} {number:8.1f}" for name, number in counts.items())
                print(f"{when:7} {kernel:28} {numbers}", flush=True)
    command = " ".join(["python", "benchmarks/instructions.py", *sys.argv[1:]])
    result |= {"against": given.against, **machine(), "command": command}
    if given.json:
        write_text(given.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
