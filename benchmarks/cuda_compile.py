"""What the CUDA kernels compile to, without a card: `python benchmarks/cuda_compile.py 8.0 9.0`.

Prints one JSON line a kernel and compute capability: registers, stack and spills as ptxas tells, instructions in double
precision and on local memory as they stand in the machine code, stores to global memory, the arrays whose address the kernel
never loads, and the share of a processor's threads that fit at once.

Needs the extra `cuda13` with `cuda-toolkit[nvcc]`, whose programs ptxas and nvdisasm it calls.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from gigaflow_env.backend import cuda as backend
from gigaflow_env.backend.world_step import DISABLED
from gigaflow_env.config import paper
from gigaflow_env.event_log import EventLog
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import GROUPS

REGISTERS, THREADS, BLOCKS = 65536, 2048, 32
"""Of one processor (SM) of the A100, H100 and H200."""
SHARED = {(8, 0): 164 * 1024, (9, 0): 228 * 1024}


def arguments(sim: Simulator) -> dict[str, tuple[int, int, tuple[Any, ...]]]:
    """Threads and bytes of shared memory of a block, and arguments, by kernel."""
    launched: dict[str, Any] = {}

    class Listener(backend.Device):
        def __init__(self) -> None:  # without a card
            self._key = self._same_key = np.zeros(1, np.uint32)

        def write(self, array: Any, values: np.ndarray) -> None:
            pass

        def _launch(self, name: str, blocks: int, threads: int, shared: int, have: dict[str, Any]) -> None:
            launched.setdefault(name, (threads, shared, backend.arguments(name, have)))

    parts, listener = sim._parts, Listener()
    listener.clear(parts, True, np.zeros(2, np.uint32), sim.chosen)
    listener.step(parts)
    listener.step(parts._replace(mode=DISABLED, obs_dtype=1, obs=parts.obs.astype(np.uint16)))
    return launched


def labels(arg: Any) -> list[str]:
    """A name for each parameter of the compiled kernel: Group.field for the address of an array, "" for others."""
    if getattr(arg, "ndim", 0):
        return ["", "", "", "", "array", *[""] * (2 * arg.ndim)]
    if type(arg) in GROUPS:
        return [f"{type(arg).__name__}.{field}" for field in arg._fields]
    if isinstance(arg, tuple):
        named = zip(getattr(arg, "_fields", [""] * len(arg)), arg, strict=True)
        return [
            f"{type(arg).__name__}.{field}" if label == "array" else label for field, part in named for label in labels(part)
        ]
    return [""]


def compile_all(sim: Simulator, cc: tuple[int, int]) -> list[dict[str, Any]]:
    import numba.cuda.dispatcher
    from numba import cuda, void
    from numba.cuda.typing.typeof import Purpose, typeof

    # Device functions ask the card that is there for its capability; here none is.
    numba.cuda.dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=cc)
    rows = []
    for name, (threads, shared, args) in arguments(sim).items():
        start = time.perf_counter()
        signature = void(*(typeof(arg, Purpose.argument) for arg in args))
        ptx, _ = cuda.compile(backend.KERNELS[name].py_func, signature, cc=cc, device=False, abi="numba", output="ptx")
        seconds = time.perf_counter() - start
        rows.append(code_of(name, ptx, threads, shared, args, cc) | {"compile_s": round(seconds, 1)})
    return rows


def code_of(name: str, ptx: str, threads: int, shared: int, args: tuple[Any, ...], cc: tuple[int, int]) -> dict[str, Any]:
    """What is in the code of one kernel, for blocks of so many threads and bytes of shared memory."""
    names = [label for arg in args for label in labels(arg)]
    row = {"kernel": name, "cc": f"{cc[0]}.{cc[1]}", **read_ptx(ptx, names), **assemble(ptx, cc)}
    row |= {"threads": threads, "dynamic_shared_bytes": shared}
    return row | {"occupancy": occupancy(row["registers"], threads, shared, cc)}


def read_ptx(ptx: str, labels: list[str]) -> dict[str, Any]:
    declared = re.findall(r"\.param \.[\w .]+? (\w+_param_\d+)", ptx)
    assert len(declared) == len(labels), f"{len(declared)} parameters for {len(labels)} values"
    loaded = set(re.findall(r"ld\.param[.\w]* [^\[]*\[(\w+)\]", ptx))
    return {
        "ptx_doubles": len(re.findall(r"\.f64", ptx)),
        "ptx_global_stores": len(re.findall(r"\bst\.global", ptx)),
        "untouched": [label for name, label in zip(declared, labels, strict=True) if label and name not in loaded],
    }


def assemble(ptx: str, cc: tuple[int, int]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "kernel.ptx"), Path(folder, "kernel.cubin")
        source.write_text(ptx)
        told = run("ptxas", "-v", f"-arch=sm_{cc[0]}{cc[1]}", str(source), "-o", str(binary))
        code = run("nvdisasm", "-c", str(binary))
    instructions = re.findall(r"^\s+/\*[0-9a-f]+\*/\s+(?:@!?U?P\d\s+)?([A-Z][\w.]*)", code, re.MULTILINE)
    assert len(instructions) > 100, "nvdisasm printed no instructions"
    return {
        "registers": int(re.search(r"Used (\d+) registers", told)[1]),  # type: ignore[index]
        "stack_bytes": int(re.search(r"(\d+) bytes stack frame", told)[1]),  # type: ignore[index]
        "spilled_bytes": sum(map(int, re.findall(r"(\d+) bytes spill", told))),
        "instructions": len(instructions),
        "double_instructions": sum(
            bool(re.match(r"D(ADD|MUL|FMA|SETP|MNMX)|F2F\.F(64|32)\.F(64|32)", i)) for i in instructions
        ),
        "local_instructions": sum(i.startswith(("LDL", "STL")) for i in instructions),
    }


def run(program: str, *args: str) -> str:
    here = Path(sys.prefix, "lib", f"python{sys.version_info[0]}.{sys.version_info[1]}", "site-packages", "nvidia")
    found = next((str(path) for path in here.glob(f"cu1*/bin/{program}")), None) or shutil.which(program)
    if found is None:
        raise FileNotFoundError(f"{program}: pip install 'cuda-toolkit[nvcc]==13.0.*' nvidia-cuda-nvdisasm")
    done = subprocess.run([found, *args], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{program}: {done.stderr[-2000:]}")
    return done.stdout + done.stderr


def occupancy(registers: int, threads: int, shared: int, cc: tuple[int, int]) -> float:
    """Share of a processor's threads that are there at once; registers are given out in units of 256 a warp."""
    warps = threads // 32
    per_block = warps * -(-registers * 32 // 256) * 256
    blocks = min(REGISTERS // per_block, THREADS // threads, BLOCKS, SHARED[cc] // (shared + 1024))
    return round(blocks * threads / THREADS, 3)


if __name__ == "__main__":
    sim = Simulator("downtown", 128, paper().replace(agents_per_world=64), threads=1, drivers="idm")
    sim.contacts = EventLog(sim).contacts
    for text in sys.argv[1:]:
        major, minor = map(int, text.split("."))
        for row in compile_all(sim, (major, minor)):
            print(json.dumps(row), flush=True)
