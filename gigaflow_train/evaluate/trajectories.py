"""Trajectories: what all metrics of scenes take. NumPy only, float64, a row an agent, a column a moment."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gigaflow_env.roads.scenario import AGENT_KINDS, Scenario

ARRAYS = ("x", "y", "z", "heading", "velocity_x", "velocity_y", "length", "width")
"""Names of the arrays that are NaN where an agent is not there."""


class Trajectories(NamedTuple):
    """Where `agents` road users were at `steps` moments `dt` apart. Arrays are (agents, steps); NaN where not valid."""

    dt: float  # [s]
    ids: tuple[str, ...]  # (agents,)
    kinds: tuple[str, ...]  # (agents,) each one of AGENT_KINDS
    valid: np.ndarray  # bool
    x: np.ndarray  # [m] middle of the box
    y: np.ndarray  # [m]
    z: np.ndarray  # [m]
    heading: np.ndarray  # [rad] counter-clockwise from x
    velocity_x: np.ndarray  # [m/s]
    velocity_y: np.ndarray  # [m/s]
    length: np.ndarray  # [m]
    width: np.ndarray  # [m]

    @property
    def agents(self) -> int:
        """Number of road users."""
        return self.valid.shape[0]

    @property
    def steps(self) -> int:
        """Number of moments."""
        return self.valid.shape[1]

    @property
    def speed(self) -> np.ndarray:
        """Magnitude of the velocity [m/s], (agents, steps)."""
        return np.hypot(self.velocity_x, self.velocity_y)

    @property
    def boxes(self) -> np.ndarray:
        """x, y, heading, length, width: (agents, steps, 5)."""
        return np.stack([self.x, self.y, self.heading, self.length, self.width], axis=-1)


def from_scenario(scenario: Scenario) -> Trajectories:
    """The tracks of a recording."""
    arrays = (getattr(scenario, name) for name in ARRAYS)
    return Trajectories(scenario.dt, scenario.ids, scenario.kinds, scenario.valid, *arrays)


def of(
    trajectories: Trajectories, agents: Sequence[int] | np.ndarray | None = None, steps: slice = slice(None)
) -> Trajectories:
    """Some agents, in the order given, at some moments; None: all agents. steps has no stride."""
    rows = np.arange(trajectories.agents) if agents is None else np.asarray(agents, int)
    arrays = (array[rows][:, steps] for array in trajectories[3:])
    ids, kinds = (tuple(names[row] for row in rows) for names in (trajectories.ids, trajectories.kinds))
    return Trajectories(trajectories.dt, ids, kinds, *arrays)


def check(trajectories: Trajectories) -> None:
    """Raises ValueError for the first thing that is wrong, naming array, agent and step."""
    valid = trajectories.valid
    if valid.ndim != 2 or valid.dtype != bool:
        raise ValueError(f"valid is {valid.dtype} {valid.shape}: it must be bool (agents, steps)")
    if not (math.isfinite(trajectories.dt) and trajectories.dt > 0.0):
        raise ValueError(f"dt={trajectories.dt} s must be above 0")
    for name in ("ids", "kinds"):
        if len(getattr(trajectories, name)) != len(valid):
            raise ValueError(f"{len(getattr(trajectories, name))} {name} for {len(valid)} agents")
    for agent, kind in enumerate(trajectories.kinds):
        if kind not in AGENT_KINDS:
            raise ValueError(f"agent {trajectories.ids[agent]}: kind {kind!r} is not one of {', '.join(AGENT_KINDS)}")
    for name in ARRAYS:
        array = getattr(trajectories, name)
        if array.shape != valid.shape or array.dtype != np.float64:
            raise ValueError(f"{name} is {array.dtype} {array.shape}: it must be float64 {valid.shape}")
        bad = np.where(valid, ~np.isfinite(array), ~np.isnan(array))
        if name in ("length", "width"):
            bad |= valid & ~(array > 0.0)
        if bad.any():
            agent, step = np.argwhere(bad)[0]
            wanted = "finite" + (" and above 0" if name in ("length", "width") else "")
            wanted = wanted if valid[agent, step] else "NaN, for it is not valid"
            raise ValueError(f"agent {trajectories.ids[agent]}, step {step}: {name}={array[agent, step]} must be {wanted}")


def same_agents(simulated: Trajectories, logged: Trajectories) -> None:
    """Raises ValueError unless two trajectories are about the same agents at the same moments."""
    if simulated.ids != logged.ids or simulated.valid.shape != logged.valid.shape or simulated.dt != logged.dt:
        raise ValueError(
            f"{simulated.agents} agents, {simulated.steps} steps of {simulated.dt} s were simulated and "
            f"{logged.agents} agents, {logged.steps} steps of {logged.dt} s logged: they must be the same, in the same order"
        )


def wrapped(angle: np.ndarray) -> np.ndarray:
    """Angles [rad] in -pi..pi."""
    return (angle + np.pi) % (2.0 * np.pi) - np.pi
