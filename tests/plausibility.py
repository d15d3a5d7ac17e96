"""What a plausible RoadMap satisfies, whatever made it. Each check takes a map and fails with what is wrong and where."""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import shapely
from shapely.geometry import Polygon
from shapely.ops import unary_union

from gigaflow_env.roads import Lane, RoadMap, summary
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.signal_phases import conflicts, plan
from gigaflow_env.roads.towns.spec import MIN_CORNER

LEVEL = 2.5  # m: lanes further apart in height lie on different levels
GRACE = 0.05  # m: gaps and spikes narrower than twice this are rounding
SLIT = 0.9  # m: what lies between two pieces of road and is narrower than this can hardly be seen


class Sections(NamedTuple):
    """Cross-sections of a lane, about every metre, as the simulator's quads use them."""

    left: np.ndarray  # (n, 2)
    right: np.ndarray  # (n, 2)
    z: np.ndarray  # (n,)
    heading: np.ndarray  # (n,)
    width: np.ndarray  # (n,)
    curvature: np.ndarray  # (n,)


def sections(lane: Lane) -> Sections:
    return _sections(lane.line.tobytes())


def outline(lane: Lane) -> Polygon:
    return _outline(lane.line.tobytes())


@cache
def _sections(line: bytes) -> Sections:
    x, y, z, heading, width, curvature, _ = sample(np.frombuffer(line).reshape(-1, 5), 1.0).T
    center = np.column_stack([x, y])
    across = np.column_stack([-np.sin(heading), np.cos(heading)]) * width[:, None] / 2
    return Sections(center + across, center - across, z, heading, width, curvature)


@cache
def _outline(line: bytes) -> Polygon:
    cuts = _sections(line)
    return Polygon(np.concatenate([cuts.left, cuts.right[::-1]]))


def forget() -> None:
    """Free what is kept of the lanes seen so far."""
    _sections.cache_clear()
    _outline.cache_clear()


def height(lane: Lane, shape: shapely.Geometry) -> float:
    """Height of a lane where `shape` is [m]."""
    cuts = sections(lane)
    return float(cuts.z[np.hypot(*((cuts.left + cuts.right) / 2 - np.array(shape.centroid.coords[0])).T).argmin()])


def driving(road_map: RoadMap) -> dict[str, Lane]:
    return {key: lane for key, lane in road_map.lanes.items() if lane.kind == "driving"}


def check_connected(road_map: RoadMap, most: int = 6) -> None:
    """Every lane leads to every other, over successors and permitted lane changes."""
    assert summary(road_map)["largest_component"] == 1.0
    for lane in driving(road_map).values():
        assert lane.successors, f"{lane.id} is a dead end"
        assert len(lane.successors) <= most, f"{lane.id} has {len(lane.successors)} successors"


def check_links(road_map: RoadMap, gap: float = 0.01, kink: float = 1.0) -> None:
    """Both edges of linked lanes meet within `gap` [m], and the direction jumps by less than `kink` [degrees]."""
    cuts = {key: sections(lane) for key, lane in driving(road_map).items()}
    for lane in driving(road_map).values():
        for other in lane.successors:
            a, b = cuts[lane.id], cuts[other]
            for side in ("left", "right"):
                apart = np.hypot(*(getattr(a, side)[-1] - getattr(b, side)[0]))
                assert apart < gap, f"{lane.id} to {other}: {apart:.4f} m between their {side} edges"
            turn = math.degrees(abs(math.remainder(a.heading[-1] - b.heading[0], math.tau)))
            assert turn < kink, f"{lane.id} to {other}: the direction jumps by {turn:.2f} degrees"


def check_neighbours(road_map: RoadMap, gap: float = 0.05) -> None:
    """A lane change leads to the lane beside: edges within `gap` [m], from begin to end, and back again."""
    lanes = driving(road_map)
    for lane in lanes.values():
        if lane.left is not None:
            assert lanes[lane.left].right == lane.id, f"{lane.id} leads left to {lane.left}, which does not lead back"
            a, b = sections(lane), sections(lanes[lane.left])
            edges = [shapely.LineString(a.left), shapely.LineString(b.right)]
            apart = shapely.hausdorff_distance(*edges)
            assert apart < gap, f"{lane.id} and {lane.left} are neighbours, but their edges are {apart:.3f} m apart"


