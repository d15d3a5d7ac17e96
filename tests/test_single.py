"""The single-agent environment: Gymnasium's own checker, traffic of every kind, and what goes wrong."""

import warnings

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from gigaflow_env.config import CONDITIONING


def make(**options):
    arguments = {"map": "loop", "preset": "laptop", "agents_per_world": 6}
    return gymnasium.make("gigaflow_env:GigaFlow-v0", **{**arguments, **options})


@pytest.mark.parametrize("options", [{}, {"action": "continuous"}, {"render_mode": "rgb_array"}, {"agents_per_world": 1}])
def test_gymnasiums_checker(options):
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*is different from the unwrapped version.*")
        warnings.filterwarnings("ignore", message=".*Not able to test alternative render modes.*")
        check_env(make(**options).unwrapped)


def test_an_episode_is_the_row_of_a_vector_environment():
    env = make(traffic=lambda obs, info: np.full(len(obs), 7), max_episode_steps=40).unwrapped
    obs, info = env.reset(seed=5)
    assert env.observation_space.contains(obs) and info["active"] is True
    total = 0
    for _ in range(200):
        obs, reward, terminated, truncated, info = env.step(10)
        assert env.observation_space.contains(obs) and type(reward) is float and type(terminated) is bool
        total += 1
        if terminated or truncated:
            break
    assert total <= 40 and (info["collision"] or info["offroad"] or info["timeout"] or info["route_done"])
    with pytest.raises(RuntimeError, match=r"step\(\) needs a reset\(\)"):
        env.step(10)
    first = env.reset(seed=5)[0]
    np.testing.assert_array_equal(first, env.reset(seed=5)[0])
    assert not np.array_equal(first, env.reset()[0])


def test_traffic_drives_by_itself():
    env = make(agents_per_world=8).unwrapped
    env.reset(seed=0)
    way = np.zeros(8)
    for _ in range(60):
        *_, terminated, truncated, _ = env.step(7)
        way += env.vector.simulator.state.motion.distance[0]
        if terminated or truncated:
            env.reset()
    assert (way[1:] > 20.0).all()


def test_a_callable_sees_the_rows_of_the_others():
    seen = []

    def drive(obs, info):
        seen.append((obs.shape, len(info["active"])))
        return np.full(len(obs), 10)

    env = make(traffic=drive)
    env.reset(seed=0)
    env.step(7)
    assert seen == [((5, env.unwrapped.layout.size), 5)]
    wrong = make(traffic=lambda obs, info: np.zeros(3, int))
    wrong.reset(seed=0)
    with pytest.raises(ValueError, match=r"traffic returned \(3,\): expected an action a row, \(5,\)"):
        wrong.step(7)


def test_a_checkpoint_drives(tmp_path):
    pytest.importorskip("torch", reason="a checkpoint needs torch")
    from gigaflow_train.cli import main

    assert main([
        "run", "--steps", "500", "--out", str(tmp_path / "run"), "--num-envs", "32", "--agents-per-world", "8",
        "--threads", "1", "--set", "set_widths=[8]", "trunk_widths=[8]", "vector_width=8",
    ]) == 0  # fmt: skip
    env = make(traffic=str(tmp_path / "run"))
    env.reset(seed=0)
    for _ in range(5):
        _, _, terminated, truncated, _ = env.step(7)
        if terminated or truncated:
            env.reset()
    with pytest.raises(ValueError, match="trained in another environment: .*view_range is 60.0 there and 200.0 here"):
        make(traffic=str(tmp_path / "run"), preset="paper")
    with pytest.raises(ValueError, match="checkpoints drive by discrete actions"):
        make(traffic=str(tmp_path / "run"), action="continuous")


def test_conditioning_is_for_the_car_alone():
    env = make(conditioning={"collision": 9.0}).unwrapped
    column = CONDITIONING.index("collision")
    env.reset(seed=0)
    found = env.vector.simulator.state.reward_weights.coefficients[0, :, column]
    assert found[0] == 9.0 and (found[1:] <= 3.0).all()
    env.reset(options={"conditioning": {"collision": (5.0, 6.0)}})
    assert 5.0 <= env.vector.simulator.state.reward_weights.coefficients[0, 0, column] <= 6.0


@pytest.mark.parametrize(
    "options, error, message",
    [
        ({"traffic": "idn"}, ValueError, "traffic='idn' is neither 'idm', nor a callable, nor a checkpoint"),
        ({"traffic": 3}, TypeError, "traffic=3: expected 'idm', a callable"),
        ({"map": "lopp"}, ValueError, "map='lopp'"),
        ({"action": "jerk"}, ValueError, "action='jerk'"),
    ],
)
def test_mistakes(options, error, message):
    with pytest.raises(error, match=message):
        make(**options)


def test_wrong_actions_and_options():
    env = make().unwrapped
    env.reset(seed=0)
    with pytest.raises(ValueError, match="action 12 is not in Discrete"):
        env.step(12)
    with pytest.raises(ValueError, match="unknown reset option 'mask'"):
        env.reset(options={"mask": 1})


def test_both_ways_to_make_it():
    vector = gymnasium.make_vec("gigaflow_env:GigaFlow-v0", num_envs=4, preset="laptop")
    assert type(vector.unwrapped).__name__ == "GigaflowVectorEnv"
    with pytest.warns(UserWarning, match="makes single cars, each in a world of its own"):
        several = gymnasium.make_vec(
            "gigaflow_env:GigaFlow-v0", num_envs=2, vectorization_mode="sync", preset="laptop", agents_per_world=3
        )
    obs, _ = several.reset(seed=0)
    assert obs.shape[0] == 2
    several.close()
