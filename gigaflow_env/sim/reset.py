"""Starting: an agent without place draws one, gives way to those with an older claim, and enters.

Three stages, each independent of the order of the agents: all propose, then all settle, then all enter.
"""

import math

from gigaflow_env.config import CHOICES
from gigaflow_env.config import CONDITIONING as COEFFICIENTS
from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.sim.collision import edges_met
from gigaflow_env.sim.erratic import INATTENTIVE, PHANTOM
from gigaflow_env.sim.geometry import EPSILON, HALF, LEVEL_GAP, ONE, TWO, ZERO, into_frame
from gigaflow_env.sim.goals import plan
from gigaflow_env.sim.new_world import kind_of
from gigaflow_env.sim.noise import add_noise
from gigaflow_env.sim.random_numbers import BODY, CONDITIONING, ERRATIC, PLACE, between, draws, pick, spread
from gigaflow_env.sim.rewards import (
    CENTER_BIAS,
    COLLISION,
    COMFORT,
    GOAL_RADIUS,
    LANE_ALIGN,
    LANE_CENTER,
    OFFROAD,
    PROGRESS,
    REVERSE,
    STOP_LINE,
    TIMESTEP,
    VELOCITY,
    VELOCITY_ALIGN,
)
from gigaflow_env.sim.variant import curved, placed, to_world
from gigaflow_env.state import ENDED, FROZEN, LIVE, POLICY, WAITING

LENGTH, WIDTH, C_THROTTLE, C_STEER, C_ACC, C_VEL = range(len(COEFFICIENTS), len(CHOICES))
_COEFFICIENTS = len(COEFFICIENTS)
_BY_HAND = 100  # numbers of the draws for what is chosen by hand
_BESIDE = f32(0.5)  # m, free distance to the side of a starting agent
_LANE_ROOM = f32(0.3)  # m, a lane is so much wider than who starts on it
_EDGE_ROOM = f32(0.1)  # m, free distance to the edge of the road


@rule
def start_speed(u, speed_limit, curvature, p):
    """Start speed [m/s] of a unit draw.

    What the lane allows and a curve can bear at half the largest lateral acceleration.
    """
    curve = f32(math.sqrt(HALF * p.lateral_max / max(abs(curvature), EPSILON)))
    return u * min(p.spawn_speed, min(speed_limit, curve))


@rule
def in_the_way(ahead, left, cos, sin, half_length, half_width, speed, other_length, other_width, other_speed, p):
    """Whether two agents would be too near to each other: the other at (ahead, left), turned by (cos, sin). Half extents.

    Before and behind there must be room for whoever is behind to brake at half of the full deceleration.
    """
    beside = half_width + other_length * abs(sin) + other_width * abs(cos) + _BESIDE
    room = half_length + other_length * abs(cos) + other_width * abs(sin) + p.spawn_gap
    own_brake, other_brake = speed * speed / p.brake_max, other_speed * other_speed / p.brake_max
    before = room + own_brake + (other_brake if cos < ZERO else ZERO)
    behind = room + (other_brake if cos > ZERO else ZERO)
    return abs(left) < beside and -behind < ahead < before


@rule
def by_hand(drawn, seed, w, a, moment, choice, overrides):
    """A value from the range which was chosen by hand; what was drawn where there is none."""
    low, high = overrides.low[w, a, choice], overrides.high[w, a, choice]
    if not low <= high:  # nan
        return drawn
    u, _, _, _ = draws(seed, w, a, moment, CONDITIONING, i32(choice + _BY_HAND))
    return between(u, low, high)


@stage
def end_episode(w, a, rows, pose, motion, events, p):
    """An agent whose episode ended looks for a new place; if the config wants it, a crashed one becomes a wreck first.

    Writes: rows.status, steps, pose.old_x, old_y, old_cos, old_sin, motion.speed.
    """
    if rows.status[w, a] != ENDED:
        return
    if p.crash_freezes == 0 or not (events.collision[w, a] or events.offroad[w, a]):
        rows.status[w, a] = WAITING
        return
    rows.status[w, a], rows.steps[w, a] = FROZEN, 0
    pose.old_x[w, a], pose.old_y[w, a] = pose.x[w, a], pose.y[w, a]
    pose.old_cos[w, a], pose.old_sin[w, a] = pose.cos[w, a], pose.sin[w, a]
    motion.speed[w, a] = ZERO


