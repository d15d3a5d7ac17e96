"""What rule-based drivers see ahead: bends, the first body in their path; and who is beside and behind them.

Eight at a time is the same as one by one, to the last bit.
"""

import functools
import math

import numpy as np
import pytest
from conftest import call, plain, reals, ring, run, simulator
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_driven import put, scene
from warps import give, matrices

from gigaflow_env.config import Config, laptop, params
from gigaflow_env.jit import f32, i32, kernel, u64
from gigaflow_env.packs import EIGHT, bits_of, eight_from, put_eight
from gigaflow_env.roads import find
from gigaflow_env.sim.geometry import LEVEL_GAP
from gigaflow_env.sim.lanes import FAR
from gigaflow_env.sim.traffic.car_following import curve_speed
from gigaflow_env.sim.traffic.curves import slow_for_curves, speed_before
from gigaflow_env.sim.traffic.lane_choice import seat
from gigaflow_env.sim.traffic.leader import apart, beside, drift, eight_beside, find_leader, leader_at, most_aside
from gigaflow_env.sim.traffic.others import STRIDE, last_sample, sample_distance
from gigaflow_env.sim.traffic.room import in_touch, room_behind, room_to, touched, touches
from gigaflow_env.sim.variant import curved
from gigaflow_env.state import IDM, LIVE, POLICY

P = params(Config())
SEEDS = st.integers(0, 2**32 - 1)
AGENTS = 21
compiled = functools.partial(kernel, cache=False)


def same(found, expected):
    """Whether float32 numbers are equal to the last bit."""
    found, expected = np.float32(found), np.float32(expected)
    return np.array_equal(found.view(np.uint32), expected.view(np.uint32))


@functools.cache
def crowd():
    """Agent 0 heads east on a ring, all others are on the road somewhere."""
    sim = scene(ring(), AGENTS)
    for a in range(AGENTS):
        put(sim, a, "east", 60.0, ("west", 150.0))
    return sim


def scatter(sim, rng, most_away=4.0):
    """All agents but the first get a place near the eastern road, a heading, a speed and a size."""
    state, count = sim.state, AGENTS - 1
    matrix = np.reshape([array[0] for array in state.variant[:4]], (2, 2))
    x, y = rng.uniform(0, 150, count) - 100, -10 + rng.normal(0, most_away, count) * (rng.random(count) < 0.8)
    state.pose.x[0, 1:], state.pose.y[0, 1:] = matrix @ [x, y]
    angle = rng.uniform(-math.pi, math.pi, count)
    state.pose.cos[0, 1:], state.pose.sin[0, 1:] = np.cos(angle), np.sin(angle)
    state.pose.z[0, 1:] = rng.choice([0, 0, 0, 0.9 * LEVEL_GAP, 1.1 * LEVEL_GAP], count)
    state.motion.speed[0, 1:] = rng.choice([-1.2, -3.0, 0.0, 0.0, 5.0, 12.0], count)
    state.body.length[0, 1:], state.body.width[0, 1:] = rng.uniform(0.5, 12, count), rng.uniform(0.5, 2.6, count)
    state.rows.status[0] = rng.choice([LIVE, LIVE, LIVE, LIVE + 1, LIVE - 1], AGENTS)
    state.rows.status[0, 0] = LIVE


# The first body in the path


_find, _apart = (kernel(plain(stage), cache=False) for stage in (find_leader, apart))


@compiled
def _one_by_one(
    w, a, k, until, passed, row, scale, aside, slope, preview, lag, count, close, pose, motion, body, variant, network
):  # fmt: skip
    while k <= until:
        distance = sample_distance(f32(k), passed, row, scale)
        driven = max(distance - f32(0.5) * f32(STRIDE) * row.step * scale - lag, f32(0))
        gap, speed, who = leader_at(
            w, a, distance, aside, slope, driven, preview, i32(row.first + k), count, close, pose, motion, body, variant,
            network,
        )  # fmt: skip
        if gap < FAR:
            return gap, speed, who, k
        k = i32(k + STRIDE)
    return FAR, f32(0), i32(-1), i32(-1)


