"""The stream of scenes: any number of them through a fixed number of worlds, page by page, in bounded memory.

A thread of the background makes the next page while the present one is driven. Scenes that are not in the cache yet are read
and compiled by processes of their own (readers.py), some ahead of the page. The order is that of the list, whatever is ready
first, so that results don't depend on how fast anything was.
"""

import itertools
import time
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env import bounds
from gigaflow_env.config import OLDEST_WORLD, Config
from gigaflow_env.layout import GOALS
from gigaflow_env.progress import PATIENCE, say
from gigaflow_env.roads import MapError
from gigaflow_env.roads.scenario import Scenario
from gigaflow_env.scenes.cast import Casting, SceneError, Shape, cast, choose
from gigaflow_env.scenes.compiled import CompiledScene, read_scene
from gigaflow_env.scenes.page import Part, make_page
from gigaflow_env.scenes.readers import Readers
from gigaflow_env.scenes.sources import Source
from gigaflow_env.simulator import compiler_options
from gigaflow_env.tracks import Page

WORLDS = 32
"""Worlds where nobody says how many: their tables take some 100 MB."""
MOST_AGENTS = 256
"""Rows of a world: a key of the neighbour search has 8 bits for them."""
STREAM_AGENTS = 128
"""Rows of a world at least, where more scenes follow than the first page has: those of the Waymo Open Motion Dataset."""
MOST_GOALS = 32
"""Goals of a route: way-points on a longer way lie farther apart. Ours."""
LIGHTS = 64
"""Lights for which a world has room at least, where more scenes follow."""
EVERY = 10.0
"""[s] between lines that say how far reading is."""
NAMED = 5
"""Scenes that a warning names."""


class LeftOut(NamedTuple):
    """A scene that is not driven."""

    source: Source
    reason: str
    dt: float | None = None  # [s] its time step, where that is the reason: scenes of one step can be driven by themselves


class SceneInWorld(NamedTuple):
    """The scene that runs in a world."""

    number: int  # in the list of all scenes
    name: str
    source: Source
    scenario: Scenario
    start_step: int  # moment of the Scenario at which the world started
    step: int  # moment of the Scenario that the world shows now
    steps: int  # moments until the scene is over, counted from start_step
    agents: np.ndarray  # (agents_per_world,) number of the Scenario's agent in each place of the world, -1: none
    controlled: np.ndarray  # (rows_per_world,) bool: rows that `control` asked for
    start_conflict: np.ndarray  # (rows_per_world,) bits: 1 starts inside of another box, 2 over the edge of the road
    uncontrolled: int  # agents that `control` asked for, but that have no row: they follow their tracks
    left_out: int  # agents for which the world has no room


class _Made(NamedTuple):
    page: Page
    parts: list[Part]
    follows: int  # number of the first source behind it


