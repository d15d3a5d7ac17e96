"""Own scenes: the same for the same seed, traffic that a benchmark could be run on, and the commands that make them."""

import json
from pathlib import Path

import numpy as np
import pytest
from small_scenes import equal, road, scenario

from gigaflow_env import cli
from gigaflow_env.roads import load_scene, save_scene
from gigaflow_env.scenes.feasible import flags
from gigaflow_env.scenes.generated import AGENTS, DT, generate


@pytest.fixture(scope="module")
def made():
    return generate(1, steps=40)


def test_the_same_seed_gives_the_same_scene_and_another_another(made):
    again, other = generate(1, steps=40), generate(2, steps=10)
    assert equal(made[0], again[0]) and equal(made[1], again[1])
    assert not equal(made[0], other[0]) and other[1].steps == 10


def test_it_is_traffic(made):
    road_map, traffic = made
    assert traffic.steps == 40 and traffic.dt == DT
    assert AGENTS / 2 <= traffic.valid[:, 0].sum() <= AGENTS
    assert traffic.ego in traffic.predict and traffic.valid[list(traffic.predict)].all()
    assert set(traffic.kinds) <= {"vehicle", "cyclist"}
    assert 1.0 < np.nanmean(np.hypot(traffic.velocity_x, traffic.velocity_y)) < 20.0
    assert set(traffic.lights) == {name for name, signal in road_map.signals.items() if signal.kind == "light"}
    assert traffic.lights and all(set(states.tolist()) <= {1, 2, 3} for states in traffic.lights.values())
    found = flags(traffic, road_map)
    assert not found.start_conflict.any()
    assert found.infeasible.sum() <= 1  # of seeds 1 to 8 two have one


def test_velocities_are_those_of_the_way(made):
    traffic = made[1]
    way = np.hypot(np.diff(traffic.x), np.diff(traffic.y)) / traffic.dt
    speed = np.hypot(traffic.velocity_x, traffic.velocity_y)
    assert np.nanmax(np.abs(way - (speed[:, 1:] + speed[:, :-1]) / 2)) < 0.5


def test_tracks_lie_on_the_map_they_came_from(made):
    road_map, traffic = made
    starts = np.concatenate([lane.line[:, :3] for lane in road_map.lanes.values()])
    low, high = starts.min(axis=0) - 10, starts.max(axis=0) + 10
    for axis, name in enumerate("xyz"):
        track = getattr(traffic, name)[traffic.valid]
        assert low[axis] < track.min() and track.max() < high[axis]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [({"steps": 0}, "steps=0: must be a whole number"), ({"agents": 300}, "agents=300"), ({"radius": 3.0}, "radius=3.0")],
)
def test_sizes_out_of_range_are_refused(sizes, message):
    with pytest.raises(ValueError, match=message):
        generate(1, **sizes)
    with pytest.raises(ValueError, match="seed=-1"):
        generate(-1)


def test_the_command_makes_a_folder_and_goes_on_where_it_stopped(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["scenes", "generate", "--count", "2", "--seed", "5", "--steps", "5", "-o", str(tmp_path / "new")]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == ["2 of 2 scenes", f"{tmp_path / 'new'}: 2 scenes"]
    paths = sorted((tmp_path / "new").iterdir())
    assert [path.name for path in paths] == ["generated-5.scene.npz", "generated-6.scene.npz"]
    assert load_scene(paths[0])[1].steps == 5
    kept = paths[0].stat().st_mtime_ns
    paths[1].unlink()
    assert cli.main(arguments) == 0
    assert paths[1].exists() and paths[0].stat().st_mtime_ns == kept
    capsys.readouterr()
    assert cli.main([*arguments, "--agents", "3"]) == 2
    assert "are asked for: choose another folder" in capsys.readouterr().err
    assert cli.main([*arguments[:3], "0", *arguments[4:]]) == 2
    assert "--count=0: must be a whole number" in capsys.readouterr().err


def test_inspect_says_what_a_scene_holds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "small.scene.npz"
    save_scene(scenario(), road(), path)
    assert cli.main(["scenes", "inspect", str(path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    facts = dict(line.split(maxsplit=1) for line in lines)
    assert facts["agents"] == "2" and facts["steps"] == "6" and facts["pedestrians"] == "1" and facts["ego"] == "car"
    assert facts["light_states"] == "green, red, unknown" and facts["start_overlap"] == "-"
    assert lines[-1] == "import: lane third (line 7, at (1.0, 2.0)): left out"
    assert cli.main(["scenes", "inspect", str(path), "--step", "1", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts["at_the_start"] == 2 and facts["predict"] == ["car", "walker"] and facts["start_off_road"] == []
    assert cli.main(["scenes", "inspect", str(path), "--step", "6"]) == 2
    assert "step=6: must be a whole number, 0 to 5" in capsys.readouterr().err
