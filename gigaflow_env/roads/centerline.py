"""The curve through the knots of `Lane.line`: its length, points along it, and knots for points that are given."""

import math

import numpy as np

from gigaflow_env.jit import kernel, rule
from gigaflow_env.roads.road_map import HEADING, WIDTH, Z

_GAUSS = tuple(zip(*(values.tolist() for values in np.polynomial.legendre.leggauss(6)), strict=True))
"""Nodes in -1..1 and weights of the integration of lengths."""


def length(line: np.ndarray) -> float:
    """Length of a line in the x-y plane [m]."""
    return float(_piece_lengths(_cubics(line)).sum())


def sample(line: np.ndarray, spacing: float) -> np.ndarray:
    """Points at equal distances along a line, both ends included.

    Returns float64 (n, 7): x, y, z [m], heading [rad, continuous], width [m], curvature [1/m, left positive] and s, the
    length of the line up to the point [m]; n - 1 is the length divided by `spacing`, rounded, at least 1. The curvature is
    the mean between the neighbouring points: the one of the curve itself would show every centimetre of noise in the knots.
    """
    if not spacing > 0:
        raise ValueError(f"spacing={spacing}: must be above 0")
    cubics = _cubics(line)
    starts = np.concatenate([[0.0], np.cumsum(_piece_lengths(cubics))])
    pieces = max(1, round(starts[-1] / spacing))
    s = starts[-1] * np.arange(pieces + 1) / pieces
    points = np.empty((6, len(s)))
    _place(cubics, starts, s, points)
    x, y, along_x, along_y, k, u = points
    heading = continuous(np.arctan2(along_y, along_x))
    k = k.astype(np.int64)
    z, width = (line[k][:, [Z, WIDTH]] * (1 - u)[:, None] + line[k + 1][:, [Z, WIDTH]] * u[:, None]).T
    return np.column_stack([x, y, z, heading, width, np.gradient(heading, s), s])


def continuous(heading: np.ndarray) -> np.ndarray:
    """Headings [rad] without jumps by a turn: `np.unwrap`, but quick for those that have none."""
    steps = heading[1:] - heading[:-1]
    return heading if -math.pi < steps.min(initial=0.0) and steps.max(initial=0.0) < math.pi else np.unwrap(heading)


def fit(dense: np.ndarray, tolerance: float = 0.01) -> np.ndarray:
    """The few rows of `dense` that are enough as knots: the curve passes all other rows within `tolerance` [m].

    dense: (n, 5) with the columns of `Lane.line`, close enough to show the shape (1 m on roads), but at least 1 cm apart.
    Height and width are kept within the tolerance, too. First and last row always stay. The line may cross itself and return
    to a place where it was before.
    """
    dense = np.ascontiguousarray(dense, np.float64)
    along = np.zeros(len(dense))
    np.cumsum(np.hypot(dense[1:, 0] - dense[:-1, 0], dense[1:, 1] - dense[:-1, 1]), out=along[1:])
    kept = np.zeros(len(dense), bool)  # which rows are knots: sets of rows by masks, much quicker than by np.unique
    kept[[0, -1]] = True
    knots = np.flatnonzero(kept)
    while len(bad := np.flatnonzero((errors := _misses(dense, along, knots)) > tolerance)):
        for piece in bad:
            # On an arc the error grows with the fourth power of the length: split into as many as that asks for. What
            # returns is split in three, for halves of a loop go there and back.
            first, last = knots[piece], knots[piece + 1]
            wanted = math.ceil((errors[piece] / tolerance) ** 0.25) if errors[piece] < math.inf else 3
            parts = min(last - first, max(2, wanted))
            # Less a little: where a row lies on a target, rounding must not take the next one.
            targets = along[first] + (along[last] - along[first]) * np.arange(1, parts) / parts - 1e-6
            kept[np.minimum(np.maximum(along.searchsorted(targets), first + 1), last - 1)] = True
        knots = np.flatnonzero(kept)
    for first in (1, 2) if len(knots) > 2 else ():
        # Drop what turns out not to be needed, among every second knot, then among the others.
        tried = knots[first:-1:2]
        kept[tried] = False
        rest = np.flatnonzero(kept)
        errors = _misses(dense, along, rest)
        kept[tried] = errors[rest.searchsorted(tried) - 1] > tolerance
        knots = np.flatnonzero(kept)
    return dense[knots]


