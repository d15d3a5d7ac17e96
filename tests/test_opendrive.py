"""OpenDRIVE files with answers on paper, bad ones, and the towns of the shared maps."""

import math
import time
from pathlib import Path

import numpy as np
import pytest
import shapely
from damage import damaged, survives, with_bomb, without_attributes
from lxml import etree
from opendrive_files import crossing, cubic, geometry, lane, light, linked, reference, road, section, width

from gigaflow_env.roads import Lane, MapError, MapWarning, RoadMap, centerline, load, save, summary
from gigaflow_env.roads.road_map import HEADING, WIDTH, X, Y, Z

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps"


@pytest.fixture
def imported(tmp_path):
    def of(*parts: str, strict: bool = False) -> RoadMap:
        path = tmp_path / "test.xodr"
        path.write_text('<?xml version="1.0"?>\n<OpenDRIVE>\n' + "\n".join(parts) + "\n</OpenDRIVE>\n", encoding="utf-8")
        return load(path, strict=strict)

    return of


def ends(lane: Lane) -> np.ndarray:
    return lane.line[[0, -1]][:, [X, Y, HEADING]]


# Geometry


def test_a_straight_road_has_a_lane_on_each_side(imported):
    lanes = imported(road(7, 100, lanes=section(0, lane(-1), lane(1)))).lanes
    assert set(lanes) == {"7.0.-1", "7.0.1"}
    np.testing.assert_allclose(lanes["7.0.-1"].line, [[0, -1.75, 0, 0, 3.5], [100, -1.75, 0, 0, 3.5]], atol=1e-12)
    np.testing.assert_allclose(ends(lanes["7.0.1"])[:, :2], [[100, 1.75], [0, 1.75]], atol=1e-12)
    np.testing.assert_allclose(np.abs(lanes["7.0.1"].line[:, HEADING]), math.pi, atol=1e-12)


def test_an_arc_is_longer_on_its_outer_side(imported):
    angle = 2.0
    plan = geometry('<arc curvature="0.05"/>', 0, 3, 4, 0.3, angle / 0.05)
    lanes = imported(road(1, angle / 0.05, plan, section(0, lane(-1, width(4.0)), lane(1, width(4.0))))).lanes
    for name, radius in (("1.0.-1", 22.0), ("1.0.1", 18.0)):
        assert centerline.length(lanes[name].line) == pytest.approx(radius * angle, rel=3e-4)
        points = centerline.sample(lanes[name].line, 0.5)
        center = np.array([3 - 20 * math.sin(0.3), 4 + 20 * math.cos(0.3)])
        np.testing.assert_allclose(np.linalg.norm(points[:, :2] - center, axis=1), radius, atol=0.011)
    assert ends(lanes["1.0.-1"])[1, 2] == pytest.approx(0.3 + angle)


@pytest.mark.parametrize(("start", "end", "length"), [(0.0, 0.1, 60.0), (0.05, -0.05, 80.0), (-0.2, -0.01, 40.0)])
def test_a_spiral_agrees_with_numeric_integration(imported, start, end, length):
    shape = f'<spiral curvStart="{start}" curvEnd="{end}"/>'
    line = imported(road(1, length, geometry(shape, 0, 0, 0, 0, length))).lanes["1.0.-1"].line
    s = np.linspace(0, length, 200_001)
    angle = start * s + (end - start) / length * s**2 / 2
    simpson = np.where(np.arange(len(s)) % 2, 4.0, 2.0)
    simpson[[0, -1]] = 1.0
    x, y = (f(angle) @ simpson * (s[1] / 3) for f in (np.cos, np.sin))
    expected = [x + 1.75 * math.sin(angle[-1]), y - 1.75 * math.cos(angle[-1])]
    np.testing.assert_allclose(line[-1, :2], expected, atol=1e-6)
    assert math.remainder(line[-1, HEADING] - angle[-1], 2 * math.pi) == pytest.approx(0, abs=1e-9)


PARABOLA = 0.5 * math.sqrt(2) + 0.5 * math.asinh(1)  # length of v = u^2 / 2 from 0 to 1
POLY3 = '<poly3 a="0" b="0" c="0.05" d="0"/>'  # the same ten times as large
NORMALIZED = '<paramPoly3 aU="0" bU="10" cU="0" dU="0" aV="0" bV="0" cV="5" dV="0"/>'
STATED = NORMALIZED.replace("<paramPoly3", '<paramPoly3 pRange="normalized"')
ARC_LENGTH = NORMALIZED.replace("<paramPoly3", '<paramPoly3 pRange="arcLength"').replace(
    'bU="10"', f'bU="{1 / PARABOLA}"').replace('cV="5"', f'cV="{0.05 / PARABOLA**2}"')  # fmt: skip


@pytest.mark.parametrize("shape", [POLY3, NORMALIZED, STATED, ARC_LENGTH])
def test_polynomial_curves_follow_their_arc_length(imported, shape):
    length = 10 * PARABOLA
    line = imported(road(1, length, geometry(shape, 0, 0, 0, 0, length))).lanes["1.0.-1"].line
    half = 1.75 / math.sqrt(2)  # the tangent at (10, 5) leads to the upper right
    np.testing.assert_allclose(line[-1, [X, Y, HEADING]], [10 + half, 5 - half, math.pi / 4], atol=1e-6)
    fine = centerline.sample(line, 0.05)
    u = np.linspace(0, 10, 4001)
    normal = np.column_stack([u / 10, -np.ones_like(u)]) / np.hypot(u / 10, 1)[:, None]
    exact = np.column_stack([u, u**2 / 20]) + 1.75 * normal
    assert np.linalg.norm(fine[:, None, :2] - exact, axis=2).min(axis=1).max() < 0.012


def test_pieces_of_the_plan_follow_each_other(imported):
    plan = geometry("<line/>", 0, 0, 0, 0, 10) + geometry('<arc curvature="0.1"/>', 10, 10, 0, 0, 5 * math.pi)
    line = imported(road(1, 10 + 5 * math.pi, plan)).lanes["1.0.-1"].line
    np.testing.assert_allclose(line[-1, [X, Y, HEADING]], [21.75, 10, math.pi / 2], atol=1e-9)


