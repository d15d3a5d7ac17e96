"""The adapters against stubs of their libraries' interfaces: what they pass on, and what they refuse.

That the libraries themselves accept it, and learn through it, is shown by `make test-libraries`.
"""

import importlib
import subprocess
import sys
import types
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from gymnasium.wrappers import vector

from gigaflow_env.extras import remedy

ROOT = Path(__file__).resolve().parents[1]
ROWS = 12


def make(num_envs=ROWS, **options):
    options = {"preset": "laptop", "agents_per_world": 4, "threads": 1, **options}
    return gymnasium.make_vec("gigaflow_env:GigaFlow-v0", num_envs=num_envs, **options)


class Dictionary(dict):
    """TensorDict: a dict with a batch size."""

    def __init__(self, entries, batch_size):
        super().__init__(entries)
        self.batch_size = batch_size


class Holds:
    """An environment's wrapper that keeps what it is given."""

    def __init__(self, env, **options):
        self._env, self.options = env, options

    def set_info_dict_reader(self, reader):
        self.reader = reader


class Config:
    """RLlib's AlgorithmConfig: methods that return it, and remember."""

    def __init__(self):
        self.said = {}

    def environment(self, env, env_config):
        self.said |= {"env": env, "env_config": env_config}
        return self

    def env_runners(self, **said):
        self.said |= said
        return self

    def multi_agent(self, **said):
        self.said |= said
        return self


class Puffer:
    """PufferEnv: makes its buffers from the spaces."""

    def __init__(self, buf=None):
        rows, size = self.num_agents, self.single_observation_space.shape[0]
        self.observations = np.ones((rows, size), np.float32)
        self.rewards = np.ones(rows, np.float32)
        self.terminals, self.truncations, self.masks = (np.ones(rows, bool) for _ in range(3))


REGISTERED = {}
STUBS = {
    "skrl": {"skrl.envs.wrappers.torch": {"Wrapper": Holds}},
    "rsl_rl": {"rsl_rl.env": {"VecEnv": object}, "tensordict": {"TensorDict": Dictionary}},
    "rl_games": {
        "rl_games.common.env_configurations": {"register": lambda name, made: REGISTERED.update({f"env {name}": made})},
        "rl_games.common.vecenv": {"register": lambda name, made: REGISTERED.update({f"vec {name}": made})},
        "rl_games.common.ivecenv": {"IVecEnv": object},
    },
    "rllib": {
        "ray.rllib.algorithms.algorithm_config": {"AlgorithmConfig": Config},
        "ray.rllib.env.wrappers.pettingzoo_env": {"ParallelPettingZooEnv": Holds},
        "ray.tune.registry": {"register_env": lambda name, made: REGISTERED.update({name: made})},
    },
    "puffer": {"pufferlib": {"PufferEnv": Puffer}},
    "torchrl": {
        "torchrl.data": {
            "Binary": lambda shape, dtype, device: (shape, dtype),
            "Unbounded": lambda shape, dtype, device: (shape, dtype),
            "Composite": lambda specs, shape: specs,
        },
        "torchrl.envs": {"GymWrapper": Holds, "default_info_dict_reader": lambda keys, spec: (keys, spec)},
    },
}
"""Modules of each library with the names that its adapter imports."""


@pytest.fixture
def adapter(request, monkeypatch):
    """The adapter to the library that the test names, imported on the stub of it."""
    pytest.importorskip("torch", reason="the adapters to trainers need torch")
    name = request.param
    for path, names in STUBS[name].items():
        parts = path.split(".")
        for k in range(1, len(parts) + 1):
            module = types.ModuleType(".".join(parts[:k]))
            known = sys.modules.get(module.__name__)
            if not isinstance(known, types.ModuleType) or not hasattr(known, "a_stub"):
                module.a_stub = True
                monkeypatch.setitem(sys.modules, module.__name__, module)
                if k > 1:
                    setattr(sys.modules[".".join(parts[: k - 1])], parts[k - 1], module)
        for one, made in names.items():
            setattr(sys.modules[path], one, made)
    monkeypatch.delitem(sys.modules, f"gigaflow_env.adapters.{name}", raising=False)
    yield importlib.import_module(f"gigaflow_env.adapters.{name}")
    del sys.modules[f"gigaflow_env.adapters.{name}"]


