"""Towns: a graph of nodes and roads (`spec`) becomes a RoadMap.

Each road keeps clear of its junctions by what their right turns need; connectors lead from lane to lane across them.
The same spec gives the same map to the last bit on every machine: nothing is drawn at random, positions are rounded.
"""

import math
import os
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.roads import curve as curves
from gigaflow_env.roads.curve import Curve, Pose
from gigaflow_env.roads.source import Crosswalk, Lane, MapError, RoadMap, Signal, validate
from gigaflow_env.roads.spec import MIN_MEDIAN, MIN_RADIUS, Node, Road, read

MIN_ANGLE = math.radians(50)
"""Least angle between neighbouring roads of a junction: the right turn between them would be sharper than 130 degrees."""
STRAIGHT = math.radians(40)
"""Turns of less count as going straight on. Not 45 degrees: roads lie at such angles, and rounding would decide."""
LATERAL = 3.0
"""[m/s^2] Lateral acceleration that limits the speed in turns: where the reward starts to call it harsh."""
CROSSWALK_NEAR, CROSSWALK_FAR, CROSSWALK_LEAD = 1.0, 4.0, 4.5
"""[m] From the stop line to the crosswalk, to its far side, and to where turns may begin."""
TAPER = 25.0
"""[m] Length of the S-curve from the left lane into a turn pocket."""
MIN_LENGTH = 5.0
"""[m] A road keeps at least this between its junctions."""
DECIMALS = 5
"""Positions, headings and widths are rounded to these: the last bits of sine and cosine differ between machines."""


class Arm(NamedTuple):
    """A road as its node sees it. Outgoing traffic is on the right of the direction away from the node."""

    other: str  # node at the other end
    heading: float  # away from the node [rad]
    incoming: float  # from the axis to the outer edge on the side of incoming traffic [m]
    outgoing: float
    width: float


class End(NamedTuple):
    """Where a lane meets a junction."""

    lane: str
    pose: Pose
    width: float  # [m]
    speed: float  # [m/s]
    pocket: bool = False


Way = tuple[str, str]
"""From one node to the next."""
Link = tuple[str, str]
"""A lane and one of its successors."""


def generate(spec: dict[str, Any] | str | os.PathLike[str]) -> RoadMap:
    """The town of a spec, given as a dict or as the path of a TOML file. Raises MapError for a spec that makes no town."""
    if isinstance(spec, dict):
        return _town(spec)
    path = Path(spec)
    try:
        return _town(tomllib.loads(path.read_text(encoding="utf-8")))
    except (MapError, tomllib.TOMLDecodeError) as error:
        raise MapError(f"{path}: {error}") from error


def _town(spec: dict[str, Any]) -> RoadMap:
    nodes, roads = read(spec)
    axes = {road.between: _axis(road, nodes) for road in roads}
    arms = _arms(nodes, roads, axes)
    clear = {way: distance for name, node in nodes.items() for way, distance in _clearances(name, node, arms[name]).items()}

    lanes: list[Lane] = []
    links: list[Link] = []
    starts: dict[Way, list[End]] = {}
    ends: dict[Way, list[End]] = {}
    for road in roads:
        axis = _between_junctions(road, axes[road.between], clear)
        for way, count, pocket, edge in _directions(road, axis):
            more_lanes, more_links, starts[way], ends[way] = _lanes(road, way, count, pocket, edge)
            lanes += more_lanes
            links += more_links

    crosswalks: list[Crosswalk] = []
    for name, node in nodes.items():
        connectors, more_links = _connectors(name, node, arms[name], starts, ends)
        mouths = [_mouth(name, node, arm, clear[name, arm.other]) for arm in arms[name]]
        lanes += connectors + mouths
        links += more_links
        if node.crosswalks:
            crosswalks += [_crosswalk(name, node, arm, clear[name, arm.other]) for arm in arms[name]]

    successors: dict[str, list[str]] = {lane.id: [] for lane in lanes}
    for lane, following in links:
        successors[lane].append(following)
    signals = {
        lane.signal: Signal(lane.signal, nodes[lane.junction].control, lane.junction)
        for lane in lanes
        if lane.signal is not None and lane.junction is not None
    }
    town = RoadMap(
        name=spec["name"],
        lanes={lane.id: replace(lane, successors=tuple(successors[lane.id])) for lane in lanes},
        signals=signals,
        crosswalks={crosswalk.id: crosswalk for crosswalk in crosswalks},
        source=f"generated from {spec['name']}.toml",
        licence=spec.get("licence", ""),
        attribution=spec.get("attribution", ""),
    )
    validate(town)
    return town


