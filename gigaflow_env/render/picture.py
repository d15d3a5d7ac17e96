"""What does not move in a top view: the shapes of a compiled map's roads, in painting order."""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import shapely

from gigaflow_env.render import strips
from gigaflow_env.roads.compiled.tables import Roads

VERGE = 12.0
"""[m] Paved ground beside a lane, such as a shoulder, is looked for so far."""


@dataclass(frozen=True, eq=False)  # compared by identity: it is the key of its painted tiles
class RoadPicture:
    """Shapes in painting order, and stop lines, in the coordinates of the kernel tables. One per map: `road_picture`."""

    shapes: tuple[np.ndarray, ...]  # polygons or lines, each (points, 2) [m]
    paints: tuple[str, ...]  # of each shape: paved, asphalt (polygons), mark or edge (lines)
    levels: np.ndarray  # (shapes,) int: 0 on the ground, 1 on a bridge, 2 on a bridge over that one
    boxes: np.ndarray  # (shapes, 4) [m]: smallest x, y, largest x, y of each shape
    stops: np.ndarray  # (stops, 4) [m]: the two ends of each stop line, x1, y1, x2, y2
    stop_lights: (
        np.ndarray
    )  # (stops,) int: the light of each stop line, an index into Scene.lights; -1: a stop sign, -2: a yield sign
    stop_levels: np.ndarray  # (stops,) int
    lanes: "Lanes"


