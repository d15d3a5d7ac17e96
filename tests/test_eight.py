"""What is done eight at a time is what is done one at a time, to the last bit; and it means what it should."""

import copy
import functools
import math

import numpy as np
import pytest
import shapely
from conftest import box, bridge, call, crossing, motorway, reals, run, simulator
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from warps import matrices, warped

from gigaflow_env.config import laptop, params
from gigaflow_env.declare import row_type
from gigaflow_env.jit import f32, kernel, u32, u64
from gigaflow_env.layout import CONDITIONING_BOUNDS, Layout
from gigaflow_env.packs import EIGHT, bits_of, counted, eight_from, put_columns, put_eight, sizes, words
from gigaflow_env.roads import find
from gigaflow_env.roads.compiled import routes
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.compiled.tables import EdgeRow
from gigaflow_env.sim.collision import any_edge_met, edge_met, edge_reached, run_light, run_lights
from gigaflow_env.sim.geometry import LEVEL_GAP
from gigaflow_env.sim.lanes import (
    abreast,
    along_quad,
    before_line,
    cell_at,
    eight_route_distances,
    find_place,
    find_places,
    past_line,
    sample_route_distance,
    way_to,
)
from gigaflow_env.sim.lights import eight_shown, shown
from gigaflow_env.sim.noise import add_noise, add_noise_to_all, noisy
from gigaflow_env.sim.observe import (
    draw_windows,
    eight_keys,
    in_one_piece,
    key_scale,
    lane_seen,
    neighbour_key,
    neighbour_seen,
    scaled_distance,
    seen_value,
    square_distance,
    stop_seen,
    window,
    with_sign,
)
from gigaflow_env.sim.random_numbers import DROPOUT, draws, pick
from gigaflow_env.sim.reset import closer_than, in_the_way, judge_by_others, takes_place
from gigaflow_env.sim.traffic.others import around
from gigaflow_env.sim.traffic.right_of_way import crossing_gap, gap_to, yields, yields_to
from gigaflow_env.sim.variant import frame_of
from gigaflow_env.state import ENDED, GREEN, LIVE, OFF, RED, WAITING, YELLOW, make

compiled = functools.partial(kernel, cache=False)
HALF, ONE, ROOM = f32(0.5), f32(1), f32(0.5)
P = params(laptop())
PLAIN = make(1, 1, 1, 0, 0, 1, 1).variant
PLAIN.plain[:] = True
SEEDS = st.integers(0, 2**32 - 1)
metres, directions = reals(-100, 100), reals(-math.pi, math.pi)


def same(found, expected):
    """Whether two arrays of float32 are equal to the last bit."""
    assert found.dtype == expected.dtype == np.float32
    return np.array_equal(found.view(np.uint32), expected.view(np.uint32))


def float32(numbers):
    return tuple(np.float32(one) for one in numbers)


# Rules for numbers and for packs


@compiled
def _eight_rows(given, frame, other, area, scale, own_room, p, rows, flags):
    x, y, z, cos, sin = (
        eight_from(given[0], 0), eight_from(given[1], 0), eight_from(given[2], 0), eight_from(given[3], 0),
        eight_from(given[4], 0),
    )  # fmt: skip
    u, v, speed, length, width = (
        eight_from(given[5], 0), eight_from(given[6], 0), eight_from(given[7], 0), eight_from(given[8], 0),
        eight_from(given[9], 0),
    )  # fmt: skip
    far = f32(1e9)
    lane = lane_seen(x, y, cos, sin, width, u, v, frame, area, scale, other[2])
    put_columns(rows[0], 0, lane, -far, far, EIGHT)
    put_columns(rows[1], 0, stop_seen(x, y, cos, sin, frame, scale, u, v, z), -far, far, EIGHT)
    neighbour = neighbour_seen(x, y, z, cos, sin, speed, length, width, other[0], other[1], scale, v)
    put_columns(rows[2], 0, neighbour, -far, far, EIGHT)
    put_eight(rows[3], 0, square_distance(x, y, frame))
    put_eight(rows[3], 8, past_line(x, y, u, v, cos, sin))
    put_eight(rows[3], 16, before_line(x, y, u, v, cos, sin))
    put_eight(rows[3], 24, past_line(other[0], other[1], u, v, cos, sin))
    put_eight(rows[3], 32, before_line(other[0], other[1], u, v, cos, sin))
    flags[0] = bits_of(closer_than(x, y, z, own_room, length, width, speed, p))
    flags[1] = bits_of(edge_reached(x, y, u, v, frame, other[0], other[1], other[2], other[3], own_room, area))


@compiled
def _row_by_row(given, frame, other, area, scale, own_room, p, rows, flags):
    for k in range(EIGHT):
        x, y, z, cos, sin = given[0, k], given[1, k], given[2, k], given[3, k], given[4, k]
        u, v, speed, length, width = given[5, k], given[6, k], given[7, k], given[8, k], given[9, k]
        lane = lane_seen(x, y, cos, sin, width, u, v, frame, area, scale, other[2])
        for i in range(len(lane)):
            rows[0, k * len(lane) + i] = lane[i]
        stop = stop_seen(x, y, cos, sin, frame, scale, u, v, z)
        for i in range(len(stop)):
            rows[1, k * len(stop) + i] = stop[i]
        neighbour = neighbour_seen(x, y, z, cos, sin, speed, length, width, other[0], other[1], scale, v)
        for i in range(len(neighbour)):
            rows[2, k * len(neighbour) + i] = neighbour[i]
        rows[3, k] = square_distance(x, y, frame)
        rows[3, 8 + k] = past_line(x, y, u, v, cos, sin)
        rows[3, 16 + k] = before_line(x, y, u, v, cos, sin)
        rows[3, 24 + k] = past_line(other[0], other[1], u, v, cos, sin)
        rows[3, 32 + k] = before_line(other[0], other[1], u, v, cos, sin)
        flags[0] |= u64(closer_than(x, y, z, own_room, length, width, speed, p)) << u64(k)
        met = edge_reached(x, y, u, v, frame, other[0], other[1], other[2], other[3], own_room, area)
        flags[1] |= u64(met) << u64(k)


