"""Files that people really have: what a car does not need is repaired or left out, and the import report says so.

Each case stands for a whole kind. `strict=True` refuses all that have a fault.
"""

import gzip
import io
import json
import warnings
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from opendrive_files import crossing
from small_maps import CORNERS, commonroad, crosswalk, sumo

from gigaflow_env.roads import Lane, MapError, MapWarning, RoadMap, cut, find, load, problems, save, summary
from gigaflow_env.roads.centerline import length, sample
from gigaflow_env.roads.compiled.compile import compile_roads
from gigaflow_env.roads.road_map import X, Y

LINE = '<planView><geometry s="0" x="{x}" y="{y}" hdg="0" length="{length}"><line/></geometry></planView>'


def width(a: float = 3.5, s: float = 0, b: float = 0) -> str:
    return f'<width sOffset="{s}" a="{a}" b="{b}" c="0" d="0"/>'


def lane(number: int, inside: str = "", kind: str = "driving", widths: str = "") -> str:
    return f'<lane id="{number}" type="{kind}">{inside}{widths or width()}</lane>'


def section(*lanes: str, s: float = 0, left: str = "", center: str = "") -> str:
    sides = f"<left>{left}</left>" if left else ""
    middle = f'<center><lane id="0" type="none">{center}</lane></center>'
    return f'<laneSection s="{s}">{sides}{middle}<right>{"".join(lanes)}</right></laneSection>'


def road(
    number: int, lanes: str = "", *, x: float = 0, y: float = 0, length: float = 50, junction: int = -1, link: str = "",
    plan: str = "", profile: str = "", offset: str = "", more: str = "",
) -> str:  # fmt: skip
    plan = plan or LINE.format(x=x, y=y, length=length)
    return (
        f'<road id="{number}" length="{length}" junction="{junction}"><link>{link}</link>{plan}{profile}'
        f"<lanes>{offset}{lanes or section(lane(-1))}</lanes>{more}</road>"
    )


def opendrive(*roads: str) -> str:
    return f'<?xml version="1.0"?>\n<OpenDRIVE><header revMajor="1" revMinor="6"/>\n{"".join(roads)}\n</OpenDRIVE>'


@pytest.fixture
def read(tmp_path):
    """Reads a text as a map file: strictly it must be refused, leniently it gives one warning where it has a report."""

    def of(text: str, name: str = "test.xodr", *, faulty: bool = True) -> RoadMap:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            road_map = load(path)
        assert [warning.category for warning in said] == [MapWarning] * bool(road_map.report)
        if faulty:
            assert road_map.report
            with pytest.raises(MapError, match=name.replace(".", r"\.")):
                load(path, strict=True)
        return road_map

    return of


def links(road_map: RoadMap) -> list[tuple[str, str]]:
    return [(lane.id, other) for lane in road_map.lanes.values() for other in lane.successors]


def driving(road_map: RoadMap) -> list[str]:
    return [lane.id for lane in road_map.lanes.values() if lane.kind == "driving"]


# OpenDRIVE


def test_a_link_to_a_road_outside_of_the_excerpt_is_left_out(read):
    link = '<successor elementType="road" elementId="2" contactPoint="start"/>'
    road_map = read(opendrive(road(1, section(lane(-1, '<link><successor id="-1"/></link>')), link=link)))
    assert links(road_map) == []
    (entry,) = road_map.report
    assert (entry.kind, entry.element, entry.line) == ("link", "1.0.-1 successor", 3)
    assert "elementId='2': there is no such road" in entry.done


def junction(contact: str) -> str:
    connection = (
        f'<connection id="0" incomingRoad="1" connectingRoad="2" {contact}><laneLink from="-1" to="-1"/></connection>'
    )
    return f'<junction id="9">{connection}</junction>'


def test_geometry_says_which_end_of_a_road_touches_a_junction(read):
    road_map = read(opendrive(road(1), road(2, x=50, junction=9), junction('contactPoint="start"')))
    assert links(road_map) == [("1.0.-1", "2.0.-1")]


def test_geometry_says_which_end_touches_without_contact_point(read):
    ahead = '<successor elementType="junction" elementId="9"/>'
    back = '<predecessor elementType="road" elementId="1" contactPoint="end"/>'
    road_map = read(opendrive(road(1, link=ahead), road(2, x=50, junction=9, link=back), junction("")))
    assert links(road_map) == [("1.0.-1", "2.0.-1")]


def chain(gap: float, aside: float) -> str:
    ahead = '<successor elementType="road" elementId="2" contactPoint="start"/>'
    back = '<predecessor elementType="road" elementId="1" contactPoint="end"/>'
    one = road(1, section(lane(-1, '<link><successor id="-1"/></link>')), link=ahead)
    return opendrive(one, road(2, section(lane(-1)), x=50 + gap, y=aside, link=back))


@pytest.mark.parametrize(("named", "right", "number"), [("end", "start", -1), ("start", "end", 1)])
def test_where_the_named_end_is_elsewhere_and_the_other_touches_that_one_is_taken(read, named, right, number):
    """Road 2 goes on behind road 1; drawn backwards it does so with its end, and its lane lies to the left of it."""
    ahead = f'<successor elementType="road" elementId="2" contactPoint="{named}"/>'
    lanes, backwards = section(left=lane(1)), LINE.format(x=100, y=0, length=50).replace('hdg="0"', 'hdg="3.14159265358979"')
    second = road(2, x=50) if number < 0 else road(2, lanes, plan=backwards)
    first = road(1, section(lane(-1, f'<link><successor id="{number}"/></link>')), link=ahead)
    road_map = read(opendrive(first, second))
    assert links(road_map) == [("1.0.-1", f"2.0.{number}")]
    (entry,) = road_map.report
    assert (entry.kind, entry.element) == ("link", "1.0.-1 successor")
    assert entry.done == f"the {named} of road 2 is elsewhere: its {right}, which touches, taken"


