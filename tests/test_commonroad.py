"""CommonRoad files with answers on paper, bad ones, and the shared scenarios."""

import math
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from importing import damaged, drive, survives

from gigaflow_env.roads import MapError, MapWarning, RoadMap, load, load_scenario, summary
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.scenario import LIGHT_STATES, Scenario, validate_scenario

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps" / "commonroad"


def point(x: float, y: float) -> str:
    return f"<point><x>{x}</x><y>{y}</y></point>\n"


def lanelet(number: int, x: tuple[float, float], y: float, inside: str = "", left: str = "", right: str = "") -> str:
    """A lanelet along x, 4 m wide, whose right bound lies at y; `left` and `right` are line markings."""
    bounds = ""
    for tag, side, mark in (("leftBound", y + 4, left), ("rightBound", y, right)):
        marking = f"<lineMarking>{mark}</lineMarking>" if mark else ""
        bounds += f"<{tag}>{point(x[0], side)}{point(x[1], side)}{marking}</{tag}>"
    return f'<lanelet id="{number}">{bounds}{inside}</lanelet>\n'


def refs(**given: int | tuple[int, ...]) -> str:
    """Elements with references; `left` and `right` are neighbours of the same direction."""
    text = ""
    for tag, numbers in given.items():
        for number in numbers if isinstance(numbers, tuple) else (numbers,):
            beside = {"left": "adjacentLeft", "right": "adjacentRight"}.get(tag)
            text += f'<{beside} ref="{number}" drivingDir="same"/>' if beside else f'<{tag} ref="{number}"/>'
    return text


def two_lanes(first: str = "", second: str = "", mark: str = "", more: str = "") -> str:
    """Lanelets 1 and 2 in a row, with 3 and 4 to the left of them."""
    return (
        lanelet(1, (0, 50), 0, refs(successor=2, left=3) + first, left=mark)
        + lanelet(2, (50, 90), 0, refs(predecessor=1, left=4) + second)
        + lanelet(3, (0, 50), 4, refs(successor=4, right=1), right=mark)
        + lanelet(4, (50, 90), 4, refs(predecessor=3, right=2))
        + more
    )


def exact(tag: str, number: float) -> str:
    return f"<{tag}><exact>{number}</exact></{tag}>"


def state(time: int, x: float, y: float = 2.0, heading: float = 0.0, speed: float = 10.0, tag: str = "state") -> str:
    parts = exact("orientation", heading) + exact("time", time) + exact("velocity", speed)
    return f"<{tag}><position>{point(x, y)}</position>{parts}</{tag}>\n"


CAR = "<shape><rectangle><length>4.5</length><width>2.0</width></rectangle></shape>"


def dynamic(number: int, *states: str, kind: str = "car", shape: str = CAR) -> str:
    first = states[0].replace("<state>", "<initialState>").replace("</state>", "</initialState>")
    trajectory = f"<trajectory>{''.join(states[1:])}</trajectory>"
    return f'<dynamicObstacle id="{number}"><type>{kind}</type>{shape}{first}{trajectory}</dynamicObstacle>\n'


def static(number: int, x: float, shape: str = CAR) -> str:
    place = state(0, x, tag="initialState")
    return f'<staticObstacle id="{number}"><type>parkedVehicle</type>{shape}{place}</staticObstacle>\n'


def wrapped(text: str, version: str = "2020a") -> str:
    head = f'<commonRoad timeStepSize="0.1" commonRoadVersion="{version}" benchmarkID="XYZ-1" author="A" source="B">'
    return f'<?xml version="1.0"?>\n{head}\n{text}</commonRoad>\n'


@pytest.fixture
def imported(tmp_path):
    def of(text: str, version: str = "2020a", *, strict: bool = False) -> RoadMap:
        (tmp_path / "test.xml").write_text(wrapped(text, version), encoding="utf-8")
        return load(tmp_path / "test.xml", strict=strict)

    return of


@pytest.fixture
def recorded(tmp_path):
    def of(text: str, version: str = "2020a") -> Scenario:
        (tmp_path / "test.xml").write_text(wrapped(text, version), encoding="utf-8")
        return load_scenario(tmp_path / "test.xml", strict=True)

    return of


# Lanes