@given(SEEDS)
def test_rules_say_the_same_of_eight_as_of_one(seed):
    rng = np.random.default_rng(seed)
    numbers = rng.uniform(-9, 9, (10, EIGHT)).astype(np.float32)
    frame, other = float32(rng.uniform(-2, 2, 4)), float32(rng.uniform(-3, 3, 4))
    rest = float32(rng.uniform(0.5, 3, 3))
    rows, flags = np.zeros((2, 4, 80), np.float32), np.zeros((2, 2), np.uint64)
    _eight_rows(numbers, frame, other, *rest, P, rows[0], flags[0])
    _row_by_row(numbers, frame, other, *rest, P, rows[1], flags[1])
    assert rows[1].any(axis=1).all() and same(rows[0], rows[1])
    assert np.array_equal(flags[0], flags[1])


@given(metres, metres, metres, metres, directions)
def test_a_line_is_passed_by_the_metres_along_its_direction(x, y, line_x, line_y, angle):
    given_ = x, y, line_x, line_y, math.cos(angle), math.sin(angle)
    along = (complex(x - line_x, y - line_y) * np.exp(-1j * angle)).real
    assert call(past_line)(*given_) == pytest.approx(along, abs=1e-4)
    assert call(before_line)(*given_) == pytest.approx(-along, abs=1e-4)


@given(reals(-3, 3))
def test_who_is_alone_writes_features_clipped(value):
    assert call(seen_value)(np.float32(value)) == min(max(np.float32(value), -1), 1)


@given(matrices, directions, metres, metres, directions, st.sampled_from([(1, 0, 0), (0, 1, 0), (0, 0, 1)]))
def test_a_stop_line_is_the_image_of_the_maps_in_the_agents_frame(matrix, heading, x, y, along, colour):
    cos, sin = math.cos(along), math.sin(along)
    frame = float32(call(frame_of)(0, warped(matrix), math.cos(heading), math.sin(heading)))
    found = call(stop_seen)(x, y, cos, sin, frame, 1 / 200, *float32(colour))
    image, direction = (complex(*(matrix @ one)) * np.exp(-1j * heading) for one in ((x, y), (cos, sin)))
    assert complex(found.x, found.y) == pytest.approx(image / 200, abs=1e-5)
    assert complex(found.cos, found.sin) == pytest.approx(direction / abs(direction), abs=1e-5)
    assert found[4:] == colour
    assert call(square_distance)(x, y, frame) == pytest.approx(abs(image) ** 2, rel=1e-4, abs=1e-3)


@given(metres, metres, reals(-9, 9), directions, reals(-20, 20), reals(1, 8), reals(1, 4), directions)
def test_a_neighbour_is_seen_in_the_agents_frame(x, y, z, angle, speed, length, width, heading):
    """Its velocity is that of the road, along its own direction."""
    own, its = np.exp(1j * heading), np.exp(1j * angle)
    sizes_ = float(length), float(width)
    found = call(neighbour_seen)(x, y, z, its.real, its.imag, speed, *sizes_, own.real, own.imag, 1 / 200, 1.0)
    assert complex(found.x, found.y) == pytest.approx(complex(x, y) / own / 200, abs=1e-6)
    assert complex(found.cos, found.sin) == pytest.approx(its / own, abs=1e-6)
    assert complex(found.velocity_x, found.velocity_y) == pytest.approx(speed * its / own / 30, abs=1e-6)
    assert (found.z, found.length, found.width, found.present) == pytest.approx((z / 10, length / 8, width / 4, 1))


# Routes


def towns():
    """Roads with leads, without, and with routes in blocks, some of which are out of reach."""
    town = find("downtown")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(routes, "DENSE_LANES", 0)
        patch.setattr(routes, "ROUTE_REACH", 400.0)
        blocks = compile_roads([motorway(), crossing(), town], cache=False).network
    dense = compile_roads([motorway(), town], cache=False).network
    assert dense.maps["leads_at"][0] >= 0 and blocks.maps["leads_at"][0] >= 0 and dense.maps["leads_at"][1] < 0
    assert (blocks.maps["blocks_at"] >= 0).all() and (dense.maps["blocks_at"] < 0).all()
    at = blocks.maps["blocks_at"][2]
    assert 0.2 < (blocks.route_blocks[at:] < 0).mean() < 0.6
    return [(network, number) for network in (dense, blocks) for number in range(len(network.maps))]


TOWNS = towns()


@compiled
def _distances(w, variant, network, number, goal, places, at, found, expected, whole, real):
    way = way_to(w, variant, network, network.maps[number], goal)
    put_eight(found, 0, eight_route_distances(network.samples, places, at, way))
    for k in range(EIGHT):
        expected[k] = sample_route_distance(network.samples[u32(places[at + k])], way)
    whole[0], whole[1], whole[2], whole[3] = way.route_at, way.leads_at, way.route_row, way.block_row
    whole[4], whole[5], whole[6], whole[7] = way.bundle, way.order, way.plain, len(way.route)
    real[0], real[1], real[2], real[3] = way.length, way.stretch, way.goal_s, way.shape[0]
    real[4], real[5] = way.shape[1], way.shape[2]


def measured(variant, network, number, goal, places, at=0, w=0):
    """The route distances from eight samples, at once and one by one, and the numbers of the way: whole ones and others."""
    eight, one = np.zeros(EIGHT, np.float32), np.zeros(EIGHT, np.float32)
    whole, real = np.zeros(8, np.int64), np.zeros(6, np.float32)
    _distances(w, variant, network, number, goal, places, at, eight, one, whole, real)
    return eight, one, whole, real


def goal_of(network, number, share):
    """A quad of a map, by a share of all, and its lane."""
    row = network.maps[number]
    lanes = network.lanes[row["lanes_at"] : row["lanes_at"] + row["lanes"]]
    lane = lanes[min(int(share * len(lanes)), len(lanes) - 1)]
    return int(lane["first"] + int(share * 7919) % lane["quads"]), lane


