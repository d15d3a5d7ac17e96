"""A set encoder of two layers and a maximum as two loops over rows: nothing that is large leaves the cache.

    hidden = relu(W1 x + b1) for each element x of a row's set, output = relu(max over elements (W2 hidden) + b2)

torch writes hidden and second layer of every element to memory and reads them again backwards. Here a tile of rows stays in
the first cache from the features to the maximum, only which element was the largest is kept, and the way back visits those
elements alone: the gradient of a maximum is 0 for all others. `policy.SetEncoder` says what the same is in torch.

float32 on the CPU. The number of features is a constant of a kernel, and the tile or the hidden units are: LLVM unrolls and
vectorises over both.
"""

import functools
from collections.abc import Callable

import numpy as np

from gigaflow_env.kernels import compiled

TILE = 64
"""Rows at once: hidden units of a tile fill 16 to 32 KB, the size of a first cache."""
UNROLLED = 8
"""Hidden units of which a product is summed at once; the first width must be a multiple."""
PAIR = 2
"""Outputs at once, which share what is read of the hidden units; the second width must be a multiple."""
MOST_ELEMENTS = 256
"""Which element was the largest is kept as uint8."""

f32 = np.float32
LOWEST = np.float32(-3.0e38)
NOTHING = np.float32(0.0)

# Sums may be reordered, which vectorisation needs; not a number stays what it is, as training has to notice it.
FASTMATH = ("contract", "reassoc", "nsz", "arcp")


def fits(elements: int, widths: tuple[int, ...]) -> bool:
    """Whether there are kernels for a set of so many elements and layers of these widths."""
    return len(widths) == 2 and widths[0] % UNROLLED == 0 and widths[1] % PAIR == 0 and elements <= MOST_ELEMENTS


@functools.cache
def forward(features: int) -> Callable:
    """Kernel: (obs, start, elements, w1, b1, w2, b2, out, at, largest, x, h, y, top, which).

    Rows of obs (B, D), whose set starts at column `start`, give columns at to at + width of out float32 and
    largest uint8 (B, ...). w1 (hidden, features), w2 (width, hidden). The last five are a thread's own: `scratch_forward`.
    """
    F = features

    def encode(obs, start, elements, w1, b1, w2, b2, out, at, largest, x, h, y, top, which):
        W, H = w2.shape
        for first in range(0, len(obs), TILE):
            rows = min(TILE, len(obs) - first)
            for i in range(W * TILE):
                top[i] = LOWEST
                which[i] = 0
            for e in range(elements):
                column = start + e * F
                for r in range(rows):  # unit by unit, so that neighbours in memory are rows
                    element = obs[first + r][column : column + F]
                    for k in range(F):
                        x[k * TILE + r] = element[k]
                for j in range(H):
                    bias, weights = b1[j], w1[j]
                    unit = h[j * TILE : (j + 1) * TILE]
                    for r in range(TILE):
                        s = bias
                        for k in range(F):
                            s += weights[k] * x[k * TILE + r]
                        unit[r] = NOTHING if s < NOTHING else s  # not a number stays what it is
                this = np.int32(e)
                for c in range(0, W, PAIR):
                    for r in range(PAIR * TILE):
                        y[r] = NOTHING
                    for j in range(0, H, UNROLLED):
                        a, b = w2[c, j : j + UNROLLED], w2[c + 1, j : j + UNROLLED]
                        a0, a1, a2, a3, a4, a5, a6, a7 = a[0], a[1], a[2], a[3], a[4], a[5], a[6], a[7]
                        b0, b1_, b2_, b3, b4, b5, b6, b7 = b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]
                        units = h[j * TILE : (j + UNROLLED) * TILE]
                        for r in range(TILE):
                            h0, h1, h2, h3 = units[r], units[TILE + r], units[2 * TILE + r], units[3 * TILE + r]
                            h4, h5, h6, h7 = (
                                units[4 * TILE + r], units[5 * TILE + r], units[6 * TILE + r], units[7 * TILE + r],
                            )  # fmt: skip
                            y[r] += a0 * h0 + a1 * h1 + a2 * h2 + a3 * h3 + a4 * h4 + a5 * h5 + a6 * h6 + a7 * h7
                            y[TILE + r] += b0 * h0 + b1_ * h1 + b2_ * h2 + b3 * h3 + b4 * h4 + b5 * h5 + b6 * h6 + b7 * h7
                    highest = top[c * TILE : (c + PAIR) * TILE]
                    chosen = which[c * TILE : (c + PAIR) * TILE]
                    for r in range(PAIR * TILE):
                        # Not a number wins and stays, as in torch: training has to notice it.
                        wins = (y[r] > highest[r]) | (y[r] != y[r])
                        chosen[r] = this if wins else chosen[r]
                        highest[r] = y[r] if wins else highest[r]
            for r in range(rows):
                values, places = out[first + r][at : at + W], largest[first + r][at : at + W]
                for c in range(W):
                    s = top[c * TILE + r] + b2[c]
                    values[c] = NOTHING if s < NOTHING else s
                for c in range(W):
                    places[c] = np.uint8(which[c * TILE + r])

    return compiled(encode, f"encode_{F}", FASTMATH)


