"""Lane look-up against Shapely: is a point on a lane, and on which? `python benchmarks/lookup.py`.

The kernels look up a place in the compiled grid (`search`); Shapely asks the outlines of the lanes as the map has them, in
float64. Both must say the same of every point that is more than TOLERANCE away from a border: a point inside of a lane of
its level is found on a lane, and where a lane is found, the point is inside of it. Exit status 1 if they ever differ.

Counted apart are places where a lane folds over itself: it bends so tightly for its width that two cross-sections meet
inside it, and its inner border runs backwards. Of the maps at hand `mapping_example.osm` does so, with lanes up to 9 m
wide that turn on the spot where its lanelets meet. There is no right answer: the quad between two such sections is a
bow tie, and what lies beyond their crossing is before the first and behind the second, nowhere along the lane, while
the outline goes around it or not, as it happens. Widths are the file's own, so nothing is cut down.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely
import tyro

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_env.jit import i32, kernel
from gigaflow_env.roads import RoadMap, shipped
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.compiled.compile import SECTION_SPACING, compile_roads
from gigaflow_env.roads.compiled.tables import Roads
from gigaflow_env.roads.loading import find
from gigaflow_env.sim.lanes import along_quad, in_quad, search
from gigaflow_env.state import make

TOLERANCE = 0.01  # m
ROUNDING = 1e-4  # m: a point on the seam of two quads is outside of both by float32's rounding
LEVEL = 2.5  # m: lanes further apart in height lie on different levels
DOUBT = 0.2  # m: heights so near to LEVEL are not judged
AROUND = 3.0  # m beside the lanes where half of the points lie; the others lie anywhere on the map


@dataclass(frozen=True)
class Lookup:
    """Compare the kernels' lane look-up with Shapely at random points of all shipped towns."""

    points: float = 1e6
    """Of all maps together, as many on each."""
    maps: tuple[str, ...] = ()
    """Map files and random towns, in addition."""
    seed: int = 0
    json: Path | None = None
    """Write the result into this file."""


class Points(NamedTuple):
    """Places and directions in the map's own coordinates, float64 (points,)."""

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    heading: np.ndarray


class Outlines(NamedTuple):
    """The driving lanes of a map, in the order of the compiler: as they come."""

    shapes: np.ndarray  # (lanes,) polygons
    cuts: list[np.ndarray]  # of each lane (sections, 5): x, y, z [m], heading [rad], width [m]


class Found(NamedTuple):
    """Whether each point is on a lane for the kernels, and on which: (points,)."""

    inside: np.ndarray
    lane: np.ndarray


def outlines(road_map: RoadMap, origin: np.ndarray) -> Outlines:
    """origin: (3,) to be subtracted."""
    cuts = [sample(lane.line, SECTION_SPACING)[:, :5] for lane in road_map.lanes.values() if lane.kind == "driving"]
    for cut in cuts:
        cut[:, :3] -= origin
    return Outlines(np.array([_outline(cut) for cut in cuts]), cuts)


