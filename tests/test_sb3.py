"""The adapter to Stable-Baselines3: its infos, its refusals, and that PPO learns to drive through it."""

import subprocess
import sys
from pathlib import Path

import gymnasium
import numpy as np
import pytest

pytest.importorskip("stable_baselines3", reason='the adapter needs pip install "gigaflow-env[sb3]"')

import torch
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.env_checker import check_env
from stable_baselines3.common.vec_env import VecMonitor, VecNormalize

from gigaflow_env.adapters.sb3 import SB3VecEnv
from gigaflow_env.extras import remedy

ROOT = Path(__file__).resolve().parents[1]
ROWS = 12


def make(num_envs: int = ROWS, **options) -> gymnasium.vector.VectorEnv:
    options = {"preset": "laptop", "agents_per_world": 4, "threads": 1, **options}
    return gymnasium.make_vec("gigaflow_env:GigaFlow-v0", num_envs=num_envs, **options)


@pytest.fixture
def one_thread():
    """Two libraries' threads slow each other down on small machines."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_infos_are_those_of_rows_that_ended():
    adapter = SB3VecEnv(make(max_episode_steps=15))
    twin = make(max_episode_steps=15, record_stats=True)
    adapter.seed(3)
    np.testing.assert_array_equal(adapter.reset(), twin.reset(seed=3)[0])
    kinds = set()
    for actions in np.random.default_rng(0).integers(0, 12, (60, ROWS)):
        obs, reward, done, infos = adapter.step(actions)
        expected, its_reward, terminated, truncated, info = twin.step(actions)
        np.testing.assert_array_equal(obs, expected)
        np.testing.assert_array_equal(reward, its_reward)
        np.testing.assert_array_equal(done, terminated | truncated)
        for row in range(ROWS):
            assert bool(infos[row]) == done[row]
            if done[row]:
                np.testing.assert_array_equal(infos[row]["terminal_observation"], info["final_obs"][row])
                assert infos[row]["TimeLimit.truncated"] is bool(truncated[row])
                assert infos[row]["episode"]["l"] == info["episode"]["l"][row]
                assert infos[row]["episode"]["r"] == pytest.approx(info["episode"]["r"][row], abs=1e-4)
                assert infos[row]["episode"].keys() == {"r", "l", "t"}
                assert infos[row]["is_success"] is bool(info["route_done"][row])
                kinds.add(bool(truncated[row]))
    assert kinds == {False, True}


def test_seeds_and_options_are_used_once():
    adapter, twin = SB3VecEnv(make()), make()
    adapter.seed(5)
    adapter.reset()
    twin.reset(seed=5)
    np.testing.assert_array_equal(adapter.reset(), twin.reset()[0])
    mask = np.arange(ROWS) == 1
    adapter.set_options({"reset_mask": mask})
    np.testing.assert_array_equal(adapter.reset(), twin.reset(options={"reset_mask": mask})[0])
    np.testing.assert_array_equal(adapter.reset(), twin.reset()[0])


def test_a_partial_reset_keeps_the_count_of_the_other_rows():
    adapter = SB3VecEnv(make(max_episode_steps=6, config={"on_crash": "continue", "world_stagger": 0.0}))
    adapter.reset()
    for _ in range(4):
        adapter.step(np.full(ROWS, 4))
    mask = np.arange(ROWS) == 1
    adapter.set_options({"reset_mask": mask})
    adapter.reset()
    adapter.step(np.full(ROWS, 4))
    _, _, done, infos = adapter.step(np.full(ROWS, 4))
    np.testing.assert_array_equal(done, ~mask)
    assert all(infos[row]["episode"]["l"] == 6 for row in np.flatnonzero(done))


def test_attributes_and_methods():
    adapter = SB3VecEnv(make())
    assert adapter.num_envs == ROWS and adapter.action_space.n == 12
    assert adapter.get_attr("num_worlds") == [3] * ROWS and adapter.get_attr("num_worlds", [0, 2]) == [3, 3]
    adapter.set_attr("note", "kept")
    assert adapter.get_attr("note", 0) == ["kept"]
    adapter.reset()
    assert adapter.env_method("scene", 1, 2, indices=0)[0].followed == 2
    assert adapter.env_is_wrapped(gymnasium.Wrapper) == [False] * ROWS
    adapter.close()
    assert adapter.env.closed


def test_images_of_all_rows():
    pytest.importorskip("matplotlib", reason="pictures need the extra render")
    adapter = SB3VecEnv(make(2, render_mode="rgb_array"))
    adapter.reset()
    assert adapter.render().shape == (720 * 2, 720, 3) or adapter.render().shape == (720, 720 * 2, 3)


def test_wrappers_of_stable_baselines3():
    env = VecNormalize(VecMonitor(SB3VecEnv(make())), norm_reward=False)
    env.reset()
    ends = 0
    for actions in np.random.default_rng(0).integers(0, 12, (40, ROWS)):
        obs, _, done, infos = env.step(actions)
        assert np.isfinite(obs).all()
        ends += sum("episode" in info for info in infos)
    assert ends > 0


def test_normalisation_is_saved_and_loaded(tmp_path):
    """What was learned on scaled observations is driven on observations scaled alike."""
    env = VecNormalize(SB3VecEnv(make()))
    env.seed(1)
    env.reset()
    for actions in np.random.default_rng(0).integers(0, 12, (30, ROWS)):
        env.step(actions)
    env.save(str(tmp_path / "scales.pkl"))
    again = VecNormalize.load(str(tmp_path / "scales.pkl"), SB3VecEnv(make()))
    again.training = env.training = False
    np.testing.assert_array_equal(again.obs_rms.mean, env.obs_rms.mean)
    assert np.abs(env.obs_rms.mean).max() > 0.1 and again.obs_rms.count > 300
    for one in (env, again):
        one.seed(2)
    seen = env.reset()
    np.testing.assert_array_equal(again.reset(), seen)
    raw = env.get_original_obs()
    assert np.abs(seen - raw).max() > 0.1
    for actions in np.random.default_rng(1).integers(0, 12, (5, ROWS)):
        for one, other in zip(env.step(actions)[:2], again.step(actions)[:2], strict=True):
            np.testing.assert_array_equal(one, other)


def test_its_checker_of_single_environments():
    check_env(gymnasium.make("gigaflow_env:GigaFlow-v0", preset="laptop", agents_per_world=3), warn=True)


@pytest.mark.parametrize("mode", ["NextStep", "Disabled"])
def test_other_autoreset_modes_are_refused(mode):
    with pytest.raises(ValueError, match=f'autoreset_mode is "{mode}": Stable-Baselines3 needs "SameStep"'):
        SB3VecEnv(make(autoreset_mode=mode))


def test_reused_arrays_are_refused():
    with pytest.raises(ValueError, match="copy is False: Stable-Baselines3 keeps observations and needs copy=True"):
        SB3VecEnv(make(copy=False))


def python(*lines: str) -> subprocess.CompletedProcess:
    """Run lines of Python in a process of their own."""
    return subprocess.run([sys.executable, "-c", "\n".join(lines)], cwd=ROOT, capture_output=True, text=True)


def test_the_error_without_stable_baselines3_says_how_to_install_it():
    done = python(
        "import sys",
        "class Hidden:",
        "    def find_spec(self, name, path, target=None):",
        "        if name == 'stable_baselines3':",
        "            raise ModuleNotFoundError(name=name)",
        "sys.meta_path.insert(0, Hidden())",
        "import gigaflow_env.adapters.sb3",
    )
    assert done.stderr.strip().endswith(f"ImportError: the adapter needs stable-baselines3: {remedy('sb3')}")


def test_the_package_does_not_load_stable_baselines3():
    done = python(
        "import sys, gigaflow_env, gigaflow_env.adapters",
        "print('stable_baselines3' in sys.modules, 'torch' in sys.modules)",
    )
    assert done.stdout.split() == ["False", "False"], done.stderr


class Curve(BaseCallback):
    """Returns and successes of the episodes that ended in each rollout."""

    def __init__(self) -> None:
        super().__init__()
        self.returns: list[list[float]] = []
        self.successes: list[list[bool]] = []

    def _on_rollout_start(self) -> None:
        self.returns.append([])
        self.successes.append([])

    def _on_step(self) -> bool:
        ended = [info for info in self.locals["infos"] if info]
        self.returns[-1] += [info["episode"]["r"] for info in ended]
        self.successes[-1] += [info["is_success"] for info in ended]
        return True


@pytest.mark.slow
def test_ppo_learns_to_drive_to_its_goals(one_thread):
    penalties = {"collision": (0.5, 0.5), "offroad": (0.5, 0.5), "comfort": (0.0, 0.0)}
    config = {**penalties, "progress": (0.1, 0.1), "goal_speed": 30.0}
    curve = Curve()
    model = PPO(
        "MlpPolicy", SB3VecEnv(make(128, config=config)), n_steps=32, batch_size=512, n_epochs=8, learning_rate=5e-4,
        gamma=0.97, ent_coef=0.005, seed=0, device="cpu",
    )  # fmt: skip
    model.learn(16 * 32 * 128, callback=curve)
    first, last = np.concatenate(curve.returns[:2]), np.concatenate(curve.returns[-2:])
    noise = np.hypot(first.std() / len(first) ** 0.5, last.std() / len(last) ** 0.5)
    assert last.mean() - first.mean() > max(1.0, 8 * noise), (first.mean(), last.mean(), noise)
    assert np.mean(sum(curve.successes[:2], [])) < 0.02 < 0.06 < np.mean(sum(curve.successes[-2:], []))
