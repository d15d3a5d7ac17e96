"""Map variants: a warped world has the metrics of a world that was compiled from the warped map."""

import math

import numpy as np
import pytest
from agent_boxes import overlaps
from conftest import aim_at, call, clear, crossing, key, lane_number, motorway, place, reals, ring, run, simulator
from hypothesis import given
from hypothesis import strategies as st
from warps import SHAPES, bound, give, image, matrices, warped

from gigaflow_env.config import laptop, paper
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.layout import CURVATURE_SCALE, LANE_WIDTH_SCALE, Ego, Layout
from gigaflow_env.roads import load, shipped
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.road_map import HEADING
from gigaflow_env.sim.variant import (
    curved,
    frame_of,
    lane_stretch,
    most_gain,
    placed,
    seen_from,
    shape_of,
    stretch,
    to_map,
    to_world,
    turned,
)
from gigaflow_env.state import LIVE

CONFIG = laptop().replace(agents_per_world=1, view_range=200.0, lane_count=30, boundary_count=8)
VARIED: dict = {
    "variant_scale": (0.85, 1.2), "variant_shear": (-0.15, 0.15), "variant_flip": 0.5, "variant_turn": (-3.0, 3.0),
}  # fmt: skip
MOTORWAY = compile_roads(motorway())


def pair(make, shape, config=CONFIG):
    """The same world twice: a variant of the map, and the map of the variant. Both empty."""
    road_map = make()
    warped, compiled = simulator(road_map, 1, config), simulator(image(road_map, SHAPES[shape]), 1, config)
    give(warped, SHAPES[shape])
    for sim in (warped, compiled):
        clear(sim)
    return warped, compiled


def put(warped, compiled, x, y, heading, lane, goal, **how):
    """The same agent in both: at the image of (x, y) of the source's coordinates, turned by `heading` from the image of the
    lane's start; its goal is a lane and a share of its length."""
    matrix = np.asarray(warped.state.variant[:4], float).reshape(2, 2)
    origin = warped.roads.origins[0, :2]
    start = warped.roads.network.sections[
        warped.roads.network.lanes[lane_number(warped.maps[0], lane)]["first"]
    ]  # where tracking starts from
    at = matrix @ (np.array([x, y]) - origin)
    angle = math.atan2(*(matrix @ [start["cos"], start["sin"]])[::-1]) + heading
    place(warped, 0, *(at + origin), angle, **how)
    place(compiled, 0, *(at + matrix @ origin), angle, **how)
    for sim in (warped, compiled):
        first = sim.roads.network.lanes[lane_number(sim.maps[0], lane)]["first"]
        sim.state.lane_position.section[0, 0] = first
        sim.state.lane_position.stood[:] = -1
        sim.state.lane_routes.goal[:] = -1
        row = sim.roads.network.lanes[lane_number(sim.maps[0], goal[0])]
        aim_at(sim, 0, (goal[0], goal[1] * row["length"]))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("make", [ring, motorway], ids=["ring", "motorway"])
def test_frenet_coordinates(make, shape):
    """Offset, angle, direction and curvature, on straights and in bends, beside the middle of the lane. Cross-sections of a
    sheared lane are slanted: along the lane places differ by the offset times the shear, which matters in bends only."""
    warped, compiled = pair(make, shape)
    lanes = ("east", "east end") if make is ring else ("outer 0", "outer 1")
    goal = ("west", 0.25) if make is ring else ("outer 2", 0.25)
    rng = np.random.default_rng(1)
    for lane in lanes:
        line = sample(warped.maps[0].lanes[lane].line, 0.5)
        for knot in rng.integers(4, len(line) - 4, 8):
            offset = rng.uniform(-1.2, 1.2)
            heading = line[knot, HEADING]
            x, y = line[knot, 0] - offset * math.sin(heading), line[knot, 1] + offset * math.cos(heading)
            put(warped, compiled, x, y, rng.uniform(-0.5, 0.5), lane, goal)
            for sim in (warped, compiled):
                sim.state.lane_position.section[0, 0] += int(knot / 2)
                run("locate", sim)
            one, other = warped.state.lane_position, compiled.state.lane_position
            bend = 0.06 if "end" in lane or lane.endswith("1") else 2e-3
            assert one.offset[0, 0] == pytest.approx(other.offset[0, 0], abs=bend)
            assert math.cos(one.angle[0, 0] - other.angle[0, 0]) > math.cos(0.08 if bend > 0.01 else 2e-3)
            # Inside of a lane ways are taken for shares of its length: in a half circle of 70 m up to 2.5 m off.
            assert one.route_distance[0, 0] == pytest.approx(
                other.route_distance[0, 0], rel=0.02, abs=2.5 if bend > 0.01 else 0.5
            )
            for sim in (warped, compiled):
                run("observe", sim)
            k = Ego._fields.index("curvature")
            here, there = (
                CURVATURE_SCALE * Layout(CONFIG).split(sim.observations[0, 0]).ego[k] for sim in (warped, compiled)
            )
            assert here == pytest.approx(there, abs=0.02 if bend > 0.01 else 1e-3)


