"""Damaged recordings of Waymo and its descendants: what is damaged costs its part, with the right values on paper."""

import json
import math
import pickle
from pathlib import Path

import numpy as np
import pytest
from recorded import (
    RecordedLane,
    Scene,
    example_message,
    json_scene,
    message,
    parked,
    polyline,
    scenario_message,
    scenarionet_scene,
    tfrecord,
)

from gigaflow_env.roads import MapError, MapWarning, RoadMap, Scenario, load_scene, records
from gigaflow_env.roads.centerline import length
from gigaflow_env.roads.formats.waymo.protobuf import decode, encode

LANES = {1: RecordedLane(polyline((0, 0), (40, 0)), exits=(2,)), 2: RecordedLane(polyline((40, 0), (80, 0)))}
TIMES, TRACK, EGO, LIGHTS, FEATURE, PREDICT = 1, 2, 6, 7, 8, 11


def three(**more: object) -> Scene:
    """Three cars on two lanes; the second recorded the others, the third is to be predicted."""
    return Scene(LANES, tracks=parked(3), valid=np.ones((3, 11), bool), kinds=(1, 1, 1), ego=1, predict=(2,))._replace(
        **more
    )


def changed(data: bytes, *way: tuple[int, int], value: object) -> bytes:
    """A message with another value, or none, at the end of a way of (number of a field, which of these)."""
    (number, place), *rest = way
    fields = decode(data)
    inner = fields[number][place]
    new = changed(inner, *rest, value=value) if rest else value
    fields[number][place : place + 1] = [] if new is None else [new]
    return encode((key, one) for key, given in fields.items() for one in given)


def told(path: Path, match: str) -> tuple[RoadMap, Scenario]:
    """What is read of a damaged file, with this entry in its report; strictly it is an error that says the same."""
    with pytest.warns(MapWarning, match=match):
        found = load_scene(path)
    with pytest.raises(MapError, match=rf"{path.name}: .*{match.split(': ')[0]}"):
        load_scene(path, strict=True)
    return found


def damaged(tmp_path: Path, *way: tuple[int, int], value: object, match: str) -> tuple[RoadMap, Scenario]:
    path = tmp_path / "x.tfrecord"
    path.write_bytes(tfrecord(changed(scenario_message(three()), *way, value=value)))
    return told(path, match)


# Scenario messages


def test_a_state_without_a_number_is_not_seen(tmp_path: Path) -> None:
    _, scenario = damaged(tmp_path, (TRACK, 0), (3, 4), (2, 0), value=None, match="agent 7: x=nan at step 4 must be finite")
    assert scenario.valid[0].tolist() == [step != 4 for step in range(11)] and scenario.valid[1:].all()


@pytest.mark.parametrize("value", [None, b"", b"\xff\xff"])
def test_a_state_that_is_none_costs_its_track_or_its_step(tmp_path: Path, value: bytes | None) -> None:
    match = "agent 7 at step 4" if value is not None else "agent 7: 10 states, the scenario has 11 timestamps: left out"
    _, scenario = damaged(tmp_path, (TRACK, 0), (3, 4), value=value, match=match)
    assert scenario.ids == (("8", "9") if value is None else ("7", "8", "9"))
    assert value is None or np.flatnonzero(~scenario.valid[0]).tolist() == [4]


def test_a_track_that_is_left_out_moves_the_roles_of_the_others(tmp_path: Path) -> None:
    _, scenario = damaged(tmp_path, (TRACK, 0), value=b"\xff", match="agent track 0: .*left out")
    assert (scenario.ids, scenario.ego, scenario.predict) == (("8", "9"), 0, (1,))
    np.testing.assert_allclose(scenario.x[:, 0], [10.0, 20.0])


def test_the_role_of_a_track_that_is_left_out_is_left_out(tmp_path: Path) -> None:
    _, scenario = damaged(tmp_path, (TRACK, 1), value=b"\xff", match="agent track 1: .*; reference ego: there is no track 1")
    assert (scenario.ids, scenario.ego, scenario.predict) == (("7", "9"), None, (1,))


@pytest.mark.parametrize(("field", "value"), [(EGO, 5), (EGO, None), (EGO, b"x"), (PREDICT, b""), (PREDICT, b"\xff")])
def test_roles_that_cannot_be_read_are_told(tmp_path: Path, field: int, value: object) -> None:
    _, scenario = damaged(tmp_path, (field, 0), value=value, match="ego|tracks to predict")
    assert (scenario.ego, scenario.predict) == ((None, (2,)) if field == EGO else (1, ()))


def test_the_tracks_say_how_many_steps_there_are_where_times_are_lost(tmp_path: Path) -> None:
    _, scenario = damaged(tmp_path, (TIMES, 3), value=None, match="timestamps: there are 10, most tracks have 11 states")
    assert scenario.steps == 11 and scenario.valid.all()


