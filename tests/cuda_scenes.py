"""Scenes that the CPU and the compiled CUDA kernels drive side by side: `python cuda_scenes.py FOLDER WHAT SCENE ...`.

A process of its own, since the driver of benchmarks/emulator has to be found before CUDA is loaded. Prints a JSON object for
each scene: what differed, what happened, and what other orders of threads and the watch for races found. Then one for each
kernel: what is in its PTX, and in its machine code where WHAT is `machine`; `ptx` is quicker.
"""

import gc
import hashlib
import json
import sys
from pathlib import Path
from unittest import mock

import numpy as np
import recorded_scenes
from conftest import crossing, key, motorway

from benchmarks.cuda_compile import code_of, labels, read_ptx
from benchmarks.emulator.launch import CAPABILITY, Mode, attach, ptx
from gigaflow_env import snapshot
from gigaflow_env.backend import world_step
from gigaflow_env.config import laptop
from gigaflow_env.event_log import EventLog
from gigaflow_env.layout import as_floats
from gigaflow_env.scenes.cast import Casting
from gigaflow_env.scenes.sources import sources
from gigaflow_env.scenes.stream import Stream
from gigaflow_env.simulator import Simulator
from gigaflow_env.snapshot import WORKSPACE

STEPS = 12
REMEMBERED = 5
"""Of so many steps one is observed anew."""
SMALL = laptop().replace(
    agents_per_world=5, world_steps=8, lane_count=5, boundary_count=6, agent_count=3, stop_count=2, lights_off=0.0
)
RECORDED = "recorded scenes of two lengths, with rule-based others"
SCENES = {
    "same step": {},
    "next step, beside rule-based drivers": {
        "mode": world_step.NEXT_STEP, "drivers": {"policy": 0.4, "idm": 0.6}, "obs_dtype": "float16",
    },
    "crashes that don't end it, continuous actions": {
        "config": SMALL.replace(on_crash="continue", on_route_done="new_route", waypoints_max=3),
        "continuous": True, "obs_dtype": "bfloat16",
    },
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
    RECORDED: {"decision_every": 2},
}  # fmt: skip


def put(cpu: Simulator, cuda: Simulator) -> None:
    """The card goes on from the CPU's state; workspaces have a thread's or a block's shape."""
    for group, arrays in cpu.state._asdict().items():
        for name, array in arrays._asdict().items():
            if f"{group}.{name}" not in WORKSPACE:
                cuda._machine.write(getattr(getattr(cuda.state, group), name), array)


def differing(cpu: Simulator, cuda: Simulator) -> dict[str, float]:
    """Rows that differ, by array, as a share: integers and flags at all, floats by more than 1e-5 of their size or 1e-4."""
    found = {}
    for group in cpu.state._fields:
        for name, here in getattr(cpu.state, group)._asdict().items():
            if f"{group}.{name}" in WORKSPACE:
                continue
            share = apart(here, cuda.host(getattr(getattr(cuda.state, group), name)))
            if share:
                found[f"{group}.{name}"] = share
    return found


def apart(here: np.ndarray, there: np.ndarray) -> float:
    """The share of rows in which two arrays differ."""
    wrong = here != there
    if here.dtype.kind == "f":
        wrong &= ~(np.abs(here - there) <= 1e-4 + 1e-5 * np.abs(here)) & ~(np.isnan(here) & np.isnan(there))
    return float(wrong.reshape(*here.shape[:2], -1).any(axis=-1).mean() if here.ndim > 1 else wrong.mean())


def number(observations: np.ndarray, sim: Simulator) -> np.ndarray:
    """Observations as float32; those of half precision without their last digits, which rounding may turn."""
    numbers = as_floats(observations, sim.obs_dtype)
    return numbers if sim.obs_dtype == "float32" else np.round(numbers.astype(np.float32), 2)


def digest(sim: Simulator) -> str:
    """Of everything that a step leaves behind."""
    found = hashlib.sha256()
    for group, arrays in sim.state._asdict().items():
        for name, array in arrays._asdict().items():
            if f"{group}.{name}" not in WORKSPACE:
                found.update(sim.host(array).tobytes())
    for array in (sim.observations, sim.final_observations):
        found.update(sim.host(array).tobytes())
    return found.hexdigest()


def actions(sim: Simulator, rng: np.random.Generator) -> np.ndarray:
    """What a driver without a plan does, who rather goes ahead."""
    return rng.uniform(-1, 1, (sim.rows, 2)) if sim.wanted.size else rng.choice([3, 6, 7, 8, 9, 10, 10, 11], sim.rows)


