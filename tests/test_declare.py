"""Declarations make arrays, records and documentation."""

from typing import NamedTuple

import numpy as np
import pytest

from gigaflow_env.config import Config, params
from gigaflow_env.declare import Declared, allocate, array, describe, fields, number, record, row_type
from gigaflow_env.layout import FEATURES, GOALS
from gigaflow_env.packs import EIGHT
from gigaflow_env.population import ROAD_USERS
from gigaflow_env.roads.compiled.tables import Grid, Nearby, Network
from gigaflow_env.state import GROUPS, make


class Cars(NamedTuple):
    x: np.ndarray = array("world car", "m", "place")
    live: np.ndarray = array("world", "", "whether", np.bool_)


class Row(NamedTuple):
    x: float = number("m", "place")
    lane: int = number("", "its lane", np.int32)


def test_fields():
    assert fields(Cars) == {
        "x": Declared(("world", "car"), "m", "place", np.float32), "live": Declared(("world",), "", "whether", np.bool_),
    }  # fmt: skip
    assert fields(Row)["lane"] == Declared((), "", "its lane", np.int32)


def test_allocate():
    made = allocate(Cars, {"world": 2, "car": 3, "unused": 9})
    assert isinstance(made, Cars)
    assert (made.x.shape, made.x.dtype, made.live.shape, made.live.dtype) == ((2, 3), np.float32, (2,), np.bool_)
    assert not made.x.any()
    made.x[:] = 1
    assert not allocate(Cars, {"world": 2, "car": 3}).x.any(), "every call makes new arrays"


def test_a_missing_size_is_named():
    with pytest.raises(KeyError, match=r"Cars.x: no size for axis 'car'; sizes has \['world'\]"):
        allocate(Cars, {"world": 2})


def test_record():
    assert record(Row) == np.dtype([("x", np.float32), ("lane", np.int32)])


def test_describe():
    lines = describe(Row).splitlines()
    assert lines[0] == "| name | unit | meaning |" and lines[2:] == ["| `x` | m | place |", "| `lane` |  | its lane |"]


@pytest.mark.parametrize("group", [*GROUPS, *FEATURES, Network, Grid, Nearby], ids=lambda group: group.__name__)
def test_every_field_is_declared(group):
    assert set(fields(group)) == set(group._fields)
    for name, field in fields(group).items():
        assert isinstance(field, Declared), name


def test_state_has_the_declared_shapes():
    sizes = {
        "two": 2, "world": 3, "agent": 5, "coefficient": 7, "goal": GOALS, "light": 4, "neighbour": 6, "other": 5,
        "sample": 9, "kind": len(ROAD_USERS), "choice": 8, "worker": 2,
        "twice_sample": 18, "whole": 2 * EIGHT,
    }  # fmt: skip
    state = make(3, 5, 7, 4, 6, 9, 8, 2)
    for group, arrays in zip(GROUPS, state, strict=True):
        for name, field in fields(group).items():
            made = getattr(arrays, name)
            assert made.shape == tuple(sizes[axis] for axis in field.axes), f"{group.__name__}.{name}"
            assert made.dtype == field.dtype and made.flags.c_contiguous
    addresses = [array.ctypes.data for group in state for array in group]
    assert len(set(addresses)) == len(addresses)


def test_params_are_float32_and_int32():
    """Every number of a Config, under its own name; a float64 among them would slow every kernel down."""
    config = Config()
    made = params(config)._asdict()
    assert {type(value) for value in made.values()} == {np.float32, np.int32}
    assert made["dt"] == np.float32(0.3) and made["goal_radius_low"] == 2 and made["goal_radius_high"] == 12
    assert made["agent_count"] == 20 and made["crash_ends"] == 1 and made["route_ends"] == 0 and made["near_first"] == 0
    changed = params(config.replace(on_crash="continue", on_route_done="respawn", first_goal="near"))
    assert (changed.crash_ends, changed.route_ends, changed.near_first) == (0, 1, 1)


class Gap(NamedTuple):
    kind: int = number("", "", np.int8)
    x: float = number("m", "")


def test_rows_of_tables_have_no_gaps_and_may_be_loaded_whole():
    """CUDA reads fields of other rows byte by byte."""
    assert row_type(Row).isalignedstruct and not record(Row).isalignedstruct
    with pytest.raises(ValueError, match="a row of 5 bytes would need 8"):
        row_type(Gap)
