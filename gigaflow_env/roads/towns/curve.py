"""Curves of straight lines and circular arcs: what roads are drawn with before they become the knots of lanes.

A curve is a list of pieces, each beginning where and as the one before ends. Lengths and positions are metres, headings
radians counter-clockwise from x, curvatures 1/m and offsets metres, both left positive.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

from gigaflow_env.roads.road_map import MapError

TINY = 1e-6
"""[m, rad] Shorter pieces and smaller turns are left out."""
SHORT = 0.2
"""[m] Least distance of knots, ends aside."""


class Pose(NamedTuple):
    """A place and a heading."""

    x: float
    y: float
    heading: float


class Piece(NamedTuple):
    """A straight line or an arc."""

    x: float
    y: float
    heading: float
    length: float
    curvature: float


Curve = list[Piece]


def walk(piece: Piece, s: float) -> Pose:
    """The pose on a piece, `s` behind its start."""
    half = 0.5 * piece.curvature * s
    chord = s * (math.sin(half) / half if half else 1.0)
    direction = piece.heading + half
    return Pose(piece.x + chord * math.cos(direction), piece.y + chord * math.sin(direction), piece.heading + 2 * half)


def ahead(pose: Pose, forward: float, left: float = 0.0) -> Pose:
    """The pose that lies `forward` and `left` of `pose`, with the same heading."""
    cos, sin = math.cos(pose.heading), math.sin(pose.heading)
    return Pose(pose.x + forward * cos - left * sin, pose.y + forward * sin + left * cos, pose.heading)


def turn(start: float, end: float) -> float:
    """The turn from one heading to another, in (-pi, pi]."""
    angle = math.remainder(end - start, math.tau)
    # The bounds are one direction, and rounding must not decide between them: a turn of -pi counts as pi.
    return angle + math.tau if angle < TINY - math.pi else angle


def length(curve: Curve) -> float:
    """Length of a curve [m]."""
    return math.fsum(piece.length for piece in curve)


def end(curve: Curve) -> Pose:
    """Pose at the end of a curve."""
    return walk(curve[-1], curve[-1].length)


def start(curve: Curve) -> Pose:
    """Pose at the start of a curve."""
    return Pose(*curve[0][:3])


def min_radius(curve: Curve) -> float:
    """The smallest radius, infinite for a straight curve."""
    return min((1.0 / abs(piece.curvature) for piece in curve if piece.curvature), default=math.inf)


def cut(curve: Curve, first: float, last: float) -> Curve:
    """The part of a curve between two distances from its start, 0 <= first < last <= length."""
    if not -TINY <= first < last <= length(curve) + TINY:
        raise ValueError(f"a curve of {length(curve):.3f} m has no part from {first:.3f} to {last:.3f} m")
    part, at = [], 0.0
    for piece in curve:
        low, high = max(first - at, 0.0), min(last - at, piece.length)
        if high - low > TINY:
            part.append(Piece(*walk(piece, low), high - low, piece.curvature))
        at += piece.length
    return part


def reverse(curve: Curve) -> Curve:
    """The same curve, driven the other way."""
    backwards = []
    for piece in reversed(curve):
        x, y, heading = walk(piece, piece.length)
        backwards.append(Piece(x, y, heading + math.pi, piece.length, -piece.curvature))
    return backwards


def offset(curve: Curve, left: float) -> Curve:
    """The parallel curve at a distance to the left. ValueError where an arc's center is nearer than that."""
    parallel = []
    for piece in curve:
        stretch = 1.0 - piece.curvature * left
        if stretch <= 0.0:
            raise ValueError(f"an arc of radius {1 / abs(piece.curvature):.2f} m has no parallel {abs(left):.2f} m inside")
        x, y, heading = ahead(Pose(*piece[:3]), 0.0, left)
        parallel.append(Piece(x, y, heading, piece.length * stretch, piece.curvature / stretch))
    return parallel


def rounded(points: Sequence[tuple[float, float]], radii: Sequence[float]) -> Curve:
    """The polyline through `points` (n) with an arc of `radii` (n - 2) at each inner point.

    Raises MapError for points that coincide, polylines that turn back, and arcs that don't fit between their neighbours.
    """
    headings, lengths = [], []
    for (ax, ay), (bx, by) in zip(points, points[1:], strict=False):
        if math.hypot(bx - ax, by - ay) < 0.01:
            raise MapError(f"two points of a road lie at one place, ({ax}, {ay})")
        headings.append(math.atan2(by - ay, bx - ax))
        lengths.append(math.hypot(bx - ax, by - ay))

    turns = [turn(a, b) for a, b in zip(headings, headings[1:], strict=False)]
    for point, angle in zip(points[1:], turns, strict=False):
        if abs(angle) > math.radians(170):
            raise MapError(f"the bend at {point} turns back by {math.degrees(abs(angle)):.0f} degrees, at most 170")
    tangents = [0.0, *(r * math.tan(abs(angle) / 2) for r, angle in zip(radii, turns, strict=True)), 0.0]

    curve: Curve = []
    for k, (heading, distance) in enumerate(zip(headings, lengths, strict=True)):
        straight = distance - tangents[k] - tangents[k + 1]
        if straight < -TINY:
            raise MapError(
                f"from {points[k]} to {points[k + 1]} it is {distance:.2f} m, but the arcs there need "
                f"{distance - straight:.2f} m: choose smaller radii or move a point"
            )
        if straight > TINY:
            curve.append(Piece(*ahead(Pose(*points[k], heading), tangents[k]), straight, 0.0))
        if k < len(turns) and abs(turns[k]) > TINY:
            at = ahead(Pose(*points[k], heading), distance - tangents[k + 1])
            curve.append(Piece(*at, radii[k] * abs(turns[k]), math.copysign(1 / radii[k], turns[k])))
    return curve


