"""Right of way: stop lines, and lanes that overlap, which are entered by one agent at a time.

Which lanes overlap: roads/compiled/conflict_zones.py. Ours: an agent that can no longer stop goes first, then those inside
of the junction, then who has waited longest, then the nearest. So nobody waits for ever for others that come and go. Who has
a yield sign counts as farther away, by what others need to pass.
"""

from gigaflow_env.jit import alone, by_one, f32, i32, lowest_bit, rule, stage, u32, u64
from gigaflow_env.packs import EIGHT, bits_of, chosen, columns, eight_from, words, words_of_bytes
from gigaflow_env.roads.compiled.tables import YIELD_SIGN
from gigaflow_env.sim.geometry import HALF, TWO, ZERO
from gigaflow_env.sim.lanes import FAR, place_s
from gigaflow_env.sim.lights import shown
from gigaflow_env.sim.traffic.car_following import stopping_distance, stopping_speed
from gigaflow_env.sim.traffic.cycles import ENDS, YIELD
from gigaflow_env.sim.traffic.lane_choice import lane_length
from gigaflow_env.sim.variant import lane_stretch
from gigaflow_env.state import LIVE, OFF, POLICY, RED, YELLOW

_COMMIT_BRAKE = f32(4.0)  # m/s^2: a driver that would have to brake harder to stop before a junction is committed to enter
_SLOW = f32(0.5)  # m/s: a slower agent of the policy may not intend to go
_GIVE_WAY = f32(50.0)  # m, added to the gap of an agent at a yield sign: those who come within it go first
_IN_JUNCTION = f32(1000.0)  # m, subtracted from the gap of an agent inside a junction: it goes before all outside
# s, m: who has waited longer counts as nearer, by so much for each further second: after 33 s it goes before those inside.
# Not at once, or a yield sign would hold nobody for more than a second.
_PATIENT, _WAITED = f32(8.0), f32(40.0)


@rule
def goes_first(gap, number, other_gap, other_number):
    """Whether the other agent is nearer to the junction. A total order: exactly one of two goes first."""
    return other_gap < gap or (other_gap == gap and other_number < number)


@stage
def stop_lines(w, a, lane, line, motion, lane_position, lights, network, conflicts, p):
    """What the stop lines at a lane's start, `line` [m] ahead of the front, demand: (whether to stop, top speed).

    The speed is in m/s. A stop sign is red until the agent has stopped at it.
    """
    speed = max(motion.speed[w, a], ZERO)
    can_stop = stopping_distance(speed, motion.acceleration[w, a], p.brake_max, p) < line
    red, cap = False, FAR
    for k in range(conflicts.stops_at[lane], conflicts.stops_at[lane + i32(1)]):
        number = conflicts.stops[k]
        light = network.stops[number].light
        if light == YIELD_SIGN:  # `announce` tells
            continue
        colour = shown(w, a, number, light, lane_position, lights, p)
        if colour == RED or (colour == YELLOW and can_stop):
            red = True
        elif light >= 0 and colour != OFF:
            # Slow enough to either stop when it turns yellow, or pass before it is red.
            shortest = lights.yellow[w, light] if p.lights_run_programs else p.light_yellow_low
            yellow = max(shortest - p.dt - HALF * p.dt, p.dt)
            cap = min(cap, stopping_speed(line - yellow * speed, TWO * p.brake_max * yellow, p))
    return red, cap


@stage
def settled_lane(w, a, rows, traffic):
    """The lane that the agent is committed to, whatever its goal: it can't stop before it, or its front is inside; or -1."""
    if rows.steps[w, a] == 0:
        return i32(-1)
    if traffic.committed[w, a] and traffic.next[w, a] >= 0:
        return traffic.next[w, a]
    return traffic.inside[w, a]


