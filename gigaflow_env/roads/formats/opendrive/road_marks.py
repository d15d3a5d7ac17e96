"""Road marks of OpenDRIVE as permission to change lanes, and where along a section it changes."""

import math

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml

OPEN_MARKS = ("broken", "none", "dots", "botts")
"""Marks that may be crossed where the file does not say."""
PERMISSIONS = ("both", "none", "increase", "decrease")
"""What `laneChange` may say."""
MARKS = (*OPEN_MARKS, "solid", "grass", "curb", "custom", "edge")
"""All that there are, by the first or last word of their names: solid broken, botts dots."""


def may_change(section: etree._Element, length: float, lane: int, target: int) -> bool:
    """Whether the marks allow to change from a lane into `target` on more than half of a section, `length` [m] long."""
    ends, allowed = _profile(section, length, lane, target)
    return bool(np.diff(ends) @ allowed > length / 2)


def changes_at(section: etree._Element, length: float, pairs: list[tuple[int, int]]) -> list[float]:
    """Where in a section [m] the permission of any of these lane changes begins or ends, in order."""
    found = set()
    for lane, target in pairs:
        ends, allowed = _profile(section, length, lane, target)
        found |= {float(ends[k]) for k in range(1, len(allowed)) if allowed[k] != allowed[k - 1]}
    return sorted(found)


def _profile(section: etree._Element, length: float, lane: int, target: int) -> tuple[np.ndarray, list[bool]]:
    """Ends of the pieces of a section [m], 0 first, and whether each allows to change from `lane` into `target`."""
    owner = str(0 if lane * target < 0 else min(lane, target, key=abs))  # marks are on the outer side of their lane
    element = next((e for e in section.iterfind("*/lane") if e.get("id") == owner), None)
    marks = [] if element is None else element.findall("roadMark")
    marks = sorted(marks, key=lambda mark: xml.number_or(mark, "sOffset", 0.0))
    if not marks:
        return np.array([0.0, length]), [True]
    ends = np.clip([0.0, *(xml.number_or(mark, "sOffset", 0.0) for mark in marks), math.inf], 0.0, length)
    allowed = [_allows(mark, lane, target) for mark in marks]
    return ends, [False, *allowed]  # up to the first mark there is none: not allowed


def _allows(mark: etree._Element, lane: int, target: int) -> bool:
    permission = mark.get("laneChange")
    if permission in PERMISSIONS:
        return permission == "both" or permission == ("increase" if target > lane else "decrease")
    if permission is not None:
        what = f"laneChange={permission!r} is not one of {', '.join(PERMISSIONS)}"
        xml.fault(mark, "road mark", what, "its type says what is allowed")
    # Double lines are named from the inside to the outside; on the center lane from left to right.
    first = lane > 0 if lane * target < 0 else abs(lane) < abs(target)
    near = (mark.get("type", "").split() or [""])[0 if first else -1]
    if near not in MARKS:
        xml.fault(mark, "road mark", f"type={mark.get('type')!r} is none of {', '.join(MARKS)}", "it may not be crossed")
    return near in OPEN_MARKS
