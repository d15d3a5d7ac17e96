"""Waymax's metrics of a scene, and the score that the GIGAFLOW paper makes of them.

Source: waymo-research/waymax, waymax/metrics (formulas and thresholds), and arXiv 2502.03349, Table A7.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gigaflow_env.scenes.feasible import no_bicycle
from gigaflow_train.evaluate import boxes
from gigaflow_train.evaluate.polylines import NEAR, arc_length
from gigaflow_train.evaluate.trajectories import Trajectories, of, same_agents

WRONG_WAY = 3.5
"""[m] from all ways that the car could have taken."""
OFF_ROUTE, OFF_ROUTE_MORE = 5.0, 2.0
"""[m] from the nearest way on the route; or so much more than from the nearest one off it."""
Z_STRETCH = 2.0
"""Heights times this, so that the edges of a bridge don't count for the road below."""


def log_divergence(simulated: Trajectories, logged: Trajectories) -> np.ndarray:
    """Distance [m] from where each agent was recorded, (agents, steps); NaN where it is missing in one of them."""
    same_agents(simulated, logged)
    return np.hypot(simulated.x - logged.x, simulated.y - logged.y)


def overlaps(trajectories: Trajectories, agents: Sequence[int] | None = None) -> np.ndarray:
    """Whether the box of each agent has area in common with any other one's, bool (agents, steps).

    agents: whose; None: everybody's.
    """
    rows = range(trajectories.agents) if agents is None else agents
    found = np.zeros((len(rows), trajectories.steps), bool)
    every = trajectories.boxes
    radius = np.hypot(trajectories.length, trajectories.width) / 2.0
    for k, agent in enumerate(rows):
        both = trajectories.valid & trajectories.valid[agent]
        both[agent] = False
        with np.errstate(invalid="ignore"):
            apart = np.hypot(trajectories.x - trajectories.x[agent], trajectories.y - trajectories.y[agent])
            others, steps = np.nonzero(both & (apart <= radius + radius[agent]))
        hit = boxes.overlap(every[agent, steps], every[others, steps])
        found[k, steps[hit]] = True
    return found


class EdgePoints(NamedTuple):
    """Points of road edges, with their directions; the road is on the left."""

    points: np.ndarray  # (n, 3) [m]
    direction: np.ndarray  # (n, 2) unit vector to the next point of its line; of the last one as the one before
    first: np.ndarray  # (n,) bool: no point of the same line comes before


def edge_points(lines: Sequence[np.ndarray]) -> EdgePoints:
    """The points of lines (points, 3). Raises ValueError where there are none."""
    lines = [line for line in lines if len(line) > 1]
    if not lines:
        raise ValueError("there is no road edge: a scene needs one with two points at least")
    steps = [np.diff(line[:, :2], axis=0) for line in lines]
    directions = [np.concatenate([step, step[-1:]]) for step in steps]
    direction = np.concatenate(directions)
    direction = direction / np.maximum(np.hypot(*direction.T), 1e-12)[:, None]
    first = np.concatenate([np.arange(len(line)) == 0 for line in lines])
    return EdgePoints(np.concatenate(lines), direction, first)


def edge_distance(points: np.ndarray, edges: EdgePoints) -> np.ndarray:
    """Signed distance [m] of points (n, 3) from the nearest point of a road edge: above 0 off the road.

    The nearest one in space, with stretched heights. The side is that of the edge's direction there, or of the direction at
    the point before, if that puts the point less far out.
    """
    low, high = points[:, :2].min(axis=0) - NEAR, points[:, :2].max(axis=0) + NEAR
    near = np.flatnonzero(((edges.points[:, :2] >= low) & (edges.points[:, :2] <= high)).all(axis=1))
    found, away = _edge_distance(points, edges, near) if len(near) else (np.zeros(len(points)), np.full(len(points), np.inf))
    far = ~(away < NEAR)  # there may be a nearer one among those that were left out
    if far.any():
        found[far] = _edge_distance(points[far], edges, np.arange(len(edges.points)))[0]
    return found


