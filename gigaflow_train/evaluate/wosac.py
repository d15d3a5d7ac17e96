"""The realism score of the Waymo Open Sim Agents Challenge. A number of it always names its year: the years differ.

Source: waymo-research/waymo-open-dataset, wdl_limited/sim_agents_metrics (formulas, configurations of 2023, 2024 and 2025).
Differs: angles between headings are wrapped, so that a result does not depend on the axes of the map; the lane under an
agent for a red light is the nearest one (the source adds a vector there that it means to subtract).
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gigaflow_train.evaluate import boxes
from gigaflow_train.evaluate.polylines import Pieces, project, side_distance
from gigaflow_train.evaluate.trajectories import Trajectories, same_agents, wrapped

ROLLOUTS, HISTORY, FUTURE = 32, 11, 80
"""What a submission has: rollouts of each scene, moments that are given, and moments to simulate, at 10 a second."""
FAR = 1e10
"""[m] Where there is nobody. Beyond all histograms."""
NEAR = 50.0
"""[m] Between middles: farther objects have no bin of their own, and count as FAR."""
LONGEST_TTC = 5.0
"""[s]"""
FOLLOWING, FOLLOWING_NARROW, NARROW = math.radians(75.0), math.radians(10.0), 0.5
"""[rad, rad, m] Headings of a follower and its leader differ by less; by the second where they overlap sideways by less."""
PSEUDOCOUNT, PSEUDOCOUNT_BERNOULLI = 0.1, 0.001
"""What each bin of a histogram has to begin with."""


class Histogram(NamedTuple):
    """How one feature is compared."""

    low: float
    high: float
    bins: int
    weight: float


class Year(NamedTuple):
    """One year's configuration."""

    histograms: dict[str, Histogram]
    bernoulli: dict[str, float]  # weights of what either happens or doesn't
    rounding: float  # of the boxes' corners: 0 sharp, 1 capsules
    z_stretch: float  # heights times this for the nearest road edge
    central: bool  # central differences; else those to the moment before
    vehicles_only: bool  # times to collision count for vehicles


def _year(
    ranges: Sequence[tuple[float, float, int]], weights: Sequence[float], event: dict[str, float], *rest: float
) -> Year:
    names = (
        "linear_speed", "linear_acceleration", "angular_speed", "angular_acceleration", "distance_to_nearest_object",
        "time_to_collision", "distance_to_road_edge",
    )  # fmt: skip
    histograms = {name: Histogram(*span, weight) for name, span, weight in zip(names, ranges, weights, strict=True)}
    rounding, z_stretch, modern = rest
    return Year(histograms, event, rounding, z_stretch, bool(modern), bool(modern))


_WIDE = ((0, 35, 10), (-15, 15, 10), (-31.5, 31.5, 10), (-31.5, 31.5, 10), (-5, 40, 10), (0, 5, 10), (-20, 40, 10))
_NARROW = ((0, 25, 10), (-12, 12, 11), (-0.628, 0.628, 11), (-3.14, 3.14, 11), (-5, 40, 10), (0, 5, 10), (-20, 40, 10))
YEARS = {
    2023: _year(_WIDE, (0.09,) * 7, {"collision": 0.18, "offroad": 0.18}, 0.0, 0.0, 0.0),
    2024: _year(_NARROW, (0.05, 0.05, 0.05, 0.05, 0.1, 0.1, 0.1), {"collision": 0.25, "offroad": 0.25}, 0.7, 3.0, 1.0),
    2025: _year(
        _NARROW,
        (0.05, 0.05, 0.05, 0.05, 0.1, 0.1, 0.05),
        {"collision": 0.25, "offroad": 0.25, "red_light": 0.05},
        0.7,
        3.0,
        1.0,
    ),
}
"""2023 as first released: sharp corners, differences to the moment before, edges in the plane."""


class Light(NamedTuple):
    """A traffic light of one lane."""

    lane: int  # its place among the lanes
    stop: np.ndarray  # (2,) where to stop [m]
    red: np.ndarray  # (steps,) bool


