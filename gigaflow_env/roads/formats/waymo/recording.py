"""Recordings of the Waymo Open Motion Dataset and its descendants: lanes are bare center lines, with traffic on them.

What these formats don't say is found from the geometry: widths, junctions, neighbours, and links where there are none.
"""

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import shapely

from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.formats.common.centerlines import drawn
from gigaflow_env.roads.formats.common.driving_side import keeps_left
from gigaflow_env.roads.formats.common.lane_bounds import knots
from gigaflow_env.roads.formats.common.lane_changes import with_neighbours
from gigaflow_env.roads.formats.common.lane_widths import calm, nearest, probes, sides
from gigaflow_env.roads.formats.common.limits import MAX_COORDINATE, MAX_POINTS, MEETING
from gigaflow_env.roads.formats.common.union_find import groups
from gigaflow_env.roads.formats.common.weld import weld
from gigaflow_env.roads.import_report import fault, is_strict, left_out, note
from gigaflow_env.roads.levels import same_level
from gigaflow_env.roads.road_map import HEADING, Crosswalk, Lane, MapError, RoadMap, Signal
from gigaflow_env.roads.scenario import LIGHT_STATES, Scenario

DT = 0.1
"""[s] The recordings have 10 steps a second."""
FREEWAY_SPEED, STREET_SPEED = 29.1, 13.4
"""[m/s] 65 and 30 mph: limits where a file gives none. Ours: what is usual on these roads in the United States."""
MPH = 0.44704

LANE_KINDS = {0: "driving", 1: "driving", 2: "driving", 3: "biking"}
"""Types of lanes: undefined, freeway, surface street, bike lane."""
LINE_TYPES, SOLID_TYPES, EDGE_TYPES = range(5, 14), (7, 8, 11, 12), (14, 15, 16)
"""Map elements are numbered 0-3 lanes, 5-13 painted lines from unknown to passing double yellow, 14-16 road edges."""
STOP_SIGN, CROSSWALK = 17, 18
AGENT_KINDS = {1: "vehicle", 2: "pedestrian", 3: "cyclist"}
STATES = {
    **dict.fromkeys((1, 4), LIGHT_STATES.index("red")),
    **dict.fromkeys((2, 5), LIGHT_STATES.index("yellow")),
    **dict.fromkeys((3, 6), LIGHT_STATES.index("green")),
    **dict.fromkeys((7, 8), LIGHT_STATES.index("off")),  # flashing: who comes has to look for himself
}
"""Light states of the dataset: arrow stop, caution, go; the same of round lights; flashing stop and caution; 0 unknown."""
UNKNOWN = LIGHT_STATES.index("unknown")

STATE = ("x", "y", "z", "heading", "velocity_x", "velocity_y", "length", "width")
"""Rows of `Track.states`."""
SIZE = slice(6, 8)
"""Those that must be above 0."""
READABLE = 0.9
"""Ours: a line with a smaller share of points that can be read is left out as a whole."""
FASTEST = 100.0
"""[m/s] Ours: no lane has a higher limit."""

MAX_TOTAL = 2e5
"""[m] of all lanes. Ours: a scene of the dataset has some 20 km, and each half metre takes memory."""
WIDTHS = {"driving": (2.5, 3.5, 5.0), "biking": (1.0, 1.5, 2.5)}
"""[m] Least width, the one where nothing is beside the lane, and largest width. Ours."""
LINE_NEAR, LINE_FAR = 0.6, 4.0
"""[m] From a lane's center to the line or edge that bounds it. Nearer ones are on the lane."""
LANE_NEAR, LANE_FAR = 2.2, 6.0
"""[m] Between the centers of lanes side by side. Nearer ones part or merge."""
JOINED, TURN = 0.05, math.radians(60)
"""[m, rad] Where a file has no links, a lane leads to those that begin so near to its end and turn by less."""
CROSSING = math.radians(20)
"""Lanes that cross at less are neighbours that touch."""


class Center(NamedTuple):
    """The center line of a lane."""

    points: np.ndarray  # (n, 3) x, y, z [m] in the direction of travel
    kind: str  # "driving" or "biking"
    speed: float  # limit [m/s]
    exits: tuple[str, ...] | None = None  # lanes that begin at its end; None: the file doesn't say
    beside: frozenset[str] | None = None  # lanes into which one may change; None: the file doesn't say
    entries: tuple[str, ...] = ()  # lanes that end at its start, where the file says them, too


class Mark(NamedTuple):
    """A line on the road."""

    points: np.ndarray  # (n, 3)
    solid: bool  # nobody may cross it
    edge: bool = False  # the road ends here; it is on the left


class Control(NamedTuple):
    """A light or a stop sign."""

    kind: str  # "light" or "stop"
    lanes: tuple[str, ...]  # what it controls
    point: np.ndarray  # (3,) where to stop, or the sign


