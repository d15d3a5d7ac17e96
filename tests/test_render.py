"""Pictures have the expected colours at known places; videos can be read again; errors name what is wrong."""

import re
import runpy
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gigaflow_env.declare import fields, row_type
from gigaflow_env.render import (
    MissingExtra,
    RoadPicture,
    Scene,
    View,
    draw,
    draw_map,
    extra,
    mapview,
    pieces,
    road_picture,
    strips,
    topview,
    write_video,
)
from gigaflow_env.roads import Crosswalk, Lane, MapError, RoadMap, Signal, load, shipped
from gigaflow_env.roads.compiled.tables import EdgeRow, Grid, LaneRow, MapRow, Nearby, Network, Roads, Section, StopRow

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps"


def table(group: type, rows: list[dict]) -> np.ndarray:
    made = np.zeros(len(rows), row_type(group))
    for k, row in enumerate(rows):
        for name, given in row.items():
            made[name][k] = given
    return made


def straight(y: float, heading: float, z: float = 0.0, along: str = "x") -> np.ndarray:
    """101 sections of a lane of 4 m from -50 to 50 m, at `y` along x, or at x = `y` along y."""
    s = np.linspace(-50, 50, 101) * (1 if heading in (0.0, np.pi / 2) else -1)
    x, y = (s, np.full(101, y)) if along == "x" else (np.full(101, y), s)
    names = {"x": x, "y": y, "z": np.full(101, z), "cos": np.cos(heading), "sin": np.sin(heading), "half_width": 2.0}
    section = np.zeros(101, row_type(Section))
    for name, given in names.items():
        section[name] = given
    return section


def roads_of(*maps: tuple[list[np.ndarray], list[tuple], list[dict]]) -> Roads:
    """Compiled maps with what a picture needs: each has lanes (their sections), road edges and stop lines."""
    map_rows, lane_rows, sections, edges, edges_at, stops = [], [], [], [], [], []
    for lanes, borders, lines in maps:
        row = {"lanes_at": len(lane_rows), "lanes": len(lanes), "stops_at": len(stops), "edge_cells_at": len(edges_at)}
        map_rows.append(row | {"columns": 3, "rows": 1})  # two edge cells
        for lane in lanes:
            lane_rows.append({"first": sum(map(len, sections)), "quads": len(lane) - 1, "left": -1, "right": -1})
            sections.append(lane)
        # Both cells hold every edge: the repetition of the real tables.
        edges_at += [len(edges), len(edges) + len(borders), len(edges) + 2 * len(borders)]
        edges += 2 * [dict(zip(("x1", "y1", "x2", "y2", "z"), border, strict=True)) for border in borders]
        stops += lines
    nothing = np.zeros(0, np.float32)
    network = Network(
        maps=table(MapRow, map_rows),
        sections=np.concatenate(sections),
        lanes=table(LaneRow, lane_rows),
        successors=nothing,
        starts=nothing,
        route=nothing,
        stops=table(StopRow, stops),
        light_group=nothing,
    )
    grid = Grid(nothing, nothing, np.array(edges_at, np.int32), table(EdgeRow, edges))
    names = tuple(f"map{k}" for k in range(len(maps)))
    return Roads(network, grid, Nearby(nothing, nothing, nothing), names, np.zeros((len(maps), 3)))


def box(x1: float, y1: float, x2: float, y2: float, z: float = 0.0) -> list[tuple]:
    return [(x1, y1, x2, y1, z), (x2, y1, x2, y2, z), (x2, y2, x1, y2, z), (x1, y2, x1, y1, z)]


def street() -> Roads:
    """One lane each way along x, a shoulder of 3 m south of them, and a light that stops the eastbound lane at x = 20."""
    stop = {"x": 20.0, "y": -2.0, "cos": 1.0, "sin": 0.0, "half_width": 2.0, "light": 1}
    return roads_of(([straight(-2.0, 0.0), straight(2.0, np.pi)], box(-50, -7, 50, 4), [stop]))


@pytest.fixture(scope="module")
def picture() -> RoadPicture:
    return road_picture(street())


def scene_of(picture: RoadPicture, cars: list[tuple[float, float, float, float]] = (), **more: object) -> Scene:
    """Cars of 5 x 2 m on the ground from (x, y, heading, speed)."""
    x, y, heading, speed = np.array(cars, float).reshape(-1, 4).T
    size, lights = np.ones(len(x)), np.array([0, 3])
    return Scene(picture, x, y, 0 * size, heading, 5 * size, 2 * size, speed, size > 0, lights=lights)._replace(**more)


