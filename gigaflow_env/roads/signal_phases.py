"""Phases: which lights of a junction may be green together, and the fixed programs that follow.

Training draws the times of every light by itself, as the paper does. These programs are for `lights="program"`: each group
goes through its phases one after the other. Most maps have no programs; one that a file has goes before these.
"""

import math

import numpy as np
import shapely

from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.levels import same_level
from gigaflow_env.roads.road_map import HEADING, WIDTH, Lane, Phase, Program, RoadMap, Signal, X, Y, Z

GREEN, YELLOW, CLEAR = 15.0, 3.0, 2.0
"""[s] of a phase: CLEAR is red for everybody. Ours; 3 s of yellow is what Germany's RiLSA asks for at 50 km/h."""
MARGIN = 0.25
"""[m] Lanes whose borders overlap by less than twice this are side by side."""
CONFLICT_SPACING = 1.0
"""[m] of the points between which a lane counts as straight here: 4 cm beside a curve of 3 m."""
OPPOSITE = math.radians(135)
"""Traffic whose directions differ by more comes from opposite sides."""
TURN = math.radians(30)
"""Connectors that bend by more turn."""

Together = tuple[str, ...]
"""Lights that are green together."""


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


def plan(road_map: RoadMap) -> dict[str, list[Together]]:
    """The phases of every group of lights, by group: each light is in one of them.

    Lights of one stage stay together, and stages have their turns in the order of the file, unless two lights of a stage
    conflict: then each of them is looked at by itself.

    Lights are in one phase only if their connectors don't conflict, but for turns across traffic from the opposite side,
    which wait for a gap in it. Lanes under one light that merge are its own affair. A light that belongs to no group is a
    group of its own, under its own name.
    """
    lanes, members = road_map.lanes, lights(road_map)
    apart: dict[str, set[str]] = {}  # the lights that may not be green with each one
    for one, others in conflicts(road_map).items():
        rivals = {lanes[other].signal for other in others if not yields(lanes[one], lanes[other])}
        apart.setdefault(lanes[one].signal or "", set()).update(name for name in rivals if name)
    plans: dict[str, list[Together]] = {}
    for group, signals in members.items():
        phases: list[list[str]] = []
        for stage in _stages(signals, apart):
            rivals = set().union(*(apart.get(name, set()) for name in stage))
            fitting = next((phase for phase in phases if not rivals & set(phase)), None)
            if fitting is None:
                phases.append(stage)
            else:
                fitting += stage
        plans[group] = [tuple(phase) for phase in phases]
    return plans


def lights(road_map: RoadMap) -> dict[str, list[Signal]]:
    """The lights of every group, by name. A light that belongs to no group is one by itself, under its own name."""
    members: dict[str, list[Signal]] = {}
    for name, signal in sorted(road_map.signals.items()):
        if signal.kind == "light":
            members.setdefault(signal.group or name, []).append(signal)
    return members


def _stages(signals: list[Signal], apart: dict[str, set[str]]) -> list[list[str]]:
    """Lights that have to stay together, in the order of their turns; those without a stage come last, one by one."""
    found: dict[int | str, list[str]] = {}
    for signal in sorted(signals, key=lambda signal: (signal.stage is None, signal.stage or 0)):
        found.setdefault(signal.id if signal.stage is None else signal.stage, []).append(signal.id)
    stages = []
    for names in found.values():
        rivals = set().union(*(apart.get(name, set()) for name in names))
        stages += [[name] for name in names] if rivals & set(names) else [names]
    return stages


def programs(road_map: RoadMap) -> dict[str, Program]:
    """The program of every light: the file's, where it has one for all lights of a group; else one is made.

    Made: each phase of `plan` is green for GREEN seconds, then YELLOW; after CLEAR seconds comes the next one's turn.
    """
    own = given(road_map)
    found = {s.id: s.program for group in own.values() for s in group if s.program is not None}
    if own.keys() == lights(road_map).keys():
        return found
    for group, phases in plan(road_map).items():
        if group in own:
            continue
        slot = GREEN + YELLOW + CLEAR
        cycle = slot * max(2, len(phases))  # where all are green together they stop for those who walk
        shown = (Phase("green", GREEN), Phase("yellow", YELLOW), Phase("red", cycle - GREEN - YELLOW))
        for number, phase in enumerate(phases):
            found |= dict.fromkeys(phase, Program(shown, (cycle - number * slot) % cycle))
    return found


def _complete(group: list[Signal]) -> bool:
    return all(signal.program is not None for signal in group)


def given(road_map: RoadMap) -> dict[str, list[Signal]]:
    """The groups of lights whose programs are the file's."""
    return {name: group for name, group in lights(road_map).items() if _complete(group)}


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
