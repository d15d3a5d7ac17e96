"""Failure bundles: a world before something went wrong, and what was done since, in one .npz that happens again.

A bundle of a town holds a snapshot of its world, the actions of the steps that follow, and how to make the environment.
One of a recorded scene holds the scene itself, and all actions. Driven again, it fails at the same step, to the bit; and a
viewer shows it.
"""

import dataclasses
import json
import math
import tempfile
import zipfile
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from gigaflow_env import Config
from gigaflow_env.event_log import COLLISION, EVENT_KINDS, OFFROAD
from gigaflow_env.replay import Clip, Recorder
from gigaflow_env.roads import RoadMap, load_scene, save_scene
from gigaflow_env.roads.scenario import Scenario
from gigaflow_env.snapshot import each_world
from gigaflow_train.benchmark.request import HELD_OUT, Request, word
from gigaflow_train.benchmark.results import plain
from gigaflow_train.files import replacing

FORMAT = 2
BEFORE, AFTER = 8.0, 2.0
"""[s] kept before and after the moment."""
ABOUT = "about"
STATE, ACTIONS = "state.", "actions"
NEEDED = ("config", "world", "row", "action", "title", "scene")
OF_SCENES = ("control", "others", "drivers", "start_step", "decision_every", "action", "rows_per_world", "agents_per_world")
"""How the environment of a recorded scene is made, by the names of its arguments."""


class Bundle(NamedTuple):
    """A failure, from some moments before it on."""

    about: dict[str, Any]  # how the environment is made, the world, the row, the moment, and words
    snapshot: dict[str, np.ndarray]  # of the one world; of a scene only its file, "scene", as bytes
    actions: np.ndarray  # (steps, rows) of the rows of its world


def save(path: Path, bundle: Bundle) -> None:
    """Write one .npz file, whole or not at all; it holds no code."""
    arrays = {STATE + name: value for name, value in bundle.snapshot.items()}
    about = np.frombuffer(json.dumps(bundle.about, allow_nan=False).encode(), np.uint8)
    with replacing(path) as part:
        np.savez_compressed(part, **{ABOUT: about, ACTIONS: bundle.actions, **arrays})  # type: ignore[arg-type]


def load(path: str | Path) -> Bundle:
    """Read a bundle. Raises FileNotFoundError, or ValueError for what is none."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such bundle")
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(arrays.pop(ABOUT).tobytes())
        actions = arrays.pop(ACTIONS)
        if about["format"] == FORMAT:
            lacking = [name for name in NEEDED if name not in about]
            if lacking:
                raise KeyError(f"it lacks {lacking[0]!r}")
            return Bundle(about, {name.removeprefix(STATE): value for name, value in arrays.items()}, actions)
    except (KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path}: no failure bundle, or a damaged one: {error}") from None
    raise ValueError(f"{path}: a bundle of format {about['format']!r}; this version reads {FORMAT}")


def of_scene(
    scenario: Scenario, road_map: RoadMap, actions: np.ndarray, place: tuple[float, float], about: Mapping[str, Any]
) -> Bundle:
    """A bundle of a recorded scene: all of its actions (steps, rows), and where its first row ended up [m].

    about: how its environment is made: OF_SCENES and config; its chance, see `chance_of`; and words.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.scene.npz"
        save_scene(scenario, road_map, path)
        data = np.frombuffer(path.read_bytes(), np.uint8)
    return Bundle({"format": FORMAT, "world": 0, "row": 0, "place": list(place), **about}, {"scene": data}, actions)


def make(bundle: Bundle, *, threads: int | None = None) -> Any:
    """The environment of a bundle, with its world as it was before the failure."""
    from gigaflow_train import environment

    about = bundle.about
    config: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in about["config"].items()
    }
    if "scene" in bundle.snapshot:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "one.scene.npz"
            path.write_bytes(bundle.snapshot["scene"].tobytes())
            road_map, scenario = load_scene(path)
        env: Any = gymnasium.make_vec(
            "gigaflow_env:GigaFlow-v0", scenes=[(road_map, scenario)], config=Config(**config), threads=threads, copy=False,
            autoreset_mode="NextStep", events=True, worlds=1, **{name: about[name] for name in OF_SCENES},
        )  # fmt: skip
        env.reset(seed=0)  # nothing is drawn at the start: bodies and coefficients are fixed
        clock = env.unwrapped.simulator.state.clock
        clock.seed[:], clock.number[0], clock.tick[0] = (
            about["chance"]["seed"],
            about["chance"]["number"],
            about["chance"]["tick"],
        )
        return env
    env = environment.make(
        maps=about["maps"], preset="paper", config=config, num_envs=about["rows"], agents_per_world=None, threads=threads,
        traffic=about["traffic"], events=True, action=about["action"],
    )  # fmt: skip
    env.reset(seed=about["seed"])
    env.unwrapped.restore(bundle.snapshot)
    return env


