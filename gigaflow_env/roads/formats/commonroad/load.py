"""CommonRoad (*.xml, 2018b and 2020a) to RoadMap. Source: the CommonRoad documentation of its XML format.

A lanelet becomes a Lane with its id; one that vehicles may use both ways has a second one, `id.back`. Read are bounds,
links, neighbours with line markings as permission to change lanes, speed limits (of the lanelet or of its signs), stop and
yield signs, lights and intersections. Ours: without intersections in the file junctions are where lanes overlap; stop lines
inside a lanelet move to its nearer end; lanelets whose bounds do not run side by side are left out with a warning. Not read:
planning problems, the location. Obstacles: see `commonroad_traffic`.
"""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import shapely
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.driving_side import keeps_left
from gigaflow_env.roads.formats.common.junctions import junctions
from gigaflow_env.roads.formats.common.lane_bounds import knots, outline, reversed_line, side_by_side
from gigaflow_env.roads.formats.common.limits import BACK
from gigaflow_env.roads.formats.common.sign_catalogues import LIMITS, STOPS, YIELDS, country, is_one
from gigaflow_env.roads.formats.common.weld import successors, weld
from gigaflow_env.roads.formats.commonroad.obstacles import read_program, read_traffic
from gigaflow_env.roads.formats.commonroad.values import points, speed
from gigaflow_env.roads.import_report import left_out, note_closed
from gigaflow_env.roads.road_map import DEFAULT_SPEED, Crosswalk, Lane, RoadMap, Signal
from gigaflow_env.roads.scenario import Scenario

BUS_LANE = "busLane"
LANELET_TYPES = {
    **dict.fromkeys(("shoulder", "border"), "shoulder"),
    **dict.fromkeys(("parking", "busStop"), "parking"),
    BUS_LANE: "shoulder",
    "bicycleLane": "biking",
    **dict.fromkeys(("sidewalk", "crosswalk", "railway", "tram"), None),
}
"""Lanelet types other than driving lanes; None: not part of the map. Of several types the first of these counts."""

DRIVING_TYPES = (
    "urban", "country", "highway", "interstate", "driveWay", "mainCarriageWay", "accessRamp", "exitRamp", "intersection",
    "restricted", "unknown",
)  # fmt: skip
"""Lanelet types of driving lanes."""
USERS = {
    **dict.fromkeys(("vehicle", "car"), "driving"),
    **dict.fromkeys(("truck", "bus", "taxi", "priorityVehicle", "motorcycle"), "shoulder"),
    "bicycle": "biking",
    **dict.fromkeys(("pedestrian", "train"), None),
}
"""Who may use a lanelet, and what it is if nobody else may: paved, but not for cars, where these are other vehicles."""
SPEEDS = {"interstate": 36.1, "highway": 36.1, "country": 27.8, "driveWay": 2.8}
"""[m/s] by lanelet type, where the file gives no limit; Ours: 130, 100 and 10 km/h."""

MARKS = (
    "", "no_marking", "unknown", "dashed", "solid", "broad_dashed", "broad_solid", "dashed_dashed", "solid_solid",
    "dashed_solid", "solid_dashed", "curb", "lowered_curb",
)  # fmt: skip
"""Line markings of bounds."""
SIGNALS = {"stop": STOPS, "yield": YIELDS}
"""Traffic signs that are signals; the benchmark's name begins with the country, and Zamunda's signs are Germany's."""

Entry = tuple[str, str]
"""Kind of a signal (light, stop or yield) and its id."""


def read(path: Path) -> RoadMap:
    """Read a CommonRoad file. Raises MapError naming line and element where it is not valid or has no driving lane.

    Lanelets whose bounds do not run side by side are left out; the import report names them.
    """
    return _road_map(_parse(path), path)


def read_scenario(path: Path) -> Scenario:
    """The obstacles of a CommonRoad file as recorded traffic. Raises MapError as `read` does, and where there are none."""
    root = _parse(path)
    return read_traffic(root, root.get("benchmarkID") or path.stem, f"CommonRoad file {path.name}")


def _twin(name: str) -> str:
    """Name of the other direction of a lanelet."""
    return name.removesuffix(BACK) if name.endswith(BACK) else name + BACK


