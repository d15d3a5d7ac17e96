"""A part of a map: the lanes around a place, with their cut ends as exits and entries."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

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
    there, and one that comes back goes on as another lane, `id.part2`. Lanes side by side, and the two of a lane for both
    directions, are cut at one place, where the last of them leaves: they remain neighbours. Raises ValueError for a radius
    that is not above 0, MapError where no driving lane is left.
    """
    around, radius = check_part(around, radius)
    center = np.array(around, float)
    parts: dict[str, list[_Part]] = {}  # of each lane, in its direction of travel
    for bundle in _bundles(road_map.lanes):
        parts |= _parts(bundle, road_map.lanes, center, radius)
    named = {(lane, part.run): part.name for lane, own in parts.items() for part in own}
    entry = {lane: own[0].name for lane, own in parts.items() if own and own[0].first}
    lanes = {}
    for lane in road_map.lanes.values():
        for part in parts[lane.id]:
            left, right, twin = (named.get((other or "", part.run)) for other in (lane.left, lane.right, lane.twin))
            ahead = tuple(entry[other] for other in lane.successors if other in entry) if part.last else ()
            lanes[part.name] = replace(lane, id=part.name, line=part.line, successors=ahead, left=left, right=right,
                                       twin=twin, signal=lane.signal if part.first else None)  # fmt: skip
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


class _Part(NamedTuple):
    """What is kept of a lane without a gap."""

    name: str
    run: int  # which part of the bundle it belongs to
    line: np.ndarray
    first: bool  # it begins where the lane begins
    last: bool  # it ends where the lane ends


def _inside(points: np.ndarray, center: np.ndarray, radius: float) -> np.ndarray:
    return np.hypot(*(points[:, :2] - center).T) <= radius


def _bundles(lanes: dict[str, Lane]) -> list[dict[str, bool]]:
    """Lanes that lie side by side, each with whether it runs against the first one."""
    found: list[dict[str, bool]] = []
    seen: set[str] = set()
    beside: dict[str, list[tuple[str, bool]]] = {name: [] for name in lanes}
    for name, lane in lanes.items():
        for other, turns in ((lane.left, False), (lane.right, False), (lane.twin, True)):
            if other is not None:
                beside[name].append((other, turns))
                beside[other].append((name, turns))  # one may change in one direction only
    for start in lanes:
        if start in seen:
            continue
        bundle = {start: False}
        queue = [start]
        for name in queue:  # grows while we go
            for other, turns in beside[name]:
                if other not in bundle:
                    bundle[other] = bundle[name] != turns
                    queue.append(other)
        seen |= bundle.keys()
        found.append(bundle)
    return found


def _parts(bundle: dict[str, bool], lanes: dict[str, Lane], center: np.ndarray, radius: float) -> dict[str, list[_Part]]:
    """The parts of each lane of a bundle that lie inside."""
    lines = {name: lanes[name].line for name in bundle}
    connects = any(lanes[name].junction is not None for name in bundle)
    if connects and any(_inside(line[[0, -1]], center, radius).any() for line in lines.values()):
        return {name: [_Part(name, 0, line, True, True)] for name, line in lines.items()}
    points = {name: sample(line, CUT_SPACING)[:, :5] for name, line in lines.items()}
    count = max(map(len, points.values()))
    share = np.linspace(0.0, 1.0, count)  # of the way along the bundle
    rows = {name: _rows(share, len(points[name]), against) for name, against in bundle.items()}
    inside = np.any([_inside(points[name], center, radius)[rows[name]] for name in bundle], axis=0)
    if inside.all():
        return {name: [_Part(name, 0, line, True, True)] for name, line in lines.items()}
    turns = np.flatnonzero(np.diff(np.concatenate([[False], inside, [False]]))).reshape(-1, 2).tolist()
    shortest = min(len(own) for own in points.values()) / count
    runs = [(first, last - 1) for first, last in turns if (last - first - 1) * shortest * CUT_SPACING >= LEAST]
    found: dict[str, list[_Part]] = {}
    for name, against in bundle.items():
        kept: list[_Part] = []
        for run, (first, last) in list(enumerate(runs))[:: -1 if against else 1]:
            low, high = sorted((int(rows[name][first]), int(rows[name][last])))
            line = fit(points[name][low : high + 1])
            line[:, HEADING] -= 2 * math.pi * round(line[0, HEADING] / (2 * math.pi))
            own = name if not kept else f"{name}.part{len(kept) + 1}"
            kept.append(_Part(own, run, line, low == 0, high == len(points[name]) - 1))
        found[name] = kept
    return found


def _rows(share: np.ndarray, count: int, against: bool) -> np.ndarray:
    """Rows of a lane's points at shares of the way along its bundle."""
    return np.rint((1 - share if against else share) * (count - 1)).astype(np.int64)
