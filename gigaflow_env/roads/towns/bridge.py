"""Bridges: the height of a road that rises, runs level over what it crosses, and comes down again."""

import math

import numpy as np

from gigaflow_env.roads.road_map import HEADING, MapError, X, Y, Z
from gigaflow_env.roads.towns import curve as curves
from gigaflow_env.roads.towns.curve import Curve, Pose
from gigaflow_env.roads.towns.parts import DECIMALS
from gigaflow_env.roads.towns.spec import Road

DECK = 30.0
"""[m] Half of the level part."""
GRADE = 0.06
"""Steepest slope, in the middle of each ramp."""
EVERY = 10.0
"""[m] Distance of knots on the ramps: height is linear between them, 2 cm off at most."""


def reach(height: float) -> float:
    """Half of the length over which a bridge is off the ground [m]."""
    return DECK + 1.5 * height / GRADE  # the slope of 3 t^2 - 2 t^3 is 1.5 at most


def crest(road: Road, axis: Curve) -> Pose:
    """The middle of a road's bridge. Raises MapError where the road is not straight all along the bridge."""
    x, y, height = road.bridge
    for piece in axis:
        cos, sin = math.cos(piece.heading), math.sin(piece.heading)
        along, across = (x - piece.x) * cos + (y - piece.y) * sin, (y - piece.y) * cos - (x - piece.x) * sin
        if not piece.curvature and abs(across) < 1.0 and reach(height) <= along <= piece.length - reach(height):
            return curves.ahead(Pose(*piece[:3]), along)
    raise MapError(
        f"the road {road.between[0]} to {road.between[1]}: its bridge at ({x:g}, {y:g}) needs {reach(height):.0f} m of "
        "straight road on both sides, clear of junctions"
    )


def raised(line: np.ndarray, middle: Pose, height: float) -> np.ndarray:
    """The line of a lane (knots, 5) with the bridge's height, and with the knots that it needs."""
    cos, sin = math.cos(middle.heading), math.sin(middle.heading)
    half = reach(height)
    stations = np.arange(-half, half + EVERY / 2, EVERY)
    rows = [line[:1]]
    for a, b in zip(line, line[1:], strict=False):
        if abs(a[HEADING] - b[HEADING]) < 1e-9:
            first, last = ((p[X] - middle.x) * cos + (p[Y] - middle.y) * sin for p in (a, b))
            shares = np.sort((stations - first) / (last - first))
            margin = curves.SHORT / abs(last - first)
            rows += [(a + (b - a) * share)[None] for share in shares if margin < share < 1 - margin]
        rows.append(b[None])
    knots = np.concatenate(rows)
    along = np.abs((knots[:, X] - middle.x) * cos + (knots[:, Y] - middle.y) * sin)
    t = np.clip((half - along) / (half - DECK), 0.0, 1.0)
    knots[:, Z] = height * t * t * (3 - 2 * t)
    return np.round(knots, DECIMALS) + 0.0