def of(library):
    return pytest.mark.parametrize("adapter", [library], indirect=True)


TENSORS = {"output": "torch"}
REFUSES = [
    ("skrl", lambda a: a.SkrlEnv, TENSORS, "skrl"),
    ("rsl_rl", lambda a: a.RslRlEnv, {**TENSORS, "action": "continuous"}, "rsl_rl"),
    ("rl_games", lambda a: a.RLGamesEnv, TENSORS, "rl_games"),
    ("torchrl", lambda a: a.torchrl_env, {**TENSORS, "autoreset_mode": "Disabled"}, "TorchRL"),
]


@pytest.mark.parametrize(
    ("adapter", "maker", "right", "title"), REFUSES, indirect=["adapter"], ids=[one[0] for one in REFUSES]
)
def test_what_would_be_silently_wrong_is_refused(adapter, maker, right, title):
    wrap, mode = maker(adapter), right.get("autoreset_mode", "SameStep")
    wrap(make(**right))
    for other in {"SameStep", "NextStep", "Disabled"} - {mode}:
        with pytest.raises(ValueError, match=f'autoreset_mode is "{other}": {title} needs "{mode}"'):
            wrap(make(**{**right, "autoreset_mode": other}))
    with pytest.raises(ValueError, match=f"copy is False: {title} keeps observations and needs copy=True"):
        wrap(make(**right, copy=False))
    with pytest.raises(TypeError, match="expected a GigaflowVectorEnv"):
        wrap(vector.RecordEpisodeStatistics(make(**right)))
    if title != "TorchRL":
        with pytest.raises(ValueError, match=f'output is "numpy": the adapter to {title} passes tensors on'):
            wrap(make(**{**right, "output": "numpy"}))
    if title == "rsl_rl":
        with pytest.raises(ValueError, match='action is "discrete": rsl_rl has continuous actions only'):
            wrap(make(**TENSORS))


