"""Lanes that are given by their bounds: two polylines with vertices of their own become a center line with widths."""

import math

import numpy as np

from gigaflow_env.roads.centerline import fit, length, sample
from gigaflow_env.roads.formats.common.limits import MIN_WIDTH, POINT_SPACING
from gigaflow_env.roads.import_report import note
from gigaflow_env.roads.road_map import HEADING, WIDTH, MapError, Z

BULGE = 0.3
"""[m] Ours: bounds are taken as smooth curves through their vertices, which leave the polylines by this much at most."""
MAX_LENGTH = 50_000.0
"""[m] Ours: a longer bound is a mistake."""
MAX_SKEW = 1.2
"""[rad] Ours: where the lines between the bounds are askew by more than this on average, bounds do not belong together."""

_CLOSE = 0.05  # m: vertices that are closer are one


def center(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Points about SPACING apart on the center line between two bounds, (rows, 5): the columns of `Lane.line`.

    left, right: polylines (points, 3) along the direction of travel. They are paired by normalised arc length; the width is
    measured across the center line. Raises MapError where the bounds do not run side by side.
    """
    curves = [_smooth(bound, side) for bound, side in ((left, "left"), (right, "right"))]
    lengths = [length(curve) for curve in curves]
    pieces = max(2, math.ceil(max(lengths) / POINT_SPACING))
    ends = [sample(curve, along / pieces)[:, :3] for curve, along in zip(curves, lengths, strict=True)]
    line = np.empty((pieces + 1, 5))
    line[:, :3] = (ends[0] + ends[1]) / 2
    steps = np.hypot(*np.diff(line[:, :2], axis=0).T)
    if steps.min() < 0.02:
        raise MapError(f"its bounds, {lengths[0]:.2f} and {lengths[1]:.2f} m long, do not run side by side")
    ahead = np.gradient(line[:, :2], axis=0, edge_order=2)
    line[:, HEADING] = np.unwrap(np.arctan2(ahead[:, 1], ahead[:, 0]))
    cos, sin = np.cos(line[:, HEADING]), np.sin(line[:, HEADING])
    dx, dy = (ends[0] - ends[1])[:, :2].T
    line[:, WIDTH] = dy * cos - dx * sin
    skew = np.arctan2(np.abs(dx * cos + dy * sin), line[:, WIDTH])
    wide = np.flatnonzero(line[:, WIDTH] >= MIN_WIDTH)
    if len(wide) < 2 or skew.mean() > MAX_SKEW or line[wide[0] : wide[-1] + 1, WIDTH].min() < MIN_WIDTH:
        raise MapError(
            f"its bounds, {lengths[0]:.2f} and {lengths[1]:.2f} m long, do not run side by side: they are "
            f"{line[:, WIDTH].min():.2f} to {line[:, WIDTH].max():.2f} m apart, {math.degrees(skew.mean()):.0f} deg askew"
        )
    return line[wide[0] : wide[-1] + 1]


def side_by_side(name: str, left: np.ndarray, right: np.ndarray, line: int | None = None) -> np.ndarray | None:
    """The center line between the bounds of lane `name`; None, noted, where they do not run side by side. line: of the file.

    A note and no fault: such lanes, mouths of junctions for example, are in good files, too.
    """
    try:
        return center(left, right)
    except MapError as error:
        note("lane", name, f"{error}: left out", line=line, place=(float(left[0, 0]), float(left[0, 1])))
        return None


def knots(line: np.ndarray) -> np.ndarray:
    """The few rows of a dense line that are enough as `Lane.line`, the first heading in -pi..pi."""
    line = line.copy()
    line[:, HEADING] -= 2 * math.pi * np.round(line[0, HEADING] / (2 * math.pi))
    return fit(line)


def reversed_line(line: np.ndarray) -> np.ndarray:
    """The rows of a line, driven the other way."""
    line = line[::-1].copy()
    line[:, HEADING] += math.pi
    return line


def outline(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Corners (n, 3) of the area between two bounds."""
    corners = np.concatenate([left, right[::-1]])
    return corners[np.linalg.norm(corners - np.roll(corners, -1, axis=0), axis=1) > 1e-3]


def _smooth(bound: np.ndarray, side: str) -> np.ndarray:
    """Knots (n, 5) of a smooth curve through the vertices of a bound; their width is 0."""
    points = _apart(bound)
    steps = np.hypot(*np.diff(points[:, :2], axis=0).T)
    if len(points) < 2:
        raise MapError(f"its {side} bound is a point: it must have two vertices at least {_CLOSE} m apart")
    if not steps.sum() < MAX_LENGTH:
        raise MapError(f"its {side} bound is {steps.sum() / 1000:.1f} km long, at most {MAX_LENGTH / 1000:.0f}")
    points = _with_shoulders(points, steps)
    moves = np.diff(points[:, :2], axis=0)
    steps = np.hypot(*moves.T)
    directions = moves / steps[:, None]
    # Of the directions before and behind a vertex the one of the shorter piece counts more: exact for a parabola.
    tangents = directions[:-1] * steps[1:, None] + directions[1:] * steps[:-1, None]
    back = np.hypot(*tangents.T) < 1e-6 * (steps[1:] + steps[:-1])
    tangents[back] = directions[1:][back]  # the bound turns on the spot
    first = _mirrored(tangents[0], directions[0]) if len(tangents) else directions[0]
    last = _mirrored(tangents[-1], directions[-1]) if len(tangents) else directions[-1]
    tangents = np.concatenate([[first], tangents, [last]])
    knots = np.zeros((len(points), 5))
    knots[:, :3] = points
    knots[:, HEADING] = np.unwrap(np.arctan2(tangents[:, 1], tangents[:, 0]))
    return knots


def _apart(points: np.ndarray) -> np.ndarray:
    """The vertices of a polyline without those closer than _CLOSE to the one before; the last one stays."""
    steps = np.hypot(*np.diff(points[:, :2], axis=0).T)
    if len(steps) and steps.min() >= _CLOSE:
        return points
    along = np.concatenate([[0.0], np.cumsum(steps)])
    kept, last = [0], along[-1]
    # From each vertex jump to the next one that is far enough: quick also where a million lie in one place.
    while (k := int(np.searchsorted(along, along[kept[-1]] + _CLOSE))) < len(along) and along[k] <= last - _CLOSE:
        kept.append(k)
    return points[[*kept, len(points) - 1]] if last >= _CLOSE else points[:1]


def _with_shoulders(points: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """More vertices beside sharp bends: a curve through the others would swing out in the long pieces beside them."""
    along = np.concatenate([[0.0], np.cumsum(steps)])
    headings = np.arctan2(*np.diff(points[:, :2], axis=0).T[::-1])
    turns = np.abs(np.remainder(np.diff(headings) + math.pi, 2 * math.pi) - math.pi)
    reach = np.concatenate([[math.inf], 8 * BULGE / np.maximum(turns, 1e-9), [math.inf]])
    behind, before = reach[:-1] < steps, reach[1:] < steps
    extra = np.concatenate(
        [
            (along[:-1] + np.minimum(reach[:-1], steps / 2))[behind],
            (along[1:] - np.minimum(reach[1:], steps / 2))[before],
        ]
    )
    at = np.sort(np.concatenate([along, extra]))
    at = at[np.concatenate([[True], np.diff(at) > 1e-3])]
    return np.column_stack([np.interp(at, along, points[:, column]) for column in range(Z + 1)])


def _mirrored(tangent: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """A tangent, mirrored at the direction of the piece that leads to it: the other end of an arc."""
    return 2 * (tangent @ axis) * axis - tangent
