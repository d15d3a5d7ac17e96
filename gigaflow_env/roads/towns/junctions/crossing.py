"""Crossings: how roads end before a junction of three or more, and the lanes that turn and go straight across it."""

import math

import numpy as np

from gigaflow_env.roads.road_map import Crosswalk, Lane, MapError
from gigaflow_env.roads.towns import curve as curves
from gigaflow_env.roads.towns.curve import Pose
from gigaflow_env.roads.towns.junctions.patches import patches
from gigaflow_env.roads.towns.parts import DECIMALS, Arm, Built, Direction, End, Ends, lane_line, speed_in
from gigaflow_env.roads.towns.spec import MIN_RADIUS, Node

MIN_ANGLE = math.radians(50)
"""Least angle between neighbouring roads of a junction: the right turn between them would be sharper than 130 degrees."""
STRAIGHT = math.radians(40)
"""Turns of less count as going straight on. Not 45 degrees: roads lie at such angles, and rounding would decide."""
BENT = math.radians(1)
"""Where roads meet at less the lanes that go straight on cover the notch between their mouths."""
CROSSWALK_NEAR, CROSSWALK_FAR, CROSSWALK_LEAD = 1.0, 4.0, 4.5
"""[m] From the stop line to the crosswalk, to its far side, and to where turns may begin."""


def clearances(name: str, node: Node, arms: list[Arm]) -> dict[Direction, float]:
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
        # The right turn from `arm` into `following` touches both lanes' centers, `a` and `b` from the axes.
        a, b = arm.incoming - arm.width / 2, following.outgoing - following.width / 2
        tangent = node.corner / math.tan(angle / 2)
        here = (b + a * math.cos(angle)) / math.sin(angle) + tangent
        there = (a + b * math.cos(angle)) / math.sin(angle) + tangent
        clear[arm.other] = max(clear[arm.other], here)
        clear[following.other] = max(clear[following.other], there)
    return {(name, other): round(distance + lead, 2) for other, distance in clear.items()}


def build(name: str, node: Node, arms: list[Arm], clear: dict[Direction, float], starts: Ends, ends: Ends) -> Built:
    """The lanes that cross a junction, its paved mouths and its crosswalks."""
    lead = CROSSWALK_LEAD if node.crosswalks else 0.0
    built = Built([], [], [])
    for arm in arms:
        approach = ends.get((arm.other, name), [])
        exits = [
            (starts.get((name, to.other), []), curves.turn(arm.heading + math.pi, to.heading))
            for to in arms
            if to is not arm
        ]
        if node.spread and not any(out and abs(angle) <= STRAIGHT for out, angle in exits):
            turns = _spread(approach, exits)
        else:
            turns = [turn for out, angle in exits for turn in _turns(approach, out, angle)]
        for a, b in turns:
            signal = f"{name}:{arm.other}.left" if a.pocket else f"{name}:{arm.other}"
            obeys = node.control != "none" and arm.other not in node.main
            lane = connector(name, lead, a, b, signal if obeys else None, min(MIN_RADIUS, 0.99 * node.corner))
            built.lanes.append(lane)
            built.links.extend([(a.lane, lane.id), (lane.id, b.lane)])
        for end in approach:
            if all(end is not a for a, _ in turns):
                raise MapError(f"node {name!r}: lane {end.lane} leads nowhere: no road takes its turn")
    for arm in arms:
        distance = clear[name, arm.other]
        built.lanes.append(mouth(name, node, arm, distance, distance + _beyond(arms, arm)))
        if node.crosswalks:
            built.crosswalks.append(crosswalk(name, node, arm, distance))
    built.lanes.extend(patches(name, built.lanes))
    return built


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


def _spread(approach: list[End], exits: list[tuple[list[End], float]]) -> list[tuple[End, End]]:
    """Turns where nothing goes straight on: the right half of the lanes turns right, the others left, side by side."""
    right = [out for out, angle in exits if angle < 0 and out]
    left = [out for out, angle in exits if angle > 0 and out]
    split = len(approach) // 2 if left else len(approach)
    turning_right = approach[: max(split, 1)] if right else []
    turning_left = approach[min(split, len(approach) - 1) :] if right else approach
    found = [(end, out[min(k, len(out) - 1)]) for out in right for k, end in enumerate(turning_right)]
    return found + [(end, out[max(-1 - k, -len(out))]) for out in left for k, end in enumerate(reversed(turning_left))]


def connector(name: str, lead: float, a: End, b: End, signal: str | None, tightest: float = MIN_RADIUS) -> Lane:
    """A lane from one end to another. Raises MapError where its radius would be below tightest [m]."""
    bend = curves.connect(a.pose, b.pose, lead)
    radius = curves.min_radius(bend)
    if radius < tightest:
        raise MapError(
            f"node {name!r}: the turn from {a.lane} to {b.lane} has radius {radius:.2f} m, at least {tightest:.3g} is "
            "needed: enlarge `corner`"
        )
    speed = speed_in(bend, min(a.speed, b.speed))
    line = lane_line(bend, a.width, b.width)
    return Lane(f"{name}:{a.lane}:{b.lane}", line, speed=speed, junction=name, signal=signal)


def mouth(name: str, node: Node, arm: Arm, clear: float, depth: float) -> Lane:
    """The paved mouth of one road, `depth` from its end towards the node: between turns that part, no island remains."""
    center = curves.ahead(Pose(*node.at, arm.heading + math.pi), -clear, (arm.outgoing - arm.incoming) / 2)
    straight = [curves.Piece(*center, depth, 0.0)]
    width = arm.incoming + arm.outgoing
    return Lane(f"{name}:{arm.other}.mouth", lane_line(straight, width, width), kind="shoulder", junction=name)


def _beyond(arms: list[Arm], arm: Arm) -> float:
    """How far a mouth goes beyond the node [m], so that no notch is left outside of two roads that meet at an angle."""
    k = arms.index(arm)
    before = arm.heading - arms[k - 1].heading
    behind = arms[(k + 1) % len(arms)].heading - arm.heading
    bend = max(before % math.tau, behind % math.tau) - math.pi
    return max(arm.incoming, arm.outgoing) * math.tan(bend / 2) if bend > BENT else 0.0


def crosswalk(name: str, node: Node, arm: Arm, clear: float) -> Crosswalk:
    """The crosswalk over one road, from kerb to kerb, between the stop line and the turns."""
    pose = Pose(*node.at, arm.heading)
    near, far = clear - CROSSWALK_FAR, clear - CROSSWALK_NEAR
    corners = ((near, -arm.outgoing), (far, -arm.outgoing), (far, arm.incoming), (near, arm.incoming))
    outline = [(*curves.ahead(pose, forward, left)[:2], 0.0) for forward, left in corners]
    return Crosswalk(f"{name}:{arm.other}", np.round(np.array(outline), DECIMALS) + 0.0)
