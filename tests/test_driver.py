"""A trained policy without torch: its file, its network against torch's, and the rows that it drives."""

import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from conftest import ring
from tiny_driver import tiny, write

from gigaflow_env import Layout, driver
from gigaflow_env.config import laptop
from gigaflow_env.driver import checkpoint as files
from gigaflow_env.driver.network import Network, softmax
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.layout import as_floats
from gigaflow_env.seats import seats


@pytest.mark.parametrize("bodies, widths, stops", [(1, (6, 5), 2), (2, (4,), 2), (1, (4, 5, 6), 0)])
def test_the_network_equals_torchs(tmp_path: Path, bodies: int, widths: tuple[int, ...], stops: int) -> None:
    torch = pytest.importorskip("torch", reason="compares with torch")
    from gigaflow_train import config as training
    from gigaflow_train.policy import Policy

    layout = Layout(laptop().replace(stop_count=stops))
    weights = tiny(layout, bodies=bodies, widths=widths)
    settings = training.laptop().replace(set_widths=widths, vector_width=7, trunk_widths=(8, 9), separate=bodies == 2)
    policy = Policy(layout, settings).eval()
    policy.load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
    obs = np.random.default_rng(1).uniform(-1, 1, (1500, layout.size)).astype(np.float32)
    with torch.inference_mode():
        logits, values = (x.numpy() for x in policy(torch.from_numpy(obs)))
    found, valued = Network(weights, layout)(obs)
    assert np.abs(logits).max() > 1.0, "the comparison has something to compare"
    np.testing.assert_allclose(found, logits, atol=1e-5)
    np.testing.assert_allclose(valued, values, atol=1e-5)
    np.testing.assert_allclose(softmax(found).sum(axis=1), 1.0, atol=1e-6)


def test_a_file_is_read_as_the_trainer_writes_it(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="the trainer needs torch")
    from gigaflow_train import checkpoint
    from gigaflow_train.config import laptop as training
    from gigaflow_train.policy import Policy

    env = GigaflowVectorEnv(2, map=ring(), preset="laptop", agents_per_world=2)
    policy = Policy(env.layout, training().replace(set_widths=(4,), vector_width=4, trunk_widths=(4,)))
    settings = training().replace(set_widths=(4,), vector_width=4, trunk_widths=(4,))
    checkpoint.save_policy(tmp_path / "checkpoint.safetensors", policy, checkpoint.facts_of(env, settings, 77))
    facts, weights = driver.read(tmp_path)
    assert facts.step == 77 and driver.config_of(tmp_path) == env.config
    for name, tensor in policy.state_dict().items():
        np.testing.assert_array_equal(weights[name], tensor.numpy())
    assert checkpoint.read_facts(tmp_path).config == settings


@pytest.mark.parametrize(
    "damage, message",
    [
        (lambda raw: raw[:5], "is not a checkpoint"),
        (lambda raw: raw[:50], "is not a checkpoint: it is cut off"),
        (lambda raw: struct.pack("<Q", 2**60) + raw[8:], "is not a checkpoint: it is cut off"),
        (lambda raw: raw[:-40], "critic.* is damaged"),
        (lambda raw: raw.replace(b'"format": "2"', b'"format": "9"'), "has format 9, this version reads 2"),
        (lambda raw: raw.replace(b'"facts"', b'"fucts"'), "no facts in its metadata"),
        (lambda raw: raw.replace(b"F32", b"F16"), "has type F16, expected F32"),
    ],
)
def test_damaged_files(tmp_path: Path, damage: Any, message: str) -> None:
    path = write(tmp_path / "one.safetensors", laptop())
    assert driver.read(path)[0].step == 1000
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(driver.CheckpointError, match=message):
        driver.read(path)


def test_what_differs_is_named(tmp_path: Path) -> None:
    path, here = write(tmp_path / "one.safetensors", laptop()), laptop().replace(view_range=80.0, stop_count=0)
    with pytest.raises(driver.CheckpointError, match="2 stops there and 0 here; view_range is 60.0 there and 80.0 here"):
        driver.load(path, Layout(here), here)
    with pytest.raises(driver.CheckpointError, match=r"holds an own network, mine:Net: only gigaflow-train evaluate"):
        own = write(tmp_path / "own.safetensors", laptop(), config={"policy": "mine:Net"})
        driver.load(own, Layout(laptop()), laptop())
    with pytest.raises(driver.CheckpointError, match=r"box.safetensors has continuous actions: only gigaflow-train"):
        box = write(tmp_path / "box.safetensors", laptop(), config={"action": "continuous"})
        driver.load(box, Layout(laptop()), laptop())
    weights = tiny(Layout(laptop()))
    del weights["bodies.0.sets.lanes.first.weight"]
    with pytest.raises(driver.CheckpointError, match=r"one.safetensors: the weights are of another network"):
        driver.load(write(path, laptop(), weights), Layout(laptop()), laptop())
    with pytest.raises(driver.CheckpointError, match="neither a run directory nor a .safetensors file"):
        driver.file_of(tmp_path / "nothing")


