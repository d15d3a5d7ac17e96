"""Advantages and which samples are worth learning from: pure functions on tensors (steps, rows)."""

from typing import NamedTuple

import torch
from torch import Tensor


def gae(
    reward: Tensor,
    value: Tensor,
    bootstrap: Tensor,
    terminated: Tensor,
    truncated: Tensor,
    *,
    discount: float,
    trace: float,
) -> Tensor:
    """Generalised advantage estimate (T, N).

        delta_t = r_t + discount * V(next_t) - V_t
        A_t     = delta_t + discount * trace * A_{t+1}, cut where the episode ends

    V(next) is 0 where terminated, `bootstrap` (the value of the episode's last observation) where truncated, else V_{t+1}.
    reward, bootstrap (T, N); terminated, truncated bool (T, N), terminated wins; value (T + 1, N).
    Source: arXiv 1506.02438; the bootstrap at a time-out: arXiv 2502.03349.
    """
    ended = terminated | truncated
    following = torch.where(ended, bootstrap, value[1:]).masked_fill(terminated, 0.0)  # (T, N)
    delta = reward + discount * following - value[:-1]  # (T, N)
    decay = torch.where(ended, 0.0, discount * trace)  # (T, N)
    advantage = torch.empty_like(delta)
    ahead = torch.zeros_like(delta[0])
    for t in reversed(range(len(delta))):
        ahead = torch.addcmul(delta[t], decay[t], ahead, out=advantage[t])
    return advantage


class Filtered(NamedTuple):
    keep: Tensor  # int64 (kept,): flat indices into (T, N), ascending
    largest: float  # running largest |advantage|, for the next call
    threshold: float  # |advantage| below which samples were dropped
    spike: float  # largest |advantage| of this batch


def keep_informative(
    advantage: Tensor, active: Tensor, largest: float | None, *, share: float, rate: float, least: float
) -> Filtered:
    """Drop samples whose |advantage| is below `share` of the running largest one, and samples of inactive rows.

        largest <- rate * max|A| + (1 - rate) * largest      (max|A| in the first iteration, where `largest` is None)
        keep    |A| >= share * largest

    advantage, active (T, N); largest: of the call before. If fewer than the share `least` of the active samples are left,
    that many with the largest |A| are kept. Source: arXiv 2502.03349, Algorithm 1. Ours: `least`.
    """
    size = torch.where(active, advantage.abs(), -1.0).flatten()  # -1: below any threshold
    live = int(active.sum())
    if live == 0:
        raise ValueError("no row was active in this rollout: there is nothing to learn from")
    spike = float(size.max())
    largest = spike if largest is None else rate * spike + (1.0 - rate) * largest
    keep = (size >= share * largest).nonzero().squeeze(1)
    fewest = max(1, round(least * live))
    if len(keep) < fewest:
        keep = size.topk(fewest).indices.sort().values
    return Filtered(keep, largest, share * largest, spike)
