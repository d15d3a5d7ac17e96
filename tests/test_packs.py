"""Eight numbers at once, beside NumPy: to the last bit."""

import ctypes
import functools
import mmap
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba.extending import intrinsic

from gigaflow_env.jit import kernel
from gigaflow_env.packs import (
    EIGHT,
    Pack,
    bits_of,
    chosen,
    columns,
    counted,
    eight_from,
    keep,
    larger,
    last_of,
    like,
    one_alone,
    picked,
    put_columns,
    put_eight,
    repeated,
    root,
    shifted,
    sizes,
    smaller,
    smallest_of,
    swapped,
    truncated,
    where,
    whole,
    within,
    words,
    words_of_bytes,
    words_until,
)

compiled = functools.partial(kernel, cache=False)
FLOAT, WORD = st.floats(width=32), st.integers(-(2**31), 2**31 - 1)
NUMBER = st.floats(allow_nan=False, width=32)
PLACES = st.lists(st.integers(0, 19), min_size=16, max_size=16)
FEW = settings(max_examples=50)
ROW = np.dtype([(name, np.float32) for name in "abcdef"] + [("g", np.int32)])
"""A row of a table; the last column is to be read as int32."""


def eight(numbers):
    return st.lists(numbers, min_size=EIGHT, max_size=EIGHT)


