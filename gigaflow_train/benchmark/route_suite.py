"""The suite carla-routes: the leaderboard's routes on the user's towns, among rule-based traffic.

A route becomes a scene: its way is the recorded way of the car, and around it are vehicles with ways of their own, which
rules drive. What the leaderboard has besides, pedestrians, static objects and its scripted scenarios, is not here.
"""

import dataclasses
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from gigaflow_env.event_log import COLLISION, RED_LIGHT
from gigaflow_env.population import ROAD_USERS
from gigaflow_env.replay import Clip, Recorder
from gigaflow_env.roads import MapError, RoadMap, find, signal_phases
from gigaflow_env.roads.scenario import LIGHT_STATES, Scenario, validate_scenario
from gigaflow_train.benchmark import bundles, drivers, scene_suites
from gigaflow_train.benchmark.compare import bootstrap
from gigaflow_train.benchmark.request import Request
from gigaflow_train.benchmark.results import Outcome
from gigaflow_train.evaluate import carla
from gigaflow_train.evaluate.carla import LaneGraph, Matched
from gigaflow_train.evaluate.metrics import Estimate, proportion, rate
from gigaflow_train.evaluate.polylines import arc_length
from gigaflow_train.files import write_text
from gigaflow_train.interrupts import interruptible

DT = 0.1
"""[s] Time step of the scenes."""
LATERAL = 2.0
"""[m/s^2] of the way's own speed in curves."""
VEHICLES, PER_VEHICLE = 12, 60.0
"""Others, at least, and metres of route for each one more. Ours: traffic that flows."""
MOST_VEHICLES = 40
WAY, OTHERS_SPEED = 2000.0, 8.0
"""[m, m/s] How far the others go, and how fast they are recorded: rules drive them as fast as they may."""
BEYOND = 40.0
"""[m] that the car's way goes on beyond its route."""
APART, AROUND = 15.0, 400.0
"""[m] Between starts, and from the route."""
CAR = (4.6, 1.9)
"""[m] Length and width."""
WORLDS = 4
"""Towns in memory at the same time, at most."""
CLIP_SECONDS = 60.0
"""[s] at the end of a route that its replay shows."""
COUNTED = ("pedestrian", "vehicle", "red_light", "stop_sign")
"""Infractions that can happen here."""
AGAINST = -0.2
"""Cosine of the angle to its lane at which a car is on a lane of the other direction."""

Advance = Callable[[float], None]


def towns_of(given: Sequence[str], names: Sequence[str]) -> dict[str, RoadMap]:
    """The maps of the towns, by name, from files or folders. Raises FileNotFoundError for one that is missing."""
    files: dict[str, Path] = {}
    for one in given:
        path = Path(one)
        for file in sorted(path.iterdir()) if path.is_dir() else [path]:
            files.setdefault(file.name.split(".")[0], file)
    missing = sorted(set(names) - set(files))
    if missing:
        raise FileNotFoundError(f"--map {', '.join(given)}: there is no file of {', '.join(missing)}, which the routes need")
    return {name: find(str(files[name])) for name in dict.fromkeys(names)}


def route_files(data: Sequence[str]) -> list[Path]:
    """The route files that are meant; a folder is its .xml files. Raises ValueError where there is none."""
    found = [file for one in data for file in (sorted(Path(one).glob("*.xml")) if Path(one).is_dir() else [Path(one)])]
    if not found:
        raise ValueError(f"--data {', '.join(data)}: the folder has no .xml files with routes")
    return found


