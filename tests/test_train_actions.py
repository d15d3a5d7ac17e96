"""Continuous actions in the trainer: the Gaussian, what is kept of it, and that it learns."""

import json
import math

import numpy as np
import pytest
import torch
from train_stub import Pointing, Stub

from gigaflow_env.layout import ACTIONS, LATERAL_JERKS, LONGITUDINAL_JERKS
from gigaflow_train import checkpoint, environment, export, noise
from gigaflow_train.actions import KINDS, START_MEAN, START_SPREAD, in_box, mean_and_spread
from gigaflow_train.cli import main
from gigaflow_train.config import PRESETS, TrainConfig
from gigaflow_train.evaluate import policies
from gigaflow_train.evaluate.baselines import BASELINES
from gigaflow_train.networks import build
from gigaflow_train.train import train

GAUSSIAN = KINDS["continuous"]
CONFIG = TrainConfig(
    num_envs=128, rollout=8, epochs=3, minibatch=256, steps=25_000, discount=0.0, learning_rate=1e-2, seed=3, entropy=0.0,
    entropy_end=0.0, checkpoint_every=50, set_widths=(8,), vector_width=32, trunk_widths=(32,), separate=False, threads=1,
    action="continuous",
)  # fmt: skip


def test_log_probability_and_entropy_are_torchs():
    generator = torch.Generator().manual_seed(0)
    outputs = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    outputs[:, 2:].clamp_(-3.9, 0.0)
    action = 2 * torch.randn(50, 2, generator=generator, dtype=torch.float64)
    reference = torch.distributions.Normal(outputs[:, :2], outputs[:, 2:].exp())
    log_prob, entropy = GAUSSIAN.judge(outputs, action)
    torch.testing.assert_close(log_prob, reference.log_prob(action).sum(1))
    torch.testing.assert_close(entropy, reference.entropy().sum(1))
    torch.testing.assert_close(GAUSSIAN.log_prob(outputs, action), log_prob)


def test_drawn_actions_have_mean_and_spread_and_are_clipped_for_the_environment():
    rows = torch.arange(50_000)
    outputs = torch.tensor([[0.5, -0.25, math.log(0.5), math.log(0.1)]]).expand(len(rows), 4)
    action = GAUSSIAN.draw(outputs, GAUSSIAN.noises(3, 7, rows))
    np.testing.assert_allclose(action.mean(0), [0.5, -0.25], atol=0.01)
    np.testing.assert_allclose(action.std(0), [0.5, 0.1], rtol=0.02)
    assert float(action.max()) > 1.5 and float(GAUSSIAN.driven(action).abs().max()) == 1.0
    assert torch.equal(GAUSSIAN.driven(GAUSSIAN.likeliest(outputs)), outputs[:, :2])


def test_normal_numbers_depend_on_seed_step_and_row_alone():
    rows = torch.arange(50_000)
    all_ = noise.normal(3, 7, rows, 2)
    assert torch.equal(noise.normal(3, 7, rows[500:], 2), all_[500:])
    assert torch.equal(noise.normal(3, torch.tensor(7), rows, 2), all_)  # a step that stays on the device
    assert not bool((noise.normal(3, 8, rows, 2) == all_).any())
    assert abs(float(torch.corrcoef(all_.T)[0, 1])) < 0.02
    assert float((all_.abs() > 1.959964).float().mean()) == pytest.approx(0.05, abs=0.005)


def test_spreads_stay_within_their_bounds():
    outputs = torch.tensor([[0.0, 0.0, 50.0, -50.0]])
    assert mean_and_spread(outputs)[1].exp().tolist() == [[1.0, pytest.approx(0.02)]]


