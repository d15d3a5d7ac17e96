"""The command `gigaflow-train`: train a policy, evaluate one, report on a run.

Each command is a frozen dataclass: its fields are the arguments, its docstring the help, its `run` what it does.
"""

import dataclasses
import json
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, OmitSubcommandPrefixes, Positional, arg, subcommand

from gigaflow_env import MissingDevice
from gigaflow_env.render import MissingExtra
from gigaflow_train import checkpoint, environment, report
from gigaflow_train.config import PRESETS, TrainConfig
from gigaflow_train.dashboard import Dashboard
from gigaflow_train.evaluate import policies, video
from gigaflow_train.evaluate.run import drive, figures
from gigaflow_train.train import train

USER_ERRORS = (ValueError, OSError, MissingExtra, MissingDevice)
"""What a user can cause and mend; CheckpointError is a ValueError. Anything else is a defect and keeps its traceback."""


@dataclass(frozen=True)
class Run:
    """Train a policy by self-play. Ctrl-C ends the run with a checkpoint."""

    preset: str = "laptop"
    """Training and environment: `laptop` or `paper`."""
    map: str | None = None
    """A shipped town or a map file; the preset's by default."""
    minutes: float | None = None
    """Time budget; the preset's by default."""
    steps: int | None = None
    """Sample budget, instead of or besides the time budget."""
    out: Path | None = None
    """Directory of the run; a new one in runs/ by default."""
    resume: bool = False
    """Go on with the run in --out, with its own settings; --minutes, --steps and --threads may change."""
    num_envs: int | None = None
    """Agents that drive at once."""
    agents_per_world: int | None = None
    """Agents in each world."""
    threads: int | None = None
    """CPU threads."""
    seed: int | None = None
    """Of weights, actions and worlds."""
    backend: str | None = None
    """What steps the environment, and where the learner works: `cpu` or `cuda`."""
    set: tuple[str, ...] = ()
    """Other training values, as name=value, for example learning_rate=1e-3."""
    environment: tuple[str, ...] = ()
    """Values of the environment's Config, as name=value, for example goal_distance=[30,60]."""
    report: bool = False
    """At the end, evaluate and write report.json, curve.png and video.mp4."""

    def run(self) -> None:
        config, directory = self.resumed() if self.resume else self.fresh()
        console = Console(stderr=True)
        env = environment.make(
            map=config.map,
            preset=config.preset,
            config=config.environment,
            num_envs=config.num_envs,
            agents_per_world=config.agents_per_world,
            threads=config.threads,
            backend=config.backend,
            traffic=config.traffic,
            output="torch",
        )
        console.print(f"training in {directory}: {config.num_envs} agents on {config.map}", highlight=False)
        with Dashboard(console) as dashboard:
            train(env, config, directory, resume=self.resume, show=dashboard.show, say=console.print)
        env.close()
        if self.report:
            Report(directory).run()

    def fresh(self) -> tuple[TrainConfig, Path]:
        if self.preset not in PRESETS:
            raise ValueError(f"preset={self.preset!r}: choose one of {', '.join(map(repr, PRESETS))}")
        directory = self.out or Path("runs") / time.strftime("%Y%m%d-%H%M%S")
        if (directory / checkpoint.FACTS).exists():
            raise ValueError(f"{directory} holds a run already: give --resume to go on with it, or another --out")
        changes = given(self, "map", "num_envs", "agents_per_world", "threads", "seed", "backend") | pairs("--set", self.set)
        if self.environment:
            changes["environment"] = pairs("--environment", self.environment)
        return PRESETS[self.preset]().replace(**changes | self.budget()), directory

    def resumed(self) -> tuple[TrainConfig, Path]:
        if self.out is None:
            raise ValueError("--resume needs --out: the directory of the run to go on with")
        fixed = given(self, "map", "num_envs", "agents_per_world", "seed", "backend", "set", "environment")
        for name, value in fixed.items():
            if value != ():
                raise ValueError(f"--{name.replace('_', '-')} can't change in a run that is resumed")
        config = checkpoint.read_facts(self.out).config
        return config.replace(**given(self, "threads") | self.budget()), self.out

    def budget(self) -> dict[str, Any]:
        """Both budgets as given, or nothing: a preset's own is kept only where neither is given."""
        if self.minutes is None and self.steps is None:
            return {}
        return {"minutes": self.minutes, "steps": self.steps}


