"""What a run has come to: the checkpoint beside policies that learned nothing, on the same worlds."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

from gigaflow_env.driver import PRETRAINED
from gigaflow_train import checkpoint, curves, environment, towns
from gigaflow_train.evaluate import policies, video
from gigaflow_train.evaluate.metrics import Estimate
from gigaflow_train.evaluate.run import as_json as figures_as_json
from gigaflow_train.evaluate.run import drive, figures
from gigaflow_train.files import write_text

COMPARED = ("frozen", "random", "reverse")
VIDEO_SECONDS = 60.0

SHOWN = {
    "goal_rate": ("goal reached", "{:.1%}"),
    "collision_rate": ("collided", "{:.1%}"),
    "offroad_rate": ("left the road", "{:.1%}"),
    "timeout_rate": ("timed out", "{:.1%}"),
    "collisions_per_km": ("collisions per km", "{:.2f}"),
    "offroads_per_km": ("road departures per km", "{:.2f}"),
    "red_lights_per_km": ("red lights run per km", "{:.2f}"),
    "mean_speed_mps": ("mean speed [m/s]", "{:.2f}"),
    "km": ("driven [km]", "{:.1f}"),
}


def write(
    directory: Path, *, num_envs: int, steps: int, seed: int, console: Console, backend: str = "cpu"
) -> dict[str, dict[str, Estimate]]:
    """Evaluate the run in `directory`, print a table, and write report.json, curve.png and video.mp4 beside it.

    Drives `num_envs` rows for `steps` steps on the run's own maps, with the training's environment. "pretrained" has no
    directory of its own: its report goes to runs/pretrained, without the curve. Raises CheckpointError.
    """
    policy = directory
    facts = checkpoint.read_facts(policy)
    if str(policy) == PRETRAINED:
        directory = Path("runs") / PRETRAINED
        directory.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {
        "maps": facts.config.maps,
        "map_shares": facts.config.map_shares,
        "preset": facts.config.preset,
        "config": facts.environment,
        "num_envs": num_envs,
        "agents_per_world": facts.config.agents_per_world,
        "threads": facts.config.threads,
        "backend": backend,
        "traffic": facts.config.traffic,
        "action": facts.config.action,
    }
    env = environment.make(**settings)
    acts = {"trained": policies.trained(policy, env, seed)}
    acts |= {name: policies.baseline(name, env, seed) for name in COMPARED}
    found = {}
    for name, act in acts.items():
        with progress(console, name, steps) as step:
            found[name] = figures(drive(env, act, steps=steps, seed=seed, show=step))
    console.print(table(found, title=f"{directory}: {facts.step:,} samples on {towns.titled(facts.config.maps)}"))
    write_text(directory / "report.json", as_json(found, {**settings, "steps": steps, "seed": seed, "samples": facts.step}))
    written = ["report.json", "video.mp4"]
    if str(policy) != PRETRAINED:
        curves.draw(directory, directory / "curve.png")
        written.insert(1, "curve.png")
    video.record(env, acts["trained"], directory / "video.mp4", steps=round(VIDEO_SECONDS / env.config.dt), seed=seed)
    env.close()
    console.print(f"wrote {', '.join(written[:-1])} and {written[-1]} to {directory}", markup=False)
    return found


@contextmanager
def progress(console: Console, what: str, steps: int) -> Iterator[Callable[[], None]]:
    """A bar on a terminal while `steps` steps are driven; call what it yields after each."""
    with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(escape(f"driving: {what}"), total=steps)
        yield lambda: bar.advance(task)


def table(found: Mapping[str, Mapping[str, Estimate]], title: str) -> Table:
    """One column a policy; every cell has the value and below it the 95 % interval."""
    columns = Table(title=escape(title), caption="below each value: its 95 % interval")
    columns.add_column("")
    for name in found:
        columns.add_column(escape(name), justify="right", no_wrap=True)
    for figure, (label, form) in SHOWN.items():
        columns.add_row(escape(label), *(cell(estimates[figure], form) for estimates in found.values()))
    return columns


def cell(estimate: Estimate, form: str) -> str:
    """An estimate with its interval, for a table."""
    if estimate.value is None:
        return "-"
    value = form.format(estimate.value)
    if estimate.low is None or estimate.high is None or estimate.low == estimate.high:
        return value
    return f"{value}\n[dim]{form.format(estimate.low)} to {form.format(estimate.high)}[/dim]"


def as_json(found: Mapping[str, Mapping[str, Estimate]], settings: Mapping[str, Any]) -> str:
    """The report's figures as a JSON text."""
    plain = {name: figures_as_json(estimates) for name, estimates in found.items()}
    return json.dumps({"policies": plain, "settings": settings}, indent=1, allow_nan=False) + "\n"