@pytest.mark.parametrize(
    ("right", "written", "said"),
    [
        ('type="driving"', 'type="Driving"', "type='Driving' is no lane type: 'driving' taken"),
        ('id="-1" type', 'id="-1.0" type', "id='-1.0' is written with a fraction: -1 taken"),
        ('<successor id="-1"/>', '<successor id="-1.0"/>', "id='-1.0' is written with a fraction: -1 taken"),
        ('a="3.5"', 'a="3,5"', "a='3,5' has a decimal comma: 3.5 taken"),
        ('length="50"', 'length="50,0"', "length='50,0' has a decimal comma: 50.0 taken"),
    ],
)
def test_what_is_written_otherwise_is_read_and_told(read, right, written, said):
    plain = chain(0.0, 0.0)
    assert right in plain
    road_map = read(plain.replace(right, written))
    assert links(road_map) == [("1.0.-1", "2.0.-1")]
    assert {entry.done.split(": ", 1)[1] for entry in road_map.report} == {said}
    assert length(road_map.lanes["1.0.-1"].line) == pytest.approx(50.0)


def test_what_is_no_number_in_any_spelling_stays_wrong(read):
    road_map = read(chain(0.0, 0.0).replace('<successor id="-1"/>', '<successor id="-1.5"/>'))
    assert "id='-1.5' is not a whole number: left out" in road_map.report[0].done
    with pytest.raises(MapError, match="1,234,5"):
        read(chain(0.0, 0.0).replace('length="50"', 'length="1,234,5"'))


@pytest.mark.parametrize(("gap", "aside"), [(0.0, 0.4), (2.0, 0.0), (3.4, 1.0)])
def test_gaps_up_to_a_lanes_width_between_facing_ends_are_bridged(read, gap, aside):
    road_map = read(chain(gap, aside))
    assert links(road_map) == [("1.0.-1", "2.0.-1")]
    (entry,) = road_map.report
    assert (entry.kind, entry.unit) == ("gap", "m")
    assert entry.amount == pytest.approx(np.hypot(gap, aside), abs=1e-3)
    assert summary(road_map)["max_link_gap_m"] < 1e-6


@pytest.mark.parametrize(("gap", "aside"), [(4.0, 0.0), (0.0, 3.0), (-8.0, 0.0)])
def test_links_lost_at_a_gap_are_told_with_its_size(read, gap, aside):
    road_map = read(chain(gap, aside))
    assert links(road_map) == []
    (entry,) = road_map.report
    assert (entry.kind, entry.amount) == ("link", pytest.approx(np.hypot(gap, aside), abs=1e-3))


def test_of_two_records_at_one_place_the_later_one_in_the_file_holds(read):
    records = ((0, -3.5, 0), (10.0000001, -3.5, 0), (10, -3.5, 0.1), (45, 0, 0))
    offset = "".join(f'<laneOffset s="{s}" a="{a}" b="{b}" c="0" d="0"/>' for s, a, b in records)
    road_map = read(opendrive(road(1, offset=offset)), faulty=False)
    points = sample(road_map.lanes["1.0.-1"].line, 0.1)
    assert np.interp(30, points[:, X], points[:, Y]) == pytest.approx(-3.25, abs=0.02)


def test_a_lane_without_width_in_the_middle_becomes_two(read):
    widths = width(3, 0, -0.2) + width(0, 15) + width(0, 30, 0.2)
    road_map = read(opendrive(road(1, section(lane(-1), lane(-2, widths=widths)))), faulty=False)
    assert driving(road_map) == ["1.0.-1", "1.0.-2", "1.0.-2.part2"]
    assert road_map.lanes["1.0.-2"].line[-1, X] == pytest.approx(14.5, abs=0.51)
    assert road_map.lanes["1.0.-2.part2"].line[0, X] == pytest.approx(30.5, abs=0.51)
    assert [entry.kind for entry in road_map.report] == ["width"]


@pytest.mark.parametrize(
    ("rules", "kind"),
    [
        ('<access sOffset="0" rule="deny" restriction="passengerCar"/>', "shoulder"),
        ('<access sOffset="0" restriction="passengerCar"/>', "shoulder"),
        ('<access sOffset="0" rule="allow" restriction="bus"/>', "shoulder"),
        ('<access sOffset="0" rule="allow"><restriction type="bus"/></access>', "shoulder"),
        ('<access sOffset="0" rule="allow" restriction="passengerCar"/>', "driving"),
        ('<access sOffset="0" rule="deny" restriction="truck"/>', "driving"),
        ('<access sOffset="30" rule="deny" restriction="passengerCar"/>', "driving"),
        ('<access sOffset="0" rule="allow" restriction="none"/>', "driving"),
        ('<access sOffset="0" rule="allow" restriction="passengerCar"/>', "driving"),
    ],
)
def test_lanes_closed_to_cars_belong_to_the_drivable_area_only(read, rules, kind):
    road_map = read(opendrive(road(1, section(lane(-1), lane(-2, rules)))), faulty=False)
    assert road_map.lanes["1.0.-2"].kind == kind
    assert [entry.kind for entry in road_map.report] == ["access"] * (kind == "shoulder")


