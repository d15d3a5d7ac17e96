"""The file of a policy: its weights, what it says of itself, and whether it fits an environment. Needs no library.

Source: the safetensors format, https://github.com/huggingface/safetensors: eight bytes with the length of a JSON header, the
header with name, type, shape and place of each tensor, then the tensors.
"""

import json
import struct
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.config import Config
from gigaflow_env.layout import FEATURES, Layout

PRETRAINED = "pretrained"
"""The name of the policy that comes with the package, accepted wherever a checkpoint is."""
SHIPPED = Path(__file__).with_name("pretrained.safetensors")
WEIGHTS = "checkpoint.safetensors"
"""The policy of a run directory."""
CHECKPOINT_FORMAT = 2
"""Of checkpoints. 1: weights and facts were two files, a run had one map."""

HEADER_MOST = 100 << 20
"""Bytes of a header; the format allows no longer ones."""

VECTORS = ("ego", "conditioning", "goals")
SETS = ("lanes", "boundaries", "stops", "agents")

SCALES = ("dt", "view_range", "route_range", "lane_spacing", "steer_max")
"""Values of the environment's Config by which observations are divided, spaced or timed: the same numbers mean something
else where these differ."""


class CheckpointError(ValueError):
    """A checkpoint that is not there, not whole, or made for another environment; the message names the file."""


class Facts(NamedTuple):
    """What a checkpoint says about itself."""

    config: dict[str, Any]  # every value of the training's config
    environment: dict[str, Any]  # every value of the environment's Config
    counts: dict[str, int]  # elements of each block of the observation
    features: dict[str, list[str]]  # names of each block's features
    step: int  # samples of the training
    evaluation: dict[str, Any]  # figures of the evaluation it was kept for, if any


def is_checkpoint(name: Any) -> bool:
    """Whether a name or path is that of a checkpoint: "pretrained", or something that exists."""
    return str(name) == PRETRAINED or (isinstance(name, (str, Path)) and str(name) != "" and Path(name).exists())


def file_of(path: str | Path) -> Path:
    """The file of a run directory, of a .safetensors file itself, or of "pretrained". Raises CheckpointError."""
    if str(path) == PRETRAINED:
        if not SHIPPED.is_file():
            raise CheckpointError(f"this installation lacks the pretrained policy: {SHIPPED} does not exist")
        return SHIPPED
    path = Path(path)
    weights = path / WEIGHTS if path.is_dir() else path
    if weights.suffix != ".safetensors":
        raise CheckpointError(f"{path} is neither a run directory nor a .safetensors file")
    if not weights.is_file():
        raise CheckpointError(f"{path} holds no checkpoint: {weights} does not exist")
    return weights


def read(path: str | Path) -> tuple[Facts, dict[str, np.ndarray]]:
    """Facts and weights, float32 arrays by name. Raises CheckpointError."""
    file = file_of(path)
    header, data = _opened(file)
    weights = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        try:
            start, end = entry["data_offsets"]
            if entry["dtype"] != "F32":
                raise CheckpointError(f"{file}: {name} has type {entry['dtype']}, expected F32")
            weights[name] = np.frombuffer(data[start:end], "<f4").reshape(entry["shape"]).astype(np.float32)
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, CheckpointError):
                raise
            raise CheckpointError(f"{file} is not a checkpoint: {name} is damaged") from None
    return _facts(file, header), weights


def read_facts(path: str | Path) -> Facts:
    """What a checkpoint says about itself. Raises CheckpointError."""
    file = file_of(path)
    return _facts(file, _opened(file)[0])


def config_of(path: str | Path) -> Config:
    """The environment's Config of the training of a checkpoint. Raises CheckpointError."""
    facts = read_facts(path)
    try:
        return Config().replace(**facts.environment)
    except (ValueError, TypeError) as error:
        raise CheckpointError(f"{file_of(path)} was trained in an environment that this version has not: {error}") from None


def differences(facts: Any, layout: Layout, config: Config, *, other_scales: bool = False) -> list[str]:
    """What an environment shows differently from what a policy was trained with, a phrase each; none: it fits.

    Sets may have any number of elements but none: the paper trains with 20 agents in view and elements dropped, and
    evaluates with 40. other_scales: don't mind SCALES. facts: counts, features and environment are looked at.
    """
    found = []
    shown = layout.counts._asdict()
    for name in (*VECTORS, *SETS):
        trained, here = facts.counts.get(name, 0), shown[name]
        if trained != here if name in VECTORS else (trained > 0) != (here > 0):
            found.append(f"{trained} {name} there and {here} here")
    for name, block in FEATURES._asdict().items():
        if facts.features.get(name) != list(block._fields):
            found.append(f"features of {name} are {facts.features.get(name)} there and {list(block._fields)} here")
    if not other_scales:
        for name in SCALES:
            scale, this = facts.environment.get(name), getattr(config, name)
            if scale != this:
                found.append(f"{name} is {scale} there and {this} here")
    return found


def _opened(file: Path) -> tuple[dict[str, Any], memoryview]:
    """Header and the bytes behind it."""
    try:
        raw = file.read_bytes()
        (length,) = struct.unpack("<Q", raw[:8])
        if length > min(len(raw) - 8, HEADER_MOST):
            raise ValueError("it is cut off")
        header = json.loads(raw[8 : 8 + length])
        if not isinstance(header, dict):
            raise ValueError("its header is no object")
    except (OSError, ValueError, struct.error) as error:
        raise CheckpointError(f"{file} is not a checkpoint: {' '.join(str(error).split())}") from None
    return header, memoryview(raw)[8 + length :]


def _facts(file: Path, header: dict[str, Any]) -> Facts:
    metadata = header.get("__metadata__") or {}
    if "facts" not in metadata:
        old = "format 1" if file.with_suffix(".json").exists() else "no facts in its metadata"
        raise CheckpointError(f"{file} has {old}, this version reads format {CHECKPOINT_FORMAT}: train it anew")
    if metadata.get("format") != str(CHECKPOINT_FORMAT):
        raise CheckpointError(f"{file} has format {metadata.get('format')}, this version reads {CHECKPOINT_FORMAT}")
    try:
        return Facts(**json.loads(metadata["facts"]))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{file} has facts that this version can't read: {' '.join(str(error).split())}") from None
