"""Simulator: worlds of agents on compiled roads without RL interface. `env.py` puts the Gymnasium contract around it."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from gigaflow_env import bounds, finite
from gigaflow_env.backend import cpu, world_step
from gigaflow_env.backend.backend import Backend
from gigaflow_env.backend.world_step import Parts
from gigaflow_env.config import CHOICES, CONDITIONING, Config, params
from gigaflow_env.declare import fields
from gigaflow_env.layout import ACTIONS, FLOAT32, GOALS, OBS_DTYPES, Layout
from gigaflow_env.memory import fitting
from gigaflow_env.population import shares
from gigaflow_env.roads.compiled.compile import capacity, compile_roads
from gigaflow_env.roads.compiled.conflict_zones import conflicts
from gigaflow_env.roads.compiled.tables import Roads
from gigaflow_env.roads.loading import MapLike, find
from gigaflow_env.state import ENDED, IDM, POLICY, State, make
from gigaflow_env.tracks import Page, steps_of

BACKENDS = ("cpu", "cuda")

MODES = (world_step.SAME_STEP, world_step.NEXT_STEP, world_step.DISABLED)

ROWS = bounds.Bounds(1, 2**24)
"""Rows of a simulator. More than any device holds, and few enough that a mistyped number is no attempt at terabytes."""

DEVICES = bounds.Bounds(0, 63)


Drivers = str | Mapping[str, float] | Sequence[str]
"""Who drives the rows: "policy", "idm", shares of both, or a name for each row. A Page says so itself."""

DRIVERS = {"policy": POLICY, "idm": IDM}
"""Drivers of a town's rows by name."""


def drivers_of(given: Drivers, rows: int) -> np.ndarray:
    """Driver of each row, int8 (rows,). Shares are spread evenly over the rows, the same for every seed.

    Raises ValueError for an unknown name, shares that don't add up to 1, or another number of names than rows.
    """
    names = list(given) if isinstance(given, (Mapping, Sequence)) and not isinstance(given, str) else [given]
    if not names or not all(isinstance(name, str) and name in DRIVERS for name in names):
        raise ValueError(
            f"drivers={bounds.shown(given)}: choose of {', '.join(map(repr, DRIVERS))}: one of them, shares of both, or one "
            "for each row; an environment also takes 'pretrained' and paths of checkpoints"
        )
    if isinstance(given, str):
        return np.full(rows, DRIVERS[given], np.int8)
    if not isinstance(given, Mapping):
        if len(names) != rows:
            raise ValueError(f"drivers has {len(names)} names: expected one per row, {rows}")
        return np.array([DRIVERS[str(name)] for name in names], np.int8)
    ruled = bounds.shares("drivers", dict(given)).get("idm", 0.0)
    turns = np.floor(np.arange(rows + 1) * ruled + 1e-6)
    return np.where(np.diff(turns) > 0, IDM, POLICY).astype(np.int8)


def compiler_options(config: Config) -> dict[str, Any]:
    """Arguments of `compile_roads` that follow from a Config."""
    return {
        "lane_spacing": config.lane_spacing,
        "lane_count": config.lane_count,
        "boundary_count": config.boundary_count,
        "stop_count": config.stop_count,
        "shuffled": config.drops,
        "yields": config.yield_signs == "show",
        "programs": config.lights == "program",
    }


class MissingDevice(RuntimeError):
    """CUDA is asked for, and a library, a driver or a card is missing; the message says what to install."""