class Roads(NamedTuple):
    """What the score knows about a map."""

    edges: Pieces
    lanes: Sequence[np.ndarray] = ()  # centers (points, 2) of streets, for red lights
    lights: Sequence[Light] = ()


class Features(NamedTuple):
    """What is compared, each (agents, steps) of the judged agents after the history."""

    linear_speed: np.ndarray  # [m/s]
    linear_acceleration: np.ndarray  # [m/s^2]
    angular_speed: np.ndarray  # [rad/s]
    angular_acceleration: np.ndarray  # [rad/s^2]
    distance_to_nearest_object: np.ndarray  # [m]
    time_to_collision: np.ndarray  # [s]
    distance_to_road_edge: np.ndarray  # [m] below 0 on the road
    collision: np.ndarray  # bool
    offroad: np.ndarray  # bool
    red_light: np.ndarray  # bool


def difference(values: np.ndarray, central: bool) -> np.ndarray:
    """Change a step along the last axis, of the same shape; nan where there is none: at both ends, or at the first one."""
    found = np.full(values.shape, np.nan)
    if central:
        found[..., 1:-1] = (values[..., 2:] - values[..., :-2]) / 2.0
    else:
        found[..., 1:] = values[..., 1:] - values[..., :-1]
    return found


def kinematics(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, heading: np.ndarray, dt: float, central: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Speed, its change, yaw rate and its change [m, s, rad] of positions and headings (..., steps), which all are there."""
    speed = np.sqrt(sum(difference(one, central) ** 2 for one in (x, y, z))) / dt
    several = 2.0 if central else 1.0  # over two steps a turn is known up to half a circle each
    turn = wrapped(difference(heading, central) * several) / several
    change = wrapped(difference(turn, central) * several) / several
    return speed, difference(speed, central) / dt, turn / dt, change / dt**2


def difference_valid(valid: np.ndarray, central: bool) -> np.ndarray:
    """Which differences of moments (..., steps) are of two valid ones."""
    found = np.zeros(valid.shape, bool)
    if central:
        found[..., 1:-1] = valid[..., 2:] & valid[..., :-2]
    else:
        found[..., 1:] = valid[..., 1:] & valid[..., :-1]
    return found


def nearest_object(trajectories: Trajectories, judged: np.ndarray, rounding: float) -> np.ndarray:
    """Signed distance [m] of each judged agent from the nearest other, (judged, steps); below 0 in a collision.

    Corners are rounded: boxes are shrunk, and what they lost is taken off the distance.
    """
    shrunk = np.minimum(trajectories.length, trajectories.width) * rounding / 2.0
    core = trajectories.boxes.copy()
    core[..., 3:] -= 2.0 * shrunk[..., None]
    found = np.full((len(judged), trajectories.steps), FAR)
    for k, agent in enumerate(judged):
        both = trajectories.valid[agent] & trajectories.valid
        both[agent] = False
        with np.errstate(invalid="ignore"):
            reach = NEAR + np.hypot(trajectories.length, trajectories.width)
            both &= np.hypot(trajectories.x - trajectories.x[agent], trajectories.y - trajectories.y[agent]) < reach
        others, steps = np.nonzero(both)
        if not len(others):
            continue
        apart = boxes.distance(core[agent, steps], core[others, steps]) - shrunk[agent, steps] - shrunk[others, steps]
        np.minimum.at(found[k], steps, apart)
    return found


def time_to_collision(trajectories: Trajectories, judged: np.ndarray, speed: np.ndarray) -> np.ndarray:
    """Time [s] until each judged agent is where its leader is, if nobody changes speed, (judged, steps).

    A leader is ahead, heads about the same way and overlaps sideways. speed: of all agents, (agents, steps).
    """
    found = np.full((len(judged), trajectories.steps), LONGEST_TTC)
    every = trajectories.boxes
    for k, agent in enumerate(judged):
        mine = every[agent][None]
        turn = np.abs(wrapped(every[..., 2] - mine[..., 2]))
        cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
        length, width = every[..., 3] / 2.0, every[..., 4] / 2.0
        seen = boxes.local(every[..., :2], np.broadcast_to(mine, every.shape))
        gap = seen[..., 0] - mine[..., 3] / 2.0 - (length * cos + width * sin)
        aside = np.abs(seen[..., 1]) - mine[..., 4] / 2.0 - (length * sin + width * cos)
        with np.errstate(invalid="ignore"):
            follows = (gap > 0.0) & (turn <= FOLLOWING) & (aside < 0.0) & ((aside < -NARROW) | (turn <= FOLLOWING_NARROW))
        follows &= trajectories.valid
        gap = np.where(follows, gap, FAR)
        leader = gap.argmin(axis=0)
        steps = np.arange(trajectories.steps)
        with np.errstate(invalid="ignore", divide="ignore"):
            closing = speed[agent] - speed[leader, steps]
            times = np.where(closing > 0.0, np.minimum(gap[leader, steps] / closing, LONGEST_TTC), LONGEST_TTC)
        found[k] = times
    return found


def road_edge(trajectories: Trajectories, judged: np.ndarray, edges: Pieces, z_stretch: float) -> np.ndarray:
    """Signed distance [m] of each judged agent's corner that is farthest out, (judged, steps); above 0 off the road.

    Ours: corners have the height of the box's middle (the source takes its bottom; recordings here have no heights of
    boxes).
    """
    found = np.full((len(judged), trajectories.steps), -FAR)
    for k, agent in enumerate(judged):
        steps = np.flatnonzero(trajectories.valid[agent])
        if not len(steps):
            continue
        at = boxes.corners(trajectories.boxes[agent, steps])
        z = np.broadcast_to(trajectories.z[agent, steps, None, None], (*at.shape[:2], 1))
        points = np.concatenate([at, z], axis=2).reshape(-1, 3)
        found[k, steps] = side_distance(points, edges, z_stretch).reshape(-1, 4).max(axis=1)
    return found


def red_light(
    trajectories: Trajectories, judged: np.ndarray, lanes: Sequence[np.ndarray], lights: Sequence[Light]
) -> np.ndarray:
    """Whether each judged agent has crossed the stop point of its lane's light while that was red, bool (judged, steps)."""
    found = np.zeros((len(judged), trajectories.steps), bool)
    if not lights or not lanes:
        return found
    for k, agent in enumerate(judged):
        place = np.stack([trajectories.x[agent], trajectories.y[agent]], axis=1)
        valid = trajectories.valid[agent]
        for light in lights:
            line = lanes[light.lane]
            segment = _nearest_segment(light.stop, line)
            ahead = (place - light.stop) @ (line[segment + 1, :2] - line[segment, :2])
            with np.errstate(invalid="ignore"):
                crossed = (ahead[1:] > 0.0) & (ahead[:-1] < 0.0)
            for step in np.flatnonzero(crossed & valid[1:] & light.red[1:]) + 1:
                nearest = int(np.argmin([project(place[step], line)[1] for line in lanes]))
                found[k, step] |= nearest == light.lane
    return found


