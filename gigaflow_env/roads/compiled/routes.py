"""Route distances: the shortest way from each lane to each other one, and which way it goes.

On a large map only from the lanes around each goal: what is kept then grows with the map's lanes, not with their square.
"""

from typing import NamedTuple

import numpy as np

from gigaflow_env.declare import row_type
from gigaflow_env.jit import kernel
from gigaflow_env.roads.compiled.tables import LANE_CHANGE_COST, LEAD_UNIT, ROUTE_BLOCK, UNREACHABLE, BendRow

_UNIT = 127.0

DENSE_LANES = 3000
"""Maps of more lanes keep the ways within ROUTE_REACH only. Ours: the ways from each lane to each other one then take 72 MB
and some seconds; both grow with the square and more."""
ROUTE_REACH = 2000.0
"""[m] of such ways. Ours: goals follow each other within 200 m, so there is room for wrong turns."""
LEAD_TOLERANCE = 0.1
"""[m] by which lanes side by side may differ in length and yet count as equally long."""


class Routes(NamedTuple):
    """The tables of Network of these names, for one map; see there."""

    route: np.ndarray
    bends: np.ndarray
    leads: np.ndarray
    route_blocks: np.ndarray


def routes(lanes: np.ndarray, successors: np.ndarray) -> Routes:
    """Route distances of one map. A route may change lanes at the start of each lane, where that is permitted."""
    return _around(lanes, successors) if len(lanes) > DENSE_LANES else _all(lanes, successors)


def _all(lanes: np.ndarray, successors: np.ndarray) -> Routes:
    """From each lane to each other one."""
    count = len(lanes)
    ahead = [successors[row["successors_at"] : row["successors_at"] + row["successors"]] for row in lanes]
    length = lanes["length"]
    moments = np.stack([length * lanes["cos2"], length * lanes["sin2"]])  # integrals of cos 2t and sin 2t along each lane
    shortest = np.full((count, count), UNREACHABLE, np.float32)  # [from, to], over any number of links
    turns = np.zeros((2, count, count), np.float32)  # moments of those ways
    for a, row in enumerate(lanes):
        shortest[a, ahead[a]], turns[:, a, ahead[a]] = length[a], moments[:, a, None]
        for b in (row["left"], row["right"]):
            if b >= 0 and shortest[a, b] > LANE_CHANGE_COST:
                shortest[a, b], turns[:, a, b] = LANE_CHANGE_COST, 0.0
    np.fill_diagonal(shortest, 0.0)
    turns[:, range(count), range(count)] = 0.0
    _shorten(shortest, turns[0], turns[1])
    routes = np.full((count, count), UNREACHABLE, np.float32)
    bends = np.zeros((2, count, count), np.float32)
    left_on = np.repeat(
        np.arange(count, dtype=np.int32)[:, None], count, axis=1
    )  # lane at whose end the route leaves the bundle
    every = np.arange(count)
    for a in range(count):
        if len(ahead[a]):
            first = ahead[a][shortest[ahead[a]].argmin(axis=0)]  # the successor on the way to each lane
            routes[a] = length[a] + shortest[first, every]
            bends[:, a] = moments[:, a, None] + turns[:, first, every]
    for _ in range(lanes["order"].max()):  # lane changes first: as many as the widest bundle allows
        for a, row in enumerate(lanes):
            for b in (row["left"], row["right"]):
                if b >= 0:
                    changed = np.float32(LANE_CHANGE_COST) + routes[b]
                    better = changed < routes[a]
                    routes[a] = np.where(better, changed, routes[a])
                    bends[:, a] = np.where(better, bends[:, b], bends[:, a])
                    left_on[a] = np.where(better, left_on[b], left_on[a])
    table = np.ix_(*[np.argsort(lanes["local"])] * 2)
    rows = _bend_rows(bends[0][table].T.ravel(), bends[1][table].T.ravel(), routes[table].T.ravel())
    leads = _leads(length[left_on], length[:, None])[table].T.ravel()
    if not _matter(lanes):
        leads = np.zeros(0, np.uint16)
    return Routes(np.minimum(routes, np.float32(UNREACHABLE))[table].T.ravel(), rows, leads, np.zeros(0, np.int32))


