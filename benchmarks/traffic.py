"""Rule-based traffic: who crashes, by whose fault, who leaves the road, who stands still: `python benchmarks/traffic.py`.

Every row has a rule-based driver; an agent goes on to a new route where it arrives, and starts anew elsewhere after a crash
or off the road. A crash of two is one collision; it counts as somebody's fault by the rule of sim/fault.py. Those within two
seconds of a start are told apart, as the place may have been the reason. A car that stands for more than two minutes is
stuck; time at a red light, or behind somebody who stands there, does not count. Nothing that crashed remains on the road.
"""

import json
import sys
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from gigaflow_env.backend import cpu
from gigaflow_env.backend.world_step import known, parameters
from gigaflow_env.bench.machine import machine
from gigaflow_env.config import Config, laptop
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.event_log import COLLISION, OFFROAD, RED_LIGHT
from gigaflow_env.files import write_text
from gigaflow_env.prepared import bind
from gigaflow_env.roads import MapError, MapWarning, find, shipped
from gigaflow_env.roads.compiled.compile import capacity, compile_roads

FRESH = 2.0
"""[s] after a start."""
STUCK = 120.0
"""[s] of standing, not at a red light."""
STILL = 0.01
"""[m] in a step: less is standing."""


ENDINGS = (".xodr", ".xml", ".osm", ".json")
"""Of files in a folder that may be maps."""


@dataclass(frozen=True)
class Traffic:
    """Drive maps with rule-based drivers only."""

    maps: tuple[str, ...] = ("downtown", *(name for name in shipped() if name != "downtown"))
    """Towns or map files."""
    folder: Path | None = None
    """And all map files below this folder."""
    towns: tuple[int, int] = (0, 0)
    """And the random towns of these seeds, the last one not."""
    worlds: int = 10
    """Worlds of each map; a random town has one."""
    agents: int = 30
    """Cars in a world, where so many fit."""
    seconds: float = 600.0
    """Simulated time."""
    seed: int = 0
    population: str = "cars"
    """Who drives, see population.py."""
    json: Path | None = None
    """Write the results into this file."""


def settings(traffic: Traffic) -> Config:
    """Nobody's time is over before the end, and who has arrived goes on."""
    steps = round(traffic.seconds / laptop().dt) + 1
    return laptop().replace(
        max_steps=steps, world_steps=steps, world_stagger=0.0, on_route_done="new_route", population=traffic.population
    )


def drive(name: str, worlds: int, traffic: Traffic, config: Config) -> dict[str, Any]:
    """One map; the result is ready for JSON. MapError where a file is no map, or has no place for two cars."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MapWarning)
        road_map = find(name)
    lists = {name: getattr(config, name) for name in ("lane_spacing", "lane_count", "boundary_count", "stop_count")}
    agents = min(traffic.agents, capacity(compile_roads(road_map, **lists), 0))
    env = GigaflowVectorEnv(
        worlds * agents, map=road_map, config=config, agents_per_world=agents, drivers="idm", events=True, copy=False
    )
    env.reset(seed=traffic.seed)
    steps, nothing = round(traffic.seconds / env.config.dt), np.full(env.num_envs, 7)
    dt = env.config.dt
    way, goals, standing, stuck = 0.0, 0, np.zeros(env.num_envs), np.zeros(env.num_envs, bool)
    longest = 0.0
    for _ in range(steps):
        info = env.step(nothing)[-1]
        way += float(info["distance"].sum(dtype=np.float64))
        goals += int(info["route_done"].sum())
        still = info["active"] & (info["distance"] < STILL)
        standing = np.where(still, standing + ~at_red(env).ravel(), 0)
        longest = max(longest, float(standing.max()) * dt)
        stuck |= standing * dt > STUCK
    log = env.event_log
    crashes = log[log["kind"] == COLLISION]
    settled = crashes[crashes["age"] * dt >= FRESH]
    result = {
        "map": Path(name).stem if Path(name).suffix else name,
        "km": round(way / 1000, 1),
        "collisions": len(crashes),
        "of_these_after_a_start": len(crashes) - len(settled),
        "at_fault": int((settled["fault"] | settled["other_fault"]).sum()),
        "offroads": int((log["kind"] == OFFROAD).sum()),
        "red_lights": int((log["kind"] == RED_LIGHT).sum()),
        "routes": goals,
        "mean_speed_mps": round(way / steps / env.num_envs / dt, 2),
        "stuck": int(stuck.sum()),
        "longest_stand_s": round(longest, 1),
        "ns_an_agent_step": round(cost(env), 1),
        "settings": {
            "worlds": worlds, "agents": agents, "seconds": traffic.seconds, "seed": traffic.seed,
            "population": traffic.population,
        },
    }  # fmt: skip
    env.close()
    return result


def at_red(env: GigaflowVectorEnv) -> np.ndarray:
    """(worlds, agents) Who stands at a red light, or because of somebody who does."""
    said = env.simulator.state.traffic
    held = (said.next >= 0) & ~said.may_enter & (said.stop <= said.gap) & (said.waits_for < 0)
    for _ in range(held.shape[1]):
        behind = (said.waits_for >= 0) & np.take_along_axis(held, np.maximum(said.waits_for, 0), 1) & ~held
        if not behind.any():
            break
        held = held | behind
    return held


def cost(env: GigaflowVectorEnv) -> float:
    """What rule-based drivers add to a step [ns per agent], on one thread: the fastest of ten."""
    sim = env.simulator
    have = known(sim._parts)
    plan = bind(cpu.plan_traffic, [have[name] for name in parameters(cpu.plan_traffic)[2:]])
    seconds = []
    for _ in range(10):
        start = time.perf_counter()
        plan(0, sim.worlds)
        seconds.append(time.perf_counter() - start)
    return min(seconds) / env.num_envs * 1e9


def maps_of(traffic: Traffic) -> list[tuple[str, int]]:
    """The maps to drive, and how many worlds of each."""
    files = [] if traffic.folder is None else sorted(path for path in traffic.folder.rglob("*") if path.suffix in ENDINGS)
    towns = [f"random:{seed}" for seed in range(*traffic.towns)]
    return [(str(name), traffic.worlds) for name in (*traffic.maps, *files)] + [(town, 1) for town in towns]


if __name__ == "__main__":
    given = tyro.cli(Traffic)
    config, lines = settings(given), []  # outside of try: values that don't fit must not pass for maps that don't
    for name, worlds in maps_of(given):
        try:
            found = {**drive(name, worlds, given, config), **machine()}
        except (MapError, ValueError) as error:
            print(f"{name}: not driven: {error}", flush=True)
            continue
        found["command"] = "python benchmarks/traffic.py " + " ".join(sys.argv[1:])
        lines.append(json.dumps(found))
        print(lines[-1], flush=True)
        if given.json is not None:  # after each map: all of them take half an hour
            write_text(given.json, "\n".join(lines) + "\n")