def test_lane_offset_and_widths_add_up(imported):
    offset = cubic("laneOffset", "s", 0, 1.0, 0.1)
    right = lane(-1, width(3.0)) + lane(-2, width(2.0, 0.02) + width(3.0, at=50))
    lanes = imported(road(1, 100, lanes=offset + section(0, right))).lanes
    assert lanes["1.0.-1"].line[0, Y] == pytest.approx(1 - 1.5)
    assert lanes["1.0.-1"].line[-1, Y] == pytest.approx(11 - 1.5)
    assert lanes["1.0.-1"].line[0, HEADING] == pytest.approx(math.atan(0.1))
    points = centerline.sample(lanes["1.0.-2"].line, 1.0)
    np.testing.assert_allclose(points[:, 4], np.clip(2 + 0.02 * points[:, 0], 2, 3), atol=0.02)
    np.testing.assert_allclose(points[:, 1], 1 + 0.1 * points[:, 0] - 3 - points[:, 4] / 2, atol=0.02)


def test_headings_point_along_the_lane_where_it_moves_across_a_curve(imported):
    offset = cubic("laneOffset", "s", 0, 6.0, 0.1)
    plan = geometry('<arc curvature="0.05"/>', 0, 0, 0, 0, 20)
    line = imported(road(1, 20, plan, offset + section(0, lane(-1)))).lanes["1.0.-1"].line
    # Offset 4.25 m: 1 m of the road is 1 - 4.25 / 20 m here, while the lane moves 0.1 m to the left.
    assert line[0, HEADING] == pytest.approx(math.atan2(0.1, 1 - 4.25 / 20))
    assert line[-1, HEADING] == pytest.approx(1 + math.atan2(0.1, 1 - 6.25 / 20))


def test_bends_of_the_lane_offset_are_found_between_the_points(imported):
    offset = cubic("laneOffset", "s", 0, 0.0) + cubic("laneOffset", "s", 33.25, 0.0, 0.3)
    points = centerline.sample(imported(road(1, 60, lanes=offset + section(0, lane(-1)))).lanes["1.0.-1"].line, 0.05)
    np.testing.assert_allclose(points[:, 1] + 1.75, 0.3 * np.maximum(points[:, 0] - 33.25, 0), atol=0.012)


@pytest.mark.parametrize("sign", [1, -1])
def test_borders_are_measured_from_the_center_lane(imported, sign):
    right = "".join(lane(-n, cubic("border", "sOffset", 0, sign * 3.0 * n)) for n in (1, 2))
    lanes = imported(road(1, 50, lanes=section(0, right))).lanes
    assert [lanes[f"1.0.-{n}"].line[0, Y] for n in (1, 2)] == pytest.approx([-1.5, -4.5])
    assert lanes["1.0.-2"].line[0, WIDTH] == pytest.approx(3.0)


def test_elevation_becomes_height(imported):
    profile = cubic("elevation", "s", 0, 2.0) + cubic("elevation", "s", 40, 2.0, 0.05)
    more = f"<elevationProfile>{profile}</elevationProfile>"
    lanes = imported(road(1, 100, lanes=section(0, lane(-1), lane(1)), more=more)).lanes
    points = centerline.sample(lanes["1.0.-1"].line, 1.0)
    np.testing.assert_allclose(points[:, 2], 2 + 0.05 * np.maximum(points[:, 0] - 40, 0), atol=0.011)
    assert lanes["1.0.1"].line[[0, -1], Z] == pytest.approx([5, 2])


# Sections


def test_what_starts_where_a_section_ends_belongs_to_the_next(imported):
    offset = cubic("laneOffset", "s", 0, 0.0) + cubic("laneOffset", "s", 50, 3.5)
    first = section(0, lane(-1, width(3.5) + width(9.0, at=50), (None, -2)))
    second = section(50, lane(-1) + lane(-2, "", (-1, None)))
    road_map = imported(road(1, 100, lanes=offset + first + second))
    assert road_map.lanes["1.0.-1"].successors == ("1.1.-2",)
    assert road_map.lanes["1.0.-1"].line[:, [Y, WIDTH]].tolist() == [[-1.75, 3.5]] * 2
    assert summary(road_map)["max_link_gap_m"] < 1e-9


@pytest.mark.parametrize("size", [0.0, 0.004, 0.03])
def test_tiny_sections_are_bypassed_in_both_directions(imported, size):
    def part(s: float, before: int | None, after: int | None) -> str:
        return section(s, *(lane(n, "", (n if before else None, n if after else None)) for n in (-1, 1)))

    lanes = imported(road(1, 100, lanes=part(0, None, 1) + part(50, 1, 1) + part(50 + size, 1, None))).lanes
    assert set(lanes) == {"1.0.-1", "1.0.1", "1.2.-1", "1.2.1"}
    assert lanes["1.0.-1"].successors == ("1.2.-1",)
    assert lanes["1.2.1"].successors == ("1.0.1",)


def test_a_lane_begins_where_it_has_width_and_loses_the_link_to_the_rest(imported):
    first = section(0, lane(-1, "", (None, -1)) + lane(-2, width(3.5, 0, -3 * 3.5 / 1600, 2 * 3.5 / 64000), (None, -2)))
    second = section(40, lane(-1, "", (-1, -1)) + lane(-2, width(0), (-2, -2)))
    third = section(60, lane(-1, "", (-1, None)) + lane(-2, width(0.0, 0.05), (-2, None)))
    with pytest.warns(UserWarning, match=r"1 link \(up to 26\.5 m\)"):
        lanes = imported(road(1, 100, lanes=first + second + third)).lanes
    assert set(lanes) == {"1.0.-1", "1.0.-2", "1.1.-1", "1.2.-1", "1.2.-2"}
    assert lanes["1.0.-2"].successors == ()
    assert lanes["1.0.-1"].successors == ("1.1.-1",)
    assert all(part.line[:, WIDTH].min() >= 0.1 for part in lanes.values())
    assert lanes["1.2.-2"].line[0, X] == pytest.approx(62, abs=0.51)  # 0.1 m wide there
    assert lanes["1.2.-2"].line[-1, [X, WIDTH]] == pytest.approx([100, 2.0])


def test_kinds_of_lanes(imported):
    kinds = ("driving", "parking", "shoulder", "biking", "sidewalk", "none", "border", "entry", "stop")
    right = "".join(lane(-1 - n, kind=kind) for n, kind in enumerate(kinds))
    lanes = imported(road(1, 50, lanes=section(0, right))).lanes
    found = {int(name.split("-")[1]): part.kind for name, part in lanes.items()}
    assert found == {1: "driving", 2: "parking", 3: "shoulder", 4: "biking", 8: "driving", 9: "shoulder"}
    assert lanes["1.0.-2"].successors == () and lanes["1.0.-2"].left is None


