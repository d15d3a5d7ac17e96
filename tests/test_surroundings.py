"""What metrics know about roads: lanes, borders with the road on the left, and the ways that a car could take."""

import dataclasses

import numpy as np
import pytest
from conftest import road_map, straight
from moving_boxes import standing, tracks
from recorded_scenes import EGO, scenario, scene

from gigaflow_train.evaluate import nuplan, surroundings, waymax
from gigaflow_train.evaluate.polylines import pieces_of, side_distance
from gigaflow_train.evaluate.trajectories import from_scenario


def fork():
    return road_map(
        "fork", straight("in", 0, 0, 100, 0, successors=("on", "up"), left="beside"),
        straight("beside", 0, 3.5, 100, 3.5, right="in"), straight("on", 100, 0, 200, 0, junction="j"),
        straight("up", 100, 0, 200, 80),
    )  # fmt: skip


def test_lanes_areas_and_blocks():
    lanes = surroundings.lane_map(fork())
    by_name = {lane.id: lane for lane in lanes.lanes}
    assert by_name["in"].area.area == pytest.approx(350.0)
    assert by_name["in"].block == by_name["beside"].block != by_name["on"].block
    assert [one.connector for one in lanes.lanes] == [False, False, True, False]
    assert lanes.junctions.area == pytest.approx(350.0)
    assert lanes.drivable.contains(by_name["beside"].area.centroid)


def test_the_border_has_the_road_on_its_left():
    pieces = pieces_of(surroundings.border(fork()))
    inside, outside = np.array([[50.0, 0.0, 0.0], [50.0, 3.0, 0.0]]), np.array([[50.0, -3.0, 0.0], [50.0, 7.25, 0.0]])
    assert side_distance(inside, pieces, 3.0) == pytest.approx([-1.75, -2.25], abs=0.02)
    assert side_distance(outside, pieces, 3.0) == pytest.approx([1.25, 2.0], abs=0.02)


def test_a_block_of_houses_is_no_road_and_a_gap_is():
    square = road_map(
        "square", straight("s", 0, 0, 100, 0), straight("e", 100, 0, 100, 100), straight("n", 100, 100, 0, 100),
        straight("w", 0, 100, 0, 0),
    )  # fmt: skip
    lines = surroundings.border(square)
    assert len(lines) == 2
    assert side_distance(np.array([[50.0, 50.0, 0.0], [50.0, 0.5, 0.0]]), pieces_of(lines), 3.0)[0] > 40.0


def test_the_ways_that_a_car_could_take():
    around = surroundings.Surroundings(surroundings.lane_map(fork()), surroundings.border(fork()), False)
    log = tracks({"x": np.array([10.0, 90.0, 120.0, 180.0]), "y": np.array([0.0, 0.0, 16.0, 64.0]), "speed": 1.0})
    paths = surroundings.paths_of(log, 0, around)
    assert sorted(path.on_route for path in paths) == [
        False,
        False,
        True,
    ]  # up is the route; on, and the lane beside, are not
    (route,) = [path for path in paths if path.on_route]
    assert route.points[-1] == pytest.approx([200.0, 80.0])
    places = np.array([[150.0, 40.0], [150.0, 0.0]])
    assert waymax.off_route(places, paths).tolist() == [0.0, pytest.approx(31.2, abs=0.5)]
    nowhere = tracks(standing(2, x=-500.0))
    assert surroundings.paths_of(nowhere, 0, around) == []


def test_edges_of_the_file_go_before_those_of_lanes():
    drawn, made = scene()
    assert not surroundings.of_scenario(made, drawn).recorded
    edges = (np.array([[0.0, -9.0, 0.0], [10.0, -9.0, 0.0]]),)
    around = surroundings.of_scenario(dataclasses.replace(made, road_edges=edges), drawn)
    assert around.recorded and around.edges == edges


def test_lights_stop_at_the_start_of_their_lanes():
    drawn, made = scene()
    roads = surroundings.wosac_roads(surroundings.of_scenario(made, drawn), drawn, made)
    assert {name for name in made.lights if made.lights[name].size} == {"light west", "light east"}
    assert len(roads.lights) == sum(lane.signal in made.lights for lane in drawn.lanes.values()) > 0
    for light in roads.lights:
        assert light.stop == pytest.approx(roads.lanes[light.lane][0])
        assert light.red.shape == (made.steps,)


@pytest.mark.parametrize(
    "turn, way, word",
    [
        (0.0, 50.0, "straight"),
        (1.2, 50.0, "left"),
        (-1.2, 50.0, "right"),
        (3.1, 50.0, "turning back"),
        (0.0, 1.0, "standing"),
    ],
)
def test_words_for_what_an_ego_does(turn, way, word):
    made = scenario()
    steps = made.steps
    heading = made.heading.copy()
    heading[EGO] = np.linspace(0.0, turn, steps)
    x = made.x.copy()
    x[EGO] = np.linspace(0.0, way, steps)
    assert surroundings.types_of(dataclasses.replace(made, heading=heading, x=x), EGO) == word


def test_who_wosac_judges():
    made = scenario()
    assert list(surroundings.judged_by_wosac(made)) == [0, 1]
    gone = made.valid.copy()
    gone[1, :20] = False
    assert list(surroundings.judged_by_wosac(dataclasses.replace(made, valid=gone))) == [0]


def test_nuplan_on_edges_instead_of_areas():
    drawn, made = scene()
    car = from_scenario(made)
    only = nuplan.of(car, [EGO])
    lanes = surroundings.lane_map(drawn)
    far, near = (pieces_of([np.array([[x, y, 0.0] for x in range(-200, 200, 5)])]) for y in (-20.0, -2.0))
    assert nuplan.drivable_area_compliance(only, lanes, far) == 1.0
    assert nuplan.drivable_area_compliance(only, lanes, near) == 0.0
