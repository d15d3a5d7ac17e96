"""A part of a world's life, ready to be written: its moments, and what stays the same meanwhile."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.replay.frame import BIT, Frame
from gigaflow_env.roads.road_map import RoadMap


class Moment(NamedTuple):
    """A frame and what lies behind it."""

    frame: Frame
    bodies: np.ndarray  # int32 (agents,): of each row, an index into the recorder's bodies; -1: never drove
    probabilities: np.ndarray | None  # float32 (agents, actions)
    values: np.ndarray | None  # float32 (agents,)
    terms: np.ndarray  # (agents, TERMS)
    sets: np.ndarray  # int32 (agents,): what lanes and edges each sees, an index into the recorder's sets; -1: nothing
    distances: np.ndarray  # (agents, samples) [m]
    colours: np.ndarray  # int8 (agents, stops)
    others: np.ndarray  # int32 (agents, neighbours)


class Clip(NamedTuple):
    """A part of what was recorded, ready to be written."""

    title: str
    road_map: RoadMap
    origin: tuple[float, float]  # [m] of the tables' coordinates in those of the map
    warp: tuple[float, float, float, float]  # the map variant: x' = a x + b y, y' = c x + d y
    dt: float  # [s]
    route_range: float  # [m]
    moments: list[Moment]
    bodies: list[dict[str, Any]]
    sets: list[tuple[np.ndarray, np.ndarray, np.ndarray]]  # lanes (samples, 2), edges (points, 2), stops (stops, 2) [m]
    focus: int = -1  # row to look at first
    start: float | None = None  # [s] moment at which to begin


def _went(frame: Frame, row: int, dt: float) -> tuple[float, float]:
    """Where a row comes to in one more step [m], straight on."""
    way = float(frame.speed[row]) * dt
    return float(frame.x[row]) + way * math.cos(frame.heading[row]), float(frame.y[row]) + way * math.sin(frame.heading[row])


def events(clip: Clip) -> Iterator[dict[str, Any]]:
    """What happened, in order: frame, kind, row, place [m], the row that it met in a collision, and whose fault it was."""
    for number, (before, moment) in enumerate(zip([None, *clip.moments], clip.moments, strict=False)):
        frame = moment.frame
        for kind in ("collision", "offroad", "red_light", "route_done", "goal", "timeout"):
            rows = np.flatnonzero(frame.flags & BIT[kind])
            if kind == "goal":
                rows = rows[(frame.flags[rows] & BIT["route_done"]) == 0]
            for row in rows.tolist():
                x, y = float(frame.hit_x[row]), float(frame.hit_y[row])
                if math.isnan(x):
                    gone = before is not None and before.frame.episode[row] != frame.episode[row]
                    x, y = _went(before.frame, row, clip.dt) if gone and before else (frame.x[row], frame.y[row])
                yield {
                    "frame": number, "kind": kind, "row": row, "x": round(float(x), 2), "y": round(float(y), 2),
                    "fault": bool(frame.flags[row] & BIT["fault"]),
                }  # fmt: skip
