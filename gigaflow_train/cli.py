"""The command `gigaflow-train`: train a policy, evaluate one, report on a run.

Each command is a frozen dataclass: its fields are the arguments, its docstring the help, its `run` what it does. What needs
torch is imported in there: a typing error is answered at once.
"""

import dataclasses
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import (
    FlagCreatePairsOff,
    OmitArgPrefixes,
    OmitSubcommandPrefixes,
    Positional,
    UseAppendAction,
    arg,
    subcommand,
)

from gigaflow_env import BACKENDS, Config, MissingDevice, __version__
from gigaflow_env import PRESETS as ENVIRONMENTS
from gigaflow_env.bounds import choice
from gigaflow_env.memory import FULL
from gigaflow_env.render import MissingExtra
from gigaflow_env.replay import SUFFIXES
from gigaflow_train import options, towns
from gigaflow_train.config import PRESETS, TrainConfig
from gigaflow_train.evaluate.baselines import BASELINES, IDM
from gigaflow_train.files import RESUME
from gigaflow_train.options import checked, flag, given

USER_ERRORS = (ValueError, OSError, MemoryError, MissingExtra, MissingDevice)
"""What a user can cause and mend; CheckpointError is a ValueError. Anything else is a defect and keeps its traceback."""

VIDEOS = (".mp4", ".gif")
LIGHTS = Config.__dataclass_fields__["lights"].metadata["choices"]

Maps = Annotated[tuple[str, ...], UseAppendAction]
Values = Annotated[tuple[tuple[str, ...], ...], UseAppendAction]
"""`--set a=1 b=2 --set c=3`: all of them count."""


