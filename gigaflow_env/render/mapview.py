"""A road map as a picture: what a mapping engineer looks for, north up, light paper. Library: matplotlib (Agg)."""

from pathlib import Path
from typing import Any

import numpy as np
import shapely

from gigaflow_env.files import replacing
from gigaflow_env.render import strips
from gigaflow_env.render.extra import library
from gigaflow_env.render.pieces import Piece, crosswalk_levels, cut, edges
from gigaflow_env.roads.centreline import length, sample
from gigaflow_env.roads.source import MapError, RoadMap

PAPER = "#f4f2ec"
INK = "#22262c"
SURFACES = {"driving": "#8d939c", "shoulder": "#c2c0b8", "parking": "#b3bfcc", "biking": "#c9a99f"}
JUNCTION = "#9ba1aa"
BORDER = "#f7f7f5"
EDGE = "#3a3f47"
CONNECTOR = "#5d7fb0"
ARROW = "#ffffff"
SIGNALS = {"light": "#e02d2d", "stop": "#9c2fa8", "yield": "#f08c00"}
NAMES = {"light": "traffic light", "stop": "stop sign", "yield": "give way"}

DPI = 100
ARROW_EVERY = (45, 15.0)  # pixels and metres, whichever is more
# On a lane of width 1, pointing along x.
ARROW_SHAPE = np.array([(0.6, 0.0), (0.0, 0.33), (0.0, 0.1), (-0.6, 0.1), (-0.6, -0.1), (0.0, -0.1), (0.0, -0.33)])
STRIPE = 0.5  # m, of a crosswalk


def draw_map(road_map: RoadMap, path: str | Path | None = None, size: int = 1600) -> np.ndarray:
    """Picture of a map whose longer side has `size` pixels: (H, W, 3) uint8, also written to `path` (.png) where given.

    Shows surfaces by kind, lane borders (dashed where a lane change is permitted), directions, connectors, stop lines by
    what controls them, crosswalks, bridges over what they cross, a scale bar, and the name with the lane-km.
    Raises MapError for a map without lanes, ValueError for another suffix or a size below 200.
    """
    if not road_map.lanes:
        raise MapError(f"map {road_map.name!r} has no lanes to draw")
    if size < 200:
        raise ValueError(f"size={size}: a map needs at least 200 pixels")
    if path is not None and Path(path).suffix.lower() != ".png":
        raise ValueError(f"{path}: maps are drawn as .png")
    pieces = cut(road_map)
    figure, axes, scale = _paper(pieces, size)
    level = np.array([piece.level for piece in pieces])
    _draw_surfaces(axes, pieces, level, scale)
    _draw_crosswalks(axes, road_map, int(level.max()))
    _draw_arrows(axes, road_map, pieces, level, scale)
    _draw_stop_lines(axes, road_map, scale)
    _draw_scale_bar(axes, scale)
    lane_km = sum(length(lane.line) for lane in road_map.lanes.values() if lane.kind == "driving") / 1000
    figure.text(0.012, 1 - 8 / _height(figure), road_map.name, size=15, weight="bold", color=INK, va="top")
    figure.text(0.012, 1 - 34 / _height(figure), f"{lane_km:.2f} lane-km", size=10, color=INK, va="top")

    canvas = library("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.array(canvas.buffer_rgba())[:, :, :3]
    if path is not None:
        with replacing(Path(path)) as temporary:
            figure.savefig(temporary, dpi=DPI)
    return picture


def _paper(pieces: list[Piece], size: int) -> tuple[Any, Any, float]:
    """Empty figure and axes in metres which just hold the map, and its pixels per metre."""
    points = np.concatenate([side for piece in pieces for side in (piece.left, piece.right)])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.03 * (high - low).max() + 2.0
    low, high = low - margin, high + margin
    # A long thin map still leaves room for title and scale.
    wanted = np.maximum(high - low, 0.4 * (high - low).max())
    low, high = (low + high - wanted) / 2, (low + high + wanted) / 2
    header = 60  # pixels
    scale = min(size / wanted[0], (size - header) / wanted[1])
    width, height = round(wanted[0] * scale), round(wanted[1] * scale) + header
    figure = library("matplotlib.figure").Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0, 0, 1, (height - header) / height))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.axis("off")
    return figure, axes, scale


def _height(figure: Any) -> float:
    return figure.get_figheight() * DPI


def _points(metres: float, scale: float, least: float) -> float:
    """Width of a line in matplotlib's points, at least `least` pixels."""
    return max(metres * scale, least) * 72 / DPI


def _draw_surfaces(axes: Any, pieces: list[Piece], level: np.ndarray, scale: float) -> None:
    collections = library("matplotlib.collections")
    outlines = [strips.outline(piece.left, piece.right) for piece in pieces]
    borders = edges(pieces)
    for height in range(int(level.max()) + 1):
        here = np.flatnonzero(level == height)
        colours = [JUNCTION if pieces[k].lane.junction else SURFACES[pieces[k].lane.kind] for k in here]
        # The line of the same colour hides the seams between pieces. Shoulders first: lanes may overlap them.
        order = sorted(range(len(here)), key=lambda i: pieces[here[i]].lane.kind == "driving")
        axes.add_collection(
            collections.PolyCollection(
                [outlines[here[i]] for i in order],
                facecolors=[colours[i] for i in order],
                edgecolors=[colours[i] for i in order],
                linewidths=0.9,
                zorder=10 * height + 1,
            )
        )
        lanes = [pieces[k] for k in here if not pieces[k].lane.junction]
        lines = [side for p in lanes for side in _borders(p)]
        connectors = [pieces[k].centre for k in here if pieces[k].lane.junction and pieces[k].lane.kind == "driving"]
        wide = 2.0 if height else 1.0  # a bridge has a parapet
        for drawn, colour, width, place in (
            (connectors, CONNECTOR, _points(0.12, scale, 0.5), 2),
            (lines, BORDER, _points(0.15, scale, 0.5), 3),
            (borders[height], EDGE, wide * _points(0.2, scale, 0.8), 4),
        ):
            shown = collections.LineCollection(drawn, colors=colour, linewidths=width, zorder=10 * height + place)
            axes.add_collection(shown)


