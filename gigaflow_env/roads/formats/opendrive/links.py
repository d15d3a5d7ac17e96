"""Which lane ends of OpenDRIVE meet: by the links of lanes and roads, and by the connections of junctions."""

import math
from collections.abc import Callable

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.opendrive.cuts import NO_CUT
from gigaflow_env.roads.formats.opendrive.road import Road, reference_line
from gigaflow_env.roads.import_report import is_strict, left_out
from gigaflow_env.roads.road_map import MapError

ROLES = ("predecessor", "successor")
"""What lies beyond the start of a road or a lane, and beyond its end."""
End = tuple[str, int, int, int]
"""Road id, number of the lane section, lane id, and 0 for the lane's end at the start of the section, 1 for the other."""


def read_joints(root: etree._Element, roads: dict[str, Road]) -> dict[End, list[End]]:
    """Which lane ends meet, without regard to directions: each pair both ways."""
    joints: dict[End, list[End]] = {}

    def join(a: End, b: End) -> None:
        for one, other in ((a, b), (b, a)):
            if other not in joints.setdefault(one, []):
                joints[one].append(other)

    for road in roads.values():
        for number, section in enumerate(road.sections):
            for lane in section.iterfind("*/lane"):
                links = [link for block in lane.iterchildren("link") for link in block]
                for end, role in enumerate(ROLES):
                    for link in links:
                        if link.tag != role:
                            continue
                        try:
                            if (there := beyond(road, number, end, roads)) is not None:
                                other, section_beyond, end_beyond = there
                                here = (road.id, number, xml.integer(lane, "id"), end)
                                join(here, (other, section_beyond, xml.integer(link, "id"), end_beyond))
                        except MapError:  # guarded only where it fails: there are thousands of links
                            with left_out("link", f"{road.id}.{number}.{lane.get('id')} {role}", line=link.sourceline):
                                raise
    for junction in root.iterfind("junction"):
        for connection in junction.iterfind("connection"):
            name = f"junction {junction.get('id')}, connection {connection.get('id')}"
            with left_out("link", name, line=connection.sourceline):
                if junction.get("type") == "virtual":
                    _check_virtual(connection, roads)
                else:
                    _join_connection(junction, connection, roads, join)
    return joints


def beyond(road: Road, number: int, end: int, roads: dict[str, Road]) -> tuple[str, int, int] | None:
    """Road, section and end that lie beyond an end of a section; None: nothing, or a junction."""
    adjacent = number + (1 if end else -1)
    if 0 <= adjacent < len(road.sections):
        return road.id, adjacent, 1 - end
    link = road.element.find(f"link/{ROLES[end]}")
    if link is None or link.get("elementType") == "junction":
        return None
    other = _linked(link, "elementId", roads)
    if link.get("elementS") is not None:
        return _inside(link, other, end)
    return other.id, *_contact(link, other, road, (end,))


def _inside(link: etree._Element, road: Road, end: int) -> tuple[str, int, int]:
    """Road, section and end at the place inside of `road` where a virtual junction leads off it (end 0) or onto it.

    Sections are cut there, see `cuts`. elementDir: the direction of travel on the road.
    """
    s, way = xml.number(link, "elementS"), link.get("elementDir", "+")
    if way not in ("+", "-"):
        raise xml.wrong(link, f"elementDir={way!r} is neither '+' nor '-'")
    behind = int(np.abs(road.bounds - s).argmin())  # the section behind that place
    before = (end == 0) == (way == "+")
    section = behind - 1 if before else behind
    if abs(road.bounds[behind] - s) > NO_CUT or not 0 <= section < len(road.sections):
        raise xml.wrong(link, f"elementS={s}: no lane of road {road.id} {'ends' if before else 'begins'} there")
    return road.id, section, int(before)


def _linked(element: etree._Element, name: str, roads: dict[str, Road]) -> Road:
    if xml.text(element, name) not in roads:
        raise xml.wrong(element, f"{name}={element.get(name)!r}: there is no such road")
    return roads[xml.text(element, name)]


