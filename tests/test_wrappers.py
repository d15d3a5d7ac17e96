"""Gymnasium's vector wrappers around the environment: those that work in each autoreset mode, and what they give."""

import copy
import importlib.util
import warnings
from collections.abc import Sequence

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers import vector

from gigaflow_env.config import laptop  # importing the package registers GigaFlow-v0
from gigaflow_env.layout import Layout

MODES = [mode.value for mode in AutoresetMode]
TRANSFORMS = ["NextStep", "Disabled"]  # Gymnasium's observation wrappers refuse SameStep
COLUMNS = Layout(laptop()).size
GYMNASIUM = tuple(int(part) for part in gymnasium.__version__.split(".")[:2])


def make(mode: str = "SameStep", **options) -> gymnasium.vector.VectorEnv:
    options = {"preset": "laptop", "agents_per_world": 4, "max_episode_steps": 20, "threads": 1, **options}
    return gymnasium.make_vec("GigaFlow-v0", num_envs=10, autoreset_mode=mode, **options)


def drive(env: gymnasium.vector.VectorEnv, mode: str, steps: int = 60) -> list[tuple]:
    env.action_space.seed(0)
    obs, _ = env.reset(seed=0)
    assert len(obs) == 10
    run = []
    for _ in range(steps):
        # A copy, as RecordEpisodeStatistics of Gymnasium 1.4 changes the info that it has returned.
        run.append(copy.deepcopy(env.step(env.action_space.sample())))
        ended = np.asarray(run[-1][2] | run[-1][3])
        if mode == "Disabled" and ended.any():
            env.reset(options={"reset_mask": ended})
    return run


@pytest.mark.parametrize("mode", MODES)
def test_record_episode_statistics_agrees_with_the_environments_own(mode):
    if mode == "SameStep" and GYMNASIUM < (1, 4):
        pytest.skip("before 1.4 the wrapper counts wrongly in this mode: record_stats=True")
    wrapped, own = make(mode), make(mode, record_stats=True)
    episodes = 0
    for one, other in zip(drive(vector.RecordEpisodeStatistics(wrapped), mode), drive(own, mode), strict=True):
        ended = one[2] | one[3]
        np.testing.assert_array_equal(one[1], other[1])
        if ended.any():
            np.testing.assert_array_equal(one[4]["_episode"], other[4]["_episode"])
            np.testing.assert_allclose(one[4]["episode"]["r"], other[4]["episode"]["r"], rtol=1e-5, atol=1e-5)
            np.testing.assert_array_equal(one[4]["episode"]["l"], other[4]["episode"]["l"])
            episodes += ended.sum()
    assert episodes > 20


def test_record_episode_statistics_keeps_unmasked_rows_at_a_partial_reset():
    env = vector.RecordEpisodeStatistics(make("Disabled", config={"on_crash": "continue"}))
    env.reset(seed=0)
    for _ in range(3):
        env.step(np.full(10, 4))
    env.reset(options={"reset_mask": np.arange(10) == 0})
    np.testing.assert_array_equal(env.episode_lengths, [0] + [3] * 9)


def test_record_episode_statistics_refuses_a_second_count():
    env = vector.RecordEpisodeStatistics(make(record_stats=True))
    with pytest.raises(ValueError, match="this key already exists"):
        drive(env, "SameStep")


@pytest.mark.parametrize("mode", MODES)
def test_rewards_can_be_clipped_and_normalised(mode):
    plain = drive(make(mode), mode)
    clipped = drive(vector.ClipReward(make(mode), -0.5, 0.01), mode)
    normal = drive(vector.NormalizeReward(make(mode)), mode)
    for one, two, three in zip(plain, clipped, normal, strict=True):
        np.testing.assert_array_equal(np.clip(one[1], -0.5, 0.01), two[1])
        assert np.isfinite(three[1]).all() and len(three[1]) == 10
    assert any((one[1] < -0.5).any() for one in plain)


@pytest.mark.parametrize("mode", TRANSFORMS)
def test_observations_can_be_transformed_where_gymnasium_permits_it(mode):
    plain = drive(make(mode), mode)
    rescaled = drive(vector.RescaleObservation(make(mode), np.float32(-0.5), np.float32(0.5)), mode)
    flat = drive(vector.FlattenObservation(make(mode)), mode)
    for one, two, three in zip(plain, rescaled, flat, strict=True):
        np.testing.assert_allclose(two[0], one[0] / 2, atol=1e-6)
        np.testing.assert_array_equal(three[0], one[0])
        assert two[0].dtype == three[0].dtype == np.float32


