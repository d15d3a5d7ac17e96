"""nuPlan logs, *.db, to RoadMap and Scenario: tracked boxes, the recording car and lights, with the map of their city.

Source: docs/nuplan_schema.md of nuplan-devkit, and how it reads a log: every second of 20 sweeps a second, the pose of the
car at its rear axle. A log is long: a record is one of its scenes, by number, or the 15 s that begin at a sweep, by its
token, which is how benchmarks name scenarios. The map is cut to what the car passes. There are no heights.
"""

import math
import os
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.roads.formats.common.limits import MAX_COORDINATE
from gigaflow_env.roads.formats.nuplan.geopackage import Row, opened, rows
from gigaflow_env.roads.formats.nuplan.load import Area, read_area
from gigaflow_env.roads.import_report import fault, left_out
from gigaflow_env.roads.road_map import MapError, RoadMap, Signal
from gigaflow_env.roads.scenario import LIGHT_STATES, Scenario

EGO = "ego"
"""Id of the recording car."""
LENGTH, WIDTH, REAR_TO_CENTER = 5.176, 2.297, 1.461
"""[m] Of the recording car, a Chrysler Pacifica. Source: nuplan-devkit, get_pacifica_parameters."""
DURATION = 15.0
"""[s] Of a scenario that a token names: as long as nuPlan's closed loop."""
RATE = 0.1
"""[s] Sweeps follow each other twice as fast; every second one is read, as by the devkit."""
AROUND = 120.0
"""[m] Of the map around the way of the car: nuPlan's simulation sees 100 m far."""
KINDS = {"vehicle": "vehicle", "bicycle": "cyclist", "pedestrian": "pedestrian"}
"""Categories; all others (traffic_cone, barrier, czone_sign, generic_object) are "other"."""
CITIES = {"las_vegas": "us-nv-las-vegas-strip", "boston": "us-ma-boston", "pittsburgh": "us-pa-pittsburgh-hazelwood"}
"""Folders of maps of places that logs call otherwise."""
MAPS_ROOT = "NUPLAN_MAPS_ROOT"
"""Environment variable of the devkit that names the folder of maps."""
UP = 4
"""Folders above a log in which a folder `maps` is looked for: the data set has two or three."""

_BOX = ("x", "y", "yaw", "vx", "vy", "length", "width")
_POSE = ("x", "y", "qw", "qx", "qy", "qz", "vx", "vy", "angular_rate_z")
_MICROSECOND = 1e-6


class _Window(NamedTuple):
    """The moments of a record."""

    name: str
    first: int  # [us]
    last: int
    sweeps: dict[bytes, int]  # token -> step
    dt: float


def read(path: Path, record: int | str | None = None) -> RoadMap:
    """The map around a record of a log, with a light for each connector that has one; None where there is one scene only.

    Raises MapError for a record that is not there, a map that is not found, and what is damaged.
    """
    return read_both(path, record)[0]


def read_scenario(path: Path, record: int | str | None = None) -> Scenario:
    """The traffic of a record; arguments and errors as for `read`, as the map says which lights there are."""
    return read_both(path, record)[1]


def read_both(path: Path, record: int | str | None = None) -> tuple[RoadMap, Scenario]:
    """Map and traffic of a record; arguments and errors as for `read`."""
    with opened(path, "a nuPlan log") as connection:
        logs = rows(connection, "log")
        window = _window(connection, path, record)
        scenario = _scenario(connection, window, path)
        states = _lights(connection, window)
    ego = scenario.valid[0]
    x, y = scenario.x[0][ego], scenario.y[0][ego]
    area = x.min() - AROUND, y.min() - AROUND, x.max() + AROUND, y.max() + AROUND
    road_map = replace(with_own_lights(_map(path, logs, area)), name=scenario.name)
    lights = {name: states.pop(name) for name in sorted(states.keys() & road_map.signals.keys())}
    return road_map, replace(scenario, lights=lights)


