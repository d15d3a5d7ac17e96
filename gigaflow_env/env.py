"""GigaflowVectorEnv: the simulator behind Gymnasium's vector contract. Every agent is a row; one policy drives all rows."""

import json
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from gigaflow_env import bounds, driver, snapshot
from gigaflow_env.backend import world_step
from gigaflow_env.conditioning import clear_overrides, override, ranges_of
from gigaflow_env.config import Config
from gigaflow_env.event_log import EventLog
from gigaflow_env.layout import ACTIONS, Layout, as_floats
from gigaflow_env.output.arrays import Arrays
from gigaflow_env.output.output import Output
from gigaflow_env.presets import make_config
from gigaflow_env.replay import Recorder, Recording
from gigaflow_env.roads.loading import MapLike, find
from gigaflow_env.scenes.cast import IDM_NUPLAN, Casting, check_casting
from gigaflow_env.scenes.sources import SceneLike, sources
from gigaflow_env.scenes.stream import LeftOut, SceneInWorld, Stream
from gigaflow_env.seats import Drivers, seats
from gigaflow_env.simulator import BACKENDS, ROWS, Simulator
from gigaflow_env.state import LIVE, POLICY
from gigaflow_env.state_memory import StateMemory

try:
    from gymnasium.vector import AutoresetMode, VectorEnv
    from gymnasium.vector.utils import batch_space
except ImportError:
    raise ImportError(
        f"the environments need gymnasium>=1.2.2, and this is {gymnasium.__version__}: "
        "pip install 'gymnasium>=1.2.2', or use gigaflow_env.Simulator, which needs none"
    ) from None

_MODES = {
    AutoresetMode.SAME_STEP: world_step.SAME_STEP,
    AutoresetMode.NEXT_STEP: world_step.NEXT_STEP,
    AutoresetMode.DISABLED: world_step.DISABLED,
}


PICTURE_SIZES = bounds.Bounds(16, 8192)
PICTURE_WIDTHS = bounds.Bounds(1, 100_000)


def checkpoints_of(traffic: str | Path) -> list[str]:
    """The checkpoint that `traffic` names, if it is one. Raises ValueError for what is neither that nor "idm"."""
    if traffic != "idm" and not driver.is_checkpoint(traffic):
        raise ValueError(f"traffic={bounds.shown(traffic)} is neither 'idm' nor 'pretrained' nor a checkpoint: no such path")
    return [] if traffic == "idm" else [str(traffic)]


def device_number(backend: str, device: str | int | None) -> int:
    """Number of the card that `device` names: "cuda" or None is the first one."""
    if device is None or (backend == "cpu" and str(device) == "cpu"):
        return 0
    text = "none" if isinstance(device, bool) or device == "" else str(device)
    number = text.removeprefix("cuda").removeprefix(":") or "0"
    if backend != "cuda" or not (number.isascii() and number.isdecimal()):
        raise ValueError(
            f"device={bounds.shown(device)} does not fit backend={backend!r}: it is 'cuda:0' and the like with 'cuda' only"
        )
    return int(number)


def _check_unused(**given: Any) -> None:
    """Raises ValueError for the first argument that says something of scenes, where there are none."""
    defaults: Any = GigaflowVectorEnv.__init__.__kwdefaults__
    for name, value in given.items():
        if value != defaults[name]:
            raise ValueError(f"{name}={bounds.shown(value)} says something of scenes: name them, scenes=...")


def _scene_driver(drivers: Drivers) -> str:
    """Who drives the controlled rows: a name of `scenes.cast.DRIVERS`. A checkpoint acts as a policy."""
    if not isinstance(drivers, str):
        raise ValueError(f"drivers={bounds.shown(drivers)}: one name for all rows of scenes")
    return drivers if drivers in ("idm", "replay") else "policy"


def _asked_every(config: Config, decision_every: int, checkpoints: Sequence[str]) -> Config:
    """The Config of scenes as a network sees it: its time step is that between two decisions.

    Raises ValueError where another `decision_every` would be that of the training.
    """
    for path in checkpoints:
        trained = driver.config_of(path).dt
        right = max(round(trained / config.dt), 1)
        if right != decision_every and abs(right * config.dt - trained) < 1e-6:
            raise ValueError(
                f"decision_every={decision_every}: {path} was trained to decide every {trained:g} s, and the steps of these "
                f"scenes are {config.dt:g} s: decision_every={right} would be right"
            )
    return config.replace(dt=min(round(config.dt * decision_every, 9), 3.0), world_steps=1)


SCENE_CONFIG = {
    "on_route_done": "new_route", "world_stagger": 0.0, "inattentive": 0.0, "phantom": 0.0,
    "noise_position": 0.0, "noise_heading": 0.0, "noise_speed": 0.0,
    "variant_scale": (1.0, 1.0), "variant_shear": (0.0, 0.0), "variant_flip": 0.0, "variant_turn": (0.0, 0.0),
}  # fmt: skip
"""A scene is as it was recorded: what presets blur for training is off, unless the config asks for it."""


