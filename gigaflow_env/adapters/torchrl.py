"""TorchRL: its GymWrapper drops the info of a vector environment, and so who is active; here it is declared and read."""

from typing import Any

from gymnasium.vector import AutoresetMode

from gigaflow_env.adapters.checks import Env, checked
from gigaflow_env.extras import needed

with needed("the adapter needs torchrl", "torchrl", "torchrl", "torch", "tensordict"):
    import torch
    from torchrl.data import Binary, Composite, Unbounded
    from torchrl.envs import GymWrapper, default_info_dict_reader

FLAGS = (
    "active", "traffic", "erratic", "collision", "offroad", "red_light", "goal", "route_done", "timeout",
)  # fmt: skip
"""Bool entries of the tensordict, (rows,): the first three are the masks. `distance` is a float32 one."""


def torchrl_env(env: Env) -> GymWrapper:
    """The environment for TorchRL: batch size (rows,), categorical actions, the info as entries of the tensordict.

    With `output="torch"` tensors pass as they are, on their device. Weigh a transition by `active & ~traffic & ~erratic` of
    the tensordict's root. Raises ValueError for another autoreset mode than Disabled, and for copy=False; TypeError for
    another environment.
    """
    vector = checked(env, "TorchRL", AutoresetMode.DISABLED)
    tensors = vector.output == "torch"
    device = vector.tensor_device if tensors else torch.device("cpu")
    wrapper = _Wrapper(vector, categorical_action_encoding=True, device=device, convert_actions_to_numpy=not tensors)
    rows = (vector.num_envs,)
    specs: dict[str, Any] = {name: Binary(shape=rows, dtype=torch.bool, device=device) for name in FLAGS}
    specs["distance"] = Unbounded(shape=rows, dtype=torch.float32, device=device)
    reader = default_info_dict_reader(list(specs), spec=Composite(specs, shape=rows))
    wrapper.set_info_dict_reader(reader)
    return wrapper


class _Wrapper(GymWrapper):
    """GymWrapper whose partial resets take the mask on the device where it is."""

    def _replace_reset(self, reset: torch.Tensor, kwargs: dict[str, Any]) -> dict[str, Any]:
        mask = reset.view(self.batch_size)
        kwargs.setdefault("options", {})["reset_mask"] = mask if self._env.output == "torch" else mask.numpy()
        return kwargs
