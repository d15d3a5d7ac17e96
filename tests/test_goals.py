"""Goals: how many and how far, when they count, and that progress counts once."""

import math
from dataclasses import replace

import numpy as np
import pytest
import shapely
from conftest import (
    aim_at,
    call,
    clear,
    crossing,
    motorway,
    place,
    reals,
    ring,
    road_map,
    run,
    section_at,
    simulator,
    straight,
)
from hypothesis import given
from hypothesis import strategies as st
from warps import warped

from gigaflow_env.config import Config, laptop
from gigaflow_env.roads import load, shipped
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.compiled.tables import START_WIDTH, UNREACHABLE
from gigaflow_env.sim.goals import aim, passed, walk, wide_quad
from gigaflow_env.sim.rewards import GOAL_RADIUS

# Drawing a route

ROUND = 400 + 20 * math.pi
"""[m] Once around the ring."""
SMALL = {"agents_per_world": 1, "lane_count": 1, "boundary_count": 1, "stop_count": 1, "agent_count": 0}


def goal_places(sim):
    """Metres down the ring of each agent and of its goals: (rows,), (rows, 4)."""
    network = sim.roads.network
    lane = network.sections["lane"]
    at = np.cumsum(network.lanes["length"]) - network.lanes["length"]
    section, goals = sim.state.lane_position.section[:, 0], sim.state.goals.section[:, 0]
    s = [
        at[lane[k]] + (k - network.lanes["first"][lane[k]] + 0.5) * network.lanes["step"][lane[k]] for k in (section, goals)
    ]
    return s[0].astype(float), s[1].astype(float)


@pytest.fixture(scope="module")
def near_goals():
    return simulator(ring(), 3000, Config(**SMALL, first_goal="near"))


def test_one_to_four_goals(near_goals):
    counts = np.bincount(near_goals.state.goals.count[:, 0], minlength=5)
    assert counts[0] == 0 and counts[1:] == pytest.approx(750, abs=5 * np.sqrt(3000 * 0.25 * 0.75))
    only = simulator(ring(), 50, Config(**SMALL, waypoints_max=0))
    assert (only.state.goals.count == 1).all() and (only.state.goals.next == 0).all()


def test_the_first_goal_is_20_to_200_metres_down_the_road(near_goals):
    start, goals = goal_places(near_goals)
    way = np.remainder(goals[:, 0] - start, ROUND)
    assert 19.4 < way.min() < 21 and 199 < way.max() < 200.6
    deviation = abs(np.sort((way - 20) / 180) - np.arange(3000) / 3000).max()
    assert deviation * np.sqrt(3000) < 1.95  # Kolmogorov-Smirnov, 0.1 %
    assert near_goals.state.lane_position.route_distance[:, 0] == pytest.approx(way, abs=0.02)


def test_later_goals_are_as_far_apart_and_point_into_similar_directions(near_goals):
    _, goals = goal_places(near_goals)
    state, sections = near_goals.state, near_goals.roads.network.sections
    turned, straight = [], []
    for k in (1, 2, 3):
        more = state.goals.count[:, 0] > k
        way = np.remainder(goals[more, k] - goals[more, k - 1], ROUND)
        assert 19.4 < way.min() and way.max() < 200.6
        a, b = (sections[state.goals.section[more, 0, k - n]] for n in (0, 1))
        turned.append(a["cos"] * b["cos"] + a["sin"] * b["sin"])
        lane = near_goals.roads.network.lanes[b["lane"]]
        straight.append((b["curvature"] == 0) * (lane["first"] + lane["quads"] - state.goals.section[more, 0, k - 1]))
    turned, straight = np.concatenate(turned), np.concatenate(straight)
    # With 120 m of straight road ahead, 5 of 9 distances stay on it: 8 tries fail in 0.15 %. Without tries it would be 44 %.
    assert (turned > 0.49)[straight > 120].mean() > 0.995 and (straight > 120).sum() > 500
    assert (turned > 0.49)[straight < 19].mean() < 0.9, "at the end of a straight there is nothing else: the rule is relaxed"


