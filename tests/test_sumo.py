"""SUMO networks with answers on paper, bad ones, and the shared ones beside the OpenDRIVE towns they are made from."""

import math
import re
import time
import warnings
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
import shapely
from damage import damaged, survives, with_bomb, without_attributes

from gigaflow_env.config import laptop
from gigaflow_env.roads import MapError, MapWarning, RoadMap, centerline, load, save, shipped, summary
from gigaflow_env.roads.road_map import HEADING, WIDTH, X, Y, Z
from gigaflow_env.simulator import Simulator

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps"


def lane(edge: str, index: int, shape: str, more: str = "", speed: float = 10.0) -> str:
    return f'<lane id="{edge}_{index}" index="{index}" speed="{speed}" length="1" shape="{shape}" {more}/>'


def edge(name: str, *lanes: str, more: str = "", to: str = "J") -> str:
    return f'<edge id="{name}" from="I" to="{to}" {more}>{"".join(lanes)}</edge>'


def internal(name: str, *lanes: str) -> str:
    return f'<edge id="{name}" function="internal">{"".join(lanes)}</edge>'


def connection(start: str, end: str, via: str = "", more: str = "", lanes: tuple[int, int] = (0, 0)) -> str:
    through = f' via="{via}"' if via else ""
    return f'<connection from="{start}" to="{end}" fromLane="{lanes[0]}" toLane="{lanes[1]}"{through} {more}/>'


def tl(name: str, *states: str) -> str:
    phases = "".join(f'<phase duration="30" state="{state}"/>' for state in states)
    return f'<tlLogic id="{name}" type="static" programID="0" offset="0">{phases}</tlLogic>'


IN, OUT = edge("in", lane("in", 0, "0,0 50,0")), edge("out", lane("out", 0, "60,0 120,0"), to="K")
STRAIGHT = internal(":J_0", lane(":J_0", 0, "50,0 60,0"))
RIGHT = edge("right", lane("right", 0, "55,-5 55,-60"), to="L") + internal(":J_1", lane(":J_1", 0, "50,0 53.5,-1.5 55,-5"))


@pytest.fixture
def imported(tmp_path):
    def of(*parts: str, attributes: str = "", strict: bool = False) -> RoadMap:
        path = tmp_path / "test.net.xml"
        path.write_text(f'<?xml version="1.0"?>\n<net {attributes}>\n' + "\n".join(parts) + "\n</net>\n", encoding="utf-8")
        return load(path, strict=strict)

    return of


def crossing(signals: str = "", first: str = "", second: str = "") -> tuple[str, ...]:
    """From `in` straight on to `out` and to the right to `right`, over internal lanes."""
    return (
        IN, OUT, STRAIGHT, RIGHT, signals,
        connection("in", "out", ":J_0_0", first), connection(":J_0", "out"),
        connection("in", "right", ":J_1_0", second), connection(":J_1", "right"),
    )  # fmt: skip


# Lanes


def test_lanes_keep_id_shape_width_and_speed(imported):
    more = 'width="2.5" disallow="tram"'
    road_map = imported(edge("a", lane("a", 0, "0,0 100,0,5"), lane("a", 1, "0,3 100,3", more, speed=7.5)))
    assert (road_map.name, road_map.source) == ("test", "SUMO network test.net.xml")
    np.testing.assert_allclose(road_map.lanes["a_0"].line, [[0, 0, 0, 0, 3.2], [100, 0, 5, 0, 3.2]], atol=1e-12)
    assert road_map.lanes["a_1"].line[:, [Y, WIDTH]].tolist() == [[3, 2.5], [3, 2.5]]
    assert [part.speed for part in road_map.lanes.values()] == [10.0, 7.5]


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ("", "driving"),
        ('allow="passenger bus"', "driving"),
        ('disallow="pedestrian tram"', "driving"),
        ('allow="bus taxi"', "shoulder"),
        ('disallow="passenger"', "shoulder"),
        ('allow="bicycle"', "biking"),
        ('allow="pedestrian"', None),
        ('disallow="all"', None),
        ('allow="rail"', None),
    ],
)
def test_permissions_say_the_kind(imported, more, kind):
    expected = pytest.warns(MapWarning, match="access a_0 .*closed to cars") if kind == "shoulder" else nullcontext()
    with expected:
        lanes = imported(edge("a", lane("a", 0, "0,0 90,0", more), lane("a", 1, "0,3 90,3"))).lanes
    assert (lanes["a_0"].kind if "a_0" in lanes else None) == kind
    assert lanes["a_1"].right == ("a_0" if kind == "driving" else None)


