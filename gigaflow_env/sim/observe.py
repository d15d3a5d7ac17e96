"""Observation of an agent, in its own frame, scaled and clipped to [-1, 1]. Blocks and features: layout.py."""

import math

from gigaflow_env.config import CONDITIONING
from gigaflow_env.jit import alone, by_one, f32, fetch_ahead, i32, least_of_row, row_at, rule, stage, u32
from gigaflow_env.layout import (
    ACCELERATION_SCALE,
    COEFFICIENT_SCALE,
    CONDITIONING_BOUNDS,
    CURVATURE_SCALE,
    FEATURES,
    GOALS,
    HEIGHT_SCALE,
    LANE_WIDTH_SCALE,
    LENGTH_SCALE,
    OFFSET_SCALE,
    SPEED_SCALE,
    WIDTH_SCALE,
    Boundary,
    Ego,
    Goal,
    LaneSample,
    Neighbour,
    StopLine,
)
from gigaflow_env.packs import (
    EIGHT,
    bits_of,
    chosen,
    columns,
    counted,
    eight_from,
    keep,
    one_alone,
    put_columns,
    put_eight,
    repeated,
    root,
    smaller,
    smallest_of,
    swapped,
    truncated,
    where,
    within,
    words,
    words_of_bytes,
    words_until,
)
from gigaflow_env.sim.collision import nearby_row
from gigaflow_env.sim.erratic import is_blind
from gigaflow_env.sim.geometry import ONE, ZERO, clip, into_frame
from gigaflow_env.sim.lanes import FAR, eight_route_distances, sample_route_distance, way_to
from gigaflow_env.sim.lights import eight_shown, shown
from gigaflow_env.sim.random_numbers import DROPOUT, draws, pick
from gigaflow_env.sim.variant import curved, frame_of, seen_from, to_map
from gigaflow_env.state import ENDED, GREEN, OFF, RED, YELLOW

_OFFSET, _ANGLE, _CURVATURE = f32(1 / OFFSET_SCALE), f32(1 / math.pi), f32(1 / CURVATURE_SCALE)
_SPEED, _ACCELERATION, _COEFFICIENT = f32(1 / SPEED_SCALE), f32(1 / ACCELERATION_SCALE), f32(1 / COEFFICIENT_SCALE)
_LENGTH, _WIDTH, _LANE_WIDTH, _HEIGHT = (
    f32(1 / LENGTH_SCALE),
    f32(1 / WIDTH_SCALE),
    f32(1 / LANE_WIDTH_SCALE),
    f32(1 / HEIGHT_SCALE),
)
_LOW = tuple(f32(low) for low, _ in CONDITIONING_BOUNDS)
_GAIN = tuple(f32(2 / (high - low)) for low, high in CONDITIONING_BOUNDS)
_LOW_FIRST, _LOW_LAST, _GAIN_FIRST, _GAIN_LAST = _LOW[:EIGHT], _LOW[-EIGHT:], _GAIN[:EIGHT], _GAIN[-EIGHT:]
NOBODY = u32(0xFFFFFFFF)
_KEY_STEPS, _KEY_SHIFT, _KEY_AGENT = f32(2.0**24), u32(8), u32(0xFF)
_SIGN, _MIDDLE, _AGENTS, _LAST = u32(1 << 31), i32(1 << 23), i32(1 << 8), i32(2**31 - 1)  # of keys with a sign
_NO_AGENT = i32(-1)
_FARTHER = f32(1.15)  # of squared distances: with less, too few are found more often; with more, more have to be ordered
_COEFFICIENTS = len(CONDITIONING)
_POINTS = EIGHT // 2  # whose coordinates are EIGHT numbers
_GOAL_SIZE, _LANE_SIZE, _BOUNDARY_SIZE, _STOP_SIZE, _AGENT_SIZE = (len(group._fields) for group in FEATURES[2:])


@rule
def clipped(value):
    """A feature in [-1, 1]."""
    return clip(value, -ONE, ONE)


@rule
def seen_value(value):
    """A feature as it is written: clipped. Threads that share a row clip it on its way to memory."""
    return clipped(value) if alone() else value