def test_lanes_links_and_neighbours(imported):
    road_map = imported(two_lanes())
    np.testing.assert_allclose(road_map.lanes["1"].line, [[0, 2, 0, 0, 4], [50, 2, 0, 0, 4]], atol=1e-9)
    assert {name: lane.successors for name, lane in road_map.lanes.items()} == {"1": ("2",), "2": (), "3": ("4",), "4": ()}
    assert (road_map.lanes["1"].left, road_map.lanes["4"].right, road_map.lanes["1"].right) == ("3", "2", None)
    assert summary(road_map)["max_link_gap_m"] == 0.0
    assert (road_map.name, road_map.source) == ("test", "CommonRoad file test.xml, by A (B)")


@pytest.mark.parametrize(
    ("mark", "allowed"), [("dashed", True), ("broad_dashed", True), ("solid", False), ("broad_solid", False)]
)
def test_line_markings_permit_lane_changes(imported, mark, allowed):
    lanes = imported(two_lanes(mark=mark)).lanes
    assert (lanes["1"].left, lanes["3"].right) == (("3", "1") if allowed else (None, None))
    assert lanes["2"].left == "4"


def test_neighbours_must_agree_and_drive_the_same_way(imported):
    text = lanelet(1, (0, 50), 0, refs(left=2)) + lanelet(2, (0, 50), 4)
    assert imported(text).lanes["1"].left is None
    opposite = '<adjacent{} ref="{}" drivingDir="opposite"/>'
    text = lanelet(1, (0, 50), 0, opposite.format("Left", 2)) + lanelet(2, (0, 50), 4, opposite.format("Right", 1))
    assert imported(text).lanes["1"].left is None


@pytest.mark.parametrize(("side", "left_hand"), [("Left", False), ("Right", True)])
def test_opposite_lanes_show_on_which_side_traffic_keeps(imported, side, left_hand):
    beside = f'<adjacent{side} ref="2" drivingDir="opposite"/>'
    assert imported(lanelet(1, (0, 50), 0, beside) + lanelet(2, (0, 50), 4)).left_hand == left_hand


def test_small_gaps_are_closed_and_large_ones_are_no_links(imported):
    text = lanelet(1, (0, 49.8), 0, refs(successor=(2, 3))) + lanelet(2, (50, 90), 0.1) + lanelet(3, (57, 90), 0)
    with pytest.warns(UserWarning, match=r"test\.xml: imported with 1 link \(up to 7\.2 m\).* 1 to 3 .*left out"):
        road_map = imported(text)
    assert road_map.lanes["1"].successors == ("2",)
    assert summary(road_map)["max_link_gap_m"] <= 1e-9
    np.testing.assert_allclose(road_map.lanes["2"].line[0, :2], [49.9, 2.05])
    np.testing.assert_allclose(road_map.lanes["2"].line[-1, :2], [90, 2.1])


def test_a_decimal_comma_is_read_and_told(imported):
    with pytest.warns(MapWarning, match="<x>='50,5' has a decimal comma: 50.5 taken"):
        road_map = imported(two_lanes().replace("<x>50</x>", "<x>50,5</x>"))
    assert road_map.report
    with pytest.raises(MapError, match="has a decimal comma"):
        imported(two_lanes().replace("<x>50</x>", "<x>50,5</x>"), strict=True)


def test_a_lane_for_both_directions_is_two(imported):
    both = "<userBidirectional>vehicle</userBidirectional>"
    lanes = imported(lanelet(1, (0, 50), 0, both + refs(successor=2)) + lanelet(2, (50, 90), 0, both)).lanes
    assert [lanes[name].successors for name in ("1", "1.back", "2", "2.back")] == [("2",), (), (), ("1.back",)]
    np.testing.assert_allclose(lanes["2.back"].line[:, :2], [[90, 2], [50, 2]], atol=1e-9)


