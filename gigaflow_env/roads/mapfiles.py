"""Map files: the formats that can be read, and the towns that come with the package."""

import os
from pathlib import Path

from gigaflow_env.roads import lanes_json
from gigaflow_env.roads.source import MapError, RoadMap


def shipped() -> dict[str, Path]:
    """The towns that come with the package: name -> `*.lanes.json`."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "maps", package.parent / "maps"):  # inside the wheel; in a checkout
        if folder.is_dir():
            return {path.name.removesuffix(lanes_json.SUFFIX): path for path in sorted(folder.glob("*" + lanes_json.SUFFIX))}
    return {}


def load(path: str | os.PathLike[str]) -> RoadMap:
    """Read and validate a map; the name's ending says the format: `.lanes.json`, `.xodr` (OpenDRIVE), `.osm`
    (Lanelet2) or `.xml` (CommonRoad).

    Raises MapError for a format that is not supported and for content that is not a consistent map.
    """
    path = Path(path)
    if path.name.endswith(lanes_json.SUFFIX):
        return lanes_json.read(path)
    if path.suffix == ".xodr":
        # Here, because importers build on this file and nobody else needs their parser.
        from gigaflow_env.roads import opendrive

        return opendrive.load(path)
    if path.suffix == ".osm":
        from gigaflow_env.roads import lanelet2

        if not lanelet2.recognises(path):
            raise MapError(f"{path}: no relation has the tag type=lanelet: of .osm files only Lanelet2's can be read")
        return lanelet2.load(path)
    if path.suffix == ".xml":
        from gigaflow_env.roads import commonroad

        return commonroad.load(path)
    raise MapError(
        f"{path}: unknown map format; supported are *{lanes_json.SUFFIX}, *.xodr (OpenDRIVE), *.osm (Lanelet2) and *.xml "
        "(CommonRoad)"
    )
