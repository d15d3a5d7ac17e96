"""Policies on recorded scenes and on routes of CARLA's towns: the tables of docs/guide/benchmarks.md.

`make recorded`: drives idm, pretrained, random, constant and, where there is one, the expert through every suite, and
writes benchmarks/results/recorded.json (scenes) and benchmarks/results/routes.json (`--suites carla-routes`). Scenes and
towns are those beside the checkout, in ../shared; without them only generated scenes are driven. Routes are drawn along
the lanes of each town, the same ones each time, since the leaderboard's own are not ours to ship. n is small, and said.
"""

import json
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro
from rich.console import Console

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_env.roads import MapWarning, load
from gigaflow_env.scenes import generated
from gigaflow_train.benchmark import run
from gigaflow_train.benchmark.request import Request
from gigaflow_train.evaluate import carla

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "recorded.json"
SHARED = ROOT.parent / "shared"
REAL = (
    "motion_data_one_scenario.tfrecord", "motion_data_one_example.tfrecord", "gpudrive_scene_4.json",
    "scenarionet_overpass.pkl", "argoverse2",
)  # fmt: skip
TOWNS = ("Town01", "Town02", "Town04", "Town06")
LEAST, MOST = 250.0, 600.0
"""[m] Length of a drawn route."""
POLICIES = ("pretrained", "idm", "constant", "random")


@dataclass(frozen=True)
class Recorded:
    """Drive every suite with every policy."""

    out: Path = RESULTS
    """The result file."""
    suites: tuple[str, ...] = ("waymax", "nuplan", "wosac", "scenes")
    """Which suites: those, or carla-routes."""
    generated: int = 24
    """Generated scenes."""
    routes: int = 4
    """Routes a town."""
    rollouts: int = 4
    """Of WOSAC."""
    threads: int | None = None
    """CPU threads."""
    seed: int = 1
    """Of everything."""


def draw_routes(path: Path, town: Path, count: int, seed: int) -> None:
    """Write routes along the lanes of a town as a file of the leaderboard, version 1; CARLA's y points south."""
    graph = carla.lane_graph(load(town))
    number = {name: k for k, name in enumerate(graph.names)}
    generator = np.random.default_rng(seed)
    lines = ["<routes>"]
    made = 0
    while made < count:
        lane = int(generator.integers(len(graph.names)))
        if graph.road_map.lanes[graph.names[lane]].junction is not None or graph.dense[lane][-1, 6] < 20.0:
            continue
        points, length = [graph.dense[lane][5, :2]], 0.0
        wanted = generator.uniform(LEAST, MOST)
        while length < wanted:
            points.append(graph.dense[lane][len(graph.dense[lane]) // 2, :2])
            length += float(graph.dense[lane][-1, 6])
            after = [number[one] for one in graph.road_map.lanes[graph.names[lane]].successors if one in number]
            if not after:
                break
            lane = after[int(generator.integers(len(after)))]
        if length < LEAST:
            continue
        lines.append(f'  <route id="{made}" town="{town.stem}">')
        lines += [f'    <waypoint x="{x:.2f}" y="{-y:.2f}" z="0.0"/>' for x, y in [*points, graph.dense[lane][-5, :2]]]
        lines.append("  </route>")
        made += 1
    path.write_text("\n".join([*lines, "</routes>"]))


def rows_of(content: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a benchmark: the figures of all policies, and the rows of the scenes without what explains them."""
    found = {content["policy"]["name"]: content["figures"]}
    return found | {name: one["figures"] for name, one in content["baselines"].items()}


def main(card: Recorded) -> None:
    """Drive, and write the file when all is driven: a part of it was taken for the whole once."""
    warnings.simplefilter("ignore", MapWarning)
    warnings.simplefilter("ignore", RuntimeWarning)
    console = Console(width=200)
    where = machine()
    where["command"] = " ".join(["python benchmarks/recorded.py", *sys.argv[1:]])
    found: dict[str, Any] = {"machine": where, "suites": {}}
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "generated"
        list(generated.write(made, card.generated, card.seed))
        sets = {"generated scenes": (str(made),)}
        real = [str(SHARED / "scenes" / name) for name in REAL if (SHARED / "scenes" / name).exists()]
        if real:
            sets["real scenes"] = tuple(real)
        for suite in card.suites:
            if suite == "carla-routes":
                for town in TOWNS:
                    file = SHARED / "maps" / "carla" / f"{town}.xodr"
                    if file.is_file():
                        routes = Path(folder) / f"{town}.xml"
                        draw_routes(routes, file, card.routes, card.seed)
                        request = Request(suite, "pretrained", (str(routes),), (str(file),), Path(folder) / "out",
                                          POLICIES[1:], card.seed, threads=card.threads, keep=0)  # fmt: skip
                        found["suites"][f"{suite}, {town}"] = rows_of(run.run(request, console))
                continue
            for name, data in sets.items():
                for others in ("replay", "idm") if suite in ("waymax", "nuplan") else ("replay",):
                    out, baselines = Path(folder) / "out", ("replay", *POLICIES[1:])
                    request = Request(suite, "pretrained", data, (), out, baselines, card.seed, others=others,
                                      rollouts=card.rollouts, threads=card.threads, keep=0)  # fmt: skip
                    found["suites"][f"{suite}, {name}, others {others}"] = rows_of(run.run(request, console))
    write_text(card.out, json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main(tyro.cli(Recorded))
