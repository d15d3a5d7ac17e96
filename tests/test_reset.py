"""Starting: bodies and coefficients within their ranges, no overlap, and nobody starts where there is no room."""

import copy
import math

import numpy as np
import pytest
import shapely
from agent_boxes import boxes, overlaps
from conftest import SMALL, box, bridge, call, clear, key, place, reals, ring, run, simulator
from distributions import uniform
from hypothesis import given, settings
from hypothesis import strategies as st

from gigaflow_env.backend import world_step
from gigaflow_env.config import CHOICES, CONDITIONING, Config, laptop, params
from gigaflow_env.jit import kernel
from gigaflow_env.roads import load, shipped
from gigaflow_env.roads.compiled.compile import capacity
from gigaflow_env.sim.geometry import boxes_overlap
from gigaflow_env.sim.reset import by_hand, in_the_way, start_speed
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import ABSENT, LIVE, WAITING, Overrides


@pytest.fixture(scope="module")
def many():
    """3000 agents which start alone in their world, in the published setting."""
    return simulator(ring(), 3000, Config(**SMALL, agents_per_world=1))


def test_bodies(many):
    body = many.state.body
    assert uniform(body.length, 3.6, 5.4) and uniform(body.width, 1.6, 2.1)
    for name, a in (("c_throttle", 1.25), ("c_steer", 1.25), ("c_acc", 1.5), ("c_vel", 1.5)):
        values = getattr(body, name)
        assert 1 / a - 1e-6 <= values.min() and values.max() <= a + 1e-6
        assert uniform(values[values < 1], 1 / a, 1) and uniform(values[values > 1], 1, a)
    every = np.column_stack([array.ravel() for array in body[:6]])
    assert abs(np.corrcoef(every.T) - np.eye(6)).max() < 5 / math.sqrt(3000)


def test_nobody_is_wider_than_long():
    body = simulator(ring(), 500, Config(**SMALL, agents_per_world=1, population="paper")).state.body
    assert (body.width <= body.length).all() and (body.width == body.length).sum() > 50


def test_conditioning(many):
    coefficients = many.state.reward_weights.coefficients[:, 0]
    for k, name in enumerate(CONDITIONING):
        low, high = getattr(many.config, name)
        values = coefficients[:, k]
        if low == high:
            assert (values == np.float32(low)).all(), name
        else:
            assert uniform(values, low, high), name
    ranges = [getattr(many.config, name) for name in CONDITIONING]
    varied = coefficients[:, [low < high for low, high in ranges]]
    assert abs(np.corrcoef(varied.T) - np.eye(varied.shape[1])).max() < 5 / math.sqrt(3000)


def test_places_and_speeds(many):
    state, network = many.state, many.roads.network
    section = state.lane_position.section[:, 0]
    places = np.searchsorted(network.starts, section)
    assert (network.starts[places] == section).all()
    assert uniform((places + 0.5) / len(network.starts), 0, 1)
    a, b = network.sections[section], network.sections[section + 1]
    assert state.pose.x[:, 0] == pytest.approx((a["x"] + b["x"]) / 2, abs=1e-4)
    assert state.pose.y[:, 0] == pytest.approx((a["y"] + b["y"]) / 2, abs=1e-4)
    heading = np.arctan2(a["sin"] + b["sin"], a["cos"] + b["cos"])
    assert state.pose.cos[:, 0] + 1j * state.pose.sin[:, 0] == pytest.approx(np.exp(1j * heading), abs=1e-5)
    assert np.hypot(state.pose.cos, state.pose.sin) == pytest.approx(1, abs=1e-6)
    # On the straight 8 m/s; in the bend of 10 m sqrt(2 m/s^2 * 10 m) = 4.47 m/s. The end of a bend counts as half as curved.
    speed, curvature = state.motion.speed[:, 0], a["curvature"]
    assert 7.9 < speed[curvature == 0].max() <= 8 and speed.min() >= 0
    tight = curvature > 0.095
    assert 4.3 < speed[tight].max() <= 4.6


def test_everything_else_starts_at_zero(many):
    state = many.state
    for name in ("acceleration", "lateral", "steer", "jerk", "side_jerk"):
        assert not getattr(state.motion, name).any(), name
    assert not state.rows.steps.any() and not state.rows.score.any()
    assert (state.rows.episode == 1).all() and (state.goals.routes == 1).all()
    assert np.array_equal(state.pose.x, state.pose.old_x) and np.array_equal(state.pose.sin, state.pose.old_sin)
    assert (
        (state.lane_position.offset == 0).all()
        and (state.lane_position.cos == 1).all()
        and (state.lane_position.fraction == 0.5).all()
    )
    assert np.array_equal(state.goals.best, state.lane_position.route_distance)


