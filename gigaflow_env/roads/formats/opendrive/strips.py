"""The lanes of OpenDRIVE as strips along their road, whatever the direction of travel."""

import math
from typing import NamedTuple

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.opendrive.road import Cubics, Road, read_cubics, reference_line, value_slope
from gigaflow_env.roads.road_map import HEADING, WIDTH, X, Y, Z

LANE_TYPES = {
    **dict.fromkeys(("driving", "entry", "exit", "onRamp", "offRamp", "connectingRamp", "slipLane"), "driving"),
    **dict.fromkeys(("bidirectional", "bus", "taxi", "HOV"), "driving"),
    **dict.fromkeys(("shoulder", "stop"), "shoulder"),  # a stop lane is the hard shoulder of a motorway
    "parking": "parking",
    "biking": "biking",
}
"""Lane types that cars can drive on. The others (sidewalk, border, median, none, ...) are not part of the map."""

POINT_SPACING = 0.5
"""[m] distance of the points to which the center lines are fitted."""
LEAST_WIDTH = -0.5
"""[m] Ours: what is a little below 0 where a lane begins or ends counts as 0, less is an error of the file."""
MIN_WIDTH = 0.1
"""[m] Ours: narrower parts at the ends of a lane are cut off, they'd give degenerate quads."""
MIN_LENGTH = 0.05
"""[m] shorter lanes are bypassed: their neighbours are linked directly."""

Key = tuple[str, int, int]
"""Road id, number of the lane section, lane id."""


class Strip(NamedTuple):
    """A lane of a lane section. `line` runs along the road whatever the direction of travel; None: too short or narrow."""

    key: Key
    element: etree._Element
    road: Road
    kind: str
    forward: bool  # travel along the road
    both: bool  # and the other way, too
    line: np.ndarray | None  # (rows, 5): the columns of Lane.line


def read_strips(road: Road) -> list[Strip]:
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
        reference = reference_line(road, s, inside)
        middle = value_slope(road.offset, s, inside)
        for side in (1, -1):
            inner = middle
            for element, profile, is_border in profiles:
                lane = xml.integer(element, "id")
                if lane * side <= 0:
                    continue
                value, slope = value_slope(profile, s, inside)
                if not is_border and value.min() < LEAST_WIDTH:
                    at = s[value.argmin()] - low
                    raise xml.wrong(element, f"{value.min():.2f} m wide {at:.2f} m behind the section's start: at least 0")
                # Borders are measured from the center lane, widths from the inner border. Some files give borders signs.
                start = middle if is_border else inner
                value, slope = (np.abs(value), slope * np.sign(value)) if is_border else (np.maximum(value, 0.0), slope)
                outer = start[0] + side * value, start[1] + side * slope
                kind = LANE_TYPES.get(element.get("type", "none"))
                if kind is not None:
                    line = _trimmed(_center(reference, inner, outer))
                    flipped = road.left_hand != (element.get("direction") == "reversed")
                    both = element.get("type") == "bidirectional" or element.get("direction") == "both"
                    strips.append(Strip((road.id, number, lane), element, road, kind, (lane < 0) != flipped, both, line))
                inner = outer
    return strips


def _profiles(section: etree._Element, start: float) -> list[tuple[etree._Element, Cubics, bool]]:
    """Lane, its widths or borders, and whether they are borders; from the center outwards."""
    profiles = []
    for element in sorted(section.iterfind("*/lane"), key=lambda lane: abs(xml.integer(lane, "id"))):
        if xml.integer(element, "id") != 0:
            widths = element.findall("width")
            profile = read_cubics(widths or element.findall("border"), "sOffset", start)
            profiles.append((element, profile, not widths and len(profile.starts) > 0))
    ids = [xml.integer(element, "id") for element, _, _ in profiles]
    if len(set(ids)) < len(ids):
        raise xml.wrong(section, f"lane ids {sorted(ids)} are not unique")
    return profiles


def _stations(low: float, high: float, breaks: np.ndarray) -> np.ndarray:
    """Places in a section, at most SPACING apart, with the breaks among them; at least 2 cm apart."""
    uniform = np.linspace(low, high, max(2, math.ceil((high - low) / POINT_SPACING) + 1))
    breaks = np.unique(breaks[(breaks > low + 0.02) & (breaks < high - 0.02)])
    if not len(breaks):
        return uniform
    breaks = breaks[np.concatenate([[True], np.diff(breaks) > 0.02])]
    behind = np.searchsorted(breaks, uniform)
    after, before = breaks[np.minimum(behind, len(breaks) - 1)], breaks[np.maximum(behind - 1, 0)]
    near = np.minimum(np.abs(after - uniform), np.abs(before - uniform)) < 0.02
    return np.sort(np.concatenate([uniform[~near], breaks]))


def _center(reference: np.ndarray, inner: tuple[np.ndarray, np.ndarray], outer: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
    """Center line between two borders, each offset and slope to the left of the reference line."""
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
