"""Rule-based traffic: rules on paper, scenes made by hand, whole towns, and rows that a policy drives beside it."""

import functools
import math
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from conftest import (
    aim_at,
    bend,
    bridge,
    call,
    crossing,
    lane_number,
    motorway,
    place,
    plain,
    reals,
    ring,
    road_map,
    run,
    simulator,
    straight,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from rule_driven import put, scene
from warps import SHAPES, bound, give, image, matrices, warped

from gigaflow_env.config import Config, laptop, params
from gigaflow_env.jit import kernel
from gigaflow_env.roads import Lane, Signal
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.compiled.conflict_zones import conflicts
from gigaflow_env.sim.dynamics import accelerate
from gigaflow_env.sim.lanes import place_s, route_distance
from gigaflow_env.sim.traffic.car_following import (
    behind,
    curve_speed,
    delay,
    free,
    needed_brake,
    no_reverse,
    safe_speed,
    stopping_distance,
    stopping_speed,
    to_jerk,
)
from gigaflow_env.sim.traffic.cycles import BACK, ENDS, MAKES_ROOM, NO_TURN, STAY, YIELD
from gigaflow_env.sim.traffic.drive import (
    backs_up,
    forgotten,
    holding,
    pursuit,
    skewed,
    wait,
)
from gigaflow_env.sim.traffic.lane_choice import (
    astray,
    branch_of,
    change_ahead,
    lane_length,
    leads_to,
    next_lane,
    onward,
    quad_of,
    same_start,
    seat,
    too_narrow,
    wished_lane,
)
from gigaflow_env.sim.traffic.leader import drift, leader_at, most_aside, way_back
from gigaflow_env.sim.traffic.right_of_way import goes_first, goes_on, in_conflict, passed
from gigaflow_env.sim.traffic.room import back_room, on_arc, room_behind, sharpest, turned_by
from gigaflow_env.simulator import drivers_of
from gigaflow_env.state import FROZEN, GREEN, IDM, POLICY, RED

P = params(Config())
f32 = np.float32


def widens():
    """Two lanes of one direction; the left one begins as a taper of 60 m."""
    knots = np.array([[0, 1.8, 0, 0, 0.1], [60, 3.5, 0, 0, 3.5], [100, 3.5, 0, 0, 3.5]], float)
    return road_map(
        "widens",
        Lane("left", knots, right="right", successors=("on",)),
        straight("right", 0, 0, 100, 0, left="left", successors=("off",)),
        straight("on", 100, 3.5, 300, 3.5, right="off"),
        straight("off", 100, 0, 300, 0, left="on"),
    )


# Rules


@kernel
def run_safe_speed(gap, leader_speed, out, p):
    out[0] = safe_speed(gap, leader_speed, p)


@kernel
def run_stopping_distance(speed, acceleration, brake, out, p):
    out[0] = stopping_distance(speed, acceleration, brake, p)


@kernel
def run_goes_first(gap, number, other_gap, other_number, out):
    out[0] = goes_first(gap, number, other_gap, other_number)


@kernel
def run_brake(speed, acceleration, wanted, throttle, out, p):
    """Speed and acceleration after each step of braking with `wanted`."""
    for k in range(len(out)):
        jerk = to_jerk(no_reverse(wanted, speed, acceleration, p), acceleration, throttle, p)
        speed, acceleration = accelerate(speed, acceleration, jerk, throttle, f32(1.0), f32(1.0), p)
        out[k, 0], out[k, 1] = speed, acceleration


def braked(speed, acceleration, wanted, throttle=1.0, steps=200):
    out = np.zeros((steps, 2), np.float32)
    run_brake(f32(speed), f32(acceleration), f32(wanted), f32(throttle), out, P)
    return out


def movable(speed, acceleration):
    """A state from which the brake can be let go before the car rolls back."""
    return max(speed, -0.5 * acceleration * P.dt + 1e-3)


@settings(deadline=None)
@given(gap=st.floats(0, 100), leader=st.floats(0, 20))
def test_the_safe_speed_stops_behind_a_leader_that_brakes_as_hard_as_it_can(gap, leader):
    """Also if nothing happens for two steps."""
    out = np.zeros(1, np.float32)
    run_safe_speed(f32(gap), f32(leader), out, P)
    speed = float(out[0])
    assert speed > -1e-4
    assert 2 * P.dt * speed + speed**2 / (2 * 4.0) == pytest.approx(gap + leader**2 / (2 * 5.0), abs=1e-2)


@settings(deadline=None)
@given(speed=st.floats(0, 20), acceleration=st.floats(-5, 2.5), wanted=st.floats(-5, 0), throttle=st.floats(0.8, 1.25))
def test_braking_ends_at_rest_and_never_rolls_back(speed, acceleration, wanted, throttle):
    out = braked(movable(speed, acceleration), acceleration, wanted, throttle)
    assert out[:, 0].min() > -2e-3
    if wanted < -0.5:
        assert abs(out[-1, 0]) < 2e-3 and out[-1, 1] == 0


@settings(deadline=None)
@given(speed=st.floats(0, 19.6), acceleration=st.floats(-4, 2.5))  # at 20 m/s nothing becomes faster any more
def test_the_stopping_distance_suffices(speed, acceleration):
    """Braking from now on with 4 m/s^2 stops within it, with the bicycle's own steps, but for the last few centimetres."""
    speed = movable(speed, acceleration)
    out = np.zeros(1, np.float32)
    run_stopping_distance(f32(speed), f32(acceleration), f32(4.0), out, P)
    speeds = np.append(speed, braked(speed, acceleration, -4.0)[:, 0])
    route_distance = (0.5 * (speeds[1:] + speeds[:-1]) * P.dt).sum()
    assert route_distance - 0.35 <= out[0] <= route_distance + 1.0


@settings(deadline=None)
@given(gap=st.floats(0, 50), other=st.floats(0, 50))
def test_one_of_two_goes_first(gap, other):
    out = np.zeros(2, np.bool_)
    run_goes_first(f32(gap), 1, f32(other), 2, out[:1])
    run_goes_first(f32(other), 2, f32(gap), 1, out[1:])
    assert out[0] != out[1] and (out[0] or f32(gap) <= f32(other)) and (out[1] or f32(other) <= f32(gap))


@given(gap=reals(0, 50), number=st.integers(0, 50), other=st.integers(0, 50))
def test_of_two_as_near_the_lower_number_goes_first(gap, number, other):
    assert call(goes_first)(gap, number, gap, other) == (other < number)


@given(now=reals(-5, 2.5), wanted=st.one_of(reals(-5, 2.5), st.just(0.0)), throttle=reals(0.8, 1.25))
def test_a_jerk_brings_the_acceleration_that_is_wanted(now, wanted, throttle):
    """To the other sign over a step at 0, and to exactly 0."""
    jerk = call(to_jerk)(wanted, now, throttle, P)
    _, reached = call(accelerate)(10.0, now, jerk, throttle, 1.0, 1.0, P)
    assert reached == (0 if wanted * now <= 0 and now != 0 else pytest.approx(wanted, abs=1e-5))


speeds, gaps = reals(0, 20), reals(0, 100)


@given(speeds, reals(0.1, 20), reals(0, 5))
def test_free_driving_leads_to_the_speed_that_is_allowed(speed, cap, more):
    """Faster below, slower above, nothing at it; the faster, the less; never more than the comfortable acceleration."""
    found = call(free)(speed, cap, P)
    assert found <= P.idm_acceleration and abs(call(free)(cap, cap, P)) < 1e-5
    assert found * (cap - speed) >= 0 and found <= (cap - speed) / 0.6 + 1e-5
    assert -1e30 < call(free)(speed, 0.0, P) <= 0
    assert call(free)(speed + more, cap, P) <= found + 1e-5
    assert call(free)(0.0, cap, P) == pytest.approx(min(P.idm_acceleration, cap / 0.6), rel=1e-6)


@given(speeds, gaps, speeds, reals(0, 10))
def test_a_leader_takes_off_more_the_nearer_and_the_slower_it_is(speed, gap, leader, more):
    found = call(behind)(speed, gap, leader, P)
    assert found >= 0
    assert call(behind)(speed, gap + more, leader, P) <= found <= call(behind)(speed, gap, max(leader - more, 0.0), P)
    # At the distance that IDM wants behind somebody as fast, all of the free acceleration is gone.
    wanted = P.idm_gap + speed * P.idm_headway
    assert call(behind)(speed, float(wanted), speed, P) == pytest.approx(P.idm_acceleration, rel=1e-4)
    wanted += speed**2 / (2 * math.sqrt(P.idm_acceleration * P.idm_deceleration))  # and behind one that stands
    assert call(behind)(speed, float(wanted), 0.0, P) == pytest.approx(P.idm_acceleration, rel=1e-4)
    assert call(behind)(speed, -gap, leader, P) == call(behind)(speed, 0.25, leader, P)


@given(gaps, speeds)
def test_gentle_braking_from_the_stopping_speed_ends_at_the_speed_that_was_asked(distance, end):
    speed = call(stopping_speed)(distance, end, P)
    seconds = (speed - end) / P.idm_deceleration
    assert seconds >= -1e-5 and (speed + end) / 2 * seconds == pytest.approx(distance, rel=1e-3, abs=1e-3)
    assert call(stopping_speed)(-distance, end, P) == end


accelerations, brakes = reals(-5, 2.5), reals(0.5, 5)


@given(accelerations, accelerations, brakes)
def test_the_delay_of_the_brake_is_at_most_one_and_a_half_steps(one, other, brake):
    """None for who brakes that hard, half a step for who does nothing, all for who accelerates."""
    assert one <= 0 or call(delay)(one, brake, P) == pytest.approx(1.5 * P.dt)
    less, more = (call(delay)(acceleration, brake, P) for acceleration in sorted((one, other)))
    assert -1e-6 <= less <= more <= 1.5 * P.dt + 1e-6
    assert call(delay)(0.0, brake, P) == pytest.approx(P.dt / 2) and abs(call(delay)(-brake, brake, P)) < 1e-6


@given(reals(0.1, 20), accelerations, reals(0.5, 100), reals(0, 20))
def test_the_needed_brake_stops_within_the_distance_for_which_it_was_asked(speed, acceleration, distance, more):
    found = call(needed_brake)(speed, acceleration, distance, P)
    assert call(needed_brake)(speed, acceleration, distance + more, P) <= found
    assert call(needed_brake)(speed + more, acceleration, distance, P) >= found
    if acceleration > 0 and distance > 1.5 * P.dt * (speed + 0.5 * acceleration * P.dt) + 0.3:
        # The time that is lost does not depend on the brake then: it's the inverse of the stopping distance.
        assert call(stopping_distance)(speed, acceleration, found, P) == pytest.approx(distance, rel=1e-3)


@given(reals(-1.5, 1.5), reals(0, 1))
def test_who_backs_up_needs_the_room_in_which_it_stops(speed, more):
    """In the bicycle's own steps: one in which nothing has changed yet, then 1 m/s^2 forward."""
    found = call(back_room)(speed, P)
    assert found == call(back_room)(0.0, P) if speed >= 0 else found > call(back_room)(0.0, P)
    assert call(back_room)(speed - more, P) >= found
    now, acceleration, way = min(speed, 0.0), 0.0, 0.0
    while now < -1e-3:
        after, acceleration = call(accelerate)(now, acceleration, call(to_jerk)(1.0, acceleration, 1.0, P), 1.0, 1.0, 1.0, P)
        way, now = way - 0.5 * (now + float(after)) * P.dt, float(after)
    assert 0.3 < found - way < 1.2


@given(reals(-5, 30), reals(0, 5))
def test_only_who_backs_up_takes_a_way_back_and_the_farther_the_faster(speed, more):
    found = call(way_back)(speed)
    assert found == pytest.approx(-speed) if speed < 0 else found == 0
    assert call(way_back)(speed - more) >= found


@given(reals(1, 20), reals(0.1, 5))
def test_a_longer_body_follows_wider_arcs(length, more):
    """The bicycle's own: the tangent of the largest steering angle by the wheelbase."""
    found = call(sharpest)(length, P)
    assert found == pytest.approx(math.tan(P.steer_max) / (P.wheelbase * length), rel=1e-5)
    assert call(sharpest)(length + more, P) < found


@given(reals(-3, 3), reals(-0.7, 0.7))
def test_a_direction_turns_by_the_angle(heading, angle):
    found = call(turned_by)(math.cos(heading), math.sin(heading), angle)
    assert found == pytest.approx((math.cos(heading + angle), math.sin(heading + angle)), abs=1e-5)


@given(reals(0.05, 1))
def test_who_has_backed_up_holds_for_ten_seconds(dt):
    assert call(holding)(params(Config(dt=dt))) == pytest.approx(10 / dt, abs=0.51)


@given(reals(0, 20), reals(0, 300), reals(1, 4), reals(0.1, 0.5), reals(0, 20))
def test_a_lane_change_aims_farther_with_speed_room_and_a_body_that_turns_less(speed, room, half_width, tightest, more):
    found = call(change_ahead)(speed, room, half_width, tightest)
    assert found >= max(2 * speed, 5.0)
    assert call(change_ahead)(speed + more, room, half_width, tightest) >= found
    assert call(change_ahead)(speed, room + more, half_width, tightest) >= found
    assert call(change_ahead)(speed, room, half_width, tightest / (1 + more)) >= found - 1e-4
    if room > 100 / 0.6 and speed < 2:  # then only the body counts: half of its curvature, or 5 m
        assert found == pytest.approx(max(5.0, math.sqrt(4 * (2 * half_width) / tightest)), rel=1e-3)


@given(reals(-0.3, 0.3), reals(0, 0.3))
def test_a_curve_is_driven_with_the_lateral_acceleration_that_is_comfortable(curvature, more):
    speed = call(curve_speed)(curvature, P)
    assert speed == call(curve_speed)(-curvature, P) >= call(curve_speed)(abs(curvature) + more, P)
    if abs(curvature) > 1e-4:
        assert speed**2 * abs(curvature) == pytest.approx(P.idm_lateral, rel=1e-4)


@given(reals(-20, 20), reals(-20, 20))
def test_pursuit_is_the_circle_that_touches_the_own_heading_and_leads_through_the_point(ahead, left):
    found = call(pursuit)(ahead, left)
    assert found == -call(pursuit)(ahead, -left) and found * left >= 0
    if math.hypot(ahead, left) > 1.01 and abs(left) > 0.01:
        assert math.hypot(ahead, left - 1 / found) == pytest.approx(1 / abs(found), rel=1e-4)


@given(reals(-4, 4), reals(-0.3, 0.3), reals(8, 40), reals(0, 3))
def test_a_lane_change_begins_where_one_is_and_as_one_heads_and_ends_on_the_line(aside, slope, preview, share):
    """The way of a car that steers to a moving point, in steps; who heads along the line is never farther than at first."""
    found = call(drift)(aside, slope, share * preview, preview)
    offset, steep, step = aside, slope, share * preview / 500
    for _ in range(500):
        steep -= 2 * (offset + steep * preview) / preview**2 * step
        offset += steep * step
    assert found == pytest.approx(offset, abs=0.01 * (abs(aside) + abs(slope) * preview) + 1e-4)
    assert found == -call(drift)(-aside, -slope, share * preview, preview)
    least = call(most_aside)(2.0, 0.0, 0.0, preview)
    assert 1.0 < least and abs(found) <= call(most_aside)(2.0, aside, slope, preview) - least + 1e-5
    assert call(drift)(aside, slope, 0.0, preview) == aside
    assert abs(call(drift)(aside, slope, 5 * preview, preview)) <= 0.06 * abs(aside) + 1e-4
    along = call(drift)(aside, 0.0, share * preview, preview)
    assert abs(along) <= abs(aside) * (1 + 1e-5) + 1e-6 and (share > 0.5 or abs(along) >= 0.75 * abs(aside) - 1e-4)


@given(reals(-1, 1), reals(-0.2, 0.2), reals(2, 10), reals(0, 8))
def test_a_driver_may_head_across_its_line_by_less_where_it_steers_to_a_near_point(slope, bend, preview, farther):
    """On a straight; in a bend its line turns under it."""
    found = call(skewed)(slope, bend, preview)
    assert found == call(skewed)(-slope, bend, preview) == call(skewed)(slope, -bend, preview)
    assert found >= call(skewed)(slope, bend, preview + farther) and found >= call(skewed)(slope, 2 * bend, preview)
    assert found or abs(slope) < 0.351
    assert not found or abs(slope) > (0.149 if preview <= 3.5 and abs(bend) < 0.021 else 0.349)


@given(st.integers(0, 400), reals(-2, 10), reals(0, 5))
def test_waiting_is_forgotten_by_who_gets_away_not_by_who_creeps(still, speed, more):
    found = call(forgotten)(still, speed)
    assert 0 <= call(forgotten)(still, speed + more) <= found <= still
    if speed <= 3.0:
        assert found == still
    if speed > 5.001:
        assert found == 0
    if speed > 3.001:
        assert found == 0 or found < still


ROADS = compile_roads([motorway(), crossing()])
NETWORK, LANES = ROADS.network, ROADS.network.lanes
CONFLICTS = conflicts(ROADS)
PLAIN = warped(np.eye(2))
lanes = st.integers(0, len(LANES) - 1)


def map_of(lane):
    return int(np.searchsorted(NETWORK.maps["lanes_at"], lane, side="right")) - 1


def successors(lane):
    return NETWORK.successors[LANES["successors_at"][lane] :][: LANES["successors"][lane]].tolist()


@given(lanes, reals(0, 1), lanes)
def test_lanes_branch_where_they_come_from_the_same_lane(lane, share, other):
    """Those of the crossing do, and no others; those that end together don't."""
    found = call(same_start)(NETWORK, lane, other)
    assert found == call(same_start)(NETWORK, other, lane) and call(same_start)(NETWORK, lane, lane)
    before = [{k for k in range(len(LANES)) if one in successors(k)} for one in (lane, other)]
    assert found == (lane == other or bool(before[0] & before[1]))


@given(lanes, lanes)
def test_the_branch_is_the_settled_lane_or_one_beside_it_that_begins_at_the_same_fork(lane, settled):
    near = [other for other in (LANES["left"][settled], LANES["right"][settled]) if other >= 0]
    near = [other for other in near if LANES["bundle"][lane] != LANES["bundle"][settled]]
    begin = [other for other in (settled, *near) if call(same_start)(NETWORK, lane, other)]
    assert call(branch_of)(NETWORK, lane, settled) == (begin[0] if begin else -1)


@given(reals(0, 50), reals(0, 50), reals(0, 50), reals(0, 50))
def test_inside_of_a_junction_who_can_no_longer_stop_goes_first_then_the_nearest(gap, stops, other_gap, other_stops):
    """So exactly one of two goes."""
    mine, its = (
        call(goes_on)(*one)
        for one in ((gap, stops, 0, other_gap, other_stops, 1), (other_gap, other_stops, 1, gap, stops, 0))
    )
    assert call(goes_on)(gap, stops, 0, f32(-1.0), other_stops, 1), "who is there goes before all"
    if gap > 0 and other_gap > 0:
        assert mine != its
        late, other_late = gap < stops, other_gap < other_stops
        if late != other_late or abs(gap - other_gap) > 1e-3:
            assert mine == (other_late if late != other_late else other_gap < gap)


@given(st.sampled_from([NO_TURN, ENDS, MAKES_ROOM]), st.sampled_from([YIELD, BACK, STAY]))
def test_who_has_its_turn_backs_up_to_make_room_or_where_that_ends_the_cycle(turn, how):
    assert call(backs_up)(turn, how) == ((turn, how) == (ENDS, BACK) or turn == MAKES_ROOM)


WIDENS = compile_roads(widens())


@given(reals(0, 1), reals(0.5, 2.0))
def test_a_lane_that_begins_as_a_taper_is_too_narrow_at_first(share, half_width):
    network, s = WIDENS.network, share * 100.0
    left, right = (list(widens().lanes).index(name) for name in ("left", "right"))
    found = call(too_narrow)(0, right, left, s, half_width, PLAIN, network)
    width = 0.1 + (3.5 - 0.1) * min(s, 60.0) / 60.0
    if abs(width / 2 - half_width) > 0.06:
        assert found == (width / 2 < half_width)
    assert not call(too_narrow)(0, left, right, s, 1.7, PLAIN, network)


@given(lanes, st.integers(0, 1000), lanes)
def test_a_lane_leads_to_itself_and_to_its_successors(lane, k, other):
    section = int(LANES["first"][lane]) + k % int(LANES["quads"][lane])
    assert call(leads_to)(NETWORK, section, other) == (other == lane or other in successors(lane))


@given(lanes, lanes)
def test_lanes_are_in_conflict_where_a_row_says_so(lane, other):
    rows = CONFLICTS.rows["lane"][CONFLICTS.at[lane] : CONFLICTS.at[lane + 1]]
    found = call(in_conflict)(CONFLICTS, lane, other)
    assert found == (other in rows) == call(in_conflict)(CONFLICTS, other, lane)


@given(lanes, reals(-5, 300))
def test_the_quad_down_a_lane_is_the_one_whose_place_it_is(lane, s):
    row = LANES[lane]
    found = call(quad_of)(row, s)
    assert row["first"] <= found < row["first"] + row["quads"]
    if 0 <= s <= row["length"]:
        assert call(place_s)(NETWORK, found, 0.0) - 1e-3 <= s <= call(place_s)(NETWORK, found, 1.0) + 1e-3
    assert call(quad_of)(row, call(place_s)(NETWORK, found, 0.5)) == found


@given(lanes, st.integers(0, 100), matrices)
def test_a_seat_and_a_length_are_those_of_the_image(lane, k, matrix):
    row = LANES[lane]
    section = int(row["first"]) + k % int(row["quads"])
    at, variant = NETWORK.sections[section], warped(matrix)
    x, y, cos, sin, gain = call(seat)(0, variant, NETWORK, section)
    assert (x, y) == pytest.approx(tuple(matrix @ [at["x"], at["y"]]), abs=1e-3)
    assert (gain * cos, gain * sin) == pytest.approx(tuple(matrix @ [at["cos"], at["sin"]]), abs=1e-5)
    assert math.hypot(cos, sin) == pytest.approx(1, abs=1e-6)
    line = NETWORK.sections[row["first"] : row["first"] + row["quads"] + 1]
    length = np.hypot(*np.diff(matrix @ np.stack([line["x"], line["y"]]).astype(float))).sum()
    found = call(lane_length)(0, variant, NETWORK, lane)
    assert found == pytest.approx(length, abs=(bound(matrix) + 5e-3) * float(row["length"]))


branching = st.sampled_from([lane for lane in range(len(LANES)) if len(successors(lane)) > 1])
routes = st.tuples(st.one_of(lanes, branching), lanes, reals(0, 1), reals(0, 1)).filter(
    lambda route: map_of(route[0]) == map_of(route[1])
)


def measured(rule, route, *arguments, s=None):
    """A rule of the way to a goal in the map as it is; `s` in place of the route's."""
    lane, goal_lane, share, goal_share = route
    row, s = NETWORK.maps[map_of(lane)], share * float(LANES["length"][lane]) if s is None else s
    goal = goal_lane, goal_share * float(LANES["length"][goal_lane])
    if rule is route_distance:
        return call(route_distance)(0, PLAIN, NETWORK, row, lane, s, *goal)
    return call(rule)(0, PLAIN, NETWORK, row, lane, *(arguments or (s,)), *goal)


@given(lanes, lanes)
def test_a_lane_is_astray_where_it_neither_leads_to_the_settled_one_nor_on_nor_along(lane, settled):
    row, other = LANES[lane], LANES[settled]
    links = [
        NETWORK.successors[one["successors_at"] : one["successors_at"] + one["successors"]].tolist() for one in (row, other)
    ]
    inside = bool(row["junction"]) and bool(other["junction"])
    related = row["bundle"] == other["bundle"] or settled in links[0] or lane in links[1]
    assert call(astray)(NETWORK, lane, settled) == (inside and not related)


@given(routes)
def test_the_way_without_a_lane_change_here_is_no_shorter_and_leads_over_a_successor(route):
    lane, goal_lane, share, goal_share = route
    found, s, length = measured(onward, route), share * float(LANES["length"][lane]), float(LANES["length"][lane])
    shortest = measured(route_distance, route)
    if lane == goal_lane and goal_share >= share:
        assert found == pytest.approx((goal_share - share) * length, abs=1e-3)
    elif shortest > 1e8 or not successors(lane):
        assert found > 1e8
    else:
        assert found >= shortest - 0.02
        rest = [measured(route_distance, (next_, goal_lane, 0.0, goal_share)) for next_ in successors(lane)]
        assert found == pytest.approx(length - s + min(rest), abs=0.01)


@given(routes, st.one_of(st.integers(0, 1), lanes, st.just(-1)), st.sampled_from([1.0, 0.05]))
def test_the_next_lane_is_the_settled_one_or_the_nearest_to_the_goal(route, settled, tightest):
    """Lanes that bend more than a body can follow count 300 m more: with 0.05 those in the crossing."""
    lane, goal_lane, _, goal_share = route
    if settled in (0, 1) and settled < len(successors(lane)):
        settled = successors(lane)[settled]
    row, goal_s = NETWORK.maps[map_of(lane)], goal_share * float(LANES["length"][goal_lane])
    found = call(next_lane)(0, PLAIN, NETWORK, CONFLICTS, row, lane, settled, goal_lane, goal_s, tightest)
    if not successors(lane):
        assert found == -1
    elif settled in successors(lane):
        assert found == settled
    else:
        ways = {
            one: measured(route_distance, (one, goal_lane, 0.0, goal_share)) + 300 * (CONFLICTS.tightest[one] > tightest)
            for one in successors(lane)
        }
        assert ways[found] == min(ways.values())


@given(routes)
def test_a_lane_is_wished_only_beside_and_only_where_that_is_shorter(route):
    lane, goal_lane, share, goal_share = route
    found, beside = measured(wished_lane, route), [one for one in (LANES["left"][lane], LANES["right"][lane]) if one >= 0]
    costs = {one: measured(route_distance, (one, goal_lane, share, goal_share)) + 5 for one in beside}
    stay = measured(onward, route) - 1
    assert found == lane or found in beside
    if found != lane:
        assert costs[found] == pytest.approx(min(costs.values()), abs=0.02) and costs[found] <= stay + 0.02
    else:
        assert all(cost >= stay - 0.02 for cost in costs.values())


@given(st.integers(0, len(CONFLICTS.rows) - 1), reals(-5, 60), reals(1, 20), reals(0, 10), matrices)
def test_a_body_has_passed_once_its_rear_is_behind_the_common_part(k, front, length, more, matrix):
    conflict, state = CONFLICTS.rows[k], PASSING.state

    def at(front):
        state.traffic.front[0, 1], state.body.length[0, 1] = front, length
        return call(passed)(0, 1, conflict, state.body, warped(matrix), NETWORK, state.traffic)

    end = float(conflict["other_leave"]) * call(lane_length)(0, warped(matrix), NETWORK, int(conflict["lane"]))
    assert at(end + length + 0.01) and not at(end + length - 0.01)
    assert at(front + more) >= at(front)


PASSING = simulator(crossing(), 2, drivers="idm")


# Conflicts


def test_conflicts_of_a_crossing_on_paper():
    """T crossing: going straight meets whoever turns left out of or into it; right turns meet what ends where they do."""
    town = crossing(lights=True)
    roads = compile_roads(town)
    found = conflicts(roads)
    names = [lane.id for lane in town.lanes.values()]
    by_name = {
        name: {names[row["lane"]] for row in found.rows[found.at[k] : found.at[k + 1]]} for k, name in enumerate(names)
    }
    assert by_name["west in"] == set() and by_name["east out"] == set()
    assert by_name["west-east"] == {"south-west", "south-east", "east-south"}
    assert by_name["west-south"] == {"east-south"}
    for name, others in by_name.items():
        for other in others:
            assert name in by_name[other], "who is in conflict with another, is so both ways"
    for k, name in enumerate(names):
        lights = found.stops[found.stops_at[k] : found.stops_at[k + 1]]
        assert len(lights) == ("-" in name), name
        for row in found.rows[found.at[k] : found.at[k + 1]]:
            assert 0 <= row["enter"] <= row["leave"] <= 1 and 0 <= row["other_enter"] <= row["other_leave"] <= 1


def test_lanes_on_other_levels_and_side_by_side_are_not_in_conflict():
    assert len(conflicts(compile_roads(bridge())).rows) == 0
    assert len(conflicts(compile_roads(motorway())).rows) == 0
    opposite = road_map("narrow", straight("there", 0, 0, 100, 0), straight("back", 100, 2.9, 0, 2.9))
    assert len(conflicts(compile_roads(opposite)).rows) == 0


def test_lanes_with_a_short_one_between_them_are_no_conflict():
    """The end of one is 2 m from the start of the other, and whoever leaves the one enters the other."""
    lanes = straight("a", 0, 0, 50, 0, successors=("b",)), straight("b", 50, 0, 52, 0, successors=("c",))
    found = conflicts(compile_roads(road_map("row", *lanes, straight("c", 52, 0, 100, 0))))
    assert len(found.rows) == 0
    assert found.begins.tolist() == [True, False, False]


def test_several_maps_do_not_mix():
    alone, both = conflicts(compile_roads(crossing())), conflicts(compile_roads([ring(), crossing()]))
    lanes = len(ring().lanes)
    assert (np.diff(both.at)[:lanes] == 0).all() and len(both.rows) == len(alone.rows)
    np.testing.assert_array_equal(both.rows["lane"], alone.rows["lane"] + lanes)


# Scenes


def steps(sim, count, find_neighbours=lambda: None):
    crashes = 0
    for _ in range(count):
        sim.step(np.full(sim.rows, 7))
        crashes += int(sim.state.events.collision.sum() + sim.state.events.offroad.sum())
        find_neighbours()
    return crashes


def test_it_reaches_its_goal_on_the_middle_of_its_lane_at_the_speed_limit():
    sim = scene(ring(), 1)
    put(sim, 0, "east", 5.0, ("west", 150.0))
    speeds, offsets, done = [], [], []

    def find_neighbours():
        speeds.append(float(sim.state.motion.speed[0, 0]))
        offsets.append(abs(float(sim.state.lane_position.offset[0, 0])))
        done.append(bool(sim.state.events.route_done[0, 0]))

    assert steps(sim, 200, find_neighbours) == 0
    arrived = done.index(True)
    assert max(offsets) < 0.6
    limit = float(sim.roads.network.lanes["speed"][0])
    assert 0.8 * limit < max(speeds) <= limit + 0.1
    assert speeds[arrived] < 3.0


def test_it_keeps_behind_a_leader_and_stops_behind_one_that_stands():
    sim = scene(ring(), 2)
    put(sim, 0, "east", 20.0, ("west", 150.0), speed=10.0)
    put(sim, 1, "east", 80.0, ("west", 150.0))
    sim.state.rows.driver[0, 1] = POLICY
    gaps = []

    def find_neighbours():
        gaps.append(sim.state.pose.x[0, 1] - sim.state.pose.x[0, 0] - 4.5)
        sim.state.motion.acceleration[0, 1] = 0

    assert steps(sim, 60, find_neighbours) == 0
    assert 1.0 < gaps[-1] < 4.0 and gaps[-1] == min(gaps)
    assert abs(sim.state.motion.speed[0, 0]) < 2e-3 and sim.state.motion.acceleration[0, 0] == 0


def test_it_waits_at_red_and_goes_at_green():
    sim = scene(crossing(lights=True), 1)
    lights = sim.state.lights
    lights.red[:], lights.yellow[:], lights.green[:], lights.offset[:] = 30.0, 2.0, 5.0, 8.0  # red for 29 s
    lights.colour[:] = RED
    sim.state.clock.step[:] = 0
    put(sim, 0, "west in", 10.0, ("east out", 40.0), speed=8.0)
    assert steps(sim, 60) == 0
    front = 4.5 / 2 + sim.state.pose.x[0, 0] + sim.roads.origins[0][0]
    assert -14.0 < front < -12.0, "the stop line is 12 m from the middle"
    assert abs(sim.state.motion.speed[0, 0]) < 2e-3 and not sim.state.events.red_light.any()
    assert steps(sim, 60) == 0
    assert (lights.colour[0, :3] != GREEN).all() and not sim.state.events.red_light.any()
    assert sim.state.pose.x[0, 0] + sim.roads.origins[0][0] > -8.0


def side_street(yields=True):
    """The crossing, where who comes from the south has a yield sign."""
    town = crossing()
    lanes = {key: replace(lane, signal="yield") if key.startswith("south-") else lane for key, lane in town.lanes.items()}
    return replace(town, name="side street", lanes=lanes, signals={"yield": Signal("yield", "yield")}) if yields else town


@pytest.mark.parametrize(("yields", "first"), [(True, "west"), (False, "south")])
def test_who_has_a_yield_sign_lets_others_pass_though_nearer(yields, first):
    """The one from the south is nearer to the crossing by 15 m: without a sign it goes first."""
    sim = scene(side_street(yields), 2)
    put(sim, 0, "south in", 32.0, ("west out", 50.0), speed=6.0)
    put(sim, 1, "west in", 17.0, ("east out", 50.0), speed=6.0)
    inside = []

    def find_neighbours():
        x, y = (sim.state.pose[k][0] + sim.roads.origins[0][k] for k in (0, 1))
        if y[0] > -10 and "south" not in inside:
            inside.append("south")
        if x[1] > -10 and "west" not in inside:
            inside.append("west")

    assert steps(sim, 100, find_neighbours) == 0
    assert inside[0] == first and set(inside) == {"south", "west"}


def test_nobody_stops_at_a_yield_sign_on_an_empty_road():
    """Shown to the policy or not: the line is no stop line."""
    for shown in ("hide", "show"):
        sim, speeds = scene(side_street(), 1, yield_signs=shown), []
        put(sim, 0, "south in", 20.0, ("east out", 50.0), speed=5.0)
        assert steps(sim, 30, lambda speeds=speeds, sim=sim: speeds.append(float(sim.state.motion.speed[0, 0]))) == 0
        assert min(speeds) > 2.0


def test_it_keeps_to_a_program_and_never_runs_red():
    """The one from the south meets 20 s of red and a yellow of 3 s."""
    sim = scene(crossing(lights=True), 2, lights="program", world_steps=10_000)
    red = []
    for s in (10.0, 40.0):
        sim.state.clock.step[:] = 0
        put(sim, 0, "south in", s, ("east out", 40.0), speed=8.0)
        put(sim, 1, "east in", s, ("west out", 40.0), speed=8.0)
        assert steps(sim, 120, lambda: red.append(bool(sim.state.events.red_light.any()))) == 0
    assert not any(red)


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1), (1, 2, 0)])
def test_three_who_meet_take_turns_without_a_crash_or_deadlock(order):
    sim = scene(crossing(), 3)
    ways = [("west in", "east out"), ("east in", "south out"), ("south in", "west out")]
    for a, k in enumerate(order):
        put(sim, a, ways[k][0], 20.0, (ways[k][1], 50.0), speed=6.0)
    done = np.zeros(3, bool)

    def find_neighbours():
        done[:] |= sim.state.events.goal[0]

    assert steps(sim, 150, find_neighbours) == 0
    assert done.all()


