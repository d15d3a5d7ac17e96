"""A checkpoint as a planner for the simulators of others: what is there now goes in, how the car would drive comes out.

The world as it is becomes a recorded scene of a few seconds, in which everybody else goes on as he moves and lights stay as
they are; the policy drives through it in our simulator, and sees what it saw in training. One decision takes a few
milliseconds, so that a planner may be asked ten times a second.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env import CONDITIONING, driver
from gigaflow_env.bounds import Bounds, real
from gigaflow_env.conditioning import override, ranges_of
from gigaflow_env.config import OLDEST_WORLD
from gigaflow_env.env import SCENE_CONFIG
from gigaflow_env.layout import GOALS, Layout
from gigaflow_env.roads import RoadMap, Scenario
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.road_map import HEADING
from gigaflow_env.roads.scenario import LIGHT_STATES
from gigaflow_env.scenes.cast import Casting, Shape, cast
from gigaflow_env.scenes.compiled import CompiledScene
from gigaflow_env.scenes.page import Part, make_page
from gigaflow_env.scenes.sources import Source
from gigaflow_env.simulator import Simulator, compiler_options
from gigaflow_env.tracks import Page
from gigaflow_train.evaluate.carla import LaneGraph, Route, candidates, match
from gigaflow_train.evaluate.polylines import arc_length, project

CAREFUL = {"collision": 3.0, "offroad": 3.0, "stop_line": 1.0, "comfort": 0.1, "velocity_align": 1.0}
"""Reward coefficients that a pilot drives by: the most careful ones of the training's ranges. Ours."""
LOOK = 200.0
"""[m] Of the way ahead on which goals lie. The paper's goals are at most so far apart."""
GOAL_EVERY = 50.0
"""[m] Between way-points: within the training's range. Ours."""
DT = 0.1
"""[s] Between the moments of a plan: nuPlan's and Waymo's."""
AT_LEAST = 8.0
"""[s] Of the scene that is made of a moment."""
BRAKE = 2.0
"""[m/s^2] Of a car that has reached the end of its way. Ours: comfortable."""
AGENTS = 64
"""The car and the nearest others: as many as a world of the training has."""


class Body(NamedTuple):
    """A road user as it is now. Positions are those of the map, of the middle of the box."""

    id: str
    kind: str  # one of scenario.AGENT_KINDS
    x: float  # [m]
    y: float  # [m]
    heading: float  # [rad] counter-clockwise from x
    velocity_x: float  # [m/s]
    velocity_y: float  # [m/s]
    length: float  # [m]
    width: float  # [m]
    z: float = 0.0  # [m]


class Moment(NamedTuple):
    """The world as it is now."""

    ego: Body
    others: Sequence[Body]
    way: np.ndarray  # (points, 2 or more) x, y [m]: where the car shall drive, through where it is now
    lights: Mapping[str, str] = {}  # id of a signal of the map -> one of LIGHT_STATES; others are not seen
    acceleration: float = 0.0  # [m/s^2] of the car, along its heading
    yaw_rate: float = 0.0  # [rad/s] of the car


class Plan(NamedTuple):
    """How the car would drive: arrays (moments,), the first is now."""

    time: np.ndarray  # [s] from now
    x: np.ndarray  # [m] middle of the box
    y: np.ndarray  # [m]
    heading: np.ndarray  # [rad]
    speed: np.ndarray  # [m/s]
    acceleration: np.ndarray  # [m/s^2]
    steer: np.ndarray  # [rad] left positive


