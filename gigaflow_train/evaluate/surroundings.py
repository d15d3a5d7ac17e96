"""What metrics know about the roads of a scene: its RoadMap, and the road edges of its recording where it has them."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import shapely

from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.road_map import Lane, RoadMap
from gigaflow_env.roads.scenario import LIGHT_STATES, Scenario
from gigaflow_train.evaluate import nuplan, waymax, wosac
from gigaflow_train.evaluate.polylines import arc_length, pieces_of
from gigaflow_train.evaluate.trajectories import Trajectories, of

SPACING = 1.0
"""[m] between the points of lanes. Waymax's paths have points as near."""
CLOSING = 0.05
"""[m] Gaps between lanes up to twice this are closed where the border is traced."""
HOLE = 20.0
"""[m^2] Smaller holes are asphalt, as in the compiled maps."""
AHEAD = 150.0
"""[m] that paths of a car go on from where its recording ends."""
MOST_PATHS = 64
"""Paths that a car could take, at most. Ours: the nearest junctions come first."""
RED = LIGHT_STATES.index("red")


class Surroundings(NamedTuple):
    """The roads of a scene."""

    lanes: nuplan.LaneMap
    edges: tuple[np.ndarray, ...]  # (points, 3) each, the road on the left
    recorded: bool  # the edges are the file's own; else the border of the map's lanes, in which bridges have no edges below


def of_scenario(scenario: Scenario, road_map: RoadMap) -> Surroundings:
    """The roads of a recording."""
    lanes = lane_map(road_map)
    return Surroundings(lanes, scenario.road_edges or border(road_map), bool(scenario.road_edges))


def _outline(points: np.ndarray) -> np.ndarray:
    """The outline of a lane (n, 2) from its samples."""
    across = np.column_stack([-np.sin(points[:, 3]), np.cos(points[:, 3])]) * points[:, [4]] / 2.0
    return np.concatenate([points[:, :2] + across, (points[:, :2] - across)[::-1]])


def lane_map(road_map: RoadMap) -> nuplan.LaneMap:
    """Lanes, connectors, the drivable area and the junctions of a map. A connector is a lane of a junction."""
    dense = [sample(lane.line, SPACING) for lane in road_map.lanes.values()]
    areas = _areas(dense)
    shapes, junctions = [], []
    for lane, points, area in zip(road_map.lanes.values(), dense, areas, strict=True):
        if lane.kind != "driving":
            continue
        if lane.junction is not None:
            junctions.append(area)
        shapes.append(
            nuplan.LaneShape(
                lane.id, points[:, :2], area, lane.speed, lane.junction is not None, lane.successors, _block(lane, road_map)
            )
        )
    return nuplan.LaneMap(tuple(shapes), shapely.union_all(areas), shapely.union_all(junctions))


def _areas(dense: Sequence[np.ndarray]) -> np.ndarray:
    """Areas of lanes from their samples."""
    rings = [_outline(points) for points in dense]
    owner = np.repeat(np.arange(len(rings)), [len(ring) for ring in rings])
    return shapely.make_valid(shapely.polygons(shapely.linearrings(np.concatenate(rings), indices=owner)))


def _block(lane: Lane, road_map: RoadMap) -> str:
    """Name of the lanes beside each other: that of the rightmost one."""
    seen = {lane.id}
    while lane.right is not None and lane.right not in seen:
        seen.add(lane.right)
        lane = road_map.lanes[lane.right]
    return lane.id


def border(road_map: RoadMap) -> tuple[np.ndarray, ...]:
    """Border of all lanes of a map, lines (points, 3) with the road on the left. Levels are not told apart."""
    dense = [sample(lane.line, SPACING) for lane in road_map.lanes.values()]
    grown = shapely.union_all(shapely.buffer(_areas(dense), CLOSING, join_style="mitre"))
    parts = shapely.get_parts(shapely.buffer(grown, -CLOSING, join_style="mitre"))
    every = np.concatenate([points[:, :3] for points in dense])
    tree = shapely.STRtree(shapely.points(every[:, :2]))
    lines = []
    for part in parts:
        turned = (
            shapely.orient_polygons(part) if hasattr(shapely, "orient_polygons") else shapely.geometry.polygon.orient(part)
        )
        holes = [ring for ring in turned.interiors if shapely.Polygon(ring).area >= HOLE]
        for ring in (turned.exterior, *holes):
            at = shapely.get_coordinates(shapely.segmentize(ring, SPACING))
            height = every[tree.nearest(shapely.points(at)), 2]
            lines.append(np.column_stack([at, height]))
    return tuple(lines)


