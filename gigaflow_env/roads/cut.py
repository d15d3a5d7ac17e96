"""A part of a map: the lanes around a place, with their cut ends as exits and entries."""

import math
from dataclasses import replace
from typing import Any

import numpy as np

from gigaflow_env import bounds
from gigaflow_env.roads.centerline import fit, sample
from gigaflow_env.roads.road_map import HEADING, Lane, MapError, RoadMap

CUT_SPACING = 0.5
"""[m] of the points by which it is decided where a lane is cut."""
RADII = bounds.Bounds(0, math.inf, open_low=True)
LEAST = 1.0
"""[m] Ours: shorter stubs are left out."""


def check_part(around: Any, radius: Any) -> tuple[tuple[float, float], float]:
    """The place, x and y [m], and the radius [m] as numbers. Raises ValueError for others than finite ones."""
    place = tuple(around) if isinstance(around, (tuple, list, np.ndarray)) else ()
    if len(place) != 2:
        raise ValueError(f"around={bounds.shown(around)}: must be two numbers, x and y in m")
    x, y = (bounds.real("around", number, bounds.Bounds(), "m") for number in place)
    return (x, y), bounds.real("radius", radius, RADII, "m")


def cut(road_map: RoadMap, around: tuple[float, float], radius: float) -> RoadMap:
    """The part of a map within `radius` [m] of the place `around`, x and y [m].

    Junctions stay whole: a connector that begins or ends inside is kept up to its end. A lane that leaves the circle ends
    there, and one that comes back goes on as another lane, `id.part2`. Raises ValueError for a radius that is not above 0,
    MapError where no driving lane is left.
    """
    around, radius = check_part(around, radius)
    center = np.array(around, float)
    entry: dict[str, str] = {}  # lane -> the part of it that begins where it began
    kept: list[tuple[Lane, bool]] = []  # the parts, and whether each ends where its lane ended
    for lane in road_map.lanes.values():
        parts = _parts(lane, center, radius)
        for number, (line, first, last) in enumerate(parts):
            name = lane.id if number == 0 else f"{lane.id}.part{number + 1}"
            if first:
                entry[lane.id] = name
            whole = first and last
            kept.append((replace(lane, id=name, line=line, signal=lane.signal if first else None,
                                 left=lane.left if whole else None, right=lane.right if whole else None,
                                 twin=lane.twin if whole else None), last))  # fmt: skip
    lanes = {
        lane.id: replace(lane, successors=tuple(entry[o] for o in lane.successors if o in entry) if last else ())
        for lane, last in kept
    }
    whole_lanes = {name for name, lane in lanes.items() if name in road_map.lanes and lane.line is road_map.lanes[name].line}
    lanes = {name: _without(lane, whole_lanes) for name, lane in lanes.items()}
    if not any(lane.kind == "driving" for lane in lanes.values()):
        raise MapError(f"map {road_map.name!r} has no driving lane within {radius:g} m of ({around[0]:g}, {around[1]:g})")
    used = {lane.signal for lane in lanes.values()}
    return replace(
        road_map,
        lanes=lanes,
        signals={name: signal for name, signal in road_map.signals.items() if name in used},
        crosswalks={name: c for name, c in road_map.crosswalks.items() if _inside(c.outline, center, radius).any()},
        report=tuple(e for e in road_map.report if e.place is None or math.dist(e.place, around) <= radius),
    )


def _without(lane: Lane, whole: set[str]) -> Lane:
    """The lane without neighbours that were cut: they no longer run side by side from start to end."""
    left, right, twin = (other if other in whole else None for other in (lane.left, lane.right, lane.twin))
    return replace(lane, left=left, right=right, twin=twin)


def _inside(points: np.ndarray, center: np.ndarray, radius: float) -> np.ndarray:
    return np.hypot(*(points[:, :2] - center).T) <= radius


def _parts(lane: Lane, center: np.ndarray, radius: float) -> list[tuple[np.ndarray, bool, bool]]:
    """The parts of a lane inside, each with whether it begins where the lane begins, and ends where it ends."""
    near = _inside(lane.line[[0, -1]], center, radius)
    if lane.junction is not None and near.any():
        return [(lane.line, True, True)]
    points = sample(lane.line, CUT_SPACING)[:, :5]
    inside = _inside(points, center, radius)
    if inside.all():
        return [(lane.line, True, True)]
    turns = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]))).reshape(-1, 2).tolist()
    parts = []
    for first, last in turns:
        if (last - first - 1) * CUT_SPACING >= LEAST:
            line = fit(points[first:last])
            line[:, HEADING] -= 2 * math.pi * round(line[0, HEADING] / (2 * math.pi))
            parts.append((line, first == 0, last == len(points)))
    return parts
