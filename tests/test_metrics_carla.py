"""CARLA's routes and driving score: files that the tests write, cases with the answer on paper."""

import math
from pathlib import Path

import numpy as np
import pytest
from conftest import road_map, straight
from route_files import version1, version2

from gigaflow_env.roads import MapError, load
from gigaflow_train.evaluate import carla
from gigaflow_train.evaluate.carla import Infractions

TOWNS = Path(__file__).parents[2] / "shared" / "maps" / "carla"
POINTS = [(5.0, 0.0), (95.0, 0.0), (150.0, 40.0)]


def junction():
    """A street to the east that goes on straight, or by a street to the north-east; a lane beside it, one against it."""
    return road_map(
        "fork", straight("in", 0, 0, 100, 0, successors=("on", "up"), left="beside"),
        straight("beside", 0, 3.5, 100, 3.5, right="in"), straight("on", 100, 0, 200, 0), straight("up", 100, 0, 200, 80),
        straight("against", 100, -3.5, 0, -3.5),
    )  # fmt: skip


# Files


@pytest.mark.parametrize("write, town, scenarios", [(version1, "Town01", ()), (version2, "Town12", ("Accident",))])
def test_both_layouts(tmp_path, write, town, scenarios):
    found = carla.read_routes(write(tmp_path / "routes.xml", {"7": POINTS, "8": POINTS[:2]}))
    assert [(one.id, one.town, one.scenarios) for one in found] == [("7", town, scenarios), ("8", town, scenarios)]
    assert found[0].points[:, :2].tolist() == [list(point) for point in POINTS]  # y is turned back


def test_older_files_call_the_town_map(tmp_path):
    assert carla.read_routes(version1(tmp_path / "lav.xml", {"0": POINTS}, "Town02", "map"))[0].town == "Town02"


@pytest.mark.parametrize(
    "text, message",
    [
        ("<routes><route", "no readable XML"),
        ("<routes/>", "no <route>"),
        (
            '<routes><route town="T"><waypoint x="0" y="0"/><waypoint x="1" y="0"/></route></routes>',
            "must have an id and a town",
        ),
        ('<routes><route id="1" town="T"><waypoint x="0" y="0"/></route></routes>', "route '1': 1 way-points"),
        (
            '<routes><route id="1" town="T"><waypoint x="0" y="a"/><waypoint x="1" y="0"/></route></routes>',
            "must be numbers",
        ),
        ('<routes><route id="1" town="T"><waypoint x="0"/><waypoint x="1" y="0"/></route></routes>', "must be numbers"),
        (
            '<routes><route id="1" town="T"><waypoint x="0" y="inf"/><waypoint x="1" y="0"/></route></routes>',
            "must be finite",
        ),
        (
            '<routes><route id="1" town="T"><waypoint x="0" y="0"/><waypoint x="1" y="0"/></route>'
            '<route id="1" town="T"><waypoint x="0" y="0"/><waypoint x="1" y="0"/></route></routes>',
            "route '1' is given twice",
        ),
    ],
)
def test_faulty_files_are_named(tmp_path, text, message):
    path = tmp_path / "bad.xml"
    path.write_text(text)
    with pytest.raises(MapError, match=message) as caught:
        carla.read_routes(path)
    assert str(path) in str(caught.value)


# On lanes


def matched(*points, id="1"):
    route = carla.Route(id, "fork", np.array([(*point, 0.0) for point in points]))
    return carla.match(route, carla.lane_graph(junction()))


def test_a_route_follows_the_lanes():
    found = matched((5, 0.5), (95, -0.5), (180, 64))
    assert found.lanes == ("in", "up")
    assert found.length == pytest.approx(95 + 0.8 * math.hypot(100, 80), abs=0.1)
    assert np.hypot(*np.diff(found.line[:, :2], axis=0).T).max() < 1.5
    assert found.timeout == pytest.approx(0.8 * found.length + 5.0)


def test_a_way_point_between_two_lanes_goes_where_the_route_goes_on():
    # 101 m is on both branches: the next point tells which.
    assert matched((5, 0), (101, 0), (180, 64)).lanes == ("in", "up")
    assert matched((5, 0), (101, 0), (180, 0)).lanes == ("in", "on")


def test_lanes_may_be_changed_on_the_way():
    assert matched((5, 3.5), (180, 0)).lanes == ("beside", "in", "on")


def test_off_the_lanes_it_is_refused_with_the_distance():
    with pytest.raises(MapError, match=r"route '1', way-point 1: way-point \(50.0, 30.0\) lies on no lane") as caught:
        matched((5, 0), (50, 30))
    assert "'beside', is 26.5 m away" in str(caught.value)


def test_no_way_leads_back():
    with pytest.raises(MapError, match=r"no way leads from way-point 0 \(lane in\) to way-point 1 \(5.0, 0.0\)"):
        matched((50, 0), (5, 0))


