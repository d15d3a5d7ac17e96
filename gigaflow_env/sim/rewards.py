"""Rewards: the ten terms of arXiv 2502.03349, App. B.3, Table A2, and one of ours: progress along the route."""

from gigaflow_env.config import CONDITIONING
from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.sim.geometry import HALF_PI, ONE, ZERO, exp
from gigaflow_env.state import ENDED, FROZEN, LIVE, NOWHERE, REPLAY, WAITING

(
    GOAL_RADIUS, COLLISION, OFFROAD, COMFORT, LANE_ALIGN, VELOCITY_ALIGN, LANE_CENTER, CENTER_BIAS,
    VELOCITY, REVERSE, STOP_LINE, TIMESTEP, PROGRESS,
) = range(len(CONDITIONING))  # fmt: skip

# Constants of Table A2 (A), shared with replay/insight.py.
ALIGN_BONUS = f32(0.0025)
CENTER_BONUS = f32(0.05)
CENTER_PLATEAU = f32(0.5)
MOVING = f32(2.5)  # m/s

_NOWHERE = f32(NOWHERE)


@rule
def comfort(acceleration, lateral, jerk, side_jerk, limit, jerk_limit):
    """How many of acceleration, lateral acceleration and jerk exceed their limits: 0 to 3. Jerk is limited per axis (C)."""
    harsh = ONE if abs(acceleration) > limit else ZERO
    harsh += ONE if abs(lateral) > limit else ZERO
    harsh += ONE if (abs(jerk) > jerk_limit) | (abs(side_jerk) > jerk_limit) else ZERO  # no branch: it'd be mispredicted
    return harsh


@rule
def lane_align(cos, angle, speed, velocity_weight):
    """Lane alignment: a bonus for heading along the lane, a penalty for heading or moving against it."""
    return min(cos, ZERO) + velocity_weight * min(speed * cos, ZERO) + ALIGN_BONUS * (ONE - abs(angle) / HALF_PI)


@rule
def lane_center(cos, offset, gate):
    """Distance from the lane center [m], less a bonus near it. The gate applies to the distance only (C)."""
    distance = abs(offset)
    return (distance if cos > gate else ZERO) - CENTER_BONUS / exp(distance - CENTER_PLATEAU)


@rule
def velocity(cos, speed):
    """1 for moving along the lane."""
    return max(cos, ZERO) if abs(speed) > MOVING else ZERO


@stage
def score(w, a, clock, rows, motion, lane_position, reward_weights, events, outcome, goals, p):
    """Reward, and whether the episode, or the time of a wreck, ends.

    Writes: outcome, rows, except driver, events.timeout.
    """
    outcome.reward[w, a] = ZERO
    outcome.terminated[w, a] = False
    outcome.truncated[w, a] = False
    events.timeout[w, a] = False
    if rows.status[w, a] != LIVE:
        if rows.status[w, a] == FROZEN:
            rows.steps[w, a] += i32(1)
            if p.freeze_time > ZERO and f32(rows.steps[w, a]) * p.dt >= p.freeze_time:
                rows.status[w, a] = WAITING
        return
    c = reward_weights.coefficients[w, a]
    speed, acceleration = motion.speed[w, a], motion.acceleration[w, a]
    cos, angle = lane_position.cos[w, a], lane_position.angle[w, a]
    moving = (abs(speed) > ZERO) | (abs(acceleration) > ZERO)
    crashed = events.collision[w, a] or events.offroad[w, a]

    reward = goals.gained[w, a] * c[PROGRESS]
    if events.goal[w, a]:
        reward += p.goal_reward
    if events.collision[w, a]:
        reward -= c[COLLISION] + p.collision_speed * abs(speed)
    if events.offroad[w, a]:
        reward -= c[OFFROAD]
    if events.red_light[w, a]:
        reward -= c[STOP_LINE]
    reward -= c[COMFORT] * comfort(
        acceleration, motion.lateral[w, a], motion.jerk[w, a], motion.side_jerk[w, a], p.comfort_acceleration, p.comfort_jerk
    )
    reward += c[LANE_ALIGN] * p.dt * lane_align(cos, angle, speed, c[VELOCITY_ALIGN])
    reward -= c[LANE_CENTER] * p.dt * lane_center(cos, lane_position.offset[w, a] - c[CENTER_BIAS], p.center_gate)
    reward += c[VELOCITY] * p.dt * velocity(cos, speed)
    reward -= c[REVERSE] * p.dt * (ONE if speed < ZERO else ZERO)
    reward -= c[TIMESTEP] * p.dt * (ONE if moving else ZERO)

    steps = i32(rows.steps[w, a] + i32(1))
    rows.steps[w, a] = steps
    rows.score[w, a] += reward
    outcome.reward[w, a] = reward
    events.timeout[w, a] = steps >= p.max_steps
    terminated = (crashed and p.crash_ends != 0 and a < p.judged) or (events.route_done[w, a] and p.route_ends != 0)
    stays = rows.driver[w, a] == REPLAY or (p.stays != 0 and a < p.judged)
    terminated = terminated or (goals.best[w, a] <= _NOWHERE and not stays)  # the road ends here
    truncated = not terminated and (events.timeout[w, a] or clock.step[w] + i32(1) >= p.world_steps)
    outcome.terminated[w, a], outcome.truncated[w, a] = terminated, truncated
    if terminated or truncated:
        rows.status[w, a] = ENDED
        outcome.episode_return[w, a], outcome.episode_length[w, a] = rows.score[w, a], steps