def test_an_untrained_policy_neither_brakes_nor_speeds_on_average():
    policy = build(Stub().layout, CONFIG)
    outputs, _ = policy(torch.rand(2000, Stub().layout.size))
    np.testing.assert_allclose(outputs.mean(0).detach(), [START_MEAN, 0.0, START_SPREAD, START_SPREAD], atol=0.05)
    drawn = GAUSSIAN.driven(GAUSSIAN.draw(outputs.detach(), noise.normal(0, 0, torch.arange(2000), 2)))[:, 0]
    jerk = torch.where(drawn < 0, 15.0 * drawn, 4.0 * drawn)
    assert abs(float(jerk.mean())) < 0.6  # m/s^3


def test_it_learns_to_point(tmp_path):
    train(Pointing(), CONFIG, tmp_path)
    act = policies.trained(tmp_path, Pointing(), seed=5, greedy=True)
    env = Pointing()
    obs, info = env.reset(seed=9)
    earned, live = 0.0, 0
    for _ in range(20):
        live += int(info["active"].sum())
        obs, reward, _, _, info = env.step(act(obs))
        earned += float(reward.sum())
    assert earned / live > 0.75  # always 0: 0.5; at random: 0.33


def test_a_checkpoint_says_its_actions_and_others_are_refused(tmp_path):
    train(Pointing(), CONFIG.replace(steps=2000), tmp_path)
    assert checkpoint.read_facts(tmp_path).config.action == "continuous"
    with pytest.raises(checkpoint.CheckpointError, match="actions are continuous there and discrete here"):
        checkpoint.load_policy(tmp_path, Stub())


def test_an_export_has_mean_and_spread(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    train(Pointing(), CONFIG.replace(steps=2000), tmp_path)
    export.to_onnx(tmp_path, tmp_path / "policy.onnx", Pointing())
    session = onnxruntime.InferenceSession(str(tmp_path / "policy.onnx"), providers=["CPUExecutionProvider"])
    obs = torch.rand(7, Pointing().layout.size)
    mean, spread, value = session.run(["mean", "spread", "value"], {"obs": obs.numpy()})
    with torch.no_grad():
        outputs, expected = checkpoint.load_policy(tmp_path, Pointing())(obs)
    expected_mean, log_spread = mean_and_spread(outputs)
    np.testing.assert_allclose(mean, expected_mean, atol=1e-5)
    np.testing.assert_allclose(spread, log_spread.exp(), atol=1e-5)
    np.testing.assert_allclose(value, expected, atol=1e-5)


def test_the_baselines_drive_in_the_box():
    jerks = [(along, across) for along in LONGITUDINAL_JERKS for across in LATERAL_JERKS]
    back = [(a * (15 if a < 0 else 4), b * 4) for a, b in in_box().tolist()]
    assert len(back) == ACTIONS and back == [pytest.approx(jerk) for jerk in jerks]
    env = environment.make(
        maps=["loop"], preset="laptop", config={}, num_envs=8, agents_per_world=8, threads=1, action="continuous"
    )
    obs, _ = env.reset(seed=1)
    for name in BASELINES:
        env.step(policies.baseline(name, env, 0)(obs))  # raises for others than (8, 2) in the box


def test_the_commands_work_with_it(tmp_path, capsys):
    small = ["minibatch=256", "rollout=8", "set_widths=[8]", "vector_width=16", "trunk_widths=[16]"]
    words = ["--action", "continuous", "--steps", "2000", "--num-envs", "64", "--threads", "1", "--set", *small]
    assert main(["run", "--map", "loop", "--out", str(tmp_path / "run"), *words]) == 0
    capsys.readouterr()
    words = ["--steps", "20", "--num-envs", "16", "--threads", "1", "--json"]
    assert main(["evaluate", str(tmp_path / "run"), *words]) == 0
    assert json.loads(capsys.readouterr().out)["settings"]["action"] == "continuous"
    assert main(["evaluate", str(tmp_path / "run"), "--greedy", *words]) == 0


def test_the_presets_have_the_published_actions():
    assert all(preset().action == "discrete" for preset in PRESETS.values())
