"""What each part of the paper's world costs: `python benchmarks/parts.py` writes benchmarks/results/parts.jsonl.

The preset "paper" as it is, and with one part changed, in turns on one thread; the difference of the processor times of a
pair is what the part costs, the median of some pairs counts. A part that makes agents live longer costs less for that, too.
"""

import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env import GigaflowVectorEnv
from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_env.layout import ACTIONS

RESULTS = Path(__file__).parent / "results" / "parts.jsonl"
SCENE: dict[str, Any] = {"map": "downtown", "preset": "paper", "agents_per_world": 150, "threads": 1, "copy": False}
ROWS, STEPS, PAIRS = 4096, 20, 15

PLAIN = {"variant_scale": (1.0, 1.0), "variant_shear": (0.0, 0.0), "variant_turn": (0.0, 0.0), "variant_flip": 0.0}
WITHOUT: dict[str, dict[str, Any]] = {
    "sizes from pedestrian to truck, instead of cars": {"population": "cars"},
    "map variants": PLAIN,
    "dropout, instead of all 80 elements of each list": {"lane_dropout": 0.0, "boundary_dropout": 0.0},
    "noise": {"noise_position": 0.0, "noise_heading": 0.0, "noise_speed": 0.0},
    "erratic drivers": {"inattentive": 0.0, "phantom": 0.0},
    "stop signs": {"stop_signs": "ignore"},
}
"""Parts that the preset has, and the configuration without."""
WITH: dict[str, dict[str, Any]] = {
    "a fifth of the rows rule-based: drivers": {"drivers": {"policy": 0.8, "idm": 0.2}},
    "an event log: events=True": {"events": True},
    "half precision: obs_dtype='float16'": {"obs_dtype": "float16"},
    "fresh arrays: copy=True": {"copy": True},
}
"""Parts that are asked for, and the arguments which do that."""


def make(**changes: Any) -> GigaflowVectorEnv:
    env = GigaflowVectorEnv(ROWS, **{**SCENE, **changes})
    env.reset(seed=0)
    drive(env)  # compiles, and leaves the moment in which everybody has just started
    return env


def drive(env: GigaflowVectorEnv) -> float:
    """Nanoseconds of an agent-step with random actions."""
    actions = np.random.default_rng(0).integers(0, ACTIONS, (STEPS, ROWS))
    start = time.process_time()
    for chosen in actions:
        env.step(chosen)
    return (time.process_time() - start) / (STEPS * ROWS) * 1e9


def cost(**changes: Any) -> dict[str, float]:
    """Time as it is, and how much more it takes with the changes."""
    as_it_is, changed = make(), make(**changes)
    pairs = [(drive(as_it_is), drive(changed)) for _ in range(PAIRS)]
    as_it_is.close()
    changed.close()
    difference = statistics.median(other - one for one, other in pairs)
    return {"paper_ns": statistics.median(one for one, _ in pairs), "cost_ns": difference}


def main() -> None:
    costs = {}
    for name, config in WITHOUT.items():
        costs[name] = cost(config=config)
        costs[name]["cost_ns"] *= -1
        print(f"{name}: {costs[name]['cost_ns']:.0f} ns", file=sys.stderr, flush=True)
    for name, changes in WITH.items():
        costs[name] = cost(**changes)
        print(f"{name}: {costs[name]['cost_ns']:.0f} ns", file=sys.stderr, flush=True)
    result = {
        "paper_ns": round(statistics.median(one["paper_ns"] for one in costs.values()), 1),
        "parts_ns": {name: round(one["cost_ns"], 1) for name, one in costs.items()},
        "settings": {**SCENE, "num_envs": ROWS, "steps": STEPS, "pairs": PAIRS},
        **machine(),
        "command": "python benchmarks/parts.py",
    }
    write_text(RESULTS, json.dumps(result) + "\n")


if __name__ == "__main__":
    main()
