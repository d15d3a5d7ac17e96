"""GeoPackage files: SQLite tables, each with a column of geometry. Source: OGC 12-128r18."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from gigaflow_env.roads.road_map import MapError

GEOGRAPHIC = 4326
"""EPSG number of longitude and latitude on WGS 84."""
_ENVELOPES = (0, 32, 48, 48, 64)  # bytes, by the kind of envelope in the flags

Row = dict[str, Any]


@contextmanager
def opened(path: Path, what: str = "a GeoPackage") -> Iterator[sqlite3.Connection]:
    """The database of a file, which is only read. Raises MapError for what is none or is damaged."""
    with open(path, "rb") as file:
        if file.read(16) != b"SQLite format 3\0":
            raise MapError(f"not {what}: it does not begin as an SQLite database")
    connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro&immutable=1", uri=True)
    try:
        connection.row_factory = sqlite3.Row
        connection.text_factory = lambda data: data.decode("utf-8", "replace")
        yield connection
    except (sqlite3.Error, UnicodeDecodeError) as error:  # names of columns are not decoded by the text factory
        raise MapError(f"the database is damaged: {error}") from error
    finally:
        connection.close()


def rows(connection: sqlite3.Connection, table: str, *columns: str, optional: bool = False) -> list[Row]:
    """The rows of a table that must have these columns; an optional table may be missing."""
    there = [row["name"] for row in connection.execute(f"PRAGMA table_info({table})")]
    if not there:
        if optional:
            return []
        raise MapError(f"layer {table!r} is missing")
    for column in columns:
        if column not in there:
            raise MapError(f"layer {table!r} has no column {column!r}; it has {', '.join(there)}")
    return [dict(row) for row in connection.execute(f"SELECT * FROM {table}")]


def geometry(row: Row, column: str = "geom") -> tuple[shapely.Geometry, int]:
    """The geometry of a row and the number of its coordinate system. Raises MapError where it is none."""
    blob = row.get(column)
    if not isinstance(blob, bytes) or len(blob) < 8 or blob[:2] != b"GP":
        raise MapError(f"column {column!r} holds no geometry of a GeoPackage")
    flags = blob[3]
    kind = flags >> 1 & 7
    if kind >= len(_ENVELOPES) or flags & 32:
        raise MapError(f"column {column!r}: the head of the geometry is damaged or of an extended kind (flags {flags})")
    system = int.from_bytes(blob[4:8], "little" if flags & 1 else "big", signed=True)
    try:
        with np.errstate(invalid="ignore"):  # numbers are checked where points are read
            return shapely.from_wkb(blob[8 + _ENVELOPES[kind] :]), system
    except shapely.GEOSException as error:
        raise MapError(f"column {column!r}: the geometry is damaged: {error}") from error
