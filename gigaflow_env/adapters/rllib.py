"""RLlib, its new stack: the environment's own vector entry point, and one world of agents through PettingZoo."""

from collections.abc import Mapping
from typing import Any

import gymnasium

from gigaflow_env.extras import needed

with needed("the adapter needs ray", "rllib", "ray", "torch"):
    from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
    from ray.rllib.env.wrappers.pettingzoo_env import ParallelPettingZooEnv
    from ray.tune.registry import register_env

ENV = "gigaflow_env:GigaFlow-v0"
WORLD = "gigaflow_world"


def vectorized(config: AlgorithmConfig, rows: int, env_config: Mapping[str, Any] | None = None) -> AlgorithmConfig:
    """The config (PPOConfig and the like) with `rows` agents in each env runner, all in one vector environment.

    env_config: arguments of GigaflowVectorEnv, but `num_envs`. The autoreset mode is NextStep: RLlib runs with SameStep as
    well, and then gives every episode the next one's first observation and loses its first transition, without an error.
    It has no masks, so use neither erratic drivers nor traffic with it. Raises ValueError for another mode, and for
    copy=False.
    """
    given = dict(env_config or {})
    mode = given.setdefault("autoreset_mode", "NextStep")
    if str(getattr(mode, "value", mode)) != "NextStep":
        raise ValueError(f'autoreset_mode is "{mode}": RLlib needs "NextStep", with others its episodes are wrong')
    if not given.setdefault("copy", True):
        raise ValueError("copy is False: RLlib keeps observations and needs copy=True")
    if "num_envs" in given:
        raise ValueError(f"env_config has num_envs={given['num_envs']}: give rows={given['num_envs']} instead")
    return config.environment(ENV, env_config=given).env_runners(
        gym_env_vectorize_mode=gymnasium.VectorizeMode.VECTOR_ENTRY_POINT, num_envs_per_env_runner=rows
    )


def multi_agent(config: AlgorithmConfig, env_config: Mapping[str, Any] | None = None) -> AlgorithmConfig:
    """The config for one world of agents, who leave when their episode ends; one policy, "shared", drives them all.

    env_config: arguments of `adapters.pettingzoo.parallel_env`. Slow, for RLlib handles every agent by itself: use it where
    agents must know each other, `vectorized` otherwise.
    """
    from gigaflow_env.adapters.pettingzoo import parallel_env

    register_env(WORLD, lambda given: ParallelPettingZooEnv(parallel_env(**given)))
    return config.environment(WORLD, env_config=dict(env_config or {})).multi_agent(
        policies={"shared"}, policy_mapping_fn=lambda agent, episode, **_: "shared"
    )
