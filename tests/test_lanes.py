"""Look-up of lanes against shapely, tracking against look-up, levels of a bridge, and the way against Dijkstra."""

import heapq
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
import shapely
from conftest import (
    aim_at,
    bridge,
    call,
    clear,
    crossing,
    lane_number,
    motorway,
    place,
    reals,
    ring,
    run,
    section_at,
    simulator,
)
from hypothesis import given
from hypothesis import strategies as st
from warps import bound, matrices, warped

from gigaflow_env.config import laptop
from gigaflow_env.jit import kernel
from gigaflow_env.roads import load, shipped
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.compiled.tables import LANE_CHANGE_COST, LEAD_UNIT, UNREACHABLE
from gigaflow_env.sim.geometry import LEVEL_GAP
from gigaflow_env.sim.lanes import (
    Way,
    along_quad,
    has_left,
    in_quad,
    misfit,
    place_s,
    route_distance,
    route_length,
    sample_route_distance,
    search,
    track,
)
from gigaflow_env.sim.variant import lane_stretch, shape_of
from gigaflow_env.state import LIVE, make

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps" / "carla"
NOWHERE = np.int32(-7)
PLAIN = make(1, 1, 1, 0, 0, 1, 1).variant


@kernel
def _search(variant, network, grid, fallback, x, y, z, cos, sin, goal, out):
    for i in range(len(out)):
        out[i] = search(0, variant, network, grid, network.maps[0], fallback, x[i], y[i], z[i], cos[i], sin[i], goal)


@kernel
def _way(variant, network, lane, s, goal_lane, goal_s, out):
    row = network.maps[0]
    for i in range(len(out)):
        out[i] = route_distance(0, variant, network, row, lane[i], s[i], goal_lane[i], goal_s[i])


def ways(roads, lane, s, goal_lane, goal_s):
    lane, s, goal_lane, goal_s = np.broadcast_arrays(lane, s, goal_lane, goal_s)
    out = np.zeros(lane.size, np.float32)
    places = [np.ascontiguousarray(lane, np.int32), np.ascontiguousarray(s, np.float32)]
    places += [np.ascontiguousarray(goal_lane, np.int32), np.ascontiguousarray(goal_s, np.float32)]
    _way(PLAIN, roads.network, *places, out)
    return out


def quads(roads):
    """First sections of all quads, and their polygons."""
    sections = roads.network.sections
    first = np.flatnonzero(sections["lane"][1:] == sections["lane"][:-1])
    middle = np.column_stack([sections["x"], sections["y"]]).astype(float)
    across = np.column_stack([-sections["sin"], sections["cos"]]) * sections["half_width"][:, None]
    left, right = middle + across, middle - across
    return first, shapely.polygons(np.stack([left[first], left[first + 1], right[first + 1], right[first]], axis=1))


def towns():
    yield "loop", lambda: load(shipped()["loop"])
    yield "downtown", lambda: load(shipped()["downtown"])
    for name in ("Town02", "Town04"):
        yield name, lambda name=name: load(SHARED / f"{name}.xodr")


@pytest.fixture(params=list(towns()), ids=lambda town: town[0], scope="module")
def roads(request):
    name, town = request.param
    if name.startswith("Town") and not (SHARED / f"{name}.xodr").exists():
        pytest.skip(f"{name}.xodr is not in the shared maps")
    return compile_roads(town())


# Look-up


