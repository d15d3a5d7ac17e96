"""Who is in a scene, and what each does: a Scenario becomes the rows of a world.

The first rows are those that are controlled, the ego before all others. Behind them come the others, nearest to the ego
first: where a world has too few rows, the farthest are left out, and counted.
"""

import math
from typing import NamedTuple

import numpy as np

from gigaflow_env import bounds
from gigaflow_env.config import Config
from gigaflow_env.jit import f32, kernel
from gigaflow_env.population import ROAD_USERS
from gigaflow_env.roads.compiled.tables import CELL, Roads
from gigaflow_env.roads.levels import LEVEL_GAP
from gigaflow_env.roads.scenario import Scenario
from gigaflow_env.scenes.compiled import CompiledScene
from gigaflow_env.sim.geometry import HALF
from gigaflow_env.sim.lanes import along_quad, in_quad, misfit
from gigaflow_env.state import GREEN, IDM, OFF, POLICY, RED, REPLAY, YELLOW

CONTROLS, OTHERS = ("ego", "predict", "all"), ("replay", "idm", "policy")
DRIVERS = {"policy": POLICY, "idm": IDM, "replay": REPLAY}

IDM_NUPLAN = {"idm_acceleration": 1.0, "idm_deceleration": 2.0, "idm_headway": 1.5, "idm_gap": 1.0}
"""Numbers of nuPlan's reactive agents (A). Their v0 is the limit of the lane; 10 m/s hold there where a lane has none, and
here every lane has one. Source: motional/nuplan-devkit, planning/simulation/observation/idm/idm_agent.py, `propagate`."""
IDM_WAY = 2.0
"""[m] A vehicle that is never recorded so far from its start stands as recorded: it may be parked. Ours."""
IDM_ONWARD, ONWARD = 200.0, 50.0
"""[m] So far beyond the recorded end lies the last goal of rule-based drivers, and of who still moves there. Ours."""
IDM_EVERY = 20.0
"""[m] Between way-points of rule-based others, at most: they shall turn and change lanes where it was recorded. Ours."""
TRUCK = 5.5
"""[m] A vehicle at least so long counts as a truck, as in population.py."""
TOP_MARGIN = 1.1
"""A controlled agent can go faster than it was recorded by this factor, at least. Ours."""

_COLOURS = np.array([OFF, GREEN, YELLOW, RED, OFF], np.int8)  # of LIGHT_STATES; nobody saw it: it shows nothing
_KINDS = {"pedestrian": "pedestrian", "cyclist": "cyclist", "other": "any"}
_NUMBERS = {kind: number for number, kind in enumerate(ROAD_USERS)}


class SceneError(ValueError):
    """A scene that can't be driven as asked; the message says why, and what would be possible."""


class Casting(NamedTuple):
    """How scenes become worlds."""

    control: str = "ego"  # who is controlled, one of CONTROLS
    others: str = "replay"  # who drives all others, one of OTHERS
    driver: str = "policy"  # who drives those that are controlled, one of DRIVERS
    start_step: int = 0  # moment of the record at which the scene starts
    steps: int | None = None  # how long it is at most; None: to the end of the record
    way_every: float = 100.0  # [m] from way-point to way-point


class Shape(NamedTuple):
    """Sizes that all scenes of an environment share."""

    seats: int  # rows for controlled agents
    agents: int  # rows of a world
    goals: int
    lights: int


class Cast(NamedTuple):
    """One scene's rows, as in `tracks.Tracks` without its first axis; time before agents."""

    steps: int
    asked: int  # how many of the controlled agents `control` asked for; the others drive since others="policy"
    controlled: np.ndarray  # numbers of the Scenario's agents, a row each
    others: np.ndarray  # likewise
    uncontrolled: int  # agents that `control` asked for and for which there was no row: they follow their tracks
    left_out: int  # agents for which there was no place
    rows: dict[str, np.ndarray]  # name in Tracks -> (agents, ...), controlled ones first
    moments: dict[str, np.ndarray]  # name in Tracks -> (moments, agents)
    light: np.ndarray  # (moments, lights)


def check_casting(casting: Casting) -> Casting:
    """Raises ValueError that names the argument which is out of range."""
    bounds.choice("control", casting.control, CONTROLS)
    bounds.choice("others", casting.others, OTHERS)
    bounds.choice("drivers", casting.driver, tuple(DRIVERS))
    steps = bounds.Bounds(0, 10**6)
    start = bounds.whole("start_step", casting.start_step, steps, "steps")
    most = casting.steps
    if most is not None:
        most = bounds.whole("scene_steps", most, bounds.Bounds(1, 10**6), "steps", instead=", or None")
    every = bounds.real("way_every", casting.way_every, bounds.Bounds(1, 10_000), "m")
    return casting._replace(start_step=start, steps=most, way_every=every)


