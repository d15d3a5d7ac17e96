"""One iteration of the published setting on a CPU: 3 million weights each for actor and critic, 2,048 rows.

    python benchmarks/paper.py --store observations [--rollout 128] [--out benchmarks/results/paper.jsonl]
    python benchmarks/paper.py --store states

Prints the memory that the iteration took beside what is predicted from the shapes (they have to agree to 10 %), the seconds
of its parts, and a sum of the new weights: equal for both stores, as states give the same observations bit for bit. A run
appends one line to --out, and replaces one of the same store and rollout.
"""

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import Any

import torch

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_train import environment
from gigaflow_train.config import PRESETS, TrainConfig
from gigaflow_train.networks import build
from gigaflow_train.rollout import Chance, allocate, present
from gigaflow_train.threads import team_for
from gigaflow_train.train import iterate


def resident(what: str) -> int:
    """Bytes of this process's memory: VmRSS now, VmHWM at most since it was last cleared."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(what)).split()[1])


def predicted(config: TrainConfig, env: Any, policy: Any, states: Any, samples: int, largest: int) -> dict[str, int]:
    """Bytes of an iteration's parts, from shapes alone; largest: samples of the largest minibatch.

    A minibatch keeps of each body: its vector input, outputs of the vector layer, of the sets (and a byte that says which
    element was largest), of both side by side, and of the trunk's layers; on the way back two gradients of the widest layer:
    that of the last layer's output, and the same behind its ReLU.
    """
    columns, cells = env.layout.size, config.rollout * env.num_envs
    body = policy.bodies[0]
    sets = sum(shape.width for shape in body.shapes)
    vector = body.vector.in_features
    kept = 4 * vector + 4 * config.vector_width + 5 * sets + 4 * (config.vector_width + sets) + 4 * sum(config.trunk_widths)
    weights = sum(one.numel() for one in policy.parameters())
    return {
        "store": states.nbytes if states is not None else 4 * columns * samples,
        "grid": cells * (4 + 4 + 1) + samples * (8 + 1 + 8 + 4 + 5 * 4),
        "minibatch": largest * (4 * columns + len(policy.bodies) * kept + 2 * 4 * max(config.trunk_widths)),
        # A gradient of each thread, and their sum.
        "gradients_and_moments": (3 + (config.threads if config.threads > 1 else 0)) * 4 * weights,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--store", required=True, choices=("observations", "states"))
    parser.add_argument("--rollout", type=int, default=128)
    parser.add_argument("--num-envs", type=int, default=2048)
    parser.add_argument("--epochs", type=int)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    config = PRESETS["paper"]().replace(
        num_envs=given.num_envs, rollout=given.rollout, threads=given.threads, store=given.store
    )
    config = config.replace(epochs=given.epochs or config.epochs)
    torch.manual_seed(0)
    env = environment.of_training(config)
    policy = build(env.layout, config)
    team = team_for(policy, config, torch.device("cpu"))
    optimizer = torch.optim.Adam(policy.parameters(), lr=config.learning_rate, eps=config.adam_epsilon, fused=True)
    now = present(*env.reset(seed=0))
    policy.measure(now.obs[now.rows])
    # What an iteration does once in a process: kernels are loaded, libraries take their workspaces.
    policy(now.obs[now.rows][:256])[0].sum().backward()
    policy.zero_grad(set_to_none=True)
    states = env.state_memory(config.rollout) if given.store == "states" else None
    if states is not None:
        states.keep(0)
        states.observe([0])
    storage = allocate(config.rollout, env.num_envs, env.layout.size, states=states)
    Path("/proc/self/clear_refs").write_text("5")  # the largest so far is forgotten
    before, start = resident("VmRSS"), time.perf_counter()
    _, found = iterate(
        env,
        policy,
        optimizer,
        storage,
        now,
        Chance(0, 0),
        config,
        [],
        torch.Generator().manual_seed(0),
        None,
        config.entropy,
        team,
    )
    took, measured = time.perf_counter() - start, resident("VmHWM") - before
    parts = max(1, round(found.kept / config.minibatch))
    expected = predicted(config, env, policy, states, found.driven.samples, math.ceil(found.kept / parts))
    total = sum(expected.values())
    weights = sum(float(one.detach().double().sum()) for one in policy.parameters())
    line = {
        "store": given.store, "rows": env.num_envs, "rollout": config.rollout, "epochs": config.epochs,
        "weights": sum(one.numel() for one in policy.parameters()), "samples": found.driven.samples, "live": found.live,
        "kept": found.kept, "minibatches": config.epochs * parts, "seconds": round(took, 1),
        "rollout_seconds": round(found.drove, 1),
        "measured_mb": round(measured / 1e6, 1), "predicted_mb": round(total / 1e6, 1),
        "ratio": round(measured / total, 3), "parts_mb": {name: round(size / 1e6, 1) for name, size in expected.items()},
        "weights_sum": weights, **machine(), "command": " ".join(["python benchmarks/paper.py", *sys.argv[1:]]),
    }  # fmt: skip
    print(json.dumps(line))
    if given.out:
        same = ("store", "rollout", "rows")
        lines = [json.loads(text) for text in given.out.read_text().splitlines()] if given.out.exists() else []
        lines = [old for old in lines if [old[name] for name in same] != [line[name] for name in same]]
        write_text(given.out, "".join(json.dumps(one) + "\n" for one in [*lines, line]))


if __name__ == "__main__":
    main()
