"""The check mode: with GIGAFLOW_CHECK=1 in the environment, a number that is not finite stops a simulator on the CPU.

Every step and reset then looks at all numbers of the state, the observations and the rewards. Without it nothing is looked
at, and nothing costs anything.
"""

import math
from typing import Any

import numpy as np

from gigaflow_env.bounds import switch
from gigaflow_env.declare import fields
from gigaflow_env.layout import as_floats

VARIABLE = "GIGAFLOW_CHECK"

_OVERRIDES = "overrides"  # nan is what it says where nothing was chosen

_SUMS = ("rows", "outcome")
"""Looked at last: what is summed up there comes from elsewhere, and that should be named."""


def wanted() -> bool:
    """Whether GIGAFLOW_CHECK asks for it. Raises ValueError, see `bounds.switch`."""
    return switch(VARIABLE)


def check(simulator: Any, moment: str) -> None:
    """Raise FloatingPointError that names array, world, agent and row of the first number that is not finite.

    simulator: a Simulator on the CPU; moment: what was just done, for the message.
    """
    if _all_fine(simulator):
        return
    state = simulator.state._asdict()
    for group_name in sorted(state.keys() - {_OVERRIDES}, key=lambda name: (name in _SUMS, list(state).index(name))):
        group = state[group_name]
        for (name, declared), array in zip(fields(type(group)).items(), group, strict=True):
            if array.dtype == np.float32 and not _all_finite(array):
                _fail(simulator, moment, f"{group_name}.{name}", array, declared.axes)
    for name in ("observations", "final_observations"):
        array = as_floats(getattr(simulator, name), simulator.obs_dtype)
        if not _all_finite(array):
            _fail(simulator, moment, name, array, ("world", "agent", "column"))


def _all_fine(simulator: Any) -> bool:
    """Whether all is finite, at a small part of the price: one number that is not makes the sum of all so."""
    groups = [group for name, group in simulator.state._asdict().items() if name != _OVERRIDES]
    arrays = [array for group in groups for array in group if array.dtype == np.float32]
    arrays += [as_floats(shown, simulator.obs_dtype) for shown in (simulator.observations, simulator.final_observations)]
    with np.errstate(invalid="ignore"):  # inf - inf
        return math.isfinite(sum(float(array.sum(dtype=np.float64)) for array in arrays))


def _all_finite(array: np.ndarray) -> bool:
    return bool(np.isfinite(array).all())


def _fail(simulator: Any, moment: str, name: str, array: np.ndarray, axes: tuple[str, ...]) -> None:
    place = tuple(int(k) for k in np.argwhere(~np.isfinite(array))[0])
    said = ", ".join(f"{axis} {k}" for axis, k in zip(axes, place, strict=True))
    if axes[:2] == ("world", "agent"):
        said += f" (row {place[0] * simulator.agents + place[1]})"
    raise FloatingPointError(f"{name} is {array[place]} after a {moment}: {said}")
