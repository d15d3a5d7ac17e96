"""Traffic lights: programs drawn within their ranges, shares of what is removed, and the cycle of colours."""

import numpy as np
import pytest
from conftest import call, crossing, reals, run, simulator
from hypothesis import given
from hypothesis import strategies as st

from gigaflow_env.config import Config
from gigaflow_env.declare import row_type
from gigaflow_env.roads.compiled.tables import PhaseRow, ProgramRow
from gigaflow_env.sim.lights import colour_at, colour_of
from gigaflow_env.state import GREEN, OFF, RED, YELLOW

WORLDS = 4000
CONFIG = Config(
    agents_per_world=1, lane_count=1, boundary_count=1, stop_count=1, agent_count=0, world_stagger=0.0, world_steps=50
)


@pytest.fixture(scope="module")
def programs():
    """Lights of many worlds with the published shares: west (2) and east (0) are one group, south (1) another."""
    return simulator(crossing(lights=True), WORLDS, CONFIG).state.lights


def near(share):
    """A share of the worlds, within five standard errors."""
    return pytest.approx(share, abs=5 * np.sqrt(share * (1 - share) / WORLDS))


def test_times_are_within_their_ranges(programs):
    works = programs.red > 0
    green = programs.green[works]
    always = green > 1e6
    for times, low, high in (
        (programs.red[works], 0.3, 10.0), (programs.yellow[works], 1.5, 2.25), (green[~always], 1.0, 10.0),
    ):  # fmt: skip
        assert low <= times.min() < low + 0.01 * (high - low) and high - 0.01 * (high - low) < times.max() <= high
        assert times.mean() == pytest.approx((low + high) / 2, rel=0.03)
        assert times.std() == pytest.approx((high - low) / np.sqrt(12), rel=0.03)
    cycle = (programs.green + programs.yellow + programs.red)[works][~always]
    phase = programs.offset[works][~always] / cycle
    assert 0 <= phase.min() < 0.01 and 0.99 < phase.max() <= 1 and phase.mean() == pytest.approx(0.5, abs=0.02)
    assert np.unique(programs.red[works]).size > 0.99 * works.sum(), "every light has times of its own"


def test_shares(programs):
    """20 % of worlds without lights, 20 % of groups and 20 % of lights removed, 5 % of the rest always green."""
    works = programs.red > 0
    for light in range(3):
        assert works[:, light].mean() == near(0.8**3)
    always = programs.green[works] > 1e6
    assert always.mean() == pytest.approx(0.05, abs=5 * np.sqrt(0.05 * 0.95 / works.sum()))
    group_off = 0.2 + 0.8 * 0.2**2  # both lights of a group of two: the group, or each by itself
    assert (~works[:, [0, 2]]).all(axis=1).mean() == near(0.2 + 0.8 * group_off)
    assert works[:, [0, 2]].all(axis=1).mean() == near(0.8 * 0.8 * 0.64)
    assert works[:, [0, 1]].all(axis=1).mean() == near(0.8 * 0.64 * 0.64)  # of two groups
    assert (~works).all(axis=1).mean() == near(0.2 + 0.8 * group_off * (1 - 0.64))


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({"lights_off": 1.0}, 0.0),
        ({"light_groups_removed": 1.0}, 0.0),
        ({"lights_removed": 1.0}, 0.0),
        ({"lights_off": 0.0, "light_groups_removed": 0.0, "lights_removed": 0.0}, 1.0),
    ],
)
def test_shares_of_none_and_all(changes, share):
    lights = simulator(crossing(lights=True), 50, CONFIG.replace(**changes)).state.lights
    assert (lights.red > 0).mean() == share
    assert ((lights.colour != OFF) == (lights.red > 0)).all()


def test_always_green():
    made = simulator(
        crossing(lights=True), 50,
        CONFIG.replace(lights_off=0.0, light_groups_removed=0.0, lights_removed=0.0, lights_green=1.0),
    )  # fmt: skip
    for step in (0, 1, 17, 1199):
        made.state.clock.step[:] = step
        for w in range(50):
            run("switch", made, w=w)
        assert (made.state.lights.colour == GREEN).all()


def colours(time, red, yellow, green):
    return [call(colour_at)(*map(np.float32, (moment, red, yellow, green))) for moment in time]


