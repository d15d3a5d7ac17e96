"""A lane as a strip of asphalt: its sides, its short pieces, and which pieces pass over which."""

from collections.abc import Sequence

import numpy as np
import shapely

PIECE = 10
"""Cross-sections are about 1 m apart, pieces so about 10 m long: short enough to have one height."""
CLEARANCE = 2.5
"""[m] A piece this far above another one crosses it on a bridge."""
BESIDE = 5.0
"""[m] What belongs to a bridge reaches so far beside its lanes: shoulders, parapets."""


def sides(
    x: np.ndarray, y: np.ndarray, cos: np.ndarray, sin: np.ndarray, half_width: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Left and right border [m] of a lane from its cross-sections (n,): two arrays (n, 2)."""
    center = np.stack([x, y], axis=-1)
    across = np.stack([-sin * half_width, cos * half_width], axis=-1)
    return center + across, center - across


def pieces(sections: int) -> list[slice]:
    """Slices that cut `sections` cross-sections into pieces; neighbours share their common section."""
    return [slice(k, min(k + PIECE, sections - 1) + 1) for k in range(0, sections - 1, PIECE)]


def outline(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Polygon (2n, 2) between two borders (n, 2)."""
    return np.concatenate([left, right[::-1]])


def polygons(outlines: Sequence[np.ndarray]) -> np.ndarray:
    """Shapely's polygons of outlines (n, 2), folded inner curves mended."""
    return shapely.buffer([shapely.Polygon(points) for points in outlines], 0.0)


def levels(outlines: Sequence[np.ndarray], heights: np.ndarray) -> np.ndarray:
    """How many pieces lie below each piece at most, one under the other: (pieces,) int.

    0 is on the ground, 1 on a bridge, 2 on a bridge over that one.
    `outlines`: polygons (n, 2) [m]; `heights`: (pieces,) [m]. Painted by rising level, bridges cover what they cross.
    """
    if np.ptp(heights) <= CLEARANCE:
        return np.zeros(len(outlines), np.int64)
    shapes = polygons(outlines)
    upper, lower = shapely.STRtree(shapes).query(shapes, predicate="dwithin", distance=BESIDE)
    bridge = heights[upper] - heights[lower] > CLEARANCE
    upper, lower = upper[bridge], lower[bridge]
    level = np.zeros(len(outlines), np.int64)
    while True:
        raised = level.copy()
        np.maximum.at(raised, upper, level[lower] + 1)
        if (raised == level).all():
            return level
        level = raised


def levels_beside(
    shapes: np.ndarray, z: np.ndarray, roads: shapely.STRtree, heights: np.ndarray, level: np.ndarray
) -> np.ndarray:
    """(shapes,) the highest level among the pieces beside each shape and of about its height `z` [m]; 0 where there is none.

    `roads` holds the polygons of the pieces, `heights` [m] and `level` belong to them.
    """
    found = np.zeros(len(shapes), np.int64)
    shape, piece = roads.query(shapes, predicate="dwithin", distance=BESIDE)
    same = abs(heights[piece] - z[shape]) < CLEARANCE
    np.maximum.at(found, shape[same], level[piece[same]])
    return found