@kernel
def _start_speed(u, limit, curvature, p, out):
    for i in range(len(out)):
        out[i] = start_speed(u[i], limit[i], curvature[i], p)


def test_start_speed_on_paper(many):
    """8 m/s, the speed limit, or sqrt(2 m/s^2 / curvature), whichever is least, times the draw."""
    out = np.zeros(5, np.float32)
    cases = np.array([[1, 13.9, 0], [0.5, 13.9, 0], [1, 5, 0], [1, 13.9, 0.1], [1, 13.9, -0.125]], np.float32).T
    _start_speed(*map(np.ascontiguousarray, cases), many._params, out)
    assert out == pytest.approx([8, 4, 5, math.sqrt(20), 4], rel=1e-5)


# Room


@pytest.mark.parametrize("name", ["loop", "downtown"])
def test_nobody_starts_in_another(name):
    town = load(shipped()[name])
    sim = simulator(town, 400, laptop().replace(agents_per_world=40), seed=3)
    live = sim.state.rows.status == LIVE
    assert live.mean() > 0.95
    assert overlaps(sim.state) == 0


def test_who_starts_in_traffic_keeps_clear_of_it():
    """After every step: whoever has started in it overlaps nobody."""
    sim = simulator(load(shipped()["loop"]), 200, laptop().replace(agents_per_world=25), seed=4)
    rng, state, started = np.random.default_rng(0), sim.state, 0
    for _ in range(60):
        sim.step(rng.integers(0, 12, 200))
        fresh = (state.rows.status == LIVE) & (state.rows.steps == 0)
        started += fresh.sum()
        for w in np.flatnonzero(fresh.any(axis=1)):
            shapes, z = boxes(state, w)
            mine = fresh[w][state.rows.status[w] == LIVE]
            one, other = shapely.STRtree(shapes).query(shapes[mine], predicate="intersects")
            own = np.flatnonzero(mine)[one]
            assert not ((own != other) & (abs(z[own] - z[other]) < 2.5)).any()
    assert started > 500


@kernel
def _in_the_way(poses, out, p):
    for i in range(len(out)):
        at = poses[i]
        half, width = np.float32(2.25), np.float32(1.0)
        out[i] = in_the_way(at[0], at[1], at[2], at[3], half, width, at[4], half, width, at[5], p)


@pytest.mark.parametrize(
    ("ahead", "left", "heading", "speed", "other_speed", "wanted"),
    [
        (6.4, 0, 0, 0, 0, True),  # two half lengths and a gap of 2 m
        (6.6, 0, 0, 0, 0, False),
        (-6.4, 0, 0, 0, 0, True),
        (-6.6, 0, 0, 0, 0, False),
        (0, 2.4, 0, 0, 0, True),  # two half widths and half a metre
        (0, 2.6, 0, 0, 0, False),
        (0, 3.6, math.pi / 2, 0, 0, True),  # across: half a width and half a length
        (0, 3.8, math.pi / 2, 0, 0, False),
        (11.4, 0, 0, 5, 0, True),  # 5 m to brake from 5 m/s
        (11.6, 0, 0, 5, 0, False),
        (11.4, 0, 0, 0, 5, False),  # that one drives away
        (-11.4, 0, 0, 0, 5, True),  # that one comes from behind
        (-11.6, 0, 0, 0, 5, False),
        (16.4, 0, math.pi, 5, 5, True),  # head on: both brake
        (16.6, 0, math.pi, 5, 5, False),
        (-11.4, 0, math.pi, 0, 5, False),  # back to back
    ],
)
def test_room_on_paper(many, ahead, left, heading, speed, other_speed, wanted):
    found = np.zeros(1, bool)
    case = np.array([[ahead, left, math.cos(heading), math.sin(heading), speed, other_speed]], np.float32)
    _in_the_way(case, found, many._params)
    assert found[0] == wanted


def proposals(sim, *places):
    """Give agents 0, 1, .. a proposal at (x, y) on level z, heading east at rest, and settle; who is free."""
    proposal, origin = sim.state.proposal, sim.roads.origins[0]
    for a, (x, y, z) in enumerate(places):
        proposal.x[0, a], proposal.y[0, a], proposal.z[0, a] = np.array([x, y, z]) - origin
        proposal.cos[0, a], proposal.sin[0, a], proposal.speed[0, a] = 1, 0, 0
        proposal.length[0, a], proposal.width[0, a] = 3.0, 2.0
        sim.state.rows.status[0, a] = WAITING
    run("resolve_spawns", sim)
    return sim.state.proposal.free[0, : len(places)].tolist()


def test_the_lower_number_goes_first():
    sim = simulator(ring(), 4)
    clear(sim)
    assert proposals(sim, (50, -10, 0), (52, -10, 0), (60, -10, 0), (61, -10, 0)) == [True, False, True, False]


