"""Regulatory elements of Lanelet2: lights, stop and yield signs with the lanes that obey them, and speed limits."""

import re
from typing import NamedTuple

import numpy as np
import shapely

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.sign_catalogues import STOPS, YIELDS, country, is_one
from gigaflow_env.roads.formats.lanelet2.elements import Elements, Relation
from gigaflow_env.roads.formats.lanelet2.lanelets import Lanelet, default_speed, speed
from gigaflow_env.roads.import_report import note

SUBTYPES = ("traffic_light", "all_way_stop", "right_of_way", "traffic_sign", "speed_limit")
"""Of regulatory elements that are read."""
STOP, YIELD = re.compile(r"stop", re.IGNORECASE), re.compile(r"yield|give_way", re.IGNORECASE)
"""Signs by what they are called; others are named by the two letters of their country and their number there: usR1-1."""
LIMIT = re.compile(r"de274", re.IGNORECASE)


class Rule(NamedTuple):
    """A signal that a lanelet obeys, and the lines [m] at which one stops; without any it's the lanelet's end."""

    id: str
    kind: str  # light, stop or yield
    lines: list[np.ndarray]


def rules_of(lanelet: Lanelet, elements: Elements) -> list[Rule]:
    """Lights, stop and yield signs of a lanelet."""
    found = []
    for element in _regulatory(lanelet, elements):
        kind = _signal_kind(element, lanelet, elements)
        if kind is not None:
            lines = []
            for way in element.members("ref_line"):
                if way in elements.ways:
                    lines.append(elements.ways[way].points)
                else:
                    what = f"its stop line is way {way!r}, which does not exist"
                    xml.fault(element.element, "reference", what, "left out")
            found.append(Rule(element.id, kind, lines))
    return found


def in_order(rules: list[Rule]) -> list[Rule]:
    """Rules with those first that count most: a light before a stop before a yield."""
    return sorted(rules, key=lambda rule: ("light", "stop", "yield").index(rule.kind))


def at_end(rule: Rule, line: np.ndarray) -> bool:
    """Whether one stops at the end of a lane rather than at its start. Ours: stop lines are moved to the nearer of both."""
    if not rule.lines:
        return True
    stops = shapely.MultiLineString([points[:, :2] for points in rule.lines])
    nearest = shapely.distance(shapely.points(line[:, :2]), stops).argmin()
    return bool(nearest >= len(line) / 2)


def limit(lanelet: Lanelet, elements: Elements) -> float:
    """Speed limit of a lanelet [m/s]: its own, that of a regulatory element, or the usual one of such roads."""
    tags = lanelet.relation.tags
    for name in ("speed_limit", "speed_limit:vehicle", "speed_limit:vehicle:car"):
        if name in tags:
            if (given := speed(tags[name])) is not None:
                return given
            what = f"{name}={tags[name]!r} is no speed, such as '50 km/h'"
            xml.fault(lanelet.relation.element, "value", what, "left out")
    for element in _regulatory(lanelet, elements):
        if element.tags.get("subtype") in ("speed_limit", "traffic_sign"):
            signs = _signs(element, elements)
            for sign in [element.tags.get("sign_type", ""), *filter(LIMIT.match, signs)]:
                if (given := speed(sign)) is not None:
                    return given
            if element.tags.get("subtype") == "speed_limit":
                what = f"a speed limit whose signs say {', '.join(map(repr, signs)) or 'nothing'}"
                xml.fault(element.element, "rule", what, "left out")
    return default_speed(tags)


def _regulatory(lanelet: Lanelet, elements: Elements) -> list[Relation]:
    """Regulatory elements that a lanelet names."""
    found = []
    for name in lanelet.relation.members("regulatory_element", "relation"):
        if name in elements.relations:
            element = elements.relations[name]
            found.append(element)
            if (subtype := element.tags.get("subtype")) not in SUBTYPES:
                what = f"a regulatory element with subtype={subtype!r}, none of {', '.join(SUBTYPES)}: left out"
                note("rule", element.id, what, line=element.element.sourceline)
        else:
            what = f"regulatory element {name!r} of lanelet {lanelet.id} does not exist"
            xml.fault(lanelet.relation.element, "reference", what, "left out")
    return found


def _signs(element: Relation, elements: Elements) -> list[str]:
    """Subtypes of the signs of a rule."""
    found = []
    for way in element.members("refers"):
        if way in elements.ways:
            found.append(elements.ways[way].tags.get("subtype", ""))
        else:
            xml.fault(element.element, "reference", f"refers to way {way!r}, which does not exist", "left out")
    return found


def _signal_kind(element: Relation, lanelet: Lanelet, elements: Elements) -> str | None:
    """Kind of the signal that a regulatory element is for a lanelet; None: it is none."""
    subtype = element.tags.get("subtype")
    if subtype == "traffic_light":
        return "light"
    if subtype == "all_way_stop":
        return "stop"
    signs = [*_signs(element, elements), element.tags.get("sign_type", "")]
    stops = any(_is_sign(sign, STOP, STOPS) for sign in signs)
    if subtype == "right_of_way":
        if lanelet.id in element.members("yield", "relation"):
            return "stop" if stops else "yield"
        if lanelet.id not in element.members("right_of_way", "relation"):
            what = f"right of way {element.id} does not name lanelet {lanelet.id}, which names it"
            xml.fault(lanelet.relation.element, "reference", what, "left out")
    if subtype == "traffic_sign":
        return "stop" if stops else "yield" if any(_is_sign(sign, YIELD, YIELDS) for sign in signs) else None
    return None


def _is_sign(given: str, word: re.Pattern[str], catalogues: dict[str, tuple[str, ...]]) -> bool:
    """Whether a sign says so by a word, or by its country and number."""
    return word.match(given) is not None or is_one(given[2:], country(given[:2]), catalogues)
