"""Phases of lights: crossings with answers on paper, and no two that conflict are green for the kernels' rule."""

import dataclasses

import pytest
from conftest import crossing
from plausibility import check_phases
from town_specs import square

from gigaflow_env.jit import f32, kernel
from gigaflow_env.roads import RoadMap, Signal, load, shipped
from gigaflow_env.roads.signal_phases import CLEAR, GREEN, YELLOW, Program, conflicts, plan, programs
from gigaflow_env.roads.towns.generate import generate
from gigaflow_env.sim.lights import colour_at
from gigaflow_env.state import GREEN as GREEN_COLOUR
from gigaflow_env.state import RED
from gigaflow_env.state import YELLOW as YELLOW_COLOUR


def test_the_conflicts_of_a_crossing_with_three_arms() -> None:
    known = conflicts(crossing(lights=True))
    assert {key: sorted(others) for key, others in known.items()} == {
        "west-east": ["east-south", "south-east", "south-west"],
        "west-south": ["east-south"],
        "east-west": ["south-west"],
        "east-south": ["south-west", "west-east", "west-south"],
        "south-west": ["east-south", "east-west", "west-east"],
        "south-east": ["west-east"],
    }


def test_opposite_approaches_share_a_phase() -> None:
    town = generate(square())
    assert plan(town) == {"centre": [("centre:e", "centre:w"), ("centre:n", "centre:s")]}


def test_straight_on_against_straight_on_is_no_turn_that_waits() -> None:
    town = generate(square())
    west = town.lanes["centre:w>centre.0:centre>e.0"]
    # Another lane that is driven the other way through the same place.
    east = town.lanes["centre:e>centre.0:centre>w.0"]
    line = west.line[::-1].copy()
    line[:, 3] += 3.14159
    town = dataclasses.replace(town, lanes=town.lanes | {east.id: dataclasses.replace(east, line=line)})
    assert plan(town)["centre"][0] == ("centre:e",)


def test_a_light_without_group_is_its_own() -> None:
    road_map = crossing(lights=True)
    assert plan(road_map) == {"main": [("light east", "light west")], "side": [("light south",)]}
    alone = dataclasses.replace(road_map, signals={key: Signal(key) for key in road_map.signals})
    assert plan(alone) == {key: [(key,)] for key in sorted(road_map.signals)}


def test_where_people_cross_everybody_stops() -> None:
    (program,) = set(programs(crossing_with_one_phase()).values())
    assert (program.green, program.yellow, program.red) == (GREEN, YELLOW, 2 * CLEAR + GREEN + YELLOW)


def crossing_with_one_phase() -> RoadMap:
    town = load(shipped()["arterial"])
    kept = {key: signal for key, signal in town.signals.items() if signal.group == "walk"}
    lanes = {
        key: dataclasses.replace(lane, signal=lane.signal if lane.signal in kept else None)
        for key, lane in town.lanes.items()
    }
    return dataclasses.replace(town, lanes=lanes, signals=kept)


@kernel
def _colour(time, red, yellow, green):
    return colour_at(time, red, yellow, green)


def colour(time: float, program: Program) -> int:
    return _colour(f32(time), f32(program.red), f32(program.yellow), f32(program.green))


@pytest.mark.parametrize("name", ["downtown", "lots"])
def test_no_two_that_conflict_are_green_or_yellow_at_one_time(name: str) -> None:
    town = load(shipped()[name])
    cycles, phases = programs(town), plan(town)
    assert cycles.keys() == {key for key, signal in town.signals.items() if signal.kind == "light"}
    for group in phases.values():
        first = cycles[group[0][0]]
        length = first.green + first.yellow + first.red
        seen = []
        for time in range(round(length)):
            colours = {light: colour(time + 0.5 + cycles[light].offset, cycles[light]) for phase in group for light in phase}
            on = [phase for phase in group if any(colours[light] in (GREEN_COLOUR, YELLOW_COLOUR) for light in phase)]
            assert len(on) <= 1
            assert not on or len({colours[light] for light in on[0]}) == 1
            assert all(colours[light] in (GREEN_COLOUR, YELLOW_COLOUR, RED) for light in colours)
            seen += [on[0]] if on and on[0] not in seen else []
        assert seen == group  # each has its turn, in order


def test_the_check_finds_two_that_are_green_together(monkeypatch: pytest.MonkeyPatch) -> None:
    town = generate(square())
    check_phases(town)
    monkeypatch.setattr("plausibility.plan", lambda _: {"centre": [("centre:e", "centre:n", "centre:s", "centre:w")]})
    with pytest.raises(AssertionError, match="conflict, and are green together"):
        check_phases(town)
    monkeypatch.setattr("plausibility.plan", lambda _: {"centre": [("centre:e", "centre:w"), ("centre:n",)]})
    with pytest.raises(AssertionError, match="in no phase: .*centre:s"):
        check_phases(town)
    monkeypatch.undo()
    monkeypatch.setattr("plausibility.conflicts", lambda road_map: {key: [] for key in conflicts(road_map)})
    with pytest.raises(AssertionError, match="are no known conflict"):
        check_phases(town)