def _parse(path: Path) -> etree._Element:
    root = xml.parse(path, "commonRoad", "a CommonRoad file")
    version = root.get("commonRoadVersion")
    if version not in ("2018b", "2020a"):
        what = f"commonRoadVersion={version!r} is neither '2018b' nor '2020a'"
        xml.fault(root, "version", what, "read as 2020a")
    return root


def _road_map(root: etree._Element, path: Path) -> RoadMap:
    lanelets = _by_id(root, "lanelet")
    kinds = {key: _kind(element) for key, element in lanelets.items()}
    lines = _lines(lanelets, kinds)
    ahead = [(a, b) for a, element in lanelets.items() for b in _links(element, lanelets)]
    ahead += [(b + BACK, a + BACK) for a, b in ahead]
    driving = {name for name in lines if kinds[name.removesuffix(BACK)] == "driving"}
    links = list(dict.fromkeys((a, b) for a, b in ahead if a in driving and b in driving))
    welded, held = weld(lines, links)
    leads_to = successors(held)
    signs = _by_id(root, "trafficSign")
    lanes = {}
    for name, line in welded.items():
        element = lanelets[name.removesuffix(BACK)]
        left, right = (None, None) if name.endswith(BACK) else _neighbours(element, lanelets)
        lanes[name] = Lane(
            name,
            knots(line),
            kinds[name.removesuffix(BACK)] or "",
            _speed(element, signs),
            leads_to.get(name, ()),
            left if left in driving and name in driving else None,
            right if right in driving and name in driving else None,
            twin=twin if (twin := _twin(name)) in welded else None,
        )
    lanes = _in_junctions(lanes, root)
    lanes, signals = _with_signals(lanes, welded, lanelets, signs, root)
    on_right, on_left = (_opposite(root, side) for side in ("adjacentRight", "adjacentLeft"))
    return RoadMap(
        name=path.stem,
        lanes=lanes,
        signals=signals,
        crosswalks={crosswalk.id: crosswalk for crosswalk in _crosswalks(lanelets)},
        left_hand=on_right > on_left if on_right or on_left else keeps_left(lanes),
        source=f"CommonRoad file {path.name}, by {root.get('author') or 'unknown'} ({root.get('source') or 'no source'})",
    )


def _by_id(root: etree._Element, tag: str) -> dict[str, etree._Element]:
    found: dict[str, etree._Element] = {}
    for element in root.iterfind(tag):
        with left_out(tag, element.get("id") or ""):
            key = xml.text(element, "id")
            if key in found:
                raise xml.wrong(element, f"id {key!r} is used twice")
            found[key] = element
    return found


def _referred(element: etree._Element, tag: str, known: Iterable[str], what: str) -> list[str]:
    """What an element's children refer to."""
    names = []
    for child in element.iterfind(tag):
        with left_out("reference", f"{element.get('id') or element.tag} {tag}"):
            if (name := xml.text(child, "ref")) not in known:
                raise xml.wrong(child, f"ref={name!r}: there is no such {what}")
            names.append(name)
    return names


def _types(element: etree._Element) -> list[str]:
    return [(child.text or "").strip() for child in element.iterfind("laneletType")]


def _kind(element: etree._Element) -> str | None:
    """Kind of a lanelet by its types, and by its users where these are no vehicles; None: not part of the map."""
    for name in _types(element):
        if name not in LANELET_TYPES and name not in DRIVING_TYPES:
            xml.fault(element, "value", f"laneletType {name!r} is none that there is", "taken for a road")
    types = [name for name in _types(element) if name in LANELET_TYPES]
    kind = LANELET_TYPES[types[0]] if types else "driving"
    users = [USERS[name] for tag in ("userOneWay", "userBidirectional") for name in _users(element, tag)]
    if kind != "driving" and types != [BUS_LANE]:
        return kind
    if "driving" in users or not (users or types):
        return "driving"
    if "shoulder" in users or (types and not users):
        note_closed(element.get("id") or "", element.sourceline)
        return "shoulder"
    return "biking" if "biking" in users else None


def _users(element: etree._Element, tag: str) -> list[str]:
    """Who may use a lanelet one way or both ways."""
    found = []
    for child in element.iterfind(tag):
        name = (child.text or "").strip()
        if name in USERS:
            found.append(name)
        else:
            what = f"<{tag}> {name!r} is none of {', '.join(USERS)}"
            xml.fault(element, "value", what, "left out")
    return found


