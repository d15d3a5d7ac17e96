"""Own networks, opponents, half precision, sweeps and export."""

import json
import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from train_stub import Stub

from gigaflow_train import checkpoint, export, journal, opponents, sweep
from gigaflow_train.config import TOWN_SHARES, TOWNS, TrainConfig
from gigaflow_train.networks import build
from gigaflow_train.rollout import Chance, allocate, collect, present
from gigaflow_train.train import train

EXAMPLES = Path(__file__).resolve().parents[1] / "examples"
CONFIG = TrainConfig(
    num_envs=32, rollout=8, epochs=2, minibatch=128, steps=2000, discount=0.5, learning_rate=3e-3, seed=3,
    checkpoint_every=2, set_widths=(8,), vector_width=16, trunk_widths=(16,), separate=False, threads=1,
)  # fmt: skip


@pytest.fixture
def examples(monkeypatch):
    monkeypatch.syspath_prepend(str(EXAMPLES))
    yield
    sys.modules.pop("attention_policy", None)


def test_an_own_network_trains_and_comes_back_from_its_checkpoint(tmp_path, examples):
    config = CONFIG.replace(policy="attention_policy:Attention", policy_arguments={"width": 16, "heads": 2})
    train(Stub(32), config, tmp_path)
    policy = checkpoint.load_policy(tmp_path, Stub())
    assert type(policy).__name__ == "Attention" and policy.ask.out_features == 16
    logits, value = policy(torch.rand(5, Stub().layout.size))
    assert logits.shape == (5, 12) and value.shape == (5,)


def test_the_order_of_the_elements_does_not_matter_to_attention(examples):
    layout = Stub().layout
    attention = runpy.run_path(str(EXAMPLES / "attention_policy.py"))["Attention"](layout, CONFIG)
    obs = torch.rand(6, layout.size)
    other = obs.clone()
    layout.split(other).lanes[:] = layout.split(obs).lanes.flip(1)
    torch.testing.assert_close(attention(other), attention(obs))


@pytest.mark.parametrize(
    "name, message",
    [
        ("attention", "write module:Class"),
        ("no_such_module:Network", "ModuleNotFoundError"),
        ("json:Network", "AttributeError"),
        ("json:loads", "TypeError"),
        ("train_stub:Empty", "is Empty: expected a torch.nn.Module"),
    ],
)
def test_networks_that_cannot_be_had_are_named(name, message, monkeypatch):
    import train_stub

    monkeypatch.setattr(train_stub, "Empty", type("Empty", (), {"__init__": lambda *_: None}), raising=False)
    with pytest.raises(ValueError, match=message):
        build(Stub().layout, CONFIG.replace(policy=name))


def test_opponents_drive_their_rows_and_nothing_is_learned_from_them(tmp_path):
    train(Stub(32), CONFIG, tmp_path / "older")
    config = CONFIG.replace(opponents=str(tmp_path / "older"), opponent_share=0.25)
    env = Stub(32)
    others = opponents.load(env, config, torch.device("cpu"))
    assert [opponent.rows.tolist() for opponent in others] == [list(range(3, 32, 4))]
    torch.manual_seed(0)
    policy = build(env.layout, CONFIG)
    storage = allocate(8, 32, env.layout.size)
    now = present(*env.reset(seed=3), others)
    asked = []
    others[0].policy.register_forward_hook(lambda module, given, out: asked.append(len(given[0])))
    _, driven = collect(env, policy, storage, now, Chance(4, 0), 0.5, others)
    assert not bool((storage.cell[: driven.samples] % 4 == 3).any()) and driven.samples > 100
    assert len(asked) == 8 and max(asked) == 8
    train(Stub(32), config, tmp_path / "newer")
    with pytest.raises(ValueError, match="no .safetensors file"):
        opponents.load(env, CONFIG.replace(opponents=str(tmp_path)), torch.device("cpu"))


@pytest.mark.slow
def test_half_precision_learns_too(tmp_path):
    config = CONFIG.replace(precision="bf16", steps=40_000, num_envs=128, rollout=16, minibatch=512, epochs=3)
    last = train(Stub(128), config, tmp_path / "half")
    full = train(Stub(128), config.replace(precision="float32"), tmp_path / "full")
    assert last["episode_return"] == pytest.approx(full["episode_return"], rel=0.2)
    kinds = {tensor.dtype for tensor in checkpoint.load_policy(tmp_path / "half", Stub()).parameters()}
    assert kinds == {torch.float32}  # weights stay
    with pytest.raises(ValueError, match="precision='fp8': choose one of 'float32', 'bf16'"):
        CONFIG.replace(precision="fp8")


def test_observations_in_half_precision_take_half_the_memory():
    full, half = (allocate(4, 8, 100, seen=kind).obs for kind in (torch.float32, torch.float16))
    assert half.nbytes * 2 == full.nbytes


def test_weights_and_biases_that_are_missing_are_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r'wandb=.p. needs wandb: pip install "gigaflow-env\[wandb\]"'):
        train(Stub(32), CONFIG.replace(wandb="p"), tmp_path)