def samples_of(network, number):
    """The samples of a map. No two maps have a bundle in common."""
    row = network.maps[number]
    of_map = network.lanes[row["lanes_at"] : row["lanes_at"] + row["lanes"]]
    return np.flatnonzero(np.isin(network.samples["bundle"], of_map["bundle"]))


@settings(max_examples=300)
@given(st.integers(0, 4), reals(0, 1), SEEDS, st.integers(0, 3), st.one_of(st.none(), matrices))
def test_route_distances_of_eight_samples_are_those_of_each(town, share, seed, at, matrix):
    """With leads and without, ahead on the same lanes and around, out of reach, in the map itself and in its images."""
    network, number = TOWNS[town]
    variant = PLAIN if matrix is None else warped(matrix)
    goal, lane = goal_of(network, number, share)
    rng, samples = np.random.default_rng(seed), samples_of(network, number)
    beside_it = samples[network.samples["bundle"][samples] == lane["bundle"]]
    places = np.concatenate([rng.choice(samples, at + 5), rng.choice(beside_it, 3)]).astype(np.int32)
    rng.shuffle(places[at:])
    eight, one, _, _ = measured(variant, network, number, goal, places, at)
    assert same(eight, one)


@given(st.integers(0, 4), reals(0, 1), st.one_of(st.none(), matrices))
def test_the_way_to_a_goal_is_what_the_tables_say(town, share, matrix):
    network, number = TOWNS[town]
    variant = PLAIN if matrix is None else warped(matrix)
    (goal, lane), row = goal_of(network, number, share), network.maps[number]
    _, _, whole, real = measured(variant, network, number, goal, np.zeros(EIGHT, np.int32))
    blocks = -1 if row["blocks_at"] < 0 else row["blocks_at"] + lane["local"] * math.ceil(row["lanes"] / 32)
    assert whole.tolist() == [
        row["route_at"], row["leads_at"], row["route_at"] + lane["local"] * row["lanes"], blocks, lane["bundle"],
        lane["order"], matrix is None, len(network.route),
    ]  # fmt: skip
    length, stretch, goal_s, *shape = real.tolist()
    assert length == lane["length"] and goal_s == pytest.approx((goal - lane["first"] + 0.5) * lane["step"], rel=1e-6)
    assert shape == [array[0] for array in (variant.mean, variant.along, variant.across)]
    assert stretch == pytest.approx(np.dot(shape, [1, lane["cos2"], lane["sin2"]]), abs=1e-5)


# Windows


@compiled
def _window(begin, kept, listing, twice, out):
    found = in_one_piece(begin, kept, listing, twice)
    for k in range(kept):
        out[k] = found[u32(begin + k)]


@given(st.integers(1, 40), st.data())
def test_a_window_of_a_list_lies_in_one_piece(count, data):
    """Of any length, wrapped around at the end of the list or not; nothing is written behind two of it."""
    begin, kept = data.draw(st.integers(0, count - 1)), data.draw(st.integers(1, count))
    memory = np.concatenate([np.arange(count) + 100, np.full(count, -1)]).astype(np.int32)
    twice, out = np.full(2 * count + 16, -2, np.int32), np.zeros(kept, np.int32)
    _window(np.int32(begin), np.int32(kept), memory[:count], twice[: 2 * count], out)
    assert out.tolist() == [100 + (begin + k) % count for k in range(kept)]
    assert (twice[2 * count :] == -2).all() and memory[:count].tolist() == list(range(100, 100 + count))


# Stop lines


@compiled
def _shown(w, a, numbers, light, lane_position, lights, p, eight, one):
    pack = eight_shown(w, a, words(eight_from(numbers, 0)), words(eight_from(light, 0)), lane_position, lights, p)
    put_eight(eight, 0, sizes(pack))
    for k in range(EIGHT):
        one[k] = shown(w, a, numbers[k], light[k], lane_position, lights, p)


@given(
    st.lists(st.integers(-2, 6), min_size=EIGHT, max_size=EIGHT),
    st.lists(st.integers(0, 9), min_size=EIGHT, max_size=EIGHT),
    st.lists(st.sampled_from([OFF, GREEN, YELLOW, RED]), min_size=7, max_size=7), st.integers(-1, 9), st.booleans(),
)  # fmt: skip
def test_eight_stop_lines_show_what_each_shows(light, numbers, colours, stood, counts):
    """A light its colour, a yield sign yellow, a stop sign green to who has stood there, nothing where signs don't count."""
    state, p = make(2, 3, 1, 7, 0, 1, 1), P._replace(signs_count=np.int32(counts))
    state.lights.colour[1], state.lane_position.stood[:] = colours, -1
    state.lane_position.stood[1, 2] = stood
    numbers, light = np.array(numbers, np.int32), np.array(light, np.int32)
    eight, one = np.zeros(EIGHT, np.float32), np.zeros(EIGHT, np.float32)
    _shown(1, 2, numbers, light, state.lane_position, state.lights, p, eight, one)
    signs = {-2: YELLOW}
    expected = [
        colours[its] if its >= 0 else signs.get(its, (GREEN if stood == number else RED) if counts else OFF)
        for its, number in zip(light.tolist(), numbers.tolist(), strict=True)
    ]
    assert eight.tolist() == one.tolist() == expected


# Edges of the road


@compiled
def _any_edge(edges, begin, end, frame, x, y, z, old_x, old_y, half_length, half_width, found):
    found[0] = any_edge_met(edges, begin, end, frame, x, y, z, old_x, old_y, half_length, half_width)
    found[1] = False
    for k in range(begin, end):
        edge = edges[k]
        found[1] |= edge_met(
            edge.x1, edge.y1, edge.x2, edge.y2, edge.z, frame, x, y, z, old_x, old_y, half_length, half_width
        )


NEVER, ALWAYS = (90.0, 90.0, 91.0, 90.0, 0.0), (-1.0, -1.0, 1.0, 1.0, 0.0)
edges_near = st.tuples(reals(-6, 6), reals(-6, 6), reals(-6, 6), reals(-6, 6), reals(-4, 4))
edges_of_all_kinds = st.one_of(st.just(NEVER), st.just(NEVER), edges_near, st.tuples(*[reals(-1, 1)] * 4, st.just(3.0)))