def check_quads(road_map: RoadMap) -> None:
    """Between two sections of a lane lies a convex, counter-clockwise quad of sensible size."""
    for lane in driving(road_map).values():
        cuts = sections(lane)
        corners = np.stack([cuts.right[:-1], cuts.right[1:], cuts.left[1:], cuts.left[:-1]], axis=1)  # (n, 4, 2)
        sides = np.roll(corners, -1, axis=1) - corners
        following = np.roll(sides, -1, axis=1)
        turns = sides[..., 0] * following[..., 1] - sides[..., 1] * following[..., 0]
        assert (turns > 0).all(), f"{lane.id}: quad {np.argwhere(turns <= 0)[0, 0]} is not convex and counter-clockwise"
        spans = np.hypot(*np.diff((cuts.left + cuts.right) / 2, axis=0).T)
        assert spans.min() > 0.5 and spans.max() < 1.5, f"{lane.id}: quads of {spans.min():.2f} to {spans.max():.2f} m"


def check_widths(road_map: RoadMap, narrow: float = 3.0, wide: float = 3.75) -> None:
    for lane in driving(road_map).values():
        low, high = lane.line[:, 4].min(), lane.line[:, 4].max()
        assert narrow <= low and high <= wide, f"{lane.id} is {low:.2f} to {high:.2f} m wide"


def check_curves(road_map: RoadMap, radius: float = 5.5, lateral: float = 3.3) -> None:
    """No curve is tighter than `radius` [m] or needs more than `lateral` [m/s^2] at the speed limit."""
    for lane in driving(road_map).values():
        curvature = np.abs(sections(lane).curvature).max()
        assert curvature * radius < 1, f"{lane.id}: radius {1 / curvature:.2f} m"
        assert lane.speed**2 * curvature < lateral, f"{lane.id}: {lane.speed} m/s in a curve of {1 / curvature:.1f} m"


def check_shapes(road_map: RoadMap, overlap: float = 0.5) -> None:
    """Lanes don't cross themselves, and outside junctions they don't overlap: less than `overlap` [m^2] in total.

    Files hold centimetres, so the outermost centimetre of a lane does not count.
    """
    outlines = {key: outline(lane) for key, lane in road_map.lanes.items()}
    for key, shape in outlines.items():
        assert shape.is_valid, f"{key} crosses itself: {shapely.is_valid_reason(shape)}"
    keys = [key for key, lane in driving(road_map).items() if lane.junction is None]
    shapes = [outlines[key].buffer(-0.01) for key in keys]
    pairs = shapely.STRtree(shapes).query(shapes, predicate="intersects").T
    common = {}
    for a, b in pairs:
        if a < b:
            both = shapes[a].intersection(shapes[b])
            heights = [height(road_map.lanes[keys[k]], both) for k in (a, b)]
            if abs(heights[0] - heights[1]) < LEVEL:
                common[keys[a], keys[b]] = both.area
    total = sum(common.values())
    assert total < overlap, f"lanes overlap by {total:.2f} m^2, most of all {max(common, key=lambda pair: common[pair])}"


def check_levels(road_map: RoadMap, clearance: float = 5.0, step: float = 0.1, slope: float = 0.07) -> None:
    """Lanes upon each other are either at one height within `step` [m] or at least `clearance` [m] apart, and no lane
    is steeper than `slope`."""
    lanes = list(driving(road_map).values())
    cuts = [sections(lane) for lane in lanes]
    for lane, cut in zip(lanes, cuts, strict=True):
        run = np.hypot(*np.diff((cut.left + cut.right) / 2, axis=0).T)
        steepest = (np.abs(np.diff(cut.z)) / run).max()
        assert steepest < slope, f"{lane.id} has a slope of {steepest:.3f}"
    owner = np.repeat(np.arange(len(lanes)), [len(cut.z) for cut in cuts])
    z = np.concatenate([cut.z for cut in cuts])
    middle = shapely.points(np.concatenate([(cut.left + cut.right) / 2 for cut in cuts]))
    outlines = [outline(lane) for lane in lanes]
    for k in np.unique(owner[z > 0]):
        for there in shapely.STRtree(outlines).query(outlines[k], predicate="intersects"):
            other = owner == there
            for point in np.flatnonzero(other & shapely.contains_properly(outlines[k], middle)):
                mine = cuts[k].z[shapely.distance(middle[owner == k], middle[point]).argmin()]
                apart = abs(mine - z[point])
                assert apart < step or apart > clearance, f"{lanes[k].id} is {apart:.2f} m above or below {lanes[there].id}"


