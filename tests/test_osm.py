"""OpenStreetMap extracts: a small town where netconvert is installed, and how it is called where it is not."""

import importlib.machinery
import os
import stat
import sys
from pathlib import Path

import numpy as np
import pytest
from damage import survives, with_bomb

from gigaflow_env.config import laptop
from gigaflow_env.roads import MapError, RoadMap, load, save, summary
from gigaflow_env.roads.formats.sumo import osm
from gigaflow_env.simulator import Simulator


def extract(streets: list[tuple[list[tuple[int, int]], dict[str, str]]], lights: list[tuple[int, int]]) -> str:
    """An extract whose nodes lie on a grid of 200 m: each street has nodes (column, row) and tags."""
    places = list(dict.fromkeys(place for nodes, _ in streets for place in nodes))
    number = {place: 1 + k for k, place in enumerate(places)}
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', '<osm version="0.6" generator="test">']
    for (column, row), k in number.items():
        light = '<tag k="highway" v="traffic_signals"/>' if (column, row) in lights else ""
        place = f'lat="{48 + row * 200 / 111200:.7f}" lon="{11 + column * 200 / 74600:.7f}"'
        lines.append(f'<node id="{k}" version="1" {place}>{light}</node>')
    for k, (nodes, tags) in enumerate(streets):
        inside = "".join(f'<nd ref="{number[place]}"/>' for place in nodes)
        inside += "".join(f'<tag k="{key}" v="{given}"/>' for key, given in tags.items())
        lines.append(f'<way id="{1000 + k}" version="1">{inside}</way>')
    return "\n".join([*lines, "</osm>\n"])


MAIN = ([(column, 1) for column in range(4)], {"highway": "secondary", "lanes": "4", "maxspeed": "54"})
CROSS = ([(1, row) for row in range(4)], {"highway": "residential", "maxspeed": "30"})
SIDE = ([(1, 2), (2, 2), (2, 1)], {"highway": "residential", "oneway": "yes"})
PATH = ([(0, 0), (1, 0)], {"highway": "footway"})
FAR = ([(8, 8), (9, 8)], {"highway": "residential"})
TOWN = extract([MAIN, CROSS, SIDE, PATH, FAR], lights=[(1, 1)])


def installed() -> bool:
    try:
        return osm._netconvert() is not None
    except MapError:
        return False


needs_netconvert = pytest.mark.skipif(not installed(), reason='netconvert is not installed: pip install "gigaflow-env[osm]"')


@pytest.fixture
def town(tmp_path: Path) -> Path:
    path = tmp_path / "town.osm"
    path.write_text(TOWN)
    return path


@pytest.fixture
def netconvert(tmp_path, monkeypatch):
    """Puts a program of this name on the PATH: a piece of Python which finds its options in `given`."""

    def put(code: str) -> None:
        program = tmp_path / "bin" / "netconvert"
        program.parent.mkdir()
        head = f"#!{sys.executable}\nimport sys, time\ngiven = dict(o.partition('=')[::2] for o in sys.argv[1:])\n"
        program.write_text(head + code + "\n")
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", str(program.parent) + os.pathsep + os.environ["PATH"])

    return put


NET = '<net><edge id="a" to="b"><lane id="a_0" index="0" speed="9" length="1" shape="0,0 80,0"/></edge></net>'


# With netconvert


