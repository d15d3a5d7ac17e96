"""Two trees beside each other: each in a process of its own, which waits while the other has its turn.

So both meet the same machine, also where others use it. A worker is a program that prints "ready", and after each line that
it reads does its turn and prints what it did, as one line of JSON.
"""

import io
import json
import os
import statistics
import subprocess
import sys
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]

WATCH_KERNELS = """
from gigaflow_env.backend import cpu

NAMES = {
    "renew": "respawn", "show": "write_observation", "show_half": "write_observation_half", "guide": "plan_traffic",
    "write_down": "record_contacts",
}  # what they were called

def watch_kernels(around):  # each call of a kernel from now on: around(call, name)
    def named(function, only_ended):
        name = NAMES.get(function.__name__, function.__name__)
        return name + " of ended" * bool(name.startswith("write") and only_ended)

    if hasattr(cpu.Threads, "_call"):  # kernels with all of their arguments
        def called(self, begin, end, function, have, plain=cpu.Threads._call):
            around(lambda: plain(self, begin, end, function, have), named(function, have.get("only_ended")))
        cpu.Threads._call = called
    else:
        def called(self, begin, end, plain=cpu.Call.__call__):
            around(lambda: plain(self, begin, end), named(self.kernel, self.loose and self.loose[0]))
        cpu.Call.__call__ = called
"""
"""Part of a program that runs in a tree, of this revision or an older one."""


class Worker:
    """A program that runs in a tree: `with Worker(tree, program, words) as worker: worker.turn()`."""

    def __init__(self, tree: Path, program: str, words: Sequence[Any]) -> None:
        environment = {**os.environ, "PYTHONPATH": str(tree)}
        command = [sys.executable, "-W", "ignore", "-c", program, *map(str, words)]
        self._tree = tree
        self._process = subprocess.Popen(
            command, cwd=tree, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *error: Any) -> None:
        self._process.kill()
        self._process.communicate()

    def wait(self) -> None:
        """Until it is ready. Raises RuntimeError where it ended before."""
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "ready":
            raise RuntimeError(f"the worker in {self._tree} did not start: its error is above")

    def turn(self, what: str = "go") -> dict[str, Any] | None:
        """What it did in its turn; None where it has ended. what: the line that it reads."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        return json.loads(line) if line else None


def unpack(revision: str, folder: Path) -> Path:
    """The files of a git revision, in a folder. Raises CalledProcessError for a revision that isn't there."""
    command = ["git", "-C", str(ROOT), "archive", "--format=tar", revision]
    packed = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as files:
        files.extractall(folder, filter="data")
    return folder


def quartiles(numbers: Sequence[float], digits: int = 3) -> dict[str, Any]:
    """Median and quartiles, rounded."""
    low, middle, high = statistics.quantiles(numbers, n=4)
    return {"median": round(middle, digits), "quartiles": [round(low, digits), round(high, digits)]}
