"""Collisions, leaving the road, and crossing red lights: hand-made scenes, and shapely on many random ones."""

import math

import numpy as np
import pytest
import shapely
from conftest import (
    agrees,
    aim_at,
    box,
    bridge,
    call,
    clear,
    crossing,
    place,
    reals,
    ring,
    road_map,
    run,
    simulator,
    straight,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from warps import matrices, warped

from gigaflow_env.config import Config, laptop
from gigaflow_env.declare import allocate
from gigaflow_env.jit import kernel
from gigaflow_env.roads import load, shipped
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.sim.collision import boxes_met, corners_hit, edges_met, nearby_row, relative
from gigaflow_env.state import ENDED, GREEN, LIVE, OFF, RED, WAITING, YELLOW, Body, Pose


@pytest.fixture
def sim():
    made = simulator(ring(), 4)
    clear(made)
    return made


def collisions(sim):
    run("collide", sim)
    return sim.state.events.collision[0].tolist()


# Two agents

FAST = 20.0 * 0.3  # m in a step


def test_head_on_without_overlap_at_either_end(sim):
    """From 5.5 m apart, 1 m between the bumpers, to 6.5 m behind each other."""
    place(sim, 0, FAST, -10, 0, coming_from=(0, -10, 0))
    place(sim, 1, 5.5 - FAST, -10, math.pi, coming_from=(5.5, -10, math.pi))
    assert collisions(sim) == [True, True, False, False]


def test_a_fast_agent_hits_one_that_stands(sim):
    place(sim, 0, 8.0, -10, 0, coming_from=(2.0, -10, 0))
    place(sim, 1, 5.0, -10, math.pi / 2, length=0.8, width=0.8)
    assert collisions(sim)[:2] == [True, True]


def test_crossing_paths(sim):
    """Both reach the middle together, and both are past it, clear of each other, at the end of the step."""
    place(sim, 0, 3.2, -10, 0, length=1.5, width=0.8, coming_from=(-2.8, -10, 0))
    place(sim, 1, 0, -6.8, math.pi / 2, length=1.5, width=0.8, coming_from=(0, -12.8, math.pi / 2))
    assert collisions(sim)[:2] == [True, True]


def test_crossing_one_behind_the_other(sim):
    place(sim, 0, 3.0, -10, 0, coming_from=(-3.0, -10, 0))
    place(sim, 1, 0, -16.0, math.pi / 2, coming_from=(0, -22.0, math.pi / 2))
    assert collisions(sim) == [False] * 4


@pytest.mark.parametrize(("gap", "met"), [(0.01, False), (-0.01, True)])
def test_passing_side_by_side(sim, gap, met):
    place(sim, 0, 6, -10, 0, coming_from=(0, -10, 0))
    place(sim, 1, 0, -8 + gap, math.pi, coming_from=(6, -8 + gap, math.pi))
    assert collisions(sim)[:2] == [met, met]


@pytest.mark.parametrize(("gap", "met"), [(0.01, False), (-0.01, True)])
def test_following(sim, gap, met):
    for a, x in ((0, 0.0), (1, 4.5 + gap)):
        place(sim, a, x + 6, -10, 0, coming_from=(x, -10, 0))
    assert collisions(sim)[:2] == [met, met]


@pytest.mark.parametrize(("height", "met"), [(0.0, True), (2.4, True), (2.6, False), (8.0, False)])
def test_levels(sim, height, met):
    place(sim, 0, 0, -10)
    place(sim, 1, 1, -10, z=height)
    assert collisions(sim)[:2] == [met, met]


@pytest.mark.parametrize("status", [ENDED, WAITING])
def test_only_live_agents_collide(sim, status):
    place(sim, 0, 0, -10)
    place(sim, 1, 1, -10)
    sim.state.rows.status[0, 1] = status
    sim.state.events.collision[:] = True
    assert collisions(sim)[:2] == [False, False]


@kernel
def _met(pose, body, out):
    for w in range(len(out)):
        out[w, 0] = boxes_met(w, 0, 1, pose, body)
        out[w, 1] = boxes_met(w, 1, 0, pose, body)


def pairs(rng, n, reach, turn):
    """Random pairs of agents: old and new (x, y, heading) and sizes, each (n, 2), with a step of up to `reach` [m]."""
    old = rng.uniform(-6, 6, (2, n, 2))
    heading = rng.uniform(-3, 3, (n, 2))
    new = old + rng.uniform(-reach, reach, (2, n, 2))
    turned = heading + rng.uniform(-turn, turn, (n, 2))
    length = rng.uniform(0.8, 7, (n, 2))
    width = np.minimum(rng.uniform(0.8, 3, (n, 2)), length)
    pose, body = allocate(Pose, {"world": n, "agent": 2}), allocate(Body, {"world": n, "agent": 2})
    pose.old_x[:], pose.old_y[:], pose.x[:], pose.y[:] = *old, *new
    pose.old_cos[:], pose.old_sin[:] = np.cos(heading), np.sin(heading)
    pose.cos[:], pose.sin[:] = np.cos(turned), np.sin(turned)
    body.length[:], body.width[:] = length, width
    found = np.zeros((n, 2), bool)
    _met(pose, body, found)
    return found, old, heading, new, turned, length, width


def test_sweep_without_turning_equals_shapely():
    """One box rests in its own frame, the other sweeps the hull of its two places."""
    found, old, heading, new, _, length, width = pairs(np.random.default_rng(0), 20_000, 6.0, 0.0)
    assert np.array_equal(found[:, 0], found[:, 1])
    still = box(*old[:, :, 0], heading[:, 0], length[:, 0] / 2, width[:, 0] / 2)
    begin = box(*old[:, :, 1], heading[:, 1], length[:, 1] / 2, width[:, 1] / 2)
    step = (new - old)[:, :, 1] - (new - old)[:, :, 0]
    corners = shapely.get_coordinates(begin).reshape(-1, 5, 2)
    swept = shapely.convex_hull(shapely.multipoints(np.concatenate([corners, corners + step.T[:, None]], axis=1)))
    apart = ~shapely.intersects(still, begin)  # who overlaps at the start has collided before
    assert agrees(found[apart, 0], still[apart], swept[apart])


def test_sweep_with_turning():
    """Poses in between, by shapely: whoever overlaps clearly is hit, whoever stays clear is not."""
    n, parts, clearly = 1500, 60, 0.4
    found, old, heading, new, turned, length, width = pairs(np.random.default_rng(1), n, 4.0, 0.3)
    assert np.array_equal(found[:, 0], found[:, 1])
    least, deep = np.full(n, np.inf), np.zeros(n, bool)
    for share in np.arange(parts + 1) / parts:
        x, y = old + share * (new - old)
        at = heading + share * (turned - heading)
        one, other = (box(x[:, k], y[:, k], at[:, k], length[:, k] / 2, width[:, k] / 2) for k in (0, 1))
        if share == 0:
            apart = ~shapely.intersects(one, other)
        least = np.minimum(least, shapely.distance(one, other))
        deep |= shapely.intersects(shapely.buffer(one, -clearly), other)
    assert (apart & deep).sum() > 100 and (least > clearly).sum() > 100
    assert found[apart & deep, 0].all()
    assert not found[least > clearly, 0].any()


def test_the_broad_phase_loses_nobody():
    made = simulator(ring(), 12)
    clear(made)
    rng = np.random.default_rng(2)
    hits = 0
    for _ in range(40):
        for a in range(12):
            x, y, heading = rng.uniform(-25, 25, 2).tolist() + [rng.uniform(-3, 3)]
            place(made, a, x, y, heading, coming_from=(x - rng.uniform(-6, 6), y - rng.uniform(-6, 6), heading))
        expected = np.zeros(12, bool)
        pose, body = made.state.pose, made.state.body
        for a in range(12):
            for b in range(a):
                pair = [type(group)(*(array[:, [a, b]].copy() for array in group)) for group in (pose, body)]
                met = np.zeros((1, 2), bool)
                _met(*pair, met)
                expected[[a, b]] |= met[0]
        hits += expected.sum()
        assert collisions(made) == expected.tolist()
    assert 50 < hits < 40 * 12 - 50


# The edge of the road: the ring is a band of 3.5 m around its center line


def leaves(sim):
    run("leave_road", sim)
    return sim.state.events.offroad[0].tolist()


@pytest.mark.parametrize(
    ("y", "heading", "off"),
    [
        (-10.0, 0.0, False),
        (-10.65, 0.0, False),  # right side at -11.65, the edge at -11.75
        (-10.85, 0.0, True),
        (-9.15, 0.0, True),
        (-10.0, math.pi, False),  # the wrong way, but on the road
        (-10.0, 0.25, False),  # corners 1.53 m to the side: 2.25 sin + cos
        (-10.0, 0.4, True),  # 1.80 m
    ],
)
def test_box_and_edge(sim, y, heading, off):
    place(sim, 0, 50, y, heading)
    assert leaves(sim)[0] == off


def test_nobody_drives_over_the_corner_of_two_edges():
    """The end of a road three lanes wide is two edges that meet in the middle, where the middle lane leads to. Seen in a
    soak: somebody small and fast came through between them, and drove on beyond the map."""
    lanes = (straight(str(k), 0, 3.5 * k, 60, 3.5 * k) for k in range(3))
    sim = simulator(road_map("three", *lanes), 1)
    clear(sim)
    edges = sim.roads.grid.edges
    ends = {(float(x), float(y)) for k in "12" for x, y in zip(edges[f"x{k}"], edges[f"y{k}"], strict=True) if x > 29}
    assert (30.0, 3.5 - sim.roads.origins[0, 1]) in ends, "edges meet there"
    place(sim, 0, 62.0, 3.5, 0.0, coming_from=(57.5, 3.5, 0.0), length=0.8, width=0.8)
    assert leaves(sim) == [True]


def test_nobody_jumps_over_an_edge(sim):
    """The box is clear of the edges at both ends of the step, but the way leads over one."""
    place(sim, 0, 50, 0, 0, coming_from=(50, -10, 0), length=2.0, width=1.0)
    place(sim, 1, 50, -10, 0, coming_from=(44, -10, 0), length=2.0, width=1.0)
    place(sim, 2, 50, 0, 0, coming_from=(44, 0, 0), length=2.0, width=1.0)  # on the grass all the time
    assert leaves(sim) == [True, False, False, False]


@pytest.mark.parametrize("status", [ENDED, WAITING])
def test_only_live_agents_leave_the_road(sim, status):
    place(sim, 0, 50, -12)
    sim.state.rows.status[0, 0] = status
    sim.state.events.offroad[:] = True
    assert leaves(sim) == [False] * 4


def test_boxes_on_the_band_like_shapely(sim):
    center = [(0, -10), (200, -10), *((200 + 10 * math.sin(t), -10 * math.cos(t)) for t in np.linspace(0, math.pi, 200))]
    center += [(0, 10), *((-10 * math.sin(t), 10 * math.cos(t)) for t in np.linspace(0, math.pi, 200))]
    line = shapely.linestrings(center)
    band = line.buffer(1.75)
    rng = np.random.default_rng(3)
    seen = {True: 0, False: 0}
    for _ in range(400):
        at = line.interpolate(rng.uniform(0, line.length))
        ahead = line.interpolate((line.project(at) + 0.1) % line.length)
        heading = math.atan2(ahead.y - at.y, ahead.x - at.x)
        for a in range(4):
            side, turned = rng.normal(0, 0.5), heading + rng.normal(0, 0.2)
            x, y = at.x - side * math.sin(heading), at.y + side * math.cos(heading)
            length, width = rng.uniform(3.6, 5.4), rng.uniform(1.6, 2.1)
            place(sim, a, x, y, turned, length=length, width=width)
            shape = box(*np.array([[x], [y], [turned], [length / 2], [width / 2]]))[0]
            off = leaves(sim)[a]
            if band.contains(shape.buffer(0.06)):
                assert not off
                seen[False] += 1
            elif not band.contains(shape.buffer(-0.06)):
                assert off
                seen[True] += 1
    assert min(seen.values()) > 200


def test_edges_of_another_level_do_not_count():
    made = simulator(bridge(), 2)
    clear(made)
    place(made, 0, 2.0, 0, 0, z=0.0)  # under the deck, whose edges are 1.75 m left and right of x = 0
    place(made, 1, 0, 2.0, math.pi / 2, z=8.0)  # over the edges of the ground lane
    assert leaves(made) == [False, False]
    place(made, 0, 2.0, 0, 0, z=8.0)
    place(made, 1, 0, 2.0, math.pi / 2, z=0.0)
    assert leaves(made) == [True, True]


# Red lights: the stop line of the west arm lies at x = -12 across y = -3.5 .. 0, traffic goes to the east


@pytest.fixture(scope="module")
def lights():
    return simulator(crossing(lights=True), 1)


def crossed(sim, x, old_x, *, y=-1.75, z=0.0, heading=0.0, colour=RED):
    """Whether a car of 4.5 m whose front went from old_x to x runs the light."""
    clear(sim)
    back = 2.25 * math.cos(heading)
    place(sim, 0, x - back, y, heading, z=z, coming_from=(old_x - back, y, heading))
    aim_at(sim, 0, ("east out", 30))
    run("locate", sim)
    sim.state.pose.z[0, 0] = z
    sim.state.lights.colour[:] = colour
    run("run_light", sim)
    return bool(sim.state.events.red_light[0, 0])


def test_crossing_at_red_counts(lights):
    assert crossed(lights, -11.9, -12.1)
    assert crossed(lights, -9.0, -15.0)
    assert [crossed(lights, -11.9, -12.1, colour=colour) for colour in (OFF, GREEN, YELLOW)] == [False] * 3


def test_only_the_front_counts_and_only_once(lights):
    assert not crossed(lights, -12.1, -13.0)  # stops before the line
    assert not crossed(lights, -11.0, -11.9)  # had crossed it before
    assert crossed(lights, -11.0, -12.0)  # stood on the line


def test_the_other_way_does_not_count(lights):
    assert not crossed(lights, -12.1, -11.9)  # backwards
    assert not crossed(lights, -12.1, -11.9, y=1.75, heading=math.pi)  # leaves the junction beside the line
    assert not crossed(lights, -11.9, -12.1, y=1.9)  # on the wrong side of the road
    assert not crossed(lights, -11.9, -12.1, z=6.0)  # on a bridge


def test_only_its_own_light_counts(lights):
    colour = lights.state.lights.colour
    names = sorted(lights.maps[0].signals)
    for name in names:
        crossed(lights, -11.9, -12.1, colour=GREEN)
        colour[0, names.index(name)] = RED
        run("run_light", lights)
        assert lights.state.events.red_light[0, 0] == (name == "light west")


@pytest.mark.parametrize("config", [laptop(), Config()])
def test_every_stop_line_of_a_town_is_noticed(config):
    """However few stop lines an agent sees: the one that it crosses is among them."""
    town = load(shipped()["downtown"])
    made = simulator(town, 1, config.replace(agents_per_world=1))
    origin, first = made.roads.origins[0], made.roads.network.lanes["first"]
    begins = made.roads.network.sections[first]
    assert len(made.roads.network.stops) > 20
    for stop in made.roads.network.stops:
        clear(made)
        heading = math.atan2(stop["sin"], stop["cos"])
        for past in (0.5, 5.9):  # just over the line, and as far as a fast car gets
            x = stop["x"] + (past - 2.25) * stop["cos"] + origin[0]
            y = stop["y"] + (past - 2.25) * stop["sin"] + origin[1]
            back = (x - 6 * stop["cos"], y - 6 * stop["sin"], heading)
            place(made, 0, x, y, heading, coming_from=back)
            made.state.lane_position.section[0, 0] = first[
                np.hypot(begins["x"] - stop["x"], begins["y"] - stop["y"]).argmin()
            ]
            run("locate", made)
            made.state.lights.colour[:] = RED
            run("run_light", made)
            assert made.state.events.red_light[0, 0], stop
    assert made.state.rows.status[0, 0] == LIVE


# Properties of the rules

places, angles, halves = reals(-8, 8), reals(-math.pi, math.pi), reals(0.3, 4)
poses = st.tuples(places, places, angles)


def turned(x, y, angle):
    """The numbers of a pose as the rules take them."""
    return x, y, math.cos(angle), math.sin(angle)


def shape(x, y, angle, length, width):
    return box(*np.array([[x], [y], [angle], [length], [width]]))[0]


@given(poses, poses, halves, halves, halves, halves)
def test_corners_hit_where_the_way_of_one_meets_the_box(old, new, length, width, half_length, half_width):
    """Judged by shapely; the way back and the mirror image hit the same."""
    here, there = turned(*new), turned(*old)
    sizes = length, width, half_length, half_width
    found = call(corners_hit)(*here, *there, *sizes)
    ends = (shapely.get_coordinates(shape(*one, length, width))[:4] for one in (old, new))
    ways, around = shapely.linestrings(np.stack(list(ends), axis=1)), shape(0, 0, 0, half_length, half_width)
    if shapely.distance(around, ways).min() > 1e-3:
        assert not found
    if shapely.intersects(around.buffer(-1e-3), ways).any():
        assert found
    assert found == call(corners_hit)(*there, *here, *sizes)
    mirrored = (turned(x, -y, -angle) for x, y, angle in (new, old))
    assert found == call(corners_hit)(*(number for pose in mirrored for number in pose), *sizes)


@given(poses, poses, poses)
def test_a_relative_pose_is_the_same_from_everywhere_and_leads_back(one, other, moved):
    found = call(relative)(*turned(*one), *turned(*other))
    (x, y, angle), (bx, by, other_angle) = one, other
    place_, heading = complex(found[0], found[1]), complex(found[2], found[3])
    assert complex(x, y) + place_ * np.exp(1j * angle) == pytest.approx(complex(bx, by), abs=1e-5)
    assert heading * np.exp(1j * angle) == pytest.approx(np.exp(1j * other_angle), abs=1e-6)
    turn, shift = np.exp(1j * moved[2]), complex(*moved[:2])
    there = [turned(at.real, at.imag, one[2] + moved[2])
             for one in (one, other) for at in [complex(*one[:2]) * turn + shift]]  # fmt: skip
    assert call(relative)(*there[0], *there[1]) == pytest.approx(found, abs=2e-5)


ROADS = compile_roads(bridge())
EDGES = np.unique(ROADS.grid.edges)
# Across several of the cells of 8 m in which edges are looked up.
far, long = reals(-20, 20), st.one_of(reals(0.3, 1), reals(0.3, 9))


@settings(max_examples=400)
@given(st.sampled_from(EDGES.tolist()), far, far, angles, far, far, st.sampled_from([-8, -2, 0, 1, 8]), long, long, matrices)
def test_edges_are_met_where_shapely_says(edge, ahead, left, angle, back_x, back_y, above, length, width, matrix):
    """Boxes near an edge of the bridge's roads, in worlds that are images of the map, on its level and on the other."""
    x, y = matrix @ [edge[0], edge[1]] + [ahead, left]
    old = x + back_x, y + back_y
    z = edge[4] + above
    row = ROADS.network.maps[0]
    found = call(edges_met)(
        0, warped(matrix), ROADS.grid, row, *(float(one) for one in (x, y, z)), math.cos(angle), math.sin(angle),
        *(float(one) for one in old), length, width,
    )  # fmt: skip
    ends = np.stack([[EDGES["x1"], EDGES["y1"]], [EDGES["x2"], EDGES["y2"]]]).astype(float)
    edges = shapely.linestrings(ends.transpose(2, 0, 1) @ matrix.T)
    gap = abs(EDGES["z"].astype(float) - z)
    here, way = shape(x, y, angle, length, width), shapely.LineString([old, (x, y)])
    sure, tips = edges[gap < 2.499], shapely.points([old, (x, y)])
    tips_clear = (shapely.distance(tips[:, None], sure) > 5e-3).all(axis=0)
    edge_tips_clear = (shapely.distance(shapely.points(ends.transpose(2, 0, 1) @ matrix.T), way) > 5e-3).all(axis=1)
    crossed = shapely.crosses(way, sure) & tips_clear & edge_tips_clear[gap < 2.499]
    if crossed.any() or shapely.intersects(here.buffer(-5e-3), sure).any():
        assert found
    near = edges[gap < 2.501]
    if not len(near) or min(shapely.distance(here, near).min(), shapely.distance(way, near).min()) > 5e-3:
        assert not found


@given(st.data())
def test_four_quads_of_a_lane_share_a_row_of_the_nearby_tables(data):
    network = ROADS.network
    lanes = network.lanes[data.draw(st.lists(st.integers(0, len(network.lanes) - 1), min_size=2, max_size=2))]
    quads = [data.draw(st.integers(0, int(lane["quads"]) - 1)) for lane in lanes]
    one, other = (call(nearby_row)(network, int(lane["first"]) + k) for lane, k in zip(lanes, quads, strict=True))
    assert 0 <= one < len(ROADS.nearby.stops)
    assert (one == other) == (lanes[0] == lanes[1] and quads[0] // 4 == quads[1] // 4)
