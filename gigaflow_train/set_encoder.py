"""All set encoders of a network as one operation of autograd, in the kernels of set_kernels.py."""

import functools
import threading
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gigaflow_train import set_kernels


class SetShape(NamedTuple):
    """One set of an observation and the layers that read it."""

    start: int  # first column
    elements: int
    features: int
    hidden: int
    width: int


def usable(obs: Tensor, shapes: tuple[SetShape, ...]) -> bool:
    """Whether `encode` can do it: float32 rows on the CPU, two layers of fitting widths each. Else torch does."""
    return (
        obs.device.type == "cpu"
        and obs.dtype == torch.float32
        and obs.stride(-1) == 1
        and not torch.is_autocast_enabled("cpu")
        and len(shapes) > 0
        and all(set_kernels.fits(shape.elements, (shape.hidden, shape.width)) for shape in shapes)
    )


def encode(obs: Tensor, shapes: tuple[SetShape, ...], weights: list[Tensor]) -> Tensor:
    """(rows, observation) -> (rows, sum of widths). weights: w1, b1, w2, b2 of each set. No gradient for obs."""
    return _Encode.apply(obs, shapes, *weights)


class _Encode(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, obs: Tensor, shapes: tuple[SetShape, ...], *weights: Tensor) -> Tensor:
        rows, width = len(obs), sum(shape.width for shape in shapes)
        out, largest = torch.empty(rows, width), torch.empty(rows, width, dtype=torch.uint8)
        seen, values, places = obs.detach().numpy(), out.numpy(), largest.numpy()
        arrays = [weight.detach().contiguous().numpy() for weight in weights]

        at = 0
        for k, (start, elements, *sizes) in enumerate(shapes):
            own = _own("forward", tuple(sizes), functools.partial(set_kernels.scratch_forward, *sizes))
            set_kernels.forward(sizes[0])(seen, start, elements, *arrays[4 * k : 4 * k + 4], values, at, places, *own)
            at += sizes[-1]
        ctx.save_for_backward(obs, out, largest, *weights)
        ctx.shapes = shapes
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        obs, out, largest, *weights = ctx.saved_tensors
        seen, values, places, slope = (x.detach().numpy() for x in (obs, out, largest, grad.contiguous()))
        arrays = [weight.detach().numpy() for weight in weights]
        gradients, at = [], 0
        for k, (start, elements, features, hidden, width) in enumerate(ctx.shapes):
            w1, b1, w2, _ = arrays[4 * k : 4 * k + 4]
            scratch = functools.partial(set_kernels.scratch_backward, elements, hidden, width)
            own = _own("backward", (elements, hidden, width), scratch)
            first, second, last = (np.zeros(size, np.float32) for size in ((features + 1) * hidden, width * hidden, width))
            flat = np.concatenate([w1.T.ravel(), b1])
            set_kernels.backward(features, hidden)(
                seen, start, elements, width, flat, w2.ravel(), values, at, places, slope, first, second, last,
                *own,
            )  # fmt: skip
            weights, bias = np.split(first, [features * hidden])
            gradients += [
                np.ascontiguousarray(weights.reshape(features, hidden).T),
                bias,
                second.reshape(width, hidden),
                last,
            ]
            at += width
        return (None, None, *map(torch.from_numpy, gradients))


_LOCAL = threading.local()


def _own(kind: str, sizes: tuple[int, ...], make: Callable[[], tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """This thread's scratch arrays."""
    kept = _LOCAL.__dict__.setdefault(kind, {})
    if sizes not in kept:
        kept[sizes] = make()
    return kept[sizes]
