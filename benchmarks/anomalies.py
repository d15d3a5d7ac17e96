"""What must never be seen in a running simulator, judged from outside of the kernels: NumPy in float64, and Shapely."""

from typing import NamedTuple

import numpy as np
import shapely

from gigaflow_env.declare import fields
from gigaflow_env.roads import RoadMap
from gigaflow_env.roads.centreline import sample
from gigaflow_env.roads.tables import CELL
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import ENDED, GROUPS, LIVE, WAITING

ANOMALIES = {
    "state_not_finite": "a number of the state is NaN or infinite",
    "observation_not_finite": "a number of an observation is NaN or infinite",
    "observation_outside": "a number of an observation is outside of -1 to 1",
    "row_lost": "a row is neither on the road nor waiting for a place",
    "waits_long": "a row found no place in more than 50 steps",
    "foreign_section": "an agent's section or goal is no quad of its own map",
    "lost_section": "an agent on the road is more than 30 m away from its section",
    "jump": "an agent moved further than the fastest can",
    "spawn_overlap": "an agent started in the box of another",
    "off_road_unnoticed": "an agent whose episode should have ended at the road's edge is beyond it",
    "collision_without_partner": "a collision is reported, but no other agent of the same level is near",
    "overlap_unnoticed": "two boxes on one level overlap, but no collision is reported",
}
"""Each kind, and what it means. None is permitted."""

COUNTS = (
    "agent_steps", "episodes", "collisions", "off_road", "red_lights", "goals", "waiting", "outside_grid", "astray",
    "over_another",
)  # fmt: skip
"""What is counted besides, in agent-steps; the last two in thorough checks only. outside_grid: beyond the map's cells;
astray: more than 30 m from the own section; over_another: the box lies over or under another one on another level."""

LEVEL = 2.5  # m: things further apart in height are on different levels
LONG_WAIT = 50  # steps
ASTRAY = 30.0  # m
EDGE_REACH = 3.0  # m: holes up to 20 m^2 count as road, and their middles are 2.5 m away from a lane
OVERLAP = 0.01  # m: boxes that overlap by less are in doubt
PIECE = 2.0  # m of a lane in one polygon


class Tally(NamedTuple):
    """Counts by kind, and where each anomaly was first seen."""

    counts: dict[str, int]
    first: dict[str, str]


class Ground(NamedTuple):
    """The paved area of one map, in the map's own coordinates."""

    tree: shapely.STRtree
    z: np.ndarray  # (pieces,) [m]
    driving: np.ndarray  # (pieces,) whether it belongs to a driving lane


class Before(NamedTuple):
    """What a step is compared with; all (worlds, agents)."""

    episode: np.ndarray
    live: np.ndarray
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    waited: np.ndarray  # steps in a row


def tally() -> Tally:
    """Nothing counted yet."""
    return Tally(dict.fromkeys((*COUNTS, *ANOMALIES), 0), {})


def ground(road_map: RoadMap, origin: np.ndarray) -> Ground:
    """Paved area of a map. origin: (3,) x, y, z [m] to be subtracted."""
    corners, heights, driving = [], [], []
    for lane in road_map.lanes.values():
        x, y, z, heading, width = sample(lane.line, PIECE).T[:5]
        centre = np.column_stack([x, y]) - origin[:2]
        across = np.column_stack([-np.sin(heading), np.cos(heading)]) * width[:, None] / 2
        left, right = centre + across, centre - across
        corners.append(np.stack([right[:-1], right[1:], left[1:], left[:-1]], axis=1))
        heights.append((z[:-1] + z[1:]) / 2 - origin[2])
        driving.append(np.full(len(x) - 1, lane.kind == "driving"))
    pieces = shapely.convex_hull(shapely.polygons(np.concatenate(corners)))
    return Ground(shapely.STRtree(pieces), np.concatenate(heights), np.concatenate(driving))


def beside_road(area: Ground, x: np.ndarray, y: np.ndarray, z: np.ndarray, reach: float, any_kind: bool) -> np.ndarray:
    """Which of some points are further than `reach` [m] from the paved area of their level; without any_kind, from its
    driving lanes."""
    point, piece = area.tree.query(shapely.points(x, y), predicate="dwithin", distance=reach)
    on = (np.abs(area.z[piece] - z[point]) < LEVEL) & (area.driving[piece] | any_kind)
    beside = np.ones(len(x), bool)
    beside[point[on]] = False
    return beside


def remember(simulator: Simulator, waited: np.ndarray) -> Before:
    """What the next step is to be compared with. waited: (worlds, agents) steps in a row for which rows have waited."""
    rows, pose = simulator.state.rows, simulator.state.pose
    return Before(rows.episode.copy(), rows.status == LIVE, pose.x.copy(), pose.y.copy(), pose.z.copy(), waited)


