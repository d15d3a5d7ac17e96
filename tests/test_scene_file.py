"""The own format of scenes: what is read is what was written; anything else is refused with one sentence."""

import json
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_scenes import equal, road, scenario

from gigaflow_env.roads import MapError, RoadMap, Scenario, load, load_scenario, load_scene, save_scene
from gigaflow_env.roads.formats import scene_npz


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save_scene(scenario(), road(), tmp_path / "small.scene.npz")
    return tmp_path / "small.scene.npz"


def test_a_scene_comes_back_bit_for_bit(path: Path) -> None:
    road_map, traffic = load_scene(path)
    assert equal(road_map, road())
    assert equal(traffic, scenario())
    assert equal(load(path), road()) and equal(load_scenario(path), scenario())


def test_what_may_be_missing_may_be_missing(tmp_path: Path) -> None:
    plain = replace(road(), crosswalks={}, report=())
    traffic = replace(scenario(), lights={}, ego=None, predict=(), road_edges=(), tags=())
    save_scene(traffic, plain, tmp_path / "a.scene.npz")
    found = load_scene(tmp_path / "a.scene.npz")
    assert equal(found[0], plain) and equal(found[1], traffic)


def test_the_same_scene_gives_the_same_bytes(path: Path, tmp_path: Path) -> None:
    save_scene(scenario(), road(), tmp_path / "again.scene.npz")
    assert path.read_bytes() == (tmp_path / "again.scene.npz").read_bytes()


def test_the_name_and_what_is_not_consistent_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MapError, match=r"a\.npz: the name of a scene must end with \.scene\.npz"):
        save_scene(scenario(), road(), tmp_path / "a.npz")
    with pytest.raises(MapError, match=r"dt=-1 s must be above 0"):
        save_scene(replace(scenario(), dt=-1), road(), tmp_path / "a.scene.npz")
    with pytest.raises(MapError, match=r"no driving lane"):
        save_scene(scenario(), RoadMap("empty", {}), tmp_path / "a.scene.npz")
    assert list(tmp_path.iterdir()) == []


def test_a_map_file_is_no_scene(tmp_path: Path) -> None:
    (tmp_path / "town.xodr").write_text("<OpenDRIVE/>")
    with pytest.raises(MapError, match=r"town\.xodr: no recorded traffic in this format; supported are .*scene\.npz"):
        load_scene(tmp_path / "town.xodr")


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    with np.load(path) as file:
        return {name: file[name] for name in file.files}


