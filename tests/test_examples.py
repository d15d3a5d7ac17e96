"""Every example runs, for a short time, as its readers would run it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHORT = {"sb3_ppo.py": ["--steps", "4096"], "train_minimal.py": ["3"], "single_agent.py": ["--steps", "512"]}
"""Arguments that make an example short."""
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(example: Path, *arguments: str, cwd: Path) -> str:
    """Run an example, which must succeed: what it printed."""
    # One thread each: the two libraries' threads slow each other down on small machines.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(example), *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_runs(example, tmp_path):
    text = example.read_text(encoding="utf-8")
    for library in re.findall(r"^(?:import|from) (stable_baselines3|torch|tyro)\b", text, re.MULTILINE):
        pytest.importorskip(library, reason=f"the example needs {library}")
    if example.name == "cuda_graph.py" and not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("the example needs a CUDA device")
    run(example, *SHORT.get(example.name, []), cwd=tmp_path)


def test_the_quickstart_prints_rates_of_many_episodes(tmp_path):
    printed = run(ROOT / "examples" / "quickstart.py", cwd=tmp_path)
    episodes, goals, crashes = re.fullmatch(
        r"(\d+) episodes: ([\d.]+)% reached their goal, ([\d.]+)% crashed\n", printed
    ).groups()
    assert int(episodes) > 1000 and float(goals) < 10 and 50 < float(crashes) <= 100


def test_there_are_examples():
    assert {"quickstart.py", "sb3_ppo.py"} <= {example.name for example in EXAMPLES}
