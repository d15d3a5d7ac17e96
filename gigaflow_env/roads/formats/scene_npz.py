"""The own format of scenes, `*.scene.npz`: a Scenario and its RoadMap in one compact file, exactly as they were.

A head of JSON has names and links, arrays have the numbers: nothing of it is code. Arrays are kept as float64, so that what
is read is bit for bit what was written: a cache may be trusted, and a failure happens again.
"""

import dataclasses
import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env.files import replacing
from gigaflow_env.roads.road_map import Crosswalk, Entry, Lane, MapError, Phase, Program, RoadMap, Signal, validate
from gigaflow_env.roads.scenario import Scenario, validate_scenario

SUFFIX = ".scene.npz"
FORMAT, VERSION = "gigaflow-scene", 1
LARGEST = 1 << 30
"""[bytes] Ours: a file may not unpack to more; a scene of the usual data sets has a few MB."""
MOST_STATES = 20_000_000
"""Agents times steps. Ours: a whole hour of a nuPlan log has fewer, and each takes 64 bytes."""

_TRACKS = ("x", "y", "z", "heading", "velocity_x", "velocity_y", "length", "width")
_ARRAYS = {
    "head": "|u1",
    "valid": "|b1",
    "tracks": "<f8",
    "lights": "|i1",
    "lines": "<f8",
    "outlines": "<f8",
    "edges": "<f8",
}
_MAP = {"name": str, "left_hand": bool, "source": str, "licence": str, "attribution": str}
_LANE = {"id": str, "knots": int, "kind": str, "speed": (int, float), "successors": list}
_LINKS = {"left": str, "right": str, "junction": str, "signal": str, "twin": str}
_SCENARIO = {
    "name": str, "dt": (int, float), "ids": list, "kinds": list, "lights": list, "predict": list, "source": str,
    "road_edges": list, "tags": list,
}  # fmt: skip