def happen(bundle: Bundle, env: Any, *, recorder: Recorder | None = None) -> bool:
    """Drive a bundle's environment through its actions; whether the same happened."""
    inner, about = env.unwrapped, bundle.about
    inner.take_events()
    if recorder is not None:
        recorder.add()
    mine = inner.world_of_row == about["world"]
    every = np.zeros((inner.num_envs, *bundle.actions.shape[2:]), bundle.actions.dtype)
    for actions in bundle.actions:
        every[mine] = actions
        env.step(every)
        if recorder is not None:
            recorder.add()
    events = inner.take_events()
    if "place" in about:
        pose, origin = inner.simulator.state.pose, inner.simulator.roads.origins[0]
        here = [float(inner.simulator.host(one)[0, 0]) + origin[k] for k, one in enumerate((pose.x, pose.y))]
        return math.dist(here, about["place"]) < 1e-3
    events = events[events["world"] == about["world"]]
    return bool(((events["row"] == about["row"]) | (events["other"] == about["row"])).any())


def clip_of(bundle: Bundle, *, threads: int | None = None) -> tuple[Clip, bool]:
    """What happened, as the viewer shows it, and whether the failure happened again."""
    env, about = make(bundle, threads=threads), bundle.about
    try:
        recorder = Recorder(env.unwrapped.simulator, about["world"])
        again = happen(bundle, env, recorder=recorder)
        start = max(0.0, about["moment"] - 6.0) if "moment" in about else None
        return recorder.clip(about["title"], focus=about["row"] % env.unwrapped.agents_per_world, start=start), again
    finally:
        env.close()


def chance_of(env: Any, world: int) -> dict[str, Any]:
    """From what all chance of a scene follows that begins now: rules draw a way on behind the recorded end."""
    clock = env.simulator.state.clock
    seed, number, tick = (env.simulator.host(one) for one in (clock.seed, clock.number, clock.tick))
    return {"seed": seed.tolist(), "number": int(number[world]), "tick": int(tick[world])}


class Scene(NamedTuple):
    """A recorded scene that was driven, as a bundle needs it."""

    name: str
    scenario: Scenario
    road_map: RoadMap
    actions: np.ndarray  # (steps, rows)
    place: tuple[float, float]  # [m] of the first row at the end
    about: dict[str, Any]  # how its environment is made, as in `of_scene`


def write_scenes(folder: Path, scenes: Sequence[Scene], about: Mapping[str, Any]) -> list[Path]:
    """Write scenes, the worst first, as NUMBER-NAME.npz, in place of those of an earlier call."""
    for old in folder.glob("*.npz"):
        old.unlink()
    paths = []
    for number, scene in enumerate(scenes, 1):
        folder.mkdir(parents=True, exist_ok=True)
        paths.append(folder / f"{number:02d}-{word(scene.name)}.npz")
        said = {**about, **scene.about, "scene": scene.name, "title": scene.name}
        save(paths[-1], of_scene(scene.scenario, scene.road_map, scene.actions, scene.place, said))
    return paths


def show(path: str | Path, *, threads: int | None = None) -> tuple[str, Clip]:
    """A bundle's name and clip."""
    bundle = load(path)
    return bundle.about["scene"], clip_of(bundle, threads=threads)[0]


