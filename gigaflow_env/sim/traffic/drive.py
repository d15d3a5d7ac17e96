"""Rule-based traffic: drivers that follow their route, keep their lane and their distance, obey lights and take turns.

They drive the same bicycle model as all agents: their decisions become jerks. The bounds of the action set do not apply to
them, those of the vehicle do. Three rules:

- *Look ahead along the route.* Curves, speed limits, red lights, stop signs and the goal bound the speed, on the lanes
  towards the goal within the stopping distance. The first body in the path, a wreck too, is followed by the Intelligent
  Driver Model, at no more than the speed from which the driver can stop behind it.
- *Take turns.* Lanes that overlap (right_of_way.py) are entered by one agent at a time: first by one that can no longer
  stop, then by the nearest. No driver enters at red, or without room behind the junction. All drivers first announce their
  intention (`intend`), then act on those of the others (`follow`). All use the same information, so exactly one goes.
- *Change lanes where the route needs it*, if no agent is beside or comes from behind.

Sources: Treiber, Hennecke, Helbing, Phys. Rev. E 62 (2000) 1805 (IDM); Gipps, Transp. Res. B 15 (1981) 105 (safe speed);
Coulter, CMU-RI-TR-92-01 (pure pursuit). Ours: the rule of turns.
"""

from gigaflow_env.jit import f32, i32, rule, stage, u32
from gigaflow_env.sim.dynamics import hold_zero
from gigaflow_env.sim.geometry import HALF, LEVEL_GAP, ONE, TWO, ZERO, clip, into_frame
from gigaflow_env.sim.lanes import FAR, place_s
from gigaflow_env.sim.traffic.car_following import (
    behind,
    curve_speed,
    free,
    needed_brake,
    no_reverse,
    safe_speed,
    stopping_speed,
    to_jerk,
)  # fmt: skip
from gigaflow_env.sim.traffic.lane_choice import choose_lane, lane_length, next_lane, seat
from gigaflow_env.sim.traffic.right_of_way import announce, crossing_gap, settled_lane, stop_lines, yields
from gigaflow_env.sim.variant import curved, lane_stretch, to_world
from gigaflow_env.state import IDM, LIVE

_STRIDE = i32(2)  # sections from one sample of the road ahead to the next: 2 m of the map
_STEPS = 200  # samples at most
_MARGIN = f32(0.3)  # m, free distance at the sides
_STOP_GAP = f32(0.8)  # m, from the front to a line
_LEADER_BRAKE = f32(5.0)  # m/s^2, the hardest braking expected of a leader
_SAFE_GAP = f32(0.3)  # m, from the front to a line after hard braking
_PATIENCE = f32(0.7)  # share of the speed limit at which a driver that needs another lane waits for room there
_CRAWL = f32(3.0)  # m/s: a slower leader may stop behind the junction


@rule
def drift(aside, slope, distance, preview):
    """Lateral offset [m] from a line, left positive, after `distance` [m] on the arc that pure pursuit drives.

    aside: offset [m] now. slope: sine of the heading relative to the line. preview: distance [m] at which the arc meets the
    line. A driver that begins a lane change, or aborts it, still is in its old lane for a while.
    """
    share = min(distance / preview, ONE)
    return (aside + slope * share * preview) - (aside + slope * preview) * share * share


@rule
def pursuit(ahead, left):
    """Curvature [1/m] of the arc through a point (ahead, left) [m] of the own frame. Source: Coulter 1992."""
    return TWO * left / max(ahead * ahead + left * left, ONE)


@stage
def around(w, a, reach, rows, pose, close):
    """Number of agents on the road, and wrecks, within `reach` [m]; their numbers are written to `close`."""
    x, y, count = pose.x[w, a], pose.y[w, a], i32(0)
    for b in range(rows.status.shape[1]):
        dx, dy = pose.x[w, b] - x, pose.y[w, b] - y
        if b != a and rows.status[w, b] >= LIVE and dx * dx + dy * dy < reach * reach:
            close[count] = u32(b)
            count = i32(count + i32(1))
    return count