def verdicts(sim, stage, event, grown=0.0):
    """Whether the stage sees the event for the agent, for its body and for one that is a little smaller and larger."""
    found, body = [], sim.state.body
    length, width = body.length[0, 0], body.width[0, 0]
    for change in (0.0, -grown, grown):
        body.length[0, 0], body.width[0, 0] = length + change, width + change
        run(stage, sim)
        found.append(bool(getattr(sim.state.events, event)[0, 0]))
    body.length[0, 0], body.width[0, 0] = length, width
    return found


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("lane", ["east", "east end"])
def test_edges(shape, lane):
    """A box touches the edge of the road where it does in the warped map, but for 2 cm (and 8 cm in a bend, whose width the
    compiler draws between cross-sections that slant)."""
    warped, compiled = pair(ring, shape)
    rng, hits = np.random.default_rng(2), 0
    line = sample(warped.maps[0].lanes[lane].line, 0.5)
    for _ in range(150):
        knot, offset = rng.integers(8, len(line) - 8), rng.uniform(-2.0, 2.0)
        heading = line[knot, HEADING]
        x, y = line[knot, 0] - offset * math.sin(heading), line[knot, 1] + offset * math.cos(heading)
        put(warped, compiled, x, y, rng.uniform(-3, 3), lane, ("west", 0.25), length=2.5, width=1.5)
        here, _, _ = verdicts(warped, "leave_road", "offroad")
        there, smaller, larger = verdicts(compiled, "leave_road", "offroad", 0.04 if lane == "east" else 0.16)
        assert here == there or smaller != larger
        hits += here
    assert 20 < hits < 130


@pytest.mark.parametrize("shape", SHAPES)
def test_a_jump_over_an_edge(shape):
    warped, compiled = pair(ring, shape)
    put(warped, compiled, 100.0, -10.0, 0.0, "east", ("west", 0.25), length=1.0, width=0.8)
    for sim in (warped, compiled):
        pose = sim.state.pose
        pose.old_x[0, 0], pose.old_y[0, 0] = pose.x[0, 0] - 8 * pose.sin[0, 0], pose.y[0, 0] + 8 * pose.cos[0, 0]
        run("leave_road", sim)
        assert sim.state.events.offroad[0, 0]