@dataclass(frozen=True)
class Run:
    """Train a policy by self-play. Ctrl-C or SIGTERM ends the run with a checkpoint."""

    preset: str | None = None
    """Training and environment: `laptop`, the default, `generalist` (many towns, hours) or `paper`."""
    map: Maps = ()
    """A shipped town, a map file, a folder of them, `random:SEED`, `random:1-64` or `random:old:1-32`; several times for
    several; the preset's by default."""
    map_shares: str | None = None
    """Of the worlds that begin on each map: `equal`, `length` (by lane-km), or numbers with commas."""
    eval_map: Maps = ()
    """Maps that are held out: evaluated every so often while it trains; named as --map."""
    minutes: float | None = None
    """Time budget; the preset's by default."""
    steps: int | None = None
    """Sample budget, instead of or besides the time budget."""
    out: Path | None = None
    """Directory of the run; a new one in runs/ by default."""
    resume: bool = False
    """Go on with the run in --out, with its own settings; --minutes, --steps and --threads may change."""
    keep: int | None = None
    """Numbered checkpoints kept besides the last and the best one."""
    num_envs: int | None = None
    """Agents that drive at once."""
    agents_per_world: int | None = None
    """Agents in each world."""
    threads: int | None = None
    """CPU threads."""
    seed: int | None = None
    """Of weights, actions and worlds."""
    processes: int = 1
    """Processes on this machine that train together, each with --num-envs agents and --threads threads of its own: the same
    as `torchrun --nproc-per-node N -m gigaflow_train run ...`."""
    backend: str | None = None
    """What steps the environment, and where the learner works: `cpu` or `cuda`."""
    action: str | None = None
    """`discrete`: one of twelve jerks, as published; or `continuous`: two jerks in a box."""
    precision: str | None = None
    """`float32`, or `bf16`: networks in bfloat16, for processors and cards that have it."""
    policy: str | None = None
    """An own network, as module:Class, see examples/attention_policy.py."""
    start: str | None = None
    """Checkpoint whose weights it begins with, or `pretrained`; the preset and networks are those of this run."""
    opponents: str | None = None
    """Folder of older checkpoints that drive --opponent-share of the rows, one file, or `pretrained`."""
    opponent_share: float | None = None
    """Share of the rows that opponents drive."""
    wandb: str | None = None
    """Project of Weights & Biases that the figures are sent to, too."""
    set: Values = ()
    """Other training values, as name=value, for example learning_rate=1e-3."""
    environment: Values = ()
    """Values of the environment's Config, as name=value, for example goal_distance=[30,60]."""
    report: bool = False
    """At the end, evaluate and write report.json, curve.png and video.mp4."""

    def run(self) -> int:
        """Train, and say where the checkpoint is."""
        # All that can be found wrong is, before torch is loaded.
        if self.resume:
            directory = self.going_on()
        else:
            config, directory = self.fresh()
        from rich.console import Console

        from gigaflow_train import checkpoint, environment, ranks
        from gigaflow_train.dashboard import Dashboard
        from gigaflow_train.train import NotFinite, train

        console = Console(stderr=True, markup=False, highlight=False)
        if self.resume:
            config = checkpoint.resume_config(directory).replace(**given(self, "threads") | self.budget({}))
        ranks.start(config.backend)
        if ranks.rank() > 0:
            console.quiet = True
        env = environment.of_training(config, say=console.print)
        held_out = None
        if config.eval_maps and ranks.rank() == 0:
            held_out = environment.of_training(
                config, say=console.print, maps=config.eval_maps, map_shares="equal", num_envs=config.eval_rows,
                output="numpy", backend="cpu", traffic=0.0,
            )  # fmt: skip
        agents = config.num_envs * ranks.count()
        console.print(f"training in {directory}: {agents:,} agents on {towns.titled(config.maps)}")
        status = 0
        with Dashboard(console) as dashboard:
            try:
                row = train(
                    env, config, directory, resume=self.resume, held_out=held_out, show=dashboard.show, say=dashboard.say
                )
            except NotFinite as error:
                status, row = 1, {}
                stopped = error
        env.close()
        second = ranks.rank() > 0
        ranks.stop()
        if second:
            return status
        if status:
            print(f"gigaflow-train: error: {stopped}: {directory}", file=sys.stderr)
            return status
        status = Report(directory).run() if self.report else 0
        for line in next_steps(directory, config, row.get("spent", 1.0), reported=self.report):
            console.print(line, soft_wrap=True)
        return status

    def alone(self) -> bool:
        """Whether this process trains; else it only starts those that do. Raises ValueError, before torch is loaded."""
        checked(self, "processes", 1, 1024, "processes")
        if options.joined() is not None or self.processes == 1:
            return True
        if self.resume:
            self.going_on()
        else:
            self.fresh()
        return False

    def fresh(self) -> tuple[TrainConfig, Path]:
        """The settings and the directory of a new run. Raises ValueError or OSError for what makes none."""
        options.chosen(self, "preset", PRESETS)
        directory = self.new_directory()
        changes = given(
            self, "num_envs", "agents_per_world", "threads", "seed", "backend", "keep", "action", "precision", "policy",
            "start", "opponents", "opponent_share", "wandb",
        )  # fmt: skip
        if self.map:
            changes["maps"] = self.map
        if self.map_shares is not None:
            changes["map_shares"] = options.shares(self.map_shares)
        if self.eval_map:
            changes["eval_maps"] = self.eval_map
        others = options.pairs("--set", self.set)
        world = options.pairs("--environment", self.environment)
        typed = {"maps": "map", "eval_maps": "eval_map"}
        ways: list[tuple[str, list[str]]] = [(flag(typed.get(name, name)), [name]) for name in changes]
        ways += [(flag(name), [name]) for name in given(self, "minutes", "steps")]
        if world:
            ways.append(("--environment", ["environment"]))
        options.once([*ways, *((f"--set {name}", [name]) for name in others)])
        options.once([*ways, *((f"--environment {name}", [name]) for name in world)])
        if self.map:
            changes = {"map_shares": "equal", **changes}
        preset = PRESETS[self.preset or "laptop"]()
        if world:
            changes["environment"] = {**preset.environment, **world}
        budget = self.budget({name: others.pop(name) for name in ("minutes", "steps") if name in others})
        config = preset.replace(**changes | others | budget)
        if "opponent_share" in changes and not config.opponents:
            raise ValueError(f"--opponent-share {self.opponent_share} has no meaning without --opponents")
        options.check_maps((*config.maps, *config.eval_maps))
        options.check_start(config.start)
        options.check_opponents(config.opponents)
        options.check_policy(config.policy)
        return config, directory

    def new_directory(self) -> Path:
        """Where a new run goes. Raises ValueError or OSError where none can go."""
        if self.out is None and max(options.joined() or 1, self.processes) > 1:
            raise ValueError("several processes need --out: the one directory they write")
        if self.out == Path():
            raise ValueError("--out is empty or the current directory: a new run needs a directory of its own")
        directory = self.out or Path("runs") / time.strftime("%Y%m%d-%H%M%S")
        options.check_directory("--out", directory)
        if (directory / "checkpoint.safetensors").exists():
            raise ValueError(f"{directory} holds a run already: give --resume to go on with it, or another --out")
        return directory

    def going_on(self) -> Path:
        """The directory of the run to go on with. Raises ValueError or OSError where it can't go on as asked."""
        options.joined()
        if self.out is None:
            raise ValueError("--resume needs --out: the directory of the run to go on with")
        may_change = ("minutes", "steps", "threads", "out", "resume", "processes", "report")
        names = [field.name for field in dataclasses.fields(self) if field.name not in may_change]
        for name, value in given(self, *names).items():
            if value != ():
                raise ValueError(f"{flag(name)} can't change in a run that is resumed")
        if not (self.out / RESUME).is_file():
            raise FileNotFoundError(f"nothing to resume: {self.out / RESUME} does not exist")
        options.check_directory("--out", self.out)
        TrainConfig().replace(**given(self, "threads") | self.budget({}))
        return self.out

    def budget(self, others: dict[str, Any]) -> dict[str, Any]:
        """Both budgets as given, also by --set, or nothing: a preset's own is kept only where neither is given."""
        asked = {**given(self, "minutes", "steps"), **others}
        return {"minutes": None, "steps": None, **asked} if asked else {}


