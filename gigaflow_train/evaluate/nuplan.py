"""nuPlan's closed-loop score of a scene: multipliers times weighted terms, each a pure function of trajectories and lanes.

Source: motional/nuplan-devkit, nuplan/planning/metrics (formulas and thresholds of the closed-loop challenges; where its
documents and the yaml differ, the yaml, which runs). Ours: how lanes are found under the car, see `LaneMap`.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely

from gigaflow_train.evaluate import boxes
from gigaflow_train.evaluate.polylines import Pieces, project, side_distance
from gigaflow_train.evaluate.savitzky_golay import smoothed
from gigaflow_train.evaluate.trajectories import Trajectories, of, wrapped

STOPPED_EGO, STOPPED_TRACK, FRONT, REAR, LATERAL = range(5)
"""Kinds of collisions."""
KINDS = ("stopped ego", "stopped track", "front", "rear", "lateral")
STOPPED = 0.05
"""[m/s] At most so fast somebody stands, in a collision."""
AHEAD, BEHIND = math.radians(30.0), math.radians(150.0)
"""From the car's heading to another's middle, seen from its rear axle: below the first is ahead, above the second behind."""
REAR_AXLE = 1.461 / 5.176
"""[lengths] From the middle of the box to the rear axle: of the car that recorded nuPlan. Ours for other bodies."""

VRU = ("pedestrian", "cyclist")
ALLOWED = {"vru": 0, "vehicle": 0, "object": 1}
"""Collisions at fault with each class of road users that leave something of the score."""
AREA_TOLERANCE = 0.3
"""[m] that a corner may be outside of the drivable area."""
Z_STRETCH = 3.0
"""Heights times this for the nearest road edge, where there are edges: as WOSAC has it."""
DIRECTION_WINDOW = 1.0
"""[s] in which driving against a lane is summed up."""
DIRECTION_FINE, DIRECTION_LAST = 2.0, 6.0
"""[m] against the lane: below the first the score is 1, below the second 0.5, else 0."""
LEAST_PROGRESS, PROGRESS_FLOOR = 0.2, 0.1
"""Ratio that counts as making progress; [m] below which a way counts as this."""
LEAST_TTC, TTC_STEP, TTC_HORIZON, TTC_STOPPED = 0.95, 0.1, 3.0, 0.005
"""[s, s, s, m/s]"""
MOST_OVERSPEED = 2.23
"""[m/s] Over the limit by this all the time: the score is 0."""
ACCELERATION = (-4.05, 2.40)
"""[m/s^2] along the car"""
LATERAL_ACCELERATION, YAW_RATE, YAW_ACCELERATION = 4.89, 0.95, 1.93
"""[m/s^2, rad/s, rad/s^2]"""
LONGITUDINAL_JERK, JERK = 4.13, 8.37
"""[m/s^3]"""
WEIGHTS = {
    "ego_progress_along_expert_route": 5.0, "time_to_collision_within_bound": 5.0, "speed_limit_compliance": 4.0,
    "ego_is_comfortable": 2.0,
}  # fmt: skip


TYPES = (
    "starting_left_turn", "starting_right_turn", "starting_straight_traffic_light_intersection_traversal",
    "stopping_with_lead", "high_lateral_acceleration", "high_magnitude_speed", "low_magnitude_speed",
    "traversing_pickup_dropoff", "waiting_for_pedestrian_to_cross", "behind_long_vehicle", "stationary_in_traffic",
    "near_multiple_vehicles", "changing_lane", "following_lane_with_lead",
)  # fmt: skip
"""The 14 types of scenarios of the challenge. Source: nuplan-devkit, config/common/scenario_filter."""


class LaneShape(NamedTuple):
    """A lane, or a connector through a junction."""

    id: str
    line: np.ndarray  # (points, 2) center [m] in the direction of travel
    area: shapely.Polygon
    limit: float  # [m/s]; nan: none is known
    connector: bool
    successors: tuple[str, ...] = ()
    block: str = ""  # lanes side by side in one direction share it


class LaneMap(NamedTuple):
    """What the score knows about roads."""

    lanes: tuple[LaneShape, ...]
    drivable: shapely.Geometry
    junctions: shapely.Geometry  # their areas


def lanes_under(points: np.ndarray, road: LaneMap) -> list[list[int]]:
    """Numbers of the lanes whose area holds each point (n, 2): lanes, or connectors where no lane does."""
    found: list[list[int]] = [[] for _ in points]
    if road.lanes and len(points):
        tree = shapely.STRtree([lane.area for lane in road.lanes])
        for point, lane in sorted(tree.query(shapely.points(points), predicate="intersects").T.tolist()):
            found[point].append(lane)
    for point, lanes in enumerate(found):
        found[point] = [k for k in lanes if not road.lanes[k].connector] or lanes
    return found


def driven_lanes(ego: Trajectories, road: LaneMap) -> list[int]:
    """The lane of the car, a Trajectories of one agent, at each step; -1: none.

    It stays in its lane as long as that holds its middle, then goes on to a successor, else to the lane along which it
    heads best.
    """
    under = lanes_under(np.stack([ego.x[0], ego.y[0]], axis=1), road)
    number = {lane.id: k for k, lane in enumerate(road.lanes)}
    found, lane = [], -1
    for step, lanes in enumerate(under):
        if not lanes:
            lane = -1
        elif lane not in lanes:
            after = [number[one] for one in road.lanes[lane].successors if one in number] if lane >= 0 else []
            among = [k for k in lanes if k in after] or lanes
            lane = min(among, key=lambda k: _turn(ego, step, road.lanes[k]))
        found.append(lane)
    return found


def _turn(ego: Trajectories, step: int, lane: LaneShape) -> float:
    """Angle [rad] between a car's heading and a lane where it is nearest."""
    steps = np.diff(lane.line, axis=0)
    middle = (lane.line[:-1] + lane.line[1:]) / 2.0
    nearest = np.hypot(middle[:, 0] - ego.x[0, step], middle[:, 1] - ego.y[0, step]).argmin()
    return float(abs(wrapped(np.arctan2(steps[nearest, 1], steps[nearest, 0]) - ego.heading[0, step])))