@pytest.mark.parametrize("shape", SHAPES)
def test_red_lights_and_stop_lines(shape):
    """The line is crossed where it is in the warped map, and seen there, with its direction."""
    config = CONFIG.replace(stop_count=3, lights_off=0.0, lights_removed=0.0, light_groups_removed=0.0)
    warped, compiled = pair(lambda: crossing(lights=True), shape, config)
    rng, crossed = np.random.default_rng(3), 0
    for sim in (warped, compiled):
        sim.state.lights.colour[:] = 3
    matrix = np.asarray(SHAPES[shape])
    gain = np.hypot(*(matrix @ [1, 0]))
    for _ in range(60):
        x, offset = rng.uniform(-16, -10), rng.uniform(-2.5, 2.5)
        put(warped, compiled, x, -1.75 + offset, rng.uniform(-0.3, 0.3), "west in", ("east out", 0.4), length=2.0, width=1.0)
        for sim in (warped, compiled):
            sim.state.lane_position.section[0, 0] += 50
            run("locate", sim)
            pose = sim.state.pose
            pose.old_x[0, 0] = pose.x[0, 0] - 3 * pose.cos[0, 0]
            pose.old_y[0, 0] = pose.y[0, 0] - 3 * pose.sin[0, 0]
            run("run_light", sim)
            run("observe", sim)
        here, there = (Layout(config).split(sim.observations[0, 0]).stops for sim in (warped, compiled))
        order = [np.lexsort(np.round(block[:, :2], 3).T) for block in (here, there)]
        assert np.abs(here[order[0]] - there[order[1]]).max() < 2e-3
        edge = abs(abs(offset) - 1.75) * gain < 0.05 or abs(abs(x + 12) - 1) < 0.1 or abs(abs(x + 12) - 4) < 0.2
        assert edge or warped.state.events.red_light[0, 0] == compiled.state.events.red_light[0, 0]
        crossed += warped.state.events.red_light[0, 0]
    assert 5 < crossed < 55


@pytest.mark.parametrize("shape", SHAPES)
def test_what_is_seen(shape):
    """Lane samples, boundary points and goals: the images of what is stored, in the agent's frame; directions and widths by
    the closed forms; ways as in the compiled image."""
    warped, compiled = pair(ring, shape)
    matrix = np.asarray(SHAPES[shape])
    put(warped, compiled, 60.0, -10.4, 0.2, "east", ("west", 0.25))
    for sim in (warped, compiled):
        sim.state.lane_position.section[0, 0] += 60
        for stage in ("locate", "find_neighbours", "select_lane_samples", "observe"):
            run(stage, sim)
    state, nearby, network = warped.state, warped.roads.nearby, warped.roads.network
    section = state.lane_position.section[0, 0]
    lane = network.lanes[network.sections["lane"][section]]
    row = lane["nearby_at"] + (section - lane["first"]) // 4
    c, s = state.pose.cos[0, 0], state.pose.sin[0, 0]
    frame = np.array([[c, s], [-s, c]])
    here = np.array([state.pose.x[0, 0], state.pose.y[0, 0]])
    blocks = Layout(CONFIG).split(warped.observations[0, 0])
    samples = network.samples[nearby.samples[row]]
    at = (np.stack([samples["x"], samples["y"]], 1) @ matrix.T - here) @ frame.T / 200
    assert np.abs(blocks.lanes[:, :2] - np.clip(at, -1, 1)).max() < 1e-5
    along = np.stack([samples["cos"], samples["sin"]], 1) @ matrix.T
    gain = np.hypot(*along.T)
    assert np.abs(blocks.lanes[:, 2:4] - (along / gain[:, None]) @ frame.T).max() < 1e-5
    width = samples["width"] * abs(np.linalg.det(matrix)) / gain
    assert np.abs(blocks.lanes[:, 4] * LANE_WIDTH_SCALE - width).max() < 1e-4
    points = nearby.boundaries[row]
    at = (np.stack([points["x"], points["y"]], 1) @ matrix.T - here) @ frame.T / 200
    assert np.abs(blocks.boundaries - at).max() < 1e-5
    goal = Layout(CONFIG).split(compiled.observations[0, 0]).goals
    assert np.abs(blocks.goals - goal).max() < 0.01  # goals are middles of quads of 1 m
    # Each sample of the warped world, beside the one of the compiled world that lies nearest: as far from the goal.
    other = Layout(CONFIG).split(compiled.observations[0, 0]).lanes
    assert np.allclose(np.sort(blocks.lanes[:, 4])[[0, -1]], np.sort(other[:, 4])[[0, -1]], atol=0.02)