@rule
def store(out, at, features):
    """Write a declared tuple to the columns of `out` from `at` on. at: u32 times a size."""
    for i in range(len(features)):
        out[at + i] = seen_value(features[i])


@rule
def scaled_distance(dx, dy, scale):
    """Squared distance in the units of a key. scale: `key_scale`. Also of packs."""
    return (dx * dx + dy * dy) * scale


@rule
def neighbour_key(dx, dy, b, scale):
    """The order of neighbours, as one number: squared distance, then agent. NOBODY: out of range. scale: `key_scale`."""
    distance = scaled_distance(dx, dy, scale)
    key = u32(u32(u32(i32(distance)) << _KEY_SHIFT) | u32(b))
    return NOBODY if distance >= _KEY_STEPS else key


@rule
def key_scale(view_range):
    """Units of a key in a square metre: 2^24 are the square of the range."""
    return _KEY_STEPS / (view_range * view_range)


@rule
def agent_of(key):
    """Whose key it is; -1: nobody's."""
    return i32(key & _KEY_AGENT) if key != NOBODY else i32(-1)


@rule
def with_sign(key):
    """A neighbour key as an int32 in the same order: AVX2 compares numbers with a sign."""
    return i32(key ^ _SIGN)


@rule
def eight_keys(distance, others):
    """Neighbour keys with a sign of EIGHT agents that are in range, from their `scaled_distance`."""
    return (truncated(distance) - _MIDDLE) * _AGENTS + others


@stage
def find_neighbours(w, a, clock, rows, pose, neighbours, p):
    """The nearest agents in view_range, nearest first; none for an inattentive driver. Writes: neighbours.

    Agents are ordered by a key: squared distance in units of 2^-24 of the squared range, then number. The order is unique,
    so the result does not depend on whom the search starts from.

    Two halves, as a kernel does the first one for the next agent before it does the second one for this one: branches that
    depend on how many there are, and reads of what was just written, would else have to wait for all of it.
    """
    order_neighbours(w, a, list_near(w, a, clock, rows, pose, neighbours, p), neighbours)


@stage
def list_near(w, a, clock, rows, pose, neighbours, p):
    """List the keys of all who may be among the nearest. Returns how many. Writes: neighbours.key."""
    found, keys, scale = neighbours.agent[w, a], neighbours.key[w, a % 2], key_scale(p.view_range)
    if len(found) == 0 or is_blind(w, a, clock, rows, p):
        return 0
    limit = far_enough(w, a, found[len(found) - 1], pose, scale)
    count = keys_within(limit, a, pose.x[w], pose.y[w], rows.status[w], scale, keys)
    if count < len(found) and not limit >= _KEY_STEPS:
        count = keys_within(_KEY_STEPS, a, pose.x[w], pose.y[w], rows.status[w], scale, keys)
    put_eight(keys, count, repeated((_LAST,)))  # they become a whole number of packs
    return count


@stage
def order_neighbours(w, a, count, neighbours):
    """The nearest of `count` that are listed: the place of each is the number of smaller keys. Writes: neighbours."""
    found, keys, places = neighbours.agent[w, a], neighbours.key[w, a % 2], neighbours.place[w]
    near, ordered = neighbours.near[w], neighbours.ordered[w]
    for k in range(0, count, EIGHT):
        key = eight_from(keys, k)
        put_eight(places, k, smaller_keys(keys, count, key))
        put_eight(near, k, chosen(key == _LAST, repeated((_NO_AGENT,)), key & i32(_KEY_AGENT)))
    for k in range(0, len(found), EIGHT):
        put_eight(ordered, k, repeated((_NO_AGENT,)))
    for first in range(0, count, EIGHT):
        for k in range(first, first + EIGHT):
            ordered[u32(places[u32(k)])] = near[u32(k)]
    for k in range(len(found)):
        found[k] = one_alone(ordered, k)


