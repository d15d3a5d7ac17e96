"""RLlib's runner keeps the episodes that the environment had: their borders, rewards and last observations."""

import numpy as np
import pytest

pytest.importorskip("ray", reason='the adapter needs pip install "gigaflow-env[rllib]"')

import ray
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.env.multi_agent_env_runner import MultiAgentEnvRunner
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner

from gigaflow_env.adapters.rllib import multi_agent, vectorized
from gigaflow_env.bench.easy import CONFIG, MAP
from gigaflow_env.env import GigaflowVectorEnv

ROWS = 16


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


def test_episodes_are_those_of_the_environment(monkeypatch):
    config = vectorized(PPOConfig(), ROWS, {"map": MAP, "config": CONFIG, "threads": 1}).env_runners(num_env_runners=0)
    runner, said = SingleAgentEnvRunner(config=config), []
    step = GigaflowVectorEnv.step
    monkeypatch.setattr(GigaflowVectorEnv, "step", lambda self, a: said.append(step(self, a)) or said[-1])
    episodes = [one for one in runner.sample(num_timesteps=ROWS * 120, random_actions=True) if one.is_done]
    done = np.stack([terminated | truncated for _, _, terminated, truncated, _ in said])
    lengths, last = [], set()
    for row in range(ROWS):
        ends = np.flatnonzero(done[:, row])
        # In mode NextStep the first step after an end is the reset's, and none of the episode.
        lengths += [*np.diff(ends, prepend=-1)[:1], *(np.diff(ends) - 1)]
        last |= {said[t][0][row].tobytes() for t in ends}
    assert len(episodes) > 50
    assert sorted(len(one) for one in episodes) == sorted(lengths)
    assert all(np.asarray(one.get_observations(-1), np.float32).tobytes() in last for one in episodes)


def test_agents_of_a_world_leave(monkeypatch):
    config = multi_agent(PPOConfig(), {"agents": 6, "preset": "laptop", "max_steps": 40}).env_runners(num_env_runners=0)
    runner = MultiAgentEnvRunner(config=config)
    (episode,) = runner.sample(num_episodes=1, random_actions=True)
    assert len(episode) == 40 or all(one.is_terminated for one in episode.agent_episodes.values())
    assert set(episode.agent_episodes) == {f"car_{k}" for k in range(6)}
    assert len({len(one) for one in episode.agent_episodes.values()}) > 1, "they leave one by one"
