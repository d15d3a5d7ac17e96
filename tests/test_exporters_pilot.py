"""A checkpoint as a driver of other simulators: the pilot, and the two agents around it, with stubs of their worlds."""

import importlib
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import simulator_stubs as stubs
from gpkg_writer import city
from gpkg_writer import write as write_map
from opendrive_files import lane, road, section, width

from gigaflow_env.roads import MapError, RoadMap, load
from gigaflow_env.roads.formats.nuplan.log import with_own_lights
from gigaflow_env.roads.scenario import validate_scenario
from gigaflow_env.scenes.generated import generate
from gigaflow_train.evaluate.carla import lane_graph
from gigaflow_train.evaluate.exporters.pilot import DT, LOOK, Body, Moment, Pilot, Plan, scene_of, way_to

EGO = Body("ego", "vehicle", 0.0, 0.0, 0.0, 8.0, 0.0, 4.5, 2.0)
WAY = np.array([(-10.0, 0.0), (300.0, 0.0)])


# The scene that a moment becomes


def test_everybody_goes_on_as_he_moves_and_the_car_along_its_way() -> None:
    other = Body("other", "cyclist", 5.0, 4.0, 1.0, 0.0, 2.0, 1.8, 0.6, 0.5)
    scenario = scene_of(Moment(EGO, [other], WAY, {"light": "red"}, 1.5, 0.2), 20, 0.1)
    validate_scenario(scenario)
    assert (scenario.steps, scenario.ids, scenario.kinds, scenario.ego) == (22, ("ego", "other"), ("vehicle", "cyclist"), 0)
    np.testing.assert_allclose(scenario.y[1], 4.0 + 0.2 * (np.arange(22) - 1))
    np.testing.assert_allclose(scenario.x[0, 1:], [0.0, *(LOOK / 20 * np.arange(1, 21))])
    assert set(scenario.y[0]) == {0.0} and set(scenario.lights["light"]) == {3}
    assert scenario.heading[0, 1] - scenario.heading[0, 0] == pytest.approx(0.02)
    assert scenario.velocity_x[0, 1] == 8.0 and scenario.velocity_x[0, 0] == pytest.approx(8.0 - 0.15, abs=1e-2)
    assert scenario.velocity_x[0, -1] == 10.0, "the way goes on"
    end = scene_of(Moment(EGO, [], WAY[:, :] / 10), 20, 0.1)
    assert end.x[0, -1] == pytest.approx(30.0) and end.velocity_x[0, -1] == 0.0, "it has to stop there"