@stage
def far_enough(w, a, b, pose, scale):
    """Up to which `scaled_distance` neighbours are looked for first: somewhat farther than b, the farthest of the last step.

    All are looked for if b is -1, nobody, and again if these are too few. Only time depends on it.
    """
    if b < 0:
        return _KEY_STEPS
    dx, dy = pose.x[w, u32(b)] - pose.x[w, a], pose.y[w, u32(b)] - pose.y[w, a]
    return min(scaled_distance(dx, dy, scale) * _FARTHER, _KEY_STEPS)


@stage
def keys_within(limit, a, xs, ys, status, scale, keys):
    """List the keys of all others within a `scaled_distance` of agent a. Returns how many. Writes: keys."""
    x, y, count, at_once = xs[a], ys[a], 0, len(xs) - len(xs) % EIGHT
    for first in range(0, at_once, EIGHT):
        distance = scaled_distance(x - eight_from(xs, first), y - eight_from(ys, first), scale)
        others = counted(first, first + EIGHT)
        near = (distance < limit) & (words_of_bytes(status, first) >= i32(ENDED)) & (others != i32(a))
        count = keep(keys, count, eight_keys(distance, others), near)
    for b in range(at_once, len(xs)):
        keys[u32(count)] = with_sign(neighbour_key(x - xs[b], y - ys[b], b, scale))
        count += (scaled_distance(x - xs[b], y - ys[b], scale) < limit) & (status[b] >= ENDED) & (b != a)
    return count


@stage
def smaller_keys(keys, count, given):
    """Of EIGHT keys, a pack, how many of the first `count`, made a whole number of packs, are smaller than each."""
    smaller = given - given
    for first in range(0, count, EIGHT):
        for k in range(first, first + EIGHT):
            smaller = chosen(given > keys[u32(k)], smaller + i32(1), smaller)
    return smaller


# A worker writes the elements first, first + stride, ... of each block. On the CPU these are all elements. On CUDA the
# threads of a warp share an agent, so that neighbouring threads read and write neighbouring addresses.


@stage
def observe_ego(w, a, first, out, motion, body, lane_position, variant, network, p):
    """The ego block, or this worker's share of it. Writes: obs."""
    if first != 0:
        return
    section = lane_position.section[w, a]
    behind, ahead = network.sections[u32(section)], network.sections[u32(section + i32(1))]
    curvature = behind.curvature + lane_position.fraction[w, a] * (ahead.curvature - behind.curvature)
    curvature = curved(w, variant, curvature, behind.cos, behind.sin)
    limit = min(network.lanes[u32(behind.lane)].speed, p.speed_max * body.c_vel[w, a])
    ego = Ego(
        offset=lane_position.offset[w, a] * _OFFSET,
        angle=lane_position.angle[w, a] * _ANGLE,
        curvature=curvature * _CURVATURE,
        speed=motion.speed[w, a] * _SPEED,
        speed_limit=limit * _SPEED,
        steer=motion.steer[w, a] / p.steer_max,
        acceleration=motion.acceleration[w, a] * _ACCELERATION,
        lateral=motion.lateral[w, a] * _ACCELERATION,
        c_acc=body.c_acc[w, a] * _COEFFICIENT,
        c_throttle=body.c_throttle[w, a] * _COEFFICIENT,
        c_steer=body.c_steer[w, a] * _COEFFICIENT,
        length=body.length[w, a] * _LENGTH,
        width=body.width[w, a] * _WIDTH,
    )
    store(out, u32(0), ego)


@stage
def observe_conditioning(w, a, first, stride, out, reward_weights):
    """The conditioning block: the agent's own reward coefficients. Writes: obs."""
    if alone():
        write_conditioning(out, reward_weights.coefficients[w, a])
        return
    for i in range(first, _COEFFICIENTS, stride):
        value = (reward_weights.coefficients[w, a, i] - _LOW[i]) * _GAIN[i] - ONE
        out[u32(i)] = value


@by_one()
def write_conditioning(out, given):
    """The conditioning block of one who is alone, clipped: the first EIGHT and the last EIGHT columns. Writes: obs."""
    last = _COEFFICIENTS - EIGHT
    begin = (eight_from(given, 0) - repeated(_LOW_FIRST)) * repeated(_GAIN_FIRST) - ONE
    end = (eight_from(given, last) - repeated(_LOW_LAST)) * repeated(_GAIN_LAST) - ONE
    put_eight(out, 0, within(begin, -ONE, ONE))
    put_eight(out, last, within(end, -ONE, ONE))


