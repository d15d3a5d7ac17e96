"""A road map as a picture: what a mapping engineer looks for, north up, light paper. Library: matplotlib (Agg)."""

from pathlib import Path
from typing import Any

import numpy as np
import shapely

from gigaflow_env.files import replacing
from gigaflow_env.render import strips
from gigaflow_env.render.extra import library
from gigaflow_env.render.pieces import Piece, crosswalk_levels, cut, edges
from gigaflow_env.roads.centerline import length, sample
from gigaflow_env.roads.road_map import MapError, RoadMap

PAPER = "#f4f2ec"
INK = "#22262c"
FAINT = "#6b7079"
SURFACES = {"driving": "#8d939c", "junction": "#9ba1aa", "shoulder": "#c9c6bb", "parking": "#b3c3d6", "biking": "#cfa79b"}
BORDER = "#f7f7f5"
EDGE = "#3a3f47"
CONNECTOR = "#3f6cae"
ARROW = "#ffffff"
JOINT = "#1d3f73"
END = "#d0006f"
SIGNALS = {"light": "#e02d2d", "stop": "#9c2fa8", "yield": "#f08c00"}
MARKERS = {"light": "o", "stop": "8", "yield": "v"}
NAMES = {"driving": "driving lane", "junction": "in a junction", "biking": "bicycle lane"}
NAMES |= {name: name for name in ("shoulder", "parking", "bridge", "crosswalk")}
NAMES |= {"light": "traffic light", "stop": "stop sign", "yield": "give way", "end": "nothing goes on"}

DPI = 100
FOOTER = 36  # pixels, for the scale bar
HEADER = 60  # pixels, for the name
ROOMY = 500  # pixels: smaller pictures have no legend
LINE, COLUMN, LETTER = 20, 150, 14.0  # pixels: of the legend, and of a letter of the name
ARROW_EVERY = (45, 15.0)  # pixels and metres, whichever is more
ARROW_LEAST = 5.0  # pixels: the length of a legible arrow
LEGIBLE = 1.0  # pixels per metre: below, the lines between lanes would only blur
NEAR = 3.0  # pixels per metre: links can be told apart
# On a lane of width 1, pointing along x.
ARROW_SHAPE = np.array([(0.6, 0.0), (0.0, 0.33), (0.0, 0.1), (-0.6, 0.1), (-0.6, -0.1), (0.0, -0.1), (0.0, -0.33)])
HEAD_SHAPE = np.array([(1.0, 0.0), (0.0, 0.5), (0.0, -0.5)])
STRIPE = 0.5  # m, of a crosswalk


