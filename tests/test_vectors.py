"""What the processor does with many keys at once, beside NumPy."""

import numba
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gigaflow_env.vectors import AT_ONCE, find_places, keep_up_to, whole

UINT32 = st.integers(0, 2**32 - 1)


@numba.njit
def kept(keys, bound):
    return keep_up_to(keys, bound)


@numba.njit
def placed(keys, count, places):
    find_places(keys, count, places)


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


def test_room_is_a_whole_multiple():
    assert [whole(count) for count in (0, 1, AT_ONCE, AT_ONCE + 1)] == [0, AT_ONCE, AT_ONCE, 2 * AT_ONCE]
