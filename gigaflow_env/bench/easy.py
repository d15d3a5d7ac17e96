"""An easy task, on which every library of reinforcement learning shows in a minute or two that it is wired rightly."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.config import laptop
from gigaflow_env.simulator import Simulator

MAP = "loop"

CONFIG = laptop().replace(
    agents_per_world=4,
    collision=(0.5, 0.5),
    offroad=(0.5, 0.5),
    comfort=(0.0, 0.0),
    progress=(0.1, 0.1),
    goal_speed=30.0,
)
"""Few cars, penalties that a plain perceptron gets over, and a final goal that counts at any speed."""

LEARNED_GOALS, LEARNED_CRASHES = 15.0, 45.0
"""In 1,000 agent-steps: at least so many, and at most so many. Random actions: 0 and 73."""


class Rates(NamedTuple):
    """What a policy does in 1,000 agent-steps."""

    goals: float
    crashes: float

    def __str__(self) -> str:
        return f"{self.goals:.1f} goals and {self.crashes:.1f} crashes in 1,000 steps"


def rates(act: Callable[[np.ndarray], Any], *, action: str = "discrete", rows: int = 128, steps: int = 200) -> Rates:
    """Drive the easy task by a policy: goals and crashes, always in the same worlds.

    act: observations float32 (rows, size) -> actions, int (rows,), or float (rows, 2) in -1..1 with action="continuous". The
    observations are overwritten by the next step. Collisions and departures from the road are crashes.
    """
    simulator = Simulator(MAP, rows, CONFIG, threads=1, continuous=action == "continuous")
    simulator.reset(np.array([1, 2], np.uint32))
    events, outcome = simulator.state.events, simulator.state.outcome
    driven = goals = crashes = 0
    for _ in range(steps):
        driven += int(simulator.per_row(outcome.active).sum())
        simulator.step(np.asarray(act(simulator.per_row(simulator.observations))))
        goals += int(events.goal.sum())
        crashes += int((events.collision | events.offroad).sum())
    simulator.close()
    return Rates(1000 * goals / driven, 1000 * crashes / driven)


def learned(before: Rates, after: Rates) -> bool:
    """Whether a policy has learned: more goals than any that does not look at the road reaches with so few crashes.

    Ours: full throttle gets to 15 goals and crashes 65 times; no jerk at all to 5, and crashes 20 times; a tenth of throttle
    to 10, and 44.
    """
    return after.goals >= LEARNED_GOALS and after.crashes <= LEARNED_CRASHES < before.crashes
