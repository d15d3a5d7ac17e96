"""Narrow lanes: two lanes for opposite directions on the same strip, on which cars can't pass each other.

Who wants in waits outside until nobody comes towards it, as far as the strip goes without a passing place. Ours.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from gigaflow_env.roads.compiled.tables import NO_WAY_BACK

LEAST = 6.0
"""[m] of common length; on less, cars that meet go around each other, or one is in a junction."""
OPPOSITE = -0.9
"""Cosine of the angle between such lanes, at most."""


def opposing(lanes: np.ndarray, sections: np.ndarray, at: np.ndarray, rows: np.ndarray) -> dict[int, list[int]]:
    """For each narrow lane those that lead through the same strip the other way.

    at, rows: conflicts, see conflict_zones.Conflicts.
    """
    found: dict[int, list[int]] = {}
    own = np.repeat(np.arange(len(lanes)), np.diff(at))
    here, there = lanes[own], lanes[rows["lane"]]
    common = np.minimum(
        (rows["leave"] - rows["enter"]) * here["length"], (rows["other_leave"] - rows["other_enter"]) * there["length"]
    )
    a = sections[here["first"] + ((rows["enter"] + rows["leave"]) / 2 * here["quads"]).astype(int)]
    b = sections[there["first"] + ((rows["other_enter"] + rows["other_leave"]) / 2 * there["quads"]).astype(int)]
    streets = (here["junction"] == 0) & (there["junction"] == 0)
    narrow = streets & (common > LEAST) & (a["cos"] * b["cos"] + a["sin"] * b["sin"] < OPPOSITE)
    for k in np.flatnonzero(narrow):
        found.setdefault(int(own[k]), []).append(int(rows["lane"][k]))
    return found


class Strips(NamedTuple):
    """What the narrow lanes of a map ask of those who drive there."""

    pairs: list[tuple[int, int]]
    """Lanes (a, b) that share no place, where who enters `a` waits for who is on `b`."""
    retreat: np.ndarray
    """(lanes,) [m] from a lane's start back to where others can pass; -1 where they can on the lane."""


def strips(
    lanes: np.ndarray, successors: np.ndarray, at: np.ndarray, rows: np.ndarray, facing: dict[int, list[int]]
) -> Strips:
    """Look at each strip from its end: who is on its way in waits for who comes out.

    Waiting is no use in the strip, in a junction before it, and where one is in the way of those who come out.
    """
    retreat = np.full(len(lanes), -1.0, np.float32)
    pairs: list[tuple[int, int]] = []
    if not facing:
        return Strips(pairs, retreat)
    ahead = [successors[row["successors_at"] : row["successors_at"] + row["successors"]].tolist() for row in lanes]
    behind: list[list[int]] = [[] for _ in lanes]
    for a, others in enumerate(ahead):
        for b in others:
            behind[b].append(a)
    shared = set(zip(np.repeat(np.arange(len(lanes)), np.diff(at)).tolist(), rows["lane"].tolist(), strict=True))

    leading, junction = set(facing), set(np.flatnonzero(lanes["junction"]).tolist())
    for first in facing:
        met = {b for k in _reach([first], ahead, facing.__contains__) for b in facing[k]}
        out = {c for b in facing[first] for c in ahead[b] if c not in facing}  # where they come out
        out |= {c for b in out for c in ahead[b]}
        in_the_way = {a for a in range(len(lanes)) if any((a, c) in shared for c in out)}
        no_place = (in_the_way | junction) - set(facing)
        entries = _reach([first], behind, no_place.__contains__)
        leading |= entries
        for a in sorted(entries):
            only = ahead[a] and all(c in facing for c in ahead[a])
            for b in sorted(met):
                for pair in [(a, b), (b, a)] if only else [(a, b)]:
                    if pair not in shared and a != b:
                        shared.add(pair)
                        pairs.append(pair)
    for a in leading:
        way = _reach([a], behind, leading.__contains__)
        dead_end = any(not behind[b] for b in way)
        retreat[a] = NO_WAY_BACK if dead_end else lanes["length"][sorted(way - {a})].sum()
    # Who has just come out still has its rear in there: it does not back up again for one that wants in.
    for b in facing:
        for c in (c for c in ahead[b] if c in junction and c not in leading):
            retreat[c] = max(retreat[c], retreat[b] + lanes["length"][b])
    return Strips(pairs, retreat)


def _reach(start: list[int], links: list[list[int]], along: Callable[[int], bool]) -> set[int]:
    """The lanes `start`, and those that links lead to over lanes which are `along`."""
    found, todo = set(start), list(start)
    while todo:
        for k in links[todo.pop()]:
            if k not in found and along(k):
                found.add(k)
                todo.append(k)
    return found
