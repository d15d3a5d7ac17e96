"""What an agent-step costs by the number of rows and by the size of the map, and what threads share.

    python benchmarks/sizes.py [--json benchmarks/results/sizes.json]
    python benchmarks/sizes.py --plot docs/media/sizes.png

Times are processor time on one thread, preset `paper` with 64 agents a world, random actions, arrays not copied; the median
of BLOCKS blocks. Maps above the shipped towns are the square grids of large_maps.py. Two threads write one line of memory
where their ranges of worlds meet within it: those lines are counted from the addresses of all arrays that a step writes.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from large_maps import town

from gigaflow_env import PRESETS, GigaflowVectorEnv
from gigaflow_env.bench.machine import machine
from gigaflow_env.files import replacing, write_text
from gigaflow_env.roads import find
from gigaflow_env.roads.centerline import length
from gigaflow_env.roads.road_map import RoadMap
from gigaflow_env.simulator import Simulator
from gigaflow_env.snapshot import arrays

RESULT = Path(__file__).parent / "results" / "sizes.json"
ROWS = tuple(64 << k for k in range(11))
"""From 64 to 65,536."""
TOWNS = ("loop", "village", "downtown", "arterial", "highway", "mixed")
GRIDS = (5, 8, 12, 16)
"""Streets along each side of the towns of large_maps.py, 900 m apart."""
AGENTS, WARM_UP, BLOCKS = 64, 60, 5
AGENT_STEPS = 400_000
"""Of all blocks together: some seconds."""
LINE = 64
"""[bytes] that one core writes at a time."""
THREADS = (2, 8, 16, 64)


def lane_km(road_map: RoadMap) -> float:
    """Length of the driving lanes [km]."""
    return sum(length(lane.line) for lane in road_map.lanes.values() if lane.kind == "driving") / 1000


def cost(road_map: Any, rows: int) -> float:
    """Nanoseconds of processor time of an agent-step."""
    env = GigaflowVectorEnv(rows, map=road_map, preset="paper", config={"agents_per_world": AGENTS}, threads=1, copy=False)
    env.reset(seed=0)
    chance = np.random.default_rng(0)
    actions = [chance.integers(0, env.single_action_space.n, rows) for _ in range(16)]
    steps = max(AGENT_STEPS // rows // BLOCKS, 4)
    for k in range(WARM_UP):
        env.step(actions[k % 16])
    found = []
    for _ in range(BLOCKS):
        start = time.process_time()
        for k in range(steps):
            env.step(actions[k % 16])
        found.append((time.process_time() - start) / steps / rows)
    env.close()
    return 1e9 * float(np.median(found))


def shared(rows: int = 4096) -> dict[str, Any]:
    """Lines that two threads write in a step, for several numbers of threads, and lines written in all."""
    simulator = Simulator(find("downtown"), rows, PRESETS["paper"]().replace(agents_per_world=AGENTS), threads=1)
    worlds = simulator.worlds
    written = [array for array in arrays(simulator.state).values() if len(array.shape) and array.shape[0] == worlds]
    written.append(simulator.observations)
    found = {}
    for threads in THREADS:
        bounds = [worlds * part // threads for part in range(1, threads)]
        found[str(threads)] = sum(
            (array.ctypes.data + world * array.strides[0]) % LINE != 0 for array in written for world in bounds
        )
    return {"rows": rows, "lines_shared": found, "lines_written": sum(array.nbytes for array in written) // LINE}


def plot(result: dict[str, Any], path: Path) -> None:
    """Draw both costs side by side."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2, sharey=True)
    left.plot(*zip(*result["rows"], strict=True), marker="o")
    left.set(xlabel="rows (downtown)", ylabel="ns an agent-step, one thread", xscale="log")
    right.plot(*zip(*((km, ns) for _, km, ns in result["maps"]), strict=True), marker="o", linestyle="")
    for k, (name, km, ns) in enumerate(result["maps"]):
        # Above and below in turns, so that neighbours' names don't meet; beside the points of large maps, that rise steeply.
        place, aligned = ((0, -12 if k % 2 else 7), "center") if km < 100 else ((-7, -2), "right")
        right.annotate(name, (km, ns), textcoords="offset points", xytext=place, ha=aligned, fontsize=7)
    right.set(xlabel="km of lanes (4,096 rows)", xscale="log")
    right.margins(x=0.12)
    for axes in (left, right):
        axes.grid(alpha=0.3)
    left.set_ylim(0, 1.1 * max(ns for _, _, ns in result["maps"]))
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120, format="png")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="write the result into this file")
    parser.add_argument("--plot", type=Path, help="draw the result that is there, instead")
    given = parser.parse_args()
    if given.plot:
        plot(json.loads(RESULT.read_text()), given.plot)
        return
    result: dict[str, Any] = {"rows": [], "maps": []}
    downtown = find("downtown")
    for rows in ROWS:
        result["rows"].append([rows, round(cost(downtown, rows), 1)])
        print(f"{rows:6} rows: {result['rows'][-1][1]:7.1f} ns", flush=True)
    maps = {name: find(name) for name in TOWNS}
    maps |= {f"{streets} x {streets} streets": town(streets, 900.0, 110.0) for streets in GRIDS}
    for name, road_map in maps.items():
        result["maps"].append([name, round(lane_km(road_map), 1), round(cost(road_map, 4096), 1)])
        print(f"{name:16} {result['maps'][-1][1]:7.1f} km: {result['maps'][-1][2]:7.1f} ns", flush=True)
    result["threads"] = shared()
    result |= {**machine(), "command": "python benchmarks/sizes.py"}
    print(json.dumps(result["threads"]))
    if given.json:
        write_text(given.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
