"""Trajectories for Waymax: an .npz file with the fields of its `datatypes.Trajectory`.

`Trajectory(**{name: jnp.asarray(array) for name, array in np.load(path).items() if name not in ("ids", "scenario_id")})`
makes one of it, to be scored by Waymax's own metrics. Tested with a stub of that class.
"""

import os
from pathlib import Path

import numpy as np

from gigaflow_env.files import replacing
from gigaflow_train.evaluate.trajectories import Trajectories, check

HEIGHTS = {"vehicle": 1.6, "pedestrian": 1.75, "cyclist": 1.75, "other": 1.0}
"""[m] By kind: neither a Scenario nor the simulator has heights, and Waymax's metrics use none. Ours."""
INVALID = -1.0
"""What Waymax has where an agent is not there."""


def arrays(trajectories: Trajectories) -> dict[str, np.ndarray]:
    """The fields of a Waymax Trajectory, (objects, timesteps): float32, `valid` bool, `timestamp_micros` int32.

    Raises ValueError where trajectories are not consistent.
    """
    check(trajectories)
    valid = trajectories.valid
    heights = np.array([HEIGHTS[kind] for kind in trajectories.kinds])[:, None]
    named = {
        "x": trajectories.x, "y": trajectories.y, "z": trajectories.z, "vel_x": trajectories.velocity_x,
        "vel_y": trajectories.velocity_y, "yaw": trajectories.heading, "length": trajectories.length,
        "width": trajectories.width, "height": np.broadcast_to(heights, valid.shape),
    }  # fmt: skip
    made = {name: np.where(valid, given, INVALID).astype(np.float32) for name, given in named.items()}
    times = np.rint(np.arange(trajectories.steps) * trajectories.dt * 1e6).astype(np.int32)
    return made | {"valid": valid.copy(), "timestamp_micros": np.where(valid, times, np.int32(INVALID))}


def write(trajectories: Trajectories, path: str | os.PathLike[str], scenario_id: str = "") -> None:
    """Write `arrays`, the ids of the agents and the scene's to an .npz file, whole or not at all. Raises ValueError."""
    if Path(path).suffix != ".npz":
        raise ValueError(f"{path}: a file for Waymax ends in .npz")
    made = arrays(trajectories) | {"ids": np.array(trajectories.ids), "scenario_id": np.array(scenario_id)}
    with replacing(Path(path)) as part:
        np.savez_compressed(part, **made)  # type: ignore[arg-type]
