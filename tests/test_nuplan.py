"""nuPlan maps with answers on paper, bad ones, and a town that is written and read again."""

import math
import sqlite3
import struct
import time

import numpy as np
import pytest
import shapely
from damage import survives
from gpkg_writer import Rows, blob, of_town, write

from gigaflow_env.config import laptop
from gigaflow_env.roads import MapError, MapWarning, RoadMap, centerline, load, shipped, summary
from gigaflow_env.roads.formats.nuplan import utm
from gigaflow_env.roads.road_map import WIDTH, X, Y
from gigaflow_env.simulator import Simulator

OUTLINES = "gen_lane_connectors_scaled_width_polygons"


def strip(x1: float, x2: float, y: float, width: float = 3.5) -> shapely.Polygon:
    return shapely.box(x1, y - width / 2, x2, y + width / 2)


def lane(fid: int, x1: float, x2: float, y: float = 0.0, width: float = 3.5, group: int = 1, index: int = 0) -> Rows:
    """A lane to the east with its baseline path, without boundaries."""
    row = {
        "fid": fid,
        "geom": strip(x1, x2, y, width),
        "lane_group_fid": group,
        "lane_index": index,
        "speed_limit_mps": 10.0,
    }
    return {"lanes_polygons": [row], "baseline_paths": [path(fid, [(x1, y), (x2, y)], "lane_fid")]}


def connector(fid: int, points: list[tuple[float, float]], before: int, after: int, **more) -> Rows:
    row = {"fid": fid, "exit_lane_fid": before, "entry_lane_fid": after, "intersection_fid": 77} | more
    row["geom"] = shapely.LineString(points)
    return {"lane_connectors": [row], "baseline_paths": [path(fid, points, "lane_connector_fid")]}


def path(fid: int, points: list[tuple[float, float]], column: str) -> dict:
    return {"fid": fid, "geom": shapely.LineString(points), column: fid}


def joined(*parts: Rows) -> Rows:
    return {
        name: [row for part in parts for row in part.get(name, ())] for name in {name for part in parts for name in part}
    }


def street(**more) -> Rows:
    """Lane 1 leads 40 m to the east, connector 3 on for 20 m, and lane 2 from there."""
    return joined(lane(1, 0, 40), connector(3, [(40, 0), (60, 0)], 1, 2, **more), lane(2, 60, 100))


@pytest.fixture
def imported(tmp_path):
    def of(rows: Rows, *more, strict: bool = False, **others) -> RoadMap:
        return load(write(tmp_path / "map.gpkg", rows, *more, **others), strict=strict)

    return of


def widths(road_map: RoadMap, name: str) -> np.ndarray:
    return centerline.sample(road_map.lanes[name].line, 1.0)[:, WIDTH]


def test_lanes_lead_through_connectors(imported):
    road_map = imported(street())
    lanes = road_map.lanes
    assert set(lanes) == {"1", "2", "3"}
    assert (lanes["1"].successors, lanes["3"].successors, lanes["2"].successors) == (("3",), ("2",), ())
    assert (lanes["1"].junction, lanes["3"].junction) == (None, "77")
    np.testing.assert_allclose(lanes["1"].line, [[0, 0, 0, 0, 3.5], [40, 0, 0, 0, 3.5]], atol=1e-9)
    assert lanes["1"].speed == 10.0 and lanes["3"].speed == 13.4
    assert road_map.name == "map" and "nuPlan" in road_map.source


@pytest.mark.parametrize("speed", [None, 0.0, "", math.inf])
def test_a_lane_without_a_limit_has_the_usual_one(imported, speed):
    rows = street()
    rows["lanes_polygons"][0]["speed_limit_mps"] = speed
    assert imported(rows).lanes["1"].speed == 13.4


@pytest.mark.parametrize(("gap", "linked"), [(0.3, True), (0.7, True), (4.5, False)])
@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning")
def test_ends_that_do_not_meet_are_not_linked(imported, gap, linked):
    lanes = imported(joined(lane(1, 0, 40), connector(3, [(40 + gap, 0), (60, 0)], 1, 2), lane(2, 60, 100))).lanes
    assert lanes["1"].successors == (("3",) if linked else ())
    assert lanes["3"].successors == ("2",)