@stage
def propose(w, a, attempt, clock, rows, variant, network, overrides, proposal, kinds, p):
    """A waiting agent draws its body and a place. Writes: proposal, except free.

    Source: arXiv 2502.03349, section 2: length and width are uniform, the width at most the length (A). Ours: nobody is
    wider than the lane, or wide bodies would never start on a map of narrow lanes.
    """
    if rows.status[w, a] != WAITING:
        return
    seed, moment, map_row = clock.seed, clock.tick[w], network.maps[clock.map[w]]
    where, fast, _, _ = draws(seed, w, a, moment, PLACE, attempt)
    length, width, who, _ = draws(seed, w, a, moment, BODY, 0)

    section = network.starts[map_row.starts_at + pick(where, map_row.starts)]
    first, second = network.sections[section], network.sections[section + 1]
    cos, sin = first.cos + second.cos, first.sin + second.sin
    scale = ONE / f32(math.sqrt(cos * cos + sin * sin))
    proposal.section[w, a] = section
    x, y = HALF * (first.x + second.x), HALF * (first.y + second.y)
    half_width = min(first.half_width, second.half_width)
    _, half_width, cos, sin = placed(w, variant, ZERO, half_width, cos * scale, sin * scale)
    proposal.x[w, a], proposal.y[w, a] = to_world(w, variant, x, y)
    proposal.z[w, a] = HALF * (first.z + second.z)
    proposal.cos[w, a], proposal.sin[w, a] = cos, sin
    curvature = curved(w, variant, first.curvature, first.cos, first.sin)
    proposal.speed[w, a] = start_speed(fast, network.lanes[first.lane].speed, curvature, p)
    kind = kind_of(who, kinds)
    proposal.kind[w, a] = kind
    length = between(length, kinds.length_low[kind], kinds.length_high[kind])
    width = between(width, kinds.width_low[kind], kinds.width_high[kind])
    length = by_hand(length, seed, w, a, moment, LENGTH, overrides)
    width = by_hand(width, seed, w, a, moment, WIDTH, overrides)
    proposal.length[w, a], proposal.width[w, a] = length, min(width, min(length, TWO * half_width - _LANE_ROOM))


@stage
def resolve_spawns(w, a, clock, rows, pose, motion, body, proposal, variant, network, grid, p):
    """Whether each proposed place is free.

    It is if no agent on the road and no proposal of a lower number needs it, and the body fits between the edges of the
    road: long ones don't in a bend. Writes: proposal.free.
    """
    proposal.free[w, a] = False
    if rows.status[w, a] != WAITING:
        return
    x, y, z, cos, sin = proposal.x[w, a], proposal.y[w, a], proposal.z[w, a], proposal.cos[w, a], proposal.sin[w, a]
    half_length, half_width, speed = HALF * proposal.length[w, a], HALF * proposal.width[w, a], proposal.speed[w, a]
    if edges_met(
        w, variant, grid, network.maps[clock.map[w]],
        x, y, z, cos, sin, x, y, half_length + _EDGE_ROOM, half_width + _EDGE_ROOM,
    ):  # fmt: skip
        return
    own_room = half_length + half_width + _BESIDE + p.spawn_gap + speed * speed / p.brake_max
    for b in range(rows.status.shape[1]):
        if rows.status[w, b] >= LIVE:
            bx, by, bz, bc, bs = pose.x[w, b], pose.y[w, b], pose.z[w, b], pose.cos[w, b], pose.sin[w, b]
            other_length, other_width, other_speed = body.length[w, b], body.width[w, b], motion.speed[w, b]
        elif rows.status[w, b] == WAITING and b < a:
            bx, by, bz = proposal.x[w, b], proposal.y[w, b], proposal.z[w, b]
            bc, bs = proposal.cos[w, b], proposal.sin[w, b]
            other_length, other_width, other_speed = proposal.length[w, b], proposal.width[w, b], proposal.speed[w, b]
        else:
            continue
        other_length, other_width = HALF * other_length, HALF * other_width
        # Most are far away: beyond all that `in_the_way` could want, whatever their direction.
        far = own_room + TWO * (other_length + other_width) + other_speed * other_speed / p.brake_max
        dx, dy = bx - x, by - y
        if abs(bz - z) > TWO * LEVEL_GAP or dx * dx + dy * dy > far * far:  # on a ramp the height changes within the gap
            continue
        ahead, left = into_frame(dx, dy, cos, sin)
        c, s = into_frame(bc, bs, cos, sin)
        if in_the_way(ahead, left, c, s, half_length, half_width, speed, other_length, other_width, other_speed, p):
            return
    proposal.free[w, a] = True


