"""Lanes between bounds, linked ends brought together, and lanes that lie across each other."""

import math

import numpy as np
import pytest
from conftest import crossing, motorway, ring, road_map, straight

from gigaflow_env.roads import MapError
from gigaflow_env.roads.centerline import length, sample
from gigaflow_env.roads.formats.common.junctions import junctions
from gigaflow_env.roads.formats.common.lane_bounds import center, knots, outline, reversed_line
from gigaflow_env.roads.formats.common.union_find import groups
from gigaflow_env.roads.formats.common.weld import successors, weld
from gigaflow_env.roads.import_report import collecting
from gigaflow_env.roads.road_map import HEADING, WIDTH


def polyline(*points: tuple[float, float]) -> np.ndarray:
    return np.array([(x, y, 0.0) for x, y in points])


def arc(radius: float, angles: np.ndarray) -> np.ndarray:
    return np.column_stack([radius * np.cos(angles), radius * np.sin(angles), 0 * angles])


def test_a_straight_lane_lies_in_the_middle_whatever_the_vertices():
    left = polyline((0, 2), (1, 2), (1.02, 2), (40, 2))
    line = knots(center(left, polyline((0, -1.5), (17, -1.5), (40, -1.5))))
    np.testing.assert_allclose(line, [[0, 0.25, 0, 0, 3.5], [40, 0.25, 0, 0, 3.5]], atol=1e-9)


def test_heights_are_paired_by_length():
    left, right = polyline((0, 2), (40, 2)), polyline((0, -2), (40, -2))
    left[1, 2], right[1, 2] = 4.0, 2.0
    line = knots(center(left, right))
    np.testing.assert_allclose(line[:, 2], [0, 3])


@pytest.mark.parametrize(("vertices", "off"), [((9, 9), 0.03), ((9, 23), 0.03), ((31, 5), 0.4)])
def test_few_vertices_of_an_arc_give_the_arc(vertices, off):
    inner, outer = (arc(radius, np.linspace(0, 2.0, n)) for radius, n in zip((18, 22), vertices, strict=True))
    line = knots(center(inner, outer))
    points = sample(line, 0.5)
    # 9 vertices are 5 m apart, their chords 0.16 m off the arc. 5 are 11 m apart and 0.69 m off: these could be corners.
    np.testing.assert_allclose(np.hypot(points[:, 0], points[:, 1]), 20, atol=off)
    assert length(line) == pytest.approx(40, rel=0.01)
    np.testing.assert_allclose(points[:, WIDTH], 4, atol=2 * off)
    assert line[0, HEADING] == pytest.approx(math.pi / 2, abs=off)
    assert line[-1, HEADING] == pytest.approx(math.pi / 2 + 2.0, abs=off)


def test_a_sharp_bend_between_long_pieces_stays_near_the_polyline():
    left, right = polyline((0, 2), (98, 2), (98, 100)), polyline((0, -2), (102, -2), (102, 100))
    points = sample(knots(center(left, right)), 0.5)
    far = np.minimum(np.abs(points[:, 1]), np.abs(points[:, 0] - 100))
    assert 0.05 < far.max() < 0.5
    beside = points[points[:, 0] < 95]
    np.testing.assert_allclose(beside[:, 1], 0, atol=0.1)


def test_oblique_ends_do_not_make_a_lane_wider():
    line = center(polyline((3, 2), (43, 2)), polyline((0, -2), (40, -2)))
    np.testing.assert_allclose(line[:, WIDTH], 4.0)


def test_a_lane_begins_where_it_is_wide_enough():
    line = center(polyline((0, 0), (50, 5)), polyline((0, 0), (50, 0)))
    assert line[0, WIDTH] >= 0.1 and line[0, 0] == pytest.approx(1.0, abs=0.6)
    assert line[-1, WIDTH] == pytest.approx(5.0, abs=0.05)


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        (polyline((0, 2), (0, 2)), polyline((0, 0), (9, 0)), "its left bound is a point"),
        (polyline((0, 2), (9, 2)), polyline((5, 0), (5, 0.01)), "its right bound is a point"),
        (polyline((0, 2), (9e4, 2)), polyline((0, 0), (9, 0)), r"its left bound is 90\.0 km long, at most 50"),
        (polyline((0, 2), (20, 2)), polyline((0, 4), (20, 4)), r"do not run side by side: .* -2\.00 to -2\.00 m"),
        (polyline((0, 2), (20, 2)), polyline((20, 0), (0, 0)), "do not run side by side"),
        (polyline((0, 2), (20, -2)), polyline((0, -2), (20, 2)), "do not run side by side"),
        (polyline((0, 2), (20, 2)), polyline((90, 0), (110, 0)), "89 deg askew"),
    ],
)
def test_bounds_which_do_not_belong_together_are_refused(left, right, message):
    with pytest.raises(MapError, match=message):
        center(left, right)


