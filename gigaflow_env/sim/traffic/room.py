"""Room: how far a driver can back up, and what it would touch on its arc."""

from gigaflow_env.jit import alone, by_one, f32, i32, lowest_bit, rule, stage, u32, u64
from gigaflow_env.packs import EIGHT, bits_of, chosen, counted, eight_from, larger, smaller, smallest_of, words_of_bytes
from gigaflow_env.sim.collision import edges_met
from gigaflow_env.sim.geometry import HALF, LEVEL_GAP, ONE, TWO, ZERO, boxes_overlap, clip, into_frame, sincos_small
from gigaflow_env.sim.lanes import FAR, place_s
from gigaflow_env.sim.traffic.car_following import LEADER_BRAKE, STANDS, WALK
from gigaflow_env.sim.traffic.others import MARGIN
from gigaflow_env.sim.variant import lane_stretch
from gigaflow_env.state import LIVE

NEAR = f32(3.0)
"""m: a leader so near, and standing, is waited for."""

_BACK_BEND = f32(0.2)  # 1/m, the tightest arc on which a driver backs up
_BACK_ROOM = f32(0.6)  # m: room that is kept behind
_LOOKS, _BODY_GAP = 4, f32(0.15)  # places on an arc that are looked at; m, the gap beside other bodies there
_CROSS_FOR = f32(2.0)  # s, for which those who cross behind are extrapolated: until it stands
_SOON = f32(1.5)  # s, for which who crawls across its lane thinks that those who drive go straight on


@rule
def sharpest(length, p):
    """Curvature [1/m] of the tightest arc that a body of this length [m] can follow."""
    most_sin, most_cos = sincos_small(p.steer_max)
    return most_sin / (most_cos * p.wheelbase * length)


@rule
def turned_by(cos, sin, angle):
    """A direction turned by a small angle [rad]."""
    turn_sin, turn_cos = sincos_small(angle)
    return cos * turn_cos - sin * turn_sin, sin * turn_cos + cos * turn_sin


@rule
def room_to(dx, dy, dz, other_cos, other_sin, length, width, speed, cos, sin, bend, half_length, half_width, p):
    """Distance [m] from the own rear to where a body behind can stop; FAR where it isn't behind. Also of packs.

    dx, dy, dz: from the own middle to that of the body [m]; other_cos, other_sin, length, width, speed: of the body. bend:
    curvature [1/m] of the arc on which the own one, of half_length and half_width [m], would back up.
    """
    ahead, left = into_frame(dx, dy, cos, sin)
    along, across = into_frame(other_cos, other_sin, cos, sin)
    long = HALF * (length * abs(along) + width * abs(across))
    wide = HALF * (length * abs(across) + width * abs(along))
    # Who crosses is soon elsewhere: it may lie anywhere on the way to there.
    crosses = HALF * speed * across * _CROSS_FOR
    left, wide = left + crosses, wide + abs(crosses)
    apart = smaller(abs(left), abs(left - HALF * bend * ahead * ahead))
    comes = larger(speed * along, ZERO)
    stops = comes * (TWO * p.dt + comes / (TWO * LEADER_BRAKE))
    behind = (ahead < ZERO) & (apart < wide + half_width + TWO * MARGIN) & (abs(dz) <= LEVEL_GAP)
    return chosen(behind, ZERO - ahead - long - half_length - stops, FAR)


@stage
def room_behind(w, a, rows, pose, motion, body, lane_position, variant, network, conflicts, traffic, p):
    """Distance [m] from the rear of agent a to where the next body can stop or the road ends; else FAR.

    Straight back, and on the arc on which it would back up.
    """
    bend = clip(traffic.curvature[w, a], -_BACK_BEND, _BACK_BEND)
    room, half_length, half_width = FAR, HALF * body.length[w, a], HALF * body.width[w, a]
    section = lane_position.section[w, a]
    lane = network.sections[section].lane
    if conflicts.begins[lane]:
        s = place_s(network, section, lane_position.fraction[w, a])
        room = s * lane_stretch(w, variant, network.lanes[lane]) - half_length
    x, y, z, cos, sin = pose.x[w, a], pose.y[w, a], pose.z[w, a], pose.cos[w, a], pose.sin[w, a]
    agents = rows.status.shape[1]
    if alone():
        room = min(room, room_alone(w, a, bend, half_length, half_width, rows, pose, motion, body, p))
    for b in range(agents - agents % EIGHT if alone() else 0, agents):
        if b != a and rows.status[w, b] >= LIVE:
            room = min(room, room_to(
                pose.x[w, b] - x, pose.y[w, b] - y, pose.z[w, b] - z, pose.cos[w, b], pose.sin[w, b], body.length[w, b],
                body.width[w, b], motion.speed[w, b], cos, sin, bend, half_length, half_width, p,
            ))  # fmt: skip
    return room


