"""ScenarioNet scenes: data and nothing else is read of a pickle, and what is damaged is left out and told."""

import os
import pickle
import warnings
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from recorded import RecordedLane, Scene, parked, polyline, scenarionet_scene

from gigaflow_env.roads import MapError, MapWarning, Scenario, load, load_scenario, load_scene
from gigaflow_env.roads.formats.scenarionet import plain_pickle
from gigaflow_env.roads.formats.scenarionet.plain_pickle import NAMES, read_plain
from gigaflow_env.roads.scenario import LIGHT_STATES

OVERPASS = Path(__file__).resolve().parents[2] / "shared" / "scenes" / "scenarionet_overpass.pkl"


def small(**more: Any) -> dict[str, Any]:
    """Two lanes of 40 m, a light between them, two cars."""
    lanes = {1: RecordedLane(polyline((0, 0), (40, 0)), exits=(2,)), 2: RecordedLane(polyline((40, 0), (80, 0)))}
    lights = {2: (np.array([40.0, 0, 0]), [4] * 6 + [6] * 5)}
    scene = Scene(lanes, tracks=parked(2), valid=np.ones((2, 11), bool), kinds=(1, 1), lights=lights, predict=(1,))
    return scenarionet_scene(scene) | more


def written(path: Path, data: Any, protocol: int = 4) -> Path:
    path.write_bytes(data if isinstance(data, bytes) else pickle.dumps(data, protocol))
    return path


