"""gigaflow-env: batched multi-agent driving for self-play. `import gigaflow_env` registers `GigaFlow-v0` with Gymnasium."""

import gymnasium

from gigaflow_env.config import CONDITIONING, PRESETS, Config
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.layout import ACTIONS, FEATURES, LATERAL_JERKS, LONGITUDINAL_JERKS, Blocks, Layout
from gigaflow_env.roads import MapError, RoadMap
from gigaflow_env.simulator import BACKENDS, MissingDevice
from gigaflow_env.version import __version__

__all__ = [
    "ACTIONS",
    "BACKENDS",
    "CONDITIONING",
    "FEATURES",
    "LATERAL_JERKS",
    "LONGITUDINAL_JERKS",
    "PRESETS",
    "Blocks",
    "Config",
    "GigaflowVectorEnv",
    "Layout",
    "MapError",
    "MissingDevice",
    "RoadMap",
    "__version__",
]

gymnasium.register(
    "GigaFlow-v0",
    entry_point="gigaflow_env.single:GigaflowEnv",
    vector_entry_point="gigaflow_env.env:GigaflowVectorEnv",
)
