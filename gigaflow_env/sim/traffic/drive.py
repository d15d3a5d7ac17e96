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

from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.roads.compiled.tables import NO_WAY_BACK
from gigaflow_env.sim.dynamics import hold_zero
from gigaflow_env.sim.geometry import (
    HALF,
    ONE,
    TWO,
    ZERO,
    clip,
    into_frame,
)
from gigaflow_env.sim.lanes import FAR, place_s
from gigaflow_env.sim.traffic.car_following import (
    LEADER_BRAKE,
    STANDS,
    TIDY,
    WALK,
    behind,
    free,
    needed_brake,
    no_reverse,
    safe_speed,
    stopping_speed,
    to_jerk,
)  # fmt: skip
from gigaflow_env.sim.traffic.curves import slow_for_curves
from gigaflow_env.sim.traffic.cycles import BACK, CYCLE_TIME, ENDS, MAKES_ROOM, NO_TURN, STAY, YIELD, turn_of
from gigaflow_env.sim.traffic.lane_choice import PREVIEW_LEAST, change_room, choose_lane, lane_length, next_lane, seat
from gigaflow_env.sim.traffic.leader import find_leader
from gigaflow_env.sim.traffic.others import STRIDE, around, last_sample, sample_distance
from gigaflow_env.sim.traffic.right_of_way import (
    announce,
    crossing_gap,
    goes_first,
    in_conflict,
    settled_lane,
    stop_lines,
    yields,
)
from gigaflow_env.sim.traffic.room import NEAR, back_room, blocks, obstacle, room_behind, sharpest
from gigaflow_env.sim.variant import curved, lane_stretch
from gigaflow_env.state import ELSEWHERE, IDM, LIVE

_LANES = 200  # at most
_STOP_GAP = f32(0.8)  # m, from the front to a line
_SAFE_GAP = f32(0.3)  # m, from the front to a line after hard braking
_PATIENCE = f32(0.7)  # share of the speed limit at which a driver that needs another lane waits for room there
_CRAWL = f32(3.0)  # m/s: a slower leader may stop behind the junction
# Sine of the angle to the lane above which a driver slows to walking pace, until it heads along it: in lane changes, else.
_SKEW, _SKEW_NEAR = f32(0.35), f32(0.15)
_LEVEL = f32(0.02)  # 1/m: less is no bend
_INWARD = f32(1 / 16)  # of squared length times curvature: a box so far inside of a bend sweeps as much on both sides
_SIDE = f32(0.1)  # m, left free at the side of the lane by that
_STRAIGHT = f32(0.05)  # m, far less than MARGIN
_BACK_FOR, _BACK_SPEED = f32(6.0), f32(1.2)  # s, m/s: how long and how fast a driver backs up: 7 m
_HOLD = f32(10.0)  # s, for which it then stands, so that whom it backed up for can pass
_TRIED, _TRY, _WIDER = f32(60.0), f32(15.0), f32(2.0)  # s, s, m: after so long, in turns of that, so much farther
_CLEAR_FOR = f32(4.5)  # s, for which it goes on when it has left a narrow lane: a car's length
_TURN_FOR = f32(3.0)  # s, for which a driver backs up that would leave the road
_ACROSS = f32(0.3)  # rad: who stands so much across its lane looks at the edge of the road
_EDGE, _EDGE_BRAKE, _REACTION = f32(0.3), f32(4.0), f32(0.6)  # m, m/s^2, s: room to it, how it brakes for that, and when
_NO_WAY_BACK = f32(NO_WAY_BACK)
_BACK_TIME = f32(0.6)  # s, in which that speed is reached
_BACK_LEAST = f32(3.0)  # m: room behind that is needed to begin to back up
_GETS_ON = f32(5.0)  # m/s: who drives so fast no longer waits
_FORGETS = i32(10)  # steps of waiting, that a step at less than that forgets, but not at a crawl
_GIVES_UP = f32(45.0)  # s: who has stood for so long before a lane change drives elsewhere
_LET_IN = f32(30.0)  # m: who waits so near ahead for a lane change is let in