@by_one(nothing=FAR)
def room_alone(w, a, bend, half_length, half_width, rows, pose, motion, body, p):
    """What `room_behind` has before whole packs of agents, for one who is alone."""
    x, y, z, cos, sin = pose.x[w, a], pose.y[w, a], pose.z[w, a], pose.cos[w, a], pose.sin[w, a]
    xs, ys, zs, coses, sines = pose.x[w], pose.y[w], pose.z[w], pose.cos[w], pose.sin[w]
    lengths, widths, speeds, status, least = body.length[w], body.width[w], motion.speed[w], rows.status[w], FAR
    for b in range(0, len(xs) - EIGHT + 1, EIGHT):
        room = room_to(
            eight_from(xs, b) - x, eight_from(ys, b) - y, eight_from(zs, b) - z, eight_from(coses, b), eight_from(sines, b),
            eight_from(lengths, b), eight_from(widths, b), eight_from(speeds, b), cos, sin, bend, half_length, half_width, p,
        )  # fmt: skip
        drives = (words_of_bytes(status, b) >= i32(LIVE)) & (counted(b, len(xs)) != i32(a))
        least = min(least, smallest_of(chosen(drives, room, FAR)))
    return least


@rule
def back_room(speed, p):
    """Room [m] that a car needs which still backs up with this speed [m/s]: it stops with 1 m/s^2, from the next step on."""
    back = max(-speed, ZERO)
    return _BACK_ROOM + back * (ONE + HALF) * p.dt + HALF * back * back


@rule
def in_touch(ahead, left, dz, length, other_length, other_speed):
    """Whether a body is near enough to be touched at once, or soon. Also of packs.

    ahead, left, dz: from the own middle to its [m]. length, other_length: of both [m]. other_speed: its [m/s].
    """
    near = TWO * (length + other_length) + _SOON * larger(other_speed, ZERO)
    return (abs(ahead) + abs(left) <= near) & (abs(dz) <= LEVEL_GAP)


@stage
def obstacle(w, a, clock, reach, rows, pose, motion, body, variant, network, grid, traffic, p):
    """What agent a would touch on the next `reach` [m], if it steers from how it does now to how it wants, or so at once.

    The number of another agent, its own number for the edge of the road, or -1. For a car across its lane, whose way
    `leader_at` does not know.
    """
    steer_sin, steer_cos = sincos_small(motion.steer[w, a])
    most, now = sharpest(body.length[w, a], p), steer_sin / (steer_cos * p.wheelbase * body.length[w, a])
    then = clip(traffic.curvature[w, a], -most, most)
    met = on_arc(w, a, clock, reach, then, then, rows, pose, motion, body, variant, network, grid)
    if met >= 0:
        return met
    return on_arc(w, a, clock, reach, now, then, rows, pose, motion, body, variant, network, grid)


@stage
def on_arc(w, a, clock, reach, now, then, rows, pose, motion, body, variant, network, grid):
    """What agent a would touch first on the next `reach` [m], while its curvature becomes `then` instead of `now` [1/m]."""
    met = i32(-1)
    for k in range(_LOOKS):  # where the front swings out, the end of the way may be free again
        share = f32(k + i32(1)) / f32(_LOOKS)
        bend = now + HALF * share * (then - now)
        if met < 0:
            met = touched(w, a, clock, share * reach, bend, rows, pose, motion, body, variant, network, grid)
    return met


