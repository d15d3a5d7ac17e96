"""Snapshots: worlds as plain arrays by name, from which they go on bit-equal; and the part that an observation follows from.

A snapshot is a dict of NumPy arrays: those of `state.State`, named `group.array`, first axis the worlds, and what says to
which simulator they belong. There is nothing else to keep: chance has no generator state, and observations follow.
"""

import dataclasses
import itertools
import json
import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env import bounds
from gigaflow_env.declare import fields
from gigaflow_env.files import replacing
from gigaflow_env.roads.compiled.cache import fingerprint
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import GROUPS, State, Variant
from gigaflow_env.version import __version__

SNAPSHOT_FORMAT = 2

OBSERVED = (
    "clock.seed", "clock.number", "clock.map", "clock.tick", "rows.status", "rows.erratic",
    "pose.x", "pose.y", "pose.z", "pose.cos", "pose.sin",
    "perceived.x", "perceived.y", "perceived.cos", "perceived.sin", "perceived.speed",
    "motion.speed", "motion.acceleration", "motion.lateral", "motion.steer",
    "body.length", "body.width", "body.c_throttle", "body.c_steer", "body.c_acc", "body.c_vel",
    "lane_position.section", "lane_position.fraction", "lane_position.offset", "lane_position.angle", "lane_position.stood",
    "goals.x", "goals.y", "goals.section", "goals.count", "goals.next",
    "reward_weights.coefficients", "lights.colour", *(f"variant.{name}" for name in Variant._fields),
)  # fmt: skip
"""The arrays from which the observations of a world follow: what chance decides follows from its key, the world's number and
its tick. `neighbours` and `lane_routes` do not count: they follow from these."""

WORKSPACE = (
    "neighbours.scratch", "neighbours.key", "neighbours.place", "neighbours.near", "neighbours.ordered", "neighbours.seen",
    "lane_routes.next_lane", "lane_routes.next_boundary", "lane_routes.twice", "proposal.who",
)  # fmt: skip
"""Written before it is read in every stage that uses it, by one agent after another on the CPU: nobody needs to keep it."""

CHUNK = 64
"""Worlds whose observations are rebuilt at once: bounds the memory for what is not kept."""


def arrays(state: State) -> dict[str, np.ndarray]:
    """Every array of a state by name, not copied."""
    return {
        f"{group}.{name}": array
        for group, members in state._asdict().items()
        for name, array in members._asdict().items()
        if f"{group}.{name}" not in WORKSPACE
    }


def each_world(name: str) -> bool:
    """Whether an array has something of its own for each world."""
    group, array = name.split(".")
    return fields(getattr(GROUPS, group))[array].axes[0] == "world"


def declaration(simulator: Simulator) -> dict[str, Any]:
    """What must be equal where a snapshot is restored, as JSON types."""
    declared = {
        f"{group}.{name}": f"{np.dtype(field.dtype).name} {' '.join(field.axes)}"
        for group, members in GROUPS._asdict().items()
        for name, field in fields(members).items()
        if f"{group}.{name}" not in WORKSPACE
    }
    maps: dict[str, Any] = {}
    if simulator.page is None:  # which scenes it is of, the environment looks at
        maps = {f"map {k}": [road_map.name, fingerprint(road_map)] for k, road_map in enumerate(simulator.maps)}
    made = {
        "format": SNAPSHOT_FORMAT,
        "version": __version__,
        "rows": simulator.rows,
        "agents_per_world": simulator.agents,
        "mode": simulator.mode,
        **{f"config {name}": value for name, value in dataclasses.asdict(simulator.config).items()},
        **maps,
        **{f"array {name}": text for name, text in declared.items()},
    }
    return json.loads(json.dumps(made))  # tuples become lists, as they do in a file