def _misses(dense: np.ndarray, along: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Largest distance of the rows of `dense` to each piece between two knots [m]; 0 where no row lies between.

    A piece whose chord is short against the way returns towards its start: no cubic with tangents as long as the chord
    does, and the chord may have no direction at all. It misses by infinity.
    """
    misses = np.empty(len(knots) - 1)
    _measure(dense, along, knots, _cubics(dense[knots]), misses)
    return misses


def _cubics(line: np.ndarray) -> np.ndarray:
    """Coefficients of x and y of each piece, (pieces, 2, 4).

    The cubic in u of 0..1 with p(0) and p(1) at the knots, and p'(0) and p'(1) in the directions of the knots, as long as
    the chord.
    """
    p, d = line[:-1, :2], line[1:, :2] - line[:-1, :2]
    direction = np.empty((len(line), 2))
    np.cos(line[:, HEADING], out=direction[:, 0])
    np.sin(line[:, HEADING], out=direction[:, 1])
    chord = np.hypot(d[:, :1], d[:, 1:])
    begin, end = chord * direction[:-1], chord * direction[1:]
    cubics = np.empty((len(d), 2, 4))
    cubics[..., 0], cubics[..., 1] = p, begin
    cubics[..., 2], cubics[..., 3] = 3 * d - 2 * begin - end, begin + end - 2 * d
    return cubics


def _piece_lengths(cubics: np.ndarray) -> np.ndarray:
    """Length of each piece [m]."""
    lengths = np.empty(len(cubics))
    _measure_lengths(cubics, lengths)
    return lengths


@rule
def _point(cubic, u):
    """One coordinate of a cubic (4,) at u."""
    return cubic[0] + u * (cubic[1] + u * (cubic[2] + u * cubic[3]))


@rule
def _slope(cubic, u):
    """Its derivative by u."""
    return cubic[1] + u * (2.0 * cubic[2] + u * 3.0 * cubic[3])


@rule
def _length_to(cubic, u):
    """Length of a cubic (2, 4) from its start to u, by Gauss-Legendre integration."""
    total = 0.0
    for node, weight in _GAUSS:
        at = u * (node + 1.0) / 2.0
        total += weight * math.hypot(_slope(cubic[0], at), _slope(cubic[1], at))
    return total * u / 2.0


@kernel
def _measure_lengths(cubics, lengths):
    """Fills `lengths` (pieces,)."""
    for k in range(len(lengths)):
        lengths[k] = _length_to(cubics[k], 1.0)


@kernel
def _place(cubics, starts, s, points):
    """Fills `points`, (6, n): x, y, their derivatives by u, piece and u.

    For places s (n,), in rising order, along the pieces that begin at `starts`.
    """
    k = 0
    for i in range(len(s)):
        while k < len(cubics) - 1 and starts[k + 1] <= s[i]:
            k += 1
        cubic = cubics[k]
        u = (s[i] - starts[k]) / (starts[k + 1] - starts[k])
        for _ in range(4):  # Newton: the speed |dp/du| is nearly constant, so this converges to rounding errors
            speed = math.hypot(_slope(cubic[0], u), _slope(cubic[1], u))
            u = min(max(u - (starts[k] + _length_to(cubic, u) - s[i]) / speed, 0.0), 1.0)
        for axis in range(2):
            points[axis, i], points[2 + axis, i] = _point(cubic[axis], u), _slope(cubic[axis], u)
        points[4, i], points[5, i] = k, u


@kernel
def _measure(dense, along, knots, cubics, misses):
    """Fills `misses` (pieces,)."""
    for k in range(len(misses)):
        first, last, cubic = knots[k], knots[k + 1], cubics[k]
        way, worst = along[last] - along[first], 0.0
        if math.hypot(dense[last, 0] - dense[first, 0], dense[last, 1] - dense[first, 1]) < way / 2.0:
            misses[k] = math.inf
            continue
        for row in range(first + 1, last):
            x, y = dense[row, 0], dense[row, 1]
            u = (along[row] - along[first]) / way
            along_x, along_y = _slope(cubic[0], u), _slope(cubic[1], u)
            ahead = (x - _point(cubic[0], u)) * along_x + (y - _point(cubic[1], u)) * along_y
            # Newton: the curve's point abreast of the row
            u = min(max(u + ahead / (along_x * along_x + along_y * along_y), 0.0), 1.0)
            worst = max(worst, math.hypot(x - _point(cubic[0], u), y - _point(cubic[1], u)))
            for column in (Z, WIDTH):
                linear = dense[first, column] * (1.0 - u) + dense[last, column] * u
                worst = max(worst, abs(dense[row, column] - linear))
        misses[k] = worst
