"""Lanelet2 (*.osm) to RoadMap. Source: the tagging rules of the Lanelet2 library's documentation.

A lanelet becomes a Lane with its id; one that may be used both ways has a second one, `id.back`. Read are bounds (by local_x
and local_y, else by latitude and longitude), links by shared end nodes, lane changes by the markings of shared bounds, speed
limits, crosswalks, and regulatory elements: lights, stop and yield signs, speed limits. Ours: junctions are where lanes
overlap; stop lines inside a lanelet move to its nearer end; lanelets whose bounds do not run side by side are left out with
a warning. Not read: areas such as parking lots, center lines (the bounds say more), rules that depend on the time.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.driving_side import keeps_left
from gigaflow_env.roads.formats.common.junctions import junctions
from gigaflow_env.roads.formats.common.lane_bounds import knots, outline, reversed_line, side_by_side
from gigaflow_env.roads.formats.common.limits import BACK
from gigaflow_env.roads.formats.common.weld import Link, successors, weld
from gigaflow_env.roads.formats.lanelet2.elements import Elements, read_elements
from gigaflow_env.roads.formats.lanelet2.lanelets import (
    Bound,
    Lanelet,
    end_nodes,
    may_cross,
    points,
    read_bounds,
    read_lanelets,
    tell_mark,
    turned,
)
from gigaflow_env.roads.formats.lanelet2.regulations import Rule, at_end, in_order, limit, rules_of
from gigaflow_env.roads.import_report import left_out
from gigaflow_env.roads.road_map import Crosswalk, Lane, RoadMap, Signal

_LANELET = re.compile(rb"""k=["']type["']\s+v=["']lanelet["']|v=["']lanelet["']\s+k=["']type["']""")


def recognises(path: Path) -> bool:
    """Whether an .osm file holds lanelets; without any it is OpenStreetMap's."""
    return _LANELET.search(path.read_bytes().replace(b"\0", b"")) is not None  # UTF-16 has zeros between its letters


class Strip(NamedTuple):
    """A lanelet in one of its directions of travel."""

    lanelet: Lanelet
    left: Bound
    right: Bound
    line: np.ndarray  # (rows, 5): the columns of Lane.line


def read(path: Path) -> RoadMap:
    """Read a Lanelet2 file. Raises MapError naming line and element where it is not valid or has no driving lane.

    Lanelets whose bounds do not run side by side are left out; the import report names them.
    """
    elements = read_elements(xml.parse(path, "osm", "a Lanelet2 file"))
    strips = _strips(read_lanelets(elements), elements)
    links = _links(strips, elements)
    lines, held = weld({name: strip.line for name, strip in strips.items()}, links)
    ahead, beside = successors(held), _neighbours(strips, elements)
    lanes = {
        name: Lane(
            name,
            knots(lines[name]),
            lanelet.kind,
            limit(lanelet, elements),
            ahead.get(name, ()),
            *beside[name],
            twin=_twin(name, strips),
        )
        for name, (lanelet, *_) in strips.items()
    }
    crossing = junctions(lanes)
    lanes = {name: replace(lane, junction=crossing.get(name)) for name, lane in lanes.items()}
    lanes, signals = _with_signals(lanes, strips, elements)
    origin = elements.origin
    place = "" if origin is None else f", x = y = 0 at latitude {origin.latitude:.9f}, longitude {origin.longitude:.9f}"
    return RoadMap(
        name=path.stem,
        lanes=lanes,
        signals=signals,
        crosswalks={crosswalk.id: crosswalk for crosswalk in _crosswalks(elements)},
        left_hand=_left_hand(strips, lanes),
        source=f"Lanelet2 file {path.name}{place}",
    )


def _strips(lanelets: list[Lanelet], elements: Elements) -> dict[str, Strip]:
    strips = {}
    for lanelet in lanelets:
        left, right = lanelet.left, lanelet.right
        bounds = points(left, elements.ways), points(right, elements.ways)
        if (line := side_by_side(lanelet.id, *bounds, line=lanelet.relation.element.sourceline)) is None:
            continue
        strips[lanelet.id] = Strip(lanelet, left, right, line)
        if lanelet.both and lanelet.kind == "driving":
            strips[lanelet.id + BACK] = Strip(lanelet, turned(right), turned(left), reversed_line(line))
    return strips


def _twin(name: str, strips: dict[str, Strip]) -> str | None:
    """The lane of the other direction on the same lanelet."""
    twin = name.removesuffix(BACK) if name.endswith(BACK) else name + BACK
    return twin if twin in strips else None


def _links(strips: dict[str, Strip], elements: Elements) -> list[Link]:
    """Driving lanes of which the second begins between the two nodes where the first ends."""
    begin: dict[tuple[str, str], list[str]] = {}
    end: dict[str, tuple[str, str]] = {}
    for name, strip in strips.items():
        if strip.lanelet.kind == "driving":
            ends = zip(end_nodes(strip.left, elements.ways), end_nodes(strip.right, elements.ways), strict=True)
            start, end[name] = ends
            begin.setdefault(start, []).append(name)
    return [(name, other) for name, nodes in end.items() for other in begin.get(nodes, ())]


def _neighbours(strips: dict[str, Strip], elements: Elements) -> dict[str, tuple[str | None, str | None]]:
    """Lanes to the left and to the right of each lane into which one may change: they share a bound and its direction."""
    on_left: dict[Bound, str] = {}
    on_right: dict[Bound, str] = {}
    for name, strip in strips.items():
        if strip.lanelet.kind == "driving":
            on_left.setdefault(strip.left, name)
            on_right.setdefault(strip.right, name)
    found = {}
    for name, strip in strips.items():
        left = on_right.get(strip.left) if on_left.get(strip.left) == name else None
        right = on_left.get(strip.right) if on_right.get(strip.right) == name else None
        for beside, bound in ((left, strip.left), (right, strip.right)):
            if beside is not None:
                tell_mark(bound.way, elements.ways[bound.way])
        # The way's own left is the lane's right where they run against each other.
        to_left = may_cross(elements.ways[strip.left.way], leftwards=strip.left.forward)
        to_right = may_cross(elements.ways[strip.right.way], leftwards=not strip.right.forward)
        found[name] = left if to_left else None, right if to_right else None
    return found


def _with_signals(
    lanes: dict[str, Lane], strips: dict[str, Strip], elements: Elements
) -> tuple[dict[str, Lane], dict[str, Signal]]:
    """Lanes with what controls their entries, and the signals that control any: a light before a stop before a yield."""
    obeyed: dict[str, list[Rule]] = {}
    for lanelet in {strip.lanelet.id: strip.lanelet for strip in strips.values()}.values():
        # A signal is meant for a lanelet's own direction, also where it may be used the other way.
        for rule in rules_of(lanelet, elements) if lanelet.kind == "driving" else ():
            lane = lanes[lanelet.id]
            for name in lane.successors if at_end(rule, strips[lanelet.id].line) else (lane.id,):
                obeyed.setdefault(name, []).append(rule)
    chosen = {name: in_order(rules)[0] for name, rules in obeyed.items()}
    signals: dict[str, Signal] = {}
    for name, rule in chosen.items():
        signals.setdefault(rule.id, Signal(rule.id, rule.kind, lanes[name].junction or ""))
    return lanes | {name: replace(lanes[name], signal=rule.id) for name, rule in chosen.items()}, signals


def _crosswalks(elements: Elements) -> list[Crosswalk]:
    found = []
    for relation in elements.relations.values():
        if relation.tags.get("type") == "lanelet" and relation.tags.get("subtype") == "crosswalk":
            with left_out("crosswalk", relation.id):
                left, right = read_bounds(relation, elements.ways)
                corners = outline(points(left, elements.ways), points(right, elements.ways))
                if len(corners) < 3:
                    raise xml.wrong(relation.element, f"crosswalk {relation.id} has no area: both its bounds are one line")
                found.append(Crosswalk(relation.id, corners))
    return found


def _left_hand(strips: dict[str, Strip], lanes: dict[str, Lane]) -> bool:
    """Whether opposite lanes lie more often on each other's right than on each other's left: by shared bounds, if any."""
    one_way = [strip for strip in strips.values() if strip.lanelet.kind == "driving" and not strip.lanelet.both]
    lefts, rights = {strip.left for strip in one_way}, {strip.right for strip in one_way}
    right, left = (sum(turned(bound) in bounds for bound in bounds) for bounds in (rights, lefts))
    return right > left if right or left else keeps_left(lanes)
