"""Records of the Waymo Open Motion Dataset with answers on paper, bad ones, and a town that is written and read again."""

import math
import struct
import time

import numpy as np
import pytest
from recorded import (
    RecordedLane,
    Scene,
    example_message,
    field,
    json_bytes,
    message,
    of_town,
    parked,
    pickle_bytes,
    polyline,
    scenario_message,
    tfrecord,
    varint,
)

from gigaflow_env.config import laptop
from gigaflow_env.roads import MapError, MapWarning, RoadMap, centerline, load, load_scenario, load_scene, shipped, summary
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.formats import waymo
from gigaflow_env.roads.formats.waymo import protobuf
from gigaflow_env.roads.formats.waymo import tfrecord as tfrecords
from gigaflow_env.roads.road_map import HEADING, WIDTH, X, Y
from gigaflow_env.roads.scenario import LIGHT_STATES, Scenario, validate_scenario
from gigaflow_env.simulator import Simulator

OFF, GREEN, YELLOW, RED, UNKNOWN = range(len(LIGHT_STATES))
FORMATS = {
    "scenario.tfrecord": lambda scene: tfrecord(scenario_message(scene)),
    "example.tfrecord": lambda scene: tfrecord(example_message(scene)),
    "scene.json": json_bytes,
    "scene.pkl": pickle_bytes,
}
EVERY = pytest.mark.parametrize("kind", FORMATS)
SCENARIO = "scenario.tfrecord"


@pytest.fixture
def written(tmp_path):
    def of(scene: Scene, kind: str = SCENARIO):
        path = tmp_path / kind
        path.write_bytes(FORMATS[kind](scene))
        return path

    return of


@pytest.fixture
def imported(written):
    return lambda scene, kind=SCENARIO: load(written(scene, kind))


@pytest.fixture
def recorded(written):
    return lambda scene, kind=SCENARIO: load_scenario(written(scene, kind))


def street(more: dict[int, RecordedLane] | None = None, **others) -> Scene:
    """Lane 1 leads 40 m to the east and into lane 2, which does so, too."""
    lanes = {1: RecordedLane(polyline((0, 0), (40, 0)), exits=(2,)), 2: RecordedLane(polyline((40, 0), (80, 0)))}
    return Scene(lanes | (more or {}), **others)


def side(y: float, kind: int = 6, length: float = 80) -> tuple[int, np.ndarray]:
    return kind, polyline((0, y), (length, y))


def widths(road_map: RoadMap, lane: str) -> np.ndarray:
    return centerline.sample(road_map.lanes[lane].line, 1.0)[:, WIDTH]


# Lanes


@EVERY
def test_a_lane_leads_to_the_one_that_begins_at_its_end(imported, kind):
    road_map = imported(street(), kind)
    assert set(road_map.lanes) == {"1", "2"}
    np.testing.assert_allclose(road_map.lanes["1"].line, [[0, 0, 0, 0, 3.5], [40, 0, 0, 0, 3.5]], atol=1e-6)
    assert (road_map.lanes["1"].successors, road_map.lanes["2"].successors) == (("2",), ())
    assert road_map.lanes["1"].kind == "driving" and road_map.lanes["1"].speed == pytest.approx(13.4, abs=0.02)
    assert road_map.name == "a1b2" and "waymo" in road_map.source.lower()


def test_exits_count_and_not_the_places_of_ends(imported):
    lanes = {3: RecordedLane(polyline((40, 0), (60, 5)))}
    assert imported(street(lanes)).lanes["1"].successors == ("2",)


@pytest.mark.parametrize("gap", [0.0, 0.3])
def test_exits_that_nearly_meet_are_linked(imported, gap):
    road_map = imported(street({2: RecordedLane(polyline((40 + gap, 0), (80, 0)))}))
    assert road_map.lanes["1"].successors == ("2",) and summary(road_map)["max_link_gap_m"] < 1e-9


@pytest.mark.parametrize(("gap", "linked"), [(0.6, True), (9.0, False)])
def test_a_gap_between_exits_is_told_whether_bridged_or_not(imported, gap, linked):
    with pytest.warns(MapWarning, match=rf"up to {gap:g} m"):
        road_map = imported(street({2: RecordedLane(polyline((40 + gap, 0), (80, 0)))}))
    assert road_map.lanes["1"].successors == (("2",) if linked else ())
    assert summary(road_map)["max_link_gap_m"] < 1e-9


