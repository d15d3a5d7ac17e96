"""Streets: the axis of a road, the part of it between its junctions, and the lanes along that."""

import math

from gigaflow_env.roads.road_map import Lane, MapError
from gigaflow_env.roads.towns import curve as curves
from gigaflow_env.roads.towns.curve import Curve
from gigaflow_env.roads.towns.parts import Arm, Direction, End, Link, lane_line, speed_in
from gigaflow_env.roads.towns.spec import MIN_MEDIAN, MIN_RADIUS, Node, Road

TAPER = 25.0
"""[m] Length of the S-curve from the left lane into a turn pocket."""
MIN_LENGTH = 5.0
"""[m] A road keeps at least this between its junctions."""
GORE = 30.0
"""[m] Tangent of the arc by which a ramp leaves the road beside it or joins it."""
MIN_GORE, MAX_GORE = math.radians(4), math.radians(40)
"""The turn of that arc."""
ROADS_OF = {
    "crossing": (3, 9, "at least 3: make a bend of it"),
    "roundabout": (3, 9, "at least 3: make a bend of it"),
    "bulb": (1, 1, "1"),
    "joint": (2, 9, "at least 2"),
    "midblock": (2, 2, "2"),
}
"""Least and most roads at a node of each kind."""

Point = tuple[float, float]


def called(road: Road) -> str:
    """A road's name in messages."""
    return f"the road {road.between[0]} to {road.between[1]}"


def axes(nodes: dict[str, Node], roads: list[Road]) -> dict[Direction, Curve]:
    """The axis of every road from node to node: between its directions; of a one-way road see `Road.axis`.

    Ramps come last, for where they join depends on the road beside.
    """
    lines: dict[Direction, Curve] = {}
    for road in sorted(roads, key=lambda road: road.ramp):
        points = [nodes[road.between[0]].at, *((x, y) for x, y, _ in road.bends), nodes[road.between[1]].at]
        radii = [radius for *_, radius in road.bends]
        if road.ramp:
            points, radii = _ramp(road, nodes, roads, lines, points, radii)
        try:
            lines[road.between] = curves.rounded(points, radii)
        except MapError as error:
            raise MapError(f"{called(road)}: {error}") from error
    return lines


def beside(road: Road, name: str, roads: list[Road]) -> Road:
    """The road on whose right a ramp joins or leaves the joint `name`, in the same direction."""
    side = road.between.index(name)
    found = [other for other in roads if not other.ramp and other.between[side] == name and other.axis == "left"]
    if len(found) != 1:
        says = "ends" if side else "begins"
        raise MapError(f'{called(road)} is a ramp: one road with axis = "left" must be beside it where it {says}, at {name}')
    return found[0]


def _ramp(
    road: Road,
    nodes: dict[str, Node],
    roads: list[Road],
    lines: dict[Direction, Curve],
    points: list[Point],
    radii: list[float],
) -> tuple[list[Point], list[float]]:
    """Points and radii of a ramp, whose ends at joints lie beside the other road and leave it by an arc."""
    points, radii = list(points), list(radii)
    for side, name in enumerate(road.between):
        if nodes[name].kind != "joint":
            continue
        other = beside(road, name, roads)
        pose = curves.end(lines[other.between]) if side else curves.start(lines[other.between])
        at = curves.ahead(pose, 0.0, -(other.lanes[0] * other.width + road.lanes[0] * road.width / 2))
        tip = curves.ahead(at, -GORE if side else GORE)
        towards = points[-2] if side else points[1]
        bend = abs(curves.turn(math.atan2(at.y - tip.y, at.x - tip.x), math.atan2(tip.y - towards[1], tip.x - towards[0])))
        if not MIN_GORE < bend < MAX_GORE:
            low, high = (round(math.degrees(angle)) for angle in (MIN_GORE, MAX_GORE))
            raise MapError(
                f"{called(road)} leaves the road beside by {math.degrees(bend):.1f} degrees at {name}, it must be "
                f"{low} to {high}: move its next bend"
            )
        radius = GORE / math.tan(bend / 2)  # the arc begins or ends at the joint
        if side:
            points[-1:], radii = [tip[:2], at[:2]], [*radii, radius]
        else:
            points[:1], radii = [at[:2], tip[:2]], [radius, *radii]
    return points, radii


