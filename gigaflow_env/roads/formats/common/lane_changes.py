"""Which lanes run side by side, so that one may change between them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import shapely

from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.levels import same_level
from gigaflow_env.roads.road_map import HEADING, WIDTH, Lane, X, Y, Z

AHEAD = 8.0
"""[m] Places at the same share of two neighbours' lengths differ by less along the road. The compiler takes 10 m at most."""
ACROSS = (0.6, 1.4)
"""Their distance across, over that of lanes which touch. The compiler takes 0.5 to 1.5."""
_REACH = 15.0  # [m] starts of neighbours are nearer than this


def with_neighbours(lanes: dict[str, Lane], allowed: Callable[[str, str, int], bool]) -> dict[str, Lane]:
    """Driving lanes with their left and right neighbours: those beside them from start to end, outside of junctions.

    allowed: whether a change from a lane (first) into another one (second) on its left (0) or right (1) is permitted.
    """
    names = [lane.id for lane in lanes.values() if lane.kind == "driving" and lane.junction is None]
    if len(names) < 2:
        return lanes
    places = np.array([_places(lanes[name].line) for name in names])
    starts = shapely.points(places[:, 0, [X, Y]])
    a, b = shapely.STRtree(starts).query(starts, predicate="dwithin", distance=_REACH)
    across = _across(places[a], places[b])
    beside = ((ACROSS[0] < across) & (across < ACROSS[1])).all(axis=1)
    a, b, across = a[beside], b[beside], across[beside].mean(axis=1)

    # A lane has one neighbour on each side, the nearest one, and both must say so.
    left_of: dict[int, int] = {}
    right_of: dict[int, int] = {}
    for k in np.argsort(-across, kind="stable").tolist():
        left_of[a[k]], right_of[b[k]] = b[k], a[k]
    changed = dict(lanes)
    for k, beyond in left_of.items():
        if right_of.get(beyond) == k:
            right, left = names[k], names[beyond]
            changed[right] = replace(changed[right], left=left if allowed(right, left, 0) else None)
            changed[left] = replace(changed[left], right=right if allowed(left, right, 1) else None)
    return changed


def _places(line: np.ndarray) -> np.ndarray:
    """Start, middle and end of a lane, (3, 5)."""
    points = sample(line, 1.0)
    return points[[round(share * (len(points) - 1)) for share in (0.0, 0.5, 1.0)], :5]


def _across(here: np.ndarray, there: np.ndarray) -> np.ndarray:
    """How far to the left places (n, 3, 5) lie from others, in lane widths; NaN where they are not abreast."""
    dx, dy = there[..., X] - here[..., X], there[..., Y] - here[..., Y]
    cos, sin = np.cos(here[..., HEADING]), np.sin(here[..., HEADING])
    ahead, left = dx * cos + dy * sin, dy * cos - dx * sin
    abreast = (np.abs(ahead) < AHEAD) & (np.cos(there[..., HEADING] - here[..., HEADING]) > 0.6)
    abreast &= same_level(there[..., Z], here[..., Z])
    return np.where(abreast, left / ((here[..., WIDTH] + there[..., WIDTH]) / 2), np.nan)
