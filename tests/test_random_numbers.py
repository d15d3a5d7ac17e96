"""The published vectors of Philox, and that draws are uniform and independent of each other."""

import numpy as np
import pytest
from conftest import call, reals
from hypothesis import given
from hypothesis import strategies as st

from gigaflow_env.jit import kernel
from gigaflow_env.sim.random_numbers import Purpose, between, draws, philox, pick, spread, unit

N = 1 << 16


@kernel
def _philox(counters, keys, out):
    for i in range(len(out)):
        c, k = counters[i], keys[i]
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = philox(c[0], c[1], c[2], c[3], k[0], k[1])


@kernel
def _draws(seed, where, out):
    """where: (n, 5) world, agent, moment, purpose, number."""
    for i in range(len(out)):
        w = where[i]
        out[i, 0], out[i, 1], out[i, 2], out[i, 3] = draws(seed, w[0], w[1], w[2], w[3], w[4])


@kernel
def _of_unit(u, a, n, out):
    for i in range(len(u)):
        out[0, i] = spread(u[i], a)
        out[1, i] = pick(u[i], n)
        out[2, i] = between(u[i], -a, a)


def drawn(*, world=0, agent=0, moment=0, purpose=Purpose.BODY, number=0, seed=(1, 2)):
    """Draws (n, 4) at places of which some coordinates are arrays."""
    where = np.stack(np.broadcast_arrays(world, agent, moment, int(purpose), number), axis=-1).reshape(-1, 5)
    out = np.zeros((len(where), 4), np.float32)
    _draws(np.array(seed, np.uint32), np.ascontiguousarray(where, np.int32), out)
    return out


def deviation(values, low, high):
    """Kolmogorov-Smirnov distance of values to a uniform distribution, in units of its 0.1 % limit."""
    sorted_ = np.sort((values.astype(np.float64) - low) / (high - low))
    steps = np.arange(len(values) + 1) / len(values)
    distance = max(abs(sorted_ - steps[:-1]).max(), abs(sorted_ - steps[1:]).max())
    return distance * np.sqrt(len(values)) / 1.95


