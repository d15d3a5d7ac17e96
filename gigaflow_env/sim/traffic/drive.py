"""Rule-based traffic: drivers that follow their route, keep their lane and their distance, obey lights and take turns.

They drive the same bicycle as everybody else: what they decide becomes jerks, without the bounds of the action set but with
all of the vehicle's. Three ideas make them:

- *Look along the route.* From lane to lane towards the goal, for as far as it takes to stop: curves, limits, red lights,
  stop signs and the goal bound the speed; the first body in the way, a wreck too, is followed by the Intelligent Driver
  Model, and never so fast that one could not stop behind it.
- *Take turns.* Lanes that share their place (roads/compiled/conflict_zones.py) are entered one at a time: by who is so near that it could
  not stop, then by who is nearest. Nobody enters without room behind the junction, or at red. Everybody says first what it
  is about to do (`intend`), and then acts on what the others said (`follow`): all see the same, so one goes.
- *Change lanes where the route says so*, if nobody is beside or comes from behind.

Sources: Treiber, Hennecke, Helbing, Phys. Rev. E 62 (2000) 1805 (IDM); Gipps, Transp. Res. B 15 (1981) 105 (safe speed);
Coulter, CMU-RI-TR-92-01 (pure pursuit). Ours: the rule of turns.
"""

import math

from gigaflow_env.jit import f32, i32, rule, stage, u32
from gigaflow_env.roads.compiled.tables import LANE_CHANGE_COST, UNREACHABLE
from gigaflow_env.sim.dynamics import hold_zero
from gigaflow_env.sim.geometry import EPSILON, HALF, LEVEL_GAP, ONE, TWO, ZERO, clip, into_frame
from gigaflow_env.sim.lanes import FAR, place_s, route_distance
from gigaflow_env.sim.lights import shown
from gigaflow_env.sim.variant import curved, lane_stretch, to_world, turned
from gigaflow_env.state import IDM, LIVE, OFF, POLICY, RED, YELLOW

_CHANGE_COST = f32(LANE_CHANGE_COST)
_REACHABLE = f32(UNREACHABLE / 2)
_STRIDE = i32(2)  # sections from one look at the road ahead to the next: 2 m of the map
_STEPS = 200  # looks at most
_MARGIN = f32(0.3)  # m, free space to the side of what is not in the way
_STOP_GAP = f32(0.8)  # m, from the front to a line
_LEADER_BRAKE = f32(5.0)  # m/s^2, what others may brake with
_SURE_BRAKE = f32(4.0)  # m/s^2: who would have to brake harder than this to stop before a junction drives on
_GUARD_BRAKE = f32(4.0)  # m/s^2, with which the distance to a leader is always enough
_SLOW = f32(0.5)  # m/s: who is slower and has no rules may not mean to go
_TRACK = f32(0.6)  # s, in which a wrong speed is corrected
_SAFE_GAP = f32(0.3)  # m, the same when one has to brake hard for it
_TIDY = f32(1e-3)  # m/s: standing
_PREVIEW, _PREVIEW_LEAST = f32(0.9), f32(3.5)  # s, m: how far ahead the point lies to which one steers
_CHANGE, _CHANGE_LEAST = f32(2.0), f32(8.0)  # the same while changing lanes: gentler
_IN_JUNCTION = f32(1000.0)  # m, by which who is in a junction already is nearer to its next lane than anybody else
_PATIENCE = f32(0.7)  # share of the speed limit at which one who wants another lane waits for room beside
_CRAWL = f32(3.0)  # m/s: a leader that is slower may stop behind the junction
_ASIDE = f32(1.5)  # s, in which somebody who moves sideways comes into a lane


@rule
def free(speed, cap, p):
    """Acceleration [m/s^2] without anybody ahead: towards `cap` [m/s], gently from below. Source: IDM."""
    share = speed / max(cap, EPSILON)
    share = share * share
    gentle = p.idm_acceleration * (ONE - share * share)
    return min(gentle, (cap - speed) / _TRACK)