def test_errors_without_the_libraries_say_how_to_install_them():
    tops = {"rsl_rl": "rsl_rl", "rllib": "ray", "puffer": "pufferlib"}
    libraries = {library: tops.get(library, library) for library in (*STUBS, "pettingzoo")}
    code = (
        "import importlib, sys\n"
        "class Hidden:\n"
        "    def find_spec(self, name, path, target=None):\n"
        f"        if name in {list(libraries.values())}:\n"
        "            raise ModuleNotFoundError(name=name)\n"
        "sys.meta_path.insert(0, Hidden())\n"
        f"for name in {list(libraries)}:\n"
        "    try:\n"
        "        importlib.import_module('gigaflow_env.adapters.' + name)\n"
        "    except ImportError as error:\n"
        "        print(name, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    for library in libraries:
        assert said[library].endswith(remedy(library.replace("_", "-"))), done


@of("skrl")
def test_skrl_gets_the_tensors_as_they_are(adapter):
    import torch

    env, twin = adapter.SkrlEnv(make(**TENSORS), seed=3), make(**TENSORS)
    seen, _ = env.reset()
    assert torch.equal(seen, twin.reset(seed=3)[0]) and env.reset()[0] is seen, "rows start anew by themselves"
    for actions in torch.from_numpy(np.random.default_rng(0).integers(0, 12, (20, ROWS, 1))):
        got, expected = env.step(actions), twin.step(actions[:, 0])
        assert torch.equal(got[0], expected[0])
        for one, other in zip(got[1:4], expected[1:4], strict=True):
            assert one.shape == (ROWS, 1) and one.dtype == other.dtype and torch.equal(one[:, 0], other)
            assert one.data_ptr() != other.data_ptr()
    assert env.observation_space == twin.single_observation_space and env.action_space.n == 12


@of("skrl")
def test_no_copy_is_made_on_the_way(adapter):
    """What the library gets is the memory that the environment returned."""
    import torch

    inner = make(**TENSORS)
    env, returned = adapter.SkrlEnv(inner), []
    step = inner.step
    inner.step = lambda actions: returned.append(step(actions)) or returned[-1]
    env.reset()
    got = env.step(torch.full((ROWS, 1), 7))
    for one, other in zip(got[:4], returned[0][:4], strict=True):
        assert one.data_ptr() == other.data_ptr()


@of("rsl_rl")
def test_rsl_rl_gets_groups_ends_and_time_outs(adapter):
    import torch

    options = {**TENSORS, "action": "continuous", "max_episode_steps": 9}
    env, twin = adapter.RslRlEnv(make(**options), seed=3), make(**options)
    seen = env.get_observations()
    assert torch.equal(seen["policy"], twin.reset(seed=3)[0]) and seen.batch_size == [ROWS]
    assert (env.num_envs, env.num_actions, env.max_episode_length) == (ROWS, 2, 9)
    outs, age = 0, torch.zeros(ROWS, dtype=torch.long)
    for _ in range(20):
        actions = 3 * torch.randn(ROWS, 2, generator=torch.Generator().manual_seed(1))
        seen, reward, done, extras = env.step(actions)
        obs, gained, terminated, truncated, info = twin.step(actions.clamp(-1, 1))
        assert torch.equal(seen["policy"], obs) and torch.equal(reward, gained)
        assert done.dtype == torch.long and torch.equal(done.bool(), terminated | truncated)
        assert torch.equal(extras["time_outs"], truncated)
        assert extras["log"]["/goals_a_step"] == info["goal"].float().mean()
        age = torch.where(done.bool(), 0, age + 1)
        assert torch.equal(env.episode_length_buf, age)
        outs += int(truncated.sum())
    assert outs > 0


@of("rl_games")
def test_rl_games_makes_it_by_name(adapter):
    import torch

    adapter.register(lambda rows: make(rows, **TENSORS, max_episode_steps=9), "cars")
    assert REGISTERED["env cars"]["vecenv_type"] == "cars"
    env, twin = REGISTERED["vec cars"]("cars", ROWS, seed=3), make(**TENSORS, max_episode_steps=9)
    assert torch.equal(env.reset(), twin.reset(seed=3)[0])
    assert torch.equal(env.reset(), twin.reset()[0]), "the seed is used once"
    outs = 0
    for actions in torch.from_numpy(np.random.default_rng(0).integers(0, 12, (20, ROWS))):
        obs, reward, done, info = env.step(actions)
        expected = twin.step(actions)
        assert torch.equal(obs, expected[0]) and torch.equal(reward, expected[1])
        assert torch.equal(done, expected[2] | expected[3]) and torch.equal(info["time_outs"], expected[3])
        outs += int(info["time_outs"].sum())
    assert outs > 0 and env.get_number_of_agents() == 1
    assert env.get_env_info()["action_space"].n == 12


@of("torchrl")
def test_torchrl_declares_the_masks(adapter):
    import torch

    for output in ("numpy", "torch"):
        env = adapter.torchrl_env(make(output=output, autoreset_mode="Disabled"))
        keys, specs = env.reader
        info = env._env.reset(seed=0)[1]
        assert {"active", "traffic", "erratic", "distance"} < set(keys) == set(info)
        for name, (shape, dtype) in specs.items():
            given = torch.as_tensor(info[name])
            assert (tuple(given.shape), given.dtype) == (shape, dtype), name
        assert env.options["categorical_action_encoding"] is True
        assert env.options["convert_actions_to_numpy"] is (output == "numpy")
        env.batch_size = (ROWS,)
        mask = torch.arange(ROWS).view(ROWS, 1) == 2
        options = env._replace_reset(mask, {})["options"]
        assert isinstance(options["reset_mask"], torch.Tensor if output == "torch" else np.ndarray)
        assert options["reset_mask"].tolist() == mask[:, 0].tolist()


@of("rllib")
def test_rllib_is_told_the_vector_entry_point_and_next_step(adapter):
    said = adapter.vectorized(Config(), 64, {"map": "loop"}).said
    assert said["env"] == "gigaflow_env:GigaFlow-v0" and said["num_envs_per_env_runner"] == 64
    assert said["env_config"] == {"map": "loop", "autoreset_mode": "NextStep", "copy": True}
    assert said["gym_env_vectorize_mode"] == gymnasium.VectorizeMode.VECTOR_ENTRY_POINT
    assert adapter.vectorized(Config(), 1, {"autoreset_mode": gymnasium.vector.AutoresetMode.NEXT_STEP}).said
    for wrong, message in [
        ({"autoreset_mode": "SameStep"}, 'autoreset_mode is "SameStep": RLlib needs "NextStep"'),
        ({"copy": False}, "copy is False: RLlib keeps observations and needs copy=True"),
        ({"num_envs": 3}, "env_config has num_envs=3: give rows=3 instead"),
    ]:
        with pytest.raises(ValueError, match=message):
            adapter.vectorized(Config(), 64, wrong)


@of("rllib")
def test_rllib_drives_a_world_of_agents_by_one_policy(adapter):
    pytest.importorskip("pettingzoo", reason='it needs pip install "gigaflow-env[pettingzoo]"')
    said = adapter.multi_agent(Config(), {"agents": 3, "preset": "laptop"}).said
    assert said["policies"] == {"shared"} and said["policy_mapping_fn"]("car_0", None, worker=None) == "shared"
    assert REGISTERED[said["env"]](said["env_config"])._env.possible_agents == ["car_0", "car_1", "car_2"]


@of("puffer")
def test_puffer_has_everything_in_its_buffers(adapter):
    env = adapter.PufferGigaflow(
        ROWS, preset="laptop", reward_scale=0.1, threads=1, seed=5, drivers=["policy"] * 9 + ["idm"] * 3
    )
    buffers = [getattr(env, name) for name in ("observations", "rewards", "terminals", "truncations", "masks")]
    seen, infos = env.reset()
    assert seen is buffers[0] and infos == [] and env.masks.tolist() == [True] * 9 + [False] * 3
    state, of_rows, ends, least = env.simulator.state, env.simulator.per_row, 0, 0.0
    for actions in np.random.default_rng(0).integers(0, 12, (40, ROWS, 1)):
        got = env.step(actions)
        assert all(one is other for one, other in zip(got[:4], buffers[:4], strict=True)), "written in place"
        np.testing.assert_array_equal(env.observations, of_rows(env.simulator.observations))
        np.testing.assert_allclose(env.rewards, 0.1 * of_rows(state.outcome.reward), rtol=1e-6)
        assert env.rewards.min() >= -1.0
        ended = env.terminals | env.truncations
        assert ("episode_return" in got[4][0]) == ended.any()
        ends, least = ends + ended.sum(), min(least, env.rewards.min())
    assert ends > 0 and least < -0.15, "a crash costs more than a tenth of 1.5"
    env.close()


@of("puffer")
def test_puffers_clamp_takes_nothing_of_a_crash(adapter):
    env = adapter.PufferGigaflow(4, preset="laptop", threads=1)
    worst = 3.0 + 0.1 * 20.0 * 1.5 + 3.0  # collision, its part by speed, off the road
    assert env.reward_scale == pytest.approx(1 / worst)
    with pytest.raises(ValueError, match=r"reward_scale=0.25: PufferLib clamps rewards to -1..1, and a crash costs up to 9"):
        adapter.PufferGigaflow(4, preset="laptop", reward_scale=0.25)
    mild = {"collision": (0.1, 0.1), "offroad": (0.1, 0.1), "collision_speed": 0.0}
    assert adapter.PufferGigaflow(4, preset="laptop", config=mild, threads=1).reward_scale == 1.0


@of("puffer")
def test_puffers_continuous_actions(adapter):
    env = adapter.PufferGigaflow(4, preset="laptop", action="continuous", threads=1)
    env.reset(1)
    env.step(np.zeros((4, 2), np.float32))
    assert env.single_action_space.shape == (2,)
