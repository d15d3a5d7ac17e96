"""OpenDRIVE (*.xodr) to RoadMap. Source: ASAM OpenDRIVE 1.4 to 1.8.

A lane of a lane section becomes one Lane, named `road.section.lane`; where it may be used both ways there is a second one,
`road.section.lane.back`. Read are plan view, lane offset, widths and borders, elevation, links, junctions (common and
direct), speed limits, road marks as permission to change lanes, crosswalks, and the traffic lights, stop and yield signs of
junctions. Ours: lanes end where they get narrower than MIN_WIDTH, and lanes shorter than MIN_LENGTH are bypassed. Not read:
superelevation, lane height, virtual junctions, signals away from junctions, signal programs, the geo reference.
"""

import math
import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
from lxml import etree

from gigaflow_env.roads.source import HEADING, WIDTH, Crosswalk, Lane, MapError, RoadMap, Signal, X, Y, Z, fit, validate

KINDS = {
    **dict.fromkeys(("driving", "entry", "exit", "onRamp", "offRamp", "connectingRamp", "slipLane"), "driving"),
    **dict.fromkeys(("bidirectional", "bus", "taxi", "HOV"), "driving"),
    **dict.fromkeys(("shoulder", "stop"), "shoulder"),  # a stop lane is the hard shoulder of a motorway
    "parking": "parking",
    "biking": "biking",
}
"""Lane types that cars can drive on. The others (sidewalk, border, median, none, ...) are not part of the map."""

SIGNALS = {
    **dict.fromkeys(("1000001", "1000009", "1000010", "1000011", "1000012"), "light"),  # for vehicles: round or arrows
    "205": "yield",
    "206": "stop",
}
"""Signal types of the OpenDRIVE catalogue. Pedestrian, bicycle and tram lights are left out."""

UNITS = {"m/s": 1.0, "km/h": 1 / 3.6, "mph": 0.44704}
DEFAULT_SPEED = 13.9
"""[m/s] 50 km/h, where neither a lane nor its road nor what it is linked to has a limit."""

SPACING = 0.5
"""[m] distance of the points to which the centre lines are fitted."""
MIN_WIDTH = 0.1
"""[m] Ours: narrower parts at the ends of a lane are cut off, they'd give degenerate quads."""
MIN_LENGTH = 0.05
"""[m] shorter lanes are bypassed: their neighbours are linked directly."""
MAX_GAP = 0.3
"""[m] Ours: lanes whose ends are farther apart are not linked, whatever the file says: nobody can drive over the gap."""
SIGNAL_REACH = 30.0
"""[m] Ours: a signal that stands on an ordinary road governs the junction ahead if it is nearer than this to it."""

Key = tuple[str, int, int]
"""Road id, number of the lane section, lane id."""
End = tuple[str, int, int, int]
"""A Key and 0 for the lane's end at the start of the section, 1 for the other."""


def load(path: str | os.PathLike[str]) -> RoadMap:
    """Read an OpenDRIVE file. Raises MapError naming file, line and element where it is not valid or has no driving lane."""
    path = Path(path)
    try:
        road_map = _road_map(_parse(path), path)
        validate(road_map)
    except MapError as error:
        raise MapError(f"{path}: {error}") from error
    return road_map


def _road_map(root: etree._Element, path: Path) -> RoadMap:
    roads: dict[str, Road] = {}
    for element in root.iterfind("road"):
        road = _road(element)
        if road.id in roads:
            raise _wrong(element, f"id {road.id!r} is used twice")
        roads[road.id] = road
    strips = {strip.key: strip for road in roads.values() for strip in _strips(road)}
    lanes = _with_speeds(_lanes(strips, _joints(root, roads)), strips)
    lanes, signals = _with_signals(lanes, strips, roads, root)
    header = root.find("header")
    vendor = "" if header is None else header.get("vendor", "")
    return RoadMap(
        name=path.stem,
        lanes=lanes,
        signals=signals,
        crosswalks={crosswalk.id: crosswalk for road in roads.values() for crosswalk in _crosswalks(road)},
        left_hand=2 * sum(road.left_hand for road in roads.values()) > len(roads),
        source=f"OpenDRIVE file {path.name}" + (f" ({vendor})" if vendor else ""),
    )


