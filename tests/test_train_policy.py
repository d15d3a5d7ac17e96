import pytest
import torch
from train_stub import Stub

from gigaflow_env import ACTIONS, FEATURES, PRESETS, Layout
from gigaflow_train.config import TrainConfig, laptop, paper
from gigaflow_train.policy import SETS, SPREAD_LEAST, NormalisedLinear, Policy, sample

LAYOUT = Layout(PRESETS["laptop"]())


def observations(rows=32, layout=LAYOUT):
    return torch.rand(rows, layout.size, generator=torch.Generator().manual_seed(5)) * 2 - 1


def policy(config=None, layout=LAYOUT):
    torch.manual_seed(0)
    made = Policy(layout, config or laptop())
    torch.nn.init.orthogonal_(made.actor.weight, 1.0)  # so that differences show
    return made


@pytest.mark.parametrize("config", [laptop(), paper().replace(trunk_widths=(64, 64))], ids=["shared", "separate"])
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
        assert torch.equal(fast, slow)


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
    drawn = sample(logits, torch.Generator().manual_seed(0)).bincount(minlength=4) / 40_000
    torch.testing.assert_close(drawn, logits[0].softmax(0), atol=0.01, rtol=0)


def test_features_are_declared_for_every_set():
    assert {*SETS, "ego", "conditioning", "goals"} == set(FEATURES._fields)


@pytest.mark.parametrize("config", [laptop(), paper(), TrainConfig()])
def test_configs_survive_json(config):
    import json

    from gigaflow_train.config import from_json

    assert from_json(json.loads(json.dumps(config.to_json()))) == config


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"learning_rte": 1.0}, "did you mean learning_rate"),
        ({"rollout": 0}, "rollout=0: must be at least 1"),
        ({"rollout": 1.5}, "rollout=1.5 is not a whole number"),
        ({"discount": 1.2}, "discount=1.2: must lie between 0 and 1"),
        ({"clip": "wide"}, "clip='wide' is not a number"),
        ({"minutes": None, "steps": None}, "give at least one budget"),
        ({"minutes": 0}, "a budget must be above 0"),
        ({"set_widths": ()}, "set_widths=.*layer widths"),
    ],
)
def test_bad_values_are_named(changes, message):
    with pytest.raises(ValueError, match=message):
        laptop().replace(**changes)
