"""Links that an OpenDRIVE file leaves open: where no lane says what it leads to, those lanes do that meet.

Files leave links out where ids stay the same, as OpenDRIVE 1.4 allows for the lane links of junctions, or where a program
never wrote any. Where at least one lane at such a place has a link the file has said all: the others end there.
"""

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import shapely
from lxml import etree

from gigaflow_env.roads.formats.common.weld import MAX_TURN, facing
from gigaflow_env.roads.formats.opendrive.lanes import MAX_GAP, directions
from gigaflow_env.roads.formats.opendrive.links import ROLES, End, beyond, connected
from gigaflow_env.roads.formats.opendrive.road import Road
from gigaflow_env.roads.formats.opendrive.strips import Key, Strip
from gigaflow_env.roads.import_report import fault, left_out, note
from gigaflow_env.roads.road_map import HEADING, MapError, X, Y

_ENDS = ("start", "end")
Side = tuple[str, int, int]
"""Road id, number of the lane section, and 0 for the start of the section, 1 for its end."""


class Seam(NamedTuple):
    """Two ends of lane sections that lie at one place."""

    one: Side
    other: Side
    name: str  # for people
    line: int | None  # of the file


def with_unsaid(
    joints: dict[End, list[End]], strips: dict[Key, Strip], roads: dict[str, Road], root: etree._Element
) -> dict[End, list[End]]:
    """Which lane ends meet, those among them of which the file does not say it; each is reported."""
    joints = _turned_round(joints, strips, roads)
    _tell_wrong(joints, strips, roads)
    found = {end: list(others) for end, others in joints.items()}
    said = {_sides(end, other) for end, others in joints.items() for other in others}
    ends: dict[Side, list[Strip]] = {}
    for strip in strips.values():
        if strip.kind == "driving":
            for end in (0, 1):
                ends.setdefault((*strip.key[:2], end), []).append(strip)
    for seam in (*_linked(roads), *_connections(root, roads)):
        sides = frozenset((seam.one, seam.other))
        if sides not in said:
            said.add(sides)
            _join(seam, ends.get(seam.one, []), ends.get(seam.other, []), found)
    for seam in _touching(ends, roads, {side for sides in said for side in sides}):
        _join(seam, ends[seam.one], ends[seam.other], found)
    return found


def _turned_round(joints: dict[End, list[End]], strips: dict[Key, Strip], roads: dict[str, Road]) -> dict[End, list[End]]:
    """The joints; where lanes of two roads meet only at the other end of one of them the file named the wrong end."""
    found: dict[End, list[End]] = {}
    for end, others in joints.items():
        for other in others:
            if end > other:
                continue  # each pair is there both ways
            pair = (end, other) if end[0] == other[0] else _meeting(end, other, strips, roads)
            for here, there in (pair, pair[::-1]):
                if there not in found.setdefault(here, []):
                    found[here].append(there)
    return found


def _meeting(end: End, other: End, strips: dict[Key, Strip], roads: dict[str, Road]) -> tuple[End, End]:
    """The two ends, or where they don't meet those of the same lanes that do, reported."""
    if not _apart(end, other, strips):
        return end, other
    for pair, old, turned in (
        ((end, _opposite(other, roads)), other, _opposite(other, roads)),
        ((_opposite(end, roads), other), end, _opposite(end, roads)),
    ):
        if turned[:3] in strips and not _apart(*pair, strips):
            name = f"{end[0]}.{roads[end[0]].labels[end[1]]}.{end[2]} {ROLES[end[3]]}"
            what = f"the {_ENDS[old[3]]} of road {old[0]} is elsewhere"
            done = f"its {_ENDS[turned[3]]}, which touches, taken"
            fault("link", name, what, done, place=_place(strips[pair[0][:3]], pair[0][3]))
            return pair
    return end, other


def _opposite(end: End, roads: dict[str, Road]) -> End:
    """The same lane at the other end of its road."""
    return end[0], 0 if end[3] else len(roads[end[0]].sections) - 1, end[2], 1 - end[3]