def test_a_link_that_only_the_later_section_names_is_enough(imported):
    first, second = section(0, lane(-1), lane(1)), section(50, lane(-1, "", (-1, None)), lane(1, "", (1, None)))
    lanes = imported(road(1, 100, lanes=first + second)).lanes
    assert (lanes["1.0.-1"].successors, lanes["1.1.1"].successors) == (("1.1.-1",), ("1.0.1",))


# Directions


def test_left_hand_traffic_is_the_mirror_image(imported):
    lanes = section(0, lane(-1) + lane(-2), lane(1) + lane(2))
    right = imported(road(1, 50, lanes=lanes))
    left = imported(road(1, 50, lanes=lanes, rule="LHT"))
    assert (right.left_hand, left.left_hand) == (False, True)
    assert left.lanes["1.0.1"].line[:, [X, Y]].tolist() == [[0, 1.75], [50, 1.75]]
    np.testing.assert_allclose(right.lanes["1.0.-2"].line * [1, -1, 1, -1, 1], left.lanes["1.0.2"].line, atol=1e-12)
    assert (right.lanes["1.0.-1"].right, left.lanes["1.0.1"].left) == ("1.0.-2", "1.0.2")
    assert (right.lanes["1.0.1"].right, left.lanes["1.0.-1"].left) == ("1.0.2", "1.0.-2")


def test_a_lane_for_both_directions_becomes_two(imported):
    one = road(1, 50, lanes=section(0, lane(-1, "", (None, -1), direction="both")), link=linked("successor", 2))
    two = road(2, 50, place=(50, 0, 0), lanes=section(0, lane(-1, "", (-1, None), kind="bidirectional")))
    lanes = imported(one, two).lanes
    assert set(lanes) == {"1.0.-1", "1.0.-1.back", "2.0.-1", "2.0.-1.back"}
    assert lanes["1.0.-1"].successors == ("2.0.-1",)
    assert lanes["2.0.-1.back"].successors == ("1.0.-1.back",)
    assert lanes["1.0.-1.back"].line[:, X].tolist() == [50, 0]


def test_a_reversed_lane_leads_the_other_way(imported):
    lanes = imported(road(1, 50, lanes=section(0, lane(-1, direction="reversed"), lane(1)))).lanes
    assert lanes["1.0.-1"].line[:, X].tolist() == [50, 0]
    assert (lanes["1.0.-1"].right, lanes["1.0.1"].left) == ("1.0.1", "1.0.-1")  # across the center, no mark forbids it


# Links


def test_roads_join_end_to_end_whatever_their_directions(imported):
    both = section(0, lane(-1, "", (None, 1)), lane(1, "", (None, -1)))
    one = road(1, 50, lanes=both, link=linked("successor", 2, "end"))
    two = road(2, 50, place=(100, 0, math.pi), lanes=both, link=linked("successor", 1, "end"))
    lanes = imported(one, two).lanes
    assert lanes["1.0.-1"].successors == ("2.0.1",)
    assert lanes["2.0.-1"].successors == ("1.0.1",)
    assert lanes["1.0.1"].successors == lanes["2.0.1"].successors == ()


def test_ends_that_do_not_meet_are_not_linked(imported):
    one = road(1, 50, lanes=section(0, lane(-1, "", (None, -1))), link=linked("successor", 2))
    near, far = (road(2, 50, place=(50 + gap, 0, 0), lanes=section(0, lane(-1))) for gap in (0.2, 4.0))
    assert imported(one, near).lanes["1.0.-1"].successors == ("2.0.-1",)
    with pytest.warns(UserWarning, match=r"1 link \(up to 4 m\)"):
        road_map = imported(one, far)
    assert road_map.lanes["1.0.-1"].successors == ()


def test_a_junction_links_through_its_connecting_roads(imported):
    # Road 4 is drawn from where it leads to: its lane 1 is driven against the road.
    road_map = imported(*crossing())
    lanes = road_map.lanes
    assert set(lanes["1.0.-1"].successors) == {"3.0.-1", "4.0.1"}
    assert lanes["3.0.-1"].successors == ("2.0.-1",)
    assert lanes["4.0.1"].successors == ("5.0.-1",)
    assert summary(road_map)["max_link_gap_m"] < 1e-9
    assert {name: part.junction for name, part in lanes.items()} == {
        "1.0.-1": None, "2.0.-1": None, "3.0.-1": "9", "4.0.1": "9", "5.0.-1": None,
    }  # fmt: skip


def test_the_lane_links_of_a_connection_are_enough(imported):
    straight, turn = '<lane id="-1" type="driving"><link>', '<lane id="1" type="driving"><link>'
    before, behind = '<predecessor id="-1"/>', '<successor id="-1"/>'
    bare = "".join(crossing()).replace(straight + before, straight)
    bare = bare.replace(turn + before + behind, turn + before)  # it is drawn backwards
    assert set(imported(bare).lanes["1.0.-1"].successors) == {"3.0.-1", "4.0.1"}


def test_a_road_may_touch_a_junction_with_both_ends(imported):
    # The connecting road leads from the loop's end back to its start.
    turn = 2 * math.pi * 20
    both = linked("predecessor", 9, kind="junction") + linked("successor", 9, kind="junction")
    loop = road(1, turn * 0.75, geometry('<arc curvature="0.05"/>', 0, 0, 0, 0, turn * 0.75), link=both)
    back = linked("predecessor", 1, "end") + linked("successor", 1, "start")
    plan = geometry('<arc curvature="0.05"/>', 0, -20, 20, -math.pi / 2, turn / 4)
    rest = road(2, turn / 4, plan, section(0, lane(-1)), link=back, junction=9)
    junction = (
        '<junction id="9"><connection incomingRoad="1" connectingRoad="2" contactPoint="start">'
        '<laneLink from="-1" to="-1"/></connection>'
        '<connection incomingRoad="1" connectingRoad="2" contactPoint="end"><laneLink from="-1" to="-1"/></connection>'
        "</junction>"
    )
    road_map = imported(loop, rest, junction)
    assert road_map.lanes["1.0.-1"].successors == ("2.0.-1",)
    assert road_map.lanes["2.0.-1"].successors == ("1.0.-1",)
    assert summary(road_map)["largest_component"] == 1.0


