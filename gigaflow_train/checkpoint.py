"""What a run leaves behind, and how it goes on from there.

    checkpoint.safetensors   a policy: its weights and normaliser; in the metadata, as JSON, all facts about it
    best.safetensors         the same of the evaluation that went best, where there are evaluations
    checkpoint-STEP.safetensors   the same of earlier steps, as many as are to be kept
    resume.pt                all that going on needs, in one file, so that it can't be torn: weights, Adam's moments, random
                             numbers, counters, and the environment's state where it can be had
    resume-ITERATION-RANK.pt  with several processes: the worlds of each

Each file stands alone, and appears whole or not at all.
"""

import dataclasses
import io
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.torch
import torch

from gigaflow_env import FEATURES
from gigaflow_env.driver import CHECKPOINT_FORMAT, SCALES, WEIGHTS, CheckpointError, file_of
from gigaflow_env.driver import differences as different_blocks
from gigaflow_env.driver import read_facts as facts_in
from gigaflow_train import ranks
from gigaflow_train.actions import kind_of
from gigaflow_train.config import TrainConfig, from_json
from gigaflow_train.files import RESUME, replacing, write_bytes
from gigaflow_train.networks import build

__all__ = ["SCALES", "CheckpointError", "Facts", "Progress", "file_of", "load_policy", "read_facts", "resume", "save"]

BEST = "best.safetensors"
NUMBERED = "checkpoint-{step:015d}.safetensors"
OWN = "resume-{iteration}-{rank}.pt"
"""What one of several processes has of its own: worlds and random numbers."""


class Progress(NamedTuple):
    """How far training is."""

    iteration: int = 0
    step: int = 0  # transitions of live rows
    seconds: float = 0.0  # spent driving and learning
    largest: float | None = None  # running largest |advantage| of the filter
    best: float = -1.0  # highest goal rate of an evaluation; -1: there was none
    before: int = 0  # transitions that the weights had seen which it began with


class Facts(NamedTuple):
    """What a checkpoint says about itself."""

    config: TrainConfig
    environment: dict[str, Any]  # every value of the environment's Config
    counts: dict[str, int]  # elements of each block of the observation
    features: dict[str, list[str]]  # names of each block's features
    step: int
    evaluation: dict[str, Any]  # figures of the evaluation it was kept for, if any


def facts_of(env: Any, config: TrainConfig, step: int, evaluation: Mapping[str, Any] | None = None) -> Facts:
    """What a checkpoint says of a policy beside its weights."""
    return Facts(
        config,
        dataclasses.asdict(env.config),
        dict(env.layout.counts._asdict()),
        {name: list(block._fields) for name, block in FEATURES._asdict().items()},
        step,
        dict(evaluation or {}),
    )


def save_policy(path: Path, policy: torch.nn.Module, facts: Facts) -> None:
    """Write a policy with its facts as one safetensors file."""
    weights = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}
    about = json.dumps({**facts._asdict(), "config": facts.config.to_json()})
    write_bytes(
        path, safetensors.torch.save(weights, {"format": str(CHECKPOINT_FORMAT), "step": str(facts.step), "facts": about})
    )


def save(
    directory: Path,
    env: Any,
    config: TrainConfig,
    policy: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    ages: torch.Tensor,
    progress: Progress,
) -> None:
    """Write resume.pt and checkpoint.safetensors, and a numbered one where the config wants some.

    With several processes each writes what is its own beside it first. The old files go once resume.pt, which names the
    iteration they are of, has taken its place: whatever moment a run is killed at, one set is whole.
    """
    own = {
        "generator": generator.get_state(),
        "ages": ages.cpu(),
        "environment": _packed(env.snapshot()) if hasattr(env, "snapshot") else None,
    }
    several = ranks.count() > 1
    if several:
        _write_torch(directory / OWN.format(iteration=progress.iteration, rank=ranks.rank()), own)
        ranks.wait()
    if ranks.rank() == 0:
        resume = {
            "format": CHECKPOINT_FORMAT,
            "config": json.dumps(config.to_json()),
            "progress": dict(progress._asdict()),
            "policy": policy.state_dict(),
            "optimizer": optimizer.state_dict(),
            "processes": ranks.count(),
            **({} if several else own),
        }
        _write_torch(directory / RESUME, resume)
        facts = facts_of(env, config, progress.before + progress.step)
        save_policy(directory / WEIGHTS, policy, facts)
        if config.keep and progress.step:
            save_policy(directory / NUMBERED.format(step=progress.step), policy, facts)
            for old in sorted(directory.glob("checkpoint-*.safetensors"))[: -config.keep]:
                old.unlink()
        for old in directory.glob("resume-*.pt"):
            if not several or not old.name.startswith(OWN.format(iteration=progress.iteration, rank="").removesuffix(".pt")):
                old.unlink()
    ranks.wait()


