"""Boxes and lines: cases with the answer on paper, Shapely as a judge, and what may not change anything."""

import math

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st
from moving_boxes import FRAMES, moved, standing, tracks

from gigaflow_train.evaluate import boxes, polylines, savitzky_golay, trajectories

BOX = np.array([0.0, 0.0, 0.0, 4.0, 2.0])


def box(x, y, degrees=0.0, length=4.0, width=2.0):
    return np.array([x, y, math.radians(degrees), length, width])


def test_corners_are_in_order():
    assert boxes.corners(box(10, 5, 90)) == pytest.approx(np.array([[9, 7], [9, 3], [11, 3], [11, 7]]))


@pytest.mark.parametrize(
    "other, apart",
    [
        (box(5, 0), 1.0),  # in a row
        (box(0, 2.5), 0.5),  # side by side
        (box(7, 6), 5.0),  # corner to corner: 3 and 4
        (box(3, 0), -1.0),  # 1 m into each other
        (box(0, 0), -2.0),  # the shortest way out is sideways
        (box(4, 0, 90), 1.0),  # across its way
        (box(0, 1 + math.sqrt(2), 45, 2, 2), 0.0),  # a corner on its side
    ],
)
def test_distances_on_paper(other, apart):
    assert boxes.distance(BOX, other) == pytest.approx(apart, abs=1e-12)
    assert boxes.distance(other, BOX) == pytest.approx(apart, abs=1e-12)
    assert bool(boxes.overlap(BOX, other)) == (apart < -1e-9)


def test_who_is_not_there_overlaps_nothing():
    assert not boxes.overlap(BOX, np.full(5, np.nan))


PLACES = st.tuples(st.floats(-6, 6), st.floats(-6, 6), st.floats(-4, 4), st.floats(0.5, 8), st.floats(0.5, 3))


@given(PLACES, PLACES)
def test_shapely_agrees(a, b):
    first, second = (shapely.Polygon(boxes.corners(np.array(one))) for one in (a, b))
    apart = float(boxes.distance(np.array(a), np.array(b)))
    assert max(apart, 0.0) == pytest.approx(first.distance(second), abs=1e-6)
    if apart < -1e-6:  # that far, and not less, one has to go to be apart
        assert first.intersects(second)


@given(PLACES, PLACES, st.sampled_from(FRAMES))
def test_distances_do_not_depend_on_the_frame(a, b, frame):
    turn, dx, dy = frame
    pair = np.array([a, b])
    there = moved(pair, turn, dx, dy)
    there[:, 2] += turn
    assert boxes.distance(*there) == pytest.approx(boxes.distance(*pair), abs=1e-6)


# Lines


def test_a_place_along_a_line():
    line = np.array([[0.0, 0.0], [10.0, 0.0], [10.0, 10.0]])
    along, off = polylines.project(np.array([[3.0, 2.0], [12.0, 4.0], [-5.0, 0.0], [10.0, 15.0]]), line)
    assert along.tolist() == [3.0, 14.0, 0.0, 20.0]
    assert off.tolist() == [2.0, 2.0, 5.0, 5.0]


def edge(*points, z=0.0):
    return np.array([[x, y, z] for x, y in points], float)


def side(x, y, *lines, z=0.0, stretch=3.0):
    return float(polylines.side_distance(np.array([[x, y, z]]), polylines.pieces_of(lines), stretch)[0])


def test_the_road_is_on_the_left():
    east = edge((0, 0), (10, 0))
    assert (side(5, 2, east), side(5, -3, east)) == (-2.0, 3.0)


def test_behind_a_bend_both_pieces_have_a_say():
    left, right = edge((0, 0), (10, 0), (10, 10)), edge((0, 0), (10, 0), (10, -10))
    assert side(13, -4, left) == 5.0  # outside of a left bend: off the road
    assert side(9, 1, left) == -1.0
    assert side(13, 4, right) == -5.0  # outside of a right bend: on the road
    assert side(9, -1, right) == 1.0


def test_a_ring_has_no_ends():
    island = edge((0, 0), (0, 10), (10, 10), (10, 0), (0, 0))  # clockwise: the road is around it
    assert side(-3, -4, island) == -5.0
    assert side(5, 1, island) == 1.0


