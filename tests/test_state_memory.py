"""States that are kept give back the observations of single rows, bit for bit."""

from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest

from gigaflow_env.state_memory import StateMemory

STEPS = 12


def driven(preset, agents, rows=40, threads=1, **config):
    """An environment that was driven, its memory, and all its observations (steps, rows, size)."""
    env = gymnasium.make_vec(
        "gigaflow_env:GigaFlow-v0", num_envs=rows, map=["loop", "downtown"], preset=preset, config=config,
        agents_per_world=agents, threads=threads, drivers={"policy": 0.9, "idm": 0.1},
    )  # fmt: skip
    memory, seen = env.state_memory(STEPS), []
    obs, _ = env.reset(seed=5)
    rng = np.random.default_rng(0)
    for t in range(STEPS):
        memory.keep(t)
        seen.append(obs)
        obs, *_ = env.step(rng.integers(12, size=rows))
    return env, memory, np.stack(seen)


@pytest.mark.parametrize(("preset", "agents", "threads"), [("laptop", 8, 1), ("paper", (2, 9), 3)])
def test_observations_come_back_bit_equal(preset, agents, threads):
    """The paper's preset has dropout, noise, variants, erratic drivers and rows without agents."""
    _, memory, seen = driven(preset, agents, threads=threads, max_steps=7, world_steps=9)
    rng = np.random.default_rng(1)
    cells = rng.permutation(STEPS * 40)[:300]
    np.testing.assert_array_equal(memory.observe(cells), seen.reshape(-1, seen.shape[2])[cells])
    every = np.arange(STEPS * 40)
    out = np.full((len(every), seen.shape[2]), np.nan, np.float32)
    assert memory.observe(every, out) is out
    np.testing.assert_array_equal(out.reshape(seen.shape), seen)
    np.testing.assert_array_equal(memory.observe([3, 3, 0]), seen[0][[3, 3, 0]])
    assert memory.observe(np.zeros(0, np.int64)).shape == (0, seen.shape[2])


def test_steps_under_several_seeds_keep_theirs():
    env, memory, _ = driven("paper", 4)
    seen = []
    for t, seed in enumerate((1, 2)):
        obs, _ = env.reset(seed=seed)
        memory.keep(t)
        seen.append(obs)
    np.testing.assert_array_equal(memory.observe(np.arange(80)), np.concatenate(seen))


def test_the_environment_goes_on_as_if_nobody_had_looked():
    one, memory, _ = driven("laptop", 8)
    other, _, _ = driven("laptop", 8)
    memory.observe(np.arange(STEPS * 40))
    np.testing.assert_array_equal(one.step(np.zeros(40, int))[0], other.step(np.zeros(40, int))[0])


def test_states_are_a_fraction_of_the_observations():
    _, memory, seen = driven("paper", 32, rows=64)
    a_row = memory.nbytes / (STEPS * 64)
    assert 200 < a_row < 230 and seen.nbytes / memory.nbytes > 5


@pytest.mark.parametrize("cells", [[-1], [STEPS * 40], [0.5], [[0]]])
def test_cells_that_do_not_exist_are_named(cells):
    _, memory, _ = driven("laptop", 8)
    with pytest.raises(ValueError, match=r"expected whole numbers from 0 to 479, step \* num_envs \+ row"):
        memory.observe(np.array(cells))


def test_arrays_and_steps_that_do_not_fit_are_named():
    env, memory, _ = driven("laptop", 8)
    with pytest.raises(ValueError, match="out is float64"):
        memory.observe([0], np.zeros((1, env.layout.size)))
    with pytest.raises(ValueError, match=f"step={STEPS}: must be a whole number, 0 to {STEPS - 1}"):
        memory.keep(STEPS)
    with pytest.raises(ValueError, match="steps=0"):
        env.state_memory(0)
    fresh = env.state_memory(2)
    fresh.keep(0)
    with pytest.raises(ValueError, match="step 1 was not kept"):
        fresh.observe([39, 40])


def test_a_cuda_device_says_that_it_has_none():
    with pytest.raises(ValueError, match="a CUDA device can't be kept yet"):
        StateMemory(SimpleNamespace(backend="cuda"), 2)