@pytest.mark.parametrize(
    ("given", "kind", "speed"),
    [
        ("urban", "driving", 13.9),
        ("interstate", "driving", 36.1),
        ("country", "driving", 27.8),
        ("shoulder", "shoulder", 13.9),
        ("parking", "parking", 13.9),
        ("bicycleLane", "biking", 13.9),
        ("sidewalk", None, None),
        ("crosswalk", None, None),
    ],
)
def test_types_of_lanelets(imported, given, kind, speed):
    extra = lanelet(9, (0, 50), 8, f"<laneletType>{given}</laneletType>" + refs(right=3))
    road_map = imported(two_lanes(more=extra))
    if kind is None:
        assert "9" not in road_map.lanes
    else:
        assert (road_map.lanes["9"].kind, road_map.lanes["9"].speed) == (kind, speed)
    assert (len(road_map.crosswalks), road_map.lanes["3"].left) == (given == "crosswalk", None)


def sign(number: int, code: str, *values: float) -> str:
    inside = f"<trafficSignID>{code}</trafficSignID>" + "".join(f"<additionalValue>{v}</additionalValue>" for v in values)
    return f'<trafficSign id="{number}"><trafficSignElement>{inside}</trafficSignElement></trafficSign>\n'


def test_speed_limits(imported):
    first = "<speedLimit>7.5</speedLimit>"
    lanes = imported(two_lanes(first, refs(trafficSignRef=71), more=sign(71, "274", 20.0))).lanes
    assert [lanes[name].speed for name in "123"] == [7.5, 20.0, 13.9]
    assert imported(two_lanes("<speedLimit>inf</speedLimit>"), "2018b").lanes["1"].speed == 13.9


# Signals


def light(number: int, *cycle: tuple[str, int], offset: int = 0, active: str = "true") -> str:
    parts = "".join(f"<cycleElement><duration>{n}</duration><color>{c}</color></cycleElement>" for c, n in cycle)
    program = f"<cycle>{parts}<timeOffset>{offset}</timeOffset></cycle>" if cycle else ""
    return f'<trafficLight id="{number}">{program}<active>{active}</active></trafficLight>\n'


def obeyed(road_map: RoadMap) -> dict[str, tuple[str, str]]:
    lanes = road_map.lanes.values()
    return {lane.id: (lane.signal, road_map.signals[lane.signal].kind) for lane in lanes if lane.signal}


@pytest.mark.parametrize(
    ("codes", "kind"),
    [(("206",), "stop"), (("205",), "yield"), (("R1-1", "205"), "stop"), (("R1-2",), "yield"), (("301",), None)],
)
def test_signs_at_the_end_of_a_lanelet_control_what_follows(imported, codes, kind):
    signs = "".join(sign(70 + k, code) for k, code in enumerate(codes))
    found = imported(two_lanes(refs(trafficSignRef=tuple(70 + k for k in range(len(codes)))), more=signs))
    assert obeyed(found) == ({"2": ("70", kind)} if kind else {})


@pytest.mark.parametrize(("x", "controlled"), [(49.0, "2"), (30.0, "2"), (3.0, "1"), (None, "2")])
def test_a_stop_line_moves_to_the_nearer_end(imported, x, controlled):
    ends = "" if x is None else point(x, 0) + point(x, 4)
    stop = f"<stopLine>{ends}<lineMarking>solid</lineMarking>{refs(trafficLightRef=80)}</stopLine>"
    assert obeyed(imported(two_lanes(stop, more=light(80)))) == {controlled: ("80", "light")}


def test_intersections_name_junctions_and_group_lights(imported):
    incoming = f'<incoming id="61"><incomingLanelet ref="1"/>{refs(successorsStraight=2)}</incoming>'
    first = refs(trafficLightRef=80, trafficSignRef=70)
    more = sign(70, "206") + light(80) + f'<intersection id="60">{incoming}</intersection>'
    road_map = imported(two_lanes(first, more=more))
    assert [lane.junction for lane in road_map.lanes.values()] == [None, "60", None, None]
    assert obeyed(road_map) == {"2": ("80", "light")}
    assert road_map.signals["80"].group == "60"


def test_without_intersections_junctions_are_where_lanes_overlap(imported):
    bounds = [point(70, -20) + point(70, 30), point(74, -20) + point(74, 30)]
    across = f'<lanelet id="9"><leftBound>{bounds[0]}</leftBound><rightBound>{bounds[1]}</rightBound></lanelet>'
    lanes = imported(two_lanes(more=across)).lanes
    assert {name for name, lane in lanes.items() if lane.junction} == {"2", "4", "9"}