def test_exits_outside_of_the_scene_are_left_out(imported):
    with pytest.warns(MapWarning, match="2: its exit 99 is not in the file: left out"):
        road_map = imported(street({2: RecordedLane(polyline((40, 0), (80, 0)), exits=(99,))}))
    assert road_map.lanes["2"].successors == ()


def test_lanes_that_are_too_short_are_bypassed(imported):
    tiny = {2: RecordedLane(np.array([[40.0, 0, 0], [40.02, 0, 0]]), exits=(3,)),
            3: RecordedLane(polyline((40.02, 0), (80, 0)))}  # fmt: skip
    with pytest.warns(MapWarning, match=r"lane 2: of 2 points, less than 0\.05 m long: left out"):
        lanes = imported(street(tiny)).lanes
    assert set(lanes) == {"1", "3"} and lanes["1"].successors == ("3",)


@EVERY
def test_lanes_of_one_point_are_left_out(imported, kind):
    with pytest.warns(MapWarning, match=r"lane 9: of 1 points"):
        road_map = imported(street({9: RecordedLane(np.zeros((1, 3)))}), kind)
    assert set(road_map.lanes) == {"1", "2"}


@pytest.mark.parametrize("kind", ["example.tfrecord", "scene.json"])
@pytest.mark.parametrize(("start", "end", "linked"), [((40.03, 0), (80, 0), True), ((40.08, 0), (80, 0), False),
                                                      ((40, 0), (0, 1), False), ((40, 0), (60, 20), True)])  # fmt: skip
def test_without_links_a_lane_leads_to_those_that_go_on(imported, kind, start, end, linked):
    lanes = imported(street({2: RecordedLane(polyline(start, end))}), kind).lanes
    assert lanes["1"].successors == (("2",) if linked else ())


def test_speeds_are_miles_per_hour_and_freeways_are_fast(imported):
    fast, unknown = RecordedLane(polyline((0, 50), (40, 50)), mph=65.0), RecordedLane(polyline((0, 90), (40, 90)), 1, 0.0)
    lanes = imported(street({3: fast, 4: unknown})).lanes
    assert [lanes[n].speed for n in ("3", "4")] == pytest.approx([29.06, 29.1], abs=0.01)


@EVERY
def test_bike_lanes_are_no_part_of_the_graph(imported, kind):
    scene = street({2: RecordedLane(polyline((40, 0), (80, 0)), kind=3)})
    lanes = imported(scene, kind).lanes
    assert lanes["2"].kind == "biking" and lanes["1"].successors == ()
    assert widths(imported(scene, kind), "2") == pytest.approx(1.5)


def test_a_curve_keeps_its_shape(imported):
    angle = np.linspace(0, math.pi / 2, 32)
    points = np.column_stack([20 * np.sin(angle), 20 - 20 * np.cos(angle), 0.1 * 20 * angle])
    line = imported(Scene({1: RecordedLane(points)})).lanes["1"].line
    assert centerline.length(line) == pytest.approx(10 * math.pi, rel=1e-3)
    assert line[-1, HEADING] == pytest.approx(math.pi / 2, abs=0.01)
    assert line[-1, 2] == pytest.approx(math.pi)
    dense = centerline.sample(line, 0.5)
    np.testing.assert_allclose(np.hypot(dense[:, X], dense[:, Y] - 20), 20, atol=0.02)


# Widths


@EVERY
@pytest.mark.parametrize(
    ("left", "right", "width"),
    [(1.8, -1.8, 3.6), (1.5, -2.1, 3.6), (1.6, None, 3.2), (None, -2.0, 4.0), (None, None, 3.5), (0.9, -0.9, 2.5),
     (3.0, -3.0, 5.0), (0.3, None, 3.5), (5.0, -5.0, 3.5)],
)  # fmt: skip
def test_a_lane_is_as_wide_as_the_lines_beside_it_say(imported, kind, left, right, width):
    lines = [side(y, n) for y, n in ((left, 6), (right, 15)) if y is not None]
    assert widths(imported(street(lines=lines), kind), "1") == pytest.approx(width, abs=1e-5)


def test_lines_across_and_on_other_levels_do_not_bound(imported):
    crossing = (15, polyline((20, -1.5), (20.5, 1.5)))
    bridge = (15, polyline((0, 1.4, 6.0), (80, 1.4, 6.0)))
    assert widths(imported(street(lines=[crossing, bridge])), "1") == pytest.approx(3.5)