def gores(road: Road, nodes: dict[str, Node], roads: list[Road], lines: dict[Direction, Curve]) -> list[Lane]:
    """What is paved where a ramp and the road beside part or meet: less than MIN_MEDIAN between them would be a slit."""
    found = []
    for side, name in enumerate(road.between):
        if not road.ramp or nodes[name].kind != "joint":
            continue
        other = beside(road, name, roads)
        line = lines[other.between]
        edge = _parallel(other, line, -other.lanes[0] * other.width - MIN_MEDIAN / 2)
        apart = abs(lines[road.between][-side].curvature - line[-side].curvature)
        reach = math.sqrt(2 * MIN_MEDIAN / apart)
        strip = curves.cut(edge, curves.length(edge) - reach, curves.length(edge)) if side else curves.cut(edge, 0.0, reach)
        knots = lane_line(strip, MIN_MEDIAN, MIN_MEDIAN)
        found.append(Lane(f"{road.between[0]}>{road.between[1]}.{name}.nose", knots, kind="shoulder", junction=name))
    return found


def arms_of(nodes: dict[str, Node], roads: list[Road], lines: dict[Direction, Curve]) -> dict[str, list[Arm]]:
    """The arms of every node, counter-clockwise."""
    arms: dict[str, list[Arm]] = {name: [] for name in nodes}
    for road in roads:
        first, second = road.between
        if road.lanes[1]:
            backward, forward = (count * road.width + road.median / 2 for count in road.lanes[::-1])
        else:
            backward, forward = left(road), road.lanes[0] * road.width - left(road)
        axis = lines[road.between]
        arms[first].append(Arm(second, curves.start(axis).heading, backward, forward, road.width))
        arms[second].append(Arm(first, curves.end(axis).heading + math.pi, forward, backward, road.width))
    for name, around in arms.items():
        kind = nodes[name].kind
        low, high, remedy = ROADS_OF[kind]
        if not low <= len(around) <= high:
            raise MapError(f"node {name!r} has {len(around)} roads, a {kind} has {remedy}")
        around.sort(key=lambda arm: curves.turn(0.0, arm.heading))
    return arms


def left(road: Road) -> float:
    """From the axis to the left edge of the lanes [m], left positive."""
    if road.lanes[1]:
        return -road.median / 2
    return road.lanes[0] * road.width / 2 if road.axis == "middle" else 0.0


def between_junctions(road: Road, axis: Curve, clear: dict[Direction, float]) -> Curve:
    """The part of a road's axis between the junctions at its ends."""
    first, second = road.between
    before, behind = clear[first, second], clear[second, first]
    for node, distance, piece in ((first, before, axis[0]), (second, behind, axis[-1])):
        if distance and (piece.curvature or piece.length < distance):
            straight = 0.0 if piece.curvature else piece.length
            raise MapError(
                f"{called(road)} is straight for {straight:.1f} m at {node}, but the junction needs {distance:.1f} m: "
                "move the bend away or choose a smaller radius"
            )
    if curves.length(axis) < before + behind + MIN_LENGTH:
        raise MapError(
            f"{called(road)} has {curves.length(axis):.1f} m, its junctions need {before:.1f} and {behind:.1f} m "
            f"and leave less than {MIN_LENGTH} m"
        )
    return curves.cut(axis, before, curves.length(axis) - behind)


def directions(road: Road, axis: Curve) -> list[tuple[Direction, int, float, Curve]]:
    """Way, number of lanes, length of the pocket and left edge of the lanes, for each direction of a road."""
    first, second = road.between
    forward = ((first, second), road.lanes[0], road.pockets[0], _parallel(road, axis, left(road)))
    if road.lanes[1] == 0:
        return [forward]
    return [forward, ((second, first), road.lanes[1], road.pockets[1], _parallel(road, curves.reverse(axis), left(road)))]