@stage
def touched(w, a, clock, distance, bend, rows, pose, motion, body, variant, network, grid):
    """What agent a would touch after `distance` [m] on an arc of curvature `bend` [1/m], see `obstacle`."""
    x, y, z, cos, sin = pose.x[w, a], pose.y[w, a], pose.z[w, a], pose.cos[w, a], pose.sin[w, a]
    turn = distance * bend
    # On the chord of the arc, and turned by its angle.
    half_cos, half_sin = turned_by(cos, sin, HALF * turn)
    cos, sin = turned_by(cos, sin, turn)
    x, y = x + distance * half_cos, y + distance * half_sin
    half_length, half_width = HALF * body.length[w, a], HALF * body.width[w, a]
    if edges_met(w, variant, grid, network.maps[clock.map[w]], x, y, z, cos, sin, x, y, half_length, half_width):
        return i32(a)
    agents = rows.status.shape[1]
    if alone():
        met = touched_alone(w, a, distance, x, y, z, cos, sin, rows, pose, motion, body)
        if met >= 0:
            return met
    for b in range(agents - agents % EIGHT if alone() else 0, agents):
        if touches(w, a, b, distance, x, y, z, cos, sin, rows, pose, motion, body):
            return i32(b)
    return i32(-1)


@by_one(nothing=i32(-1))
def touched_alone(w, a, distance, x, y, z, cos, sin, rows, pose, motion, body):
    """What `touched` finds among whole packs of agents, for one who is alone: most are far away."""
    xs, ys, zs, lengths, speeds = pose.x[w], pose.y[w], pose.z[w], body.length[w], motion.speed[w]
    for first in range(0, len(xs) - EIGHT + 1, EIGHT):
        ahead, left = into_frame(eight_from(xs, first) - x, eight_from(ys, first) - y, cos, sin)
        dz, other_lengths, other_speeds = eight_from(zs, first) - z, eight_from(lengths, first), eight_from(speeds, first)
        near = in_touch(ahead, left, dz, body.length[w, a], other_lengths, other_speeds)
        found = bits_of(near & (words_of_bytes(rows.status[w], first) >= i32(LIVE)))
        while found != 0:
            b = u32(u32(first) + u32(lowest_bit(found)))
            found &= u64(found - u64(1))
            if touches(w, a, b, distance, x, y, z, cos, sin, rows, pose, motion, body):
                return i32(b)
    return i32(-1)


@stage
def touches(w, a, b, distance, x, y, z, cos, sin, rows, pose, motion, body):
    """Whether agent a would touch agent b from the place (x, y, z), where it heads to (cos, sin), see `obstacle`."""
    ahead, left = into_frame(pose.x[w, b] - x, pose.y[w, b] - y, cos, sin)
    near = in_touch(ahead, left, pose.z[w, b] - z, body.length[w, a], body.length[w, b], motion.speed[w, b])
    if b == a or rows.status[w, b] < LIVE or not near:
        return False
    along, across = into_frame(pose.cos[w, b], pose.sin[w, b], cos, sin)
    drives, passed = motion.speed[w, b] > WALK + STANDS, ahead * distance < ZERO
    away = motion.speed[w, b] * along if distance > ZERO else -motion.speed[w, b] * along
    if (passed and drives) or away > max(abs(motion.speed[w, a]), WALK):  # it gets away, also from one that begins to drive
        return False
    half_length, half_width = HALF * body.length[w, a], HALF * body.width[w, a]
    other_length, other_width = HALF * body.length[w, b], HALF * body.width[w, b]
    if drives:  # who drives on goes first, and takes its way of the next moment with it
        sweep = HALF * _SOON * motion.speed[w, b]
        ahead, left, other_length = ahead + sweep * along, left + sweep * across, other_length + sweep
    # Beside the other end it has no gap: only where that swings out it comes nearer.
    aside = ZERO if passed else _BODY_GAP
    return boxes_overlap(ahead, left, along, across, half_length, half_width + aside, other_length, other_width)


@stage
def blocks(w, a, clock, b, rows, pose, motion, body, variant, network, grid, traffic, p):
    """Whether agent b stands where agent a, which stands, too, would soon be on the arc that it steers to."""
    most = sharpest(body.length[w, a], p)
    then = clip(traffic.curvature[w, a], -most, most)
    return on_arc(w, a, clock, NEAR, then, then, rows, pose, motion, body, variant, network, grid) == b
