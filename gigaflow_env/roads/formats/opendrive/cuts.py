"""Lane sections of OpenDRIVE that are cut in two: where lane changes begin or end, at limits, and at virtual junctions.

The second part is a section of its own whose lanes go on with the same ids; `part` counts the parts of one section.
"""

import copy
import re
from itertools import pairwise

from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.opendrive.limit_signs import read_limit_signs
from gigaflow_env.roads.formats.opendrive.road import PART
from gigaflow_env.roads.formats.opendrive.road_marks import changes_at
from gigaflow_env.roads.formats.opendrive.strips import LANE_TYPES
from gigaflow_env.roads.road_map import MapError

LEAST = 20.0
"""[m] Ours: lane changes and limits count by the longer part of a section, unless both parts are at least so long."""
NO_CUT = 0.1
"""[m] Ours: a section is not cut so near to its ends."""


def cut_sections(root: etree._Element) -> None:
    """Cut the lane sections of all roads where lanes have to begin or end."""
    branches = _branches(root)
    for road in root.iterfind("road"):
        sections = road.findall("lanes/laneSection")
        starts = [xml.number_or(section, "s", 0.0) for section in sections]
        if not sections or starts != sorted(starts):
            continue  # reported where the road is read
        ends = [*starts[1:], _length(road)]
        limits = read_limit_signs(road)
        for section, start, end in zip(sections, starts, ends, strict=True):
            signs = [sign.s - start for sign in limits]
            stations = [start + at for at in _apart([*_changes(section, end - start), *signs], end - start)]
            stations += [at for at in branches.get(road.get("id", ""), ()) if start + NO_CUT < at < end - NO_CUT]
            if stations:
                _cut(section, start, sorted(set(stations)))


def _length(road: etree._Element) -> float:
    """Length of a road [m]; 0 where it can't be read, which is reported where the road is read."""
    try:
        return xml.number(road, "length")
    except MapError:
        return 0.0


def _branches(root: etree._Element) -> dict[str, list[float]]:
    """Places along each road [m] where virtual junctions lead off it or onto it."""
    found: dict[str, list[float]] = {}
    for link in root.iterfind("road/link/*[@elementS]"):
        found.setdefault(link.get("elementId", ""), []).append(xml.number_or(link, "elementS", 0.0))
    return found


def _apart(places: list[float], length: float) -> list[float]:
    """The places in a section [m] that are far enough from each other and from its ends."""
    kept: list[float] = []
    for at in sorted(places):
        if at - (kept[-1] if kept else 0.0) >= LEAST and length - at >= LEAST:
            kept.append(at)
    return kept


def _changes(section: etree._Element, length: float) -> list[float]:
    """Places in a section [m] where the permission to change lanes changes."""
    driving = set()
    for lane in section.iterfind("*/lane"):
        given = lane.get("id") or ""
        if re.fullmatch(r"-?\d{1,6}", given) and LANE_TYPES.get(lane.get("type") or "none") == "driving":
            driving.add(int(given))
    pairs = [(lane, lane + step) for lane in driving for step in (-1, 1) if lane + step in driving]
    return changes_at(section, length, pairs) if pairs and length >= 2 * LEAST else []


def _cut(section: etree._Element, start: float, stations: list[float]) -> None:
    """Cut one section at places along its road [m]. What lies before a part's start holds there with a negative offset."""
    parts = [copy.deepcopy(section) for _ in stations]
    for number, (part, station) in enumerate(zip(parts, stations, strict=True), 2):
        part.set("s", repr(station))
        part.set(PART, str(number))
        for element in part.iterfind(".//*[@sOffset]"):
            element.set("sOffset", repr(xml.number_or(element, "sOffset", 0.0) - (station - start)))
    for element in reversed(parts):
        section.addnext(element)
    for one, other in pairwise([section, *parts]):
        for element, role in ((one, "successor"), (other, "predecessor")):
            for lane in element.iterfind("*/lane"):
                _go_on(lane, role)


def _go_on(lane: etree._Element, role: str) -> None:
    """Let a lane go on with the same id where its section is cut."""
    link = lane.find("link")
    if link is None:
        link = etree.SubElement(lane, "link")
    for old in link.findall(role):
        link.remove(old)
    etree.SubElement(link, role, id=lane.get("id", ""))