def same(found, expected):
    """Whether two arrays are equal to the last bit; any NaN is one."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.dtype == expected.dtype and found.shape == expected.shape
    return ((found.view(np.uint32) == expected.view(np.uint32)) | ((found != found) & (expected != expected))).all()


@intrinsic
def bits(typing, pack):
    """The same bits as float32, which `put_eight` writes: what `words` does, the other way round."""
    return Pack("float32", EIGHT)(pack), lambda context, builder, signature, given: builder.bitcast(
        given[0], signature.return_type.vector
    )


# Numbers


@compiled
def _float_operators(given, other, number, out):
    one, two = eight_from(given, 0), eight_from(other, 0)
    put_eight(out[0], 0, one + two)
    put_eight(out[1], 0, one + number)
    put_eight(out[2], 0, number + one)
    put_eight(out[3], 0, one - two)
    put_eight(out[4], 0, one - number)
    put_eight(out[5], 0, number - one)
    put_eight(out[6], 0, one * two)
    put_eight(out[7], 0, one * number)
    put_eight(out[8], 0, number * one)
    put_eight(out[9], 0, one / two)
    put_eight(out[10], 0, one / number)
    put_eight(out[11], 0, number / one)
    put_eight(out[12], 0, abs(one))
    put_eight(out[13], 0, root(one))
    out[14, 0] = root(given[0])


@given(eight(FLOAT), eight(FLOAT), FLOAT)
def test_floats_are_computed_like_one_alone(one, two, number):
    """Infinities, NaN and the smallest numbers too."""
    one, two, number = np.float32(one), np.float32(two), np.float32(number)
    out = np.zeros((15, EIGHT), np.float32)
    _float_operators(one, two, number, out)
    with np.errstate(all="ignore"):
        expected = [
            one + two, one + number, number + one, one - two, one - number, number - one, one * two, one * number,
            number * one, one / two, one / number, number / one, np.abs(one), np.sqrt(one),
        ]  # fmt: skip
        assert same(out[:14], np.array(expected)) and same(out[14, :1], np.sqrt(one[:1]))


@compiled
def _float_comparisons(given, other, number, out):
    one, two = eight_from(given, 0), eight_from(other, 0)
    out[0], out[1], out[2] = bits_of(one < two), bits_of(one < number), bits_of(number < one)
    out[3], out[4], out[5] = bits_of(one <= two), bits_of(one <= number), bits_of(number <= one)
    out[6], out[7], out[8] = bits_of(one >= two), bits_of(one >= number), bits_of(number >= one)
    out[9], out[10] = bits_of((one < two) & (one < number)), bits_of((one < two) | (one < number))
    out[11], out[12], out[13] = bits_of(one > two), bits_of(one > number), bits_of(number > one)
    out[14], out[15], out[16] = bits_of(one != two), bits_of(one != number), bits_of(number != one)


def packed(flags):
    """A bit for each flag."""
    return sum(1 << k for k, flag in enumerate(flags) if flag)


@given(eight(FLOAT), eight(FLOAT), st.one_of(FLOAT, st.integers(0, 7)), st.integers(0, 255))
def test_floats_are_compared_like_one_alone(one, two, number, alike):
    """Some pairs are equal, and the number is one of them; NaN is neither less nor more than anything."""
    one, two = np.float32(one), np.float32(two)
    two = np.where(alike >> np.arange(EIGHT) & 1, one, two)
    number = one[number] if isinstance(number, int) else np.float32(number)
    out = np.zeros(17, np.uint64)
    _float_comparisons(one, two, number, out)
    less, below = one < two, one < number
    expected = [
        less, below, number < one, one <= two, one <= number, number <= one, one >= two, one >= number, number >= one,
        less & below, less | below, one > two, one > number, number > one, one != two, one != number, number != one,
    ]  # fmt: skip
    assert out.tolist() == [packed(flags) for flags in expected]


@compiled
def _choices(given, other, low, high, numbers, out):
    one, two = eight_from(given, 0), eight_from(other, 0)
    put_eight(out[0], 0, within(one, low, high))
    put_eight(out[1], 0, chosen(one < two, one, two))
    kept = where(one < two, (one, two, one))
    put_eight(out[2], 0, kept[0])
    put_eight(out[3], 0, kept[1])
    put_eight(out[4], 0, kept[2])
    put_eight(out[5], 0, smaller(one, two))
    put_eight(out[6], 0, swapped(one))
    put_eight(out[7], 0, repeated((numbers[0],)))
    put_eight(out[8], 0, repeated((numbers[0], numbers[1])))
    put_eight(out[9], 0, repeated((numbers[0], numbers[1], numbers[2], numbers[3])))
    put_eight(
        out[10], 0,
        repeated((numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], numbers[5], numbers[6], numbers[7])),
    )  # fmt: skip
    put_eight(out[11], 0, shifted(low, one))
    out[12, 0], out[12, 1] = smallest_of(two), last_of(one)


@given(eight(FLOAT), eight(NUMBER), NUMBER, NUMBER)
def test_numbers_are_chosen_like_one_alone(one, two, low, high):
    one, two, (low, high) = np.float32(one), np.float32(two), np.sort(np.float32([low, high]))
    out = np.zeros((13, EIGHT), np.float32)
    _choices(one, two, low, high, two, out)
    less = one < two
    limited = np.where(one <= low, low, one)
    kept = np.where(less, one, np.float32(0)), np.where(less, two, np.float32(0))
    expected = [
        np.where(limited >= high, high, limited), np.where(less, one, two), kept[0], kept[1], kept[0],
        np.where(less, one, two), one[[1, 0, 3, 2, 5, 4, 7, 6]], np.repeat(two[:1], 8), np.tile(two[:2], 4),
        np.tile(two[:4], 2), two, np.append(low, one[:-1]),
    ]  # fmt: skip
    assert same(out[:12], np.array(expected)) and out[12, 0] == two.min() and same(out[12, 1], one[-1])


@compiled
def _either(given, other, number, flag, out):
    one, two = eight_from(given, 0), eight_from(other, 0)
    put_eight(out[0], 0, smaller(one, two))
    put_eight(out[1], 0, smaller(one, number))
    put_eight(out[2], 0, smaller(number, one))
    put_eight(out[3], 0, larger(one, two))
    put_eight(out[4], 0, larger(one, number))
    put_eight(out[5], 0, larger(number, one))
    put_eight(out[6], 0, chosen(one < two, one, number))
    put_eight(out[7], 0, chosen(one < two, number, two))
    put_eight(out[8], 0, chosen(one < two, number, given[0]))
    for k in range(EIGHT):
        out[9, k], out[10, k] = smaller(given[k], other[k]), larger(given[k], other[k])
        out[11, k] = chosen(flag, given[k], other[k])
        out[12, k] = within(given[k], min(other[0], number), max(other[0], number))


@given(eight(NUMBER), eight(NUMBER), NUMBER, st.booleans())
def test_numbers_and_packs_are_chosen_from_together(one, two, number, flag):
    one, two, number = np.float32(one), np.float32(two), np.float32(number)
    out = np.zeros((13, EIGHT), np.float32)
    _either(one, two, number, flag, out)
    less, least, most = one < two, np.minimum(one, two), np.maximum(one, two)
    expected = [
        least, np.minimum(one, number), np.minimum(one, number), most, np.maximum(one, number), np.maximum(one, number),
        np.where(less, one, number), np.where(less, number, two), np.where(less, number, one[0]), least, most,
        one if flag else two, np.clip(one, min(two[0], number), max(two[0], number)),
    ]  # fmt: skip
    assert np.array_equal(out, np.array(expected))  # which of 0 and -0 is less is not said


@compiled
def _word_operators(given, other, number, out, flags, far):
    one, two = words(eight_from(given, 0)), words(eight_from(other, 0))
    put_eight(out[0], 0, bits(one + two))
    put_eight(out[1], 0, bits(one + number))
    put_eight(out[2], 0, bits(number + one))
    put_eight(out[3], 0, bits(one - two))
    put_eight(out[4], 0, bits(one - number))
    put_eight(out[5], 0, bits(number - one))
    put_eight(out[6], 0, bits(one * two))
    put_eight(out[7], 0, bits(one * number))
    put_eight(out[8], 0, bits(chosen(one < two, one, two)))
    put_eight(out[9], 0, bits(swapped(one)))
    flags[0], flags[1], flags[2] = bits_of(one < two), bits_of(one < number), bits_of(number < one)
    flags[3], flags[4], flags[5] = bits_of(one >= two), bits_of(one >= number), bits_of(number >= one)
    flags[6], flags[7], flags[8] = bits_of(one > two), bits_of(one > number), bits_of(number > one)
    flags[9], flags[10], flags[11] = bits_of(one == two), bits_of(one == number), bits_of(number == one)
    flags[12], flags[13], flags[14] = bits_of(one <= two), bits_of(one <= number), bits_of(number <= one)
    flags[15], flags[16], flags[17] = bits_of(one != two), bits_of(one != number), bits_of(number != one)
    put_eight(out[10], 0, bits(one & two))
    put_eight(out[11], 0, bits(one & number))
    put_eight(out[12], 0, bits(like(number, one)))
    put_eight(far, 0, sizes(one))


@given(eight(WORD), eight(WORD), st.one_of(WORD, st.none()), st.integers(0, 255))
def test_whole_numbers_are_computed_and_compared_like_one_alone(one, two, number, alike):
    """What does not fit wraps around; some pairs are equal."""
    one, two = np.array(one, np.int32), np.array(two, np.int32)
    two = np.where(alike >> np.arange(EIGHT) & 1, one, two)
    number = one[3] if number is None else np.int32(number)
    out, flags, far = np.zeros((13, EIGHT), np.int32), np.zeros(18, np.uint64), np.zeros(EIGHT, np.float32)
    _word_operators(one, two, number, out.view(np.float32), flags, far)
    expected = [
        one + two, one + number, number + one, one - two, one - number, number - one, one * two, one * number,
        np.minimum(one, two), one[[1, 0, 3, 2, 5, 4, 7, 6]], one & two, one & number, np.full(EIGHT, number),
    ]  # fmt: skip
    assert np.array_equal(out, expected)
    expected = [
        one < two, one < number, number < one, one >= two, one >= number, number >= one, one > two, one > number,
        number > one, one == two, one == number, number == one, one <= two, one <= number, number <= one, one != two,
        one != number, number != one,
    ]  # fmt: skip
    assert flags.tolist() == [packed(row) for row in expected]
    least = one == -(2**31)  # that many are none of int32
    assert same(far[~least], np.abs(one.astype(np.int64)).astype(np.float32)[~least])


@compiled
def _kept(numbers, bound, at, row):
    pack = eight_from(numbers, 0)
    return keep(row, at, pack, pack <= bound)


@given(eight(WORD), WORD, st.integers(0, 5))
def test_kept_numbers_stay_in_order_and_nothing_is_written_beside_them(numbers, bound, at):
    numbers, row = np.array(numbers, np.int32), np.full(16, 77, np.int32)
    expected = numbers[numbers <= bound].tolist()
    after = _kept(numbers, np.int32(bound), at, row)
    assert row[at:after].tolist() == expected
    assert (row[:at] == 77).all() and (row[at + EIGHT :] == 77).all()


@compiled
def _one_by_one(row, out, either):
    for k in range(len(row)):
        row[len(row) - 1 - k] += 1
    for k in range(len(row)):
        out[k] = one_alone(row, k)
    either[0] = like(np.float32(3), either[1])


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=40))
def test_numbers_may_be_read_one_by_one(numbers):
    row, either = np.array(numbers, np.int32), np.zeros(2, np.float32)
    out = np.zeros_like(row)
    _one_by_one(row, out, either)
    assert out.tolist() == [number + 1 for number in numbers] and either[0] == 3


@compiled
def _truncated(numbers, out):
    put_eight(out, 0, truncated(eight_from(numbers, 0)))
    put_eight(out, EIGHT, repeated((np.int32(5), np.int32(-6))))


@given(eight(st.floats(-(2.0**31), 2.0**31 - 128, width=32)))
def test_floats_lose_their_fraction(numbers):
    out = np.zeros(2 * EIGHT, np.int32)
    _truncated(np.array(numbers, np.float32), out)
    assert out[:EIGHT].tolist() == [int(number) for number in numbers] and out[EIGHT:].tolist() == [5, -6] * 4


def test_room_is_a_whole_number_of_packs():
    assert [whole(count) for count in (0, 1, EIGHT, EIGHT + 1)] == [0, EIGHT, EIGHT, 2 * EIGHT]


@compiled
def _shares(given, other, number, first, most, out):
    one, two = words(eight_from(given, 0)), words(eight_from(other, 0))
    put_eight(out[0], 0, bits(one // two))
    put_eight(out[1], 0, bits(one // number))
    put_eight(out[2], 0, bits(one % two))
    put_eight(out[3], 0, bits(one % number))
    put_eight(out[4], 0, bits(counted(first, most)))


@given(eight(st.integers(0, 2**31 - 1)), eight(st.integers(1, 2**31 - 1)), st.integers(1, 200), WORD, WORD)
def test_whole_numbers_are_divided_and_counted(one, two, number, first, most):
    one, two, number = np.array(one, np.int32), np.array(two, np.int32), np.int32(number)
    first = min(first, 2**31 - EIGHT)
    out = np.zeros((5, EIGHT), np.int32)
    for last in (most, first + most % 10):
        _shares(one, two, number, first, last, out.view(np.float32))
        count = np.minimum(first + np.arange(EIGHT), last)
        assert np.array_equal(out, [one // two, one // number, one % two, one % number, count])


# Loads


@compiled
def _loaded(numbers, table, small, row, at, end, row_at, out):
    put_eight(out[0], 0, eight_from(numbers, at))
    put_eight(out[1], 0, eight_from(table, row_at))
    put_eight(out[2], 0, bits(words_of_bytes(small, at)))
    put_eight(out[3], 0, bits(words_until(row, at, end)))


@FEW
@given(st.lists(WORD, min_size=30, max_size=30), st.integers(0, 22), st.integers(0, 12), st.integers(0, 20))
def test_eight_are_loaded_from_where_they_are(numbers, at, more, row_at):
    """Of words none at or beyond the end."""
    whole, end = np.array(numbers, np.int32), min(at + more, 30)
    small, table = whole.astype(np.int8), np.zeros(24, ROW)
    table.view(np.int32)[:30] = whole
    out = np.zeros((4, EIGHT), np.int32)
    _loaded(whole.view(np.float32), table, small, whole, at, end, row_at, out.view(np.float32))
    assert np.array_equal(out[0], whole[at : at + EIGHT])
    assert np.array_equal(out[1], table.view(np.int32)[7 * row_at :][:EIGHT])
    assert np.array_equal(out[2], small[at : at + EIGHT])
    places = at + np.arange(EIGHT)
    assert np.array_equal(out[3], np.where(places < end, whole[np.minimum(places, 29)], -1))


@compiled
def _until(row, at, out):
    put_eight(out, 0, bits(words_until(row, at, len(row))))


@pytest.mark.skipif(sys.platform != "linux", reason="makes memory that nobody may read")
@pytest.mark.parametrize("count", range(1, 9))
def test_words_behind_the_end_may_lie_where_nobody_may_read(count):
    """A read there ends the process."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    numbers = np.frombuffer(memory, np.int32)
    numbers[: page // 4] = np.arange(page // 4)
    behind = ctypes.c_void_p(numbers.ctypes.data + page)
    protect = ctypes.CDLL(None, use_errno=True).mprotect
    assert protect(behind, page, 0) == 0
    out, row = np.zeros(EIGHT, np.int32), numbers[: page // 4]
    _until(row, len(row) - count, out.view(np.float32))
    assert out.tolist() == [*range(len(row) - count, len(row)), *[-1] * (EIGHT - count)]
    assert protect(behind, page, mmap.PROT_READ | mmap.PROT_WRITE) == 0


@compiled
def _columns(table, places, at, out):
    pack = words(eight_from(places, at))
    first, second, third, fourth = columns(table, places, at, "b")
    put_eight(out[0], 0, first)
    put_eight(out[1], 0, second)
    put_eight(out[2], 0, third)
    put_eight(out[3], 0, fourth)
    first, second, third, fourth = columns(table, pack, 0, "d")
    put_eight(out[4], 0, first)
    put_eight(out[5], 0, second)
    put_eight(out[6], 0, third)
    put_eight(out[7], 0, fourth)
    first, _, _, fourth = columns(table, pack, 0, "a")
    put_eight(out[8], 0, first)
    put_eight(out[9], 0, fourth)


@FEW
@given(PLACES, st.integers(0, 8), st.integers(0, 2**32 - 1))
def test_columns_are_those_of_the_rows_that_are_named(places, at, seed):
    """By an array of places, and by a pack of them."""
    table, places = np.zeros(20, ROW), np.array(places, np.int32)
    table.view(np.int32)[:] = np.random.default_rng(seed).integers(-(2**31), 2**31, 140, dtype=np.int32)
    out = np.zeros((10, EIGHT), np.int32)
    _columns(table, places, at, out.view(np.float32))
    rows = table.view(np.int32).reshape(20, 7)[places[at : at + EIGHT]]
    assert np.array_equal(out, rows[:, [1, 2, 3, 4, 3, 4, 5, 6, 0, 3]].T)


@compiled
def _picked(floats, halves, small, wide, pairs, first, places, out):
    which = words(eight_from(places, 0))
    put_eight(out[0], 0, picked(floats, first, which))
    put_eight(out[1], 0, picked(halves, first, which))
    put_eight(out[2], 0, bits(picked(small, first, which)))
    put_eight(out[3], 0, bits(picked(wide, first, which)))
    one, other = picked(pairs, first, which)
    put_eight(out[4], 0, one)
    put_eight(out[5], 0, other)


@FEW
@given(PLACES, st.integers(0, 12), st.lists(WORD, min_size=32, max_size=32))
def test_entries_are_those_that_are_picked(places, first, numbers):
    whole, places = np.array(numbers, np.int32), np.array(places, np.int32)
    halves, small = whole.astype(np.uint16), whole.astype(np.int8)
    pairs = whole.astype(np.uint16).view(np.dtype([("one", np.int8), ("other", np.int8)]))
    out = np.zeros((6, EIGHT), np.float32)
    _picked(whole.view(np.float32), halves, small, whole, pairs, first, places, out)
    at = first + places[:EIGHT]
    assert same(out[0], whole.view(np.float32)[at]) and np.array_equal(out[1], halves[at])
    assert np.array_equal(out[2:4].view(np.int32), [small[at], whole[at]])
    assert np.array_equal(out[4:], [pairs["one"][at], pairs["other"][at]])


# Stores


@compiled
def _put(given, at, low, high, rows, out):
    packs = (
        eight_from(given[0], 0), eight_from(given[1], 0), eight_from(given[2], 0), eight_from(given[3], 0),
        eight_from(given[4], 0), eight_from(given[5], 0), eight_from(given[6], 0), eight_from(given[7], 0),
        eight_from(given[8], 0), eight_from(given[9], 0), eight_from(given[10], 0),
    )  # fmt: skip
    put_columns(out[4], at, packs[:4], low, high, rows)
    put_columns(out[5], at, packs[:5], low, high, rows)
    put_columns(out[6], at, packs[:6], low, high, rows)
    put_columns(out[7], at, packs[:7], low, high, rows)
    put_columns(out[8], at, packs[:8], low, high, rows)
    put_columns(out[9], at, packs[:9], low, high, rows)
    put_columns(out[10], at, packs[:10], low, high, rows)
    put_columns(out[11], at, packs, low, high, rows)


@FEW
@given(st.integers(0, 2**32 - 1), st.integers(0, 5), st.integers(-1, 12))
def test_columns_are_written_as_rows_and_nothing_beside_them(seed, at, rows):
    """Clipped; of more than eight rows eight, of less so many, of none nothing."""
    numbers = np.random.default_rng(seed).uniform(-2, 2, (11, EIGHT)).astype(np.float32)
    out = np.full((12, 100), np.nan, np.float32)
    _put(numbers, at, np.float32(-1), np.float32(1.5), rows, out)
    for count in range(4, 12):
        expected = np.full(100, np.nan, np.float32)
        clipped = np.clip(numbers[:count].T, np.float32(-1), np.float32(1.5))[: max(rows, 0)]
        expected[at : at + clipped.size] = clipped.ravel()
        assert same(out[count], expected)