def test_pretrained_is_a_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SHIPPED", tmp_path / "pretrained.safetensors")
    with pytest.raises(driver.CheckpointError, match="this installation lacks the pretrained policy"):
        driver.file_of("pretrained")
    path = write(tmp_path / "pretrained.safetensors", laptop())
    assert driver.file_of("pretrained") == path and driver.is_checkpoint("pretrained")
    env = gymnasium.make("gigaflow_env:GigaFlow-v0", map=ring(), agents_per_world=4, traffic="pretrained").unwrapped
    assert env.config == laptop().replace(agents_per_world=4), "without a preset: the environment of the training"
    pytest.importorskip("torch", reason="the trainer needs torch")
    import gigaflow_train
    from gigaflow_train import checkpoint

    with pytest.raises(checkpoint.CheckpointError, match="the training config lacks"):  # written by hand, not by the trainer
        gigaflow_train.pretrained()


@pytest.mark.skipif(not files.SHIPPED.is_file(), reason="this checkout has no pretrained policy")
def test_the_shipped_policy() -> None:
    assert files.SHIPPED.stat().st_size < 3_000_000
    config = driver.config_of("pretrained")
    env = GigaflowVectorEnv(16, map=ring(), config=config, agents_per_world=4, drivers="pretrained")
    env.reset(seed=1)
    way = sum(env.step(np.zeros(16, int))[4]["distance"] for _ in range(60))
    assert way.mean() > 30.0, "it drives"
    torch = pytest.importorskip("torch", reason="compares with torch")
    import gigaflow_train

    obs = env.simulator.observations.reshape(16, -1)
    with torch.inference_mode():
        logits, values = gigaflow_train.pretrained()(torch.from_numpy(obs))
        chances = torch.softmax(logits, dim=1)
    found, valued = driver.load("pretrained", env.layout, config).network(obs)
    # A logit may be the small difference of large sums: a last digit is 1e-6 of the largest one.
    np.testing.assert_allclose(found, logits.numpy(), atol=1e-6 * float(logits.abs().max()), rtol=1e-5)
    np.testing.assert_allclose(torch.softmax(torch.from_numpy(found), dim=1), chances, atol=1e-5)
    np.testing.assert_allclose(valued, values.numpy(), atol=1e-5, rtol=1e-5)


def test_rows_of_a_checkpoint_drive_by_themselves(tmp_path: Path) -> None:
    path = str(write(tmp_path / "one.safetensors", laptop()))
    make = {"map": ring(), "config": laptop(), "agents_per_world": 4, "drivers": {"policy": 0.5, path: 0.25, "idm": 0.25}}
    env = GigaflowVectorEnv(8, **make)
    _, info = env.reset(seed=3)
    assert info["traffic"].sum() == 4
    rows = np.flatnonzero(info["traffic"] & (env.simulator.drivers == 0))
    assert len(rows) == 2
    expected = env._checkpoints[0][1].act(env.simulator, rows, env.simulator.observations.reshape(8, -1)[rows])
    env.step(np.full(8, 7))
    np.testing.assert_array_equal(env.simulator.actions.ravel()[rows], expected)
    kept = env.snapshot()
    first = [env.step(np.full(8, 7))[0].copy() for _ in range(5)]
    env.restore(kept)
    for one in first:
        np.testing.assert_array_equal(one, env.step(np.full(8, 7))[0])
    with pytest.raises(ValueError, match="action 12 of row 0"):
        env.step(np.full(8, 12))


