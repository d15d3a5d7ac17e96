"""Nearby: what an agent sees of the road from each place on it, as lists that are made once."""

import math
from typing import NamedTuple

import numpy as np

from gigaflow_env.declare import row_type
from gigaflow_env.jit import kernel
from gigaflow_env.roads.compiled.grid import Cells, compress
from gigaflow_env.roads.compiled.tables import ROW_QUADS, Nearby, PointRow, SampleRow

VIEW_GAP = 6.0
"""[m] What lies so much higher or lower is not seen: lists on a bridge don't show the road below. Ours."""


class Sizes(NamedTuple):
    """What the tables hold."""

    lane_spacing: float  # distance of lane samples [m]
    lane_count: int
    boundary_count: int
    stop_count: int
    shuffled: bool  # lane samples and boundary points in an order of chance instead of nearest first
    yields: bool  # lines of yield signs among the stop lines
    programs: bool  # programs of lights


def lists(
    sections: np.ndarray, lanes: np.ndarray, stops: np.ndarray, boundary: np.ndarray, sizes: Sizes
) -> tuple[Nearby, np.ndarray]:
    """The Nearby tables of one map, and the samples which they name.

    boundary: (points, 3) x, y, z [m] of the boundary points.
    """
    places = _places(sections, lanes)
    samples, heights = _samples(sections, lanes, sizes.lane_spacing)
    spots = np.column_stack([samples["x"], samples["y"], heights])
    lines = np.column_stack([stops["x"], stops["y"], stops["z"]])
    shown = _full_list(places, spots, sizes.lane_count)
    points = _full_list(places, boundary, sizes.boundary_count)
    if sizes.shuffled:
        chance = np.random.default_rng(0)
        shown, points = chance.permuted(shown, axis=1), chance.permuted(points, axis=1)
    found = Nearby(
        shown.astype(np.int32),
        _points(boundary)[points],
        nearest(places, lines, sizes.stop_count, VIEW_GAP).astype(np.int32),
    )
    return found, samples


def _points(boundary: np.ndarray) -> np.ndarray:
    rows = np.zeros(len(boundary), row_type(PointRow))
    rows["x"], rows["y"] = boundary[:, 0], boundary[:, 1]
    return rows


