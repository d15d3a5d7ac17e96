"""The command `gigaflow-env`: the shipped towns, a look at any map or scene, a live world in the browser, imports.

Each command is a frozen dataclass: its fields are the arguments, its docstring the help, its `run` what it does.
"""

import json
import sys
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from tyro.conf import FlagCreatePairsOff, OmitArgPrefixes, OmitSubcommandPrefixes, Positional, arg, subcommand

from gigaflow_env.files import cache_directory
from gigaflow_env.memory import FULL
from gigaflow_env.render.extra import MissingExtra
from gigaflow_env.roads import (
    MapWarning,
    check_name,
    check_random,
    cut,
    find,
    load,
    load_scene,
    problems,
    save,
    shipped,
    summary,
)
from gigaflow_env.roads.import_report import records
from gigaflow_env.simulator import MissingDevice

USER_ERRORS = (ValueError, OSError, MemoryError, MissingExtra, MissingDevice)
"""What a user can cause and mend; MapError is a ValueError. Anything else is a defect and keeps its traceback."""

REPLAYED = 60.0
"""[s] of a world that `watch` replays where it can't serve a live one."""

SAID = 5.0
"""[s] Between two lines of progress."""

_CPU_ONLY = ("agents_per_world", "num_envs", "threads")
"""Options of `bench` that `--backend cuda` has its own series for."""


@dataclass(frozen=True)
class Maps:
    """List the towns that come with the package."""

    json: bool = False
    """Print a JSON list."""

    def run(self) -> None:
        """Print the table."""
        towns = [summary(load(path)) for path in shipped().values()]
        if self.json:
            _print_json(towns)
            return
        header = ("name", "lane-km", "lanes", "lights", "licence", "description")
        rows = [
            (t["name"], f"{t['lane_km']:.2f}", str(t["lanes"]), str(t["traffic_lights"]), t["licence"], t["source"])
            for t in towns
        ]
        _print_table([header, *rows], right=(1, 2, 3))


@dataclass(frozen=True)
class Inspect:
    """Say what a map holds, and draw it."""

    file: Annotated[Positional[str], arg(metavar="FILE")]
    """A map file, or the name of a shipped town."""
    json: bool = False
    """Print a JSON object."""
    png: Path | None = None
    """Draw the map into this file, *.png."""
    html: Path | None = None
    """Write a page for the browser into this file, *.html: pan, zoom, layers, search, and the facts of what is clicked."""
    strict: bool = False
    """Refuse the file for its first fault instead of repairing it."""
    program: str | None = None
    """Name of the traffic lights' program, in a SUMO network that has several."""

    def run(self) -> None:
        """Print the facts, and draw what was asked for."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MapWarning)  # the whole report is printed below
            road_map = self.opened()
        facts, looked_at = summary(road_map), problems.problems(road_map)
        facts |= {f"{kind.replace(' ', '_')}_lanes": number for kind, number in problems.counts(looked_at).items()}
        if self.png is not None:
            from gigaflow_env.render import draw_map

            draw_map(road_map, self.png)
        if self.html is not None:
            from gigaflow_env.render import write_page

            write_page(road_map, self.html)
        if self.json:
            _print_json(facts | {"problems": problems.records(looked_at), "report": records(road_map.report)})
        else:
            _print_table([(name, _readable(fact)) for name, fact in facts.items()])
            for problem in looked_at:
                x, y = problem.place
                print(f"{problem.kind}: {problem.lane} at ({x:.1f}, {y:.1f}), {problem.amount:.3g} {problem.unit}")
            for entry in road_map.report:
                print(f"import: {entry}")

    def opened(self) -> Any:
        """The map. Raises ValueError or OSError where it can't be read as asked."""
        if not self.strict and self.program is None:
            return find(self.file)
        check_name(self.file)
        if check_random(self.file) is not None:
            raise ValueError(f"--strict and --program are for map files: {self.file} has none")
        return load(shipped().get(self.file, self.file), strict=self.strict, program=self.program)


