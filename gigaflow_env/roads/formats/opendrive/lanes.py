"""Strips in their directions of travel, with what they lead to and where lanes may be changed."""

import math
from dataclasses import replace

import numpy as np

from gigaflow_env.roads.centerline import fit
from gigaflow_env.roads.formats.common.limits import BACK
from gigaflow_env.roads.formats.common.union_find import groups
from gigaflow_env.roads.formats.common.weld import Link, holds, successors, weld
from gigaflow_env.roads.formats.opendrive.links import End
from gigaflow_env.roads.formats.opendrive.road_marks import may_change
from gigaflow_env.roads.formats.opendrive.strips import Key, Strip
from gigaflow_env.roads.road_map import HEADING, Lane

MAX_GAP = 0.3
"""[m] Ours: ends which are farther apart are linked only if they face each other, see `weld.facing`."""


def name_of(strip: Strip, back: bool = False) -> str:
    """Id of a lane of the RoadMap; `back` for travel against what is usual there."""
    road, section, lane = strip.key
    return f"{road}.{strip.road.labels[section]}.{lane}" + (BACK if back else "")


def directed_lanes(strips: dict[Key, Strip], joints: dict[End, list[End]]) -> dict[str, Lane]:
    """Strips in their directions of travel, with links and neighbours, still without speeds and signals.

    Links over gaps between ends that face each other are bridged, links over other gaps left out; both is reported.
    """
    directed: dict[str, tuple[Strip, bool]] = {}
    lines: dict[str, np.ndarray] = {}
    links: dict[str, list[str]] = {}
    for strip in strips.values():
        for forward in directions(strip) if strip.lines else ():
            own = names(strip, forward)
            travelled = [_travelled(line, forward) for line in strip.lines[:: 1 if forward else -1]]
            directed |= dict.fromkeys(own, (strip, forward))
            lines |= dict(zip(own, travelled, strict=True))
            if strip.kind == "driving":
                links[own[-1]] = _ahead(strip, forward, strips, joints)
    held = [(a, b) for a, others in links.items() for b in others if holds(a, b, lines[a], lines[b], MAX_GAP)]
    lines = _bridged(lines, held)
    ahead = successors(held)
    lanes = {}
    for name, (strip, forward) in directed.items():
        lane = Lane(name, fit(lines[name]), strip.kind, junction=strip.road.junction)
        if strip.kind == "driving":
            lane = replace(
                lane,
                successors=ahead.get(name, ()),
                left=_neighbour(strip, forward, forward, strips),
                right=_neighbour(strip, forward, not forward, strips),
                twin=_twin(strip, name, forward),
            )
        lanes[name] = lane
    return lanes


def names(strip: Strip, forward: bool) -> list[str]:
    """Names of a strip's lanes in the direction of travel: one for each of its parts, numbered along the road."""
    name = name_of(strip, forward != strip.forward)
    parts = [name] + [f"{name}.part{number}" for number in range(2, len(strip.lines) + 1)]
    return parts if forward else parts[::-1]


def _twin(strip: Strip, name: str, forward: bool) -> str | None:
    """The lane of the other direction on the same surface."""
    if len(directions(strip)) < 2:
        return None
    return names(strip, not forward)[::-1][names(strip, forward).index(name)]


def _bridged(lines: dict[str, np.ndarray], links: list[Link]) -> dict[str, np.ndarray]:
    """Lines whose ends meet where a link leads over a gap; all others stay as the file has them."""
    wide = [(a, b) for a, b in links if np.linalg.norm(lines[a][-1, :3] - lines[b][0, :3]) > MAX_GAP]
    if not wide:
        return lines
    moved = {end for a, b in wide for end in ((a, -1), (b, 0))}
    meeting = [set(group) for group in groups(((a, -1), (b, 0)) for a, b in links)]
    moved = {end for group in meeting if group & moved for end in group}
    together = [(a, b) for a, b in links if (a, -1) in moved]
    welded, _ = weld({name: lines[name] for name, _ in moved}, together)
    return lines | welded


def driving_lane(strips: dict[Key, Strip], key: Key, forward: bool) -> str | None:
    """Name of the driving lane that one enters there along the road (forward) or against it; None where there is none."""
    strip = strips.get(key)
    if strip is None or not strip.lines or strip.kind != "driving" or forward not in directions(strip):
        return None
    return names(strip, forward)[0]


def directions(strip: Strip) -> tuple[bool, ...]:
    """Along the road (True) or against it: which ways lead over a strip."""
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
            if other is None or other.kind != "driving" or onward not in directions(other):
                continue
            beyond = (*other.key, int(onward))
            if other.lines:
                found.append(names(other, onward)[0])
            elif beyond not in exits:
                exits.append(beyond)
    return list(dict.fromkeys(found))


def _neighbour(strip: Strip, forward: bool, higher: bool, strips: dict[Key, Strip]) -> str | None:
    """The driving lane of the same direction on the side of higher or lower ids into which a change is permitted."""
    road, section, lane = strip.key
    step = 1 if higher else -1
    beside = lane + step or lane + 2 * step  # there is no lane 0 to drive on
    other = driving_lane(strips, (road, section, beside), forward)
    if other is None or len(strip.lines) > 1 or len(strips[road, section, beside].lines) > 1:
        return None  # parts of lanes do not run side by side from start to end
    length = strip.road.bounds[section + 1] - strip.road.bounds[section]
    return other if may_change(strip.road.sections[section], length, lane, beside) else None
