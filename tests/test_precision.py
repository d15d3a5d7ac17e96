"""Half precision is numpy's float16 and torch's bfloat16, to the bit."""

import numpy as np
import pytest
import torch
from conftest import call
from hypothesis import given
from hypothesis import strategies as st

from gigaflow_env.jit import kernel
from gigaflow_env.layout import BFLOAT16, FLOAT16
from gigaflow_env.sim.precision import bfloat16_bits, float16_bits, half_bits


@kernel
def convert(bits, out, kind):
    for i in range(len(bits)):
        out[i] = half_bits(bits[i], kind)


@pytest.fixture(scope="module")
def values():
    """Numbers of the observation's range: of every size, those between two halves, and every half itself."""
    rng = np.random.default_rng(0)
    every = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float64)
    every = np.sort(every[np.abs(every) <= 1])
    between = (every[1:] + every[:-1]) / 2
    sizes = rng.uniform(-1, 1, 100_000) * 10.0 ** rng.uniform(-10, 0, 100_000)
    return np.concatenate([every, between, np.nextafter(between, 2), np.nextafter(between, -2), sizes]).astype(np.float32)


def test_float16(values):
    out = np.zeros(len(values), np.uint16)
    convert(values.view(np.uint32), out, FLOAT16)
    assert np.array_equal(out, values.astype(np.float16).view(np.uint16))


def test_bfloat16(values):
    out = np.zeros(len(values), np.uint16)
    convert(values.view(np.uint32), out, BFLOAT16)
    expected = torch.from_numpy(values).bfloat16().view(torch.int16).numpy().view(np.uint16)
    assert np.array_equal(out, expected)


# Properties of every rule


def bits(x):
    return np.float32(x).view(np.uint32)


seen = st.floats(-1, 1, width=32)


@given(seen, seen)
def test_halves_are_nearest_rise_and_stay(x, y):
    """No half lies nearer, order is kept, and a half itself stays as it is."""
    for rule, kind, back in (
        (float16_bits, FLOAT16, lambda half: np.uint16(half).view(np.float16)),
        (bfloat16_bits, BFLOAT16, lambda half: (np.uint32(half) << np.uint32(16)).view(np.float32)),
    ):
        half = int(call(rule)(bits(x)))
        assert half == call(half_bits)(bits(x), kind) and half < 65536
        near = float(back(half))
        others = [float(back(half + step)) for step in (-1, 1) if 0 <= (half & 0x7FFF) + step < 0x7F80]
        assert all(abs(near - x) <= abs(other - x) for other in others)
        assert call(rule)(bits(near)) == half
        assert (float(back(call(rule)(bits(y)))) - near) * (y - x) >= 0
        assert int(call(rule)(bits(-x))) ^ half == 0x8000
