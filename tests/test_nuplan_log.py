"""nuPlan logs that the tests write, with answers on paper: tracks, lights, scenes, and the map of the city."""

import math
import sqlite3
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from gpkg_writer import city
from gpkg_writer import write as write_map
from nuplan_log_writer import Rows, log, token, turned, write

from gigaflow_env import cli
from gigaflow_env.roads import MapError, MapWarning, load, load_scenario, load_scene, records
from gigaflow_env.roads.formats.nuplan.load import read_area
from gigaflow_env.roads.scenario import LIGHT_STATES

UNKNOWN, GREEN, RED = (LIGHT_STATES.index(name) for name in ("unknown", "green", "red"))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_map(tmp_path / "map.gpkg", city())
    return write(tmp_path / "log.db", log())


def test_tracks_are_what_was_seen_every_second_sweep(path: Path) -> None:
    road_map, scenario = load_scene(path)
    assert (scenario.dt, scenario.steps, scenario.agents, scenario.name) == (0.1, 21, 3, "log.scene-000")
    assert scenario.ids == ("ego", token(3, 0).hex(), token(3, 1).hex())
    assert scenario.kinds == ("vehicle", "vehicle", "pedestrian")
    assert (scenario.ego, scenario.predict, scenario.tags) == (0, (0,), ("starting_left_turn",))
    np.testing.assert_allclose(scenario.x[0], 1.461 + np.arange(21.0))
    np.testing.assert_allclose(scenario.x[1], 15.0 + np.arange(21.0))
    assert scenario.valid[2].tolist() == [True] * 11 + [False] * 10
    assert (scenario.length[0, 0], scenario.width[0, 0], scenario.heading[1, 3]) == (5.176, 2.297, 0.25)
    assert (scenario.length[2, 0], scenario.width[2, 0], scenario.velocity_x[1, 0]) == (0.6, 0.7, 10.0)
    assert set(scenario.z[scenario.valid]) == {0.0}, "maps have no heights"
    assert road_map.name == "log.scene-000" and set(road_map.lanes) == {"1", "2", "3", "4", "5"}


def test_the_middle_of_the_car_moves_round_its_rear_axle(tmp_path: Path, path: Path) -> None:
    rows = turned(log(), math.pi / 2)
    for row in rows["ego_pose"]:
        row["angular_rate_z"] = 0.5
    scenario = load_scenario(write(path, rows))
    np.testing.assert_allclose(
        [scenario.x[0, 0], scenario.y[0, 0], scenario.heading[0, 0]], [0, 1.461, math.pi / 2], atol=1e-9
    )
    np.testing.assert_allclose([scenario.velocity_x[0, 0], scenario.velocity_y[0, 0]], [-0.5 * 1.461, 10], atol=1e-9)


def test_each_connector_has_a_light_of_its_own(path: Path) -> None:
    road_map, scenario = load_scene(path)
    assert {name: signal.kind for name, signal in road_map.signals.items()} == {"3": "light", "4": "light"}
    assert [road_map.lanes[name].signal for name in "12345"] == [None, None, "3", "4", None]
    assert road_map.signals["3"].group == road_map.signals["4"].group == "77"
    assert scenario.lights.keys() == {"3"}
    assert scenario.lights["3"].tolist() == [RED] * 10 + [GREEN] * 11
    assert load(path.with_name("map.gpkg")).signals.keys() == {"500"}


def test_states_that_were_not_seen_are_unknown(path: Path) -> None:
    rows = log()
    rows["traffic_light_status"] = [row for k, row in enumerate(rows["traffic_light_status"]) if k not in (4, 5)]
    rows["traffic_light_status"][0]["status"] = "unknown"
    assert load_scenario(write(path, rows)).lights["3"].tolist() == [UNKNOWN, RED, UNKNOWN] + [RED] * 7 + [GREEN] * 11


