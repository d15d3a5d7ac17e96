"""What does not fit into memory is named."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["FULL", "fitting"]

FULL = "there is not enough memory"
"""What is said where nothing else is known of an error."""

_TORCH = ("can't allocate memory", "not enough memory", "out of memory")
"""What torch's RuntimeErrors say, which has no error of its own for a CPU."""


@contextmanager
def fitting(what: str) -> Iterator[None]:
    """While `what` is made. Raises MemoryError that names it where it doesn't fit."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        said = str(error).strip()
        if isinstance(error, RuntimeError) and not any(words in said for words in _TORCH):
            raise
        raise MemoryError(f"{what} do not fit into memory: {said.splitlines()[0] if said else FULL}") from error
