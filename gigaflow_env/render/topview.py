"""A world from above, north up: fast enough for videos and `env.render()`.

The road is painted once into tiles, which are kept; a frame is tiles, stop lines, goals and cars at twice the size,
scaled down for smooth edges. Libraries: pygame surfaces, without a window.
"""

import functools
import os
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import shapely

from gigaflow_env.render import strips
from gigaflow_env.render.extra import library
from gigaflow_env.roads.tables import Roads

Colour = tuple[int, int, int]

GROUND: Colour = (23, 26, 32)
PAVED: Colour = (51, 56, 65)
ASPHALT: Colour = (60, 65, 75)
MARK: Colour = (118, 125, 138)
EDGE: Colour = (172, 178, 190)
LIGHTS: tuple[Colour, ...] = (MARK, (52, 199, 116), (250, 204, 60), (240, 72, 62))
"""Stop lines by the state of their light: 0 off, 1 green, 2 yellow, 3 red."""
FOLLOWED: Colour = (255, 170, 40)
NEIGHBOUR: Colour = (240, 244, 250)
GLASS: Colour = (22, 26, 34)
TEXT: Colour = (226, 230, 238)

SPEEDS = (0.0, 8.0, 16.0)  # m/s
CAR_COLOURS = np.array([(132, 140, 162), (66, 150, 250), (88, 232, 208)], float)
"""Cars between these speeds, forwards or backwards, have colours in between."""

SUPERSAMPLING = 2
TILE = 512  # pixels of the enlarged frame
TILES_KEPT = 96  # 1 MB each; one frame of 720 x 720 shows at most 16

# What a shape of the road is painted with: colour, and width [m] of a line or None for a filled polygon.
PAINTS: dict[str, tuple[Colour, float | None]] = {
    "ground": (GROUND, None),
    "paved": (PAVED, None),
    "asphalt": (ASPHALT, None),
    "mark": (MARK, 0.15),
    "edge": (EDGE, 0.25),
}


@dataclass(frozen=True, eq=False)  # compared by identity: it is the key of its painted tiles
class RoadPicture:
    """What does not move in one map: shapes in painting order, and stop lines. Make it once per map: `road_picture`."""

    shapes: tuple[np.ndarray, ...]  # polygons or lines, each (points, 2) [m]
    paints: tuple[str, ...]  # of each shape, a name in PAINTS
    boxes: np.ndarray  # (shapes, 4) [m]: smallest x, y, largest x, y of each shape
    stops: np.ndarray  # (stops, 4) [m]: the two ends of each stop line, x1, y1, x2, y2
    stop_lights: np.ndarray  # (stops,) int: the light of each stop line, an index into Scene.lights


class View(NamedTuple):
    """The square that a picture shows."""

    x: float  # centre [m]
    y: float
    span: float = 120.0  # side [m]


class Scene(NamedTuple):
    """One world at one moment, in the coordinates of its roads: plain arrays, any float or integer dtype."""

    roads: RoadPicture
    x: np.ndarray  # (agents,) [m] centre of the car
    y: np.ndarray  # (agents,) [m]
    heading: np.ndarray  # (agents,) [rad]
    length: np.ndarray  # (agents,) [m]
    width: np.ndarray  # (agents,) [m]
    speed: np.ndarray  # (agents,) [m/s]
    active: np.ndarray  # (agents,) bool: others are not drawn
    lights: np.ndarray  # (lights,) int: 0 off, 1 green, 2 yellow, 3 red, by the number of the light inside the map
    followed: int = -1  # the highlighted agent, -1: none
    neighbours: np.ndarray = np.zeros(0, np.int64)  # (any,) int: agents which the followed one observes; -1 is skipped
    goals: np.ndarray = np.zeros((0, 2))  # (any, 2) [m]: its goals still to be reached, next first, the final one last
    goal_radius: float = 2.0  # [m]
    text: tuple[str, ...] = ()  # status lines, upper left