def draw_map(road_map: RoadMap, path: str | Path | None = None, size: int = 1600, *, legend: bool = True) -> np.ndarray:
    """Picture of a map whose longer side has `size` pixels: (H, W, 3) uint8, also written to `path` (.png) where given.

    Shows surfaces by kind, lane borders (dashed where a lane change is permitted), directions, connectors, links, stop lines
    by what controls them, crosswalks, bridges over what they cross, a legend from 500 pixels, a scale bar, name and lane-km.
    Raises MapError for a map without lanes, ValueError for another suffix or a size below 200.
    """
    if not road_map.lanes:
        raise MapError(f"map {road_map.name!r} has no lanes to draw")
    if size < 200:
        raise ValueError(f"size={size}: a map needs at least 200 pixels")
    if path is not None and Path(path).suffix.lower() != ".png":
        raise ValueError(f"{path}: maps are drawn as .png")
    pieces = cut(road_map)
    names = _names(road_map, pieces) if legend and size >= ROOMY else []
    figure, axes, scale, columns = _paper(pieces, size, len(names))
    _draw_surfaces(axes, pieces, scale)
    _draw_crosswalks(axes, road_map, pieces, scale)
    _draw_arrows(axes, road_map, pieces, scale)
    _draw_links(axes, road_map, pieces, scale)
    _draw_stop_lines(axes, road_map, pieces, scale)
    _draw_scale_bar(axes, scale)
    _draw_title(figure, road_map)
    if names:
        _draw_legend(figure, names, columns)

    canvas = library("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    canvas.draw()
    picture = np.array(canvas.buffer_rgba())[:, :, :3]
    if path is not None:
        with replacing(Path(path)) as temporary:
            figure.savefig(temporary, dpi=DPI)
    return picture


def _names(road_map: RoadMap, pieces: list[Piece]) -> list[str]:
    """What occurs and is explained in the legend."""
    lanes = road_map.lanes.values()
    found = {_surface(piece) for piece in pieces} | {road_map.signals[lane.signal].kind for lane in lanes if lane.signal}
    found |= {"bridge"} if any(piece.level for piece in pieces) else set()
    found |= {"crosswalk"} if road_map.crosswalks else set()
    found |= {"end"} if any(lane.kind == "driving" and not lane.successors for lane in lanes) else set()
    return [name for name in NAMES if name in found]


def _surface(piece: Piece) -> str:
    return "junction" if piece.lane.junction and piece.lane.kind == "driving" else piece.lane.kind


def _paper(pieces: list[Piece], size: int, names: int) -> tuple[Any, Any, float, int]:
    """Empty figure and axes in metres which just hold the map, its pixels per metre, and the columns of the legend."""
    points = np.concatenate([side for piece in pieces for side in (piece.left, piece.right)])
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.03 * (high - low).max() + 2.0
    low, high = low - margin, high + margin
    # A long thin map still leaves room for title and scale.
    wanted = np.maximum(high - low, 0.4 * (high - low).max())
    low, high = (low + high - wanted) / 2, (low + high + wanted) / 2
    columns = max(1, int(0.8 * size * min(1.0, wanted[0] / wanted[1])) // COLUMN)
    header = HEADER + LINE * -(-names // columns)
    around = header + FOOTER
    scale = min(size / wanted[0], (size - around) / wanted[1])
    width, height = round(wanted[0] * scale), round(wanted[1] * scale) + around
    figure = library("matplotlib.figure").Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor=PAPER)
    axes = figure.add_axes((0, FOOTER / height, 1, (height - around) / height))
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]))
    axes.axis("off")
    return figure, axes, scale, columns


def _height(figure: Any) -> float:
    return figure.get_figheight() * DPI


def _points(metres: float, scale: float, least: float) -> float:
    """Width of a line in matplotlib's points, at least `least` pixels."""
    return max(metres * scale, least) * 72 / DPI


def _add(axes: Any, kind: str, drawn: list[np.ndarray], zorder: int, **look: Any) -> None:
    """Add polygons ("Poly") or lines ("Line") to the picture."""
    axes.add_collection(getattr(library("matplotlib.collections"), f"{kind}Collection")(drawn, zorder=zorder, **look))


def _draw_surfaces(axes: Any, pieces: list[Piece], scale: float) -> None:
    for level, borders in enumerate(edges(pieces)):
        # Connectors before lanes and both after shoulders: they may overlap.
        here = [p for p in pieces if p.level == level]
        here.sort(key=lambda p: (p.lane.kind == "driving") + (_surface(p) == "driving"))
        colours = [SURFACES[_surface(p)] for p in here]
        outlines = [strips.outline(p.left, p.right) for p in here]
        # The line of the same colour hides the seams between pieces.
        _add(axes, "Poly", outlines, 10 * level + 1, facecolors=colours, edgecolors=colours, linewidths=0.9)
        ways = [p.center for p in here if _surface(p) == "junction"]
        _add(axes, "Line", ways, 10 * level + 2, colors=CONNECTOR, linewidths=_points(0.12, scale, 0.5))
        lines = [side for p in here if not p.lane.junction and p.lane.kind != "shoulder" for side in _borders(p)]
        if scale > LEGIBLE:
            _add(axes, "Line", lines, 10 * level + 3, colors=BORDER, linewidths=_points(0.15, scale, 0.5))
        wide = 2.0 if level else 1.0  # a bridge has a parapet
        _add(axes, "Line", borders, 10 * level + 4, colors=EDGE, linewidths=wide * _points(0.2, scale, 0.8))


def _borders(piece: Piece) -> list[np.ndarray]:
    """The painted lines of a piece: 4 m of it where a lane change is permitted, else all of it."""
    pairs = ((piece.left, piece.lane.left), (piece.right, piece.lane.right))
    return [side if beside is None else side[:5] for side, beside in pairs]


