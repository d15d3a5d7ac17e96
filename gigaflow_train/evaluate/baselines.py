"""Policies that learn nothing: what a trained one is compared with. They need no torch."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from gigaflow_env import ACTIONS, FEATURES, LATERAL_JERKS, LONGITUDINAL_JERKS

Act = Callable[[np.ndarray], np.ndarray]
"""Observations float32 (N, D) -> actions int64 (N,), or float32 (N, 2) where they are continuous."""

STRAIGHT = LATERAL_JERKS.index(0.0)
HOLD = LONGITUDINAL_JERKS.index(0.0)
BRAKE = LONGITUDINAL_JERKS.index(min(LONGITUDINAL_JERKS))

LOOK_AHEAD = 4
"""Steps the frozen policy plans: with fewer it can't always come to stand exactly."""
AT_REST = 1e-3
"""[m/s] What counts as standing."""


def action(longitudinal: int, lateral: int) -> int:
    """Number of an action from its two indices."""
    return longitudinal * len(LATERAL_JERKS) + lateral


def random(env: Any, seed: int) -> Act:
    """Uniform over the actions."""
    generator = np.random.default_rng(seed)
    return lambda obs: generator.integers(ACTIONS, size=len(obs))


def constant(env: Any, seed: int) -> Act:
    """No jerk: keeps whatever acceleration it starts with."""
    return lambda obs: np.full(len(obs), action(HOLD, STRAIGHT))


def reverse(env: Any, seed: int) -> Act:
    """Brakes, and goes on into driving backwards."""
    return lambda obs: np.full(len(obs), action(BRAKE, STRAIGHT))


def frozen(env: Any, seed: int) -> Act:
    """Brakes to a stand, stays, and never reverses. Some rows are left with a crawl below 0.2 m/s.

    Braking is set by jerk: it has to be let go before the car stands, or else the car rolls back. So rows that move try
    every sequence of LOOK_AHEAD jerks followed by letting go, and take the first jerk of the best.
    """
    config = env.config
    plans = np.stack(np.meshgrid(*[LONGITUDINAL_JERKS] * LOOK_AHEAD, indexing="ij"), -1).reshape(-1, LOOK_AHEAD)
    plans = plans.astype(np.float32)  # (plans, LOOK_AHEAD)

    def act(obs: np.ndarray) -> np.ndarray:
        ego = env.layout.split(obs).ego
        speed, acceleration = metric(ego, "speed"), metric(ego, "acceleration")
        actions = np.full(len(obs), action(HOLD, STRAIGHT))
        moving = np.flatnonzero((np.abs(speed) > AT_REST) | (acceleration != 0.0))
        if moving.size:
            cost = _braking_cost(
                plans,
                speed[moving, None],
                acceleration[moving, None],
                metric(ego, "c_throttle")[moving, None],
                config.throttle_max * metric(ego, "c_acc")[moving, None],
                config,
            )
            first = plans[cost.argmin(axis=1), 0]
            actions[moving] = [action(LONGITUDINAL_JERKS.index(jerk), STRAIGHT) for jerk in first]
        return actions

    return act


IDM = "idm"
"""The rule-based drivers: they drive in the environment, and their rows ignore the action."""


def _braking_cost(
    plans: np.ndarray, speed: np.ndarray, acceleration: np.ndarray, throttle: np.ndarray, top: np.ndarray, config: Any
) -> np.ndarray:
    """Cost (rows, plans): the way until the brake is let go, the speed that is left then, and above all any rolling back.

    speed, acceleration, throttle, top (rows, 1); plans (plans, LOOK_AHEAD) [m/s^3]. The published dynamics: a' = a + C j dt,
    v' = v + (a + a') dt / 2, each 0 where it would change its sign. Source: arXiv 2502.03349, App. B.2.
    """
    gentle = np.float32(max(LONGITUDINAL_JERKS))
    release = math.ceil(config.brake_max * config.throttle_spread / (gentle * config.dt))  # steps, for the slowest throttle
    way = back = np.float32(0.0)
    for step in range(LOOK_AHEAD + release):
        jerk = plans[:, step] if step < LOOK_AHEAD else -gentle * np.sign(acceleration)
        changed = acceleration + throttle * jerk * np.float32(config.dt)
        changed = np.where(changed * acceleration < 0.0, 0.0, np.clip(changed, -config.brake_max, top))
        moved = speed + 0.5 * (acceleration + changed) * np.float32(config.dt)
        speed, acceleration = np.where(moved * speed < 0.0, 0.0, moved), changed
        way = way + np.abs(speed)
        back = np.maximum(back, -speed)
    return way + 100.0 * np.abs(speed) + 1e6 * back


def metric(ego: np.ndarray, name: str) -> np.ndarray:
    """An ego feature in its own unit: its declaration says by what it was divided, as in `/ 30 m/s`."""
    divisor = FEATURES.ego._field_defaults[name].unit.removeprefix("/ ").split()[0]
    return ego[:, FEATURES.ego._fields.index(name)] * np.float32(divisor)


BASELINES: dict[str, Callable[[Any, int], Act]] = {
    "frozen": frozen,
    "random": random,
    "reverse": reverse,
    "constant": constant,
    IDM: constant,
}