# Links


def test_lanes_inside_of_a_junction_link_those_outside(imported):
    road_map = imported(*crossing())
    lanes = road_map.lanes
    assert set(lanes) == {"in_0", "out_0", "right_0", ":J_0_0", ":J_1_0"}
    assert lanes["in_0"].successors == (":J_0_0", ":J_1_0")
    assert (lanes[":J_0_0"].successors, lanes[":J_1_0"].successors) == (("out_0",), ("right_0",))
    assert {name: part.junction for name, part in lanes.items() if part.junction} == {":J_0_0": "J", ":J_1_0": "J"}
    assert summary(road_map)["max_link_gap_m"] < 1e-9
    assert lanes[":J_1_0"].line[[0, -1], HEADING] == pytest.approx([0, -math.pi / 2], abs=1e-9)


def test_a_lane_that_is_cut_inside_of_a_junction_is_whole(imported):
    angle = math.pi / 2 * np.arange(5) / 4
    x, y = 50 + 20 * np.sin(angle), 20 - 20 * np.cos(angle)
    arc = [f"{a:.4f},{b:.4f}" for a, b in zip(x, y, strict=True)]
    cut = f"{(x[1] + x[2]) / 2:.4f},{(y[1] + y[2]) / 2:.4f}"  # on the chord, as SUMO does
    road_map = imported(
        IN, edge("left", lane("left", 0, "70,20 70,90")),
        internal(":J_0", lane(":J_0", 0, " ".join([*arc[:2], cut]))),
        internal(":J_5", lane(":J_5", 0, " ".join([cut, *arc[2:]]))),
        connection("in", "left", ":J_0_0"), connection(":J_0", "left", ":J_5_0"), connection(":J_5", "left"),
    )  # fmt: skip
    assert set(road_map.lanes) == {"in_0", "left_0", ":J_0_0"}
    assert road_map.lanes[":J_0_0"].successors == ("left_0",)
    fine = centerline.sample(road_map.lanes[":J_0_0"].line, 0.5)
    np.testing.assert_allclose(np.hypot(fine[:, 0] - 50, fine[:, 1] - 20), 20, atol=0.03)


def test_a_connection_over_a_gap_gets_a_connector(imported):
    road_map = imported(IN, edge("left", lane("left", 0, "60,10 60,80", speed=4), to="K"), connection("in", "left"))
    made = road_map.lanes["in_0->left_0"]
    assert (made.successors, made.junction, made.speed) == (("left_0",), "J", 4.0)
    assert road_map.lanes["in_0"].successors == ("in_0->left_0",)
    np.testing.assert_allclose(made.line[[0, -1]][:, [X, Y, HEADING]], [[50, 0, 0], [60, 10, math.pi / 2]], atol=1e-9)


def test_no_connector_turns_back_on_itself(imported):
    with pytest.warns(MapWarning, match="left out"):
        lanes = imported(IN, edge("behind", lane("behind", 0, "40,0 0,10")), connection("in", "behind")).lanes
    assert set(lanes) == {"in_0", "behind_0"}
    assert lanes["in_0"].successors == ()


@pytest.mark.parametrize("via", ["", ":J_0_0"])
def test_small_gaps_are_welded(imported, via):
    parts = (IN, internal(":J_0", lane(":J_0", 0, "50.1,0 50.1,0")), edge("b", lane("b", 0, "50.2,0.1 120,0.1")))
    road_map = imported(*parts, connection("in", "b", via), connection(":J_0", "b"))
    assert set(road_map.lanes) == {"in_0", "b_0"}, "the lane of no length is bypassed"
    assert road_map.lanes["in_0"].successors == ("b_0",)
    assert summary(road_map)["max_link_gap_m"] < 1e-9
    assert road_map.lanes["b_0"].line[0, [X, Y]] == pytest.approx([50.1, 0.05])