@stage
def observe_goals(w, a, first, stride, out, pose, goals, p):
    """The goals block, or this worker's share of it. Writes: obs."""
    x, y, cos, sin, scale = pose.x[w, a], pose.y[w, a], pose.cos[w, a], pose.sin[w, a], ONE / p.view_range
    last = goals.count[w, a] - 1
    for i in range(first, GOALS, stride):
        k = min(goals.next[w, a] + i, last)
        ahead, left = into_frame(goals.x[w, a, k] - x, goals.y[w, a, k] - y, cos, sin)
        goal = Goal(x=ahead * scale, y=left * scale, final=ONE if k == last else ZERO)
        store(out, u32(i) * _GOAL_SIZE, goal)


@rule
def window_end(begin, count, kept):
    """How many of `kept` elements from `begin` on lie before the end of a list of `count`; the others are at its start."""
    return min(kept, i32(count - begin))


@rule
def resumed(end, first, stride):
    """The first of first, first + stride, ... that is at least `end`, minus `end`. first: below stride."""
    return (first - end) % stride


@rule
def listed(begin, k, count):
    """Index of the k-th element from `begin` on in a list of `count`, wrapped around at its end."""
    return begin + k if begin + k < count else begin + k - count


@rule
def in_one_piece(begin, kept, listing, twice):
    """An array in which a window of a list lies in one piece from `begin` on: the list, or the list and the same again.

    Writes: twice.
    """
    count = len(listing)
    if begin + kept <= count:
        return listing
    for k in range(0, count - EIGHT + 1, EIGHT):
        some = eight_from(listing, k)
        put_eight(twice, k, some)
        put_eight(twice, count + k, some)
    for k in range(count - count % EIGHT, count):
        twice[u32(k)] = twice[u32(count + k)] = listing[u32(k)]
    return twice


@by_one()
def measure_alone(w, a, begin, listing, samples, way, lane_routes, p):
    """The route distances from the lane samples that agent a observes, EIGHT at a time. Writes: lane_routes."""
    distances, kept = lane_routes.route_distance[w, a], p.lanes_kept
    places = in_one_piece(begin, kept, listing, lane_routes.twice[w])
    at_once = kept - kept % EIGHT
    smallest = repeated((FAR,))
    for k in range(0, at_once, EIGHT):
        found = eight_route_distances(samples, places, begin + k, way)
        put_eight(distances, k, found)
        smallest = smaller(found, smallest)
    least = smallest_of(smallest)
    for k in range(at_once, kept):
        one = sample_route_distance(samples[u32(places[u32(begin + k)])], way)
        distances[u32(k)] = one
        least = min(least, one)
    lane_routes.smallest[w, a] = least


@rule
def window(seed, world, a, tick, samples, points, p):
    """Where what agent a observes begins in lists of so many lane samples and boundary points."""
    if p.drops == 0:
        return i32(0), i32(0)
    u, v, _, _ = draws(seed, world, a, tick, DROPOUT, 0)
    return i32(pick(u, i32(samples))), i32(pick(v, i32(points)))


@stage
def draw_windows(w, clock, lane_routes, nearby, p):
    """`window` of all agents of a world, in a loop that computes several at once.

    Writes: lane_routes.next_lane, next_boundary.
    """
    seed, world, tick = (clock.seed[0], clock.seed[1]), clock.number[w], clock.tick[w]
    lanes, boundaries = lane_routes.next_lane[w], lane_routes.next_boundary[w]
    samples, points = nearby.samples.shape[1], nearby.boundaries.shape[1]
    for a in range(len(lanes)):
        lanes[a], boundaries[a] = window(seed, world, a, tick, samples, points, p)