@pytest.mark.parametrize(("stretched", "limit", "naive"), [(1.1, 0.004, 0.02), (1.25, 0.01, 0.05), (1.5, 0.03, 0.1)])
def test_ways(stretched, limit, naive):
    """Ways between places of a stretched and sheared town, against those of the town compiled from its image. What the mean
    scale makes of the map's own ways is five times as far off."""
    town, matrix = load(shipped()["downtown"]), np.array([[stretched, 0.1], [0.0, 1.0]])
    config = CONFIG.replace(lane_count=1, boundary_count=1, stop_count=1)
    warped, plain = simulator(town, 1, config), simulator(town, 1, config)
    compiled = simulator(image(town, matrix), 1, config)
    give(warped, matrix)
    rng, found = np.random.default_rng(0), []
    lanes = warped.roads.network.lanes
    for lane, goal in rng.integers(0, len(lanes), (400, 2)):
        share, goal_share, ways = rng.uniform(0.1, 0.9), rng.uniform(0.1, 0.9), []
        for sim in (warped, compiled, plain):
            sections, state = sim.roads.network.sections, sim.state
            here, there = sim.roads.network.lanes[lane], sim.roads.network.lanes[goal]
            section = here["first"] + int(share * here["quads"])
            a, b = sections[section], sections[section + 1]
            image_of = matrix if sim is warped else np.eye(2)
            x, y = image_of @ [(a["x"] + b["x"]) / 2, (a["y"] + b["y"]) / 2]
            along = image_of @ [a["cos"], a["sin"]]
            place(sim, 0, *(np.array([x, y]) + sim.roads.origins[0, :2]), math.atan2(along[1], along[0]), z=a["z"])
            state.lane_position.section[0, 0] = section
            state.goals.section[0, 0, 0], state.goals.next[0, 0] = there["first"] + int(goal_share * there["quads"]), 0
            run("locate", sim)
            ways.append(float(state.lane_position.route_distance[0, 0]))
        if 100 < min(ways) and max(ways) < 1e6:
            found.append(ways)
    here, there, stored = np.array(found).T
    assert len(found) > 200
    assert np.quantile(abs(here / there - 1), 0.9) < limit
    assert np.quantile(abs(stored * math.sqrt(np.linalg.det(matrix)) / there - 1), 0.9) > naive


@given(matrices, st.floats(-3.1, 3.1))
def test_closed_forms(matrix, direction):
    """Area, inverse and stretch of any A: the stretch of a direction is |A d| but for e^2 / 8 or less."""
    values = [float(array[0]) for array in warped(matrix)]
    assert values[8] == pytest.approx(np.linalg.det(matrix), rel=1e-4)
    assert np.reshape(values[4:8], (2, 2)) @ matrix == pytest.approx(np.eye(2), abs=1e-4)
    gain = np.hypot(*(matrix @ [math.cos(direction), math.sin(direction)]))
    found = values[9] + values[10] * math.cos(2 * direction) + values[11] * math.sin(2 * direction)
    large, small = np.linalg.svd(matrix)[1] ** 2
    e = (large - small) / (large + small)
    assert abs(found - gain) < bound(matrix)
    assert warped(matrix).plain[0] == np.array_equal(matrix, np.eye(2))
    # The mean of |A d| over all directions, and its part that goes with the doubled angle.
    every = np.exp(2j * np.pi * np.arange(720) / 720)
    gains = np.hypot(*(matrix @ np.stack([every.real, every.imag])))
    within = pytest.approx(0, abs=0.02 * e**6 * math.sqrt((large + small) / 2) + 2e-5)
    assert values[9] - gains.mean() == within
    assert abs(complex(values[10], values[11]) - 2 * (gains * every**2).mean()) == within


