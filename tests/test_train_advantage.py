"""Advantages and the filter, against numbers worked out by hand."""

import math

import pytest
import torch

from gigaflow_train.advantage import gae, keep_informative


def column(*numbers, dtype=torch.float32):
    return torch.tensor(numbers, dtype=dtype)[:, None]


def estimate(*, reward=(1.0, 2.0, 3.0), ended=(0, 0, 0), value=(4.0, 2.0, 2.0, 8.0)):
    return gae(
        column(*reward), column(*value), column(*ended, dtype=torch.bool), discount=0.5, trace=0.5
    ).flatten()  # fmt: skip


def test_an_episode_that_goes_on():
    # deltas 1 + 2/2 - 4 = -2, 2 + 2/2 - 2 = 1, 3 + 8/2 - 2 = 5; each adds a quarter of the next advantage
    assert estimate().tolist() == [-1.4375, 2.25, 5.0]


def test_an_episode_that_has_ended_is_worth_its_last_reward():
    assert estimate(ended=(0, 1, 0)).tolist() == [-2.0, 0.0, 5.0]


def test_a_truncated_episode_is_worth_its_last_observation():
    # V(last observation) = 6, and discount * 6 = 3 is part of the reward
    assert estimate(ended=(0, 1, 0), reward=(1.0, 5.0, 3.0)).tolist() == [-1.25, 3.0, 5.0]


def test_what_a_waiting_row_holds_does_not_reach_the_episode_before():
    calm, wild = estimate(ended=(1, 0, 0)), estimate(ended=(1, 0, 0), value=(4.0, -1e6, 1e6, 8.0))
    assert calm[0] == wild[0]


def test_rows_do_not_mix():
    torch.manual_seed(0)
    reward, value, ended = torch.randn(6, 3), torch.randn(7, 3), torch.rand(6, 3) < 0.3
    together = gae(reward, value, ended, discount=0.9, trace=0.8)
    for row in range(3):
        one = [part[:, row : row + 1] for part in (reward, value, ended)]
        assert torch.equal(gae(*one, discount=0.9, trace=0.8), together[:, row : row + 1])


ADVANTAGE = torch.tensor([4.0, 0.039, -0.041, -0.5, 100.0, 0.0])
LEARNS = torch.tensor([True, True, True, True, False, True])


def keep(advantage=ADVANTAGE, learns=LEARNS, largest=None, share=0.01, rate=0.25, least=0.0):
    return keep_informative(advantage, learns, largest, share=share, rate=rate, least=least)


def test_the_filter_drops_small_advantages_of_both_signs_and_inactive_rows():
    filtered = keep()
    assert filtered.largest == 4.0  # the first maximum, and not the inactive row's 100
    assert filtered.threshold == pytest.approx(0.04)
    assert filtered.keep.tolist() == [0, 2, 3]


def test_the_running_maximum_moves_by_a_quarter():
    assert keep(largest=8.0).largest == pytest.approx(0.25 * 4.0 + 0.75 * 8.0)
    assert keep(largest=8.0).threshold == pytest.approx(0.07)
    assert keep(largest=8.0).keep.tolist() == [0, 3]


def test_an_exploded_advantage_does_not_starve_the_update():
    assert keep(largest=1e6).keep.tolist() == [0]  # one sample at least
    assert keep(largest=1e6, least=0.4).keep.tolist() == [0, 3]  # the largest two of the five active ones


def test_a_share_of_zero_keeps_every_active_sample():
    assert keep(share=0.0).keep.tolist() == [0, 1, 2, 3, 5]


def test_nothing_to_learn_from_is_an_error():
    with pytest.raises(ValueError, match="no row was there to learn from"):
        keep(learns=torch.zeros_like(LEARNS))


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_what_is_not_finite_is_told_and_does_not_stay(bad):
    advantage = ADVANTAGE.clone()
    advantage[0] = bad
    filtered = keep(advantage=advantage, largest=3.0)
    assert not math.isfinite(filtered.spike) and filtered.largest == 3.0 and len(filtered.keep) == 0
