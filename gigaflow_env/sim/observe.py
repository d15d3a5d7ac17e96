"""Observation of an agent, in its own frame, scaled and clipped to [-1, 1]. Blocks and features: layout.py."""

import math

from gigaflow_env.config import CONDITIONING
from gigaflow_env.jit import alone, by_one, f32, fetch_ahead, i32, least_of_row, lowest_bit, row_at, rule, stage, u32, u64
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
from gigaflow_env.sim.collision import nearby_row
from gigaflow_env.sim.erratic import is_blind
from gigaflow_env.sim.geometry import HALF, ONE, ZERO, clip, into_frame
from gigaflow_env.sim.lanes import FAR, blocks_of, place_s, sample_route_distance
from gigaflow_env.sim.lights import shown
from gigaflow_env.sim.random_numbers import DROPOUT, draws, pick
from gigaflow_env.sim.variant import curved, frame_of, lane_stretch, seen_from, shape_of, to_map
from gigaflow_env.state import ENDED, GREEN, OFF, RED, YELLOW
from gigaflow_env.vectors import differences, find_places, four_at, keep_up_to, products, put_four, sums

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
NOBODY = u32(0xFFFFFFFF)
_LAST = u32(0xFFFFFFFE)  # of the keys of somebody
WORD, _ALL, _BIT = i32(64), u64(0xFFFFFFFFFFFFFFFF), u64(1)
_KEY_STEPS, _KEY_SHIFT, _KEY_AGENT = f32(2.0**24), u32(8), u32(0xFF)
_COEFFICIENTS = len(CONDITIONING)
_Z, _COS, _VELOCITY_Y = (Neighbour._fields.index(name) for name in ("z", "cos", "velocity_y"))
_GOAL_SIZE, _LANE_SIZE, _BOUNDARY_SIZE, _STOP_SIZE, _AGENT_SIZE = (len(group._fields) for group in FEATURES[2:])


@rule
def clipped(value):
    """A feature in [-1, 1]."""
    return clip(value, -ONE, ONE)


@rule
def store(out, at, features):
    """Write a declared tuple to the columns of `out` from `at` on, not yet clipped. at: u32 times a size."""
    for i in range(len(features)):
        out[at + i] = features[i]


@rule
def neighbour_key(dx, dy, b, scale):
    """The order of neighbours, as one number: squared distance, then agent. NOBODY: out of range. scale: `key_scale`."""
    distance = (dx * dx + dy * dy) * scale
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


@stage
def find_neighbours(w, a, clock, rows, pose, neighbours, p):
    """The nearest agents in view_range, nearest first; none for an inattentive driver. Writes: neighbours.

    Agents are ordered by a key: squared distance in units of 2^-24 of the squared range, then number. The order is unique,
    so the result does not depend on whom the search starts from. These are the neighbours of the last step: nobody is among
    the nearest who is farther away than all of them. The place of each that is left is the number of smaller keys.
    """
    xs, ys, status, found = pose.x[w], pose.y[w], rows.status[w], neighbours.agent[w, a]
    keys, places, ordered = neighbours.key[w, 0], neighbours.key[w, 1], neighbours.key[w, 2]
    wanted = len(found)
    if is_blind(w, a, clock, rows, p):
        for k in range(wanted):
            found[k] = i32(-1)
        return
    x, y, scale, own = xs[a], ys[a], key_scale(p.view_range), u32(a)
    for b in range(len(xs)):
        key = neighbour_key(xs[b] - x, ys[b] - y, b, scale)
        keys[b] = key if (status[b] >= ENDED) & (u32(b) != own) else NOBODY
    for b in range(len(xs), len(keys)):
        keys[b] = NOBODY
    bound = u32(0)
    for k in range(wanted):
        key = keys[u32(found[k] if found[k] >= 0 else i32(a))]  # its own is nobody's
        bound = key if key > bound else bound
    count = keep_up_to(keys, min(bound, _LAST))
    find_places(keys, count, places)
    for k in range(count):
        ordered[places[k]] = keys[k]
    for k in range(count, wanted):
        ordered[k] = NOBODY
    for k in range(wanted):
        found[k] = agent_of(ordered[k])


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
    for i in range(first, _COEFFICIENTS, stride):
        value = (reward_weights.coefficients[w, a, i] - _LOW[i]) * _GAIN[i] - ONE
        out[u32(i)] = value


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
def bits_below(place):
    """The bits of an uint64 at places below `place`."""
    return _ALL if place >= WORD else u64((_BIT << u64(max(place, i32(0)))) - _BIT)


