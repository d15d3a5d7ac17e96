"""Which scenes are meant: files, folders, patterns, or what is in memory already."""

import glob
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from gigaflow_env.bounds import shown
from gigaflow_env.roads import MapError, records
from gigaflow_env.roads.road_map import RoadMap
from gigaflow_env.roads.scenario import Scenario

ENDINGS = (".json", ".xml", ".scene.npz", ".pkl", ".db", ".parquet", ".gz", ".zip")
"""Of the files of a folder that are taken for scenes, besides `.tfrecord` anywhere in the name."""
_MAPS_BESIDE = ("log_map_archive",)  # Argoverse 2 keeps the map in a file of its own


class Source(NamedTuple):
    """Where a scene comes from: a file and the number of its record, or a map and a Scenario."""

    path: Path | None
    record: int | None
    given: tuple[RoadMap, Scenario] | None

    @property
    def name(self) -> str:
        """What messages call it."""
        if self.path is None:
            return f"scenario {self.given[1].name!r}" if self.given else "?"
        return str(self.path) if self.record is None else f"{self.path}, record {self.record}"


SceneLike = str | os.PathLike[str] | Scenario | tuple[RoadMap, Scenario] | Source
"""Path of a file with a map and recorded traffic, a Scenario on the map that `map` names, a pair of map and Scenario, or a
Source, as `LeftOut.source` is one."""


def sources(given: SceneLike | Sequence[SceneLike], road_map: RoadMap | None) -> list[Source]:
    """The scenes in the order given; the files of a folder, with those of its folders, in the order of their names.

    road_map: for Scenarios that come without one. A file of several records is as many scenes. Raises ValueError where
    nothing is found or a Scenario has no map, TypeError for anything else. A file that can't be read is found out later.
    """
    several = isinstance(given, Sequence) and not isinstance(given, (str, os.PathLike, Source)) and not _is_pair(given)
    found: list[Source] = []
    for one in given if several else [given]:  # type: ignore[union-attr]
        found += _sources_of(one, road_map)
    if not found:
        raise ValueError(f"scenes={shown(given)}: name at least one file, or give a Scenario")
    return found


def _is_pair(given: Any) -> bool:
    return isinstance(given, tuple) and len(given) == 2 and isinstance(given[0], RoadMap) and isinstance(given[1], Scenario)


def _sources_of(given: Any, road_map: RoadMap | None) -> list[Source]:
    if isinstance(given, Source):
        return [given]
    if _is_pair(given):
        return [Source(None, None, given)]
    if isinstance(given, Scenario):
        if road_map is None:
            raise ValueError(f"scenario {given.name!r} has no map: give map=..., or a pair (RoadMap, Scenario)")
        return [Source(None, None, (road_map, given))]
    if not isinstance(given, (str, os.PathLike)):
        raise TypeError(f"scenes={shown(given)}: expected paths, Scenarios, or pairs (RoadMap, Scenario)")
    path = Path(given)
    if path.is_dir():
        # A link that leads nowhere is a scene that can't be read, and named as such.
        files = [file for file in sorted(path.rglob("*")) if not file.is_dir() and _is_scene(file)]
        if not files:
            raise ValueError(f"scenes={str(given)!r}: the folder holds no scenes (*.tfrecord*, *{', *'.join(ENDINGS)})")
    elif path.exists():
        files = [path]
    else:
        files = [Path(name) for name in sorted(glob.glob(str(given), recursive=True)) if Path(name).is_file()]
        if not files:
            raise ValueError(f"scenes={str(given)!r}: neither a file, nor a folder, nor a pattern that finds one")
    return [source for file in files for source in _records(file)]


def _is_scene(path: Path) -> bool:
    name = path.name.lower()
    return (name.endswith(ENDINGS) or ".tfrecord" in name) and not name.startswith(_MAPS_BESIDE)


def _records(path: Path) -> list[Source]:
    """A source for each record of a file."""
    if ".tfrecord" not in path.name and path.suffix != ".db":  # others have one, and need not be opened
        return [Source(path, None, None)]
    try:
        count = records(path)
    except (MapError, OSError):  # said when it's read
        return [Source(path, None, None)]
    return [Source(path, number if count > 1 else None, None) for number in range(count)]
