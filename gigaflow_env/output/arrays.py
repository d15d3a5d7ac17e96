"""What an environment returns, and how actions come in, as NumPy arrays. For torch: tensors.py."""

from typing import Any

import numpy as np

from gigaflow_env.output.buffers import Buffers
from gigaflow_env.simulator import Simulator


class Arrays:
    """The simulator's arrays by row: views that the next step overwrites, or copies. From a device always copies."""

    device: Any = None

    def __init__(self, simulator: Simulator, copy: bool) -> None:
        if simulator.obs_dtype == "bfloat16":
            raise ValueError("obs_dtype='bfloat16' needs output='torch': NumPy has no such type")
        self.simulator = simulator
        self.copies = copy and simulator.backend == "cpu"  # what comes from a device is a copy
        self._buffers = Buffers(simulator.observations) if self.copies else None
        self._views: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def of(self, array: Any) -> np.ndarray:
        """(worlds, agents, ...) as (rows, ...); the bits of half precision as float16."""
        kept = self._views.get(id(array))  # here and not only in `_view`: it is asked a dozen times a step
        view = self._view(array) if kept is None else kept[1]
        return view.copy() if self.copies else view

    def begin(self) -> None:
        """Before a step or a reset: what was handed out isn't written any more."""
        if self._buffers is not None:
            self.simulator.observations = self._buffers.next()

    def observations(self) -> np.ndarray:
        """What all rows see."""
        if self._buffers is None:
            return self.of(self.simulator.observations)
        return self._halves(self.simulator.per_row(self._buffers.hand_out()))

    def rows_of(self, array: np.ndarray) -> np.ndarray:
        """An array of the host, one entry a row."""
        return array

    def only(self, array: Any, where: np.ndarray) -> np.ndarray:
        """The rows of `where`; all others are 0. Pages that none of them touches are never mapped: cheaper than a copy."""
        view = self._view(array)
        chosen = np.zeros_like(view)
        chosen[where] = view[where]
        return chosen

    def _view(self, array: Any) -> np.ndarray:
        kept = self._views.get(id(array))
        if kept is not None:
            return kept[1]
        view = self._halves(self.simulator.per_row(self.simulator.host(array)))
        # Not from a device, and not of scenes: that is another array at every call.
        if isinstance(array, np.ndarray) and np.may_share_memory(array, view):
            self._views[id(array)] = array, view  # with the array: else its number could become that of another
        return view

    def _halves(self, view: np.ndarray) -> np.ndarray:
        return view.view(np.float16) if view.dtype == np.uint16 else view

    def actions(self, given: Any) -> np.ndarray:
        """Actions as the backend takes them."""
        return np.asarray(given)

    def mask(self, given: Any) -> np.ndarray | None:
        """A reset mask as the backend takes it, or None."""
        return None if given is None else np.asarray(given)

    def capture(self) -> None:
        """Raises RuntimeError: only a CUDA step can be recorded."""
        raise RuntimeError("capture() records the step of a CUDA device: it needs backend='cuda' and output='torch'")
