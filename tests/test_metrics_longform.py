"""Incidents per distance: what is one incident, intervals, and counts that add up."""

import json
import math

import numpy as np
import pytest

from gigaflow_train.evaluate import longform, robustness
from gigaflow_train.evaluate.longform import STUCK, Counts, Incidents, Standing, Trouble
from gigaflow_train.evaluate.metrics import Estimate

NOTHING = Counts()


def crash(a, b, age=60.0, fault=1):
    return Trouble("collision", (a, b), age, fault)


def off(a, age=60.0):
    return Trouble("offroad", (a,), age)


def counted(*steps, rows=10):
    """Counts of troubles at given times [s]."""
    incidents = Incidents(rows)
    return longform.total(incidents.add(seconds, troubles) for seconds, troubles in steps)


def test_two_cars_of_a_crash_are_one_incident():
    assert counted((100.0, [crash(0, 1)])) == NOTHING._replace(collision=1, fault_one=1)


def test_a_pile_up_is_one_incident():
    pile = [crash(0, 1), crash(2, 3), crash(1, 2, fault=2)]  # the third joins the first two
    assert counted((100.0, pile)) == NOTHING._replace(collision=1, fault_both=1)
    later = counted((100.0, [crash(0, 1)]), (103.0, [crash(1, 2)]), (112.0, [crash(2, 3)]))
    assert later.collision == 1  # each within 10 s of the one before
    assert counted((100.0, [crash(0, 1)]), (111.0, [crash(1, 2)])).collision == 2


def test_crashes_elsewhere_are_others():
    assert counted((100.0, [crash(0, 1), crash(2, 3)])).collision == 2


def test_a_car_pushed_off_the_road_is_part_of_the_crash():
    assert counted((100.0, [crash(0, 1), off(0)])) == NOTHING._replace(collision=1, fault_one=1)
    assert counted((100.0, [crash(0, 1)]), (101.0, [off(1)])) == NOTHING._replace(collision=1, fault_one=1)
    assert counted((100.0, [off(0)])) == NOTHING._replace(offroad=1)


def test_who_starts_anew_can_have_an_incident_of_its_own():
    again = counted((100.0, [crash(0, 1)]), (105.0, [crash(0, 2, age=4.9)]))
    assert again.collision == 2


def test_incidents_of_a_start_count_apart():
    found = counted((100.0, [crash(0, 1, age=1.9)]), (200.0, [off(5, age=2.0)]), (300.0, [off(6, age=0.5)]))
    assert found == NOTHING._replace(start_collision=1, start_offroad=1, offroad=1)


def test_kinds_do_not_hide_each_other():
    red = Trouble("red_light", (0,), 60.0)
    found = counted((100.0, [red, crash(0, 1)]), (105.0, [red]), (120.0, [red, Trouble("stuck", (3,), 600.0)]))
    assert (found.red_light, found.collision, found.stuck) == (2, 1, 1)


def test_who_stands_too_long_is_stuck_once():
    dt, steps = 0.5, round(STUCK / 0.5)
    standing = Standing(3, dt)
    active, nobody = np.array([True, True, False]), np.zeros(3, bool)
    still, creeping = np.zeros(3), np.array([0.0, 0.2 * dt, 0.0])
    found = [standing.add(creeping if step == 100 else still, active, nobody) for step in range(steps + 50)]
    assert [step for step, rows in enumerate(found) if rows.any()] == [steps - 1], "the second moved, the third is not there"
    assert found[steps - 1].tolist() == [True, False, False]
    assert standing.add(still, active, np.array([True, False, False]))[0] == 0 and standing.steps[0] == 0


def test_faults():
    found = counted((100.0, [crash(0, 1, fault=0)]), (200.0, [crash(0, 1, fault=2)]), (300.0, [crash(0, 1)]))
    assert (found.fault_none, found.fault_both, found.fault_one) == (1, 1, 1)


