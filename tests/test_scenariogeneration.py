"""OpenDRIVE as another program writes it: lane ends, lengths and links as scenariogeneration or arithmetic says."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from lxml import etree
from scenariogeneration import xodr

from gigaflow_env.roads import Lane, RoadMap, centerline, load, summary
from gigaflow_env.roads.formats.opendrive.strips import MIN_WIDTH
from gigaflow_env.roads.road_map import HEADING, WIDTH, X, Y, Z

MAX_GAP = 0.005  # m


@pytest.fixture
def imported(tmp_path):
    def of(*roads: xodr.Road, creators: Sequence = (), more: Sequence[str] = ()) -> RoadMap:
        """The map of roads and junctions, with elements that the library cannot write appended."""
        drive = xodr.OpenDrive("written")
        for road in roads:
            drive.add_road(road)
        for creator in creators:
            drive.add_junction_creator(creator)
        drive.adjust_roads_and_lanes()
        path: Path = tmp_path / "written.xodr"
        drive.write_xml(str(path))
        if more:
            tree = etree.parse(path)
            tree.getroot().extend(etree.fromstring(element) for element in more)
            tree.write(path)
        road_map = load(path)
        assert summary(road_map)["max_link_gap_m"] <= MAX_GAP
        return road_map

    return of


def beside(pose: tuple[float, float, float], left: float) -> list[float]:
    x, y, heading = pose
    return [x - left * math.sin(heading), y + left * math.cos(heading)]


def check_lane(lane: Lane, start: tuple[float, float, float], end: tuple[float, float, float], left: float) -> None:
    """The lane begins and ends beside the poses, in their directions."""
    for row, pose in ((0, start), (-1, end)):
        np.testing.assert_allclose(lane.line[row, [X, Y]], beside(pose, left), atol=1e-5)
        assert math.remainder(lane.line[row, HEADING] - pose[2], math.tau) == pytest.approx(0, abs=1e-5)


def lane_metres(road_map: RoadMap) -> float:
    return summary(road_map)["lane_km"] * 1000


def links(road_map: RoadMap) -> dict[str, set[str]]:
    return {name: set(lane.successors) for name, lane in road_map.lanes.items() if lane.successors}


# Geometry


SHAPES = {
    "line": [xodr.Line(80)],
    "left arc": [xodr.Arc(0.05, length=40)],
    "right arc": [xodr.Arc(-0.1, length=25)],
    "spiral": [xodr.Spiral(0.0, 0.1, length=60)],
    "spiral that turns back": [xodr.Spiral(-0.05, 0.08, length=50)],
    "polynomial": [xodr.ParamPoly3(0, 30, 0, 0, 0, 0, 12, -4)],
    "polynomial by length": [xodr.ParamPoly3(0, 1, 0, -6e-6, 0, 0, 3e-3, 0, "arcLength", 35)],
    "all": [xodr.Line(20), xodr.Spiral(0, -0.06, length=30), xodr.Arc(-0.06, length=15), xodr.Spiral(-0.06, 0, length=20),
            xodr.ParamPoly3(0, 40, 0, 0, 0, 0, 8, 0), xodr.Line(5)],
}  # fmt: skip


@pytest.mark.parametrize("shape", SHAPES)
def test_lanes_end_where_the_writer_says_and_are_as_long(imported, shape):
    road = xodr.create_road(SHAPES[shape], id=3, lane_width=3)
    road.planview.set_start_point(12, -7, 0.4)
    lanes = imported(road).lanes
    assert set(lanes) == {"3.0.-1", "3.0.1"}
    start, end, length = (12, -7, 0.4), road.get_end_point(), road.planview.get_total_length()
    check_lane(lanes["3.0.-1"], start, end, -1.5)
    back = [(x, y, heading + math.pi) for x, y, heading in (end, start)]
    check_lane(lanes["3.0.1"], *back, -1.5)
    # Parallel lines differ by their distance times the turn, whatever the curve between.
    turn = lanes["3.0.-1"].line[-1, HEADING] - lanes["3.0.-1"].line[0, HEADING]
    assert math.remainder(turn - (end[2] - start[2]), math.tau) == pytest.approx(0, abs=1e-5)
    for name, expected in (("3.0.-1", length + 1.5 * turn), ("3.0.1", length - 1.5 * turn)):
        assert centerline.length(lanes[name].line) == pytest.approx(expected, rel=3e-4)


def test_roads_in_a_row(imported):
    roads = [xodr.create_road(shape, id=k, left_lanes=1, right_lanes=2) for k, shape in enumerate(SHAPES.values())]
    for k, road in enumerate(roads):
        if k:
            road.add_predecessor(xodr.ElementType.road, k - 1, xodr.ContactPoint.end)
        if k + 1 < len(roads):
            road.add_successor(xodr.ElementType.road, k + 1, xodr.ContactPoint.start)
    road_map = imported(*roads)
    expected = {f"{k}.0.{n}": {f"{k + 1}.0.{n}"} for k in range(len(roads) - 1) for n in (-1, -2)}
    expected |= {f"{k + 1}.0.1": {f"{k}.0.1"} for k in range(len(roads) - 1)}
    assert links(road_map) == expected
    check_lane(road_map.lanes[f"{len(roads) - 1}.0.-2"], roads[-2].get_end_point(), roads[-1].get_end_point(), -4.5)


def test_height(imported):
    road = xodr.create_road(xodr.Line(100), id=1)
    road.add_elevation(0, 2, 0.05, 0, 0)
    road.add_elevation(60, 5, 0.05, -1e-3, 0)
    points = centerline.sample(imported(road).lanes["1.0.-1"].line, 1.0)
    expected = 2 + 0.05 * points[:, X] - 1e-3 * np.maximum(points[:, X] - 60, 0) ** 2
    np.testing.assert_allclose(points[:, Z], expected, atol=0.011)


# Lane sections and widths


def test_a_lane_that_is_split_off(imported):
    road = xodr.create_road(xodr.Line(100), id=1, left_lanes=0, right_lanes=xodr.LaneDef(20, 60, 1, 2, -2), lane_width=3)
    road_map = imported(road)
    assert set(road_map.lanes) == {"1.0.-1", "1.1.-1", "1.1.-2", "1.2.-1", "1.2.-2"}
    assert links(road_map) == {"1.0.-1": {"1.1.-1"}, "1.1.-1": {"1.2.-1"}, "1.1.-2": {"1.2.-2"}}
    # It widens from 0 to 3 m over 40 m as smoothly as a cubic can, and it begins where it is wide enough.
    r = np.linspace(0, 1, 100_001)
    width = 3 * (3 * r**2 - 2 * r**3)
    wide = width >= MIN_WIDTH
    metres = np.hypot(np.diff(40 * r[wide]), np.diff(width[wide] / 2)).sum()
    assert lane_metres(road_map) == pytest.approx(100 + metres + 40, abs=1.0)  # rows are a metre apart
    points = centerline.sample(road_map.lanes["1.1.-2"].line, 1.0)
    expected = np.interp(points[:, X], 20 + 40 * r, width)
    np.testing.assert_allclose(points[:, WIDTH], expected, atol=0.02)
    np.testing.assert_allclose(points[:, Y], -3 - expected / 2, atol=0.02)


def test_a_lane_that_ends(imported):
    road = xodr.create_road(xodr.Line(90), id=1, left_lanes=0, right_lanes=xodr.LaneDef(30, 50, 3, 2, -3), lane_width=3)
    road_map = imported(road)
    assert [sum(name.startswith(f"1.{k}.") for name in road_map.lanes) for k in range(3)] == [3, 3, 2]
    inner = {f"1.{k}.{n}": {f"1.{k + 1}.{n}"} for k in (0, 1) for n in (-1, -2)}
    assert links(road_map) == inner | {"1.0.-3": {"1.1.-3"}}


@pytest.mark.filterwarnings("ignore:.*1 link .*5.0 successor .*no lane there says what it leads to. the 1 that meet")
def test_polynomials_of_width_and_lane_offset(imported):
    section = xodr.LaneSection(0, xodr.Lane())
    section.add_right_lane(xodr.Lane(a=3.0, b=0.02, c=-2e-4, d=1e-6))
    section.add_right_lane(xodr.Lane(a=2.5))
    second = xodr.LaneSection(70, xodr.Lane())
    second.add_right_lane(xodr.Lane(a=3.0 + 1.4 - 0.98 + 0.343))
    second.add_right_lane(xodr.Lane(a=2.5, lane_type=xodr.LaneType.parking))
    lanes = xodr.Lanes()
    lanes.add_lanesection(section)
    lanes.add_lanesection(second)
    lanes.add_laneoffset(xodr.LaneOffset(0, 1.0))
    lanes.add_laneoffset(xodr.LaneOffset(40, 1.0, 0, 3e-3, -2e-5))
    plan = xodr.PlanView()
    plan.add_geometry(xodr.Line(100))
    road_map = imported(xodr.Road(5, plan, lanes))
    assert {name: lane.kind for name, lane in road_map.lanes.items()} == {
        "5.0.-1": "driving", "5.0.-2": "driving", "5.1.-1": "driving", "5.1.-2": "parking"}  # fmt: skip
    inner = centerline.sample(road_map.lanes["5.0.-1"].line, 1.0)
    x, beyond = inner[:, X], np.maximum(inner[:, X] - 40, 0)
    width, offset = 3 + 0.02 * x - 2e-4 * x**2 + 1e-6 * x**3, 1 + 3e-3 * beyond**2 - 2e-5 * beyond**3
    np.testing.assert_allclose(inner[:, WIDTH], width, atol=0.02)
    np.testing.assert_allclose(inner[:, Y], offset - width / 2, atol=0.02)
    assert road_map.lanes["5.0.-2"].line[-1, Y] == pytest.approx(1 + 2.7 - 0.54 - 3.763 - 1.25)


# Junctions


def star(arms: int = 4, lanes: int = 2, contact: str = "successor", rule: str = "RHT") -> tuple[list, object]:
    """Roads of 50 m around a junction of 20 m, each joined with each other."""
    roads = [xodr.create_road(xodr.Line(50), id=k, left_lanes=lanes, right_lanes=lanes) for k in range(arms)]
    creator = xodr.CommonJunctionCreator(id=100, name="star", startnum=100)
    for k, road in enumerate(roads):
        creator.add_incoming_road_circular_geometry(road, 20, k * math.tau / arms, contact)
    for k in range(arms):
        for other in range(k):
            creator.add_connection(other, k)
    for road in (*roads, *creator.junction_roads):
        road.rule = getattr(xodr.TrafficRule, rule)
    return roads, creator


@pytest.mark.parametrize("rule", ["RHT", "LHT"])
@pytest.mark.parametrize("contact", ["successor", "predecessor"])
@pytest.mark.parametrize("arms", [3, 4, 5])
def test_a_junction_of_equal_arms(imported, arms, contact, rule):
    roads, creator = star(arms, 2, contact, rule)
    road_map = imported(*roads, creators=[creator])
    found = summary(road_map)
    ways = arms * (arms - 1) * 2  # from each arm into each other one, two lanes
    assert (found["lanes"], found["links"], found["junctions"]) == (4 * arms + ways, 2 * ways, 1)
    assert found["left_hand"] == (rule == "LHT")
    # Of two lanes as far to the left as to the right, one is as much longer than the axis as the other is shorter.
    axes = sum(road.planview.get_total_length() for road in (*roads, *creator.junction_roads))
    assert lane_metres(road_map) == pytest.approx(4 * axes, rel=3e-4)
    inwards = (1 if contact == "predecessor" else -1) * (1 if rule == "RHT" else -1)  # sign of the lanes that lead in
    for k in range(arms):
        for n in (1, 2):
            ways_out = road_map.lanes[f"{k}.0.{n * inwards}"].successors
            assert len(ways_out) == arms - 1
            reached = {other for way in ways_out for other in road_map.lanes[way].successors}
            assert reached == {f"{other}.0.{-n * inwards}" for other in range(arms) if other != k}
            assert all(road_map.lanes[way].junction == "100" for way in ways_out)
            assert not road_map.lanes[f"{k}.0.{-n * inwards}"].successors


def test_connecting_roads_of_single_lanes(imported):
    roads = [xodr.create_road(xodr.Line(60), id=k, left_lanes=2, right_lanes=2) for k in range(3)]
    creator = xodr.CommonJunctionCreator(id=9, name="by lanes", startnum=20)
    for road, place in zip(roads, ((0, 0, 0), (50, 0, math.pi), (25, 35, -math.pi / 2)), strict=True):
        creator.add_incoming_road_cartesian_geometry(road, *place, "successor")
    creator.add_connection(0, 1, [-1, -2], [1, 2])
    creator.add_connection(0, 2, -1, 1)
    creator.add_connection(1, 2, -2, 2)
    road_map = imported(*roads, creators=[creator])
    assert {start: {o for way in ways for o in road_map.lanes[way].successors}
            for start, ways in links(road_map).items() if road_map.lanes[start].junction is None} == {
        "0.0.-1": {"1.0.1", "2.0.1"}, "0.0.-2": {"1.0.2"}, "1.0.-2": {"2.0.2"}}  # fmt: skip
    for way in road_map.lanes["0.0.-1"].successors:
        (target,) = road_map.lanes[way].successors
        np.testing.assert_allclose(road_map.lanes[way].line[0, :2], road_map.lanes["0.0.-1"].line[-1, :2], atol=1e-5)
        np.testing.assert_allclose(road_map.lanes[way].line[-1, :2], road_map.lanes[target].line[0, :2], atol=1e-5)


def test_a_direct_junction(imported):
    """An exit: three lanes, of which two go straight on and the outer one leaves."""
    main = xodr.create_road(xodr.Line(100), id=1, left_lanes=3, right_lanes=3)
    onward = xodr.create_road(xodr.Line(80), id=2, left_lanes=3, right_lanes=2)
    ramp = xodr.create_road(xodr.Spiral(-1e-5, -0.02, length=70), id=3, left_lanes=0, right_lanes=1)
    creator = xodr.DirectJunctionCreator(id=400, name="exit")
    main.add_successor(xodr.ElementType.junction, 400)
    onward.add_predecessor(xodr.ElementType.junction, 400)
    ramp.add_predecessor(xodr.ElementType.junction, 400)
    creator.add_connection(main, onward)
    creator.add_connection(main, ramp, -3, -1)
    road_map = imported(main, onward, ramp, creators=[creator])
    assert links(road_map) == {
        "1.0.-1": {"2.0.-1"}, "1.0.-2": {"2.0.-2"}, "1.0.-3": {"3.0.-1"},
        "2.0.1": {"1.0.1"}, "2.0.2": {"1.0.2"}, "2.0.3": {"1.0.3"}}  # fmt: skip
    start = (*road_map.lanes["1.0.-3"].line[-1, :2], 0.0)
    np.testing.assert_allclose(road_map.lanes["3.0.-1"].line[0, :2], start[:2], atol=1e-5)
    turn = -(1e-5 + 0.02) / 2 * 70
    # The ramp's axis is 1.5 m to the left of its lane.
    assert lane_metres(road_map) == pytest.approx(6 * 100 + 5 * 80 + 70 + 1.5 * turn, rel=3e-4)


# Signals and objects


def test_lights_and_their_controllers(imported):
    roads, creator = star(4, 1)
    for k, road in enumerate(roads):
        road.add_signal(xodr.Signal(48, -4, "DEU", "1000001", id=f"90{k}", dynamic=xodr.Dynamic.yes))
    controllers = [
        f'<controller id="{500 + k}"><control signalId="90{k}"/><control signalId="90{k + 2}"/></controller>' for k in (0, 1)
    ]
    junction = '<junction id="100" name="star"><controller id="500"/><controller id="501"/></junction>'
    road_map = imported(*roads, creators=[creator], more=(*controllers, junction))
    assert {key: (signal.kind, signal.group) for key, signal in road_map.signals.items()} == {
        f"90{k}": ("light", "100") for k in range(4)
    }
    for k in range(4):
        obeyed = {road_map.lanes[way].signal for way in road_map.lanes[f"{k}.0.-1"].successors}
        assert obeyed == {f"90{k}"}


def test_a_reference_counts_for_its_connecting_road_alone(imported):
    roads, creator = star(3, 1)
    roads[0].add_signal(xodr.Signal(10, -4, "DEU", "206", id="700"))  # too far from the junction to be meant for all ways
    reference = xodr.SignalReference(0, -4, id="700")
    reference.add_validity(-1, -1)
    creator.junction_roads[0].add_signal(reference)  # from road 0 into road 1
    road_map = imported(*roads, creators=[creator])
    assert {name for name, lane in road_map.lanes.items() if lane.signal == "700"} == {"100.0.-1"}
    assert road_map.signals["700"].kind == "stop"


def test_a_crosswalk_and_a_parking_space(imported):
    road = xodr.create_road(xodr.Arc(0.02, length=50), id=1)
    corners = [(20, -3), (24, -3), (24, 3), (20, 3)]
    outline = xodr.Outline()
    for k, (s, t) in enumerate(corners):
        outline.add_corner(xodr.CornerRoad(s, t, 0, 0, k))
    crosswalk = xodr.Object(20, 0, xodr.ObjectType.crosswalk, id="31", width=6, length=4)
    crosswalk.add_outline(outline)
    space = xodr.Object(40, -5, xodr.ObjectType.parkingSpace, id="32", width=2.5, length=5)
    space.add_parking_space(xodr.ParkingSpace(xodr.Access.car))
    road.add_object([crosswalk, space])
    road_map = imported(road)
    assert set(road_map.crosswalks) == {"1.31"} and set(road_map.lanes) == {"1.0.-1", "1.0.1"}
    radius = 50
    expected = [((radius - t) * math.sin(s / radius), radius - (radius - t) * math.cos(s / radius), 0) for s, t in corners]
    np.testing.assert_allclose(road_map.crosswalks["1.31"].outline, expected, atol=1e-9)
