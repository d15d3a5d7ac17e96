"""Advantages and which samples are worth learning from: pure functions on tensors."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from gigaflow_train import ranks


def gae(reward: Tensor, value: Tensor, ended: Tensor, *, discount: float, trace: float) -> Tensor:
    """Generalised advantage estimate (T, N).

        delta_t = r_t + discount * V_{t+1} - V_t, with V_{t+1} = 0 where the episode ends
        A_t     = delta_t + discount * trace * A_{t+1}, cut where the episode ends

    reward (T, N), which holds already what an episode that was truncated would have earned on: discount * V(its last
    observation). ended bool (T, N): by termination or truncation; value (T + 1, N).
    Source: arXiv 1506.02438; the bootstrap at a time-out: arXiv 2502.03349.
    """
    delta = reward + discount * value[1:].masked_fill(ended, 0.0) - value[:-1]  # (T, N)
    decay = torch.where(ended, 0.0, discount * trace)  # (T, N)
    advantage = torch.empty_like(delta)
    ahead = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        ahead = torch.addcmul(delta[t], decay[t], ahead, out=advantage[t])
    return advantage


class Filtered(NamedTuple):
    """What the advantage filter keeps of a rollout."""

    keep: Tensor  # int64 (kept,): indices of samples, ascending
    largest: float  # running largest |advantage|, for the next call
    threshold: float  # |advantage| below which samples were dropped
    spike: float  # largest |advantage| of this batch


def keep_informative(
    advantage: Tensor, learns: Tensor, largest: float | None, *, share: float, rate: float, least: float
) -> Filtered:
    """Drop samples whose |advantage| is below `share` of the running largest one, and those that nothing is learned from.

        largest <- rate * max|A| + (1 - rate) * largest      (max|A| in the first iteration, where `largest` is None)
        keep    |A| >= share * largest

    advantage, learns (n,); largest: of the call before. If fewer than the share `least` of the samples to learn from are
    left, that many with the largest |A| are kept. Where max|A| is not finite, nothing is kept and `largest` stays as it was:
    the caller stops. Largest and number are those of all processes. Source: arXiv 2502.03349, Algorithm 1. Ours: `least`.
    """
    size = torch.where(learns, advantage.abs(), -1.0)  # -1: below any threshold
    largest_of = size.max() if len(size) else size.new_tensor(-1.0)
    spike = float(ranks.max_(largest_of.nan_to_num(nan=torch.inf, posinf=torch.inf)))  # a largest of several can't be nan
    if spike < 0.0:
        raise ValueError("no row was there to learn from in this rollout")
    if not math.isfinite(spike):
        return Filtered(size.new_zeros(0, dtype=torch.int64), largest or 0.0, 0.0, spike)
    largest = spike if largest is None else rate * spike + (1.0 - rate) * largest
    keep = (size >= share * largest).nonzero().squeeze(1)
    kept, live = ranks.sum_(torch.stack([torch.ones_like(keep).sum(), learns.sum()])).tolist()
    if kept < max(1, round(least * live)):
        own = int(learns.sum())
        keep = size.topk(min(own, max(1, round(least * own)))).indices.sort().values
    return Filtered(keep, largest, share * largest, spike)