@rule
def behind(speed, gap, leader_speed, p):
    """Acceleration [m/s^2] that the Intelligent Driver Model takes off for a leader: gap [m] between the bumpers."""
    closing = speed * (speed - leader_speed) / (TWO * f32(math.sqrt(p.idm_acceleration * p.idm_deceleration)))
    wanted = p.idm_gap + max(speed * p.idm_headway + closing, ZERO)
    share = wanted / max(gap, HALF * HALF)
    return p.idm_acceleration * share * share


@rule
def safe_speed(gap, leader_speed, p):
    """Speed [m/s] from which one stops behind a leader that brakes as hard as it can. Source: Gipps 1981.

    Two steps pass until one's own brake bites: acceleration that changes its sign rests at 0 for a step.
    """
    delay = TWO * p.dt * _GUARD_BRAKE
    room = max(gap, ZERO) + leader_speed * leader_speed / (TWO * _LEADER_BRAKE)
    return f32(math.sqrt(delay * delay + TWO * _GUARD_BRAKE * room)) - delay


@rule
def stopping_speed(distance, end_speed, p):
    """Speed [m/s] from which gentle braking over `distance` [m] leads to `end_speed`."""
    return f32(math.sqrt(end_speed * end_speed + TWO * p.idm_deceleration * max(distance, ZERO)))


@rule
def delay(acceleration, brake, p):
    """Time [s] that is lost until the brake bites: an acceleration is the mean of a step, and rests at 0 for one when its
    sign changes."""
    if acceleration > ZERO:
        return p.dt * (ONE + HALF)
    return HALF * p.dt * (ONE + max(acceleration, -brake) / brake)


@rule
def stopping_distance(speed, acceleration, brake, p):
    """Way [m] to rest when braking with `brake` from now on."""
    fastest = speed + HALF * max(acceleration, ZERO) * p.dt
    return fastest * delay(acceleration, brake, p) + fastest * fastest / (TWO * brake)


@rule
def needed_brake(speed, acceleration, distance, p):
    """Braking [m/s^2] that it takes to come to rest within a distance [m]."""
    fastest = speed + HALF * max(acceleration, ZERO) * p.dt
    room = max(distance - fastest * delay(acceleration, p.brake_max, p), HALF * HALF)
    return fastest * fastest / (TWO * room)


@rule
def curve_speed(curvature, p):
    """Speed [m/s] at which a curve is comfortable."""
    return f32(math.sqrt(p.idm_lateral / max(abs(curvature), f32(1e-4))))


@rule
def drift(aside, slope, distance, preview):
    """How far [m] to the left of a line one is after `distance` [m]: now `aside`, heading away from it by `slope`, on an arc
    that meets it after `preview`. Who begins to change lanes, or thinks better of it, is in its old one for a while."""
    share = min(distance / preview, ONE)
    return (aside + slope * share * preview) - (aside + slope * preview) * share * share


@rule
def pursuit(ahead, left):
    """Curvature [1/m] of the arc through a point of the own frame. Source: Coulter 1992."""
    return TWO * left / max(ahead * ahead + left * left, ONE)


@rule
def to_jerk(wanted, now, coefficient, p):
    """Jerk that brings an acceleration from `now` to `wanted` in one step; over the 0 where it shall be 0 exactly."""
    over = wanted
    if wanted == ZERO and now != ZERO:
        over = -now * f32(0.01)
    return (over - now) / (coefficient * p.dt)


@rule
def no_reverse(wanted, speed, acceleration, p):
    """The wanted acceleration [m/s^2], but not below what lets the vehicle come to rest without rolling back.

    `left` is the speed after a step in which the acceleration falls to 0: braking by no more than left / dt leaves a next
    step that ends at exactly 0.
    """
    left = speed + HALF * acceleration * p.dt
    if left < _TIDY and wanted <= ZERO:
        return ZERO
    return max(wanted, -left / p.dt)


@rule
def goes_first(gap, number, other_gap, other_number):
    """Whether the other is nearer to the junction: a total order, so that exactly one of two goes first."""
    return other_gap < gap or (other_gap == gap and other_number < number)


@rule
def same_start(network, lane, other):
    """Whether two lanes branch off the same place of the map."""
    a, b = network.sections[network.lanes[lane].first], network.sections[network.lanes[other].first]
    return (a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y) < ONE