class Keeper:
    """Looks on while a town suite drives, and keeps the worst failures as bundles."""

    def __init__(self, env: Any, request: Request, policy: str, config: Config) -> None:
        self.env, self.request, self.policy, self.config = env.unwrapped, request, policy, config
        self.every = max(1, round(BEFORE / config.dt))
        self.found: list[tuple[float, Bundle]] = []
        self.snapshots: deque[tuple[int, dict[str, np.ndarray]]] = deque(maxlen=2)
        self.actions: deque[tuple[int, np.ndarray]] = deque(maxlen=3 * self.every)
        self.seed = 0
        self.waiting: list[tuple[int, Any]] = []

    def take_up(self) -> None:
        """The failures of an earlier call whose counts go on; those that this version can't read are no more."""
        for path in sorted((self.request.out / "failures").glob("*.npz")):
            try:
                bundle = load(path)
            except ValueError:
                continue
            self.found.append((float(bundle.about.get("weight", 0.0)), bundle))
        self.found.sort(key=lambda one: -one[0])

    def begin(self, seed: int) -> None:
        """All worlds begin anew."""
        self.seed = seed
        self.snapshots.clear()
        self.actions.clear()
        self.waiting.clear()

    def before(self, step: int, actions: np.ndarray) -> None:
        """The actions of a step that is about to be made."""
        if self.request.keep <= 0:
            return
        if step % self.every == 0:
            self.snapshots.append((step, self.env.snapshot()))
        self.actions.append((step, np.array(actions)))

    def after(self, step: int, events: np.ndarray) -> None:
        """What happened in a step."""
        if self.request.keep <= 0:
            return
        self.waiting += [(step, event) for event in events if event["kind"] in (COLLISION, OFFROAD)]
        late = round(AFTER / self.config.dt)
        for met, event in [one for one in self.waiting if step - one[0] >= late]:
            self._keep(met, event)
        self.waiting = [one for one in self.waiting if step - one[0] < late]

    def _keep(self, step: int, event: Any) -> None:
        weight = (2.0 if event["kind"] == COLLISION else 1.5) + float(event["fault"]) + abs(float(event["speed"])) / 15.0
        if len(self.found) >= self.request.keep and weight <= self.found[-1][0]:
            return
        usable = [one for one in self.snapshots if one[0] <= step]
        if not usable:
            return
        first, snapshot = usable[0]
        world = int(event["world"])
        alone = _only(snapshot, world)
        mine = self.env.world_of_row == world
        actions = np.stack([one[mine] for at, one in self.actions if at >= first])
        place = self.env.simulator.maps[int(snapshot["clock.map"][world])].name
        kind = EVENT_KINDS[int(event["kind"])].replace("_", " ")
        fault = ", own fault" if event["fault"] else ""
        about = {
            "format": FORMAT, "suite": self.request.suite, "policy": self.policy, "world": world, "row": int(event["row"]),
            "kind": kind, "scene": "", "moment": (step - first) * self.config.dt, "seed": self.seed, "weight": weight,
            "title": f"{kind}{fault}, {3.6 * abs(float(event['speed'])):.0f} km/h, {place}",
            "maps": list(self.request.maps or (HELD_OUT,)), "config": plain(dataclasses.asdict(self.config)),
            "rows": self.request.rows, "traffic": 1.0 if self.policy == "idm" else 0.0, "action": _kind_of(self.env),
        }  # fmt: skip
        self.found = sorted([*self.found, (weight, Bundle(about, alone, actions))], key=lambda one: -one[0])
        self.found = self.found[: self.request.keep]

    def write(self) -> list[Path]:
        """Write the bundles, the worst first: failures/NUMBER.npz in the directory of the results."""
        folder = self.request.out / "failures"
        paths: list[Path] = []
        if self.request.keep > 0:  # those of an earlier call are among these, or no longer among the worst
            for old in folder.glob("*.npz"):
                old.unlink()
        for number, (_, bundle) in enumerate(self.found, 1):
            folder.mkdir(parents=True, exist_ok=True)
            paths.append(folder / f"{number:02d}-{bundle.about['kind'].replace(' ', '-')}.npz")
            save(paths[-1], bundle._replace(about=bundle.about | {"scene": f"{number}. {bundle.about['title']}"}))
        return paths


def _only(snapshot: Mapping[str, np.ndarray], world: int) -> dict[str, np.ndarray]:
    """The part of a snapshot of all worlds that is about one."""
    kept = {name: value for name, value in snapshot.items() if name not in ("worlds", "np_random")}
    declared = kept.pop("declaration")
    alone = {name: value[world : world + 1] if each_world(name) else value for name, value in kept.items()}
    return {"declaration": declared, "worlds": np.array([world], np.int64), **alone}


def _kind_of(env: Any) -> str:
    from gigaflow_train.actions import kind_of

    return kind_of(env)
