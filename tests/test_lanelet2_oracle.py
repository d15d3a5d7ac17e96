"""The Lanelet2 library reads the same files: who may drive where, how fast, where to, and what stops them there."""

import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from lanelet2_files import lanelet, member, node, row_ways, rule, two_lanes, way
from lxml import etree

from gigaflow_env.roads import RoadMap, centerline, load
from gigaflow_env.roads.formats.lanelet2.load import BACK

lanelet2 = pytest.importorskip("lanelet2", reason="there is no wheel of lanelet2 for this Python or machine")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "maps" / "lanelet2" / "mapping_example.osm"

SHORT = 0.3  # m: where both bounds end in one point, we end where the lane is 10 cm wide


class Both:
    """A file as we read it, and as the library does."""

    def __init__(self, path: Path) -> None:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*left out", category=UserWarning)
            self.ours = load(path)
        latitude, longitude = map(float, re.findall(r"latitude (\S+), longitude (\S+)", self.ours.source)[0])
        projector = lanelet2.projection.LocalCartesianProjector(lanelet2.io.Origin(latitude, longitude))
        self.theirs, errors = lanelet2.io.loadRobust(str(path), projector)
        assert not errors
        rules = lanelet2.traffic_rules
        self.rules = rules.create(rules.Locations.Germany, rules.Participants.Vehicle)
        self.graph = lanelet2.routing.RoutingGraph(self.theirs, self.rules)
        passable = [part for part in self.theirs.laneletLayer if self.rules.canPass(part)]
        back = [part.invert() for part in passable if not self.rules.isOneWay(part)]
        # Their lanelets for vehicles in each direction of travel, by our names.
        self.parts = {name_of(part): part for part in (*passable, *back)}


def name_of(part) -> str | None:
    return None if part is None else f"{part.id}{BACK if part.inverted() else ''}"


def driving(road_map: RoadMap) -> set[str]:
    return {key for key, lane in road_map.lanes.items() if lane.kind == "driving"}


def check_lanes(both: Both, left_out: set[str]) -> None:
    """Both have the same lanes, but for those that we leave out, with the same successors, neighbours and limits."""
    assert left_out <= both.parts.keys()
    assert driving(both.ours) == both.parts.keys() - left_out
    for key in driving(both.ours):
        lane, part = both.ours.lanes[key], both.parts[key]
        assert set(lane.successors) == {name_of(other) for other in both.graph.following(part)} - left_out, key
        assert (lane.left, lane.right) == (name_of(both.graph.left(part)), name_of(both.graph.right(part))), key
        limit = both.rules.speedLimit(part).speedLimit / 3.6  # 0 for what is no road: there it has no limit
        assert limit == 0 or lane.speed == pytest.approx(limit, abs=0.06), key


def check_lengths(both: Both) -> tuple[float, float]:
    """Center lines begin and end in the same places; returns how many metres there are of both, ours and theirs."""
    metres = np.zeros(2)
    for key in driving(both.ours):
        line, part = both.ours.lanes[key].line, both.parts[key]
        theirs = [np.array([[p.x, p.y] for p in points]) for points in (part.leftBound, part.rightBound, part.centerline)]
        left, right, center = theirs
        for end in (0, -1):
            wide = np.linalg.norm(left[end] - right[end])
            # Welded ends move a little; and see SHORT.
            assert np.linalg.norm(line[end, :2] - center[end]) < (0.01 if wide > SHORT else 1.0), key
        lengths = centerline.length(line), lanelet2.geometry.length2d(part)
        metres += lengths
        # Where one bound is much longer than the other, there are many lines in the middle: theirs leads from vertex to
        # vertex, ours is smooth. Theirs zigzags over the first and last metres of wide lanes by some cm, too.
        bounds = [np.linalg.norm(np.diff(bound, axis=0), axis=1).sum() for bound in (left, right)]
        alike = max(bounds) < 1.1 * min(bounds) and min(np.linalg.norm(left[[0, -1]] - right[[0, -1]], axis=1)) > SHORT
        assert lengths[0] == pytest.approx(lengths[1], rel=0.015 if alike else 0.15, abs=0.1), key
    return metres[0], metres[1]


