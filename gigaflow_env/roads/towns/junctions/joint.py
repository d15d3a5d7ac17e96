"""Joints: where roads go on without a crossing. Lanes are added and dropped there, ramps join and leave."""

import math
from typing import NamedTuple

from gigaflow_env.roads.road_map import MapError
from gigaflow_env.roads.towns import curve as curves
from gigaflow_env.roads.towns.junctions.crossing import STRAIGHT, connector
from gigaflow_env.roads.towns.parts import Arm, Built, Direction, End, Ends, Link
from gigaflow_env.roads.towns.spec import Node, Road

APART = 0.01
"""[m] Lanes that follow each other without a taper meet as exactly as that."""


class Flow(NamedTuple):
    """What goes one way through a joint: the roads side by side before it and behind it, from the left."""

    before: list[Direction]
    behind: list[Direction]


def clearances(name: str, node: Node, arms: list[Arm], roads: list[Road]) -> dict[Direction, float]:
    """Distance from the node at which each road ends [m]: half a taper where lanes begin or end, else 0."""
    lanes = {direction: count for road in roads for direction, count in zip(_directions(road), road.lanes, strict=True)}
    clear = {(name, arm.other): 0.0 for arm in arms}
    for flow in flows(name, arms, roads):
        before, behind = (sum(lanes[direction] for direction in directions) for directions in flow)
        if before == behind:
            continue
        if max(len(directions) for directions in flow) > 1:
            raise MapError(
                f"node {name!r}: {before} lanes come and {behind} leave: where ramps join or leave they must be as many; "
                "add or drop lanes at a joint of their own"
            )
        for direction in (*flow.before, *flow.behind):
            clear[name, direction[0] if direction[1] == name else direction[1]] = node.taper / 2
    return clear


def build(name: str, arms: list[Arm], roads: list[Road], starts: Ends, ends: Ends) -> Built:
    """Links where lanes go on; across a taper connectors, S-curves for lanes that are added or dropped on the right."""
    built = Built([], [], [])
    for flow in flows(name, arms, roads):
        before = [end for direction in flow.before for end in reversed(ends[direction])]  # from the left
        behind = [end for direction in flow.behind for end in reversed(starts[direction])]
        last = min(len(before), len(behind)) - 1
        for k in range(max(len(before), len(behind))):
            a, b = before[min(k, last) if k >= len(before) else k], behind[min(k, last) if k >= len(behind) else k]
            if len(before) == len(behind):
                built.links.append(_link(name, a, b))
                continue
            lane = connector(name, 0.0, a, b, None)
            built.lanes.append(lane)
            built.links.extend([(a.lane, lane.id), (lane.id, b.lane)])
    return built


def flows(name: str, arms: list[Arm], roads: list[Road]) -> list[Flow]:
    """The one or two ways through a joint. Raises MapError where a road has none that it goes on as."""
    heading = {arm.other: arm.heading for arm in arms}
    directions = [
        (direction, road.ramp)
        for road in roads
        for direction, n in zip(_directions(road), road.lanes, strict=True)
        if n and name in direction
    ]
    found = []
    for out, ramp in directions:
        if ramp or out[0] != name:
            continue
        ahead = [
            (beside, direction)
            for direction, beside in directions
            if direction[1] == name and abs(curves.turn(heading[direction[0]] + math.pi, heading[out[1]])) < STRAIGHT
        ]
        leaving = [(beside, direction) for direction, beside in directions if direction[0] == name and beside]
        found.append(Flow([direction for _, direction in sorted(ahead)], [out, *(direction for _, direction in leaving)]))
    taken = [direction for flow in found for part in flow for direction in part]
    for direction, _ in directions:
        if taken.count(direction) != 1:
            raise MapError(
                f"node {name!r}: the road {direction[0]} to {direction[1]} does not go on straight as one other road"
            )
    return found


def _directions(road: Road) -> tuple[Direction, Direction]:
    return road.between, road.between[::-1]


def _link(name: str, a: End, b: End) -> Link:
    apart = math.dist(a.pose[:2], b.pose[:2])
    if apart > APART or abs(curves.turn(a.pose.heading, b.pose.heading)) > APART or a.width != b.width:
        raise MapError(
            f"node {name!r}: lanes {a.lane} and {b.lane} do not meet, they are {apart:.2f} m apart: "
            "give both roads the same width, median, axis and direction here"
        )
    return a.lane, b.lane