@dataclass(frozen=True)
class Import:
    """Read a map of any supported format and write it as .lanes.json."""

    file: Annotated[Positional[str], arg(metavar="FILE")]
    """The map to read."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The file to write, *.lanes.json."""

    def run(self) -> None:
        """Read, write, and say what came out."""
        road_map = find(self.file)
        save(road_map, self.output)
        facts = summary(road_map)
        print(f"{self.output}: {facts['lane_km']:.2f} lane-km, {facts['lanes']} lanes, {facts['traffic_lights']} lights")


@dataclass(frozen=True)
class Cut:
    """Write the part of a map around a place as .lanes.json; lanes that are cut end there."""

    file: Annotated[Positional[str], arg(metavar="FILE")]
    """The map to read, or the name of a shipped town."""
    around: str
    """The place, X,Y in metres."""
    radius: float
    """Of the part, in metres."""
    output: Annotated[Path, arg(aliases=["-o"])]
    """The file to write, *.lanes.json."""

    def run(self) -> None:
        """Read the map, cut out the part and write it."""
        try:
            x, y = map(float, self.around.split(","))
        except ValueError as error:
            raise ValueError(f"--around {self.around!r}: it must be X,Y in metres, as 120,-35.5") from error
        part = cut(find(self.file), (x, y), self.radius)
        save(part, self.output)
        facts = summary(part)
        print(f"{self.output}: {facts['lane_km']:.2f} lane-km, {facts['lanes']} lanes, {facts['traffic_lights']} lights")


@dataclass(frozen=True)
class MapCommand:
    """Inspect, import or cut a map."""

    command: (
        Annotated[Inspect, subcommand("inspect")]
        | Annotated[Import, subcommand("import")]
        | Annotated[Cut, subcommand("cut")]
    )

    def run(self) -> None:
        """Run the command below."""
        self.command.run()


@dataclass(frozen=True)
class Generate:
    """Make own scenes: random towns with rule-based traffic, recorded. What is there already is kept."""

    output: Annotated[Path, arg(aliases=["-o"])]
    """The folder to write them into."""
    count: int = 100
    """Scenes to make."""
    seed: int = 0
    """Of the first one; the others have those that follow."""
    steps: int = 91
    """Moments of each, 0.1 s apart."""
    agents: int = 24
    """Drivers on the road at once."""

    def run(self) -> None:
        """Make them, one after the other."""
        # Here, not above: it compiles kernels.
        from gigaflow_env.bounds import Bounds, whole
        from gigaflow_env.scenes import generated

        count = whole("--count", self.count, Bounds(1, 10**6), "scenes")
        began = said = time.monotonic()
        for number, _ in enumerate(generated.write(self.output, count, self.seed, steps=self.steps, agents=self.agents), 1):
            now = time.monotonic()
            if number == count or now - said > SAID:
                said = now
                left = (now - began) / number * (count - number)
                print(f"{number} of {count} scenes" + (f", {left:.0f} s left" if number < count else ""), flush=True)
        print(f"{self.output}: {count} scenes")


@dataclass(frozen=True)
class InspectScene:
    """Say what a file of recorded traffic holds: agents, steps, lights, and starts that are no fair ones."""

    file: Annotated[Positional[Path], arg(metavar="FILE")]
    """A file with recorded traffic."""
    record: str | None = None
    """Which of several: its number, or its name."""
    step: int = 0
    """The step at which agents are taken to start."""
    json: bool = False
    """Print a JSON object."""
    strict: bool = False
    """Refuse the file for its first fault instead of repairing it."""

    def run(self) -> None:
        """Print the facts."""
        from gigaflow_env.scenes.summary import scene_summary

        record = int(self.record) if self.record is not None and self.record.isdecimal() else self.record
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MapWarning)  # the whole report is printed below
            road_map, scenario = load_scene(self.file, record=record, strict=self.strict)
        facts = scene_summary(road_map, scenario, self.step)
        if self.json:
            _print_json(facts | {"report": records(road_map.report)})
            return
        _print_table([(name, _readable(fact)) for name, fact in facts.items()])
        for entry in road_map.report:
            print(f"import: {entry}")


