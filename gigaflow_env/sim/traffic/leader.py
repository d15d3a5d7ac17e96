"""The leader: the first body in a driver's own path, along the lanes that it will take."""

from gigaflow_env.jit import alone, by_one, f32, i32, lowest_bit, rule, stage, u32, u64
from gigaflow_env.packs import EIGHT, bits_of, columns, counted, root
from gigaflow_env.sim.geometry import HALF, LEVEL_GAP, PI, ZERO, exp, into_frame, sincos
from gigaflow_env.sim.lanes import FAR
from gigaflow_env.sim.traffic.lane_choice import seat
from gigaflow_env.sim.traffic.others import MARGIN, STRIDE, sample_distance
from gigaflow_env.sim.variant import most_gain, to_world, turned

_ROUNDED = f32(0.1)  # m: more than distances between places on a map are rounded
_DRIFTS = f32(0.33)  # most of exp(-u) sin u: 0.322
_BACKS_FOR = f32(1.0)  # s, for which somebody who backs up is thought to go on


@rule
def drift(aside, slope, distance, preview):
    """Lateral offset [m] from a line, left positive, after `distance` [m] of pure pursuit.

    aside: offset [m] now. slope: sine of the heading relative to the line. preview: distance [m] to the point on the line
    that is steered to. As that moves on with the car, the car does not meet the line there: its curvature of
    -2 (offset + slope * preview) / preview^2 makes it a damped oscillation. So a driver that begins a lane change, or aborts
    it, still is in its old lane for a while. Beyond half a period, 4 % of the offset, it counts as settled.
    """
    u = min(distance / preview, PI)
    sine, cosine = sincos(u)
    return exp(-u) * (aside * (cosine + sine) + slope * preview * sine)


@rule
def most_aside(width, aside, slope, preview):
    """So far aside [m] from the lane's line the path of a body of this width [m] reaches at most, with its margin.

    aside, slope, preview: see `drift`.
    """
    return abs(aside) + abs(slope) * preview * _DRIFTS + HALF * width + MARGIN + _ROUNDED


@rule
def way_back(speed):
    """Way [m] for which somebody at this speed [m/s] is thought to back up; 0 where it does not."""
    return max(-speed, ZERO) * _BACKS_FOR


@stage
def leader_at(
    w, a, distance, aside, slope, driven, preview, section, count, close, pose, motion, body, variant, network
):  # fmt: skip
    """The nearest body in the own path at a section `distance` [m] ahead: (gap [m], speed [m/s] along the road, number).

    The gap is between the bumpers, FAR if there is none. The own path lies beside the section by the `drift` of aside,
    slope, driven and preview. close: the numbers of `count` agents ahead.
    """
    x, y, along_x, along_y, gain = seat(w, variant, network, section)
    stride, z = f32(STRIDE) * gain, network.sections[section].z
    half_length, half_width = HALF * body.length[w, a], HALF * body.width[w, a]
    gap, speed, who = FAR, ZERO, i32(-1)
    shift = drift(aside, slope, driven, preview)
    for k in range(count):
        b = close[u32(k)]
        ahead, left = into_frame(pose.x[w, b] - x, pose.y[w, b] - y, along_x, along_y)
        if abs(pose.z[w, b] - z) > LEVEL_GAP or abs(ahead) > HALF * (body.length[w, b] + body.width[w, b]) + stride:
            continue
        back = way_back(motion.speed[w, b])
        cos, sin = into_frame(pose.cos[w, b], pose.sin[w, b], along_x, along_y)
        # Who backs up takes its way of the next moment with it.
        ahead, left, length = ahead - HALF * back * cos, left - HALF * back * sin, body.length[w, b] + back
        long = HALF * (length * abs(cos) + body.width[w, b] * abs(sin))
        wide = HALF * (length * abs(sin) + body.width[w, b] * abs(cos))
        if abs(ahead) > long + HALF * stride or abs(left - shift) > wide + half_width + MARGIN:
            continue
        free_distance = distance + ahead - long - half_length
        if free_distance < ZERO and abs(left - shift) > wide + half_width:  # it is passed already, and not touched
            continue
        if free_distance < gap:
            gap, speed, who = free_distance, max(motion.speed[w, b] * cos, ZERO), i32(b)
    return gap, speed, who


