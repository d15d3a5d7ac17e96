"""Dynamics: the jerk-actuated kinematic bicycle. Source: arXiv 2502.03349, App. B.2."""

from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.layout import JERK_RANGE, LATERAL_JERKS, LONGITUDINAL_JERKS
from gigaflow_env.sim.erratic import brakes
from gigaflow_env.sim.geometry import HALF, ONE, TWO, ZERO, atan_small, clip, sincos, sincos_small
from gigaflow_env.state import LIVE, POLICY, REPLAY

_LONGITUDINAL = tuple(f32(jerk) for jerk in LONGITUDINAL_JERKS)
_LATERAL = tuple(f32(jerk) for jerk in LATERAL_JERKS)
_HARDEST = tuple((f32(-low), f32(high)) for low, high in JERK_RANGE)
_CURVATURE_SPEED = f32(1e-5)
_STRAIGHT = f32(5e-5)
_NEWTON = f32(1.5)


@rule
def jerks(action):
    """Longitudinal and lateral jerk [m/s^3] of an action 0..11."""
    forward = action // i32(3)
    sideways = action - forward * i32(3)
    # Selects: an index into a tuple becomes a jump, which a processor mispredicts for the actions of a policy.
    gentle = _LONGITUDINAL[1] if forward == 1 else _LONGITUDINAL[2]
    jerk = _LONGITUDINAL[0] if forward == 0 else gentle
    jerk = _LONGITUDINAL[3] if forward == 3 else jerk
    side_jerk = _LATERAL[0] if sideways == 0 else _LATERAL[1]
    return jerk, _LATERAL[2] if sideways == 2 else side_jerk


@rule
def scaled_jerks(longitudinal, lateral):
    """Longitudinal and lateral jerk [m/s^3] of a continuous action in [-1, 1] x [-1, 1]: 0 is 0, linear on either side."""
    jerk = longitudinal * (_HARDEST[0][0] if longitudinal < ZERO else _HARDEST[0][1])
    return jerk, lateral * (_HARDEST[1][0] if lateral < ZERO else _HARDEST[1][1])


@rule
def hold_zero(new, old):
    """`new`, but 0 where the sign changed: so that a speed or an acceleration of exactly 0 can be reached."""
    return ZERO if new * old < ZERO else new


@rule
def accelerate(speed, acceleration, jerk, c_throttle, c_acc, c_vel, p):
    """Longitudinal motion over one step: (speed [m/s], acceleration [m/s^2])."""
    new = hold_zero(acceleration + c_throttle * jerk * p.dt, acceleration)
    new = clip(new, -p.brake_max, p.throttle_max * c_acc)
    moved = hold_zero(speed + HALF * (new + acceleration) * p.dt, speed)
    return clip(moved, p.speed_min, p.speed_max * c_vel), new


@rule
def turn(speed, lateral, steer, jerk, c_steer, wheelbase, p):
    """Steering over one step at the new speed: (steering angle [rad], curvature [1/m], lateral acceleration [m/s^2]).

    The lateral acceleration is recomputed from the steering angle that was reached (B).
    """
    wanted = clip(hold_zero(lateral + c_steer * jerk * p.dt, lateral), -p.lateral_max, p.lateral_max)
    curvature = wanted / max(speed * speed, _CURVATURE_SPEED)
    # The steering angle is limited anyway: limiting its tangent first keeps the arc tangent short.
    most_sine, most_cosine = sincos_small(p.steer_max)
    most = most_sine / most_cosine
    change = clip(atan_small(clip(curvature * wheelbase, -most, most)) - steer, -p.steer_rate * p.dt, p.steer_rate * p.dt)
    steer = clip(steer + change, -p.steer_max, p.steer_max)
    sine, cosine = sincos_small(steer)
    curvature = sine / (cosine * wheelbase)
    return steer, curvature, speed * speed * curvature


