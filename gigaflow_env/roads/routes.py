"""Route distances: the shortest way from each lane to each other one."""

import numpy as np

from gigaflow_env.jit import kernel
from gigaflow_env.roads.tables import LANE_CHANGE_COST, UNREACHABLE


def routes(lanes: np.ndarray, successors: np.ndarray) -> np.ndarray:
    """Network.route of one map, see there. A route may change lanes at the start of each lane, where that is permitted."""
    count = len(lanes)
    ahead = [successors[row["successors_at"] : row["successors_at"] + row["successors"]] for row in lanes]
    ways = np.full((count, count), UNREACHABLE, np.float32)  # [from, to], over any number of links
    for a, row in enumerate(lanes):
        ways[a, ahead[a]] = row["length"]
        for b in (row["left"], row["right"]):
            if b >= 0:
                ways[a, b] = min(ways[a, b], LANE_CHANGE_COST)
    np.fill_diagonal(ways, 0.0)
    _shorten(ways)
    routes = np.full((count, count), UNREACHABLE, np.float32)
    for a, row in enumerate(lanes):
        if len(ahead[a]):
            routes[a] = row["length"] + ways[ahead[a]].min(axis=0)
    for _ in range(lanes["order"].max()):  # lane changes first: as many as the widest bundle allows
        for a, row in enumerate(lanes):
            for b in (row["left"], row["right"]):
                if b >= 0:
                    routes[a] = np.minimum(routes[a], np.float32(LANE_CHANGE_COST) + routes[b])
    return np.minimum(routes, np.float32(UNREACHABLE)).T.ravel()


@kernel
def _shorten(ways):
    """Floyd-Warshall: `ways[a, b]` becomes the shortest way from a to b over all others."""
    count = ways.shape[0]
    for k in range(count):
        for a in range(count):
            first = ways[a, k]
            if first < UNREACHABLE:
                for b in range(count):
                    ways[a, b] = min(ways[a, b], first + ways[k, b])
