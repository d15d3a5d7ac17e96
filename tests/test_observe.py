"""What an agent sees: hand-made scenes, brute force in numpy, and that every column of every row is written."""

import math

import numpy as np
import pytest
from conftest import aim_at, bridge, call, clear, crossing, motorway, place, reals, ring, run, section_at, simulator
from hypothesis import given
from hypothesis import strategies as st
from warps import matrices, warped

from gigaflow_env.config import CONDITIONING, laptop, paper
from gigaflow_env.declare import fields
from gigaflow_env.layout import CONDITIONING_BOUNDS, FEATURES, Ego, Goal, LaneSample, Neighbour, StopLine
from gigaflow_env.roads import load, shipped
from gigaflow_env.roads.compiled.tables import LANE_CHANGE_COST, LEAD_UNIT
from gigaflow_env.sim.observe import (
    NOBODY,
    agent_of,
    blank,
    clipped,
    key_scale,
    lane_seen,
    neighbour_key,
    store,
)
from gigaflow_env.sim.variant import frame_of
from gigaflow_env.state import ENDED, GREEN, LIVE, OFF, RED, WAITING, YELLOW


def seen(sim, a=0, w=0):
    """Blocks of agent a's observation, made anew."""
    sim.observations[:] = np.nan
    run("find_neighbours", sim, w=w)
    run("select_lane_samples", sim, w=w)
    run("observe", sim, [a], w=w)
    assert np.isfinite(sim.observations[w, a]).all()
    return sim.layout.split(sim.observations[w, a])


def feature(group, values):
    return dict(zip(fields(group), values.tolist(), strict=True))


@pytest.fixture
def scene():
    """An agent on the lane "west in" of a crossing with lights, 20 m before its stop line, heading east."""
    config = laptop().replace(agents_per_world=4, lane_spacing=20.0, lane_count=12, agent_count=3)
    sim = simulator(crossing(lights=True), 4, config)
    clear(sim)
    place(sim, 0, -32, -1.5, 0.1, speed=6, length=4.8, width=1.9)
    sim.state.lane_position.section[0, 0] = section_at(sim, "west in", 40)
    aim_at(sim, 0, ("west in", 50), ("east out", 30))
    sim.state.lights.colour[:] = [GREEN, YELLOW, RED]  # east, south, west
    run("locate", sim)
    return sim


def turned(x, y, angle=0.1):
    """(x, y) in a frame turned by `angle`."""
    return x * math.cos(angle) + y * math.sin(angle), y * math.cos(angle) - x * math.sin(angle)


def test_ego(scene):
    motion, body = scene.state.motion, scene.state.body
    motion.steer[:], motion.acceleration[:], motion.lateral[:] = 0.11, -2.0, 1.5
    body.c_acc[:], body.c_throttle[:], body.c_steer[:], body.c_vel[:] = 1.4, 0.9, 1.2, 0.6
    assert feature(Ego, seen(scene).ego) == pytest.approx({
        "offset": 0.25 / 5, "angle": 0.1 / math.pi, "curvature": 0.0, "speed": 6 / 30, "speed_limit": 12 / 30,
        "steer": 0.11 / 0.55, "acceleration": -0.4, "lateral": 0.3, "c_acc": 0.7, "c_throttle": 0.45, "c_steer": 0.6,
        "length": 4.8 / 8, "width": 1.9 / 4,
    }, abs=1e-5)  # fmt: skip
    body.c_vel[:] = 1.5
    assert feature(Ego, seen(scene).ego)["speed_limit"] == pytest.approx(13.9 / 30)  # the lane's


def test_curvature():
    sim = simulator(ring(), 1)
    clear(sim)
    place(sim, 0, 210, 0, math.pi / 2)  # in the middle of the left bend around the east end
    sim.state.lane_position.section[0, 0] = section_at(sim, "east end", 15)
    run("locate", sim)
    assert seen(sim).ego[2] == pytest.approx(0.1 / 0.2, rel=0.02)


def test_conditioning(scene):
    """-1 and 1 are the published range; where the paper fixes a value it is in the middle, and progress goes up to 0.1."""
    low, high = np.array(CONDITIONING_BOUNDS, float).T
    for share in (0.0, 0.25, 1.0):
        scene.state.reward_weights.coefficients[0, 0] = low + share * (high - low)
        assert seen(scene).conditioning == pytest.approx([2 * share - 1] * len(CONDITIONING), abs=1e-6)
    bounds = dict(zip(CONDITIONING, CONDITIONING_BOUNDS, strict=True))
    assert bounds["goal_radius"] == (2.0, 12.0) and bounds["progress"] == (0.0, 0.1)
    assert bounds["velocity"] == (0.0, 0.005) and bounds["timestep"] == (0.0, 5e-5)


