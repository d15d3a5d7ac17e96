"""A scene as it is kept: its Scenario and the compiled tables of its map, in one file of the cache.

Reading a scene anew takes half a second, from the cache some milliseconds. A file of the cache is named by what went into
it: path, size and time of the source, the sizes of the tables, and the source of all readers and of the compiler.
"""

import functools
import hashlib
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.files import cache_directory
from gigaflow_env.roads import MapWarning, load_scene
from gigaflow_env.roads.compiled.cache import fingerprint, read_tables, roads_of, tables_of, write_tables
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.compiled.conflict_zones import Conflicts, conflicts
from gigaflow_env.roads.compiled.tables import Roads
from gigaflow_env.roads.road_map import RoadMap
from gigaflow_env.roads.scenario import Scenario
from gigaflow_env.scenes.sources import Source

VERSION = 1
"""Of what a file holds."""

_FILTERS = threading.Lock()
_ROADS = Path(load_scene.__code__.co_filename).parent
_FACTS = ("name", "dt", "ids", "kinds", "ego", "predict", "source", "tags")
_TRACKS = ("x", "y", "z", "heading", "velocity_x", "velocity_y", "length", "width")


class CompiledScene(NamedTuple):
    """Recorded traffic and the tables of its map."""

    scenario: Scenario
    roads: Roads
    conflicts: Conflicts
    lights: tuple[str, ...]  # ids of the map's signals, in the order of the tables
    key: str  # what tells the scene from all others


def compile_scene(road_map: RoadMap, scenario: Scenario, options: dict[str, Any], *, cache: bool = True) -> CompiledScene:
    """Compile a scene. options, cache: see `simulator.compiler_options` and `compile_roads`. Raises MapError."""
    roads = compile_roads(road_map, cache=cache, **options)
    lights = sorted(signal.id for signal in road_map.signals.values() if signal.kind == "light")
    digest = hashlib.sha256(fingerprint(road_map).encode())
    for name in ("valid", *_TRACKS):
        digest.update(np.ascontiguousarray(getattr(scenario, name)).tobytes())
    digest.update(repr([getattr(scenario, name) for name in _FACTS]).encode())
    return CompiledScene(scenario, roads, conflicts(roads), tuple(lights), digest.hexdigest()[:32])


def cached_path(source: Source, options: dict[str, Any]) -> Path:
    """File of the cache for a scene that comes from a file. Raises OSError where that is gone."""
    assert source.path is not None, "what is in memory isn't cached"
    facts = source.path.stat()
    file = source.path.resolve(), facts.st_size, facts.st_mtime_ns, source.record
    name = hashlib.sha256(f"{VERSION} {_readers_hash()} {file!r} {options!r}".encode()).hexdigest()[:32]
    return cache_directory() / "scenes" / name[:2] / f"{name}.scene"


@functools.cache
def _readers_hash() -> str:
    """Of the source of all readers and of the compiler: no edit can find old scenes."""
    digest = hashlib.sha256()
    for path in sorted(_ROADS.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def fetch(path: Path) -> CompiledScene | None:
    """The scene kept in a file of the cache; None where there is none, or none that is whole."""
    found = read_tables(path)
    if found is None:
        return None
    head, tables = found
    facts = head["scenario"]
    known: dict[str, Any] = {name: tuple(facts[name]) if isinstance(facts[name], list) else facts[name] for name in _FACTS}
    scenario = Scenario(
        **known,
        valid=tables["valid"],
        **dict(zip(_TRACKS, tables["tracks"], strict=True)),
        lights=dict(zip(facts["lights"], tables["states"], strict=True)),
        road_edges=tuple(np.split(tables["edges"], tables["edge_ends"])[:-1]),
    )
    right_of_way = Conflicts(*(tables[f"conflicts.{name}"] for name in Conflicts._fields))
    return CompiledScene(scenario, roads_of(head, tables), right_of_way, tuple(head["lights"]), head["key"])


def keep(scene: CompiledScene, path: Path) -> None:
    """Write a scene to the cache."""
    scenario = scene.scenario
    facts = {name: getattr(scenario, name) for name in _FACTS}
    head = {
        "names": scene.roads.names,
        "lights": scene.lights,
        "key": scene.key,
        "scenario": {**facts, "lights": list(scenario.lights)},
    }
    states = np.array(list(scenario.lights.values()), np.int8).reshape(len(scenario.lights), scenario.steps)
    tables = {
        **tables_of(scene.roads),
        **{f"conflicts.{name}": rows for name, rows in scene.conflicts._asdict().items()},
        "valid": scenario.valid,
        "tracks": np.array([getattr(scenario, name) for name in _TRACKS]),
        "states": states,
        "edges": np.concatenate([np.zeros((0, 3)), *scenario.road_edges]),
        "edge_ends": np.cumsum([len(line) for line in scenario.road_edges], dtype=np.int64),
    }
    write_tables(path, head, tables)


@contextmanager
def _quiet(category: type[Warning]) -> Iterator[None]:
    """Warnings of a kind are ignored. By one thread at a time: filters are the process's, and two would mix them up."""
    with _FILTERS, warnings.catch_warnings():
        warnings.simplefilter("ignore", category)
        yield


def read(source: Source) -> tuple[RoadMap, Scenario]:
    """Map and Scenario of a source. What its reader repairs is not said here, as there are thousands: `load_scene` says it.

    Raises MapError or OSError for a file that can't be read.
    """
    if source.given is not None:
        return source.given
    with _quiet(MapWarning):
        return load_scene(source.path, record=source.record)  # type: ignore[arg-type]


def read_scene(source: Source, options: dict[str, Any]) -> CompiledScene:
    """A scene from the cache, or from its file, which puts it there.

    Raises MapError or OSError for a file that can't be read. What the compiler leaves out of its map is not said, either.
    """
    if source.given is not None:
        return compile_scene(*source.given, options)
    path = cached_path(source, options)
    found = fetch(path)
    if found is None:
        road_map, scenario = read(source)
        with _quiet(UserWarning):
            found = compile_scene(road_map, scenario, options, cache=False)
        keep(found, path)
    return found
