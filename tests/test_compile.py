"""The compiler, on hand-made maps whose tables are known on paper, and against shapely, brute force and a plain Dijkstra."""

import heapq
import importlib
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely
from shapely import STRtree

from gigaflow_env import files
from gigaflow_env.declare import fields, row_type
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.compiled import compile as compile_module
from gigaflow_env.roads.compiled.compile import capacity, compile_roads, needed_bytes
from gigaflow_env.roads.compiled.grid import Cells, compress, touched
from gigaflow_env.roads.compiled.neighbour_lists import VIEW_GAP, Sizes, nearest
from gigaflow_env.roads.compiled.road_edges import Strips, trace
from gigaflow_env.roads.compiled.routes import routes
from gigaflow_env.roads.compiled.tables import (
    CELL,
    EDGE_CELL,
    LANE_CHANGE_COST,
    ROW_QUADS,
    UNREACHABLE,
    BendRow,
    EdgeRow,
    Grid,
    LaneRow,
    MapRow,
    Nearby,
    Network,
    PhaseRow,
    PointRow,
    ProgramRow,
    SampleRow,
    Section,
    StopRow,
)
from gigaflow_env.roads.loading import find, load
from gigaflow_env.roads.road_map import WIDTH, Lane, MapError, RoadMap, Signal

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps" / "carla"