@stage
def announce(w, a, target, gap, stood, blocked, waiting, rows, motion, lane_position, network, conflicts, traffic, p):
    """Announce which lane with conflicts comes next, and whether the agent could enter it.

    stood: for how long it has waited [s].

    Writes: traffic.next, gap, priority, may_enter, committed.
    """
    speed = max(motion.speed[w, a], ZERO)
    # Agents in a roundabout go on, before those that want to enter: else it fills up, and none can leave.
    lane = network.sections[lane_position.section[w, a]].lane
    within = conflicts.within[lane]
    blocked = blocked and not within
    traffic.next[w, a], traffic.gap[w, a] = target, gap
    give_way = _GIVE_WAY if target >= 0 and network.gives_way[target] else ZERO
    # Who comes out of a narrow lane goes before those who want in.
    before = within or conflicts.narrow[lane]
    traffic.priority[w, a] = (gap - _IN_JUNCTION if before else gap + give_way) - _WAITED * max(stood - _PATIENT, ZERO)
    if target >= 0:
        slow = rows.driver[w, a] == POLICY and speed < _SLOW
        ends_cycle = traffic.turn[w, a] == ENDS and traffic.waits_how[w, a] == YIELD
        traffic.may_enter[w, a] = not ((blocked and not ends_cycle) or waiting or slow)
        # A driver that yields brakes late; that alone does not commit it.
        brake = p.brake_max if traffic.yielded[w, a] else _COMMIT_BRAKE
        late = gap < stopping_distance(speed, motion.acceleration[w, a], brake, p)
        traffic.committed[w, a] = (late or ends_cycle) and not waiting


@rule
def in_conflict(conflicts, lane, other):
    """Whether two lanes share their place somewhere."""
    found = False
    for k in range(conflicts.at[lane], conflicts.at[lane + i32(1)]):
        found = found or conflicts.rows[k].lane == other
    return found


@rule
def passed(w, b, conflict, body, variant, network, traffic):
    """Whether the rear of b, whose front is in the other lane of a conflict, has left the conflict zone."""
    rear = traffic.front[w, b] - body.length[w, b]
    return rear > conflict.other_leave * lane_length(w, variant, network, conflict.lane)


@rule
def goes_on(gap, stops, number, other_gap, other_stops, other_number):
    """Whether the other one of two who are inside of a junction goes first through a place where their lanes overlap.

    First who is there, then who can no longer stop before it, then the nearest. gap: distance [m] to it, not negative.
    other_gap: that of the other, not positive where it is there. stops: stopping distance [m].
    """
    mine = gap - _IN_JUNCTION if gap < stops else gap
    its = other_gap - _IN_JUNCTION if other_gap < other_stops else other_gap
    return other_gap <= ZERO or goes_first(mine, number, its, other_number)


@stage
def crossing_gap(w, a, rows, motion, body, variant, network, conflicts, traffic, p):
    """Distance [m] from the front of an agent inside a junction lane to a conflict zone that another reaches first, and who.

    FAR and -1 if there is none.
    """
    lane, gap, who, agents = traffic.inside[w, a], FAR, i32(-1), rows.status.shape[1]
    if conflicts.at[lane] == conflicts.at[lane + i32(1)]:
        return gap, who
    if alone():
        gap, who = crossing_alone(w, a, rows, motion, body, variant, network, conflicts, traffic, p)
    for b in range(agents - agents % EIGHT if alone() else 0, agents):
        gap, who = gap_to(w, a, b, gap, who, rows, motion, body, variant, network, conflicts, traffic, p)
    return gap, who


@by_one(nothing=(FAR, i32(-1)))
def crossing_alone(w, a, rows, motion, body, variant, network, conflicts, traffic, p):
    """What `crossing_gap` finds among whole packs of agents, for one who is alone: most are inside of no such lane."""
    inside, lane, gap, who = traffic.inside[w], traffic.inside[w, a], FAR, i32(-1)
    for first in range(0, len(inside) - EIGHT + 1, EIGHT):
        its, left = eight_from(inside, first), u64(0)
        for k in range(conflicts.at[lane], conflicts.at[lane + i32(1)]):
            left |= bits_of(its == conflicts.rows[k].lane)
        while left != 0:
            b = u32(u32(first) + u32(lowest_bit(left)))
            left &= u64(left - u64(1))
            gap, who = gap_to(w, a, b, gap, who, rows, motion, body, variant, network, conflicts, traffic, p)
    return gap, who


