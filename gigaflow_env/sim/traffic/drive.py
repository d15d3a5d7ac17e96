"""Rule-based traffic: drivers that follow their route, keep their lane and their distance, obey lights and take turns.

They drive the same bicycle as everybody else: what they decide becomes jerks, without the bounds of the action set but with
all of the vehicle's. Three ideas make them:

- *Look along the route.* From lane to lane towards the goal, for as far as it takes to stop: curves, limits, red lights,
  stop signs and the goal bound the speed; the first body in the way, a wreck too, is followed by the Intelligent Driver
  Model, and never so fast that one could not stop behind it.
- *Take turns.* Lanes that share their place (right_of_way.py) are entered one at a time: by who is so near that it could not
  stop, then by who is nearest. Nobody enters without room behind the junction, or at red. Everybody says first what it
  is about to do (`intend`), and then acts on what the others said (`follow`): all see the same, so one goes.
- *Change lanes where the route says so*, if nobody is beside or comes from behind.

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

_STRIDE = i32(2)  # sections from one look at the road ahead to the next: 2 m of the map
_STEPS = 200  # looks at most
_MARGIN = f32(0.3)  # m, free space to the side of what is not in the way
_STOP_GAP = f32(0.8)  # m, from the front to a line
_LEADER_BRAKE = f32(5.0)  # m/s^2, what others may brake with
_SAFE_GAP = f32(0.3)  # m, the same when one has to brake hard for it
_PATIENCE = f32(0.7)  # share of the speed limit at which one who wants another lane waits for room beside
_CRAWL = f32(3.0)  # m/s: a leader that is slower may stop behind the junction


@rule
def drift(aside, slope, distance, preview):
    """How far [m] to the left of a line one is after `distance` [m].

    Now `aside`, heading away from it by `slope`, on an arc that meets it after `preview`. Who begins to change lanes, or
    thinks better of it, is in its old one for a while.
    """
    share = min(distance / preview, ONE)
    return (aside + slope * share * preview) - (aside + slope * preview) * share * share


@rule
def pursuit(ahead, left):
    """Curvature [1/m] of the arc through a point of the own frame. Source: Coulter 1992."""
    return TWO * left / max(ahead * ahead + left * left, ONE)


@stage
def around(w, a, reach, rows, pose, close):
    """Number of those within `reach` [m] who are in the way, wrecks too; who they are is put into `close`."""
    x, y, count = pose.x[w, a], pose.y[w, a], i32(0)
    for b in range(rows.status.shape[1]):
        dx, dy = pose.x[w, b] - x, pose.y[w, b] - y
        if b != a and rows.status[w, b] >= LIVE and dx * dx + dy * dy < reach * reach:
            close[count] = u32(b)
            count = i32(count + i32(1))
    return count


@stage
def leader_at(w, a, distance, shift, section, count, close, pose, motion, body, variant, network):
    """The nearest body in the way at a section `distance` [m] ahead, where the own path lies `shift` [m] to its left.

    (gap [m] between the bumpers, FAR where there is none; its speed [m/s] along the road).
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
        if before < ZERO:  # it looks after the one before it
            continue
        free_way = distance + ahead - long - half_length
        if free_way < gap:
            gap, speed = free_way, max(motion.speed[w, b] * cos, ZERO)
    return gap, speed


@stage
def say_nothing(w, a, traffic):
    """What a row without a driver is about to do. Writes: traffic, except yielded."""
    traffic.next[w, a], traffic.inside[w, a], traffic.stop[w, a], traffic.priority[w, a] = i32(-1), i32(-1), FAR, FAR
    traffic.gap[w, a], traffic.front[w, a], traffic.may_enter[w, a], traffic.committed[w, a] = FAR, ZERO, False, False
    traffic.cap[w, a], traffic.brake[w, a], traffic.curvature[w, a] = ZERO, ZERO, ZERO


@stage
def intend(
    w, a, clock, rows, pose, motion, body, lane_position, goals, lights, neighbours, variant, network, conflicts, traffic, p
):
    """Look along the route: how fast may one be, where to steer, which junction comes next.

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
    scale = lane_stretch(w, variant, row)  # metres of the world for one of the map on the lane looked at
    here_x, here_y, here_cos, here_sin, _ = seat(w, variant, network, section)
    _, aside = into_frame(x - here_x, y - here_y, here_cos, here_sin)
    _, slope = into_frame(cos, sin, here_cos, here_sin)
    lag = TWO * p.dt * speed  # until the steering shows
    front = s * scale + half_length
    cap = min(p.speed_max * body.c_vel[w, a], row.speed * (_PATIENCE if held else ONE))
    passed, k = -s * scale, i32(section - row.first)  # way from here to the start of the lane; number of the section on it
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
        # The goal may lie on the lane that ends here; the final one is passed slowly.
        goal_way = passed + goal_s * scale
        if final and lane == goal_lane and goal_way > ZERO:
            cap = min(cap, stopping_speed(goal_way - ONE, f32(0.8) * p.goal_speed, p))
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
    goal_way = passed + goal_s * scale
    if final and lane == goal_lane and goal_way > ZERO:
        cap = min(cap, stopping_speed(goal_way - ONE, f32(0.8) * p.goal_speed, p))

    if leader_gap < FAR:
        # A leader will be as far as it needs to stop: is there room behind the junction by then?
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
    """What a rule-based driver does, as jerks. Writes: motion.jerk, motion.side_jerk, traffic.yielded."""
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