@dataclass(frozen=True)
class ScenesCommand:
    """Make scenes of recorded traffic, or look into one."""

    command: Annotated[Generate, subcommand("generate")] | Annotated[InspectScene, subcommand("inspect")]

    def run(self) -> None:
        """Run the command below."""
        self.command.run()


@dataclass(frozen=True)
class Bench:
    """Measure how many agent-steps per second the simulator makes."""

    map: str = "loop"
    """A shipped town or a map file."""
    preset: str = "paper"
    """Configuration: `paper`, `laptop` or `longform`."""
    agents_per_world: int | None = None
    """Agents in each world; the preset's number by default."""
    num_envs: int = 4096
    """Agents altogether."""
    threads: int | None = None
    """CPU threads; all cores by default."""
    steps: int = 200
    """Steps that are timed."""
    backend: str = "cpu"
    """`cpu`; or `cuda`: 64 and 150 agents a world, a thousand to a million rows, always as JSON."""
    json: bool = False
    """Print a JSON object."""

    def run(self) -> None:
        """Measure, and print."""
        # Here, not above: they compile kernels.
        if self.backend == "cuda":
            from gigaflow_env.bench import cuda

            plain = Bench()
            for name in _CPU_ONLY:
                if getattr(self, name) != getattr(plain, name):
                    option = f"--{name.replace('_', '-')} {getattr(self, name)}"
                    raise ValueError(f"{option} has no meaning with --backend cuda: that measures a series of its own")
            _print_json(cuda.run(map=self.map, preset=self.preset, steps=self.steps))
            return
        if self.backend != "cpu":
            raise ValueError(f"backend={self.backend!r}: choose one of 'cpu', 'cuda'")
        from gigaflow_env.bench import throughput

        facts = throughput.run(
            map=self.map,
            preset=self.preset,
            agents_per_world=self.agents_per_world,
            num_envs=self.num_envs,
            threads=self.threads,
            steps=self.steps,
        )
        if self.json:
            _print_json(facts)
        else:
            _print_table([(name, _readable(fact)) for name, fact in facts.items()])


@dataclass(frozen=True)
class Watch:
    """Show a world of trained drivers in the browser: follow them, look inside, change the world, or drive among them."""

    map: Annotated[Positional[str], arg(metavar="MAP")] = "downtown"
    """A shipped town, a map file, `random:SEED` or `random:STYLE:SEED`."""
    policy: str = "pretrained"
    """Who drives: `pretrained`, `idm` for rules, a run directory, or a .safetensors file."""
    agents: int = 40
    """Cars, at most 150."""
    drive: bool = False
    """Begin at the wheel of one of them."""
    port: int = 0
    """Of the page, on this machine only; any free one by default."""
    no_browser: bool = False
    """Print the address and open nothing."""
    seed: int = 0
    """Of the world."""

    def run(self) -> None:
        """Make the world, open the browser, and go on until Ctrl-C."""
        from gigaflow_env.bounds import Bounds, whole
        from gigaflow_env.viewer import LiveWorld, Settings
        from gigaflow_env.viewer.world import MOST

        port = whole("--port", self.port, Bounds(0, 65535))
        agents = whole("--agents", self.agents, Bounds(1, MOST), "agents")
        try:
            from gigaflow_env.viewer.server import serve
        except MissingExtra as error:
            if self.drive:
                raise
            print(f"gigaflow-env: {error}. A replay of {REPLAYED:.0f} s instead", file=sys.stderr)
            serve = None  # type: ignore[assignment]
        drives = "rules" if self.policy == "idm" else f"policy {Path(self.policy).name}"
        road_map = find(self.map)
        world = LiveWorld(road_map, self.policy, Settings(agents=agents), self.seed)
        world.step()  # compiles, and says so, before a page waits for it
        if serve is None:
            self.replay(world, drives)
            return
        serve(world, port=port, drive=self.drive, title=f"live · {drives}", browser=not self.no_browser,
              say=lambda line: print(line, flush=True))  # fmt: skip

    def replay(self, world: Any, drives: str) -> None:
        """What the base install can show: some time of the world, as a page."""
        import tempfile
        import webbrowser

        from gigaflow_env.replay import Recorder, write_replay

        recorder = Recorder(world.env.simulator, 0, policy=world.trained)
        for _ in range(round(REPLAYED / world.dt)):
            world.step()
            recorder.add()
        path = Path(tempfile.mkdtemp(prefix="gigaflow-")) / "watch.html"
        write_replay([recorder.clip(f"{world.road_map.name}, {drives}")], path)
        world.close()
        print(f"open {path}")
        if not self.no_browser:
            webbrowser.open(path.as_uri())


