"""What a policy's outputs mean: one of twelve jerks, or two jerks in a box. Pure functions on (rows, outputs).

Discrete: logits of the actions. Continuous: a Gaussian with mean and log spread for each of the two jerks. A number that is
drawn beyond the box counts as it was drawn, and is clipped where the environment gets it: so does the field (Stable
Baselines 3, CleanRL), and the density stays that of a Gaussian.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gigaflow_env import ACTIONS, LATERAL_JERKS, LONGITUDINAL_JERKS
from gigaflow_train import noise

JERKS = 2
"""Numbers of a continuous action: longitudinal and lateral jerk, -1 to 1."""
SPREAD_LOW, SPREAD_HIGH = math.log(0.02), 0.0
"""Log spreads are clipped to these. Ours: wider than the box there is nothing to explore, but entropy to gain."""
START_SPREAD = math.log(0.5)
"""Log spread of an untrained policy: the box is explored to its edges."""
START_MEAN = 0.3
"""Longitudinal mean of an untrained policy. Ours: -1 is -15 m/s^3 and 1 is 4, so with a mean of 0 it brakes until it
reverses; with this and the spread above the average jerk is 0.3 m/s^3."""


class Kind(NamedTuple):
    """What there is to know of a kind of actions."""

    chances: int  # random numbers of an action
    outputs: int  # columns of a policy's first output
    shape: tuple[int, ...]  # of an action
    dtype: torch.dtype
    noises: Callable[..., Tensor]  # (seed, step, rows) -> the chance of an action, for `draw`
    draw: Callable[[Tensor, Tensor], Tensor]  # (outputs, chance) -> actions
    likeliest: Callable[[Tensor], Tensor]
    log_prob: Callable[[Tensor, Tensor], Tensor]  # (outputs, actions) -> (rows,)
    judge: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]  # the same, and the entropy (rows,) [nat]
    driven: Callable[[Tensor], Tensor]  # actions as the environment takes them


def sample(logits: Tensor, clocks: Tensor) -> Tensor:
    """Actions (rows,) drawn from softmax(logits): the first of racing exponential clocks, cheaper than multinomial.

    clocks: standard exponential numbers in the shape of logits.
    """
    return (logits - clocks.log()).argmax(dim=1)


def _clocks(seed: int, step: Any, rows: Tensor) -> Tensor:
    return noise.exponential(seed, step, rows, ACTIONS)


def _categorical_log_prob(logits: Tensor, action: Tensor) -> Tensor:
    return torch.log_softmax(logits, dim=1).gather(1, action[:, None]).squeeze(1)


def _judge_categorical(logits: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    log_probs = torch.log_softmax(logits, dim=1)  # (rows, actions)
    return log_probs.gather(1, action[:, None]).squeeze(1), -(log_probs.exp() * log_probs).sum(1)


def mean_and_spread(outputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and log spread (rows, 2) each of a continuous policy's outputs (rows, 4)."""
    mean, spread = outputs.split(JERKS, dim=1)
    return mean, spread.clamp(SPREAD_LOW, SPREAD_HIGH)


def _normals(seed: int, step: Any, rows: Tensor) -> Tensor:
    return noise.normal(seed, step, rows, JERKS)


def _gaussian(outputs: Tensor, chance: Tensor) -> Tensor:
    mean, spread = mean_and_spread(outputs)
    return mean + spread.exp() * chance


def _gaussian_log_prob(outputs: Tensor, action: Tensor) -> Tensor:
    mean, spread = mean_and_spread(outputs)
    return (-0.5 * ((action - mean) * (-spread).exp()).square() - spread - 0.5 * math.log(2.0 * math.pi)).sum(1)


def _judge_gaussian(outputs: Tensor, action: Tensor) -> tuple[Tensor, Tensor]:
    entropy = (mean_and_spread(outputs)[1] + 0.5 * math.log(2.0 * math.pi * math.e)).sum(1)
    return _gaussian_log_prob(outputs, action), entropy


KINDS = {
    "discrete": Kind(
        ACTIONS, ACTIONS, (), torch.int64, _clocks, sample, lambda logits: logits.argmax(dim=1), _categorical_log_prob,
        _judge_categorical, lambda action: action,
    ),
    "continuous": Kind(
        JERKS, 2 * JERKS, (JERKS,), torch.float32, _normals, _gaussian, lambda outputs: mean_and_spread(outputs)[0],
        _gaussian_log_prob, _judge_gaussian, lambda action: action.clamp(-1.0, 1.0),
    ),
}  # fmt: skip
"""By the environment's name of them: its argument `action`."""


def kind_of(env: Any) -> str:
    """Which kind of actions an environment takes."""
    return "continuous" if env.single_action_space.shape == (JERKS,) else "discrete"


def in_box() -> Tensor:
    """The twelve actions as points of the box, float32 (12, 2)."""
    along = [jerk / (-min(LONGITUDINAL_JERKS) if jerk < 0 else max(LONGITUDINAL_JERKS)) for jerk in LONGITUDINAL_JERKS]
    across = [jerk / max(LATERAL_JERKS) for jerk in LATERAL_JERKS]
    return torch.tensor([(a, b) for a in along for b in across], dtype=torch.float32)
