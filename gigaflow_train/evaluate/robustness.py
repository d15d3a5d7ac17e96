"""How much worse a policy drives where something is other than in its training: one table."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gigaflow_train.evaluate.metrics import Estimate


class Check(NamedTuple):
    """One change of the environment."""

    name: str
    group: str  # what kind of change it is
    config: Mapping[str, Any]  # values of Config that differ
    traffic: float = 0.0  # share of the rows that rules drive
    delay: int = 0  # steps by which actions come late
    maps: str = "same"  # "same", or "held out"


CHECKS = (
    Check("as trained", "", {}),
    Check("positions seen up to 0.5 m off", "observation noise", {"noise_position": 0.5}),
    Check("positions seen up to 1 m off, speeds 1 m/s, headings 3 degrees", "observation noise",
          {"noise_position": 1.0, "noise_speed": 1.0, "noise_heading": 0.05}),
    Check("twice the spread of dynamics", "dynamics",
          {"throttle_spread": 1.6, "steer_spread": 1.6, "acc_spread": 2.0, "vel_spread": 2.0}),
    Check("wheelbase 0.5 lengths", "dynamics", {"wheelbase": 0.5}),
    Check("wheelbase 0.7 lengths", "dynamics", {"wheelbase": 0.7}),
    Check("steering half as quick", "dynamics", {"steer_rate": 0.3}),
    Check("actions one step late", "dynamics", {}, delay=1),
    Check("held-out maps", "maps", {}, maps="held out"),
    Check("half of the others are rule-based", "traffic", {}, traffic=0.5),
    Check("nine tenths of the others are rule-based", "traffic", {}, traffic=0.9),
    Check("a fifth are erratic", "erratic", {"inattentive": 0.1, "phantom": 0.1}),
    Check("half are erratic", "erratic", {"inattentive": 0.25, "phantom": 0.25}),
)  # fmt: skip
"""Ours: the paper says what its policies withstand, not how much of it."""


class Row(NamedTuple):
    """A line of the table."""

    check: str
    group: str
    goals: Estimate  # share of routes
    collisions: Estimate
    offroads: Estimate
    loss: float | None  # goal rate of the first row less this one's; None: no route ended


def table(found: Sequence[tuple[Check, Mapping[str, Estimate]]]) -> list[Row]:
    """The table of figures, as `run.figures` gives them; the first one is what the others are compared with."""
    if not found:
        return []
    base = found[0][1]["goal_rate"].value
    rows = []
    for check, figures in found:
        goal = figures["goal_rate"]
        loss = None if base is None or goal.value is None else base - goal.value
        rows.append(Row(check.name, check.group, goal, figures["collision_rate"], figures["offroad_rate"], loss))
    return rows
