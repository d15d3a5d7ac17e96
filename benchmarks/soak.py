"""Soak test: millions of agent-steps on every map, and not one anomaly: `python benchmarks/soak.py`.

Agents of three behaviours drive through two passes of the "paper" preset on one map after the other. With
`on_crash="continue"` they crash, leave the road and the map, and live on; with `on_crash="respawn"` they start anew all the
time. `anomalies.py` says what counts.
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
from anomalies import ANOMALIES, COUNTS, Tally, ground, inspect, remember, tally

from gigaflow_env.backend import world
from gigaflow_env.bench import machine
from gigaflow_env.config import Config, paper
from gigaflow_env.files import write_text
from gigaflow_env.layout import ACTIONS, LATERAL_JERKS, LONGITUDINAL_JERKS, SPEED_SCALE, Ego
from gigaflow_env.roads import RoadMap, shipped, summary
from gigaflow_env.roads.compile import capacity, compile
from gigaflow_env.roads.mapfiles import find
from gigaflow_env.simulator import Simulator

PASSES = {"continue": world.SAME_STEP, "respawn": world.NEXT_STEP}
"""`on_crash` and autoreset mode. NEXT_STEP leaves the boxes of a crash where they are, so that it can be judged."""

THOROUGH_EVERY = 5
"""[steps] between the checks that take long."""

STRAIGHT = np.outer((0.02, 0.08, 0.6, 0.3), (0.1, 0.8, 0.1)).ravel()
"""Probability of each action of the behaviour that goes straight on."""


@dataclass(frozen=True)
class Soak:
    """Drive random, straight and lane-keeping agents for a long time and look for what must never be."""

    agent_steps: float = 1e7
    """On each map, both passes together."""
    maps: tuple[str, ...] = ()
    """Map files and random towns, in addition to all shipped towns."""
    only: tuple[str, ...] = ()
    """Towns, random towns and map files: these and no others."""
    agents: int = 64
    """Agents in a world, less where a map has no room for so many."""
    worlds: int = 9
    """Worlds of a map; of every three one is random, one goes straight, one keeps its lane."""
    seed: int = 0
    threads: int | None = None
    """All processors where it isn't given."""
    json: Path | None = None
    """Put the results into this file, beside those of other maps."""


def run(soak: Soak, maps: Sequence[RoadMap]) -> dict[str, Any]:
    """Both passes over some maps at once; the result is ready for JSON."""
    start = time.perf_counter()
    passes = {}
    for on_crash in PASSES:
        began = time.perf_counter()
        found = drive(soak, maps, on_crash)
        passes[on_crash] = {"seconds": round(time.perf_counter() - began, 1), **found.counts, "first": found.first}
    return {
        "anomalies": sum(one[kind] for one in passes.values() for kind in ANOMALIES),
        "lane_km": [round(summary(one)["lane_km"], 2) for one in maps],
        "agents": _agents(soak, maps, paper()),
        "passes": passes,
        "seconds": round(time.perf_counter() - start, 1),
    }


def _agents(soak: Soak, maps: Sequence[RoadMap], config: Config) -> int:
    """Agents of a world for which every map has room."""
    sizes = {name: getattr(config, name) for name in ("lane_spacing", "lane_count", "boundary_count", "stop_count")}
    roads = compile(maps, **sizes)
    return min(soak.agents, *(capacity(roads, number) for number in range(len(maps))))


PLAIN: dict[str, Any] = {
    "variant_scale": (1.0, 1.0), "variant_shear": (0.0, 0.0), "variant_flip": 0.0, "variant_turn": (0.0, 0.0),
}  # fmt: skip
"""The referee knows the maps as they are."""


def drive(soak: Soak, maps: Sequence[RoadMap], on_crash: str) -> Tally:
    """One pass: half of the agent-steps."""
    agents = _agents(soak, maps, paper())
    config = paper().replace(on_crash=on_crash, agents_per_world=agents, **PLAIN)
    rows = agents * soak.worlds * len(maps)
    simulator = Simulator(maps, rows, config, mode=PASSES[on_crash], threads=soak.threads)
    grounds = [ground(one, origin) for one, origin in zip(simulator.maps, simulator.roads.origins, strict=True)]
    rng, found = np.random.default_rng(soak.seed), tally()
    simulator.reset(np.array([soak.seed, 0], np.uint32))
    before = remember(simulator, np.zeros((simulator.worlds, simulator.agents), np.int32))
    steps = max(1, round(soak.agent_steps / 2 / rows))
    for step in range(steps):
        simulator.step(choose(simulator, len(maps), rng))
        before = inspect(simulator, grounds, before, found, thorough=step % THOROUGH_EVERY == 0)
        _progress(on_crash, step + 1, steps, found)
    simulator.close()
    return found


def choose(simulator: Simulator, maps: int, rng: np.random.Generator) -> np.ndarray:
    """Actions of all rows, (rows,). World i has map i modulo the number of maps: behaviours change after a round of maps."""
    behaviour = np.repeat(np.arange(simulator.worlds) // maps % 3, simulator.agents)
    wild = rng.integers(0, ACTIONS, simulator.rows)
    straight = rng.choice(ACTIONS, simulator.rows, p=STRAIGHT)
    keep = np.where(rng.random(simulator.rows) < 0.05, wild, keep_lane(simulator))
    return np.choose(behaviour, (wild, straight, keep))


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
    return np.abs(wanted[:, None] - np.array(jerks)).argmin(axis=1)


def _progress(name: str, step: int, steps: int, found: Tally) -> None:
    if sys.stderr.isatty() and (step % 10 == 0 or step == steps):
        seen = sum(found.counts[kind] for kind in ANOMALIES)
        end = "\n" if step == steps else ""
        print(f"\r{name}: step {step} of {steps}, {seen} anomalies", end=end, file=sys.stderr, flush=True)


def report(result: dict[str, Any]) -> str:
    """Plain table of the counts, anomalies last, with the first place of each that was seen."""
    lines = [f"{'':28}" + "".join(f"{name:>12}" for name in result["passes"])]
    for kind in (*COUNTS, *ANOMALIES):
        lines.append(f"{kind:28}" + "".join(f"{one[kind]:12,}" for one in result["passes"].values()))
    for name, one in result["passes"].items():
        lines += [f"{name}: {kind} ({ANOMALIES[kind]}) first at {where}" for kind, where in one["first"].items()]
    lines.append(f"{result['anomalies']} anomalies in {result['seconds']} s")
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