class Lanes(NamedTuple):
    """All pieces of lanes, to find on which level something is."""

    tree: shapely.STRtree  # their polygons
    z: np.ndarray  # (pieces,) [m]
    level: np.ndarray  # (pieces,) int

    def levels_at(self, x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        """(points,) level of points [m] by the lanes beside them at their height."""
        if not self.level.any():
            return np.zeros(len(x), np.int64)
        return strips.levels_beside(shapely.points(x, y), z, self.tree, self.z, self.level)


class Piece(NamedTuple):
    """About 10 m of a lane."""

    left: np.ndarray  # (sections, 2) [m]
    right: np.ndarray
    z: float
    marks: list[np.ndarray]  # its painted lines


def road_picture(roads: Roads, map_index: int = 0) -> RoadPicture:
    """The picture of one of the compiled maps. Raises ValueError for a map that `roads` does not have."""
    maps = roads.network.maps
    if not 0 <= map_index < len(maps):
        raise ValueError(f"map_index={map_index}: there are {len(maps)} maps, {', '.join(roads.names)}")
    row = maps[map_index]
    last_stop = maps[map_index + 1]["stops_at"] if map_index + 1 < len(maps) else len(roads.network.stops)
    stops = roads.network.stops[row["stops_at"] : last_stop]
    ends = strips.sides(*(stops[name] for name in ("x", "y", "cos", "sin", "half_width")))
    pieces = _pieces(roads, row)
    outlines, z = [strips.outline(piece.left, piece.right) for piece in pieces], np.array([piece.z for piece in pieces])
    lanes = Lanes(shapely.STRtree(strips.polygons(outlines)), z, strips.levels(outlines, z))
    painted = _paint(pieces, outlines, lanes, _edges(roads, row))
    return RoadPicture(
        shapes=tuple(points for points, _, _ in painted),
        paints=tuple(paint for _, paint, _ in painted),
        levels=np.array([level for _, _, level in painted]),
        boxes=np.array([[*points.min(axis=0), *points.max(axis=0)] for points, _, _ in painted]),
        stops=np.concatenate(ends, axis=1),
        stop_lights=stops["light"].astype(np.int64),
        stop_levels=lanes.levels_at(stops["x"], stops["y"], stops["z"]),
        lanes=lanes,
    )


def warped(picture: RoadPicture, matrix: np.ndarray) -> RoadPicture:
    """The picture of a map variant: its image under a (2, 2) matrix.

    Stop lines stay square to their lanes, as the kernels have them (sim/variant.py).
    """
    shapes = tuple(points @ matrix.T for points in picture.shapes)
    first, last = picture.stops[:, :2], picture.stops[:, 2:]
    across = (last - first) / 2
    along = np.stack([across[:, 1], -across[:, 0]], axis=1) @ matrix.T
    gain = np.hypot(*along.T)[:, None] / np.maximum(np.hypot(*across.T)[:, None], 1e-9)
    square = np.stack([-along[:, 1], along[:, 0]], axis=1) * abs(np.linalg.det(matrix)) / np.maximum(gain, 1e-9) ** 2
    middle = (first + last) / 2 @ matrix.T
    boxes = np.array([[*points.min(axis=0), *points.max(axis=0)] for points in shapes])
    ends = np.concatenate([middle - square, middle + square], axis=1)
    lanes = shapely.transform(picture.lanes.tree.geometries, lambda points: points @ matrix.T)
    tree = picture.lanes._replace(tree=shapely.STRtree(lanes))
    return replace(picture, shapes=shapes, boxes=boxes, stops=ends, lanes=tree)


def _pieces(roads: Roads, row: np.void) -> list[Piece]:
    pieces = []
    for lane in roads.network.lanes[row["lanes_at"] : row["lanes_at"] + row["lanes"]]:
        section = roads.network.sections[lane["first"] : lane["first"] + lane["quads"] + 1]
        left, right = strips.sides(*(section[name].astype(float) for name in ("x", "y", "cos", "sin", "half_width")))
        for part in strips.pieces(len(section)):
            borders = [] if lane["junction"] else [(left[part], lane["left"]), (right[part], lane["right"])]
            # Where a lane change is permitted the line is dashed: 4 m of each piece.
            marks = [line if beside < 0 else line[:5] for line, beside in borders]
            pieces.append(Piece(left[part], right[part], float(section["z"][part].mean()), marks))
    return pieces


def _edges(roads: Roads, row: np.void) -> np.ndarray:
    """The road edges of one map, each once: (edges, 5) float64 x1, y1, x2, y2, z [m]."""
    cells = -(-int(row["columns"]) // 2) * -(-int(row["rows"]) // 2)
    first, last = roads.grid.edges_at[row["edge_cells_at"]], roads.grid.edges_at[row["edge_cells_at"] + cells]
    table = roads.grid.edges[first:last]
    return np.unique(np.stack([table[name] for name in ("x1", "y1", "x2", "y2", "z")], axis=-1), axis=0).astype(float)


def _paint(
    pieces: list[Piece], outlines: list[np.ndarray], lanes: Lanes, edges: np.ndarray
) -> list[tuple[np.ndarray, str, int]]:
    """Everything in order, so that bridges cover what they cross: by level verges, asphalt, marks and road edges."""
    lines = shapely.linestrings(edges[:, :4].reshape(-1, 2, 2))
    edge_level = strips.levels_beside(lines, edges[:, 4], *lanes)
    verges = _verges(pieces, lanes.tree.geometries, lines, np.concatenate([lanes.z, edges[:, 4]]))
    painted: list[tuple[np.ndarray, str, int]] = []
    for level in range(int(lanes.level.max()) + 1):
        here = np.flatnonzero(lanes.level == level)
        painted += [(verge, "paved", level) for k in here for verge in verges[k]]
        painted += [(outlines[k], "asphalt", level) for k in here]
        painted += [(line, "mark", level) for k in here for line in pieces[k].marks]
        painted += [(edge.reshape(2, 2), "edge", level) for edge in edges[edge_level == level, :4]]
    return painted


def _verges(pieces: list[Piece], lanes: np.ndarray, edges: np.ndarray, z: np.ndarray) -> list[list[np.ndarray]]:
    """Paved ground beside each piece, as polygons: from its sides out to the next lane or road edge of its height.

    `z` holds the heights of `lanes` and then of `edges` [m]. The tables have no shoulders: this finds them again.
    """
    borders = np.concatenate([side for piece in pieces for side in (piece.left, piece.right)])
    across = np.concatenate([side for p in pieces for side in (p.left - p.right, p.right - p.left)])
    across /= np.maximum(np.hypot(*across.T), 1e-6)[:, None]
    counts = np.repeat([len(piece.left) for piece in pieces], 2)
    owner = np.repeat(np.arange(len(pieces)).repeat(2), counts)

    # From just outside the lane: inside another one there is nothing to pave.
    starts = borders + 0.1 * across
    covered, lane = shapely.STRtree(lanes).query(shapely.points(starts), predicate="intersects")
    free = np.ones(len(starts), bool)
    free[covered[abs(z[lane] - z[owner[covered]]) < strips.CLEARANCE]] = False
    seekers = np.flatnonzero(free)
    rays = shapely.linestrings(np.stack([starts[seekers], starts[seekers] + VERGE * across[seekers]], axis=1))
    targets = np.concatenate([lanes, edges])
    ray, target = shapely.STRtree(targets).query(rays, predicate="intersects")
    same = abs(z[target] - z[owner[seekers[ray]]]) < strips.CLEARANCE
    ray, target = ray[same], target[same]
    reached = shapely.distance(shapely.points(starts[seekers[ray]]), shapely.intersection(rays[ray], targets[target]))
    reach = np.full(len(starts), np.inf)
    np.minimum.at(reach, seekers[ray], reached + 0.1)
    reach[np.isinf(reach)] = 0.0

    outer = borders + reach[:, None] * across
    found: list[list[np.ndarray]] = [[] for _ in pieces]
    ends = np.cumsum(counts)
    for k, (first, last) in enumerate(zip(ends - counts, ends, strict=True)):
        if reach[first:last].any():
            found[k // 2].append(strips.outline(borders[first:last], outer[first:last]))
    return found
