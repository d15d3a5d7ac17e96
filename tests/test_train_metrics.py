"""Counting against hand-made steps, and intervals against published values."""

import numpy as np
import pytest

from gigaflow_train.evaluate.metrics import Estimate, Tally, count, mean, proportion, rate, total


@pytest.mark.parametrize(
    "successes, trials, low, high",  # R. G. Newcombe, Statistics in Medicine 17 (1998), table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson(successes, trials, low, high):
    found = proportion(successes, trials)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    assert found.value == successes / trials
    mirrored = proportion(trials - successes, trials)
    assert (1 - mirrored.high, 1 - mirrored.low) == pytest.approx((found.low, found.high), abs=1e-12)


@pytest.mark.parametrize(
    "events, low, high",  # half of chi-square quantiles, as tabulated for exact Poisson limits
    [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (5, 1.6235, 11.6683), (10, 4.7954, 18.3904), (100, 81.3640, 121.6268)],
)
def test_garwood(events, low, high):
    found = rate(events, 1.0)
    assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)
    per_two = rate(events, 2.0)
    assert per_two == Estimate(events / 2, found.low / 2, found.high / 2, events)


def test_garwood_of_many_events_is_nearly_normal():
    found = rate(1_000_000, 1.0)
    assert found.low == pytest.approx(1e6 - 1.96e3, rel=1e-5)
    assert found.high == pytest.approx(1e6 + 1.96e3, rel=1e-5)


def test_nothing_observed():
    assert proportion(0, 0) == Estimate(None, 0.0, 1.0, 0)
    assert rate(0, 0.0) == Estimate(None, 0.0, None, 0)
    assert mean(np.array([])) == Estimate(None, None, None, 0)
    assert mean(np.array([2.0])) == Estimate(2.0, None, None, 1)


def test_mean_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(0)
    found = [mean(generator.normal(3.0, 2.0, 100)) for _ in range(1000)]
    covered = sum(e.low < 3.0 < e.high for e in found)
    assert 930 <= covered <= 970


EVENTS = ("collision", "offroad", "red_light", "goal", "route_done", "timeout")


def step(rows, **events):
    info = {name: np.array([name in row for row in rows]) for name in EVENTS}
    return info | {"distance": np.arange(len(rows), dtype=np.float32)}


def test_a_route_ends_once_and_a_crash_comes_first():
    rows = [
        {"collision"},  # terminated: a crash
        {"collision", "offroad"},  # both at once: one route, in both counts
        {"route_done", "goal"},
        {"route_done", "goal", "offroad"},  # crashed at its goal
        {"timeout"},
        {"timeout", "collision"},
        {"goal"},  # a way-point
        {"red_light"},
        {"collision"},  # the episode goes on: an event, no end
        {"collision", "route_done", "red_light", "timeout", "goal"},  # not active: nothing
    ]
    terminated = np.array([True, True, True, True, False, True, False, False, False, True])
    active = np.arange(10) < 9
    assert count(active, terminated, step(rows)) == Tally(
        steps=9,
        distance=36.0,
        routes=6,
        completed=1,
        collided=3,
        left_road=2,
        timed_out=1,
        collisions=4,
        offroads=2,
        red_lights=1,
        goals=3,
    )


def test_tallies_add_up():
    assert total([Tally(steps=2, distance=1.5), Tally(steps=3, distance=0.25, routes=1)]) == Tally(5, 1.75, 1)
