"""GigaflowVectorEnv: the simulator behind Gymnasium's vector contract. Every agent is a row; one policy drives all rows."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from gigaflow_env.backend import cpu
from gigaflow_env.config import PRESETS, Config
from gigaflow_env.layout import ACTIONS, Layout
from gigaflow_env.simulator import MapLike, Simulator
from gigaflow_env.state import LIVE

_MODES = {
    AutoresetMode.SAME_STEP: cpu.SAME_STEP,
    AutoresetMode.NEXT_STEP: cpu.NEXT_STEP,
    AutoresetMode.DISABLED: cpu.DISABLED,
}


def make_config(preset: str, config: Config | Mapping[str, Any] | None) -> Config:
    """The preset with changes, or a complete Config as it is."""
    if isinstance(config, Config):
        return config
    if preset not in PRESETS:
        raise ValueError(f"preset={preset!r}: choose one of {', '.join(map(repr, PRESETS))}")
    return PRESETS[preset]().replace(**(config or {}))


class GigaflowVectorEnv(VectorEnv[np.ndarray, np.ndarray, np.ndarray]):
    """Self-play driving: `num_envs` agents in worlds of `agents_per_world`, each a row with episodes of its own.

    ## Action space
    `Discrete(12)`: 3 * longitudinal + lateral, with jerks [m/s^3] longitudinal (-15, -4, 0, 4) and lateral (-4, 0, 4), left positive.

    ## Observation space
    `Box(-1, 1, (layout.size,), float32)`; `env.layout.split(obs)` gives the blocks ego, conditioning, goals, lanes, boundaries, stops,
    agents by name. Features: `gigaflow_env.FEATURES`.

    ## Rewards
    The ten terms of arXiv 2502.03349, Table A2, with coefficients drawn per agent and episode (`config`), and progress along the route.

    ## Episode end
    A row terminates by a crash (collision or off-road) and, with `on_route_done="respawn"`, at its final goal. It is truncated after
    `max_steps`, and when its world is over (`world_steps`). The freed row starts elsewhere in its world.

    ## Information
    Arrays of length num_envs, the same keys at every step: `active` (the row's observation is a live agent's: the weight of the next
    transition), the events `collision`, `offroad`, `red_light`, `goal`, `route_done`, `timeout` (bool), `distance` [m] moved in the step.
    SameStep: `final_obs` (num_envs, size) with mask `_final_obs`: the last observation of rows that ended; other rows of it are 0
    with `copy=True` and stale with `copy=False`. `record_stats=True`: `episode` {r, l} with mask `_episode`.

    ## Arguments
    map: shipped name, path in any supported format, RoadMap, or a list of these (world i has map i modulo their number).
    preset: "paper" or "laptop". config: changes to the preset by name, or a complete Config.
    agents_per_world, max_episode_steps: short for config entries. autoreset_mode: "SameStep", "NextStep" or "Disabled".
    threads: CPU threads, None for all; results don't depend on it.
    copy: False returns arrays that the next step overwrites: faster, and wrong for trainers that keep them.
    record_stats: return and length of ended episodes in info. render_mode: None or "rgb_array".
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"], "render_fps": 10, "autoreset_mode": AutoresetMode.SAME_STEP}  # noqa: RUF012

    def __init__(
        self,
        num_envs: int = 1,
        *,
        map: MapLike | Sequence[MapLike] = "loop",
        preset: str = "paper",
        config: Config | Mapping[str, Any] | None = None,
        agents_per_world: int | None = None,
        max_episode_steps: int | None = None,
        autoreset_mode: str | AutoresetMode = "SameStep",
        threads: int | None = None,
        copy: bool = True,
        record_stats: bool = False,
        render_mode: str | None = None,
        backend: str = "cpu",
    ) -> None:
        if num_envs < 1:
            raise ValueError(f"num_envs={num_envs}: must be at least 1")
        if backend != "cpu":
            raise ValueError(f"backend={backend!r}: this version has 'cpu'")
        if render_mode not in (None, *self.metadata["render_modes"]):
            raise ValueError(f"render_mode={render_mode!r}: choose one of None, 'rgb_array'")
        try:
            self.autoreset_mode = AutoresetMode(autoreset_mode)
        except ValueError:
            choices = ", ".join(repr(mode.value) for mode in AutoresetMode)
            raise ValueError(f"autoreset_mode={autoreset_mode!r}: choose one of {choices}") from None
        made = make_config(preset, config)
        changes = {"agents_per_world": agents_per_world, "max_steps": max_episode_steps}
        self.config = made.replace(**{name: value for name, value in changes.items() if value is not None})

        self.num_envs = num_envs
        self.render_mode = render_mode
        self.copy = copy
        self.record_stats = record_stats
        self.metadata = {
            **self.metadata,
            "autoreset_mode": self.autoreset_mode,
            "render_fps": round(1 / self.config.dt),
        }
        self.simulator = Simulator(map, num_envs, self.config, mode=_MODES[self.autoreset_mode], threads=threads)
        self.layout: Layout = self.simulator.layout
        self.single_observation_space = spaces.Box(-1.0, 1.0, (self.layout.size,), np.float32)
        self.single_action_space = spaces.Discrete(ACTIONS)
        self._begun = False

    # Gymnasium's batched spaces hold two bounds per number: 200 MB for 65,536 rows. Most trainers never look.
    @cached_property
    def observation_space(self) -> spaces.Space:  # type: ignore[override]
        return batch_space(self.single_observation_space, self.num_envs)

    @cached_property
    def action_space(self) -> spaces.Space:  # type: ignore[override]
        return batch_space(self.single_action_space, self.num_envs)

    @property
    def num_worlds(self) -> int:
        return self.simulator.worlds

    @property
    def agents_per_world(self) -> int:
        return self.simulator.agents

    @property
    def world_of_row(self) -> np.ndarray:
        """World of each row, int (num_envs,)."""
        return np.arange(self.num_envs) // self.simulator.agents

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start all rows anew, or those of `options["reset_mask"]`, bool (num_envs,). The same seed gives the same episodes.

        A seed that comes with a mask becomes the key of all chance from now on.
        """
        self._check_open()
        super().reset(seed=seed)
        mask = None
        if options is not None and "reset_mask" in options:
            mask = np.asarray(options["reset_mask"])
            if mask.shape != (self.num_envs,) or mask.dtype != np.bool_:
                raise ValueError(f"reset_mask is {mask.dtype} {mask.shape}: expected bool ({self.num_envs},)")
            if not mask.any():
                raise ValueError("reset_mask names no row: at least one must be True")
            if not self._begun:
                raise RuntimeError("reset_mask before the first reset: call reset() for all rows first")
        key = None
        if mask is None or seed is not None:
            key = self.np_random.integers(0, 2**32, 2, dtype=np.uint32)
        self.simulator.reset(key, mask)
        self._begun = True
        return self._own(self.simulator.per_row(self.simulator.observations)), self._info()

    def step(
        self, actions: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Drive every row one time step. Rows that are not active ignore their action."""
        self._check_open()
        if not self._begun:
            raise RuntimeError("step() before the first reset(): call reset() first")
        if self.autoreset_mode == AutoresetMode.DISABLED and self.simulator.ended.any():
            row = int(np.flatnonzero(self.simulator.ended)[0])
            raise RuntimeError(f"row {row} has ended: reset it with options={{'reset_mask': mask}} before the next step")
        simulator = self.simulator
        simulator.step(np.asarray(actions))
        outcome = simulator.state.outcome
        terminated, truncated = simulator.per_row(outcome.terminated), simulator.per_row(outcome.truncated)
        done = terminated | truncated
        info = self._info()
        if self.autoreset_mode == AutoresetMode.SAME_STEP:
            info["final_obs"], info["_final_obs"] = self._final(done), done
        if self.record_stats:
            returns, lengths = simulator.per_row(outcome.episode_return), simulator.per_row(outcome.episode_length)
            info["episode"] = {"r": self._own(returns), "l": self._own(lengths)}
            info["_episode"] = done
        return (
            self._own(simulator.per_row(simulator.observations)),
            self._own(simulator.per_row(outcome.reward)),
            self._own(terminated),
            self._own(truncated),
            info,
        )

    def _own(self, view: np.ndarray) -> np.ndarray:
        return view.copy() if self.copy else view

    def _final(self, done: np.ndarray) -> np.ndarray:
        seen = self.simulator.per_row(self.simulator.final_observations)
        if not self.copy:
            return seen
        final = np.zeros_like(seen)  # pages that no ended row touches are never mapped: cheaper than a copy
        final[done] = seen[done]
        return final

    def _info(self) -> dict[str, Any]:
        simulator = self.simulator
        info = {name: self._own(simulator.per_row(event)) for name, event in simulator.state.events._asdict().items()}
        info["active"] = self._own(simulator.per_row(simulator.state.outcome.active))
        info["distance"] = self._own(simulator.per_row(simulator.state.motion.distance))
        return info

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeError("the environment is closed: make a new one")

    def close_extras(self, **kwargs: Any) -> None:
        self.simulator.close()

    def scene(self, world: int = 0, agent: int = 0) -> Any:
        """One world as it is now, following one of its agents: what `render.topview.draw` draws."""
        from gigaflow_env.render import Scene, road_picture

        simulator, state = self.simulator, self.simulator.state
        if not (0 <= world < self.num_worlds and 0 <= agent < self.agents_per_world):
            raise ValueError(
                f"world={world}, agent={agent}: there are {self.num_worlds} worlds of {self.agents_per_world} agents"
            )
        number = int(state.clock.map[world])
        if number not in self._pictures:
            self._pictures[number] = road_picture(simulator.roads, number)
        first, count = state.goals.next[world, agent], state.goals.count[world, agent]
        seen = state.near.agent[world, agent, : self.config.agent_count]
        lights = int(simulator.roads.network.maps[number]["lights"])
        live = state.rows.status[world] == LIVE
        moments = state.clock.step[world] * self.config.dt
        return Scene(
            roads=self._pictures[number],
            x=state.pose.x[world].copy(),
            y=state.pose.y[world].copy(),
            heading=state.pose.heading[world].copy(),
            length=state.body.length[world].copy(),
            width=state.body.width[world].copy(),
            speed=state.motion.speed[world].copy(),
            active=live,
            lights=state.lights.colour[world, :lights].copy(),
            followed=agent if live[agent] else -1,
            neighbours=seen[seen >= 0].astype(np.int64),
            goals=np.stack([state.goals.x[world, agent, first:count], state.goals.y[world, agent, first:count]], axis=1),
            goal_radius=float(state.wishes.coefficients[world, agent, 0]),
            text=(
                f"{simulator.roads.names[number]}  world {world}  {moments:.1f} s",
                f"agent {agent}  {3.6 * state.motion.speed[world, agent]:.0f} km/h  {count - first} goals left",
            ),
        )

    @cached_property
    def _pictures(self) -> dict[int, Any]:
        return {}

    def render_world(self, world: int = 0, agent: int = 0, size: int = 720, width: float = 120.0) -> np.ndarray:
        """Top view of one world around one of its agents: uint8 (size, size, 3), `width` metres wide."""
        from gigaflow_env.render import View, draw

        scene = self.scene(world, agent)
        centre = (float(scene.x[agent]), float(scene.y[agent]))
        return draw(scene, View(*centre, width), size)

    def render(self) -> Sequence[np.ndarray] | None:
        """With render_mode="rgb_array": one frame a row, each drawn when it's looked at."""
        if self.render_mode is None:
            raise RuntimeError('render() needs render_mode="rgb_array" at make_vec')
        return _Frames(self)


class _Frames(Sequence[np.ndarray]):
    """Frames of all rows, drawn on access: Gymnasium's RecordVideo wants a sequence of num_envs frames and looks at a few."""

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
