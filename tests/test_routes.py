"""Route distances with answers on paper, and the tables of large maps against those of all lanes."""

import math
from typing import NamedTuple

import numpy as np
import pytest
from conftest import bend, call, lane_number, motorway, reals, road_map, straight
from hypothesis import given
from hypothesis import strategies as st

from gigaflow_env.declare import row_type
from gigaflow_env.jit import kernel
from gigaflow_env.roads import find
from gigaflow_env.roads.compiled import routes
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.compiled.tables import LANE_CHANGE_COST, LEAD_UNIT, ROUTE_BLOCK, UNREACHABLE, LaneRow, MapRow
from gigaflow_env.sim.lanes import block_entry, blocks_of, lead, route_distance, route_entry
from gigaflow_env.sim.traffic.cycles import turn_order
from gigaflow_env.sim.traffic.drive import backwards
from gigaflow_env.sim.traffic.lane_choice import change_room
from gigaflow_env.state import make

PLAIN = make(1, 1, 1, 0, 0, 1, 1).variant
PLAIN.plain[:] = True


@kernel
def _from_each(variant, network, number, s, goal_lane, goal_s, out):
    row = network.maps[number]
    for k in range(len(out)):
        out[k] = route_distance(0, variant, network, row, k, s[k], goal_lane, goal_s)


def from_each(roads, shares, goal_lane, goal_s):
    """Route distances from a share of each lane."""
    lanes = roads.network.lanes
    out = np.zeros(len(lanes), np.float32)
    _from_each(PLAIN, roads.network, 0, (lanes["length"] * shares).astype(np.float32), goal_lane, np.float32(goal_s), out)
    return out


