"""Junctions of maps that do not name them: lanes that lie across each other."""

import numpy as np
import shapely

from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.formats.common.union_find import groups
from gigaflow_env.roads.levels import same_level
from gigaflow_env.roads.road_map import HEADING, WIDTH, Lane, X, Y, Z

OVERLAP = 0.05
"""Ours: lanes cross, part or merge if they share so much of the smaller one's area."""
OVERLAP_SPACING = 2.0
"""[m] of the points between which a lane counts as straight here."""


def junctions(lanes: dict[str, Lane]) -> dict[str, str]:
    """Lane -> the id of its junction, the first lane's name, for driving lanes which overlap others.

    Not counted are overlaps of a lane with what it leads to and with its neighbours, and those of two lanes with the same
    center line: one of them is the other's way back.
    """
    driving = [lane for lane in lanes.values() if lane.kind == "driving"]
    points = [sample(lane.line, OVERLAP_SPACING) for lane in driving]
    shapes = shapely.make_valid(np.array([_shape(line) for line in points], object))
    one, other = shapely.STRtree(shapes).query(shapes, predicate="intersects")
    one, other = one[one < other], other[one < other]
    shared = shapely.area(shapely.intersection(shapes[one], shapes[other]))
    much = shared > OVERLAP * np.minimum(shapely.area(shapes[one]), shapely.area(shapes[other]))
    pairs = [
        (driving[a].id, driving[b].id)
        for a, b in zip(one[much].tolist(), other[much].tolist(), strict=True)
        if not _related(driving[a], driving[b]) and _one_level(points[a], points[b])
    ]
    return {name: members[0] for members in groups(pairs) for name in members}


def _shape(line: np.ndarray) -> shapely.Polygon:
    across = np.column_stack([-np.sin(line[:, HEADING]), np.cos(line[:, HEADING])]) * line[:, [WIDTH]] / 2
    return shapely.Polygon(np.concatenate([line[:, :2] + across, (line[:, :2] - across)[::-1]]))


def _related(a: Lane, b: Lane) -> bool:
    linked = b.id in (a.left, a.right, *a.successors) or a.id in (b.left, b.right, *b.successors)
    return linked or bool(np.abs(a.line[[0, -1], :2] - b.line[[-1, 0], :2]).max() < 0.01)


def _one_level(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two lines are about equally high where they come nearest to each other."""
    apart = np.hypot(a[:, None, X] - b[None, :, X], a[:, None, Y] - b[None, :, Y])
    k, m = np.unravel_index(apart.argmin(), apart.shape)
    return same_level(a[k, Z], b[m, Z])
