"""Whether a rollout keeps observations, or the states that they are rebuilt from: by memory, and said with its numbers."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gigaflow_train.config import TrainConfig

SHARE = 0.4
"""Of what is free, that observations may take: minibatches and gradients need room, too."""


def states_for(env: Any, config: TrainConfig, device: torch.device, say: Callable[[str], None]) -> Any:
    """The environment's memory of states, or None where observations are kept; say gets one line with the numbers.

    `store="auto"` keeps observations where they fit, since to rebuild them takes time. Raises ValueError where states are
    asked for and the environment has none.
    """
    seen = config.rollout * env.num_envs * env.layout.size * (2 if config.precision == "bf16" else 4)
    room, why = free(device), lacks_states(env, device)
    told = f"observations take {gigabytes(seen)} at most, {gigabytes(room)} are free"
    if config.store == "states" and why:
        raise ValueError(f"store='states': {why}")
    if config.store == "observations" or why or (config.store == "auto" and seen <= SHARE * room):
        say(f"a rollout keeps observations: {told}")
        return None
    states = env.state_memory(config.rollout)
    say(f"a rollout keeps states, {gigabytes(states.nbytes)}: {told}")
    return states


def lacks_states(env: Any, device: torch.device) -> str:
    """Why states can't be kept; empty where they can."""
    if not hasattr(env, "state_memory"):
        return f"{type(env).__name__} has no state_memory"
    return "" if device.type == "cpu" else "a card keeps observations: its states can't be rebuilt there yet"


def free(device: torch.device) -> int:
    """Bytes that this process may take, of a device's memory; several processes on a machine share the host's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    lines = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    return 1024 * int(lines["MemAvailable"].split()[0]) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))


def gigabytes(size: int) -> str:
    """A number of bytes for people."""
    return f"{size / 1e9:.3g} GB"
