"""CARLA leaderboard: routes from its XML files, matched to the lanes of a map, and the driving score.

Source: carla-simulator/leaderboard, statistics_manager.py (penalties) and the criteria of scenario_runner (thresholds).
"""

import heapq
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from lxml import etree

from gigaflow_env.roads import MapError, RoadMap
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.road_map import WIDTH
from gigaflow_train.evaluate.polylines import arc_length, project

PENALTIES = {
    "pedestrian": 0.50, "vehicle": 0.60, "static": 0.65, "red_light": 0.70, "stop_sign": 0.80,
    "scenario_timeout": 0.70, "yield_emergency": 0.70,
}  # fmt: skip
"""Factors, one for each infraction. The last two are of Leaderboard 2."""
SLOW_PENALTY = 0.3
"""Leaderboard 2: what driving at 0 % of the traffic's speed would take away."""
DEVIATION, BLOCKED, BLOCKED_SPEED = 30.0, 180.0, 0.1
"""[m, s, m/s] A route ends so far from it, or after standing for so long."""
COMPLETE, ARRIVED = 0.99, 10.0
"""Share of the route, and [m] from its end, at which it counts as driven."""
SECONDS_PER_METRE, SECONDS_MORE = 0.8, 5.0
"""[s/m, s] A route may take so long."""
TOO_FAR = 3.0
"""[m] from the edge of the nearest lane: a way-point farther out lies on none. Ours."""
STEP = 1.0
"""[m] between the points of a matched route."""
CHANGE_COST = 10.0
"""[m] that a lane change costs when ways are compared. Ours."""


class Route(NamedTuple):
    """A route of a file, in the coordinates of the map: x east, y north."""

    id: str
    town: str
    points: np.ndarray  # (points, 3) [m]
    scenarios: tuple[str, ...] = ()  # types of what happens on it; only listed, nothing of it is played


def read_routes(path: str | Path) -> list[Route]:
    """The routes of a leaderboard file: of version 1 (Longest6, LAV) or 2 (Bench2Drive).

    CARLA's y points to the south: it is turned. Raises MapError that names the file, route and line for what can't be read.
    """
    path = Path(path)
    parser = etree.XMLParser(resolve_entities=False, load_dtd=False, no_network=True)
    try:
        root = etree.parse(str(path), parser).getroot()
    except etree.XMLSyntaxError as error:
        raise MapError(f"{path}: no readable XML: {error}") from None
    found = [_route(element, path) for element in root.iter("route")]
    if not found:
        raise MapError(f"{path}: no <route> in it: expected routes of the CARLA leaderboard")
    ids = [route.id for route in found]
    twice = next((one for k, one in enumerate(ids) if one in ids[:k]), None)
    if twice is not None:
        raise MapError(f"{path}: route {twice!r} is given twice")
    return found


def _route(element: etree._Element, path: Path) -> Route:
    name, town = element.get("id"), element.get("town") or element.get("map")
    where = f"{path}, line {element.sourceline}: route {name!r}"
    if name is None or town is None:
        raise MapError(f"{where}: it must have an id and a town")
    listed = element.find("waypoints")
    places = list(element.findall("waypoint")) if listed is None else list(listed.findall("position"))
    if len(places) < 2:
        raise MapError(f"{where}: {len(places)} way-points, there must be 2 at least")
    points = []
    for place in places:
        try:
            x, y, z = (float(place.get(axis, "0" if axis == "z" else "")) for axis in "xyz")
        except ValueError:
            raise MapError(f"{path}, line {place.sourceline}: route {name!r}: x, y and z must be numbers") from None
        if not all(map(math.isfinite, (x, y, z))):
            raise MapError(f"{path}, line {place.sourceline}: route {name!r}: x, y and z must be finite")
        points.append((x, -y, z))
    scenarios = tuple(one.get("type", one.get("name", "")) for one in element.iterfind("scenarios/scenario"))
    return Route(name, town, np.array(points, np.float64), scenarios)


class Matched(NamedTuple):
    """A route on the lanes of a map."""

    route: Route
    line: np.ndarray  # (points, 3) x, y, z [m] along the lanes, some STEP apart
    heading: np.ndarray  # (points,) [rad]
    lanes: tuple[str, ...]  # in order
    speed: np.ndarray  # (points,) limit [m/s]

    @property
    def length(self) -> float:
        """Length of the way [m]."""
        return float(arc_length(self.line)[-1])

    @property
    def timeout(self) -> float:
        """Time in which it has to be driven [s]."""
        return SECONDS_PER_METRE * self.length + SECONDS_MORE


