"""Which Config is meant: a preset, changes to it, a complete one, or that of a checkpoint."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gigaflow_env import bounds, driver
from gigaflow_env.config import PRESETS, Config


def make_config(
    preset: str | None, config: Config | Mapping[str, Any] | None, checkpoints: Sequence[str | Path] = ()
) -> Config:
    """The preset with changes, or a complete Config as it is.

    Without a preset: the environment in which the first of the checkpoints was trained, or "paper" where there is none.
    Raises ValueError for an unknown preset, name or value, TypeError where `config` is something else.
    """
    if preset is not None:
        bounds.choice("preset", preset, PRESETS)
    if isinstance(config, Config):
        return config
    start = driver.config_of(checkpoints[0]) if preset is None and checkpoints else PRESETS[preset or "paper"]()
    if config is None:
        return start
    if not isinstance(config, Mapping):
        hint = f"; did you mean preset={config!r}?" if isinstance(config, str) and config in PRESETS else ""
        raise TypeError(f"config={bounds.shown(config)}: expected a dict of names and values, or a Config{hint}")
    for name in config:
        if not isinstance(name, str):
            raise ValueError(f"unknown configuration {bounds.shown(name)}: names are words")
    return start.replace(**config)
