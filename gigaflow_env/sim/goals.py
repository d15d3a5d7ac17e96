"""Goals: a route is a sequence of way-points and a final goal at which the agent has to be slow."""

from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.roads.compiled.tables import START_WIDTH, UNREACHABLE
from gigaflow_env.sim.geometry import EPSILON, HALF, ONE, TWO, ZERO, clip
from gigaflow_env.sim.lanes import place_s, route_distance
from gigaflow_env.sim.random_numbers import GOALS, between, draws, pick
from gigaflow_env.sim.rewards import GOAL_RADIUS
from gigaflow_env.sim.variant import lane_stretch, to_world, turned
from gigaflow_env.state import ELSEWHERE, IDM, LIVE, NOWHERE, REPLAY

_REACHABLE = f32(UNREACHABLE / 10)  # less than UNREACHABLE, as a map variant scales route distances
_SIDE_STEP = f32(0.3)  # chance per lane of a walk to change into a neighbour lane, so that goals need lane changes; ours
_FURTHER = f32(0.5)  # and from there each time into the next one, up to goal_lane_changes; ours
_SAME_DIRECTION = f32(0.5)  # cos of 60 degrees: consecutive goals have similar headings (A)
_WIDE = f32(START_WIDTH)
_TRIES = 8
_HOPS = 64
# Progress in a step is at most this times the distance travelled: a change of the assigned lane is no progress.
_NOISE_GAIN = f32(1.5)
_NOWHERE = f32(NOWHERE)
_END_ROOM = f32(5.0)  # m: so far before a road's end is the last goal on it, so that a body finds room there; ours


@rule
def passed(x, y, old_x, old_y, goal_x, goal_y):
    """Smallest squared distance [m^2] between a goal and the segment from the old position to the new one."""
    dx, dy = x - old_x, y - old_y
    length = dx * dx + dy * dy
    share = clip(((goal_x - old_x) * dx + (goal_y - old_y) * dy) / length if length > EPSILON else ONE, ZERO, ONE)
    gap_x, gap_y = old_x + share * dx - goal_x, old_y + share * dy - goal_y
    return gap_x * gap_x + gap_y * gap_y


@rule
def wide_quad(network, row, quad):
    """The last quad up to `quad` that is wide enough for a car, or the first one behind it; `quad` where none is.

    Ours: a lane may taper off. A goal at its tip could only be reached off the road.
    """
    found, last = quad, i32(row.first + row.quads)
    while found >= row.first and TWO * network.sections[found + i32(1)].half_width < _WIDE:
        found = i32(found - i32(1))
    if found >= row.first:
        back = i32(_END_ROOM / row.step) if found < quad else i32(0)
        return max(i32(found - back), row.first)
    found = quad
    while found < last and TWO * network.sections[found].half_width < _WIDE:
        found = i32(found + i32(1))
    return found if found < last else quad


@rule
def walk(seed, world, w, a, tick, number, variant, network, section, distance, changes):
    """A quad `distance` metres down the road, along a random route; not in a junction, as agents should not stop there.

    Where the road ends before, it is the last place there. world: its number, from which chance follows. changes: from
    each lane of the way the route goes at most so many lanes aside.
    """
    lane = network.sections[section].lane
    scale = lane_stretch(w, variant, network.lanes[lane])
    s = place_s(network, section, HALF) * scale + distance  # m of the world, here and below
    for hop in range(_HOPS):
        row = network.lanes[lane]
        change, side, branch, _ = draws(seed, world, a, tick, GOALS, number * i32(_HOPS) + i32(hop))
        chance = _SIDE_STEP
        for _crossed in range(changes):
            neighbour = row.left if side < HALF else row.right
            if change >= chance or neighbour < 0:
                break
            share = s / (row.length * scale)
            lane, row = neighbour, network.lanes[neighbour]
            scale = lane_stretch(w, variant, row)
            s = share * row.length * scale
            chance *= _FURTHER
        length = row.length * scale
        if s <= length and row.junction == 0:
            break
        if row.successors == 0:
            s = max(length - _END_ROOM, ZERO)
            break
        s = max(s - length, ZERO)
        lane = network.successors[row.successors_at + pick(branch, row.successors)]
        scale = lane_stretch(w, variant, network.lanes[lane])
    row = network.lanes[lane]
    return wide_quad(network, row, i32(row.first + clip(i32(s / (row.step * scale)), i32(0), i32(row.quads - i32(1)))))


@rule
def aim(w, a, clock, goals, lane_position, variant, network):
    """Measure the route distance to the next goal, from which progress is counted."""
    map_row = network.maps[clock.map[w]]
    section, goal = lane_position.section[w, a], goals.section[w, a, goals.next[w, a]]
    lane_position.route_distance[w, a] = route_distance(
        w, variant, network, map_row,
        network.sections[section].lane, place_s(network, section, lane_position.fraction[w, a]),
        network.sections[goal].lane, place_s(network, goal, HALF),
    )  # fmt: skip
    goals.best[w, a] = lane_position.route_distance[w, a]