@settings(max_examples=300)
@given(
    st.lists(edges_of_all_kinds, max_size=20), st.integers(0, 3), st.integers(0, 3), directions, reals(-3, 3), reals(-3, 3)
)  # fmt: skip
def test_an_edge_is_met_if_any_of_them_is(between, before, behind, heading, old_x, old_y):
    """Those before the first and from the end on, which lie across the box, don't count."""
    rows = [ALWAYS] * before + between + [ALWAYS] * behind
    edges, found = np.array([*rows, ALWAYS], row_type(EdgeRow)), np.zeros(2, bool)
    frame = float32(call(frame_of)(0, PLAIN, math.cos(heading), math.sin(heading)))
    place = float32([0, 0, 0, old_x, old_y, 1, 0.5])
    _any_edge(edges, np.int32(before), np.int32(before + len(between)), frame, *place, found)
    assert found[0] == found[1]
    if all(row == NEVER for row in between):
        assert not found[0]


@settings(max_examples=300)
@given(edges_near, reals(-2, 2), reals(-2, 2), directions, reals(-5, 5), reals(-5, 5), reals(0.3, 3), reals(0.3, 1.5))
def test_an_edge_is_met_where_shapely_says(edge, x, y, heading, old_x, old_y, length, width):
    """By the box, or by the way of its center; on the same level."""
    frame = float32(call(frame_of)(0, PLAIN, math.cos(heading), math.sin(heading)))
    *ends, edge_z = edge
    assume(math.dist(ends[:2], ends[2:]) > 0.1)
    found = call(edge_met)(*edge, frame, x, y, 0.0, old_x, old_y, length, width)
    line, way = shapely.LineString([ends[:2], ends[2:]]), shapely.LineString([(old_x, old_y), (x, y)])
    (here,) = box(*np.array([[x], [y], [heading], [length], [width]]))
    tips = [shapely.Point(ends[:2]).distance(way), shapely.Point(ends[2:]).distance(way)]
    tips += [shapely.Point(one).distance(line) for one in way.coords]
    if abs(abs(edge_z) - LEVEL_GAP) < 1e-3:
        return
    reached = call(edge_reached)(*ends, frame, x, y, old_x, old_y, length, width)
    assert found == (reached and abs(np.float32(edge_z)) <= LEVEL_GAP)
    if here.buffer(-5e-3).intersects(line) or (way.crosses(line) and min(tips) > 5e-3):
        assert found == (abs(edge_z) <= LEVEL_GAP)
    elif here.distance(line) > 5e-3 and way.distance(line) > 5e-3:
        assert not found


# Quads

BRIDGE = compile_roads([bridge(), motorway()], cache=False).network
QUADS = np.flatnonzero(np.diff(BRIDGE.sections["lane"]) == 0).tolist()


@compiled
def _abreast(sections, quads, first, end, margin, x, y, eight, one):
    eight[0] = abreast(sections, quads, first, end, margin, x, y)
    for k in range(EIGHT):
        if first + k < end:
            a, b = sections[quads[first + k]], sections[quads[first + k] + 1]
            past, before = along_quad(x, y, a, b)
            one[k] = (past >= -margin) & (before >= -margin)


@given(
    st.lists(st.sampled_from(QUADS), min_size=1, max_size=20), st.data(), st.integers(0, 4), reals(-3, 3), reals(-3, 3),
    st.sampled_from([0.0, 2.0]),
)  # fmt: skip
def test_quads_are_abreast_as_each_of_them_is(quads, data, first, dx, dy, margin):
    """Near one of them or near quad 0, which is read in place of those behind the end: they are none."""
    first = min(first, len(quads) - 1)
    beside = BRIDGE.sections[data.draw(st.sampled_from([0, *quads]))]
    row = np.array([*quads, *[0] * EIGHT], np.int32)
    place = float32([margin, beside["x"] + dx, beside["y"] + dy])
    eight, one = np.zeros(1, np.uint64), np.zeros(EIGHT, bool)
    _abreast(BRIDGE.sections, row, np.int32(first), np.int32(len(quads)), *place, eight, one)
    assert int(eight[0]) == sum(1 << k for k in range(EIGHT) if one[k])


@given(st.integers(1, 40), st.integers(1, 30), reals(-50, 500), reals(-50, 500))
def test_a_point_is_in_a_cell_of_its_grid_or_the_nearest(columns, rows, x, y):
    """Cells of 4 m, row by row."""
    row = np.zeros(1, BRIDGE.maps.dtype)[0]
    row["x"], row["y"], row["columns"], row["rows"], row["cells_at"] = 16, -8, columns, rows, 1000
    found = call(cell_at)(row, np.float32(x), np.float32(y)) - 1000
    assert found % columns == min(max(math.floor((np.float32(x) - 16) / 4), 0), columns - 1)
    assert found // columns == min(max(math.floor((np.float32(y) + 8) / 4), 0), rows - 1)


# All agents of a world together


@compiled
def _places(alone, w, clock, rows, pose, goals, variant, network, grid, neighbours, lane_position):
    if alone:
        find_places(w, clock, rows, pose, goals, variant, network, grid, neighbours, lane_position)
        return
    for a in range(rows.status.shape[1]):
        find_place(w, a, clock, rows, pose, goals, variant, network, grid, lane_position)


@compiled
def _lights(alone, w, rows, pose, motion, body, lane_position, lights, variant, network, nearby, neighbours, events, p):
    if alone:
        run_lights(w, rows, pose, motion, body, lane_position, lights, variant, network, nearby, neighbours, events, p)
        return
    for a in range(rows.status.shape[1]):
        run_light(w, a, rows, pose, motion, body, lane_position, lights, variant, network, nearby, events, p)


