"""Links that an OpenDRIVE file leaves open: geometry says which lanes lead into each other, and the report says so."""

import math
import re
import warnings
from pathlib import Path

import pytest
from opendrive_files import crossing, cubic, geometry, lane, linked, road, section

from gigaflow_env.roads import MapWarning, RoadMap, load

TWO = lane(-1) + lane(-2)


@pytest.fixture
def read(tmp_path: Path):
    """Reads roads; what is left open is no fault: strict reading gives the same map."""

    def of(*parts: str) -> RoadMap:
        path = tmp_path / "test.xodr"
        path.write_text(f"<OpenDRIVE>{''.join(parts)}</OpenDRIVE>")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", MapWarning)
            road_map, strict = load(path), load(path, strict=True)
        assert links(road_map) == links(strict)
        return road_map

    return of


def links(road_map: RoadMap) -> list[tuple[str, str]]:
    return sorted((lane.id, other) for lane in road_map.lanes.values() for other in lane.successors)


def said(road_map: RoadMap) -> list[tuple[str, float | None]]:
    return [(entry.element, entry.amount) for entry in road_map.report if entry.kind == "link"]


def test_lanes_of_sections_that_follow_each_other(read):
    road_map = read(road(1, 50, lanes=section(0, TWO, lane(1)) + section(25, TWO, lane(1))))
    assert links(road_map) == [("1.0.-1", "1.1.-1"), ("1.0.-2", "1.1.-2"), ("1.1.1", "1.0.1")]
    assert said(road_map) == [("1.0 successor", 3.0)]
    assert road_map.report[0].place == pytest.approx((25.0, -5.25), abs=0.01)


def test_geometry_decides_where_a_lane_begins_beside_the_others(read):
    """A lane that begins on the inside: the ids of the others are one higher behind it."""
    offset = cubic("laneOffset", "s", 0, 0) + cubic("laneOffset", "s", 25, 3.5)
    road_map = read(road(1, 50, lanes=offset + section(0, TWO) + section(25, TWO + lane(-3))))
    assert links(road_map) == [("1.0.-1", "1.1.-2"), ("1.0.-2", "1.1.-3")]


def test_lanes_of_roads_that_name_each_other(read):
    one, other = linked("successor", 2), linked("predecessor", 1, "end")
    road_map = read(
        road(1, 50, lanes=section(0, TWO), link=one), road(2, 50, lanes=section(0, TWO), place=(50, 0, 0), link=other)
    )
    assert links(road_map) == [("1.0.-1", "2.0.-1"), ("1.0.-2", "2.0.-2")]
    assert said(road_map) == [("1.0 successor", 2.0)]


def test_lanes_of_roads_that_are_drawn_towards_each_other(read):
    """Both roads end there: lanes to the right of the one lead to lanes on the left of the other, and back."""
    both = section(0, lane(-1), lane(1))
    road_map = read(
        road(1, 50, lanes=both, link=linked("successor", 2, "end")),
        road(2, 50, lanes=both, place=(100, 0, math.pi), link=linked("successor", 1, "end")),
    )
    assert links(road_map) == [("1.0.-1", "2.0.1"), ("2.0.-1", "1.0.1")]


def test_connections_of_junctions_without_lane_links(read):
    text = "".join(crossing())
    whole = links(read(text))
    without = re.sub("<laneLink[^>]*/>", "", re.sub("<lane id=.*?</link>", lambda m: re.sub("<link>.*", "", m[0]), text))
    road_map = read(without)
    assert len(whole) == 4 and links(road_map) == whole
    assert len(said(road_map)) == 4


def test_roads_of_a_junction_that_do_not_name_each_other_either(tmp_path):
    """Which end of a road touches the junction is not clear then: a fault, and the nearer one is taken."""
    text = re.sub("<laneLink[^>]*/>", "", re.sub("<link>.*?</link>", "", "".join(crossing())))
    path = tmp_path / "test.xodr"
    path.write_text(f"<OpenDRIVE>{text}</OpenDRIVE>")
    with pytest.warns(MapWarning, match="it is not clear which end of road '1' touches"):
        found = links(load(path))
    assert found == [("1.0.-1", "3.0.-1"), ("1.0.-1", "4.0.1"), ("3.0.-1", "2.0.-1"), ("4.0.1", "5.0.-1")]


