"""Soak test: millions of agent-steps on every map, and not one anomaly: `python benchmarks/soak.py`.

Agents of four behaviours drive through three passes of the "paper" preset on one map after the other: in worlds that are
affine images of the map, with agents of all sizes. With `on_crash="continue"` they crash, leave the road and the map, and
live on; with "respawn" they start anew all the time; with "freeze" wrecks stand in their way. `judge.py` says what counts.
Exit status 1 if anything is found.
"""

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from anomalies import ANOMALIES, COUNTS, Watch, find_neighbours, ground, inspect, totals

from gigaflow_env.backend import world_step
from gigaflow_env.bench.machine import machine
from gigaflow_env.config import Config, paper
from gigaflow_env.files import write_text
from gigaflow_env.layout import ACTIONS, LATERAL_JERKS, LONGITUDINAL_JERKS, SPEED_SCALE, Ego
from gigaflow_env.roads import RoadMap, shipped, summary
from gigaflow_env.roads.compiled.compile import capacity, compile_roads
from gigaflow_env.roads.loading import find
from gigaflow_env.simulator import Simulator

PASSES = {"continue": world_step.SAME_STEP, "respawn": world_step.NEXT_STEP, "freeze": world_step.NEXT_STEP}
"""`on_crash` and autoreset mode. NEXT_STEP leaves the boxes of a crash where they are, so that it can be judged."""

FREEZE_TIME = 6.0
"""[s] that a wreck stands: else the worlds would soon be full of them."""

THOROUGH_EVERY = 25
"""[steps] between those in which Shapely is asked about every place."""

STRAIGHT = np.cumsum(np.outer((0.02, 0.08, 0.6, 0.3), (0.1, 0.8, 0.1)))[:-1]
"""Cumulated probability of the actions of the behaviour that goes straight on, without the last one's 1."""


@dataclass(frozen=True)
class Soak:
    """Drive random, straight, lane-keeping and rule-based agents for a long time and look for what must never be."""

    agent_steps: float = 1e7
    """On each map, all passes together."""
    maps: tuple[str, ...] = ()
    """Map files and random towns, in addition to all shipped towns."""
    only: tuple[str, ...] = ()
    """Towns, random towns and map files: these and no others."""
    agents: int = 64
    """Most agents in a world, less where a map has no room for so many; a world draws at least half as many."""
    worlds: int = 24
    """Worlds of a map; of every four one is random, one goes straight, one keeps its lane, one has rule-based drivers."""
    seed: int = 0
    threads: int | None = None
    """All processors where it isn't given."""
    json: Path | None = None
    """Put the results into this file, beside those of other maps."""


def run(soak: Soak, maps: Sequence[RoadMap]) -> dict[str, Any]:
    """All passes over some maps at once; the result is ready for JSON. Seconds are those of the processor."""
    start = time.process_time()
    passes = {}
    for on_crash in PASSES:
        found, seconds = drive(soak, maps, on_crash)
        passes[on_crash] = {**totals(found), "first": found.first, **seconds}
    return {
        "anomalies": sum(one[kind] for one in passes.values() for kind in ANOMALIES),
        "lane_km": [round(summary(one)["lane_km"], 2) for one in maps],
        "agents": _agents(soak, maps, paper()),
        "passes": passes,
        "seconds": round(time.process_time() - start, 1),
    }


def _agents(soak: Soak, maps: Sequence[RoadMap], config: Config) -> int:
    """Agents of a world for which every map has room."""
    sizes = {name: getattr(config, name) for name in ("lane_spacing", "lane_count", "boundary_count", "stop_count")}
    roads = compile_roads(maps, **sizes)
    rooms = (int(capacity(roads, number) * min(1.0, config.variant_scale[0])) for number in range(len(maps)))
    return min(soak.agents, *rooms)