def test_a_direct_junction_links_roads_without_connecting_roads(imported):
    one = road(1, 50, lanes=section(0, lane(-1) + lane(-2)), link=linked("successor", 9, kind="junction"))
    link = linked("predecessor", 9, kind="junction")
    ahead, ramp = road(2, 50, place=(50, 0, 0), link=link), road(3, 50, place=(50, -3.5, -0.1), link=link)
    junction = (
        '<junction id="9" type="direct"><connection id="0" incomingRoad="1" linkedRoad="2" contactPoint="start">'
        '<laneLink from="-1" to="-1"/></connection>'
        '<connection id="1" incomingRoad="1" linkedRoad="3" contactPoint="start"><laneLink from="-2" to="-1"/></connection>'
        "</junction>"
    )
    lanes = imported(one, ahead, ramp, junction).lanes
    assert lanes["1.0.-1"].successors == ("2.0.-1",)
    assert lanes["1.0.-2"].successors == ("3.0.-1",)


def test_a_virtual_junction_leads_off_the_middle_of_a_road_and_back(imported):
    """A driveway leaves road 1 at 40 m. It's another road that leads back onto it at 70 m."""
    street = road(1, 100, lanes=section(0, lane(-1, "", (None, -1))), link=linked("successor", 2))
    branch = '<predecessor elementType="road" elementId="1" elementS="40" elementDir="+"/>'
    turn = geometry('<arc curvature="-0.125"/>', 0, 40, 0, 0, 4 * math.pi)
    ramp = road(3, 4 * math.pi, turn, section(0, lane(-1, "", (-1, -1))), branch + linked("successor", 4), junction=9)
    drive = road(4, 20, place=(48, -8, -math.pi / 2), link=linked("predecessor", 3, "end"))
    merge = geometry('<arc curvature="-0.125"/>', 0, 62, -8, math.pi / 2, 4 * math.pi)
    onto = '<successor elementType="road" elementId="1" elementS="70" elementDir="+"/>'
    back = road(
        5, 4 * math.pi, merge, section(0, lane(-1, "", (-1, -1))), linked("predecessor", 6, "end") + onto, junction=9
    )
    out = road(6, 20, place=(62, -28, math.pi / 2), link=linked("successor", 5))
    junction = (
        '<junction id="9" type="virtual" mainRoad="1" orientation="+" sStart="35" sEnd="60">'
        '<connection id="0" type="virtual" incomingRoad="1" connectingRoad="3" contactPoint="start">'
        '<laneLink from="-1" to="-1"/></connection></junction>'
    )
    road_map = imported(street, road(2, 50, place=(100, 0, 0)), ramp, drive, back, out, junction)
    assert {name: part.successors for name, part in road_map.lanes.items()} == {
        "1.0.-1": ("1.0/2.-1", "3.0.-1"), "1.0/2.-1": ("1.0/3.-1",), "1.0/3.-1": ("2.0.-1",), "2.0.-1": (),
        "3.0.-1": ("4.0.-1",), "4.0.-1": (), "5.0.-1": ("1.0/3.-1",), "6.0.-1": ("5.0.-1",),
    }  # fmt: skip
    assert [road_map.lanes[f"1.{part}.-1"].line[-1, X] for part in ("0", "0/2", "0/3")] == pytest.approx([40, 70, 100])
    assert {name for name, part in road_map.lanes.items() if part.junction == "9"} == {"3.0.-1", "5.0.-1"}
    assert summary(road_map)["max_link_gap_m"] < 1e-6


def test_a_virtual_junction_against_the_road(imported):
    """From the other side of the street into a driveway: lane 1 is driven against the road, and left at 40 m."""
    street = road(1, 100, lanes=section(0, lane(-1), lane(1)))
    branch = '<predecessor elementType="road" elementId="1" elementS="40" elementDir="-"/>'
    turn = geometry('<arc curvature="-0.125"/>', 0, 40, 0, math.pi, 4 * math.pi)
    ramp = road(3, 4 * math.pi, turn, section(0, lane(-1, "", (1, None))), branch, junction=9)
    lanes = imported(street, ramp, '<junction id="9" type="virtual" mainRoad="1" orientation="-"/>').lanes
    assert set(lanes["1.0/2.1"].successors) == {"1.0.1", "3.0.-1"} and lanes["1.0.-1"].successors == ("1.0/2.-1",)


@pytest.mark.parametrize(
    ("place", "said"),
    [('elementS="140" elementDir="+"', r"elementS=140.0: no lane of road 1 ends there"),
     ('elementS="40" elementDir="out"', r"elementDir='out' is neither"),
     ('elementS="" elementDir="+"', r"elementS='' is not a finite number")],
)  # fmt: skip
def test_a_virtual_junction_that_leads_nowhere_is_told(imported, place, said):
    link = f'<predecessor elementType="road" elementId="1" {place}/>'
    ramp = road(3, 10, lanes=section(0, lane(-1, "", (-1, None))), link=link, junction=9, place=(40, 0, -0.2))
    with pytest.warns(MapWarning, match=said):
        lanes = imported(road(1, 100), ramp, '<junction id="9" type="virtual"/>').lanes
    assert "3.0.-1" in lanes and all("3.0.-1" not in part.successors for part in lanes.values())


def test_a_road_that_leans_lifts_its_outer_lanes(imported):
    """0.1 rad from 20 m on, the left side up: 6 m to the right of the reference line it is 0.6 m lower, and narrower."""
    bank = "<lateralProfile>" + cubic("superelevation", "s", 0, 0, 0.005) + cubic("superelevation", "s", 20, 0.1)
    parts = section(0, lane(-1, width(4.0)) + lane(-2, width(4.0)), lane(1, width(4.0)))
    lanes = imported(road(1, 60, lanes=parts, more=bank + "</lateralProfile>")).lanes
    start, end = lanes["1.0.-2"].line[[0, -1]]
    assert start[[Y, Z, WIDTH]].tolist() == [-6, 0, 4]
    np.testing.assert_allclose(end[[Y, Z, WIDTH]], [-6 * math.cos(0.1), -6 * math.sin(0.1), 4 * math.cos(0.1)], atol=1e-3)
    assert lanes["1.0.1"].line[0, Z] == pytest.approx(2 * math.sin(0.1), abs=1e-3)  # driven against the road