def _nearest_segment(point: np.ndarray, line: np.ndarray) -> int:
    return int(np.argmin([project(point, line[k : k + 2])[1] for k in range(len(line) - 1)]))


def features(
    trajectories: Trajectories, judged: Sequence[int] | np.ndarray, roads: Roads, year: int, *, history: int = HISTORY
) -> Features:
    """The features of the judged agents at all moments after the history. trajectories: the whole scene."""
    rules, rows = YEARS[year], np.asarray(judged, int)
    now = slice(history, None)
    x, y, z, heading = (getattr(trajectories, name)[rows] for name in ("x", "y", "z", "heading"))
    speeds, changes, turns, bends = kinematics(x, y, z, heading, trajectories.dt, rules.central)
    flat = np.zeros_like(trajectories.x)
    speed = kinematics(trajectories.x, trajectories.y, flat, trajectories.heading, trajectories.dt, rules.central)[0]
    apart = nearest_object(trajectories, rows, rules.rounding)[:, now]
    edge = road_edge(trajectories, rows, roads.edges, rules.z_stretch)[:, now]
    return Features(
        linear_speed=speeds[:, now],
        linear_acceleration=changes[:, now],
        angular_speed=turns[:, now],
        angular_acceleration=bends[:, now],
        distance_to_nearest_object=apart,
        time_to_collision=time_to_collision(trajectories, rows, speed)[:, now],
        distance_to_road_edge=edge,
        collision=apart < 0.0,
        offroad=edge > 0.0,
        red_light=red_light(trajectories, rows, roads.lanes, roads.lights)[:, now],
    )


