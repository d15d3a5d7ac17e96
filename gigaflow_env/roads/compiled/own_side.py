"""Lanes for both directions: where two cars can pass each other, each direction keeps to its own half.

A map has such a lane as two, each the other's twin, with one center line. Their sections lie a quarter of the width to the
side, and are half as wide, so that cars which meet pass each other. They return towards the middle in turns that leave no
room for that, and are as wide again there. From the lanes with one direction before and behind, cars come to the side
gradually. Ours.
"""

import numpy as np

from gigaflow_env.roads.compiled.tables import START_WIDTH
from gigaflow_env.roads.road_map import HEADING, WIDTH, Lane, X, Y

SLOPE = 0.12
"""Metres to the side in a metre of lane, at most: with more, cars that come around a corner leave the road."""
LEAST_RADIUS = 6.0
"""[m] Radius that a turn to the own side keeps, where it has it in the middle: what the default car needs, and some room."""
TURN_LENGTH = 4.0
"""[m] over which a turn is looked at: a kink in the middle of a straight road is none."""

CURVATURE, S = 5, 6
"""Columns that `centerline.sample` gives besides those of Lane.line."""


def own_side(driving: list[Lane], lines: list[np.ndarray], left_hand: bool) -> list[np.ndarray]:
    """The lines of driving lanes as they are driven; on a map without lanes for both directions the same list.

    lines: one of each lane, (n, 7), the columns of `centerline.sample`. Lanes from which one may change to another of the
    same direction stay where they are.
    """
    number = {lane.id: k for k, lane in enumerate(driving)}
    sign = 1.0 if left_hand else -1.0
    aside = {k: _room(lines[k], sign) for k, lane in enumerate(driving) if lane.twin is not None and _alone(lane)}
    if not aside:
        return lines
    links = [(k, number[name]) for k, lane in enumerate(driving) for name in lane.successors]
    _smooth(lines, links, aside)
    aside |= _ramps(driving, lines, links, aside)
    return [_moved(line, sign * aside[k]) if k in aside else line for k, line in enumerate(lines)]


def _alone(lane: Lane) -> bool:
    return lane.left is None and lane.right is None


def _room(line: np.ndarray, sign: float) -> np.ndarray:
    """How far to the own side each point of a lane may lie [m], looked at alone. sign: 1 if that is its left, else -1."""
    wide = np.where(line[:, WIDTH] >= 2 * START_WIDTH, line[:, WIDTH] / 4, 0.0)
    before, behind = line[:, S] - TURN_LENGTH / 2, line[:, S] + TURN_LENGTH / 2
    turn = np.interp(behind, line[:, S], line[:, HEADING]) - np.interp(before, line[:, S], line[:, HEADING])
    bend = np.maximum(sign * turn / TURN_LENGTH, 1e-6)
    return np.minimum(wide, np.maximum(1 / bend - LEAST_RADIUS, 0.0))


def _smooth(lines: list[np.ndarray], links: list[tuple[int, int]], aside: dict[int, np.ndarray]) -> None:
    """Lessen `aside` so that it changes by SLOPE at most, over the ends of lanes, too.

    Who comes out of a turn that is too tight for its own half has the next lane's half to come back: others don't mind.
    """
    tight = {k for k, values in aside.items() if (values[lines[k][:, WIDTH] >= 2 * START_WIDTH] <= 0).any()}
    for a, b in links:  # as much as the lane beside with one direction has the length for
        if a in aside and b not in aside:
            aside[a][-1] = min(aside[a][-1], SLOPE * lines[b][-1, S])
        if b in aside and a not in aside:
            aside[b][0] = min(aside[b][0], SLOPE * lines[a][-1, S])
    seams = [(a, b) for a, b in links if a in aside and b in aside and a not in tight]
    changed = True
    while changed:
        changed = False
        for k, values in aside.items():
            rise = SLOPE * lines[k][:, S]
            least = np.minimum.accumulate(values - rise) + rise
            least = np.minimum.accumulate((least + rise)[::-1])[::-1] - rise
            changed |= bool((least < values - 1e-6).any())
            values[:] = least
        for a, b in seams:
            end, start = aside[a][-1], aside[b][0]
            changed |= abs(end - start) > 1e-6
            aside[a][-1] = aside[b][0] = min(end, start)


def _ramps(
    driving: list[Lane], lines: list[np.ndarray], links: list[tuple[int, int]], aside: dict[int, np.ndarray]
) -> dict[int, np.ndarray]:
    """The same for lanes with one direction before and behind those: from their side back to the middle."""
    starts: dict[int, float] = {}
    ends: dict[int, float] = {}
    for a, b in links:
        if a in aside and b not in aside:
            starts[b] = min(starts.get(b, np.inf), float(aside[a][-1]))
        if b in aside and a not in aside:
            ends[a] = min(ends.get(a, np.inf), float(aside[b][0]))
    found = {}
    for k in {*starts, *ends}:
        if _alone(driving[k]):
            line, start, end = lines[k], starts.get(k, 0.0), ends.get(k, 0.0)
            s, slope = line[:, S], max(SLOPE, (start + end) / line[-1, S])
            ramp = np.maximum(np.maximum(start - slope * s, end - slope * (s[-1] - s)), 0.0)
            found[k] = np.minimum(ramp, np.maximum(line[:, WIDTH] - START_WIDTH, 0.0) / 2)
    return found


def _moved(line: np.ndarray, left: np.ndarray) -> np.ndarray:
    """A line moved to its left by `left` (n,) [m]; half as wide where it is a quarter of the width aside."""
    moved = line.copy()
    heading, s = line[:, HEADING], line[:, S]
    moved[:, X] -= np.sin(heading) * left
    moved[:, Y] += np.cos(heading) * left
    # A metre of the old line is 1 - curvature * left metres of the new one.
    along = np.maximum(1 - line[:, CURVATURE] * left, 0.1)
    moved[:, HEADING] += np.arctan2(np.gradient(left, s), along)
    moved[:, WIDTH] = np.maximum(line[:, WIDTH] / 2, line[:, WIDTH] - 4 * abs(left))
    moved[:, S] = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(moved[:, X]), np.diff(moved[:, Y])))])
    moved[:, CURVATURE] = np.gradient(moved[:, HEADING], moved[:, S])
    return moved
