"""The fused set encoder against the same in torch, and the maps of a run."""

import numpy as np
import pytest
import torch

from gigaflow_env import PRESETS, Layout
from gigaflow_train import set_kernels, towns
from gigaflow_train.config import TOWNS, laptop, paper
from gigaflow_train.policy import Policy

LAYOUT = Layout(PRESETS["laptop"]())


def both(config, layout=LAYOUT, rows=150):
    """Logits, values and gradients of the same policy, fused and by torch."""
    torch.manual_seed(1)
    policy = Policy(layout, config)
    torch.nn.init.orthogonal_(policy.actor.weight, 1.0)
    obs = torch.rand(rows, layout.size) * 2 - 1
    policy.measure(obs)
    weight = torch.randn(rows)
    found = []
    for fused in (True, False):
        for body in policy.bodies:
            body.fused = fused
        policy.zero_grad()
        logits, value = policy(obs)
        ((logits.square().sum(1) + value) * weight).sum().backward()
        found.append((logits.detach(), value.detach(), [p.grad.clone() for p in policy.parameters()]))
    return found


@pytest.mark.parametrize("rows", [1, 64, 150, 900])
def test_outputs_and_gradients_equal_those_of_torch(rows):
    (logits, value, gradients), (logits_, value_, gradients_) = both(laptop(), rows=rows)
    torch.testing.assert_close(logits, logits_, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(value, value_, atol=1e-5, rtol=1e-4)
    for fused, plain in zip(gradients, gradients_, strict=True):
        assert (fused - plain).norm() <= 1e-4 * plain.norm() + 1e-6


def test_actor_and_critic_of_their_own_are_fused_too():
    config = paper().replace(set_widths=(16, 8), trunk_widths=(32,), vector_width=16)
    (logits, _, gradients), (logits_, _, gradients_) = both(config)
    torch.testing.assert_close(logits, logits_, atol=1e-5, rtol=1e-4)
    assert all((a - b).norm() <= 1e-4 * b.norm() + 1e-6 for a, b in zip(gradients, gradients_, strict=True))


@pytest.mark.parametrize("widths", [(8,), (12, 8), (8, 7), (8, 8, 8)])
def test_other_shapes_are_torchs(widths):
    policy = Policy(LAYOUT, laptop().replace(set_widths=widths))
    called = []
    for encoder in policy.bodies[0].sets.values():
        encoder.register_forward_hook(lambda *_: called.append(1))
    policy(torch.rand(5, LAYOUT.size))
    assert len(called) == 4
    assert not set_kernels.fits(16, widths)


def test_more_elements_than_a_byte_counts_are_torchs():
    assert set_kernels.fits(256, (8, 8)) and not set_kernels.fits(257, (8, 8))


def test_what_is_not_a_number_comes_through():
    policy = Policy(LAYOUT, laptop())
    obs = torch.rand(70, LAYOUT.size)
    obs[3, int(LAYOUT.starts.lanes)] = float("nan")
    logits, _ = policy(obs)
    assert logits[3].isnan().all() and logits[4:].isfinite().all()


def test_ranges_and_folders_become_names(tmp_path):
    assert towns.names(["loop", "random:3-5"]) == ["loop", "random:3", "random:4", "random:5"]
    (tmp_path / "b.xodr").touch()
    (tmp_path / "a.lanes.json").touch()
    (tmp_path / ".hidden").touch()
    assert towns.names([str(tmp_path)]) == [str(tmp_path / "a.lanes.json"), str(tmp_path / "b.xodr")]
    assert towns.titled(["loop", "random:3-5"]) == "loop, random:3 and 2 other maps"
    with pytest.raises(ValueError, match="random:LOW-HIGH"):
        towns.names(["random:5-3"])
    with pytest.raises(ValueError, match="at most 4096"):
        towns.names(["random:1-5000"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no files"):
        towns.names([str(tmp_path / "empty")])


def test_shares_follow_the_length_of_the_lanes():
    opened = towns.open_all(["loop", "lots"], "length")
    assert opened.shares == [towns.lane_km(road_map) for road_map in opened.maps]
    assert 1.0 < opened.shares[0] < opened.shares[1]
    assert towns.open_all(["loop", "lots"], "equal").shares == [1.0, 1.0]
    assert towns.open_all(["loop"], "length").shares is None
    assert towns.open_all(["loop", "lots"], (3.0, 1.0)).shares == [3.0, 1.0]


def test_files_that_are_no_maps_are_left_out_of_a_folder_only(tmp_path):
    from gigaflow_env.roads import shipped

    (tmp_path / "loop.lanes.json").write_bytes(shipped()["loop"].read_bytes())
    (tmp_path / "README.md").write_text("no map")
    said = []
    assert [road_map.name for road_map in towns.open_all([str(tmp_path)], "equal", said.append).maps] == ["loop"]
    assert len(said) == 1 and "left out" in said[0] and "README.md" in said[0]
    with pytest.raises(ValueError, match="README.md"):
        towns.open_all([str(tmp_path / "README.md")], "equal")


def test_the_towns_of_the_generalist_are_the_shipped_ones():
    from gigaflow_env.roads import shipped

    assert set(TOWNS) == set(shipped())


def test_kernels_of_the_trainer_are_announced_and_kept(tmp_path, monkeypatch, capfd):
    from gigaflow_env import kernel_cache
    from gigaflow_env.kernels import compiled

    monkeypatch.setenv("GIGAFLOW_CACHE_DIR", str(tmp_path))
    monkeypatch.setenv("GIGAFLOW_QUIET", "0")

    def scaled(factor):
        def scale(x):
            for i in range(len(x)):
                x[i] *= factor

        return compiled(scale, f"scale_{factor}")

    for factor, told in ((2, 1), (3, 1), (2, 0)):  # an enclosed number is part of the name, and the second time is silent
        kernel_cache.announce.cache_clear()
        x = np.ones(3, np.float32)
        scaled(factor)(x)
        assert x.tolist() == [factor] * 3
        said = capfd.readouterr().err
        assert said.count("compiling kernels, once per installation") == told and said.count(f"scale_{factor} ") == told
    assert len(list(tmp_path.rglob("*.kernel"))) == 2
