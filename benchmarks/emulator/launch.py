"""Kernels that the CUDA backend compiles run on the CPU: `attach(folder)`, where the driver of `build` is loaded."""

import ctypes
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.emulator import translate
from gigaflow_env.files import cache_directory

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
    """Compile the driver into `folder`, for `environment`."""
    sources = [str(HERE / "driver.c"), str(HERE / "machine.c")]
    subprocess.run(
        ["gcc", "-O2", "-shared", "-fPIC", "-w", "-o", str(folder / "libcuda.so.1"), *sources, "-ldl"], check=True
    )
    return folder


def environment(folder: Path) -> dict[str, str]:
    """What a process has to be started with to find the driver in `folder`.

    Kernels without machine code are kept apart from those of a card.
    """
    return {"LD_LIBRARY_PATH": str(folder), "NUMBA_CACHE_DIR": str(cache_directory() / "kernels" / "emulated")}


def ptx(launch: Any) -> str:
    """The code of a kernel, as it was compiled for this driver: for another capability it would be compiled again."""
    return launch.compiled.inspect_asm(None)


class Emulation(NamedTuple):
    """How kernels run, and what was prepared."""

    mode: Mode
    """Set `order`, `count` and `races` at any time; `counts` is that of the last launch."""
    launches: dict[str, Any]
    """The first backend.cuda.Launch of each kernel, by name."""


def leave_unlinked() -> None:
    """From now on kernels end as PTX. To make a card's machine code of it takes as long again, and here nothing runs it."""
    from gigaflow_env.backend.cuda import cuda

    nothing = cuda.cudadrv.driver.ObjectCode.from_cubin
    cuda.codegen.CUDACodeLibrary.get_cubin = lambda library, cc=None: nothing(b"unlinked")


def attach(folder: Path, *, link: bool = False) -> Emulation:
    """From now on kernels that the CUDA backend prepares run on the CPU.

    Args:
        folder: where translated kernels are kept.
        link: make a card's machine code, too, as without emulation.
    """
    from gigaflow_env.backend import cuda as backend

    if not link:
        leave_unlinked()
    driver = ctypes.CDLL("libcuda.so.1")
    driver.emulation.restype = ctypes.POINTER(Mode)
    driver.attach.restype, driver.attach.argtypes = ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_char_p]
    original, launches = backend.Launch.__init__, {}

    def prepare(launch: Any, kernel: Any, args: tuple) -> None:
        original(launch, kernel, args)
        launches.setdefault(kernel.py_func.__name__, launch)
        library = translate.library(ptx(launch), folder)
        fault = driver.attach(int(launch._function), str(library).encode())
        if fault:
            raise OSError(fault.decode())

    backend.Launch.__init__ = prepare  # type: ignore[method-assign]
    return Emulation(driver.emulation().contents, launches)