def test_connections_that_are_not_for_cars_are_none(imported):
    sidewalk = edge("walk", lane("walk", 0, "60,0 90,0", 'allow="pedestrian"'))
    road_map = imported(IN, OUT, sidewalk, connection("in", "walk"), connection("in", "out", more='disallow="passenger"'))
    assert road_map.lanes["in_0"].successors == ()


# Lane changes


@pytest.mark.parametrize(("attributes", "side", "other"), [("", "left", "right"), ('lefthand="true"', "right", "left")])
def test_lane_zero_is_at_the_roadside(imported, attributes, side, other):
    sign = 1 if side == "left" else -1
    lanes = [lane("a", k, f"0,{sign * 3 * k} 90,{sign * 3 * k}") for k in range(3)]
    road_map = imported(edge("a", *lanes), attributes=attributes)
    assert road_map.left_hand == (side == "right")
    assert [getattr(part, side) for part in road_map.lanes.values()] == ["a_1", "a_2", None]
    assert [getattr(part, other) for part in road_map.lanes.values()] == [None, "a_0", "a_1"]


@pytest.mark.parametrize(
    ("more", "left"),
    [
        ('changeLeft="all"', "a_1"),
        ('changeLeft="bus passenger"', "a_1"),
        ('changeLeft="bus"', None),
        ('changeLeft=""', None),
    ],
)
def test_lane_changes_need_permission(imported, more, left):
    lanes = imported(edge("a", lane("a", 0, "0,0 90,0", more), lane("a", 1, "0,3 90,3"))).lanes
    assert (lanes["a_0"].left, lanes["a_1"].right) == (left, "a_0")


def test_inside_of_a_junction_only_lanes_that_stay_apart_are_neighbours(imported):
    def junction(last: int) -> RoadMap:
        two = [edge(a, *(lane(a, k, f"{x},{3 * k} {x + 50},{3 * k}") for k in (0, 1))) for a, x in (("a", 0), ("b", 60))]
        inside = internal(":J_0", lane(":J_0", 0, "50,0 60,0"), lane(":J_0", 1, f"50,3 60,{3 * last}"))
        ways = [connection("a", "b", f":J_0_{k}", "", (k, end)) for k, end in ((0, 0), (1, last))]
        return imported(*two, inside, *ways, *(connection(":J_0", "b", "", "", (k, end)) for k, end in ((0, 0), (1, last))))

    assert junction(1).lanes[":J_0_0"].left == ":J_0_1"
    assert junction(0).lanes[":J_0_0"].left is None


# Signals


def test_connections_that_are_always_shown_the_same_are_one_light(imported):
    same = imported(*crossing(tl("T", "GG", "yy", "rr"), 'tl="T" linkIndex="0"', 'tl="T" linkIndex="1"'))
    assert [same.lanes[name].signal for name in (":J_0_0", ":J_1_0")] == ["T/0", "T/0"]
    other = imported(*crossing(tl("T", "Gg", "yG", "rr"), 'tl="T" linkIndex="0"', 'tl="T" linkIndex="1"'))
    assert [other.lanes[name].signal for name in (":J_0_0", ":J_1_0")] == ["T/0", "T/1"]
    assert {(signal.kind, signal.group) for signal in other.signals.values()} == {("light", "T")}


@pytest.mark.parametrize(("states", "controlled"), [(("Gg", "GG"), False), (("Go", "GO"), False), (("Gs", "Gs"), True)])
def test_a_light_that_never_stops_anybody_is_none(imported, states, controlled):
    road_map = imported(*crossing(tl("T", *states), "", 'tl="T" linkIndex="1"'))
    assert (road_map.lanes[":J_1_0"].signal == "T/1") == controlled == bool(road_map.signals)