@stage
def leader_at(w, a, distance, shift, section, count, close, pose, motion, body, variant, network):
    """The nearest body in the own path at a section `distance` [m] ahead: (gap [m], speed [m/s] along the road).

    The gap is between the bumpers, FAR if there is none. The own path lies `shift` [m] to the left of the section.
    """
    x, y, along_x, along_y, gain = seat(w, variant, network, section)
    stride, z = f32(_STRIDE) * gain, network.sections[section].z
    half_length, half_width = HALF * body.length[w, a], HALF * body.width[w, a]
    gap, speed = FAR, ZERO
    for k in range(count):
        b = i32(close[k])
        if abs(pose.z[w, b] - z) > LEVEL_GAP:
            continue
        ahead, left = into_frame(pose.x[w, b] - x, pose.y[w, b] - y, along_x, along_y)
        reach = HALF * (body.length[w, b] + body.width[w, b])
        if abs(ahead) > reach + stride or abs(left - shift) > reach + half_width + _MARGIN:
            continue
        cos, sin = into_frame(pose.cos[w, b], pose.sin[w, b], along_x, along_y)
        long = HALF * (body.length[w, b] * abs(cos) + body.width[w, b] * abs(sin))
        wide = HALF * (body.length[w, b] * abs(sin) + body.width[w, b] * abs(cos))
        if abs(ahead) > long + HALF * stride or abs(left - shift) > wide + half_width + _MARGIN:
            continue
        before, _ = into_frame(pose.x[w, b] - pose.x[w, a], pose.y[w, b] - pose.y[w, a], pose.cos[w, a], pose.sin[w, a])
        if before < ZERO:  # it is behind, and keeps its own distance
            continue
        free_distance = distance + ahead - long - half_length
        if free_distance < gap:
            gap, speed = free_distance, max(motion.speed[w, b] * cos, ZERO)
    return gap, speed


@stage
def say_nothing(w, a, traffic):
    """The intention of a row without a live agent: none. Writes: traffic, except yielded."""
    traffic.next[w, a], traffic.inside[w, a], traffic.stop[w, a], traffic.priority[w, a] = i32(-1), i32(-1), FAR, FAR
    traffic.gap[w, a], traffic.front[w, a], traffic.may_enter[w, a], traffic.committed[w, a] = FAR, ZERO, False, False
    traffic.cap[w, a], traffic.brake[w, a], traffic.curvature[w, a] = ZERO, ZERO, ZERO


@stage
def intend(
    w, a, clock, rows, pose, motion, body, lane_position, goals, lights, neighbours, variant, network, conflicts, traffic, p
):
    """Look ahead along the route: highest speed, curvature to steer, next junction.

    Writes: traffic, except yielded, neighbours.scratch.
    """
    settled = settled_lane(w, a, rows, traffic)
    say_nothing(w, a, traffic)
    if rows.status[w, a] != LIVE:
        return
    map_row = network.maps[clock.map[w]]
    x, y, cos, sin, speed = pose.x[w, a], pose.y[w, a], pose.cos[w, a], pose.sin[w, a], max(motion.speed[w, a], ZERO)
    half_length = HALF * body.length[w, a]
    goal_section, final = goals.section[w, a, goals.next[w, a]], goals.next[w, a] == goals.count[w, a] - i32(1)
    goal_lane, goal_s = network.sections[goal_section].lane, place_s(network, goal_section, HALF)

    horizon = f32(15.0) + TWO * speed + speed * speed / (TWO * p.idm_deceleration)
    close = neighbours.scratch[w, min(a, neighbours.scratch.shape[1] - 1)]
    count = around(w, a, horizon + f32(25.0), rows, pose, close)
    section, s, preview, held, waits = choose_lane(
        w, a, settled, goal_lane, goal_s, count, close, pose, motion, body, lane_position, variant, network, map_row, p
    )
    lane = network.sections[section].lane
    row = network.lanes[lane]
    scale = lane_stretch(w, variant, row)  # metres of the world per metre of the map, on the lane under examination
    here_x, here_y, here_cos, here_sin, _ = seat(w, variant, network, section)
    _, aside = into_frame(x - here_x, y - here_y, here_cos, here_sin)
    _, slope = into_frame(cos, sin, here_cos, here_sin)
    lag = TWO * p.dt * speed  # distance until steering has an effect
    front = s * scale + half_length
    cap = min(p.speed_max * body.c_vel[w, a], row.speed * (_PATIENCE if held else ONE))
    passed, k = -s * scale, i32(section - row.first)  # distance from here to the start of the lane; section on the lane
    steer_x, steer_y, steered = x + cos * preview, y + sin * preview, False
    target, gap, room_from, blocked, waiting, stop = i32(-1), FAR, FAR, False, False, FAR
    leader_gap, leader_speed = FAR, ZERO
    limit = horizon
    for _ in range(_STEPS):
        distance = passed + f32(k) * row.step * scale
        if distance > limit:
            break
        number = i32(row.first + k)
        at = network.sections[number]
        if distance >= ZERO:
            curve = curve_speed(curved(w, variant, at.curvature, at.cos, at.sin), p)
            cap = min(cap, stopping_speed(distance, min(curve, row.speed), p))
        if not steered and distance >= preview:
            steer_x, steer_y = to_world(w, variant, at.x, at.y)
            steered = True
        if leader_gap >= FAR:
            shift = drift(aside, slope, max(distance - lag, ZERO), preview)
            leader_gap, leader_speed = leader_at(
                w, a, distance, shift, number, count, close, pose, motion, body, variant, network
            )
        if leader_gap < FAR and target >= 0:
            break
        k = i32(k + _STRIDE)
        if k < row.quads:
            continue
        # The goal may be on the lane that ends here. The final goal counts only below goal_speed.
        goal_distance = passed + goal_s * scale
        if final and lane == goal_lane and goal_distance > ZERO:
            cap = min(cap, stopping_speed(goal_distance - ONE, f32(0.8) * p.goal_speed, p))
        end = passed + row.length * scale
        line = end - half_length
        follower = next_lane(w, variant, network, map_row, lane, settled, goal_lane, goal_s)
        if follower < 0 or (waits and line > ZERO):
            stop = min(stop, line)
            break
        if line > ZERO:
            red, slowly = stop_lines(w, a, follower, line, motion, lane_position, lights, network, conflicts, p)
            stop, waiting, cap = min(stop, line) if red else stop, waiting or red, min(cap, slowly)
        if conflicts.at[follower + i32(1)] > conflicts.at[follower]:
            if line <= ZERO:
                traffic.inside[w, a], traffic.front[w, a] = follower, -line
            elif target < 0:
                target, gap = follower, line
                room_from = end + lane_length(w, variant, network, follower)
                limit = max(limit, room_from + TWO * half_length + f32(6.0))
        k = i32(k - row.quads)
        lane, passed, row = follower, end, network.lanes[follower]
        scale = lane_stretch(w, variant, row)
    goal_distance = passed + goal_s * scale
    if final and lane == goal_lane and goal_distance > ZERO:
        cap = min(cap, stopping_speed(goal_distance - ONE, f32(0.8) * p.goal_speed, p))

    if leader_gap < FAR:
        # Will there be room behind the junction when the leader has stopped?
        stands = leader_gap + half_length + leader_speed * leader_speed / (TWO * _LEADER_BRAKE)
        blocked = target >= 0 and leader_speed < _CRAWL and stands < room_from + TWO * half_length + p.idm_gap
        traffic.brake[w, a] = behind(speed, leader_gap, leader_speed, p)
        cap = min(cap, safe_speed(leader_gap - HALF, leader_speed, p))
    traffic.cap[w, a], traffic.stop[w, a] = max(cap, ZERO), stop
    ahead, left = into_frame(steer_x - x, steer_y - y, cos, sin)
    traffic.curvature[w, a] = pursuit(ahead, left)
    announce(w, a, target, gap, blocked, waiting, rows, motion, lane_position, network, conflicts, traffic, p)
    if traffic.inside[w, a] < 0:
        traffic.inside[w, a], traffic.front[w, a] = network.sections[section].lane, front