@stage
def gap_to(w, a, b, gap, who, rows, motion, body, variant, network, conflicts, traffic, p):
    """What `crossing_gap` knows when it has looked at agent b, too."""
    if b == a or rows.status[w, b] != LIVE:
        return gap, who
    lane, front = traffic.inside[w, a], traffic.front[w, a]
    length = lane_length(w, variant, network, lane)
    stops = stopping_distance(max(motion.speed[w, a], ZERO), motion.acceleration[w, a], p.brake_max, p)
    for k in range(conflicts.at[lane], conflicts.at[lane + i32(1)]):
        other = conflicts.rows[k]
        if traffic.inside[w, b] == other.lane and not passed(w, b, other, body, variant, network, traffic):
            mine = other.enter * length - front
            its = other.other_enter * lane_length(w, variant, network, other.lane) - traffic.front[w, b]
            if mine <= ZERO or mine >= gap:
                continue
            its_stops = stopping_distance(max(motion.speed[w, b], ZERO), motion.acceleration[w, b], p.brake_max, p)
            if goes_on(mine, stops, i32(a), its, its_stops, i32(b)):
                gap, who = mine, i32(b)
    return gap, who


@stage
def yields(w, a, rows, body, lane_position, variant, network, conflicts, traffic):
    """An agent that is in a conflict zone of the next junction lane, or enters it before agent a; -1 if there is none.

    Wrecks do not count: where they are in the path, `leader_at` finds them.
    """
    agents = rows.status.shape[1]
    if alone():
        who = yields_alone(w, a, rows, body, lane_position, variant, network, conflicts, traffic)
        if who >= 0:
            return who
    for b in range(agents - agents % EIGHT if alone() else 0, agents):
        if yields_to(w, a, b, rows, body, lane_position, variant, network, conflicts, traffic):
            return i32(b)
    return i32(-1)


@by_one(nothing=i32(-1))
def yields_alone(w, a, rows, body, lane_position, variant, network, conflicts, traffic):
    """What `yields` finds among whole packs of agents, for one who is alone: most are near no such lane."""
    section, inside, following, target = lane_position.section[w], traffic.inside[w], traffic.next[w], traffic.next[w, a]
    for first in range(0, len(inside) - EIGHT + 1, EIGHT):
        drives, its = words_of_bytes(rows.status[w], first) == i32(LIVE), eight_from(section, first)
        # Where no agent drives the section may be another map's.
        _, _, _, on = columns(network.sections, chosen(drives, its, its - its), 0, "curvature")
        on, front, next_, left = words(on), eight_from(inside, first), eight_from(following, first), u64(0)
        for k in range(conflicts.at[target], conflicts.at[target + i32(1)]):
            lane = conflicts.rows[k].lane
            left |= bits_of(drives & ((on == lane) | (front == lane) | (next_ == lane)))
        while left != 0:
            b = u32(u32(first) + u32(lowest_bit(left)))
            left &= u64(left - u64(1))
            if yields_to(w, a, b, rows, body, lane_position, variant, network, conflicts, traffic):
                return i32(b)
    return i32(-1)


@stage
def yields_to(w, a, b, rows, body, lane_position, variant, network, conflicts, traffic):
    """Whether agent b is what `yields` looks for."""
    if b == a or rows.status[w, b] != LIVE:
        return False
    target, priority, committed = traffic.next[w, a], traffic.priority[w, a], traffic.committed[w, a]
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
            first = goes_first(priority, i32(a), traffic.priority[w, b], i32(b))
            if traffic.committed[w, b] and (not committed or first):
                return True
            if traffic.may_enter[w, b] and not committed and first:
                return True
    return False