def together(words: Sequence[str], processes: int) -> int:
    """The command line `words` in several processes. Exit status of torchrun: 0 where all of them ended well."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    return subprocess.call([*launch, "-m", "gigaflow_train", *words])


def next_steps(directory: Path, config: TrainConfig, spent: float, *, reported: bool = False) -> list[str]:
    """What to do with a run that has ended or was interrupted, a line each."""
    more = ""
    if spent >= 1.0:
        more = f" --minutes {2 * config.minutes:g}" if config.minutes is not None else f" --steps {2 * (config.steps or 0)}"
    return [
        f"the policy is in {directory / 'checkpoint.safetensors'}",
        f"  go on:     gigaflow-train run --resume --out {directory}{more}",
        f"  evaluate:  gigaflow-train evaluate {directory}",
        f"  look:      {directory / 'video.mp4'}" if reported else f"  look:      gigaflow-train report {directory}",
        f"  elsewhere: gigaflow-train evaluate {directory} --map downtown",
        "  more:      gigaflow-train run --preset generalist   (many towns, for hours)",
    ]


@dataclass(frozen=True)
class Evaluate:
    """Say how well a policy drives, with 95 % intervals."""

    what: Annotated[Positional[str], arg(metavar="WHAT")]
    """A run directory, a .safetensors file, or one of: pretrained, frozen, random, reverse, constant, idm."""
    map: Maps = ()
    """A shipped town, a map file, a folder, `random:SEED` or `random:1-64`; by default those of the training, or `loop`."""
    preset: str | None = None
    """The environment's preset; by default exactly the environment of the training, or `laptop`."""
    world_of: str | None = None
    """Another run or .safetensors file, whose environment is taken instead: so two policies drive in the same world."""
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
    backend: str = "cpu"
    """What steps the environment: `cpu` or `cuda`, wherever the policy was trained."""
    traffic: float = 0.0
    """Share of the agents with rule-based drivers, which don't count."""
    lights: str | None = None
    """Traffic lights: `random`, `default`, or `program` for coordinated ones; by default the environment's."""
    greedy: bool = False
    """Take the likeliest action instead of drawing one."""
    other_scales: bool = False
    """Drive also where dt, view_range or another scale of the observations differs from the training's."""
    json: bool = False
    """Print a JSON object."""
    video: Path | None = None
    """Write a video of one agent, .mp4 or .gif."""
    replay: Path | None = None
    """Write a page that plays a minute of one world in any browser, .html; or trajectories, .csv, .parquet or .xml (FCD)."""
    failures: Path | None = None
    """Write a page of what went wrong, the worst first, .html: at most 20 clips."""

    def run(self) -> int:
        """Drive, and print the figures or write the video."""
        self.check()
        learned = self.what not in BASELINES
        from rich.console import Console

        from gigaflow_train import checkpoint, environment, report
        from gigaflow_train.evaluate import policies, video
        from gigaflow_train.evaluate.failures import Failures
        from gigaflow_train.evaluate.run import as_json, drive, figures

        console = Console(stderr=True, markup=False, highlight=False)
        world = self.world_of or (self.what if learned else None)
        settings = self.settings(checkpoint.read_facts(world) if world else None)
        env = environment.make(**settings, events=bool(self.replay or self.failures), say=console.print)
        if learned:
            act = policies.trained(self.what, env, self.seed, greedy=self.greedy, other_scales=self.other_scales)
        else:
            act = policies.baseline(self.what, env, self.seed)
        steps = self.length(env.config)
        shown = self.inside(env) if learned else None
        failures = Failures(env, shown) if self.failures else None
        with report.progress(console, self.what, steps) as step:

            def after() -> None:
                step()
                if failures is not None:
                    failures.add()

            found = figures(drive(env, act, steps=steps, seed=self.seed, show=after))
        if failures is not None and self.failures is not None:
            number = failures.write(self.failures)
            said = f"{number} clips in {self.failures}" if number else "nothing went wrong: no page is written"
            console.print(said, soft_wrap=True)
        if self.replay is not None:
            recording = env.unwrapped.record(self.replay, policy=self.what if shown else None, title=f"{self.what}")
            obs, _ = env.reset(seed=self.seed)
            for _ in range(min(steps, round(report.VIDEO_SECONDS / env.config.dt))):
                obs, *_ = env.step(act(obs))
            console.print(f"{self.replay}: {recording.close() / 1e6:.2f} MB", soft_wrap=True)
        if self.video is not None:
            video.record(env, act, self.video, steps=min(steps, round(report.VIDEO_SECONDS / env.config.dt)), seed=self.seed)
        settings |= {"agents_per_world": env.agents_per_world, "config": dataclasses.asdict(env.config)}
        settings |= {"what": self.what, "steps": steps, "seed": self.seed, "greedy": self.greedy}
        env.close()
        if self.json:
            print(json.dumps(as_json(found) | {"settings": settings}, indent=1, allow_nan=False))
        else:
            title = f"{self.what} on {towns.titled(settings['maps'])}"
            Console().print(report.table({self.what: found}, title=title))
        return 0

    def check(self) -> None:
        """Raises ValueError or OSError for what can't be right, before minutes are driven for nothing."""
        learned = self.what not in BASELINES
        if self.steps is not None and self.seconds is not None:
            raise ValueError("--steps and --seconds say the same: give one of them")
        for name in ("greedy", "other_scales"):
            if not learned and getattr(self, name):
                raise ValueError(f"{flag(name)} is for checkpoints: {self.what} has learned nothing")
        if self.what == IDM and self.traffic:
            raise ValueError(f"--traffic {self.traffic} has no meaning with {IDM}: rules drive all rows")
        if learned:
            options.check_trained(self.what, BASELINES)
        if self.world_of is not None:
            if self.preset is not None:
                raise ValueError("--preset and --world-of both name an environment: give one of them")
            options.check_trained(self.world_of)
        checked(self, "num_envs", 1, 2**24, "rows")
        checked(self, "agents_per_world", 1, 256, "agents")
        checked(self, "steps", 1, 10**9, "steps")
        checked(self, "seconds", 1e-3, 1e9, "s")
        checked(self, "seed", 0, 2**31 - 1)
        checked(self, "threads", 1, 1024, "threads")
        checked(self, "traffic", 0.0, 1.0, "share")
        options.chosen(self, "preset", ENVIRONMENTS)
        options.chosen(self, "backend", BACKENDS)
        options.chosen(self, "lights", LIGHTS)
        options.check_maps(self.map)
        for name, suffixes in (("video", VIDEOS), ("replay", SUFFIXES), ("failures", (".html",))):
            options.check_file(flag(name), getattr(self, name), suffixes)

    def inside(self, env: Any) -> Any:
        """The policy as replays show its probabilities; None where only torch runs it."""
        from gigaflow_env.driver import load, needs_torch, read_facts

        if needs_torch(read_facts(self.what)):
            return None
        return load(self.what, env.layout, env.config, other_scales=self.other_scales)

    def settings(self, facts: Any) -> dict[str, Any]:
        """Arguments of `environment.make`: the training's, but for what was given."""
        trained = facts.config if facts else PRESETS["laptop"]()
        return {
            "maps": list(self.map or trained.maps),
            "map_shares": "equal" if self.map else trained.map_shares,
            "preset": self.preset or trained.preset,
            "config": (facts.environment if facts and self.preset is None else {}) | self._changed(),
            "num_envs": self.num_envs,
            "agents_per_world": self.agents_per_world or trained.agents_per_world,
            "threads": self.threads,
            "backend": self.backend,
            "traffic": 1.0 if self.what == IDM else self.traffic,
            "action": trained.action,
        }

    def _changed(self) -> dict[str, Any]:
        """What is asked for instead of the environment's configuration."""
        return {} if self.lights is None else {"lights": self.lights}

    def length(self, config: Any) -> int:
        """How many steps are driven."""
        steps = self.steps if self.steps is not None else 4 * config.max_steps
        if self.seconds is not None:
            steps = round(self.seconds / config.dt)
        if steps < 1:
            raise ValueError(f"--seconds {self.seconds} is too short: one step takes {config.dt} s")
        return steps


