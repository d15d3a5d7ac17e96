"""Bulbs: the round end of a street, where traffic turns back in one go."""

import math

import numpy as np

from gigaflow_env.roads.road_map import Lane, MapError
from gigaflow_env.roads.towns import curve as curves
from gigaflow_env.roads.towns.curve import Curve, Piece
from gigaflow_env.roads.towns.parts import DECIMALS, Arm, Built, Direction, Ends, lane_line, speed_in
from gigaflow_env.roads.towns.spec import Node

FINE = 1e-5
"""[m] Tolerance of the turn's knots where they say how wide its middle is: under a metre from one to the next."""
PAVED = 0.95
"""Share of the radius up to which the middle of a bulb is paved; the lane itself covers the rest."""


def clearances(name: str, node: Node, arms: list[Arm]) -> dict[Direction, float]:
    """Distance from the node, the middle of the circle, at which the road ends [m]."""
    (arm,) = arms
    if arm.incoming != arm.outgoing:
        raise MapError(f"node {name!r}: the road of a bulb has as many lanes forward as backward")
    return {(name, arm.other): round(math.sqrt((node.radius + node.corner) ** 2 - _across(node, arm) ** 2), 2)}


def build(name: str, node: Node, arms: list[Arm], clear: dict[Direction, float], starts: Ends, ends: Ends) -> Built:
    """The turn, in two halves: to the right with radius `corner`, to the left with `radius`, to the right again."""
    (arm,) = arms
    (a,), (b,) = ends.get((arm.other, name), [None]), starts.get((name, arm.other), [None])
    if a is None or b is None:
        raise MapError(f"node {name!r}: the road of a bulb has one lane each way")
    aside = math.acos(_across(node, arm) / (node.radius + node.corner))
    swing = node.corner * aside
    quarter = node.radius * (math.pi / 2 + aside)
    first: Curve = [Piece(*a.pose, swing, -1 / node.corner)]
    first.append(Piece(*curves.end(first), quarter, 1 / node.radius))
    second: Curve = [Piece(*curves.end(first), quarter, 1 / node.radius)]
    second.append(Piece(*curves.end(second), swing, -1 / node.corner))
    lanes = [
        Lane(f"{name}:{role}", lane_line(half, a.width, a.width), speed=speed_in(half, a.speed), junction=name)
        for role, half in (("in", first), ("out", second))
    ]
    links = [(a.lane, lanes[0].id), (lanes[0].id, lanes[1].id), (lanes[1].id, b.lane)]
    return Built([*lanes, _middle(name, node, arm, clear[name, arm.other], first)], links, [])


def _across(node: Node, arm: Arm) -> float:
    """From the road's axis to the center of the swing to the right [m]."""
    return arm.incoming - arm.width / 2 + node.corner


def _middle(name: str, node: Node, arm: Arm, clear: float, first: Curve) -> Lane:
    """What the turn goes around, paved: as wide as the turn's center line is, all along the axis."""
    cos, sin = math.cos(arm.heading), math.sin(arm.heading)
    knots: list[tuple[float, float]] = []  # along the axis and half the width [m]
    for x, y, _ in curves.knots(first, FINE):
        dx, dy = x - node.at[0], y - node.at[1]
        inward, across = -(dx * cos + dy * sin), abs(dy * cos - dx * sin)
        if inward > PAVED * node.radius:
            break
        if not knots or inward > knots[-1][0] + curves.SHORT:
            knots.append((inward, across))
    poses = [curves.ahead(curves.Pose(*node.at, arm.heading + math.pi), inward) for inward, _ in knots]
    rows = [(p.x, p.y, 0.0, p.heading, 2 * across) for p, (_, across) in zip(poses, knots, strict=True)]
    return Lane(f"{name}.middle", np.round(np.array(rows), DECIMALS) + 0.0, kind="shoulder", junction=name)
