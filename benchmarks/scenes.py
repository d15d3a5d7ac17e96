"""How fast recorded scenes load and drive: `python benchmarks/scenes.py --folder FOLDER`. An empty folder is filled first.

Loading is measured in processor seconds of one process, so that other programs on the machine count little. Driving is
measured beside a town with as many agents on the road, in turns: their ratio is what counts.
"""

import json
import resource
import time
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import tyro

from gigaflow_env.bench.machine import machine
from gigaflow_env.config import PRESETS
from gigaflow_env.files import write_text
from gigaflow_env.scenes.cast import Casting
from gigaflow_env.scenes.generated import write
from gigaflow_env.scenes.sources import sources
from gigaflow_env.scenes.stream import Stream
from gigaflow_env.state import LIVE

START = 10  # moment at which scenes of the Waymo Open Motion Dataset start


@dataclass(frozen=True)
class Scenes:
    """Load scenes, then drive some of them beside a town."""

    folder: Path = Path("runs/scenes")
    """Where the scenes are, or will be."""
    count: int = 1000
    """Scenes that are generated where the folder has none, and used."""
    worlds: int = 32
    rounds: int = 12
    """Turns of the town and the scenes."""
    json: Path | None = None
    """Write the result into this file."""


def resident() -> float:
    """Memory of this process now [MiB]."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


def load(options: Scenes, files: list[Path]) -> dict[str, Any]:
    """All scenes, page by page: once to fill the cache, once from it."""
    config = PRESETS["paper"]().replace(**UNBLURRED)
    found: dict[str, Any] = {"scenes": len(files)}
    for what, processes in (("read", None), ("cached", 0)):
        wall, used = time.perf_counter(), time.process_time()
        stream = Stream(sources(files, None), Casting(start_step=START), config, worlds=options.worlds, processes=processes)
        memory, pages = [resident()], 1
        while stream.rounds == 0:
            stream.turn()
            pages += stream.rounds == 0
            memory.append(resident())
        stream.close()
        seconds, used = time.perf_counter() - wall, time.process_time() - used
        found[what] = {
            "pages": pages,
            "left_out": len(stream.left_out),
            "scenes_per_second": round(len(files) / seconds, 1),
            "scenes_per_processor_second": round(len(files) / used, 1),
            "memory_mib": {
                "second_page": round(memory[1]),
                "half": round(memory[len(memory) // 2]),
                "end": round(memory[-1]),
            },
        }
    del found["read"]["scenes_per_processor_second"]  # the work is that of other processes
    return found


UNBLURRED = {
    "noise_position": 0.0, "noise_heading": 0.0, "noise_speed": 0.0, "inattentive": 0.0, "phantom": 0.0,
    "variant_scale": (1.0, 1.0), "variant_shear": (0.0, 0.0), "variant_flip": 0.0, "variant_turn": (0.0, 0.0),
}  # fmt: skip


def on_road(env: Any) -> int:
    return int((env.unwrapped.simulator.state.rows.status >= LIVE).sum())


def drive(options: Scenes, files: list[Path]) -> dict[str, Any]:
    """Processor time of a step for each agent on the road: of scenes, and of a town with as many in as many worlds."""
    given: dict[str, Any] = {"preset": "paper", "threads": 1, "copy": False}
    settings = {
        "all, others replay": {"control": "all"},
        "ego, others replay": {"control": "ego"},
        "ego, others idm": {"control": "ego", "others": "idm"},
    }
    envs: dict[str, Any] = {
        name: gymnasium.make_vec(
            "gigaflow_env:GigaFlow-v0", scenes=files[: options.worlds], start_step=START, scene_readers=0,
            config={"on_crash": "continue"}, **given, **arguments,
        )
        for name, arguments in settings.items()
    }  # fmt: skip
    for env in envs.values():
        env.reset(seed=1)
    agents = max(round(on_road(envs["all, others replay"]) / options.worlds), 1)
    envs["town"] = gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0", num_envs=agents * options.worlds, map="downtown", agents_per_world=agents,
        config=UNBLURRED, **given,
    )  # fmt: skip
    envs["town"].reset(seed=1)
    actions = {name: np.full(env.num_envs, 7) for name, env in envs.items()}
    times: dict[str, list[float]] = {name: [] for name in envs}
    for _ in range(options.rounds):
        for name, env in envs.items():
            began, driven = time.process_time(), 0
            for _ in range(5):
                env.step(actions[name])
                driven += on_road(env)
            times[name].append((time.process_time() - began) / driven * 1e9)
    found = {
        name: {"ns_per_agent": round(float(np.median(one))), "agents": on_road(envs[name])} for name, one in times.items()
    }
    town = np.array(times["town"])
    for name in settings:
        found[name]["speed_beside_town"] = round(float(np.median(town / np.array(times[name]))), 2)
    for env in envs.values():
        env.close()
    return {"worlds": options.worlds, "agents_per_world": agents, **found}


def main(options: Scenes) -> None:
    """Print the result as JSON, and write it where that's asked for."""
    if not options.folder.is_dir() or not any(options.folder.iterdir()):
        for _ in write(options.folder, options.count):
            pass
    files = sorted(path for path in options.folder.iterdir() if path.is_file())[: options.count]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what is left out is counted
        result = {**machine(), "loading": load(options, files), "driving": drive(options, files)}
    result["command"] = f"python benchmarks/scenes.py --count {options.count} --worlds {options.worlds}"
    text = json.dumps(result, indent=1)
    print(text)
    if options.json is not None:
        write_text(options.json, text + "\n")


if __name__ == "__main__":
    main(tyro.cli(Scenes))
