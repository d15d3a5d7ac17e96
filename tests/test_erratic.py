"""Erratic drivers: how many, how long and how often; who they are is known to a trainer and nobody else."""

import numpy as np
import pytest
from conftest import aim_at, call, clear, place, reals, ring, run, simulator
from hypothesis import given
from hypothesis import strategies as st

from gigaflow_env.config import Config, laptop
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.layout import Layout
from gigaflow_env.sim.erratic import INATTENTIVE, PHANTOM, errs_in_window

SMALL = {"lane_count": 1, "boundary_count": 1, "stop_count": 1}
KEEP = 7


def test_shares():
    """4000 agents: 5 % and 10 %, independent of each other, drawn anew with every episode."""
    config = Config(**SMALL, agents_per_world=1, inattentive=0.05, phantom=0.1, max_steps=2)
    sim = simulator(ring(), 4000, config)
    first = sim.state.rows.erratic[:, 0].copy()
    for bit, share in ((INATTENTIVE, 0.05), (PHANTOM, 0.1)):
        assert abs(((first & bit) > 0).mean() - share) < 4 * np.sqrt(share * (1 - share) / 4000)
    assert abs((first == INATTENTIVE | PHANTOM).mean() - 0.005) < 0.005
    for _ in range(2):
        sim.step(np.full(4000, KEEP))
    second = sim.state.rows.erratic[:, 0]
    assert (sim.state.rows.episode[:, 0] == 2).all() and abs(np.corrcoef(first > 0, second > 0)[0, 1]) < 0.06


def blind_steps(sim, steps):
    """Which agents saw nobody, (steps, worlds, agents), while all stand."""
    seen = []
    for _ in range(steps):
        sim.state.clock.tick[:] += 1
        for w in range(sim.worlds):
            run("find_neighbours", sim, w=w)
        seen.append((sim.state.neighbours.agent[..., 0] < 0).copy())
    return np.array(seen)


def test_inattentive_agents_see_nobody_at_times():
    config = laptop().replace(agents_per_world=2, inattentive=1.0, view_range=1000.0, first_goal="map")
    sim = simulator(ring(), 200, config)
    blind = blind_steps(sim, 400)
    assert abs(blind.mean() - 0.5) < 0.03
    # Moments of 3 s are windows of 10 steps: nobody changes between two of them.
    changes = np.diff(blind.astype(int), axis=0) != 0
    phase = (np.arange(2, 401)[:, None] + sim.state.clock.tick[0] - 400 + 13 * np.arange(2)) % 10
    assert changes.any() and not (changes & (phase[:, None] != 0)).any()


def test_the_attentive_see_all_the_time():
    sim = simulator(ring(), 20, laptop().replace(agents_per_world=2, view_range=1000.0))
    assert not blind_steps(sim, 50).any()


def test_a_blind_agent_is_told_that_there_is_nobody():
    config = laptop().replace(agents_per_world=2, inattentive=1.0, inattentive_share=1.0, view_range=1000.0)
    sim = simulator(ring(), 2, config)
    assert not Layout(config).split(sim.observations).agents.any()


def test_phantom_braking_on_paper():
    """From 10 m/s and with jerk 0 as the action: 4.5 m/s^2 after the first step, then 5; and no rolling back."""
    config = laptop().replace(agents_per_world=1, phantom=1.0, phantom_share=1.0)
    sim = simulator(ring(), 1, config)
    clear(sim)
    place(sim, 0, 20.0, -10.0, speed=10.0)
    aim_at(sim, 0, ("west", 100.0))
    sim.actions[:] = KEEP
    speeds = []
    for _ in range(12):
        run("decide", sim)
        run("move", sim)
        speeds.append(float(sim.state.motion.speed[0, 0]))
    assert speeds[:3] == pytest.approx([9.325, 7.9, 6.4], rel=1e-5)
    assert speeds[-1] == 0 and min(speeds) == 0 and sim.state.motion.acceleration[0, 0] == 0
    sim.actions[:] = 10  # it drives on when it wants to
    run("decide", sim)
    run("move", sim)
    assert sim.state.motion.speed[0, 0] > 0


def test_phantom_moments():
    """8 % of the time, in windows of 4 steps."""
    config = laptop().replace(agents_per_world=1, phantom=1.0)
    sim = simulator(ring(), 300, config)
    brakes = []
    for _ in range(100):
        sim.state.clock.tick[:] += 1
        sim.state.motion.speed[:] = 10
        sim.actions[:] = KEEP
        for w in range(300):
            run("decide", sim, w=w)
            run("move", sim, w=w)
        brakes.append((sim.state.motion.jerk[:, 0] == -15).copy())
    brakes = np.array(brakes)
    assert abs(brakes.mean() - 0.08) < 0.01
    starts = np.flatnonzero((brakes[1:] & ~brakes[:-1]).any(axis=1)) + 1
    assert len(set(starts % 4)) == 1


def test_info_names_them():
    config = laptop().replace(agents_per_world=8, inattentive=0.3, phantom=0.3)
    env = GigaflowVectorEnv(400, map=ring(), config=config, threads=1)
    _, info = env.reset(seed=0)
    assert info["erratic"].dtype == bool and 0.4 < info["erratic"].mean() < 0.6
    *_, info = env.step(np.full(400, KEEP))
    assert np.array_equal(info["erratic"], env.simulator.per_row(env.simulator.state.rows.erratic != 0))


def test_bad_shares():
    with pytest.raises(ValueError, match=r"phantom=1.5: must be 0 to 1"):
        laptop().replace(phantom=1.5)


@given(st.integers(0, 9), st.integers(0, 200), st.integers(0, 100_000), st.integers(1, 20), reals(0, 1), reals(0, 1))
def test_a_moment_lasts_a_window_and_more_share_has_all_of_less(world, a, tick, steps, one, other):
    """Windows of `steps` steps; 0 is never and 1 is always; a moment of a share is one of any larger share."""
    seed = np.array([3, 4], np.uint32)

    def within(tick, share):
        return call(errs_in_window)(seed, world, a, tick, steps, share, PHANTOM)

    assert not within(tick, 0.0) and within(tick, 1.0)
    low, high = sorted((one, other))
    assert within(tick, high) or not within(tick, low)
    flags = [within(tick + k, high) for k in range(3 * steps)]
    changes = [k for k in range(1, len(flags)) if flags[k] != flags[k - 1]]
    assert all((tick + k + 13 * a) % steps == 0 for k in changes), "windows of agents differ by 13 steps"
