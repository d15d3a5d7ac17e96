"""What is missing in a file, deleted, emptied or dangling: a map or an error comes of it, and no loss is silent.

The files of each format are small ones made here; `make damage` does the same to real ones.
"""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from argoverse2_files import line, segment, straight
from lanelet2_files import lanelet, member, row_ways, rule, two_lanes, way
from opendrive_files import crossing, geometry, lane, light, reference, road, section
from recorded import RecordedLane, Scene, example_message, json_bytes, parked, polyline, scenario_message, tfrecord
from small_maps import CORNERS, crosswalk, sumo

from gigaflow_env.roads import RoadMap, load

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import damaged_maps

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def opendrive() -> str:
    """A junction with lights of a controller, a crosswalk, a limit, a bank; a street with all that may be said of a lane."""
    limit = '<type s="0" type="town"><speed max="50" unit="km/h"/></type>'
    lights = "<signals>" + light(71) + light(72) + "</signals>"
    parts = "".join(crossing(reference(71, -1), reference(72, 1), limit, lights))
    more = '<lateralProfile><superelevation s="0" a="0.01" b="0" c="0" d="0"/></lateralProfile>'
    parts = parts.replace("</planView>", "</planView>" + more, 1)
    parts = parts.replace("</road>", crosswalk('type="crosswalk"', CORNERS) + "</road>", 1)
    parts = parts.replace('<junction id="9">', '<junction id="9"><controller id="c1" sequence="1"/>', 1)
    controllers = '<controller id="c1"><control signalId="71"/></controller>'
    return f"<OpenDRIVE>{parts}{street()}{controllers}</OpenDRIVE>"


def street() -> str:
    """A street of left-hand traffic off which a virtual junction leads, and the road that leaves there."""
    profile = '<elevationProfile><elevation s="0" a="0" b="0.005" c="0" d="0"/></elevationProfile>'
    mark = '<roadMark sOffset="0" type="{}" laneChange="{}"/>'
    own = '<speed sOffset="0" max="15" unit="m/s"/>' + mark.format("broken", "both")
    lanes = section(
        0,
        lane(-1, own, (-1, -1)) + lane(-2, '<access sOffset="0" rule="allow" restriction="passengerCar"/>'),
        lane(1, mark.format("solid", "none"), (1, 1), direction="standard") + lane(2, kind="shoulder"),
        mark.format("broken solid", "decrease"),
    )
    lanes += section(
        60,
        lane(-1, '<border sOffset="0" a="-3.5" b="0" c="0" d="0"/>', (-1, None), direction="both"),
        lane(1, "", (1, None)),
    )
    lanes = '<laneOffset s="0" a="0.5" b="0" c="0" d="0"/>' + lanes
    signs = '<signal id="80" s="10" t="3" orientation="+" type="274" dynamic="no" value="30" unit="km/h" country="DE"/>'
    signs = f"<signals>{signs}</signals>"
    shape = '<paramPoly3 aU="0" bU="20" cU="0" dU="0" aV="0" bV="0" cV="5" dV="0" pRange="normalized"/>'
    whole = road(6, 90.0, geometry("<line/>", 0, 0, 500, 0, 90.0), lanes, more=profile + signs, rule="LHT")
    away = '<predecessor elementType="road" elementId="6" elementS="30" elementDir="+"/>'
    branch = geometry(shape, 0, 30, 500.5, 0, 20)
    branch = road(7, 20, branch, section(0, "", lane(1, "", (1, None))), away, junction=10, rule="LHT")
    connection = '<connection id="0" incomingRoad="6" connectingRoad="7"/>'
    return f'{whole}{branch}<junction id="10" type="virtual" mainRoad="6" sStart="20" sEnd="40">{connection}</junction>'


def network() -> str:
    """Two lanes through a junction with a program of lights, with all that may be said of a lane, and a crossing."""
    times = (30, "Gr"), (3, "yr"), (20, "rG")
    phases = "".join(f'<phase duration="{seconds}" state="{state}"/>' for seconds, state in times)
    logic = f'<tlLogic id="c" type="static" programID="0" offset="5">{phases}</tlLogic>'
    shape = '<lane id=":c_c0_0" allow="pedestrian" speed="1" width="4" shape="12,-4 12,8"/>'
    crossing = f'<edge id=":c_c0" function="crossing">{shape}</edge>'
    parking = '<lane id="b_0" allow="bus taxi" width="3" speed="13.9" shape="20,-3.2 30,-3.2"/>'
    text = sumo(extra=parking, to=1, more=logic + crossing).replace('version="1.20"', 'version="1.20" lefthand="false"')
    changes = 'disallow="tram ship" changeLeft="all" changeRight="passenger taxi"'
    text = text.replace('<lane id="a_', f'<lane {changes} id="a_')
    for k in (0, 1):
        text = text.replace(f'via=":c_0_{k}"', f'via=":c_0_{k}" tl="c" linkIndex="{k}"')
    return text