@given(matrices, SEEDS, st.integers(1, AGENTS - 1))
@settings(max_examples=150)
def test_no_body_in_the_path_is_skipped_and_the_first_one_is_the_leader(matrix, seed, count):
    """Beside asking at every sample of the road who is in the path there."""
    sim, rng = crowd(), np.random.default_rng(seed)
    give(sim, matrix)
    scatter(sim, rng)
    state, network = sim.state, sim.roads.network
    lane = network.lanes[network.sections["lane"][state.lane_position.section[0, 0]]]
    k = int(rng.integers(0, 100))
    until = int(min(lane["quads"] - 1, k + 2 * rng.integers(0, 40)))
    passed, aside, slope = rng.uniform(-60, 20), rng.choice([0, rng.normal(0, 2)]), rng.choice([0, rng.normal(0, 0.2)])
    close = rng.permutation(np.arange(1, AGENTS))[:count].astype(np.uint32)
    arguments = (
        0, 0, i32(k), i32(until), f32(passed), lane, f32(rng.uniform(0.5, 2)), f32(aside), f32(slope),
        f32(rng.uniform(2, 20)), f32(rng.uniform(0, 3)), count, close, state.pose, state.motion, state.body,
        state.variant, network,
    )  # fmt: skip
    gap, speed, who, at = _find(*arguments)
    expected = _one_by_one(*arguments)
    assert who == expected[2] and same((gap, speed), expected[:2])
    assert who < 0 or at == expected[3]


def test_those_scenes_hold_leaders_and_none():
    sim, found = crowd(), []
    give(sim, np.eye(2))
    state, network = sim.state, sim.roads.network
    lane = network.lanes[network.sections["lane"][state.lane_position.section[0, 0]]]
    for seed in range(60):
        scatter(sim, np.random.default_rng(seed))
        found.append(_find(
            0, 0, i32(40), i32(90), f32(-60), lane, f32(1), f32(0), f32(0), f32(10), f32(1), 3,
            np.arange(1, 4, dtype=np.uint32), state.pose, state.motion, state.body, state.variant, network,
        )[2])  # fmt: skip
    assert min(np.count_nonzero(np.array(found) < 0), np.count_nonzero(np.array(found) >= 0)) > 10


@pytest.mark.parametrize("along", [-0.98, 0.0, 0.98])
@pytest.mark.parametrize("aside", [-0.98, 0.0, 0.98])
@given(reals(-math.pi, math.pi), reals(-2, 10), reals(-2, 2), reals(-0.9, 0.9), reals(0, 2), reals(2, 20))
def test_who_is_just_in_the_path_is_not_skipped(along, aside, heading, speed, offset, slope, share, preview):
    """At shares of how far along and aside `leader_at` looks."""
    sim = crowd()
    give(sim, np.eye(2))
    state, network, close = sim.state, sim.roads.network, np.array([1], np.uint32)
    section = int(state.lane_position.section[0, 0])
    x, y = float(network.sections[section]["x"]), float(network.sections[section]["y"])  # the road leads to the east there
    lane = network.lanes[network.sections["lane"][section]]
    state.body.length[0, 1], state.body.width[0, 1], state.pose.z[0, 1] = 4.5, 2.0, 0.0
    cos, sin, back = math.cos(heading), math.sin(heading), max(-speed, 0.0)
    long = ((4.5 + back) * abs(cos) + 2.0 * abs(sin)) / 2 + 1.0
    wide = ((4.5 + back) * abs(sin) + 2.0 * abs(cos)) / 2 + float(state.body.width[0, 0]) / 2 + 0.3
    left = call(drift)(offset, slope, share * preview, preview) + aside * wide
    state.pose.x[0, 1], state.pose.y[0, 1] = x + along * long + back * cos / 2, y + left + back * sin / 2
    state.pose.cos[0, 1], state.pose.sin[0, 1], state.motion.speed[0, 1] = cos, sin, speed
    k = i32(section - lane["first"])
    # Distances and the lag are chosen so that `driven` is what the scene was made for.
    who = _find(
        0, 0, k, k, f32(30 - float(k) * float(lane["step"])), lane, f32(1), f32(offset), f32(slope), f32(preview),
        f32(30 - float(lane["step"]) - share * preview), 1, close, state.pose, state.motion, state.body, state.variant,
        network,
    )[2]  # fmt: skip
    assert who == 1
    # On CUDA samples are skipped by how far away the nearest body is.
    reach = call(most_aside)(float(state.body.width[0, 0]), offset, slope, preview) + float(lane["step"])
    assert _apart(0, f32(x), f32(y), 1, close, state.pose, state.motion, state.body) < reach


