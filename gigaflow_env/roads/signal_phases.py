"""Phases: which lights of a junction may be green together, and the fixed programs that follow.

Training draws the times of every light by itself, as the paper does. These programs are what lights do by default where they
are to make sense: each group goes through its phases one after the other. Ours: maps as a rule have no programs.
"""

import math
from typing import NamedTuple

import numpy as np
import shapely

from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.levels import same_level
from gigaflow_env.roads.road_map import HEADING, WIDTH, Lane, RoadMap, X, Y, Z

GREEN, YELLOW, CLEAR = 15.0, 3.0, 2.0
"""[s] of a phase: CLEAR is red for everybody."""
MARGIN = 0.25
"""[m] Lanes whose borders overlap by less than twice this are side by side."""
CONFLICT_SPACING = 2.0
"""[m] of the points between which a lane counts as straight here."""
OPPOSITE = math.radians(135)
"""Traffic whose directions differ by more comes from opposite sides."""
TURN = math.radians(30)
"""Connectors that bend by more turn."""

Phase = tuple[str, ...]
"""Lights that are green together."""


class Program(NamedTuple):
    """Cycle of a light: green, then yellow, then red; at time 0 it is `offset` into it. All [s]."""

    green: float
    yellow: float
    red: float
    offset: float


def conflicts(road_map: RoadMap) -> dict[str, list[str]]:
    """The connectors with a light which cross or meet each one, on its level and from another lane."""
    lanes = [lane for lane in road_map.lanes.values() if _has_light(lane, road_map)]
    found: dict[str, list[str]] = {lane.id: [] for lane in lanes}
    if not lanes:
        return found
    behind: dict[str, set[str]] = {lane.id: set() for lane in lanes}
    for lane in road_map.lanes.values():
        for other in lane.successors:
            if other in behind:
                behind[other].add(lane.id)
    lines = [sample(lane.line, CONFLICT_SPACING) for lane in lanes]
    shapes = shapely.make_valid(np.array([_narrowed(line) for line in lines], object))
    for a, b in shapely.STRtree(shapes).query(shapes, predicate="intersects").T.tolist():
        one, other = lanes[a].id, lanes[b].id
        # What comes from one lane comes one after the other.
        if a != b and not behind[one] & behind[other] and _one_level(lines[a], lines[b]):
            found[one].append(other)
    return found


def plan(road_map: RoadMap) -> dict[str, list[Phase]]:
    """The phases of every group of lights, by group: each light is in one of them.

    Lights are in one phase only if their connectors don't conflict, but for turns across traffic from the opposite side,
    which wait for a gap in it. Lanes under one light that merge are its own affair. A light that belongs to no group is a
    group of its own, under its own name.
    """
    members: dict[str, list[str]] = {}
    for name, signal in sorted(road_map.signals.items()):
        if signal.kind == "light":
            members.setdefault(signal.group or name, []).append(name)
    lanes = road_map.lanes
    apart: dict[str, set[str]] = {}  # the lights that may not be green with each one
    for one, others in conflicts(road_map).items():
        rivals = {lanes[other].signal for other in others if not yields(lanes[one], lanes[other])}
        apart.setdefault(lanes[one].signal or "", set()).update(name for name in rivals if name)
    plans: dict[str, list[Phase]] = {}
    for group, names in members.items():
        phases: list[list[str]] = []
        for name in names:
            fitting = next((phase for phase in phases if not apart.get(name, set()) & set(phase)), None)
            if fitting is None:
                phases.append([name])
            else:
                fitting.append(name)
        plans[group] = [tuple(phase) for phase in phases]
    return plans


def programs(road_map: RoadMap) -> dict[str, Program]:
    """The default program of every light: its phase is green for GREEN seconds, then comes the next one's turn."""
    made: dict[str, Program] = {}
    for phases in plan(road_map).values():
        slot = GREEN + YELLOW + CLEAR
        cycle = slot * max(2, len(phases))  # where all are green together they stop for those who walk
        for number, phase in enumerate(phases):
            offset = (cycle - number * slot) % cycle
            made |= {name: Program(GREEN, YELLOW, cycle - GREEN - YELLOW, offset) for name in phase}
    return made


def yields(one: Lane, other: Lane) -> bool:
    """Whether two connectors may be used at one time, as one of them turns and waits for traffic from the other side."""
    apart = abs(math.remainder(one.line[0, HEADING] - other.line[0, HEADING], math.tau))
    turns = (abs(math.remainder(lane.line[-1, HEADING] - lane.line[0, HEADING], math.tau)) for lane in (one, other))
    return apart > OPPOSITE and any(turn > TURN for turn in turns)


def _has_light(lane: Lane, road_map: RoadMap) -> bool:
    return lane.signal is not None and road_map.signals[lane.signal].kind == "light"


def _narrowed(line: np.ndarray) -> shapely.Polygon:
    half = np.maximum(line[:, [WIDTH]] / 2 - MARGIN, 0.1)
    across = np.column_stack([-np.sin(line[:, HEADING]), np.cos(line[:, HEADING])]) * half
    return shapely.Polygon(np.concatenate([line[:, :2] + across, (line[:, :2] - across)[::-1]]))


def _one_level(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two lines are about equally high where they come nearest to each other."""
    apart = np.hypot(a[:, None, X] - b[None, :, X], a[:, None, Y] - b[None, :, Y])
    k, m = np.unravel_index(apart.argmin(), apart.shape)
    return bool(same_level(a[k, Z], b[m, Z]))