def check_surface(road_map: RoadMap, island: float = 20.0) -> None:
    """The drivable area of a map on one level is one piece, without slivers; islands are larger than `island` [m^2], and
    neither they nor bays end in slits: what is not paved is at least SLIT wide, but for the tips of sharp corners."""
    union = unary_union([outline(lane) for lane in road_map.lanes.values()])
    closed = union.buffer(GRACE).buffer(-GRACE)
    assert closed.area < 1.01 * union.area, "gaps between lanes that should touch"
    opened = closed.buffer(-GRACE).buffer(GRACE)
    assert opened.area > 0.99 * closed.area, "slivers"
    pieces = [piece for piece in getattr(closed, "geoms", [closed]) if piece.area > 0.01]
    assert len(pieces) == 1, f"{len(pieces)} pieces, of {[round(piece.area) for piece in pieces]} m^2"
    for ring in pieces[0].interiors:
        hole = Polygon(ring)
        if hole.buffer(-1.1 * GRACE).is_empty:
            continue  # rounding: a gap without any area, widened when the closing was taken back
        assert hole.area > island, f"an island of {hole.area:.2f} m^2 at {hole.centroid.wkt}"
    narrow = pieces[0].buffer(SLIT / 2).buffer(-SLIT / 2).difference(pieces[0])
    for slit in getattr(narrow, "geoms", [narrow]):
        assert slit.area < 0.5, f"a slit of {slit.area:.2f} m^2 at {slit.centroid.wkt}"


def check_signals(road_map: RoadMap) -> None:
    """Each signal controls the lanes of one approach; in a junction with lights, every connector obeys one of its own."""
    lanes = driving(road_map)
    approaches: dict[str, set[str]] = {key: set() for key in lanes}
    for lane in lanes.values():
        for other in lane.successors:
            approaches[other].add(lane.id)
    obeying: dict[str, list[Lane]] = {key: [] for key in road_map.signals}
    for lane in lanes.values():
        if lane.signal is not None:
            obeying[lane.signal].append(lane)
    junctions_of_group: dict[str, set[str | None]] = {}
    for key, controlled in obeying.items():
        signal = road_map.signals[key]
        assert controlled, f"signal {key} controls no lane"
        assert signal.kind != "light" or signal.group, f"light {key} belongs to no group"
        junctions_of_group.setdefault(signal.group, set()).update(lane.junction for lane in controlled)
        headings = [sections(lane).heading[0] for lane in controlled]
        spread = max(abs(math.remainder(heading - headings[0], math.tau)) for heading in headings)
        assert spread < math.radians(10), f"signal {key} controls lanes of several directions"
    for group, junctions in junctions_of_group.items():
        assert len(junctions) == 1, f"group {group} spreads over the junctions {sorted(map(str, junctions))}"
    signalised = {lane.junction for key, some in obeying.items() for lane in some if road_map.signals[key].kind == "light"}
    for lane in lanes.values():
        if lane.junction in signalised and lane.junction is not None:
            assert lane.signal, f"{lane.id} crosses the signalised junction {lane.junction} without a signal"


