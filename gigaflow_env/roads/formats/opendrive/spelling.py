"""Lanes of OpenDRIVE whose id or type is not written as the standard has it: mended before all else reads them."""

from contextlib import suppress

from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.opendrive.strips import LANE_TYPES, OTHER_TYPES
from gigaflow_env.roads.road_map import MapError

_KNOWN = frozenset((*LANE_TYPES, *OTHER_TYPES))
_BY_LETTERS = {name.lower(): name for name in _KNOWN}


def mend_lanes(root: etree._Element) -> None:
    """Write ids such as "-1.0" as whole numbers, and types such as "Driving" as they are written; each is reported."""
    for lane in root.iterfind("road/lanes/laneSection/*/lane"):
        given, kind = lane.get("id", ""), lane.get("type", "none")
        if not given.removeprefix("-").isdigit():
            with suppress(MapError):  # `strips` says what is wrong with it
                lane.set("id", str(xml.integer(lane, "id")))
        right = _BY_LETTERS.get(kind.strip().lower())
        if kind not in _KNOWN and right is not None:
            xml.fault(lane, "lane", f"type={kind!r} is no lane type", f"{right!r} taken")
            lane.set("type", right)
