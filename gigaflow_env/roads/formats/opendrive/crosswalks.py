"""Crosswalks of OpenDRIVE: objects given by corners, or by their length and width."""

import math

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.opendrive.road import Road, limit_pieces, reference_line
from gigaflow_env.roads.import_report import left_out
from gigaflow_env.roads.road_map import Crosswalk


def read_crosswalks(road: Road) -> list[Crosswalk]:
    """Crosswalks of a road: by their type or, as RoadRunner writes them, by their name."""
    found = []
    for element in road.element.iterfind("objects/object"):
        if not _is_crosswalk(element):
            continue
        with left_out("crosswalk", f"{road.id}.{element.get('id')}"):
            outline = _outline(element, road)
            if len(outline) < 3:
                raise xml.wrong(element, f"an outline of {len(outline)} corners: at least 3 make an area")
            found.append(Crosswalk(f"{road.id}.{xml.text(element, 'id')}", outline))
    return found


def _is_crosswalk(element: etree._Element) -> bool:
    kind = element.get("type", "")
    if not kind and "crosswalk" not in element.get("name", "").lower():
        xml.fault(element, "object", f"type={element.get('type')!r}", "left out")
    return kind == "crosswalk" or (kind in ("-1", "none", "") and "crosswalk" in element.get("name", "").lower())


def _outline(element: etree._Element, road: Road) -> np.ndarray:
    """Corners of an object (n, 3): x, y, z [m]."""
    drawn = next((outline for outline in element.iterfind(".//outline") if len(outline)), element)  # of several the first
    on_road, corners = drawn.findall(".//cornerRoad"), drawn.findall(".//cornerLocal")
    limit_pieces(on_road or corners)
    if on_road:
        places = np.array([[xml.number(c, "s"), xml.number(c, "t"), xml.number(c, "dz", 0.0)] for c in on_road])
        outline = _beside(road, places[:, 0], places[:, 1])[:, :3]
        outline[:, 2] += places[:, 2]
    else:
        local = [[xml.number(c, "u"), xml.number(c, "v"), xml.number(c, "z", 0.0)] for c in corners]
        if not local:
            u, v = xml.number(element, "length") / 2, xml.number(element, "width") / 2
            local = [[-u, -v, 0.0], [u, -v, 0.0], [u, v, 0.0], [-u, v, 0.0]]
        place = _beside(road, np.array([xml.number(element, "s")]), np.array([xml.number(element, "t")]))[0]
        heading = place[3] + xml.number(element, "hdg", 0.0)
        u, v, z = np.array(local).T
        cos, sin = math.cos(heading), math.sin(heading)
        z = z + xml.number(element, "zOffset", 0.0)
        outline = place[:3] + np.column_stack([u * cos - v * sin, u * sin + v * cos, z])
    closed = len(outline) > 3 and np.linalg.norm(outline[0] - outline[-1]) < 1e-3
    return outline[:-1] if closed else outline


def _beside(road: Road, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(n, 4) x, y, z, heading at distance `t` to the left of the reference line."""
    x, y, z, heading, _ = reference_line(road, s, s).T
    return np.column_stack([x - np.sin(heading) * t, y + np.cos(heading) * t, z, heading])
