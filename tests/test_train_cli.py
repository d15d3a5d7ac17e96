"""The command line on the real environment, and the policies it compares with."""

import ast
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import gigaflow_env
import gigaflow_env.bounds
import gigaflow_env.extras
import gigaflow_env.kernels
import gigaflow_env.memory
import gigaflow_env.render
import gigaflow_env.roads
import gigaflow_train
from gigaflow_train import checkpoint, cli, environment, journal
from gigaflow_train.cli import main
from gigaflow_train.config import PRESETS as TRAIN_PRESETS
from gigaflow_train.evaluate import baselines
from gigaflow_train.evaluate.run import drive, figures
from gigaflow_train.rollout import present

TINY = ["--num-envs", "64", "--threads", "1", "--set", "rollout=8", "minibatch=256", "set_widths=[8]", "trunk_widths=[16]"]


def make(num_envs=64, **config):
    return environment.make(
        maps=["loop"], preset="laptop", config=config, num_envs=num_envs, agents_per_world=None, threads=1
    )


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run") / "a"
    assert main(["run", "--steps", "3000", "--out", str(directory), *TINY]) == 0
    return directory


def test_a_run_leaves_a_checkpoint_a_journal_and_tensorboard_files(run):
    facts = checkpoint.read_facts(run)
    assert facts.config.steps == 3000 and facts.config.minutes is None and facts.config.set_widths == (8,)
    rows = journal.read(run / "metrics.jsonl")
    assert rows[-1]["step"] >= 3000 > rows[-2]["step"]
    assert list((run / "tensorboard").iterdir())


def test_it_ends_with_what_to_do_next(tmp_path, capsys):
    out = str(tmp_path / "run")
    assert main(["run", "--steps", "500", "--out", out, *TINY]) == 0
    said = capsys.readouterr().err
    for line in (
        f"the policy is in {out}/checkpoint.safetensors",
        f"run --resume --out {out} --steps 1000",
        f"evaluate {out}",
        "run --preset generalist",
    ):
        assert line in said


