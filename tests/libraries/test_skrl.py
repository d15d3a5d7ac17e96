"""skrl takes the environment as it is, and as tensors: both are the same."""

import gymnasium
import pytest

pytest.importorskip("skrl", reason='the adapter needs pip install "gigaflow-env[skrl]"')

import torch
from skrl.envs.wrappers.torch import wrap_env

import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)
from gigaflow_env.adapters.skrl import SkrlEnv
from gigaflow_env.bench.easy import CONFIG, MAP


def test_both_ways_are_the_same():
    options = {"num_envs": 12, "map": MAP, "config": CONFIG, "threads": 1}
    plain = wrap_env(gymnasium.make_vec("GigaFlow-v0", **options), verbose=False)
    plain._seed = 3
    tensors = SkrlEnv(gymnasium.make_vec("GigaFlow-v0", **options, output="torch"), seed=3)
    assert torch.equal(plain.reset()[0], tensors.reset()[0])
    for actions in torch.randint(0, 12, (30, 12, 1)):
        for one, other in zip(plain.step(actions)[:4], tensors.step(actions)[:4], strict=True):
            assert one.shape == other.shape and one.dtype == other.dtype and torch.equal(one, other)
    assert (plain.num_envs, plain.observation_space, plain.action_space) == (
        tensors.num_envs, tensors.observation_space, tensors.action_space,
    )  # fmt: skip