def _matter(lanes: np.ndarray) -> bool:
    """Whether lanes side by side differ in length anywhere on the map, as they do in a bend."""
    for side in ("left", "right"):
        has = lanes[side] >= 0
        if (abs(lanes["length"][has] - lanes["length"][lanes[side][has]]) > LEAD_TOLERANCE).any():
            return True
    return False


def _leads(left_on: np.ndarray, own: np.ndarray) -> np.ndarray:
    return np.clip(np.round(left_on / own * LEAD_UNIT), 0, 65535).astype(np.uint16)


def _bend_rows(cos2: np.ndarray, sin2: np.ndarray, route: np.ndarray) -> np.ndarray:
    rows = np.zeros(len(route), row_type(BendRow))
    longer = np.maximum(route, np.float32(1e-3))
    rows["cos2"], rows["sin2"] = np.round(_UNIT * cos2 / longer), np.round(_UNIT * sin2 / longer)
    return rows


@kernel
def _shorten(shortest, cos2, sin2):
    """Floyd-Warshall: `shortest[a, b]` becomes the shortest way from a to b over all others; the moments go along."""
    count = shortest.shape[0]
    for k in range(count):
        for a in range(count):
            first = shortest[a, k]
            if first < UNREACHABLE:
                first_cos2, first_sin2 = cos2[a, k], sin2[a, k]
                for b in range(count):
                    found = first + shortest[k, b]
                    better = found < shortest[a, b]
                    shortest[a, b] = found if better else shortest[a, b]
                    cos2[a, b] = first_cos2 + cos2[k, b] if better else cos2[a, b]
                    sin2[a, b] = first_sin2 + sin2[k, b] if better else sin2[a, b]


