"""Lanelet2 files with answers on paper, bad ones, and the shared map."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from importing import damaged, drive, survives
from lanelet2_files import grid, lanelet, member, node, row_ways, rule, tags, two_lanes, way

from gigaflow_env.roads import Lane, MapError, MapWarning, RoadMap, load, summary
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.formats.common.driving_side import keeps_left
from gigaflow_env.roads.formats.lanelet2.elements import Way
from gigaflow_env.roads.formats.lanelet2.lanelets import may_cross, speed
from gigaflow_env.roads.formats.lanelet2.load import recognises
from gigaflow_env.roads.road_map import HEADING, WIDTH

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps" / "lanelet2" / "mapping_example.osm"


@pytest.fixture
def imported(tmp_path):
    def of(text: str, *, strict: bool = False) -> RoadMap:
        path = tmp_path / "test.osm"
        path.write_text(f'<?xml version="1.0"?>\n<osm version="0.6">\n{text}</osm>\n', encoding="utf-8")
        return load(path, strict=strict)

    return of


# Lanes


def test_lanes_lie_between_their_bounds_and_are_linked_by_nodes(imported):
    road_map = imported(two_lanes())
    assert list(road_map.lanes) == [str(n) for n in range(91, 97)]
    np.testing.assert_allclose(road_map.lanes["91"].line, [[40, 1.75, 0, 0, 3.5], [80, 1.75, 0, 0, 3.5]], atol=1e-9)
    ahead = {name: lane.successors for name, lane in road_map.lanes.items()}
    assert ahead == {"91": ("92",), "92": ("93",), "93": (), "94": ("95",), "95": ("96",), "96": ()}
    assert {lane.speed for lane in road_map.lanes.values()} == {13.9}
    assert summary(road_map)["max_link_gap_m"] == 0.0 and summary(road_map)["junctions"] == 0
    assert (road_map.name, road_map.source, road_map.left_hand) == ("test", "Lanelet2 file test.osm", False)


@pytest.mark.parametrize(
    ("middle", "left", "right"),
    [("dashed", True, True), ("solid", False, False), ("dashed_solid", False, True), ("solid_dashed", True, False)],
)
def test_markings_permit_lane_changes(imported, middle, left, right):
    lanes = imported(two_lanes(middle=middle)).lanes
    # The middle's second way runs backwards: there its left is the lower lane.
    up, down = {"91": left, "92": right, "93": left}, {"94": right, "95": left, "96": right}
    assert [lanes[name].left for name in up] == [str(int(name) + 3) if may else None for name, may in up.items()]
    assert [lanes[name].right for name in down] == [str(int(name) - 3) if may else None for name, may in down.items()]


@pytest.mark.parametrize(
    ("given", "leftwards", "rightwards"),
    [
        ({"type": "line_thick", "subtype": "dashed"}, True, True),
        ({"type": "virtual", "subtype": "dashed"}, False, False),
        ({"type": "line_thin", "subtype": "dashed", "lane_change": "no"}, False, False),
        ({"type": "virtual", "lane_change": "yes"}, True, True),
        ({"type": "virtual", "lane_change:left": "yes", "lane_change:right": "no"}, True, False),
        ({"type": "line_thin", "subtype": "solid_solid"}, False, False),
        ({}, False, False),
    ],
)
def test_what_permits_a_lane_change(given, leftwards, rightwards):
    made = Way(("1", "2"), np.zeros((2, 3)), given)
    assert (may_cross(made, leftwards=True), may_cross(made, leftwards=False)) == (leftwards, rightwards)


def test_bounds_are_flipped_to_the_direction_of_travel(imported):
    # Left and right swapped: the lane runs the other way, whatever the order of nodes.
    lanes = imported(grid() + row_ways(0) + row_ways(1) + "".join(lanelet(90 + k, k, 100 + k) for k in (1, 2, 3))).lanes
    np.testing.assert_allclose(lanes["91"].line[:, :3], [[80, 1.75, 0], [40, 1.75, 0]], atol=1e-9)
    assert abs(lanes["91"].line[0, HEADING]) == pytest.approx(math.pi)
    assert {name: lane.successors for name, lane in lanes.items()} == {"91": (), "92": ("91",), "93": ("92",)}


def test_what_is_not_one_way_is_two_lanes(imported):
    text = two_lanes().replace('<tag k="one_way" v="yes"/>', '<tag k="one_way" v="no"/>')
    lanes = imported(text).lanes
    assert len(lanes) == 12
    assert lanes["92"].successors == ("93",) and lanes["92.back"].successors == ("91.back",)
    np.testing.assert_allclose(lanes["91.back"].line[:, :2], [[80, 1.75], [40, 1.75]], atol=1e-9)
    assert (lanes["91"].left, lanes["94.back"].left) == ("94", "91.back")


def test_opposite_lanes_show_on_which_side_traffic_keeps(imported):
    ways = row_ways(0) + row_ways(1) + row_ways(2)
    right = "".join(lanelet(90 + k, 100 + k, k) + lanelet(93 + k, 100 + k, 200 + k) for k in (1, 2, 3))
    left = "".join(lanelet(90 + k, k, 100 + k) + lanelet(93 + k, 200 + k, 100 + k) for k in (1, 2, 3))
    for text, left_hand in ((right, False), (left, True)):
        road_map = imported(grid() + ways + text)
        assert road_map.left_hand == left_hand
        assert all(lane.left is None and lane.right is None for lane in road_map.lanes.values())


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"subtype": "highway"}, "driving"),
        ({"subtype": "bus_lane", "participant:vehicle:car": "yes"}, "driving"),
        ({"subtype": "bicycle_lane"}, "biking"),
        ({"subtype": "bicycle_lane", "participant:vehicle": "yes"}, "driving"),
        ({"subtype": "emergency_lane"}, "shoulder"),
        ({"subtype": "road", "participant:bicycle": "yes"}, "biking"),
        ({"subtype": "road", "participant:pedestrian": "yes", "participant:bicycle": "yes"}, None),
        ({"subtype": "walkway", "participant:vehicle": "yes"}, "driving"),
        ({"subtype": "road", "participant:vehicle": "no"}, None),
        ({"subtype": "walkway"}, None),
        ({"subtype": "stairs"}, None),
        ({"subtype": "rail"}, None),
    ],
)
def test_kinds_of_lanelets(imported, given, kind):
    lanes = imported(two_lanes(row_ways(3), lanelet(99, 301, 201, **given))).lanes
    assert (lanes["99"].kind if "99" in lanes else None) == kind
    assert len(lanes) == 6 + (kind is not None)


@pytest.mark.parametrize(
    "given",
    [
        {"subtype": "bus_lane"},
        {"subtype": "road", "participant:vehicle:bus": "yes", "participant:vehicle:taxi": "yes"},
        {"subtype": "highway", "participant:vehicle:emergency": "yes", "participant:bicycle": "yes"},
    ],
)
def test_lanelets_of_buses_and_others_are_paved_but_not_for_cars(imported, given):
    with pytest.warns(MapWarning, match=r"access 99 \(line \d+\): closed to cars: drivable area only"):
        lanes = imported(two_lanes(row_ways(3), lanelet(99, 301, 201, **given))).lanes
    assert lanes["99"].kind == "shoulder" and lanes["99"].successors == ()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("36", 10.0),
        ("36 km/h", 10.0),
        ("25mph", 11.176),
        ("10 m/s", 10.0),
        ("de274-36", 10.0),
        ("de274.1-36", 10.0),
        ("de274_1", None),
        ("fast", None),
        ("0", None),
        ("", None),
    ],
)
def test_speeds_as_written(given, found):
    assert speed(given) == (None if found is None else pytest.approx(found))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"speed_limit": "7.2 km/h"}, 2.0),
        ({"location": "nonurban"}, 27.8),
        ({"subtype": "highway", "location": "nonurban"}, 36.1),
        ({"subtype": "highway", "location": "urban"}, 36.1),
        ({"subtype": "play_street"}, 1.9),
    ],
)
def test_limits_of_lanelets(imported, given, found):
    lanes = imported(two_lanes(row_ways(3), lanelet(99, 301, 201, **given))).lanes
    assert lanes["99"].speed == pytest.approx(found)


def test_limits_of_regulatory_elements(imported):
    text = two_lanes(
        row_ways(3),
        way(500, 13, 23, type="traffic_sign", subtype="de274-36"),
        rule(70, "speed_limit", member("way", 500, "refers")),
        rule(71, "speed_limit", sign_type="72"),
        lanelet(98, 301, 201, 70),
        lanelet(99, 302, 202, 71),
    )
    lanes = imported(text).lanes
    assert (lanes["98"].speed, lanes["99"].speed) == (pytest.approx(10.0), pytest.approx(20.0))


# Signals


def obeyed(road_map: RoadMap) -> dict[str, tuple[str, str]]:
    """Lane -> id and kind of what controls it."""
    lanes = road_map.lanes.values()
    return {lane.id: (lane.signal, road_map.signals[lane.signal].kind) for lane in lanes if lane.signal}


def with_rule(text: str, *names: str) -> str:
    """The file in which lanelets name regulatory element 70."""
    for name in names:
        start = f'<relation id="{name}">'
        text = text.replace(start, start + member("relation", 70, "regulatory_element"))
    return text


def test_a_light_without_line_stops_at_the_end_of_its_lanelets(imported):
    text = with_rule(two_lanes(rule(70, "traffic_light", member("way", 1, "refers"))), "91", "94")
    assert obeyed(imported(text)) == {"92": ("70", "light"), "95": ("70", "light")}


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (lanelet(99, 301, 201, subtype="crosswalk").replace('k="subtype"', 'k="nowhere"'), "without subtype"),
        (lanelet(99, 301, 201, **{"participant:vehicle": "nowhere"}), "participant:vehicle='nowhere' is none of yes"),
        (rule(70, "nowhere") + lanelet(99, 301, 201, 70), "with subtype='nowhere', none of traffic_light"),
    ],
)
def test_a_word_that_decides_and_is_none_is_reported(imported, more, said):
    with pytest.warns(MapWarning):
        road_map = imported(two_lanes(row_ways(3), more))
    assert any(said in entry.done for entry in road_map.report)


def test_a_lanelet_without_subtype_is_a_road(imported):
    with pytest.warns(MapWarning, match="without subtype: taken for a road"):
        assert imported(two_lanes(row_ways(3), lanelet(99, 301, 201, subtype=""))).lanes["99"].kind == "driving"


@pytest.mark.parametrize(("x", "controlled"), [(82.0, "92"), (95.0, "92"), (110.0, "93"), (119.0, "93")])
def test_a_stop_line_moves_to_the_nearer_end(imported, x, controlled):
    line = node(901, x, -1) + node(902, x, 8) + way(500, 901, 902, type="stop_line")
    text = with_rule(two_lanes(line, rule(70, "traffic_light", member("way", 500, "ref_line"))), "92")
    assert obeyed(imported(text)) == {controlled: ("70", "light")}


@pytest.mark.parametrize(
    ("subtype", "sign", "role", "kind"),
    [
        ("right_of_way", "de205", "yield", "yield"),
        ("right_of_way", "de206", "yield", "stop"),
        ("right_of_way", "de206", "right_of_way", None),
        ("all_way_stop", "usR1-1", "yield", "stop"),
        ("traffic_sign", "stop_sign", "", "stop"),
        ("traffic_sign", "usR1-2", "", "yield"),
        ("traffic_sign", "de301", "", None),
    ],
)
def test_signs(imported, subtype, sign, role, kind):
    members = member("way", 500, "refers") + (member("relation", 91, role) if role else "")
    text = two_lanes(way(500, 13, 23, type="traffic_sign", subtype=sign), rule(70, subtype, members))
    assert obeyed(imported(with_rule(text, "91"))) == ({"92": ("70", kind)} if kind else {})


def test_a_light_counts_more_than_the_sign_beside_it(imported):
    sign = rule(71, "right_of_way", member("relation", 91, "yield"))
    text = with_rule(two_lanes(rule(70, "traffic_light"), sign), "91")
    text = text.replace('<relation id="91">', f'<relation id="91">{member("relation", 71, "regulatory_element")}')
    assert obeyed(imported(text)) == {"92": ("70", "light")}


def test_crossing_lanelets_are_a_junction_and_group_their_lights(imported):
    across = node(901, 99, -30) + node(902, 99, 40) + node(903, 102.5, -30) + node(904, 102.5, 40)
    across += way(500, 901, 902) + way(501, 903, 904) + lanelet(99, 500, 501)
    text = with_rule(two_lanes(across, rule(70, "traffic_light")), "91", "94")
    road_map = imported(text)
    junction = {name for name, lane in road_map.lanes.items() if lane.junction}
    assert junction == {"92", "95", "99"}
    assert len({road_map.lanes[name].junction for name in junction}) == 1
    assert road_map.signals["70"].group == road_map.lanes["92"].junction


def test_crosswalks_are_the_area_between_their_bounds(imported):
    road_map = imported(two_lanes(row_ways(3), lanelet(99, 301, 202, subtype="crosswalk")))
    corners = road_map.crosswalks["99"].outline
    assert set(map(tuple, corners.tolist())) == {(40, 10.5, 0), (80, 10.5, 0), (80, 7, 0), (120, 7, 0)}
    assert "99" not in road_map.lanes


# Places


def test_heights_are_read(imported):
    text = two_lanes().replace('<tag k="ele" v="0.0"/>', '<tag k="ele" v="12.5"/>')
    assert imported(text).lanes["91"].line[:, 2].tolist() == [12.5, 12.5]


def test_without_local_coordinates_latitude_and_longitude_count(imported, tmp_path):
    degree = 111_132.954 - 559.822 * math.cos(math.radians(98)) + 1.175 * math.cos(math.radians(196))  # of latitude at 49 N
    corners = ((1, 49.0, 8.0), (2, 49.001, 8.0), (3, 49.0, 8.00004), (4, 49.001, 8.00004))
    text = "".join(f'<node id="{n}" lat="{lat}" lon="{lon}"/>\n' for n, lat, lon in corners)
    road_map = imported(text + way(1, 1, 2) + way(2, 3, 4) + lanelet(91, 1, 2))
    line = road_map.lanes["91"].line
    assert line[-1, 1] - line[0, 1] == pytest.approx(degree / 1000, abs=0.005)
    np.testing.assert_allclose(line[:, 0], 0, atol=0.001)
    np.testing.assert_allclose(line[:, WIDTH], 0.00004 * 111_320 * math.cos(math.radians(49)), atol=0.02)
    assert road_map.source == "Lanelet2 file test.osm, x = y = 0 at latitude 49.000500000, longitude 8.000020000"


def test_deleted_elements_do_not_count(imported):
    gone = lanelet(99, 777, 888).replace('id="99"', 'id="99" action="delete"')
    assert "99" not in imported(two_lanes(gone)).lanes


def test_lanelets_whose_bounds_do_not_belong_together_are_left_out(imported):
    with pytest.warns(
        UserWarning, match=r"test\.osm: imported with 1 lane .*: lane 99 .*its bounds, 40\.00 and 40\.00 m long"
    ):
        lanes = imported(two_lanes(way(500, 43, 33), lanelet(99, 1, 500))).lanes
    assert len(lanes) == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the map has no nodes"),
        (node(1, 0, 0) + '<node id="2" lat="0" lon="0"/>', r"line 4: <node>: tags local_x and local_y are missing"),
        (node(1, math.nan, 0), r"line 3: <node>: tag local_x='nan' is not a finite number"),
        (node(1, 1e9, 0), r"line 3: <node>: tag local_x='1000000000\.0' is no place on a map: .* within 1e\+08 m"),
        ('<node id="1" lat="91" lon="0"/>', r"line 3: <node>: lat=91\.0 is no place on earth"),
        ('<node id="1" lat="1"/>', r"line 3: <node>: attribute 'lon' is missing"),
        (node(1, 0, 0) + node(1, 0, 0), r"line 4: <node>: id '1' is used twice"),
        (node(1, 0, 0) + way(5, 1, 2), r"<nd>: ref='2': there is no such node"),
        (node(1, 0, 0) + lanelet(9, 5, 6), r"<relation>: left bound of lanelet 9: 5; it must be one existing way"),
        (two_lanes(lanelet(99, 1, 101, 70)), r"<relation>: regulatory element '70' of lanelet 99 does not exist"),
        (two_lanes(lanelet(99, 201, 1, speed_limit="fast")), r"<relation>: speed_limit='fast' is no speed"),
        (grid() + row_ways(0) + row_ways(1) + lanelet(9, 101, 1, subtype="walkway"), "map 'test' has no driving lane"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_element(imported, text, message):
    # The files are small: what is not Lanelet2 at all says so first.
    with pytest.raises(MapError, match=rf"test\.osm: .*{message}"):
        imported(text + '<relation id="0"><tag k="type" v="lanelet"/><tag k="subtype" v="stairs"/></relation>', strict=True)


def test_open_street_map_is_told_apart(tmp_path):
    path = tmp_path / "town.osm"
    path.write_text("<osm><way id='1'><tag k='highway' v='residential'/></way></osm>")
    assert not recognises(path)
    path.write_text("<osm><relation id='1'><tag v='lanelet' k='type'/></relation></osm>")
    assert recognises(path)


# Files


@pytest.mark.slow
def test_damaged_files_give_a_map_or_an_error(tmp_path):
    text = with_rule(two_lanes(rule(70, "traffic_light", member("way", 2, "ref_line"))), "91", "94")
    text = text.replace('<relation id="93">', '<relation id="93">' + tags(speed_limit="50 km/h"))
    data = f'<?xml version="1.0"?>\n<osm version="0.6">\n{text}</osm>\n'.encode()
    maps, errors = survives(load, tmp_path / "bad.osm", damaged(data, 60))
    assert maps > 60 and errors > 60


def test_a_bound_of_200_000_vertices(tmp_path):
    path = tmp_path / "long.osm"
    nodes = "".join(node(1000 + k, 0.001 * k, 2) for k in range(1000))
    long = way(500, *(1000 + k % 1000 for k in range(200_000)))
    path.write_text(f"<osm>{two_lanes(nodes, long, lanelet(99, 500, 1))}</osm>")
    maps, errors = survives(load, path, iter([path.read_bytes()]))
    assert maps + errors == 1


# The shared map


@pytest.mark.skipif(not SHARED.is_file(), reason="the shared map mapping_example.osm is not here")
def test_the_mapping_example():
    with pytest.warns(
        UserWarning,
        match=r"1 lane, 5 mark, 1 reference repaired or left out: lane 9037740909199276460 .*its bounds, 24\.\d+ and 126",
    ):
        road_map = load(SHARED)
    found = summary(road_map)
    assert found["lane_km"] == pytest.approx(4.54, abs=0.02)  # 1.1 km for both directions count once
    counts = (found["lanes"], found["links"], found["traffic_lights"], found["stop_lines"], found["crosswalks"])
    assert counts == (387, 377, 6, 10, 8)
    assert found["max_link_gap_m"] == 0.0
    assert not found["left_hand"]
    for lane in road_map.lanes.values():
        for other in lane.successors:
            turn = road_map.lanes[other].line[0, HEADING] - lane.line[-1, HEADING]
            assert abs(math.remainder(turn, 2 * math.pi)) < 1e-9, f"{lane.id} to {other}"
    # One turn lane is drawn beside the middle of its neighbour, 15 m from its start.
    with pytest.warns(UserWarning, match="1 lane changes are left out"):
        compile_roads(road_map, cache=False)
    with pytest.warns(UserWarning, match="1 lane changes are left out"):
        drive(road_map)


def test_geometry_says_on_which_side_traffic_keeps_where_bounds_are_not_shared():
    """Two oncoming lanes of 3.5 m, 0.5 m apart; three of a one-way street say nothing."""

    def street(*lanes: tuple[float, bool]) -> dict[str, Lane]:
        lines = [np.array([(0, y, 0, 0, 3.5), (80, y, 0, 0, 3.5)]) for y, _ in lanes]
        lines = [line if east else line[::-1] + (0, 0, 0, np.pi, 0) for line, (_, east) in zip(lines, lanes, strict=True)]
        return {str(k): Lane(str(k), line) for k, line in enumerate(lines)}

    assert not keeps_left(street((0, True), (4, False)))
    assert keeps_left(street((0, False), (4, True)))
    # On a dual carriageway the nearest oncoming lane counts, behind a wide median none.
    assert keeps_left(street((0, False), (4, False), (8, True), (12, True)))
    assert not keeps_left(street((0, False), (30, True)))
    assert not keeps_left(street((0, True), (4, True), (8, True))) and not keeps_left({})
    # A bridge over a street is not beside it.
    above = {name: replace(lane, line=lane.line + (0, 0, 6, 0, 0)) for name, lane in street((4, True)).items()}
    assert not keeps_left({"below": street((0, False))["0"], **above})