@rule
def pursuit(ahead, left):
    """Curvature [1/m] of the arc through a point (ahead, left) [m] of the own frame. Source: Coulter 1992."""
    return TWO * left / max(ahead * ahead + left * left, ONE)


@rule
def backwards(aside, slope, curvature):
    """Curvature [1/m] with which a car that backs up comes onto a line of this curvature, within some metres.

    aside: its offset from the line [m], left positive. slope: sine of its heading relative to the line.
    """
    return curvature + TWO * (slope * _BACK_LEAST - aside) / (_BACK_LEAST * _BACK_LEAST)


@rule
def wider(stood, speed):
    """By how much [m] the point that is steered to is farther for a driver at walking pace that has stood for so long [s].

    Who comes too near to the edge of the road backs up and tries again: in every second try with a wider bend.
    """
    return _WIDER if speed < WALK + STANDS and stood > _TRIED and i32(stood / _TRY) % i32(2) == i32(0) else ZERO


@rule
def skewed(slope, bend, preview):
    """Whether a driver heads so much across its line, by the sine `slope` of the angle, that it must slow down to turn back.

    More where the point that is steered to is near: it comes to its line sooner than its wheels turn back. bend: curvature
    [1/m] of the line here; in a bend, to which it heads otherwise, that says nothing.
    """
    near = preview <= PREVIEW_LEAST and abs(bend) < _LEVEL
    return abs(slope) > (_SKEW_NEAR if near else _SKEW)


@rule
def road_end(conflicts, lane, row, passed, scale):
    """Distance [m] to where a lane that leads nowhere ends, or becomes too narrow for a car; FAR if it leads on.

    passed: distance [m] to its start. scale: metres of the world per metre of the map.
    """
    return passed + conflicts.usable[lane] * row.length * scale if row.successors == 0 else FAR


@stage
def head_on(w, a, b, pose):
    """Whether agent b, which may be none, comes towards agent a."""
    return b >= 0 and b != a and pose.cos[w, a] * pose.cos[w, b] + pose.sin[w, a] * pose.sin[w, b] < ZERO


@stage
def in_narrow(w, b, lane_position, network, conflicts):
    """Whether agent b, which may be none, is on a narrow lane."""
    return b >= 0 and conflicts.narrow[network.sections[lane_position.section[w, b]].lane]


@stage
def faces(w, a, b, pose, lane_position, network, conflicts, traffic):
    """Whether agents a and b, which may be none, come towards each other where they can't pass.

    Where one comes out of a narrow lane that the other wants to turn into, no matter at which angle they meet.
    """
    if b < 0 or b == a:
        return False
    lane, other = network.sections[lane_position.section[w, a]].lane, network.sections[lane_position.section[w, b]].lane
    if conflicts.retreat[lane] < ZERO and conflicts.retreat[other] < ZERO:
        return False
    if conflicts.narrow[lane] or conflicts.narrow[other]:
        if in_conflict(conflicts, lane, other) or in_conflict(conflicts, other, lane):
            return True
        # Its front is enough to be in the way.
        front, other_front = traffic.inside[w, a], traffic.inside[w, b]
        if (front >= 0 and in_conflict(conflicts, front, other)) or (
            other_front >= 0 and in_conflict(conflicts, other_front, lane)
        ):
            return True
    return head_on(w, a, b, pose)


@stage
def retreat(w, a, lane_position, variant, network, conflicts):
    """Distance [m] that agent a would have to back up until others can pass; 0 where they can already."""
    section = lane_position.section[w, a]
    lane = network.sections[section].lane
    before = conflicts.retreat[lane]
    s = place_s(network, section, lane_position.fraction[w, a])
    return (before + s) * lane_stretch(w, variant, network.lanes[lane]) if before >= ZERO else ZERO