def log_probability(logged: np.ndarray, simulated: np.ndarray, histogram: Histogram, pseudocount: float) -> np.ndarray:
    """Logarithm of the chance of each logged value (agents, n) in the histogram of its agent's simulated ones (agents, m).

    Values are clipped to the histogram; nan among the simulated ones count in no bin.
    """
    edges = np.linspace(histogram.low, histogram.high, histogram.bins + 1)

    def bins(values: np.ndarray) -> np.ndarray:
        clipped = np.clip(np.nan_to_num(values, nan=histogram.low), histogram.low, histogram.high)
        return np.minimum(np.searchsorted(edges, clipped, side="right") - 1, histogram.bins - 1)

    counts = np.full((len(logged), histogram.bins), pseudocount)
    agents = np.broadcast_to(np.arange(len(logged))[:, None], simulated.shape)
    there = ~np.isnan(simulated)
    np.add.at(counts, (agents[there], bins(simulated)[there]), 1.0)
    chances = np.log(counts / counts.sum(axis=1, keepdims=True))
    return np.take_along_axis(chances, bins(logged), axis=1)


def _likelihood(logarithms: np.ndarray, valid: np.ndarray) -> float:
    """The exponential of the mean over what is valid; nan where nothing is."""
    return float(np.exp(logarithms[valid].mean())) if valid.any() else math.nan


class Realism(NamedTuple):
    """The score of a scene, or its mean over scenes, in one year's configuration."""

    year: int
    composite: float
    likelihoods: dict[str, float]
    min_ade: float  # [m] the smallest over the rollouts of the mean over agents
    ade: float  # [m]
    collision_rate: float  # share of judged agents and rollouts
    offroad_rate: float


class Rollout(NamedTuple):
    """What the score needs of one rollout: many of them fit into memory."""

    features: Features
    errors: np.ndarray  # (judged,) [m] mean distance from the log over its valid moments


def rollout(
    simulated: Trajectories, logged: Trajectories, judged: Sequence[int], roads: Roads, year: int, *, history: int = HISTORY
) -> Rollout:
    """One rollout: the same agents and moments as the log, the history taken from it. Raises ValueError for a year."""
    if year not in YEARS:
        raise ValueError(f"year={year}: there are configurations of {', '.join(map(str, YEARS))}")
    same_agents(simulated, logged)
    rows = np.asarray(judged, int)
    return Rollout(features(simulated, rows, roads, year, history=history), _displacement(simulated, logged, rows))


def of_scene(
    rollouts: Sequence[Trajectories],
    logged: Trajectories,
    judged: Sequence[int],
    roads: Roads,
    year: int,
    *,
    history: int = HISTORY,
) -> Realism:
    """The score of one scene from its rollouts, see `rollout`.

    Raises ValueError for a year that is not known, for no rollout and for nobody to judge.
    """
    made = [rollout(one, logged, judged, roads, year, history=history) for one in rollouts]
    return of_rollouts(made, logged, judged, roads, year, history=history)


