"""How the lanes of a SUMO network lead into each other, and connectors where the file has none."""

import math
from typing import NamedTuple

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.weld import MAX_GAP
from gigaflow_env.roads.formats.sumo.lanes import Net, Strip, permits, tell_classes
from gigaflow_env.roads.import_report import fault, left_out
from gigaflow_env.roads.road_map import HEADING, WIDTH

STATES = "M m = s w o O - Z a t G g y Y r u".split()
"""What a connection may be: with priority, without, stop, all-way stop, switched off, dead end, zipper, light."""
MAX_TURN = math.radians(120)
"""Ours: no connector is made where it would begin or end at a larger angle to its lanes."""


class Link(NamedTuple):
    """A way from lane to lane."""

    start: str  # lane
    end: str  # lane that begins where `start` ends
    connections: tuple[etree._Element, ...]  # what says so; several where a lane between them is too short


class Bridge(NamedTuple):
    """A connector that the file does not have."""

    id: str
    line: np.ndarray  # (2, 5): the columns of Lane.line
    speed: float  # [m/s]
    junction: str


def junction_of(edge: etree._Element) -> str:
    """The junction that an internal edge belongs to, or at whose entry an ordinary edge ends."""
    name = xml.text(edge, "id")
    return name[1:].rpartition("_")[0] if edge.get("function") == "internal" else edge.get("to", "")


def read_links(root: etree._Element, net: Net) -> tuple[list[Link], list[Bridge]]:
    """Links between driving lanes, and the connectors that had to be made for some of them."""
    ahead = _connections(root, net)
    links: list[Link] = []
    bridges: dict[str, Bridge] = {}
    for strip in net.strips.values():
        if not len(strip.line):
            continue
        for end, connections in _reached(strip.id, ahead, net).items():
            other = net.strips[end]
            if np.linalg.norm(strip.line[-1, :3] - other.line[0, :3]) <= MAX_GAP:
                links.append(Link(strip.id, end, connections))
            elif (bridge := _bridge(strip, other, net)) is not None:
                bridges[bridge.id] = bridge
                links += [Link(strip.id, bridge.id, connections), Link(bridge.id, end, ())]
            else:
                gap = float(np.linalg.norm(strip.line[-1, :3] - other.line[0, :3]))
                place = float(strip.line[-1, 0]), float(strip.line[-1, 1])
                what = f"{gap:.2f} m between the ends, which no connector can join"
                fault("link", f"{strip.id} to {end}", what, "left out", place=place, amount=round(gap, 3), unit="m")
    return links, list(bridges.values())


def _connections(root: etree._Element, net: Net) -> dict[str, list[tuple[str, etree._Element]]]:
    """Which driving lanes the file says to follow each driving lane, and the connection that says so."""
    ahead: dict[str, list[tuple[str, etree._Element]]] = {}
    known = {lane.get("id") for edge in net.edges.values() for lane in edge}
    for element in root.iterfind("connection"):
        name = f"connection from {element.get('from')} to {element.get('to')}"
        with left_out("link", name, line=element.sourceline):
            ends = [f"{xml.text(element, edge)}_{xml.integer(element, f'{edge}Lane')}" for edge in ("from", "to")]
            for role, lane in zip(("from", "to"), ends, strict=True):
                if lane not in known:
                    raise xml.wrong(element, f"{role}={element.get(role)!r}: there is no lane {lane!r}")
            if (via := element.get("via", ends[1])) in known:
                ends[1] = via
            else:
                xml.fault(
                    element, "link", f"via={via!r}: there is no lane {via!r}", "a connector is made", **_place(ends, net)
                )
            start, end = (net.strips.get(net.whole.get(lane, "")) for lane in ends)
            if start is None or end is None or start is end or start.kind != "driving" or end.kind != "driving":
                continue  # pedestrians and trains, and the parts of one lane
            tell_classes(element)
            xml.word(element, "state", STATES, "M")
            if permits(element):
                ahead.setdefault(start.id, []).append((end.id, element))
    return ahead


def _place(ends: list[str], net: Net) -> dict[str, tuple[float, float]]:
    """Where the first of two lanes ends, as an entry of the report has it."""
    strip = net.strips.get(net.whole.get(ends[0], ""))
    return {} if strip is None or not len(strip.line) else {"place": (float(strip.line[-1, 0]), float(strip.line[-1, 1]))}


def _reached(
    start: str, ahead: dict[str, list[tuple[str, etree._Element]]], net: Net
) -> dict[str, tuple[etree._Element, ...]]:
    """Lanes with a line that follow a lane, over those which are too short to have one, with the connections taken."""
    reached: dict[str, tuple[etree._Element, ...]] = {}
    ways: list[tuple[str, tuple[etree._Element, ...]]] = [(start, ())]
    seen = {start}
    for lane, connections in ways:  # grows while we go
        for end, element in ahead.get(lane, ()):
            if len(net.strips[end].line):
                reached.setdefault(end, (*connections, element))
            elif end not in seen:
                seen.add(end)
                ways.append((end, (*connections, element)))
    return reached


def _bridge(strip: Strip, other: Strip, net: Net) -> Bridge | None:
    """A connector from the end of a lane to the start of another one; None where it would turn too far."""
    line = np.array([strip.line[-1], other.line[0]])
    chord = line[1, :2] - line[0, :2]
    turns = [math.remainder(math.atan2(chord[1], chord[0]) - heading, 2 * math.pi) for heading in line[:, HEADING]]
    if max(map(abs, turns)) > MAX_TURN:
        return None
    line[1, HEADING] = line[0, HEADING] + turns[0] - turns[1]
    line[:, WIDTH] = strip.line[-1, WIDTH], other.line[0, WIDTH]
    speed = min(strip.speed, other.speed)
    return Bridge(f"{strip.id}->{other.id}", line, speed, junction_of(net.edges[strip.edge]))