def choose(scenario: Scenario, casting: Casting) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the agents that are controlled, and of all others that are seen later on. Raises SceneError."""
    start = casting.start_step
    if start >= scenario.steps - 1:
        raise SceneError(f"start_step={start}: the record has {scenario.steps} steps, and there must be one to go")
    seen = scenario.valid[:, start]
    ego = scenario.ego
    if casting.control == "ego" and ego is None:
        raise SceneError('control="ego": the record names no ego; control="predict" or "all" would be possible')
    chosen = {"ego": (ego,), "predict": scenario.predict, "all": tuple(range(scenario.agents))}[casting.control]
    controlled = np.array([k for k in chosen if k is not None and seen[k]], np.int64)
    if len(controlled) == 0:
        raise SceneError(f'control="{casting.control}": none of the {len(chosen)} agents is seen at step {start}')
    if ego is not None and ego in controlled:
        controlled = np.concatenate([[ego], controlled[controlled != ego]])
    later = np.asarray(scenario.valid[:, start : _end(scenario, casting) + 1].any(axis=1))
    if casting.others == "idm":  # as in nuPlan, vehicles that come later do not come: their place may be taken
        later &= seen | (np.array(scenario.kinds) != "vehicle")
    later[controlled] = False
    others = np.flatnonzero(later)
    middle = controlled[0]
    near = np.hypot(
        np.nan_to_num(scenario.x[others, start], nan=np.inf) - scenario.x[middle, start],
        np.nan_to_num(scenario.y[others, start], nan=np.inf) - scenario.y[middle, start],
    )
    return controlled, others[np.argsort(near, kind="stable")]


def _end(scenario: Scenario, casting: Casting) -> int:
    """Last moment of the record that is played."""
    last = scenario.steps - 1
    return last if casting.steps is None else min(casting.start_step + casting.steps, last)


def cast(scene: CompiledScene, casting: Casting, config: Config, shape: Shape) -> Cast:
    """The rows of a scene. Raises SceneError where it can't be driven as asked."""
    scenario, roads = scene.scenario, scene.roads
    controlled, others = choose(scenario, casting)
    asked = len(controlled)
    if casting.others == "policy":  # who is seen has a row; who comes later follows the record
        now = scenario.valid[others, casting.start_step]
        controlled, others = np.concatenate([controlled, others[now]]), others[~now]
    if len(scene.lights) > shape.lights:
        raise SceneError(f"it has {len(scene.lights)} lights, and worlds have room for {shape.lights}")
    extra, controlled = controlled[shape.seats :], controlled[: shape.seats]
    others = np.concatenate([extra, others])
    room = shape.agents - shape.seats
    left_out, others = max(len(others) - room, 0), others[:room]
    everybody = np.concatenate([controlled, others])
    start, end = casting.start_step, _end(scenario, casting)

    x, y, z, heading, vx, vy, length, width = (
        np.nan_to_num(getattr(scenario, name)[everybody, start : end + 1])
        for name in ("x", "y", "z", "heading", "velocity_x", "velocity_y", "length", "width")
    )
    seen = scenario.valid[everybody, start : end + 1]
    origin = roads.origins[0]
    cos, sin = np.cos(heading), np.sin(heading)
    x, y, z = x - origin[0] * seen, y - origin[1] * seen, z - origin[2] * seen
    speed = vx * cos + vy * sin

    first, now = len(controlled), seen[:, 0]
    section, inside = find_quads(roads, x[:, 0], y[:, 0], z[:, 0], cos[:, 0], sin[:, 0])
    vehicles = np.array([scenario.kinds[k] == "vehicle" for k in everybody])
    on_lane = now & inside & vehicles
    # Records have the height of the middle of a box, the simulator that of the road under it.
    above = np.median(z[on_lane, 0] - roads.network.sections["z"][section[on_lane]]) if on_lane.any() else 0.0
    z = (z - above) * seen

    driver = np.full(len(everybody), REPLAY, np.int8)
    driver[:first] = DRIVERS[casting.driver]
    if casting.others == "idm":
        # Not the length of the way: the record of a parked car trembles, and that adds up to metres.
        far = np.array([_farthest(x[k][seen[k]], y[k][seen[k]]) for k in range(len(everybody))])
        driver[(on_lane & (far >= IDM_WAY)) & (np.arange(len(everybody)) >= first)] = IDM
    ruled = (driver == IDM) & (np.arange(len(everybody)) >= first)

    kinds = [_kind(scenario.kinds[k], float(length[j].max())) for j, k in enumerate(everybody)]
    top = np.array([ROAD_USERS[kind].speed for kind in kinds])
    top = np.maximum(top, TOP_MARGIN * np.abs(speed).max(axis=1) / config.speed_max)

    before = start - 1 if start > 0 else start
    both = scenario.valid[everybody, before] & now
    turn = np.nan_to_num(scenario.heading[everybody, start] - scenario.heading[everybody, before])
    turn = np.arctan2(np.sin(turn), np.cos(turn))
    old_heading = np.nan_to_num(scenario.heading[everybody, before])
    old_speed = np.nan_to_num(scenario.velocity_x[everybody, before]) * np.cos(old_heading) + np.nan_to_num(
        scenario.velocity_y[everybody, before]
    ) * np.sin(old_heading)

    goals = _goals(
        roads, casting, config, shape.goals, np.flatnonzero((np.arange(len(everybody)) < first) | ruled), ruled,
        x, y, z, cos, sin, speed, seen,
    )  # fmt: skip
    rows = {
        "there": np.ones(len(everybody), bool),
        "driver": driver,
        "judged": np.arange(len(everybody)) < first,
        "kind": np.array([_NUMBERS[kind] for kind in kinds], np.int32),
        "top": top,
        "brisk": np.array([ROAD_USERS[kind].acceleration for kind in kinds]),
        "section": section,
        "acceleration": np.where(both, speed[:, 0] - old_speed, 0.0) / scenario.dt,
        "turning": np.where(both, turn, 0.0) / scenario.dt,
        **goals,
    }
    moments = {
        "seen": seen, "x": x, "y": y, "z": z, "cos": cos, "sin": sin, "speed": speed, "length": length, "width": width,
    }  # fmt: skip
    light = np.zeros((end - start + 1, len(scene.lights)), np.int8)
    for k, name in enumerate(scene.lights):
        if name in scenario.lights:
            light[:, k] = _COLOURS[scenario.lights[name][start : end + 1]]
    fit = min(asked, len(controlled))
    return Cast(
        end - start, fit, controlled, others, asked - fit, left_out, rows, {name: a.T for name, a in moments.items()}, light
    )


