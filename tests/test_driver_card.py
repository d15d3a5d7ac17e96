"""The model card's script, on small towns and with a policy that has learned nothing; and the tables of its results."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import crossing, ring

pytest.importorskip("torch", reason="the script evaluates with torch")

from docs_tools import tables
from gigaflow_env import FEATURES
from gigaflow_env.config import laptop, longform
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.roads import save
from gigaflow_train import checkpoint
from gigaflow_train.config import laptop as training
from gigaflow_train.policy import Policy

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def script() -> Any:
    spec = importlib.util.spec_from_file_location("driver_card", ROOT / "benchmarks" / "driver.py")
    module = importlib.util.module_from_spec(spec)
    import sys

    sys.modules["driver_card"] = module  # dataclasses look there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def card(script: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    env = GigaflowVectorEnv(2, map=ring(), config=laptop().replace(agents_per_world=4))
    settings = training().replace(set_widths=(4,), vector_width=4, trunk_widths=(4,))
    policy = Policy(env.layout, settings)
    checkpoint.save_policy(tmp_path / "checkpoint.safetensors", policy, checkpoint.facts_of(env, settings, 77))
    for town in (ring(), crossing(lights=True)):
        save(town, tmp_path / f"{town.name}.lanes.json")
    monkeypatch.setattr(script, "TOWNS", (str(tmp_path / "ring.lanes.json"),))
    monkeypatch.setattr(script, "UNSEEN", str(tmp_path / "lights.lanes.json"))
    monkeypatch.setattr(script, "STYLES", dict.fromkeys(script.STYLES, str(tmp_path / "lights.lanes.json")))
    monkeypatch.setattr(script, "real", dict)
    return script.Card(
        policy=str(tmp_path / "checkpoint.safetensors"), out=tmp_path / "driver.json", num_envs=8, steps=40, threads=1,
        section=("ladder",),
    )  # fmt: skip


def test_it_drives_what_it_lacks(script: Any, card: Any, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    script.main(card)
    found = json.loads(card.out.read_text())
    assert found["policy"]["samples"] == 77 and len(found["policy"]["sha256"]) == 64
    assert [row["name"].partition(",")[0] for row in found["rows"]] == [
        "towns of the training", "20 random towns", "10 old random towns", "10 tight random towns", "10 wide random towns",
        "20 random towns",
    ]  # fmt: skip
    for row in found["rows"]:
        assert row["km"]["value"] > 0 and 0 < row["hours"] < 1 and row["stuck"] == 0  # it drives for 12 s
    assert capsys.readouterr().out.count("ladder: ") == 6
    script.main(card)
    assert capsys.readouterr().out == "", "what is there is not driven again"
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    shown = tables.driver_ladder().splitlines()
    assert len(shown) == 2 + 6 and shown[2].startswith("| towns of the training | ")


def test_incidents_are_counted_once(script: Any, card: Any) -> None:
    config = laptop().replace(agents_per_world=4)
    row = script.Row("ladder", "one", script.TOWNS, config, 8, 80)
    found = script.drive(card, row)
    per, incidents = found["km_per_incident"], found["collision_incidents"] + found["offroad_incidents"]
    assert incidents > 0, "who has learned nothing crashes"
    assert per["low"] < per["value"] < per["high"] and per["n"] == incidents
    assert per["value"] == pytest.approx(found["km"]["value"] / incidents)
    assert found["offset_m"] >= abs(found["bias_m"])


def test_driving_in_reverse_is_said(script: Any) -> None:
    env = GigaflowVectorEnv(3, map=ring(), config=laptop().replace(agents_per_world=1))
    obs, _ = env.reset(seed=1)
    speed = env.layout.split(obs).ego[:, FEATURES.ego._fields.index("speed")]
    speed[:] = np.array([-2.0, -0.2, 5.0]) / 30
    sums = script.manners(env, obs)
    assert sums[3] == 1 and sums[4] == 3


def test_every_row_makes_a_config(script: Any, card: Any) -> None:
    config = laptop().replace(agents_per_world=4)
    rows = [row for section in script.SECTIONS.values() for row in section(card, config)]
    assert len({(row.section, row.name) for row in rows}) == len(rows) > 25
    noise = [row.config.noise_position for row in rows if "noise" in row.name]
    assert noise == pytest.approx([0.2, 0.4, 0.8])
    careful = next(row for row in rows if row.name == "careful").conditioning
    hasty = next(row for row in rows if row.name == "hasty").conditioning
    assert careful["collision"] == 3.0 and hasty["collision"] == 2.0 and careful["c_vel"] < hasty["c_vel"]
    long = [row for row in rows if row.section == "longform"]
    assert long[1].config.dt == longform().dt and long[0].config.dt == config.dt and long[0].config.stop_line == (1.0, 1.0)
    assert long[0].steps * long[0].config.dt == pytest.approx(long[1].steps * long[1].config.dt, rel=0.01)


def test_the_trainer_knows_the_name(card: Any, tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    import torch

    import gigaflow_train
    from gigaflow_env.driver import checkpoint as files
    from gigaflow_train import opponents
    from gigaflow_train.cli import main

    monkeypatch.setattr(files, "SHIPPED", tmp_path / "checkpoint.safetensors")
    env = GigaflowVectorEnv(4, map=ring(), config=laptop().replace(agents_per_world=4))
    obs = torch.from_numpy(env.reset(seed=1)[0])
    with torch.inference_mode():
        logits, values = gigaflow_train.pretrained()(obs)
        again, _ = gigaflow_train.pretrained(env)(obs)
    assert logits.shape == (4, 12) and values.shape == (4,) and torch.equal(logits, again)
    with pytest.raises(checkpoint.CheckpointError, match="view_range is 60.0 there and 200.0 here"):
        gigaflow_train.pretrained(GigaflowVectorEnv(1, map=ring(), agents_per_world=1))
    taken = opponents.load(env, training().replace(opponents="pretrained", opponent_share=0.5), torch.device("cpu"))
    assert len(taken) == 1 and taken[0].rows.tolist() == [1, 3]
    words = ["--map", str(tmp_path / "ring.lanes.json"), "--num-envs", "4", "--agents-per-world", "4", "--threads", "1"]
    assert main(["evaluate", "pretrained", *words, "--steps", "10", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["what"] == "pretrained"
    assert main(["evaluate", "pretrainde"]) == 2
    assert "known (pretrained, frozen, " in capsys.readouterr().err


def test_a_plot_is_drawn(script: Any, card: Any, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="draws")
    one = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 3}
    row = {
        "section": "conditioning", "name": "careful", "goal_rate": one, "red_lights_per_km": one, "mean_speed_mps": one,
        "offset_m": 0.3,
    }  # fmt: skip
    script.plot({"rows": [row, row | {"name": "hasty", "red_lights_per_km": one | {"high": None}}]}, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
