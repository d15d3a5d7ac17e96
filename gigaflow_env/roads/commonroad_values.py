"""Numbers in CommonRoad files: text inside of elements, exact or as an interval, and points."""

import math

import numpy as np
from lxml import etree

from gigaflow_env.roads import xml_file as xml


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
        read = math.nan
    if not math.isfinite(read):
        raise xml.wrong(inside, f"{inside.text!r} is not a finite number")
    return read


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
    """The points of a child, (n, 3) [m], at least two; z is 0 where it is not given."""
    inside = child(element, tag)
    found = [
        [number(point, "x"), number(point, "y"), 0.0 if point.find("z") is None else number(point, "z")]
        for point in inside.iterfind("point")
    ]
    if len(found) < 2:
        raise xml.wrong(inside, f"it has {len(found)} points, at least 2 are needed")
    return np.array(found)
