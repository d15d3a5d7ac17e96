"""Throughput of this machine: `gigaflow-env bench`. One flat dict, ready for a JSON line in benchmarks/results.

What is measured, and how it may be compared: an agent-step is one agent advanced by one step, with reward and
observation, random
actions, arrays not copied. Machines differ: the rate of Gymnasium's own CartPole vector env, taken in the same run,
calibrates.
"""

import copy
import datetime
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from typing import Any

import gymnasium
import numba
import numpy as np

from gigaflow_env.backend import cpu
from gigaflow_env.backend.cpu import FIRST, STRIDE
from gigaflow_env.bounds import Bounds, whole
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.jit import kernel
from gigaflow_env.layout import ACTIONS
from gigaflow_env.sim import collision, dynamics, goals, lanes, noise, observe, rewards
from gigaflow_env.simulator import Simulator

SCENES: dict[str, dict[str, Any]] = {
    "loop": {"map": "loop", "preset": "laptop", "agents_per_world": 16},
    "downtown": {"map": "downtown", "preset": "paper", "agents_per_world": 64},
    "crowd": {"map": "downtown", "preset": "paper", "agents_per_world": 150},
}
"""What is measured and, in the tests, held to its golden hash."""

STAGE_PASSES = 10
"""Steps after each of which a stage is timed; the median counts."""

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
    all_threads = steps_per_s(env, steps)
    if env.simulator.threads == 1:
        one_thread = all_threads
    else:
        single = GigaflowVectorEnv(
            num_envs, map=map, preset=preset, agents_per_world=agents_per_world, threads=1, copy=False
        )
        one_thread = steps_per_s(single, steps)
        single.close()
    cartpole = cartpole_steps_per_s()
    cold, cached = first_steps(map, preset)
    result = {
        "agent_steps_per_s": round(all_threads),
        "agent_steps_per_s_one_thread": round(one_thread),
        "calibration_cartpole_steps_per_s": round(cartpole),
        "share_of_cartpole_one_thread": round(one_thread / cartpole, 5),
        "stages_ns": {name: round(ns, 1) for name, ns in stage_times(env.simulator).items()},
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


def stage_times(simulator: Simulator) -> dict[str, float]:
    """Time of each stage alone [ns per agent], on one thread: the median of some passes, each after a step with random
    actions: a stage then finds what it finds in a step, places whose tables have to be fetched. `renew` is the restart of
    those whose episode ended, as a share of all agents."""
    (
        clock,
        rows,
        pose,
        motion,
        body,
        lane_position,
        goal,
        reward_weights,
        events,
        outcome,
        lights,
        _,
        neighbours,
        lane_routes,
        *_,
    ) = simulator.state
    variant, perceived = simulator.state.variant, simulator.state.perceived
    network, grid, nearby = simulator.roads.network, simulator.roads.grid, simulator.roads.nearby
    p, starts, obs = simulator._params, simulator.layout.starts, simulator.observations
    agent: dict[str, Any] = {
        "move": (dynamics.move, clock, rows, pose, motion, body, p),
        "locate": (lanes.locate, clock, rows, pose, goal, variant, network, grid, lane_position),
        "collide": (collision.collide, rows, pose, motion, body, neighbours, events),
        "leave_road": (collision.leave_road, clock, rows, pose, body, variant, network, grid, events),
        "run_light": (
            collision.run_light,
            rows,
            pose,
            motion,
            body,
            lane_position,
            lights,
            variant,
            network,
            nearby,
            events,
            p,
        ),
        "arrive": (
            goals.arrive,
            clock,
            rows,
            pose,
            motion,
            reward_weights,
            variant,
            network,
            events,
            goal,
            lane_position,
            p,
        ),
        "score": (rewards.score, clock, rows, motion, lane_position, reward_weights, events, outcome, goal, p),
        "add_noise": (noise.add_noise, clock, rows, pose, motion, perceived, p),
        "find_neighbours": (observe.find_neighbours, clock, rows, pose, neighbours, p),
        "select_lane_samples": (
            observe.select_lane_samples,
            clock,
            lane_position,
            goal,
            lane_routes,
            variant,
            network,
            nearby,
            p,
        ),
    }
    row: dict[str, Any] = {
        "observe_ego": (observe.observe_ego, (FIRST,), starts.ego, motion, body, lane_position, variant, network, p),
        "observe_conditioning": (observe.observe_conditioning, (FIRST, STRIDE), starts.conditioning, reward_weights),
        "observe_goals": (observe.observe_goals, (FIRST, STRIDE), starts.goals, pose, goal, p),
        "observe_agents": (observe.observe_agents, (FIRST, STRIDE), starts.agents, pose, body, neighbours, perceived, p),
    }
    listed: dict[str, Any] = {
        "observe_lanes": (observe.observe_lanes, starts.lanes, pose, lane_routes, variant, network, nearby, p),
        "observe_boundaries": (observe.observe_boundaries, starts.boundaries, pose, lane_routes, variant, nearby, p),
        "observe_stops": (observe.observe_stops, starts.stops, pose, lane_position, lights, variant, network, nearby, p),
    }
    loops = {name: (_each_agent(stage), *args) for name, (stage, *args) in agent.items()}
    loops |= {name: (_each_row(stage, share), obs, *args) for name, (stage, share, *args) in row.items()}
    loops |= {
        name: (_each_listed_row(stage), obs, start, lane_position, network, *args)
        for name, (stage, start, *args) in listed.items()
    }
    sizes = simulator.worlds, simulator.agents
    actions = np.random.default_rng(1).integers(0, ACTIONS, (STAGE_PASSES, simulator.rows))
    machine, timed = simulator._machine, _Timed(1)
    simulator._machine = timed
    seconds: dict[str, list[float]] = {}
    for name, (loop, *args) in loops.items():
        loop(*sizes, *args)  # compiles
        for drawn in actions:
            before = copy.deepcopy(lane_routes)
            simulator.step(drawn)
            if name == "select_lane_samples":  # the ways of those who came to another place are to be measured once more
                for array, values in zip(lane_routes, before, strict=True):
                    array[:] = values
            start = time.perf_counter()
            loop(*sizes, *args)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    simulator._machine, seconds["respawn"] = machine, timed.seconds
    return {name: float(np.median(values)) / simulator.rows * 1e9 for name, values in seconds.items()}


class _Timed(cpu.Threads):
    """Notes how long `renew` takes in each step."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.seconds: list[float] = []

    def _call(self, begin: int, end: int, function: Any, have: dict[str, Any]) -> None:
        start = time.perf_counter()
        super()._call(begin, end, function, have)
        if function is cpu.respawn:
            self.seconds.append(time.perf_counter() - start)


def _each_agent(stage: Any) -> Any:
    def loop(worlds, agents, *args):  # type: ignore[no-untyped-def]
        for w in range(worlds):
            for a in range(agents):
                stage(w, a, *args)

    return kernel(loop, cache=False)


def _each_row(stage: Any, share: tuple[int, ...]) -> Any:
    def loop(worlds, agents, obs, start, *args):  # type: ignore[no-untyped-def]
        for w in range(worlds):
            for a in range(agents):
                stage(w, a, *share, obs[w, a, start:], *args)

    return kernel(loop, cache=False)


def _each_listed_row(stage: Any) -> Any:
    nearby_row = collision.nearby_row

    def loop(worlds, agents, obs, start, lane_position, network, *args):  # type: ignore[no-untyped-def]
        for w in range(worlds):
            for a in range(agents):
                stage(w, a, FIRST, STRIDE, nearby_row(network, lane_position.section[w, a]), obs[w, a, start:], *args)

    return kernel(loop, cache=False)


def machine() -> dict[str, Any]:
    """Where and what was measured."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "commit": _commit(),
        "processor": _processor(),
        "processors": cpu.default_threads(),
        "python": platform.python_version(),
        "numba": numba.__version__,
        "numpy": np.__version__,
        "command": " ".join(["gigaflow-env", *sys.argv[1:]]),
    }


def _commit() -> str:
    """The checkout's commit, with a + where files differ from it; empty outside a checkout."""
    here = os.path.dirname(__file__)
    try:
        git = ["git", "-C", here]
        commit = subprocess.run([*git, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True).stdout
        changed = subprocess.run([*git, "status", "--porcelain", "-uno"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.strip() + ("+" if changed.strip() else "")


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as file:
            lines = [line for line in file if line.startswith(("model name", "model\t"))]
        return " model ".join(sorted({line.split(":")[1].strip() for line in lines}, key=len, reverse=True))
    except OSError:
        return platform.processor()
