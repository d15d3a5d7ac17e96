"""Stop signs: red until the agent has stood at the line, and red again for the next one."""

import math

import numpy as np
import pytest
from conftest import aim_at, clear, place, road_map, run, simulator, straight

from gigaflow_env.config import DEFAULT_LIGHTS, Config, laptop, paper, params
from gigaflow_env.layout import Layout
from gigaflow_env.roads import Signal
from gigaflow_env.state import GREEN, RED


def street(kind="stop"):
    """300 m along x; a sign controls the lane that begins at 100 m, another one that at 200 m."""
    return road_map(
        "street",
        straight("a", 0, 0, 100, 0, successors=("b",)),
        straight("b", 100, 0, 200, 0, successors=("c",), signal="one"),
        straight("c", 200, 0, 300, 0, signal="two"),
        signals=[Signal("one", kind), Signal("two", kind)],
    )


def scene(**changes):
    """An agent of 4 m; the front is 2 m before its center."""
    sim = simulator(street(), 1, laptop().replace(agents_per_world=1, view_range=200.0, **changes))
    clear(sim)
    place(sim, 0, 50.0, 0.0, length=4.0)
    sim.state.lane_position.stood[:] = -1
    aim_at(sim, 0, ("c", 50.0))
    return sim


def drive(sim, x, *, before, speed=5.0):
    """From `before` to `x` in one step; whether a red light was run."""
    stood = sim.state.lane_position.stood[0, 0]
    place(sim, 0, x, 0.0, length=4.0, speed=speed, coming_from=(before, 0.0, 0.0))
    sim.state.lane_position.stood[0, 0] = stood
    run("locate", sim)
    run("run_light", sim)
    return bool(sim.state.events.red_light[0, 0])


def colours(sim):
    """red and green of the stop lines, nearest first."""
    run("observe", sim)
    seen = Layout(sim.config).split(sim.observations[0, 0]).stops
    return [(bool(red), bool(green)) for red, green in seen[:, [4, 6]]]


def test_signs_are_stop_lines_without_light():
    sim = scene()
    stops = sim.roads.network.stops
    assert stops["light"].tolist() == [-1, -1]
    assert (stops["x"] + sim.roads.origins[0, 0]).tolist() == [100, 200]
    assert sim.roads.network.maps["lights"].tolist() == [0]
    yields = simulator(street("yield"), 1, laptop().replace(agents_per_world=1))
    assert len(yields.roads.network.stops) == 0


def test_who_drives_through_runs_it():
    sim = scene()
    assert not drive(sim, 97.0, before=95.0)
    assert drive(sim, 99.0, before=97.0)  # the front goes from 99 to 101 m


@pytest.mark.parametrize(
    ("x", "speed", "done"),
    [(97.0, 0.0, True), (97.0, 0.2, False), (94.1, 0.0, True), (93.9, 0.0, False), (97.0, -0.05, True)],
)
def test_standing_at_the_line(x, speed, done):
    """At less than 0.1 m/s with the front at most 4 m before the line, or it does not count."""
    sim = scene()
    assert not drive(sim, x, before=x, speed=speed)
    assert (sim.state.lane_position.stood[0, 0] == 0) == done
    assert drive(sim, 99.0, before=97.0) == (not done)


def test_once_stood_one_may_creep_on_and_go():
    sim = scene()
    drive(sim, 95.0, before=95.0, speed=0.0)
    for x in (95.5, 96.0, 97.0, 97.9):
        assert not drive(sim, x, before=x - 0.5, speed=2.0) and sim.state.lane_position.stood[0, 0] == 0
    assert not drive(sim, 99.0, before=97.9)
    assert sim.state.lane_position.stood[0, 0] == -1  # the next round stops again
    assert drive(sim, 199.0, before=197.0)


def test_what_it_sees():
    sim = scene()
    drive(sim, 96.0, before=95.0)
    assert colours(sim) == [(True, False), (True, False)]
    drive(sim, 96.0, before=96.0, speed=0.0)
    assert colours(sim) == [(False, True), (True, False)]
    drive(sim, 99.0, before=96.0)
    assert colours(sim)[0] == (True, False)


