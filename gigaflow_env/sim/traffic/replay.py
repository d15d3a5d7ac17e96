"""Recorded scenes: how they begin, and the driver that follows a recorded track.

A scene's world is as old as it has to be to end with the scene: so `score` truncates in its last step, and no world needs a
length of its own. Rows that are controlled are LIVE: they act, or follow their track, and are judged either way. All others
that follow a track are PLAYED.
"""

import math

from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.sim.collision import boxes_met, edges_met
from gigaflow_env.sim.geometry import HALF, LEVEL_GAP, ONE, ZERO, atan, clip, into_frame
from gigaflow_env.sim.goals import aim
from gigaflow_env.sim.lanes import locate
from gigaflow_env.sim.noise import add_noise
from gigaflow_env.sim.reset import condition
from gigaflow_env.sim.rewards import GOAL_RADIUS
from gigaflow_env.sim.variant import set_variant
from gigaflow_env.state import ABSENT, ENDED, FROZEN, IDM, LIVE, OFF_ROAD, OVERLAPS, PLAYED, REPLAY, WAITING

_SLOW = f32(0.5)  # m/s: below this a curvature from speed and yaw rate says nothing
_WAY_RADIUS = f32(12.0)  # m: a rule-based driver that passes a way-point on the lane beside has reached it; ours


@rule
def moment(w, clock, tracks, p):
    """Number of the scene's moment that world w shows, 0 when it starts."""
    return i32(clock.step[w] - (p.world_steps - tracks.steps[w]))


@rule
def steering(speed, turning, wheelbase, p):
    """Steering angle [rad] of the bicycle model for a yaw rate [rad/s]; 0 for a body that hardly moves."""
    if abs(speed) < _SLOW:
        return ZERO
    return clip(atan(clip(turning / speed * wheelbase, -ONE, ONE)), -p.steer_max, p.steer_max)


@stage
def begin_scene(w, clock, lights, variant, tracks, p):
    """World w begins its scene. Writes: clock.step, clock.agents, clock.map, lights.red, variant."""
    clock.step[w] = i32(p.world_steps - tracks.steps[w])
    clock.map[w] = i32(w) if tracks.steps[w] > 0 else i32(0)
    clock.agents[w] = clock.room[w]
    set_variant(w, variant, ONE, ZERO, ZERO, ONE)
    for k in range(lights.red.shape[1]):
        lights.red[w, k] = ZERO


@stage
def place_on_track(w, a, t, pose, motion, body, tracks):
    """Put a row where it was at moment t. Writes: pose.x, y, z, cos, sin, motion.speed, body.length, width."""
    pose.x[w, a], pose.y[w, a], pose.z[w, a] = tracks.x[w, t, a], tracks.y[w, t, a], tracks.z[w, t, a]
    pose.cos[w, a], pose.sin[w, a] = tracks.cos[w, t, a], tracks.sin[w, t, a]
    motion.speed[w, a] = tracks.speed[w, t, a]
    body.length[w, a], body.width[w, a] = tracks.length[w, t, a], tracks.width[w, t, a]


@stage
def hold_old_pose(w, a, pose):
    """The pose before this step is that of now. Writes: pose.old_x, old_y, old_cos, old_sin."""
    pose.old_x[w, a], pose.old_y[w, a] = pose.x[w, a], pose.y[w, a]
    pose.old_cos[w, a], pose.old_sin[w, a] = pose.cos[w, a], pose.sin[w, a]


@stage
def leave_scene(w, a, rows, pose, motion, events, p):
    """Whoever's episode ended is gone until the scene ends; with on_crash="freeze" who crashed is a wreck until then.

    Writes: rows.status, steps, pose.old_x, old_y, old_cos, old_sin, motion.speed.
    """
    if rows.status[w, a] != ENDED:
        return
    wreck = p.crash_freezes != 0 and (events.collision[w, a] or events.offroad[w, a])
    rows.status[w, a] = FROZEN if wreck else ABSENT
    if wreck:
        rows.steps[w, a] = 0
        hold_old_pose(w, a, pose)
        motion.speed[w, a] = ZERO


@stage
def follow_track(w, a, clock, rows, pose, motion, body, tracks, p):
    """A row with a track moves to the next moment of it: it appears, goes on, or vanishes.

    Writes: rows.status, pose, motion, body.length, width.
    """
    if rows.driver[w, a] != REPLAY:
        return
    motion.distance[w, a] = ZERO
    t, status, judged = i32(moment(w, clock, tracks, p) + i32(1)), rows.status[w, a], tracks.judged[w, a]
    here = status == LIVE or status == PLAYED
    # A controlled row that isn't seen waits; if its episode has ended, it doesn't come back.
    if t > tracks.steps[w] or not (here or status == (WAITING if judged else ABSENT)):
        return
    if not tracks.seen[w, t, a]:
        rows.status[w, a] = WAITING if judged else ABSENT
        return
    rows.status[w, a] = LIVE if judged else PLAYED
    hold_old_pose(w, a, pose)
    before, acceleration, lateral = motion.speed[w, a], motion.acceleration[w, a], motion.lateral[w, a]
    place_on_track(w, a, t, pose, motion, body, tracks)
    speed = motion.speed[w, a]
    if not here:
        hold_old_pose(w, a, pose)
        motion.acceleration[w, a], motion.lateral[w, a], motion.steer[w, a] = ZERO, ZERO, ZERO
        motion.jerk[w, a], motion.side_jerk[w, a] = ZERO, ZERO
        return
    dx, dy = pose.x[w, a] - pose.old_x[w, a], pose.y[w, a] - pose.old_y[w, a]
    motion.distance[w, a] = f32(math.sqrt(dx * dx + dy * dy))
    _, sine = into_frame(pose.cos[w, a], pose.sin[w, a], pose.old_cos[w, a], pose.old_sin[w, a])
    turning = sine / p.dt
    motion.acceleration[w, a], motion.lateral[w, a] = (speed - before) / p.dt, speed * turning
    motion.steer[w, a] = steering(speed, turning, p.wheelbase * body.length[w, a], p)
    motion.jerk[w, a] = (motion.acceleration[w, a] - acceleration) / p.dt
    motion.side_jerk[w, a] = (motion.lateral[w, a] - lateral) / p.dt