def _scene_config(
    preset: str | None, config: Config | Mapping[str, Any] | None, drivers: Drivers, others: str, max_steps: int | None
) -> Config:
    """The Config of scenes, whose time step is found when they are read. A complete one is taken as it is."""
    checkpoint = [drivers] if isinstance(drivers, str) and driver.is_checkpoint(drivers) else []
    if not isinstance(config, Config):
        own = {**SCENE_CONFIG, **(IDM_NUPLAN if others == "idm" else {})}
        make_config(preset, config, checkpoint)  # refuses what is wrong
        config = make_config(preset, {**own, **(config or {})}, checkpoint)
    return config if max_steps is None else config.replace(max_steps=max_steps)


def reset_options(options: Any, known: tuple[str, ...]) -> Mapping[str, Any]:
    """The options of a reset, a dict with nothing but known names. Raises TypeError or ValueError for others."""
    if options is None:
        return {}
    if not isinstance(options, Mapping):
        raise TypeError(f"options={bounds.shown(options)}: expected a dict with any of {', '.join(map(repr, known))}")
    for name in options:
        if name not in known:
            raise ValueError(f"unknown reset option {bounds.shown(name)}: there is {' and '.join(map(repr, known))}")
    return options


def _generator_state(kept: Any) -> dict[str, Any]:
    """State of a NumPy generator from a snapshot. Raises ValueError for a damaged one."""
    try:
        state = json.loads(str(kept))
        np.random.PCG64().state = state
    except (ValueError, TypeError, KeyError, OverflowError):
        raise ValueError("the snapshot is damaged: np_random is no state of a generator") from None
    return state


def _output(name: str, simulator: Simulator, copy: bool, device: int) -> Output:
    if name == "numpy":
        return Arrays(simulator, copy)
    from gigaflow_env.output.tensors import Tensors  # torch is for those who want it

    return Tensors(simulator, copy, device)


def _window(fps: int) -> Any:
    from gigaflow_env.render import Window

    return Window("gigaflow-env", fps)


class GigaflowVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Self-play driving: many agents share each world, every agent is a row, and one policy drives all rows.

    ## Description
    `num_envs` agents in worlds of `agents_per_world`; the last world may hold fewer. Where that is a range, each world draws
    how many it has when it begins, and the rows beyond are not `active` until it ends. An agent follows a route of goals
    through a town with lanes, junctions and traffic lights, among agents which do the same. Bodies, routes and reward
    coefficients are drawn anew for every episode; the coefficients are part of the observation, so that one policy learns
    many ways to drive.

    ## Action Space
    `Discrete(12)`: 3 * longitudinal index + lateral index.

    | index | longitudinal jerk [m/s^3] | lateral jerk [m/s^3], left positive |
    |---|---|---|
    | 0 | -15 | -4 |
    | 1 | -4 | 0 |
    | 2 | 0 | 4 |
    | 3 | 4 | |

    With `action="continuous"`: `Box(-1, 1, (2,), float32)`, longitudinal and lateral jerk. -1, 0 and 1 mean -15, 0 and
    4 m/s^3 along, -4, 0 and 4 m/s^3 to the left, and linear in between. The dynamics are the same.

    ## Observation Space
    `Box(-1, 1, (layout.size,), float32)`. Positions are in the agent's own frame, x ahead and y left, and scaled to the
    box. `env.layout.split(obs)` gives the blocks by name; `gigaflow_env.FEATURES` declares every feature with its scale.

    | block | elements | features each | what |
    |---|---|---|---|
    | ego | 1 | 13 | place on the lane, motion, body |
    | conditioning | 1 | 13 | the agent's own reward coefficients |
    | goals | 4 | 3 | goals still to be reached, next first |
    | lanes | lane_count | 7 | nearest lane samples, with the route distance from there to the goal |
    | boundaries | boundary_count | 2 | nearest points of the road's edges |
    | stops | stop_count | 7 | nearest stop lines with the colour of their light |
    | agents | agent_count | 10 | nearest agents |

    With dropout a set has as many elements as are left, `config.lanes_kept` and `config.boundaries_kept`, in any order: in
    "paper" 40 and 48 of 80. `env.layout.counts` has the numbers. The row of an agent that waits for a place is all 0.

    ## Rewards
    The ten terms of arXiv 2502.03349, Table A2: goals, collision, off-road, comfort, lane alignment, lane center, velocity,
    reverse, stop line and time, with coefficients drawn per agent and episode (`config`); and progress along the route, 0
    in "paper".

    ## Starting State
    A free place on a lane outside of junctions, heading along it, at up to `spawn_speed`. An agent that finds no free place
    waits: its row is not `active`, earns 0, ends no episode and ignores its action. Worlds begin at different ages
    (`world_stagger`).

    ## Episode End
    Terminated: collision or off-road (unless `on_crash="continue"`), or the final goal with `on_route_done="respawn"`.
    With `on_crash="freeze"` a wreck stands in the way for `freeze_time`; its row is not `active` until then.
    With `on_crash="leave"` whoever's episode ended is gone, and the row is not `active`, until the world ends.
    Truncated: after `max_steps`, and when the world is over (`world_steps`). An episode can thus be shorter than
    `max_episode_steps`, not longer.

    The row starts anew elsewhere in its running world. "SameStep": at once, and the observation returned is already the new
    one. "NextStep": in the next step, which ignores its action and earns 0. "Disabled": by `reset(options={"reset_mask":
    ended})`, a bool array (num_envs,), before the next step. Others see an agent come and go: the rows of its world that
    are not in the mask keep their episodes, but their `agents` block may change.

    ## Information
    Arrays of length num_envs, the same keys at every step:

    | key | dtype | meaning |
    |---|---|---|
    | active | bool | the observation is a live agent's: the weight of the transition that begins with it |
    | erratic | bool | the agent is one of the erratic drivers, whose transitions a trainer leaves out |
    | collision, offroad, red_light | bool | what happened in the step |
    | goal, route_done | bool | reached a goal; the final one |
    | timeout | bool | the episode was `max_steps` old |
    | distance | float32 | distance moved in the step [m] |
    | traffic | bool | the row has a driver of its own, ignores its action, and is nothing to learn from |
    | final_obs, _final_obs | float32 (num_envs, size); bool | "SameStep": last observation of the rows that ended; which |
    | episode, _episode | {r: float32, l: int32}; bool | `record_stats`: return and length of the rows that ended, else 0 |

    `reset` returns all but the last two lines, with no event and distance 0. Other rows of `final_obs` are 0 with
    `copy=True`, and stale with `copy=False`.

    ## Arguments
    `gymnasium.make_vec("gigaflow_env:GigaFlow-v0", num_envs=4096, map="downtown", preset="laptop")`

    | argument | default | meaning |
    |---|---|---|
    | num_envs | 1 | rows: agents of all worlds together |
    | map | "loop" | shipped town, path of a map, RoadMap, or a list of these: world i has map i modulo their number |
    | map_shares | None | worlds draw one of the maps by these shares, anew when they begin; None: as above, for good |
    | preset | None | "paper", "laptop" for two CPU cores, or "longform", the paper's safety evaluation; None: "paper", \
or, where `drivers` names a checkpoint, the environment that it was trained in |
    | config | None | changes to the preset by name, or a complete Config, which makes `preset` irrelevant |
    | agents_per_world, max_episode_steps | None | short for the config's `agents_per_world` and `max_steps` |
    | autoreset_mode | "SameStep" | "SameStep", "NextStep" or "Disabled" |
    | threads | None | CPU threads, None for all; the results don't depend on it |
    | copy | True | False returns arrays that the next step overwrites: faster, and wrong for trainers that keep them |
    | record_stats | False | `episode` in the info; Gymnasium's RecordEpisodeStatistics wants it off |
    | render_mode | None | "rgb_array": `render()` gives a picture a row; "human": a window follows the first row |
    | backend | "cpu" | where the kernels run: "cpu", or "cuda" |
    | device | None | the card: "cuda:0" and the like; None: the first |
    | output | "numpy" | "torch": tensors that share the simulator's memory, on its device; actions may be tensors, too |
    | obs_dtype | "float32" | "float16", and with tensors "bfloat16", halve the bytes of observations |
    | action | "discrete" | "discrete" or "continuous" |
    | conditioning | None | values chosen by hand, see `reset` |
    | drivers | "policy" | "idm": rule-based drivers; "pretrained" or a checkpoint: a trained policy; \
