"""Left-hand traffic: a town is made for traffic that keeps right in the mirror image of its spec, and mirrored back."""

from dataclasses import replace

import numpy as np

from gigaflow_env.roads.road_map import HEADING, Crosswalk, Lane, RoadMap, Y
from gigaflow_env.roads.towns.spec import Node, Road


def mirrored_spec(nodes: dict[str, Node], roads: list[Road]) -> tuple[dict[str, Node], list[Road]]:
    """The spec with north and south exchanged."""
    return (
        {name: node._replace(at=(node.at[0], -node.at[1])) for name, node in nodes.items()},
        [
            road._replace(bends=tuple((x, -y, r) for x, y, r in road.bends), bridge=_mirrored_place(road.bridge))
            for road in roads
        ],
    )


def mirrored(town: RoadMap) -> RoadMap:
    """The map with north and south, left and right exchanged: traffic keeps to the other side."""
    return replace(
        town,
        lanes={key: _lane(lane) for key, lane in town.lanes.items()},
        crosswalks={key: _crosswalk(one) for key, one in town.crosswalks.items()},
        left_hand=not town.left_hand,
    )


def _mirrored_place(place: tuple[float, float, float]) -> tuple[float, float, float]:
    return place[0], -place[1], place[2]


def _lane(lane: Lane) -> Lane:
    line = lane.line.copy()
    line[:, [Y, HEADING]] *= -1
    return replace(lane, line=line + 0.0, left=lane.right, right=lane.left)


def _crosswalk(crosswalk: Crosswalk) -> Crosswalk:
    # Backwards, so that the corners keep going counter-clockwise.
    return replace(crosswalk, outline=crosswalk.outline[::-1] * np.array([1.0, -1.0, 1.0]) + 0.0)