@stage
def plan(w, a, clock, goals, lane_position, variant, network, p):
    """Draw a new route from the agent's lane position. Writes: goals, lane_position.route_distance.

    Source: arXiv 2502.03349: 0-3 way-points and a final goal, consecutive goals 20-200 m apart, headings within 60
    degrees, relaxed if there is none. Ours: distances are route distances, so that each goal can be reached.
    """
    seed, tick, world, map_row = clock.seed, clock.tick[w], clock.number[w], network.maps[clock.map[w]]
    start = lane_position.section[w, a]
    many, _, _, _ = draws(seed, world, a, tick, GOALS, 60_000)
    count = i32(pick(many, i32(p.waypoints_max + i32(1))) + i32(1))
    section = start
    for k in range(count):
        before = section
        direction = network.sections[before]
        for attempt in range(_TRIES):
            number = i32(k * _TRIES + attempt)
            far, where, _, _ = draws(seed, world, a, tick, GOALS, i32(50_000) + number)
            if k == 0 and p.near_first == 0 and attempt < _TRIES - 1:
                section = network.starts[map_row.starts_at + pick(where, map_row.starts)]
                route = route_distance(
                    w, variant, network, map_row, direction.lane, place_s(network, before, HALF),
                    network.sections[section].lane, place_s(network, section, HALF),
                )  # fmt: skip
                if route < _REACHABLE:
                    break
            else:
                distance = between(far, p.goal_distance_low, p.goal_distance_high)
                section = walk(
                    seed, world, w, a, tick, number, variant, network, before, distance, p.goal_lane_changes
                )  # fmt: skip
                here = network.sections[section]
                ax, ay, _ = turned(w, variant, direction.cos, direction.sin)
                bx, by, _ = turned(w, variant, here.cos, here.sin)
                if k == 0 or ax * bx + ay * by > _SAME_DIRECTION:
                    break
        if k > 0 and section == before:  # the road ends there: what would follow lies at the same place
            count = i32(k)
            break
        first, second = network.sections[section], network.sections[section + i32(1)]
        goals.section[w, a, k] = section
        x, y = HALF * (first.x + second.x), HALF * (first.y + second.y)
        goals.x[w, a, k], goals.y[w, a, k] = to_world(w, variant, x, y)
    goals.count[w, a], goals.next[w, a] = count, 0
    goals.routes[w, a] += i32(1)
    aim(w, a, clock, goals, lane_position, variant, network)


@stage
def arrive(w, a, clock, rows, pose, motion, reward_weights, variant, network, events, goals, lane_position, p):
    """Count progress and goals reached. Writes: goals, lane_position.route_distance, events.goal, events.route_done.

    Way-points count at any speed, also if they were passed between two steps (ours). The final goal counts below goal_speed.
    Progress is the reduction of the shortest route distance so far: driving in circles gains nothing. Where the road ends at
    the final goal, no new route begins (ours): `score` ends the episode, but for who stays until its scene ends, and reaches
    nothing more. Who follows a recorded track has no other way than that.
    """
    events.goal[w, a] = False
    events.route_done[w, a] = False
    goals.gained[w, a] = ZERO
    if rows.status[w, a] != LIVE or goals.best[w, a] <= _NOWHERE:
        return
    lost = lane_position.route_distance[w, a] > _REACHABLE or goals.best[w, a] == f32(ELSEWHERE)
    if rows.driver[w, a] == IDM and lost:
        # It took a way from which its goal can't be reached any more: it goes somewhere else, or leaves where the road ends.
        plan(w, a, clock, goals, lane_position, variant, network, p)
        if lane_position.route_distance[w, a] > _REACHABLE:
            goals.best[w, a] = _NOWHERE
            return
    gained = min(goals.best[w, a] - lane_position.route_distance[w, a], _NOISE_GAIN * motion.distance[w, a])
    gained = gained if gained > ZERO else ZERO  # nan is no progress
    goals.gained[w, a] = gained
    goals.best[w, a] -= gained

    k = goals.next[w, a]
    radius = reward_weights.coefficients[w, a, GOAL_RADIUS]
    gap = passed(pose.x[w, a], pose.y[w, a], pose.old_x[w, a], pose.old_y[w, a], goals.x[w, a, k], goals.y[w, a, k])
    final = k == goals.count[w, a] - i32(1)
    # Written so that NaN reaches no goal.
    if not gap < radius * radius or (final and not abs(motion.speed[w, a]) < p.goal_speed):
        return
    events.goal[w, a] = True
    if not final:
        goals.next[w, a] = i32(k + i32(1))
        aim(w, a, clock, goals, lane_position, variant, network)
        return
    events.route_done[w, a] = True
    if rows.driver[w, a] == REPLAY:
        goals.best[w, a] = _NOWHERE
    elif p.route_ends == 0:
        here = goals.section[w, a, k]
        plan(w, a, clock, goals, lane_position, variant, network, p)
        # The road ends here: else the same goal would be reached again in every step.
        if goals.section[w, a, 0] == here or lane_position.route_distance[w, a] > _REACHABLE:
            goals.best[w, a] = _NOWHERE