@pytest.mark.parametrize(
    ("states", "kind"),
    [("mm", "yield"), ("Mm", None), ("m=", "yield"), ("==", None), ("ss", "stop"), ("wm", "stop"), ("ZM", None)],
)
def test_signs_stand_where_nothing_has_priority(imported, states, kind):
    road_map = imported(*crossing("", *(f'state="{state}"' for state in states)))
    signs = {road_map.lanes[name].signal for name in (":J_0_0", ":J_1_0")}
    assert signs == ({None} if kind is None else {f"J/in/{kind}"})
    assert [signal.kind for signal in road_map.signals.values()] == [kind] * (kind is not None)


def test_without_lane_inside_the_light_stands_before_the_next_lane_if_all_obey_it(imported):
    parts = (IN, edge("in2", lane("in2", 0, "0,0 50,0")), edge("b", lane("b", 0, "50,0 120,0")), tl("T", "Gr", "rr"))
    light = 'tl="T" linkIndex="0"'
    assert imported(*parts, connection("in", "b", more=light)).lanes["b_0"].signal == "T/0"
    assert imported(*parts, connection("in", "b", more=light), connection("in2", "b")).lanes["b_0"].signal is None


def test_crossings_become_crosswalks(imported):
    stripes = '<edge id=":J_c0" function="crossing">' + lane(":J_c0", 0, "5,-4 5,4", 'width="2"') + "</edge>"
    area = f'<edge id=":J_w0" function="walkingarea">{lane(":J_w0", 0, "0,0 1,0 1,1")}</edge>'
    road_map = imported(IN, stripes, area)
    assert set(road_map.lanes) == {"in_0"}
    outline = road_map.crosswalks[":J_c0"].outline
    np.testing.assert_allclose(outline, [[4, -4, 0], [4, 4, 0], [6, 4, 0], [6, -4, 0]], atol=1e-9)


# Files


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        (("", IN, IN), r"line 5: <edge>: id 'in' is used twice"),
        ((edge("a", lane("b", 0, "0,0 9,0")),), r"line 3: <lane>: id 'b_0': it must be that of its edge, 'a'"),
        ((edge("a", lane("a", 0, "0,0 9,x")),), r"<lane>: point 1 of the shape is '9,x': it must be x,y or x,y,z"),
        ((edge("a", lane("a", 0, "0,0 nan,0")),), r"<lane>: point 1 of the shape is 'nan,0'"),
        ((edge("a", lane("a", 0, "0,0")),), r"<lane>: shape: a line of 1 points"),
        ((edge("a", lane("a", 0, "0,0 9,0", 'width="-1"')),), r"<lane>: width=-1\.0: it must be above 0 m"),
        ((edge("a", lane("a", 0, "0,0 9,0", speed=0)),), r"<lane>: speed=0\.0: it must be above 0 m/s"),
        ((edge("a", lane("a", 0, "0,0 9,0", 'allow="rail"')),), r"map 'test' has no driving lane"),
        ((IN, connection("in", "gone")), r"line 4: <connection>: to='gone': there is no lane 'gone_0'"),
        ((IN, OUT, connection("in", "out", lanes=(1, 0))), r"<connection>: from='in': there is no lane 'in_1'"),
        ((IN, OUT, connection("in", "out", ":J_7_0")), r"<connection>: via=':J_7_0': there is no lane ':J_7_0'"),
        (crossing("", 'tl="T" linkIndex="0"'), r"<connection>: tl='T': there is no such tlLogic"),
        (crossing(tl("T", "G"), 'tl="T" linkIndex="1"'), r"<connection>: linkIndex=1: the states of tlLogic 'T' are"),
        (crossing(tl("T", "G"), 'tl="T"'), r"<connection>: attribute 'linkIndex' is missing"),
    ],
)
def test_a_bad_file_is_refused_with_line_and_element(imported, parts, message):
    with pytest.raises(MapError, match=rf"test\.net\.xml: .*{message}"):
        imported(*parts, strict=True)


def test_another_root_is_refused(tmp_path):
    path = tmp_path / "a.net.xml"
    path.write_text("<routes/>")
    with pytest.raises(MapError, match=r"a\.net\.xml: line 1: <routes>: the root element of a SUMO network is <net>"):
        load(path)