@rule
def quad_of(row, s):
    """The quad `s` metres of the map down a lane."""
    return i32(row.first + clip(i32(s / row.step), i32(0), i32(row.quads - i32(1))))


@rule
def seat(w, variant, network, section):
    """A section as it is in the world: (x, y, cos, sin, gain of its direction)."""
    at = network.sections[section]
    x, y = to_world(w, variant, at.x, at.y)
    cos, sin, gain = turned(w, variant, at.cos, at.sin)
    return x, y, cos, sin, gain


@rule
def lane_length(w, variant, network, lane):
    """Length [m] of a lane in the world."""
    return network.lanes[lane].length * lane_stretch(w, variant, network.lanes[lane])


# In what follows `s` is a place: metres of the map, as in `route_distance`. Ways are metres of the world.


@rule
def onward(w, variant, network, map_row, lane, s, goal_lane, goal_s):
    """Way [m] from `s` on a lane to the goal without a lane change on this lane; about UNREACHABLE where there is none."""
    row = network.lanes[lane]
    if lane == goal_lane and goal_s >= s:
        return (goal_s - s) * lane_stretch(w, variant, row)
    best = FAR
    for k in range(row.successors_at, row.successors_at + row.successors):
        best = min(
            best,
            route_distance(
                w, variant, network, map_row.route_at, map_row.lanes, network.successors[k], ZERO, goal_lane, goal_s
            ),
        )
    return (row.length - s) * lane_stretch(w, variant, row) + best


@rule
def next_lane(w, variant, network, map_row, lane, settled, goal_lane, goal_s):
    """The successor from which the way to the goal is shortest, or `settled` if it is one; -1 where the lane ends."""
    row = network.lanes[lane]
    best, found = FAR * TWO, i32(-1)
    for k in range(row.successors_at, row.successors_at + row.successors):
        successor = network.successors[k]
        length = route_distance(w, variant, network, map_row.route_at, map_row.lanes, successor, ZERO, goal_lane, goal_s)
        length = -ONE if successor == settled else length
        if length < best:
            best, found = length, i32(successor)
    return found


@rule
def wished_lane(w, variant, network, map_row, lane, s, goal_lane, goal_s):
    """The neighbour lane from which the way to the goal is shorter, or this lane. Where one can change later, one does."""
    row = network.lanes[lane]
    best, found = onward(w, variant, network, map_row, lane, s, goal_lane, goal_s) - ONE, i32(lane)
    for side in range(2):
        other = row.left if side == 0 else row.right
        if other >= 0:
            there = s * network.lanes[other].length / row.length
            length = (
                route_distance(w, variant, network, map_row.route_at, map_row.lanes, other, there, goal_lane, goal_s)
                + _CHANGE_COST
            )
            if length < best:
                best, found = length, i32(other)
    return found


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
def room_beside(w, a, section, count, close, pose, motion, body, variant, network, p):
    """Whether agent a may move over to the lane of `section`, beside it: nobody is, or soon will be, in its way there."""
    z = network.sections[section].z
    x, y, along_x, along_y, _ = seat(w, variant, network, section)
    speed, half_length, half_width = motion.speed[w, a], HALF * body.length[w, a], HALF * body.width[w, a]
    for k in range(count):
        b = i32(close[k])
        if abs(pose.z[w, b] - z) > LEVEL_GAP:
            continue
        ahead, left = into_frame(pose.x[w, b] - x, pose.y[w, b] - y, along_x, along_y)
        cos, sin = into_frame(pose.cos[w, b], pose.sin[w, b], along_x, along_y)
        other_speed = motion.speed[w, b]
        long = half_length + HALF * (body.length[w, b] * abs(cos) + body.width[w, b] * abs(sin))
        wide = half_width + HALF * (body.length[w, b] * abs(sin) + body.width[w, b] * abs(cos)) + _MARGIN
        aside = left + other_speed * sin * _ASIDE
        if min(left, aside) > wide or max(left, aside) < -wide:
            continue
        closing = speed - other_speed * cos
        front = p.idm_gap + HALF * max(speed, ZERO) + max(closing, ZERO) * TWO
        back = p.idm_gap + HALF * max(other_speed, ZERO) + max(-closing, ZERO) * TWO
        if -(long + back) < ahead < long + front:
            return False
    return True


