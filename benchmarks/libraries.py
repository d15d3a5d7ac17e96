"""Every library of reinforcement learning learns through the environment, each in a virtual environment of its own.

    python benchmarks/libraries.py [NAME ...] [--steps 300000] [--seed 0] [--results benchmarks/results/libraries.jsonl]

For each name in `tests/libraries/NAME.txt`: installs what the file says into `.libraries/NAME`, runs the library's own
checks in `tests/libraries/test_NAME.py`, then its example, whose last line says what its policy did on the easy task before
and after, and asks whether that is learning: crashes fall and goals rise as no policy reaches that does not look at the
road (`tests/test_easy.py`). Then it steps the environment through the library and as it is, in turns: what the library
costs. One line of JSON for each goes into the results, in place of its old one.

With `--python python3.12` the virtual environments have another Python; with `--keep` they stay. With `--only-steps` nothing
learns: the line keeps what it says of that, and the rest is measured anew.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

from gigaflow_env.bench.easy import Rates, learned
from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text

ROOT = Path(__file__).resolve().parents[1]
FILES = ROOT / "tests" / "libraries"
PLACE = ROOT / ".libraries"
RESULTS = ROOT / "benchmarks" / "results" / "libraries.jsonl"

NUMBER = r"([\d.]+)"
LINE = re.compile(
    rf"{NUMBER} steps in {NUMBER} s; before: {NUMBER} goals and {NUMBER} crashes in 1,000 steps; "
    rf"after: {NUMBER} goals and {NUMBER} crashes in 1,000 steps"
)


LEARNED = ("seed", "steps", "seconds", "before", "after")
"""What a line of the results says of learning."""


class Library(NamedTuple):
    """How a library is tried."""

    title: str
    package: str  # as it is installed; "" for a file that is copied
    mode: str  # autoreset mode
    example: str


LIBRARIES = {
    "cleanrl": Library("CleanRL", "", "SameStep", "cleanrl_ppo.py"),
    "sb3": Library("Stable-Baselines3", "stable-baselines3", "SameStep", "sb3_ppo.py"),
    "torchrl": Library("TorchRL", "torchrl", "Disabled", "torchrl_ppo.py"),
    "rllib": Library("RLlib, new stack", "ray", "NextStep", "rllib_ppo.py"),
    "skrl": Library("skrl", "skrl", "SameStep", "skrl_ppo.py"),
    "puffer": Library("PufferLib", "pufferlib", "SameStep", "puffer_ppo.py"),
    "rl_games": Library("rl_games", "rl-games", "SameStep", "rl_games_ppo.py"),
    "rsl_rl": Library("rsl_rl", "rsl-rl-lib", "SameStep", "rsl_rl_ppo.py"),
    "agilerl": Library("AgileRL", "agilerl", "SameStep", "agilerl_ppo.py"),
    "tianshou": Library("Tianshou", "tianshou", "Disabled", "tianshou_ppo.py"),
    "sample_factory": Library("Sample Factory", "sample-factory", "SameStep", "sample_factory_ppo.py"),
    "pettingzoo": Library("PettingZoo", "pettingzoo", "NextStep", "pettingzoo_random.py"),
}


def install(name: str, python: str) -> Path:
    """The interpreter of the library's virtual environment, with all that its files name."""
    here = PLACE / name
    interpreter = here / "bin" / "python"
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", str(here)], check=True)
    pip = [str(interpreter), "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, "-r", str(FILES / f"{name}.txt"), "pytest>=8"], cwd=ROOT, check=True)
    alone = FILES / f"{name}.no-deps.txt"
    if alone.exists():
        subprocess.run([*pip, "--no-deps", "--no-build-isolation", "-r", str(alone)], cwd=ROOT, check=True)
    return interpreter


def run(interpreter: Path, *arguments: str) -> str:
    """What a command of the library's environment printed. Ends the program where it fails."""
    # One thread each: the libraries' threads slow each other down on small machines.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([str(interpreter), *arguments], cwd=ROOT, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(arguments)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def facts(interpreter: Path, package: str) -> dict[str, str]:
    """Versions in the library's environment; "" for what is not there."""
    code = (
        "import importlib.metadata as m, json, platform\n"
        "def of(name):\n"
        "    try: return m.version(name)\n"
        "    except m.PackageNotFoundError: return ''\n"
        f"print(json.dumps({{'version': of({package!r}) if {package!r} else '', 'gymnasium': of('gymnasium'), "
        "'torch': of('torch'), 'numpy': of('numpy'), 'python': platform.python_version()}))"
    )
    return json.loads(run(interpreter, "-c", code))


def learning(printed: str) -> dict[str, Any]:
    """The figures of an example's last line. Ends the program where it has none, or where they are not learning."""
    found = LINE.search(printed.strip().splitlines()[-1] if printed.strip() else "")
    if not found:
        sys.exit(f"the example's last line says nothing of before and after: {printed[-500:]!r}")
    steps, seconds, *numbers = map(float, found.groups())
    before, after = Rates(*numbers[:2]), Rates(*numbers[2:])
    if not learned(before, after):
        sys.exit(f"that is no learning. before: {before}; after: {after}")
    return {"steps": int(steps), "seconds": seconds, "before": before._asdict(), "after": after._asdict()}


def kept(path: Path, name: str) -> dict[str, Any]:
    """What a library's line in the results says of learning; empty where there is none."""
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return {key: line[key] for line in lines if line["library"] == name for key in LEARNED if key in line}


def keep(path: Path, line: dict[str, Any]) -> None:
    """Put a library's line into the results, in the place of its old one."""
    old = [json.loads(one) for one in path.read_text().splitlines()] if path.exists() else []
    lines = {one["library"]: one for one in old} | {line["library"]: line}
    order = [name for name in LIBRARIES if name in lines]
    write_text(path, "".join(json.dumps(lines[name]) + "\n" for name in order))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", help="libraries; all of them where none is named")
    parser.add_argument("--steps", type=int, default=300_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--python", default=sys.executable)
    parser.add_argument("--keep", action="store_true", help="leave the virtual environments for the next time")
    parser.add_argument("--only-steps", action="store_true", help="measure what stepping costs, and nothing else")
    parser.add_argument("--results", type=Path, default=RESULTS)
    given = parser.parse_args()
    for name in given.names or LIBRARIES:
        if name not in LIBRARIES:
            sys.exit(f"{name!r} is none of {', '.join(LIBRARIES)}")
    for name in given.names or LIBRARIES:
        library = LIBRARIES[name]
        print(f"{library.title}: installing", flush=True)
        interpreter = install(name, given.python)
        test = FILES / f"test_{name}.py"
        if test.exists() and not given.only_steps:
            print(f"{library.title}: its checks", flush=True)
            run(interpreter, "-m", "pytest", "--noconftest", "-o", "addopts=", "-o", "filterwarnings=", "-q", str(test))
        arguments = ["--seed", str(given.seed)]
        line: dict[str, Any] = {"library": name, "title": library.title, "mode": library.mode, "seed": given.seed}
        if given.only_steps:
            line |= kept(given.results, name)
        elif name != "pettingzoo":  # an interface, no trainer
            print(f"{library.title}: learning", flush=True)
            arguments += ["--steps", str(given.steps)]
            line |= learning(run(interpreter, f"examples/{library.example}", *arguments))
        line |= json.loads(run(interpreter, "benchmarks/library_steps.py", name))
        line |= {"example": f"examples/{library.example}", **machine(), **facts(interpreter, library.package)}
        line["command"] = f"python benchmarks/libraries.py {name} --steps {given.steps} --seed {given.seed}"
        keep(given.results, line)
        print(json.dumps(line), flush=True)
        if not given.keep:
            shutil.rmtree(PLACE / name)


if __name__ == "__main__":
    main()