@stage
def retreats(w, a, b, lane_position, variant, network, conflicts):
    """Whether agent a is the one of two facing each other that backs up: who has less far, else the lower number."""
    mine = retreat(w, a, lane_position, variant, network, conflicts)
    its = retreat(w, b, lane_position, variant, network, conflicts)
    return goes_first(its, b, mine, a)


@rule
def backs_up(turn, how):
    """Whether a driver backs up that has its turn, and can end its waiting like this."""
    return turn == MAKES_ROOM or (turn == ENDS and how == BACK)


@rule
def forgotten(still, speed):
    """Steps of waiting that count on for a driver that has waited for `still` steps, and now drives at `speed` [m/s].

    Who creeps or backs up has not got away. On a road where nobody drives fast, getting away takes longer.
    """
    if speed > _GETS_ON:
        return i32(0)
    return max(i32(still - _FORGETS), i32(0)) if speed > _CRAWL else still


@rule
def holding(p):
    """Steps for which a driver stands that has backed up."""
    return i32(_HOLD / p.dt + HALF)


@stage
def let_in(w, a, rows, pose, motion, body, lane_position, network, traffic):
    """Distance [m] from the front of agent a to one ahead that waits to change into its lane, and who; FAR and -1 if none.

    Who has waited longer goes first: so cars of two lanes that become one take turns.
    """
    lane, gap, who, wished = network.sections[lane_position.section[w, a]].lane, FAR, i32(-1), False
    for b in range(rows.status.shape[1]):  # this one vectorises
        wished |= traffic.wish[w, b] == lane
    if not wished:
        return gap, who
    for b in range(rows.status.shape[1]):
        if traffic.wish[w, b] != lane or b == a or rows.status[w, b] != LIVE or abs(motion.speed[w, b]) > _CRAWL:
            continue
        ahead, _ = into_frame(pose.x[w, b] - pose.x[w, a], pose.y[w, b] - pose.y[w, a], pose.cos[w, a], pose.sin[w, a])
        ahead = ahead - HALF * (body.length[w, a] + body.length[w, b])
        if ZERO < ahead < min(gap, _LET_IN) and traffic.still[w, b] > traffic.still[w, a]:
            gap, who = ahead, i32(b)
    return gap, who


@stage
def say_nothing(w, a, traffic):
    """The intention of a row without a live agent: none.

    Writes: traffic, except yielded, except waits_for, except waits_how, except still, except backing.
    """
    traffic.next[w, a], traffic.inside[w, a], traffic.stop[w, a], traffic.priority[w, a] = i32(-1), i32(-1), FAR, FAR
    traffic.gap[w, a], traffic.front[w, a], traffic.may_enter[w, a], traffic.committed[w, a] = FAR, ZERO, False, False
    traffic.cap[w, a], traffic.brake[w, a], traffic.curvature[w, a] = ZERO, ZERO, ZERO
    traffic.leader[w, a], traffic.leader_gap[w, a], traffic.turn[w, a] = i32(-1), FAR, NO_TURN
    traffic.beside[w, a], traffic.wish[w, a], traffic.short[w, a] = i32(-1), i32(-1), False