def test_neighbours_without_lines_share_the_space_between_them(imported):
    road_map = imported(street({3: RecordedLane(polyline((40, 3.0), (0, 3.0)))}))
    assert widths(road_map, "3") == pytest.approx(3.0)
    assert widths(road_map, "1") == pytest.approx(3.0)


def test_a_width_changes_gradually_and_gaps_are_bridged(imported):
    lines = [(6, polyline((0, 1.5), (20, 1.5))), (6, polyline((60, 2.0), (80, 2.0)))]
    road_map = imported(Scene({1: RecordedLane(polyline((0, 0), (80, 0)))}, lines))
    found = widths(road_map, "1")
    assert found[5] == pytest.approx(3.0, abs=0.02) and found[75] == pytest.approx(4.0, abs=0.02)
    assert (np.diff(found) > -1e-9).all() and found[40] == pytest.approx(3.5, abs=0.1)


# Neighbours and junctions


def two_lanes(line: int, kind: str, **more) -> Scene:
    """Lane 5 is to the left of lane 1, with a line between them."""
    lanes = {1: RecordedLane(polyline((0, 0), (40, 0)), left=(5,)),
             5: RecordedLane(polyline((0, 3.5), (40, 3.5)), right=(1,))}  # fmt: skip
    return Scene(lanes, [(line, polyline((0, 1.75), (40, 1.75)))], **more)


@EVERY
def test_lanes_change_to_their_neighbours_over_broken_lines(imported, kind):
    lanes = imported(two_lanes(6, kind), kind).lanes
    assert (lanes["1"].left, lanes["1"].right, lanes["5"].left, lanes["5"].right) == ("5", None, None, "1")


@pytest.mark.parametrize("kind", ["example.tfrecord", "scene.json"])
@pytest.mark.parametrize("line", [7, 8, 11, 12, 15, 16])
def test_solid_lines_and_edges_forbid_to_change(imported, kind, line):
    lanes = imported(two_lanes(line, kind), kind).lanes
    assert lanes["1"].left is lanes["5"].right is None


def test_only_neighbours_that_a_scenario_names_count(imported):
    scene = two_lanes(6, SCENARIO)
    one_way = imported(scene._replace(lanes=scene.lanes | {5: scene.lanes[5]._replace(right=())})).lanes
    assert (one_way["1"].left, one_way["5"].right) == ("5", None)


@pytest.mark.parametrize(
    "there", [[(40, 3.5), (0, 3.5)], [(20, 3.5), (40, 3.5)], [(0, 8), (40, 8)], [(0, 3.5, 5), (40, 3.5, 5)]]
)
def test_what_is_not_side_by_side_is_no_neighbour(imported, there):
    lanes = {1: RecordedLane(polyline((0, 0), (40, 0)), left=(5,)), 5: RecordedLane(polyline(*there), right=(1,))}
    assert imported(Scene(lanes)).lanes["1"].left is None


def crossroads(**more) -> Scene:
    """Four lanes lead 30 m to a crossing of 20 m and straight on; they are 11-14, 21-24 and 31-34."""
    lanes = {}
    for k in range(4):
        cos, sin = round(math.cos(k * math.pi / 2)), round(math.sin(k * math.pi / 2))
        turn = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]], float)
        for n, (a, b) in enumerate(((-40, -10), (-10, 10), (10, 40)), 1):
            exits = (10 * (n + 1) + k + 1,) if n < 3 else ()
            lanes[10 * n + k + 1] = RecordedLane(polyline((a, -2), (b, -2)) @ turn, exits=exits)
    return Scene(lanes, **more)


@EVERY
def test_lanes_that_cross_are_a_junction(imported, kind):
    lanes = imported(crossroads(), kind).lanes
    assert {name for name, lane in lanes.items() if lane.junction} == {"21", "22", "23", "24"}
    assert {lanes[name].junction for name in ("21", "22", "23", "24")} == {"21"}


def test_a_bridge_is_no_junction(imported):
    over = {3: RecordedLane(polyline((20, -20, 8), (20, 20, 8)))}
    assert all(lane.junction is None for lane in imported(street(over)).lanes.values())
    assert imported(street({3: RecordedLane(polyline((20, -20), (20, 20)))})).lanes["3"].junction is not None


# Lights, stop signs and crosswalks