def inspect(simulator: Simulator, grounds: list[Ground], before: Before, found: Tally, *, thorough: bool) -> Before:
    """Count what the step that has just been made shows, and return what the next one is to be compared with.

    thorough: also judge what takes long: places on the road, and all pairs of boxes.
    """
    state, config = simulator.state, simulator.config
    status = state.rows.status
    live = status == LIVE
    fresh = live & (state.rows.episode != before.episode)
    waited = np.where(status == WAITING, before.waited + 1, 0)

    _count(simulator, found, live, fresh)
    _check_numbers(simulator, found, live)
    _note(found, simulator, "row_lost", ~np.isin(status, (LIVE, ENDED, WAITING)))
    _note(found, simulator, "waits_long", waited > LONG_WAIT)
    far = config.speed_max * config.vel_spread * config.dt + 0.1
    moved = np.hypot(state.pose.x - before.x, state.pose.y - before.y)
    _note(found, simulator, "jump", before.live & live & ~fresh & (moved > far))
    away = _check_sections(simulator, found, live)
    _check_spawns(simulator, found, fresh)
    if thorough:
        _check_places(simulator, grounds, before, found, live & ~fresh, away)
        _check_collisions(simulator, found, fresh)
    return remember(simulator, waited)


def _note(found: Tally, simulator: Simulator, kind: str, seen: np.ndarray) -> None:
    """Count an anomaly; `seen` is True for the agents (worlds, agents, ...) that show it."""
    if not seen.any():
        return
    found.counts[kind] += int(seen.sum())
    w, a = (int(k) for k in np.argwhere(seen)[0, :2])
    state = simulator.state
    name = simulator.roads.names[state.clock.map[w]]
    place = ", ".join(f"{axis} {getattr(state.pose, axis)[w, a]:.2f}" for axis in "xyz")
    found.first.setdefault(kind, f"tick {state.clock.tick[w]}, world {w} ({name}), agent {a} at {place}")


def _count(simulator: Simulator, found: Tally, live: np.ndarray, fresh: np.ndarray) -> None:
    state, counts = simulator.state, found.counts
    rows = simulator.roads.network.maps[state.clock.map]
    right, top = rows["x"] + CELL * rows["columns"], rows["y"] + CELL * rows["rows"]
    x, y = state.pose.x.T, state.pose.y.T
    outside = ((x < rows["x"]) | (x > right) | (y < rows["y"]) | (y > top)).T
    events = state.events
    for name, seen in (
        ("agent_steps", np.ones_like(live)), ("episodes", fresh), ("collisions", events.collision),
        ("off_road", events.offroad), ("red_lights", events.red_light), ("goals", events.goal),
        ("outside_grid", outside & live), ("waiting", state.rows.status == WAITING),
    ):  # fmt: skip
        counts[name] += int(seen.sum())


def _check_numbers(simulator: Simulator, found: Tally, live: np.ndarray) -> None:
    for group, declared in zip(simulator.state, GROUPS, strict=True):
        for name, field in fields(declared).items():
            if field.axes[:2] == ("world", "agent") and field.dtype is np.float32:
                _note(found, simulator, "state_not_finite", ~np.isfinite(getattr(group, name)))
    ended = simulator.state.outcome.terminated | simulator.state.outcome.truncated
    watched = [(simulator.observations, np.ones_like(live))]
    if len(simulator.final_observations):
        watched.append((simulator.final_observations, ended))
    for observations, rows in watched:
        if observations.min() >= -1 and observations.max() <= 1:  # False where there is a NaN
            continue
        finite = np.isfinite(observations)
        _note(found, simulator, "observation_not_finite", ~finite & rows[..., None])
        _note(found, simulator, "observation_outside", finite & (np.abs(observations) > 1) & rows[..., None])


def _check_sections(simulator: Simulator, found: Tally, live: np.ndarray) -> np.ndarray:
    """Note sections that are no quads of the own map; returns the distance [m] of each agent to its section."""
    state, network = simulator.state, simulator.roads.network
    rows = network.maps[state.clock.map]
    goals = np.arange(state.goals.section.shape[2]) < state.goals.count[..., None]
    for section, used in ((state.place.section[..., None], live[..., None]), (state.goals.section, goals & live[..., None])):
        known = (section >= 0) & (section < len(network.sections))
        lane = network.sections["lane"][np.where(known, section, 0)]
        first, quads = network.lanes["first"][lane], network.lanes["quads"][lane]
        low, count = rows["lanes_at"][:, None, None], rows["lanes"][:, None, None]
        own = known & (lane >= low) & (lane < low + count) & (section >= first) & (section < first + quads)
        _note(found, simulator, "foreign_section", used & ~own)
    place = network.sections[np.clip(state.place.section, 0, len(network.sections) - 1)]
    return np.hypot(state.pose.x.astype(np.float64) - place["x"], state.pose.y.astype(np.float64) - place["y"])