def _edge_distance(points: np.ndarray, edges: EdgePoints, among: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The signed distances from some of the edges, and how far away [m] the nearest one is with the stretched heights."""
    found, away = np.empty(len(points)), np.empty(len(points))
    chunk = max(1, (1 << 21) // len(among))
    for start in range(0, len(points), chunk):
        some = points[start : start + chunk]
        apart = (some[:, None] - edges.points[among][None]) * (1.0, 1.0, Z_STRETCH)
        squared = (apart**2).sum(axis=2)
        place = squared.argmin(axis=1)
        nearest = among[place]
        off = some[:, :2] - edges.points[nearest, :2]
        here, before = (
            off[:, 0] * edges.direction[k, 1] - off[:, 1] * edges.direction[k, 0]
            for k in (nearest, np.maximum(nearest - 1, 0))
        )
        side = np.where(~edges.first[nearest] & (before < here), before, here)
        found[start : start + chunk] = np.hypot(off[:, 0], off[:, 1]) * np.sign(side)
        away[start : start + chunk] = np.sqrt(squared[np.arange(len(some)), place])
    return found, away


def offroad(trajectories: Trajectories, edges: EdgePoints) -> np.ndarray:
    """Whether any corner of each agent's box is off the road, bool (agents, steps); corners are as high as its middle."""
    agents, steps = np.nonzero(trajectories.valid)
    at = boxes.corners(trajectories.boxes[agents, steps])  # (n, 4, 2)
    z = np.broadcast_to(trajectories.z[agents, steps, None, None], (*at.shape[:2], 1))
    found = np.zeros(trajectories.valid.shape, bool)
    found[agents, steps] = (
        (edge_distance(np.concatenate([at, z], axis=2).reshape(-1, 3), edges) > 0.0).reshape(-1, 4).any(axis=1)
    )
    return found


class Path(NamedTuple):
    """A way that the car could take."""

    points: np.ndarray  # (points, 2) [m]
    on_route: bool  # it leads where the recorded car went


def _path_distances(ego: np.ndarray, paths: Sequence[Path]) -> np.ndarray:
    """Distance [m] of places (steps, 2) from the nearest point of each path, (steps, paths)."""
    if not paths:
        return np.full((len(ego), 0), np.inf)
    return np.stack([np.hypot(*(ego[:, None] - path.points[None]).transpose(2, 0, 1)).min(axis=1) for path in paths], axis=1)


def wrong_way(ego: np.ndarray, paths: Sequence[Path]) -> np.ndarray:
    """Distance [m] of places (steps, 2) from all ways that the car could take, 0 where it is below WRONG_WAY."""
    nearest = _path_distances(ego, paths).min(axis=1, initial=np.inf)
    return np.where((nearest < WRONG_WAY) | ~np.isfinite(nearest), 0.0, nearest)


def off_route(ego: np.ndarray, paths: Sequence[Path]) -> np.ndarray:
    """Distance [m] of places (steps, 2) from the ways on the route, 0 where they are on it or where there is none."""
    apart, route = _path_distances(ego, paths), np.array([path.on_route for path in paths], bool)
    on, off = apart[:, route].min(axis=1, initial=np.inf), apart[:, ~route].min(axis=1, initial=np.inf)
    with np.errstate(invalid="ignore"):
        left = (on > OFF_ROUTE) | (on - off > OFF_ROUTE_MORE)
    return np.where(left & np.isfinite(on), on, 0.0)


def progress_ratio(ego: np.ndarray, start: np.ndarray, end: np.ndarray, paths: Sequence[Path]) -> np.ndarray:
    """How much of the recorded way has been driven at each place (steps, 2); can be below 0 and above 1.

    start, end: (2,) where the recorded car began and ended. On the path of the route that is nearest to the place: each
    place is the nearest of its points. 1 where start and end are the same; 0 without a route.
    """
    routes = [path.points for path in paths if path.on_route]
    if not routes:
        return np.zeros(len(ego))
    which = _path_distances(ego, [Path(points, True) for points in routes]).argmin(axis=1)
    found = np.empty(len(ego))
    for k in np.unique(which):
        points, along = routes[k], arc_length(routes[k])

        def at(places: np.ndarray, points: np.ndarray = points, along: np.ndarray = along) -> np.ndarray:
            return along[np.hypot(*(places[:, None] - points[None]).transpose(2, 0, 1)).argmin(axis=1)]

        here, (first, last) = at(ego[which == k]), at(np.stack([start, end]))
        found[which == k] = 1.0 if last == first else (here - first) / (last - first)
    return found


def kinematic_infeasibility(trajectories: Trajectories) -> np.ndarray:
    """Whether the step to each moment is beyond what a car can do, bool (agents, steps); the first one has none."""
    return no_bicycle(trajectories.heading, trajectories.velocity_x, trajectories.velocity_y, trajectories.dt)


class SceneScore(NamedTuple):
    """What one agent did in one scene: the row of a report."""

    overlap: bool  # at any moment
    offroad: bool  # at any moment
    log_divergence: float  # [m] mean over the moments at which it is in both
    kinematic_infeasibility: float  # share of moments
    distance: float  # [m] driven
    logged_distance: float  # [m] that the recording drove
    progress_ratio: float  # at the end; nan without a route
    wrong_way: bool
    off_route: bool


def distance(trajectories: Trajectories) -> np.ndarray:
    """Way that each agent moved [m], (agents,), over the moments of which both ends are valid."""
    moved = np.hypot(np.diff(trajectories.x, axis=1), np.diff(trajectories.y, axis=1))
    return np.nansum(moved, axis=1)


def of_scene(
    simulated: Trajectories,
    logged: Trajectories,
    judged: Sequence[int],
    edges: EdgePoints,
    paths: dict[int, Sequence[Path]],
    *,
    first: int = 0,
) -> list[SceneScore]:
    """The metrics of some agents of a scene, from moment `first` on. paths: by agent; without them the way is not judged."""
    rows = list(judged)
    apart, hit = log_divergence(simulated, logged), overlaps(simulated, rows)
    only = of(simulated, rows)
    off, infeasible = offroad(only, edges), kinematic_infeasibility(only)
    now = slice(first, None)
    driven, recorded = (
        distance(one._replace(valid=one.valid[:, now], x=one.x[:, now], y=one.y[:, now])) for one in (simulated, logged)
    )
    found = []
    for k, agent in enumerate(rows):
        there = simulated.valid[agent, now]
        both = there & logged.valid[agent, now]
        moves = simulated.valid[agent, 1:][first:] & simulated.valid[agent, :-1][first:]
        ways = paths.get(agent, ())
        ego = np.stack([simulated.x[agent, now], simulated.y[agent, now]], axis=1)[there]
        ends = np.flatnonzero(logged.valid[agent])
        ratio = math.nan
        if any(path.on_route for path in ways) and len(ego):
            start, end = (np.array([logged.x[agent, step], logged.y[agent, step]]) for step in (ends[0], ends[-1]))
            ratio = float(progress_ratio(ego[-1:], start, end, ways)[0])
        found.append(
            SceneScore(
                overlap=bool(hit[k, now].any()),
                offroad=bool(off[k, now].any()),
                log_divergence=float(apart[agent, now][both].mean()) if both.any() else math.nan,
                kinematic_infeasibility=float(infeasible[k, 1:][first:][moves].mean()) if moves.any() else 0.0,
                distance=float(driven[agent]),
                logged_distance=float(recorded[agent]),
                progress_ratio=ratio,
                wrong_way=bool(len(ego) and wrong_way(ego, ways).any()),
                off_route=bool(len(ego) and off_route(ego, ways).any()),
            )
        )
    return found


def score(scenes: Sequence[SceneScore]) -> float:
    """The paper's score: progress times success.

    Progress is the way that all drove by the way that all recordings drove, at most 1; success is the share without an
    incident, an overlap or off the road. Source: arXiv 2502.03349, section on Waymax, where success is printed with a
    product of the two; the published numbers fit their union, which this is.
    """
    if not scenes:
        return math.nan
    recorded = sum(scene.logged_distance for scene in scenes)
    progress = min(sum(scene.distance for scene in scenes) / recorded, 1.0) if recorded > 0.0 else 1.0
    return progress * (1.0 - sum(scene.overlap or scene.offroad for scene in scenes) / len(scenes))
