"""Machine code of kernels on disk: a file for each kernel and signature, shared by all virtual environments of a user.

Numba's own cache lies beside the source and is stamped with the source's time: every virtual environment compiles anew, and
two processes that write two signatures of a kernel at once may mix them up in its index. Here the name of a file says all
that the machine code follows from, so there is no index. Files appear complete or not at all, and begin with a checksum.
"""

import functools
import hashlib
import os
import pickle
import platform
import shutil
import time
import warnings
import zlib
from pathlib import Path
from typing import Any

import llvmlite
import numba
import numpy
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target
from numba.core.serialize import dumps

from gigaflow_env.files import cache_directory, replacing
from gigaflow_env.progress import say

KEPT_DAYS = 60
"""Machine code of other sources, libraries or processors goes when nobody has used it for so long."""

SUFFIX = ".kernel"


class KernelCache(NullCache):
    """What a dispatcher asks before it compiles, and tells afterwards. Numba calls it under its compiler lock."""

    def __init__(self, function: Any, source_hash: str) -> None:
        self._name = function.__name__
        self._module = function.__module__.rpartition(".")[2]
        self._source_hash = source_hash
        self._own_file = Path(function.__code__.co_filename)
        self._began = 0.0

    @property
    def cache_path(self) -> str:
        """Folder of this source's machine code."""
        return str(folder(self._source_hash))

    def path(self, signature: tuple) -> Path:
        """File of the machine code for these types of arguments."""
        # The source hash is of what rules and stages are made of; a kernel may also lie in a file that isn't part of it.
        key = f"{_hash_of_file(self._own_file)} {signature}".encode()
        name = f"{self._module}.{self._name}-{hashlib.sha256(key).hexdigest()[:16]}{SUFFIX}"
        return folder(self._source_hash) / name

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        """The compiled kernel; None where there is none, or none that is whole."""
        try:
            whole = self.path(sig).read_bytes()
        except OSError:
            whole = b""
        if len(whole) > 4 and int.from_bytes(whole[:4], "little") == zlib.crc32(whole[4:]):
            _mark_used(folder(self._source_hash))
            return CompileResult._rebuild(target_context, *pickle.loads(whole[4:]))
        self._began = time.perf_counter()
        announce()
        return None

    def save_overload(self, sig: Any, data: Any) -> None:
        """Keep a compiled kernel. Where that is not possible, say so once."""
        say(f"  {self._name} {time.perf_counter() - self._began:.1f} s")
        machine_code = dumps(data._reduce())
        path = self.path(sig)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as part:
                part.write_bytes(zlib.crc32(machine_code).to_bytes(4, "little") + machine_code)
        except OSError as error:
            _warn(str(path.parent), str(error))


@functools.cache
def announce() -> None:
    """Once a process, before the first kernel is compiled."""
    say("compiling kernels, once per installation, about 30 s on two cores (GIGAFLOW_QUIET=1 hides this)")


def folder(source_hash: str) -> Path:
    """Where the kernels of these sources are kept, compiled by these libraries for this processor."""
    return cache_directory() / "kernels" / f"{source_hash}-{_machine_hash()}"


def prune(source_hash: str) -> list[Path]:
    """Remove the folders of other sources, libraries or processors which nobody used for KEPT_DAYS. Returns them."""
    mine, removed = folder(source_hash), []
    for other in mine.parent.glob("*-*") if mine.parent.is_dir() else ():
        try:
            if other != mine and time.time() - other.stat().st_mtime > KEPT_DAYS * 86400:
                shutil.rmtree(other)
                removed.append(other)
        except OSError:  # another process was faster, or it belongs to another user
            continue
    return removed


@functools.cache
def _machine_hash() -> str:
    versions = (platform.python_version(), numba.__version__, llvmlite.__version__, numpy.__version__)
    processor = cpu_target.target_context.codegen().magic_tuple()  # with its features: an image may move to another one
    return hashlib.sha256(repr((versions, processor)).encode()).hexdigest()[:12]


@functools.cache
def _hash_of_file(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def _mark_used(used: Path) -> None:
    """Once a process: `prune` goes by the folder's time."""
    try:
        os.utime(used)
    except OSError:  # a cache that only others may write, as in a container's image
        return


@functools.cache
def _warn(place: str, reason: str) -> None:
    warnings.warn(
        f"compiled kernels can't be kept in {place} ({reason}): they will be compiled in every process. "
        "Set GIGAFLOW_CACHE_DIR to a directory that can be written",
        RuntimeWarning,
        stacklevel=2,
    )