def test_look_up_finds_a_quad_around_the_point(roads):
    """Random points within 3 m of random lanes, in random directions: the best of the quads that hold the point."""
    rng = np.random.default_rng(0)
    n = 10_000
    sections = roads.network.sections
    first, polygons = quads(roads)
    start = sections[rng.choice(first, n)]
    x = (start["x"] + rng.uniform(-3, 3, n)).astype(np.float32)
    y = (start["y"] + rng.uniform(-3, 3, n)).astype(np.float32)
    z = start["z"].copy()
    heading = rng.uniform(-math.pi, math.pi, n)
    cos, sin = np.cos(heading).astype(np.float32), np.sin(heading).astype(np.float32)
    goal = np.int32(first[len(first) // 2])
    found = np.zeros(n, np.int32)
    _search(PLAIN, roads.network, roads.grid, NOWHERE, x, y, z, cos, sin, goal, found)

    points = shapely.points(x.astype(float), y.astype(float))
    point, quad = shapely.STRtree(polygons).query(points, predicate="intersects")
    level = abs(sections["z"][first[quad]] - z[point]) <= LEVEL_GAP - 0.01
    point, quad = point[level], first[quad[level]]
    inside = np.zeros(n, bool)
    inside[point] = True
    assert 0.3 < inside.mean() < 1.0
    assert (found[inside] != NOWHERE).all()
    rank = np.searchsorted(first, found[inside])
    assert shapely.distance(polygons[rank], points[inside]).max() < 0.01
    assert (abs(sections["z"][found[inside]] - z[inside]) <= LEVEL_GAP).all()

    # What the quads that hold a point cost, by the formula: direction, offset, way to the goal.
    def cost(point, quad):
        a, b = sections[quad], sections[quad + 1]
        lane = roads.network.lanes[a["lane"]]
        past = (x[point] - a["x"]) * a["cos"] + (y[point] - a["y"]) * a["sin"]
        before = (b["x"] - x[point]) * b["cos"] + (b["y"] - y[point]) * b["sin"]
        share = np.clip(past / (past + before), 0, 1)
        at = {name: a[name] + share * (b[name] - a[name]) for name in ("x", "y", "cos", "sin", "half_width")}
        norm = np.hypot(at["cos"], at["sin"])
        along = (cos[point] * at["cos"] + sin[point] * at["sin"]) / norm
        offset = ((y[point] - at["y"]) * at["cos"] - (x[point] - at["x"]) * at["sin"]) / norm
        goal_lane = sections["lane"][goal]
        goal_s = (goal - roads.network.lanes["first"][goal_lane] + 0.5) * roads.network.lanes["step"][goal_lane]
        s = (quad - lane["first"] + share) * lane["step"]
        return (
            1
            - along
            + 0.1 * abs(offset) / at["half_width"]
            + 1e-3 * np.minimum(ways(roads, a["lane"], s, goal_lane, goal_s), 1000.0)
        )

    least = np.full(n, np.inf)
    np.minimum.at(least, point, cost(point, quad))
    chosen = cost(np.flatnonzero(inside), found[inside])
    assert (chosen - least[inside]).max() < 2e-3


def test_far_from_all_roads():
    """In the middle of the ring the old quad stays; outside of the grid its outermost cell counts."""
    roads = compile_roads(ring())
    x = np.array([0.0, 50.0, -3e4, 1e8], np.float32)
    found = np.zeros(4, np.int32)
    one, zero = np.ones(4, np.float32), np.zeros(4, np.float32)
    _search(PLAIN, roads.network, roads.grid, NOWHERE, x, zero, zero, one, zero, np.int32(0), found)
    assert found[:2].tolist() == [NOWHERE] * 2
    first, _ = quads(roads)
    sections = roads.network.sections[found[2:]]
    assert np.isin(found[2:], first).all() and sections["x"].tolist() == pytest.approx([-110, 110], abs=1)


@pytest.mark.parametrize(("goal", "lane"), [("east out", "west-east"), ("south out", "west-south")])
def test_where_lanes_part_the_route_decides(goal, lane):
    source = crossing()
    sim = simulator(source, 1)
    clear(sim)
    place(sim, 0, -11.9, -1.75)
    aim_at(sim, 0, (goal, 30))
    sim.state.lane_position.section[0, 0] = section_at(sim, "west in", 59)
    run("locate", sim)
    found = sim.roads.network.sections["lane"][sim.state.lane_position.section[0, 0]]
    assert found == lane_number(source, lane)


# Tracking


@pytest.mark.parametrize("name", ["loop", "downtown"])
def test_driven_agents_are_where_their_place_says(name):
    """Random driving, off the road, too: Frenet coordinates hold, and inside of lanes the agent is inside of its quad."""
    town = load(shipped()[name])
    sim = simulator(town, 32, laptop().replace(on_crash="continue", agents_per_world=32))
    first, polygons = quads(sim.roads)
    tree = shapely.STRtree(polygons)
    sections = sim.roads.network.sections
    rng = np.random.default_rng(1)
    inside = outside = 0
    for _ in range(80):
        sim.step(rng.choice([4, 6, 7, 8, 10], 32, p=[0.15, 0.1, 0.4, 0.1, 0.25]))
        pose, place_ = sim.state.pose, sim.state.lane_position
        live = sim.state.rows.status[0] == LIVE
        x, y = pose.x[0, live].astype(float), pose.y[0, live].astype(float)
        section, share, offset = place_.section[0, live], place_.fraction[0, live], place_.offset[0, live]
        a, b = sections[section], sections[section + 1]
        assert (a["lane"] == b["lane"]).all()
        points = shapely.points(x, y)
        held = np.zeros(len(x), bool)
        held[tree.query(points, predicate="intersects")[0]] = True
        own = polygons[np.searchsorted(first, section)]
        assert shapely.distance(own, points)[held].max(initial=0) < 0.02
        inside, outside = inside + held.sum(), outside + (~held).sum()
        # x, y is the place on the center line and the offset to its left.
        cos, sin = (a[n] + share * (b[n] - a[n]) for n in ("cos", "sin"))
        norm = np.hypot(cos, sin)
        center_x, center_y = (a[n] + share * (b[n] - a[n]) for n in ("x", "y"))
        miss = np.hypot(center_x - offset * sin / norm - x, center_y + offset * cos / norm - y)
        assert miss[held].max(initial=0) < 0.02
        angle = np.arctan2(pose.sin[0, live], pose.cos[0, live]) - np.arctan2(sin, cos)
        assert np.abs(place_.cos[0, live] - np.cos(angle)).max() < 1e-5
        assert np.abs(np.sin(place_.angle[0, live] - angle)).max() < 1e-5
    assert inside > 400 and outside > 100


def test_driving_down_a_lane_looks_up_nothing_else():
    """On the ring the lane never changes but at its end, and s grows by what was driven."""
    sim = simulator(ring(), 1, laptop().replace(agents_per_world=1))
    clear(sim)
    place(sim, 0, 1, -9.6, speed=5)
    aim_at(sim, 0, ("west", 100))
    for x in np.arange(1, 199, 3.3):
        sim.state.pose.x[0, 0] = x - sim.roads.origins[0, 0]
        run("locate", sim)
        place_ = sim.state.lane_position
        assert place_.section[0, 0] + place_.fraction[0, 0] == pytest.approx(x, abs=1e-3)
        assert place_.offset[0, 0] == pytest.approx(0.4, abs=1e-5)


def test_a_bridge_keeps_its_level():
    """One agent drives under the deck, one over it: each keeps its lane and its height."""
    source = bridge()
    sim = simulator(source, 2)
    clear(sim)
    sections = sim.roads.network.sections
    place(sim, 0, -60, 0, 0)
    place(sim, 1, 0, -148, math.pi / 2)
    aim_at(sim, 0, ("ground", 190))
    aim_at(sim, 1, ("down", 110))
    sim.state.lane_position.section[0] = [section_at(sim, "ground", 40), section_at(sim, "up", 2)]
    for step in range(70):
        sim.state.pose.x[0, 0] = -60 + 1.7 * step - sim.roads.origins[0, 0]
        sim.state.pose.y[0, 1] = -148 + 4.2 * step - sim.roads.origins[0, 1]
        run("locate", sim)
        y = -148 + 4.2 * step
        height = np.interp(y, [-150, -30, 30, 150], [0, 8, 8, 0])
        assert sim.state.pose.z[0] + sim.roads.origins[0, 2] == pytest.approx([0, height], abs=0.01)
        lanes = sections["lane"][sim.state.lane_position.section[0]]
        assert lanes[0] == lane_number(source, "ground")
        assert lanes[1] == lane_number(source, "up" if y < -30 else "deck" if y < 30 else "down")


@pytest.mark.parametrize(("z", "lane"), [(0.0, "ground"), (8.0, "deck")])
def test_who_stands_across_a_bridge_stays_on_the_level(z, lane):
    source = bridge()
    sim = simulator(source, 1)
    clear(sim)
    place(sim, 0, 0.5, 0.5, math.pi / 4, z=z)
    aim_at(sim, 0, ("down", 110))
    for heading in np.linspace(-3, 3, 13):
        sim.state.pose.cos[:], sim.state.pose.sin[:] = math.cos(heading), math.sin(heading)
        run("locate", sim)
        assert sim.roads.network.sections["lane"][sim.state.lane_position.section[0, 0]] == lane_number(source, lane)


# The way


def shortest(network, start):
    """Way from a section to all sections, over the graph of all sections: Dijkstra."""
    lanes, sections = network.lanes, network.sections
    best, heap = np.full(len(sections), np.inf), [(0.0, start)]
    while heap:
        here, k = heapq.heappop(heap)
        if best[k] <= here:
            continue
        best[k] = here
        row = lanes[sections["lane"][k]]
        if k < row["first"] + row["quads"]:
            heapq.heappush(heap, (here + float(row["step"]), k + 1))
        else:
            others = network.successors[row["successors_at"] : row["successors_at"] + row["successors"]]
            for other in others:
                heapq.heappush(heap, (here, int(lanes["first"][other])))
    return best


@pytest.mark.parametrize("town", [ring, crossing, lambda: load(shipped()["loop"])], ids=["ring", "crossing", "loop"])
def test_way_equals_dijkstra(town):
    roads = compile_roads(town())
    network = roads.network
    assert (network.lanes["left"] < 0).all(), "this graph has no lane changes"
    every = np.arange(len(network.sections))
    lane = network.sections["lane"]
    s = (every - network.lanes["first"][lane]) * network.lanes["step"][lane]
    reached = 0
    for start in np.random.default_rng(2).choice(every, 12):
        expected = shortest(network, int(start))
        found = ways(roads, lane[start], s[start], lane, s)
        there = np.isfinite(expected) & (every != start)  # at the goal itself rounding decides if it's still ahead
        reached += (there & (expected > 50)).sum()
        assert found[there] == pytest.approx(expected[there], abs=0.02)
        assert (found[np.isinf(expected)] > UNREACHABLE / 2).all()
    assert reached > 100


def test_way_with_lane_changes_on_paper():
    source = motorway()
    roads = compile_roads(source)
    number = {name: lane_number(source, name) for name in source.lanes}
    inner, outer = number["inner 0"], number["outer 0"]
    assert ways(roads, inner, 20, inner, 120)[0] == pytest.approx(100)
    assert ways(roads, inner, 20, outer, 120)[0] == pytest.approx(100 + LANE_CHANGE_COST)
    # Behind: once around on the inner lane, which is shorter, with a change there where the outer one is asked for.
    around = 2 * 150 + 2 * math.pi * 20
    assert ways(roads, inner, 120, inner, 20)[0] == pytest.approx(around - 100, abs=0.1)
    assert ways(roads, inner, 120, outer, 20)[0] == pytest.approx(around - 100 + LANE_CHANGE_COST, abs=0.1)
    # In the bend, places side by side have the same share of their lanes' lengths.
    bend = math.pi * 20, math.pi * 23.5
    found = ways(roads, number["inner 1"], bend[0] / 2, number["outer 1"], bend[1] * 0.75)
    assert found[0] == pytest.approx(bend[1] / 4 + LANE_CHANGE_COST, abs=0.1)


def test_the_way_shrinks_as_one_drives(roads):
    """Over a lane the way shrinks by its length, or by that of the lane beside at whose end it leaves; and at the end of a
    lane it goes on without a jump in the best of the next ones; or it has become as short, at the start of the lane, by a
    change to the lane at the side."""
    lanes = roads.network.lanes
    every = np.arange(len(lanes))
    for goal in np.random.default_rng(3).choice(every, min(len(every), 12), replace=False):
        goal_s = float(lanes["length"][goal]) / 2
        begins, ends = (ways(roads, every, s, goal, goal_s).astype(float) for s in (0.0, lanes["length"]))
        reached = begins < UNREACHABLE / 2
        other = lanes["bundle"] != lanes["bundle"][goal]
        for lane in every[reached & other]:
            beside_it = lanes["length"][lanes["bundle"] == lanes["bundle"][lane]]
            assert abs(begins[lane] - ends[lane] - beside_it).min() < 2e-3 + lanes["length"][lane] / LEAD_UNIT
        assert ways(roads, goal, [0.0, goal_s / 2], goal, goal_s) == pytest.approx([goal_s, goal_s / 2])
        for lane in every[reached & other]:
            row = lanes[lane]
            follow = roads.network.successors[row["successors_at"] : row["successors_at"] + row["successors"]]
            beside = [other for other in (row["left"], row["right"]) if other >= 0]
            choices = [*(row["length"] + begins[follow]), *(LANE_CHANGE_COST + begins[beside])]
            assert begins[lane] == pytest.approx(min(choices), abs=0.02)
        assert reached.sum() > 2


def test_ring_way_is_periodic():
    """All the way around: from behind the goal it's the whole ring, less what was driven."""
    roads = compile_roads(ring())
    around = float(roads.network.lanes["length"].sum())
    s = np.linspace(0, 199, 50)
    found = ways(roads, 0, s, 0, 100.0)
    assert found == pytest.approx(np.where(s <= 100, 100 - s, around + 100 - s), abs=0.02)
    assert around == pytest.approx(400 + 20 * math.pi, abs=0.1)
    assert list(itertools.pairwise(found[s > 100])) == [(a, b) for a, b in itertools.pairwise(found[s > 100]) if a > b]


# Properties of the rules

ROADS = compile_roads([motorway(), crossing()])
NETWORK, LANES, SECTIONS = ROADS.network, ROADS.network.lanes, ROADS.network.sections
QUADS = [int(k) for k in quads(ROADS)[0]]
shares, sides = reals(0, 1), reals(-1.7, 1.7)


def beside(section, share, offset):
    """A place of a quad in float64: (x, y) where its center line is straight between its sections."""
    a, b = SECTIONS[section], SECTIONS[section + 1]
    at = {name: float(a[name] + share * (b[name] - a[name])) for name in ("x", "y", "cos", "sin")}
    scale = offset / math.hypot(at["cos"], at["sin"])
    return at["x"] - scale * at["sin"], at["y"] + scale * at["cos"]


def moved(sections, turn, shift, flip):
    """Sections mirrored at the x axis or not, then turned by an angle, then shifted."""
    there = sections.copy()
    sign = -1 if flip else 1
    for x, y, (dx, dy) in (("x", "y", shift), ("cos", "sin", (0, 0))):
        at = (sections[x].astype(float) + 1j * sign * sections[y].astype(float)) * np.exp(1j * turn)
        there[x], there[y] = at.real + dx, at.imag + dy
    return there


@given(reals(-3.1, 3.1), reals(-4, 4), reals(1, 3), reals(-3, 3), reals(0.1, 20))
def test_a_quad_fits_worse_the_more_a_pose_is_turned_beside_it_or_outside(angle, offset, half_width, past, length):
    """Whatever is inside fits better than all that is outside."""

    def at(angle, offset, past):
        lane = np.float32([offset, half_width, 1, 0, past, length - past])
        return call(misfit)(np.float32(math.cos(angle)), np.float32(math.sin(angle)), *lane)

    cost, outside = at(angle, offset, past)
    assert outside == pytest.approx(
        max(abs(offset) - half_width, 0) + max(-past, 0) + max(past - length, 0), abs=1e-5
    )  # fmt: skip
    assert at(-angle, -offset, past) == pytest.approx((cost, outside), abs=1e-6)
    assert at(0, offset, past)[0] <= cost + 1e-6 and at(angle, 0, past)[0] <= cost + 1e-6
    inside, none = at(angle, 0.5 * half_width, 0.5 * length)
    assert none == 0 and (outside <= 0 or inside < cost)


@given(st.sampled_from(QUADS), reals(-1, 2), sides, reals(-3, 3), st.tuples(reals(-50, 50), reals(-50, 50)), st.booleans())
def test_frenet_coordinates_are_those_of_the_road_wherever_it_lies(section, share, offset, turn, shift, flip):
    """A place made from its coordinates has these; so has the same place of a turned and shifted road, mirrored in a
    mirrored one."""
    x, y = beside(section, share, offset)
    a, b = SECTIONS[section], SECTIONS[section + 1]
    past, before = call(along_quad)(x, y, a, b)
    fraction, found, half_width, cos, sin = call(in_quad)(x, y, past, before, a, b)
    assert 0 <= fraction <= 1 and math.hypot(cos, sin) == pytest.approx(1, abs=1e-6)
    straight = math.hypot(a["cos"] + b["cos"], a["sin"] + b["sin"]) / 2  # the borders of a bend are chords
    low, high = sorted((a["half_width"], b["half_width"]))
    assert straight * low - 1e-6 <= half_width <= high + 1e-6
    if 0 <= share <= 1:
        assert (fraction, found) == (pytest.approx(share, abs=0.03), pytest.approx(offset, abs=0.02))
    if a["cos"] == b["cos"]:
        step = math.hypot(b["x"] - a["x"], b["y"] - a["y"])
        assert (past, before) == pytest.approx((share * step, (1 - share) * step), abs=2e-4)
        assert (fraction, found) == pytest.approx((min(max(share, 0), 1), offset), abs=2e-4)

    c, d = moved(SECTIONS[section : section + 2], turn, shift, flip)
    at = complex(x, -y if flip else y) * np.exp(1j * turn) + complex(*shift)
    there = call(along_quad)(at.real, at.imag, c, d)
    assert there == pytest.approx((past, before), abs=2e-4)
    other = call(in_quad)(at.real, at.imag, *there, c, d)
    assert other[:3] == pytest.approx((fraction, -found if flip else found, half_width), abs=5e-4)
    direction = complex(cos, -sin if flip else sin) * np.exp(1j * turn)
    assert complex(*other[3:]) == pytest.approx(direction, abs=1e-4)


@given(reals(-1, 3), reals(-1, 3), reals(-4, 4), reals(1, 3), reals(-math.pi, math.pi))
def test_a_quad_is_left_ahead_behind_at_its_sides_and_by_who_turns_too_far(past, before, offset, half_width, angle):
    found = call(has_left)(past, before, offset, half_width, math.cos(angle))
    assert found == call(has_left)(before, past, -offset, half_width, math.cos(angle))
    inside = min(past, before, half_width - abs(offset)) >= 0
    if abs(abs(angle) - math.pi / 3) > 1e-3:
        assert found == (not inside or abs(angle) > math.pi / 3)


@given(st.integers(0, len(NETWORK.route) - 1), matrices)
def test_a_route_of_the_world_is_as_long_as_its_image_may_be(entry, matrix):
    """The same in the map itself; scaled by what A scales at least and at most, up to the error of `stretch`."""
    stored = float(NETWORK.route[entry])
    assert call(route_length)(True, tuple(np.float32([1, 0, 0])), NETWORK.route, NETWORK.bends, entry) == np.float32(stored)
    shape, (large, small) = call(shape_of)(0, warped(matrix)), np.linalg.svd(matrix)[1]
    found = call(route_length)(False, tuple(map(np.float32, shape)), NETWORK.route, NETWORK.bends, entry)
    error = bound(matrix) + (large - small) / 100  # the directions are stored in 1 / 127
    assert (small - error) * stored - 0.01 <= found <= (large + error) * stored + 0.01


def lane_place(section, share):
    """The lane of a quad, and metres down it."""
    lane = SECTIONS["lane"][section]
    return int(lane), float((section - LANES["first"][lane] + share) * LANES["step"][lane])


def map_of(section):
    return int(np.searchsorted(NETWORK.maps["lanes_at"], SECTIONS["lane"][section], side="right")) - 1


pairs = st.tuples(st.sampled_from(QUADS), st.sampled_from(QUADS)).filter(lambda pair: map_of(pair[0]) == map_of(pair[1]))


@given(pairs, shares, shares, reals(0, 20))
def test_the_way_shrinks_by_what_is_driven_and_is_no_shorter_than_a_straight_line(pair, share, goal_share, step):
    (lane, s), (goal_lane, goal_s) = lane_place(pair[0], share), lane_place(pair[1], goal_share)
    row = NETWORK.maps[map_of(pair[0])]

    def from_(s):
        return call(route_distance)(0, PLAIN, NETWORK, row, lane, s, goal_lane, goal_s)

    found, further = from_(s), min(s + step, float(LANES["length"][lane]))
    if found > UNREACHABLE / 10:
        assert from_(further) > UNREACHABLE / 10
        return
    ends = [beside(k, part, 0) for k, part in ((pair[0], share), (pair[1], goal_share))]
    assert found >= math.dist(*ends) - 0.5
    if lane == goal_lane and goal_s > s + 1e-3:  # on the same place rounding decides whether it lies ahead
        assert found == pytest.approx(goal_s - s, abs=1e-3)
    if LANES["bundle"][lane] != LANES["bundle"][goal_lane]:
        # Where the route leaves to a lane beside, what is left of that one counts.
        beside_it = LANES["length"][LANES["bundle"] == LANES["bundle"][lane]] / LANES["length"][lane]
        less = found - from_(further)
        assert min(abs(less - (further - s) * share) for share in beside_it) < 1e-2


rows = [np.unique(ROADS.nearby.samples[lane["nearby_at"] + np.arange((lane["quads"] + 3) // 4)]) for lane in LANES]
SAMPLES = [(k, int(sample)) for k, seen in enumerate(rows) for sample in seen]  # a lane, and a sample seen from it


@given(st.sampled_from(SAMPLES), shares, st.data(), matrices)
def test_the_way_from_a_sample_is_the_way_from_its_place(seen, share, data, matrix):
    """To lanes beside its own, and to any of its map."""
    sample, number, variant = NETWORK.samples[seen[1]], map_of(int(LANES["first"][seen[0]])), warped(matrix)
    row = NETWORK.maps[number]
    of_map = range(row["lanes_at"], row["lanes_at"] + row["lanes"])
    (lane,) = (one for one in of_map if LANES["local"][one] == sample["local"])
    beside_it = [one for one in of_map if LANES["bundle"][one] == LANES["bundle"][lane]]
    goal_lane = data.draw(st.one_of(st.sampled_from(beside_it), st.sampled_from(of_map)))
    goal_s = float(np.float32(share * LANES["length"][goal_lane]))
    if abs(goal_s - sample["share"] * LANES["length"][goal_lane]) < 1e-2:
        return  # on the same place rounding decides whether it lies ahead
    expected = call(route_distance)(0, variant, NETWORK, row, lane, float(sample["s"]), goal_lane, goal_s)
    at = int(row["route_at"] + LANES["local"][goal_lane] * row["lanes"])
    shape, there = tuple(map(np.float32, call(shape_of)(0, variant))), LANES[goal_lane]
    goal = there["bundle"], there["order"], there["length"], call(lane_stretch)(0, variant, there), np.float32(goal_s)
    tables = NETWORK.route, NETWORK.bends, NETWORK.leads, NETWORK.route_blocks
    starts = row["route_at"], row["leads_at"], at, row["blocks_at"]
    found = call(sample_route_distance)(sample, Way(shape, bool(variant.plain[0]), *tables, *starts, *goal))
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-2)


@given(st.sampled_from(QUADS), shares, shares)
def test_places_on_a_lane_are_the_length_of_its_center_line_up_to_them(section, share, other):
    lane = LANES[SECTIONS["lane"][section]]
    part = SECTIONS[lane["first"] : section + 2]
    steps = np.hypot(np.diff(part["x"].astype(float)), np.diff(part["y"].astype(float)))
    low, high = (call(place_s)(NETWORK, section, one) for one in sorted((share, other)))
    assert low <= high
    assert low == pytest.approx(steps[:-1].sum() + min(share, other) * steps[-1], rel=0.01, abs=1e-3)
    last = int(lane["first"] + lane["quads"] - 1)
    assert call(place_s)(NETWORK, int(lane["first"]), 0.0) == 0
    assert call(place_s)(NETWORK, last, 1.0) == pytest.approx(float(lane["length"]), rel=1e-6)


@given(st.sampled_from(QUADS), reals(0.05, 0.95), reals(-1.5, 1.5), st.integers(-40, 40))
def test_a_place_is_tracked_to_its_quad_from_any_near_by(section, share, offset, steps):
    lane = LANES[SECTIONS["lane"][section]]
    start = min(max(section + steps, int(lane["first"])), int(lane["first"] + lane["quads"] - 1))
    place_ = beside(section, share, offset)
    found = call(track)(NETWORK, start, *place_)
    assert found == call(track)(NETWORK, found, *place_) == section


in_junctions = st.sampled_from([k for k in QUADS if LANES["junction"][SECTIONS["lane"][k]]])


@given(
    st.one_of(st.sampled_from(QUADS), in_junctions), reals(0.05, 0.95), reals(-1.5, 1.5), reals(-0.3, 0.3), shares, matrices
)  # fmt: skip
def test_a_search_finds_a_quad_around_the_place_that_leads_where_one_heads(section, share, offset, turn, further, matrix):
    """In worlds that are images of the map, with a goal down the lane; where lanes lie on each other it may be another."""
    a = SECTIONS[section]
    x, y = beside(section, share, offset)
    along = complex(*(matrix @ [a["cos"], a["sin"]])) * np.exp(1j * turn)
    along /= abs(along)
    lane, row = LANES[a["lane"]], NETWORK.maps[map_of(section)]
    goal = section + int(further * (lane["first"] + lane["quads"] - 1 - section))
    found = call(search)(
        0, warped(matrix), NETWORK, ROADS.grid, row, int(NOWHERE), x, y, float(a["z"]), along.real, along.imag, goal
    )
    assert found in QUADS and map_of(found) == map_of(section)
    c, d = SECTIONS[found], SECTIONS[found + 1]
    polygon = shapely.Polygon([
        (line["x"] - side * line["half_width"] * line["sin"], line["y"] + side * line["half_width"] * line["cos"])
        for line, side in ((c, 1), (c, -1), (d, -1), (d, 1))
    ])  # fmt: skip
    assert polygon.distance(shapely.Point(x, y)) < 0.02
    heads = complex(*(matrix @ [c["cos"], c["sin"]]))
    # Another one costs less than its own: the angle, at most 0.1 for the offset and 0.4 for a way of up to 400 m; and the
    # directions of the two ends of a quad differ.
    assert (heads / abs(heads) * along.conjugate()).real >= math.cos(turn) - 0.1 - further * 0.4 - 0.15


BRIDGE = compile_roads(bridge())


@given(reals(-1.7, 1.7), reals(-1.7, 1.7), reals(-2, 2), st.booleans(), reals(-3.1, 3.1))
def test_a_search_stays_on_its_level(x, y, above, on_deck, heading):
    """Where the deck crosses the road below; whatever the heading."""
    network = BRIDGE.network
    x, y, z = (np.array([x, y, above + 8 * on_deck]) - BRIDGE.origins[0]).tolist()
    goal = int(network.lanes["first"][2 if on_deck else 0])
    found = call(search)(
        0, PLAIN, network, BRIDGE.grid, network.maps[0], int(NOWHERE), x, y, z, math.cos(heading), math.sin(heading), goal
    )
    assert network.sections["lane"][found] == (lane_number(bridge(), "deck") if on_deck else lane_number(bridge(), "ground"))
