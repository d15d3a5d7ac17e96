"""What the roads and junctions of a town know of each other, and how a curve becomes a lane."""

import math
from typing import NamedTuple

import numpy as np

from gigaflow_env.roads.road_map import Crosswalk, Lane
from gigaflow_env.roads.towns import curve as curves
from gigaflow_env.roads.towns.curve import Curve, Pose

LATERAL = 3.0
"""[m/s^2] Lateral acceleration that limits the speed in turns: where the reward starts to call it harsh."""
DECIMALS = 5
"""Positions, headings and widths are rounded to these: the last bits of sine and cosine differ between machines."""


class Arm(NamedTuple):
    """A road as its node sees it. Outgoing traffic is on the right of the direction away from the node."""

    other: str  # node at the other end
    heading: float  # away from the node [rad]
    incoming: float  # from the axis to the outer edge on the side of incoming traffic [m]
    outgoing: float
    width: float


class End(NamedTuple):
    """Where a lane meets a junction."""

    lane: str
    pose: Pose
    width: float  # [m]
    speed: float  # [m/s]
    pocket: bool = False


Direction = tuple[str, str]
"""From one node to the next."""
Link = tuple[str, str]
"""A lane and one of its successors."""
Ends = dict[Direction, list[End]]
"""The ends of all lanes at a junction, from the right."""


class Built(NamedTuple):
    """A junction: its lanes, and how they join each other and those that meet it."""

    lanes: list[Lane]
    links: list[Link]
    crosswalks: list[Crosswalk]


def speed_in(line: Curve, limit: float) -> float:
    """The limit [m/s], or less where the curve wants it."""
    return round(min(limit, math.sqrt(LATERAL * curves.min_radius(line))), 1)


def lane_line(line: Curve, first_width: float, last_width: float) -> np.ndarray:
    """Knots of a lane (knots, 5); the width changes evenly from knot to knot."""
    poses = curves.knots(line)
    widths = np.linspace(first_width, last_width, len(poses))
    knots = [(*pose[:2], 0.0, pose.heading, width) for pose, width in zip(poses, widths, strict=True)]
    return np.round(np.array(knots), DECIMALS) + 0.0