@rule
def advance(x, y, cos, sin, distance, curvature):
    """Pose after `distance` [m] on an arc: (x, y, cos, sin). Exact: the chord lies at half the angle that is turned."""
    half_sin, half_cos = sincos(HALF * distance * curvature)
    # Not (1 - cos(angle)) / curvature for the lateral displacement: in float32 its error is up to a millimetre per step.
    straight = abs(half_sin) < _STRAIGHT
    chord = distance if straight else TWO * half_sin / (ONE if straight else curvature)
    ahead, left = chord * half_cos, chord * half_sin
    turn_cos, turn_sin = ONE - TWO * half_sin * half_sin, TWO * half_sin * half_cos
    new_cos, new_sin = cos * turn_cos - sin * turn_sin, sin * turn_cos + cos * turn_sin
    # Back to length 1, as rounding changes it by 1e-7 per step: one iteration of Newton's method for 1 / sqrt.
    scale = _NEWTON - HALF * (new_cos * new_cos + new_sin * new_sin)
    return x + ahead * cos - left * sin, y + ahead * sin + left * cos, new_cos * scale, new_sin * scale


@stage
def decide(w, a, actions, wanted, rows, motion, p):
    """Convert the row's action to jerks. Writes: motion.jerk, motion.side_jerk.

    actions: 0..11 (worlds, rows); wanted: in [-1, 1] (worlds, rows, 2), or empty where actions are discrete. An action holds
    for `decision_every` steps: what is given in between is ignored.
    """
    if rows.status[w, a] != LIVE or rows.driver[w, a] != POLICY:
        return
    if p.decision_every > 1 and rows.steps[w, a] % p.decision_every != 0:
        return
    if len(wanted) > 0:
        jerk, side_jerk = scaled_jerks(wanted[w, a, 0], wanted[w, a, 1])
    else:
        jerk, side_jerk = jerks(actions[w, a])
    motion.jerk[w, a], motion.side_jerk[w, a] = jerk, side_jerk


@stage
def move(w, a, clock, rows, pose, motion, body, p):
    """One step of the bicycle model. Writes: pose, motion, except side_jerk.

    An erratic driver during phantom braking brakes, whatever its action. Rows with a track were moved by `follow_track`.
    """
    if rows.driver[w, a] == REPLAY:
        return
    if rows.status[w, a] != LIVE:
        motion.distance[w, a] = ZERO
        return
    jerk, side_jerk = motion.jerk[w, a], motion.side_jerk[w, a]
    old_speed = motion.speed[w, a]
    braking = old_speed > ZERO and brakes(w, a, clock, rows, p)
    jerk = p.phantom_jerk if braking else jerk
    speed, acceleration = accelerate(
        old_speed, motion.acceleration[w, a], jerk, body.c_throttle[w, a], body.c_acc[w, a], body.c_vel[w, a], p
    )
    if braking and speed <= ZERO:  # it brakes to a halt, and does not roll back
        speed, acceleration = ZERO, ZERO
    wheelbase = p.wheelbase * body.length[w, a]
    steer, curvature, lateral = turn(
        speed, motion.lateral[w, a], motion.steer[w, a], side_jerk, body.c_steer[w, a], wheelbase, p
    )
    x, y, cos, sin = pose.x[w, a], pose.y[w, a], pose.cos[w, a], pose.sin[w, a]
    distance = HALF * (speed + old_speed) * p.dt
    new_x, new_y, new_cos, new_sin = advance(x, y, cos, sin, distance, curvature)

    pose.old_x[w, a], pose.old_y[w, a], pose.old_cos[w, a], pose.old_sin[w, a] = x, y, cos, sin
    pose.x[w, a], pose.y[w, a], pose.cos[w, a], pose.sin[w, a] = new_x, new_y, new_cos, new_sin
    motion.speed[w, a], motion.acceleration[w, a] = speed, acceleration
    motion.steer[w, a], motion.lateral[w, a] = steer, lateral
    motion.jerk[w, a], motion.distance[w, a] = jerk, abs(distance)
