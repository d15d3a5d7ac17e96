"""What several processes send to train one policy: counted at every call, counted on the wire, and computed.

    python benchmarks/ranks.py [--processes 1 2 4 8] [--out benchmarks/results/ranks.json]

Each process trains a tiny network on eight cars for a few iterations and sums the bytes of all tensors that it gives to
torch.distributed. They have to equal what docs/guide/cluster.md computes. A ring all-reduce sends 2 (N - 1) / N times a
tensor out of every process: where this program may have a network of its own (`unshare --net`, Linux), the bytes of its
loopback device are printed beside that.
"""

import argparse
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_train import environment, ranks
from gigaflow_train.config import PRESETS, TrainConfig
from gigaflow_train.networks import build
from gigaflow_train.policy import NormalisedLinear
from gigaflow_train.train import train

ALONE = "GIGAFLOW_RANKS_ALONE"
"""Set in the process that has a network of its own."""
NUMBERS = 1, 19, 2, 3, 2
"""An iteration's sums beside the gradients: largest advantage float32; what happened float64; how much was kept int64; its
moments float64; seconds and stop float64."""


def config_for(processes: int, iterations: int) -> TrainConfig:
    return PRESETS["laptop"]().replace(
        num_envs=8, agents_per_world=8, rollout=16, minutes=None, steps=8 * 16 * processes * iterations,
        minibatch=32 * processes, threads=1, checkpoint_every=10**6,
    )  # fmt: skip


def worker(processes: int, rank: int, port: int, out: Path, iterations: int) -> None:
    """One of the processes: what it gave to torch.distributed goes to a file."""
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(processes), "RANK": str(rank)}
    sent = {"all_reduce": 0, "broadcast": 0}
    calls = {"gradients": 0}
    config = config_for(processes, iterations)
    for name in sent:
        original = getattr(dist, name)

        def counted(tensor: torch.Tensor, *args: Any, name: str = name, original: Any = original) -> Any:
            sent[name] += tensor.nbytes
            return original(tensor, *args)

        setattr(dist, name, counted)
    summed = ranks.sum_gradients

    def gradients(parameters: Any) -> None:
        calls["gradients"] += 1
        summed(parameters)

    ranks.sum_gradients = gradients
    ranks.start("cpu")
    env = environment.of_training(config)
    row = train(env, config, out / f"run-{processes}")
    ranks.stop()
    found = {"sent": sent, "minibatches": calls["gradients"], "iterations": row["iteration"]}
    write_text(out / f"{processes}-{rank}.json", json.dumps(found))


def computed(processes: int, iterations: int, minibatches: int) -> dict[str, int]:
    """Bytes of all tensors that a process gives, as docs/guide/cluster.md has them."""
    if processes == 1:
        return {"all_reduce": 0, "broadcast": 0}
    config = config_for(processes, iterations)
    env = environment.of_training(config)
    policy = build(env.layout, config)
    env.close()
    weights = 4 * sum(one.numel() for one in policy.parameters())
    sums = sum(module.sums.nbytes for module in policy.modules() if isinstance(module, NormalisedLinear))
    spike, happened, kept, moments, end = NUMBERS
    an_iteration = 4 * spike + 8 * (happened + kept + moments + end) + 8 * processes  # numbers that were kept: one a process
    losses = 6 * 4  # of each minibatch
    return {
        "all_reduce": sums + iterations * an_iteration + minibatches * (weights + losses),
        "broadcast": sum(tensor.nbytes for tensor in policy.state_dict().values()),
    }


def looped() -> int:
    """Bytes that the loopback device has carried."""
    lines = Path("/proc/net/dev").read_text().splitlines()
    return int(next(line for line in lines if line.strip().startswith("lo:")).split(":")[1].split()[0])


def together(processes: int, iterations: int) -> dict[str, Any]:
    """Train with so many processes: what each gave, what that should be, and what went over the wire."""
    with socket.socket() as free, tempfile.TemporaryDirectory() as folder:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        before, children = looped(), []
        for rank in range(processes):
            number = os.fork()
            if number == 0:
                try:
                    worker(processes, rank, port, Path(folder), iterations)
                    os._exit(0)
                finally:
                    os._exit(1)
            children.append(number)
        if any(os.waitpid(number, 0)[1] for number in children):
            sys.exit(f"one of {processes} processes failed: see above")
        wire = looped() - before
        told = [json.loads((Path(folder) / f"{processes}-{rank}.json").read_text()) for rank in range(processes)]
    if any(one != told[0] for one in told):
        sys.exit(f"processes have sent different amounts: {told}")
    expected = computed(processes, told[0]["iterations"], told[0]["minibatches"])
    ring = 2 * (processes - 1) * told[0]["sent"]["all_reduce"]  # of all processes together
    return {
        "processes": processes, **told[0], "computed": expected, "equal": told[0]["sent"] == expected,
        "ring_bytes": ring, "wire_bytes": wire if ALONE in os.environ else None,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--iterations", type=int, default=6)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    if ALONE not in os.environ and shutil.which("unshare") and shutil.which("ip"):
        inner = f'ip link set lo up && {ALONE}=1 exec "$@"'
        words = ["unshare", "--map-root-user", "--net", "sh", "-c", inner, "sh"]
        if subprocess.run([*words, "true"], capture_output=True).returncode == 0:
            sys.exit(subprocess.call([*words, sys.executable, *sys.argv]))
    rows = [together(processes, given.iterations) for processes in given.processes]
    for row in rows:
        print(json.dumps(row))
    if not all(row["equal"] for row in rows):
        sys.exit("a process has sent another amount than computed")
    if given.out:
        words = (
            f"python benchmarks/ranks.py --processes {' '.join(map(str, given.processes))} --iterations {given.iterations}"
        )
        write_text(given.out, json.dumps({"runs": rows, **machine(), "command": words}, indent=1) + "\n")


if __name__ == "__main__":
    main()