def test_draws_follow_the_probabilities(tmp_path: Path) -> None:
    path = str(write(tmp_path / "one.safetensors", laptop()))
    env = GigaflowVectorEnv(64, map=ring(), config=laptop().replace(agents_per_world=4), drivers=path)
    env.reset(seed=3)
    logits = np.log(np.array([0.5, 0.25, 0.25, *[1e-12] * 9]))
    counts = np.zeros(12)
    for tick in range(100):
        env.simulator.state.clock.tick[:] = tick
        counts += np.bincount(driver.drive.draw(np.tile(logits, (64, 1)), env.simulator, np.arange(64)), minlength=12)
    share = counts / counts.sum()
    assert np.abs(share[:3] - [0.5, 0.25, 0.25]).max() < 4 * 0.5 / np.sqrt(6400) and share[3:].max() == 0


@pytest.mark.parametrize("arguments, message", [
    ({"action": "continuous"}, "checkpoints drive by discrete actions"),
    ({"backend": "cuda"}, "checkpoints drive with backend='cpu' only"),
    ({"preset": "paper"}, "view_range is 60.0 there and 200.0 here"),
])  # fmt: skip
def test_what_a_checkpoint_can_not_do(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    path = str(write(tmp_path / "one.safetensors", laptop()))
    with pytest.raises(ValueError, match=message):
        GigaflowVectorEnv(4, map=ring(), agents_per_world=2, drivers=path, **arguments)


def test_seats_are_spread_evenly(tmp_path: Path) -> None:
    path = str(write(tmp_path / "one.safetensors", laptop()))
    found = seats({"policy": 0.2, path: 0.5, "idm": 0.3}, 100)
    assert len(found.checkpoints[path]) == 50 and found.drivers.count("idm") == 30
    for start in range(0, 100, 10):
        assert sum((found.checkpoints[path] >= start) & (found.checkpoints[path] < start + 10)) == 5
    assert seats(["policy", path], 2).checkpoints[path].tolist() == [1]
    assert seats("idm", 2).drivers == "idm" and not seats({"policy": 0.5, "nobody": 0.5}, 2).checkpoints


def test_driving_needs_neither_torch_nor_safetensors(tmp_path: Path) -> None:
    path = write(tmp_path / "one.safetensors", laptop())
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name.partition('.')[0] in ('torch', 'safetensors', 'gigaflow_train'):\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing)\n"
        "import gymnasium\n"
        f"env = gymnasium.make('gigaflow_env:GigaFlow-v0', agents_per_world=4, traffic={str(path)!r})\n"
        "env.reset(seed=0)\n"
        "env.step(7)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[1], check=True, timeout=120)


def test_traffic_around_one_row_of_each_world(tmp_path: Path) -> None:
    path = write(tmp_path / "one.safetensors", laptop())
    env = gymnasium.make_vec("gigaflow_env:GigaFlow-v0", num_envs=8, map=ring(), agents_per_world=4, traffic=path)
    _, info = env.reset(seed=1)
    assert info["traffic"].tolist() == [False, True, True, True] * 2
    assert env.unwrapped.config == laptop().replace(agents_per_world=4)
    ruled = GigaflowVectorEnv(6, map=ring(), preset="laptop", agents_per_world=3, traffic="idm")
    assert ruled.simulator.drivers.tolist() == [0, 1, 1] * 2
    with pytest.raises(ValueError, match="traffic='nobody' is neither 'idm' nor 'pretrained' nor a checkpoint"):
        GigaflowVectorEnv(4, map=ring(), traffic="nobody")
    with pytest.raises(ValueError, match="traffic='idm' and drivers='idm': give one of them"):
        GigaflowVectorEnv(4, map=ring(), drivers="idm", traffic="idm")


@pytest.mark.parametrize("obs_dtype", ["float16", "bfloat16"])
def test_a_checkpoint_reads_observations_of_half_precision(tmp_path: Path, obs_dtype: str) -> None:
    pytest.importorskip("torch", reason="bfloat16 are tensors")
    path = str(write(tmp_path / "one.safetensors", laptop()))
    make = {"map": ring(), "config": laptop(), "agents_per_world": 4, "output": "torch"}
    env = GigaflowVectorEnv(8, **make, drivers=path, obs_dtype=obs_dtype)
    obs, _ = env.reset(seed=3)
    found = as_floats(env.simulator.observations.reshape(8, -1), obs_dtype)
    np.testing.assert_array_equal(found.astype(np.float32), obs.float().numpy())
    expected = env._checkpoints[0][1].act(env.simulator, np.arange(8), found)
    env.step(obs.new_zeros(8).long())
    np.testing.assert_array_equal(env.simulator.actions.ravel(), expected)
    with env.record(tmp_path / "half.csv"):
        pass
