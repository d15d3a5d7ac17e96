"""Speed limits of OpenDRIVE's lanes: their own, that of a sign, their road's, or that of the lanes they are linked to."""

import math
from dataclasses import replace
from typing import NamedTuple

from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.opendrive.lanes import directions, names
from gigaflow_env.roads.formats.opendrive.road import Road
from gigaflow_env.roads.formats.opendrive.strips import Key, Strip
from gigaflow_env.roads.import_report import left_out
from gigaflow_env.roads.road_map import DEFAULT_SPEED, Lane

UNITS = {"m/s": 1.0, "ms": 1.0, "mps": 1.0, "km/h": 1 / 3.6, "kmh": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704}
"""By their names in small letters, with the spellings that files have."""
NO_LIMIT = ("no limit", "undefined", "none", "")
FASTEST = 200.0
"""[m/s] Ours: what is faster is a mistake."""
LIMIT_SIGNS = ("274", "274.1", "R2-1", "670", "c14")
"""Signal types of speed limits: Germany's and those who number alike, the United States', Britain's, Vienna's."""
GERMAN_SUBTYPES = {str(code): str(10 * (code - 50)) for code in range(51, 64) if code != 60}
"""[km/h] by the numbers of the sign's variants, for signs without a value; 60 is more likely the limit itself."""
MPH_COUNTRIES = ("US", "USA", "UK", "GB", "GBR")
"""Where a sign without a unit is in miles an hour; elsewhere km/h."""


def _in_metres(element: etree._Element, given: str, unit: str) -> float | None:
    """A limit [m/s]; None: there is none, or, reported, none that can be read."""
    if given.strip().lower() in NO_LIMIT:
        return None
    factor = UNITS.get(unit.strip().lower())
    if factor is None:
        xml.fault(element, "value", f"unit={unit!r} is not one of {', '.join(UNITS)}", "the limit is left out")
        return None
    try:
        speed = float(given) * factor
    except ValueError:
        speed = math.nan
    if not math.isfinite(speed) or speed > FASTEST:
        xml.fault(element, "value", f"{given!r} {unit} is not a speed", "the limit is left out")
        return None
    return speed if speed > 0 else None  # some programs write 0 or -1 for no limit


def _speed(strip: Strip) -> float | None:
    """Limit of the lane or, without one, of its road in the middle of the section [m/s]; None: not given."""
    road, section = strip.road, strip.key[1]
    low, high = road.bounds[section : section + 2]
    limits = [(low + xml.number_or(e, "sOffset", 0.0), e) for e in strip.element.iterfind("speed")]
    limits = limits or [(xml.number_or(e.getparent(), "s", 0.0), e) for e in road.element.iterfind("type/speed")]
    begun = [e for start, e in limits if start <= (low + high) / 2]
    if not begun:
        return None
    return _in_metres(begun[-1], begun[-1].get("max", ""), begun[-1].get("unit", "m/s"))


class _Sign(NamedTuple):
    s: float  # [m] along the road
    orientation: str
    lanes: list[tuple[int, int]]  # none: all of its direction
    speed: float  # [m/s]


def _signs(road: Road) -> list[_Sign]:
    """The signs of speed limits that stand on a road."""
    found = []
    for element in road.element.iterfind("signals/signal"):
        if element.get("type") not in LIMIT_SIGNS:
            continue
        with left_out("signal", element.get("id") or ""):
            given = element.get("value") or ""
            if not given or given == "-1":
                subtype = element.get("subtype") or ""
                given = GERMAN_SUBTYPES.get(subtype, subtype)
            unit = element.get("unit") or ("mph" if element.get("country", "").upper() in MPH_COUNTRIES else "km/h")
            valid = [(xml.integer(e, "fromLane"), xml.integer(e, "toLane")) for e in element.iterfind("validity")]
            valid = [pair for pair in valid if pair != (0, 0)]  # the post itself, as RoadRunner writes it
            speed = _in_metres(element, "" if given == "-1" else given, unit)
            if speed is not None:
                found.append(_Sign(xml.number(element, "s"), element.get("orientation", "none"), valid, speed))
    return found


def _sign_speed(strip: Strip, forward: bool, signs: list[_Sign]) -> float | None:
    """Limit of the last sign that traffic in one direction has passed in the middle of a section; None: there is none.

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
    return min(passed, key=lambda sign: abs(sign.s - middle)).speed if passed else None


def _limit(strip: Strip, forward: bool, signs: list[_Sign]) -> float | None:
    """Limit [m/s]: the lane's own, else the sign's, else the road's."""
    own = strip.element.find("speed") is not None
    return _speed(strip) if own or (signed := _sign_speed(strip, forward, signs)) is None else signed


def with_speeds(lanes: dict[str, Lane], strips: dict[Key, Strip]) -> dict[str, Lane]:
    """Lanes with their limits. Connectors often have none: they take the one of what leads in, else of what they lead to."""
    behind: dict[str, list[str]] = {name: [] for name in lanes}
    for lane in lanes.values():
        for other in lane.successors:
            behind[other].append(lane.id)
    signs = {road.id: _signs(road) for road in {strip.road.id: strip.road for strip in strips.values()}.values()}
    known: dict[str, float] = {}
    for strip in strips.values():
        for forward in directions(strip) if strip.lines else ():
            if (speed := _limit(strip, forward, signs[strip.road.id])) is not None:
                known |= dict.fromkeys(names(strip, forward), speed)
    for edges in ({name: lane.successors for name, lane in lanes.items()}, behind):
        queue = list(known)
        for name in queue:
            for other in edges[name]:
                if other not in known:
                    known[other] = known[name]
                    queue.append(other)
    return {name: replace(lane, speed=known.get(name, DEFAULT_SPEED)) for name, lane in lanes.items()}
