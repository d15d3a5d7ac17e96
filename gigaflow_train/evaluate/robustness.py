"""How much worse a policy drives where something is other than in its training: one table."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gigaflow_env import PRESETS
from gigaflow_train.evaluate.metrics import Estimate


class Check(NamedTuple):
    """One change of the environment."""

    name: str
    group: str  # what kind of change it is
    config: Mapping[str, Any]  # values of Config that differ
    traffic: float = 0.0  # share of the rows that rules drive
    delay: int = 0  # steps by which actions come late
    maps: str = "same"  # "same", or "held out"


_PAPER = PRESETS["paper"]()
NOISE = {name: getattr(_PAPER, name) for name in ("noise_position", "noise_heading", "noise_speed")}
"""By how much others are seen wrongly in the preset `paper`."""
LIGHTS = {name: getattr(_PAPER, name) for name in ("lights_off", "light_groups_removed", "lights_removed")}

CHECKS = (
    Check("as it is", "", {}),
    *(Check(f"others are seen with noise, x{k} that of the preset paper", "observation noise",
            {name: k * v for name, v in NOISE.items()}) for k in (1, 2, 4)),
    Check("coefficients spread twice as far", "dynamics",
          {"throttle_spread": 1.5, "steer_spread": 1.5, "acc_spread": 2.0, "vel_spread": 2.0}),
    Check("brakes of 3.5 m/s^2 instead of 5", "dynamics", {"brake_max": 3.5}),
    Check("steering half as fast", "dynamics", {"steer_rate": 0.3}),
    Check("wheelbase of 0.5 lengths instead of 0.6", "dynamics", {"wheelbase": 0.5}),
    Check("wheelbase of 0.7 lengths instead of 0.6", "dynamics", {"wheelbase": 0.7}),
    Check("actions one step late", "dynamics", {}, delay=1),
    Check("pedestrians to trucks as in the paper", "bodies", {"population": "paper"}),
    Check("held-out maps", "maps", {}, maps="held out"),
    Check("half of the cars drive by rules", "traffic", {}, traffic=0.5),
    Check("nine tenths of the cars drive by rules", "traffic", {}, traffic=0.9),
    *(Check(f"{share:.0%} erratic drivers", "erratic", {"inattentive": share / 2, "phantom": share / 2})
      for share in (0.1, 0.2, 0.3)),
    Check("lights as at random in the paper", "lights", LIGHTS),
    *(Check(f"{agents} agents in each world", "density", {"agents_per_world": agents}) for agents in (48, 64)),
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