def pixel(image: np.ndarray, x: float, y: float, view: View) -> tuple[int, ...]:
    """Colour at a place [m]."""
    size = len(image)
    column = int((x - view.x + view.span / 2) / view.span * size)
    row = int((view.y + view.span / 2 - y) / view.span * size)
    return tuple(image[row, column].tolist())


VIEW = View(0.0, 0.0, 72.0)  # drawn with 720 pixels: 10 a metre


def test_the_road_has_its_colours(picture: RoadPicture) -> None:
    image = draw(scene_of(picture), VIEW, 720)
    assert image.shape == (720, 720, 3) and image.dtype == np.uint8 and image.flags.c_contiguous
    assert pixel(image, -10.0, 2.0, VIEW) == topview.ASPHALT
    assert pixel(image, -10.0, -2.0, VIEW) == topview.ASPHALT
    assert pixel(image, -10.0, -5.5, VIEW) == topview.PAVED
    assert pixel(image, -10.0, 20.0, VIEW) == topview.GROUND
    assert pixel(image, -10.0, -20.0, VIEW) == topview.GROUND
    middle = np.array(pixel(image, -10.0, 0.0, VIEW))
    assert (middle > topview.ASPHALT).all(), "a line divides the lanes"
    assert pixel(image, -10.0, -7.0, VIEW) == topview.EDGE


def test_north_is_up_and_east_is_right(picture: RoadPicture) -> None:
    image = draw(scene_of(picture, [(10.0, 20.0, 0.0, 0.0)]), VIEW, 720)
    rows, columns = np.nonzero((image == topview.CAR_COLOURS[0].astype(int)).all(axis=-1))
    assert abs(columns.mean() - 10 * (36 + 10)) < 10
    assert abs(rows.mean() - 10 * (36 - 20)) < 10


def test_cars_show_speed_role_and_heading(picture: RoadPicture) -> None:
    cars = [(-20.0, 15.0, 0.0, 0.0), (0.0, 15.0, np.pi / 2, 16.0), (20.0, 15.0, 0.0, -16.0), (0.0, -20.0, np.pi, 5.0)]
    image = draw(scene_of(picture, cars, followed=3, neighbours=np.array([1, -1])), VIEW, 720)
    slow, fast = (tuple(colour.astype(int).tolist()) for colour in (topview.CAR_COLOURS[0], topview.CAR_COLOURS[-1]))
    assert pixel(image, -21.0, 15.0, VIEW) == slow
    assert pixel(image, 0.0, 14.0, VIEW) == fast
    assert pixel(image, 19.0, 15.0, VIEW) == fast, "reversing fast is fast"
    assert pixel(image, 1.0, -20.0, VIEW) == topview.FOLLOWED
    # The windscreen is in the front half, wherever the car heads.
    assert pixel(image, -19.2, 15.0, VIEW) == topview.GLASS
    assert pixel(image, 0.0, 15.8, VIEW) == topview.GLASS
    assert pixel(image, -0.8, -20.0, VIEW) == topview.GLASS
    # Outlined: the observed neighbour and the followed car, but not others.
    assert pixel(image, 1.1, 15.0, VIEW) == topview.NEIGHBOUR
    assert pixel(image, 0.0, -21.1, VIEW) == topview.NEIGHBOUR
    assert pixel(image, 19.0, 16.1, VIEW) == topview.GROUND


def test_inactive_agents_are_not_drawn(picture: RoadPicture) -> None:
    cars = [(0.0, 20.0, 0.0, 0.0), (np.nan, np.nan, 0.0, 0.0)]
    hidden = draw(scene_of(picture, cars, active=np.array([False, False])), VIEW, 720)
    assert (hidden == draw(scene_of(picture), VIEW, 720)).all()
    shown = draw(scene_of(picture, cars, active=np.array([True, False])), VIEW, 720)
    assert (shown != hidden).any()


def test_stop_lines_have_the_colour_of_their_light(picture: RoadPicture) -> None:
    for state, colour in ((1, topview.LIGHTS[1]), (2, topview.LIGHTS[2]), (3, topview.LIGHTS[3]), (0, topview.ASPHALT)):
        image = draw(scene_of(picture, lights=np.array([3 - state, state])), VIEW, 720)
        assert pixel(image, 20.0, -2.0, VIEW) == colour
        assert pixel(image, 20.0, 2.0, VIEW) == topview.ASPHALT, "the other lane has no stop line"


