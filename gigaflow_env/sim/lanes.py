"""Lanes: the lane position of an agent (Frenet coordinates), and the route distance to its goal."""

from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.jit import alone, by_one, f32, fetch_ahead, i32, lowest_bit, rule, stage, u32, u64
from gigaflow_env.packs import (
    EIGHT,
    bits_of,
    chosen,
    columns,
    counted,
    eight_from,
    keep,
    picked,
    put_eight,
    repeated,
    root,
    sizes,
    within,
    words,
    words_of_bytes,
    words_until,
)
from gigaflow_env.roads.compiled.tables import CELL, LANE_CHANGE_COST, LEAD_UNIT, ROUTE_BLOCK, UNREACHABLE
from gigaflow_env.sim.geometry import EPSILON, HALF, LEVEL_GAP, ONE, ZERO, atan2, clip, into_frame
from gigaflow_env.sim.variant import lane_stretch, placed, shape_of, stretch, to_map
from gigaflow_env.state import LIVE

_CELL = f32(CELL)
_CHANGE = f32(LANE_CHANGE_COST)
FAR = f32(UNREACHABLE)

# Cost of a lane where several cover the same position; ours. The direction tells most lanes apart. Connectors that leave an
# approach in the same direction are told apart by the route: 100 m of detour cost as much as 26 degrees.
_ROUTE_WEIGHT = f32(1e-3)
_OFFSET_WEIGHT = f32(0.1)
_OUTSIDE = f32(10.0)
_INSIDE = f32(9.0)  # inside of a quad nothing costs more than 3.1, outside nothing less than _OUTSIDE
_ROUTE_LIMIT = f32(1000.0)
_NEAR_LANE = f32(2.0)  # m, the grid's margin: a cell lists only some of the quads further away
_OFF_ROAD = f32(10.0)  # m, wider than any shoulder
_TRACK_LIMIT = i32(64)
_AHEAD = 4  # agents; a row of a table takes as long to come from memory as they do
_LINE = 16  # numbers that come from memory at once
_BEND = f32(1 / 127)
_LEAD = f32(1 / LEAD_UNIT)
_BLOCK = i32(ROUTE_BLOCK)


@rule
def past_line(x, y, line_x, line_y, cos, sin):
    """Metres by which a point is past the line at (line_x, line_y) that is normal to (cos, sin). Also of packs."""
    return (x - line_x) * cos + (y - line_y) * sin


@rule
def before_line(x, y, line_x, line_y, cos, sin):
    """Metres by which a point is before it. Also of packs."""
    return (line_x - x) * cos + (line_y - y) * sin


@rule
def along_quad(x, y, a, b):
    """Position of a point between two sections: (metres past the first, metres before the second)."""
    return past_line(x, y, a.x, a.y, a.cos, a.sin), before_line(x, y, b.x, b.y, b.cos, b.sin)


@rule
def in_quad(x, y, past, before, a, b):
    """Frenet coordinates: (fraction 0..1, offset [m] left positive, half width [m], direction cos, sin). Also of packs.

    For points between the two section lines. The borders of a quad are straight, not arcs around the center line. In the
    middle between sections that differ by an angle of 2 d the half width is smaller by the factor cos d: 6 mm in a bend of
    6 m radius. The mean of both directions is shorter than 1 by the same factor.
    """
    total = past + before
    fraction = within(chosen(total > EPSILON, past / total, ZERO), ZERO, ONE)
    cos, sin = a.cos + fraction * (b.cos - a.cos), a.sin + fraction * (b.sin - a.sin)
    mean = root(cos * cos + sin * sin)
    scale = ONE / mean
    cos, sin = cos * scale, sin * scale
    dx = x - (a.x + fraction * (b.x - a.x))
    dy = y - (a.y + fraction * (b.y - a.y))
    half_width = mean * (a.half_width + fraction * (b.half_width - a.half_width))
    return fraction, dy * cos - dx * sin, half_width, cos, sin