@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning")
def test_routes_on_a_real_town(tmp_path):
    if not TOWNS.is_dir():
        pytest.skip("../shared/maps/carla with real towns is not there")
    town = load(TOWNS / "Town01.xodr")
    graph = carla.lane_graph(town)
    lane = max(range(len(graph.names)), key=lambda k: graph.dense[k][-1, 6])
    start, end = (graph.dense[lane][k, :2] for k in (5, -5))
    path = version1(tmp_path / "longest.xml", {"0": [tuple(start), tuple(end)]})
    found = carla.match(carla.read_routes(path)[0], graph)
    assert found.lanes == (graph.names[lane],)
    assert found.length > 100.0


# Score


@pytest.mark.parametrize(
    "given, leaderboard, factor",
    [
        ({}, 1, 1.0), ({"pedestrian": 1}, 1, 0.5), ({"vehicle": 1}, 1, 0.6), ({"static": 1}, 1, 0.65),
        ({"red_light": 1}, 1, 0.7), ({"stop_sign": 1}, 1, 0.8), ({"vehicle": 2}, 1, 0.36), ({"outside": 0.25}, 1, 0.75),
        ({"pedestrian": 1, "red_light": 1, "outside": 0.5}, 1, 0.175), ({"scenario_timeout": 1}, 1, 1.0),
        ({"scenario_timeout": 1}, 2, 0.7), ({"yield_emergency": 1}, 2, 0.7), ({"speed": 0.5}, 1, 1.0),
        ({"speed": 0.5}, 2, 0.85),
        ({"speed": 2.0}, 2, 1.0),
    ],
)  # fmt: skip
def test_penalties(given, leaderboard, factor):
    assert carla.penalty(Infractions(**given), leaderboard=leaderboard) == pytest.approx(factor)


def test_bench2drive_does_not_count_low_speed():
    assert carla.penalty(Infractions(speed=0.1), leaderboard=2, min_speed=False) == 1.0


def test_the_driving_score_is_the_mean_over_routes():
    routes = [
        carla.route_score("1", 1.0, Infractions(), "completed", 1.0),
        carla.route_score("2", 0.5, Infractions(vehicle=1), "blocked", 1.0),
        carla.route_score("3", 1.0, Infractions(red_light=2), "completed", 2.0),
    ]
    found = carla.score(routes)
    assert [one.score for one in routes] == pytest.approx([100.0, 30.0, 49.0])
    assert found.driving_score == pytest.approx(179 / 3)
    assert found.route_completion == pytest.approx(250 / 3)
    assert found.driving_score != pytest.approx(found.route_completion * found.penalty, rel=0.01)
    assert found.success == pytest.approx(1 / 3)
    assert (found.per_km["red_light"], found.per_km["vehicle"], found.per_km["blocked"]) == (0.5, 0.25, 0.25)
    with pytest.raises(ValueError, match="one route at least"):
        carla.score([])


def test_records_for_other_tools():
    bad = carla.route_score("2", 0.5, Infractions(vehicle=2, outside=0.1), "deviation", 1.0)
    record = carla.records([bad])["_checkpoint"]["records"][0]
    assert record["scores"] == pytest.approx({"score_route": 50.0, "score_penalty": 0.324, "score_composed": 16.2})
    assert len(record["infractions"]["collisions_vehicle"]) == 2
    assert record["infractions"]["route_dev"] and not record["infractions"]["vehicle_blocked"]
    assert record["status"] == "Failed - deviation"


# On the way


def follow(places, speed=10.0, dt=0.5, points=((5, 0), (195, 0))):
    progress = carla.Progress(matched(*points), dt)
    for place in places:
        if progress.add(np.asarray(place, float), speed) != "running":
            break
    return progress.status, progress.completion


def test_to_the_end():
    assert follow([(5 + 5 * k, 0.0) for k in range(60)]) == ("completed", 1.0)


def test_half_of_the_way():
    status, share = follow([(5 + 5 * k, 0.5) for k in range(20)])
    assert (status, share) == ("running", pytest.approx(95 / 190))


def test_deviation():
    status, share = follow([(5 + 5 * k, 4.0 * max(0, k - 5)) for k in range(30)])
    assert status == "deviation"
    assert share < 0.3


def test_blocked_and_late():
    stands = [(50.0, 0.0)] * 400
    assert follow(stands, speed=0.0, dt=1.0, points=((5, 0), (195, 0)))[0] == "timeout"  # 157 s
    assert carla.Progress(matched((5, 0), (195, 0)), 0.1).limit == pytest.approx(157.0)
    progress = carla.Progress(matched((5, 0), (195, 0)), 1.0)
    progress.limit = 1e9
    states = [progress.add(np.array([50.0, 0.0]), 0.05) for _ in range(180)]
    assert (states[178], states[179]) == ("running", "blocked")


def test_going_back_takes_nothing_away():
    assert follow([(5 + 5 * k, 0.0) for k in (0, 4, 8, 12, 8, 4)])[1] == pytest.approx(60 / 190)
