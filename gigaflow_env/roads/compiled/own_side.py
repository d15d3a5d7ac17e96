"""Lanes for both directions: where two cars can pass each other, each direction keeps to its own half.

A map has such a lane as two, each the other's twin, with one center line. Their sections lie a quarter of the width to the
side, and are half as wide, so that cars which meet pass. In between, in turns that leave no room for it, and where the next
lane has one direction only, they return to the middle, and are as wide as is left on the own side. Ours.
"""

import numpy as np

from gigaflow_env.roads.compiled.tables import START_WIDTH
from gigaflow_env.roads.road_map import HEADING, WIDTH, Lane, X, Y

SLOPE = 0.12
"""Metres to the side in a metre of lane, at most: 10 m for a strip of 6 m."""
LEAST_RADIUS = 6.0
"""[m] Radius that a turn to the own side keeps, where it has it in the middle: what the default car needs, and some room."""

BEND=4.0
MODE=1.0
RS=0.12
CLEAR=1.9
PAIR=2.5
TL=0.0
SIGN=-1.0
RAMP=1.0
TIGHT=8.0
CURVATURE, S = 5, 6
"""Columns that `sample` gives besides those of Lane.line."""


def own_side(driving: list[Lane], lines: list[np.ndarray], left_hand: bool) -> list[np.ndarray]:
    """The lines of driving lanes as they are driven: those of lanes without a twin are the same arrays.

    lines: one of each lane, (n, 7), the columns of `centerline.sample`.
    """
    shared = {lane.id: k for k, lane in enumerate(driving) if lane.twin is not None and lane.left is lane.right is None}
    if not shared:
        return lines
    sign = 1.0 if left_hand else -1.0
    aside = {k: _most(lines[k], sign) for k in shared.values()}
    _return(driving, lines, shared, aside)
    if RAMP:
        _ramps(driving, lines, aside)
    return [_moved(line, sign * aside[k]) if k in aside else line for k, line in enumerate(lines)]


def _most(line: np.ndarray, sign: float) -> np.ndarray:
    """How far each point may lie to the side [m], looked at alone."""
    width = line[:, WIDTH]
    wide = np.where(width >= 2 * START_WIDTH, np.minimum(width/4, np.maximum(width/2-CLEAR, PAIR/2)), 0.0)
    return np.minimum(wide, _room(line, sign))


def _room(line, sign):
    at = line[:, S]
    turned = np.interp(at + BEND / 2, at, line[:, HEADING]) - np.interp(at - BEND / 2, at, line[:, HEADING])
    bend = np.maximum(sign * turned / BEND, 1e-6)  # to the own side, on which a turn becomes tighter
    return np.maximum(1 / bend - LEAST_RADIUS, 0.0)


def _return(driving: list[Lane], lines: list[np.ndarray], shared: dict[str, int], aside: dict[int, np.ndarray]) -> None:
    """Lessen `aside` so that it changes slowly, and is the same on both sides of each seam of lanes; 0 beside others."""
    number = {lane.id: k for k, lane in enumerate(driving)}
    seams = [(k, number[name]) for k, lane in enumerate(driving) for name in lane.successors]
    seams = [(a, b) for a, b in seams if (a in aside and b in aside) or (not RAMP and (a in aside or b in aside))]
    tight = {k for k, v in aside.items() if (v < 0.01).any() and lines[k][:,WIDTH].min()>4.8}
    if MODE in (1,3):
        seams = [(a, b) for a, b in seams if not (a in tight)]
    if MODE in (2,3):
        seams = [(a, b) for a, b in seams if not (b in tight)]
    for a, lane in enumerate(driving):
        for name in lane.successors:
            b = number[name]
            if RAMP and a in aside and b not in aside:
                aside[a][-1] = min(aside[a][-1], RS * lines[b][-1, S], _room(lines[b], SIGN).min() if TL else 9)
            if RAMP and b in aside and a not in aside:
                aside[b][0] = min(aside[b][0], RS * lines[a][-1, S], _room(lines[a], SIGN).min() if TL else 9)
    changed = True
    while changed:
        changed = False
        for k, values in aside.items():
            s = SLOPE * lines[k][:, S]
            least = np.minimum.accumulate(values - s) + s
            least = (np.minimum.accumulate((least + s)[::-1]))[::-1] - s
            changed = changed or bool((least < values - 1e-6).any())
            values[:] = least
        for a, b in seams:
            end, start = (aside[a][-1] if a in aside else 0.0), (aside[b][0] if b in aside else 0.0)
            changed = changed or abs(end - start) > 1e-6
            if a in aside:
                aside[a][-1] = min(end, start)
            if b in aside:
                aside[b][0] = min(end, start)


def _ramps(driving: list[Lane], lines: list[np.ndarray], aside: dict[int, np.ndarray]) -> None:
    number = {lane.id: k for k, lane in enumerate(driving)}
    starts, ends = {}, {}
    for k, lane in enumerate(driving):
        for name in lane.successors:
            b = number[name]
            if k in aside and b not in aside:
                starts[b] = min(starts.get(b, 9.0), float(aside[k][-1]))
            if b in aside and k not in aside:
                ends[k] = min(ends.get(k, 9.0), float(aside[b][0]))
    for k in {*starts, *ends}:
        if driving[k].left is not None or driving[k].right is not None:
            continue
        s = lines[k][:, S]
        start, end = starts.get(k, 0.0), ends.get(k, 0.0)
        steep = max(SLOPE, (start + end) / s[-1])
        ramp = np.maximum(np.maximum(start - steep * s, end - steep * (s[-1] - s)), 0)
        aside[k] = np.minimum(ramp, np.maximum(lines[k][:, WIDTH] / 2 - START_WIDTH / 2, 0))


def _moved(line: np.ndarray, left: np.ndarray) -> np.ndarray:
    """A line moved to its left by `left` (n,) [m], as wide as from there to the border."""
    moved = line.copy()
    heading, s = line[:, HEADING], line[:, S]
    moved[:, X] -= np.sin(heading) * left
    moved[:, Y] += np.cos(heading) * left
    # A metre of the old line is 1 - curvature * left metres of the new one.
    longer = np.maximum(1 - line[:, CURVATURE] * left, 0.1)
    moved[:, HEADING] += np.arctan2(np.gradient(left, s), longer)
    moved[:, WIDTH] = np.maximum(line[:, WIDTH] / 2, line[:, WIDTH] - 4 * abs(left))
    moved[:, S] = np.concatenate([[0.0], np.cumsum(np.hypot(np.diff(moved[:, X]), np.diff(moved[:, Y])))])
    moved[:, CURVATURE] = np.gradient(moved[:, HEADING], moved[:, S])
    return moved
