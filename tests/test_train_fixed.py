"""The iteration in fixed shapes: the same as the plain one, and nothing in it waits for the device."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.utils._python_dispatch import TorchDispatchMode
from train_stub import Pointing, Stub

from gigaflow_train import checkpoint, environment, journal
from gigaflow_train.actions import KINDS
from gigaflow_train.config import PRESETS, TrainConfig
from gigaflow_train.fixed import Fixed, compact, places_for
from gigaflow_train.networks import build
from gigaflow_train.opponents import Opponent
from gigaflow_train.ppo import Batch, losses
from gigaflow_train.rollout import Chance, allocate, collect, present
from gigaflow_train.train import NotFinite, iterate, train

CPU = torch.device("cpu")
CONFIG = TrainConfig(
    num_envs=32, rollout=8, epochs=2, minibatch=100_000, steps=5 * 32 * 8, discount=0.5, learning_rate=3e-3, seed=3,
    checkpoint_every=2, set_widths=(8,), vector_width=16, trunk_widths=(16,), separate=False, threads=1, filter_share=0.05,
)  # fmt: skip
"""One minibatch an epoch: its samples are then the same, whatever their order."""


def real(**changes):
    """The paper's environment, small: rows without agents, erratic drivers, dropout."""
    config = PRESETS["laptop"]().replace(num_envs=64, rollout=12, seed=5, set_widths=(8,), trunk_widths=(16,), **changes)
    env = environment.make(
        maps=["loop"], preset="paper", config={"world_steps": 9, "max_steps": 7, "inattentive": 0.3}, num_envs=64,
        agents_per_world=(2, 16), threads=1, output="torch", action=config.action, traffic=0.1,
    )  # fmt: skip
    return env, config


def both(env, config, others=()):
    """A policy and the two ways to drive it: (storage, driven) and Fixed, after the same rollout."""
    torch.manual_seed(1)
    policy, kind = build(env.layout, config), KINDS[config.action]
    storage = allocate(config.rollout, env.num_envs, env.layout.size, actions=kind)
    now = present(*env.reset(seed=4), others)
    _, driven = collect(env, policy, storage, now, Chance(config.seed, 40, actions=kind), config.discount, others)
    fixed = Fixed(env, policy, torch.optim.Adam(policy.parameters(), fused=True), config, CPU, torch.Generator(), others)
    fixed.begin(*env.reset(seed=4))
    fixed.collect(40)
    return policy, storage, driven, fixed


@pytest.mark.parametrize("kind", ["stub", "pointing", "discrete", "continuous", "opponents"])
def test_a_rollout_is_the_same(kind):
    if kind in ("stub", "pointing"):
        env, config = (
            (Pointing, Stub)[kind == "stub"](32),
            CONFIG.replace(action="discrete" if kind == "stub" else "continuous"),
        )
    else:
        env, config = real(action="continuous" if kind == "continuous" else "discrete")
    others = [Opponent(build(env.layout, config), torch.arange(0, 64, 5))] if kind == "opponents" else []
    _, plain, driven, fixed = both(env, config, others)
    n = driven.samples
    assert int(fixed.used) == n > 100 and int(fixed.missed) == 0
    for name in ("cell", "learns", "action"):
        torch.testing.assert_close(getattr(fixed.storage, name)[:n], getattr(plain, name)[:n], rtol=1e-5, atol=1e-5)
    assert torch.equal(fixed.storage.obs[:n], plain.obs[:n])
    assert not fixed.storage.learns[n:].any()
    for name in ("value", "reward", "ended", "log_prob"):
        one, other = getattr(fixed.storage, name), getattr(plain, name)
        count = n if name == "log_prob" else len(other)
        torch.testing.assert_close(one[:count], other[:count], rtol=1e-5, atol=1e-5)
    assert int(fixed.cut) > 0 or kind in ("stub", "pointing")  # episodes were truncated: their last observations count
    np.testing.assert_allclose(fixed.sums, [*driven.tally, driven.episodes, driven.episode_return], rtol=1e-5)


@pytest.mark.parametrize("action", ["discrete", "continuous"])
def test_training_comes_to_the_same_weights(action, tmp_path):
    env = Stub if action == "discrete" else Pointing
    config = CONFIG.replace(action=action)
    rows = {}
    for fixed in (False, True):
        train(env(32), config.replace(fixed=fixed), tmp_path / str(fixed))
        rows[fixed] = journal.read(tmp_path / str(fixed) / "metrics.jsonl")
    one, other = (load_file(tmp_path / str(fixed) / checkpoint.WEIGHTS) for fixed in (True, False))
    for name in other:
        torch.testing.assert_close(one[name], other[name], atol=1e-5, rtol=0)
    assert len(rows[True]) == len(rows[False]) >= 5
    for now, plain in zip(rows[True], rows[False], strict=True):
        for name in ("step", "kept", "routes", "goal_rate", "largest_advantage", "threshold", "explained", "episode_return"):
            assert now.get(name) == pytest.approx(plain.get(name), rel=1e-4, abs=1e-4), name
    # Losses are those of the update before, but where a checkpoint comes.
    lossy = [row.get("value_loss") for row in rows[True]]
    expected = [row["value_loss"] for row in rows[False]]
    assert lossy[0] is None and lossy[1] == pytest.approx(expected[1], rel=1e-3)
    assert lossy[2] == pytest.approx(expected[1], rel=1e-3) and lossy[3] == pytest.approx(expected[3], rel=1e-3)