def test_goals_lie_in_the_middle_of_their_quad(near_goals):
    goals, sections = near_goals.state.goals, near_goals.roads.network.sections
    for k in range(4):
        more = goals.count[:, 0] > k
        section = goals.section[more, 0, k]
        for name in ("x", "y"):
            middle = (sections[name][section] + sections[name][section + 1]) / 2
            assert getattr(goals, name)[more, 0, k] == pytest.approx(middle, abs=1e-4)


def test_the_first_goal_may_be_anywhere_on_the_map():
    sim = simulator(ring(), 3000, Config(**SMALL, first_goal="map"))
    places = np.searchsorted(sim.roads.network.starts, sim.state.goals.section[:, 0, 0])
    share = np.sort((places + 0.5) / len(sim.roads.network.starts))
    assert abs(share - np.arange(3000) / 3000).max() * np.sqrt(3000) < 2.1


@pytest.mark.parametrize("first_goal", ["map", "near"])
@pytest.mark.parametrize("name", ["loop", "downtown"])
def test_goals_in_a_town_can_be_reached_and_lie_outside_of_junctions(name, first_goal):
    sim = simulator(load(shipped()[name]), 500, Config(**SMALL, first_goal=first_goal))
    network, goals = sim.roads.network, sim.state.goals
    assert (sim.state.lane_position.route_distance < UNREACHABLE / 2).all()
    for k in range(4):
        section = goals.section[goals.count > k, k]
        assert (network.lanes["junction"][network.sections["lane"][section]] == 0).all()


def test_where_the_road_ends_the_goal_is_at_its_end():
    sim = simulator(crossing(), 1, Config(**SMALL, first_goal="near", goal_distance=(500, 500), waypoints_max=0))
    network, section = sim.roads.network, sim.state.goals.section[0, 0, 0]
    lane = network.lanes[network.sections["lane"][section]]
    left = (lane["first"] + lane["quads"] - section - 0.5) * lane["step"]
    assert lane["successors"] == 0 and 4 < left < 6  # so that a body finds room there


def abreast(lanes):
    """Lanes of 3000 m side by side, in one direction; the first is the leftmost."""
    return road_map(
        "abreast",
        *(
            straight(f"{k}", 0, -3.5 * k, 3000, -3.5 * k, **{
                side: f"{n}" for side, n in (("left", k - 1), ("right", k + 1)) if 0 <= n < lanes
            })
            for k in range(lanes)
        ),
    )  # fmt: skip


@pytest.mark.parametrize("changes", [0, 1, 2, 16])
def test_goals_lie_no_more_lanes_aside_than_the_configuration_says(changes):
    near = Config(
        **SMALL, first_goal="near", goal_distance=(20.0, 200.0), waypoints_max=0, goal_lane_changes=changes
    )  # fmt: skip
    sim = simulator(abreast(9), 3000, near)
    sections, state = sim.roads.network.sections, sim.state
    start, goal = (sections["lane"][found[:, 0]] for found in (state.lane_position.section, state.goals.section[:, :, 0]))
    aside = np.abs(goal - start)
    middle = start == 4  # there are four more lanes on each side
    shares = [1.0, *(0.3 * 0.5**k for k in range(min(changes, 4)))]  # of those that go at least so many lanes aside
    assert aside.max() == min(changes, 8) or (changes == 16 and aside.max() > 4)
    for lanes, share in enumerate(shares):
        found = (aside[middle] >= lanes).mean()
        assert found == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / middle.sum()) + 1e-9)
    assert (state.lane_position.route_distance[:, 0] < 201 + 5 * aside).all(), "a lane change is no detour"


def test_every_route_is_another_one():
    sim = simulator(ring(), 200, Config(**SMALL))
    first = sim.state.goals.section.copy()
    sim.state.clock.tick[:] += 1
    for w in range(200):
        run("plan", sim, w=w)
    assert (sim.state.goals.routes == 2).all()
    assert (first[:, 0, 0] == sim.state.goals.section[:, 0, 0]).mean() < 0.05


# Reaching goals. The scene: on the lane "east", which leads along y = -10 from x = 0 to 200


@pytest.fixture
def sim():
    made = simulator(ring(), 1, laptop().replace(agents_per_world=1, on_route_done="new_route"))
    clear(made)
    made.state.reward_weights.coefficients[:] = 0
    made.state.reward_weights.coefficients[0, 0, GOAL_RADIUS] = 5.0
    return made


