"""rl_games: its vectorised environments of tensors are made by name, from a function that was registered before."""

from collections.abc import Callable
from typing import Any

from gymnasium.vector import AutoresetMode

from gigaflow_env.adapters.checks import Env, checked
from gigaflow_env.extras import needed

with needed("the adapter needs rl-games", "rl-games", "rl_games", "torch"):
    import torch
    from rl_games.common import env_configurations, vecenv
    from rl_games.common.ivecenv import IVecEnv


class RLGamesEnv(IVecEnv):
    """rl_games' environment: all rows at once, tensors on the simulator's device.

    It has no masks, so use neither erratic drivers nor traffic with it. Raises ValueError for another autoreset mode than
    SameStep, for copy=False and output="numpy"; TypeError for another environment.
    """

    def __init__(self, env: Env, *, seed: int | None = None) -> None:
        vector = checked(env, "rl_games", AutoresetMode.SAME_STEP, tensors=True)
        self.env = vector
        self._seed = seed

    def reset(self) -> Any:
        """Start all rows: observations float32 (rows, size). The seed is used once."""
        seed, self._seed = self._seed, None
        return self.env.reset(seed=seed)[0]

    def step(self, actions: torch.Tensor) -> tuple[Any, Any, Any, dict[str, Any]]:
        """Drive one step: observations, rewards, ends, and an info with `time_outs`. Its actions are clamped by rl_games."""
        obs, reward, terminated, truncated, info = self.env.step(actions)
        return obs, reward, terminated | truncated, {"time_outs": truncated, **_events(info)}

    def get_number_of_agents(self) -> int:
        """Rows are environments, not agents, for rl_games."""
        return 1

    def get_env_info(self) -> dict[str, Any]:
        """The spaces of a row."""
        spaces = self.env.single_observation_space, self.env.single_action_space
        return {"observation_space": spaces[0], "action_space": spaces[1]}


def register(make: Callable[[int], Env], name: str = "gigaflow") -> None:
    """Let rl_games know the environment as `env_name: NAME`. make: number of rows (`num_actors`) -> environment."""

    def create(config_name: str, num_actors: int, seed: int | None = None, **ignored: Any) -> RLGamesEnv:
        return RLGamesEnv(make(num_actors), seed=seed)

    vecenv.register(name, create)
    env_configurations.register(name, {"vecenv_type": name, "env_creator": None})


def _events(info: dict[str, Any]) -> dict[str, Any]:
    return {name: info[name] for name in ("active", "goal", "collision", "offroad")}