def test_connectors_that_are_too_short_are_bypassed(imported):
    with pytest.warns(MapWarning, match=r"lane 3: of 2 points, less than 0\.05 m long: left out"):
        lanes = imported(joined(lane(1, 0, 40), connector(3, [(40, 0), (40.01, 0)], 1, 2), lane(2, 40.01, 100))).lanes
    assert set(lanes) == {"1", "2"} and lanes["1"].successors == ("2",)


# Widths


def test_the_width_is_the_one_of_the_outline(imported):
    assert widths(imported(lane(1, 0, 40, width=3.1)), "1") == pytest.approx(3.1)


@pytest.mark.parametrize("turned", [False, True])
def test_boundaries_count_before_the_outline_whatever_their_direction(imported, turned):
    rows = lane(1, 0, 40)
    rows["lanes_polygons"][0] |= {"left_boundary_fid": 8, "right_boundary_fid": 9}
    points = np.linspace([0, 1.5], [40, 2.5], 7)
    rows["boundaries"] = [
        {"fid": 8, "geom": shapely.LineString(points[::-1] if turned else points)},
        {"fid": 9, "geom": shapely.LineString([(0, -1.5), (40, -1.5)])},
    ]
    found = widths(imported(rows), "1")
    assert found[[5, 20, 35]] == pytest.approx([3.125, 3.5, 3.875], abs=0.03)


def test_connectors_have_outlines_or_a_usual_width(imported):
    rows = street()
    assert widths(imported(rows), "3") == pytest.approx(3.5)
    rows[OUTLINES] = [{"fid": 5, "geom": strip(40, 60, 0, 4.2), "lane_connector_fid": 3}]
    assert widths(imported(rows), "3") == pytest.approx(4.2)


# Neighbours


def test_lanes_of_a_group_are_counted_from_the_left(imported):
    rows = joined(lane(1, 0, 40, 3.5, index=0), lane(2, 0, 40, 0.0, index=1), lane(3, 0, 40, -3.5, index=2))
    lanes = imported(rows).lanes
    assert [(lanes[n].left, lanes[n].right) for n in "123"] == [(None, "2"), ("1", "3"), ("2", None)]


@pytest.mark.parametrize(("group", "index"), [(2, 1), (1, 2), (1, 0), (None, 1), (1, None)])
def test_lanes_of_other_groups_or_places_are_no_neighbours(imported, group, index):
    lanes = imported(joined(lane(1, 0, 40, 3.5), lane(2, 0, 40, 0.0, group=group, index=index))).lanes
    assert lanes["1"].right is lanes["2"].left is None


# Stop polygons and crosswalks


def stop(fid: int, kind: int, x: float = 40, **more) -> dict:
    return {"fid": fid, "geom": shapely.box(x - 1, -2, x, 2), "stop_polygon_type_fid": kind} | more


@pytest.mark.parametrize("text", ["50", "50,", " 51 , 50 "])
def test_a_connector_names_its_stop_line_with_a_light(imported, text):
    rows = street(traffic_light_stop_line_fids=text) | {"stop_polygons": [stop(50, 2), stop(51, 2, x=10)]}
    road_map = imported(rows)
    assert [road_map.lanes[n].signal for n in "132"] == [None, "50", None]
    assert (road_map.signals["50"].kind, road_map.signals["50"].group) == ("light", "77")


@pytest.mark.parametrize(("kind", "name"), [(1, "stop"), (2, "light"), (3, "yield"), (4, "yield"), (0, None), (9, None)])
@pytest.mark.parametrize("more", [{"lane_fids": "1"}, {"lane_connector_fids": "3, 4"}])
@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning")
def test_stop_polygons_name_lanes_or_connectors(imported, kind, name, more):
    road_map = imported(street() | {"stop_polygons": [stop(50, kind, **more)]})
    assert road_map.lanes["3"].signal == ("50" if name else None)
    assert [signal.kind for signal in road_map.signals.values()] == ([name] if name else [])