def connect(first: Pose, last: Pose, lead: float = 0.0) -> Curve:
    """A smooth curve from one pose to another that begins and ends straight for `lead` at least.

    It is the gentler of two: line, arc, line, which wants its corner ahead of both ends, and two arcs in a row.
    """
    inner_first, inner_last = ahead(first, lead), ahead(last, -lead)
    arcs = _two_arcs(inner_first, inner_last)
    corner = _one_arc(inner_first, inner_last)
    # A little in favour of the corner: where both are the same arc, rounding must not decide.
    inner = corner if corner and min_radius(corner) > 0.9 * min_radius(arcs) else arcs
    leads = [Piece(*first, lead, 0.0)], [Piece(*inner_last, lead, 0.0)]
    return [piece for piece in (*leads[0], *inner, *leads[1]) if piece.length > TINY]


def _one_arc(first: Pose, last: Pose) -> Curve | None:
    angle = turn(first.heading, last.heading)
    if abs(angle) < 0.02:
        return None
    dx, dy = last.x - first.x, last.y - first.y
    # Distances from both ends to the corner where their straight lines meet.
    before = (dx * math.sin(last.heading) - dy * math.cos(last.heading)) / math.sin(angle)
    behind = (dy * math.cos(first.heading) - dx * math.sin(first.heading)) / math.sin(angle)
    tangent = min(before, behind)
    if tangent < 0.01 or abs(angle) > math.radians(170):
        return None
    radius = tangent / math.tan(abs(angle) / 2)
    arc = Piece(*ahead(first, before - tangent), radius * abs(angle), math.copysign(1 / radius, angle))
    return [Piece(*first, before - tangent, 0.0), arc, Piece(*ahead(last, tangent - behind), behind - tangent, 0.0)]


def _two_arcs(first: Pose, last: Pose) -> Curve:
    """Biarc with equal tangents: both arcs touch the line through their joint."""
    dx, dy = last.x - first.x, last.y - first.y
    c0, s0, c1, s1 = (f(h) for h in (first.heading, last.heading) for f in (math.cos, math.sin))
    # The tangent length solves 2 (1 - t0.t1) d^2 + 2 v.(t0 + t1) d - v.v = 0; this form of the root is fine for t0 = t1.
    along, bend, square = dx * (c0 + c1) + dy * (s0 + s1), 2 * (1 - c0 * c1 - s0 * s1), dx * dx + dy * dy
    tangent = square / (along + math.sqrt(along * along + bend * square))
    joint_x, joint_y = (first.x + last.x + tangent * (c0 - c1)) / 2, (first.y + last.y + tangent * (s0 - s1)) / 2

    before = _arc(first, joint_x, joint_y)
    return [before, _arc(walk(before, before.length), last.x, last.y)]


def _arc(first: Pose, x: float, y: float) -> Piece:
    """The arc that leaves a pose and ends at a point."""
    chord = math.hypot(x - first.x, y - first.y)
    half = turn(first.heading, math.atan2(y - first.y, x - first.x))
    if abs(half) < TINY:
        return Piece(*first, chord, 0.0)
    return Piece(*first, chord * half / math.sin(half), 2 * math.sin(half) / chord)


def knots(curve: Curve, tolerance: float = 0.002) -> list[Pose]:
    """Poses along a curve for cubic pieces whose end tangents are as long as the chord; headings are continuous.

    Such a cubic leaves an arc of angle a and radius r by r a^4 / 128 at most; `tolerance` [m] bounds that.
    """
    poses, bent = [start(curve)], True
    for piece in curve:
        if piece.curvature == 0.0 and not bent:
            poses.pop()  # a straight line goes on
        bent = piece.curvature != 0.0
        largest = (128 * tolerance * abs(piece.curvature)) ** 0.25 if bent else math.inf
        # Less a little: where the angle is a multiple of the step, rounding must not add a knot.
        parts = max(1, math.ceil(abs(piece.curvature) * piece.length / largest - TINY))
        poses += [walk(piece, piece.length * (k + 1) / parts) for k in range(parts)]
    far = [poses[0]]
    for pose in poses[1:-1]:
        # A cubic bridges a short piece well, but two knots in one place say nothing about the direction between them.
        if min(math.dist(pose[:2], other[:2]) for other in (far[-1], poses[-1])) > SHORT:
            far.append(pose)
    return [*far, poses[-1]]