def take(simulator: Simulator, worlds: Sequence[int] | np.ndarray | None = None) -> dict[str, np.ndarray]:
    """A snapshot of all worlds, or of those with the given numbers. Raises ValueError for numbers that don't exist."""
    numbers = np.arange(simulator.worlds) if worlds is None else np.asarray(worlds)
    whole = numbers.ndim == 1 and len(numbers) > 0 and np.issubdtype(numbers.dtype, np.integer)
    if not whole or numbers.min() < 0 or numbers.max() >= simulator.worlds or len(set(numbers.tolist())) < len(numbers):
        raise ValueError(f"worlds={worlds!r}: expected different numbers from 0 to {simulator.worlds - 1}")
    host = {name: simulator.host(array) for name, array in arrays(simulator.state).items()}
    kept = {name: array[numbers] if each_world(name) else array.copy() for name, array in host.items()}
    return {"declaration": np.array(json.dumps(declaration(simulator))), "worlds": numbers.astype(np.int64), **kept}


def restore(simulator: Simulator, snapshot: Mapping[str, np.ndarray]) -> None:
    """Set the worlds of a snapshot back, and look at all worlds. Nothing is changed where it does not fit.

    Raises ValueError that names what differs; also where only some worlds are restored and the simulator's key of chance is
    another one by now, since these worlds would go on differently.
    """
    check(simulator, snapshot)
    worlds, mine = snapshot["worlds"], arrays(simulator.state)
    if len(worlds) < simulator.worlds and not np.array_equal(snapshot["clock.seed"], simulator.host(mine["clock.seed"])):
        raise ValueError(
            f"the snapshot has {len(worlds)} of {simulator.worlds} worlds and was taken under another seed: restore it "
            "before the next reset with a seed, or take one of all worlds"
        )
    for name, array in mine.items():
        values = simulator.host(array)
        values[worlds if each_world(name) else ...] = snapshot[name]
        simulator.write(array, values)
    simulator.observe()