def test_philox_known_answers():
    """Source: kat_vectors of Random123, philox4x32 with 10 rounds."""
    counters = [
        [0x00000000, 0x00000000, 0x00000000, 0x00000000],
        [0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF],
        [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
    ]
    keys = [[0x00000000, 0x00000000], [0xFFFFFFFF, 0xFFFFFFFF], [0xA4093822, 0x299F31D0]]
    answers = [
        [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8],
        [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD],
        [0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1],
    ]
    out = np.zeros((3, 4), np.uint32)
    _philox(np.array(counters, np.uint32), np.array(keys, np.uint32), out)
    assert out.tolist() == answers


COORDINATES = ("world", "agent", "moment", "number")


@pytest.mark.parametrize("name", COORDINATES)
def test_draws_are_uniform_along_every_coordinate(name):
    for column in drawn(**{name: np.arange(N if name != "number" else N - 1)}).T:
        assert 0 <= column.min() and column.max() < 1
        assert deviation(column, 0, 1) < 1


@pytest.mark.parametrize("name", COORDINATES)
def test_neighbours_are_independent(name):
    values = drawn(**{name: np.arange(N - 1)})
    columns = np.concatenate([values[:-1], values[1:]], axis=1)  # of each place and the next one
    correlation = np.corrcoef(columns.T) - np.eye(8)
    assert abs(correlation).max() < 5 / np.sqrt(N)


def test_purposes_are_independent():
    columns = np.concatenate([drawn(moment=np.arange(N), purpose=purpose) for purpose in Purpose], axis=1)
    correlation = np.corrcoef(columns.T) - np.eye(columns.shape[1])
    assert abs(correlation).max() < 5 / np.sqrt(N)


def test_every_part_of_the_key_matters():
    base = drawn(seed=(1, 2))
    assert np.array_equal(base, drawn(seed=(1, 2)))
    others = [drawn(seed=(2, 2)), drawn(seed=(1, 3)), drawn(world=1), drawn(agent=1), drawn(moment=1), drawn(number=1)]
    others += [drawn(purpose=purpose) for purpose in Purpose if purpose != Purpose.BODY]
    for other in others:
        assert not np.isclose(base, other, atol=1e-6).any()


def test_purposes_are_numbered_from_zero_without_gaps():
    assert [int(purpose) for purpose in Purpose] == list(range(len(Purpose)))


def of_unit(u, a=1.5, n=7):
    out = np.zeros((3, len(u)), np.float32)
    _of_unit(np.asarray(u, np.float32), np.float32(a), np.int32(n), out)
    return out


@pytest.mark.parametrize("a", [1.25, 1.5])
def test_spread(a):
    """Half of X(a) is uniform below 1, half above."""
    x = of_unit(drawn(agent=np.arange(N)).ravel(), a)[0]
    below = x < 1
    assert below.mean() == pytest.approx(0.5, abs=5 / np.sqrt(4 * N))
    assert deviation(x[below], 1 / a, 1) < 1 and deviation(x[~below], 1, a) < 1
    assert 1 / a - 1e-6 <= x.min() and x.max() <= a


def test_spread_on_paper():
    assert of_unit([0.0, 0.25, 0.5, 0.75], 1.25)[0] == pytest.approx([0.8, 0.9, 1.0, 1.125], rel=1e-6)


def test_pick_stays_in_range_and_is_fair():
    last = np.nextafter(np.float32(1), np.float32(0))
    assert of_unit([0.0, 0.142, 0.143, last])[1].tolist() == [0, 0, 1, 6]
    assert of_unit([last], n=2**24 - 1)[1].tolist() == [2**24 - 2]
    counts = np.bincount(of_unit(drawn(agent=np.arange(N)).ravel())[1].astype(int), minlength=7)
    expected = 4 * N / 7
    assert ((counts - expected) ** 2 / expected).sum() < 22.5  # chi-square, 6 degrees of freedom, 0.1 %


def test_between():
    assert of_unit([0.0, 0.25, 0.5], 2.0)[2].tolist() == [-2.0, -1.0, 0.0]


# Properties of every rule


word, place = st.integers(0, 2**32 - 1), st.integers(0, 2**31 - 1)
below_one = st.integers(0, 2**24 - 1).map(lambda k: k / 2**24)  # every unit draw there is


def undone(c0, c1, c2, c3, k0, k1):
    """The counter whose random numbers these are: the ten rounds, taken back in whole numbers of any size."""
    m0, m1, two = 0xD2511F53, 0xCD9E8D57, 2**32
    for k in reversed(range(10)):
        key0, key1 = (k0 + k * 0x9E3779B9) % two, (k1 + k * 0xBB67AE85) % two
        old0, old2 = c3 * pow(m0, -1, two) % two, c1 * pow(m1, -1, two) % two
        c0, c1, c2, c3 = old0, c0 ^ key0 ^ (m1 * old2 // two), old2, c2 ^ key1 ^ (m0 * old0 // two)
    return c0, c1, c2, c3


@given(st.tuples(word, word, word, word), st.tuples(word, word))
def test_philox_can_be_undone(counter, key):
    """So no two counters of a key have the same random numbers."""
    found = call(philox)(*(np.uint32(one) for one in (*counter, *key)))
    assert undone(*(int(one) for one in found), *key) == counter


@given(word)
def test_a_unit_draw_is_the_share_of_all_words_below(bits):
    found = call(unit)(np.uint32(bits))
    assert 0 <= found < 1 and 0 <= bits / 2**32 - found < 2**-24


@given(word, word, place, place, place, st.sampled_from(list(Purpose)), st.integers(0, 65535), st.integers(0, 6))
def test_another_place_has_other_draws(key, other_key, world, agent, moment, purpose, number, changed):
    """Of seven coordinates one is another by 1: all four numbers are, too. The same place has the same."""
    at = [key, other_key, world, agent, moment, int(purpose), number]
    there = [one + (k == changed) * (-1 if one else 1) for k, one in enumerate(at)]

    def drawn_at(key, other_key, *where):
        return call(draws)(np.array([key, other_key], np.uint32), *where)

    one = drawn_at(*at)
    assert all(0 <= u < 1 for u in one) and one == drawn_at(*at)
    assert sum(a == b for a, b in zip(one, drawn_at(*there), strict=True)) <= 1


@given(below_one, below_one, reals(-100, 100), reals(0, 100))
def test_a_value_between_rises_from_low_to_high(u, v, low, width):
    high = float(np.float32(low + width))
    one, other = (call(between)(share, low, high) for share in sorted((u, v)))
    assert low <= one <= other <= high + 1e-5 and call(between)(0.0, low, high) == low
    assert one + call(between)(min(u, v), high, low) == pytest.approx(low + high, abs=1e-4)


@given(below_one, st.one_of(st.integers(1, 100), st.integers(1, 2**24 - 1)))
def test_a_pick_is_the_box_in_which_the_draw_lies(u, n):
    k = call(pick)(u, n)
    assert 0 <= k < n and abs(k + 0.5 - u * n) <= 0.5 + 1e-7 * n
    assert call(pick)(0.0, n) == 0 and call(pick)(1 - 2**-24, n) == n - 1


@given(below_one, reals(1, 4))
def test_a_factor_and_its_inverse_have_the_same_bounds(u, a):
    """X(a): below 1 in the lower half of the draws, above in the upper half."""
    x = call(spread)(u, a)
    assert (1 / a - 1e-6 <= x <= 1) if u < 0.5 else (1 <= x <= a + 1e-6)
    half, low, high = 2 * u % 1, *((1 / a, 1) if u < 0.5 else (1, a))
    assert x == pytest.approx(low + half * (high - low), abs=1e-6)
