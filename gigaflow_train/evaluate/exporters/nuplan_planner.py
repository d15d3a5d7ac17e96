"""A checkpoint as a planner of nuplan-devkit: an `AbstractPlanner` around a Pilot.

It needs nuplan-devkit, which imports it: `_target_: gigaflow_train.evaluate.exporters.nuplan_planner.GigaflowPlanner` in a
planner's configuration. nuplan-devkit was not at hand: tested with stubs of its interface.
"""

import math
import os
import warnings
from pathlib import Path
from typing import Any

from nuplan.common.actor_state.ego_state import EgoState
from nuplan.common.actor_state.state_representation import StateSE2, StateVector2D, TimePoint
from nuplan.planning.simulation.observation.observation_type import DetectionsTracks
from nuplan.planning.simulation.planner.abstract_planner import AbstractPlanner
from nuplan.planning.simulation.trajectory.interpolated_trajectory import InterpolatedTrajectory

from gigaflow_env.driver import PRETRAINED
from gigaflow_env.roads import MapError
from gigaflow_env.roads.formats.nuplan.load import read_area
from gigaflow_env.roads.formats.nuplan.log import LENGTH, MAPS_ROOT, REAR_TO_CENTER, WIDTH, map_of, with_own_lights
from gigaflow_train.evaluate.carla import LaneGraph, lane_graph
from gigaflow_train.evaluate.exporters.pilot import DT, Body, Moment, Pilot, way_to

KINDS = {"VEHICLE": "vehicle", "BICYCLE": "cyclist", "PEDESTRIAN": "pedestrian"}
"""Names of tracked objects' types; all others are "other"."""
AROUND = 250.0
"""[m] Of the map around the car and its goal: what it can reach in a scenario."""


class GigaflowPlanner(AbstractPlanner):  # type: ignore[misc]
    """Plans by driving a checkpoint through our simulator, with the others going on as they move.

    policy: a checkpoint, or "pretrained". maps_root: the folder of nuPlan's maps; None: the environment variable
    NUPLAN_MAPS_ROOT. horizon: [s] of a plan.
    """

    requires_scenario = False

    def __init__(self, policy: str = PRETRAINED, maps_root: str | None = None, horizon: float = 8.0) -> None:
        self._policy, self._horizon = policy, horizon
        self._root = maps_root or os.environ.get(MAPS_ROOT, "")
        self._map_name, self._goal = "", None
        self._pilot: Pilot | None = None
        self._graph: LaneGraph | None = None

    def name(self) -> str:
        """What reports call it."""
        return "gigaflow-env"

    def observation_type(self) -> Any:
        """Boxes of all others."""
        return DetectionsTracks

    def initialize(self, initialization: Any) -> None:
        """Take over the goal and the name of the map; the map is read when the car's place is known."""
        self._map_name, self._goal = initialization.map_api.map_name, initialization.mission_goal
        if self._pilot is not None:
            self._pilot.close()
        self._pilot = self._graph = None

    def compute_planner_trajectory(self, current_input: Any) -> Any:
        """An InterpolatedTrajectory of the horizon, from the present state on. Raises MapError where there is no map."""
        state, observation = current_input.history.current_state
        ego, pilot, graph = _ego(state), *self._prepared(state)
        goal = None if self._goal is None else (self._goal.x, self._goal.y)
        try:
            way = way_to(graph, ego, goal)
        except MapError as error:
            warnings.warn(f"the goal is left out of account, it goes straight on: {error}", stacklevel=2)
            way = way_to(graph, ego, None)
        seen = [_other(one) for one in observation.tracked_objects]
        shown = {str(light.lane_connector_id): light.status.name.lower() for light in current_input.traffic_light_data or ()}
        lights = {name: colour for name, colour in shown.items() if name in graph.road_map.signals}
        dynamic = state.dynamic_car_state
        now = Moment(ego, seen, way, lights, dynamic.rear_axle_acceleration_2d.x, dynamic.angular_velocity)
        plan = pilot.plan(now, self._horizon)
        states = [state]
        for k in range(1, len(plan.time)):
            cos, sin = math.cos(plan.heading[k]), math.sin(plan.heading[k])
            states.append(
                EgoState.build_from_rear_axle(
                    rear_axle_pose=StateSE2(
                        plan.x[k] - REAR_TO_CENTER * cos, plan.y[k] - REAR_TO_CENTER * sin, plan.heading[k]
                    ),
                    rear_axle_velocity_2d=StateVector2D(plan.speed[k], 0.0),
                    rear_axle_acceleration_2d=StateVector2D(plan.acceleration[k], 0.0),
                    tire_steering_angle=plan.steer[k],
                    time_point=TimePoint(state.time_point.time_us + round(plan.time[k] * 1e6)),
                    vehicle_parameters=state.car_footprint.vehicle_parameters,
                )
            )
        return InterpolatedTrajectory(states)

    def _prepared(self, state: Any) -> tuple[Pilot, LaneGraph]:
        """Pilot and lanes of the part of the map around the car and its goal."""
        if self._pilot is None or self._graph is None:
            path = map_of([self._map_name], [Path(self._root)]) if self._root else None
            if path is None:
                raise MapError(f"the map {self._map_name!r} is not in {self._root or MAPS_ROOT!r}: set {MAPS_ROOT}")
            places = [state.rear_axle] + ([] if self._goal is None else [self._goal])
            x, y = [place.x for place in places], [place.y for place in places]
            area = min(x) - AROUND, min(y) - AROUND, max(x) + AROUND, max(y) + AROUND
            road_map = with_own_lights(read_area(path, area))
            self._pilot, self._graph = Pilot(road_map, self._policy, dt=DT), lane_graph(road_map)
        return self._pilot, self._graph


def _ego(state: Any) -> Body:
    pose, velocity = state.rear_axle, state.dynamic_car_state.rear_axle_velocity_2d
    cos, sin = math.cos(pose.heading), math.sin(pose.heading)
    return Body("ego", "vehicle", pose.x + REAR_TO_CENTER * cos, pose.y + REAR_TO_CENTER * sin, pose.heading,
                velocity.x * cos - velocity.y * sin, velocity.x * sin + velocity.y * cos, LENGTH, WIDTH)  # fmt: skip


def _other(one: Any) -> Body:
    velocity = getattr(one, "velocity", None)  # static objects have none
    vx, vy = (0.0, 0.0) if velocity is None else (velocity.x, velocity.y)
    kind = KINDS.get(one.tracked_object_type.name, "other")
    return Body(str(one.track_token), kind, one.center.x, one.center.y, one.center.heading, vx, vy, one.box.length,
                one.box.width)  # fmt: skip