class Recording(NamedTuple):
    """What both record types hold."""

    name: str
    source: str
    lanes: dict[str, Center]
    marks: list[Mark]
    crosswalks: dict[str, np.ndarray]  # (corners, 3)
    controls: dict[str, Control]  # those of kind "light" have the ids of the lights of the traffic
    traffic: Scenario | None  # None: only the map is wanted


class Track(NamedTuple):
    """What was seen of a road user."""

    id: str
    kind: str  # one of scenario.AGENT_KINDS
    valid: np.ndarray  # (steps,) bool: seen or not
    states: np.ndarray  # (8, steps): STATE; where it was not seen, anything


@contextmanager
def reading(kind: str, name: str) -> Iterator[None]:
    """Leave out an element that can't be read, and say so; where reading is strict the error names it."""
    with left_out(kind, name):
        try:
            yield
        except MapError as error:
            raise MapError(f"{kind} {name}: {error}", reason=error.reason) from error


def checked(points: np.ndarray, name: str) -> np.ndarray:
    """The points (n, 3) of an element without the few that are not finite or beyond the Earth: these are told.

    Raises MapError where there are too many points, where too few can be read, and for the first where reading is strict.
    """
    if len(points) > MAX_POINTS:
        raise MapError(f"{len(points)} points, at most {MAX_POINTS} are possible")
    bad = ~(np.abs(points) < MAX_COORDINATE)
    if not bad.any():
        return points
    (place, axis), lost = np.argwhere(bad)[0].tolist(), bad.any(axis=1)
    wrong = f"point {place}: {'xyz'[axis]}={points[place, axis]}: it must be finite and below {MAX_COORDINATE:.0e} m"
    if is_strict() or np.count_nonzero(~lost) < READABLE * len(points):
        raise MapError(wrong)
    number = np.count_nonzero(lost)
    fault("geometry", name, wrong, f"{number} left out", amount=float(number), unit="points")
    return points[~lost]


def mark(points: np.ndarray, name: str, solid: bool, edge: bool = False) -> Mark:
    """A line on the road. One of less than two points is none, which is told."""
    if len(points) < 2:
        note("geometry", name, f"of {len(points)} points: no line")
    return Mark(points, solid, edge)


def lane_speed(kind: int) -> float:
    """The limit of a lane of that type, where the file gives none [m/s]."""
    return FREEWAY_SPEED if kind == 1 else STREET_SPEED


def road_map(recording: Recording) -> RoadMap:
    """The map of a recording. Raises MapError, naming the map element, for what can't be one."""
    rows = drawn({name: center.points for name, center in recording.lanes.items()}, MAX_TOTAL)
    links = _links(recording.lanes, rows)
    closed = _set_widths(recording, rows)
    rows, _ = weld(rows, links)
    lines = {name: knots(line) for name, line in rows.items()}
    successors: dict[str, list[str]] = {}
    for a, b in links:
        if np.allclose(lines[a][-1, :3], lines[b][0, :3], atol=MEETING):  # the others were too far apart to be welded
            successors.setdefault(a, []).append(b)
    junctions = _junctions(lines, recording.lanes)
    lanes = {
        name: Lane(
            name,
            line,
            recording.lanes[name].kind,
            recording.lanes[name].speed,
            successors=tuple(successors.get(name, ())),
            junction=junctions.get(name),
        )
        for name, line in lines.items()
    }

    def allowed(lane: str, other: str, side: int) -> bool:
        beside = recording.lanes[lane].beside
        return other in beside if beside is not None else (lane, side) not in closed

    lanes = with_neighbours(lanes, allowed)
    lanes, signals = _with_signals(recording, lanes)
    crosswalks = {name: Crosswalk(name, _outline(points)) for name, points in recording.crosswalks.items()}
    return RoadMap(recording.name, lanes, signals, crosswalks, keeps_left(lanes), recording.source)


def scenario(recording: Recording) -> Scenario:
    """The traffic of a recording, with its road edges and those of its lights that the map has, too."""
    if recording.traffic is None:
        raise MapError("the recording has no traffic")
    return both(recording)[1]


def both(recording: Recording) -> tuple[RoadMap, Scenario]:
    """Map and traffic of a recording, as `road_map` and `scenario` give them."""
    made = road_map(recording)
    if recording.traffic is None:
        raise MapError("the recording has no traffic")
    lights = {light: states for light, states in recording.traffic.lights.items() if light in made.signals}
    edges = tuple(mark.points for mark in recording.marks if mark.edge and len(mark.points) > 1)
    return made, replace(recording.traffic, lights=lights, road_edges=edges)