def test_a_light_counts_before_a_stop_sign_before_a_yield_sign(imported):
    stops = [stop(50, 4, lane_fids="1"), stop(51, 1, lane_fids="1")]
    assert imported(street() | {"stop_polygons": stops}).lanes["3"].signal == "51"
    rows = street(traffic_light_stop_line_fids="52") | {"stop_polygons": [*stops, stop(52, 2)]}
    assert imported(rows).lanes["3"].signal == "52"


def test_crosswalks_are_outlines_without_a_repeated_corner(imported):
    area = shapely.Polygon([(10, -4), (14, -4), (14, 4), (10, 4)])
    road_map = imported(street() | {"crosswalks": [{"fid": 6, "geom": area}]})
    np.testing.assert_allclose(road_map.crosswalks["6"].outline[:, :2], [[10, -4], [14, -4], [14, 4], [10, 4]])


def test_of_several_areas_the_largest_counts(imported):
    areas = shapely.MultiPolygon([shapely.box(0, 0, 1, 1), shapely.box(10, -4, 14, 4)])
    outline = imported(street() | {"crosswalks": [{"fid": 6, "geom": areas}]}).crosswalks["6"].outline
    assert shapely.Polygon(outline[:, :2]).area == pytest.approx(32)


# Coordinates


def test_transverse_mercator_at_known_places():
    # The equator 3 degrees from its meridian; the meridian at 45 degrees, whose arc is 4,984,944.378 m.
    x, y = utm.utm(np.array([0.0, 3.0]), np.array([0.0, 45.0]), 31, False)
    np.testing.assert_allclose(x, [166_021.4431, 500_000.0], atol=1e-3)
    np.testing.assert_allclose(y, [0.0, 0.9996 * 4_984_944.378], atol=1e-3)
    assert utm.utm(np.array([3.0]), np.array([-45.0]), 31, True)[1] == pytest.approx(1e7 - 4_982_950.400, abs=1e-3)


@pytest.mark.parametrize("place", [(-80.0, 40.44), (103.79, 1.3), (-115.17, 36.1)])
def test_metres_are_metres_around_the_meridian(place):
    """Distances on the ellipsoid, from its radii of curvature."""
    latitude, a, square = math.radians(place[1]), 6378137.0, 0.00669437999014
    bend = 1 - square * math.sin(latitude) ** 2
    north, east = a * (1 - square) / bend**1.5, a / math.sqrt(bend) * math.cos(latitude)
    step = 1e-5
    x, y = utm.transverse(place[0] + np.array([0, step, 0]), place[1] + np.array([0, 0, step]), place[0])
    assert (x[1] - x[0], y[2] - y[0]) == pytest.approx((math.radians(step) * east, math.radians(step) * north), rel=1e-6)


@pytest.mark.parametrize("envelope", [True, False])
@pytest.mark.parametrize(("grid", "x"), [("epsg:32617", 500_000.0), ("EPSG:32617", 500_000.0), (None, 0.0)])
def test_degrees_become_metres_of_the_grid_that_the_file_names(imported, grid, x, envelope):
    east = 1e-3  # degrees at latitude 40: 85.39 m on the ellipsoid
    points = [(-81.0, 40.0), (-81.0 + east, 40.0)]
    rows = lane(1, 0, 1)
    rows["lanes_polygons"][0]["geom"] = blob(shapely.LineString(points).buffer(2e-5, cap_style="flat"), 4326, envelope)
    rows["baseline_paths"][0]["geom"] = blob(shapely.LineString(points), 4326, envelope)
    line = imported(rows, grid=grid).lanes["1"].line
    assert line[0, X] == pytest.approx(x, abs=1e-3)
    scale = 1.0 if grid is None else 0.9996
    assert line[-1, X] - line[0, X] == pytest.approx(scale * 85.394, abs=0.01)
    assert line[0, Y] == pytest.approx(scale * 4_429_529.03, abs=0.1)


def test_degrees_that_are_none_are_refused(imported):
    rows = lane(1, 0, 1000)
    with pytest.raises(MapError, match=r"layer 'baseline_paths', fid 1: longitude and latitude are out of range"):
        imported(rows, 4326)