@pytest.mark.parametrize("kind", ["bus", "taxi", "HOV"])
def test_lanes_of_a_reserved_type_are_closed_unless_they_say_more(read, kind):
    road_map = read(opendrive(road(1, section(lane(-1), lane(-2, kind=kind)))), faulty=False)
    assert road_map.lanes["1.0.-2"].kind == "shoulder"
    rule = '<access sOffset="0" rule="allow" restriction="passengerCar"/>'
    assert (
        read(opendrive(road(1, section(lane(-1), lane(-2, rule, kind=kind)))), faulty=False).lanes["1.0.-2"].kind
        == "driving"
    )


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("<road ", '<road rule="left" '),
        ('type="driving"', 'type="driving" direction="back"'),
        ('type="driving">', 'type="driving"><access sOffset="0" rule="perhaps" restriction="truck"/>'),
        ('type="driving">', 'type="driving"><access sOffset="0" rule="allow" restriction="ufo"/>'),
        ('junction="-1"', 'junction=""'),
        ("</OpenDRIVE>", '<controller id="c"><control signalId="7"/></controller></OpenDRIVE>'),
    ],
)
def test_words_that_there_are_not_are_told(read, before, after):
    whole, other = opendrive(road(1)), opendrive(road(1)).replace(before, after, 1)
    assert content(read(other)) == content(read(whole, faulty=False))


def content(road_map: RoadMap) -> list[tuple[object, ...]]:
    lanes = road_map.lanes.values()
    return [(lane.id, lane.kind, lane.speed, lane.junction, lane.line.tolist()) for lane in lanes]


def test_a_connecting_road_without_junction_is_known_by_its_connection(read):
    other = road(2, x=50, junction=9).replace('junction="9"', 'junction=""')
    assert read(opendrive(road(1), other, junction('contactPoint="start"'))).lanes["2.0.-1"].junction == "9"
    alone = read(opendrive(road(1, junction=9)), faulty=False)
    assert (alone.lanes["1.0.-1"].junction, [entry.kind for entry in alone.report]) == ("9", ["reference"])


@pytest.mark.parametrize(("given", "long"), [("", 50), ("x", 50), ("-1", 50), ("30", 30)])
def test_a_road_is_as_long_as_its_plan_view_where_it_does_not_say(read, given, long):
    """A road that says less than its plan view shows ends there, and that is told."""
    road_map = read(opendrive(road(1)).replace('id="1" length="50"', f'id="1" length="{given}"'))
    assert length(road_map.lanes["1.0.-1"].line) == pytest.approx(long)


@pytest.mark.parametrize("shape", ["", "<circle/>", '<arc curvature="x"/>'])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_only_the_sections_where_a_geometry_is_missing_are_left_out(read, shape, at):
    shapes = [shape if k == at else "<line/>" for k in range(3)]
    plan = "".join(
        f'<geometry s="{20 * k}" x="{20 * k}" y="0" hdg="0" length="20">{one}</geometry>' for k, one in enumerate(shapes)
    )
    sections = "".join(section(lane(-1), s=20 * k) for k in range(3))
    road_map = read(opendrive(road(1, sections, plan=f"<planView>{plan}</planView>", length=60)))
    assert driving(road_map) == [f"1.{k}.-1" for k in range(3) if k != at]


def test_a_lane_without_any_width_is_told(read):
    road_map = read(opendrive(road(1, section(lane(-1), '<lane id="-2" type="driving"/>'))))
    assert (driving(road_map), [entry.kind for entry in road_map.report]) == (["1.0.-1"], ["width"])


def test_a_jump_of_the_plan_view_is_an_error_with_place_and_size(read):
    pieces = ((0, 0), (25, 45))
    plan = "".join(f'<geometry s="{s}" x="{x}" y="0" hdg="0" length="25"><line/></geometry>' for s, x in pieces)
    jump = road(1, plan=f"<planView>{plan}</planView>")
    with pytest.raises(MapError, match=r"no driving lane; left out before: .*at \(45\.0, 0\.0\).*20\.00 m from the end"):
        read(opendrive(jump))
    road_map = read(opendrive(jump, road(2)))
    assert driving(road_map) == ["2.0.-1"]
    assert road_map.report[0].amount == pytest.approx(20)


def test_a_kink_of_the_plan_view_is_told(read):
    plan = '<geometry s="0" x="0" y="0" hdg="0" length="25"><line/></geometry>'
    plan += '<geometry s="25" x="25" y="0" hdg="1.5708" length="25"><line/></geometry>'
    road_map = read(opendrive(road(1, plan=f"<planView>{plan}</planView>"), road(2)))
    assert driving(road_map) == ["2.0.-1"]
    assert (road_map.report[0].unit, road_map.report[0].amount) == ("degrees", pytest.approx(90, abs=0.01))


def test_a_steep_ramp_is_told(read):
    profile = '<elevationProfile><elevation s="0" a="0" b="0.35" c="0" d="0"/></elevationProfile>'
    road_map = read(opendrive(road(1, profile=profile)), faulty=False)
    assert [(entry.kind, entry.amount) for entry in road_map.report] == [("grade", pytest.approx(35))]
    assert problems.counts(problems.problems(road_map))["steep"] == 1


def test_a_section_of_a_micrometre_with_a_mad_lane_does_not_matter(read):
    mad = '<width sOffset="0" a="3.5" b="0" c="-1.05e13" d="7.0e18"/>'
    tiny = section(lane(-1), lane(-2, kind="none", widths=mad), s=49.999999)
    road_map = read(opendrive(road(1, section(lane(-1)) + tiny)), faulty=False)
    assert driving(road_map) == ["1.0.-1"]


def test_a_section_behind_the_roads_end_is_left_out(read):
    road_map = read(opendrive(road(1, section(lane(-1)) + section(lane(-1), s=50.0005))), faulty=False)
    assert not road_map.report
    road_map = read(opendrive(road(1, section(lane(-1)) + section(lane(-1), s=51))))
    assert [entry.kind for entry in road_map.report] == ["section"]


