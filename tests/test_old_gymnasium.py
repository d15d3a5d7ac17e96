"""Beside a Gymnasium before 1.0 the package imports and the simulator works; the environments say what they need.

The old one is imitated: the vector interface of today is taken out of the new one. `make test-libraries` has the real one.
"""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
OLD = (
    "import gymnasium, gymnasium.vector",
    "gymnasium.__version__ = '0.29.1'",
    "del gymnasium.vector.AutoresetMode",
)


def python(*lines: str) -> subprocess.CompletedProcess:
    """Run lines of Python beside an old Gymnasium."""
    return subprocess.run([sys.executable, "-c", "\n".join((*OLD, *lines))], cwd=ROOT, capture_output=True, text=True)


def test_the_simulator_works():
    done = python(
        "import numpy as np, gigaflow_env",
        "simulator = gigaflow_env.Simulator('loop', 12, gigaflow_env.PRESETS['laptop'](), threads=1)",
        "simulator.reset(np.array([1, 2], np.uint32))",
        "simulator.step(np.full(12, 10))",
        "print(simulator.per_row(simulator.observations).shape, simulator.state.outcome.active.sum())",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["(12,", "276)", "12"]


def test_the_environments_say_what_they_need():
    said = "ImportError: the environments need gymnasium>=1.2.2, and this is 0.29.1: pip install 'gymnasium>=1.2.2'"
    for line in ("gigaflow_env.GigaflowVectorEnv", "gymnasium.make('GigaFlow-v0')"):
        done = python("import gigaflow_env", line)
        assert done.returncode != 0 and said in done.stderr, done.stderr


def test_a_name_that_is_not_there_is_an_attribute_error():
    done = python("import gigaflow_env", "gigaflow_env.GigaflowVector")
    assert "AttributeError: module 'gigaflow_env' has no attribute 'GigaflowVector'" in done.stderr
