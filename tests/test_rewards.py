"""The ten terms of Table A2 against numbers from paper, the end of episodes, and their statistics."""

import math

import numpy as np
import pytest
from conftest import call, place, reals, ring, run, simulator
from hypothesis import given

from gigaflow_env.config import CONDITIONING, Config
from gigaflow_env.jit import kernel
from gigaflow_env.sim.rewards import comfort, lane_align, lane_center, velocity
from gigaflow_env.state import ENDED, LIVE, WAITING, Events

DT = 0.3
SMALL = {"lane_count": 1, "boundary_count": 1, "stop_count": 1, "agent_count": 0, "agents_per_world": 1}


@pytest.fixture(scope="module")
def sim():
    return simulator(ring(), 1, Config(**SMALL, on_crash="continue"))


def reward(sim, coefficients, *, angle=0.0, offset=0.0, gained=0.0, events=(), **motion):
    """Reward of one step; every coefficient that is not named is 0."""
    place(sim, 0, 50, -10)
    state = sim.state
    for event in state.events:
        event[:] = False
    for name in events:
        getattr(state.events, name)[:] = True
    for name, value in motion.items():
        getattr(state.motion, name)[:] = value
    state.lane_position.cos[:], state.lane_position.angle[:], state.lane_position.offset[:] = math.cos(angle), angle, offset
    state.goals.gained[:] = gained
    state.reward_weights.coefficients[:] = [coefficients.get(name, 0.0) for name in CONDITIONING]
    state.rows.steps[:], state.clock.step[:], state.rows.status[:] = 0, 0, LIVE
    run("score", sim)
    return float(state.outcome.reward[0, 0])


CASES = {
    # Goal: 1 for each.
    "goal": ({}, {"events": ["goal"]}, 1.0),
    "no goal": ({}, {}, 0.0),
    # Collision: -(3 + 0.1 * 10), also backwards.
    "collision": ({"collision": 3.0}, {"events": ["collision"], "speed": 10.0}, -4.0),
    "collision backwards": ({"collision": 0.5}, {"events": ["collision"], "speed": -2.0}, -0.7),
    "offroad": ({"offroad": 2.5}, {"events": ["offroad"], "speed": 10.0}, -2.5),
    "stop line": ({"stop_line": 0.75}, {"events": ["red_light"], "speed": 10.0}, -0.75),
    # Comfort: each of acceleration, lateral acceleration and jerk.
    "gentle": ({"comfort": 0.1}, {"acceleration": 3.0, "lateral": -3.0, "jerk": 5.0, "side_jerk": -4.0}, 0.0),
    "acceleration": ({"comfort": 0.1}, {"acceleration": -3.1}, -0.1),
    "lateral": ({"comfort": 0.1}, {"lateral": -3.1}, -0.1),
    "jerk": ({"comfort": 0.1}, {"jerk": -15.0}, -0.1),
    "jerk of both axes": ({"comfort": 0.1}, {"jerk": 4.0, "side_jerk": 4.0}, 0.0),  # 5.66 as a vector; it counts per axis
    "all three": ({"comfort": 0.1}, {"acceleration": -5.0, "lateral": 4.0, "jerk": -15.0}, -0.3),
    # Lane alignment: 0.02 * 0.3 * (min(cos, 0) + 0.5 * min(v cos, 0) + 0.0025 * (1 - |angle| / 90 degrees)).
    "along": ({"lane_align": 0.02, "velocity_align": 0.5}, {"speed": 10.0}, 0.006 * 0.0025),
    "at 45 degrees": ({"lane_align": 0.02, "velocity_align": 0.5}, {"speed": 10.0, "angle": -math.pi / 4}, 0.006 * 0.00125),
    "across": ({"lane_align": 0.02, "velocity_align": 0.5}, {"angle": math.pi / 2}, 0.0),
    "against": ({"lane_align": 0.02, "velocity_align": 0.5}, {"speed": 10.0, "angle": math.pi}, 0.006 * (-6 - 0.0025)),
    "backwards along": ({"lane_align": 0.02, "velocity_align": 0.5}, {"speed": -2.0}, 0.006 * (-1 + 0.0025)),
    "backwards against": ({"lane_align": 0.02, "velocity_align": 0.5}, {"speed": -2.0, "angle": math.pi}, 0.006 * (-1.0025)),
    # Lane center: -0.005 * 0.3 * (|offset - bias| where cos > 0.5, less 0.05 / exp(|offset - bias| - 0.5)).
    "in the middle": ({"lane_center": 0.005}, {}, 0.0015 * 0.05 * math.exp(0.5)),
    "beside the middle": ({"lane_center": 0.005}, {"offset": -1.5}, -0.0015 * (1.5 - 0.05 * math.exp(-1.0))),
    "with a bias": ({"lane_center": 0.005, "center_bias": 0.5}, {"offset": 1.0}, -0.0015 * (0.5 - 0.05)),
    "across the lane": ({"lane_center": 0.005}, {"offset": 1.5, "angle": 1.1}, 0.0015 * 0.05 * math.exp(-1.0)),
    # Velocity: 0.0025 * 0.3 * max(cos, 0) above 2.5 m/s.
    "velocity": ({"velocity": 0.0025}, {"speed": 2.6}, 0.00075),
    "velocity at an angle": ({"velocity": 0.0025}, {"speed": 10.0, "angle": math.pi / 3}, 0.000375),
    "slow": ({"velocity": 0.0025}, {"speed": 2.5}, 0.0),
    "velocity against": ({"velocity": 0.0025}, {"speed": 10.0, "angle": 3.0}, 0.0),
    # Reversing: -0.005 * 0.3.
    "reverse": ({"reverse": 0.005}, {"speed": -0.1}, -0.0015),
    "not reversing": ({"reverse": 0.005}, {"speed": 0.0}, 0.0),
    # Time: -2.5e-5 * 0.3 while anything moves.
    "time": ({"timestep": 2.5e-5}, {"speed": 0.1}, -7.5e-6),
    "time, about to move": ({"timestep": 2.5e-5}, {"acceleration": 0.1}, -7.5e-6),
    "time at rest": ({"timestep": 2.5e-5}, {}, 0.0),
    # Ours: progress.
    "progress": ({"progress": 0.02}, {"gained": 4.0}, 0.08),
}


