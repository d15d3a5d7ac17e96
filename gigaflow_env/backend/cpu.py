"""The CPU backend: a range of worlds per thread, one worker a world.

No OpenMP: its barrier spins on shared cores (seven times slower than serial) and kills forked workers. A kernel over a range
of worlds releases the GIL, and a small pool of our own threads takes the ranges. Worlds don't touch each other: results are
bit-equal for any number of threads.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gigaflow_env.backend import world
from gigaflow_env.backend.world import DISABLED, RESET_ATTEMPTS, SAME_STEP
from gigaflow_env.jit import kernel

FIRST, STRIDE = 0, 1
"""One worker drives all agents of a world."""


@kernel
def clear(begin, end, every, key, chosen, clock, rows, pose, motion, events, outcome, p):
    for w in range(begin, end):
        world.clear(w, FIRST, STRIDE, every, key, chosen, clock, rows, pose, motion, events, outcome, p)


@kernel
def drive(
    begin, end, mode, actions,
    clock, rows, pose, motion, body, place, goals, wishes, events, outcome, lights, near, variant, seen,
    network, grid, nearby, p,
):  # fmt: skip
    for w in range(begin, end):
        world.drive(
            w, FIRST, STRIDE, mode, actions,
            clock, rows, pose, motion, body, place, goals, wishes, events, outcome, lights, near, variant, seen,
            network, grid, nearby, p,
        )  # fmt: skip


@kernel
def renew(
    begin, end, mode, anew, attempts,
    clock, rows, pose, motion, body, place, goals, wishes, events, lights, proposal, ways, kinds, variant, seen,
    network, grid, p,
):  # fmt: skip
    for w in range(begin, end):
        world.renew(
            w, FIRST, STRIDE, mode, anew, attempts,
            clock, rows, pose, motion, body, place, goals, wishes, events, lights, proposal, ways, kinds, variant, seen,
            network, grid, p,
        )  # fmt: skip


@kernel
def show(
    begin, end, only_ended, obs, starts,
    clock, rows, pose, motion, body, place, goals, wishes, outcome, lights, near, ways, variant, seen,
    network, nearby, p,
):  # fmt: skip
    """Observations of all rows, or only of those whose episode has just ended."""
    for w in range(begin, end):
        for a in range(rows.status.shape[1]):
            if world.notice(
                w, a, only_ended, clock, rows, pose, place, goals, outcome, near, ways, variant, network, nearby, p
            ):
                world.show(
                    w, a, FIRST, STRIDE, obs[w, a], starts,
                    clock, rows, pose, motion, body, place, goals, wishes, lights, near, ways, variant, seen,
                    network, nearby, p,
                )  # fmt: skip


def step(begin, end, mode, actions, obs, final_obs, starts, state, roads, p):
    """One step of worlds begin .. end-1."""
    clock, rows, pose, motion, body, place, goals, wishes, events, outcome, lights, proposal, near, ways = state[:14]
    kinds, variant, seen = state[14:]
    network, grid, nearby = roads.network, roads.grid, roads.nearby
    drive(
        begin, end, mode, actions,
        clock, rows, pose, motion, body, place, goals, wishes, events, outcome, lights, near, variant, seen,
        network, grid, nearby, p,
    )  # fmt: skip
    if mode == SAME_STEP:
        # Before renew: the last observation of an episode shows the world in which it ended.
        show(
            begin, end, True, final_obs, starts,
            clock, rows, pose, motion, body, place, goals, wishes, outcome, lights, near, ways, variant, seen,
            network, nearby, p,
        )  # fmt: skip
    # Before the last show: an agent that starts anew must not be seen at its old place.
    renew(
        begin, end, mode, mode == SAME_STEP, p.spawn_attempts,
        clock, rows, pose, motion, body, place, goals, wishes, events, lights, proposal, ways, kinds, variant, seen,
        network, grid, p,
    )  # fmt: skip
    show(
        begin, end, False, obs, starts,
        clock, rows, pose, motion, body, place, goals, wishes, outcome, lights, near, ways, variant, seen,
        network, nearby, p,
    )  # fmt: skip


def reset(begin, end, obs, starts, state, roads, p):
    """Find places for the waiting rows of worlds begin .. end-1, and show all."""
    clock, rows, pose, motion, body, place, goals, wishes, events, outcome, lights, proposal, near, ways = state[:14]
    kinds, variant, seen = state[14:]
    renew(
        begin, end, DISABLED, True, RESET_ATTEMPTS,
        clock, rows, pose, motion, body, place, goals, wishes, events, lights, proposal, ways, kinds, variant, seen,
        roads.network, roads.grid, p,
    )  # fmt: skip
    show(
        begin, end, False, obs, starts,
        clock, rows, pose, motion, body, place, goals, wishes, outcome, lights, near, ways, variant, seen,
        roads.network, roads.nearby, p,
    )  # fmt: skip


class Pool:
    """Worker threads for ranges of worlds. Made at first use and anew in a forked process, where threads don't survive."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._process = 0
        self._workers: Any = None  # ThreadPoolExecutor, made at first use

    def run(self, function: Callable, worlds: int, *args: Any) -> None:
        """Call `function(begin, end, *args)` for ranges that cover all worlds; the caller's thread takes the first."""
        parts = min(self.threads, worlds)
        bounds = [worlds * part // parts for part in range(parts + 1)]
        if parts > 1 and self._process != os.getpid():
            self._process, self._workers = os.getpid(), ThreadPoolExecutor(self.threads - 1, "gigaflow")
        others = [self._workers.submit(function, *pair, *args) for pair in zip(bounds[1:-1], bounds[2:], strict=True)]
        function(bounds[0], bounds[1], *args)
        for other in others:
            other.result()

    def close(self) -> None:
        if self._workers is not None and self._process == os.getpid():
            self._workers.shutdown()
        self._workers, self._process = None, 0


def default_threads() -> int:
    """The processors which this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
