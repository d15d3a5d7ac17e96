"""Recorded scenes made by hand on the T crossing of conftest.py. Along y = -1.75 cars drive to the east."""

import dataclasses
import math

import numpy as np
from conftest import crossing

from gigaflow_env.roads import Scenario

STEPS, DT = 41, 0.1
EGO, LEADER, ONCOMING, CYCLIST, PEDESTRIAN, PARKED = range(6)
KINDS = ("vehicle", "vehicle", "vehicle", "cyclist", "pedestrian", "vehicle")
SIZES = ((4.5, 2.0), (4.5, 2.0), (8.0, 2.4), (1.8, 0.8), (0.8, 0.8), (4.5, 2.0))
FIRST_SEEN, LAST_SEEN = 10, 25
"""Moments between which the cyclist is seen."""
TURNS_GREEN = 20

# Start x, y [m], heading [rad] and speed [m/s] of each.
STARTS = (
    (-60.0, -1.75, 0.0, 10.0), (-30.0, -1.75, 0.0, 10.0), (60.0, 1.75, math.pi, 8.0), (-50.0, -3.3, 0.0, 5.0),
    (10.0, -3.0, math.pi / 2, 1.2), (-40.0, -9.0, 0.1, 0.0),
)  # fmt: skip


def scenario(name="by hand", steps=STEPS, starts=STARTS, **changes):
    """Six road users that drive on straight lines."""
    time = np.arange(steps) * DT
    valid = np.ones((len(starts), steps), bool)
    if len(starts) > CYCLIST:
        valid[CYCLIST] = (np.arange(steps) >= FIRST_SEEN) & (np.arange(steps) <= LAST_SEEN)
    x, y, heading, speed = (np.array(column)[:, None] for column in zip(*starts, strict=True))
    tracks = {
        "x": x + speed * np.cos(heading) * time,
        "y": y + speed * np.sin(heading) * time,
        "z": np.zeros(valid.shape),
        "heading": heading + 0 * time,
        "velocity_x": speed * np.cos(heading) + 0 * time,
        "velocity_y": speed * np.sin(heading) + 0 * time,
        "length": np.array([size[0] for size in SIZES[: len(starts)]])[:, None] + 0 * time,
        "width": np.array([size[1] for size in SIZES[: len(starts)]])[:, None] + 0 * time,
    }
    light = np.where(np.arange(steps) < TURNS_GREEN, 3, 1).astype(np.int8)
    made = Scenario(
        name=name,
        dt=DT,
        ids=tuple(f"agent {k}" for k in range(len(starts))),
        kinds=KINDS[: len(starts)],
        valid=valid,
        **{name: np.where(valid, track, np.nan) for name, track in tracks.items()},
        lights={"light west": light, "light east": np.full(steps, 4, np.int8)},
        ego=EGO,
        predict=(EGO, LEADER),
        source="tests",
    )
    return dataclasses.replace(made, **changes)


def scene(**changes):
    """Map and Scenario, as `scenes` takes them."""
    return crossing(lights=True), scenario(**changes)
