"""A network of the user's own that `gigaflow-train` has trained, as drivers of the traffic around a single car."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.extras import remedy

try:
    from gigaflow_train.evaluate.policies import trained
except ModuleNotFoundError as error:
    if error.name is None or error.name.startswith("gigaflow_"):
        raise
    raise ImportError(f"traffic from a checkpoint needs {error.name}: {remedy('train')}") from None


def drivers(path: Path, env: GigaflowVectorEnv) -> Callable[[np.ndarray, Mapping[str, Any]], np.ndarray]:
    """Actions of the policy in a run directory or checkpoint file, sampled as in training.

    Raises gigaflow_train's CheckpointError, a ValueError, where the checkpoint isn't one, or where the environment
    shows something else than the training's did, other scales or another kind of actions among it.
    """
    act = trained(path, env, seed=0)
    return lambda observations, info: act(np.ascontiguousarray(observations))