def test_what_a_world_does_at_once_is_what_each_agent_does():
    """Places on lanes, of which some are left, and stop lines, that some cross and of which there are none near others.

    Who is not on the road has the place of another map.
    """
    maps = [crossing(lights=True), find("downtown"), bridge()]
    sim = simulator(maps, 63, laptop().replace(agents_per_world=21))
    rng, lost, met, without, slopes = np.random.default_rng(5), 0, 0, 0, 0
    for _ in range(12):
        sim.step(rng.integers(0, 12, sim.rows))
        for w in range(3):
            s, roads = sim.state, sim.roads
            s.pose.x[w] += rng.normal(0, 3, 21).astype(np.float32)
            s.pose.cos[w], s.pose.sin[w] = (f(rng.uniform(-3, 3, 21)).astype(np.float32) for f in (np.cos, np.sin))
            for a in range(8):  # the front has just crossed a line
                stop = rng.choice(roads.network.stops)
                back = s.body.length[w, a] / 2
                s.pose.cos[w, a] = s.pose.old_cos[w, a] = stop["cos"]
                s.pose.sin[w, a] = s.pose.old_sin[w, a] = stop["sin"]
                s.pose.x[w, a] = stop["x"] - (back - 0.4) * stop["cos"]
                s.pose.y[w, a] = stop["y"] - (back - 0.4) * stop["sin"]
                s.pose.old_x[w, a], s.pose.old_y[w, a] = s.pose.x[w, a] - stop["cos"], s.pose.y[w, a] - stop["sin"]
            s.lights.colour[w] = rng.integers(OFF, RED + 1, s.lights.colour.shape[1])
            status, sections = s.rows.status[w].copy(), s.lane_position.section[w].copy()
            s.rows.status[w, 9::5], s.lane_position.section[w, 9::5] = ENDED, 2**30
            results = []
            for alone in (True, False):
                own = copy.deepcopy(s)
                _places(
                    alone, w, own.clock, own.rows, own.pose, own.goals, own.variant, roads.network, roads.grid,
                    own.neighbours, own.lane_position,
                )  # fmt: skip
                _lights(
                    alone, w, own.rows, own.pose, own.motion, own.body, own.lane_position, own.lights, own.variant,
                    roads.network, roads.nearby, own.neighbours, own.events, sim._params,
                )  # fmt: skip
                results.append((*own.lane_position, own.pose.z, own.events.red_light))
            assert all(np.array_equal(one, other) for one, other in zip(*results, strict=True))
            lost += int((results[0][0][w] != s.lane_position.section[w]).sum())
            met += int(results[0][-1][w].sum())
            without += int((results[0][-1][w] == 0).sum())
            s.rows.status[w], s.lane_position.section[w] = status, sections
            slopes += int((results[0][-2][w] % 1 > 0.01).sum())
    assert lost > 50 and met > 5 and without > 50 and slopes > 20


@functools.cache
def eleven():
    """A world of eleven agents: a pack, and some behind it."""
    return simulator(crossing(lights=True), 11, laptop().replace(agents_per_world=11))


@compiled
def _noise(alone, w, clock, rows, pose, motion, perceived, p):
    if alone:
        add_noise_to_all(w, clock, rows, pose, motion, perceived, p)
        return
    for a in range(rows.status.shape[1]):
        add_noise(w, a, clock, rows, pose, motion, perceived, p)


@given(SEEDS)
@settings(max_examples=20)
def test_noise_of_a_world_is_that_of_each_agent(seed):
    """Who isn't on the road is seen as before."""
    draw, state = np.random.default_rng(seed), eleven().state
    given_noise = eleven()._params._replace(noisy=1, noise_position=f32(0.5), noise_heading=f32(0.2), noise_speed=f32(1))
    state.clock.seed[:], state.rows.status[0] = seed, draw.integers(0, 6, 11)
    for array in (*state.pose[:5], state.motion.speed, *state.perceived):
        array[:] = draw.uniform(-50, 50, array.shape).astype(np.float32)
    results = []
    for alone in (True, False):
        own = copy.deepcopy(state)
        _noise(alone, 0, own.clock, own.rows, own.pose, own.motion, own.perceived, given_noise)
        results.append(np.array(own.perceived))
    assert same(*results)


@given(
    st.tuples(*[reals(0, 1)] * 4), reals(-1e3, 1e3), reals(-1e3, 1e3), directions, reals(-30, 30), reals(0, 2),
    reals(0, 0.3), reals(0, 2),
)  # fmt: skip
def test_noise_stays_within_its_bounds(drawn, x, y, angle, speed, position, heading, change):
    seen = call(noisy)(
        drawn, x, y, np.float32(math.cos(angle)), np.float32(math.sin(angle)), speed, position, heading, change
    )
    assert abs(seen[0] - x) <= position + 1e-4 and abs(seen[1] - y) <= position + 1e-4
    assert abs(seen[4] - speed) <= change + 1e-5
    assert abs(math.remainder(math.atan2(seen[3], seen[2]) - angle, 2 * math.pi)) <= heading + 1e-5


@compiled
def _windows(w, a, clock, lane_routes, nearby, p):
    draw_windows(w, clock, lane_routes, nearby, p)
    samples, points = nearby.samples.shape[1], nearby.boundaries.shape[1]
    one, other = window(clock.seed, clock.number[w], a, clock.tick[w], samples, points, p)
    u, v, _, _ = draws(clock.seed, clock.number[w], a, clock.tick[w], DROPOUT, 0)
    return one, other, pick(u, np.int32(samples)), pick(v, np.int32(points))


@given(st.integers(0, 10), st.integers(0, 10**6), SEEDS, st.booleans())
def test_windows_are_drawn_for_each_agent(a, tick, seed, drops):
    """What is drawn for all together is what is drawn for each; without dropout a window begins at the first element."""
    sim = eleven()
    state, nearby = sim.state, sim.roads.nearby
    state.clock.seed[:], state.clock.tick[:] = seed, tick
    one, other, lane, point = _windows(0, a, state.clock, state.lane_routes, nearby, sim._params._replace(drops=int(drops)))
    assert (one, other) == ((lane, point) if drops else (0, 0))
    assert 0 <= one < nearby.samples.shape[1] and 0 <= other < nearby.boundaries.shape[1]
    assert (state.lane_routes.next_lane[0, a], state.lane_routes.next_boundary[0, a]) == (one, other)


