"""Linear maps of the plane: of a world's variant, and of a road map, knot by knot."""

import math
from dataclasses import replace

import numpy as np
from conftest import reals
from hypothesis import strategies as st

from gigaflow_env.jit import kernel
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.road_map import HEADING, WIDTH
from gigaflow_env.sim.variant import set_variant
from gigaflow_env.state import make

SHAPES = {
    "scaled": [[1.2, 0.0], [0.0, 0.9]],
    "sheared": [[1.0, 0.2], [0.0, 1.0]],
    "flipped": [[1.0, 0.0], [0.0, -1.0]],
    "turned": [[math.cos(0.7), -math.sin(0.7)], [math.sin(0.7), math.cos(0.7)]],
    "all": [[0.7, 0.8], [0.9, -0.6]],
}


def _matrix(scale_x, scale_y, shear, flip, turn):
    rotation = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]])
    warp = rotation @ np.array([[1, shear], [0, 1]]) @ np.diag([scale_x, -scale_y if flip else scale_y])
    return warp.astype(np.float32).astype(float)


matrices = st.builds(_matrix, reals(0.5, 2), reals(0.5, 2), reals(-0.5, 0.5), st.booleans(), reals(-3.1, 3.1))
"""Any A of a map variant, in numbers of float32."""


@kernel
def _set(w, variant, xx, xy, yx, yy):
    set_variant(w, variant, xx, xy, yx, yy)


def give(sim, matrix, w=0):
    """Make world `w` the image of its map under the 2 by 2 matrix."""
    _set(w, sim.state.variant, *np.asarray(matrix, np.float32).ravel())


def warped(matrix):
    """The tables of one world that is the image under A."""
    variant = make(1, 1, 1, 0, 0, 1, 1).variant
    _set(0, variant, *np.asarray(matrix, np.float32).ravel())
    return variant


def bound(matrix):
    """By how much `stretch` may be off: e^2 / 8 of the length and a bit."""
    large, small = np.linalg.svd(matrix)[1] ** 2
    e = (large - small) / (large + small)
    return (e**2 / 8 + e**4 / 3) * math.sqrt((large + small) / 2) + 1e-4


def image(road_map, matrix):
    """The map under a linear map of the plane, knot by knot: directions, widths and sides follow the closed forms."""
    matrix = np.asarray(matrix)
    det, lanes = np.linalg.det(matrix), {}
    for lane in road_map.lanes.values():
        knots = sample(lane.line, 0.25)[:, :5]
        along = np.stack([np.cos(knots[:, HEADING]), np.sin(knots[:, HEADING])], axis=1) @ matrix.T
        line = knots.copy()
        line[:, :2] = knots[:, :2] @ matrix.T
        line[:, HEADING] = np.unwrap(np.arctan2(along[:, 1], along[:, 0]))
        line[:, WIDTH] = knots[:, WIDTH] * abs(det) / np.hypot(*along.T)
        left, right = (lane.right, lane.left) if det < 0 else (lane.left, lane.right)
        lanes[lane.id] = replace(lane, line=line, left=left, right=right)
    return replace(road_map, lanes=lanes, left_hand=det < 0)
