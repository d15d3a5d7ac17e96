"""Opening the environment that a config names."""

from typing import Any

import gymnasium


def make(
    *,
    map: str,
    preset: str,
    config: dict[str, Any],
    num_envs: int,
    agents_per_world: int | None,
    threads: int,
    backend: str = "cpu",
    output: str = "numpy",
    render: bool = False,
    traffic: float = 0.0,
) -> Any:
    """A GigaFlow vector environment whose returned arrays are reused by the next step: copy what is to be kept.

    config: values that differ from the preset. output: "torch" gives tensors on the backend's device. traffic: share of the
    rows with rule-based drivers. Raises ValueError or OSError where the map or a value isn't right, RuntimeError where a
    device is missing.
    """
    return gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0",
        num_envs=num_envs,
        map=map,
        preset=preset,
        config=config,
        agents_per_world=agents_per_world,
        autoreset_mode="SameStep",
        backend=backend,
        output=output,
        threads=threads,
        copy=False,
        record_stats=True,
        render_mode="rgb_array" if render else None,
        drivers={"policy": 1.0 - traffic, "idm": traffic},
    )