@rule
def bits_between(word, begin, end):
    """Of the places begin .. end - 1 of a list those that lie in its 64 bits number `word`: a bit for each."""
    before = i32(word) * WORD
    return u64(bits_below(i32(end - before)) & (bits_below(i32(begin - before)) ^ _ALL))


@rule
def listed(begin, k, count):
    """Index of the k-th element from `begin` on in a list of `count`, wrapped around at its end."""
    return begin + k if begin + k < count else begin + k - count


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

    Route distances stay valid until the agent comes to another row or goal, and are kept for all that it has observed there:
    `measured` says which. Without dropout that is all at once. With dropout, one who is alone measures only those that are
    new in the window; threads that share a row would wait for each other, and measure all.
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
    listing, distances = nearby.samples[row], lane_routes.route_distance[w, a]
    begin, boundary, count = i32(0), i32(0), i32(nearby.samples.shape[1])
    if p.drops != 0:
        u, v, _, _ = draws(clock.seed, clock.number[w], a, clock.tick[w], DROPOUT, 0)
        begin, boundary = i32(pick(u, count)), i32(pick(v, i32(nearby.boundaries.shape[1])))
    fetch_ahead(nearby.boundaries, row)
    map_row, goal_lane = network.maps[clock.map[w]], network.lanes[network.sections[goal].lane]
    bundle, order, length, goal_s = goal_lane.bundle, goal_lane.order, goal_lane.length, place_s(network, goal, HALF)
    shape, plain = shape_of(w, variant), variant.plain[w]
    route_row, goal_stretch = map_row.route_at + goal_lane.local * map_row.lanes, lane_stretch(w, variant, goal_lane)
    samples, route_at, smallest = network.samples, map_row.route_at, FAR
    block_row = map_row.blocks_at
    if block_row >= 0:
        block_row += goal_lane.local * blocks_of(map_row)
    way = (
        shape, plain, network.route, network.bends, network.leads, network.route_blocks, route_at, route_row,
        map_row.leads_at, block_row, bundle, order, length, goal_s, goal_stretch,
    )  # fmt: skip
    end, measured = i32(begin + p.lanes_kept), lane_routes.measured[w, a]
    # Indices are unsigned, here and below: Numba then does not check for negative ones.
    if not alone():
        for k in range(first, p.lanes_kept, stride):
            place = u32(listed(begin, i32(k), count))
            found = sample_route_distance(row_at(samples, u32(listing[place])), *way)
            distances[place] = found
            smallest = min(smallest, found)
    if first == 0:
        for word in range(len(measured)):
            window = bits_between(word, begin, min(end, count)) | bits_between(word, i32(0), i32(end - count))
            known = measured[word] if stays else u64(0)
            measured[word] = known | window
            new = window & (known ^ _ALL) if alone() else u64(0)
            while new != 0:
                place = u32(u32(word) * u32(WORD) + u32(lowest_bit(new)))
                distances[place] = sample_route_distance(row_at(samples, u32(listing[place])), *way)
                new &= u64(new - _BIT)
    if alone():
        for k in range(begin, min(end, count)):
            smallest = min(smallest, distances[u32(k)])
        for k in range(i32(end - count)):
            smallest = min(smallest, distances[u32(k)])
    smallest = least_of_row(smallest)
    if first == 0:
        lane_routes.row[w, a], lane_routes.goal[w, a], lane_routes.smallest[w, a] = row, goal, smallest
        lane_routes.lane[w, a], lane_routes.boundary[w, a] = begin, boundary


