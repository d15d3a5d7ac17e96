"""Spawning: a waiting agent proposes a lane position, conflicts between proposals are resolved, and it spawns.

Three stages, each independent of the order of the agents: `propose` for all, `resolve_spawns` for all, `spawn` for all.
"""

import math

from gigaflow_env.config import CHOICES
from gigaflow_env.config import CONDITIONING as COEFFICIENTS
from gigaflow_env.jit import alone, by_one, f32, i32, lowest_bit, rule, stage, u32, u64
from gigaflow_env.packs import EIGHT, bits_of, chosen, eight_from, words_of_bytes
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
from gigaflow_env.state import ABSENT, ENDED, FROZEN, LIVE, POLICY, WAITING

LENGTH, WIDTH, C_THROTTLE, C_STEER, C_ACC, C_VEL = range(len(COEFFICIENTS), len(CHOICES))
_COEFFICIENTS = len(COEFFICIENTS)
_BY_HAND = 100  # numbers of the draws from ranges that were set by hand
_BESIDE = f32(0.5)  # m, free distance at the sides of a spawning agent
_LANE_ROOM = f32(0.3)  # m, by which a lane is at least wider than an agent that spawns on it
_EDGE_ROOM = f32(0.1)  # m, free distance to the edge of the road


@rule
def start_speed(u, speed_limit, curvature, p):
    """Speed [m/s] at which an agent spawns, from a unit draw.

    At most spawn_speed, the speed limit, and what a curve permits at half of the largest lateral acceleration.
    """
    curve = f32(math.sqrt(HALF * p.lateral_max / max(abs(curvature), EPSILON)))
    return u * min(p.spawn_speed, min(speed_limit, curve))


@rule
def in_the_way(ahead, left, cos, sin, half_length, half_width, speed, other_length, other_width, other_speed, p):
    """Whether another agent is too near to spawn: it is at (ahead, left) [m], turned by (cos, sin).

    The gap ahead and behind must be enough for the rear one to brake at half of the full deceleration. Lengths and widths
    are half extents [m].
    """
    beside = half_width + other_length * abs(sin) + other_width * abs(cos) + _BESIDE
    room = half_length + other_length * abs(cos) + other_width * abs(sin) + p.spawn_gap
    own_brake, other_brake = speed * speed / p.brake_max, other_speed * other_speed / p.brake_max
    before = room + own_brake + (other_brake if cos < ZERO else ZERO)
    behind = room + (other_brake if cos > ZERO else ZERO)
    return abs(left) < beside and -behind < ahead < before


@rule
def by_hand(drawn, seed, w, a, tick, choice, overrides):
    """A value from the range that was set by hand, or `drawn` if there is none."""
    low, high = overrides.low[w, a, choice], overrides.high[w, a, choice]
    if not low <= high:  # nan
        return drawn
    u, _, _, _ = draws(seed, w, a, tick, CONDITIONING, i32(choice + _BY_HAND))
    return between(u, low, high)


@stage
def end_episode(w, a, rows, pose, motion, events, p):
    """An agent whose episode ended waits to spawn; with on_crash="freeze" a crashed one becomes a wreck first.

    With on_crash="leave" its row is empty until the world ends, however its episode ended.

    Writes: rows.status, steps, pose.old_x, old_y, old_cos, old_sin, motion.speed.
    """
    if rows.status[w, a] != ENDED:
        return
    if p.ended_leave != 0:
        rows.status[w, a] = ABSENT
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
    """A waiting agent draws its body and a pose to spawn at. Writes: proposal, except free.

    Source: arXiv 2502.03349, section 2: length and width are uniform, the width at most the length (A). Ours: no body is
    wider than the lane, or wide bodies would never spawn on a map of narrow lanes.
    """
    if rows.status[w, a] != WAITING:
        return
    seed, tick, map_row = clock.seed, clock.tick[w], network.maps[clock.map[w]]
    where, fast, _, _ = draws(seed, w, a, tick, PLACE, attempt)
    length, width, who, _ = draws(seed, w, a, tick, BODY, 0)

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
    length = by_hand(length, seed, w, a, tick, LENGTH, overrides)
    width = by_hand(width, seed, w, a, tick, WIDTH, overrides)
    proposal.length[w, a], proposal.width[w, a] = length, min(width, min(length, TWO * half_width - _LANE_ROOM))