@stage
def condition(w, a, clock, reward_weights, overrides, p):
    """Draw the reward coefficients. Writes: reward_weights."""
    seed, moment, c = clock.seed, clock.tick[w], reward_weights.coefficients[w, a]
    u0, u1, u2, u3 = draws(seed, w, a, moment, CONDITIONING, 0)
    c[GOAL_RADIUS] = between(u0, p.goal_radius_low, p.goal_radius_high)
    c[COLLISION] = between(u1, p.collision_low, p.collision_high)
    c[OFFROAD] = between(u2, p.offroad_low, p.offroad_high)
    c[COMFORT] = between(u3, p.comfort_low, p.comfort_high)
    u0, u1, u2, u3 = draws(seed, w, a, moment, CONDITIONING, 1)
    c[LANE_ALIGN] = between(u0, p.lane_align_low, p.lane_align_high)
    c[VELOCITY_ALIGN] = between(u1, p.velocity_align_low, p.velocity_align_high)
    c[LANE_CENTER] = between(u2, p.lane_center_low, p.lane_center_high)
    c[CENTER_BIAS] = between(u3, p.center_bias_low, p.center_bias_high)
    u0, u1, u2, u3 = draws(seed, w, a, moment, CONDITIONING, 2)
    c[VELOCITY] = between(u0, p.velocity_low, p.velocity_high)
    c[REVERSE] = between(u1, p.reverse_low, p.reverse_high)
    c[STOP_LINE] = between(u2, p.stop_line_low, p.stop_line_high)
    c[TIMESTEP] = between(u3, p.timestep_low, p.timestep_high)
    u0, _, _, _ = draws(seed, w, a, moment, CONDITIONING, 3)
    c[PROGRESS] = between(u0, p.progress_low, p.progress_high)
    for k in range(_COEFFICIENTS):
        c[k] = by_hand(c[k], seed, w, a, moment, k, overrides)


@stage
def spawn(
    w, a, clock, rows, pose, motion, body, lane_position, goals, reward_weights, overrides, proposal, lane_routes, kinds,
    variant, perceived, network, p
):  # fmt: skip
    """An agent whose place is free starts there.

    Writes: rows, except driver, pose, motion, body, lane_position, goals, reward_weights, lane_routes.goal, perceived.
    """
    if rows.status[w, a] != WAITING or not proposal.free[w, a]:
        return
    x, y, cos, sin = proposal.x[w, a], proposal.y[w, a], proposal.cos[w, a], proposal.sin[w, a]
    pose.x[w, a], pose.y[w, a], pose.z[w, a] = x, y, proposal.z[w, a]
    pose.cos[w, a], pose.sin[w, a] = cos, sin
    pose.old_x[w, a], pose.old_y[w, a], pose.old_cos[w, a], pose.old_sin[w, a] = x, y, cos, sin

    # All but the distance: that's what the step returns of the episode that ended in it.
    motion.speed[w, a], motion.acceleration[w, a], motion.lateral[w, a] = proposal.speed[w, a], ZERO, ZERO
    motion.steer[w, a], motion.jerk[w, a], motion.side_jerk[w, a] = ZERO, ZERO, ZERO

    body.length[w, a], body.width[w, a] = proposal.length[w, a], proposal.width[w, a]
    seed, moment, kind = clock.seed, clock.tick[w], proposal.kind[w, a]
    throttle, steer, acc, vel = draws(seed, w, a, moment, BODY, 1)
    acc = kinds.acceleration[kind] * spread(acc, p.acc_spread)
    vel = kinds.speed[kind] * spread(vel, p.vel_spread)
    body.kind[w, a] = kind
    body.c_throttle[w, a] = by_hand(spread(throttle, p.throttle_spread), seed, w, a, moment, C_THROTTLE, overrides)
    body.c_steer[w, a] = by_hand(spread(steer, p.steer_spread), seed, w, a, moment, C_STEER, overrides)
    body.c_acc[w, a] = by_hand(acc, seed, w, a, moment, C_ACC, overrides)
    body.c_vel[w, a] = by_hand(vel, seed, w, a, moment, C_VEL, overrides)
    blind, phantom, _, _ = draws(seed, w, a, moment, ERRATIC, 0)
    erratic = (INATTENTIVE if blind < p.inattentive else 0) | (PHANTOM if phantom < p.phantom else 0)
    rows.erratic[w, a] = erratic if rows.driver[w, a] == POLICY else 0  # rule-based drivers don't err

    lane_position.section[w, a], lane_position.fraction[w, a], lane_position.offset[w, a] = (
        proposal.section[w, a],
        HALF,
        ZERO,
    )
    lane_position.cos[w, a], lane_position.angle[w, a], lane_position.stood[w, a] = ONE, ZERO, -1
    rows.status[w, a] = LIVE
    rows.steps[w, a], rows.score[w, a] = 0, ZERO
    rows.episode[w, a] += 1
    goals.routes[w, a], goals.gained[w, a] = 0, ZERO
    add_noise(w, a, clock, rows, pose, motion, perceived, p)
    lane_routes.goal[w, a] = -1  # what was measured may be another world's
    condition(w, a, clock, reward_weights, overrides, p)
    plan(w, a, clock, goals, lane_position, variant, network, p)
