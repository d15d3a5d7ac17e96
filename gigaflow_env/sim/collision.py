"""Collision with other agents, with the edge of the road, and with red lights."""

from gigaflow_env.jit import alone, by_one, f32, i32, lowest_bit, rule, stage, u32, u64
from gigaflow_env.packs import EIGHT, bits_of, chosen, columns, counted, repeated, words, words_until
from gigaflow_env.roads.compiled.tables import EDGE_CELL, ROW_QUADS, STOP_SIGN
from gigaflow_env.sim.geometry import (
    HALF,
    LEVEL_GAP,
    ZERO,
    boxes_overlap,
    clip,
    into_frame,
    segment_hits_box,
    segments_cross,
)
from gigaflow_env.sim.lights import eight_shown, shown
from gigaflow_env.sim.variant import frame_of, placed, seen_from, to_map, to_world
from gigaflow_env.state import LIVE, RED

_EDGE_CELL = f32(EDGE_CELL)


@rule
def corners_hit(x, y, cos, sin, old_x, old_y, old_cos, old_sin, length, width, half_length, half_width):
    """Whether a corner of a moving box crosses the box around the origin.

    Pose and old pose are in that box's moving frame.
    """
    hit = False
    for corner in range(4):
        ahead = length if corner < 2 else -length
        left = width if corner % 2 == 0 else -width
        hit = hit or segment_hits_box(
            old_x + ahead * old_cos - left * old_sin, old_y + ahead * old_sin + left * old_cos,
            x + ahead * cos - left * sin, y + ahead * sin + left * cos, half_length, half_width,
        )  # fmt: skip
    return hit


@rule
def relative(x, y, cos, sin, other_x, other_y, other_cos, other_sin):
    """Pose of another in the frame of (x, y, cos, sin): (ahead, left, cos, sin)."""
    ahead, left = into_frame(other_x - x, other_y - y, cos, sin)
    c, s = into_frame(other_cos, other_sin, cos, sin)
    return ahead, left, c, s


@stage
def boxes_met(w, a, b, pose, body):
    """Whether the boxes of agents a and b touched during the step.

    Source: arXiv 2502.03349, App. A.5: in the moving frame of one box the corners of the other draw straight segments. These
    are tested against the box at rest; then the same with the boxes swapped. Differs: boxes that overlap at the end of the
    step also collide, so that two boxes which form a cross, without a corner inside, are not missed.
    """
    ax, ay, ac, as_ = pose.x[w, a], pose.y[w, a], pose.cos[w, a], pose.sin[w, a]
    bx, by, bc, bs = pose.x[w, b], pose.y[w, b], pose.cos[w, b], pose.sin[w, b]
    ax0, ay0, ac0, as0 = pose.old_x[w, a], pose.old_y[w, a], pose.old_cos[w, a], pose.old_sin[w, a]
    bx0, by0, bc0, bs0 = pose.old_x[w, b], pose.old_y[w, b], pose.old_cos[w, b], pose.old_sin[w, b]
    al, aw, bl, bw = HALF * body.length[w, a], HALF * body.width[w, a], HALF * body.length[w, b], HALF * body.width[w, b]

    x, y, c, s = relative(ax, ay, ac, as_, bx, by, bc, bs)
    x0, y0, c0, s0 = relative(ax0, ay0, ac0, as0, bx0, by0, bc0, bs0)
    if boxes_overlap(x, y, c, s, al, aw, bl, bw) or corners_hit(x, y, c, s, x0, y0, c0, s0, bl, bw, al, aw):
        return True
    x, y, c, s = relative(bx, by, bc, bs, ax, ay, ac, as_)
    x0, y0, c0, s0 = relative(bx0, by0, bc0, bs0, ax0, ay0, ac0, as0)
    return corners_hit(x, y, c, s, x0, y0, c0, s0, al, aw, bl, bw)