def changed(path: Path, change: Any) -> Path:
    """The file with a changed head."""
    arrays = arrays_of(path)
    head = json.loads(arrays["head"].tobytes())
    change(head)
    np.savez(path, **arrays | {"head": np.frombuffer(json.dumps(head).encode(), np.uint8)})
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda h: h.update(format="x"), r'no scene: its head must say "format": "gigaflow-scene"'),
        (lambda h: h.update(version=2), r"version 2 of gigaflow-scene; this program reads version 1"),
        (lambda h: h.pop("map"), r"damaged: 'map' is missing"),
        (lambda h: h["map"].update(lanes=3), r"'lanes' is 3, of the wrong type"),
        (lambda h: h["map"]["lanes"][0].update(colour="red"), r"unknown key 'colour'"),
        (lambda h: h["map"]["lanes"][0].update(knots=5), r"lines are \(7, 5\), the head says \(10, 5\)"),
        (lambda h: h["map"]["lanes"][0].update(successors=[3]), r"successors of lane 'first' must be texts"),
        (lambda h: h["map"]["lanes"][0].update(successors=["x"]), r"its successor 'x' does not exist"),
        (lambda h: h["map"]["lanes"][0].update(id="second"), r"an id of a lane is given twice"),
        (lambda h: h["map"]["signals"][0].update(program=[[3], 0.0]), r"the program of signal 'light' is not phases"),
        (lambda h: h["map"]["signals"][0].update(program=[]), r"the program of signal 'light' is not phases"),
        (lambda h: h["map"]["signals"][0].update(program=[[["green", 3.0]], "x"]), r"the offset of signal 'light' is 'x'"),
        (lambda h: h["map"].update(crosswalks=[["zebra"]]), r"'crosswalks' must be pairs"),
        (lambda h: h["map"].update(report=[["a", "b"]]), r"is no entry of a report"),
        (lambda h: h["scenario"].update(ids=["car"]), r"1 ids for 2 agents"),
        (lambda h: h["scenario"].update(ids=["car", 2]), r"ids must be texts"),
        (lambda h: h["scenario"].update(ego="car"), r"'ego' is car, of the wrong type"),
        (lambda h: h["scenario"].update(ego=True), r"'ego' is True, of the wrong type"),
        (lambda h: h["scenario"].update(predict=[0.5]), r"'predict' must be whole numbers"),
        (lambda h: h["scenario"].update(road_edges=[2, 2]), r"road edges are \(5, 3\), the head says \(4, 3\)"),
        (lambda h: h["scenario"].update(tags=[3]), r"tags must be texts"),
        (lambda h: h["scenario"].update(lights=[]), r"the states of 0 lights are \(1, 6\)"),
        (lambda h: h["scenario"].update(dt=0), r"dt=0 s must be above 0"),
    ],
)
def test_a_damaged_head_is_refused_with_one_sentence(path: Path, change: Any, message: str) -> None:
    with pytest.raises(MapError, match=rf"small\.scene\.npz: .*{message}"):
        load_scene(changed(path, change))


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("head", np.frombuffer(b"{", np.uint8), r"its head is not readable"),
        ("head", np.frombuffer(b"[" * 100_000, np.uint8), r"its head is not readable"),
        ("tracks", np.zeros((8, 3)), r"tracks are \(8, 3\) where valid is \(2, 6\) with 9 that are true"),
        ("tracks", np.zeros((8, 9), np.float32), r"'tracks' is float32, it must be float64"),
        ("tracks", np.full((8, 9), np.nan), r"agent 'car': x=nan at step 0 must be a finite number"),
        ("valid", np.zeros((5_000, 5_000), bool), r"\(5000, 5000\) agents and steps: at most 20000000 states are possible"),
        ("valid", np.ones(3, bool), r"tracks are \(8, 9\) where valid is \(3,\)"),
        ("lines", np.array([{}], object), r"the scene is damaged: Object arrays cannot be loaded"),
        ("lines", None, r"the scene lacks 'lines'"),
    ],
)
def test_damaged_arrays_are_refused_with_one_sentence(path: Path, name: str, array: Any, message: str) -> None:
    arrays = arrays_of(path) | {name: array}
    np.savez(path, **{key: given for key, given in arrays.items() if given is not None})
    with pytest.raises(MapError, match=rf"small\.scene\.npz: .*{message}"):
        load_scene(path)


def test_a_file_that_would_fill_the_memory_is_refused_before_it_is_unpacked(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scene_npz, "LARGEST", 5 << 20)
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive, archive.open("bomb.npy", "w") as bomb:
        for _ in range(6):
            bomb.write(bytes(1 << 20))
    with pytest.raises(MapError, match=r"would unpack to 6 MiB, at most 5 are possible"):
        load_scene(path)


def test_a_damaged_file_is_a_scene_or_an_error(path: Path) -> None:
    whole, rng = path.read_bytes(), np.random.default_rng(5)
    files = [b"", b"PK", b"x" * 100, *(whole[: int(share * len(whole))] for share in np.linspace(0.05, 0.99, 20))]
    for _ in range(300):
        flipped = bytearray(whole)
        flipped[rng.integers(len(whole))] ^= 1 << int(rng.integers(8))
        files.append(bytes(flipped))
    found: list[Scenario] = []
    for data in files:
        path.write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                found.append(load_scene(path)[1])
            except MapError as error:
                assert "small.scene.npz: " in str(error) and "\n" not in str(error)
    assert all(equal(one, scenario()) for one in found), "checksums hold for everything that is read"
    assert len(found) < len(files) / 2