@stage
def intend(
    w, a, clock, rows, pose, motion, body, lane_position, goals, lights, neighbours, variant, network, conflicts, traffic, p
):
    """Look ahead along the route: highest speed, curvature to steer, next junction.

    Of agents that others drive only what rule-based drivers want to know: not how they would go on themselves.

    Writes: traffic, except yielded, except waits_for, except waits_how, except still, except backing, neighbours.scratch.
    """
    settled, inside, inside_front = settled_lane(w, a, rows, traffic), traffic.inside[w, a], traffic.front[w, a]
    rules = rows.driver[w, a] == IDM
    say_nothing(w, a, traffic)
    if rows.status[w, a] != LIVE:
        return
    stood = ZERO if rows.steps[w, a] == 0 else f32(traffic.still[w, a]) * p.dt
    traffic.turn[w, a] = turn_of(w, a, stood, rows, traffic)
    backs = traffic.backing[w, a] > holding(p) and rows.steps[w, a] > 0
    map_row = network.maps[clock.map[w]]
    x, y, cos, sin, speed = pose.x[w, a], pose.y[w, a], pose.cos[w, a], pose.sin[w, a], max(motion.speed[w, a], ZERO)
    half_length = HALF * body.length[w, a]
    idle = stood if abs(motion.speed[w, a]) < STANDS else ZERO  # who creeps is no bolder for what it has waited
    goal_section, final = goals.section[w, a, goals.next[w, a]], goals.next[w, a] == goals.count[w, a] - i32(1)
    goal_lane, goal_s = network.sections[goal_section].lane, place_s(network, goal_section, HALF)

    wheelbase = p.wheelbase * body.length[w, a]
    tightest = sharpest(body.length[w, a], p)
    horizon = f32(15.0) + TWO * speed + speed * speed / (TWO * p.idm_deceleration)
    sight, close = horizon + f32(25.0), neighbours.scratch[w, min(a, neighbours.scratch.shape[1] - 1)]
    section, s, preview, wished, beside, waits, short = choose_lane(
        w, a, settled, inside, inside_front, idle, backs, tightest, goal_lane, goal_s, sight, close, rows, pose, motion,
        body, lane_position, variant, network, conflicts, map_row, p,
    )  # fmt: skip
    preview += wider(stood, speed)
    held = wished >= 0
    lane = network.sections[section].lane
    row = network.lanes[lane]
    scale = lane_stretch(w, variant, row)  # metres of the world per metre of the map, on the lane under examination
    here_x, here_y, here_cos, here_sin, _ = seat(w, variant, network, section)
    past_here, aside = into_frame(x - here_x, y - here_y, here_cos, here_sin)
    _, slope = into_frame(cos, sin, here_cos, here_sin)
    here = network.sections[section]
    bend_here = curved(w, variant, here.curvature, here.cos, here.sin)
    aside, slope = aside - HALF * bend_here * past_here * past_here, slope - bend_here * past_here
    # Close to the lane's line the own path is the lane.
    strays = abs(aside) + abs(slope) * preview > _STRAIGHT
    own_aside, own_slope = (aside, slope) if strays else (ZERO, ZERO)
    lag = TWO * p.dt * speed  # distance until steering has an effect
    front = s * scale + half_length
    cap = min(p.speed_max * body.c_vel[w, a], row.speed * (_PATIENCE if held else ONE))
    cap = min(cap, WALK) if skewed(slope, bend_here, preview) else cap
    start, first = -s * scale, i32(section - row.first)
    passed, k = start, first  # distance from here to the start of the lane; section on the lane
    inward, aside_most = _INWARD * body.length[w, a] * body.length[w, a], HALF * body.width[w, a] + _SIDE
    steer_x, steer_y, steered, before = x + cos * preview, y + sin * preview, False, motion.steer[w, a] / wheelbase
    target, gap, room_from, blocked, waiting, stop = i32(-1), FAR, FAR, False, False, FAR
    leader_gap, leader_speed, leader = FAR, ZERO, i32(-1)
    if waits:  # where a lane change is still possible: long before the lane's end, where it has a taper
        room = change_room(w, variant, conflicts, row, lane)
        stop = max(passed + conflicts.usable[lane] * row.length * scale - room - HALF, ZERO)
    stop = min(stop, road_end(conflicts, lane, row, passed, scale) - half_length)
    limit = horizon
    # Of those whom others drive only a body on their way to a junction counts. Mostly none comes: they look for that first,
    # and where one comes, once more from here for bodies.
    seeks, listed, count = rules, False, i32(0)
    for _ in range(_LANES):
        if sample_distance(f32(k), passed, row, scale) > limit:
            break
        if seeks and not listed:
            count, listed = around(w, a, sight, True, rows, pose, motion, close), True
        # Of this lane's samples k, k + STRIDE, ..., last, those up to `until` are within the limit.
        last, in_sight = last_sample(k, row.quads), i32((limit - passed) / (row.step * scale))
        until, found, aimed = min(last, last_sample(k, max(in_sight, k) + i32(1))), k, k
        if seeks and count > 0 and leader_gap >= FAR:
            leader_gap, leader_speed, leader, found = find_leader(
                w, a, k, until, passed, row, scale, own_aside, own_slope, preview, lag, count, close, pose, motion, body,
                variant, network,
            )  # fmt: skip
        if rules and not steered:
            while (
                aimed <= until
                and sample_distance(f32(aimed), passed, row, scale) + row.step * scale * f32(STRIDE) <= preview
            ):
                aimed = i32(aimed + STRIDE)
            if aimed <= until:
                # On this lane, though the next sample may lie on the one behind it, which may bend the other way.
                distance = sample_distance(f32(aimed), passed, row, scale)
                on = min(i32(max((preview - distance) / (row.step * scale), ZERO)) + i32(1), i32(row.quads - aimed))
                number = i32(row.first + aimed + on)
                aim = network.sections[number]
                aim_x, aim_y, aim_cos, aim_sin, gain = seat(w, variant, network, number)
                bend = curved(w, variant, aim.curvature, aim.cos, aim.sin)
                if abs(bend_here) > abs(bend) and bend_here * bend >= ZERO:  # the front leaves a bend before the rest does
                    bend = bend_here
                room = max(aim.half_width * abs(variant.det[w]) / gain - aside_most, ZERO)
                side, rest = clip(inward * bend, -room, room), distance + f32(on) * row.step * scale - preview
                steer_x, steer_y = aim_x - rest * aim_cos - side * aim_sin, aim_y - rest * aim_sin + side * aim_cos
                steered = True
        # With somebody in the way to a junction nothing behind matters.
        ends = leader_gap < FAR and target >= 0 and (steered or not rules)
        until = max(found, aimed) if ends else until
        if rules:
            cap, before = slow_for_curves(
                w, k, until, passed, row, scale, cap, before, wheelbase, tightest, preview, variant, network, p
            )
        if ends or until < last:
            break
        k = i32(last + STRIDE)
        # The goal may be on the lane that ends here. The final goal counts only below goal_speed.
        goal_distance = passed + goal_s * scale
        if final and lane == goal_lane and goal_distance > ZERO:
            cap = min(cap, stopping_speed(goal_distance - ONE, f32(0.8) * p.goal_speed, p))
        end = passed + row.length * scale
        line = end - half_length
        follower = next_lane(w, variant, network, conflicts, map_row, lane, settled, goal_lane, goal_s, tightest)
        if follower < 0 or (waits and passed <= ZERO):
            break
        if line > ZERO:
            red, slowly = stop_lines(w, a, follower, line, motion, lane_position, lights, network, conflicts, p)
            stop, waiting, cap = min(stop, line) if red else stop, waiting or red, min(cap, slowly)
        if line <= ZERO:
            traffic.inside[w, a], traffic.front[w, a] = follower, -line
        elif target < 0 and conflicts.at[follower + i32(1)] > conflicts.at[follower]:
            target, gap = follower, line
            room_from = end + lane_length(w, variant, network, follower)
            limit = max(limit, room_from + TWO * half_length + f32(6.0))
        elif target >= 0 and room_from >= end and conflicts.at[follower + i32(1)] > conflicts.at[follower]:
            # The next piece of the same junction: who stops on it is in the way of as many.
            room_from = end + lane_length(w, variant, network, follower)
            limit = max(limit, room_from + TWO * half_length + f32(6.0))
        elif target >= 0 and conflicts.at[follower + i32(1)] > conflicts.at[follower]:
            # A junction behind the next one is announced only inside of that: it must still be able to stop then.
            cap = min(cap, stopping_speed(gap, safe_speed(line - gap, ZERO, p), p))
        elif target < 0 and line < lag and traffic.inside[w, a] < 0 and conflicts.at[lane + i32(1)] == conflicts.at[lane]:
            # Soon its middle is beyond a fork at which nobody is in the way: it takes the branch that it looked at.
            traffic.inside[w, a], traffic.front[w, a] = follower, -line
        again = target >= 0 and not seeks
        k, lane, passed = (first, here.lane, start) if again else (i32(k - row.quads), follower, end)
        seeks = seeks or again
        row = network.lanes[lane]
        scale = lane_stretch(w, variant, row)
        stop = min(stop, road_end(conflicts, lane, row, passed, scale) - half_length)
    goal_distance = passed + goal_s * scale
    if final and lane == goal_lane and goal_distance > ZERO:
        cap = min(cap, stopping_speed(goal_distance - ONE, f32(0.8) * p.goal_speed, p))

    if leader_gap < FAR:
        # Will there be room behind the junction when the leader has stopped?
        stands = leader_gap + half_length + leader_speed * leader_speed / (TWO * LEADER_BRAKE)
        blocked = target >= 0 and leader_speed < _CRAWL and stands < room_from + TWO * half_length + p.idm_gap
        if blocked:  # who crosses is waited for in any case, but takes no room behind the junction
            blocked = not in_conflict(conflicts, target, network.sections[lane_position.section[w, leader]].lane)
        traffic.leader[w, a], traffic.leader_gap[w, a] = leader, leader_gap
        traffic.brake[w, a] = behind(speed, leader_gap, leader_speed, p)
        cap = min(cap, safe_speed(leader_gap - HALF, leader_speed, p))
    traffic.cap[w, a], traffic.stop[w, a] = max(cap, ZERO), stop
    ahead, left = into_frame(steer_x - x, steer_y - y, cos, sin)
    reverses = backs and motion.speed[w, a] < STANDS
    traffic.curvature[w, a] = backwards(aside, slope, bend_here) if reverses else pursuit(ahead, left)
    traffic.beside[w, a], traffic.wish[w, a], traffic.short[w, a] = beside, wished if waits else i32(-1), short
    announce(w, a, target, gap, stood, blocked, waiting, rows, motion, lane_position, network, conflicts, traffic, p)
    if traffic.inside[w, a] < 0:
        traffic.inside[w, a], traffic.front[w, a] = network.sections[section].lane, front


