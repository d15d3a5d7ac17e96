"""Stable-Baselines3: its trainers take a VecEnv of their own, with one info dict a row."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from gymnasium.vector import AutoresetMode

from gigaflow_env.adapters.checks import Env, checked
from gigaflow_env.extras import needed

with needed("the adapter needs stable-baselines3", "sb3", "stable_baselines3"):
    from stable_baselines3.common.vec_env import VecEnv


class SB3VecEnv(VecEnv):
    """`PPO("MlpPolicy", SB3VecEnv(env))`: every row is one of Stable-Baselines3's environments.

    The infos are empty but for rows whose episode ended: `terminal_observation`, `TimeLimit.truncated`, `episode` (r, l and
    t [s]) and `is_success` (the final goal was reached). Switches the environment's `record_stats` on. Comfortable up to
    some 4,096 rows. Raises ValueError for another autoreset mode than SameStep, and for copy=False; TypeError for another
    environment.
    """

    def __init__(self, env: Env) -> None:
        vector = checked(env, "Stable-Baselines3", AutoresetMode.SAME_STEP)
        self.env = vector
        vector.record_stats = True
        super().__init__(vector.num_envs, vector.single_observation_space, vector.single_action_space)
        self._began = time.time()

    def reset(self) -> np.ndarray:
        """Start all rows anew, with the seed and options that were set before."""
        obs, _ = self.env.reset(seed=self._seeds[0], options=self._options[0] or None)
        self._reset_seeds()
        self._reset_options()
        return obs

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions for `step_wait`."""
        self._actions = actions

    def step_wait(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Drive one step: observations, rewards, ends, and an info a row."""
        obs, reward, terminated, truncated, info = self.env.step(self._actions)
        done = terminated | truncated
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        returns, lengths, elapsed = info["episode"]["r"], info["episode"]["l"], round(time.time() - self._began, 6)
        for row in np.flatnonzero(done):
            infos[row] = {
                "terminal_observation": info["final_obs"][row],
                "TimeLimit.truncated": bool(truncated[row] and not terminated[row]),
                "episode": {"r": float(returns[row]), "l": int(lengths[row]), "t": elapsed},
                "is_success": bool(info["route_done"][row]),
            }
        return obs, reward, done, infos

    def close(self) -> None:
        """Close the environment."""
        self.env.close()

    def get_images(self) -> Sequence[np.ndarray]:
        """One picture a row, drawn now."""
        return list(self.env.render() or ())

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """The environment's attribute, once for each of the rows."""
        return [getattr(self.env, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Set the environment's attribute: there is one environment behind all rows."""
        setattr(self.env, attr_name, value)

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Call the environment's method once; the result stands for each of the rows."""
        result = getattr(self.env, method_name)(*args, **kwargs)  # once: there is one environment behind all rows
        return [result for _ in self._get_indices(indices)]

    def env_is_wrapped(self, wrapper_class: type, indices: Any = None) -> list[bool]:
        """No row has a wrapper of its own."""
        return [False for _ in self._get_indices(indices)]
