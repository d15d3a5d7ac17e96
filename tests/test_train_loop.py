"""The whole trainer on a task that takes seconds."""

import json
import os

import numpy as np
import pytest
import torch
from train_stub import Stub, earned

from gigaflow_train import checkpoint, environment, journal
from gigaflow_train.advantage import keep_informative
from gigaflow_train.config import PRESETS, TrainConfig
from gigaflow_train.evaluate.policies import random, trained
from gigaflow_train.policy import Policy
from gigaflow_train.rollout import allocate, begin, collect
from gigaflow_train.train import spent, train

CONFIG = TrainConfig(
    num_envs=128, rollout=16, epochs=3, minibatch=512, steps=120_000, discount=0.5, learning_rate=3e-3, checkpoint_every=5,
    set_widths=(8,), vector_width=32, trunk_widths=(32,), separate=False, threads=1, entropy_end=0.0,
)  # fmt: skip
SHORT = CONFIG.replace(steps=24_000)


def test_it_learns_the_stub(tmp_path):
    env = Stub()
    assert earned(env, random(env, 0)) == pytest.approx(1 / 12, abs=0.02)
    last = train(env, CONFIG, tmp_path)
    assert earned(env, trained(tmp_path, env, 0)) > 0.8
    assert last["step"] >= CONFIG.steps
    assert last["spent"] == 1.0


def test_it_learns_nothing_from_shuffled_rewards(tmp_path):
    train(Stub(shuffled=True), SHORT.replace(steps=60_000), tmp_path)
    env = Stub()
    assert earned(env, trained(tmp_path, env, 0)) < 0.25


def rows(directory):
    timing = ("minutes", "samples_per_s", "rollout_s", "update_s")
    return [{k: v for k, v in row.items() if k not in timing} for row in journal.read(directory / "metrics.jsonl")]


def weights(directory):
    return safetensors_of(directory / "checkpoint.safetensors")


def safetensors_of(path):
    from safetensors.torch import load_file

    return load_file(path)


def test_a_run_that_crashed_goes_on_as_if_nothing_had_happened(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(Stub(), SHORT, whole)
    with pytest.raises(RuntimeError, match="crashed"):
        train(Stub(breaks_at=16 * 9 + 3), SHORT, broken)  # after the eighth update; the fifth has left a checkpoint
    assert len(rows(broken)) == 8
    assert checkpoint.read_facts(broken).step < SHORT.steps
    train(Stub(), SHORT, broken, resume=True)
    assert rows(broken) == rows(whole)
    ours, theirs = weights(broken), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


@pytest.mark.parametrize(("preset", "agents"), [("laptop", 8), ("paper", (2, 8))], ids=["laptop", "paper"])
def test_a_run_in_the_real_environment_goes_on_bit_equal(preset, agents, tmp_path):
    """Stopped and resumed with another environment: the same weights and figures as in one go. The paper's has variants,
    dropout, noise, erratic drivers and rows without agents."""
    config = PRESETS["laptop"]().replace(
        num_envs=48, environment={"world_steps": 50, "max_steps": 40}, minutes=None, rollout=16, steps=6 * 48 * 16,
        minibatch=256, set_widths=(8,), vector_width=16, trunk_widths=(16,), threads=1, checkpoint_every=3,
    )  # fmt: skip

    def env(town="loop"):
        return environment.make(
            map=town, preset=preset, config=config.environment, num_envs=48, agents_per_world=agents, threads=1
        )

    class Crash(Exception):
        pass

    def crash(row):
        if row["iteration"] == 4:
            raise Crash

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(env(), config, whole)
    with pytest.raises(Crash):
        train(env(), config, broken, show=crash)
    said = []
    train(env(), config, broken, resume=True, say=said.append)
    assert not said and len(rows(whole)) >= 6  # rows without agents are no steps
    assert rows(broken) == rows(whole)
    ours, theirs = weights(broken), weights(whole)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)

    with pytest.raises(ValueError, match="belongs to another environment: map 0"):
        train(env("downtown"), config, broken, resume=True)


