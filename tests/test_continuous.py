"""Continuous actions: the same dynamics, driven by jerks in a box."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from gigaflow_env.layout import ACTIONS, LATERAL_JERKS, LONGITUDINAL_JERKS
from gigaflow_env.testing import check_vector_env

ROWS = 24


def make(action="continuous", **options):
    arguments = {"num_envs": ROWS, "preset": "laptop", "agents_per_world": 8, "threads": 1, "max_episode_steps": 60}
    return gymnasium.make_vec("gigaflow_env:GigaFlow-v0", action=action, **{**arguments, **options})


@pytest.mark.parametrize("mode", ["SameStep", "NextStep", "Disabled"])
def test_the_contract_holds(mode):
    env = make(autoreset_mode=mode)
    assert env.single_action_space == spaces.Box(-1.0, 1.0, (2,), np.float32)
    check_vector_env(env, steps=120)


def test_it_reaches_every_discrete_action_with_the_same_result():
    """Each of the twelve jerks as a point of the box: bit for bit the same drive."""
    jerks = np.array([(along, across) for along in LONGITUDINAL_JERKS for across in LATERAL_JERKS], np.float32)
    points = jerks / np.array([[15.0, 4.0]], np.float32)
    points[:, 0] = np.where(jerks[:, 0] < 0, jerks[:, 0] / np.float32(15), jerks[:, 0] / np.float32(4))
    discrete, continuous = make("discrete"), make()
    np.testing.assert_array_equal(discrete.reset(seed=2)[0], continuous.reset(seed=2)[0])
    rng = np.random.default_rng(0)
    for _ in range(40):
        # -4 of 15 is no float32: it would come back a bit too large or small.
        actions = rng.choice([k for k in range(ACTIONS) if LONGITUDINAL_JERKS[k // 3] != -4.0], ROWS)
        one, other = discrete.step(actions), continuous.step(points[actions])
        for a, b in zip(one[:4], other[:4], strict=True):
            np.testing.assert_array_equal(a, b)
        motion = continuous.simulator.state.motion
        ended = one[2] | one[3]
        np.testing.assert_array_equal(motion.jerk.ravel()[~ended], jerks[actions, 0][~ended])


def test_the_mapping_is_linear_on_either_side_of_zero():
    env = make(num_envs=8, max_episode_steps=1200)
    env.reset(seed=0)
    along = np.array([-1.0, -0.5, -0.1, 0.0, 0.1, 0.5, 1.0, 0.25], np.float32)
    env.step(np.stack([along, along[::-1]], axis=1))
    expected = np.where(along < 0, 15 * along, 4 * along)
    motion = env.simulator.state.motion
    np.testing.assert_allclose(motion.jerk[0], expected, rtol=1e-6)
    np.testing.assert_allclose(motion.side_jerk[0], 4 * along[::-1], rtol=1e-6)


@pytest.mark.parametrize(
    "actions, message",
    [
        (np.zeros(ROWS, np.float32), r"actions have shape \(24,\): expected two per row, \(24, 2\)"),
        (np.zeros((ROWS, 3), np.float32), r"actions have shape \(24, 3\)"),
        (np.zeros((ROWS, 2), int), r"actions have dtype int64: expected numbers -1\.0 to 1\.0"),
        (np.where(np.arange(2 * ROWS).reshape(ROWS, 2) == 7, 1.5, 0.0), r"action \[0\.0, 1\.5\] of row 3: must be -1 to 1"),
        (
            np.where(np.arange(2 * ROWS).reshape(ROWS, 2) == 6, np.nan, 0.0),
            r"action \[nan, 0\.0\] of row 3: must be -1 to 1",
        ),
    ],
)
def test_wrong_actions(actions, message):
    env = make()
    env.reset(seed=0)
    with pytest.raises(ValueError, match=message):
        env.step(actions)


def test_a_mistyped_choice():
    with pytest.raises(ValueError, match="action='jerk': choose one of 'discrete', 'continuous'"):
        make("jerk")


def test_stable_baselines_drives_it():
    sb3 = pytest.importorskip("stable_baselines3", reason="needs stable-baselines3")
    from gigaflow_env.adapters.sb3 import SB3VecEnv

    env = SB3VecEnv(make())
    model = sb3.PPO("MlpPolicy", env, n_steps=8, batch_size=64, n_epochs=1, seed=0, device="cpu")
    model.learn(8 * ROWS * 2)
    action, _ = model.predict(env.reset())
    assert action.shape == (ROWS, 2) and (np.abs(action) <= 1).all()
    env.close()