def in_one_lane(ego: Trajectories, road: LaneMap) -> np.ndarray:
    """Whether all corners of the car, a Trajectories of one agent, are in one lane or in two that follow, bool (steps,)."""
    corners = boxes.corners(ego.boxes[0]).reshape(-1, 2)
    under = lanes_under(corners, road)
    found = np.zeros(ego.steps, bool)
    for step in range(ego.steps):
        lanes = [set(one) for one in under[4 * step : 4 * step + 4]]
        if set.intersection(*lanes):
            found[step] = True
            continue
        front = lanes[boxes.FRONT_LEFT] & lanes[boxes.FRONT_RIGHT]
        rear = lanes[boxes.REAR_LEFT] & lanes[boxes.REAR_RIGHT]
        ahead = {road.lanes[k].id for k in front}
        found[step] = any(ahead.intersection(road.lanes[k].successors) for k in rear)
    return found


class Collision(NamedTuple):
    """When the car first touched somebody, and how."""

    step: int
    agent: int
    kind: int  # STOPPED_EGO, STOPPED_TRACK, FRONT, REAR or LATERAL


def _angles(trajectories: Trajectories, ego: int, step: int, others: np.ndarray) -> np.ndarray:
    """Angles [rad] from the car's heading to the middles of others, seen from its rear axle."""
    heading = trajectories.heading[ego, step]
    back = REAR_AXLE * trajectories.length[ego, step]
    dx = trajectories.x[others, step] - trajectories.x[ego, step] + back * np.cos(heading)
    dy = trajectories.y[others, step] - trajectories.y[ego, step] + back * np.sin(heading)
    return np.abs(wrapped(np.arctan2(dy, dx) - heading))


def _speeds(trajectories: Trajectories, step: int, others: np.ndarray) -> np.ndarray:
    """Speeds of others [m/s]; objects have none."""
    moves = np.array([trajectories.kinds[k] != "other" for k in others], bool)
    return np.where(moves, np.hypot(trajectories.velocity_x[others, step], trajectories.velocity_y[others, step]), 0.0)