def test_a_cycle_becomes_the_program_of_its_light(imported):
    """Steps of 0.1 s; an offset of 30 steps delays a cycle of 10 s, so that it is at 7 s when the world begins."""
    cycle = light(80, ("red", 40), ("redYellow", 10), ("green", 30), ("yellow", 20), offset=30)
    (signal,) = imported(two_lanes(refs(trafficLightRef=80), more=cycle)).signals.values()
    assert signal.program is not None and signal.program.offset == pytest.approx(7.0)
    found = [(phase.colour, pytest.approx(phase.seconds)) for phase in signal.program.phases]
    assert found == [("red", 4.0), ("red", 1.0), ("green", 3.0), ("yellow", 2.0)]
    (dark,) = imported(two_lanes(refs(trafficLightRef=80), more=light(80, ("red", 1), active="false"))).signals.values()
    assert [tuple(phase) for phase in dark.program.phases] == [("off", 1.0)]
    (none,) = imported(two_lanes(refs(trafficLightRef=80), more=light(80))).signals.values()
    assert none.program is None
    with pytest.warns(MapWarning, match="'pink' for 5.0 steps"):
        (odd,) = imported(two_lanes(refs(trafficLightRef=80), more=light(80, ("pink", 5)))).signals.values()
    assert odd.program is None


# Recorded traffic


def test_tracks(recorded):
    moving = dynamic(11, state(0, 5.0), state(1, 6.0), state(3, 8.0, heading=math.pi / 2))
    shape = "<shape><circle><radius>0.4</radius></circle></shape>"
    walker = dynamic(12, state(1, 2.0, speed=1.0), kind="pedestrian", shape=shape)
    scenario = recorded(two_lanes(more=moving + walker + static(13, 30.0)))
    validate_scenario(scenario)
    assert (scenario.name, scenario.dt, scenario.source) == ("XYZ-1", 0.1, "CommonRoad file test.xml")
    assert scenario.ids == ("11", "12", "13")
    assert scenario.kinds == ("vehicle", "pedestrian", "vehicle")
    np.testing.assert_array_equal(scenario.valid, [[1, 1, 0, 1], [0, 1, 0, 0], [1, 1, 1, 1]])
    np.testing.assert_array_equal(scenario.x, [[5, 6, np.nan, 8], [np.nan, 2, np.nan, np.nan], [30, 30, 30, 30]])
    np.testing.assert_allclose(scenario.velocity_x[0, [0, 1, 3]], [10, 10, 0], atol=1e-12)
    np.testing.assert_allclose(scenario.velocity_y[0, [0, 1, 3]], [0, 0, 10], atol=1e-12)
    assert (scenario.length[0, 0], scenario.width[0, 0], scenario.length[1, 1], scenario.width[1, 1]) == (4.5, 2.0, 0.8, 0.8)
    assert (scenario.ego, scenario.predict) == (None, ())


def test_uncertain_states_of_2018b_count_with_their_middle(recorded):
    region = "<rectangle><length>2</length><width>1</width><center><x>7</x><y>1</y></center></rectangle>"
    interval = "<{0}><intervalStart>{1}</intervalStart><intervalEnd>{2}</intervalEnd></{0}>"
    parts = exact("time", 0) + interval.format("orientation", -0.1, 0.3) + interval.format("velocity", 8, 12)
    first = f"<initialState><position>{region}</position>{parts}</initialState>"
    text = f'<obstacle id="5"><role>dynamic</role><type>bicycle</type>{CAR}{first}</obstacle>'
    scenario = recorded(two_lanes(more=text), "2018b")
    assert (scenario.x[0, 0], scenario.y[0, 0], scenario.kinds) == (7.0, 1.0, ("cyclist",))
    assert scenario.heading[0, 0] == pytest.approx(0.1)
    assert math.hypot(scenario.velocity_x[0, 0], scenario.velocity_y[0, 0]) == pytest.approx(10.0)


def test_lights_follow_their_cycles(recorded):
    lights = light(80, ("green", 2), ("yellow", 1), ("red", 2), offset=1) + light(81) + light(82, ("red", 1), active="false")
    scenario = recorded(two_lanes(more=lights + dynamic(11, state(0, 5.0), state(6, 9.0))))
    names = {key: [LIGHT_STATES[k] for k in states] for key, states in scenario.lights.items()}
    assert names["80"] == ["red", "green", "green", "yellow", "red", "red", "green"]
    assert names["81"] == ["unknown"] * 7 and names["82"] == ["off"] * 7


