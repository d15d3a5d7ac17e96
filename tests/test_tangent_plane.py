"""Metres from latitude and longitude, against lengths on the ellipsoid."""

import math

import numpy as np
import pytest

from gigaflow_env.roads.formats.common.tangent_plane import Place, middle, tangent_plane

A, F = 6378137.0, 1 / 298.257223563
E2 = F * (2 - F)


def meridian(low: float, high: float) -> float:
    """Length of the meridian between two latitudes [rad], by Simpson's rule over its radius of curvature."""
    at = np.linspace(low, high, 2001)
    radius = A * (1 - E2) / (1 - E2 * np.sin(at) ** 2) ** 1.5
    weights = np.where(np.arange(2001) % 2, 4.0, 2.0)
    weights[[0, -1]] = 1.0
    return float(radius @ weights * (at[1] - at[0]) / 3)


@pytest.mark.parametrize("latitude", [-60.0, -0.01, 0.0, 37.0, 49.0, 71.0])
def test_ten_kilometres_to_the_north_are_right_to_a_centimetre(latitude):
    origin, end = Place(latitude, 8.4, 0.0), latitude + 0.09
    east, north = tangent_plane(np.array([end]), np.array([8.4]), origin)[0]
    length = meridian(math.radians(latitude), math.radians(end))
    assert 9900 < length < 10100
    assert north == pytest.approx(length, abs=0.01)
    assert east == pytest.approx(0.0, abs=1e-6)


@pytest.mark.parametrize("latitude", [-60.0, 0.0, 49.0])
def test_five_kilometres_to_the_east_and_west_are_right_to_a_centimetre(latitude):
    radius = A / math.sqrt(1 - E2 * math.sin(math.radians(latitude)) ** 2) * math.cos(math.radians(latitude))
    degrees = math.degrees(5000 / radius)
    found = tangent_plane(np.full(2, latitude), np.array([20 + degrees, 20 - degrees]), Place(latitude, 20.0, 0.0))
    np.testing.assert_allclose(found[:, 0], [5000, -5000], atol=0.01)
    # Parallels bend towards the pole: by s^2 tan(latitude) / 2R.
    np.testing.assert_allclose(found[:, 1], 5000**2 / 2 * math.tan(math.radians(latitude)) / 6.39e6, atol=0.02)


def test_lengths_are_those_on_the_ground():
    low, high = (tangent_plane(np.array([45.05]), np.array([7.05]), Place(45.0, 7.0, height))[0] for height in (0.0, 2000.0))
    np.testing.assert_allclose(high / low, 1 + 2000 / 6.375e6, atol=1e-6)


def test_the_middle_may_lie_on_the_date_line():
    place = middle(np.array([10.0, 12.0]), np.array([179.9, -179.7]), np.array([0.0, 50.0]))
    assert (place.latitude, place.height) == (11.0, 25.0)
    assert place.longitude == pytest.approx(-179.9)
    east = tangent_plane(np.array([11.0, 11.0]), np.array([179.9, -179.7]), place)[:, 0]
    np.testing.assert_allclose(east, [-21855, 21855], atol=15)