def test_of_two_inside_of_a_junction_the_one_that_can_no_longer_stop_goes_first():
    """Though the other one, that creeps, is nearer to the place where they meet."""
    sim = scene(crossing(), 2)
    put(sim, 0, "west-east", 10.5, ("east out", 50.0), speed=7.5)
    put(sim, 1, "south-east", 4.5, ("east out", 50.0), speed=2.0)
    speeds = []
    assert steps(sim, 20, lambda: speeds.append(float(sim.state.motion.speed[0, 0]))) == 0
    assert min(speeds) > 6.0, "it does not brake"


def test_it_changes_lanes_where_the_route_asks_for_it_and_not_into_somebody():
    sim = scene(motorway(), 2)
    put(sim, 0, "outer 0", 10.0, ("inner 2", 100.0), speed=8.0)
    put(sim, 1, "inner 0", 10.0, ("inner 2", 140.0), speed=8.0)
    lanes = []

    def find_neighbours():
        lanes.append(int(sim.state.lane_position.section[0, 0]))

    assert steps(sim, 150, find_neighbours) == 0
    names = [lane.id for lane in sim.maps[0].lanes.values()]
    visited = [names[sim.roads.network.sections["lane"][section]] for section in lanes]
    assert visited[0] == "outer 0" and any(name.startswith("inner") for name in visited)
    assert sim.state.goals.routes[0, 0] > 1, "it has reached its goal on the other lane"