def _lines(lanelets: dict[str, etree._Element], kinds: dict[str, str | None]) -> dict[str, np.ndarray]:
    """Center lines (rows, 5) in the direction of travel, those of the ways back among them."""
    lines: dict[str, np.ndarray] = {}
    for name, element in lanelets.items():
        if kinds[name] is None:
            continue
        with left_out("lane", name, line=element.sourceline):
            left, right = (points(element, tag) for tag in ("leftBound", "rightBound"))
            if (line := side_by_side(name, left, right, line=element.sourceline)) is not None:
                lines[name] = line
        if name not in lines:
            continue
        if {"vehicle", "car"} & set(_users(element, "userBidirectional")) and kinds[name] == "driving":
            lines[name + BACK] = reversed_line(lines[name])
    return lines


def _links(element: etree._Element, lanelets: dict[str, etree._Element]) -> list[str]:
    _referred(element, "predecessor", lanelets, "lanelet")
    return _referred(element, "successor", lanelets, "lanelet")


def _neighbours(element: etree._Element, lanelets: dict[str, etree._Element]) -> list[str | None]:
    """Lanelets to the left and to the right into which one may change, None where there is none.

    Neighbours must agree that they lie side by side, and no line marking on either's bound may be solid or a curb. Files of
    2018b have no markings.
    """
    found: list[str | None] = []
    for side, back, bound, facing in (
        ("adjacentLeft", "adjacentRight", "leftBound", "rightBound"),
        ("adjacentRight", "adjacentLeft", "rightBound", "leftBound"),
    ):
        beside = None
        for name in _referred(element, side, lanelets, "lanelet"):
            child, other = element.find(side), lanelets[name]
            direction = None if child is None else child.get("drivingDir")
            if direction not in ("same", "opposite"):
                what = f"drivingDir={direction!r} is neither 'same' nor 'opposite'"
                xml.fault(element if child is None else child, "reference", what, "no lane change")
            agreed = [e.get("ref") for e in other.iterfind(back)] == [element.get("id")]
            marks = [_mark(element, bound), _mark(other, facing)]
            solid = any("solid" in mark or "curb" in mark for mark in marks)
            if child is not None and child.get("drivingDir") == "same" and agreed and not solid:
                beside = name
        found.append(beside)
    return found


def _mark(element: etree._Element, bound: str) -> str:
    """The line marking of a bound; one that there is not is reported, and may not be crossed."""
    mark = element.findtext(f"{bound}/lineMarking", "").strip()
    if mark in MARKS:
        return mark
    xml.fault(element, "mark", f"lineMarking {mark!r} of its {bound} is none of {', '.join(MARKS[1:])}", "solid taken")
    return "solid"


def _speed(element: etree._Element, signs: dict[str, etree._Element]) -> float:
    """Limit of a lanelet [m/s]: its own, that of its traffic signs, or the usual one for its type."""
    if element.findtext("speedLimit", "inf").strip() != "inf":
        with left_out("value", f"speedLimit of lanelet {element.get('id')}"):
            limit = speed(element, "speedLimit")
            if limit <= 0:
                raise xml.wrong(element, f"speedLimit={limit} m/s must be above 0")
            return limit
    limits = []
    for name in _referred(element, "trafficSignRef", signs, "traffic sign"):
        for part in signs[name].iterfind("trafficSignElement"):
            code = part.findtext("trafficSignID", "").strip()
            if not code:
                xml.fault(part, "signal", f"traffic sign {name} has no id of its catalogue", "left out")
            if is_one(code, _country(element), LIMITS):
                with left_out("value", f"limit of traffic sign {name}"):  # its additional value is in m/s
                    limits.append(speed(part, "additionalValue"))
    limits = [limit for limit in limits if limit > 0]
    return min(limits) if limits else min((SPEEDS[t] for t in _types(element) if t in SPEEDS), default=DEFAULT_SPEED)


def _in_junctions(lanes: dict[str, Lane], root: etree._Element) -> dict[str, Lane]:
    """Lanes with their junctions: those of the file, or where lanes overlap if it has none."""
    named: dict[str, str] = {}
    for junction in root.iterfind("intersection"):
        for role in ("successorsRight", "successorsStraight", "successorsLeft"):
            for incoming in junction.iterfind("incoming"):
                for name in _referred(incoming, role, lanes, "lanelet"):
                    named |= dict.fromkeys((name, name + BACK), junction.get("id", ""))
    named = _with_crossing(named, junctions(lanes))
    return {name: replace(lane, junction=named.get(name)) for name, lane in lanes.items()}


