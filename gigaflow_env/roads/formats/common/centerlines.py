"""Lanes that are drawn as polylines of their centers: what can be a lane becomes dense rows, ready to be measured."""

import math
from collections.abc import Mapping

import numpy as np

from gigaflow_env.roads.formats.common.limits import MIN_LENGTH
from gigaflow_env.roads.formats.common.polyline import dense, smooth, tidy
from gigaflow_env.roads.import_report import left_out, note
from gigaflow_env.roads.road_map import MapError

BACK = math.radians(170)
"""Ours: a lane that turns by more at one point is a mistake in the file; no curve leads through it."""


def drawn(polylines: Mapping[str, np.ndarray], longest: float) -> dict[str, np.ndarray]:
    """Dense rows (m, 5) of lanes (n, 3), their widths still open.

    Those that are too short for a lane are left out, and so, as faults, are those with points that are not finite and
    those that turn back. Raises MapError where all lanes together are longer than `longest` [m], and, naming the lane, for
    the first fault where reading is strict.
    """
    tidied = {}
    for name, given in polylines.items():
        with left_out("lane", name):
            try:
                points = tidy(given) if len(given) > 1 else None
                if points is None:
                    note("lane", name, f"of {len(given)} points, less than {MIN_LENGTH} m long: left out")
                else:
                    _check_turns(points)
                    tidied[name] = points
            except MapError as error:
                raise MapError(f"lane {name}: {error}", reason=error.reason) from error
    total = sum(np.hypot(*np.diff(points[:, :2], axis=0).T).sum() for points in tidied.values())
    if total > longest:
        raise MapError(f"the lanes have {total / 1000:.0f} km in all, at most {longest / 1000:.0f} km are possible")
    return {name: dense(smooth(points, 0.0)) for name, points in tidied.items()}


def _check_turns(points: np.ndarray) -> None:
    steps = np.diff(points[:, :2], axis=0)
    headings = np.arctan2(steps[:, 1], steps[:, 0])
    turns = np.abs((np.diff(headings) + math.pi) % (2 * math.pi) - math.pi)
    if len(turns) and turns.max() > BACK:
        x, y = points[turns.argmax() + 1, :2]
        raise MapError(f"it turns back by {math.degrees(turns.max()):.0f} degrees at ({x:.2f}, {y:.2f})")
