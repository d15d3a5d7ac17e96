"""What a user's type checker is content with, and what it must not be: `make lint` checks this file, and nothing runs it.

An `ignore` that is not needed is an error here: where one is, the package's types are there, and not Any.
"""
# mypy: warn-unused-ignores

import gymnasium
import numpy as np

import gigaflow_env
from gigaflow_env.adapters.sb3 import SB3VecEnv
from gigaflow_env.bench.easy import rates

env = gymnasium.make_vec("GigaFlow-v0", num_envs=8)
adapter = SB3VecEnv(env)
raw = env.unwrapped
assert isinstance(raw, gigaflow_env.GigaflowVectorEnv)
size: int = raw.layout.size
worlds: int = gigaflow_env.GigaflowVectorEnv(8, preset="laptop").num_worlds
simulator = gigaflow_env.Simulator("loop", 8, gigaflow_env.PRESETS["laptop"]())
simulator.step(np.zeros(8, np.int64))
goals: float = rates(lambda seen: np.zeros(len(seen), np.int64)).goals

gigaflow_env.GigaflowVector  # type: ignore[attr-defined]  # noqa: B018
gigaflow_env.GigaflowVectorEnv(8, presett="laptop")  # type: ignore[call-arg]
SB3VecEnv("cars")  # type: ignore[arg-type]
rates(3)  # type: ignore[arg-type]
