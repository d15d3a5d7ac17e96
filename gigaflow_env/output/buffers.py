"""Observations that are their holder's own, without a copy: the kernels write each step into an array that nobody holds."""

import weakref
from typing import Any

import numpy as np

KEPT = 4
"""Arrays of which is known who holds them. Ours: a loop holds two. Who collects more gets new ones, and frees them, too."""


class _Memory:
    """The memory of an array. What NumPy makes of it, and all views of that, hold on to this, and not to the array."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    @property
    def __array_interface__(self) -> dict[str, Any]:
        return self._array.__array_interface__


class Buffers:
    """Arrays like a first one, to be written in turns. What was handed out is used again when nobody holds it any more."""

    def __init__(self, first: np.ndarray) -> None:
        self._now = first
        self._handed: list[tuple[np.ndarray, weakref.ref[_Memory]]] = []

    def next(self) -> np.ndarray:
        """The array to be written now: the last one, if it was not handed out."""
        if any(array is self._now for array, _ in self._handed):
            free = next((k for k, (_, held) in enumerate(self._handed) if held() is None), None)
            self._now = np.zeros_like(self._now) if free is None else self._handed.pop(free)[0]
            del self._handed[:-KEPT]
        return self._now

    def hand_out(self) -> np.ndarray:
        """The array that was written, for its holder to keep or change."""
        memory = _Memory(self._now)
        self._handed = [one for one in self._handed if one[0] is not self._now] + [(self._now, weakref.ref(memory))]
        return np.asarray(memory)

    def __getstate__(self) -> dict[str, Any]:
        return {"_now": self._now, "_handed": []}  # nobody holds what is in a copy