def test_goals(scene):
    goals = [feature(Goal, row) for row in seen(scene).goals]
    x, y = turned(-72 + 50.5 + 32, -1.75 + 1.5)
    assert goals[0] == pytest.approx({"x": x / 60, "y": y / 60, "final": 0}, abs=1e-5)
    x, y = turned(12 + 30.5 + 32, -1.75 + 1.5)
    assert goals[1] == pytest.approx({"x": 1.0, "y": y / 60, "final": 1}, abs=1e-5)  # 74 m away: clipped
    assert goals[2] == goals[3] == goals[1]
    scene.state.goals.next[0, 0] = 1
    assert [feature(Goal, row) for row in seen(scene).goals] == [goals[1]] * 4


def test_lane_samples(scene):
    """Samples lie 10, 30 and 50 m down each arm, and in the middle of each connector."""
    lanes = [feature(LaneSample, row) for row in seen(scene).lanes]
    x, y = turned(-72 + 30 + 32, -0.25)  # 10 m behind
    behind = {"x": x / 60, "y": y / 60, "cos": math.cos(0.1), "sin": -math.sin(0.1), "width": 0.35, "distance": 20.5 / 200}
    ahead = {**behind, "x": turned(10, -0.25)[0] / 60, "y": turned(10, -0.25)[1] / 60, "distance": 0.5 / 200}
    for wanted in (behind, ahead):
        found = [lane for lane in lanes if abs(lane["x"] - wanted["x"]) + abs(lane["y"] - wanted["y"]) < 1e-4]
        assert len(found) == 1
        assert found[0] == pytest.approx({**wanted, "relative": wanted["distance"] - 0.5 / 200}, abs=1e-4)
    opposite = [lane for lane in lanes if lane["cos"] < -0.9]
    assert opposite and all(lane["distance"] == 1 for lane in opposite), "no way leads from there to the goal"
    assert min(lane["relative"] for lane in lanes) == 0


def test_boundaries(scene):
    """Every point lies on the edge of the road: 1.75 m from a center line, 3.5 m right of the axis on this arm."""
    points = seen(scene).boundaries * 60
    cos, sin = math.cos(0.1), math.sin(0.1)
    x, y = -32 + points[:, 0] * cos - points[:, 1] * sin, -1.5 + points[:, 0] * sin + points[:, 1] * cos
    near = abs(x + 32) < 5
    assert near.sum() >= 10
    assert abs(y[near]) == pytest.approx(3.5, abs=0.04)


def test_stop_lines(scene):
    stops = [feature(StopLine, row) for row in seen(scene).stops]
    x, y = turned(20, -0.25)
    direction = {"cos": math.cos(0.1), "sin": -math.sin(0.1)}
    wanted = {"x": x / 60, "y": y / 60, **direction, "red": 1, "yellow": 0, "green": 0}
    assert stops[0] == pytest.approx(wanted, abs=1e-5)
    assert (stops[1]["red"], stops[1]["yellow"], stops[1]["green"]) == (0, 1, 0)  # south, which is nearer than east
    scene.state.lights.colour[0, 2] = GREEN
    assert feature(StopLine, seen(scene).stops[0]) == pytest.approx({**wanted, "red": 0, "green": 1}, abs=1e-5)
    scene.state.lights.colour[0, 2] = OFF
    assert not seen(scene).stops[0].any()


def test_no_stop_lines():
    sim = simulator(ring(), 2)
    assert len(sim.roads.network.stops) == 0
    assert not seen(sim).stops.any()


def test_neighbours(scene):
    place(scene, 2, -22, 1.75, math.pi, speed=5, length=4.0, width=1.6)  # oncoming
    place(scene, 3, -35, -1.5, 0.0, speed=8, z=2.0)
    agents = [feature(Neighbour, row) for row in seen(scene).agents]
    x, y = turned(-3, 0)
    vx, vy = turned(8, 0)
    assert agents[0] == pytest.approx({
        "x": x / 60, "y": y / 60, "z": 0.2, "cos": math.cos(0.1), "sin": -math.sin(0.1), "velocity_x": vx / 30,
        "velocity_y": vy / 30, "length": 4.5 / 8, "width": 2.0 / 4, "present": 1,
    }, abs=1e-5)  # fmt: skip
    x, y = turned(10, 3.25)
    vx, vy = turned(-5, 0)
    assert agents[1] == pytest.approx({
        "x": x / 60, "y": y / 60, "z": 0, "cos": -math.cos(0.1), "sin": math.sin(0.1), "velocity_x": vx / 30,
        "velocity_y": vy / 30, "length": 0.5, "width": 0.4, "present": 1,
    }, abs=1e-5)  # fmt: skip
    assert set(agents[2].values()) == {0.0}