@needs_netconvert
def test_a_town_has_its_streets_lanes_and_lights(town, tmp_path):
    road_map = load(town)
    found = summary(road_map)
    # Main street: 600 m with 2 + 2 lanes; cross street: 600 m with 1 + 1; side street: 400 m with 1. Connectors come on top.
    assert 4.0 < found["lane_km"] < 4.6
    assert found["max_link_gap_m"] <= 0.005
    assert found["traffic_lights"] > 0
    speeds = {round(part.speed, 1) for part in road_map.lanes.values() if part.junction is None}
    assert {15.0, 8.3} <= speeds
    assert any(part.left is not None for part in road_map.lanes.values())
    low_x, low_y, high_x, high_y = found["bounds"]
    assert 580 < high_x - low_x < 640 and 580 < high_y - low_y < 640, "the street far away is not connected"
    save(road_map, tmp_path / "town.lanes.json")
    again = load(tmp_path / "town.lanes.json")
    assert "OpenStreetMap contributors" in again.attribution and "ODbL" in again.licence
    assert again.source == "OpenStreetMap extract town.osm, lanes by netconvert"


@needs_netconvert
def test_cut_ends_are_exits(town):
    road_map = load(town)
    entered = {other for part in road_map.lanes.values() for other in part.successors}
    ends = [part for part in road_map.lanes.values() if not part.successors]
    starts = [part for part in road_map.lanes.values() if part.id not in entered]
    assert len(ends) == len(starts) == 6  # 2 + 2 of the main street, 1 + 1 of the cross street


@needs_netconvert
def test_a_town_can_be_driven_on(town):
    sim = Simulator(load(town), 20, laptop().replace(agents_per_world=20), threads=1)
    sim.reset(np.array([1, 2], np.uint32))
    rng = np.random.default_rng(3)
    for _ in range(100):
        sim.step(rng.integers(0, 12, 20))
        assert np.isfinite(sim.observations).all()


@needs_netconvert
def test_an_extract_without_streets_for_cars_is_refused(tmp_path):
    path = tmp_path / "park.osm"
    path.write_text(extract([PATH], []))
    with pytest.raises(MapError, match=r"park\.osm: "):
        load(path)


# Without


def test_the_program_gets_the_file_and_its_network_is_read(town, netconvert):
    check = "assert '<way' in open(given['--osm-files']).read() and '--no-turnarounds' in given"
    netconvert(f"{check}\nopen(given['--output-file'], 'w').write({NET!r})")
    road_map: RoadMap = load(town)
    assert (road_map.name, list(road_map.lanes)) == ("town", ["a_0"])
    assert (road_map.licence, road_map.attribution) == (osm.LICENCE, osm.ATTRIBUTION)


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("print('Warning: x\\nError: No nodes loaded.', file=sys.stderr); sys.exit(1)", r"netconvert can't .*No nodes"),
        ("sys.exit(3)", r"netconvert can't read it: code 3"),
        ("pass", r"netconvert can't read it: code 0"),
        ("open(given['--output-file'], 'w').write('<net/>')", r"map 'town' has no driving lane"),
        ("time.sleep(30)", r"netconvert took more than 1 s: cut a smaller extract"),
    ],
)
def test_what_the_program_says_is_told(town, netconvert, monkeypatch, code, message):
    monkeypatch.setattr(osm, "TIMEOUT", 1.0)
    netconvert(code)
    with pytest.raises(MapError, match=rf"town\.osm: .*{message}"):
        load(town)


def test_the_program_is_found_in_its_package(town, netconvert, monkeypatch, tmp_path):
    netconvert(f"open(given['--output-file'], 'w').write({NET!r})")
    package = importlib.machinery.ModuleSpec("sumo", None)
    package.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr("importlib.util.find_spec", {"sumo": package}.get)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert list(load(town).lanes) == ["a_0"]


def test_without_the_program_the_error_says_how_to_get_it(town, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MapError, match=r'town\.osm: .*netconvert: pip install "gigaflow-env\[osm\]"'):
        load(town)


def test_broken_files_never_reach_the_program(tmp_path, netconvert):
    netconvert("time.sleep(30)")
    broken = {"cut": TOWN[:300].encode(), "nothing": b"", "gzip": b"\x1f\x8b\x08\x00"}
    broken |= dict([with_bomb(TOWN, "osm")])
    for what, data in broken.items():
        assert not survives(load, tmp_path / "a.osm", what, data), what