# Reading XML


def _parse(path: Path) -> etree._Element:
    data = path.read_bytes()
    if b"<!ENTITY" in data:
        raise MapError("the file declares XML entities; a map has none")
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True, huge_tree=True, remove_comments=True)
    try:
        root = etree.fromstring(data, parser)
    except etree.XMLSyntaxError as error:
        raise MapError(f"not well-formed XML: {error.msg}") from error
    for element in root.iter(etree.Element):
        if element.tag.startswith("{"):
            element.tag = etree.QName(element).localname
    if root.tag != "OpenDRIVE":
        raise _wrong(root, "the root element of an OpenDRIVE file is <OpenDRIVE>")
    return root


def _wrong(element: etree._Element, what: str) -> MapError:
    return MapError(f"line {element.sourceline}: <{element.tag}>: {what}")


def _text(element: etree._Element, name: str) -> str:
    given = element.get(name)
    if given is None:
        raise _wrong(element, f"attribute {name!r} is missing")
    return given


def _number(element: etree._Element, name: str, default: float | None = None) -> float:
    if default is not None and element.get(name) is None:
        return default
    given = _text(element, name)
    try:
        number = float(given)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise _wrong(element, f"{name}={given!r} is not a finite number")
    return number


def _integer(element: etree._Element, name: str) -> int:
    given = _text(element, name)
    try:
        return int(given)
    except ValueError as error:
        raise _wrong(element, f"{name}={given!r} is not a whole number") from error


# The reference line


class Cubics(NamedTuple):
    """A piecewise cubic a + b d + c d^2 + d d^3 of the distance d from each piece's start."""

    starts: np.ndarray  # (pieces,) [m] along the road
    abcd: np.ndarray  # (pieces, 4)


def _cubics(elements: list[etree._Element], start_name: str, origin: float = 0.0) -> Cubics:
    rows = [[origin + _number(e, start_name), *(_number(e, name) for name in "abcd")] for e in elements]
    table = np.array(sorted(rows, key=lambda row: row[0]), np.float64).reshape(-1, 5)
    return Cubics(table[:, 0], table[:, 1:])


def _piece(starts: np.ndarray, inside: np.ndarray) -> np.ndarray:
    return np.maximum(np.searchsorted(starts, inside, side="right") - 1, 0)


