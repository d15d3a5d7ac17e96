"""The last step of every import: what still makes no consistent map is mended or left out, and reported."""

import math
from dataclasses import replace

import numpy as np
import shapely

from gigaflow_env.roads.import_report import fault
from gigaflow_env.roads.road_map import (
    DEFAULT_SPEED,
    LANE_KINDS,
    SIGNAL_KINDS,
    WIDTH,
    Crosswalk,
    Lane,
    RoadMap,
    Signal,
    program_fault,
)

APART = 0.01
"""[m] Knots nearer to each other are one."""
LEAST_AREA = 0.01
"""[m2] Ours: less is no place to cross a road."""


def mended(road_map: RoadMap) -> RoadMap:
    """A map that `validate` accepts if any driving lane is left. Raises MapError where reading is strict."""
    lanes = {name: line for name, lane in road_map.lanes.items() if (line := _lane(lane)) is not None}
    signals = {name: _signal(signal) for name, signal in road_map.signals.items() if signal.kind in SIGNAL_KINDS}
    crosswalks = {name: crosswalk for name, crosswalk in road_map.crosswalks.items() if _has_area(crosswalk)}
    lanes = {name: _linked(lane, lanes, signals) for name, lane in lanes.items()}
    lanes = {name: _agreed(lane, lanes) for name, lane in lanes.items()}
    return replace(road_map, lanes=lanes, signals=signals, crosswalks=crosswalks)


def _lane(lane: Lane) -> Lane | None:
    """A lane with a proper line and limit; None: it can't have one."""
    line, place = lane.line, _place(lane.line)
    if lane.kind not in LANE_KINDS or line.ndim != 2 or line.shape[1:] != (5,) or not np.isfinite(line).all():
        fault("lane", lane.id, f"its kind {lane.kind!r} or its line is none", "left out")
        return None
    line = _without_close_knots(lane)
    least = line[:, WIDTH].min() if len(line) > 1 else 0.0
    if len(line) < 2 or least < 0 or (lane.kind == "driving" and least == 0) or line[:, WIDTH].max() == 0:
        fault(
            "lane", lane.id, f"{len(line)} knots, {least:.3f} m wide", "left out", place=place, amount=least, unit="m wide"
        )
        return None
    speed = lane.speed
    if not (speed > 0 and math.isfinite(speed)):
        fault("value", lane.id, f"speed {speed} m/s", f"{DEFAULT_SPEED} m/s taken", place=place)
        speed = DEFAULT_SPEED
    return lane if line is lane.line and speed == lane.speed else replace(lane, line=line, speed=speed)


def _without_close_knots(lane: Lane) -> np.ndarray:
    line = lane.line
    if len(line) < 2:
        return line
    gaps = np.hypot(*np.diff(line[:, :2], axis=0).T)
    if gaps.min() >= APART:
        return line
    kept = [0]
    for row in range(1, len(line)):
        if math.dist(line[row, :2], line[kept[-1], :2]) >= APART:
            kept.append(row)
    if kept[-1] != len(line) - 1 and len(kept) > 1:
        kept[-1] = len(line) - 1  # the end stays where links meet it
        while len(kept) > 2 and math.dist(line[kept[-1], :2], line[kept[-2], :2]) < APART:
            del kept[-2]
    fault(
        "geometry", lane.id, f"knots {gaps.min():.4f} m apart", f"{len(line) - len(kept)} left out",
        place=_place(line), amount=float(len(line) - len(kept)), unit="knots",
    )  # fmt: skip
    return line[kept]


def _signal(signal: Signal) -> Signal:
    """A signal whose program can run; else the one that is made for it does."""
    if signal.program is None or (wrong := program_fault(signal.program)) is None:
        return signal
    fault("signal", signal.id, wrong, "its program is left out")
    return replace(signal, program=None)


def _has_area(crosswalk: Crosswalk) -> bool:
    outline = crosswalk.outline
    if outline.ndim != 2 or outline.shape[1:] != (3,) or len(outline) < 3 or not np.isfinite(outline).all():
        fault("crosswalk", crosswalk.id, f"an outline of {len(outline)} corners: at least 3 make an area", "left out")
        return False
    area = float(shapely.MultiPoint(outline[:, :2]).convex_hull.area)
    if area < LEAST_AREA:
        fault(
            "crosswalk", crosswalk.id, f"an area of {area:.2g} m2", "left out", place=_place(outline), amount=area, unit="m2"
        )
    return area >= LEAST_AREA


def _linked(lane: Lane, lanes: dict[str, Lane], signals: dict[str, Signal]) -> Lane:
    """The lane without references to what is not there or no driving lane."""

    def reachable(other: str | None) -> bool:
        return other in lanes and lane.kind == lanes[other].kind == "driving" and other != lane.id

    successors = tuple(dict.fromkeys(o for o in lane.successors if o in lanes and lane.kind == lanes[o].kind == "driving"))
    left, right = (other if other is None or reachable(other) else None for other in (lane.left, lane.right))
    left = None if left is not None and left == right else left
    signal = lane.signal if lane.signal in signals else None
    twin = lane.twin if lane.twin in lanes and lanes[lane.twin].twin == lane.id else None
    if (successors, left, right, signal, twin) == (lane.successors, lane.left, lane.right, lane.signal, lane.twin):
        return lane
    for role, before, after in (
        ("successor", lane.successors, successors),
        ("left neighbour", (lane.left,), (left,)),
        ("right neighbour", (lane.right,), (right,)),
        ("signal", (lane.signal,), (signal,)),
    ):
        for other in set(before) - set(after):
            fault(
                "reference",
                lane.id,
                f"{role} {other!r} is not there, or no driving lane",
                "left out",
                place=_place(lane.line),
            )
    return replace(lane, successors=successors, left=left, right=right, signal=signal, twin=twin)


def _agreed(lane: Lane, lanes: dict[str, Lane]) -> Lane:
    """The lane without neighbours that have another one on their side."""
    for side, back in (("left", "right"), ("right", "left")):
        beside = getattr(lane, side)
        if beside is not None and getattr(lanes[beside], back) not in (None, lane.id):
            fault("reference", lane.id, f"{beside!r} on its {side} has another lane on its {back}", "no lane change")
            lane = replace(lane, left=None) if side == "left" else replace(lane, right=None)
    return lane


def _place(line: np.ndarray) -> tuple[float, float] | None:
    if line.ndim != 2 or not line.size or not np.isfinite(line[0, :2]).all():
        return None
    return float(line[0, 0]), float(line[0, 1])