def _draw_crosswalks(axes: Any, road_map: RoadMap, pieces: list[Piece], scale: float) -> None:
    """Zebra stripes: along the shorter side of each crosswalk, every second one left out; one block where they'd blur."""
    for key, level in crosswalk_levels(road_map, pieces).items():
        shape = shapely.Polygon(road_map.crosswalks[key].outline[:, :2]).buffer(0)
        corners = shapely.get_coordinates(shapely.minimum_rotated_rectangle(shape))
        if len(corners) < 5:
            raise MapError(f"crosswalk {key!r} of map {road_map.name!r} has no area")
        first, second = corners[1] - corners[0], corners[3] - corners[0]
        walk, stripe = (first, second) if np.hypot(*first) > np.hypot(*second) else (second, first)
        count = max(1, round(np.hypot(*walk) / (2 * max(STRIPE, 1.5 / scale))))
        shown = []
        for k in range(count):
            a, b = corners[0] + walk * (k + 0.25) / count, corners[0] + walk * (k + 0.75) / count
            part = shape.intersection(shapely.Polygon([a, b, b + stripe, a + stripe]))
            shown += [shapely.get_coordinates(p) for p in shapely.get_parts(part) if p.area > 0]
        _add(axes, "Poly", shown, 10 * level + 6, facecolors=BORDER)
        border = [shapely.get_coordinates(part.exterior) for part in shapely.get_parts(shape)]
        _add(axes, "Line", border, 10 * level + 6, colors=FAINT, linewidths=0.3)  # for those that reach beyond the road


