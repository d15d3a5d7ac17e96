"""rsl_rl, of Isaac Lab: a VecEnv of tensors. It has continuous actions only."""

from typing import Any

from gymnasium.vector import AutoresetMode

from gigaflow_env.adapters.checks import Env, checked
from gigaflow_env.extras import needed

with needed("the adapter needs rsl-rl-lib", "rsl-rl", "rsl_rl", "tensordict", "torch"):
    import torch
    from rsl_rl.env import VecEnv
    from tensordict import TensorDict


class RslRlEnv(VecEnv):
    """`OnPolicyRunner(RslRlEnv(env), ...)`: every row is one of its environments; the observation group is "policy".

    Actions are clamped to -1..1, as its policies are Gaussian. Logged are goals and crashes a step. It has no masks, so use
    neither erratic drivers nor traffic with it. Raises ValueError for another autoreset mode than SameStep, copy=False,
    output="numpy" and action="discrete"; TypeError for another environment.
    """

    def __init__(self, env: Env, *, seed: int | None = None) -> None:
        vector = checked(env, "rsl_rl", AutoresetMode.SAME_STEP, tensors=True, continuous=True)
        self.env = vector
        self.cfg: dict[str, Any] = {}
        self.device = vector.tensor_device
        self.num_envs, self.num_actions = vector.num_envs, 2
        self.max_episode_length = vector.config.max_steps
        self.episode_length_buf = torch.zeros(vector.num_envs, dtype=torch.long, device=self.device)
        self._seen: torch.Tensor = torch.as_tensor(vector.reset(seed=seed)[0])

    def get_observations(self) -> TensorDict:
        """Where the rows are: {"policy": float32 (rows, size)}."""
        return TensorDict({"policy": self._seen}, batch_size=[self.num_envs])

    def step(self, actions: torch.Tensor) -> tuple[TensorDict, torch.Tensor, torch.Tensor, dict[str, Any]]:
        """Drive one step: observations, rewards, ends as long, and extras with `time_outs` and `log`."""
        obs, reward, terminated, truncated, info = self.env.step(actions.detach().clamp(-1.0, 1.0))
        done = terminated | truncated
        self._seen = torch.as_tensor(obs)
        self.episode_length_buf = torch.where(torch.as_tensor(done), 0, self.episode_length_buf + 1)
        log = {
            "/goals_a_step": info["goal"].float().mean(),
            "/crashes_a_step": (info["collision"] | info["offroad"]).float().mean(),
        }
        extras = {"time_outs": truncated, "log": log}
        return self.get_observations(), torch.as_tensor(reward), torch.as_tensor(done).long(), extras

    def close(self) -> None:
        """Close the environment."""
        self.env.close()
