"""nuPlan's score: each branch with the answer on paper, and what may not change anything."""

import math

import numpy as np
import pytest
import shapely
from moving_boxes import FRAMES, moved, standing, tracks

from gigaflow_train.evaluate import nuplan
from gigaflow_train.evaluate.nuplan import FRONT, LATERAL, REAR, STOPPED_EGO, STOPPED_TRACK, Collision, LaneShape
from gigaflow_train.evaluate.trajectories import of

STEPS = 31


def lane(name, x1, y1, x2, y2, *, limit=10.0, connector=False, successors=(), block="", width=4.0):
    line = np.linspace([x1, y1], [x2, y2], 101)
    area = shapely.LineString(line).buffer(width / 2, cap_style="flat")
    return LaneShape(name, line, area, limit, connector, successors, block or name)


def road(*lanes):
    return nuplan.LaneMap(
        lanes,
        shapely.union_all([one.area for one in lanes]),
        shapely.union_all([one.area for one in lanes if one.connector]),
    )


TWO_LANES = road(
    lane("right", 0, 0, 200, 0, successors=("ahead",), block="road"), lane("left", 0, 4, 200, 4, block="road"),
    lane("ahead", 200, 0, 250, 0, connector=True, successors=("after",)), lane("after", 250, 0, 400, 0, limit=20.0),
)  # fmt: skip


def car(**given):
    return {"x": 50.0, "speed": np.full(STEPS, 10.0), **given}


def only(scene, agent=0):
    return of(scene, [agent])


# Collisions


def kinds(*others, ego=None):
    found = nuplan.collisions(tracks(ego or car(), *others), 0)
    return [(one.agent, one.kind) for one in found]


def test_no_collision():
    assert kinds(car(y=4.0), car(x=60.0)) == []


def test_into_who_stands():
    assert kinds(standing(STEPS, x=60.0)) == [(1, STOPPED_TRACK)]


def test_standing_and_hit():
    assert kinds(car(x=40.0), ego=standing(STEPS, x=50.0)) == [(1, STOPPED_EGO)]


def test_into_the_back_of_a_slower_one():
    assert kinds(car(x=60.0, speed=np.full(STEPS, 2.0))) == [(1, FRONT)]


def test_hit_from_behind():
    assert kinds(car(x=40.0, speed=np.full(STEPS, 20.0))) == [(1, REAR)]


def test_hit_at_the_side():
    # It comes from the left, at the same speed along the road, and its front meets the middle of the side.
    beside = car(x=50.0 + 10.0 * 0.1 * np.arange(STEPS), y=8.0 - 0.4 * np.arange(STEPS), heading=-math.pi / 2,
                 speed=np.full(STEPS, 4.0))  # fmt: skip
    assert kinds(beside) == [(1, LATERAL)]


def test_objects_stand_whatever_their_speed():
    assert kinds(car(x=60.0, speed=np.full(STEPS, 2.0), kind="other")) == [(1, STOPPED_TRACK)]


def test_each_track_is_hit_once_and_several_can_be():
    slow = np.full(STEPS, 1.0)
    found = nuplan.collisions(tracks(car(), car(x=60.0, speed=slow), standing(STEPS, x=70.0), car(x=40.0)), 0)
    assert [(one.agent, one.kind) for one in found] == [(1, FRONT), (2, STOPPED_TRACK)]
    assert found[0].step < found[1].step


def test_a_touch_is_a_collision():
    assert kinds(standing(STEPS, x=84.0)) == [(1, STOPPED_TRACK)]  # at the last step the bumpers meet at 82 m
    assert kinds(standing(STEPS, x=84.01)) == []


@pytest.mark.parametrize(
    "kind, one_lane, fault",
    [
        (STOPPED_EGO, True, False), (STOPPED_EGO, False, False), (STOPPED_TRACK, True, True), (STOPPED_TRACK, False, True),
        (FRONT, True, True), (FRONT, False, True), (REAR, True, False), (REAR, False, False), (LATERAL, True, False),
        (LATERAL, False, True),
    ],
)  # fmt: skip
def test_whose_fault(kind, one_lane, fault):
    one = Collision(0, 1, kind)
    assert nuplan.at_fault([one], np.array([one_lane])) == ([one] if fault else [])


@pytest.mark.parametrize(
    "hit, score",
    [
        ([], 1.0), (["vehicle"], 0.0), (["pedestrian"], 0.0), (["cyclist"], 0.0), (["other"], 0.5),
        (["other", "other"], 0.0), (["other", "vehicle"], 0.0),
    ],
)  # fmt: skip
def test_collision_score(hit, score):
    faults = [Collision(k, k + 1, FRONT) for k in range(len(hit))]
    assert nuplan.no_ego_at_fault_collisions(faults, ["vehicle", *hit]) == score