@compiled
def _keys(dx, dy, first, scale, out):
    distance = scaled_distance(eight_from(dx, 0), eight_from(dy, 0), scale)
    put_eight(out[0], 0, eight_keys(distance, counted(first, first + EIGHT)))
    for k in range(EIGHT):
        out[1, k] = with_sign(neighbour_key(dx[k], dy[k], first + k, scale))


@given(SEEDS, st.integers(0, 248), reals(20, 300), reals(1, 200))
def test_keys_of_eight_are_those_of_each_and_have_their_order(seed, first, view_range, spread):
    draw = np.random.default_rng(seed)
    dx, dy = draw.uniform(-spread, spread, (2, EIGHT)).astype(np.float32)
    scale, out = call(key_scale)(np.float32(view_range)), np.zeros((2, EIGHT), np.int32)
    _keys(dx, dy, first, np.float32(scale), out)
    near = (dx * dx + dy * dy) * np.float32(scale) < 2**24
    assert np.array_equal(out[0][near], out[1][near]) and (out[1][~near] == 2**31 - 1).all()
    unsigned = [call(neighbour_key)(x, y, first + k, np.float32(scale)) for k, (x, y) in enumerate(zip(dx, dy, strict=True))]
    assert np.argsort(unsigned, kind="stable").tolist() == np.argsort(out[1], kind="stable").tolist()


@compiled
def _given_way(w, a, rows, motion, body, lane_position, variant, network, conflicts, traffic, p):
    gap, who, first, yielded = f32(1e9), -1, -1, -1
    for b in range(rows.status.shape[1]):
        gap, who = gap_to(w, a, b, gap, who, rows, motion, body, variant, network, conflicts, traffic, p)
        if traffic.next[w, a] >= 0 and first < 0:
            first = b if yields_to(w, a, b, rows, body, lane_position, variant, network, conflicts, traffic) else -1
    found = crossing_gap(w, a, rows, motion, body, variant, network, conflicts, traffic, p)
    if traffic.next[w, a] >= 0:
        yielded = yields(w, a, rows, body, lane_position, variant, network, conflicts, traffic)
    return who, first, found[1], yielded


def test_whom_to_give_way_is_found_among_eight_as_among_each():
    """At a crossing where 21 drivers go by rules; those behind whole packs, too."""
    sim = simulator(crossing(), 21, laptop().replace(agents_per_world=21), drivers={"idm": 1.0})
    rng, crosses, waits = np.random.default_rng(2), set(), set()
    conflicts = sim._parts.conflicts
    overlapping = np.unique(conflicts.rows["lane"])
    for step in range(60):
        sim.step(np.zeros(sim.rows, int))
        s = copy.deepcopy(sim.state)
        if step % 2:  # as they give way, hardly two are inside of the crossing at once
            s.traffic.inside[0], s.traffic.front[0] = rng.choice(overlapping, 21), rng.uniform(0, 12, 21)
        for a in np.flatnonzero((s.rows.status[0] == LIVE) & (s.traffic.inside[0] >= 0)):
            who, first, found, yielded = _given_way(
                0, a, s.rows, s.motion, s.body, s.lane_position, s.variant, sim.roads.network, conflicts, s.traffic,
                sim._params,
            )  # fmt: skip
            assert (found, yielded) == (who, first)
            crosses.add(who)
            waits.add(first)
    assert len(crosses) > 10 and len(waits) > 10, "everybody meets somebody"


# Places to spawn


@compiled
def _judged(rows, pose, motion, body, proposal, p, free, takes):
    for a in range(rows.status.shape[1]):
        speed = proposal.speed[0, a]
        size = HALF * proposal.length[0, a] + HALF * proposal.width[0, a]
        own_room = size + ROOM + p.spawn_gap + speed * speed / p.brake_max
        proposal.free[0, a] = False
        judge_by_others(0, a, own_room, rows, pose, motion, body, proposal, p)
        free[a] = proposal.free[0, a]
        for b in range(rows.status.shape[1]):
            takes[a, b] = takes_place(0, a, b, own_room, rows, pose, motion, body, proposal, p)


def crowd(agents, seed, reach):
    """Agents of all statuses, each with a pose and a proposal, on some levels."""
    state, rng = make(1, agents, 1, 0, 0, 1, 1), np.random.default_rng(seed)
    state.rows.status[:] = rng.integers(0, 6, agents)
    for group, body, motion in ((state.pose, state.body, state.motion), (state.proposal,) * 3):
        for array in (group.x, group.y):
            array[:] = rng.uniform(-reach, reach, agents)
        group.z[:] = rng.choice([0, 1, 4.9, 5.1], agents, p=[0.6, 0.2, 0.1, 0.1])
        angle = rng.uniform(-math.pi, math.pi, agents)
        group.cos[:], group.sin[:] = np.cos(angle), np.sin(angle)
        body.length[:], body.width[:] = rng.uniform(2, 9, agents), rng.uniform(1, 2.5, agents)
        motion.speed[:] = rng.uniform(0, 12, agents)
    return state


def stands_in_the_way(state, a, b, more):
    """`in_the_way` of b, from the poses in float64; with a longer and wider own body by `more`."""
    status, proposal = state.rows.status[0], state.proposal
    if status[b] >= LIVE:
        pose, body, motion = state.pose, state.body, state.motion
    elif status[b] == WAITING and b < a:
        pose = body = motion = proposal
    else:
        return False
    own, its = (complex(float(one.cos[0, k]), float(one.sin[0, k])) for one, k in ((proposal, a), (pose, b)))
    away = complex(*(float(there[0, b]) - here[0, a] for there, here in ((pose.x, proposal.x), (pose.y, proposal.y))))
    if abs(float(pose.z[0, b]) - proposal.z[0, a]) > 2 * LEVEL_GAP:
        return False
    at, turn = away / own, its / own
    length, width = (float(one[0, a]) / 2 + more for one in (proposal.length, proposal.width))
    return bool(call(in_the_way)(
        at.real, at.imag, turn.real, turn.imag, length, width, float(proposal.speed[0, a]),
        float(body.length[0, b]) / 2, float(body.width[0, b]) / 2, float(motion.speed[0, b]), P,
    ))  # fmt: skip


