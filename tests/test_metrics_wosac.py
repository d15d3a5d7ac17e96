"""WOSAC's score: features and histograms with the answer on paper, the expert at the top, rigid motion."""

import math

import numpy as np
import pytest
from moving_boxes import FRAMES, moved, standing, tracks

from gigaflow_train.evaluate import wosac
from gigaflow_train.evaluate.polylines import pieces_of
from gigaflow_train.evaluate.wosac import FAR, Histogram

STEPS = wosac.HISTORY + wosac.FUTURE
EDGES = [np.array([[x, -5.0, 0.0] for x in range(-50, 251, 5)]), np.array([[x, 5.0, 0.0] for x in range(250, -51, -5)])]
ROADS = wosac.Roads(pieces_of(EDGES))


@pytest.mark.parametrize("year", wosac.YEARS)
def test_weights_add_up_to_one(year):
    rules = wosac.YEARS[year]
    total = sum(one.weight for one in rules.histograms.values()) + sum(rules.bernoulli.values())
    assert total == pytest.approx(0.99 if year == 2023 else 1.0)  # 2023 as published: seven times 0.09 and twice 0.18


# Kinematics


def test_kinematics_of_a_circle():
    t = 0.1 * np.arange(50)
    heading = np.remainder(2.0 * t + math.pi, 2 * math.pi) - math.pi  # over the seam
    speed, change, rate, jerk = wosac.kinematics(5 * np.sin(2 * t), -5 * np.cos(2 * t), 0 * t, heading, 0.1)
    inner = slice(2, -2)
    assert speed[inner] == pytest.approx(np.full(46, 5 * math.sin(0.2) / 0.1))  # chords of two steps
    assert change[inner] == pytest.approx(np.zeros(46), abs=1e-9)
    assert rate[inner] == pytest.approx(np.full(46, 2.0))
    assert jerk[inner] == pytest.approx(np.zeros(46), abs=1e-9)
    assert np.isnan(speed[[0, -1]]).all()
    assert np.isnan(change[[0, 1, -2, -1]]).all()


def test_differences_of_2023_are_to_the_moment_before():
    values = np.array([0.0, 1.0, 4.0, 9.0])
    assert wosac.difference(values, False)[1:].tolist() == [1.0, 3.0, 5.0]
    assert wosac.difference(values, True)[1:-1].tolist() == [2.0, 4.0]
    valid = np.array([True, True, False, True, True])
    assert wosac.difference_valid(valid, False).tolist() == [False, True, False, False, True]
    assert wosac.difference_valid(valid, True).tolist() == [False, False, True, False, False]
    assert wosac.difference_valid(np.ones(4, bool), True).tolist() == [False, True, True, False]


def test_speed_counts_the_slope():
    t = np.arange(5.0)
    assert wosac.kinematics(0.3 * t, 0 * t, 0.4 * t, 0 * t, 0.1)[0][1:-1] == pytest.approx(np.full(3, 5.0))


# Distances


def nearest(*others, rounding=0.0, agent=0):
    return float(wosac.nearest_object(tracks(standing(1), *others), np.array([agent]), rounding)[0, 0])


def test_distance_to_the_nearest():
    assert nearest() == FAR
    assert nearest(standing(1, x=10.0)) == pytest.approx(6.0)
    assert nearest(standing(1, x=10.0), standing(1, y=5.0)) == pytest.approx(3.0)
    assert nearest(standing(1, x=3.0)) == pytest.approx(-1.0)
    assert nearest(standing(1, x=3.0, valid=False)) == FAR
    assert nearest(standing(1, x=200.0)) == FAR


def test_rounded_corners():
    # Corner to corner: sharp ones are 5 m apart. Rounded by 0.7 m each, the arcs' middles are 4.4 and 5.4 apart.
    assert nearest(standing(1, x=7.0, y=6.0)) == pytest.approx(5.0)
    assert nearest(standing(1, x=7.0, y=6.0), rounding=0.7) == pytest.approx(math.hypot(4.4, 5.4) - 1.4)
    assert nearest(standing(1, x=10.0), rounding=0.7) == pytest.approx(6.0)  # straight ahead they change nothing


# Time to collision


def ttc(*others, speed=10.0):
    scene = tracks({"speed": np.full(5, speed)}, *others)
    return float(wosac.time_to_collision(scene, np.array([0]), scene.speed)[0, 0])