@pytest.mark.parametrize("entry", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_only_the_map_itself_is_plain(entry):
    matrix = np.eye(2)
    assert warped(matrix).plain[0]
    matrix[entry] += 0.5
    assert not warped(matrix).plain[0]


# Properties of every rule

vectors, directions = st.tuples(reals(-200, 200), reals(-200, 200)), reals(-math.pi, math.pi)


@given(matrices, vectors)
def test_a_place_of_the_world_is_the_image_of_its_place_in_the_map(matrix, vector):
    variant = warped(matrix)
    there = call(to_world)(0, variant, *vector)
    assert there == pytest.approx(tuple(matrix @ vector), abs=1e-3)
    assert call(to_map)(0, variant, *there) == pytest.approx(vector, abs=1e-2)


@given(matrices, directions, vectors)
def test_a_direction_is_turned_and_what_is_seen_lies_in_a_turned_frame(matrix, angle, vector):
    variant, heading = warped(matrix), np.array([math.cos(angle), math.sin(angle)])
    cos, sin, gain = call(turned)(0, variant, *heading.tolist())
    assert (gain * cos, gain * sin) == pytest.approx(tuple(matrix @ heading), abs=1e-5)
    assert math.hypot(cos, sin) == pytest.approx(1, abs=1e-6)
    assert gain * 0.999 <= call(most_gain)(0, variant) == pytest.approx(np.linalg.norm(matrix), rel=1e-5)
    frame = call(frame_of)(0, variant, *heading.tolist())
    ahead, left = call(seen_from)(frame, *vector)
    image = complex(*(matrix @ vector)) * np.exp(-1j * angle)
    assert complex(ahead, left) == pytest.approx(image, abs=1e-3)


@given(matrices, directions, reals(-4, 4), reals(1, 4))
def test_a_place_beside_a_lane_keeps_its_distance_of_the_images_of_two_parallels(matrix, angle, offset, half_width):
    along, across = np.array([math.cos(angle), math.sin(angle)]), np.array([-math.sin(angle), math.cos(angle)])
    found, half, *direction = call(placed)(0, warped(matrix), offset, half_width, *along.tolist())
    image = matrix @ along / np.hypot(*(matrix @ along))
    assert direction == pytest.approx(image.tolist(), abs=1e-5)
    left = np.array([-image[1], image[0]])
    assert found == pytest.approx(left @ matrix @ across * offset, abs=1e-4)
    assert half == pytest.approx(abs(left @ matrix @ across * half_width), abs=1e-4)


@given(matrices, directions, reals(-0.2, 0.2))
def test_the_image_of_an_arc_is_curved_as_the_circle_through_three_of_its_points(matrix, angle, curvature):
    turn = curvature * np.array([-0.01, 0.0, 0.01])
    arc = np.exp(1j * angle) * (np.array([-0.01, 0, 0.01]) + 1j * np.array([-0.01, 0, 0.01]) * turn / 2)
    a, b, c = (matrix @ np.stack([arc.real, arc.imag])).T
    area = np.linalg.det([b - a, c - a])
    circle = 2 * area / (math.dist(a, b) * math.dist(b, c) * math.dist(a, c))
    found = call(curved)(0, warped(matrix), curvature, math.cos(angle), math.sin(angle))
    assert found == pytest.approx(circle, rel=1e-3, abs=1e-5)


@given(matrices, st.lists(st.tuples(directions, reals(0.1, 50)), min_size=1, max_size=8))
def test_a_way_of_straight_pieces_is_as_long_as_their_images(matrix, pieces):
    angle, length = np.array(pieces).T
    mean = (length * np.exp(2j * angle)).sum() / length.sum()
    image = length * np.hypot(*(matrix @ np.stack([np.cos(angle), np.sin(angle)])))
    variant = warped(matrix)
    shape = tuple(map(np.float32, call(shape_of)(0, variant)))
    found = call(stretch)(shape, float(mean.real), float(mean.imag))
    assert found == pytest.approx(image.sum() / length.sum(), abs=bound(matrix))


@given(matrices, st.sampled_from(MOTORWAY.network.lanes))
def test_a_lane_is_as_long_as_the_image_of_its_center_line(matrix, lane):
    sections = MOTORWAY.network.sections[lane["first"] : lane["first"] + lane["quads"] + 1]
    line = np.stack([sections["x"], sections["y"]]).astype(float)
    length = np.hypot(*np.diff(matrix @ line)).sum() / np.hypot(*np.diff(line)).sum()
    assert call(lane_stretch)(0, warped(matrix), lane) == pytest.approx(length, abs=bound(matrix) + 1e-3)
    assert call(lane_stretch)(0, warped(np.eye(2)), lane) == 1


# Whole worlds


def test_worlds_draw_their_variants():
    config = laptop().replace(
        agents_per_world=1,
        variant_scale=(0.85, 1.2),
        variant_shear=(-0.15, 0.15),
        variant_flip=0.5,
        variant_turn=(-3.0, 3.0),
    )
    sim = simulator(ring(), 1500, config)
    variant = sim.state.variant
    matrices = np.stack(variant[:4], axis=-1).reshape(-1, 2, 2).astype(float)
    det = np.linalg.det(matrices)
    assert abs((det < 0).mean() - 0.5) < 0.06 and not variant.plain.any()
    assert abs(np.abs(det) - 1).max() < 0.45 and 0.85**2 - 1e-3 < np.abs(det).min()
    turn = np.arctan2(matrices[:, 1, 0], matrices[:, 0, 0])
    assert abs(turn).max() <= 3.0 and abs(np.histogram(turn, 6, (-3, 3))[0] - 250).max() < 5 * math.sqrt(250)
    scale = np.hypot(matrices[:, 0, 0], matrices[:, 1, 0])
    assert scale.min() == pytest.approx(0.85, abs=0.01) and scale.max() == pytest.approx(1.2, abs=0.01)


def test_off_by_default():
    sim = simulator(ring(), 10, laptop().replace(agents_per_world=1))
    assert sim.state.variant.plain.all() and (sim.state.variant.mean == 1).all()


def test_driving_in_variants():
    """Everybody starts on the road, free of others; who keeps still stays on it; worlds are drawn anew when they end."""
    config = paper().replace(agents_per_world=40, world_steps=6, world_stagger=0.0, spawn_speed=0.0, lane_count=4)
    sim = simulator([load(shipped()["downtown"]), motorway()], 160, config.replace(agents_per_world=20))
    before = sim.state.variant.xx.copy()
    for step in range(14):
        sim.step(np.full(160, 7))
        assert not sim.state.events.offroad.any() and not sim.state.events.collision.any(), step
        assert overlaps(sim.state) == 0
        live = sim.state.rows.status == LIVE
        assert live.mean() > 0.9
        assert (
            abs(sim.state.lane_position.offset[live]).max() < 0.05 and abs(sim.state.lane_position.angle[live]).max() < 0.05
        )
        if step == 4:
            assert np.array_equal(before, sim.state.variant.xx)
    assert not (before == sim.state.variant.xx).any()


def test_left_hand_traffic():
    """In a flipped T crossing whoever drives in from the west has the other direction on his right."""
    config = laptop().replace(agents_per_world=1, variant_flip=1.0)
    sim = simulator(crossing(), 200, config)
    state = sim.state
    lane = sim.roads.network.sections["lane"][state.lane_position.section[:, 0]]
    west = lane == lane_number(sim.maps[0], "west in")
    assert west.sum() > 10
    y = state.pose.y[west, 0] - sim.roads.origins[0, 1]
    assert (state.pose.cos[west, 0] > 0.99).all() and y == pytest.approx(1.75, abs=0.01)


def test_goals_of_variants_are_reached():
    """Goals lie on the images of lanes: an agent put there has arrived."""
    config = laptop().replace(
        agents_per_world=4,
        variant_scale=(0.85, 1.2),
        variant_shear=(-0.15, 0.15),
        variant_flip=0.5,
        variant_turn=(-3.0, 3.0),
    )
    sim = simulator(motorway(), 40, config)
    state = sim.state
    for w in range(10):
        for a in range(4):
            state.pose.x[w, a], state.pose.y[w, a] = state.goals.x[w, a, 0], state.goals.y[w, a, 0]
            state.lane_position.section[w, a] = state.goals.section[w, a, 0]
            quad = sim.roads.network.sections[state.goals.section[w, a, 0]]
            along = np.asarray([array[w] for array in state.variant[:4]]).reshape(2, 2) @ [quad["cos"], quad["sin"]]
            state.pose.cos[w, a], state.pose.sin[w, a] = along / np.hypot(*along)
        run("locate", sim, w=w)
    assert (
        abs(state.lane_position.offset).max() < 1e-3
        and (np.minimum(state.lane_position.fraction, 1 - state.lane_position.fraction) > 0.4).all()
    )


# Several maps


def test_map_shares():
    sim = simulator([ring(), crossing(), motorway()], 900, laptop().replace(agents_per_world=1), map_shares=(0.2, 0, 3))
    many = np.bincount(sim.state.clock.map, minlength=3)
    assert many[1] == 0 and abs(many[0] / 900 - 0.0625) < 0.04
    first = sim.state.clock.map.copy()
    sim.reset(key(2))
    assert (first != sim.state.clock.map).any()


def test_a_new_world_has_a_new_map():
    config = laptop().replace(agents_per_world=2, world_steps=5, world_stagger=0.0, lights_off=0.0)
    sim = simulator([ring(), crossing(lights=True)], 200, config, map_shares=(1, 1))
    seen = []
    for _ in range(16):
        sim.step(np.full(200, 7))
        seen.append(sim.state.clock.map.copy())
        lane = sim.roads.network.sections["lane"][sim.state.lane_position.section]
        on = (lane >= sim.roads.network.maps["lanes_at"][1]).astype(int)
        assert (on == sim.state.clock.map[:, None])[sim.state.rows.status == LIVE].all()
    changes = np.diff(np.array(seen), axis=0).any(axis=1)
    assert np.flatnonzero(changes).tolist() == [3, 8, 13]


def test_without_shares_worlds_keep_their_map():
    sim = simulator([ring(), crossing()], 8, laptop().replace(agents_per_world=2, world_steps=3))
    for _ in range(7):
        assert sim.state.clock.map.tolist() == [0, 1, 0, 1]
        sim.step(np.full(8, 7))


@pytest.mark.parametrize("shares", [(1,), (1, -1), (0, 0), (1, float("nan"))])
def test_bad_map_shares(shares):
    with pytest.raises(ValueError, match="must be 2 numbers of at least 0, one for each map"):
        simulator([ring(), crossing()], 2, map_shares=shares)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("variant_scale", (0.4, 1.0), "both ends must be 0.5 to 2"),
        ("variant_shear", (0.0, 0.6), "both ends must be -0.5 to 0.5"),
        ("variant_flip", 2.0, "must be 0 to 1"),
    ],
)
def test_bad_variants(name, value, message):
    with pytest.raises(ValueError, match=message):
        laptop().replace(**{name: value})


