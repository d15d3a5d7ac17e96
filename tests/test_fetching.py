"""Memory that the CPU fetches ahead changes time, and nothing else."""

import numpy as np
import pytest

from gigaflow_env import ACTIONS, GigaflowVectorEnv
from gigaflow_env.backend.cpu import FEW


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_memory_that_is_fetched_ahead_changes_nothing(dtype: str) -> None:
    """From FEW agents on, rows and the next world are fetched; the last world has none after it."""
    seen = []
    for worlds in (4, FEW // 16 + 1):
        env = GigaflowVectorEnv(16 * worlds, map="loop", agents_per_world=16, preset="laptop", obs_dtype=dtype)
        obs, _ = env.reset(seed=3)
        for step in range(30):
            obs, reward, terminated, truncated, _ = env.step(np.arange(16 * worlds) % 16 * (step + 3) % ACTIONS)
        seen.append([part[:64].tobytes() for part in (obs, reward, terminated, truncated)])
        assert np.isfinite(obs[-16:].astype(np.float32)).all()
        env.close()
    assert seen[0] == seen[1]