def turn_off():
    """A left bend of two lanes, of radius 30 and 33.5 m; only the inner one leads on, to a street of 60 m."""
    half = math.pi / 2
    return road_map(
        "turn off",
        bend("inner", 0, 0, 30.0, 0, half, right="outer", successors=("street",)),
        bend("outer", 0, 0, 33.5, 0, half, left="inner"),
        straight("street", 0, 30, -60, 30),
    )


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 0.9])
def test_a_route_that_changes_to_a_shorter_lane_in_a_bend_counts_what_is_left_of_that_lane(share):
    """A quarter of a circle of 30 m: 47.1 m, though the own lane is 5.5 m longer."""
    town = turn_off()
    roads = compile_roads(town, cache=False)
    found = from_each(roads, share, lane_number(town, "street"), 20.0)[lane_number(town, "outer")]
    assert found == pytest.approx(LANE_CHANGE_COST + 30 * math.pi / 2 * (1 - share) + 20, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_on_a_ring_of_two_lanes_the_inner_way_counts(share):
    """Half a circle of 20 m, and not the 11 m less that the outer lane's metres took off."""
    town = motorway()
    roads = compile_roads(town, cache=False)
    lane, goal = lane_number(town, "outer 1"), lane_number(town, "inner 2")
    found = from_each(roads, share, goal, 30.0)[lane]
    assert found == pytest.approx(LANE_CHANGE_COST + 20 * math.pi * (1 - share) + 30, abs=0.05)


def test_straight_lanes_side_by_side_need_no_leads():
    roads = compile_roads(road_map("m", *(straight(name, 0, y, 50, y, **{side: other}) for name, y, side, other in (
        ("a", 0.0, "left", "b"), ("b", 3.5, "right", "a")))), cache=False)  # fmt: skip
    assert len(roads.network.leads) == 0 and roads.network.maps["leads_at"][0] == -1
    assert compile_roads(motorway(), cache=False).network.leads.min() < LEAD_UNIT * 0.9


@pytest.mark.parametrize("name", ["motorway", "downtown"])
def test_the_blocks_of_a_large_map_hold_the_same_routes(name, monkeypatch):
    """All of them where all are within reach; else those within reach, and none beyond. To the rounding of the sums."""
    town = motorway() if name == "motorway" else find(name)
    whole = compile_roads(town, cache=False)
    lanes = whole.network.lanes
    monkeypatch.setattr(routes, "DENSE_LANES", 0)
    monkeypatch.setattr(routes, "ROUTE_REACH", 1e6)
    blocks = compile_roads(town, cache=False)
    monkeypatch.setattr(routes, "ROUTE_REACH", 400.0)
    near = compile_roads(town, cache=False)
    assert len(near.network.route_blocks) and near.network.maps["blocks_at"][0] == 0
    shares, kept, gone = np.linspace(0, 0.95, len(lanes)), 0, 0
    for goal in range(0, len(lanes), max(1, len(lanes) // 20)):
        expected = from_each(whole, shares, goal, 2.0)
        assert expected.max() < UNREACHABLE / 10
        assert from_each(blocks, shares, goal, 2.0) == pytest.approx(expected, rel=1e-5, abs=0.02)
        found = from_each(near, shares, goal, 2.0)
        has = found < UNREACHABLE / 10
        assert found[has] == pytest.approx(expected[has], rel=1e-5, abs=0.02)
        assert (expected[~has] > 400.0 - 2 * lanes["length"].max()).all()
        kept, gone = kept + has.sum(), gone + (~has).sum()
    assert kept and (name == "motorway" or gone)


def test_without_routes_there_is_none():
    roads = compile_roads(turn_off(), cache=False)
    town = turn_off()
    assert from_each(roads, 0.5, lane_number(town, "outer"), 0.0)[lane_number(town, "street")] > UNREACHABLE / 10
    assert call(route_distance)(0, PLAIN, roads.network, roads.network.maps[0], 0, 0.0, 0, 1.0) == pytest.approx(1.0)


# Properties of the rules


class Blocks(NamedTuple):
    route_blocks: np.ndarray


@given(st.data(), st.integers(1, 200), st.integers(0, 1000))
def test_an_entry_is_that_of_its_goal_and_lane(data, lanes, route_at):
    """In a full table, and in one of blocks, of which some are not kept."""
    goal, local = data.draw(st.integers(0, lanes - 1)), data.draw(st.integers(0, lanes - 1))
    (full,) = made = np.zeros(1, row_type(MapRow))
    made["lanes"], made["route_at"], made["blocks_at"] = lanes, route_at, -1
    nothing = Blocks(np.zeros(1, np.int32))
    assert call(route_entry)(nothing, full, goal, local) == route_at + goal * lanes + local
    across = int(call(blocks_of)(full))
    assert (across - 1) * ROUTE_BLOCK < lanes <= across * ROUTE_BLOCK
    kept = data.draw(st.lists(st.integers(-1, 50), min_size=lanes * across, max_size=lanes * across))
    blocks = Blocks(np.array([7, *kept], np.int32))
    made["blocks_at"] = 1
    block = kept[goal * across + local // ROUTE_BLOCK]
    expected = -1 if block < 0 else route_at + block * ROUTE_BLOCK + local % ROUTE_BLOCK
    assert call(route_entry)(blocks, made[0], goal, local) == expected
    assert call(block_entry)(blocks.route_blocks, np.int64(route_at), 1 + goal * across, local) == expected


@given(st.lists(st.integers(0, 127), min_size=1, max_size=9), st.integers(0, 3))
def test_a_lead_is_what_was_kept_and_grows_with_it(kept, before):
    leads = np.array([0] * before + kept, np.uint16)
    found = [float(call(lead)(leads, np.int64(before), np.int64(k))) for k in range(len(kept))]
    assert float(call(lead)(leads, np.int64(-1), np.int64(0))) == 1.0
    assert np.array_equal(np.argsort(found, kind="stable"), np.argsort(kept, kind="stable"))
    assert all((a == b) == (c == d) for a, c in zip(found, kept, strict=True) for b, d in zip(found, kept, strict=True))


@given(st.integers(0, 3), st.integers(0, 3), st.data(), st.integers(1, 500))
def test_turns_are_ordered_by_how_one_waits_then_by_number(one, other, data, agents):
    a, b = data.draw(st.integers(0, agents - 1)), data.draw(st.integers(0, agents - 1))
    first, second = int(call(turn_order)(one, a, agents)), int(call(turn_order)(other, b, agents))
    assert (first < second) == ((one, a) < (other, b)) and (first == second) == ((one, a) == (other, b))


@given(reals(-2, 2), reals(-0.5, 0.5), reals(-0.1, 0.1))
def test_a_car_that_backs_up_comes_onto_its_line(aside, slope, curvature):
    """Seen along the line: an arc that begins at `aside` with this slope reaches the line on its way back."""
    bent = float(call(backwards)(aside, slope, curvature)) - curvature
    back = np.linspace(0, 20, 2001)
    line = aside - slope * back + bent * back**2 / 2
    assert np.abs(line).min() < 0.01
    assert float(call(backwards)(0.0, 0.0, curvature)) == pytest.approx(curvature, abs=1e-6)


class Usable(NamedTuple):
    usable: np.ndarray


@given(reals(1, 200), reals(0, 1))
def test_a_change_has_no_more_room_than_its_lane(length, usable):
    (row,) = made = np.zeros(1, row_type(LaneRow))
    made["length"] = length
    found = float(call(change_room)(0, PLAIN, Usable(np.array([usable], np.float32)), row, 0))
    assert 0 <= found <= usable * length + 1e-3
    made["length"] = 2 * length
    assert found <= float(call(change_room)(0, PLAIN, Usable(np.array([usable], np.float32)), made[0], 0)) + 1e-4