def step_to(sim, x, old_x, *, y=-10.0, speed=10.0):
    """Move the agent without the bicycle; True where a goal was reached."""
    place(sim, 0, x, y, speed=speed, coming_from=(old_x, y, 0.0))
    run("locate", sim)
    run("arrive", sim)
    return bool(sim.state.events.goal[0, 0])


def start(sim, x, *goals):
    place(sim, 0, x, -10)
    aim_at(sim, 0, *goals)
    sim.state.lane_position.section[0, 0] = section_at(sim, "east", x)
    run("locate", sim)
    sim.state.goals.best[0, 0] = sim.state.lane_position.route_distance[0, 0]
    sim.state.goals.routes[0, 0] = 1


def test_a_way_point_counts_within_the_radius_at_any_speed(sim):
    start(sim, 20, ("east", 50), ("east", 150))
    assert not step_to(sim, 45.4, 40)  # 5.1 m before the goal at 50.5
    assert sim.state.goals.next[0, 0] == 0
    assert step_to(sim, 45.6, 45.4, speed=20.0)
    assert sim.state.goals.next[0, 0] == 1 and not sim.state.events.route_done[0, 0]
    assert sim.state.lane_position.route_distance[0, 0] == pytest.approx(150.5 - 45.6, abs=0.01)
    assert sim.state.goals.best[0, 0] == sim.state.lane_position.route_distance[0, 0]


def test_a_way_point_that_was_passed_between_two_steps_counts(sim):
    sim.state.reward_weights.coefficients[0, 0, GOAL_RADIUS] = 2.0
    start(sim, 20, ("east", 50), ("east", 150))
    assert step_to(sim, 53, 47)  # 2.5 and 3.5 m away at the ends
    start(sim, 20, ("east", 50), ("east", 150))
    assert not step_to(sim, 53, 47, y=-12.1)  # passed 2.1 m beside it


def test_the_final_goal_counts_only_when_slow(sim):
    start(sim, 20, ("east", 50))
    assert not step_to(sim, 50, 49, speed=3.0)
    assert not step_to(sim, 50, 49, speed=-3.1)
    assert step_to(sim, 50, 49, speed=2.9)
    assert sim.state.events.route_done[0, 0]


@pytest.mark.parametrize(("rule", "routes"), [("new_route", 2), ("respawn", 1)])
def test_after_the_final_goal(rule, routes):
    made = simulator(ring(), 1, laptop().replace(agents_per_world=1, on_route_done=rule))
    clear(made)
    made.state.reward_weights.coefficients[0, 0, GOAL_RADIUS] = 5.0
    start(made, 20, ("east", 50))
    assert step_to(made, 50, 49, speed=1.0)
    assert made.state.goals.routes[0, 0] == routes
    if rule == "new_route":
        assert made.state.goals.next[0, 0] == 0
        assert made.state.goals.best[0, 0] == made.state.lane_position.route_distance[0, 0] > 20


def test_events_last_one_step(sim):
    start(sim, 20, ("east", 50), ("east", 150))
    assert step_to(sim, 48, 45)
    assert not step_to(sim, 51, 48)


def test_passed_is_the_distance_to_the_way():
    """Goals abreast of the way, ahead, behind, and of an agent at rest."""
    cases = np.array([[3, 0, -3, 0, 0, 2], [3, 0, -3, 0, 5, 0], [3, 0, -3, 0, -4, 1], [1, 1, 1, 1, 1, 3]], np.float32)
    assert [call(passed)(*case) for case in cases] == [4.0, 4.0, 2.0, 4.0]


# Progress


def test_progress_is_the_way_gained(sim):
    start(sim, 20, ("east", 150))
    for k in range(20):
        step_to(sim, 20 + 3.0 * (k + 1), 20 + 3.0 * k)
        assert sim.state.goals.gained[0, 0] == pytest.approx(3.0, abs=1e-3)


