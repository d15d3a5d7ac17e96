"""Elementary functions against float64 numpy, shapes against shapely."""

import math

import numpy as np
import pytest
import shapely
from conftest import agrees, box, call, reals
from hypothesis import given, settings
from hypothesis import strategies as st

from gigaflow_env.jit import kernel
from gigaflow_env.sim.geometry import (
    atan,
    atan2,
    atan_small,
    boxes_overlap,
    clip,
    exp,
    floor,
    into_frame,
    segment_hits_box,
    segments_cross,
    sincos,
    sincos_small,
)


@kernel
def _elementary(x, y, out):
    for i in range(len(x)):
        out[0, i], out[1, i] = sincos(x[i])
        out[2, i] = atan(x[i])
        out[3, i] = atan2(y[i], x[i])
        out[4, i] = atan_small(clip(x[i], np.float32(-1.0), np.float32(1.0)))
        out[5, i] = floor(x[i])
        out[6, i] = exp(x[i])
        out[7, i], out[8, i] = into_frame(x[i], y[i], out[1, i], out[0, i])
        out[9, i] = clip(x[i], y[i], y[i] + x[i] * x[i])


def elementary(x, y=None):
    """Named results of every elementary function, float32, and x, y as the kernel saw them, float64."""
    x = np.asarray(x, np.float32)
    y = np.zeros_like(x) if y is None else np.asarray(y, np.float32)
    out = np.full((10, len(x)), np.nan, np.float32)
    _elementary(x, y, out)
    names = ("sin", "cos", "atan", "atan2", "atan_small", "floor", "exp", "ahead", "left", "clip")
    return dict(zip(names, out, strict=True)), x.astype(np.float64), y.astype(np.float64)


def spaced(limit, count=100_001):
    """From -limit to limit; the odd count has 0 in the middle."""
    return np.linspace(-limit, limit, count)


def test_sincos():
    for limit in (0.01, 10.0, 1000.0):
        found, x, _ = elementary(spaced(limit))
        assert abs(found["sin"] - np.sin(x)).max() < 2e-7
        assert abs(found["cos"] - np.cos(x)).max() < 2e-7
    found, x, _ = elementary([0.0, math.pi / 2, math.pi, -math.pi / 2])
    assert found["sin"] == pytest.approx([0, 1, 0, -1], abs=2e-7)
    assert found["cos"] == pytest.approx([1, 0, -1, 0], abs=2e-7)


def test_atan():
    for limit in (0.1, 3.0, 1e6):
        found, x, _ = elementary(spaced(limit))
        assert abs(found["atan"] - np.arctan(x)).max() < 2e-7
    found, _, _ = elementary([np.inf, -np.inf, 1.0])
    assert found["atan"] == pytest.approx([math.pi / 2, -math.pi / 2, math.pi / 4], abs=2e-7)


def test_atan2():
    angle = spaced(math.pi)
    found, x, y = elementary(3 * np.cos(angle), 3 * np.sin(angle))
    assert abs(found["atan2"] - np.arctan2(y, x)).max() < 4e-7  # an ulp of pi is 2.4e-7
    found, _, _ = elementary([0, 0, 0, 1, -1], [0, 2, -2, 0, 0])
    assert found["atan2"] == pytest.approx([0, math.pi / 2, -math.pi / 2, 0, math.pi], abs=3e-7)


def test_exp():
    found, x, _ = elementary(spaced(16.0))
    assert abs(found["exp"] / np.exp(x) - 1).max() < 1e-5
    found, _, _ = elementary([-1e4, 1e4])
    assert found["exp"] == pytest.approx(np.exp([-16.0, 16.0]), rel=2e-5)


def test_atan_of_small_numbers():
    found, x, _ = elementary(spaced(1.0))
    assert abs(found["atan_small"] - np.arctan(x)).max() < 2e-7


def test_floor():
    found, x, _ = elementary([*spaced(1e6), -3.0, -0.0, 2.0, 2.9999998, -1e-9])
    assert np.array_equal(found["floor"], np.floor(x))


