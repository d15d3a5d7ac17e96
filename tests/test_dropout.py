"""Feature dropout and noise: which elements an agent sees, how often, and how far off others are."""

import numpy as np
import pytest
from conftest import clear, place, ring, run, simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from gigaflow_env.config import laptop, paper
from gigaflow_env.jit import f32, kernel
from gigaflow_env.layout import HEIGHT_SCALE, SPEED_SCALE, Layout
from gigaflow_env.roads import load, shipped
from gigaflow_env.sim.observe import walk

HALF = {"lane_dropout": 0.5, "boundary_dropout": 0.4}


@kernel
def _walks(u, v, count, kept, out):
    for i in range(len(u)):
        out[i, 0], out[i, 1] = walk(u[i], v[i], count, kept)


def walks(n, count, kept, seed=0):
    """Elements seen in n draws, (n, kept)."""
    u, v = np.random.default_rng(seed).random((2, n)).astype(np.float32)
    out = np.zeros((n, 2), np.int32)
    _walks(u, v, np.int32(count), np.int32(kept), out)
    return (out[:, :1].astype(int) + np.arange(kept) * out[:, 1:]) % count


@settings(deadline=None, max_examples=80)
@given(st.integers(2, 300), st.data())
def test_no_element_twice(count, data):
    kept = data.draw(st.integers(1, count))
    for seen in walks(40, count, kept):
        assert len(set(seen.tolist())) == kept


@pytest.mark.parametrize(("count", "kept"), [(80, 40), (80, 48), (16, 8), (41, 20), (82, 41)])
def test_every_element_as_often(count, kept):
    n = 20_000
    often = np.bincount(walks(n, count, kept).ravel(), minlength=count) / n
    share = kept / count
    assert abs(often - share).max() < 5 * np.sqrt(share * (1 - share) / n)


def test_pairs_are_not_tied():
    """Two elements of 80 are both seen in about a quarter of the draws, but for those half a list apart."""
    seen = np.zeros((20_000, 80), bool)
    np.put_along_axis(seen, walks(20_000, 80, 40), True, axis=1)
    both = seen.T.astype(float) @ seen / len(seen)
    apart = np.abs(np.subtract.outer(np.arange(80), np.arange(80)))
    others = both[(apart != 0) & (apart != 40)]
    assert 0.1 < others.min() and others.max() < 0.4 and not both[apart == 40].any()


def test_all_are_kept_in_order_without_dropout():
    assert walks(5, 80, 80).tolist() == [list(range(80))] * 5


def test_counts():
    """round(n (1 - d)), at least 1: a number that chance does not change."""
    assert Layout(paper()).counts[3:5] == (40, 48)
    assert Layout(laptop()).counts[3:5] == (16, 16)
    assert Layout(laptop().replace(lane_dropout=0.9, lane_count=3)).counts.lanes == 1
    with pytest.raises(ValueError, match=r"lane_dropout=1.0: a share of at least 0 and below 1"):
        laptop().replace(lane_dropout=1.0)


def test_what_is_left_is_part_of_what_was():
    """The same world without dropout shows every element that it shows with it, and the rest of the observation is equal."""
    town = load(shipped()["downtown"])
    config = laptop().replace(agents_per_world=10, lane_count=20, boundary_count=20)
    full, thin = simulator(town, 40, config), simulator(town, 40, config.replace(**HALF))
    rng, subsets = np.random.default_rng(0), set()
    for _ in range(10):
        actions = rng.integers(3, 12, 40)
        full.step(actions)
        thin.step(actions)
        every, part = (Layout(sim.config).split(sim.observations.reshape(40, -1)) for sim in (full, thin))
        assert part.lanes.shape[1:] == (10, 7) and part.boundaries.shape[1:] == (12, 2)
        for row in range(40):
            for whole, some in ((every.lanes[row], part.lanes[row]), (every.boundaries[row], part.boundaries[row])):
                match = (abs(some[:, None] - whole[None]) < 1e-6).all(axis=2)
                assert match.any(axis=1).all()
            subsets.add(tuple(match.argmax(axis=1)))
        for name in ("ego", "conditioning", "goals", "stops", "agents"):
            assert np.array_equal(getattr(every, name), getattr(part, name)), name
    assert len(subsets) > 100  # of 20 begins and 8 paces