@pytest.mark.parametrize("name", CASES)
def test_terms_on_paper(sim, name):
    coefficients, scene, wanted = CASES[name]
    assert reward(sim, coefficients, **scene) == pytest.approx(wanted, rel=1e-5, abs=1e-10)


def test_the_reward_is_the_sum_of_its_terms(sim):
    coefficients = {name: 0.1 + 0.05 * k for k, name in enumerate(CONDITIONING)} | {"center_bias": 0.25}
    scene = {
        "events": ["goal", "collision", "offroad", "red_light"], "speed": -2.0, "acceleration": -4.0, "jerk": -15.0,
        "lateral": 3.5, "angle": 2.5, "offset": 0.75, "gained": 1.0,
    }  # fmt: skip
    c = coefficients
    wanted = 1.0 + c["progress"] - (c["collision"] + 0.2) - c["offroad"] - c["stop_line"] - 3 * c["comfort"]
    align = math.cos(2.5) + c["velocity_align"] * 0.0 + 0.0025 * (1 - 2.5 / (math.pi / 2))
    wanted += DT * (c["lane_align"] * align + c["lane_center"] * 0.05 * math.exp(0.0) - c["reverse"] - c["timestep"])
    assert reward(sim, coefficients, **scene) == pytest.approx(wanted, rel=1e-5)


@kernel
def _terms(x, out):
    for i in range(len(x)):
        out[0, i] = comfort(x[i], x[i], x[i], x[i], np.float32(3.0), np.float32(5.0))
        out[1, i] = lane_align(np.float32(1.0), x[i], np.float32(1.0), np.float32(1.0))
        out[2, i] = lane_center(np.float32(1.0), x[i], np.float32(0.5))
        out[3, i] = velocity(np.float32(1.0), x[i])


def test_rules_are_even_in_their_argument():
    """Left and right, forwards and backwards count the same."""
    x = np.linspace(0.01, 3.1, 50, dtype=np.float32)
    there, back = np.zeros((4, 50), np.float32), np.zeros((4, 50), np.float32)
    _terms(x, there)
    _terms(-x, back)
    assert np.array_equal(there, back) and all(len(set(row)) > 1 for row in there.tolist())


signed, angles = reals(-20, 20), reals(-math.pi, math.pi)


@given(signed, signed, signed, signed, reals(0, 20), reals(0, 20), reals(1, 3))
def test_harshness_counts_axes_and_grows_with_the_motion(acceleration, lateral, jerk, side_jerk, limit, jerk_limit, more):
    motion = acceleration, lateral, jerk, side_jerk
    count = call(comfort)(*motion, limit, jerk_limit)
    assert count == sum([abs(acceleration) > limit, abs(lateral) > limit, max(abs(jerk), abs(side_jerk)) > jerk_limit])
    assert count <= call(comfort)(*(more * one for one in motion), limit, jerk_limit) <= 3
    assert count == call(comfort)(*(-one for one in motion), limit, jerk_limit)


