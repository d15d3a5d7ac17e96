"""Own scenes, made without anybody's data: a part of a random town in which rule-based drivers are recorded.

What they lack against recorded traffic is said, not hidden: nobody walks, everybody keeps to his lane, and a driver may
appear in the middle of a street. They serve tests, examples and measurements of speed; a benchmark needs people's driving.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env import bounds
from gigaflow_env.config import Config
from gigaflow_env.layout import NO_JERK
from gigaflow_env.population import ROAD_USERS
from gigaflow_env.roads import MapError, RoadMap, Scenario, cut, load_scenario
from gigaflow_env.roads.formats.scene_npz import SUFFIX, save
from gigaflow_env.roads.road_map import X, Y
from gigaflow_env.roads.scenario import masked, validate_scenario
from gigaflow_env.roads.towns import random_town
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import LIVE

STEPS, DT = 91, 0.1
"""Moments and [s] between them: those of the Waymo Open Motion Dataset, 1 s of past and 8 s of future."""
RADIUS = 150.0
"""[m] Of the part of the town around a junction. Ours: as far as cars are recorded."""
AGENTS = 24
"""Drivers on the road at once. Ours: on some 2 lane-km that is lively traffic which flows."""
WARM_UP = 60
"""Steps before recording begins: whoever began standing drives by then. Ours."""
PREDICT = 8
"""At most so many agents are to be predicted: the number of the Waymo Open Motion Dataset."""
MOVED = 5.0
"""[m] Who moves by less is not worth predicting. Ours."""
MIDDLE = 0.75
"""[m] From the road to the middle of a box, half of a usual car's height: the simulator has no heights."""
POPULATION = {"car": 0.85, "truck": 0.1, "cyclist": 0.05}
KINDS = {"any": "vehicle", "car": "vehicle", "truck": "vehicle", "cyclist": "cyclist", "pedestrian": "pedestrian"}
"""Kind of a Scenario's agent for each of population.ROAD_USERS."""

_SIZES = bounds.Bounds(1, 100_000)
_SEEDS = bounds.Bounds(0, 2**32 - 1)


class _Moment(NamedTuple):
    """What is kept of each step, by row."""

    live: np.ndarray
    episode: np.ndarray
    kind: np.ndarray
    track: np.ndarray  # (8, rows)
    lights: np.ndarray  # (lights,)


def generate(
    seed: int, *, steps: int = STEPS, dt: float = DT, agents: int = AGENTS, radius: float = RADIUS
) -> tuple[RoadMap, Scenario]:
    """The scene of a seed: the same whenever it is made.

    The town is `random:SEED`, cut around one of its junctions. agents: drivers on the road at once, fewer where the map has
    no room; who finishes is followed by another one. Raises ValueError for numbers out of range.
    """
    seed = bounds.whole("seed", seed, _SEEDS)
    steps = bounds.whole("steps", steps, _SIZES, "steps")
    road_map = _part(seed, bounds.real("radius", radius, bounds.Bounds(50, 10_000), "m"))
    simulator = _simulator(road_map, bounds.whole("agents", agents, bounds.Bounds(1, 256), "agents"), dt, steps)
    simulator.reset(np.array([seed, 1], np.uint32))
    still = np.full(simulator.rows, NO_JERK, np.int32)  # nobody reads it: rules drive
    moments = []
    for step in range(WARM_UP + steps):
        if step >= WARM_UP:
            moments.append(_moment(simulator))
        simulator.step(still)
    lights = sorted(signal.id for signal in road_map.signals.values() if signal.kind == "light")
    simulator.close()
    source = source_of(seed, steps=steps, dt=dt, agents=agents, radius=radius)
    scenario = _scenario(f"generated-{seed}", moments, lights, simulator.config.dt, source)
    validate_scenario(scenario)
    return road_map, scenario


def source_of(seed: int, *, steps: int = STEPS, dt: float = DT, agents: int = AGENTS, radius: float = RADIUS) -> str:
    """What `Scenario.source` says of a scene that was made with these arguments."""
    return f"rule-based drivers on random:{seed} (steps {steps}, dt {dt:g} s, agents {agents}, radius {radius:g} m)"


