"""What is typed on the command line of `gigaflow-train`: read and checked before torch is loaded."""

import importlib.util
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from gigaflow_env.bounds import Bounds, choice, real, whole
from gigaflow_env.driver import PRETRAINED, file_of, is_checkpoint
from gigaflow_env.roads import check_name
from gigaflow_train import towns
from gigaflow_train.config import SHARES

Words = Iterable[Iterable[str]]
"""`name=value` texts of an option that takes several and may be given several times."""


def flag(name: str) -> str:
    """How an option is typed."""
    return f"--{name.replace('_', '-')}"


def given(command: Any, *names: str) -> dict[str, Any]:
    """The arguments among `names` that were given."""
    return {name: getattr(command, name) for name in names if getattr(command, name) is not None}


def checked(command: Any, name: str, low: float, high: float, unit: str = "") -> None:
    """Raises ValueError unless an argument lies within its bounds; one that was not given does."""
    number = getattr(command, name)
    if number is not None:
        (whole if isinstance(number, int) else real)(flag(name), number, Bounds(low, high), unit)


def chosen(command: Any, name: str, choices: Iterable[str]) -> None:
    """Raises ValueError unless an argument is one of some words; one that was not given is."""
    if getattr(command, name) is not None:
        choice(flag(name), getattr(command, name), choices)


def pairs(option: str, texts: Words) -> dict[str, Any]:
    """`name=value` texts by name; a value is JSON, or else a plain string. Raises ValueError, also for one given twice."""
    found: dict[str, Any] = {}
    for text in (text for several in texts for text in several):
        name, equals, written = text.partition("=")
        if not (name and equals):
            raise ValueError(f"{option} {text}: write name=value")
        try:
            read = json.loads(written)
        except json.JSONDecodeError:
            read = written
        if name in found:
            raise ValueError(f"{option} {name} is given twice, as {found[name]!r} and {read!r}: give it once")
        found[name] = read
    return found


def once(ways: Sequence[tuple[str, Iterable[str]]]) -> None:
    """Raises ValueError where two ways of saying it set the same value: (how it is typed, names of values) each."""
    said: dict[str, str] = {}
    for typed, names in ways:
        for name in names:
            if name in said:
                raise ValueError(f"{said[name]} and {typed} both set {name}: give one of them")
            said[name] = typed


def shares(text: str) -> str | tuple[float, ...]:
    """What --map-shares says: a word, or numbers with commas. Raises ValueError."""
    if text in SHARES:
        return text
    try:
        return tuple(float(number) for number in text.split(","))
    except ValueError:
        names = ", ".join(map(repr, SHARES))
        raise ValueError(f"map_shares={text!r}: choose one of {names}, or give a number for each map") from None


def check_maps(given: Sequence[str]) -> None:
    """Raises ValueError for a name that is no map's, without opening the maps."""
    for name in towns.names(given):
        check_name(name)


def check_start(name: str) -> None:
    """Raises CheckpointError for a name that is neither "pretrained", nor a checkpoint, nor the directory of a run."""
    if name:
        file_of(name)


def check_opponents(name: str) -> None:
    """Raises ValueError for a name that is neither "pretrained", nor a file, nor a folder with checkpoints."""
    if name and name != PRETRAINED and not Path(name).is_file() and not any(Path(name).glob("*.safetensors")):
        raise ValueError(f"opponents={name!r}: expected 'pretrained', a .safetensors file, or a folder that has some")


def check_policy(name: str) -> None:
    """Raises ValueError where the module of an own network is not to be found. It is not run."""
    module = name.partition(":")[0]
    if not module:
        return
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as python -m does; a console script starts without
    try:
        there = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        there = False
    if not there:
        raise ValueError(f"policy={name!r}: there is no module {module!r} in {os.getcwd()} or among what is installed")


def check_trained(what: str | Path, others: Iterable[str] = ()) -> None:
    """Raises FileNotFoundError where there is no such checkpoint. others: names that would be right, too."""
    if not is_checkpoint(what):
        names = ", ".join((PRETRAINED, *others))
        raise FileNotFoundError(
            f"{str(what)!r} is neither a run directory nor a checkpoint file, and no other name that is known ({names})"
        )


def check_directory(option: str, directory: Path) -> None:
    """Raises OSError where a directory can neither be written to nor made."""
    there = directory
    while not there.exists() and there != there.parent:
        there = there.parent
    if not there.is_dir():
        raise NotADirectoryError(f"{option} {directory}: {there} is a file, not a directory")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{option} {directory}: {there} can't be written to")


def check_file(option: str, path: Path | None, suffixes: Sequence[str]) -> None:
    """Raises ValueError or OSError where a file that was asked for can't be written."""
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        raise ValueError(f"{option} {path}: it is written as {', '.join(suffixes)}")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{option} {path}: the directory {path.parent} does not exist")
    if path.is_dir():
        raise IsADirectoryError(f"{option} {path}: is a directory")
    check_directory(option, path.parent)


def joined() -> int | None:
    """Number of processes that torchrun has started, None without it. Raises ValueError for variables that are none."""
    for name in ("WORLD_SIZE", "RANK", "LOCAL_RANK"):
        text = os.environ.get(name, "1")
        if not (text.isascii() and text.isdecimal()):
            raise ValueError(f"{name}={text!r}: must be a whole number; torchrun sets it, else unset it")
    return int(os.environ["WORLD_SIZE"]) if "WORLD_SIZE" in os.environ else None