def _apart(end: End, other: End, strips: dict[Key, Strip]) -> bool:
    """Whether two ends of driving lanes do not meet."""
    one, beside = strips.get(end[:3]), strips.get(other[:3])
    if one is None or beside is None or one.kind != "driving" or beside.kind != "driving":
        return False
    if not one.lines or not beside.lines:
        return False  # too short for a line: links lead through it
    return _gap(one, end[3], beside, other[3]) is None


def _tell_wrong(joints: dict[End, list[End]], strips: dict[Key, Strip], roads: dict[str, Road]) -> None:
    """Report links of driving lanes to lanes that there are not, and to those that lead against them."""
    there = {
        (road.id, number, lane.get("id", "").strip())
        for road in roads.values()
        for number, section in enumerate(road.sections)
        for lane in section.iterfind("*/lane")
    }
    for end, others in joints.items():
        strip = strips.get(end[:3])
        if strip is None or strip.kind != "driving":
            continue
        for other in others:
            name = f"{end[0]}.{roads[end[0]].labels[end[1]]}.{end[2]} {ROLES[end[3]]}"
            beside = strips.get(other[:3])
            if (*other[:2], str(other[2])) not in there:
                fault("reference", name, f"there is no lane {other[2]} of road {other[0]} there", "left out")
            elif (
                beside is not None
                and beside.kind == "driving"
                and end < other
                and not _ways(strip, end[3], beside, other[3])
            ):
                what = f"lane {other[2]} of road {other[0]} leads against it"
                fault("link", name, what, "left out", place=_place(strip, end[3]))


def _place(strip: Strip, end: int) -> tuple[float, float] | None:
    row = _row(strip, end)
    return None if row is None else (float(row[X]), float(row[Y]))


def _sides(end: End, other: End) -> frozenset[Side]:
    return frozenset(((*end[:2], end[3]), (*other[:2], other[3])))


def _linked(roads: dict[str, Road]) -> Iterator[Seam]:
    """Where sections of one road follow each other, and where roads name each other."""
    for road in roads.values():
        for number, section in enumerate(road.sections):
            for end in (0, 1):
                if end == 0 and number > 0:
                    continue  # it is the end of the section before
                there, name = None, f"{road.id}.{road.labels[number]} {ROLES[end]}"
                try:
                    there = beyond(road, number, end, roads)
                except MapError:
                    if section.find(f"*/lane/link/{ROLES[end]}") is None:  # else it is reported with the links of lanes
                        with left_out("link", name, line=section.sourceline):
                            raise
                if there is not None:
                    yield Seam((road.id, number, end), there, name, section.sourceline)


def _connections(root: etree._Element, roads: dict[str, Road]) -> Iterator[Seam]:
    """Connections of junctions without lane links."""
    for junction in root.iterfind("junction"):
        for connection in junction.iterfind("connection"):
            if junction.get("type") == "virtual" or connection.find("laneLink") is not None:
                continue
            name = f"junction {junction.get('id')}, connection {connection.get('id')}"
            with left_out("link", name, line=connection.sourceline):
                yield Seam(*connected(junction, connection, roads), name, connection.sourceline)


def _touching(ends: dict[Side, list[Strip]], roads: dict[str, Road], said: set[Side]) -> Iterator[Seam]:
    """Ends of roads without any link where lanes of another such road go on, or of one that leads into its junction."""
    open_ends: list[tuple[Side, str | None]] = []  # with the junction that lies there
    for road in roads.values():
        for end, role in enumerate(ROLES):
            side = road.id, (len(road.sections) - 1) * end, end
            link = road.element.find(f"link/{role}")
            if side in ends and side not in said and (link is None or link.get("elementType") == "junction"):
                open_ends.append((side, None if link is None else link.get("elementId")))
    rows = [
        (side, junction, row)
        for side, junction in open_ends
        for strip in ends[side]
        if (row := _row(strip, side[2])) is not None
    ]
    if not rows:
        return
    points = shapely.points(np.array([row[[X, Y]] for _, _, row in rows]))
    seen: set[frozenset[Side]] = set()
    for a, b in np.sort(shapely.STRtree(points).query(points, predicate="dwithin", distance=MAX_GAP).T).tolist():
        (one, at, _), (other, there, _) = rows[a], rows[b]
        sides = frozenset((one, other))
        if one[0] == other[0] or sides in seen or (at is not None and there is not None):
            continue
        inside = roads[one[0]].junction, roads[other[0]].junction
        if at in (None, inside[1]) and there in (None, inside[0]):
            seen.add(sides)
            yield Seam(one, other, f"{one[0]} to {other[0]}", roads[one[0]].element.sourceline)