@stage
def choose_lane(
    w, a, settled, goal_lane, goal_s, count, close, pose, motion, body, lane_position, variant, network, map_row, p
):  # fmt: skip
    """Where it drives: (section, s, preview [m], whether it would rather be on another lane, whether it has to wait for it).

    Where the route wants another lane it is followed on that one, if there is room.
    """
    speed, section = max(motion.speed[w, a], ZERO), lane_position.section[w, a]
    lane, s = network.sections[section].lane, place_s(network, section, lane_position.fraction[w, a])
    preview = max(_PREVIEW * speed, _PREVIEW_LEAST)
    if settled >= 0 and settled != lane and same_start(network, lane, settled):
        # Lanes that branch lie on each other at first: its place says where its goal is, not where it's going.
        lane, section = settled, quad_of(network.lanes[settled], s)
    wished = wished_lane(w, variant, network, map_row, lane, s, goal_lane, goal_s)
    held = wished != lane
    if held:
        row = network.lanes[lane]
        there = s * network.lanes[wished].length / row.length
        beside, change = quad_of(network.lanes[wished], there), max(_CHANGE * speed, _CHANGE_LEAST)
        x, y, along_x, along_y, _ = seat(w, variant, network, beside)
        _, aside = into_frame(pose.x[w, a] - x, pose.y[w, a] - y, along_x, along_y)
        # Who is half way over there needs half of the way: it must not turn back for want of the rest.
        to_go = min(abs(aside) / (TWO * network.sections[beside].half_width), ONE)
        fits = (row.length - s) * lane_stretch(w, variant, row) > change * to_go
        if fits and room_beside(w, a, beside, count, close, pose, motion, body, variant, network, p):
            lane, s, section, held, preview = wished, there, beside, False, change
    # Without room, and without another way to the goal, one waits before the lane's end.
    waits = held and onward(w, variant, network, map_row, lane, s, goal_lane, goal_s) > _REACHABLE
    return section, s, preview, held, waits


@stage
def leader_at(w, a, distance, shift, section, count, close, pose, motion, body, variant, network):
    """The nearest body in the way at a section `distance` [m] ahead, where the own path lies `shift` [m] to its left: (gap
    [m] between the bumpers, FAR where there is none; its speed [m/s] along the road)."""
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
def stop_lines(w, a, lane, line, motion, lane_position, lights, network, conflicts, p):
    """What the lines before a lane, `line` [m] ahead of the front, ask for: (whether one has to stop, speed [m/s]).

    A stop sign is red until one has stood at it.
    """
    speed = max(motion.speed[w, a], ZERO)
    can_stop = stopping_distance(speed, motion.acceleration[w, a], p.brake_max, p) < line
    red, cap = False, FAR
    for k in range(conflicts.stops_at[lane], conflicts.stops_at[lane + i32(1)]):
        number = conflicts.stops[k]
        light = network.stops[number].light
        colour = shown(w, a, number, light, lane_position, lights, p)
        if colour == RED or (colour == YELLOW and can_stop):
            red = True
        elif light >= 0 and colour != OFF:
            # So slowly that, when it turns yellow, one can either stop or pass before it's red.
            yellow = max(p.light_yellow_low - p.dt - HALF * p.dt, p.dt)
            cap = min(cap, stopping_speed(line - yellow * speed, TWO * p.brake_max * yellow, p))
    return red, cap


@stage
def settled_lane(w, a, rows, traffic):
    """The lane to which it goes whatever its goal is by now: that of who can't stop any more or is inside with its front;
    else -1."""
    if rows.steps[w, a] == 0:
        return i32(-1)
    if traffic.committed[w, a] and traffic.next[w, a] >= 0:
        return traffic.next[w, a]
    return traffic.inside[w, a]


@stage
def say_nothing(w, a, traffic):
    """What a row without a driver is about to do. Writes: traffic, except held."""
    traffic.next[w, a], traffic.inside[w, a], traffic.stop[w, a], traffic.priority[w, a] = i32(-1), i32(-1), FAR, FAR
    traffic.gap[w, a], traffic.front[w, a], traffic.may_enter[w, a], traffic.committed[w, a] = FAR, ZERO, False, False
    traffic.cap[w, a], traffic.brake[w, a], traffic.curvature[w, a] = ZERO, ZERO, ZERO


