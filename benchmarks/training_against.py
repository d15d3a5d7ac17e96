"""How fast this tree trains beside another one: the same preset, in turns, on one machine.

    git worktree add ../before 163c8ce
    python benchmarks/training_against.py ../before [--samples 2000000] [--seeds 0 1 2] [--out FILE.jsonl]
    python benchmarks/training_against.py --plot docs/media/training_against.png

Each tree trains in a process of its own and waits while the other does some iterations, so both meet the same machine, also
where others use it. Printed are the ratio of processor time a sample, turn by turn (median and quartiles), that of samples a
second, the goal rates both have come to, and how they came there over the seconds of their own turns: what a run alone
would have taken. The trees may have any names for what they import: what is compared is the
trainer's `laptop` preset on `loop`, as each tree has it.
"""

import argparse
import contextlib
import itertools
import json
import sys
import tempfile
from pathlib import Path

from turns import Worker, quartiles

from gigaflow_env.files import replacing, write_text

RESULT = Path(__file__).parent / "results" / "training_against.jsonl"
SMOOTH = 4
"""Turns that a point of a curve is the mean of."""

TURN = 3
"""Iterations a turn: long against what a change of the process costs, short against what others do to the machine."""

WORKER = """
import json, sys, time
from pathlib import Path
from gigaflow_train import environment
from gigaflow_train.config import PRESETS
from gigaflow_train.train import train

out, (samples, threads, turn, seed) = sys.argv[1], map(int, sys.argv[2:])
config = PRESETS["laptop"]().replace(minutes=None, steps=samples, threads=threads, seed=seed)
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


def turns(ours: Path, other: Path, samples: int, threads: int, seed: int) -> list[tuple[dict, dict]]:
    """What both did in each pair of turns; the first pair warms up and is left out."""
    pairs: list[tuple[dict, dict]] = []
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        trees = ours.resolve(), other.resolve()
        words = samples, threads, TURN, seed
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


def curve(turns: list[dict]) -> dict[str, list[float]]:
    """Goal rate over the seconds of a tree's own turns, each point the mean of SMOOTH turns."""
    seconds = list(itertools.accumulate(turn["wall"] for turn in turns))
    points = [(at, turn["goal_rate"]) for at, turn in zip(seconds, turns, strict=True) if turn["goal_rate"] is not None]
    groups = [points[k : k + SMOOTH] for k in range(0, len(points), SMOOTH)]
    return {
        "seconds": [round(group[-1][0], 2) for group in groups],
        "goal_rate": [round(sum(goal for _, goal in group) / len(group), 4) for group in groups],
    }


def plot(path: Path) -> None:
    """Draw the curves of the results with most seeds."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    found = max(map(json.loads, RESULT.read_text().splitlines()), key=lambda line: len(line["seeds"]))
    figure = Figure(figsize=(8, 4), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for k, (name, colour) in enumerate((("this tree", "#1f77b4"), (found["against"], "#888888"))):
        for seed, pair in zip(found["seeds"], found["curves"], strict=True):
            label = name if seed == found["seeds"][0] else None
            axes.plot(pair[k]["seconds"], pair[k]["goal_rate"], color=colour, label=label, linewidth=1.2)
    axes.set(xlabel="seconds of training", ylabel="goal reached, share of routes", ylim=(0, 1.02))
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def summary(runs: list[list[tuple[dict, dict]]]) -> dict:
    """Of a run a seed: ratios over all turns, and what each seed came to."""
    pairs = [pair for run in runs for pair in run]
    second = [pair for run in runs for pair in run[len(run) // 2 :]]

    def a_sample(turn: dict, what: str) -> float:
        return turn[what] / turn["samples"]

    return {
        "faster_by_cpu": quartiles([a_sample(b, "cpu") / a_sample(a, "cpu") for a, b in pairs]),
        "faster_by_wall": quartiles([a_sample(b, "wall") / a_sample(a, "wall") for a, b in pairs]),
        "faster_by_cpu_second_half": quartiles([a_sample(b, "cpu") / a_sample(a, "cpu") for a, b in second]),
        "us_cpu_a_sample": [
            round(1e6 * sum(p[k]["cpu"] for p in pairs) / sum(p[k]["samples"] for p in pairs), 1) for k in (0, 1)
        ],
        "samples": runs[0][-1][0]["step"],
        "goal_rate": [round(sum(run[-1][k]["goal_rate"] for run in runs) / len(runs), 4) for k in (0, 1)],
        "kept": [round(sum(run[-1][k]["kept"] for run in runs) / len(runs), 3) for k in (0, 1)],
        "curves": [[curve([pair[k] for pair in run]) for k in (0, 1)] for run in runs],
        "turns": len(pairs),
    }


def main() -> None:
    from gigaflow_env.bench.machine import machine

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("other", type=Path, nargs="?", help="a checkout of another revision")
    parser.add_argument("--samples", type=int, default=2_000_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--revision", default="163c8ce", help="what the other checkout is of, for the record")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path, help="where the result goes, in place of one with as many threads")
    parser.add_argument("--plot", type=Path, help="draw the results that are there, instead")
    given = parser.parse_args()
    if given.plot:
        plot(given.plot)
        return
    if given.other is None:
        parser.error("give a checkout of another revision")
    root = Path(__file__).parents[1]
    found = summary([turns(root, given.other, given.samples, given.threads, seed) for seed in given.seeds])
    seeds = " ".join(map(str, given.seeds))
    told = f"--samples {given.samples} --threads {given.threads} --seeds {seeds}"
    line = {
        **found, "against": given.revision, "threads": given.threads, "seeds": given.seeds, **machine(),
        "command": f"python benchmarks/training_against.py ../before {told}",
    }  # fmt: skip
    print(json.dumps({name: value for name, value in line.items() if name != "curves"}, indent=1))
    if given.out:
        lines = [json.loads(text) for text in given.out.read_text().splitlines()] if given.out.exists() else []
        kept = [old for old in lines if old["threads"] != given.threads]
        both = sorted([*kept, line], key=lambda one: one["threads"])
        write_text(given.out, "".join(json.dumps(one) + "\n" for one in both))


if __name__ == "__main__":
    main()
