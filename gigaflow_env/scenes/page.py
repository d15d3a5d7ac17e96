"""A page: the scenes that run side by side, in one set of tables.

Tables of several maps lie one after the other (roads/compiled/concatenate.py), so that a world finds its map by a number. To
replace one map in the middle of them, all that lie behind would have to move, in the middle of a step. So the scenes of all
worlds are replaced together: a page is made in the background while the one before is driven, and turned when its last scene
is over. Worlds whose scene was shorter wait, with rows that are not active; scenes of a data set are equally long. Three
pages are in memory at most, however many scenes there are: the present one, the next one, and the first, to which a reset
goes back.
"""

import functools
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.declare import allocate, fields
from gigaflow_env.roads.compiled.concatenate import join
from gigaflow_env.roads.compiled.conflict_zones import Conflicts
from gigaflow_env.roads.road_map import RoadMap
from gigaflow_env.scenes.cast import Cast, Shape
from gigaflow_env.scenes.compiled import CompiledScene, read
from gigaflow_env.scenes.sources import Source
from gigaflow_env.tracks import Page, Tracks


class Part(NamedTuple):
    """A scene that is ready to be put on a page."""

    number: int  # of the source in the list of all
    source: Source
    scene: CompiledScene
    cast: Cast


class LazyMaps(Sequence[RoadMap]):
    """The RoadMaps of a page, read from their files when somebody looks at them: pictures and recordings do."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self._sources = [part.source for part in parts]
        self._kept: dict[int, RoadMap] = {}

    def __len__(self) -> int:
        return len(self._sources)

    def __getitem__(self, number: Any) -> Any:
        number = range(len(self))[number]
        if number not in self._kept:
            self._kept[number] = read(self._sources[number])[0]
        return self._kept[number]


def make_page(parts: Sequence[Part], worlds: int, shape: Shape) -> Page:
    """The page of at most `worlds` parts, one a world, in their order."""
    moments = max(part.cast.steps for part in parts) + 1
    sizes = {"world": worlds, "agent": shape.agents, "moment": moments, "goal": shape.goals, "light": shape.lights}
    tracks = allocate(Tracks, sizes)
    tracks.cos[:], tracks.length[:], tracks.width[:] = 1, 1, 1
    roads = join([part.scene.roads for part in parts])
    begins = roads.network.maps["lanes_at"]
    firsts = roads.network.lanes["first"][begins]
    for w, part in enumerate(parts):
        cast = part.cast
        tracks.steps[w] = cast.steps
        count = len(cast.controlled)
        places = np.concatenate([np.arange(count), shape.seats + np.arange(len(cast.others))])
        for name, values in cast.rows.items():
            if name in ("section", "goal_section"):  # quads of the whole page
                values = values + (firsts[w] - part.scene.roads.network.lanes["first"][0])
            getattr(tracks, name)[w, places] = values
        for name, values in cast.moments.items():
            getattr(tracks, name)[w, : cast.steps + 1, places] = values.T  # an array of places comes first
        tracks.light[w, : cast.steps + 1, : cast.light.shape[1]] = cast.light
    assert tracks._fields == tuple(fields(Tracks))
    right_of_way = [part.scene for part in parts]
    return Page(
        roads,
        tracks,
        LazyMaps(parts),
        tuple(part.scene.key for part in parts),
        functools.partial(join_conflicts, right_of_way),
    )


def join_conflicts(scenes: Sequence[CompiledScene]) -> Conflicts:
    """Right of way of all maps of a page: what points into a table is shifted, as in roads/compiled/concatenate.py."""
    parts = [scene.conflicts for scene in scenes]
    lanes = np.cumsum([0, *(len(scene.roads.network.lanes) for scene in scenes)])
    lines = np.cumsum([0, *(len(scene.roads.network.stops) for scene in scenes)])
    rows = np.concatenate([part.rows for part in parts])
    rows["lane"] += np.repeat(lanes[:-1], [len(part.rows) for part in parts]).astype(np.int32)
    return Conflicts(
        at=_starts([part.at for part in parts]),
        rows=rows,
        within=np.concatenate([part.within for part in parts]),
        narrow=np.concatenate([part.narrow for part in parts]),
        retreat=np.concatenate([part.retreat for part in parts]),
        tightest=np.concatenate([part.tightest for part in parts]),
        usable=np.concatenate([part.usable for part in parts]),
        begins=np.concatenate([part.begins for part in parts]),
        stops_at=_starts([part.stops_at for part in parts]),
        stops=np.concatenate([part.stops + lines[k] for k, part in enumerate(parts)]).astype(np.int32),
    )


def _starts(parts: Sequence[np.ndarray]) -> np.ndarray:
    """First entries of each lane and one more, where the tables lie one after the other."""
    ends = np.cumsum([0, *(part[-1] for part in parts)])
    return np.concatenate([[0], *(part[1:] + end for part, end in zip(parts, ends[:-1], strict=True))]).astype(np.int32)