@rule
def lane_seen(x, y, cos, sin, width, route_distance, detour, frame, area, scale, route_scale):
    """The features of a lane sample at (x, y) from the agent, in map coordinates, for a frame of the world.

    detour: route_distance minus the smallest of all samples. area, frame: of the map variant, see sim/variant.py.
    scale, route_scale: 1 / view_range, 1 / route_range.
    """
    ahead, left = seen_from(frame, x, y)
    lane_cos, lane_sin = seen_from(frame, cos, sin)
    shrink = ONE / f32(math.sqrt(lane_cos * lane_cos + lane_sin * lane_sin))  # 1 / gain: a frame turns, no more
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
    scale, route_scale, smallest = ONE / p.view_range, ONE / p.route_range, lane_routes.smallest[w, a]
    area, distances = abs(variant.det[w]), lane_routes.route_distance[w, a]
    listing, begin, count = nearby.samples[row], lane_routes.lane[w, a], i32(nearby.samples.shape[1])
    samples = network.samples
    if not alone():
        for k in range(first, p.lanes_kept, stride):
            place = u32(listed(begin, k, count))
            sample, distance = row_at(samples, u32(listing[place])), distances[place]
            lane = lane_seen(
                sample.x - x, sample.y - y, sample.cos, sample.sin, sample.width, distance, distance - smallest,
                frame, area, scale, route_scale,
            )  # fmt: skip
            store(out, u32(k) * _LANE_SIZE, lane)
        return
    # First copied unchanged, then converted in place: the second loop vectorises, as it reads and writes all columns.
    place, last = u64(begin), u64(count - 1)
    for k in range(p.lanes_kept):
        at, sample, distance = k * _LANE_SIZE, samples[u32(listing[place])], distances[place]
        out[at], out[at + 1], out[at + 2], out[at + 3] = sample.x, sample.y, sample.cos, sample.sin
        out[at + 4], out[at + 5], out[at + 6] = sample.width, distance, distance
        place = u64(0) if place == last else u64(place + u64(1))
    for k in range(p.lanes_kept):
        at = k * _LANE_SIZE
        lane = lane_seen(
            out[at] - x, out[at + 1] - y, out[at + 2], out[at + 3], out[at + 4], out[at + 5], out[at + 6] - smallest,
            frame, area, scale, route_scale,
        )  # fmt: skip
        store(out, at, lane)


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
        for k in range(start, len(points), stride):
            point = row_at(points, u32(k))
            ahead, left = seen_from(frame, point.x - x, point.y - y)
            store(slots, u32(k) * _BOUNDARY_SIZE, Boundary(x=ahead * scale, y=left * scale))


@stage
def observe_stops(w, a, first, stride, row, out, pose, lane_position, lights, variant, network, nearby, p):
    """The stops block, or this worker's share of it. Writes: obs."""
    x, y = to_map(w, variant, pose.x[w, a], pose.y[w, a])
    frame, scale = frame_of(w, variant, pose.cos[w, a], pose.sin[w, a]), ONE / p.view_range
    for k in range(first, nearby.stops.shape[1], stride):
        number = nearby.stops[u32(row), u32(k)]
        at = u32(k) * _STOP_SIZE
        store(out, at, StopLine(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO))
        if number < 0:
            continue
        stop = network.stops[u32(number)]
        colour = shown(w, a, number, stop.light, lane_position, lights, p)
        ahead, left = seen_from(frame, stop.x - x, stop.y - y)
        if colour == OFF or ahead * ahead + left * left > p.view_range * p.view_range:
            continue
        stop_cos, stop_sin = seen_from(frame, stop.cos, stop.sin)
        shrink = ONE / f32(math.sqrt(stop_cos * stop_cos + stop_sin * stop_sin))
        line = StopLine(
            x=ahead * scale,
            y=left * scale,
            cos=stop_cos * shrink,
            sin=stop_sin * shrink,
            red=ONE if colour == RED else ZERO,
            yellow=ONE if colour == YELLOW else ZERO,
            green=ONE if colour == GREEN else ZERO,
        )
        store(out, at, line)


