"""A road map cut into short pieces of lanes, each with its height and level: what pictures and pages are made of."""

from typing import NamedTuple

import numpy as np
import shapely

from gigaflow_env.render import strips
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.road_map import Lane, RoadMap


class Piece(NamedTuple):
    """About 10 m of a lane."""

    lane: Lane
    left: np.ndarray  # (sections, 2) [m]
    right: np.ndarray
    center: np.ndarray
    start: float  # [m] along the lane
    end: float
    z: float  # [m] mean height
    level: int  # 0 on the ground, 1 on a bridge, 2 on a bridge over that one


def cut(road_map: RoadMap) -> list[Piece]:
    """All lanes in their order, each from its start to its end."""
    pieces = []
    for lane in road_map.lanes.values():
        x, y, z, heading, width, _, s = sample(lane.line, 1.0).T
        left, right = strips.sides(x, y, np.cos(heading), np.sin(heading), width / 2)
        center = np.column_stack([x, y])
        for part in strips.pieces(len(x)):
            ends = float(s[part.start]), float(s[part.stop - 1])
            pieces.append(Piece(lane, left[part], right[part], center[part], *ends, float(z[part].mean()), 0))
    level = strips.levels([strips.outline(p.left, p.right) for p in pieces], np.array([p.z for p in pieces]))
    return [piece._replace(level=k) for piece, k in zip(pieces, level.tolist(), strict=True)]


def crosswalk_levels(road_map: RoadMap, pieces: list[Piece]) -> dict[str, int]:
    """The level of each crosswalk: that of the road which it crosses."""
    outlines = [crosswalk.outline for crosswalk in road_map.crosswalks.values()]
    if not outlines:
        return {}
    roads = strips.polygons([strips.outline(piece.left, piece.right) for piece in pieces])
    level = strips.levels_beside(
        strips.polygons([outline[:, :2] for outline in outlines]),
        np.array([outline[:, 2].mean() for outline in outlines]),
        shapely.STRtree(roads),
        np.array([piece.z for piece in pieces]),
        np.array([piece.level for piece in pieces]),
    )
    return dict(zip(road_map.crosswalks, level.tolist(), strict=True))


def edges(pieces: list[Piece]) -> list[list[np.ndarray]]:
    """The edges of the drivable area by level, to 2 cm: lines (points, 2) [m].

    None where the road goes on in another level at the same height: that is no edge.
    """
    shapes = strips.polygons([strips.outline(piece.left, piece.right) for piece in pieces])
    shapes = shapely.buffer(shapes, 0.05, join_style="mitre")  # closes the seams between neighbours
    heights, level = (np.array([getattr(piece, name) for piece in pieces]) for name in ("z", "level"))
    found = []
    for height in range(int(level.max()) + 1):
        here, other = level == height, np.flatnonzero(level != height)
        border = shapely.buffer(shapely.union_all(shapes[here]), -0.05, join_style="mitre").boundary
        index, at = shapely.STRtree(shapes[here]).query(shapes[other], predicate="intersects")
        joined = np.unique(other[index[abs(heights[other[index]] - heights[here][at]) < strips.CLEARANCE]])
        if len(joined):
            border = border.difference(shapely.buffer(shapely.union_all(shapes[joined]), 0.1))
        lines = shapely.get_parts(shapely.line_merge(border)) if border.geom_type != "LineString" else [border]
        found.append([shapely.get_coordinates(line) for line in shapely.simplify(lines, 0.02)])
    return found
