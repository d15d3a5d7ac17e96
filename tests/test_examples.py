"""Every example runs, for a short time, as its readers would run it."""

import ast
import json
import os
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SHORT = {
    "cleanrl_ppo.py": ["--steps", "4096"],
    "pettingzoo_random.py": ["--worlds", "1"],
    **{
        f"{library}_ppo.py": ["--steps", "4096"]
        for library in (
            "agilerl",
            "puffer",
            "rl_games",
            "rllib",
            "rsl_rl",
            "sample_factory",
            "sb3",
            "skrl",
            "tianshou",
            "torchrl",
        )
    },
    "single_agent.py": ["--steps", "512"],
    "train_minimal.py": ["--updates", "3"],
}
"""Arguments that make an example short."""
LIBRARIES = (
    "matplotlib", "torch", "stable_baselines3", "torchrl", "skrl", "rsl_rl", "rl_games", "ray", "pufferlib", "agilerl",
    "tianshou", "sample_factory", "gigaflow_env.adapters.pettingzoo",
)  # fmt: skip
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))
ELSEWHERE = ("quickstart.py",)
"""Examples that have a test of their own."""


def run(example: Path, *arguments: str, cwd: Path) -> str:
    """Run an example, which must succeed: what it printed."""
    # One thread each: the two libraries' threads slow each other down on small machines.
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for display in ("DISPLAY", "WAYLAND_DISPLAY"):  # nothing shall open on the screen of whoever runs the tests
        environment.pop(display, None)
    command = [sys.executable, str(example), *arguments]
    done = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("example", [one for one in EXAMPLES if one.name not in ELSEWHERE], ids=lambda one: one.name)
def test_runs(example, tmp_path):
    text = example.read_text(encoding="utf-8")
    for library in re.findall(rf"^(?:import|from) ({'|'.join(LIBRARIES)})\b", text, re.MULTILINE):
        pytest.importorskip(library.split(".")[-1], reason=f"the example needs {library}")
    if example.name == "cuda_graph.py" and not pytest.importorskip("torch").cuda.is_available():
        pytest.skip("the example needs a CUDA device")
    run(example, *SHORT.get(example.name, []), cwd=tmp_path)


def test_every_example_says_what_it_needs():
    for example in EXAMPLES:
        said = (ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or "").replace("\n", " ")
        assert re.search(r'pip install "gigaflow-env\[[\w,-]+\]"', said), f"{example.name} names no extra"


def test_the_quickstart_shows_traffic_that_drives(tmp_path):
    pytest.importorskip("pygame", reason="needs the extra render")
    printed = run(ROOT / "examples" / "quickstart.py", "--seconds", "20", "--video", "film.gif", cwd=tmp_path)
    drivers, km, goals, crashes = re.search(
        r"(\d+) drivers, ([\d.]+) km, (\d+) goals reached, (\d+) crashes", printed
    ).groups()
    # 80 drivers at some 6 m/s: 9 km in twenty seconds.
    assert float(km) > 0.06 * int(drivers) and int(goals) > int(drivers) // 2 and int(crashes) == 0
    assert (tmp_path / "traffic.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "film.gif").read_bytes().startswith(b"GIF8")


def test_there_are_examples():
    assert {"quickstart.py", "sb3_ppo.py"} <= {example.name for example in EXAMPLES}


def test_the_tour_runs(tmp_path, monkeypatch):
    """Its cells one after the other, as a notebook runs them; what it shows is kept instead."""
    shown = []
    notebook = types.ModuleType("IPython.display")
    notebook.display, notebook.IFrame = shown.append, lambda src, **size: ("frame", src)
    notebook.Image = lambda path, **size: ("picture", Path(path).read_bytes())
    version = types.ModuleType("IPython")
    version.version_info = (9, 0)  # matplotlib asks
    monkeypatch.setitem(sys.modules, "IPython", version)
    monkeypatch.setitem(sys.modules, "IPython.display", notebook)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    cells = json.loads((ROOT / "examples" / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    names: dict = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            assert not cell["outputs"], "kept without outputs"
            exec("".join(cell["source"]), names)
    (picture, png), (frame, page) = shown
    assert picture == "picture" and png.startswith(b"\x89PNG")
    assert frame == "frame" and page.startswith("data:text/html;base64,") and len(page) > 100_000