class Bad:
    """What is pickled as a call of a function."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = function, arguments

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize(
    ("function", "arguments", "name"),
    [
        (os.system, ("touch harm",), r"(posix|nt)\.system"),
        (eval, ("open('harm', 'w')",), "__builtin__.eval|builtins.eval"),
        (getattr, ("", "format"), "__builtin__.getattr|builtins.getattr"),
        (np.load, ("harm.npy",), r"numpy\.load"),
        (Path, ("harm",), r"pathlib[\w.]+"),
        (pickle.loads, (b"N.",), "_?pickle.loads"),
    ],
)
@pytest.mark.parametrize("protocol", [0, 2, 4, 5])
def test_a_pickle_that_calls_something_is_refused_and_nothing_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, function: Any, arguments: Any, name: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    path = written(tmp_path / "bad.pkl", small(more=Bad(function, *arguments)), protocol)
    with pytest.raises(
        MapError, match=rf"bad\.pkl: not readable as a pickle of plain data: it names ({name}), and data needs"
    ) as error:
        load(path)
    assert "\n" not in str(error.value)
    assert [file.name for file in tmp_path.iterdir()] == ["bad.pkl"], "nothing happened"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "damaged|exhausted"),
        (b"\x80\x04N", "damaged|exhausted"),
        (b"cos\nsystem\n(S'touch harm'\ntR.", r"it names os\.system"),
        (b"(S'touch harm'\nios\nsystem\n.", "the instruction INST"),
        (b"\x80\x02\x82\x01.", "the instruction EXT1"),
        (b"Pharm\n.", "the instruction PERSID"),
        (b"N" + b"r\xff\xff\xff\x7f" + b".", "the instruction LONG_BINPUT 2147483647"),
        (b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x0f.", "expected"),  # bytes of an exabyte
        (b"cbuiltins\nint\n(I5\ntR.", "str|callable"),  # a name that is allowed, called
        (b"cnumpy\nndarray\n(I5\ntR.", "str|callable"),
        (b"ccollections\ndefaultdict\n(N}S'__defaults__'\n(I1\ntstb.", "would change what a name means"),
        (b"c_codecs\nencode\n}S'x'\nI1\nsb.", "would change what a name means"),
        (b"cnumpy\ndtype\n}S'x'\nI1\nsb.", "would change what a name means"),
        (b"ccollections\ndefaultdict\n.", "a _Callable, where data was expected"),
        (b"]q\x00h\x00a.", "containers inside of each other"),  # a list that holds itself
        (b"]" * 100 + b"a" * 99 + b".", "containers inside of each other"),
        (pickle.dumps(np.array([{}], object)), r"the NumPy type 'O8'"),
        (pickle.dumps(np.dtype("f4")), r"a _Type, where data was expected"),
        (pickle.dumps(np.zeros(2, "f4,f4")), r"the NumPy type 'V8'|plain numbers"),
        (pickle.dumps({(1, 2): 3}), r"a key \(1, 2\)"),
        (pickle.dumps({1j: 2}), r"it names builtins\.complex"),
        (pickle.dumps([1, 2]), r"not a scene of ScenarioNet"),
        (pickle.dumps({"tracks": {}}), r"dicts of 'tracks' and 'map_features'"),
    ],
)
def test_what_is_not_plain_data_of_a_scene_is_refused_with_one_sentence(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(MapError, match=rf"bad\.pkl: .*({message})") as error:
        load(written(tmp_path / "bad.pkl", data))
    assert "\n" not in str(error.value)


def test_no_name_leads_out_of_its_module() -> None:
    own = "gigaflow_env.roads.formats.scenarionet.plain_pickle"
    assert all(isinstance(stand_in, str) or stand_in.__module__ == own for stand_in in NAMES.values())
    assert plain_pickle._dict.__defaults__ is None and vars(plain_pickle._bytes) == {}


@pytest.mark.parametrize("protocol", range(6))
def test_plain_data_is_read_from_every_protocol(tmp_path: Path, protocol: int) -> None:
    arrays = [np.arange(6, dtype=kind).reshape(2, 3) for kind in ("<f4", ">f8", "i1", "<u2")]
    arrays += [
        np.asfortranarray(arrays[0]),
        np.array([True, False]),
        np.array(["a", "bcd"]),
        np.zeros((0, 3)),
        np.array(2.5),
    ]
    twice = [1, 2.5, "x", None, True, b"\xff\x00", 10**30]
    more = {"a": twice, "b": (twice, {3}), "c": np.float32(0.5), "d": np.int64(7), "e": defaultdict(int, {"f": 1})}
    found = read_plain(written(tmp_path / "x.pkl", {"arrays": arrays, **more, "g": OrderedDict(h=np.bool_(True))}, protocol))
    for one, other in zip(arrays, found["arrays"], strict=True):
        assert one.dtype == other.dtype and one.shape == other.shape
        np.testing.assert_array_equal(one, other)
    assert found["a"] == twice and found["b"] == [twice, [3]] and (found["c"], found["d"]) == (0.5, 7)
    assert found["e"] == {"f": 1} and found["g"] == {"h": True}


@pytest.mark.parametrize("core", ["core", "_core"])
def test_arrays_of_old_and_new_numpy_are_read(tmp_path: Path, core: str) -> None:
    data = pickle.dumps(np.arange(3.0), 2)
    assert b"numpy._core.multiarray" in data or b"numpy.core.multiarray" in data
    data = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray").replace(
        b"numpy.core.", f"numpy.{core}.".encode()
    )
    np.testing.assert_array_equal(read_plain(written(tmp_path / "x.pkl", data)), np.arange(3.0))


def scene_of(path: Path, data: dict[str, Any]) -> Scenario:
    return load_scenario(written(path, data))


def test_the_times_say_how_long_a_step_is(tmp_path: Path) -> None:
    data = small()
    data["metadata"]["ts"] = np.arange(11) * 0.5
    assert scene_of(tmp_path / "x.pkl", data).dt == 0.5
    del data["metadata"]["ts"]
    assert scene_of(tmp_path / "x.pkl", data).dt == 0.1


def test_lights_of_other_data_sets_have_other_names(tmp_path: Path) -> None:
    names = ["TRAFFIC_LIGHT_RED", "TRAFFIC_LIGHT_YELLOW", "TRAFFIC_LIGHT_GREEN", "TRAFFIC_LIGHT_UNKNOWN", None]
    data = small()
    data["dynamic_map_states"]["2"]["state"]["object_state"] = names
    states = scene_of(tmp_path / "x.pkl", data).lights["2"][:6]
    assert [LIGHT_STATES[state] for state in states] == ["red", "yellow", "green", "unknown", "unknown", "unknown"]


def damage(data: dict[str, Any], *keys: Any, value: Any = None) -> dict[str, Any]:
    """The data with one entry changed, or removed where there is no value."""
    inner = data
    for key in keys[:-1]:
        inner = inner[key]
    if value is None:
        del inner[keys[-1]]
    else:
        inner[keys[-1]] = value
    return data


@pytest.mark.parametrize(
    ("keys", "value", "entry", "agents", "lanes"),
    [
        (("tracks", "8", "state", "valid"), np.ones(3), "agent 8: 'valid' has 3 steps, the scene 11: left out", 1, 2),
        (("tracks", "8", "state", "length"), np.zeros(11), "agent 8: length=0.0 at step 0 must be above 0: left out", 1, 2),
        (("tracks", "8", "state", "heading"), np.full(11, np.nan), "agent 8: heading=nan at step 0 must be finite", 1, 2),
        (("tracks", "8", "state", "position"), np.zeros((11, 4)), r"agent 8: 'position' is \(11, 4\): it must be", 1, 2),
        (("tracks", "8", "state", "velocity"), ["x"], "agent 8: 'velocity' is no array of numbers", 1, 2),
        (("tracks", "8", "state"), None, "agent 8: 'state' is missing, which is of the wrong type: left out", 1, 2),
        (("tracks", "7", "type"), None, "agent 7: 'type' is missing", 1, 2),
        (("metadata",), None, "value metadata: it is missing: no ego", 2, 2),
        (("metadata", "sdc_id"), "99", "reference sdc_id: there is no track '99': no ego", 2, 2),
        (("metadata", "tracks_to_predict"), {"99": {}}, "reference tracks_to_predict 99: there is no such track", 2, 2),
        (("metadata", "tracks_to_predict"), 3, "reference tracks_to_predict: it is 3, not a dict", 2, 2),
        (("metadata", "ts"), np.zeros(11), "value metadata ts: 0.0 s from step to step: read as 0.1 s", 2, 2),
        (("dynamic_map_states", "2", "state"), 3, "signal 2: 'state' is 3, which is of the wrong type: left out", 2, 2),
        (("dynamic_map_states",), [], r"signal dynamic_map_states: they are \[\], not a dict: no lights", 2, 2),
        (("map_features", "2", "polyline"), np.zeros((3, 5)), r"road 2: 'polyline' is \(3, 5\)", 2, 1),
        (("map_features", "2", "type"), None, "road 2: 'type' is missing", 2, 1),
    ],
)
def test_what_is_damaged_is_left_out_and_told(
    tmp_path: Path, keys: Any, value: Any, entry: str, agents: int, lanes: int
) -> None:
    path = written(tmp_path / "x.pkl", damage(small(), *keys, value=value))
    with pytest.warns(MapWarning, match=entry):
        road_map, scenario = load_scene(path)
    assert (scenario.agents, len(road_map.lanes)) == (agents, lanes)
    assert any(entry.split(":")[0] in str(one) for one in road_map.report)
    with pytest.raises(MapError, match=rf"x\.pkl: {entry.split(': left out')[0].split(': no ')[0].split(': read as')[0]}"):
        load_scene(path, strict=True)


@pytest.mark.parametrize(
    ("keys", "value", "message"),
    [
        (("length",), 0, "'length' is 0: it must be a number of steps"),
        (("length",), "11", "'length' is '11'"),
        (("tracks",), {"7": 3}, "the scene has no tracks that can be read"),
    ],
)
def test_what_leaves_no_scene_is_an_error(tmp_path: Path, keys: Any, value: Any, message: str) -> None:
    with pytest.raises(MapError, match=message):
        load_scene(written(tmp_path / "x.pkl", damage(small(), *keys, value=value)))


def leaves(data: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to all entries of dicts inside of each other."""
    if not isinstance(data, dict):
        return []
    return [way for key in data for way in ((*before, key), *leaves(data[key], (*before, key)))]