@pytest.fixture(autouse=True)
def cache_directory(tmp_path, monkeypatch):
    monkeypatch.setenv("GIGAFLOW_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "maps"


def straight(name, x1, y1, x2, y2, *, z=(0.0, 0.0), width=3.5, **links):
    heading = math.atan2(y2 - y1, x2 - x1)
    return Lane(name, np.array([[x1, y1, z[0], heading, width], [x2, y2, z[1], heading, width]], float), **links)


def arc(name, radius, angle, *, width=3.5, **links):
    """Left turn around (0, 0) from (radius, 0)."""
    at = np.linspace(0, angle, max(3, round(abs(angle) / 0.05)))
    line = np.column_stack([radius * np.cos(at), radius * np.sin(at), 0 * at, at + math.pi / 2, 0 * at + width])
    return Lane(name, line, **links)


def road_map(*lanes, signals=(), name="test"):
    return RoadMap(name, {lane.id: lane for lane in lanes}, {signal.id: signal for signal in signals})


def two_way(name="two_way"):
    return road_map(straight("east", 0, -1.75, 100, -1.75), straight("west", 100, 1.75, 0, 1.75), name=name)


def parallel():
    """Three lanes side by side, from the right a, b, c; b goes on in d."""
    return road_map(
        straight("a", 0, 0, 60, 0, left="b"),
        straight("b", 0, 3.5, 60, 3.5, right="a", left="c", successors=("d",)),
        straight("c", 0, 7, 60, 7, right="b"),
        straight("d", 60, 3.5, 90, 3.5),
    )


def junction(name="junction"):
    """T junction of arms west, east and south, 40 m long, with a light for each arm; west and east share a group."""
    arms = {"west": (-1, 0), "east": (1, 0), "south": (0, -1)}
    lanes, ends = [], {}
    for arm, (x, y) in arms.items():
        for way, side in (("in", 1), ("out", -1)):
            # Facing outwards, traffic into the junction keeps to the left, so to its own right.
            near = np.array([10 * x - side * 1.75 * y, 10 * y + side * 1.75 * x])
            far = near + 40 * np.array([x, y])
            ends[arm, way] = near
            first, last = (far, near) if way == "in" else (near, far)
            others = tuple(f"{arm}-{other}" for other in arms if other != arm) if way == "in" else ()
            lanes.append(straight(f"{arm} {way}", *first, *last, successors=others))
    for arm, (x, y) in arms.items():
        for other, (ox, oy) in arms.items():
            if other != arm:
                start = [*ends[arm, "in"], 0, math.atan2(-y, -x), 3.5]
                line = np.array([start, [*ends[other, "out"], 0, math.atan2(oy, ox), 3.5]])
                lanes.append(Lane(f"{arm}-{other}", line, successors=(f"{other} out",), junction="j", signal=f"light {arm}"))
    groups = {"west": "main", "east": "main", "south": "side"}
    return road_map(*lanes, signals=[Signal(f"light {arm}", group=groups[arm]) for arm in arms], name=name)


def bridge():
    """A lane along x on the ground; one along y that climbs to 8 m over it in three linked lanes."""
    return road_map(
        straight("ground", -100, 0, 100, 0),
        straight("up", 0, -150, 0, -30, z=(0, 8), successors=("deck",)),
        straight("deck", 0, -30, 0, 30, z=(8, 8), successors=("down",)),
        straight("down", 0, 30, 0, 150, z=(8, 0)),
    )


def curve():
    return road_map(arc("curve", 30.0, math.pi / 2))


def slanting():
    return road_map(straight("a", 0, 0, 70, 40))


def edge_lines(edges):
    ends = [[edges["x1"], edges["y1"]], [edges["x2"], edges["y2"]]]
    return shapely.linestrings(np.transpose(np.array(ends, float), (2, 0, 1)))


def unique_edges(roads):
    return np.unique(roads.grid.edges)


def quad_ends(roads):
    """First sections of all quads, by the definition of the table: neighbours of one lane."""
    lane = roads.network.sections["lane"]
    return np.flatnonzero(lane[1:] == lane[:-1])


def section_line(sections):
    middle = np.column_stack([sections["x"], sections["y"]]).astype(float)
    across = np.column_stack([-sections["sin"], sections["cos"]]) * sections["half_width"][:, None]
    return middle + across, middle - across


def quad_polygons(roads):
    first = quad_ends(roads)
    left, right = section_line(roads.network.sections)
    return first, shapely.polygons(np.stack([left[first], left[first + 1], right[first + 1], right[first]], axis=1))


def edges_across_lanes(roads):
    """Heights of lane and edge wherever an edge crosses a center line: (crossings, 2)."""
    sections, edges = roads.network.sections, unique_edges(roads)
    first = quad_ends(roads)
    middle = np.column_stack([sections["x"], sections["y"]]).astype(float)
    ways = shapely.linestrings(np.stack([middle[first], middle[first + 1]], axis=1))
    way, edge = STRtree(edge_lines(edges)).query(ways, predicate="crosses")
    return np.column_stack([sections["z"][first[way]], edges["z"][edge]])


# Tables of small maps, on paper


def test_tables_have_the_declared_types():
    roads = compile_roads(junction())
    rows = {
        "maps": MapRow, "sections": Section, "lanes": LaneRow, "stops": StopRow, "edges": EdgeRow, "bends": BendRow,
        "boundaries": PointRow, "samples": SampleRow, "programs": ProgramRow, "phases": PhaseRow,
    }  # fmt: skip
    for group, tables in ((Network, roads.network), (Grid, roads.grid), (Nearby, roads.nearby)):
        for name, declared in fields(group).items():
            table = getattr(tables, name)
            is_record = name in rows and (group, name) not in ((Nearby, "stops"), (Nearby, "samples"))
            assert table.dtype == (row_type(rows[name]) if is_record else declared.dtype), name
            assert table.ndim == len(declared.axes), name
    assert roads.names == ("junction",)
    assert roads.origins.dtype == np.float64 and roads.origins.shape == (1, 3)


def test_two_way_road_sections_and_lanes():
    roads = compile_roads(two_way())
    assert roads.origins.tolist() == [[50.0, 0.0, 0.0]]
    sections, lanes = roads.network.sections, roads.network.lanes
    assert len(sections) == 2 * 101
    assert sections[0].tolist() == pytest.approx((-50, -1.75, 1, 0, 0, 0, 1.75, 0), abs=1e-6)
    assert sections[60].tolist() == pytest.approx((10, -1.75, 1, 0, 0, 0, 1.75, 0), abs=1e-6)
    assert sections[101].tolist() == pytest.approx((50, 1.75, -1, 0, 0, 0, 1.75, 1), abs=1e-6)
    assert sections[201].tolist() == pytest.approx((-50, 1.75, -1, 0, 0, 0, 1.75, 1), abs=1e-6)
    assert lanes.dtype.names == tuple(fields(LaneRow))
    #                       first quads step len speed left right bundle order succ. at, n, junction, local, nearby, bend
    assert lanes[0].tolist() == pytest.approx((0, 100, 1, 100, 13.9, -1, -1, 0, 0, 0, 0, 0, 0, 0, 1, 0), rel=1e-6)
    assert lanes[1].tolist() == pytest.approx((101, 100, 1, 100, 13.9, -1, -1, 1, 0, 0, 0, 0, 1, 25, 1, 0), rel=1e-6)
    assert len(roads.nearby.samples) == 50
    assert np.all(roads.network.route == UNREACHABLE)
    assert len(roads.network.stops) == len(roads.network.light_group) == 0
    assert np.all(roads.nearby.stops == -1)


def test_starts_leave_four_metres_of_wide_lane_outside_junctions_and_twenty_before_a_dead_end():
    roads = compile_roads(two_way())
    assert roads.network.starts.tolist() == [*range(81), *range(101, 101 + 81)]
    assert capacity(roads, 0) == 16  # 162 m of 10 m each
    narrow = np.array([[0, 0, 0, 0, 3.4], [50, 0, 0, 0, 2.4], [100, 0, 0, 0, 1.4]], float)
    assert compile_roads(road_map(Lane("narrowing", narrow))).network.starts.tolist() == list(range(50))
    roads = compile_roads(junction())
    assert len(roads.network.starts) == 3 * 37 + 3 * 21  # the three lanes that lead out end after 40 m
    assert not roads.network.lanes["junction"][roads.network.sections["lane"][roads.network.starts]].any()


def test_two_way_road_has_an_edge_all_around():
    edges = unique_edges(compile_roads(two_way()))
    lines = edge_lines(edges)
    assert shapely.length(lines).max() <= EDGE_CELL + 1e-4
    assert shapely.length(lines).sum() == pytest.approx(2 * (100 + 7), abs=0.01)
    assert shapely.union_all(lines).hausdorff_distance(shapely.box(-50, -3.5, 50, 3.5).exterior) < 0.03
    assert np.all(edges["z"] == 0)


def test_curve():
    roads = compile_roads(curve())
    sections, lane = roads.network.sections, roads.network.lanes[0]
    assert lane["quads"] == 47 and lane["length"] == pytest.approx(15 * math.pi, abs=1e-3)
    assert lane["step"] * lane["quads"] == pytest.approx(lane["length"], rel=1e-6)
    x, y = sections["x"] + roads.origins[0, 0], sections["y"] + roads.origins[0, 1]
    assert np.hypot(x, y) == pytest.approx(30, abs=1e-3)
    assert sections["curvature"] == pytest.approx(1 / 30, rel=0.01)
    # The section line points at the center of the circle, which is on the left.
    assert x + 30 * -sections["sin"] == pytest.approx(0, abs=2e-3)
    assert y + 30 * sections["cos"] == pytest.approx(0, abs=2e-3)
    outline = shapely.union_all(edge_lines(unique_edges(roads)))
    assert outline.length == pytest.approx(31.75 * math.pi / 2 + 28.25 * math.pi / 2 + 7, abs=0.1)


def test_linked_lanes_share_the_place_of_their_section():
    network = compile_roads(junction()).network
    for row in network.lanes:
        for other in network.successors[row["successors_at"] : row["successors_at"] + row["successors"]]:
            end, start = network.sections[row["first"] + row["quads"]], network.sections[network.lanes[other]["first"]]
            for name in ("x", "y", "z", "half_width", "cos", "sin"):
                assert end[name] == pytest.approx(start[name], abs=1e-5)


def test_junction_links():
    source = junction()
    network = compile_roads(source).network
    names = [lane.id for lane in source.lanes.values()]
    spans = [slice(row["successors_at"], row["successors_at"] + row["successors"]) for row in network.lanes]
    linked = {names[k]: tuple(names[n] for n in network.successors[span]) for k, span in enumerate(spans)}
    assert linked == {lane.id: lane.successors for lane in source.lanes.values()}
    assert network.lanes["junction"].tolist() == [0] * 6 + [1] * 6
    assert sorted(network.lanes["bundle"]) == list(range(12))


def test_stop_lines_of_connectors_at_one_place_collapse():
    network = compile_roads(junction()).network
    assert len(network.stops) == 3
    # In the order of the lanes: west, east, south. Lights in the order of their names: east, south, west.
    expected = [(-10, -1.75, 0, 1, 0, 1.75, 2), (10, 1.75, 0, -1, 0, 1.75, 0), (1.75, -10, 0, 0, 1, 1.75, 1)]
    origin = compile_roads(junction()).origins[0]
    for stop, wanted in zip(network.stops, expected, strict=True):
        assert stop.tolist() == pytest.approx((wanted[0] - origin[0], wanted[1] - origin[1], *wanted[2:]), abs=1e-5)
    assert network.light_group.tolist() == [0, 1, 0]
    assert network.maps["lights"].tolist() == [3]


def test_lights_and_stop_signs_make_stop_lines():
    lane = straight("a", 0, 0, 50, 0, signal="s")
    for kind, stops, lights in (("light", [0], 1), ("stop", [-1], 0), ("yield", [], 0)):
        network = compile_roads(road_map(lane, signals=[Signal("s", kind)])).network
        assert (network.stops["light"].tolist(), len(network.light_group)) == (stops, lights)
    signals = [Signal("s"), Signal("r"), Signal("q", group="g"), Signal("p", group="g")]
    network = compile_roads(road_map(lane, signals=signals)).network
    assert network.stops["light"].tolist() == [3]
    groups = network.light_group  # p and q share one, r and s are alone
    assert groups[0] == groups[1] and len({*groups.tolist()}) == 3


def test_a_shared_stop_line_is_as_wide_as_the_widest_lane():
    lanes = [straight(name, 0, 0, 50, 0, width=width, signal="s") for name, width in (("a", 3), ("b", 4), ("c", 3.5))]
    stops = compile_roads(road_map(*lanes, signals=[Signal("s")])).network.stops
    assert stops["half_width"].tolist() == [2]


def test_two_lights_at_one_place_are_two_stop_lines():
    lanes = [straight("a", 0, 0, 50, 0, signal="s"), straight("b", 0, 0, 50, 0, width=3.0, signal="t")]
    stops = compile_roads(road_map(*lanes, signals=[Signal("s"), Signal("t")])).network.stops
    assert stops["light"].tolist() == [0, 1]
    assert stops["half_width"].tolist() == [1.75, 1.5]


def test_lane_changes_make_bundles_counted_from_the_right():
    network = compile_roads(parallel()).network
    assert network.lanes["left"].tolist() == [1, 2, -1, -1]
    assert network.lanes["right"].tolist() == [-1, 0, 1, -1]
    bundle = network.lanes["bundle"].tolist()
    assert bundle[0] == bundle[1] == bundle[2] != bundle[3]
    assert network.lanes["order"].tolist() == [0, 1, 2, 0]


def test_a_change_permitted_one_way_joins_the_bundle_too():
    lanes = [straight("a", 0, 3.5, 50, 3.5, right="b"), straight("b", 0, 0, 50, 0)]
    lanes = compile_roads(road_map(*lanes)).network.lanes
    assert lanes["bundle"].tolist() == [0, 0] and lanes["order"].tolist() == [1, 0]
    assert lanes["left"].tolist() == [-1, -1] and lanes["right"].tolist() == [1, -1]


def test_route_with_lane_changes():
    network = compile_roads(parallel()).network
    route = network.route.reshape(4, 4)  # [goal, lane]
    assert route[3].tolist() == pytest.approx([65, 60, 65, UNREACHABLE])  # 60 m, after a change to b where needed
    assert np.all(route[:3] == UNREACHABLE)


def test_route_to_the_own_start_goes_around():
    ring = [
        straight("a", 0, 0, 50, 0, successors=("b",)),
        straight("b", 50, 0, 50, 30, successors=("c",)),
        straight("c", 50, 30, 0, 0, successors=("a",)),
    ]
    network = compile_roads(road_map(*ring)).network
    route = network.route.reshape(3, 3)[np.ix_(network.lanes["local"], network.lanes["local"])]
    c = math.hypot(50, 30)
    assert route == pytest.approx(np.array([[80 + c, 30 + c, c], [50, 80 + c, 50 + c], [80, 30, 80 + c]]), rel=1e-6)


def test_route_equals_dijkstra():
    rng = np.random.default_rng(1)
    for count in (1, 2, 40):
        lanes = np.zeros(count, row_type(LaneRow))
        lanes["length"], lanes["local"] = rng.uniform(5, 50, count), rng.permutation(count)
        lanes["left"] = lanes["right"] = -1
        for a in range(0, count - 3, 5):  # bundles of three; the way back to the left is closed
            lanes["left"][a], lanes["right"][a + 1], lanes["right"][a + 2] = a + 1, a, a + 1
            lanes["order"][a + 1], lanes["order"][a + 2] = 1, 2
        ahead = [rng.choice(count, rng.integers(0, min(3, count + 1)), replace=False) for _ in range(count)]
        lanes["successors"] = [len(others) for others in ahead]
        lanes["successors_at"] = np.cumsum(lanes["successors"]) - lanes["successors"]
        found = routes(lanes, np.concatenate(ahead).astype(np.int32))[0].reshape(count, count)
        found = found[np.ix_(lanes["local"], lanes["local"])]
        for start in range(count):
            assert found[:, start] == pytest.approx(dijkstra(lanes, ahead, start), rel=1e-5)


def dijkstra(lanes, ahead, start):
    """Way from the start of a lane to each one's start over at least one successor: nodes are (lane, went over one)."""
    best, heap = {}, [(0.0, start, False)]
    while heap:
        way, lane, went = heapq.heappop(heap)
        if (lane, went) in best:
            continue
        best[lane, went] = way
        for other in ahead[lane]:
            heapq.heappush(heap, (way + float(lanes["length"][lane]), int(other), True))
        for other in (lanes["left"][lane], lanes["right"][lane]):
            if other >= 0:
                heapq.heappush(heap, (way + LANE_CHANGE_COST, int(other), went))
    return [best.get((goal, True), UNREACHABLE) for goal in range(len(lanes))]


def test_samples_lie_evenly_on_each_lane():
    roads = compile_roads(road_map(straight("a", 0, 0, 100, 0), straight("b", 0, 50, 30, 50, width=3.0)), lane_count=8)
    # 100 / 40 rounds to 2: at 25 and 75 m. 30 m have one, in the middle. Nearest to the start of a: 25 m, then b's.
    x, y, _ = roads.origins[0]
    first = roads.network.samples[roads.nearby.samples[0]]
    #                                                       x, y, cos, sin, width, s, share, local, bundle, order, cos2, sin2
    assert first[0].tolist() == pytest.approx((25 - x, 0 - y, 1, 0, 3.5, 25, 0.25, 0, 0, 0, 1, 0), abs=1e-5)
    assert first[1].tolist() == pytest.approx((15 - x, 50 - y, 1, 0, 3.0, 15, 0.50, 1, 1, 0, 1, 0), abs=1e-5)
    assert first[2].tolist() == pytest.approx((75 - x, 0 - y, 1, 0, 3.5, 75, 0.75, 0, 0, 0, 1, 0), abs=1e-5)
    assert np.all(first[3:] == first[2])
    fine = compile_roads(road_map(straight("a", 0, 0, 100, 0)), lane_spacing=10.0, lane_count=20).network.samples
    assert fine["s"].tolist() == pytest.approx(np.arange(5, 100, 10), abs=1e-4)


def test_samples_on_a_curve_lie_on_it():
    roads = compile_roads(curve(), lane_spacing=7.0, lane_count=7)
    samples = roads.network.samples[roads.nearby.samples[0]]
    x, y = samples["x"] + roads.origins[0, 0], samples["y"] + roads.origins[0, 1]
    assert np.hypot(x, y) == pytest.approx(30, abs=0.01)
    assert np.hypot(samples["cos"], samples["sin"]) == pytest.approx(1, abs=1e-6)
    assert samples["s"] == pytest.approx(30 * np.arctan2(y, x), abs=0.01)


# Edges


def test_edges_of_a_junction_are_the_boundary_of_its_lanes():
    source = junction()
    roads = compile_roads(source)
    polygons = []
    for lane in source.lanes.values():
        x, y, _, heading, width = sample(lane.line, 0.25).T[:5]
        across = np.column_stack([-np.sin(heading), np.cos(heading)]) * width[:, None] / 2
        middle = np.column_stack([x, y]) - roads.origins[0, :2]
        polygons.append(shapely.Polygon(np.concatenate([middle + across, (middle - across)[::-1]])))
    area = shapely.union_all(polygons)
    filled = shapely.union_all([shapely.Polygon(part.exterior) for part in shapely.get_parts(area)])
    assert all(hole.area < 20 for part in shapely.get_parts(area) for hole in map(shapely.Polygon, part.interiors))
    outline = shapely.union_all(edge_lines(unique_edges(roads)))
    assert outline.hausdorff_distance(filled.boundary) < 0.1
    assert outline.length == pytest.approx(filled.boundary.length, rel=0.01)
    assert len(edges_across_lanes(roads)) == 0


def test_dead_ends_have_an_edge_and_linked_lanes_none():
    lanes = [straight("a", 0, 0, 50, 0, successors=("b",)), straight("b", 50, 0, 100, 0)]
    outline = shapely.union_all(edge_lines(unique_edges(compile_roads(road_map(*lanes)))))
    assert outline.hausdorff_distance(shapely.box(-50, -1.75, 50, 1.75).exterior) < 0.03


@pytest.mark.parametrize("gap", [0.0, 0.02, 0.3])
def test_no_edge_where_linked_lanes_do_not_meet_exactly(gap):
    kink = math.radians(8)
    away = [50 + gap + 40 * math.cos(kink), 40 * math.sin(kink)]
    lanes = [straight("a", 0, 0, 50, 0, successors=("b",)), straight("b", 50 + gap, 0, *away)]
    outline = shapely.union_all(edge_lines(unique_edges(compile_roads(road_map(*lanes)))))
    assert outline.length == pytest.approx(2 * (90 + gap + 3.5), abs=0.2)
    road = shapely.LineString([(2, 0), (50, 0), (50 + gap, 0), (0.98 * away[0], 0.98 * away[1])])
    x, y, _ = compile_roads(road_map(*lanes)).origins[0]
    assert not shapely.affinity.translate(road, -x, -y).intersects(outline)


def test_all_kinds_of_lanes_are_drivable_but_only_driving_lanes_are_in_the_tables():
    lanes = [straight("s", 0, -3, 100, -3, width=2.5, kind="shoulder"), straight("a", 0, 0, 100, 0, width=3.5)]
    roads = compile_roads(road_map(*lanes))
    assert len(roads.network.lanes) == 1 and len(roads.network.sections) == 101
    area = shapely.union_all(shapely.polygonize(edge_lines(unique_edges(roads))))
    assert area.area == pytest.approx(600, abs=1)
    assert area.bounds[1] + roads.origins[0, 1] == pytest.approx(-4.25, abs=0.02)


@pytest.mark.parametrize(("gap", "length"), [(0.08, 214.2), (0.15, 414.0)])
def test_gaps_of_less_than_ten_centimetres_between_lanes_are_closed(gap, length):
    lanes = [straight("a", 0, 0, 100, 0), straight("b", 0, 3.5 + gap, 100, 3.5 + gap)]
    assert shapely.length(edge_lines(unique_edges(compile_roads(road_map(*lanes))))).sum() == pytest.approx(length, abs=0.3)


def test_small_holes_are_filled_and_large_ones_bound_the_road():
    for side, rings in ((4.0, 1), (6.0, 2)):
        width, far = 2.0, 20.0
        near = side / 2 + width / 2
        lanes = [
            straight("a", -far, -near, far, -near, width=width),
            straight("b", -far, near, far, near, width=width),
            straight("c", -near, -far, -near, far, width=width),
            straight("d", near, -far, near, far, width=width),
            straight("start", -far, 40, far, 40),
        ]
        area = shapely.get_parts(shapely.polygonize(edge_lines(unique_edges(compile_roads(road_map(*lanes))))))
        assert len([part for part in area if part.bounds[3] < 30 and part.area < 100]) == rings - 1


def test_a_bridge_keeps_its_edges_and_puts_none_across_the_road_below():
    roads = compile_roads(bridge())
    edges = unique_edges(roads)
    z = edges["z"] + roads.origins[0, 2]
    lines = edge_lines(edges)
    ground = shapely.union_all(lines[np.abs(edges["y1"]) < 1.8][z[np.abs(edges["y1"]) < 1.8] < 0.5])
    assert ground.hausdorff_distance(shapely.box(-100, -1.75, 100, 1.75).exterior) < 0.05
    above = shapely.union_all(lines[np.maximum(np.abs(edges["x1"]), np.abs(edges["x2"])) < 2])
    outline = shapely.box(-1.75, -150, 1.75, 150).exterior
    assert above.hausdorff_distance(outline) < 0.05
    assert shapely.length(lines).sum() == pytest.approx(2 * 203.5 + 2 * 303.5, abs=0.5)
    heights = edges_across_lanes(roads)
    assert len(heights) == 4 and np.abs(heights[:, 0] - heights[:, 1]) == pytest.approx(8, abs=0.01)
    # Edges carry the height of their road: of the ramp at their middle
    ramp = np.abs(edges["x1"]) < 2
    middle = np.abs(edges["y1"] + edges["y2"]) / 2
    expected = np.interp(middle, [30, 150], [8, 0])
    assert z[ramp & (middle > 3)] == pytest.approx(expected[ramp & (middle > 3)], abs=0.15)


def test_three_levels():
    lanes = [
        straight("x", -60, 0, 60, 0),
        straight("y", 0, -60, 0, 60, z=(5, 5)),
        straight("d", -50, -50, 50, 50, z=(10, 10)),
    ]
    roads = compile_roads(road_map(*lanes))
    z = unique_edges(roads)["z"] + roads.origins[0, 2]
    lengths = shapely.length(edge_lines(unique_edges(roads)))
    for height, length in ((0, 120), (5, 120), (10, math.hypot(100, 100))):
        assert lengths[np.abs(z - height) < 0.1].sum() == pytest.approx(2 * (length + 3.5), abs=0.3)
    assert lengths.sum() == pytest.approx(2 * (240 + math.hypot(100, 100) + 10.5), abs=0.9)


def test_a_lane_that_passes_over_itself():
    """A ramp like a helix: one and a half turns of 20 m radius that climb 9 m."""
    at = np.linspace(0, 3 * math.pi, 120)
    line = np.column_stack([20 * np.cos(at), 20 * np.sin(at), 9 * at / at[-1], at + math.pi / 2, 0 * at + 4.0])
    roads = compile_roads(road_map(Lane("helix", line)))
    lengths = shapely.length(edge_lines(unique_edges(roads)))
    assert lengths.sum() == pytest.approx(3 * math.pi * (18 + 22) + 8, rel=0.01)
    heights = edges_across_lanes(roads)
    assert np.abs(heights[:, 0] - heights[:, 1]).min(initial=6) > 2.5


def test_a_lane_wider_than_its_curve():
    roads = compile_roads(road_map(arc("turn", 1.5, math.pi, width=4.0), straight("start", 20, 0, 60, 0)))
    area = shapely.union_all(shapely.polygonize(edge_lines(unique_edges(roads))))
    half_disc = 5 * 3.5**2 / 2 * math.sin(math.pi / 5)  # of five quads, each a triangle with the curve's center
    assert half_disc < area.area - 40 * 3.5 < half_disc + 2


def test_boundary_points_are_a_metre_apart_on_the_edges():
    left = np.array([[x, 2.0, 0.1 * x] for x in range(51)])
    border = trace(Strips(left, left * [1, -1, 1], np.array([0, 51])), np.empty((0, 2), int))
    assert len(border.points) == 108
    ring = shapely.box(0, -2, 50, 2).exterior
    assert shapely.distance(shapely.points(border.points[:, :2]), ring).max() < 0.03
    along = np.sort(shapely.line_locate_point(ring, shapely.points(border.points[:, :2])))
    assert np.diff(along) == pytest.approx(1, abs=0.05)
    assert border.points[:, 2] == pytest.approx(0.1 * border.points[:, 0], abs=0.02)
    assert border.edges["z"] == pytest.approx(0.05 * (border.edges["x1"] + border.edges["x2"]), abs=0.02)


# Grids


def test_cells_of_boxes_on_paper():
    cells = Cells(0.0, 0.0, 4.0, 3, 2)
    low, high = np.array([[1.0, 1.0], [4.0, 1.0], [-9.0, 5.0]]), np.array([[2.0, 2.0], [5.0, 4.0], [-8.0, 30.0]])
    item, cell = touched(cells, low, high)
    assert list(zip(item.tolist(), cell.tolist(), strict=True)) == [(0, 0), (1, 0), (1, 1), (1, 3), (1, 4), (2, 3)]
    at, items = compress(cells, item, cell)
    assert at.tolist() == [0, 2, 3, 3, 5, 6, 6] and items.tolist() == [0, 1, 1, 1, 2, 1]


def cell_of(roads, points, size):
    row = roads.network.maps[0]
    columns = -(-int(row["columns"]) // int(size / CELL))
    place = np.floor((points - [row["x"], row["y"]]) / size).astype(int)
    return place[:, 1] * columns + place[:, 0]


@pytest.mark.parametrize("source", [two_way, junction, bridge])
def test_quad_look_up_against_shapely(source):
    roads = compile_roads(source())
    row, grid = roads.network.maps[0], roads.grid
    assert len(grid.quads_at) == row["columns"] * row["rows"] + 1
    first, polygons = quad_polygons(roads)
    rng = np.random.default_rng(2)
    low = np.array([row["x"], row["y"]], float)
    points = rng.uniform(low, low + CELL * np.array([row["columns"], row["rows"]]), (10_000, 2))
    cell = np.repeat(np.arange(len(grid.quads_at) - 1), np.diff(grid.quads_at))
    entries = set(zip(cell.tolist(), grid.quads.tolist(), strict=True))
    point, quad = STRtree(polygons).query(shapely.points(points), predicate="dwithin", distance=1.999)
    assert len(point) > 1000
    assert set(zip(cell_of(roads, points, CELL)[point].tolist(), first[quad].tolist(), strict=True)) <= entries
    # And nothing else: every listed quad's box comes within 2 m of the cell.
    x, y = row["x"] + cell % row["columns"] * CELL, row["y"] + cell // row["columns"] * CELL
    boxes = shapely.box(*shapely.bounds(polygons[np.searchsorted(first, grid.quads)]).T)
    grown = shapely.buffer(boxes, 2.001, cap_style="square", join_style="mitre")
    assert shapely.intersects(grown, shapely.box(x, y, x + CELL, y + CELL)).all()
    assert all(np.all(np.diff(grid.quads[a:b]) > 0) for a, b in zip(grid.quads_at[:-1], grid.quads_at[1:], strict=True))


@pytest.mark.parametrize("source", [two_way, junction, bridge, curve, slanting])
def test_edge_look_up_against_shapely(source):
    roads = compile_roads(source())
    row, grid = roads.network.maps[0], roads.grid
    columns, rows = -(-int(row["columns"]) // 2), -(-int(row["rows"]) // 2)
    assert len(grid.edges_at) == columns * rows + 1
    edges = unique_edges(roads)
    x, y = row["x"] + np.arange(columns) * EDGE_CELL, row["y"] + np.arange(rows) * EDGE_CELL
    boxes = [shapely.box(a, b, a + EDGE_CELL, b + EDGE_CELL) for b in y for a in x]
    cell, edge = STRtree(edge_lines(edges)).query(boxes, predicate="intersects")
    expected = {(int(c), edges[e].tobytes()) for c, e in zip(cell, edge, strict=True)}
    listed = np.repeat(np.arange(columns * rows), np.diff(grid.edges_at))
    found = [(int(c), e.tobytes()) for c, e in zip(listed, grid.edges, strict=True)]
    assert len(found) == len(set(found)) and set(found) == expected


def test_the_grid_covers_the_surroundings_of_the_map():
    roads = compile_roads(two_way())
    row = roads.network.maps[0]
    assert row["x"] <= -52 and row["x"] + CELL * row["columns"] >= 52
    assert row["y"] <= -5.5 and row["y"] + CELL * row["rows"] >= 5.5


# Nearby lists


def brute_force(places, points, count, gap):
    found = np.full((len(places), count), -1)
    for k, place in enumerate(places):
        level = np.flatnonzero(np.abs(points[:, 2] - place[2]) < gap)
        dx, dy = points[level, 0] - place[0], points[level, 1] - place[1]
        order = np.lexsort((level, dx * dx + dy * dy))[:count]
        found[k, : len(order)] = level[order]
    return found


@pytest.mark.parametrize(("points", "count"), [(1, 3), (40, 60), (3000, 25)])
def test_nearest_against_brute_force(points, count):
    rng = np.random.default_rng(points)
    spots = np.column_stack([rng.normal(0, 50, points), rng.normal(0, 200, points), rng.choice([0.0, 10.0, 6.0], points)])
    spots[: points // 2] = np.round(spots[: points // 2], -1)  # ties
    places = np.column_stack([rng.uniform(-200, 200, (100, 2)), rng.choice([0.0, 8.0], 100)])
    places[:50] = np.round(places[:50], -1)
    assert np.array_equal(nearest(places, spots, count, VIEW_GAP), brute_force(places, spots, count, VIEW_GAP))


def test_nearest_of_points_in_a_row_and_of_none():
    spots = np.column_stack([np.arange(500.0), np.zeros(500), np.zeros(500)])
    assert nearest(np.array([[100.0, 30.0, 0.0]]), spots, 3, 6.0).tolist() == [[100, 99, 101]]
    assert nearest(np.zeros((2, 3)), np.empty((0, 3)), 2, 6.0).tolist() == [[-1, -1], [-1, -1]]
    assert nearest(np.zeros((2, 3)), spots, 0, 6.0).shape == (2, 0)


def test_lists_of_a_junction_against_brute_force():
    source = junction()
    roads = compile_roads(source, lane_spacing=9.0, lane_count=12, boundary_count=15, stop_count=2)
    network, nearby = roads.network, roads.nearby
    places = []
    for lane in network.lanes:
        for first in range(0, lane["quads"], ROW_QUADS):
            middle = (first + min(first + ROW_QUADS, lane["quads"])) / 2
            ends = network.sections[[lane["first"] + math.floor(middle), lane["first"] + math.ceil(middle)]]
            places.append([ends[name].astype(float).mean() for name in ("x", "y", "z")])
        assert lane["nearby_at"] == len(places) - -(-lane["quads"] // ROW_QUADS)
    places = np.array(places)
    assert len(nearby.samples) == len(nearby.boundaries) == len(nearby.stops) == len(places)

    every, seen = network.samples, network.samples[nearby.samples]
    assert len(every) == sum(max(1, round(float(length) / 9)) for length in network.lanes["length"])
    spots = np.column_stack([every["x"], every["y"], 0 * every["x"]]).astype(float)
    wanted = np.sort(np.hypot(*(spots[None, :, :2] - places[:, None, :2]).transpose(2, 0, 1)), axis=1)[:, :12]
    found = np.hypot(seen["x"] - places[:, [0]], seen["y"] - places[:, [1]])
    assert found == pytest.approx(wanted, abs=1e-4)

    stops = np.column_stack([network.stops["x"], network.stops["y"], network.stops["z"]]).astype(float)
    assert np.array_equal(nearby.stops, brute_force(places, stops, 2, VIEW_GAP))

    outline = shapely.union_all(edge_lines(unique_edges(roads)))
    x, y = nearby.boundaries["x"], nearby.boundaries["y"]
    assert shapely.distance(shapely.points(x, y), outline).max() < 1e-3
    away = np.hypot(x - places[:, [0]], y - places[:, [1]])
    assert np.all(np.diff(away, axis=1) >= -1e-4)
    closest = shapely.distance(shapely.points(places[:, :2]), outline)
    assert np.all(away[:, 0] < np.hypot(closest, 0.6)) and np.all(away[:, 0] > closest - 1e-3)


def test_shuffled_lists_hold_the_same_in_an_order_of_chance():
    plain, shuffled = (compile_roads(junction(), lane_spacing=9.0, lane_count=12, shuffled=given) for given in (False, True))
    for name in ("samples", "boundaries"):
        one, other = getattr(plain.nearby, name), getattr(shuffled.nearby, name)
        assert np.array_equal(np.sort(one, axis=1), np.sort(other, axis=1))
        orders = {tuple(np.argsort(row, order=row.dtype.names).tolist()) for row in other}
        assert len(orders) > len(other) / 2, "each row has an order of its own"
    assert np.array_equal(plain.nearby.stops, shuffled.nearby.stops), "agents are judged by the nearest ones"


def test_lanes_near_by_have_numbers_near_by():
    """Each lane has a number of its own, and a look at the lanes around a place reads few cache lines of 16 ways."""
    roads = compile_roads(find("downtown"))
    local, (count,) = roads.network.lanes["local"], roads.network.maps["lanes"]
    assert sorted(local) == list(range(count))
    lines = [len(np.unique(numbers // 16)) for numbers in roads.network.samples["local"][roads.nearby.samples]]
    mixed = np.random.default_rng(0).permutation(count)[roads.network.samples["local"][roads.nearby.samples]]
    assert np.mean(lines) < 0.6 * np.mean([len(np.unique(numbers // 16)) for numbers in mixed])


def test_lists_do_not_show_another_level():
    roads = compile_roads(bridge(), boundary_count=30)
    # Lane 0 is the ground, lane 2 the deck, 8 m higher at y = -30 .. 30; the ramps come within 6 m beyond |y| = 60.
    lane = roads.network.lanes[0]
    rows = slice(int(lane["nearby_at"]), int(lane["nearby_at"]) + 50)
    assert np.abs(roads.nearby.boundaries["y"][rows]).max() < 1.8
    shown = roads.network.samples["local"][roads.nearby.samples[rows]]
    lanes = {lane for lane, local in enumerate(roads.network.lanes["local"]) if local in shown}
    assert lanes == {0, 1, 3}


def test_where_nothing_is_on_the_level_the_lists_show_what_there_is():
    steep = road_map(straight("hill", 0, 0, 200, 0, z=(0, 60)))  # samples at 50 and 150 m are 15 and 45 m high
    roads = compile_roads(steep, lane_spacing=100.0, lane_count=2)
    samples = roads.network.samples["s"][roads.nearby.samples]
    assert samples[12].tolist() == [50, 50]  # at 50 m only this one is on the level
    assert samples[24].tolist() == [50, 150]  # at 98 m none is


# Several maps


def test_join_equals_each_map_alone():
    sources = [junction(), two_way(), parallel(), junction("again")]
    alone = [compile_roads(source, stop_count=2) for source in sources]
    both = compile_roads(sources, stop_count=2)
    assert both.names == ("junction", "two_way", "test", "again")
    assert np.array_equal(both.origins, np.concatenate([one.origins for one in alone]))
    for k, one in enumerate(alone):
        row, only = both.network.maps[k], one.network.maps[0]
        for name in ("lanes", "starts", "lights", "x", "y", "columns", "rows"):
            assert row[name] == only[name]
        assert capacity(both, k) == capacity(one, 0)
        lanes = both.network.lanes[row["lanes_at"] : row["lanes_at"] + row["lanes"]]
        lane_at, section_at = row["lanes_at"], lanes["first"][0]
        nearby_at, successor_at = lanes["nearby_at"][0], lanes["successors_at"][0]

        def same(joined, table, shift=0):
            assert np.array_equal(joined, np.where(table >= 0, table + shift, table) if shift else table)

        for name, shift in {
            "first": section_at, "left": lane_at, "right": lane_at, "successors_at": successor_at, "nearby_at": nearby_at,
        }.items():  # fmt: skip
            same(lanes[name], one.network.lanes[name], shift)
        for name in ("quads", "step", "length", "speed", "order", "successors", "junction", "local"):
            same(lanes[name], one.network.lanes[name])
        same(lanes["bundle"] - lanes["bundle"][0], one.network.lanes["bundle"])
        sections = both.network.sections[section_at : section_at + len(one.network.sections)]
        same(sections["lane"], one.network.sections["lane"], lane_at)
        same(sections["x"], one.network.sections["x"])
        successors = both.network.successors[successor_at : successor_at + len(one.network.successors)]
        same(successors, one.network.successors, lane_at)
        same(both.network.starts[row["starts_at"] : row["starts_at"] + row["starts"]], one.network.starts, section_at)
        same(both.network.route[row["route_at"] : row["route_at"] + row["lanes"] ** 2], one.network.route)
        assert (row["leads_at"] < 0) == (len(one.network.leads) == 0) and row["blocks_at"] == -1
        if row["leads_at"] >= 0:
            same(both.network.leads[row["leads_at"] : row["leads_at"] + row["lanes"] ** 2], one.network.leads)
        same(both.network.stops[row["stops_at"] : row["stops_at"] + len(one.network.stops)], one.network.stops)
        same(both.network.light_group[row["lights_at"] : row["lights_at"] + row["lights"]], one.network.light_group)
        cells, edge_cells = len(one.grid.quads_at), len(one.grid.edges_at)
        quads_at = both.grid.quads_at[row["cells_at"] : row["cells_at"] + cells]
        same(quads_at - quads_at[0], one.grid.quads_at)
        same(both.grid.quads[quads_at[0] : quads_at[-1]], one.grid.quads, section_at)
        edges_at = both.grid.edges_at[row["edge_cells_at"] : row["edge_cells_at"] + edge_cells]
        same(edges_at - edges_at[0], one.grid.edges_at)
        same(both.grid.edges[edges_at[0] : edges_at[-1]], one.grid.edges)
        lists = slice(nearby_at, nearby_at + len(one.nearby.samples))
        same(both.nearby.boundaries[lists], one.nearby.boundaries)
        same(both.nearby.stops[lists], one.nearby.stops, row["stops_at"])
        joined, single = both.network.samples[both.nearby.samples[lists]], one.network.samples[one.nearby.samples]
        for name in ("x", "s", "local", "order", "cos2"):
            same(joined[name], single[name])
        same(joined["bundle"], single["bundle"], lanes["bundle"][0])
    rows = both.network.maps
    bundles = [set(both.network.lanes["bundle"][row["lanes_at"] : row["lanes_at"] + row["lanes"]]) for row in rows]
    assert len(set.union(*bundles)) == sum(map(len, bundles))


# Cache


def equal(one, other):
    groups = [(a, b) for group in ("network", "grid", "nearby") for a, b in [(getattr(one, group), getattr(other, group))]]
    return all(np.array_equal(x, y) and x.dtype == y.dtype for a, b in groups for x, y in zip(a, b, strict=True)) and (
        one.names == other.names and np.array_equal(one.origins, other.origins)
    )


def forbid_compiling(monkeypatch):
    def fail(*_):
        raise AssertionError("compiled again")

    monkeypatch.setattr(importlib.import_module("gigaflow_env.roads.compiled.compile"), "_compile", fail)


def test_cache_hit(cache_directory, monkeypatch):
    first = compile_roads(junction())
    assert equal(first, compile_roads(junction(), cache=False))
    assert [path.suffix for path in cache_directory.iterdir()] == [".roads"]
    forbid_compiling(monkeypatch)
    kept = compile_roads(junction())
    assert equal(first, kept) and equal(first, compile_roads([junction()]))
    assert kept.network.sections.dtype.isalignedstruct, "rows from the cache have to be as aligned as new ones"
    with pytest.raises(AssertionError, match="compiled again"):
        compile_roads(junction(), cache=False)


def test_cache_keeps_one_file_per_map_and_sizes(cache_directory, monkeypatch):
    compile_roads([junction(), two_way()])
    assert len(list(cache_directory.iterdir())) == 2
    compile_roads(two_way(), stop_count=3)
    compile_roads(two_way("renamed"))
    moved = two_way()
    moved.lanes["east"].line[0, 4] = 3.51
    compile_roads(moved)
    compile_roads(replace(moved, lanes=dict(reversed(moved.lanes.items()))))
    assert len(list(cache_directory.iterdir())) == 6
    forbid_compiling(monkeypatch)
    compile_roads([two_way(), junction(), two_way()])


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: bytes(len(data)),
                                    lambda data: data[:5] + bytes([data[5] ^ 255]) + data[6:],
                                    lambda data: data[:5000] + bytes([data[5000] ^ 255]) + data[5001:]])  # fmt: skip
def test_corrupt_cache_is_replaced(cache_directory, monkeypatch, damage):
    first = compile_roads(junction())
    (path,) = cache_directory.iterdir()
    whole = path.read_bytes()
    path.write_bytes(damage(whole))
    assert equal(first, compile_roads(junction()))
    assert len(list(cache_directory.iterdir())) == 1
    forbid_compiling(monkeypatch)
    assert equal(first, compile_roads(junction()))


def test_cache_that_cannot_be_written_warns_once(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("not a directory")
    monkeypatch.setenv("GIGAFLOW_CACHE_DIR", str(tmp_path / "file" / "cache"))
    with pytest.warns(RuntimeWarning, match="GIGAFLOW_CACHE_DIR"):
        first = compile_roads(two_way())
    assert equal(first, compile_roads(two_way()))  # warnings are errors: this one is silent


@pytest.mark.parametrize(
    ("file", "part"),
    [("compiled/compile.py", True), ("compiled/conflict_zones.py", True), ("centerline.py", True), ("levels.py", True),
     ("road_map.py", True), ("summary.py", False), ("formats/lanes_json.py", False), ("towns/streets.py", False)],
)  # fmt: skip
def test_an_edit_of_the_compiler_gives_a_file_another_name(tmp_path, monkeypatch, file, part):
    cache = importlib.import_module("gigaflow_env.roads.compiled.cache")
    roads = tmp_path / "roads"
    shutil.copytree(cache._ROADS, roads, ignore=shutil.ignore_patterns("__pycache__"))
    before = cache.path_for(junction(), (1,))
    monkeypatch.setattr(cache, "_ROADS", roads)
    cache._compiler_hash.cache_clear()
    assert cache.path_for(junction(), (1,)) == before, "the name is of contents, not of places"
    (roads / file).write_text((roads / file).read_text() + "\n# edited\n")
    cache._compiler_hash.cache_clear()
    assert (cache.path_for(junction(), (1,)) != before) == part
    monkeypatch.undo()
    cache._compiler_hash.cache_clear()


def test_cache_directory(monkeypatch):
    monkeypatch.setenv("GIGAFLOW_CACHE_DIR", "/somewhere")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert files.cache_directory() == Path("/somewhere")
    monkeypatch.delenv("GIGAFLOW_CACHE_DIR")
    assert files.cache_directory() == Path("/xdg/gigaflow-env")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/me")
    assert files.cache_directory() == Path("/home/me/.cache/gigaflow-env")


# Errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lane_spacing": 0.0}, "lane_spacing=0.0"),
        ({"lane_spacing": math.inf}, "lane_spacing=inf"),
        ({"lane_count": 0}, "lane_count=0: must be at least 1"),
        ({"boundary_count": 0}, "boundary_count=0"),
        ({"stop_count": -1}, "stop_count=-1: must be at least 0"),
    ],
)
def test_arguments_out_of_range(arguments, message):
    with pytest.raises(ValueError, match=message):
        compile_roads(two_way(), **arguments)


def test_no_maps():
    with pytest.raises(ValueError, match="maps is empty"):
        compile_roads([])


def test_inconsistent_map():
    with pytest.raises(MapError, match="successor 'nowhere' does not exist"):
        compile_roads(road_map(straight("a", 0, 0, 50, 0, successors=("nowhere",))))


def test_map_without_start():
    with pytest.raises(MapError, match="'test' has no place to start from"):
        compile_roads(road_map(straight("short", 0, 0, 3, 0), straight("inside", 0, 0, 50, 0, junction="j")))


def test_changes_between_lanes_that_are_not_side_by_side_are_left_out():
    lanes = [
        straight("long", 0, 0, 100, 0, left="short"),
        straight("short", 50, 3.5, 100, 3.5, right="long"),
        straight("far", 0, 20, 100, 20, left="oncoming"),
        straight("oncoming", 100, 23.5, 0, 23.5),
    ]
    named = "'long' to 'short', 'short' to 'long', 'far' to 'oncoming'"
    with pytest.warns(UserWarning, match=f"3 lane changes are left out.*: {named}"):
        table = compile_roads(road_map(*lanes)).network.lanes
    assert np.all(table["left"] == -1) and np.all(table["right"] == -1)
    assert len(set(table["bundle"])) == 4


def test_contradictory_lane_changes():
    """By a, b and c the lane x is three lanes right of c; by e it is two."""
    lanes = [
        straight("a", 0, 0, 50, 0, left="b", right="x"),
        straight("b", 0, 2, 50, 2, left="c"),
        straight("c", 0, 4, 50, 4),
        straight("e", 0, 1, 50, 1, left="c", right="x"),
        straight("x", 0, -3.5, 50, -3.5),
    ]
    with pytest.raises(MapError, match="contradictory"):
        compile_roads(road_map(*lanes))


# Real maps


def carla(town):
    path = SHARED / f"{town}.xodr"
    if not path.exists():
        pytest.skip(f"{path.name} of the shared real maps is not here")
    return load(path)


TOWNS = [("Town01", 124, 6.40), ("Town02", 88, 2.92), ("Town04", 493, 33.34)]


@pytest.mark.parametrize(("town", "lanes", "kilometres"), TOWNS)
def test_carla_towns(town, lanes, kilometres):
    source = carla(town)
    roads = compile_roads(two_way(), cache=False)  # so that the time below has no machine code generation in it
    begun = time.perf_counter()
    roads = compile_roads(source)
    compiled = time.perf_counter()
    assert equal(roads, compile_roads(source))
    # Some 1.4 s and 0.03 s for Town04 on an idle core; the limits leave room for a busy one.
    assert compiled - begun < 30 and time.perf_counter() - compiled < 5
    network = roads.network
    assert len(network.lanes) == lanes
    assert network.lanes["length"].sum(dtype=float) / 1000 == pytest.approx(kilometres, rel=0.01)
    assert network.route.max() < UNREACHABLE  # with lane changes, each place leads to each other
    assert np.diff(roads.grid.quads_at).max() <= 128
    heights = edges_across_lanes(roads)
    assert np.abs(heights[:, 0] - heights[:, 1]).min(initial=10) > 9  # no edge across any road on its own level
    assert (len(heights) > 0) == (town == "Town04")  # bridges only there
    # No edge lies inside a lane: none reaches from one side of a section to the other, but for the ends of roads.
    left, right = section_line(network.sections)
    inner = shapely.linestrings(np.stack([0.95 * left + 0.05 * right, 0.05 * left + 0.95 * right], axis=1))
    edges = unique_edges(roads)
    section, edge = STRtree(edge_lines(edges)).query(inner, predicate="intersects")
    level = np.abs(edges["z"][edge] - network.sections["z"][section]) < 2.5
    ends = [*network.lanes["first"], *(network.lanes["first"] + network.lanes["quads"])]
    assert np.isin(section[level], ends).all()


@pytest.mark.slow
def test_town04_decks_have_edges_on_both_sides():
    roads = compile_roads(carla("Town04"))
    edges = unique_edges(roads)
    lines, sections = edge_lines(edges), roads.network.sections
    first, polygons = quad_polygons(roads)
    lower, upper = STRtree(polygons).query(polygons, predicate="intersects")
    above = sections["z"][first[upper]] - sections["z"][first[lower]] > 2.5
    deck = np.unique(first[upper[above]])
    assert len(deck) > 200
    # From each place on the deck a line across reaches an edge of its own height within 45 m, to the left and to the right.
    for sign in (1, -1):
        middle = np.column_stack([sections["x"][deck], sections["y"][deck]]).astype(float)
        across = sign * 45 * np.column_stack([-sections["sin"][deck], sections["cos"][deck]])
        looks = shapely.linestrings(np.stack([middle, middle + across], axis=1))
        place, edge = STRtree(lines).query(looks, predicate="intersects")
        level = np.abs(edges["z"][edge] - sections["z"][deck[place]]) < 1
        assert len(np.unique(place[level])) == len(deck)


@pytest.mark.parametrize("width", [1e6, 1e7])
def test_a_map_too_large_for_the_memory_is_refused_before_it_is_compiled(width):
    """The message says how many bytes, and for what."""
    lane = straight("a", 0, 0, 1000.0, 0)
    lane.line[:, WIDTH] = width
    began = time.process_time()
    message = r"map 'wide' is too large: its tables need [\d.e+]+ bytes \(.*grids .* GB\).*: take a part of it"
    with pytest.raises(MapError, match=message):
        compile_roads(RoadMap("wide", {lane.id: lane}), cache=False)
    assert time.process_time() - began < 5.0


def test_only_driving_lanes_need_memory(monkeypatch):
    """A map of 10 km drives where it has as much memory as it needs, with any number of shoulders, and not with less."""
    lanes = [straight(str(k), 0, 10 * k, 1000, 10 * k, successors=(str(k),)) for k in range(3)]
    shoulders = [straight(f"s{k}", 0, 10 * k - 3, 1000, 10 * k - 3, kind="shoulder") for k in range(3)]
    with_them, without = road_map(*lanes, *shoulders, name="m"), road_map(*lanes, name="m")
    sizes = Sizes(40.0, 80, 80, 5, False, False, False)
    needed = sum(needed_bytes(without, sizes).values())
    assert needed == pytest.approx(sum(needed_bytes(with_them, sizes).values()))
    roads = compile_roads(without, cache=False)
    taken = sum(table.nbytes for group in roads[:3] for table in group)
    assert 0.7 * taken < needed < 1.5 * taken
    monkeypatch.setattr(compile_module, "memory_bytes", lambda: needed / compile_module.MEMORY_SHARE * 1.01)
    compile_roads(with_them, cache=False)
    monkeypatch.setattr(compile_module, "memory_bytes", lambda: needed / compile_module.MEMORY_SHARE * 0.99)
    with pytest.raises(MapError, match="too large"):
        compile_roads(with_them, cache=False)