@pytest.mark.parametrize(
    ("now", "message"),
    [
        (Moment(EGO, [], WAY[:1]), r"the way is \(1, 2\): it must be finite"),
        (Moment(EGO, [], WAY * np.nan), r"the way is \(2, 2\): it must be finite"),
        (Moment(EGO, [EGO._replace(id="b", x=math.inf)], WAY), "'b' has a number that is not finite"),
    ],
)
def test_what_is_no_moment_is_refused(now: Moment, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scene_of(now, 5, 0.1)


# The pilot


@pytest.fixture(scope="module")
def street() -> RoadMap:
    return generate(3, steps=1)[0]


@pytest.fixture(scope="module")
def pilot(street: RoadMap) -> Iterator[Pilot]:
    made = Pilot(street)
    yield made
    made.close()


def on_lane(street: RoadMap, speed: float = 8.0) -> tuple[Body, np.ndarray]:
    """A car at the start of the longest lane outside of junctions, and its way straight on."""
    start = max((one for one in street.lanes.values() if one.junction is None and one.kind == "driving"),
                key=lambda one: math.dist(one.line[0, :2], one.line[-1, :2]))  # fmt: skip
    x, y, z, heading = start.line[0, :4].tolist()
    ahead = x + 6.0 * math.cos(heading), y + 6.0 * math.sin(heading)
    ego = Body("ego", "vehicle", *ahead, heading, speed * math.cos(heading), speed * math.sin(heading), 4.5, 2.0, z)
    return ego, way_to(lane_graph(street), ego, None)


def test_a_plan_begins_now_and_moves_as_a_car(pilot: Pilot, street: RoadMap) -> None:
    ego, way = on_lane(street)
    plan = pilot.plan(Moment(ego, [], way), 3.0)
    assert isinstance(plan, Plan) and all(len(column) == 31 for column in plan)
    np.testing.assert_allclose(plan.time, 0.1 * np.arange(31))
    np.testing.assert_allclose(
        [plan.x[0], plan.y[0], plan.heading[0], plan.speed[0]], [ego.x, ego.y, ego.heading, 8.0], atol=1e-3
    )
    moved = np.hypot(np.diff(plan.x), np.diff(plan.y)) / DT
    np.testing.assert_allclose(moved, np.abs(plan.speed[1:] + plan.speed[:-1]) / 2, atol=0.3)
    assert math.hypot(plan.x[-1] - plan.x[0], plan.y[-1] - plan.y[0]) > 5.0


def test_the_same_moment_gives_the_same_plan_whatever_was_planned_before(pilot: Pilot, street: RoadMap) -> None:
    ego, way = on_lane(street)
    first = pilot.plan(Moment(ego, [], way), 1.0)
    slow, _ = on_lane(street, speed=2.0)
    assert not np.array_equal(pilot.plan(Moment(slow, [], way), 1.0).x, first.x)
    for one, other in zip(first, pilot.plan(Moment(ego, [], way), 1.0), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_policy_sees_who_stands_before_it(pilot: Pilot, street: RoadMap) -> None:
    ego, way = on_lane(street)
    ahead = 15.0 * math.cos(ego.heading), 15.0 * math.sin(ego.heading)
    wall = Body("wall", "vehicle", ego.x + ahead[0], ego.y + ahead[1], ego.heading, 0.0, 0.0, 4.5, 2.0, ego.z)
    free, blocked = (pilot.plan(Moment(ego, others, way), 3.0) for others in ([], [wall]))
    assert blocked.speed[-1] < free.speed[-1] - 2.0


def test_at_the_end_of_its_way_it_stops(pilot: Pilot, street: RoadMap) -> None:
    ego, _ = on_lane(street, speed=2.0)
    ahead = np.array([[ego.x + s * math.cos(ego.heading), ego.y + s * math.sin(ego.heading)] for s in (-3.0, 4.0)])
    plan = pilot.plan(Moment(ego, [], ahead), 6.0)
    assert abs(plan.speed[-1]) < 0.3 and len(plan.time) == 61


def test_times_of_decisions_must_fit(street: RoadMap) -> None:
    with pytest.raises(ValueError, match=r"dt=0\.07: pretrained decides every 0\.3 s, which must be a multiple of it"):
        Pilot(street, dt=0.07)


def test_a_way_leads_to_a_place_or_says_why_not(tmp_path: Path) -> None:
    graph = lane_graph(load(write_map(tmp_path / "map.gpkg", city())))
    car = EGO._replace(x=-20.0)
    np.testing.assert_allclose(way_to(graph, car, (95.0, 8.0))[[0, -1]], [(-20.0, 0.0), (95.0, 8.0)], atol=0.3)
    straight = way_to(graph, car, None)
    np.testing.assert_allclose(straight[[0, -1]], [(-20.0, 0.0), (100.0, 0.0)], atol=0.3)
    with pytest.raises(MapError, match="no way leads from"):
        way_to(graph, car._replace(x=80.0), (-20.0, 0.0))
    with pytest.raises(MapError, match="lies on no lane"):
        way_to(graph, car, (0.0, 50.0))


# nuPlan


@pytest.fixture
def planner(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    stubs.installed(monkeypatch, stubs.nuplan())
    name = "gigaflow_train.evaluate.exporters.nuplan_planner"
    monkeypatch.delitem(sys.modules, name, raising=False)
    module = importlib.import_module(name)
    (tmp_path / "city" / "9").mkdir(parents=True)
    write_map(tmp_path / "city" / "9" / "map.gpkg", city())
    yield module.GigaflowPlanner(maps_root=str(tmp_path), horizon=2.0)
    sys.modules.pop(name)


def begun(planner: Any, goal: Any) -> Any:
    planner.initialize(stubs.Given(map_api=stubs.Given(map_name="city"), mission_goal=goal, route_roadblock_ids=[]))
    return planner


def test_nuplan_gets_a_trajectory_from_the_present_state_on(planner: Any) -> None:
    begun(planner, stubs.StateSE2(95.0, 8.0, 0.0))
    assert planner.name() == "gigaflow-env" and planner.observation_type().__name__ == "DetectionsTracks"
    state = stubs.ego_state(-40.0, 0.0, 0.0, 8.0)
    objects = [stubs.tracked("a", "VEHICLE", -10.0, 0.0, 8.0), stubs.tracked("b", "TRAFFIC_CONE", 0.0, 5.0, None)]
    found = planner.compute_planner_trajectory(stubs.planner_input(state, objects, {3: "GREEN", 99: "RED"}))
    assert len(found.states) == 21 and found.states[0] is state
    assert [one.time_point.time_us for one in found.states[:3]] == [1_000_000, 1_100_000, 1_200_000]
    first = found.states[1]
    assert first.rear_axle.x == pytest.approx(-39.2, abs=0.1) and abs(first.rear_axle.y) < 0.1
    assert first.car_footprint.vehicle_parameters == "pacifica"
    ahead = [one.rear_axle.x for one in found.states]
    assert ahead == sorted(ahead) and ahead[-1] > -32.0
    again = planner.compute_planner_trajectory(stubs.planner_input(state, objects, {3: "GREEN", 99: "RED"}))
    assert [one.rear_axle.x for one in again.states] == ahead


def test_nuplans_red_light_is_obeyed(planner: Any, tmp_path: Path) -> None:
    road_map = with_own_lights(load(tmp_path / "city" / "9" / "map.gpkg"))
    assert road_map.signals.keys() == {"3", "4"}
    begun(planner, stubs.StateSE2(95.0, 0.0, 0.0))
    state = stubs.ego_state(20.0, 0.0, 0.0, 6.0)
    red, green = (
        planner.compute_planner_trajectory(stubs.planner_input(state, [], {3: name, 4: name})).states[-1]
        for name in ("RED", "GREEN")
    )
    assert red.rear_axle.x < green.rear_axle.x - 1.0


def test_nuplan_without_a_way_to_the_goal_is_told(planner: Any) -> None:
    begun(planner, stubs.StateSE2(0.0, 60.0, 0.0))
    with pytest.warns(UserWarning, match="it goes straight on: .* lies on no lane"):
        planner.compute_planner_trajectory(stubs.planner_input(stubs.ego_state(-40.0, 0.0, 0.0, 8.0), [], {}))
    begun(planner, None)
    assert planner.compute_planner_trajectory(stubs.planner_input(stubs.ego_state(-40.0, 0.0, 0.0, 8.0), [], {})).states


def test_nuplan_without_a_map_says_where_it_was_looked_for(planner: Any, tmp_path: Path) -> None:
    planner.initialize(stubs.Given(map_api=stubs.Given(map_name="nowhere"), mission_goal=None))
    with pytest.raises(MapError, match="the map 'nowhere' is not in .*set NUPLAN_MAPS_ROOT"):
        planner.compute_planner_trajectory(stubs.planner_input(stubs.ego_state(0.0, 0.0, 0.0, 8.0), [], {}))


# CARLA


@pytest.fixture
def agents(monkeypatch: pytest.MonkeyPatch) -> Any:
    stubs.installed(monkeypatch, stubs.carla())
    name = "gigaflow_train.evaluate.exporters.carla_agent"
    monkeypatch.delitem(sys.modules, name, raising=False)
    text = road(1, 400, lanes=section(0, lane(-1, width(3.5))))
    stubs.CarlaDataProvider.opendrive = f"<OpenDRIVE>{text}</OpenDRIVE>"
    yield importlib.import_module(name)
    sys.modules.pop(name)


def world(*actors: Any) -> None:
    stubs.CarlaDataProvider.world = stubs.Given(get_actors=lambda: list(actors))


def made(agents: Any) -> Any:
    agent = getattr(agents, agents.get_entry_point())("localhost", 2000)
    agent.setup("pretrained")
    agent.set_global_plan([], stubs.route([(x, 1.75) for x in np.arange(0.0, 390.0, 2.0)]))
    return agent


def test_carlas_agent_drives_on_and_brakes_for_who_stands_before_it(agents: Any) -> None:
    agent = made(agents)
    assert agent.track == "MAP" and agent.sensors() == []
    hero = stubs.actor(1, "vehicle.lincoln.mkz", 20.0, 1.75, speed=3.0, role="hero")
    world(hero, stubs.actor(2, "walker.pedestrian.0001", 300.0, 9.0), stubs.traffic_light(3, "77", "Green"))
    free = agent.run_step({}, 0.0)
    assert free.throttle > 0.0 and free.brake == 0.0 and abs(free.steer) < 0.3 and not free.hand_brake
    fast = stubs.actor(1, "vehicle.lincoln.mkz", 20.0, 1.75, speed=10.0, role="hero")
    world(fast, stubs.actor(2, "vehicle.audi.tt", 33.0, 1.75))
    blocked = agent.run_step({}, 0.1)
    assert blocked.brake > 0.1 and blocked.throttle == 0.0
    agent.destroy()


def test_carlas_agent_waits_for_its_car(agents: Any) -> None:
    agent = made(agents)
    world()
    control = agent.run_step({}, 0.0)
    assert (control.throttle, control.brake) == (0.0, 0.0)
    agent.destroy()


def test_carlas_frame_is_mirrored(agents: Any) -> None:
    hero = stubs.actor(1, "vehicle.a", 10.0, -20.0, yaw=90.0, speed=5.0, role="hero")
    cyclist = stubs.actor(2, "vehicle.b", 12.0, -25.0, base_type="bicycle")
    far = stubs.actor(3, "vehicle.c", 900.0, 0.0)
    road_map = stubs.Given(signals={"77": None})
    now = agents._moment(hero, [hero, cyclist, far, stubs.traffic_light(4, "77", "Red"), stubs.traffic_light(5, "x", "Red")],
                         WAY, road_map)  # fmt: skip
    np.testing.assert_allclose(now.ego[2:9], [10.0, 19.5, -math.pi / 2, 0.0, -5.0, 4.4, 2.0], atol=1e-9)
    assert [(one.id, one.kind) for one in now.others] == [("2", "cyclist")]
    assert now.lights == {"77": "red"}


@pytest.mark.parametrize(
    ("speeds", "acceleration", "steer", "expected"),
    [
        ((5.0, 5.6), 2.0, 0.1, (-0.1, 0.65, 0.0, False)),  # left is negative; 2 + 0.6 m/s^2 of 4
        ((5.0, 4.0), -3.0, 0.0, (0.0, 0.0, 0.5, False)),  # -4 m/s^2 of 8
        ((5.0, 0.0), -9.0, -2.0, (1.0, 0.0, 1.0, False)),  # as far as pedals and wheel go
        ((0.0, -1.0), -1.0, 0.0, (0.0, 0.5, 0.0, True)),  # backwards
    ],
)
def test_pedals_and_wheel(agents: Any, speeds: Any, acceleration: float, steer: float, expected: Any) -> None:
    zero = np.zeros(2)
    plan = Plan(np.array([0, 0.3]), zero, zero, zero, np.array(speeds), np.full(2, acceleration), np.full(2, steer))
    control = agents.control(plan, 1.0)
    assert (control.steer, control.throttle, control.brake, control.reverse) == pytest.approx(expected)
