"""GigaflowEnv: one car among traffic, as an ordinary gymnasium.Env."""

import sys
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from gigaflow_env import bounds, driver
from gigaflow_env.conditioning import Ranges, clear_overrides, override, ranges_of
from gigaflow_env.config import Config
from gigaflow_env.env import GigaflowVectorEnv, reset_options
from gigaflow_env.layout import Layout
from gigaflow_env.presets import make_config
from gigaflow_env.roads.loading import MapLike

Traffic = Callable[[np.ndarray, Mapping[str, Any]], np.ndarray]
"""Drivers of the others: (observations float32 (rows, size), info of these rows) -> actions (rows, ...)."""

_WORLD = bounds.Bounds(1, 256)

EGO = 0
"""Row of the car."""


class GigaflowEnv(gymnasium.Env[np.ndarray, Any]):
    """One car drives a route through a town among traffic: the row 0 of a world of `GigaflowVectorEnv`.

    Spaces, rewards and the end of an episode are those of a row there. `reset` makes a new world. Once its episode has ended
    the car stays where it is, in the last observation, until `reset`.

    `gymnasium.make("gigaflow_env:GigaFlow-v0", map="downtown", traffic="idm")`

    | argument | default | meaning |
    |---|---|---|
    | map, preset, config, max_episode_steps, action, render_mode | | as in `GigaflowVectorEnv`; without a preset, among \
traffic from a checkpoint, the environment of its training |
    | agents_per_world | None | cars in the world, with this one; by default as the preset has it |
    | traffic | "idm" | who drives the others: "idm", rule-based drivers; "pretrained" or a checkpoint's path; a callable |
    | conditioning | None | values chosen by hand for this car, see `GigaflowVectorEnv.reset`; also as a reset option |

    A callable gets the observations of the others, float32 (rows, size), and their info, and returns their actions. A
    checkpoint of `gigaflow-train` drives without torch, unless its network is the user's own.

    `info` has the car's numbers of the vector environment's info: collision, offroad, red_light, goal, route_done, timeout,
    active, distance.
    """

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 3}

    def __init__(
        self,
        *,
        map: MapLike = "loop",
        preset: str | None = None,
        config: Config | Mapping[str, Any] | None = None,
        agents_per_world: int | None = None,
        max_episode_steps: int | None = None,
        traffic: str | Path | Traffic = "idm",
        action: str = "discrete",
        conditioning: Mapping[str, Any] | None = None,
        render_mode: str | None = None,
    ) -> None:
        if _one_of_several():
            warnings.warn(
                "make_vec with this vectorization_mode makes single cars, each in a world of its own: for agents that share "
                "worlds, and for speed, leave vectorization_mode out",
                stacklevel=2,
            )
        # All that can be refused is refused before anything is made.
        _check_traffic(traffic)
        files = [] if callable(traffic) or traffic == "idm" else [traffic]
        made = make_config(preset, config, files)
        if agents_per_world is not None:
            made = made.replace(agents_per_world=bounds.whole("agents_per_world", agents_per_world, _WORLD, "agents"))
        rows = made.agents[1]
        bounds.choice("render_mode", render_mode, (None, *self.metadata["render_modes"]))
        chosen = None if conditioning is None else ranges_of(conditioning, 1)
        # Torch runs what this package can't: an own network drives as a callable does.
        own = bool(files) and bool(driver.read_facts(files[0]).config.get("policy"))
        others = "policy" if callable(traffic) or own else str(traffic)
        self.vector = GigaflowVectorEnv(
            rows,
            map=map,
            config=made.replace(agents_per_world=rows),
            max_episode_steps=max_episode_steps,
            threads=1,
            render_mode=render_mode,
            action=action,
            drivers=["policy"] + [others] * (rows - 1),
        )
        self.render_mode = render_mode
        self.metadata = {**self.metadata, "render_fps": self.vector.metadata["render_fps"]}
        self.observation_space = self.vector.single_observation_space
        self.action_space = self.vector.single_action_space
        self.layout: Layout = self.vector.layout
        self.config: Config = self.vector.config
        self._drive = _drivers(traffic, self.vector) if others == "policy" and rows > 1 else None
        self._choose(chosen)
        self._actions = self._rest()
        self._over = True

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict[str, Any]]:
        """A new world. `options["conditioning"]`: values chosen by hand for this car, see `GigaflowVectorEnv.reset`."""
        # All of it is read before any of it is applied: refused arguments change nothing.
        seed, wanted = bounds.seed(seed), reset_options(options, ("conditioning",))
        given = wanted.get("conditioning")
        chosen = None if given is None else ranges_of(given, 1)
        super().reset(seed=seed)
        if "conditioning" in wanted:
            self._choose(chosen)
        obs, info = self.vector.reset(seed=int(self.np_random.integers(2**31)))
        if not info["active"][EGO]:
            raise RuntimeError(f"{self.vector.num_envs} agents leave no free place on the map: lower agents_per_world")
        self._seen, self._info, self._over = obs, info, False
        return obs[EGO], _of(info, EGO)

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Drive one step. Raises RuntimeError before `reset` and after the end of an episode."""
        if self._over:
            raise RuntimeError("step() needs a reset() before, at the start and after the end of an episode")
        if not self.action_space.contains(action):
            raise ValueError(f"action {action!r} is not in {self.action_space}")
        if self._drive is not None:
            others = {name: value[1:] for name, value in self._info.items() if not isinstance(value, dict)}
            given = np.asarray(self._drive(self._seen[1:], others))
            if given.shape != self._actions[1:].shape:
                raise ValueError(f"traffic returned {given.shape}: expected an action a row, {self._actions[1:].shape}")
            self._actions[1:] = given
        self._actions[EGO] = action
        obs, reward, terminated, truncated, info = self.vector.step(self._actions)
        self._seen, self._info = obs, info
        self._over = bool(terminated[EGO] or truncated[EGO])
        last = info["final_obs"][EGO] if self._over else obs[EGO]
        return last, float(reward[EGO]), bool(terminated[EGO]), bool(truncated[EGO]), _of(info, EGO)

    def render(self) -> Any:
        """With render_mode="rgb_array": top view around the car, uint8 (height, width, 3).

        None with "human", where `reset` and `step` draw it into a window.
        """
        return self.vector.render_world(0, EGO) if self.render_mode == "rgb_array" else None

    def close(self) -> None:
        """Close the world."""
        self.vector.close()

    def _rest(self) -> np.ndarray:
        """An action for each row: no jerk."""
        if isinstance(self.action_space, gymnasium.spaces.Box):
            return np.zeros((self.vector.num_envs, 2), np.float32)
        from gigaflow_env.layout import LATERAL_JERKS, LONGITUDINAL_JERKS

        no_jerk = LONGITUDINAL_JERKS.index(0.0) * len(LATERAL_JERKS) + LATERAL_JERKS.index(0.0)
        return np.full(self.vector.num_envs, no_jerk)

    def _choose(self, ranges: Ranges | None) -> None:
        """Ranges of one row, for this car alone: the other rows stay as the Config says. None forgets all."""
        if ranges is None:
            clear_overrides(self.vector.simulator)
            return
        only = {}
        for name, ends in ranges.items():
            rows = [np.full(self.vector.num_envs, np.nan, np.float32) for _ in ends]
            for row, end in zip(rows, ends, strict=True):
                row[EGO] = end[0]
            only[name] = (rows[0], rows[1])
        override(self.vector.simulator, only)


def _of(info: Mapping[str, Any], row: int) -> dict[str, Any]:
    """One row's part of an info, as plain numbers."""
    names = ("collision", "offroad", "red_light", "goal", "route_done", "timeout", "active", "distance")
    return {name: info[name][row].item() for name in names}


def _one_of_several() -> bool:
    """Whether Gymnasium's make_vec is making this car, for its loop over single ones. It passes nothing on that says so."""
    frame = sys._getframe()
    while frame.f_back is not None:
        frame = frame.f_back
        if frame.f_code.co_name == "make_vec" and frame.f_globals.get("__name__") == "gymnasium.envs.registration":
            return True
    return False


def _check_traffic(traffic: Any) -> None:
    """Raises TypeError or ValueError for what can't drive the others."""
    if isinstance(traffic, (str, Path)):
        if traffic != "idm" and not driver.is_checkpoint(traffic):
            raise ValueError(f"traffic={str(traffic)!r} is neither 'idm', nor a callable, nor a checkpoint: no such path")
    elif not callable(traffic):
        raise TypeError(
            f"traffic={bounds.shown(traffic)}: expected 'idm', a callable (observations, info) -> actions, 'pretrained' "
            "or a checkpoint's path"
        )


def _drivers(traffic: Any, env: GigaflowVectorEnv) -> Traffic:
    """What drives the others: the callable, or an own network from a checkpoint."""
    if callable(traffic):
        return traffic
    from gigaflow_env.adapters.checkpoint import drivers

    return drivers(Path(traffic), env)
