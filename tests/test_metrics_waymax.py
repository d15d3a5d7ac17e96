"""Waymax's metrics and GPUDrive's outcomes: cases with the answer on paper, rigid motion, reversed time."""

import math
from pathlib import Path

import numpy as np
import pytest
from moving_boxes import FRAMES, backwards, moved, standing, tracks

from gigaflow_env.roads import load, load_scenario
from gigaflow_train.evaluate import gpudrive, surroundings, waymax
from gigaflow_train.evaluate.trajectories import from_scenario, of

SCENES = Path(__file__).parents[2] / "shared" / "scenes"
EDGES = [np.array([[x, -5.0, 0.0] for x in range(-20, 121)]), np.array([[x, 5.0, 0.0] for x in range(120, -21, -1)])]
"""A road along x, 10 m wide."""
ROAD = waymax.edge_points(EDGES)


def test_log_divergence():
    log = tracks({"speed": np.full(5, 10.0)}, standing(5, x=50, valid=np.arange(5) > 1))
    simulated = tracks({"speed": np.full(5, 10.0), "y": 3.0, "x": 4.0}, standing(5, x=50))
    found = waymax.log_divergence(simulated, log)
    assert found[0] == pytest.approx(np.full(5, 5.0))
    assert np.isnan(found[1]).tolist() == [True, True, False, False, False]


def test_overlap_from_touch_to_touch():
    # 4 m long both: at x = 0 and 10 - k they overlap where less than 4 m are between the middles
    found = waymax.overlaps(tracks(standing(21), {"x": 10.0, "speed": np.full(21, -10.0)}, standing(21, x=0, y=2.5)))
    assert found[0].tolist() == [6 < k < 14 for k in range(21)]
    assert (found[1] == found[0]).all()
    assert not found[2].any()  # beside, never touched


def test_who_is_not_there_is_not_hit():
    found = waymax.overlaps(tracks(standing(3), standing(3, valid=np.array([False, True, False]))))
    assert found.tolist() == [[False, True, False]] * 2


@pytest.mark.parametrize(
    "y, heading, off",
    [
        (0.0, 0.0, False),
        (3.9, 0.0, False),  # 0.1 m left
        (4.1, 0.0, True),
        (-4.1, 0.0, True),
        (3.5, math.pi / 2, True),  # across: its front is 2 m ahead
        (20.0, 0.0, True),
    ],
)
def test_offroad_by_the_corners(y, heading, off):
    assert waymax.offroad(tracks(standing(2, x=50, y=y, heading=heading)), ROAD).all() == off


def test_the_edge_of_a_bridge_does_not_count_below():
    bridge = waymax.edge_points([*EDGES, np.array([[x, 1.0, 6.0] for x in range(0, 101)])])
    below = tracks(standing(1, x=50, y=0.5))
    assert not waymax.offroad(below, bridge).any()  # 6 m above count as 12: the edge at 5 m is nearer
    assert waymax.offroad(tracks(standing(1, x=50, y=0.5, z=6.0)), bridge).any()


def test_outside_of_a_bend_the_direction_before_counts_where_it_is_kinder():
    bend = waymax.edge_points([np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [10.0, -10.0, 0.0]])])
    assert waymax.edge_distance(np.array([[13.0, 4.0, 0.0]]), bend) == pytest.approx([-5.0])
    left = waymax.edge_points([np.array([[0.0, 0.0, 0.0], [10.0, 0.0, 0.0], [10.0, 10.0, 0.0]])])
    assert waymax.edge_distance(np.array([[13.0, -4.0, 0.0]]), left) == pytest.approx([5.0])


def test_no_edges_are_an_error():
    with pytest.raises(ValueError, match="no road edge"):
        waymax.edge_points([])


STRAIGHT = np.stack([np.arange(0.0, 101.0), np.zeros(101)], axis=1)
BESIDE = STRAIGHT + [0.0, 8.0]


def test_wrong_way_is_the_distance_from_all_ways():
    paths = [waymax.Path(STRAIGHT, True), waymax.Path(BESIDE, False)]
    places = np.array([[50.0, -3.4], [50.0, -3.5], [50.0, 8.0], [50.0, 18.0]])
    assert waymax.wrong_way(places, paths).tolist() == [0.0, 3.5, 0.0, 10.0]
    assert waymax.wrong_way(places, []).tolist() == [0.0] * 4


