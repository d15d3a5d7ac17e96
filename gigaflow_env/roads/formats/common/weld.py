"""Linked lanes whose ends do not quite meet: the ends are brought together before curves are fitted."""

import math
from collections.abc import Iterable

import numpy as np

from gigaflow_env.roads.formats.common.union_find import groups
from gigaflow_env.roads.import_report import fault
from gigaflow_env.roads.road_map import HEADING, WIDTH, X, Y

MAX_GAP = 0.5
"""[m] Ours: ends which are farther apart are linked only if they face each other, see `facing`."""
STEP = 1.0
"""[m] Ours: ends that differ more in height do not face each other."""
MAX_TURN = math.radians(40)
"""Ours: an end that points farther off the mean of those it meets keeps its heading."""
MOVED, BENT = 10.0, 4.0
"""[m] of a lane that follow its end when it is moved, and when it is turned."""

Link = tuple[str, str]
"""Two lanes: the second begins where the first ends."""


def weld(lines: dict[str, np.ndarray], links: Iterable[Link]) -> tuple[dict[str, np.ndarray], list[Link]]:
    """Lines whose linked ends lie at one place and in one direction, and the links that hold; the others are reported.

    lines: rows (n, 5) with the columns of Lane.line, close enough to show the shape.
    """
    held = [(a, b) for a, b in links if holds(a, b, lines[a], lines[b], MAX_GAP)]
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


def holds(a: str, b: str, line: np.ndarray, other: np.ndarray, max_gap: float) -> bool:
    """Whether lane b may follow lane a: over gaps up to `max_gap` [m], and, reported, over those between facing ends.

    line, other: their rows (n, 5). Links that don't hold are reported, too.
    """
    gap = float(np.linalg.norm(line[-1, :3] - other[0, :3]))
    if gap <= max_gap:
        return True
    held = facing(line[-1], other[0])
    fault(
        "gap" if held else "link",
        f"{a} to {b}",
        f"{gap:.2f} m between the ends",
        "bridged" if held else "left out",
        place=(float(line[-1, X]), float(line[-1, Y])),
        amount=round(gap, 3),
        unit="m",
    )
    return held


def facing(end: np.ndarray, start: np.ndarray) -> bool:
    """Whether an end and a start, rows (5,), face each other.

    The gap is no longer than a lane is wide, to the side no more than half of that, and their directions agree.
    """
    dx, dy, dz = start[:3] - end[:3]
    turn = math.remainder(start[HEADING] - end[HEADING], 2 * math.pi)
    heading, width = end[HEADING] + turn / 2, min(end[WIDTH], start[WIDTH])
    ahead, left = dx * math.cos(heading) + dy * math.sin(heading), dy * math.cos(heading) - dx * math.sin(heading)
    return bool(abs(turn) < MAX_TURN and abs(ahead) <= width and abs(left) <= width / 2 and abs(dz) <= STEP)


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