@pytest.mark.slow
def test_damaged_files_end_in_a_map_or_an_error(tmp_path):
    light = 'tl="T" linkIndex="0"'
    text = '<net version="1.20">\n' + "\n".join(crossing(tl("T", "Gg", "rr"), light, 'state="m"')) + "\n</net>\n"
    files = [*damaged(text, 9, 150), *without_attributes(text), with_bomb(text, "net")]
    read = {what: survives(load, tmp_path / "a.net.xml", what, data) for what, data in files}
    assert read["gzip"] and read["zip"] and read["utf-16"] and not read["nothing"] and not read["entities"]
    assert sum(read.values()) > 50 and sum(not good for good in read.values()) > 50  # both happen


def test_200_000_points_end_in_time(tmp_path):
    x, y = np.arange(200_000) * 0.001, np.arange(200_000) % 2 * 0.01
    shape = " ".join(f"{a:.3f},{b:.2f}" for a, b in zip(x.tolist(), y.tolist(), strict=True))
    data = f"<net>{edge('a', lane('a', 0, shape))}</net>".encode()
    assert survives(load, tmp_path / "a.net.xml", "many points", data)


# The shared networks


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"the shared map {name} is not here")
    return path


@pytest.mark.parametrize(
    ("name", "lane_km", "lanes", "links", "lights", "component"),
    [
        ("Town01", 6.37, 130, 166, 40, 1.0),
        ("Town04", 33.28, 472, 568, 42, 1.0),
        ("resco_grid4x4", 79.56, 816, 1152, 192, 0.559),  # streets lead out of the grid and don't come back
    ],
)
def test_shared_networks(tmp_path, name, lane_km, lanes, links, lights, component):
    path = shared(f"sumo/{name}.net.xml")
    began = time.process_time()
    road_map = load(path)
    assert time.process_time() - began < 30.0  # 2 s for the largest one; generous for slow machines
    found = summary(road_map)
    assert found["lane_km"] == pytest.approx(lane_km, abs=0.02)
    assert (found["lanes"], found["links"], found["traffic_lights"]) == (lanes, links, lights)
    assert found["largest_component"] == pytest.approx(component, abs=0.001)
    assert found["max_link_gap_m"] <= 0.005
    for part in road_map.lanes.values():
        for other in part.successors:
            turn = road_map.lanes[other].line[0, HEADING] - part.line[-1, HEADING]
            assert abs(math.remainder(turn, 2 * math.pi)) < 0.01, f"{part.id} to {other}"
    save(road_map, tmp_path / "town.lanes.json")
    assert summary(load(tmp_path / "town.lanes.json"))["max_link_gap_m"] == 0.0


@pytest.mark.parametrize("name", ["Town01", "Town04"])
def test_a_network_made_from_a_town_lies_on_that_town(name):
    path, town = shared(f"sumo/{name}.net.xml"), load(shared(f"carla/{name}.xodr"))
    road_map = load(path)
    one, other = summary(road_map), summary(town)
    assert one["lane_km"] == pytest.approx(other["lane_km"], rel=0.01)
    assert one["lanes"] == pytest.approx(other["lanes"], rel=0.05)
    assert one["links"] == pytest.approx(other["links"], rel=0.05)
    offset = [float(part) for part in re.search(r'netOffset="([^"]*)"', path.read_text())[1].split(",")]
    here, there = (
        [centerline.sample(part.line, 2.0)[:, [X, Y, Z]] for part in given.lanes.values()] for given in (road_map, town)
    )
    points = np.concatenate(here) - [*offset, 0]
    tree = shapely.STRtree([shapely.LineString(line[:, :2]) for line in there])
    _, away = tree.query_nearest(shapely.points(points[:, :2]), return_distance=True, all_matches=False)
    # What netconvert makes of connectors is another curve than the town's: up to 5 m off in wide turns.
    assert np.percentile(away, 50) < 0.02 and np.percentile(away, 99) < 1.0
    assert np.ptp(points[:, 2]) == pytest.approx(np.ptp(np.concatenate(there)[:, 2]), abs=0.5)


