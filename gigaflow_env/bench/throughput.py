"""Throughput of this machine: `gigaflow-env bench`. One flat dict, ready for a JSON line in benchmarks/results.

What is measured, and how it may be compared: an agent-step is one agent advanced by one step, with reward and observation,
random actions, arrays not copied. Machines differ: the rate of Gymnasium's own CartPole vector env, taken in the same run,
calibrates.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import gymnasium
import numpy as np

from gigaflow_env.bench.machine import machine
from gigaflow_env.bench.stages import stage_times
from gigaflow_env.bounds import Bounds, whole
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.layout import ACTIONS
from gigaflow_env.progress import slow

SCENES: dict[str, dict[str, Any]] = {
    "loop": {"map": "loop", "preset": "laptop", "agents_per_world": 16},
    "downtown": {"map": "downtown", "preset": "paper", "agents_per_world": 64},
    "crowd": {"map": "downtown", "preset": "paper", "agents_per_world": 150},
}
"""What is measured and, in the tests, held to its golden hash."""

STEPS = Bounds(1, 1_000_000)

BLOCKS = 5
"""The steps are timed in this many blocks; the median block counts, as a shared machine has bad moments."""

CARTPOLE_ROWS = 4096

_FIRST_STEP = """
import time
start = time.perf_counter()
import gymnasium, gigaflow_env
imported = time.perf_counter()
env = gymnasium.make_vec("GigaFlow-v0", num_envs={rows}, map={map!r}, preset={preset!r})
env.reset(seed=0)
env.step(env.action_space.sample())
print(imported - start, time.perf_counter() - imported)
"""


def run(
    *,
    map: str = "loop",
    preset: str = "paper",
    agents_per_world: int | None = None,
    num_envs: int = 4096,
    threads: int | None = None,
    steps: int = 200,
) -> dict[str, Any]:
    """Measure, about a minute. Rates are per second, `stages_ns` nanoseconds per agent-step on one thread.

    Raises ValueError for arguments out of range.
    """
    steps = whole("steps", steps, STEPS)
    env = GigaflowVectorEnv(num_envs, map=map, preset=preset, agents_per_world=agents_per_world, threads=threads, copy=False)
    env.simulator.prepare()
    with slow("steps on all threads"):
        all_threads = steps_per_s(env, steps)
    if env.simulator.threads == 1:
        one_thread = all_threads
    else:
        single = GigaflowVectorEnv(
            num_envs, map=map, preset=preset, agents_per_world=agents_per_world, threads=1, copy=False
        )
        with slow("steps on one thread"):
            one_thread = steps_per_s(single, steps)
        single.close()
    with slow("CartPole, for comparison"):
        cartpole = cartpole_steps_per_s()
    with slow("the first step of a new process, without and with compiled kernels"):
        cold, cached = first_steps(map, preset)
    with slow("each stage alone"):
        stages = stage_times(env.simulator)
    result = {
        "agent_steps_per_s": round(all_threads),
        "agent_steps_per_s_one_thread": round(one_thread),
        "calibration_cartpole_steps_per_s": round(cartpole),
        "share_of_cartpole_one_thread": round(one_thread / cartpole, 5),
        "stages_ns": {name: round(ns, 1) for name, ns in stages.items()},
        "observation_bytes": env.layout.size * 4,
        "memory_bytes": env.simulator.nbytes(),
        "peak_process_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "import_s": round(cached[0], 2),
        "first_step_cold_s": round(cold[1], 2),
        "first_step_cached_s": round(cached[1], 2),
        "settings": {
            "map": map,
            "preset": preset,
            "agents_per_world": env.agents_per_world,
            "num_envs": num_envs,
            "threads": env.simulator.threads,
            "steps": steps,
            "dt": env.config.dt,
        },
        **machine(),
    }
    env.close()
    return result


def steps_per_s(env: GigaflowVectorEnv, steps: int) -> float:
    """Agent-steps per second with random actions: the median of some blocks."""
    actions = np.random.default_rng(0).integers(0, ACTIONS, (16, env.num_envs))
    env.reset(seed=0)
    for k in range(len(actions)):  # compile, and leave the moment in which everybody has just started
        env.step(actions[k])
    block = max(1, steps // BLOCKS)
    seconds = []
    for _ in range(BLOCKS):
        start = time.perf_counter()
        for k in range(block):
            env.step(actions[k % len(actions)])
        seconds.append(time.perf_counter() - start)
    return block * env.num_envs / float(np.median(seconds))


def cartpole_steps_per_s() -> float:
    """Gymnasium's vectorised CartPole, for comparison between machines."""
    env = gymnasium.make_vec("CartPole-v1", num_envs=CARTPOLE_ROWS, vectorization_mode="vector_entry_point")
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 2, CARTPOLE_ROWS)
    seconds = []
    for _ in range(BLOCKS):
        start = time.perf_counter()
        for _ in range(200):
            env.step(actions)
        seconds.append(time.perf_counter() - start)
    env.close()
    return 200 * CARTPOLE_ROWS / float(np.median(seconds))


def first_steps(map: str, preset: str) -> tuple[tuple[float, float], tuple[float, float]]:
    """(import, make to first step) [s] of a fresh process without and with compiled kernels and map on disk."""
    program = _FIRST_STEP.format(rows=1024, map=map, preset=preset)
    times = []
    with tempfile.TemporaryDirectory() as empty:
        for _ in range(2):
            caches = {**os.environ, "NUMBA_CACHE_DIR": empty, "GIGAFLOW_CACHE_DIR": empty}
            done = subprocess.run([sys.executable, "-c", program], env=caches, capture_output=True, text=True, check=True)
            imported, stepped = done.stdout.split()
            times.append((float(imported), float(stepped)))
    return times[0], times[1]