@pytest.mark.parametrize(("status", "visible"), [(LIVE, 1), (ENDED, 1), (WAITING, 0)])
def test_who_is_seen(scene, status, visible):
    """Whoever crashed in this step is still seen in the last observation of the others; who waits is nowhere."""
    place(scene, 1, -22, -1.5)
    scene.state.rows.status[0, 1] = status
    assert seen(scene).agents[0, -1] == visible


def test_nobody_beyond_the_range_is_seen(scene):
    for x, visible in ((-32 + 59.9, 1), (-32 + 60.1, 0)):
        place(scene, 1, x, -1.5)
        assert seen(scene).agents[0, -1] == visible


# Brute force


def nearest(sim, w, a):
    """Numbers of the agents nearest to a, by float64 distance."""
    pose, status = sim.state.pose, sim.state.rows.status[w]
    distance = np.hypot(*(array[w].astype(float) - array[w, a] for array in (pose.x, pose.y)))
    others = np.flatnonzero((status == LIVE) & (np.arange(len(status)) != a) & (distance < sim.config.view_range))
    return others[np.argsort(distance[others], kind="stable")], distance


@pytest.mark.parametrize(("agents", "count"), [(6, 8), (40, 8), (40, 1)])
def test_nearest_agents_equal_brute_force(agents, count):
    """Over random steps with crashes and new starts. Distances of less than the key's step may come in either order."""
    config = laptop().replace(agents_per_world=agents, agent_count=count, view_range=250.0)
    sim = simulator(load(shipped()["downtown" if agents > 6 else "loop"]), agents, config)
    rng, full, respawned = np.random.default_rng(0), 0, 0
    for _ in range(100):
        sim.step(rng.integers(0, 12, agents))
        respawned += sim.state.outcome.terminated.sum()
        for a in range(agents):
            expected, distance = nearest(sim, 0, a)
            found = sim.state.neighbours.agent[0, a]
            found = found[found >= 0]
            assert len(found) == min(len(expected), count) == len(set(found.tolist()))
            full += len(found) == count
            # Squared distances are counted in steps of range^2 / 2^24.
            assert distance[found] ** 2 == pytest.approx(distance[expected[:count]] ** 2, abs=2 * 250**2 / 2**24 + 1e-2)
    assert respawned > 20
    assert (full > 0) == (agents > count)


def test_of_agents_at_one_distance_the_lower_number_comes_first():
    sim = simulator(ring(), 6, laptop().replace(agents_per_world=6, agent_count=3))
    clear(sim)
    place(sim, 2, 50, -10)
    for a, (x, y) in zip((5, 0, 4, 1, 3), ((3, 0), (-3, 0), (0, 3), (0, -3), (20, 0)), strict=True):
        place(sim, a, 50 + x, -10 + y)
    for _ in range(3):  # whoever was nearest the last time has no advantage
        run("find_neighbours", sim)
        assert sim.state.neighbours.agent[0, 2].tolist() == [0, 1, 4]
        sim.state.neighbours.agent[0, 2] = [5, 4, 3]
    sim.state.rows.status[0, [0, 4, 5]] = WAITING
    run("find_neighbours", sim)
    assert sim.state.neighbours.agent[0, 2].tolist() == [1, 3, -1]


def way(network, number, lane, s, goal_lane, goal_s):
    """The way of one sample in float64."""
    row, here, there = network.maps[number], network.lanes[lane], network.lanes[goal_lane]
    scaled = float(s) * float(there["length"]) / float(here["length"])
    if here["bundle"] == there["bundle"] and goal_s >= scaled - 1e-3:
        return goal_s - scaled + LANE_CHANGE_COST * abs(int(here["order"]) - int(there["order"]))
    entry = row["route_at"] + there["local"] * row["lanes"] + here["local"]
    lead = 1.0 if row["leads_at"] < 0 else network.leads[row["leads_at"] + entry - row["route_at"]] / LEAD_UNIT
    return float(network.route[entry]) - float(s) * lead + goal_s


