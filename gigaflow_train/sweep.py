"""Several settings, several seeds: one table with intervals, and one picture of the curves.

    preset = "laptop"
    maps = ["loop"]
    steps = 3_000_000            # or minutes
    seeds = [0, 1, 2]
    eval_maps = ["random:101-104"]
    eval_steps = 600
    eval_world = "as-it-is"      # all are judged in the environment of this setting; by default each in its own

    [settings.as-it-is]
    [settings.no-filter]
    set = { filter_share = 0.0 }
    [settings.no-conditioning]
    environment = { collision = [2.5, 2.5] }

Each run is a directory DIR/NAME-SEED; what is complete is not run again, what was interrupted goes on.
"""

import json
import math
import subprocess
import sys
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.driver import WEIGHTS
from gigaflow_train import curves, journal
from gigaflow_train.config import PRESETS, TrainConfig
from gigaflow_train.files import RESUME, replacing, write_text

EVALUATION = {"eval_maps", "eval_steps", "eval_rows", "eval_world"}
KEYS = {"preset", "maps", "steps", "minutes", "seeds", "threads", "settings"} | EVALUATION
FIGURES = ("goal_rate", "collision_rate", "offroad_rate", "timeout_rate", "red_lights_per_km", "mean_speed_mps")
T_975 = (math.nan, 12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262)
"""97.5 % quantiles of Student's t for 1, 2, ... degrees of freedom; 1.96 beyond."""


class Sweep(NamedTuple):
    """What a sweep's file asks for."""

    runs: dict[str, TrainConfig]  # by NAME-SEED
    seeds: list[int]
    eval_maps: list[str]
    eval_steps: int
    eval_rows: int
    eval_world: str | None = None  # name of a run


def read(path: Path) -> Sweep:
    """A sweep's file. Raises ValueError that names file and key."""
    try:
        given = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: {error}") from None
    unknown = sorted(set(given) - KEYS)
    if unknown:
        raise ValueError(f"{path}: unknown key {unknown[0]!r}: there are {', '.join(sorted(KEYS))}")
    if not given.get("settings") or not given.get("seeds"):
        raise ValueError(f"{path}: needs seeds = [0, 1, 2] and tables [settings.NAME]")
    preset = given.get("preset", "laptop")
    if preset not in PRESETS:
        raise ValueError(f"{path}: preset={preset!r}: choose one of {', '.join(map(repr, PRESETS))}")
    base = PRESETS[preset]()
    if "steps" in given or "minutes" in given:
        base = base.replace(steps=given.get("steps"), minutes=given.get("minutes"))
    changes = {name: given[name] for name in ("maps", "threads") if name in given}
    base = base.replace(**changes, eval_maps=(), keep=0)
    runs = {}
    for name, setting in given["settings"].items():
        if wrong := sorted(set(setting) - {"set", "environment"}):
            raise ValueError(f"{path}: settings.{name} has {wrong[0]!r}: there are 'set' and 'environment'")
        for seed in given["seeds"]:
            environment = {**base.environment, **setting.get("environment", {})}
            runs[f"{name}-{seed}"] = base.replace(**setting.get("set", {}), environment=environment, seed=seed)
    maps, world = given.get("eval_maps", list(base.maps)), given.get("eval_world")
    if world is not None and world not in given["settings"]:
        raise ValueError(f"{path}: eval_world={world!r} is not one of the settings {', '.join(given['settings'])}")
    judged = None if world is None else f"{world}-{given['seeds'][0]}"
    return Sweep(runs, given["seeds"], maps, given.get("eval_steps", 600), given.get("eval_rows", 256), judged)


