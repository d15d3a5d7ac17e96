"""Starts: from each of them some goal can be reached, else it is no start."""

from pathlib import Path

import numpy as np
import pytest
from conftest import ring, road_map, simulator, straight

from gigaflow_env.config import laptop
from gigaflow_env.roads import MapError, find, load, shipped
from gigaflow_env.roads.compiled.compile import START_LENGTH, WAY_LEAST, compile_roads

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps"


def starts_of(town):
    """(x of each start's quad relative to the first lane's start, its lane), for lanes along x."""
    network = compile_roads(town, cache=False).network
    lane = network.sections["lane"][network.starts]
    return (network.starts - network.lanes["first"][lane]) * network.lanes["step"][lane], lane


def test_no_start_is_so_near_to_a_dead_end_that_no_goal_fits_before_it():
    s, _ = starts_of(road_map("street", straight("a", 0, 0, 100, 0)))
    assert s.min() == 0 and s.max() == pytest.approx(100 - WAY_LEAST)


def test_what_leads_on_counts_and_so_does_a_lane_beside():
    on = road_map("on", straight("a", 0, 0, 50, 0, successors=("b",)), straight("b", 50, 0, 62, 0))
    s, lane = starts_of(on)
    assert s[lane == 0].max() == pytest.approx(50 - WAY_LEAST + 12) and not (lane == 1).any()
    beside = road_map(
        "beside",
        straight("a", 0, 0, 50, 0, left="b"),
        straight("b", 0, 3.5, 50, 3.5, right="a", successors=("c",)),
        straight("c", 50, 3.5, 150, 3.5),
    )
    s, lane = starts_of(beside)
    assert s[lane == 0].max() == s[lane == 1].max() == pytest.approx(50 - START_LENGTH)


def test_a_circle_has_no_end():
    assert len(starts_of(ring())[0]) > 300


def test_on_a_map_of_short_roads_half_of_the_longest_way_is_enough():
    s, lane = starts_of(road_map("short", straight("a", 0, 0, 12, 0), straight("b", 0, 50, 8, 50)))
    assert s[lane == 0].max() == pytest.approx(6) and s[lane == 1].max() == pytest.approx(2)
    with pytest.raises(MapError, match="no place to start from"):
        starts_of(road_map("shorter", straight("a", 0, 0, 3.9, 0)))


def way_from(network, lane, s):
    """Longest way [m] from a place, up to WAY_LEAST: by walking all ways."""
    longest, open_ = 0.0, [(int(lane), float(s), 0.0)]
    seen = set()
    while open_ and longest < WAY_LEAST:
        lane, s, so_far = open_.pop()
        row = network.lanes[lane]
        key = lane, round(s, 1), round(so_far, 1)
        if key in seen:
            continue
        seen.add(key)
        left = float(row["length"]) - s
        longest = max(longest, so_far + left)
        for other in (row["left"], row["right"]):
            if other >= 0:
                open_.append((int(other), s * float(network.lanes["length"][other]) / float(row["length"]), so_far))
        for k in range(row["successors_at"], row["successors_at"] + row["successors"]):
            open_.append((int(network.successors[k]), 0.0, so_far + left))
    return min(longest, WAY_LEAST)


def check(town):
    network = compile_roads(town).network
    last = {}
    for start in network.starts.tolist():  # the last start of each lane has the least ahead of it
        last[int(network.sections["lane"][start])] = start
    for lane, start in last.items():
        s = (start - network.lanes["first"][lane]) * network.lanes["step"][lane]
        assert way_from(network, lane, s) > WAY_LEAST - 0.6, f"{town.name}: a start at {s:.0f} m of lane {lane} is a trap"


@pytest.mark.parametrize("name", [*shipped(), "random:3", "random:1003"])
def test_from_each_start_of_a_town_a_goal_can_be_reached(name):
    check(find(name))


ENDINGS = (".xodr", ".net.xml", ".osm", "map.json", "_T-1.xml")
REAL = sorted(str(path.relative_to(SHARED)) for path in SHARED.rglob("*") if path.name.endswith(ENDINGS))


@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning", "ignore:map .* lane changes are left out")
@pytest.mark.skipif(not REAL, reason="the shared maps are not here")
@pytest.mark.parametrize("name", REAL)
def test_from_each_start_of_a_real_map_a_goal_can_be_reached(name):
    check(load(SHARED / name))


def test_a_route_that_ends_where_the_road_does_ends_the_episode():
    """Rows that go on to new routes: at the dead end there is none, else its goal would count again in every step."""
    town = road_map("street", straight("a", 0, 0, 150, 0))
    sim = simulator(town, 4, laptop().replace(agents_per_world=4, on_route_done="new_route", max_steps=2000), drivers="idm")
    ended = goals = 0
    for _ in range(300):
        sim.step(np.full(4, 7))
        ended += int(sim.state.outcome.terminated.sum())
        goals += int(sim.state.events.goal.sum())
        assert not sim.state.events.offroad.any() and not sim.state.events.collision.any()
    assert ended >= 4 and goals <= 3 * ended + 8