def of_rollouts(
    rollouts: Sequence[Rollout],
    logged: Trajectories,
    judged: Sequence[int],
    roads: Roads,
    year: int,
    *,
    history: int = HISTORY,
) -> Realism:
    """The score of one scene. Differs: what nothing was observed of is left out of the mean, instead of making it nan.

    Raises ValueError for a year that is not known, for no rollout and for nobody to judge.
    """
    if year not in YEARS:
        raise ValueError(f"year={year}: there are configurations of {', '.join(map(str, YEARS))}")
    if not rollouts or not len(judged):
        raise ValueError(f"{len(rollouts)} rollouts, {len(judged)} agents to judge: there must be one each at least")
    rules, rows = YEARS[year], np.asarray(judged, int)
    truth, made = features(logged, rows, roads, year, history=history), [one.features for one in rollouts]
    valid = logged.valid[rows, history:]
    speeds = difference_valid(valid, rules.central)
    masks = {name: valid for name in rules.histograms}
    masks |= {"linear_speed": speeds, "angular_speed": speeds}
    masks |= dict.fromkeys(("linear_acceleration", "angular_acceleration"), difference_valid(speeds, rules.central))
    vehicle = np.array([logged.kinds[row] == "vehicle" for row in rows])[:, None]
    if rules.vehicles_only:
        masks["time_to_collision"] = valid & vehicle
    found: dict[str, float] = {}
    for name, histogram in rules.histograms.items():
        pooled = np.concatenate([getattr(one, name) for one in made], axis=1)
        chances = log_probability(getattr(truth, name), pooled, histogram, PSEUDOCOUNT)
        found[name] = _likelihood(chances, masks[name])
    rates = {}
    for name, weight in rules.bernoulli.items():
        counted = valid & vehicle if name == "red_light" else valid
        logs = (getattr(truth, name) & counted).any(axis=1)[:, None].astype(float)
        several = np.stack([(getattr(one, name) & counted).any(axis=1) for one in made], axis=1).astype(float)
        rates[name] = float(several.mean())
        chances = log_probability(logs, several, Histogram(-0.5, 1.5, 2, weight), PSEUDOCOUNT_BERNOULLI)
        found[name] = float(np.exp(chances.mean()))
    weights = {name: one.weight for name, one in rules.histograms.items()} | rules.bernoulli
    seen = {name: value for name, value in found.items() if not math.isnan(value)}
    mean_of_seen = math.fsum(weights[name] * value for name, value in seen.items()) / math.fsum(
        weights[name] for name in seen
    )
    errors = np.stack([one.errors for one in rollouts])
    return Realism(
        year=year,
        composite=mean_of_seen * math.fsum(weights.values()),
        likelihoods=found,
        min_ade=float(errors.mean(axis=1).min()),
        ade=float(errors.mean()),
        collision_rate=rates["collision"],
        offroad_rate=rates["offroad"],
    )


def _displacement(simulated: Trajectories, logged: Trajectories, rows: np.ndarray) -> np.ndarray:
    """Mean distance [m] in space from the log over all valid moments, history too, (rows,)."""
    square = sum((getattr(simulated, name)[rows] - getattr(logged, name)[rows]) ** 2 for name in ("x", "y", "z"))
    apart = np.where(logged.valid[rows], np.sqrt(square), 0.0)
    return np.nansum(apart, axis=1) / np.maximum(logged.valid[rows].sum(axis=1), 1)


def mean(scenes: Sequence[Realism]) -> Realism:
    """The mean over scenes, each counting the same. Raises ValueError for none, or for scenes of several years."""
    years = {scene.year for scene in scenes}
    if len(years) != 1:
        raise ValueError(f"a mean needs scenes of one year, these are of {sorted(years) or 'none'}")
    names = scenes[0].likelihoods
    each = {name: float(np.nanmean([scene.likelihoods[name] for scene in scenes])) for name in names}
    numbers = [float(np.mean([getattr(scene, name) for scene in scenes])) for name in ("composite", *Realism._fields[3:])]
    return Realism(years.pop(), numbers[0], each, *numbers[1:])
