"""Old names that users may have keep working for one release, and say what they are called now."""

import re
from pathlib import Path

import numpy as np
import pytest

from gigaflow_env import GigaflowVectorEnv
from gigaflow_train.evaluate.metrics import Estimate


def test_sight_is_observation_state():
    env = GigaflowVectorEnv(4, preset="laptop", agents_per_world=4, threads=1)
    env.reset(seed=0)
    with pytest.warns(DeprecationWarning, match=r"env\.sight\(\) is called env\.observation_state\(\) now"):
        old = env.sight()
    new = env.observation_state()
    assert old.keys() == new.keys() and all(np.array_equal(old[name], new[name]) for name in new)


def test_red_light_rate_is_written_beside_red_lights_per_km():
    """In JSON, which can't warn."""
    as_json = pytest.importorskip("gigaflow_train.evaluate.run").as_json
    found = as_json({"red_lights_per_km": Estimate(0.5, 0.4, 0.6, 9)})
    assert found["red_light_rate"] == found["red_lights_per_km"] == {"value": 0.5, "low": 0.4, "high": 0.6, "n": 9}


def test_the_changelog_promises_no_other_names():
    """Each name of the table of those that work has a test here."""
    text = (Path(__file__).resolve().parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
    table = text.partition("Two old names work for this release:")[2].partition("These are gone:")[0]
    assert re.findall(r"^\| `(.*?)`", table, re.M) == ["env.sight()", "red_light_rate"]
