"""Signs of speed limits in OpenDRIVE: of which catalogue they are, and what they say.

Source: the catalogues of road signs of the countries below. Signs hold up to the next one, or up to the end of their road;
those that stand at its end up to the end of the next.
"""

import math
from typing import NamedTuple

from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.import_report import left_out, note

LIMITS = {
    "": ("274", "274.1", "r2-1", "670", "c14"),  # without a country: Germany's, the United States', Britain's, Vienna's
    "AT": ("52.10a", "10a"),
    "AU": ("r4-1",),
    "BE": ("c43",),
    "CA": ("rb-1",),
    "CH": ("2.30", "2.59.1"),
    "CZ": ("b20a",),
    "DE": ("274", "274.1"),
    "DK": ("c55",),
    "ES": ("r-301", "r301"),
    "FI": ("c32", "361"),
    "FR": ("b14", "b30"),
    "GB": ("670", "674"),
    "IT": ("ii.50", "ii50"),
    "JP": ("323",),
    "KR": ("224",),
    "NL": ("a1", "a01"),
    "NO": ("362",),
    "PL": ("b-33", "b33"),
    "PT": ("c13",),
    "SE": ("c31",),
    "US": ("r2-1",),
}
"""Types of signs that limit the speed, of one lane or of a zone, by the country's two letters; in small letters."""
ENDS = {
    "": ("274.2", "278", "282"),
    "AT": ("52.10b", "10b"),
    "CH": ("2.53", "2.59.2"),
    "DE": ("274.2", "278", "282"),
    "ES": ("r-501", "r501"),
    "FR": ("b31", "b33", "b51"),
    "NL": ("a2", "a02"),
    "PL": ("b-34", "b34"),
    "SE": ("c32",),
}
"""Types of signs that end a limit."""
NAMES = {
    "AUT": "AT", "AUS": "AU", "BEL": "BE", "CAN": "CA", "CHE": "CH", "CZE": "CZ", "DEU": "DE", "GER": "DE", "DNK": "DK",
    "ESP": "ES", "FIN": "FI", "FRA": "FR", "GBR": "GB", "UK": "GB", "ITA": "IT", "JPN": "JP", "KOR": "KR", "NLD": "NL",
    "NOR": "NO", "POL": "PL", "PRT": "PT", "SWE": "SE", "USA": "US",
}  # fmt: skip
"""Other names of countries; OpenDRIVE asks for three letters up to 1.5, for two from 1.6 on."""
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


def _country(element: etree._Element) -> str:
    """The two letters of a sign's country; empty where the catalogue is nobody's, as OpenDRIVE's own."""
    given = element.get("country", "").strip().upper()
    given = NAMES.get(given, given)
    return given if given in LIMITS else ""


def _named(element: etree._Element, catalogues: dict[str, tuple[str, ...]]) -> bool:
    kind = element.get("type", "").replace(" ", "").replace(",", "").lower()
    country = _country(element)
    return kind in catalogues[""] or kind in catalogues.get(country, ())


def _speed(element: etree._Element) -> float | None:
    """What a sign says [m/s]: its value, else what its subtype means."""
    given = element.get("value") or ""
    if not given or given == "-1":
        subtype = element.get("subtype") or ""
        given = GERMAN_SUBTYPES.get(subtype, subtype)
    unit = element.get("unit") or ("mph" if _country(element) in MILES else "km/h")
    if given.strip() in ("", "-1"):
        xml.fault(element, "signal", f"a limit of value={element.get('value')!r}", "left out")
        return None
    return in_metres(element, given, unit)
