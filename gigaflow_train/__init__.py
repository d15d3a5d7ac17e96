"""PPO by self-play for gigaflow_env: what learns uses nothing but the environment's public names.

Where things are: `config.TrainConfig`, `policy.Policy`, `train.train`, `checkpoint.load_policy`, `evaluate.run.drive`.
On the command line: `gigaflow-train run`, `gigaflow-train evaluate`, `gigaflow-train report`.
"""

import os
from typing import Any

__all__ = ["pretrained"]

# Before torch is loaded: OpenMP's threads otherwise spin while they wait, which on two cores that are shared with anything
# else makes an update three times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def pretrained(env: Any = None) -> Any:
    """The policy that comes with the package, a torch module in evaluation mode: `policy(obs)` gives logits and values.

    obs: float32 (rows, layout.size). env: the environment whose observations it will see; None: that of its training,
    `gigaflow_env.driver.config_of("pretrained")`. On command lines, as traffic and in `checkpoint.load_policy` its name is
    "pretrained". Raises CheckpointError, a ValueError, that names what differs where it was trained for other observations,
    or where the installation lacks it.
    """
    from types import SimpleNamespace

    from gigaflow_env import Layout
    from gigaflow_env.driver import PRETRAINED, config_of
    from gigaflow_train import checkpoint

    if env is None:
        config = config_of(PRETRAINED)
        env = SimpleNamespace(config=config, layout=Layout(config), single_action_space=SimpleNamespace(shape=()))
    return checkpoint.load_policy(PRETRAINED, env)
