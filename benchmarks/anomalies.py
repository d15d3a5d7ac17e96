"""What must never be seen in a running simulator: `judge.py` looks at every step, Shapely at the places that it doubts."""

from typing import NamedTuple

import numpy as np
import shapely
from judge import LEVEL, Anomalies, Before, Counts, Doubts, check_numbers, judge

from gigaflow_env.backend.world_step import SAME_STEP
from gigaflow_env.declare import allocate, fields
from gigaflow_env.roads import RoadMap
from gigaflow_env.roads.centerline import sample
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import FROZEN, GROUPS, LIVE, Overrides

ANOMALIES = {kind: declared.meaning for kind, declared in fields(Anomalies).items()}
"""Each kind, and what it means. None is permitted."""

COUNTS = tuple(fields(Counts))

EDGE_REACH = 3.0  # m: holes up to 20 m^2 count as road, and their middles are 2.5 m away from a lane
PIECE = 2.0  # m of a lane in one polygon
LARGEST = np.finfo(np.float32).max


class Ground(NamedTuple):
    """The paved area of one map, in the map's own coordinates."""

    tree: shapely.STRtree
    z: np.ndarray  # (pieces,) [m]
    driving: np.ndarray  # (pieces,) whether it belongs to a driving lane


class Watch(NamedTuple):
    """A simulator and what was seen of it. `numbers` are views of its state, each (worlds, agents, k)."""

    simulator: Simulator
    grounds: list[Ground]  # one a map
    numbers: list[np.ndarray]
    seen: Anomalies
    counts: Counts
    first: dict[str, str]  # by kind: where it was seen first
    before: Before
    doubts: Doubts


def find_neighbours(simulator: Simulator, grounds: list[Ground]) -> Watch:
    """Nothing seen yet; the state as it is now is what the next step is compared with."""
    sizes = {"note": 3, "world": simulator.worlds, "agent": simulator.agents}
    numbers = [
        getattr(group, name).reshape(simulator.worlds, simulator.agents, -1)
        for group, declared in zip(simulator.state, GROUPS, strict=True)
        for name, field in fields(declared).items()
        if declared is not Overrides  # what was not chosen by hand is nan
        and field.axes[:2] == ("world", "agent")
        and field.dtype is np.float32
    ]
    seen, counts, before, doubts = (allocate(group, sizes) for group in (Anomalies, Counts, Before, Doubts))
    made = Watch(simulator, grounds, numbers, seen, counts, {}, before, doubts)
    _remember(made)
    return made


def totals(found: Watch) -> dict[str, int]:
    """How often each kind was seen."""
    return {kind: int(notes[0]) for group in (found.counts, found.seen) for kind, notes in group._asdict().items()}


def ground(road_map: RoadMap, origin: np.ndarray) -> Ground:
    """Paved area of a map. origin: (3,) x, y, z [m] to be subtracted."""
    corners, heights, driving = [], [], []
    for lane in road_map.lanes.values():
        x, y, z, heading, width = sample(lane.line, PIECE).T[:5]
        center = np.column_stack([x, y]) - origin[:2]
        across = np.column_stack([-np.sin(heading), np.cos(heading)]) * width[:, None] / 2
        left, right = center + across, center - across
        corners.append(np.stack([right[:-1], right[1:], left[1:], left[:-1]], axis=1))
        heights.append((z[:-1] + z[1:]) / 2 - origin[2])
        driving.append(np.full(len(x) - 1, lane.kind == "driving"))
    pieces = shapely.convex_hull(shapely.polygons(np.concatenate(corners)))
    return Ground(shapely.STRtree(pieces), np.concatenate(heights), np.concatenate(driving))


def beside_road(area: Ground, x: np.ndarray, y: np.ndarray, z: np.ndarray, reach: float, any_kind: bool) -> np.ndarray:
    """Which of some points are further than `reach` [m] from the paved area of their level.

    Without any_kind, from its driving lanes.
    """
    point, piece = area.tree.query(shapely.points(x, y), predicate="dwithin", distance=reach)
    on = (np.abs(area.z[piece] - z[point]) < LEVEL) & (area.driving[piece] | any_kind)
    beside = np.ones(len(x), bool)
    beside[point[on]] = False
    return beside


