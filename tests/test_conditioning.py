"""Conditioning by hand: what is chosen is driven with, for as long as it is chosen, and nothing else changes."""

import gymnasium
import numpy as np
import pytest

from gigaflow_env.config import CHOICES, CONDITIONING

ROWS = 24


def make(**options):
    arguments = {"num_envs": ROWS, "preset": "laptop", "agents_per_world": 8, "threads": 1, "max_episode_steps": 12}
    return gymnasium.make_vec("gigaflow_env:GigaFlow-v0", **{**arguments, **options})


def values(env, name):
    """What each row drives with."""
    simulator = env.simulator
    if name in CONDITIONING:
        return simulator.per_row(simulator.state.reward_weights.coefficients)[:, CONDITIONING.index(name)].copy()
    return simulator.per_row(getattr(simulator.state.body, name)).copy()


def drive(env, steps, seed=0):
    """Every row begins new episodes in these steps."""
    rng = np.random.default_rng(seed)
    return [env.step(rng.integers(0, 12, ROWS)) for _ in range(steps)]


def test_each_name_can_be_fixed_and_the_others_stay_as_drawn():
    env = make()
    for name in CHOICES:
        value = 0.75 if name == "width" else 2.5
        env.reset(seed=4, options={"conditioning": None})
        drawn = {other: values(env, other) for other in CHOICES}
        env.reset(seed=4, options={"conditioning": {name: value}})
        for other in CHOICES:
            if other == name:
                assert (values(env, name) == np.float32(value)).all() and not (drawn[name] == np.float32(value)).all()
            elif (name, other) != ("length", "width"):  # a body is at most as wide as it is long
                np.testing.assert_array_equal(values(env, other), drawn[other])


def test_a_range_is_filled_and_drawn_anew():
    env = make()
    env.reset(seed=0, options={"conditioning": {"length": (4.0, 5.0), "collision": [7.0, 9.0]}})
    seen = []
    for _ in range(30):
        drive(env, 12)
        seen.append([values(env, "length"), values(env, "collision")])
    lengths, collisions = np.array(seen)[:, 0], np.array(seen)[:, 1]
    assert 4.0 <= lengths.min() < 4.1 and 4.9 < lengths.max() <= 5.0
    assert 7.0 <= collisions.min() < 7.2 and 8.8 < collisions.max() <= 9.0
    assert (np.ptp(lengths, axis=0) > 0.3).all()
    shares = (lengths - 4.0), (collisions - 7.0) / 2
    assert abs(np.corrcoef(shares[0].ravel(), shares[1].ravel())[0, 1]) < 0.15  # names are drawn independently


def test_it_sticks_until_it_is_changed():
    env = make()
    env.reset(seed=0, options={"conditioning": {"collision": 9.0}})
    drive(env, 40)
    assert (values(env, "collision") == 9.0).all()
    env.reset(options={"conditioning": {"c_vel": 0.5}})
    assert (values(env, "collision") == 9.0).all() and (values(env, "c_vel") == 0.5).all()
    env.reset(seed=3)
    drive(env, 20)
    assert (values(env, "collision") == 9.0).all()
    env.reset(options={"conditioning": {"collision": None}})
    assert (values(env, "collision") <= 3.0).all() and (values(env, "c_vel") == 0.5).all()
    env.reset(options={"conditioning": None})
    assert (values(env, "c_vel") > 0.5).all()


def test_per_row():
    env = make()
    bias = np.linspace(-0.4, 0.4, ROWS)
    bias[::3] = np.nan
    lengths = np.stack([np.full(ROWS, 2.0), np.linspace(2.0, 6.0, ROWS)], axis=1)
    env.reset(seed=0, options={"conditioning": {"center_bias": bias, "length": lengths, "width": 1.0}})
    for _ in range(4):
        found, named = values(env, "center_bias"), ~np.isnan(bias)
        np.testing.assert_array_equal(found[named], bias[named].astype(np.float32))
        assert len(np.unique(found[~named])) == (~named).sum()
        assert (values(env, "length") <= lengths[:, 1] + 1e-6).all() and (values(env, "length") >= 2.0).all()
        drive(env, 15)


