"""Who drives which row: the actions given to `step`, rules, or a policy from a checkpoint."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env import bounds, driver
from gigaflow_env.simulator import DRIVERS
from gigaflow_env.simulator import Drivers as Drivers


class Seats(NamedTuple):
    """Drivers as the simulator takes them, and the rows int (k,) of each checkpoint, by its name."""

    drivers: Any
    checkpoints: dict[str, np.ndarray]


def seats(given: Drivers, rows: int) -> Seats:
    """The seats of `drivers`: names, shares of names, or a name a row, where a name may be that of a checkpoint.

    Shares are spread evenly over the rows, the same for every seed. A name that is no checkpoint is left to the simulator,
    which refuses it.
    """
    several = isinstance(given, (Mapping, Sequence)) and not isinstance(given, str)
    names = list(given) if several else [given]
    files = [
        name for name in dict.fromkeys(n for n in names if isinstance(n, str))
        if name not in DRIVERS and driver.is_checkpoint(name)
    ]  # fmt: skip
    if not files or not all(isinstance(name, str) and (name in DRIVERS or name in files) for name in names):
        return Seats(given, {})
    if isinstance(given, Mapping):
        each = _spread(bounds.shares("drivers", dict(given)), rows)
    elif isinstance(given, str):
        each = [given] * rows
    else:
        each = [str(name) for name in names]
    taken = {name: np.flatnonzero([one == name for one in each]) for name in files}
    return Seats(["policy" if one in files else one for one in each], taken)


def _spread(shares: Mapping[str, float], rows: int) -> list[str]:
    """A name a row: always the one that is farthest behind its share."""
    found: list[str] = []
    had = dict.fromkeys(shares, 0)
    for row in range(rows):
        name = max(shares, key=lambda one: shares[one] * (row + 1) - had[one])
        had[name] += 1
        found.append(name)
    return found
