"""What is missing in a file, deleted, emptied or dangling: a map or an error comes of it, and no loss is silent.

The files of each format are small ones made here; `make damage` does the same to real ones.
"""

import json
import sys
from pathlib import Path

import pytest
from argoverse2_files import line, segment, straight
from lanelet2_files import lanelet, member, rule, two_lanes, way
from opendrive_files import crossing, light, reference
from small_maps import CORNERS, commonroad, crosswalk, sumo

from gigaflow_env.roads import RoadMap, load

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import damaged_maps

ROOT = Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "damage.json"


def opendrive() -> str:
    """A junction with lights of a controller, a crosswalk, a limit, a bank."""
    limit = '<type s="0" type="town"><speed max="50" unit="km/h"/></type>'
    lights = "<signals>" + light(71) + light(72) + "</signals>"
    parts = "".join(crossing(reference(71, -1), reference(72, 1), limit, lights))
    more = '<lateralProfile><superelevation s="0" a="0.01" b="0" c="0" d="0"/></lateralProfile>'
    parts = parts.replace("</planView>", "</planView>" + more, 1)
    parts = parts.replace("</road>", crosswalk('type="crosswalk"', CORNERS) + "</road>", 1)
    parts = parts.replace('<junction id="9">', '<junction id="9"><controller id="c1" sequence="1"/>', 1)
    return f'<OpenDRIVE>{parts}<controller id="c1"><control signalId="71"/></controller></OpenDRIVE>'


def network() -> str:
    """Two lanes through a junction with a program of lights."""
    times = (30, "Gr"), (3, "yr"), (20, "rG")
    phases = "".join(f'<phase duration="{seconds}" state="{state}"/>' for seconds, state in times)
    text = sumo(more=f'<tlLogic id="c" type="static" programID="0" offset="5">{phases}</tlLogic>')
    for k in (0, 1):
        text = text.replace(f'via=":c_0_{k}"', f'via=":c_0_{k}" tl="c" linkIndex="{k}"')
    return text


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
    text = two_lanes(stop, sign, lanelet(99, 101, 1))
    return f'<?xml version="1.0"?>\n<osm version="0.6">\n{text}</osm>'


FILES = {
    "test.xodr": opendrive,
    "test.net.xml": network,
    "test.xml": commonroad,
    "log_map_archive_test.json": log_map,
    "test.json": scene,
    "test.osm": osm,
}


@pytest.mark.parametrize("name", FILES)
@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning")
def test_a_damaged_file_is_a_map_or_an_error_and_nothing_is_lost_in_silence(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_text(FILES[name](), encoding="utf-8")
    found = damaged_maps.examined(path, each=1, limit=60.0)
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
    assert any("lost in silence: lanes 6 to 5" in one for one in _wrong(path, silent))


def _wrong(path: Path, read: object) -> list[str]:
    found = damaged_maps.examined(path, 1, 60.0, read)["wrong"]
    assert found
    return found


def test_the_committed_result_has_nothing_wrong() -> None:
    result = json.loads(RESULT.read_text(encoding="utf-8"))
    assert {Path(name).suffix for name in result["maps"]} >= {".xodr", ".xml", ".json"}
    for name, found in result["maps"].items():
        assert found["wrong"] == [] and found["files"] == found["maps"] + found.get("errors", 0), name
