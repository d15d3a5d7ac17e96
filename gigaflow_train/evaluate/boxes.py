"""Rectangles on the ground: corners, overlap and distance. A box is x, y, heading, length, width on the last axis."""

import numpy as np

FRONT_LEFT, REAR_LEFT, REAR_RIGHT, FRONT_RIGHT = range(4)
"""Order of the corners."""


def corners(boxes: np.ndarray) -> np.ndarray:
    """Corners (..., 4, 2) of boxes (..., 5) [m], counter-clockwise from the front left one."""
    x, y, heading, length, width = np.moveaxis(boxes, -1, 0)
    ahead = np.stack([length, -length, -length, length], axis=-1) / 2.0
    left = np.stack([width, width, -width, -width], axis=-1) / 2.0
    cos, sin = np.cos(heading)[..., None], np.sin(heading)[..., None]
    return np.stack([x[..., None] + ahead * cos - left * sin, y[..., None] + ahead * sin + left * cos], axis=-1)


def local(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """Points (..., 2) as seen from boxes (..., 5): x ahead of the middle, y to the left [m]."""
    dx, dy = points[..., 0] - boxes[..., 0], points[..., 1] - boxes[..., 1]
    cos, sin = np.cos(boxes[..., 2]), np.sin(boxes[..., 2])
    return np.stack([cos * dx + sin * dy, cos * dy - sin * dx], axis=-1)


def separation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest gap [m] between boxes (..., 5) along any of their sides' directions; below 0: how deep they overlap.

    Two rectangles overlap if and only if there is no gap along the four directions of their sides.
    """
    turn = b[..., 2] - a[..., 2]
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    gaps = []
    for own, other in ((a, b), (b, a)):
        offset = np.abs(local(other[..., :2], own))
        gaps.append(offset[..., 0] - (own[..., 3] + other[..., 3] * cos + other[..., 4] * sin) / 2.0)
        gaps.append(offset[..., 1] - (own[..., 4] + other[..., 3] * sin + other[..., 4] * cos) / 2.0)
    return np.maximum.reduce(gaps)


def overlap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Whether boxes (..., 5) have area in common. NaN overlaps nothing."""
    return separation(a, b) < 0.0


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Signed distance [m] of boxes (..., 5): the way between them, or minus the shortest way that would part them."""
    apart = separation(a, b)
    nearest = np.full(apart.shape, np.inf)
    for own, other in ((a, b), (b, a)):  # of two convex shapes apart, a corner of one is as near as anything gets
        seen = np.abs(local(corners(other), own[..., None, :]))
        beyond = np.maximum(seen - own[..., None, 3:5] / 2.0, 0.0)
        nearest = np.fmin(nearest, np.hypot(beyond[..., 0], beyond[..., 1]).min(axis=-1))
    return np.where(apart > 0.0, nearest, apart)