def _others(trajectories: Trajectories, ego: int, step: int) -> np.ndarray:
    """Numbers of the others that are there."""
    there = trajectories.valid[:, step].copy()
    there[ego] = False
    return np.flatnonzero(there)


def collisions(trajectories: Trajectories, ego: int) -> list[Collision]:
    """The first touch of the car with each other road user, in order. Who was hit is left out afterwards."""
    found: list[Collision] = []
    hit: set[int] = set()
    for step in np.flatnonzero(trajectories.valid[ego]).tolist():
        others = np.array([k for k in _others(trajectories, ego, step) if k not in hit], int)
        box = trajectories.boxes[ego, step]
        others = others[boxes.separation(box[None], trajectories.boxes[others, step]) <= 0.0]
        if not len(others):
            continue
        speeds, angles = _speeds(trajectories, step, others), _angles(trajectories, ego, step, others)
        ahead = box[3] / 2.0
        bumper = np.array([box[0] + ahead * np.cos(box[2]), box[1] + ahead * np.sin(box[2]), box[2], 0.0, box[4]])
        touched = boxes.separation(bumper[None], trajectories.boxes[others, step]) <= 0.0
        standing = trajectories.speed[ego, step] <= STOPPED
        for agent, speed, angle, front in zip(others.tolist(), speeds, angles, touched, strict=True):
            kind = (
                STOPPED_EGO if standing
                else STOPPED_TRACK if speed <= STOPPED
                else REAR if angle > BEHIND
                else FRONT if front
                else LATERAL
            )  # fmt: skip
            found.append(Collision(step, agent, kind))
            hit.add(agent)
    return found


def at_fault(found: Sequence[Collision], one_lane: np.ndarray) -> list[Collision]:
    """Collisions that the car could have prevented: with who stands, by its front, and by its side while between lanes.

    one_lane: bool (steps,), as `in_one_lane` gives it.
    """
    return [one for one in found if one.kind in (STOPPED_TRACK, FRONT) or (one.kind == LATERAL and not one_lane[one.step])]


def _class_of(kind: str) -> str:
    return "vru" if kind in VRU else "vehicle" if kind == "vehicle" else "object"


def no_ego_at_fault_collisions(faults: Sequence[Collision], kinds: Sequence[str]) -> float:
    """1 without, 0 with one on a road user; 0.5 for one object, 0 for two. kinds: of all agents."""
    score = 1.0
    for name, allowed in ALLOWED.items():
        count = sum(_class_of(kinds[one.agent]) == name for one in faults)
        score *= max(0.0, 1.0 - count / (allowed + 1))
    return score


def drivable_area_compliance(ego: Trajectories, road: LaneMap, edges: Pieces | None = None) -> float:
    """1, or 0 where a corner of the car, a Trajectories of one agent, has been so far outside of the drivable area.

    edges: of a recording that has road edges instead of areas; then these bound it. Ours, for datasets other than nuPlan's.
    """
    seen = ego.valid[0]
    corners = boxes.corners(ego.boxes[0][seen])
    if edges is None:
        outside = shapely.distance(shapely.points(corners.reshape(-1, 2)), road.drivable)
    else:
        z = np.broadcast_to(ego.z[0][seen, None, None], (*corners.shape[:2], 1))
        outside = side_distance(np.concatenate([corners, z], axis=2).reshape(-1, 3), edges, Z_STRETCH)
    return float(not (outside >= AREA_TOLERANCE).any())


def driving_direction_compliance(ego: Trajectories, road: LaneMap, lanes: Sequence[int]) -> float:
    """1, 0.5 or 0 by the longest way against the lane within a second. lanes: of each step, as `driven_lanes` gives them."""
    steps = np.zeros(ego.steps)
    before, last = (lanes[0] if lanes else -1), None
    for step, lane in enumerate(lanes):
        if lane < 0:
            continue
        if lane != before:
            before, last = lane, None
            continue
        here = float(project(np.array([ego.x[0, step], ego.y[0, step]]), road.lanes[lane].line)[0])
        # As the source does: at the very start of a lane, 0 m from it, no progress is counted.
        steps[step] = here - last if last is not None and here else 0.0
        last = here
    horizon = int(DIRECTION_WINDOW / ego.dt + 1e-9)
    sums = np.concatenate([[0.0], np.cumsum(steps)])
    end = np.arange(ego.steps)
    against = abs((sums[end + 1] - sums[np.maximum(end - horizon, 0)]).min())
    return 1.0 if against < DIRECTION_FINE else 0.5 if against < DIRECTION_LAST else 0.0


