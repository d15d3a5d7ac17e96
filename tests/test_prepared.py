"""Kernels whose arguments are prepared once: they see what they would see as arguments, and nothing that is not there."""

from typing import NamedTuple

import numpy as np
import pytest
from conftest import ring, simulator

from gigaflow_env.backend.world_step import parameters
from gigaflow_env.declare import allocate, array
from gigaflow_env.jit import distinct, f32
from gigaflow_env.layout import NO_JERK
from gigaflow_env.prepared import SHARED, Table, arguments, bind, prepared, shared_axes

WORLDS, AGENTS = 3, 5


class Things(NamedTuple):
    """All kinds of arrays: with both shared axes, with one, with none."""

    each: np.ndarray = array("world agent", "", "")
    several: np.ndarray = array("world agent goal", "", "")
    small: np.ndarray = array("world", "", "", np.int8)
    moments: np.ndarray = array("world moment agent", "", "", np.bool_)
    other: np.ndarray = array("entry", "", "", np.uint16)


class Numbers(NamedTuple):
    share: np.float32
    count: np.int32


def work(begin, end, factor, out, things, numbers, nothing, also):
    for w in range(begin, end):
        for a in range(things.each.shape[1]):
            out[w, a] = factor * things.each[w, a] + numbers.share + f32(numbers.count) + f32(things.small[w])
            for k in range(things.several.shape[2]):
                out[w, a] += things.several[w, a, k]
            if things.moments[w, 1, a] and nothing is None:
                out[w, a] += f32(things.other[len(things.other) - 1]) + also.each[w, a]


def made(seed):
    rng = np.random.default_rng(seed)
    group = allocate(Things, {"world": WORLDS, "agent": AGENTS, "goal": 2, "moment": 4, "entry": 7})
    for one in group:
        one[...] = rng.integers(0, 2 if one.dtype == np.bool_ else 100, one.shape)
    return group


def given():
    return [f32(2), np.zeros((WORLDS, AGENTS), np.float32), made(0), Numbers(f32(0.5), np.int32(3)), None, made(1)]


@pytest.mark.parametrize("kind", [prepared, lambda function: prepared(function, inlined=distinct)])
def test_a_prepared_kernel_sees_its_arguments(kind):
    expected, found = given(), given()
    work(0, WORLDS, *expected)
    call = bind(kind(work), found)
    call(0, 0)
    assert not found[1].any()
    for w in range(WORLDS):
        call(w, w + 1)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6)
    found[2].each[:] += 1  # the same memory, and not what it was
    call(0, WORLDS)
    np.testing.assert_allclose(found[1], expected[1] + 2, rtol=1e-6)


def test_loose_arguments_come_before_groups():
    loose, table = arguments(given())
    assert len(loose) == 2 and len(table.groups) == 4
    assert parameters(prepared(work))[:2] == ("begin", "end")
    assert [table.size(axis) for axis in SHARED] == [WORLDS, AGENTS]


def test_only_first_axes_are_shared():
    assert shared_axes(Things) == [2, 2, 1, 1, 0] and shared_axes(Numbers) == [0, 0]


def test_what_does_not_fit_is_refused():
    one, two = made(0), made(1)
    with pytest.raises(ValueError, match="an array has 4 of axis 'agent', and another one 5"):
        Table([one, two._replace(each=np.zeros((WORLDS, 4), np.float32))])
    with pytest.raises(ValueError, match="must be contiguous"):
        Table([one._replace(each=np.zeros((AGENTS, WORLDS), np.float32).T)])


def test_a_step_works_on_the_arrays_that_are_there_now():
    """Also where a group was replaced, or what the step writes to."""
    sim = simulator(ring(), 4)
    actions = np.full(sim.rows, NO_JERK)
    sim.step(actions)
    before, x = sim.observations.copy(), sim.state.pose.x.copy()
    sim.state = sim.state._replace(pose=type(sim.state.pose)(*(one.copy() for one in sim.state.pose)))
    old, sim.observations = sim.observations, np.zeros_like(sim.observations)
    sim.step(actions)
    assert (sim.state.pose.x != x).any(), "the new arrays move on"
    assert sim.observations.any() and np.array_equal(old, before), "the old ones are left alone"
