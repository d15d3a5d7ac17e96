"""Conditioning by hand: values or ranges instead of what the Config has agents draw, per row, for their next episodes."""

import difflib
from collections.abc import Mapping
from typing import Any

import numpy as np

from gigaflow_env.config import CHOICES
from gigaflow_env.simulator import Simulator

POSITIVE = ("goal_radius", "length", "width", "c_throttle", "c_steer", "c_acc", "c_vel")
"""What has to be above 0."""

Ranges = dict[str, tuple[np.ndarray, np.ndarray]]


def ranges_of(given: Mapping[str, Any], rows: int) -> Ranges:
    """Lower and upper ends float32 (rows,) of every name; nan where a row draws as the Config says.

    A value is a number, a range (low, high), None to go back to the Config, or an array: (rows,) fixes a value for each row,
    (rows, 2) a range for each, and nan leaves a row to the Config. Raises ValueError that names the value and what would be
    right, TypeError where there is no mapping.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"conditioning={given!r}: expected a dict of names and values")
    found = {}
    for name, value in given.items():
        if name not in CHOICES:
            near = difflib.get_close_matches(str(name), CHOICES)
            hint = f"did you mean {', '.join(near)}?" if near else f"there is {', '.join(CHOICES)}"
            raise ValueError(f"unknown conditioning {name!r}: {hint}")
        low, high = _ends(name, value, rows)
        same = np.isnan(low) == np.isnan(high)
        wrong = np.flatnonzero(~same | (low > high) | np.isinf(low) | np.isinf(high))
        if len(wrong):
            at = f" of row {wrong[0]}" if isinstance(value, np.ndarray) else ""
            ends = f"({low[wrong[0]]:g}, {high[wrong[0]]:g})"
            raise ValueError(f"conditioning {name!r}{at}: {ends} is no range (low, high) with low <= high")
        if name in POSITIVE and (low <= 0).any():
            raise ValueError(f"conditioning {name!r}: {np.nanmin(low):g} must be above 0")
        found[name] = low, high
    return found


def _ends(name: str, value: Any, rows: int) -> tuple[np.ndarray, np.ndarray]:
    array = np.asarray(np.nan if value is None else value)
    if not (np.issubdtype(array.dtype, np.number) and np.isrealobj(array)):
        raise ValueError(f"conditioning {name!r}: {value!r} is neither a number, nor a range (low, high), nor an array")
    array = array.astype(np.float32)
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
            simulator.per_row(values)[:, CHOICES.index(name)] = ends[end]
        simulator.write(array, values)


def clear_overrides(simulator: Simulator) -> None:
    """From now on, all rows draw as the Config says."""
    for array in simulator.state.overrides:
        simulator.write(array, np.full(array.shape, np.nan, np.float32))