@stage
def collide(w, a, rows, pose, motion, body, neighbours, events):
    """Collision with any other agent of the world. Writes: events.collision, neighbours.scratch."""
    events.collision[w, a] = False
    if rows.status[w, a] != LIVE:
        return
    xs, ys, zs, status, moved = pose.x[w], pose.y[w], pose.z[w], rows.status[w], motion.distance[w]
    lengths, widths, close = body.length[w], body.width[w], neighbours.scratch[w, min(a, neighbours.scratch.shape[1] - 1)]
    x, y, z = xs[a], ys[a], zs[a]
    # Circles around the boxes, enlarged by the distance travelled: boxes outside of them can't touch.
    reach = HALF * (lengths[a] + widths[a]) + moved[a]
    if not alone():
        for k in range(len(xs)):
            b = u32(k)
            dx, dy = xs[b] - x, ys[b] - y
            far = reach + HALF * (lengths[b] + widths[b]) + moved[b]
            if dx * dx + dy * dy < far * far and b != a and status[b] >= LIVE and abs(zs[b] - z) < LEVEL_GAP:
                if boxes_met(w, a, b, pose, body):
                    events.collision[w, a] = True
                    return
        return
    # Two loops, as the first vectorises. Status and level are checked only for the few that are left.
    any_close, own = u32(0), u32(a)  # all of 32 bits: twice as many fit into a vector
    for b in range(len(xs)):
        dx, dy = xs[b] - x, ys[b] - y
        far = reach + HALF * (lengths[b] + widths[b]) + moved[b]
        meets = u32((dx * dx + dy * dy < far * far) & (u32(b) != own))
        close[b] = meets
        any_close = u32(any_close | meets)
    if any_close == 0:
        return
    for b in range(len(xs)):
        if close[b] == 0 or status[b] < LIVE or abs(zs[b] - z) >= LEVEL_GAP:
            continue
        if boxes_met(w, a, b, pose, body):
            events.collision[w, a] = True
            return


@rule
def edges_met(w, variant, grid, map_row, x, y, z, cos, sin, old_x, old_y, half_length, half_width):
    """Whether the box at (x, y) touches an edge of the road, or the segment from (old_x, old_y) to its center crosses one.

    Edges are in map coordinates, the box is in world coordinates. In map coordinates the axes of the box are slanted.
    """
    x, y = to_map(w, variant, x, y)
    old_x, old_y = to_map(w, variant, old_x, old_y)
    ahead_x, ahead_y = to_map(w, variant, cos, sin)
    left_x, left_y = to_map(w, variant, -sin, cos)
    reach_x = half_length * abs(ahead_x) + half_width * abs(left_x)
    reach_y = half_length * abs(ahead_y) + half_width * abs(left_y)
    across = (map_row.columns + i32(1)) // i32(2)
    rows = (map_row.rows + i32(1)) // i32(2)
    low_x, high_x = min(x - reach_x, old_x), max(x + reach_x, old_x)
    low_y, high_y = min(y - reach_y, old_y), max(y + reach_y, old_y)
    low_column = clip(i32((low_x - map_row.x) / _EDGE_CELL), i32(0), i32(across - i32(1)))
    high_column = clip(i32((high_x - map_row.x) / _EDGE_CELL), i32(0), i32(across - i32(1)))
    low_row = clip(i32((low_y - map_row.y) / _EDGE_CELL), i32(0), i32(rows - i32(1)))
    high_row = clip(i32((high_y - map_row.y) / _EDGE_CELL), i32(0), i32(rows - i32(1)))
    frame = frame_of(w, variant, cos, sin)
    met = False
    for row in range(low_row, high_row + 1):
        # Cells of a row lie one after the other, and so do their edges.
        first_cell = map_row.edge_cells_at + row * across
        begin, end = grid.edges_at[u32(first_cell + low_column)], grid.edges_at[u32(first_cell + high_column + 1)]
        if alone():
            met |= any_edge_met(grid.edges, begin, end, frame, x, y, z, old_x, old_y, half_length, half_width)
            continue
        for entry in range(begin, end):
            edge = grid.edges[u32(entry)]
            met |= edge_met(
                edge.x1, edge.y1, edge.x2, edge.y2, edge.z, frame, x, y, z, old_x, old_y, half_length, half_width
            )  # fmt: skip
    return met