@stage
def find_leader(
    w, a, k, until, passed, row, scale, aside, slope, preview, lag, count, close, pose, motion, body, variant, network
):  # fmt: skip
    """The first body in the own path on a lane: (gap [m], speed [m/s] along the road, number, sample).

    The gap is FAR if there is none at the samples from k to `until`. aside, slope, preview, count, close: see `leader_at`.
    lag: distance [m] until steering has an effect.
    """
    gap, speed, who, found, reach = FAR, ZERO, i32(-1), k, most_aside(body.width[w, a], aside, slope, preview)
    while k <= until and gap >= FAR:
        near, asked = samples_beside(w, k, until, row, reach, count, close, pose, motion, body, variant, network)
        while near != 0 and gap >= FAR:
            found = i32(k + STRIDE * i32(lowest_bit(near)))
            near &= u64(near - u64(1))
            distance = sample_distance(f32(found), passed, row, scale)
            # Where the stretch begins for which this sample stands: a lane change is least far there.
            driven = max(distance - HALF * f32(STRIDE) * row.step * scale - lag, ZERO)
            gap, speed, who = leader_at(
                w, a, distance, aside, slope, driven, preview, i32(row.first + found), count, close, pose, motion, body,
                variant, network,
            )  # fmt: skip
        k = i32(k + STRIDE * asked)
    return gap, speed, who, found


@stage
def samples_beside(w, k, until, row, reach, count, close, pose, motion, body, variant, network):
    """Where a body may be in the path: (a bit for each of the samples of a lane from k on, how many samples that are).

    EIGHT for one who is alone; else one, and those behind it beside which no body can be. row: of the lane. reach: see
    `most_aside`.
    """
    if alone():
        return eight_beside(w, k, until, row.first, reach, count, close, pose, motion, body, variant, network), i32(EIGHT)
    section, near = i32(row.first + k), u64(0)
    x, y, cos, sin, gain = seat(w, variant, network, section)
    stride = f32(STRIDE) * row.step * most_gain(w, variant)
    clear = apart(w, x, y, count, close, pose, motion, body) - reach - HALF * stride
    if clear < ZERO:
        z = network.sections[section].z
        for other in range(count):
            if beside(w, close[u32(other)], x, y, z, cos, sin, gain, reach, pose, motion, body):
                near = u64(1)
    return near, max(i32(min(clear, FAR) / stride), i32(1))


@stage
def apart(w, x, y, count, close, pose, motion, body):
    """Distance [m] from a place to where the nearest of `count` agents in `close` may be soon, whichever way it heads."""
    nearest = FAR
    for k in range(count):
        b = close[u32(k)]
        dx, dy = pose.x[w, b] - x, pose.y[w, b] - y
        reach = HALF * (body.length[w, b] + body.width[w, b]) + way_back(motion.speed[w, b])
        nearest = min(nearest, root(dx * dx + dy * dy) - reach)
    return nearest


@by_one(nothing=u64(0))
def eight_beside(w, k, until, first, reach, count, close, pose, motion, body, variant, network):
    """What `samples_beside` finds, for one who is alone: all at once."""
    places = counted(0, (until - k) // STRIDE) * STRIDE + (first + k)
    x, y, cos, sin = columns(network.sections, places, 0, "x")
    _, z, _, _ = columns(network.sections, places, 0, "curvature")
    x, y = to_world(w, variant, x, y)
    cos, sin, gain = turned(w, variant, cos, sin)
    near = x != x
    for other in range(count):
        near = near | beside(w, close[u32(other)], x, y, z, cos, sin, gain, reach, pose, motion, body)
    last = min((until - k) // STRIDE, EIGHT - 1)  # what follows repeats it
    return bits_of(near) & u64((2 << last) - 1)


@stage
def beside(w, b, x, y, z, along_x, along_y, gain, reach, pose, motion, body):
    """Whether agent b may be in the path at a sample of the road, or at each of a pack of such."""
    ahead, left = into_frame(pose.x[w, b] - x, pose.y[w, b] - y, along_x, along_y)
    cos, sin = into_frame(pose.cos[w, b], pose.sin[w, b], along_x, along_y)
    length, width, back = body.length[w, b], body.width[w, b], way_back(motion.speed[w, b])
    long = HALF * (length * abs(cos) + width * abs(sin)) + back + HALF * f32(STRIDE) * gain + _ROUNDED
    wide = HALF * (length * abs(sin) + width * abs(cos)) + back + reach
    return (abs(ahead) <= long) & (abs(left) <= wide) & (abs(pose.z[w, b] - z) <= LEVEL_GAP)
