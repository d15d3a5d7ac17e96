"""A trained policy that drives without torch: its file, what it says of itself, and its network in NumPy."""

from gigaflow_env.driver.checkpoint import (
    CHECKPOINT_FORMAT,
    PRETRAINED,
    SCALES,
    WEIGHTS,
    CheckpointError,
    Facts,
    config_of,
    differences,
    file_of,
    is_checkpoint,
    read,
    read_facts,
)
from gigaflow_env.driver.drive import Driver, load, needs_torch
from gigaflow_env.driver.network import Network, softmax

__all__ = [
    "CHECKPOINT_FORMAT",
    "PRETRAINED",
    "SCALES",
    "WEIGHTS",
    "CheckpointError",
    "Driver",
    "Facts",
    "Network",
    "config_of",
    "differences",
    "file_of",
    "is_checkpoint",
    "load",
    "needs_torch",
    "read",
    "read_facts",
    "softmax",
]