# Lanes


def test_in_one_lane_or_in_two_that_follow():
    def inside(**given):
        return bool(nuplan.in_one_lane(only(tracks(standing(1, **given))), TWO_LANES)[0])

    assert inside(x=50.0)
    assert not inside(x=50.0, y=2.0)  # between two lanes
    assert inside(x=200.0)  # its front is in the connector
    assert not inside(x=50.0, y=-2.0)  # half of it is in no lane


def test_the_lane_that_was_driven():
    found = nuplan.driven_lanes(only(tracks({"x": np.array([50.0, 199.0, 201.0, 260.0, 500.0]), "speed": 1.0})), TWO_LANES)
    assert [TWO_LANES.lanes[k].id if k >= 0 else "" for k in found] == ["right", "right", "ahead", "after", ""]


def test_of_two_lanes_at_one_place_the_one_along_which_it_heads():
    cross = road(lane("east", 0, 0, 100, 0), lane("north", 50, -50, 50, 50))
    found = nuplan.driven_lanes(only(tracks(standing(1, x=50.0, heading=1.4))), cross)
    assert cross.lanes[found[0]].id == "north"


# Drivable area


@pytest.mark.parametrize("y, score", [(0.0, 1.0), (-1.0, 1.0), (-1.29, 1.0), (-1.31, 0.0), (5.2, 1.0), (5.4, 0.0)])
def test_drivable_area(y, score):
    assert nuplan.drivable_area_compliance(only(tracks(car(y=y))), TWO_LANES) == score


# Driving direction


@pytest.mark.parametrize("way, score", [(-11.0, 1.0), (1.99, 1.0), (2.01, 0.5), (5.99, 0.5), (6.01, 0.0)])
def test_driving_against_the_lane(way, score):
    # In a window of 1 s lie 11 steps.
    scene = only(tracks(car(x=150.0, speed=np.full(STEPS, -way / 1.1))))
    assert nuplan.driving_direction_compliance(scene, TWO_LANES, nuplan.driven_lanes(scene, TWO_LANES)) == score


def test_on_no_lane_is_no_direction():
    scene = only(tracks(car(speed=np.full(STEPS, -50.0), x=150.0)))
    assert nuplan.driving_direction_compliance(scene, TWO_LANES, [-1] * STEPS) == 1.0  # on no lane is no direction


# Progress


def test_the_way_along_the_route():
    route = [nuplan.Block(one.line, one.area) for one in TWO_LANES.lanes if one.id != "left"]
    assert nuplan.progress_along(only(tracks(car())), route) == pytest.approx(30.0)
    assert nuplan.progress_along(only(tracks(car(speed=np.full(STEPS, -10.0), x=150.0))), route) == pytest.approx(-30.0)
    through = only(tracks({"x": np.array([190.0, 210.0, 260.0]), "speed": 1.0}))
    assert nuplan.progress_along(through, route) == pytest.approx(70.0)
    skipped = only(tracks({"x": np.array([190.0, 260.0]), "speed": 1.0}))
    assert nuplan.progress_along(skipped, route) == pytest.approx(70.0)  # the connector between counts as driven
    away = only(tracks({"x": np.array([190.0, 195.0, 195.0]), "y": np.array([0.0, 0.0, 90.0]), "speed": 1.0}))
    assert nuplan.progress_along(away, route) == pytest.approx(5.0)
    assert nuplan.progress_along(away, []) == 0.0


def test_lanes_side_by_side_are_one_block():
    route = nuplan.route_of(only(tracks({"x": np.array([50.0, 60.0, 210.0]), "y": np.array([0.0, 4.0, 0.0]), "speed": 1.0})),
                            TWO_LANES)  # fmt: skip
    assert len(route) == 2
    assert route[0].area.contains(shapely.Point(50, 4))


@pytest.mark.parametrize(
    "way, expert, ratio",
    [
        (30.0, 60.0, 0.5), (90.0, 60.0, 1.0), (0.0, 60.0, 0.1 / 60), (-0.05, 60.0, 0.1 / 60), (-0.2, 60.0, 0.0),
        (0.0, 0.0, 1.0), (0.02, 0.05, 1.0),
    ],
)  # fmt: skip
def test_progress_ratio(way, expert, ratio):
    assert nuplan.ego_progress_along_expert_route(way, expert) == pytest.approx(ratio)


# Time to collision


