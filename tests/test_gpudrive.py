"""Scenes of GPUDrive and PufferDrive that are special or bad; what they share with the Waymo dataset is in test_womd.py."""

import copy
import json
import math

import numpy as np
import pytest
from recorded import RecordedLane, Scene, json_scene, parked, polyline

from gigaflow_env.roads import MapError, MapWarning, load, load_scenario
from gigaflow_env.roads.scenario import LIGHT_STATES


@pytest.fixture
def scene():
    lanes = {1: RecordedLane(polyline((0, 0), (40, 0))), 2: RecordedLane(polyline((40, 0), (80, 0)))}
    lights = {2: (np.array([40.0, 0.0, 0.0]), [4, 5, 6])}
    lines = [(6, polyline((0, 1.75), (80, 1.75))), (15, polyline((0, -1.75), (80, -1.75)))]
    corners = np.array([[30.0, -2, 0], [33, -2, 0], [33, 2, 0], [30, 2, 0]])
    tracks, valid = parked(2), np.ones((2, 11), bool)
    valid[1, 6:] = False
    return json_scene(Scene(lanes, lines, [corners], lights=lights, tracks=tracks, valid=valid, kinds=(1, 3), predict=(1,)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "scene.json"


def put(path, scene):
    path.write_text(json.dumps(scene))
    return path


def test_headings_in_degrees_are_noticed(scene, path):
    scene["objects"][0]["heading"], scene["objects"][1]["heading"] = [90.0] * 11, [-180.0] * 11
    with pytest.warns(MapWarning, match="headings reach 180: read as degrees"):
        found = load_scenario(put(path, scene))
    np.testing.assert_allclose(found.heading[:, 0], [math.pi / 2, -math.pi])


def test_old_scenes_have_neither_lights_nor_metadata(scene, path):
    del scene["tl_states"], scene["metadata"], scene["scenario_id"]
    for k, record in enumerate(scene["objects"]):
        del record["id"]
        record["is_sdc"] = k == 1
    found = load_scenario(put(path, scene))
    assert (found.ids, found.ego, found.predict, found.lights) == (("0", "1"), 1, (), {})
    assert found.name == "a1b2.json" and load(path).signals == {}


def test_steps_at_which_a_light_was_not_seen_are_unknown(scene, path):
    light = scene["tl_states"]["2"]
    light["time_index"] = [0, 4, 10]
    states = load_scenario(put(path, scene)).lights["2"].tolist()
    assert [LIGHT_STATES[states[step]] for step in (0, 1, 4, 10)] == ["red", "unknown", "yellow", "green"]


def test_what_cannot_be_driven_on_is_left_out(scene, path):
    corner = {"x": 0.0, "y": 0.0, "z": 0.0}
    scene["roads"] += [{"geometry": [corner] * 4, "type": kind, "map_element_id": n, "id": 900 + n}
                       for kind, n in (("driveway", 20), ("speed_bump", 19), ("stop_sign", 17))]  # fmt: skip
    assert set(load(put(path, scene)).lanes) == {"1", "2"}


def changed(scene, place, value):
    scene = copy.deepcopy(scene)
    *way, last = place
    part = scene
    for key in way:
        part = part[key]
    if value is None:
        del part[last]
    else:
        part[last] = value
    return scene


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("objects",), None, r"must have lists of 'objects' and 'roads'"),
        (("objects",), [], r"the scene has no objects"),
        (("objects", 0, "valid"), None, r"object 0: 'valid' is missing"),
        (("objects", 0, "valid"), [True], r"object 0: 11 values of 'position' and 1 of 'valid'"),
        (("objects", 1, "valid"), [0.5] * 11, r"object 1: 'valid' must be a list of true and false"),
        (("objects", 1, "length"), "4.5", r"object 1: 'length' is '4\.5', which is of the wrong type"),
        (("objects", 1, "length"), True, r"object 1: 'length' is True, which is of the wrong type"),
        (("objects", 0, "width"), 0.0, r"agent 7: width=0\.0 at step 0 must be above 0"),
        (("objects", 0, "heading", 3), math.nan, r"agent 7: heading=nan at step 3 must be finite"),
        (("objects", 0, "heading"), [0.0] * 10, r"object 0: 10 values of 'heading' and 11 of 'valid'"),
        (("objects", 0, "position", 2), {"x": 1.0, "y": "2"}, r"agent 7: y=nan at step 2 must be finite"),
        (("objects", 0, "position", 2, "x"), 10**400, r"agent 7: x=nan at step 2 must be finite"),
        (("objects", 0), 5, r"object 0: 5 is not an object with 'valid'"),
        (("objects", 1, "id"), 7, r"agent 7: its id is given twice"),
        (("metadata", "sdc_track_index"), 5, r"ego: there is no track 5"),
        (("metadata", "sdc_track_index"), "0", r"sdc_track_index: it is '0', it must be a whole number"),
        (("metadata", "tracks_to_predict"), [{}], r"'track_index' is missing"),
        (("metadata", "tracks_to_predict"), {"1": 1}, r"tracks_to_predict: it is .*must be a list"),
        (("metadata",), [1], r"metadata: it is \[1\], it must be an object"),
        (("tl_states",), [1], r"tl_states: they are \[1\], it must be an object"),
        (("tl_states", "2", "x"), None, r"signal 2: 'x' is missing"),
        (("tl_states", "2", "x"), [1.0], r"signal 2: its lists are empty or differ in length"),
        (("tl_states", "2", "time_index", 2), 11, r"signal 2: time_index=11: the scene has steps 0\.\.10"),
        (("tl_states", "2", "time_index", 2), 1.5, r"signal 2: 'time_index' must be whole numbers"),
    ],
)
def test_a_bad_track_is_refused_with_its_place(scene, path, place, value, message):
    with pytest.raises(MapError, match=rf"scene\.json: .*{message}"):
        load_scenario(put(path, changed(scene, place, value)), strict=True)


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("roads", 0, "geometry"), None, r"road 0: 'geometry' is missing"),
        (("roads", 0, "geometry", 3), {"y": 1.0}, r"road 0: point 3: x=nan: it must be finite"),
        (("roads", 0, "geometry", 3, "x"), None, r"road 0: point 3"),
        (("roads", 0, "map_element_id"), 4, r"road 0: map_element_id=4: lanes have 0\.\.3"),
        (("roads", 0, "map_element_id"), "2", r"road 0: 'map_element_id' is '2', which is of the wrong type"),
        (("roads", 1, "id"), 1, r"road 1: lane 1 is given twice"),
        (("roads", 1, "id"), True, r"road 1: 'id' is True, which is of the wrong type"),
        (("roads", 4, "geometry"), [], r"crosswalk '?20000'?: an outline of 0 corners"),
        (("roads",), [], r"no driving lane"),
    ],
)
def test_a_bad_map_is_refused_with_its_place(scene, path, place, value, message):
    with pytest.raises(MapError, match=rf"scene\.json: .*{message}"):
        load(put(path, changed(scene, place, value)), strict=True)


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"[]", b"{}", b'{"lanes": 1}'])
def test_other_json_is_not_taken_for_a_scene(path, data):
    path.write_bytes(data)
    with pytest.raises(MapError, match=r"scene\.json: unknown map format"):
        load(path)


@pytest.mark.parametrize(
    "data", [b'{"roads": [', b'{"roads": 5}', b'"roads"', b'\xff\xfe"roads"', b'"roads"' + b"[" * 100_000]
)
def test_what_is_no_scene_is_refused(path, data):
    path.write_bytes(data)
    with pytest.raises(MapError, match=r"scene\.json: not a (readable )?scene"):
        load(path)