def inspect(found: Watch, *, thorough: bool) -> None:
    """Judge the step that the simulator has just made.

    thorough: ask Shapely about every place; otherwise only about those off their lane where episodes end at the edge.
    """
    simulator, seen = found.simulator, found.seen
    config, state = simulator.config, simulator.state
    farthest = config.speed_max * config.vel_spread * config.dt + 0.1
    map_x, map_y = on_map(simulator)
    judge(
        seen, found.counts, found.before, found.doubts, farthest, simulator.mode == SAME_STEP, map_x, map_y,
        state.clock, state.rows, state.pose, state.motion, state.body, state.lane_position, state.goals, state.events,
        state.outcome,
        simulator.roads.network,
    )  # fmt: skip
    ended = state.outcome.terminated | state.outcome.truncated
    for numbers in found.numbers:
        check_numbers(numbers, LARGEST, True, ended, seen.state_not_finite, seen.state_not_finite)
    one = np.float32(1)
    check_numbers(simulator.observations, one, True, ended, seen.observation_not_finite, seen.observation_outside)
    if len(simulator.final_observations):
        final = simulator.final_observations
        check_numbers(final, one, False, ended, seen.observation_not_finite, seen.observation_outside)
    _check_places(found, thorough, map_x, map_y)
    for kind, notes in seen._asdict().items():
        if notes[0] and kind not in found.first:
            found.first[kind] = _where(simulator, *notes[1:].tolist())
    _remember(found)


def on_map(simulator: Simulator) -> tuple[np.ndarray, np.ndarray]:
    """Places x, y [m] of the agents (worlds, agents) in the coordinates of their maps: each world is an affine image."""
    pose, variant = simulator.state.pose, simulator.state.variant
    matrix = np.stack([variant.xx, variant.xy, variant.yx, variant.yy], axis=-1).reshape(-1, 2, 2).astype(np.float64)
    x, y = np.moveaxis(np.stack([pose.x, pose.y], axis=-1) @ np.linalg.inv(matrix).transpose(0, 2, 1), -1, 0)
    return np.ascontiguousarray(x), np.ascontiguousarray(y)


def _check_places(found: Watch, thorough: bool, map_x: np.ndarray, map_y: np.ndarray) -> None:
    """Places against the paved area. An agent looks for its lane on the level where it was before the step."""
    doubts = found.doubts
    asked = doubts.driven if thorough else doubts.beside
    if found.simulator.config.on_crash != "continue" and asked.any():
        _ask(found, found.seen.off_road_unnoticed, asked, map_x, map_y, EDGE_REACH, any_kind=True)
    if thorough and doubts.astray.any():
        _ask(found, found.seen.lost_section, doubts.astray, map_x, map_y, 0.0, any_kind=False)


def _ask(
    found: Watch, notes: np.ndarray, asked: np.ndarray, map_x: np.ndarray, map_y: np.ndarray, reach: float, *, any_kind: bool
) -> None:
    """Note the agents of `asked` (worlds, agents) that are beyond the edge; without any_kind those on a driving lane."""
    maps = found.simulator.state.clock.map
    for number, area in enumerate(found.grounds):
        w, a = np.nonzero(asked & (maps == number)[:, None])
        x, y, z = (values[w, a].astype(np.float64) for values in (map_x, map_y, found.before.z))
        wrong = np.flatnonzero(beside_road(area, x, y, z, reach, any_kind) == any_kind)
        if len(wrong) and not notes[0]:
            notes[1:] = w[wrong[0]], a[wrong[0]]
        notes[0] += len(wrong)


def _where(simulator: Simulator, w: int, a: int) -> str:
    state = simulator.state
    place = ", ".join(f"{axis} {getattr(state.pose, axis)[w, a]:.2f}" for axis in "xyz")
    return f"tick {state.clock.tick[w]}, world {w} ({simulator.roads.names[state.clock.map[w]]}), agent {a} at {place}"


def _remember(found: Watch) -> None:
    rows, pose, before = found.simulator.state.rows, found.simulator.state.pose, found.before
    before.episode[:], before.live[:], before.wreck[:] = rows.episode, rows.status == LIVE, rows.status == FROZEN
    before.x[:], before.y[:], before.z[:] = pose.x, pose.y, pose.z
