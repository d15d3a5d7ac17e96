"""What importing real maps shows: sizes, gaps, lights, levels and times: `python benchmarks/maps.py FILE ...`.

Times are processor seconds, the least of several runs: other programs on the machine don't count.
"""

import json
import re
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import shapely
import tyro

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_env.roads import RoadMap, load, summary
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.compiled.cache import fetch, keep
from gigaflow_env.roads.compiled.compile import compile_roads

LEVEL = 2.5  # m: lanes further apart in height lie on different levels
LIGHTS = rb"""<signal\s[^>]*type="10000(?:01|09|10|11|12)"[^>]*>"""  # of vehicles, in OpenDRIVE's catalogue


@dataclass(frozen=True)
class Maps:
    """Import map files and say what is in them."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    repeat: int = 3
    """Runs of which the fastest counts."""
    json: Path | None = None
    """Write the result into this file."""


def facts(path: Path) -> dict[str, Any]:
    """What an imported map holds; ready for JSON."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        road_map = load(path)
    found = summary(road_map)
    given, wired = lights(path, road_map)
    return {
        "lane_km": round(found["lane_km"], 2),
        "lanes": found["lanes"],
        "links": found["links"],
        "max_link_gap_mm": round(found["max_link_gap_m"] * 1000, 2),
        "largest_component": round(found["largest_component"], 3),
        "lights_in_file": given,
        "lights_wired": wired,
        "light_groups": len({signal.group or key for key, signal in road_map.signals.items() if signal.kind == "light"}),
        "crosswalks": found["crosswalks"],
        **levels(road_map),
        "left_out": [str(one.message).partition(": ")[2] for one in said],
    }


def lights(path: Path, road_map: RoadMap) -> tuple[int | None, int]:
    """Lights for vehicles that an OpenDRIVE file has, None for other formats; and those that control a lane's entry."""
    obeyed = {lane.signal for lane in road_map.lanes.values()}
    wired = sum(signal.kind == "light" and key in obeyed for key, signal in road_map.signals.items())
    return (len(re.findall(LIGHTS, path.read_bytes())) if path.suffix == ".xodr" else None), wired


def levels(road_map: RoadMap) -> dict[str, Any]:
    """How many pairs of driving lanes pass over each other, and the least height between them [m]."""
    lines = [sample(lane.line, 1.0) for lane in road_map.lanes.values() if lane.kind == "driving"]
    shapes = np.array([shapely.LineString(line[:, :2]).buffer(1.7, cap_style="flat") for line in lines])
    over = []
    for a, b in shapely.STRtree(shapes).query(shapes, predicate="intersects").T.tolist():
        if a < b:
            middle = shapes[a].intersection(shapes[b]).centroid
            one, other = (
                line[np.hypot(line[:, 0] - middle.x, line[:, 1] - middle.y).argmin(), 2] for line in (lines[a], lines[b])
            )
            over.append(abs(one - other))
    over = [height for height in over if height > LEVEL]
    return {"pairs_over_each_other": len(over), "least_clearance_m": round(min(over), 1) if over else None}


def times(path: Path, repeat: int) -> dict[str, float]:
    """Processor seconds to import the file, to compile the map for the "paper" preset, and to load the tables kept."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        road_map = load(path)
        roads = compile_roads(road_map, cache=False)
        with tempfile.TemporaryDirectory() as folder:
            kept = Path(folder) / "town.roads"
            keep(roads, kept)
            return {
                "import_s": fastest(lambda: load(path), repeat),
                "compile_s": fastest(lambda: compile_roads(road_map, cache=False), repeat),
                "cached_s": fastest(lambda: fetch(kept), 3 * repeat),
            }


def fastest(call: Callable[[], Any], repeat: int) -> float:
    seconds = []
    for _ in range(repeat):
        began = time.process_time()
        call()
        seconds.append(time.process_time() - began)
    return round(min(seconds), 3)


def main(argv: Sequence[str] | None = None) -> None:
    given = tyro.cli(Maps, args=argv)
    maps = {}
    for path in given.files:
        maps[path.name] = facts(path) | times(path, given.repeat)
        print(path.name, json.dumps(maps[path.name]), flush=True)
    if given.json is not None:
        result = {"maps": maps, **machine(), "command": " ".join(["benchmarks/maps.py", *sys.argv[1:]])}
        write_text(given.json, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