def test_an_agent_on_the_road_goes_first():
    sim = simulator(ring(), 4)
    clear(sim)
    place(sim, 3, 52, -10)
    assert proposals(sim, (50, -10, 0), (70, -10, 0)) == [False, True]
    sim.state.rows.status[0, 3] = ABSENT
    assert proposals(sim, (50, -10, 0), (70, -10, 0)) == [True, True]


def test_levels_do_not_take_room_from_each_other():
    sim = simulator(bridge(), 4)
    clear(sim)
    assert proposals(sim, (0, 0, 0), (0, 0, 8), (1, 0, 3)) == [True, True, False]


def test_agents_without_a_place_wait():
    """As many agents as a map has room for don't all find a place in one round; the others try again with every step."""
    probe = simulator(ring(), 1)
    room = capacity(probe.roads, 0)
    sim = Simulator(ring(), room, laptop().replace(agents_per_world=room, spawn_attempts=1), threads=1)
    sim.reset(key(5))
    status = sim.state.rows.status[0]
    assert (status == LIVE).sum() > room / 4
    waiting = status == WAITING
    assert waiting.any(), "the test needs someone who waits"
    assert not sim.state.outcome.active[0, waiting].any() and sim.state.outcome.active[0, ~waiting].all()
    assert not sim.observations[0, waiting].any() and sim.observations[0, ~waiting].any(axis=1).all()
    assert overlaps(sim.state) == 0
    sim.step(np.full(room, 7))
    outcome = sim.state.outcome
    assert not outcome.reward[0, waiting].any()
    assert not (outcome.terminated | outcome.truncated)[0, waiting].any()


# Ends and new beginnings in the three modes


def crashed(mode):
    """A simulator of one agent, half a metre of which has just left the road at 5 m/s."""
    sim = simulator(ring(), 1, laptop().replace(agents_per_world=1), mode=mode)
    place(sim, 0, 50, -11, speed=5)
    sim.step(np.array([7]))
    assert sim.state.outcome.terminated[0, 0] and sim.state.events.offroad[0, 0]
    return sim


def test_same_step():
    sim = crashed(world_step.SAME_STEP)
    state = sim.state
    assert state.rows.status[0, 0] == LIVE and state.rows.episode[0, 0] == 2 and state.rows.steps[0, 0] == 0
    final, first = (sim.layout.split(array) for array in (sim.final_observations, sim.observations))
    assert final.ego[0, 0, 3] == pytest.approx(5 / 30) and abs(final.ego[0, 0, 0]) == pytest.approx(0.2, abs=0.01)
    assert first.ego[0, 0, 0] == 0


def test_the_way_of_the_last_step_is_not_lost():
    """Where a row starts anew in the same step, `distance` is still the way of the step that ended its episode."""
    sim = crashed(world_step.SAME_STEP)
    assert sim.state.motion.distance[0, 0] == pytest.approx(1.5)
    sim = crashed(world_step.NEXT_STEP)
    assert sim.state.motion.distance[0, 0] == pytest.approx(1.5)
    sim.step(np.array([7]))
    assert sim.state.motion.distance[0, 0] == 0


def test_next_step():
    sim = crashed(world_step.NEXT_STEP)
    state = sim.state
    assert not state.outcome.active[0, 0] and state.rows.episode[0, 0] == 1
    assert sim.layout.split(sim.observations).ego[0, 0, 3] == pytest.approx(5 / 30)
    sim.step(np.array([7]))
    assert state.outcome.active[0, 0] and state.rows.episode[0, 0] == 2 and state.rows.steps[0, 0] == 0
    assert (state.outcome.reward[0, 0], state.outcome.terminated[0, 0]) == (0, False)


def test_disabled():
    sim = crashed(world_step.DISABLED)
    assert sim.ended.tolist() == [True] and not sim.state.outcome.active[0, 0]
    sim.reset(None, np.array([True]))
    assert sim.ended.tolist() == [False] and sim.state.rows.episode[0, 0] == 2
    assert not sim.state.outcome.terminated[0, 0]


def test_a_reset_of_some_rows_leaves_the_others():
    sim = simulator(load(shipped()["loop"]), 24, laptop().replace(agents_per_world=12))
    sim.step(np.full(24, 7))
    before = sim.state.pose.x.copy()
    mask = np.zeros(24, bool)
    mask[[2, 15]] = True
    sim.reset(None, mask)
    assert ((sim.state.pose.x != before).ravel() == mask).all()