def test_clip():
    rng = np.random.default_rng(0)
    found, x, y = elementary(*rng.normal(size=(2, 1000)))
    high = np.float32(y) + np.float32(x) * np.float32(x)
    assert np.array_equal(found["clip"], np.clip(np.float32(x), np.float32(y), high))


def test_into_frame_is_a_turn():
    rng = np.random.default_rng(1)
    found, x, y = elementary(*rng.uniform(-3, 3, size=(2, 1000)))
    turned = (x + 1j * y) * np.exp(-1j * x)
    assert found["ahead"] == pytest.approx(turned.real, abs=1e-5)
    assert found["left"] == pytest.approx(turned.imag, abs=1e-5)


# Shapes


@kernel
def _boxes(dx, dy, cos, sin, size, out):
    for i in range(len(dx)):
        out[i] = boxes_overlap(dx[i], dy[i], cos[i], sin[i], size[0, i], size[1, i], size[2, i], size[3, i])


@kernel
def _segments(ends, half_length, half_width, hits, crosses):
    for i in range(len(hits)):
        x1, y1, x2, y2 = ends[0, i], ends[1, i], ends[2, i], ends[3, i]
        hits[i] = segment_hits_box(x1, y1, x2, y2, half_length[i], half_width[i])
        crosses[i] = segments_cross(x1, y1, x2, y2, -half_length[i], -half_width[i], half_length[i], half_width[i])


def f32(*arrays):
    return [np.ascontiguousarray(array, np.float32) for array in arrays]


def test_boxes_overlap_like_shapely():
    rng = np.random.default_rng(2)
    n = 30_000
    x, y = rng.uniform(-6, 6, (2, n))
    angle = np.where(rng.random(n) < 0.2, rng.integers(-2, 3, n) * math.pi / 2, rng.uniform(-4, 4, n))
    size = rng.uniform(0.3, 4.0, (4, n))
    found = np.zeros(n, bool)
    _boxes(*f32(x, y, np.cos(angle), np.sin(angle), size), found)
    zero = np.zeros(n)
    assert agrees(found, box(zero, zero, zero, size[0], size[1]), box(x, y, angle, size[2], size[3]))