def drive(soak: Soak, maps: Sequence[RoadMap], on_crash: str) -> tuple[Watch, dict[str, float]]:
    """One pass: its share of the agent-steps; what was seen, and the seconds that the simulator and its judge took."""
    agents = _agents(soak, maps, paper())
    config = paper().replace(on_crash=on_crash, freeze_time=FREEZE_TIME, agents_per_world=((agents + 1) // 2, agents))
    rows = agents * soak.worlds * len(maps)
    drivers = np.array(["policy", "policy", "policy", "idm"])[behaviours(rows // agents, agents, len(maps))]
    simulator = Simulator(maps, rows, config, mode=PASSES[on_crash], threads=soak.threads, drivers=drivers.tolist())
    rng = np.random.default_rng(soak.seed)
    simulator.reset(np.array([soak.seed, 0], np.uint32))
    found = find_neighbours(simulator, [ground(*pair) for pair in zip(simulator.maps, simulator.roads.origins, strict=True)])
    times, step = np.zeros(3), 0
    while (done := int(found.counts.agent_steps[0])) < soak.agent_steps / len(PASSES):
        began = time.process_time()
        actions = choose(simulator, len(maps), rng)
        chosen = time.process_time()
        simulator.step(actions)
        stepped = time.process_time()
        inspect(found, thorough=step % THOROUGH_EVERY == 0)
        times += chosen - began, stepped - chosen, time.process_time() - stepped
        step += 1
        _progress(on_crash, step, done / (soak.agent_steps / len(PASSES)), found)
    simulator.close()
    return found, dict(zip(("actions_s", "simulator_s", "judge_s"), times.round(2).tolist(), strict=True))


def behaviours(worlds: int, agents: int, maps: int) -> np.ndarray:
    """Of each row: 0 random, 1 straight, 2 keeps its lane, 3 rule-based.

    World i has map i modulo the number of maps: behaviours change after a round of maps.
    """
    return np.repeat(np.arange(worlds) // maps % 4, agents)


def choose(simulator: Simulator, maps: int, rng: np.random.Generator) -> np.ndarray:
    """Actions of all rows, (rows,); those of rule-based drivers are not heard."""
    behaviour = behaviours(simulator.worlds, simulator.agents, maps)
    straight, keep = np.flatnonzero(behaviour == 1), np.flatnonzero(behaviour == 2)
    actions = rng.integers(0, ACTIONS, simulator.rows)
    actions[straight] = np.searchsorted(STRAIGHT, rng.random(len(straight)), side="right")
    keep = keep[rng.random(len(keep)) >= 0.05]
    actions[keep] = keep_lane(simulator)[keep]
    return actions


def keep_lane(simulator: Simulator) -> np.ndarray:
    """Actions (rows,) which follow the lane at a speed that its curvature allows."""
    ego = Ego(*simulator.layout.split(simulator.per_row(simulator.observations)).ego.T)
    speed = ego.speed * SPEED_SCALE
    curvature = ego.curvature * 0.2
    side = speed * np.sin(ego.angle * np.pi)  # m/s, away from the lane to the left
    wanted = speed**2 * curvature - 0.3 * ego.offset * 5 - side
    lateral = _nearest(LATERAL_JERKS, (wanted - ego.lateral * 5) / 0.6)
    target = np.minimum(ego.speed_limit * SPEED_SCALE, np.sqrt(1.5 / np.maximum(np.abs(curvature), 1e-3)))
    longitudinal = _nearest(LONGITUDINAL_JERKS, ((target - speed) / 2 - ego.acceleration * 5) / 0.6)
    return longitudinal * len(LATERAL_JERKS) + lateral


def _nearest(jerks: Sequence[float], wanted: np.ndarray) -> np.ndarray:
    """Number of the jerk, of some in rising order, that is next to each."""
    return np.searchsorted((np.array(jerks[1:]) + np.array(jerks[:-1])) / 2, wanted)


def _progress(name: str, step: int, share: float, found: Watch) -> None:
    if sys.stderr.isatty() and step % 10 == 0:
        seen = sum(totals(found)[kind] for kind in ANOMALIES)
        print(f"\r{name}: {share:4.0%}, {seen} anomalies ", end="", file=sys.stderr, flush=True)


def report(result: dict[str, Any]) -> str:
    """Plain table of the counts, anomalies last, with the first place of each that was seen."""
    lines = [f"{'':28}" + "".join(f"{name:>12}" for name in result["passes"])]
    for kind in (*COUNTS, *ANOMALIES):
        lines.append(f"{kind:28}" + "".join(f"{one[kind]:12,}" for one in result["passes"].values()))
    for name, one in result["passes"].items():
        lines += [f"{name}: {kind} ({ANOMALIES[kind]}) first at {where}" for kind, where in one["first"].items()]
    lines.append(f"{result['anomalies']} anomalies in {result['seconds']} s of the processor")
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0, or 1 if there was an anomaly."""
    soak = tyro.cli(Soak, args=argv)
    here = machine() | {"command": " ".join(["benchmarks/soak.py", *sys.argv[1:]])}
    anomalies = 0
    for name in soak.only or (*sorted(shipped()), *soak.maps):
        result = run(soak, [find(name)])
        anomalies += result["anomalies"]
        print(f"{Path(name).name}\n{report(result)}", flush=True)
        if soak.json is not None:
            add(soak.json, Path(name).name, result | {"settings": asdict(replace(soak, maps=(), only=(), json=None))} | here)
    return 1 if anomalies else 0


def add(path: Path, name: str, result: dict[str, Any]) -> None:
    """Put one map's result into the file, in the place of an older one: what was driven before is not lost."""
    maps = json.loads(path.read_text(encoding="utf-8"))["maps"] if path.exists() else {}
    maps[name] = result
    totals = {
        "anomalies": sum(one["anomalies"] for one in maps.values()),
        "agent_steps": sum(found["agent_steps"] for one in maps.values() for found in one["passes"].values()),
    }
    write_text(path, json.dumps(totals | {"maps": dict(sorted(maps.items()))}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