def test_crosswalks_of_roadrunner_are_known_by_name(read):
    road_map = read(opendrive(road(1, more=crosswalk('type="-1" name="CContinentalCrosswalk"', CORNERS))), faulty=False)
    np.testing.assert_allclose(road_map.crosswalks["1.2"].outline[0], [5, -2, 0])
    other = opendrive(road(1, more=crosswalk('type="-1" name="Bench"', CORNERS)))
    assert not read(other, faulty=False).crosswalks


def test_a_crosswalk_of_two_corners_is_left_out(read):
    corners = '<cornerRoad s="20" t="-3" dz="0"/><cornerRoad s="20" t="0" dz="0"/>'
    road_map = read(opendrive(road(1, more=crosswalk('type="crosswalk"', corners))))
    assert (driving(road_map), road_map.crosswalks) == (["1.0.-1"], {})


def test_crosswalks_are_places_and_have_ids_of_their_own(read):
    flat = '<objects><object id="2" type="crosswalk" s="10" t="0" hdg="0" length="0" width="4"/></objects>'
    assert not read(opendrive(road(1, more=flat))).crosswalks
    twice = crosswalk('type="crosswalk"', CORNERS).replace("<objects>", "").replace("</objects>", "") * 2
    assert list(read(opendrive(road(1, more=f"<objects>{twice}</objects>"))).crosswalks) == ["1.2", "1.2/1"]


def test_a_virtual_junction_must_say_where_it_leads_off(read):
    link = '<predecessor elementType="road" elementId="1" elementS="25" elementDir="+"/>'
    branch = road(2, section(lane(-1, '<link><predecessor id="-1"/></link>')), x=25, junction=9, link=link)
    text = opendrive(road(1), branch, junction("").replace('id="9"', 'id="9" type="virtual"'))
    assert links(read(text, faulty=False)) == [("1.0.-1", "1.0/2.-1"), ("1.0.-1", "2.0.-1")]
    assert not links(read(text.replace(' elementS="25" elementDir="+"', "")))


def test_knots_that_fall_together_are_one(read):
    shape = (
        '<paramPoly3 aU="0" bU="29.12444364" cU="-21.30295746" dU="0" aV="0" bV="0" cV="-12.90816740" dV="0"'
        ' pRange="normalized"/>'
    )
    plan = (
        f'<planView><geometry s="0" x="17.7" y="1180.4" hdg="2.34007449" length="20.36468095">{shape}</geometry></planView>'
    )
    lanes = section(lane(-1, widths=width(3.2)), lane(-2, widths=width(3.2)))
    road_map = read(opendrive(road(1, lanes, plan=plan, length=20.36468095)))
    assert driving(road_map) == ["1.0.-1", "1.0.-2"]


TURN_LANE = opendrive(
    road(
        1,
        section(
            lane(-1, '<roadMark sOffset="0" type="solid" laneChange="none"/>'),
            left=lane(2) + lane(1, '<roadMark sOffset="0" type="solid broken" laneChange="increase"/>', "bidirectional"),
            center='<roadMark sOffset="0" type="broken solid" laneChange="decrease"/>',
        ),
        length=200,
    )
)


def test_a_middle_lane_for_turning_has_no_starts_and_counts_once(read):
    road_map = read(TURN_LANE, faulty=False)
    assert (road_map.lanes["1.0.1"].twin, road_map.lanes["1.0.1.back"].twin) == ("1.0.1.back", "1.0.1")
    assert summary(road_map)["lane_km"] == pytest.approx(0.6)
    roads = compile_roads(road_map, cache=False)
    names = driving(road_map)
    assert {names[k] for k in roads.network.sections["lane"][roads.network.starts]} == {"1.0.-1", "1.0.2"}


@pytest.mark.parametrize(
    ("unit", "speed"), [("km/h", 10 / 3.6), ("KPH", 10 / 3.6), ("kmh", 10 / 3.6), ("mph", 4.4704), ("m/s", 10.0)]
)
def test_units_are_read_in_their_spellings(read, unit, speed):
    more = f'<type s="0" type="town"><speed max="10" unit="{unit}"/></type>'
    assert read(opendrive(road(1, more=more)), faulty=False).lanes["1.0.-1"].speed == pytest.approx(speed)


def test_an_empty_limit_is_none_and_an_unknown_unit_is_told(read):
    empty = read(opendrive(road(1, more='<type s="0" type="town"><speed max="" unit="mph"/></type>')), faulty=False)
    assert (empty.lanes["1.0.-1"].speed, empty.report) == (13.9, ())
    knots = read(opendrive(road(1, more='<type s="0" type="town"><speed max="9" unit="kn"/></type>')))
    assert knots.lanes["1.0.-1"].speed == 13.9


@pytest.mark.parametrize(
    ("attributes", "forward", "back"),
    [
        ('type="274" value="30" unit="km/h" orientation="+"', 30 / 3.6, 20.0),
        ('type="274" subtype="53" orientation="+"', 30 / 3.6, 20.0),
        ('type="274" subtype="30" orientation="-"', 20.0, 30 / 3.6),
        ('type="R2-1" country="US" value="25" orientation="+"', 25 * 0.44704, 20.0),
        ('type="274" value="30" orientation="none"', 30 / 3.6, 30 / 3.6),
    ],
)
def test_limits_on_signs_count_more_than_those_of_road_types(read, attributes, forward, back):
    sign = f'<signals><signal id="7" s="25" t="0" dynamic="no" {attributes}/></signals>'
    lanes = read(opendrive(road(1, section(lane(-1), left=lane(1)), more=TOWN + sign)), faulty=False).lanes
    # The section is cut at the sign: behind it lies the second part for those along the road, the first one for others.
    assert (lanes["1.0/2.-1"].speed, lanes["1.0.1"].speed) == (pytest.approx(forward), pytest.approx(back))
    assert (lanes["1.0.-1"].speed, lanes["1.0/2.1"].speed) == (20.0, 20.0)