def _check_places(
    simulator: Simulator, grounds: list[Ground], before: Before, found: Tally, driven: np.ndarray, away: np.ndarray
) -> None:
    """Places against the paved area. An agent looks for its lane on the level where it was before the step."""
    state = simulator.state
    astray = driven & (away > ASTRAY)
    found.counts["astray"] += int(astray.sum())
    strict = simulator.config.on_crash == "respawn"
    for number, area in enumerate(grounds):
        here = (state.clock.map == number)[:, None]
        asked = astray & here
        seen = np.zeros_like(driven)
        seen[asked] = ~beside_road(area, *_places(simulator, before, asked), 0.0, any_kind=False)
        _note(found, simulator, "lost_section", seen)
        if strict:
            asked = driven & here
            seen = np.zeros_like(driven)
            seen[asked] = beside_road(area, *_places(simulator, before, asked), EDGE_REACH, any_kind=True)
            _note(found, simulator, "off_road_unnoticed", seen)


def _places(simulator: Simulator, before: Before, asked: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    pose = simulator.state.pose
    return pose.x[asked].astype(np.float64), pose.y[asked].astype(np.float64), before.z[asked].astype(np.float64)


def _check_spawns(simulator: Simulator, found: Tally, fresh: np.ndarray) -> None:
    state, seen = simulator.state, np.zeros_like(fresh)
    w, a = np.nonzero(fresh)
    x, y, z = (getattr(state.pose, axis) for axis in "xyz")
    apart = np.hypot(x[w] - x[w, a][:, None], y[w] - y[w, a][:, None])  # (fresh agents, agents)
    reach = (state.body.length + state.body.width) / 2
    near = (apart < reach[w] + reach[w, a][:, None]) & (np.abs(z[w] - z[w, a][:, None]) < LEVEL)
    near &= (state.rows.status[w] == LIVE) & (a[:, None] != np.arange(simulator.agents))
    k, b = np.nonzero(near)
    hit = k[overlap(simulator, w[k], a[k], b) > 0]
    seen[w[hit], a[hit]] = True
    _note(found, simulator, "spawn_overlap", seen)


def _check_collisions(simulator: Simulator, found: Tally, fresh: np.ndarray) -> None:
    """Collisions against the boxes as they are now. In mode SAME_STEP those of agents that ended are gone: their worlds are
    left out."""
    state = simulator.state
    driven = np.isin(state.rows.status, (LIVE, ENDED)) & ~fresh
    if len(simulator.final_observations):
        driven &= ~(state.outcome.terminated | state.outcome.truncated).any(axis=1)[:, None]
    x, y, z = (getattr(state.pose, axis) for axis in "xyz")
    reach = (state.body.length + state.body.width) / 2 + state.motion.distance
    apart = np.hypot(x[:, :, None] - x[:, None], y[:, :, None] - y[:, None])
    close = (apart < reach[:, :, None] + reach[:, None] + OVERLAP) & ~np.eye(simulator.agents, dtype=bool)
    close &= driven[:, :, None] & driven[:, None]
    level = np.abs(z[:, :, None] - z[:, None]) < LEVEL
    near = close & level
    found.counts["over_another"] += int((overlap(simulator, *np.nonzero(close & ~level)) > 0).sum())
    hit = state.events.collision
    _note(found, simulator, "collision_without_partner", hit & driven & ~near.any(axis=2))

    w, a, b = np.nonzero(near & ~hit[:, :, None])
    seen = np.zeros_like(hit)
    deep = overlap(simulator, w, a, b) > OVERLAP
    seen[w[deep], a[deep]] = True
    _note(found, simulator, "overlap_unnoticed", seen)


def overlap(simulator: Simulator, w: np.ndarray, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How deep [m] the boxes of agents a and b of worlds w overlap, by separating axes: 0 or less where they don't."""
    pose, body = simulator.state.pose, simulator.state.body
    d = np.stack([pose.x[w, b].astype(np.float64) - pose.x[w, a], pose.y[w, b].astype(np.float64) - pose.y[w, a]], axis=-1)
    turns = [np.arctan2(pose.sin[w, k].astype(np.float64), pose.cos[w, k]) for k in (a, b)]
    axes = [[np.stack([np.cos(t), np.sin(t)], axis=-1), np.stack([-np.sin(t), np.cos(t)], axis=-1)] for t in turns]
    sizes = [[body.length[w, k] / 2, body.width[w, k] / 2] for k in (a, b)]
    depth = np.full(len(w), np.inf)
    for axis in (*axes[0], *axes[1]):
        reach = sum(
            half * np.abs((side * axis).sum(axis=-1))
            for box, half_sizes in zip(axes, sizes, strict=True)
            for side, half in zip(box, half_sizes, strict=True)
        )
        depth = np.minimum(depth, reach - np.abs((d * axis).sum(axis=-1)))
    return depth