@pytest.mark.parametrize("behind", [40.0, 60.0, 80.0, 100.0])
def test_a_lane_change_waits_for_who_comes_fast_from_far_behind(behind):
    """From 27 m/s one needs 80 m to get as slow as a car that has just begun to drive."""
    town = road_map(
        "fast",
        straight("left", 0, 3.5, 300, 3.5, right="right", successors=("on",), speed=27.0),
        straight("right", 0, 0, 300, 0, left="left", speed=27.0),
        straight("on", 300, 3.5, 600, 3.5, speed=27.0),
    )
    sim = scene(town, 2, spawn_speed=30.0, speed_max=30.0)
    put(sim, 0, "right", 150.0, ("on", 250.0), speed=2.0)
    put(sim, 1, "left", 150.0 - behind, ("on", 290.0), speed=27.0)
    sim.state.body.c_vel[0, :] = 1.0
    hardest, lanes = [], set()

    def look():
        hardest.append(float(sim.state.motion.acceleration[0, 1]))
        lanes.add(int(sim.roads.network.sections["lane"][sim.state.lane_position.section[0, 0]]))

    assert steps(sim, 45, look) == 0
    assert min(hardest) > -3.5, "it need not brake hard"
    assert len(lanes) > 1, "the other one changes lanes in the end"


