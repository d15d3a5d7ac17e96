"""Numbers in CommonRoad files: text inside of elements, exact or as an interval, and points."""

import math
import re

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.limits import MAX_COORDINATE, MAX_POINTS

_UNITS = {"km/h": 1 / 3.6, "kmh": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704, "m/s": 1.0, "mps": 1.0}


def child(element: etree._Element, tag: str) -> etree._Element:
    """A child that must be there."""
    found = element.find(tag)
    if found is None:
        raise xml.wrong(element, f"<{tag}> is missing")
    return found


def number(element: etree._Element, tag: str) -> float:
    """The finite number in a child."""
    inside = child(element, tag)
    try:
        read = float(inside.text or "")
    except ValueError:
        read = xml.with_comma(inside, f"<{tag}>", inside.text or "")
    if not math.isfinite(read):
        raise xml.wrong(inside, f"{inside.text!r} is not a finite number")
    return read


def speed(element: etree._Element, tag: str) -> float:
    """The speed [m/s] in a child: a number of metres a second, or with a unit, such as 50kmh."""
    given = (child(element, tag).text or "").strip()
    match = re.fullmatch(r"([-+.\deE]+?)\s*(km/h|kmh|kph|mph|m/s|mps)", given, re.IGNORECASE)
    if match is None:
        return number(element, tag)
    try:
        return float(match[1]) * _UNITS[match[2].lower()]
    except ValueError as error:
        raise xml.wrong(child(element, tag), f"{given!r} is not a speed") from error


def coordinate(element: etree._Element, tag: str) -> float:
    """The coordinate [m] in a child."""
    read = number(element, tag)
    if abs(read) > MAX_COORDINATE:
        raise xml.wrong(child(element, tag), f"{read} m is no place on a map: coordinates lie within {MAX_COORDINATE:.0e} m")
    return read


def place(element: etree._Element) -> list[float]:
    """x, y, z [m] of a point; z is 0 where it is not given."""
    given = {child.tag: child.text for child in element.iterchildren(reversed=True)}  # of several the first counts
    try:  # files have tens of thousands of points
        read = [float(given["x"] or ""), float(given["y"] or ""), float(given.get("z", "0") or "")]
        if all(abs(number) <= MAX_COORDINATE for number in read):
            return read
    except (KeyError, ValueError):
        pass
    height = 0.0 if element.find("z") is None else coordinate(element, "z")
    return [coordinate(element, "x"), coordinate(element, "y"), height]


def value(element: etree._Element, tag: str) -> float:
    """A number which a child gives exactly or as an interval, whose middle it is."""
    inside = child(element, tag)
    if inside.find("exact") is not None:
        return number(inside, "exact")
    return (number(inside, "intervalStart") + number(inside, "intervalEnd")) / 2


def step(element: etree._Element, tag: str) -> int:
    """A time step: a whole number from 0 on."""
    read = value(element, tag)
    if read < 0 or read != int(read):
        raise xml.wrong(child(element, tag), f"{read} is no time step, it must be a whole number from 0 on")
    return int(read)


def points(element: etree._Element, tag: str) -> np.ndarray:
    """The points of a child, (n, 3) [m], at least two."""
    inside = child(element, tag)
    if len(inside) > MAX_POINTS:
        raise xml.wrong(inside, f"it has {len(inside)} points, at most {MAX_POINTS} can be read")
    found = [place(point) for point in inside.iterfind("point")]
    if len(found) < 2:
        raise xml.wrong(inside, f"it has {len(found)} points, at least 2 are needed")
    return np.array(found)