@stage
def select_lane_samples(w, a, first, stride, clock, lane_position, goals, lane_routes, variant, network, nearby, p):
    """Select the lane samples and boundary points that agent a observes, and their route distances, or this worker's share.

    Writes: lane_routes.

    Route distances are those from the lane samples to the next goal.

    Source: arXiv 2502.03349, section 4: elements are dropped at random (A). Dropped ones have no columns, so they cost
    nothing. Ours: the lists are in random order, a different one for each row of the tables. What is observed is a window of
    a list, wrapped around at its end, that begins at a random element in each step. So all elements are observed equally
    often, a list needs one draw, and the elements are contiguous in memory. A remaining difference: on the 4 m of one row,
    elements far apart in its order are seldom observed together.
    """
    samples, points = nearby.samples.shape[1], nearby.boundaries.shape[1]
    begin, boundary = window(clock.seed, clock.number[w], a, clock.tick[w], samples, points, p)
    measure_routes(
        w, a, first, stride, begin, boundary, clock, lane_position, goals, lane_routes, variant, network, nearby, p
    )  # fmt: skip


@stage
def measure_routes(
    w, a, first, stride, begin, boundary, clock, lane_position, goals, lane_routes, variant, network, nearby, p
):
    """What `select_lane_samples` does with the window that begins there. Writes: lane_routes.

    Without dropout the route distances stay valid until the agent comes to another row or goal.
    """
    row = nearby_row(network, lane_position.section[w, a])
    goal = goals.section[w, a, goals.next[w, a]]
    # What the next agents read first takes as long to come from memory as all that is done here.
    last = lane_position.section.shape[1] - 1
    fetch_ahead(nearby.samples, nearby_row(network, lane_position.section[w, min(a + 1, last)]))
    fetch_ahead(network.sections, lane_position.section[w, min(a + 2, last)])
    stays = lane_routes.row[w, a] == row and lane_routes.goal[w, a] == goal
    if p.drops == 0 and stays:
        return
    fetch_ahead(nearby.boundaries, row)
    samples, way = network.samples, way_to(w, variant, network, network.maps[clock.map[w]], goal)
    listing, distances, smallest = nearby.samples[row], lane_routes.route_distance[w, a], FAR
    # Indices are unsigned, here and below: Numba then does not check for negative ones.
    if alone():
        measure_alone(w, a, begin, listing, samples, way, lane_routes, p)
    else:
        count = i32(nearby.samples.shape[1])
        for k in range(first, p.lanes_kept, stride):
            place = u32(listed(begin, i32(k), count))
            found = sample_route_distance(row_at(samples, u32(listing[place])), way)
            distances[u32(k)] = found
            smallest = min(smallest, found)
        smallest = least_of_row(smallest)
        if first == 0:
            lane_routes.smallest[w, a] = smallest
    if first == 0:
        lane_routes.row[w, a], lane_routes.goal[w, a] = row, goal
        lane_routes.lane[w, a], lane_routes.boundary[w, a] = begin, boundary


@rule
def lane_seen(x, y, cos, sin, width, route_distance, detour, frame, area, scale, route_scale):
    """The features of a lane sample at (x, y) from the agent, in map coordinates, for a frame of the world. Also of packs.

    detour: route_distance minus the smallest of all samples. area, frame: of the map variant, see sim/variant.py.
    scale, route_scale: 1 / view_range, 1 / route_range.
    """
    ahead, left = seen_from(frame, x, y)
    lane_cos, lane_sin = seen_from(frame, cos, sin)
    shrink = ONE / root(lane_cos * lane_cos + lane_sin * lane_sin)  # 1 / gain: a frame turns, no more
    return LaneSample(
        x=ahead * scale,
        y=left * scale,
        cos=lane_cos * shrink,
        sin=lane_sin * shrink,
        width=width * area * shrink * _LANE_WIDTH,
        distance=route_distance * route_scale,
        relative=detour * route_scale,
    )


