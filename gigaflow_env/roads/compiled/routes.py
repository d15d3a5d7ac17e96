"""Route distances: the shortest way from each lane to each other one, and which way it goes."""

import numpy as np

from gigaflow_env.declare import record
from gigaflow_env.jit import kernel
from gigaflow_env.roads.compiled.tables import LANE_CHANGE_COST, UNREACHABLE, BendRow

_UNIT = 127.0


def routes(lanes: np.ndarray, successors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Network.route and Network.bends of one map, see there.

    A route may change lanes at the start of each lane, where that is permitted.
    """
    count = len(lanes)
    ahead = [successors[row["successors_at"] : row["successors_at"] + row["successors"]] for row in lanes]
    length = lanes["length"]
    moments = np.stack([length * lanes["cos2"], length * lanes["sin2"]])  # integrals of cos 2t and sin 2t along each lane
    ways = np.full((count, count), UNREACHABLE, np.float32)  # [from, to], over any number of links
    turns = np.zeros((2, count, count), np.float32)  # moments of those ways
    for a, row in enumerate(lanes):
        ways[a, ahead[a]], turns[:, a, ahead[a]] = length[a], moments[:, a, None]
        for b in (row["left"], row["right"]):
            if b >= 0 and ways[a, b] > LANE_CHANGE_COST:
                ways[a, b], turns[:, a, b] = LANE_CHANGE_COST, 0.0
    np.fill_diagonal(ways, 0.0)
    turns[:, range(count), range(count)] = 0.0
    _shorten(ways, turns[0], turns[1])
    routes = np.full((count, count), UNREACHABLE, np.float32)
    bends = np.zeros((2, count, count), np.float32)
    every = np.arange(count)
    for a in range(count):
        if len(ahead[a]):
            first = ahead[a][ways[ahead[a]].argmin(axis=0)]  # the successor on the way to each lane
            routes[a] = length[a] + ways[first, every]
            bends[:, a] = moments[:, a, None] + turns[:, first, every]
    for _ in range(lanes["order"].max()):  # lane changes first: as many as the widest bundle allows
        for a, row in enumerate(lanes):
            for b in (row["left"], row["right"]):
                if b >= 0:
                    changed = np.float32(LANE_CHANGE_COST) + routes[b]
                    better = changed < routes[a]
                    routes[a] = np.where(better, changed, routes[a])
                    bends[:, a] = np.where(better, bends[:, b], bends[:, a])
    table = np.ix_(*[np.argsort(lanes["local"])] * 2)
    means = np.round(_UNIT * bends / np.maximum(routes, np.float32(1e-3)))
    rows = np.zeros(count * count, record(BendRow))
    rows["cos2"], rows["sin2"] = (mean[table].T.ravel() for mean in means)
    return np.minimum(routes, np.float32(UNREACHABLE))[table].T.ravel(), rows


@kernel
def _shorten(ways, cos2, sin2):
    """Floyd-Warshall: `ways[a, b]` becomes the shortest way from a to b over all others; the moments go along."""
    count = ways.shape[0]
    for k in range(count):
        for a in range(count):
            first = ways[a, k]
            if first < UNREACHABLE:
                first_cos2, first_sin2 = cos2[a, k], sin2[a, k]
                for b in range(count):
                    found = first + ways[k, b]
                    better = found < ways[a, b]
                    ways[a, b] = found if better else ways[a, b]
                    cos2[a, b] = first_cos2 + cos2[k, b] if better else cos2[a, b]
                    sin2[a, b] = first_sin2 + sin2[k, b] if better else sin2[a, b]