def scratch_forward(features: int, hidden: int, width: int) -> tuple[np.ndarray, ...]:
    """x, h, y, top, which of one thread."""
    sizes = (features, hidden, PAIR, width)
    return (*(np.zeros(size * TILE, np.float32) for size in sizes), np.zeros(width * TILE, np.int32))


@functools.cache
def backward(features: int, hidden: int) -> Callable:
    """Kernel: (obs, start, elements, width, w1, w2, out, at, largest, grad, dw1, dw2, db2, h, dh, used, alive).

    Adds to the gradients dw1, dw2, db2 what the rows give. w1, dw1: flat (features + 1, hidden), the bias as last
    row; w2, dw2: flat (width, hidden); out, largest as `forward` left them; grad (B, ...) of out. The last four are a
    thread's own: `scratch_backward`.
    """
    F, H = features, hidden
    u = np.uint32  # of an unsigned index LLVM knows that it never counts from the end

    def pull_back(obs, start, elements, width, w1, w2, out, at, largest, grad, dw1, dw2, db2, h, dh, used, alive):
        for row in range(len(obs)):
            seen = obs[row][start : start + elements * F]
            values, slope, places = out[row][at : at + width], grad[row][at : at + width], largest[row][at : at + width]
            for e in range(elements):
                used[e] = 0
            count = 0
            for c in range(width):  # outputs at 0 pass nothing on
                alive[count] = c
                count += 1 if values[c] > NOTHING else 0
            for i in range(count):
                used[places[alive[i]]] = 1
            for e in range(elements):
                if used[e] != 0:
                    units, element = u(e) * u(H), u(e) * u(F)
                    for j in range(H):
                        s = w1[F * H + j]
                        for k in range(F):
                            s += seen[element + u(k)] * w1[k * H + j]
                        h[units + u(j)] = NOTHING if s < NOTHING else s
                        dh[units + u(j)] = NOTHING
            for i in range(count):
                c = u(alive[i])
                g = slope[c]
                units, weights = u(places[c]) * u(H), c * u(H)
                db2[c] += g
                for j in range(H):
                    dw2[weights + u(j)] += g * h[units + u(j)]
                for j in range(H):
                    dh[units + u(j)] += g * w2[weights + u(j)]
            for e in range(elements):
                if used[e] != 0:
                    units, element = u(e) * u(H), u(e) * u(F)
                    for j in range(H):
                        d = dh[units + u(j)] if h[units + u(j)] > NOTHING else NOTHING
                        dw1[F * H + j] += d
                        for k in range(F):
                            dw1[k * H + j] += seen[element + u(k)] * d

    return compiled(pull_back, f"pull_back_{F}_{H}", FASTMATH)


def scratch_backward(elements: int, hidden: int, width: int) -> tuple[np.ndarray, ...]:
    """h, dh, used, alive of one thread."""
    size = elements * hidden
    return (
        np.zeros(size, np.float32),
        np.zeros(size, np.float32),
        np.zeros(elements, np.uint8),
        np.zeros(width + 1, np.int32),
    )
