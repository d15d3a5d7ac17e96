"""Strips in their directions of travel, with what they lead to and where lanes may be changed."""

import math
from dataclasses import replace

import numpy as np
from lxml import etree

from gigaflow_env.roads.centerline import fit
from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.opendrive.links import End
from gigaflow_env.roads.formats.opendrive.strips import Key, Strip
from gigaflow_env.roads.road_map import HEADING, Lane

MAX_GAP = 0.3
"""[m] Ours: lanes whose ends are farther apart are not linked, whatever the file says: nobody can drive over the gap."""


def name_of(key: Key, back: bool = False) -> str:
    """Id of a lane of the RoadMap; `back` for travel against what is usual there."""
    return ".".join(map(str, key)) + (".back" if back else "")


def directed_lanes(strips: dict[Key, Strip], joints: dict[End, list[End]]) -> dict[str, Lane]:
    """Strips in their directions of travel, with links and neighbours, still without speeds and signals."""
    directed = {
        name_of(strip.key, forward != strip.forward): (strip, forward, _travelled(strip.line, forward))
        for strip in strips.values()
        if strip.line is not None
        for forward in _directions(strip)
    }
    lanes = {}
    for name, (strip, forward, line) in directed.items():
        lane = Lane(name, fit(line), strip.kind, junction=strip.road.junction)
        if strip.kind == "driving":
            begin = {other: directed[other][2][0] for other in _ahead(strip, forward, strips, joints)}
            lane = replace(
                lane,
                successors=tuple(o for o, start in begin.items() if np.linalg.norm(line[-1, :3] - start[:3]) <= MAX_GAP),
                left=_neighbour(strip, forward, forward, strips),
                right=_neighbour(strip, forward, not forward, strips),
            )
        lanes[name] = lane
    return lanes


def driving_lane(strips: dict[Key, Strip], key: Key, forward: bool) -> str | None:
    """Name of the driving lane there that leads along the road (forward) or against it; None where there is none."""
    strip = strips.get(key)
    if strip is None or strip.line is None or strip.kind != "driving" or forward not in _directions(strip):
        return None
    return name_of(key, forward != strip.forward)


def _directions(strip: Strip) -> tuple[bool, ...]:
    return (strip.forward, not strip.forward) if strip.both and strip.kind == "driving" else (strip.forward,)


def _travelled(line: np.ndarray, forward: bool) -> np.ndarray:
    """The line in the direction of travel, the first heading in -pi..pi."""
    line = line.copy() if forward else line[::-1].copy()
    line[:, HEADING] += 0.0 if forward else math.pi
    line[:, HEADING] -= 2 * math.pi * round(line[0, HEADING] / (2 * math.pi))
    return line


def _ahead(strip: Strip, forward: bool, strips: dict[Key, Strip], joints: dict[End, list[End]]) -> list[str]:
    """Names of the driving lanes that begin where this one ends; through lanes that are too short or too narrow."""
    found: list[str] = []
    exits: list[End] = [(*strip.key, int(forward))]
    for leave in exits:
        for enter in joints.get(leave, ()):
            other, onward = strips.get(enter[:3]), enter[3] == 0
            if other is None or other.kind != "driving" or onward not in _directions(other):
                continue
            beyond = (*other.key, int(onward))
            if other.line is not None:
                found.append(name_of(other.key, onward != other.forward))
            elif beyond not in exits:
                exits.append(beyond)
    return list(dict.fromkeys(found))


def _neighbour(strip: Strip, forward: bool, higher: bool, strips: dict[Key, Strip]) -> str | None:
    """The driving lane of the same direction on the side of higher or lower ids into which a change is permitted."""
    road, section, lane = strip.key
    step = 1 if higher else -1
    beside = lane + step or lane + 2 * step  # there is no lane 0 to drive on
    other = driving_lane(strips, (road, section, beside), forward)
    return other if other is not None and _may_change(strip, beside) else None


def _may_change(strip: Strip, target: int) -> bool:
    """Whether the road marks allow to change into lane `target` on more than half of the section."""
    road, section, lane = strip.key
    owner = 0 if lane * target < 0 else min(lane, target, key=abs)  # marks are on the outer side of their lane
    element = next((e for e in strip.road.sections[section].iterfind("*/lane") if e.get("id") == str(owner)), None)
    marks = [] if element is None else sorted(element.findall("roadMark"), key=lambda mark: xml.number(mark, "sOffset", 0.0))
    if not marks:
        return True
    length = strip.road.bounds[section + 1] - strip.road.bounds[section]
    starts = np.clip([xml.number(mark, "sOffset", 0.0) for mark in marks] + [math.inf], 0.0, length)
    allowed = [_mark_allows(mark, lane, target) for mark in marks]
    return bool(np.diff(starts) @ allowed > length / 2)


def _mark_allows(mark: etree._Element, lane: int, target: int) -> bool:
    permission = mark.get("laneChange")
    if permission is not None:
        return permission == "both" or permission == ("increase" if target > lane else "decrease")
    # Double lines are named from the inside to the outside; on the center lane from left to right.
    first = lane > 0 if lane * target < 0 else abs(lane) < abs(target)
    near = mark.get("type", "none").split()[0 if first else -1]
    return near in ("broken", "none", "dots", "botts")