def traffic(
    name: str,
    source: str,
    tracks: Mapping[int, Track],
    lights: dict[str, np.ndarray],
    ego: int | None,
    predict: list[int],
    dt: float = DT,
) -> Scenario:
    """A Scenario of tracks by their places in the file, to which `ego` and `predict` lead.

    Its arrays (agents, steps) are NaN where nobody was seen. What can't be true costs the step, an id given twice the
    track, a role that leads nowhere the role; all of it is told.
    """
    kept: dict[int, Track] = {}
    ids: set[str] = set()
    for place, track in tracks.items():
        seen = _believed(track)
        if track.id in ids:
            fault("agent", track.id, "its id is given twice", "left out")
        elif seen is not None:
            kept[place] = seen
            ids.add(track.id)
    if not kept or not next(iter(kept.values())).valid.size:
        raise MapError("the recording has no tracks: every one has at least that of the recording car")
    number = {place: agent for agent, place in enumerate(kept)}
    if ego is not None and ego not in number:
        fault("reference", "ego", f"there is no track {ego} that can be read", "no ego")
    for place in predict:
        if place not in number:
            fault("reference", "tracks to predict", f"there is no track {place} that can be read", "left out")
    for place in {one for one in predict if predict.count(one) > 1}:
        fault("reference", "tracks to predict", f"track {place} is named twice", "it counts once")
    valid = np.array([track.valid for track in kept.values()])
    states = np.array([track.states for track in kept.values()]).transpose(1, 0, 2)
    arrays: dict[str, Any] = {
        key: np.where(valid, given, np.nan).astype(np.float64) for key, given in zip(STATE, states, strict=True)
    }
    return Scenario(
        name, dt, tuple(track.id for track in kept.values()), tuple(track.kind for track in kept.values()), valid, **arrays,
        lights=lights, ego=None if ego is None else number.get(ego), source=source,
        predict=tuple(number[place] for place in dict.fromkeys(predict) if place in number),
    )  # fmt: skip


def _believed(track: Track) -> Track | None:
    """A track that is not seen where its numbers can't be true; None where that is everywhere."""
    bad = ~(np.abs(track.states) < MAX_COORDINATE)
    bad[SIZE] |= track.states[SIZE] <= 0
    bad &= track.valid
    if not bad.any():
        return track
    step, key = np.argwhere(bad.T)[0].tolist()
    wanted = "above 0" if key in range(SIZE.start, SIZE.stop) else f"finite and below {MAX_COORDINATE:.0e}"
    lost = bad.any(axis=0)
    wrong, number = f"{STATE[key]}={track.states[key, step]} at step {step} must be {wanted}", np.count_nonzero(lost)
    gone = (track.valid == lost).all()
    done = "left out" if gone else f"not seen at {number} steps"
    fault("agent", track.id, wrong, done, amount=float(number), unit="steps")
    return None if gone else track._replace(valid=track.valid & ~lost)


def usual_steps(given: list[int]) -> int:
    """How many steps a recording has, of what its parts say: what most say, and of these the first. 0 where none says it."""
    return max(dict.fromkeys(given), key=given.count, default=0)