def save(scenario: Scenario, road_map: RoadMap, path: str | os.PathLike[str]) -> None:
    """Write `*.scene.npz`, whole or not at all; the same scene gives the same bytes.

    Raises MapError for another suffix and for a map or scenario that is not consistent.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise MapError(f"{path}: the name of a scene must end with {SUFFIX}")
    validate(road_map)
    validate_scenario(scenario)
    head = {"format": FORMAT, "version": VERSION, "map": _map_record(road_map), "scenario": _scenario_record(scenario)}
    lines = [lane.line for lane in road_map.lanes.values()]
    outlines = [crosswalk.outline for crosswalk in road_map.crosswalks.values()]
    states = list(scenario.lights.values())
    arrays = {
        "head": np.frombuffer(json.dumps(head, allow_nan=False).encode(), np.uint8),
        "valid": scenario.valid,
        "tracks": np.array([getattr(scenario, name)[scenario.valid] for name in _TRACKS], np.float64),
        "lights": np.array(states, np.int8).reshape(len(states), scenario.steps),
        "lines": np.concatenate(lines).astype(np.float64),
        "outlines": np.concatenate(outlines).astype(np.float64) if outlines else np.zeros((0, 3)),
        "edges": np.concatenate([np.zeros((0, 3)), *scenario.road_edges]),
    }
    with replacing(path) as part:
        np.savez_compressed(part, **arrays)  # type: ignore[arg-type]


def read(path: Path) -> RoadMap:
    """The map of a scene. Raises MapError for anything but a whole scene of this format."""
    return read_both(path)[0]


def read_scenario(path: Path) -> Scenario:
    """The traffic of a scene; errors as for `read`."""
    return read_both(path)[1]


def read_both(path: Path) -> tuple[RoadMap, Scenario]:
    """Map and traffic of a scene; errors as for `read`."""
    arrays = _arrays(path)
    try:
        head = json.loads(arrays["head"].tobytes())
    except (ValueError, RecursionError) as error:
        raise MapError(f"the scene is damaged: its head is not readable: {error}") from error
    if not isinstance(head, dict) or head.get("format") != FORMAT:
        raise MapError(f'no scene: its head must say "format": "{FORMAT}"')
    if head.get("version") != VERSION:
        raise MapError(f"version {head.get('version')!r} of {FORMAT}; this program reads version {VERSION}")
    try:
        return _road_map(_get(head, "map", dict), arrays), _scenario(_get(head, "scenario", dict), arrays)
    except MapError as error:
        raise MapError(f"the scene is damaged: {error}") from error


def _arrays(path: Path) -> dict[str, np.ndarray]:
    if not zipfile.is_zipfile(path):
        raise MapError(f"no scene: {'the file is empty' if not path.stat().st_size else 'it is no .npz file'}")
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(info.file_size for info in archive.infolist())
        if size > LARGEST:
            raise MapError(f"the scene would unpack to {size >> 20} MiB, at most {LARGEST >> 20} are possible")
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS if name in file.files}
    except MapError:
        raise
    except (OSError, EOFError, ValueError, KeyError, AttributeError, NotImplementedError, RuntimeError, OverflowError,
            MemoryError, SyntaxError, TypeError, zipfile.BadZipFile, zlib.error) as error:  # fmt: skip
        raise MapError(f"the scene is damaged: {' '.join(str(error).split())}") from error
    for name, kind in _ARRAYS.items():
        if name not in arrays:
            raise MapError(f"the scene lacks {name!r}")
        if arrays[name].dtype.newbyteorder("<") != np.dtype(kind):
            raise MapError(f"the scene is damaged: {name!r} is {arrays[name].dtype}, it must be {np.dtype(kind)}")
    return arrays


def _map_record(road_map: RoadMap) -> dict[str, Any]:
    lanes = []
    for lane in road_map.lanes.values():
        record = {
            "id": lane.id,
            "knots": len(lane.line),
            "kind": lane.kind,
            "speed": lane.speed,
            "successors": lane.successors,
        }
        lanes.append(record | {name: getattr(lane, name) for name in _LINKS if getattr(lane, name) is not None})
    return {name: getattr(road_map, name) for name in _MAP} | {
        "lanes": lanes,
        "signals": [dataclasses.asdict(signal) for signal in road_map.signals.values()],
        "crosswalks": [[crosswalk.id, len(crosswalk.outline)] for crosswalk in road_map.crosswalks.values()],
        "report": road_map.report,
    }


def _scenario_record(scenario: Scenario) -> dict[str, Any]:
    record = {name: getattr(scenario, name) for name in _SCENARIO}
    record |= {"lights": list(scenario.lights), "predict": [*map(int, scenario.predict)]}
    record |= {"road_edges": [len(line) for line in scenario.road_edges]}
    return record | ({} if scenario.ego is None else {"ego": int(scenario.ego)})


def _road_map(record: dict[str, Any], arrays: dict[str, np.ndarray]) -> RoadMap:
    about = {name: _get(record, name, kind) for name, kind in _MAP.items()}
    given = [_fields(lane, _LANE, _LINKS) for lane in _get(record, "lanes", list)]
    lines = _split(arrays["lines"], [lane["knots"] for lane in given], 5, "lines")
    lanes = {}
    for lane, line in zip(given, lines, strict=True):
        _texts(lane["successors"], f"successors of lane {lane['id']!r}")
        del lane["knots"]
        lanes[lane["id"]] = Lane(**(lane | {"line": line, "successors": tuple(lane["successors"])}))
    if len(lanes) < len(given):
        raise MapError("an id of a lane is given twice")
    signals = {signal.id: signal for signal in map(_signal, _get(record, "signals", list))}
    named = _get(record, "crosswalks", list)
    if not all(isinstance(c, list) and len(c) == 2 and isinstance(c[0], str) and type(c[1]) is int for c in named):
        raise MapError("'crosswalks' must be pairs of an id and its number of corners")
    outlines = _split(arrays["outlines"], [corners for _, corners in named], 3, "outlines")
    crosswalks = {name: Crosswalk(name, outline) for (name, _), outline in zip(named, outlines, strict=True)}
    report = tuple(map(_entry, _get(record, "report", list)))
    return RoadMap(lanes=lanes, signals=signals, crosswalks=crosswalks, report=report, **about)


def _scenario(record: dict[str, Any], arrays: dict[str, np.ndarray]) -> Scenario:
    given = _fields(record, _SCENARIO, {"ego": int})
    for name in ("ids", "kinds", "lights", "tags"):
        _texts(given[name], name)
    for name in ("predict", "road_edges"):
        if any(type(number) is not int for number in given[name]):
            raise MapError(f"{name!r} must be whole numbers")
    valid, tracks, states = arrays["valid"], arrays["tracks"], arrays["lights"]
    if valid.size > MOST_STATES:
        raise MapError(f"{valid.shape} agents and steps: at most {MOST_STATES} states are possible")
    if valid.ndim != 2 or tracks.shape != (len(_TRACKS), valid.sum()):
        raise MapError(f"tracks are {tracks.shape} where valid is {valid.shape} with {valid.sum()} that are true")
    if states.shape != (len(given["lights"]), valid.shape[1]):
        raise MapError(f"the states of {len(given['lights'])} lights are {states.shape}")
    filled = np.full((len(_TRACKS), *valid.shape), np.nan)
    filled[:, valid] = tracks
    lights = dict(zip(given.pop("lights"), states, strict=True))
    given |= {name: tuple(given[name]) for name in ("ids", "kinds", "predict", "tags")}
    given["road_edges"] = tuple(_split(arrays["edges"], given["road_edges"], 3, "road edges"))
    return Scenario(valid=valid, lights=lights, **given, **dict(zip(_TRACKS, filled, strict=True)))


def _signal(record: Any) -> Signal:
    given = _fields(
        record, {"id": str, "kind": str, "group": str}, {"stage": (int, type(None)), "program": (list, type(None))}
    )
    program = given.get("program")
    if program is not None:
        phases: list[Any] = program[0] if len(program) == 2 and isinstance(program[0], list) else [None]
        if not all(isinstance(p, list) and len(p) == 2 and isinstance(p[0], str) and _is_number(p[1]) for p in phases):
            raise MapError(f"the program of signal {given['id']!r} is not phases and an offset")
        if not _is_number(program[1]):
            raise MapError(f"the offset of signal {given['id']!r} is {program[1]!r}: it must be a number")
        given["program"] = Program(tuple(Phase(*phase) for phase in phases), program[1])
    return Signal(**given)


def _entry(given: Any) -> Entry:
    if not isinstance(given, list) or len(given) != len(Entry._fields) or not all(isinstance(t, str) for t in given[:3]):
        raise MapError(f"{str(given):.60} is no entry of a report")
    entry = Entry._make(given)
    return entry._replace(place=tuple(entry.place)) if isinstance(entry.place, list) else entry  # type: ignore[arg-type]


def _split(points: np.ndarray, sizes: list[int], columns: int, what: str) -> list[np.ndarray]:
    if points.shape != (sum(sizes), columns) or any(size < 0 for size in sizes):
        raise MapError(f"{what} are {points.shape}, the head says ({sum(sizes)}, {columns})")
    return np.split(points, np.cumsum(sizes)[:-1]) if sizes else []


def _fields(record: Any, required: dict[str, Any], optional: dict[str, Any]) -> dict[str, Any]:
    """A copy of a record that has these fields and no others."""
    if not isinstance(record, dict):
        raise MapError(f"{str(record):.60} must be an object with {', '.join(required)}")
    unknown = record.keys() - required.keys() - optional.keys()
    if unknown:
        raise MapError(f"unknown key {min(unknown)!r}")
    present = {name: kind for name, kind in optional.items() if name in record}
    return {name: _get(record, name, kind) for name, kind in (required | present).items()}


def _get(record: dict[str, Any], name: str, kind: Any) -> Any:
    given = record.get(name)
    if name not in record or not isinstance(given, kind) or (isinstance(given, bool) and kind is not bool):
        raise MapError(f"{name!r} is {'missing' if name not in record else f'{str(given):.40}, of the wrong type'}")
    return given


def _texts(given: list[Any], what: str) -> None:
    if not all(isinstance(text, str) for text in given):
        raise MapError(f"{what} must be texts")


def _is_number(given: Any) -> bool:
    return type(given) in (int, float)