# Pictures


def test_the_scene_is_warped():
    """Cars stand on the road of the picture; stop lines are square to their lanes and as wide."""
    config = laptop().replace(agents_per_world=6, variant_scale=(0.8, 1.25), variant_shear=(-0.2, 0.2), variant_flip=0.5)
    env = GigaflowVectorEnv(24, map=crossing(lights=True), config=config, threads=1)
    env.reset(seed=0)
    pytest.importorskip("shapely")
    import shapely

    for world in range(4):
        scene = env.scene(world)
        road = shapely.union_all(
            [
                shapely.buffer(shapely.Polygon(shape), 0.01)
                for shape, paint in zip(scene.roads.shapes, scene.roads.paints, strict=True)
                if paint == "asphalt"
            ]
        )
        assert shapely.contains_xy(road, scene.x, scene.y).all()
        matrix = np.array([float(array[world]) for array in env.simulator.state.variant[:4]]).reshape(2, 2)
        for line, stop in zip(scene.roads.stops, env.simulator.roads.network.stops, strict=True):
            along = matrix @ [stop["cos"], stop["sin"]]
            across = line[2:] - line[:2]
            assert abs(along @ across) < 1e-3
            width = 2 * stop["half_width"] * abs(np.linalg.det(matrix)) / np.hypot(*along)
            assert np.hypot(*across) == pytest.approx(width, rel=1e-4)
    assert len({id(env.scene(w).roads) for w in range(4)}) == 4 and env.scene(0).roads is env.scene(0).roads