def count(path: Path) -> int:
    """How many scenes a log has. Raises MapError where it is none."""
    with opened(path, "a nuPlan log") as connection:
        return len(_scenes(connection))


def _scenes(connection: sqlite3.Connection) -> list[tuple[str, int, int]]:
    """Name of each scene, and when it begins and ends [us], in the order of time."""
    sweeps = rows(connection, "lidar_pc", "token", "timestamp", "scene_token", "ego_pose_token")
    names = {row["token"]: str(row.get("name") or _hex(row["token"])) for row in rows(connection, "scene", "token")}
    times: dict[Any, list[int]] = {}
    for row in sweeps:
        if row["scene_token"] in names and type(row["timestamp"]) is int:
            times.setdefault(row["scene_token"], []).append(row["timestamp"])
    return sorted(((names[token], min(of), max(of)) for token, of in times.items()), key=lambda scene: scene[1])


def _window(connection: sqlite3.Connection, path: Path, record: int | str | None) -> _Window:
    scenes = _scenes(connection)
    if isinstance(record, str):
        name, first, last = record, *_span(connection, record)
    elif record is None and len(scenes) > 1:
        raise MapError(
            f"the log has {len(scenes)} scenes: say which, by its number or by the token of the sweep where it begins, "
            "as in gigaflow_env.roads.load_scene(path, record=0)"
        )
    elif not 0 <= (record or 0) < len(scenes):
        raise MapError(f"record {record or 0}: the log has {len(scenes)} scenes, counted from 0")
    else:
        name, first, last = scenes[record or 0]
    found = _select(connection, "SELECT token, timestamp FROM lidar_pc WHERE timestamp BETWEEN ? AND ?", first, last)
    sweeps = sorted((row["timestamp"], row["token"]) for row in found if isinstance(row["token"], bytes))
    if len(sweeps) < 2:
        raise MapError(f"record {record or 0}: it has {len(sweeps)} sweeps, two are needed at least")
    step = float(np.median(np.diff([time for time, _ in sweeps]))) * _MICROSECOND
    if not step > 0.001:
        raise MapError(f"record {record or 0}: its sweeps are {step} s apart")
    every = max(1, round(RATE / step))
    tokens = {token: k for k, (_, token) in enumerate(sweeps[::every])}
    return _Window(f"{path.stem}.{name}", first, last, tokens, round(every * step, 3))


def _span(connection: sqlite3.Connection, token: str) -> tuple[int, int]:
    """When the scenario that a token names begins and ends [us]."""
    try:
        key = bytes.fromhex(token)
    except ValueError:
        raise MapError(f"record {token!r}: neither a number nor a token of a sweep, which is hexadecimal") from None
    found = _select(connection, "SELECT timestamp FROM lidar_pc WHERE token = ?", key)
    if not found or type(found[0]["timestamp"]) is not int:
        raise MapError(f"record {token!r}: no sweep of the log has this token")
    return found[0]["timestamp"], found[0]["timestamp"] + round(DURATION / _MICROSECOND)


def _select(connection: sqlite3.Connection, query: str, *values: Any) -> list[Row]:
    return [dict(row) for row in connection.execute(query, values)]


def _there(connection: sqlite3.Connection, table: str) -> bool:
    return connection.execute(f"PRAGMA table_info({table})").fetchone() is not None


def _in_window(connection: sqlite3.Connection, window: _Window, table: str, columns: str, more: str = "") -> Iterator[Row]:
    """Rows of a table that belong to the sweeps which are read, with their `step`, in the order of time."""
    query = f"SELECT {columns}, p.token AS sweep FROM lidar_pc AS p JOIN {table} {more} WHERE p.timestamp BETWEEN ? AND ?"
    for row in _select(connection, f"{query} ORDER BY p.timestamp, t.rowid", window.first, window.last):
        if row["sweep"] in window.sweeps:
            yield row | {"step": window.sweeps[row["sweep"]]}