def check_phases(road_map: RoadMap, overlap: float = 0.6) -> None:
    """Connectors with lights that overlap by more than `overlap` [m] across are known as a conflict, unless they leave one
    lane. Every light is in one phase of its group, and no phase gives green to two connectors in conflict, but
    for a turn that waits for traffic from the opposite side, and for lanes side by side under one light that merge."""
    known, plans = conflicts(road_map), plan(road_map)
    lanes = {key: road_map.lanes[key] for key in known}
    lit = [lane.id for lane in road_map.lanes.values() if lane.signal and road_map.signals[lane.signal].kind == "light"]
    assert sorted(known) == sorted(lit), "not every connector with a light is asked for"
    phase_of: dict[str, tuple[str, int]] = {}
    for group, phases in plans.items():
        for number, phase in enumerate(phases):
            for light in phase:
                assert light not in phase_of, f"light {light} is in two phases"
                phase_of[light] = group, number
    lights = {key: signal for key, signal in road_map.signals.items() if signal.kind == "light"}
    assert phase_of.keys() == lights.keys(), f"in no phase: {sorted(lights.keys() - phase_of.keys())}"
    assert all(phase_of[key][0] == signal.group for key, signal in lights.items() if signal.group)
    if not lanes:
        return
    behind: dict[str, set[str]] = {key: set() for key in lanes}
    for lane in road_map.lanes.values():
        for other in lane.successors:
            behind.get(other, set()).add(lane.id)
    keys = list(lanes)
    shapes = [outline(lane) for lane in lanes.values()]
    for a, b in shapely.STRtree(shapes).query(shapes, predicate="intersects").T:
        one, other = lanes[keys[a]], lanes[keys[b]]
        both = shapes[a].intersection(shapes[b])
        if a >= b or behind[one.id] & behind[other.id] or both.buffer(-overlap / 2).is_empty:
            continue
        if abs(height(one, both) - height(other, both)) > LEVEL:
            continue
        assert other.id in known[one.id] and one.id in known[other.id], f"{one.id} and {other.id} are no known conflict"
        if one.signal != other.signal and phase_of[one.signal or ""] == phase_of[other.signal or ""]:
            headings = [[sections(lane).heading[end] for end in (0, -1)] for lane in (one, other)]
            facing = abs(math.remainder(headings[0][0] - headings[1][0], math.tau))
            assert facing > math.radians(130), f"{one.id} and {other.id} conflict, and are green together"
            turns = [abs(last - first) for first, last in headings]
            assert max(turns) > math.radians(25), f"{one.id} and {other.id} conflict, are green together, and none turns"


def check_crosswalks(road_map: RoadMap) -> None:
    """A crosswalk is a simple polygon that reaches from edge to edge of every lane it lies on, and it lies on some."""
    lanes = driving(road_map)
    tree, keys = shapely.STRtree([outline(lane) for lane in lanes.values()]), list(lanes)
    for key, crosswalk in road_map.crosswalks.items():
        shape = Polygon(crosswalk.outline[:, :2])
        assert shape.is_valid, f"crosswalk {key} crosses itself"
        crossed = [keys[k] for k in tree.query(shape) if outline(lanes[keys[k]]).intersection(shape).area > 0.1]
        assert crossed, f"crosswalk {key} lies on no lane"
        reach = shape.buffer(GRACE)
        for lane in crossed:
            cuts = sections(lanes[lane])
            for side in (cuts.left, cuts.right):
                assert reach.intersects(shapely.LineString(side)), f"crosswalk {key} ends in the middle of {lane}"


def check_density(road_map: RoadMap, cell: float = 4.0, most: int = 64) -> None:
    """No cell of the grid meets more than `most` quads (by their bounding boxes)."""
    lows, highs = [], []
    for lane in driving(road_map).values():
        cuts = sections(lane)
        corners = np.stack([cuts.left[:-1], cuts.left[1:], cuts.right[:-1], cuts.right[1:]])
        lows.append(np.floor(corners.min(axis=0) / cell).astype(int))
        highs.append(np.floor(corners.max(axis=0) / cell).astype(int))
    low, high = np.concatenate(lows), np.concatenate(highs)
    span = (high - low).max(axis=0) + 1
    met = [low + step for step in np.ndindex(*span)]
    cells = np.concatenate([at[(at <= high).all(axis=1)] for at in met])
    places, counts = np.unique(cells, axis=0, return_counts=True)
    where, quads = places[counts.argmax()], counts.max()
    assert quads <= most, f"{quads} quads in the cell {where}"


CHECKS = (
    check_connected,
    check_links,
    check_neighbours,
    check_quads,
    check_widths,
    check_curves,
    check_shapes,
    check_levels,
    check_surface,
    check_signals,
    check_phases,
    check_crosswalks,
    check_density,
)


def check_all(road_map: RoadMap, style: str = "") -> list[tuple[str, str]]:
    """Every check of a random town: name and message of those that fail. The corners of old and tight towns may be tighter,
    the limits of tight ones tell of no bend, and the crossings of wide ones have more lanes."""
    looser = {
        "old": {check_curves: {"radius": MIN_CORNER}},
        "tight": {check_curves: {"radius": MIN_CORNER, "lateral": math.inf}, check_widths: {"wide": 4.0}},
        "wide": {check_density: {"most": 96}, check_connected: {"most": 10}},
    }.get(style, {})
    failed = []
    for check in CHECKS:
        try:
            check(road_map, **looser.get(check, {}))
        except AssertionError as error:
            failed.append((check.__name__, str(error)))
    return failed