def test_progress_counts_once(sim):
    """Forth, back and forth again over the same 9 m."""
    start(sim, 20, ("east", 150))
    total, x = 0.0, 20.0
    for direction in (1, 1, 1, -1, -1, -1, 1, 1, 1, 1):
        step_to(sim, x + 3.0 * direction, x)
        x += 3.0 * direction
        total += sim.state.goals.gained[0, 0]
    assert x == 32.0 and total == pytest.approx(12.0, abs=1e-3)


def test_a_jump_of_the_way_is_no_progress(sim):
    """At most one and a half times the way moved counts per step, and the rest is not lost."""
    start(sim, 20, ("east", 150))
    sim.state.goals.best[0, 0] = 500.0
    step_to(sim, 23, 20)
    assert sim.state.goals.gained[0, 0] == pytest.approx(4.5)
    assert sim.state.goals.best[0, 0] == pytest.approx(495.5)


def test_whoever_drives_in_circles_gains_nothing():
    """Once the goal has been passed too fast, no lap brings progress: the sum is the way to where it came nearest."""
    made = simulator(
        ring(), 1, laptop().replace(agents_per_world=1, on_crash="continue", max_steps=10_000, world_steps=10_000)
    )
    clear(made)
    made.state.reward_weights.coefficients[0, 0, GOAL_RADIUS] = 2.0
    start(made, 20, ("east", 150))
    network, total = made.roads.network, 0.0
    every = np.concatenate([np.arange(row["first"], row["first"] + row["quads"]) for row in network.lanes])
    x, y = (network.sections[name][every] + o for name, o in zip("xy", made.roads.origins[0], strict=False))
    at = 20
    for _ in range(2 * len(every) // 5):
        ahead = (at + 5) % len(every)
        place(made, 0, x[ahead], y[ahead], math.atan2(y[ahead] - y[at], x[ahead] - x[at]), speed=16.0,
              coming_from=(x[at], y[at], 0.0))  # fmt: skip
        run("locate", made)
        run("arrive", made)
        total += made.state.goals.gained[0, 0]
        at = ahead
    assert total == pytest.approx(150 - 20, abs=0.1)


# Properties of the rules

places = reals(-20, 20)


@given(places, places, places, places, places, places)
def test_a_goal_is_passed_at_its_distance_to_the_way(x, y, old_x, old_y, goal_x, goal_y):
    way, goal = shapely.LineString([(old_x, old_y), (x, y)]), shapely.Point(goal_x, goal_y)
    found = call(passed)(x, y, old_x, old_y, goal_x, goal_y)
    assert math.sqrt(found) == pytest.approx(way.distance(goal), abs=2e-3)
    assert math.sqrt(call(passed)(old_x, old_y, x, y, goal_x, goal_y)) == pytest.approx(way.distance(goal), abs=2e-3)


ROADS = compile_roads([ring(), motorway(), crossing()])
NETWORK = ROADS.network
LANES = NETWORK.lanes
QUADS = [int(k) for lane in LANES for k in range(lane["first"], lane["first"] + lane["quads"])]
SEED = np.array([1, 2], np.uint32)


def down_the_ring(section):
    """Metres of the map from the start of the ring's first lane to the middle of a quad."""
    lane = NETWORK.sections["lane"][section]
    assert lane < 4
    return float(LANES["length"][:lane].sum() + (section - LANES["first"][lane] + 0.5) * LANES["step"][lane])


def down_the_motorway(section):
    """Metres of its inner lane from the start to abreast of the middle of a quad of either lane."""
    lane = NETWORK.sections["lane"][section]
    share, part = (section - LANES["first"][lane] + 0.5) / LANES["quads"][lane], (lane - 4) % 4
    return float(LANES["length"][4 : 4 + part].sum() + share * LANES["length"][4 + part])


@given(
    st.sampled_from(QUADS), reals(0, 400), st.integers(0, 10_000), st.integers(0, 3), reals(0.5, 2), reals(-3, 3),
    st.integers(0, 16),
)  # fmt: skip
def test_a_walk_leads_down_the_road_to_where_one_may_stop(start, distance, moment, number, scale, turn, changes):
    """In worlds that are turned and scaled: out of junctions but for the end of a road; on the ring it's as far as asked."""
    variant = warped(scale * np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]))
    found = call(walk)(SEED, 0, 0, 0, moment, number, variant, NETWORK, start, distance, changes)
    assert found == call(walk)(SEED, 0, 0, 0, moment, number, variant, NETWORK, start, distance, changes)
    assert found in QUADS
    here, there = (NETWORK.sections["lane"][k] for k in (start, found))
    map_of = np.searchsorted(NETWORK.maps["lanes_at"], [here, there], side="right")
    lane = LANES[there]
    assert map_of[0] == map_of[1] and (lane["junction"] == 0 or lane["successors"] == 0)
    if map_of[0] == 1:
        moved = (down_the_ring(found) - down_the_ring(start)) * scale
        apart = math.remainder(moved - distance, scale * ROUND)
        assert abs(apart) < 0.51 * scale + 0.02, "the middle of a quad is at most half a quad off"
    elif map_of[0] == 2 and 20 < distance / scale < 350:
        # Outside, bends are 18 % longer, and who changes lanes in one keeps the share of the lane.
        moved = (down_the_motorway(found) - down_the_motorway(start)) % LANES["length"][4:8].sum() * scale
        assert 0.7 * distance - scale <= moved <= 1.4 * distance + scale