def _scenario(connection: sqlite3.Connection, window: _Window, path: Path) -> Scenario:
    steps = len(window.sweeps)
    tracks = {EGO: _ego(connection, window)}
    kinds = {EGO: "vehicle"}
    categories = {row["token"]: str(row["name"]) for row in rows(connection, "category", "token", "name")}
    owners = {
        row["token"]: categories.get(row["category_token"], "")
        for row in rows(connection, "track", "token", "category_token")
    }
    boxes: dict[bytes, list[Row]] = {}
    columns = ", ".join(f"t.{name}" for name in ("track_token", *_BOX))
    for row in _in_window(connection, window, "lidar_box AS t", columns, "ON t.lidar_pc_token = p.token"):
        boxes.setdefault(row["track_token"], []).append(row)
    for token, seen in boxes.items():
        name = _hex(token)
        with left_out("agent", name):
            if token not in owners:
                fault("reference", f"track of {name}", "there is none", "of the kind 'other'")
            tracks[name] = _track(seen, steps, name)
            kinds[name] = KINDS.get(owners.get(token, ""), "other")
    x, y, heading, velocity_x, velocity_y, length, width = np.array(list(tracks.values())).transpose(1, 0, 2).copy()
    valid = ~np.isnan(x)
    return Scenario(
        name=window.name, dt=window.dt, ids=tuple(tracks), kinds=tuple(kinds.values()), valid=valid, x=x, y=y,
        z=np.where(valid, 0.0, np.nan), heading=heading, velocity_x=velocity_x, velocity_y=velocity_y, length=length,
        width=width, ego=0, predict=(0,), source=f"nuPlan log {path.name}", tags=_tags(connection, window),
    )  # fmt: skip


def _ego(connection: sqlite3.Connection, window: _Window) -> np.ndarray:
    """Track of the recording car, from poses of its rear axle: (7, steps)."""
    track = np.full((len(_BOX), len(window.sweeps)), np.nan)
    columns = ", ".join(f"t.{name}" for name in _POSE)
    for row in _in_window(connection, window, "ego_pose AS t", columns, "ON p.ego_pose_token = t.token"):
        with left_out("agent", f"{EGO} at step {row['step']}"):
            track[:, row["step"]] = _center(row)
    if np.isnan(track[0]).all():
        raise MapError(f"agent {EGO}: no sweep of the record has a pose of the recording car")
    return track


def _center(row: Row) -> tuple[float, ...]:
    """The recording car's box, in the order of _BOX."""
    x, y, w, i, j, k, along, across, rate = _numbers(row, _POSE, EGO)
    size = w * w + i * i + j * j + k * k
    if not 0.9 < size < 1.1:
        reason = f"the rotation at step {row['step']} is no unit quaternion: its square is {size:.3g}"
        raise MapError(f"agent {EGO}: {reason}", reason=reason)
    yaw = math.atan2(2 * (w * k + i * j), 1 - 2 * (j * j + k * k))
    cos, sin, side = math.cos(yaw), math.sin(yaw), across + rate * REAR_TO_CENTER
    velocity = along * cos - side * sin, along * sin + side * cos
    return x + REAR_TO_CENTER * cos, y + REAR_TO_CENTER * sin, yaw, *velocity, LENGTH, WIDTH


def _track(seen: Iterable[Row], steps: int, name: str) -> np.ndarray:
    """x, y, heading, velocity, length and width, NaN where the box was not seen: (7, steps)."""
    track = np.full((len(_BOX), steps), np.nan)
    for row in seen:
        numbers = _numbers(row, _BOX, name)
        if min(numbers[-2:]) <= 0:
            reason = f"length and width at step {row['step']} are {numbers[-2]} and {numbers[-1]} m: they must be above 0"
            raise MapError(f"agent {name}: {reason}", reason=reason)
        track[:, row["step"]] = numbers
    return track


def _numbers(row: Row, columns: tuple[str, ...], name: str) -> list[float]:
    for column in columns:
        given = row[column]
        if type(given) not in (int, float) or not abs(given) < MAX_COORDINATE:
            reason = f"{column}={given!r:.40} at step {row['step']} must be a finite number"
            raise MapError(f"agent {name}: {reason}", reason=reason)
    return [float(row[column]) for column in columns]


