"""Mid-block crossings: a crosswalk over a street away from its junctions, with a light or without."""

import math

from gigaflow_env.roads.road_map import MapError
from gigaflow_env.roads.towns import curve as curves
from gigaflow_env.roads.towns.junctions.crossing import CROSSWALK_FAR, CROSSWALK_NEAR, connector, crosswalk, mouth
from gigaflow_env.roads.towns.parts import Arm, Built, Direction, Ends
from gigaflow_env.roads.towns.spec import Node

BEND = math.radians(5)
"""The two roads may differ from a straight line by this: the lanes between them are only 5 m long."""
CLEAR = (CROSSWALK_NEAR + CROSSWALK_FAR) / 2
"""[m] From the node to both stop lines, so that the crosswalk lies in the middle between them."""


def clearances(name: str, arms: list[Arm]) -> dict[Direction, float]:
    """Distance from the node at which each road ends [m]."""
    one, other = arms
    bend = abs(curves.turn(one.heading + math.pi, other.heading))
    if bend > BEND:
        raise MapError(
            f"node {name!r}: the roads to {one.other} and {other.other} bend by {math.degrees(bend):.0f} degrees, "
            f"at most {math.degrees(BEND):.0f} where people cross"
        )
    return {(name, arm.other): CLEAR for arm in arms}


def build(name: str, node: Node, arms: list[Arm], starts: Ends, ends: Ends) -> Built:
    """The lanes that go on, both sides paved in between, and the crosswalk."""
    built = Built([], [], [])
    for arm, to in (arms, arms[::-1]):
        come, go = ends.get((arm.other, name), []), starts.get((name, to.other), [])
        if len(come) != len(go):
            raise MapError(
                f"node {name!r}: {len(come)} lanes come from {arm.other} and {len(go)} leave: use a joint for that"
            )
        signal = f"{name}:{arm.other}" if node.control != "none" else None
        for a, b in zip(come, go, strict=True):
            lane = connector(name, 0.0, a, b, signal)
            built.lanes.append(lane)
            built.links.extend([(a.lane, lane.id), (lane.id, b.lane)])
    for arm in arms:
        built.lanes.append(mouth(name, node, arm, CLEAR, CLEAR))
    built.crosswalks.append(crosswalk(name, node, arms[0], CLEAR))
    return built
