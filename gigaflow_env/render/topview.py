"""A world from above, north up: fast enough for videos and `env.render()`.

The road is painted once into tiles, which are kept; a frame is tiles, stop lines, goals and cars at twice the size,
scaled down for smooth edges. Libraries: pygame surfaces, without a window.
"""

import functools
import os
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.render.extra import library
from gigaflow_env.render.picture import RoadPicture

Colour = tuple[int, int, int]

GROUND: Colour = (23, 26, 32)
PAVED: Colour = (51, 56, 65)
ASPHALT: Colour = (60, 65, 75)
MARK: Colour = (118, 125, 138)
EDGE: Colour = (172, 178, 190)
LIGHTS: tuple[Colour, ...] = (MARK, (52, 199, 116), (250, 204, 60), (240, 72, 62))
"""Stop lines by the state of their light: 0 off, 1 green, 2 yellow, 3 red."""
SIGN: Colour = (196, 70, 150)
"""Stop lines with a stop sign."""
GIVE_WAY: Colour = (240, 140, 0)
"""Lines of yield signs."""
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

# By the names in RoadPicture.paints: colour, and width [m] of a line or None for a filled polygon.
PAINTS: dict[str, tuple[Colour, float | None]] = {
    "paved": (PAVED, None),
    "asphalt": (ASPHALT, None),
    "mark": (MARK, 0.15),
    "edge": (EDGE, 0.25),
}


class View(NamedTuple):
    """The square that a picture shows."""

    x: float  # center [m]
    y: float
    span: float = 120.0  # side [m]


class Scene(NamedTuple):
    """One world at one moment, in the coordinates of its roads: plain arrays, any float or integer dtype."""

    roads: RoadPicture
    x: np.ndarray  # (agents,) [m] center of the car
    y: np.ndarray  # (agents,) [m]
    z: np.ndarray  # (agents,) [m] height of the road under it
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


