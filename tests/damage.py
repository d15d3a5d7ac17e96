"""Damaged files for importers: each must end in a map or in a MapError, soon, and without a warning but the importer's."""

import contextlib
import gzip
import io
import re
import time
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from gigaflow_env.roads import MapError, MapWarning, RoadMap

BOMB = '<!DOCTYPE bomb [<!ENTITY a "aaaaaaaaaa">' + "".join(
    f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in zip("abcdefghi", "bcdefghij", strict=True)
)
PATIENCE = 60.0  # s of processor time for one file: a few here, several times that on a busy machine; a hang has no end
NUMBERS = ("nan", "inf", "-1", "0", "1e308", "1e30", "9" * 400, "", "x", "-0.001")


def damaged(text: str, seed: int, count: int) -> Iterator[tuple[str, bytes]]:
    """Files with one thing wrong each, and what that is: `count` of each kind where chance decides on the place."""
    rng, data = np.random.default_rng(seed), text.encode()
    yield "nothing", b""
    yield "gzip", gzip.compress(data)
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("map", data)
    yield "zip", archive.getvalue()
    yield "utf-16", text.encode("utf-16")
    for share in np.linspace(0.05, 0.99, count):
        yield f"cut at {share:.2f}", data[: int(share * len(data))]
    for _ in range(count):
        at, bit = int(rng.integers(len(data))), int(rng.integers(8))
        yield f"bit {bit} of byte {at} flipped", data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]
    numbers = [match.span() for match in re.finditer(r"(?<![\w.])-?\d+(\.\d+)?(?![\w.])", text)]
    for k in range(count):
        (low, high), new = numbers[rng.integers(len(numbers))], NUMBERS[k % len(NUMBERS)]
        yield f"{text[low:high]} at {low} became {new}", (text[:low] + new + text[high:]).encode()


def without_attributes(text: str) -> Iterator[tuple[str, bytes]]:
    """XML without one of its attributes: the first of each name."""
    for name in dict.fromkeys(re.findall(r' ([\w:]+)="', text)):
        yield f"{name} removed", re.sub(rf' {name}="[^"]*"', "", text, count=1).encode()


def with_bomb(text: str, root: str) -> tuple[str, bytes]:
    """XML which declares entities that would fill the memory; the root element is `root`."""
    head = f'<?xml version="1.0"?>{BOMB}]><{root} version="&j;">&j;'
    return "entities", (head + text.partition(f"<{root}")[2].partition(">")[2]).encode()


def survives(load: Callable[..., RoadMap], path: Path, what: str, data: bytes) -> bool:
    """Write the file and read it, leniently and strictly; whether it strictly gave a map.

    Fails for other errors than a MapError that names it."""
    path.write_bytes(data)
    began = time.process_time()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MapWarning)
            with contextlib.suppress(MapError):
                load(path)  # leniently: more maps, but no other error
            load(path, strict=True)
        read = True
    except MapError as error:
        assert path.name in str(error), f"{what}: {error}"
        read = False
    except Exception as error:
        raise AssertionError(f"{what}: {type(error).__name__}: {error}") from error
    assert time.process_time() - began < PATIENCE, f"{what}: {time.process_time() - began:.1f} s"
    return read