@given(st.integers(1, 20), SEEDS, st.sampled_from([15.0, 60.0, 150.0]))
def test_a_place_is_free_if_nobody_takes_it(agents, seed, reach):
    """Who drives does, and who proposes a place and has a lower number."""
    state = crowd(agents, seed, reach)
    free, takes = np.zeros(agents, bool), np.zeros((agents, agents), bool)
    _judged(state.rows, state.pose, state.motion, state.body, state.proposal, P, free, takes)
    assert np.array_equal(free, ~takes.any(axis=1))
    for a in range(agents):
        for b in range(agents):
            sure = stands_in_the_way(state, a, b, -1e-3)
            if sure == stands_in_the_way(state, a, b, 1e-3):
                assert takes[a, b] == sure


@given(
    reals(-30, 30), reals(-30, 30), reals(-6, 6), directions, reals(1, 5), reals(1, 5), reals(2, 9), reals(1, 3), reals(0, 9)
)
def test_who_is_in_the_way_is_closer_than_that(dx, dy, dz, angle, own, speed, length, width, its_speed):
    """Whatever its direction, and on the levels that may be the same; beyond the room of both nobody is."""
    room = own + own / 2 + 0.5 + float(P.spawn_gap) + speed**2 / float(P.brake_max)
    found = call(closer_than)(dx, dy, dz, room, length, width, its_speed, P)
    cos, sin = math.cos(angle), math.sin(angle)
    in_way = call(in_the_way)(dx, dy, cos, sin, own, own / 2, speed, length / 2, width / 2, its_speed, P)
    if in_way and abs(dz) <= 2 * LEVEL_GAP:
        assert found
    beyond = math.hypot(dx, dy) - (room + length + width + its_speed**2 / float(P.brake_max))
    if abs(beyond) > 1e-3:
        assert found == (beyond < 0 and abs(dz) <= 2 * LEVEL_GAP)


# Whole observations


def expected_blocks(sim, w, a):
    """What agent a of a world observes, in float64, from the state: all blocks but its own motion."""
    state, network, nearby, config = sim.state, sim.roads.network, sim.roads.nearby, sim.config
    variant, pose, routes_ = state.variant, state.pose, state.lane_routes
    matrix = np.array([[variant.xx[w], variant.xy[w]], [variant.yx[w], variant.yy[w]]], float)
    here, heading = np.array([pose.x[w, a], pose.y[w, a]], float), complex(pose.cos[w, a], pose.sin[w, a])

    def image(x, y):
        """Vectors of the map in the agent's frame."""
        x, y = matrix @ np.array([x, y], float)
        return (x + 1j * y) / heading

    def features(*columns):
        return np.clip(np.column_stack(columns), -1, 1)

    at_x, at_y = np.linalg.solve(matrix, here)
    section = state.lane_position.section[w, a]
    lane = network.lanes[network.sections["lane"][section]]
    row = lane["nearby_at"] + (section - lane["first"]) // 4

    low, high = np.array(CONDITIONING_BOUNDS, float).T
    conditioning = np.clip((state.reward_weights.coefficients[w, a] - low) / (high - low) * 2 - 1, -1, 1)

    goals, next_ = state.goals, state.goals.next[w, a]
    which = np.minimum(next_ + np.arange(4), goals.count[w, a] - 1)
    there = (goals.x[w, a][which] - here[0] + 1j * (goals.y[w, a][which] - here[1])) / heading / config.view_range
    goal_block = features(there.real, there.imag, which == goals.count[w, a] - 1)

    listing = nearby.samples[row]
    places = listing[(routes_.lane[w, a] + np.arange(config.lanes_kept)) % len(listing)]
    samples, goal = network.samples[places], goals.section[w, a, next_]
    padded = np.concatenate([places, np.zeros(EIGHT, np.int32)]).astype(np.int32)
    number = int(state.clock.map[w])
    distance = np.concatenate([
        measured(variant, network, number, goal, padded, at, w)[1] for at in range(0, len(places), EIGHT)
    ])[: len(places)].astype(float)  # fmt: skip
    there = image(samples["x"] - at_x, samples["y"] - at_y) / config.view_range
    along = image(samples["cos"], samples["sin"])
    gain = abs(along)
    width = samples["width"] * abs(np.linalg.det(matrix)) / gain / 10
    lanes = features(
        there.real, there.imag, along.real / gain, along.imag / gain, width, distance / config.route_range,
        (distance - distance.min()) / config.route_range,
    )  # fmt: skip

    points = nearby.boundaries[row]
    points = points[(routes_.boundary[w, a] + np.arange(config.boundaries_kept)) % len(points)]
    there = image(points["x"] - at_x, points["y"] - at_y) / config.view_range
    boundaries = features(there.real, there.imag)

    stops = np.zeros((config.stop_count, 7))
    for k, number in enumerate(nearby.stops[row][: config.stop_count]):
        stop = network.stops[number] if number >= 0 else None
        colour = (
            OFF if stop is None else call(shown)(w, a, int(number), int(stop["light"]), state.lane_position, state.lights, P)
        )
        if stop is None or colour == OFF:
            continue
        there, along = image(stop["x"] - at_x, stop["y"] - at_y), image(stop["cos"], stop["sin"])
        if abs(there) > config.view_range:
            continue
        there, along = there / config.view_range, along / abs(along)
        stops[k] = there.real, there.imag, along.real, along.imag, colour == RED, colour == YELLOW, colour == GREEN

    agents, seen, body = np.zeros((config.agent_count, 10)), state.perceived, state.body
    for k, b in enumerate(state.neighbours.agent[w, a, : config.agent_count]):
        if b >= 0:
            there = complex(seen.x[w, b] - here[0], seen.y[w, b] - here[1]) / heading / config.view_range
            along = complex(seen.cos[w, b], seen.sin[w, b]) / heading
            speed = along * float(seen.speed[w, b]) / 30
            agents[k] = (
                there.real, there.imag, (pose.z[w, b] - pose.z[w, a]) / 10, along.real, along.imag, speed.real, speed.imag,
                body.length[w, b] / 8, body.width[w, b] / 4, 1,
            )  # fmt: skip
    return {
        "conditioning": conditioning, "goals": goal_block, "lanes": lanes, "boundaries": boundaries, "stops": stops,
        "agents": np.clip(agents, -1, 1),
    }  # fmt: skip


