"""SUMO networks (*.net.xml) to RoadMap. Source: the network format as Eclipse SUMO 1.0 to 1.28 writes it.

Every lane of the file becomes one Lane with its id there, those inside of junctions included; where SUMO cuts these for who
has to wait they are one, with the first part's id. Coordinates are the file's.
Read are shapes, widths, speeds, permissions, connections, lane changes, traffic light programs, priorities and crossings.
Lanes that are not for cars belong to the drivable area only; opposite lanes on one line are each other's twins. A connection
over a gap (in networks without internal lanes) gets a connector of its own, named `from->to`. Ours: kinks of lanes are
rounded, and lanes shorter than 5 cm are bypassed.
Not read: what makes programs wait for traffic, what pedestrians and trains use.
"""

import math
from pathlib import Path

import numpy as np

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.lane_bounds import knots
from gigaflow_env.roads.formats.common.polyline import dense
from gigaflow_env.roads.formats.common.weld import MAX_TURN, successors, weld
from gigaflow_env.roads.formats.sumo.lanes import Net, Strip, read_crosswalks, read_net, twins
from gigaflow_env.roads.formats.sumo.links import Link, junction_of, read_links
from gigaflow_env.roads.formats.sumo.signals import read_signals
from gigaflow_env.roads.road_map import HEADING, Lane, RoadMap

SUFFIX = ".net.xml"


def read(path: Path, program: str | None = None) -> RoadMap:
    """Read a SUMO network; program: name of that of its lights, where there are several.

    Raises MapError naming line and element where it is not valid or has no driving lane.
    """
    root = xml.parse(path, "net", "a SUMO network")
    net = read_net(root)
    links, bridges = read_links(root, net)
    signals, signal_of = read_signals(root, net, links, program)
    lines = {strip.id: strip.line for strip in net.strips.values() if len(strip.line)}
    lines |= {bridge.id: bridge.line for bridge in bridges}
    lines = {name: dense(line) for name, line in _aligned(lines, net, links).items()}
    lines, held = weld(lines, [(link.start, link.end) for link in links])
    ahead = successors(held)
    left, right = _neighbours(net, links)
    both = twins(net)
    lanes = {}
    for strip in net.strips.values():
        if len(strip.line):
            lanes[strip.id] = Lane(
                strip.id,
                knots(lines[strip.id]),
                strip.kind,
                strip.speed,
                ahead.get(strip.id, ()),
                left.get(strip.id),
                right.get(strip.id),
                junction_of(net.edges[strip.edge]) if strip.internal else None,
                signal_of.get(strip.id),
                both.get(strip.id),
            )
    for bridge in bridges:
        lanes[bridge.id] = Lane(
            bridge.id,
            knots(lines[bridge.id]),
            speed=bridge.speed,
            successors=ahead.get(bridge.id, ()),
            junction=bridge.junction,
            signal=signal_of.get(bridge.id),
        )
    return RoadMap(
        name=path.name.removesuffix(SUFFIX),
        lanes=lanes,
        signals=signals,
        crosswalks=read_crosswalks(root),
        left_hand=net.left_hand,
        source=f"SUMO network {path.name}",
    )


def _aligned(lines: dict[str, np.ndarray], net: Net, links: list[Link]) -> dict[str, np.ndarray]:
    """Lines that begin and end inside of junctions in the direction of the lanes outside, where that is not far off.

    The other way round the end of a few metres of connector, a rough drawing of a curve, would bend a long straight street.
    """
    lines = {name: line.copy() for name, line in lines.items()}
    outside = {strip.id for strip in net.strips.values() if not strip.internal}
    for link in links:
        for name, end, other, there in ((link.start, -1, link.end, 0), (link.end, 0, link.start, -1)):
            bend = math.remainder(lines[other][there, HEADING] - lines[name][end, HEADING], 2 * math.pi)
            if name not in outside and other in outside and abs(bend) < MAX_TURN:
                lines[name][end, HEADING] += bend
    return lines


def _neighbours(net: Net, links: list[Link]) -> tuple[dict[str, str], dict[str, str]]:
    """The lanes into which one may change to the left and to the right.

    Inside of junctions these are lanes which neither begin nor end at the same place.
    """
    met: dict[str, set[tuple[str, str]]] = {}
    for link in links:
        met.setdefault(link.end, set()).add(("behind", link.start))
        met.setdefault(link.start, set()).add(("ahead", link.end))
    left: dict[str, str] = {}
    right: dict[str, str] = {}
    for strip in net.strips.values():
        for name, found, step in (("changeLeft", left, 1), ("changeRight", right, -1)):
            other = net.strips.get(f"{strip.edge}_{strip.number + (-step if net.left_hand else step)}")
            if other is None or not _drivable(strip) or not _drivable(other):
                continue
            apart = not (strip.internal and met.get(strip.id, set()) & met.get(other.id, set()))
            if apart and _change_permitted(strip, name):
                found[strip.id] = other.id
    return left, right


def _drivable(strip: Strip) -> bool:
    return strip.kind == "driving" and len(strip.line) > 0


def _change_permitted(strip: Strip, name: str) -> bool:
    given = strip.element.get(name)
    return given is None or any(vehicle in ("passenger", "all") for vehicle in given.split())
