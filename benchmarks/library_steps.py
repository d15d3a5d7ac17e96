"""Stepping the environment through a library against stepping it as it is, in turns.

    python benchmarks/library_steps.py NAME

128 agents of the easy task, the same actions. Prints one JSON object: agent-steps a second of both, and by how much the
library is slower, as the median over the turns. What a trainer does besides, such as its networks, is not in it.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from gigaflow_env.bench.easy import CONFIG, MAP
from gigaflow_env.layout import NO_JERK

ROWS, TURNS = 128, 60
SECONDS = 0.1
"""[s] Length of a turn of each: short, as others on the machine come and go."""


def make(mode: str = "SameStep", **options: Any) -> Any:
    """The easy task on one thread."""
    import gymnasium

    import gigaflow_env  # noqa: F401 (registers GigaFlow-v0)

    return gymnasium.make_vec(
        "GigaFlow-v0", num_envs=ROWS, map=MAP, config=CONFIG, threads=1, autoreset_mode=mode, **options
    )


def stepping(env: Any, actions: Any) -> Callable[[], int]:
    """Step with the same actions each time."""

    def step() -> int:
        env.step(actions)
        return ROWS

    return step


def arrays(mode: str = "SameStep") -> Callable[[], int]:
    """As it is, with NumPy."""
    env, actions = make(mode), np.full(ROWS, NO_JERK)
    env.reset(seed=0)

    def step() -> int:
        _, _, terminated, truncated, _ = env.step(actions)
        done = terminated | truncated
        if mode == "Disabled" and done.any():
            env.reset(options={"reset_mask": done})
        return ROWS

    return step


def tensors(action: str = "discrete") -> Callable[[], int]:
    """As it is, with tensors of torch."""
    import torch

    env = make(output="torch", action=action)
    actions = torch.full((ROWS,), NO_JERK) if action == "discrete" else torch.zeros(ROWS, 2)
    env.reset(seed=0)
    return stepping(env, actions)


def sb3() -> Callable[[], int]:
    from gigaflow_env.adapters.sb3 import SB3VecEnv

    env, actions = SB3VecEnv(make()), np.full(ROWS, NO_JERK)
    env.reset()
    return stepping(env, actions)


def torchrl() -> Callable[[], int]:
    import torch

    from gigaflow_env.adapters.torchrl import torchrl_env

    env = torchrl_env(make("Disabled", output="torch"))
    state = env.reset()
    actions = torch.full((ROWS,), NO_JERK)

    def step() -> int:
        nonlocal state
        _, state = env.step_and_maybe_reset(state.set("action", actions))
        return ROWS

    return step


def skrl() -> Callable[[], int]:
    import torch

    from gigaflow_env.adapters.skrl import SkrlEnv

    env, actions = SkrlEnv(make(output="torch"), seed=0), torch.full((ROWS, 1), NO_JERK)
    env.reset()
    return stepping(env, actions)


def rsl_rl() -> Callable[[], int]:
    import torch

    from gigaflow_env.adapters.rsl_rl import RslRlEnv

    env, actions = RslRlEnv(make(output="torch", action="continuous"), seed=0), torch.zeros(ROWS, 2)
    return stepping(env, actions)


def rl_games() -> Callable[[], int]:
    import torch

    from gigaflow_env.adapters.rl_games import RLGamesEnv

    env, actions = RLGamesEnv(make(output="torch"), seed=0), torch.full((ROWS,), NO_JERK)
    env.reset()
    return stepping(env, actions)


def rllib() -> Callable[[], int]:
    """Its environment runner with random actions: RLlib has no step of its own."""
    import ray
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

    from gigaflow_env.adapters.rllib import vectorized

    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, local_mode=False)
    config = vectorized(PPOConfig(), ROWS, {"map": MAP, "config": CONFIG, "threads": 1}).env_runners(num_env_runners=0)
    runner = SingleAgentEnvRunner(config=config)

    def step() -> int:
        return sum(len(episode) for episode in runner.sample(num_timesteps=ROWS * 8, random_actions=True))

    return step


def puffer() -> Callable[[], int]:
    from gigaflow_env.adapters.puffer import PufferGigaflow

    env, actions = PufferGigaflow(ROWS, map=MAP, config=CONFIG, threads=1), np.full(ROWS, NO_JERK)
    env.reset(0)
    return stepping(env, actions)


def simulator() -> Callable[[], int]:
    """As it is, where there is no Gymnasium 1."""
    from gigaflow_env import Simulator

    made, actions = Simulator(MAP, ROWS, CONFIG, threads=1), np.full(ROWS, NO_JERK)
    made.reset(np.array([1, 2], np.uint32))
    return stepping(made, actions)


def pettingzoo() -> Callable[[], int]:
    """One world after the other, of the easy task's four agents."""
    from gigaflow_env.adapters.pettingzoo import parallel_env

    env = parallel_env(4, map=MAP, config=CONFIG.replace(on_crash="leave"))

    def step() -> int:
        if not env.agents:
            env.reset()
        driven = len(env.agents)
        env.step(dict.fromkeys(env.agents, NO_JERK))
        return driven

    return step


PAIRS: dict[str, tuple[Callable[[], Callable[[], int]], Callable[[], Callable[[], int]]]] = {
    "cleanrl": (arrays, arrays),
    "sb3": (arrays, sb3),
    "torchrl": (lambda: arrays("Disabled"), torchrl),
    "rllib": (lambda: arrays("NextStep"), rllib),
    "skrl": (tensors, skrl),
    "puffer": (simulator, puffer),
    "rl_games": (tensors, rl_games),
    "rsl_rl": (lambda: tensors("continuous"), rsl_rl),
    "agilerl": (arrays, arrays),
    "tianshou": (lambda: arrays("Disabled"), lambda: arrays("Disabled")),
    "sample_factory": (tensors, tensors),
    "pettingzoo": (arrays, pettingzoo),
}
"""As it is, and through the library."""


def rate(step: Callable[[], int]) -> float:
    """Agent-steps a second over one turn."""
    began, driven = time.perf_counter(), 0
    while time.perf_counter() - began < SECONDS:
        driven += step()
    return driven / (time.perf_counter() - began)


if __name__ == "__main__":
    raw, through = (make_step() for make_step in PAIRS[sys.argv[1]])
    for step in (raw, through):
        for _ in range(20):  # kernels are loaded, buffers allocated
            step()
    turns = []
    for turn in range(TURNS):  # either goes first as often as the other
        if turn % 2:
            plain = rate(raw)
            turns.append((plain, rate(through)))
        else:
            library = rate(through)
            turns.append((rate(raw), library))
    shares = [1 - library / plain for plain, library in turns]
    print(
        json.dumps(
            {
                "raw_steps_per_s": round(statistics.median(plain for plain, _ in turns)),
                "library_steps_per_s": round(statistics.median(library for _, library in turns)),
                "overhead": round(statistics.median(shares), 3),
            }
        )
    )
