"""The easy task: who does not look at the road does not pass for having learned."""

import numpy as np
import pytest

from gigaflow_env.bench.easy import Rates, learned, rates
from gigaflow_env.layout import ACTIONS, NO_JERK

RANDOM = Rates(0.0, 73.0)
ROWS, STEPS = 48, 100


@pytest.mark.parametrize("action", range(ACTIONS))
def test_no_constant_action_is_learning(action):
    found = rates(lambda seen: np.full(len(seen), action), rows=ROWS, steps=STEPS)
    assert not learned(RANDOM, found), found


@pytest.mark.parametrize("seed", range(6))
def test_no_random_mixture_of_actions_is_learning(seed):
    """Some of the mixtures hardly ever steer, which crashes least."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(ACTIONS, 0.2))
    if seed % 2:
        shares = np.zeros(ACTIONS)
        shares[NO_JERK], shares[NO_JERK + 3] = 1 - 0.15 * seed, 0.15 * seed
    found = rates(lambda seen: rng.choice(ACTIONS, len(seen), p=shares), rows=ROWS, steps=STEPS)
    assert not learned(RANDOM, found), found


def test_what_is_learning():
    assert learned(RANDOM, Rates(30.0, 29.0))
    assert not learned(RANDOM, Rates(30.0, 60.0)) and not learned(RANDOM, Rates(3.0, 10.0))
    assert not learned(Rates(20.0, 30.0), Rates(20.0, 30.0)), "who starts as a good one has not learned"


def test_rates_are_those_of_the_events():
    """The same worlds at every call; with actions of both kinds."""

    def act(seen):
        return np.full(len(seen), NO_JERK)

    first = rates(act, rows=ROWS, steps=STEPS)
    assert first == rates(act, rows=ROWS, steps=STEPS) and first.crashes > 5
    same = rates(lambda seen: np.zeros((len(seen), 2), np.float32), action="continuous", rows=ROWS, steps=STEPS)
    assert same == first, "no jerk is no jerk"
