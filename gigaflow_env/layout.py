"""Actions, the blocks of an observation, and where each lies.

The one declaration for spaces, kernels, policies and tables.
"""

from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.config import CONDITIONING, Config
from gigaflow_env.declare import fields, number

LONGITUDINAL_JERKS = (-15.0, -4.0, 0.0, 4.0)
"""[m/s^3] Source: arXiv 2502.03349, App. B.2 (A)."""
LATERAL_JERKS = (-4.0, 0.0, 4.0)
"""[m/s^3], left positive."""
JERK_RANGE = ((LONGITUDINAL_JERKS[0], LONGITUDINAL_JERKS[-1]), (LATERAL_JERKS[0], LATERAL_JERKS[-1]))
"""[m/s^3] What -1 and 1 mean in a continuous action, longitudinal and lateral. 0 is no jerk, and linear on either side."""
ACTIONS = len(LONGITUDINAL_JERKS) * len(LATERAL_JERKS)
"""action = 3 * longitudinal index + lateral index."""
NO_JERK = LONGITUDINAL_JERKS.index(0.0) * len(LATERAL_JERKS) + LATERAL_JERKS.index(0.0)
"""The action that changes neither acceleration."""

GOALS = 4
"""Entries of the goal block: up to three way-points and the final goal."""


FLOAT32, FLOAT16, BFLOAT16 = range(3)
OBS_DTYPES = {"float32": FLOAT32, "float16": FLOAT16, "bfloat16": BFLOAT16}
"""Types of the observation: half precision halves the bytes that a step writes and a policy reads."""


def as_floats(observations: np.ndarray, obs_dtype: str) -> np.ndarray:
    """Observations in one of OBS_DTYPES as NumPy's floats. It has no bfloat16: that is the upper half of a float32."""
    if obs_dtype == "bfloat16":
        return (observations.astype(np.uint32) << 16).view(np.float32)
    return observations.view(np.float16) if obs_dtype == "float16" else observations


# Features are divided by these and clipped to [-1, 1].
OFFSET_SCALE = 5.0  # m
CURVATURE_SCALE = 0.2  # 1/m: the tightest curve a car can drive
SPEED_SCALE = 30.0  # m/s: 20 m/s times the largest C_vel
ACCELERATION_SCALE = 5.0  # m/s^2
COEFFICIENT_SCALE = 2.0  # C_acc, C_throttle, C_steer
LENGTH_SCALE = 8.0  # m
WIDTH_SCALE = 4.0  # m
LANE_WIDTH_SCALE = 10.0  # m
HEIGHT_SCALE = 10.0  # m


class Ego(NamedTuple):
    """The agent's lane position, motion and body."""

    offset: float = number("/ 5 m", "distance from the lane center, left positive")
    angle: float = number("/ pi", "heading relative to the lane")
    curvature: float = number("/ 0.2 1/m", "of the lane, left positive")
    speed: float = number("/ 30 m/s", "signed")
    speed_limit: float = number("/ 30 m/s", "the lower of the lane's limit and the agent's own top speed")
    steer: float = number("/ steer_max", "steering angle, left positive")
    acceleration: float = number("/ 5 m/s^2", "longitudinal")
    lateral: float = number("/ 5 m/s^2", "lateral acceleration, left positive")
    c_acc: float = number("/ 2", "coefficient of the strongest acceleration")
    c_throttle: float = number("/ 2", "coefficient of longitudinal jerk")
    c_steer: float = number("/ 2", "coefficient of lateral jerk")
    length: float = number("/ 8 m", "")
    width: float = number("/ 4 m", "")


CONDITIONING_BOUNDS = tuple(
    (0.0, 0.1) if name == "progress" else (0.0, 2 * high) if low == high else (low, high)
    for name in CONDITIONING
    for low, high in [getattr(Config(), name)]
)
"""What -1 and 1 mean for each coefficient: the published range; twice the value where the paper fixes one."""


Conditioning = NamedTuple("Conditioning", [(name, float) for name in CONDITIONING])  # type: ignore[misc]
Conditioning.__doc__ = "The agent's own reward coefficients, scaled by CONDITIONING_BOUNDS."
Conditioning._field_defaults = {  # type: ignore[attr-defined]
    name: number("range", Config.__dataclass_fields__[name].metadata["meaning"]) for name in CONDITIONING
}


