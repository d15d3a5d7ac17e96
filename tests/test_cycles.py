"""Cycles of waiting: on any graph of who waits for whom, somebody goes, and never two of one cycle."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gigaflow_env.jit import kernel
from gigaflow_env.sim.traffic.cycles import BACK, STAY, YIELD, turn_of
from gigaflow_env.state import IDM, LIVE, make

AGENTS = 9


@kernel
def _turns(stood, rows, traffic, out):
    for a in range(len(out)):
        out[a] = turn_of(0, a, stood, rows, traffic)


def turns(names, hows, stood=30.0):
    """Who has its turn, where agent a waits for names[a] (-1: nobody), all for so many seconds."""
    state = make(1, AGENTS, 1, 0, 0, 1, 1)
    state.rows.status[:], state.rows.driver[:], state.rows.steps[:] = LIVE, IDM, 50
    state.traffic.waits_for[0], state.traffic.waits_how[0] = names, hows
    out = np.zeros(AGENTS, np.bool_)
    _turns(np.float32(stood), state.rows, state.traffic, out)
    return out


def cycles(names):
    """All cycles, as sorted lists."""
    found = set()
    for a in range(AGENTS):
        seen = []
        while a >= 0 and a not in seen:
            seen.append(a)
            a = names[a]
        if a >= 0:
            found.add(tuple(sorted(seen[seen.index(a) :])))
    return found


graphs = st.lists(st.integers(-1, AGENTS - 1), min_size=AGENTS, max_size=AGENTS)
kinds = st.lists(st.sampled_from([YIELD, BACK, STAY]), min_size=AGENTS, max_size=AGENTS)


@settings(deadline=None)
@given(graphs, kinds)
def test_in_each_cycle_one_goes_that_can_and_the_gentlest(names, hows):
    found = turns(names, hows)
    rings = cycles(names)
    for ring in rings:
        going = [a for a in ring if found[a]]
        able = [a for a in ring if hows[a] != STAY]
        assert going == ([min(able, key=lambda a: (hows[a], a))] if able else [])
    outside = set(range(AGENTS)) - {a for ring in rings for a in ring}
    for a in outside:  # only who stands behind a cycle in which nobody can move, and has room to back up
        at, behind = a, False
        for _ in range(AGENTS):
            at = names[at]
            if at < 0:
                break
        behind = at >= 0 and hows[a] != STAY and all(hows[b] == STAY for ring in rings if at in ring for b in ring)
        assert found[a] == behind


@settings(deadline=None)
@given(st.lists(st.integers(0, AGENTS - 1), min_size=AGENTS, max_size=AGENTS), kinds)
def test_where_nobody_moves_somebody_has_a_turn_if_anyone_in_a_cycle_can(names, hows):
    """Each waits for one that waits: there is a cycle, so no state lasts in which a driver could end it."""
    rings = cycles(names)
    assert rings
    if any(hows[a] != STAY for ring in rings for a in ring):
        assert turns(names, hows).any()


def test_nobody_has_a_turn_before_it_has_stood_for_a_while_or_behind_one_that_moves():
    ring = [1, 2, 0, -1, 3, 4, -1, -1, -1]
    assert not turns(ring, [YIELD] * AGENTS, stood=1.9).any()
    assert turns(ring, [YIELD] * AGENTS).tolist() == [True] + [False] * 8
    assert turns([0] + [-1] * 8, [BACK] * AGENTS).tolist() == [True] + [False] * 8  # in its own way: it backs up