@dataclass(frozen=True)
class Report:
    """Compare a run's policy with ones that learned nothing; write report.json, curve.png and video.mp4."""

    directory: Annotated[Positional[Path], arg(metavar="DIR")]
    """The directory of the run, or `pretrained`: its report goes to runs/pretrained, without a curve."""
    num_envs: int = 256
    """Agents that drive at once."""
    steps: int = 1200
    """Steps each policy drives."""
    seed: int = 1
    """Of worlds and actions; training has used 0."""
    backend: str = "cpu"
    """What steps the environment: `cpu` or `cuda`, wherever the policy was trained."""

    def run(self) -> int:
        """Evaluate the run's policy beside the baselines, and write the report."""
        checked(self, "num_envs", 1, 2**24, "rows")
        checked(self, "steps", 1, 10**9, "steps")
        checked(self, "seed", 0, 2**31 - 1)
        options.chosen(self, "backend", BACKENDS)
        options.check_trained(self.directory)
        if self.directory.is_dir():
            options.check_directory("DIR", self.directory)
        from rich.console import Console

        from gigaflow_train import report

        report.write(
            self.directory, num_envs=self.num_envs, steps=self.steps, seed=self.seed, backend=self.backend, console=Console()
        )
        return 0


@dataclass(frozen=True)
class Sweep:
    """Several settings, several seeds, as a TOML file says: one table with intervals, and one picture of the curves."""

    file: Annotated[Positional[Path], arg(metavar="FILE.toml")]
    """Settings and seeds, see gigaflow_train/sweep.py."""
    out: Path | None = None
    """Directory of its runs; runs/FILE by default. What is complete in it is not run again."""

    def run(self) -> int:
        """Train all runs of the file that are not finished, and write the table."""
        from rich.console import Console

        from gigaflow_train import sweep

        console = Console(stderr=True, markup=False, highlight=False)
        out = self.out or Path("runs") / self.file.stem
        sweep.read(self.file)
        options.check_directory("--out", out)
        out.mkdir(parents=True, exist_ok=True)
        print(sweep.markdown(sweep.run(self.file, out, console.print)), end="")
        return 0


