"""Chance of the actions: a function of (seed, step, row), without a state. A row draws the same in whatever process."""

import torch
from torch import Tensor

_ROW, _STEP, _SEED = 0x5851F42D4C957F2D, 0x14057B7EF767814F, 0x2545F4914F6CDD1D
_MIX = (0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
_HALF = 2.0**-25


def exponential(seed: int, step: int, rows: Tensor, columns: int) -> Tensor:
    """Standard exponential numbers float32 (n, columns), for rows int64 (n,).

    Source of the mixing: splitmix64 (G. Steele, D. Lea, C. Flood, OOPSLA 2014), of a counter that no two (seed, step, row,
    column) share in practice.
    """
    start = _signed(seed * _SEED + step * _STEP)
    x = rows[:, None] * _signed(_ROW * columns) + torch.arange(columns, device=rows.device) * _signed(_ROW) + start
    x = (x ^ _right(x, 30)) * _signed(_MIX[0])
    x = (x ^ _right(x, 27)) * _signed(_MIX[1])
    x = x ^ _right(x, 31)
    uniform = _right(x, 40).to(torch.float32) * 2.0**-24 + _HALF  # in (0, 1): 24 bits, and half of the last one
    return uniform.log_().neg_()


def _right(x: Tensor, bits: int) -> Tensor:
    """Logical shift of int64 to the right: torch's repeats the sign."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _signed(number: int) -> int:
    """The int64 with the same lowest 64 bits."""
    number &= (1 << 64) - 1
    return number - (1 << 64) if number >> 63 else number
