"""All set encoders of a network as one operation of autograd, in the kernels of set_kernels.py."""

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from gigaflow_train import set_kernels
from gigaflow_train.set_kernels import TILE


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

        def some(begin: int, end: int) -> None:
            at = 0
            for k, (start, elements, *sizes) in enumerate(shapes):
                own = _own("forward", tuple(sizes), set_kernels.scratch_forward)
                set_kernels.forward(sizes[0])(
                    seen, begin, end, start, elements, *arrays[4 * k : 4 * k + 4], values, at, places, *own
                )
                at += sizes[-1]

        _share(rows, some)
        ctx.save_for_backward(obs, out, largest, *weights)
        ctx.shapes = shapes
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        obs, out, largest, *weights = ctx.saved_tensors
        seen, values, places, slope = (x.detach().numpy() for x in (obs, out, largest, grad.contiguous()))
        arrays = [weight.detach().numpy() for weight in weights]
        parts: dict[int, list[np.ndarray]] = {}

        def some(begin: int, end: int) -> None:
            at, mine = 0, []
            for k, (start, elements, features, hidden, width) in enumerate(ctx.shapes):
                w1, b1, w2, _ = arrays[4 * k : 4 * k + 4]
                own = _own(
                    "backward",
                    (elements, hidden, width),
                    set_kernels.scratch_backward,
                )
                sums = [np.zeros(size, np.float32) for size in ((features + 1) * hidden, width * hidden, width)]
                flat = np.concatenate([w1.T.ravel(), b1])
                set_kernels.backward(features, hidden)(
                    seen, begin, end, start, elements, width, flat, w2.ravel(), values, at, places, slope, *sums, *own
                )
                first, bias = np.split(sums[0], [features * hidden])
                mine += [first.reshape(features, hidden).T, bias, sums[1].reshape(width, hidden), sums[2]]
                at += width
            parts[begin] = mine

        _share(len(obs), some)
        ordered = [parts[begin] for begin in sorted(parts)]  # the same sum whichever thread is first
        return (None, None, *(torch.from_numpy(np.ascontiguousarray(sum(part))) for part in zip(*ordered, strict=True)))


_LOCAL = threading.local()
_POOL: dict[tuple[int, int], ThreadPoolExecutor] = {}


def _own(kind: str, sizes: tuple[int, ...], make: Callable[..., tuple[np.ndarray, ...]]) -> tuple[np.ndarray, ...]:
    """This thread's scratch arrays."""
    kept = _LOCAL.__dict__.setdefault(kind, {})
    if sizes not in kept:
        kept[sizes] = make(*sizes)
    return kept[sizes]


def _share(rows: int, work: Callable[[int, int], None]) -> None:
    """Ranges of rows on as many threads as torch has; whole tiles each. The kernels release the GIL."""
    threads = min(torch.get_num_threads(), max(1, rows // (4 * TILE)))
    if threads <= 1:
        work(0, rows)
        return
    key = os.getpid(), torch.get_num_threads()  # threads don't survive a fork
    if key not in _POOL:
        _POOL.clear()
        _POOL[key] = ThreadPoolExecutor(torch.get_num_threads() - 1, thread_name_prefix="set-encoder")
    ends = [rows * k // threads // TILE * TILE for k in range(threads)] + [rows]
    others = [_POOL[key].submit(work, begin, end) for begin, end in zip(ends[1:-1], ends[2:], strict=True)]
    work(ends[0], ends[1])
    for other in others:
        other.result()
