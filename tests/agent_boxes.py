"""The boxes of agents as Shapely sees them, and which of them overlap."""

import numpy as np
import shapely
from conftest import box

from gigaflow_env.state import LIVE


def boxes(state, w):
    """Boxes of the live agents of world `w` as Shapely polygons, and their heights [m]."""
    pose, body = state.pose, state.body
    live = state.rows.status[w] == LIVE
    shapes = (pose.x, pose.y, np.arctan2(pose.sin, pose.cos), body.length / 2, body.width / 2)
    return box(*(array[w, live].astype(float) for array in shapes)), pose.z[w, live]


def overlaps(state):
    """Pairs of live agents of one world and level whose boxes overlap."""
    found = 0
    for w in range(len(state.rows.status)):
        shapes, z = boxes(state, w)
        one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
        found += ((one < other) & (abs(z[one] - z[other]) < 2.5)).sum()
    return found
