"""Hours of self-play: how far between incidents. Counts that add up over runs, at constant memory.

Source: arXiv 2502.03349, section 8.5: an incident is a collision or leaving the road, of any agent. Ours, since it isn't
published: what of one crash is one incident, and that those of the first seconds of an episode, which its start caused,
count apart.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gigaflow_train.evaluate.metrics import Estimate, rate

START = 2.0
"""[s] An incident of an episode that is so young may come from its start."""
QUIET = 10.0
"""[s] Trouble of the same agents within this time of the last is the same incident, as in a pile-up."""
MOVING = 0.1
"""[m/s] What is faster drives."""
STUCK = 120.0
"""[s] Who stands longer is stuck: no light of the simulator is red for so long."""
YEAR = 365.25 * 24 * 3600.0
"""[s]"""
KINDS = ("collision", "offroad", "red_light", "wrong_way", "stuck")
"""Collision and offroad are the paper's incidents; the others are counted beside them. Stuck: see STUCK."""
INCIDENTS = KINDS[:2]


class Counts(NamedTuple):
    """What has been counted. All of it adds up: over steps, worlds and runs."""

    steps: int = 0  # agent steps
    seconds: float = 0.0  # that agents were there
    moving: float = 0.0  # [s] of these faster than MOVING
    metres: float = 0.0
    goals: int = 0
    routes: int = 0  # final goals
    collision: int = 0  # incidents
    offroad: int = 0
    red_light: int = 0
    wrong_way: int = 0
    stuck: int = 0
    start_collision: int = 0  # of these kinds, in the first seconds of an episode: not in the numbers above
    start_offroad: int = 0
    start_red_light: int = 0
    start_wrong_way: int = 0
    start_stuck: int = 0
    fault_one: int = 0  # collisions with one agent at fault; starts are not in here
    fault_both: int = 0
    fault_none: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """Both together."""
        added: list[Any] = [a + b for a, b in zip(self, other, strict=True)]
        return Counts(*added)


def total(counts: Iterable[Counts]) -> Counts:
    """Sum of several."""
    found = Counts()
    for one in counts:
        found = found.plus(one)
    return found


def from_json(given: Mapping[str, Any]) -> Counts:
    """Counts from a file. Raises ValueError that names what is missing, unknown or no number."""
    missing, unknown = set(Counts._fields) - set(given), set(given) - set(Counts._fields)
    if missing or unknown:
        raise ValueError(f"counts lack {sorted(missing)}" if missing else f"counts have unknown {sorted(unknown)}")
    for name, number in given.items():
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not (math.isfinite(number) and number >= 0):
            raise ValueError(f"counts: {name}={number!r} must be a number of at least 0")
    return Counts(**given)


class Trouble(NamedTuple):
    """What one agent, or two that met, ran into in a step."""

    kind: str  # one of KINDS
    agents: tuple[int, ...]  # rows of the environment
    age: float  # [s] of the younger episode
    at_fault: int = 0  # how many of them


def grouped(troubles: Iterable[Trouble]) -> list[list[Trouble]]:
    """Troubles of one step, those together that share an agent: crashes and leaving the road in one group, others apart."""
    groups: list[tuple[str, set[int], list[Trouble]]] = []
    for one in troubles:
        sort = "crash" if one.kind in INCIDENTS else one.kind
        joined = [group for group in groups if group[0] == sort and group[1].intersection(one.agents)]
        rest = [group for group in groups if group not in joined]
        agents = set(one.agents).union(*(group[1] for group in joined))
        groups = [*rest, (sort, agents, [other for group in joined for other in group[2]] + [one])]
    return [group[2] for group in groups]


