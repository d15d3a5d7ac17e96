"""The lanes and crossings of a SUMO network."""

import math
from typing import NamedTuple

import numpy as np
from lxml import etree

from gigaflow_env.roads import xml_file as xml
from gigaflow_env.roads.polyline import smooth, tidy
from gigaflow_env.roads.source import HEADING, WIDTH, Crosswalk, MapError

DEFAULT_WIDTH = 3.2
"""[m] what SUMO takes where a lane has no width."""
DEFAULT_CROSSING = 4.0
"""[m] the same for crossings."""
CAR = "passenger"
"""The vehicle class whose lanes are driving lanes."""
MOTOR = ("private", "taxi", "bus", "coach", "delivery", "truck", "hov", "evehicle", "motorcycle", "moped", "emergency")
"""Lanes that only some of these may use are paved, but not for cars: bus lanes, for example."""


class Strip(NamedTuple):
    """A lane of an edge."""

    id: str
    edge: str
    index: int  # 0: the lane next to the roadside
    element: etree._Element
    internal: bool  # inside of a junction
    kind: str
    speed: float  # [m/s]
    line: np.ndarray | None  # (points, 5): the columns of Lane.line; None: too short


class Net(NamedTuple):
    edges: dict[str, etree._Element]  # by id, whatever they are
    strips: dict[str, Strip]  # by the id of the lane: what vehicles can drive on
    left_hand: bool


def read_net(root: etree._Element) -> Net:
    """All edges of a network, and their lanes."""
    edges: dict[str, etree._Element] = {}
    strips: dict[str, Strip] = {}
    for edge in root.iterfind("edge"):
        name = xml.text(edge, "id")
        if name in edges:
            raise xml.wrong(edge, f"id {name!r} is used twice")
        edges[name] = edge
        if edge.get("function") in ("crossing", "walkingarea"):
            continue
        for element in edge.iterfind("lane"):
            strip = _strip(element, name, edge.get("function") == "internal")
            if strip.id in strips:
                raise xml.wrong(element, f"id {strip.id!r} is used twice")
            if strip.kind:
                strips[strip.id] = strip
    return Net(edges, strips, root.get("lefthand") in ("true", "1"))


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
        line = _line(lane, DEFAULT_CROSSING)
        if line is not None:
            across = np.column_stack([-np.sin(line[:, HEADING]), np.cos(line[:, HEADING]), np.zeros(len(line))])
            across *= line[:, [WIDTH]] / 2
            name = xml.text(edge, "id")
            found[name] = Crosswalk(name, np.concatenate([line[:, :3] + across, (line[:, :3] - across)[::-1]]))
    return found


def _strip(element: etree._Element, edge: str, internal: bool) -> Strip:
    line, speed = _line(element, DEFAULT_WIDTH), xml.number(element, "speed")
    if speed <= 0:
        raise xml.wrong(element, f"speed={speed}: it must be above 0 m/s")
    return Strip(
        xml.text(element, "id"), edge, xml.integer(element, "index"), element, internal, _kind(element), speed, line
    )


def _kind(element: etree._Element) -> str:
    """Kind of a lane in the RoadMap; empty for those of pedestrians, trains and ships."""
    if permits(element):
        return "driving"
    if any(permits(element, vehicle) for vehicle in MOTOR):
        return "shoulder"
    return "biking" if permits(element, "bicycle") else ""


def _line(element: etree._Element, default: float) -> np.ndarray | None:
    """The lane's line; None: too short."""
    width = xml.number(element, "width", default)
    if width <= 0:
        raise xml.wrong(element, f"width={width}: it must be above 0 m")
    rows = []
    for number, given in enumerate(xml.text(element, "shape").split()):
        try:
            row = [float(part) for part in given.split(",")]
        except ValueError:
            row = []
        if len(row) not in (2, 3) or not all(map(math.isfinite, row)):
            raise xml.wrong(element, f"point {number} of the shape is {given!r}: it must be x,y or x,y,z in metres")
        rows.append(row if len(row) == 3 else [*row, 0.0])
    try:
        points = tidy(np.array(rows).reshape(-1, 3))
    except MapError as error:
        raise xml.wrong(element, f"shape: {error}") from error
    return None if points is None else smooth(points, width)
