"""Checks of a record, with answers on paper."""

from dataclasses import replace

import numpy as np
import pytest
from small_scenes import placed, road, scenario

from gigaflow_env.roads import Lane, RoadMap
from gigaflow_env.scenes.feasible import corners, flags, infeasible, off_road, overlapping


def test_corners_go_round_from_the_front_left_one():
    np.testing.assert_allclose(corners(placed((10, 0, 0)), 0)[0], [(12, 1), (8, 1), (8, -1), (12, -1)])
    np.testing.assert_allclose(corners(placed((0, 0, np.pi / 2)), 2)[0], [(-1, 2), (-1, -2), (1, -2), (1, 2)], atol=1e-12)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ((14.5, 0, 0), False),  # 0.5 m apart
        ((14, 0, 0), False),  # they touch
        ((13.9, 0, 0), True),
        ((13.1, 0, np.pi / 2), False),  # across: 1 m wide and 2 m long
        ((12.9, 2.9, np.pi / 2), True),
        ((12.9, 3.1, np.pi / 2), False),
        ((12.9, 1.9, np.pi / 4), True),
        ((12.9, 1.9, -np.pi / 4), False),  # the corner (12, 1) is 0.27 m from its side, though upright boxes overlap
    ],
)
def test_boxes_overlap_where_they_share_an_area(other, expected):
    assert overlapping(placed((10, 0, 0), other), 0).tolist() == [expected, expected]


def test_a_bridge_is_not_hit_and_who_is_absent_is_not_either():
    both = placed((10, 0, 0), (11, 0, 0))
    assert overlapping(both, 0).all()
    assert not overlapping(replace(both, z=np.array([[0.0] * 3, [6.0] * 3])), 0).any()
    valid = both.valid.copy()
    valid[1, 0] = False
    gone = replace(both, valid=valid, x=np.where(valid, both.x, np.nan))
    assert not overlapping(gone, 0).any() and overlapping(gone, 1).all()


def test_three_of_whom_two_overlap():
    assert overlapping(placed((0, 0, 0), (40, 0, 0), (42, 1, 0.1)), 1).tolist() == [False, True, True]


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((10, 0, 0), False),
        ((10, 2.6, 0), False),  # on two lanes
        ((10, -0.8, 0), False),  # 5 cm outside, 2.5 % of the box
        ((10, -1.0, 0), True),  # 25 cm
        ((10, -30, 0), True),
        ((-1, 0, 0), True),  # three quarters before the road begins
        ((50, 0, 0), False),  # over the joint of two lanes
    ],
)
def test_a_box_off_all_lanes_is_off_the_road(box, expected):
    assert off_road(placed(box), road(), 0).tolist() == [expected]


def test_a_lane_over_one_is_no_road_below():
    high = RoadMap("bridge", {"b": Lane("b", np.array([(0.0, 0, 8, 0, 3.5), (50, 0, 8, 0, 3.5)]))})
    assert off_road(placed((10, 0, 0)), high, 0).all()
    assert not off_road(placed((10, 0, 0), z=8.7), high, 0).any()


def driven(speeds, turn=0.0, dt=0.1):
    """A car with these speeds along its heading that turns by `turn` [rad] in each step."""
    one, heading = placed((0, 0, 0)), turn * np.arange(3.0)[None]
    return replace(one, dt=dt, valid=np.ones((1, 3), bool), velocity_x=speeds * np.cos(heading),
                   velocity_y=speeds * np.sin(heading), heading=heading)  # fmt: skip


@pytest.mark.parametrize(
    ("speeds", "turn", "expected"),
    [
        ((5, 6.03, 7.06), 0.0, (False, False, False)),  # 10.3 m/s^2
        ((5, 6.05, 5.0), 0.0, (False, True, True)),  # 10.5 m/s^2, forward and back
        ((10, 10, 10), 0.299, (False, False, False)),  # 0.299 rad on 1 m
        ((10, 10, 10), 0.302, (False, True, True)),
        ((10, 10, 10), -0.302, (False, True, True)),
        ((10, 10, 10), 2 * np.pi, (False, False, False)),  # the same heading
        ((0.5, 0.5, 0.5), 1.0, (False, False, False)),  # too slow to be judged
    ],
)
def test_who_moves_as_no_bicycle_can(speeds, turn, expected):
    assert tuple(infeasible(driven(speeds, turn))[0]) == expected


def test_a_gap_in_a_track_is_no_jump():
    one = driven((5, 5, 50))
    valid = np.array([[True, False, True]])
    gone = {name: np.where(valid, getattr(one, name), np.nan) for name in ("velocity_x", "velocity_y", "heading", "x", "y")}
    assert not infeasible(replace(one, valid=valid, **gone)).any()


def test_only_vehicles_have_to_be_on_the_road_and_move_like_one():
    two = placed((10, -30, 0), (20, -30, 0), kinds=("vehicle", "pedestrian"))
    jump = np.array([[0.0, 9.0, 0.0]] * 2)
    found = flags(replace(two, velocity_x=jump), road())
    assert found.off_road.tolist() == found.infeasible.tolist() == found.start_conflict.tolist() == [True, False]
    assert not flags(scenario(), road()).start_conflict.any()


def test_a_turned_and_moved_world_has_the_same_flags():
    rng = np.random.default_rng(3)
    boxes = [(rng.uniform(0, 60), rng.uniform(-6, 8), rng.uniform(-3, 3)) for _ in range(30)]
    turn, (dx, dy) = 0.7, (3e5, -4e6)
    cos, sin = np.cos(turn), np.sin(turn)

    def moved(x, y):
        return cos * x - sin * y + dx, sin * x + cos * y + dy

    lanes = {}
    for lane in road().lanes.values():
        line = lane.line.copy()
        line[:, 0], line[:, 1] = moved(lane.line[:, 0], lane.line[:, 1])
        line[:, 3] += turn
        lanes[lane.id] = replace(lane, line=line)
    before = flags(placed(*boxes), road())
    after = flags(placed(*((*moved(x, y), h + turn) for x, y, h in boxes)), replace(road(), lanes=lanes))
    assert before.overlap.any() and before.off_road.any() and not before.off_road.all()
    for one, other in zip(before, after, strict=True):
        np.testing.assert_array_equal(one, other)
