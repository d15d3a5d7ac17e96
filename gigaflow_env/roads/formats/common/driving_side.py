"""On which side of the road traffic keeps, where a file does not say: by where oncoming lanes lie."""

import numpy as np
import shapely

from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.levels import same_level
from gigaflow_env.roads.road_map import HEADING, WIDTH, Lane, X, Y, Z

COMPARED_SPACING = 10.0
"""[m] of the places at which lanes are compared."""
REACH = 12.0
"""[m] Ours: oncoming traffic whose lane is farther away, behind a median, is not looked at."""
OPPOSITE = -0.9
"""Cosine of the angle between two lanes below which they are oncoming."""


def keeps_left(lanes: dict[str, Lane]) -> bool:
    """Whether more places of the driving lanes have the nearest oncoming lane on their right than on their left.

    Lanes in junctions do not count, and those with two directions don't. A map without oncoming lanes keeps right.
    """
    meant = [lane for lane in lanes.values() if lane.kind == "driving" and lane.junction is None and lane.twin is None]
    if not meant:
        return False
    lines = [sample(lane.line, COMPARED_SPACING)[:, [X, Y, Z, HEADING, WIDTH]] for lane in meant]
    number = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    x, y, z, heading, width = np.concatenate(lines).T
    cos, sin = np.cos(heading), np.sin(heading)
    points = shapely.points(x, y)
    one, other = shapely.STRtree(points).query(points, predicate="dwithin", distance=REACH)
    ahead = (x[other] - x[one]) * cos[one] + (y[other] - y[one]) * sin[one]
    left = (y[other] - y[one]) * cos[one] - (x[other] - x[one]) * sin[one]
    oncoming = cos[one] * cos[other] + sin[one] * sin[other] < OPPOSITE
    beside = (np.abs(ahead) <= COMPARED_SPACING / 2) & (np.abs(left) > (width[one] + width[other]) / 4)
    counted = oncoming & beside & same_level(z[one], z[other]) & (number[one] != number[other])
    one, left = one[counted], left[counted]
    order = np.lexsort([np.abs(left), one])
    nearest = order[np.concatenate([[True], np.diff(one[order]) > 0])] if len(order) else order
    return bool((left[nearest] < 0).sum() > (left[nearest] > 0).sum())