# Roads


def _called(road: Road) -> str:
    return f"the road {road.between[0]} to {road.between[1]}"


def _axis(road: Road, nodes: dict[str, Node]) -> Curve:
    """The road's axis from node to node: between its directions, in the middle of a one-way road."""
    points = [nodes[road.between[0]].at, *((x, y) for x, y, _ in road.bends), nodes[road.between[1]].at]
    try:
        return curves.rounded(points, [radius for *_, radius in road.bends])
    except MapError as error:
        raise MapError(f"{_called(road)}: {error}") from error


def _arms(nodes: dict[str, Node], roads: list[Road], axes: dict[Way, Curve]) -> dict[str, list[Arm]]:
    """The arms of every node, counter-clockwise."""
    arms: dict[str, list[Arm]] = {name: [] for name in nodes}
    for road in roads:
        first, second = road.between
        one_way = road.lanes[1] == 0
        forward, backward = (road.lanes[0] / 2,) * 2 if one_way else road.lanes
        forward, backward = (count * road.width + road.median / 2 for count in (forward, backward))
        axis = axes[road.between]
        arms[first].append(Arm(second, curves.start(axis).heading, backward, forward, road.width))
        arms[second].append(Arm(first, curves.end(axis).heading + math.pi, forward, backward, road.width))
    for name, around in arms.items():
        if len(around) < 3:
            raise MapError(f"node {name!r} has {len(around)} roads, a junction has at least 3: make a bend of it")
        around.sort(key=lambda arm: curves.turn(0.0, arm.heading))
    return arms


def _clearances(name: str, node: Node, arms: list[Arm]) -> dict[Way, float]:
    """Distance from the node at which each road ends [m], so that right turns have the radius `node.corner`."""
    lead = CROSSWALK_LEAD if node.crosswalks else 0.0
    clear = dict.fromkeys((arm.other for arm in arms), 0.0)
    for arm, following in zip(arms, arms[1:] + arms[:1], strict=True):
        angle = math.remainder(following.heading - arm.heading, math.tau) % math.tau
        if angle < MIN_ANGLE:
            raise MapError(
                f"node {name!r}: the roads to {arm.other} and {following.other} meet at {math.degrees(angle):.0f} degrees, "
                f"at least {math.degrees(MIN_ANGLE):.0f} are needed"
            )
        if angle > math.pi - STRAIGHT:
            continue
        # The right turn from `arm` into `following` touches both lanes' centres, `a` and `b` from the axes.
        a, b = arm.incoming - arm.width / 2, following.outgoing - following.width / 2
        tangent = node.corner / math.tan(angle / 2)
        here = (b + a * math.cos(angle)) / math.sin(angle) + tangent
        there = (a + b * math.cos(angle)) / math.sin(angle) + tangent
        clear[arm.other] = max(clear[arm.other], here)
        clear[following.other] = max(clear[following.other], there)
    return {(name, other): round(distance + lead, 2) for other, distance in clear.items()}


def _between_junctions(road: Road, axis: Curve, clear: dict[Way, float]) -> Curve:
    first, second = road.between
    before, behind = clear[first, second], clear[second, first]
    for node, distance, piece in ((first, before, axis[0]), (second, behind, axis[-1])):
        if piece.curvature or piece.length < distance:
            straight = 0.0 if piece.curvature else piece.length
            raise MapError(
                f"{_called(road)} is straight for {straight:.1f} m at {node}, but the junction needs {distance:.1f} m: "
                "move the bend away or choose a smaller radius"
            )
    if curves.length(axis) < before + behind + MIN_LENGTH:
        raise MapError(
            f"{_called(road)} has {curves.length(axis):.1f} m, its junctions need {before:.1f} and {behind:.1f} m "
            f"and leave less than {MIN_LENGTH} m"
        )
    return curves.cut(axis, before, curves.length(axis) - behind)


