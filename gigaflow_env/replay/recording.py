"""Recording a world step by step: its frames, and what a policy makes of them."""

from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env.driver import Driver, softmax
from gigaflow_env.layout import as_floats
from gigaflow_env.replay import page, tables
from gigaflow_env.replay.clip import Clip, Moment
from gigaflow_env.replay.frame import BIT, ON_ROAD, body_of, frame_of
from gigaflow_env.replay.insight import reward_terms, seen_of
from gigaflow_env.simulator import Simulator


class Recorder:
    """Keeps the moments of one world. `add` after each step.

    last: moments that are kept; None: all. policy: whose probabilities and values are kept, too. A world that begins anew
    with another map or another map variant ends the recording: `over`.
    """

    def __init__(self, simulator: Simulator, world: int, *, policy: Driver | None = None, last: int | None = None) -> None:
        self.simulator, self.world, self.policy = simulator, world, policy
        self.moments: deque[Moment] = deque(maxlen=last)
        self.bodies: list[dict[str, Any]] = []
        self.sets: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.over = False
        self._known: dict[tuple[int, int], int] = {}
        self._sets: dict[int, int] = {}
        self._ground: tuple[float, ...] | None = None

    def add(self) -> None:
        """Keep the world as it is now."""
        simulator, world = self.simulator, self.world
        variant = [float(simulator.host(array)[world]) for array in simulator.state.variant[:4]]
        ground = (float(simulator.host(simulator.state.clock.map)[world]), *variant, float(simulator.pages))
        if self._ground is None:
            self._ground = ground
        elif ground != self._ground:
            self.over = True
        if self.over:
            return
        frame = frame_of(simulator, world)
        seen = simulator.host(simulator.observations[world : world + 1])[0]
        obs = np.zeros((simulator.agents, seen.shape[1]), np.float32)  # of scenes, others than the rows see nothing
        obs[: simulator.seats] = as_floats(seen, simulator.obs_dtype)
        probabilities = values = None
        if self.policy is not None:
            logits, values = self.policy.network(obs)
            probabilities = softmax(logits)
        seen = seen_of(simulator, world, obs)
        there = (frame.flags & ON_ROAD) > 0
        self.moments.append(
            Moment(
                frame=frame,
                bodies=np.array(
                    [self._body(a, int(frame.episode[a])) if there[a] else -1 for a in range(len(there))], np.int32
                ),
                probabilities=probabilities,
                values=values,
                terms=reward_terms(simulator, world),
                sets=self._seen(seen, ((frame.flags & BIT["live"]) > 0)[: simulator.seats]),
                distances=seen.lanes[..., 2],
                colours=seen.stops[..., 2].astype(np.int8),
                others=seen.others,
            )
        )

    def clip(self, title: str, *, first: int | None = None, last: int | None = None, focus: int = -1,
             start: float | None = None) -> Clip:  # fmt: skip
        """What was kept of the ticks from `first` to `last`. Raises ValueError where that is nothing."""
        ticks = (-1 if first is None else first, 2**31 if last is None else last)
        moments = [moment for moment in self.moments if ticks[0] <= moment.frame.tick <= ticks[1]]
        if not moments or self._ground is None:
            raise ValueError("nothing was recorded: call reset() and step() first")
        number = int(self._ground[0])
        return Clip(
            title=title,
            road_map=self.simulator.maps[number],
            origin=tuple(map(float, self.simulator.roads.origins[number][:2])),  # type: ignore[arg-type]
            warp=self._ground[1:5],  # type: ignore[arg-type]
            dt=self.simulator.config.dt,
            route_range=self.simulator.config.route_range,
            moments=moments,
            bodies=self.bodies,
            sets=self.sets,
            focus=focus,
            start=start,
        )

    def _body(self, agent: int, episode: int) -> int:
        key = (agent, episode)
        if key not in self._known:
            self._known[key] = len(self.bodies)
            self.bodies.append(body_of(self.simulator, self.world, agent))
        return self._known[key]

    def _seen(self, seen: Any, live: np.ndarray) -> np.ndarray:
        """Lanes and edges are the same for all agents in one place of the map: kept once for each such place.

        With dropout everybody sees something else in each step, which is not kept.
        """
        found = np.full(self.simulator.agents, -1, np.int32)
        if self.simulator.config.drops:
            return found
        routes = self.simulator.state.lane_routes
        rows = self.simulator.host(routes.row[self.world : self.world + 1])[0]
        for agent in np.flatnonzero(live):
            key = int(rows[agent])
            if key not in self._sets:
                self._sets[key] = len(self.sets)
                self.sets.append((seen.lanes[agent, :, :2], seen.edges[agent], seen.stops[agent, :, :2]))
            found[agent] = self._sets[key]
        return found


SUFFIXES = (".html", ".csv", ".parquet", ".xml")
"""Of recordings: a page, two kinds of tables, and SUMO's floating car data."""


class Recording:
    """A recording that writes its file when it is closed: a page, or a table of trajectories. Use as a context."""

    def __init__(self, recorder: Recorder, path: Path, title: str) -> None:
        if path.suffix.lower() not in SUFFIXES:
            raise ValueError(f"{path}: recordings are written as {', '.join(SUFFIXES)}")
        if not path.parent.is_dir():
            raise FileNotFoundError(f"{path}: the directory {path.parent} does not exist")
        self.recorder, self.path, self.title = recorder, path, title
        self.closed = False

    def add(self) -> None:
        """Keep the world as it is now."""
        if not self.closed:
            self.recorder.add()

    def restart(self) -> None:
        """Forget what was kept: all worlds begin anew."""
        if not self.closed:
            self.recorder = Recorder(self.recorder.simulator, self.recorder.world, policy=self.recorder.policy)

    def close(self) -> int:
        """Write the file; returns its size [bytes], 0 where it was written before."""
        if self.closed:
            return 0
        self.closed = True
        clip = self.recorder.clip(self.title)
        suffix = self.path.suffix.lower()
        if suffix == ".html":
            page.write_replay([clip], self.path)
        else:
            {".csv": tables.write_csv, ".parquet": tables.write_parquet, ".xml": tables.write_fcd}[suffix](clip, self.path)
        return self.path.stat().st_size

    def __enter__(self) -> "Recording":
        return self

    def __exit__(self, kind: Any, *error: object) -> None:
        if kind is None:
            self.close()
        self.closed = True