@stage
def wait(
    w, a, clock, stands, giver, how, rows, pose, motion, body, lane_position, variant, network, grid, conflicts, traffic, p
):  # fmt: skip
    """Note because of whom agent a stands, and how it could end that. Returns whether it must stop at once.

    Who would leave the road at walking pace, across its lane, backs up a little, and tries again.

    Writes: traffic.waits_for, waits_how, still, backing.
    """
    fresh = rows.steps[w, a] == 0
    still = i32(0) if fresh else forgotten(traffic.still[w, a], motion.speed[w, a])
    still = i32(still + i32(1)) if stands or traffic.backing[w, a] > 0 else still
    speed, room, met = motion.speed[w, a], FAR, i32(-1)
    within = conflicts.within[network.sections[lane_position.section[w, a]].lane]
    across = -TIDY < speed < TWO * WALK and (
        abs(lane_position.angle[w, a]) > _ACROSS
        or abs(traffic.curvature[w, a]) > sharpest(body.length[w, a], p)
        or (within and f32(still) * p.dt > CYCLE_TIME)  # others may stand in its way, whom it no longer gives way to
    )
    begins = backs_up(traffic.turn[w, a], traffic.waits_how[w, a])  # maybe one that has just begun to drive
    if stands or traffic.backing[w, a] > 0 or across or begins:
        room = room_behind(w, a, rows, pose, motion, body, lane_position, variant, network, conflicts, traffic, p)
    backing, hold = i32(0) if fresh else max(i32(traffic.backing[w, a] - i32(1)), i32(0)), holding(p)
    who, facing = traffic.waits_for[w, a], False
    if backing > 0:
        facing = faces(w, a, who, pose, lane_position, network, conflicts, traffic)
        if backing > hold and (facing or (within and in_narrow(w, who, lane_position, network, conflicts))):
            backing = max(backing, i32(hold + i32(_CLEAR_FOR / p.dt + HALF)))
        elif facing and not retreats(w, a, who, lane_position, variant, network, conflicts):
            backing = i32(0) if backing <= hold else backing  # the other one makes room
        elif facing and room < _BACK_LEAST:  # until those behind have backed up, too
            backing = hold
    if room < back_room(speed, p):
        backing = min(backing, hold)
    elif (backing == 0 or (facing and backing <= hold)) and begins:
        backing = i32(hold + i32(_BACK_FOR / p.dt + HALF))
    if backing > hold or across:
        soon = max(speed + max(motion.acceleration[w, a], ZERO) * _REACTION, ZERO)
        ahead = soon * _REACTION + soon * soon / (TWO * _EDGE_BRAKE) + _EDGE
        back = speed * _REACTION - HALF * HALF * speed * speed - _EDGE
        reach = back if backing > hold else ahead
        met = obstacle(w, a, clock, reach, rows, pose, motion, body, variant, network, grid, traffic, p)
        if backing > hold:  # who stands right before the edge drives forward again, and may back up farther from there
            backing = i32(0) if met == a and stands else min(backing, hold) if met >= 0 else backing
            met = i32(-1)
        elif met == a and room > _BACK_LEAST:
            backing, traffic.waits_for[w, a] = i32(hold + i32(_TURN_FOR / p.dt + HALF)), i32(a)
    if backing == hold:  # for whom it made room holds it, too: that one needs its turn to use it
        who = traffic.waits_for[w, a]
        made_room = who >= 0 and who != a and traffic.turn[w, who] != NO_TURN
        backing = hold if facing or made_room or head_on(w, a, who, pose) else i32(0)
    who, ends = i32(-1), STAY
    if backing > 0:
        who, ends = traffic.waits_for[w, a], BACK if backing > hold or room > _BACK_LEAST else STAY
    elif stands:
        # The body in the path first: as long as it is there, nothing else helps.
        near = met >= 0 or (traffic.leader[w, a] >= 0 and traffic.leader_gap[w, a] < NEAR)
        near = near or faces(w, a, traffic.leader[w, a], pose, lane_position, network, conflicts, traffic)
        if met >= 0:
            who = met
        elif near:
            who = traffic.leader[w, a]
        elif giver >= 0:
            who, ends = giver, how
            if blocks(w, a, clock, giver, rows, pose, motion, body, variant, network, grid, traffic, p):
                ends = STAY  # the right of way is of no use
        elif traffic.beside[w, a] >= 0:
            who = traffic.beside[w, a]
        elif traffic.short[w, a]:
            who = i32(a)
        elif traffic.stop[w, a] > NEAR:  # at a line nobody is to blame
            who = traffic.leader[w, a]
        beside = not near and giver < 0 and traffic.beside[w, a] >= 0 and not traffic.short[w, a]
        if ends == STAY and room > _BACK_LEAST and not beside:
            # In a dead end nobody makes room by backing up: those outside have to.
            firm = conflicts.retreat[network.sections[lane_position.section[w, a]].lane] >= _NO_WAY_BACK
            firm = (firm and who != a) or faces(w, a, who, pose, lane_position, network, conflicts, traffic)
            firm = firm and not retreats(w, a, who, lane_position, variant, network, conflicts)
            ends = STAY if firm else BACK
    traffic.still[w, a], traffic.backing[w, a] = still, backing
    traffic.waits_for[w, a], traffic.waits_how[w, a] = who, i32(ends)
    return met >= 0


