"""nuPlan maps for tests: a GeoPackage with the layers and columns that nuplan-devkit reads."""

import sqlite3
import struct
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from gigaflow_env.roads import RoadMap
from gigaflow_env.roads.centerline import sample

LAYERS = {
    "lanes_polygons": "lane_group_fid INTEGER, lane_index MEDIUMINT, left_boundary_fid INTEGER, right_boundary_fid INTEGER, "
    "speed_limit_mps REAL",
    "lane_connectors": "exit_lane_fid INTEGER, entry_lane_fid INTEGER, intersection_fid INTEGER, "
    "traffic_light_stop_line_fids TEXT, speed_limit_mps REAL",
    "baseline_paths": "lane_fid INTEGER, lane_connector_fid INTEGER",
    "boundaries": "boundary_type_fid INTEGER",
    "gen_lane_connectors_scaled_width_polygons": "lane_connector_fid INTEGER, left_boundary_fid INTEGER, "
    "right_boundary_fid INTEGER",
    "stop_polygons": "stop_polygon_type_fid INTEGER, lane_fids TEXT, lane_connector_fids TEXT",
    "crosswalks": "intersection_fids TEXT",
}

Rows = dict[str, list[dict[str, Any]]]


def blob(shape: shapely.Geometry, system: int = 32617, envelope: bool = True) -> bytes:
    """A geometry as GeoPackages hold it."""
    head = b"GP" + bytes([0, 0b11 if envelope else 0b01]) + struct.pack("<i", system)
    bounds = struct.pack("<4d", *np.array(shape.bounds)[[0, 2, 1, 3]]) if envelope else b""
    return head + bounds + shapely.to_wkb(shape)


def write(path: Path, layers: Rows, system: int = 32617, grid: str | None = "epsg:32617") -> Path:
    """A file with these rows; their `geom` is a shape, or bytes to be taken as they are."""
    path.unlink(missing_ok=True)
    connection = sqlite3.connect(path)
    for name, columns in LAYERS.items():
        connection.execute(f"CREATE TABLE {name} (fid INTEGER PRIMARY KEY, geom BLOB, {columns})")
        for row in layers.get(name, ()):
            given = dict(row)
            if isinstance(given.get("geom"), shapely.Geometry):
                given["geom"] = blob(given["geom"], system)
            marks = ", ".join("?" * len(given))
            connection.execute(f"INSERT INTO {name} ({', '.join(given)}) VALUES ({marks})", list(given.values()))
    if grid is not None:
        connection.execute("CREATE TABLE meta (key TEXT, value TEXT)")
        connection.execute("INSERT INTO meta VALUES ('projectedCoordSystem', ?)", [grid])
    connection.commit()
    connection.close()
    return path