def write(folder: Path, count: int, seed: int = 0, **sizes: Any) -> Iterator[Path]:
    """Write scenes of `count` seeds from `seed` on, one after the other, and give the path of each; see `generate`.

    A scene that is there already is kept, so that an interrupted call goes on where it stopped. Raises ValueError where one
    that is there was made with other sizes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(seed, seed + count):
        path = folder / f"generated-{number}{SUFFIX}"
        if path.exists():
            kept, wanted = load_scenario(path).source, source_of(number, **sizes)
            if kept != wanted:
                raise ValueError(f"{path} is of {kept}, and {wanted} are asked for: choose another folder")
        else:
            road_map, scenario = generate(number, **sizes)
            save(scenario, road_map, path)
        yield path


def _part(seed: int, radius: float) -> RoadMap:
    """The part of the seed's town around a junction, one with lights if it has any."""
    town = random_town.town(seed).town
    lit = {lane.junction for lane in town.lanes.values() if lane.signal and town.signals[lane.signal].kind == "light"}
    every = {lane.junction for lane in town.lanes.values()}
    junctions = sorted(name for name in lit or every if name is not None)
    if not junctions:
        raise MapError(f"random:{seed} has no junction")
    chosen = junctions[seed % len(junctions)]
    starts = np.array([lane.line[0, [X, Y]] for lane in town.lanes.values() if lane.junction == chosen])
    x, y = starts.mean(axis=0).tolist()
    return cut(town, (x, y), radius)


def _simulator(road_map: RoadMap, agents: int, dt: float, steps: int) -> Simulator:
    config = Config(
        dt=dt, agents_per_world=agents, population=POPULATION, lights="program", first_goal="near",
        goal_distance=(30.0, 200.0), max_steps=10 * (WARM_UP + steps), world_steps=10 * (WARM_UP + steps), world_stagger=0.0,
        on_route_done="respawn",
        lane_count=1, boundary_count=1, agent_count=8, spawn_speed=15.0,
    )  # fmt: skip
    while True:
        try:
            return Simulator(road_map, agents, config, threads=1, drivers="idm")
        except ValueError as error:  # a small part has no room for so many
            if agents == 1 or "do not fit map" not in str(error):
                raise
            agents = max(agents // 2, 1)
            config = config.replace(agents_per_world=agents)


def _moment(simulator: Simulator) -> _Moment:
    state = simulator.state
    speed, cos, sin = state.motion.speed[0], state.pose.cos[0], state.pose.sin[0]
    origin = simulator.roads.origins[0]
    track = [
        state.pose.x[0] + origin[0], state.pose.y[0] + origin[1], state.pose.z[0] + origin[2] + MIDDLE,
        [math.atan2(s, c) for s, c in zip(sin.tolist(), cos.tolist(), strict=True)],
        speed * cos, speed * sin, state.body.length[0], state.body.width[0],
    ]  # fmt: skip
    return _Moment(
        state.rows.status[0] == LIVE,
        state.rows.episode[0].copy(),
        state.body.kind[0].copy(),
        np.array(track, np.float64),
        state.lights.colour[0].copy(),
    )


def _scenario(name: str, moments: list[_Moment], lights: list[str], dt: float, source: str) -> Scenario:
    """A driver is an agent from its start to its end: a row has one after the other."""
    steps = len(moments)
    live = np.array([moment.live for moment in moments])  # (steps, rows)
    episode = np.array([moment.episode for moment in moments])
    track = np.array([moment.track for moment in moments])  # (steps, 8, rows)
    ids, kinds, valid, tracks = [], [], [], []
    users = list(ROAD_USERS)
    for row in range(live.shape[1]):
        for number in np.unique(episode[live[:, row], row]).tolist():
            seen = live[:, row] & (episode[:, row] == number)
            ids.append(f"{row}.{number}")
            kinds.append(KINDS[users[int(moments[int(seen.argmax())].kind[row])]])
            valid.append(seen)
            tracks.append(track[:, :, row])
    shown = np.array(valid).reshape(len(ids), steps)
    if not shown.any():
        raise MapError(f"{name}: no driver found a place on its map")
    x, y, z, heading, velocity_x, velocity_y, length, width = (
        masked(given, shown) for given in np.array(tracks).transpose(2, 0, 1)
    )
    ego, predict = _roles(shown, x, y, kinds)
    colours = {light: np.array([moment.lights[k] for moment in moments], np.int8) for k, light in enumerate(lights)}
    return Scenario(name, dt, tuple(ids), tuple(kinds), shown, x, y, z, heading, velocity_x, velocity_y, length, width,
                    colours, ego, predict, source)  # fmt: skip


def _roles(valid: np.ndarray, x: np.ndarray, y: np.ndarray, kinds: list[str]) -> tuple[int, tuple[int, ...]]:
    """The recording car, the one that is seen longest and then goes farthest; and those who are seen all along and move."""
    moved = np.zeros(len(valid))
    for agent, seen in enumerate(valid):
        at = np.flatnonzero(seen)
        moved[agent] = math.hypot(x[agent, at[-1]] - x[agent, at[0]], y[agent, at[-1]] - y[agent, at[0]])
    order = sorted(range(len(valid)), key=lambda k: (kinds[k] != "vehicle", -valid[k].sum(), -moved[k], k))
    ego = order[0]
    others = [k for k in sorted(range(len(valid)), key=lambda k: (-moved[k], k)) if valid[k].all() and moved[k] >= MOVED]
    return ego, tuple(sorted({ego, *[k for k in others if k != ego][: PREDICT - 1]}))
