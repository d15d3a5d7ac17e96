"""Cells of a uniform grid over the plane: which items touch which cell, in compressed rows."""

from typing import NamedTuple

import numpy as np


class Cells(NamedTuple):
    """Square cells in rows from the lower left corner, row-major: cell = row * columns + column."""

    x: float  # lower left corner [m]
    y: float
    size: float  # edge of a cell [m]
    columns: int
    rows: int


def touched(cells: Cells, low: np.ndarray, high: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All pairs (item, cell) where the item's box touches the cell, by item.

    low, high: corners of the boxes, (items, 2) [m]. A border belongs to the cells on both sides. What lies beyond the grid
    counts for its outermost cells.
    """
    corner, last = np.array([cells.x, cells.y]), np.array([cells.columns, cells.rows]) - 1
    first = np.clip(np.ceil((low - corner) / cells.size).astype(np.int64) - 1, 0, last)
    spans = np.clip(np.floor((high - corner) / cells.size).astype(np.int64), 0, last) - first + 1
    counts = spans.prod(axis=1)
    item = np.repeat(np.arange(len(low)), counts)
    place = np.arange(len(item)) - np.repeat(np.cumsum(counts) - counts, counts)
    width = spans[item, 0]
    return item, (first[item, 1] + place // width) * cells.columns + first[item, 0] + place % width


def compress(cells: Cells, item: np.ndarray, cell: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs (item, cell), sorted by item, as compressed rows: (first entry of each cell and the end, items of each cell)."""
    at = np.zeros(cells.columns * cells.rows + 1, np.int64)
    np.cumsum(np.bincount(cell, minlength=len(at) - 1), out=at[1:])
    return at, item[np.argsort(cell, kind="stable")]