def draw(scene: Scene, view: View, size: int = 720) -> np.ndarray:
    """Picture of `view`: (size, size, 3) uint8. Raises ValueError for arrays that do not fit one another."""
    _check(scene, view, size)
    pygame = load_pygame()
    enlarged = SUPERSAMPLING * size
    scale = enlarged / float(view.span)  # pixels per metre of the enlarged frame
    # The corner is a whole pixel, so that tiles are copied and not resampled.
    corner = np.round([(view.x - view.span / 2) * scale, -(view.y + view.span / 2) * scale]).astype(int)
    frame = pygame.Surface((enlarged, enlarged), 0, 32)
    levels = _car_levels(scene)
    # A bridge is painted over the cars and stop lines below it. Its own come next.
    for level in range(int(scene.roads.levels.max()) + 1):
        for column in range(corner[0] // TILE, (corner[0] + enlarged - 1) // TILE + 1):
            for row in range(corner[1] // TILE, (corner[1] + enlarged - 1) // TILE + 1):
                tile = _tile(scene.roads, level, scale, column, row)
                if tile is not None:
                    frame.blit(tile, (column * TILE - corner[0], row * TILE - corner[1]))
        _draw_stops(frame, scene, level, scale, corner)
        _draw_cars(frame, scene, scene.active & (levels == level), scale, corner)
    if scene.followed >= 0:  # below a bridge its outline stays in sight
        outline = _placed(scene, BODY, 0.0, scale, corner)[scene.followed]
        pygame.draw.polygon(frame, FOLLOWED, outline, max(2, round(0.15 * scale)))
    _draw_goals(frame, scene, scale, corner)
    frame = pygame.transform.smoothscale(frame, (size, size))
    _draw_text(frame, scene.text, size)
    return np.ascontiguousarray(pygame.surfarray.array3d(frame).swapaxes(0, 1))


def _check(scene: Scene, view: View, size: int) -> None:
    for name in ("y", "z", "heading", "length", "width", "speed", "active"):
        shape = np.shape(getattr(scene, name))
        if shape != np.shape(scene.x) or len(shape) != 1:
            raise ValueError(f"Scene.{name} has shape {shape}, Scene.x {np.shape(scene.x)}: both are (agents,)")
    last = int(scene.roads.stop_lights.max(initial=-1))
    if last >= len(scene.lights):
        raise ValueError(f"Scene.lights has {len(scene.lights)} lights, a stop line belongs to light {last}")
    for state in np.unique(scene.lights).tolist():
        if state not in range(len(LIGHTS)):
            raise ValueError(f"Scene.lights has the state {state}: 0 off, 1 green, 2 yellow, 3 red")
    for name in ("x", "y", "z", "heading", "length", "width", "speed"):
        wrong = np.flatnonzero(scene.active & ~np.isfinite(getattr(scene, name)))
        if len(wrong):
            raise ValueError(f"agent {wrong[0]} is active, but its {name} is {getattr(scene, name)[wrong[0]]}")
    if scene.followed >= len(scene.x):
        raise ValueError(f"Scene.followed={scene.followed}: there are {len(scene.x)} agents")
    if not (np.isfinite([view.x, view.y]).all() and 0 < view.span < np.inf):
        raise ValueError(f"{view}: must be finite, with a span above 0")
    if size < 16:
        raise ValueError(f"size={size}: a picture has at least 16 pixels")


def load_pygame() -> Any:
    """The library pygame, ready to draw. Raises MissingExtra where it isn't installed."""
    os.environ.setdefault("PYGAME_HIDE_SUPPORT_PROMPT", "1")  # it greets on stdout, where a command's JSON goes
    pygame = library("pygame")
    library("pygame.surfarray")
    pygame.font.init()
    return pygame


def _pixels(points: np.ndarray, scale: float, corner: np.ndarray) -> np.ndarray:
    """Points (..., 2) [m] in pixels of a frame whose upper left corner is `corner`."""
    return np.asarray(points, np.float64) * [scale, -scale] - corner


def _car_levels(scene: Scene) -> np.ndarray:
    """(agents,) int; 0 for those that aren't active."""
    levels = np.zeros(len(scene.x), np.int64)
    here = np.flatnonzero(scene.active)
    levels[here] = scene.roads.lanes.levels_at(scene.x[here], scene.y[here], scene.z[here])
    return levels


@functools.lru_cache(maxsize=TILES_KEPT)
def _tile(roads: RoadPicture, level: int, scale: float, column: int, row: int) -> Any:
    """The painted road of one tile and level: on the ground all of it, above with nothing around, None where nothing is.

    Painted at twice the frame's size again: thin lines need it.
    """
    pygame = load_pygame()
    scale *= 2
    corner = np.array([column, row]) * 2 * TILE
    low_x, high_y = corner / [scale, -scale]
    high_x, low_y = (corner + 2 * TILE) / [scale, -scale]
    boxes = roads.boxes
    seen = (boxes[:, 0] < high_x + 1) & (boxes[:, 2] > low_x - 1) & (boxes[:, 1] < high_y + 1) & (boxes[:, 3] > low_y - 1)
    seen &= roads.levels == level
    if level > 0 and not seen.any():
        return None
    tile = pygame.Surface((2 * TILE, 2 * TILE), pygame.SRCALPHA if level > 0 else 0, 32)
    tile.fill((*GROUND, 0 if level > 0 else 255))
    for k in np.flatnonzero(seen):
        colour, width = PAINTS[roads.paints[k]]
        points = _pixels(roads.shapes[k], scale, corner).tolist()
        if width is None:
            pygame.draw.polygon(tile, colour, points)
        else:
            pygame.draw.lines(tile, colour, False, points, max(2, round(width * scale)))
    return pygame.transform.smoothscale(tile, (TILE, TILE))


def _draw_stops(frame: Any, scene: Scene, level: int, scale: float, corner: np.ndarray) -> None:
    pygame = load_pygame()
    ends = _pixels(scene.roads.stops.reshape(-1, 2, 2), scale, corner)
    numbers = scene.roads.stop_lights
    signs = [len(LIGHTS) + 1, len(LIGHTS)]  # what is appended: -2 is a yield sign, -1 a stop sign
    states = np.append(np.asarray(scene.lights, np.int64), signs)[numbers]
    # Red last: it is what matters where lines of several lanes cover each other.
    for k in np.argsort(states, kind="stable"):
        if states[k] > 0 and scene.roads.stop_levels[k] == level:
            pygame.draw.line(frame, (*LIGHTS, SIGN, GIVE_WAY)[states[k]], *ends[k].tolist(), max(2, round(0.6 * scale)))


def _draw_goals(frame: Any, scene: Scene, scale: float, corner: np.ndarray) -> None:
    """Rings: bold for the next goal, thin for later ones, with a dot in the final one."""
    pygame = load_pygame()
    for k, center in enumerate(_pixels(np.reshape(scene.goals, (-1, 2)), scale, corner).tolist()):
        line = 0.5 if k == 0 else 0.25
        pygame.draw.circle(frame, FOLLOWED, center, scene.goal_radius * scale, max(2, round(line * scale)))
        if k == len(scene.goals) - 1:
            pygame.draw.circle(frame, FOLLOWED, center, max(3, 0.6 * scale))


# In half lengths and half widths, front to the right.
BODY = np.array([(1, -0.6), (1, 0.6), (0.85, 1), (-0.9, 1), (-1, 0.75), (-1, -0.75), (-0.9, -1), (0.85, -1)])
WINDSCREEN = np.array([(0.5, -0.8), (0.5, 0.8), (0.12, 0.62), (0.12, -0.62)])
OUTLINE = 0.3  # m


def _placed(scene: Scene, shape: np.ndarray, grown: float, scale: float, corner: np.ndarray) -> list:
    """`shape` for each car, in pixels; `grown` [m] on each side."""
    half = np.stack([scene.length, scene.width], axis=-1) / 2  # (agents, 2)
    cos, sin = np.cos(scene.heading), np.sin(scene.heading)
    turn = np.stack([cos, sin, -sin, cos], axis=-1).reshape(-1, 2, 2)  # its rows are ahead and left
    center = np.stack([scene.x, scene.y], axis=-1)
    return _pixels(center[:, None] + (shape * (half[:, None] + grown)) @ turn, scale, corner).tolist()


def _draw_cars(frame: Any, scene: Scene, drawn: np.ndarray, scale: float, corner: np.ndarray) -> None:
    pygame = load_pygame()
    bodies, screens, outlines = (
        _placed(scene, shape, grown, scale, corner) for shape, grown in ((BODY, 0.0), (WINDSCREEN, 0.0), (BODY, OUTLINE))
    )
    speed = abs(np.asarray(scene.speed, np.float64))
    colours = np.stack([np.interp(speed, SPEEDS, channel) for channel in CAR_COLOURS.T], axis=-1).astype(int).tolist()
    neighbours = set(np.asarray(scene.neighbours).tolist())
    for a in np.flatnonzero(drawn).tolist():
        if a in neighbours or a == scene.followed:
            pygame.draw.polygon(frame, NEIGHBOUR, outlines[a])
        pygame.draw.polygon(frame, FOLLOWED if a == scene.followed else colours[a], bodies[a])
        pygame.draw.polygon(frame, GLASS, screens[a])


@functools.lru_cache(maxsize=8)
def _font(pixels: int) -> Any:
    return load_pygame().font.Font(None, pixels)


def _draw_text(frame: Any, lines: tuple[str, ...], size: int) -> None:
    """Status lines on a dark panel, upper left."""
    if not lines:
        return
    pygame = load_pygame()
    font, pad = _font(max(12, size // 32)), max(4, size // 90)
    pictures = [font.render(line, True, TEXT) for line in lines]
    height = font.get_linesize()
    panel = pygame.Surface((max(p.get_width() for p in pictures) + 2 * pad, height * len(lines) + 2 * pad), pygame.SRCALPHA)
    panel.fill((*GLASS, 205))
    frame.blit(panel, (pad, pad))
    for k, picture in enumerate(pictures):
        frame.blit(picture, (2 * pad, 2 * pad + k * height))
