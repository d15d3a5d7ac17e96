"""Rule-based traffic on the shipped towns: who crashes, by whose fault, and what it costs: `python benchmarks/traffic.py`.

Every row has a rule-based driver; an agent goes on to a new route where it arrives, and starts anew elsewhere after a crash
or off the road. A crash of two is one collision; it counts as somebody's fault by the rule of sim/fault.py. Those within two
seconds of a start are told apart, as the place may have been the reason.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from gigaflow_env.backend import cpu
from gigaflow_env.bench.machine import machine
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.event_log import COLLISION, OFFROAD, RED_LIGHT
from gigaflow_env.files import write_text
from gigaflow_env.roads import shipped

FRESH = 2.0
"""[s] after a start."""
STUCK = 60.0
"""[s] of standing: whoever stands so long at the end is counted."""


@dataclass(frozen=True)
class Traffic:
    """Drive towns with rule-based drivers only."""

    maps: tuple[str, ...] = ("downtown", *(name for name in shipped() if name != "downtown"))
    """Towns or map files."""
    worlds: int = 4
    """Worlds of each map; ten times as many of the first one."""
    agents: int = 30
    """Cars in a world."""
    seconds: float = 600.0
    """Simulated time."""
    seed: int = 0
    json: Path | None = None
    """Write the results into this file."""


def drive(name: str, worlds: int, traffic: Traffic) -> dict[str, Any]:
    """One map; the result is ready for JSON."""
    steps_of = {"max_steps": 10**9, "world_steps": 10**9, "world_stagger": 0.0, "on_route_done": "new_route"}
    env = GigaflowVectorEnv(
        worlds * traffic.agents, map=name, preset="laptop", agents_per_world=traffic.agents, config=steps_of, drivers="idm",
        events=True, copy=False,
    )  # fmt: skip
    env.reset(seed=traffic.seed)
    steps, nothing = round(traffic.seconds / env.config.dt), np.full(env.num_envs, 7)
    way, goals, standing = 0.0, 0, np.zeros(env.num_envs)
    for _ in range(steps):
        info = env.step(nothing)[-1]
        way += float(info["distance"].sum(dtype=np.float64))
        goals += int(info["route_done"].sum())
        standing = np.where(info["distance"] < 0.01, standing + 1, 0)
    log, dt = env.event_log, env.config.dt
    crashes = log[log["kind"] == COLLISION]
    settled = crashes[crashes["age"] * dt >= FRESH]
    result = {
        "map": Path(name).stem,
        "km": round(way / 1000, 1),
        "collisions": len(crashes),
        "of_these_after_a_start": len(crashes) - len(settled),
        "at_fault": int((settled["fault"] | settled["other_fault"]).sum()),
        "offroads": int((log["kind"] == OFFROAD).sum()),
        "red_lights": int((log["kind"] == RED_LIGHT).sum()),
        "routes": goals,
        "mean_speed_mps": round(way / steps / env.num_envs / dt, 2),
        "stuck": int((standing * dt > STUCK).sum()),
        "ns_an_agent_step": round(cost(env), 1),
        "settings": {"worlds": worlds, "agents": traffic.agents, "seconds": traffic.seconds, "seed": traffic.seed},
    }
    env.close()
    return result


def cost(env: GigaflowVectorEnv) -> float:
    """What rule-based drivers add to a step [ns per agent], on one thread: the fastest of ten."""
    sim = env.simulator
    s = sim.state
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        cpu.plan_traffic(
            0, sim.worlds, s.clock, s.rows, s.pose, s.motion, s.body, s.place, s.goals, s.lights, s.near, s.traffic,
            s.variant, sim.roads.network, sim.conflicts, sim._params,
        )  # fmt: skip
        seconds.append(time.perf_counter() - start)
    return min(seconds) / env.num_envs * 1e9


if __name__ == "__main__":
    given = tyro.cli(Traffic)
    lines = []
    for k, town in enumerate(given.maps):
        found = {**drive(town, given.worlds * (10 if k == 0 else 1), given), **machine()}
        found["command"] = "python benchmarks/traffic.py " + " ".join(sys.argv[1:])
        lines.append(json.dumps(found))
        print(lines[-1], flush=True)
    if given.json is not None:
        write_text(given.json, "\n".join(lines) + "\n")
