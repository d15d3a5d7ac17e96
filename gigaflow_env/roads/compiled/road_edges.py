"""The border of the drivable area: lanes are united level by level, so that bridges keep their edges."""

from typing import NamedTuple

import numpy as np
import shapely
from shapely import STRtree

from gigaflow_env.declare import row_type
from gigaflow_env.roads.compiled.tables import EDGE_CELL, EdgeRow
from gigaflow_env.roads.levels import LEVEL_GAP

_PIECE = 8  # quads: so short that no piece of a road both joins another piece and passes over it
_NEAR = 0.2  # m: pieces so near count as overlapping
_SEAM = 0.1  # m, less than _NEAR: an upper piece is cut out of what it joins with this margin
_AROUND = 10.0  # m: what lies so near to an upper piece can have to do with its edges
_CLOSING = 0.05  # m: gaps between lanes are closed up to twice this width
_SMOOTH = 0.01  # m: how much of a bend is left out before pieces are united
_TOLERANCE = 0.03  # m: and after
_HOLE = 20.0  # m^2: ours: smaller holes are asphalt, such as the gaps between the connectors in the middle of a junction
_SLIVER = 1e-4  # m^2: what covers less is left out: lanes that begin or end with width 0


class Strips(NamedTuple):
    """Cross-sections of lanes, one lane after another."""

    left: np.ndarray  # (sections, 3) left end of each cross-section [m]
    right: np.ndarray  # (sections, 3) right end
    at: np.ndarray  # (lanes + 1,) first section of each lane; the last entry is the number of sections


class Border(NamedTuple):
    """The edges of the drivable area."""

    edges: np.ndarray  # (edges,) EdgeRow, each at most EDGE_CELL long
    points: np.ndarray  # (points, 3) x, y, z [m], about 1 m apart along the edges


def trace(strips: Strips, links: np.ndarray) -> Border:
    """Border of the area that the strips cover. links: (links, 2) lanes, the second begins where the first ends."""
    pieces = np.concatenate([_cut(strips), _joints(strips, links)])
    lower, upper = _crossings(pieces)
    raised = np.zeros(len(pieces), bool)
    raised[upper] = True
    lines = _lift(_outline(pieces[~raised]), pieces[~raised])
    if raised.any():
        lines = _add_bridges(lines, pieces, lower, upper)
    return Border(_edges(lines), _points(lines))


def _cut(strips: Strips) -> np.ndarray:
    """Polygons of at most _PIECE quads which cover the strips, with heights.

    Where a lane is wider than its curve and its quads fold over each other, the hulls of single quads take their place.
    """
    spans = [
        (k, min(k + _PIECE, end - 1))
        for start, end in zip(strips.at[:-1], strips.at[1:], strict=True)
        for k in range(start, end - 1, _PIECE)
    ]
    pieces = _polygons([np.concatenate([strips.left[a : b + 1], strips.right[a : b + 1][::-1]]) for a, b in spans])
    folded = ~shapely.is_valid(pieces)
    quads = [k for (a, b), fold in zip(spans, folded, strict=True) if fold for k in range(a, b)]
    corners = [np.concatenate([strips.left[k : k + 2], strips.right[k : k + 2]]) for k in quads]
    return np.concatenate([pieces[~folded], _hulls(corners)])


def _joints(strips: Strips, links: np.ndarray) -> np.ndarray:
    """Polygons that fill what is missing where the end of a lane and the start of the next do not meet exactly."""
    ends, starts = strips.at[links[:, 0] + 1] - 1, strips.at[links[:, 1]]
    corners = np.stack([strips.left[ends], strips.right[ends], strips.left[starts], strips.right[starts]], axis=1)
    return _hulls(list(corners))


def _polygons(rings: list[np.ndarray]) -> np.ndarray:
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    return shapely.polygons(shapely.linearrings(np.concatenate(rings), indices=owner))


def _hulls(corners: list[np.ndarray]) -> np.ndarray:
    """Convex hulls of each set of corners that are not slivers."""
    hulls = shapely.convex_hull(np.array([shapely.multipoints(points) for points in corners], object))
    return hulls[shapely.area(hulls) > _SLIVER]


def _heights(shapes: np.ndarray) -> np.ndarray:
    """Mean height of the corners of each shape [m]."""
    corners, owner = shapely.get_coordinates(shapes, include_z=True, return_index=True)
    return np.bincount(owner, corners[:, 2]) / np.bincount(owner)


