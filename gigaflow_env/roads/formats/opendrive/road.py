"""A road of OpenDRIVE: its plan view, elevation and lane offset, and the reference line that they make."""

import math
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.polyline import MAX_LENGTH
from gigaflow_env.roads.import_report import is_strict, left_out
from gigaflow_env.roads.road_map import MapError

MAX_PIECES = 50_000
"""Ours: pieces of a road's plan view or of one of its profiles, corners of an object. A piece a metre would make 50 km."""
MAX_TURN = 100.0
"""[rad] Ours: a piece of the plan view that turns more, 16 times around, is an error of the file."""
MAX_GAP = 1.0
"""[m] Ours: between pieces of the plan view and at the road's end, where lengths are rounded."""
MAX_KINK = math.radians(45)
"""Ours: no road turns by more at one point."""
SAID_GAP, SAID_KINK = 0.3, math.radians(10)
"""[m, rad] Ours: what is smaller is rounding, or a drawing of a curve by lines; what is larger is reported."""
NEAR_END = 0.01
"""[m] Ours: so near to its end a curve is straight."""
PART = "part"
"""Attribute of a section that is not the first part of one, see `cuts`."""
SAME_PLACE = 1e-3
"""[m] Stations of one place, rounded, may be so far apart."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_ROWS = 1000  # points of a clothoid at once: each takes 8 nodes a radian


class Cubics(NamedTuple):
    """A piecewise cubic a + b d + c d^2 + d d^3 of the distance d from each piece's start."""

    starts: np.ndarray  # (pieces,) [m] along the road
    abcd: np.ndarray  # (pieces, 4)


def read_cubics(elements: list[etree._Element], start_name: str, origin: float = 0.0) -> Cubics:
    """The pieces of a profile. Of pieces that begin at one place, within SAME_PLACE, the one later in the file holds."""
    limit_pieces(elements)
    rows: list[list[float]] = []
    names = (start_name, "a", "b", "c", "d")
    for element in elements:
        try:
            row = [xml.number(element, name) for name in names]
            row[0] += origin
        except MapError:  # guarded only where it fails: there are thousands of records
            with left_out(element.tag, element.getparent().get("id") or "", line=element.sourceline):
                raise
            continue
        if rows and 0 < rows[-1][0] - row[0] <= SAME_PLACE:
            row[0] = rows[-1][0]
        rows.append(row)
    rows.sort(key=lambda row: row[0])
    table = np.array(rows, np.float64).reshape(-1, 5)
    return Cubics(table[:, 0], table[:, 1:])


def limit_pieces(elements: list[etree._Element]) -> None:
    """Raise MapError for so many that reading them would take too long."""
    if len(elements) > MAX_PIECES:
        raise xml.wrong(elements[MAX_PIECES], f"one of {len(elements)} in a row: at most {MAX_PIECES} can be read")