@dataclass(frozen=True)
class Compile:
    """Compile the kernels into the cache: for images of containers, for CI, and before many processes start at once."""

    all: bool = False
    """Also what rule-based drivers, event logs and half precision need."""

    def run(self) -> None:
        """Compile, with progress on stderr, and say where the cache is."""
        import numpy as np

        from gigaflow_env.driver.network import linear
        from gigaflow_env.env import GigaflowVectorEnv
        from gigaflow_env.roads.compiled.compile import compile_roads

        compile_roads(find("loop"), cache=False)  # compiling a map has kernels, too
        zero = np.zeros((1, 1), np.float32)
        linear(zero, zero, zero[0], True, zero.copy())  # a trained policy's network
        variants: list[dict[str, Any]] = [{}]
        if self.all:
            variants.append({"drivers": "idm", "events": True, "obs_dtype": "float16"})
        for variant in variants:
            env = GigaflowVectorEnv(2, map="loop", preset="laptop", **variant)
            env.simulator.prepare()
            env.close()
        print(f"kernels are in {cache_directory() / 'kernels'}")


Command = (
    Annotated[Maps, subcommand("maps")]
    | Annotated[MapCommand, subcommand("map")]
    | Annotated[ScenesCommand, subcommand("scenes")]
    | Annotated[Watch, subcommand("watch")]
    | Annotated[Bench, subcommand("bench")]
    | Annotated[Compile, subcommand("compile")]
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command in `argv`, by default the process's arguments. Returns the exit status: 0, or 2 after a user error."""
    if list(sys.argv[1:] if argv is None else argv) == ["--version"]:
        from gigaflow_env.version import __version__

        print(f"gigaflow-env {__version__}")
        return 0
    command: Any = tyro.cli(
        Command,
        args=argv,
        prog="gigaflow-env",
        description="GIGAFLOW's driving simulator: maps, scenes, a viewer and benchmarks. --version says which one it is.",
        config=(OmitSubcommandPrefixes, OmitArgPrefixes, FlagCreatePairsOff),
    )
    try:
        command.run()
    except USER_ERRORS as error:
        print(f"gigaflow-env: error: {' '.join(str(error).split()) or FULL}", file=sys.stderr)
        return 2
    return 0


def _print_json(facts: Any) -> None:
    print(json.dumps(facts, indent=2, allow_nan=False))


def _readable(fact: Any) -> str:
    if fact is None:
        return "-"
    if isinstance(fact, bool):
        return "yes" if fact else "no"
    if isinstance(fact, float):
        return f"{fact:.6g}"
    if isinstance(fact, (tuple, list)):
        return ", ".join(map(_readable, fact)) or "-"
    return str(fact)


def _print_table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> None:
    """Plain columns, two spaces apart; the columns in `right` are flush right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [c.rjust(w) if k in right else c.ljust(w) for k, (c, w) in enumerate(zip(row, widths, strict=True))]
        print("  ".join(cells).rstrip())
