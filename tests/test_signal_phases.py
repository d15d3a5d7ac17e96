"""Phases of lights: crossings with answers on paper, and no two that conflict are green for the kernels' rule."""

import dataclasses

import numpy as np
import pytest
from conftest import crossing, run, simulator
from plausibility import check_phases
from town_specs import square

from gigaflow_env.config import laptop
from gigaflow_env.roads import Phase, Program, RoadMap, Signal, load, shipped, summary
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.road_map import COLOURS
from gigaflow_env.roads.signal_phases import CLEAR, GREEN, YELLOW, conflicts, plan, programs
from gigaflow_env.roads.towns.generate import generate


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
    assert program.phases == (Phase("green", GREEN), Phase("yellow", YELLOW), Phase("red", 2 * CLEAR + GREEN + YELLOW))


def crossing_with_one_phase() -> RoadMap:
    town = load(shipped()["arterial"])
    kept = {key: signal for key, signal in town.signals.items() if signal.group == "walk"}
    lanes = {
        key: dataclasses.replace(lane, signal=lane.signal if lane.signal in kept else None)
        for key, lane in town.lanes.items()
    }
    return dataclasses.replace(town, lanes=lanes, signals=kept)


def colour(time: float, program: Program) -> str:
    """What a program shows `time` seconds after the world began: the plain way."""
    time = (time + program.offset) % program.cycle
    for phase in program.phases:
        if time < phase.seconds:
            return phase.colour
        time -= phase.seconds
    raise AssertionError("a time of the cycle is in none of its phases")


@pytest.mark.parametrize("name", ["downtown", "lots"])
def test_no_two_that_conflict_are_green_or_yellow_at_one_time(name: str) -> None:
    town = load(shipped()[name])
    cycles, phases = programs(town), plan(town)
    assert cycles.keys() == {key for key, signal in town.signals.items() if signal.kind == "light"}
    for group in phases.values():
        seen, nobody = [], 0
        for time in range(round(cycles[group[0][0]].cycle)):
            colours = {light: colour(time + 0.5, cycles[light]) for phase in group for light in phase}
            on = [phase for phase in group if any(colours[light] in ("green", "yellow") for light in phase)]
            assert len(on) <= 1
            assert not on or len({colours[light] for light in on[0]}) == 1
            assert set(colours.values()) <= {"green", "yellow", "red"}
            seen += [on[0]] if on and on[0] not in seen else []
            nobody += not on
        assert seen == group  # each has its turn, in order
        assert nobody >= CLEAR * len(group)  # and then all stop


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


# Programs of files


def with_stages(**stages: int) -> RoadMap:
    """The crossing with three arms, all lights of one group, in which they have their turns as the file says."""
    road_map = crossing(lights=True)
    signals = {f"light {arm}": Signal(f"light {arm}", group="all", stage=stage) for arm, stage in stages.items()}
    return dataclasses.replace(road_map, signals=road_map.signals | signals)


def test_lights_of_one_stage_stay_together_and_stages_have_their_turns_in_order() -> None:
    assert plan(with_stages(east=2, south=1, west=2)) == {"all": [("light south",), ("light east", "light west")]}
    # Opposite approaches are not in conflict: they share a phase though the file has a controller for each.
    assert plan(with_stages(east=3, south=2, west=1)) == {"all": [("light west", "light east"), ("light south",)]}
    # A stage whose lights conflict is none.
    assert plan(with_stages(east=1, south=1, west=1)) == {"all": [("light east", "light west"), ("light south",)]}


GIVEN = Program((Phase("red", 4.0), Phase("green", 3.0), Phase("yellow", 2.0), Phase("off", 1.0)), 1.5)


def test_the_program_of_the_file_goes_before_the_one_that_is_made() -> None:
    road_map = crossing(lights=True)
    one = {"light south": dataclasses.replace(road_map.signals["light south"], program=GIVEN)}
    found = programs(dataclasses.replace(road_map, signals=road_map.signals | one))
    assert found["light south"] == GIVEN and found["light east"] == programs(road_map)["light east"]
    # Of a group where one light has none all are made anew: they would not fit together.
    one = {"light east": dataclasses.replace(road_map.signals["light east"], program=GIVEN)}
    assert programs(dataclasses.replace(road_map, signals=road_map.signals | one)) == programs(road_map)


def programmed() -> RoadMap:
    road_map = crossing(lights=True)
    one = {"light south": dataclasses.replace(road_map.signals["light south"], program=GIVEN)}
    return dataclasses.replace(road_map, signals=road_map.signals | one)


def test_a_simulation_shows_what_the_programs_say_in_every_world() -> None:
    """Two maps, so that the second one's lights are not the first of the tables."""
    road_map, config = programmed(), laptop().replace(agents_per_world=1, lights="program", world_stagger=0.0)
    sim = simulator([crossing(lights=True), road_map], 4, config)
    for world, town in ((0, crossing(lights=True)), (1, road_map), (3, road_map)):
        found = programs(town)
        for step in range(0, 700, 3):
            sim.state.clock.step[:] = step
            run("switch", sim, w=world)
            for k, light in enumerate(sorted(found)):
                time = step * config.dt
                if min(abs((time + found[light].offset - end) % found[light].cycle) for end in ends(found[light])) < 1e-3:
                    continue
                assert COLOURS[sim.state.lights.colour[world, k]] == colour(time, found[light]), (world, light, time)


def ends(program: Program) -> np.ndarray:
    return np.cumsum([phase.seconds for phase in program.phases])


def test_the_tables_hold_programs_only_where_they_are_asked_for() -> None:
    assert len(compile_roads(programmed(), cache=False).network.programs) == 0
    network = compile_roads(programmed(), programs=True, cache=False).network
    assert network.programs["phases"].tolist() == [3, 4, 3]
    south = network.programs[1]
    assert (south["cycle"], south["offset"], south["red"], south["yellow"], south["green"]) == (10.0, 1.5, 4.0, 2.0, 3.0)
    assert network.phases["until"][south["phases_at"] :][:4].tolist() == [4.0, 7.0, 9.0, 10.0]


def test_a_summary_says_whose_programs_they_are() -> None:
    assert summary(crossing(lights=True))["light_programs_of_the_file"] == 0
    found = summary(programmed())
    assert (found["traffic_lights"], found["light_programs_of_the_file"]) == (3, 1)