class Simulator:
    """`worlds` worlds of `agents` agents each; rows beyond `rows` stay empty. All arrays are shared, not copied.

    maps: a map, or several; or a Page of recorded scenes, one a world, of which the first `seats` agents are rows: `rows` is
    worlds * seats, and agents beyond the seats are in the state, but have neither action nor observation.
    decision_every: steps for which an action holds.
    backend: "cpu" with `threads`, or "cuda" with `device`, the number of a card. There state, actions and observations are
    numba's device arrays; `host` brings them to numpy.
    map_shares: worlds draw their map by these shares, a new one whenever they begin; None: world i has map i modulo their
    number, for good.
    observations, final_observations: (worlds, seats, layout.size), where towns have as many seats as agents; in obs_dtype
    ("float32"; "float16" and "bfloat16" as uint16 bits). The latter holds, for rows that ended in the last step in mode
    SAME_STEP, what they saw last; other rows of it are stale.
    Raises ValueError for arguments out of range, MissingDevice where CUDA is asked for and missing, MemoryError where the
    device is too small.
    """

    def __init__(
        self,
        maps: MapLike | Sequence[MapLike] | Page,
        rows: int,
        config: Config,
        *,
        mode: int = world_step.SAME_STEP,
        threads: int | None = None,
        backend: str = "cpu",
        device: int = 0,
        obs_dtype: str = "float32",
        map_shares: Sequence[float] | None = None,
        continuous: bool = False,
        drivers: Drivers = "policy",
        seats: int | None = None,
        decision_every: int = 1,
    ) -> None:
        # All that can be refused is refused before anything is made: first what needs no map.
        bounds.choice("backend", backend, BACKENDS)
        bounds.choice("obs_dtype", obs_dtype, OBS_DTYPES)
        bounds.flag("continuous", continuous)
        rows = bounds.whole("rows", rows, ROWS)
        device = bounds.whole("device", device, DEVICES)
        if mode not in MODES:
            raise ValueError(
                f"mode={bounds.shown(mode)}: choose one of SAME_STEP, NEXT_STEP, DISABLED of backend/world_step.py"
            )
        if not isinstance(config, Config):
            raise TypeError(f"config={bounds.shown(config)}: expected a Config")
        self.page = maps if isinstance(maps, Page) else None
        self.drivers = drivers_of(drivers, rows) if self.page is None else np.zeros(rows, np.int8)
        self._checked = backend == "cpu" and finite.wanted()
        self.config = config
        self.layout = Layout(config)
        self.rows = rows
        self.agents = min(config.agents[1], rows) if self.page is None else self.page.tracks.there.shape[1]
        self.seats = self.agents if seats is None else seats
        self.worlds = -(-rows // self.seats)
        if self.page is not None:
            self.drivers = self.page.tracks.driver[:, : self.seats].reshape(-1)[:rows].copy()
        self.mode = mode
        self.obs_dtype = obs_dtype
        self.backend = backend

        self.maps: Sequence[Any]
        if self.page is not None:
            self.maps = self.page.maps
        else:
            several = isinstance(maps, Sequence) and not isinstance(maps, str)
            self.maps = [find(one) for one in maps] if several else [find(maps)]  # type: ignore[union-attr,arg-type]
        if not self.maps:
            raise ValueError("map=[]: name at least one map")
        until = None if map_shares is None else _until(map_shares, len(self.maps))
        # Before the maps: what is missing should be said at once.
        self._machine: Backend = cpu.Threads(threads) if backend == "cpu" else _cuda().Device(device)
        self.roads = self._compiled() if self.page is None else self.page.roads
        if until is not None:
            self.roads.network.maps["until"] = until
        with fitting(f"{rows} rows"):
            self._make_arrays(continuous)
        self.contacts: Any = None  # event_log.Notes where there is a log
        self.replay: Callable[[], None] | None = None  # a recorded step, see output/tensors.py
        self._aside: Any = None  # state and observations on a device, see `observe_state`
        scene_rows = None if self.page is None else self.seats
        self._params = params(config, scene_rows=scene_rows, decision_every=decision_every)
        self.steps_left = 0  # of the page of scenes
        self.pages = 0  # turned so far

    def _compiled(self) -> Roads:
        """The tables of all maps. Raises ValueError where one has no room for a world's agents."""
        config = self.config
        with fitting(f"the tables of {', '.join(repr(road_map.name) for road_map in self.maps[:3])}"):
            roads = compile_roads(self.maps, **compiler_options(config))
        for number, name in enumerate(roads.names):
            room = max(int(capacity(roads, number) * min(1.0, config.variant_scale[0])), 1)
            if self.agents > room:
                given = config.agents_per_world
                raise ValueError(f"agents_per_world={given} do not fit map {name!r}: it has room for {room}")
        return roads

    def _make_arrays(self, continuous: bool) -> None:
        """State, observations and actions, where the kernels run. Raises MemoryError where they don't fit."""
        rows, config = self.rows, self.config
        state = self.new_state(self.worlds)
        state.clock.number[:] = np.arange(self.worlds)
        if self.page is None:
            self.per_row(state.rows.driver)[:] = self.drivers
            state.clock.map[:] = state.clock.number % len(self.maps)
            state.clock.room[:] = np.minimum(rows - self.agents * np.arange(self.worlds), self.agents)
        else:
            state.clock.room[:] = self.agents
        state.kinds.until[:] = np.cumsum(list(shares(config.population).values()))
        put, zeros = self._machine.put, self._machine.zeros
        cells, column = (self.worlds, self.seats), np.float32 if OBS_DTYPES[self.obs_dtype] == FLOAT32 else np.uint16
        self._machine.expect(self.worlds, self._nbytes(state, column))
        self.state: State = State(*(put(group) for group in state))
        self.observations = zeros((*cells, self.layout.size), column)
        self.final_observations = zeros(
            (*cells, self.layout.size) if self.mode == world_step.SAME_STEP else (0, 0, 0), column
        )
        self.actions = zeros(cells, np.int32)
        self.wanted = zeros((*cells, 2) if continuous else (0, 0, 2), np.float32)
        self.chosen = zeros((self.worlds, self.agents), np.bool_)
        self.tracks: Any = None
        self._put_tables((self.drivers == IDM).any())

    def _put_tables(self, rules: bool) -> None:
        """Tables of roads, tracks and right of way, where the kernels run. rules: some rows have rule-based drivers."""
        put, roads = self._machine.put, self.roads
        self._placed = None
        if self.backend != "cpu":
            self._placed = roads._replace(network=put(roads.network), grid=put(roads.grid), nearby=put(roads.nearby))
        if self.page is None:
            self.conflicts = put(conflicts(roads)) if rules else None
            return
        self.tracks = put(self.page.tracks)
        self.conflicts = put(self.page.conflicts()) if rules or (self.page.tracks.driver == IDM).any() else None

    @property
    def threads(self) -> int:
        """CPU threads that drive."""
        return self._machine.threads

    @property
    def _parts(self) -> Parts:
        return Parts(
            self.mode, OBS_DTYPES[self.obs_dtype], self.state, self._placed or self.roads, self.actions, self.wanted,
            self.observations, self.final_observations, self.layout.starts, self.conflicts, self.contacts, self.tracks,
            self._params,
        )  # fmt: skip

    def new_state(self, worlds: int) -> State:
        """Empty arrays on the host for some worlds like this simulator's."""
        lights = int(self.roads.network.maps["lights"].max()) if self.page is None else self.page.tracks.light.shape[2]
        seen, samples = self.config.agent_count, self.config.lane_count
        ruled = self.page is not None or (self.drivers == IDM).any()  # only those need a workspace each on CUDA
        workers = self.agents if self.backend != "cpu" and ruled else 1
        goals = GOALS if self.page is None else self.page.tracks.goal_x.shape[2]
        kept = self.config.lanes_kept
        return make(worlds, self.agents, len(CONDITIONING), lights, seen, samples, len(CHOICES), workers, goals, kept)

    def observe(self) -> None:
        """Make the observations anew from the state as it is."""
        self._machine.observe(self._parts)

    def observe_state(self, state: State, observations: np.ndarray) -> None:
        """What the agents of a state made by `new_state` see: float32 (worlds, agents, size), of as many of its worlds.

        Both are the host's; a device gets a copy and is waited for. The state has the same number of worlds at every call.
        """
        if self.backend == "cpu":
            self._machine.observe(self._parts._replace(state=state, obs=observations, obs_dtype=FLOAT32))
            return
        if self._aside is None:  # kept, as the device prepares its launches for arrays that stay
            shape = (len(state.clock.map), *observations.shape[1:])
            self._aside = State(*map(self.put, state)), self._machine.zeros(shape, np.float32)
        there, seen = self._aside
        for array, values in zip(itertools.chain(*there), itertools.chain(*state), strict=True):
            self.write(array, values)
        self._machine.observe(self._parts._replace(state=there, obs=seen, obs_dtype=FLOAT32))
        observations[...] = self.host(seen)[: len(observations)]

    def observe_chosen(
        self, state: State, first: np.ndarray, agents: np.ndarray, places: np.ndarray, observations: np.ndarray
    ) -> None:
        """What some agents of a state made by `new_state` see, on the CPU: agents[first[w] : first[w + 1]] of world w.

        The i-th of the agents becomes row places[i] of observations, float32 (rows, size).
        """
        parts = self._parts._replace(state=state, obs=observations, obs_dtype=FLOAT32)
        self._machine.observe_chosen(parts, first, agents, places)

    def prepare(self) -> None:
        """Compile the kernels of the CPU, or load them from disk, without a reset; else the first reset does it."""
        self._machine.prepare(self._parts)

    def reset(self, key: np.ndarray | None, mask: Any = None) -> None:
        """Start the rows of `mask` anew, or all rows and all worlds where it's None.

        key: two uint32 from which all chance follows; None keeps the old one. mask: bool (rows,), or `chosen`, filled by the
        caller, which saves the copy.
        """
        every = mask is None
        if every and self.page is not None:
            self.steps_left = steps_of(self.page)
        if mask is not self.chosen:
            self._machine.write(self.chosen, self._spread(np.ones(self.rows, np.bool_) if every else mask))
        self._machine.clear(self._parts, every, np.zeros(0, np.uint32) if key is None else key, self.chosen)
        self._machine.reset(self._parts)
        if self._checked:
            finite.check(self, "reset")

    def step(self, actions: Any) -> None:
        """One step.

        actions: int (rows,) in 0..11, continuous (rows, 2) in -1..1, or `actions` or `wanted`, filled by the caller, which
        saves the copy and the check.

        Raises ValueError for others; with GIGAFLOW_CHECK=1 FloatingPointError for a number that isn't finite, see finite.py.
        """
        if actions is not self.actions and actions is not self.wanted:
            self.write_actions(np.asarray(actions))
        if self.replay is not None:
            self.replay()
        else:
            self._machine.step(self._parts)
        self.steps_left -= 1
        if self._checked:
            finite.check(self, "step")

    @property
    def page_over(self) -> bool:
        """Whether all scenes of the page are over; never, where worlds are no scenes."""
        return self.page is not None and self.steps_left <= 0

    def load(self, page: Page) -> None:
        """Take over the tables of a page. Raises ValueError where worlds are no scenes."""
        if self.page is None:
            raise ValueError("only a simulator of scenes turns pages: make it with a Page as its maps")
        if page is not self.page:
            self.page, self.roads, self.maps, self._aside = page, page.roads, page.maps, None
            self.pages += 1
            self._machine.forget()
            self._put_tables((self.drivers == IDM).any())

    def turn(self, page: Page, *, anew: bool = False) -> None:
        """The scenes of a page begin, those before are gone. anew: nothing happened in this step, as after a reset.

        The page has as many worlds, rows, goals and lights as the one before. What the last step says of rewards, ends and
        events stays, unless `anew`.
        """
        self.load(page)
        if anew:
            self._machine.write(self.chosen, np.ones(self.chosen.shape, np.bool_))
            self._machine.clear(self._parts, False, np.zeros(0, np.uint32), self.chosen)
        self._machine.write(self.state.clock.agents, np.zeros(self.worlds, np.int32))
        self._machine.reset(self._parts)
        self.steps_left = steps_of(page)

    def write_actions(self, actions: np.ndarray) -> None:
        """Check actions of the host, and put them into `actions` or `wanted`."""
        if self.wanted.size:
            self._machine.write(self.per_row(self.wanted), _continuous(actions, self.rows))
        else:
            self._machine.write(self.per_row(self.actions), _discrete(actions, self.rows))

    @property
    def stream(self) -> int:
        """The CUDA stream on which kernels are launched, by its number; 0: the default one."""
        return self._machine.stream

    @stream.setter
    def stream(self, number: int) -> None:
        self._machine.stream = number

    @property
    def ended(self) -> np.ndarray:
        """Rows whose episode is over and that wait for a reset, bool (rows,), on the host."""
        return self.per_row(self.host(self.state.rows.status)) == ENDED

    def per_row(self, array: Any) -> Any:
        """A (worlds, agents, ...) array by row: (rows, ...). A view; a copy where the array has more agents than seats."""
        if array.shape[1] != self.seats:  # of scenes, on the host
            array = np.ascontiguousarray(array[:, : self.seats])
        return array.reshape(self.worlds * self.seats, *array.shape[2:])[: self.rows]

    def _spread(self, values: np.ndarray) -> np.ndarray:
        """Values of rows as (worlds, agents): zeros for agents without a row."""
        found = np.zeros((self.worlds, self.agents, *values.shape[1:]), values.dtype)
        whole = np.zeros((self.worlds * self.seats, *values.shape[1:]), values.dtype)
        whole[: self.rows] = values
        found[:, : self.seats] = whole.reshape(self.worlds, self.seats, *values.shape[1:])
        return found

    def host(self, array: Any) -> np.ndarray:
        """An array of this simulator as numpy's: itself on the CPU, a copy from a device, which waits for it."""
        return self._machine.fetch(array)

    def put(self, group: Any) -> Any:
        """A group of the host's arrays as this simulator's kernels want it: itself on the CPU, a copy on a device."""
        return self._machine.put(group)

    def write(self, array: Any, values: np.ndarray) -> None:
        """Put values of the host into an array of this simulator."""
        self._machine.write(array, values)

    def world_state(self, world: int) -> State:
        """Copies of one world's arrays on the host, without the axis of the worlds."""

        def of_one(group: Any) -> Any:
            copies = []
            for array, field in zip(group, fields(type(group)).values(), strict=True):
                each_world = field.axes[0] == "world"
                copy = self.host(array[world : world + 1] if each_world else array).copy()
                copies.append(copy[0] if each_world else copy)
            return type(group)(*copies)

        return State(*(of_one(group) for group in self.state))

    def _nbytes(self, state: State, column: Any) -> int:
        """Bytes of one world's arrays."""
        observation = self.seats * self.layout.size * np.dtype(column).itemsize
        return sum(array.nbytes for group in state for array in group) // self.worlds + observation * (
            1 + (self.mode == world_step.SAME_STEP)
        )

    def nbytes(self) -> dict[str, int]:
        """Memory [bytes] of state, observations and roads."""
        return {
            "state": sum(array.nbytes for group in self.state for array in group),
            "observations": self.observations.nbytes + self.final_observations.nbytes,
            "roads": sum(array.nbytes for group in self.roads[:3] for array in group),
        }

    def close(self) -> None:
        """Stop the threads."""
        self._machine.close()


