"""TorchRL's own check of specs, and that a rollout holds what the environment did."""

import gymnasium
import numpy as np
import pytest

pytest.importorskip("torchrl", reason='the adapter needs pip install "gigaflow-env[torchrl]"')

import torch
from torchrl.envs import check_env_specs

import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)
from gigaflow_env.adapters.torchrl import torchrl_env
from gigaflow_env.bench.easy import CONFIG, MAP

ROWS = 12


def make(output):
    return gymnasium.make_vec(
        "GigaFlow-v0", num_envs=ROWS, map=MAP, config=CONFIG, threads=1, autoreset_mode="Disabled", output=output
    )


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_check_env_specs(output):
    check_env_specs(torchrl_env(make(output)))


@pytest.mark.parametrize("output", ["numpy", "torch"])
def test_a_rollout_is_what_the_environment_did(output):
    vector = make(output)
    step, said = vector.step, []
    vector.step = lambda actions: said.append((np.array(actions), step(actions))) or said[-1][1]
    rollout = torchrl_env(vector).rollout(60, break_when_any_done=False)
    assert rollout["next", "done"].sum() > 10
    for t, (actions, (obs, reward, terminated, truncated, info)) in enumerate(said):
        now = rollout[:, t]
        np.testing.assert_array_equal(now["action"], actions)
        np.testing.assert_array_equal(now["next", "observation"], obs)
        np.testing.assert_array_equal(now["next", "reward"][:, 0], reward)
        np.testing.assert_array_equal(now["next", "terminated"][:, 0], terminated)
        np.testing.assert_array_equal(now["next", "truncated"][:, 0], truncated)
        for name in ("active", "collision", "offroad", "goal", "distance"):
            np.testing.assert_array_equal(now["next", name], info[name])
    going = ~rollout["next", "done"][:, :-1, 0]
    kept = rollout["observation"][:, 1:][going] == rollout["next", "observation"][:, :-1][going]
    assert kept[:, :13].all(), "where nothing ended, the ego goes on from what it saw"
    assert not torch.equal(rollout["observation"][:, 0], rollout["observation"][:, 1]), "no memory is reused"
    assert rollout["active"].all()
