"""The lanes of OpenDRIVE as strips along their road, whatever the direction of travel."""

import math
from typing import NamedTuple

import numpy as np
from lxml import etree

from gigaflow_env.roads.centerline import continuous
from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.limits import MIN_LENGTH, MIN_WIDTH, POINT_SPACING
from gigaflow_env.roads.formats.opendrive.access import open_to_cars
from gigaflow_env.roads.formats.opendrive.road import Cubics, Road, read_cubics, reference_line, value_slope
from gigaflow_env.roads.import_report import left_out, note, note_closed
from gigaflow_env.roads.road_map import HEADING, WIDTH, X, Y, Z

LANE_TYPES = {
    **dict.fromkeys(("driving", "entry", "exit", "onRamp", "offRamp", "connectingRamp", "slipLane"), "driving"),
    **dict.fromkeys(("bidirectional", "bus", "taxi", "HOV"), "driving"),
    **dict.fromkeys(("shoulder", "stop"), "shoulder"),  # a stop lane is the hard shoulder of a motorway
    "parking": "parking",
    "biking": "biking",
}
"""Lane types that cars can drive on."""
OTHER_TYPES = (
    "none", "border", "restricted", "sidewalk", "walking", "median", "curb", "tram", "rail", "roadWorks",
    "special1", "special2", "special3", "shared", "mwyEntry", "mwyExit",
)  # fmt: skip
"""Lane types that are not part of the map."""

MAX_BANK = 1.0
"""[rad] Ours: the banks of test tracks lean by as much; more is another unit."""
SIGNS = {"left": 1, "right": -1}
"""Of the ids of lanes, by the element that they stand in."""
LEAST_WIDTH = -0.5
"""[m] Ours: what is a little below 0 where a lane begins or ends counts as 0, less is an error of the file."""
SHORT_SECTION = 0.01
"""[m] Ours: in shorter sections no lane is longer than MIN_LENGTH, not even on the outside of the tightest bend."""

Key = tuple[str, int, int]
"""Road id, number of the lane section, lane id."""


class Strip(NamedTuple):
    """A lane of a lane section.

    Its lines run along the road whatever the direction of travel: none where it is too short or narrow, several where it is
    too narrow in between.
    """

    key: Key
    element: etree._Element
    road: Road
    kind: str
    forward: bool  # travel along the road
    both: bool  # and the other way, too
    lines: tuple[np.ndarray, ...]  # (rows, 5): the columns of Lane.line


def read_strips(road: Road) -> list[Strip]:
    """All strips that cars can drive on."""
    profiles = (road.elevation.starts, road.offset.starts, road.bank.starts)
    breaks = np.concatenate([[geometry.s for geometry in road.geometries], *profiles])
    strips: list[Strip] = []
    for number, section in enumerate(road.sections):
        low, high = road.bounds[number : number + 2]
        if any(low < end and start < high for start, end in road.broken):
            continue  # the plan view jumps; reported there
        with left_out("section", f"{road.id}.{number}", line=section.sourceline):
            # Sections of a micrometre hold the oddest polynomials: their lanes are bypassed, whatever their widths.
            short = high - low < SHORT_SECTION
            strips += _short_strips(road, number) if short else _section_strips(road, number, breaks)
    return strips


def _short_strips(road: Road, number: int) -> list[Strip]:
    """The strips of a section that is too short for lanes: links lead through them."""
    elements = [e for e in road.sections[number].iterfind("*/lane") if e.get("type", "none") in LANE_TYPES]
    return [_strip(road, number, element, ()) for element in elements if xml.integer(element, "id") != 0]


def _section_strips(road: Road, number: int, breaks: np.ndarray) -> list[Strip]:
    low, high = road.bounds[number : number + 2]
    profiles = _profiles(road.sections[number], low)
    s = _stations(low, high, np.concatenate([breaks, *(profile.starts for _, profile, _ in profiles)]))
    # What starts where the section ends belongs to the next section: choose pieces a millimetre inside.
    margin = min(1e-3, (high - low) / 2)
    inside = np.clip(s, low + margin, high - margin)
    reference = reference_line(road, s, inside)
    middle = value_slope(road.offset, s, inside)
    bank = value_slope(road.bank, s, inside)[0]
    if np.abs(bank).max() > MAX_BANK:
        what = f"it leans by {np.abs(bank).max():.3g} rad: at most {MAX_BANK} are possible"
        xml.fault(
            road.sections[number], "superelevation", what, "taken as flat", amount=float(np.abs(bank).max()), unit="rad"
        )
        bank = np.zeros_like(bank)
    strips = []
    for side in (1, -1):
        inner = middle
        for element, profile, is_border in profiles:
            lane = xml.integer(element, "id")
            if lane * side <= 0:
                continue
            value, slope = value_slope(profile, s, inside)
            kind = LANE_TYPES.get(element.get("type", "none"))
            if not is_border and value.min() < LEAST_WIDTH:
                at = s[value.argmin()] - low
                what = f"{value.min():.2f} m wide {at:.2f} m behind the section's start: at least 0"
                xml.fault(element, "width", what, "0 taken where it is less", amount=float(value.min()), unit="m")
            # Borders are measured from the center lane, widths from the inner border. Some files give borders signs.
            start = middle if is_border else inner
            value, slope = (np.abs(value), slope * np.sign(value)) if is_border else (np.maximum(value, 0.0), slope)
            outer = start[0] + side * value, start[1] + side * slope
            if kind is not None:
                lines = _trimmed(_center(reference, inner, outer, bank))
                if len(lines) > 1:
                    place = float(lines[0][-1, X]), float(lines[0][-1, Y])
                    done = f"{len(lines)} lanes, what is narrower than {MIN_WIDTH} m between them is left out"
                    note("width", f"{road.id}.{number}.{lane}", done, line=element.sourceline, place=place)
                strips.append(_strip(road, number, element, lines))
            inner = outer
    return strips