def _cuda() -> Any:
    """The CUDA backend, whose libraries nobody else has to have."""
    try:
        from gigaflow_env.backend import cuda
    except ImportError as error:
        raise MissingDevice(str(error)) from None
    missing = cuda.missing()
    if missing:
        raise MissingDevice(missing)
    return cuda


_WEIGHT = bounds.Bounds(0, 1e9)


def _until(shares: Sequence[float], maps: int) -> np.ndarray:
    """Cumulated shares of the maps, float64 (maps,)."""
    numbers = isinstance(shares, (Sequence, np.ndarray)) and not isinstance(shares, str)
    try:
        given = np.array([bounds.real("map_shares", share, _WEIGHT) for share in shares] if numbers else [])
    except ValueError:
        given = np.zeros(0)
    if given.shape != (maps,) or given.sum() == 0:
        raise ValueError(
            f"map_shares={bounds.shown(shares)}: must be {maps} numbers of at least 0, one for each map, not all 0"
        )
    return np.cumsum(given / given.sum())


def _discrete(actions: np.ndarray, rows: int) -> np.ndarray:
    if actions.shape != (rows,):
        raise ValueError(f"actions have shape {actions.shape}: expected one per row, ({rows},)")
    if actions.dtype.kind not in "iu":
        raise ValueError(f"actions have dtype {actions.dtype}: expected whole numbers 0 to {ACTIONS - 1}")
    if actions.view(f"u{actions.itemsize}").max() >= ACTIONS:  # a negative number is a large one there
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