@stage
def announce(w, a, target, gap, blocked, waiting, rows, motion, lane_position, network, conflicts, traffic, p):
    """Say which lane with conflicts comes next, and whether one could enter it. Writes: traffic.next, gap, turn, claims,
    sure."""
    speed = max(motion.speed[w, a], ZERO)
    # Whoever is in a roundabout goes on, and before those who want to enter: else it fills up, and nobody can leave.
    within = conflicts.within[network.sections[lane_position.section[w, a]].lane]
    blocked = blocked and not within
    traffic.next[w, a], traffic.gap[w, a] = target, gap
    traffic.priority[w, a] = gap - _IN_JUNCTION if within else gap
    if target >= 0:
        slow = rows.driver[w, a] == POLICY and speed < _SLOW
        traffic.may_enter[w, a] = not (blocked or waiting or slow)
        # Who gives way is not sure for the reason that it stops late.
        brake = p.brake_max if traffic.yielded[w, a] else _SURE_BRAKE
        traffic.committed[w, a] = gap < stopping_distance(speed, motion.acceleration[w, a], brake, p) and not waiting


@stage
def intend(
    w, a, clock, rows, pose, motion, body, lane_position, goals, lights, neighbours, variant, network, conflicts, traffic, p
):
    """Look along the route: how fast may one be, where to steer, which junction comes next.

    Writes: traffic, except held, neighbours.scratch.
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


@rule
def passed(w, b, conflict, body, variant, network, traffic):
    """Whether the rear of b, whose front is in the other lane of a conflict, has left the common part."""
    rear = traffic.front[w, b] - body.length[w, b]
    return rear > conflict.other_leave * lane_length(w, variant, network, conflict.lane)


@stage
def crossing_gap(w, a, rows, body, variant, network, conflicts, traffic):
    """Way [m] from the front of an agent inside a junction lane to a part of it that somebody else comes to first."""
    lane, front, gap = traffic.inside[w, a], traffic.front[w, a], FAR
    first, last = conflicts.at[lane], conflicts.at[lane + i32(1)]
    if first == last:
        return gap
    length = lane_length(w, variant, network, lane)
    for b in range(rows.status.shape[1]):
        if b == a or rows.status[w, b] != LIVE:
            continue
        for k in range(first, last):
            other = conflicts.rows[k]
            if traffic.inside[w, b] == other.lane and not passed(w, b, other, body, variant, network, traffic):
                mine = other.enter * length - front
                its = other.other_enter * lane_length(w, variant, network, other.lane) - traffic.front[w, b]
                if mine > ZERO and goes_first(mine, i32(a), its, i32(b)):
                    gap = min(gap, mine)
    return gap


@stage
def yields(w, a, rows, body, lane_position, variant, network, conflicts, traffic):
    """Whether somebody else is in the junction lane that comes next, or enters before agent a does.

    A wreck takes no turn: it is in the way where it lies, see `leader_at`.
    """
    target, turn, sure = traffic.next[w, a], traffic.priority[w, a], traffic.committed[w, a]
    for b in range(rows.status.shape[1]):
        if b == a or rows.status[w, b] != LIVE:
            continue
        on, next_ = network.sections[lane_position.section[w, b]].lane, traffic.next[w, b]
        front = traffic.inside[w, b]
        for k in range(conflicts.at[target], conflicts.at[target + i32(1)]):
            other = conflicts.rows[k]
            if on == other.lane:
                s = place_s(network, lane_position.section[w, b], lane_position.fraction[w, b])
                rear = s * lane_stretch(w, variant, network.lanes[on]) - HALF * body.length[w, b]
                if rear < other.other_leave * lane_length(w, variant, network, on):
                    return True
            if front == other.lane and on != other.lane and not passed(w, b, other, body, variant, network, traffic):
                return True
            if next_ == other.lane:
                first = goes_first(turn, i32(a), traffic.priority[w, b], i32(b))
                if traffic.committed[w, b] and (not sure or first):
                    return True
                if traffic.may_enter[w, b] and not sure and first:
                    return True
    return False


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
