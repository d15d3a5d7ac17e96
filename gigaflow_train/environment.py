"""Opening the environment that a config names."""

from collections.abc import Callable, Sequence
from typing import Any

import gymnasium

from gigaflow_train import ranks, towns


def make(
    *,
    maps: Sequence[str],
    map_shares: str | Sequence[float] = "equal",
    preset: str,
    config: dict[str, Any],
    num_envs: int,
    agents_per_world: int | None,
    threads: int | None,
    backend: str = "cpu",
    output: str = "numpy",
    render: bool = False,
    traffic: float = 0.0,
    events: bool = False,
    action: str = "discrete",
    say: Callable[[str], None] = lambda line: None,
) -> Any:
    """A GigaFlow vector environment whose returned arrays are reused by the next step: copy what is to be kept.

    maps, map_shares: as in TrainConfig; with several maps each world draws its own whenever it begins. config: values that
    differ from the preset. output: "torch" gives tensors on the backend's device. traffic: share of the rows with rule-based
    drivers. events: keep the environment's event log. action: "discrete" or "continuous". say gets a line where opening
    takes long. Raises ValueError or OSError where a map or a value isn't right, RuntimeError where a device is missing.
    """
    opened = towns.open_all(maps, map_shares, say)
    device = f"cuda:{ranks.local()}" if backend == "cuda" and ranks.count() > 1 else None
    return gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0",
        num_envs=num_envs,
        map=opened.maps,
        map_shares=opened.shares,
        preset=preset,
        config=config,
        agents_per_world=agents_per_world,
        autoreset_mode="SameStep",
        backend=backend,
        device=device,
        output=output,
        threads=threads,
        copy=False,
        record_stats=True,
        action=action,
        render_mode="rgb_array" if render else None,
        drivers={"policy": 1.0 - traffic, "idm": traffic},
        events=events,
    )


def of_training(config: Any, say: Callable[[str], None] = lambda line: None, **changes: Any) -> Any:
    """The environment that a TrainConfig describes, with tensors; changes: other arguments of `make`."""
    arguments = {
        "maps": config.maps,
        "map_shares": config.map_shares,
        "preset": config.preset,
        "config": config.environment,
        "num_envs": config.num_envs,
        "agents_per_world": config.agents_per_world,
        "threads": config.threads,
        "backend": config.backend,
        "traffic": config.traffic,
        "action": config.action,
        "output": "torch",
    }
    return make(say=say, **(arguments | changes))