@stage
def observe_lanes(w, a, first, stride, row, out, pose, lane_routes, variant, network, nearby, p):
    """The lanes block, or this worker's share of it. Writes: obs."""
    x, y = to_map(w, variant, pose.x[w, a], pose.y[w, a])
    frame = frame_of(w, variant, pose.cos[w, a], pose.sin[w, a])
    smallest, distances, begin = lane_routes.smallest[w, a], lane_routes.route_distance[w, a], lane_routes.lane[w, a]
    measures = frame, abs(variant.det[w]), ONE / p.view_range, ONE / p.route_range
    listing, count, samples = nearby.samples[row], i32(nearby.samples.shape[1]), network.samples
    if alone():
        write_lanes(out, begin, listing, lane_routes.twice[w], samples, x, y, distances, smallest, measures, p)
        return
    for k in range(first, p.lanes_kept, stride):
        sample, distance = row_at(samples, u32(listing[u32(listed(begin, k, count))])), distances[u32(k)]
        lane = lane_seen(
            sample.x - x, sample.y - y, sample.cos, sample.sin, sample.width, distance, distance - smallest, *measures
        )
        store(out, u32(k) * _LANE_SIZE, lane)


@by_one()
def write_lanes(out, begin, listing, twice, samples, x, y, distances, smallest, measures, p):
    """The lanes block of one who is alone, EIGHT samples at a time, clipped. Writes: obs, twice."""
    kept = p.lanes_kept
    places = in_one_piece(begin, kept, listing, twice)
    at_once = kept - kept % EIGHT
    for k in range(0, at_once, EIGHT):
        lane_x, lane_y, cos, sin = columns(samples, places, begin + k, "x")
        width, _, _, _ = columns(samples, places, begin + k, "width")
        distance = eight_from(distances, k)
        lane = lane_seen(lane_x - x, lane_y - y, cos, sin, width, distance, distance - smallest, *measures)
        put_columns(out, k * _LANE_SIZE, lane, -ONE, ONE, EIGHT)
    for k in range(at_once, kept):
        sample, distance = samples[u32(places[u32(begin + k)])], distances[u32(k)]
        lane = lane_seen(
            sample.x - x, sample.y - y, sample.cos, sample.sin, sample.width, distance, distance - smallest, *measures
        )
        store(out, u32(k) * _LANE_SIZE, lane)


@stage
def observe_boundaries(w, a, first, stride, row, out, pose, lane_routes, variant, nearby, p):
    """The boundaries block, or this worker's share of it. Writes: obs."""
    x, y = to_map(w, variant, pose.x[w, a], pose.y[w, a])
    frame, scale = frame_of(w, variant, pose.cos[w, a], pose.sin[w, a]), ONE / p.view_range
    begin, kept = lane_routes.boundary[w, a], p.boundaries_kept
    end = window_end(begin, i32(nearby.boundaries.shape[1]), kept)
    for part in range(2):
        low, high, start = (0, end, first) if part == 0 else (end, kept, resumed(end, first, stride))
        at = begin if part == 0 else 0
        points, slots = nearby.boundaries[row, at : at + high - low], out[low * _BOUNDARY_SIZE :]
        if alone():
            write_boundaries(slots, points, x, y, frame, scale)
            continue
        for k in range(start, len(points), stride):
            point = row_at(points, u32(k))
            ahead, left = seen_from(frame, point.x - x, point.y - y)
            store(slots, u32(k) * _BOUNDARY_SIZE, Boundary(x=ahead * scale, y=left * scale))


@by_one()
def write_boundaries(out, points, x, y, frame, scale):
    """Boundary points of one who is alone, four at a time, clipped. Writes: obs."""
    place, straight, across = repeated((x, y)), repeated((frame[0], frame[3])), repeated((frame[1], frame[2]))
    last = len(points) - _POINTS
    for k in range(0, len(points) if last >= 0 else 0, _POINTS):
        at = min(k, last)  # of the last ones some a second time
        away = eight_from(points, at) - place
        seen = (away * straight + swapped(away) * across) * scale
        put_eight(out, at * _BOUNDARY_SIZE, within(seen, -ONE, ONE))
    for k in range(len(points) if last < 0 else 0):
        point = points[u32(k)]
        ahead, left = seen_from(frame, point.x - x, point.y - y)
        store(out, u32(k) * _BOUNDARY_SIZE, Boundary(x=ahead * scale, y=left * scale))