def shortest(*others, ego=None, one_lane=True, junction=False):
    scene = tracks(ego or car(speed=np.full(2, 10.0)), *others)
    lanes = np.full(scene.steps, one_lane)
    times = nuplan.times_to_collision(scene, 0, nuplan.collisions(scene, 0), lanes, np.full(scene.steps, junction))
    return float(times[0]), nuplan.time_to_collision_within_bound(times[:1])


@pytest.mark.parametrize(
    "gap, time, score",
    # Bumper to bumper; a second of 10 m/s. They touch at multiples of 0.1 s.
    [(9.0, 0.9, 0.0), (9.5, 1.0, 1.0), (10.0, 1.0, 1.0), (25.0, 2.5, 1.0), (28.9, 2.9, 1.0), (29.1, math.inf, 1.0)],
)  # fmt: skip
def test_against_who_stands_ahead(gap, time, score):
    assert shortest(standing(2, x=54.0 + gap)) == (pytest.approx(time), score)


def test_against_who_comes_and_who_drives_away():
    assert shortest(car(x=74.0, heading=math.pi, speed=np.full(2, 10.0)))[0] == pytest.approx(1.0)
    assert shortest(car(x=64.0, speed=np.full(2, 10.0)))[0] == math.inf


def test_against_who_crosses():
    # 20 m ahead, and 19 m to the left of the car's left side: it is there after 2 s, when the car is.
    crossing = car(x=70.0, y=23.0, heading=-math.pi / 2, speed=np.full(2, 10.0))
    assert shortest(crossing)[0] == math.inf  # 49 degrees off: not ahead, and the car is in its lane
    assert shortest(crossing, junction=True)[0] == pytest.approx(2.0)
    assert shortest(crossing, one_lane=False)[0] == pytest.approx(2.0)


def test_who_is_behind_never_counts():
    assert shortest(car(x=40.0, speed=np.full(2, 30.0)), one_lane=False, junction=True)[0] == math.inf


def test_a_car_that_stands_is_not_judged():
    assert shortest(car(x=60.0, heading=math.pi, speed=np.full(2, 10.0)), ego=standing(2, x=50.0))[0] == math.inf


def test_a_collision_at_fault_is_no_time_and_the_track_counts_no_more():
    scene = tracks(car(), standing(STEPS, x=60.0))
    met = nuplan.collisions(scene, 0)
    times = nuplan.times_to_collision(scene, 0, met, np.full(STEPS, True), np.full(STEPS, False))
    assert times[met[0].step] == 0.0
    assert (times[met[0].step + 1 :] == math.inf).all()
    assert times[0] == pytest.approx(0.6)
    rear = tracks(car(), car(x=40.0, speed=np.full(STEPS, 20.0)))
    met = nuplan.collisions(rear, 0)
    assert (nuplan.times_to_collision(rear, 0, met, np.full(STEPS, True), np.full(STEPS, False)) == math.inf).all()


# Speed limit


def test_limits_of_lanes_and_connectors():
    assert nuplan.speed_limits(TWO_LANES, [0, 2, 3]).tolist() == [10.0, 20.0, 20.0]
    unknown = road(lane("one", 0, 0, 10, 0, limit=math.nan), lane("two", 10, 0, 20, 0))
    assert np.isnan(nuplan.speed_limits(unknown, [0, -1])).all()


@pytest.mark.parametrize("over, score", [(0.0, 1.0), (2.23 / 2, 0.5), (2.23, 0.0), (9.0, 0.0), (-3.0, 1.0)])
def test_speed_limit(over, score):
    # 101 steps are 100 intervals: the sum over steps is 1 % more than the mean's
    speed = np.full(101, 10.0 + over)
    speed[0] = 10.0
    assert nuplan.speed_limit_compliance(speed, np.full(101, 10.0), 0.1) == pytest.approx(score, abs=1e-12)
    assert nuplan.speed_limit_compliance(speed, np.full(101, np.nan), 0.1) == 1.0


# Comfort


def comfortable(along=0.0, left=0.0, heading=0.0):
    steps = max(np.size(one) for one in (along, left, heading))
    given = [np.broadcast_to(one, 40 if steps == 1 else steps).astype(float) for one in (along, left, heading)]
    return [name for name, kept in nuplan.comfort(*given, 0.1).items() if not kept]


T = 0.1 * np.arange(40)


