"""Argoverse 2 maps (log_map_archive_*.json) to RoadMap.

Source: the vector map of the Argoverse 2 sensor, lidar, map change and motion forecasting data sets.

A lane segment becomes one Lane with its id; its center line is the middle between its borders. Coordinates are the city's.
Successors and neighbours that lie outside of the file are left out, and so are changes over solid marks. Ours: the file has
no speed limits, all lanes get DEFAULT_SPEED; lane segments in an intersection that touch each other are one junction. Not
read: drivable areas beyond the lanes, and stop lines, which the file doesn't have.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from gigaflow_env.roads.formats.common.driving_side import keeps_left
from gigaflow_env.roads.formats.common.lane_bounds import center, knots
from gigaflow_env.roads.formats.common.limits import MAX_POINTS
from gigaflow_env.roads.formats.common.polyline import checked
from gigaflow_env.roads.formats.common.union_find import groups
from gigaflow_env.roads.formats.common.weld import successors, weld
from gigaflow_env.roads.import_report import fault, left_out, note, note_closed
from gigaflow_env.roads.road_map import DEFAULT_SPEED, Crosswalk, Lane, MapError, RoadMap, X, Y

LANE_TYPES = {"VEHICLE": "driving", "BUS": "shoulder", "BIKE": "biking"}
"""Who may use a lane segment, and what it is: paved, but not for cars, where these are buses."""
COLOURS = ("WHITE", "YELLOW")
MARKS = (
    *(f"{line}_{colour}" for colour in COLOURS for line in ("DASHED", "SOLID", "DASH_SOLID", "SOLID_DASH")),
    *(f"DOUBLE_{line}_{colour}" for colour in COLOURS for line in ("SOLID", "DASH")),
    "SOLID_BLUE", "NONE", "UNKNOWN",
)  # fmt: skip
"""Marks between lane segments: av2.map.lane_segment.LaneMarkType."""
Record = dict[str, Any]


def read(path: Path) -> RoadMap:
    """Read an Argoverse 2 map. Raises MapError naming lane segment or crossing where it is not valid."""
    return _road_map(_parse(path), path)


def _parse(path: Path) -> Record:
    try:
        given = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:  # JSONDecodeError names line and column
        raise MapError(f"not readable as JSON: {error}") from error
    if not isinstance(given, dict) or not isinstance(given.get("lane_segments"), dict):
        raise MapError('not an Argoverse 2 map: it must be an object with an object "lane_segments"')
    return given


def _road_map(given: Record, path: Path) -> RoadMap:
    segments: dict[str, Record] = {}
    lines: dict[str, np.ndarray] = {}
    for name, segment in given["lane_segments"].items():
        where = f"lane segment {name!r}"
        with left_out("lane", name):
            borders = [_points(_field(segment, f"{side}_lane_boundary", where), where) for side in ("left", "right")]
            kind = _field(segment, "lane_type", where)
            if not isinstance(kind, str) or kind not in LANE_TYPES:
                raise MapError(f"{where}: lane_type {kind!r} is not one of {', '.join(LANE_TYPES)}")
            if (inside := segment.get("is_intersection", False)) not in (True, False):
                fault("junction", name, f"is_intersection is {inside!r}: it must be true or false", "false taken")
                segment["is_intersection"] = False
            try:
                lines[name] = center(*borders)
            except MapError as error:
                raise MapError(f"{where}: {error}") from error
            segments[name] = segment
            if LANE_TYPES[kind] == "shoulder":
                note_closed(name)
    lines, held = weld(lines, _links(segments))
    ahead = successors(held)
    junctions = _junctions([name for name, segment in segments.items() if segment.get("is_intersection")], lines)
    lanes = {
        name: Lane(
            name,
            knots(lines[name]),
            LANE_TYPES[segment["lane_type"]],
            DEFAULT_SPEED,
            ahead.get(name, ()),
            _neighbour(name, "left", segments, lines),
            _neighbour(name, "right", segments, lines),
            junctions.get(name),
        )
        for name, segment in segments.items()
    }
    return RoadMap(
        name=path.stem,
        lanes=lanes,
        crosswalks=_crosswalks(given.get("pedestrian_crossings")),
        left_hand=keeps_left(lanes),
        source=f"Argoverse 2 map {path.name}",
        licence="CC BY-NC-SA 4.0 (the Argoverse 2 data sets)",
        attribution="Argoverse 2, argoverse.org",
    )


def _field(record: Any, name: str, where: str) -> Any:
    if not isinstance(record, dict):
        raise MapError(f"{where} is {type(record).__name__}, it must be an object")
    if name not in record:
        raise MapError(f"{where}: {name!r} is missing")
    return record[name]


def _points(given: Any, where: str) -> np.ndarray:
    """Points (n, 3) of a list of objects x, y, z."""
    given, rows = given if isinstance(given, list) else [given], []
    if len(given) > MAX_POINTS:
        raise MapError(f"{where}: a line of {len(given)} points, at most {MAX_POINTS} can be read")
    for number, point in enumerate(given):
        row = [point.get(axis) for axis in "xyz"] if isinstance(point, dict) else []
        if not row or any(type(value) not in (int, float) for value in row):
            raise MapError(f"{where}: point {number} is {point!r}: it must be an object with numbers x, y, z")
        rows.append(row)
    try:
        return checked(np.array(rows, np.float64).reshape(-1, 3))
    except (MapError, OverflowError) as error:  # the latter of an integer of hundreds of digits
        raise MapError(f"{where}: {error}") from error


def _ids(segment: Record, name: str, where: str) -> list[str]:
    given = _field(segment, name, where)
    if not isinstance(given, list) or any(type(other) not in (int, str) for other in given):
        raise MapError(f"{where}: {name} are {given!r}: they must be a list of ids")
    return [str(other) for other in given]


def _links(segments: dict[str, Record]) -> list[tuple[str, str]]:
    """Pairs of driving lanes, the second begins where the first ends, from both their lists."""
    pairs = []
    for name, segment in segments.items():
        where = f"lane segment {name!r}"
        with left_out("reference", name):
            pairs += [(name, other) for other in _ids(segment, "successors", where)]
        with left_out("reference", name):
            pairs += [(other, name) for other in _ids(segment, "predecessors", where)]
    pairs = list(dict.fromkeys(pairs))
    _note_outside("link", [other for pair in pairs for other in pair if other not in segments])
    return [
        pair
        for pair in pairs
        if all(other in segments and LANE_TYPES[segments[other]["lane_type"]] == "driving" for other in pair)
    ]


def _note_outside(kind: str, names: list[str]) -> None:
    """Say how many references lead to what is not in the file: a map of a log is an excerpt, so that is no fault."""
    if names:
        what = f"{len(names)} references lead to lane segments that are not in the file, as to {names[0]!r}: left out"
        note(kind, "lane_segments", what, amount=float(len(names)), unit="references")


def _neighbour(name: str, side: str, segments: dict[str, Record], lines: dict[str, np.ndarray]) -> str | None:
    """The driving lane of the same direction on the left or right into which the mark between them permits to change."""
    segment, back = segments[name], "right" if side == "left" else "left"
    if f"{side}_neighbor_id" not in segment:
        fault("reference", f"{name} {side}_neighbor_id", "it is missing", "no lane change")
    other = str(segment.get(f"{side}_neighbor_id"))
    if other != "None" and str(segments.get(other, {}).get(f"{back}_neighbor_id")) != name:
        what = "is not in the file" if other not in segments else f"does not name it as its {back} neighbour"
        note("reference", f"{name} {side}_neighbor_id", f"lane segment {other!r} {what}: no lane change")
    if other == name or other not in segments or str(segments[other].get(f"{back}_neighbor_id")) != name:
        return None
    if any(LANE_TYPES[segments[one]["lane_type"]] != "driving" for one in (name, other)):
        return None
    mark = segment.get(f"{side}_lane_mark_type")
    if mark not in MARKS:
        fault("value", f"{name} {side}_lane_mark_type", f"{mark!r:.40} is no mark that there is", "no lane change over it")
        return None
    ways = [lines[one][-1, [X, Y]] - lines[one][0, [X, Y]] for one in (name, other)]
    return other if ways[0] @ ways[1] > 0 and _mark_permits(mark, side) else None


def _mark_permits(mark: str, side: str) -> bool:
    """Whether a lane may be left over the mark on its left or right side. Double marks are named from left to right."""
    parts = [part for part in mark.split("_") if part in ("SOLID", "DASH", "DASHED")]
    return not parts or parts[0 if side == "right" else -1] != "SOLID"


def _junctions(names: list[str], lines: dict[str, np.ndarray]) -> dict[str, str]:
    """Junction of each of the lanes, named for the first one that it consists of."""
    shapes = np.array([shapely.LineString(lines[name][:, :2]) for name in names], object)
    touching = shapely.STRtree(shapes).query(shapes, predicate="intersects").T  # each touches itself, at least
    pairs = ((a, b) for a, b in touching.tolist())
    return {names[k]: names[min(group)] for group in groups(pairs) for k in group}


def _crosswalks(given: Any) -> dict[str, Crosswalk]:
    """Crosswalks between two edges, which may run the same way or opposite ways."""
    found: dict[str, Crosswalk] = {}
    if not isinstance(given, dict):
        wrong = "it is missing" if given is None else f"it is {type(given).__name__}, it must be an object"
        fault("crosswalk", "pedestrian_crossings", wrong, "left out")
        return found
    for name, crossing in given.items():
        where = f"pedestrian crossing {name!r}"
        with left_out("crosswalk", name):
            one, other = (_points(_field(crossing, edge, where), where) for edge in ("edge1", "edge2"))
            beside = np.linalg.norm(one[[0, -1]] - other[[0, -1]]) <= np.linalg.norm(one[[0, -1]] - other[[-1, 0]])
            found[name] = Crosswalk(name, np.concatenate([one, other[::-1] if beside else other]))
    return found
