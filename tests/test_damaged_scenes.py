"""The script that damages scenes byte by byte: it counts what comes of them, and finds a reader that fails."""

import json
import sys
from pathlib import Path

import pytest
from recorded import Scene, scenario_message, tfrecord
from small_scenes import road, scenario

from gigaflow_env.roads import load_scene, save_scene

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import damaged_scenes

ROOT = Path(__file__).resolve().parents[1]


def examined(tmp_path: Path) -> dict:
    path = tmp_path / "small.scene.npz"
    save_scene(scenario(), road(), path)
    return damaged_scenes.examined(path, damaged_scenes.Damage((path,), count=5))


def test_every_damaged_file_is_a_scene_or_an_error(tmp_path: Path) -> None:
    found = examined(tmp_path)
    assert found["files"] == 20 and found["wrong"] == []
    assert found.get("scenes", 0) < 20


def test_files_that_are_made_are_scenes(tmp_path: Path) -> None:
    files = damaged_scenes.made(tmp_path)
    assert {path.suffix for path in files} == {".db", ".pkl", ".npz"}
    for path in files:
        load_scene(path, strict=True)


def test_a_reader_that_fails_otherwise_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path, strict: bool) -> None:
        raise IndexError("list index out of range")

    monkeypatch.setattr(damaged_scenes, "load_scene", fails)
    wrong = examined(tmp_path)["wrong"]
    assert len(wrong) == 40 and all(one.endswith("IndexError: list index out of range") for one in wrong)


def test_of_a_tfrecord_the_record_is_damaged_not_its_checksum(tmp_path: Path) -> None:
    path = tmp_path / "one.tfrecord"
    path.write_bytes(tfrecord(scenario_message(Scene({}, []))))
    data, framed = damaged_scenes.opened(path)
    assert framed(data) == path.read_bytes() and framed(data[:-1]) == tfrecord(data[:-1])


def test_the_committed_result_of_real_records_has_nothing_wrong() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "damaged_scenes_waymo.json").read_text(encoding="utf-8"))
    assert {Path(name).suffix for name in result["scenes"]} == {".tfrecord", ".json", ".xml"}
    assert all(found["wrong"] == [] and found["scenes"] < found["files"] for found in result["scenes"].values())


def test_the_committed_result_has_nothing_wrong() -> None:
    result = json.loads((ROOT / "benchmarks" / "results" / "damaged_scenes.json").read_text(encoding="utf-8"))
    assert {Path(name).suffix for name in result["scenes"]} == {".db", ".npz", ".pkl", ".parquet"}
    assert sum(found["files"] for found in result["scenes"].values()) == 640
    assert sum(found["scenes"] for found in result["scenes"].values()) == 230
    assert all(found["wrong"] == [] for found in result["scenes"].values())
