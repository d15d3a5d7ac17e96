"""What follows a crash: a new place, a wreck in the way, or nothing but a penalty."""

import numpy as np
import pytest
from conftest import aim_at, clear, place, ring, simulator

from gigaflow_env.config import laptop
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.layout import NO_JERK
from gigaflow_env.state import ABSENT, FROZEN, LIVE, WAITING


def crash(on_crash="freeze", **changes):
    """Two cars that have just met on the ring, and one 100 m behind them."""
    config = laptop().replace(agents_per_world=3, on_crash=on_crash, world_stagger=0.0, view_range=200.0, **changes)
    sim = simulator(ring(), 3, config)
    clear(sim)
    for a, (x, speed) in enumerate(((120.0, 0.0), (116.0, 0.0), (20.0, 8.0))):
        place(sim, a, x, -10.0, speed=speed)
        aim_at(sim, a, ("west", 100.0))
    sim.step(np.full(3, NO_JERK))
    assert sim.state.events.collision[0].tolist() == [True, True, False]
    return sim


def test_wrecks_stand():
    sim = crash()
    state = sim.state
    assert state.outcome.terminated[0].tolist() == [True, True, False]
    assert state.rows.status[0].tolist() == [FROZEN, FROZEN, LIVE]
    assert state.outcome.active[0].tolist() == [False, False, True]
    before = state.pose.x[0].copy()
    for _ in range(3):
        sim.step(np.full(3, 10))
    assert state.pose.x[0, :2].tolist() == before[:2].tolist() and not state.motion.distance[0, :2].any()
    assert not state.outcome.reward[0, :2].any() and not state.outcome.terminated[0, :2].any()
    assert not sim.observations[0, :2].any()


def test_others_see_wrecks_and_run_into_them():
    sim = crash()
    assert set(sim.state.neighbours.agent[0, 2, :2].tolist()) == {0, 1}
    for _ in range(40):
        sim.step(np.full(3, NO_JERK))
        if sim.state.events.collision[0, 2]:
            break
    # Centers 4.5 m apart: the front meets the hindmost wreck.
    assert sim.state.rows.status[0, 2] == FROZEN and 111 < sim.state.pose.x[0, 2] + sim.roads.origins[0, 0] < 116
    assert not sim.state.events.collision[0, :2].any()


def test_nobody_starts_in_a_wreck():
    config = laptop().replace(agents_per_world=30, on_crash="freeze")
    sim = simulator(ring(), 60, config)
    rng = np.random.default_rng(0)
    for _ in range(60):
        sim.step(rng.integers(0, 12, 60))
        fresh = (sim.state.rows.status == LIVE) & (sim.state.rows.steps == 0)
        assert not fresh.any()
    assert (sim.state.rows.status == FROZEN).mean() > 0.5


def test_a_wreck_is_towed_after_its_time():
    """1.5 s are 5 steps."""
    sim = crash(freeze_time=1.5)
    for _ in range(4):
        sim.step(np.full(3, NO_JERK))
        assert (sim.state.rows.status[0, :2] == FROZEN).all()
    sim.step(np.full(3, NO_JERK))
    assert (sim.state.rows.status[0, :2] == LIVE).all() and (sim.state.rows.episode[0, :2] == 2).all()


def test_the_end_of_the_world_tows_all():
    sim = crash(world_steps=6)
    for step in range(5):
        assert (sim.state.rows.status[0, :2] == FROZEN).all(), step
        sim.step(np.full(3, NO_JERK))
    assert (sim.state.rows.status[0] >= WAITING).all() and not (sim.state.rows.status[0] == FROZEN).any()
    assert sim.state.outcome.truncated[0].tolist() == [False, False, True]


def test_who_leaves_is_gone():
    sim = crash("leave")
    state = sim.state
    assert state.outcome.terminated[0].tolist() == [True, True, False]
    assert state.rows.status[0].tolist() == [ABSENT, ABSENT, LIVE]
    assert state.outcome.active[0].tolist() == [False, False, True] and not sim.observations[0, :2].any()
    assert (state.neighbours.agent[0, 2] < 0).all(), "the third sees nobody any more"
    ways = []
    for _ in range(50):  # through the place of the accident
        sim.step(np.full(3, NO_JERK))
        ways.append(float(state.pose.x[0, 2] + sim.roads.origins[0, 0]))
        if state.rows.status[0, 2] != LIVE:
            break
        assert not state.events.collision.any()
    assert max(ways) > 125


@pytest.mark.parametrize("changes", [{"max_steps": 5}, {"on_route_done": "respawn", "goal_speed": 30.0}])
def test_with_leave_any_end_is_for_good(changes):
    """Who ran out of time or has arrived is gone like who crashed, until the world ends and all are there again."""
    sim = crash("leave", world_steps=30, **changes)
    ends = sim.state.outcome.terminated[0] | sim.state.outcome.truncated[0]
    over = np.zeros(3, bool) | ends
    if "max_steps" not in changes:
        aim_at(sim, 2, ("east", 60.0))  # the final goal, ahead of it
    for _ in range(28):
        sim.step(np.full(3, NO_JERK))
        ended = sim.state.outcome.terminated[0] | sim.state.outcome.truncated[0]
        assert not (ended & over).any()
        over |= ended
        assert ((sim.state.rows.status[0] == ABSENT) == over).all()
    assert over.all()
    sim.step(np.full(3, NO_JERK))
    assert (sim.state.rows.status[0] >= WAITING).all() and sim.state.clock.step[0] == 0


@pytest.mark.parametrize(("on_crash", "ends"), [("continue", False), ("respawn", True)])
def test_the_other_ways(on_crash, ends):
    sim = crash(on_crash)
    assert sim.state.outcome.terminated[0].tolist() == [ends, ends, False]
    assert (sim.state.rows.status[0] == LIVE).all()
    assert (sim.state.rows.episode[0, :2] == (2 if ends else 1)).all()


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
@pytest.mark.parametrize(("on_crash", "after"), [("freeze", FROZEN), ("leave", ABSENT)])
def test_all_modes_freeze_or_leave(on_crash, after, mode):
    """Frozen and absent rows are not active, end nothing, and stay until the world ends."""
    config = laptop().replace(agents_per_world=20, on_crash=on_crash, world_steps=40, world_stagger=0.0)
    env = GigaflowVectorEnv(40, map=ring(), config=config, autoreset_mode=mode, threads=1)
    _, info = env.reset(seed=1)
    rng, status = np.random.default_rng(0), env.simulator.state.rows.status
    for step in range(85):
        before, wrecks = info["active"], env.simulator.per_row(status == after)
        obs, reward, terminated, truncated, info = env.step(rng.integers(0, 12, 40))
        done = terminated | truncated
        assert not (done & ~before).any() and not (wrecks & (done | (reward != 0))).any(), step
        if mode == "Disabled" and done.any():
            obs, info = env.reset(options={"reset_mask": done})
        if step in (35, 75):
            assert (status == after).mean() > 0.5
        if step == 42:
            assert (status == after).mean() < 0.5
    assert env.simulator.state.clock.step[0] < 10