@pytest.mark.parametrize(
    "given, broken",
    [
        ({}, []),
        ({"along": 2.39}, []),
        ({"along": 2.41}, ["longitudinal acceleration"]),
        ({"along": -4.04}, []),
        ({"along": -4.06}, ["longitudinal acceleration"]),
        ({"left": 4.88}, []),
        ({"left": -4.90}, ["lateral acceleration"]),
        ({"heading": 0.94 * T}, []),
        ({"heading": -0.96 * T}, ["yaw rate"]),
        ({"heading": 0.96 * T + 3.0}, ["yaw rate"]),
        ({"heading": 1.92 / 2 * (T[:10] - 0.45) ** 2}, []),
        ({"heading": 1.94 / 2 * (T[:10] - 0.45) ** 2}, ["yaw acceleration"]),
        ({"along": -2.0 + 4.12 * T[:8]}, []),
        ({"along": -2.0 + 4.14 * T[:8]}, ["longitudinal jerk"]),
        ({"left": 8.3 * T[:6]}, []),
        ({"left": 8.4 * T[:6]}, ["jerk"]),
    ],
)
def test_comfort(given, broken):
    assert comfortable(**given) == broken


def test_a_turn_over_the_seam_of_angles_is_no_jump():
    heading = np.remainder(3.0 + 0.5 * T + math.pi, 2 * math.pi) - math.pi
    assert comfortable(heading=heading) == []


def test_accelerations_in_the_cars_frame():
    t = 0.1 * np.arange(20)
    circle = only(tracks({"speed": np.full(20, 10.0), "heading": 0.2 * t}))
    along, left = nuplan.accelerations(circle)
    assert along[1:-1] == pytest.approx(np.zeros(18), abs=1e-3)
    assert left[1:-1] == pytest.approx(np.full(18, 2.0), rel=1e-3)


# Score


def terms(**changes):
    return nuplan.Terms(*[1.0] * 8)._replace(**changes)


@pytest.mark.parametrize(
    "changes, score",
    [
        ({}, 1.0),
        ({"no_ego_at_fault_collisions": 0.5}, 0.5),
        ({"drivable_area_compliance": 0.0}, 0.0),
        ({"driving_direction_compliance": 0.5}, 0.5),
        ({"ego_is_making_progress": 0.0}, 0.0),
        ({"ego_progress_along_expert_route": 0.5}, 1 - 2.5 / 16),
        ({"time_to_collision_within_bound": 0.0}, 11 / 16),
        ({"speed_limit_compliance": 0.5}, 14 / 16),
        ({"ego_is_comfortable": 0.0}, 14 / 16),
        ({"no_ego_at_fault_collisions": 0.5, "driving_direction_compliance": 0.5, "ego_is_comfortable": 0.0}, 14 / 64),
    ],
)
def test_score(changes, score):
    assert nuplan.score(terms(**changes)) == pytest.approx(score)


def test_types():
    found, every = nuplan.by_type([1.0, 0.5, 0.0], ["left", "left", "right"])
    assert (found, every) == ({"left": 0.75, "right": 0.0}, 0.5)


def test_a_scene():
    log = tracks(car(), standing(STEPS, x=100.0))
    assert nuplan.of_scene(log, log, 0, TWO_LANES) == terms(time_to_collision_within_bound=1.0)
    slow = tracks(car(speed=np.full(STEPS, 5.0)), standing(STEPS, x=100.0))
    assert nuplan.of_scene(slow, log, 0, TWO_LANES).ego_progress_along_expert_route == pytest.approx(0.5)
    stands = tracks(standing(STEPS, x=50.0), standing(STEPS, x=100.0))
    assert nuplan.of_scene(stands, log, 0, TWO_LANES).ego_is_making_progress == 0.0
    crash = tracks(car(), standing(STEPS, x=60.0))
    found = nuplan.of_scene(crash, log, 0, TWO_LANES)
    assert (found.no_ego_at_fault_collisions, found.time_to_collision_within_bound) == (0.0, 0.0)
    gone = tracks(car(valid=False), standing(STEPS, x=60.0))
    with pytest.raises(ValueError, match="agent 0 is never there"):
        nuplan.of_scene(gone, log, 0, TWO_LANES)


@pytest.mark.parametrize("frame", FRAMES)
def test_the_frame_does_not_matter(frame):
    rng = np.random.default_rng(3)
    log = tracks(car(), car(x=70.0, speed=np.full(STEPS, 8.0)), car(x=45.0, y=4.0, kind="cyclist"))
    made = log._replace(y=log.y + rng.uniform(0.0, 2.5, (3, 1)))
    there = [
        one._replace(line=(line := moved(one.line, *frame)), area=shapely.LineString(line).buffer(2.0, cap_style="flat"))
        for one in TWO_LANES.lanes
    ]
    found = nuplan.of_scene(moved(made, *frame), moved(log, *frame), 0, road(*there))
    assert found == pytest.approx(nuplan.of_scene(made, log, 0, TWO_LANES), abs=1e-6)