class Stream:
    """Pages of the scenes of a list, over and over. Scenes that can't be driven are left out, see `left_out`."""

    def __init__(
        self,
        sources: Sequence[Source],
        casting: Casting,
        config: Config,
        *,
        worlds: int | None = None,
        rows: int | None = None,
        agents: int | None = None,
        processes: int | None = None,
    ) -> None:
        """worlds, rows, agents: sizes, None for what the first page needs; processes: readers, None for all processors.

        Raises ValueError where no scene of the first page's can be driven, or sizes are out of range.
        """
        self.sources, self.casting = list(sources), casting
        self.worlds = min(len(self.sources), WORLDS) if worlds is None else worlds
        self.left_out: dict[int, LeftOut] = {}
        self.rounds = 0
        """Rounds through the list that are over."""
        self._options = compiler_options(config)
        self._readers = Readers(processes)
        self._maker = ThreadPoolExecutor(1, "gigaflow-scenes")
        self._following: Future[_Made] | None = None
        self._told = False
        self._speaks = time.monotonic() + PATIENCE

        self.dt, self._reached = 0.0, 0
        scenes: list[tuple[int, CompiledScene]] = []
        while not scenes:
            readable = self._read(self._reached)
            if not readable:
                self.close()
                raise ValueError(f"none of the {len(self.sources)} scenes can be driven: {self._reasons()}")
            scenes = [pair for pair in readable if self._fits(*pair)]
        self.config = config.replace(dt=self.dt, world_steps=min(10**6, int(OLDEST_WORLD / self.dt)))
        self.shape = self._shape([scene for _, scene in scenes], rows, agents)
        self._present = self._made(0, scenes)
        self._first = self._present
        self._tell()

    def _shape(self, scenes: Sequence[CompiledScene], rows: int | None, agents: int | None) -> Shape:
        """The sizes that all pages share."""
        more = len(self.sources) > self.worlds
        chosen = [choose(scene.scenario, self.casting) for scene in scenes]
        if self.casting.others == "policy":
            start = self.casting.start_step
            now = [scene.scenario.valid[others, start] for scene, (_, others) in zip(scenes, chosen, strict=True)]
            chosen = [
                (np.concatenate([controlled, others[here]]), others[~here])
                for (controlled, others), here in zip(chosen, now, strict=True)
            ]
        seats = max(len(controlled) for controlled, _ in chosen)
        needed = seats + max(len(others) + max(len(controlled) - (rows or seats), 0) for controlled, others in chosen)
        wanted = min(seats, MOST_AGENTS) if rows is None else rows
        seats = bounds.whole("rows_per_world", wanted, bounds.Bounds(1, MOST_AGENTS), "rows")
        most = min(max(needed, STREAM_AGENTS if more else 1), MOST_AGENTS) if agents is None else agents
        agents = bounds.whole("agents_per_world", most, bounds.Bounds(1, MOST_AGENTS), "agents")
        seats = min(seats, agents)
        lights = max(max(len(scene.lights) for scene in scenes), LIGHTS if more else 1)
        return Shape(seats, agents, max(MOST_GOALS, GOALS), lights)

    @property
    def page(self) -> Page:
        """The page that is driven now."""
        return self._present.page

    def first(self) -> Page:
        """Back to the first page."""
        if self._present is not self._first:
            self._present, self._following = self._first, None
        self.rounds = 0
        return self._present.page

    def turn(self) -> Page:
        """The next page; the first one again, and one round more, when all scenes were driven."""
        ahead = self._following or self._begin_next()
        self._following = None
        made = ahead.result()
        if made is self._first:
            self.rounds += 1
            self._tell()
        self._present = made
        return made.page

    def look_ahead(self) -> None:
        """Begin to make the next page, if that has not begun yet."""
        if self._following is None:
            self._following = self._begin_next()

    def _begin_next(self) -> "Future[_Made]":
        return self._maker.submit(self._make, self._present.follows)

    def _make(self, begin: int) -> _Made:
        if begin >= len(self.sources):
            return self._first
        made = self._made(begin, self._read(begin))
        return made if made.parts else self._first

    def _made(self, begin: int, scenes: list[tuple[int, CompiledScene]]) -> _Made:
        """A page of the scenes that can be driven, and of as many more as there is room for."""
        parts: list[Part] = []
        follows = begin
        while True:
            for number, scene in scenes:
                follows = number + 1
                if self._fits(number, scene):
                    try:
                        found = cast(scene, self.casting, self.config, self.shape)
                    except SceneError as error:
                        self._leave_out(number, str(error))
                        continue
                    parts.append(Part(number, self.sources[number], scene, found))
            missing = self.worlds - len(parts)
            follows = max(follows, self._reached)
            if missing == 0 or follows >= len(self.sources):
                break
            scenes = self._read(follows, missing)
        if not parts and begin == 0:
            self.close()
            raise ValueError(f"none of the {len(self.sources)} scenes can be driven: {self._reasons()}")
        page = make_page(parts, self.worlds, self.shape) if parts else self._first.page
        return _Made(page, parts, follows)

    def _read(self, begin: int, wanted: int | None = None) -> list[tuple[int, CompiledScene]]:
        """As many good scenes as are wanted, from number `begin` on, or all that are left; their numbers and themselves."""
        wanted = self.worlds if wanted is None else wanted
        numbers = iter(range(begin, len(self.sources)))
        ahead: list[tuple[int, Future[str | None]]] = []
        found: list[tuple[int, CompiledScene]] = []
        self._reached = begin
        while len(found) < wanted:
            # So many are read ahead as may still be needed, and not more: what is compiled is kept in the cache anyway.
            for number in itertools.islice(numbers, wanted - len(found) - len(ahead)):
                ahead.append((number, self._readers.prepare(self.sources[number], self._options)))
            if not ahead:
                break
            number, ready = ahead.pop(0)
            self._reached = number + 1
            if number in self.left_out:
                continue
            reason = self._patiently(ready)
            if reason is None:
                try:
                    found.append((number, read_scene(self.sources[number], self._options)))
                    continue
                except (MapError, OSError) as error:
                    reason = str(error)
            self._leave_out(number, reason)
        return found

    def _patiently(self, ready: "Future[str | None]") -> str | None:
        """The result of a reader. What takes long is said, and how far it is."""
        while True:
            try:
                return ready.result(timeout=max(self._speaks - time.monotonic(), 0.01))
            except TimeoutError:
                said = f"{self._readers.done} are ready, {len(self.left_out)} left out"
                say(f"reading scenes, of {len(self.sources)}: {said}")
                self._speaks = time.monotonic() + EVERY

    def _fits(self, number: int, scene: CompiledScene) -> bool:
        """Whether the scene can be cast, and has the time step of all others; else it's left out."""
        try:
            choose(scene.scenario, self.casting)
        except SceneError as error:
            self._leave_out(number, str(error))
            return False
        dt = scene.scenario.dt
        self.dt = self.dt or dt  # of the first scene that can be driven
        if abs(dt - self.dt) > 0.01 * self.dt:  # the last check: what is left out so can be driven by itself
            self._leave_out(number, f"its steps are {dt:g} s apart, those of the first scene {self.dt:g} s", dt)
            return False
        return True

    def _leave_out(self, number: int, reason: str, dt: float | None = None) -> None:
        if number not in self.left_out:
            name = self.sources[number].name
            reason = reason.removeprefix(f"{self.sources[number].path}: ")
            self.left_out[number] = LeftOut(self.sources[number], reason, dt)
            if len(self.left_out) <= NAMED:
                say(f"scene left out: {name}: {reason}")

    def _reasons(self) -> str:
        named = [f"{one.source.name}: {one.reason}" for one in list(self.left_out.values())[:NAMED]]
        more = len(self.left_out) - len(named)
        return "; ".join(named) + (f"; and {more} more" if more > 0 else "")

    def _tell(self) -> None:
        """Say once, when all scenes were looked at, how many are left out."""
        if not self._told and self.left_out and (self.rounds or self._present.follows >= len(self.sources)):
            self._told = True
            warnings.warn(
                f"{len(self.left_out)} of {len(self.sources)} scenes are left out: {self._reasons()}",
                RuntimeWarning,
                stacklevel=4,
            )

    def place(self) -> dict[str, np.ndarray]:
        """What a snapshot keeps of the present page: numbers and keys of its scenes, what follows, and the round."""
        return {
            "scenes.numbers": np.array([part.number for part in self._present.parts], np.int64),
            "scenes.keys": np.array(self._present.page.keys),
            "scenes.place": np.array([self._present.follows, self.rounds], np.int64),
        }

    def is_at(self, place: Mapping[str, np.ndarray]) -> bool:
        """Whether the present page is that of a place. Raises ValueError where this is no place of scenes."""
        if "scenes.place" not in place:
            raise ValueError("the snapshot is of a town, not of scenes")
        return np.array_equal(place["scenes.keys"], np.array(self._present.page.keys))

    def go_to(self, place: Mapping[str, np.ndarray]) -> Page:
        """The page of a place. Raises ValueError where the scenes are not the same any more."""
        numbers = place["scenes.numbers"].tolist()
        if numbers and max(numbers) >= len(self.sources):
            raise ValueError(f"the snapshot is of scene {max(numbers)}, and there are {len(self.sources)} here")
        found = [(number, read_scene(self.sources[number], self._options)) for number in numbers]
        for (_, scene), key, number in zip(found, place["scenes.keys"].tolist(), numbers, strict=True):
            if scene.key != key:
                raise ValueError(f"{self.sources[number].name} is another scene than that of the snapshot")
        parts = [
            Part(number, self.sources[number], scene, cast(scene, self.casting, self.config, self.shape))
            for number, scene in found
        ]
        follows, self.rounds = map(int, place["scenes.place"])
        self._following = None
        self._present = _Made(make_page(parts, self.worlds, self.shape), parts, follows)
        return self._present.page

    def in_worlds(self, moments: np.ndarray, conflicts: np.ndarray) -> list[SceneInWorld]:
        """The scene of each world that has one. moments: shown now, int (worlds,); conflicts: (worlds, agents)."""
        found = []
        shape, start = self.shape, self.casting.start_step
        for w, part in enumerate(self._present.parts):
            made = part.cast
            agents = np.full(shape.agents, -1, np.int64)
            agents[: len(made.controlled)] = made.controlled
            agents[shape.seats : shape.seats + len(made.others)] = made.others
            found.append(
                SceneInWorld(
                    number=part.number,
                    name=part.source.name,
                    source=part.source,
                    scenario=part.scene.scenario,
                    start_step=start,
                    step=start + int(min(max(moments[w], 0), made.steps)),
                    steps=made.steps,
                    agents=agents,
                    controlled=np.arange(shape.seats) < made.asked,
                    start_conflict=conflicts[w, : shape.seats].copy(),
                    uncontrolled=made.uncontrolled,
                    left_out=made.left_out,
                )
            )
        return found

    def close(self) -> None:
        """Stop what runs in the background."""
        self._maker.shutdown(wait=True, cancel_futures=True)
        self._readers.close()

    def __getstate__(self) -> dict[str, Any]:
        # Threads can't be copied. The next page is waited for: what it finds out about scenes is written down meanwhile.
        ahead = None if self._following is None or self._following.exception() else self._following.result()
        return {**self.__dict__, "_maker": None, "_following": ahead}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._maker, self._following = ThreadPoolExecutor(1, "gigaflow-scenes"), None
        if state["_following"] is not None:
            self._following = Future()
            self._following.set_result(state["_following"])