# Bad files

BROKEN = dynamic(11, state(0, 5.0), state(1, 6.0))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "map 'test' has no driving lane"),
        (two_lanes(refs(successor=77)), r"line 7: <successor>: ref='77': there is no such lanelet"),
        (two_lanes(refs(trafficLightRef=77)), r"<trafficLightRef>: ref='77': there is no such traffic light"),
        (two_lanes(more=lanelet(1, (0, 5), 50)), r"<lanelet>: id '1' is used twice"),
        (two_lanes("<speedLimit>-3</speedLimit>"), r"<lanelet>: speedLimit=-3\.0 m/s must be above 0"),
        (two_lanes().replace("<x>50</x>", "<x>nan</x>", 1), r"<x>: 'nan' is not a finite number"),
        (two_lanes().replace("<x>50</x>", "<x>-1e9</x>", 1), r"<x>: -1000000000\.0 m is no place on a map"),
        (two_lanes().replace("<x>50</x>", "", 1), r"<point>: <x> is missing"),
        (two_lanes().replace("leftBound", "upperBound"), r"line 3: <lanelet>: <leftBound> is missing"),
        (two_lanes().replace(point(50, 4), "", 1), r"<leftBound>: it has 1 points, at least 2 are needed"),
    ],
)
def test_a_bad_map_is_refused_with_line_and_element(imported, text, message):
    with pytest.raises(MapError, match=rf"test\.xml: .*{message}"):
        imported(text, strict=True)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file has no recorded traffic"),
        (BROKEN.replace("<exact>1</exact>", "<exact>0</exact>"), r"<state>: time 0 does not come after 0"),
        (BROKEN.replace("<exact>1</exact>", "<exact>1e15</exact>"), r"1 obstacles with 1000000000000001 steps: at most"),
        (BROKEN.replace("<exact>1</exact>", "<exact>0.5</exact>"), r"<time>: 0\.5 is no time step"),
        (BROKEN.replace("<length>4.5<", "<length>0<"), r"<rectangle>: length 0\.0 and width 2\.0 m must be above 0"),
        (BROKEN.replace("rectangle", "star"), r"<shape>: it must be one rectangle, circle or polygon"),
        (BROKEN.replace("point", "line"), r"<position>: it must be a point, rectangle"),
        (light(80, ("purple", 3)) + BROKEN, r"<cycleElement>: 'purple' for 3\.0 steps: a light is green, yellow"),
        (light(80, ("red", 0)) + BROKEN, r"<cycleElement>: 'red' for 0\.0 steps"),
    ],
)
def test_bad_traffic_is_refused_with_line_and_element(recorded, text, message):
    with pytest.raises(MapError, match=rf"test\.xml: .*{message}"):
        recorded(two_lanes(more=text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<net/>", r"(.* has no driving lane|no recorded traffic)"),
        ('<commonRoad commonRoadVersion="2017a"/>', r"commonRoadVersion='2017a' is neither '2018b' nor '2020a'"),
        ("<commonRoad/>", r"commonRoadVersion=None is neither '2018b' nor '2020a'"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message):
    path = tmp_path / "other.xml"
    path.write_text(text)
    for read in (load, load_scenario):
        with pytest.raises(MapError, match=rf"other\.xml: .*{message}"):
            read(path, strict=True)


def full() -> bytes:
    """A file with everything in it."""
    incoming = f'<incoming id="61"><incomingLanelet ref="1"/>{refs(successorsStraight=2)}</incoming>'
    more = sign(70, "206") + light(80, ("red", 3), ("green", 2)) + f'<intersection id="60">{incoming}</intersection>\n'
    first = refs(trafficLightRef=80, trafficSignRef=70)
    return wrapped(two_lanes(first, mark="dashed", more=more + BROKEN + static(13, 30.0))).encode()


@pytest.mark.slow
def test_damaged_files_give_a_map_or_an_error(tmp_path):
    maps, errors = survives(load, tmp_path / "bad.xml", damaged(full(), 60))
    assert maps > 60 and errors > 60


def test_damaged_files_give_a_scenario_or_an_error(tmp_path):
    path, kept = tmp_path / "bad.xml", 0
    for data in damaged(full(), 60):
        path.write_bytes(data)
        try:
            validate_scenario(load_scenario(path, strict=True))
            kept += 1
        except MapError as error:
            assert str(path) in str(error), error
    assert 60 < kept < 340


def test_a_bound_of_many_vertices(tmp_path):
    bound = point(0, 4) * 50_000 + point(50, 4)
    data = wrapped(two_lanes()).replace(point(0, 4) + point(50, 4), bound, 1).encode()
    assert survives(load, tmp_path / "long.xml", iter([data])) == (1, 0)


def test_a_bound_of_a_million_vertices_is_refused_quickly(tmp_path):
    path = tmp_path / "long.xml"
    path.write_text(wrapped(two_lanes()).replace(point(0, 4), point(0, 4) * 1_000_000, 1))
    began = time.process_time()
    with pytest.raises(MapError, match=r"long\.xml: .*it has 1000001 points, at most 100000"):
        load(path, strict=True)
    assert time.process_time() - began < 30.0


# The shared scenarios


def shared(name: str) -> Path:
    path = SHARED / f"{name}.xml"
    if not path.is_file():
        pytest.skip(f"the shared scenario {name} is not here")
    return path


@pytest.mark.parametrize(
    ("name", "lane_km", "lanes", "links", "warned"),
    # On the A9 lanes part and merge as neighbours, 3.5 m apart at one end and in one place at the other.
    [("DEU_A9-3_1_T-1", 10.95, 32, 27, 4), ("ZAM_Tutorial-1_2_T-1", 0.597, 3, 0, 0)],
)
@pytest.mark.filterwarnings("ignore:map .* lane changes are left out:UserWarning")
def test_shared_maps(recwarn, name, lane_km, lanes, links, warned):
    road_map = load(shared(name))
    found = summary(road_map)
    assert found["lane_km"] == pytest.approx(lane_km, rel=0.002)
    assert (found["lanes"], found["links"]) == (lanes, links)
    assert found["max_link_gap_m"] <= 1e-6
    compile_roads(road_map, cache=False)
    assert [str(w.message).split(":")[1].split()[0] for w in recwarn] == [str(warned)] * bool(warned)
    drive(road_map)


@pytest.mark.parametrize(
    ("name", "dt", "agents", "steps", "seen"),
    [("DEU_A9-3_1_T-1", 0.2, 9, 31, 238), ("ZAM_Tutorial-1_2_T-1", 0.1, 3, 41, 123)],
)
def test_shared_traffic_drives_on_its_lanes(name, dt, agents, steps, seen):
    scenario, road_map = load_scenario(shared(name)), load(shared(name))
    assert (scenario.dt, scenario.agents, scenario.steps, scenario.valid.sum()) == (dt, agents, steps, seen)
    low_x, low_y, high_x, high_y = summary(road_map)["bounds"]
    on = scenario.valid
    places = np.column_stack([scenario.x[on], scenario.y[on]])
    assert ((places > [low_x, low_y]) & (places < [high_x, high_y])).all()
    moved = np.diff(scenario.x, axis=1) / scenario.dt
    along = (scenario.velocity_x[:, 1:] + scenario.velocity_x[:, :-1]) / 2
    assert np.nanmedian(np.abs(moved - along)) < 1.0


@pytest.mark.parametrize(
    ("mark", "may", "told"),
    [
        ("", True, False), ("dashed", True, False), ("broad_dashed", True, False), ("unknown", True, False),
        ("no_marking", True, False), ("solid", False, False), ("dashed_solid", False, False), ("curb", False, False),
        ("lowered_curb", False, False), ("zigzag", False, True),
    ],
)  # fmt: skip
def test_marks_say_where_lanes_may_be_changed(tmp_path, mark, may, told):
    path = tmp_path / "test.xml"
    path.write_text(wrapped(two_lanes(mark=mark)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MapWarning)
        road_map = load(path)
    assert (road_map.lanes["1"].left, road_map.lanes["3"].right) == (("3", "1") if may else (None, None))
    assert any(entry.kind == "mark" for entry in road_map.report) == told
