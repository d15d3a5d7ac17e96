"""Checks of a record, never assumed: who starts inside of another's box, off the road, or moves as no car can.

Recorded boxes have errors of some decimetres, and a map has no car parks: such agents are flagged and reported apart, as
the paper does. Pure functions of a Scenario and its RoadMap, float64.
"""

from typing import NamedTuple

import numpy as np
import shapely

from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.levels import same_level
from gigaflow_env.roads.road_map import HEADING, WIDTH, RoadMap, X, Y, Z
from gigaflow_env.roads.scenario import Scenario

MOST_ACCELERATION = 10.4
"""[m/s^2] Source: Waymax, metrics/comfort.py, KinematicsInfeasibilityMetric."""
MOST_CURVATURE = 0.3
"""[1/m] Source: the same."""
TOLERANCE = 1e-3
"""Of both, for rounding."""
SLOW = 0.6
"""[m/s] Below this the curvature counts as 0, and the direction is the box's instead of the velocity's. Source: Waymax,
dynamics/bicycle_model.py."""
OUTSIDE = 0.05
"""Share of a box that may lie off the road: the widths of lanes are no better known. Ours."""
SPACING = 2.0
"""[m] Between the points of a lane's border. Ours: a curve of 15 m radius is 3 cm off."""


class Flags(NamedTuple):
    """What is wrong with each agent: bool (agents,)."""

    overlap: np.ndarray  # starts inside of another's box
    off_road: np.ndarray  # a vehicle that starts with more than OUTSIDE of its box off every lane
    infeasible: np.ndarray  # a vehicle that speeds up, brakes or turns as none can, at some step

    @property
    def start_conflict(self) -> np.ndarray:
        """Whose start is no fair one: bool (agents,)."""
        return self.overlap | self.off_road


def flags(scenario: Scenario, road_map: RoadMap, step: int = 0) -> Flags:
    """All checks at once; starts are at `step`. Who isn't there at that step has no start, and so no conflict."""
    vehicle = np.array([kind == "vehicle" for kind in scenario.kinds])
    moves = (infeasible(scenario) & vehicle[:, None]).any(axis=1)
    return Flags(overlapping(scenario, step), off_road(scenario, road_map, step) & vehicle, moves)


def corners(scenario: Scenario, step: int) -> np.ndarray:
    """Corners [m] of all boxes at a step, counter-clockwise from the front left one: (agents, 4, 2)."""
    x, y, heading, length, width = (getattr(scenario, name)[:, step] for name in ("x", "y", "heading", "length", "width"))
    along = np.outer(length, [0.5, -0.5, -0.5, 0.5])
    across = np.outer(width, [0.5, 0.5, -0.5, -0.5])
    cos, sin = np.cos(heading)[:, None], np.sin(heading)[:, None]
    return np.stack([x[:, None] + along * cos - across * sin, y[:, None] + along * sin + across * cos], axis=-1)


def overlapping(scenario: Scenario, step: int) -> np.ndarray:
    """Whose box has a part in common with that of another agent on its level, at a step: bool (agents,)."""
    present = np.flatnonzero(scenario.valid[:, step])
    boxes = shapely.polygons(corners(scenario, step)[present])
    z = scenario.z[present, step]
    found = np.zeros(scenario.agents, bool)
    one, other = shapely.STRtree(boxes).query(boxes, predicate="intersects")
    # Boxes that only touch have no area in common.
    shared = shapely.area(shapely.intersection(boxes[one], boxes[other])) > 1e-9
    level = np.array([same_level(z[a], z[b]) for a, b in zip(one, other, strict=True)], bool)
    found[present[one[(one != other) & shared & level]]] = True
    return found


def off_road(scenario: Scenario, road_map: RoadMap, step: int) -> np.ndarray:
    """Whose box lies off all lanes of its level with more than OUTSIDE of its area, at a step: bool (agents,)."""
    present = np.flatnonzero(scenario.valid[:, step])
    boxes = shapely.polygons(corners(scenario, step)[present])
    surfaces, low, high = _surfaces(road_map)
    box, lane = shapely.STRtree(surfaces).query(boxes, predicate="intersects")
    z = scenario.z[present, step][box]
    level = same_level(np.clip(z, low[lane], high[lane]), z)
    box, lane = box[level], lane[level]
    found = np.zeros(scenario.agents, bool)
    for k, agent in enumerate(present):
        road = shapely.union_all(surfaces[lane[box == k]])
        found[agent] = shapely.area(shapely.difference(boxes[k], road)) > OUTSIDE * shapely.area(boxes[k])
    return found


def _surfaces(road_map: RoadMap) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The areas of all lanes, and the lowest and highest point [m] of each."""
    areas, low, high = [], [], []
    for lane in road_map.lanes.values():
        points = sample(lane.line, SPACING)
        across = np.column_stack([-np.sin(points[:, HEADING]), np.cos(points[:, HEADING])]) * points[:, [WIDTH]] / 2
        center = points[:, [X, Y]]
        areas.append(shapely.Polygon(np.concatenate([center + across, (center - across)[::-1]])))
        low.append(points[:, Z].min())
        high.append(points[:, Z].max())
    return shapely.make_valid(np.array(areas, object)), np.array(low), np.array(high)


def infeasible(scenario: Scenario) -> np.ndarray:
    """Steps to which an agent can't have come from the step before as a bicycle: bool (agents, steps), see `no_bicycle`."""
    return no_bicycle(scenario.heading, scenario.velocity_x, scenario.velocity_y, scenario.dt)


def no_bicycle(heading: np.ndarray, velocity_x: np.ndarray, velocity_y: np.ndarray, dt: float) -> np.ndarray:
    """Whether the step to each moment is beyond what a car can do, bool (agents, steps); the first one has none.

    Headings [rad] and velocities [m/s] (agents, steps), NaN where nothing is known: nothing is beyond there. An inverse
    bicycle: a = (v' - v) / dt, curvature = turn / (v dt + a dt^2 / 2), where the turn leads from the heading to the
    direction of the new velocity, below SLOW to the new heading. Source: Waymax, as the thresholds.
    """
    speed = np.hypot(velocity_x, velocity_y)
    before, after = speed[:, :-1], speed[:, 1:]
    acceleration = (after - before) / dt
    direction = np.arctan2(velocity_y[:, 1:], velocity_x[:, 1:])
    turn = np.where(after <= SLOW, heading[:, 1:], direction) - heading[:, :-1]
    turn = np.arctan2(np.sin(turn), np.cos(turn))
    way = before * dt + 0.5 * acceleration * dt**2
    moving = (before >= SLOW) & (after >= SLOW) & (way != 0.0)  # False where one of both is not known
    curvature = np.divide(turn, way, out=np.zeros_like(turn), where=moving)
    beyond = (np.abs(acceleration) > MOST_ACCELERATION + TOLERANCE) | (np.abs(curvature) > MOST_CURVATURE + TOLERANCE)
    return np.concatenate([np.zeros((len(heading), 1), bool), beyond], axis=1)
