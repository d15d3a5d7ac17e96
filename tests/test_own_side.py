"""Lanes for both directions: each direction keeps to its own half where two cars can pass each other."""

from dataclasses import replace

import numpy as np
import pytest

from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.event_log import COLLISION, OFFROAD
from gigaflow_env.roads import Lane, RoadMap
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.compiled.own_side import SLOPE


def strip(width: float = 6.0, *, left_hand: bool = False, lead: float = 0.0) -> RoadMap:
    """200 m along x for both directions, or, with `lead`, so many metres more for one direction before and behind."""

    def lane(name: str, x0: float, x1: float, *ahead: str, twin: str | None = None) -> Lane:
        heading = 0.0 if x1 > x0 else np.pi
        knots = np.array([[x0, 0, 0, heading, width], [x1, 0, 0, heading, width]])
        return Lane(name, knots, "driving", 10.0, ahead, twin=twin)

    lanes = [lane("there", 0, 200, *(("out",) if lead else ()), twin="back"), lane("back", 200, 0, twin="there")]
    if lead:
        lanes += [lane("in", -lead, 0, "there"), lane("out", 200, 200 + lead)]
    return RoadMap("strip", {lane.id: lane for lane in lanes}, left_hand=left_hand)


def sections(road_map: RoadMap) -> dict[str, np.ndarray]:
    """Sections of each lane, x and y in the map's coordinates."""
    roads = compile_roads(road_map, cache=False)
    network, found = roads.network, {}
    for name, row in zip(road_map.lanes, network.lanes, strict=True):
        found[name] = network.sections[row["first"] : row["first"] + row["quads"] + 1].copy()
        found[name]["x"] += roads.origins[0, 0]
        found[name]["y"] += roads.origins[0, 1]
    return found


@pytest.mark.parametrize("left_hand", [False, True])
def test_each_direction_has_its_half_of_a_wide_lane(left_hand):
    found = sections(strip(6.0, left_hand=left_hand))
    side = 1.5 if left_hand else -1.5
    np.testing.assert_allclose(found["there"]["y"], side, atol=1e-5)
    np.testing.assert_allclose(found["back"]["y"], -side, atol=1e-5)
    for part in found.values():
        np.testing.assert_allclose(part["half_width"], 1.5, atol=1e-5)
        np.testing.assert_allclose(part["curvature"], 0, atol=1e-5)


def test_a_narrow_lane_stays_where_it_is():
    for part in sections(strip(4.5)).values():
        np.testing.assert_allclose(part["y"], 0, atol=1e-5)
        np.testing.assert_allclose(part["half_width"], 2.25, atol=1e-5)


def test_cars_come_to_the_side_gradually_and_go_on_in_the_middle():
    found = sections(strip(6.0, lead=30.0))
    whole = np.concatenate([found[name] for name in ("in", "there", "out")])
    assert abs(whole["y"][[0, -1]]).max() < 1e-5 and whole["y"].min() == pytest.approx(-1.5, abs=1e-5)
    assert np.abs(np.diff(whole["y"])).max() < SLOPE * 1.05
    np.testing.assert_allclose(found["there"]["y"], -1.5, atol=1e-5)  # what has one direction only makes room for that
    short = sections(strip(6.0, lead=5.0))
    assert short["there"]["y"][0] == pytest.approx(-0.6, abs=1e-4) == short["in"]["y"][-1]
    assert short["there"]["y"][50] == pytest.approx(-1.5, abs=1e-5)


def test_a_tight_turn_is_driven_in_the_middle():
    """A quarter of a turn to the right with 4 m of radius between straight parts."""
    angles = np.linspace(np.pi / 2, 0, 12)
    turn = np.column_stack([4 * np.cos(angles), 4 * np.sin(angles) - 4, 0 * angles, angles - np.pi / 2, 6 + 0 * angles])
    knots = np.concatenate([[[-40, 0, 0, 0, 6.0]], turn, [[4, -44, 0, -np.pi / 2, 6.0]]])
    back = knots[::-1] + [0, 0, 0, np.pi, 0]
    lanes = {"there": Lane("there", knots, twin="back"), "back": Lane("back", back, twin="there")}
    found = sections(RoadMap("turn", lanes))
    there = found["there"]
    assert there["y"][0] == pytest.approx(-1.5, abs=0.01)
    middle = np.hypot(there["x"], there["y"] + 4)[np.argmin(abs(there["x"] - there["y"] - 4))]
    assert middle == pytest.approx(4.0, abs=0.15)
    assert abs(there["curvature"]).max() < 0.35
    outer = found["back"]  # turns to the left: its half is the outer one
    assert np.hypot(outer["x"], outer["y"] + 4).min() > 5.4


def test_the_road_keeps_its_edges():
    plain = strip(6.0)
    lanes = {name: replace(lane, twin=None) for name, lane in plain.lanes.items()}
    shifted, middle = (compile_roads(one, cache=False).grid.edges for one in (plain, replace(plain, lanes=lanes)))
    np.testing.assert_array_equal(shifted, middle)


def test_rule_based_cars_pass_each_other():
    env = GigaflowVectorEnv(12, map=strip(6.0, lead=60.0), preset="laptop", agents_per_world=4, drivers="idm", events=True)
    env.reset(seed=0)
    way = np.zeros(12)
    for _ in range(300):
        info = env.step(np.full(12, 7))[-1]
        way += info["distance"]
    log = env.event_log
    assert not np.isin(log["kind"], (COLLISION, OFFROAD)).any()
    assert way.min() > 100
    env.close()