def theirs_stops(both: Both) -> dict[str, tuple[str, set[str]]]:
    """Their lights and rights of way: kind, and the lanes that begin where one stops. A light counts more than a sign."""
    found: dict[str, tuple[str, set[str]]] = {}
    taken: set[str] = set()
    for kind, type_of in (("light", lanelet2.core.TrafficLight), ("yield", lanelet2.core.RightOfWay)):
        for part in both.parts.values():
            for element in part.regulatoryElements:
                # A signal is meant for a lanelet's own direction, and a right of way also stands at lanes that have it.
                if not isinstance(element, type_of) or part.inverted():
                    continue
                if kind == "light" or part.id in [other.id for other in element.yieldLanelets()]:
                    behind = {name_of(other) for other in both.graph.following(part)} - (taken if kind == "yield" else set())
                    if behind:
                        found.setdefault(str(element.id), (kind, set()))[1].update(behind)
        taken = {lane for _, lanes in found.values() for lane in lanes}
    return found


def our_stops(both: Both) -> dict[str, tuple[str, set[str]]]:
    lanes = both.ours.lanes.items()
    return {
        key: (signal.kind, {name for name, lane in lanes if lane.signal == key}) for key, signal in both.ours.signals.items()
    }


# A file made here


@pytest.fixture
def drawn(tmp_path):
    def of(text: str) -> Both:
        """Both read nodes by latitude and longitude, which the library calculates from those given in metres."""
        root = etree.fromstring(f'<osm version="0.6">{text}</osm>')
        reverse = lanelet2.projection.LocalCartesianProjector(lanelet2.io.Origin(49.0, 8.4)).reverse
        for element in root.iterfind("node"):
            x, y, z = (float(element.find(f"tag[@k='{k}']").get("v")) for k in ("local_x", "local_y", "ele"))
            place = reverse(lanelet2.core.BasicPoint3d(x, y, z))
            element.set("lat", f"{place.lat:.12f}")
            element.set("lon", f"{place.lon:.12f}")
            for tag in element.findall("tag"):
                element.remove(tag)
        path = tmp_path / "drawn.osm"
        path.write_bytes(etree.tostring(root))
        return Both(path)

    return of


KINDS = (
    {"subtype": "road"},
    {"subtype": "road", "location": "nonurban"},
    {"subtype": "highway"},
    {"subtype": "highway", "location": "nonurban"},
    {"subtype": "play_street"},
    {"subtype": "exit"},
    {"subtype": "emergency_lane"},
    {"subtype": "bicycle_lane"},
    {"subtype": "bicycle_lane", "participant:vehicle": "yes"},
    {"subtype": "walkway"},
    {"subtype": "shared_walkway"},
    {"subtype": "crosswalk"},
    {"subtype": "stairs"},
    {"subtype": "road", "participant:vehicle": "yes"},
    {"subtype": "road", "participant:vehicle": "no"},
    {"subtype": "road", "participant:pedestrian": "yes"},
    {"subtype": "road", "participant:bicycle": "yes"},
    {"subtype": "bus_lane"},
    {"subtype": "bus_lane", "participant:vehicle": "yes"},
    {"subtype": "road", "participant:vehicle:bus": "yes"},
    {"one_way": "no"},
    {"one_way": "", "one_way:vehicle": "no"},
    {"speed_limit": "70"},
    {"speed_limit": "30 mph"},
    {"speed_limit": "20 m/s"},
)


