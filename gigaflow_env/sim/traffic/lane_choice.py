"""Lane choice: which lane leads to the goal, and whether there is room to change to it.

`s` is the distance from the start of a lane in metres of the map, as in `route_distance`. Other distances are in metres of
the world.
"""

import math

from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.roads.compiled.tables import LANE_CHANGE_COST, UNREACHABLE
from gigaflow_env.sim.geometry import HALF, LEVEL_GAP, ONE, TWO, ZERO, clip, into_frame
from gigaflow_env.sim.lanes import FAR, place_s, route_distance
from gigaflow_env.sim.traffic.car_following import WALK
from gigaflow_env.sim.traffic.others import MARGIN, around
from gigaflow_env.sim.variant import lane_stretch, to_world, turned

_CHANGE_COST = f32(LANE_CHANGE_COST)
_REACHABLE = f32(UNREACHABLE / 2)
_PREVIEW, PREVIEW_LEAST = f32(0.9), f32(3.5)  # s, m: distance to the point that is steered to, as a time and at least
_WALK_PREVIEW, _NEARER = f32(2.0), f32(3.0)  # m, s: at walking pace it is nearer; faster, that swings
_CHANGE, _CHANGE_LEAST = f32(2.0), f32(8.0)  # the same during a lane change: gentler
_CHANGE_NEAR = f32(5.0)  # m, at least to the point that is steered to: near, where only that room is left
_REACH = f32(0.6)  # share of the room: after 1.6 times the distance to that point 80 % of the offset are done
_SIDE = f32(0.1)  # m, at least between the body and the edge of a lane that it changes to
_ON_LINE = f32(0.3)  # of half the lane's width: so far aside a driver still counts as on its line
_SHORT_CHANGE = f32(0.7)  # share of a short lane that is left for a change: a sharp one
_TOO_TIGHT = f32(300.0)  # m: a lane that the own body can't follow is taken if it saves more than this
_BOLD = f32(1 / 20)  # 1/s: who has stood for 20 s before a lane change asks for no more than room for its body
_ASIDE = f32(1.5)  # s, for which the lateral motion of others is extrapolated


@rule
def same_start(network, lane, other):
    """Whether two lanes branch off at the same position of the map."""
    a, b = network.sections[network.lanes[lane].first], network.sections[network.lanes[other].first]
    return (a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y) < ONE


@rule
def branch_of(network, lane, settled):
    """The lane that branches off where `lane` does: the one on which a driver settled, or one beside it; -1 if none does.

    Who changes lanes right behind a fork has settled on a lane that begins elsewhere.
    """
    row = network.lanes[settled]
    if same_start(network, lane, settled):
        return i32(settled)
    for side in range(2):
        other = row.left if side == 0 else row.right
        if other >= 0 and row.bundle != network.lanes[lane].bundle and same_start(network, lane, other):
            return i32(other)
    return i32(-1)


@rule
def astray(network, lane, settled):
    """Whether a lane neither leads to the junction lane on which a driver settled, nor on from it, nor runs along it."""
    here, there = network.lanes[lane], network.lanes[settled]
    if there.junction == 0 or here.junction == 0 or here.bundle == there.bundle:
        return False
    for k in range(here.successors_at, here.successors_at + here.successors):
        if network.successors[k] == settled:
            return False
    for k in range(there.successors_at, there.successors_at + there.successors):
        if network.successors[k] == lane:
            return False
    return True


@rule
def quad_of(row, s):
    """The quad at distance `s` [m of the map] from the start of a lane."""
    return i32(row.first + clip(i32(s / row.step), i32(0), i32(row.quads - i32(1))))


@rule
def seat(w, variant, network, section):
    """A section in world coordinates: (x, y, cos, sin, gain of its direction)."""
    at = network.sections[section]
    x, y = to_world(w, variant, at.x, at.y)
    cos, sin, gain = turned(w, variant, at.cos, at.sin)
    return x, y, cos, sin, gain


@rule
def lane_length(w, variant, network, lane):
    """Length [m] of a lane in the world."""
    return network.lanes[lane].length * lane_stretch(w, variant, network.lanes[lane])


@rule
def onward(w, variant, network, map_row, lane, s, goal_lane, goal_s):
    """Route distance [m] from `s` on a lane to the goal without a lane change on it; about UNREACHABLE if there is none."""
    row = network.lanes[lane]
    if lane == goal_lane and goal_s >= s:
        return (goal_s - s) * lane_stretch(w, variant, row)
    best = FAR
    for k in range(row.successors_at, row.successors_at + row.successors):
        best = min(
            best,
            route_distance(w, variant, network, map_row, network.successors[k], ZERO, goal_lane, goal_s),
        )
    return (row.length - s) * lane_stretch(w, variant, row) + best