@stage
def line_up(w, a, pose, body, neighbours, perceived):
    """What others observe of agent a, one number behind the other, for one who is alone. Writes: neighbours.seen."""
    seen = neighbours.seen[w, a]
    seen[0], seen[1], seen[2], seen[3] = perceived.x[w, a], perceived.y[w, a], perceived.cos[w, a], perceived.sin[w, a]
    seen[4], seen[5], seen[6], seen[7] = perceived.speed[w, a], pose.z[w, a], body.length[w, a], body.width[w, a]


@by_one
def write_lined_up(out, at, seen, x, y, z, cos, sin, scale):
    """The features of another agent that was lined up, those of `observe_agents`, four at a time. Writes: obs."""
    place, rest = differences(four_at(seen, 0), (x, y, ZERO, ZERO)), differences(four_at(seen, 4), (ZERO, z, ZERO, ZERO))
    across = products((place[1], place[0], place[3], place[2]), (sin, -sin, sin, -sin))
    place = sums(products(place, (cos, cos, cos, cos)), across)
    speed = rest[0]
    velocity = products(products((speed, speed, speed, speed), place), (_SPEED, _SPEED, _SPEED, _SPEED))
    rest = products(rest, (ONE, _HEIGHT, _LENGTH, _WIDTH))
    # What a later one writes again is of no use before.
    put_four(out, at, products(place, (scale, scale, ONE, ONE)))
    out[at + _Z] = rest[1]
    put_four(out, at + _COS, (place[2], place[3], velocity[2], velocity[3]))
    put_four(out, at + _VELOCITY_Y, (velocity[3], rest[2], rest[3], ONE))


@stage
def observe_agents(w, a, first, stride, out, pose, body, neighbours, perceived, p):
    """The agents block, or this worker's share of it. Writes: obs."""
    x, y, z, cos, sin, scale = pose.x[w, a], pose.y[w, a], pose.z[w, a], pose.cos[w, a], pose.sin[w, a], ONE / p.view_range
    for k in range(first, p.agent_count, stride):
        b = neighbours.agent[w, a, u32(k)]
        at = u32(k) * _AGENT_SIZE
        if b < 0:
            store(out, at, Neighbour(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO))
            continue
        b = u32(b)
        if alone():
            write_lined_up(out, at, neighbours.seen[w, b], x, y, z, cos, sin, scale)
            continue
        ahead, left = into_frame(perceived.x[w, b] - x, perceived.y[w, b] - y, cos, sin)
        other_cos, other_sin = into_frame(perceived.cos[w, b], perceived.sin[w, b], cos, sin)
        other = Neighbour(
            x=ahead * scale,
            y=left * scale,
            z=(pose.z[w, b] - z) * _HEIGHT,
            cos=other_cos,
            sin=other_sin,
            velocity_x=perceived.speed[w, b] * other_cos * _SPEED,
            velocity_y=perceived.speed[w, b] * other_sin * _SPEED,
            length=body.length[w, b] * _LENGTH,
            width=body.width[w, b] * _WIDTH,
            present=ONE,
        )
        store(out, at, other)


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
    # A row is clipped once it is whole, eight columns at a time. Threads that share it do so on its way to memory.
    if alone():
        for i in range(len(out)):
            out[u32(i)] = clipped(out[u32(i)])


@rule
def blank(first, stride, out):
    """The observation of a row without an agent: zeros. Writes: obs."""
    for i in range(first, len(out), stride):
        out[u32(i)] = ZERO
