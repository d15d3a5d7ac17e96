"""nuPlan maps, *.gpkg, to RoadMap. Source: the layers that nuplan-devkit reads.

Read are lanes and lane connectors with their baseline paths, boundaries or outlines, intersections, stop polygons and
crosswalks. Baseline paths become center lines; longitude and latitude become metres of the grid that the file names,
which is the one of nuPlan's logs. Not read: car parks, walkways and other areas without lanes. The maps have no heights.
"""

import functools
import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import shapely

from gigaflow_env.roads.formats.common.centerlines import drawn
from gigaflow_env.roads.formats.common.driving_side import keeps_left
from gigaflow_env.roads.formats.common.lane_bounds import knots
from gigaflow_env.roads.formats.common.lane_changes import with_neighbours
from gigaflow_env.roads.formats.common.lane_widths import calm, nearest, probes, sides
from gigaflow_env.roads.formats.common.limits import MEETING
from gigaflow_env.roads.formats.common.weld import weld
from gigaflow_env.roads.formats.nuplan.geometry import Grid, grid_of, in_metres, points_of
from gigaflow_env.roads.formats.nuplan.geopackage import GEOGRAPHIC, Row, geometry, opened, rows
from gigaflow_env.roads.import_report import collecting, fault, is_strict, left_out, note
from gigaflow_env.roads.road_map import Crosswalk, Entry, Lane, MapError, RoadMap, Signal

SPEED = 13.4
"""[m/s] 30 mph: the limit where the file gives none. Ours."""
WIDTH, MIN_WIDTH, MAX_WIDTH = 3.5, 1.0, 10.0
"""[m] Width where a lane has neither boundaries nor outline, and the bounds for all. Ours."""
MAX_TOTAL = 5e6
"""[m] of all lanes. Ours: the largest nuPlan map has some 1,000 km, and each half metre takes memory."""
STOP_KINDS = {1: "stop", 2: "light", 3: "yield", 4: "yield"}
"""Types of stop polygons: stop sign, traffic light, turn stop, yield. A pedestrian crossing, 0, stops no empty road."""
FOR_WALKERS = 0
"""Type of the stop polygons that are left out without a word."""
_RANK = ("light", "stop", "yield")
_OUTLINES = "gen_lane_connectors_scaled_width_polygons"


Area = tuple[float, float, float, float]
"""[m] Lowest x and y, highest x and y."""


class Layers(NamedTuple):
    """The rows of the file, by their id."""

    lanes: dict[str, Row]
    connectors: dict[str, Row]
    baselines: dict[str, Row]  # by the id of their lane or connector
    outlines: dict[str, Row]  # of connectors, by the id of these
    boundaries: dict[str, Row]
    stops: dict[str, Row]
    crosswalks: dict[str, Row]


def read(path: Path) -> RoadMap:
    """Read a nuPlan map. Raises MapError naming layer and fid for what is damaged or no consistent map."""
    layers, grid = _opened_map(path)
    return _road_map(layers, grid, path)


def read_area(path: Path, area: Area) -> RoadMap:
    """The lanes of a map that reach into an area, whole, with those that they are linked by; errors as for `read`.

    The file is kept until another one is read: many scenes come from one city.
    """
    layers, grid, said = _kept_map(path, path.stat().st_mtime_ns, is_strict())
    for entry in said:
        note(*entry[:3], place=entry.place, amount=entry.amount, unit=entry.unit)
    near = {name for name, row in layers.baselines.items() if _reaches(row, grid, area)}
    connectors = {name: row for name, row in layers.connectors.items() if name in near}
    given = {row[key] for row in connectors.values() for key in ("exit_lane_fid", "entry_lane_fid")}
    ends = {str(int(fid)) for fid in given if isinstance(fid, (int, float)) and np.isfinite(fid)}
    lanes = {name: row for name, row in layers.lanes.items() if name in near | ends}
    crosswalks = {name: row for name, row in layers.crosswalks.items() if _reaches(row, grid, area)}
    return _road_map(layers._replace(lanes=lanes, connectors=connectors, crosswalks=crosswalks), grid, path)


