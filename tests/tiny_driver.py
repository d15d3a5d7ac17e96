"""Small policies for tests: weights at random, written by hand as the format of checkpoints describes it."""

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env import FEATURES, Config, Layout
from gigaflow_env.driver import checkpoint as files


def tiny(layout: Layout, *, bodies: int = 1, widths: tuple[int, ...] = (6, 5), seed: int = 0) -> dict[str, np.ndarray]:
    """Weights of a small network by the names that the trainer gives them."""
    generator = np.random.default_rng(seed)
    found: dict[str, np.ndarray] = {}

    def add(name: str, inputs: int, outputs: int, normalised: bool = False) -> None:
        found[f"{name}.weight"] = generator.normal(0, 0.4, (outputs, inputs)).astype(np.float32)
        found[f"{name}.bias"] = generator.normal(0, 0.3, outputs).astype(np.float32)
        if normalised:
            found[f"{name}.mean"] = generator.normal(0, 0.3, inputs).astype(np.float32)
            found[f"{name}.spread"] = generator.uniform(0.2, 1, inputs).astype(np.float32)

    counts = layout.counts._asdict()
    for k in range(bodies):
        width = 7
        add(f"bodies.{k}.vector", sum(counts[n] * len(getattr(FEATURES, n)._fields) for n in files.VECTORS), 7, True)
        for name in files.SETS:
            if counts[name]:
                add(f"bodies.{k}.sets.{name}.first", len(getattr(FEATURES, name)._fields), widths[0], True)
                for j, (before, after) in enumerate(zip(widths, widths[1:], strict=False)):
                    add(f"bodies.{k}.sets.{name}.rest.{j}", before, after)
                width += widths[-1]
        add(f"bodies.{k}.trunk.0", width, 8)
        add(f"bodies.{k}.trunk.1", 8, 9)
    add("actor", 9, 12)
    add("critic", 9, 1)
    return found


def write(path: Path, here: Config, weights: dict[str, np.ndarray] | None = None, **changes: Any) -> Path:
    """A checkpoint file, written by hand from the description of the format."""
    layout = Layout(here)
    about: dict[str, Any] = {
        "config": {"policy": ""},
        "environment": json.loads(json.dumps(vars(here))),
        "counts": layout.counts._asdict(),
        "features": {name: list(block._fields) for name, block in FEATURES._asdict().items()},
        "step": 1000,
        "evaluation": {},
    }
    header: dict[str, Any] = {"__metadata__": {"format": "2", "facts": json.dumps(about | changes)}}
    data = b""
    for name, array in (tiny(layout) if weights is None else weights).items():
        header[name] = {"dtype": "F32", "shape": list(array.shape), "data_offsets": [len(data), len(data) + array.nbytes]}
        data += array.astype("<f4").tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path