def _draw_arrows(axes: Any, road_map: RoadMap, pieces: list[Piece], scale: float) -> None:
    """Directions of the driving lanes at even distances, at least one a lane that has room for it; heads on connectors.

    None where they would be too small to be read.
    """
    shown: list[list[np.ndarray]] = [[] for _ in range(_top(pieces) + 1)]
    heads: list[list[np.ndarray]] = [[] for _ in shown]
    by_lane: dict[str, list[int]] = {}
    for piece in pieces:
        by_lane.setdefault(piece.lane.id, []).append(piece.level)
    for lane in road_map.lanes.values():
        if lane.kind != "driving":
            continue
        # Sampled as in `cut`, so that s also says which piece (and level) an arrow lies on.
        x, y, _, heading, width, _, s = sample(lane.line, 1.0).T
        if lane.junction:
            places, shape, sizes = [0.62 * s[-1]], HEAD_SHAPE, np.full(len(s), 1.2)
        else:
            count = max(1, round(s[-1] / max(ARROW_EVERY[0] / scale, ARROW_EVERY[1])))
            places, shape, sizes = s[-1] * (np.arange(count) + 0.5) / count, ARROW_SHAPE, width
        for at in np.searchsorted(s, places).tolist():
            if s[-1] < 1.5 * sizes[at] or sizes[at] * scale < ARROW_LEAST:
                continue
            cos, sin = np.cos(heading[at]), np.sin(heading[at])
            arrow = shape * sizes[at] @ np.array([(cos, sin), (-sin, cos)]) + (x[at], y[at])
            level = by_lane[lane.id][min(at, len(s) - 2) // strips.PIECE]
            (heads if lane.junction else shown)[level].append(arrow)
    for level in range(len(shown)):
        _add(axes, "Poly", heads[level], 10 * level + 2, facecolors=CONNECTOR)
        _add(axes, "Poly", shown[level], 10 * level + 5, facecolors=ARROW)


def _mark(axes: Any, places: list[np.ndarray], zorder: int, pixels: float, **look: Any) -> None:
    """Marks of a size in pixels, whatever the scale."""
    if places:
        axes.scatter(*np.array(places).T, s=(pixels * 72 / DPI) ** 2, zorder=zorder, **look)


def _draw_links(axes: Any, road_map: RoadMap, pieces: list[Piece], scale: float) -> None:
    """Near: a dot where a lane goes on in another one. Always: a square where a driving lane ends and nothing goes on."""
    last = {piece.lane.id: piece for piece in pieces if piece.lane.kind == "driving"}
    for level in range(_top(pieces) + 1):
        here = [piece for piece in last.values() if piece.level == level]
        if scale > NEAR:
            joints = [piece.center[-1] for piece in here if piece.lane.successors]
            _mark(axes, joints, 10 * level + 7, 3.4, marker="o", color=JOINT, linewidths=0)
        ends = [piece.center[-1] for piece in here if not piece.lane.successors]
        _mark(axes, ends, 10 * level + 7, 5.0, marker="s", color=END, linewidths=0)


def _draw_stop_lines(axes: Any, road_map: RoadMap, pieces: list[Piece], scale: float) -> None:
    """Across the start of each controlled lane, with a sign in the middle that can be seen at every scale."""
    first = {piece.lane.id: piece for piece in reversed(pieces) if piece.lane.signal}
    pixels = min(max(1.2 * scale, 5.0), 14.0)
    for level in range(_top(pieces) + 1):
        for kind, colour in SIGNALS.items():
            here = [p for p in first.values() if p.level == level and road_map.signals[p.lane.signal or ""].kind == kind]
            lines = [np.array([p.left[0], p.right[0]]) for p in here]
            _add(axes, "Line", lines, 10 * level + 8, colors=colour, linewidths=_points(0.6, scale, 2.0))
            look = {"marker": MARKERS[kind], "color": colour, "edgecolors": "white", "linewidths": 0.5}
            _mark(axes, [p.center[0] for p in here], 10 * level + 8, pixels, **look)


def _top(pieces: list[Piece]) -> int:
    return max(piece.level for piece in pieces)


def _draw_title(figure: Any, road_map: RoadMap) -> None:
    """Upper left, a long name in small letters."""
    lane_km = sum(length(lane.line) for lane in road_map.lanes.values() if lane.kind == "driving") / 1000
    width, height = figure.get_figwidth() * DPI, _height(figure)
    size = min(15.0, 15.0 * (width - 20) / (LETTER * max(len(road_map.name), 1)))
    figure.text(10 / width, 1 - 8 / height, road_map.name, size=size, weight="bold", color=INK, va="top", parse_math=False)
    figure.text(10 / width, 1 - 34 / height, f"{lane_km:.2f} lane-km", size=10, color=INK, va="top")


def _draw_legend(figure: Any, names: list[str], columns: int) -> None:
    """Below the title: what occurs in this map."""
    line, patch = library("matplotlib.lines").Line2D, library("matplotlib.patches").Patch
    handles = []
    for name in names:
        label = NAMES[name]
        if name in SURFACES:
            handles.append(patch(facecolor=SURFACES[name], edgecolor=EDGE, linewidth=0.5, label=label))
        elif name == "bridge":
            handles.append(patch(facecolor=SURFACES["driving"], edgecolor=EDGE, linewidth=2, label=label))
        elif name == "crosswalk":
            handles.append(patch(facecolor=SURFACES["driving"], edgecolor=BORDER, hatch="|||", linewidth=0, label=label))
        else:
            colour, marker = SIGNALS.get(name, END), MARKERS.get(name, "s")
            handles.append(line([], [], color=colour, marker=marker, markersize=7, linestyle="none", label=label))
    figure.legend(
        handles=handles,
        loc="upper left",
        bbox_to_anchor=(0.0, 1 - (HEADER - 12) / _height(figure)),
        borderpad=0.6,
        ncols=columns,
        frameon=False,
        fontsize=9,
        labelcolor=INK,
        columnspacing=1.4,
    )


def _draw_scale_bar(axes: Any, scale: float) -> None:
    """Lower left: the roundest length (1, 2, 5, 10 ... m) of at most 200 pixels or a fifth of the picture."""
    low_x, high_x = axes.get_xlim()
    low_y = axes.get_ylim()[0]
    longest = min(200 / scale, (high_x - low_x) / 5)
    power = 10.0 ** np.floor(np.log10(longest))
    bar = power * max(step for step in (1, 2, 5) if step * power <= longest)
    x, y = low_x + 16 / scale, low_y - 24 / scale
    tick = 5 / scale
    axes.plot([x, x, x + bar, x + bar], [y + tick, y, y, y + tick], color=INK, linewidth=1.6, zorder=1001, clip_on=False)
    axes.text(x + bar / 2, y + tick, f"{bar:g} m", color=INK, size=9, ha="center", va="bottom", zorder=1001)