class Incidents:
    """Counts incidents step by step. Keeps one number an agent and kind: memory does not grow.

    `last` is its whole memory, float64 (2 + kinds, rows): seconds of the last trouble; save it to go on later.
    """

    def __init__(self, rows: int) -> None:
        self.sorts = ("crash", *KINDS[2:])
        self.last = np.full((len(self.sorts), rows), -np.inf)

    def add(self, seconds: float, troubles: Iterable[Trouble]) -> Counts:
        """What is new in a step that ended at this time [s]: incidents that do not go on from earlier ones."""
        found: dict[str, int] = {}
        for group in grouped(troubles):
            crash = any(one.kind == "collision" for one in group)
            kind = "collision" if crash else group[0].kind
            sort = self.sorts.index("crash" if kind in INCIDENTS else kind)
            agents = sorted({agent for one in group for agent in one.agents})
            age = min(one.age for one in group)
            since = seconds - self.last[sort, agents].max()
            self.last[sort, agents] = seconds
            if since <= QUIET and since <= age + 1e-9:  # not of an episode before this one
                continue
            early = age < START
            name = f"start_{kind}" if early else kind
            found[name] = found.get(name, 0) + 1
            if crash and not early:
                guilty = max(one.at_fault for one in group if one.kind == "collision")
                fault = ("fault_none", "fault_one", "fault_both")[min(guilty, 2)]
                found[fault] = found.get(fault, 0) + 1
        return Counts(**found)


class Standing:
    """How long each row has stood in its episode."""

    def __init__(self, rows: int, dt: float) -> None:
        self.steps = np.zeros(rows, np.int64)
        self.dt, self.limit = dt, round(STUCK / dt)

    def add(self, distance: np.ndarray, active: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Which rows have got stuck in a step, bool (rows,): each once as long as it stands. distance: driven in it [m]."""
        self.steps = np.where(active & (distance < MOVING * self.dt) & ~ended, self.steps + 1, 0)
        return self.steps == self.limit


def driven(speed: np.ndarray, distance: np.ndarray, active: np.ndarray, goals: int, routes: int, dt: float) -> Counts:
    """What a step drove: speeds [m/s] and ways [m] (rows,) of the rows that are `active`."""
    there = int(active.sum())
    moving = int((active & (np.abs(speed) > MOVING)).sum())
    metres = float(np.where(active, distance, 0.0).sum(dtype=np.float64))
    return Counts(steps=there, seconds=there * dt, moving=moving * dt, metres=metres, goals=goals, routes=routes)


def between(events: int, exposure: float) -> Estimate:
    """Exposure between two events, with the exact Poisson interval. Without an event there is only a lower end."""
    found = rate(events, exposure)
    inverse = [1.0 / one if one else None for one in (found.value, found.high, found.low)]
    return Estimate(inverse[0], inverse[1], inverse[2], events)


def at_least(exposure: float) -> float:
    """With no event in this exposure: what lies between two, at least, at 95 %. -ln 0.05 = 3.0, the rule of three."""
    return exposure / -math.log(0.05)


def figures(counts: Counts) -> dict[str, Estimate]:
    """What is reported. Read distances beside mean speed and goals per hour: a fleet that stands has no incidents."""
    km, years, hours = counts.metres / 1000.0, counts.seconds / YEAR, counts.seconds / 3600.0
    incidents = counts.collision + counts.offroad
    starts = counts.start_collision + counts.start_offroad

    def exact(value: float | None, n: int) -> Estimate:
        return Estimate(value, value, value, n)

    speed = counts.metres / counts.seconds if counts.seconds else None
    share = counts.moving / counts.seconds if counts.seconds else None
    return {
        "km": exact(km, counts.steps),
        "years": exact(years, counts.steps),
        "mean_speed_mps": exact(speed, counts.steps),
        "share_moving": exact(share, counts.steps),
        "goals_per_hour": rate(counts.goals, hours),
        "km_between_incidents": between(incidents, km),
        "years_between_incidents": between(incidents, years),
        "km_between_start_incidents": between(starts, km),
        **{f"km_between_{kind}": between(getattr(counts, kind), km) for kind in KINDS},
    }
