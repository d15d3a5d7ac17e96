"""Driving with a fixed policy, and what comes out of it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gigaflow_train.evaluate.baselines import Act
from gigaflow_train.evaluate.metrics import Estimate, Tally, ages_of, count, mean, proportion, rate, total


class Result(NamedTuple):
    """What came of driving: counts, and the rows' speeds."""

    tally: Tally
    speeds: np.ndarray  # [m/s] mean of each row that was ever active


def drive(env: Any, act: Act, *, steps: int, seed: int, show: Callable[[], None] = lambda: None) -> Result:
    """Reset, then let `act` drive for some steps. Rows with rule-based drivers don't count, unless there are no others.

    show is called after each step.
    """
    obs, info = env.reset(seed=seed)
    judged = ~info["traffic"] | info["traffic"].all()
    active = info["active"] & judged
    tallies, known = [], ages_of(env.config, np.zeros(len(obs), np.int64), np.zeros(len(obs), np.int64))
    distance, lived = np.zeros(len(obs)), np.zeros(len(obs))
    for _ in range(steps):
        obs, _, terminated, truncated, info = env.step(act(obs))
        tallies.append(count(known, active, terminated, truncated, info))
        distance += np.where(active, info["distance"], 0.0)
        lived += active
        active = info["active"] & judged
        show()
    there = lived > 0
    return Result(total(tallies), distance[there] / lived[there] / env.config.dt)


def figures(result: Result) -> dict[str, Estimate]:
    """The figures of an evaluation, each with its 95 % interval.

    `..._rate` are shares of the routes that ended, by completion, crash or time-out; `..._per_km` are
    events per kilometre that an agent drives, where a collision counts once for each agent involved. Read them beside the
    mean speed: who stands still does not crash. n: routes, events, rows and agent steps.
    """
    tally, km = result.tally, result.tally.distance / 1000.0
    return {
        "goal_rate": proportion(tally.completed, tally.routes),
        "collision_rate": proportion(tally.collided, tally.routes),
        "offroad_rate": proportion(tally.left_road, tally.routes),
        "timeout_rate": proportion(tally.timed_out, tally.routes),
        "red_lights_per_km": rate(tally.red_lights, km),
        "collisions_per_km": rate(tally.collisions, km),
        "offroads_per_km": rate(tally.offroads, km),
        "mean_speed_mps": mean(result.speeds),
        "km": Estimate(km, km, km, tally.steps),
    }


def as_json(estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    """Figures as JSON types. `red_light_rate` is the old name of `red_lights_per_km`, kept for one release."""
    plain: dict[str, Any] = {name: estimate._asdict() for name, estimate in estimates.items()}
    if "red_lights_per_km" in plain:
        plain["red_light_rate"] = plain["red_lights_per_km"]
    return plain