@rule
def next_lane(w, variant, network, conflicts, map_row, lane, settled, goal_lane, goal_s, tightest):
    """The successor with the shortest route distance to the goal, or `settled` if it is a successor; -1 at a dead end.

    tightest: the curvature [1/m] that the driver's body can follow; others are taken only if they save much,
    or if the way around leads back to them.
    """
    row = network.lanes[lane]
    best, found, avoided = FAR * TWO, i32(-1), i32(-1)
    shortest = best
    for k in range(row.successors_at, row.successors_at + row.successors):
        successor = network.successors[k]
        plain = route_distance(w, variant, network, map_row, successor, ZERO, goal_lane, goal_s)
        tight = conflicts.tightest[successor] > tightest
        if plain < shortest:
            shortest, avoided = plain, i32(successor) if tight else i32(-1)
        length = plain + _TOO_TIGHT if tight else plain
        length = -ONE if successor == settled else length
        if length < best:
            best, found = length, i32(successor)
    if avoided >= 0 and avoided != found and found != settled:
        # Whoever comes back to it, as in a roundabout, would avoid it again, and drive in circles.
        back = route_distance(w, variant, network, map_row, found, ZERO, avoided, ZERO)
        if back + shortest < best + ONE:
            found = avoided
    return found


@rule
def wished_lane(w, variant, network, map_row, lane, s, goal_lane, goal_s):
    """The neighbour lane with a shorter route distance to the goal, or this lane. Changes are made as late as possible."""
    row = network.lanes[lane]
    best, found = onward(w, variant, network, map_row, lane, s, goal_lane, goal_s) - ONE, i32(lane)
    for side in range(2):
        other = row.left if side == 0 else row.right
        if other >= 0:
            there = s * network.lanes[other].length / row.length
            length = route_distance(w, variant, network, map_row, other, there, goal_lane, goal_s) + _CHANGE_COST
            if length < best:
                best, found = length, i32(other)
    return found


@rule
def too_narrow(w, lane, other, s, half_width, variant, network):
    """Whether there is no room for a body on a lane beside, at the place of `s` on this one. half_width: its own [m]."""
    there = quad_of(network.lanes[other], s * network.lanes[other].length / network.lanes[lane].length)
    at = network.sections[there]
    _, _, gain = turned(w, variant, at.cos, at.sin)
    return at.half_width * abs(variant.det[w]) / gain < half_width


@rule
def leads_to(network, section, lane):
    """Whether a section is on `lane`, or on one that leads into it."""
    own = network.sections[section].lane
    row, found = network.lanes[own], own == lane
    for k in range(row.successors_at, row.successors_at + row.successors):
        found = found or network.successors[k] == lane
    return found


@stage
def in_the_way_beside(
    w, a, lane, section, stood, count, close, pose, motion, body, lane_position, variant, network, p
):  # fmt: skip
    """An agent that is on the lane of `section` beside agent a, or soon will be; -1 if a may change to it.

    lane: that of agent a. stood: for how long a has waited for that [s].
    """
    asked = ONE - min(stood * _BOLD, ONE)
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
        wide = half_width + HALF * (body.length[w, b] * abs(sin) + body.width[w, b] * abs(cos)) + MARGIN
        aside = left + other_speed * sin * _ASIDE
        if min(left, aside) > wide or max(left, aside) < -wide:
            continue
        closing = speed - other_speed * cos
        front = HALF * p.idm_gap * (ONE + asked) + HALF * max(speed, ZERO) + max(closing, ZERO) * TWO
        back = HALF * p.idm_gap * (ONE + asked) + (HALF * max(other_speed, ZERO) + max(-closing, ZERO) * TWO) * asked
        back += max(-closing, ZERO) * HALF
        if -(long + back) < ahead < long + front:
            before, side = into_frame(
                pose.x[w, b] - pose.x[w, a], pose.y[w, b] - pose.y[w, a], pose.cos[w, a], pose.sin[w, a]
            )
            bumpers = half_length + HALF * body.length[w, b]
            behind = abs(side) < half_width + HALF * body.width[w, b]
            if before < -bumpers and (behind or leads_to(network, lane_position.section[w, b], lane)):
                continue  # right behind, or on the lane behind: it follows a, wherever a goes
            return b
    return i32(-1)


@rule
def change_ahead(speed, room, half_width, tightest):
    """Distance [m] to the point that is steered to in a lane change, with `room` [m] left on the old lane.

    So far that the first arc, of 2 * offset / distance^2, needs only half of the curvature `tightest` [1/m] that the body
    can follow: with more, who begins to change at walking pace stands across the road before it can steer back. Nearer where
    the old lane ends soon, see `drive.drift` for how far a change reaches.
    """
    far = f32(math.sqrt(TWO * TWO * TWO * half_width / tightest))
    return max(_CHANGE * speed, clip(_REACH * room, _CHANGE_NEAR, max(far, _CHANGE_NEAR)))


@stage
def change_preview(w, a, section, s, speed, preview, tightest, pose, variant, network, conflicts):
    """Distance [m] to the point that is steered to: `preview`, but farther where agent a comes from the lane beside.

    A lane change is not over on the line between the two lanes: with a near point it would be ended so sharply that it
    overshoots. But it must end before that other lane does. s: place [m of the map] on the lane of `section`.
    """
    row, half_width = network.lanes[network.sections[section].lane], network.sections[section].half_width
    x, y, along_x, along_y, _ = seat(w, variant, network, section)
    _, aside = into_frame(pose.x[w, a] - x, pose.y[w, a] - y, along_x, along_y)
    other = row.left if aside > ZERO else row.right
    share = clip((abs(aside) / half_width - _ON_LINE) / (ONE - _ON_LINE), ZERO, ONE)
    if other < 0 or share <= ZERO:
        return preview
    room = (ONE - s / row.length) * lane_length(w, variant, network, other)
    return preview + share * max(min(change_ahead(speed, room, half_width, tightest), room) - preview, ZERO)


