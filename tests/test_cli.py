"""The command `gigaflow-env`: what it prints, what it writes, and how it says that a user erred."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gigaflow_env.bench
from gigaflow_env import cli
from gigaflow_env.files import cache_directory
from gigaflow_env.roads import Lane, RoadMap, Signal, load, loading, save, summary
from gigaflow_env.simulator import Simulator


@pytest.fixture
def village(tmp_path: Path) -> Path:
    """A ring of two lanes of 100 m and 50 m, one light."""
    there = Lane("there", np.array([(0.0, 0, 0, 0, 3.5), (100, 0, 0, 0, 3.5)]), successors=("on",))
    on = Lane("on", np.array([(100.0, 0, 0, 0, 3.5), (150, 0, 0, 0, 3.5)]), signal="s")
    path = tmp_path / "village.lanes.json"
    save(RoadMap("village", {"there": there, "on": on}, {"s": Signal("s")}, source="by hand", licence="CC0"), path)
    return path


@pytest.fixture
def towns(village: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The village is the only shipped town."""
    for module in (cli, loading):
        monkeypatch.setattr(module, "shipped", lambda: {"village": village})


def test_maps_lists_the_shipped_towns(towns: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["maps"]) == 0
    header, row = capsys.readouterr().out.splitlines()
    assert header.split() == ["name", "lane-km", "lanes", "lights", "licence", "description"]
    assert row.split() == ["village", "0.15", "2", "1", "CC0", "by", "hand"]
    assert header.index("lanes") + len("lanes") == row.index(" 2 ") + 2, "numbers stand under the end of their title"


def test_maps_as_json(towns: None, village: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["maps", "--json"]) == 0
    (town,) = json.loads(capsys.readouterr().out)
    assert town == json.loads(json.dumps(summary(load(village))))


@pytest.mark.parametrize("by_name", [True, False])
def test_inspect_finds_names_and_files(
    towns: None, village: Path, by_name: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = "village" if by_name else str(village)
    assert cli.main(["map", "inspect", wanted]) == 0
    facts = dict(line.split(maxsplit=1) for line in capsys.readouterr().out.splitlines())
    assert facts["name"] == "village" and facts["lane_km"] == "0.15" and facts["left_hand"] == "no"
    assert facts["bounds"] == "0, -1.75, 150, 1.75"
    assert cli.main(["map", "inspect", wanted, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["lanes"] == 2


def test_inspect_draws(village: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["map", "inspect", str(village), "--png", str(tmp_path / "village.png"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "village", "nothing but JSON on stdout"
    assert (tmp_path / "village.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("option", ["-o", "--output"])
def test_import_writes_a_readable_map(
    village: Path, tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy.lanes.json"
    assert cli.main(["map", "import", str(village), option, str(copy)]) == 0
    assert capsys.readouterr().out == f"{copy}: 0.15 lane-km, 2 lanes, 1 lights\n"
    assert copy.read_bytes() == village.read_bytes()


def test_bench_hands_its_arguments_over(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    given = []

    def run(**arguments: object) -> dict:
        given.append(arguments)
        return {"agent_steps_per_s": 1234567.0, "threads": 2}

    bench = SimpleNamespace(run=run)
    monkeypatch.setattr(gigaflow_env.bench, "throughput", bench, raising=False)
    monkeypatch.setitem(sys.modules, "gigaflow_env.bench.throughput", bench)
    assert cli.main(["bench"]) == 0
    assert capsys.readouterr().out.splitlines() == ["agent_steps_per_s  1.23457e+06", "threads            2"]
    arguments = ["--map", "downtown", "--preset", "laptop", "--agents-per-world", "16", "--num-envs", "64"]
    assert cli.main(["bench", *arguments, "--threads", "2", "--steps", "5", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"agent_steps_per_s": 1234567.0, "threads": 2}
    plain = {"map": "loop", "preset": "paper", "agents_per_world": None, "num_envs": 4096, "threads": None, "steps": 200}
    changed = {"map": "downtown", "preset": "laptop", "agents_per_world": 16, "num_envs": 64, "threads": 2, "steps": 5}
    assert given == [plain, changed]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["inspect", "atlantis"], "map='atlantis' is neither a shipped town (village), nor random:SEED, nor a file"),
        (["inspect", "{tmp}/bad.txt"], "bad.txt: unknown map format"),
        (["inspect", "{tmp}/bad.lanes.json"], "bad.lanes.json"),
        (["inspect", "village", "--png", "{tmp}/village.jpg"], "village.jpg: maps are drawn as .png"),
        (["inspect", "village", "--png", "{tmp}/no/village.png"], "no does not exist"),
        (["import", "village", "-o", "{tmp}/copy.json"], "copy.json: the name of a map must end with .lanes.json"),
    ],
)
def test_user_errors_are_one_line(
    towns: None, tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.txt").write_text("roads")
    (tmp_path / "bad.lanes.json").write_text("{\n\n")
    assert cli.main(["map", *(argument.format(tmp=tmp_path) for argument in arguments)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("gigaflow-env: error: ") and printed.err.count("\n") == 1 and message in printed.err


def test_a_missing_drawing_library_is_a_user_error(
    village: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from gigaflow_env.render import MissingExtra, mapview

    def missing(name: str) -> None:
        raise MissingExtra('drawing needs matplotlib: pip install "gigaflow-env[render]"')

    monkeypatch.setattr(mapview, "library", missing)
    assert cli.main(["map", "inspect", str(village), "--png", str(tmp_path / "village.png")]) == 2
    assert capsys.readouterr().err.endswith('pip install "gigaflow-env[render]"\n')


def test_defects_keep_their_traceback(towns: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "summary", lambda road_map: {}["lane_km"])
    with pytest.raises(KeyError):
        cli.main(["maps"])


@pytest.mark.parametrize("arguments", [[], ["map"], ["map", "inspect"], ["maps", "--colour"], ["bench", "--steps", "x"]])
def test_wrong_arguments_exit_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        cli.main(arguments)
    assert exit_.value.code == 2
    printed = capsys.readouterr()
    assert printed.err and not printed.out


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, words in (
        ([], ("maps", "map", "bench", "compile")),
        (["map"], ("inspect", "import")),
        (["bench"], ("--num-envs",)),
    ):
        with pytest.raises(SystemExit) as exit_:
            cli.main([*arguments, "--help"])
        assert exit_.value.code == 0
        shown = capsys.readouterr().out
        assert all(word in shown for word in words)


def test_compile_says_where_the_kernels_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    prepared = []
    monkeypatch.setattr(Simulator, "prepare", lambda simulator: prepared.append(simulator))
    assert cli.main(["compile", "--all"]) == 0
    plain, everything = prepared
    assert (plain.conflicts, plain.contacts, plain.obs_dtype) == (None, None, "float32")
    assert everything.conflicts is not None and everything.contacts is not None and everything.obs_dtype == "float16"
    assert capsys.readouterr().out == f"kernels are in {cache_directory() / 'kernels'}\n"


def test_python_dash_m(village: Path, tmp_path: Path) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-W", "error", "-m", "gigaflow_env", *arguments]
        return subprocess.run(command, capture_output=True, text=True, cwd=Path(cli.__file__).parents[1])

    done = run("map", "inspect", str(village), "--json")
    assert (done.returncode, done.stderr) == (0, "") and json.loads(done.stdout)["name"] == "village"
    done = run("map", "inspect", str(tmp_path / "atlantis"))
    assert (done.returncode, done.stdout) == (2, "") and "Traceback" not in done.stderr
