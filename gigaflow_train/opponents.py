"""Older policies that drive a share of the rows, so that training meets others than itself."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gigaflow_env.driver import PRETRAINED
from gigaflow_train import checkpoint
from gigaflow_train.config import TrainConfig

MOST = 8
"""Checkpoints that are taken, the newest: each costs an inference a step."""


class Opponent(NamedTuple):
    """An older policy and the rows that it drives."""

    policy: Any
    rows: Tensor  # int64 (k,): that it drives for the whole run


def load(env: Any, config: TrainConfig, device: torch.device) -> list[Opponent]:
    """The opponents of a run: `opponent_share` of the rows, spread evenly, one policy a row.

    `opponents` is a folder of checkpoints, one file, or "pretrained". Raises ValueError where the folder has no checkpoint,
    CheckpointError where one was trained for another environment.
    """
    if not config.opponents or config.opponent_share == 0.0:
        return []
    folder = Path(config.opponents)
    if config.opponents == PRETRAINED or folder.is_file():
        files = [checkpoint.file_of(config.opponents)]
    else:
        files = sorted(folder.glob("*.safetensors"), key=lambda file: file.stat().st_mtime)[-MOST:]
    if not files:
        raise ValueError(f"opponents={config.opponents!r}: there is no .safetensors file in it")
    policies = [checkpoint.load_policy(file, env).to(device) for file in files]
    turns = (torch.arange(env.num_envs + 1, dtype=torch.float64) * config.opponent_share + 1e-9).floor()
    rows = (turns.diff() > 0).nonzero().squeeze(1).to(device)
    return [Opponent(policy, rows[k :: len(policies)]) for k, policy in enumerate(policies)]
