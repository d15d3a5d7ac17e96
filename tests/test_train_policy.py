"""The network and its config."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from train_stub import Stub

from gigaflow_env import ACTIONS, FEATURES, PRESETS, Layout
from gigaflow_env.bounds import shown
from gigaflow_train import cli
from gigaflow_train.actions import sample
from gigaflow_train.config import PRESETS as TRAINING
from gigaflow_train.config import TrainConfig, from_json, laptop, paper
from gigaflow_train.noise import exponential
from gigaflow_train.policy import SETS, SPREAD_LEAST, NormalisedLinear, Policy

LAYOUT = Layout(PRESETS["laptop"]())
SEPARATE = paper().replace(set_widths=(32, 32), vector_width=32, trunk_widths=(64, 64))


def observations(rows=32, layout=LAYOUT):
    return torch.rand(rows, layout.size, generator=torch.Generator().manual_seed(5)) * 2 - 1


def policy(config=None, layout=LAYOUT):
    torch.manual_seed(0)
    made = Policy(layout, config or laptop())
    torch.nn.init.orthogonal_(made.actor.weight, 1.0)  # so that differences show
    return made


@pytest.mark.parametrize("config", [laptop(), SEPARATE], ids=["shared", "separate"])
def test_the_order_of_a_set_does_not_matter(config):
    made, obs = policy(config), observations()
    logits, value = made(obs)
    shuffled = obs.clone()
    for name in SETS:
        block = getattr(LAYOUT.split(shuffled), name)
        block[:] = block[:, torch.randperm(block.shape[1], generator=torch.Generator().manual_seed(2))].clone()
    assert not torch.equal(obs, shuffled)
    again, value_again = made(shuffled)
    torch.testing.assert_close(again, logits)
    torch.testing.assert_close(value_again, value)


@pytest.mark.parametrize("name", [*SETS, "ego", "conditioning", "goals"])
def test_every_block_is_seen(name):
    made, obs = policy(), observations()
    other = obs.clone()
    getattr(LAYOUT.split(other), name).neg_()
    assert not torch.allclose(made(obs)[0], made(other)[0], atol=1e-4)


def test_inference_and_training_agree():
    made, obs = policy(), observations()
    with torch.no_grad():
        quick = made(obs)
    for fast, slow in zip(quick, made(obs), strict=True):
        torch.testing.assert_close(fast, slow, atol=1e-6, rtol=1e-5)


def test_the_value_alone_is_the_same():
    for config in (laptop(), SEPARATE):
        made, obs = policy(config), observations()
        torch.testing.assert_close(made.value(obs), made(obs)[1])


def test_actor_and_critic_have_gradient_norms_of_their_own_where_they_are_separate():
    shared, separate = policy(), policy(SEPARATE)
    assert len(shared.halves()) == 1 and len(separate.halves()) == 2
    for made in (shared, separate):
        together = [id(one) for half in made.halves() for one in half]
        assert sorted(together) == sorted(id(one) for one in made.parameters())
    acting, judging = separate.halves()
    separate(observations())[1].sum().backward()
    assert all(one.grad is None for one in acting) and all(one.grad is not None for one in judging)


def test_a_set_of_no_elements_is_left_out():
    env = Stub()  # it has no stop lines
    logits, value = policy(layout=env.layout)(observations(7, env.layout))
    assert logits.shape == (7, ACTIONS) and value.shape == (7,)


def test_the_normaliser_is_folded_exactly():
    torch.manual_seed(0)
    layer, x = NormalisedLinear(3, 4), torch.randn(50, 2, 3) * torch.tensor([1.0, 5.0, 0.001]) + 2.0
    layer.measure(x)
    spread = x.reshape(-1, 3).std(0, correction=0)
    spread[2] = SPREAD_LEAST  # a feature that hardly moves is not blown up
    expected = ((x - x.reshape(-1, 3).mean(0)) / spread) @ layer.weight.T + layer.bias
    torch.testing.assert_close(layer(x), expected, atol=1e-4, rtol=1e-4)


def test_measuring_adds_up():
    torch.manual_seed(0)
    x = torch.randn(70, 3) * 2.0 + 1.0
    once, twice = NormalisedLinear(3, 4), NormalisedLinear(3, 4)
    once.measure(x)
    twice.measure(x[:20])
    twice.measure(x[20:])
    twice.measure(x[:0])
    torch.testing.assert_close(twice.mean, once.mean)
    torch.testing.assert_close(twice.spread, once.spread)


def test_measuring_looks_at_every_encoder():
    made, obs = policy(), observations(500)
    made.measure(obs)
    for name, encoder in made.bodies[0].sets.items():
        block = getattr(LAYOUT.split(obs), name)
        torch.testing.assert_close(encoder.first.mean, block.mean((0, 1)), atol=1e-5, rtol=1e-4)


def test_sizes():
    count = sum(p.numel() for p in Policy(LAYOUT, laptop()).parameters())
    assert 40_000 < count < 110_000
    layout = Layout(PRESETS["paper"]())
    assert sum(p.numel() for p in Policy(layout, paper()).parameters()) == pytest.approx(6e6, rel=0.05)


def test_the_brake_bias_is_taken_off_the_strongest_braking_only():
    torch.manual_seed(0)
    made = Policy(LAYOUT, laptop().replace(brake_bias=3.0))
    assert made.actor.bias.tolist() == [-3.0] * 3 + [0.0] * 9


def test_samples_follow_the_softmax():
    logits = torch.tensor([0.0, 1.0, 2.0, -40.0]).expand(40_000, 4)
    drawn = sample(logits, exponential(3, 5, torch.arange(40_000), 4)).bincount(minlength=4) / 40_000
    torch.testing.assert_close(drawn, logits[0].softmax(0), atol=0.01, rtol=0)


def test_features_are_declared_for_every_set():
    assert {*SETS, "ego", "conditioning", "goals"} == set(FEATURES._fields)


@pytest.mark.parametrize("preset", TRAINING)
def test_configs_survive_json(preset):
    config = TRAINING[preset]()
    assert from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"learning_rte": 1.0}, "did you mean learning_rate"),
        ({"rollout": 0}, "rollout=0: must be a whole number, 1 to 100,000 steps"),
        ({"rollout": 1.5}, "rollout=1.5: must be a whole number"),
        ({"discount": 1.2}, "discount=1.2: must be 0 to 1"),
        ({"clip": "wide"}, "clip='wide': must be a number"),
        ({"minutes": None, "steps": None}, "give at least one budget"),
        ({"minutes": 0}, "minutes=0: must be 0.001 to 5,256,000 min"),
        ({"set_widths": ()}, "set_widths=.*one or more numbers"),
        ({"set_widths": (0,)}, "set_widths=0: must be a whole number, 1 to 65,536 units"),
        ({"maps": ()}, "maps=.*list of names"),
        ({"separate": 1}, "separate=1: must be True or False"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        laptop().replace(**changes)


NUMBERS = [field for field in dataclasses.fields(TrainConfig) if field.metadata["bounds"] is not None]


def test_every_number_has_bounds():
    for field in dataclasses.fields(TrainConfig):
        numeric = "int" in str(field.type) or "float" in str(field.type)
        assert numeric == (field.metadata["bounds"] is not None), field.name


def outside(field):
    low, high, *_ = field.metadata["bounds"]
    if "int" in str(field.type):
        return st.integers(max_value=low - 1) | st.integers(min_value=high + 1)
    below = st.floats(max_value=low, exclude_max=True, allow_infinity=True)
    above = st.floats(min_value=high, exclude_min=True, allow_infinity=True)
    return below | above | st.just(math.nan)


@pytest.mark.parametrize("field", NUMBERS, ids=lambda field: field.name)
@given(data=st.data())
def test_numbers_out_of_bounds_are_refused_with_value_and_bounds(field, data):
    wrong = data.draw(outside(field))
    asked = (wrong,) if "tuple" in str(field.type) else wrong
    with pytest.raises(ValueError) as refused:
        TrainConfig().replace(**{field.name: asked})
    text = str(refused.value)
    assert text.startswith(f"{field.name}={shown(wrong)}: must be ")
    assert text.endswith(field.metadata["bounds"].text(field.metadata["unit"]))
    with pytest.raises(ValueError, match=field.name):  # the same on the command line
        cli.Run(set=((f"{field.name}={json.dumps(asked)}",),)).fresh()


def test_files_of_older_versions_say_what_a_value_meant_that_they_lack():
    lacks = {name: value for name, value in laptop().to_json().items() if name != "keep"}
    with pytest.raises(ValueError, match="the training config lacks keep"):
        from_json(lacks)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"preset": "bogus"}, "preset='bogus': choose one of 'paper', 'laptop', 'longform'"),
        ({"backend": "tpu"}, "backend='tpu': choose one of 'cpu', 'cuda'"),
        ({"policy": "nonsense"}, "policy='nonsense': write module:Class"),
        ({"policy": "module:"}, "policy='module:': write module:Class"),
        ({"maps": ("random:5-1",)}, "map='random:5-1': a range is random:LOW-HIGH"),
        ({"eval_maps": ("random:x",)}, "map='random:x': a random town is named by a whole number"),
        ({"map_shares": (0, 0)}, "map_shares=(0.0, 0.0): at least one must be above 0"),
        ({"environment": {"wheelbase": 0}}, "wheelbase=0: must be 0.1 to 1 lengths"),
        ({"environment": {"whelbase": 1}}, "unknown configuration 'whelbase': did you mean wheelbase?"),
        ({"environment": {"dt": np.float32(0.2)}}, "must hold what JSON can, as checkpoints keep it"),
        ({"policy_arguments": {"a": print}}, "must hold what JSON can, as checkpoints keep it"),
        ({"policy_arguments": {"a": math.nan}}, "must hold what JSON can"),
        ({"agents_per_world": 20, "environment": {"agents_per_world": 0}}, "agents_per_world=0: must be"),
        ({"traffic": 1.0}, "traffic=1.0: must be at least 0 and below 1 (a share)"),
        ({"opponent_share": 1.0}, "opponent_share=1.0: must be at least 0 and below 1 (a share)"),
        ({"opponents": "pretrained", "traffic": 0.6, "opponent_share": 0.6}, "leave nobody to learn from"),
        ({"trunk_widths": (65536,) * 1000}, "1000 layers with 4,290,672,328,704 weights, must be at most 64 layers with"),
        ({"trunk_widths": (65536,) * 10}, "10 layers with 38,654,705,664 weights"),
        ({"num_envs": 2**24, "rollout": 100_000}, "a rollout of 1,677,721,600,000 samples, must be at most 2,147,483,648"),
    ],
    ids=str,
)
def test_nonsense_is_refused_where_it_is_said(changes, message):
    """Not when the environment is made, half a minute later, or never."""
    with pytest.raises(ValueError) as refused:
        laptop().replace(**changes)
    assert message in str(refused.value)


def test_shares_of_drivers_may_leave_some_learners():
    assert laptop().replace(opponents="pretrained", traffic=0.5, opponent_share=0.25).traffic == 0.5
    assert laptop().replace(traffic=0.9).opponent_share == 0.25  # without opponents it doesn't count
