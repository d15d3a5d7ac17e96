"""Linked lanes whose ends do not quite meet: the ends are brought together before curves are fitted."""

import math
from collections.abc import Iterable

import numpy as np

from gigaflow_env.roads.formats.common.union_find import groups
from gigaflow_env.roads.road_map import HEADING, X, Y

MAX_GAP = 0.5
"""[m] Ours: lanes whose ends are farther apart are not linked, whatever the file says: nobody can drive over the gap."""
MAX_TURN = math.radians(40)
"""Ours: an end that points farther off the mean of those it meets keeps its heading."""
MOVED, BENT = 10.0, 4.0
"""[m] of a lane that follow its end when it is moved, and when it is turned."""

Link = tuple[str, str]
"""Two lanes: the second begins where the first ends."""


def weld(lines: dict[str, np.ndarray], links: Iterable[Link]) -> tuple[dict[str, np.ndarray], list[Link]]:
    """Lines whose linked ends lie at one place and in one direction, and the links that hold: gaps over MAX_GAP don't.

    lines: rows (n, 5) with the columns of Lane.line, close enough to show the shape.
    """
    held = [(a, b) for a, b in links if np.linalg.norm(lines[a][-1, :3] - lines[b][0, :3]) <= MAX_GAP]
    welded = {name: line.copy() for name, line in lines.items()}
    for ends in groups(((a, -1), (b, 0)) for a, b in held):
        rows = np.array([lines[name][end] for name, end in ends])
        place = rows[:, :3].mean(axis=0)
        heading = math.atan2(np.sin(rows[:, HEADING]).sum(), np.cos(rows[:, HEADING]).sum())
        for (name, end), row in zip(ends, rows, strict=True):
            _move(welded[name], end, place - row[:3])
            turn = math.remainder(heading - row[HEADING], 2 * math.pi)
            if abs(turn) < MAX_TURN:
                _bend(welded[name], end, turn)
    return welded, held


def lost(links: Iterable[Link], held: Iterable[Link]) -> list[str]:
    """What to say of the links that don't hold."""
    return [f"{a} to {b}" for a, b in sorted(set(links) - set(held))]


def successors(links: Iterable[Link]) -> dict[str, tuple[str, ...]]:
    """What each lane leads to, for those that lead anywhere."""
    found: dict[str, tuple[str, ...]] = {}
    for a, b in links:
        found[a] = (*found.get(a, ()), b)
    return found


def _move(line: np.ndarray, end: int, shift: np.ndarray) -> None:
    """Move an end of a line, and what lies near to it the less the farther it is."""
    s = _from_end(line, end)
    line[:, :3] += np.maximum(0.0, 1 - s / min(MOVED, s.max()))[:, None] * shift


def _bend(line: np.ndarray, end: int, turn: float) -> None:
    """Turn an end of a line on the spot [rad]; what lies near to it swings out to the side and comes back."""
    s = _from_end(line, end)
    reach = min(BENT, s.max())
    share = np.minimum(s / reach, 1.0)
    aside = turn * reach * share * (1 - share) ** 2 * (1 if end == 0 else -1)
    line[:, X] -= aside * np.sin(line[:, HEADING])
    line[:, Y] += aside * np.cos(line[:, HEADING])
    line[:, HEADING] += turn * (1 - share) * (1 - 3 * share)  # the slope of that


def _from_end(line: np.ndarray, end: int) -> np.ndarray:
    """Distance of each row from an end, along the line [m]."""
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line[:, :2], axis=0).T))])
    return along if end == 0 else along[-1] - along
