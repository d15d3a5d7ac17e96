"""What a backend is: `cpu.Threads` and `cuda.Device` are two."""

from typing import Any, Protocol

import numpy as np

from gigaflow_env.backend.world_step import Parts


class Backend(Protocol):
    """Arrays in the memory of a device, and kernels over them. The order of the stages is in world_step.py."""

    threads: int
    stream: int
    """The CUDA stream on which kernels are launched, by its number; 0 is the default one, and all that a CPU has."""

    def expect(self, worlds: int, nbytes: int) -> None:
        """Before arrays of so many bytes a world are made. Raises MemoryError where they can't be."""

    def put(self, group: Any) -> Any:
        """A group of the host's arrays as the kernels want them."""

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An array of the backend."""

    def write(self, array: Any, values: np.ndarray) -> None:
        """Put values of the host into an array of the backend."""

    def fetch(self, array: Any) -> np.ndarray:
        """An array of the backend as the host's."""

    def prepare(self, parts: Parts) -> None:
        """Compile what a reset and a step need, so that it can be said how long that takes."""

    def clear(self, parts: Parts, every: bool, key: np.ndarray, chosen_rows: Any) -> None:
        """Rows wait to spawn; `every`: worlds begin anew, too. key: two uint32, the seed of all random numbers, or none."""

    def reset(self, parts: Parts) -> None:
        """Spawn the waiting rows, and observe all."""

    def step(self, parts: Parts) -> None:
        """One step of all worlds."""

    def observe(self, parts: Parts) -> None:
        """Observe all rows as they are."""

    def observe_chosen(self, parts: Parts, first: np.ndarray, agents: np.ndarray, places: np.ndarray) -> None:
        """Observe some agents of the worlds of a state that was kept: agents[first[w] : first[w + 1]] of world w.

        The i-th of the agents becomes row places[i] of `parts.obs`, float32 (rows, columns).
        """

    def forget(self) -> None:
        """Tables were replaced: hold on to none of the old ones."""

    def close(self) -> None:
        """Release all resources."""