@rule
def stop_seen(x, y, cos, sin, frame, scale, red, yellow, green):
    """The features of a stop line, (x, y) from the agent, in map coordinates, for a frame of the world. Also of packs."""
    ahead, left = seen_from(frame, x, y)
    stop_cos, stop_sin = seen_from(frame, cos, sin)
    shrink = ONE / root(stop_cos * stop_cos + stop_sin * stop_sin)
    return StopLine(
        x=ahead * scale, y=left * scale, cos=stop_cos * shrink, sin=stop_sin * shrink, red=red, yellow=yellow, green=green
    )  # fmt: skip


@rule
def square_distance(x, y, frame):
    """Squared distance [m^2] in the world of what is (x, y) away in the map. Also of packs."""
    ahead, left = seen_from(frame, x, y)
    return ahead * ahead + left * left


@stage
def observe_stops(w, a, first, stride, row, out, pose, lane_position, lights, variant, network, nearby, p):
    """The stops block, or this worker's share of it. Writes: obs."""
    x, y = to_map(w, variant, pose.x[w, a], pose.y[w, a])
    frame, scale = frame_of(w, variant, pose.cos[w, a], pose.sin[w, a]), ONE / p.view_range
    if alone():
        write_stops(w, a, out, nearby.stops[u32(row)], x, y, frame, scale, lane_position, lights, network, p)
        return
    for k in range(first, nearby.stops.shape[1], stride):
        number = nearby.stops[u32(row), u32(k)]
        at = u32(k) * _STOP_SIZE
        store(out, at, StopLine(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO))
        if number < 0:
            continue
        stop = network.stops[u32(number)]
        colour = shown(w, a, number, stop.light, lane_position, lights, p)
        if colour == OFF or square_distance(stop.x - x, stop.y - y, frame) > p.view_range * p.view_range:
            continue
        line = stop_seen(
            stop.x - x, stop.y - y, stop.cos, stop.sin, frame, scale,
            ONE if colour == RED else ZERO, ONE if colour == YELLOW else ZERO, ONE if colour == GREEN else ZERO,
        )  # fmt: skip
        store(out, at, line)


@by_one()
def write_stops(w, a, out, numbers, x, y, frame, scale, lane_position, lights, network, p):
    """The stops block of one who is alone, EIGHT at a time, clipped. Writes: obs."""
    zero, one = repeated((ZERO,)), repeated((ONE,))
    for k in range(0, len(numbers), EIGHT):
        number = words_until(numbers, k, len(numbers))
        there = number >= i32(0)
        if bits_of(there) == 0:  # perhaps the map has none
            put_columns(out, k * _STOP_SIZE, StopLine(zero, zero, zero, zero, zero, zero, zero), -ONE, ONE, len(numbers) - k)
            continue
        places = chosen(there, number, number - number)
        stop_x, stop_y, _, _ = columns(network.stops, places, 0, "x")
        cos, sin, _, light = columns(network.stops, places, 0, "cos")
        colour = eight_shown(w, a, places, words(light), lane_position, lights, p)
        near = square_distance(stop_x - x, stop_y - y, frame) <= p.view_range * p.view_range
        line = stop_seen(
            stop_x - x, stop_y - y, cos, sin, frame, scale,
            chosen(colour == i32(RED), one, zero), chosen(colour == i32(YELLOW), one, zero),
            chosen(colour == i32(GREEN), one, zero),
        )  # fmt: skip
        seen = there & near & (colour > i32(OFF))
        put_columns(out, k * _STOP_SIZE, where(seen, line), -ONE, ONE, len(numbers) - k)


@stage
def line_up(w, a, pose, body, neighbours, perceived):
    """What others observe of agent a, for one who is alone. Writes: neighbours.seen."""
    seen = neighbours.seen[w, a]
    seen.x, seen.y, seen.cos, seen.sin = perceived.x[w, a], perceived.y[w, a], perceived.cos[w, a], perceived.sin[w, a]
    seen.speed, seen.z, seen.length, seen.width = (
        perceived.speed[w, a], pose.z[w, a], body.length[w, a], body.width[w, a]
    )  # fmt: skip