def of_town(town: RoadMap) -> tuple[Rows, dict[str, str]]:
    """A town as layers, and the fids of its lanes. Its connectors must begin and end at lanes outside of junctions."""
    driving = [lane for lane in town.lanes.values() if lane.kind == "driving"]
    fid = {lane.id: 100 + k for k, lane in enumerate(driving)}
    before = {other: lane.id for lane in driving for other in lane.successors}
    signal = {name: 5000 + k for k, name in enumerate(sorted(town.signals))}
    junction = {name: 7000 + k for k, name in enumerate(sorted({lane.junction for lane in driving} - {None}))}
    rows: Rows = {name: [] for name in LAYERS}
    group: dict[str, tuple[int, int]] = {}
    for lane in driving:
        if lane.left is None:
            walk, place = lane, 0
            while walk is not None:
                group[walk.id], place = (9000 + fid[lane.id], place), place + 1
                walk = town.lanes[walk.right] if walk.right is not None else None
    for lane in driving:
        points = sample(lane.line, 1.0)
        across = np.column_stack([-np.sin(points[:, 3]), np.cos(points[:, 3])]) * points[:, [4]] / 2
        left, right = points[:, :2] + across, points[:, :2] - across
        number = fid[lane.id]
        area = shapely.Polygon(np.concatenate([left, right[::-1]]))
        bounds = {"left_boundary_fid": 2 * number, "right_boundary_fid": 2 * number + 1}
        rows["boundaries"] += [{"fid": 2 * number + k, "geom": shapely.LineString(b)} for k, b in enumerate((left, right))]
        center = {"fid": number, "geom": shapely.LineString(points[:, :2])}
        if lane.junction is None:
            rows["baseline_paths"].append(center | {"lane_fid": number})
            place = {"lane_group_fid": group[lane.id][0], "lane_index": group[lane.id][1], "speed_limit_mps": lane.speed}
            rows["lanes_polygons"].append({"fid": number, "geom": area} | bounds | place)
        else:
            rows["baseline_paths"].append(center | {"lane_connector_fid": number})
            rows["gen_lane_connectors_scaled_width_polygons"].append(
                {"fid": number, "geom": area, "lane_connector_fid": number} | bounds
            )
            lights = lane.signal is not None and town.signals[lane.signal].kind == "light"
            rows["lane_connectors"].append(
                center
                | {
                    "exit_lane_fid": fid[before[lane.id]],
                    "entry_lane_fid": fid[lane.successors[0]],
                    "intersection_fid": junction[lane.junction],
                    "traffic_light_stop_line_fids": str(signal[lane.signal]) if lights else "",
                    "speed_limit_mps": lane.speed,
                }
            )
    for name, number in signal.items():
        first = next(lane for lane in driving if lane.signal == name)
        area = shapely.Point(*first.line[0, :2]).buffer(1.0)
        rows["stop_polygons"].append({"fid": number, "geom": area, "stop_polygon_type_fid": 2})
    for k, crosswalk in enumerate(town.crosswalks.values()):
        rows["crosswalks"].append({"fid": k, "geom": shapely.Polygon(crosswalk.outline[:, :2])})
    return rows, {name: str(number) for name, number in fid.items()}


def city(far: float = 0.0) -> Rows:
    """Lane 1 from x = -60 to 40, two connectors behind one light, 3 straight on and 4 beside it, and lanes 2 and 5 behind.

    far: where lane 6 lies, along y [m]."""
    rows: Rows = {
        name: [] for name in ("lanes_polygons", "baseline_paths", "lane_connectors", "stop_polygons", "crosswalks")
    }
    lanes = [(1, -60, 0, 40, 0), (2, 60, 0, 100, 0), (5, 60, 8, 100, 8)] + ([(6, 0, far, 50, far)] if far else [])
    for fid, *ends in lanes:
        line = shapely.LineString([ends[:2], ends[2:]])
        rows["lanes_polygons"].append({"fid": fid, "geom": line.buffer(1.75, cap_style="flat"), "speed_limit_mps": 10.0})
        rows["baseline_paths"].append({"fid": fid, "geom": line, "lane_fid": fid})
    for fid, after, y in ((3, 2, 0), (4, 5, 8)):
        line = shapely.LineString([(40, 0), (50, y / 2), (60, y)])
        ends = {"exit_lane_fid": 1, "entry_lane_fid": after, "intersection_fid": 77, "traffic_light_stop_line_fids": "500"}
        rows["lane_connectors"].append({"fid": fid, "geom": line} | ends)
        rows["baseline_paths"].append({"fid": fid, "geom": line, "lane_connector_fid": fid})
    rows["stop_polygons"] = [{"fid": 500, "geom": shapely.box(38, -2, 40, 2), "stop_polygon_type_fid": 2}]
    rows["crosswalks"] = [{"fid": 1, "geom": shapely.box(36, -4, 38, 4)}]
    if far:
        rows["crosswalks"].append({"fid": 2, "geom": shapely.box(36, far - 4, 38, far + 4)})
    return rows
