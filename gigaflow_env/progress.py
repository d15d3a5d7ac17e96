"""What takes long is said on stderr, a line each; with GIGAFLOW_QUIET=1 nothing is."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from gigaflow_env.bounds import switch

PATIENCE = 1.0
"""[s] What takes no longer than this isn't worth a line."""


def quiet() -> bool:
    """Whether GIGAFLOW_QUIET asks for silence. Raises ValueError, see `bounds.switch`."""
    return switch("GIGAFLOW_QUIET")


def say(text: str) -> None:
    """One line on stderr, with the program's name."""
    if not quiet() and sys.stderr is not None:  # None: a program without a console
        print(f"gigaflow-env: {text}", file=sys.stderr, flush=True)


@contextmanager
def slow(what: str) -> Iterator[None]:
    """Say what is being done, and at the end how long it took [s], if it takes longer than PATIENCE."""
    quiet()  # a wrong word is said here, not in a thread
    start = time.perf_counter()
    announcement = threading.Timer(PATIENCE, say, [f"{what} ..."])
    announcement.daemon = True  # nobody waits for it
    announcement.start()
    try:
        yield
    finally:
        announcement.cancel()
        seconds = time.perf_counter() - start
        if seconds > PATIENCE:
            say(f"{what}: {seconds:.1f} s")
