"""Measures the scenes of the throughput table: benchmarks/results/throughput.jsonl, one JSON line a scene.

    python benchmarks/throughput.py [MAP ...]

Every MAP (for example a CARLA town) is measured too, with the full observation and 64 agents a world. Each scene runs
in a process of its own.
"""

import json
import subprocess
import sys
from pathlib import Path

from gigaflow_env.bench.throughput import SCENES
from gigaflow_env.files import write_text

RESULTS = Path(__file__).parent / "results" / "throughput.jsonl"


def measure(map: str, preset: str, agents_per_world: int) -> dict:
    words = ["bench", "--map", map, "--preset", preset, "--agents-per-world", str(agents_per_world), "--json"]
    print("gigaflow-env", *words, flush=True)
    done = subprocess.run([sys.executable, "-m", "gigaflow_env", *words], stdout=subprocess.PIPE, text=True, check=True)
    result = json.loads(done.stdout)
    result["command"] = " ".join(["gigaflow-env", *words]).replace(map, Path(map).name)
    result["settings"]["map"] = Path(map).name
    print(f"  {result['agent_steps_per_s_one_thread'] / 1e6:.2f} M agent-steps/s on one core", flush=True)
    return result


def main(maps: list[str]) -> None:
    scenes = [*SCENES.values(), *({"map": path, "preset": "paper", "agents_per_world": 64} for path in maps)]
    lines = [json.dumps(measure(**scene)) for scene in scenes]
    write_text(RESULTS, "".join(line + "\n" for line in lines))


if __name__ == "__main__":
    main(sys.argv[1:])