@dataclass(frozen=True)
class Export:
    """Write a policy as an ONNX file, for programs without torch."""

    what: Annotated[Positional[Path], arg(metavar="RUN")]
    """A run directory, a .safetensors file, or `pretrained`."""
    onnx: Path | None = None
    """The file; by default policy.onnx beside the checkpoint, or here for `pretrained`."""

    def run(self) -> int:
        """Write the network as a file that other programs run."""
        options.check_trained(self.what)
        options.check_file("--onnx", self.onnx, (".onnx",))
        from gigaflow_train import checkpoint, environment, export

        facts = checkpoint.read_facts(self.what)
        env = environment.make(
            maps=["loop"], preset=facts.config.preset, config=facts.environment, num_envs=1, agents_per_world=1, threads=1,
            action=facts.config.action,
        )  # fmt: skip
        path = self.onnx or (self.what if self.what.is_dir() else self.what.parent) / "policy.onnx"
        export.to_onnx(self.what, path, env)
        env.close()
        print(f"wrote {path}")
        return 0


@dataclass(frozen=True)
class Benchmark:
    """Score a policy in a suite, beside others; writes results.json, tables of scenes, report.html, failures/*.npz."""

    suite: Annotated[Positional[str], arg(metavar="SUITE")]
    """`longform` or `robustness`, in towns; `waymax`, `nuplan`, `wosac` or `scenes`, on recorded scenes; `carla-routes`."""
    policy: Annotated[Positional[str], arg(metavar="POLICY")]
    """A run directory, a .safetensors file, `pretrained`, `idm`, `replay` (the recorded expert), `constant`, `random`, or
    `module:callable` of your own: called with environment and seed, it returns a function from observations to actions."""
    data: Annotated[tuple[str, ...], UseAppendAction] = ()
    """Files or folders of scenes, or route files of the CARLA leaderboard; several times for several."""
    map: Maps = ()
    """Maps of the towns: as in `run`; with carla-routes the folder of the .xodr files, or the files."""
    out: Path | None = None
    """Directory of the results; runs/SUITE-POLICY by default. A long form goes on where it was interrupted."""
    baselines: str | None = None
    """What it is compared with, with commas: of idm, replay, constant, random, pretrained; `none`; by default what suits."""
    others: str = "replay"
    """Who drives the other agents of scenes: `replay`, `idm` (nuPlan's reactive setting) or `policy`."""
    worlds: int = 8
    """Scenes that run at once."""
    limit: int | None = None
    """Scenes or routes at most."""
    rollouts: int = 32
    """Of each scene, in wosac."""
    year: int = 2025
    """Of wosac's configuration: 2023, 2024 or 2025."""
    num_envs: int = 128
    """Agents that drive at once in towns."""
    steps: int | None = None
    """Steps that each policy drives in towns."""
    minutes: float | None = None
    """Time budget of each policy in the long form."""
    seed: int = 1
    """Of worlds and actions; training has used 0."""
    greedy: bool = False
    """Take the likeliest action instead of drawing one."""
    keep: int = 20
    """Failures that are kept and shown, the worst."""
    threads: int | None = None
    """CPU threads."""
    backend: str = "cpu"
    """What steps the environment: `cpu` or `cuda`."""

    def run(self) -> int:
        """Drive, and write the report."""
        request = self.request()
        from rich.console import Console

        from gigaflow_train.benchmark import run

        run.run(request, Console())
        return 0

    def request(self) -> Any:
        """What is asked for. Raises ValueError or OSError for what can't be right, before torch is loaded."""
        from gigaflow_train.benchmark import drivers
        from gigaflow_train.benchmark.request import (
            BASELINES,
            OTHERS,
            POLICIES,
            SCENE_SUITES,
            SUITES,
            TOWN_SUITES,
            Request,
            word,
        )
        from gigaflow_train.evaluate.wosac import YEARS

        choice("SUITE", self.suite, SUITES)
        drivers.check(self.policy, self.suite)
        given = BASELINES[self.suite] if self.baselines is None else tuple(filter(None, self.baselines.split(",")))
        baselines_ = () if given == ("none",) else given
        for name in baselines_:
            choice("--baselines", name, (*POLICIES, "pretrained"))
            drivers.check(name, self.suite)
        checked(self, "worlds", 1, 4096, "scenes")
        checked(self, "limit", 1, 10**9)
        checked(self, "rollouts", 1, 1024)
        checked(self, "num_envs", 1, 2**24, "rows")
        checked(self, "steps", 1, 10**9, "steps")
        checked(self, "minutes", 1e-3, 1e6, "minutes")
        checked(self, "seed", 0, 2**31 - 1)
        checked(self, "keep", 0, 10_000, "failures")
        checked(self, "threads", 1, 1024, "threads")
        options.chosen(self, "backend", BACKENDS)
        options.chosen(self, "others", OTHERS)
        if self.year not in YEARS:
            raise ValueError(f"--year {self.year}: there are configurations of {', '.join(map(str, YEARS))}")
        if self.suite in TOWN_SUITES and self.data:
            raise ValueError(f"--data {self.data[0]} has no place in {self.suite}: name towns with --map")
        if self.suite in SCENE_SUITES and not self.data:
            raise ValueError(f"{self.suite} needs scenes: --data DIR; see gigaflow-env scenes generate")
        if self.suite == "carla-routes" and not (self.data and self.map):
            raise ValueError("carla-routes needs routes and their towns: --data FILE --map DIR")
        for one in self.data:
            if not Path(one).exists():
                raise FileNotFoundError(f"--data {one}: there is no such file or folder")
        if self.suite in TOWN_SUITES:
            options.check_maps(self.map)
        out = self.out or Path("runs") / f"{self.suite}-{word(self.policy)}"
        options.check_directory("--out", out)
        return Request(
            self.suite, self.policy, self.data, self.map, out, baselines_, self.seed, self.num_envs, self.worlds, self.steps,
            self.minutes, self.rollouts, self.year, self.others, self.limit, self.threads, self.backend, self.greedy,
            self.keep,
        )  # fmt: skip


