"""Right of way: stop lines, and lanes that share their place, which are entered one at a time.

Which lanes these are: roads/compiled/conflict_zones.py. Ours: first who could not stop any more, then who is nearest.
"""

from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.sim.geometry import HALF, TWO, ZERO
from gigaflow_env.sim.lanes import FAR, place_s
from gigaflow_env.sim.lights import shown
from gigaflow_env.sim.traffic.car_following import stopping_distance, stopping_speed
from gigaflow_env.sim.traffic.lane_choice import lane_length
from gigaflow_env.sim.variant import lane_stretch
from gigaflow_env.state import LIVE, OFF, POLICY, RED, YELLOW

_SURE_BRAKE = f32(4.0)  # m/s^2: who would have to brake harder than this to stop before a junction drives on
_SLOW = f32(0.5)  # m/s: who is slower and has no rules may not mean to go
_IN_JUNCTION = f32(1000.0)  # m, by which who is in a junction already is nearer to its next lane than anybody else


@rule
def goes_first(gap, number, other_gap, other_number):
    """Whether the other is nearer to the junction: a total order, so that exactly one of two goes first."""
    return other_gap < gap or (other_gap == gap and other_number < number)


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
    """The lane to which it goes whatever its goal is by now.

    That of who can't stop any more or is inside with its front; else -1.
    """
    if rows.steps[w, a] == 0:
        return i32(-1)
    if traffic.committed[w, a] and traffic.next[w, a] >= 0:
        return traffic.next[w, a]
    return traffic.inside[w, a]


@stage
def announce(w, a, target, gap, blocked, waiting, rows, motion, lane_position, network, conflicts, traffic, p):
    """Say which lane with conflicts comes next, and whether one could enter it.

    Writes: traffic.next, gap, priority, may_enter, committed.
    """
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