def tapers(first, last):
    """A road of one lane, 100 m long, whose width goes from `first` to `last` [m] over its second half."""
    lane = straight("lane", 0, 0, 100, 0)
    line = np.insert(lane.line, 1, lane.line.mean(0), axis=0)
    line[:, 4] = first, first, last
    return compile_roads(road_map("taper", replace(lane, line=line))).network


TAPERS = {widths: tapers(*widths) for widths in ((4.0, 1.4), (1.4, 4.0), (2.5, 1.0), (3.0, 3.0))}


@given(st.sampled_from(sorted(TAPERS)), st.integers(0, 99))
def test_a_wide_quad_is_the_same_where_it_is_wide_enough_else_the_nearest_that_is(widths, quad):
    """Before it first, and then by a car's length; behind it only where all before are narrow."""
    network = TAPERS[widths]
    found = call(wide_quad)(network, network.lanes[0], quad)
    width = 2 * network.sections["half_width"]
    wide = [k for k in range(network.lanes["quads"][0]) if width[k + 1] >= np.float32(START_WIDTH)]
    before = [k for k in wide if k <= quad]
    if before:
        assert found == (quad if before[-1] == quad else max(before[-1] - 5, 0))
    elif any(width[quad:-1] >= np.float32(START_WIDTH)):
        assert found > quad and width[found] >= np.float32(START_WIDTH)
    else:
        assert found == quad


@pytest.mark.parametrize("distance", [10.0, 60.0, 75.0, 90.0, 300.0])
def test_no_goal_lies_where_a_lane_has_become_too_narrow(distance):
    """Up to the section at 80 m it is 2.4 m wide: the widest car, and some room. What lies behind becomes 5 m before."""
    network, plain_variant = tapers(4.0, 1.4), warped(np.eye(2))
    found = call(walk)(SEED, 0, 0, 0, 1, 0, plain_variant, network, 2, distance, 1)
    assert found == (2 + distance if distance < 78 else 79 - 5)


@given(st.sampled_from(QUADS[:450]), st.sampled_from(QUADS[:450]), reals(0, 1))
def test_aiming_measures_the_way_around_the_ring(section, goal, fraction):
    state = AIMING.state
    state.lane_position.section[0, 0], state.lane_position.fraction[0, 0] = section, fraction
    state.goals.section[0, 0, 1], state.goals.next[0, 0] = goal, 1
    state.lane_position.route_distance[:], state.goals.best[:] = np.nan, np.nan
    call(aim)(0, 0, state.clock, state.goals, state.lane_position, state.variant, AIMING.roads.network)
    way = (down_the_ring(goal) - down_the_ring(section) - (fraction - 0.5)) % ROUND
    assert state.goals.best[0, 0] == state.lane_position.route_distance[0, 0]
    assert abs(math.remainder(state.lane_position.route_distance[0, 0] - way, ROUND)) < 0.05
    assert -1e-3 <= state.lane_position.route_distance[0, 0] <= ROUND + 0.1


AIMING = simulator(ring(), 1, Config(**SMALL))