def _links(centers: dict[str, Center], lines: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    """Lanes and the lanes that begin at their ends; through lanes that are too short. Lanes outside the map don't count."""
    driving = {name: line for name, line in lines.items() if centers[name].kind == "driving"}
    if not driving:
        return []
    if all(center.exits is None for center in centers.values()):
        return _found_links(driving)
    exits = _exits(centers)
    links = []
    for name in driving:
        ahead = list(exits[name])
        for other in ahead:  # grows while we go
            if other in driving:
                links.append((name, other))
            elif other in centers and other not in lines:
                ahead += [beyond for beyond in exits[other] if beyond not in ahead]
    return list(dict.fromkeys(links))


def _exits(centers: dict[str, Center]) -> dict[str, list[str]]:
    """The lanes after each, as its exits or their entries say. What leads out of the file, or only one says, is told."""
    exits = {name: list(center.exits or ()) for name, center in centers.items()}
    for name, center in centers.items():
        for other in exits[name]:
            if other not in centers:
                note("reference", name, f"its exit {other} is not in the file: left out")
        for other in center.entries:
            if other not in centers:
                note("reference", name, f"its entry {other} is not in the file: left out")
            elif name not in exits[other]:
                fault("reference", other, f"{name} has it as an entry, but is not among its exits", "linked")
                exits[other].append(name)
        for other in sorted(center.beside or ()):
            if other not in centers:
                note("reference", name, f"its neighbour {other} is not in the file: left out")
    return exits


def _found_links(lines: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    """Lanes and those that begin within JOINED of their ends and lead on."""
    names = list(lines)
    starts, ends = (shapely.points([lines[name][k, :2] for name in names]) for k in (0, -1))
    pairs = shapely.STRtree(starts).query(ends, predicate="dwithin", distance=JOINED).T.tolist()
    links = []
    for a, b in sorted(pairs):
        before, after = lines[names[a]], lines[names[b]]
        turn = math.remainder(after[0, HEADING] - before[-1, HEADING], 2 * math.pi)
        if a != b and abs(turn) < TURN and same_level(after[0, 2], before[-1, 2]):
            links.append((names[a], names[b]))
    return links


def _set_widths(recording: Recording, lines: dict[str, np.ndarray]) -> set[tuple[str, int]]:
    """Set the widths of all lines. Returns the sides of lanes, 0 left and 1 right, that are closed by a solid line.

    The width is the distance from the line on the left to the line on the right; twice the distance to one of them where
    there is no other; and between lanes without lines, each has half the distance of their centers.
    """
    if not lines:
        return set()
    names, rows = list(lines), probes(lines.values())
    to_mark, mark = nearest(rows, sides([mark.points for mark in recording.marks]), LINE_NEAR, LINE_FAR)
    to_lane, _ = nearest(rows, sides([line[:, :3] for line in lines.values()]), LANE_NEAR, LANE_FAR)
    half = np.where(np.isfinite(to_mark), to_mark, to_lane / 2)
    half = np.where(np.isfinite(half), half, half[:, ::-1])
    least, usual, most = np.array([WIDTHS[recording.lanes[name].kind] for name in names]).T
    total = half.sum(axis=1)
    calm(list(lines.values()), np.where(np.isfinite(total), total, np.nan), usual, least, most)

    solid = np.array([mark.solid for mark in recording.marks] + [False])[mark]  # -1, no mark, finds the last entry
    at = np.cumsum([0, *(len(probes([line])) for line in lines.values())])
    shares = np.add.reduceat(solid, at[:-1], dtype=float) / np.diff(at)[:, None]
    return {(names[k], side) for k, side in np.argwhere(shares > 0.5).tolist()}


def _junctions(lines: dict[str, np.ndarray], centers: dict[str, Center]) -> dict[str, str]:
    """Junctions: lanes that cross each other on one level, and those that these cross. They have the name of the first."""
    names = [name for name in lines if centers[name].kind == "driving"]
    dense = [sample(lines[name], 1.0) for name in names]
    shapes = np.array([shapely.LineString(points[:, :2]) for points in dense], object)
    pairs = sorted(shapely.STRtree(shapes).query(shapes, predicate="crosses").T.tolist())
    crossing = [(a, b) for a, b in pairs if a < b and _cross(dense[a], dense[b], shapes[a].intersection(shapes[b]))]
    return {names[k]: names[min(members)] for members in groups(crossing) for k in members}


def _cross(a: np.ndarray, b: np.ndarray, meeting: shapely.Geometry) -> bool:
    at = meeting.representative_point()
    here, there = (line[np.hypot(line[:, 0] - at.x, line[:, 1] - at.y).argmin()] for line in (a, b))
    angle = here[HEADING] - there[HEADING]
    return abs(math.sin(angle)) > math.sin(CROSSING) and same_level(here[2], there[2])


def _with_signals(recording: Recording, lanes: dict[str, Lane]) -> tuple[dict[str, Lane], dict[str, Signal]]:
    """Lanes with what controls their entries: a light before a stop sign. Lanes that are not in the file are told."""
    chosen: dict[str, str] = {}
    for name, control in recording.controls.items():
        for lane in control.lanes:
            controlled = _entered(lanes.get(lane), control.point)
            if not controlled:
                wrong = "is not in the file" if lane not in recording.lanes else "is no lane that is entered there"
                note("reference", f"{control.kind} {name}", f"its lane {lane} {wrong}: left out")
            for entered in controlled:
                if entered not in chosen or (control.kind == "light" and recording.controls[chosen[entered]].kind == "stop"):
                    chosen[entered] = name
    signals = {
        name: Signal(name, recording.controls[name].kind, lanes[lane].junction or "") for lane, name in chosen.items()
    }
    return {name: replace(lane, signal=chosen.get(name)) for name, lane in lanes.items()}, signals


def _entered(lane: Lane | None, point: np.ndarray) -> tuple[str, ...]:
    """The lanes whose entry is controlled: this one where one stops at its start, its successors where at its end."""
    if lane is None or lane.kind != "driving":
        return ()
    start, end = (math.dist(lane.line[k, :2], point[:2]) for k in (0, -1))
    return (lane.id,) if start <= end else lane.successors


def _outline(points: np.ndarray) -> np.ndarray:
    """The corners of an area without its repeated first one."""
    if len(points) > 1 and (points[0] == points[-1]).all():
        return points[:-1]
    return points