# Bad files


NOT_A_NUMBER = blob(shapely.LineString([(0, 0), (7, 1)])).replace(struct.pack("<d", 7.0), struct.pack("<d", math.nan))


def without(rows: Rows, layer: str, **more) -> Rows:
    rows = joined(rows)
    rows[layer][0] |= more
    return rows


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (joined(), r"map 'map' has no driving lane"),
        (without(street(), "lane_connectors", exit_lane_fid=99), r"'lane_connectors', fid 3: exit_lane_fid=99: there is no"),
        (without(street(), "lane_connectors", entry_lane_fid=None), r"entry_lane_fid=None is not a whole number"),
        (without(street(), "baseline_paths", lane_fid=5), r"'lanes_polygons', fid 1: there is no baseline path"),
        (without(street(), "baseline_paths", geom=b"GP"), r"'baseline_paths', fid 1: column 'geom' holds no geometry"),
        (without(street(), "baseline_paths", geom=None), r"'baseline_paths', fid 1: column 'geom' holds no geometry"),
        (without(street(), "baseline_paths", geom=blob(shapely.box(0, 0, 1, 1))[:60]), r"fid 1: .*geometry is damaged"),
        (without(street(), "baseline_paths", geom=shapely.Point(1, 2)), r"fid 1: a Point of 1 points: it must be a line"),
        (without(street(), "baseline_paths", geom=shapely.LineString()), r"fid 1: (the geometry is empty|column)"),
        (
            without(street(), "baseline_paths", geom=NOT_A_NUMBER),
            r"fid 1: point 1 is not",
        ),
        (without(street(), "baseline_paths", geom=blob(shapely.LineString([(0, 0), (1e12, 1)]))), r"fid 1: point 1 is not"),
        (
            without(street(), "baseline_paths", geom=shapely.LineString([(k, 0) for k in range(100_001)])),
            r"at most|2\.\.100000",
        ),
        (street(traffic_light_stop_line_fids="5;6"), r"'5;6' is not a whole number"),
        (joined(street(), lane(3, 0, 5) | {"baseline_paths": []}), r"fid 3 is used by a lane and by a connector"),
    ],
)
def test_bad_rows_are_refused_with_layer_and_fid(imported, rows, message):
    with pytest.raises(MapError, match=rf"map\.gpkg: .*{message}"):
        imported(rows, strict=True)


def sizes(road_map: RoadMap) -> tuple[int, ...]:
    lanes = road_map.lanes.values()
    links, changes = (
        sum(map(len, given)) for given in zip(*((x.successors, {x.left, x.right} - {None}) for x in lanes), strict=True)
    )
    return len(lanes), links, changes, len(road_map.crosswalks), sum(lane.signal is not None for lane in lanes)


@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning")
def test_a_damaged_value_costs_its_row_and_is_told(imported):
    """Every value of every row is missing, no number, of nothing that is there, or no geometry, one at a time."""
    beside = joined(lane(8, 0, 40, y=30, index=0), lane(9, 0, 40, y=26.5, index=1))
    others = {"stop_polygons": [stop(50, 1, lane_fids="1")], "crosswalks": [{"fid": 60, "geom": shapely.box(5, -3, 8, 3)}]}
    rows = joined(street(), beside, others)
    before, damaged, told = sizes(imported(rows, strict=True)), 0, 0
    for layer, records in rows.items():
        for number, record in enumerate(records):
            for column in record.keys() - {"fid"}:
                for value in (None, "nowhere", 999, b"x"):
                    changed = [row | {column: value} if k == number else row for k, row in enumerate(records)]
                    found = imported(rows | {layer: changed})
                    lost = [now < was for now, was in zip(sizes(found), before, strict=True)]
                    optional = value is None and column in ("lane_group_fid", "lane_index")
                    assert found.report or not any(lost) or optional or value == 999, (layer, number, column, value)
                    damaged, told = damaged + 1, told + bool(found.report)
    assert damaged > 100 and told > damaged / 2


def test_unknown_grids_are_refused(imported):
    with pytest.raises(MapError, match=r"projectedCoordSystem='epsg:3857': it must be a UTM zone"):
        imported(street(), grid="epsg:3857")


