"""Narrow lanes, on which cars that meet can't pass each other: who waits where, and who backs up."""

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import (
    aim_at,
    call,
    clear,
    lane_number,
    place,
    plain,
    reals,
    ring,
    road_map,
    section_at,
    simulator,
    straight,
)
from hypothesis import given
from hypothesis import strategies as st

from gigaflow_env.config import laptop, params
from gigaflow_env.jit import kernel
from gigaflow_env.roads import Lane
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.compiled.conflict_zones import conflicts
from gigaflow_env.roads.compiled.tables import NO_WAY_BACK, UNREACHABLE
from gigaflow_env.sim.traffic.cycles import BACK, MAKES_ROOM, STAY, YIELD
from gigaflow_env.sim.traffic.drive import faces, holding, road_end, wait, wider


def street(*, through: bool = True):
    """A street with two lanes that from x = 60 to 140 has one for both directions, of two pieces; without a way out at its
    end, if not `through`."""
    there = [
        straight("in", 0, -1.75, 40, -1.75, successors=("narrows",)),
        straight("narrows", 40, -1.75, 60, 0, successors=("there 1",)),
        straight("there 1", 60, 0, 100, 0, successors=("there 2",)),
        straight("there 2", 100, 0, 140, 0, successors=("widens",) if through else ()),
    ]
    back = [
        straight("back 2", 140, 0, 100, 0, successors=("back 1",)),
        straight("back 1", 100, 0, 60, 0, successors=("back widens",)),
        straight("back widens", 60, 0, 40, 1.75, successors=("back out",)),
        straight("back out", 40, 1.75, 0, 1.75),
    ]
    if through:
        there += [straight("widens", 140, 0, 160, -1.75, successors=("out",)), straight("out", 160, -1.75, 200, -1.75)]
        back += [
            straight("back in", 200, 1.75, 160, 1.75, successors=("back narrows",)),
            straight("back narrows", 160, 1.75, 140, 0, successors=("back 2",)),
        ]
    return road_map("street", *there, *back)


def scene(town, rows):
    config = laptop().replace(agents_per_world=rows, on_route_done="new_route", lights_off=0.0)
    sim = simulator(town, rows, config, drivers="idm")
    clear(sim)
    return sim


def put(sim, a, lane, s, goal, *, heading=None):
    """Put an agent on the middle of a lane, or with another heading there, on its way to a goal."""
    section, sections, position = section_at(sim, lane, s), sim.roads.network.sections, sim.state.lane_position
    x, y = ((sections[name][section] + sections[name][section + 1]) / 2 for name in ("x", "y"))
    along, origin = math.atan2(sections["sin"][section], sections["cos"][section]), sim.roads.origins[0]
    place(sim, a, float(x + origin[0]), float(y + origin[1]), along if heading is None else heading)
    angle = 0.0 if heading is None else heading - along
    position.section[0, a], position.fraction[0, a], position.offset[0, a] = section, 0.5, 0.0
    position.angle[0, a], position.cos[0, a], position.stood[0, a] = angle, math.cos(angle), -1
    aim_at(sim, a, goal)
    sim.state.reward_weights.coefficients[0, a, 0] = 3.0


def drive(sim, count):
    """(steps, rows) x of everybody in the map's own coordinates; nobody leaves the road or crashes."""
    found = []
    for _ in range(count):
        sim.step(np.full(sim.rows, 7))
        assert not sim.state.events.collision.any() and not sim.state.events.offroad.any()
        found.append(sim.state.pose.x[0] + sim.roads.origins[0][0])
    return np.array(found)


def rows_of(town):
    """Of each lane by name: those that it is in conflict with, the way back to a place to pass, and whether it is narrow."""
    found, names = conflicts(compile_roads(town)), list(town.lanes)
    of = {name: {names[row["lane"]] for row in found.rows[found.at[k] : found.at[k + 1]]} for k, name in enumerate(names)}
    return of, dict(zip(names, found.retreat.tolist(), strict=True)), dict(zip(names, found.narrow.tolist(), strict=True))


def test_who_wants_in_minds_the_whole_strip():
    others, retreat, narrow = rows_of(street())
    assert {name for name in narrow if not narrow[name]} == {"in", "out", "back in", "back out"}
    assert others["narrows"] >= {"back 1", "back 2", "back narrows"} and others["there 2"] >= {"back 2", "back narrows"}
    assert not others["in"] and retreat["in"] == -1, "there is room to wait"
    assert retreat["narrows"] == 0 and retreat["there 2"] == pytest.approx(60, abs=0.5)
    _, retreat, _ = rows_of(street(through=False))
    assert retreat["back 2"] == retreat["back 1"] == pytest.approx(NO_WAY_BACK), "nowhere to go"