`{"policy": 0.8, "idm": 0.2}`: for a share of rows; or a name a row |
    | traffic | None | "idm", "pretrained" or a checkpoint: drives all rows but the first of each world, as in `make` |
    | events | False | True keeps a log of collisions, departures from the road and red lights: `event_log` |
    | decision_every | 1 | steps for which an action holds; what is given in between is ignored, see `decides` |
    | scenes | None | recorded traffic: path, folder, pattern, Scenario, pair (RoadMap, Scenario), or a list of these |
    | control | "ego" | in scenes: who is controlled: "ego", "predict" (whom the record names), or "all" seen at the start |
    | others | "replay" | in scenes: they follow their tracks; "idm": vehicles drive by rules; "policy": they are rows, too |
    | start_step | 0 | moment of the record at which a scene starts |
    | scene_steps | None | steps that a scene lasts at most |
    | way_every | 100.0 | metres between the way-points of the recorded way, which is the route |
    | worlds | None | scenes side by side; None: all, and 32 of more |
    | rows_per_world | None | room for controlled agents, `agents_per_world` for all; None: what the first scenes need |
    | scene_readers | None | processes that read scenes in the background; None: one a processor, 0: none |

    With `scenes` a world is a scene, and rows are the agents that are controlled; `num_envs` follows. `drivers="replay"`:
    they follow their tracks, too, and are judged: the expert. `env.unwrapped.scenes` says which scene runs where; the page
    of the guide on recorded scenes says the rest.

    On a CUDA device with `output="torch"` a step waits for nothing: it runs on torch's current stream, takes actions from
    the device unchecked, and can be recorded in a CUDA graph, by `capture()` or by the caller. In mode "Disabled" it does
    not check that ended rows were reset. With `events=True` every step waits for the device, as the log is on the host;
    `capture()` records the rest of it, and the caller can't.

    With strings, numbers and dicts as arguments `env.spec.to_json()` works. An environment can be pickled and copied; a
    copy goes on as the original does (not on CUDA). The same seed gives the same episodes, bit for bit.

    ## References
    Cusumano-Towner et al. 2025, "Robust Autonomy Emerges from Self-Play", arXiv 2502.03349.

    ## Version History
    v0: first version.
    """

    metadata: dict[str, Any] = {
        "render_modes": ["rgb_array", "human"],
        "render_fps": 3,
        "autoreset_mode": AutoresetMode.SAME_STEP,
    }

    def __init__(
        self,
        num_envs: int = 1,
        *,
        map: MapLike | Sequence[MapLike] = "loop",
        map_shares: Sequence[float] | None = None,
        preset: str | None = None,
        config: Config | Mapping[str, Any] | None = None,
        agents_per_world: int | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = "SameStep",
        threads: int | None = None,
        copy: bool = True,
        record_stats: bool = False,
        render_mode: str | None = None,
        backend: str = "cpu",
        device: str | int | None = None,
        output: str = "numpy",
        obs_dtype: str = "float32",
        action: str = "discrete",
        conditioning: Mapping[str, Any] | None = None,
        drivers: Drivers = "policy",
        traffic: str | Path | None = None,
        events: bool = False,
        scenes: SceneLike | Sequence[SceneLike] | None = None,
        control: str = "ego",
        others: str = "replay",
        start_step: int = 0,
        scene_steps: int | None = None,
        way_every: float = 100.0,
        decision_every: int = 1,
        worlds: int | None = None,
        rows_per_world: int | None = None,
        scene_readers: int | None = None,
    ) -> None:
        # First, as an older Gymnasium closes even what is refused here.
        self._recordings: list[Recording] = []
        self._window: Any = None
        self._stream: Stream | None = None
        num_envs = bounds.whole("num_envs", num_envs, ROWS)
        bounds.choice("output", output, ("numpy", "torch"))
        bounds.choice("action", action, ("discrete", "continuous"))
        bounds.choice("backend", backend, BACKENDS)
        bounds.choice("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        for name, given in (("copy", copy), ("record_stats", record_stats), ("events", events)):
            bounds.flag(name, given)
        number = device_number(backend, device)
        if output == "numpy" and obs_dtype == "bfloat16":
            raise ValueError("obs_dtype='bfloat16' needs output='torch': NumPy has no such type")
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError:
            choices = ", ".join(repr(mode.value) for mode in AutoresetMode)
            raise ValueError(f"autoreset_mode={autoreset_mode!r}: choose one of {choices}") from None
        decision_every = bounds.whole("decision_every", decision_every, bounds.Bounds(1, 1000), "steps")
        if scenes is None:
            _check_unused(
                control=control, others=others, start_step=start_step, scene_steps=scene_steps, way_every=way_every,
                worlds=worlds, rows_per_world=rows_per_world, scene_readers=scene_readers,
            )  # fmt: skip
        elif traffic is not None or map_shares is not None:
            said = f"traffic={bounds.shown(traffic)}" if traffic is not None else f"map_shares={bounds.shown(map_shares)}"
            raise ValueError(f"{said} has no place in scenes: `others` says who drives besides the rows")
        if traffic is not None:
            if drivers != "policy":
                raise ValueError(f"traffic={bounds.shown(traffic)} and drivers={bounds.shown(drivers)}: give one of them")
            config = make_config(preset, config, checkpoints_of(traffic))
            asked = {} if agents_per_world is None else {"agents_per_world": agents_per_world}
            most = config.replace(**asked).agents[1]
            drivers = ["policy" if row % min(most, num_envs) == 0 else str(traffic) for row in range(num_envs)]
        page = None
        if scenes is not None:
            casting = Casting(control, others, _scene_driver(drivers), start_step, scene_steps, way_every)
            default = isinstance(map, str) and map == "loop"
            self._stream = Stream(
                sources(scenes, None if default else find(map)),  # type: ignore[arg-type]
                check_casting(casting),
                _scene_config(preset, config, drivers, others, max_episode_steps),
                worlds=None if worlds is None else bounds.whole("worlds", worlds, ROWS),
                rows=rows_per_world,
                agents=agents_per_world,
                processes=scene_readers,
            )
            shape, page = self._stream.shape, self._stream.page
            rows = self._stream.worlds * shape.seats
            if num_envs not in (1, rows):
                self._stream.close()
                raise ValueError(
                    f"num_envs={num_envs}: {self._stream.worlds} worlds of {shape.seats} rows are {rows}; "
                    "leave num_envs out, and say worlds=... and rows_per_world=..."
                )
            num_envs, config, agents_per_world, max_episode_steps = rows, self._stream.config, None, None
            drivers = "policy" if drivers in ("idm", "replay") else drivers
        seated = seats(drivers, num_envs)
        if seated.checkpoints and backend != "cpu":
            raise ValueError(f"drivers={bounds.shown(drivers)}: checkpoints drive with backend='cpu' only")
        if seated.checkpoints and action != "discrete":
            raise ValueError('checkpoints drive by discrete actions: action="continuous" needs other drivers')
        made = make_config(preset, config, list(seated.checkpoints))
        changes = {"agents_per_world": agents_per_world, "max_steps": max_episode_steps}
        self.config = made.replace(**{name: value for name, value in changes.items() if value is not None})
        chosen = None if conditioning is None else ranges_of(conditioning, num_envs)

        self.num_envs = num_envs
        self._decision_every = decision_every
        self.render_mode = render_mode
        self.copy = copy
        self.record_stats = record_stats
        self.metadata = {
            **self.metadata,
            "autoreset_mode": self.autoreset_mode,
            "render_fps": max(round(1 / self.config.dt), 1),  # a video needs a frame a second
        }
        self.simulator = Simulator(
            map if page is None else page,
            self.num_envs,
            self.config,
            mode=_MODES[self.autoreset_mode],
            threads=threads,
            backend=backend,
            device=number,
            obs_dtype=obs_dtype,
            map_shares=map_shares,
            continuous=action == "continuous",
            drivers=seated.drivers,
            seats=None if self._stream is None else self._stream.shape.seats,
            decision_every=decision_every,
        )
        as_trained = self.config
        if self._stream is not None:  # a network is asked as often as in its training, whatever the steps of the scene are
            as_trained = _asked_every(self.config, decision_every, list(seated.checkpoints))
        self._checkpoints = [
            (those, driver.load(path, self.simulator.layout, as_trained)) for path, those in seated.checkpoints.items()
        ]
        self._traffic = self.simulator.drivers != POLICY
        for those, _ in self._checkpoints:
            self._traffic[those] = True
        if chosen is not None:
            override(self.simulator, chosen)
        self._log = EventLog(self.simulator) if events else None
        if self._log is not None:
            self.simulator.contacts = self._log.contacts
        self.output = output
        self._output = _output(output, self.simulator, copy, number)
        self.layout: Layout = self.simulator.layout
        # NumPy, whose types a space has, knows no bfloat16.
        seen = np.float16 if obs_dtype == "float16" else np.float32
        self.single_observation_space = spaces.Box(-1.0, 1.0, (self.layout.size,), seen)  # type: ignore[arg-type]
        self.single_action_space: spaces.Space = spaces.Discrete(ACTIONS)
        if action == "continuous":
            self.single_action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._begun = False
        if render_mode == "human":
            self._window = _window(self.metadata["render_fps"])

    # Gymnasium's batched spaces hold two bounds per number: 200 MB for 65,536 rows. Most trainers never look.
    @cached_property
    def observation_space(self) -> spaces.Space:  # type: ignore[override]
        """Space of all rows together; made when it is first looked at."""
        return batch_space(self.single_observation_space, self.num_envs)

    @cached_property
    def action_space(self) -> spaces.Space:  # type: ignore[override]
        """Space of all rows' actions; made when it is first looked at."""
        return batch_space(self.single_action_space, self.num_envs)

    @property
    def num_worlds(self) -> int:
        """Worlds, of which the last may hold fewer agents."""
        return self.simulator.worlds

    @property
    def agents_per_world(self) -> int:
        """Rows of each world."""
        return self.simulator.seats

    @property
    def world_of_row(self) -> np.ndarray:
        """World of each row, int (num_envs,)."""
        return np.arange(self.num_envs) // self.simulator.seats

    @property
    def tensor_device(self) -> Any:
        """The torch.device of all tensors. Raises RuntimeError with output="numpy", which has none."""
        if self.output != "torch":
            raise RuntimeError('tensor_device needs output="torch": this environment returns arrays')
        return self._output.device

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """Start all rows anew, or those of `options["reset_mask"]`, bool (num_envs,). The same seed gives the same episodes.

        A seed that comes with a mask becomes the key of all chance from now on.

        `options["conditioning"]` chooses by hand what is else drawn as the Config says: any reward coefficient, `length`,
        `width`, `c_throttle`, `c_steer`, `c_acc`, `c_vel`. For example `{"collision": 3.0, "length": (4, 5), "center_bias":
        array}`: a value, a range, an array (num_envs,) of values or (num_envs, 2) of ranges. nan in an array leaves a row to
        the Config, and None a name. It holds for the episodes that begin from now on, until it is changed; names that are
        not given stay as they are, and `"conditioning": None` forgets all. A body is at most as wide as it is long.
        """
        self._check_open()
        # All of it is read before any of it is applied: refused arguments change nothing.
        seed, wanted = bounds.seed(seed), reset_options(options, ("reset_mask", "conditioning"))
        mask = self._read_mask(wanted["reset_mask"]) if "reset_mask" in wanted else None
        given = wanted.get("conditioning")
        chosen = None if given is None else ranges_of(given, self.num_envs)
        if chosen is not None:
            override(self.simulator, chosen)
        elif "conditioning" in wanted:
            clear_overrides(self.simulator)
        super().reset(seed=seed)
        key = None
        if mask is None or seed is not None:
            key = self.np_random.integers(0, 2**32, 2, dtype=np.uint32)
        if self._stream is not None and mask is None:
            self.simulator.load(self._stream.first())
            self._stream.look_ahead()
        self._output.begin()
        self.simulator.reset(key, self._output.mask(mask))
        if mask is not None and self.simulator.page_over and not self.simulator.ended.any():
            self._next_page(anew=True)
        if mask is None:
            if self._log is not None:
                self._log.clear()
            for recording in self._recordings:
                recording.restart()
        self._begun = True
        self._keep()
        self._show()
        return self._observations(), self._info()

    def _read_mask(self, mask: Any) -> Any:
        """A reset mask, bool (num_envs,). Raises ValueError for others, RuntimeError before the first reset."""
        if not (self._on_cuda and hasattr(mask, "is_cuda")):
            mask = np.asarray(mask)
        if tuple(mask.shape) != (self.num_envs,) or str(mask.dtype).removeprefix("torch.") != "bool":
            raise ValueError(f"reset_mask is {mask.dtype} {tuple(mask.shape)}: expected bool ({self.num_envs},)")
        if not self._on_cuda and not mask.any():
            raise ValueError("reset_mask names no row: at least one must be True")
        if not self._begun:
            raise RuntimeError("reset_mask before the first reset: call reset() for all rows first")
        return mask

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Drive every row one time step. Rows that are not active ignore their action."""
        self._check_begun("step()")
        if self.autoreset_mode == AutoresetMode.DISABLED and not self._on_cuda and self.simulator.ended.any():
            row = int(np.flatnonzero(self.simulator.ended)[0])
            raise RuntimeError(f"row {row} has ended: reset it with options={{'reset_mask': mask}} before the next step")
        if self.simulator.page_over and self.autoreset_mode != AutoresetMode.SAME_STEP:
            self._output.begin()
            self._next_page(anew=True)
            return self._results()
        given = self._output.actions(actions)
        if self._checkpoints:
            self.simulator.write_actions(given)
            given = self.simulator.actions
            seen = as_floats(self.simulator.per_row(self.simulator.observations), self.simulator.obs_dtype)
            for rows, trained in self._checkpoints:
                self.simulator.per_row(given)[rows] = trained.act(self.simulator, rows, seen[rows])
        self._output.begin()
        self.simulator.step(given)
        if self._log is not None:
            self._log.add(self.simulator)
        if self.simulator.page_over and self.autoreset_mode == AutoresetMode.SAME_STEP:
            self._next_page(anew=False)
        return self._results()

    def _next_page(self, *, anew: bool) -> None:
        """All scenes of the page are over: the next ones begin. anew: this is a step in which nothing else happens."""
        assert self._stream is not None, "only scenes have pages"
        self.simulator.turn(self._stream.turn(), anew=anew)
        self._stream.look_ahead()

    @property
    def decides(self) -> np.ndarray:
        """Rows whose next action counts, bool (num_envs,): they are live, and with `decision_every` their turn has come."""
        self._check_begun("decides")
        host, per_row, rows = self.simulator.host, self.simulator.per_row, self.simulator.state.rows
        turn = per_row(host(rows.steps)) % self._decision_every == 0
        return (per_row(host(rows.status)) == LIVE) & (self.simulator.drivers == POLICY) & turn

    @property
    def scenes(self) -> list[SceneInWorld]:
        """The scene that runs in each world, in their order; the last worlds may have none. Raises RuntimeError in towns."""
        stream, simulator = self._scene_stream, self.simulator
        age, tracks = simulator.host(simulator.state.clock.step), simulator.tracks
        first = self.config.world_steps - simulator.host(tracks.steps)
        return stream.in_worlds(age - first, simulator.host(tracks.conflict))

    @property
    def scenes_left_out(self) -> list[LeftOut]:
        """Scenes that can't be driven, with the reason, as far as they were looked at. Raises RuntimeError in towns."""
        return list(self._scene_stream.left_out.values())

    @property
    def scene_names(self) -> list[str]:
        """Names of all scenes that were given, in their order: files with their folders. Raises RuntimeError in towns."""
        return [source.name for source in self._scene_stream.sources]

    @property
    def scene_count(self) -> int:
        """How many scenes were given, with those that can't be driven. Raises RuntimeError in towns."""
        return len(self._scene_stream.sources)

    @property
    def scene_rounds(self) -> int:
        """How often all scenes were driven since the last reset of all rows. Raises RuntimeError in towns."""
        return self._scene_stream.rounds

    @property
    def _scene_stream(self) -> Stream:
        if self._stream is None:
            raise RuntimeError("there are scenes with scenes=... at make_vec only")
        return self._stream

    def _observations(self) -> Any:
        """What all rows see. Checkpoints look at the simulator's own, which nobody may change before."""
        return self._output.of(self.simulator.observations) if self._checkpoints else self._output.observations()

    def _results(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """What `step` returns."""
        of, outcome = self._output.of, self.simulator.state.outcome
        terminated, truncated = of(outcome.terminated), of(outcome.truncated)
        done = terminated | truncated
        info = self._info()
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            last = self.simulator.final_observations
            info["final_obs"] = self._output.only(last, done) if self.copy else of(last)
            info["_final_obs"] = done
        if self.record_stats:
            only = self._output.only
            info["episode"] = {"r": only(outcome.episode_return, done), "l": only(outcome.episode_length, done)}
            info["_episode"] = done
        self._keep()
        self._show()
        return self._observations(), of(outcome.reward), terminated, truncated, info

    def snapshot(self, worlds: Sequence[int] | np.ndarray | None = None) -> dict[str, np.ndarray]:
        """All worlds, or those with the given numbers, as arrays by name: what `restore` puts back.

        Restored worlds go on bit-equal. `gigaflow_env.snapshot.save` and `load` keep it in an .npz file.
        """
        self._check_begun("snapshot()")
        kept = snapshot.take(self.simulator, worlds)
        if self._stream is not None:
            kept |= {**self._stream.place(), "scenes.steps_left": np.array(self.simulator.steps_left)}
        if worlds is None:  # from which a reset without a seed goes on
            kept["np_random"] = np.array(json.dumps(self.np_random.bit_generator.state))
        return kept

    def restore(self, state: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
        """Put worlds back as `snapshot` found them; the others stay as they are. Returns what `reset` does, for all rows.

        Raises ValueError that names what differs where the snapshot is of another environment: rows, config, maps, mode,
        arrays or version.
        """
        self._check_open()
        if not isinstance(state, Mapping):
            raise TypeError(f"state={bounds.shown(state)}: expected what snapshot() returns, a dict of arrays")
        if not self._begun and "np_random" not in state:
            raise RuntimeError("restore() of some worlds before the first reset(): call reset() first")
        generator = _generator_state(state["np_random"]) if "np_random" in state else None
        if self._stream is not None:
            self._restore_page(state)
        self._output.begin()
        snapshot.restore(self.simulator, state)
        if generator is not None:
            self.np_random.bit_generator.state = generator
        self._begun = True
        return self._observations(), self._info()

    @property
    def event_log(self) -> np.ndarray:
        """What happened since the last reset of all rows, with `events=True`: a structured array, see `event_log.py`.

        One entry for each collision of two agents, each departure from the road and each red light, with the side on which
        they met and who was at fault. Raises RuntimeError where there is no log.
        """
        if self._log is None:
            raise RuntimeError("event_log needs events=True at make_vec")
        return self._log.array

    def take_events(self) -> np.ndarray:
        """What `event_log` has, and forget it: called now and then, a log of days needs no more memory than one of minutes.

        Crashes keep their numbers, and what goes on from an entry that was taken is no new one. Raises RuntimeError where
        there is no log.
        """
        if self._log is None:
            raise RuntimeError("take_events needs events=True at make_vec")
        return self._log.take()

    def record(
        self, path: str | Path, *, world: int = 0, policy: str | Path | None = None, title: str | None = None
    ) -> Recording:
        """Record a world from its present moment on, or from the next reset, into one file.

        The file is written when the recording is closed: at the end of a `with`, by its `close`, or by `env.close`. The
        suffix says what it is: .html, a page that plays it in any browser and needs nothing else; .csv or .parquet, a table
        of trajectories; .xml, SUMO's floating car data. policy: a checkpoint or "pretrained", whose action probabilities and
        values the page shows. With `events=True` the page also knows the exact place of a crash and whose fault it was.

        Recording ends where the world begins anew with another map or map variant. Raises ValueError for a world that is not
        there, another suffix, or a policy of another environment.
        """
        self._check_open()
        world = bounds.whole("world", world, bounds.Bounds(0, self.num_worlds - 1))
        trained = None if policy is None else driver.load(policy, self.layout, self.config)
        path = Path(path)
        recording = Recording(Recorder(self.simulator, world, policy=trained), path, title or path.stem)
        if self._begun:
            recording.add()
        self._recordings = [one for one in self._recordings if not one.closed] + [recording]
        return recording

    def _restore_page(self, state: Mapping[str, np.ndarray]) -> None:
        """The scenes that ran when a snapshot was taken. Raises ValueError where they are not those of this environment."""
        assert self._stream is not None, "only scenes have pages"
        snapshot.check(self.simulator, state)
        if not self._stream.is_at(state):
            if len(state["worlds"]) < self.num_worlds:
                raise ValueError("the snapshot is of some worlds, and of other scenes than those that run now")
            self.simulator.turn(self._stream.go_to(state))  # finds the conflicts of the start; the rest is overwritten
        self.simulator.steps_left = int(state["scenes.steps_left"])

    def observation_state(self) -> dict[str, np.ndarray]:
        """The arrays from which the present observations follow, a small part of their size: what a trainer may keep."""
        self._check_begun("observation_state()")
        return snapshot.observation_state(self.simulator)

    def sight(self) -> dict[str, np.ndarray]:
        """The old name of `observation_state`, for one release."""
        warnings.warn("env.sight() is called env.observation_state() now", DeprecationWarning, stacklevel=2)
        return self.observation_state()

    def observe(self, state: Mapping[str, np.ndarray]) -> np.ndarray:
        """Observations float32 (..., agents_per_world, size) of states that `observation_state` or `snapshot` gave.

        Arrays may be stacked, with any axes before those of a world: (steps, worlds, agents_per_world, ...). The rows of
        the environment are the first num_envs of its worlds' agents. The last observations of episodes (`final_obs`) are
        not among them. The environment's own state doesn't change. NumPy in and out on every backend; a CUDA device is
        waited for, and gives the bits of states kept from it.
        """
        self._check_open()
        return snapshot.observe(self.simulator, state)

    def state_memory(self, steps: int) -> StateMemory:
        """Room for the states of some steps, from which observations of single rows are rebuilt: see StateMemory.

        A tenth of the memory of the observations themselves. Raises ValueError on a CUDA device, which has none yet.
        """
        self._check_open()
        return StateMemory(self.simulator, steps)

    def capture(self) -> None:
        """Record the step on a CUDA device: from the second step on it is one launch. Needs `output="torch"`."""
        self._check_open()
        self._output.capture()

    @property
    def _on_cuda(self) -> bool:
        """Whether a look at an array would wait for a device."""
        return self.output == "torch" and self.simulator.backend == "cuda"

    def _info(self) -> dict[str, Any]:
        state, of = self.simulator.state, self._output.of
        info = {name: of(event) for name, event in zip(state.events._fields, state.events, strict=True)}
        info["erratic"] = of(state.outcome.erratic)
        info["active"] = of(state.outcome.active)
        info["distance"] = of(state.motion.distance)
        info["traffic"] = self._output.rows_of(self._traffic)
        return info

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError("the environment is closed: make a new one")

    def _check_begun(self, call: str) -> None:
        self._check_open()
        if not self._begun:
            raise RuntimeError(f"{call} before the first reset(): call reset() first")

    def close_extras(self, **kwargs: Any) -> None:
        """Write what is being recorded, and stop the threads; Gymnasium's `close` calls it once."""
        for recording in self._recordings:
            if recording.recorder.moments:
                recording.close()
        if self._stream is not None:
            self._stream.close()
        if hasattr(self, "simulator"):
            self.simulator.close()
        if self._window is not None:
            self._window.close()

    def scene(self, world: int = 0, agent: int = 0) -> Any:
        """One world as it is now, following one of its agents: what `render.draw` draws."""
        whole = all(isinstance(k, (int, np.integer)) and not isinstance(k, bool) for k in (world, agent))
        if not whole or not (0 <= world < self.num_worlds and 0 <= agent < self.agents_per_world):
            raise ValueError(
                f"world={world}, agent={agent}: there are {self.num_worlds} worlds of {self.agents_per_world} agents"
            )
        return self._scenes.of(world, agent)

    @cached_property
    def _scenes(self) -> Any:
        from gigaflow_env.render.scene import Scenes  # the libraries of pictures are for those who look

        return Scenes(self.simulator)

    def render_world(self, world: int = 0, agent: int = 0, size: int = 720, width: float = 120.0) -> np.ndarray:
        """Top view of one world around one of its agents: uint8 (size, size, 3), `width` metres wide."""
        from gigaflow_env.render import View, draw

        size = bounds.whole("size", size, PICTURE_SIZES, "pixels")
        width = bounds.real("width", width, PICTURE_WIDTHS, "m")
        scene = self.scene(world, agent)
        center = (float(scene.x[agent]), float(scene.y[agent]))
        return draw(scene, View(*center, width), size)

    def render(self) -> Sequence[np.ndarray] | None:  # type: ignore[override]
        """With render_mode="rgb_array": one frame a row, each drawn when it's looked at.

        With "human": None, as `reset` and `step` draw.
        """
        self._check_open()
        if self.render_mode is None:
            raise RuntimeError('render() needs render_mode="rgb_array" or "human" at make_vec')
        return _Frames(self) if self.render_mode == "rgb_array" else None

    def _keep(self) -> None:
        """The next moment of each recording."""
        for recording in self._recordings:
            recording.add()

    def _show(self) -> None:
        """The window's next frame, with render_mode="human"."""
        if self._window is not None and not self._window.closed:
            self._window.show(self.render_world())


class _Frames(Sequence[np.ndarray]):
    """Frames of all rows, drawn on access: Gymnasium's RecordVideo wants a sequence of num_envs and looks at a few."""

    def __init__(self, env: GigaflowVectorEnv) -> None:
        self._env = env

    def __len__(self) -> int:
        return self._env.num_envs

    def __getitem__(self, row: Any) -> Any:
        if isinstance(row, slice):
            return [self[k] for k in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        world, agent = divmod(row % len(self), self._env.agents_per_world)
        return self._env.render_world(world, agent)
