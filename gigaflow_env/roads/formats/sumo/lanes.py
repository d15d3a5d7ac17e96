"""The lanes and crossings of a SUMO network."""

import math
import re
from typing import NamedTuple

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.polyline import rounded, smooth, tidy
from gigaflow_env.roads.import_report import left_out, note_closed
from gigaflow_env.roads.road_map import DEFAULT_SPEED, HEADING, WIDTH, Crosswalk, MapError

DEFAULT_WIDTH = 3.2
"""[m] what SUMO takes where a lane has no width."""
DEFAULT_CROSSING = 4.0
"""[m] the same for crossings."""
MAX_WIDTH = 100.0
"""[m] Ours: what is wider is a mistake."""
SAME_LINE = 0.5
"""[m] Ours: lanes of opposite edges whose ends lie nearer to each other are one surface."""
CAR = "passenger"
"""The vehicle class whose lanes are driving lanes."""
CLASSES = (
    "all", "ignoring", "private", "emergency", "authority", "army", "vip", "pedestrian", "passenger", "hov", "taxi", "bus",
    "coach", "delivery", "truck", "trailer", "motorcycle", "moped", "bicycle", "evehicle", "tram", "rail_urban", "rail",
    "rail_electric", "rail_fast", "rail_slow", "lightrail", "cityrail", "subway", "cable_car", "ship", "container",
    "aircraft", "drone", "wheelchair", "scooter", "custom1", "custom2",
)  # fmt: skip
"""Vehicle classes of SUMO, with the names that they had before."""
FUNCTIONS = ("normal", "connector", "internal", "crossing", "walkingarea")
"""What an edge may be."""
MOTOR = ("private", "taxi", "bus", "coach", "delivery", "truck", "hov", "evehicle", "motorcycle", "moped", "emergency")
"""Lanes that only some of these may use are paved, but not for cars: bus lanes, for example."""


class Strip(NamedTuple):
    """A lane of an edge."""

    id: str
    edge: str
    number: int  # 0: the lane next to the roadside
    element: etree._Element
    internal: bool  # inside of a junction
    kind: str
    speed: float  # [m/s]
    line: np.ndarray  # (points, 5): the columns of Lane.line; without rows where the lane is too short


class Net(NamedTuple):
    """What the network declares."""

    edges: dict[str, etree._Element]  # by id, whatever they are
    strips: dict[str, Strip]  # by the id of the lane: what vehicles can drive on
    whole: dict[str, str]  # id of a lane -> the strip that it is, or is a part of
    left_hand: bool


def read_net(root: etree._Element) -> Net:
    """All edges of a network, and their lanes.

    Inside of junctions SUMO cuts lanes where who turns has to wait. Such lanes are whole here, with the first part's id.
    """
    edges: dict[str, etree._Element] = {}
    lanes: dict[str, tuple[etree._Element, np.ndarray]] = {}
    for edge in root.iterfind("edge"):
        with left_out("edge", edge.get("id") or ""):
            name = xml.text(edge, "id")
            if name in edges:
                raise xml.wrong(edge, f"id {name!r} is used twice")
            edges[name] = edge
            _function(edge, name)
            if edge.get("function") not in ("crossing", "walkingarea"):
                for element in edge.iterfind("lane"):
                    with left_out("lane", element.get("id") or f"of edge {name}"):
                        lane = _lane_id(element, name)
                        if lane in lanes:
                            raise xml.wrong(element, f"id {lane!r} is used twice")
                        tell_classes(element)
                        if _kind(element):
                            lanes[lane] = element, _points(element)
    rest = _rest(root)
    later = set(rest.values())
    strips: dict[str, Strip] = {}
    whole: dict[str, str] = {}
    for name, (first, points) in lanes.items():
        if name in later or not _kind(first):
            continue
        part = whole[name] = name
        while (part := rest.get(part, "")) in lanes:
            whole[part] = name
            points = np.concatenate([points[:-1], lanes[part][1][1:]])  # where it is cut says nothing about the curve
        with left_out("lane", name):
            strips[name] = _strip(first, points)
    whole = {part: name for part, name in whole.items() if name in strips}
    return Net(edges, strips, whole, xml.word(root, "lefthand", ("true", "1", "false", "0"), "false") in ("true", "1"))


def twins(net: Net) -> dict[str, str]:
    """The lane of the other direction on the same surface, by lane: where two edges are drawn on one line (`bidi`)."""
    found: dict[str, str] = {}
    driving: dict[str, list[Strip]] = {}
    for strip in net.strips.values():
        if strip.kind == "driving" and len(strip.line) and net.edges[strip.edge].get("bidi") is not None:
            driving.setdefault(strip.edge, []).append(strip)
    for edge, strips in driving.items():
        for strip in strips:
            for other in driving.get(net.edges[edge].get("bidi", ""), ()):
                apart = strip.line[[0, -1], :3] - other.line[[-1, 0], :3]
                if np.linalg.norm(apart, axis=1).max() < SAME_LINE:
                    found[strip.id] = other.id
    return {name: other for name, other in found.items() if found.get(other) == name}


