"""What an output is: `arrays.Arrays` and `tensors.Tensors` are two. An environment returns what they make."""

from typing import Any, Protocol

import numpy as np


class Output(Protocol):
    """Converts between the simulator's arrays and those of the caller. Rows are the environment's."""

    device: Any
    """The torch.device of all tensors; None for arrays."""

    def of(self, array: Any) -> Any:
        """An array of the simulator (worlds, agents, ...) as (rows, ...): a view, or a copy where the user wants copies."""

    def begin(self) -> None:
        """Before a step or a reset of the simulator."""

    def observations(self) -> Any:
        """What all rows see, (rows, size): as `of`, or without a copy an array that no later step writes."""

    def rows_of(self, array: np.ndarray) -> Any:
        """An array of the host, one entry a row; the same one at every call."""

    def only(self, array: Any, where: Any) -> Any:
        """A copy of the rows of `where`; all others are 0."""

    def actions(self, given: Any) -> Any:
        """The caller's actions as `Simulator.step` takes them."""

    def mask(self, given: Any) -> Any:
        """The caller's rows to reset, or None for all, as `Simulator.reset` takes them."""

    def capture(self) -> None:
        """Record the step of a device. Raises RuntimeError where there is none."""