def crash(sim: Simulator) -> None:
    """Agent 1 of each world is put upon agent 0."""
    pose = sim.state.pose
    for array in (pose.x, pose.y, pose.z, pose.cos, pose.sin):
        values = sim.host(array).copy()
        values[:, 1] = values[:, 0]
        sim.write(array, values)


def made(name: str, backend: str) -> tuple[Simulator, EventLog]:
    """A scene before its first reset."""
    arguments = {"config": SMALL, **SCENES[name]}
    if name == RECORDED:
        given = sources([recorded_scenes.scene(steps=steps) for steps in (7, 11)], None)
        stream = Stream(given, Casting("all", "idm"), SMALL.replace(on_crash="continue"), processes=0)
        stream.close()
        arguments |= {"config": stream.config, "seats": stream.shape.seats}
        sim = Simulator(stream.page, 2 * stream.shape.seats, backend=backend, threads=None, **arguments)
    else:
        sim = Simulator([motorway(), crossing(lights=True)], 9, backend=backend, threads=None, **arguments)
    log = EventLog(sim)
    sim.contacts = log.contacts
    return sim, log


def side_by_side(name: str) -> dict[str, object]:
    """Each step of the CPU beside the same step of the kernels, from one state: what differs, and what happened."""
    both = [made(name, backend) for backend in ("cpu", "cuda")]
    (cpu, log), (cuda, _) = both
    for sim, _ in both:
        sim.reset(key(7))
    rng, different, ended, remembered = np.random.default_rng(0), [differing(cpu, cuda)], 0, []
    for step in range(STEPS):
        if step == 1:
            crash(cpu)
        put(cpu, cuda)
        chosen = actions(cpu, rng)
        for sim, events in both:
            sim.step(chosen)
            events.add(sim)
            if sim.page_over:
                sim.turn(sim.page)
            if step == STEPS // 2:
                sim.reset(None, np.arange(sim.rows) % 4 == 1)
        different.append(differing(cpu, cuda))
        for what in ("observations", "final_observations"):
            here, there = (sim.host(getattr(sim, what)) for sim, _ in both)
            share = apart(number(here, cpu), number(there, cpu)) if here.size else 0.0
            if share:
                different[-1][what] = share
        outcome = cpu.state.outcome
        ended += int(outcome.terminated.sum() + outcome.truncated.sum())
        if step % REMEMBERED == 0:
            remembered.append((snapshot.observation_state(cuda), cuda.host(cuda.observations).copy()))
    states = {array: np.stack([one[array] for one, _ in remembered]) for array in snapshot.OBSERVED}
    with mock.patch.object(snapshot, "CHUNK", 3):  # part of one, then one and a part
        again = snapshot.observe(cuda, states)
    same = cuda.observations.dtype != np.float32 or np.array_equal(again, [seen for _, seen in remembered])
    logs = [events.array[["kind", "world", "row", "other"]].tolist() for _, events in both]
    return {
        "different": [one for one in different if one],
        "ended": ended,
        "kinds": sorted({int(kind) for kind in log.array["kind"]}),
        "same_events": logs[0] == logs[1],
        "observed_anew": bool(same),
    }


def schedules(name: str, mode: Mode) -> dict[str, object]:
    """The same steps with threads forwards, backwards and at random, and watched for races."""
    digests = []
    for order in (0, 1, 2, 3):
        mode.order, mode.races = order, int(order == 3)
        sim, _ = made(name, "cuda")
        sim.reset(key(7))
        rng = np.random.default_rng(0)
        for step in range(4):
            if step == 1:
                crash(sim)
            sim.step(actions(sim, rng))
        digests.append(digest(sim))
    mode.order = mode.races = 0
    return {"orders": len(set(digests))}


if __name__ == "__main__":
    gc.disable()  # a tenth of the compile time, as in gigaflow_env.compiling
    emulation = attach(Path(sys.argv[1]), link=sys.argv[2] == "machine")
    for name in sys.argv[3:]:
        print(json.dumps({"scene": name, **side_by_side(name), **schedules(name, emulation.mode)}), flush=True)
    for kernel, launch in emulation.launches.items():
        if sys.argv[2] == "machine":
            code = launch.compiled.inspect_asm(CAPABILITY)
            found = code_of(kernel, code, launch.threads, launch.shared, launch._args, CAPABILITY)
        else:
            found = {"kernel": kernel, **read_ptx(ptx(launch), [label for arg in launch._args for label in labels(arg)])}
        print(json.dumps(found), flush=True)
