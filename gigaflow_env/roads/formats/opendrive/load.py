"""OpenDRIVE (*.xodr) to RoadMap. Source: ASAM OpenDRIVE 1.4 to 1.8.

A lane of a lane section becomes one Lane, named `road.section.lane`; where it may be used both ways there is a second one,
`road.section.lane.back`; a section that is cut in two has `road.section/2.lane`. Read are plan view, lane offset, widths and
borders, elevation, superelevation, links, junctions (common, direct and virtual), speed limits, road marks as permission to
change lanes, crosswalks, and the traffic lights, stop and yield signs of junctions. Ours: lanes end where they get narrower
than MIN_WIDTH, and lanes shorter than MIN_LENGTH are bypassed.

Not read: lane height, crossfall and other shapes of the surface, signals away from junctions other than limits, the geo
reference. OpenDRIVE has no times of lights.
"""

from dataclasses import replace
from pathlib import Path

from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.opendrive.crosswalks import read_crosswalks
from gigaflow_env.roads.formats.opendrive.cuts import cut_sections
from gigaflow_env.roads.formats.opendrive.lanes import directed_lanes
from gigaflow_env.roads.formats.opendrive.links import read_joints
from gigaflow_env.roads.formats.opendrive.road import Road, read_road
from gigaflow_env.roads.formats.opendrive.signals import with_signals
from gigaflow_env.roads.formats.opendrive.speeds import with_speeds
from gigaflow_env.roads.formats.opendrive.spelling import mend_lanes
from gigaflow_env.roads.formats.opendrive.strips import read_strips
from gigaflow_env.roads.formats.opendrive.unsaid_links import with_unsaid
from gigaflow_env.roads.import_report import fault, left_out, note
from gigaflow_env.roads.road_map import Crosswalk, RoadMap


def read(path: Path) -> RoadMap:
    """Read an OpenDRIVE file. Raises MapError where it is none; faults of its elements go into the import report."""
    root = xml.parse(path, "OpenDRIVE", "an OpenDRIVE file")
    mend_lanes(root)
    cut_sections(root)
    roads: dict[str, Road] = {}
    junctions = {junction.get("id", "") for junction in root.iterfind("junction")}
    connecting = {
        connection.get("connectingRoad", ""): connection.getparent().get("id", "")
        for connection in root.iterfind("junction/connection")
    }
    for element in root.iterfind("road"):
        with left_out("road", element.get("id") or ""):
            road = read_road(element, _junction(element, junctions, connecting))
            if road.id in roads:
                raise xml.wrong(element, f"id {road.id!r} is used twice")
            roads[road.id] = road
    strips = {strip.key: strip for road in roads.values() for strip in read_strips(road)}
    joints = with_unsaid(read_joints(root, roads), strips, roads, root)
    lanes = with_speeds(directed_lanes(strips, joints), strips)
    lanes, signals = with_signals(lanes, strips, roads, root)
    crosswalks: dict[str, Crosswalk] = {}
    for crosswalk in (crosswalk for road in roads.values() for crosswalk in read_crosswalks(road)):
        if crosswalk.id in crosswalks:
            fault("crosswalk", crosswalk.id, "its id is used twice on its road", f"{crosswalk.id}/{len(crosswalks)} taken")
            crosswalk = replace(crosswalk, id=f"{crosswalk.id}/{len(crosswalks)}")
        crosswalks[crosswalk.id] = crosswalk
    header = root.find("header")
    vendor = "" if header is None else header.get("vendor", "")
    return RoadMap(
        name=path.stem,
        lanes=lanes,
        signals=signals,
        crosswalks=crosswalks,
        left_hand=2 * sum(road.left_hand for road in roads.values()) > len(roads),
        source=f"OpenDRIVE file {path.name}" + (f" ({vendor})" if vendor else ""),
    )


def _junction(road: etree._Element, junctions: set[str], connecting: dict[str, str]) -> str | None:
    """The junction that a road belongs to; where it doesn't say the one that leads over it."""
    given, name = road.get("junction"), road.get("id", "")
    if given == "-1":
        return None
    if not given:
        taken = connecting.get(name)
        if given is not None or taken is not None:
            what = f"junction={given!r} of a road " + ("in no junction" if taken is None else f"in junction {taken!r}")
            xml.fault(road, "reference", what, "an ordinary road" if taken is None else f"{taken!r} taken")
        return taken
    if given not in junctions:  # as in an excerpt
        note("reference", name, f"junction {given!r} is not in the file: only its name is known", line=road.sourceline)
    return given
