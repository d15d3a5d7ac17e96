"""How fast this tree trains beside another one: the same preset, in turns, on one machine.

    git worktree add ../before 163c8ce
    python benchmarks/training_against.py ../before [--samples 2000000] [--json]

Each tree trains in a process of its own and waits while the other does some iterations, so both meet the same machine, also
where others use it. Printed are the ratio of processor time a sample, turn by turn (median and quartiles), that of samples a
second, and the goal rates both have come to. The trees may have any names for what they import: what is compared is the
trainer's `laptop` preset on `loop`, as each tree has it.
"""

import argparse
import contextlib
import json
import sys
import tempfile
from pathlib import Path

from turns import Worker, quartiles

TURN = 3
"""Iterations a turn: long against what a change of the process costs, short against what others do to the machine."""

WORKER = """
import json, sys, time
from pathlib import Path
from gigaflow_train import environment
from gigaflow_train.config import PRESETS
from gigaflow_train.train import train

out, samples, threads, turn = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
config = PRESETS["laptop"]().replace(minutes=None, steps=samples, threads=threads)
if hasattr(environment, "of_training"):
    env = environment.of_training(config)
else:
    env = environment.make(
        map=config.map, preset=config.preset, config=config.environment, num_envs=config.num_envs,
        agents_per_world=config.agents_per_world, threads=threads,
    )
done = {"iterations": 0, "step": 0}

def show(row):
    done["iterations"] += 1
    if done["iterations"] % turn:
        return
    print(json.dumps({
        "step": row["step"], "samples": row["step"] - done["step"], "cpu": time.process_time() - done["cpu"],
        "wall": time.perf_counter() - done["wall"], "kept": row["kept"], "goal_rate": row.get("goal_rate"),
    }), flush=True)
    done["step"] = row["step"]
    wait()

def wait():
    if not sys.stdin.readline():
        sys.exit()
    done["cpu"], done["wall"] = time.process_time(), time.perf_counter()

print("ready", flush=True)
wait()
train(env, config, Path(out), show=show)
"""


def turns(ours: Path, other: Path, samples: int, threads: int) -> list[tuple[dict, dict]]:
    """What both did in each pair of turns; the first pair warms up and is left out."""
    pairs: list[tuple[dict, dict]] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        trees = ours.resolve(), other.resolve()
        words = samples, threads, TURN
        workers = [stack.enter_context(Worker(tree, WORKER, (f"{folder}/{k}", *words))) for k, tree in enumerate(trees)]
        for worker in workers:
            worker.wait()
        while True:
            one = workers[0].turn()
            two = workers[1].turn() if one else None
            if one is None or two is None:
                return pairs[1:]
            pairs.append((one, two))
            print(f"{one['step']:,} samples", end="\r", file=sys.stderr)


def summary(pairs: list[tuple[dict, dict]]) -> dict:
    def a_sample(turn: dict, what: str) -> float:
        return turn[what] / turn["samples"]

    half = len(pairs) // 2
    return {
        "faster_by_cpu": quartiles([a_sample(b, "cpu") / a_sample(a, "cpu") for a, b in pairs]),
        "faster_by_wall": quartiles([a_sample(b, "wall") / a_sample(a, "wall") for a, b in pairs]),
        "faster_by_cpu_second_half": quartiles([a_sample(b, "cpu") / a_sample(a, "cpu") for a, b in pairs[half:]]),
        "us_cpu_a_sample": [
            round(1e6 * sum(p[k]["cpu"] for p in pairs) / sum(p[k]["samples"] for p in pairs), 1) for k in (0, 1)
        ],
        "samples": pairs[-1][0]["step"],
        "goal_rate": [pair["goal_rate"] for pair in pairs[-1]],
        "kept": [round(pair["kept"], 3) for pair in pairs[-1]],
        "turns": len(pairs),
    }


def main() -> None:
    from gigaflow_env.bench.machine import machine

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, help="a checkout of another revision")
    parser.add_argument("--samples", type=int, default=2_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--revision", default="163c8ce", help="what the other checkout is of, for the record")
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    found = summary(turns(Path(__file__).parents[1], given.other, given.samples, given.threads))
    if given.json:
        command = f"python benchmarks/training_against.py ../before --samples {given.samples} --threads {given.threads}"
        print(json.dumps({**found, "against": given.revision, "threads": given.threads, **machine(), "command": command}))
        return
    print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
