"""Every light of the shared maps controls the lanes that it is for: counted here by reading the files once more."""

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
from lxml import etree

from gigaflow_env.roads import RoadMap, load

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps"
FOR_VEHICLES = {"1000001", "1000009", "1000010", "1000011", "1000012"}  # of the OpenDRIVE catalogue


def shared(name: str) -> tuple[RoadMap, etree._Element]:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"the shared map {name} is not here")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*left out", category=UserWarning)
        return load(path), etree.parse(path).getroot()


def obeyed(road_map: RoadMap) -> dict[str, int]:
    """Lanes by the light that they obey."""
    counts: dict[str, int] = {}
    for lane in road_map.lanes.values():
        if lane.signal is not None and road_map.signals[lane.signal].kind == "light":
            counts[lane.signal] = counts.get(lane.signal, 0) + 1
    return counts


@pytest.mark.parametrize(
    ("name", "lights", "second_heads"),
    [
        ("carla/Town01.xodr", 36, 0),
        ("carla/Town02.xodr", 24, 0),
        ("carla/Town04.xodr", 43, 0),
        ("carla/Town06.xodr", 19, 0),
        ("esmini/fabriksgatan_traffic_lights.xodr", 1, 0),
        ("esmini/multi_intersections.xodr", 34, 17),
        *((f"esmini/{name}.xodr", 0, 0) for name in ("direct_junction_simple", "e6mini", "highway_merge", "soderleden",
                                                     "two_plus_one", "route_strategy_test_road_LHT")),
        ("asam/asam_Ex_Entry_Exit.xodr", 0, 0),
    ],
)  # fmt: skip
def test_lights_of_opendrive(name, lights, second_heads):
    """A lane obeys one light. Where two hang over a stop line, one on each side of the road, the other is its second head:
    of the same controller, at the same place along the road, for the same direction. These are all that control nothing."""
    road_map, root = shared(name)
    given = {s.get("id"): s for s in root.iterfind("road/signals/signal") if s.get("type") in FOR_VEHICLES}
    wired = obeyed(road_map)
    assert len(given) == lights and wired.keys() <= given.keys()
    controllers = {c.get("signalId"): c.getparent().get("id") for c in root.iterfind("controller/control")}

    def stop(key: str) -> tuple:
        road = given[key].getparent().getparent().get("id")
        return road, given[key].get("s"), given[key].get("orientation"), controllers[key]

    second = given.keys() - wired.keys()
    assert len(second) == second_heads
    first = {stop(key): key for key in wired} if second else {}
    assert {stop(key) for key in second} == first.keys() & {stop(key) for key in second}
    # No light group goes without: each controller of lights for vehicles has one that lanes obey.
    assert {controllers.get(key) for key in given} == {controllers.get(key) for key in wired}


def controlled(root: etree._Element) -> Iterator[etree._Element]:
    """Connections of a SUMO network between lanes for cars that a light stops in some phase."""
    states: dict[str, list[str]] = {}
    for program in root.iterfind("tlLogic"):
        states[program.get("id")] = [phase.get("state") for phase in program.iterfind("phase")]
    for_cars = {
        lane.get("id") for edge in root.iterfind("edge") for lane in edge.iterfind("lane")
        if "passenger" in lane.get("allow", "passenger").split() and "passenger" not in lane.get("disallow", "").split()
    }  # fmt: skip
    for connection in root.iterfind("connection"):
        ends = {f"{connection.get(end)}_{connection.get(f'{end}Lane')}" for end in ("from", "to")}
        if connection.get("tl") is not None and ends <= for_cars:
            if {state[int(connection.get("linkIndex"))] for state in states[connection.get("tl")]} & set("ryuR"):
                yield connection


@pytest.mark.parametrize(
    ("name", "programs", "connections"),
    [("sumo/Town01.net.xml", 16, 68), ("sumo/Town04.net.xml", 12, 117), ("sumo/resco_grid4x4.net.xml", 16, 576)],
)
def test_lights_of_sumo(name, programs, connections):
    """The entry is that of the lane inside of the junction. Four in Town01 are 10 cm long and have no shape, where a light
    stands on a street without a crossing: there it is that of the lane behind it."""
    road_map, root = shared(name)
    found = list(controlled(root))
    for connection in found:
        entry = connection.get("via")
        entry = entry if entry in road_map.lanes else f"{connection.get('to')}_{connection.get('toLane')}"
        signal = road_map.lanes[entry].signal
        assert signal is not None and road_map.signals[signal].group == connection.get("tl")
    assert {connection.get("tl") for connection in found} == {program.get("id") for program in root.iterfind("tlLogic")}
    assert (len({connection.get("tl") for connection in found}), len(found)) == (programs, connections)
    assert sum(obeyed(road_map).values()) == connections


def test_lights_of_lanelet2():
    """What they control: test_lanelet2_oracle.py."""
    road_map, root = shared("lanelet2/mapping_example.osm")
    given = {tag.getparent().get("id") for tag in root.iterfind("relation/tag[@v='traffic_light']")}
    assert len(given) == 6 and obeyed(road_map).keys() == given


@pytest.mark.parametrize("name", ["DEU_A9-3_1_T-1.xml", "ZAM_Tutorial-1_2_T-1.xml"])
def test_the_commonroad_scenarios_have_no_lights(name):
    road_map, root = shared(f"commonroad/{name}")
    assert root.find("trafficLight") is None and not road_map.signals
