"""Who is on the road: kinds of road users, declared once, and populations made of them.

One bicycle model and one policy drive everybody (arXiv 2502.03349, section 2, A): a kind is a range of sizes and how its top
speed and acceleration compare with a car's.
"""

from collections.abc import Mapping
from typing import NamedTuple

from gigaflow_env import bounds
from gigaflow_env.bounds import shown

Range = tuple[float, float]


class Kind(NamedTuple):
    """A kind of road user: ranges of its size, and how fast it is beside a car."""

    length: Range  # m
    width: Range  # m, and at most the length
    speed: float = 1.0  # top speed, times that of a car
    acceleration: float = 1.0  # strongest acceleration, times that of a car


ROAD_USERS = {
    # The paper's one range from pedestrian to truck: l ~ U(0.8, 7), w ~ U(0.8, 3) (A).
    "any": Kind((0.8, 7.0), (0.8, 3.0)),
    # Ours, inside of the paper's range, so that a policy which learned among "any" has met them all.
    "car": Kind((3.6, 5.4), (1.6, 2.1)),
    "truck": Kind((5.5, 7.0), (2.2, 2.6), acceleration=0.6),
    "cyclist": Kind((1.6, 2.0), (0.8, 0.9), speed=0.4, acceleration=0.6),  # some 29 km/h
    "pedestrian": Kind((0.8, 1.0), (0.8, 0.8), speed=0.1, acceleration=0.6),  # some 7 km/h, a runner
}

POPULATIONS = {"paper": {"any": 1.0}, "cars": {"car": 1.0}}
"""Shares of kinds by name."""


def shares(population: str | Mapping[str, float]) -> dict[str, float]:
    """Share of each kind in ROAD_USERS, in its order; they add up to 1.

    Raises ValueError for an unknown name or bad shares.
    """
    if isinstance(population, str) and population in POPULATIONS:
        population = POPULATIONS[population]
    if not isinstance(population, Mapping):
        names = ", ".join(map(repr, POPULATIONS))
        raise ValueError(f"population={shown(population)}: choose one of {names}, or shares of {', '.join(ROAD_USERS)}")
    for kind in population:
        if kind not in ROAD_USERS:
            raise ValueError(f"population has {shown(kind)}: the kinds are {', '.join(map(repr, ROAD_USERS))}")
    found = bounds.shares("population", dict(population))
    return {kind: found.get(kind, 0.0) for kind in ROAD_USERS}