@EVERY
def test_a_light_controls_the_entry_of_its_lane(imported, recorded, kind):
    at = np.array([-9.5, -2.0, 0.0])
    scene = crossroads(lights={21: (at, [4, 5, 6, 1, 2, 3, 7, 8, 0])})
    road_map = imported(scene, kind)
    assert road_map.lanes["21"].signal == "21" and road_map.lanes["22"].signal is None
    assert (road_map.signals["21"].kind, road_map.signals["21"].group) == ("light", "21")
    states = recorded(scene, kind).lights
    assert set(states) == {"21"} and states["21"].dtype == np.int8
    assert states["21"].tolist()[:9] == [RED, YELLOW, GREEN, RED, YELLOW, GREEN, OFF, OFF, UNKNOWN]
    assert states["21"].tolist()[9:] == [UNKNOWN] * 2


def test_a_stop_point_at_the_end_of_a_lane_controls_what_follows(imported):
    lanes = imported(crossroads(lights={11: (np.array([-11.0, -2.0, 0.0]), [4])})).lanes
    assert (lanes["11"].signal, lanes["21"].signal) == (None, "11")


def test_lights_of_lanes_outside_of_the_scene_are_left_out(imported, recorded):
    scene = crossroads(lights={99: (np.zeros(3), [4])})
    with pytest.warns(MapWarning, match="light 99: its lane 99 is not in the file: left out"):
        assert imported(scene).signals == {} and recorded(scene).lights == {}


def test_a_stop_sign_controls_its_lanes_unless_a_light_does(imported):
    sign = ((21, 22), np.array([-9.0, -5.0, 0.0]))
    lanes = imported(crossroads(stops=[sign], lights={21: (np.array([-10.0, -2.0, 0.0]), [4])})).lanes
    assert (lanes["21"].signal, lanes["22"].signal) == ("21", "30000")
    assert imported(crossroads(stops=[sign])).signals["30000"].kind == "stop"


@EVERY
@pytest.mark.parametrize("closed", [False, True])
def test_crosswalks_keep_their_corners(imported, kind, closed):
    corners = np.array([[10.0, -4, 0], [14, -4, 0], [14, 4, 0], [10, 4, 0]])
    given = np.concatenate([corners, corners[:1]]) if closed else corners
    ((_, found),) = imported(street(crosswalks=[given]), kind).crosswalks.items()
    np.testing.assert_allclose(found.outline, corners, atol=1e-5)


# Tracks


@EVERY
def test_tracks_are_what_was_seen(recorded, kind):
    tracks = parked(3, 21)
    tracks[1, :, 0] = 2.0 * np.arange(21)
    tracks[1, :, 5:7] = 1.25, 20.0
    valid = np.ones((3, 21), bool)
    valid[2, 5:] = False
    found = recorded(street(tracks=tracks, valid=valid, kinds=(1, 2, 3), ego=1, predict=(0, 2)), kind)
    assert isinstance(found, Scenario)
    validate_scenario(found)
    assert (found.dt, found.ids, found.kinds) == (0.1, ("7", "8", "9"), ("vehicle", "pedestrian", "cyclist"))
    assert (found.ego, found.predict, found.name) == (1, (0, 2), "a1b2")
    np.testing.assert_array_equal(found.valid, valid)
    names = ("x", "y", "z", "length", "width", "heading", "velocity_x", "velocity_y")
    for k, name in enumerate(names):
        np.testing.assert_allclose(getattr(found, name), np.where(valid, tracks[..., k], np.nan), atol=1e-5, err_msg=name)


# Files


def test_the_checksum_is_crc32c():
    assert tfrecords.masked_crc32c(b"123456789") == (((0xE3069283 >> 15) | (0xE3069283 << 17)) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("size", [0, 1, 511, 512, 513, 1024, 5000])
def test_blocks_side_by_side_have_the_checksum_of_the_whole(size):
    data, crc = np.random.default_rng(size).bytes(size), 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    assert tfrecords.masked_crc32c(data) == ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 2**31, 2**62, -1, -(2**63)])
def test_whole_numbers_of_every_size(value):
    assert protobuf.decode(field(3, value)) == {3: [value]}
    packed = protobuf.decode(field(3, varint(value) + varint(7)))
    assert protobuf.integers(packed, 3).tolist() == [value, 7]


def test_fields_of_every_kind():
    fields = protobuf.decode(message((1, 2.5), (2, np.float32(0.5)), (3, "text"), (1, -4.0), (900, 7)))
    assert fields == {1: [2.5, -4.0], 2: [0.5], 3: [b"text"], 900: [7]}
    assert protobuf.number(fields, 1) == -4.0 and protobuf.text(fields, 3) == "text" and protobuf.whole(fields, 900) == 7
    assert protobuf.floats(fields, 1, "<f8").tolist() == [2.5, -4.0]
    assert protobuf.floats({4: [struct.pack("<2f", 1, 2)]}, 4, "<f4").tolist() == [1, 2]