def _kind(kind: str, length: float) -> str:
    """Name in population.ROAD_USERS of a Scenario's kind."""
    return _KINDS.get(kind, "truck" if length >= TRUCK else "car")


def _farthest(x: np.ndarray, y: np.ndarray) -> float:
    """Distance [m] of the place that is farthest from the first one."""
    return float(np.hypot(x - x[:1], y - y[:1]).max(initial=0.0))


def _goals(
    roads: Roads, casting: Casting, config: Config, most: int, agents: np.ndarray, ruled: np.ndarray,
    x: np.ndarray, y: np.ndarray, z: np.ndarray, cos: np.ndarray, sin: np.ndarray, speed: np.ndarray, seen: np.ndarray,
) -> dict[str, np.ndarray]:  # fmt: skip
    """Way-points on the recorded way of some agents, its end, and where the road goes on for those who still move there.

    The last one is needed since a final goal counts below goal_speed only: without it, who was recorded driving would have
    to stop. With on_route_done="respawn" the recorded way ends the episode, at any speed.
    """
    found: list[tuple[int, int, int]] = []  # agent, number of the goal, moment
    onward: list[tuple[int, int, float]] = []  # agent, number of the goal, metres beyond the recorded end
    counts = np.zeros(len(seen), np.int32)
    for a in agents.tolist():
        moments = np.flatnonzero(seen[a])
        arc = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(x[a, moments]), np.diff(y[a, moments])))])
        goes_on = ruled[a] or (config.on_route_done == "new_route" and abs(speed[a, moments[-1]]) >= config.goal_speed)
        every = min(casting.way_every, IDM_EVERY) if ruled[a] else casting.way_every
        between = min(max(math.ceil(arc[-1] / every) - 1, 0), most - 1 - goes_on)
        marks = np.searchsorted(arc, arc[-1] * np.arange(1, between + 1) / (between + 1))
        ends = [*moments[marks].tolist(), int(moments[-1])]
        found += [(a, k, t) for k, t in enumerate(ends)]
        counts[a] = len(ends)
        if goes_on:
            onward.append((a, len(ends), IDM_ONWARD if ruled[a] else ONWARD))
            counts[a] += 1
    goal_x, goal_y = np.zeros((len(seen), most)), np.zeros((len(seen), most))
    goal_section = np.zeros((len(seen), most), np.int32)
    if found:
        a, k, t = np.array(found).T
        goal_x[a, k], goal_y[a, k] = x[a, t], y[a, t]
        goal_section[a, k], _ = find_quads(roads, x[a, t], y[a, t], z[a, t], cos[a, t], sin[a, t])
    sections = roads.network.sections
    for one, number, metres in onward:
        there = _onward(roads, int(goal_section[one, number - 1]), metres)
        goal_section[one, number] = there
        goal_x[one, number] = 0.5 * (sections["x"][there] + sections["x"][there + 1])
        goal_y[one, number] = 0.5 * (sections["y"][there] + sections["y"][there + 1])
    return {"goal_x": goal_x, "goal_y": goal_y, "goal_section": goal_section, "goals": counts}