def test_where_the_environment_has_no_snapshot_it_says_so_and_goes_on(tmp_path, monkeypatch):
    train(Stub(), SHORT.replace(steps=8_000), tmp_path)
    done = rows(tmp_path)[-1]["iteration"]
    monkeypatch.delattr(Stub, "restore")
    said = []
    last = train(Stub(), SHORT, tmp_path, resume=True, say=said.append)
    assert "can't be restored" in said[0]
    assert last["iteration"] > done
    assert [row["iteration"] for row in rows(tmp_path)] == list(range(1, last["iteration"] + 1))


def test_other_weights_than_saved_can_not_be_resumed(tmp_path):
    train(Stub(), SHORT.replace(steps=2_000), tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match=r"resume\.pt does not fit"):
        train(Stub(), SHORT.replace(vector_width=16), tmp_path, resume=True)
    with pytest.raises(checkpoint.CheckpointError, match="it has 128 rows, the environment 64"):
        train(Stub(64), SHORT, tmp_path, resume=True)


def test_erratic_drivers_teach_nothing():
    """Their samples are neither learnt from nor counted; the others' are as before."""
    env = Stub(32)
    env.erratic[::5] = True
    torch.manual_seed(0)
    policy = Policy(env.layout, CONFIG)
    storage = allocate(20, 32, env.layout.size)
    obs, info = env.reset(seed=3)
    begin(storage, obs, info)
    driven = collect(env, policy, storage, torch.Generator().manual_seed(4))
    assert not storage.active[:, ::5].any() and storage.active[:, 1::5].any()
    kept = keep_informative(torch.rand(20, 32) + 1.0, storage.active[:-1], 0.0, share=0.0, rate=0.25, least=0).keep
    assert set((kept % 32).tolist()).isdisjoint(range(0, 32, 5)) and len(kept) == driven.tally.steps


def test_collect_keeps_what_happened():
    env = Stub(32)
    torch.manual_seed(0)
    policy = Policy(env.layout, CONFIG)
    storage = allocate(20, 32, env.layout.size)
    obs, info = env.reset(seed=3)
    begin(storage, obs, info)
    driven = collect(env, policy, storage, torch.Generator().manual_seed(4))

    replay = Stub(32)
    obs, info = replay.reset(seed=3)
    ended = 0
    for t in range(20):
        np.testing.assert_array_equal(storage.obs[t], obs)
        np.testing.assert_array_equal(storage.active[t], info["active"])
        with torch.no_grad():
            logits, value = policy(torch.from_numpy(obs))
        expected = torch.log_softmax(logits, 1)[torch.arange(32), storage.action[t]]
        torch.testing.assert_close(storage.log_prob[t], expected)
        torch.testing.assert_close(storage.value[t], value)
        obs, reward, terminated, truncated, info = replay.step(storage.action[t].numpy())
        np.testing.assert_array_equal(storage.reward[t], reward)
        np.testing.assert_array_equal(storage.terminated[t], terminated)
        np.testing.assert_array_equal(storage.truncated[t], truncated)
        with torch.no_grad():
            last = policy(torch.from_numpy(info["final_obs"]))[1]
        torch.testing.assert_close(storage.bootstrap[t], torch.where(torch.from_numpy(truncated), last, 0.0))
        ended += int((terminated | truncated).sum())
    np.testing.assert_array_equal(storage.obs[20], obs)
    assert driven.episodes == ended > 20
    assert storage.truncated.any() and storage.terminated.any() and not storage.active.all()
    assert driven.tally.steps == int(storage.active[:-1].sum())


def test_the_budget_that_ends_first_counts():
    progress = checkpoint.Progress(step=500, seconds=30.0)
    assert spent(CONFIG.replace(minutes=1.0, steps=2000), progress) == 0.5
    assert spent(CONFIG.replace(minutes=10.0, steps=2000), progress) == 0.25
    assert spent(CONFIG.replace(minutes=0.1, steps=None), progress) == 1.0


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    directory = tmp_path_factory.mktemp("run")
    train(Stub(), SHORT.replace(steps=2_000), directory)
    return directory


