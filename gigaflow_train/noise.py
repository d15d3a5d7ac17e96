"""Chance of the actions: a function of (seed, step, row), without a state. A row draws the same in whatever process."""

import math

import torch
from torch import Tensor

_ROW, _STEP, _SEED = 0x5851F42D4C957F2D, 0x14057B7EF767814F, 0x2545F4914F6CDD1D
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_HALF = 2.0**-25


def exponential(seed: int, step: int | Tensor, rows: Tensor, columns: int) -> Tensor:
    """Standard exponential numbers float32 (n, columns), for rows int64 (n,). step: a number, or a tensor () of int64."""
    return uniform(seed, step, rows, columns).log_().neg_()


def normal(seed: int, step: int | Tensor, rows: Tensor, columns: int) -> Tensor:
    """Standard normal numbers float32 (n, columns), for rows int64 (n,).

    Source: G. Box, M. Muller, Annals of Mathematical Statistics 29 (1958).
    """
    one, other = uniform(seed, step, rows, 2 * columns).split(columns, dim=1)
    return (-2.0 * one.log()).sqrt() * torch.cos(2.0 * math.pi * other)


def uniform(seed: int, step: int | Tensor, rows: Tensor, columns: int) -> Tensor:
    """Uniform numbers float32 (n, columns) between 0 and 1, neither of which they reach, for rows int64 (n,).

    Source of the mixing: splitmix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014), of a counter that no two (seed, step, row,
    column) share in practice.
    """
    if isinstance(step, Tensor):  # int64 wraps around, as the numbers below do
        start: int | Tensor = step * _signed(_STEP) + _signed(seed * _SEED)
    else:
        start = _signed(seed * _SEED + step * _STEP)
    x = rows[:, None] * _signed(_ROW * columns) + torch.arange(columns, device=rows.device) * _signed(_ROW) + start
    x = (x ^ _right(x, 30)) * _signed(_MIX[0])
    x = (x ^ _right(x, 27)) * _signed(_MIX[1])
    x = x ^ _right(x, 31)
    return _right(x, 40).to(torch.float32) * 2.0**-24 + _HALF  # 24 bits, and half of the last one


def _right(x: Tensor, bits: int) -> Tensor:
    """Logical shift of int64 to the right: torch's repeats the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    """The int64 with the same lowest 64 bits."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number