def _strip(road: Road, number: int, element: etree._Element, lines: tuple[np.ndarray, ...]) -> Strip:
    lane, kind = xml.integer(element, "id"), LANE_TYPES[element.get("type", "none")]
    low, high = road.bounds[number : number + 2]
    if kind == "driving" and not open_to_cars(element, high - low):
        kind = "shoulder"
        note_closed(f"{road.id}.{number}.{lane}", element.sourceline)
    way = xml.word(element, "direction", ("standard", "reversed", "both"), "standard")
    flipped = road.left_hand != (way == "reversed")
    both = element.get("type") == "bidirectional" or way == "both"
    return Strip((road.id, number, lane), element, road, kind, (lane < 0) != flipped, both, lines)


def _profiles(section: etree._Element, start: float) -> list[tuple[etree._Element, Cubics, bool]]:
    """Lane, its widths or borders, and whether they are borders; from the center outwards."""
    profiles = []
    for element in sorted(_lanes(section), key=lambda lane: abs(xml.integer(lane, "id"))):
        if xml.integer(element, "id") != 0:
            widths = element.findall("width")
            profile = read_cubics(widths or element.findall("border"), "sOffset", start)
            if not len(profile.starts) and element.get("type") in LANE_TYPES:
                xml.fault(element, "width", f"lane {element.get('id')} has no width and no border", "left out")
            profiles.append((element, profile, not widths and len(profile.starts) > 0))
    return profiles


def _lanes(section: etree._Element) -> list[etree._Element]:
    """The lanes of a section whose ids are whole numbers, each once."""
    found: dict[int, etree._Element] = {}
    for element in section.iterfind("*/lane"):
        with left_out("lane", element.get("id") or "", line=element.sourceline):
            lane = xml.integer(element, "id")
            if lane in found:
                xml.fault(element, "lane", f"lane id {lane} is used twice in its section", "left out")
            else:
                found[lane] = element
            block = element.getparent()
            if block is not None and lane * SIGNS.get(block.tag, 0) < 0:  # SUMO's netconvert writes so for left-hand traffic
                what = f"lane {lane} stands in <{block.tag}>, where ids have the other sign"
                xml.fault(element, "lane", what, "it lies where its id says")
            kind = element.get("type")
            if lane != 0 and kind not in LANE_TYPES and kind not in OTHER_TYPES:
                xml.fault(element, "lane", f"type={kind!r} of lane {lane} is no lane type", "it is not part of the map")
    return list(found.values())


def _stations(low: float, high: float, breaks: np.ndarray) -> np.ndarray:
    """Places in a section, at most SPACING apart, with the breaks among them; at least 2 cm apart."""
    uniform = np.linspace(low, high, max(2, math.ceil((high - low) / POINT_SPACING) + 1))
    breaks = breaks[(breaks > low + 0.02) & (breaks < high - 0.02)]
    if not len(breaks):
        return uniform
    breaks = np.unique(breaks)
    breaks = breaks[np.concatenate([[True], np.diff(breaks) > 0.02])]
    behind = np.searchsorted(breaks, uniform)
    after, before = breaks[np.minimum(behind, len(breaks) - 1)], breaks[np.maximum(behind - 1, 0)]
    near = np.minimum(np.abs(after - uniform), np.abs(before - uniform)) < 0.02
    return np.sort(np.concatenate([uniform[~near], breaks]))


def _center(
    reference: np.ndarray, inner: tuple[np.ndarray, np.ndarray], outer: tuple[np.ndarray, np.ndarray], bank: np.ndarray
) -> np.ndarray:
    """Center line between two borders, each offset and slope to the left of the reference line, on a road that leans.

    bank: superelevation [rad]; it lifts the left side, and what is seen from above gets narrower.
    """
    x, y, z, heading, curvature = reference.T
    flat = np.cos(bank)
    across, slope = (inner[0] + outer[0]) / 2, (inner[1] + outer[1]) / 2 * flat
    offset = across * flat
    line = np.empty((len(x), 5))
    line[:, X] = x - np.sin(heading) * offset
    line[:, Y] = y + np.cos(heading) * offset
    line[:, Z] = z + across * np.sin(bank)
    line[:, HEADING] = continuous(heading + np.arctan2(slope, 1 - curvature * offset))
    line[:, WIDTH] = np.abs(outer[0] - inner[0]) * flat
    return line


def _trimmed(line: np.ndarray) -> tuple[np.ndarray, ...]:
    """The parts of a line that are wide enough, without rows nearer than 2 cm to the one before; none if nothing is left."""
    wide = line[:, WIDTH] >= MIN_WIDTH
    if wide.all():
        return () if (part := _apart(line)) is None else (part,)
    turns = np.flatnonzero(np.diff(np.concatenate([[False], wide, [False]])))
    parts = [line[first:last] for first, last in turns.reshape(-1, 2).tolist()]
    return tuple(part for part in map(_apart, parts) if part is not None)


def _apart(line: np.ndarray) -> np.ndarray | None:
    steps = np.hypot(line[1:, 0] - line[:-1, 0], line[1:, 1] - line[:-1, 1])
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