@pytest.mark.parametrize("value", [b"", b"\xff", message((1, math.nan), (2, 0.0), (3, 0.0))])
def test_a_point_that_cannot_be_read_costs_the_point(tmp_path: Path, value: bytes) -> None:
    road_map, _ = damaged(tmp_path, (FEATURE, 0), (3, 0), (8, 40), value=value, match="point 40: .*1 left out")
    assert length(road_map.lanes["1"].line) == pytest.approx(40.0) and road_map.lanes["1"].successors == ("2",)


def test_many_points_that_cannot_be_read_cost_the_lane(tmp_path: Path) -> None:
    scene = three(lanes=LANES | {1: RecordedLane(np.where(np.arange(81)[:, None] % 5, polyline((0, 0), (40, 0)), math.nan))})
    path = tmp_path / "x.tfrecord"
    path.write_bytes(tfrecord(scenario_message(scene)))
    road_map, _ = told(path, "map feature 0: point 0: x=nan.*: left out")
    assert set(road_map.lanes) == {"2"}


def test_exits_that_are_lost_are_found_by_the_entries(tmp_path: Path) -> None:
    road_map, _ = damaged(
        tmp_path, (FEATURE, 0), (3, 0), (10, 0), value=b"", match="reference 1: 2 has it as an entry.*: linked"
    )
    assert road_map.lanes["1"].successors == ("2",)


@pytest.mark.parametrize("value", [None, b"x"])
def test_a_lane_without_id_is_driven_under_another_name(tmp_path: Path, value: bytes | None) -> None:
    road_map, _ = damaged(tmp_path, (FEATURE, 0), (1, 0), value=value, match="map feature 0: its id")
    assert road_map.lanes["feature 0"].successors == ("2",)


@pytest.mark.parametrize("value", [None, 9])
def test_a_lane_of_an_unknown_type_is_a_driving_lane(tmp_path: Path, value: int | None) -> None:
    road_map, _ = damaged(tmp_path, (FEATURE, 0), (3, 0), (2, 0), value=value, match="value lane 1: .*a driving lane")
    assert road_map.lanes["1"].kind == "driving" and set(road_map.lanes) == {"1", "2"}


@pytest.mark.parametrize("value", [-3.0, math.nan, 1e9, b"x"])
def test_a_limit_that_can_not_be_is_the_usual_one(tmp_path: Path, value: object) -> None:
    road_map, _ = damaged(tmp_path, (FEATURE, 0), (3, 0), (1, 0), value=value, match="value limit of lane 1: .*left out")
    assert road_map.lanes["1"].speed == pytest.approx(13.4)


def test_a_light_that_cannot_be_read_is_unknown_at_that_step(tmp_path: Path) -> None:
    scene = three(lights={2: (np.array([40.0, 0, 0]), [4] * 11)})
    path = tmp_path / "x.tfrecord"
    path.write_bytes(tfrecord(changed(scenario_message(scene), (LIGHTS, 3), (1, 0), value=b"\xff")))
    road_map, scenario = told(path, "signal at step 3: .*left out")
    assert road_map.lanes["2"].signal == "2" and scenario.lights["2"].tolist() == [3] * 3 + [4] + [3] * 7


def test_a_message_that_is_cut_off_keeps_what_came_before(tmp_path: Path) -> None:
    path, data = tmp_path / "x.tfrecord", scenario_message(three(predict=()))
    path.write_bytes(tfrecord(data[:-700]))  # within the second lane, the last feature
    road_map, scenario = told(path, "record 0: field 8 .* its message ends after")
    assert set(road_map.lanes) == {"1"} and scenario.agents == 3


# Files of records


def test_a_wrong_checksum_is_told(tmp_path: Path) -> None:
    path, data = tmp_path / "x.tfrecord", tfrecord(scenario_message(three()))
    path.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    road_map, _ = told(path, "record at byte 12: the checksum of the record is wrong")
    assert set(road_map.lanes) == {"1", "2"}
    path.write_bytes(data[:8] + bytes([data[8] ^ 1]) + data[9:])
    road_map, _ = told(path, "record 0: .*the checksum of the length of record 0 is wrong: its length is right")
    assert set(road_map.lanes) == {"1", "2"}


@pytest.mark.parametrize(("lost", "left"), [(2, 2), (700, 2), (-20, 3)])
def test_of_a_file_that_is_cut_off_the_records_before_are_read(tmp_path: Path, lost: int, left: int) -> None:
    path, one = tmp_path / "x.tfrecord", scenario_message(three(predict=()))
    path.write_bytes(tfrecord(one, one)[:-lost] if lost > 0 else tfrecord(one, one) + tfrecord(one)[:-lost])
    assert records(path) == left
    with pytest.warns(MapWarning, match="but the file ends before: what is left of it is read"):
        road_map, scenario = load_scene(path, record=0)
    assert set(road_map.lanes) == {"1", "2"} and scenario.agents == 3


def test_rubbish_after_the_records_is_left_out(tmp_path: Path) -> None:
    path, one = tmp_path / "x.tfrecord", tfrecord(scenario_message(three()))
    path.write_bytes(one + b"rubbish after the record")
    road_map, _ = told(path, "record 1: .*it and what comes after it is left out")
    assert set(road_map.lanes) == {"1", "2"}


