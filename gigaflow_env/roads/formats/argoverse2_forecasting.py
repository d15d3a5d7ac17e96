"""Scenes of Argoverse 2 motion forecasting: scenario_*.parquet with log_map_archive_*.json beside it.

Source: the motion forecasting data set's scenario schema, av2/datasets/motion_forecasting. The file has no sizes of boxes
and no heights: sizes are usual ones by type, heights those of the nearest lane. It has no lights either.
"""

from pathlib import Path
from typing import Any

import numpy as np
import shapely

from gigaflow_env.extras import remedy
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.formats import argoverse2
from gigaflow_env.roads.formats.common.limits import MAX_COORDINATE
from gigaflow_env.roads.import_report import fault, left_out
from gigaflow_env.roads.road_map import MapError, RoadMap, X, Y, Z
from gigaflow_env.roads.scenario import Scenario, masked

DT = 0.1
"""[s] The data set has 10 steps a second."""
SIZES = {
    "vehicle": (4.6, 1.9), "bus": (12.0, 2.6), "motorcyclist": (2.2, 0.8), "cyclist": (1.8, 0.6),
    "riderless_bicycle": (1.8, 0.6), "pedestrian": (0.7, 0.7), "construction": (0.5, 0.5), "static": (1.0, 1.0),
}  # fmt: skip
"""[m] Length and width by object_type. Ours."""
USUAL = (1.0, 1.0)
"""[m] Of any other."""
KINDS = {"vehicle": "vehicle", "bus": "vehicle", "motorcyclist": "vehicle", "cyclist": "cyclist", "pedestrian": "pedestrian"}
EGO = "AV"
PREDICTED = (2, 3)
"""object_category of scored tracks and of the focal one."""
MIDDLE = 0.75
"""[m] From the lane to the middle of a box. Ours."""
MAX_STEPS = 10_000
"""Ours: the data set has 110."""

_NUMBERS = ("timestep", "object_category", "position_x", "position_y", "heading", "velocity_x", "velocity_y")
_TEXTS = ("track_id", "object_type", "scenario_id")


def read(path: Path) -> RoadMap:
    """The map of a scene. Raises MapError where it does not lie beside it, and as `argoverse2.read`."""
    return argoverse2.read(_map_of(path))


def read_scenario(path: Path) -> Scenario:
    """The traffic of a scene. Raises MapError for what is damaged, and without pyarrow."""
    return read_both(path)[1]


def read_both(path: Path) -> tuple[RoadMap, Scenario]:
    """Map and traffic; errors as for both."""
    columns = _columns(path)
    road_map = read(path)
    return road_map, _traffic(columns, road_map, path)


def _map_of(path: Path) -> Path:
    """The map that lies beside a scene: the one of its id, or the only one."""
    same = path.with_name(f"log_map_archive_{path.stem.removeprefix('scenario_')}.json")
    if same.exists():
        return same
    others = sorted(path.parent.glob("log_map_archive_*.json"))
    if len(others) != 1:
        raise MapError(f"its map {same.name} must lie beside it; there are {len(others)} other maps")
    return others[0]


def _columns(path: Path) -> dict[str, np.ndarray]:
    """The columns that are needed: numbers as float64, texts as str."""
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError:
        raise MapError(f"parquet files need pyarrow: {remedy('scenes')}") from None
    found: dict[str, np.ndarray] = {}
    try:
        file = parquet.ParquetFile(path, memory_map=False)
        there = file.schema_arrow.names
        for name in (*_NUMBERS, *_TEXTS):
            if name not in there:
                raise MapError(f"not a scene of Argoverse 2: it has no column {name!r}")
        table = file.read(columns=[*_NUMBERS, *_TEXTS])
        for name in _NUMBERS:
            found[name] = table.column(name).cast(pyarrow.float64()).to_numpy()
        for name in _TEXTS:
            found[name] = np.array([str(text) for text in table.column(name).cast(pyarrow.string()).to_pylist()])
    except MapError:
        raise
    except (pyarrow.ArrowException, OSError, ValueError, KeyError, MemoryError, OverflowError) as error:
        raise MapError(f"not readable as parquet: {' '.join(str(error).split())}") from error
    if not len(found["timestep"]):
        raise MapError("the scene has no rows")
    return found