def test_ends_of_roads_without_any_link_that_meet(read):
    first, second = road(1, 50, lanes=section(0, TWO)), road(2, 50, lanes=section(0, TWO), place=(50, 0, 0))
    road_map = read(first, second)
    assert links(road_map) == [("1.0.-1", "2.0.-1"), ("1.0.-2", "2.0.-2")] and said(road_map) == [("1 to 2", 2.0)]
    apart = read(first, road(2, 50, lanes=section(0, TWO), place=(50.5, 0, 0)))
    assert links(apart) == [] and said(apart) == []  # two dead ends: nobody says that they belong together


def test_a_lane_with_a_link_says_that_the_others_end(read):
    lanes = section(0, lane(-1, "", (None, -1)) + lane(-2)) + section(25, lane(-1, "", (-1, None)) + lane(-2))
    road_map = read(road(1, 50, lanes=lanes))
    assert links(road_map) == [("1.0.-1", "1.1.-1")] and said(road_map) == []


def test_that_no_lane_goes_on_is_told_where_roads_name_each_other(read):
    road_map = read(
        road(1, 50, link=linked("successor", 2)), road(2, 50, place=(50, 30, 0), link=linked("predecessor", 1, "end"))
    )
    (entry,) = road_map.report
    assert links(road_map) == [] and entry.done.endswith("none meet: no links")


def told(tmp_path: Path, *parts: str) -> list[str]:
    path = tmp_path / "test.xodr"
    path.write_text(f"<OpenDRIVE>{''.join(parts)}</OpenDRIVE>")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MapWarning)
        return [f"{entry.element}: {entry.done}" for entry in load(path).report]


def test_a_link_to_a_lane_that_there_is_not_is_told(tmp_path):
    lanes = section(0, lane(-1, "", (None, -7))) + section(25, lane(-1))
    assert told(tmp_path, road(1, 50, lanes=lanes)) == ["1.0.-1 successor: there is no lane -7 of road 1 there: left out"]
    walk = section(0, lane(-1, "", (None, -2))) + section(25, lane(-1) + lane(-2, kind="sidewalk"))
    assert told(tmp_path, road(1, 50, lanes=walk)) == []  # there is one, not for cars


def test_a_link_to_a_lane_that_leads_against_it_is_told(tmp_path):
    text = "".join(crossing()).replace('contactPoint="start"><laneLink', 'contactPoint="end"><laneLink')
    found = told(tmp_path, text)
    assert "1.0.-1 successor: the end of road 3 is elsewhere: its start, which touches, taken" in found
    both = section(0, lane(-1, "", (None, 1)), lane(1))
    beyond = road(2, 50, place=(50, 0, 0), lanes=section(0, lane(-1), lane(1)))
    found = told(tmp_path, road(1, 50, lanes=both, link=linked("successor", 2)), beyond)
    assert "1.0.-1 successor: lane 1 of road 2 leads against it: left out" in found


def test_what_touches_nothing_that_is_there_is_told(tmp_path):
    first = road(1, 50, link=linked("successor", 8))
    assert told(tmp_path, first) == ["1.0 successor: <successor>: elementId='8': there is no such road: left out"]
    junction = '<junction id="9"><connection id="4" incomingRoad="1" connectingRoad="8" contactPoint="start"/></junction>'
    assert told(tmp_path, road(1, 50), junction) == [
        "junction 9, connection 4: <connection>: connectingRoad='8': there is no such road: left out"
    ]


def test_a_section_too_short_for_lanes_is_passed(read):
    lanes = section(0, TWO) + section(25, TWO) + section(25.000001, TWO)
    road_map = read(road(1, 50, lanes=lanes))
    assert links(road_map) == [("1.0.-1", "1.2.-1"), ("1.0.-2", "1.2.-2")]


def test_lanes_across_each_other_do_not_meet(read):
    """Roads that begin at one place in different directions, as at a junction that the file does not have."""
    turned = road(2, 50, geometry("<line/>", 0, 50, 0, math.pi / 2, 50), section(0, TWO))
    assert links(read(road(1, 50, lanes=section(0, TWO)), turned)) == []