def test_weights_and_biases_get_the_same_names(tmp_path, monkeypatch):
    class Fake:
        def __init__(self):
            self.logged, self.finished = [], False

        def init(self, **settings):
            self.settings = settings
            return self

        def log(self, row, step):
            self.logged.append((step, row))

        def finish(self):
            self.finished = True

    fake = Fake()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    train(Stub(32), CONFIG.replace(wandb="project"), tmp_path)
    assert fake.settings["project"] == "project" and fake.settings["id"] == tmp_path.name and fake.finished
    assert [row for _, row in fake.logged] == journal.read(tmp_path / "metrics.jsonl")


SWEEP = """
seeds = [0, 1, 2]
steps = 1000
maps = ["loop", "lots"]
[settings.plain]
[settings.no-filter]
set = { filter_share = 0.0 }
environment = { comfort = [0.0, 0.0] }
"""


def test_a_sweep_is_settings_times_seeds(tmp_path):
    file = tmp_path / "ablation.toml"
    file.write_text(SWEEP)
    read = sweep.read(file)
    assert list(read.runs) == [f"{name}-{seed}" for name in ("plain", "no-filter") for seed in (0, 1, 2)]
    config = read.runs["no-filter-2"]
    assert (config.filter_share, config.seed, config.steps, config.minutes) == (0.0, 2, 1000, None)
    assert config.maps == ("loop", "lots") and config.environment["comfort"] == [0.0, 0.0]
    assert read.eval_maps == ["loop", "lots"] and read.eval_world is None

    file.write_text('eval_world = "no-filter"\n' + SWEEP)
    calls = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "_command", lambda *words: calls.append(words) or "{}")
        sweep._evaluate(tmp_path, "plain-1", sweep.read(file))
    at = calls[0].index("--world-of")
    assert calls[0][:2] == ("evaluate", str(tmp_path / "plain-1")) and calls[0][at + 1] == str(tmp_path / "no-filter-0")


@pytest.mark.parametrize(
    "text, message",
    [
        ("seeds = [0]", "needs seeds"),
        ("seed = [0]\n[settings.a]", "unknown key 'seed'"),
        ("seeds = [0]\n[settings.a]\nsets = {}", "settings.a has 'sets'"),
        ("seeds = [0", "ablation.toml"),
        ("seeds = [0]\nsteps = 5\n[settings.a]\nset = { clip = -1.0 }", "clip=-1.0: must be"),
        ("seeds = [0]\nsteps = 5\npreset = 'desk'\n[settings.a]", "preset='desk'"),
        ("seeds = [0]\nsteps = 5\neval_world = 'b'\n[settings.a]", "eval_world='b' is not one of the settings a"),
    ],
)
def test_mistakes_in_a_sweep_are_named(tmp_path, text, message):
    file = tmp_path / "ablation.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=message):
        sweep.read(file)


def test_the_ablation_without_random_towns_keeps_the_presets_shares():
    runs = sweep.read(Path(__file__).parents[1] / "benchmarks" / "worlds.toml").runs
    shipped = runs["shipped-towns-only-0"]
    assert shipped.maps == TOWNS and shipped.map_shares == TOWN_SHARES


def test_the_table_of_a_sweep_has_students_intervals(tmp_path):
    file = tmp_path / "ablation.toml"
    file.write_text(SWEEP)
    read = sweep.read(file)
    goals = {"plain-0": 0.8, "plain-1": 0.9, "plain-2": 1.0, "no-filter-0": 0.5, "no-filter-1": 0.5, "no-filter-2": None}
    found = {key: {name: {"value": goal} for name in sweep.FIGURES} for key, goal in goals.items()}
    table = sweep.tabulated(found, read)
    assert table["plain"]["goal_rate"]["mean"] == pytest.approx(0.9)
    assert table["plain"]["goal_rate"]["half"] == pytest.approx(4.303 * 0.1 / np.sqrt(3))  # t of two degrees of freedom
    assert table["no-filter"]["goal_rate"] == {"mean": 0.5, "half": 0.0, "values": [0.5, 0.5]}
    assert "| plain | 90.0% ± 24.8% |" in sweep.markdown(table)


def test_an_export_gives_what_torch_gives(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    onnx = pytest.importorskip("onnx")
    train(Stub(32), CONFIG.replace(set_widths=(8, 8)), tmp_path)
    env = Stub()
    file = tmp_path / "policy.onnx"
    export.to_onnx(tmp_path, file, env)
    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    obs = torch.rand(7, env.layout.size) * 2 - 1
    logits, value = session.run(None, {"obs": obs.numpy()})
    policy = checkpoint.load_policy(tmp_path, env)
    with torch.no_grad():
        expected = policy(obs)
    np.testing.assert_allclose(logits, expected[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(value, expected[1].numpy(), atol=1e-5)
    about = {entry.key: json.loads(entry.value) for entry in onnx.load(str(file)).metadata_props}
    assert about["layout"]["lanes"] == {"start": int(env.layout.starts.lanes), "elements": 3, "features": 7}
    assert about["features"]["ego"]["speed"] == "/ 30 m/s" and about["step"] >= CONFIG.steps