@pytest.mark.parametrize(
    "other, expected",
    [
        (standing(5, x=24.0), 2.0),  # 20 m at 10 m/s
        ({"x": 24.0, "speed": np.full(5, 5.0)}, 4.0),
        ({"x": 24.0, "speed": np.full(5, 10.0)}, 5.0),
        (standing(5, x=94.0), 5.0),
        (standing(5, x=-24.0), 5.0),  # behind
        (standing(5, x=24.0, y=2.5), 5.0),  # beside the way
        (standing(5, x=24.0, y=1.9), 2.0),  # 0.1 m of overlap, and the same heading
        (standing(5, x=24.0, y=1.9, heading=0.2), 5.0),  # 11 degrees, with a small overlap
        (
            standing(5, x=24.0, y=0.5, heading=0.2, length=2.0),
            2.08,
        ),  # its corners, turned by 0.2, are 1.18 m from its middle
        (standing(5, x=24.0, heading=1.4), 5.0),  # 80 degrees
        (standing(5, x=24.0, valid=False), 5.0),
    ],
)
def test_time_to_who_is_ahead(other, expected):
    assert ttc(other) == pytest.approx(expected, abs=0.005)


def test_the_nearest_ahead_is_the_leader():
    assert ttc(standing(5, x=34.0), {"x": 14.0, "speed": np.full(5, 9.0)}) == 5.0  # 10 m at 1 m/s


# Road edge and lights


@pytest.mark.parametrize(
    "y, heading, expected", [(0.0, 0.0, -4.0), (3.0, 0.0, -1.0), (4.5, 0.0, 0.5), (0.0, math.pi / 2, -3.0)]
)
def test_distance_to_the_road_edge(y, heading, expected):
    scene = tracks(standing(2, x=100.0, y=y, heading=heading))
    assert wosac.road_edge(scene, np.array([0]), ROADS.edges, 3.0) == pytest.approx(np.full((1, 2), expected))


LANES = [np.array([[0.0, 0.0], [50.0, 0.0], [100.0, 0.0]]), np.array([[0.0, 4.0], [100.0, 4.0]])]


def crossed(y=0.0, red=True, light_lane=0, valid=True, step=1.0):
    scene = tracks({"x": 45.5 + step * np.arange(10), "y": y, "speed": 10.0, "valid": valid})
    light = wosac.Light(light_lane, np.array([50.0, 4.0 * light_lane]), np.broadcast_to(red, 10))
    return np.flatnonzero(wosac.red_light(scene, np.array([0]), LANES, [light])[0]).tolist()


def test_red_lights():
    assert crossed() == [5]  # from 49.5 to 50.5
    assert crossed(red=False) == []
    assert crossed(red=np.arange(10) != 5) == []
    assert crossed(y=4.0) == []  # another lane's
    assert crossed(y=4.0, light_lane=1) == [5]
    assert crossed(valid=np.arange(10) != 5) == []
    assert crossed(step=-1.0) == []  # backwards is no violation
    assert not wosac.red_light(tracks(standing(3)), np.array([0]), LANES, []).any()


# Histograms


def test_chances_in_a_histogram():
    simulated = np.array([[0.5, 0.5, 1.5, 3.5], [9.0, -9.0, np.nan, np.nan]])
    found = np.exp(wosac.log_probability(np.array([[0.2, 2.5], [4.0, 0.0]]), simulated, Histogram(0, 4, 4, 1.0), 0.1))
    assert found == pytest.approx(np.array([[2.1 / 4.4, 0.1 / 4.4], [1.1 / 2.4, 1.1 / 2.4]]))  # clipped to both ends


def test_edges_belong_to_the_bin_above_but_for_the_last():
    logged = np.array([[1.0, 4.0]])
    found = np.exp(wosac.log_probability(logged, np.array([[1.5, 3.5, 3.5]]), Histogram(0, 4, 4, 1.0), 0.0001))
    assert found == pytest.approx(np.array([[1 / 3, 2 / 3]]), abs=1e-3)


def test_what_happens_or_does_not():
    rates = Histogram(-0.5, 1.5, 2, 1.0)
    found = np.exp(
        wosac.log_probability(np.array([[0.0], [1.0]]), np.array([[0.0] * 32, [1.0] * 8 + [0.0] * 24]), rates, 0.001)
    )
    assert found[:, 0] == pytest.approx([32.001 / 32.002, 8.001 / 32.002])


# Scenes


