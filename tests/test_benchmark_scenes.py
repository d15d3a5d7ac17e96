"""Suites on recorded scenes and on CARLA's routes: the expert at the top, what is left out, and one row a scene."""

import dataclasses
import json
import math
import signal
import warnings
from pathlib import Path

import numpy as np
import pytest
from conftest import road_map, straight
from recorded_scenes import EGO, STEPS, scenario, scene
from route_files import version1

from gigaflow_env.roads import save, save_scene
from gigaflow_env.roads.road_map import Signal
from gigaflow_env.scenes import generated
from gigaflow_train.benchmark import bundles, results, route_suite, scene_suites
from gigaflow_train.benchmark.request import Request
from gigaflow_train.cli import main
from gigaflow_train.evaluate import carla, nuplan, surroundings
from gigaflow_train.evaluate.metrics import proportion
from gigaflow_train.evaluate.trajectories import check

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two generated scenes, one made by hand, and a file that is none."""
    where = tmp_path_factory.mktemp("scenes")
    list(generated.write(where, 2, seed=1, steps=51))
    drawn, made = scene()
    save_scene(dataclasses.replace(made, name="by hand"), drawn, where / "made.scene.npz")
    (where / "torn.scene.npz").write_bytes(b"PK")
    return where


def request(suite, folder, out, **more):
    given = {"data": (str(folder),), "out": out, "threads": 1, "worlds": 2, "keep": 0, "rollouts": 2, **more}
    return Request(suite, "idm", **given)


def driven(suite, policy, folder, tmp_path, **more):
    with pytest.warns(RuntimeWarning, match="1 of 4 scenes are left out"):
        return scene_suites.run(request(suite, folder, tmp_path, **more), policy, lambda share: None)


def by_scene(outcome):
    return {row["scene"]: row for row in outcome.scenes}


def test_the_expert_is_perfect_but_for_what_the_record_has_itself(folder, tmp_path):
    found = driven("waymax", "replay", folder, tmp_path)
    assert sorted(by_scene(found)) == ["generated-1.scene.npz", "generated-2.scene.npz", "made.scene.npz"]
    for row in found.scenes:
        assert row["log_divergence"] == pytest.approx(0.0, abs=1e-4)
        assert row["progress_ratio"] == pytest.approx(1.0)
        assert row["distance"] == pytest.approx(row["logged_distance"], rel=1e-4)
        assert row["kinematic_infeasibility"] == 0.0 and not row["collision"] and not row["offroad"]
    assert found.figures["score"].value == pytest.approx(1.0, rel=1e-4) and found.figures["score"].n == 3
    (left,) = found.left_out
    assert left["scene"] == "torn.scene.npz" and left["reason"]


def test_policies_lie_in_their_order(folder, tmp_path):
    score = {name: driven("waymax", name, folder, tmp_path).figures["score"].value for name in ("replay", "idm", "random")}
    assert score["replay"] >= score["idm"] > score["random"] + 0.3


def test_nuplan_of_the_expert(folder, tmp_path):
    found = driven("nuplan", "replay", folder, tmp_path)
    for row in found.scenes:
        assert row["ego_progress_along_expert_route"] == pytest.approx(1.0, abs=1e-3)
        assert row["no_ego_at_fault_collisions"] == 1.0
    assert by_scene(found)["generated-1.scene.npz"]["score"] > 0.6
    assert driven("nuplan", "random", folder, tmp_path).figures["score"].value < found.figures["score"].value - 0.3


def test_types_and_fair_starts_stand_apart():
    rows = [
        {"type": kind, "score": score, "start_conflict": bad, **dict.fromkeys(nuplan.Terms._fields, 1.0)}
        for kind, score, bad in (
            ("changing_lane", 1.0, False),
            ("changing_lane", 0.5, True),
            ("near_multiple_vehicles", 0.0, False),
        )
    ]
    found = {name: one.value for name, one in scene_suites.nuplan_figures(rows).items()}
    assert (found["score_changing_lane"], found["score_near_multiple_vehicles"], found["score"]) == (0.75, 0.0, 0.5)
    assert found["score_of_fair_starts"] == 0.5 and found["start_conflict"] == pytest.approx(1 / 3)
    assert len(nuplan.TYPES) == len(set(nuplan.TYPES)) == 14
    one, other = (
        {**dict.fromkeys(("goal", "score", "collided", "offroad", "unfinished"), share), "agents": 2, "start_conflicts": bad,
         "log_divergence": 0.0,
         **dict.fromkeys((f"{name}_of_fair_starts" for name in ("score", "collided", "offroad")), fair)}
        for share, bad, fair in ((0.5, 1, 1.0), (0.5, 2, None))
    )  # fmt: skip
    found = scene_suites.scenes_figures([one, other])
    assert found["score"][0] == 0.5 and found["score_of_fair_starts"] == proportion(1, 1)


def test_reactive_others(folder, tmp_path):
    found = driven("nuplan", "idm", folder, tmp_path, others="idm")
    assert found.config["idm_headway"] == 1.5  # nuPlan's reactive agents
    assert 0.0 <= found.figures["score"].value <= 1.0


def test_wosac_has_the_expert_at_the_top_and_names_its_year(folder, tmp_path):
    expert, random = (driven("wosac", name, folder, tmp_path, year=2024) for name in ("replay", "random"))
    assert expert.figures["composite_2024"].value > random.figures["composite_2024"].value
    assert "red_light" not in expert.figures
    assert expert.scenes[0]["rollouts"] == random.scenes[0]["rollouts"] == 2
    assert random.scenes[0]["min_ade"] < random.scenes[0]["ade"]  # two draws that differ
    assert expert.scenes[0]["min_ade"] == pytest.approx(0.0, abs=0.2)


def test_scenes_counts_agents(folder, tmp_path):
    found = driven("scenes", "replay", folder, tmp_path)
    assert found.figures["goal"].value == 1.0
    assert found.figures["goal"].n == sum(row["agents"] for row in found.scenes) > 4
    assert found.figures["unfinished"].value == 0.0


def test_the_same_whatever_the_number_of_worlds_and_threads(folder, tmp_path):
    one, other = (
        driven("waymax", "idm", folder, tmp_path, worlds=worlds, threads=threads) for worlds, threads in ((1, 1), (3, 2))
    )
    assert json.dumps(one.scenes) == json.dumps(other.scenes)


def test_a_limit(folder, tmp_path):
    found = scene_suites.run(request("waymax", folder, tmp_path, limit=1, worlds=1), "idm", lambda share: None)
    assert len(found.scenes) == 1


def test_ctrl_c_keeps_what_was_scored(folder, tmp_path):
    def advance(share):
        if share < 1.0:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        found = scene_suites.run(request("waymax", folder, tmp_path, worlds=1), "idm", advance)
    assert signal.getsignal(signal.SIGINT) is before
    assert found.interrupted and len(found.scenes) == found.figures["score"].n == 2
    assert found.left_out[-1] == {
        "scene": "all others",
        "reason": f"interrupted: {3 - len(found.left_out)} scenes are not scored",
    }


def test_what_was_driven_is_whole(folder, tmp_path):
    given = request("scenes", folder / "made.scene.npz", tmp_path)
    env = scene_suites.make(given, "constant", given.data)
    (found,) = scene_suites.drive(given, "constant", env, scene_suites.short(env.unwrapped.scene_names), seed=1)
    env.close()
    check(found.trajectories)
    record = scenario()
    assert (found.trajectories.x[:, :10][record.valid[:, :10]] == record.x[:, :10][record.valid[:, :10]]).all()
    assert found.trajectories.valid[EGO].all() and found.trajectories.steps == STEPS
    # Who isn't controlled is where the record is.
    others = [agent for agent in range(record.agents) if agent not in found.controlled]
    for agent in others:
        seen = record.valid[agent] & found.trajectories.valid[agent]
        assert np.allclose(found.trajectories.x[agent, seen], record.x[agent, seen], atol=1e-4)
    assert scene_suites.kind_of(found) in ("straight", "left", "right", "standing")


def test_names_of_scenes():
    assert scene_suites.named("/a/b/c.tfrecord, record 3") == "c.tfrecord, record 3"
    assert scene_suites.named("scenario 'a/b'") == "scenario 'a/b'"
    assert surroundings.types_of(scenario(), EGO) == "straight"
    given = ["/a/b/1.pkl", "/a/c/1.pkl", "/a/2.pkl", "/x/b/1.pkl"]
    assert list(scene_suites.short(given).values()) == ["a/b/1.pkl", "c/1.pkl", "2.pkl", "x/b/1.pkl"]
    with pytest.raises(ValueError, match=r"/a/2.pkl is given twice"):
        scene_suites.short([*given, "/a/2.pkl"])


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """Scenes of the same name in two folders: with other agents to predict, with another time step, and with none."""
    where = tmp_path_factory.mktemp("mixed")
    drawn, made = scene()
    slow = dataclasses.replace(made, dt=0.2, name="slow", velocity_x=made.velocity_x / 2, velocity_y=made.velocity_y / 2)
    late = dataclasses.replace(made, ego=None, predict=(), name="late")
    # The first one has fewer agents to predict than the others: the rows of its environment don't suffice for them.
    for name, one in {"a/1": dataclasses.replace(made, predict=(EGO,)), "b/1": made, "b/2": slow, "c/3": late}.items():
        (where / name).parent.mkdir(exist_ok=True)
        save_scene(one, drawn, where / f"{name}.scene.npz")
    return where


@pytest.mark.filterwarnings("ignore:[12] of 4 scenes are left out:RuntimeWarning")
@pytest.mark.parametrize("suite", ["wosac", "scenes"])
@pytest.mark.parametrize("worlds", [1, 3])
def test_scenes_of_one_name_and_of_several_time_steps_are_all_scored(mixed, tmp_path, suite, worlds):
    given = request(suite, mixed, tmp_path, worlds=worlds, keep=9)._replace(policy="random")
    found = scene_suites.run(given, "random", lambda share: None)
    rows = by_scene(found)
    assert sorted(rows) == ["2.scene.npz", "a/1.scene.npz", "b/1.scene.npz"]
    assert rows["a/1.scene.npz"]["agents"] == 1 and rows["b/1.scene.npz"]["agents"] == 2
    assert all(row["left_out"] == 0 for row in found.scenes)
    assert all(row.get("rollouts", 2) == 2 for row in found.scenes)
    assert [one["scene"] for one in found.left_out] == ["3.scene.npz"]
    bundled = sorted((tmp_path / "failures").glob("*.npz"))
    assert len(bundled) == 3
    for path in bundled:
        bundle = bundles.load(path)
        env = bundles.make(bundle, threads=1)
        assert bundles.happen(bundle, env), bundle.about["scene"]
        env.close()


def test_every_rollout_has_its_own_chance_and_begins_alike(mixed, tmp_path):
    given = request("wosac", mixed / "a", tmp_path)
    env = scene_suites.make(given, "random", given.data)
    names = scene_suites.short(env.unwrapped.scene_names)
    one, other = scene_suites.drive(given, "random", env, names, seed=1, rounds=2)
    start = scene_suites.START
    assert one.name == other.name and not np.array_equal(one.trajectories.x, other.trajectories.x, equal_nan=True)
    assert np.array_equal(one.trajectories.x[:, : start + 1], other.trajectories.x[:, : start + 1], equal_nan=True)
    env.close()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_the_command_on_scenes(folder, tmp_path, capsys):
    words = [
        "benchmark",
        "waymax",
        "constant",
        "--data",
        str(folder),
        "--out",
        str(tmp_path),
        "--threads",
        "1",
        "--worlds",
        "4",
    ]
    assert main([*words, "--baselines", "replay", "--keep", "2"]) == 0
    assert "1 left out, the first: torn.scene.npz" in capsys.readouterr().out
    content = results.read(tmp_path)
    assert content["baselines"]["replay"]["figures"]["score"]["value"] == pytest.approx(1.0, rel=1e-4)
    page = (tmp_path / "report.html").read_text()
    assert page.count('"clip":null') == 1 and "made.scene.npz" in page  # two of three scenes are shown
    for bundle in sorted((tmp_path / "failures").glob("*.npz")):
        assert main(["failure", str(bundle), "--out", str(tmp_path / "again.html"), "--threads", "1"]) == 0
    assert capsys.readouterr().out.count("happened again") == 2


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"text", "no failure bundle"),
        (b"", "no failure bundle"),
        (b"PK\x03\x04 torn", "no failure bundle"),
        ({"about": b'{"format": 2}', "actions": np.zeros(1)}, "it lacks 'config'"),
        ({"about": b'{"format": 1}', "actions": np.zeros(1)}, "a bundle of format 1; this version reads 2"),
        ({"about": b"[1]", "actions": np.zeros(1)}, "no failure bundle"),
        ({"about": b"no json", "actions": np.zeros(1)}, "no failure bundle"),
        ({"other": np.zeros(1)}, "no failure bundle"),
    ],
)
def test_what_is_no_bundle(tmp_path, content, message):
    path = tmp_path / "a.npz"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        np.savez(path, **{k: np.frombuffer(v, np.uint8) if isinstance(v, bytes) else v for k, v in content.items()})
    with pytest.raises(ValueError, match=f"a.npz: .*{message}"):
        bundles.load(path)


# Routes


def town():
    """A street of 300 m in two parts, and one beside it against it."""
    return road_map(
        "street", straight("one", 0, 0, 150, 0, successors=("two",)), straight("two", 150, 0, 300, 0, successors=("three",)),
        straight("three", 300, 0, 380, 0), straight("back", 380, -3.5, 0, -3.5),
    )  # fmt: skip


def test_a_route_becomes_a_scene():
    graph = carla.lane_graph(town())
    matched = carla.match(carla.Route("1", "street", np.array([[10.0, 0.0, 0.0], [290.0, 0.0, 0.0]])), graph)
    made = route_suite.scenario_of(matched, graph, 1)
    assert made.agents > 4 and made.ego == 0 and made.dt == 0.1
    assert made.x[0, 0] == pytest.approx(10.0) and made.x[0].max() == pytest.approx(290.0 + 40.0, abs=1.5)
    assert made.steps == math.ceil(matched.timeout / 0.1) + 1
    starts = np.stack([made.x[:, 0], made.y[:, 0]], axis=1)
    apart = np.hypot(*(starts[:, None] - starts[None]).transpose(2, 0, 1)) + 99 * np.eye(made.agents)
    assert apart.min() >= route_suite.APART
    assert (route_suite.scenario_of(matched, graph, 1).x == made.x).all()
    assert not (route_suite.scenario_of(matched, graph, 2).x[1:, 0] == made.x[1:, 0]).all()


@pytest.mark.parametrize(
    ("kind", "counts"), [("stop", {"stop_sign": 1, "red_light": 0}), (None, {"stop_sign": 0, "red_light": 0})]
)
def test_who_keeps_his_speed_runs_the_stop_sign_and_into_what_stands(tmp_path, kind, counts):
    """The constant policy passes the line at 150 m; without others its score is that of one penalty."""
    lanes = town().lanes
    if kind:
        lanes["two"] = dataclasses.replace(lanes["two"], signal="s")
    drawn = road_map("street", *lanes.values(), signals=[Signal("s", kind, "g")] if kind else [])
    save(drawn, tmp_path / "street.lanes.json")
    path = version1(tmp_path / "r.xml", {"0": [(10.0, 0.0), (290.0, 0.0)]}, "street")
    more = {"maps": (str(tmp_path / "street.lanes.json"),)}
    found = route_suite.run(request("carla-routes", path, tmp_path, **more), "constant", lambda share: None)
    (row,) = found.scenes
    assert {name: row[name] for name in counts} == counts
    factor = 0.8 ** row["stop_sign"] * 0.6 ** row["vehicle"] * (1.0 - row["outside"])
    assert row["driving_score"] == pytest.approx(row["route_completion"] * factor)


def test_ctrl_c_keeps_the_routes_that_were_driven(tmp_path):
    save(town(), tmp_path / "street.lanes.json")
    path = version1(tmp_path / "r.xml", {str(k): [(10.0, 0.0), (90.0 + k, 0.0)] for k in range(3)}, "street")
    given = request("carla-routes", path, tmp_path, maps=(str(tmp_path / "street.lanes.json"),), worlds=1)
    calls = []

    def advance(share):
        calls.append(share)
        if len(calls) == 1:
            signal.raise_signal(signal.SIGINT)

    found = route_suite.run(given, "constant", advance)
    assert found.interrupted and [row["scene"] for row in found.scenes] == ["street route 0"]
    assert found.left_out == [{"scene": "all others", "reason": "interrupted: 2 routes are not scored"}]


def test_routes_of_two_files_are_told_apart():
    one = carla.Route("0", "street", np.zeros((2, 3)))
    named = route_suite.named(
        [(Path("a/long.xml"), one), (Path("b/lav.xml"), one), (Path("b/lav.xml"), one._replace(id="1"))]
    )
    assert [route.id for route in named] == ["long 0", "lav 0", "1"]


def test_files_and_towns_that_are_missing(tmp_path):
    with pytest.raises(ValueError, match="no .xml files"):
        route_suite.route_files([str(tmp_path)])
    with pytest.raises(FileNotFoundError, match="no file of Town99"):
        route_suite.towns_of([str(tmp_path)], ["Town99"])


@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning")
def test_routes_on_a_town(tmp_path, capsys):
    towns = SHARED / "maps" / "carla"
    if not towns.is_dir():
        pytest.skip("../shared/maps/carla with real towns is not there")
    from gigaflow_env.roads import load

    graph = carla.lane_graph(load(towns / "Town02.xodr"))
    lane = max(range(len(graph.names)), key=lambda k: graph.dense[k][-1, 6])
    start, end = (graph.dense[lane][k, :2] for k in (5, -30))
    path = version1(tmp_path / "r.xml", {"0": [tuple(start), tuple(end)], "1": [tuple(start), (9999.0, 0.0)]}, "Town02")
    out = tmp_path / "out"
    words = [
        "benchmark",
        "carla-routes",
        "idm",
        "--data",
        str(path),
        "--map",
        str(towns),
        "--out",
        str(out),
        "--threads",
        "1",
    ]
    assert main([*words, "--baselines", "none", "--keep", "1"]) == 0
    assert "lies on no lane" in capsys.readouterr().out
    content = results.read(out)
    (row,) = content["scenes"]
    assert row["status"] == "completed" and row["driving_score"] == pytest.approx(100.0)
    assert content["figures"]["driving_score"]["n"] == 1
    assert content["left_out"][0]["scene"] == "Town02 route 1"
    (record,) = json.loads((out / "leaderboard.json").read_text())["_checkpoint"]["records"]
    assert record["scores"]["score_composed"] == pytest.approx(100.0)
    (bundle,) = (out / "failures").glob("*.npz")
    assert main(["failure", str(bundle), "--out", str(tmp_path / "again.html"), "--threads", "1"]) == 0
    assert "happened again" in capsys.readouterr().out
