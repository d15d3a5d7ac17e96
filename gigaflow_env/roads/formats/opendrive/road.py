"""A road of OpenDRIVE: its plan view, elevation and lane offset, and the reference line that they make."""

import math
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.polyline import MAX_LENGTH

MAX_PIECES = 50_000
"""Ours: pieces of a road's plan view or of one of its profiles, corners of an object. A piece a metre would make 50 km."""
MAX_TURN = 100.0
"""[rad] Ours: a piece of the plan view that turns more, 16 times around, is an error of the file."""
MAX_GAP = 1.0
"""[m] Ours: between pieces of the plan view and at the road's end, where lengths are rounded."""

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(8)
_ROWS = 1000  # points of a clothoid at once: each takes 8 nodes a radian


class Cubics(NamedTuple):
    """A piecewise cubic a + b d + c d^2 + d d^3 of the distance d from each piece's start."""

    starts: np.ndarray  # (pieces,) [m] along the road
    abcd: np.ndarray  # (pieces, 4)


def read_cubics(elements: list[etree._Element], start_name: str, origin: float = 0.0) -> Cubics:
    """Cubic polynomials by the place [m] at which each begins, in order."""
    limit_pieces(elements)
    rows = [[origin + xml.number(e, start_name), *(xml.number(e, name) for name in "abcd")] for e in elements]
    table = np.array(sorted(rows, key=lambda row: row[0]), np.float64).reshape(-1, 5)
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


class Geometry(NamedTuple):
    """A piece of the reference line; `local` gives (n, 4) x, y, heading, curvature at distances from its start."""

    element: etree._Element
    s: float
    length: float
    x: float
    y: float
    heading: float
    local: Callable[[np.ndarray], np.ndarray]


def _clothoid(distance: np.ndarray, start: float, slope: float) -> np.ndarray:
    """Line, arc and spiral: the curvature is start + slope * distance. Gauss-Legendre, panels of at most 1 rad."""
    if len(distance) > _ROWS:
        parts = np.array_split(distance, math.ceil(len(distance) / _ROWS))
        return np.concatenate([_clothoid(part, start, slope) for part in parts])
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
    shape = next(iter(element), None)
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
        end = length if shape.get("pRange") == "arcLength" else 1.0
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
    sections: list[etree._Element]
    bounds: np.ndarray  # (sections + 1,) [m] along the road


def read_road(element: etree._Element) -> Road:
    """Read a road. Raises MapError that names element and line."""
    length, junction = xml.number(element, "length"), element.get("junction", "-1")
    if not 0 <= length <= MAX_LENGTH:
        raise xml.wrong(element, f"length={length}: a road has 0 to {MAX_LENGTH:.0f} m")
    pieces = element.findall("planView/geometry")
    limit_pieces(pieces)
    geometries = sorted(map(_geometry, pieces), key=lambda geometry: geometry.s)
    sections = element.findall("lanes/laneSection")
    if not geometries or not sections:
        raise xml.wrong(element, "a road needs a planView with geometry, and lanes with a laneSection")
    for one, end in zip(geometries, [*(following.s for following in geometries[1:]), length], strict=True):
        if end - one.s > one.length + MAX_GAP:
            raise xml.wrong(one.element, f"it ends {end - one.s - one.length:.2f} m before the next piece or the road's end")
    if geometries[0].s > MAX_GAP:
        raise xml.wrong(geometries[0].element, f"s={geometries[0].s}: the first geometry must begin at the road's start")
    bounds = np.array([*(xml.number(section, "s") for section in sections), length])
    if (np.diff(bounds) < 0).any():
        wrong = sections[int(np.argmax(np.diff(bounds) < 0))]
        raise xml.wrong(wrong, f"s={wrong.get('s')}: sections must be in order and within the road's length {length}")
    return Road(
        element=element,
        id=xml.text(element, "id"),
        length=length,
        junction=None if junction == "-1" else junction,
        left_hand=element.get("rule", "RHT") == "LHT",
        geometries=geometries,
        elevation=read_cubics(element.findall("elevationProfile/elevation"), "s"),
        offset=read_cubics(element.findall("lanes/laneOffset"), "s"),
        sections=sections,
        bounds=bounds,
    )


def reference_line(road: Road, s: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """(n, 5) x, y, z, heading, curvature of the reference line."""
    points = np.empty((len(s), 5))
    k = piece(np.array([geometry.s for geometry in road.geometries]), inside)
    for number in np.unique(k):
        geometry, rows = road.geometries[number], k == number
        x, y, heading, curvature = geometry.local(s[rows] - geometry.s).T
        cos, sin = math.cos(geometry.heading), math.sin(geometry.heading)
        points[rows, 0] = geometry.x + cos * x - sin * y
        points[rows, 1] = geometry.y + sin * x + cos * y
        points[rows, 3] = geometry.heading + heading
        points[rows, 4] = curvature
    points[:, 2] = value_slope(road.elevation, s, inside)[0]
    return points