@pytest.mark.parametrize(("speed", "nearest"), [(3.0, 8.0), (5.0, 8.0), (7.0, 11.0), (9.0, 15.0), (11.0, 19.0)])
def test_a_lane_change_leads_past_a_wreck_or_ends_behind_it(speed, nearest):
    """From any distance at which one can stop: neither does the way over lead through the wreck, nor does one turn back to
    it for want of the last metres of the lane."""
    crashed = []
    for wreck in (80.0, 146.0):
        for distance in np.arange(nearest, 52.0, 1.5):
            sim = scene(motorway(), 2, on_crash="freeze")
            put(sim, 0, "outer 0", wreck - distance, ("inner 0", 149.0), speed=speed)
            aim_at(sim, 0, ("inner 0", 149.0), ("inner 2", 100.0))
            put(sim, 1, "outer 0", wreck, ("inner 2", 140.0))
            sim.state.rows.status[0, 1] = FROZEN
            if steps(sim, 30):
                crashed.append((wreck, float(distance)))
    assert not crashed


@pytest.mark.parametrize("speed", [0.0, 1.5, 3.0, 6.0])
def test_a_lane_change_does_not_turn_a_car_across_the_road(speed):
    """Also at walking pace, where the point that is steered to could be near: it must be able to steer back in time."""
    sim = scene(motorway(), 1)
    put(sim, 0, "outer 0", 40.0, ("inner 0", 140.0), speed=speed)
    sim.state.body.length[0, 0], sim.state.body.width[0, 0] = 5.2, 1.9
    angles = []
    assert steps(sim, 30, lambda: angles.append(abs(float(sim.state.lane_position.angle[0, 0])))) == 0
    number = sim.roads.network.sections["lane"][sim.state.lane_position.section[0, 0]]
    assert list(sim.maps[0].lanes)[number].startswith("inner") and max(angles) < 0.33