@rule
def edge_met(x1, y1, x2, y2, edge_z, frame, x, y, z, old_x, old_y, half_length, half_width):
    """Whether `edges_met` holds for one edge. Positions are in map coordinates."""
    reached = edge_reached(x1, y1, x2, y2, frame, x, y, old_x, old_y, half_length, half_width)
    return reached & (abs(edge_z - z) <= LEVEL_GAP)


@rule
def edge_reached(x1, y1, x2, y2, frame, x, y, old_x, old_y, half_length, half_width):
    """The same, whatever the level. Also of packs."""
    ahead1, left1 = seen_from(frame, x1 - x, y1 - y)
    ahead2, left2 = seen_from(frame, x2 - x, y2 - y)
    touched = segment_hits_box(ahead1, left1, ahead2, left2, half_length, half_width)
    crossed = segments_cross(old_x, old_y, x, y, x1, y1, x2, y2)
    return touched | crossed


@by_one(nothing=False)
def any_edge_met(edges, begin, end, frame, x, y, z, old_x, old_y, half_length, half_width):
    """Whether `edge_met` holds for any edge of begin .. end - 1, EIGHT at a time."""
    for entry in range(begin, end, EIGHT):
        x1, y1, x2, y2 = columns(edges, counted(entry, end - 1), 0, "x1")
        left = bits_of(edge_reached(x1, y1, x2, y2, frame, x, y, old_x, old_y, half_length, half_width))
        while left != 0:  # seldom
            place = min(u32(u32(entry) + u32(lowest_bit(left))), u32(end - 1))
            if abs(edges[place].z - z) <= LEVEL_GAP:
                return True
            left &= u64(left - u64(1))
    return False


@stage
def leave_road(w, a, clock, rows, pose, body, variant, network, grid, events):
    """Whether the box touches an edge of the road, or its center crossed one. Writes: events.offroad.

    Differs: the paper tests points outside of the road. Here the box is tested against the edges of the drivable area, not
    corners against quads. The path of the center is tested too, so that a fast car cannot jump over an edge.
    """
    events.offroad[w, a] = False
    if rows.status[w, a] != LIVE:
        return
    events.offroad[w, a] = edges_met(
        w, variant, grid, network.maps[clock.map[w]],
        pose.x[w, a], pose.y[w, a], pose.z[w, a], pose.cos[w, a], pose.sin[w, a],
        pose.old_x[w, a], pose.old_y[w, a], HALF * body.length[w, a], HALF * body.width[w, a],
    )  # fmt: skip


@rule
def nearby_row(network, section):
    """Row of the Nearby tables of a quad."""
    lane = network.lanes[u32(network.sections[u32(section)].lane)]
    return lane.nearby_at + (section - lane.first) // i32(ROW_QUADS)


@stage
def run_light(w, a, rows, pose, motion, body, lane_position, lights, variant, network, nearby, events, p):
    """Whether the middle of the front crossed a stop line at red, and at which stop sign the agent has stopped.

    A stop sign counts as red until the agent has stopped at it, and again once it has crossed the line.
    Writes: events.red_light, lane_position.stood.

    Source: arXiv 2502.03349, App. B.4; what counts as a violation isn't published. Ours: the colour is that of the
    observation from which the action was chosen.
    """
    events.red_light[w, a] = False
    if rows.status[w, a] != LIVE:
        return
    x, y, z, half_length = pose.x[w, a], pose.y[w, a], pose.z[w, a], HALF * body.length[w, a]
    front_x, front_y = x + half_length * pose.cos[w, a], y + half_length * pose.sin[w, a]
    old_x = pose.old_x[w, a] + half_length * pose.old_cos[w, a]
    old_y = pose.old_y[w, a] + half_length * pose.old_sin[w, a]
    stands, stood = abs(motion.speed[w, a]) < p.stop_sign_speed, i32(-1)
    row = nearby_row(network, lane_position.section[w, a])
    if alone():
        fronts = front_x, front_y, old_x, old_y
        lane_position.stood[w, a] = meet_stops(
            w, a, nearby.stops[u32(row)], fronts, z, stands, lane_position, lights, variant, network, events, p
        )  # fmt: skip
        return
    for k in range(nearby.stops.shape[1]):
        number = nearby.stops[u32(row), u32(k)]
        if number < 0:
            break
        stop = network.stops[u32(number)]
        sign = stop.light == STOP_SIGN
        red = shown(w, a, number, stop.light, lane_position, lights, p) == RED
        if (not red and not sign) or abs(stop.z - z) > LEVEL_GAP:
            continue
        line_x, line_y = to_world(w, variant, stop.x, stop.y)
        _, half_width, cos, sin = placed(w, variant, ZERO, stop.half_width, stop.cos, stop.sin)
        past, left = into_frame(front_x - line_x, front_y - line_y, cos, sin)
        old_past, old_left = into_frame(old_x - line_x, old_y - line_y, cos, sin)
        crossed = False
        if old_past <= ZERO < past:
            share = old_past / (old_past - past)
            crossed = abs(old_left + share * (left - old_left)) <= half_width
            events.red_light[w, a] = events.red_light[w, a] or (red and crossed)
        at_line = stands and -p.stop_sign_distance <= past <= ZERO and abs(left) <= half_width
        if sign and stood < 0 and (at_line or (not red and not crossed)):
            stood = number
    lane_position.stood[w, a] = stood


