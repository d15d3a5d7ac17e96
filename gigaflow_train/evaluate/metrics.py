"""Counting what happens, and the 95 % intervals of what is counted.

Pure functions on numpy arrays; counting also takes torch tensors, and leaves the counts on their device until `total`.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

NORMAL_975 = 1.959963984540054
"""97.5 % quantile of the standard normal distribution: 95 % lie within plus and minus this."""


class Tally(NamedTuple):
    """Counts over agent steps; they add up over steps and rows.

    A route ends once: by a crash (a collision or leaving the road that ended the episode), else by completion, else by
    time-out. What cuts a route off before it had its time counts in no way: see `Ages`.
    """

    steps: int = 0  # agent steps
    distance: float = 0.0  # [m]
    routes: int = 0  # that ended
    completed: int = 0  # routes
    collided: int = 0  # routes that ended by a collision
    left_road: int = 0  # routes that ended off the road; one that did both at once counts in both
    timed_out: int = 0  # routes
    collisions: int = 0  # events, one for each agent involved
    offroads: int = 0  # events
    red_lights: int = 0  # events
    goals: int = 0  # events, way-points too


class Ages(NamedTuple):
    """How old each row's episode and route are, and how old a route may become; `count` keeps them.

    Where an episode is one route, the route has all of it. Where a new route follows in the same episode, a route has half
    of it, and those that begin in the second half count in no way: they would be cut off with the episode, and only the
    ones that end quickly would be seen.
    """

    episode: Any  # int (N,) [steps]
    route: Any  # int (N,) [steps]
    limit: int  # [steps] then a route has timed out
    last: int  # [steps] age of the episode at which the last route begins that counts


def ages_of(config: Any, episode: Any, route: Any) -> Ages:
    """Of an environment's Config and two arrays (N,) of zeros."""
    limit = config.max_steps if config.on_route_done == "respawn" else max(1, config.max_steps // 2)
    return Ages(episode, route, limit, config.max_steps - limit)


def count(ages: Ages, active: Any, terminated: Any, truncated: Any, info: Mapping[str, Any]) -> Tally:
    """Tally of one step, not yet as Python's numbers: `active` (N,) rows that acted, then what `env.step` returned.

    Writes the ages.
    """
    episode, route, limit, last = ages
    episode += active
    route += active
    early = active & (episode - route <= last) & (route <= limit)
    crash = early & terminated & (info["collision"] | info["offroad"])
    completed = early & info["route_done"] & ~crash
    timed_out = early & (route == limit) & ~crash & ~completed
    ended = active & (terminated | truncated)
    episode *= ~ended
    route *= ~(ended | info["route_done"])
    return Tally(
        steps=active.sum(),
        distance=_metres(info["distance"] * active),
        routes=(crash | completed | timed_out).sum(),
        completed=completed.sum(),
        collided=(crash & info["collision"]).sum(),
        left_road=(crash & info["offroad"]).sum(),
        timed_out=timed_out.sum(),
        collisions=(active & info["collision"]).sum(),
        offroads=(active & info["offroad"]).sum(),
        red_lights=(active & info["red_light"]).sum(),
        goals=(active & info["goal"]).sum(),
    )


def _metres(distance: Any) -> Any:
    """Sum in float64: over many steps float32 would lose metres."""
    return distance.sum(dtype=np.float64) if isinstance(distance, np.ndarray) else distance.double().sum()


def total(tallies: Iterable[Tally]) -> Tally:
    """Sum over steps, as Python's numbers."""
    sums = Tally(*map(sum, zip(*tallies, strict=True)))
    return Tally(*map(int, sums))._replace(distance=float(sums.distance))


class Estimate(NamedTuple):
    """A figure and its 95 % interval. None: nothing was observed that could tell."""

    value: float | None
    low: float | None
    high: float | None
    n: int


def proportion(successes: int, trials: int) -> Estimate:
    """Share with Wilson's interval. Source: E. B. Wilson, JASA 22 (1927)."""
    if trials == 0:
        return Estimate(None, 0.0, 1.0, 0)
    share, z2 = successes / trials, NORMAL_975**2
    center = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = NORMAL_975 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    low = 0.0 if successes == 0 else max(0.0, center - half)
    high = 1.0 if successes == trials else min(1.0, center + half)
    return Estimate(share, low, high, trials)


def rate(events: int, exposure: float) -> Estimate:
    """Events per unit of exposure with the exact Poisson interval. Source: F. Garwood, Biometrika 28 (1936).

    The interval holds the means under which neither this many events or more, nor this many or fewer, have a chance below
    2.5 %. n is the number of events.
    """
    if exposure <= 0.0:
        return Estimate(None, 0.0, None, events)
    low = 0.0 if events == 0 else _poisson_mean(events - 1, 0.975)
    return Estimate(events / exposure, low / exposure, _poisson_mean(events, 0.025) / exposure, events)


def mean(values: np.ndarray) -> Estimate:
    """Mean of independent values with the normal interval; n is their number."""
    n = len(values)
    if n == 0:
        return Estimate(None, None, None, 0)
    center = float(np.mean(values, dtype=np.float64))
    if n == 1:
        return Estimate(center, None, None, 1)
    half = NORMAL_975 * float(np.std(values, dtype=np.float64, ddof=1)) / math.sqrt(n)
    return Estimate(center, center - half, center + half, n)


def _poisson_mean(events: int, chance: float) -> float:
    """The mean under which a Poisson count is at most `events` with this chance."""
    high = events + 10.0
    while _poisson_at_most(events, high) > chance:
        high *= 2.0
    return _bisect(lambda mean: _poisson_at_most(events, mean) - chance, 0.0, high)


def _poisson_at_most(events: int, mean: float) -> float:
    """P(count <= events), summed from the largest term down in logarithms: no overflow for any mean."""
    if mean == 0.0:
        return 1.0
    top = min(events, int(mean))
    peak = top * math.log(mean) - mean - math.lgamma(top + 1)
    sum_, term = 0.0, 1.0
    for k in range(top, -1, -1):  # downwards from the peak
        sum_ += term
        term *= k / mean
        if term < 1e-17 * sum_:
            break
    term = 1.0
    for k in range(top + 1, events + 1):  # upwards from the peak
        term *= mean / k
        sum_ += term
        if term < 1e-17 * sum_:
            break
    return math.exp(peak + math.log(sum_))


def _bisect(falling: Callable[[float], float], low: float, high: float) -> float:
    """Where a falling function crosses zero."""
    while True:
        middle = 0.5 * (low + high)
        if middle in (low, high):
            return middle
        if falling(middle) > 0.0:
            low = middle
        else:
            high = middle