def snake():
    """A lane of 3.2 m that bends to the left, then to the right, in pieces as a roundabout's entries have them."""
    lanes = [
        straight("in", -40, 0, 0, 0, successors=("left",)),
        bend("left", 0, 8, 8, -math.pi / 2, 0.0, successors=("right",)),
        bend("right", 16, 8, 8, math.pi, math.pi / 2, successors=("out",)),
        straight("out", 16, 16, 76, 16),
    ]
    right = lanes[2].line  # driven the other way round: a right turn
    right[:, 3] -= math.pi
    for lane in lanes:
        lane.line[:, 4] = 3.2
    return road_map("snake", *lanes)


def test_it_stays_on_its_line_where_one_bend_follows_another():
    """At the end of a lane it does not yet keep to the inside of the next one, nor look past its end."""
    sim = scene(snake(), 1)
    put(sim, 0, "in", 10.0, ("out", 50.0), speed=4.0)
    sim.state.body.length[0, 0], sim.state.body.width[0, 0] = 4.8, 1.9
    offsets, arrived = [], []

    def look():
        offsets.append(abs(float(sim.state.lane_position.offset[0, 0])))
        arrived.append(bool(sim.state.events.route_done[0, 0]))

    assert steps(sim, 80, look) == 0
    assert any(arrived) and max(offsets) < 0.3


def alley(radius):
    """A lane of 3.2 m around a corner."""
    lanes = [
        straight("in", 0, 0, 40, 0, successors=("corner",)),
        bend("corner", 40, radius, radius, -math.pi / 2, 0.0, successors=("out",)),
        straight("out", 40 + radius, radius, 40 + radius, radius + 60),
    ]
    for lane in lanes:
        lane.line[:, 4] = 3.2
    return road_map("alley", *lanes)


@pytest.mark.parametrize("radius", [5.6, 6.5, 9.0])
def test_a_long_car_gets_around_a_tight_corner(radius):
    """5.2 m of car sweep 2.4 m of a lane of 3.2 m in a bend of 5.6 m: at walking pace, shifted to the inside."""
    sim = scene(alley(radius), 1)
    put(sim, 0, "in", 5.0, ("out", 40.0), speed=6.0)
    sim.state.body.length[0, 0], sim.state.body.width[0, 0] = 5.2, 1.9
    arrived = []
    assert steps(sim, 80, lambda: arrived.append(bool(sim.state.events.route_done[0, 0]))) == 0
    assert any(arrived), "it has come to its goal; afterwards it leaves the map, and begins anew"


@pytest.mark.parametrize("aside", [0.6, 0.7])
@pytest.mark.parametrize(("length", "width"), [(4.0, 2.08), (4.4, 1.9), (4.8, 1.9)])
def test_who_starts_beside_its_line_does_not_leave_the_road_on_the_other_side(aside, length, width):
    """At the edge, as after it has backed up: it does not drive faster than it can turn back."""
    lanes = [straight("left", 0, 3.06, 200, 3.06), straight("right", 0, 0, 200, 0)]
    for lane in lanes:
        lane.line[:, 4] = 3.06
    sim = scene(road_map("pair", *lanes), 1)
    put(sim, 0, "right", 40.0, ("right", 150.0))
    sim.state.pose.y[0, 0] += aside
    sim.state.lane_position.offset[0, 0] = aside
    sim.state.body.length[0, 0], sim.state.body.width[0, 0] = length, width
    x = []
    assert steps(sim, 100, lambda: x.append(float(sim.state.pose.x[0, 0] + sim.roads.origins[0][0]))) == 0
    assert max(x) > 60, "maybe at the third try"


def forks():
    """A street that branches at x = 50."""
    half = math.pi / 2
    right = bend("right", 50, -20, 20, 0.0, half, successors=("off",))
    right.line[:] = right.line[::-1]  # driven the other way round: a right turn
    right.line[:, 3] -= math.pi
    return road_map(
        "forks",
        straight("in", 0, 0, 50, 0, successors=("left", "right")),
        bend("left", 50, 20, 20, -half, 0.0, successors=("on",)),
        right,
        straight("on", 70, 20, 70, 80),
        straight("off", 70, -20, 70, -80),
    )


@pytest.mark.parametrize(("front", "settles"), [(-1.5, True), (-12.0, False)])
def test_who_can_no_longer_choose_at_a_fork_stays_on_the_branch_that_it_looked_at(front, settles):
    """Though its middle is still before the fork, and its goal moves to the other branch; else there was time to turn."""
    sim = scene(forks(), 1)
    put(sim, 0, "in", 50.0 + front - 2.25, ("on", 40.0), speed=6.0)
    assert steps(sim, 1) == 0
    name = list(sim.maps[0].lanes)[int(sim.state.traffic.inside[0, 0])]
    assert name == ("left" if settles else "in") and sim.state.lane_position.section[0, 0] < 50
    aim_at(sim, 0, ("off", 40.0))
    assert steps(sim, 10) == 0
    assert (sim.state.pose.y[0, 0] + sim.roads.origins[0][1] > 0.3) == settles


def leaves():
    """A street that leads on with two lanes, of which only the left one leads anywhere, or off to the right: to the same."""
    half = math.pi / 2
    turns = [
        bend("out", 50, -20, 20, 0.0, half, successors=("off",)),
        bend("u", 150, -16.5, 20, 0.0, half, successors=("v",)),
    ]
    turns.append(bend("w", 150, -80, 20, -half, 0.0, successors=("x",)))
    for turn in turns:  # driven the other way round: right turns
        turn.line[:] = turn.line[::-1]
        turn.line[:, 3] -= math.pi
    return road_map(
        "leaves",
        straight("in", 0, 0, 50, 0, successors=("on", "out")),
        straight("on", 50, 0, 150, 0, left="inner"),
        straight("inner", 50, 3.5, 150, 3.5, right="on", successors=("u",)),
        *turns,
        straight("v", 170, -16.5, 170, -80, successors=("w",)),
        straight("x", 150, -100, 90, -100, successors=("y",)),
        bend("y", 90, -120, 20, half, 2 * half, successors=("far",)),
        straight("off", 70, -20, 70, -120, successors=("far",)),
        straight("far", 70, -120, 70, -200),
    )


def test_who_changes_lanes_right_behind_a_fork_does_not_turn_back_to_the_other_branch():
    """Its goal moves when it can no longer choose: it drives around, on the lane beside, while still on both branches."""
    sim = scene(leaves(), 1)
    put(sim, 0, "in", 50.0 - 1.5 - 2.25, ("inner", 40.0), speed=6.0)
    assert steps(sim, 1) == 0
    aim_at(sim, 0, ("far", 40.0))
    places = []
    assert (
        steps(sim, 60, lambda: places.append((sim.state.pose.x[0, 0], sim.state.pose.y[0, 0]) + sim.roads.origins[0][:2]))
        == 0
    )
    x, y = np.array(places).T
    assert y[x < 140].min() > -0.3 and x[-1] > 140, "it stays on the street"
    assert np.diff(x[x < 140]).min() > 1.0, "and does not stop"


def ending():
    """Two lanes of one direction; the right one ends after 100 m, the left one leads on."""
    return road_map(
        "ending",
        straight("left", 0, 3.5, 100, 3.5, right="right", successors=("on",)),
        straight("right", 0, 0, 100, 0, left="left"),
        straight("on", 100, 3.5, 300, 3.5),
    )


def test_it_backs_up_where_its_lane_ends_too_soon_for_a_lane_change():
    sim = scene(ending(), 1)
    put(sim, 0, "right", 95.0, ("on", 150.0))
    speeds = []
    assert steps(sim, 120, lambda: speeds.append(float(sim.state.motion.speed[0, 0]))) == 0
    assert min(speeds) < -0.5 and sim.state.pose.x[0, 0] + sim.roads.origins[0][0] > 120


