"""Map files: the formats that can be read, and the towns that come with the package."""

import os
from pathlib import Path

from gigaflow_env.roads.formats import lanes_json
from gigaflow_env.roads.road_map import MapError, RoadMap

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
    """The RoadMap that a user names. Raises ValueError with the shipped names, MapError with place and reason, TypeError for
    anything else."""
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


def load(path: str | os.PathLike[str]) -> RoadMap:
    """Read and validate a map; the name's ending says the format, see FORMATS.

    Raises MapError for a format that is not supported and for content that is not a consistent map.
    """
    path = Path(path)
    if path.name.endswith(lanes_json.SUFFIX):
        return lanes_json.read(path)
    # Importers are loaded here, because they build on this file and nobody else needs their parsers.
    if path.suffix == ".xodr":
        from gigaflow_env.roads.formats import opendrive

        return opendrive.load(path)
    if path.name.endswith(".net.xml"):
        from gigaflow_env.roads.formats import sumo

        return sumo.load(path)
    if path.suffix == ".xml":
        from gigaflow_env.roads.formats import commonroad

        return commonroad.load(path)
    if path.suffix == ".osm":
        from gigaflow_env.roads.formats import lanelet2
        from gigaflow_env.roads.formats.sumo import osm

        return lanelet2.load(path) if lanelet2.recognises(path) else osm.load(path)
    if path.suffix == ".json" and b'"lane_segments"' in path.read_bytes():
        from gigaflow_env.roads.formats import argoverse2

        return argoverse2.load(path)
    if path.suffix == ".json" and b'"roads"' in path.read_bytes():
        from gigaflow_env.roads.formats.waymo import gpudrive

        return gpudrive.load(path)
    if path.suffix == ".gpkg":
        from gigaflow_env.roads.formats import nuplan

        return nuplan.load(path)
    if ".tfrecord" in path.name:
        from gigaflow_env.roads.formats import waymo

        return waymo.load(path)
    raise MapError(f"{path}: unknown map format; supported are {', '.join(FORMATS)}")
