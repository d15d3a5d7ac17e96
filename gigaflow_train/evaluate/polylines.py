"""Lines of straight pieces: where a point is along them, and on which side of a road's edge."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NEAR = 40.0
"""[m] First, only the pieces of edges that come so near to an agent's way are looked at. Ours: all, where none is."""
_CHUNK = 1 << 21
"""Pairs of points and pieces at a time, so that memory stays bounded."""


def arc_length(line: np.ndarray) -> np.ndarray:
    """Length of a line (points, 2 or 3) up to each of its points, in the x-y plane [m]."""
    return np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line[:, :2], axis=0).T))])


def project(points: np.ndarray, line: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far along a line (knots, 2) its nearest place to each point (..., 2) lies, and how far off that is [m]."""
    flat = points.reshape(-1, 2)
    start, along = line[:-1, :2], np.diff(line[:, :2], axis=0)
    squared = np.maximum((along**2).sum(axis=1), 1e-12)
    to_point = flat[:, None] - start[None]
    share = np.clip((to_point * along).sum(axis=2) / squared, 0.0, 1.0)
    off = np.hypot(*np.moveaxis(to_point - share[..., None] * along, 2, 0))
    nearest = off.argmin(axis=1)
    rows = np.arange(len(flat))
    s = arc_length(line)[nearest] + share[rows, nearest] * np.sqrt(squared[nearest])
    return s.reshape(points.shape[:-1]), off[rows, nearest].reshape(points.shape[:-1])


class Pieces(NamedTuple):
    """The straight pieces of several lines, with what their neighbours say about the side on which a point is."""

    start: np.ndarray  # (pieces, 3)
    along: np.ndarray  # (pieces, 3) from its start to its end
    before: np.ndarray  # (pieces,) the piece before, itself where there is none
    after: np.ndarray  # (pieces,)
    convex_before: np.ndarray  # (pieces,) bool: the line turns left where this piece begins
    convex_after: np.ndarray  # (pieces,) bool


CYCLE = 1.0
"""[m^2] A line whose ends come nearer than this, squared, is a ring. Source: waymo-open-dataset, map_metric_features.py."""


def pieces_of(lines: Sequence[np.ndarray]) -> Pieces:
    """The pieces of lines (points, 3); lines of one point have none. Raises ValueError where no line has any."""
    starts, alongs, befores, afters = [], [], [], []
    count = 0
    for line in lines:
        if len(line) < 2:
            continue
        along = np.diff(line, axis=0)
        number = np.arange(count, count + len(along))
        ring = ((line[0] - line[-1]) ** 2).sum() < CYCLE
        befores.append(np.concatenate([number[-1:] if ring else number[:1], number[:-1]]))
        afters.append(np.concatenate([number[1:], number[:1] if ring else number[-1:]]))
        starts.append(line[:-1])
        alongs.append(along)
        count += len(along)
    if not count:
        raise ValueError("there is no road edge: a scene needs one with two points at least")
    along, before, after = np.concatenate(alongs), np.concatenate(befores), np.concatenate(afters)
    # As the source does: where a line that is no ring begins, its last piece counts as the one before, and likewise.
    first = np.concatenate([np.full(len(one), one[0]) for one in _runs(alongs)])
    last = np.concatenate([np.full(len(one), one[-1]) for one in _runs(alongs)])
    number = np.arange(count)
    previous, following = np.where(number == first, last, number - 1), np.where(number == last, first, number + 1)
    return Pieces(
        np.concatenate(starts),
        along,
        before,
        after,
        _cross(along[previous], along) > 0.0,
        _cross(along, along[following]) > 0.0,
    )


def _runs(alongs: Sequence[np.ndarray]) -> list[np.ndarray]:
    ends = np.cumsum([len(along) for along in alongs])
    return [np.arange(end - len(along), end) for along, end in zip(alongs, ends, strict=True)]


def _cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def side_distance(points: np.ndarray, pieces: Pieces, z_stretch: float) -> np.ndarray:
    """Signed distance [m] of points (n, 3) from the nearest piece: below 0 on its left, where the road is.

    Heights, times z_stretch, count only for which piece is the nearest: the distance is that in the x-y plane. Beyond the
    end of a piece its neighbour has a say, by whether the line turns left or right there.
    Source: waymo-open-dataset, sim_agents_metrics/map_metric_features.py.
    """
    low, high = points[:, :2].min(axis=0) - NEAR, points[:, :2].max(axis=0) + NEAR
    ends = pieces.start + pieces.along
    near = np.flatnonzero(
        ((np.minimum(pieces.start, ends)[:, :2] <= high) & (np.maximum(pieces.start, ends)[:, :2] >= low)).all(axis=1)
    )
    found, away = _side_distance(points, pieces, near, z_stretch) if len(near) else (np.zeros(len(points)), np.inf)
    far = ~(np.broadcast_to(away, len(points)) < NEAR)  # there may be a nearer one among those that were left out
    if far.any():
        found[far] = _side_distance(points[far], pieces, np.arange(len(pieces.start)), z_stretch)[0]
    return found


def _side_distance(points: np.ndarray, pieces: Pieces, among: np.ndarray, z_stretch: float) -> tuple[np.ndarray, np.ndarray]:
    """The signed distances, and how far away [m] the nearest piece is with the stretched heights."""
    found, away = np.empty(len(points)), np.empty(len(points))
    step = max(1, _CHUNK // len(among))
    start, along = pieces.start[among], pieces.along[among]
    squared = (along[:, :2] ** 2).sum(axis=1)
    for first in range(0, len(points), step):
        chunk = points[first : first + step]
        to_point = chunk[:, None] - start[None]
        share = np.divide((to_point[..., :2] * along[:, :2]).sum(axis=2), squared, out=np.zeros(to_point.shape[:2]),
                          where=squared > 0.0)  # fmt: skip
        off = to_point - along * np.clip(share, 0.0, 1.0)[..., None]
        stretched = np.sqrt(off[..., 0] ** 2 + off[..., 1] ** 2 + (z_stretch * off[..., 2]) ** 2)
        nearest = stretched.argmin(axis=1)
        rows = np.arange(len(chunk))
        piece, at = among[nearest], share[rows, nearest]
        own, before, after = (
            np.sign(_cross(chunk - pieces.start[one], pieces.along[one]))
            for one in (piece, pieces.before[piece], pieces.after[piece])
        )
        sign_before = np.where(pieces.convex_before[piece], np.maximum(own, before), np.minimum(own, before))
        sign_after = np.where(pieces.convex_after[piece], np.maximum(own, after), np.minimum(own, after))
        sign = np.where(at < 0.0, sign_before, np.where(at > 1.0, sign_after, own))
        found[first : first + step] = sign * np.hypot(off[rows, nearest, 0], off[rows, nearest, 1])
        away[first : first + step] = stretched[rows, nearest]
    return found, away