def test_the_shared_networks_can_be_driven_on():
    maps = [load(shared(f"sumo/{name}.net.xml")) for name in ("Town01", "Town04")]
    sim = Simulator(maps, 40, laptop().replace(agents_per_world=20), threads=1)
    assert sim.roads.network.maps["lanes"].tolist() == [summary(road_map)["lanes"] for road_map in maps]
    sim.reset(np.array([1, 2], np.uint32))
    rng = np.random.default_rng(3)
    for _ in range(100):  # 2,000 agent-steps on each
        sim.step(rng.integers(0, 12, 40))
        assert np.isfinite(sim.observations).all()


# Programs of lights


def program(name: str, offset: float, *phases: tuple[float, str], kind: str = "static", of: str = "T") -> str:
    parts = "".join(f'<phase duration="{seconds}" state="{state}"/>' for seconds, state in phases)
    return f'<tlLogic id="{of}" type="{kind}" programID="{name}" offset="{offset}">{parts}</tlLogic>'


BOTH = 'tl="T" linkIndex="0"', 'tl="T" linkIndex="1"'
DAY = program("day", 7, (31, "Gr"), (4, "yr"), (2, "rr"), (20, "rG"), (3, "ry"))


def shown(road_map: RoadMap, lane: str) -> list[tuple[str, float]]:
    return [tuple(phase) for phase in road_map.signals[road_map.lanes[lane].signal or ""].program.phases]


def test_times_of_programs_become_those_of_lights(imported):
    road_map = imported(*crossing(DAY, *BOTH), strict=True)
    assert shown(road_map, ":J_0_0") == [("green", 31), ("yellow", 4), ("red", 25)]
    assert shown(road_map, ":J_1_0") == [("red", 37), ("green", 20), ("yellow", 3)]
    # An offset of 7 s delays: at time 0 the cycle of 60 s is at 53.
    assert {signal.program.offset for signal in road_map.signals.values()} == {53}
    assert road_map.report == ()


def test_of_several_programs_the_last_one_holds_or_the_one_that_is_named(tmp_path, imported):
    night = program("night", 0, (10, "Gr"), (10, "rG"))
    assert shown(imported(*crossing(DAY + night, *BOTH)), ":J_0_0") == [("green", 10), ("red", 10)]
    path = tmp_path / "test.net.xml"
    assert shown(load(path, program="day"), ":J_0_0") == [("green", 31), ("yellow", 4), ("red", 25)]
    with pytest.raises(MapError, match=r"program='noon': no light has it; the file has 'day', 'night'"):
        load(path, program="noon")
    with pytest.raises(MapError, match=r"program='day': only SUMO networks have several programs of a light"):
        load(shipped()["loop"], program="day")


def test_colours_of_all_states(imported):
    with pytest.warns(MapWarning, match="signal T/1 .*: it is always red"):
        road_map = imported(*crossing(program("0", 0, *((2, f"{state}r") for state in "rugsGyYoO")), *BOTH))
    assert shown(road_map, ":J_0_0") == [("red", 4), ("green", 6), ("yellow", 4), ("off", 4)]


@pytest.mark.parametrize(
    ("logic", "said"),
    [
        (DAY.replace('duration="4"', ""), "attribute 'duration' is missing"),
        (DAY.replace('duration="4"', 'duration="-4"'), "duration=-4.0: it must be at least 0 s"),
        (DAY.replace("static", "NEMA"), "two rings of phases"),
        (program("0", 0, (0, "Gr"), (0, "rG")), None),
    ],
)
def test_a_program_without_times_is_none_and_the_light_stays(imported, logic, said):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        road_map = imported(*crossing(logic, *BOTH))
    assert [signal.program for signal in road_map.signals.values()] == [None, None]
    assert said is None or any(said in entry.done for entry in road_map.report)


def test_programs_that_wait_for_traffic_run_for_their_usual_times_and_that_is_said(imported):
    with pytest.warns(MapWarning, match="its phases run in order, for their usual times"):
        road_map = imported(*crossing(DAY.replace("static", "actuated"), *BOTH))
    assert shown(road_map, ":J_0_0") == [("green", 31), ("yellow", 4), ("red", 25)]


def test_programs_survive_the_own_format(tmp_path, imported):
    road_map = imported(*crossing(DAY, *BOTH))
    save(road_map, tmp_path / "town.lanes.json")
    assert load(tmp_path / "town.lanes.json").signals == road_map.signals
