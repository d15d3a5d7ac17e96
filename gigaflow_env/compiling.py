"""Kernels that are not on disk yet are compiled side by side, in processes of their own.

`python -m gigaflow_env.compiling` is such a process: a kernel and its signature come in on a line of stdin, seconds go out
on a line of stdout, and the machine code is found in the cache on disk. It doesn't import the user's program: it works in
notebooks, in forked workers and under `python -c`.
"""

import base64
import gc
import importlib
import json
import os
import pickle
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numba.core.serialize import dumps

from gigaflow_env.files import cache_directory
from gigaflow_env.jit import SOURCE_HASH
from gigaflow_env.kernel_cache import announce, folder, prune
from gigaflow_env.prepared import Table
from gigaflow_env.progress import say

LOCK_WAIT = 600.0
"""[s] So long one waits for another process that compiles. Ours: ten times what it takes on one busy core."""

Wanted = tuple[Any, tuple]
"""A kernel, and the types of its arguments."""


def ready(calls: Sequence[tuple[Callable, Sequence[Any]]], processes: int) -> None:
    """Have all these kernels compiled for these arguments: from disk, or compiled now in so many processes, in this order.

    What a kernel's compilation raises is raised.
    """
    wanted: list[Wanted] = [(kernel, tuple(_type_of(kernel, arg) for arg in args)) for kernel, args in calls]
    if _missing(wanted):
        with _one_at_a_time():
            missing = _missing(wanted)  # another process may have been at it
            start = time.perf_counter()
            if len(missing) > 1 and processes > 1 and (reason := _compile_aside(missing, processes)):
                say(f"{reason}: compiling in this process")
            for kernel, signature in missing:
                kernel.compile(signature)  # from disk by now, as a rule
            if missing:
                say(f"{len(missing)} kernels in {time.perf_counter() - start:.1f} s, kept in {folder(SOURCE_HASH)}")
                prune(SOURCE_HASH)
    for kernel, signature in wanted:
        kernel.compile(signature)


def _type_of(kernel: Any, value: Any) -> Any:
    """Numba's type of an argument, kept by kind: Numba infers it array by array in Python, for every new environment."""
    kind = _kind(value)
    if kind not in _TYPES:
        _TYPES[kind] = kernel.typeof_pyval(value)
    return _TYPES[kind]


_TYPES: dict[Any, Any] = {}


def _kind(value: Any) -> Any:
    """All of an argument that Numba's type follows from."""
    if isinstance(value, np.ndarray):
        flags = value.flags
        return value.dtype, value.ndim, flags.c_contiguous, flags.f_contiguous, flags.aligned, flags.writeable
    if isinstance(value, tuple):
        return type(value), *map(_kind, value)
    if isinstance(value, Table):
        return Table, *map(_kind, value.groups)
    return type(value)


def _missing(wanted: Sequence[Wanted]) -> list[Wanted]:
    """Those which are neither in this process nor on disk."""
    return [
        (kernel, signature)
        for kernel, signature in wanted
        if signature not in kernel.overloads and not kernel._cache.path(signature).exists()
    ]


@contextmanager
def _one_at_a_time() -> Iterator[None]:
    """Processes that start together don't all compile the same. The lock ends with its process, so it can't be stale."""
    try:
        import fcntl

        place = folder(SOURCE_HASH)
        place.mkdir(parents=True, exist_ok=True)
        lock = open(place / "lock", "w")
    except (ImportError, OSError):  # not on this system, or nothing can be written there: twice is only a waste
        yield
        return
    with lock:
        end, told = time.monotonic() + LOCK_WAIT, False
        while time.monotonic() < end:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    say("another process compiles kernels: waiting for it")
                told = True
                time.sleep(0.2)
            except OSError:  # a file system without locks
                break
        yield


def _compile_aside(missing: Sequence[Wanted], processes: int) -> str:
    """Compile in several processes. Returns why some of it could not be done, or an empty string."""
    if not sys.executable or getattr(sys, "frozen", False):
        return "there is no Python to start another process with"
    announce()
    tasks = deque(missing)
    workers: list[subprocess.Popen] = []
    reasons: list[str] = []
    threads = [
        threading.Thread(target=_feed, args=(tasks, workers, reasons), daemon=True)
        for _ in range(min(processes, len(missing)))
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except BaseException:  # Ctrl-C
        tasks.clear()
        for worker in workers:
            worker.kill()
        raise
    return "; ".join(reasons)


def _feed(tasks: deque, workers: list[subprocess.Popen], reasons: list[str]) -> None:
    """One process, and one kernel after the other for it: rules that several kernels have are compiled once."""
    environment = {
        **os.environ,
        "GIGAFLOW_CACHE_DIR": str(cache_directory()),
        "GIGAFLOW_QUIET": "1",
        "PYTHONPATH": os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, sys.path)]),
    }
    # -P: a file in the working directory that is called like a library is not that library.
    command = [sys.executable, "-P", "-W", "ignore", "-m", "gigaflow_env.compiling"]
    with tempfile.TemporaryFile() as errors:
        try:
            worker = subprocess.Popen(
                command, bufsize=0, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors
            )
        except OSError as error:
            reasons.append(f"no process could be started ({error})")
            return
        workers.append(worker)
        with worker:
            while tasks:
                try:
                    kernel, signature = tasks.popleft()
                except IndexError:  # another thread was faster
                    break
                function = kernel.py_func
                try:
                    worker.stdin.write(base64.b64encode(dumps((function.__module__, function.__name__, signature))) + b"\n")  # type: ignore[union-attr]
                    answer = worker.stdout.readline()  # type: ignore[union-attr]
                except BrokenPipeError:
                    answer = b""
                if not answer:
                    worker.kill()
                    errors.seek(0)
                    last = errors.read().decode(errors="replace").strip().splitlines()[-1:]
                    reasons.append(f"the process that compiled {function.__name__} ended early ({''.join(last)})")
                    return
                report = json.loads(answer)
                if report["error"]:
                    reasons.append(f"{function.__name__} could not be compiled in a process of its own ({report['error']})")
                else:
                    say(f"  {function.__name__} {report['seconds']:.1f} s")


def serve() -> None:
    """Compile what comes in on stdin."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nobody else writes between the answers
    gc.disable()  # a tenth of the compile time: millions of small objects, and the process ends soon
    for line in sys.stdin.buffer:
        start, error = time.perf_counter(), ""
        try:
            module, name, signature = pickle.loads(base64.b64decode(line))
            getattr(importlib.import_module(module), name).compile(signature)
        except Exception as caught:  # it goes to the one who asked, who compiles it again and sees it whole
            error = f"{type(caught).__name__}: {' '.join(str(caught).split())[:200]}"
        print(json.dumps({"seconds": time.perf_counter() - start, "error": error}), file=answers, flush=True)


if __name__ == "__main__":
    serve()