def test_a_million_vertices_in_one_place_are_few():
    rng = np.random.default_rng(1)
    x = np.concatenate([np.sort(rng.uniform(0, 1, 1_000_000)), [30.0]])
    left = np.column_stack([x, 2 + rng.normal(0, 1e-6, len(x)), 0 * x])
    left[0, 0] = 0.0
    line = center(left, polyline((0, -2), (30, -2)))
    assert len(line) in (61, 62)
    np.testing.assert_allclose(line[:, 1], 0, atol=1e-3)


def test_the_way_back_is_the_same_line():
    line = center(polyline((0, 2), (9, 2)), polyline((0, 0), (9, 0)))
    back = reversed_line(line)
    np.testing.assert_allclose(back[0], [9, 1, 0, math.pi, 2])
    np.testing.assert_allclose(knots(reversed_line(back)), knots(line), atol=1e-12)


def test_an_outline_goes_round_without_repeating_corners():
    corners = outline(polyline((0, 2), (5, 3), (5, 3)), polyline((0, 2), (5, 0)))
    np.testing.assert_allclose(corners[:, :2], [[0, 2], [5, 3], [5, 0]])


# Ends


def dense(*places: tuple[float, float, float]) -> np.ndarray:
    """Rows about half a metre apart on a straight line from the first place to the last; z is its third number."""
    first, last = np.array(places[0]), np.array(places[-1])
    steps = np.linspace(0, 1, 41)[:, None]
    line = np.zeros((41, 5))
    line[:, :3] = first + (last - first) * steps
    line[:, HEADING] = math.atan2(*(last - first)[1::-1])
    line[:, WIDTH] = 3.5
    return line


def test_linked_ends_meet_in_their_middle_and_the_far_ends_stay():
    lines = {"a": dense((0, 0, 0), (20, 0, 0)), "b": dense((20.2, 0.1, 0.1), (40, 0, 0))}
    lines["c"] = dense((20, -0.1, 0), (40, -4, 0))
    welded, held = weld(lines, [("a", "b"), ("a", "c")])
    assert held == [("a", "b"), ("a", "c")]
    ends = [welded["a"][-1], welded["b"][0], welded["c"][0]]
    np.testing.assert_allclose([end[:3] for end in ends], [[20.2 / 3 + 40 / 3, 0, 0.1 / 3]] * 3, atol=1e-12)
    assert len({round(end[HEADING], 12) for end in ends}) == 1
    for name, end in (("a", 0), ("b", -1), ("c", -1)):
        np.testing.assert_array_equal(welded[name][end], lines[name][end])
    np.testing.assert_array_equal(lines["a"][-1, :2], [20, 0])


def test_the_heading_of_a_turned_end_is_that_of_its_curve():
    lines = {"a": dense((0, 0, 0), (20, 0, 0)), "b": dense((20, 0, 0), (39, 6, 0))}
    for line in weld(lines, [("a", "b")])[0].values():
        ahead = np.diff(line[:, :2], axis=0)
        between = (line[1:, HEADING] + line[:-1, HEADING]) / 2
        np.testing.assert_allclose(np.arctan2(ahead[:, 1], ahead[:, 0]), between, atol=0.01)


def test_ends_too_far_apart_are_not_linked_and_right_angles_stay():
    lines = {"a": dense((0, 0, 0), (20, 0, 0)), "b": dense((27, 0, 0), (47, 0, 0)), "c": dense((20, 0, 0), (20, 20, 0))}
    links = [("a", "b"), ("a", "c")]
    with collecting() as report:
        welded, held = weld({**lines, "d": dense((0, -3, 0), (20, 0, 0))}, [*links, ("d", "c")])
    assert held == [("a", "c"), ("d", "c")] and [entry.element for entry in report] == ["a to b"]
    np.testing.assert_array_equal(welded["b"], lines["b"])
    assert welded["c"][0, HEADING] == pytest.approx(math.pi / 2)
    assert successors([("a", "c"), ("d", "c"), ("a", "x")]) == {"a": ("c", "x"), "d": ("c",)}


def test_groups_are_what_pairs_join():
    assert groups([(1, 2), (5, 6), (3, 2), (6, 7), (9, 9)]) == [[1, 2, 3], [5, 6, 7], [9]]
    assert groups([]) == []


# Junctions


def test_connectors_that_cross_make_a_junction_and_the_arms_do_not():
    lanes = crossing().lanes
    found = junctions(lanes)
    assert set(found) == {name for name, lane in lanes.items() if lane.junction}
    assert len(set(found.values())) == 1


@pytest.mark.parametrize("make", [ring, motorway])
def test_roads_without_crossings_have_no_junction(make):
    assert junctions(make().lanes) == {}


def test_a_bridge_and_a_way_back_are_no_junctions():
    lanes = road_map(
        "levels",
        straight("a", 0, 0, 20, 0),
        straight("a.back", 20, 0, 0, 0),
        straight("over", 10, -10, 10, 10, z=(6, 6)),
    ).lanes
    assert junctions(lanes) == {}
    level = road_map("level", lanes["a"], straight("across", 10, -10, 10, 10)).lanes
    assert junctions(level) == {"a": "a", "across": "a"}