class Block(NamedTuple):
    """A part of the route that the recorded car took: its lane, and all lanes beside it."""

    line: np.ndarray  # (points, 2) the lane's center [m]
    area: shapely.Geometry


def route_of(expert: Trajectories, road: LaneMap) -> list[Block]:
    """The blocks of lanes that a recorded car, a Trajectories of one agent, drove through."""
    blocks: list[Block] = []
    last = ""
    for lane in driven_lanes(expert, road):
        if lane < 0 or (road.lanes[lane].block or road.lanes[lane].id) == last:
            continue
        shape = road.lanes[lane]
        last = shape.block or shape.id
        blocks.append(
            Block(shape.line, shapely.union_all([one.area for one in road.lanes if (one.block or one.id) == last]))
        )
    return blocks


def progress_along(ego: Trajectories, route: Sequence[Block]) -> float:
    """Way [m] of the car, a Trajectories of one agent, along the route: through blocks that follow, none of them twice.

    What lies between the block it has left and the one in which it is found again counts as driven.
    """
    places = np.stack([ego.x[0], ego.y[0]], axis=1)[ego.valid[0]]
    if not route or not len(places):
        return 0.0

    def along(block: Block, place: np.ndarray) -> float:
        return float(project(place, block.line)[0])

    total, current, at = 0.0, 0, along(route[0], places[0])
    inside = np.stack([shapely.intersects_xy(block.area, places) for block in route], axis=1)
    length = [float(np.hypot(*np.diff(block.line, axis=0).T).sum()) for block in route]
    for k, place in enumerate(places[1:], 1):
        ahead = current
        if not inside[k, current]:
            following = np.flatnonzero(inside[k, current + 1 :])
            if not len(following):
                continue
            ahead = current + 1 + int(following[0])
        here = along(route[ahead], place)
        if ahead == current:
            total += here - at
        else:
            end = route[current].line[-1]
            total += length[current] - at
            for passed in range(current + 1, ahead):  # from where the one before ends to where the next one begins
                total += along(route[passed], route[passed + 1].line[0]) - along(route[passed], end)
                end = route[passed].line[-1]
            total += here - along(route[ahead], route[current].line[-1])
        current, at = ahead, here
    return total


def ego_progress_along_expert_route(way: float, expert: float) -> float:
    """Ratio of two ways [m] along the route, at most 1; 0 where the car went back."""
    if way < -PROGRESS_FLOOR:
        return 0.0
    return min(1.0, max(way, PROGRESS_FLOOR) / max(expert, PROGRESS_FLOOR))