def test_a_run_that_was_interrupted_goes_on():
    whole = Incidents(4)
    first = whole.add(100.0, [crash(0, 1)])
    rest = Incidents(4)
    rest.last = np.array(json.loads(json.dumps(np.where(np.isinf(whole.last), None, whole.last).tolist())), float)
    rest.last = np.where(np.isnan(rest.last), -np.inf, rest.last)
    assert rest.add(105.0, [crash(1, 2)]) == whole.add(105.0, [crash(1, 2)]) == NOTHING
    assert first.collision == 1


def test_counts_add_up_and_survive_a_file():
    one = Counts(steps=10, seconds=0.66, metres=12.5, goals=2, collision=1)
    assert longform.total([one, one, NOTHING]) == one.plus(one)
    assert longform.from_json(json.loads(json.dumps(one._asdict()))) == one
    with pytest.raises(ValueError, match="lack"):
        longform.from_json({})
    with pytest.raises(ValueError, match="unknown"):
        longform.from_json({**one._asdict(), "more": 1})
    for wrong in (-1, math.nan, "1", True):
        with pytest.raises(ValueError, match="steps="):
            longform.from_json({**one._asdict(), "steps": wrong})


def test_what_was_driven():
    found = longform.driven(
        np.array([10.0, 0.05, -1.0, 20.0]),
        np.array([0.66, 0.0, 0.066, 1.0]),
        np.array([True, True, True, False]),
        2,
        1,
        0.066,
    )
    assert found == Counts(
        steps=3, seconds=pytest.approx(0.198), moving=pytest.approx(0.132), metres=pytest.approx(0.726), goals=2, routes=1
    )


def test_figures():
    counts = Counts(steps=10**6, seconds=longform.YEAR, moving=longform.YEAR / 2, metres=1e7, goals=100, collision=3,
                    offroad=1, start_collision=2, red_light=5)  # fmt: skip
    found = longform.figures(counts)
    assert found["km"].value == 10_000.0
    assert found["years"].value == 1.0
    assert found["mean_speed_mps"].value == pytest.approx(1e7 / longform.YEAR)
    assert found["share_moving"].value == 0.5
    assert found["goals_per_hour"].value == pytest.approx(100 / (longform.YEAR / 3600))
    # Garwood for 4 events: 1.0899 to 10.2416
    assert found["km_between_incidents"] == Estimate(
        2500.0, pytest.approx(1e4 / 10.2416, rel=1e-4), pytest.approx(1e4 / 1.0899, rel=1e-4), 4
    )
    assert found["years_between_incidents"].value == 0.25
    assert found["km_between_start_incidents"].n == 2
    assert found["km_between_red_light"].value == 2000.0
    assert found["km_between_stuck"] == Estimate(None, pytest.approx(1e4 / 3.6889, rel=1e-4), None, 0)


def test_without_an_incident_there_is_a_lower_end():
    assert longform.at_least(3000.0) == pytest.approx(1001.4, abs=0.1)
    assert longform.figures(NOTHING)["km_between_incidents"].value is None
    assert longform.figures(NOTHING)["mean_speed_mps"].value is None


# Robustness


def test_losses_are_against_the_first_row():
    def figures(goal):
        return {
            "goal_rate": Estimate(goal, 0.0, 1.0, 9),
            "collision_rate": Estimate(0.1, 0, 1, 9),
            "offroad_rate": Estimate(0, 0, 1, 9),
        }

    rows = robustness.table(
        [(robustness.CHECKS[0], figures(0.9)), (robustness.CHECKS[1], figures(0.7)), (robustness.CHECKS[2], figures(None))]
    )
    assert [one.loss for one in rows] == [0.0, pytest.approx(0.2), None]
    assert rows[1].check == robustness.CHECKS[1].name
    assert robustness.table([]) == []


def test_checks_are_possible_and_have_names_of_their_own():
    from gigaflow_env import PRESETS

    assert len({check.name for check in robustness.CHECKS}) == len(robustness.CHECKS)
    assert robustness.CHECKS[0].config == {}
    for check in robustness.CHECKS:
        PRESETS["laptop"]().replace(**check.config)