def _directions(road: Road, axis: Curve) -> list[tuple[Way, int, float, Curve]]:
    """Way, number of lanes, length of the pocket and left edge of the lanes, for each direction of a road."""
    first, second = road.between
    left = road.lanes[0] * road.width / 2 if road.lanes[1] == 0 else -road.median / 2
    forward = ((first, second), road.lanes[0], road.pockets[0], _parallel(road, axis, left))
    if road.lanes[1] == 0:
        return [forward]
    return [forward, ((second, first), road.lanes[1], road.pockets[1], _parallel(road, curves.reverse(axis), left))]


def _parallel(road: Road, line: Curve, left: float) -> Curve:
    try:
        parallel = curves.offset(line, left)
    except ValueError as error:
        raise MapError(f"{_called(road)}: {error}") from error
    if curves.min_radius(parallel) < MIN_RADIUS:
        raise MapError(
            f"{_called(road)}: a lane has radius {curves.min_radius(parallel):.2f} m, at least {MIN_RADIUS} is needed"
        )
    return parallel


def _lanes(
    road: Road, way: Way, count: int, pocket: float, edge: Curve
) -> tuple[list[Lane], list[Link], list[End], list[End]]:
    """The lanes of one direction, their links, and where they leave the first junction and meet the second, from the right.

    edge: left edge of the leftmost lane. A road with a pocket has three sections: `a>b` before it, `a>b.taper` where an
    S-curve leads from the left lane into it, and `a>b.pocket` beside it. The S-curve leaves less and less of the median:
    where it would be narrower than MIN_MEDIAN it is paved, as `a>b.taper.nose`.
    """
    name, total = f"{way[0]}>{way[1]}", curves.length(edge)
    if not pocket:
        lanes, starts, ends = _section(road, name, edge, count, False)
        return lanes, [], starts, ends
    if total < pocket + TAPER + MIN_LENGTH:
        raise MapError(f"{_called(road)} has {total:.1f} m between its junctions, too little for a pocket of {pocket} m")

    parts = [(0.0, total - pocket - TAPER), (total - pocket - TAPER, total - pocket), (total - pocket, total)]
    before, beside, behind = (curves.cut(edge, *part) for part in parts)
    lanes, starts, before_ends = _section(road, name, before, count, False)
    taper, taper_starts, taper_ends = _section(road, f"{name}.taper", beside, count, False)
    last, last_starts, ends = _section(road, f"{name}.pocket", behind, count, True)
    links = [(a.lane, b.lane) for a, b in zip(before_ends, taper_starts, strict=True)]
    links += [(a.lane, b.lane) for a, b in zip(taper_ends, last_starts[:count], strict=True)]

    leave, arrive = before_ends[-1], last_starts[-1]
    bend = curves.connect(leave.pose, arrive.pose)
    knots = _line(bend, leave.width, arrive.width)
    # It overlaps the lane that it leaves, as connectors do, so it is one.
    entry = Lane(f"{name}.taper.{count}", knots, speed=_speed(bend, road.speed), junction=f"{name}.taper")
    links += [(leave.lane, entry.id), (entry.id, arrive.lane)]

    # Two equal arcs leave 2 (d / TAPER)^2 of the median at distance d before the pocket.
    end = total - pocket
    strip = _parallel(road, curves.cut(edge, end - TAPER * math.sqrt(MIN_MEDIAN / (2 * road.median)), end), road.median / 2)
    knots = _line(strip, road.median, road.median)
    nose = Lane(f"{name}.taper.nose", knots, kind="shoulder", junction=f"{name}.taper")
    return [*lanes, *taper, entry, nose, *last], links, starts, ends


def _section(road: Road, name: str, edge: Curve, count: int, pocket: bool) -> tuple[list[Lane], list[End], list[End]]:
    """Lanes side by side, right of their left edge, with a pocket left of it or without; their starts and ends."""
    lines = [_parallel(road, edge, (k - count + 0.5) * road.width) for k in range(count)]
    widths = [road.width] * count
    if pocket:
        lines.append(_parallel(road, edge, road.median / 2))
        widths.append(road.median)
    ids = [f"{name}.{k}" for k in range(len(lines))]
    beside = [None, *ids, None]
    lanes, starts, ends = [], [], []
    for k, (line, width) in enumerate(zip(lines, widths, strict=True)):
        knots = _line(line, width, width)
        lanes.append(Lane(ids[k], knots, speed=road.speed, left=beside[k + 2], right=beside[k]))
        starts.append(End(ids[k], curves.start(line), width, road.speed))
        ends.append(End(ids[k], curves.end(line), width, road.speed, pocket=k == count))
    return lanes, starts, ends