class Goal(NamedTuple):
    """A goal that is still to be reached, next first. The last one fills the entries that are left."""

    x: float = number("/ view_range", "ahead of the agent")
    y: float = number("/ view_range", "left of the agent")
    final: float = number("0 or 1", "1 for the final goal, which counts only below goal_speed")


class LaneSample(NamedTuple):
    """A point on a lane. Where a map has fewer than lane_count, the last is repeated: a set does not change by that."""

    x: float = number("/ view_range", "ahead of the agent")
    y: float = number("/ view_range", "left of the agent")
    cos: float = number("", "lane direction in the agent's frame")
    sin: float = number("", "lane direction in the agent's frame")
    width: float = number("/ 10 m", "lane width")
    distance: float = number("/ route_range", "route distance to the next goal; 1 if far, or if no route leads there")
    relative: float = number("/ route_range", "the same minus the smallest of all samples")


class Boundary(NamedTuple):
    """A point on the edge of the road, 1 m apart. The last is repeated where there are fewer."""

    x: float = number("/ view_range", "ahead of the agent")
    y: float = number("/ view_range", "left of the agent")


class StopLine(NamedTuple):
    """A stop line with a working light; all 0 where there is none."""

    x: float = number("/ view_range", "ahead of the agent")
    y: float = number("/ view_range", "left of the agent")
    cos: float = number("", "direction of the traffic it stops, in the agent's frame")
    sin: float = number("", "direction of the traffic it stops, in the agent's frame")
    red: float = number("0 or 1", "")
    yellow: float = number("0 or 1", "")
    green: float = number("0 or 1", "")


class Neighbour(NamedTuple):
    """Another agent, nearest first; all 0 where there is none."""

    x: float = number("/ view_range", "ahead of the agent")
    y: float = number("/ view_range", "left of the agent")
    z: float = number("/ 10 m", "height above the agent")
    cos: float = number("", "heading in the agent's frame")
    sin: float = number("", "heading in the agent's frame")
    velocity_x: float = number("/ 30 m/s", "its velocity in the agent's frame, not relative to the agent")
    velocity_y: float = number("/ 30 m/s", "its velocity in the agent's frame")
    length: float = number("/ 8 m", "")
    width: float = number("/ 4 m", "")
    present: float = number("0 or 1", "")


class Blocks(NamedTuple):
    """An observation by name. All views share the observation's memory."""

    ego: Any  # (rows, 13)
    conditioning: Any  # (rows, 13)
    goals: Any  # (rows, 4, 3)
    lanes: Any  # (rows, config.lanes_kept, 7)
    boundaries: Any  # (rows, config.boundaries_kept, 2)
    stops: Any  # (rows, stop_count, 7)
    agents: Any  # (rows, agent_count, 10)


FEATURES = Blocks(Ego, Conditioning, Goal, LaneSample, Boundary, StopLine, Neighbour)
"""The declared features of each block."""


class Starts(NamedTuple):
    """First column of each block in an observation row, for the kernels."""

    ego: int
    conditioning: int
    goals: int
    lanes: int
    boundaries: int
    stops: int
    agents: int


class Layout:
    """Where each block lies in an observation row: `Layout(config).split(obs)` gives the blocks by name.

    size: number of columns. counts: elements of each block. starts: first column of each block.
    """

    def __init__(self, config: Config) -> None:
        self.counts = Blocks(1, 1, GOALS, config.lanes_kept, config.boundaries_kept, config.stop_count, config.agent_count)
        widths = [count * len(fields(group)) for count, group in zip(self.counts, FEATURES, strict=True)]
        ends = np.cumsum(widths)
        columns = [np.int32(end - width) for end, width in zip(ends, widths, strict=True)]
        self.starts = Starts(*columns)  # type: ignore[arg-type]
        self.size = int(ends[-1])

    def split(self, obs: Any) -> Blocks:
        """Views of an observation, numpy or torch, shape (..., size).

        Ego and conditioning (..., features), sets (..., count, features).
        """
        if obs.shape[-1] != self.size:
            raise ValueError(f"the observation has {obs.shape[-1]} columns, this layout {self.size}")
        views = []
        for start, count, group in zip(self.starts, self.counts, FEATURES, strict=True):
            features = len(fields(group))
            view = obs[..., int(start) : int(start) + count * features]
            is_set = group not in (Ego, Conditioning)
            views.append(view.reshape((*obs.shape[:-1], count, features)) if is_set else view)
        return Blocks(*views)
