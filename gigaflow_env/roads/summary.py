"""What people ask about a map: its size, what it holds, and whether every lane can be reached from every other."""

from typing import Any

import numpy as np

from gigaflow_env.roads.centerline import length, sample
from gigaflow_env.roads.road_map import Lane, RoadMap
from gigaflow_env.roads.signal_phases import given


def summary(road_map: RoadMap) -> dict[str, Any]:
    """What people ask about a map: a flat dict of numbers and names, ready for JSON. Lanes are driving lanes throughout.

    largest_component is the share of lanes in the largest set where each is reachable from each over successors and
    permitted lane changes; light_programs_of_the_file are lights whose times the file gives, the others' are made with
    `lights="program"`; lane_km counts a surface that is used both ways once; bounds are (x low, y low, x high, y high)
    of the lanes' edges [m].
    """
    lanes = {lane.id: lane for lane in road_map.lanes.values() if lane.kind == "driving"}
    gaps = [
        float(np.linalg.norm(lane.line[-1, :3] - lanes[other].line[0, :3]))
        for lane in lanes.values()
        for other in lane.successors
    ]
    edges = []
    for lane in lanes.values():
        x, y, _, heading, width = sample(lane.line, 2.0).T[:5]
        across = np.column_stack([-np.sin(heading), np.cos(heading)]) * width[:, None] / 2
        edges += [np.column_stack([x, y]) + across, np.column_stack([x, y]) - across]
    corners = np.concatenate(edges)
    return {
        "name": road_map.name,
        "lane_km": sum(length(lane.line) / (1 if lane.twin is None else 2) for lane in lanes.values()) / 1000,
        "lanes": len(lanes),
        "links": len(gaps),
        "junctions": len({lane.junction for lane in lanes.values()} - {None}),
        "traffic_lights": sum(signal.kind == "light" for signal in road_map.signals.values()),
        "light_programs_of_the_file": sum(map(len, given(road_map).values())),
        "stop_signs": sum(signal.kind == "stop" for signal in road_map.signals.values()),
        "yield_signs": sum(signal.kind == "yield" for signal in road_map.signals.values()),
        "stop_lines": sum(lane.signal is not None for lane in lanes.values()),
        "crosswalks": len(road_map.crosswalks),
        "max_link_gap_m": max(gaps, default=0.0),
        "largest_component": max(map(len, components(lanes))) / len(lanes),
        "bounds": tuple(map(float, (*corners.min(axis=0), *corners.max(axis=0)))),
        "left_hand": road_map.left_hand,
        "source": road_map.source,
        "licence": road_map.licence,
    }


def components(lanes: dict[str, Lane]) -> list[list[str]]:
    """Strongly connected components of the lane graph (Kosaraju: reverse finishing order, then the reversed graph)."""
    ahead = {a: [b for b in (*lane.successors, lane.left, lane.right) if b is not None] for a, lane in lanes.items()}
    behind: dict[str, list[str]] = {a: [] for a in lanes}
    for a, others in ahead.items():
        for b in others:
            behind[b].append(a)
    seen: set[str] = set()
    finished = [a for start in lanes for a in _finish(start, ahead, seen)]
    seen.clear()
    return [found for start in reversed(finished) if (found := _finish(start, behind, seen))]


def _finish(start: str, edges: dict[str, list[str]], seen: set[str]) -> list[str]:
    """Unseen lanes reachable from `start`, in the order in which a depth-first search leaves them."""
    if start in seen:
        return []
    seen.add(start)
    left, path = [], [(start, iter(edges[start]))]
    while path:
        a, others = path[-1]
        b = next((b for b in others if b not in seen), None)
        if b is None:
            left.append(a)
            path.pop()
        else:
            seen.add(b)
            path.append((b, iter(edges[b])))
    return left