def times_to_collision(
    trajectories: Trajectories, ego: int, found: Sequence[Collision], one_lane: np.ndarray, in_junction: np.ndarray
) -> np.ndarray:
    """Time [s] to the next collision if all went on as they go, (steps,); inf: none within the horizon, or the car stands.

    Against who is ahead, and who is beside it, too, while it is between lanes or in a junction: bool (steps,) both. Who
    was hit is left out from that step on; at a collision by the car's fault the time is 0.
    """
    faults = {one.step for one in at_fault(found, one_lane)}
    hit = {one.agent: one.step for one in found}
    ahead_of = np.arange(TTC_STEP, TTC_HORIZON, TTC_STEP)
    times = np.full(trajectories.steps, np.inf)
    for step in np.flatnonzero(trajectories.valid[ego]).tolist():
        if step in faults:
            times[step] = 0.0
            continue
        speed = trajectories.speed[ego, step]
        others = np.array([k for k in _others(trajectories, ego, step) if hit.get(int(k), step + 1) > step], int)
        if speed <= TTC_STOPPED or not len(others):
            continue
        angles = _angles(trajectories, ego, step, others)
        beside = (not one_lane[step] or in_junction[step]) & (angles <= BEHIND)
        others = others[(angles < AHEAD) | beside]
        box, theirs = trajectories.boxes[ego, step], trajectories.boxes[others, step]
        speeds = _speeds(trajectories, step, others)
        reach = (speed + speeds) * TTC_HORIZON + np.hypot(box[3], box[4]) / 2.0 + np.hypot(theirs[:, 3], theirs[:, 4]) / 2.0
        close = np.hypot(theirs[:, 0] - box[0], theirs[:, 1] - box[1]) <= reach
        theirs, speeds = theirs[close], speeds[close]
        if not len(theirs):
            continue
        mine, later = np.repeat(box[None], len(ahead_of), axis=0), np.repeat(theirs[None], len(ahead_of), axis=0)
        mine[:, 0] += ahead_of * speed * np.cos(box[2])
        mine[:, 1] += ahead_of * speed * np.sin(box[2])
        later[..., 0] += ahead_of[:, None] * speeds * np.cos(theirs[:, 2])
        later[..., 1] += ahead_of[:, None] * speeds * np.sin(theirs[:, 2])
        touched = (boxes.separation(mine[:, None], later) <= 0.0).any(axis=1)
        if touched.any():
            times[step] = ahead_of[touched.argmax()]
    return times


def time_to_collision_within_bound(times: np.ndarray) -> float:
    """1 where the shortest time is above the bound, else 0."""
    return float(times.min(initial=np.inf) > LEAST_TTC)


def speed_limits(road: LaneMap, lanes: Sequence[int]) -> np.ndarray:
    """Limit [m/s] at each step, (steps,); nan: none is known. In a connector the highest of the lanes around it."""
    limit = {lane.id: lane.limit for lane in road.lanes}
    before: dict[str, list[str]] = {}
    for lane in road.lanes:
        for after in lane.successors:
            before.setdefault(after, []).append(lane.id)
    highest = []
    for lane in road.lanes:
        around = [limit[one] for one in (*lane.successors, *before.get(lane.id, ())) if one in limit]
        known = around if lane.connector and around else [lane.limit]
        highest.append(math.nan if any(math.isnan(one) for one in known) else max(known))
    return np.array([math.nan if lane < 0 else highest[lane] for lane in lanes], np.float64)


def speed_limit_compliance(speed: np.ndarray, limits: np.ndarray, dt: float) -> float:
    """1 less the mean excess of speeds over limits, (steps,) both, by MOST_OVERSPEED; at least 0."""
    if len(speed) < 2:
        return 1.0
    over = np.fmax(speed - limits, 0.0)
    over = np.where(np.isnan(over), 0.0, over)
    return max(0.0, 1.0 - float(over.sum()) * dt / (MOST_OVERSPEED * (len(speed) - 1) * dt))


def accelerations(ego: Trajectories) -> tuple[np.ndarray, np.ndarray]:
    """Along the car and to its left [m/s^2], (steps,), from the differences of its velocities."""
    ax, ay = (np.gradient(one[0], ego.dt) for one in (ego.velocity_x, ego.velocity_y))
    cos, sin = np.cos(ego.heading[0]), np.sin(ego.heading[0])
    return ax * cos + ay * sin, ay * cos - ax * sin