@dataclass(frozen=True)
class Evaluate:
    """Say how well a policy drives, with 95 % intervals."""

    what: Annotated[Positional[str], arg(metavar="WHAT")]
    """A run directory, a .safetensors file, or one of: frozen, random, reverse, constant, idm."""
    map: str | None = None
    """A shipped town or a map file; by default that of the training, or `loop`."""
    preset: str | None = None
    """The environment's preset; by default exactly the environment of the training, or `laptop`."""
    steps: int | None = None
    """Steps to drive; four times the longest episode by default."""
    seconds: float | None = None
    """The same as time in the simulated world."""
    num_envs: int = 256
    """Agents that drive at once."""
    agents_per_world: int | None = None
    """Agents in each world."""
    seed: int = 1
    """Of worlds and actions; training has used 0."""
    threads: int | None = None
    """CPU threads of the simulator; all cores by default."""
    traffic: float = 0.0
    """Share of the agents with rule-based drivers, which don't count."""
    greedy: bool = False
    """Take the likeliest action instead of drawing one."""
    json: bool = False
    """Print a JSON object."""
    video: Path | None = None
    """Write a video of one agent, .mp4 or .gif."""

    def run(self) -> None:
        if self.steps is not None and self.seconds is not None:
            raise ValueError("--steps and --seconds say the same: give one of them")
        baseline = policies.BASELINES.get(self.what)
        if baseline and self.greedy:
            raise ValueError(f"--greedy is for checkpoints: {self.what} has no likeliest action")
        settings = self.settings(None if baseline else checkpoint.read_facts(self.path()))
        env = environment.make(**settings)
        act = baseline(env, self.seed) if baseline else policies.trained(self.path(), env, self.seed, greedy=self.greedy)
        steps = self.length(env.config)
        found = figures(drive(env, act, steps=steps, seed=self.seed))
        if self.video is not None:
            video.record(env, act, self.video, steps=min(steps, round(report.VIDEO_SECONDS / env.config.dt)), seed=self.seed)
        settings |= {"agents_per_world": env.agents_per_world, "config": dataclasses.asdict(env.config)}
        settings |= {"what": self.what, "steps": steps, "seed": self.seed, "greedy": self.greedy}
        env.close()
        if self.json:
            estimates = {name: estimate._asdict() for name, estimate in found.items()}
            print(json.dumps(estimates | {"settings": settings}, indent=1, allow_nan=False))
        else:
            Console().print(report.table({self.what: found}, title=f"{self.what} on {settings['map']}"))

    def path(self) -> Path:
        path = Path(self.what)
        if not path.exists():
            names = ", ".join(policies.BASELINES)
            raise FileNotFoundError(f"{self.what!r} is no run directory, no checkpoint file and none of {names}")
        return path

    def settings(self, facts: checkpoint.Facts | None) -> dict[str, Any]:
        """Arguments of `environment.make`: the training's, but for what was given."""
        trained = facts.config if facts else PRESETS["laptop"]()
        return {
            "map": self.map or trained.map,
            "preset": self.preset or trained.preset,
            "config": facts.environment if facts and self.preset is None else {},
            "num_envs": self.num_envs,
            "agents_per_world": self.agents_per_world or trained.agents_per_world,
            "threads": self.threads,
            "backend": trained.backend,
            "traffic": 1.0 if self.what == policies.IDM else self.traffic,
        }

    def length(self, config: Any) -> int:
        steps = self.steps if self.steps is not None else 4 * config.max_steps
        if self.seconds is not None:
            steps = round(self.seconds / config.dt)
        if steps < 1:
            raise ValueError(f"{self.seconds or self.steps} is too short: one step takes {config.dt} s")
        return steps


@dataclass(frozen=True)
class Report:
    """Compare a run's policy with ones that learned nothing; write report.json, curve.png and video.mp4."""

    directory: Annotated[Positional[Path], arg(metavar="DIR")]
    """The directory of the run."""
    num_envs: int = 256
    """Agents that drive at once."""
    steps: int = 1200
    """Steps each policy drives."""
    seed: int = 1
    """Of worlds and actions; training has used 0."""

    def run(self) -> None:
        report.write(self.directory, num_envs=self.num_envs, steps=self.steps, seed=self.seed, console=Console())


Command = (
    Annotated[Run, subcommand("run")] | Annotated[Evaluate, subcommand("evaluate")] | Annotated[Report, subcommand("report")]
)


def given(command: Any, *names: str) -> dict[str, Any]:
    """The arguments among `names` that were given."""
    return {name: getattr(command, name) for name in names if getattr(command, name) is not None}


def pairs(flag: str, texts: Iterable[str]) -> dict[str, Any]:
    """`name=value` texts by name; a value is JSON, or else a plain string."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"{flag} {text}: write name=value")
        try:
            found[name] = json.loads(value)
        except json.JSONDecodeError:
            found[name] = value
    return found


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (default: the process's arguments). Exit status: 0, or 2 after a user's error."""
    command: Any = tyro.cli(
        Command,
        args=argv,
        prog="gigaflow-train",
        description="Train and evaluate driving policies by self-play.",
        config=(OmitSubcommandPrefixes, OmitArgPrefixes, FlagCreatePairsOff),
    )
    try:
        command.run()
    except USER_ERRORS as error:
        print(f"gigaflow-train: error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    return 0