class LaneGraph(NamedTuple):
    """The driving lanes of a map, sampled."""

    names: tuple[str, ...]
    dense: tuple[np.ndarray, ...]  # of each lane (points, 7), as `centerline.sample` gives them
    owner: np.ndarray  # (all points,) lane of each
    points: np.ndarray  # (all points, 2)
    road_map: RoadMap


def lane_graph(road_map: RoadMap) -> LaneGraph:
    """The driving lanes of a map as `match` wants them."""
    lanes = [lane for lane in road_map.lanes.values() if lane.kind == "driving"]
    dense = tuple(sample(lane.line, STEP) for lane in lanes)
    owner = np.repeat(np.arange(len(lanes)), [len(one) for one in dense])
    return LaneGraph(tuple(lane.id for lane in lanes), dense, owner, np.concatenate(dense)[:, :2], road_map)


def candidates(graph: LaneGraph, point: np.ndarray) -> list[tuple[int, float, float]]:
    """Lanes near a place (3,): number, how far along [m], and how far its center is from the place [m]; the nearest first.

    Raises MapError with the distance where the place lies on no lane.
    """
    apart = np.hypot(*(graph.points - point[:2]).T)
    near = np.flatnonzero(apart <= apart.min() + 2.0 * TOO_FAR)
    found = []
    for lane in np.unique(graph.owner[near]):
        line = graph.dense[lane]
        along, off = (float(one) for one in project(point[:2], line))
        outside = off - float(line[np.abs(line[:, 6] - along).argmin(), WIDTH]) / 2.0
        found.append((outside, off, along, int(lane)))
    outside, off, _, lane = min(found)
    if outside > TOO_FAR:
        raise MapError(
            f"way-point ({point[0]:.1f}, {point[1]:.1f}) lies on no lane: the nearest, {graph.names[lane]!r}, is "
            f"{off:.1f} m away, {outside:.1f} m beyond its edge; at most {TOO_FAR:.1f} m are possible"
        )
    found = [one for one in found if one[0] <= max(outside, 0.0) + 0.5]
    return [(lane, along, off) for _, off, along, lane in sorted(found, key=lambda one: one[1])]


def match(route: Route, graph: LaneGraph) -> Matched:
    """The way along the lanes through all way-points.

    Raises MapError that names route and way-point where one lies on no lane (with the distance), or where no way leads on.
    """
    places = []
    for number, point in enumerate(route.points):
        try:
            places.append(candidates(graph, point))
        except MapError as error:
            raise MapError(f"route {route.id!r}, way-point {number}: {error}") from None
    # Of every way-point's lanes: the cheapest way there, so that a point between two lanes goes where the route goes on.
    best: list[dict[tuple[int, float], tuple[float, list[tuple[int, float, float]], tuple[int, float] | None]]] = []
    best.append({(lane, along): (off, [], None) for lane, along, off in places[0]})
    for number, targets in enumerate(places[1:], 1):
        reached: dict[tuple[int, float], tuple[float, list[tuple[int, float, float]], tuple[int, float] | None]] = {}
        apart = float(math.dist(route.points[number, :2], route.points[number - 1, :2]))
        for (lane, along), (cost, _, _) in best[-1].items():
            for (target, at, off), way, cost_on in _ways(graph, lane, along, targets, limit=10.0 * apart + 500.0):
                whole = cost + cost_on + off
                if (target, at) not in reached or whole < reached[target, at][0]:
                    reached[target, at] = (whole, way, (lane, along))
        if not reached:
            names = ", ".join(sorted({graph.names[lane] for lane, _ in best[-1]}))
            raise MapError(
                f"route {route.id!r}: no way leads from way-point {number - 1} (lane {names}) to way-point {number} "
                f"({route.points[number, 0]:.1f}, {route.points[number, 1]:.1f})"
            )
        best.append(reached)
    node: tuple[int, float] | None = min(best[-1], key=lambda key: best[-1][key][0])
    parts: list[tuple[int, float, float]] = []
    for reached in reversed(best):
        _, way, before = reached[node]  # type: ignore[index]
        parts = way + parts
        node = before
    return _joined(route, graph, parts)


