"""kill -9 at random moments of a run that does little but write checkpoints: what is left is always whole, and goes on.

    python benchmarks/kills.py [--kills 100] [--out benchmarks/results/kills.json]

After every kill all files of the run are read as users read them, and the run goes on from them in the next process. What
must hold: no file that can't be read, and never more lost than the one interval that was under way. Processes are forked
from this one, which has loaded everything, so that most of their time is spent at risk.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_train import checkpoint, environment, journal
from gigaflow_train.config import PRESETS, TrainConfig
from gigaflow_train.train import train

CONFIG = PRESETS["laptop"]().replace(
    num_envs=8, agents_per_world=8, rollout=2, minutes=None, steps=10**9, minibatch=64, checkpoint_every=1, keep=3,
    set_widths=(8,), vector_width=8, trunk_widths=(8,), threads=1, seed=1,
)  # fmt: skip
LONGEST = 1.0
"""[s] A process lives at most so long after its first iteration: several checkpoints."""


def child(directory: Path, config: TrainConfig, told: int) -> None:
    """Train until the kill comes; the numbers of iterations go to the pipe `told`, a line each."""
    resume = (directory / checkpoint.RESUME).exists()
    train(
        environment.of_training(config), config, directory, resume=resume,
        show=lambda row: os.write(told, f"{int(row['iteration'])}\n".encode()),
    )  # fmt: skip


def shot(directory: Path, config: TrainConfig, seconds: float) -> list[int]:
    """Let a process train until `seconds` after its first iteration, and kill it: the iterations it told."""
    heard, told = os.pipe()
    number = os.fork()
    if number == 0:
        try:
            child(directory, config, told)
        finally:
            os._exit(1)
    os.close(told)
    with os.fdopen(heard) as pipe:
        first = pipe.readline()
        time.sleep(seconds)
        os.kill(number, signal.SIGKILL)
        lines = [first, *pipe]
    _, status = os.waitpid(number, 0)
    if not first or os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
        sys.exit("the training ended by itself: see above")
    return [int(line) for line in lines if line.endswith("\n")]


def left(directory: Path, config: TrainConfig) -> int:
    """Read everything that a run has left, as users do; the iteration that it goes on from. Raises where that fails."""
    env = environment.of_training(config)
    for file in (directory, *directory.glob("checkpoint-*.safetensors")):
        checkpoint.read_facts(file)
        checkpoint.load_policy(file, env)
    env.close()
    checkpoint.resume_config(directory)
    journal.read(directory / journal.METRICS)
    return torch.load(directory / checkpoint.RESUME, weights_only=True)["progress"]["iteration"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    generator = np.random.default_rng(given.seed)
    lost, began, iterations = [], time.perf_counter(), 0
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder) / "run"
        # Kernels are loaded before the first fork.
        train(environment.of_training(CONFIG), CONFIG.replace(steps=100), Path(folder) / "warm")
        before = 0
        for k in range(given.kills):
            told = shot(directory, CONFIG, float(generator.uniform(0.0, LONGEST)))
            if told[0] != before + 1:
                sys.exit(f"kill {k + 1}: it went on with iteration {told[0]}, though {before} was saved")
            before = left(directory, CONFIG)
            lost.append(told[-1] - before)
            iterations = told[-1]
            print(f"kill {k + 1}: {told[-1]} told, {before} saved", file=sys.stderr)
    found = {
        "kills": given.kills, "unreadable": 0, "most_iterations_lost": max(lost), "iterations": iterations,
        "checkpoint_every": CONFIG.checkpoint_every, "minutes": round((time.perf_counter() - began) / 60, 1), **machine(),
        "command": " ".join(["python benchmarks/kills.py", *sys.argv[1:]]),
    }  # fmt: skip
    if max(lost) > CONFIG.checkpoint_every:
        sys.exit(f"{max(lost)} iterations were lost")
    print(json.dumps(found))
    if given.out:
        write_text(given.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
