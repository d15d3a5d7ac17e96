"""Conflicts: where lanes that do not follow each other share their place. What rule-based traffic has to know of a junction.

Made from compiled roads when a simulator has such traffic, so that others don't pay for it.
"""

import math
from typing import NamedTuple

import numpy as np

from gigaflow_env.declare import array, number, row_type
from gigaflow_env.jit import kernel
from gigaflow_env.roads.compiled.narrow_lanes import opposing, strips
from gigaflow_env.roads.compiled.tables import SAME_LINE, START_WIDTH, Roads
from gigaflow_env.roads.levels import LEVEL_GAP

i32 = np.int32

TOO_NEAR = 2.8
"""[m] Centers of lanes nearer than this are in conflict: two cars of 2.1 m and some room. Ours."""
SHARE = 0.8
"""Share of the lanes' mean width below which they are, whatever their width: opposite lanes of a narrow road are not."""
SAME = 1.0
"""[m] Lanes that begin so near to each other branch off the same lane: who follows whom is decided there."""
SHORT = 25.0
"""[m] A lane between two with conflicts that is shorter is part of their junction: a piece of a roundabout. Ours."""


class ConflictRow(NamedTuple):
    """Another lane that shares its place with part of a lane."""

    lane: int = number("", "the other lane", i32)
    enter: float = number("share", "where the common part begins on this lane, of its length")
    leave: float = number("share", "where it ends on this lane")
    other_enter: float = number("share", "where it begins on the other lane")
    other_leave: float = number("share", "where it ends on the other lane")


class Conflicts(NamedTuple):
    """Which lanes cross or merge, and where."""

    at: np.ndarray = array("lane", "", "first entry of each lane in `rows`, and one more", i32)
    rows: np.ndarray = array("entry", "", "ConflictRow")
    within: np.ndarray = array("lane", "", "part of a junction: who stands there is in the way of others", np.bool_)
    narrow: np.ndarray = array("lane", "", "shares its place with a lane that comes the other way", np.bool_)
    retreat: np.ndarray = array("lane", "m", "back from its start to where others can pass, -1: they can on it")
    tightest: np.ndarray = array("lane", "1/m", "its largest curvature, over 3 m: who can't follow that takes other lanes")
    usable: np.ndarray = array("lane", "share", "of its length before it becomes too narrow for a car")
    begins: np.ndarray = array("lane", "", "no lane leads into it: behind its start the road ends", np.bool_)
    stops_at: np.ndarray = array("lane", "", "first entry of each lane in `stops`, and one more", i32)
    stops: np.ndarray = array("entry", "", "stop lines at the lane's start, numbers in Network.stops", i32)


def conflicts(roads: Roads) -> Conflicts:
    """Conflicts of all lanes of all maps, and the stop lines at their starts."""
    network = roads.network
    sections, lanes = network.sections, network.lanes
    boxes = np.zeros((len(lanes), 4), np.float32)
    for k, lane in enumerate(lanes):
        part = sections[lane["first"] : lane["first"] + lane["quads"] + 1]
        boxes[k] = part["x"].min(), part["y"].min(), part["x"].max(), part["y"].max()
    number_of = np.zeros(len(lanes), i32)
    for k, row in enumerate(network.maps):
        number_of[row["lanes_at"] : row["lanes_at"] + row["lanes"]] = k
    counts = np.zeros(len(lanes), np.int64)
    _search(sections, lanes, network.successors, boxes, number_of, counts, np.zeros((0, 6), np.float32))
    found = np.zeros((int(counts.sum()), 6), np.float32)
    _search(sections, lanes, network.successors, boxes, number_of, counts, found)
    rows = np.zeros(len(found), row_type(ConflictRow))
    for column, name in enumerate(ConflictRow._fields):
        rows[name] = found[:, column + 1]
    at = np.concatenate([[0], np.cumsum(counts)]).astype(i32)
    facing = opposing(lanes, sections, at, rows)
    narrow = np.zeros(len(lanes), bool)
    narrow[list(facing)] = True

    before, behind = np.repeat(np.arange(len(lanes)), lanes["successors"]), network.successors
    leads, reached = np.zeros(len(lanes), bool), np.zeros(len(lanes), bool)
    leads[before[counts[behind] > 0]], reached[behind[counts[before] > 0]] = True, True
    within = (lanes["junction"] != 0) | (leads & reached & (lanes["length"] < SHORT))

    tightest, usable = np.zeros(len(lanes), np.float32), np.ones(len(lanes), np.float32)
    for k, lane in enumerate(lanes):
        part = sections[lane["first"] : lane["first"] + lane["quads"] + 1]
        bend = abs(part["curvature"])
        tightest[k] = np.convolve(bend, np.full(3, 1 / 3), "valid").max() if len(bend) >= 3 else bend.mean()
        wide = np.flatnonzero(2 * part["half_width"] >= START_WIDTH)
        if len(wide) and wide[-1] < lane["quads"]:
            usable[k] = wide[-1] / lane["quads"]

    begins = np.ones(len(lanes), bool)
    begins[network.successors] = False

    told = strips(lanes, network.successors, at, rows, facing)
    rows, at = _with(rows, at, told.pairs)

    stops, stops_at = [], [0]
    for k, lane in enumerate(lanes):
        start, row = sections[lane["first"]], network.maps[number_of[k]]
        end = network.maps["stops_at"][number_of[k] + 1] if number_of[k] + 1 < len(network.maps) else len(network.stops)
        near = network.stops[row["stops_at"] : end]
        gap = np.hypot(near["x"] - start["x"], near["y"] - start["y"])
        along = near["cos"] * start["cos"] + near["sin"] * start["sin"]
        here = (gap < SAME_LINE) & (abs(near["z"] - start["z"]) < LEVEL_GAP) & (along > 0.9)
        stops.extend((row["stops_at"] + np.flatnonzero(here)).tolist())
        stops_at.append(len(stops))
    return Conflicts(
        at, rows, within, narrow, told.retreat, tightest, usable, begins, np.array(stops_at, i32), np.array(stops, i32)
    )


