"""A policy on video: top view of one world, following one agent."""

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env.render import write_video
from gigaflow_train.evaluate.baselines import Act

SPEEDUP = 3.0
"""Times real time: an agent's route of half a minute in ten seconds."""


def record(env: Any, act: Act, path: Path, *, steps: int, seed: int, size: int = 720) -> int:
    """Reset, drive for some steps and write what agent 0 of world 0 goes through; returns the number of frames."""
    return write_video(path, frames(env, act, steps=steps, seed=seed, size=size), SPEEDUP / env.config.dt)


def frames(env: Any, act: Act, *, steps: int, seed: int, size: int) -> Iterator[np.ndarray]:
    """Frames uint8 (size, size, 3) of world 0, one a step."""
    obs, _ = env.reset(seed=seed)
    for step in itertools.count():
        yield env.render_world(world=0, agent=0, size=size)
        if step == steps:
            return
        obs, *_ = env.step(act(obs))