@dataclass(frozen=True)
class Compare:
    """Compare two results of one suite on the scenes that both have: differences with a paired bootstrap."""

    first: Annotated[Positional[Path], arg(metavar="A.json")]
    """A results.json, or its directory."""
    second: Annotated[Positional[Path], arg(metavar="B.json")]
    """Another one of the same suite."""
    json: bool = False
    """Print the differences as JSON instead of a table."""
    fail_below: str | None = None
    """`name=value`: exit with status 1 where the difference of that figure is surely below the value, for gates of a CI."""

    def run(self) -> int:
        """Print the differences; status 1 where --fail-below says so."""
        from gigaflow_train.benchmark import compare, results

        gate = options.pairs("--fail-below", [[self.fail_below]]) if self.fail_below is not None else {}
        for name, value in gate.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ValueError(f"--fail-below {name}={value}: the value must be a number")
        found = compare.compare(results.read(self.first), results.read(self.second))
        by_name = {one.figure: one for one in found}
        for name in gate:
            if name not in by_name:
                raise ValueError(f"--fail-below {name}: the files have no such number; they have {', '.join(by_name)}")
        if self.json:
            print(json.dumps([{**one._asdict(), "clear": one.clear} for one in found], indent=1))
        else:
            from rich.console import Console

            Console().print(compare.table(found, str(self.first), str(self.second)))
        failed = [name for name, value in gate.items() if (high := by_name[name].high) is not None and high < value]
        for name in failed:
            print(f"gigaflow-train: {name} fell by more than allowed: {by_name[name].difference:.4g}", file=sys.stderr)
        return 1 if failed else 0