def _opened_map(path: Path) -> tuple[Layers, Grid]:
    with opened(path) as connection:
        layers = _layers(connection)
        return layers, grid_of(connection, next(iter(layers.baselines.values()), None))


@functools.lru_cache(maxsize=1)
def _kept_map(path: Path, modified: int, strict: bool) -> tuple[Layers, Grid, list[Entry]]:
    with collecting(strict) as said:
        return *_opened_map(path), said


def _reaches(row: Row, grid: Grid, area: Area) -> bool:
    """Whether the box around a geometry and an area have a part in common. What is damaged is for its reader to refuse."""
    try:
        shape, system = geometry(row)
    except MapError:
        return True
    box = np.array(shapely.bounds(shape))  # NaN of what is empty
    if system == GEOGRAPHIC and (np.abs(box) <= (180, 89, 180, 89)).all():
        low, high = in_metres(np.array([box[[0, 0, 2, 2]], box[[1, 3, 1, 3]]]), grid)
        box = np.array([low.min(), high.min(), low.max(), high.max()])
    return not (box[0] > area[2] or box[2] < area[0] or box[1] > area[3] or box[3] < area[1])


def _layers(connection: sqlite3.Connection) -> Layers:
    def layer(name: str, *columns: str, key: str = "fid", optional: bool = False) -> dict[str, Row]:
        found = {}
        for row in rows(connection, name, "fid", key, "geom", *columns, optional=optional):
            if row[key] is None:
                continue
            with left_out(name, str(row["fid"])):
                if (id := _id(row[key], name, key)) in found:
                    raise MapError(f"layer {name!r}: {key} {id} is given twice")
                found[id] = row
        return found

    lanes = layer("lanes_polygons", "lane_group_fid", "lane_index", "left_boundary_fid", "right_boundary_fid")
    connectors = layer("lane_connectors", "exit_lane_fid", "entry_lane_fid", "traffic_light_stop_line_fids")
    for fid in sorted(lanes.keys() & connectors.keys()):
        fault("lane_connectors", fid, f"fid {fid} is used by a lane and by a connector", "the connector is left out")
        del connectors[fid]
    baselines = layer("baseline_paths", key="lane_fid") | layer("baseline_paths", key="lane_connector_fid")
    return Layers(
        lanes,
        connectors,
        baselines,
        layer(_OUTLINES, key="lane_connector_fid", optional=True),
        layer("boundaries", optional=True),
        layer("stop_polygons", "stop_polygon_type_fid", optional=True),
        layer("crosswalks", optional=True),
    )


def _road_map(layers: Layers, grid: Grid, path: Path) -> RoadMap:
    paths = layers.lanes | layers.connectors
    lines = drawn(_centers(paths, layers, grid), MAX_TOTAL)
    _set_widths(lines, layers, grid)
    links = _links(lines, layers)
    lines, _ = weld(lines, links)
    lines = {name: knots(line) for name, line in lines.items()}
    successors: dict[str, list[str]] = {}
    for a, b in links:
        if np.allclose(lines[a][-1, :3], lines[b][0, :3], atol=MEETING):  # the others were too far apart to be welded
            successors.setdefault(a, []).append(b)
    lanes = {}
    for name, line in lines.items():
        junction = None
        if name in layers.connectors and (given := paths[name].get("intersection_fid")) is not None:
            with left_out("junction", name):
                junction = _id(given, "lane_connectors", "intersection_fid")
        lanes[name] = Lane(
            name,
            line,
            speed=_speed(paths[name]),
            successors=tuple(successors.get(name, ())),
            junction=junction,
        )
    lanes = with_neighbours(lanes, lambda lane, other, side: _beside(layers.lanes, lane, other, side))
    chosen, signals = _signals(lanes, layers, grid)
    return RoadMap(
        name=path.stem,
        lanes={name: replace(lane, signal=chosen.get(name)) for name, lane in lanes.items()},
        left_hand=keeps_left(lanes),
        signals=signals,
        crosswalks=_crosswalks(layers, grid),
        source=f"nuPlan map {path.name}",
    )