# Speed


@pytest.mark.parametrize(
    ("limit", "speed"),
    [
        ('max="25" unit="mph"', 11.176),
        ('max="36" unit="km/h"', 10.0),
        ('max="7"', 7.0),
        ('max="no limit"', 13.9),
        ('max="0"', 13.9),
    ],
)
def test_connectors_inherit_the_speed_of_what_leads_in(imported, limit, speed):
    lanes = imported(*crossing(speed=f'<type s="0" type="town"><speed {limit}/></type>')).lanes
    assert [lanes[name].speed for name in ("1.0.-1", "3.0.-1", "4.0.1")] == pytest.approx([speed] * 3)


def test_a_connector_without_anything_before_it_takes_the_speed_of_what_follows(imported):
    limit = '<type s="0" type="town"><speed max="9"/></type>'
    one = road(1, 50, lanes=section(0, lane(-1, "", (None, -1))), link=linked("successor", 2))
    assert imported(one, road(2, 50, place=(50, 0, 0), more=limit)).lanes["1.0.-1"].speed == 9.0


def test_the_limit_of_a_lane_and_the_limit_by_place(imported):
    types = '<type s="0" type="town"><speed max="10"/></type><type s="60" type="rural"><speed max="20"/></type>'
    own = lane(-2, '<speed sOffset="0" max="5"/>')
    lanes = imported(
        road(1, 100, lanes=section(0, lane(-1, "", (None, -1)) + own) + section(60, lane(-1)), more=types)
    ).lanes
    assert {name: part.speed for name, part in lanes.items()} == {"1.0.-1": 10.0, "1.0.-2": 5.0, "1.1.-1": 20.0}


# Lane changes


@pytest.mark.parametrize(
    ("marks", "outwards", "inwards"),
    [
        ("", True, True),
        ('<roadMark sOffset="0" type="broken"/>', True, True),
        ('<roadMark sOffset="0" type="solid"/>', False, False),
        ('<roadMark sOffset="0" type="solid broken"/>', False, True),
        ('<roadMark sOffset="0" type="broken solid"/>', True, False),
        ('<roadMark sOffset="0" type="broken" laneChange="none"/>', False, False),
        ('<roadMark sOffset="0" type="solid" laneChange="both"/>', True, True),
        ('<roadMark sOffset="0" type="solid" laneChange="increase"/>', False, True),
        ('<roadMark sOffset="0" type="solid" laneChange="decrease"/>', True, False),
        ('<roadMark sOffset="0" type="solid"/><roadMark sOffset="15" type="broken"/>', True, True),
        ('<roadMark sOffset="0" type="solid"/><roadMark sOffset="90" type="broken"/>', False, False),
    ],
)
def test_road_marks_permit_lane_changes(imported, marks, outwards, inwards):
    outer = lane(-2, '<roadMark sOffset="0" type="solid"/>')
    lanes = imported(road(1, 100, lanes=section(0, lane(-1, marks) + outer))).lanes
    assert lanes["1.0.-1"].right == ("1.0.-2" if outwards else None)
    assert lanes["1.0.-2"].left == ("1.0.-1" if inwards else None)
    assert lanes["1.0.-1"].left is None and lanes["1.0.-2"].right is None


def test_a_section_is_cut_where_the_permission_to_change_lanes_changes(imported):
    """Solid up to 40 m, broken to 70 m, then solid; a width record in the first part holds in the later ones, too."""
    marks = "".join(
        f'<roadMark sOffset="{at}" type="{kind}"/>' for at, kind in ((0, "solid"), (40, "broken"), (70, "solid"))
    )
    limit = '<speed sOffset="0" max="10"/><speed sOffset="50" max="20"/>'
    inner = lane(-1, width(3.0) + width(3.0, 0.01, at=20) + marks + limit)
    lanes = imported(road(1, 100, lanes=section(0, inner + lane(-2), lane(1)))).lanes
    assert set(lanes) == {f"1.{part}.{number}" for part in ("0", "0/2", "0/3") for number in (-1, -2, 1)}
    assert [lanes[f"1.{part}.-1"].right for part in ("0", "0/2", "0/3")] == [None, "1.0/2.-2", None]
    assert [lanes[f"1.{part}.-1"].successors for part in ("0", "0/2", "0/3")] == [("1.0/2.-1",), ("1.0/3.-1",), ()]
    assert lanes["1.0/3.1"].successors == ("1.0/2.1",) and lanes["1.0/2.1"].successors == ("1.0.1",)
    ends = [(lanes[f"1.{part}.-1"].line[[0, -1]][:, [X, WIDTH]]).tolist() for part in ("0", "0/2", "0/3")]
    np.testing.assert_allclose(ends, [[[0, 3], [40, 3.2]], [[40, 3.2], [70, 3.5]], [[70, 3.5], [100, 3.8]]], atol=1e-9)
    assert [lanes[f"1.{part}.-1"].speed for part in ("0", "0/2", "0/3")] == [10, 20, 20]
    assert sum(centerline.length(lanes[f"1.{part}.-2"].line) for part in ("0", "0/2", "0/3")) == pytest.approx(100, abs=0.01)


def test_marks_that_there_are_not_are_told_and_may_not_be_crossed(imported):
    for kind, seen in (("", "''"), (" ", "' '"), ("dashing", "'dashing'")):
        with pytest.warns(MapWarning, match=f"type={seen} is none of broken, none"):
            lanes = imported(
                road(1, 100, lanes=section(0, lane(-1, f'<roadMark sOffset="0" type="{kind}"/>') + lane(-2)))
            ).lanes
        assert lanes["1.0.-1"].right is None


@pytest.mark.parametrize("kind", ["", "drving", None])
def test_a_lane_of_a_type_that_there_is_not_is_told(imported, kind):
    odd = lane(-2).replace('type="driving"', "" if kind is None else f'type="{kind}"')
    with pytest.warns(MapWarning, match=f"type={kind!r} of lane -2 is no lane type: it is not part of the map"):
        assert set(imported(road(1, 50, lanes=section(0, lane(-1) + odd))).lanes) == {"1.0.-1"}


def test_lanes_against_the_road_change_to_their_own_left(imported):
    lanes = imported(road(1, 100, lanes=section(0, lane(-1), lane(1) + lane(2)))).lanes
    assert (lanes["1.0.2"].left, lanes["1.0.1"].right, lanes["1.0.1"].left) == ("1.0.1", "1.0.2", None)