def comfort(along: np.ndarray, left: np.ndarray, heading: np.ndarray, dt: float) -> dict[str, bool]:
    """Which of the six limits are kept, from accelerations [m/s^2] and headings [rad], (steps,), 5 at least.

    Accelerations are smoothed over 8 steps, jerks are derivatives over 15, yaw rate and acceleration over 5, all by
    polynomials of degree 2, the last one of degree 3.
    """
    unwrapped = np.unwrap(heading)
    smooth = [np.round(smoothed(one, 8, 2), 8) for one in (along, left, np.hypot(along, left))]
    jerk, whole = (np.round(smoothed(one, 15, 2, derivative=1, dt=dt), 8) for one in (smooth[0], smooth[2]))
    rate = np.round(smoothed(unwrapped, 5, 2, derivative=1, dt=dt), 8)
    turn = np.round(smoothed(unwrapped, 5, 3, derivative=2, dt=dt), 8)

    def within(values: np.ndarray, low: float, high: float) -> bool:
        return bool(((low < values) & (values < high)).all())

    return {
        "longitudinal acceleration": within(smooth[0], *ACCELERATION),
        "lateral acceleration": within(smooth[1], -LATERAL_ACCELERATION, LATERAL_ACCELERATION),
        "yaw rate": within(rate, -YAW_RATE, YAW_RATE),
        "yaw acceleration": within(turn, -YAW_ACCELERATION, YAW_ACCELERATION),
        "longitudinal jerk": within(jerk, -LONGITUDINAL_JERK, LONGITUDINAL_JERK),
        "jerk": within(whole, -JERK, JERK),
    }


class Terms(NamedTuple):
    """The parts of a scene's score, each 0..1. The first four are multipliers."""

    no_ego_at_fault_collisions: float
    drivable_area_compliance: float
    driving_direction_compliance: float
    ego_is_making_progress: float
    ego_progress_along_expert_route: float
    time_to_collision_within_bound: float
    speed_limit_compliance: float
    ego_is_comfortable: float


MULTIPLIERS = Terms._fields[:4]


def score(terms: Terms) -> float:
    """The scene's score, 0..1: the multipliers times the weighted mean of the other terms."""
    found = terms._asdict()
    mean = sum(weight * found[name] for name, weight in WEIGHTS.items()) / sum(WEIGHTS.values())
    return math.prod(found[name] for name in MULTIPLIERS) * mean


def of_scene(
    simulated: Trajectories, logged: Trajectories, ego: int, road: LaneMap, edges: Pieces | None = None, *, first: int = 0
) -> Terms:
    """The terms of one car in a scene from moment `first` on. Moments at which it is missing count in no way."""
    there = np.flatnonzero(simulated.valid[ego, first:]) + first
    if not len(there):
        raise ValueError(f"agent {simulated.ids[ego]} is never there from step {first} on: it can't be scored")
    window = slice(int(there[0]), int(there[-1]) + 1)
    scene = of(simulated, None, window)
    car, expert = of(scene, [ego]), of(logged, [ego], slice(first, None))
    lanes = driven_lanes(car, road)
    one_lane = in_one_lane(car, road)
    axle = car.boxes[0, :, :2] - (REAR_AXLE * car.length[0] * np.stack([np.cos(car.heading[0]), np.sin(car.heading[0])])).T
    in_junction = shapely.intersects_xy(road.junctions, axle)
    met = collisions(scene, ego)
    route = route_of(expert, road)
    progress = ego_progress_along_expert_route(progress_along(car, route), progress_along(expert, route))
    seen = car.valid[0]
    whole = of(car, None, slice(None))
    comfortable = (
        not seen.all() or whole.steps < 5 or all(comfort(*accelerations(whole), whole.heading[0], whole.dt).values())
    )
    return Terms(
        no_ego_at_fault_collisions=no_ego_at_fault_collisions(at_fault(met, one_lane), scene.kinds),
        drivable_area_compliance=drivable_area_compliance(car, road, edges),
        driving_direction_compliance=driving_direction_compliance(car, road, lanes),
        ego_is_making_progress=float(progress >= LEAST_PROGRESS),
        ego_progress_along_expert_route=progress,
        time_to_collision_within_bound=time_to_collision_within_bound(
            times_to_collision(scene, ego, met, one_lane, in_junction)
        ),
        speed_limit_compliance=speed_limit_compliance(car.speed[0], speed_limits(road, lanes), car.dt),
        ego_is_comfortable=float(comfortable),
    )


def by_type(scores: Sequence[float], types: Sequence[str]) -> tuple[dict[str, float], float]:
    """Mean score of each type of scenes, and of all scenes, in which each scene counts the same."""
    found = {
        name: float(np.mean([s for s, one in zip(scores, types, strict=True) if one == name])) for name in sorted(set(types))
    }
    return found, float(np.mean(scores)) if len(scores) else math.nan