def test_it_does_not_back_off_the_start_of_a_road():
    sim = scene(ending(), 1)
    put(sim, 0, "right", 4.0, ("on", 150.0))
    sim.state.rows.steps[0, 0], sim.state.traffic.backing[0, 0] = 1, 1000
    rears = []
    assert steps(sim, 30, lambda: rears.append(float(sim.state.pose.x[0, 0] + sim.roads.origins[0][0]) - 2.25)) == 0
    assert 0 < min(rears) < 1.7


@pytest.mark.parametrize("comes", [0.0, 2.0, 3.0])
def test_who_backs_up_stops_for_who_comes_from_behind(comes):
    """Whoever is behind brakes for somebody who stands, and does not expect it to come nearer."""
    sim = scene(ring(), 2)
    put(sim, 0, "east", 60.0, ("west", 150.0))
    put(sim, 1, "east", 60.0 - 4.5 - 7.0, ("west", 150.0), speed=comes)
    sim.state.rows.steps[0, 0], sim.state.traffic.backing[0, 0], backed = 1, 1000, []
    assert steps(sim, 20, lambda: backed.append(float(sim.state.motion.speed[0, 0]))) == 0
    assert min(backed) < -0.2, "it does back up"


@functools.cache
def compiled_wait():
    return kernel(plain(wait), cache=False)


@pytest.mark.parametrize(
    ("who", "turn", "holds"), [(1, ENDS, True), (1, MAKES_ROOM, True), (1, NO_TURN, False), (0, ENDS, False)]
)
def test_who_made_room_for_one_ahead_that_has_to_back_up_does_not_take_it_back(who, turn, holds):
    """It has just backed up. The one ahead looks the same way, and has its turn now, or not."""
    sim = scene(ring(), 2)
    put(sim, 0, "east", 60.0, ("west", 150.0))
    put(sim, 1, "east", 72.0, ("west", 150.0))
    state, roads, hold = sim.state, sim.roads, call(holding)(P)
    state.rows.steps[0, 0], state.traffic.backing[0, 0], state.traffic.waits_for[0, 0] = 1, hold + 1, who
    state.traffic.turn[0] = NO_TURN
    state.traffic.turn[0, who] = turn
    compiled_wait()(
        0, 0, state.clock, True, -1, YIELD, state.rows, state.pose, state.motion, state.body, state.lane_position,
        state.variant, roads.network, roads.grid, conflicts(roads), state.traffic, P,
    )  # fmt: skip
    assert state.traffic.backing[0, 0] == (hold if holds else 0)


@pytest.mark.parametrize(("aside", "backs"), [(0.0, True), (-0.26, False)])
def test_who_stands_right_before_the_edge_and_can_not_back_up_may_drive_forward_again(aside, backs):
    """Its rear is 3 cm from the edge, and would soon be off the road. It would hold for one that comes towards it."""
    sim = scene(ring(), 2)
    put(sim, 0, "east", 60.0, ("west", 150.0))
    put(sim, 1, "east", 72.0, ("west", 150.0))
    state, roads, hold = sim.state, sim.roads, call(holding)(P)
    state.body.length[0, 0], state.body.width[0, 0] = 4.5, 1.95
    state.pose.y[0, 0] += aside
    state.pose.cos[0, 0], state.pose.sin[0, 0] = math.cos(0.227), math.sin(0.227)
    state.pose.cos[0, 1] = -1.0
    state.rows.steps[0, 0], state.traffic.waits_for[0, 0], state.traffic.waits_how[0, 0] = 1, 1, BACK
    state.traffic.turn[0], state.traffic.turn[0, 0] = NO_TURN, ENDS
    compiled_wait()(
        0, 0, state.clock, True, -1, YIELD, state.rows, state.pose, state.motion, state.body, state.lane_position,
        state.variant, roads.network, roads.grid, conflicts(roads), state.traffic, P,
    )  # fmt: skip
    assert state.traffic.backing[0, 0] > hold if backs else state.traffic.backing[0, 0] == 0


def test_who_backs_up_keeps_its_lane():
    """It does not back onto the lane to which it wants to change."""
    sim = scene(ending(), 1)
    put(sim, 0, "right", 80.0, ("on", 150.0))
    sim.state.rows.steps[0, 0], sim.state.traffic.backing[0, 0], aside = 1, 30 + call(holding)(P), []
    assert steps(sim, 20, lambda: aside.append(abs(float(sim.state.lane_position.offset[0, 0])))) == 0
    assert max(aside) < 0.1 and sim.state.pose.x[0, 0] + sim.roads.origins[0][0] < 78


def test_it_changes_to_a_lane_that_begins_as_a_taper_where_it_is_wide_enough():
    sim = scene(widens(), 1)
    put(sim, 0, "right", 5.0, ("on", 150.0))
    places = []
    assert (
        steps(sim, 60, lambda: places.append((sim.state.pose.x[0, 0], sim.state.pose.y[0, 0]) + sim.roads.origins[0][:2]))
        == 0
    )
    x, y = np.array(places).T
    assert y[x < 30].max() < 0.3 and y[(x > 150) & (x < 200)].min() > 3


@pytest.mark.parametrize(("speed", "room"), [(0.0, 1e9), (4.0, 6.75), (-4.0, 1e9), (1.0, 1e9)])
def test_who_backs_up_counts_on_who_crosses_behind(speed, room):
    """8 m to the right of the way back and 10 m behind it: within two seconds it may be there, or not."""
    sim = scene(ring(), 2)
    put(sim, 0, "east", 60.0, ("west", 150.0))
    x, y = float(sim.state.pose.x[0, 0] + sim.roads.origins[0][0]), float(sim.state.pose.y[0, 0] + sim.roads.origins[0][1])
    place(sim, 1, x - 10.0, y - 8.0, math.pi / 2, speed=speed)
    find = kernel(plain(room_behind), cache=False)
    state, network = sim.state, sim.roads.network
    found = find(
        0, 0, state.rows, state.pose, state.motion, state.body, state.lane_position, state.variant, network,
        conflicts(sim.roads), state.traffic, P,
    )  # fmt: skip
    assert found == pytest.approx(room, abs=0.1)


def test_a_driver_looks_all_along_its_arc_not_only_at_its_end():
    """A body that lies in the middle of the way: at the end the own rear has passed it."""
    sim = scene(ring(), 2)
    put(sim, 0, "east", 60.0, ("west", 150.0))
    put(sim, 1, "east", 65.0, ("west", 150.0))
    sim.state.body.length[0, 1], sim.state.body.width[0, 1] = 0.5, 0.5
    run = kernel(plain(on_arc), cache=False)
    state, roads = sim.state, sim.roads
    at = [run(
        0, 0, state.clock, f32(reach), f32(bend), f32(bend), state.rows, state.pose, state.motion, state.body, state.variant,
        roads.network, roads.grid,
    ) for reach, bend in [(8.0, 0.0), (0.5, 0.0), (8.0, 0.3), (-3.0, 0.0)]]  # fmt: skip
    assert at[0] == 1 and at[1] == -1 and at[3] == -1
    assert at[2] in (0, 1), "or the edge of the road"


@pytest.mark.parametrize(("aside", "met"), [(2.1, True), (2.5, False)])
def test_a_corner_that_grazes_another_between_two_looks_is_seen(aside, met):
    """A right turn beside the corner of one that comes the other way: they touch after 0.2 m, but not where it looks."""
    sim = scene(ring(), 2)
    put(sim, 0, "east", 60.0, ("west", 150.0))
    put(sim, 1, "east", 60.0, ("west", 150.0))
    state, roads, angle = sim.state, sim.roads, math.radians(-171.2)
    state.body.length[0, :2], state.body.width[0, :2] = (5.3, 4.6), 1.9
    state.pose.x[0, 1] += 5.0
    state.pose.y[0, 1] += aside
    state.pose.cos[0, 1], state.pose.sin[0, 1] = math.cos(angle), math.sin(angle)
    found = kernel(plain(on_arc), cache=False)(
        0, 0, state.clock, f32(1.73), f32(-0.2), f32(-0.2), state.rows, state.pose, state.motion, state.body,
        state.variant, roads.network, roads.grid,
    )  # fmt: skip
    assert (found == 1) == met, "or the edge of the road"


@pytest.mark.parametrize(
    ("speed", "own", "met"), [(0.0, 0.0, 1), (0.5, 0.0, 1), (3.0, 0.0, -1), (3.0, 4.0, 1), (5.0, 4.0, -1)]
)
def test_only_who_gets_away_faster_than_one_begins_to_drive_is_not_in_the_way(speed, own, met):
    sim = scene(ring(), 2)
    put(sim, 0, "east", 60.0, ("west", 150.0), speed=own)
    put(sim, 1, "east", 66.0, ("west", 150.0), speed=speed)
    run, state, roads = kernel(plain(on_arc), cache=False), sim.state, sim.roads
    assert met == run(
        0, 0, state.clock, f32(3.0), f32(0.0), f32(0.0), state.rows, state.pose, state.motion, state.body, state.variant,
        roads.network, roads.grid,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("heading", "speed", "met"), [(90, 5.0, 1), (90, 1.0, -1), (-90, 5.0, -1), (90, 0.0, -1), (180, 5.0, -1)]
)
def test_who_stands_across_its_lane_lets_those_pass_who_drive(heading, speed, met):
    """8 m to the right of the way ahead: soon it crosses that, or not."""
    sim = scene(ring(), 2)
    put(sim, 0, "east", 60.0, ("west", 150.0))
    x, y = float(sim.state.pose.x[0, 0] + sim.roads.origins[0][0]), float(sim.state.pose.y[0, 0] + sim.roads.origins[0][1])
    place(sim, 1, x + 4.0, y - 8.0, math.radians(heading), speed=speed)
    run, state, roads = kernel(plain(on_arc), cache=False), sim.state, sim.roads
    assert met == run(
        0, 0, state.clock, f32(2.0), f32(0.0), f32(0.0), state.rows, state.pose, state.motion, state.body, state.variant,
        roads.network, roads.grid,
    )  # fmt: skip


