"""How to install what only some need."""

from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["needed", "remedy"]


def remedy(extra: str) -> str:
    """What to type for a missing extra of the package, after an installation and in a checkout."""
    return f'pip install "gigaflow-env[{extra}]" (in a checkout: pip install -e ".[{extra}]")'


@contextmanager
def needed(what: str, extra: str, *packages: str) -> Iterator[None]:
    """While modules of an extra are imported. packages: the top-level names that the extra brings.

    Raises ImportError that says how to install it where one of them is missing. One that is there and broken keeps its own
    error: that is another story.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in packages:
            raise
        raise ImportError(f"{what}: {remedy(extra)}") from None