def _ways(
    graph: LaneGraph, lane: int, along: float, targets: Sequence[tuple[int, float, float]], limit: float
) -> list[tuple[tuple[int, float, float], list[tuple[int, float, float]], float]]:
    """Shortest ways from a place on a lane to each target: parts (lane, from, to) and costs [m]."""
    number = {name: k for k, name in enumerate(graph.names)}
    wanted: dict[int, list[tuple[int, float, float]]] = {}
    for target in targets:
        wanted.setdefault(target[0], []).append(target)
    found: list[tuple[tuple[int, float, float], list[tuple[int, float, float]], float]] = []
    queue: list[tuple[float, int, int, float, list[tuple[int, float, float]]]] = [(0.0, 0, lane, along, [])]
    done: set[int] = set()
    order = 0
    while queue and len(found) < len(targets):
        cost, _, here, start, parts = heapq.heappop(queue)
        if cost > limit or (here in done and parts):
            continue
        done.add(here)
        for target in wanted.get(here, ()):
            if target[1] >= start - 1e-6 and all(target is not one[0] for one in found):
                found.append((target, [*parts, (here, start, target[1])], cost + target[1] - start))
        length = float(graph.dense[here][-1, 6])
        shape = graph.road_map.lanes[graph.names[here]]
        for after in shape.successors:
            if after in number:
                order += 1
                item = (cost + length - start, order, number[after], 0.0, [*parts, (here, start, length)])
                heapq.heappush(queue, item)
        for beside in (shape.left, shape.right):
            if beside is not None and beside in number and number[beside] not in done:
                other = number[beside]
                at = float(
                    project(graph.dense[here][np.abs(graph.dense[here][:, 6] - start).argmin(), :2], graph.dense[other])[0]
                )
                order += 1
                heapq.heappush(queue, (cost + CHANGE_COST, order, other, at, [*parts, (here, start, start)]))
    return found


def _joined(route: Route, graph: LaneGraph, parts: Sequence[tuple[int, float, float]]) -> Matched:
    """The line through parts of lanes. Lane changes are straight."""
    lines, headings, speeds = [], [], []
    lanes: list[str] = []
    for lane, start, end in parts:
        rows = graph.dense[lane]
        inside = rows[(rows[:, 6] > start + 1e-6) & (rows[:, 6] < end - 1e-6), 6]
        at = np.unique(np.concatenate([[start], inside, [end]]))
        lines.append(np.column_stack([np.interp(at, rows[:, 6], rows[:, k]) for k in range(3)]))
        headings.append(np.interp(at, rows[:, 6], rows[:, 3]))
        speeds.append(np.full(len(at), graph.road_map.lanes[graph.names[lane]].speed))
        if not lanes or lanes[-1] != graph.names[lane]:
            lanes.append(graph.names[lane])
    line, heading, speed = np.concatenate(lines), np.concatenate(headings), np.concatenate(speeds)
    kept = np.concatenate([[True], np.hypot(*np.diff(line[:, :2], axis=0).T) > 1e-3])
    return Matched(route, line[kept], heading[kept], tuple(lanes), speed[kept])


class Infractions(NamedTuple):
    """What went wrong on a route."""

    pedestrian: int = 0  # collisions
    vehicle: int = 0
    static: int = 0
    red_light: int = 0
    stop_sign: int = 0
    scenario_timeout: int = 0
    yield_emergency: int = 0
    outside: float = 0.0  # share of the driven way outside of the route's lanes
    speed: float = 1.0  # mean speed as a share of the traffic's around, Leaderboard 2


def penalty(infractions: Infractions, *, leaderboard: int = 1, min_speed: bool = True) -> float:
    """Factor of a route's score, 0..1. leaderboard: 1 or 2; min_speed: version 2 counts slowness, Bench2Drive doesn't."""
    factor = 1.0 - min(max(infractions.outside, 0.0), 1.0)
    for name, each in PENALTIES.items():
        if leaderboard == 2 or name not in ("scenario_timeout", "yield_emergency"):
            factor *= each ** getattr(infractions, name)
    if leaderboard == 2 and min_speed:
        factor *= 1.0 - SLOW_PENALTY * (1.0 - min(max(infractions.speed, 0.0), 1.0))
    return factor


class RouteScore(NamedTuple):
    """A route of a report."""

    route: str
    completion: float  # share, 0..1
    penalty: float
    score: float  # 0..100
    status: str  # one of ENDS
    km: float
    infractions: Infractions


ENDS = ("completed", "deviation", "blocked", "timeout", "running")


def route_score(
    route: str, completion: float, infractions: Infractions, status: str, km: float, *, leaderboard: int = 1
) -> RouteScore:
    """A route's score: percents of it that were driven, times the penalty."""
    factor = penalty(infractions, leaderboard=leaderboard)
    return RouteScore(route, completion, factor, 100.0 * completion * factor, status, km, infractions)


