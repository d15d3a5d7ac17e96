"""The own format of maps, `*.lanes.json`: written to be read and diffed, read with every key checked."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env.files import write_text
from gigaflow_env.roads.centerline import length
from gigaflow_env.roads.road_map import Crosswalk, Lane, MapError, Phase, Program, RoadMap, Signal, validate

SUFFIX = ".lanes.json"
FORMAT, VERSION = "gigaflow-lanes", 1
SCALES = np.array([100.0, 100.0, 100.0, 1e4, 100.0])
"""What a unit of each column of `Lane.line` is in the integers of the file."""
LARGEST = 10**15
"""Larger numbers are no map's, and a float64 doesn't hold them exactly."""
HEAD = {"name": str, "left_hand": bool, "source": str, "licence": str, "attribution": str}
PARTS = ("crosswalks", "lanes", "signals")
LANE_REQUIRED = {"kind": str, "line": list, "speed": (int, float), "successors": list}
LANE_OPTIONAL = {"left": str, "right": str, "junction": str, "signal": str, "twin": str}


def save(road_map: RoadMap, path: str | os.PathLike[str]) -> None:
    """Write `*.lanes.json`, made to be read and diffed: one lane a line, integer centimetres, 1e-4 rad and 0.001 m/s.

    Linked ends within 5 mm stay together: rounding must not open gaps. The file is replaced as a whole or not at all.
    Raises MapError for an inconsistent map.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise MapError(f"{path}: the name of a map must end with {SUFFIX}")
    given = document(road_map)
    lines = []
    for key, value in given.items():
        if key in PARTS:
            rows = [f"\n{_json(name)}: {_json(record)}" for name, record in value.items()]
            lines.append(f"{_json(key)}: {{{','.join(rows)}\n}}")
        else:
            lines.append(f"{_json(key)}: {_json(value)}")
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    write_text(path, text)


def document(road_map: RoadMap) -> dict[str, Any]:
    """What `save` writes, as plain dicts, lists, texts and numbers. Raises MapError for an inconsistent map."""
    validate(road_map)  # it may be made in Python, and what is written has to be readable
    ends = _weld(road_map.lanes)
    head = {"format": FORMAT, "version": VERSION, **{name: getattr(road_map, name) for name in HEAD}}
    crosswalks = {key: {"outline": _integers(c.outline, 100.0)} for key, c in road_map.crosswalks.items()}
    lanes = {key: _lane_record(lane, ends) for key, lane in road_map.lanes.items()}
    signals = {key: _signal_record(signal) for key, signal in road_map.signals.items()}
    return head | dict(zip(PARTS, (crosswalks, lanes, signals), strict=True))


def _json(given: Any) -> str:
    return json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _integers(numbers: np.ndarray, scale: Any) -> list[list[int]]:
    return np.rint(numbers * scale).astype(np.int64).tolist()


def _lane_record(lane: Lane, ends: dict[tuple[str, int], np.ndarray]) -> dict[str, Any]:
    line = lane.line.copy()
    for end in (0, -1):
        line[end, :3] = ends.get((lane.id, end), line[end, :3])
    knots = np.rint(line * SCALES).astype(np.int64)
    moves = (np.diff(knots[:, :2], axis=0) != 0).any(axis=1)
    if not moves.any():
        raise MapError(f"lane {lane.id!r} is too short to be saved: {length(lane.line):.4f} m, its ends round to one point")
    last = np.flatnonzero(moves)[-1] + 1  # the last knot takes the place of those that round to the same point
    keep = np.concatenate([[True], moves])
    keep[last] = False
    knots = np.concatenate([knots[keep], knots[-1:]])
    record = {"kind": lane.kind, "line": knots.tolist(), "speed": round(lane.speed, 3), "successors": lane.successors}
    return record | {name: getattr(lane, name) for name in LANE_OPTIONAL if getattr(lane, name) is not None}


def _signal_record(signal: Signal) -> dict[str, Any]:
    record: dict[str, Any] = {"group": signal.group, "kind": signal.kind}
    if signal.stage is not None:
        record["stage"] = signal.stage
    if signal.program is not None:
        phases = [[phase.colour, round(phase.seconds, 3)] for phase in signal.program.phases]
        record["program"] = {"offset": round(signal.program.offset, 3), "phases": phases}
    return record