def _around(lanes: np.ndarray, successors: np.ndarray) -> Routes:
    """To each lane from those within ROUTE_REACH: Dijkstra from each goal, against the traffic."""
    count = len(lanes)
    order = np.argsort(lanes["local"])
    length, local = lanes["length"].astype(np.float32), lanes["local"].astype(np.int64)
    moments = np.stack([length * lanes["cos2"], length * lanes["sin2"]]).astype(np.float32)
    links = np.repeat(np.arange(count), lanes["successors"])
    by_end = np.argsort(successors, kind="stable")
    before = links[by_end].astype(np.int32)
    before_at = np.concatenate([[0], np.cumsum(np.bincount(successors, minlength=count))]).astype(np.int32)
    left, right = lanes["left"].astype(np.int32), lanes["right"].astype(np.int32)
    beside = [(a, b) for side in (left, right) for a, b in enumerate(side.tolist()) if b >= 0]
    beside.sort(key=lambda pair: pair[1])
    to_side = np.array([a for a, _ in beside], np.int32)
    to_side_at = np.concatenate([[0], np.cumsum(np.bincount([b for _, b in beside], minlength=count))]).astype(np.int32)
    shortest, turns = np.full(count, UNREACHABLE, np.float32), np.zeros((2, count), np.float32)
    room = count + len(links) + len(to_side)  # each link puts its lane into the heap once, at most
    heap, keys, reached = np.zeros(room, np.int32), np.zeros(room, np.float32), np.zeros(count, np.int32)
    route, bend, left_on = np.zeros(count, np.float32), np.zeros((2, count), np.float32), np.zeros(count, np.int32)
    at = lanes["successors_at"].astype(np.int32), lanes["successors"].astype(np.int32)
    number = -(-count // ROUTE_BLOCK)
    blocks = np.full((count, number), -1, np.int32)
    parts, used = [], 0
    for goal in order.tolist():
        found = _reach(
            goal, np.float32(ROUTE_REACH), length, moments, before, before_at, to_side, to_side_at, successors, *at, left,
            right, shortest, turns, heap, keys, reached, route, bend, left_on,
        )  # fmt: skip
        near = reached[:found]
        near = near[route[near] < UNREACHABLE]
        in_block, place = np.divmod(local[near], ROUTE_BLOCK)
        here = np.unique(in_block)
        blocks[local[goal], here] = used + np.arange(len(here))
        used += len(here)
        entry = np.searchsorted(here, in_block) * ROUTE_BLOCK + place
        distances = np.full(len(here) * ROUTE_BLOCK, UNREACHABLE, np.float32)
        cos2, sin2 = np.zeros((2, len(distances)), np.float32)
        leads = np.full(len(distances), LEAD_UNIT, np.uint16)
        distances[entry], cos2[entry], sin2[entry] = route[near], bend[0, near], bend[1, near]
        leads[entry] = _leads(length[left_on[near]], length[near])
        parts.append((distances, _bend_rows(cos2, sin2, distances), leads))
    tables = [np.concatenate([part[k] for part in parts]) for k in range(3)]
    leads = tables[2] if _matter(lanes) else np.zeros(0, np.uint16)
    return Routes(tables[0], tables[1], leads, blocks.ravel())


@kernel
def _reach(
    goal, reach, length, moments, before, before_at, to_side, to_side_at, successors, successors_at, successors_count, left,
    right, shortest, turns, heap, keys, reached, route, bend, left_on,
):  # fmt: skip
    """Fills `route`, `bend` and `left_on` for the lanes within `reach` [m] of `goal`, and `reached` with these.

    Returns how many. The others are room to work in; `shortest` is as it was before, all UNREACHABLE.
    """
    found, size = 0, 1
    shortest[goal], turns[0, goal], turns[1, goal], heap[0], keys[0] = 0.0, 0.0, 0.0, goal, 0.0
    while size > 0:
        a, key = heap[0], keys[0]
        size -= 1
        last, last_key, k = heap[size], keys[size], 0
        while 2 * k + 1 < size:
            child = 2 * k + 1
            if child + 1 < size and keys[child + 1] < keys[child]:
                child += 1
            if keys[child] >= last_key:
                break
            heap[k], keys[k] = heap[child], keys[child]
            k = child
        heap[k], keys[k] = last, last_key
        if key > shortest[a]:
            continue
        reached[found] = a
        found += 1
        for kind in range(2):
            others, others_at = (before, before_at) if kind == 0 else (to_side, to_side_at)
            for e in range(others_at[a], others_at[a + 1]):
                b = others[e]
                new = shortest[a] + (length[b] if kind == 0 else np.float32(LANE_CHANGE_COST))
                if new < shortest[b] and new <= reach:
                    shortest[b] = new
                    for m in range(2):
                        turns[m, b] = turns[m, a] + (moments[m, b] if kind == 0 else np.float32(0.0))
                    k = size
                    size += 1
                    while k > 0 and keys[(k - 1) // 2] > new:
                        heap[k], keys[k] = heap[(k - 1) // 2], keys[(k - 1) // 2]
                        k = (k - 1) // 2
                    heap[k], keys[k] = b, new
    for e in range(found):  # over at least one successor
        a = reached[e]
        route[a], left_on[a] = UNREACHABLE, a
        for s in range(successors_at[a], successors_at[a] + successors_count[a]):
            b = successors[s]
            if shortest[b] < UNREACHABLE and length[a] + shortest[b] < route[a]:
                route[a] = length[a] + shortest[b]
                for m in range(2):
                    bend[m, a] = moments[m, a] + turns[m, b]
    changed = True
    while changed:
        changed = False
        for e in range(found):
            a = reached[e]
            for side in range(2):
                b = left[a] if side == 0 else right[a]
                if b >= 0 and shortest[b] < UNREACHABLE and route[b] + np.float32(LANE_CHANGE_COST) < route[a]:
                    route[a], left_on[a] = route[b] + np.float32(LANE_CHANGE_COST), left_on[b]
                    bend[0, a], bend[1, a] = bend[0, b], bend[1, b]
                    changed = True
    for e in range(found):
        shortest[reached[e]] = UNREACHABLE
    return found
