"""Map files: the formats that can be read, and the towns that come with the package."""

import os
from pathlib import Path

from gigaflow_env.roads import lanes_json
from gigaflow_env.roads.source import MapError, RoadMap

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


def load(path: str | os.PathLike[str]) -> RoadMap:
    """Read and validate a map; the name's ending says the format, see FORMATS.

    Raises MapError for a format that is not supported and for content that is not a consistent map.
    """
    path = Path(path)
    if path.name.endswith(lanes_json.SUFFIX):
        return lanes_json.read(path)
    # Importers are loaded here, because they build on this file and nobody else needs their parsers.
    if path.suffix == ".xodr":
        from gigaflow_env.roads import opendrive

        return opendrive.load(path)
    if path.name.endswith(".net.xml"):
        from gigaflow_env.roads import sumo

        return sumo.load(path)
    if path.suffix == ".xml":
        from gigaflow_env.roads import commonroad

        return commonroad.load(path)
    if path.suffix == ".osm":
        from gigaflow_env.roads import lanelet2, osm

        return lanelet2.load(path) if lanelet2.recognises(path) else osm.load(path)
    if path.suffix == ".json" and b'"lane_segments"' in path.read_bytes():
        from gigaflow_env.roads import argoverse2

        return argoverse2.load(path)
    if path.suffix == ".json" and b'"roads"' in path.read_bytes():
        from gigaflow_env.roads import gpudrive

        return gpudrive.load(path)
    if path.suffix == ".gpkg":
        from gigaflow_env.roads import nuplan

        return nuplan.load(path)
    if ".tfrecord" in path.name:
        from gigaflow_env.roads import womd

        return womd.load(path)
    raise MapError(f"{path}: unknown map format; supported are {', '.join(FORMATS)}")
