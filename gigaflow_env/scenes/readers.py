"""Processes that read and compile scenes in the background, so that they are in the cache when they are needed."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from gigaflow_env.backend.cpu import default_threads
from gigaflow_env.bounds import Bounds, whole
from gigaflow_env.roads import MapError
from gigaflow_env.scenes.compiled import cached_path, read_scene
from gigaflow_env.scenes.sources import Source


class Readers:
    """Some processes, each with a thread that feeds it. They are started when a scene is not in the cache.

    Programs of their own, not forks: a fork of a process with threads may hang, and multiprocessing would run the caller's
    script again.
    """

    def __init__(self, processes: int | None) -> None:
        """processes: how many, None for as many as there are processors; 0: the caller's process reads."""
        self.processes = default_threads() if processes is None else whole("scene_readers", processes, Bounds(0, 256))
        self.done = 0
        self._own = threading.local()
        self._running: list[subprocess.Popen[str]] = []
        self._pool = ThreadPoolExecutor(max(self.processes, 1), "gigaflow-readers")

    def prepare(self, source: Source, options: dict[str, Any]) -> "Future[str | None]":
        """Put a scene into the cache; what is wrong with it, or None."""
        ready: Future[str | None] = Future()
        if source.given is not None or self.processes == 0:
            ready.set_result(None)  # read where it's needed
            return ready
        try:
            there = cached_path(source, options).exists()
        except OSError as error:
            ready.set_result(str(error))
            return ready
        if there:
            self.done += 1
            ready.set_result(None)
            return ready
        return self._pool.submit(self._ask, source, options)

    def _ask(self, source: Source, options: dict[str, Any]) -> str | None:
        reader: subprocess.Popen[str] | None = getattr(self._own, "reader", None)
        if reader is None or reader.poll() is not None:
            reader = self._own.reader = _start()
            self._running.append(reader)
        asked = {"path": str(source.path), "record": source.record, "options": options}
        assert reader.stdin is not None and reader.stdout is not None, "both are pipes"
        try:
            reader.stdin.write(json.dumps(asked) + "\n")
            reader.stdin.flush()
            answer = reader.stdout.readline()
        except (OSError, ValueError) as error:
            return f"the process that read it has ended: {error}"
        if not answer:
            return f"the process that read it has ended with status {reader.wait()}"
        self.done += 1
        return json.loads(answer)

    def __reduce__(self) -> tuple[Any, ...]:
        return Readers, (self.processes,)  # a copy starts its own

    def close(self) -> None:
        """End the processes."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        for reader in self._running:
            if reader.stdin is not None:
                reader.stdin.close()  # it ends when nothing more comes
            reader.terminate()
            reader.wait()
            if reader.stdout is not None:
                reader.stdout.close()
        self._running.clear()


def _start() -> subprocess.Popen[str]:
    package = str(Path(__file__).resolve().parents[2])
    paths = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    return subprocess.Popen(
        [sys.executable, "-m", "gigaflow_env.scenes.readers"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": paths, "GIGAFLOW_QUIET": "1", "NUMBA_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )


def main() -> None:
    """A line of JSON for each scene that is asked for: null, or what is wrong with it."""
    answers, sys.stdout = sys.stdout, sys.stderr  # what else is printed is no answer
    for line in sys.stdin:
        asked = json.loads(line)
        reason = None
        try:
            read_scene(Source(Path(asked["path"]), asked["record"], None), asked["options"])
        except (MapError, OSError) as error:
            reason = str(error)
        except Exception as error:  # a reader that fails otherwise must not end the stream: it's named, and left out
            reason = f"{type(error).__name__}: {error}"
        print(json.dumps(reason), file=answers, flush=True)


if __name__ == "__main__":
    main()
