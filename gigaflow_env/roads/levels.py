"""Levels: which heights belong to one road, and which to a bridge over it. The only definition of this rule."""

from typing import Any

LEVEL_GAP = 2.5
"""[m] Heights that differ by more are on different levels. Ours: in real maps, lanes that overlap differ in height by less
than 0.5 m or by some 10 m."""


def same_level(z: Any, other: Any) -> Any:
    """Whether heights [m], numbers or arrays, are on one level."""
    return abs(z - other) < LEVEL_GAP