def test_off_route():
    paths = [waymax.Path(STRAIGHT, True), waymax.Path(BESIDE, False)]
    places = np.array([[50.0, -4.9], [50.0, -5.1], [50.0, 4.9], [50.0, 5.1]])
    # 4.9: 1.8 m more than to the way off the route; 5.1: too far from the route
    assert waymax.off_route(places, paths) == pytest.approx([0.0, 5.1, 0.0, 5.1])
    assert waymax.off_route(np.array([[50.0, 5.0]]), [paths[0], waymax.Path(BESIDE - [0, 1.1], False)]) == pytest.approx(
        [5.0]
    )
    assert waymax.off_route(places, [paths[1]]).tolist() == [0.0] * 4


def test_progress_is_measured_on_the_nearest_route():
    paths = [waymax.Path(STRAIGHT, True), waymax.Path(BESIDE, False)]
    start, end = np.array([10.0, 0.0]), np.array([60.0, 0.0])
    places = np.array([[10.0, 1.0], [35.2, 1.0], [60.0, 0.0], [85.0, 0.0], [0.0, 0.0]])
    assert waymax.progress_ratio(places, start, end, paths) == pytest.approx([0.0, 0.5, 1.0, 1.5, -0.2])
    assert waymax.progress_ratio(places, start, start, paths).tolist() == [1.0] * 5
    assert waymax.progress_ratio(places, start, end, paths[1:]).tolist() == [0.0] * 5


@pytest.mark.parametrize(
    "speeds, infeasible",
    [
        ([10.0, 11.0], False),  # 10 m/s^2
        ([10.0, 11.05], True),
        ([10.0, 8.95], True),
    ],
)
def test_accelerations_beyond_a_car(speeds, infeasible):
    assert waymax.kinematic_infeasibility(tracks({"speed": np.array(speeds)})).tolist() == [[False, infeasible]]


@pytest.mark.parametrize(
    "speed, turn, infeasible",
    [
        (10.0, 0.29, False),  # 1 m a step
        (10.0, 0.31, True),
        (0.5, 0.31, False),  # too slow to tell
    ],
)
def test_curvatures_beyond_a_car(speed, turn, infeasible):
    circle = tracks({"speed": np.full(5, speed), "heading": turn * np.arange(5), "x": np.zeros(5), "y": np.zeros(5)})
    assert waymax.kinematic_infeasibility(circle)[0].tolist() == [False] + [infeasible] * 4


def test_a_step_from_nowhere_is_not_judged():
    seen = np.array([True, False, True])
    assert not waymax.kinematic_infeasibility(tracks({"speed": np.array([0.0, 0.0, 30.0]), "valid": seen})).any()


def test_a_scene_and_the_papers_score():
    log = tracks({"speed": np.full(11, 10.0)}, standing(11, x=30.0))
    crash = tracks({"speed": np.full(11, 30.0)}, standing(11, x=30.0))
    paths = {0: [waymax.Path(STRAIGHT, True)]}
    good, bad = (waymax.of_scene(one, log, [0], ROAD, paths)[0] for one in (log, crash))
    assert good == waymax.SceneScore(False, False, 0.0, 0.0, pytest.approx(10.0), pytest.approx(10.0), 1.0, False, False)
    assert (bad.overlap, bad.distance, bad.progress_ratio) == (True, pytest.approx(30.0), pytest.approx(3.0))
    assert bad.log_divergence == pytest.approx(10.0)
    assert waymax.score([good]) == 1.0
    assert waymax.score([good, bad]) == 0.5  # 40 m instead of 20: progress counts as 1
    assert waymax.score([good._replace(distance=5.0), bad._replace(distance=5.0)]) == pytest.approx(0.25)
    both = good._replace(overlap=True, offroad=True)
    assert waymax.score([good, both]) == 0.5  # the union: one incident
    assert math.isnan(waymax.score([]))


def test_the_history_is_not_judged():
    hit = tracks({"speed": np.full(11, 0.0)}, standing(11, x=np.where(np.arange(11) < 5, 1.0, 40.0)))
    judge = {first: waymax.of_scene(hit, hit, [0], ROAD, {}, first=first)[0].overlap for first in (0, 5)}
    assert judge == {0: True, 5: False}


