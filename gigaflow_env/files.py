"""Files appear complete or not at all; and where the cache is."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def cache_directory() -> Path:
    """Where compiled maps and kernels are kept.

    GIGAFLOW_CACHE_DIR, else gigaflow-env in XDG_CACHE_HOME, else ~/.cache/gigaflow-env.
    """
    if own := os.environ.get("GIGAFLOW_CACHE_DIR"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gigaflow-env"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, which takes its place at the end; after an error nothing is left.

    Raises FileNotFoundError where the directory does not exist, IsADirectoryError where `path` is one, PermissionError
    where nothing can be written beside it.
    """
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{path}: the directory {path.parent} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"{path}: is a directory")
    if not os.access(path.parent, os.W_OK):
        raise PermissionError(f"{path}: the directory {path.parent} can't be written to")
    # Processes, and threads of one, may write the same file at once.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{threading.get_ident()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