def run(path: Path, out: Path, say: Callable[[str], None]) -> dict[str, Any]:
    """Do what a sweep's file says, below `out`; write sweep.json, sweep.md and sweep.png there. Raises ValueError."""
    sweep = read(path)
    for name, config in sweep.runs.items():
        if not complete(out / name, config):
            say(f"{name}: training")
            _train(out / name, config)
    found: dict[str, dict[str, Any]] = {}
    for name in sweep.runs:
        say(f"{name}: evaluating")
        found[name] = _evaluate(out, name, sweep)
    table = tabulated(found, sweep)
    write_text(out / "sweep.json", json.dumps({"file": path.name, "runs": found, "table": table}, indent=1) + "\n")
    write_text(out / "sweep.md", markdown(table))
    draw(out, sweep)
    return table


def complete(directory: Path, config: TrainConfig) -> bool:
    """Whether a run has come to the end of its budget."""
    file = directory / journal.METRICS
    rows = journal.read(file) if file.exists() else []
    return bool(rows) and rows[-1]["spent"] >= 1.0 and (directory / WEIGHTS).exists()


def tabulated(found: Mapping[str, Mapping[str, Any]], sweep: Sweep) -> dict[str, dict[str, Any]]:
    """Of each setting the mean over the seeds and its 95 % interval, by Student's t."""
    table: dict[str, dict[str, Any]] = {}
    for name in dict.fromkeys(key.rsplit("-", 1)[0] for key in found):
        row = {}
        for figure in FIGURES:
            values = [found[f"{name}-{seed}"][figure]["value"] for seed in sweep.seeds]
            known = [value for value in values if value is not None]
            if not known:
                continue
            mean, half = float(np.mean(known)), None
            if len(known) > 1:
                t = T_975[len(known) - 1] if len(known) <= len(T_975) else 1.96
                half = t * float(np.std(known, ddof=1)) / math.sqrt(len(known))
            row[figure] = {"mean": mean, "half": half, "values": known}
        table[name] = row
    return table


def markdown(table: Mapping[str, Mapping[str, Any]]) -> str:
    """The table for people: mean, and plus or minus the half of its interval."""
    lines = ["| setting | " + " | ".join(FIGURES) + " |", "|---|" + "---|" * len(FIGURES)]
    for name, row in table.items():
        cells = []
        for figure in FIGURES:
            if figure not in row:
                cells.append("-")
                continue
            form = "{:.1%}" if figure in FIGURES[:4] else "{:.2f}"
            half = row[figure]["half"]
            cells.append(form.format(row[figure]["mean"]) + ("" if half is None else f" ± {form.format(half)}"))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def draw(out: Path, sweep: Sweep) -> None:
    """Goal rate over samples, a line a run, a colour a setting."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = list(dict.fromkeys(key.rsplit("-", 1)[0] for key in sweep.runs))
    for key in sweep.runs:
        name, seed = key.rsplit("-", 1)
        points = curves.series(journal.read(out / key / journal.METRICS), "goal_rate")
        axes.plot(*points, color=f"C{names.index(name) % 10}", label=name if int(seed) == sweep.seeds[0] else None)
    axes.set(xlabel="million samples", ylabel="goal reached, share of the routes in training", ylim=(-0.02, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(out / "sweep.png") as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def _command(*words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "gigaflow_train", *words], stdout=subprocess.PIPE, text=True)
    if done.returncode:
        raise ValueError(f"gigaflow-train {' '.join(words)} ended with status {done.returncode}")
    return done.stdout


def _train(directory: Path, config: TrainConfig) -> None:
    if (directory / RESUME).exists():
        _command("run", "--resume", "--out", str(directory))
        return
    words = ["run", "--preset", config.preset if config.preset in PRESETS else "paper", "--out", str(directory)]
    changes = [f"{name}={json.dumps(value)}" for name, value in config.to_json().items() if name != "preset"]
    _command(*words, "--set", *changes)


def _evaluate(out: Path, run: str, sweep: Sweep) -> dict[str, Any]:
    maps = [word for name in sweep.eval_maps for word in ("--map", name)]
    world = [] if sweep.eval_world is None else ["--world-of", str(out / sweep.eval_world)]
    sizes = ["--steps", str(sweep.eval_steps), "--num-envs", str(sweep.eval_rows)]
    return json.loads(_command("evaluate", str(out / run), *maps, *sizes, *world, "--json"))