def test_several_minibatches_hold_every_sample_once():
    env = Stub(32)
    config = CONFIG.replace(minibatch=37, epochs=1)
    _, _, _, fixed = both(env, config)
    with torch.no_grad():
        fixed.filter()
    kept, parts = int(fixed.kept_of[0]), int(fixed.parts)
    assert parts == round(kept / 37) > 2
    seen, weights = [], []
    for k in range(parts):
        low, high = kept * k // parts, kept * (k + 1) // parts
        weights.append(high - low)
        seen += fixed.order[low:high].tolist()
    assert sorted(seen) == seen and len(set(seen)) == kept and max(weights) <= fixed.most
    before = fixed.order[:kept].clone()
    fixed.update(parts, 0.0)
    assert int(fixed.updates) == parts and int(fixed.part) == parts
    assert torch.equal(fixed.order[:kept].sort().values, before) and not torch.equal(fixed.order[:kept], before)


def test_gradients_of_a_padded_minibatch_are_those_of_its_samples():
    env = Stub(32)
    config = CONFIG.replace(minibatch=37)
    policy, _, _, fixed = both(env, config)
    with torch.no_grad():
        fixed.filter()
    fixed.optimizer = torch.optim.SGD(policy.parameters(), lr=0.0)
    kept, parts = int(fixed.kept_of[0]), int(fixed.parts)
    for k in range(parts):
        fixed.part.fill_(k)
        fixed.minibatch()
        ours = [parameter.grad.clone() for parameter in policy.parameters()]
        chosen = fixed.order[kept * k // parts : kept * (k + 1) // parts]
        storage = fixed.storage
        batch = Batch(
            storage.obs[chosen],
            storage.action[chosen],
            storage.log_prob[chosen],
            fixed.normalised[chosen],
            fixed.target[chosen],
        )
        policy.zero_grad()
        found = losses(*policy(batch.obs), batch, clip=config.clip, entropy_weight=0.0, value_weight=config.value_weight)
        found.total.backward()
        torch.nn.utils.clip_grad_norm_(policy.parameters(), config.gradient_norm)
        for one, parameter in zip(ours, policy.parameters(), strict=True):
            torch.testing.assert_close(one, parameter.grad, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("places", [3, 5, 9])
def test_compact_lists_what_is_true(places):
    mask = torch.tensor([0, 1, 1, 0, 1, 0, 1, 1], dtype=torch.bool)
    found, number = compact(mask, places)
    expected = mask.nonzero().squeeze(1)[:places]
    assert int(number) == 5 and len(found) == places
    assert torch.equal(found[: len(expected)], expected) and not found[len(expected) :].any()


def test_places_are_enough_for_worlds_that_draw_their_agents():
    env, _ = real()
    assert places_for(env) == 64 == env.num_envs  # few worlds: all rows
    many = environment.make(
        maps=["loop"], preset="paper", config={}, num_envs=64 * 128, agents_per_world=(1, 64), threads=1
    )  # fmt: skip
    _, info = many.reset(seed=1)
    assert info["active"].sum() < places_for(many) < 0.8 * many.num_envs


def test_too_few_places_are_an_error():
    env = Stub(32)
    _, _, _, fixed = both(env, CONFIG)
    fixed.places = 8
    with pytest.raises(ValueError, match="places for 8 driven rows"):
        fixed.iterate(40, None, 0.0, wait=True)


class Waits(TorchDispatchMode):
    """Counts what the host would wait for a device for: operations whose result is a number or has no known size."""

    NAMES = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "equal", "is_nonzero", "_unique2", "bincount")

    def __init__(self):
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        by_mask = name in ("index", "index_put", "index_put_") and any(
            one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1]
        )
        self.seen += [name] * (name in self.NAMES or by_mask)
        return operation(*args, **(kwargs or {}))


@pytest.fixture
def waits(monkeypatch):
    mode = Waits()

    def read(tensor, original=torch.Tensor.tolist):
        mode.seen.append("tolist")
        with torch._C._DisableTorchDispatch():
            return original(tensor)

    monkeypatch.setattr(torch.Tensor, "tolist", read)
    return mode


def test_nothing_in_an_iteration_waits_but_one_read(waits):
    env, config = real(minibatch=64)
    policy, storage, _, fixed = both(env, config)
    fixed.collect(80)
    with waits:
        fixed.collect(100)
    assert waits.seen == []
    with waits:
        fixed.iterate(120, None, 0.01, wait=False)
    assert waits.seen == ["tolist"]
    waits.seen.clear()
    optimizer = torch.optim.Adam(policy.parameters(), fused=True)
    now = present(*env.reset(seed=4))
    with waits:
        iterate(env, policy, optimizer, storage, now, Chance(5, 0), config, [], torch.Generator(), None, 0.01)
    assert len(waits.seen) > config.rollout  # the counter counts


class Broken(Stub):
    """Its rewards are no numbers."""

    def step(self, actions):
        obs, reward, *rest = super().step(actions)
        return obs, reward * np.float32("nan"), *rest


def test_what_is_not_finite_ends_the_run(tmp_path):
    with pytest.raises(NotFinite, match="iteration 1: advantage is not finite"):
        train(Broken(32), CONFIG.replace(fixed=True), tmp_path)


def test_states_and_fixed_shapes_are_one_or_the_other():
    with pytest.raises(ValueError, match="fixed=True keeps observations"):
        CONFIG.replace(fixed=True, store="states")
