"""Signs are known by the catalogues of their countries, in every format that has signs."""

import warnings
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lanelet2_files import lanelet, member, rule, two_lanes, way
from opendrive_files import crossing

from gigaflow_env.roads import MapWarning, RoadMap, load
from gigaflow_env.roads.formats.common.sign_catalogues import ENDS, LIMITS, NAMES, STOPS, YIELDS, country, is_one

CATALOGUES = LIMITS, ENDS, STOPS, YIELDS


def read(path: Path, text: str) -> RoadMap:
    path.write_text(text)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MapWarning)
        return load(path)


def kinds(road_map: RoadMap) -> list[str]:
    return sorted(signal.kind for signal in road_map.signals.values())


@given(st.sampled_from(sorted(LIMITS)), st.sampled_from(CATALOGUES))
def test_a_sign_of_a_country_is_in_its_own_catalogue_and_in_one_only(of, catalogues):
    for kind in catalogues.get(of, ()):
        assert [is_one(kind.upper(), of, other) for other in CATALOGUES] == [other is catalogues for other in CATALOGUES]


@given(st.sampled_from(sorted(NAMES.items())))
def test_a_country_has_several_names(names):
    name, letters = names
    assert country(f" {name.lower()} ") == country(letters) == letters


def test_an_unknown_country_has_the_signs_that_all_know():
    assert country("Zamunda") == "" and is_one("206", "", STOPS)
    assert is_one("206", "US", STOPS) and not is_one("206", "NO", STOPS)  # a priority road in Norway


@pytest.mark.parametrize(
    ("kind", "of", "found"),
    [
        ("206", "", ["stop"]), ("205", "OpenDRIVE", ["yield"]), ("R1-1", "US", ["stop"]), ("r1-2", "usa", ["yield"]),
        ("601.1", "GB", ["stop"]), ("AB4", "FRA", ["stop"]), ("B1", "SE", ["yield"]), ("R1-1", "", ["stop"]),
        ("206", "NO", []), ("B1", "", []), ("-1", "", []),
    ],
)  # fmt: skip
def test_stop_and_yield_signs_of_opendrive(tmp_path, kind, of, found):
    sign = f'<signals><signal id="5" s="48" t="-4" orientation="+" type="{kind}" country="{of}" dynamic="no"/></signals>'
    road_map = read(tmp_path / "test.xodr", f"<OpenDRIVE>{''.join(crossing(first=sign))}</OpenDRIVE>")
    assert kinds(road_map) == found
    assert sum(lane.signal is not None for lane in road_map.lanes.values()) == 2 * len(found)


@pytest.mark.parametrize(
    ("sign", "found"), [("usR1-1", ["stop"]), ("de206", ["stop"]), ("frAB4", ["stop"]), ("chB1", []), ("seB1", ["yield"])]
)
def test_stop_and_yield_signs_of_lanelet2(tmp_path, sign, found):
    post = way(510, 30, 31, type="traffic_sign", subtype=sign)
    text = two_lanes(post, rule(600, "traffic_sign", member("way", 510, "refers")))
    text = text.replace(lanelet(91, 101, 1), lanelet(91, 101, 1, 600))
    assert kinds(read(tmp_path / "test.osm", f'<osm version="0.6">{text}</osm>')) == found


@pytest.mark.parametrize(
    ("benchmark", "sign", "found", "speed"),
    [
        ("ESP_Almansa-1_1_T-1", "r2", ["stop"], 13.9), ("ESP_Almansa-1_1_T-1", "r1", ["yield"], 13.9),
        ("ESP_Almansa-1_1_T-1", "r301", [], 7.0), ("C-ESP_Almansa-1_1_T-1", "r301", [], 7.0),
        ("DEU_A-1_1_T-1", "274.1", [], 7.0),
        ("USA_US101-1_1_T-1", "R2-1", [], 7.0), ("ZAM_Hand-1_1_T-1", "206", ["stop"], 13.9),
        ("DEU_A-1_1_T-1", "r301", [], 13.9), ("FRA_A-1_1_T-1", "274", [], 7.0),
    ],
)  # fmt: skip
def test_signs_of_commonroad_are_those_of_the_scenarios_country(tmp_path, benchmark, sign, found, speed):
    def one(number: int, x: int, inside: str) -> str:
        points = ["".join(f"<point><x>{at}</x><y>{y}</y></point>" for at in (x, x + 50)) for y in (3.5, 0)]
        bounds = f"<leftBound>{points[0]}</leftBound><rightBound>{points[1]}</rightBound>"
        return f'<lanelet id="{number}">{bounds}{inside}</lanelet>'

    lanelets = one(1, 0, '<successor ref="2"/><trafficSignRef ref="7"/>') + one(2, 50, '<predecessor ref="1"/>')
    element = f"<trafficSignID>{sign}</trafficSignID><additionalValue>7</additionalValue>"
    post = f'<trafficSign id="7"><trafficSignElement>{element}</trafficSignElement></trafficSign>'
    head = f'<commonRoad commonRoadVersion="2020a" benchmarkID="{benchmark}" timeStepSize="0.1">'
    road_map = read(tmp_path / "test.xml", f"{head}{lanelets}{post}</commonRoad>")
    assert kinds(road_map) == found and road_map.lanes["1"].speed == pytest.approx(speed)