def _with(rows: np.ndarray, at: np.ndarray, pairs: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    """`rows` and `at` with a row more for each pair of lanes, which meet where they end."""
    if not pairs:
        return rows, at
    more = np.ones(len(pairs), rows.dtype)
    own, more["lane"] = np.array(pairs).T
    order = np.argsort(np.concatenate([np.repeat(np.arange(len(at) - 1), np.diff(at)), own]), kind="stable")
    counts = np.diff(at) + np.bincount(own, minlength=len(at) - 1)
    return np.concatenate([rows, more])[order], np.concatenate([[0], np.cumsum(counts)]).astype(i32)


@kernel
def _follows(a, b, lanes, successors):
    """Whether lane b follows lane a, or only a lane so short lies between them that their ends are near each other."""
    for k in range(lanes[a].successors_at, lanes[a].successors_at + lanes[a].successors):
        between = successors[k]
        if between == b:
            return True
        if lanes[between].length < TOO_NEAR:
            for j in range(lanes[between].successors_at, lanes[between].successors_at + lanes[between].successors):
                if successors[j] == b:
                    return True
    return False


@kernel
def _search(sections, lanes, successors, boxes, number_of, counts, found):
    """Count the conflicts of each lane, or, where there is room, write them: lane, other lane, and the four shares."""
    written = 0
    room = len(found) > 0
    for a in range(len(lanes)):
        row = lanes[a]
        count = 0
        for b in range(len(lanes)):
            other = lanes[b]
            if a == b or number_of[a] != number_of[b] or row.bundle == other.bundle:
                continue
            if boxes[a, 0] > boxes[b, 2] + TOO_NEAR or boxes[b, 0] > boxes[a, 2] + TOO_NEAR:
                continue
            if boxes[a, 1] > boxes[b, 3] + TOO_NEAR or boxes[b, 1] > boxes[a, 3] + TOO_NEAR:
                continue
            follows = _follows(a, b, lanes, successors) or _follows(b, a, lanes, successors)
            dx, dy = sections[row.first].x - sections[other.first].x, sections[row.first].y - sections[other.first].y
            branch = dx * dx + dy * dy < SAME * SAME
            if follows or branch:
                continue
            first, last, other_first, other_last = row.quads + 1, -1, other.quads + 1, -1
            for i in range(row.quads + 1):
                s = sections[row.first + i]
                j = 0
                while j <= other.quads:
                    t = sections[other.first + j]
                    gap = min(TOO_NEAR, SHARE * (s.half_width + t.half_width))
                    far = math.sqrt((s.x - t.x) * (s.x - t.x) + (s.y - t.y) * (s.y - t.y))
                    if far < gap and abs(s.z - t.z) < LEVEL_GAP:
                        first, last = min(first, i), max(last, i)
                        other_first, other_last = min(other_first, j), max(other_last, j)
                    j += max(1, int((far - TOO_NEAR) / other.step))  # none of those in between is near enough
            if last < 0:
                continue
            if room:
                found[written, 0], found[written, 1] = a, b
                found[written, 2], found[written, 3] = first / row.quads, last / row.quads
                found[written, 4], found[written, 5] = other_first / other.quads, other_last / other.quads
                written += 1
            count += 1
        counts[a] = count