@rule
def change_room(w, variant, conflicts, row, lane):
    """Length [m] that a change from this lane needs at low speed: less where the whole lane is not longer."""
    return min(_CHANGE_LEAST, _SHORT_CHANGE * conflicts.usable[lane] * row.length * lane_stretch(w, variant, row))


@stage
def choose_lane(
    w, a, settled, inside, front, stood, backs, tightest, goal_lane, goal_s, sight, close, rows, pose, motion, body,
    lane_position, variant, network, conflicts, map_row, p,
):  # fmt: skip
    """The lane to drive on: (section, s, preview [m], wished, beside, waits, short).

    The neighbour lane that the route needs, if there is room on it and a does not back up; `wished` is -1 then. Else
    `wished` is that lane, and `beside` who is in the way, -1 if nobody. waits: no route leads on without it, so the driver
    stops where it can still change. short: it is past that place. inside, front: as announced in the last step.
    sight: how far away [m] others are looked at, before they are written to `close`.
    """
    speed, section = max(motion.speed[w, a], ZERO), lane_position.section[w, a]
    lane, s = network.sections[section].lane, place_s(network, section, lane_position.fraction[w, a])
    least = clip(_WALK_PREVIEW + _NEARER * (speed - WALK), _WALK_PREVIEW, PREVIEW_LEAST)
    preview = max(_PREVIEW * speed, least)
    if settled >= 0 and settled != lane:
        # Lanes that branch or cross overlap. There the lane position follows the goal, and may differ from the settled lane.
        row, half_length = network.lanes[settled], HALF * body.length[w, a]
        moved = motion.distance[w, a] if motion.speed[w, a] >= ZERO else -motion.distance[w, a]
        past = front + moved - half_length
        branch = branch_of(network, lane, settled)
        if branch >= 0:
            lane, section = branch, quad_of(network.lanes[branch], s)
        elif settled == inside and lane_position.cos[w, a] < ZERO:
            # It heads against that lane: in a turn too tight for it, it came over the middle of the road.
            lane, section = settled, quad_of(row, max(past, ZERO) / lane_stretch(w, variant, row))
            x, y, along_x, along_y, _ = seat(w, variant, network, section)
            further, _ = into_frame(pose.x[w, a] - x, pose.y[w, a] - y, along_x, along_y)
            s = f32(section - row.first) * row.step + further / lane_stretch(w, variant, row)
            section = quad_of(row, s)
        elif settled == inside and past >= -half_length and astray(network, lane, settled):
            s = past / lane_stretch(w, variant, row)  # before its start, if less than the front is there
            lane, section = settled, quad_of(row, s)
    preview = change_preview(w, a, section, s, speed, preview, tightest, pose, variant, network, conflicts)
    wished, beside, short = wished_lane(w, variant, network, map_row, lane, s, goal_lane, goal_s), i32(-1), False
    if too_narrow(w, lane, wished, s, HALF * body.width[w, a] + _SIDE, variant, network):
        # Where a lane begins as a taper, it can be changed to later, maybe on the lanes that follow.
        if onward(w, variant, network, map_row, lane, s, goal_lane, goal_s) < _REACHABLE:
            wished = lane
    held = wished != lane
    if held:
        row = network.lanes[lane]
        there = s * network.lanes[wished].length / row.length
        target = quad_of(network.lanes[wished], there)
        change = max(_CHANGE * speed, change_room(w, variant, conflicts, row, lane))
        x, y, along_x, along_y, _ = seat(w, variant, network, target)
        _, aside = into_frame(pose.x[w, a] - x, pose.y[w, a] - y, along_x, along_y)
        # A lane change that is half done needs a quarter of the distance: it must not be aborted for lack of the rest.
        to_go = min(abs(aside) / (TWO * network.sections[target].half_width), ONE)
        stretch = lane_stretch(w, variant, row)
        room = (row.length - s) * stretch  # a taper counts: it is there for a body that leaves it
        half_width = network.sections[target].half_width
        fits = room > change * to_go * to_go
        short = not fits
        count = around(w, a, sight, False, rows, pose, motion, close)
        beside = in_the_way_beside(
            w, a, lane, target, stood, count, close, pose, motion, body, lane_position, variant, network, p
        )
        if fits and beside < 0 and not backs:
            lane, s, section, held = wished, there, target, False
            preview = change_ahead(speed, room, half_width, tightest)
    # Without room, and without another route to the goal, the driver waits where the change is still possible.
    waits = held and onward(w, variant, network, map_row, lane, s, goal_lane, goal_s) > _REACHABLE
    return section, s, preview, wished if held else i32(-1), beside, waits, short and waits