@pytest.mark.parametrize("change", ["DROP TABLE baseline_paths", "ALTER TABLE lanes_polygons DROP COLUMN lane_index"])
def test_missing_layers_and_columns_are_named(tmp_path, change):
    file = write(tmp_path / "map.gpkg", street())
    connection = sqlite3.connect(file)
    connection.execute(change)
    connection.commit()
    connection.close()
    with pytest.raises(
        MapError, match=r"map\.gpkg: layer '(baseline_paths' is missing|lanes_polygons' has no column 'lane_index')"
    ):
        load(file)


@pytest.mark.parametrize(
    "data", [b"", b"\x1f\x8b\x08" * 9, b"PK\x03\x04" * 9, b"SQLite format 3\0", b"SQLite format 3\0" * 99]
)
def test_what_is_no_geopackage_is_refused(tmp_path, data):
    file = tmp_path / "bad.gpkg"
    file.write_bytes(data)
    with pytest.raises(MapError, match=r"bad\.gpkg: (not a GeoPackage|the database is damaged|layer|gzip can't unpack it)"):
        load(file)


@pytest.mark.filterwarnings("ignore::gigaflow_env.roads.MapWarning")
def test_damaged_files_end_in_a_map_or_in_an_error(tmp_path):
    file = write(tmp_path / "map.gpkg", street() | {"stop_polygons": [stop(50, 1, lane_fids="1")]})
    good, random, refused = file.read_bytes(), np.random.default_rng(3), 0
    used = np.flatnonzero(np.frombuffer(good, np.uint8))  # most of a small database is empty
    began = time.process_time()
    for trial in range(200):
        data = bytearray(good[: random.integers(len(good))] if trial % 8 == 7 else good)
        for _ in range(random.integers(1, 6)):
            place = int(random.choice(used))
            if place < len(data):
                data[place] ^= 1 << int(random.integers(8))
        file.write_bytes(bytes(data))
        try:
            load(file, strict=True)
        except MapError:
            refused += 1
    assert 40 < refused < 200
    assert time.process_time() - began < 60.0


def test_a_path_of_a_million_points_ends_in_time(tmp_path):
    points = np.column_stack([np.arange(1_000_000) * 5e-5, np.arange(1_000_000) % 2 * 0.001])
    rows = without(street(), "baseline_paths", geom=blob(shapely.LineString(points)))
    survives(load, tmp_path / "long.gpkg", "a million points", write(tmp_path / "long.gpkg", rows).read_bytes())


# A town that is written and read again


@pytest.mark.parametrize(("name", "links_lost"), [("loop", 0), ("downtown", 16)])  # nuPlan's lanes lead into connectors only
def test_a_town_comes_back(tmp_path, name, links_lost):
    town = load(shipped()[name])
    rows, number = of_town(town)
    road_map = load(write(tmp_path / "town.gpkg", rows))
    truth, found = summary(town), summary(road_map)
    assert found["lane_km"] == pytest.approx(truth["lane_km"], rel=1e-3)
    same = ("lanes", "junctions", "stop_lines", "crosswalks")
    assert [found[key] for key in same] == [truth[key] for key in same]
    assert found["links"] == truth["links"] - links_lost
    assert found["max_link_gap_m"] <= 0.005
    for key, fid in number.items():
        again, lane_of_town = road_map.lanes[fid], town.lanes[key]
        assert again.left == (number[lane_of_town.left] if lane_of_town.left else None)
        np.testing.assert_allclose(widths(road_map, fid), lane_of_town.line[:, WIDTH].mean(), atol=0.1)


def test_a_town_is_driven_on(tmp_path):
    rows, _ = of_town(load(shipped()["loop"]))
    road_map = load(write(tmp_path / "town.gpkg", rows))
    simulator = Simulator(road_map, 20, laptop().replace(agents_per_world=20), threads=1)
    simulator.reset(np.array([1], np.uint32))
    random = np.random.default_rng(0)
    for _ in range(100):
        simulator.step(random.integers(0, 12, 20))
    assert np.isfinite(simulator.observations).all()
