"""Damaged scenes: whatever happened to the bytes of a file, it ends in a scene or in an error that names it.

`python benchmarks/damaged_scenes.py FILE ...` flips bits, overwrites bytes, cuts pieces out and cuts ends off, `count` times
each, and reads what is left, leniently and strictly. Maps that lie beside a file are copied beside its damaged versions.
`--made` damages a nuPlan log, a ScenarioNet pickle and a scene of our own, too, as the tests write them.
Of a TFRecord the first record is damaged, and its checksums are made right again: else nothing would get behind them.
Exit status 1 if anything but a scene or a MapError comes of one, or reading takes longer or more memory than it may.
"""

import json
import pickle
import resource
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import tyro
from damaged_records import framed, record_of

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_env.roads import MapError, MapWarning, load_scene, save_scene

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import gpkg_writer
import nuplan_log_writer
from recorded import RecordedLane, Scene, parked, polyline, scenarionet_scene
from small_scenes import road, scenario

BESIDE = ("log_map_archive_*.json", "*.gpkg")


@dataclass(frozen=True)
class Damage:
    """Damage files of recorded traffic in every way, and count what comes of it."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional] = ()
    made: bool = False
    """Damage files that are made here, too."""
    count: int = 50
    """Versions of each kind of damage."""
    seed: int = 0
    limit: float = 60.0
    """Processor seconds that one damaged file may take."""
    memory: float = 1000.0
    """MB by which the process may grow."""
    json: Path | None = None
    """Write the result into this file."""


def damaged(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """All damaged versions of a file, and what was done to each."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        at = int(rng.integers(len(data)))
        yield f"bit of byte {at} flipped", data[:at] + bytes([data[at] ^ 1 << int(rng.integers(8))]) + data[at + 1 :]
        size = int(rng.integers(1, 16))
        new = bytes(rng.choice([0, 255], size).tolist()) if rng.random() < 0.5 else rng.bytes(size)
        yield f"{size} bytes at {at} overwritten", data[:at] + new + data[at + size :]
        size = int(rng.integers(1, max(len(data) // 20, 2)))
        yield f"{size} bytes at {at} cut out", data[:at] + data[at + size :]
        yield f"cut at {at}", data[:at]


def made(folder: Path) -> list[Path]:
    """Files of the formats of which nobody publishes a small one: a log, a pickle, and an own scene."""
    gpkg_writer.write(folder / "map.gpkg", gpkg_writer.city())
    log = nuplan_log_writer.write(folder / "made.db", nuplan_log_writer.log())
    lanes = {1: RecordedLane(polyline((0, 0), (40, 0)), exits=(2,)), 2: RecordedLane(polyline((40, 0), (80, 0)))}
    lights = {2: (np.array([40.0, 0, 0]), [4] * 6 + [6] * 5)}
    scene = Scene(lanes, tracks=parked(2), valid=np.ones((2, 11), bool), kinds=(1, 1), lights=lights, predict=(1,))
    (folder / "made.pkl").write_bytes(pickle.dumps(scenarionet_scene(scene)))
    save_scene(scenario(), road(), folder / "made.scene.npz")
    return [log, folder / "made.pkl", folder / "made.scene.npz"]


def opened(path: Path) -> tuple[bytes, Callable[[bytes], bytes]]:
    """What of a file is damaged, and how it becomes a file again."""
    data = path.read_bytes()
    if ".tfrecord" not in path.name:
        return data, bytes
    return record_of(path), framed


def examined(path: Path, damage: Damage) -> dict[str, Any]:
    """What came of the damaged versions of a file."""
    found: Counter[str] = Counter()
    wrong: list[str] = []
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        for pattern in BESIDE:
            for beside in path.parent.glob(pattern):
                shutil.copy(beside, folder)
        copy = Path(folder) / path.name
        whole, framed = opened(path)
        for what, data in damaged(whole, damage.count, damage.seed):
            copy.write_bytes(framed(data))
            found["files"] += 1
            began = time.process_time()
            for strict in (False, True):
                try:
                    with warnings.catch_warnings():
                        warnings.simplefilter("error")
                        warnings.simplefilter("ignore", MapWarning)
                        load_scene(copy, strict=strict)
                    found["strictly" if strict else "scenes"] += 1
                except MapError as error:
                    if path.name not in str(error) or "\n" in str(error):
                        wrong.append(f"{what}: {error}")
                except Exception as error:
                    wrong.append(f"{what}: {type(error).__name__}: {error}")
            longest = max(longest, time.process_time() - began)
    if longest > damage.limit:
        wrong.append(f"the slowest took {longest:.1f} s")
    return {**found, "slowest_s": round(longest, 2), "wrong": wrong}


def main() -> int:
    """Damage, read, and print what came of it."""
    damage = tyro.cli(Damage, description=__doc__)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        files = [*damage.files, *(made(Path(folder)) if damage.made else ())]
        scenes = {path.name: examined(path, damage) for path in files}
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    for name, found in scenes.items():
        print(name, {key: value for key, value in found.items() if key != "wrong"})
        for one in found["wrong"]:
            print(f"  {one}")
    print(f"the process grew by {grown:.0f} MB")
    if damage.json is not None:
        about = {**machine(), "command": " ".join(["benchmarks/damaged_scenes.py", *sys.argv[1:]])}
        result = {"scenes": scenes, "count": damage.count, "seed": damage.seed, "grown_mb": round(grown), **about}
        write_text(damage.json, json.dumps(result, indent=1) + "\n")
    return int(any(found["wrong"] for found in scenes.values()) or grown > damage.memory)


if __name__ == "__main__":
    sys.exit(main())
