"""Compiled maps on disk: one .npz file per map, named by what went into it."""

import dataclasses
import functools
import hashlib
import os
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from gigaflow_env.files import replacing
from gigaflow_env.roads.source import RoadMap
from gigaflow_env.roads.tables import Grid, Nearby, Network, Roads

VERSION = 1
"""Of the file's layout. The compiler needs none: its source is part of the key."""

_COMPILER = ("border.py", "cells.py", "centreline.py", "compile.py", "nearby.py", "routes.py", "source.py", "tables.py")
_GROUPS = (("network", Network), ("grid", Grid), ("nearby", Nearby))


def directory() -> Path:
    """Where compiled maps are kept: GIGAFLOW_CACHE_DIR, else gigaflow-env in XDG_CACHE_HOME, else ~/.cache/gigaflow-env."""
    if own := os.environ.get("GIGAFLOW_CACHE_DIR"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gigaflow-env"


def path_for(road_map: RoadMap, sizes: tuple) -> Path:
    """File of a map compiled with these sizes. Anything that can change the tables changes the name."""
    digest = hashlib.sha256(f"{_compiler_hash()} {sizes!r} {fingerprint(road_map)}".encode())
    return directory() / f"{digest.hexdigest()[:32]}.npz"


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
    for name in _COMPILER:
        digest.update((Path(__file__).parent / name).read_bytes())
    return digest.hexdigest()


def fetch(path: Path) -> Roads | None:
    """The tables kept in a file; None where there is none, or none that is whole: then it has to be made anew."""
    try:
        # np.load would leave the file open where it is no archive.
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            groups: Any = [kind(**{table: file[f"{group}.{table}"] for table in kind._fields}) for group, kind in _GROUPS]
            network, grid, nearby = groups
            return Roads(network, grid, nearby, tuple(file["names"].tolist()), file["origins"])
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile, zlib.error):
        return None


def keep(roads: Roads, path: Path) -> None:
    """Write the tables. Where that is not possible, say so once: compiling goes on without the cache."""
    tables = {f"{group}.{table}": rows for group, _ in _GROUPS for table, rows in getattr(roads, group)._asdict().items()}
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            np.savez(part, names=np.array(roads.names), origins=roads.origins, **tables)
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