@pytest.mark.parametrize(("speed", "nearer", "seen"), [(0.0, 0.0, 0.0), (2.0, 0.0, 2.0), (-1.2, 1.2, 0.0)])
def test_a_leader_that_backs_up_counts_as_nearer(speed, nearer, seen):
    sim = scene(ring(), 2)
    put(sim, 0, "east", 40.0, ("west", 150.0))
    put(sim, 1, "east", 60.0, ("west", 150.0), speed=speed)
    run, state, network = kernel(plain(leader_at), cache=False), sim.state, sim.roads.network
    section = int(state.lane_position.section[0, 1])
    gap, along, who = run(
        0, 0, f32(20.0), f32(0), f32(0), f32(0), f32(10), section, 1, np.array([1], np.uint32), state.pose, state.motion,
        state.body, state.variant, network,
    )  # fmt: skip
    assert (who, along) == (1, pytest.approx(seen, abs=1e-3))
    state.motion.speed[0, 1] = 0.0
    rests = run(
        0, 0, f32(20.0), f32(0), f32(0), f32(0), f32(10), section, 1, np.array([1], np.uint32), state.pose, state.motion,
        state.body, state.variant, network,
    )[0]  # fmt: skip
    assert rests - gap == pytest.approx(nearer, abs=1e-3)


@pytest.mark.parametrize(("speed", "seen"), [(0.0, -1), (-1.2, 1), (1.2, -1)])
def test_who_backs_into_the_path_from_its_side_is_seen_before_it_is_there(speed, seen):
    """It stands across the road, 0.8 m beside the path with its rear towards it."""
    sim = scene(ring(), 2)
    put(sim, 0, "east", 40.0, ("west", 150.0))
    put(sim, 1, "east", 60.0, ("west", 150.0))
    state, network = sim.state, sim.roads.network
    section = int(state.lane_position.section[0, 1])
    beside = (state.body.length[0, 1] + state.body.width[0, 0]) / 2 + 0.8
    state.pose.y[0, 1] += beside
    state.pose.cos[0, 1], state.pose.sin[0, 1], state.motion.speed[0, 1] = 0.0, 1.0, speed
    who = kernel(plain(leader_at), cache=False)(
        0, 0, f32(20.0), f32(0), f32(0), f32(0), f32(10), section, 1, np.array([1], np.uint32), state.pose, state.motion,
        state.body, state.variant, network,
    )[2]  # fmt: skip
    assert who == seen


@pytest.mark.parametrize(
    ("bend", "along", "aside", "speed", "met"),
    [
        (0.25, -1.5, 0.1, 0.0, True),
        (0.0, -1.5, 0.1, 0.0, False),
        (-0.25, -1.5, 0.1, 0.0, False),
        (0.25, -1.5, 0.1, 5.0, False),
        (0.25, -4.6, 0.0, 0.0, False),
    ],
)
def test_who_turns_away_from_somebody_beside_its_rear_does_not_touch_that_one(bend, along, aside, speed, met):
    """The rear swings out to the other side. Who stands right behind, or drives, is not touched by it."""
    sim = scene(ring(), 2)
    put(sim, 0, "east", 60.0, ("west", 150.0))
    put(sim, 1, "east", 60.0, ("west", 150.0), speed=speed)
    state, roads = sim.state, sim.roads
    state.pose.x[0, 1] += along
    if aside:
        state.pose.y[0, 1] -= (state.body.width[0, 0] + state.body.width[0, 1]) / 2 + aside
    found = kernel(plain(on_arc), cache=False)(
        0, 0, state.clock, f32(1.5), f32(bend), f32(bend), state.rows, state.pose, state.motion, state.body, state.variant,
        roads.network, roads.grid,
    )  # fmt: skip
    assert (found == 1) == met, "or the edge of the road"


def two_crossings():
    """A fast road along x that two others cross, the second 50 m behind the first, and a lane without conflicts between."""
    return road_map(
        "two crossings",
        straight("in", -200, 0, 0, 0, successors=("first",), speed=25.0),
        straight("first", 0, 0, 10, 0, successors=("between",), speed=25.0),
        straight("between", 10, 0, 50, 0, successors=("second",), speed=25.0),
        straight("second", 50, 0, 60, 0, successors=("out",), speed=25.0),
        straight("out", 60, 0, 300, 0, speed=25.0),
        straight("south 1", 5, -100, 5, 100),
        straight("south 2", 55, -100, 55, 100),
    )


def test_who_announces_the_second_of_two_junctions_can_still_stop_before_it():
    """It announces that behind the first one's line only. Who was committed to both could no longer let anybody go there."""
    sim = scene(two_crossings(), 1, spawn_speed=30.0, speed_max=30.0)
    put(sim, 0, "in", 60.0, ("out", 150.0), speed=24.0)
    sim.state.body.c_vel[0, :] = 1.0
    said = []

    def look():
        said.append((int(sim.state.traffic.next[0, 0]), bool(sim.state.traffic.committed[0, 0])))

    assert steps(sim, 60, look) == 0
    second = lane_number(sim.maps[0], "second")
    announced = [committed for number, committed in said if number == second]
    assert announced and not announced[0], "it could still stop then"
    assert said[-1][0] == -1, "and it has passed both"


def test_who_waits_in_vain_for_a_lane_change_drives_elsewhere():
    sim = scene(ending(), 2, on_crash="freeze")
    put(sim, 0, "right", 85.0, ("on", 150.0))
    put(sim, 1, "left", 88.0, ("on", 170.0))
    sim.state.rows.status[0, 1] = FROZEN
    routes = [int(sim.state.goals.routes[0, 0])]
    assert steps(sim, 140, lambda: routes.append(int(sim.state.goals.routes[0, 0]))) == 0  # 42 s
    assert max(routes) == routes[0]
    steps(sim, 40, lambda: routes.append(int(sim.state.goals.routes[0, 0])))
    assert max(routes) > routes[0]


def test_who_stopped_too_late_for_a_lane_change_drives_on_where_its_lane_does():
    """Nobody backs up for a lane change where the own lane leads somewhere, too."""
    town = road_map(
        "parting",
        straight("left", 0, 3.5, 100, 3.5, right="right", successors=("on",)),
        straight("right", 0, 0, 100, 0, left="left", successors=("off",)),
        straight("on", 100, 3.5, 300, 3.5),
        straight("off", 100, 0, 400, -60),
    )
    sim = scene(town, 1)
    put(sim, 0, "right", 95.0, ("on", 150.0))
    speeds = []
    assert steps(sim, 60, lambda: speeds.append(float(sim.state.motion.speed[0, 0]))) == 0
    assert min(speeds) > -0.1 and sim.state.pose.x[0, 0] + sim.roads.origins[0][0] > 130
    assert sim.state.goals.routes[0, 0] > 1


def test_who_waits_at_the_end_of_a_lane_is_let_in():
    """Into a lane on which others stand bumper to bumper: each lets one in."""
    sim = scene(ending(), 5)
    put(sim, 0, "right", 89.0, ("on", 150.0))
    for a in range(1, 5):
        put(sim, a, "left", 95.0 - 7.5 * (a - 1), ("on", 170.0))
    sim.state.traffic.still[0, 0] = 20
    entered = []
    assert steps(sim, 120, lambda: entered.append(float(sim.state.pose.x[0, 0] + sim.roads.origins[0][0]))) == 0
    assert max(entered) > 105


def test_a_wreck_is_in_the_way():
    """Others stop behind it, and go on when it's gone."""
    sim = scene(ring(), 2, on_crash="freeze")
    put(sim, 0, "east", 20.0, ("west", 150.0), speed=10.0)
    put(sim, 1, "east", 80.0, ("west", 150.0))
    sim.state.rows.status[0, 1] = FROZEN
    assert steps(sim, 60) == 0
    gap = sim.state.pose.x[0, 1] - sim.state.pose.x[0, 0] - 4.5
    assert 1.0 < gap < 4.0 and abs(sim.state.motion.speed[0, 0]) < 2e-3
    sim.state.pose.y[0, 1] += 50.0
    assert steps(sim, 20) == 0
    assert sim.state.motion.speed[0, 0] > 5.0


def street():
    """300 m along x, a stop sign at 100 m and one at 200 m."""
    return road_map(
        "street",
        straight("a", 0, 0, 100, 0, successors=("b",)),
        straight("b", 100, 0, 200, 0, successors=("c",), signal="one"),
        straight("c", 200, 0, 300, 0, signal="two"),
        signals=[Signal("one", "stop"), Signal("two", "stop")],
    )


