"""Access rules of OpenDRIVE's lanes: which of them are closed to cars."""

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml

CARS = ("passengerCar", "car", "private")
"""Restrictions that mean ordinary cars."""
NOBODY = ("none", "simulator", "autonomousTraffic", "")
"""Restrictions that say nothing about who may drive there."""
OTHERS = (
    "bus", "taxi", "truck", "trucks", "delivery", "emergency", "throughTraffic", "bicycle", "motorcycle", "pedestrian",
    "HOV", "van", "trailer", "semitrailer", "tram", "train", "wheelchair", "standupScooter", "agricultural", "construction",
)  # fmt: skip
"""Restrictions that mean others, as OpenDRIVE 1.4 to 1.8 and OpenSCENARIO name them."""
RESERVED = ("bus", "taxi", "HOV")
"""Lane types of others than cars. Source: OpenDRIVE 1.8, which writes them as driving lanes with an access rule."""


def open_to_cars(lane: etree._Element, length: float) -> bool:
    """Whether cars may use a lane on at least half of its section, `length` [m] long.

    A rule holds up to the next place with rules. Those denied may not enter; where others are allowed, only they may.
    Without a rule, as in OpenDRIVE 1.4, a restriction is a denial. A lane of a reserved type is closed unless it says more.
    """
    elements = lane.findall("access")
    if not elements:
        return lane.get("type") not in RESERVED
    rules: dict[float, list[tuple[str, str]]] = {}
    for element in elements:
        given = [xml.word(element, "restriction", (*CARS, *OTHERS, *NOBODY), "none")]
        given += [xml.word(e, "type", (*CARS, *OTHERS, *NOBODY), "none") for e in element.iterfind("restriction")]
        at, rule = xml.number_or(element, "sOffset", 0.0), xml.word(element, "rule", ("allow", "deny"), "deny")
        rules.setdefault(at, []).extend((rule, who) for who in given if who not in NOBODY)
    starts = sorted(rules)
    ends = np.clip([*starts, np.inf], 0.0, length)
    shut = [_closed(rules[start]) for start in starts]
    return float(np.diff(ends) @ shut) <= length / 2


def _closed(rules: list[tuple[str, str]]) -> bool:
    allowed = {who for rule, who in rules if rule == "allow"}
    denied = {who for rule, who in rules if rule != "allow"}
    return bool(denied & set(CARS)) or bool(allowed and not allowed & set(CARS))