# Signals


def test_references_on_connecting_roads_control_their_lanes(imported):
    lights = f"<signals>{light(71)}{light(72)}{light(73)}</signals>"
    road_map = imported(*crossing(reference(71, -1), reference(72, 1), first=lights))
    assert {name: part.signal for name, part in road_map.lanes.items() if part.signal} == {"3.0.-1": "71", "4.0.1": "72"}
    assert set(road_map.signals) == {"71", "72"}
    assert {signal.group for signal in road_map.signals.values()} == {"9"}


def test_controllers_have_their_turns_in_the_order_of_the_junction(imported):
    """The junction's `sequence` counts, else the controller's own; equal ones go by their order in the file."""
    lights = f"<signals>{light(71)}{light(72)}</signals>"

    def stages(junction: str, *own: str) -> list[int | None]:
        controllers = "".join(f'<controller id="c{k}" {own[k]}><control signalId="7{k + 1}"/></controller>' for k in (0, 1))
        extra = f'<junction id="88">{junction}</junction>'
        road_map = imported(*crossing(reference(71, -1), reference(72, 1), first=lights), controllers, extra)
        return [road_map.signals[name].stage for name in ("71", "72")]

    named = '<controller id="c0" {}/><controller id="c1" {}/>'
    assert stages(named.format('sequence="5"', 'sequence="2"'), "", "") == [1, 0]
    assert stages(named.format("", ""), 'sequence="1"', 'sequence="0"') == [1, 0]
    assert stages(named.format("", ""), "", "") == [0, 1]
    assert stages("", 'sequence="1"', 'sequence="0"') == [1, 0]


def test_a_controller_puts_its_lights_into_the_group_of_its_junction(imported):
    road_map = imported(
        *crossing(reference(71, -1), first=f"<signals>{light(71)}</signals>"),
        '<controller id="c1"><control signalId="71"/></controller>',
        '<junction id="88"><controller id="c1"/></junction>',
    )
    assert road_map.signals["71"].group == "88"


@pytest.mark.parametrize(
    ("kinds", "kind"),
    [
        (("205",), "yield"),
        (("206",), "stop"),
        (("205", "1000001", "206"), "light"),
        (("205", "206"), "stop"),
        (("1000002",), None),
    ],
)
def test_kinds_of_signals_and_their_order(imported, kinds, kind):
    signs = "".join(light(n, 0, code, '<validity fromLane="-1" toLane="-1"/>') for n, code in enumerate(kinds))
    road_map = imported(*crossing(f"<signals>{signs}</signals>"))
    controlled = road_map.lanes["3.0.-1"].signal
    assert (road_map.signals[controlled].kind if controlled is not None else None) == kind
    assert road_map.lanes["4.0.1"].signal is None
    found = summary(road_map)
    signs = {"light": found["traffic_lights"], "stop": found["stop_signs"], "yield": found["yield_signs"]}
    assert signs == {key: int(key == kind) for key in signs}


@pytest.mark.parametrize(("s", "orientation", "controlled"), [(45, "+", 2), (10, "+", 0), (45, "-", 0)])
def test_a_signal_on_the_road_before_controls_the_junction_ahead(imported, s, orientation, controlled):
    sign = light(5, s, validity="").replace('orientation="+"', f'orientation="{orientation}"')
    road_map = imported(*crossing(first=f"<signals>{sign}</signals>"))
    assert [part.signal for part in road_map.lanes.values()].count("5") == controlled
    assert summary(road_map)["traffic_lights"] == (controlled > 0)


# Objects


def test_crosswalks_lie_where_their_corners_say(imported):
    local = "".join(f'<cornerLocal u="{u}" v="{v}" z="0"/>' for u, v in ((-2, -1), (2, -1), (2, 1), (-2, 1), (-2, -1)))
    on_road = "".join(f'<cornerRoad s="{s}" t="{t}" dz="0.1"/>' for s, t in ((10, -4), (14, -4), (14, 4)))
    objects = (
        f'<object id="a" type="crosswalk" s="20" t="1" zOffset="0.5" hdg="{math.pi / 2}"><outline>{local}</outline></object>'
        f'<object id="b" type="crosswalk" s="5" t="0"><outlines><outline>{on_road}</outline></outlines></object>'
        '<object id="c" type="crosswalk" s="30" t="0" length="4" width="2"/><object id="d" type="barrier" s="1" t="1"/>'
    )
    found = imported(road(1, 50, more=f"<objects>{objects}</objects>")).crosswalks
    assert set(found) == {"1.a", "1.b", "1.c"}
    np.testing.assert_allclose(found["1.a"].outline, [[21, -1, 0.5], [21, 3, 0.5], [19, 3, 0.5], [19, -1, 0.5]], atol=1e-12)
    np.testing.assert_allclose(found["1.b"].outline, [[10, -4, 0.1], [14, -4, 0.1], [14, 4, 0.1]], atol=1e-12)
    np.testing.assert_allclose(found["1.c"].outline[:, :2], [[28, -1], [32, -1], [32, 1], [28, 1]], atol=1e-12)


# Files

LEADS_ON = section(0, lane(-1, "", (None, -1)))
UNCLEAR = (
    '<junction id="9"><connection incomingRoad="1" connectingRoad="2" contactPoint="start">'
    '<laneLink from="-1" to="-1"/></connection></junction>'
)


