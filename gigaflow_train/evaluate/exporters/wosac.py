"""Rollouts for the Waymo Open Sim Agents Challenge: a `ScenarioRollouts` message as the challenge's evaluation takes it.

Source: sim_agents_submission.proto of the Waymo Open Dataset. Its server and its library were not at hand: the bytes are
tested against the decoder of this package.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gigaflow_env.files import replacing
from gigaflow_env.roads.formats.waymo.protobuf import encode
from gigaflow_train.evaluate.trajectories import Trajectories, check

ROLLOUTS = 32
STEPS = 80
"""After the 11 steps of history: 8 s at 10 Hz."""
DT = 0.1


def rollouts(scenario_id: str, simulated: Sequence[Trajectories]) -> bytes:
    """The message of one scene. simulated: ROLLOUTS, each with the STEPS after the history of all agents at its end.

    Agents have the numbers of the data set as ids. Raises ValueError that names rollout and agent where something else is
    given: the challenge takes complete rollouts only.
    """
    if len(simulated) != ROLLOUTS:
        raise ValueError(f"scene {scenario_id!r} has {len(simulated)} rollouts: the challenge takes {ROLLOUTS}")
    scenes = []
    for number, one in enumerate(simulated):
        where = f"scene {scenario_id!r}, rollout {number}"
        check(one)
        if one.steps != STEPS or one.dt != DT:
            raise ValueError(f"{where} has {one.steps} steps of {one.dt} s: the challenge takes {STEPS} of {DT} s")
        if one.ids != simulated[0].ids:
            raise ValueError(f"{where} has other agents than rollout 0")
        scenes.append(encode([(1, _trajectory(one, agent, where)) for agent in range(one.agents)]))
    return encode([(1, scenario_id), *((2, scene) for scene in scenes)])


def write(scenario_id: str, simulated: Sequence[Trajectories], path: str | os.PathLike[str]) -> None:
    """Write the message of `rollouts` to a file, whole or not at all."""
    data = rollouts(scenario_id, simulated)
    with replacing(Path(path)) as part:
        part.write_bytes(data)


def _trajectory(one: Trajectories, agent: int, where: str) -> bytes:
    name = one.ids[agent]
    if not name.removeprefix("-").isdecimal():
        raise ValueError(f"{where}: agent {name!r}: ids of the data set are whole numbers")
    if not one.valid[agent].all():
        step = int(np.argmin(one.valid[agent]))
        raise ValueError(f"{where}: agent {name} is not there at step {step}: an agent stays to the end")
    columns = (one.x[agent], one.y[agent], one.z[agent], one.heading[agent])
    return encode([*((key, column.astype(np.float32)) for key, column in enumerate(columns, 2)), (6, int(name))])
