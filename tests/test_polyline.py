"""Lines from points: answers on paper, and kinks."""

import math

import numpy as np
import pytest

from gigaflow_env.roads import MapError
from gigaflow_env.roads.formats.common.polyline import dense, rounded, smooth, tidy
from gigaflow_env.roads.road_map import HEADING, WIDTH


def points(*places: tuple[float, ...]) -> np.ndarray:
    return np.array([(*place, 0.0)[:3] for place in places])


def test_near_points_are_dropped_and_both_ends_stay():
    given = points((0, 0), (0.1, 0), (0.2, 0), (0.4, 0), (1, 0), (1.5, 0), (1.7, 0))
    assert tidy(given)[:, 0].tolist() == [0, 0.4, 1, 1.7]
    assert tidy(points((0, 0), (0.2, 0)))[:, 0].tolist() == [0, 0.2]
    assert tidy(points((0, 0), (0.04, 0))) is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (points((0, 0)), r"a line of 1 points: it needs at least 2"),
        (points((0, 0), (1, math.nan)), r"point 1 of the line is \[1\.0, nan, 0\.0\]: it must be finite"),
        (points((0, 0), (1e300, 0)), r"point 1 of the line is \[1e\+300, 0\.0, 0\.0\]: .* up to 1e\+08 m"),
        (points((0, 0), (2e5, 0)), r"a line of 200 km: at most 100 km make a lane"),
    ],
)
def test_what_is_no_line_is_refused(given, message):
    with pytest.raises(MapError, match=message):
        tidy(given)


def test_points_of_an_arc_give_the_arc():
    angle = np.linspace(0, 2, 21)
    line = smooth(np.column_stack([20 * np.sin(angle), 20 - 20 * np.cos(angle), 0 * angle]), 3.0)
    np.testing.assert_allclose(line[:, HEADING], angle, atol=1e-9)
    away = np.hypot(dense(line)[:, 0], dense(line)[:, 1] - 20)
    np.testing.assert_allclose(away, 20, atol=1e-3)
    assert (line[:, WIDTH] == 3.0).all()


def test_a_kink_becomes_an_arc_that_touches_both_sides():
    turn = math.radians(40)
    line = smooth(rounded(points((0, 0), (50, 0), (50 + 50 * math.cos(turn), 50 * math.sin(turn)))), 3.0)
    fine = dense(line)
    away = np.hypot(fine[:, 0] - 50, fine[:, 1]).min()
    radius = 8.0  # tighter than this would be an arc that passes the vertex at 0.3 m
    assert away == pytest.approx(radius / math.cos(turn / 2) - radius, abs=0.02)
    turned = np.abs(np.diff(fine[:, HEADING])) / np.hypot(*np.diff(fine[:, :2], axis=0).T)
    assert turned.max() < 1.2 / radius
    assert fine[:60, 1] == pytest.approx(0, abs=0.02)  # straight up to the arc
    assert fine[[0, -1], HEADING] == pytest.approx([0, turn], abs=0.01)


def test_a_gentle_kink_is_rounded_wider():
    turn = math.radians(10)
    fine = dense(smooth(rounded(points((0, 0), (50, 0), (50 + 50 * math.cos(turn), 50 * math.sin(turn)))), 3.0))
    assert np.hypot(fine[:, 0] - 50, fine[:, 1]).min() == pytest.approx(0.3, abs=0.02)


def test_points_that_sample_a_curve_closely_are_no_kinks():
    angle = np.linspace(0, 2, 21)
    given = np.column_stack([20 * np.sin(angle), 20 - 20 * np.cos(angle), 0 * angle])
    assert rounded(given).tolist() == given.tolist()


def test_height_follows_the_points():
    fine = dense(smooth(rounded(points((0, 0, 0), (50, 0, 5), (80, 40, 0))), 3.0))
    assert fine[:, 2].max() == pytest.approx(5, abs=0.5)
    assert fine[[0, -1], 2] == pytest.approx(0, abs=1e-9)
