"""Argoverse 2 maps with answers on paper, bad ones, and the shared one."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argoverse2_files import line, segment, straight
from damage import damaged, survives

from gigaflow_env.config import laptop
from gigaflow_env.roads import MapError, MapWarning, RoadMap, load, save, summary
from gigaflow_env.roads.road_map import HEADING, WIDTH, X, Y, Z
from gigaflow_env.simulator import Simulator

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps"


def text(crossings: dict[str, Any] | None = None, **segments: Any) -> str:
    return json.dumps({"pedestrian_crossings": crossings or {}, "lane_segments": segments, "drivable_areas": {}}, indent=1)


@pytest.fixture
def imported(tmp_path):
    def of(crossings: dict[str, Any] | None = None, strict: bool = False, **segments: Any) -> RoadMap:
        path = tmp_path / "log_map_archive_test.json"
        path.write_text(text(crossings, **segments))
        return load(path, strict=strict)

    return of


def test_the_center_lies_between_the_borders(imported):
    road_map = imported(a=straight(10, 30, 5))
    assert (road_map.name, road_map.licence[:8]) == ("log_map_archive_test", "CC BY-NC")
    np.testing.assert_allclose(road_map.lanes["a"].line, [[10, 5, 0, 0, 4], [40, 5, 0, 0, 4]], atol=1e-9)


def test_borders_of_a_curve_with_different_points(imported):
    def arc(radius: float, count: int) -> list[dict[str, float]]:
        angle = np.linspace(0, math.pi / 2, count)
        places = zip(radius * np.sin(angle), 30 - radius * np.cos(angle), angle, strict=True)
        return line(*places)

    knots = imported(a=segment(arc(28.5, 40), arc(31.5, 61))).lanes["a"].line
    np.testing.assert_allclose(np.hypot(knots[:, X], knots[:, Y] - 30), 30, atol=0.02)
    np.testing.assert_allclose(knots[:, WIDTH], 3, atol=0.03)
    np.testing.assert_allclose(knots[[0, -1]][:, [HEADING, Z]], [[0, 0], [math.pi / 2, math.pi / 2]], atol=0.02)


def test_links_from_either_side_and_those_that_leave_the_file(imported):
    a, b = straight(0, 30, successors=["b", 404]), straight(30, 30)
    c = straight(60.1, 30, predecessors=["b", 405])
    with pytest.warns(MapWarning, match=r"2 references lead to lane segments that are not in the file, as to '404'"):
        road_map = imported(a=a, b=b, c=c)
    assert [road_map.lanes[name].successors for name in "abc"] == [("b",), ("c",), ()]
    assert summary(road_map)["max_link_gap_m"] <= 0.005


def test_ends_that_do_not_meet_are_not_linked(imported):
    with pytest.warns(UserWarning, match=r"1 link \(up to 6 m\)"):
        road_map = imported(a=straight(0, 30, successors=["b"]), b=straight(36, 30))
    assert road_map.lanes["a"].successors == ()


@pytest.mark.parametrize(
    ("mark", "from_left", "from_right"),
    [
        ("DASHED_WHITE", True, True),
        ("DOUBLE_DASH_YELLOW", True, True),
        ("NONE", True, True),
        ("UNKNOWN", True, True),
        ("SOLID_WHITE", False, False),
        ("DOUBLE_SOLID_YELLOW", False, False),
        ("SOLID_BLUE", False, False),
        ("SOLID_DASH_WHITE", False, True),
        ("DASH_SOLID_YELLOW", True, False),
    ],
)
def test_marks_permit_lane_changes(imported, mark, from_left, from_right):
    lanes = imported(
        left=straight(0, 30, 4, right_neighbor_id="right", right_lane_mark_type=mark),
        right=straight(0, 30, 0, left_neighbor_id="left", left_lane_mark_type=mark),
    ).lanes
    assert lanes["left"].right == ("right" if from_left else None)
    assert lanes["right"].left == ("left" if from_right else None)


@pytest.mark.parametrize("mark", ["PAINT", None, 3])
def test_a_mark_that_there_is_not_may_not_be_crossed_and_is_told(imported, mark):
    left = straight(0, 30, 4, right_neighbor_id="right", right_lane_mark_type=mark)
    with pytest.warns(
        MapWarning, match="value left right_lane_mark_type: .*is no mark that there is: no lane change over it"
    ):
        lanes = imported(left=left, right=straight(0, 30, 0, left_neighbor_id="left")).lanes
    assert (lanes["left"].right, lanes["right"].left) == (None, "left")


def test_neighbours_of_the_other_direction_or_only_one_sided_are_none(imported):
    other = segment(line((30, 2), (0, 2)), line((30, 6), (0, 6)), left_neighbor_id="a", right_neighbor_id="a")
    with pytest.warns(MapWarning, match="does not name it as its left neighbour: no lane change"):
        lanes = imported(
            a=straight(0, 30, left_neighbor_id="b", right_neighbor_id="c"), b=other, c=straight(0, 30, -4)
        ).lanes
    assert lanes["a"].left is None and lanes["a"].right is None and lanes["b"].left is None


def test_kinds(imported):
    with pytest.warns(MapWarning, match="access b: closed to cars: drivable area only"):
        road_map = imported(
            a=straight(0, 30), b=straight(0, 30, 4, lane_type="BUS"),
            c=straight(0, 30, 8, lane_type="BIKE", successors=["d"]), d=straight(30, 30, 8),
        )  # fmt: skip
    assert [part.kind for part in road_map.lanes.values()] == ["driving", "shoulder", "biking", "driving"]
    assert road_map.lanes["c"].successors == ()


def test_lanes_that_cross_in_an_intersection_are_one_junction(imported):
    across = segment(line((13, -15), (13, 15)), line((17, -15), (17, 15)), is_intersection=True)
    far = straight(100, 30, is_intersection=True)
    lanes = imported(a=straight(0, 30, is_intersection=True), b=across, c=straight(-30, 30), d=far).lanes
    assert {name: part.junction for name, part in lanes.items()} == {"a": "a", "b": "a", "c": None, "d": "d"}


@pytest.mark.parametrize("turned", [False, True])
def test_crosswalks_lie_between_their_edges(imported, turned):
    edges = {"edge1": line((5, -4), (5, 4, 1)), "edge2": line(*((8, 4), (8, -4))[:: 1 if turned else -1])}
    outline = imported({"x": edges}, a=straight(0, 30)).crosswalks["x"].outline
    np.testing.assert_allclose(outline, [[5, -4, 0], [5, 4, 1], [8, 4, 0], [8, -4, 0]])


# Files


def without(name: str) -> dict[str, Any]:
    return {key: given for key, given in straight(0, 30).items() if key != name}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (without("lane_type"), r"lane segment 'a': 'lane_type' is missing"),
        (without("left_lane_boundary"), r"lane segment 'a': 'left_lane_boundary' is missing"),
        (straight(0, 30, lane_type="TRAM"), r"lane segment 'a': lane_type 'TRAM' is not one of VEHICLE, BUS, BIKE"),
        (straight(0, 30, successors="b"), r"lane segment 'a': successors are 'b': they must be a list of ids"),
        (straight(0, 30, left_lane_boundary=[]), r"lane segment 'a': a line of 0 points"),
        (straight(0, 30, left_lane_boundary=[{"x": 1, "y": None, "z": 0}]), r"lane segment 'a': point 0 is .* numbers x"),
        (straight(0, 30, left_lane_boundary=line((0, 2), (math.nan, 2))), r"lane segment 'a': point 1 .*must be finite"),
        (straight(0, 30, left_lane_boundary=line((0, 2), (1e300, 2))), r"lane segment 'a': point 1 .*up to 1e\+08 m"),
        (straight(0, 30, left_lane_boundary=line((0, -9), (30, -9))), r"lane segment 'a': .*side by side"),
        ([], r"lane segment 'a' is list, it must be an object"),
        (straight(0, 30, lane_type="BIKE"), r"map 'log_map_archive_test' has no driving lane"),
    ],
)
def test_a_bad_file_is_refused_with_its_lane(imported, changed, message):
    with pytest.raises(MapError, match=rf"log_map_archive_test\.json: {message}"):
        imported(a=changed, strict=True)


def test_a_bad_crossing_is_refused(imported):
    with pytest.raises(MapError, match=r"pedestrian crossing 'x': 'edge2' is missing"):
        imported({"x": {"edge1": line((0, 0), (1, 0))}}, a=straight(0, 30), strict=True)


def test_damaged_files_end_in_a_map_or_an_error(tmp_path):
    whole = text(
        {"x": {"edge1": line((5, -4), (5, 4)), "edge2": line((8, -4), (8, 4))}},
        a=straight(0, 30, successors=["b"]), b=straight(30, 30), c=straight(30, 30, 4, right_neighbor_id="b"),
    )  # fmt: skip
    whole = whole.replace('"lane_segments"', '"lane_segments" ')  # found by its content
    read = [survives(load, tmp_path / "a.json", what, data) for what, data in damaged(whole, 9, 120)]
    assert 30 < sum(read) < len(read) - 100  # both happen
    deep = b'{"lane_segments": ' + b"[" * 100_000
    assert not survives(load, tmp_path / "a.json", "deep", deep)


@pytest.mark.parametrize(("count", "read"), [(50_000, True), (1_000_000, False)])
def test_many_points_end_in_time(tmp_path, count, read):
    many = ",".join(['{"x":0,"y":2,"z":0}'] * count) + ',{"x":30,"y":2,"z":0}'
    data = text(a=segment(["many"], line((0, -2), (30, -2)))).replace('"many"', many).encode()
    assert survives(load, tmp_path / "a.json", "many points", data) == read


# The shared map


def test_the_shared_map(tmp_path):
    path = SHARED / "argoverse2" / "dummy_log_map.json"
    if not path.is_file():
        pytest.skip("the shared map argoverse2/dummy_log_map.json is not here")
    with pytest.warns(MapWarning, match="2 references lead to lane segments that are not in the file"):
        road_map = load(path)
    found = summary(road_map)
    assert (found["lanes"], found["links"], found["crosswalks"], found["junctions"]) == (3, 1, 2, 1)
    assert found["lane_km"] == pytest.approx(0.0635, abs=0.0005)
    assert found["max_link_gap_m"] <= 0.005
    save(road_map, tmp_path / "map.lanes.json")
    assert summary(load(tmp_path / "map.lanes.json"))["max_link_gap_m"] == 0.0
    sim = Simulator(road_map, 2, laptop().replace(agents_per_world=1), threads=1)
    sim.reset(np.array([1, 2], np.uint32))
    rng = np.random.default_rng(3)
    for _ in range(1000):
        sim.step(rng.integers(0, 12, 2))
        assert np.isfinite(sim.observations).all()
