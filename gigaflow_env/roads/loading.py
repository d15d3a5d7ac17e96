"""Map files: the formats that can be read, and the towns that come with the package."""

import gzip
import os
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gigaflow_env.progress import slow
from gigaflow_env.roads.formats import lanes_json
from gigaflow_env.roads.road_map import MapError, RoadMap, validate
from gigaflow_env.roads.scenario import Scenario, validate_scenario

FORMATS = (
    f"*{lanes_json.SUFFIX}",
    "*.xodr (OpenDRIVE)",
    "*.net.xml (SUMO)",
    "*.xml (CommonRoad)",
    "*.osm (Lanelet2, OpenStreetMap)",
    "*.json (Argoverse 2, GPUDrive)",
    "*.gpkg (nuPlan)",
    "*.tfrecord* (Waymo Open Motion)",
)
"""What can be read, for people."""
MAX_UNPACKED = 2 << 30
"""[bytes] Ours: a packed file may not hold more; the largest maps have some hundred MB."""
_GZIP = b"\x1f\x8b"


def shipped() -> dict[str, Path]:
    """The towns that come with the package: name -> `*.lanes.json`."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "maps", package.parent / "maps"):  # inside the wheel; in a checkout
        if folder.is_dir():
            return {path.name.removesuffix(lanes_json.SUFFIX): path for path in sorted(folder.glob("*" + lanes_json.SUFFIX))}
    return {}


MapLike = str | os.PathLike[str] | RoadMap
"""Name of a shipped town, `random:SEED`, path of a map file, or a RoadMap."""

RANDOM = "random:"
"""A map of this name and a whole number is the random town of that seed."""


def find(given: MapLike) -> RoadMap:
    """The RoadMap that a user names.

    Raises ValueError with the shipped names, MapError with place and reason, TypeError for anything else.
    """
    if isinstance(given, RoadMap):
        return given
    if not isinstance(given, (str, os.PathLike)):
        raise TypeError(f"map={given!r}: expected the name of a shipped town, the path of a map file, or a RoadMap")
    name, towns = str(given), shipped()
    if name in towns:
        return load(towns[name])
    if name.startswith(RANDOM):
        from gigaflow_env.roads.towns import random_town

        seed = name.removeprefix(RANDOM)
        if not (seed.isascii() and seed.isdigit()):
            raise ValueError(f"map={name!r}: a random town is named by a whole number, for example {RANDOM}7")
        return random_town.town(int(seed)).town
    if not Path(given).exists():
        raise ValueError(
            f"map={name!r} is neither a shipped town ({', '.join(sorted(towns))}), nor {RANDOM}SEED, nor a file"
        )
    return load(given)


def load(path: str | os.PathLike[str], *, record: int | str | None = None) -> RoadMap:
    """Read and validate a map; the name's ending says the format, see FORMATS. A file may be packed by gzip.

    record: number of a record, or id of its scenario, in a file that has several (Waymo Open Motion).
    Raises MapError that names the file for a format that is not supported and for content that is not a consistent map.
    """
    path = Path(path)
    with slow(f"reading {path}"), _opened(path) as file:
        road_map = _importer(file).read(file, **_chosen(file, record))
        validate(road_map)
    return road_map


def load_scenario(path: str | os.PathLike[str], *, record: int | str | None = None) -> Scenario:
    """Read and validate recorded traffic; `load` reads the map in the same file.

    The name's ending says the format: `.xml` (CommonRoad), `.tfrecord` (Waymo Open Motion) or `.json` (GPUDrive).

    record: as for `load`. Raises MapError for a format without recorded traffic and for content that is not consistent.
    """
    path = Path(path)
    with slow(f"reading {path}"), _opened(path) as file:
        importer = _importer(file)
        if not hasattr(importer, "read_scenario"):
            raise MapError(
                "no recorded traffic in this format; supported are *.xml (CommonRoad), *.tfrecord* (Waymo Open Motion) and "
                "*.json (GPUDrive)"
            )
        scenario = importer.read_scenario(file, **_chosen(file, record))
        validate_scenario(scenario)
    return scenario


@contextmanager
def _opened(path: Path) -> Iterator[Path]:
    """The file as importers read it, unpacked where gzip packed it; a MapError raised meanwhile names the file."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            with open(path, "rb") as file:
                packed = file.read(len(_GZIP)) == _GZIP
            yield _unpacked(path, Path(folder)) if packed else path
        except MapError as error:
            raise MapError(f"{path}: {error}") from error


def _unpacked(path: Path, folder: Path) -> Path:
    """What a gzip file holds, as a file of its name without `.gz`."""
    unpacked = folder / path.name.removesuffix(".gz")
    size = 0
    try:
        with gzip.open(path) as source, open(unpacked, "wb") as target:
            while block := source.read(1 << 20):
                size += len(block)
                if size > MAX_UNPACKED:
                    raise MapError(f"it holds more than {MAX_UNPACKED >> 20} MiB: unpack it, and cut out a part")
                target.write(block)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise MapError(f"gzip can't unpack it: {error}") from error
    return unpacked


def _chosen(path: Path, record: int | str | None) -> dict[str, int | str]:
    """The argument of an importer that says which record."""
    if record is None:
        return {}
    if ".tfrecord" not in path.name:
        raise MapError(f"record={record!r}: only files of Waymo Open Motion have several records")
    return {"record": record}


def _importer(path: Path) -> Any:
    """The module that reads the format of a file. Importers are loaded here: nobody else needs their parsers."""
    if path.name.endswith(lanes_json.SUFFIX):
        return lanes_json
    if path.suffix == ".xodr":
        from gigaflow_env.roads.formats import opendrive

        return opendrive
    if path.name.endswith(".net.xml"):
        from gigaflow_env.roads.formats import sumo

        return sumo
    if path.suffix == ".xml":
        from gigaflow_env.roads.formats import commonroad

        return commonroad
    if path.suffix == ".osm":
        from gigaflow_env.roads.formats import lanelet2
        from gigaflow_env.roads.formats.sumo import osm

        return lanelet2 if lanelet2.recognises(path) else osm
    if path.suffix == ".json":
        content = path.read_bytes()
        if b'"lane_segments"' in content:
            from gigaflow_env.roads.formats import argoverse2

            return argoverse2
        if b'"roads"' in content:
            from gigaflow_env.roads.formats.waymo import gpudrive

            return gpudrive
    if path.suffix == ".gpkg":
        from gigaflow_env.roads.formats import nuplan

        return nuplan
    if ".tfrecord" in path.name:
        from gigaflow_env.roads.formats import waymo

        return waymo
    raise MapError(f"unknown map format; supported are {', '.join(FORMATS)}")