class Pilot:
    """A policy at the wheel of a car in somebody else's world.

    policy: a checkpoint, or "pretrained". conditioning: reward coefficients over those of CAREFUL; all others are in the
    middle of the training's range. Raises CheckpointError for what is no checkpoint or has to be run by torch, ValueError
    where it decides at times that are no multiple of `dt`.
    """

    def __init__(
        self,
        road_map: RoadMap,
        policy: str = driver.PRETRAINED,
        *,
        dt: float = DT,
        agents: int = AGENTS,
        conditioning: Mapping[str, Any] | None = None,
    ) -> None:
        trained = driver.config_of(policy)
        self.dt = real("dt", dt, Bounds(0.01, 1.0), "s")
        every = round(trained.dt / dt)
        if every < 1 or abs(every * dt - trained.dt) > 1e-6:
            raise ValueError(f"dt={dt}: {policy} decides every {trained.dt} s, which must be a multiple of it")
        most = min(10**6, int(OLDEST_WORLD / dt))
        own = {"dt": dt, "world_steps": most, "max_steps": most, "on_crash": "continue", "agents_per_world": agents}
        self.config = trained.replace(**{**SCENE_CONFIG, **own})
        self.road_map = road_map
        self.driver = driver.load(policy, Layout(self.config), self.config, other_scales=True)
        self._roads = compile_roads(road_map, cache=True, **compiler_options(self.config))
        self._lights = tuple(sorted(signal.id for signal in road_map.signals.values() if signal.kind == "light"))
        self._shape = Shape(1, agents, GOALS, max(len(self._lights), 1))
        self._every = every
        # Nothing is left to chance, or the same moment would have another plan the next time.
        middle = {name: sum(getattr(trained, name)) / 2 for name in CONDITIONING}
        self._chosen = ranges_of({**middle, **CAREFUL, **(conditioning or {})}, 1)
        self._simulator: Simulator | None = None

    def plan(self, now: Moment, seconds: float) -> Plan:
        """How the policy would drive for some time from now on, if the others went on as they move.

        Raises ValueError for a way of less than two points, and for numbers that are not finite.
        """
        steps = max(1, math.ceil(seconds / self.dt - 1e-9))
        # A short plan has the goals of a long one.
        simulator = self._begun(self._page(scene_of(now, max(steps, math.ceil(AT_LEAST / self.dt)), self.dt)))
        rows = np.zeros(1, np.int64)
        found = [self._state(simulator)]
        while len(found) <= steps:
            simulator.step(self.driver.act(simulator, rows, simulator.observations[0, :1], greedy=True).astype(np.int32))
            found.append(self._state(simulator))
            if simulator.state.events.route_done[0, 0]:  # the simulator would send it elsewhere
                found += _stopping(found[-1], self.dt, steps + 1 - len(found))
        x, y, heading, speed, acceleration, steer = np.array(found).T
        return Plan(np.arange(steps + 1) * self.dt, x, y, np.unwrap(heading), speed, acceleration, steer)

    def close(self) -> None:
        """Stop the simulator's threads."""
        if self._simulator is not None:
            self._simulator.close()

    def _page(self, scenario: Scenario) -> Page:
        scene = CompiledScene(scenario, self._roads, None, self._lights, "now")  # type: ignore[arg-type]  # no rules drive
        made = cast(scene, Casting(start_step=1, way_every=GOAL_EVERY), self.config, self._shape)
        return make_page([Part(0, Source(None, None, (self.road_map, scenario)), scene, made)], 1, self._shape)

    def _begun(self, page: Page) -> Simulator:
        """The simulator at the first moment of a page."""
        if self._simulator is None:
            self._simulator = Simulator(page, 1, self.config, threads=1, seats=1, decision_every=self._every)
            override(self._simulator, self._chosen)
            self._simulator.reset(np.zeros(2, np.uint32))
        else:
            self._simulator.turn(page, anew=True)
        return self._simulator

    def _state(self, simulator: Simulator) -> tuple[float, ...]:
        pose, motion, origin = simulator.state.pose, simulator.state.motion, simulator.roads.origins[0]
        return (
            float(pose.x[0, 0]) + origin[0],
            float(pose.y[0, 0]) + origin[1],
            math.atan2(float(pose.sin[0, 0]), float(pose.cos[0, 0])),
            float(motion.speed[0, 0]),
            float(motion.acceleration[0, 0]),
            float(motion.steer[0, 0]),
        )


def _stopping(state: tuple[float, ...], dt: float, steps: int) -> list[tuple[float, ...]]:
    """The states after one from which a car brakes to a stop, straight on."""
    x, y, heading, speed, _, steer = state
    found: list[tuple[float, ...]] = []
    for step in range(1, steps + 1):
        time = min(step * dt, abs(speed) / BRAKE)
        way = math.copysign(abs(speed) * time - 0.5 * BRAKE * time * time, speed)
        now = math.copysign(abs(speed) - BRAKE * time, speed)
        place = x + way * math.cos(heading), y + way * math.sin(heading)
        found.append((*place, heading, now, -math.copysign(BRAKE, speed) if step * dt <= abs(speed) / BRAKE else 0.0, steer))
    return found