def scenario_of(matched: Matched, graph: LaneGraph, seed: int) -> Scenario:
    """A route as a scene: the car's way along it, and other vehicles around, the same for the same seed."""
    steps = math.ceil(matched.timeout / DT) + 1
    generator = np.random.default_rng([seed, *matched.route.id.encode()])
    line, heading = _onward(matched, graph)
    tracks = [_track(line, heading, _speeds(line, heading, matched.speed), steps)]
    starts = [matched.line[0, :2]]
    wanted = min(MOST_VEHICLES, VEHICLES + int(matched.length / PER_VEHICLE))
    near = np.flatnonzero(_near(graph.points, matched.line[:, :2]) < AROUND)
    for _ in range(20 * wanted):
        if len(tracks) > wanted or not len(near):
            break
        point = int(generator.choice(near))
        at = graph.points[point]
        junction = graph.road_map.lanes[graph.names[graph.owner[point]]].junction
        if junction is not None or min(math.dist(at, other) for other in starts) < APART:
            continue
        starts.append(at)
        line, heading = _wander(graph, point, generator)
        tracks.append(_track(line, heading, np.full(len(line), OTHERS_SPEED), steps))
    x, y, z, heading, velocity_x, velocity_y = np.array(tracks).transpose(1, 0, 2)
    valid = np.ones(x.shape, bool)
    length, width = (np.full(x.shape, size) for size in CAR)
    name, ids = scene_name(matched), tuple(str(k) for k in range(len(tracks)))
    made = Scenario(
        name, DT, ids, ("vehicle",) * len(tracks), valid, x, y, z, heading, velocity_x, velocity_y, length, width,
        _lights(graph.road_map, steps), 0, (0,), f"a route of the CARLA leaderboard on {graph.road_map.name}",
    )  # fmt: skip
    validate_scenario(made)
    return made


def scene_name(matched: Matched) -> str:
    """What reports call a route."""
    return f"{matched.route.town} route {matched.route.id}"


