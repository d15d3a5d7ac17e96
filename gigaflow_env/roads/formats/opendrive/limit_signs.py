"""Signs of speed limits in OpenDRIVE, and what they say.

Signs hold up to the next one, or up to the end of their road;
those that stand at its end up to the end of the next.
"""

import math
from typing import NamedTuple

from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.sign_catalogues import ENDS, LIMITS, country, is_one
from gigaflow_env.roads.import_report import left_out, note

MILES = ("GB", "US")
"""Where a sign without a unit is in miles an hour; elsewhere km/h."""
GERMAN_SUBTYPES = {str(code): str(10 * (code - 50)) for code in range(51, 64) if code != 60}
"""[km/h] by the numbers of the sign's variants, for signs without a value; 60 is more likely the limit itself."""
UNITS = {"m/s": 1.0, "ms": 1.0, "mps": 1.0, "km/h": 1 / 3.6, "kmh": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704}
"""By their names in small letters, with the spellings that files have."""
NO_LIMIT = ("no limit", "undefined", "none", "")
FASTEST = 100.0
"""[m/s] Ours: what is faster is a mistake."""
ORIENTATIONS = ("+", "-", "none")
"""Of a signal: for traffic along the road, against it, or for both."""


class LimitSign(NamedTuple):
    """A sign of a limit, or of its end."""

    element: etree._Element
    s: float  # [m] along the road
    orientation: str  # one of ORIENTATIONS
    lanes: tuple[tuple[int, int], ...]  # none: all of its direction
    speed: float | None  # [m/s]; None: it ends a limit


def is_limit(element: etree._Element) -> bool:
    """Whether a signal limits the speed, or ends a limit."""
    return _named(element, LIMITS) or _named(element, ENDS)


def read_limit_signs(road: etree._Element) -> list[LimitSign]:
    """The signs of speed limits that stand on a road."""
    found = []
    for element in road.iterfind("signals/signal"):
        if not is_limit(element):
            if element.get("unit", "").lower() in UNITS:
                what = f"type={element.get('type')!r} with a speed is no limit of a catalogue that is known: left out"
                note("signal", element.get("id") or "", what, line=element.sourceline)
            continue
        with left_out("signal", element.get("id") or "", line=element.sourceline):
            valid = [(xml.integer(e, "fromLane"), xml.integer(e, "toLane")) for e in element.iterfind("validity")]
            meant = tuple(pair for pair in valid if pair != (0, 0))  # that is the post itself, as RoadRunner writes it
            speed = _speed(element) if _named(element, LIMITS) else None
            if speed is not None or _named(element, ENDS):
                way = xml.word(element, "orientation", ORIENTATIONS, "none")
                found.append(LimitSign(element, xml.number(element, "s"), way, meant, speed))
    return found


def in_metres(element: etree._Element, given: str, unit: str) -> float | None:
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


def sign_country(element: etree._Element) -> str:
    """The two letters of a sign's country, as `sign_catalogues.country`."""
    return country(element.get("country", ""))


def _named(element: etree._Element, catalogues: dict[str, tuple[str, ...]]) -> bool:
    return is_one(element.get("type", ""), sign_country(element), catalogues)


def _speed(element: etree._Element) -> float | None:
    """What a sign says [m/s]: its value, else what its subtype means."""
    given = element.get("value") or ""
    if not given or given == "-1":
        subtype = element.get("subtype") or ""
        given = GERMAN_SUBTYPES.get(subtype, subtype)
    unit = element.get("unit") or ("mph" if sign_country(element) in MILES else "km/h")
    if given.strip() in ("", "-1"):
        xml.fault(element, "signal", f"a limit of value={element.get('value')!r}", "left out")
        return None
    return in_metres(element, given, unit)