TOWN = '<type s="0" type="town"><speed max="20"/></type>'


def signs(*given: str) -> str:
    return (
        "<signals>"
        + "".join(f'<signal id="{k}" t="0" orientation="+" {one}/>' for k, one in enumerate(given))
        + "</signals>"
    )


@pytest.mark.parametrize(
    ("kind", "country", "speed"),
    [
        ("274.1", "DEU", 30 / 3.6), ("52.10a", "AT", 30 / 3.6), ("2.30", "CHE", 30 / 3.6), ("B14", "FR", 30 / 3.6),
        ("II.50", "ITA", 30 / 3.6), ("R-301", "ES", 30 / 3.6), ("A1", "NL", 30 / 3.6), ("C43", "BE", 30 / 3.6),
        ("B-33", "PL", 30 / 3.6), ("C31", "SE", 30 / 3.6), ("362", "NO", 30 / 3.6), ("C55", "DK", 30 / 3.6),
        ("670", "UK", 30 * 0.44704), ("r2-1", "usa", 30 * 0.44704), ("RB-1", "CA", 30 / 3.6), ("C,14", "", 30 / 3.6),
        ("A1", "SE", 20.0), ("362", "", 20.0), ("275", "DE", 20.0),
    ],
)  # fmt: skip
def test_limits_of_many_countries_are_known_by_their_catalogues(read, kind, country, speed):
    more = TOWN + signs(f's="0" type="{kind}" country="{country}" value="30"')
    assert read(opendrive(road(1, more=more)), faulty=False).lanes["1.0.-1"].speed == pytest.approx(speed)


def test_a_limit_ends_at_the_sign_that_says_so(read):
    more = TOWN + signs('s="0" type="274" value="30"', 's="60" type="278"')
    lanes = read(opendrive(road(1, length=100, more=more)), faulty=False).lanes
    assert (lanes["1.0.-1"].speed, lanes["1.0/2.-1"].speed) == (pytest.approx(30 / 3.6), 20.0)


@pytest.mark.parametrize(
    ("sign", "said", "faulty"),
    [
        ('s="0" type="274"', "a limit of value=None", True),
        ('s="0" type="274" value="fast"', "'fast' km/h is not a speed", True),
        ('s="0" type="274" value="30" orientation="x"', "orientation='x' is none of", True),
        ('s="0" type="maxspeed" value="30" unit="km/h"', "is no limit of a catalogue that is known", False),
        ('s="95" type="274" value="30"', "no lane of its direction goes on for long behind it", False),
    ],
)
def test_a_limit_that_holds_nowhere_is_told(read, sign, said, faulty):
    more = TOWN + signs(sign).replace(
        'orientation="+" s="0" type="274" value="30" orientation', 's="0" type="274" value="30" orientation'
    )
    road_map = read(opendrive(road(1, length=100, more=more)), faulty=faulty)
    assert [said in entry.done for entry in road_map.report] == [True]


def row_of_roads(sign: str, second: str = "", own: str = "") -> str:
    """Roads 1, 2 and 3, 100, 60 and 60 m long, one behind the other and all for both directions; signs on the first."""

    def lanes(more: str = "") -> str:
        link = '<link><predecessor id="{0}"/><successor id="{0}"/></link>'
        return section(lane(-1, link.format(-1) + more), left=lane(1, link.format(1)))

    def link(before: int, behind: int) -> str:
        given = (("predecessor", before, "end"), ("successor", behind, "start"))
        ends = (f'<{tag} elementType="road" elementId="{n}" contactPoint="{at}"/>' for tag, n, at in given if n)
        return "".join(ends)

    return opendrive(
        road(1, lanes(), length=100, link=link(0, 2), more=TOWN + signs(sign)),
        road(2, lanes(own), x=100, length=60, link=link(1, 3), more=TOWN + second),
        road(3, lanes(), x=160, length=60, link=link(2, 0), more=TOWN),
    )


def test_a_limit_at_the_end_of_a_road_holds_on_the_next_one(read):
    road_map = read(row_of_roads('s="95" type="274" value="30"'), faulty=False)
    speeds = {name: lane.speed for name, lane in road_map.lanes.items()}
    assert speeds.pop("2.0.-1") == pytest.approx(30 / 3.6)
    assert set(speeds.values()) == {20.0} and len(speeds) == 5
    (entry,) = road_map.report
    assert entry.done.startswith("a limit at 95.0 m of road 1: ") and entry.done.endswith(
        "holds on the next road, on 1 lanes"
    )


def test_a_limit_for_both_directions_at_the_end_of_a_road_holds_in_both(read):
    text = row_of_roads('s="95" type="274" value="30"').replace('orientation="+"', 'orientation="none"')
    lanes = read(text, faulty=False).lanes
    limited = {name for name, lane in lanes.items() if lane.speed == pytest.approx(30 / 3.6)}
    assert limited == {"2.0.-1", "1.0.1"}  # those who come back pass the sign first


def test_what_the_next_road_says_itself_counts_more(read):
    own = read(row_of_roads('s="95" type="274" value="30"', own='<speed sOffset="0" max="9"/>'), faulty=False)
    sign = read(row_of_roads('s="95" type="274" value="30"', second=signs('s="0" type="274" value="50"')), faulty=False)
    assert own.lanes["2.0.-1"].speed == 9.0 and sign.lanes["2.0.-1"].speed == pytest.approx(50 / 3.6)