def _function(edge: etree._Element, name: str) -> None:
    """Say what an edge inside of a junction is where it doesn't: ids that begin with a colon are theirs, and tell."""
    if not name.startswith(":"):
        xml.word(edge, "function", FUNCTIONS, "normal")
    if name.startswith(":") and edge.get("function") not in ("internal", "crossing", "walkingarea"):
        kind = re.match(r"[cw]?", name.rpartition("_")[2])
        found = {"c": "crossing", "w": "walkingarea", "": "internal"}[kind[0] if kind else ""]
        xml.fault(edge, "edge", f"function={edge.get('function')!r} of an edge in a junction", f"{found} taken")
        edge.set("function", found)


def _lane_id(element: etree._Element, edge: str) -> str:
    """Id of a lane: its edge's and its number there. The attribute `index` says the same, and wrongly in some files."""
    lane = xml.text(element, "id")
    if not re.fullmatch(re.escape(edge) + r"_\d+", lane):
        raise xml.wrong(element, f"id {lane!r}: it must be that of its edge, {edge!r}, and a number")
    return lane


def tell_classes(element: etree._Element) -> None:
    """Report words of a lane or connection that are no vehicle class: nobody is meant by them."""
    for name in ("allow", "disallow", "changeLeft", "changeRight"):
        for given in element.get(name, "").split():
            if given not in CLASSES:
                xml.fault(element, "value", f"{name} names {given!r}, which is no vehicle class", "nobody is meant by it")


def permits(element: etree._Element, vehicle: str = CAR) -> bool:
    """Whether a lane or connection is open to a class of vehicles."""
    allowed, forbidden = (element.get(name, "").split() for name in ("allow", "disallow"))
    if allowed:
        return vehicle in allowed or "all" in allowed
    return not (vehicle in forbidden or "all" in forbidden)


def read_crosswalks(root: etree._Element) -> dict[str, Crosswalk]:
    """Crossings of pedestrians, by the ids of their edges."""
    found = {}
    for edge in root.iterfind("edge"):
        lane = edge.find("lane")
        if edge.get("function") != "crossing" or lane is None:
            continue
        line = np.empty((0, 5))
        with left_out("crosswalk", edge.get("id") or ""):
            line = _line(lane, _points(lane), DEFAULT_CROSSING)
            xml.text(edge, "id")
        if len(line):
            across = np.column_stack([-np.sin(line[:, HEADING]), np.cos(line[:, HEADING]), np.zeros(len(line))])
            across *= line[:, [WIDTH]] / 2
            name = xml.text(edge, "id")
            found[name] = Crosswalk(name, np.concatenate([line[:, :3] + across, (line[:, :3] - across)[::-1]]))
    return found


def _rest(root: etree._Element) -> dict[str, str]:
    """Lane inside of a junction -> the lane there which is its second part; each is the second part of one lane only."""
    before: dict[str, str] = {}
    for element in root.iterfind("connection"):
        via, start = element.get("via"), element.get("from", "")
        if via is not None and start.startswith(":"):
            before.setdefault(via, f"{start}_{element.get('fromLane')}")
    return {first: second for second, first in before.items()}


def _strip(element: etree._Element, points: np.ndarray) -> Strip:
    speed = 0.0
    with left_out("value", f"speed of lane {element.get('id')}"):
        speed = xml.number(element, "speed")
        if speed <= 0:
            raise xml.wrong(element, f"speed={speed}: it must be above 0 m/s")
    if speed <= 0:
        speed = DEFAULT_SPEED
    edge, _, index = xml.text(element, "id").rpartition("_")
    internal = element.getparent().get("function") == "internal"
    line, kind = _line(element, points, DEFAULT_WIDTH), _kind(element)
    if kind == "shoulder" and not internal:
        note_closed(xml.text(element, "id"), element.sourceline)
    return Strip(f"{edge}_{index}", edge, int(index), element, internal, kind, speed, line)


def _kind(element: etree._Element) -> str:
    """Kind of a lane in the RoadMap; empty for those of pedestrians, trains and ships."""
    if permits(element):
        return "driving"
    if any(permits(element, vehicle) for vehicle in MOTOR):
        return "shoulder"
    return "biking" if permits(element, "bicycle") else ""


def _line(element: etree._Element, points: np.ndarray, default: float) -> np.ndarray:
    """The line of a lane with these points, `default` metres wide if it does not say; without rows if it is too short."""
    width = xml.number(element, "width", default)
    if not 0 < width <= MAX_WIDTH:
        raise xml.wrong(element, f"width={width}: it must be above 0 m and at most {MAX_WIDTH} m")
    try:
        tidied = tidy(points)
    except MapError as error:
        raise xml.wrong(element, f"shape: {error}") from error
    if tidied is None:
        return np.empty((0, 5))
    # Inside of junctions a few points far apart mean a curve, on streets a corner.
    return smooth(tidied if element.getparent().get("function") == "internal" else rounded(tidied), width)


def _points(element: etree._Element) -> np.ndarray:
    """Points (n, 3) of a lane's shape."""
    rows = []
    for number, given in enumerate(xml.text(element, "shape").split()):
        try:
            row = [float(part) for part in given.split(",")]
        except ValueError:
            row = []
        if len(row) not in (2, 3) or not all(map(math.isfinite, row)):
            raise xml.wrong(element, f"point {number} of the shape is {given!r}: it must be x,y or x,y,z in metres")
        rows.append(row if len(row) == 3 else [*row, 0.0])
    return np.array(rows).reshape(-1, 3)