@pytest.mark.parametrize(
    "town", [motorway, crossing, lambda: load(shipped()["downtown"])], ids=["motorway", "crossing", "town"]
)
def test_sample_distances_equal_the_way(town):
    config = laptop().replace(agents_per_world=6, route_range=3000.0)
    sim = simulator([ring(), town()], 12, config, seed=2)
    network, state = sim.roads.network, sim.state
    compared = 0
    for w in range(2):
        of_map = range(network.maps["lanes_at"][w], network.maps["lanes_at"][w] + network.maps["lanes"][w])
        at = {int(network.lanes["local"][number]): number for number in of_map}
        for a in np.flatnonzero(state.rows.status[w] == LIVE):
            section = state.lane_position.section[w, a]
            lane = network.lanes[network.sections["lane"][section]]
            samples = network.samples[sim.roads.nearby.samples[lane["nearby_at"] + (section - lane["first"]) // 4]]
            goal = state.goals.section[w, a, state.goals.next[w, a]]
            goal_lane = network.sections["lane"][goal]
            goal_s = (float(goal - network.lanes["first"][goal_lane]) + 0.5) * float(network.lanes["step"][goal_lane])
            ways = np.array([way(network, w, at[int(row["local"])], row["s"], goal_lane, goal_s) for row in samples])
            found = sim.layout.split(sim.observations[w, a]).lanes
            assert found[:, 5] == pytest.approx(np.clip(ways / 3000, None, 1), abs=1e-5)
            assert found[:, 6] == pytest.approx(np.clip((ways - ways.min()) / 3000, None, 1), abs=1e-5)
            compared += (ways < 3000).sum()
    assert compared > 50


# Every row


def scenes():
    yield "laptop", lambda: simulator(load(shipped()["loop"]), 32, laptop())
    yield "paper", lambda: simulator(load(shipped()["downtown"]), 24, paper().replace(agents_per_world=24))
    yield "two maps", lambda: simulator([bridge(), crossing(lights=True)], 8, laptop().replace(agents_per_world=4))


@pytest.mark.parametrize("make", [make for _, make in scenes()], ids=[name for name, _ in scenes()])
def test_features_stay_in_their_space(make):
    """1,000 random steps, which accelerate more than they brake, so that agents get around."""
    sim = make()
    rng = np.random.default_rng(1)
    low, high = np.full(sim.layout.size, np.inf), np.full(sim.layout.size, -np.inf)
    for _ in range(1000):
        sim.step(rng.choice(12, sim.rows, p=[0.02, 0.02, 0.02, 0.05, 0.05, 0.05, 0.1, 0.2, 0.1, 0.13, 0.13, 0.13]))
        low = np.minimum(low, sim.observations.min(axis=(0, 1)))
        high = np.maximum(high, sim.observations.max(axis=(0, 1)))
        assert np.isfinite(sim.state.outcome.reward).all()
    assert np.isfinite(low).all() and np.isfinite(high).all()
    assert low.min() >= -1 and high.max() <= 1
    ego = sim.layout.split(np.stack([low, high])).ego
    assert (ego[1] > ego[0]).all(), [name for name, a, b in zip(fields(Ego), *ego, strict=True) if a == b]


@pytest.mark.parametrize("make", [make for _, make in scenes()], ids=[name for name, _ in scenes()])
def test_every_column_is_written(make):
    """NaN in all columns before every step: none is left after it, and rows without an agent are 0."""
    sim = make()
    rng, absent = np.random.default_rng(2), 0
    for step in range(40):
        sim.observations[:] = np.nan
        if step % 10 == 5:
            sim.state.rows.status[0, :2] = WAITING  # one of them may find no place at once
        sim.step(rng.integers(0, 12, sim.rows))
        assert np.isfinite(sim.observations).all()
        gone = sim.state.rows.status != LIVE
        assert not sim.observations[gone].any() and sim.observations[~gone].any(axis=1).all()
        assert np.array_equal(sim.state.outcome.active, ~gone)
        ended = sim.state.outcome.terminated | sim.state.outcome.truncated
        assert np.isfinite(sim.final_observations[ended]).all() and sim.final_observations[ended].any(axis=1).all()
        absent += ended.sum()
    assert absent > 0


def test_rows_beyond_the_last_are_blank():
    sim = simulator(ring(), 5, laptop().replace(agents_per_world=4))
    assert sim.state.rows.status.tolist() == [[LIVE] * 4, [LIVE, 0, 0, 0]]
    assert not sim.observations[1, 1:].any() and not sim.state.outcome.active[1, 1:].any()


def test_blocks_lie_side_by_side():
    config = paper()
    sim = simulator(ring(), 1, config.replace(agents_per_world=1))
    widths = [len(fields(group)) * count for group, count in zip(FEATURES, sim.layout.counts, strict=True)]
    assert list(sim.layout.starts) == [0, *np.cumsum(widths)[:-1].tolist()] and sim.layout.size == sum(widths)


# Properties of the rules


directions, metres = reals(-math.pi, math.pi), reals(-100, 100)


@given(st.lists(reals(-3, 3), min_size=1, max_size=12), st.integers(0, 4), st.integers(0, 4))
def test_features_are_put_where_they_belong(features, at, behind):
    out = np.full(at + len(features) + behind, np.nan, np.float32)
    call(store)(out, at, tuple(np.float32(one) for one in features))
    assert np.array_equal(out[at : at + len(features)], np.clip(np.float32(features), -1, 1))
    assert np.isnan(out[:at]).all() and np.isnan(out[at + len(features) :]).all()


@given(reals(-5, 5))
def test_a_feature_is_clipped(value):
    assert call(clipped)(np.float32(value)) == np.clip(np.float32(value), -1, 1)


@given(metres, metres, metres, metres, st.integers(0, 255), st.integers(0, 255), reals(20, 300))
def test_keys_order_by_distance_then_by_number(dx, dy, other_dx, other_dy, b, other, view_range):
    scale = call(key_scale)(np.float32(view_range))
    assert scale * np.float32(view_range) ** 2 == pytest.approx(2**24)
    key = call(neighbour_key)(np.float32(dx), np.float32(dy), b, scale)
    second = call(neighbour_key)(np.float32(other_dx), np.float32(other_dy), other, scale)
    distance, farther = math.hypot(dx, dy), math.hypot(other_dx, other_dy)
    assert (key == NOBODY) == (distance >= view_range) or distance == pytest.approx(view_range, rel=1e-5)
    assert call(agent_of)(np.uint32(key)) == (-1 if key == NOBODY else b)
    if distance**2 < farther**2 - 2 * view_range**2 / 2**24 - 1e-5 * farther**2:
        assert key < second or key == second == NOBODY
    assert (call(neighbour_key)(np.float32(dx), np.float32(dy), b + 1, scale) > key) or key == NOBODY or b == 255


@given(st.integers(1, 40), st.integers(1, 8), st.data())
def test_each_worker_blanks_its_own_columns(size, stride, data):
    out = np.full(size, np.nan, np.float32)
    first = data.draw(st.integers(0, stride - 1))
    call(blank)(first, stride, out)
    mine = np.arange(size) % stride == first
    assert np.array_equal(np.isnan(out), ~mine) and not out[mine].any()


@given(matrices, directions, metres, metres, directions, reals(2, 5), reals(0, 900), reals(0, 300))
def test_a_lane_sample_is_the_image_of_the_maps_in_the_agents_frame(matrix, heading, x, y, along, width, smallest, more):
    """Place and direction by complex numbers; the width is the distance of the images of the lane's edges."""
    variant, (cos, sin) = warped(matrix), (math.cos(along), math.sin(along))
    frame = tuple(np.float32(one) for one in call(frame_of)(0, variant, math.cos(heading), math.sin(heading)))
    area, scale, route_scale = abs(float(variant.det[0])), 1 / 200, 1 / 500
    found = call(lane_seen)(
        x, y, cos, sin, width, smallest + more, more, frame, area, scale, route_scale
    )  # fmt: skip
    image, direction = (complex(*(matrix @ one)) * np.exp(-1j * heading) for one in ((x, y), (cos, sin)))
    assert complex(found[0], found[1]) == pytest.approx(image * scale, abs=1e-5)
    assert complex(found[2], found[3]) == pytest.approx(direction / abs(direction), abs=1e-5)
    edge = complex(*(matrix @ [-sin * width, cos * width])) * np.exp(-1j * heading)
    between = abs((edge * direction.conjugate()).imag) / abs(direction)
    assert found[4] * 10 == pytest.approx(between, abs=1e-3)
    assert found[5:] == pytest.approx(((smallest + more) * route_scale, more * route_scale), abs=1e-5)