def _with_crossing(named: dict[str, str], found: dict[str, str]) -> dict[str, str]:
    """Junctions of the lanes that the file names, and of those which lie across them.

    An intersection names only where its incoming lanes lead. Without any name junctions are where lanes cross each other.
    """
    if not named:
        return found
    owner = {found[lane]: junction for lane, junction in named.items() if lane in found}
    return named | {lane: owner[group] for lane, group in found.items() if group in owner and lane not in named}


def _with_signals(
    lanes: dict[str, Lane],
    lines: dict[str, np.ndarray],
    lanelets: dict[str, etree._Element],
    signs: dict[str, etree._Element],
    root: etree._Element,
) -> tuple[dict[str, Lane], dict[str, Signal]]:
    """Lanes with what controls their entries, and the signals that control any: a light before a stop before a yield."""
    lights = _by_id(root, "trafficLight")
    obeyed: dict[str, list[Entry]] = {}
    for name, element in lanelets.items():
        entries = [("light", ref) for ref in _referred(element, "trafficLightRef", lights, "traffic light")]
        for stop in element.iterfind("stopLine"):
            entries += [("light", ref) for ref in _referred(stop, "trafficLightRef", lights, "traffic light")]
            entries += _sign_entries(stop, signs)
        entries += _sign_entries(element, signs)
        if entries and name in lanes and lanes[name].kind == "driving":
            for lane in lanes[name].successors if _stops_at_end(element, lines[name]) else (name,):
                obeyed.setdefault(lane, []).extend(entries)
    rank = ("light", "stop", "yield").index
    chosen = {name: min(entries, key=lambda entry: rank(entry[0])) for name, entries in obeyed.items()}
    programs = {name: read_program(light, root) for name, light in lights.items()}
    signals: dict[str, Signal] = {}
    for name, (kind, ref) in chosen.items():
        program = programs[ref] if kind == "light" else None
        signals.setdefault(ref, Signal(ref, kind, lanes[name].junction or "", program=program))
    return lanes | {name: replace(lanes[name], signal=ref) for name, (_, ref) in chosen.items()}, signals


def _country(element: etree._Element) -> str:
    """The two letters of the scenario's country; empty where its signs are nobody's own."""
    root = element.getroottree().getroot()
    return country(re.sub("^C-", "", root.get("benchmarkID", ""))[:3])


def _sign_entries(element: etree._Element, signs: dict[str, etree._Element]) -> list[Entry]:
    return [
        (kind, name)
        for name in _referred(element, "trafficSignRef", signs, "traffic sign")
        for part in signs[name].iterfind("trafficSignElement")
        for kind, catalogues in SIGNALS.items()
        if is_one(part.findtext("trafficSignID", "").strip(), _country(element), catalogues)
    ]


def _stops_at_end(element: etree._Element, line: np.ndarray) -> bool:
    """Whether one stops at the end of a lanelet rather than at its start: by the points of its stop line, if it has any."""
    stop = element.find("stopLine")
    if stop is None or stop.find("point") is None:
        return True
    ends = np.empty((0, 2))
    with left_out("stop line", f"of lanelet {element.get('id')}"):
        ends = points(element, "stopLine")[:, :2]
    if not len(ends):
        return True
    nearest = shapely.distance(shapely.points(line[:, :2]), shapely.MultiPoint(ends).convex_hull).argmin()
    return bool(nearest >= len(line) / 2)


def _crosswalks(lanelets: dict[str, etree._Element]) -> list[Crosswalk]:
    found = []
    for name, element in lanelets.items():
        if "crosswalk" in _types(element):
            with left_out("crosswalk", name):
                corners = outline(points(element, "leftBound"), points(element, "rightBound"))
                if len(corners) < 3:
                    raise xml.wrong(element, f"crosswalk {name} has no area: both its bounds are one line")
                found.append(Crosswalk(name, corners))
    return found


def _opposite(root: etree._Element, side: str) -> int:
    """How many lanelets have one of the other direction on a side."""
    return Counter(child.get("drivingDir") for child in root.iterfind(f"lanelet/{side}"))["opposite"]