# tf.Examples


def example(tmp_path: Path, name: str, new: bytes | None, match: str, **more: object) -> tuple[RoadMap, Scenario]:
    """A tf.Example in which a list became another one, or none."""
    features = decode(decode(example_message(three(**more)))[1][0])[1]
    kept = [(1, one) for one in features if decode(one)[1][0] != name.encode()]
    assert len(kept) == len(features) - 1
    if new is not None:
        kept.append((1, message((1, name), (2, new))))
    path = tmp_path / "x.tfrecord"
    path.write_bytes(tfrecord(message((1, message(*kept)))))
    return told(path, match)


@pytest.mark.parametrize("name", ["x", "velocity_y", "valid"])
def test_a_list_that_is_lost_costs_what_was_seen_then(tmp_path: Path, name: str) -> None:
    _, scenario = example(tmp_path, f"state/past/{name}", None, match=f"value state/past: .*{name} 0: nobody is seen then")
    assert scenario.steps == 11 and scenario.valid.sum(axis=0).tolist() == [0] * 10 + [3]


def test_roles_and_names_that_are_lost_are_told(tmp_path: Path) -> None:
    _, scenario = example(tmp_path, "state/id", None, match="value state/id: 0 numbers for 5 agents: named by their places")
    assert (scenario.ids, scenario.ego, scenario.predict) == (("track 0", "track 1", "track 2"), 1, (2,))
    _, scenario = example(tmp_path, "state/is_sdc", b"", match="value state/is_sdc: 0 numbers for 5 agents")
    assert (scenario.ego, scenario.predict) == (None, (2,))


def test_points_of_lists_of_different_lengths_are_those_that_all_have(tmp_path: Path) -> None:
    kinds = np.full(100, 2, np.uint8).tobytes()
    match = "roadgraph_samples: lists of different lengths: xyz 167, id 167, type 100, valid 167: the first 100 points count"
    road_map, _ = example(tmp_path, "roadgraph_samples/type", message((3, message((1, kinds)))), match=match)
    assert length(road_map.lanes["1"].line) == pytest.approx(40.0)
    assert length(road_map.lanes["2"].line) == pytest.approx(9.0)


def test_numbers_that_are_none_cost_their_points_and_steps(tmp_path: Path) -> None:
    """Also a NaN that signals, of which NumPy warns."""
    nan, points = b"\x01\x00\xa0\x7f", np.concatenate([lane.points for lane in LANES.values()]).astype("<f4")
    data = points.tobytes()[:600] + nan + points.tobytes()[604:] + np.full((5, 3), -1, "<f4").tobytes()
    road_map, _ = example(
        tmp_path, "roadgraph_samples/xyz", message((2, message((1, data)))), "point 50: x=nan.*: 1 left out"
    )
    assert length(road_map.lanes["1"].line) == pytest.approx(40.0)
    data = np.full(5, 1.0, "<f4").tobytes()[:16] + nan
    _, scenario = example(
        tmp_path, "state/current/z", message((2, message((1, nan + data[4:])))), "agent 7: z=nan at step 10"
    )
    assert np.argwhere(~scenario.valid).tolist() == [[0, 10]]


def test_an_example_without_points_is_no_map(tmp_path: Path) -> None:
    path = tmp_path / "x.tfrecord"
    path.write_bytes(tfrecord(example_message(three()).replace(b"samples/xyz", b"samples/zyx")))
    with pytest.raises(MapError, match=r"x\.tfrecord: record 0: feature 'roadgraph_samples/xyz' is missing"):
        load_scene(path)


# Scenes of GPUDrive and ScenarioNet


def test_of_a_scene_of_gpudrive_one_object_is_left_out(tmp_path: Path) -> None:
    scene, path = json_scene(three()), tmp_path / "x.json"
    scene["objects"][0]["velocity"] = "none"
    path.write_text(json.dumps(scene))
    _, scenario = told(path, "object 0: 'velocity' is 'none'")
    assert (scenario.ids, scenario.ego, scenario.predict) == (("8", "9"), 0, (1,))


def test_headings_that_are_neither_radians_nor_degrees_are_not_seen(tmp_path: Path) -> None:
    scene, path = json_scene(three()), tmp_path / "x.json"
    scene["objects"][2]["heading"][3] = 1e6
    path.write_text(json.dumps(scene))
    _, scenario = told(path, "agent 9: heading=nan at step 3")
    assert np.argwhere(~scenario.valid).tolist() == [[2, 3]] and not scenario.heading[0].any()


def test_of_a_scene_of_scenarionet_one_step_is_left_out(tmp_path: Path) -> None:
    data, path = scenarionet_scene(three()), tmp_path / "x.pkl"
    data["tracks"]["7"]["state"]["width"][5] = 0.0
    path.write_bytes(pickle.dumps(data))
    _, scenario = told(path, "agent 7: width=0.0 at step 5 must be above 0: not seen at 1 steps")
    assert np.argwhere(~scenario.valid).tolist() == [[0, 5]]