@stage
def resolve_spawns(w, a, clock, rows, pose, motion, body, proposal, variant, network, grid, p):
    """Whether the pose that the agent proposed is free. Writes: proposal.free.

    It is if no agent on the road and no proposal of an agent with a lower number is too near, and if the box does not touch
    the edges of the road, as a long one may do in a bend.
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
    if alone():
        judge_by_others(w, a, own_room, rows, pose, motion, body, proposal, p)
        return
    for b in range(rows.status.shape[1]):
        if takes_place(w, a, b, own_room, rows, pose, motion, body, proposal, p):
            return
    proposal.free[w, a] = True


@rule
def closer_than(dx, dy, dz, own_room, length, width, speed, p):
    """Whether another agent, or its proposal, may be in the way in any direction. Also of packs."""
    far = own_room + TWO * (HALF * length + HALF * width) + speed * speed / p.brake_max
    # On a ramp the height changes within the gap.
    return (abs(dz) <= TWO * LEVEL_GAP) & (dx * dx + dy * dy <= far * far)


@rule
def takes_place(w, a, b, own_room, rows, pose, motion, body, proposal, p):
    """Whether agent b, on the road or with a proposal and a lower number, is in the way of what agent a proposes."""
    if rows.status[w, b] >= LIVE:
        bx, by, bz, bc, bs = pose.x[w, b], pose.y[w, b], pose.z[w, b], pose.cos[w, b], pose.sin[w, b]
        length, width, speed = body.length[w, b], body.width[w, b], motion.speed[w, b]
    elif rows.status[w, b] == WAITING and b < a:
        bx, by, bz = proposal.x[w, b], proposal.y[w, b], proposal.z[w, b]
        bc, bs = proposal.cos[w, b], proposal.sin[w, b]
        length, width, speed = proposal.length[w, b], proposal.width[w, b], proposal.speed[w, b]
    else:
        return False
    dx, dy, cos, sin = bx - proposal.x[w, a], by - proposal.y[w, a], proposal.cos[w, a], proposal.sin[w, a]
    if not closer_than(dx, dy, bz - proposal.z[w, a], own_room, length, width, speed, p):
        return False
    ahead, left = into_frame(dx, dy, cos, sin)
    c, s = into_frame(bc, bs, cos, sin)
    half_length, half_width = HALF * proposal.length[w, a], HALF * proposal.width[w, a]
    return in_the_way(
        ahead, left, c, s, half_length, half_width, proposal.speed[w, a], HALF * length, HALF * width, speed, p
    )  # fmt: skip


@by_one()
def judge_by_others(w, a, own_room, rows, pose, motion, body, proposal, p):
    """Whether nobody takes the place that agent a proposes, for one who is alone. Writes: proposal.free.

    Who is close enough to be looked at is found EIGHT at a time: most are far away.
    """
    status, agents = rows.status[w], rows.status.shape[1]
    x, y, z = proposal.x[w, a], proposal.y[w, a], proposal.z[w, a]
    at_once = agents - agents % EIGHT
    for first in range(0, at_once, EIGHT):
        its = words_of_bytes(status, first)
        drives = its >= i32(LIVE)
        bx = chosen(drives, eight_from(pose.x[w], first), eight_from(proposal.x[w], first))
        by = chosen(drives, eight_from(pose.y[w], first), eight_from(proposal.y[w], first))
        bz = chosen(drives, eight_from(pose.z[w], first), eight_from(proposal.z[w], first))
        length = chosen(drives, eight_from(body.length[w], first), eight_from(proposal.length[w], first))
        width = chosen(drives, eight_from(body.width[w], first), eight_from(proposal.width[w], first))
        speed = chosen(drives, eight_from(motion.speed[w], first), eight_from(proposal.speed[w], first))
        left = bits_of((its >= i32(WAITING)) & closer_than(bx - x, by - y, bz - z, own_room, length, width, speed, p))
        while left != 0:
            b = u32(u32(first) + u32(lowest_bit(left)))
            left &= u64(left - u64(1))
            if takes_place(w, a, b, own_room, rows, pose, motion, body, proposal, p):
                return
    for b in range(at_once, agents):
        if takes_place(w, a, b, own_room, rows, pose, motion, body, proposal, p):
            return
    proposal.free[w, a] = True


@stage
def condition(w, a, clock, reward_weights, overrides, p):
    """Draw the reward coefficients. Writes: reward_weights."""
    seed, tick, c = clock.seed, clock.tick[w], reward_weights.coefficients[w, a]
    u0, u1, u2, u3 = draws(seed, w, a, tick, CONDITIONING, 0)
    c[GOAL_RADIUS] = between(u0, p.goal_radius_low, p.goal_radius_high)
    c[COLLISION] = between(u1, p.collision_low, p.collision_high)
    c[OFFROAD] = between(u2, p.offroad_low, p.offroad_high)
    c[COMFORT] = between(u3, p.comfort_low, p.comfort_high)
    u0, u1, u2, u3 = draws(seed, w, a, tick, CONDITIONING, 1)
    c[LANE_ALIGN] = between(u0, p.lane_align_low, p.lane_align_high)
    c[VELOCITY_ALIGN] = between(u1, p.velocity_align_low, p.velocity_align_high)
    c[LANE_CENTER] = between(u2, p.lane_center_low, p.lane_center_high)
    c[CENTER_BIAS] = between(u3, p.center_bias_low, p.center_bias_high)
    u0, u1, u2, u3 = draws(seed, w, a, tick, CONDITIONING, 2)
    c[VELOCITY] = between(u0, p.velocity_low, p.velocity_high)
    c[REVERSE] = between(u1, p.reverse_low, p.reverse_high)
    c[STOP_LINE] = between(u2, p.stop_line_low, p.stop_line_high)
    c[TIMESTEP] = between(u3, p.timestep_low, p.timestep_high)
    u0, _, _, _ = draws(seed, w, a, tick, CONDITIONING, 3)
    c[PROGRESS] = between(u0, p.progress_low, p.progress_high)
    for k in range(_COEFFICIENTS):
        c[k] = by_hand(c[k], seed, w, a, tick, k, overrides)


@stage
def spawn(
    w, a, clock, rows, pose, motion, body, lane_position, goals, reward_weights, overrides, proposal, lane_routes, kinds,
    variant, perceived, network, p
):  # fmt: skip
    """An agent whose proposed pose is free begins its episode there.

    Writes: rows, except driver, pose, motion, body, lane_position, goals, reward_weights, lane_routes.goal, perceived.
    """
    if rows.status[w, a] != WAITING or not proposal.free[w, a]:
        return
    x, y, cos, sin = proposal.x[w, a], proposal.y[w, a], proposal.cos[w, a], proposal.sin[w, a]
    pose.x[w, a], pose.y[w, a], pose.z[w, a] = x, y, proposal.z[w, a]
    pose.cos[w, a], pose.sin[w, a] = cos, sin
    pose.old_x[w, a], pose.old_y[w, a], pose.old_cos[w, a], pose.old_sin[w, a] = x, y, cos, sin

    # All but the distance: the step returns that of the episode that ended in it.
    motion.speed[w, a], motion.acceleration[w, a], motion.lateral[w, a] = proposal.speed[w, a], ZERO, ZERO
    motion.steer[w, a], motion.jerk[w, a], motion.side_jerk[w, a] = ZERO, ZERO, ZERO

    body.length[w, a], body.width[w, a] = proposal.length[w, a], proposal.width[w, a]
    seed, tick, kind = clock.seed, clock.tick[w], proposal.kind[w, a]
    throttle, steer, acc, vel = draws(seed, w, a, tick, BODY, 1)
    acc = kinds.acceleration[kind] * spread(acc, p.acc_spread)
    vel = kinds.speed[kind] * spread(vel, p.vel_spread)
    body.kind[w, a] = kind
    body.c_throttle[w, a] = by_hand(spread(throttle, p.throttle_spread), seed, w, a, tick, C_THROTTLE, overrides)
    body.c_steer[w, a] = by_hand(spread(steer, p.steer_spread), seed, w, a, tick, C_STEER, overrides)
    body.c_acc[w, a] = by_hand(acc, seed, w, a, tick, C_ACC, overrides)
    body.c_vel[w, a] = by_hand(vel, seed, w, a, tick, C_VEL, overrides)
    blind, phantom, _, _ = draws(seed, w, a, tick, ERRATIC, 0)
    erratic = (INATTENTIVE if blind < p.inattentive else 0) | (PHANTOM if phantom < p.phantom else 0)
    rows.erratic[w, a] = erratic if rows.driver[w, a] == POLICY else 0  # rule-based drivers are never erratic

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
    lane_routes.goal[w, a] = -1  # measured anew: the old distances may be those of another map or variant
    condition(w, a, clock, reward_weights, overrides, p)
    plan(w, a, clock, goals, lane_position, variant, network, p)