@pytest.mark.parametrize("data", [b"\x08", b"\x08" + b"\xff" * 11, b"\x0a\x05abc", b"\x09\x00", b"\x0b", b"\x0d\x00"])
def test_what_is_no_message_is_refused(data):
    with pytest.raises(MapError):
        protobuf.decode(data)


def test_a_record_is_chosen_by_number_or_by_name(tmp_path):
    path = tmp_path / "training.tfrecord-00000-of-01000"
    other = street({2: RecordedLane(polyline((40, 0), (90, 0)))}, name="c3d4")
    path.write_bytes(tfrecord(scenario_message(street()), scenario_message(other), example_message(street(name="e5"))))
    assert waymo.count(path) == 3
    assert [load(path, record=n).name for n in (0, 1, 2, "c3d4", "e5")] == ["a1b2", "c3d4", "e5", "c3d4", "e5"]
    assert load_scenario(path, record="c3d4").name == "c3d4"
    for record, message_of in ((None, r"has 3 records: say which"), (3, r"record 3: .* 0\.\.2"), ("zz", r"none of the 3")):
        with pytest.raises(MapError, match=rf"01000: .*{message_of}"):
            load(path, record=record)


GOOD = tfrecord(scenario_message(street()))


@pytest.mark.parametrize(
    ("data", "message_of"),
    [
        (b"", r"the file is empty"),
        (b"\x1f\x8b" + GOOD, r"gzip can't unpack it"),
        (b"PK\x03\x04" + GOOD, r"compressed"),
        (GOOD[:7], r"byte 0: the file ends within the head"),
        (GOOD[:-1], r"byte 0: record 0 has \d+ bytes, but the file ends before"),
        (b"neither a record nor a map", r"byte 0: no TFRecord: the checksum"),
        (GOOD[:500] + bytes([GOOD[500] ^ 1]) + GOOD[501:], r"the checksum of the record is wrong"),
        (tfrecord(b"\x0b"), r"wire type 3"),
        (tfrecord(message((7, 1))), r"record 0: neither a Scenario nor a tf\.Example"),
        (tfrecord(message((5, "x"))), r"record 0: the scenario has 0 timestamps"),
        (tfrecord(message((5, "x"), (1, 0.0), (6, 0))), r"record 0: the recording has no tracks"),
        (tfrecord(example_message(street()).replace(b"state/id", b"state/xx")), r"value state/id: 0 numbers for 3 agents"),
    ],
)
def test_a_bad_file_is_refused(tmp_path, data, message_of):
    path = tmp_path / "bad.tfrecord"
    path.write_bytes(data)
    with pytest.raises(MapError, match=rf"bad\.tfrecord: .*{message_of}"):
        load_scene(path, strict=True)


@EVERY
@pytest.mark.parametrize("bad", [math.nan, math.inf, 1e12])
def test_places_that_are_none_are_refused(written, kind, bad):
    points = polyline((0, 0), (40, 0))
    points[3, 1] = bad
    with pytest.raises(MapError, match=r"(1|0): point 3.*(must be|finite)"):
        load(written(street({1: RecordedLane(points)}), kind), strict=True)


@EVERY
def test_a_scene_without_lanes_is_refused(imported, kind):
    with pytest.raises(MapError, match=r"no driving lane"):
        imported(Scene({}), kind)


@EVERY
def test_a_line_of_a_million_points_is_refused_quickly(written, kind):
    points = np.zeros((1_000_000, 3))
    points[:, 0] = np.arange(len(points))
    scene = Scene({1: RecordedLane(points)})
    path = written(scene._replace(lanes={}, lines=[]), kind)
    if kind == "scene.json":
        record = '{"x":1.0,"y":2.0,"z":0.0}'
        big = f'{{"geometry":[{",".join([record] * len(points))}],"type":"lane","map_element_id":2,"id":1}}'
        path.write_text(path.read_text().replace('"roads": []', f'"roads": [{big}]'))
    elif kind == "scene.pkl":
        path.write_bytes(pickle_bytes(scene))
    elif kind == SCENARIO:
        many = (b"\x42\x1b" + b"\x09" + b"\0" * 8 + b"\x11" + b"\0" * 8 + b"\x19" + b"\0" * 8) * len(points)
        path.write_bytes(tfrecord(scenario_message(scene._replace(lanes={})) + message((8, message((1, 1), (3, many))))))
    else:
        path.write_bytes(tfrecord(_example_of(points)))
    began = time.process_time()
    with pytest.raises(MapError, match=r"at most 100000"):
        load(path)
    assert time.process_time() - began < 30.0


