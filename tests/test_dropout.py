"""Feature dropout and noise: which elements an agent sees, how often, and how far off others are."""

import numpy as np
import pytest
from conftest import clear, place, plain, ring, run, simulator
from hypothesis import given, settings
from hypothesis import strategies as st

from gigaflow_env.config import laptop, paper
from gigaflow_env.jit import f32, kernel
from gigaflow_env.layout import NO_JERK, SPEED_SCALE, Layout
from gigaflow_env.roads import load, shipped
from gigaflow_env.sim.observe import listed, resumed, window_end
from gigaflow_env.state import LIVE

HALF = {"lane_dropout": 0.5, "boundary_dropout": 0.4}


def windows(ticks=4000, **changes):
    """Which lane samples and boundary points an agent that stands still sees in each step: bool (steps, list) of each."""
    config = laptop().replace(agents_per_world=2, lane_count=12, boundary_count=20, **{**HALF, **changes})
    sim = simulator(load(shipped()["downtown"]), 2, config)
    lists = sim.roads.nearby.samples.shape[1], sim.roads.nearby.boundaries.shape[1]
    kept = config.lanes_kept, config.boundaries_kept
    seen = tuple(np.zeros((ticks, count), bool) for count in lists)
    for step in range(ticks):
        sim.state.clock.tick[:] += 1
        run("select_lane_samples", sim)
        for k, begin in enumerate((sim.state.lane_routes.lane[0, 0], sim.state.lane_routes.boundary[0, 0])):
            seen[k][step, (begin + np.arange(kept[k])) % lists[k]] = True
    return seen


def test_every_element_as_often():
    for seen, share in zip(windows(), (0.5, 0.6), strict=True):
        assert (seen.sum(axis=1) == round(share * seen.shape[1])).all(), "no element twice"
        assert abs(seen.mean(axis=0) - share).max() < 5 * np.sqrt(share * (1 - share) / len(seen))


def test_lanes_and_boundaries_are_drawn_apart():
    lanes, boundaries = (seen[:, 0].astype(float) for seen in windows())
    assert abs(np.corrcoef(lanes, boundaries)[0, 1]) < 0.08


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 300), st.data())
def test_a_window_goes_round_the_end_of_a_list(count, data):
    """Its two parts, shared by the workers of a row, are the elements from its begin on, each once."""
    begin, kept = data.draw(st.integers(0, count - 1)), data.draw(st.integers(1, count))
    stride = data.draw(st.integers(1, 40))
    out = np.full((stride, kept), -1, np.int32)
    _window(np.int32(begin), np.int32(count), np.int32(kept), stride, out)
    wanted = (begin + np.arange(kept)) % count
    for worker, row in enumerate(out):
        assert np.array_equal(row[worker::stride], wanted[worker::stride])
        assert (np.delete(row, np.arange(worker, kept, stride)) == -1).all()
    assert [plain(listed)(begin, k, count) for k in range(kept)] == wanted.tolist()


@kernel
def _window(begin, count, kept, stride, out):
    """Each worker's share of a window, as `look_boundaries` goes through it."""
    for first in range(stride):
        end = window_end(begin, count, kept)
        for k in range(first, end, stride):
            out[first, k] = begin + k
        for k in range(resumed(end, first, stride), kept - end, stride):
            out[first, end + k] = k


def test_all_are_kept_in_order_without_dropout():
    sim = simulator(load(shipped()["downtown"]), 4, laptop().replace(agents_per_world=2))
    assert not sim.state.lane_routes.lane.any() and not sim.state.lane_routes.boundary.any()
    lists = [sim.roads.network.samples[row] for row in sim.roads.nearby.samples[::50]]
    for row, samples in zip(range(0, 10**9, 50), lists, strict=False):
        lane = np.flatnonzero(sim.roads.network.lanes["nearby_at"] <= row)[-1]
        quad = sim.roads.network.lanes[lane]["first"] + 4 * (row - sim.roads.network.lanes[lane]["nearby_at"])
        here = sim.roads.network.sections[quad]
        away = np.hypot(samples["x"] - here["x"], samples["y"] - here["y"])
        assert np.all(np.diff(away) > -5), "nearest first, from a place within 4 m"


def test_counts():
    """round(n (1 - d)), at least 1: a number that chance does not change."""
    assert Layout(paper()).counts[3:5] == (40, 48)
    assert Layout(laptop()).counts[3:5] == (16, 16)
    assert Layout(laptop().replace(lane_dropout=0.9, lane_count=3)).counts.lanes == 1
    with pytest.raises(ValueError, match=r"lane_dropout=1.0: must be at least 0 and below 1"):
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
            distance, relative = part.lanes[row, :, 5], part.lanes[row, :, 6]  # anchored at the nearest of what is seen
            near = distance < 1
            assert relative[near] == pytest.approx(distance[near] - distance.min(), abs=1e-6)
            pairs = (every.lanes[row, :, :6], part.lanes[row, :, :6]), (every.boundaries[row], part.boundaries[row])
            for whole, some in pairs:
                match = (abs(some[:, None] - whole[None]) < 1e-6).all(axis=2)
                assert match.any(axis=1).all()
            subsets.add(tuple(match.argmax(axis=1)))
        for name in ("ego", "conditioning", "goals", "stops", "agents"):
            assert np.array_equal(getattr(every, name), getattr(part, name)), name
    assert len(subsets) > 30  # of 20 begins for each list


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
        for stage in ("add_noise", "find_neighbours", "observe"):
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
    assert not off[:, [2, 7, 8, 9]].any()
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
        assert np.array_equal(sim.state.perceived.x, sim.state.pose.x) and np.array_equal(
            sim.state.perceived.speed, sim.state.motion.speed
        )


def test_the_same_noise_for_all_who_look():
    sim = simulator(ring(), 3, laptop().replace(agents_per_world=3, view_range=200.0, noise_position=0.4))
    clear(sim)
    for a, x in enumerate((50.0, 50.0, 80.0)):
        place(sim, a, x, -10.0)
    for stage in ("add_noise", "find_neighbours", "observe"):
        run(stage, sim)
    blocks = Layout(sim.config).split(sim.observations[0]).agents
    assert blocks[0, 1, 0] == pytest.approx(blocks[1, 1, 0], abs=1e-6) and f32(blocks[0, 1, 0]) != f32(30 / 200)


def test_route_distances_that_are_kept_are_those_measured_anew():
    """Without dropout they are measured again only where the agent has come to another row or goal."""
    config = laptop().replace(agents_per_world=6, lane_count=12, boundary_count=20)
    sim = simulator(load(shipped()["downtown"]), 12, config)
    routes, before, stayed = sim.state.lane_routes, sim.state.lane_routes.row.copy(), 0
    for _ in range(30):
        sim.step(np.full(12, NO_JERK))
        live, kept, smallest = sim.state.rows.status == LIVE, routes.route_distance.copy(), routes.smallest.copy()
        stayed, before = stayed + int((routes.row == before)[live].sum()), routes.row.copy()
        routes.goal[:] = -1
        for w in range(2):
            run("select_lane_samples", sim, w=w)
        assert np.array_equal(routes.route_distance[live], kept[live])
        assert np.array_equal(routes.smallest[live], smallest[live])
    assert stayed > 100, "most agents stay in a row for some steps"