def waymax_edges(around: Surroundings) -> waymax.EdgePoints:
    """The road edges as Waymax judges them."""
    return waymax.edge_points(around.edges)


def wosac_roads(around: Surroundings, road_map: RoadMap, scenario: Scenario) -> wosac.Roads:
    """Edges, streets and lights as WOSAC judges them: a light stops its lane where that begins."""
    streets = [lane for lane in road_map.lanes.values() if lane.kind == "driving"]
    lanes = [sample(lane.line, SPACING)[:, :2] for lane in streets]
    lights = [
        wosac.Light(k, lane.line[0, :2], scenario.lights[lane.signal] == RED)
        for k, lane in enumerate(streets)
        if lane.signal in scenario.lights
    ]
    return wosac.Roads(pieces_of(around.edges), lanes, lights)


def paths_of(logged: Trajectories, agent: int, around: Surroundings) -> list[waymax.Path]:
    """Ways that a car could take from where its recording begins; on the route are those through all lanes that it drove.

    Waymax's own come with the dataset; these are found in the lanes: from the first lane and those beside it, along all
    successors. None where the recording is on no lane.
    """
    lanes = around.lanes.lanes
    number = {lane.id: k for k, lane in enumerate(lanes)}
    driven = [lane for lane in dict.fromkeys(nuplan.driven_lanes(of(logged, [agent]), around.lanes)) if lane >= 0]
    if not driven:
        return []
    block = lanes[driven[0]].block or lanes[driven[0]].id
    starts = [driven[0]] + [k for k, lane in enumerate(lanes) if (lane.block or lane.id) == block and k != driven[0]]
    goal = lanes[driven[-1]].block or lanes[driven[-1]].id
    reach = float(waymax.distance(of(logged, [agent]))[0]) + AHEAD
    found: list[waymax.Path] = []
    queue = [([start], float(arc_length(lanes[start].line)[-1])) for start in starts]
    while queue and len(found) < MOST_PATHS:
        ways, length = queue.pop(0)
        after = [number[one] for one in lanes[ways[-1]].successors if one in number and number[one] not in ways]
        if length >= reach or not after:
            points = np.concatenate([lanes[k].line for k in ways])
            found.append(waymax.Path(points, any((lanes[k].block or lanes[k].id) == goal for k in ways)))
            continue
        queue += [([*ways, k], length + float(arc_length(lanes[k].line)[-1])) for k in after]
    if not any(path.on_route for path in found):  # it changed lanes where no path leads: its own lanes are the route
        found.append(waymax.Path(np.concatenate([lanes[k].line for k in driven]), True))
    return found


def types_of(scenario: Scenario, ego: int) -> str:
    """A word for what a recorded car does, by which reports group scenes: standing, straight, left, right or turning back.

    Ours: few recordings name a type.
    """
    seen = np.flatnonzero(scenario.valid[ego])
    if not len(seen):
        return "absent"
    x, y, heading = (getattr(scenario, name)[ego, seen] for name in ("x", "y", "heading"))
    if np.hypot(np.diff(x), np.diff(y)).sum() < 2.0:
        return "standing"
    turn = math.degrees(float(np.unwrap(heading)[-1] - heading[0]))
    if abs(turn) > 150.0:
        return "turning back"
    return "straight" if abs(turn) < 30.0 else "left" if turn > 0.0 else "right"


def judged_by_wosac(scenario: Scenario, history: int = wosac.HISTORY) -> Sequence[int]:
    """Who is scored: the recording car and those to predict, of which all are there at the last moment of the history."""
    wanted = dict.fromkeys(([] if scenario.ego is None else [scenario.ego]) + list(scenario.predict))
    return [agent for agent in wanted if scenario.valid[agent, history - 1]]