def check(simulator: Simulator, snapshot: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError unless a snapshot is whole and belongs to a simulator like this one."""
    missing = [name for name in ("declaration", "worlds", *arrays(simulator.state)) if name not in snapshot]
    if "declaration" in missing:
        raise ValueError("this is no snapshot: it has no 'declaration'")
    ours = declaration(simulator)
    try:
        theirs = dict(json.loads(str(snapshot["declaration"])))
    except (ValueError, TypeError):
        raise ValueError("the snapshot is damaged: its declaration can't be read") from None
    different = [name for name in {**ours, **theirs} if theirs.get(name) != ours.get(name)]
    if different:
        lines = [f"{name} is {theirs.get(name)!r} there and {ours.get(name)!r} here" for name in different[:3]]
        more = f", and {len(different) - 3} more" if len(different) > 3 else ""
        raise ValueError(f"the snapshot belongs to another environment: {'; '.join(lines)}{more}")
    if missing:
        raise ValueError(f"the snapshot lacks {missing[0]!r}")
    worlds = np.asarray(snapshot["worlds"])
    whole = worlds.ndim == 1 and len(worlds) > 0 and np.issubdtype(worlds.dtype, np.integer)
    if not whole or worlds.min() < 0 or worlds.max() >= simulator.worlds or len(set(worlds.tolist())) < len(worlds):
        raise ValueError(f"the snapshot is damaged: its worlds are {worlds!r}")
    for name, array in arrays(simulator.state).items():
        shape = (len(worlds), *array.shape[1:]) if each_world(name) else array.shape
        kept = np.asarray(snapshot[name])
        if kept.shape != shape or kept.dtype != array.dtype:
            raise ValueError(f"the snapshot is damaged: {name} is {kept.dtype} {kept.shape}, expected {array.dtype} {shape}")
        if kept.dtype == np.float32 and not name.startswith("overrides.") and not np.isfinite(kept).all():
            raise ValueError(f"the snapshot is damaged: {name} has numbers that are not finite")


def save(path: str | os.PathLike[str], snapshot: Mapping[str, np.ndarray]) -> None:
    """Write a snapshot as an .npz file, whole or not at all."""
    path = Path(path)
    if path.suffix != ".npz":
        raise ValueError(f"{path}: a snapshot's file ends in .npz")
    with replacing(path) as part:
        np.savez_compressed(part, **snapshot)  # type: ignore[arg-type]


def load(path: str | os.PathLike[str]) -> dict[str, np.ndarray]:
    """Read what `save` wrote. Raises ValueError for another file; whether it fits is checked where it is restored."""
    path = Path(path)
    if path.is_file() and not zipfile.is_zipfile(path):  # NumPy would offer to load it unsafely
        raise ValueError(f"{path} is no snapshot: {'it is empty' if not path.stat().st_size else 'it is no .npz file'}")
    try:
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (EOFError, ValueError, AttributeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is no snapshot: {' '.join(str(error).split())}") from None


def observation_state(simulator: Simulator) -> dict[str, np.ndarray]:
    """Copies of the arrays from which the observations of all worlds follow: `OBSERVED`. `clock.seed` is one key for all."""
    mine = arrays(simulator.state)
    return {name: simulator.host(mine[name]).copy() for name in OBSERVED}


def observe(simulator: Simulator, seen: Mapping[str, np.ndarray]) -> np.ndarray:
    """Observations float32 (..., agents, size) of worlds whose `OBSERVED` were kept, bit for bit as they were.

    seen: by name, with any axes (...) before those of a world's agents and lights, for example (steps, worlds); `clock.seed`
    (2,) for all, or with the first of these axes, (steps, 2). Others than those of `OBSERVED` are not read: a snapshot will
    do. On CUDA arrays go to the device and come back, and are the bits of states that were kept from it. Raises
    ValueError for arrays that lack or don't fit.
    """
    if not isinstance(seen, Mapping):
        raise TypeError(f"state={bounds.shown(seen)}: expected what observation_state() returns, a dict of arrays")
    missing = [name for name in OBSERVED if name not in seen]
    if missing:
        raise ValueError(f"the state lacks {missing[0]!r}: an observation follows from {', '.join(OBSERVED)}")
    seen = {name: np.asarray(seen[name]) for name in OBSERVED}
    before = np.shape(seen["clock.map"])
    own = arrays(simulator.state)
    for name in OBSERVED:
        shape = (*before, *own[name].shape[1:]) if each_world(name) else (*before[: seen[name].ndim - 1], 2)
        if seen[name].shape != shape or seen[name].dtype != own[name].dtype:
            found = f"{seen[name].dtype} {seen[name].shape}"
            raise ValueError(f"{name} is {found}: expected {own[name].dtype} {shape}")
    total = int(np.prod(before))
    flat = {name: np.reshape(seen[name], (total, *own[name].shape[1:])) for name in OBSERVED if each_world(name)}
    observations = np.empty((total, simulator.seats, simulator.layout.size), np.float32)
    state = simulator.new_state(CHUNK)
    known = {name: array for name, array in arrays(state).items() if name in flat}
    for begin, end, key in _stretches(np.reshape(seen["clock.seed"], (-1, 2)), total):
        part = observations[begin:end]
        for name, array in known.items():
            array[: len(part)] = flat[name][begin:end]
        state.clock.seed[:] = key
        state.lane_routes.goal[:] = -1  # not yet measured
        simulator.observe_state(state, part)
    return observations.reshape(*before, simulator.seats, simulator.layout.size)


def _stretches(keys: np.ndarray, total: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """(begin, end, key) of at most CHUNK worlds each which share a key; each of the keys is for as many of all worlds."""
    changes = np.flatnonzero((keys[1:] != keys[:-1]).any(axis=1)) + 1
    ends = [0, *changes.tolist(), len(keys)]
    for first, last in itertools.pairwise(ends):
        low, high = (total * k // len(keys) for k in (first, last))
        for begin in range(low, high, CHUNK):
            yield begin, min(begin + CHUNK, high), keys[first]
