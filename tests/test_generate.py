"""The town generator: its towns are plausible, its files are what it makes, its turns are right, its errors help."""

import copy
import dataclasses
import math
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely
from plausibility import (
    CHECKS,
    check_connected,
    check_crosswalks,
    check_curves,
    check_density,
    check_levels,
    check_links,
    check_neighbours,
    check_quads,
    check_shapes,
    check_signals,
    check_surface,
    check_widths,
    driving,
    outline,
    sections,
)
from shapely.geometry import Polygon
from shapely.ops import unary_union
from town_specs import square

from gigaflow_env.roads import Lane, MapError, RoadMap, load, save, summary
from gigaflow_env.roads.centerline import sample
from gigaflow_env.roads.road_map import SIGNAL_KINDS
from gigaflow_env.roads.signal_phases import plan
from gigaflow_env.roads.towns.curve import Pose, connect, end, knots, length, min_radius, offset, reverse, rounded, start
from gigaflow_env.roads.towns.generate import generate
from gigaflow_env.roads.towns.junctions import crossing
from gigaflow_env.roads.towns.junctions.patches import patches

MAPS = Path(__file__).resolve().parents[1] / "maps"
TOWNS = tuple(sorted(path.stem for path in MAPS.glob("*.toml")))


@pytest.fixture(scope="module")
def towns() -> dict[str, RoadMap]:
    return {name: load(MAPS / f"{name}.lanes.json") for name in TOWNS}


# The shipped towns


@pytest.mark.parametrize("name", TOWNS)
def test_files_are_what_the_generator_makes(name: str, tmp_path: Path) -> None:
    made = tmp_path / f"{name}.lanes.json"
    save(generate(MAPS / f"{name}.toml"), made)
    assert made.read_bytes() == (MAPS / made.name).read_bytes()


@pytest.mark.parametrize("name", TOWNS)
def test_same_spec_in_another_shape_gives_the_same_bytes(name: str, tmp_path: Path) -> None:
    spec = tomllib.loads((MAPS / f"{name}.toml").read_text(encoding="utf-8"))
    spec["roads"] = [dict(reversed(road.items())) for road in spec["roads"]]
    save(generate(dict(reversed(spec.items()))), tmp_path / "again.lanes.json")
    assert (tmp_path / "again.lanes.json").read_bytes() == (MAPS / f"{name}.lanes.json").read_bytes()