def _places(sections: np.ndarray, lanes: np.ndarray) -> np.ndarray:
    """x, y, z [m] in the middle of each row's quads."""
    last = lanes["first"] + lanes["quads"]
    first = np.concatenate([np.arange(row["first"], end, ROW_QUADS) for row, end in zip(lanes, last, strict=True)])
    end = np.minimum(first + ROW_QUADS, last[sections["lane"][first]])
    low, high = sections[(first + end) // 2], sections[(first + end + 1) // 2]
    return np.column_stack([(low[name].astype(np.float64) + high[name]) / 2 for name in ("x", "y", "z")])


def _samples(sections: np.ndarray, lanes: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """SampleRows of all lanes, evenly placed on each, and their heights [m]."""
    length = lanes["length"].astype(np.float64)
    counts = np.maximum(np.round(length / spacing), 1).astype(int)
    lane = np.repeat(np.arange(len(lanes)), counts)
    part = np.arange(len(lane)) - np.repeat(np.cumsum(counts) - counts, counts)
    share = (part + 0.5) / counts[lane]
    k = np.floor(share * lanes["quads"][lane]).astype(int)
    u = share * lanes["quads"][lane] - k
    low, high = sections[lanes["first"][lane] + k], sections[lanes["first"][lane] + k + 1]
    rows = np.zeros(len(lane), row_type(SampleRow))
    for name in ("x", "y", "cos", "sin"):
        rows[name] = low[name] + u * (high[name] - low[name])
    norm = np.hypot(rows["cos"], rows["sin"])
    rows["cos"] /= norm
    rows["sin"] /= norm
    rows["width"] = 2 * (low["half_width"] + u * (high["half_width"] - low["half_width"]))
    rows["s"], rows["share"] = share * length[lane], share
    for name in ("local", "bundle", "order", "cos2", "sin2"):
        rows[name] = lanes[name][lane]
    return rows, low["z"] + u * (high["z"] - low["z"])


def _full_list(places: np.ndarray, points: np.ndarray, count: int) -> np.ndarray:
    """Like `nearest`, but the last one is repeated where there are too few. Where none is on the level, all levels count."""
    found = nearest(places, points, count, VIEW_GAP)
    alone = found[:, 0] < 0
    found[alone] = nearest(places[alone], points, count, math.inf)
    last = np.maximum((found >= 0).sum(axis=1) - 1, 0)
    return np.take_along_axis(found, np.minimum(np.arange(count), last[:, None]), axis=1)


def nearest(places: np.ndarray, points: np.ndarray, count: int, gap: float) -> np.ndarray:
    """Numbers of the `count` points nearest to each place in the x-y plane, int64 (places, count).

    places: (places, 3), points: (points, 3) [m]. Nearest first, ties by number. Only points less than `gap` [m] above or
    below the place count; where they are fewer than `count`, the row ends in -1.
    """
    found = np.full((len(places), count), -1)
    if found.size == 0 or len(points) == 0:
        return found
    places, points = np.ascontiguousarray(places, np.float64), np.ascontiguousarray(points, np.float64)
    low = points[:, :2].min(axis=0)
    width, height = points[:, :2].max(axis=0) - low
    # About one point a cell; never finer than 1 m, never a long row of cells for points on one line.
    size = max(1.0, math.sqrt(width * height / len(points)), (width + height) / len(points))
    cells = Cells(low[0], low[1], size, int(width / size) + 1, int(height / size) + 1)
    column, row = ((points[:, :2] - low) / size).astype(np.int64).T
    at, numbers = compress(cells, np.arange(len(points)), row * cells.columns + column)
    _search(places, points, numbers, at, cells, float(gap), found, np.empty(count))
    return found


@kernel
def _search(places, points, numbers, at, cells, gap, found, distances):
    """Fills `found`: looks through square rings of cells around each place until no unseen point can be nearer.

    distances: room for the squared distances [m^2] of the points in one row of `found`.
    """
    count = found.shape[1]
    for p in range(places.shape[0]):
        x, y, z = places[p, 0], places[p, 1], places[p, 2]
        column = min(max(int((x - cells.x) / cells.size), 0), cells.columns - 1)
        row = min(max(int((y - cells.y) / cells.size), 0), cells.rows - 1)
        furthest = max(column, cells.columns - 1 - column, row, cells.rows - 1 - row)
        kept = 0
        for ring in range(furthest + 1):
            for j in range(max(row - ring, 0), min(row + ring, cells.rows - 1) + 1):
                stride = 1 if abs(j - row) == ring else 2 * ring
                for i in range(column - ring, column + ring + 1, stride):
                    if i < 0 or i >= cells.columns:
                        continue
                    cell = j * cells.columns + i
                    for entry in range(at[cell], at[cell + 1]):
                        point = numbers[entry]
                        if abs(points[point, 2] - z) >= gap:
                            continue
                        dx, dy = points[point, 0] - x, points[point, 1] - y
                        distance = dx * dx + dy * dy
                        if kept < count:
                            kept += 1
                        elif distance > distances[count - 1] or (
                            distance == distances[count - 1] and point > found[p, count - 1]
                        ):
                            continue
                        k = kept - 1
                        while k > 0 and (
                            distance < distances[k - 1] or (distance == distances[k - 1] and point < found[p, k - 1])
                        ):
                            distances[k], found[p, k] = distances[k - 1], found[p, k - 1]
                            k -= 1
                        distances[k], found[p, k] = distance, point
            # Cells beyond this ring begin at least ring * size away.
            if kept == count and distances[count - 1] < (ring * cells.size) ** 2:
                break