def _traffic(columns: dict[str, np.ndarray], road_map: RoadMap, path: Path) -> Scenario:
    step = columns["timestep"]
    if not (np.isfinite(step).all() and step.min() >= 0 and step.max() < MAX_STEPS and (step == np.rint(step)).all()):
        raise MapError(f"timestep must be whole numbers, 0..{MAX_STEPS - 1}, it reaches {step.min()}..{step.max()}")
    names, first, owner = np.unique(columns["track_id"], return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")  # agents in the order of the file
    steps = int(step.max()) + 1
    ids: list[str] = []
    kinds: list[str] = []
    sizes: list[tuple[float, float]] = []
    predict: list[int] = []
    tracks: list[np.ndarray] = []
    for number in order.tolist():
        rows, name = np.flatnonzero(owner == number), str(names[number])
        with left_out("agent", name):
            tracks.append(_track(columns, rows, steps, name))
            kind = str(columns["object_type"][rows[0]])
            kinds.append(KINDS.get(kind, "other"))
            sizes.append(SIZES.get(kind, USUAL))
            if columns["object_category"][rows[0]] in PREDICTED:
                predict.append(len(ids))
            ids.append(name)
    if not ids:
        raise MapError("the scene has no tracks that can be read")
    x, y, heading, velocity_x, velocity_y = np.array(tracks).transpose(1, 0, 2).copy()
    valid = ~np.isnan(x)
    if EGO not in ids:
        fault("reference", EGO, "there is no such track", "no ego")
    length, width = (masked(np.array(column)[:, None], valid) for column in zip(*sizes, strict=True))
    z = np.full(valid.shape, np.nan)
    z[valid] = _heights(road_map, x[valid], y[valid]) + MIDDLE
    return Scenario(
        name=str(columns["scenario_id"][0]), dt=DT, ids=tuple(ids), kinds=tuple(kinds), valid=valid, x=x, y=y, z=z,
        heading=heading, velocity_x=velocity_x, velocity_y=velocity_y, length=length, width=width,
        ego=ids.index(EGO) if EGO in ids else None, predict=tuple(predict), source=f"Argoverse 2 scene {path.name}",
    )  # fmt: skip


def _track(columns: dict[str, np.ndarray], rows: np.ndarray, steps: int, name: str) -> np.ndarray:
    """x, y, heading and velocity of a track, NaN where it was not seen: (5, steps)."""
    states = np.array([columns[key][rows] for key in _NUMBERS[2:]])
    bad = np.argwhere(~(np.abs(states) < MAX_COORDINATE))
    if len(bad):
        what, row = bad[0].tolist()
        place, key = int(columns["timestep"][rows[row]]), _NUMBERS[2 + what]
        reason = f"{key}={states[what, row]} at step {place} must be a finite number"
        raise MapError(f"agent {name}: {reason}", reason=reason)
    at = columns["timestep"][rows].astype(int)
    if len(np.unique(at)) < len(at):
        raise MapError(f"agent {name}: a step is given twice", reason="a step is given twice")
    track = np.full((len(states), steps), np.nan)
    track[:, at] = states
    return track


def _heights(road_map: RoadMap, x: np.ndarray, y: np.ndarray) -> Any:
    """Height [m] of the nearest point of any lane."""
    points = np.concatenate([sample(lane.line, 2.0)[:, [X, Y, Z]] for lane in road_map.lanes.values()])
    return points[shapely.STRtree(shapely.points(points[:, :2])).nearest(shapely.points(x, y)), 2]