@pytest.mark.parametrize("wrap", [vector.FlattenObservation, vector.NormalizeObservation])
def test_gymnasium_refuses_to_transform_observations_in_mode_same_step(wrap):
    # Before 1.4 an assertion without words.
    refused = (
        pytest.raises(ValueError, match="Expected autoreset_mode") if GYMNASIUM >= (1, 4) else pytest.raises(AssertionError)
    )
    with refused:
        wrap(make("SameStep"))


def test_observations_can_be_normalised_in_mode_next_step():
    env = vector.NormalizeObservation(make("NextStep"))
    seen = np.concatenate([result[0] for result in drive(env, "NextStep", 200)])
    assert np.isfinite(seen).all() and np.abs(seen.mean(axis=0)).max() < 1.0
    plain = np.concatenate([result[0] for result in drive(make("NextStep"), "NextStep", 200)])
    assert seen.std(axis=0).mean() > 2 * plain.std(axis=0).mean()


@pytest.mark.parametrize("mode", MODES)
def test_infos_as_a_list_of_dicts(mode):
    env, own = vector.DictInfoToList(make(mode, record_stats=True)), make(mode, record_stats=True)
    for one, other in zip(drive(env, mode), drive(own, mode), strict=True):
        assert len(one[4]) == 10
        for row, info in enumerate(one[4]):
            assert info["active"] == other[4]["active"][row] and info["distance"] == other[4]["distance"][row]
            ended = other[2][row] | other[3][row]
            assert ("episode" in info) == ended and ("final_obs" in info) == (ended and mode == "SameStep")
            if "final_obs" in info:
                np.testing.assert_array_equal(info["final_obs"], other[4]["final_obs"][row])


@pytest.mark.parametrize("mode", MODES)
def test_tensors_of_torch(mode):
    torch = pytest.importorskip("torch", reason="the wrapper is about torch")
    pytest.importorskip("array_api_compat", reason="Gymnasium's NumpyToTorch needs it: pip install gymnasium[torch]")
    env = vector.NumpyToTorch(vector.RecordEpisodeStatistics(make(mode)))
    env.reset(seed=0)
    obs, reward, terminated, _, info = env.step(torch.zeros(10, dtype=torch.int64))
    assert obs.shape == (10, COLUMNS) and obs.dtype == reward.dtype == torch.float32
    assert terminated.dtype == info["active"].dtype == torch.bool


@pytest.mark.parametrize("mode", MODES)
def test_videos_of_the_first_row(mode, tmp_path):
    if importlib.util.find_spec("moviepy") is None:
        pytest.skip("Gymnasium's RecordVideo needs the extra render")
    pytest.importorskip("matplotlib", reason="pictures need the extra render")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Gymnasium about SameStep, and of what moviepy calls
        env = vector.RecordVideo(
            make(mode, render_mode="rgb_array"), str(tmp_path / "videos"), record_first_only=True, video_length=5,
            episode_trigger=lambda number: number == 0,
        )  # fmt: skip
        drive(env, mode, 10)
        assert len(env.render()) == 10
        env.close()
    (video,) = (tmp_path / "videos").iterdir()
    assert video.suffix == ".mp4" and video.stat().st_size > 1000


def test_video_of_one_car(tmp_path):
    if importlib.util.find_spec("moviepy") is None:
        pytest.skip("Gymnasium's RecordVideo needs the extra render")
    env = gymnasium.make(
        "gigaflow_env:GigaFlow-v0", map="loop", agents_per_world=4, preset="laptop", render_mode="rgb_array"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what moviepy calls
        env = gymnasium.wrappers.RecordVideo(env, str(tmp_path / "videos"), video_length=5)
        env.reset(seed=0)
        for _ in range(6):
            env.step(7)
        env.close()
    (video,) = (tmp_path / "videos").iterdir()
    assert video.suffix == ".mp4" and video.stat().st_size > 1000


def test_frames_satisfy_what_record_video_asks_for():
    pytest.importorskip("matplotlib", reason="pictures need the extra render")
    env = make(render_mode="rgb_array")
    env.reset(seed=0)
    frames = env.render()
    assert isinstance(frames, Sequence) and len(frames) == env.num_envs
    assert np.array([frames[0]]).shape == (1, 720, 720, 3)


@pytest.mark.parametrize("mode", MODES)
def test_wrappers_show_the_environment_behind_them(mode):
    env = vector.ClipReward(vector.RecordEpisodeStatistics(make(mode)), -1, 1)
    assert env.unwrapped.autoreset_mode.value == mode and env.metadata["autoreset_mode"].value == mode
    assert env.num_envs == 10 and env.single_observation_space.shape == (COLUMNS,) and env.spec.id == "GigaFlow-v0"
    env.close()
    assert env.unwrapped.closed
