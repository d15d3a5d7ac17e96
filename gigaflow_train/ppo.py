"""The PPO objective: pure functions on a minibatch."""

from typing import NamedTuple

import torch
from torch import Tensor

from gigaflow_train import ranks
from gigaflow_train.actions import KINDS, Kind

LARGEST_CHANGE = 20.0
"""Of a log-probability: the ratio is bounded long before, and exp would overflow at 89."""


class Batch(NamedTuple):
    """Samples to learn from, one a row."""

    obs: Tensor  # (B, D)
    action: Tensor  # (B, ...) as it was drawn
    log_prob: Tensor  # (B,) of the action when it was taken
    advantage: Tensor  # (B,) normalised
    target: Tensor  # (B,) what the critic should say: advantage + value when it was taken


class Losses(NamedTuple):
    """The loss of a minibatch and its parts."""

    total: Tensor  # the only one with a gradient
    policy: Tensor
    value: Tensor
    entropy: Tensor  # [nat]
    kl: Tensor  # [nat] from the policy that acted to the policy now, estimated by (r - 1) - log r
    clipped: Tensor  # share of samples whose ratio is out of bounds


def normalise(advantage: Tensor) -> Tensor:
    """Zero mean, unit variance over the samples that were kept, those of all processes."""
    exact = advantage.double()
    count, total, square = ranks.sum_(torch.stack([torch.ones_like(exact).sum(), exact.sum(), exact.square().sum()]))
    mean = total / count
    deviation = (square / count - mean.square()).clamp_min(0.0).sqrt()
    return (advantage - mean.float()) / (deviation.float() + 1e-8)


def losses(
    outputs: Tensor,
    value: Tensor,
    batch: Batch,
    *,
    clip: float,
    entropy_weight: float | Tensor,
    value_weight: float,
    count: int | Tensor | None = None,
    actions: Kind = KINDS["discrete"],
    weight: Tensor | None = None,
) -> Losses:
    """Total = policy - entropy_weight * entropy + value_weight * value.

    outputs (B, actions.outputs), value (B,). All are sums over the batch divided by `count`, the samples of all processes in
    this minibatch, so that the sum over the processes is their mean; B by default.
    weight (B,): 0 for samples that don't count; all do by default.
    Source: arXiv 1707.06347, eq. 7 and 9; the critic isn't clipped.
    """
    count = len(value) if count is None else count
    log_prob, each_entropy = actions.judge(outputs, batch.action)  # (B,)
    change = (log_prob - batch.log_prob).clamp(max=LARGEST_CHANGE)
    ratio = change.exp()
    bounded = ratio.clamp(1.0 - clip, 1.0 + clip)

    def mean(each: Tensor) -> Tensor:
        return (each if weight is None else each * weight).sum() / count

    policy = -mean(torch.minimum(ratio * batch.advantage, bounded * batch.advantage))
    critic = 0.5 * mean((value - batch.target).square())
    entropy = mean(each_entropy)
    total = policy - entropy_weight * entropy + value_weight * critic
    with torch.no_grad():
        kl = mean(ratio - 1.0 - change)
        clipped = mean(((ratio - 1.0).abs() > clip).float())
    return Losses(total, policy.detach(), critic.detach(), entropy.detach(), kl, clipped)
