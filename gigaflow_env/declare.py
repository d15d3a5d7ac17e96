"""The one idiom of this package: a NamedTuple whose defaults declare its fields.

    class Pose(NamedTuple):
        x: np.ndarray = array("world agent", "m", "center of the box")

The class is the single source: `allocate` makes the arrays, `record` makes the dtype of a table row, `describe` makes
the documentation, and the tests read the same declaration. An instance of the class holds real arrays and goes into
the kernels as it is.
"""

from typing import Any, NamedTuple

import numpy as np


class Declared(NamedTuple):
    """What one field is: its axes (empty for a number), unit, meaning and dtype."""

    axes: tuple[str, ...]
    unit: str
    meaning: str
    dtype: Any


def array(axes: str, unit: str, meaning: str, dtype: Any = np.float32) -> Any:
    """Declare an array with named axes, for example `array("world agent", "m/s", "signed speed")`."""
    return Declared(tuple(axes.split()), unit, meaning, dtype)


def number(unit: str, meaning: str, dtype: type = np.float32) -> Any:
    """Declare one number: a field of a table row, or a feature of an observation."""
    return Declared((), unit, meaning, dtype)


def fields(group: type) -> dict[str, Declared]:
    """The declarations of a group, in order, by name."""
    return dict(group._field_defaults)  # type: ignore[attr-defined]


def allocate(group: type, sizes: dict[str, int]) -> Any:
    """Zero-filled instance of `group`; `sizes` gives the length of every axis by name."""
    made: dict[str, np.ndarray] = {}
    for name, field in fields(group).items():
        missing = [axis for axis in field.axes if axis not in sizes]
        if missing:
            raise KeyError(f"{group.__name__}.{name}: no size for axis {missing[0]!r}; sizes has {sorted(sizes)}")
        made[name] = np.zeros([sizes[axis] for axis in field.axes], field.dtype)
    return group(**made)


def record(group: type) -> np.dtype:
    """Structured dtype with one entry a field."""
    return np.dtype([(name, field.dtype) for name, field in fields(group).items()])


def row_type(group: type) -> np.dtype:
    """The same for the row of a table that kernels read at random (array of structures), see `aligned`."""
    return aligned([(name, field.dtype) for name, field in fields(group).items()])


def aligned(described: list[tuple[str, Any]]) -> np.dtype:
    """A structured dtype whose fields may be loaded whole; where numpy does not say so, CUDA reads byte by byte.

    Raises ValueError where there would be room between fields: other fields, or another order, leave none.
    """
    found = np.dtype(described, align=True)
    packed = np.dtype(described)
    if found.itemsize != packed.itemsize:
        raise ValueError(f"a row of {packed.itemsize} bytes would need {found.itemsize}: {described}")
    return found


def describe(group: type) -> str:
    """Markdown table of a group: name, axes, unit, meaning."""
    rows = [f"| `{name}` | {f.unit} | {f.meaning} |" for name, f in fields(group).items()]
    return "\n".join(["| name | unit | meaning |", "|---|---|---|", *rows])
