"""What a mapping engineer should look at in a map: dead ends, lanes out of reach, traps, steep grades and tight curves."""

from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.road_map import Lane, RoadMap
from gigaflow_env.roads.summary import components
from gigaflow_env.roads.towns.spec import MIN_RADIUS

PROBLEM_KINDS = ("dead end", "unreachable", "trap", "steep", "tight")
STEEP = 0.15
"""[m/m] Ours: streets are hardly ever steeper."""
SHAPE_SPACING = 1.0
"""[m] of the points at which grades and curves are measured."""
MIN_TURN = 0.5
"""[rad] Ours: a tight curve turns by more; a kink of less is passed within the lane's width."""


class Problem(NamedTuple):
    """A place of a map that is worth a look."""

    kind: str  # one of PROBLEM_KINDS
    lane: str
    place: tuple[float, float]  # x, y [m]
    amount: float  # lanes of a trap, grade [%], radius [m]
    unit: str


def problems(road_map: RoadMap) -> list[Problem]:
    """All problems of the driving lanes, by kind.

    dead end: nothing goes on, neither from it nor from a lane that one may change to. unreachable: nothing leads in, neither
    to it nor to a lane from which one may change to it (an entry of an excerpt, for example). trap: lanes in which one goes
    round for ever once one has entered. steep: above STEEP.
    tight: a radius below towns.spec.MIN_RADIUS, the tightest that a car can drive with margin.
    """
    lanes = {lane.id: lane for lane in road_map.lanes.values() if lane.kind == "driving"}
    ahead = {name: [o for o in (*lane.successors, lane.left, lane.right) if o is not None] for name, lane in lanes.items()}
    beside = {name: [other for other in (lane.left, lane.right) if other is not None] for name, lane in lanes.items()}
    leaving = _with_beside({name for name, lane in lanes.items() if lane.successors}, _turned(beside))
    entered = _with_beside({other for lane in lanes.values() for other in lane.successors}, beside)
    found = [Problem("dead end", name, _place(lane, -1), 1, "lane") for name, lane in lanes.items() if name not in leaving]
    found += [
        Problem("unreachable", name, _place(lane, 0), 1, "lane") for name, lane in lanes.items() if name not in entered
    ]
    groups = sorted(components(lanes), key=len)
    largest = set(groups[-1])
    for group in groups:
        own = set(group)
        leaves = any(other not in own for name in group for other in ahead[name])
        if own != largest and not leaves and any(lanes[name].successors for name in group):
            place = _place(lanes[group[0]], 0)
            found.append(Problem("trap", group[0], place, len(group), "lanes"))
    for name, lane in lanes.items():
        found += _shape(name, lane)
    return sorted(found, key=lambda problem: PROBLEM_KINDS.index(problem.kind))


def _with_beside(names: set[str], beside: dict[str, list[str]]) -> set[str]:
    """Lanes, and those that lie beside them, and beside those."""
    found = set(names)
    queue = list(names)
    for name in queue:  # grows while we go
        for other in beside[name]:
            if other not in found:
                found.add(other)
                queue.append(other)
    return found


def _turned(edges: dict[str, list[str]]) -> dict[str, list[str]]:
    """The same, from the other end."""
    found: dict[str, list[str]] = {name: [] for name in edges}
    for name, others in edges.items():
        for other in others:
            found[other].append(name)
    return found


def _shape(name: str, lane: Lane) -> list[Problem]:
    points = sample(lane.line, SHAPE_SPACING)
    step = np.diff(points[:, 6])
    grades = np.abs(np.diff(points[:, 2])) / step
    found = []
    if grades.max() > STEEP:
        k = int(grades.argmax())
        found.append(Problem("steep", name, (float(points[k, 0]), float(points[k, 1])), 100 * float(grades[k]), "%"))
    sharp = np.abs(points[:, 5]) > 1 / MIN_RADIUS
    if sharp.any() and np.abs(points[sharp, 5]).sum() * step.mean() > MIN_TURN:
        k = int(np.abs(points[:, 5]).argmax())
        radius = 1 / float(np.abs(points[k, 5]))
        found.append(Problem("tight", name, (float(points[k, 0]), float(points[k, 1])), radius, "m"))
    return found


def _place(lane: Lane, end: int) -> tuple[float, float]:
    return float(lane.line[end, 0]), float(lane.line[end, 1])


def counts(found: list[Problem]) -> dict[str, int]:
    """Number of problems of each kind, with kinds that do not occur."""
    return {kind: sum(p.kind == kind for p in found) for kind in PROBLEM_KINDS}


def records(found: list[Problem]) -> list[dict[str, Any]]:
    """The problems as plain dicts, ready for JSON."""
    return [problem._asdict() for problem in found]
