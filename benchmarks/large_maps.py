"""Compile time and memory by kilometres of lanes, up to a town of 20 x 20 km: `python benchmarks/large_maps.py`.

The towns are square grids of two-way streets with crossings, made here. Each is compiled in a process of its own, so that
the most memory it took is its own; then rule-based cars drive on it, on one thread.
"""

import json
import math
import multiprocessing
import resource
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tyro

from gigaflow_env.bench.machine import machine
from gigaflow_env.config import laptop
from gigaflow_env.files import write_text
from gigaflow_env.roads.compiled.compile import compile_roads, needed_bytes
from gigaflow_env.roads.compiled.neighbour_lists import Sizes
from gigaflow_env.roads.road_map import Lane, RoadMap
from gigaflow_env.simulator import Simulator

HALF = 1.75
"""[m] of lane on either side of its middle, and from the middle of the street to that of its lanes."""
TILE = 32
"""Cells along each side of a tile, to count what a grid of tiles would take."""
CORNER = 10.0
"""[m] from the middle of a crossing to where its arms begin."""


@dataclass(frozen=True)
class LargeMaps:
    """Compile square towns and drive on them."""

    streets: tuple[int, ...] = (4, 7, 12, 17, 23)
    """Streets along each side."""
    spacing: float = 900.0
    """[m] between two streets: 23 of them make a town of 20 x 20 km with 1,800 km of lanes."""
    piece: float = 110.0
    """[m] of a lane, about."""
    cars: int = 30
    """In each world."""
    worlds: int = 10
    seconds: float = 60.0
    json: Path | None = None
    """Write the results into this file."""


def town(streets: int, spacing: float, piece: float) -> RoadMap:
    """A square town: streets in both directions, crossings where one may go straight on, left or right."""
    lanes: dict[str, Lane] = {}
    into: dict[tuple[int, int], list] = {}
    out: dict[tuple[int, int], list] = {}
    for i in range(streets):
        for j in range(streets):
            for di, dj in ((1, 0), (0, 1), (-1, 0), (0, -1)):
                k, m = i + di, j + dj
                if not (0 <= k < streets and 0 <= m < streets):
                    continue
                along, side = np.array([di, dj], float), np.array([dj, -di], float) * HALF
                first = np.array([i, j]) * spacing + along * CORNER + side
                length = spacing - 2 * CORNER
                count = max(round(length / piece), 1)
                heading = math.atan2(dj, di)
                names = [f"{i}.{j}>{k}.{m}:{part}" for part in range(count)]
                for part, name in enumerate(names):
                    ends = [first + along * length * share / count for share in (part, part + 1)]
                    line = np.array([[*end, 0.0, heading, 2 * HALF] for end in ends])
                    lanes[name] = Lane(name, line, successors=tuple(names[part + 1 : part + 2]), speed=13.9)
                out.setdefault((i, j), []).append((names[0], heading))
                into.setdefault((k, m), []).append((names[-1], heading))
    for at, comes in into.items():
        for name, heading in comes:
            links = []
            for goes, leaves in out[at]:
                turned = math.remainder(leaves - heading, 2 * math.pi)
                if abs(turned) > 3.0:
                    continue  # no U-turns
                links.append(f"{name}|{goes}")
                ends = lanes[name].line[-1], lanes[goes].line[0]
                line = turn(ends[0][:2], heading, turned, ends[1][:2])
                lanes[links[-1]] = Lane(links[-1], line, successors=(goes,), speed=8.0, junction=f"{at[0]}.{at[1]}")
            lanes[name] = Lane(name, lanes[name].line, successors=tuple(links), speed=13.9)
    return RoadMap(f"grid {streets} x {streets}", lanes, {})


def turn(start: np.ndarray, heading: float, turned: float, end: np.ndarray) -> np.ndarray:
    """A line straight on, or a quarter of a circle."""
    if abs(turned) < 0.1:
        return np.array([[*start, 0.0, heading, 2 * HALF], [*end, 0.0, heading, 2 * HALF]])
    radius = float(np.linalg.norm(end - start)) / math.sqrt(2)
    sign = math.copysign(1.0, turned)
    middle = start + sign * radius * np.array([-math.sin(heading), math.cos(heading)])
    angles = heading + np.linspace(0.0, turned, 7)
    points = middle[:, None] + sign * radius * np.array([np.sin(angles), -np.cos(angles)])
    return np.column_stack([points.T, np.zeros(7), angles, np.full(7, 2 * HALF)])