def test_a_limit_before_a_fork_holds_nowhere(tmp_path):
    sign = signs('s="48" type="274" value="30" unit="km/h"')
    path = tmp_path / "fork.xodr"
    path.write_text(f"<OpenDRIVE>{''.join(crossing(first=sign))}</OpenDRIVE>")
    with pytest.warns(MapWarning, match="a limit at 48.0 m of road 1: .*: left out"):
        road_map = load(path)
    assert all(lane.speed != pytest.approx(30 / 3.6) for lane in road_map.lanes.values())


# SUMO


@pytest.mark.parametrize("index", [0, 1])
def test_lanes_of_sumo_are_known_by_their_id(read, index):
    road_map = read(sumo(index), "test.net.xml", faulty=False)
    assert (len(driving(road_map)), len(links(road_map)), road_map.report) == (6, 4, ())


def test_a_lane_without_width_is_left_out(read):
    parking = '<lane id="b_0" index="0" allow="emergency" speed="1.39" width="0.00" shape="20,-1.6 30,-1.6"/>'
    road_map = read(sumo(extra=parking, to=1), "test.net.xml")
    assert (len(driving(road_map)), len(links(road_map))) == (6, 4)
    assert [(entry.kind, entry.element) for entry in road_map.report] == [("lane", "b_0")]


def test_a_connection_that_leads_nowhere_is_left_out(read):
    road_map = read(sumo(more='<connection from="a" to="z" fromLane="0" toLane="0"/>'), "test.net.xml")
    assert len(links(road_map)) == 4
    assert "there is no lane 'z_0'" in road_map.report[0].done


def test_a_connection_whose_connector_is_not_there_gets_one(read):
    text = sumo().replace('via=":c_0_1"', 'via=":c_9_9"')
    road_map = read(text, "test.net.xml")
    assert ("a_1", "a_1->b_1") in links(road_map) and ("a_1->b_1", "b_1") in links(road_map)
    (entry,) = road_map.report
    assert "there is no lane ':c_9_9'" in entry.done and entry.place == pytest.approx((10.0, 3.2))


def test_lights_that_wait_for_trains_are_no_fault(read):
    """As netconvert writes level crossings: a `tl` without program; railway signals have programs without phases."""
    text = sumo(more='<tlLogic id="s" type="rail_signal" programID="0" offset="0"/><junction id="c" type="rail_crossing"/>')
    text = text.replace('via=":c_0_0"', 'via=":c_0_0" tl="c" linkIndex="0"')
    road_map = read(text, "test.net.xml", faulty=False)
    assert (len(links(road_map)), road_map.signals) == (4, {})
    assert ["wait for trains" in entry.done for entry in road_map.report] == [True]


@pytest.mark.parametrize("lanes", [1, 2])
def test_opposite_edges_on_one_line_are_one_surface(read, lanes):
    """Edges with `bidi`: lanes of both directions, where one begins the other one ends."""

    def edge(name: str, other: str, ends: tuple[int, int], order: int) -> str:
        places = [3.2 * (k if order > 0 else lanes - 1 - k) for k in range(lanes)]
        shapes = [f"{ends[0]},{y} {ends[1]},{y}" for y in places]
        text = "".join(f'<lane id="{name}_{k}" index="{k}" speed="8" shape="{shape}"/>' for k, shape in enumerate(shapes))
        return f'<edge id="{name}" from="x" to="y" bidi="{other}">{text}</edge>'

    text = f'<net version="1.20">{edge("A", "-A", (0, 100), 1)}{edge("-A", "A", (100, 0), -1)}</net>'
    road_map = read(text, "test.net.xml", faulty=False)
    twins = {lane.id: lane.twin for lane in road_map.lanes.values()}
    assert twins == {
        f"{one}_{k}": f"{other}_{lanes - 1 - k}" for one, other in (("A", "-A"), ("-A", "A")) for k in range(lanes)
    }
    assert summary(road_map)["lane_km"] == pytest.approx(0.1 * lanes)
    other = read(text.replace(' bidi="A"', ""), "test.net.xml", faulty=False)
    assert {lane.twin for lane in other.lanes.values()} == {None}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('<net version="1.20"', '<net version="1.20" lefthand="perhaps"'),
        ('<lane id="a_0"', '<lane disallow="ufo" id="a_0"'),
        ('<lane id="a_0"', '<lane changeLeft="ufo all" id="a_0"'),
        ('state="M"', 'state="Q"'),
        ('<edge id="a"', '<edge function="ufo" id="a"'),
        ("</net>", '<tlLogic id="c" programID="0" offset="0" type="static"/></net>'),
        (
            "</net>",
            '<tlLogic id="c" programID="0" offset="0" type="static"><phase duration="9" state="Gx"/></tlLogic></net>',
        ),
    ],
)
def test_words_that_sumo_does_not_have_are_told(read, before, after):
    whole, other = sumo(), sumo().replace(before, after, 1)
    assert content(read(other, "test.net.xml")) == content(read(whole, "test.net.xml", faulty=False))


# CommonRoad


@pytest.mark.parametrize(
    ("users", "kinds", "faulty"),
    [
        ("<userOneWay>car</userOneWay>", ["driving"], False),
        ("<userOneWay>bus</userOneWay><userOneWay>bicycle</userOneWay>", ["shoulder"], False),
        ("<userOneWay>truck</userOneWay><userOneWay>car</userOneWay>", ["driving"], False),
        ("<laneletType>busLane</laneletType>", ["shoulder"], False),
        ("<laneletType>busLane</laneletType><userOneWay>taxi</userOneWay>", ["shoulder"], False),
        ("<laneletType>busLane</laneletType><userOneWay>vehicle</userOneWay>", ["driving"], False),
        ("<userBidirectional>bicycle</userBidirectional>", ["biking"], False),
        ("<userOneWay>pedestrian</userOneWay>", [], False),
        ("<userOneWay>ufo</userOneWay>", ["driving"], True),
        ("<laneletType>ufo</laneletType>", ["driving"], True),
    ],
)
def test_users_say_what_a_lanelet_is(read, users, kinds, faulty):
    text = commonroad()
    one = text[text.index("<lanelet ") : text.index("<trafficSign ")]
    other = one.replace('id="1"', 'id="2"').replace("</laneletType>", f"</laneletType>{users}")
    road_map = read(text.replace(one, one + other), "test.xml", faulty=faulty)
    assert [lane.kind for lane in road_map.lanes.values()] == ["driving", *kinds]
    closed = any("closed to cars: drivable area only" in entry.done for entry in road_map.report)
    assert closed == (kinds == ["shoulder"])