def test_who_is_far_from_the_path_may_be_skipped():
    sim = crowd()
    give(sim, np.eye(2))
    state, section = sim.state, int(sim.state.lane_position.section[0, 0])
    x, y = (float(sim.roads.network.sections[section][name]) for name in "xy")
    state.pose.x[0, 1], state.pose.y[0, 1], state.motion.speed[0, 1] = x + 12.0, y, 5.0
    state.body.length[0, 1], state.body.width[0, 1] = 4.5, 2.0
    away = _apart(0, f32(x), f32(y), 1, np.array([1], np.uint32), state.pose, state.motion, state.body)
    assert away == pytest.approx(12.0 - 3.25) and away > call(most_aside)(2.0, 0.0, 0.0, 10.0) + 1.0


@compiled
def _each_beside(w, k, until, first, reach, count, close, pose, motion, body, variant, network):
    found = u64(0)
    for i in range(EIGHT):
        if k + i32(i) * STRIDE <= until:
            section = i32(first + k + i32(i) * STRIDE)
            x, y, cos, sin, gain = seat(w, variant, network, section)
            for other in range(count):
                near = beside(w, close[other], x, y, network.sections[section].z, cos, sin, gain, reach, pose, motion, body)
                found |= u64(near) << u64(i)
    return found


@compiled
def _eight_beside(w, k, until, first, reach, count, close, pose, motion, body, variant, network):
    return eight_beside(w, k, until, first, reach, count, close, pose, motion, body, variant, network)


@given(matrices, SEEDS, st.integers(0, AGENTS - 1), st.integers(0, 20), reals(0, 8))
def test_bodies_beside_eight_samples_are_those_beside_each(matrix, seed, count, samples, reach):
    sim, rng = crowd(), np.random.default_rng(seed)
    give(sim, matrix)
    scatter(sim, rng, 10.0)
    state, network = sim.state, sim.roads.network
    first = network.lanes["first"][network.sections["lane"][state.lane_position.section[0, 0]]]
    k, close = int(rng.integers(0, 150)), np.arange(1, AGENTS, dtype=np.uint32)
    arguments = (
        0, i32(k), i32(k + 2 * samples), i32(first), f32(reach), count, close, state.pose, state.motion, state.body,
        state.variant, network,
    )  # fmt: skip
    assert _eight_beside(*arguments) == _each_beside(*arguments)


# Bends