def _value_slope(cubics: Cubics, s: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope at `s`, of the pieces that hold at `inside`; 0 where there are no pieces."""
    if not len(cubics.starts):
        return np.zeros_like(s), np.zeros_like(s)
    k = _piece(cubics.starts, inside)
    (a, b, c, d), x = cubics.abcd[k].T, s - cubics.starts[k]
    return a + x * (b + x * (c + x * d)), b + x * (2 * c + x * 3 * d)


class Geometry(NamedTuple):
    """A piece of the reference line; `local` gives (n, 4) x, y, heading, curvature at distances from its start."""

    s: float
    x: float
    y: float
    heading: float
    local: Callable[[np.ndarray], np.ndarray]


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)


def _clothoid(distance: np.ndarray, start: float, slope: float) -> np.ndarray:
    """Line, arc and spiral: the curvature is start + slope * distance. Gauss-Legendre, panels of at most 1 rad."""
    longest = float(np.abs(distance).max())
    panels = max(1, math.ceil(longest * (abs(start) + abs(slope) * longest)))
    at = distance[:, None] * ((np.arange(panels)[:, None] + (_NODES + 1) / 2) / panels).ravel()
    angle = at * (start + slope * at / 2)
    weights = np.tile(_WEIGHTS, panels) / (2 * panels)
    x, y = distance * (np.cos(angle) @ weights), distance * (np.sin(angle) @ weights)
    return np.column_stack([x, y, distance * (start + slope * distance / 2), start + slope * distance])


def _polynomial(
    distance: np.ndarray, u: tuple[float, ...], v: tuple[float, ...], end: float, length: float, rescale: bool
) -> np.ndarray:
    """Curve u(p), v(p), p in 0..end, by arc length. rescale: the end of the curve is at `length`, whatever it measures."""
    value, derivative = np.polynomial.polynomial.polyval, np.polynomial.polynomial.polyder
    du, dv = derivative(u), derivative(v)

    def arc(low: np.ndarray, high: np.ndarray) -> np.ndarray:
        p = low[:, None] + (high - low)[:, None] * (_NODES + 1) / 2
        return np.hypot(value(p, du), value(p, dv)) @ _WEIGHTS * (high - low) / 2

    knots = np.linspace(0.0, end, max(64, math.ceil(4 * length)) + 1)
    along = np.concatenate([[0.0], np.cumsum(arc(knots[:-1], knots[1:]))])
    target = distance * (along[-1] / length if rescale else 1.0)
    k = np.clip(np.searchsorted(along, target, side="right") - 1, 0, len(knots) - 2)
    p = np.interp(target, along, knots)
    p += (target - along[k] - arc(knots[k], p)) / np.maximum(np.hypot(value(p, du), value(p, dv)), 1e-9)  # Newton
    x, y, dx, dy = value(p, u), value(p, v), value(p, du), value(p, dv)
    curvature = (dx * value(p, derivative(dv)) - dy * value(p, derivative(du))) / np.maximum(np.hypot(dx, dy), 1e-9) ** 3
    return np.column_stack([x, y, np.arctan2(dy, dx), curvature])


def _geometry(element: etree._Element) -> Geometry:
    length = _number(element, "length")
    shape = next(iter(element), None)
    if shape is None or not length > 0:
        raise _wrong(element, f"length={length}: a geometry has a length above 0 and a shape inside")
    if shape.tag == "line":
        local = partial(_clothoid, start=0.0, slope=0.0)
    elif shape.tag == "arc":
        local = partial(_clothoid, start=_number(shape, "curvature"), slope=0.0)
    elif shape.tag == "spiral":
        start, end = _number(shape, "curvStart"), _number(shape, "curvEnd")
        local = partial(_clothoid, start=start, slope=(end - start) / length)
    elif shape.tag == "poly3":
        v = tuple(_number(shape, name) for name in "abcd")
        local = partial(_polynomial, u=(0.0, 1.0), v=v, end=length, length=length, rescale=False)
    elif shape.tag == "paramPoly3":
        u, v = (tuple(_number(shape, name + axis) for name in "abcd") for axis in "UV")
        end = length if shape.get("pRange") == "arcLength" else 1.0
        local = partial(_polynomial, u=u, v=v, end=end, length=length, rescale=True)
    else:
        raise _wrong(shape, "unknown shape; known are line, arc, spiral, poly3, paramPoly3")
    return Geometry(*(_number(element, name) for name in ("s", "x", "y", "hdg")), local)


class Road(NamedTuple):
    element: etree._Element
    id: str
    length: float
    junction: str | None
    left_hand: bool
    geometries: list[Geometry]
    elevation: Cubics
    offset: Cubics
    sections: list[etree._Element]
    bounds: np.ndarray  # (sections + 1,) [m] along the road


def _road(element: etree._Element) -> Road:
    length, junction = _number(element, "length"), element.get("junction", "-1")
    geometries = sorted(map(_geometry, element.iterfind("planView/geometry")), key=lambda geometry: geometry.s)
    sections = element.findall("lanes/laneSection")
    if not geometries or not sections:
        raise _wrong(element, "a road needs a planView with geometry, and lanes with a laneSection")
    bounds = np.array([*(_number(section, "s") for section in sections), length])
    if (np.diff(bounds) < 0).any():
        wrong = sections[int(np.argmax(np.diff(bounds) < 0))]
        raise _wrong(wrong, f"s={wrong.get('s')}: sections must be in order and within the road's length {length}")
    return Road(
        element=element,
        id=_text(element, "id"),
        length=length,
        junction=None if junction == "-1" else junction,
        left_hand=element.get("rule", "RHT") == "LHT",
        geometries=geometries,
        elevation=_cubics(element.findall("elevationProfile/elevation"), "s"),
        offset=_cubics(element.findall("lanes/laneOffset"), "s"),
        sections=sections,
        bounds=bounds,
    )


def _reference(road: Road, s: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(n, 5) x, y, z, heading, curvature of the reference line."""
    points = np.empty((len(s), 5))
    k = _piece(np.array([geometry.s for geometry in road.geometries]), inside)
    for number in np.unique(k):
        geometry, rows = road.geometries[number], k == number
        x, y, heading, curvature = geometry.local(s[rows] - geometry.s).T
        cos, sin = math.cos(geometry.heading), math.sin(geometry.heading)
        points[rows, 0] = geometry.x + cos * x - sin * y
        points[rows, 1] = geometry.y + sin * x + cos * y
        points[rows, 3] = geometry.heading + heading
        points[rows, 4] = curvature
    points[:, 2] = _value_slope(road.elevation, s, inside)[0]
    return points


# Lanes: strips along their road, still without direction


class Strip(NamedTuple):
    """A lane of a lane section. `line` runs along the road whatever the direction of travel; None: too short or narrow."""

    key: Key
    element: etree._Element
    road: Road
    kind: str
    forward: bool  # travel along the road
    both: bool  # and the other way, too
    line: np.ndarray | None  # (rows, 5): the columns of Lane.line


def _strips(road: Road) -> list[Strip]:
    """All strips that cars can drive on."""
    breaks = np.concatenate([[geometry.s for geometry in road.geometries], road.elevation.starts, road.offset.starts])
    strips = []
    for number, section in enumerate(road.sections):
        low, high = road.bounds[number : number + 2]
        profiles = _profiles(section, low)
        s = _stations(low, high, np.concatenate([breaks, *(profile.starts for _, profile, _ in profiles)]))
        # What starts where the section ends belongs to the next section: choose pieces a millimetre inside.
        margin = min(1e-3, (high - low) / 2)
        inside = np.clip(s, low + margin, high - margin)
        reference = _reference(road, s, inside)
        middle = _value_slope(road.offset, s, inside)
        for side in (1, -1):
            inner = middle
            for element, profile, is_border in profiles:
                lane = _integer(element, "id")
                if lane * side <= 0:
                    continue
                value, slope = _value_slope(profile, s, inside)
                # Borders are measured from the centre lane, widths from the inner border. Some files give borders signs.
                start = middle if is_border else inner
                value, slope = (np.abs(value), slope * np.sign(value)) if is_border else (np.maximum(value, 0.0), slope)
                outer = start[0] + side * value, start[1] + side * slope
                kind = KINDS.get(element.get("type", "none"))
                if kind is not None:
                    line = _trimmed(_centre(reference, inner, outer))
                    flipped = road.left_hand != (element.get("direction") == "reversed")
                    both = element.get("type") == "bidirectional" or element.get("direction") == "both"
                    strips.append(Strip((road.id, number, lane), element, road, kind, (lane < 0) != flipped, both, line))
                inner = outer
    return strips


def _profiles(section: etree._Element, start: float) -> list[tuple[etree._Element, Cubics, bool]]:
    """Lane, its widths or borders, and whether they are borders; from the centre outwards."""
    profiles = []
    for element in sorted(section.iterfind("*/lane"), key=lambda lane: abs(_integer(lane, "id"))):
        if _integer(element, "id") != 0:
            widths = element.findall("width")
            profile = _cubics(widths or element.findall("border"), "sOffset", start)
            profiles.append((element, profile, not widths and len(profile.starts) > 0))
    ids = [_integer(element, "id") for element, _, _ in profiles]
    if len(set(ids)) < len(ids):
        raise _wrong(section, f"lane ids {sorted(ids)} are not unique")
    return profiles


def _stations(low: float, high: float, breaks: np.ndarray) -> np.ndarray:
    """Places in a section, at most SPACING apart, with the breaks among them; at least 2 cm apart."""
    uniform = np.linspace(low, high, max(2, math.ceil((high - low) / SPACING) + 1))
    breaks = np.unique(breaks[(breaks > low + 0.02) & (breaks < high - 0.02)])
    if not len(breaks):
        return uniform
    breaks = breaks[np.concatenate([[True], np.diff(breaks) > 0.02])]
    near = np.abs(uniform[:, None] - breaks).min(axis=1) < 0.02
    return np.sort(np.concatenate([uniform[~near], breaks]))


def _centre(reference: np.ndarray, inner: tuple[np.ndarray, np.ndarray], outer: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Centre line between two borders, each offset and slope to the left of the reference line."""
    x, y, z, heading, curvature = reference.T
    offset, slope = (inner[0] + outer[0]) / 2, (inner[1] + outer[1]) / 2
    line = np.empty((len(x), 5))
    line[:, X] = x - np.sin(heading) * offset
    line[:, Y] = y + np.cos(heading) * offset
    line[:, Z] = z
    line[:, HEADING] = np.unwrap(heading + np.arctan2(slope, 1 - curvature * offset))
    line[:, WIDTH] = np.abs(outer[0] - inner[0])
    return line


def _trimmed(line: np.ndarray) -> np.ndarray | None:
    """The line without its narrow ends and without rows nearer than 2 cm to the one before; None if nothing is left."""
    wide = np.flatnonzero(line[:, WIDTH] >= MIN_WIDTH)
    if not len(wide):
        return None
    line = line[wide[0] : wide[-1] + 1]
    steps = np.hypot(*np.diff(line[:, :2], axis=0).T)
    if steps.sum() < MIN_LENGTH:
        return None
    if steps.min() >= 0.02:
        return line
    along = np.concatenate([[0.0], np.cumsum(steps)])
    keep = [0]
    for row in range(1, len(line) - 1):
        if along[row] - along[keep[-1]] >= 0.02 and along[-1] - along[row] >= 0.02:
            keep.append(row)
    return line[[*keep, len(line) - 1]]


# Links


def _joints(root: etree._Element, roads: dict[str, Road]) -> dict[End, list[End]]:
    """Which lane ends meet, without regard to directions: each pair both ways."""
    joints: dict[End, list[End]] = {}

    def join(a: End, b: End) -> None:
        for one, other in ((a, b), (b, a)):
            if other not in joints.setdefault(one, []):
                joints[one].append(other)

    for road in roads.values():
        for number, section in enumerate(road.sections):
            for lane in section.iterfind("*/lane"):
                for end, role in enumerate(("predecessor", "successor")):
                    for link in lane.iterfind(f"link/{role}"):
                        if (beyond := _beyond(road, number, end, roads)) is not None:
                            other, section_beyond, end_beyond = beyond
                            here = (road.id, number, _integer(lane, "id"), end)
                            join(here, (other, section_beyond, _integer(link, "id"), end_beyond))
    for junction in root.iterfind("junction"):
        for connection in junction.iterfind("connection") if junction.get("type") != "virtual" else ():
            _join_connection(junction, connection, roads, join)
    return joints


def _beyond(road: Road, number: int, end: int, roads: dict[str, Road]) -> tuple[str, int, int] | None:
    """Road, section and end that lie beyond an end of a section; None: nothing, or a junction."""
    adjacent = number + (1 if end else -1)
    if 0 <= adjacent < len(road.sections):
        return road.id, adjacent, 1 - end
    link = road.element.find(f"link/{('predecessor', 'successor')[end]}")
    if link is None or link.get("elementType") == "junction" or link.get("elementS") is not None:  # elementS: virtual
        return None
    other = _linked(link, "elementId", roads)
    return other.id, *_contact(link, other)


def _linked(element: etree._Element, name: str, roads: dict[str, Road]) -> Road:
    if _text(element, name) not in roads:
        raise _wrong(element, f"{name}={element.get(name)!r}: there is no such road")
    return roads[_text(element, name)]


def _contact(element: etree._Element, road: Road) -> tuple[int, int]:
    """Section and end of `road` at which `element` touches it."""
    point = _text(element, "contactPoint")
    if point not in ("start", "end"):
        raise _wrong(element, f"contactPoint={point!r} is neither 'start' nor 'end'")
    return (0, 0) if point == "start" else (len(road.sections) - 1, 1)


def _join_connection(
    junction: etree._Element, connection: etree._Element, roads: dict[str, Road], join: Callable[[End, End], None]
) -> None:
    links = connection.findall("laneLink")
    if not links:
        return
    incoming = _linked(connection, "incomingRoad", roads)
    other = _linked(connection, "connectingRoad" if connection.get("connectingRoad") else "linkedRoad", roads)
    section, end = _contact(connection, other)
    # A road may touch the same junction with both ends: the connecting road's own link tells which end it is.
    back = other.element.find(f"link/{('predecessor', 'successor')[end]}")
    if back is not None and back.get("elementType") == "road" and back.get("elementId") == incoming.id:
        at, incoming_end = _contact(back, incoming)
    else:
        touching = [
            number
            for number, role in enumerate(("predecessor", "successor"))
            for link in incoming.element.iterfind(f"link/{role}")
            if link.get("elementType") == "junction" and link.get("elementId") == junction.get("id")
        ]
        if len(touching) != 1:
            raise _wrong(connection, f"it is not clear which end of road {incoming.id!r} touches this junction")
        incoming_end = touching[0]
        at = (len(incoming.sections) - 1) * incoming_end
    for link in links:
        join((incoming.id, at, _integer(link, "from"), incoming_end), (other.id, section, _integer(link, "to"), end))


def _name(key: Key, back: bool = False) -> str:
    return ".".join(map(str, key)) + (".back" if back else "")


def _lanes(strips: dict[Key, Strip], joints: dict[End, list[End]]) -> dict[str, Lane]:
    """Strips in their directions of travel, with links and neighbours, still without speeds and signals."""
    directed = {
        _name(strip.key, forward != strip.forward): (strip, forward, _travelled(strip.line, forward))
        for strip in strips.values()
        if strip.line is not None
        for forward in _directions(strip)
    }
    lanes = {}
    for name, (strip, forward, line) in directed.items():
        lane = Lane(name, fit(line), strip.kind, junction=strip.road.junction)
        if strip.kind == "driving":
            begin = {other: directed[other][2][0] for other in _ahead(strip, forward, strips, joints)}
            lane = replace(
                lane,
                successors=tuple(o for o, start in begin.items() if np.linalg.norm(line[-1, :3] - start[:3]) <= MAX_GAP),
                left=_neighbour(strip, forward, forward, strips),
                right=_neighbour(strip, forward, not forward, strips),
            )
        lanes[name] = lane
    return lanes


def _named(strips: dict[Key, Strip], key: Key, forward: bool) -> str | None:
    """Name of the driving lane there that leads along the road (forward) or against it; None where there is none."""
    strip = strips.get(key)
    if strip is None or strip.line is None or strip.kind != "driving" or forward not in _directions(strip):
        return None
    return _name(key, forward != strip.forward)


def _directions(strip: Strip) -> tuple[bool, ...]:
    return (strip.forward, not strip.forward) if strip.both and strip.kind == "driving" else (strip.forward,)


def _travelled(line: np.ndarray, forward: bool) -> np.ndarray:
    """The line in the direction of travel, the first heading in -pi..pi."""
    line = line.copy() if forward else line[::-1].copy()
    line[:, HEADING] += 0.0 if forward else math.pi
    line[:, HEADING] -= 2 * math.pi * round(line[0, HEADING] / (2 * math.pi))
    return line


def _ahead(strip: Strip, forward: bool, strips: dict[Key, Strip], joints: dict[End, list[End]]) -> list[str]:
    """Names of the driving lanes that begin where this one ends; through lanes that are too short or too narrow."""
    found: list[str] = []
    exits: list[End] = [(*strip.key, int(forward))]
    for leave in exits:
        for enter in joints.get(leave, ()):
            other, onward = strips.get(enter[:3]), enter[3] == 0
            if other is None or other.kind != "driving" or onward not in _directions(other):
                continue
            beyond = (*other.key, int(onward))
            if other.line is not None:
                found.append(_name(other.key, onward != other.forward))
            elif beyond not in exits:
                exits.append(beyond)
    return list(dict.fromkeys(found))


def _neighbour(strip: Strip, forward: bool, higher: bool, strips: dict[Key, Strip]) -> str | None:
    """The driving lane of the same direction on the side of higher or lower ids into which a change is permitted."""
    road, section, lane = strip.key
    step = 1 if higher else -1
    beside = lane + step or lane + 2 * step  # there is no lane 0 to drive on
    other = _named(strips, (road, section, beside), forward)
    return other if other is not None and _may_change(strip, beside) else None


def _may_change(strip: Strip, target: int) -> bool:
    """Whether the road marks allow to change into lane `target` on more than half of the section."""
    road, section, lane = strip.key
    owner = 0 if lane * target < 0 else min(lane, target, key=abs)  # marks are on the outer side of their lane
    element = next((e for e in strip.road.sections[section].iterfind("*/lane") if e.get("id") == str(owner)), None)
    marks = [] if element is None else sorted(element.findall("roadMark"), key=lambda mark: _number(mark, "sOffset", 0.0))
    if not marks:
        return True
    length = strip.road.bounds[section + 1] - strip.road.bounds[section]
    starts = np.clip([_number(mark, "sOffset", 0.0) for mark in marks] + [math.inf], 0.0, length)
    allowed = [_mark_allows(mark, lane, target) for mark in marks]
    return bool(np.diff(starts) @ allowed > length / 2)


def _mark_allows(mark: etree._Element, lane: int, target: int) -> bool:
    permission = mark.get("laneChange")
    if permission is not None:
        return permission == "both" or permission == ("increase" if target > lane else "decrease")
    # Double lines are named from the inside to the outside; on the centre lane from left to right.
    first = lane > 0 if lane * target < 0 else abs(lane) < abs(target)
    near = mark.get("type", "none").split()[0 if first else -1]
    return near in ("broken", "none", "dots", "botts")


# Speed limits


def _speed(strip: Strip) -> float | None:
    """Limit of the lane or, without one, of its road in the middle of the section [m/s]; None: not given."""
    road, section = strip.road, strip.key[1]
    low, high = road.bounds[section : section + 2]
    limits = [(low + _number(e, "sOffset", 0.0), e) for e in strip.element.iterfind("speed")]
    limits = limits or [(_number(e.getparent(), "s", 0.0), e) for e in road.element.iterfind("type/speed")]
    limits = [e for start, e in limits if start <= (low + high) / 2]
    if not limits or limits[-1].get("max") in ("no limit", "undefined"):
        return None
    unit = limits[-1].get("unit", "m/s")
    if unit not in UNITS:
        raise _wrong(limits[-1], f"unit={unit!r} is not one of {', '.join(UNITS)}")
    speed = _number(limits[-1], "max") * UNITS[unit]
    return speed if speed > 0 else None  # some programs write 0 or -1 for no limit


def _with_speeds(lanes: dict[str, Lane], strips: dict[Key, Strip]) -> dict[str, Lane]:
    """Lanes with their limits. Connectors often have none: they take the one of what leads in, else of what they lead to."""
    behind: dict[str, list[str]] = {name: [] for name in lanes}
    for lane in lanes.values():
        for other in lane.successors:
            behind[other].append(lane.id)
    known = {
        name: speed
        for strip in strips.values()
        for name in (_name(strip.key), _name(strip.key, back=True))
        if name in lanes and (speed := _speed(strip)) is not None
    }
    for edges in ({name: lane.successors for name, lane in lanes.items()}, behind):
        queue = list(known)
        for name in queue:
            for other in edges[name]:
                if other not in known:
                    known[other] = known[name]
                    queue.append(other)
    return {name: replace(lane, speed=known.get(name, DEFAULT_SPEED)) for name, lane in lanes.items()}


# Signals


def _with_signals(
    lanes: dict[str, Lane], strips: dict[Key, Strip], roads: dict[str, Road], root: etree._Element
) -> tuple[dict[str, Lane], dict[str, Signal]]:
    """Lanes with what controls their entries, and the signals that control any: a light before a stop before a yield."""
    kinds = {_text(e, "id"): SIGNALS.get(e.get("type", "")) for e in root.iterfind("road/signals/signal")}
    rank = ("light", "stop", "yield").index
    chosen: dict[str, str] = {}
    for road in roads.values():
        for element in road.element.iterfind("signals/*"):
            if element.tag not in ("signal", "signalReference"):
                continue
            signal = _text(element, "id")
            if signal not in kinds:
                raise _wrong(element, f"id={signal!r}: there is no such signal")
            if (kind := kinds[signal]) is None:
                continue
            for name in _governed(element, road, strips, lanes):
                if name not in chosen or rank(kind) < rank(kinds[chosen[name]]):
                    chosen[name] = signal
    controlled = {_text(e, "id"): [_text(c, "signalId") for c in e.iterfind("control")] for e in root.iterfind("controller")}
    groups = {
        signal: _text(junction, "id")
        for junction in root.iterfind("junction")
        for controller in junction.iterfind("controller")
        for signal in controlled.get(_text(controller, "id"), ())
    }
    signals = {}
    for name, signal in chosen.items():
        group = groups.get(signal, lanes[name].junction or "")
        signals.setdefault(signal, Signal(signal, kinds[signal] or "", group))
    return {name: replace(lane, signal=chosen.get(name)) for name, lane in lanes.items()}, signals


def _governed(element: etree._Element, road: Road, strips: dict[Key, Strip], lanes: dict[str, Lane]) -> list[str]:
    """The connectors whose entries a signal or a reference to one controls.

    On a connecting road these are its own lanes, on another road those into which its lanes lead. The validity elements
    name the lanes; without any, the orientation says which direction is meant.
    """
    s, last = _number(element, "s"), len(road.sections) - 1
    valid = [(_integer(e, "fromLane"), _integer(e, "toLane")) for e in element.iterfind("validity")]
    orientation = element.get("orientation", "none")
    names = []
    for forward in (True, False):
        if road.junction is None and (road.length - s if forward else s) > SIGNAL_REACH:
            continue
        section = 0 if forward == (road.junction is not None) else last  # where lanes begin here, where they end there
        for lane in road.sections[section].iterfind("*/lane"):
            number = _integer(lane, "id")
            named = any(min(pair) <= number <= max(pair) for pair in valid)
            if named if valid else orientation != ("-" if forward else "+"):
                names.append(_named(strips, (road.id, section, number), forward))
    names = [name for name in names if name is not None]
    if road.junction is not None:
        return names
    return [other for name in names for other in lanes[name].successors if lanes[other].junction is not None]


# Crosswalks


def _crosswalks(road: Road) -> list[Crosswalk]:
    return [
        Crosswalk(f"{road.id}.{_text(element, 'id')}", _outline(element, road))
        for element in road.element.iterfind("objects/object")
        if element.get("type") == "crosswalk"
    ]


def _outline(element: etree._Element, road: Road) -> np.ndarray:
    """Corners of an object (n, 3): x, y, z [m]."""
    on_road = element.findall(".//cornerRoad")
    if on_road:
        corners = np.array([[_number(c, "s"), _number(c, "t"), _number(c, "dz", 0.0)] for c in on_road])
        outline = _beside(road, corners[:, 0], corners[:, 1])[:, :3]
        outline[:, 2] += corners[:, 2]
    else:
        local = [[_number(c, "u"), _number(c, "v"), _number(c, "z", 0.0)] for c in element.iterfind(".//cornerLocal")]
        if not local:
            u, v = _number(element, "length") / 2, _number(element, "width") / 2
            local = [[-u, -v, 0.0], [u, -v, 0.0], [u, v, 0.0], [-u, v, 0.0]]
        place = _beside(road, np.array([_number(element, "s")]), np.array([_number(element, "t")]))[0]
        heading = place[3] + _number(element, "hdg", 0.0)
        u, v, z = np.array(local).T
        cos, sin = math.cos(heading), math.sin(heading)
        outline = place[:3] + np.column_stack([u * cos - v * sin, u * sin + v * cos, z + _number(element, "zOffset", 0.0)])
    closed = len(outline) > 3 and np.linalg.norm(outline[0] - outline[-1]) < 1e-3
    return outline[:-1] if closed else outline


def _beside(road: Road, s: np.ndarray, t: np.ndarray) -> np.ndarray:
    """(n, 4) x, y, z, heading at distance `t` to the left of the reference line."""
    x, y, z, heading, _ = _reference(road, s, s).T
    return np.column_stack([x - np.sin(heading) * t, y + np.cos(heading) * t, z, heading])