def _parallel(road: Road, line: Curve, offset: float) -> Curve:
    try:
        parallel = curves.offset(line, offset)
    except ValueError as error:
        raise MapError(f"{called(road)}: {error}") from error
    if curves.min_radius(parallel) < MIN_RADIUS:
        raise MapError(
            f"{called(road)}: a lane has radius {curves.min_radius(parallel):.2f} m, at least {MIN_RADIUS} is needed"
        )
    return parallel


def lanes_of(
    road: Road, direction: Direction, count: int, pocket: float, edge: Curve
) -> tuple[list[Lane], list[Link], list[End], list[End]]:
    """The lanes of one direction, their links, and where they leave the first junction and meet the second, from the right.

    edge: left edge of the leftmost lane. A road with a pocket has three sections: `a>b` before it, `a>b.taper` where an
    S-curve leads from the left lane into it, and `a>b.pocket` beside it. The S-curve leaves less and less of the median:
    where it would be narrower than MIN_MEDIAN it is paved, as `a>b.taper.nose`.
    """
    name, total = f"{direction[0]}>{direction[1]}", curves.length(edge)
    parking = _parking(road, name, count, edge)
    if not pocket:
        lanes, starts, ends = _section(road, name, edge, count, False)
        return [*lanes, *parking], [], starts, ends
    if total < pocket + TAPER + MIN_LENGTH:
        raise MapError(f"{called(road)} has {total:.1f} m between its junctions, too little for a pocket of {pocket} m")

    parts = [(0.0, total - pocket - TAPER), (total - pocket - TAPER, total - pocket), (total - pocket, total)]
    before, beside, behind = (curves.cut(edge, *part) for part in parts)
    lanes, starts, before_ends = _section(road, name, before, count, False)
    taper, taper_starts, taper_ends = _section(road, f"{name}.taper", beside, count, False)
    last, last_starts, ends = _section(road, f"{name}.pocket", behind, count, True)
    links = [(a.lane, b.lane) for a, b in zip(before_ends, taper_starts, strict=True)]
    links += [(a.lane, b.lane) for a, b in zip(taper_ends, last_starts[:count], strict=True)]

    leave, arrive = before_ends[-1], last_starts[-1]
    bend = curves.connect(leave.pose, arrive.pose)
    knots = lane_line(bend, leave.width, arrive.width)
    # It overlaps the lane that it leaves, as connectors do, so it is one.
    entry = Lane(f"{name}.taper.{count}", knots, speed=speed_in(bend, road.speed), junction=f"{name}.taper")
    links += [(leave.lane, entry.id), (entry.id, arrive.lane)]

    # Two equal arcs leave 2 (d / TAPER)^2 of the median at distance d before the pocket.
    end = total - pocket
    strip = _parallel(road, curves.cut(edge, end - TAPER * math.sqrt(MIN_MEDIAN / (2 * road.median)), end), road.median / 2)
    knots = lane_line(strip, road.median, road.median)
    nose = Lane(f"{name}.taper.nose", knots, kind="shoulder", junction=f"{name}.taper")
    return [*lanes, *taper, entry, nose, *last, *parking], links, starts, ends


def _parking(road: Road, name: str, count: int, edge: Curve) -> list[Lane]:
    """The strip to park on beside the rightmost lane, if there is one."""
    if not road.parking:
        return []
    strip = _parallel(road, edge, -count * road.width - road.parking / 2)
    return [Lane(f"{name}.parking", lane_line(strip, road.parking, road.parking), kind="parking")]


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
        knots = lane_line(line, width, width)
        lanes.append(Lane(ids[k], knots, speed=road.speed, left=beside[k + 2], right=beside[k]))
        starts.append(End(ids[k], curves.start(line), width, road.speed))
        ends.append(End(ids[k], curves.end(line), width, road.speed, pocket=k == count))
    return lanes, starts, ends