def test_namespaces_comments_and_a_geo_reference_do_no_harm(tmp_path):
    path = tmp_path / "town.xodr"
    header = '<header vendor="hand"><geoReference><![CDATA[+proj=nonsense]]></geoReference></header><!-- a comment -->'
    namespace = "http://code.asam.net/simulation/standard/opendrive_schema"
    path.write_text(f'<OpenDRIVE xmlns="{namespace}">{header}{road(1, 50)}</OpenDRIVE>')
    road_map = load(path)
    assert (road_map.name, road_map.source) == ("town", "OpenDRIVE file town.xodr (hand)")
    assert list(road_map.lanes) == ["1.0.-1"]


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("<road/>",), r"line 3: <road>: a road needs a planView with geometry"),
        ((road(1, 50).replace('length="50"', "", 1),), r"line 3: <road>: attribute 'length' is missing"),
        ((road(1, 50).replace('length="50"', 'length="long"', 1),), r"line 3: <road>: length='long' is not a finite number"),
        ((road(1, 50).replace("<line/>", "<circle/>"),), r"line 3: <circle>: unknown shape; known are line, arc"),
        ((road(1, 50).replace("<line/>", '<arc curvature="nan"/>'),), r"<arc>: curvature='nan' is not a finite number"),
        ((road(1, 50), "", road(1, 50)), r"line 5: <road>: id '1' is used twice"),
        ((road(1, 50).replace("<line/>", ""),), r"<geometry>: .* a shape inside"),
        ((road(1, 50, geometry("<line/>", 0, 0, 0, 0, 0)),), r"<geometry>: length=0\.0: .*above 0"),
        ((road(1, 50, lanes=section(60, lane(-1))),), r"<laneSection>: s=60: .* within the road's length 50"),
        (
            (road(1, 50, geometry("<line/>", 0, 0, 0, 0, 40)),),
            r"<geometry>: it ends 10\.00 m before the next piece or the road",
        ),
        ((road(1, 50, geometry("<line/>", 9, 0, 0, 0, 41)),), r"<geometry>: s=9\.0: the first geometry must begin at"),
        ((road(1, 1e7, geometry("<line/>", 0, 0, 0, 0, 50)),), r"<road>: length=10000000\.0: a road has 0 to 100000 m"),
        (
            (road(1, 50).replace("<line/>", '<arc curvature="9"/>'),),
            r"<arc>: curvature 9\.0 1/m over 50\.0 m: it turns by more",
        ),
        ((road(1, 50, place=(1e13, 0, 0)),), r"<geometry>: x='10000000000000\.0' is too large: at most 1e\+12"),
        (
            (road(1, 50, lanes=section(0, lane(-1, width(3.5, -0.1)))),),
            r"<lane>: -1\.50 m wide 50\.00 m behind the section's",
        ),
        ((road(1, 50, lanes=" "),), r"<road>: a road needs a planView with geometry, and lanes with a laneSection"),
        ((road(1, 50, lanes=section(0, lane(-1) + lane(-1))),), r"<lane>: lane id -1 is used twice in its section"),
        ((road(1, 50).replace('id="-1"', 'id="x"'),), r"<lane>: id='x' is not a whole number"),
        ((road(1, 50, lanes=section(0, lane(-1, kind="sidewalk"))),), r"map 'test' has no driving lane"),
        ((road(1, 50, lanes=LEADS_ON, link=linked("successor", 8)),), r"<successor>: elementId='8': there is no such road"),
        (
            (road(1, 50, lanes=LEADS_ON, link=linked("successor", 1, "middle")),),
            r"<successor>: contactPoint='middle' is neither 'start' nor 'end'",
        ),
        ((road(1, 50, more='<type s="0"><speed max="5" unit="kn"/></type>'),), r"<speed>: unit='kn' is not one of m/s"),
        (crossing(reference(70, -1)), r"<signalReference>: id='70': there is no such signal"),
        (
            (road(1, 50), road(2, 50), UNCLEAR),
            r"line 5: <connection>: it is not clear which end of road '1' touches this junction",
        ),
    ],
)
def test_a_bad_file_is_refused_with_line_and_element(imported, parts, message):
    with pytest.raises(MapError, match=rf"test\.xodr: .*{message}"):
        imported(*parts, strict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<OpenDRIVE><road></OpenDRIVE>", r"not well-formed XML: .*road"),
        ("", r"not well-formed XML"),
        ("<net/>", r"map 'bad\.xodr' has no driving lane"),
        ('<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hosts">]><OpenDRIVE>&e;</OpenDRIVE>', r"the file declares"),
    ],
)
def test_what_is_not_opendrive_is_refused(tmp_path, text, message):
    path = tmp_path / "bad.xodr"
    path.write_text(text)
    with pytest.raises(MapError, match=rf"bad\.xodr: {message}"):
        load(path)


def whole() -> str:
    """A file with something of everything."""
    lights = f"<signals>{light(71)}{light(72)}</signals>"
    speed = '<type s="0" type="town"><speed max="25" unit="mph"/></type>'
    corners = "".join(f'<cornerLocal u="{u}" v="{v}" z="0"/>' for u, v in ((-2, -1), (2, -1), (2, 1), (-2, 1)))
    walk = f'<objects><object id="a" type="crosswalk" s="20" t="1" hdg="1"><outline>{corners}</outline></object></objects>'
    profile = f"<elevationProfile>{cubic('elevation', 's', 0, 1.0, 0.01)}</elevationProfile>"
    marked = lane(-1, '<roadMark sOffset="0" type="broken"/>') + lane(-2, cubic("border", "sOffset", 0, 7.0))
    spiral, size = '<spiral curvStart="0" curvEnd="0.05"/>', 10 * PARABOLA
    curves = ((spiral, 20, 500), (POLY3, size, 600), (ARC_LENGTH, size, 700))
    extra = [
        road(10 + k, size, geometry(shape, 0, 0, y, 0, size), cubic("laneOffset", "s", 0, 1, 0.01) + section(0, marked))
        for k, (shape, size, y) in enumerate(curves)
    ]
    town = crossing(reference(71, -1), reference(72, 1), speed=speed, first=lights + walk + profile)
    controller = '<controller id="c1"><control signalId="71"/></controller>'
    controller += '<junction id="88"><controller id="c1"/></junction>'
    return '<OpenDRIVE>\n<header vendor="hand"/>\n' + "\n".join([*town, *extra, controller]) + "\n</OpenDRIVE>\n"


@pytest.mark.slow
def test_damaged_files_end_in_a_map_or_an_error(tmp_path):
    text = whole()
    files = [*damaged(text, 9, 150), *without_attributes(text), with_bomb(text, "OpenDRIVE")]
    read = {what: survives(load, tmp_path / "a.xodr", what, data) for what, data in files}
    assert not any(read[what] for what in ("nothing", "utf-16", "entities"))
    # Strictly read, nearly all of it is refused: the file itself has what is repaired.
    assert any(read.values()) and sum(not good for good in read.values()) > 150


