"""The figures of imported maps: of towns made here, and of shared maps, whose committed figures still hold."""

import json
import sys
from pathlib import Path

import pytest
from opendrive_files import crossing, light, reference

from gigaflow_env.roads import shipped

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import maps

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "maps"
RESULT = ROOT / "benchmarks" / "results" / "maps.json"


def test_a_bridge_is_over_the_road_and_lights_are_wired() -> None:
    found = maps.facts(shipped()["highway"])
    assert found["pairs_over_each_other"] > 4 and found["least_clearance_m"] == 6.0
    assert (found["lights_in_file"], found["lights_wired"], found["light_groups"]) == (None, 6, 2)
    assert found["max_link_gap_mm"] == 0.0 and found["largest_component"] == 1.0 and found["left_out"] == []
    flat = maps.facts(shipped()["loop"])
    assert (flat["pairs_over_each_other"], flat["least_clearance_m"]) == (0, None)


def test_lights_of_a_file_that_control_nothing_are_counted(tmp_path: Path) -> None:
    lights = f"<signals>{light(71)}{light(72)}{light(73, kind='1000002')}</signals>"
    path = tmp_path / "test.xodr"
    path.write_text("<OpenDRIVE>" + "".join(crossing(reference(71, -1), first=lights)) + "</OpenDRIVE>", encoding="utf-8")
    found = maps.facts(path)
    assert (found["lights_in_file"], found["lights_wired"]) == (2, 1)


def test_the_command_writes_what_it_says(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    maps.main([str(shipped()["loop"]), "--repeat", "1", "--json", str(tmp_path / "maps.json")])
    result = json.loads((tmp_path / "maps.json").read_text(encoding="utf-8"))
    (name,) = result["maps"]
    assert name == "loop.lanes.json" and name in capsys.readouterr().out
    assert {"import_s", "compile_s", "cached_s", "lane_km"} <= result["maps"][name].keys()


@pytest.mark.parametrize("name", ["carla/Town02.xodr", "carla/Town04.xodr", "esmini/multi_intersections.xodr"])
def test_the_committed_figures_hold(name: str) -> None:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"the shared map {name} is not here")
    committed = json.loads(RESULT.read_text(encoding="utf-8"))["maps"][path.name]
    found = maps.facts(path)
    assert found == {key: committed[key] for key in found}
