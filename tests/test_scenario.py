"""Recorded traffic: what a consistent scenario is, and what is said of others."""

from dataclasses import fields, replace

import numpy as np
import pytest

from gigaflow_env import state
from gigaflow_env.roads import MapError, load_scenario
from gigaflow_env.roads.scenario import LIGHT_STATES, Scenario, masked, validate_scenario

VALID = np.array([[True, True, True], [False, True, False]])
GREEN, RED = LIGHT_STATES.index("green"), LIGHT_STATES.index("red")


def two_agents() -> Scenario:
    """A car that drives along x at 10 m/s, and a pedestrian who is seen once."""
    x = np.array([[0.0, 1.0, 2.0], [0.0, 5.0, 0.0]])
    zero = masked(np.zeros((2, 1)), VALID)
    size = masked(np.array([[4.5], [0.6]]), VALID)
    return Scenario(
        name="two",
        dt=0.1,
        ids=("car", "walker"),
        kinds=("vehicle", "pedestrian"),
        valid=VALID,
        x=masked(x, VALID),
        y=zero,
        z=zero,
        heading=zero,
        velocity_x=masked(np.array([[10.0], [0.0]]), VALID),
        velocity_y=zero,
        length=size,
        width=size,
        lights={"7": np.array([RED, RED, GREEN], np.int8)},
        ego=0,
        predict=(1,),
    )


def test_a_consistent_scenario_is_accepted():
    scenario = two_agents()
    validate_scenario(scenario)
    assert (scenario.agents, scenario.steps) == (2, 3)
    np.testing.assert_array_equal(scenario.x, [[0, 1, 2], [np.nan, 5, np.nan]])


def test_light_states_begin_with_the_simulators_colours():
    colours = [getattr(state, name.upper()) for name in LIGHT_STATES[:4]]
    assert colours == [0, 1, 2, 3]


def changed(array: np.ndarray, place: tuple[int, ...], value: float) -> np.ndarray:
    array = array.copy()
    array[place] = value
    return array


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: {"dt": 0.0}, r"dt=0\.0 s must be above 0"),
        (lambda s: {"dt": float("nan")}, r"dt=nan s must be above 0"),
        (lambda s: {"valid": s.valid[0]}, r"valid is bool \(3,\), it must be bool \(agents, steps\)"),
        (lambda s: {"valid": np.zeros((0, 3), bool)}, r"one each at least"),
        (lambda s: {"ids": ("car",)}, r"1 ids for 2 agents"),
        (lambda s: {"ids": ("car", "car")}, r"id 'car' is given twice"),
        (lambda s: {"kinds": ("vehicle", "dog")}, r"agent 'walker': kind 'dog' is not one of vehicle, pedestrian"),
        (lambda s: {"x": s.x[:, :2]}, r"x is float64 \(2, 2\), it must be float64 \(2, 3\)"),
        (lambda s: {"y": s.y.astype(np.float32)}, r"y is float32 \(2, 3\), it must be float64"),
        (lambda s: {"x": changed(s.x, (0, 2), np.nan)}, r"agent 'car': x=nan at step 2 must be a finite"),
        (lambda s: {"x": changed(s.x, (1, 0), 0.0)}, r"agent 'walker': x=0\.0 at step 0 must be NaN, for it is not valid"),
        (lambda s: {"width": changed(s.width, (1, 1), 0.0)}, r"agent 'walker': width=0\.0 at step 1 must be above 0"),
        (lambda s: {"lights": {"7": np.zeros(2, np.int8)}}, r"light '7': states are int8 \(2,\), must be int8 \(3,\)"),
        (lambda s: {"lights": {"7": np.full(3, 5, np.int8)}}, r"light '7': states must lie in 0\.\.4"),
        (lambda s: {"tags": (3,)}, r"tags=\(3,\) must be texts"),
        (lambda s: {"ego": 2}, r"ego=2: agents have the numbers 0\.\.1"),
        (lambda s: {"predict": (0, -1)}, r"predict=\(0, -1\): agents have the numbers 0\.\.1"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    scenario = two_agents()
    with pytest.raises(MapError, match=rf"scenario 'two': .*{message}"):
        validate_scenario(replace(scenario, **change(scenario)))


@pytest.mark.parametrize("name", ["x", "y", "z", "heading", "velocity_x", "velocity_y", "length", "width"])
def test_every_array_is_checked(name):
    scenario = two_agents()
    assert name in {field.name for field in fields(Scenario)}
    with pytest.raises(MapError, match=f"agent 'car': {name}=inf at step 1"):
        validate_scenario(replace(scenario, **{name: changed(getattr(scenario, name), (0, 1), np.inf)}))


def test_files_without_recorded_traffic_are_refused(tmp_path):
    (tmp_path / "town.xodr").write_text("<OpenDRIVE/>")
    with pytest.raises(MapError, match=r"town\.xodr: no recorded traffic in this format; supported are \*\.xml"):
        load_scenario(tmp_path / "town.xodr")