def _example_of(points: np.ndarray) -> bytes:
    """A tf.Example of one lane with many points."""
    made = example_message(Scene({}))
    lists = {
        "xyz": points.astype("<f4").tobytes(),
        "id": b"\x01" * len(points),
        "type": b"\x02" * len(points),
        "valid": b"\x01" * len(points),
    }
    extra = [
        (1, message((1, f"roadgraph_samples/{name}"), (2, message((2 if name == "xyz" else 3, message((1, data)))))))
        for name, data in lists.items()
    ]
    inner = protobuf.parts(protobuf.decode(made), 1)[-1]
    return message((1, inner + message(*extra)))


@pytest.mark.parametrize("kind", FORMATS)
def test_damaged_files_end_in_a_map_or_in_an_error(written, kind):
    scene = crossroads(lines=[side(1.8)], lights={21: (np.array([-9.5, -2.0, 0.0]), [4, 6])}, crosswalks=[np.eye(3) * 5])
    coarse = {n: lane._replace(points=lane.points[::10]) for n, lane in scene.lanes.items()}
    scene = scene._replace(lanes=coarse, lines=[(6, polyline((0, 1.8), (80, 1.8), step=10))])
    make = FORMATS[kind] if kind.startswith("scene.") else scenario_message if kind == SCENARIO else example_message
    good, random, path = make(scene), np.random.default_rng(5), written(scene, kind)
    refused = 0
    for trial in range(40):
        data = bytearray(good)
        if trial % 5 == 4:
            data = data[: random.integers(len(data))]
        for _ in range(random.integers(1, 4) if data else 0):
            data[random.integers(len(data))] ^= 1 << int(random.integers(8))
        path.write_bytes(bytes(data) if kind.startswith("scene.") else tfrecord(bytes(data)))
        try:
            load(path, strict=True)
            load_scenario(path, strict=True)
        except MapError:
            refused += 1
    assert 8 < refused <= 40


@EVERY
def test_lanes_that_turn_back_are_left_out(written, kind):
    path = written(street({1: RecordedLane(polyline((0, 0), (40, 0), (20, 0)))}), kind)
    wrong = r"lane 1: it turns back by 180 degrees at \(40\.00, 0\.00\)"
    with pytest.warns(MapWarning, match=wrong):
        assert set(load(path).lanes) == {"2"}
    with pytest.raises(MapError, match=wrong):
        load(path, strict=True)


@EVERY
def test_lanes_without_end_are_refused(imported, kind):
    far = {k: RecordedLane(np.array([[0.0, k, 0], [90_000.0, k, 0]])) for k in range(1, 4)}
    with pytest.raises(MapError, match=r"the lanes have 270 km in all, at most 200"):
        imported(Scene(far), kind)


# A town that is written and read again


@EVERY
def test_a_town_comes_back(written, kind):
    town = load(shipped()["loop"])
    scene, number = of_town(town)
    road_map = load(written(scene, kind))
    truth, found = summary(town), summary(road_map)
    assert found["lane_km"] == pytest.approx(truth["lane_km"], rel=1e-3)
    assert [found[key] for key in ("lanes", "links", "junctions")] == [truth[key] for key in ("lanes", "links", "junctions")]
    assert found["max_link_gap_m"] <= 0.005 and found["largest_component"] == 1.0
    for name, lane in town.lanes.items():
        if name in number:
            again = road_map.lanes[str(number[name])]
            assert set(again.successors) == {str(number[other]) for other in lane.successors}
            assert again.left == (str(number[lane.left]) if lane.left else None)
            if lane.junction is None:
                np.testing.assert_allclose(widths(road_map, again.id).mean(), lane.line[:, WIDTH].mean(), atol=0.05)


def test_a_town_is_driven_on(written):
    scene, _ = of_town(load(shipped()["loop"]))
    road_map = load(written(scene))
    compile_roads(road_map, cache=False)
    simulator = Simulator(road_map, 20, laptop().replace(agents_per_world=20), threads=1)
    simulator.reset(np.array([1], np.uint32))
    random = np.random.default_rng(0)
    for _ in range(60):
        simulator.step(random.integers(0, 12, 20))
    assert np.isfinite(simulator.observations).all()
