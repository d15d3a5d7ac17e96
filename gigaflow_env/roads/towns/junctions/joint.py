"""Joints: where roads go on without a crossing. Lanes are added and dropped there, ramps join and leave."""

import math
from typing import NamedTuple

from gigaflow_env.roads.road_map import MapError
from gigaflow_env.roads.towns import curve as curves
from gigaflow_env.roads.towns.junctions.crossing import STRAIGHT, connector
from gigaflow_env.roads.towns.parts import Arm, Built, End, Ends, Link, Way
from gigaflow_env.roads.towns.spec import Node, Road

APART = 0.01
"""[m] Lanes that follow each other without a taper meet as exactly as that."""


class Flow(NamedTuple):
    """What goes one way through a joint: the roads side by side before it and behind it, from the left."""

    before: list[Way]
    behind: list[Way]


def clearances(name: str, node: Node, arms: list[Arm], roads: list[Road]) -> dict[Way, float]:
    """Distance from the node at which each road ends [m]: half a taper where lanes begin or end, else 0."""
    lanes = {way: count for road in roads for way, count in zip(_ways(road), road.lanes, strict=True)}
    clear = {(name, arm.other): 0.0 for arm in arms}
    for flow in flows(name, arms, roads):
        before, behind = (sum(lanes[way] for way in ways) for ways in flow)
        if before == behind:
            continue
        if max(len(ways) for ways in flow) > 1:
            raise MapError(
                f"node {name!r}: {before} lanes come and {behind} leave: where ramps join or leave they must be as many; "
                "add or drop lanes at a joint of their own"
            )
        for way in (*flow.before, *flow.behind):
            clear[name, way[0] if way[1] == name else way[1]] = node.taper / 2
    return clear


def build(name: str, arms: list[Arm], roads: list[Road], starts: Ends, ends: Ends) -> Built:
    """Links where lanes go on; across a taper connectors, S-curves for lanes that are added or dropped on the right."""
    built = Built([], [], [])
    for flow in flows(name, arms, roads):
        before = [end for way in flow.before for end in reversed(ends[way])]  # from the left
        behind = [end for way in flow.behind for end in reversed(starts[way])]
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
    ways = [(way, road.ramp) for road in roads for way, n in zip(_ways(road), road.lanes, strict=True) if n and name in way]
    found = []
    for out, ramp in ways:
        if ramp or out[0] != name:
            continue
        ahead = [
            (beside, way)
            for way, beside in ways
            if way[1] == name and abs(curves.turn(heading[way[0]] + math.pi, heading[out[1]])) < STRAIGHT
        ]
        leaving = [(beside, way) for way, beside in ways if way[0] == name and beside]
        found.append(Flow([way for _, way in sorted(ahead)], [out, *(way for _, way in leaving)]))
    taken = [way for flow in found for part in flow for way in part]
    for way, _ in ways:
        if taken.count(way) != 1:
            raise MapError(f"node {name!r}: the road {way[0]} to {way[1]} does not go on straight as one other road")
    return found


def _ways(road: Road) -> tuple[Way, Way]:
    return road.between, road.between[::-1]


def _link(name: str, a: End, b: End) -> Link:
    apart = math.dist(a.pose[:2], b.pose[:2])
    if apart > APART or abs(curves.turn(a.pose.heading, b.pose.heading)) > APART or a.width != b.width:
        raise MapError(
            f"node {name!r}: lanes {a.lane} and {b.lane} do not meet, they are {apart:.2f} m apart: "
            "give both roads the same width, median, axis and direction here"
        )
    return a.lane, b.lane