def _crossings(pieces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of pieces of which one passes over the other: numbers of (the lower, the upper)."""
    heights = _heights(pieces)
    low_x, low_y, high_x, high_y = shapely.bounds(pieces).T
    boxes = shapely.box(low_x - _NEAR, low_y - _NEAR, high_x + _NEAR, high_y + _NEAR)
    lower, upper = STRtree(pieces).query(boxes)
    apart = heights[upper] - heights[lower] > LEVEL_GAP
    lower, upper = lower[apart], upper[apart]
    near = shapely.dwithin(pieces[lower], pieces[upper], _NEAR)
    return lower[near], upper[near]


def _outline(pieces: np.ndarray) -> np.ndarray:
    """Rings around the area of the pieces, without height."""
    # Grown before they are united, not after: what overlaps clearly is united many times faster than what only touches.
    grown = shapely.buffer(shapely.simplify(shapely.force_2d(pieces), _SMOOTH), _CLOSING, join_style="mitre")
    area = shapely.union_all(grown).buffer(-_CLOSING, join_style="mitre")
    rings, owner = shapely.get_rings(shapely.get_parts(area), return_index=True)
    outer = np.diff(owner, prepend=-1) > 0  # the first ring of a polygon is the outer one, the others are holes
    rings = rings[outer | (shapely.area(shapely.polygons(rings)) >= _HOLE)]
    return shapely.simplify(rings, _TOLERANCE)


def _lift(lines: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """The lines with the heights of the pieces that they bound, and with vertices at most EDGE_CELL apart."""
    vertices, owner = shapely.get_coordinates(shapely.segmentize(lines, EDGE_CELL), return_index=True)
    points = shapely.points(vertices)
    rings = shapely.get_exterior_ring(pieces[STRtree(pieces).nearest(points)])
    heights = shapely.get_z(shapely.line_interpolate_point(rings, shapely.line_locate_point(rings, points)))
    return shapely.linestrings(np.column_stack([vertices, heights]), indices=owner)


def _add_bridges(lines: np.ndarray, pieces: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """`lines` bound what has nothing below it: cut the upper pieces out of them, and add the lines that bound those.

    An upper piece is united with what it joins on its own height, and what bounds it lies on that outline.
    """
    heights, tree = _heights(pieces), STRtree(pieces)
    bridges = np.unique(upper)
    margins = shapely.buffer(pieces[bridges], _SEAM, join_style="mitre")
    segments = _segments(lines)
    cut, bridge = STRtree(margins).query(segments, predicate="intersects")
    same = abs(heights[bridges[bridge]] - _heights(segments[cut])) <= LEVEL_GAP
    for k in np.unique(cut[same]):
        segments[k] = segments[k].difference(shapely.union_all(margins[bridge[same & (cut == k)]]))
    added = []
    for k, piece in enumerate(bridges):
        around = tree.query(shapely.buffer(pieces[piece], _AROUND))
        around = around[abs(heights[around] - heights[piece]) <= LEVEL_GAP]
        earlier = np.intersect1d(around, bridges[:k])
        own = margins[k].difference(shapely.union_all(margins[np.searchsorted(bridges, earlier)]))
        bounding = shapely.get_parts(shapely.intersection(shapely.multilinestrings(_outline(pieces[around])), own))
        bounding = bounding[shapely.length(bounding) > 0]
        if len(bounding):
            added.append(_lift(bounding, pieces[[piece]]))
    merged = shapely.line_merge(shapely.multilinestrings(_segments(np.concatenate([segments, *added]))))
    return shapely.get_parts(merged)


def _segments(lines: np.ndarray) -> np.ndarray:
    """The straight pieces of the lines, one by one, with heights."""
    lines = shapely.get_parts(lines)
    vertices, owner = shapely.get_coordinates(lines, include_z=True, return_index=True)
    inside = owner[1:] == owner[:-1]
    return shapely.linestrings(np.stack([vertices[:-1][inside], vertices[1:][inside]], axis=1))


def _edges(lines: np.ndarray) -> np.ndarray:
    ends = shapely.get_coordinates(_segments(lines), include_z=True).reshape(-1, 2, 3)
    edges = np.zeros(len(ends), row_type(EdgeRow))
    edges["x1"], edges["y1"] = ends[:, 0, :2].T
    edges["x2"], edges["y2"] = ends[:, 1, :2].T
    edges["z"] = ends[:, :, 2].mean(axis=1)
    return edges


def _points(lines: np.ndarray) -> np.ndarray:
    """Points in the middle of equal parts of about 1 m of each line."""
    vertices, owner = shapely.get_coordinates(lines, include_z=True, return_index=True)
    steps = np.hypot(*np.diff(vertices[:, :2], axis=0).T) * (owner[1:] == owner[:-1])
    along = np.concatenate([[0.0], np.cumsum(steps)])
    lengths = np.bincount(owner[:-1], steps)
    counts = np.maximum(np.round(lengths).astype(int), 1)
    line = np.repeat(np.arange(len(lines)), counts)
    part = np.arange(len(line)) - np.repeat(np.cumsum(counts) - counts, counts)
    at = (np.cumsum(lengths) - lengths)[line] + (part + 0.5) * (lengths / counts)[line]
    return np.column_stack([np.interp(at, along, column) for column in vertices.T])