def scene_of(now: Moment, steps: int, dt: float) -> Scenario:
    """The world as a recorded scene: the moment before now, now, and `steps` more, in which everybody goes on as he moves.

    The car's own track lies on its way, as far as LOOK: its goals are taken from there. Raises ValueError, see Pilot.plan.
    """
    bodies = [now.ego, *now.others]
    numbers = np.array([body[2:] for body in bodies], np.float64)
    if not np.isfinite(numbers).all():
        agent = int(np.argwhere(~np.isfinite(numbers))[0, 0])
        raise ValueError(f"{bodies[agent].id!r} has a number that is not finite: {bodies[agent]}")
    x, y, heading, velocity_x, velocity_y, length, width, z = (column[:, None] for column in numbers.T)
    time = dt * (np.arange(steps + 2) - 1)
    zero = np.zeros((len(bodies), len(time)))
    tracks = {
        "x": x + velocity_x * time, "y": y + velocity_y * time, "z": z + zero, "heading": heading + zero,
        "velocity_x": velocity_x + zero, "velocity_y": velocity_y + zero, "length": length + zero, "width": width + zero,
    }  # fmt: skip
    line = np.asarray(now.way, np.float64)
    if line.ndim != 2 or len(line) < 2 or line.shape[1] < 2 or not np.isfinite(line).all():
        raise ValueError(f"the way is {line.shape}: it must be finite (points, 2), two points at least")
    arcs = arc_length(line)
    here = float(project(np.array([[now.ego.x, now.ego.y]]), line)[0][0])
    ahead = here + min(float(arcs[-1]) - here, LOOK) * np.arange(1, steps + 1) / steps
    for axis, name in enumerate("xy"):
        tracks[name][0, 2:] = np.interp(ahead, arcs, line[:, axis])
    cos, sin = np.gradient(np.interp(ahead, arcs, line[:, 0])), np.gradient(np.interp(ahead, arcs, line[:, 1]))
    tracks["heading"][0, 2:] = np.arctan2(sin, cos)
    # The step before tells how it accelerates and turns; whether it still moves at the end, that it need not stop there.
    forward = math.hypot(now.ego.velocity_x, now.ego.velocity_y) - now.acceleration * dt
    before = now.ego.heading - now.yaw_rate * dt
    tracks["heading"][0, 0] = before
    tracks["velocity_x"][0, 0], tracks["velocity_y"][0, 0] = forward * math.cos(before), forward * math.sin(before)
    onward = 10.0 if float(arcs[-1]) - here > LOOK else 0.0
    tracks["velocity_x"][0, -1] = onward * math.cos(tracks["heading"][0, -1])
    tracks["velocity_y"][0, -1] = onward * math.sin(tracks["heading"][0, -1])
    lights = {name: np.full(len(time), LIGHT_STATES.index(state), np.int8) for name, state in now.lights.items()}
    valid = np.ones(zero.shape, bool)
    return Scenario("now", dt, tuple(body.id for body in bodies), tuple(body.kind for body in bodies), valid, **tracks,
                    lights=lights, ego=0, predict=(0,))  # fmt: skip


def way_to(graph: LaneGraph, ego: Body, goal: Sequence[float] | None) -> np.ndarray:
    """A way (points, 2) from a car along the lanes to a place x, y [m]; None: straight on, as far as LOOK.

    Raises MapError that says how far from a lane the place lies, or that no way leads there.
    """
    start = np.array([ego.x, ego.y, ego.z])
    if goal is not None:
        points = np.array([start, [goal[0], goal[1], ego.z]])
        return match(Route("the way of the car", "", points, ()), graph).line[:, :2]
    number = {name: k for k, name in enumerate(graph.names)}

    def against(lane: int, along: float) -> bool:
        rows = graph.dense[lane]
        return math.cos(float(np.interp(along, rows[:, 6], rows[:, HEADING])) - ego.heading) < 0.5

    lane, along, _ = min(candidates(graph, start), key=lambda one: (against(one[0], one[1]), one[2]))
    parts, length = [graph.dense[lane][graph.dense[lane][:, 6] >= along, :2]], 0.0
    seen = {lane}
    while length < LOOK:
        after = [number[name] for name in graph.road_map.lanes[graph.names[lane]].successors if name in number]
        after = [one for one in after if one not in seen]
        if not after:
            break
        heading = float(graph.dense[lane][-1, HEADING])
        lane = min(after, key=lambda one: abs(math.remainder(_direction(graph.dense[one]) - heading, 2 * math.pi)))
        seen.add(lane)
        parts.append(graph.dense[lane][1:, :2])
        length += float(graph.dense[lane][-1, 6])
    return np.concatenate([start[None, :2], *parts])


def _direction(line: np.ndarray) -> float:
    """Heading [rad] from the start of a line to its end."""
    ahead = line[-1] - line[0]
    return math.atan2(float(ahead[1]), float(ahead[0]))
