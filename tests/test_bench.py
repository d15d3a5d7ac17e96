"""The throughput harness: every stage has a time, and the environment is what it was."""

import numpy as np
import pytest

from gigaflow_env import GigaflowVectorEnv
from gigaflow_env.bench import stages, throughput

SOME = ["move", "select_lane_samples", "observe_stops", "respawn"]
"""Of one agent, of one whose row workers share, of one block, and of those whose episode ended: each is compiled anew."""


@pytest.fixture(scope="module")
def measured():
    env = GigaflowVectorEnv(64, map="loop", preset="laptop", agents_per_world=8, threads=2, copy=False)
    rate = throughput.steps_per_s(env, 10)
    return env, rate, stages.stage_times(env.simulator, SOME)


def test_stages_take_time(measured):
    env, rate, times = measured
    assert list(times) == SOME
    assert all(0.1 < ns < 1e5 for ns in times.values()), times
    assert 1e3 < rate < 1e9


def test_the_environment_goes_on(measured):
    env, *_ = measured
    assert env.simulator.threads == 2
    observations, *_ = env.step(np.full(64, 7))
    assert np.isfinite(observations).all()
