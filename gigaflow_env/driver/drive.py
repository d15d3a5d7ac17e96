"""A policy from a file at the wheel: observations in, actions out."""

from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env.config import Config
from gigaflow_env.driver.checkpoint import CheckpointError, Facts, differences, file_of, read
from gigaflow_env.driver.network import Network
from gigaflow_env.layout import ACTIONS, Layout
from gigaflow_env.simulator import Simulator

_ODD = np.uint64(0x9E3779B97F4A7C15)  # golden ratio, as SplitMix64 has it


class Driver:
    """A network and the chance by which it draws its actions.

    What a row draws depends on the seed of the worlds, its world, its place there and the world's step alone: restored
    worlds go on as they did.
    """

    def __init__(self, network: Network, facts: Facts) -> None:
        self.network = network
        self.facts = facts

    def act(self, simulator: Simulator, rows: np.ndarray, obs: np.ndarray, *, greedy: bool = False) -> np.ndarray:
        """Actions int64 (k,) of the rows int (k,) that see obs float32 (k, size): drawn, or the likeliest ones."""
        logits, _ = self.network(obs)
        return logits.argmax(axis=1) if greedy else draw(logits, simulator, rows)


def needs_torch(facts: Facts) -> str:
    """Why only torch runs a policy; empty where a Driver does."""
    if facts.config.get("policy"):
        return f"holds an own network, {facts.config['policy']}"
    action = facts.config.get("action", "discrete")
    return "" if action == "discrete" else f"has {action} actions"


def load(path: str | Path, layout: Layout, config: Config, *, other_scales: bool = False) -> Driver:
    """The driver in a run directory, a .safetensors file, or "pretrained", for an environment.

    Raises CheckpointError, which names what differs, where the environment shows something else than the training's did, or
    where the network is the user's own, which torch has to run, or has continuous actions.
    """
    facts, weights = read(path)
    if reason := needs_torch(facts):
        raise CheckpointError(f"{file_of(path)} {reason}: only gigaflow-train evaluate drives with it")
    different = differences(facts, layout, config, other_scales=other_scales)
    if different:
        raise CheckpointError(f"{file_of(path)} was trained in another environment: {'; '.join(different)}")
    try:
        return Driver(Network(weights, layout), facts)
    except CheckpointError as error:
        raise CheckpointError(f"{file_of(path)}: {error}") from None


def draw(logits: np.ndarray, simulator: Simulator, rows: np.ndarray) -> np.ndarray:
    """Actions int64 (k,) of the rows, from softmax(logits): the first of racing exponential clocks."""
    clock = simulator.state.clock
    worlds, agents = rows // simulator.seats, rows % simulator.seats
    seed = simulator.host(clock.seed).astype(np.uint64)
    with np.errstate(over="ignore"):  # whole numbers wrap around
        mixed = _mix(_mix(seed[0]) + seed[1] * _ODD)
        for number in (simulator.host(clock.number)[worlds], simulator.host(clock.tick)[worlds], agents):
            mixed = _mix(mixed + (number.astype(np.uint64) + np.uint64(1)) * _ODD)
        mixed = _mix(mixed[:, None] + (np.arange(ACTIONS, dtype=np.uint64) + np.uint64(1)) * _ODD)
    uniform = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return (logits - np.log(-np.log(uniform))).argmax(axis=1)


def _mix(x: Any) -> Any:
    """Scrambled uint64. Source: SplitMix64, G. Steele, D. Lea, C. Flood 2014."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