def _centers(names: Iterable[str], layers: Layers, grid: Grid) -> dict[str, np.ndarray]:
    """The baseline paths (n, 3) of lanes and connectors."""
    found = {}
    for name in names:
        with left_out("lane", name):
            if name not in layers.baselines:
                layer = "lanes_polygons" if name in layers.lanes else "lane_connectors"
                raise MapError(f"layer {layer!r}, fid {name}: there is no baseline path with its fid")
            found[name] = points_of(layers.baselines[name], "baseline_paths", grid)
    return found


def _crosswalks(layers: Layers, grid: Grid) -> dict[str, Crosswalk]:
    found = {}
    for name, row in layers.crosswalks.items():
        with left_out("crosswalk", name):
            found[name] = Crosswalk(name, points_of(row, "crosswalks", grid))
    return found


def _set_widths(lines: dict[str, np.ndarray], layers: Layers, grid: Grid) -> None:
    """Set the widths of all lines: across each, between its boundaries, or between the sides of its outline."""
    bounds, owners = [], []
    for number, name in enumerate(lines):
        own = _bounds(name, layers, grid)
        bounds += own
        owners += [number] * len(own)
    beside = sides(bounds)
    beside = beside._replace(source=np.array(owners, int)[beside.source])
    owner = np.repeat(np.arange(len(lines)), [len(probes([line])) for line in lines.values()])
    distance, _ = nearest(probes(lines.values()), beside, 0.0, MAX_WIDTH, owner)
    distance = np.where(np.isfinite(distance), distance, distance[:, ::-1])  # one side is as far as the other
    total = distance.sum(axis=1)
    limits = np.tile([WIDTH, MIN_WIDTH, MAX_WIDTH], (len(lines), 1)).T
    calm(list(lines.values()), np.where(np.isfinite(total), total, np.nan), *limits)


def _bounds(name: str, layers: Layers, grid: Grid) -> list[np.ndarray]:
    """Polylines on both sides of a lane or connector."""
    row = layers.lanes.get(name) or layers.outlines.get(name)
    if row is None:
        return []
    given = [row.get(key) for key in ("left_boundary_fid", "right_boundary_fid")]
    with left_out("boundaries", f"of lane {name}"):
        ids = [_id(fid, "boundaries", "fid") for fid in given if fid is not None]
        for fid in ids:
            if fid not in layers.boundaries:
                raise MapError(f"boundary {fid}: there is no such boundary")
        if len(ids) == 2:
            return [points_of(layers.boundaries[fid], "boundaries", grid) for fid in ids]
    with left_out("outline", f"of lane {name}"):
        outline = points_of(row, "lanes_polygons" if name in layers.lanes else _OUTLINES, grid)
        return [np.concatenate([outline, outline[:1]])]
    return []


def _links(lines: dict[str, np.ndarray], layers: Layers) -> list[tuple[str, str]]:
    """Lanes lead into the connectors that leave them, and these into the lanes that they enter."""
    links = []
    for name, row in layers.connectors.items():
        chain = [name]
        for key, at in (("exit_lane_fid", 0), ("entry_lane_fid", 2)):
            with left_out("link", f"{key} of connector {name}"):
                if (end := _id(row[key], "lane_connectors", key)) not in layers.lanes:
                    raise MapError(f"layer 'lane_connectors', fid {name}: {key}={end}: there is no such lane")
                chain.insert(at, end)
        # Connectors that are too short to be lanes are bypassed.
        chain = [end for end in chain if end in lines]
        links += [(a, b) for a, b in zip(chain, chain[1:], strict=False) if a != b]
    return list(dict.fromkeys(links))


