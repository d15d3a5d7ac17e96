"""States of many steps, from which the observations of single agents are rebuilt: what a trainer keeps instead of them."""

from typing import Any

import numpy as np

from gigaflow_env import bounds
from gigaflow_env.simulator import Simulator
from gigaflow_env.snapshot import OBSERVED, arrays, each_world

STEPS = bounds.Bounds(1, 1_000_000)
CHUNK = 256
"""Worlds that are unpacked at once: bounds the memory for what is not kept, and stays in the processor's caches."""


class StateMemory:
    """The states of `steps` steps of all worlds; made by `env.state_memory`.

    `keep(t)` copies what the present observations follow from, some 210 bytes a row; `observe(cells)` gives the observations
    of chosen rows of chosen steps, bit for bit as they were in float32.
    Raises ValueError on a CUDA device.
    """

    def __init__(self, simulator: Simulator, steps: int) -> None:
        if simulator.backend != "cpu":
            raise ValueError("state_memory: the states of a CUDA device can't be kept yet, keep its observations")
        self._simulator = simulator
        self.steps = bounds.whole("steps", steps, STEPS, "steps")
        self._now = {name: array for name, array in arrays(simulator.state).items() if name in OBSERVED}
        each = {name: array for name, array in self._now.items() if each_world(name)}
        # Not zeros: pages of steps that are never reached are never touched.
        self._kept = {name: np.empty((self.steps, *array.shape), array.dtype) for name, array in each.items()}
        self._seed = np.zeros((self.steps, 2), np.uint32)
        self._full = np.zeros(self.steps, bool)  # steps that were kept
        self._some = simulator.new_state(CHUNK)
        self._unpacked = {name: array for name, array in arrays(self._some).items() if name in each}

    @property
    def nbytes(self) -> int:
        """Memory [bytes] of all steps."""
        return self._seed.nbytes + sum(array.nbytes for array in self._kept.values())

    def keep(self, step: int) -> None:
        """Keep the states from which the present observations follow as those of a step, 0 to steps - 1."""
        step = bounds.whole("step", step, bounds.Bounds(0, self.steps - 1))
        for name, kept in self._kept.items():
            kept[step] = self._now[name]
        self._seed[step] = self._now["clock.seed"]
        self._full[step] = True

    def observe(self, cells: Any, out: np.ndarray | None = None) -> np.ndarray:
        """Observations float32 (n, size) of rows in steps that were kept; cells int (n,): step * num_envs + row.

        out: where they go, C-contiguous; a new array by default. Raises ValueError for cells of steps that were
        not kept, and for cells and arrays that don't fit.
        """
        simulator = self._simulator
        cells, shape = np.asarray(cells), (np.size(cells), simulator.layout.size)
        most = self.steps * simulator.rows
        if cells.ndim != 1 or not np.issubdtype(cells.dtype, np.integer) or not ((cells >= 0) & (cells < most)).all():
            raise ValueError(
                f"cells={bounds.shown(cells)}: expected whole numbers from 0 to {most - 1}, step * num_envs + row"
            )
        if out is None:
            out = np.empty(shape, np.float32)
        elif out.shape != shape or out.dtype != np.float32 or not out.flags.c_contiguous:
            raise ValueError(f"out is {out.dtype} {out.shape}: expected float32 {shape}, C-contiguous")
        step, row = np.divmod(cells, simulator.rows)
        if not self._full[step].all():
            raise ValueError(f"cells: step {step[~self._full[step]][0]} was not kept: keep() it first")
        world, agent = np.divmod(row, simulator.seats)
        at = step * simulator.worlds + world
        order = np.argsort(at, kind="stable")  # agents of one world one after another: it is unpacked once
        worlds, first = np.unique(at[order], return_index=True)
        first = np.append(first, len(cells))
        flat = {name: kept.reshape(-1, *kept.shape[2:]) for name, kept in self._kept.items()}
        for begin, end in self._stretches(worlds):
            some, low, high = worlds[begin:end], first[begin], first[end]
            for name, kept in flat.items():
                np.take(kept, some, axis=0, out=self._unpacked[name][: len(some)], mode="clip")  # clip: without a buffer
            self._some.clock.seed[:] = self._seed[some[0] // simulator.worlds]
            simulator.observe_chosen(self._some, first[begin : end + 1] - low, agent[order[low:high]], order[low:high], out)
        return out

    def _stretches(self, worlds: np.ndarray) -> list[tuple[int, int]]:
        """(begin, end) of at most CHUNK of the sorted worlds each, whose steps share a key of chance."""
        keys = self._seed[worlds // self._simulator.worlds]
        changes = np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1)) + 1
        ends = [0, *changes.tolist(), len(worlds)]
        return [
            (begin, min(begin + CHUNK, last))
            for start, last in zip(ends[:-1], ends[1:], strict=True)
            for begin in range(start, last, CHUNK)
        ]