def _join(seam: Seam, here: list[Strip], there: list[Strip], joints: dict[End, list[End]]) -> None:
    """Join the lanes of both sides that meet: each with the nearest that it faces."""
    apart = {(a.key, b.key): gap for a in here for b in there if (gap := _gap(a, seam.one[2], b, seam.other[2])) is not None}
    pairs = set()
    for index in (0, 1):
        nearest: dict[Key, tuple[Key, Key]] = {}
        for pair in sorted(apart, key=lambda pair: apart[pair]):
            nearest.setdefault(pair[index], pair)
        pairs |= set(nearest.values())
    for a, b in sorted(pairs):
        one, other = (*a, seam.one[2]), (*b, seam.other[2])
        for end, beside in ((one, other), (other, one)):
            joints.setdefault(end, []).append(beside)
    told = [pair for pair in sorted(pairs) if all(_leads_on(strip) for strip in (*here, *there) if strip.key in pair)]
    if told:
        row = next(
            (row for strip in here if strip.key == told[0][0] and (row := _row(strip, seam.one[2])) is not None), None
        )
        what = f"no lane there says what it leads to: the {len(told)} that meet are linked"
        place = None if row is None else (float(row[X]), float(row[Y]))
        note("link", seam.name, what, line=seam.line, place=place, amount=float(len(told)), unit="links")
    elif not pairs and any(_ways(a, seam.one[2], b, seam.other[2]) for a in here for b in there):
        note("link", seam.name, "no lane there says what it leads to, and none meet: no links", line=seam.line)


def _leads_on(strip: Strip) -> bool:
    """Whether one gets anywhere by a strip: at the ends of roads there are sections of a micrometre."""
    return bool(strip.lines) or 0 < strip.key[1] < len(strip.road.sections) - 1


def _ways(a: Strip, end: int, b: Strip, other: int) -> list[tuple[bool, bool]]:
    """In which directions along their roads one may drive from the one over both: out of `a`, or into it."""
    ways = (end == 1, other == 0), (end == 0, other == 1)
    return [(out, into) for out, into in ways if out in directions(a) and into in directions(b)]


def _gap(a: Strip, end: int, b: Strip, other: int) -> float | None:
    """How far apart [m] two lanes lie which lead into each other; None: they don't."""
    if not _ways(a, end, b, other):
        return None
    here, there = _row(a, end), _row(b, other)
    if here is None or there is None:  # too short for a line: links lead through it
        return 0.0 if a.key[0] == b.key[0] and a.key[2] == b.key[2] else None
    # Out of the one and into the other.
    turned = (0.0 if end == 1 else math.pi), (0.0 if other == 0 else math.pi)
    gap = math.dist(here[:3].tolist(), there[:3].tolist())
    turn = abs(math.remainder(there[HEADING] + turned[1] - here[HEADING] - turned[0], 2 * math.pi))
    if gap <= MAX_GAP and turn < MAX_TURN:
        return gap
    here, there = here.copy(), there.copy()
    here[HEADING] += turned[0]
    there[HEADING] += turned[1]
    return gap if facing(here, there) else None


def _row(strip: Strip, end: int) -> np.ndarray | None:
    """The row of a strip's line at an end of its section; None: it is too short or too narrow for one."""
    if not strip.lines:
        return None
    return strip.lines[-1][-1] if end else strip.lines[0][0]