def test_goals_are_rings_and_the_last_has_a_dot(picture: RoadPicture) -> None:
    image = draw(scene_of(picture, goals=np.array([(-20.0, 20.0), (20.0, 20.0)]), goal_radius=5.0), VIEW, 720)
    assert pixel(image, -20.0 + 4.7, 20.0, VIEW) == topview.FOLLOWED
    assert pixel(image, -20.0, 20.0, VIEW) == topview.GROUND
    assert pixel(image, 20.0 + 4.9, 20.0, VIEW) == topview.FOLLOWED
    assert pixel(image, 20.0 + 4.6, 20.0, VIEW) == topview.GROUND, "later goals have a thinner ring"
    assert pixel(image, 20.0, 20.0, VIEW) == topview.FOLLOWED


def test_status_text_stands_upper_left(picture: RoadPicture) -> None:
    image = draw(scene_of(picture, text=("speed 7.3 m/s", "step 12")), VIEW, 720)
    changed = np.argwhere((image != draw(scene_of(picture), VIEW, 720)).any(axis=-1))
    assert changed.min() < 10 and changed[:, 0].max() < 60 and changed[:, 1].max() < 180
    assert (image.reshape(-1, 3) == topview.TEXT).all(axis=-1).any()


def test_a_picture_does_not_depend_on_what_was_drawn_before(picture: RoadPicture) -> None:
    scene = scene_of(picture, [(3.0, -2.0, 0.3, 6.0)])
    topview._tile.cache_clear()
    first = draw(scene, VIEW, 720)
    draw(scene, View(31.7, 4.1, 40.0), 200)
    assert (draw(scene, VIEW, 720) == first).all()


def test_tiles_join_without_seams(picture: RoadPicture) -> None:
    view = View(-10.0, 2.0, 2.0)  # asphalt only, and 1024 pixels a metre: many tiles
    image = draw(scene_of(picture), view, 1024)
    assert (image == topview.ASPHALT).all()


def test_a_bridge_covers_the_road_below_and_keeps_its_edges() -> None:
    below, above = straight(0.0, 0.0), straight(0.0, np.pi / 2, z=6.0, along="y")
    edges = box(-50, -2, 50, 2) + box(-2, -50, 2, 50, z=6.0)
    image = draw(scene_of(road_picture(roads_of(([above, below], edges, [])))), VIEW, 720)
    assert pixel(image, 2.0, 0.0, VIEW) == topview.EDGE, "the bridge's parapet"
    assert pixel(image, 0.0, 2.0, VIEW) == topview.ASPHALT, "no edge of the road below across the bridge"
    assert pixel(image, 20.0, 2.0, VIEW) == topview.EDGE


def test_cars_and_stop_lines_below_a_bridge_are_covered() -> None:
    below, above = straight(0.0, 0.0), straight(0.0, np.pi / 2, z=6.0, along="y")
    edges = box(-50, -2, 50, 2) + box(-2, -50, 2, 50, z=6.0)
    line = {"y": 0.0, "cos": 1.0, "sin": 0.0, "half_width": 2.0}
    stops = [line | {"x": 0.0, "light": 0}, line | {"x": 10.0, "light": 1}]
    picture = road_picture(roads_of(([above, below], edges, stops)))
    cars = [(0.0, 0.0, 0.0, 0.0), (0.0, 8.0, np.pi / 2, 0.0), (20.0, 0.0, 0.0, 0.0), (0.0, 30.0, np.pi / 2, 0.0)]
    scene = scene_of(picture, cars, z=np.array([0.0, 6.0, 0.0, 6.0]), lights=np.array([3, 3]))
    slow = tuple(topview.CAR_COLOURS[0].astype(int).tolist())
    image = draw(scene, VIEW, 720)
    assert pixel(image, -1.5, 0.0, VIEW) == topview.ASPHALT, "a car below the deck"
    assert pixel(image, 0.0, -1.0, VIEW) == topview.ASPHALT, "a stop line below the deck"
    assert pixel(image, -2.3, 0.0, VIEW) == slow, "its tail looks out from below"
    assert pixel(image, 0.0, 6.5, VIEW) == slow, "a car on the deck"
    assert pixel(image, 19.0, 0.0, VIEW) == slow, "a car beside the bridge"
    assert pixel(image, 0.0, 28.5, VIEW) == slow, "a car where nothing lies below the bridge"
    assert pixel(image, 10.0, -1.0, VIEW) == topview.LIGHTS[3]
    followed = draw(scene._replace(followed=0), VIEW, 720)
    outline = {pixel(followed, 0.0, y, VIEW)[0] for y in np.arange(-1.2, -0.8, 0.1)}
    assert max(outline) > 2 * topview.ASPHALT[0], "the outline of the followed car"
    assert pixel(followed, -1.0, 0.0, VIEW) == topview.ASPHALT
    high = draw(scene._replace(z=np.array([6.0, 6.0, 0.0, 6.0])), VIEW, 720)
    assert pixel(high, -1.5, 0.0, VIEW) == slow, "the same car on the deck"


