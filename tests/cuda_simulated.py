"""Drives a scene on the simulated CUDA device and writes what became of it: `python cuda_simulated.py SCENE OUT.npz`.

A process of its own, with NUMBA_ENABLE_CUDASIM=1, as Numba decides at import whether CUDA is simulated. Without the
variable it drives the same scene on the CPU: test_cuda.py compares the two.
"""

import sys
import warnings
from unittest import mock

import numpy as np
from conftest import crossing, key, motorway

from gigaflow_env import snapshot
from gigaflow_env.backend import world_step
from gigaflow_env.config import laptop
from gigaflow_env.event_log import EventLog
from gigaflow_env.jit import SIMULATED
from gigaflow_env.simulator import Simulator
from gigaflow_env.snapshot import WORKSPACE

STEPS = 12
REMEMBERED = 5
"""Of so many steps one is observed anew."""
SMALL = laptop().replace(
    agents_per_world=5, world_steps=8, lane_count=5, boundary_count=6, agent_count=3, stop_count=2, lights_off=0.0
)
SCENES = {
    "same step": {"mode": world_step.SAME_STEP},
    "next step": {"mode": world_step.NEXT_STEP},
    "continue": {"config": SMALL.replace(on_crash="continue", on_route_done="new_route", waypoints_max=3)},
    "the paper's world": {
        "config": SMALL.replace(
            population={"any": 0.5, "truck": 0.25, "pedestrian": 0.25},
            agents_per_world=(2, 5),
            on_crash="freeze",
            freeze_time=0.9,
            inattentive=0.5,
            phantom=0.5,
            lane_dropout=0.5,
            boundary_dropout=0.4,
            noise_position=0.2,
            noise_heading=0.02,
            noise_speed=0.3,
            variant_scale=(0.85, 1.2),
            variant_shear=(-0.15, 0.15),
            variant_flip=0.5,
            variant_turn=(-3, 3),
        ),
        "map_shares": (1, 1),
    },
    "float16": {"obs_dtype": "float16"},
    "bfloat16": {"obs_dtype": "bfloat16"},
    "traffic": {"drivers": {"policy": 0.4, "idm": 0.6}},
    "continuous": {"continuous": True},
}


def drive(name: str) -> dict[str, np.ndarray]:
    """All arrays after every step, by step and name; the event log; observations of some steps, made anew."""
    arguments = {"config": SMALL, **SCENES[name]}
    backend = "cuda" if SIMULATED else "cpu"
    sim = Simulator([motorway(), crossing(lights=True)], 9, backend=backend, threads=None, **arguments)
    log = EventLog(sim)
    sim.contacts = log.contacts
    sim.reset(key(7))
    found, sights = {}, []
    rng = np.random.default_rng(0)
    for step in range(STEPS):
        if step == 1:  # agent 1 is put upon agent 0: a crash for the log
            for array in (sim.state.pose.x, sim.state.pose.y, sim.state.pose.z, sim.state.pose.cos, sim.state.pose.sin):
                values = sim.host(array).copy()
                values[:, 1] = values[:, 0]
                sim.write(array, values)
        if step:
            discrete = rng.choice([3, 6, 7, 8, 9, 10, 10, 11], sim.rows)
            sim.step(rng.uniform(-1, 1, (sim.rows, 2)) if sim.wanted.size else discrete)
            log.add(sim)
        if step == STEPS // 2:  # a partial reset, too
            sim.reset(None, np.arange(sim.rows) % 4 == 1)
        for group, arrays in sim.state._asdict().items():
            for array, values in arrays._asdict().items():
                if f"{group}.{array}" not in WORKSPACE:
                    found[f"{step} {group}.{array}"] = sim.host(values).copy()
        found[f"{step} obs"] = sim.host(sim.observations).copy()
        found[f"{step} final_obs"] = sim.host(sim.final_observations).copy()
        if step % REMEMBERED == 0:
            sights.append(snapshot.observation_state(sim))
    first, others = (
        {name: np.stack([one[name] for one in some]) for name in snapshot.OBSERVED} for some in (sights[:1], sights[1:])
    )
    with mock.patch.object(snapshot, "CHUNK", 3):  # part of one, then one and a part
        found["observed"] = np.concatenate([snapshot.observe(sim, first), snapshot.observe(sim, others)])
    found["log"] = log.array
    return found


if __name__ == "__main__":
    warnings.simplefilter("ignore", RuntimeWarning)  # integers wrap, as they should; numpy tells of it
    np.savez(sys.argv[2], **drive(sys.argv[1]))  # type: ignore[arg-type]