def test_lanes_of_a_wide_street_are_not_narrow():
    beside = road_map("wide", straight("there", 0, -1.75, 100, -1.75), straight("back", 100, 1.75, 0, 1.75))
    _, retreat, narrow = rows_of(beside)
    assert not any(narrow.values()) and set(retreat.values()) == {-1.0}


@pytest.mark.parametrize("ahead", [10.0, 25.0])
def test_two_from_both_ends_of_a_narrow_street_go_one_after_the_other(ahead):
    sim = scene(street(), 2)
    put(sim, 0, "in", ahead, ("out", 30.0))
    put(sim, 1, "back in", 20.0, ("back out", 30.0))
    x = drive(sim, 130)
    through = np.argmax(x[:, 0] > 150), np.argmax(x[:, 1] < 50)
    assert min(through) > 0, "both get through"
    inside = ((x > 62) & (x < 138))[: min(through)]
    assert not inside.all(axis=1).any(), "both at once"


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_of_two_who_face_each_other_the_one_with_less_way_back_retreats(order):
    inwards, outwards = order
    sim = scene(street(through=False), 2)
    put(sim, inwards, "there 1", 12.0, ("there 2", 35.0))
    put(sim, outwards, "back 2", 20.0, ("back out", 35.0))
    x = drive(sim, 260)
    assert x[:, inwards].min() < 57, "it makes room"
    assert x[:, outwards].min() < 40
    before = x[: int(np.argmax(x[:, outwards] < 40)), outwards]
    assert before.max() < 125, "it does not back up to the end of the road"


def test_who_has_just_come_out_has_as_far_back_as_those_inside():
    """Its rear is still in the narrow lane while it is in the junction behind it."""
    town = street(through=False)
    lanes = [replace(lane, junction="j") if lane.id == "back out" else lane for lane in town.lanes.values()]
    _, before, _ = rows_of(town)
    _, retreat, _ = rows_of(road_map("mouth", *lanes))
    assert before["back out"] == -1 and retreat["back out"] > NO_WAY_BACK


def test_who_holds_after_it_has_backed_up_stands():
    """Else it rolls back at those for whom it made room."""
    sim = scene(street(through=False), 2)
    put(sim, 0, "there 1", 12.0, ("there 2", 35.0))
    put(sim, 1, "back 2", 20.0, ("back out", 35.0))
    hold, held = call(holding)(params(sim.config)), []
    for _ in range(260):
        drive(sim, 1)
        held.append(0 < sim.state.traffic.backing[0, 0] <= hold)
        if all(held[-10:]) and len(held) >= 10:
            assert abs(sim.state.motion.speed[0, 0]) < 1e-3
    assert sum(held) > 10, "it does hold"


def test_who_heads_against_the_lane_below_it_keeps_its_own():
    """After a turn that was too tight, across the middle of the road."""
    town = road_map(
        "wide", straight("there", 0, -1.75, 100, -1.75), straight("back", 100, 1.75, 0, 1.75),
        straight("verge", 0, 5.25, 100, 5.25), straight("other", 0, -5.25, 100, -5.25),
    )  # fmt: skip
    sim = scene(town, 1)
    put(sim, 0, "back", 70.0, ("there", 90.0), heading=math.radians(60))
    said = sim.state.traffic
    sim.state.rows.steps[0, 0], said.inside[0, 0], said.front[0, 0] = 1, lane_number(town, "there"), 32.25
    x = drive(sim, 60)
    assert x[:, 0].max() > 80


def test_it_stops_before_a_taper_where_it_can_still_change():
    """The lane goes on for 60 m, but becomes too narrow before."""
    knots = np.array([[0, 0, 0, 0, 3.5], [40, 0, 0, 0, 3.5], [100, 1.7, 0, 0.02, 0.1]])
    lanes = [
        Lane(
            "left",
            np.array([[0, 3.5, 0, 0, 3.5], [100, 3.5, 0, 0, 3.5]], float),
            left=None,
            right="right",
            successors=("on",),
        ),
        Lane("right", knots, left="left"),
        straight("on", 100, 3.5, 300, 3.5),
    ]
    sim = scene(road_map("taper", *lanes), 3)
    put(sim, 0, "right", 5.0, ("on", 150.0))
    put(sim, 1, "left", 30.0, ("on", 20.0))
    put(sim, 2, "left", 38.0, ("on", 20.0))
    sim.state.motion.speed[0, 0] = 8.0
    drive(sim, 80)


# What a driver that stands says