def tiled(starts: np.ndarray, columns: int, rows: int) -> int:
    """Bytes of the cell starts of a grid if only tiles that hold anything had them, and a number for each tile."""
    held = (np.diff(starts[: columns * rows + 1]) > 0).reshape(rows, columns)
    held = np.pad(held, ((0, -rows % TILE), (0, -columns % TILE)))
    used = held.reshape(held.shape[0] // TILE, TILE, held.shape[1] // TILE, TILE).any(axis=(1, 3))
    return int(used.sum()) * (TILE * TILE + 1) * starts.itemsize + used.size * 4


def measure(streets: int, given: LargeMaps) -> dict[str, Any]:
    """One town; ready for JSON."""
    road_map = town(streets, given.spacing, given.piece)
    driving = list(road_map.lanes.values())
    config = laptop().replace(
        agents_per_world=given.cars, max_steps=10**6, world_steps=10**5, world_stagger=0.0, on_route_done="new_route"
    )  # fmt: skip
    sizes = Sizes(config.lane_spacing, config.lane_count, config.boundary_count, config.stop_count, False, False, False)
    lists = {"lane_spacing": sizes[0], "lane_count": sizes[1], "boundary_count": sizes[2], "stop_count": sizes[3]}
    compile_roads(town(2, 200.0, 100.0), **lists, cache=False)  # type: ignore[arg-type]  # kernels
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    roads = compile_roads(road_map, **lists, cache=False)  # type: ignore[arg-type]
    seconds = time.process_time() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    ways = sum(getattr(roads.network, name).nbytes for name in ("route", "bends", "leads", "route_blocks"))
    estimated = sum(needed_bytes(road_map, sizes).values())
    taken = {group: sum(table.nbytes for table in getattr(roads, group)) for group in ("network", "grid", "nearby")}
    at, grid = roads.network.maps[0], roads.grid
    dense = grid.quads_at.nbytes + grid.edges_at.nbytes
    columns, lines = int(at["columns"]), int(at["rows"])
    tiles = tiled(grid.quads_at, columns, lines) + tiled(grid.edges_at, -(-columns // 2), -(-lines // 2))
    rows = given.worlds * given.cars
    sim = Simulator(road_map, rows, config, drivers="idm", threads=1)
    sim.reset(np.array([1, 2], np.uint32))
    actions = np.full(rows, 7)
    sim.step(actions)
    crashes = offroads = goals = 0
    way = driving_s = 0.0
    steps = round(given.seconds / config.dt)
    for _ in range(steps):
        began = time.process_time()
        sim.step(actions)
        driving_s += time.process_time() - began
        way += float(sim.state.motion.distance.sum())
        crashes += int(sim.state.events.collision.sum())
        offroads += int(sim.state.events.offroad.sum())
        goals += int(sim.state.events.goal.sum())
    sim.close()
    lane_km = float(roads.network.lanes["length"].sum(dtype=np.float64)) / 1000
    return {
        "streets": streets, "side_km": round((streets - 1) * given.spacing / 1000, 1), "lane_km": round(lane_km, 1),
        "lanes": len(driving), "compile_s": round(seconds, 1), "compile_ms_a_lane_km": round(1000 * seconds / lane_km, 1),
        "tables_MB": round(sum(taken.values()) / 1e6, 1),
        "routes_MB": round(ways / 1e6, 1),
        "grid_MB": round(taken["grid"] / 1e6, 1), "grid_starts_MB": round(dense / 1e6, 1),
        "grid_starts_in_tiles_MB": round(tiles / 1e6, 1), "estimated_MB": round(estimated / 1e6, 1),
        "peak_MB": round(peak / 1024, 1), "driven_km": round(way / 1000, 1), "goals": goals, "collisions": crashes,
        "offroads": offroads, "agent_steps": steps * rows, "agent_steps_a_s": round(steps * rows / driving_s),
    }  # fmt: skip


if __name__ == "__main__":
    given = tyro.cli(LargeMaps)
    lines: list[str] = []
    speed = 0
    for streets in given.streets:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            found = {**pool.apply(measure, (streets, given)), **machine()}
        found["speed_of_the_smallest"] = round(found["agent_steps_a_s"] / (speed := speed or found["agent_steps_a_s"]), 3)
        found["command"] = "python benchmarks/large_maps.py " + " ".join(sys.argv[1:])
        lines.append(json.dumps(found))
        print(lines[-1], flush=True)
    if given.json is not None:
        write_text(given.json, "\n".join(lines) + "\n")