def test_cycle_on_paper():
    """Green for 3 s, yellow for 2 s, red for 5 s."""
    times = [0, 2.9, 3.1, 4.9, 5.1, 9.9, 10.1, 12.9, 13.1, 1000.5, 1003.5, 1005.5]
    wanted = [GREEN, GREEN, YELLOW, YELLOW, RED, RED, GREEN, GREEN, YELLOW, GREEN, YELLOW, RED]
    assert colours(times, red=5, yellow=2, green=3) == wanted


def test_no_red_time_is_no_light():
    assert colours([0.0, 1.0, 1e3], red=0, yellow=2, green=3) == [OFF] * 3


def test_a_world_shows_the_cycle_of_its_program():
    made = simulator(crossing(lights=True), 20, CONFIG)
    lights, clock = made.state.lights, made.state.clock
    for step in range(0, 400, 7):
        clock.step[:] = step
        for w in range(20):
            run("switch", made, w=w)
        time = lights.offset + step * 0.3
        cycle = lights.green + lights.yellow + lights.red
        phase = np.remainder(time, cycle)
        wanted = np.where(phase < lights.green, GREEN, np.where(phase < lights.green + lights.yellow, YELLOW, RED))
        wanted[lights.red == 0] = OFF
        certain = (
            np.minimum.reduce([abs(phase - at) for at in (0, lights.green, lights.green + lights.yellow, cycle)]) > 1e-3
        )
        certain |= lights.red == 0
        assert certain.mean() > 0.9
        assert np.array_equal(lights.colour[certain], wanted[certain])


def test_a_program_holds_for_one_life_of_its_world():
    made = simulator(crossing(lights=True), 6, CONFIG)
    first = made.state.lights.offset.copy()
    actions = np.full(6, 7)
    for _ in range(CONFIG.world_steps - 1):
        made.step(actions)
    assert np.array_equal(made.state.lights.offset, first)
    made.step(actions)
    assert made.state.clock.step.tolist() == [0] * 6
    assert not np.isclose(made.state.lights.offset, first).any()


def test_worlds_begin_at_different_ages():
    made = simulator(crossing(lights=True), 400, CONFIG.replace(world_stagger=1.0))
    ages = made.state.clock.step
    assert ages.min() == 0 and ages.max() == CONFIG.world_steps - 1
    assert ages.mean() == pytest.approx(24.5, abs=5 * 14.4 / 20)
    assert (simulator(crossing(), 10, CONFIG).state.clock.step == 0).all()


times = reals(0.1, 10)


@given(reals(0, 500), times, times, times)
def test_colours_follow_each_other_in_a_cycle_of_their_times(time, red, yellow, green):
    """Judged by whole cycles in float64; within 1 ms of a change either colour is right."""
    cycle = green + yellow + red
    phase = time % cycle
    changes = np.array([0, green, green + yellow, cycle])
    found = call(colour_at)(time, red, yellow, green)
    if abs(phase - changes).min() > 1e-3:
        assert found == (GREEN, YELLOW, RED)[np.searchsorted(changes, phase) - 1]
    assert found in (GREEN, YELLOW, RED) and call(colour_at)(time, 0.0, yellow, green) == OFF
    assert call(colour_at)(0.0, red, yellow, green) == GREEN


@given(st.lists(st.integers(1, 40), min_size=1, max_size=5), st.integers(0, 3), st.integers(0, 400))
def test_a_program_shows_each_phase_for_its_time_and_begins_again(durations, at, half_seconds):
    """In half seconds, so that no time falls upon the end of a phase by rounding."""
    phases, (program,) = np.zeros(at + len(durations), row_type(PhaseRow)), np.zeros(1, row_type(ProgramRow))
    colours = [(GREEN, YELLOW, RED)[k % 3] for k in range(len(durations))]
    phases["until"][at:], phases["colour"][at:] = np.cumsum(durations), colours
    program["phases_at"], program["phases"], program["cycle"] = at, len(durations), sum(durations)
    shows = np.repeat(colours, 2 * np.array(durations))
    assert call(colour_of)(program, phases, np.float32(half_seconds / 2)) == shows[half_seconds % len(shows)]