def road_picture(roads: Roads, map_index: int = 0) -> RoadPicture:
    """The picture of one of the compiled maps. Raises ValueError for a map that `roads` does not have."""
    maps = roads.network.maps
    if not 0 <= map_index < len(maps):
        raise ValueError(f"map_index={map_index}: there are {len(maps)} maps, {', '.join(roads.names)}")
    row = maps[map_index]
    last_stop = maps[map_index + 1]["stops_at"] if map_index + 1 < len(maps) else len(roads.network.stops)
    stops = roads.network.stops[row["stops_at"] : last_stop]
    ends = strips.sides(stops["x"], stops["y"], stops["cos"], stops["sin"], stops["half_width"])
    painted = _shapes(roads, row)
    return RoadPicture(
        shapes=tuple(points for points, _ in painted),
        paints=tuple(paint for _, paint in painted),
        boxes=np.array([[*points.min(axis=0), *points.max(axis=0)] for points, _ in painted]).reshape(-1, 4),
        stops=np.concatenate(ends, axis=1),
        stop_lights=stops["light"].astype(np.int64),
    )


def _shapes(roads: Roads, row: np.void) -> list[tuple[np.ndarray, str]]:
    """Everything to paint, in order: paved area, then level by level asphalt, marks and the edges of the road."""
    network = roads.network
    outlines: list[np.ndarray] = []
    heights: list[float] = []
    marks: list[list[np.ndarray]] = []
    for lane in network.lanes[row["lanes_at"] : row["lanes_at"] + row["lanes"]]:
        section = network.sections[lane["first"] : lane["first"] + lane["quads"] + 1]
        left, right = strips.sides(*(section[name] for name in ("x", "y", "cos", "sin", "half_width")))
        for part in strips.pieces(len(section)):
            outlines.append(strips.outline(left[part], right[part]))
            heights.append(float(section["z"][part].mean()))
            borders = [] if lane["junction"] else [(left[part], lane["left"]), (right[part], lane["right"])]
            # Where a lane change is permitted the line is dashed: 4 m of each piece.
            marks.append([line if beside < 0 else line[:5] for line, beside in borders])
    level = strips.levels(outlines, np.array(heights))
    edges = _edges(roads, row)
    edge_level = _edge_levels(edges, outlines, np.array(heights), level)
    shapes = _paved(edges)
    for height in range(int(level.max(initial=0)) + 1):
        here = np.flatnonzero(level == height)
        shapes += [(outlines[k], "asphalt") for k in here]
        shapes += [(line, "mark") for k in here for line in marks[k]]
        shapes += [(edge[:4].reshape(2, 2), "edge") for edge in edges[edge_level == height]]
    return shapes