def test_two_rows_and_two_values():
    """A list of two is a range, an array of two is a value for each row."""
    env = make(num_envs=2, agents_per_world=2)
    env.reset(seed=0, options={"conditioning": {"collision": np.array([1.0, 2.0])}})
    assert values(env, "collision").tolist() == [1.0, 2.0]
    env.reset(seed=0, options={"conditioning": {"collision": [1.0, 2.0]}})
    assert values(env, "collision").tolist() != [1.0, 2.0]


def test_only_rows_that_begin_notice():
    env = make(autoreset_mode="Disabled", max_episode_steps=1200)
    env.reset(seed=0)
    mask = np.zeros(ROWS, bool)
    mask[:3] = True
    before = values(env, "collision")
    env.reset(options={"reset_mask": mask, "conditioning": {"collision": 5.0}})
    assert (values(env, "collision")[mask] == 5.0).all()
    np.testing.assert_array_equal(values(env, "collision")[~mask], before[~mask])


def test_as_an_argument_it_goes_through_the_specification():
    env = make(conditioning={"collision": 2.5, "width": [1.0, 1.2]})
    again = gymnasium.make_vec(gymnasium.envs.registration.EnvSpec.from_json(env.spec.to_json()))
    for one in (env, again):
        one.reset(seed=0)
        assert (values(one, "collision") == 2.5).all() and (values(one, "width") <= 1.2).all()


def test_the_policy_sees_it():
    env = make()
    obs, _ = env.reset(seed=0, options={"conditioning": {"collision": 3.0, "comfort": 0.0}})
    seen = env.layout.split(obs).conditioning
    assert (seen[:, CONDITIONING.index("collision")] == 1.0).all() and (seen[:, CONDITIONING.index("comfort")] == -1.0).all()


def test_snapshots_keep_it():
    env, other = make(), make()
    env.reset(seed=0, options={"conditioning": {"collision": 9.0}})
    other.restore(env.snapshot())
    drive(other, 40)
    assert (values(other, "collision") == 9.0).all()


@pytest.mark.parametrize(
    "given, message",
    [
        ({"colision": 1.0}, r"unknown conditioning 'colision': did you mean collision\?"),
        ({"xyzzy": 1.0}, r"unknown conditioning 'xyzzy': there is goal_radius, .*, c_vel"),
        ({"collision": (3, 1)}, r"conditioning 'collision': \(3, 1\) is no range \(low, high\) with low <= high"),
        ({"collision": (1, 2, 3)}, r"conditioning 'collision' has shape \(3,\): expected .*\(24,\) or \(24, 2\)"),
        ({"collision": np.zeros(5)}, r"conditioning 'collision' has shape \(5,\)"),
        ({"collision": "high"}, r"conditioning 'collision': 'high' is neither a number, nor a range"),
        ({"collision": True}, r"conditioning 'collision': True is neither a number"),
        ({"collision": float("inf")}, r"conditioning 'collision': inf must be 0 to 100"),
        ({"collision": (float("nan"), 1)}, r"conditioning 'collision': \(nan, 1\) is no range"),
        ({"length": 0.0}, r"conditioning 'length': 0 must be 0\.5 to 25 m"),
        ({"c_vel": (-1, 1)}, r"conditioning 'c_vel': -1 must be 0\.05 to 10"),
        ({"collision": np.stack([np.arange(24), np.arange(24)[::-1]], 1)}, r"'collision' of row 12: \(12, 11\) is no range"),
    ],
)  # fmt: skip
def test_mistakes(given, message):
    env = make()
    before = env.reset(seed=0)[0]
    with pytest.raises(ValueError, match=message):
        env.reset(seed=1, options={"conditioning": given})
    with pytest.raises(ValueError, match=message):
        make(conditioning=given)
    np.testing.assert_array_equal(env.reset(seed=0)[0], before)


def test_what_is_no_mapping():
    with pytest.raises(TypeError, match=r"conditioning=3: expected a dict"):
        make().reset(options={"conditioning": 3})
