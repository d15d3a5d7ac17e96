"""The objective against a plain reference: one sample at a time, in float64."""

import math

import pytest
import torch

from gigaflow_train.ppo import Batch, losses, normalise

CLIP, ENTROPY, VALUE = 0.2, 0.03, 0.5


def example():
    torch.manual_seed(1)
    logits, value = torch.randn(40, 5), torch.randn(40)
    batch = Batch(
        obs=torch.zeros(40, 1),
        action=torch.randint(5, (40,)),
        log_prob=-2.0 + torch.rand(40),
        advantage=torch.randn(40),
        target=torch.randn(40),
    )
    return logits, value, batch


def reference(logits, value, batch):
    policy = critic = entropy = clipped = kl = 0.0
    for row, action, log_prob, advantage, target, v in zip(
        logits.tolist(), *[part.tolist() for part in batch[1:]], value.tolist(), strict=True
    ):
        z = sum(math.exp(x) for x in row)
        p = [math.exp(x) / z for x in row]
        ratio = p[action] / math.exp(log_prob)
        bounded = min(max(ratio, 1 - CLIP), 1 + CLIP)
        policy -= min(ratio * advantage, bounded * advantage)
        critic += (v - target) ** 2 / 2
        entropy -= sum(x * math.log(x) for x in p)
        clipped += ratio != bounded
        kl += ratio - 1 - math.log(ratio)
    return [x / len(value) for x in (policy, critic, entropy, kl, clipped)]


def found(logits, value, batch):
    return losses(logits, value, batch, clip=CLIP, entropy_weight=ENTROPY, value_weight=VALUE)


def test_every_part_agrees_with_the_reference():
    example_ = example()
    parts = found(*example_)
    expected = reference(*example_)
    assert [float(part) for part in parts[1:]] == pytest.approx(expected, rel=1e-4)
    assert 0.1 < expected[-1] < 0.9  # both branches of the clip are met
    assert float(parts.total) == pytest.approx(expected[0] + VALUE * expected[1] - ENTROPY * expected[2], rel=1e-4)


def test_a_clipped_sample_gives_no_gradient():
    logits = torch.tensor([[2.0, 0.0], [0.0, 0.0]], requires_grad=True)
    batch = Batch(
        obs=torch.zeros(2, 1),
        action=torch.tensor([0, 0]),
        log_prob=torch.tensor([math.log(0.5), math.log(0.5)]),
        advantage=torch.tensor([1.0, 1.0]),
        target=torch.zeros(2),
    )
    losses(logits, torch.zeros(2), batch, clip=CLIP, entropy_weight=0.0, value_weight=0.0).total.backward()
    assert logits.grad[0].tolist() == [0.0, 0.0]  # its probability has risen by more than a fifth
    assert logits.grad[1, 0] < 0.0 < logits.grad[1, 1]


def test_only_the_total_has_a_gradient():
    logits, value, batch = example()
    parts = found(logits.requires_grad_(), value, batch)
    assert parts.total.requires_grad
    assert not any(part.requires_grad for part in parts[1:])


def test_normalised_advantages():
    normal = normalise(torch.tensor([1.0, 2.0, 6.0]))
    assert float(normal.mean()) == pytest.approx(0.0, abs=1e-6)
    assert float(normal.std(correction=0)) == pytest.approx(1.0, rel=1e-5)
    assert normalise(torch.full((4,), 3.0)).tolist() == [0.0] * 4
