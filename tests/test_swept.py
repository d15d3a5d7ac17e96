"""The referee for swept collisions in short, and that it would find an error of a few millimetres."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import swept


def test_no_miss_and_no_false_hit_beyond_a_millimetre():
    result = swept.run(swept.Swept(pairs=8_000, seed=1))
    assert result["misses"] == result["false_hits"] == 0
    assert result["met"] > 2_000 and result["apart"] > 2_000
    assert result["met"] + result["apart"] > 0.995 * result["pairs"]


@pytest.mark.parametrize("wrong", [0.005, -0.005])
def test_an_error_would_be_found(monkeypatch, wrong):
    """Boxes that the rule sees 5 mm too large or too small."""
    right = swept.found

    def found(pose, body, out):
        right(pose, body._replace(length=body.length + np.float32(wrong), width=body.width + np.float32(wrong)), out)

    monkeypatch.setattr(swept, "found", found)
    result = swept.run(swept.Swept(pairs=8_000, seed=1))
    assert result["false_hits" if wrong > 0 else "misses"] > 0
