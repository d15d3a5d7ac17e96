"""Conditioning by hand: values or ranges instead of what the Config has agents draw, per row, for their next episodes."""

import dataclasses
import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from gigaflow_env.bounds import Bounds, shown
from gigaflow_env.config import CHOICES, CONDITIONING, Config
from gigaflow_env.simulator import Simulator

_DECLARED = {field.name: field.metadata for field in dataclasses.fields(Config)}

BODY = {
    "length": (Bounds(0.5, 25), "m"), "width": (Bounds(0.3, 5), "m"), "c_throttle": (Bounds(0.05, 10), ""),
    "c_steer": (Bounds(0.05, 10), ""), "c_acc": (Bounds(0.05, 10), ""), "c_vel": (Bounds(0.05, 10), ""),
}  # fmt: skip
"""Bounds and unit of what is chosen of a body: from a child to a long truck; and 20 times slower to 10 times as fast."""

ALLOWED = {name: (_DECLARED[name]["bounds"], _DECLARED[name]["unit"]) for name in CONDITIONING} | BODY
"""Bounds and unit of all that may be chosen: for reward coefficients the Config's."""

Ranges = dict[str, tuple[np.ndarray, np.ndarray]]


def ranges_of(given: Mapping[str, Any], rows: int) -> Ranges:
    """Lower and upper ends float32 (rows,) of every name; nan where a row draws as the Config says.

    A value is a number, a range (low, high), None to go back to the Config, or an array: (rows,) fixes a value for each row,
    (rows, 2) a range for each, and nan leaves a row to the Config. Raises ValueError that names the value and what would be
    right, TypeError where there is no mapping.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"conditioning={shown(given)}: expected a dict of names and values")
    found = {}
    for name, value in given.items():
        if name not in CHOICES:
            near = difflib.get_close_matches(str(name), CHOICES)
            hint = f"did you mean {', '.join(near)}?" if near else f"there is {', '.join(CHOICES)}"
            raise ValueError(f"unknown conditioning {shown(name)}: {hint}")
        low, high = _ends(name, value, rows)
        same = np.isnan(low) == np.isnan(high)
        wrong = np.flatnonzero(~same | (low > high))
        if len(wrong):
            ends = f"({low[wrong[0]]:g}, {high[wrong[0]]:g})"
            place = _place(value, wrong[0])
            raise ValueError(f"conditioning {name!r}{place}: {ends} is no range (low, high) with low <= high")
        allowed, unit = ALLOWED[name]
        # In float32, as they are compared: a bound like 0.1 has to be inside of itself.
        lowest, highest = np.float32(allowed.low), np.float32(allowed.high)
        outside = np.flatnonzero((low < lowest) | (high > highest))
        if len(outside):
            row = outside[0]
            end = low[row] if low[row] < lowest else high[row]
            raise ValueError(f"conditioning {name!r}{_place(value, row)}: {end:g} must be {allowed.text(unit)}")
        found[name] = low, high
    return found


def _place(value: Any, row: int) -> str:
    """Which row of an array is wrong; all have the same where it's none."""
    return f" of row {row}" if isinstance(value, np.ndarray) and value.ndim else ""


def _ends(name: str, value: Any, rows: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        array = np.asarray(np.nan if value is None else value)
    except (ValueError, TypeError):  # lists of several lengths
        array = np.asarray(None)
    mixed = isinstance(value, (tuple, list)) and any(isinstance(end, (bool, np.bool_)) for end in value)
    if mixed or not (np.issubdtype(array.dtype, np.number) and np.isrealobj(array)):
        raise ValueError(f"conditioning {name!r}: {shown(value)} is neither a number, nor a range (low, high), nor an array")
    with np.errstate(over="ignore"):  # becomes inf, which is refused
        array = array.astype(np.float32)
    if np.ndim(value) == 0 and value is not None and np.isnan(array):
        raise ValueError(f"conditioning {name!r}: nan is no number; None goes back to the Config")
    if array.ndim == 0:
        return np.full(rows, array), np.full(rows, array)
    # A list of two is a range, an array of two rows holds two values.
    if not isinstance(value, np.ndarray) and array.shape == (2,):
        return np.full(rows, array[0]), np.full(rows, array[1])
    if array.shape == (rows,):
        return array, array
    if array.shape == (rows, 2):
        return array[:, 0], array[:, 1]
    raise ValueError(
        f"conditioning {name!r} has shape {array.shape}: expected a number, a range (low, high), or an array "
        f"({rows},) or ({rows}, 2)"
    )


def override(simulator: Simulator, ranges: Ranges) -> None:
    """From now on, the rows draw from these ranges when an episode begins; other names stay as they were chosen before."""
    for end, array in enumerate(simulator.state.overrides):
        values = simulator.host(array)
        for name, ends in ranges.items():
            column = CHOICES.index(name)
            if simulator.seats < simulator.agents:  # of scenes: others than the rows draw as the Config says
                values[:, : simulator.seats, column] = ends[end].reshape(simulator.worlds, simulator.seats)
            else:
                simulator.per_row(values)[:, column] = ends[end]
        simulator.write(array, values)


def clear_overrides(simulator: Simulator) -> None:
    """From now on, all rows draw as the Config says."""
    for array in simulator.state.overrides:
        simulator.write(array, np.full(array.shape, np.nan, np.float32))
