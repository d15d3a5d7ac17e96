"""The curve through the knots of `Lane.line`: its length, points along it, and knots for points that are given."""

import math

import numpy as np

from gigaflow_env.roads.source import HEADING, WIDTH, Z

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)


def length(line: np.ndarray) -> float:
    """Length of a line in the x-y plane [m]."""
    return float(_piece_lengths(line).sum())


def sample(line: np.ndarray, spacing: float) -> np.ndarray:
    """Points at equal distances along a line, both ends included.

    Returns float64 (n, 7): x, y, z [m], heading [rad, continuous], width [m], curvature [1/m, left positive] and s, the
    length of the line up to the point [m]; n - 1 is the length divided by `spacing`, rounded, at least 1. The curvature is
    the mean between the neighbouring points: the one of the curve itself would show every centimetre of noise in the knots.
    """
    if not spacing > 0:
        raise ValueError(f"spacing={spacing}: must be above 0")
    starts = np.concatenate([[0.0], np.cumsum(_piece_lengths(line))])
    pieces = max(1, round(starts[-1] / spacing))
    s = starts[-1] * np.arange(pieces + 1) / pieces
    k = np.clip(np.searchsorted(starts, s, side="right") - 1, 0, len(line) - 2)
    u = (s - starts[k]) / (starts[k + 1] - starts[k])
    for _ in range(4):  # Newton: the speed |dp/du| is nearly constant, so this converges to rounding errors
        speed = np.linalg.norm(_curve(line, k, u)[1], axis=-1)
        u = np.clip(u - (starts[k] + _length_to(line, k, u) - s) / speed, 0.0, 1.0)
    position, velocity = _curve(line, k, u)
    heading = np.unwrap(np.arctan2(velocity[:, 1], velocity[:, 0]))
    z, width = (line[k][:, [Z, WIDTH]] * (1 - u)[:, None] + line[k + 1][:, [Z, WIDTH]] * u[:, None]).T
    return np.column_stack([position, z, heading, width, np.gradient(heading, s), s])


def fit(dense: np.ndarray, tolerance: float = 0.01) -> np.ndarray:
    """The few rows of `dense` that are enough as knots: the curve passes all other rows within `tolerance` [m].

    dense: (n, 5) with the columns of `Lane.line`, close enough to show the shape (1 m on roads), but at least 1 cm apart.
    Height and width are kept within the tolerance, too. First and last row always stay. The line may cross itself and return
    to a place where it was before.
    """
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(dense[:, :2], axis=0).T))])
    knots = np.array([0, len(dense) - 1])
    while len(bad := np.flatnonzero((errors := _misses(dense, along, knots)) > tolerance)):
        added = []
        for piece in bad:
            # On an arc the error grows with the fourth power of the length: split into as many as that asks for. What
            # returns is split in three, for halves of a loop go there and back.
            first, last = knots[piece], knots[piece + 1]
            wanted = math.ceil((errors[piece] / tolerance) ** 0.25) if errors[piece] < math.inf else 3
            parts = min(last - first, max(2, wanted))
            # Less a little: where a row lies on a target, rounding must not take the next one.
            targets = along[first] + (along[last] - along[first]) * np.arange(1, parts) / parts - 1e-6
            added.append(np.clip(np.searchsorted(along, targets), first + 1, last - 1))
        knots = np.unique(np.concatenate([knots, *added]))
    for first in (1, 2) if len(knots) > 2 else ():
        # Drop what turns out not to be needed, among every second knot, then among the others.
        tried = knots[first:-1:2]
        rest = np.setdiff1d(knots, tried)
        errors = _misses(dense, along, rest)
        needed = errors[np.searchsorted(rest, tried) - 1] > tolerance
        knots = np.union1d(rest, tried[needed])
    return dense[knots]


def _misses(dense: np.ndarray, along: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Largest distance of the rows of `dense` to each piece between two knots [m]; 0 where no row lies between.

    A piece whose chord is short against the way returns towards its start: no cubic with tangents as long as the chord
    does, and the chord may have no direction at all. It misses by infinity.
    """
    line, ways = dense[knots], np.diff(along[knots])
    returns = np.hypot(*np.diff(line[:, :2], axis=0).T) < ways / 2
    k = np.repeat(np.arange(len(knots) - 1), np.diff(knots))
    rows = np.arange(knots[-1])
    u = (along[rows] - along[knots[k]]) / ways[k]
    position, velocity = _curve(line, k, u)
    ahead = ((dense[rows, :2] - position) * velocity).sum(axis=-1)
    square = np.where(returns[k], 1.0, (velocity**2).sum(axis=-1))
    u = np.clip(u + ahead / square, 0.0, 1.0)  # Newton: the curve's point abreast of the row
    position = _curve(line, k, u)[0]
    miss = np.hypot(*(dense[rows, :2] - position).T)
    for column in (Z, WIDTH):
        linear = line[k, column] * (1 - u) + line[k + 1, column] * u
        miss = np.maximum(miss, np.abs(dense[rows, column] - linear))
    return np.where(returns, math.inf, np.maximum.reduceat(miss, knots[:-1]))


def _curve(line: np.ndarray, k: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and its derivative by u of pieces `k` at `u` in 0..1, each (..., 2)."""
    p0, h0, h1 = line[k, :2], line[k, HEADING], line[k + 1, HEADING]
    d = line[k + 1, :2] - p0
    chord = np.hypot(d[..., 0], d[..., 1])[..., None]
    t0 = chord * np.stack([np.cos(h0), np.sin(h0)], axis=-1)
    t1 = chord * np.stack([np.cos(h1), np.sin(h1)], axis=-1)
    u = u[..., None]
    # The cubic with p(0) = p0, p(1) = p0 + d, p'(0) = t0, p'(1) = t1, in Horner form
    b, c = 3 * d - 2 * t0 - t1, t0 + t1 - 2 * d
    return p0 + u * (t0 + u * (b + u * c)), t0 + u * (2 * b + u * 3 * c)


def _length_to(line: np.ndarray, k: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Length of pieces `k` from their start to `u` [m], by Gauss-Legendre integration."""
    at = u[:, None] * (_NODES + 1) / 2
    velocity = _curve(line, np.broadcast_to(k[:, None], at.shape), at)[1]
    return np.hypot(velocity[..., 0], velocity[..., 1]) @ _WEIGHTS * u / 2


def _piece_lengths(line: np.ndarray) -> np.ndarray:
    return _length_to(line, np.arange(len(line) - 1), np.ones(len(line) - 1))