def test_ignored_signs_are_not_seen_and_not_run():
    sim = scene(stop_signs="ignore")
    assert not drive(sim, 99.0, before=97.0)
    assert colours(sim) == [(False, False), (False, False)]


def test_an_agent_learns_of_signs_by_its_steps():
    """Whole steps: brake to a halt before the line, and drive on; no red light is run."""
    sim = simulator(street(), 1, laptop().replace(agents_per_world=1, throttle_spread=1.0, acc_spread=1.0))
    clear(sim)
    place(sim, 0, 89.5, 0.0, length=4.0, speed=5.0)
    sim.state.lane_position.stood[:] = -1
    aim_at(sim, 0, ("c", 50.0))
    stood = []
    for action in [4] * 5 + [7] * 2 + [10] * 12:
        if sim.state.motion.speed[0, 0] == 0 and action == 7:
            sim.state.motion.acceleration[0, 0] = 0
        sim.step(np.array([action]))
        stood.append(int(sim.state.lane_position.stood[0, 0]))
        assert not sim.state.events.red_light[0, 0]
    assert 0 in stood and stood[-1] == -1


# Yield signs


def test_yield_signs_are_shown_as_yellow_lines_that_may_be_crossed():
    sim = simulator(street("yield"), 1, laptop().replace(agents_per_world=1, view_range=200.0, yield_signs="show"))
    clear(sim)
    place(sim, 0, 50.0, 0.0, length=4.0)
    sim.state.lane_position.stood[:] = -1
    assert sim.roads.network.stops["light"].tolist() == [-2, -2]
    assert not drive(sim, 97.0, before=95.0) and not drive(sim, 99.0, before=97.0)
    drive(sim, 96.0, before=95.0, speed=0.0)
    assert sim.state.lane_position.stood[0, 0] == -1, "only stop signs ask to stand"
    run("observe", sim)
    seen = Layout(sim.config).split(sim.observations[0, 0]).stops
    assert seen[:, 4:7].tolist() == [[0, 1, 0], [0, 1, 0]]
    assert seen[:, 0] * sim.config.view_range == pytest.approx([4.0, 104.0], abs=0.01)


@pytest.mark.parametrize("shown", ["hide", "show"])
def test_the_tables_know_where_drivers_give_way(shown):
    sim = simulator(street("yield"), 1, laptop().replace(agents_per_world=1, yield_signs=shown))
    assert sim.roads.network.gives_way.tolist() == [False, True, True]
    assert not simulator(street(), 1, laptop().replace(agents_per_world=1)).roads.network.gives_way.any()


# Lights by default


def test_default_lights():
    """CARLA's times, and every light works: 10 of 15 s green, 3 yellow, 2 red."""
    p = params(laptop().replace(lights="default"))
    assert (p.light_red_low, p.light_red_high) == (2, 2) and p.lights_removed == p.lights_off == p.lights_green == 0
    assert params(laptop()).lights_off == pytest.approx(0.2)
    from conftest import crossing

    sim = simulator(crossing(lights=True), 300, laptop().replace(agents_per_world=1, lights="default"))
    lights = sim.state.lights
    assert (lights.red == 2).all() and (lights.yellow == 3).all() and (lights.green == 10).all()
    assert abs((lights.colour == GREEN).mean() - 2 / 3) < 0.06 and abs((lights.colour == RED).mean() - 2 / 15) < 0.05
    assert set(DEFAULT_LIGHTS) <= set(Config.__dataclass_fields__)


def test_unknown_choices():
    for name, message in (("lights", "'random', 'default', 'program'"), ("stop_signs", "'obey', 'ignore'")):
        with pytest.raises(ValueError, match=f"{name}='on': choose one of {message}"):
            paper().replace(**{name: "on"})


def test_the_line_is_as_wide_as_the_lane():
    """Who passes 2 m beside the middle of a lane of 3.5 m does not cross it."""
    sim = scene()
    place(sim, 0, 99.0, 2.0, length=4.0, speed=5.0, coming_from=(97.0, 2.0, 0.0))
    run("run_light", sim)
    assert not sim.state.events.red_light[0, 0] and math.isclose(sim.roads.network.stops["half_width"][0], 1.75)
