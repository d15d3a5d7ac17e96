"""Scenes of Argoverse 2 motion forecasting: tables that the tests write, with answers on paper, bad ones, and a real one."""

import json
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from argoverse2_files import straight

from gigaflow_env.roads import MapError, MapWarning, load, load_scenario, load_scene

pyarrow = pytest.importorskip("pyarrow", reason="needs the extra scenes")
from pyarrow import parquet  # noqa: E402

SHARED = Path(__file__).resolve().parents[2] / "shared" / "scenes" / "argoverse2"
Table = dict[str, list[Any]]


def row(track: str, kind: str, category: int, step: int, x: float, y: float, **more: Any) -> dict[str, Any]:
    about = {"observed": step < 50, "track_id": track, "object_type": kind, "object_category": category, "timestep": step}
    place = {"position_x": x, "position_y": y, "heading": 0.25, "velocity_x": 10.0, "velocity_y": 0.0}
    return about | place | {"scenario_id": "abc", "focal_track_id": "7", "city": "austin", "num_timestamps": 110} | more


def table() -> Table:
    """A car seen for three steps, a walker for one, and the recording car."""
    rows = [row("7", "vehicle", 3, step, 5.0 + step, 0.0) for step in (1, 2, 3)]
    rows += [
        row("8", "pedestrian", 0, 0, 20.0, 5.0),
        *(row("AV", "vehicle", 1, step, 40.0 + step, 0.0) for step in range(4)),
    ]
    rows += [row("9", "bus", 2, 3, 30.0, 0.0), row("10", "background", 0, 3, 31.0, 9.0)]
    return {key: [one[key] for one in rows] for key in rows[0]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    lanes = {"a": straight(0, 30, successors=["b"]), "b": straight(30, 30, predecessors=["a"])}
    text = json.dumps({"lane_segments": lanes, "pedestrian_crossings": {}})
    (tmp_path / "log_map_archive_abc.json").write_text(text.replace('"z": 0.0', '"z": 3.0').replace('"z": 0', '"z": 3'))
    write(tmp_path / "scenario_abc.parquet", table())
    return tmp_path / "scenario_abc.parquet"


def write(path: Path, given: Table) -> None:
    parquet.write_table(pyarrow.table(given), path)


def test_tracks_are_what_was_seen(path: Path) -> None:
    road_map, scenario = load_scene(path)
    assert set(road_map.lanes) == {"a", "b"} and set(load(path).lanes) == {"a", "b"}
    assert (scenario.name, scenario.dt, scenario.steps) == ("abc", 0.1, 4)
    assert scenario.ids == ("7", "8", "AV", "9", "10")
    assert scenario.kinds == ("vehicle", "pedestrian", "vehicle", "vehicle", "other")
    assert scenario.ego == 2 and scenario.predict == (0, 3)
    np.testing.assert_array_equal(scenario.x[0], [np.nan, 6, 7, 8])
    np.testing.assert_array_equal(scenario.heading[1], [0.25, np.nan, np.nan, np.nan])
    assert scenario.valid.sum(axis=1).tolist() == [3, 1, 4, 1, 1]
    assert (scenario.length[0, 1], scenario.width[0, 1], scenario.length[3, 3]) == (4.6, 1.9, 12.0)
    assert scenario.z[2].tolist() == [3.75] * 4, "the height of the lane and half a box"
    np.testing.assert_array_equal(load_scenario(path).x, scenario.x)


def test_the_map_is_the_one_of_its_id_or_the_only_one(path: Path) -> None:
    own = path.with_name("log_map_archive_abc.json")
    other = path.with_name("log_map_archive_xyz.json")
    own.rename(other)
    assert set(load(path).lanes) == {"a", "b"}
    other.with_name("log_map_archive_uvw.json").write_bytes(other.read_bytes())
    with pytest.raises(
        MapError, match=r"scenario_abc\.parquet: its map log_map_archive_abc\.json must lie beside it; there are 2"
    ):
        load_scene(path)
    own.write_bytes(other.read_bytes())
    assert load_scene(path)[1].agents == 5


@pytest.mark.parametrize(
    ("change", "entry", "agents"),
    [
        ({"heading": (0, np.nan)}, "agent 7: heading=nan at step 1 must be a finite number: left out", 4),
        ({"position_x": (3, 1e12)}, r"agent 8: position_x=1000000000000.0 at step 0 must be", 4),
        ({"timestep": (1, 1)}, "agent 7: a step is given twice: left out", 4),
        ({"track_id": (slice(4, 8), "x")}, "reference AV: there is no such track: no ego", 5),
    ],
)
def test_what_is_damaged_is_left_out_and_told(path: Path, change: Any, entry: str, agents: int) -> None:
    given = table()
    for key, (place, value) in change.items():
        given[key][place] = [value] * 4 if isinstance(place, slice) else value
    write(path, given)
    with pytest.warns(MapWarning, match=entry):
        scenario = load_scenario(path)
    assert scenario.agents == agents
    with pytest.raises(MapError, match=entry.split(": left")[0].split(": no")[0]):
        load_scenario(path, strict=True)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heading": None}, "not a scene of Argoverse 2: it has no column 'heading'"),
        ({"heading": ["x"] * 10}, "not readable as parquet: .*x"),
        ({"timestep": [-1] * 10}, r"timestep must be whole numbers, 0\.\.9999, it reaches -1"),
        ({"timestep": [10**6] * 10}, r"timestep must be whole numbers"),
        ({"timestep": [0.5] * 10}, r"timestep must be whole numbers"),
        ({"position_x": [None] * 10}, "the scene has no tracks that can be read"),
    ],
)
def test_what_leaves_no_scene_is_an_error(path: Path, change: Any, message: str) -> None:
    given = {key: column for key, column in (table() | change).items() if column is not None}
    write(path, given)
    with pytest.raises(MapError, match=rf"scenario_abc\.parquet: {message}"):
        load_scene(path)


def test_without_rows_there_is_no_scene(path: Path) -> None:
    parquet.write_table(pyarrow.table(table()).slice(0, 0), path)
    with pytest.raises(MapError, match="the scene has no rows"):
        load_scene(path)


def test_without_pyarrow_the_extra_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        MapError, match=r'scenario_abc\.parquet: parquet files need pyarrow: pip install "gigaflow-env\[scenes\]"'
    ):
        load_scenario(path)


def test_a_damaged_file_is_a_scene_or_an_error(path: Path) -> None:
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    files = [b"", b"PAR1", *(whole[: int(share * len(whole))] for share in np.linspace(0.1, 0.99, 15))]
    for _ in range(50):
        flipped = bytearray(whole)
        flipped[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
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
                assert "scenario_abc.parquet: " in str(error) and "\n" not in str(error)
                refused += 1
    assert read > 10 and refused > 20


@pytest.mark.skipif(not SHARED.is_dir(), reason="needs shared/scenes/argoverse2 beside the checkout")
@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning")
def test_a_published_scene_is_read() -> None:
    (path,) = SHARED.glob("*.parquet")
    road_map, scenario = load_scene(path)
    assert (scenario.agents, scenario.steps, scenario.valid.sum()) == (58, 110, 2434)
    assert scenario.ids[scenario.ego or 0] == "AV" and "138951" in [scenario.ids[k] for k in scenario.predict]
    assert len(road_map.lanes) == 71