@given(
    reals(-0.3, 0.3), reals(0, 0.3), reals(-5, 80), reals(1, 35), reals(2, 4), reals(0.05, 0.3), reals(3, 20), reals(0, 9)
)
def test_who_drives_as_fast_as_a_bend_allows_is_slow_enough_there(
    curvature, change, distance, limit, wheelbase, tightest, preview, farther
):
    def speed(at=distance, bend=curvature, turn=change, most=limit):
        return call(speed_before)(bend, turn, at, most, wheelbase, tightest, preview, P)

    there = speed(at=preview / 2 - 0.01)
    assert 0 < there <= min(limit, call(curve_speed)(curvature, P)) * (1 + 1e-6) and there == speed(at=-3.0)
    assert there <= 1.4001 or abs(curvature) <= 0.7 * tightest * (1 + 1e-6)
    assert speed() >= there and speed(at=distance + farther) >= speed() and speed(bend=-curvature) == speed()
    assert speed(turn=change / 2) >= speed() and speed(most=limit + farther) >= speed() * (1 - 1e-6)
    braking = 2 * float(P.idm_deceleration) * max(distance - preview / 2, 0)
    assert speed() ** 2 == pytest.approx(there**2 + braking, rel=1e-4)


@compiled
def _curves_one_by_one(
    w, k, until, passed, row, scale, cap, before, wheelbase, tightest, preview, variant, network, p
):  # fmt: skip
    while k <= until:
        at, distance = network.sections[row.first + k], sample_distance(f32(k), passed, row, scale)
        if distance >= -row.step * scale:
            curvature = curved(w, variant, at.curvature, at.cos, at.sin)
            change, before = abs(curvature - before), curvature
            cap = min(cap, speed_before(curvature, change, distance, row.speed, wheelbase, tightest, preview, p))
        k = i32(k + STRIDE)
    return cap, before


_slow = kernel(plain(slow_for_curves), cache=False)


@functools.cache
def town():
    return simulator([find("downtown")], 1, laptop().replace(agents_per_world=1))