# Noise


def pair_of_cars(**changes):
    sim = simulator(ring(), 2, laptop().replace(agents_per_world=2, view_range=200.0, **changes))
    clear(sim)
    place(sim, 0, 50.0, -10.0, speed=5.0)
    place(sim, 1, 80.0, -9.0, 0.1, speed=8.0)
    return sim


def seen_by(sim, a, steps=2000):
    """What agent a sees of its only neighbour, (steps, features)."""
    seen = []
    for _ in range(steps):
        sim.state.clock.tick[:] += 1
        for stage in ("blur", "watch", "look"):
            run(stage, sim)
        seen.append(Layout(sim.config).split(sim.observations[0, a]).agents[0].copy())
    return np.array(seen, float)


def test_noise_is_uniform_and_as_large_as_it_says():
    noisy = seen_by(pair_of_cars(noise_position=0.4, noise_heading=0.05, noise_speed=1.0), 0)
    exact = seen_by(pair_of_cars(), 0, 1)[0]
    off = noisy - exact
    for column, size in ((0, 0.4 / 200), (1, 0.4 / 200)):
        assert abs(off[:, column]).max() <= size * 1.001 and off[:, column].std() == pytest.approx(size / 3**0.5, rel=0.06)
        assert abs(off[:, column].mean()) < size / 20
    turned = np.arctan2(noisy[:, 4], noisy[:, 3]) - 0.1
    assert abs(turned).max() <= 0.0501 and turned.std() == pytest.approx(0.05 / 3**0.5, rel=0.06)
    speed = np.hypot(noisy[:, 5], noisy[:, 6]) * SPEED_SCALE
    assert 6.99 < speed.min() < 7.1 and 8.9 < speed.max() < 9.01
    assert not off[:, [2, 7, 8, 9]].any() and HEIGHT_SCALE
    assert abs(np.corrcoef([off[:, 0], off[:, 1], turned, speed]) - np.eye(4)).max() < 0.12
    assert np.hypot(noisy[:, 3], noisy[:, 4]) == pytest.approx(1, abs=1e-5)


def test_noise_changes_nothing_but_what_is_seen():
    """Poses, events and rewards are those of a world without noise."""
    config = laptop().replace(agents_per_world=20)
    noise = {"noise_position": 0.5, "noise_heading": 0.1, "noise_speed": 1.0}
    exact, noisy = simulator(ring(), 40, config), simulator(ring(), 40, config.replace(**noise))
    rng = np.random.default_rng(0)
    for _ in range(30):
        actions = rng.integers(0, 12, 40)
        exact.step(actions)
        noisy.step(actions)
        for group in ("pose", "motion", "events", "outcome"):
            for one, other in zip(getattr(exact.state, group), getattr(noisy.state, group), strict=True):
                assert np.array_equal(one, other)
    assert not np.array_equal(exact.observations, noisy.observations)


def test_without_noise_others_are_seen_as_they_are():
    sim = simulator(ring(), 40, laptop().replace(agents_per_world=20))
    for _ in range(10):
        sim.step(np.full(40, 7))
        assert np.array_equal(sim.state.seen.x, sim.state.pose.x) and np.array_equal(
            sim.state.seen.speed, sim.state.motion.speed
        )


def test_the_same_noise_for_all_who_look():
    sim = simulator(ring(), 3, laptop().replace(agents_per_world=3, view_range=200.0, noise_position=0.4))
    clear(sim)
    for a, x in enumerate((50.0, 50.0, 80.0)):
        place(sim, a, x, -10.0)
    for stage in ("blur", "watch", "look"):
        run(stage, sim)
    blocks = Layout(sim.config).split(sim.observations[0]).agents
    assert blocks[0, 1, 0] == pytest.approx(blocks[1, 1, 0], abs=1e-6) and f32(blocks[0, 1, 0]) != f32(30 / 200)
