"""What is asked of a benchmark, checked before torch is loaded."""

from pathlib import Path
from typing import NamedTuple

SUITES = ("longform", "waymax", "nuplan", "wosac", "carla-routes", "scenes", "robustness")
TOWN_SUITES = ("longform", "robustness")
SCENE_SUITES = ("waymax", "nuplan", "wosac", "scenes")
RULES = ("idm", "replay")
"""Policies that drive inside of the environment; replay is the recorded expert."""
PLAIN = ("constant", "random")
POLICIES = (*RULES, *PLAIN)
OTHERS = ("replay", "idm", "policy")
"""Who drives those that are not controlled, in scenes."""
BASELINES = {
    "longform": ("idm",), "robustness": (), "carla-routes": ("idm", "random"),
    **dict.fromkeys(SCENE_SUITES, ("replay", "idm", "constant", "random")),
}  # fmt: skip
"""What a suite compares with by default."""
HELD_OUT = "random:1000001-1000008"
"""Maps of the town suites: seeds that no training may use."""


class Request(NamedTuple):
    """One benchmark."""

    suite: str
    policy: str
    data: tuple[str, ...] = ()  # files or folders of scenes, or of routes
    maps: tuple[str, ...] = ()  # of town suites, and of routes
    out: Path = Path("runs/benchmark")
    baselines: tuple[str, ...] = ()
    seed: int = 1
    rows: int = 128  # agents of town suites
    worlds: int = 8  # of scene suites
    steps: int | None = None  # of town suites
    minutes: float | None = None  # budget of each policy
    rollouts: int = 32  # of WOSAC
    year: int = 2025  # of WOSAC
    others: str = "replay"  # who drives the other agents of scenes
    limit: int | None = None  # scenes at most
    threads: int | None = None
    backend: str = "cpu"
    greedy: bool = False
    keep: int = 20  # failures that are kept


def word(policy: str) -> str:
    """A policy's name as a part of a file's."""
    return "".join(letter if letter.isalnum() else "-" for letter in Path(policy).name)[:60] or "policy"


def is_callable(policy: str) -> bool:
    """Whether a policy is named as module:callable."""
    return ":" in policy and not Path(policy).exists()