def test_several_maps_and_held_out_ones(tmp_path, capsys):
    out = tmp_path / "run"
    maps = ["--map", "loop", "--map", "village", "--map-shares", "length", "--eval-map", "lots"]
    evaluated = ["eval_every=2", "eval_rows=32", "eval_steps=40"]
    assert main(["run", "--steps", "2000", "--out", str(out), *TINY, *evaluated, *maps]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "training in" in said and "64 agents on loop, village" in said
    facts = checkpoint.read_facts(out)
    assert facts.config.maps == ("loop", "village") and facts.config.eval_maps == ("lots",)
    driven = ["--steps", "5", "--num-envs", "32", "--json"]
    assert main(["evaluate", "frozen", "--world-of", str(out), *driven]) == 0
    settings = json.loads(capsys.readouterr().out)["settings"]
    assert settings["what"] == "frozen" and settings["maps"] == ["loop", "village"]
    assert settings["config"]["dt"] == facts.environment["dt"] and settings["preset"] == facts.config.preset
    assert len(journal.read(out / "evaluations.jsonl")) >= 2


def test_nobody_to_learn_from_is_one_line(tmp_path, capsys):
    assert main(["run", "--out", str(tmp_path / "new"), *TINY, "--environment", "inattentive=1"]) == 2
    said = capsys.readouterr().err
    assert "nobody to learn from: of 64 rows" in said and "64 erratic drivers" in said


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert main(["run", "--out", str(tmp_path / "file"), *TINY]) == 2
    assert capsys.readouterr().err == (
        f"gigaflow-train: error: --out {tmp_path}/file: {tmp_path}/file is a file, not a directory\n"
    )


EARLY = [
    (["run", "--set", "learning_rte=1"], "did you mean learning_rate"),
    (["run", "--set", "preset=bogus"], "preset='bogus': choose one of 'paper', 'laptop', 'longform'"),
    (["run", "--set", "seed=-1", "--set", "epochs=1"], "seed=-1: must be"),
    (["run", "--environment", "dt=-1", "--environment", "max_steps=9"], "dt=-1: must be 0.001 to 3 s"),
    (["run", "--environment", "whelbase=1"], "did you mean wheelbase"),
    (["run", "--backend", "tpu"], "backend='tpu': choose one of 'cpu', 'cuda'"),
    (["run", "--policy", "nonsense"], "policy='nonsense': write module:Class"),
    (["run", "--policy", "no_such_module:Net"], "there is no module 'no_such_module'"),
    (["run", "--start", "nowhere"], "nowhere is neither a run directory nor a .safetensors file"),
    (["run", "--opponents", "nowhere"], "opponents='nowhere': expected 'pretrained'"),
    (["run", "--opponent-share", "0.5"], "--opponent-share 0.5 has no meaning without --opponents"),
    (["run", "--map", "lop"], "map='lop' is neither a shipped town"),
    (["run", "--map", ""], "maps=('',): expected a list of names"),
    (["run", "--map", "random:9-1"], "a range is random:LOW-HIGH"),
    (["run", "--eval-map", "random:x"], "map='random:x': a random town is named by a whole number"),
    (["run", "--map-shares", "0"], "map_shares=(0.0,): at least one must be above 0"),
    (["run", "--set", "traffic=1.0"], "traffic=1.0: must be at least 0 and below 1"),
    (["run", "--resume"], "--resume needs --out"),
    (["run", "--resume", "--out", "NEW"], "nothing to resume: NEW/resume.pt does not exist"),
    (["run", "--resume", "--out", "NEW", "--preset", "paper"], "--preset can't change in a run that is resumed"),
    (["run", "--out", ""], "--out is empty or the current directory"),
    (["run", "--out", "FILE/run"], "FILE is a file, not a directory"),
    # Said twice: nothing is dropped in silence.
    (["run", "--map", "loop", "--set", 'maps=["lots"]'], "--map and --set maps both set maps: give one of them"),
    (["run", "--environment", "dt=0.1", "--set", 'environment={"dt": 0.2}'], "--environment and --set environment both set"),
    (["run", "--minutes", "5", "--set", "minutes=6"], "--minutes and --set minutes both set minutes"),
    (["run", "--set", "seed=1", "seed=2"], "--set seed is given twice, as 1 and 2"),
    (["run", "--set", "seed=1", "--set", "seed=2"], "--set seed is given twice, as 1 and 2"),
    (["run", "--environment", "dt=0.1", "dt=0.1"], "--environment dt is given twice"),
    (["run", "--set", "seed=1", "--seed", "3"], "--seed and --set seed both set seed"),
    (["run", "--agents-per-world", "4", "--environment", "agents_per_world=8"], "--agents-per-world and --environment"),
    (["evaluate", "nonsense"], "'nonsense' is neither a run directory"),
    (["evaluate", "idm", "--seconds", "inf"], "--seconds=inf: must be 0.001 to"),
    (["evaluate", "idm", "--seconds", "nan"], "--seconds=nan: must be"),
    (["evaluate", "idm", "--steps", "-3"], "--steps=-3: must be a whole number, 1 to"),
    (["evaluate", "idm", "--threads", "0"], "--threads=0: must be"),
    (["evaluate", "idm", "--agents-per-world", "0"], "--agents-per-world=0: must be"),
    (["evaluate", "idm", "--map", "lop"], "map='lop' is neither"),
    (["evaluate", "idm", "--preset", "desktop"], "--preset='desktop': choose one of"),
    (["evaluate", "idm", "--backend", "tpu"], "--backend='tpu': choose one of"),
    (["evaluate", "idm", "--lights", "red"], "--lights='red': choose one of"),
    (["evaluate", "idm", "--traffic", "0.5"], "--traffic 0.5 has no meaning with idm"),
    (["evaluate", "idm", "--world-of", "nowhere"], "'nowhere' is neither a run directory"),
    (["evaluate", "idm", "--world-of", "pretrained", "--preset", "paper"], "--preset and --world-of both name"),
    (["evaluate", "idm", "--other-scales"], "--other-scales is for checkpoints"),
    (["evaluate", "idm", "--video", "/nonexistent/x.mp4"], "the directory /nonexistent does not exist"),
    (["evaluate", "idm", "--video", "x.foo"], "--video x.foo: it is written as .mp4, .gif"),
    (["evaluate", "idm", "--replay", "x.mp4"], "--replay x.mp4: it is written as"),
    (["report", "NEW"], "'NEW' is neither a run directory"),
    (["sweep", "NEW"], "No such file"),
    (["export", "NEW"], "'NEW' is neither a run directory"),
    (["export", "pretrained", "--onnx", "x.txt"], "--onnx x.txt: it is written as .onnx"),
]
"""Command lines that can't be right, and what is said."""


def test_typing_errors_are_found_before_torch_is_loaded(tmp_path):
    (tmp_path / "FILE").write_text("")
    code = (
        "import sys; from gigaflow_train.cli import main\n"
        f"for words in {[words for words, _ in EARLY]!r}:\n"
        "    assert main(words) == 2, words\n"
        "    loaded = [name for name in ('torch', 'matplotlib') if name in sys.modules]\n"
        "    assert not loaded, (words, loaded)\n"
    )
    path = {**os.environ, "PYTHONPATH": str(Path(gigaflow_train.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, env=path)
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == len(EARLY)
    for line, (words, said) in zip(lines, EARLY, strict=True):
        assert line.startswith("gigaflow-train: error: ") and said in line, words
    assert [path.name for path in tmp_path.iterdir()] == ["FILE"], "nothing is left behind"


def test_all_of_what_is_repeated_counts():
    config, _ = cli.Run(
        set=(("seed=4", "epochs=1"), ("minibatch=64",)), environment=(("dt=0.1",), ("max_steps=9",)), out=Path("new")
    ).fresh()
    assert (config.seed, config.epochs, config.minibatch) == (4, 1, 64)
    assert config.environment == {"dt": 0.1, "max_steps": 9}


@pytest.mark.parametrize(
    ("asked", "budget"),
    [
        ({}, (4.0, None)),
        ({"minutes": 5}, (5, None)),
        ({"steps": 100}, (None, 100)),
        ({"set": (("minutes=5",),), "steps": 100}, (5, 100)),
        ({"set": (("steps=100", "minutes=5"),)}, (5, 100)),
        ({"set": (("steps=100",),)}, (None, 100)),
    ],
)
def test_budgets_are_those_that_are_given_wherever(asked, budget):
    config, _ = cli.Run(out=Path("new"), **asked).fresh()
    assert (config.minutes, config.steps) == budget


@pytest.mark.parametrize("name", ["WORLD_SIZE", "RANK", "LOCAL_RANK"])
def test_variables_of_torchrun_are_numbers(monkeypatch, capsys, name):
    monkeypatch.setenv(name, "abc")
    assert main(["run", "--out", "new"]) == 2
    assert f"{name}='abc': must be a whole number" in capsys.readouterr().err


def test_what_can_t_be_written_is_found_before_anything_is_done(monkeypatch, tmp_path, capsys):
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    for words in (["run", "--out", f"{tmp_path}/a/b"], ["evaluate", "idm", "--video", f"{tmp_path}/x.mp4"]):
        assert main(words) == 2
        assert f"{tmp_path} can't be written to" in capsys.readouterr().err


def test_too_much_memory_is_one_line(monkeypatch, tmp_path, capsys):
    def make(**arguments):
        raise MemoryError

    monkeypatch.setattr(environment, "make", make)
    assert main(["run", "--out", str(tmp_path / "new")]) == 2
    assert capsys.readouterr().err == "gigaflow-train: error: there is not enough memory\n"


def test_several_processes_are_torchrun(monkeypatch, tmp_path):
    called = []
    monkeypatch.setattr(cli.subprocess, "call", lambda words: called.append(words) or 3)
    words = ["run", "--processes", "2", "--out", str(tmp_path / "new")]
    assert main(words) == 3
    assert called[0][1:] == [
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc-per-node=2",
        "-m",
        "gigaflow_train",
        *words,
    ]


def test_a_run_goes_on(run, tmp_path):
    again = tmp_path / "again"
    assert main(["run", "--steps", "2000", "--out", str(again), *TINY]) == 0
    before = journal.read(again / "metrics.jsonl")
    assert main(["run", "--resume", "--out", str(again), "--steps", "4000"]) == 0
    rows = journal.read(again / "metrics.jsonl")
    assert rows[: len(before)] == before and rows[-1]["step"] >= 4000


@pytest.mark.parametrize(
    "words",
    [["--precision", "bf16"], ["--policy", "mine:Net"], ["--opponents", "old"], ["--opponent-share", "0.5"],
     ["--start", "old"], ["--wandb", "mine"], ["--preset", "paper"], ["--keep", "2"], ["--map", "loop"],
     ["--set", "clip=0.1"]],
)  # fmt: skip
def test_what_a_resumed_run_would_not_heed_is_refused(tmp_path, capsys, words):
    assert main(["run", "--resume", "--out", str(tmp_path), *words]) == 2
    assert f"{words[0]} can't change in a run that is resumed" in capsys.readouterr().err


FIGURES = {
    "goal_rate", "collision_rate", "offroad_rate", "timeout_rate", "red_lights_per_km", "red_light_rate",
    "collisions_per_km", "offroads_per_km", "mean_speed_mps", "km",
}  # fmt: skip


def evaluated(capsys, *arguments):
    assert main(["evaluate", *map(str, arguments), "--num-envs", "48", "--steps", "60", "--threads", "1", "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_evaluate_takes_coordinated_lights():
    """What a run was trained with stays, but for the lights."""
    facts = SimpleNamespace(config=TRAIN_PRESETS["laptop"](), environment={"dt": 0.2, "lights": "random"})
    assert cli.Evaluate("runs/one", lights="program").settings(facts)["config"] == {"dt": 0.2, "lights": "program"}
    assert cli.Evaluate("runs/one").settings(facts)["config"] == facts.environment
    assert cli.Evaluate("idm", lights="program").settings(None)["config"] == {"lights": "program"}


def test_evaluate_prints_one_json_object(run, capsys):
    found = evaluated(capsys, run)
    assert set(found) == FIGURES | {"settings"}
    assert all(set(found[name]) == {"value", "low", "high", "n"} for name in FIGURES)
    assert found["settings"]["steps"] == 60 and found["settings"]["maps"] == ["loop"]
    assert found["settings"]["config"]["lane_count"] == 16
    assert found["km"]["n"] <= 48 * 60
    assert evaluated(capsys, run / "checkpoint.safetensors")["goal_rate"] == found["goal_rate"]
    assert evaluated(capsys, run, "--seed", "2")["km"] != found["km"]


def test_seconds_are_simulated_time(capsys):
    assert main(["evaluate", "constant", "--num-envs", "16", "--seconds", "6", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["steps"] == 20


def test_the_table_is_for_people(capsys):
    assert main(["evaluate", "random", "--num-envs", "16", "--steps", "30"]) == 0
    assert "goal reached" in capsys.readouterr().out


def test_a_video_is_written(run, tmp_path):
    assert main(["evaluate", str(run), "--steps", "3", "--num-envs", "16", "--video", str(tmp_path / "out.gif")]) == 0
    assert (tmp_path / "out.gif").read_bytes()[:4] == b"GIF8"


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["evaluate", "random", "--map", "no.xodr"], "no.xodr"),
        (["evaluate", "random", "--preset", "desktop"], "preset='desktop'"),
        (["evaluate", "random", "--seconds", "0.1"], "--seconds 0.1 is too short: one step takes 0.3 s"),
        (["evaluate", "random", "--steps", "9", "--seconds", "9"], "give one of them"),
        (["evaluate", "random", "--greedy"], "--greedy is for checkpoints"),
        (["run", "--preset", "desktop"], "--preset='desktop': choose one of 'laptop', 'generalist', 'paper'"),
        (["run", "--map", "no.xodr", "--out", "NEW"], "no.xodr"),
        (["run", "--set", "learning_rte=1"], "did you mean learning_rate"),
        (["run", "--set", "learning_rate"], "write name=value"),
        (["run", "--environment", "goal_distanc=[1,2]", "--out", "NEW"], "did you mean goal_distance"),
        (["run", "--minutes", "-1"], "minutes=-1.0: must be 0.001 to 5,256,000 min"),
        (["run", "--seed", "-1"], "seed=-1: must be a whole number, 0 to"),
        (["run", "--processes", "0"], "--processes=0: must be a whole number, 1 to 1,024 processes"),
        (["run", "--processes", "2"], "several processes need --out"),
        (["run", "--map-shares", "often"], "map_shares='often': choose one of 'equal', 'length'"),
        (["run", "--map", "loop", "--map", "lots", "--map-shares", "1,2,3", "--out", "NEW"], "has 3 numbers: expected one"),
        (["evaluate", "random", "--seed", "-1"], "--seed=-1: must be a whole number, 0 to"),
        (["evaluate", "random", "--num-envs", "0"], "--num-envs=0: must be a whole number, 1 to"),
        (["evaluate", "random", "--traffic", "nan"], "--traffic=nan: must be 0 to 1 (a share)"),
        (["evaluate", "RUN", "--preset", "paper", "--map", "downtown"], "view_range is 60.0 there and 200.0 here"),
        (["run", "--out", "RUN"], "holds a run already"),
        (["run", "--resume", "--out", "RUN", "--num-envs", "32"], "--num-envs can't change"),
    ],
)
def test_user_errors_are_one_line(run, tmp_path, capsys, arguments, message):
    arguments = [{"RUN": str(run), "NEW": str(tmp_path / "new")}.get(text, text) for text in arguments]
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert message in captured.err and captured.err.count("\n") == 1
    assert not (tmp_path / "new").exists()


def test_the_command_itself_exits_with_2():
    done = subprocess.run([sys.executable, "-m", "gigaflow_train", "evaluate", "nonsense"], capture_output=True, text=True)
    assert done.returncode == 2 and "Traceback" not in done.stderr and done.stderr.count("\n") == 1


def test_frozen_comes_to_a_stand_and_never_reverses():
    env = make(128)
    act = baselines.frozen(env, 0)
    obs, _ = env.reset(seed=0)
    speed = baselines.metric(env.layout.split(obs).ego, "speed").copy()
    assert speed.max() > 5.0
    lived = np.ones(128, bool)
    for _ in range(25):
        obs, _, terminated, truncated, _ = env.step(act(obs))
        lived &= ~(terminated | truncated)
        speed = baselines.metric(env.layout.split(obs).ego, "speed")
        assert speed[lived].min() > -1e-6  # m/s: rounding
    assert lived.sum() > 60
    assert speed[lived].max() < 0.2  # m/s: steps of jerk don't always hit zero
    assert np.median(speed[lived]) < baselines.AT_REST


def test_reverse_reverses_and_constant_keeps_going():
    for name, low, high in (("reverse", -2.01, -1.9), ("constant", 0.0, 10.0)):
        env = make(64)
        act = baselines.BASELINES[name](env, 0)
        obs, _ = env.reset(seed=0)
        first = baselines.metric(env.layout.split(obs).ego, "speed").copy()
        lived = np.ones(64, bool)
        for _ in range(10):
            obs, _, terminated, truncated, _ = env.step(act(obs))
            lived &= ~(terminated | truncated)
        speed = baselines.metric(env.layout.split(obs).ego, "speed")
        assert lived.sum() >= 5
        assert low <= speed[lived].min() and speed[lived].max() <= high
        if name == "constant":
            np.testing.assert_allclose(speed[lived], first[lived], atol=1e-4)


def test_features_come_back_in_their_units():
    env = make(16)
    obs, _ = env.reset(seed=0)
    ego = env.layout.split(obs).ego
    assert 3.6 <= baselines.metric(ego, "length").min() <= baselines.metric(ego, "length").max() <= 5.4


def test_driving_is_reproducible_and_counts_every_row():
    env = make(32)
    one, two = (drive(env, baselines.random(env, 5), steps=40, seed=7) for _ in range(2))
    assert one.tally == two.tally
    assert one.tally.steps <= 32 * 40
    assert one.tally.collided + one.tally.left_road >= one.tally.routes - one.tally.completed - one.tally.timed_out > 0
    found = figures(one)
    assert found["km"].value == pytest.approx(one.tally.distance / 1000)
    assert found["mean_speed_mps"].n == 32


def test_the_trainer_uses_only_public_names_of_the_environment():
    modules = (
        gigaflow_env, gigaflow_env.bounds, gigaflow_env.driver, gigaflow_env.extras, gigaflow_env.kernels,
        gigaflow_env.memory, gigaflow_env.render,
        gigaflow_env.replay, gigaflow_env.roads,
    )  # fmt: skip
    public = {module.__name__: set(module.__all__) for module in modules}
    seen = 0
    package = Path(gigaflow_train.__file__).parent
    for file in package.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                assert not any(name.name.startswith("gigaflow_env.") for name in node.names), file
            elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "gigaflow_env":
                if file.relative_to(package).parts[0] in ("benchmark", "evaluate"):  # scenes and maps as they are inside
                    private = [name.name for name in node.names if name.name.startswith("_") and name.name != "__version__"]
                    assert not private, f"{file}: {private}"
                    continue
                assert node.module in public, f"{file}: {node.module}"
                assert {name.name for name in node.names} <= public[node.module], f"{file}: {node.module}"
                seen += 1
    assert seen >= 3


def test_the_minimal_example_runs(tmp_path):
    file = Path(__file__).resolve().parents[1] / "examples" / "train_minimal.py"
    main_ = runpy.run_path(str(file))["main"]
    returns = main_(updates=3, rows=64, steps=24)
    assert len(returns) == 3 and np.isfinite(returns[-1])
    assert main_(updates=1, rows=64, steps=24) == returns[:1] != main_(updates=1, rows=64, steps=24, seed=1)


def test_without_the_extra_it_says_how_to_install_it():
    program = (
        "import sys; sys.modules['torch'] = None; sys.argv = ['gigaflow-train', 'evaluate', 'random']\n"
        "from gigaflow_train.__main__ import start; sys.exit(start())"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2 and 'it needs torch: pip install "gigaflow-env[train]"' in done.stderr


def test_the_rule_based_drivers_are_a_baseline(capsys):
    found = evaluated(capsys, "idm", "--map", "downtown")
    assert found["km"]["value"] > 3.0 and found["collision_rate"]["value"] in (None, 0.0)
    assert found["settings"]["traffic"] == 1.0


def test_traffic_does_not_count(capsys):
    alone = evaluated(capsys, "constant")
    among = evaluated(capsys, "constant", "--traffic", "0.5")
    assert 0.3 * alone["km"]["n"] < among["km"]["n"] < 0.7 * alone["km"]["n"]


def test_nothing_is_learned_from_traffic():
    env = environment.make(
        maps=["loop"], preset="laptop", config={}, num_envs=20, agents_per_world=10, threads=1, traffic=0.5
    )  # fmt: skip
    obs, info = env.reset(seed=0)
    learners = present(obs, info).learners
    assert learners.tolist() == (~info["traffic"] & info["active"]).tolist() and learners.sum() == 10
