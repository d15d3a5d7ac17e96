"""Arrays that are handed out without a copy: nobody sees what a later step writes, and memory is used again."""

import copy

import numpy as np
import pytest

from gigaflow_env.output.buffers import KEPT, Buffers


@pytest.fixture
def buffers():
    return Buffers(np.zeros((2, 3, 4), np.float32))


@pytest.mark.parametrize("view", [lambda x: x, lambda x: x.reshape(6, 4)[:5], lambda x: x[1].T[2:], np.asarray])
def test_what_is_held_is_not_written(buffers, view):
    held = view(buffers.hand_out())
    assert not np.shares_memory(buffers.next(), held)
    buffers.next()[...] = 1
    assert not held.any()


def test_what_nobody_holds_is_written_again(buffers):
    first = buffers.next()
    assert buffers.next() is first, "it was not handed out"
    held = buffers.hand_out()
    second = buffers.next()
    del held
    buffers.hand_out()
    assert buffers.next() is first and first is not second


def test_a_loop_that_holds_two_needs_three(buffers):
    used, before = set(), None
    for _ in range(20):
        used.add(id(buffers.next()))
        now = buffers.hand_out()
        before, now = now, before
    assert before is not None and len(used) == 3


def test_who_collects_them_gets_new_ones_and_frees_them(buffers):
    held = []
    for k in range(3 * KEPT):
        buffers.next()[...] = k
        held.append(buffers.hand_out())
    assert [one.max() for one in held] == list(range(3 * KEPT))
    assert len(buffers._handed) <= KEPT + 1


def test_in_a_copy_nothing_is_held(buffers):
    buffers.hand_out()
    held = buffers.hand_out()
    other = copy.deepcopy(buffers)
    assert other.next() is other.next() and not np.shares_memory(other.next(), held)