@given(matrices, SEEDS)
def test_bends_slow_down_eight_at_a_time_as_one_by_one(matrix, seed):
    sim, rng = town(), np.random.default_rng(seed)
    give(sim, matrix)
    network = sim.roads.network
    lane = network.lanes[rng.integers(len(network.lanes))]
    k = int(rng.integers(0, 2))
    until = int(k + 2 * rng.integers(-1, max((lane["quads"] - 1 - k) // 2 + 1, 0)))
    arguments = (
        0, i32(k), i32(until), f32(rng.uniform(-40, 60)), lane, f32(rng.uniform(0.5, 2)), f32(rng.uniform(5, 30)),
        f32(rng.uniform(-0.2, 0.2)), f32(rng.uniform(2, 5)), f32(rng.uniform(0.05, 0.3)), f32(rng.uniform(2, 20)),
        sim.state.variant, network, P,
    )  # fmt: skip
    assert same(_slow(*arguments), _curves_one_by_one(*arguments))


@given(st.integers(0, 50), st.integers(0, 60), reals(0.5, 2), reals(0.5, 2), reals(-50, 50))
def test_samples_of_the_road_end_with_their_lane(k, more, step, scale, passed):
    quads = k + 1 + more
    last = call(last_sample)(k, quads)
    assert k <= last < quads <= last + STRIDE and (last - k) % STRIDE == 0
    row = np.zeros(1, [("step", np.float32)])
    row["step"] = step
    away = [call(sample_distance)(float(at), passed, row[0], scale) for at in (0, last)]
    assert away[0] == np.float32(passed) and away[1] == pytest.approx(passed + last * step * scale, abs=1e-3)


# Who is behind, and who would be touched


@given(
    reals(-30, 30), reals(-9, 9), reals(-6, 6), reals(-3, 3), reals(1, 12), reals(0.5, 2.6), reals(-3, 15), reals(-0.2, 0.2),
    reals(0, 5),
)  # fmt: skip
def test_there_is_less_room_behind_for_whom_somebody_comes(dx, dy, dz, angle, length, width, speed, bend, nearer):
    def room(x=dx, y=dy, turn=angle, fast=speed, arc=bend):
        return call(room_to)(x, y, dz, math.cos(turn), math.sin(turn), length, width, fast, 1.0, 0.0, arc, 2.25, 1.0, P)

    found = room()
    assert room(y=-dy, turn=-angle, arc=-bend) == pytest.approx(found, abs=1e-3)
    if dx >= 0 or abs(dz) > LEVEL_GAP:
        assert found == FAR
    elif found < FAR:
        away = -dx - 2.25 - (length * abs(math.cos(angle)) + width * abs(math.sin(angle))) / 2
        assert found <= away + 1e-3 and (speed * math.cos(angle) > 0 or found == pytest.approx(away, abs=1e-3))
    if dx < 0 and abs(dz) < LEVEL_GAP and abs(dy) < 1 + width / 2:
        assert found < FAR or abs(speed * math.sin(angle)) > 0
        assert room(fast=0.0) < FAR


_room_behind, _touched = (kernel(plain(stage), cache=False) for stage in (room_behind, touched))


@compiled
def _each_room(w, a, bend, half_length, half_width, rows, pose, motion, body, p):
    room = FAR
    for b in range(rows.status.shape[1]):
        if b != a and rows.status[w, b] >= LIVE:
            room = min(room, room_to(
                pose.x[w, b] - pose.x[w, a], pose.y[w, b] - pose.y[w, a], pose.z[w, b] - pose.z[w, a], pose.cos[w, b],
                pose.sin[w, b], body.length[w, b], body.width[w, b], motion.speed[w, b], pose.cos[w, a], pose.sin[w, a],
                bend, half_length, half_width, p,
            ))  # fmt: skip
    return room


@compiled
def _each_touched(w, a, distance, x, y, z, cos, sin, rows, pose, motion, body):
    for b in range(rows.status.shape[1]):
        if touches(w, a, b, distance, x, y, z, cos, sin, rows, pose, motion, body):
            return i32(b)
    return i32(-1)


@given(SEEDS, st.integers(0, AGENTS - 1))
def test_who_is_behind_and_who_is_touched_is_found_eight_at_a_time_as_one_by_one(seed, a):
    """On a road without edges near, so that only agents can be touched."""
    sim, rng = crowd(), np.random.default_rng(seed)
    give(sim, np.eye(2))
    scatter(sim, rng)
    state = sim.state
    state.pose.x[0], state.pose.y[0] = rng.uniform(-25, 25, (2, AGENTS))
    bend = float(np.clip(state.traffic.curvature[0, a], -0.2, 0.2))
    half_length, half_width = state.body.length[0, a] / 2, state.body.width[0, a] / 2
    expected = _each_room(0, a, f32(bend), half_length, half_width, state.rows, state.pose, state.motion, state.body, P)
    found = _room_behind(
        0, a, state.rows, state.pose, state.motion, state.body, state.lane_position, state.variant, sim.roads.network,
        sim.conflicts, state.traffic, P,
    )  # fmt: skip
    assert same(found, expected)
    for distance in (2.0, -2.0):
        x, y = (float(one[0, a]) + distance * float(turn[0, a]) for one, turn in (
            (state.pose.x, state.pose.cos), (state.pose.y, state.pose.sin)
        ))  # fmt: skip
        place = f32(x), f32(y), state.pose.z[0, a], state.pose.cos[0, a], state.pose.sin[0, a]
        others = state.rows, state.pose, state.motion, state.body
        met = _touched(0, a, state.clock, f32(distance), f32(0), *others, state.variant, sim.roads.network, sim.roads.grid)
        assert met in (a, _each_touched(0, a, f32(distance), *place, *others))


@given(reals(-20, 20), reals(-20, 20), reals(-6, 6), reals(1, 12), reals(1, 12), reals(-3, 15), reals(0, 5))
def test_who_overlaps_is_near_enough_to_be_touched(ahead, left, dz, length, other_length, speed, more):
    found = call(in_touch)(ahead, left, dz, length, other_length, speed)
    assert found == call(in_touch)(-ahead, left, -dz, length, other_length, speed)
    assert not found or (abs(dz) <= LEVEL_GAP and call(in_touch)(ahead, left, dz, length + more, other_length, speed + more))
    if max(abs(ahead), abs(left)) <= length and abs(dz) < LEVEL_GAP:
        assert found


@compiled
def _eight_rules(given, rest, p, out, flags):
    one, two, three, four = (
        eight_from(given[0], 0),
        eight_from(given[1], 0),
        eight_from(given[2], 0),
        eight_from(given[3], 0),
    )
    five, six, seven, eighth = (
        eight_from(given[4], 0), eight_from(given[5], 0), eight_from(given[6], 0), eight_from(given[7], 0)
    )  # fmt: skip
    put_eight(out[0], 0, speed_before(one, abs(two), three, rest[0], rest[1], rest[2], rest[3], p))
    put_eight(out[1], 0, room_to(
        one, two, three, four, five, six, seven, eighth, rest[0], rest[1], rest[2], rest[3], rest[4], p
    ))  # fmt: skip
    flags[0] = bits_of(in_touch(one, two, three, rest[0], six, eighth))


@compiled
def _each_rule(given, rest, p, out, flags):
    for k in range(EIGHT):
        x = given[:, k]
        out[0, k] = speed_before(x[0], abs(x[1]), x[2], rest[0], rest[1], rest[2], rest[3], p)
        out[1, k] = room_to(x[0], x[1], x[2], x[3], x[4], x[5], x[6], x[7], rest[0], rest[1], rest[2], rest[3], rest[4], p)
        flags[0] |= u64(in_touch(x[0], x[1], x[2], rest[0], x[5], x[7])) << u64(k)


@given(SEEDS)
def test_rules_of_traffic_say_the_same_of_eight_as_of_one(seed):
    rng = np.random.default_rng(seed)
    numbers = rng.normal(0, rng.choice([0.1, 1, 10]), (8, EIGHT)).astype(np.float32)
    rest = tuple(rng.uniform(0.1, 2, 5).astype(np.float32))
    out, flags = np.zeros((2, 2, EIGHT), np.float32), np.zeros((2, 1), np.uint64)
    _eight_rules(numbers, rest, P, out[0], flags[0])
    _each_rule(numbers, rest, P, out[1], flags[1])
    assert same(out[0], out[1]) and flags[0] == flags[1]


# Whom others drive


@pytest.mark.parametrize("town", ["downtown", "village"])
def test_of_whom_others_drive_the_way_on_is_what_it_would_be_for_a_driver_by_rules(town):
    """They look for junctions first, and for bodies only where one comes."""
    config = laptop().replace(agents_per_world=40, variant_scale=(0.9, 1.2))
    sim = simulator([find(town)], 40, config, drivers="idm")
    rng, junctions, held = np.random.default_rng(0), 0, 0
    for _ in range(30):
        sim.step(rng.integers(3, 12, sim.rows))
        told = {}
        for driver in (IDM, POLICY):
            before = [array.copy() for array in sim.state.traffic]
            sim.state.rows.driver[:] = driver
            run("intend", sim)
            told[driver] = {
                name: getattr(sim.state.traffic, name).copy() for name in ("next", "gap", "inside", "front", "may_enter")
            }
            for array, old in zip(sim.state.traffic, before, strict=True):
                array[:] = old
        sim.state.rows.driver[:] = IDM
        may, its = told[IDM].pop("may_enter"), told[POLICY].pop("may_enter")
        for name, array in told[IDM].items():
            assert np.array_equal(array, told[POLICY][name]), name
        # Who hardly moves is not thought to want in, if others drive it, and whose turn it is goes if it drives by rules.
        alike = (sim.state.motion.speed >= 0.5) & (sim.state.traffic.turn == 0)
        assert np.array_equal(may[alike], its[alike])
        junctions += np.count_nonzero(told[IDM]["next"] >= 0)
        held += np.count_nonzero((told[IDM]["next"] >= 0) & ~its & alike)
    assert junctions > 100 and held > 0
