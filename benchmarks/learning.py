"""Drives a trained policy and the baselines and writes benchmarks/results/learning.jsonl, one JSON line a policy and map.

    # RUN: a directory of gigaflow-train run; baselines drive on the first map
    python benchmarks/learning.py RUN MAP [MAP ...]

Lines about other runs or maps stay; a line about the same is replaced.
"""

import json
import subprocess
import sys
from pathlib import Path

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_train.checkpoint import read_facts
from gigaflow_train.towns import titled

RESULTS = Path(__file__).parent / "results" / "learning.jsonl"
BASELINES = ("frozen", "random", "reverse")
STEPS = "1200"


def drive(what: str, map: str) -> dict:
    words = ["evaluate", what, "--map", map, "--steps", STEPS, "--json"]
    print("gigaflow-train", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "gigaflow_train", *words], stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout)
    print(f"  goal rate {result['goal_rate']['value']:.3f}", flush=True)
    command = " ".join(["gigaflow-train", *words]).replace(map, Path(map).name).replace(what, Path(what).name)
    result["settings"] = {**result["settings"], "maps": [Path(map).name], "what": Path(what).name}
    return {**result, "map": Path(map).name, **machine(), "command": command}


def main(run: str, maps: list[str]) -> None:
    facts = read_facts(Path(run))
    trained = titled(facts.config.maps)
    *_, last = (Path(run) / "metrics.jsonl").read_text().splitlines()
    minutes, samples = json.loads(last)["minutes"], facts.step / 1e6
    name = f"self-play, {minutes:.0f} min, {samples:.0f} M samples"
    lines = [{"policy": name, "trained_on": trained, **drive(run, map)} for map in maps]
    lines += [{"policy": what, "trained_on": "", **drive(what, maps[0])} for what in BASELINES]
    made = {(line["trained_on"], line["map"], line["policy"].split(",")[0]) for line in lines}
    kept = [json.loads(text) for text in RESULTS.read_text().splitlines()] if RESULTS.exists() else []
    kept = [line for line in kept if (line["trained_on"], line["map"], line["policy"].split(",")[0]) not in made]
    write_text(RESULTS, "".join(json.dumps(line) + "\n" for line in [*kept, *lines]))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: python benchmarks/learning.py RUN MAP [MAP ...]")
    main(sys.argv[1], sys.argv[2:])
