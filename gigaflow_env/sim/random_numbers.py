"""Random numbers as a pure function of (seed, world, agent, tick, purpose, number).

Source: counter-based Philox4x32-10 (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3"). There is no
generator state: the numbers are the same for any number of threads, any order of agents, on every backend and after a
restore.
"""

from enum import IntEnum

import numpy as np

from gigaflow_env.jit import f32, i32, rule, u32

_M0, _M1 = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_W0, _W1 = u32(0x9E3779B9), u32(0xBB67AE85)
_LOW, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
_TO_UNIT = f32(2.0**-24)
_EIGHT = u32(8)


class Purpose(IntEnum):
    """What a draw is for: each purpose has a stream of its own."""

    BODY = 0
    CONDITIONING = 1
    PLACE = 2
    GOALS = 3
    LIGHTS = 4
    STAGGER = 5
    WORLD = 6
    ERRATIC = 7
    VARIANT = 8
    DROPOUT = 9
    NOISE = 10


(
    BODY, CONDITIONING, PLACE, GOALS, LIGHTS, STAGGER, WORLD, ERRATIC, VARIANT, DROPOUT, NOISE,
) = (int(purpose) for purpose in Purpose)  # fmt: skip


@rule
def philox(c0, c1, c2, c3, k0, k1):
    """Four random uint32 from a counter and a key."""
    for _ in range(10):
        p0 = np.uint64(c0) * _M0
        p1 = np.uint64(c2) * _M1
        high0, low0 = u32(p0 >> _SHIFT), u32(p0 & _LOW)
        high1, low1 = u32(p1 >> _SHIFT), u32(p1 & _LOW)
        c0, c1, c2, c3 = u32(high1 ^ c1 ^ k0), low1, u32(high0 ^ c3 ^ k1), low0
        k0, k1 = u32(k0 + _W0), u32(k1 + _W1)
    return c0, c1, c2, c3


@rule
def unit(bits):
    """Uniform float32 in [0, 1), from a random uint32."""
    return f32(u32(bits >> _EIGHT)) * _TO_UNIT


@rule
def draws(seed, world, agent, tick, purpose, number):
    """Four uniform float32 in [0, 1).

    seed: two uint32. tick: steps of the world since the reset. number: tells the draws of one purpose and tick apart.
    """
    tag = u32(u32(purpose) * u32(65536) + u32(number))
    a, b, c, d = philox(u32(tick), u32(world), u32(agent), tag, seed[0], seed[1])
    return unit(a), unit(b), unit(c), unit(d)


@rule
def between(u, low, high):
    """Uniform in [low, high), from a unit draw."""
    return low + u * (high - low)


@rule
def pick(u, n):
    """Uniform int32 in 0 .. n-1, from a unit draw."""
    k = i32(u * f32(n))
    return k if k < n else i32(n - i32(1))


@rule
def spread(u, a):
    """X(a): half U(1/a, 1), half U(1, a). Source: arXiv 2502.03349, App. B.2 (A)."""
    one, two = f32(1.0), f32(2.0)
    low = between(u * two, one / a, one)
    high = between(u * two - one, one, a)
    return low if u < f32(0.5) else high
