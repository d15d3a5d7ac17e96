"""Real scenes of every format give full Scenarios: who drives, who recorded it, who is to predict, what lights showed."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from small_scenes import equal

from gigaflow_env import cli
from gigaflow_env.roads import load, load_scenario, load_scene, records, save_scene
from gigaflow_env.roads.scenario import LIGHT_STATES, validate_scenario
from gigaflow_env.scenes.feasible import flags

SHARED = Path(__file__).resolve().parents[2] / "shared"
pytestmark = [
    pytest.mark.skipif(not (SHARED / "scenes").is_dir(), reason="needs shared/scenes and shared/maps beside the checkout"),
    pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning"),
]


class Facts(NamedTuple):
    agents: int
    steps: int
    dt: float
    ego: int | None
    predict: int  # how many
    lights: int
    edges: int
    seen: int  # agents times steps
    off: int  # of those that move, how many start off the road
    jumps: float  # share of agents that move as no car can by Waymax's inverse bicycle, at some step, at most: noise counts


SCENES = {
    "scenes/motion_data_one_scenario.tfrecord": Facts(83, 91, 0.1, 82, 3, 12, 28, 4596, 2, 0.35),
    # A tf.Example holds so many points of the road and no more: where they end, there are no lanes.
    "scenes/motion_data_one_example.tfrecord": Facts(128, 91, 0.1, 8, 8, 7, 45, 6228, 19, 0.4),
    "scenes/gpudrive_scene_4.json": Facts(81, 91, 0.1, 80, 7, 0, 18, 4802, 1, 0.2),
    "scenes/scenarionet_overpass.pkl": Facts(45, 199, 0.1, 44, 0, 13, 33, 4618, 0, 0.65),
    # Cars that come out of car parks, where there are no lanes.
    "scenes/argoverse2/scenario_0a1e6f0a-1817-4a98-b02e-db8c9327d151.parquet": Facts(
        58, 110, 0.1, 57, 2, 0, 0, 2434, 4, 0.07
    ),
    # Planning problems have no vehicle of their own.
    "maps/commonroad/DEU_A9-3_1_T-1.xml": Facts(9, 31, 0.2, None, 0, 0, 0, 238, 0, 0.0),
    "maps/commonroad/ZAM_Tutorial-1_2_T-1.xml": Facts(3, 41, 0.1, None, 0, 0, 0, 123, 0, 0.0),
}


@pytest.fixture(scope="module", params=SCENES)
def scene(request: pytest.FixtureRequest) -> Any:
    path = SHARED / request.param
    if path.suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs the extra scenes")
    return path, SCENES[request.param], load_scene(path)


def test_a_scene_is_complete(scene: Any) -> None:
    path, facts, (road_map, traffic) = scene
    validate_scenario(traffic)
    assert records(path) == 1
    assert (traffic.agents, traffic.steps, traffic.dt, traffic.ego) == facts[:4]
    assert len(traffic.predict) == facts.predict and len(traffic.road_edges) == facts.edges
    assert len(traffic.lights) == facts.lights and set(traffic.lights) <= set(road_map.signals)
    assert int(traffic.valid.sum()) == facts.seen
    if traffic.ego is not None:
        assert traffic.valid[traffic.ego].all(), "the recording car is always there"
    shown = {LIGHT_STATES[state] for states in traffic.lights.values() for state in states.tolist()}
    assert shown <= {"green", "yellow", "red", "unknown"} and (not traffic.lights or "red" in shown or "green" in shown)


def test_most_who_drive_start_on_the_road_apart_from_each_other_and_move_as_they_can(scene: Any) -> None:
    _, facts, (road_map, traffic) = scene
    found = flags(traffic, road_map, min(10, traffic.steps - 1))
    assert found.overlap.sum() <= 4
    moving = np.nanmax(np.hypot(traffic.velocity_x, traffic.velocity_y), axis=1) > 2.0
    assert (found.off_road & moving).sum() == facts.off
    if traffic.ego is not None:
        assert not found.overlap[traffic.ego] and not found.infeasible[traffic.ego]
        assert not found.off_road[traffic.ego] or "example" in traffic.source  # tf.Examples lack some lanes
    assert found.infeasible.mean() <= facts.jumps


def test_it_comes_back_from_the_own_file(scene: Any, tmp_path: Path) -> None:
    road_map, traffic = scene[2]
    save_scene(traffic, road_map, tmp_path / "a.scene.npz")
    again = load_scene(tmp_path / "a.scene.npz")
    for one, other in zip((road_map, traffic), again, strict=True):
        for field in fields(one):
            assert equal(getattr(one, field.name), getattr(other, field.name)), field.name
    assert again[0].report == road_map.report


def test_map_and_traffic_alone_are_the_same(scene: Any) -> None:
    path, _, (road_map, traffic) = scene
    assert equal(load_scenario(path), traffic)
    assert equal(load(path).lanes, road_map.lanes)


def test_the_command_looks_into_it(scene: Any, capsys: pytest.CaptureFixture[str]) -> None:
    path, facts, _ = scene
    assert cli.main(["scenes", "inspect", str(path), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["agents"], told["steps"], told["lights"], len(told["predict"])) == (
        facts.agents,
        facts.steps,
        facts.lights,
        facts.predict,
    )
