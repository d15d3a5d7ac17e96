"""Stubs of what nuplan-devkit and CARLA's leaderboard give an agent: only what the exporters use, by the same names."""

import math
import sys
import types
from types import SimpleNamespace as Given
from typing import Any

import pytest


def installed(monkeypatch: pytest.MonkeyPatch, modules: dict[str, dict[str, Any]]) -> None:
    """Put modules with these contents where imports find them, with the packages above them."""
    for name, contents in modules.items():
        parts = name.split(".")
        for end in range(1, len(parts) + 1):
            part = ".".join(parts[:end])
            if part not in sys.modules or not isinstance(sys.modules[part], types.ModuleType):
                monkeypatch.setitem(sys.modules, part, types.ModuleType(part))
        for key, value in contents.items():
            setattr(sys.modules[name], key, value)


# nuPlan


class StateSE2:
    def __init__(self, x: float, y: float, heading: float) -> None:
        self.x, self.y, self.heading = x, y, heading


class StateVector2D:
    def __init__(self, x: float, y: float) -> None:
        self.x, self.y = x, y


class TimePoint:
    def __init__(self, time_us: int) -> None:
        assert isinstance(time_us, int), "TimePoint takes whole microseconds"
        self.time_us = time_us


class EgoState:
    """As nuplan-devkit's build_from_rear_axle makes it; keywords are the devkit's."""

    @classmethod
    def build_from_rear_axle(
        cls, *, rear_axle_pose: StateSE2, rear_axle_velocity_2d: StateVector2D, rear_axle_acceleration_2d: StateVector2D,
        tire_steering_angle: float, time_point: TimePoint, vehicle_parameters: Any, is_in_auto_mode: bool = True,
        angular_vel: float = 0.0, angular_accel: float = 0.0,
    ) -> "EgoState":  # fmt: skip
        state = cls()
        state.rear_axle, state.time_point, state.tire_steering_angle = rear_axle_pose, time_point, tire_steering_angle
        state.car_footprint = Given(vehicle_parameters=vehicle_parameters)
        state.dynamic_car_state = Given(
            rear_axle_velocity_2d=rear_axle_velocity_2d, rear_axle_acceleration_2d=rear_axle_acceleration_2d,
            angular_velocity=angular_vel,
        )  # fmt: skip
        return state


class InterpolatedTrajectory:
    def __init__(self, states: list[EgoState]) -> None:
        times = [state.time_point.time_us for state in states]
        assert len(times) >= 2 and times == sorted(set(times)), "times must grow"
        self.states = states


def nuplan() -> dict[str, dict[str, Any]]:
    return {
        "nuplan.common.actor_state.ego_state": {"EgoState": EgoState},
        "nuplan.common.actor_state.state_representation": {
            "StateSE2": StateSE2, "StateVector2D": StateVector2D, "TimePoint": TimePoint,
        },
        "nuplan.planning.simulation.observation.observation_type": {"DetectionsTracks": type("DetectionsTracks", (), {})},
        "nuplan.planning.simulation.planner.abstract_planner": {"AbstractPlanner": type("AbstractPlanner", (), {})},
        "nuplan.planning.simulation.trajectory.interpolated_trajectory": {"InterpolatedTrajectory": InterpolatedTrajectory},
    }  # fmt: skip


def ego_state(x: float, y: float, heading: float, speed: float) -> EgoState:
    return EgoState.build_from_rear_axle(
        rear_axle_pose=StateSE2(x, y, heading), rear_axle_velocity_2d=StateVector2D(speed, 0.0),
        rear_axle_acceleration_2d=StateVector2D(0.5, 0.0), tire_steering_angle=0.0, time_point=TimePoint(1_000_000),
        vehicle_parameters="pacifica",
    )  # fmt: skip


def tracked(token: str, kind: str, x: float, y: float, speed: float | None) -> Any:
    moves = {} if speed is None else {"velocity": StateVector2D(speed, 0.0)}
    return Given(track_token=token, tracked_object_type=Given(name=kind), center=StateSE2(x, y, 0.0),
                 box=Given(length=4.5, width=2.0), **moves)  # fmt: skip


def planner_input(state: EgoState, objects: list[Any], lights: dict[int, str]) -> Any:
    status = [Given(lane_connector_id=key, status=Given(name=name)) for key, name in lights.items()]
    history = Given(current_state=(state, Given(tracked_objects=objects)))
    return Given(iteration=Given(index=0), history=history, traffic_light_data=status)


# CARLA


def vector(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Any:
    return Given(x=x, y=y, z=z)


class VehicleControl:
    def __init__(self) -> None:
        self.throttle = self.steer = self.brake = 0.0
        self.hand_brake = self.reverse = False


class AutonomousAgent:
    """The leaderboard's: its copy of the plan is thinned out."""

    def __init__(self, host: str, port: int) -> None:
        self._global_plan_world_coord: list[Any] = []

    def set_global_plan(self, gps: Any, world: list[Any]) -> None:
        self._global_plan_world_coord = world[::200]


class CarlaDataProvider:
    world: Any = None
    opendrive = ""

    @classmethod
    def get_world(cls) -> Any:
        return cls.world

    @classmethod
    def get_map(cls) -> Any:
        return Given(to_opendrive=lambda: cls.opendrive)


def carla() -> dict[str, dict[str, Any]]:
    return {
        "carla": {"VehicleControl": VehicleControl},
        "leaderboard.autoagents.autonomous_agent": {
            "AutonomousAgent": AutonomousAgent, "Track": Given(MAP="MAP", SENSORS="SENSORS"),
        },
        "srunner.scenariomanager.carla_data_provider": {"CarlaDataProvider": CarlaDataProvider},
    }  # fmt: skip


def actor(
    number: int, type_id: str, x: float, y: float, yaw: float = 0.0, speed: float = 0.0, role: str = "", **attributes: str
) -> Any:
    """An actor in CARLA's frame, y to the right, yaw in degrees clockwise; its origin is 0.5 m behind its middle."""
    cos, sin = math.cos(math.radians(yaw)), math.sin(math.radians(yaw))
    return Given(
        id=number, type_id=type_id, attributes={"role_name": role, **attributes},
        get_transform=lambda: Given(location=vector(x, y, 0.3), rotation=Given(yaw=yaw)),
        get_velocity=lambda: vector(speed * cos, speed * sin), get_acceleration=lambda: vector(),
        get_angular_velocity=lambda: vector(),
        get_physics_control=lambda: Given(wheels=[Given(max_steer_angle=60.0)]),
        bounding_box=Given(location=vector(0.5, 0.0, 0.7), extent=vector(2.2, 1.0, 0.8)),
    )  # fmt: skip


def traffic_light(number: int, opendrive_id: str, state: str) -> Any:
    return Given(id=number, type_id="traffic.traffic_light", attributes={}, get_opendrive_id=lambda: opendrive_id,
                 state=Given(name=state))  # fmt: skip


def route(points: list[tuple[float, float]]) -> list[Any]:
    """A plan in CARLA's frame."""
    return [(Given(location=vector(x, y)), "LANEFOLLOW") for x, y in points]