def _contact(element: etree._Element, road: Road, beside: Road, ends: tuple[int, ...] = (0, 1)) -> tuple[int, int]:
    """Section and end of `road` at which `element` touches it; where it doesn't say, the end nearest to `beside`'s ends."""
    point = element.get("contactPoint")
    if point not in ("start", "end"):
        if is_strict():
            raise xml.wrong(element, f"contactPoint={point!r} is neither 'start' nor 'end'")
        _, end = _nearest_ends(beside, ends, road, (0, 1))
        name = ("start", "end")[end]
        what = f"contactPoint={point!r} is neither 'start' nor 'end'"
        xml.fault(element, "reference", what, f"the {name} of road {road.id} touches road {beside.id}: taken")
    else:
        end = int(point == "end")
    return (len(road.sections) - 1) * end, end


def _nearest_ends(one: Road, ends: tuple[int, ...], other: Road, others: tuple[int, ...]) -> tuple[int, int]:
    """Which of the given ends of two roads are nearest to each other."""

    def place(road: Road, end: int) -> tuple[float, float]:
        s = np.array([end * road.length])
        inside = np.clip(s, 1e-3, max(road.length - 1e-3, 1e-3))
        x, y = reference_line(road, s, inside)[0, :2]
        return float(x), float(y)

    pairs = [(math.dist(place(one, a), place(other, b)), a, b) for a in ends for b in others]
    _, a, b = min(pairs)
    return a, b


def _check_virtual(connection: etree._Element, roads: dict[str, Road]) -> None:
    """The links of a connecting road of a virtual junction say where it leads off the main road: one must."""
    road = _linked(connection, "connectingRoad", roads)
    main = _linked(connection, "incomingRoad", roads)
    named = [link for link in road.element.iterfind("link/*") if link.get("elementId") == main.id]
    if not any(link.get("elementS") for link in named):
        raise xml.wrong(connection, f"road {road.id} does not say by elementS where on road {main.id} it begins or ends")


def _join_connection(
    junction: etree._Element, connection: etree._Element, roads: dict[str, Road], join: Callable[[End, End], None]
) -> None:
    links = connection.findall("laneLink")
    if not links:
        return  # see `unsaid_links`
    (incoming, at, incoming_end), (other, section, end) = connected(junction, connection, roads)
    for link in links:
        with left_out("link", f"connection {connection.get('id')}", line=link.sourceline):
            start = (incoming, at, xml.integer(link, "from"), incoming_end)
            join(start, (other, section, xml.integer(link, "to"), end))


def connected(
    junction: etree._Element, connection: etree._Element, roads: dict[str, Road]
) -> tuple[tuple[str, int, int], tuple[str, int, int]]:
    """Road, section and end of both sides of a connection: the incoming road's, and the connecting road's."""
    incoming = _linked(connection, "incomingRoad", roads)
    other = _linked(connection, "connectingRoad" if connection.get("connectingRoad") else "linkedRoad", roads)
    section, end = _contact(connection, other, incoming)
    # A road may touch the same junction with both ends: the connecting road's own link tells which end it is.
    back = other.element.find(f"link/{ROLES[end]}")
    if back is not None and back.get("elementType") == "road" and back.get("elementId") == incoming.id:
        at, incoming_end = _contact(back, incoming, other, (end,))
    else:
        touching = [
            number
            for number, role in enumerate(ROLES)
            for link in incoming.element.iterfind(f"link/{role}")
            if link.get("elementType") == "junction" and link.get("elementId") == junction.get("id")
        ]
        if len(touching) != 1:
            what = f"it is not clear which end of road {incoming.id!r} touches this junction"
            if is_strict():
                raise xml.wrong(connection, what)
            _, incoming_end = _nearest_ends(other, (end,), incoming, (0, 1))
            xml.fault(connection, "reference", what, f"the nearer one taken, its {('start', 'end')[incoming_end]}")
        else:
            incoming_end = touching[0]
        at = (len(incoming.sections) - 1) * incoming_end
    return (incoming.id, at, incoming_end), (other.id, section, end)
