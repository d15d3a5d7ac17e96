"""Old names that users may have keep working for one release, and say what they are called now."""

import numpy as np
import pytest

from gigaflow_env import GigaflowVectorEnv


def test_sight_is_observation_state():
    env = GigaflowVectorEnv(4, preset="laptop", agents_per_world=4, threads=1)
    env.reset(seed=0)
    with pytest.warns(DeprecationWarning, match=r"env\.sight\(\) is called env\.observation_state\(\) now"):
        old = env.sight()
    new = env.observation_state()
    assert old.keys() == new.keys() and all(np.array_equal(old[name], new[name]) for name in new)