def piece(starts: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """Number of the piece in which each place lies."""
    return np.maximum(np.searchsorted(starts, inside, side="right") - 1, 0)


def value_slope(cubics: Cubics, s: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Value and slope at `s`, of the pieces that hold at `inside`; 0 where there are no pieces."""
    if not len(cubics.starts):
        return np.zeros_like(s), np.zeros_like(s)
    k = piece(cubics.starts, inside)
    (a, b, c, d), x = cubics.abcd[k].T, s - cubics.starts[k]
    return a + x * (b + x * (c + x * d)), b + x * (2 * c + x * 3 * d)


ADDITIONAL = ("userData", "include", "dataQuality")
"""Elements that may stand anywhere, and say nothing about the road."""


class Geometry(NamedTuple):
    """A piece of the reference line; `local` gives (n, 4) x, y, heading, curvature at distances from its start."""

    element: etree._Element
    s: float
    length: float
    x: float
    y: float
    heading: float
    local: partial[np.ndarray]


def _clothoid(distance: np.ndarray, start: float, slope: float) -> np.ndarray:
    """Line, arc and spiral: curvature start + slope * distance. Spirals by Gauss-Legendre in panels of at most 1 rad."""
    if len(distance) > _ROWS:
        parts = np.array_split(distance, math.ceil(len(distance) / _ROWS))
        return np.concatenate([_clothoid(part, start, slope) for part in parts])
    if slope == 0:  # in closed form: most pieces are lines and arcs
        angle = start * distance
        half = np.sin(angle / 2)
        x, y = (np.sin(angle) / start, 2 * half * half / start) if start else (distance, angle)
        points = np.empty((len(distance), 4))
        points[:, 0], points[:, 1], points[:, 2], points[:, 3] = x, y, angle, start
        return points
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
    length = xml.number(element, "length")
    shape = next((child for child in element if child.tag not in ADDITIONAL), None)
    if shape is None or not 0 < length <= MAX_LENGTH:
        raise xml.wrong(
            element, f"length={length}: a geometry has a length above 0, at most {MAX_LENGTH:.0f} m, and a shape inside"
        )
    if shape.tag == "line":
        local = partial(_clothoid, start=0.0, slope=0.0)
    elif shape.tag == "arc":
        start = end = xml.number(shape, "curvature")
        local = partial(_clothoid, start=start, slope=0.0)
    elif shape.tag == "spiral":
        start, end = xml.number(shape, "curvStart"), xml.number(shape, "curvEnd")
        local = partial(_clothoid, start=start, slope=(end - start) / length)
    elif shape.tag == "poly3":
        v = tuple(xml.number(shape, name) for name in "abcd")
        local = partial(_polynomial, u=(0.0, 1.0), v=v, end=length, length=length, rescale=False)
    elif shape.tag == "paramPoly3":
        u, v = (tuple(xml.number(shape, name + axis) for name in "abcd") for axis in "UV")
        end = length if xml.word(shape, "pRange", ("arcLength", "normalized"), "normalized") == "arcLength" else 1.0
        local = partial(_polynomial, u=u, v=v, end=end, length=length, rescale=True)
    else:
        raise xml.wrong(shape, "unknown shape; known are line, arc, spiral, poly3, paramPoly3")
    if shape.tag in ("arc", "spiral") and length * max(abs(start), abs(end)) > MAX_TURN:
        sharpest = max(start, end, key=abs)
        raise xml.wrong(shape, f"curvature {sharpest} 1/m over {length} m: it turns by more than {MAX_TURN:.0f} rad")
    s, x, y, heading = (xml.number(element, name) for name in ("s", "x", "y", "hdg"))
    return Geometry(element, s, length, x, y, heading, local)


class Road(NamedTuple):
    """A road as the file declares it."""

    element: etree._Element
    id: str
    length: float
    junction: str | None
    left_hand: bool
    geometries: list[Geometry]
    elevation: Cubics
    offset: Cubics
    bank: Cubics  # superelevation [rad]: left side up
    sections: list[etree._Element]
    labels: list[str]  # of the sections: their numbers in the file; 3/2 is the second part of section 3
    bounds: np.ndarray  # (sections + 1,) [m] along the road
    broken: tuple[tuple[float, float], ...]  # [m] along the road: where the plan view jumps, turns on the spot or is missing


def read_road(element: etree._Element, junction: str | None) -> Road:
    """A road. Raises MapError for one that can't be driven on; smaller faults are reported. junction: its junction's id."""
    geometries = _plan_view(element)
    sections = element.findall("lanes/laneSection")
    if not geometries or not sections:
        raise xml.wrong(element, "a road needs a planView with geometry, and lanes with a laneSection")
    drawn = geometries[-1].s + geometries[-1].length
    length = _length(element, drawn)
    beyond = length - drawn
    if beyond > MAX_GAP:
        what = f"it ends {beyond:.2f} m before the next piece or the road's end"
        xml.fault(geometries[-1].element, "road", what, "the road ends there", amount=beyond, unit="m")
        length -= beyond
    elif beyond < -MAX_GAP:
        what = f"length={length}: its plan view is {-beyond:.2f} m longer"
        xml.fault(element, "road", what, "the rest is left out", amount=-beyond, unit="m")
    broken = _broken(geometries)
    if (start := geometries[0].s) > MAX_GAP:
        what = f"s={start}: the first geometry must begin at the road's start"
        xml.fault(geometries[0].element, "geometry", what, "lane sections before it are left out", amount=start, unit="m")
        broken = ((0.0, start), *broken)
    sections, bounds = _bounds(sections, length)
    return Road(
        element=element,
        id=xml.text(element, "id"),
        length=length,
        junction=junction,
        left_hand=xml.word(element, "rule", ("RHT", "LHT"), "RHT") == "LHT",
        geometries=geometries,
        elevation=read_cubics(element.findall("elevationProfile/elevation"), "s"),
        offset=read_cubics(element.findall("lanes/laneOffset"), "s"),
        bank=read_cubics(element.findall("lateralProfile/superelevation"), "s"),
        sections=sections,
        labels=_labels(sections),
        bounds=bounds,
        broken=broken,
    )


def _length(element: etree._Element, drawn: float) -> float:
    """Length of a road [m]; where it can't be read the one of its plan view."""
    try:
        length = xml.number(element, "length")
        if not 0 <= length <= MAX_LENGTH:
            raise xml.wrong(element, f"length={length}: a road has 0 to {MAX_LENGTH:.0f} m")
    except MapError as error:
        xml.fault(element, "road", error.reason.partition(": ")[2], "its plan view's length taken", amount=drawn, unit="m")
        return drawn
    return length


def _plan_view(element: etree._Element) -> list[Geometry]:
    """The pieces of the reference line in order, without those that have no length."""
    pieces = element.findall("planView/geometry")
    limit_pieces(pieces)
    geometries = []
    for piece in pieces:
        if not is_strict() and xml.number_or(piece, "length", 0.0) <= 0:
            xml.fault(piece, "geometry", f"length={piece.get('length')}", "left out")
            continue
        with left_out("geometry", f"of road {element.get('id')}", line=piece.sourceline):
            geometries.append(_geometry(piece))
    return sorted(geometries, key=lambda geometry: geometry.s)


def _bounds(sections: list[etree._Element], length: float) -> tuple[list[etree._Element], np.ndarray]:
    """Lane sections in order, and where they begin [m] along the road, with its end."""
    starts = []
    for section in sections:
        starts.append(xml.number(section, "s"))
        if starts[-1] > length + SAME_PLACE:
            what = f"s={section.get('s')}: sections must be in order and within the road's length {length}"
            xml.fault(section, "section", what, "left out", amount=starts[-1] - length, unit="m behind the end")
    if any(one > other for one, other in pairwise(starts)):
        at = next(k for k, (one, other) in enumerate(pairwise(starts)) if one > other)
        what = f"s={sections[at + 1].get('s')}: sections must be in order and within the road's length {length}"
        xml.fault(sections[at + 1], "section", what, "sorted")
    order = sorted((start, k) for k, start in enumerate(starts) if start <= length + SAME_PLACE)
    if not order:
        raise xml.wrong(sections[0], f"no lane section begins within the road's length {length}")
    return [sections[k] for _, k in order], np.array([*(min(start, length) for start, _ in order), length])


def _labels(sections: list[etree._Element]) -> list[str]:
    """Numbers of the sections in the file, with those of their parts where they are cut, see `cuts`."""
    labels: list[str] = []
    number = -1
    for section in sections:
        part = section.get(PART)
        number += part is None
        labels.append(str(number) if part is None else f"{number}/{part}")
    return labels


def _broken(geometries: list[Geometry]) -> tuple[tuple[float, float], ...]:
    """Where pieces of the plan view do not join, from and to [m] along the road; what is smaller is only reported."""
    found = []
    for one, other in pairwise(geometries):
        if is_strict() and other.s - one.s > one.length + MAX_GAP:
            what = f"it ends {other.s - one.s - one.length:.2f} m before the next piece or the road's end"
            raise xml.wrong(one.element, what)
        x, y, heading = _end(one, min(other.s - one.s, one.length + MAX_GAP))
        gap = math.hypot(other.x - x, other.y - y)
        kink = abs(math.remainder(other.heading - heading, 2 * math.pi))
        if gap <= SAID_GAP and kink <= SAID_KINK:
            continue
        broken = gap > MAX_GAP or kink > MAX_KINK
        what = f"it begins {gap:.2f} m from the end of the piece before, turned by {math.degrees(kink):.0f} degrees"
        done = "the lane section is left out" if broken else "smoothed"
        amount = (gap, "m") if gap > SAID_GAP else (math.degrees(kink), "degrees")
        if broken or not is_strict():
            xml.fault(other.element, "geometry", what, done, place=(other.x, other.y), amount=amount[0], unit=amount[1])
        if broken:
            ends = one.s + one.length
            found.append((ends if other.s - ends > MAX_GAP else other.s, other.s))
    return tuple(found)


def _end(geometry: Geometry, distance: float) -> tuple[float, float, float]:
    """x, y, heading of a piece at a distance from its start, quickly for lines and arcs, and at the end of paramPoly3."""
    local = geometry.local
    if local.func is _clothoid and local.keywords["slope"] == 0:
        curvature = local.keywords["start"]
        heading = curvature * distance
        if abs(heading) < 1e-9:
            x, y = distance, 0.0
        else:
            x, y = math.sin(heading) / curvature, (1 - math.cos(heading)) / curvature
    elif local.func is _polynomial and local.keywords["rescale"] and abs(distance - geometry.length) < NEAR_END:
        x, y, heading = _polynomial_end(distance - geometry.length, **local.keywords)
    else:
        x, y, heading, _ = local(np.array([distance]))[0].tolist()
    cos, sin = math.cos(geometry.heading), math.sin(geometry.heading)
    return geometry.x + cos * x - sin * y, geometry.y + sin * x + cos * y, geometry.heading + heading


def _polynomial_end(
    beyond: float, u: tuple[float, ...], v: tuple[float, ...], end: float, length: float, rescale: bool
) -> tuple[float, float, float]:
    """x, y, heading `beyond` [m] the end of a curve as `_polynomial` has it, in a straight line from there."""
    (x, dx), (y, dy) = ((a + end * (b + end * (c + end * d)), b + end * (2 * c + end * 3 * d)) for a, b, c, d in (u, v))
    heading = math.atan2(dy, dx)
    return x + beyond * math.cos(heading), y + beyond * math.sin(heading), heading


def reference_line(road: Road, s: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(n, 5) x, y, z, heading, curvature of the reference line."""
    points = np.empty((len(s), 5))
    k = piece(np.array([geometry.s for geometry in road.geometries]), inside)
    used = sorted(set(k.tolist()))
    for number in used:
        geometry, rows = road.geometries[number], k == number if len(used) > 1 else slice(None)
        x, y, heading, curvature = geometry.local(s[rows] - geometry.s).T
        cos, sin = math.cos(geometry.heading), math.sin(geometry.heading)
        points[rows, 0] = geometry.x + cos * x - sin * y
        points[rows, 1] = geometry.y + sin * x + cos * y
        points[rows, 3] = geometry.heading + heading
        points[rows, 4] = curvature
    points[:, 2] = value_slope(road.elevation, s, inside)[0]
    return points