def resume_config(directory: Path) -> TrainConfig:
    """The config of a run that is to go on. Raises CheckpointError."""
    path = directory / RESUME
    saved = _load_resume(path)
    try:
        return from_json(json.loads(saved["config"]))
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} has no config that this version reads: {_first_line(error)}") from None


def resume(
    directory: Path,
    env: Any,
    policy: torch.nn.Module,
    optimizer: torch.optim.Optimizer,
    generator: torch.Generator,
    ages: torch.Tensor,
    say: Callable[[str], None],
) -> tuple[Progress, tuple[Any, Any] | None]:
    """Put everything back as `save` found it. Returns what `env.restore` does, or None where the worlds begin anew.

    With another number of processes than there were the policy, the optimizer and the counters go on, the worlds and the
    order of the samples are new; say is told.
    """
    path = directory / RESUME
    saved = _load_resume(path)
    try:
        policy.load_state_dict(saved["policy"])
        optimizer.load_state_dict(saved["optimizer"])
    except (RuntimeError, ValueError) as error:
        raise CheckpointError(f"{path} does not fit this network or environment: {_first_line(error)}") from None
    progress = Progress(**saved["progress"])
    before = saved.get("processes", 1)
    if before != ranks.count():
        say(f"{before} processes before, {ranks.count()} now: the worlds and the order of the samples begin anew")
        return progress, None
    if before > 1:
        saved = _load_resume(directory / OWN.format(iteration=progress.iteration, rank=ranks.rank()), own=True)
    generator.set_state(saved["generator"])
    if saved["environment"] is None or not hasattr(env, "restore"):
        say("this environment's state can't be restored: its worlds begin anew")
        return progress, None
    restored = env.restore(_unpacked(saved["environment"]))
    if "ages" in saved:  # older files lack them: then all routes count as just begun
        ages.copy_(saved["ages"])
    return progress, restored


def read_facts(path: str | Path) -> Facts:
    """The facts of a run directory or checkpoint file, or of "pretrained". Raises CheckpointError."""
    raw = facts_in(path)
    try:
        return Facts(**{**raw._asdict(), "config": from_json(raw.config)})
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{file_of(path)} has facts that this version can't read: {_first_line(error)}") from None


def differences(facts: Facts, env: Any, *, other_scales: bool = False) -> list[str]:
    """What an environment shows differently from what a policy was trained with, see `gigaflow_env.driver.differences`."""
    found = different_blocks(facts, env.layout, env.config, other_scales=other_scales)
    if facts.config.action != kind_of(env):
        found.insert(0, f"actions are {facts.config.action} there and {kind_of(env)} here")
    return found


def load_policy(path: str | Path, env: Any, *, other_scales: bool = False) -> Any:
    """The policy of a run directory or checkpoint file, or of "pretrained", for this environment.

    Raises CheckpointError, which names what differs, where the environment shows something else than the training's did;
    other_scales: also where only scales differ, see SCALES.
    """
    weights = file_of(path)
    facts = read_facts(path)
    different = differences(facts, env, other_scales=other_scales)
    if different:
        raise CheckpointError(f"{weights} was trained in another environment: {'; '.join(different)}")
    with safetensors.safe_open(weights, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
    policy = build(env.layout, facts.config)
    try:
        policy.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"{weights} does not fit its own facts: {_first_line(error)}") from None
    return policy.eval()


def start_from(path: str | Path, env: Any, policy: torch.nn.Module) -> int:
    """Give a policy the weights and the normaliser of a checkpoint, or of "pretrained"; the transitions they have seen.

    Raises CheckpointError where the environment shows something else, or the network is another.
    """
    facts = read_facts(path)
    different = differences(facts, env)
    if different:
        raise CheckpointError(f"start={str(path)!r} was trained in another environment: {'; '.join(different)}")
    try:
        policy.load_state_dict(safetensors.torch.load_file(file_of(path)))
    except RuntimeError as error:
        raise CheckpointError(f"start={str(path)!r} is another network than this run's: {_first_line(error)}") from None
    return facts.step


def _write_torch(path: Path, saved: dict[str, Any]) -> None:
    with replacing(path) as temporary:
        torch.save(saved, temporary)


def _load_resume(path: Path, *, own: bool = False) -> dict[str, Any]:
    if not path.is_file():
        raise CheckpointError(f"nothing to resume: {path} does not exist")
    try:
        saved = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # torch raises whatever the damaged bytes lead to
        raise CheckpointError(f"{path} can't be read: {_first_line(error)}") from None
    if not isinstance(saved, dict) or (not own and saved.get("format") != CHECKPOINT_FORMAT):
        raise CheckpointError(f"{path} has another format than {CHECKPOINT_FORMAT}: it can't go on with this version")
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
