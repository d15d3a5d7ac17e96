"""skrl: its own `wrap_env` takes the environment as it is, by way of NumPy. This one passes tensors on their device."""

from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode

from gigaflow_env.adapters.checks import Env, checked
from gigaflow_env.extras import needed

with needed("the adapter needs skrl", "skrl", "skrl", "torch"):
    import torch
    from skrl.envs.wrappers.torch import Wrapper


class SkrlEnv(Wrapper):
    """skrl's environment without a copy through the host: what `wrap_env` makes, for `output="torch"`.

    skrl has no masks, so use neither erratic drivers nor traffic with it. Raises ValueError for another autoreset mode than
    SameStep, for copy=False and output="numpy"; TypeError for another environment.
    """

    def __init__(self, env: Env, *, seed: int | None = None) -> None:
        vector = checked(env, "skrl", AutoresetMode.SAME_STEP, tensors=True)
        super().__init__(vector)
        self._device = vector.tensor_device
        self._seen: tuple[torch.Tensor, dict[str, Any]] | None = None
        self._seed = seed

    @property
    def observation_space(self) -> gymnasium.Space:
        """Space of a row."""
        return self._env.single_observation_space

    @property
    def action_space(self) -> gymnasium.Space:
        """Space of a row's actions."""
        return self._env.single_action_space

    def reset(self) -> tuple[torch.Tensor, dict[str, Any]]:
        """Start all rows at the first call; later ones return where they are, as rows start anew by themselves."""
        if self._seen is None:
            self._seen = self._env.reset(seed=self._seed)
        return self._seen

    def step(self, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Drive one step: observations (rows, size), and the others (rows, 1). Continuous actions are clamped to -1..1."""
        continuous = isinstance(self.action_space, gymnasium.spaces.Box)
        given = actions.clamp(-1.0, 1.0) if continuous else actions.view(-1)
        obs, reward, terminated, truncated, info = self._env.step(given)
        self._seen = obs, info
        return obs, reward.view(-1, 1), terminated.view(-1, 1), truncated.view(-1, 1), info

    def state(self) -> None:
        """There is none besides the observations."""

    def render(self, *args: Any, **kwargs: Any) -> Any:
        """A picture a row, each drawn when it is looked at."""
        return self._env.render()

    def close(self) -> None:
        """Close the environment."""
        self._env.close()