def scene(seed=0, agents=4):
    rng = np.random.default_rng(seed)
    speeds = np.clip(8.0 + np.cumsum(rng.normal(0, 0.3, (agents, STEPS)), axis=1), 0.0, 20.0)
    return tracks(*({"x": 15.0 * k, "y": -1.7 + (k % 2) * 3.6, "speed": speeds[k]} for k in range(agents)))


def noisy(logged, amount, seed):
    rng = np.random.default_rng(seed)
    offset = np.cumsum(rng.normal(0, amount, (2, *logged.x.shape)), axis=2)
    offset[:, :, : wosac.HISTORY] = 0.0
    return logged._replace(x=logged.x + offset[0], y=logged.y + offset[1])


@pytest.mark.parametrize("year", wosac.YEARS)
def test_the_expert_is_at_the_top(year):
    logged = scene()
    judged = [0, 1, 2]
    expert, near, far = (
        wosac.of_scene([noisy(logged, amount, k) for k in range(4)], logged, judged, ROADS, year).composite
        for amount in (0.0, 0.05, 0.6)
    )
    assert expert > near > far
    assert 0.0 < far < expert < 1.0


def test_a_perfect_and_a_wrong_rollout_in_numbers():
    logged = tracks({"speed": np.full(STEPS, 10.0)})
    found = wosac.of_scene([logged] * 32, logged, [0], ROADS, 2024)
    assert found.likelihoods["linear_speed"] == pytest.approx((32 * 79 + 0.1) / (32 * 79 + 1.0))  # the last one has no speed
    assert found.likelihoods["distance_to_road_edge"] == pytest.approx((32 * 80 + 0.1) / (32 * 80 + 1.0))
    assert found.likelihoods["collision"] == pytest.approx(32.001 / 32.002)
    assert (found.ade, found.min_ade, found.collision_rate, found.offroad_rate) == (0.0, 0.0, 0.0, 0.0)
    assert found.composite == pytest.approx(1.0, abs=1e-3)
    outside = logged._replace(y=np.where(np.arange(STEPS) < wosac.HISTORY, 0.0, 30.0)[None])
    bad = wosac.of_scene([outside], logged, [0], ROADS, 2025)
    assert bad.likelihoods["offroad"] == pytest.approx(0.001 / 1.002)
    assert bad.offroad_rate == 1.0
    assert bad.ade == pytest.approx(30.0 * 80 / 91)


def test_only_what_the_log_has_seen_counts():
    gone = np.arange(STEPS) < 40
    logged = tracks({"speed": np.full(STEPS, 10.0), "valid": gone})
    made = tracks({"speed": np.full(STEPS, 10.0), "y": np.where(gone, 0.0, 100.0)})
    assert wosac.of_scene([made], logged, [0], ROADS, 2024).offroad_rate == 0.0


def test_times_to_collision_are_the_vehicles():
    logged = tracks({"speed": np.full(STEPS, 1.0), "kind": "pedestrian", "length": 1.0, "width": 1.0})
    assert math.isnan(wosac.of_scene([logged], logged, [0], ROADS, 2024).likelihoods["time_to_collision"])
    assert not math.isnan(wosac.of_scene([logged], logged, [0], ROADS, 2023).likelihoods["time_to_collision"])


def test_a_mean_is_of_one_year():
    logged = tracks({"speed": np.full(STEPS, 10.0)})
    scenes = [wosac.of_scene([logged], logged, [0], ROADS, year) for year in (2023, 2024)]
    assert wosac.mean(scenes[:1] * 3).composite == pytest.approx(scenes[0].composite)
    with pytest.raises(ValueError, match=r"one year, these are of \[2023, 2024\]"):
        wosac.mean(scenes)
    with pytest.raises(ValueError, match="year=2022: there are configurations of 2023, 2024, 2025"):
        wosac.of_scene([logged], logged, [0], ROADS, 2022)
    with pytest.raises(ValueError, match="0 rollouts, 1 agents"):
        wosac.of_scene([], logged, [0], ROADS, 2024)


@pytest.mark.parametrize("frame", FRAMES)
def test_the_frame_does_not_matter(frame):
    logged = scene()
    made = noisy(logged, 0.1, 1)
    there = wosac.Roads(pieces_of([moved(line, *frame) for line in EDGES]))
    here = wosac.of_scene([made], logged, [0, 2], ROADS, 2025)
    found = wosac.of_scene([moved(made, *frame)], moved(logged, *frame), [0, 2], there, 2025)
    assert found.composite == pytest.approx(here.composite, abs=1e-6)
