"""The maps of a run: from the names that a user gives to opened maps and their shares of the worlds."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gigaflow_env import MapError, RoadMap
from gigaflow_env.roads import check_random, find

RANGE = re.compile(r"(random:(?:[^:]+:)?)([0-9]+)-([0-9]+)")
"""Random towns with consecutive seeds, both ends among them."""
MOST = 4096
"""Maps of a run; a typing error in a range should not fill the memory."""


class Towns(NamedTuple):
    """The maps of a run, and how often a world begins on each."""

    maps: list[RoadMap]
    shares: list[float] | None  # of the worlds that begin on each map; None: there is only one


def range_of(name: str) -> list[str] | None:
    """The names in `random:LOW-HIGH` or `random:STYLE:LOW-HIGH`, None for another kind of name.

    Raises ValueError for one that begins so and is none.
    """
    found = RANGE.fullmatch(name)
    if not found:
        check_random(name)
        return None
    kind, low, high = found[1], int(found[2]), int(found[3])
    if not 0 <= high - low < MOST:
        raise ValueError(f"map={name!r}: a range is {kind}LOW-HIGH with LOW <= HIGH and at most {MOST} towns")
    check_random(f"{kind}{low}")
    return [f"{kind}{seed}" for seed in range(low, high + 1)]


def names(given: Sequence[str]) -> list[str]:
    """One name a map: `random:1-64` becomes 64 names, a folder the map files in it, in order. Raises ValueError."""
    found: list[str] = []
    for one in given:
        drawn = range_of(one)
        if drawn is not None:
            found += drawn
        elif Path(one).is_dir():
            files = sorted(str(path) for path in Path(one).iterdir() if path.is_file() and not path.name.startswith("."))
            if not files:
                raise ValueError(f"map={one!r}: the folder has no files")
            found += files
        else:
            found.append(one)
    if len(found) > MOST:
        raise ValueError(f"{len(found)} maps: at most {MOST}")
    return found


def open_all(given: Sequence[str], shares: str | Sequence[float], say: Callable[[str], None] = lambda line: None) -> Towns:
    """Open the maps that `names` finds. shares: "equal", "length" (by kilometres of driving lanes), or a number a map.

    In a folder, files that are no maps are left out, with a line about each. Raises ValueError or OSError.
    """
    single = [one for one in given if not Path(one).is_dir()]
    wanted = names(given)
    if len(wanted) > 8:
        say(f"opening {len(wanted)} maps")
    maps = []
    for name in wanted:
        try:
            maps.append(find(name))
        except MapError as error:
            if name in single:
                raise
            say(f"left out {name}: {' '.join(str(error).split())}")
    if not maps:
        raise ValueError(f"map={', '.join(map(repr, given))}: there is no map in it")
    if isinstance(shares, str):
        weights = [1.0] * len(maps) if shares == "equal" else [lane_km(road_map) for road_map in maps]
    elif len(shares) == len(maps):
        weights = list(shares)
    else:
        raise ValueError(f"map_shares has {len(shares)} numbers: expected one for each of {len(maps)} maps")
    return Towns(maps, weights if len(maps) > 1 else None)


def lane_km(road_map: RoadMap) -> float:
    """Length of the driving lanes [km]."""
    lanes = [lane.line for lane in road_map.lanes.values() if lane.kind == "driving"]
    return sum(float(np.linalg.norm(np.diff(line[:, :2], axis=0), axis=1).sum()) for line in lanes) / 1000.0


def titled(given: Sequence[str]) -> str:
    """Names for people: all of a few, the number of many."""
    found = [Path(name).name for name in names(given)]
    return ", ".join(found) if len(found) <= 3 else f"{found[0]}, {found[1]} and {len(found) - 2} other maps"