def test_a_car_on_its_way_to_the_bridge_is_not_cut() -> None:
    """The deck begins in the middle of the car: both parts of the road have its height."""
    below, above = straight(0.0, 0.0), straight(0.0, np.pi / 2, z=6.0, along="y")
    picture = road_picture(roads_of(([above, below], box(-2, -50, 2, 50, z=6.0), [])))
    slow = tuple(topview.CAR_COLOURS[0].astype(int).tolist())
    for y in np.arange(-25.0, 26.0, 1.0):
        image = draw(scene_of(picture, [(0.0, y, np.pi / 2, 0.0)], z=np.array([6.0])), VIEW, 720)
        assert pixel(image, 0.7, y - 2.2, VIEW) == pixel(image, 0.7, y + 2.0, VIEW) == slow, y


def test_paved_ground_reaches_to_the_next_edge_or_lane() -> None:
    lanes = [straight(0.0, 0.0), straight(-10.0, 0.0)]
    edges = box(-50, -30, 50, 8) + box(-10, 4, 10, 6)
    image = draw(scene_of(road_picture(roads_of((lanes, edges, [])))), VIEW, 720)
    assert pixel(image, 20.0, 5.0, VIEW) == topview.PAVED
    assert pixel(image, 0.0, 3.0, VIEW) == topview.PAVED
    assert pixel(image, 0.0, 5.0, VIEW) == topview.GROUND, "an island"
    assert pixel(image, 0.0, -5.0, VIEW) == topview.PAVED, "between two lanes"
    assert pixel(image, 0.0, -14.0, VIEW) == topview.GROUND, "the edge is too far to know"


def test_the_shoulder_of_a_bridge_covers_the_road_below() -> None:
    below, above = straight(0.0, 0.0), straight(0.0, np.pi / 2, z=6.0, along="y")
    edges = box(-50, -2, 50, 2) + box(-5, -50, 5, 50, z=6.0)
    image = draw(scene_of(road_picture(roads_of(([above, below], edges, [])))), VIEW, 720)
    assert pixel(image, 3.5, 0.0, VIEW) == topview.PAVED
    assert pixel(image, 3.5, 2.0, VIEW) == topview.PAVED, "neither edge"
    assert pixel(image, 5.0, 0.0, VIEW) == topview.EDGE
    assert pixel(image, 7.0, 0.0, VIEW) == topview.ASPHALT
    assert pixel(image, 7.0, 3.5, VIEW) == topview.GROUND


def test_permitted_lane_changes_are_dashed() -> None:
    roads = roads_of(([straight(-2.0, 0.0), straight(2.0, 0.0)], box(-50, -4, 50, 4), []))

    def share() -> float:
        image = draw(scene_of(road_picture(roads), lights=np.zeros(2, int)), VIEW, 720)
        return float((image[360, :] > np.array(topview.ASPHALT) + 20).all(axis=-1).mean())

    assert share() == 1.0
    roads.network.lanes["left"][0] = 1
    assert share() == 1.0, "permitted one way only"
    roads.network.lanes["right"][1] = 0
    assert 0.3 < share() < 0.5


def test_junction_connectors_have_no_lines() -> None:
    roads = street()
    roads.network.lanes["junction"] = 1
    image = draw(scene_of(road_picture(roads)), VIEW, 720)
    assert pixel(image, -10.0, 0.0, VIEW) == topview.ASPHALT