def test_a_scene_is_chosen_by_number_and_a_scenario_by_token(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(path, log(sweeps=801, scenes=4))
    assert records(path) == 4
    with pytest.raises(MapError, match=r"log\.db: the log has 4 scenes: say which"):
        load_scene(path)
    with pytest.raises(MapError, match=r"record 4: the log has 4 scenes, counted from 0"):
        load_scene(path, record=4)
    scenario = load_scene(path, record=2)[1]
    assert scenario.name == "log.scene-002" and scenario.tags == ()
    assert scenario.x[0, 0] == pytest.approx(0.5 * 401 + 1.461)
    begun = load_scenario(path, record=token(7, 100).hex())
    assert begun.steps == 151 and begun.x[0, 0] == pytest.approx(50 + 1.461)
    with pytest.raises(MapError, match=r"record 'x': neither a number nor a token"):
        load_scene(path, record="x")
    with pytest.raises(MapError, match=r"record '00': no sweep of the log has this token"):
        load_scene(path, record="00")
    assert cli.main(["scenes", "inspect", str(path), "--record", "2"]) == 0
    assert "log.scene-002" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("period", "dt", "steps"), [(100_000, 0.1, 41), (50_000, 0.1, 21), (25_000, 0.1, 11), (200_000, 0.2, 41)]
)
def test_a_step_is_a_tenth_of_a_second_where_sweeps_allow(path: Path, period: int, dt: float, steps: int) -> None:
    scenario = load_scenario(write(path, log(period=period)))
    assert (scenario.dt, scenario.steps) == (dt, steps)


# The map


def test_the_map_is_cut_to_what_the_car_passes(tmp_path: Path, path: Path) -> None:
    write_map(tmp_path / "map.gpkg", city(far=100.0))
    near = load(path)
    assert "6" in near.lanes and near.crosswalks.keys() == {"1", "2"}
    write_map(tmp_path / "map.gpkg", city(far=160.0))
    cut = load(path)
    assert "6" not in cut.lanes and cut.crosswalks.keys() == {"1"}
    assert set(load(tmp_path / "map.gpkg").lanes) == {"1", "2", "3", "4", "5", "6"}
    np.testing.assert_array_equal(cut.lanes["1"].line, load(tmp_path / "map.gpkg").lanes["1"].line)


def test_a_lane_that_a_connector_leads_to_is_kept(tmp_path: Path) -> None:
    write_map(tmp_path / "map.gpkg", city())
    assert set(read_area(tmp_path / "map.gpkg", (45, -1, 50, 1)).lanes) == {"1", "2", "3", "4", "5"}


def test_an_area_holds_in_degrees_too(tmp_path: Path) -> None:
    east, north = 2e-5, -81.0  # some 2 m a unit, on the meridian of zone 17
    layers = city(far=400.0)
    for rows in layers.values():
        for row in rows:
            row["geom"] = shapely.transform(row["geom"], lambda points: points * east * [1, 0.9] + [north, 36.0])
    write_map(tmp_path / "map.gpkg", layers, 4326)
    whole = load(tmp_path / "map.gpkg")
    x, y = whole.lanes["3"].line[0, :2].tolist()
    assert set(read_area(tmp_path / "map.gpkg", (x - 9, y - 9, x + 9, y + 9)).lanes) == set(whole.lanes) - {"6"}


def test_the_map_is_found_where_the_data_set_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "dataset" / "splits" / "mini"
    folder.mkdir(parents=True)
    path = write(folder / "log.db", log(location="las_vegas"))
    with pytest.raises(
        MapError, match=r"log\.db: its map us-nv-las-vegas-strip\.gpkg is neither beside it, nor .*NUPLAN_MAPS_ROOT"
    ):
        load(path)
    own = tmp_path / "own" / "us-nv-las-vegas-strip" / "9.15"
    own.mkdir(parents=True)
    write_map(own / "map.gpkg", city())
    monkeypatch.setenv("NUPLAN_MAPS_ROOT", str(tmp_path / "own"))
    assert len(load(path).lanes) == 5
    monkeypatch.delenv("NUPLAN_MAPS_ROOT")
    beside = tmp_path / "dataset" / "maps" / "us-nv-las-vegas-strip" / "9.12"
    beside.mkdir(parents=True)
    write_map(beside / "map.gpkg", city(far=50.0))
    assert len(load(path).lanes) == 6


