"""Geometries of nuPlan maps in metres."""

import re
import sqlite3
from typing import NamedTuple

import numpy as np
import shapely

from gigaflow_env.roads.formats.common.limits import MAX_COORDINATE, MAX_POINTS
from gigaflow_env.roads.formats.nuplan import utm
from gigaflow_env.roads.formats.nuplan.geopackage import GEOGRAPHIC, Row, geometry, rows
from gigaflow_env.roads.road_map import MapError


class Grid(NamedTuple):
    """Where metres are counted from, if the file has longitude and latitude."""

    zone: int | None  # of UTM; None: from `meridian` and the equator
    south: bool = False
    meridian: float = 0.0  # [degrees]


def grid_of(connection: sqlite3.Connection, row: Row | None) -> Grid:
    """The grid that the file names; where it names none, one around a row of it."""
    named = {str(meta["key"]): str(meta["value"]) for meta in rows(connection, "meta", "key", "value", optional=True)}
    if name := named.get("projectedCoordSystem"):
        found = re.fullmatch(r"epsg:32([67])(0[1-9]|[1-5][0-9]|60)", name.strip(), re.IGNORECASE)
        if found is None:
            raise MapError(f"meta: projectedCoordSystem={name!r}: it must be a UTM zone, as epsg:32611")
        return Grid(int(found[2]), found[1] == "7")
    if row is None:
        return Grid(None)
    shape, system = geometry(row)
    return Grid(None, meridian=float(shapely.get_coordinates(shape)[:1, 0].sum()) if system == GEOGRAPHIC else 0.0)


def points_of(row: Row, layer: str, grid: Grid) -> np.ndarray:
    """Points (n, 3) [m] of a line, or of the outline of an area without its repeated last point; of several, the largest."""
    try:
        shape, system = geometry(row)
        points = _points(shape)
        if system == GEOGRAPHIC:
            if (np.abs(points[:, :2]) > (180, 89)).any():
                raise MapError("longitude and latitude are out of range")
            points[:, 0], points[:, 1] = in_metres(points[:, :2].T, grid)
    except MapError as error:
        raise MapError(f"layer {layer!r}, fid {row.get('fid')}: {error}") from error
    return points


def in_metres(degrees: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Metres x and y of longitudes and latitudes (2, n)."""
    if grid.zone is None:
        return utm.transverse(degrees[0], degrees[1], grid.meridian)
    return utm.utm(degrees[0], degrees[1], grid.zone, grid.south)


def _points(shape: shapely.Geometry) -> np.ndarray:
    if shape is None or shape.is_empty:
        raise MapError("the geometry is empty")
    several = shapely.get_parts(shape)
    part = several[0] if len(several) == 1 else max(several, key=lambda part: (part.area, part.length))
    outline = part.exterior if part.geom_type == "Polygon" else part
    points = shapely.get_coordinates(outline, include_z=True)
    if not outline.has_z:
        points[:, 2] = 0.0
    if part.geom_type not in ("LineString", "Polygon") or not 2 <= len(points) <= MAX_POINTS:
        raise MapError(f"a {part.geom_type} of {len(points)} points: it must be a line or an area of 2..{MAX_POINTS} points")
    if not (np.abs(points) < MAX_COORDINATE).all():
        raise MapError(f"point {np.argwhere(~(np.abs(points) < MAX_COORDINATE))[0, 0]} is not finite or beyond the Earth")
    return points[:-1] if part.geom_type == "Polygon" else points