def test_the_edge_of_a_bridge_is_not_that_of_the_road_below():
    below, bridge = edge((0, 10), (-10, 10)), edge((0, -1), (10, -1), z=5.0)
    road = edge((-20, -6), (20, -6))
    assert side(5, 0, road, bridge) == pytest.approx(-6.0)
    assert side(5, 0, road, bridge, z=5.0) == pytest.approx(-1.0)
    assert side(5, 0, road, bridge, stretch=0.0) == pytest.approx(-1.0)
    assert len(polylines.pieces_of([below, bridge]).start) == 2


def test_edges_far_away_are_found_too():
    assert side(0, 0, edge((500, -10), (500, 10))) == -500.0


def test_no_edge_is_an_error():
    with pytest.raises(ValueError, match="no road edge"):
        polylines.pieces_of([edge((0, 0))])


@given(st.integers(-30, 30), st.integers(-30, 30), st.sampled_from(FRAMES))
def test_sides_do_not_depend_on_the_frame(x, y, frame):
    x, y = x + 0.37, y + 0.21  # never on the line through a piece, beyond its end: there is no side
    lines = [edge((0, 0), (20, 0), (25, 10)), edge((25, 15), (0, 8))]
    there = [moved(line, *frame) for line in lines]
    place = moved(np.array([[x, y, 0.0]]), *frame)
    found, here = float(polylines.side_distance(place, polylines.pieces_of(there), 3.0)[0]), side(x, y, *lines)
    assert found == pytest.approx(here, abs=1e-6)


# Smoothing


def test_a_parabola_stays_what_it_is():
    t = 0.1 * np.arange(30)
    for window in (5, 15, 40):
        assert savitzky_golay.smoothed(3 * t**2 - t, window, 2) == pytest.approx(3 * t**2 - t)
        assert savitzky_golay.smoothed(3 * t**2 - t, window, 2, derivative=1, dt=0.1) == pytest.approx(6 * t - 1)
        assert savitzky_golay.smoothed(3 * t**2 - t, window, 2, derivative=2, dt=0.1) == pytest.approx(np.full(30, 6.0))


@pytest.mark.parametrize("length", [5, 6, 8, 9, 40])
@pytest.mark.parametrize("window, degree, derivative", [(8, 2, 0), (15, 2, 1), (5, 2, 1), (5, 3, 2)])
def test_scipy_agrees(length, window, degree, derivative):
    scipy = pytest.importorskip("scipy.signal", reason="scipy isn't installed")
    values = np.random.default_rng(length).normal(size=length)
    found = savitzky_golay.smoothed(values, window, degree, derivative=derivative, dt=0.1)
    assert found == pytest.approx(
        scipy.savgol_filter(values, min(window, length), degree, deriv=derivative, delta=0.1), abs=1e-7
    )


def test_too_few_values_for_a_polynomial():
    with pytest.raises(ValueError, match="degree 2 needs 3"):
        savitzky_golay.smoothed(np.zeros(2), 5, 2)


# Trajectories


@pytest.mark.parametrize(
    "change, message",
    [
        ({"dt": 0.0}, "dt=0.0"),
        ({"kinds": ("tram", "vehicle")}, "kind 'tram'"),
        ({"ids": ("a",)}, "1 ids for 2"),
        ({"width": np.zeros((2, 3))}, "agent 0, step 0: width=0.0 must be finite and above 0"),
        ({"x": np.zeros((2, 4))}, r"x is float64 \(2, 4\)"),
        ({"valid": np.ones(3, bool)}, "valid is bool"),
    ],
)
def test_faults_are_named(change, message):
    good = tracks(standing(3), standing(3, x=9))
    trajectories.check(good)
    with pytest.raises(ValueError, match=message):
        trajectories.check(good._replace(**change))


def test_numbers_of_who_is_not_there_are_nan():
    gone = tracks(standing(3, valid=np.array([True, True, False])))
    trajectories.check(gone)
    with pytest.raises(ValueError, match="step 2: x=0.0 must be NaN"):
        trajectories.check(gone._replace(x=np.zeros((1, 3))))


def test_some_of_the_agents_at_some_of_the_moments():
    some = trajectories.of(tracks(standing(5), standing(5, x=9, kind="cyclist")), [1], slice(2, 4))
    assert (some.ids, some.kinds, some.steps, some.x.tolist()) == (("1",), ("cyclist",), 2, [[9.0, 9.0]])


def test_other_agents_than_in_the_log():
    with pytest.raises(ValueError, match="2 agents, 3 steps of 0.1 s were simulated and 1 agents"):
        trajectories.same_agents(tracks(standing(3), standing(3)), tracks(standing(3)))