def _onward(roads: Roads, section: int, metres: float) -> int:
    """The quad so far down the road, straight on where it parts; the last one where it ends before."""
    network = roads.network
    lanes, sections = network.lanes, network.sections
    lane = int(sections["lane"][section])
    at = (section - int(lanes["first"][lane])) * float(lanes["step"][lane]) + metres
    for _ in range(64):
        row = lanes[lane]
        if at < row["length"] or row["successors"] == 0:
            break
        at -= float(row["length"])
        following = network.successors[row["successors_at"] : row["successors_at"] + row["successors"]]
        begin, end = sections[lanes["first"][following]], sections[lanes["first"][following] + lanes["quads"][following]]
        lane = int(following[np.argmax(begin["cos"] * end["cos"] + begin["sin"] * end["sin"])])
    row = lanes[lane]
    return int(row["first"]) + min(max(int(at / row["step"]), 0), int(row["quads"]) - 1)


def find_quads(
    roads: Roads, x: np.ndarray, y: np.ndarray, z: np.ndarray, cos: np.ndarray, sin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The quad of a single map that fits each pose (n,) best: int32 (n,), and whether the pose is inside of its lane."""
    found, inside = np.zeros(len(x), np.int32), np.zeros(len(x), np.bool_)
    poses = np.stack([x, y, z, cos, sin], axis=1).astype(np.float32)
    network, grid = roads.network, roads.grid
    _find(network.sections, network.lanes, network.maps, grid.quads_at, grid.quads, poses, found, inside)
    return found, inside


@kernel
def _find(sections, lanes, maps, quads_at, quads, poses, found, inside):
    """As `sim.lanes.search`, without a route. Far from all lanes the nearest one is taken."""
    cell_size, gap, row = f32(CELL), f32(LEVEL_GAP), maps[0]
    for k in range(len(poses)):
        x, y, z, cos, sin = poses[k, 0], poses[k, 1], poses[k, 2], poses[k, 3], poses[k, 4]
        column, line = int((x - row.x) / cell_size), int((y - row.y) / cell_size)
        best = f32(1e9)
        if 0 <= column < row.columns and 0 <= line < row.rows:
            cell = row.cells_at + line * row.columns + column
            for entry in range(quads_at[cell], quads_at[cell + 1]):
                quad = quads[entry]
                a, b = sections[quad], sections[quad + 1]
                past, before = along_quad(x, y, a, b)
                if abs(a.z - z) > gap:
                    continue
                _, offset, half_width, lane_cos, lane_sin = in_quad(x, y, past, before, a, b)
                cost, outside = misfit(cos, sin, offset, half_width, lane_cos, lane_sin, past, before)
                if cost < best:
                    along = cos * lane_cos + sin * lane_sin
                    best, found[k], inside[k] = cost, quad, outside <= f32(0.0) and along > HALF
        if best < f32(1e9):
            continue
        for number in range(row.lanes):
            lane = lanes[number]
            for quad in range(lane.first, lane.first + lane.quads):
                a = sections[quad]
                dx, dy = a.x - x, a.y - y
                cost = dx * dx + dy * dy + (f32(1e6) if abs(a.z - z) > gap else f32(0.0))
                if cost < best:
                    best, found[k] = cost, quad
