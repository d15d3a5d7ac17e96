"""A checkpoint as an agent of the CARLA leaderboard: an `AutonomousAgent` around a Pilot.

`--agent .../carla_agent.py --agent-config CHECKPOINT` (a path, or "pretrained"). It is an expert: it reads map, boxes and
lights from the server and has no sensors, as the paper's policy. No CARLA server was at hand: tested with stubs of the
interface; the pedals are not calibrated on one.

CARLA's frame is left-handed: its y and yaw [degrees] are the negative of the map's.
"""

import math
import tempfile
from pathlib import Path
from typing import Any

import carla
import numpy as np
from leaderboard.autoagents.autonomous_agent import AutonomousAgent, Track
from srunner.scenariomanager.carla_data_provider import CarlaDataProvider

from gigaflow_env.roads import RoadMap, load
from gigaflow_train.evaluate.exporters.pilot import Body, Moment, Pilot, Plan

AHEAD = 0.3
"""[s] The state that is steered to: one decision of the policy later."""
SEEN = 200.0
"""[m] So far others are seen: the paper's range."""
STEP = 0.05
"""[s] Of the leaderboard's server: 20 Hz."""
FULL_THROTTLE, FULL_BRAKE = 4.0, 8.0
"""[m/s^2] That full pedals are taken to give. Ours, from the figures of passenger cars."""
PULL = 1.0
"""[1/s] By which an error of the speed is made good. Ours."""
MAX_STEER = 70.0
"""[degrees] Of the front wheels where the vehicle does not say: the default of CARLA's vehicles."""
KINDS = {"bicycle": "cyclist"}
"""By `base_type` of a vehicle; all others are vehicles."""


def get_entry_point() -> str:
    """The class that the leaderboard makes."""
    return "GigaflowAgent"


class GigaflowAgent(AutonomousAgent):  # type: ignore[misc]
    """Drives by a checkpoint along the leaderboard's route."""

    def setup(self, path_to_conf_file: str) -> None:
        """path_to_conf_file: the checkpoint."""
        self.track = Track.MAP
        self._policy = path_to_conf_file or "pretrained"
        self._pilot: Pilot | None = None
        self._way = np.zeros((0, 2))

    def sensors(self) -> list[dict[str, Any]]:
        """None: it reads the state of the server."""
        return []

    def set_global_plan(self, global_plan_gps: Any, global_plan_world_coord: Any) -> None:
        """Keep the whole route: the leaderboard's own copy has a point every 200 m only."""
        super().set_global_plan(global_plan_gps, global_plan_world_coord)
        self._way = np.array([[place.location.x, -place.location.y] for place, _ in global_plan_world_coord])

    def run_step(self, input_data: Any, timestamp: float) -> Any:
        """The pedals and the wheel that lead to where the policy would be AHEAD."""
        world = CarlaDataProvider.get_world()
        actors = list(world.get_actors())
        hero = next((actor for actor in actors if actor.attributes.get("role_name") == "hero"), None)
        if hero is None or len(self._way) < 2:
            return carla.VehicleControl()
        if self._pilot is None:
            self._pilot = Pilot(_road_map(), self._policy, dt=AHEAD / 6)
        plan = self._pilot.plan(_moment(hero, actors, self._way, self._pilot.road_map), AHEAD)
        return control(plan, _max_steer(hero))

    def destroy(self) -> None:
        """Stop the simulator."""
        if self._pilot is not None:
            self._pilot.close()


def control(plan: Plan, max_steer: float) -> Any:
    """A carla.VehicleControl for the end of a plan. max_steer: [rad] of the wheels at full steering."""
    wanted = float(plan.acceleration[-1]) + PULL * float(plan.speed[-1] - plan.speed[0])
    made = carla.VehicleControl()
    made.steer = min(max(-float(plan.steer[-1]) / max_steer, -1.0), 1.0)
    made.throttle = min(max(wanted / FULL_THROTTLE, 0.0), 1.0)
    made.brake = min(max(-wanted / FULL_BRAKE, 0.0), 1.0)
    if plan.speed[-1] < 0.0:  # it backs up
        made.reverse, made.throttle, made.brake = True, min(max(-wanted / FULL_THROTTLE, 0.0), 1.0), 0.0
    made.hand_brake = False
    return made


def _road_map() -> RoadMap:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "map.xodr"
        path.write_text(CarlaDataProvider.get_map().to_opendrive(), encoding="utf-8")
        return load(path)


def _max_steer(hero: Any) -> float:
    wheels = hero.get_physics_control().wheels
    return math.radians(float(wheels[0].max_steer_angle) if len(wheels) else MAX_STEER)


def _moment(hero: Any, actors: list[Any], way: np.ndarray, road_map: RoadMap) -> Moment:
    ego = _body(hero, "vehicle")
    others, lights = [], {}
    for actor in actors:
        kind = actor.type_id.split(".")[0]
        if actor.type_id == "traffic.traffic_light":
            name, colour = str(actor.get_opendrive_id()), actor.state.name.lower()
            if name in road_map.signals:
                lights[name] = colour
        elif actor.id != hero.id and kind in ("vehicle", "walker"):
            cyclist = KINDS.get(actor.attributes.get("base_type", ""), "vehicle")
            other = _body(actor, "pedestrian" if kind == "walker" else cyclist)
            if math.hypot(other.x - ego.x, other.y - ego.y) <= SEEN:
                others.append(other)
    acceleration, turning = hero.get_acceleration(), hero.get_angular_velocity()
    along = acceleration.x * math.cos(ego.heading) - acceleration.y * math.sin(ego.heading)
    return Moment(ego, others, way, lights, along, -math.radians(turning.z))


def _body(actor: Any, kind: str) -> Body:
    place, velocity, box = actor.get_transform(), actor.get_velocity(), actor.bounding_box
    heading = -math.radians(place.rotation.yaw)
    cos, sin = math.cos(heading), math.sin(heading)
    ahead, left = box.location.x, -box.location.y  # the middle of the box from the actor's origin
    return Body(
        str(actor.id), kind, place.location.x + ahead * cos - left * sin, -place.location.y + ahead * sin + left * cos,
        heading, velocity.x, -velocity.y, 2 * box.extent.x, 2 * box.extent.y, place.location.z,
    )  # fmt: skip
