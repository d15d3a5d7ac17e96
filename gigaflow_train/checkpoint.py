"""What a run leaves behind, and how it goes on from there.

    checkpoint.safetensors   the policy's weights and its normaliser
    checkpoint.json          the training config, the environment's, the layout they fit, and how far training was
    resume.pt                all that going on needs, in one file, so that it can't be torn: weights, Adam's moments, random
                             numbers, counters, and the environment's state where it can be had

The first two make a policy; their steps tell that they belong together.
"""

import dataclasses
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch

from gigaflow_train.config import TrainConfig, from_json
from gigaflow_train.files import replacing, write_text
from gigaflow_train.policy import SETS, VECTORS, Policy
from gigaflow_train.rollout import Storage

FORMAT = 1
WEIGHTS, FACTS, RESUME = "checkpoint.safetensors", "checkpoint.json", "resume.pt"


class CheckpointError(ValueError):
    """A checkpoint that is not there, not whole, or made for another environment; the message names the file."""


class Progress(NamedTuple):
    """How far training is."""

    iteration: int = 0
    step: int = 0  # transitions of live rows
    seconds: float = 0.0  # spent driving and learning
    largest: float | None = None  # running largest |advantage| of the filter


class Facts(NamedTuple):
    """checkpoint.json"""

    config: TrainConfig
    environment: dict[str, Any]  # every value of the environment's Config
    counts: dict[str, int]  # elements of each block of the observation
    step: int


def save(
    directory: Path,
    env: Any,
    config: TrainConfig,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    storage: Storage,
    progress: Progress,
) -> None:
    resume = {
        "format": FORMAT,
        "progress": dict(progress._asdict()),
        "policy": policy.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "obs": storage.obs[-1].clone(),
        "active": storage.active[-1].clone(),
        "environment": _packed(env.snapshot()) if hasattr(env, "snapshot") else None,
    }
    with replacing(directory / RESUME) as temporary:
        torch.save(resume, temporary)
    facts = {
        "format": FORMAT,
        "step": progress.step,
        "config": config.to_json(),
        "environment": dataclasses.asdict(env.config),
        "counts": dict(env.layout.counts._asdict()),
    }
    weights = {name: tensor.contiguous() for name, tensor in policy.state_dict().items()}
    with replacing(directory / WEIGHTS) as temporary:
        safetensors.torch.save_file(weights, temporary, metadata={"step": str(progress.step)})
    write_text(directory / FACTS, json.dumps(facts, indent=1) + "\n")


def resume(
    directory: Path,
    env: Any,
    policy: Policy,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    storage: Storage,
) -> tuple[Progress, bool]:
    """Put everything back as `save` found it. False: the environment could not be restored, it has yet to be reset."""
    path = directory / RESUME
    saved = _load_resume(path)
    try:
        policy.load_state_dict(saved["policy"])
        optimizer.load_state_dict(saved["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} does not fit this network or environment: {_first_line(error)}") from None
    generator.set_state(saved["generator"])
    progress = Progress(**saved["progress"])
    if saved["environment"] is None or not hasattr(env, "restore"):
        return progress, False
    if saved["obs"].shape != storage.obs[-1].shape:
        raise CheckpointError(
            f"{path}: it has {len(saved['obs'])} rows, the environment {len(storage.obs[-1])}; resume with the same num_envs"
        )
    env.restore(_unpacked(saved["environment"]))
    storage.obs[-1].copy_(saved["obs"])
    storage.active[-1].copy_(saved["active"])
    return progress, True


def find(path: Path) -> tuple[Path, Path]:
    """The weights and the facts of a run directory, or of a .safetensors file with its .json beside it."""
    weights = path / WEIGHTS if path.is_dir() else path
    if weights.suffix != ".safetensors":
        raise CheckpointError(f"{path} is neither a run directory nor a .safetensors file")
    for file in (weights, weights.with_suffix(".json")):
        if not file.is_file():
            raise CheckpointError(f"{path} holds no checkpoint: {file} does not exist")
    return weights, weights.with_suffix(".json")


def read_facts(path: Path) -> Facts:
    """The facts of a run directory or checkpoint file. Raises CheckpointError."""
    _, file = find(path)
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        if facts["format"] != FORMAT:
            raise CheckpointError(f"{file} has format {facts['format']}, this version reads {FORMAT}")
        return Facts(from_json(facts["config"]), facts["environment"], facts["counts"], facts["step"])
    except CheckpointError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file} is not a checkpoint's description: {_first_line(error)}") from None


def fits(trained: Mapping[str, int], shown: Mapping[str, int]) -> bool:
    """Whether a policy that was trained with one number of elements a block can see another one.

    Sets may have any number but none: the paper trains with 20 agents in view and elements dropped, and evaluates with 40.
    """
    same = all(trained[name] == shown[name] for name in VECTORS)
    return same and all((trained[name] > 0) == (shown[name] > 0) for name in SETS)


def load_policy(path: Path, layout: Any) -> Policy:
    """The policy of a run directory or checkpoint file, for an environment with this layout. Raises CheckpointError."""
    weights, _ = find(path)
    facts = read_facts(path)
    if not fits(facts.counts, layout.counts._asdict()):
        raise CheckpointError(f"{weights} sees {facts.counts}, the environment shows {dict(layout.counts._asdict())}")
    try:
        with safetensors.safe_open(weights, "pt") as file:
            step = int(file.metadata()["step"])
            tensors = {name: file.get_tensor(name) for name in file.keys()}
    except (safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{weights} is not a checkpoint: {_first_line(error)}") from None
    if step != facts.step:
        raise CheckpointError(f"{weights} is of step {step}, its .json of step {facts.step}: they do not belong together")
    policy = Policy(layout, facts.config)
    try:
        policy.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{weights} does not fit its .json: {_first_line(error)}") from None
    return policy.eval()


def _load_resume(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"nothing to resume: {path} does not exist")
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        raise CheckpointError(f"{path} can't be read: {_first_line(error)}") from None
    if not isinstance(saved, dict) or saved.get("format") != FORMAT:
        raise CheckpointError(f"{path} has another format than {FORMAT}")
    return saved


def _packed(arrays: dict[str, np.ndarray]) -> torch.Tensor:
    """Arrays of any dtype as one uint8 tensor: torch lacks some of numpy's types."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]
    return torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)


def _unpacked(packed: torch.Tensor) -> dict[str, np.ndarray]:
    with np.load(io.BytesIO(packed.numpy().tobytes()), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _first_line(error: Exception) -> str:
    lines = str(error).splitlines() or [type(error).__name__]
    return " ".join(line.strip() for line in lines[:2])
