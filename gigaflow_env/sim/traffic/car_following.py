"""Car following: the acceleration of a rule-based driver behind a leader, before a line, in a curve.

Sources: Treiber, Hennecke, Helbing, Phys. Rev. E 62 (2000) 1805 (IDM); Gipps, Transp. Res. B 15 (1981) 105 (safe speed).
"""

import math

from gigaflow_env.jit import f32, rule
from gigaflow_env.packs import larger, root
from gigaflow_env.sim.geometry import EPSILON, HALF, ONE, TWO, ZERO

LEADER_BRAKE = f32(5.0)
"""m/s^2, the hardest braking expected of a leader."""

WALK = f32(1.4)
"""m/s: walking pace."""

STANDS = f32(0.1)
"""m/s: who is slower stands."""

TIDY = f32(1e-3)
"""m/s: a slower vehicle stands, and does not roll back."""

_GUARD_BRAKE = f32(4.0)  # m/s^2, for which the distance to a leader is always enough
_TRACK = f32(0.6)  # s, in which a speed above the cap is corrected


@rule
def free(speed, cap, p):
    """Acceleration [m/s^2] on a free road: towards `cap` [m/s], gently from below. Source: IDM."""
    share = speed / max(cap, EPSILON)
    share = share * share
    gentle = p.idm_acceleration * (ONE - share * share)
    return min(gentle, (cap - speed) / _TRACK)


@rule
def behind(speed, gap, leader_speed, p):
    """Deceleration [m/s^2] for a leader, with a gap [m] between the bumpers. Source: IDM, interaction term."""
    closing = speed * (speed - leader_speed) / (TWO * f32(math.sqrt(p.idm_acceleration * p.idm_deceleration)))
    wanted = p.idm_gap + max(speed * p.idm_headway + closing, ZERO)
    share = wanted / max(gap, HALF * HALF)
    return p.idm_acceleration * share * share


@rule
def safe_speed(gap, leader_speed, p):
    """Highest speed [m/s] from which a vehicle can stop behind a leader that brakes hard. Source: Gipps 1981.

    Two steps pass until its own brake acts: an acceleration that changes its sign is 0 for one step.
    """
    delay = TWO * p.dt * _GUARD_BRAKE
    room = max(gap, ZERO) + leader_speed * leader_speed / (TWO * LEADER_BRAKE)
    return f32(math.sqrt(delay * delay + TWO * _GUARD_BRAKE * room)) - delay


@rule
def stopping_speed(distance, end_speed, p):
    """Speed [m/s] from which comfortable braking over `distance` [m] leads to `end_speed` [m/s]. Also of packs."""
    return root(end_speed * end_speed + TWO * p.idm_deceleration * larger(distance, ZERO))


@rule
def delay(acceleration, brake, p):
    """Time [s] that is lost until the brake acts.

    Acceleration is averaged over a step, and is 0 for one step when its sign changes.
    """
    if acceleration > ZERO:
        return p.dt * (ONE + HALF)
    return HALF * p.dt * (ONE + max(acceleration, -brake) / brake)


@rule
def stopping_distance(speed, acceleration, brake, p):
    """Stopping distance [m] when braking with `brake` [m/s^2] from now on."""
    fastest = speed + HALF * max(acceleration, ZERO) * p.dt
    return fastest * delay(acceleration, brake, p) + fastest * fastest / (TWO * brake)


@rule
def needed_brake(speed, acceleration, distance, p):
    """Braking [m/s^2] that is needed to come to rest within a distance [m]."""
    fastest = speed + HALF * max(acceleration, ZERO) * p.dt
    room = max(distance - fastest * delay(acceleration, p.brake_max, p), HALF * HALF)
    return fastest * fastest / (TWO * room)


@rule
def curve_speed(curvature, p):
    """Speed [m/s] at which a curve is comfortable. Also of packs."""
    return root(p.idm_lateral / larger(abs(curvature), f32(1e-4)))


@rule
def to_jerk(wanted, now, coefficient, p):
    """Jerk [m/s^3] that changes an acceleration from `now` to `wanted` in one step.

    To reach exactly 0 it aims slightly beyond, as an acceleration that changes its sign becomes 0 (`hold_zero`).
    """
    over = wanted
    if wanted == ZERO and now != ZERO:
        over = -now * f32(0.01)
    return (over - now) / (coefficient * p.dt)


@rule
def no_reverse(wanted, speed, acceleration, p):
    """The wanted acceleration [m/s^2], limited so that the vehicle comes to rest without rolling back.

    `left` is the speed after a step in which the acceleration becomes 0. Braking by at most left / dt lets the next step end
    at a speed of exactly 0.
    """
    left = speed + HALF * acceleration * p.dt
    if left < TIDY and wanted <= ZERO:
        return ZERO
    return max(wanted, -left / p.dt)