def test_who_may_drive_on_lanelets_of_all_kinds(drawn):
    text = "".join(node(10 * k + n, 40 * (n % 2), 10 * k + 3.5 * (n // 2)) for k in range(len(KINDS)) for n in range(4))
    text += "".join(way(1000 + 10 * k + n, 10 * k + 2 * n, 10 * k + 2 * n + 1) for k in range(len(KINDS)) for n in (0, 1))
    text += "".join(lanelet(5000 + k, 1001 + 10 * k, 1000 + 10 * k, **given) for k, given in enumerate(KINDS))
    both = drawn(text)
    assert len(both.parts) == 16
    check_lanes(both, set())


def test_lanes_of_a_street(drawn):
    """Lane changes where a line is dashed, a street for both directions, limits of signs, two lights and a sign."""
    signs = (
        way(500, 13, 23, type="traffic_sign", subtype="de274-60"),
        way(510, 20, 21, type="stop_line"),
        way(511, 40, 41, type="stop_line"),
        way(520, 20, 21, type="traffic_light", subtype="red_yellow_green"),
        rule(70, "speed_limit", member("way", 500, "refers")),
        rule(71, "traffic_light", member("way", 520, "refers"), member("way", 510, "ref_line")),
        rule(72, "right_of_way", member("relation", 96, "yield"), member("relation", 99, "right_of_way"),
             member("way", 511, "ref_line")),
    )  # fmt: skip
    text = two_lanes(row_ways(3), *signs, lanelet(97, 301, 201, 70), lanelet(98, 302, 202, one_way="no"),
                     lanelet(99, 303, 203, 72))  # fmt: skip
    for number, element in ((91, 71), (96, 72)):
        text = text.replace(f'<relation id="{number}">', f'<relation id="{number}">{member("relation", element, ROLE)}', 1)
    both = drawn(text)
    check_lanes(both, set())
    assert theirs_stops(both) == our_stops(both) == {"71": ("light", {"92"})}  # nothing begins where 96 ends
    ours, theirs = check_lengths(both)
    assert ours == pytest.approx(10 * 40) and theirs == pytest.approx(10 * 40)
    assert sum(lane.left is not None for lane in both.ours.lanes.values()) == 3


ROLE = "regulatory_element"


def test_a_fork_in_a_bend(drawn):
    """A lane turns left on 20 m and goes straight on, the bend drawn with other vertices on its left than on its right."""
    text = "".join(node(n, x, y) for n, (x, y) in enumerate(((-30, 1.75), (-30, -1.75), (0, 1.75), (0, -1.75)), start=1))
    text += node(5, 40, 1.75) + node(6, 40, -1.75)
    angles = {10: np.linspace(0, math.pi / 2, 23)[1:], 50: np.linspace(0, math.pi / 2, 31)[1:]}
    for first, radius in ((10, 18.25), (50, 21.75)):
        for k, angle in enumerate(angles[first]):
            text += node(first + k, radius * math.sin(angle), 20 - radius * math.cos(angle))
    text += way(101, 1, 3) + way(102, 2, 4) + way(103, 3, 5) + way(104, 4, 6)
    text += way(105, 3, *range(10, 32)) + way(106, 4, *range(50, 80))
    text += lanelet(201, 101, 102) + lanelet(202, 103, 104) + lanelet(203, 105, 106)
    both = drawn(text)
    check_lanes(both, set())
    assert set(both.ours.lanes["201"].successors) == {"202", "203"}
    ours, theirs = check_lengths(both)
    assert ours == pytest.approx(30 + 40 + 10 * math.pi, rel=1e-3)
    assert theirs == pytest.approx(ours, rel=1e-3)


# The shared map


@pytest.mark.skipif(not SHARED.is_file(), reason="the shared map mapping_example.osm is not here")
def test_the_mapping_example():
    both = Both(SHARED)
    assert len(both.parts) == 388
    # Its bounds, 25 and 126 m long, do not run side by side: a slip of who drew it. Nothing leads to it nor from it.
    check_lanes(both, {"9037740909199276460"})
    ours, theirs = check_lengths(both)
    assert ours == pytest.approx(theirs, rel=2e-3)
    stops = our_stops(both)
    assert theirs_stops(both) == stops
    assert len(stops) == 6 and sum(len(lanes) for _, lanes in stops.values()) == 10
    lights = [element for element in both.theirs.regulatoryElementLayer if isinstance(element, lanelet2.core.TrafficLight)]
    assert {str(element.id) for element in lights} == stops.keys()