@given(angles, signed, reals(0, 1), reals(0, 10))
def test_along_the_lane_is_best(angle, speed, weight, more):
    """Never above the bonus of 0.0025 for heading along it; even; moving faster against it costs more."""
    found = call(lane_align)(math.cos(angle), angle, speed, weight)
    assert found == call(lane_align)(math.cos(angle), -angle, speed, weight) <= 0.0025 + 1e-7
    against = math.copysign(1, speed) * math.cos(angle) < 0
    faster = call(lane_align)(math.cos(angle), angle, speed + math.copysign(more, speed), weight)
    assert faster <= found + 1e-6 if against else faster == pytest.approx(found, abs=1e-6)
    against = min(math.cos(angle), 0) + weight * min(speed * math.cos(angle), 0)
    assert found == pytest.approx(against + 0.0025 * (1 - abs(angle) / (math.pi / 2)), abs=1e-5)


@given(reals(-1, 1), reals(-15, 15), reals(0, 1), reals(0, 5))
def test_the_lane_center_is_best(cos, offset, gate, further):
    """Rises with the distance; across the lane only the bonus is left, between its value in the middle and 0."""
    found = call(lane_center)(cos, offset, gate)
    bonus = 0.05 * math.exp(0.5 - abs(offset))
    assert found == pytest.approx(abs(offset) * (cos > gate) - bonus, abs=1e-5)
    assert found == call(lane_center)(cos, -offset, gate)
    assert call(lane_center)(cos, abs(offset) + further, gate) >= found - 1e-6


@given(reals(-1, 1), signed)
def test_moving_along_the_lane_counts_the_same_at_any_speed_above_walking(cos, speed):
    found = call(velocity)(cos, speed)
    assert found == (max(cos, 0) if abs(speed) > 2.5 else 0) and found == call(velocity)(cos, -speed)
    assert 0 <= found <= 1


# The end of an episode


def ends(config, *, events=(), steps=0, step=0):
    """(terminated, truncated, status, timeout) after a step with these events at these ages, before the step."""
    made = simulator(ring(), 1, Config(**SMALL, **config))
    state = made.state
    for name in Events._fields:
        getattr(state.events, name)[:] = name in events
    state.rows.steps[:], state.clock.step[:], state.rows.status[:] = steps, step, LIVE
    run("score", made)
    o = state.outcome
    return bool(o.terminated[0, 0]), bool(o.truncated[0, 0]), int(state.rows.status[0, 0]), bool(state.events.timeout[0, 0])


GOES_ON, TERMINATED, TRUNCATED = (False, False, LIVE), (True, False, ENDED), (False, True, ENDED)


@pytest.mark.parametrize("event", ["collision", "offroad"])
def test_a_crash_ends_the_episode_only_if_it_shall(event):
    assert ends({"on_crash": "respawn"}, events=[event])[:3] == TERMINATED
    assert ends({"on_crash": "continue"}, events=[event])[:3] == GOES_ON


def test_the_final_goal_ends_the_episode_only_if_it_shall():
    done = ["goal", "route_done"]
    assert ends({"on_route_done": "respawn"}, events=done)[:3] == TERMINATED
    assert ends({"on_route_done": "new_route"}, events=done)[:3] == GOES_ON
    assert ends({"on_route_done": "respawn"}, events=["goal"])[:3] == GOES_ON
    assert ends({}, events=["red_light"])[:3] == GOES_ON


def test_time_truncates():
    limits = {"max_steps": 10, "world_steps": 20}
    assert ends(limits, steps=8) == (*GOES_ON, False)
    assert ends(limits, steps=9) == (*TRUNCATED, True)
    assert ends(limits, step=18) == (*GOES_ON, False)
    assert ends(limits, step=19) == (*TRUNCATED, False)


def test_termination_comes_before_truncation():
    assert ends({"max_steps": 10}, steps=9, events=["collision"]) == (*TERMINATED, True)


def test_statistics_of_an_episode(sim):
    state = sim.state
    state.outcome.episode_return[:], state.outcome.episode_length[:] = -7, -7
    total = 0.0
    state.rows.score[:] = 0
    for k in range(3):
        place(sim, 0, 50, -10, speed=4.0 + k)
        state.rows.steps[:] = k
        state.clock.step[:] = sim.config.world_steps - 3 + k
        run("score", sim)
        total += float(state.outcome.reward[0, 0])
        assert state.rows.steps[0, 0] == k + 1
        assert state.outcome.episode_length[0, 0] == (3 if k == 2 else -7)
    assert state.outcome.episode_return[0, 0] == pytest.approx(total, rel=1e-5)


@pytest.mark.parametrize("status", [ENDED, WAITING])
def test_rows_that_are_not_live_get_nothing(sim, status):
    reward(sim, {}, events=["goal"])
    sim.state.rows.status[:] = status
    sim.state.events.timeout[:] = sim.state.outcome.terminated[:] = True
    run("score", sim)
    o = sim.state.outcome
    assert (o.reward[0, 0], o.terminated[0, 0], o.truncated[0, 0]) == (0, False, False)
    assert not sim.state.events.timeout[0, 0] and sim.state.rows.status[0, 0] == status