def _borders(piece: Piece) -> list[np.ndarray]:
    """The painted lines of a piece: 4 m of it where a lane change is permitted, else all of it."""
    pairs = ((piece.left, piece.lane.left), (piece.right, piece.lane.right))
    return [side if beside is None else side[:5] for side, beside in pairs]


def _draw_crosswalks(axes: Any, road_map: RoadMap, top: int) -> None:
    """Zebra stripes: along the shorter side of each crosswalk, every second one left out."""
    shown = []
    for crosswalk in road_map.crosswalks.values():
        shape = shapely.Polygon(crosswalk.outline[:, :2]).buffer(0)
        corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(shape))
        if len(corners) < 5:
            raise MapError(f"crosswalk {crosswalk.id!r} of map {road_map.name!r} has no area")
        first, second = corners[1] - corners[0], corners[3] - corners[0]
        walk, stripe = (first, second) if np.hypot(*first) > np.hypot(*second) else (second, first)
        count = max(1, round(np.hypot(*walk) / (2 * STRIPE)))
        for k in range(count):
            a, b = corners[0] + walk * (k + 0.25) / count, corners[0] + walk * (k + 0.75) / count
            part = shape.intersection(shapely.Polygon([a, b, b + stripe, a + stripe]))
            shown += [shapely.get_coordinates(p) for p in shapely.get_parts(part) if p.area > 0]
    collection = library("matplotlib.collections").PolyCollection(shown, facecolors=BORDER, zorder=10 * top + 6)
    axes.add_collection(collection)


def _draw_arrows(axes: Any, road_map: RoadMap, pieces: list[Piece], level: np.ndarray, scale: float) -> None:
    """Directions of the driving lanes, connectors excepted: at even distances, at least one a lane that has room for it."""
    shown: list[list[np.ndarray]] = [[] for _ in range(int(level.max()) + 1)]
    by_lane: dict[str, list[int]] = {}
    for piece, height in zip(pieces, level.tolist(), strict=True):
        by_lane.setdefault(piece.lane.id, []).append(height)
    for lane in road_map.lanes.values():
        if lane.kind != "driving" or lane.junction:
            continue
        # Sampled as in _cut, so that s also says which piece (and level) an arrow lies on.
        x, y, _, heading, width, _, s = sample(lane.line, 1.0).T
        if s[-1] < 1.5 * width.mean():
            continue
        count = max(1, round(s[-1] / max(ARROW_EVERY[0] / scale, ARROW_EVERY[1])))
        for at in np.searchsorted(s, s[-1] * (np.arange(count) + 0.5) / count).tolist():
            cos, sin = np.cos(heading[at]), np.sin(heading[at])
            arrow = ARROW_SHAPE * width[at] @ np.array([(cos, sin), (-sin, cos)]) + (x[at], y[at])
            shown[by_lane[lane.id][min(at, len(s) - 2) // strips.PIECE]].append(arrow)
    for height, arrows in enumerate(shown):
        collection = library("matplotlib.collections").PolyCollection(arrows, facecolors=ARROW, zorder=10 * height + 5)
        axes.add_collection(collection)


def _draw_stop_lines(axes: Any, road_map: RoadMap, scale: float) -> None:
    """Across the start of each controlled lane, over everything, with a legend of the kinds that occur."""
    lines: dict[str, list[np.ndarray]] = {kind: [] for kind in SIGNALS}
    for lane in road_map.lanes.values():
        if lane.signal is not None:
            x, y, _, heading, width = lane.line[0]
            across = np.array([-np.sin(heading), np.cos(heading)]) * width / 2
            lines[road_map.signals[lane.signal].kind].append(np.array([(x, y) - across, (x, y) + across]))
    shown = []
    for kind, drawn in lines.items():
        if drawn:
            collection = library("matplotlib.collections").LineCollection(
                drawn, colors=SIGNALS[kind], linewidths=_points(0.6, scale, 2.0), zorder=1000, label=NAMES[kind]
            )
            shown.append(axes.add_collection(collection))
    if shown:
        axes.figure.legend(handles=shown, loc="upper right", ncols=len(shown), frameon=False, fontsize=10, labelcolor=INK)


def _draw_scale_bar(axes: Any, scale: float) -> None:
    """Lower left: the roundest length (1, 2, 5, 10 ... m) of at most 200 pixels or a fifth of the picture."""
    low_x, high_x = axes.get_xlim()
    low_y = axes.get_ylim()[0]
    longest = min(200 / scale, (high_x - low_x) / 5)
    power = 10.0 ** np.floor(np.log10(longest))
    bar = power * max(step for step in (1, 2, 5) if step * power <= longest)
    x, y = low_x + 16 / scale, low_y + 14 / scale
    tick = 5 / scale
    axes.plot([x, x, x + bar, x + bar], [y + tick, y, y, y + tick], color=INK, linewidth=1.6, zorder=1001)
    axes.text(x + bar / 2, y + tick, f"{bar:g} m", color=INK, size=9, ha="center", va="bottom", zorder=1001)