SIZES = {
    "13 lanes, 7 points": {"lane_count": 13, "boundary_count": 7, "agent_count": 11, "stop_count": 11},
    "fewer than four": {"lane_count": 3, "boundary_count": 3, "agent_count": 1, "stop_count": 1},
    "whole": {"lane_count": 16, "boundary_count": 8, "agent_count": 8, "stop_count": 8},
    "dropout": {
        "lane_count": 21, "boundary_count": 19, "agent_count": 5, "stop_count": 3,
        "lane_dropout": 0.3, "boundary_dropout": 0.3,
    },
}  # fmt: skip


@pytest.mark.parametrize("counts", SIZES.values(), ids=SIZES)
def test_observations_of_any_size_hold_what_the_state_says(counts):
    """In images of a crossing with lights, that has three stop lines, and of a town; noise makes others seem elsewhere."""
    config = laptop().replace(
        agents_per_world=12, view_range=80.0, variant_scale=(0.8, 1.3), variant_shear=(-0.3, 0.3), variant_turn=(-3, 3),
        variant_flip=0.5, noise_position=0.5, noise_heading=0.2, noise_speed=1.0, **counts,
    )  # fmt: skip
    sim = simulator([crossing(lights=True), find("downtown")], 24, config)
    rng, compared, blank = np.random.default_rng(3), 0, 0
    for _ in range(4):
        sim.step(rng.integers(3, 12, sim.rows))
        sim.state.lights.colour[:] = rng.integers(OFF, RED + 1, sim.state.lights.colour.shape)
        size = sim.layout.size
        memory = np.full(24 * size + 64, np.nan, np.float32)
        out = memory[: 24 * size].reshape(2, 12, size)
        for w in range(2):
            for stage in ("find_neighbours", "select_lane_samples"):
                run(stage, sim, w=w)
            sim.state.reward_weights.coefficients[w] *= rng.uniform(0.5, 2, (12, 1)).astype(np.float32)
            live = np.flatnonzero(sim.state.rows.status[w] == LIVE)
            run("observe", sim, live, w=w, out=out)
            for a in live:
                found, expected = sim.layout.split(out[w, a]), expected_blocks(sim, w, a)
                for name, block in expected.items():
                    assert getattr(found, name) == pytest.approx(block, abs=2e-5), (name, w, a)
                assert (abs(out[w, a]) <= 1).all()
                compared += int(expected["stops"][:, 4:].any()) + int(expected["agents"][:, -1].sum())
                blank += int((expected["stops"] == 0).all(axis=1).sum() + (expected["agents"][:, -1] == 0).sum())
        assert np.isnan(memory[24 * size :]).all(), "something is written behind the last row"
    assert compared > 20 and blank > 20


def test_without_agents_to_see_nothing_is_written_behind_a_row():
    """The array of neighbours has room for one nevertheless."""
    config = laptop().replace(agents_per_world=2, agent_count=1, view_range=200.0)
    sim, less = simulator(motorway(), 2, config), Layout(config.replace(agent_count=0))
    memory = np.full(2 * less.size + 32, np.nan, np.float32)
    run("find_neighbours", sim)
    assert (sim.state.neighbours.agent >= 0).any()
    none = params(config.replace(agent_count=0))
    run("observe", sim, [1], p=none, starts=less.starts, out=memory[: 2 * less.size].reshape(1, 2, -1))
    assert np.isfinite(memory[less.size : 2 * less.size]).all() and np.isnan(memory[2 * less.size :]).all()


def test_on_a_map_without_stop_lines_no_light_is_looked_up():
    """What lies where a first stop line would is none: its light may be anywhere."""
    sim = simulator(motorway(), 2, laptop().replace(agents_per_world=2))
    behind = np.zeros(4, sim.roads.network.stops.dtype)
    behind["light"] = 2**31 - 1
    assert len(sim.roads.network.stops) == 0
    run("observe", sim, network=sim.roads.network._replace(stops=behind[:0]))
    assert not sim.layout.split(sim.observations[0]).stops.any()


@kernel
def _around(w, a, reach, ahead, rows, pose, motion, close):
    return around(w, a, reach, ahead, rows, pose, motion, close)


@given(st.integers(1, 21), st.booleans(), st.data())
def test_around_an_agent_are_all_on_the_road_who_may_reach_it(agents, ahead, data):
    """Also wrecks; faster ones from two seconds of their lead farther away; in the order of their numbers, if wanted only
    those ahead."""
    state = make(1, agents, 1, 0, 0, 1, 1)
    draw = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    state.pose.x[0], state.pose.y[0] = np.float32(draw.uniform(-60, 60, (2, agents)))
    state.motion.speed[0] = np.float32(draw.uniform(-5, 25, agents))
    state.rows.status[0] = draw.integers(0, 6, agents)
    a, reach, close = data.draw(st.integers(0, agents - 1)), data.draw(reals(0, 80)), np.zeros(agents, np.uint32)
    angle = data.draw(directions)
    state.pose.cos[0, a], state.pose.sin[0, a] = math.cos(angle), math.sin(angle)
    count = _around(0, a, np.float32(reach), ahead, state.rows, state.pose, state.motion, close)
    dx, dy = (array[0].astype(float) - float(array[0, a]) for array in (state.pose.x, state.pose.y))
    away, before = np.hypot(dx, dy), dx * math.cos(angle) + dy * math.sin(angle)
    speed = state.motion.speed[0].astype(float)
    spare = reach + 2 * np.maximum(speed - speed[a], 0) - away
    spare = np.minimum(spare, before) if ahead else spare
    counts = (state.rows.status[0] >= LIVE) & (np.arange(agents) != a)
    sure, never = set(np.flatnonzero(counts & (spare > 1e-3))), set(np.flatnonzero(~counts | (spare < -1e-3)))
    found = close[:count].tolist()
    assert found == sorted(found) and sure <= set(found) and not never & set(found)
