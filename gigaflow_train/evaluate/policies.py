"""Policies to evaluate: baselines that learn nothing, and a checkpoint. Each is a function of the observation."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from gigaflow_train import checkpoint
from gigaflow_train.actions import KINDS, in_box, kind_of
from gigaflow_train.evaluate.baselines import BASELINES, Act


def trained(directory: str | Path, env: Any, seed: int, *, greedy: bool = False, other_scales: bool = False) -> Act:
    """The policy of a run directory or checkpoint file: sampled as in training, or the likeliest action.

    other_scales: also in an environment whose scales differ from the training's, see `checkpoint.SCALES`.
    """
    policy = checkpoint.load_policy(directory, env, other_scales=other_scales)
    return acting(policy, seed, greedy=greedy, action=kind_of(env))


def baseline(name: str, env: Any, seed: int) -> Act:
    """A policy of BASELINES, whatever kind of actions the environment takes."""
    act = BASELINES[name](env, seed)
    if kind_of(env) == "discrete":
        return act
    points = in_box().numpy()
    return lambda obs: points[act(obs)]


def acting(policy: Any, seed: int, *, greedy: bool = False, action: str = "discrete") -> Act:
    """A network as a function from numpy's observations to numpy's actions, on whatever device its weights are."""
    kind = KINDS[action]
    device = next(policy.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)

    def act(obs: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            outputs, _ = policy(torch.from_numpy(obs).to(device))
            if greedy:
                return kind.driven(kind.likeliest(outputs)).cpu().numpy()
            chance = torch.empty(len(obs), kind.chances, device=device)
            chance = chance.normal_(generator=generator) if kind.shape else chance.exponential_(generator=generator)
            return kind.driven(kind.draw(outputs, chance)).cpu().numpy()

    return act