def test_segment_hits_box_like_shapely():
    rng = np.random.default_rng(3)
    n = 30_000
    ends = rng.uniform(-6, 6, (4, n))
    ends[2, : n // 4] = ends[0, : n // 4]  # upright
    ends[3, n // 4 : n // 2] = ends[1, n // 4 : n // 2]  # flat
    length, width = rng.uniform(0.3, 4.0, (2, n))
    found, crosses = np.zeros(n, bool), np.zeros(n, bool)
    _segments(*f32(ends, length, width), found, crosses)
    lines = shapely.linestrings(np.moveaxis(ends.reshape(2, 2, n), (0, 1, 2), (1, 2, 0)))
    zero = np.zeros(n)
    assert agrees(found, box(zero, zero, zero, length, width), lines)


def test_segments_cross_like_shapely():
    rng = np.random.default_rng(4)
    n = 20_000
    ends = rng.uniform(-3, 3, (4, n))
    length, width = rng.uniform(0.3, 4.0, (2, n))
    hits, found = np.zeros(n, bool), np.zeros(n, bool)
    _segments(*f32(ends, length, width), hits, found)
    lines = shapely.linestrings(np.moveaxis(ends.reshape(2, 2, n), (0, 1, 2), (1, 2, 0)))
    diagonals = shapely.linestrings(np.moveaxis(np.array([[-length, -width], [length, width]]), (0, 1, 2), (1, 2, 0)))
    tips = np.concatenate([shapely.get_point(one, end) for one in (lines, diagonals) for end in (0, -1)])
    others = np.concatenate([diagonals, diagonals, lines, lines])
    clear = (shapely.distance(tips, others) > 1e-3).reshape(4, n).all(axis=0)
    assert clear.mean() > 0.99
    assert np.array_equal(found[clear], shapely.crosses(lines, diagonals)[clear])


@pytest.mark.parametrize(
    ("ends", "hit"),
    [
        ((2.0, -5.0, 2.0, 5.0), True),  # along the short side
        ((2.001, -5.0, 2.001, 5.0), False),
        ((-5.0, 1.0, 5.0, 1.0), True),
        ((-5.0, 1.001, 5.0, 1.001), False),
        ((0.1, 0.1, 0.2, 0.2), True),  # inside
        ((0.5, 0.5, 0.5, 0.5), True),  # a point inside
        ((3.0, 3.0, 3.0, 3.0), False),
        ((3.0, 0.0, 9.0, 0.0), False),  # in line with the box, but beyond it
        ((0.0, 3.0, 4.0, 0.0), False),  # past a corner
        ((0.0, 3.0, 2.9, 0.0), True),  # 0.02 m over the corner
    ],
)
def test_segment_and_box_on_paper(ends, hit):
    hits, crosses = np.zeros(1, bool), np.zeros(1, bool)
    _segments(*f32(np.reshape(ends, (4, 1)), [2.0], [1.0]), hits, crosses)
    assert hits[0] == hit


half = st.floats(0.25, 5.0, width=32)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.floats(-8, 8, width=32), st.floats(-8, 8, width=32), st.floats(-4, 4, width=32), half, half, half, half)
def test_overlap_is_symmetric(x, y, angle, length, width, other_length, other_width):
    cos, sin = math.cos(angle), math.sin(angle)
    back_x, back_y = -(x * cos + y * sin), -(y * cos - x * sin)

    def overlap(dx, dy, s, *size, grown=0.0):
        found = np.zeros(1, bool)
        _boxes(*f32([dx], [dy], [cos], [s], np.reshape(size, (4, 1)) + grown), found)
        return bool(found[0])

    there = [overlap(x, y, sin, length, width, other_length, other_width, grown=g) for g in (-1e-3, 1e-3)]
    back = overlap(back_x, back_y, -sin, other_length, other_width, length, width)
    assert there[0] != there[1] or back == there[0]


# Properties of every rule


angles, sizes, places = reals(-1000, 1000), reals(0.25, 5.0), reals(-8, 8)


@given(reals(-1e6, 1e6), reals(-100, 100), reals(0, 100))
def test_clip_ends_inside_and_leaves_alone_what_is_inside(x, low, width):
    high = float(np.float32(low + width))
    clipped = call(clip)(x, low, high)
    assert low <= clipped <= high and call(clip)(clipped, low, high) == clipped
    assert (clipped == x) == (low <= x <= high)


@given(reals(-1e6, 1e6))
def test_floor_is_the_whole_number_below(x):
    assert call(floor)(x) == math.floor(x)


@given(angles, angles)
def test_sines_of_a_sum(one, other):
    """Unit length, the angle of minus x, and both parts of e^(i (x + y)) = e^(ix) e^(iy)."""
    (s, c), (t, d), (sum_s, sum_c) = (call(sincos)(x) for x in (one, other, other - one))
    assert math.hypot(s, c) == pytest.approx(1, abs=3e-7)
    between = float(np.float32(other - one)) - (other - one)  # the sum is rounded to float32
    turned = complex(d, t) * complex(c, -s) * complex(math.cos(between), math.sin(between))
    assert complex(sum_c, sum_s) == pytest.approx(turned, abs=1e-6)


@given(reals(-math.pi / 4, math.pi / 4))
def test_the_short_sine_and_the_short_arc_tangent_are_inverse(x):
    s, c = call(sincos_small)(x)
    assert (s, c) == (pytest.approx(math.sin(x), abs=1e-7), pytest.approx(math.cos(x), abs=1e-7))
    assert call(atan_small)(s / c if abs(s) <= c else math.copysign(1.0, s)) == pytest.approx(x, abs=4e-7)


@given(reals(-1e6, 1e6), reals(-1e6, 1e6))
def test_the_arc_tangent_is_odd_and_rises(x, y):
    one, other = call(atan)(x), call(atan)(y)
    assert one == -call(atan)(-x) and abs(one) < math.pi / 2 + 1e-6
    assert one == pytest.approx(math.atan(x), abs=3e-7)
    assert (other - one) * (1 if y >= x else -1) > -5e-7


@given(reals(-math.pi, math.pi), reals(1e-3, 1e4))
def test_the_angle_of_a_direction_is_its_angle(angle, length):
    found = call(atan2)(length * math.sin(angle), length * math.cos(angle))
    assert abs(found) <= math.pi + 1e-6
    assert abs(math.remainder(found - angle, 2 * math.pi)) < 1e-6


@given(reals(1e-4, 1e4), st.integers(0, 3))
def test_the_angle_of_an_axis_is_a_quarter_turn(length, quarters):
    x, y = ((length, 0.0), (0.0, length), (-length, 0.0), (0.0, -length))[quarters]
    assert call(atan2)(y, x) == pytest.approx((0, math.pi / 2, math.pi, -math.pi / 2)[quarters], abs=3e-7)
    assert call(atan2)(y / length * 1e-7, x / length * 1e-7) == 0


@given(reals(-7, 7), reals(-7, 7))
def test_powers_of_e_multiply(x, y):
    assert call(exp)(x) * call(exp)(y) == pytest.approx(call(exp)(x + y), rel=3e-5)
    assert call(exp)(x) == pytest.approx(math.exp(x), rel=1e-5)


@given(places, places, angles)
def test_a_frame_keeps_lengths_and_turns_back(x, y, angle):
    cos, sin = math.cos(angle), math.sin(angle)
    ahead, left = call(into_frame)(x, y, cos, sin)
    assert math.hypot(ahead, left) == pytest.approx(math.hypot(x, y), abs=1e-5)
    assert call(into_frame)(ahead, left, cos, -sin) == pytest.approx((x, y), abs=1e-5)


@given(places, places, places, places, sizes, sizes)
def test_a_segment_hits_a_box_like_shapely_from_either_end_and_in_the_mirror(x1, y1, x2, y2, length, width):
    found = call(segment_hits_box)(x1, y1, x2, y2, length, width)
    assert found == call(segment_hits_box)(x2, y2, x1, y1, length, width)
    assert found == call(segment_hits_box)(x1, -y1, x2, -y2, length, width)
    assert found == call(segment_hits_box)(-x1, y1, -x2, y2, length, width)
    assert found == call(segment_hits_box)(y1, x1, y2, x2, width, length)
    line, judge = shapely.LineString([(x1, y1), (x2, y2)]), shapely.box(-length, -width, length, width)
    if judge.buffer(-1e-3).intersects(line) or judge.distance(line) > 1e-3:
        assert found == judge.intersects(line)


@given(places, places, places, places, places, places, places, places)
def test_segments_cross_like_shapely_in_any_order(ax, ay, bx, by, cx, cy, dx, dy):
    cross = call(segments_cross)
    found = cross(ax, ay, bx, by, cx, cy, dx, dy)
    one, other = shapely.LineString([(ax, ay), (bx, by)]), shapely.LineString([(cx, cy), (dx, dy)])
    tips = [(one, p) for p in other.boundary.geoms] + [(other, p) for p in one.boundary.geoms]
    if all(line.distance(tip) > 1e-3 for line, tip in tips) and len(tips) == 4:
        assert found == one.crosses(other)
        assert found == cross(bx, by, ax, ay, cx, cy, dx, dy) == cross(cx, cy, dx, dy, ax, ay, bx, by)
        assert found == cross(ax, -ay, bx, -by, cx, -cy, dx, -dy)


@given(places, places, places, places, st.integers(-20, 20), st.integers(-20, 20))
def test_no_way_leads_between_two_edges_that_meet(cx, cy, ex, ey, x, y):
    """A way through the corner d of the edges c-d and d-e crosses one of them, unless it only grazes the corner: both other
    ends lie on one side of it."""
    cross, (dx, dy) = call(segments_cross), (0.0, 0.0)
    ends = (-x, -y, x, y)  # through the corner, exactly
    sides = [x * other_y - y * other_x for other_x, other_y in ((cx, cy), (ex, ey))]
    if min(sides) < -1e-3 and max(sides) > 1e-3:
        assert cross(*map(float, ends), cx, cy, dx, dy) and cross(*map(float, ends), dx, dy, ex, ey)
    apart = (2.0 * x, 2.0 * y, 3.0 * x, 3.0 * y)  # on the same line, but not there
    assert not cross(*apart, cx, cy, dx, dy)