def scenario() -> str:
    """Streets of four lanelets, one for both directions, with a light, a stop line, signs and an intersection."""

    def lanelet(number: int, x: tuple[int, int], y: int, inside: str, kind: str = "urban") -> str:
        bounds = ""
        for side, at in (("left", y + 4), ("right", y)):
            points = "".join(f"<point><x>{place}</x><y>{at}</y></point>" for place in x)
            bounds += f"<{side}Bound>{points}<lineMarking>dashed</lineMarking></{side}Bound>"
        return f'<lanelet id="{number}">{bounds}<laneletType>{kind}</laneletType>{inside}</lanelet>'

    def beside(side: str, number: int, way: str = "same") -> str:
        return f'<adjacent{side} ref="{number}" drivingDir="{way}"/>'

    stop = '<stopLine><point><x>49</x><y>0</y></point><point><x>49</x><y>4</y></point><trafficLightRef ref="80"/></stopLine>'
    sign = "<trafficSignElement><trafficSignID>{}</trafficSignID><additionalValue>20</additionalValue></trafficSignElement>"
    cycle = "".join(
        f"<cycleElement><duration>{n}</duration><color>{c}</color></cycleElement>" for n, c in ((9, "red"), (9, "green"))
    )
    parts = (
        lanelet(1, (0, 50), 0, f'<successor ref="2"/>{beside("Left", 3)}{stop}<trafficSignRef ref="71"/>'),
        lanelet(2, (50, 90), 0, f'<predecessor ref="1"/>{beside("Left", 4)}<userOneWay>vehicle</userOneWay>'),
        lanelet(3, (0, 50), 4, f'<successor ref="4"/>{beside("Right", 1)}<speedLimit>9</speedLimit>', "country"),
        lanelet(4, (50, 90), 4, f'<predecessor ref="3"/>{beside("Right", 2)}'),
        lanelet(5, (0, 50), -60, "<userBidirectional>vehicle</userBidirectional>"),
        lanelet(6, (0, 50), 20, "", "sidewalk") + lanelet(7, (0, 50), 30, "", "busLane"),
        f'<trafficSign id="71">{sign.format(274)}</trafficSign>',
        f'<trafficLight id="80"><cycle>{cycle}<timeOffset>3</timeOffset></cycle><active>true</active></trafficLight>',
        '<intersection id="60"><incoming id="61"><incomingLanelet ref="1"/><successorsStraight ref="2"/></incoming>'
        "</intersection>",
    )  # fmt: skip
    head = '<commonRoad commonRoadVersion="2020a" benchmarkID="ZAM_Hand-1_1_T-1" timeStepSize="0.1">'
    return head + "".join(parts) + "</commonRoad>"


def scene() -> str:
    points = [[{"x": float(x), "y": y, "z": 0.0} for x in range(0, 60, 2)] for y in (1.75, 0.0)]
    roads = [
        {"id": k, "map_element_id": 2, "type": kind, "geometry": given}
        for k, (kind, given) in enumerate(zip(("lane", "road_edge"), points, strict=True))
    ]
    return json.dumps({"name": "hand", "objects": [], "roads": roads})


def log_map() -> str:
    ahead, behind = straight(0, 30, successors=["b"], left_neighbor_id="c"), straight(30, 30, predecessors=["a"])
    beside = segment(line((0, 6), (30, 6)), line((0, 2), (30, 2)), right_neighbor_id="a")
    zebra = {"7": {"edge1": line((10, -3), (10, 7)), "edge2": line((13, -3), (13, 7))}}
    return json.dumps({"lane_segments": {"a": ahead, "b": behind, "c": beside}, "pedestrian_crossings": zebra})


def osm() -> str:
    stop = way(500, 20, 21, type="stop_line")
    sign = rule(600, "right_of_way", member("way", 500, "ref_line"), member("relation", 91, "yield"))
    post = way(510, 30, 31, type="traffic_sign", subtype="de274-30")
    limit = rule(601, "speed_limit", member("way", 510, "refers"))
    bulbs = way(520, 31, 32, type="traffic_light", subtype="red_yellow_green")
    light = rule(602, "traffic_light", member("way", 520, "refers"), member("way", 500, "ref_line"))
    more = {"one_way": "no", "speed_limit": "40 km/h", "location": "nonurban"}
    two_ways = lanelet(97, 203, 103, 601, **more, **{"participant:vehicle": "yes"})
    walk = lanelet(98, 202, 102, subtype="walkway", **{"participant:pedestrian": "yes"})
    middle = row_ways(3, type="line_thin", subtype="solid_dashed", lane_change="yes")
    others = middle + lanelet(99, 101, 1) + lanelet(100, 301, 201, 602, 601) + lanelet(101, 302, 202)
    text = two_lanes(stop, sign, post, limit, bulbs, light, two_ways, walk, others)
    text = text.replace(lanelet(91, 101, 1), lanelet(91, 101, 1, 600))
    return f'<?xml version="1.0"?>\n<osm version="0.6">\n{text}</osm>'


