"""Compiled maps on disk: one file per map, named by what went into it.

A file holds a checksum of what follows, the length of the head, the head (JSON: names, and types and shapes of the tables),
and the tables, each from a multiple of 64 bytes: it is read at once, and the tables stay where they lie in it.
"""

import dataclasses
import functools
import hashlib
import json
import math
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from gigaflow_env.declare import aligned
from gigaflow_env.files import cache_directory, replacing
from gigaflow_env.roads.compiled.tables import Grid, Nearby, Network, Roads
from gigaflow_env.roads.road_map import RoadMap

VERSION = 2
"""Of the file's layout. The compiler needs none: its source is part of the key."""

_COMPILER = ("compiled/*.py", "centerline.py", "levels.py", "road_map.py", "signal_phases.py")  # of roads/
_GROUPS = (("network", Network), ("grid", Grid), ("nearby", Nearby))
_ALIGN = 64  # bytes
_ROADS = Path(__file__).resolve().parents[1]


def path_for(road_map: RoadMap, sizes: tuple) -> Path:
    """File of a map compiled with these sizes. Anything that can change the tables changes the name."""
    digest = hashlib.sha256(f"{_compiler_hash()} {sizes!r} {fingerprint(road_map)}".encode())
    return cache_directory() / "maps" / f"{digest.hexdigest()[:32]}.roads"


def fingerprint(road_map: RoadMap) -> str:
    """Hash of everything in a map that its tables follow from."""
    digest = hashlib.sha256(repr(road_map.name).encode())
    for lane in road_map.lanes.values():  # in order: it numbers the lanes
        line = np.ascontiguousarray(lane.line, "<f8")
        digest.update(repr(dataclasses.replace(lane, line=line.shape)).encode())  # type: ignore[arg-type]
        digest.update(line.tobytes())
    digest.update(repr(sorted(road_map.signals.items())).encode())
    return digest.hexdigest()


@functools.cache
def _compiler_hash() -> str:
    """Of the compiler's source and of the library that unites its polygons: no edit can find old tables."""
    digest = hashlib.sha256(f"{VERSION} {shapely.geos_version_string}".encode())
    for pattern in _COMPILER:
        for path in sorted(_ROADS.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def fetch(path: Path) -> Roads | None:
    """The tables kept in a file; None where there is none, or none that is whole: then it has to be made anew."""
    found = read_tables(path)
    return None if found is None else roads_of(*found)


def keep(roads: Roads, path: Path) -> None:
    """Write the tables. Where that is not possible, say so once: compiling goes on without the cache."""
    write_tables(path, {"names": roads.names}, tables_of(roads))


def tables_of(roads: Roads) -> dict[str, np.ndarray]:
    """The tables of compiled maps by name."""
    tables = {f"{group}.{table}": rows for group, _ in _GROUPS for table, rows in getattr(roads, group)._asdict().items()}
    return {**tables, "origins": roads.origins}


def roads_of(head: dict[str, Any], tables: dict[str, np.ndarray]) -> Roads:
    """The other way round; head: with the `names` of the maps."""
    groups: Any = [kind(**{table: tables[f"{group}.{table}"] for table in kind._fields}) for group, kind in _GROUPS]
    network, grid, nearby = groups
    return Roads(network, grid, nearby, tuple(head["names"]), tables["origins"])


def read_tables(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """Head and tables of a file; None where there is none, or none that is whole."""
    try:
        whole = np.fromfile(path, np.uint8)
    except OSError:
        return None
    if len(whole) < _ALIGN or whole[:4].view("<u4")[0] != zlib.crc32(whole[4:].data):
        return None
    at = _ALIGN + int(whole[4:8].view("<u4")[0])
    head = json.loads(bytes(whole[_ALIGN:at]))
    tables = {}
    for name, descr, shape in head["tables"]:
        dtype = np.dtype(descr) if isinstance(descr, str) else aligned([tuple(field) for field in descr])
        at += -at % _ALIGN
        end = at + dtype.itemsize * math.prod(shape)
        tables[name] = whole[at:end].view(dtype).reshape(shape)
        at = end
    return head, tables


def write_tables(path: Path, head: dict[str, Any], tables: dict[str, np.ndarray]) -> None:
    """Write a head of JSON types and tables. Where that is not possible, say so once."""
    described = [(name, np.lib.format.dtype_to_descr(rows.dtype), rows.shape) for name, rows in tables.items()]
    text = json.dumps({**head, "tables": described}).encode()
    parts: list[Any] = [np.array([len(text)], "<u4").tobytes().ljust(_ALIGN - 4, b"\0"), text]
    end = _ALIGN + len(text)
    for rows in tables.values():
        parts += [bytes(-end % _ALIGN), np.ascontiguousarray(rows).reshape(-1).view(np.uint8)]
        end += -end % _ALIGN + rows.nbytes
    checksum = functools.reduce(lambda before, part: zlib.crc32(part, before), parts, 0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part, open(part, "wb") as file:
            file.writelines([np.array([checksum], "<u4").tobytes(), *parts])
    except OSError as error:
        _warn(str(path.parent), str(error))


@functools.cache
def _warn(folder: str, reason: str) -> None:
    warnings.warn(
        f"compiled maps can't be kept in {folder} ({reason}): they will be compiled each time. "
        "Set GIGAFLOW_CACHE_DIR to a directory that can be written",
        RuntimeWarning,
        stacklevel=2,
    )
