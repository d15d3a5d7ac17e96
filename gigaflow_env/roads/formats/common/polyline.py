"""Lane lines from the polylines of other formats, which give points and no headings."""

import math

import numpy as np

from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.formats.common.limits import MAX_COORDINATE, MIN_LENGTH, POINT_SPACING
from gigaflow_env.roads.road_map import HEADING, WIDTH, MapError

MIN_STEP = 0.3
"""[m] Points nearer to the one before are dropped: files round to centimetres, which is 2 degrees on this length."""
MAX_LENGTH = 1e5
"""[m] of one lane. Ours: far more than any road without a junction; a longer one is a mistake in the file."""

KINK = 0.1
"""[m] A vertex at which a curve through it would leave the polyline by more is a kink, not a point of a curve."""
CUT = 0.3
"""[m] Ours: kinks are rounded by an arc that passes them at this distance,"""
MIN_RADIUS = 8.0
"""[m] or further off where the arc would be tighter than this."""
_BULGE = 4 / 27  # of the cubic through two points whose tangents are off the chord by a small angle, per length and angle


def checked(points: np.ndarray) -> np.ndarray:
    """The points (n, 3). Raises MapError for less than two, numbers that are not finite, and those beyond MAX_COORDINATE."""
    if len(points) < 2:
        raise MapError(f"a line of {len(points)} points: it needs at least 2")
    wrong = ~(np.abs(points) <= MAX_COORDINATE).all(axis=1)
    if wrong.any():
        point = points[wrong.argmax()].tolist()
        raise MapError(f"point {wrong.argmax()} of the line is {point}: it must be finite, up to {MAX_COORDINATE:.0e} m")
    return points


def tidy(points: np.ndarray) -> np.ndarray | None:
    """Points (n, 3) of a line at least MIN_STEP apart, its first and last among them; None: shorter than MIN_LENGTH.

    Raises MapError as `checked` does, and for more than MAX_LENGTH.
    """
    points = checked(points)
    x, y = points[:, 0].tolist(), points[:, 1].tolist()
    kept = [0]
    for k in range(1, len(points)):
        if math.hypot(x[k] - x[kept[-1]], y[k] - y[kept[-1]]) >= MIN_STEP:
            kept.append(k)
    if len(kept) > 1:
        kept[-1] = len(points) - 1
        while len(kept) > 2 and math.dist((x[kept[-2]], y[kept[-2]]), (x[-1], y[-1])) < MIN_STEP:
            del kept[-2]
    else:
        kept.append(len(points) - 1)
    points = points[kept]
    length = np.hypot(*np.diff(points[:, :2], axis=0).T).sum()
    if length > MAX_LENGTH:
        raise MapError(f"a line of {length / 1000:.0f} km: at most {MAX_LENGTH / 1000:.0f} km make a lane")
    return points if length >= MIN_LENGTH else None


def rounded(points: np.ndarray) -> np.ndarray:
    """Tidy points with arcs in the place of kinks. Points that sample a curve closely stay as they are."""
    steps = np.diff(points, axis=0)
    lengths = np.hypot(steps[:, 0], steps[:, 1])
    headings = np.arctan2(steps[:, 1], steps[:, 0])
    turns = np.abs((np.diff(headings) + math.pi) % (2 * math.pi) - math.pi)
    bulges = _BULGE * turns * lengths[:-1] * lengths[1:] / (lengths[:-1] + lengths[1:])
    kinks = np.flatnonzero((bulges > KINK) & (turns < math.radians(150)))  # what turns back has no inside to round
    if not len(kinks):
        return points
    done, pieces = 0, []
    for k in kinks.tolist():
        turn, vertex = turns[k], points[k + 1]
        reach = max(CUT / math.tan(turn / 4), MIN_RADIUS * math.tan(turn / 2))
        reach = min(reach, 0.45 * lengths[k], 0.45 * lengths[k + 1])  # 0.45: arcs of neighbours must not touch
        enter, leave = vertex - steps[k] / lengths[k] * reach, vertex + steps[k + 1] / lengths[k + 1] * reach
        pieces += [points[done : k + 1], _arc(enter, vertex, leave, turn)]
        done = k + 2
    return np.concatenate([*pieces, points[done:]])


def smooth(points: np.ndarray, width: float) -> np.ndarray:
    """A line (n, 5), columns of `Lane.line`, for a smooth curve through tidy points."""
    line = np.empty((len(points), 5))
    line[:, :3] = points
    line[:, HEADING] = _headings(points)
    line[:, WIDTH] = width
    return line


def dense(line: np.ndarray) -> np.ndarray:
    """Points (m, 5) about SPACING apart on the curve through a line."""
    return sample(line, POINT_SPACING)[:, :5]


def _headings(points: np.ndarray) -> np.ndarray:
    """Headings of a curve through the points [rad, continuous]: on an arc with equal steps they are exact."""
    chords = np.diff(points[:, :2], axis=0)
    around = points[2:, :2] - points[:-2, :2]
    inner = np.unwrap(np.arctan2(around[:, 1], around[:, 0]))
    first, last = (math.atan2(chord[1], chord[0]) for chord in (chords[0], chords[-1]))
    if not len(inner):
        return np.array([first, first])
    # The chord of an arc has the mean of the headings at its ends.
    start = inner[0] + 2 * math.remainder(first - inner[0], 2 * math.pi)
    end = inner[-1] + 2 * math.remainder(last - inner[-1], 2 * math.pi)
    return np.concatenate([[start], inner, [end]])


def _arc(enter: np.ndarray, vertex: np.ndarray, leave: np.ndarray, turn: float) -> np.ndarray:
    """Points of the arc that touches two sides of a corner at `enter` and `leave`, as far from the vertex; `turn` [rad]."""
    pieces = max(2, math.ceil(turn / math.radians(5)))  # fine: the first chord shows in the heading of the long side
    angle = turn * np.arange(pieces + 1) / pieces
    share = (1 - np.cos(angle)) / (1 - math.cos(turn))  # by how much of its length the arc has left the first side
    return vertex + share[::-1, None] * (enter - vertex) + share[:, None] * (leave - vertex)