def recording() -> Scene:
    """Lanes side by side that lead on, with all that a scene may have: lines, a crosswalk, a stop sign, lights, tracks."""
    lanes = {
        1: RecordedLane(polyline((0, 0), (20, 0), step=1.0), exits=(2,), left=(3,)),
        2: RecordedLane(polyline((20, 0), (40, 0), step=1.0), mph=45.0),
        3: RecordedLane(polyline((0, 3.5), (20, 3.5), step=1.0), kind=1, exits=(4,), right=(1,)),
        4: RecordedLane(polyline((20, 3.5), (40, 3.5), step=1.0)),
    }
    lines = [(6, polyline((0, 1.75), (40, 1.75), step=1.0)), (15, polyline((0, 5.25), (40, 5.25), step=1.0))]
    corners = np.array([[18.0, -2, 0], [19, -2, 0], [19, 6, 0], [18, 6, 0]])
    tracks, valid = parked(3, 11) + 1e-3, np.ones((3, 11), bool)
    tracks[..., 5:] += 0.25
    valid[2, 6:] = False
    return Scene(
        lanes, lines, [corners], [((4,), np.array([20.0, 7.0, 0]))], {2: (np.array([20.0, 0, 0]), [4] * 5 + [6] * 6)},
        tracks, valid, (1, 2, 3), 1, (0, 2),
    )  # fmt: skip


FILES = {
    "test.xodr": opendrive,
    "test.net.xml": network,
    "test.xml": scenario,
    "log_map_archive_test.json": log_map,
    "test.json": scene,
    "test.osm": osm,
    "scenario.tfrecord": lambda: tfrecord(scenario_message(recording())),
    "example.tfrecord": lambda: tfrecord(example_message(recording())),
    "gpudrive.json": lambda: json_bytes(recording()),
}


def slow(*given: object) -> object:
    return pytest.param(*given, marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "each"), [(name, 1) for name in FILES] + [slow(name, 3) for name in FILES])
@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning")
def test_a_damaged_file_is_a_map_or_an_error_and_nothing_is_lost_in_silence(tmp_path: Path, name: str, each: int) -> None:
    path = tmp_path / name
    made = FILES[name]()
    path.write_bytes(made if isinstance(made, bytes) else made.encode())
    found = damaged_maps.examined(path, each, limit=60.0)
    assert found["wrong"] == []
    assert found["files"] >= 30 and found["maps"] > found["files"] / 3
    assert found["maps with a warning"] > 0 or name == "test.json"  # of a scene with one lane an error is left
    assert found["files"] == found["maps"] + found.get("errors", 0)


def test_a_reader_that_fails_or_keeps_silent_is_found(tmp_path: Path) -> None:
    path = tmp_path / "test.net.xml"
    path.write_text(network())

    def fails(given: Path) -> RoadMap:
        if 'shape=""' in given.read_text():
            raise IndexError("list index out of range")
        return load(given)

    def silent(given: Path) -> RoadMap:
        road_map = load(given)
        return RoadMap(road_map.name, road_map.lanes, road_map.signals)

    assert all(one.endswith("shape empty: IndexError: list index out of range") for one in _wrong(path, fails))
    assert any("lost in silence: lanes 7 to 6" in one for one in _wrong(path, silent))


def _wrong(path: Path, read: object) -> list[str]:
    found = damaged_maps.examined(path, 1, 60.0, read)["wrong"]
    assert found
    return found


@pytest.mark.parametrize(
    ("file", "kinds"), [("damage.json", {".xodr", ".xml", ".json"}), ("damage_sampled.json", {".tfrecord", ".xodr", ".osm"})]
)
def test_the_committed_results_have_nothing_wrong(file: str, kinds: set[str]) -> None:
    result = json.loads((RESULTS / file).read_text(encoding="utf-8"))
    assert {Path(name).suffix for name in result["maps"]} >= kinds
    assert result["commit"] and all(name in result["command"] for name in result["maps"])
    for name, found in result["maps"].items():
        assert found["wrong"] == [] and found["files"] == found["maps"] + found.get("errors", 0), name
