"""Threads that share the rows of a batch: the same samples and weights as one thread has, but for the order of sums."""

import threading

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from gigaflow_train import checkpoint, environment, threads
from gigaflow_train.config import PRESETS
from gigaflow_train.threads import Team, add_gradients, team_for
from gigaflow_train.train import train

CONFIG = PRESETS["laptop"]().replace(
    preset="paper", num_envs=48, environment={"world_steps": 50, "max_steps": 40}, minutes=None, rollout=8, steps=3 * 48 * 8,
    minibatch=64, set_widths=(8, 8), vector_width=16, trunk_widths=(16,), agents_per_world=8,
)  # fmt: skip
CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(threads, "LEAST", 8)
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_parts_are_consecutive_and_come_back_in_order():
    met = threading.Barrier(3)  # all three parts run at once, or this test waits in vain

    def work(part):
        met.wait(60)
        return part.start, part.stop, threading.current_thread() is threading.main_thread()

    assert Team(3).each(100, work) == [(0, 33, True), (33, 66, False), (66, 100, False)]
    assert Team(3).each(8, lambda part: part) == [slice(0, 8)]  # less than two smallest parts
    assert Team(3).each(0, lambda part: part) == [slice(0, 0)]
    with pytest.raises(ZeroDivisionError):
        Team(2).each(100, lambda part: 1 / (part.start - 50))


def test_gradients_add_up_and_what_has_none_has_none():
    parameters = [nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))]
    add_gradients(parameters, [(torch.tensor([1.0, 2.0]), None), (torch.tensor([3.0, 4.0]), None)])
    assert parameters[0].grad.tolist() == [4.0, 6.0] and parameters[1].grad is None


@pytest.mark.parametrize("store", ["observations", "states"])
def test_threads_come_to_the_same_weights(tmp_path, store):
    found = {}
    for name, count in {"one": 1, "three": 3, "again": 3}.items():
        config = CONFIG.replace(threads=count, store=store)
        train(environment.of_training(config), config, tmp_path / name)
        found[name] = load_file(tmp_path / name / checkpoint.WEIGHTS)
    for name, weights in found["three"].items():
        torch.testing.assert_close(weights, found["one"][name], atol=1e-4, rtol=1e-3)
        assert torch.equal(weights, found["again"][name])


def test_a_network_that_keeps_something_leaves_the_threads_to_torch():
    class Own(nn.Module):
        stateless = False

    config = CONFIG.replace(threads=3)
    assert team_for(Own(), config, CPU).threads == 1 and torch.get_num_threads() == 3
    Own.stateless = True
    assert team_for(Own(), config, CPU).threads == 3 and torch.get_num_threads() == 1
    assert team_for(Own(), config.replace(fixed=True), CPU).threads == 1 and torch.get_num_threads() == 3
