"""PettingZoo's own tests of its parallel interface, and what they don't ask."""

import warnings

import numpy as np
import pytest

pytest.importorskip("pettingzoo", reason='the adapter needs pip install "gigaflow-env[pettingzoo]"')

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it imports a game of its own in an old way
    from pettingzoo.test import parallel_api_test, parallel_seed_test

from gigaflow_env.adapters.pettingzoo import parallel_env


def world(agents=8, **options):
    return parallel_env(agents, **{"preset": "laptop", **options})


def test_the_api_test():
    parallel_api_test(world(16), num_cycles=300)


def test_the_seed_test():
    parallel_seed_test(world, num_cycles=60)


@pytest.mark.parametrize("action", ["discrete", "continuous"])
def test_names_never_come_back_and_the_rest_is_truncated(action):
    env = world(12, max_steps=40, action=action)
    observations, infos = env.reset(seed=1)
    left, steps, over = set(), 0, {}
    while env.agents:
        assert set(env.agents) == set(observations) - left and not set(env.agents) & left
        actions = {name: env.action_space(name).sample() for name in env.agents}
        for name in set(env.agents) & {f"car_{k}" for k in range(6)}:
            actions[name] = 1 if action == "discrete" else np.array([-0.3, 0.0], np.float32)  # these brake
        before = set(env.agents)
        observations, rewards, terminations, truncations, infos = env.step(actions)
        assert set(observations) == set(rewards) == set(terminations) == set(truncations) == set(infos) >= before
        gone = {name for name in observations if terminations[name] or truncations[name]}
        for name in gone:
            over[name] = (terminations[name], truncations[name], steps)
            assert observations[name].any(), "what it saw last, not an empty row"
        assert set(env.agents) == set(observations) - gone
        left |= gone
        steps += 1
    assert steps == 40 and len(left) == 12
    ends = np.array([end[:2] for end in over.values()])
    assert ends[:, 0].any() and ends[:, 1].any() and (ends.sum(axis=1) == 1).all()
    assert env.step({}) == ({}, {}, {}, {}, {})


def test_it_is_the_vector_environment():
    """Observations and rewards are those of the rows, and who has left is not in the state."""
    env, rows = world(max_steps=30), None
    twin = world(max_steps=30).vector
    seen, _ = twin.reset(seed=4)
    env.reset(seed=4)
    np.testing.assert_array_equal(env.state(), seen)
    rng = np.random.default_rng(0)
    for _ in range(30):
        if not env.agents:
            break
        rows = rng.integers(0, 12, 8)
        there = {name: int(rows[env._row[name]]) for name in env.agents}
        observations, rewards, *_, infos = env.step(there)
        obs, reward, _, _, info = twin.step(np.where([f"car_{k}" in there for k in range(8)], rows, 7))
        for name in there:
            row = int(name.removeprefix("car_"))
            np.testing.assert_array_equal(observations[name], obs[row])
            assert rewards[name] == reward[row] and infos[name]["collision"] == info["collision"][row]
    assert rows is not None and (env.state()[[k for k in range(8) if f"car_{k}" not in env.agents]] == 0).any()


def test_traffic_is_no_agent():
    env = world(drivers=["policy", "idm"] * 4, max_steps=20)
    assert env.possible_agents == ["car_0", "car_2", "car_4", "car_6"]
    env.reset(seed=0)
    assert env.vector.simulator.state.outcome.active.sum() == 8
    for _ in range(5):
        env.step(dict.fromkeys(env.agents, 7))


def test_what_is_refused():
    with pytest.raises(ValueError, match="on_crash='freeze': PettingZoo's agents leave for good"):
        world(config={"on_crash": "freeze"})
    with pytest.raises(ValueError, match="agents=0"):
        world(0)
    env = world()
    with pytest.raises(ValueError, match="unknown reset option 'weather'"):
        env.reset(options={"weather": 1})
    env.reset(seed=0, options={"conditioning": {"collision": 2.5}})
    weights = env.vector.simulator.state.reward_weights.coefficients[0]
    assert (weights == 2.5).any(axis=1).all()
    with pytest.raises(ValueError, match=r"missing are those of \['car_1'"):
        env.step({"car_0": 7})
    with pytest.raises(ValueError, match=r"not in the world are \['bus'\]"):
        env.step({**dict.fromkeys(env.agents, 7), "bus": 7})
