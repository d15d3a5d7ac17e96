"""Counting against hand-made steps, and intervals against published values."""

import numpy as np
import pytest

from gigaflow_env import Config, GigaflowVectorEnv
from gigaflow_train.evaluate.metrics import Estimate, Tally, ages_of, count, mean, proportion, rate, total


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


LIMIT = 8
RESPAWN, NEW_ROUTE = (Config(max_steps=LIMIT, on_route_done=what) for what in ("respawn", "new_route"))
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
    # Rows 4 and 5 are as old as a route may become: the others have begun in this step.
    age = np.where((np.arange(10) // 2 == 2), LIMIT - 1, 0)
    ages = ages_of(RESPAWN, age.copy(), age)
    assert count(ages, active, terminated, step(rows)["timeout"], step(rows)) == Tally(
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


def counted(config, *steps):
    """Tallies of one row; steps: what happens, "end" ends the episode."""
    ages = ages_of(config, np.zeros(1, int), np.zeros(1, int))
    found = []
    for now in steps:
        info = step([{now}])
        ended = np.array([now in ("collision", "end")])
        found.append(count(ages, np.ones(1, bool), ended & info["collision"], ended, info))
    return total(found)


def test_a_route_that_lasts_too_long_has_timed_out():
    """With a new route in the same episode half of it, and then its end is no second one."""
    assert counted(RESPAWN, *[""] * (LIMIT - 1)).routes == 0
    alone = counted(RESPAWN, *[""] * (LIMIT - 1), "end")
    assert (alone.routes, alone.timed_out) == (1, 1)
    half = LIMIT // 2
    for end in ("route_done", "collision", "end"):
        long = counted(NEW_ROUTE, *[""] * half, end)
        assert (long.routes, long.timed_out, long.completed, long.collided) == (1, 1, 0, 0)
    assert counted(NEW_ROUTE, *[""] * (half - 1), "route_done").completed == 1


def test_what_the_end_of_an_episode_cuts_off_counts_in_no_way():
    half = LIMIT // 2
    early = [*[""] * (half - 1), "route_done"]
    # The second route begins in the middle, and has its half. One that begins later is not counted, whatever becomes of it.
    both = counted(NEW_ROUTE, *early, *[""] * (half - 1), "end")
    assert (both.routes, both.completed, both.timed_out) == (2, 1, 1)
    for then in ("route_done", "collision", "end"):
        late = counted(NEW_ROUTE, *early, "route_done", "", then)
        assert (late.routes, late.completed) == (2, 2)
    # The next episode begins anew.
    assert counted(NEW_ROUTE, *early, "route_done", "end", "route_done").completed == 3


def test_ages_are_those_of_the_environment():
    """Where an episode is one route, time-outs are what the environment says."""
    env = GigaflowVectorEnv(64, map="loop", preset="laptop", config={"max_steps": 12, "agents_per_world": 4}, threads=1)
    _, info = env.reset(seed=2)
    ages = ages_of(env.config, np.zeros(64, int), np.zeros(64, int))
    timeouts = 0
    for action in np.random.default_rng(2).integers(0, 12, (60, 64)):
        active = info["active"]
        _, _, terminated, truncated, info = env.step(action)
        found = count(ages, active, terminated, truncated, info)
        cut = active & info["timeout"] & ~terminated
        timeouts += int(cut.sum())
        assert found.timed_out == cut.sum()
    assert timeouts > 100
    env.close()


def test_tallies_add_up():
    assert total([Tally(steps=2, distance=1.5), Tally(steps=3, distance=0.25, routes=1)]) == Tally(5, 1.75, 1)