@pytest.mark.parametrize("frame", FRAMES)
def test_the_frame_does_not_matter(frame):
    rng = np.random.default_rng(1)
    log = tracks(*({"x": 8.0 * k, "y": 0.5 * k, "speed": rng.uniform(0, 20, 20), "heading": 0.2 * k} for k in range(5)))
    made = log._replace(x=log.x + rng.uniform(-3, 3, log.x.shape))
    paths = {0: [waymax.Path(STRAIGHT, True), waymax.Path(BESIDE, False)]}
    there = {0: [waymax.Path(moved(path.points, *frame), path.on_route) for path in paths[0]]}
    edges = waymax.edge_points([moved(line, *frame) for line in EDGES])
    here = waymax.of_scene(made, log, range(5), ROAD, paths)
    moved_there = waymax.of_scene(moved(made, *frame), moved(log, *frame), range(5), edges, there)
    for a, b in zip(here, moved_there, strict=True):
        assert a == pytest.approx(b, nan_ok=True, abs=1e-6)


def test_overlaps_and_edges_are_the_same_backwards():
    rng = np.random.default_rng(2)
    some = tracks(*({"x": 5.0 * k, "speed": rng.uniform(0, 20, 15), "y": rng.uniform(-5, 5)} for k in range(6)))
    back = backwards(some)
    assert (waymax.overlaps(back)[:, ::-1] == waymax.overlaps(some)).all()
    assert waymax.overlaps(some).any()
    assert (waymax.offroad(back, ROAD)[:, ::-1] == waymax.offroad(some, ROAD)).all()
    assert waymax.distance(back) == pytest.approx(waymax.distance(some))


# GPUDrive


def events(*at):
    return np.array([[step == k for step in range(10)] for k in at])


@pytest.mark.parametrize(
    "goal, hit, off, expected",
    [
        (5, None, None, (True, False, False, True, False)),
        (5, 7, None, (True, True, False, True, False)),  # hit after the goal
        (5, 3, None, (True, True, False, False, False)),  # hit before
        (None, None, 4, (False, False, True, False, False)),
        (None, None, None, (False, False, False, False, True)),
        (5, None, 2, (True, False, True, True, False)),  # off the road is told apart, and no reason against the score
    ],
)
def test_outcomes(goal, hit, off, expected):
    found = gpudrive.outcomes(*(events(-1 if one is None else one) for one in (goal, hit, off)))
    assert found == [gpudrive.Outcome(*expected)]


def test_a_goal_is_reached_within_two_metres():
    car = tracks({"speed": np.full(11, 10.0)})
    near, far = (gpudrive.of_scene(car, [0], np.array([[10.0, y]]), ROAD)[0].goal for y in (1.9, 2.1))
    assert (near, far) == (True, False)


# Recordings


@pytest.mark.parametrize("name", ["motion_data_one_scenario.tfrecord", "gpudrive_scene_4.json"])
@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning")
def test_a_recording_replayed_is_perfect_but_for_what_it_has_itself(name):
    if not SCENES.is_dir():
        pytest.skip("../shared/scenes with real recordings is not there")
    scenario, road_map = load_scenario(SCENES / name), load(SCENES / name)
    logged = from_scenario(scenario)
    assert scenario.road_edges
    around = surroundings.of_scenario(scenario, road_map)
    judged = [scenario.ego, *scenario.predict]
    paths = {scenario.ego: surroundings.paths_of(logged, scenario.ego, around)}
    found = waymax.of_scene(logged, logged, judged, surroundings.waymax_edges(around), paths)
    assert all(one.log_divergence == 0.0 for one in found)
    assert (found[0].progress_ratio, found[0].overlap, found[0].offroad) == (1.0, False, False)
    assert (found[0].wrong_way, found[0].off_route, found[0].kinematic_infeasibility) == (False, False, 0.0)
    assert sum(one.offroad for one in found) <= 2  # two parked cars of one of the scenes stand beside the road
    here = of(logged, judged)
    assert waymax.distance(here) == pytest.approx([one.distance for one in found])