WRONG = (None, "x", 3, -1, 1e400, True, [], {}, [None], {"x": 1}, np.zeros(0), np.full(11, np.nan), np.zeros((2, 2, 2)),
         np.array(["a"]), np.array(7), 10**400, [[1], [2, 3]])  # fmt: skip


def test_anything_anywhere_is_a_scene_or_an_error(tmp_path: Path) -> None:
    ways, path = leaves(small()), tmp_path / "x.pkl"
    read = refused = 0
    for number, way in enumerate(ways * 3):
        path.write_bytes(pickle.dumps(damage(small(), *way, value=WRONG[number % len(WRONG)])))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", MapWarning)
                load_scene(path, strict=number % 4 == 0)
            read += 1
        except MapError as error:
            assert "x.pkl: " in str(error)
            refused += 1
    assert len(ways) > 50 and read > 100 and refused > 30


@pytest.mark.skipif(not OVERPASS.exists(), reason="needs shared/scenes/scenarionet_overpass.pkl beside the checkout")
@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning")
def test_a_published_scene_is_read() -> None:
    road_map, scenario = load_scene(OVERPASS)
    assert (scenario.agents, scenario.steps, scenario.dt, scenario.ego) == (45, 199, 0.1, 44)
    assert set(scenario.kinds) == {"vehicle"} and len(scenario.lights) == 13
    assert set(scenario.lights) <= set(road_map.signals) and len(road_map.lanes) == 102
    assert scenario.x[0, 0] == pytest.approx(8315.3) and scenario.length[0, 0] == pytest.approx(5.3555765)