def test_the_same_key_gives_the_same_beginning():
    sim = simulator(ring(), 8, seed=6)
    state, seen = copy.deepcopy(sim.state), sim.observations.copy()
    for _ in range(5):
        sim.step(np.full(8, 11))
    sim.reset(key(6))
    assert np.array_equal(sim.observations, seen)
    for group in ("clock", "rows", "pose", "motion", "body", "lane_position", "reward_weights", "events", "lights"):
        for name, old, new in zip(
            getattr(state, group)._fields, getattr(state, group), getattr(sim.state, group), strict=True
        ):
            assert np.array_equal(old, new), f"{group}.{name}"
    for k in range(4):
        more = state.goals.count > k  # entries beyond the count mean nothing
        assert np.array_equal(state.goals.section[more, k], sim.state.goals.section[more, k])
    sim.reset(key(7))
    assert not np.isclose(sim.state.body.length[0, 0], simulator(ring(), 8, seed=6).state.body.length[0, 0])


def test_a_world_that_is_over_starts_anew():
    sim = simulator(ring(), 6, laptop().replace(agents_per_world=3, world_steps=4, world_stagger=0.0))
    for _ in range(3):
        sim.step(np.full(6, 7))
    early = sim.state.rows.episode.copy()
    lived = sim.state.rows.steps == 3
    assert lived.any()
    sim.step(np.full(6, 7))
    assert sim.state.outcome.truncated[lived].all()
    assert (sim.state.rows.episode[lived] == early[lived] + 1).all() and sim.state.clock.step.tolist() == [0, 0]


# Properties of the rules

P = params(Config())
speeds, places, halves = reals(0, 20), reals(-30, 30), reals(0.3, 4)


@given(reals(0, 1), reals(0, 1), reals(1, 30), reals(-0.5, 0.5))
def test_a_start_is_slow_enough_for_lane_and_curve(u, v, limit, curvature):
    slow, fast = (call(start_speed)(share, limit, curvature, P) for share in sorted((u, v)))
    assert 0 <= slow <= fast <= min(limit, P.spawn_speed) + 1e-5
    assert fast**2 * abs(curvature) <= P.lateral_max / 2 + 1e-3
    assert slow == call(start_speed)(min(u, v), limit, -curvature, P)
    allowed = max(u, v) * min(limit, P.spawn_speed)
    if fast < allowed - 1e-4:
        assert fast**2 * abs(curvature) == pytest.approx(max(u, v) ** 2 * P.lateral_max / 2, rel=1e-4), "the curve's limit"


@settings(max_examples=300)
@given(places, reals(-5, 5), reals(-math.pi, math.pi), *[halves] * 4, speeds, speeds, reals(0, 10))
def test_who_overlaps_or_could_not_stop_is_in_the_way(
    ahead, left, angle, length, width, other_length, other_width, speed, other_speed, more
):
    """The mirror image is, too; more speed or size makes nobody less in the way."""
    cos, sin = math.cos(angle), math.sin(angle)

    def met(left, sin, length, width, speed, other_speed):
        return call(in_the_way)(ahead, left, cos, sin, length, width, speed, other_length, other_width, other_speed, P)

    found = met(left, sin, length, width, speed, other_speed)
    assert found == met(-left, -sin, length, width, speed, other_speed)
    assert met(left, sin, length + more, width + more, speed + more, other_speed + more) >= found
    assert found or not call(boxes_overlap)(ahead, left, cos, sin, length, width, other_length, other_width)
    # By the other's corners: room at the side, before for who brakes at 2.5 m/s^2, one's own way and that of an oncoming
    # one, and behind for who follows.
    corners = box(*np.array([[ahead], [left], [angle], [other_length], [other_width]]))[0].bounds
    room = P.spawn_gap + speed**2 / 5 + other_speed**2 / 5 * (cos < 0), P.spawn_gap + other_speed**2 / 5 * (cos > 0)
    gaps = max(corners[1] - width, -width - corners[3]), corners[0] - length, -length - corners[2]
    spare = np.array(gaps) - [0.5, *room]
    if abs(spare).min() > 1e-3:
        assert found == (spare < 0).all()


@given(reals(-5, 5), reals(-5, 5), reals(0, 5), st.integers(0, len(CHOICES) - 1), st.integers(0, 10_000))
def test_by_hand_is_in_the_range_that_was_chosen_and_else_what_was_drawn(drawn, low, width, choice, moment):
    chosen = Overrides(*(np.full((1, 1, len(CHOICES)), np.nan, np.float32) for _ in Overrides._fields))
    seed = np.array([5, 6], np.uint32)

    def value(k):
        return call(by_hand)(drawn, seed, 0, 0, moment, k, chosen)

    assert value(choice) == drawn
    chosen.low[0, 0, choice], chosen.high[0, 0, choice] = low, low + width
    assert low - 1e-5 <= value(choice) <= low + width + 1e-5
    assert all(value(k) == drawn for k in range(len(CHOICES)) if k != choice)
    chosen.high[0, 0, choice] = low
    assert value(choice) == low