def _edges(roads: Roads, row: np.void) -> np.ndarray:
    """The road edges of one map, each once: (edges, 5) float32 x1, y1, x2, y2, z [m]."""
    cells = -(-int(row["columns"]) // 2) * -(-int(row["rows"]) // 2)
    first, last = roads.grid.edges_at[row["edge_cells_at"]], roads.grid.edges_at[row["edge_cells_at"] + cells]
    table = roads.grid.edges[first:last]
    return np.unique(np.stack([table[name] for name in ("x1", "y1", "x2", "y2", "z")], axis=-1), axis=0)


def _edge_levels(edges: np.ndarray, outlines: list[np.ndarray], heights: np.ndarray, level: np.ndarray) -> np.ndarray:
    """(edges,) the highest level among the pieces at the edge and of about its height."""
    found = np.zeros(len(edges), np.int64)
    middles = shapely.points((edges[:, 0:2] + edges[:, 2:4]).astype(np.float64) / 2)
    tree = shapely.STRtree([shapely.Polygon(points).buffer(0) for points in outlines])
    edge, piece = tree.query(middles, predicate="dwithin", distance=0.5)
    same = abs(heights[piece] - edges[edge, 4]) < strips.CLEARANCE
    np.maximum.at(found, edge[same], level[piece[same]])
    return found


def _paved(edges: np.ndarray) -> list[tuple[np.ndarray, str]]:
    """What the road edges enclose, shoulders too: outlines as paved area and their holes as ground, large ones first."""
    area = shapely.build_area(shapely.multilinestrings(shapely.linestrings(edges[:, :4].reshape(-1, 2, 2).astype(float))))
    polygons = shapely.get_parts(area)
    rings = [(ring, "paved") for ring in shapely.get_exterior_ring(polygons)]
    rings += [(hole, "ground") for polygon in polygons for hole in polygon.interiors]
    rings.sort(key=lambda ring: -shapely.Polygon(ring[0]).area)
    return [(shapely.get_coordinates(ring), paint) for ring, paint in rings]


def draw(scene: Scene, view: View, size: int = 720) -> np.ndarray:
    """Picture of `view`: (size, size, 3) uint8. Raises ValueError for arrays that do not fit one another."""
    _check(scene, view, size)
    pygame = _pygame()
    enlarged = SUPERSAMPLING * size
    scale = enlarged / float(view.span)  # pixels per metre of the enlarged frame
    # The corner is a whole pixel, so that tiles are copied and not resampled.
    corner = np.round([(view.x - view.span / 2) * scale, -(view.y + view.span / 2) * scale]).astype(int)
    frame = pygame.Surface((enlarged, enlarged), 0, 32)
    for column in range(corner[0] // TILE, (corner[0] + enlarged - 1) // TILE + 1):
        for row in range(corner[1] // TILE, (corner[1] + enlarged - 1) // TILE + 1):
            frame.blit(_tile(scene.roads, scale, column, row), (column * TILE - corner[0], row * TILE - corner[1]))
    _draw_stops(frame, scene, scale, corner)
    _draw_goals(frame, scene, scale, corner)
    _draw_cars(frame, scene, scale, corner)
    frame = pygame.transform.smoothscale(frame, (size, size))
    _draw_text(frame, scene.text, size)
    return np.ascontiguousarray(pygame.surfarray.array3d(frame).swapaxes(0, 1))


def _check(scene: Scene, view: View, size: int) -> None:
    for name in ("y", "heading", "length", "width", "speed", "active"):
        shape = np.shape(getattr(scene, name))
        if shape != np.shape(scene.x) or len(shape) != 1:
            raise ValueError(f"Scene.{name} has shape {shape}, Scene.x {np.shape(scene.x)}: both are (agents,)")
    last = int(scene.roads.stop_lights.max(initial=-1))
    if last >= len(scene.lights):
        raise ValueError(f"Scene.lights has {len(scene.lights)} lights, a stop line belongs to light {last}")
    for state in np.unique(scene.lights).tolist():
        if state not in range(len(LIGHTS)):
            raise ValueError(f"Scene.lights has the state {state}: 0 off, 1 green, 2 yellow, 3 red")
    for name in ("x", "y", "heading", "length", "width", "speed"):
        wrong = np.flatnonzero(scene.active & ~np.isfinite(getattr(scene, name)))
        if len(wrong):
            raise ValueError(f"agent {wrong[0]} is active, but its {name} is {getattr(scene, name)[wrong[0]]}")
    if scene.followed >= len(scene.x):
        raise ValueError(f"Scene.followed={scene.followed}: there are {len(scene.x)} agents")
    if not (np.isfinite([view.x, view.y]).all() and 0 < view.span < np.inf):
        raise ValueError(f"{view}: must be finite, with a span above 0")
    if size < 16:
        raise ValueError(f"size={size}: a picture has at least 16 pixels")


def _pygame() -> Any:
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it greets on stdout, where a command's JSON goes
    pygame = library("pygame")
    library("pygame.surfarray")
    pygame.font.init()
    return pygame


def _pixels(points: np.ndarray, scale: float, corner: np.ndarray) -> np.ndarray:
    """Points (..., 2) [m] in pixels of a frame whose upper left corner is `corner`."""
    return np.asarray(points, np.float64) * [scale, -scale] - corner


@functools.lru_cache(maxsize=TILES_KEPT)
def _tile(roads: RoadPicture, scale: float, column: int, row: int) -> Any:
    """The painted road of one tile. Painted at twice the frame's size again: thin lines need it."""
    pygame = _pygame()
    scale *= 2
    tile = pygame.Surface((2 * TILE, 2 * TILE), 0, 32)
    tile.fill(GROUND)
    corner = np.array([column, row]) * 2 * TILE
    low_x, high_y = corner / [scale, -scale]
    high_x, low_y = (corner + 2 * TILE) / [scale, -scale]
    boxes = roads.boxes
    seen = (boxes[:, 0] < high_x + 1) & (boxes[:, 2] > low_x - 1) & (boxes[:, 1] < high_y + 1) & (boxes[:, 3] > low_y - 1)
    for k in np.flatnonzero(seen):
        colour, width = PAINTS[roads.paints[k]]
        points = _pixels(roads.shapes[k], scale, corner).tolist()
        if width is None:
            pygame.draw.polygon(tile, colour, points)
        else:
            pygame.draw.lines(tile, colour, False, points, max(2, round(width * scale)))
    return pygame.transform.smoothscale(tile, (TILE, TILE))


def _draw_stops(frame: Any, scene: Scene, scale: float, corner: np.ndarray) -> None:
    pygame = _pygame()
    ends = _pixels(scene.roads.stops.reshape(-1, 2, 2), scale, corner)
    states = np.asarray(scene.lights, np.int64)[scene.roads.stop_lights]
    # Red last: it is what matters where lines of several lanes cover each other.
    for k in np.argsort(states, kind="stable"):
        if states[k] > 0:
            pygame.draw.line(frame, LIGHTS[states[k]], *ends[k].tolist(), max(2, round(0.6 * scale)))


def _draw_goals(frame: Any, scene: Scene, scale: float, corner: np.ndarray) -> None:
    """Rings: bold for the next goal, thin for later ones, with a dot in the final one."""
    pygame = _pygame()
    for k, centre in enumerate(_pixels(np.reshape(scene.goals, (-1, 2)), scale, corner).tolist()):
        line = 0.5 if k == 0 else 0.25
        pygame.draw.circle(frame, FOLLOWED, centre, scene.goal_radius * scale, max(2, round(line * scale)))
        if k == len(scene.goals) - 1:
            pygame.draw.circle(frame, FOLLOWED, centre, max(3, 0.6 * scale))


# In half lengths and half widths, front to the right.
BODY = np.array([(1, -0.6), (1, 0.6), (0.85, 1), (-0.9, 1), (-1, 0.75), (-1, -0.75), (-0.9, -1), (0.85, -1)])
WINDSCREEN = np.array([(0.5, -0.8), (0.5, 0.8), (0.12, 0.62), (0.12, -0.62)])
OUTLINE = 0.3  # m


def _draw_cars(frame: Any, scene: Scene, scale: float, corner: np.ndarray) -> None:
    pygame = _pygame()
    half = np.stack([scene.length, scene.width], axis=-1) / 2  # (agents, 2)
    cos, sin = np.cos(scene.heading), np.sin(scene.heading)
    turn = np.stack([cos, sin, -sin, cos], axis=-1).reshape(-1, 2, 2)  # its rows are ahead and left
    centre = np.stack([scene.x, scene.y], axis=-1)

    def placed(shape: np.ndarray, grown: float) -> list:
        return _pixels(centre[:, None] + (shape * (half[:, None] + grown)) @ turn, scale, corner).tolist()

    bodies, screens, outlines = placed(BODY, 0.0), placed(WINDSCREEN, 0.0), placed(BODY, OUTLINE)
    speed = abs(np.asarray(scene.speed, np.float64))
    colours = np.stack([np.interp(speed, SPEEDS, channel) for channel in CAR_COLOURS.T], axis=-1).astype(int).tolist()
    neighbours = set(np.asarray(scene.neighbours).tolist())
    for a in np.flatnonzero(scene.active).tolist():
        if a in neighbours or a == scene.followed:
            pygame.draw.polygon(frame, NEIGHBOUR, outlines[a])
        pygame.draw.polygon(frame, FOLLOWED if a == scene.followed else colours[a], bodies[a])
        pygame.draw.polygon(frame, GLASS, screens[a])


@functools.lru_cache(maxsize=8)
def _font(pixels: int) -> Any:
    return _pygame().font.Font(None, pixels)


def _draw_text(frame: Any, lines: tuple[str, ...], size: int) -> None:
    """Status lines on a dark panel, upper left."""
    if not lines:
        return
    pygame = _pygame()
    font, pad = _font(max(12, size // 32)), max(4, size // 90)
    pictures = [font.render(line, True, TEXT) for line in lines]
    height = font.get_linesize()
    panel = pygame.Surface((max(p.get_width() for p in pictures) + 2 * pad, height * len(lines) + 2 * pad), pygame.SRCALPHA)
    panel.fill((*GLASS, 205))
    frame.blit(panel, (pad, pad))
    for k, picture in enumerate(pictures):
        frame.blit(picture, (2 * pad, 2 * pad + k * height))
