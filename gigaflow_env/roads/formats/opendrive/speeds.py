"""Speed limits of OpenDRIVE's lanes: their own, that of a sign, their road's, or that of the lanes they are linked to."""

from dataclasses import replace
from typing import Any

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.opendrive.lanes import directions, names
from gigaflow_env.roads.formats.opendrive.limit_signs import LimitSign, in_metres, read_limit_signs
from gigaflow_env.roads.formats.opendrive.strips import Key, Strip
from gigaflow_env.roads.import_report import note
from gigaflow_env.roads.road_map import DEFAULT_SPEED, Lane


def _speed(strip: Strip) -> float | None:
    """Limit of the lane or, without one, of its road in the middle of the section [m/s]; None: not given."""
    road, section = strip.road, strip.key[1]
    low, high = road.bounds[section : section + 2]
    limits = [(low + xml.number_or(e, "sOffset", 0.0), e) for e in strip.element.iterfind("speed")]
    limits = limits or [(xml.number_or(e.getparent(), "s", 0.0), e) for e in road.element.iterfind("type/speed")]
    begun = [e for start, e in limits if start <= (low + high) / 2]
    if not begun:
        return None
    return in_metres(begun[-1], begun[-1].get("max", ""), begun[-1].get("unit", "m/s"))


def _sign(strip: Strip, forward: bool, signs: list[LimitSign]) -> LimitSign | None:
    """The last sign that traffic in one direction has passed in the middle of a section; None: there is none.

    Signs count up to the end of their road. A sign further along the road is passed first by those who come back.
    """
    section, lane = strip.key[1:]
    middle = strip.road.bounds[section : section + 2].mean()
    passed = [
        sign
        for sign in signs
        if (sign.s <= middle if forward else sign.s >= middle)
        and sign.orientation != ("-" if forward else "+")
        and (not sign.lanes or any(min(pair) <= lane <= max(pair) for pair in sign.lanes))
    ]
    return min(passed, key=lambda sign: abs(sign.s - middle)) if passed else None


def _limits(strips: dict[Key, Strip]) -> dict[str, float]:
    """Limits that lanes have [m/s]: the lane's own, else the sign's, else the road's. Signs that hold nowhere are told."""
    roads = {strip.road.id: strip.road for strip in strips.values()}
    signs = {road.id: read_limit_signs(road.element) for road in roads.values()}
    held: set[tuple[Any, ...]] = set()  # signs by all but their posts: there may be one on each side of a road
    known: dict[str, float] = {}
    for strip in strips.values():
        for forward in directions(strip) if strip.lines else ():
            sign = _sign(strip, forward, signs[strip.road.id])
            if sign is not None:
                held.add((strip.road.id, *sign[1:]))
            own = strip.element.find("speed") is not None
            speed = _speed(strip) if own or sign is None or sign.speed is None else sign.speed
            if speed is not None:
                known |= dict.fromkeys(names(strip, forward), speed)
    for road in roads.values():
        for sign in signs[road.id]:
            if sign.speed is not None and (road.id, *sign[1:]) not in held:
                held.add((road.id, *sign[1:]))
                what = f"a limit at {sign.s:.1f} m of road {road.id}: no lane of its direction goes on for long behind it"
                note("signal", sign.element.get("id", ""), f"{what}: left out", line=sign.element.sourceline)
    return known


def with_speeds(lanes: dict[str, Lane], strips: dict[Key, Strip]) -> dict[str, Lane]:
    """Lanes with their limits. Connectors often have none: they take the one of what leads in, else of what they lead to."""
    behind: dict[str, list[str]] = {name: [] for name in lanes}
    for lane in lanes.values():
        for other in lane.successors:
            behind[other].append(lane.id)
    known = _limits(strips)
    for edges in ({name: lane.successors for name, lane in lanes.items()}, behind):
        queue = list(known)
        for name in queue:
            for other in edges[name]:
                if other not in known:
                    known[other] = known[name]
                    queue.append(other)
    return {name: replace(lane, speed=known.get(name, DEFAULT_SPEED)) for name, lane in lanes.items()}