@pytest.mark.parametrize(("limit", "speed"), [("10", 10.0), ("50kmh", 13.89), ("50 km/h", 13.89), ("30mph", 13.41)])
def test_limits_may_have_a_unit(read, limit, speed):
    road_map = read(commonroad(limit), "test.xml", faulty=False)
    assert road_map.lanes["1"].speed == pytest.approx(speed, abs=0.005)
    assert not road_map.report


def test_a_missing_traffic_sign_is_told(read):
    road_map = read(commonroad(ref="8"), "test.xml")
    assert road_map.lanes["1"].speed == 13.9
    assert "ref='8': there is no such traffic sign" in road_map.report[0].done


# GPUDrive


def test_a_scene_needs_no_objects_and_no_ids_to_be_a_map(read):
    def line(y: float) -> list[dict[str, float]]:
        return [{"x": x, "y": y} for x in range(0, 60, 2)]

    roads = [{"type": "lane", "geometry": line(1.75)}, {"type": "road_edge", "geometry": line(0.0)}]
    road_map = read(json.dumps({"name": "hand", "objects": [], "roads": roads}), "test.json", faulty=False)
    assert (driving(road_map), road_map.report) == (["0"], ())


# Files


@pytest.mark.parametrize("name", ["test.XODR", "test.xml", "test.json", "map"])
def test_the_content_says_the_format(read, name):
    assert driving(read(opendrive(road(1)), name, faulty=False)) == ["1.0.-1"]


@pytest.mark.parametrize("name", ["map", "map.txt", "map.xodr"])
def test_the_content_of_other_formats_says_it_too(read, tmp_path, name):
    """A recorded scene, an own map and an own scene; what `load` makes of the rest is in the tests of their formats."""
    points = [{"x": float(x), "y": 1.75, "z": 0.0} for x in range(0, 60, 2)]
    scene = json.dumps({"name": "hand", "objects": [], "roads": [{"type": "lane", "geometry": points}]})
    assert len(read(scene, name, faulty=False).lanes) == 1
    road_map = read(opendrive(road(1)), faulty=False)
    save(road_map, tmp_path / "own.lanes.json")
    (tmp_path / "own.lanes.json").rename(tmp_path / name)
    assert driving(load(tmp_path / name)) == ["1.0.-1"]


def test_a_map_of_others_may_have_the_name_of_an_own_one(read):
    points = [{"x": float(x), "y": 1.75, "z": 0.0} for x in range(0, 60, 2)]
    scene = json.dumps({"name": "hand", "objects": [], "roads": [{"type": "lane", "geometry": points}]})
    assert len(read(scene, "test.lanes.json", faulty=False).lanes) == 1


def test_a_bank_in_another_unit_is_flat(read):
    profile = '<lateralProfile><superelevation s="0" a="{}" b="0" c="0" d="0"/></lateralProfile>'
    road_map = read(opendrive(road(1, profile=profile.format(5.0))))  # degrees, for example
    assert (road_map.lanes["1.0.-1"].line[0, 2], road_map.report[0].amount) == (0.0, 5.0)
    assert read(opendrive(road(1, profile=profile.format(0.8))), faulty=False).lanes["1.0.-1"].line[0, 2] < -1.0


def test_of_several_outlines_of_a_crosswalk_the_first_counts(read):
    first = f"<outline>{CORNERS}</outline>"
    other = '<outline><cornerLocal u="50" v="50" z="0"/></outline>'
    text = '<objects><object id="2" type="crosswalk" s="10" t="0" hdg="0"><outlines>{}</outlines></object></objects>'
    (crossed,) = read(opendrive(road(1, more=text.format(first + other))), faulty=False).crosswalks.values()
    assert len(crossed.outline) == 4 and crossed.outline[:, 0].max() == pytest.approx(15.0)


def test_an_id_of_the_other_side_is_told(read):
    """So writes SUMO's netconvert for left-hand traffic; ids count, for by them lanes meet."""
    text = opendrive(road(1, section(lane(-2), left=lane(1)).replace('<lane id="1"', '<lane id="-1"')))
    road_map = read(text)
    assert driving(road_map) == ["1.0.-1", "1.0.-2"]
    assert road_map.report[0].done.endswith("stands in <left>, where ids have the other sign: it lies where its id says")


