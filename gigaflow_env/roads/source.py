"""RoadMap: the readable map. Every importer and the town generator make one; the compiler turns it into kernel tables.

Coordinates are metres in a right-handed frame (x east, y north, z up), headings radians counter-clockwise from x.
"""

from dataclasses import dataclass, field

import numpy as np

X, Y, Z, HEADING, WIDTH = range(5)
"""Columns of `Lane.line`."""

LANE_KINDS = ("driving", "shoulder", "parking", "biking")
SIGNAL_KINDS = ("light", "stop", "yield")


class MapError(ValueError):
    """A map that can't be read or is not consistent; the message names file, element and line, and what would be right."""


@dataclass(frozen=True)
class Lane:
    """A directed strip of road.

    `line` holds the knots of the centre line along the direction of travel, float64 (knots, 5): x, y, z [m], heading [rad],
    width [m]. Between two knots the centre is the cubic Hermite curve whose end tangents point along the headings and are
    as long as the chord; z and width are linear. At least two knots, consecutive knots at least 1 cm apart.
    """

    id: str
    line: np.ndarray
    kind: str = "driving"  # one of LANE_KINDS; only driving lanes are routed, all kinds belong to the drivable area
    speed: float = 13.9  # limit [m/s]
    successors: tuple[str, ...] = ()  # lanes which begin where this one ends
    left: str | None = None  # neighbour of the same direction into which a lane change is permitted
    right: str | None = None
    junction: str | None = None  # id of the junction this connector belongs to
    signal: str | None = None  # what controls the entry: its stop line is the start of this lane


@dataclass(frozen=True)
class Signal:
    """A traffic light, stop or yield sign; the lanes that obey it name it in `Lane.signal`."""

    id: str
    kind: str = "light"  # one of SIGNAL_KINDS
    group: str = ""  # lights of one group belong to one controller (as a rule: one junction)


@dataclass(frozen=True)
class Crosswalk:
    id: str
    outline: np.ndarray  # (corners, 3): x, y, z [m]


@dataclass(frozen=True)
class RoadMap:
    name: str
    lanes: dict[str, Lane]
    signals: dict[str, Signal] = field(default_factory=dict)
    crosswalks: dict[str, Crosswalk] = field(default_factory=dict)
    left_hand: bool = False  # traffic keeps left
    source: str = ""  # where the map comes from
    licence: str = ""
    attribution: str = ""
