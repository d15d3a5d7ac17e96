"""Simulator: worlds of agents on compiled roads without RL interface. `env.py` puts the Gymnasium contract around it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from gigaflow_env.backend import cpu, world
from gigaflow_env.config import CONDITIONING, Config, params
from gigaflow_env.layout import ACTIONS, Layout
from gigaflow_env.population import shares
from gigaflow_env.roads.compile import capacity, compile
from gigaflow_env.roads.mapfiles import MapLike, find
from gigaflow_env.state import ENDED, make


class Simulator:
    """`worlds` worlds of `agents` agents each; rows beyond `rows` stay empty. All arrays are shared, not copied.

    map_shares: worlds draw their map by these shares, a new one whenever they begin; None: world i has map i modulo their
    number, for good.
    state: every array that changes (state.State), first axes (world, agent).
    observations, final_observations: float32 (worlds, agents, layout.size). The latter holds, for rows that ended in the
    last step in mode SAME_STEP, what they saw last; other rows of it are stale.
    """

    def __init__(
        self,
        maps: MapLike | Sequence[MapLike],
        rows: int,
        config: Config,
        *,
        mode: int = world.SAME_STEP,
        threads: int | None = None,
        map_shares: Sequence[float] | None = None,
    ) -> None:
        self.config = config
        self.layout = Layout(config)
        self.rows = rows
        self.agents = min(config.agents[1], rows)
        self.worlds = -(-rows // self.agents)
        self.mode = mode
        if threads is not None and threads < 1:
            raise ValueError(f"threads={threads}: must be at least 1, or None for all processors")
        self.threads = threads or cpu.default_threads()

        several = isinstance(maps, Sequence) and not isinstance(maps, str)
        self.maps = [find(one) for one in maps] if several else [find(maps)]  # type: ignore[union-attr,arg-type]
        if not self.maps:
            raise ValueError("map=[]: name at least one map")
        self.roads = compile(
            self.maps,
            lane_spacing=config.lane_spacing,
            lane_count=config.lane_count,
            boundary_count=config.boundary_count,
            stop_count=config.stop_count,
        )
        if map_shares is not None:
            self.roads.network.maps["until"] = _until(map_shares, len(self.maps))
        for number, name in enumerate(self.roads.names):
            room = int(capacity(self.roads, number) * min(1.0, config.variant_scale[0]))
            if self.agents > room:
                given = config.agents_per_world
                raise ValueError(f"agents_per_world={given} do not fit map {name!r}: it has room for {room}")

        lights = int(self.roads.network.maps["lights"].max())
        self.state = make(self.worlds, self.agents, len(CONDITIONING), lights, config.agent_count, config.lane_count)
        self.state.clock.map[:] = np.arange(self.worlds) % len(self.maps)
        self.state.clock.room[:] = np.minimum(rows - self.agents * np.arange(self.worlds), self.agents)
        self.state.kinds.until[:] = np.cumsum(list(shares(config.population).values()))
        self.observations = np.zeros((self.worlds, self.agents, self.layout.size), np.float32)
        kept = self.observations.shape if mode == world.SAME_STEP else (0, 0, 0)
        self.final_observations = np.zeros(kept, np.float32)
        self.actions = np.zeros((self.worlds, self.agents), np.int32)
        self._params = params(config)
        self._pool = cpu.Pool(self.threads)

    def reset(self, key: np.ndarray | None, mask: np.ndarray | None = None) -> None:
        """Start the rows of `mask`, bool (rows,), anew, or all rows and all worlds where it's None.

        key: two uint32 from which all chance follows; None keeps the old one.
        """
        every = mask is None
        chosen = self._per_row(np.ones(self.rows, np.bool_) if mask is None else mask)
        state = self.state
        key = state.clock.seed.copy() if key is None else key
        self._pool.run(
            cpu.clear, self.worlds, every, key, chosen,
            state.clock, state.rows, state.pose, state.motion, state.events, state.outcome, self._params,
        )  # fmt: skip
        self._pool.run(cpu.reset, self.worlds, self.observations, self.layout.starts, self.state, self.roads, self._params)

    def step(self, actions: np.ndarray) -> None:
        """One step; `actions` int (rows,) in 0..11. Raises ValueError for others."""
        if actions.shape != (self.rows,):
            raise ValueError(f"actions have shape {actions.shape}: expected one per row, ({self.rows},)")
        if not np.issubdtype(actions.dtype, np.integer):
            raise ValueError(f"actions have dtype {actions.dtype}: expected whole numbers 0 to {ACTIONS - 1}")
        low, high = actions.min(), actions.max()
        if low < 0 or high >= ACTIONS:
            row = int(np.flatnonzero((actions < 0) | (actions >= ACTIONS))[0])
            raise ValueError(f"action {actions[row]} of row {row}: must be 0 to {ACTIONS - 1}")
        self.actions.reshape(-1)[: self.rows] = actions
        self._pool.run(
            cpu.step, self.worlds, self.mode, self.actions, self.observations, self.final_observations, self.layout.starts,
            self.state, self.roads, self._params,
        )  # fmt: skip

    @property
    def ended(self) -> np.ndarray:
        """Rows whose episode is over and that wait for a reset, bool (rows,)."""
        return self.per_row(self.state.rows.status) == ENDED

    def per_row(self, array: np.ndarray) -> np.ndarray:
        """View of a (worlds, agents, ...) array by row: (rows, ...)."""
        return array.reshape(self.worlds * self.agents, *array.shape[2:])[: self.rows]

    def _per_row(self, mask: np.ndarray) -> np.ndarray:
        """A mask by row as (worlds, agents); rows that don't exist are False."""
        full = np.zeros(self.worlds * self.agents, np.bool_)
        full[: self.rows] = mask
        return full.reshape(self.worlds, self.agents)

    def nbytes(self) -> dict[str, int]:
        """Memory [bytes] of state, observations and roads."""
        return {
            "state": sum(array.nbytes for group in self.state for array in group),
            "observations": self.observations.nbytes + self.final_observations.nbytes,
            "roads": sum(array.nbytes for group in self.roads[:3] for array in group),
        }

    def close(self) -> None:
        self._pool.close()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_pool": None}  # threads can't be copied

    def __setstate__(self, kept: dict[str, Any]) -> None:
        self.__dict__.update(kept)
        self._pool = cpu.Pool(self.threads)


def _until(shares: Sequence[float], maps: int) -> np.ndarray:
    """Cumulated shares of the maps, float64 (maps,)."""
    given = np.asarray(shares, np.float64)
    if given.shape != (maps,) or not np.isfinite(given).all() or (given < 0).any() or given.sum() == 0:
        raise ValueError(f"map_shares={shares!r}: must be {maps} numbers of at least 0, one for each map, not all 0")
    return np.cumsum(given / given.sum())
