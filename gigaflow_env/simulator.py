"""Simulator: worlds of agents on compiled roads without RL interface. `env.py` puts the Gymnasium contract around it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gigaflow_env.backend import cpu
from gigaflow_env.config import CHOICES, CONDITIONING, Config, params
from gigaflow_env.layout import ACTIONS, Layout
from gigaflow_env.roads.compile import capacity, compile
from gigaflow_env.roads.conflicts import conflicts
from gigaflow_env.roads.mapfiles import MapLike, find
from gigaflow_env.state import ABSENT, ENDED, IDM, POLICY, WAITING, State, make

Drivers = str | Mapping[str, float] | Sequence[str]
"""Who drives the rows: "policy", "idm", shares of both, or a name for each row."""

DRIVERS = {"policy": POLICY, "idm": IDM}


def drivers_of(given: Drivers, rows: int) -> np.ndarray:
    """Driver of each row, int8 (rows,). Shares are spread evenly over the rows, the same for every seed."""
    if isinstance(given, str):
        given = {given: 1.0}
    names = list(given)
    wrong = [name for name in names if name not in DRIVERS]
    if wrong or not names:
        raise ValueError(f"drivers={given!r}: choose of {', '.join(map(repr, DRIVERS))}")
    if not isinstance(given, Mapping):
        if len(names) != rows:
            raise ValueError(f"drivers has {len(names)} names: expected one per row, {rows}")
        return np.array([DRIVERS[name] for name in names], np.int8)
    shares = [given.get(name, 0.0) for name in DRIVERS]
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"drivers={given!r}: shares must add up to 1")
    turns = np.floor(np.arange(rows + 1) * shares[IDM] + 1e-6)
    return np.where(np.diff(turns) > 0, IDM, POLICY).astype(np.int8)


class Simulator:
    """`worlds` worlds of `agents` agents each; rows beyond `rows` stay empty. All arrays are shared, not copied.

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
        mode: int = cpu.SAME_STEP,
        threads: int | None = None,
        continuous: bool = False,
        drivers: Drivers = "policy",
    ) -> None:
        self.config = config
        self.layout = Layout(config)
        self.rows = rows
        self.agents = min(config.agents_per_world, rows)
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
        for number, name in enumerate(self.roads.names):
            room = capacity(self.roads, number)
            if self.agents > room:
                raise ValueError(f"agents_per_world={self.agents} do not fit map {name!r}: it has room for {room}")

        self.state = self.new_state(self.worlds)
        self.state.clock.map[:] = np.arange(self.worlds) % len(self.maps)
        self.drivers = drivers_of(drivers, rows)
        self.per_row(self.state.rows.driver)[:] = self.drivers
        self.conflicts = conflicts(self.roads) if (self.drivers == IDM).any() else None
        self.observations = np.zeros((self.worlds, self.agents, self.layout.size), np.float32)
        kept = self.observations.shape if mode == cpu.SAME_STEP else (0, 0, 0)
        self.final_observations = np.zeros(kept, np.float32)
        self.actions = np.zeros((self.worlds, self.agents), np.int32)
        self.wanted = np.zeros((self.worlds, self.agents, 2) if continuous else (0, 0, 2), np.float32)
        self.notes: Any = None  # eventlog.Notes where there is a log
        self._params = params(config)
        self._pool = cpu.Pool(self.threads)

    def new_state(self, worlds: int) -> State:
        """Empty arrays for some worlds like this simulator's."""
        lights = int(self.roads.network.maps["lights"].max())
        return make(
            worlds, self.agents, len(CONDITIONING), lights, self.config.agent_count, self.config.lane_count, len(CHOICES)
        )

    def reset(self, key: np.ndarray | None, mask: np.ndarray | None = None) -> None:
        """Start the rows of `mask`, bool (rows,), anew, or all rows and all worlds where it's None.

        key: two uint32 from which all chance follows; None keeps the old one.
        """
        clock, status, outcome, events = self.state.clock, self.state.rows.status, self.state.outcome, self.state.events
        if key is not None:
            clock.seed[:] = key
        if mask is None:
            clock.tick[:] = 0
            clock.step[:] = 0
            chosen = self._per_row(np.ones(self.rows, np.bool_))
            status[:] = ABSENT
            self.state.rows.episode[:] = 0
        else:
            chosen = self._per_row(mask)
            # The draws must differ from those of the step before. Other worlds don't notice: a light that began with this
            # tick would be drawn anew.
            clock.tick[chosen.any(axis=1)] += 1
        status[chosen] = WAITING
        for array in (*events, self.state.motion.distance):
            array[:] = 0  # a reset is no step: nothing happened in it
        for array in (outcome.reward, outcome.terminated, outcome.truncated):
            array[chosen] = 0
        self._pool.run(cpu.reset, self.worlds, self.observations, self.layout.starts, self.state, self.roads, self._params)

    def step(self, actions: np.ndarray) -> None:
        """One step; `actions` int (rows,) in 0..11, or continuous (rows, 2) in -1..1. Raises ValueError for others."""
        if len(self.wanted):
            self.per_row(self.wanted)[:] = _continuous(actions, self.rows)
        else:
            self.actions.reshape(-1)[: self.rows] = _discrete(actions, self.rows)
        self._pool.run(
            cpu.step, self.worlds, self.mode, self.actions, self.wanted, self.observations, self.final_observations,
            self.layout.starts, self.state, self.roads, self.conflicts, self.notes, self._params,
        )  # fmt: skip

    def show(self, state: State, observations: np.ndarray) -> None:
        """What the agents of a state, of this simulator or made by `new_state`, see: float32 (worlds, agents, size)."""
        worlds = len(observations)
        self._pool.run(cpu.observe, worlds, observations, self.layout.starts, state, self.roads, self._params)

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


def _discrete(actions: np.ndarray, rows: int) -> np.ndarray:
    if actions.shape != (rows,):
        raise ValueError(f"actions have shape {actions.shape}: expected one per row, ({rows},)")
    if not np.issubdtype(actions.dtype, np.integer):
        raise ValueError(f"actions have dtype {actions.dtype}: expected whole numbers 0 to {ACTIONS - 1}")
    low, high = actions.min(), actions.max()
    if low < 0 or high >= ACTIONS:
        row = int(np.flatnonzero((actions < 0) | (actions >= ACTIONS))[0])
        raise ValueError(f"action {actions[row]} of row {row}: must be 0 to {ACTIONS - 1}")
    return actions


def _continuous(actions: np.ndarray, rows: int) -> np.ndarray:
    if actions.shape != (rows, 2):
        raise ValueError(f"actions have shape {actions.shape}: expected two per row, ({rows}, 2)")
    if not np.issubdtype(actions.dtype, np.floating):
        raise ValueError(f"actions have dtype {actions.dtype}: expected numbers -1.0 to 1.0")
    if not np.abs(actions).max() <= 1.0:  # nan, too
        row = int(np.flatnonzero(~(np.abs(actions) <= 1.0).all(axis=1))[0])
        raise ValueError(f"action {actions[row].tolist()} of row {row}: must be -1 to 1, clip it")
    return actions
