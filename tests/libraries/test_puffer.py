"""PufferLib's vector interface drives it, beside a Gymnasium before 1.0."""

import numpy as np
import pytest

pytest.importorskip("pufferlib", reason='the adapter needs pip install "gigaflow-env[puffer]"')

import gymnasium
import pufferlib.vector

import gigaflow_env
from gigaflow_env.adapters.puffer import PufferGigaflow


def test_its_vector_interface():
    keywords = {"rows": 12, "preset": "laptop", "threads": 1}
    made = pufferlib.vector.make(PufferGigaflow, env_kwargs=keywords, backend=pufferlib.vector.Serial, num_envs=2)
    observations, _ = made.reset(seed=1)
    assert observations.shape[0] == 24 and np.abs(observations).max() <= 1
    ends = 0
    for actions in np.random.default_rng(0).integers(0, 12, (30, 24)):
        observations, rewards, terminals, truncations, infos = made.step(actions)
        ends += int((terminals | truncations).sum())
        assert np.abs(rewards).max() <= 1
    assert ends > 0
    made.close()


def test_beside_an_old_gymnasium():
    if not gymnasium.__version__.startswith("0."):
        pytest.skip("this Gymnasium is a new one")
    with pytest.raises(ImportError, match="the environments need gymnasium>=1.2.2, and this is 0.29"):
        gigaflow_env.GigaflowVectorEnv  # noqa: B018
