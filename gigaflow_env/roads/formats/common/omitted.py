"""What an importer leaves out of a map is said, never passed over."""

import warnings
from collections.abc import Collection
from pathlib import Path


def warn(path: Path, what: str, found: Collection[str]) -> None:
    """Warn of all that was found, naming the first four; nothing found, nothing said."""
    if found:
        named = ", ".join([*list(found)[:4], *["..."] * (len(found) > 4)])
        warnings.warn(f"{path}: {len(found)} {what} left out: {named}", stacklevel=2)