def _tags(connection: sqlite3.Connection, window: _Window) -> tuple[str, ...]:
    """Types of scenarios that the log names, in the order of time: those of the start come first."""
    if not _there(connection, "scenario_tag"):
        return ()
    found = _in_window(connection, window, "scenario_tag AS t", "t.type", "ON t.lidar_pc_token = p.token")
    return tuple(dict.fromkeys(str(row["type"]) for row in found))


def _lights(connection: sqlite3.Connection, window: _Window) -> dict[str, np.ndarray]:
    """Recorded states by the connector that each controls: places in LIGHT_STATES (steps,)."""
    unknown = LIGHT_STATES.index("unknown")
    states: dict[str, np.ndarray] = {}
    if not _there(connection, "traffic_light_status"):
        return states
    columns = "t.lane_connector_id, t.status"
    for row in _in_window(connection, window, "traffic_light_status AS t", columns, "ON t.lidar_pc_token = p.token"):
        shown = states.setdefault(str(row["lane_connector_id"]), np.full(len(window.sweeps), unknown, np.int8))
        status = str(row["status"]).lower()
        shown[row["step"]] = LIGHT_STATES.index(status) if status in ("green", "yellow", "red") else unknown
    return states


def with_own_lights(road_map: RoadMap) -> RoadMap:
    """The map with a light of its own for each connector that has one, under its name.

    Logs and nuPlan's simulation have the states of connectors, not of stop polygons. Raises MapError where a name is taken.
    """
    lit = {lane.id for lane in road_map.lanes.values() if lane.signal and road_map.signals[lane.signal].kind == "light"}
    lanes = {key: replace(lane, signal=key) if key in lit else lane for key, lane in road_map.lanes.items()}
    others = {key: signal for key, signal in road_map.signals.items() if signal.kind != "light"}
    if both := lit & others.keys():
        raise MapError(f"fid {min(both)} is used by a lane connector and by a stop polygon")
    lights = {key: Signal(key, "light", lanes[key].junction or "") for key in sorted(lit)}
    return replace(road_map, lanes=lanes, signals=others | lights)


def map_of(names: Sequence[str], folders: Sequence[Path]) -> Path | None:
    """The first map of these names in some folders, as NAME.gpkg, or as the data set has it: NAME/VERSION/map.gpkg."""
    for name in dict.fromkeys(CITIES.get(name, name).removesuffix(".gpkg") for name in names):
        if not name or not all(letter.isalnum() or letter in "-_. " for letter in name) or name.startswith("."):
            continue  # no name of a folder of the data set: a log must not lead elsewhere
        for folder in folders:
            for found in (folder / f"{name}.gpkg", *sorted(folder.glob(f"{name}/*/map.gpkg"))):
                if found.is_file():
                    return found
    return None


def _map(path: Path, logs: list[Row], area: Area) -> RoadMap:
    """The map of a log's city: beside it, or in a folder of maps."""
    names = [str(row.get(key) or "") for row in logs for key in ("map_version", "location")]
    folders = [path.parent, *(parent / "maps" for parent in path.resolve().parents[:UP])]
    if os.environ.get(MAPS_ROOT):
        folders.append(Path(os.environ[MAPS_ROOT]))
    beside = sorted(path.parent.glob("*.gpkg"))
    found = map_of(names, folders) or (beside[0] if len(beside) == 1 else None)
    if found is None:
        named = " or ".join(dict.fromkeys(f"{CITIES.get(name, name)}.gpkg" for name in names if name))
        raise MapError(
            f"its map {named or '*.gpkg'} is neither beside it, nor in a folder maps above it as NAME/VERSION/map.gpkg, "
            f"nor in {MAPS_ROOT}"
        )
    return read_area(found, area)


def _hex(token: Any) -> str:
    return token.hex() if isinstance(token, bytes) else str(token)
