"""Roundabouts: lanes around a node, counter-clockwise, which roads enter and leave by arcs that touch them."""

import math

from gigaflow_env.roads.road_map import Lane, MapError
from gigaflow_env.roads.towns import curve as curves
from gigaflow_env.roads.towns.curve import Curve, Piece, Pose
from gigaflow_env.roads.towns.junctions.crossing import CROSSWALK_LEAD, crosswalk, mouth
from gigaflow_env.roads.towns.parts import Arm, Built, Direction, End, Ends, lane_line, speed_in
from gigaflow_env.roads.towns.spec import Node

MAX_ANGLE = math.radians(300)
"""Where it is more than that from one place to the next they lie in the wrong order."""
MIN_ARC = 3.0
"""[m] Least length of the innermost lane between a road that joins and the next that leaves."""


def clearances(name: str, node: Node, arms: list[Arm]) -> dict[Direction, float]:
    """Distance from the node at which each road ends [m]: there its arcs, and before them its crosswalk, begin."""
    lead = CROSSWALK_LEAD if node.crosswalks else 0.0
    return {
        (name, arm.other): round(max(_reach(node, arms, arm, side) for side in (arm.incoming, arm.outgoing)) + lead, 2)
        for arm in arms
    }


def build(name: str, node: Node, arms: list[Arm], clear: dict[Direction, float], starts: Ends, ends: Ends) -> Built:
    """The ring with the lanes that enter and leave it, its paved mouths and its crosswalks."""
    width = _width(arms)
    radii = [node.radius + (node.rings - 1 - k) * width for k in range(node.rings)]  # from the right, as all lanes
    built = Built([], [], [])
    joins: list[tuple[float, str, str, list[Lane]]] = []  # angle on the ring, "out" or "in", road, its lanes
    for arm in arms:
        outgoing, incoming = starts.get((name, arm.other), []), ends.get((arm.other, name), [])
        if max(len(outgoing), len(incoming)) > node.rings:
            raise MapError(f"node {name!r}: the road to {arm.other} has more lanes than the roundabout, rings={node.rings}")
        for role, meeting, side in (("out", outgoing, arm.outgoing), ("in", incoming, arm.incoming)):
            if not meeting:
                continue
            angle = _angle(node, arms, arm, side)
            straight = clear[name, arm.other] - _reach(node, arms, arm, side)
            lanes = [_slip(name, node, arm, role, end, k, angle, straight, width) for k, end in enumerate(meeting)]
            joins.append((arm.heading + (angle if role == "in" else -angle), role, arm.other, lanes))
            built.lanes.extend(lanes)
            built.links.extend(
                (lane.id, end.lane) if role == "out" else (end.lane, lane.id)
                for lane, end in zip(lanes, meeting, strict=True)
            )
    ring = [_arcs(name, node, here, there, radii, width) for here, there in zip(joins, joins[1:] + joins[:1], strict=True)]
    for before, (_, role, _, lanes), behind in zip(ring[-1:] + ring[:-1], joins, ring, strict=True):
        built.lanes.extend(behind)
        built.links.extend((a.id, b.id) for a, b in zip(before, behind, strict=True))
        if role == "out":
            built.links.extend((a.id, b.id) for a, b in zip(before, lanes, strict=False))
        else:
            built.links.extend((a.id, b.id) for a, b in zip(lanes, behind, strict=False))

    for arm in arms:
        distance = clear[name, arm.other]
        built.lanes.append(mouth(name, node, arm, distance, distance - radii[0]))
        if node.crosswalks:
            built.crosswalks.append(crosswalk(name, node, arm, distance))
    return built


def _width(arms: list[Arm]) -> float:
    return max(arm.width for arm in arms)


def _sides(node: Node, arms: list[Arm], arm: Arm, side: float) -> tuple[float, float]:
    """From the node to the center of a road's arcs, and from the road's axis to it.

    The arc of the lane beside the kerb has the radius `corner` and touches the outermost lane; the others lie around the
    same center and touch the other lanes.
    """
    outermost = node.radius + (node.rings - 1) * _width(arms)
    return outermost + node.corner, side - arm.width / 2 + node.corner


def _reach(node: Node, arms: list[Arm], arm: Arm, side: float) -> float:
    """From the node to where a road's arcs begin, along its axis [m]."""
    slope, across = _sides(node, arms, arm, side)
    return math.sqrt(slope * slope - across * across)


def _angle(node: Node, arms: list[Arm], arm: Arm, side: float) -> float:
    """Between a road's axis and where its arcs touch the ring, seen from the node [rad]."""
    slope, across = _sides(node, arms, arm, side)
    return math.asin(across / slope)


def _slip(name: str, node: Node, arm: Arm, role: str, end: End, k: int, angle: float, straight: float, width: float) -> Lane:
    """The lane by which lane `k` of a road, from the right, enters or leaves the ring."""
    radius = node.corner + k * arm.width
    turn = math.pi / 2 - angle
    arc = radius * turn
    if role == "in":
        begin = curves.ahead(end.pose, straight)
        line: Curve = [Piece(*end.pose, straight, 0.0), Piece(*begin, arc, -1 / radius)]
        widths, control = (end.width, width), node.control
    else:
        finish = curves.ahead(end.pose, -straight)
        # Driven backwards, the arc begins where the straight part does, and turns the other way.
        start = curves.walk(Piece(finish.x, finish.y, finish.heading + math.pi, arc, 1 / radius), arc)
        line = [Piece(start.x, start.y, start.heading + math.pi, arc, -1 / radius), Piece(*finish, straight, 0.0)]
        widths, control = (width, end.width), "none"
    line = [piece for piece in line if piece.length > curves.TINY]
    signal = None if control == "none" or arm.other in node.main else f"{name}:{arm.other}"
    speed = speed_in(line, end.speed)
    return Lane(f"{name}:{arm.other}.{role}.{k}", lane_line(line, *widths), speed=speed, junction=name, signal=signal)


def _arcs(
    name: str,
    node: Node,
    here: tuple[float, str, str, list[Lane]],
    there: tuple[float, str, str, list[Lane]],
    radii: list[float],
    width: float,
) -> list[Lane]:
    """The lanes of the ring between two places where roads join or leave it, from the right."""
    angle = (there[0] - here[0]) % math.tau
    if angle * radii[-1] < MIN_ARC or angle > MAX_ANGLE:
        raise MapError(
            f"node {name!r}: the roads to {here[2]} and {there[2]} leave less than {MIN_ARC} m of the ring between them: "
            "enlarge `radius`, make `corner` smaller or turn the roads away from each other"
        )
    # Beside the mouth of a road the lanes overlap with those that enter and leave.
    within = here[1] == "out" and there[1] == "in" and here[2] == there[2]
    ids = [f"{name}.{here[2]}.{here[1]}.{k}" for k in range(len(radii))]
    sides: list[str | None] = [None, *ids, None] if not within else [None] * (len(ids) + 2)
    lanes = []
    for k, radius in enumerate(radii):
        center = Pose(*node.at, here[0] + math.pi / 2)
        arc = [Piece(*curves.ahead(center, 0.0, -radius), radius * angle, 1 / radius)]
        lanes.append(
            Lane(
                ids[k],
                lane_line(arc, width, width),
                speed=speed_in(arc, 14.0),
                left=sides[k + 2],
                right=sides[k],
                junction=name if within else None,
            )
        )
    return lanes