@dataclass(frozen=True)
class Failure:
    """Let a failure of a benchmark happen again, and write it as a page for a browser."""

    bundle: Annotated[Positional[Path], arg(metavar="BUNDLE.npz")]
    """A file of a benchmark's failures/."""
    out: Path | None = None
    """The page, .html; by default beside the bundle."""
    threads: int | None = None
    """CPU threads."""

    def run(self) -> int:
        """Say whether it happened again, and write the page. Exit status 1 where it did not."""
        checked(self, "threads", 1, 1024, "threads")
        out = self.out or self.bundle.with_suffix(".html")
        options.check_file("--out", out, (".html",))
        if not self.bundle.is_file():
            raise FileNotFoundError(f"{self.bundle}: there is no such bundle")
        from gigaflow_env.replay import write_replay
        from gigaflow_train.benchmark import bundles

        clip, again = bundles.clip_of(bundles.load(self.bundle), threads=self.threads)
        write_replay([clip], out)
        print(f"{clip.title}: {'happened again' if again else 'did not happen again'}; wrote {out}")
        return 0 if again else 1


Command = (
    Annotated[Run, subcommand("run")]
    | Annotated[Evaluate, subcommand("evaluate")]
    | Annotated[Report, subcommand("report")]
    | Annotated[Sweep, subcommand("sweep")]
    | Annotated[Export, subcommand("export")]
    | Annotated[Benchmark, subcommand("benchmark")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Failure, subcommand("failure")]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv` (default: the process's arguments).

    Exit status: 0; 1 where training came to a number that is not finite; 2 after a user's error.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    if words == ["--version"]:
        print(f"gigaflow-train {__version__}")
        return 0
    command: Any = tyro.cli(
        Command,
        args=words,
        prog="gigaflow-train",
        description="Train and evaluate driving policies by self-play.",
        config=(OmitSubcommandPrefixes, OmitArgPrefixes, FlagCreatePairsOff),
    )
    try:
        if isinstance(command, Run) and not command.alone():
            return together(words, command.processes)
        return command.run()
    except USER_ERRORS as error:
        print(f"gigaflow-train: error: {' '.join(str(error).split()) or FULL}", file=sys.stderr)
        return 2
