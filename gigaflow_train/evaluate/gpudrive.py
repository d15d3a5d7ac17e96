"""GPUDrive's and PufferDrive's metrics of a scene: who reaches the goal, and what happens before.

Source: Emerge-Lab/gpudrive and PufferDrive (definitions): 91 steps of 0.1 s, a goal is reached within 2 m.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gigaflow_train.evaluate import waymax
from gigaflow_train.evaluate.trajectories import Trajectories, of

GOAL_RADIUS = 2.0
"""[m]"""


class Outcome(NamedTuple):
    """What became of one agent."""

    goal: bool  # reached
    collided: bool  # its box overlapped another one, at any time
    offroad: bool  # its box crossed a road edge, at any time
    score: bool  # reached the goal, and had not collided before
    unfinished: bool  # neither goal, nor collision, nor off the road


def first(happens: np.ndarray) -> np.ndarray:
    """The first moment at which something happens, (agents,) of (agents, steps); the number of steps where it never does."""
    return np.where(happens.any(axis=1), happens.argmax(axis=1), happens.shape[1])


def outcomes(reached: np.ndarray, collided: np.ndarray, offroad: np.ndarray) -> list[Outcome]:
    """From what happens at each moment, bool (agents, steps) each."""
    goal, hit = first(reached), first(collided)
    found = []
    for agent in range(len(reached)):
        arrived, crashed, left = reached[agent].any(), collided[agent].any(), offroad[agent].any()
        found.append(
            Outcome(
                goal=bool(arrived),
                collided=bool(crashed),
                offroad=bool(left),
                score=bool(arrived and goal[agent] <= hit[agent]),
                unfinished=not (arrived or crashed or left),
            )
        )
    return found


def of_scene(
    trajectories: Trajectories, judged: Sequence[int], goals: np.ndarray, edges: waymax.EdgePoints, *, first_step: int = 0
) -> list[Outcome]:
    """Outcomes of some agents; goals: (judged, 2) the place where each one's recording ends [m]."""
    rows, now = list(judged), slice(first_step, None)
    apart = np.hypot(trajectories.x[rows] - goals[:, :1], trajectories.y[rows] - goals[:, 1:])
    only = of(trajectories, rows)
    with np.errstate(invalid="ignore"):
        reached = apart <= GOAL_RADIUS
    return outcomes(reached[:, now], waymax.overlaps(trajectories, rows)[:, now], waymax.offroad(only, edges)[:, now])