@by_one()
def run_lights(w, rows, pose, motion, body, lane_position, lights, variant, network, nearby, neighbours, events, p):
    """What `run_light` does, for all agents of a world and one who is alone: those who have no stop line near are left out.

    Writes: neighbours.scratch, too.
    """
    near, count = neighbours.scratch[w, 0], i32(0)
    for a in range(rows.status.shape[1]):
        live = rows.status[w, a] == LIVE
        # Where no agent drives the section may be another map's.
        row = nearby_row(network, lane_position.section[w, a] if live else i32(0))
        meets = live & (nearby.stops.shape[1] > 0 and nearby.stops[u32(row), u32(0)] >= 0)
        events.red_light[w, a] = False
        lane_position.stood[w, a] = i32(-1) if live & (not meets) else lane_position.stood[w, a]
        near[u32(count)] = u32(a)  # without a branch: it would be mispredicted
        count = i32(count + i32(meets))
    for k in range(count):
        run_light(w, near[u32(k)], rows, pose, motion, body, lane_position, lights, variant, network, nearby, events, p)


@by_one(nothing=i32(-1))
def meet_stops(w, a, numbers, fronts, z, stands, lane_position, lights, variant, network, events, p):
    """What `run_light` does with the stop lines of a list, EIGHT at a time. Writes: events.red_light. Returns `stood`."""
    front_x, front_y, old_x, old_y = fronts
    stood, zero = i32(-1), repeated((ZERO,))
    for first in range(0, len(numbers), EIGHT):
        number = words_until(numbers, first, len(numbers))
        there = number >= i32(0)
        if bits_of(there) == 0:
            break
        places = chosen(there, number, number - number)
        stop_x, stop_y, stop_z, _ = columns(network.stops, places, 0, "x")
        cos, sin, half_width, light = columns(network.stops, places, 0, "cos")
        line_x, line_y = to_world(w, variant, stop_x, stop_y)
        _, half_width, cos, sin = placed(w, variant, zero, half_width, cos, sin)
        past, left = into_frame(front_x - line_x, front_y - line_y, cos, sin)
        old_past, old_left = into_frame(old_x - line_x, old_y - line_y, cos, sin)
        share = old_past / (old_past - past)
        crossed = bits_of((old_past <= ZERO) & (ZERO < past) & (abs(old_left + share * (left - old_left)) <= half_width))
        red = bits_of(eight_shown(w, a, places, words(light), lane_position, lights, p) == i32(RED))
        level = there & (abs(stop_z - z) <= LEVEL_GAP)
        events.red_light[w, a] = events.red_light[w, a] or (bits_of(level) & red & crossed) != 0
        at_line = bits_of((-p.stop_sign_distance <= past) & (past <= ZERO) & (abs(left) <= half_width)) if stands else u64(0)
        stopped = bits_of(level & (words(light) == i32(STOP_SIGN))) & (at_line | ~(red | crossed))
        if stood < 0 and stopped != 0:
            stood = numbers[u32(first + lowest_bit(stopped))]
    return stood