@rule
def misfit(cos, sin, offset, half_width, lane_cos, lane_sin, past, before):
    """How badly a quad fits a pose, by direction and place, without the route; and how far outside of it that is [m]."""
    outside = max(abs(offset) - half_width, ZERO) + max(-past, ZERO) + max(-before, ZERO)
    cost = ONE - (cos * lane_cos + sin * lane_sin) + _OFFSET_WEIGHT * abs(offset) / half_width
    if outside > ZERO:
        cost += _OUTSIDE + outside
    return cost, outside


@rule
def route_entry(network, map_row, goal_local, local):
    """Entry of Network.route for two lanes by LaneRow.local; -1 if they are too far apart on a large map."""
    if map_row.blocks_at < 0:
        return map_row.route_at + goal_local * map_row.lanes + local
    return block_entry(
        network.route_blocks, map_row.route_at, map_row.blocks_at + goal_local * blocks_of(map_row), local
    )  # fmt: skip


@rule
def blocks_of(map_row):
    """Blocks of lanes in a row of Network.route_blocks."""
    return (map_row.lanes + i32(ROUTE_BLOCK - 1)) // i32(ROUTE_BLOCK)


@rule
def block_entry(route_blocks, route_at, block_row, local):
    """Entry of Network.route on a large map; `block_row` is the first entry of the goal lane in `route_blocks`."""
    block = route_blocks[np.uint64(block_row + local // i32(ROUTE_BLOCK))]
    if block < 0:
        return np.int64(-1)
    return route_at + np.int64(block) * np.int64(ROUTE_BLOCK) + local % i32(ROUTE_BLOCK)


@rule
def route_length(plain, shape, route, bends, entry):
    """Route distance [m] of an entry of Network.route in a world of this shape (see `stretch`)."""
    at = np.uint64(entry)
    if plain:
        return route[at]
    bend = bends[at]
    return route[at] * stretch(shape, f32(bend.cos2) * _BEND, f32(bend.sin2) * _BEND)


@rule
def lead(leads, leads_at, from_first):
    """By how much a metre on a lane shortens a route: more than 1 if it leaves to a longer lane beside it."""
    return ONE if leads_at < 0 else f32(leads[np.uint64(leads_at + from_first)]) * _LEAD


@rule
def route_distance(w, variant, network, map_row, lane, s, goal_lane, goal_s):
    """Route distance [m] from `s` on `lane` to `goal_s` on `goal_lane`; about UNREACHABLE if there is no route.

    `s` and `goal_s` are in metres of the map, the result is in metres of the world. Lanes side by side differ in length
    where the road curves: a route that leaves the own lane counts what is left of the other one.
    """
    here, there = network.lanes[u32(lane)], network.lanes[u32(goal_lane)]
    if here.bundle == there.bundle:
        scaled = s * there.length / here.length
        if goal_s >= scaled:
            return (goal_s - scaled) * lane_stretch(w, variant, there) + _CHANGE * f32(abs(here.order - there.order))
    entry = route_entry(network, map_row, there.local, here.local)
    if entry < 0:
        return FAR
    route = route_length(variant.plain[w], shape_of(w, variant), network.route, network.bends, entry)
    gain = lead(network.leads, map_row.leads_at, entry - map_row.route_at)
    return route - s * gain * lane_stretch(w, variant, here) + goal_s * lane_stretch(w, variant, there)


@rule
def place_s(network, section, fraction):
    """Distance [m] of a lane position from the start of its lane."""
    lane = network.lanes[u32(network.sections[u32(section)].lane)]
    return (f32(section - lane.first) + fraction) * lane.step


class Way(NamedTuple):
    """Where the route distances to a goal are found, and what is the same for all samples.

    Read from arrays, that would be loaded again for each of them.
    """

    shape: Any  # of the world, see `shape_of`
    plain: Any
    route: Any  # of Network, and the three below
    bends: Any
    leads: Any
    route_blocks: Any
    route_at: Any  # of MapRow
    leads_at: Any
    route_row: Any  # first entry of the goal lane's row in Network.route
    block_row: Any  # the same in Network.route_blocks, or -1
    bundle: Any  # of the goal lane, and the two below
    order: Any
    length: Any
    stretch: Any
    goal_s: Any  # [m] the goal, from the start of its lane


@rule
def way_to(w, variant, network, map_row, goal_section):
    """The Way to the middle of a quad."""
    lane, block_row = network.lanes[u32(network.sections[u32(goal_section)].lane)], map_row.blocks_at
    if block_row >= 0:
        block_row += lane.local * blocks_of(map_row)
    return Way(
        shape_of(w, variant), variant.plain[w], network.route, network.bends, network.leads, network.route_blocks,
        map_row.route_at, map_row.leads_at, map_row.route_at + lane.local * map_row.lanes, block_row,
        lane.bundle, lane.order, lane.length, lane_stretch(w, variant, lane), place_s(network, goal_section, HALF),
    )  # fmt: skip


@rule
def sample_route_distance(sample, way):
    """`route_distance` from a lane sample, a SampleRow."""
    scaled = sample.share * way.length
    if sample.bundle == way.bundle and way.goal_s >= scaled:
        return (way.goal_s - scaled) * way.stretch + _CHANGE * f32(abs(sample.order - way.order))
    entry = way.route_row + sample.local
    if way.block_row >= 0:
        entry = block_entry(way.route_blocks, way.route_at, way.block_row, sample.local)
        if entry < 0:
            return FAR
    found = route_length(way.plain, way.shape, way.route, way.bends, entry)
    gain = lead(way.leads, way.leads_at, entry - way.route_at)
    return found - sample.s * gain * stretch(way.shape, sample.cos2, sample.sin2) + way.goal_s * way.stretch


@rule
def eight_route_distances(samples, places, at, way):
    """`sample_route_distance` from EIGHT lane samples, a pack: of those at `places`, from `at` on."""
    _, s, share, local = columns(samples, places, at, "width")
    bundle, order, cos2, sin2 = columns(samples, places, at, "bundle")
    first, entries = way.route_row, words(local)
    blocks = entries
    if way.block_row >= 0:
        blocks = picked(way.route_blocks, way.block_row, entries // _BLOCK)
        first, entries = way.route_at, chosen(blocks < i32(0), blocks - blocks, blocks * _BLOCK + entries % _BLOCK)
    found = picked(way.route, first, entries)
    if not way.plain:
        bend_cos2, bend_sin2 = picked(way.bends, first, entries)
        found = found * stretch(way.shape, bend_cos2 * _BEND, bend_sin2 * _BEND)
    if way.leads_at >= 0:
        s = s * (picked(way.leads, way.leads_at + (first - way.route_at), entries) * _LEAD)
    around = found - s * stretch(way.shape, cos2, sin2) + way.goal_s * way.stretch
    if way.block_row >= 0:
        around = chosen(blocks < i32(0), repeated((FAR,)), around)
    scaled = share * way.length
    ahead = (way.goal_s - scaled) * way.stretch + _CHANGE * sizes(words(order) - way.order)
    return chosen((words(bundle) == way.bundle) & (scaled <= way.goal_s), ahead, around)


@rule
def track(network, section, x, y):
    """The quad of the same lane abreast of a point, searched from a quad near by; the last one beyond the lane's ends."""
    lane = network.lanes[u32(network.sections[u32(section)].lane)]
    last = lane.first + lane.quads - i32(1)
    for _ in range(_TRACK_LIMIT):
        past, before = along_quad(x, y, network.sections[u32(section)], network.sections[u32(section + i32(1))])
        if before < ZERO and section < last:
            section = i32(section + i32(1))
        elif past < ZERO and section > lane.first:
            section = i32(section - i32(1))
        else:
            break
    return section


@by_one(nothing=u64(0))
def abreast(sections, quads, first, end, margin, x, y):
    """Which of EIGHT quads from entry `first` on a point is abreast of, or nearly, on whatever level: a bit each."""
    places = words_until(quads, first, end)
    there = places >= i32(0)
    places = chosen(there, places, places - places)
    past = past_line(x, y, *columns(sections, places, 0, "x"))
    before = before_line(x, y, *columns(sections, places + i32(1), 0, "x"))
    return bits_of(there & (past >= -margin) & (before >= -margin))


@rule
def cell_at(map_row, x, y):
    """Number of the grid cell of a point in map coordinates."""
    column = clip(i32((x - map_row.x) / _CELL), i32(0), i32(map_row.columns - i32(1)))
    row = clip(i32((y - map_row.y) / _CELL), i32(0), i32(map_row.rows - i32(1)))
    return map_row.cells_at + row * map_row.columns + column


@rule
def search(w, variant, network, grid, map_row, section, x, y, z, cos, sin, goal_section):
    """The quad that fits a pose best, of all in its grid cell on its level; `section` if there is none.

    (x, y) is in map coordinates, (cos, sin) in world coordinates.
    """
    cell = cell_at(map_row, x, y)
    goal_lane = network.sections[u32(goal_section)].lane
    goal_s = place_s(network, goal_section, HALF)
    best = section
    # First only the quads beside which the point lies: inside of one of them it fits better than any ahead or behind can.
    for margin in (ZERO, _NEAR_LANE):
        best, best_cost = section, FAR
        begin, end = grid.quads_at[u32(cell)], grid.quads_at[u32(cell + 1)]
        # Most quads of the cell are ahead or behind: they are skipped before the costly part.
        for first in range(begin, end, EIGHT if alone() else 1):
            left = abreast(network.sections, grid.quads, first, end, margin, x, y) if alone() else u64(1)
            while left != 0:
                entry = u32(u32(first) + u32(lowest_bit(left))) if alone() else u32(first)
                left &= u64(left - u64(1))
                quad = grid.quads[entry]
                a, b = network.sections[u32(quad)], network.sections[u32(quad + i32(1))]
                past, before = along_quad(x, y, a, b)
                if (past < -margin) | (before < -margin) | (abs(a.z - z) > LEVEL_GAP):
                    continue
                fraction, offset, half_width, lane_cos, lane_sin = in_quad(x, y, past, before, a, b)
                offset, half_width, lane_cos, lane_sin = placed(w, variant, offset, half_width, lane_cos, lane_sin)
                cost, _ = misfit(cos, sin, offset, half_width, lane_cos, lane_sin, past, before)
                if cost < best_cost:
                    s = place_s(network, quad, fraction)
                    route = route_distance(w, variant, network, map_row, a.lane, s, goal_lane, goal_s)
                    cost += _ROUTE_WEIGHT * min(route, _ROUTE_LIMIT)
                    if cost < best_cost:
                        best, best_cost = quad, cost
        if best_cost < _INSIDE:
            break
    return best


@stage
def locate(w, a, clock, rows, pose, goals, variant, network, grid, lane_position):
    """Lane position (Frenet), height and route distance to the goal. Writes: lane_position, except stood, pose.z.

    An agent keeps its lane as long as it is inside of it and heads along it.
    """
    find_place(w, a, clock, rows, pose, goals, variant, network, grid, lane_position)
    measure_angle(w, a, rows, lane_position)


@stage
def measure_angle(w, a, rows, lane_position):
    """The last part of `locate`, apart from it as a loop over agents then computes several at once."""
    if rows.status[w, a] == LIVE:
        lane_position.angle[w, a] = atan2(lane_position.angle[w, a], lane_position.cos[w, a])


@stage
def find_place(w, a, clock, rows, pose, goals, variant, network, grid, lane_position):
    """What `locate` does, but for the angle: in its place is its sine."""
    follow_lane(w, a, rows, pose, variant, network, lane_position)
    if not stay_on_lane(w, a, clock, rows, pose, goals, variant, network, lane_position):
        search_lane(w, a, clock, pose, goals, variant, network, grid, lane_position)


@by_one()
def find_places(w, clock, rows, pose, goals, variant, network, grid, neighbours, lane_position):
    """What `find_place` does, for all agents of a world and one who is alone.

    Those who have left their lane come last: what a cell of the grid holds is on its way from memory meanwhile.
    """
    agents, lost, count, map_row = rows.status.shape[1], neighbours.scratch[w, 0], 0, network.maps[clock.map[w]]
    for a in range(agents):
        follow_lane(w, a, rows, pose, variant, network, lane_position)
    at_once = agents - agents % EIGHT
    for first in range(0, at_once, EIGHT):
        left = eight_stay(w, first, rows, pose, variant, network, lane_position)
        count = keep(lost, count, counted(first, agents), left)
    for a in range(at_once):
        if rows.status[w, a] == LIVE:  # also of those who have left it: it is found again
            measure_way(w, a, clock, goals, variant, network, lane_position)
    for a in range(at_once, agents):
        if not stay_on_lane(w, a, clock, rows, pose, goals, variant, network, lane_position):
            lost[u32(count)] = u32(a)
            count += 1
    for k in range(count):
        fetch_ahead(grid.quads_at, cell_of(w, lost[u32(k)], pose, variant, map_row))
    for k in range(count):
        begin = grid.quads_at[u32(cell_of(w, lost[u32(k)], pose, variant, map_row))]
        fetch_ahead(grid.quads, begin)
        fetch_ahead(grid.quads, begin + _LINE)
    for k in range(count):
        search_lane(w, lost[u32(k)], clock, pose, goals, variant, network, grid, lane_position)


@stage
def cell_of(w, a, pose, variant, map_row):
    """Number of the grid cell in which an agent is."""
    x, y = to_map(w, variant, pose.x[w, a], pose.y[w, a])
    return cell_at(map_row, x, y)


@stage
def follow_lane(w, a, rows, pose, variant, network, lane_position):
    """The quad of its lane that the agent is abreast of. Writes: lane_position.section."""
    if rows.status[w, a] == LIVE:
        fetch_ahead(network.sections, lane_position.section[w, min(a + _AHEAD, rows.status.shape[1] - 1)])
        x, y = to_map(w, variant, pose.x[w, a], pose.y[w, a])
        lane_position.section[w, a] = track(network, lane_position.section[w, a], x, y)


@rule
def has_left(past, before, offset, half_width, along):
    """Whether somebody has left a quad, or does not head along it. Also of packs.

    past, before: see `along_quad`. offset, half_width: see `in_quad`. along: cosine of the angle to the lane.
    """
    return (past < ZERO) | (before < ZERO) | (half_width < abs(offset)) | (along < HALF)


@stage
def stay_on_lane(w, a, clock, rows, pose, goals, variant, network, lane_position):
    """Find the place of an agent that is on its lane and heads along it. Returns whether it is, or isn't on the road at all.

    Writes: lane_position, pose.z.
    """
    if rows.status[w, a] != LIVE:
        return True
    x, y = to_map(w, variant, pose.x[w, a], pose.y[w, a])
    section = lane_position.section[w, a]
    place = place_beside(w, variant, network, section, x, y)
    past, before, _, offset, half_width, lane_cos, lane_sin = place
    if has_left(past, before, offset, half_width, pose.cos[w, a] * lane_cos + pose.sin[w, a] * lane_sin):
        return False
    take_place(w, a, section, place, clock, pose, goals, variant, network, lane_position)
    return True


class Line(NamedTuple):
    """Of a section, or a pack of such, what `in_quad` asks for."""

    x: Any
    y: Any
    cos: Any
    sin: Any
    half_width: Any


@by_one()
def eight_stay(w, first, rows, pose, variant, network, lane_position):
    """What `stay_on_lane` does for EIGHT agents from `first` on, but for the route distance. Returns who has left its lane.

    Writes: lane_position, pose.z.
    """
    live, sections = words_of_bytes(rows.status[w], first) == i32(LIVE), eight_from(lane_position.section[w], first)
    sections = chosen(live, sections, sections - sections)  # of others it may be another map's
    x, y = to_map(w, variant, eight_from(pose.x[w], first), eight_from(pose.y[w], first))
    ax, ay, ac, as_ = columns(network.sections, sections, 0, "x")
    _, az, a_width, _ = columns(network.sections, sections, 0, "curvature")
    bx, by, bc, bs = columns(network.sections, sections + i32(1), 0, "x")
    _, bz, b_width, _ = columns(network.sections, sections + i32(1), 0, "curvature")
    past, before = past_line(x, y, ax, ay, ac, as_), before_line(x, y, bx, by, bc, bs)
    fraction, offset, half_width, lane_cos, lane_sin = in_quad(
        x, y, past, before, Line(ax, ay, ac, as_, a_width), Line(bx, by, bc, bs, b_width)
    )
    offset, half_width, lane_cos, lane_sin = placed(w, variant, offset, half_width, lane_cos, lane_sin)
    along, across = into_frame(eight_from(pose.cos[w], first), eight_from(pose.sin[w], first), lane_cos, lane_sin)
    left = has_left(past, before, offset, half_width, along)
    put_where(lane_position.fraction[w], first, left, live, fraction)
    put_where(lane_position.offset[w], first, left, live, offset)
    put_where(lane_position.cos[w], first, left, live, along)
    put_where(lane_position.angle[w], first, left, live, across)
    put_where(pose.z[w], first, left, live, az + fraction * (bz - az))
    return live & left


@by_one()
def put_where(row, first, left, live, pack):
    """Write EIGHT numbers of those who are on the road and have not left their lane; others keep theirs. Writes: row."""
    old = eight_from(row, first)
    put_eight(row, first, chosen(live, chosen(left, old, pack), old))


@stage
def search_lane(w, a, clock, pose, goals, variant, network, grid, lane_position):
    """Find the place of an agent that has left its lane. Writes: lane_position, pose.z."""
    x, y, z, cos, sin = pose.x[w, a], pose.y[w, a], pose.z[w, a], pose.cos[w, a], pose.sin[w, a]
    x, y = to_map(w, variant, x, y)
    map_row, goal_section = network.maps[clock.map[w]], goals.section[w, a, goals.next[w, a]]
    section = search(
        w, variant, network, grid, map_row, lane_position.section[w, a], x, y, z, cos, sin, goal_section
    )  # fmt: skip
    place = place_beside(w, variant, network, section, x, y)
    take_place(w, a, section, place, clock, pose, goals, variant, network, lane_position)


@stage
def place_beside(w, variant, network, section, x, y):
    """Where (x, y), in map coordinates, lies in a quad: `along_quad`, and `in_quad` as it is in the world."""
    first, second = network.sections[u32(section)], network.sections[u32(section + i32(1))]
    past, before = along_quad(x, y, first, second)
    fraction, offset, half_width, lane_cos, lane_sin = in_quad(x, y, past, before, first, second)
    offset, half_width, lane_cos, lane_sin = placed(w, variant, offset, half_width, lane_cos, lane_sin)
    return past, before, fraction, offset, half_width, lane_cos, lane_sin


@stage
def measure_way(w, a, clock, goals, variant, network, lane_position):
    """The route distance from where agent a is on its lane to its goal. Writes: lane_position.route_distance."""
    section, goal_section = lane_position.section[w, a], goals.section[w, a, goals.next[w, a]]
    lane, goal_lane = network.sections[u32(section)].lane, network.sections[u32(goal_section)].lane
    lane_position.route_distance[w, a] = route_distance(
        w, variant, network, network.maps[clock.map[w]], lane, place_s(network, section, lane_position.fraction[w, a]),
        goal_lane, place_s(network, goal_section, HALF),
    )  # fmt: skip


@stage
def take_place(w, a, section, place, clock, pose, goals, variant, network, lane_position):
    """Agent a is there. place: see `place_beside`. Writes: lane_position, pose.z."""
    past, before, fraction, offset, half_width, lane_cos, lane_sin = place
    first, second = network.sections[u32(section)], network.sections[u32(section + i32(1))]
    lane_position.section[w, a], lane_position.fraction[w, a], lane_position.offset[w, a] = section, fraction, offset
    along, across = into_frame(pose.cos[w, a], pose.sin[w, a], lane_cos, lane_sin)
    lane_position.cos[w, a], lane_position.angle[w, a] = along, across
    measure_way(w, a, clock, goals, variant, network, lane_position)
    # Far from any lane an agent keeps its height: the nearest point of the lane it left may be on another level.
    outside = max(abs(offset) - half_width, max(-past, -before))
    if outside < _OFF_ROAD:
        pose.z[w, a] = first.z + fraction * (second.z - first.z)