@pytest.mark.parametrize("up", [math.inf, -math.inf])
def test_files_survive_other_last_bits(up: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Another machine's sine may differ in its last bit. A width of 3.45 m puts edges midway between two centimetres."""
    spec = tomllib.loads((MAPS / "loop.toml").read_text(encoding="utf-8"))
    spec["defaults"]["width"] = 3.45
    save(generate(spec), tmp_path / "here.lanes.json")
    sine, cosine = math.sin, math.cos
    with monkeypatch.context() as other_machine:
        other_machine.setattr(math, "sin", lambda x: math.nextafter(sine(x), up))
        other_machine.setattr(math, "cos", lambda x: math.nextafter(cosine(x), -up))
        there = generate(spec)
    save(there, tmp_path / "there.lanes.json")
    assert (tmp_path / "there.lanes.json").read_bytes() == (tmp_path / "here.lanes.json").read_bytes()


@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("name", TOWNS)
def test_towns_are_plausible(name: str, check: Any, towns: dict[str, RoadMap]) -> None:
    tight = {"radius": 3.4} if (name, check) == ("oldtown", check_curves) else {}
    check(towns[name], **tight)


@pytest.mark.parametrize(("lanes", "right", "left"), [(2, 1, 1), (3, 1, 2), (4, 2, 2)])
def test_lanes_spread_where_a_road_ends_at_a_crossing(lanes: int, right: int, left: int) -> None:
    spec = square()
    for name in "nesw":
        spec["nodes"][name] |= {"spread": True}
    for road in spec["roads"]:  # from the centre one comes to a crossing of two roads of the ring
        road["lanes"] = [lanes, lanes]
    made = generate(spec)
    stem = [lane for lane in made.lanes.values() if lane.junction == "n" and "centre>n" in lane.id.split(":")[1]]
    turned = [lane.id.rpartition(":")[2] for lane in stem if lane.kind == "driving"]
    exits = {lane: turned.count(lane) for lane in turned}
    assert set(exits.values()) == {1} and len(exits) == lanes
    to = [sum(lane.startswith(f"n>{name}.") for lane in turned) for name in "ew"]
    assert to == [right, left]


def test_only_a_corner_that_is_said_to_be_tight_is() -> None:
    made = generate(square() | {"nodes": square()["nodes"] | {"centre": {"at": [0, 0], "corner": 3.5}}})
    turns = [lane for lane in made.lanes.values() if lane.junction == "centre" and lane.kind == "driving"]
    assert min(1 / np.abs(sample(lane.line, 0.5)[:, 5]).max() for lane in turns) == pytest.approx(3.5, rel=0.05)


def test_towns_are_what_their_table_says(towns: dict[str, RoadMap]) -> None:
    rows = [
        line.split("|") for line in (MAPS / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("| `")
    ]
    said = {row[1].strip(" `"): (float(row[2]), int(row[3]), int(row[4]), int(row[5])) for row in rows}
    found = {}
    for name, town in towns.items():
        nodes = tomllib.loads((MAPS / f"{name}.toml").read_text(encoding="utf-8"))["nodes"]
        junctions = [node for node in nodes.values() if node.get("kind", "crossing") in ("crossing", "roundabout")]
        facts = summary(town)
        found[name] = (round(facts["lane_km"], 1), facts["lanes"], len(junctions), facts["traffic_lights"])
    assert said == found


def test_towns_are_what_they_are_for(towns: dict[str, RoadMap]) -> None:
    assert {lane.junction for lane in towns["loop"].lanes.values()} == {None, "centre", "north", "east", "south", "west"}
    groups = {signal.group for signal in towns["downtown"].signals.values()}
    assert groups == {"b1", "c1", "a2", "b2", "c2", "d2", "a3", "b3", "c3", "d3", "b4", "c4"}
    speeds = [lane.speed for lane in driving(towns["loop"]).values() if lane.junction is None]
    assert min(speeds) >= 8 and max(speeds) <= 14
    assert {kind for town in towns.values() for kind in (signal.kind for signal in town.signals.values())} == set(
        SIGNAL_KINDS
    )
    for name in ("highway", "mixed"):
        assert max(lane.line[:, 2].max() for lane in towns[name].lanes.values()) == 6.0


def test_the_left_hand_town_is_downtown_in_a_mirror(towns: dict[str, RoadMap]) -> None:
    right, left = towns["downtown"], towns["lefthand"]
    assert left.left_hand and not right.left_hand
    assert list(left.lanes) == list(right.lanes) and left.signals == right.signals
    for key, lane in left.lanes.items():
        other = right.lanes[key]
        assert np.array_equal(lane.line, other.line * [1, -1, 1, -1, 1])
        assert (lane.left, lane.right, lane.successors) == (other.right, other.left, other.successors)
    for key, walk in left.crosswalks.items():
        assert np.array_equal(walk.outline[::-1], right.crosswalks[key].outline * [1, -1, 1])


@pytest.mark.parametrize("name", TOWNS)
def test_only_mouths_noses_middles_and_parking_are_paved_without_being_driven(name: str, towns: dict[str, RoadMap]) -> None:
    for lane in towns[name].lanes.values():
        assert (lane.kind == "shoulder") == lane.id.endswith((".mouth", ".nose", ".middle"))
        assert (lane.kind == "parking") == lane.id.endswith(".parking")
        assert lane.kind == "driving" or (not lane.successors and lane.left is None and lane.right is None)


# Junctions


def turns(town: RoadMap, lane: str) -> dict[str, float]:
    """Where the connectors behind a lane lead, and by how much they turn [degrees]."""
    found = {}
    for connector in town.lanes[lane].successors:
        (to,) = town.lanes[connector].successors
        cuts = sections(town.lanes[connector])
        found[to] = round(math.degrees(cuts.heading[-1] - cuts.heading[0]))
    return found


def test_turns_of_a_crossing_with_one_lane() -> None:
    town = generate(square())
    assert turns(town, "w>centre.0") == {"centre>e.0": 0, "centre>n.0": 90, "centre>s.0": -90}


def test_right_from_the_rightmost_left_from_the_leftmost_straight_from_all() -> None:
    spec = square()
    spec["defaults"] = {"lanes": [2, 2]}
    town = generate(spec)
    assert turns(town, "w>centre.0") == {"centre>e.0": 0, "centre>s.0": -90}
    assert turns(town, "w>centre.1") == {"centre>e.1": 0, "centre>n.1": 90}
    assert (town.lanes["w>centre.0"].left, town.lanes["w>centre.0"].right) == ("w>centre.1", None)
    assert (town.lanes["w>centre.1"].left, town.lanes["w>centre.1"].right) == (None, "w>centre.0")


def test_traffic_keeps_right() -> None:
    town = generate(square())
    assert town.lanes["centre>e.0"].line[0, 1] == -1.75
    assert town.lanes["e>centre.0"].line[0, 1] == 1.75


def test_one_way_road_is_centred_and_driven_one_way() -> None:
    spec = square()
    spec["roads"][0] |= {"lanes": [2, 0]}
    town = generate(spec)
    assert "e>centre.0" not in town.lanes
    assert [town.lanes[f"centre>e.{k}"].line[0, 1] for k in (0, 1)] == [-1.75, 1.75]
    check_connected(town)


def test_pocket_takes_the_left_turn_and_nothing_else() -> None:
    spec = square()
    spec["roads"][2] = {"between": ["w", "centre"], "lanes": [1, 1], "median": 3.2, "pockets": [30, 0]}
    town = generate(spec)
    assert turns(town, "w>centre.pocket.0") == {"centre>e.0": 0, "centre>s.0": -90}
    assert turns(town, "w>centre.pocket.1") == {"centre>n.0": 90}
    entry = town.lanes["w>centre.taper.1"]
    assert entry.successors == ("w>centre.pocket.1",) and entry.junction is not None
    assert set(town.lanes["w>centre.0"].successors) == {"w>centre.taper.0", "w>centre.taper.1"}
    (connector,) = town.lanes["w>centre.pocket.1"].successors
    assert town.lanes[connector].signal == "centre:w.left"
    for check in (check_connected, check_links, check_neighbours, check_quads, check_shapes, check_surface, check_signals):
        check(town)


@pytest.mark.parametrize("bends", [[], [[80, 12, 120]]])
def test_medians_end_bluntly_at_pockets(bends: list[list[float]]) -> None:
    """On a straight road and in curves: the nose is a metre wide, as two equal arcs leave 3.2 m * 2 (d / 25 m)^2."""
    spec = square()
    spec["nodes"]["e"]["at"] = [160, 0]
    spec["roads"][0] |= {"lanes": [1, 1], "median": 3.2, "pockets": [30, 30], "bends": bends}
    spec["roads"][4]["bends"], spec["roads"][7]["bends"] = [[160, 100, 50]], [[160, -100, 50]]
    town = generate(spec)
    check_surface(town)
    paved = unary_union([outline(lane) for lane in town.lanes.values()]).buffer(0.05).buffer(-0.05)
    (median,) = [hole for hole in map(Polygon, paved.interiors) if hole.area < 300]
    for way in ("centre>e", "e>centre"):
        nose = town.lanes[f"{way}.taper.nose"]
        assert np.hypot(*(nose.line[-1, :2] - nose.line[0, :2])) == pytest.approx(25 * math.sqrt(1 / 6.4), abs=0.1)
        cut = sections(nose)
        blunt = shapely.LineString([cut.left[0], cut.right[0]]).intersection(median.buffer(0.02))
        assert blunt.length == pytest.approx(1.0, abs=0.1)
    with pytest.raises(AssertionError, match="a slit of"):
        check_surface(dataclasses.replace(town, lanes={key: one for key, one in town.lanes.items() if "nose" not in key}))


@pytest.mark.parametrize("control", ["light", "stop", "none"])
def test_control_is_one_signal_an_approach(control: str) -> None:
    spec = square()
    spec["nodes"]["centre"]["control"] = control
    town = generate(spec)
    expected = {} if control == "none" else {f"centre:{name}": (control, "centre") for name in "enws"}
    assert {key: (signal.kind, signal.group) for key, signal in town.signals.items()} == expected


def test_right_turns_have_the_radius_of_the_corner() -> None:
    for corner in (6.0, 12.0):
        spec = square(defaults={"corner": corner})
        (connector,) = [lane for lane in generate(spec).lanes.values() if lane.id == "centre:w>centre.0:centre>s.0"]
        assert 1 / np.abs(sections(connector).curvature).max() == pytest.approx(corner, rel=0.05)


@pytest.mark.parametrize("tilt", [-25, 25])
def test_skewed_crossings_are_plausible_too(tilt: float) -> None:
    spec = square()
    spec["nodes"]["n"]["at"], spec["nodes"]["s"]["at"] = [tilt, 100], [-tilt, -100]
    town = generate(spec)
    for check in CHECKS:
        check(town)


def test_no_notch_outside_of_three_roads_that_meet_at_an_angle(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = square()
    spec["roads"][4]["bends"], spec["roads"][7]["bends"] = [[75, 100, 40]], [[75, -100, 40]]
    corner = shapely.Point(103.3, 0.0)  # outside of the node e, where the mouths of the roads to n and s end
    assert unary_union([outline(lane) for lane in generate(spec).lanes.values()]).contains(corner)
    monkeypatch.setattr(crossing, "BENT", math.inf)
    assert not unary_union([outline(lane) for lane in generate(spec).lanes.values()]).contains(corner)


def test_spots_between_connectors_and_mouths_are_paved() -> None:
    """Four lanes, 2 m wide, around a spot of 8 m by 2 m."""
    ends = ((0, 0, 10, 0), (0, 4, 10, 4), (0, -1, 0, 5), (10, -1, 10, 5))
    lines = [[(*p, 0.0, math.atan2(v - y, u - x), 2.0) for p in ((x, y), (u, v))] for x, y, u, v in ends]
    lanes = [Lane(str(k), np.array(line)) for k, line in enumerate(lines)]
    (patch,) = patches("here", lanes)
    spot = Polygon([(1, 1), (9, 1), (9, 3), (1, 3)])
    assert outline(patch).contains(spot) and patch.kind == "shoulder" and patch.junction == "here"
    assert patches("here", lanes[:3]) == []


def test_every_arm_of_a_junction_has_its_crosswalk_over_all_its_connectors(towns: dict[str, RoadMap]) -> None:
    town = towns["downtown"]
    for lane in driving(town).values():
        if lane.junction not in town_nodes(town):
            continue
        name, first, last = lane.id.split(":")
        for arm in (first.split(">")[0], last.split(">")[1].split(".")[0]):
            walk = Polygon(town.crosswalks[f"{name}:{arm}"].outline[:, :2])
            assert walk.intersection(outline(lane)).area > 2.5 * lane.line[:, 4].min(), f"{walk} and {lane.id}"


def town_nodes(town: RoadMap) -> set[str]:
    return {signal.group for signal in town.signals.values()}


# Roundabouts


def with_roundabout(**given: Any) -> dict[str, Any]:
    spec = square()
    spec["nodes"]["centre"] = {"at": [0, 0], "kind": "roundabout"} | given
    return spec


def test_a_roundabout_is_driven_counter_clockwise_and_left_at_every_road() -> None:
    town = generate(with_roundabout(radius=18, corner=12, control="yield"))
    for check in CHECKS:
        check(town)
    lane = town.lanes["centre.e.in.0"]  # from where the east joins to where one leaves to the north
    assert np.hypot(*lane.line[:, :2].T) == pytest.approx(18, abs=1e-4)
    assert lane.line[-1, 3] > lane.line[0, 3] and lane.junction is None
    assert set(lane.successors) == {"centre.n.out.0", "centre:n.out.0"}
    assert town.lanes["centre:n.out.0"].successors == ("centre>n.0",)
    assert town.lanes["e>centre.0"].successors == ("centre:e.in.0",)
    signals = {key: (signal.kind, signal.group) for key, signal in town.signals.items()}
    assert signals == {f"centre:{name}": ("yield", "centre") for name in "enws"}
    assert {lane.signal for lane in town.lanes.values() if ".out." in lane.id} == {None}


def test_arcs_into_a_roundabout_have_the_radius_of_the_corner_and_touch_the_ring() -> None:
    town = generate(with_roundabout(radius=18, corner=12))
    entry, ring = sections(town.lanes["centre:e.in.0"]), sections(town.lanes["centre.e.in.0"])
    assert 1 / np.abs(entry.curvature[2:-2]).max() == pytest.approx(12, rel=0.02)
    assert math.remainder(entry.heading[-1] - ring.heading[0], math.tau) == pytest.approx(0, abs=1e-3)


def test_two_lanes_around_a_roundabout() -> None:
    spec = with_roundabout(radius=22, corner=14, rings=2)
    for road in spec["roads"][:4:2]:
        road["lanes"] = [2, 2]
    town = generate(spec)
    for check in CHECKS:
        check(town)
    outer, inner = town.lanes["centre.e.in.0"], town.lanes["centre.e.in.1"]
    assert (outer.left, inner.right) == (inner.id, outer.id)
    assert [np.hypot(*lane.line[0, :2]) for lane in (outer, inner)] == pytest.approx([25.5, 22], abs=1e-4)
    assert town.lanes["e>centre.1"].successors == ("centre:e.in.1",)
    # What leaves to the north, with its one lane, does so from the outer one.
    assert town.lanes["centre.e.in.1"].successors == ("centre.n.out.1",)


def test_the_middle_of_a_roundabout_is_an_island() -> None:
    town = generate(with_roundabout(radius=9, corner=8))
    check_surface(town)
    paved = unary_union([outline(lane) for lane in town.lanes.values()])
    assert not paved.contains(shapely.Point(0, 0))


# Bulbs


@pytest.mark.parametrize("radius", [6.5, 9.0])
def test_a_bulb_turns_traffic_back(radius: float) -> None:
    spec = square()
    spec["nodes"]["end"] = {"at": [160, 0], "kind": "bulb", "radius": radius, "corner": 10}
    spec["roads"].append({"between": ["e", "end"]})
    town = generate(spec)
    for check in CHECKS:
        check(town)
    assert town.lanes["e>end.0"].successors == ("end:in",)
    assert town.lanes["end:in"].successors == ("end:out",)
    assert town.lanes["end:out"].successors == ("end>e.0",)
    assert town.lanes["end:in"].line[-1, :2] == pytest.approx([160 + radius, 0], abs=0.006)
    for role in ("in", "out"):
        curvature = sections(town.lanes[f"end:{role}"]).curvature
        assert curvature.max() == pytest.approx(1 / radius, rel=0.03) and curvature.min() == pytest.approx(-0.1, rel=0.05)
    paved = unary_union([outline(lane) for lane in town.lanes.values()])
    assert shapely.Point(160, 0).buffer(radius + 1.6).difference(paved).area < 1e-3, "nothing in a bulb is unpaved"


# Joints, ramps and bridges


def highway(**exit: Any) -> dict[str, Any]:
    """A one-way ring of two lanes with a third between two joints, where it is left for a street beside and joined again."""
    one_way = {"axis": "left", "speed": 14.0}
    corners = [[480, 0, 80], [480, 300, 80], [-400, 300, 80], [-400, 0, 80]]
    return {
        "name": "highway",
        "nodes": {
            "add": {"at": [-260, 0], "kind": "joint"},
            "exit": {"at": [-140, 0], "kind": "joint"},
            "entry": {"at": [240, 0], "kind": "joint"},
            "drop": {"at": [360, 0], "kind": "joint"},
            "street": {"at": [50, -150]},
            "end": {"at": [50, -210], "kind": "bulb"},
        },
        "roads": [
            {"between": ["add", "exit"], "lanes": [3, 0], **one_way},
            {"between": ["exit", "entry"], "lanes": [2, 0], **one_way},
            {"between": ["entry", "drop"], "lanes": [3, 0], **one_way},
            {"between": ["drop", "add"], "lanes": [2, 0], **one_way, "bends": corners},
            {
                "between": ["exit", "street"],
                "lanes": [1, 0],
                "ramp": True,
                "speed": 9.0,
                "bends": [[-30, -38, 50], [0, -150, 30]],
            }
            | exit,
            {
                "between": ["street", "entry"],
                "lanes": [1, 0],
                "ramp": True,
                "speed": 9.0,
                "bends": [[100, -150, 30], [130, -38, 50]],
            },
            {"between": ["street", "end"]},
        ],
    }


def test_lanes_are_added_and_dropped_on_the_right_over_a_taper() -> None:
    town = generate(highway())
    for check in CHECKS:
        check(town)
    assert [turns(town, f"drop>add.{k}") for k in (0, 1)] == [{"add>exit.1": 0, "add>exit.0": 0}, {"add>exit.2": 0}]
    assert [turns(town, f"entry>drop.{k}") for k in (0, 1, 2)] == [{"drop>add.0": 0}, {"drop>add.0": 0}, {"drop>add.1": 0}]
    merge = town.lanes["drop:entry>drop.0:drop>add.0"].line
    assert np.hypot(*(merge[-1] - merge[0])[:2]) == pytest.approx(math.hypot(70, 3.5), abs=1e-3)
    assert {lane.line[:, 4].min() for lane in driving(town).values()} == {3.5}, "no lane begins or ends with width 0"


def test_ramps_lie_on_the_right_and_continue_the_rightmost_lane() -> None:
    town = generate(highway())
    assert town.lanes["add>exit.0"].successors == ("exit>street.0",)
    assert [town.lanes[f"add>exit.{k}"].successors for k in (1, 2)] == [("exit>entry.0",), ("exit>entry.1",)]
    assert town.lanes["street>entry.0"].successors == ("entry>drop.0",)
    assert town.lanes["exit>street.0"].line[0, :2] == pytest.approx([-140, -8.75])
    with pytest.raises(AssertionError, match="a slit of"):
        check_surface(dataclasses.replace(town, lanes={key: one for key, one in town.lanes.items() if "nose" not in key}))


def test_a_bridge_rises_over_what_it_crosses() -> None:
    spec = highway()
    spec["nodes"] |= {
        "street": {"at": [50, -260]},
        "far": {"at": [50, 215], "kind": "bulb", "radius": 8},
        "end": {"at": [50, -330], "kind": "bulb"},
    }
    spec["roads"][4]["bends"], spec["roads"][5]["bends"] = [[-30, -38, 50], [0, -260, 30]], [[100, -260, 30], [130, -38, 50]]
    spec["roads"].append({"between": ["street", "far"], "bridge": [50, -5, 6]})
    town = generate(spec)
    for check in CHECKS:
        check(town)
    for key in ("street>far.0", "far>street.0"):
        cuts = sections(town.lanes[key])
        y = (cuts.left + cuts.right)[:, 1] / 2
        assert cuts.z[np.abs(y + 5) < 29] == pytest.approx(6.0)
        assert cuts.z[np.abs(y + 5) > 181] == pytest.approx(0.0)
        assert cuts.z[np.abs(y - 100).argmin()] == pytest.approx(3.0, abs=0.05)  # half way up
    flat = {key: bent(lane, 2, slice(None), -0.7 * lane.line[:, 2]) for key, lane in town.lanes.items()}
    with pytest.raises(AssertionError, match="above or below"):
        check_levels(dataclasses.replace(town, lanes=flat))


def test_parking_lies_along_the_kerb() -> None:
    spec = square()
    spec["roads"][4] |= {"parking": 2.5}
    town = generate(spec)
    for check in CHECKS:
        check(town)
    assert sorted(lane.id for lane in town.lanes.values() if lane.kind == "parking") == ["e>n.parking", "n>e.parking"]
    strip, lane = outline(town.lanes["e>n.parking"]), outline(town.lanes["e>n.0"])
    assert strip.intersection(lane).area < 0.1 and strip.distance(lane) < 0.01


def test_traffic_keeps_left_where_the_spec_says_so() -> None:
    town = generate(square(left_hand=True))
    assert town.left_hand
    assert town.lanes["centre>e.0"].line[0, 1] == 1.75
    assert turns(town, "w>centre.0") == {"centre>e.0": 0, "centre>n.0": 90, "centre>s.0": -90}


def with_crosswalk(at: tuple[float, float] = (50.0, 0.0), **given: Any) -> dict[str, Any]:
    """The square with a crosswalk half way between its centre and its node e."""
    spec = square()
    spec["nodes"]["walk"] = {"at": list(at), "kind": "midblock"} | given
    spec["roads"][0] = {"between": ["centre", "walk"], "lanes": [2, 1]}
    spec["roads"].append({"between": ["walk", "e"], "lanes": [2, 1]})
    return spec


@pytest.mark.parametrize("control", ["light", "none", "yield"])
def test_people_cross_between_two_stop_lines(control: str) -> None:
    town = generate(with_crosswalk(control=control))
    for check in CHECKS:
        check(town)
    (walk,) = [Polygon(walk.outline[:, :2]) for key, walk in town.crosswalks.items() if key.startswith("walk:")]
    assert walk.bounds == pytest.approx((48.5, -7.0, 51.5, 3.5))
    connectors = [lane for lane in driving(town).values() if lane.junction == "walk"]
    assert sorted(lane.signal or "" for lane in connectors) == (
        ["", "", ""] if control == "none" else ["walk:centre", "walk:centre", "walk:e"]
    )
    for lane in connectors:
        assert lane.line[[0, -1], 0].tolist() in ([47.5, 52.5], [52.5, 47.5])
    if control == "light":
        assert plan(town)["walk"] == [("walk:centre", "walk:e")]


def test_main_roads_have_no_sign() -> None:
    spec = square()
    spec["nodes"]["centre"] |= {"control": "stop", "main": ["e", "w"]}
    assert set(generate(spec).signals) == {"centre:n", "centre:s"}


# Each check finds what it is for


def bent(lane: Lane, column: int, knot: int, by: float) -> Lane:
    line = lane.line.copy()
    line[knot, column] += by
    return dataclasses.replace(lane, line=line)


DAMAGE = {
    check_connected: lambda lane, _: dataclasses.replace(lane, successors=()),
    check_links: lambda lane, _: bent(lane, 1, -1, 0.02),
    check_neighbours: lambda lane, _: bent(lane, 1, -1, 0.2),
    check_quads: lambda lane, _: bent(lane, 3, -1, 3.0),
    check_widths: lambda lane, _: bent(lane, 4, 0, 0.5),
    check_curves: lambda lane, _: bent(lane, 3, -1, 1.5),
    check_shapes: lambda lane, _: bent(lane, 4, 0, 0.5),
    check_surface: lambda lane, _: bent(lane, 4, 0, -1.0),
    check_signals: lambda lane, town: dataclasses.replace(town.lanes[lane.successors[0]], signal=None),
}


@pytest.mark.parametrize("check", DAMAGE)
def test_checks_find_damage(check: Any) -> None:
    town = generate(square(defaults={"lanes": [2, 2]}))
    check(town)
    broken = DAMAGE[check](town.lanes["w>centre.0"], town)
    with pytest.raises(AssertionError):
        check(dataclasses.replace(town, lanes=town.lanes | {broken.id: broken}))


def test_checks_find_a_crosswalk_that_is_too_short_and_a_signal_without_lane() -> None:
    town = generate(square())
    walk = town.crosswalks["centre:e"]
    shorter = dataclasses.replace(walk, outline=walk.outline * [1, 0.6, 1])
    with pytest.raises(AssertionError, match="ends in the middle"):
        check_crosswalks(dataclasses.replace(town, crosswalks={walk.id: shorter}))
    with pytest.raises(AssertionError, match="controls no lane"):
        check_signals(dataclasses.replace(town, signals=town.signals | {"spare": town.signals["centre:e"]}))
    with pytest.raises(AssertionError, match="quads in the cell"):
        check_density(town, most=3)


def test_mouths_are_what_keeps_islands_out_of_junctions(towns: dict[str, RoadMap]) -> None:
    town = towns["downtown"]
    with pytest.raises(AssertionError, match="island"):
        check_surface(dataclasses.replace(town, lanes=driving(town)))


# Curves


def test_rounded_corner_on_paper() -> None:
    path = rounded([(0, 0), (100, 0), (100, 50)], [20])
    assert [round(piece.length, 6) for piece in path] == [80, round(10 * math.pi, 6), 30]
    assert end(path) == pytest.approx((100, 50, math.pi / 2))
    inner, outer = offset(path, 5), offset(path, -5)
    assert (min_radius(inner), min_radius(outer)) == pytest.approx((15, 25))
    assert length(outer) - length(inner) == pytest.approx(5 * math.pi)
    assert start(reverse(path)) == pytest.approx((100, 50, 3 * math.pi / 2))
    assert end(reverse(path))[:2] == pytest.approx((0, 0))


@pytest.mark.parametrize("lead", [0.0, 3.0])
@pytest.mark.parametrize("heading", np.linspace(-2.6, 2.6, 14))
@pytest.mark.parametrize("place", [(20.0, 0.0), (20.0, 3.0), (18.0, -14.0), (15.0, 16.0)])
def test_connections_are_smooth_and_meet_both_ends(place: tuple[float, float], heading: float, lead: float) -> None:
    first, last = Pose(0.0, 0.0, 0.0), Pose(*place, float(heading))
    path = connect(first, last, lead)
    assert start(path) == pytest.approx(first)
    reached = end(path)
    assert reached[:2] == pytest.approx(place, abs=1e-6)
    assert math.remainder(reached.heading - heading, math.tau) == pytest.approx(0, abs=1e-6)
    for a, b in zip(path, path[1:], strict=False):
        joint = end([a])
        assert (joint.x, joint.y) == pytest.approx((b.x, b.y), abs=1e-6)
        assert math.remainder(joint.heading - b.heading, math.tau) == pytest.approx(0, abs=1e-6)
    if lead:
        assert path[0].curvature == path[-1].curvature == 0.0
        assert min(path[0].length, path[-1].length) >= lead - 1e-9


@pytest.mark.parametrize("radius", [6.0, 20.0, 60.0])
def test_knots_follow_an_arc(radius: float) -> None:
    path = rounded([(0, 0), (100, 0), (100, 100)], [radius])
    line = np.array([(pose.x, pose.y, 0.0, pose.heading, 3.5) for pose in knots(path)])
    points = sample(line, 0.5)
    on_arc = points[(points[:, 0] > 100 - radius) & (points[:, 1] < radius)]
    off = np.hypot(on_arc[:, 0] - (100 - radius), on_arc[:, 1] - radius) - radius
    assert len(on_arc) > 5 and np.abs(off).max() < 0.003
    assert points[-1, -1] == pytest.approx(length(path), abs=0.01)


# Errors


def test_errors_name_the_place_and_the_remedy(tmp_path: Path) -> None:
    def fails(match: str, **changes: Any) -> None:
        with pytest.raises(MapError, match=match):
            generate(square(**changes))

    def with_node(**given: Any) -> dict[str, Any]:
        return {"nodes": square()["nodes"] | {"e": {"at": [100, 0]} | given}}

    def with_road(**given: Any) -> dict[str, Any]:
        roads = copy.deepcopy(square()["roads"])
        roads[0] |= given
        return {"roads": roads}

    fails("the spec: 'seeds' is unknown", seeds=1)
    fails("roads={} is not an array", roads={})
    fails("node 'walk': the roads to .* bend by 18 degrees, at most 5 where people cross", **with_crosswalk((50.0, 8.0)))
    wider = with_crosswalk()
    wider["roads"][0]["lanes"] = [1, 1]
    fails("node 'walk': 1 lanes come from centre and 2 leave: use a joint for that", **wider)
    fails("defaults: 'widht' is unknown; there are .*width", defaults={"widht": 3.0})
    fails("node 'e': control='lights' is not one of none, light, stop", **with_node(control="lights"))
    fails("node 'e': at=.* must be 2 numbers", **with_node(at=[1]))
    fails("node 'e': corner=2.5 m is tighter than 3.0", **with_node(corner=2.5))
    fails("node 'lonely' has 0 roads", nodes=square()["nodes"] | {"lonely": {"at": [300, 0]}})
    fails("road 0: node 'x' does not exist; there are centre, e, n, w, s", **with_road(between=["centre", "x"]))
    fails("road 0 has no 'between'", roads=[{}])
    fails("the road centre to e: lanes=.* whole numbers", **with_road(lanes=[1.5, 1]))
    fails("the road centre to e: speed='fast' is not a number", **with_road(speed="fast"))
    fails("the road centre to e: pockets need", **with_road(pockets=[20, 0]))
    fails("the road centre to e: median=0.5 m is too narrow: it must be 0 or at least 1", **with_road(median=0.5))
    fails("the road centre to e: a one-way road has no median", **with_road(lanes=[1, 0], median=2.0))
    fails("the road centre to e has .* too little for a pocket of 90", **with_road(median=3.0, pockets=[90, 0]))
    fails("the road centre to e: the bend .* radius", **with_road(bends=[[50, 10, 2]]))
    fails("the road centre to e: from .* choose smaller radii", **with_road(bends=[[50, 40, 300]]))
    fails("the road centre to e: the bend .* turns back", **with_road(bends=[[120, 1, 10]]))
    fails("the road centre to e is straight for .* at centre, but", **with_road(bends=[[14, 0, 8], [25, 20, 8], [60, 0, 8]]))
    fails("the road e to centre is given twice", roads=[*square()["roads"], {"between": ["e", "centre"]}])
    fails("meet at .* degrees, at least 50", **with_road(bends=[[20, 60, 12]]))
    fails("has 100.0 m, its junctions need .* leave less than 5.0 m", defaults={"corner": 80.0})
    fails("left_hand='yes' is neither", left_hand="yes")
    fails("node 'e': kind='square' is not one of crossing, roundabout, bulb, joint, midblock", **with_node(kind="square"))
    fails("node 'e', a bulb: 'rings' is unknown; there are at, kind, corner, radius", **with_node(kind="bulb", rings=2))
    fails("node 'e': radius=5.0 m is tighter than 6.5 m, the least for a bulb", **with_node(kind="bulb", radius=5))
    fails("node 'e' has 3 roads, a bulb has 1", **with_node(kind="bulb"))
    fails("node 'e': control='light' is not for a roundabout", **with_node(kind="roundabout", control="light"))
    fails("node 'e': rings=4 must be 1, 2 or 3", **with_node(kind="roundabout", rings=4))
    fails("node 'e': main=.* needs control stop or yield, not 'none'", **with_node(main=["n"]))
    fails("node 'e': main=.* names 'w', to which there is no road", **with_node(main=["w"], control="stop"))
    fails("node 'e': taper=9.0 m is too short", **with_node(kind="joint", taper=9))
    fails("node 'e': the roads to .* leave less than 3.0 m of the ring", **with_node(kind="roundabout", radius=9, corner=40))
    fails(
        "node 'e': the road to centre has more lanes", **with_road(lanes=[2, 2]), **with_node(kind="roundabout", radius=25)
    )
    fails("node 'e': the road .* does not go on straight as one other road", **with_node(kind="joint"))
    fails("the road centre to e: axis='right' must be middle or left", **with_road(lanes=[1, 0], axis="right"))
    fails("the road centre to e: ramp and axis are for one-way roads", **with_road(ramp=True))
    fails("the road centre to e: parking=9.0 m must be 0 or 2 to 6", **with_road(parking=9))
    fails("the road centre to e: a bridge of 3.0 m", **with_road(bridge=[50, 0, 3]))
    fails("the road centre to e: its bridge at .* needs 180 m", **with_road(bridge=[50, 0, 6]))
    with pytest.raises(
        MapError, match="the road exit to street leaves the road beside by .* degrees at exit, it must be 4 to 40"
    ):
        generate(highway(bends=[[-90, -100, 20], [0, -150, 20]]))
    with pytest.raises(MapError, match="node 'exit': 3 lanes come and 4 leave: where ramps join"):
        generate(highway(lanes=[2, 0]))
    fails("node 'e': spread=1 is neither true nor false", **with_node(spread=1))
    with pytest.raises(MapError, match="leads nowhere"):
        spec = square()
        for road in spec["roads"][:4]:
            road["lanes"] = [1, 0]
            road["between"] = road["between"][::-1]
        generate(spec)

    path = tmp_path / "bad.toml"
    path.write_text("name = 3\n", encoding="utf-8")
    with pytest.raises(MapError, match=r"bad\.toml: the spec has no 'nodes'"):
        generate(path)
    path.write_text("name = \n", encoding="utf-8")
    with pytest.raises(MapError, match=r"bad\.toml"):
        generate(path)
