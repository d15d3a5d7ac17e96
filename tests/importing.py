"""For the tests of importers: files damaged in every way, and a short drive on what was imported."""

import contextlib
import gzip
import io
import re
import resource
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from gigaflow_env.config import laptop
from gigaflow_env.roads import MapError, RoadMap, validate
from gigaflow_env.simulator import Simulator

BAD_NUMBERS = (b"nan", b"inf", b"1e300", b"-1e12", b"-3", b"0", b"", b"x", b"99999999999999999999", b"\xd9\xa3")


def damaged(data: bytes, count: int) -> Iterator[bytes]:
    """An XML file truncated, with flipped bits, without attributes and lines, with bad numbers, packed, and as a bomb."""
    rng = np.random.default_rng(5)
    for end in rng.integers(0, len(data), count):
        yield data[:end]
    for _ in range(count):
        flipped = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 4)):
            flipped[place] ^= 1 << int(rng.integers(0, 8))
        yield bytes(flipped)
    attributes = list(re.finditer(rb"""\s\w+=("[^"]*"|'[^']*')""", data))
    numbers = list(re.finditer(rb"""(?<=["'>])-?\d+(\.\d+)?(?=["'<])""", data))
    lines = data.splitlines(keepends=True)
    for _ in range(count):
        at = attributes[rng.integers(len(attributes))]
        yield data[: at.start()] + data[at.end() :]
        at = numbers[rng.integers(len(numbers))]
        yield data[: at.start()] + BAD_NUMBERS[rng.integers(len(BAD_NUMBERS))] + data[at.end() :]
        line = rng.integers(len(lines))
        yield b"".join(lines[:line] + lines[line + 1 :])
        yield b"".join([*lines[: line + 1], lines[line], *lines[line + 1 :]])
    yield gzip.compress(data)
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("map", data)
    yield packed.getvalue()
    yield data.decode().encode("utf-16")
    root = re.search(rb"<[A-Za-z]\w*", data)[0]
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa">' + b"".join(
        b'<!ENTITY %c "%s">' % (name, b"&%c;" % (name - 1) * 20) for name in range(ord("b"), ord("k"))
    )
    yield bomb + b"]>" + root + b' x="&j;">&j;</' + root[1:] + b">"
    yield b'<?xml version="1.0" encoding="utf-7"?>' + (bomb + b"]>" + root + b"/>").replace(b"<!E", b"+ADwAIQ-E")
    yield b""


def survives(load: Callable[..., RoadMap], path: Path, files: Iterator[bytes]) -> tuple[int, int]:
    """Every file gives a valid map or a MapError that names it, within 5 s and 500 MB: numbers of maps and errors.

    It is read leniently and strictly; the numbers are those of strict reading.
    """
    maps = errors = 0
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for data in files:
        path.write_bytes(data)
        began = time.process_time()
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message=".*left out|.*repaired", category=UserWarning)
                with contextlib.suppress(MapError):
                    validate(load(path))  # leniently: more maps, but no other error
                validate(load(path, strict=True))
            maps += 1
        except MapError as error:
            assert str(path) in str(error), error
            errors += 1
        assert time.process_time() - began < 60.0, data[:2000]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000  # KiB
    return maps, errors


def drive(road_map: RoadMap, agents: int = 8, steps: int = 250) -> None:
    """2,000 agent-steps at random, in which all observations stay finite."""
    simulator = Simulator(road_map, agents, laptop().replace(agents_per_world=agents, on_crash="respawn"), threads=1)
    simulator.reset(np.array([3, 0], np.uint32))
    rng = np.random.default_rng(2)
    for _ in range(steps):
        simulator.step(rng.integers(0, 12, agents))
        assert np.isfinite(simulator.observations).all()
    simulator.close()