@pytest.mark.parametrize("part", ["plan", "widths", "outline"])
def test_many_pieces_end_in_time(tmp_path, part):
    count = 200_000 if part == "plan" else 100_000
    if part == "plan":
        text = road(1, 1000, geometry("<line/>", 0, 0, 0, 0, 0.001) * count)
    elif part == "widths":
        text = road(1, 1000, lanes=section(0, lane(-1, width(3.5) * count)))
    else:
        corners = '<cornerLocal u="1" v="2" z="0"/>' * count
        walk = f'<object id="a" type="crosswalk" s="20" t="1"><outline>{corners}</outline></object>'
        text = road(1, 1000, more=f"<objects>{walk}</objects>")
    assert not survives(load, tmp_path / "a.xodr", part, f"<OpenDRIVE>{text}</OpenDRIVE>".encode())


# The shared maps


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"the shared map {name} is not here")
    return path


def uncut(road_map: RoadMap) -> int:
    """Driving lanes as the file has them: without the second parts of sections that are cut for lane changes."""
    return sum(part.kind == "driving" and "/" not in name for name, part in road_map.lanes.items())


@pytest.mark.parametrize(
    ("name", "lane_km", "lanes", "lights", "stop_lines", "crosswalks"),
    [
        ("Town01", 6.40, 124, 36, 72, 0),
        ("Town02", 2.92, 88, 24, 48, 0),
        ("Town04", 33.34, 463, 43, 121, 27),
        ("Town06", 25.52, 467, 19, 82, 14),
    ],
)
def test_carla_towns(tmp_path, name, lane_km, lanes, lights, stop_lines, crosswalks):
    path = shared(f"carla/{name}.xodr")
    began = time.process_time()
    road_map = load(path)
    assert time.process_time() - began < 20.0  # about 1 s; generous for slow machines
    found = summary(road_map)
    assert found["lane_km"] == pytest.approx(lane_km, rel=0.005)
    counts = (uncut(road_map), found["traffic_lights"], found["stop_lines"], found["crosswalks"])
    assert counts == (lanes, lights, stop_lines, crosswalks)
    assert found["max_link_gap_m"] <= 0.005
    assert found["largest_component"] == 1.0
    for part in road_map.lanes.values():
        for other in part.successors:
            turn = road_map.lanes[other].line[0, HEADING] - part.line[-1, HEADING]
            assert abs(math.remainder(turn, 2 * math.pi)) < 0.01, f"{part.id} to {other}"
    save(road_map, tmp_path / "town.lanes.json")
    again = summary(load(tmp_path / "town.lanes.json"))
    assert again["max_link_gap_m"] == 0.0
    assert again["lane_km"] == pytest.approx(found["lane_km"], rel=1e-4)


def test_the_bridges_of_town04_are_on_two_levels():
    lanes = [part for part in load(shared("carla/Town04.xodr")).lanes.values() if part.kind == "driving"]
    points = [centerline.sample(part.line, 1.0) for part in lanes]
    tree = shapely.STRtree([shapely.LineString(p[:, :2]).buffer(1.7, cap_style="flat") for p in points])
    apart = []
    for a, b in tree.query(tree.geometries, predicate="intersects").T:
        if a < b:
            middle = tree.geometries[a].intersection(tree.geometries[b]).centroid
            heights = [p[np.hypot(p[:, 0] - middle.x, p[:, 1] - middle.y).argmin(), 2] for p in (points[a], points[b])]
            apart.append(abs(heights[0] - heights[1]))
    levels = [gap for gap in apart if gap > 2.5]
    assert len(levels) == 64
    assert min(levels) > 9 and max(levels) < 12


@pytest.mark.filterwarnings("ignore:.*1 link .up to 3.51 m.*0.0.-3 to 0.1.-2")
@pytest.mark.filterwarnings("ignore:.*1 signal .*a limit at 106.0 m of road 242")
@pytest.mark.filterwarnings("ignore:.*1 reference .*2.0.-1 predecessor. there is no lane -3 of road 4 there")
@pytest.mark.parametrize(
    ("name", "lanes", "links", "left_hand"),
    [
        ("esmini/direct_junction_simple.xodr", 8, 5, False),
        ("esmini/e6mini.xodr", 6, 0, False),
        ("esmini/fabriksgatan_traffic_lights.xodr", 20, 24, False),
        ("esmini/highway_merge.xodr", 12, 8, False),
        ("esmini/multi_intersections.xodr", 86, 108, False),
        ("esmini/route_strategy_test_road_LHT.xodr", 76, 100, True),
        ("esmini/soderleden.xodr", 11, 8, False),
        ("esmini/two_plus_one.xodr", 17, 12, False),
        ("asam/asam_Ex_Entry_Exit.xodr", 22, 16, False),
    ],
)
def test_files_of_other_projects(name, lanes, links, left_hand):
    road_map = load(shared(name))
    found = summary(road_map)
    cuts = found["lanes"] - uncut(road_map)
    assert (found["lanes"] - cuts, found["links"] - cuts, found["left_hand"]) == (lanes, links, left_hand)
    wide = {
        (part.id, other)
        for part in road_map.lanes.values()
        for other in part.successors
        if np.linalg.norm(part.line[-1, :3] - road_map.lanes[other].line[0, :3]) > 0.005
    }
    assert wide == ({("292.1.-1", "313.0.-4")} if name.startswith("asam") else set())


def test_a_gap_that_the_file_has():
    """Road 292 ends 20 mm before the lane that its entry leads to: by the file's own numbers and the formula of an arc."""
    path = shared("asam/asam_Ex_Entry_Exit.xodr")
    pieces = {key: etree.parse(path).findall(f"road[@id='{key}']/planView/geometry") for key in ("292", "313")}

    def numbers(piece) -> list[float]:
        return [float(piece.get(name)) for name in ("x", "y", "hdg", "length")]

    x, y, heading, length = numbers(pieces["292"][-1])
    curvature = float(pieces["292"][-1].find("arc").get("curvature"))
    turned = heading + curvature * length
    x += (math.sin(turned) - math.sin(heading)) / curvature
    y -= (math.cos(turned) - math.cos(heading)) / curvature
    end = np.array([x, y]) + 3.9 / 2 * np.array([math.sin(turned), -math.cos(turned)])  # lane -1, 3.9 m wide by then

    x, y, heading, _ = numbers(pieces["313"][0])
    right = 2.6 + 3.9 + 3.9 + 3.9 / 2  # lane -4
    start = np.array([x, y]) + right * np.array([math.sin(heading), -math.cos(heading)])
    gap = np.linalg.norm(end - start)
    assert gap == pytest.approx(0.0197, abs=1e-4)
    assert summary(load(path))["max_link_gap_m"] == pytest.approx(gap, abs=1e-6)