def _beside(lanes: dict[str, Row], lane: str, other: str, side: int) -> bool:
    """Whether two lanes are neighbours in their group. Places in it are counted from the left."""
    here, there = lanes.get(lane), lanes.get(other)
    if (
        here is None
        or there is None
        or None in (row[key] for row in (here, there) for key in ("lane_group_fid", "lane_index"))
    ):
        return False
    places = []
    for row in (here, there):
        with left_out("reference", f"lane group of lane {row['fid']}"):
            group = _id(row["lane_group_fid"], "lanes_polygons", "lane_group_fid")
            places.append((group, int(_id(row["lane_index"], "lanes_polygons", "lane_index"))))
    if len(places) < 2:
        return False
    (group, place), (other_group, other_place) = places
    return group == other_group and other_place - place == (-1 if side == 0 else 1)


def _signals(lanes: dict[str, Lane], layers: Layers, grid: Grid) -> tuple[dict[str, str], dict[str, Signal]]:
    """The stop polygon that controls the entry of each connector, lights before stops before yields; and the signals."""
    kinds: dict[str, str] = {}
    wanted: dict[str, list[str]] = {}
    for name, row in layers.connectors.items():
        for stop in _ids(row["traffic_light_stop_line_fids"], "lane_connectors", name):
            kinds[stop] = "light"
            wanted.setdefault(name, []).append(stop)
    for stop, row in layers.stops.items():
        kind = STOP_KINDS.get(row["stop_polygon_type_fid"])
        if kind is None:
            if row["stop_polygon_type_fid"] != FOR_WALKERS:
                note("signal", stop, f"stop_polygon_type_fid={row['stop_polygon_type_fid']!r} is not read: left out")
            continue
        kinds.setdefault(stop, kind)
        entered = _ids(row.get("lane_connector_fids"), "stop_polygons", stop)
        unknown = [name for name in entered if name not in layers.connectors]
        for lane in _ids(row.get("lane_fids"), "stop_polygons", stop):
            entered += lanes[lane].successors if lane in lanes else ()
            unknown += [lane] if lane not in layers.lanes else []
        if not entered and not row.get("lane_fids") and kind != "light":  # lights are named by their connectors
            note("reference", stop, f"a {kind} polygon that names no lane: left out")
        if unknown:  # a part of a map has stop polygons of what lies outside
            note("reference", stop, f"lanes {', '.join(unknown)} that it stops are not there: left out")
        for name in entered:
            if name in layers.connectors:
                wanted.setdefault(name, []).append(stop)

    areas = {}
    for stop in {stop for stops in wanted.values() for stop in stops} & layers.stops.keys():
        with left_out("outline", f"of stop polygon {stop}"):
            outline = points_of(layers.stops[stop], "stop_polygons", grid)
            areas[stop] = shapely.LineString(np.concatenate([outline, outline[:1]])[:, :2])

    def far(stop: str, name: str) -> float:
        return areas[stop].distance(shapely.Point(lanes[name].line[0, :2])) if stop in areas else np.inf

    chosen = {}
    for name, stops in wanted.items():
        if name in lanes:
            chosen[name] = min((_RANK.index(kinds[stop]), far(stop, name), stop) for stop in stops)[-1]
    return chosen, {stop: Signal(stop, kinds[stop], lanes[name].junction or "") for name, stop in chosen.items()}


def _speed(row: Row) -> float:
    given = row.get("speed_limit_mps")
    if given and not isinstance(given, (int, float)):
        fault("value", str(row["fid"]), f"speed_limit_mps={given!r} is no speed", f"{SPEED} m/s taken")
    return float(given) if isinstance(given, (int, float)) and 0 < given < np.inf else SPEED


def _id(given: Any, layer: str, column: str) -> str:
    """A fid as text; some columns hold them as 12.0."""
    try:
        return str(int(given))
    except (TypeError, ValueError, OverflowError) as error:
        raise MapError(f"layer {layer!r}: {column}={given!r} is not a whole number") from error


def _ids(given: Any, layer: str, name: str) -> list[str]:
    """The fids of a text as "12, 13", in a row of a layer."""
    found = []
    for part in str(given or "").split(","):
        with left_out("reference", f"of {layer}, fid {name}"):
            if part.strip():
                found.append(_id(part, layer, "a list of fids"))
    return found