@stage
def follow(w, a, clock, rows, pose, motion, body, lane_position, goals, variant, network, grid, conflicts, traffic, p):
    """The jerks of a rule-based driver. One that has waited in vain for a lane change gives its goal up, see `arrive`.

    Writes: motion.jerk, motion.side_jerk, goals.best, traffic.yielded, waits_for, waits_how, still, backing.
    """
    if rows.status[w, a] != LIVE or rows.driver[w, a] != IDM:
        return
    speed, acceleration, cap = motion.speed[w, a], motion.acceleration[w, a], traffic.cap[w, a]
    ends_cycle = traffic.turn[w, a] == ENDS and traffic.waits_how[w, a] == YIELD
    stop, giver = traffic.stop[w, a], i32(-1)
    traffic.yielded[w, a] = False
    if not ends_cycle:
        crossing, who = crossing_gap(w, a, rows, motion, body, variant, network, conflicts, traffic, p)
        if crossing < stop:
            stop, giver = crossing, who
        entering, who = let_in(w, a, rows, pose, motion, body, lane_position, network, traffic)
        if entering < stop and needed_brake(speed, acceleration, entering - p.idm_gap, p) < p.idm_deceleration:
            stop, giver = entering - HALF * p.idm_gap, who
    if traffic.next[w, a] >= 0 and not ends_cycle:
        first = yields(w, a, rows, body, lane_position, variant, network, conflicts, traffic)
        held = not (traffic.may_enter[w, a] or traffic.committed[w, a])
        if held or first >= 0:
            stop = min(stop, traffic.gap[w, a])
            if held:  # for want of room behind the junction, or at red, for which nobody is to blame
                first = traffic.leader[w, a] if traffic.stop[w, a] > traffic.gap[w, a] else i32(-1)
            giver = first
            traffic.yielded[w, a] = True
    stands = abs(speed) < STANDS
    halts = wait(
        w, a, clock, stands, giver, YIELD, rows, pose, motion, body, lane_position, variant, network, grid, conflicts,
        traffic, p,
    )  # fmt: skip
    leads_on = network.lanes[network.sections[lane_position.section[w, a]].lane].successors > 0
    in_vain = f32(traffic.still[w, a]) * p.dt > _GIVES_UP or (stands and traffic.short[w, a] and leads_on)
    if traffic.wish[w, a] >= 0 and in_vain:
        goals.best[w, a] = f32(ELSEWHERE)
    cap = min(cap, stopping_speed(stop - _STOP_GAP - HALF * speed * p.dt, ZERO, p))
    wanted = free(speed, cap, p)
    wanted = min(wanted, free(speed, max(cap, ONE), p) - traffic.brake[w, a]) if traffic.brake[w, a] > ZERO else wanted
    needed = needed_brake(speed, acceleration, stop - _SAFE_GAP, p)
    wanted = min(wanted, -needed) if needed > p.idm_deceleration else wanted
    wanted = clip(wanted, -p.brake_max, p.throttle_max * body.c_acc[w, a])
    if traffic.backing[w, a] > holding(p):
        wanted = clip((-_BACK_SPEED - speed) / _BACK_TIME, -(_EDGE_BRAKE if speed > ZERO else ONE), ONE)
    elif speed < -TIDY:
        wanted = max(-speed / _BACK_TIME, ONE)
    elif traffic.backing[w, a] > 0 or halts:
        wanted = no_reverse(min(wanted, -_EDGE_BRAKE if halts else -ONE), speed, acceleration, p)
    else:
        wanted = no_reverse(wanted, speed, acceleration, p)
    jerk = to_jerk(wanted, acceleration, body.c_throttle[w, a], p)

    reached = hold_zero(wanted, acceleration)
    next_speed = speed + HALF * (reached + acceleration) * p.dt
    lateral = clip(traffic.curvature[w, a] * next_speed * next_speed, -p.lateral_max, p.lateral_max)
    motion.jerk[w, a] = jerk
    motion.side_jerk[w, a] = to_jerk(lateral, motion.lateral[w, a], body.c_steer[w, a], p)