def test_each_map_of_several_has_its_own_picture() -> None:
    stop = {"half_width": 1.0, "cos": 1.0}
    first = ([straight(0.0, 0.0)], box(-50, -2, 50, 2), [stop | {"light": 0, "x": 5.0}])
    second = ([straight(20.0, 0.0)], box(-50, 18, 50, 22), [stop | {"light": 1, "x": 7.0}, stop | {"light": 0, "x": 9.0}])
    both = roads_of(first, second)
    for k, single in enumerate((first, second)):
        alone, found = road_picture(roads_of(single)), road_picture(both, k)
        assert all((a == b).all() for a, b in zip(alone.shapes, found.shapes, strict=True))
        assert (alone.stops == found.stops).all() and (alone.stop_lights == found.stop_lights).all()
    assert road_picture(both, 1).stops[:, [0, 2]].tolist() == [[7.0, 7.0], [9.0, 9.0]]
    with pytest.raises(ValueError, match="map_index=2: there are 2 maps, map0, map1"):
        road_picture(both, 2)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"z": np.zeros(2)}, r"Scene.z has shape \(2,\), Scene.x \(1,\)"),
        ({"heading": np.zeros(3)}, r"Scene.heading has shape \(3,\), Scene.x \(1,\)"),
        ({"lights": np.zeros(1, int)}, "Scene.lights has 1 lights, a stop line belongs to light 1"),
        ({"lights": np.array([0, 4])}, r"Scene.lights has the state 4"),
        ({"followed": 1}, "Scene.followed=1: there are 1 agents"),
        ({"x": np.array([np.nan])}, "agent 0 is active, but its x is nan"),
    ],
)
def test_a_scene_that_does_not_fit_is_an_error(picture: RoadPicture, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        draw(scene_of(picture, [(0.0, 0.0, 0.0, 0.0)], **changes), VIEW, 64)


def test_a_view_must_be_possible(picture: RoadPicture) -> None:
    for view in (View(0.0, 0.0, 0.0), View(np.nan, 0.0), View(0.0, 0.0, np.inf)):
        with pytest.raises(ValueError, match="span"):
            draw(scene_of(picture), view, 64)
    with pytest.raises(ValueError, match="size=8"):
        draw(scene_of(picture), VIEW, 8)


def test_video_speed(picture: RoadPicture) -> None:
    """15 frames a second of 64 cars are wanted on two cores; here a tenth of that, as machines are shared."""
    chance = np.random.default_rng(0)
    cars = np.column_stack([chance.uniform(-40, 40, (64, 2)), chance.uniform(-3, 3, 64), chance.uniform(0, 16, 64)])
    draw(scene_of(picture, cars.tolist()), View(0.0, 0.0), 720)
    start = time.process_time()
    for k in range(5):
        draw(scene_of(picture, cars.tolist(), followed=k), View(0.3 * k, 0.0), 720)
    assert (time.process_time() - start) / 5 < 10 / 15


# Maps


def lane(id: str, *knots: tuple[float, ...], **more: object) -> Lane:
    return Lane(id, np.array(knots, float), **more)


def town() -> RoadMap:
    """East-west road with a shoulder and a signalised connector, a crosswalk, and a bridge over it; 100 m x 100 m."""
    lanes = [
        lane("east", (-50, -2, 0, 0, 4), (10, -2, 0, 0, 4), successors=("through",)),
        lane("through", (10, -2, 0, 0, 4), (20, -2, 0, 0, 4), junction="j", signal="light", successors=("on",)),
        lane("on", (20, -2, 0, 0, 4), (50, -2, 0, 0, 4)),
        lane("west", (50, 2, 0, np.pi, 4), (-50, 2, 0, np.pi, 4)),
        lane("shoulder", (-50, -6, 0, 0, 4), (50, -6, 0, 0, 4), kind="shoulder"),
        lane("bridge", (30, -50, 6, np.pi / 2, 4), (30, 50, 6, np.pi / 2, 4)),
    ]
    zebra = Crosswalk("zebra", np.array([(0.0, -8, 0), (6, -8, 0), (6, 4, 0), (0, 4, 0)]))
    return RoadMap("village", {item.id: item for item in lanes}, {"light": Signal("light")}, {"zebra": zebra})


def hexed(colour: str) -> tuple[int, ...]:
    return tuple(bytes.fromhex(colour[1:]))


class Chart:
    """Colours of a drawn map at places in metres: the map's bounds are known to lie 5 m inside the picture."""

    def __init__(self, image: np.ndarray) -> None:
        self.image = image
        self.scale = image.shape[1] / 110.0  # 100 m and twice the margin of 3 % + 2 m

    def __call__(self, x: float, y: float) -> tuple[int, ...]:
        row, column = len(self.image) - mapview.FOOTER - (y + 55.0) * self.scale, (x + 55.0) * self.scale
        return tuple(self.image[int(row), int(column)].tolist())


def test_a_map_picture_shows_each_thing_at_its_place(tmp_path: Path) -> None:
    image = draw_map(town(), tmp_path / "village.png", size=1236)
    assert image.shape == (1236, 1100, 3) and image.dtype == np.uint8
    colour = Chart(image)
    assert colour(-43.0, -3.6) == hexed(mapview.SURFACES["driving"])
    assert colour(-43.0, -6.0) == hexed(mapview.SURFACES["shoulder"])
    assert colour(15.0, -3.0) == hexed(mapview.SURFACES["junction"])
    assert colour(15.0, -2.0) != hexed(mapview.SURFACES["junction"]), "the connector's way"
    assert colour(0.0, 30.0) == hexed(mapview.PAPER)
    assert min(colour(-43.0, 0.0)) > 230, "the line between the lanes"
    assert colour(10.0, -2.0) == hexed(mapview.SIGNALS["light"])
    assert colour(31.6, 0.0) == hexed(mapview.SURFACES["driving"]), "the bridge covers the road's lines"
    assert colour(34.0, 0.0) != hexed(mapview.SURFACES["driving"])
    assert colour(32.0, -2.0) == hexed(mapview.EDGE), "the parapet of the bridge"
    zebra = {colour(3.0, y) for y in np.arange(-7.5, 3.5, 0.1)}
    assert hexed(mapview.BORDER) in zebra and hexed(mapview.SURFACES["driving"]) in zebra
    assert colour(50.0, -2.0) == hexed(mapview.END), "nothing goes on"
    ways = {x: sum(colour(x, y) == hexed(mapview.CONNECTOR) for y in np.arange(-3, -1, 0.02)) for x in (13.0, 17.1)}
    assert ways[17.1] > 3 * ways[13.0] > 0, "a head on the way through the junction"
    arrows = {colour(x, 2.0) for x in np.arange(-40, -5, 0.1)}
    assert hexed(mapview.ARROW) in arrows
    assert (image[:60] < 100).any(), "the title"
    assert (image[-60:, :300] < 100).any(), "the scale bar"


def test_crosswalks_and_stop_lines_below_a_bridge_are_covered() -> None:
    """Both moved under the bridge of x = 28 to 32."""
    road_map, shift = town(), np.array([30.0, 0, 0])
    zebra = Crosswalk("zebra", road_map.crosswalks["zebra"].outline + shift)
    lanes = road_map.lanes | {"on": replace(road_map.lanes["on"], signal="light")}
    line = lanes["on"].line.copy()
    line[0, 0] = 30.0
    lanes["on"] = replace(lanes["on"], line=line)
    colour = Chart(draw_map(replace(road_map, lanes=lanes, crosswalks={"zebra": zebra}), size=1236))
    below = {colour(31.0, y) for y in np.arange(-7.5, 3.5, 0.05)}
    assert hexed(mapview.BORDER) not in below and hexed(mapview.SIGNALS["light"]) not in below
    assert hexed(mapview.BORDER) in {colour(34.0, y) for y in np.arange(-7.5, 3.5, 0.05)}


def test_the_legend_names_what_occurs() -> None:
    def names(road_map: RoadMap) -> list[str]:
        return mapview._names(road_map, pieces.cut(road_map))

    assert names(town()) == [
        "driving", "junction", "shoulder", "bridge", "crosswalk", "light", "end",
    ]  # fmt: skip
    ring = lane("a", (0, 0, 0, 0, 4), (9, 0, 0, 0, 4), successors=("a",))
    assert names(RoadMap("ring", {"a": ring})) == ["driving"]
    signs = {kind: Signal(kind, kind) for kind in ("yield", "stop")}
    both = {kind: replace(ring, id=kind, successors=(kind,), signal=kind) for kind in signs}
    assert names(RoadMap("signs", both, signs)) == ["driving", "stop", "yield"]
    for size in (200, 600, 1600):
        assert (draw_map(town(), size=size)[:60] < 100).any()


def test_the_pictures_of_the_world_are_made_of_films() -> None:
    world = runpy.run_path(str(Path(__file__).resolve().parents[1] / "docs_tools" / "world.py"))
    env = world["traffic"]("loop", 1, 6, rules=0.5, population=world["MIX"], phantom=1.0, variant_flip=1.0)
    (film,) = world["record"](env, 0.2, 4.2)
    moment = film[0]
    assert len(film) == 42 and moment.scene.active.any() and np.linalg.det(moment.matrix) == -1
    assert moment.at((1.0, 2.0)) == pytest.approx((1.0 - moment.origin[0], moment.origin[1] - 2.0))
    x, y = float(moment.scene.x[0]), float(moment.scene.y[0])

    whole = np.asarray(world["panel"](moment.scene, View(x, y, 60.0), 240, 120))
    assert whole.shape == (120, 240, 3)
    assert np.array_equal(whole, draw(moment.scene, View(x, y, 60.0), 240)[60:180]), "the middle of the square"
    tall = world["panel"](moment.scene, View(x, y, 60.0), 120, 240)
    assert tall.size == (120, 240)
    assert (np.asarray(world["panel"](moment.scene, View(x, y, 60.0), 240, 120, [(x, y + 2, "car")])) != whole).any()

    assert world["classes_picture"](moment, View(x, y, 64.0), 300).size == (960, 300)
    assert world["erratic_picture"](film, 0, 0, 1).size == (960, 4 * 176 + 3 * 6)
    assert world["bridge_picture"](film, 0, 0).size == (960, 316)
    assert world["warped_picture"]([moment] * 2, "ab", View(0.0, 0.0, 300.0), View(0.0, 0.0, 60.0)).size == (638, 638)
    # The rules that choose a moment accept none of a film in which nothing of the kind is seen.
    assert world["passing"](film, 0)[0] == 0 and world["classes_view"](moment._replace(kind=0 * moment.kind), 64, 20)[0] == 0
    still = [one._replace(phantom=np.zeros(6, bool)) for one in film]
    assert not list(world["phantoms"](still)) and any(one.phantom.any() for one in film)
    with pytest.raises(SystemExit, match="'weather'"):
        world["main"](["weather"])


def test_the_gallery_has_every_shipped_town() -> None:
    gallery = runpy.run_path(str(Path(__file__).resolve().parents[1] / "docs_tools" / "gallery.py"))
    towns = shipped()
    assert sorted(gallery["ORDER"]) == sorted(towns)
    image = gallery["gallery"]({name: towns[name] for name in ("loop", "lefthand")})
    assert image.shape[1] == gallery["COLUMNS"] * (gallery["SIZE"] + gallery["GAP"]) - gallery["GAP"]
    assert hexed(mapview.SURFACES["driving"]) in set(map(tuple, image[:, : gallery["SIZE"]].reshape(-1, 3).tolist()))


def test_the_file_is_the_picture(tmp_path: Path) -> None:
    from matplotlib.image import imread

    image = draw_map(town(), tmp_path / "village.png", size=400)
    written = (imread(tmp_path / "village.png")[:, :, :3] * 255).round().astype(np.uint8)
    assert (written == image).all()
    assert [path.name for path in tmp_path.iterdir()] == ["village.png"]
    assert (draw_map(town(), size=400) == image).all(), "drawn again it is the same"


def test_arrows_point_along_the_lane() -> None:
    """The head of an arrow is wider than its tail: most white lies ahead of the middle."""
    road_map = RoadMap("one", {"a": lane("a", (0, 0, 0, np.pi, 4), (-16, 0, 0, np.pi, 4))})
    image = draw_map(road_map, size=1000)
    middle = len(image) - mapview.FOOTER - (len(image) - 60 - mapview.FOOTER) // 2
    white = (image[middle - 100 : middle + 100] == 255).all(axis=-1)
    columns = white.sum(axis=0)
    span = np.flatnonzero(columns)
    center = (span[0] + span[-1]) / 2
    assert columns[: int(center)].sum() > 1.2 * columns[int(center) :].sum()


def test_a_map_that_can_not_be_drawn_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(MapError, match="'empty' has no lanes"):
        draw_map(RoadMap("empty", {}))
    with pytest.raises(ValueError, match=r"village.jpg: maps are drawn as .png"):
        draw_map(town(), tmp_path / "village.jpg")
    with pytest.raises(ValueError, match="size=10"):
        draw_map(town(), size=10)
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        draw_map(town(), tmp_path / "nowhere" / "village.png", size=200)
    line = replace(town().crosswalks["zebra"], outline=np.array([(0.0, 0, 0), (5, 0, 0), (9, 0, 0)]))
    with pytest.raises(MapError, match="crosswalk 'zebra' of map 'village' has no area"):
        draw_map(replace(town(), crosswalks={"zebra": line}), size=200)


@pytest.mark.parametrize("name", ["Town01", "Town04"])
def test_real_maps_are_drawn(name: str) -> None:
    path = SHARED / "carla" / f"{name}.xodr"
    if not path.is_file():
        pytest.skip(f"the shared map {path.name} is not here")
    image = draw_map(load(path), size=600)
    assert max(image.shape) == 600
    road = (image == hexed(mapview.SURFACES["driving"])).all(axis=-1).mean()
    assert 0.01 < road < 0.5


# Strips


def test_pieces_share_their_ends() -> None:
    for sections in (2, 10, 11, 12, 101):
        parts = strips.pieces(sections)
        assert parts[0].start == 0 and parts[-1].stop == sections
        assert all(a.stop - 1 == b.start for a, b in zip(parts, parts[1:], strict=False))
        assert all(part.stop - part.start >= 2 for part in parts)


def test_levels_count_what_lies_below() -> None:
    square = np.array([(0.0, 0.0), (10, 0), (10, 10), (0, 10)])
    far = square + 100.0
    assert strips.levels([square, square + 3, square + 5, far], np.array([5.0, 0.0, 10.0, 10.0])).tolist() == [1, 0, 2, 0]
    assert strips.levels([square, square], np.array([0.0, 2.0])).tolist() == [0, 0], "a step is no bridge"


# Videos


def frames(count: int, shape: tuple[int, ...] = (48, 64, 3)):
    for k in range(count):
        frame = np.zeros(shape, np.uint8)
        frame[:, : 8 * (k + 1)] = (250, 30, 30)
        yield frame


def read(path: Path) -> tuple[str, np.ndarray]:
    """What ffmpeg says about the video's stream, and its frames (count, H, W, 3)."""
    import imageio_ffmpeg

    output = ["-fps_mode", "passthrough", "-f", "rawvideo", "-pix_fmt", "rgb24", "-"]
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-i", str(path), *output]
    done = subprocess.run(command, capture_output=True, check=True)
    stream = next(line for line in done.stderr.decode().splitlines() if "Video:" in line)
    width, height = map(int, re.search(r" (\d{2,})x(\d{2,})", stream).groups())
    return stream, np.frombuffer(done.stdout, np.uint8).reshape(-1, height, width, 3)


@pytest.mark.parametrize("name", ["drive.mp4", "drive.gif"])
def test_a_video_can_be_read_again(tmp_path: Path, name: str) -> None:
    assert write_video(tmp_path / name, frames(7), fps=10) == 7
    stream, shown = read(tmp_path / name)
    assert shown.shape == (7, 48, 64, 3) and " 10 fps" in stream
    assert all(word in stream for word in ("h264", "yuv420p")) or name.endswith("gif")
    for k, frame in enumerate(shown):
        red = frame[24, :, 0] > 128
        assert red.sum() == pytest.approx(8 * (k + 1), abs=1)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_a_broken_video_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "drive.mp4"
    path.write_text("old")

    def failing():
        yield from frames(2)
        raise RuntimeError("simulation failed")

    with pytest.raises(RuntimeError, match="simulation failed"):
        write_video(path, failing(), fps=10)
    assert [(found.name, found.read_text()) for found in tmp_path.iterdir()] == [("drive.mp4", "old")]


@pytest.mark.parametrize(
    ("name", "shown", "fps", "message"),
    [
        ("a.avi", lambda: frames(1), 10, r"a.avi: videos are written as .mp4 or .gif"),
        ("a.mp4", lambda: frames(0), 10, "at least one frame"),
        ("a.mp4", lambda: frames(1, (47, 64, 3)), 10, "47 x 64 pixels; an mp4 needs an even height and width"),
        ("a.mp4", lambda: [np.zeros((48, 64, 3))], 10, r"frame 0 is float64 \(48, 64, 3\)"),
        ("a.mp4", lambda: [*frames(2), *frames(1, (48, 60, 3))], 10, r"frame 2 is \(48, 60, 3\), the first one"),
        ("a.mp4", lambda: frames(1), 0, "fps=0"),
    ],
)
def test_video_errors(tmp_path: Path, name: str, shown: object, fps: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_video(tmp_path / name, shown(), fps)
    assert not list(tmp_path.iterdir())


def test_a_gif_may_have_odd_sizes(tmp_path: Path) -> None:
    write_video(tmp_path / "a.gif", frames(2, (47, 63, 3)), fps=5)
    assert read(tmp_path / "a.gif")[1].shape == (2, 47, 63, 3)


def test_a_video_is_written_silently(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shades = np.random.default_rng(0).integers(100, 107, (2, 96, 96, 3)).astype(np.uint8)  # more than a palette holds
    for name in ("drive.mp4", "drive.gif"):
        write_video(tmp_path / name, shades, fps=10)
    assert capfd.readouterr() == ("", "")


# Libraries


def test_a_missing_library_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(MissingExtra, match=r'drawing needs no_such_brush: pip install "gigaflow-env\[render\]"'):
        extra.library("no_such_brush.backends")
    (tmp_path / "broken_brush.py").write_text("import no_such_brush")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="No module named 'no_such_brush'"):
        extra.library("broken_brush")


def test_importing_is_light_and_silent() -> None:
    code = (
        "import sys, gigaflow_env.render as r\n"
        "heavy = {'matplotlib', 'pygame', 'imageio', 'imageio_ffmpeg', 'torch'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "r.topview.load_pygame()\n"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_lights_have_a_colour_for_each_state() -> None:
    state = pytest.importorskip("gigaflow_env.state")
    assert len(topview.LIGHTS) == 4 and sorted((state.OFF, state.GREEN, state.YELLOW, state.RED)) == [0, 1, 2, 3]
    assert (state.OFF, state.GREEN, state.YELLOW, state.RED) == (0, 1, 2, 3)
    assert set(fields(StopRow)) >= {"x", "y", "cos", "sin", "half_width", "light"}