class Score(NamedTuple):
    """What all routes come to."""

    driving_score: float  # 0..100, mean over routes of their scores: not the product of the means
    route_completion: float  # 0..100
    penalty: float  # 0..1
    success: float  # share of routes that were completed without any infraction but low speed
    per_km: dict[str, float]  # infractions


def score(routes: Sequence[RouteScore]) -> Score:
    """Means over routes. Raises ValueError for none."""
    if not routes:
        raise ValueError("a score needs one route at least")
    km = math.fsum(route.km for route in routes)
    counts: dict[str, float] = {name: sum(getattr(route.infractions, name) for route in routes) for name in PENALTIES}
    counts |= {status: sum(route.status == status for route in routes) for status in ENDS[1:4]}
    clean = [
        route.status == "completed"
        and not any(getattr(route.infractions, name) for name in PENALTIES)
        and route.infractions.outside == 0.0
        for route in routes
    ]
    return Score(
        driving_score=float(np.mean([route.score for route in routes])),
        route_completion=100.0 * float(np.mean([route.completion for route in routes])),
        penalty=float(np.mean([route.penalty for route in routes])),
        success=float(np.mean(clean)),
        per_km={name: count / km if km > 0.0 else math.nan for name, count in counts.items()},
    )


class Progress:
    """Follows a car along a route: how much of it is behind, and whether it is over."""

    def __init__(self, matched: Matched, dt: float) -> None:
        self.line, self.along = matched.line[:, :2], arc_length(matched.line)
        self.dt, self.limit = dt, matched.timeout
        self.at, self.seconds, self.standing, self.status = 0.0, 0.0, 0.0, "running"

    @property
    def completion(self) -> float:
        """Share of the route that was driven."""
        return 1.0 if self.status == "completed" else self.at / float(self.along[-1])

    def add(self, place: np.ndarray, speed: float) -> str:
        """Take down where the car is (2,) and how fast; the status, one of ENDS."""
        if self.status != "running":
            return self.status
        self.seconds += self.dt
        self.standing = self.standing + self.dt if abs(speed) < BLOCKED_SPEED else 0.0
        # Only the part just ahead counts: a route that crosses itself is not cut short. Ours: 30 m.
        window = (self.along >= self.at - 1.0) & (self.along <= self.at + DEVIATION + 1.0)
        part = self.line[window]
        along, off = (float(one) for one in project(place, part)) if len(part) > 1 else (0.0, math.inf)
        base = float(self.along[window][0]) if len(part) else self.at
        if off <= ARRIVED:
            self.at = max(self.at, base + along)
        apart = float(project(place, self.line)[1])
        if self.at >= COMPLETE * self.along[-1] and math.dist(place, self.line[-1]) <= ARRIVED:
            self.status = "completed"
        elif apart > DEVIATION:
            self.status = "deviation"
        elif self.standing >= BLOCKED - 1e-9:
            self.status = "blocked"
        elif self.seconds >= self.limit - 1e-9:
            self.status = "timeout"
        return self.status


def records(routes: Sequence[RouteScore]) -> dict[str, object]:
    """The routes as the leaderboard's own result files have them, for tools that read these: `_checkpoint.records[]`."""
    names = {
        "pedestrian": "collisions_pedestrian", "vehicle": "collisions_vehicle", "static": "collisions_layout",
        "red_light": "red_light", "stop_sign": "stop_infraction", "scenario_timeout": "scenario_timeouts",
        "yield_emergency": "yield_emergency_vehicle_infractions",
    }  # fmt: skip
    found = []
    for index, route in enumerate(routes):
        infractions: dict[str, list[str]] = {
            theirs: [f"{ours} {k + 1}" for k in range(getattr(route.infractions, ours))] for ours, theirs in names.items()
        }
        infractions["outside_route_lanes"] = (
            [f"{100.0 * route.infractions.outside:.2f} % of the way"] if route.infractions.outside else []
        )
        ends = {"route_dev": "deviation", "vehicle_blocked": "blocked", "route_timeout": "timeout"}
        infractions |= {name: ["the route ended"] if route.status == status else [] for name, status in ends.items()}
        found.append(
            {
                "index": index,
                "route_id": f"RouteScenario_{route.route}",
                "status": "Completed" if route.status == "completed" else f"Failed - {route.status}",
                "infractions": infractions,
                "scores": {
                    "score_route": 100.0 * route.completion,
                    "score_penalty": route.penalty,
                    "score_composed": route.score,
                },
                "meta": {"route_length": 1000.0 * route.km},
            }
        )
    return {"_checkpoint": {"records": found, "progress": [len(found), len(found)]}}