@pytest.mark.parametrize(("changes", "halts"), [({}, {1, 2}), ({"stop_signs": "ignore"}, set()), ({"stop_count": 0}, set())])
def test_it_stands_at_stop_signs(changes, halts):
    """Once at each, just before the line; where nobody is shown any, it drives on."""
    sim = scene(street(), 1, **changes)
    put(sim, 0, "a", 40.0, ("c", 90.0), speed=8.0)
    halted, reached = set(), []

    def find_neighbours():
        assert not sim.state.events.red_light.any()
        front = 4.5 / 2 + float(sim.state.pose.x[0, 0] + sim.roads.origins[0][0])
        reached.append(front)
        if abs(sim.state.motion.speed[0, 0]) < sim.config.stop_sign_speed and front < 280.0:
            halted.add(round(front / 100))
            assert -1.5 < front - 100 * round(front / 100) < 0.0

    steps(sim, 120, find_neighbours)
    assert halted == halts and max(reached) > 250  # there the road ends, and its episode


# Warped worlds


MEETINGS = {
    "leader": (ring, [("east", 20.0, ("west", 150.0), 10.0), ("east", 60.0, ("west", 60.0), 2.0)]),
    "lane change": (motorway, [("outer 0", 10.0, ("inner 2", 100.0), 8.0), ("inner 0", 10.0, ("inner 2", 140.0), 8.0)]),
    "turns": (
        crossing,
        [
            ("west in", 20.0, ("east out", 50.0), 6.0),
            ("east in", 30.0, ("south out", 50.0), 6.0),
            ("south in", 15.0, ("west out", 50.0), 6.0),
        ],
    ),
    "red light": (lambda: crossing(lights=True), [("west in", 10.0, ("east out", 40.0), 8.0)]),
    "stop sign": (street, [("a", 40.0, ("c", 90.0), 8.0)]),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", MEETINGS)
def test_in_a_warped_world_it_drives_as_in_one_compiled_from_the_warped_map(name, shape):
    """A metre apart after 45 steps, for lanes whose direction changes are taken for evenly stretched; where turns or a stop
    are taken a step later, by that step's way. Mirrored and turned worlds are the same to centimetres."""
    make, cars = MEETINGS[name]
    town, matrix = make(), np.asarray(SHAPES[shape])
    warped, compiled = (scene(one, len(cars), stop_count=4) for one in (town, image(town, matrix)))
    give(warped, matrix)
    for sim in (warped, compiled):
        lights = sim.state.lights
        lights.red[:], lights.yellow[:], lights.green[:], lights.offset[:] = 12.0, 2.0, 5.0, 8.0
        lights.colour[:] = RED
        sim.state.clock.step[:] = 0
    for a, (lane, s, (goal, goal_s), speed) in enumerate(cars):
        for sim in (warped, compiled):
            length, its = (one.roads.network.lanes["length"][lane_number(one.maps[0], lane)] for one in (warped, sim))
            there, theirs = (one.roads.network.lanes["length"][lane_number(one.maps[0], goal)] for one in (warped, sim))
            put(sim, a, lane, s * its / length, (goal, goal_s * theirs / there), speed)
    apart = compiled.roads.origins[0, :2] - matrix @ warped.roads.origins[0, :2]
    worst = 0.0
    for _ in range(45):
        for sim in (warped, compiled):
            assert steps(sim, 1) == 0 and not sim.state.events.red_light.any()
        here = np.stack([warped.state.pose.x[0], warped.state.pose.y[0]], 1)
        there = np.stack([compiled.state.pose.x[0], compiled.state.pose.y[0]], 1) + apart
        worst = max(worst, np.hypot(*(here - there).T).max())
    assert worst < (0.15 if shape in ("flipped", "turned") else 5.0 if name in ("turns", "stop sign") else 1.0)


@pytest.mark.parametrize(
    ("town", "drivers", "config"),
    [
        (["downtown", "roundabouts"], "idm", {}),
        ("arterial", {"policy": 0.3, "idm": 0.7}, {"on_crash": "freeze", "freeze_time": 20.0}),
    ],
    ids=["alone", "among wrecks"],
)
def test_in_the_papers_worlds_no_collision_is_its_fault(town, drivers, config):
    """Variants, bodies from pedestrian to truck, erratic others and stop signs: 90 s of up to 120. The policy's
    rows keep going as they came, and become wrecks."""
    env = gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0", num_envs=120, map=town, preset="paper", agents_per_world=(1, 30), drivers=drivers,
        events=True, threads=1, config=config,
    )  # fmt: skip
    _, info = env.reset(seed=0)
    traffic, route_distance, reds = info["traffic"], 0.0, 0
    for _ in range(300):
        *_, info = env.step(np.full(120, 7))
        route_distance, reds = route_distance + info["distance"][traffic].sum(), reds + info["red_light"][traffic].sum()
    log, state = env.event_log, env.simulator.state
    assert not state.variant.plain.any() and len(np.unique(state.body.length)) > 50
    assert not env.simulator.per_row(state.rows.erratic)[traffic].any()
    crashes = log[log["kind"] == 0]
    others = np.maximum(crashes["other"], 0)
    assert not (crashes["fault"] & traffic[crashes["row"]]).any()
    assert not (crashes["other_fault"] & traffic[others] & (crashes["other"] >= 0)).any()
    assert reds <= 1 and route_distance > 15_000


def test_bicycle_limits_hold_and_drivers_never_reverse():
    sim = simulator("downtown", 60, laptop().replace(agents_per_world=30), drivers="idm")
    for _ in range(100):
        sim.step(np.full(60, 7))
        motion, body, p = sim.state.motion, sim.state.body, sim._params
        assert motion.speed.min() > -1e-2
        assert (
            motion.acceleration.min() >= -p.brake_max and (motion.acceleration <= p.throttle_max * body.c_acc + 1e-5).all()
        )
        assert abs(motion.lateral).max() < 6.0 and abs(motion.steer).max() <= p.steer_max


def test_the_action_of_such_a_row_does_not_matter():
    one, other = (simulator(ring(), 6, laptop().replace(agents_per_world=6), drivers="idm") for _ in range(2))
    for k in range(20):
        one.step(np.full(6, 7))
        other.step(np.full(6, k % 12))
    np.testing.assert_array_equal(one.observations, other.observations)


@pytest.mark.parametrize("town", ["loop", "downtown", "roundabouts"])
def test_towns_are_driven_without_a_collision(town):
    """120 s of 60 cars: about 50 km. Five hundred times as far was driven by hand, see the README."""
    env = gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0", num_envs=60, map=town, preset="laptop", agents_per_world=30, drivers="idm", threads=1,
        config={"on_route_done": "new_route", "max_steps": 1000},
    )  # fmt: skip
    _, info = env.reset(seed=0)
    assert info["traffic"].all()
    route_distance = collisions = goals = 0.0
    for _ in range(400):
        *_, info = env.step(np.full(60, 7))
        route_distance += info["distance"].sum()
        collisions += info["collision"].sum()
        goals += info["route_done"].sum()
    assert collisions == 0 and goals > 150 and route_distance / 400 / 60 / 0.3 > 5.0


def test_threads_do_not_matter_and_snapshots_go_on():
    def make(threads):
        return gymnasium.make_vec(
            "gigaflow_env:GigaFlow-v0", num_envs=48, map="downtown", preset="laptop", threads=threads,
            drivers={"policy": 0.5, "idm": 0.5},
        )  # fmt: skip

    envs = [make(threads) for threads in (1, 3)]
    rng = np.random.default_rng(0)
    actions = rng.integers(0, 12, (60, 48))
    for env in envs:
        env.reset(seed=1)
    for action in actions[:30]:
        one, other = (env.step(action) for env in envs)
        np.testing.assert_array_equal(one[0], other[0])
    kept = envs[0].snapshot()
    first = [envs[0].step(action)[0] for action in actions[30:]]
    envs[1].restore(kept)
    for action, obs in zip(actions[30:], first, strict=True):
        np.testing.assert_array_equal(envs[1].step(action)[0], obs)
    for env in envs:
        env.close()


# Who drives


def test_shares_are_spread_evenly():
    assert (drivers_of("idm", 5) == IDM).all() and (drivers_of("policy", 5) == POLICY).all()
    found = drivers_of({"policy": 0.8, "idm": 0.2}, 1000)
    assert (found == IDM).sum() == 200
    assert (found.reshape(-1, 10) == IDM).sum(axis=1).tolist() == [2] * 100
    assert drivers_of(["policy", "idm", "idm"], 3).tolist() == [POLICY, IDM, IDM]


@pytest.mark.parametrize(
    "drivers, message",
    [
        ("ids", r"drivers='ids': choose of 'policy', 'idm'"),
        ({"policy": 0.5}, r"shares must add up to 1"),
        ({"policy": 1.5, "idm": -0.5}, r"drivers\['policy'\]=1\.5: must be 0 to 1"),
        (["idm"], r"drivers has 1 names: expected one per row, 4"),
        ([], r"choose of"),
    ],
)
def test_wrong_drivers(drivers, message):
    with pytest.raises(ValueError, match=message):
        gymnasium.make_vec("gigaflow_env:GigaFlow-v0", num_envs=4, preset="laptop", drivers=drivers)


def test_only_rows_with_rules_are_flagged():
    env = gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0", num_envs=10, preset="laptop", drivers={"policy": 0.8, "idm": 0.2}, threads=1
    )
    _, info = env.reset(seed=0)
    assert info["traffic"].sum() == 2
    np.testing.assert_array_equal(env.step(np.full(10, 7))[-1]["traffic"], info["traffic"])


def test_stages_write_nothing_for_rows_of_the_policy():
    sim = simulator("downtown", 30, laptop().replace(agents_per_world=30), drivers={"policy": 0.5, "idm": 0.5})
    sim.state.motion.jerk[:] = 77.0
    run("intend", sim)
    run("follow", sim)
    np.testing.assert_array_equal(sim.state.motion.jerk[0] != 77.0, sim.state.rows.driver[0] == IDM)