@rule
def neighbour_seen(x, y, z, cos, sin, speed, length, width, own_cos, own_sin, scale, present):
    """The features of another agent, (x, y, z) from the own place, for a heading of (own_cos, own_sin). Also of packs."""
    ahead, left = into_frame(x, y, own_cos, own_sin)
    other_cos, other_sin = into_frame(cos, sin, own_cos, own_sin)
    return Neighbour(
        x=ahead * scale,
        y=left * scale,
        z=z * _HEIGHT,
        cos=other_cos,
        sin=other_sin,
        velocity_x=speed * other_cos * _SPEED,
        velocity_y=speed * other_sin * _SPEED,
        length=length * _LENGTH,
        width=width * _WIDTH,
        present=present,
    )


@stage
def observe_agents(w, a, first, stride, out, pose, body, neighbours, perceived, p):
    """The agents block, or this worker's share of it. Writes: obs."""
    x, y, z, cos, sin, scale = pose.x[w, a], pose.y[w, a], pose.z[w, a], pose.cos[w, a], pose.sin[w, a], ONE / p.view_range
    if alone():
        write_agents(out, neighbours.agent[w, a], neighbours.seen[w], x, y, z, cos, sin, scale, p)
        return
    for k in range(first, p.agent_count, stride):
        b = neighbours.agent[w, a, u32(k)]
        at = u32(k) * _AGENT_SIZE
        if b < 0:
            store(out, at, Neighbour(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO))
            continue
        b = u32(b)
        other = neighbour_seen(
            perceived.x[w, b] - x, perceived.y[w, b] - y, pose.z[w, b] - z, perceived.cos[w, b], perceived.sin[w, b],
            perceived.speed[w, b], body.length[w, b], body.width[w, b], cos, sin, scale, ONE,
        )  # fmt: skip
        store(out, at, other)


@by_one()
def write_agents(out, found, seen, x, y, z, cos, sin, scale, p):
    """The agents block of one who is alone, EIGHT at a time, clipped. Writes: obs."""
    for k in range(0, p.agent_count, EIGHT):
        others = words_until(found, k, p.agent_count)
        there = others >= i32(0)
        places = chosen(there, others, others - others)
        its_x, its_y, its_cos, its_sin = columns(seen, places, 0, "x")
        speed, its_z, length, width = columns(seen, places, 0, "speed")
        other = neighbour_seen(
            its_x - x, its_y - y, its_z - z, its_cos, its_sin, speed, length, width, cos, sin, scale, repeated((ONE,))
        )
        put_columns(out, k * _AGENT_SIZE, where(there, other), -ONE, ONE, p.agent_count - k)


@stage
def observe(
    w, a, first, stride, out, starts,
    pose, motion, body, lane_position, goals, reward_weights, lights, neighbours, lane_routes, variant, perceived,
    network, nearby, p,
):  # fmt: skip
    """The observation of agent a, or this worker's share of it. Writes: obs."""
    row = nearby_row(network, lane_position.section[w, a])
    # Each block gets its own view: LLVM then knows that columns are not negative, and omits Numba's wrap-around.
    observe_ego(w, a, first, out[starts.ego : starts.conditioning], motion, body, lane_position, variant, network, p)
    observe_conditioning(w, a, first, stride, out[starts.conditioning : starts.goals], reward_weights)
    observe_goals(w, a, first, stride, out[starts.goals : starts.lanes], pose, goals, p)
    observe_lanes(
        w, a, first, stride, row, out[starts.lanes : starts.boundaries], pose, lane_routes, variant, network, nearby, p
    )
    observe_boundaries(
        w, a, first, stride, row, out[starts.boundaries : starts.stops], pose, lane_routes, variant, nearby, p
    )
    observe_stops(
        w, a, first, stride, row, out[starts.stops : starts.agents], pose, lane_position, lights, variant, network, nearby, p
    )  # fmt: skip
    observe_agents(w, a, first, stride, out[starts.agents :], pose, body, neighbours, perceived, p)


@rule
def blank(first, stride, out):
    """The observation of a row without an agent: zeros. Writes: obs."""
    for i in range(first, len(out), stride):
        out[u32(i)] = ZERO