def _near(points: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Distance [m] of points from a line, by every tenth of its points."""
    coarse = line[::10]
    return np.hypot(*(points[:, None] - coarse[None]).transpose(2, 0, 1)).min(axis=1)


def _onward(matched: Matched, graph: LaneGraph) -> tuple[np.ndarray, np.ndarray]:
    """The way of a route and a little beyond its end, points (n, 3) and headings: goals count before they are reached."""
    end = int(np.hypot(*(graph.points - matched.line[-1, :2]).T).argmin())
    line, heading = _wander(graph, end, np.random.default_rng(0))
    along = arc_length(line)
    more = (along > 1.0) & (along < BEYOND)
    return np.concatenate([matched.line, line[more]]), np.concatenate([matched.heading, heading[more]])


def _speeds(line: np.ndarray, heading: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """Speed [m/s] at each point of a way: the limits of its first points, from there on the last one's, slower in curves."""
    bend = np.abs(np.gradient(np.unwrap(heading), arc_length(line)))
    limit = np.concatenate([limits, np.full(len(line) - len(limits), limits[-1])])
    return np.clip(np.minimum(limit, np.sqrt(LATERAL / np.maximum(bend, 1e-3))), 2.0, 20.0)


def _track(line: np.ndarray, heading: np.ndarray, speed: np.ndarray, steps: int) -> np.ndarray:
    """x, y, z, heading and velocities (6, steps) of who goes along a line, and stands at its end."""
    along = arc_length(line)
    when = np.concatenate([[0.0], np.cumsum(np.diff(along) / (0.5 * (speed[1:] + speed[:-1])))])
    s = np.interp(DT * np.arange(steps), when, along)
    x, y, z = (np.interp(s, along, line[:, k]) for k in range(3))
    turned = np.interp(s, along, np.unwrap(heading))
    moving = np.where(s < along[-1], np.interp(s, along, speed), 0.0)
    return np.stack(
        [x, y, z, np.remainder(turned + np.pi, 2 * np.pi) - np.pi, moving * np.cos(turned), moving * np.sin(turned)]
    )


def _wander(graph: LaneGraph, point: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """A way from a place on, by lanes at random: points (n, 3) and headings."""
    number = {name: k for k, name in enumerate(graph.names)}
    lane = int(graph.owner[point])
    first = point - int(np.searchsorted(graph.owner, lane))
    rows = [graph.dense[lane][first:]]
    length = float(rows[0][-1, 6] - rows[0][0, 6])
    while length < WAY:
        after = [number[one] for one in graph.road_map.lanes[graph.names[lane]].successors if one in number]
        if not after:
            break
        lane = after[int(generator.integers(len(after)))]
        rows.append(graph.dense[lane][1:])
        length += float(graph.dense[lane][-1, 6])
    whole = np.concatenate(rows)
    if len(whole) < 2:
        whole = graph.dense[lane][-2:]
    kept = np.concatenate([[True], np.hypot(*np.diff(whole[:, :2], axis=0).T) > 1e-3])
    return whole[kept, :3], whole[kept, 3]


def _lights(road_map: RoadMap, steps: int) -> dict[str, np.ndarray]:
    """What the lights show, by their programs: the map's own, or made ones."""
    seconds = DT * np.arange(steps)
    found = {}
    for name, program in signal_phases.programs(road_map).items():
        ends = np.cumsum([phase.seconds for phase in program.phases])
        colours = np.array([LIGHT_STATES.index(phase.colour) for phase in program.phases], np.int8)
        place = np.searchsorted(ends, np.remainder(seconds + program.offset, ends[-1]), side="right")
        found[name] = colours[place % len(colours)]
    return found


class _Route:
    """Follows one route that is driven, and takes down what goes wrong."""

    def __init__(self, matched: Matched, road_map: RoadMap) -> None:
        self.matched, self.road_map = matched, road_map
        self.progress = carla.Progress(matched, DT)
        self.counts = dict.fromkeys(carla.PENALTIES, 0)
        self.metres = self.outside = 0.0
        self.place: np.ndarray | None = None

    def add(self, place: np.ndarray, speed: float, outside: bool) -> None:
        """A step: where the car is now, and whether it is off the road or on a lane of the other direction."""
        if self.progress.status != "running":
            return
        way = 0.0 if self.place is None else float(math.dist(place, self.place))
        self.metres += way
        self.outside += way if outside else 0.0
        self.place = place
        self.progress.add(place, speed)

    def happened(self, kind: str) -> None:
        """An infraction."""
        if self.progress.status == "running":
            self.counts[kind] += 1

    def score(self, leaderboard: int) -> carla.RouteScore:
        """What it came to."""
        share = self.outside / self.metres if self.metres > 0.0 else 0.0
        infractions = carla.Infractions(**self.counts, outside=share)
        return carla.route_score(
            self.matched.route.id, self.progress.completion, infractions, self.progress.status, self.metres / 1000.0,
            leaderboard=leaderboard,
        )  # fmt: skip


def named(routes: Sequence[tuple[Path, carla.Route]]) -> list[carla.Route]:
    """The routes of some files; where two have the same town and id, with the name of the file before the id."""
    count = Counter((route.town, route.id) for _, route in routes)
    return [
        route if count[route.town, route.id] == 1 else route._replace(id=f"{path.stem} {route.id}") for path, route in routes
    ]


def run(request: Request, policy: str, advance: Advance) -> Outcome:
    """Drive all routes of the files; a row each, and the clips of the worst."""
    began = time.monotonic()
    routes = named([(path, route) for path in route_files(request.data) for route in carla.read_routes(path)])[
        : request.limit
    ]
    maps = towns_of(request.maps, [route.town for route in routes])
    graphs = {name: carla.lane_graph(road_map) for name, road_map in maps.items()}
    left, matched = [], []
    for route in routes:
        try:
            matched.append(carla.match(route, graphs[route.town]))
        except MapError as error:
            left.append({"scene": f"{route.town} route {route.id}", "reason": str(error)})
    if not matched:
        raise ValueError(f"none of {len(routes)} routes lies on its town: {left[0]['reason']}")
    rows: list[dict[str, Any]] = []
    scores: list[carla.RouteScore] = []
    kept: dict[str, tuple[Clip, bundles.Scene]] = {}
    config: dict[str, Any] = {}
    done = 0
    size = min(WORLDS, request.worlds)
    in_towns = ([one for one in matched if one.route.town == town] for town in graphs)
    groups = [mine[first : first + size] for mine in in_towns for first in range(0, len(mine), size)]
    with interruptible() as interrupted:
        for some in groups:

            def part(share: float, some: int = len(some), done: int = done) -> None:
                advance((done + share * some) / len(matched))

            found, config = _drive(request, policy, some, graphs[some[0].route.town], kept, part)
            done += len(some)
            for one, score in zip(some, found, strict=True):
                scores.append(score)
                rows.append(_row(one, score))
            scene_suites.keep_worst(kept, {row["scene"]: row["badness"] for row in rows}, request.keep)
            if interrupted.is_set():
                break
    if done < len(matched):
        left.append({"scene": "all others", "reason": f"interrupted: {len(matched) - done} routes are not scored"})
    order = sorted(kept, key=lambda name: -next(row["badness"] for row in rows if row["scene"] == name))
    if request.keep > 0:
        about = {
            "suite": request.suite, "policy": policy, "seed": request.seed, "control": "ego", "others": "idm",
            "drivers": drivers.seat(policy), "start_step": 0, "action": drivers.action_of(policy),
        }  # fmt: skip
        bundles.write_scenes(request.out / "failures", [kept[name][1] for name in order], about)
    if policy == request.policy:  # for tools that read the leaderboard's own files
        write_text(request.out / "leaderboard.json", json.dumps(carla.records(scores), indent=1) + "\n")
    shown = [(name, kept[name][0]) for name in order]
    seconds = time.monotonic() - began
    return Outcome(figures(scores), rows, left, config, [request.seed], seconds, shown, done < len(matched))


def _row(matched: Matched, score: carla.RouteScore) -> dict[str, Any]:
    counted = {name: getattr(score.infractions, name) for name in COUNTED}
    return {
        "scene": scene_name(matched), "type": matched.route.town, "driving_score": score.score,
        "route_completion": 100.0 * score.completion, "penalty": score.penalty, "status": score.status, "km": score.km,
        "length": matched.length, **counted, "outside": score.infractions.outside, "badness": 100.0 - score.score,
    }  # fmt: skip


def figures(scores: Sequence[carla.RouteScore]) -> dict[str, Estimate]:
    """Means over routes, and infractions per km."""
    whole = carla.score(scores)
    km = math.fsum(one.km for one in scores)

    def over(values: list[float], value: float) -> Estimate:
        return Estimate(value, *bootstrap(np.array(values)), len(values))

    found = {
        "driving_score": over([one.score for one in scores], whole.driving_score),
        "route_completion": over([100.0 * one.completion for one in scores], whole.route_completion),
        "penalty": over([one.penalty for one in scores], whole.penalty),
        "success": proportion(round(whole.success * len(scores)), len(scores)),
    }
    for name in COUNTED:
        found[f"{name}_per_km"] = rate(sum(getattr(one.infractions, name) for one in scores), km)
    for status in carla.ENDS[1:4]:
        found[f"{status}_per_km"] = rate(sum(one.status == status for one in scores), km)
    return found | {"km": Estimate(km, km, km, len(scores))}


def _drive(
    request: Request,
    policy: str,
    routes: Sequence[Matched],
    graph: LaneGraph,
    kept: dict[str, tuple[Clip, bundles.Scene]],
    advance: Advance,
) -> tuple[list[carla.RouteScore], dict[str, Any]]:
    """Drive some routes of one town side by side."""
    scenes = [(graph.road_map, scenario_of(one, graph, request.seed)) for one in routes]
    every = scene_suites.decisions(policy, DT)
    env: Any = gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0", scenes=scenes, control="ego", others="idm", drivers=drivers.seat(policy), start_step=0,
        decision_every=every, config=scene_suites.config_of(policy, "idm"), threads=request.threads, backend=request.backend,
        action=drivers.action_of(policy), autoreset_mode="NextStep", copy=False, events=True, worlds=len(scenes),
    )  # fmt: skip
    inner: Any = env.unwrapped
    act = drivers.acting(policy, env, request.seed, greedy=request.greedy)
    obs, _ = env.reset(seed=request.seed)
    inner.take_events()
    about = [scene_suites.about(inner, w, every) for w in range(len(routes))]
    simulator = inner.simulator
    follow = [_Route(one, graph.road_map) for one in routes]
    last = round(CLIP_SECONDS / DT)
    recorders = [Recorder(simulator, w, last=last) for w in range(len(routes))] if request.keep > 0 else []
    steps = max(scenario.steps for _, scenario in scenes) - 1
    config = dataclasses.asdict(inner.config)
    action, actions = None, []
    ended: dict[int, int] = {}
    for step in range(steps):
        if action is None or step % every == 0:
            action = act(obs).copy()
        actions.append(action)
        obs, _, _, _, info = env.step(action)
        for event in inner.take_events():
            _note(event, follow, simulator)
        state = simulator.state
        for w, one in enumerate(follow):
            origin = simulator.roads.origins[w]
            place = np.array(
                [
                    float(simulator.host(state.pose.x)[w, 0]) + origin[0],
                    float(simulator.host(state.pose.y)[w, 0]) + origin[1],
                ]
            )
            against = float(simulator.host(state.lane_position.cos)[w, 0]) < AGAINST
            one.add(place, float(simulator.host(state.motion.speed)[w, 0]), bool(info["offroad"][w]) or against)
            if w not in ended:
                if recorders:
                    recorders[w].add()
                if one.progress.status != "running":
                    ended[w] = step + 1
        advance((step + 1) / steps)
        if all(one.progress.status != "running" for one in follow):
            break
    for w, recorder in enumerate(recorders):
        name, end = scene_name(routes[w]), follow[w].place
        assert end is not None, "there was a step at least"
        mine = np.stack(actions[: ended.get(w, len(actions))])[:, inner.world_of_row == w]
        road_map, scenario = scenes[w]
        kept[name] = (
            recorder.clip(f"{name}: {follow[w].progress.status}", focus=0),
            bundles.Scene(name, scenario, road_map, mine, (float(end[0]), float(end[1])), about[w]),
        )
    env.close()
    return [one.score(1) for one in follow], config


def _note(event: Any, follow: Sequence[_Route], simulator: Any) -> None:
    """An entry of the event log, if it is about the car of a route."""
    seats = simulator.agents
    row, other = int(event["row"]), int(event["other"])
    world = int(event["world"])
    mine = world * seats in (row, other)
    if not mine or world >= len(follow):
        return
    one = follow[world]
    if event["kind"] == COLLISION:
        met = other if row == world * seats else row
        kind = int(simulator.host(simulator.state.body.kind)[world, met % seats]) if met >= 0 else -1
        one.happened("pedestrian" if kind >= 0 and list(ROAD_USERS)[kind] == "pedestrian" else "vehicle")
    elif event["kind"] == RED_LIGHT:
        one.happened("red_light" if _at_light(one.road_map, np.array([event["x"], event["y"]])) else "stop_sign")


def _at_light(road_map: RoadMap, place: np.ndarray) -> bool:
    """Whether the nearest stop line is that of a light."""
    best, kind = math.inf, "light"
    for lane in road_map.lanes.values():
        if lane.signal is not None and road_map.signals[lane.signal].kind in ("light", "stop"):
            apart = math.dist(place, lane.line[0, :2])
            if apart < best:
                best, kind = apart, road_map.signals[lane.signal].kind
    return kind == "light"