def copy(run, tmp_path):
    for name in (checkpoint.WEIGHTS, checkpoint.FACTS):
        (tmp_path / name).write_bytes((run / name).read_bytes())
    return tmp_path


def test_a_directory_and_a_file_load_the_same_policy(run):
    layout = Stub().layout
    obs = torch.rand(5, layout.size)
    one, two = checkpoint.load_policy(run, layout), checkpoint.load_policy(run / checkpoint.WEIGHTS, layout)
    assert torch.equal(one(obs)[0], two(obs)[0])
    facts = checkpoint.read_facts(run)
    assert facts.config == SHORT.replace(steps=2_000)
    assert facts.environment["lane_count"] == 3
    saved = torch.load(run / checkpoint.RESUME, weights_only=True)
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, saved["policy"][name])


def test_a_save_that_fails_leaves_the_old_checkpoint(run, tmp_path, monkeypatch):
    train(Stub(), SHORT.replace(steps=2_000), tmp_path)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    replace = os.replace

    def full_disk(source, target):
        if str(target).endswith(".pt"):
            raise OSError("no space left")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space left"):
        train(Stub(), SHORT.replace(steps=4_000), tmp_path, resume=True)
    after = {file.name: file.read_bytes() for file in tmp_path.iterdir() if file.is_file()}
    assert set(after) == set(before)  # no temporary file is left
    assert all(after[name] == before[name] for name in (checkpoint.WEIGHTS, checkpoint.FACTS, checkpoint.RESUME))


def test_damaged_checkpoints_are_named(run, tmp_path):
    layout = Stub().layout
    directory = copy(run, tmp_path)
    facts = json.loads((directory / checkpoint.FACTS).read_text())

    (directory / checkpoint.FACTS).write_text(json.dumps(facts | {"step": 7}))
    with pytest.raises(checkpoint.CheckpointError, match="step 7: they do not belong together"):
        checkpoint.load_policy(directory, layout)
    (directory / checkpoint.FACTS).write_text(json.dumps(facts | {"format": 99}))
    with pytest.raises(checkpoint.CheckpointError, match="format 99"):
        checkpoint.load_policy(directory, layout)
    (directory / checkpoint.FACTS).write_text("{")
    with pytest.raises(checkpoint.CheckpointError, match=r"checkpoint\.json is not a checkpoint's description"):
        checkpoint.load_policy(directory, layout)
    (directory / checkpoint.FACTS).write_text(json.dumps(facts))
    (directory / checkpoint.WEIGHTS).write_bytes(b"nonsense")
    with pytest.raises(checkpoint.CheckpointError, match=r"checkpoint\.safetensors is not a checkpoint"):
        checkpoint.load_policy(directory, layout)
    (directory / checkpoint.WEIGHTS).unlink()
    with pytest.raises(checkpoint.CheckpointError, match="does not exist"):
        checkpoint.load_policy(directory, layout)
    (directory / checkpoint.RESUME).write_bytes(b"nonsense")
    with pytest.raises(checkpoint.CheckpointError, match=r"resume\.pt can't be read"):
        train(Stub(), SHORT, directory, resume=True)


def test_another_layout_is_refused_but_not_other_numbers_of_elements(run):
    from gigaflow_env import Layout

    with pytest.raises(checkpoint.CheckpointError, match="'stops': 0.*'stops': 2"):
        checkpoint.load_policy(run, Layout(Stub().config.replace(stop_count=2)))
    wider = Layout(Stub().config.replace(lane_count=7, agent_count=5))
    logits, value = checkpoint.load_policy(run, wider)(torch.zeros(4, wider.size))
    assert logits.shape == (4, 12) and value.shape == (4,)


def test_a_torn_last_line_of_the_journal_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"iteration": 1}\n{"itera')
    assert journal.read(path) == [{"iteration": 1}]
    path.write_text('{"itera\n{"iteration": 1}\n')
    with pytest.raises(ValueError, match="line 1"):
        journal.read(path)
