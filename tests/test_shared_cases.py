"""Every small case of ../shared/cases/maps with its right value; each kind has a test with a file of its own elsewhere."""

import warnings
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from gigaflow_env.roads import MapError, MapWarning, RoadMap, load
from gigaflow_env.roads.compiled.compile import capacity, compile_roads

CASES = Path(__file__).resolve().parents[2] / "shared" / "cases" / "maps"
pytestmark = pytest.mark.skipif(not CASES.is_dir(), reason="the cases lie beside the checkout, in ../shared/cases/maps")

RIGHT = {
    "cr_control.xml": (1, 0, 0, {}),
    "cr_sign_reference_missing.xml": (1, 0, 0, {"reference": 1}),
    "cr_speed_with_unit.xml": (1, 0, 0, {}),
    "crosswalk_name.xodr": (1, 0, 1, {}),
    "gpudrive_control.json": (1, 0, 0, {}),
    "knots.xodr": (2, 0, 0, {"geometry": 1}),
    "odr_access_denied.xodr": (1, 0, 0, {"access": 1}),
    "odr_crosswalk_of_two_corners.xodr": (1, 0, 0, {"crosswalk": 1}),
    "odr_excerpt_successor_missing.xodr": (1, 0, 0, {"link": 1}),
    "odr_incoming_road_without_link.xodr": (2, 1, 0, {"reference": 1}),
    "odr_lane_offsets_nearly_together.xodr": (1, 0, 0, {}),
    "odr_links_lost_silently.xodr": (2, 1, 0, {"gap": 1}),
    "odr_no_contact_point.xodr": (2, 1, 0, {"reference": 1}),
    "odr_steep_ramp.xodr": (1, 0, 0, {"grade": 1}),
    "odr_width_zero_in_the_middle.xodr": (3, 0, 0, {"width": 1}),
    "pufferdrive_map_without_objects.json": (1, 0, 0, {}),
    "room0.xodr": (1, 0, 0, {}),
    "sumo_control.net.xml": (6, 4, 0, {}),
    "sumo_internal_index_twice.net.xml": (6, 4, 0, {}),
    "sumo_zero_width_parking.net.xml": (6, 4, 0, {"lane": 1}),
    "turnlane.xodr": (4, 0, 0, {}),
    "width_1e13.xodr": (1, 0, 0, {}),
}
"""Driving lanes, links, crosswalks, and entries of the report by kind."""
REFUSED = "odr_plan_view_jumps.xodr"


def read(name: str) -> RoadMap:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MapWarning)
        return load(CASES / name)


def test_no_case_is_left_out():
    assert {path.name for path in CASES.iterdir()} == {*RIGHT, REFUSED}


@pytest.mark.parametrize("name", RIGHT)
def test_a_case_is_read_as_it_should_be_and_compiles(name):
    road_map = read(name)
    lanes = road_map.lanes.values()
    links = sum(len(lane.successors) for lane in lanes)
    found = sum(lane.kind == "driving" for lane in lanes), links, len(road_map.crosswalks)
    assert (*found, dict(Counter(entry.kind for entry in road_map.report))) == RIGHT[name]
    assert len(compile_roads(road_map, cache=False).network.lanes) == found[0]


def test_their_numbers():
    (fast,) = read("cr_speed_with_unit.xml").lanes.values()
    assert fast.speed == pytest.approx(50 / 3.6)
    (later,) = read("odr_lane_offsets_nearly_together.xodr").lanes.values()
    assert np.interp(30.0, later.line[:, 0], later.line[:, 1]) == pytest.approx(-3.25, abs=0.02)
    (gap,) = read("odr_links_lost_silently.xodr").report
    assert gap.amount == pytest.approx(0.4, abs=0.01) and gap.unit == "m"
    assert capacity(compile_roads(read("room0.xodr"), cache=False), 0) >= 1
    with pytest.raises(MapError, match=r"geometry .*at \(45\.0, "):
        read(REFUSED)


def test_lanes_for_both_directions_count_once_and_have_no_starts():
    road_map = read("turnlane.xodr")
    twins = [lane.twin is not None for lane in road_map.lanes.values()]
    roads = compile_roads(road_map, cache=False)
    assert sum(twins) == 2
    started = set(roads.network.sections["lane"][roads.network.starts].tolist())
    assert not started & set(np.flatnonzero(twins).tolist())
