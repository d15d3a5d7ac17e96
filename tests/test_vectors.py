"""What the processor does with many keys or four numbers at once, beside NumPy."""

import numba
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gigaflow_env.vectors import AT_ONCE, differences, find_places, four_at, keep_up_to, products, put_four, sums, whole

UINT32 = st.integers(0, 2**32 - 1)
FLOATS = st.lists(st.floats(-1e6, 1e6, width=32), min_size=9, max_size=9)


@numba.njit
def kept(keys, bound):
    return keep_up_to(keys, bound)


@numba.njit
def placed(keys, count, places):
    find_places(keys, count, places)


@numba.njit
def combined(row, at, out):
    one, other = four_at(row, at), four_at(row, 0)
    put_four(out, 0, sums(one, other))
    put_four(out, 4, differences(one, other))
    put_four(out, at + 8, products(one, (other[1], other[0], other[3], other[2])))


def filled(keys):
    """The keys in an array with room for a whole multiple of AT_ONCE; the largest number behind them."""
    row = np.full(whole(len(keys)), 2**32 - 1, np.uint32)
    row[: len(keys)] = keys
    return row


@given(st.lists(UINT32, min_size=1, max_size=5 * AT_ONCE), UINT32)
def test_keys_up_to_a_bound_are_kept_in_order(keys, bound):
    row = filled(keys)
    expected = row[row <= bound]
    count = kept(row, np.uint32(bound))
    assert row[:count].tolist() == expected.tolist()


@given(st.lists(UINT32, unique=True, max_size=5 * AT_ONCE))
def test_a_place_is_the_number_of_smaller_keys(keys):
    row, places = filled(keys), np.zeros(whole(len(keys)), np.uint32)
    placed(row, len(keys), places)
    assert places[: len(keys)].tolist() == [sorted(keys).index(key) for key in keys]


@given(FLOATS, st.integers(0, 5))
def test_four_numbers_are_an_array_of_four(numbers, at):
    row, out = np.array(numbers, np.float32), np.zeros(17, np.float32)
    combined(row, at, out)
    one, other = row[at : at + 4], row[:4]
    assert np.array_equal(out[:8], np.concatenate([one + other, one - other]))
    assert np.array_equal(out[8 + at : 12 + at], one * other[[1, 0, 3, 2]]) and not out[12 + at :].any()


def test_room_is_a_whole_multiple():
    assert [whole(count) for count in (0, 1, AT_ONCE, AT_ONCE + 1)] == [0, AT_ONCE, AT_ONCE, 2 * AT_ONCE]
