"""Kernels that the CUDA backend compiles run on the CPU: `attach(folder)`, where the driver of `build` is loaded."""

import ctypes
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.emulator import translate

HERE = Path(__file__).parent
CAPABILITY = (9, 0)
"""The compute capability that driver.c pretends to have."""
COUNTS = (
    "warp_instructions", "thread_instructions", "load_sectors", "store_sectors", "load_bytes", "store_bytes",
)  # fmt: skip


class Mode(ctypes.Structure):
    """How kernels run; see driver.c."""

    _fields_ = (
        ("order", ctypes.c_int),
        ("count", ctypes.c_int),
        ("races", ctypes.c_int),
        ("counts", ctypes.c_double * len(COUNTS)),
    )


def build(folder: Path) -> Path:
    """Compile the driver into `folder`: what LD_LIBRARY_PATH has to name before a process begins."""
    sources = [str(HERE / "driver.c"), str(HERE / "machine.c")]
    subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC", "-w", "-o", str(folder / "libcuda.so.1"), *sources, "-ldl"], check=True
    )
    return folder


class Emulation(NamedTuple):
    """How kernels run, and what was prepared."""

    mode: Mode
    """Set `order`, `count` and `races` at any time; `counts` is that of the last launch."""
    launches: dict[str, Any]
    """The first backend.cuda.Launch of each kernel, by name."""


def attach(folder: Path) -> Emulation:
    """From now on kernels that the CUDA backend prepares run on the CPU.

    Args:
        folder: where translated kernels are kept.
    """
    from gigaflow_env.backend import cuda as backend

    driver = ctypes.CDLL("libcuda.so.1")
    driver.emulation.restype = ctypes.POINTER(Mode)
    driver.attach.restype, driver.attach.argtypes = ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_char_p]
    original, launches = backend.Launch.__init__, {}

    def prepare(launch: Any, kernel: Any, args: tuple) -> None:
        original(launch, kernel, args)
        launches.setdefault(kernel.py_func.__name__, launch)
        library = translate.library(launch.compiled.inspect_asm(CAPABILITY), folder)
        fault = driver.attach(int(launch._function), str(library).encode())
        if fault:
            raise OSError(fault.decode())

    backend.Launch.__init__ = prepare  # type: ignore[method-assign]
    return Emulation(driver.emulation().contents, launches)
