"""A scene with everything that a file can hold: a road with a light, a sign and a crosswalk, a car and a walker."""

from dataclasses import fields, replace
from typing import Any

import numpy as np

from gigaflow_env.roads import Crosswalk, Entry, Lane, Phase, Program, RoadMap, Scenario, Signal
from gigaflow_env.roads.scenario import masked

VALID = np.array([[True] * 6, [False, True, True, True, False, False]])


def road() -> RoadMap:
    """A street along x of 100 m, the second half of which obeys a light, and a lane beside its first half."""
    first = Lane("first", np.array([(0.0, 0, 0, 0, 3.5), (50, 0, 0, 0, 3.5)]), successors=("second",), left="beside")
    beside = Lane("beside", np.array([(0.0, 3.5, 0, 0, 3.5), (50, 3.5, 0, 0, 3.5)]), right="first", signal="sign")
    second = Lane("second", np.array([(50.0, 0, 0, 0, 3.5), (75, 0, 0, 0, 3.5), (100, 0, 0, 0, 1 / 3)]), signal="light",
                  junction="j", speed=1 / 7)  # fmt: skip
    program = Program((Phase("green", 7.5), Phase("red", 1 / 3)), 2.0)
    signals = {"light": Signal("light", "light", "j", 1, program), "sign": Signal("sign", "stop")}
    zebra = Crosswalk("zebra", np.array([(20.0, -2, 0), (23, -2, 0), (23, 6, 0), (20, 6, 0)]))
    report = (Entry("lane", "third", "left out", 7, (1.0, 2.0), 0.1, "m"),)
    return RoadMap("small", {lane.id: lane for lane in (first, beside, second)}, signals, {"zebra": zebra}, True, "by hand",
                   "CC0", "nobody", report)  # fmt: skip


def scenario() -> Scenario:
    """A car that drives along the street at 10 m/s, and a walker who is seen for three steps."""
    x = np.array([10.0 + np.arange(6), np.full(6, 1 / 3)])
    zero = masked(np.zeros((2, 1)), VALID)
    return Scenario(
        name="small", dt=0.1, ids=("car", "walker"), kinds=("vehicle", "pedestrian"), valid=VALID, x=masked(x, VALID),
        y=masked(np.array([[0.0], [5.0]]), VALID), z=zero, heading=zero, velocity_x=masked(np.array([[10.0], [0.0]]), VALID),
        velocity_y=zero, length=masked(np.array([[4.5], [0.6]]), VALID), width=masked(np.array([[2.0], [0.6]]), VALID),
        lights={"light": np.array([3, 3, 3, 1, 1, 4], np.int8)}, ego=0, predict=(0, 1), source="by hand",
        road_edges=(np.array([(0.0, -1.75, 0), (99, -1.75, 1 / 3)]), np.array([(9.0, 5, 0), (5, 5.25, 0), (0, 5.25, 0)])),
        tags=("following_lane", "stopping"),
    )  # fmt: skip


def placed(*boxes: tuple[float, float, float], kinds: tuple[str, ...] = (), **changes: float) -> Scenario:
    """Cars of 4 m by 2 m that stand at x, y with a heading for three steps; changes: a number for all tracks."""
    rows = np.array(boxes, float)
    valid = np.ones((len(boxes), 3), bool)
    names = ("x", "y", "heading", "z", "velocity_x", "velocity_y", "length", "width")
    tracks = {name: np.zeros(valid.shape) for name in names}
    for name, column in zip(names[:3], rows.T, strict=True):
        tracks[name] = masked(column[:, None], valid)
    tracks |= {"length": np.full(valid.shape, 4.0), "width": np.full(valid.shape, 2.0)}
    tracks |= {name: np.full(valid.shape, value) for name, value in changes.items()}
    ids = tuple(map(str, range(len(boxes))))
    return replace(
        scenario(),
        ids=ids,
        road_edges=(),
        tags=(),
        kinds=kinds or ("vehicle",) * len(boxes),
        valid=valid,
        lights={},
        predict=(),
        **tracks,
    )


def equal(one: Any, other: Any) -> bool:
    """Whether two maps or scenarios are the same, bit for bit."""
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, tuple) and one and isinstance(one[0], np.ndarray):
        return len(one) == len(other) and all(map(equal, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(equal(one[key], other[key]) for key in one)
    if hasattr(one, "__dataclass_fields__"):
        return type(one) is type(other) and all(equal(getattr(one, f.name), getattr(other, f.name)) for f in fields(one))
    return bool(one == other) and type(one) is type(other)