@stage
def follow(w, a, rows, motion, body, lane_position, variant, network, conflicts, traffic, p):
    """The jerks of a rule-based driver. Writes: motion.jerk, motion.side_jerk, traffic.yielded."""
    if rows.status[w, a] != LIVE or rows.driver[w, a] != IDM:
        return
    speed, acceleration, cap = motion.speed[w, a], motion.acceleration[w, a], traffic.cap[w, a]
    stop = min(traffic.stop[w, a], crossing_gap(w, a, rows, body, variant, network, conflicts, traffic))
    traffic.yielded[w, a] = False
    if traffic.next[w, a] >= 0:
        free_to_go = traffic.may_enter[w, a] or traffic.committed[w, a]
        if not free_to_go or yields(w, a, rows, body, lane_position, variant, network, conflicts, traffic):
            stop = min(stop, traffic.gap[w, a])
            traffic.yielded[w, a] = True
    cap = min(cap, stopping_speed(stop - _STOP_GAP - HALF * speed * p.dt, ZERO, p))
    wanted = free(speed, cap, p)
    wanted = min(wanted, free(speed, max(cap, ONE), p) - traffic.brake[w, a]) if traffic.brake[w, a] > ZERO else wanted
    needed = needed_brake(speed, acceleration, stop - _SAFE_GAP, p)
    wanted = min(wanted, -needed) if needed > p.idm_deceleration else wanted
    wanted = clip(wanted, -p.brake_max, p.throttle_max * body.c_acc[w, a])
    wanted = no_reverse(wanted, speed, acceleration, p)
    jerk = to_jerk(wanted, acceleration, body.c_throttle[w, a], p)

    reached = hold_zero(wanted, acceleration)
    next_speed = max(speed + HALF * (reached + acceleration) * p.dt, ZERO)
    lateral = clip(traffic.curvature[w, a] * next_speed * next_speed, -p.lateral_max, p.lateral_max)
    motion.jerk[w, a] = jerk
    motion.side_jerk[w, a] = to_jerk(lateral, motion.lateral[w, a], body.c_steer[w, a], p)
