"""The bicycle: numbers from paper, a float64 model written from the source's steps, and symmetries."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import call, looped, reals
from hypothesis import given, settings
from hypothesis import strategies as st

from gigaflow_env.config import Config, params
from gigaflow_env.declare import allocate
from gigaflow_env.jit import kernel
from gigaflow_env.layout import ACTIONS, JERK_RANGE, LATERAL_JERKS, LONGITUDINAL_JERKS
from gigaflow_env.sim.dynamics import accelerate, advance, hold_zero, jerks, scaled_jerks, turn
from gigaflow_env.state import ENDED, LIVE, WAITING, Body, Clock, Motion, Pose, Rows

P = params(Config())
DISCRETE = np.zeros((0, 0, 2), np.float32)
DT, WHEELBASE = 0.3, 0.6 * 4.5


def cars(count, **values):
    """`count` cars of 4.5 m at rest in one world, with coefficients 1; `values` by the name of their field."""
    sizes = {"world": 1, "agent": count, "two": 2}
    made = SimpleNamespace(**{g.__name__.lower(): allocate(g, sizes) for g in (Clock, Rows, Pose, Motion, Body)})
    made.rows.status[:] = LIVE
    given = {"length": 4.5, "width": 2.0, "c_throttle": 1, "c_steer": 1, "c_acc": 1, "c_vel": 1, **values}
    heading = given.pop("heading", 0.0)
    given |= {"cos": np.cos(heading), "sin": np.sin(heading)}
    for name, value in given.items():
        group = next(g for g in (made.rows, made.pose, made.motion, made.body) if name in g._fields)
        getattr(group, name)[0] = value
    return made


def drive(made, actions):
    """One step; `actions` for each car or for all."""
    actions = np.ascontiguousarray(np.broadcast_to(actions, made.rows.status.shape), np.int32)
    agents = np.arange(actions.shape[1])
    looped("decide")(agents, 0, actions, DISCRETE, made.rows, made.motion, P)
    looped("move")(agents, 0, made.clock, made.rows, made.pose, made.motion, made.body, P)
    return made


def test_actions_on_paper():
    """A car at 10 m/s, going straight. +4 m/s^3 over 0.3 s changes an acceleration by 1.2 m/s^2, -15 m/s^3 by 4.5."""
    made = drive(cars(ACTIONS, speed=10.0), np.arange(ACTIONS))
    motion, pose = made.motion, made.pose
    for action in range(ACTIONS):
        forward, sideways = divmod(action, 3)
        acceleration = (-4.5, -1.2, 0.0, 1.2)[forward]
        speed = (9.325, 9.82, 10.0, 10.18)[forward]  # 10 + half of the change of acceleration * 0.3
        way = (2.89875, 2.973, 3.0, 3.027)[forward]  # mean speed * 0.3
        lateral = (-1.2, 0.0, 1.2)[sideways]
        turned = way * lateral / speed**2
        assert motion.jerk[0, action] == (-15, -4, 0, 4)[forward]
        assert motion.side_jerk[0, action] == (-4, 0, 4)[sideways]
        assert motion.acceleration[0, action] == pytest.approx(acceleration, rel=1e-6)
        assert motion.speed[0, action] == pytest.approx(speed, rel=1e-6)
        assert motion.distance[0, action] == pytest.approx(way, rel=1e-6)
        assert motion.lateral[0, action] == pytest.approx(lateral, rel=1e-5)
        assert motion.steer[0, action] == pytest.approx(math.atan(2.7 * lateral / speed**2), abs=1e-6)
        assert np.arctan2(pose.sin[0, action], pose.cos[0, action]) == pytest.approx(turned, abs=1e-6)
        assert pose.x[0, action] == pytest.approx(way, abs=1e-3)
        assert pose.y[0, action] == pytest.approx(way * turned / 2, abs=1e-4)


def test_coefficients_scale_the_jerks():
    made = drive(cars(2, speed=10.0, c_throttle=[0.8, 1.25], c_steer=[1.25, 0.8]), 11)
    assert made.motion.acceleration[0] == pytest.approx([0.96, 1.5], rel=1e-6)
    assert made.motion.lateral[0] == pytest.approx([1.5, 0.96], rel=1e-5)


def test_full_braking_in_two_steps_and_full_throttle_in_three():
    made = cars(1, speed=15.0)
    assert [round(float(drive(made, 1).motion.acceleration[0, 0]), 4) for _ in range(3)] == [-4.5, -5.0, -5.0]
    made = cars(1, speed=5.0)
    assert [round(float(drive(made, 10).motion.acceleration[0, 0]), 4) for _ in range(3)] == [1.2, 2.4, 2.5]


def test_limits():
    made = drive(cars(3, speed=[19.9, 29.9, -1.9], acceleration=[2.5, 3.75, -5.0], c_acc=[1, 1.5, 1], c_vel=[1, 1.5, 1]), 10)
    assert made.motion.speed[0] == pytest.approx([20.0, 30.0, -2.0])
    assert made.motion.acceleration[0] == pytest.approx([2.5, 3.75, -3.8])


def test_an_acceleration_that_changes_sign_is_zero():
    made = drive(cars(4, speed=10.0, acceleration=[0.5, -0.5, 1.3, 0.0]), [4, 10, 4, 4])
    assert made.motion.acceleration[0] == pytest.approx([0.0, 0.0, 0.1, -1.2], abs=1e-6)
    made = drive(cars(2, speed=10.0, lateral=[0.5, 1.3]), [6, 6])
    assert made.motion.lateral[0] == pytest.approx([0.0, 0.1], abs=1e-5)


def test_a_speed_that_changes_sign_is_zero():
    made = drive(cars(2, speed=[0.5, -0.2], acceleration=[-5.0, 2.0]), [1, 10])
    assert made.motion.speed[0].tolist() == [0.0, 0.0]
    assert made.motion.acceleration[0] == pytest.approx([-5.0, 2.5])


def test_standing_still_is_representable():
    """Brake, and ease off in the step in which the speed would change sign: from then on nothing moves."""
    made = cars(1, speed=0.3)
    for action in (4, 10):  # 0.3 - 0.18 = 0.12 m/s with -1.2 m/s^2, then 0.12 - 0.18 < 0 with 0
        drive(made, action)
    assert made.motion.speed[0, 0] == 0.0 and made.motion.acceleration[0, 0] == 0.0
    before = [array.copy() for array in made.pose]
    for _ in range(20):
        drive(made, 7)
    names = [name for name, old, new in zip(Pose._fields, before, made.pose, strict=True) if not np.array_equal(old, new)]
    assert set(names) <= {"old_x", "old_y", "old_cos", "old_sin"} and made.motion.distance[0, 0] == 0


def test_steering_rate_and_full_lock():
    made = cars(2, speed=1.0)
    angles = [drive(made, [8, 6]).motion.steer[0].tolist() for _ in range(5)]
    left = [0.18, 0.36, 0.54, 0.55, 0.55]
    assert np.array(angles) == pytest.approx(np.column_stack([left, -np.array(left)]), rel=1e-5)


def test_smallest_turning_circle():
    """2.7 m / tan 0.55 = 4.4 m for a car of 4.5 m: points of the path lie on a circle of this radius around its left."""
    made = cars(1, speed=1.0, steer=0.55, lateral=1.0 / 4.4)
    points = []
    for _ in range(60):
        drive(made, 8)
        points.append((made.pose.x[0, 0], made.pose.y[0, 0]))
    radius = WHEELBASE / math.tan(0.55)
    assert radius == pytest.approx(4.4, abs=0.01)
    assert np.hypot(*(np.array(points) - [0, radius]).T) == pytest.approx(radius, abs=1e-3)


@kernel
def _advance(distance, curvature, out):
    for i in range(len(distance)):
        out[0, i], out[1, i], out[2, i], out[3, i] = advance(
            np.float32(0.0), np.float32(0.0), np.float32(1.0), np.float32(0.0), distance[i], curvature[i]
        )


def arcs(distance, curvature):
    distance, curvature = np.broadcast_arrays(np.float32(distance), np.float32(curvature))
    out = np.zeros((4, distance.size), np.float32)
    _advance(np.ascontiguousarray(distance), np.ascontiguousarray(curvature), out)
    x, y, cos, sin = out
    return (x, y, np.arctan2(sin, cos)), distance.astype(float), curvature.astype(float)


def test_arc_equals_integration():
    rng = np.random.default_rng(0)
    (x, y, heading), distance, curvature = arcs(rng.uniform(-9, 9, 300), rng.uniform(-0.23, 0.23, 300))
    steps = 2000
    at = (np.arange(steps) + 0.5) / steps  # midpoint rule
    angle = np.outer(at, distance * curvature)
    assert x == pytest.approx((np.cos(angle) * distance / steps).sum(axis=0), abs=1e-5)
    assert y == pytest.approx((np.sin(angle) * distance / steps).sum(axis=0), abs=1e-5)
    assert heading == pytest.approx(distance * curvature, abs=1e-6)


def test_arc_of_any_curvature_down_to_straight():
    """No curvature where the formula changes or loses digits: the error stays that of float32."""
    (x, y, _), distance, curvature = arcs(6.0, np.concatenate([[0.0], np.logspace(-9, -1, 2000)]))
    angle = distance * curvature
    left = np.where(angle < 1e-3, distance * angle / 2, (1 - np.cos(angle)) / np.maximum(curvature, 1e-30))
    ahead = np.where(angle < 1e-3, distance * (1 - angle**2 / 6), np.sin(angle) / np.maximum(curvature, 1e-30))
    assert abs(x - ahead).max() < 3e-6
    assert abs(y - left).max() < 3e-6


def model(made, actions):
    """One step in float64, from the source: speed, acceleration, lateral acceleration, steering angle, x, y, heading."""
    pose, motion, body = ([array[0].astype(float) for array in g] for g in (made.pose, made.motion, made.body))
    x, y, _, cos, sin, *_ = pose
    heading = np.arctan2(sin, cos)
    v, a_x, a_y, steer, *_ = motion
    length, _, c_throttle, c_steer, c_acc, c_vel = body[:6]
    keep = lambda new, old: np.where(new * old < 0, 0.0, new)  # noqa: E731
    new_a = np.clip(keep(a_x + c_throttle * np.take(LONGITUDINAL_JERKS, actions // 3) * DT, a_x), -5, 2.5 * c_acc)
    new_y = np.clip(keep(a_y + c_steer * np.take(LATERAL_JERKS, actions % 3) * DT, a_y), -4, 4)
    new_v = np.clip(keep(v + (new_a + a_x) / 2 * DT, v), -2, 20 * c_vel)
    wanted = np.arctan(new_y / np.maximum(new_v**2, 1e-5) * 0.6 * length)
    steer = np.clip(steer + np.clip(wanted - steer, -0.6 * DT, 0.6 * DT), -0.55, 0.55)
    curvature = np.tan(steer) / (0.6 * length)
    d = (new_v + v) / 2 * DT
    at = d * curvature
    ahead, left = d * np.sinc(at / np.pi), d * at / 2 * np.sinc(at / 2 / np.pi) ** 2
    x, y = x + ahead * np.cos(heading) - left * np.sin(heading), y + ahead * np.sin(heading) + left * np.cos(heading)
    return new_v, new_a, new_v**2 * curvature, steer, x, y, np.remainder(heading + at + np.pi, 2 * np.pi) - np.pi


def random_cars(count, seed):
    rng = np.random.default_rng(seed)
    return cars(
        count, x=rng.uniform(-300, 300, count), y=rng.uniform(-300, 300, count), heading=rng.uniform(-3.1, 3.1, count),
        speed=rng.uniform(-2, 20, count), acceleration=rng.uniform(-5, 2.5, count), lateral=rng.uniform(-4, 4, count),
        steer=rng.uniform(-0.55, 0.55, count), length=rng.uniform(0.8, 7, count), c_throttle=rng.uniform(0.8, 1.25, count),
        c_steer=rng.uniform(0.8, 1.25, count), c_acc=rng.uniform(0.67, 1.5, count), c_vel=rng.uniform(0.67, 1.5, count),
    ), rng.integers(0, ACTIONS, count)  # fmt: skip


def test_random_steps_equal_the_float64_model():
    made, actions = random_cars(20_000, 1)
    speed, acceleration, lateral, steer, x, y, heading = model(made, actions)
    drive(made, actions)
    assert abs(made.motion.speed[0] - speed).max() < 1e-5
    assert abs(made.motion.acceleration[0] - acceleration).max() < 2e-6
    assert abs(made.motion.steer[0] - steer).max() < 1e-5
    assert abs(made.motion.lateral[0] - lateral).max() < 1e-3  # v^2 = 900 times the error of the curvature
    assert np.hypot(made.pose.x[0] - x, made.pose.y[0] - y).max() < 1e-4  # an ulp at 300 m is 3e-5
    turned = np.arctan2(made.pose.sin[0], made.pose.cos[0]) - heading
    assert abs(np.remainder(turned + 1, 2 * np.pi) - 1).max() < 1e-5
    assert abs(made.pose.cos[0] - np.cos(heading)).max() < 1e-5 and abs(made.pose.sin[0] - np.sin(heading)).max() < 1e-5


def test_the_old_pose_is_kept():
    made, actions = random_cars(50, 2)
    before = made.pose._replace(**{name: array.copy() for name, array in made.pose._asdict().items()})
    drive(made, actions)
    for name in ("x", "y", "cos", "sin"):
        assert np.array_equal(getattr(made.pose, f"old_{name}"), getattr(before, name))
    assert np.array_equal(made.pose.z, before.z)


def test_rows_that_are_not_live_rest():
    made, _ = random_cars(3, 3)
    made.rows.status[0] = [ENDED, WAITING, LIVE]
    before = made.pose.x.copy()
    drive(made, 11)
    assert (made.pose.x == before).tolist() == [[True, True, False]]


def path(heading, x, y, speed, actions):
    made = cars(1, x=x, y=y, heading=heading, speed=speed)
    points = []
    for action in actions:
        drive(made, action)
        points.append((made.pose.x[0, 0], made.pose.y[0, 0], np.arctan2(made.pose.sin[0, 0], made.pose.cos[0, 0])))
    return np.array(points, float)


turns = st.lists(st.integers(0, ACTIONS - 1), min_size=1, max_size=20)
speeds = st.floats(-2, 20, width=32)
steps = settings(max_examples=60, deadline=None, derandomize=True)


@steps
@given(speeds, turns, st.floats(-3, 3), st.floats(-50, 50), st.floats(-50, 50))
def test_rigid_motion(speed, actions, turn, x, y):
    here, there = path(0.0, 0.0, 0.0, speed, actions), path(turn, x, y, speed, actions)
    moved = (here[:, 0] + 1j * here[:, 1]) * np.exp(1j * turn) + complex(x, y)
    assert abs(moved - (there[:, 0] + 1j * there[:, 1])).max() < 1e-3
    assert abs(np.exp(1j * (here[:, 2] + turn)) - np.exp(1j * there[:, 2])).max() < 1e-5


@steps
@given(speeds, turns)
def test_mirror(speed, actions):
    mirrored = [3 * (action // 3) + 2 - action % 3 for action in actions]
    one, other = path(0.0, 0.0, 0.0, speed, actions), path(0.0, 0.0, 0.0, speed, mirrored)
    assert np.hypot(one[:, 0] - other[:, 0], one[:, 1] + other[:, 1]).max() < 1e-4
    assert abs(np.exp(1j * one[:, 2]) - np.exp(-1j * other[:, 2])).max() < 1e-5


# Properties of every rule


@given(st.integers(0, ACTIONS - 1), st.integers(0, ACTIONS - 1))
def test_every_action_is_a_pair_of_jerks_of_its_own(one, other):
    forward, sideways = call(jerks)(one)
    assert LONGITUDINAL_JERKS.index(forward) == one // 3 and LATERAL_JERKS.index(sideways) == one % 3
    assert (call(jerks)(other) == (forward, sideways)) == (one == other)


shares = reals(-1, 1)


@given(shares, shares, reals(0, 1))
def test_continuous_jerks_are_linear_on_either_side_of_0_and_end_at_the_discrete_ones(forward, sideways, share):
    full, part = call(scaled_jerks)(forward, sideways), call(scaled_jerks)(share * forward, share * sideways)
    for jerk, small, (low, high), wish in zip(full, part, JERK_RANGE, (forward, sideways), strict=True):
        assert low <= jerk <= high and jerk * wish >= 0
        assert small == pytest.approx(share * jerk, rel=1e-5, abs=1e-6)
    ends = call(scaled_jerks)(math.copysign(1.0, forward), math.copysign(1.0, sideways))
    assert ends == tuple(
        side[wish > 0] if wish else ends[k]
        for k, (side, wish) in enumerate(zip(JERK_RANGE, (forward, sideways), strict=True))
    )


numbers = reals(-50, 50)


@given(numbers, numbers)
def test_a_sign_that_changes_stops_at_0(new, old):
    held = call(hold_zero)(new, old)
    assert held in (0, new) and held * old >= 0
    assert held == new or new * old < 0
    assert call(hold_zero)(-new, -old) == -held and call(hold_zero)(held, old) == held


coefficients = reals(0.5, 1.5)


@given(reals(-2, 20), reals(-5, 2.5), reals(-15, 4), reals(0, 19), coefficients, coefficients)
def test_speed_and_acceleration_follow_the_jerk_within_their_limits(speed, acceleration, jerk, more, throttle, c):
    """No sign changes in a step; more jerk never means less speed; nothing happens in no time."""
    moved, new = call(accelerate)(speed, acceleration, jerk, throttle, c, c, P)
    assert -5 <= new <= 2.5 * c * (1 + 1e-6) and -2 <= moved <= max(20 * c, 0) * (1 + 1e-6)
    assert new * acceleration >= 0 and moved * speed >= 0
    faster, harder = call(accelerate)(speed, acceleration, jerk + more, throttle, c, c, P)
    assert harder >= new and faster >= moved
    if acceleration <= 2.5 * c and speed <= 20 * c:
        short = P._replace(dt=np.float32(1e-6))
        assert call(accelerate)(speed, acceleration, jerk, throttle, c, c, short) == pytest.approx(
            (speed, acceleration), abs=1e-4
        )


@settings(max_examples=300)
@given(reals(-2, 30), reals(-4, 4), reals(-0.55, 0.55), reals(-4, 4), coefficients, reals(0.5, 5))
def test_steering_is_even_handed_within_its_limits_and_of_the_bicycle(speed, lateral, steer, jerk, c, wheelbase):
    new, curvature, reached = call(turn)(speed, lateral, steer, jerk, c, wheelbase, P)
    assert call(turn)(speed, -lateral, -steer, -jerk, c, wheelbase, P) == pytest.approx(
        (-new, -curvature, -reached), abs=1e-7
    )
    assert abs(new) <= 0.55 + 1e-7 and abs(new - steer) <= 0.6 * DT + 1e-6
    assert curvature == pytest.approx(math.tan(new) / wheelbase, rel=1e-5, abs=1e-7)
    assert reached == pytest.approx(speed**2 * curvature, rel=1e-5, abs=1e-7)
    # What was asked for is reached, unless the steering is too slow or at its end: then it is on its way.
    changed = lateral + c * jerk * DT
    asked = min(max(0.0 if changed * lateral < 0 else changed, -4.0), 4.0)
    if abs(new - steer) < 0.6 * DT - 1e-5 and abs(new) < 0.55 - 1e-5:
        assert reached == pytest.approx(asked * min(speed**2 / 1e-5, 1), abs=2e-3)
    else:
        assert (new - steer) * (asked - reached) >= -1e-5 or abs(steer) > 0.55 - 1e-5


@given(reals(-9, 9), reals(0, 1), reals(-0.25, 0.25), reals(-3, 3))
def test_an_arc_in_two_parts_is_the_whole_one_and_leads_back(distance, share, curvature, heading):
    start = (5.0, -3.0, math.cos(heading), math.sin(heading))
    end = call(advance)(*start, distance, curvature)
    assert call(advance)(*end, -distance, curvature) == pytest.approx(start, abs=1e-5)
    part = call(advance)(*start, share * distance, curvature)
    assert call(advance)(*part, distance - share * distance, curvature) == pytest.approx(end, abs=1e-5)
    assert math.hypot(*end[2:]) == pytest.approx(1, abs=3e-7)
    assert math.dist(start[:2], end[:2]) <= abs(distance) + 1e-5
    longer = call(advance)(*start[:2], 1.001 * start[2], 1.001 * start[3], distance, curvature)
    assert math.hypot(*longer[2:]) == pytest.approx(1, abs=2e-6), "lengths lead back to 1"