def test_a_log_does_not_lead_out_of_the_folders_of_maps(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    write_map(tmp_path / "secret.gpkg", city())
    path = write(tmp_path / "logs" / "log.db", log(location="../secret"))
    with pytest.raises(MapError, match="its map .* is neither beside it"):
        load(path)


# What is damaged


def changed(table: str, number: int, **columns: Any) -> Rows:
    rows = log()
    rows[table][number] |= columns
    return rows


@pytest.mark.parametrize(
    ("rows", "entry", "agents"),
    [
        (changed("lidar_box", 0, x=None), "agent 0003000000000000: x=None at step 0 must be a finite number: left out", 2),
        (changed("lidar_box", 0, yaw="x"), "agent 0003000000000000: yaw='x' at step 0 must be a finite number: left out", 2),
        (changed("lidar_box", 1, length=0.0), "agent 0003000000000001: length and width at step 0 are 0.0 and 0.7 m", 2),
        (changed("track", 1, token=b"x"), "reference track of 0003000000000001: there is none: of the kind 'other'", 3),
        (changed("ego_pose", 2, qw=0.0), "agent ego at step 1: the rotation at step 1 is no unit quaternion", 3),
        (changed("ego_pose", 2, vx=1e300), r"agent ego at step 1: vx=1e\+300 at step 1 must be a finite number", 3),
    ],
)
def test_what_is_damaged_is_left_out_and_told(path: Path, rows: Rows, entry: str, agents: int) -> None:
    write(path, rows)
    with pytest.warns(MapWarning, match=entry):
        assert load_scenario(path).agents == agents
    with pytest.raises(MapError, match=r"log\.db: "):
        load_scenario(path, strict=True)


@pytest.mark.parametrize(
    ("without", "message"),
    [
        (("lidar_pc",), "layer 'lidar_pc' is missing"),
        (("lidar_box",), "the database is damaged: no such table: lidar_box"),
        (("ego_pose",), "the database is damaged: no such table: ego_pose"),
        (("scene",), "layer 'scene' is missing"),
        (("category",), "layer 'category' is missing"),
        (("log",), "layer 'log' is missing"),
    ],
)
def test_a_log_without_a_table_is_refused(path: Path, without: tuple[str, ...], message: str) -> None:
    with pytest.raises(MapError, match=rf"log\.db: {message}"):
        load_scene(write(path, log(), without))


def test_tags_and_lights_may_be_missing(path: Path) -> None:
    scenario = load_scenario(write(path, log(), ("scenario_tag", "traffic_light_status")))
    assert scenario.tags == () and scenario.lights == {}


def test_a_log_without_the_car_or_without_time_is_refused(path: Path) -> None:
    with pytest.raises(MapError, match="agent ego: no sweep of the record has a pose"):
        load_scene(write(path, log() | {"ego_pose": []}))
    with pytest.raises(MapError, match="record 0: it has 1 sweeps, two are needed"):
        load_scene(write(path, log(sweeps=1)))
    with pytest.raises(MapError, match=r"record 0: its sweeps are 0\.0 s apart"):
        load_scene(write(path, log(period=0)))
    with pytest.raises(MapError, match="record 0: the log has 0 scenes"):
        load_scene(write(path, log() | {"lidar_pc": []}))
    path.write_bytes(b"nothing")
    with pytest.raises(MapError, match=r"log\.db: not a nuPlan log: it does not begin as an SQLite database"):
        load_scene(path)


def test_a_damaged_log_is_a_scene_or_an_error(path: Path) -> None:
    whole, rng = path.read_bytes(), np.random.default_rng(5)
    files = [whole[: int(share * len(whole))] for share in np.linspace(0.05, 0.99, 8)]
    for _ in range(20):
        flipped = bytearray(whole)
        for place in rng.integers(0, len(whole), 3):
            flipped[place] ^= 1 << int(rng.integers(8))
        files.append(bytes(flipped))
    read = refused = 0
    for data in files:
        path.write_bytes(data)
        for strict in (False, True):
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", MapWarning)
                    load_scene(path, strict=strict)
                read += 1
            except MapError as error:
                assert "log.db: " in str(error)
                refused += 1
    assert read > 10 and refused > 8


VALUES = (None, "x", b"x", -1, 1e300, 0, math.inf, 2**62)


def test_anything_in_any_column_is_a_scene_or_an_error(path: Path) -> None:
    whole = write(path, log(sweeps=9)).read_bytes()
    with sqlite3.connect(path) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        columns = [(table, row[1]) for table in tables for row in connection.execute(f"PRAGMA table_info({table})")]
    connection.close()
    for number, (table, column) in enumerate(columns):
        path.write_bytes(whole)
        connection = sqlite3.connect(path)
        connection.execute(
            f"UPDATE OR IGNORE {table} SET {column} = ? WHERE rowid = 1 + ?", [VALUES[number % len(VALUES)], number % 3]
        )
        connection.commit()
        connection.close()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MapWarning)
                load_scene(path, strict=number % 4 == 0)
        except MapError as error:
            assert "log.db: " in str(error)
    assert len(columns) > 60
