"""Which format a map file has: its content says so, whatever it is called; where it doesn't, its name does."""

import importlib
import re
import sqlite3
import struct
import zipfile
from pathlib import Path
from typing import Any

from gigaflow_env.roads.formats import lanes_json, scene_npz
from gigaflow_env.roads.road_map import MapError

FORMATS = (
    f"*{lanes_json.SUFFIX}",
    f"*{scene_npz.SUFFIX}",
    "*.xodr (OpenDRIVE)",
    "*.net.xml (SUMO)",
    "*.xml (CommonRoad)",
    "*.osm (Lanelet2, OpenStreetMap)",
    "*.json (Argoverse 2, GPUDrive)",
    "*.gpkg (nuPlan)",
    "*.tfrecord* (Waymo Open Motion)",
    "*.pkl (ScenarioNet)",
    "*.parquet (Argoverse 2 motion forecasting)",
    "*.db (nuPlan logs)",
)
"""What can be read, for people."""
ROOTS = {"OpenDRIVE": "opendrive", "net": "sumo", "osm": "osm", "commonRoad": "commonroad"}
"""Importers by the root element of an XML file."""
ENDINGS = {
    lanes_json.SUFFIX: "lanes_json",
    scene_npz.SUFFIX: "scene_npz",
    ".xodr": "opendrive",
    ".net.xml": "sumo",
    ".osm": "osm",
    ".xml": "commonroad",
    ".gpkg": "nuplan",
    ".pkl": "scenarionet",
    ".pickle": "scenarionet",
    ".parquet": "argoverse2_forecasting",
    ".db": "nuplan.log",
}
"""Importers by the end of a name in small letters, the first that fits: what counts where the content says nothing."""
_HEAD = 1 << 16  # bytes of a file in which its root element begins
_SQLITE, _PARQUET, _ZIP = b"SQLite format 3\0", b"PAR1", b"PK\x03\x04"
_UTF16 = b"\xff\xfe", b"\xfe\xff"
_PICKLES = tuple(bytes([0x80, protocol]) for protocol in range(2, 6))


def importer(path: Path) -> Any:
    """The module that reads a file. Importers are loaded here: nobody else needs their parsers. Raises MapError."""
    name = path.name.lower()
    found = by_content(path) or next((kind for ending, kind in ENDINGS.items() if name.endswith(ending)), None)
    if found is None and ".tfrecord" in name:
        found = "waymo"
    if found is None:
        raise MapError(f"unknown map format; supported are {', '.join(FORMATS)}")
    if found == "osm":
        from gigaflow_env.roads.formats import lanelet2

        found = "lanelet2" if lanelet2.recognises(path) else "sumo.osm"
    return importlib.import_module(f"gigaflow_env.roads.formats.{found}")


def by_content(path: Path) -> str | None:
    """The importer whose format the content of a file has; None: it says nothing."""
    with open(path, "rb") as file:
        head = file.read(_HEAD)
    if head.startswith(_UTF16):
        head = head.decode("utf-16", "ignore").encode("utf-8", "ignore")
    if head.startswith(_SQLITE):
        return _database(path)
    if head.startswith(_PARQUET):
        return "argoverse2_forecasting"
    if head.startswith(_ZIP):
        return _archive(path)
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text[:1] == b"{" or path.name.lower().endswith((".json", ".geojson")) and text[:1] != b"<":
        return _json(path, text)
    if text[:1] == b"<":
        return ROOTS.get(_root_element(text) or "")
    if head[:2] in _PICKLES:
        return "scenarionet"
    return "waymo" if _is_tfrecord(head) else None


def _root_element(head: bytes) -> str | None:
    """Name of the root element, without its namespace, of what looks like XML; None: it doesn't."""
    head = re.sub(rb"<!--.*?-->|<\?.*?\?>|<![^>]*>", b"", head, flags=re.DOTALL).lstrip()
    found = re.match(rb"<(?:[\w.-]+:)?([\w.-]+)[\s/>]", head)
    return found[1].decode() if found else None


def _json(path: Path, head: bytes) -> str | None:
    if f'"{lanes_json.FORMAT}"'.encode() in head:
        return "lanes_json"
    content = path.read_bytes()
    return "argoverse2" if b'"lane_segments"' in content else "waymo.gpudrive" if b'"roads"' in content else None


def _archive(path: Path) -> str | None:
    """A scene of our own is an archive with a head; other archives are unpacked before."""
    try:
        with zipfile.ZipFile(path) as archive:
            return "scene_npz" if "head.npy" in archive.namelist() else None
    except (zipfile.BadZipFile, NotImplementedError):
        return None


def _is_tfrecord(head: bytes) -> bool:
    """Whether a file begins with the length of a record and its checksum."""
    from gigaflow_env.roads.formats.waymo.tfrecord import masked_crc32c

    return len(head) >= 12 and struct.unpack("<I", head[8:12])[0] == masked_crc32c(head[:8])


def _database(path: Path) -> str | None:
    """GeoPackages list what they hold, logs have sweeps."""
    from gigaflow_env.roads.formats.nuplan.geopackage import opened

    try:
        with opened(path) as connection:
            found = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    except (MapError, sqlite3.Error):
        return None  # damaged: the importer that its name says tells how
    if "gpkg_contents" in found or "lanes_polygons" in found:
        return "nuplan"
    return "nuplan.log" if {"lidar_pc", "ego_pose"} <= found else None