def _speed(line: Curve, limit: float) -> float:
    """The limit [m/s], or less where the curve wants it."""
    return round(min(limit, math.sqrt(LATERAL * curves.min_radius(line))), 1)


def _line(line: Curve, first_width: float, last_width: float) -> np.ndarray:
    """Knots of a lane (knots, 5); the width changes evenly from knot to knot."""
    poses = curves.knots(line)
    widths = np.linspace(first_width, last_width, len(poses))
    knots = [(*pose[:2], 0.0, pose.heading, width) for pose, width in zip(poses, widths, strict=True)]
    return np.round(np.array(knots), DECIMALS) + 0.0


# Junctions


def _connectors(
    name: str, node: Node, arms: list[Arm], starts: dict[Way, list[End]], ends: dict[Way, list[End]]
) -> tuple[list[Lane], list[Link]]:
    """The lanes that cross a junction, and how they join those that meet it."""
    lead = CROSSWALK_LEAD if node.crosswalks else 0.0
    lanes: list[Lane] = []
    links: list[Link] = []
    for arm in arms:
        approach = ends.get((arm.other, name), [])
        turns = [
            turn
            for to in arms
            if to is not arm
            for turn in _turns(approach, starts.get((name, to.other), []), curves.turn(arm.heading + math.pi, to.heading))
        ]
        for a, b in turns:
            signal = f"{name}:{arm.other}.left" if a.pocket else f"{name}:{arm.other}"
            lane = _connector(name, lead, a, b, signal if node.control != "none" else None)
            lanes.append(lane)
            links += [(a.lane, lane.id), (lane.id, b.lane)]
        for end in approach:
            if all(end is not a for a, _ in turns):
                raise MapError(f"node {name!r}: lane {end.lane} leads nowhere: no road takes its turn")
    return lanes, links


def _turns(approach: list[End], exits: list[End], angle: float) -> list[tuple[End, End]]:
    """Which lanes a turn joins: right from the rightmost lane, left from the leftmost, straight on from all but pockets."""
    if not approach or not exits:
        return []
    if angle < -STRAIGHT:
        return [(approach[0], exits[0])]
    if angle > STRAIGHT:
        return [(approach[-1], exits[-1])]
    through = [end for end in approach if not end.pocket]
    return [(through[min(k, len(through) - 1)], exits[min(k, len(exits) - 1)]) for k in range(max(len(through), len(exits)))]


def _connector(name: str, lead: float, a: End, b: End, signal: str | None) -> Lane:
    bend = curves.connect(a.pose, b.pose, lead)
    radius = curves.min_radius(bend)
    if radius < MIN_RADIUS:
        raise MapError(
            f"node {name!r}: the turn from {a.lane} to {b.lane} has radius {radius:.2f} m, at least {MIN_RADIUS} is needed: "
            "enlarge `corner`"
        )
    speed = _speed(bend, min(a.speed, b.speed))
    line = _line(bend, a.width, b.width)
    return Lane(f"{name}:{a.lane}:{b.lane}", line, speed=speed, junction=name, signal=signal)


def _mouth(name: str, node: Node, arm: Arm, clear: float) -> Lane:
    """The paved mouth of one road, from its end to the node: between turns that part, no island of road edges remains."""
    centre = curves.ahead(Pose(*node.at, arm.heading + math.pi), -clear, (arm.outgoing - arm.incoming) / 2)
    straight = [curves.Piece(*centre, clear, 0.0)]
    width = arm.incoming + arm.outgoing
    return Lane(f"{name}:{arm.other}.mouth", _line(straight, width, width), kind="shoulder", junction=name)


def _crosswalk(name: str, node: Node, arm: Arm, clear: float) -> Crosswalk:
    """The crosswalk over one road, from kerb to kerb, between the stop line and the turns."""
    pose = Pose(*node.at, arm.heading)
    near, far = clear - CROSSWALK_FAR, clear - CROSSWALK_NEAR
    corners = ((near, -arm.outgoing), (far, -arm.outgoing), (far, arm.incoming), (near, arm.incoming))
    outline = [(*curves.ahead(pose, forward, left)[:2], 0.0) for forward, left in corners]
    return Crosswalk(f"{name}:{arm.other}", np.round(np.array(outline), DECIMALS) + 0.0)
