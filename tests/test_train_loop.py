"""The whole trainer on a task that takes seconds."""

import json
import math
import os

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from train_stub import Stub, earned

from gigaflow_env import Layout
from gigaflow_train import checkpoint, environment, journal
from gigaflow_train.advantage import keep_informative
from gigaflow_train.config import PRESETS, TrainConfig
from gigaflow_train.evaluate.baselines import random
from gigaflow_train.evaluate.policies import trained
from gigaflow_train.policy import Policy
from gigaflow_train.rollout import Chance, allocate, collect, present
from gigaflow_train.train import NotFinite, spent, train

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


@pytest.mark.slow
def test_it_learns_nothing_from_shuffled_rewards(tmp_path):
    train(Stub(shuffled=True), SHORT.replace(steps=60_000), tmp_path)
    env = Stub()
    assert earned(env, trained(tmp_path, env, 0)) < 0.25


def rows(directory):
    timing = ("minutes", "samples_per_s", "rollout_s", "update_s")
    return [{k: v for k, v in row.items() if k not in timing} for row in journal.read(directory / "metrics.jsonl")]


def weights(directory):
    return load_file(directory / "checkpoint.safetensors")


def test_a_run_that_crashed_goes_on_as_if_nothing_had_happened(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train(Stub(), SHORT, whole)
    with pytest.raises(RuntimeError, match="crashed"):
        train(Stub(breaks_at=16 * 8 + 3), SHORT, broken)  # after the eighth update; the fifth has left a checkpoint
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
            maps=[town], preset=preset, config=config.environment, num_envs=48, agents_per_world=agents, threads=1
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
    assert not any("anew" in line for line in said) and len(rows(whole)) >= 6  # rows without agents are no steps
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
    assert "can't be restored" in said[1]
    assert last["iteration"] > done
    assert [row["iteration"] for row in rows(tmp_path)] == list(range(1, last["iteration"] + 1))


def test_other_weights_than_saved_can_not_be_resumed(tmp_path):
    train(Stub(), SHORT.replace(steps=2_000), tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match=r"resume\.pt does not fit"):
        train(Stub(), SHORT.replace(vector_width=16), tmp_path, resume=True)
    with pytest.raises(ValueError, match="128 rows, this environment 64"):
        train(Stub(64), SHORT, tmp_path, resume=True)


def driven(env, steps=20, seed=3):
    torch.manual_seed(0)
    policy = Policy(env.layout, CONFIG)
    storage = allocate(steps, env.num_envs, env.layout.size)
    now = present(*env.reset(seed=seed))
    now, happened = collect(env, policy, storage, now, Chance(4, 0), CONFIG.discount)
    return policy, storage, now, happened


def test_erratic_drivers_teach_nothing():
    """Their samples are neither learnt from nor counted; the others' are as before."""
    env = Stub(32)
    env.erratic[::5] = True
    _, storage, _, happened = driven(env)
    n = happened.samples
    rows, learns = storage.cell[:n] % 32, storage.learns[:n]
    assert torch.equal(learns, rows % 5 != 0)
    assert {0, 5} < set(rows.tolist())  # but the policy drives them
    kept = keep_informative(torch.rand(n) + 1.0, learns, 0.0, share=0.0, rate=0.25, least=0).keep
    assert len(kept) == happened.tally.steps == int(learns.sum())
    assert happened.episodes < driven(Stub(32))[3].episodes  # nor do their returns count


def test_rows_without_a_driver_cost_nothing():
    """Neither memory nor inference: the policy sees as many observations as there are live rows."""
    env = Stub(32)
    seen = []
    policy = Policy(env.layout, CONFIG)
    policy.register_forward_pre_hook(lambda module, given: seen.append(len(given[0])))
    storage = allocate(20, 32, env.layout.size)
    now = present(*env.reset(seed=3))
    _, happened = collect(env, policy, storage, now, Chance(4, 0), CONFIG.discount)
    assert sum(seen) == happened.samples < 20 * 32
    assert torch.equal(storage.cell[: happened.samples].unique(), storage.cell[: happened.samples])


def test_collect_keeps_what_happened():
    env = Stub(32)
    policy, storage, now, happened = driven(env)
    replay = Stub(32)
    obs, info = replay.reset(seed=3)
    ended, live, at = 0, 0, 0
    for t in range(20):
        rows = np.flatnonzero(info["active"])
        new = slice(at, at := at + len(rows))
        np.testing.assert_array_equal(storage.obs[new], obs[rows])
        np.testing.assert_array_equal(storage.cell[new], t * 32 + rows)
        with torch.no_grad():
            logits, value = policy(torch.from_numpy(obs[rows]))
        expected = torch.log_softmax(logits, 1)[torch.arange(len(rows)), storage.action[new]]
        torch.testing.assert_close(storage.log_prob[new], expected)
        torch.testing.assert_close(storage.value[t, rows], value)
        assert not storage.value[t, ~torch.from_numpy(info["active"])].any()
        actions = np.zeros(32, np.int64)
        actions[rows] = storage.action[new]
        acted = info["active"].copy()
        obs, reward, terminated, truncated, info = replay.step(actions)
        with torch.no_grad():
            last = policy(torch.from_numpy(info["final_obs"]))[1].numpy()
        earned_on = np.where(truncated & ~terminated, CONFIG.discount * last, 0.0)
        np.testing.assert_allclose(storage.reward[t], reward + earned_on, atol=1e-6)
        np.testing.assert_array_equal(storage.ended[t], terminated | truncated)
        ended += int((terminated | truncated).sum())
        live += int(acted.sum())
    rows = np.flatnonzero(info["active"])
    np.testing.assert_array_equal(now.rows, rows)
    np.testing.assert_array_equal(now.obs, obs)
    with torch.no_grad():
        torch.testing.assert_close(storage.value[20, rows], policy(torch.from_numpy(obs[rows]))[1])
    assert happened.episodes == ended > 20
    assert happened.samples == at == live == happened.tally.steps


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
    (tmp_path / checkpoint.WEIGHTS).write_bytes((run / checkpoint.WEIGHTS).read_bytes())
    return tmp_path


def rewritten(file, **changes):
    """Write a checkpoint anew with other metadata; None leaves one out."""
    with safe_open(file, "pt") as opened:
        metadata = {**opened.metadata(), **changes}
    save_file(load_file(file), file, {name: text for name, text in metadata.items() if text is not None})


def test_a_directory_and_a_file_load_the_same_policy(run):
    env = Stub()
    obs = torch.rand(5, env.layout.size)
    one, two = checkpoint.load_policy(run, env), checkpoint.load_policy(run / checkpoint.WEIGHTS, env)
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
    assert all(after[name] == before[name] for name in (checkpoint.WEIGHTS, checkpoint.RESUME))


def test_damaged_checkpoints_are_named(run, tmp_path):
    env = Stub()
    directory = copy(run, tmp_path)
    file = directory / checkpoint.WEIGHTS
    facts = json.loads(safe_open(file, "pt").metadata()["facts"])

    rewritten(file, format="99")
    with pytest.raises(checkpoint.CheckpointError, match="format 99, this version reads 2"):
        checkpoint.load_policy(directory, env)
    rewritten(file, format="2", facts="{")
    with pytest.raises(checkpoint.CheckpointError, match=r"checkpoint\.safetensors has facts that this version can't read"):
        checkpoint.load_policy(directory, env)
    rewritten(file, facts=json.dumps(facts | {"config": facts["config"] | {"vector_width": 7}}))
    with pytest.raises(checkpoint.CheckpointError, match="does not fit its own facts"):
        checkpoint.load_policy(directory, env)
    rewritten(file, facts=None)
    with pytest.raises(checkpoint.CheckpointError, match="has no facts in its metadata"):
        checkpoint.load_policy(directory, env)
    (directory / "checkpoint.json").write_text("{}")  # as the first format had
    with pytest.raises(checkpoint.CheckpointError, match="has format 1, this version reads format 2"):
        checkpoint.load_policy(directory, env)
    file.write_bytes(b"nonsense")
    with pytest.raises(checkpoint.CheckpointError, match=r"checkpoint\.safetensors is not a checkpoint"):
        checkpoint.load_policy(directory, env)
    file.unlink()
    with pytest.raises(checkpoint.CheckpointError, match="does not exist"):
        checkpoint.load_policy(directory, env)
    (directory / checkpoint.RESUME).write_bytes(b"nonsense")
    with pytest.raises(checkpoint.CheckpointError, match=r"resume\.pt can't be read"):
        train(Stub(), SHORT, directory, resume=True)


class Shown:
    """An environment as far as a checkpoint looks at it."""

    def __init__(self, **changes):
        self.config = Stub().config.replace(**changes)
        self.layout = Layout(self.config)
        self.single_action_space = Stub().single_action_space


def test_another_layout_is_refused_but_not_other_numbers_of_elements(run):
    with pytest.raises(checkpoint.CheckpointError, match="0 stops there and 2 here"):
        checkpoint.load_policy(run, Shown(stop_count=2))
    wider = Shown(lane_count=7, agent_count=5)
    logits, value = checkpoint.load_policy(run, wider)(torch.zeros(4, wider.layout.size))
    assert logits.shape == (4, 12) and value.shape == (4,)


@pytest.mark.parametrize("name", checkpoint.SCALES)
def test_other_scales_are_refused_by_name(run, name):
    other = Shown(**{name: getattr(Stub().config, name) / 2})
    with pytest.raises(checkpoint.CheckpointError, match=f"trained in another environment: {name} is .* there and .* here"):
        checkpoint.load_policy(run, other)
    checkpoint.load_policy(run, other, other_scales=True)


def test_other_features_are_refused(run, tmp_path):
    file = copy(run, tmp_path) / checkpoint.WEIGHTS
    facts = json.loads(safe_open(file, "pt").metadata()["facts"])
    facts["features"]["stops"].reverse()
    rewritten(file, facts=json.dumps(facts))
    with pytest.raises(checkpoint.CheckpointError, match="features of stops are"):
        checkpoint.load_policy(file, Stub())


def test_a_run_starts_from_the_weights_of_another(run, tmp_path):
    config = SHORT.replace(start=str(run), steps=2000, learning_rate=1e-9, keep=1)
    train(Stub(), config, tmp_path / "more")
    before, after = (load_file(directory / checkpoint.WEIGHTS) for directory in (run, tmp_path / "more"))
    for name, weights in after.items():  # the normaliser, too
        torch.testing.assert_close(weights, before[name], atol=1e-6, rtol=0)
    facts = checkpoint.read_facts(tmp_path / "more")
    seen = facts.step - checkpoint.read_facts(run).step
    assert seen == rows(tmp_path / "more")[-1]["step"] >= 2000  # what they had seen before counts
    train(Stub(), facts.config.replace(steps=4000), tmp_path / "more", resume=True)
    assert checkpoint.read_facts(tmp_path / "more").step - checkpoint.read_facts(run).step >= 4000


def test_a_start_that_does_not_fit_is_named(run, tmp_path):
    config = SHORT.replace(start=str(run))
    other = Stub()
    other.config = other.config.replace(view_range=other.config.view_range / 2)
    with pytest.raises(checkpoint.CheckpointError, match="start=.* was trained in another environment: view_range is"):
        train(other, config, tmp_path)
    with pytest.raises(checkpoint.CheckpointError, match="start=.* is another network than this run's"):
        train(Stub(), config.replace(trunk_widths=(16,)), tmp_path)
    assert not list(tmp_path.glob("*.safetensors"))


def test_files_have_the_modes_of_their_neighbours(run):
    (run / "neighbour").touch()
    modes = {file.stat().st_mode for file in run.iterdir() if file.is_file()}
    assert len(modes) == 1


def test_as_many_numbered_checkpoints_as_wanted(tmp_path):
    train(Stub(), SHORT.replace(steps=16_000, checkpoint_every=2, keep=2), tmp_path)
    numbered = sorted(tmp_path.glob("checkpoint-*.safetensors"))
    assert len(numbered) == 2
    steps = [checkpoint.read_facts(file).step for file in numbered]
    assert steps == sorted(steps) and steps[-1] == checkpoint.read_facts(tmp_path).step
    assert all(f"{step:015d}" in file.name for step, file in zip(steps, numbered, strict=True))


def test_held_out_evaluations_keep_the_best_policy(tmp_path):
    said = []
    config = SHORT.replace(eval_every=4, eval_steps=40)
    train(Arriving(), config, tmp_path, held_out=Arriving(), say=said.append)
    lines = journal.read(tmp_path / "evaluations.jsonl")
    last = rows(tmp_path)[-1]["iteration"]
    expected = [k for k in range(1, last + 1) if k % 4 == 0 or k == last]  # and one at the end
    assert [line["iteration"] for line in lines] == expected and len(said) - 1 == len(expected) >= 3
    assert all(line["goal_rate"]["low"] <= line["goal_rate"]["value"] <= line["goal_rate"]["high"] for line in lines)
    best = max(lines, key=lambda line: line["goal_rate"]["value"])
    facts = checkpoint.read_facts(tmp_path / checkpoint.BEST)
    assert facts.step == best["step"] and facts.evaluation == best


def test_an_evaluation_changes_nothing_in_training(tmp_path):
    train(Arriving(), SHORT, tmp_path / "without")
    train(Arriving(), SHORT.replace(eval_every=3, eval_steps=5), tmp_path / "with", held_out=Arriving())
    assert rows(tmp_path / "with") == rows(tmp_path / "without")


class Arriving(Stub):
    """Time-outs of the stub are arrivals."""

    def step(self, actions):
        obs, reward, terminated, truncated, info = super().step(actions)
        return obs, reward, terminated, truncated, info | {"route_done": info["timeout"]}


def test_a_budget_can_be_extended(tmp_path):
    train(Stub(), SHORT.replace(steps=8_000), tmp_path)
    assert checkpoint.resume_config(tmp_path).steps == 8_000
    last = train(Stub(), SHORT.replace(steps=16_000), tmp_path, resume=True)
    assert last["step"] >= 16_000 > 8_000
    assert [row["iteration"] for row in rows(tmp_path)] == list(range(1, last["iteration"] + 1))
    assert checkpoint.resume_config(tmp_path).steps == 16_000


class Broken(Stub):
    """From some step on rewards are not finite."""

    bad = float("nan")

    def step(self, actions):
        obs, reward, terminated, truncated, info = super().step(actions)
        if self.tick > 16 * 12:
            reward = np.where(self.active, self.bad, reward).astype(np.float32)
        return obs, reward, terminated, truncated, info


def test_the_first_advantage_that_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(NotFinite, match=r"iteration \d+: advantage is not finite; the last checkpoint stays"):
        train(Broken(), SHORT, tmp_path)
    policy = checkpoint.load_policy(tmp_path, Stub())
    assert all(bool(torch.isfinite(tensor).all()) for tensor in policy.state_dict().values())
    assert all(math.isfinite(number) for row in rows(tmp_path) for number in row.values())


def test_the_first_loss_that_is_not_finite_ends_the_run(tmp_path):
    class Huge(Stub):
        def step(self, actions):
            obs, reward, *rest = super().step(actions)
            return obs, reward * np.float32(1e30), *rest

    with pytest.raises(NotFinite, match=r"iteration 1: value loss is not finite"):
        train(Huge(), SHORT, tmp_path)


def test_where_all_are_erratic_nobody_is_there_to_learn_from(tmp_path):
    env = Stub(32)
    env.erratic[:] = True
    with pytest.raises(ValueError, match="nobody to learn from: of 32 rows 32 have an agent.* 32 erratic drivers"):
        train(env, SHORT, tmp_path)


def test_a_torn_last_line_of_the_journal_is_left_out(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"iteration": 1}\n{"itera')
    assert journal.read(path) == [{"iteration": 1}]
    path.write_text('{"itera\n{"iteration": 1}\n')
    with pytest.raises(ValueError, match="line 1"):
        journal.read(path)