def zipped(**files: str) -> bytes:
    """An archive; a double underscore in a name stands for a point."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w") as archive:
        for name, text in files.items():
            archive.writestr(name.replace("__", "."), text)
    return data.getvalue()


def test_packed_files_are_read(tmp_path):
    (tmp_path / "a.net.xml.gz").write_bytes(gzip.compress(sumo().encode()))
    assert len(load(tmp_path / "a.net.xml.gz").lanes) == 6
    town = opendrive(road(1))
    others = {"readme__txt": "about", "meta__json": "{}", "style__xml": "<style/>"}
    (tmp_path / "a.zip").write_bytes(zipped(town__xodr=town, __town__xodr="x", **others))
    assert load(tmp_path / "a.zip").name == "town"
    (tmp_path / "b.zip").write_bytes(zipped(one__xodr=town, two__xodr=town))
    with pytest.raises(MapError, match=r"b\.zip: the archive holds 2 map files: there must be one"):
        load(tmp_path / "b.zip")


def test_archives_in_archives_are_unpacked_a_few_times(tmp_path):
    data = opendrive(road(1)).encode()
    for layers in range(1, 5):
        data = gzip.compress(data)
        (tmp_path / "town.xodr.gz").write_bytes(data)
        if layers <= 3:
            assert driving(load(tmp_path / "town.xodr.gz")) == ["1.0.-1"]
    with pytest.raises(MapError, match="archives in archives: at most 3 are unpacked"):
        load(tmp_path / "town.xodr.gz")


# Parts of maps, and what to look at


def test_a_part_of_a_map_ends_where_it_is_cut(read, tmp_path):
    whole = read(chain(0.0, 0.0), faulty=False)
    part = cut(whole, (50, 0), 20)
    assert links(part) == [("1.0.-1", "2.0.-1")]
    assert [length(lane.line) for lane in part.lanes.values()] == [pytest.approx(20, abs=0.51)] * 2
    assert load(tmp_path / "test.xodr", around=(50, 0), radius=20).lanes.keys() == part.lanes.keys()
    with pytest.raises(MapError, match=r"no driving lane within 5 m of \(500, 0\)"):
        cut(whole, (500, 0), 5)
    with pytest.raises(ValueError, match="needs both"):
        load(tmp_path / "test.xodr", radius=5)


def test_lanes_side_by_side_are_cut_at_one_place_and_stay_neighbours(read):
    """Three lanes and one for both directions, at whose ends a circle cuts each elsewhere."""
    mark = '<roadMark sOffset="0" type="broken"/>'
    three = lane(-1, mark) + lane(-2, mark) + lane(-3)
    lanes = section(three, left=lane(1, '<roadMark sOffset="0" type="solid"/>', "bidirectional"))
    whole = read(opendrive(road(1, lanes, length=200)), faulty=False)
    part = cut(whole, (100, 0), 30)
    assert part.lanes.keys() == whole.lanes.keys()
    for name, found in part.lanes.items():
        given = whole.lanes[name]
        assert (found.left, found.right, found.twin) == (given.left, given.right, given.twin)
        assert sorted(found.line[[0, -1], X]) == pytest.approx([70, 130], abs=0.6)
    assert summary(part)["lane_km"] == pytest.approx(4 * 0.06, abs=0.006)
    starts = compile_roads(part, cache=False).network
    assert {driving(part)[k] for k in starts.sections["lane"][starts.starts]} == {"1.0.-1", "1.0.-2", "1.0.-3"}


def test_a_lane_that_leaves_and_comes_back_becomes_two(read):
    whole = read(opendrive(road(1, length=100)), faulty=False)
    bow = np.array([[0, 0, 0, 0, 3.5], [30, 0, 0, 0, 3.5], [30, 40, 0, np.pi, 3.5], [0, 40, 0, np.pi, 3.5]])
    road_map = replace(whole, lanes={"1.0.-1": replace(whole.lanes["1.0.-1"], line=bow)})
    assert list(cut(road_map, (0, 20), 25).lanes) == ["1.0.-1", "1.0.-1.part2"]


@pytest.mark.parametrize(("marks", "ends"), [("broken", []), ("solid", ["2"])])
def test_a_road_of_two_lanes_may_end_as_a_lane_may(read, marks, ends):
    """Both lanes of a road end, though one may change between them; one that ends beside one that goes on is no dead end."""
    mark = f'<roadMark sOffset="0" type="{marks}"/>'
    whole = read(opendrive(road(1, section(lane(-1, mark), lane(-2)))), faulty=False)
    kinds = [(problem.kind, problem.lane) for problem in problems.problems(whole)]
    names = ["1.0.-1", "1.0.-2"]
    assert kinds == [("dead end", name) for name in names] + [("unreachable", name) for name in names]
    on = lane(-1, f'<link><successor id="-1"/></link>{mark}')
    drop = read(opendrive(road(1, section(on, lane(-2)) + section(lane(-1), s=25))), faulty=False)
    found = [problem.lane for problem in problems.problems(drop) if problem.kind == "dead end"]
    assert found == [f"1.0.-{k}" for k in ends] + ["1.1.-1"]


def test_lanes_that_one_never_leaves_are_a_trap():
    """A ring of three lanes, off which one leads into a ring of two."""

    def one(name: str, *successors: str) -> Lane:
        k = ord(name)
        return Lane(name, np.array([[k, 0, 0, 0, 3.0], [k + 1, 0, 0, 0, 3.0]], float), successors=successors)

    lanes = one("a", "b"), one("b", "c", "d"), one("c", "a"), one("d", "e"), one("e", "f"), one("f", "e")
    found = problems.problems(RoadMap("rings", {lane.id: lane for lane in lanes}))
    assert [(problem.kind, problem.lane in "ef", problem.amount) for problem in found] == [("trap", True, 2)]


def test_problems_are_named_with_their_places(read):
    found = problems.problems(read(chain(0.0, 0.0), faulty=False))
    assert [(problem.kind, problem.lane) for problem in found] == [("dead end", "2.0.-1"), ("unreachable", "1.0.-1")]
    assert found[0].place == pytest.approx((100, -1.75))
    assert not problems.counts(problems.problems(find("loop")))["dead end"]
    plan = '<planView><geometry s="0" x="0" y="0" hdg="0" length="10"><arc curvature="0.3"/></geometry></planView>'
    tight = problems.problems(read(opendrive(road(1, plan=plan, length=10)), faulty=False))
    assert [(problem.kind, problem.amount) for problem in tight][-1] == ("tight", pytest.approx(1 / 0.3 + 1.75, abs=0.1))