def _borders(cut: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Left and right ends of cross-sections, both (sections, 2)."""
    across = np.column_stack([-np.sin(cut[:, 3]), np.cos(cut[:, 3])]) * cut[:, [4]] / 2
    return cut[:, :2] + across, cut[:, :2] - across


def _outline(cut: np.ndarray) -> shapely.Geometry:
    left, right = _borders(cut)
    shape = shapely.Polygon(np.concatenate([left, right[::-1]]))
    if shape.is_valid:
        return shape
    # A lane that passes its own place, or is wider than its curve: the union of its quads.
    quads = shapely.polygons(np.stack([left[:-1], left[1:], right[1:], right[:-1]], axis=1))
    return shapely.union_all(shapely.convex_hull(quads))


def scatter(lanes: Outlines, count: int, rng: np.random.Generator) -> Points:
    """Half of the points near lanes, half of them anywhere; all as high as the road near by."""
    sections = np.concatenate(lanes.cuts)
    near = sections[rng.integers(0, len(sections), count - count // 2)]
    reach = near[:, 4] / 2 + AROUND
    low, high = sections[:, :2].min(axis=0) - AROUND, sections[:, :2].max(axis=0) + AROUND
    places = np.concatenate([near[:, :2] + rng.uniform(-1, 1, (len(near), 2)) * reach[:, None],
                             rng.uniform(low, high, (count // 2, 2))])  # fmt: skip
    nearest = shapely.STRtree(shapely.points(sections[:, :2])).nearest(shapely.points(places[len(near) :]))
    z = np.concatenate([near[:, 2], sections[nearest, 2]])
    return Points(*places.T, z, rng.uniform(-np.pi, np.pi, count))


PLAIN = make(1, 1, 1, 0, 0, 1, 1).variant
"""A world that is the map as it is."""


@kernel
def _search(variant, network, grid, number, x, y, z, cos, sin, sections, goals, outside):
    for k in range(len(x)):
        section = search(
            0, variant, network, grid, network.maps[number], sections[k], x[k], y[k], z[k], cos[k], sin[k], goals[k]
        )
        a, b = network.sections[section], network.sections[section + i32(1)]
        past, before = along_quad(x[k], y[k], a, b)
        _, offset, half_width, _, _ = in_quad(x[k], y[k], past, before, a, b)
        sections[k], outside[k] = section, max(abs(offset) - half_width, -past, -before)


def look_up(roads: Roads, points: Points, rng: np.random.Generator) -> Found:
    """What the kernels find from any section with any goal, on the first map."""
    count = len(points.x)
    starts, goals = rng.choice(roads.network.starts, (2, count))
    cos, sin = np.cos(points.heading), np.sin(points.heading)
    x, y, z, cos, sin = (np.ascontiguousarray(part, np.float32) for part in (*points[:3], cos, sin))
    sections, outside = starts.copy(), np.zeros(count, np.float32)
    _search(PLAIN, roads.network, roads.grid, 0, x, y, z, cos, sin, sections, goals, outside)
    return Found(outside <= ROUNDING, roads.network.sections["lane"][sections])


def differences(lanes: Outlines, points: Points, found: Found) -> tuple[np.ndarray, np.ndarray]:
    """How far from a border each point is of which kernels and Shapely differ [m], 0 where they agree.

    And whether it is inside of a lane for Shapely: both (points,).
    """
    spots = shapely.points(points.x, points.y)
    point, lane = shapely.STRtree(lanes.shapes).query(spots, predicate="intersects")
    apart = _apart(lanes, points, point, lane)
    depth = np.where(apart < LEVEL - DOUBT, shapely.distance(spots[point], shapely.boundary(lanes.shapes[lane])), 0.0)
    deepest = np.zeros(len(spots))
    np.maximum.at(deepest, point, depth)

    on = np.flatnonzero(found.inside)
    beside = np.zeros(len(spots))
    beside[on] = shapely.distance(spots[on], lanes.shapes[found.lane[on]])
    beside[on[_apart(lanes, points, on, found.lane[on]) > LEVEL + DOUBT]] = np.inf  # on another level
    return np.where(found.inside, beside, deepest), deepest > 0


def folded(lanes: Outlines, points: Points) -> np.ndarray:
    """Which points lie beside cross-sections that meet inside of their lane, (points,)."""
    places = []
    for cut in lanes.cuts:
        steps = np.diff(cut[:, :2], axis=0)
        backwards = [(np.diff(border, axis=0) * steps).sum(axis=1) <= 0 for border in _borders(cut)]
        reach = np.maximum(cut[:-1, 4], cut[1:, 4]) / 2 + np.hypot(*steps.T)
        places.append(np.column_stack([cut[:-1, :2], reach])[np.logical_or(*backwards)])
    found = np.zeros(len(points.x), bool)
    for x, y, reach in np.concatenate(places):
        found |= np.hypot(points.x - x, points.y - y) < reach
    return found


def _apart(lanes: Outlines, points: Points, point: np.ndarray, lane: np.ndarray) -> np.ndarray:
    """Heights [m] between points and lanes, pair by pair, where the lane comes nearest."""
    apart = np.empty(len(point))
    for k in np.unique(lane):
        rows, cut = np.flatnonzero(lane == k), lanes.cuts[k]
        at = point[rows]
        nearest = np.hypot(points.x[at][:, None] - cut[:, 0], points.y[at][:, None] - cut[:, 1]).argmin(axis=1)
        apart[rows] = np.abs(cut[nearest, 2] - points.z[at])
    return apart


def compare(road_map: RoadMap, count: int, seed: int) -> dict[str, Any]:
    """What kernels and Shapely say of `count` random points of a map; ready for JSON."""
    rng = np.random.default_rng(seed)
    roads = compile_roads(road_map)
    lanes = outlines(road_map, roads.origins[0])
    points = scatter(lanes, count, rng)
    differ, inside = differences(lanes, points, look_up(roads, points, rng))
    excused = folded(lanes, points)
    wrong = np.flatnonzero((differ > TOLERANCE) & ~excused)
    first = [f"{differ[k]:.3f} m at {points.x[k]:.2f}, {points.y[k]:.2f}, {points.z[k]:.2f}" for k in wrong[:3]]
    return {
        "points": count,
        "inside": int(inside.sum()),
        "wrong": len(wrong),
        "worst_mm": round(float(differ[~excused].max()) * 1000, 1),
        "folded": int(excused.sum()),
        "wrong_in_folds": int((differ[excused] > TOLERANCE).sum()),
        **({"first": first} if first else {}),
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 where they differ."""
    lookup, began = tyro.cli(Lookup, args=argv), time.perf_counter()
    names = (*sorted(shipped()), *lookup.maps)
    count = -(-round(lookup.points) // len(names))
    maps = {Path(name).name: compare(find(name), count, lookup.seed) for name in names}
    counts = ("points", "inside", "wrong", "folded", "wrong_in_folds")
    total = {key: sum(one[key] for one in maps.values()) for key in counts}
    result = {**total, "tolerance_mm": TOLERANCE * 1000, "seconds": round(time.perf_counter() - began, 1), "maps": maps}
    result |= machine() | {"command": " ".join(["benchmarks/lookup.py", *sys.argv[1:]])}
    for name, one in maps.items():
        print(f"{name:36} {one['points']:8,} points, {one['inside']:8,} inside, {one['wrong']:4} wrong, "
              f"worst {one['worst_mm']:5.1f} mm {'; '.join(one.get('first', ()))}")  # fmt: skip
    print(f"{total['wrong']} of {total['points']:,} points wrong, {total['wrong_in_folds']} of {total['folded']} in folds")
    if lookup.json is not None:
        write_text(lookup.json, json.dumps(result, indent=1) + "\n")
    return 1 if total["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
