"""Widths of lanes that are given as center lines: measured across, to the lines and kerbs beside them."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import shapely

from gigaflow_env.roads.levels import same_level
from gigaflow_env.roads.road_map import HEADING, WIDTH, X, Y, Z

_PARALLEL = np.cos(np.radians(30))  # what turns more against a lane crosses it and does not bound it
_EVERY = 4  # rows of a dense line: some 2 m
_CALM = 6.0  # [m] the width is the median over pieces of this length: what is measured has steps and gaps


class Sides(NamedTuple):
    """Straight pieces of what lies beside lanes."""

    pieces: np.ndarray  # (n, 2, 3) their ends [m]
    source: np.ndarray  # (n,) number of the polyline each is a part of


def sides(polylines: list[np.ndarray]) -> Sides:
    """The pieces of polylines (k, 3)."""
    pieces = [np.stack([line[:-1], line[1:]], axis=1) for line in polylines]
    source = np.repeat(np.arange(len(polylines)), [len(part) for part in pieces])
    found = np.concatenate(pieces) if pieces else np.zeros((0, 2, 3))
    long = np.hypot(*(found[:, 1, :2] - found[:, 0, :2]).T) > 1e-6
    return Sides(found[long], source[long])


def probes(lines: Iterable[np.ndarray]) -> np.ndarray:
    """The rows of dense lines (rows, 5) where widths are measured, all in a row."""
    return np.concatenate([np.zeros((0, 5)), *(line[::_EVERY] for line in lines)])


def nearest(
    rows: np.ndarray, beside: Sides, low: float, high: float, owner: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """What lies across from each row of lane lines, to its left and its right.

    rows: (n, 5) with the columns of `Lane.line`. Pieces count that are about parallel to the lane, on its level and `low`
    to `high` away; with `owner` (n,), only those of the polyline with that number.
    Returns the distance (n, 2) [m], inf where there is nothing, and the polyline's number (n, 2), -1 where there is none.
    """
    direction = np.column_stack([np.cos(rows[:, HEADING]), np.sin(rows[:, HEADING])])
    across = np.column_stack([-direction[:, 1], direction[:, 0]])
    distance, source = np.full((2, len(rows)), np.inf), np.full((2, len(rows)), -1)
    tree = shapely.STRtree(shapely.linestrings(beside.pieces[:, :, :2]))
    for side, sign in enumerate((1, -1)):
        here = rows[:, [X, Y]]
        rays = shapely.linestrings(np.stack([here, here + sign * high * across], axis=1))
        row, piece = tree.query(rays, predicate="intersects")
        first, along = beside.pieces[piece, 0], beside.pieces[piece, 1] - beside.pieces[piece, 0]
        to = first[:, :2] - rows[row][:, [X, Y]]
        turned = across[row, 0] * along[:, 1] - across[row, 1] * along[:, 0]  # its length along the lane, and a sign
        off = sign * (to[:, 0] * along[:, 1] - to[:, 1] * along[:, 0]) / np.where(turned == 0, np.inf, turned)
        counts = (np.abs(turned) > _PARALLEL * np.hypot(along[:, 0], along[:, 1])) & (off >= low)
        counts &= same_level(first[:, 2], rows[row, Z])
        if owner is not None:
            counts &= beside.source[piece] == owner[row]
        order = np.flatnonzero(counts)[np.argsort(-off[counts], kind="stable")]  # the nearest is written last
        distance[side, row[order]], source[side, row[order]] = off[order], beside.source[piece[order]]
    return distance.T, source.T


def calm(lines: list[np.ndarray], measured: np.ndarray, default: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    """Set the widths of dense lines (rows, 5) to what was measured at their probes, NaN where nothing was.

    default, low, high: (lines,) [m] for lines where nothing was measured, and the bounds.
    """
    at = np.cumsum([0, *(len(probes([line])) for line in lines)])
    for k, line in enumerate(lines):
        found = measured[at[k] : at[k + 1]]
        known = np.isfinite(found)
        if not known.any():
            line[:, WIDTH] = default[k]
            continue
        along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(line[:, :2], axis=0).T))])
        pieces = max(1, round(along[-1] / _CALM))
        number = np.minimum((along[::_EVERY] / along[-1] * pieces).astype(int), pieces - 1)
        filled = [p for p in range(pieces) if known[number == p].any()]
        medians = [np.median(found[known & (number == p)]) for p in filled]
        middles = (np.array(filled) + 0.5) * along[-1] / pieces
        line[:, WIDTH] = np.clip(np.interp(along, middles, medians), low[k], high[k])