def _signal(key: str, record: dict[str, Any]) -> Signal:
    _expect(record, {"group": str, "kind": str}, {"stage": int, "program": dict})
    given = record.get("program")
    if given is None:
        return Signal(id=key, **record)
    _expect(given, {"offset": (int, float), "phases": list})
    for number, phase in enumerate(given["phases"]):
        if not (
            isinstance(phase, list) and len(phase) == 2 and isinstance(phase[0], str) and type(phase[1]) in (int, float)
        ):
            raise MapError(f"phase {number} is {str(phase):.100}: it must be a colour and its seconds")
    program = Program(tuple(Phase(*phase) for phase in given["phases"]), float(given["offset"]))
    return Signal(id=key, **record | {"program": program})


def _weld(lanes: dict[str, Lane]) -> dict[tuple[str, int], np.ndarray]:
    """Common position (x, y, z) of linked lane ends within 5 mm, by (lane, 0: start or -1: end)."""
    root: dict[tuple[str, int], tuple[str, int]] = {}

    def find(end: tuple[str, int]) -> tuple[str, int]:
        while root.setdefault(end, end) != end:
            end = root[end]
        return end

    for lane in lanes.values():
        for other in lane.successors:
            if np.linalg.norm(lane.line[-1, :3] - lanes[other].line[0, :3]) < 0.005:
                root[find((other, 0))] = find((lane.id, -1))
    return {end: lanes[find(end)[0]].line[find(end)[1], :3] for end in root}


def read(path: Path) -> RoadMap:
    """Read a map. Raises MapError naming the place for anything but a map of this format."""
    try:
        given = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # JSONDecodeError names line and column
        raise MapError(f"not a readable map: {error}") from error
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise MapError(f'not a map: the head must say "format": "{FORMAT}"')
    if given.get("version") != VERSION:
        raise MapError(f"version {given.get('version')!r} of {FORMAT}; this program reads version {VERSION}")
    place = "head"
    try:
        _expect(given, {"format": str, "version": int, **HEAD, "crosswalks": dict, "lanes": dict, "signals": dict})
        lanes, signals, crosswalks = {}, {}, {}
        for key, record in given["lanes"].items():
            place = f"lane {key!r}"
            _expect(record, LANE_REQUIRED, LANE_OPTIONAL)
            if not all(isinstance(other, str) for other in record["successors"]):
                raise MapError(f"'successors' are {record['successors']!r}: they must be names of lanes")
            line = _numbers(record["line"], 5) / SCALES
            lanes[key] = Lane(id=key, **(record | {"line": line, "successors": tuple(record["successors"])}))
        for key, record in given["signals"].items():
            place = f"signal {key!r}"
            signals[key] = _signal(key, record)
        for key, record in given["crosswalks"].items():
            place = f"crosswalk {key!r}"
            _expect(record, {"outline": list})
            crosswalks[key] = Crosswalk(id=key, outline=_numbers(record["outline"], 3) / 100.0)
    except MapError as error:
        raise MapError(f"{place}: {error}") from error
    return RoadMap(lanes=lanes, signals=signals, crosswalks=crosswalks, **{name: given[name] for name in HEAD})


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, given in pairs:
        if key in made:
            raise ValueError(f"{key!r} is given twice")
        made[key] = given
    return made


def _expect(record: Any, required: dict[str, Any], optional: dict[str, Any] | None = None) -> None:
    types = required | (optional or {})
    if not isinstance(record, dict):
        raise MapError(f"expected an object with {', '.join(types)}")
    for key in required:
        if key not in record:
            raise MapError(f"{key!r} is missing")
    for key, given in record.items():
        if key not in types:
            raise MapError(f"unknown key {key!r}; known are {', '.join(types)}")
        if not isinstance(given, types[key]):
            raise MapError(f"{key!r} is {given!r}, which is of the wrong type")


def _numbers(rows: list[Any], columns: int) -> np.ndarray:
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != columns or any(type(n) is not int or abs(n) > LARGEST for n in row):
            raise MapError(f"point {number} is {str(row):.100}: it must be {columns} whole numbers, at most {LARGEST:.0e}")
    return np.array(rows, np.float64).reshape(-1, columns)