@stage
def enter(
    w, a, clock, rows, pose, motion, body, lane_position, goals, reward_weights, overrides, lane_routes, variant, perceived,
    network, grid, tracks, p,
):  # fmt: skip
    """A row of a world that begins: its agent is as it was recorded, and the recorded way is its route.

    Writes: rows, pose, motion, except distance, body, lane_position, goals, reward_weights, lane_routes.goal, perceived.
    """
    rows.driver[w, a], rows.erratic[w, a] = tracks.driver[w, a], 0
    rows.steps[w, a], rows.score[w, a], rows.status[w, a] = 0, ZERO, ABSENT
    if tracks.steps[w] == 0 or not tracks.there[w, a]:
        return
    plays = rows.driver[w, a] == REPLAY and not tracks.judged[w, a]
    body.kind[w, a], body.c_vel[w, a], body.c_acc[w, a] = tracks.kind[w, a], tracks.top[w, a], tracks.brisk[w, a]
    body.c_throttle[w, a], body.c_steer[w, a] = ONE, ONE
    place_on_track(w, a, 0, pose, motion, body, tracks)
    hold_old_pose(w, a, pose)
    speed, turning = motion.speed[w, a], tracks.turning[w, a]
    steer = steering(speed, turning, p.wheelbase * body.length[w, a], p)
    motion.acceleration[w, a] = clip(tracks.acceleration[w, a], -p.brake_max, p.throttle_max * body.c_acc[w, a])
    motion.lateral[w, a], motion.steer[w, a] = clip(speed * turning, -p.lateral_max, p.lateral_max), steer
    motion.jerk[w, a], motion.side_jerk[w, a] = ZERO, ZERO
    if plays:
        if tracks.seen[w, 0, a]:
            rows.status[w, a] = PLAYED
            add_noise(w, a, clock, rows, pose, motion, perceived, p)
        return
    rows.status[w, a] = LIVE
    rows.episode[w, a] += 1
    count = tracks.goals[w, a]
    for k in range(count):
        goals.x[w, a, k], goals.y[w, a, k] = tracks.goal_x[w, a, k], tracks.goal_y[w, a, k]
        goals.section[w, a, k] = tracks.goal_section[w, a, k]
    goals.count[w, a], goals.next[w, a], goals.routes[w, a], goals.gained[w, a] = count, 0, 1, ZERO
    lane_position.section[w, a], lane_position.stood[w, a] = tracks.section[w, a], -1
    locate(w, a, clock, rows, pose, goals, variant, network, grid, lane_position)
    aim(w, a, clock, goals, lane_position, variant, network)
    lane_routes.goal[w, a] = -1  # measured anew: the old distances may be those of another map
    condition(w, a, clock, reward_weights, overrides, p)
    if rows.driver[w, a] == IDM and not tracks.judged[w, a]:
        reward_weights.coefficients[w, a, GOAL_RADIUS] = _WAY_RADIUS
    add_noise(w, a, clock, rows, pose, motion, perceived, p)


@stage
def find_start_conflict(w, a, clock, rows, pose, body, variant, network, grid, tracks):
    """Whether a controlled row starts inside of another box, or over the edge of the road. Writes: tracks.conflict."""
    overlaps, off_road = False, False
    if rows.status[w, a] == LIVE and tracks.judged[w, a]:
        for b in range(rows.status.shape[1]):
            if b == a or rows.status[w, b] < LIVE or abs(pose.z[w, b] - pose.z[w, a]) >= LEVEL_GAP:
                continue
            dx, dy = pose.x[w, b] - pose.x[w, a], pose.y[w, b] - pose.y[w, a]
            far = HALF * (body.length[w, a] + body.width[w, a] + body.length[w, b] + body.width[w, b])
            if dx * dx + dy * dy < far * far and boxes_met(w, a, b, pose, body):
                overlaps = True
        off_road = edges_met(
            w, variant, grid, network.maps[clock.map[w]],
            pose.x[w, a], pose.y[w, a], pose.z[w, a], pose.cos[w, a], pose.sin[w, a],
            pose.x[w, a], pose.y[w, a], HALF * body.length[w, a], HALF * body.width[w, a],
        )  # fmt: skip
    tracks.conflict[w, a] = (OVERLAPS if overlaps else 0) + (OFF_ROAD if off_road else 0)


@stage
def show_recorded(w, k, clock, lights, tracks, p):
    """Light `k` shows what was recorded, and in the end what it showed last. Writes: lights.colour."""
    t = min(max(moment(w, clock, tracks, p), i32(0)), tracks.steps[w])
    lights.colour[w, k] = tracks.light[w, t, k]