@pytest.fixture(scope="module")
def waiting():
    """waits_how of agent 0, by the stage itself: what it gives way to is a matter of the test."""
    run = kernel(plain(wait), cache=False)

    def say(sim, *, stands=True, giver=-1, leader=-1, leader_gap=1.0):
        state, roads, said = sim.state, sim.roads, sim.state.traffic
        state.rows.steps[0], said.inside[0], said.beside[0], said.waits_for[0], said.backing[0] = 50, -1, -1, -1, 0
        said.leader[0, 0], said.leader_gap[0, 0], said.stop[0, 0] = leader, leader_gap, 1e9
        run(
            0, 0, state.clock, stands, giver, YIELD, state.rows, state.pose, state.motion, state.body, state.lane_position,
            state.variant, roads.network, roads.grid, conflicts(roads), said, params(sim.config),
        )  # fmt: skip
        return int(said.waits_how[0, 0])

    return say


@pytest.mark.parametrize(("through", "how"), [(True, BACK), (False, STAY)])
def test_in_a_dead_end_nobody_backs_up_for_those_outside(waiting, through, how):
    """On its way out, behind one that stands outside: there is no place to back up to."""
    sim = scene(street(through=through), 2)
    put(sim, 0, "back 1", 30.0, ("back out", 35.0))
    put(sim, 1, "back out", 5.0, ("back out", 35.0))
    assert waiting(sim, leader=1) == how


@pytest.mark.parametrize(("ahead", "bend", "how"), [(6.0, 0.0, BACK), (6.0, 0.4, YIELD), (12.0, 0.0, YIELD)])
def test_nobody_takes_a_right_of_way_into_a_body(waiting, ahead, bend, how):
    """Whom it gives way to stands on the arc that it steers to: it backs up; or beside that, or farther away."""
    sim = scene(ring(), 2)
    put(sim, 0, "east", 60.0, ("west", 150.0))
    put(sim, 1, "east", 60.0 + ahead, ("west", 150.0))
    sim.state.body.width[0, 1] = 0.6
    sim.state.traffic.curvature[0, 0] = bend
    assert waiting(sim, giver=1) == how


def test_who_has_just_begun_to_drive_looks_behind_before_it_backs_up(waiting):
    """It makes room, but another one stands right behind it."""
    sim = scene(ring(), 2)
    put(sim, 0, "east", 60.0, ("west", 150.0))
    put(sim, 1, "east", 60.0 - 4.5 - 0.3, ("west", 150.0))
    sim.state.motion.speed[0, 0], sim.state.traffic.turn[0, 0] = 0.2, MAKES_ROOM
    waiting(sim, stands=False)
    assert sim.state.traffic.backing[0, 0] == 0
    sim.state.pose.x[0, 1] -= 5.0
    waiting(sim, stands=False)
    assert sim.state.traffic.backing[0, 0] > call(holding)(params(sim.config))


@pytest.mark.parametrize("front", [False, True])
def test_a_front_in_the_mouth_of_a_narrow_lane_is_in_the_way(front):
    """Who wants in from a side street meets those who come out at any angle, before its middle is in the mouth."""
    lanes = [
        straight("side", 53, -40, 50, -12, successors=("turn",)),
        straight("turn", 50, -12, 60, 0, successors=("there 1",)),
    ]
    town = road_map("mouth", *street().lanes.values(), *lanes)
    sim = scene(town, 2)
    put(sim, 0, "side", 27.0, ("there 2", 20.0))
    put(sim, 1, "back 1", 30.0, ("back out", 30.0))
    run, state = kernel(plain(faces), cache=False), sim.state
    state.traffic.inside[0] = lane_number(town, "turn" if front else "side"), lane_number(town, "back 1")
    for a, b in [(0, 1), (1, 0)]:
        args = state.pose, state.lane_position, sim.roads.network, conflicts(sim.roads), state.traffic
        assert run(0, a, b, *args) == front


# Rules


ROADS = compile_roads([street(), street(through=False)])
CONFLICTS, LANES = conflicts(ROADS), ROADS.network.lanes


@given(st.integers(0, len(LANES) - 1), reals(0, 1), reals(-50, 300), reals(0.5, 2))
def test_only_a_lane_that_leads_nowhere_ends_and_where_it_becomes_too_narrow(lane, share, passed, scale):
    row, usable = LANES[lane], np.full(len(LANES), share, np.float32)
    found = call(road_end)(CONFLICTS._replace(usable=usable), lane, row, passed, scale)
    expected = passed + share * float(row["length"]) * scale if row["successors"] == 0 else UNREACHABLE
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-3)


@given(reals(0, 300), reals(0, 10))
def test_only_who_has_tried_for_long_at_walking_pace_tries_a_wider_bend_and_in_turns(stood, speed):
    found = call(wider)(stood, speed)
    assert found in (0.0, 2.0) and (stood > 60 and speed < 1.51 or found == 0)
    if 0.01 < stood % 15 < 14.99 and speed < 1.49:
        assert call(wider)(stood + 60, speed) != call(wider)(stood + 75, speed)
