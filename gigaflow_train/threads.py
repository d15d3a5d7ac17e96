"""The rows of a batch on several CPU threads, in each of which torch works alone.

torch's own threads share one operation at a time. Those of a small network are over before the threads have met, and a
thread that waits for the next one keeps its core from the simulator's threads. Here every thread goes the whole way with
rows of its own, from the observation to the gradient.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import torch
from torch import Tensor

from gigaflow_train.config import TrainConfig

LEAST = 256
"""Rows of a part. Ours: less is lost to Python, which runs in one thread at a time."""

T = TypeVar("T")


class Team:
    """Threads that share the rows of a batch. Results depend on their number, and not on which is first."""

    def __init__(self, threads: int = 1) -> None:
        self.threads = threads
        self._others = ThreadPoolExecutor(threads - 1, "learner") if threads > 1 else None

    def each(self, rows: int, work: Callable[[slice], T]) -> list[T]:
        """What work gives for consecutive parts of so many rows, in order."""
        parts = max(1, min(self.threads, rows // LEAST))
        ends = [rows * k // parts for k in range(parts + 1)]
        first, *later = map(slice, ends[:-1], ends[1:])
        if self._others is None or not later:
            return [work(first)]
        waiting = [self._others.submit(work, part) for part in later]
        return [work(first), *(other.result() for other in waiting)]


ALONE = Team()


def team_for(policy: Any, config: TrainConfig, device: torch.device) -> Team:
    """The threads of a run, and how many of them torch has. A network that isn't `stateless` leaves all of them to torch."""
    apart = device.type == "cpu" and not config.fixed and getattr(policy, "stateless", False)
    torch.set_num_threads(1 if apart else config.threads)
    return Team(config.threads) if apart else ALONE


def add_gradients(parameters: list[Tensor], parts: list[tuple[Tensor | None, ...]]) -> None:
    """Set the parameters' gradients to the sum of the parts', always in the same order. None: nothing depends on it."""
    for parameter, *each in zip(parameters, *parts, strict=True):
        there = [gradient for gradient in each if gradient is not None]
        parameter.grad = sum(there[1:], start=there[0]) if there else None
