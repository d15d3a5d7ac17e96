"""The readable map: curves through knots, the file, and what is wrong with a map."""

import json
import math
import os
import re
from dataclasses import replace

import numpy as np
import pytest
from damage import damaged, survives
from hypothesis import given, settings
from hypothesis import strategies as st

from gigaflow_env.roads import Crosswalk, Lane, MapError, RoadMap, Signal, load, loading, save, shipped, summary, validate
from gigaflow_env.roads.centerline import fit, length, sample


def straight(x1: float, y1: float, x2: float, y2: float, width: float = 3.5) -> np.ndarray:
    heading = math.atan2(y2 - y1, x2 - x1)
    return np.array([[x1, y1, 0.0, heading, width], [x2, y2, 0.0, heading, width]])


def arc(radius: float, angle: float, rows: int) -> np.ndarray:
    """A left turn from the origin along x, (rows, 5)."""
    t = np.linspace(0.0, angle, rows)
    return np.column_stack([radius * np.sin(t), radius - radius * np.cos(t), 0 * t, t, 3.5 + 0 * t])


def ring(**changes: object) -> RoadMap:
    """Two lanes that lead into each other; b has a light."""
    lanes = {
        "a": Lane("a", straight(0, 0, 50, 0), successors=("b",)),
        "b": Lane("b", straight(50, 0, 0, 0), successors=("a",), signal="light"),
    }
    return replace(RoadMap("ring", lanes, {"light": Signal("light", "light", "J")}), **changes)  # type: ignore[arg-type]


def same(a: RoadMap, b: RoadMap) -> bool:
    plain = [
        replace(m, lanes={k: replace(lane, line=lane.line.tolist()) for k, lane in m.lanes.items()}, crosswalks={
            k: replace(c, outline=c.outline.tolist()) for k, c in m.crosswalks.items()
        })
        for m in (a, b)
    ]  # fmt: skip
    return plain[0] == plain[1] and list(a.lanes) == list(b.lanes)


# Curves


def test_a_straight_line_is_sampled_at_equal_distances():
    points = sample(straight(1, 2, 4, 6), 1.0)  # length 5
    assert points.shape == (6, 7)
    np.testing.assert_allclose(points[:, 0], [1, 1.6, 2.2, 2.8, 3.4, 4], atol=1e-12)
    np.testing.assert_allclose(points[:, 3], math.atan2(4, 3), atol=1e-12)
    np.testing.assert_allclose(points[:, 5], 0, atol=1e-12)
    np.testing.assert_allclose(points[:, 6], range(6), atol=1e-12)


@pytest.mark.parametrize(("spacing", "pieces"), [(1.0, 5), (2.0, 2), (2.1, 2), (100.0, 1), (0.25, 20)])
def test_the_number_of_pieces_is_the_rounded_ratio(spacing, pieces):
    assert len(sample(straight(0, 0, 5, 0), spacing)) == pieces + 1


def test_height_and_width_are_linear_between_knots():
    line = straight(0, 0, 10, 0)
    line[1, 2], line[1, 4] = 5.0, 4.5
    points = sample(line, 1.0)
    np.testing.assert_allclose(points[:, 2], np.linspace(0, 5, 11), atol=1e-12)
    np.testing.assert_allclose(points[:, 4], np.linspace(3.5, 4.5, 11), atol=1e-12)


def test_an_arc_keeps_its_radius_length_and_curvature():
    line = fit(arc(20.0, 1.5 * math.pi, 100))
    assert len(line) < 16
    assert length(line) == pytest.approx(30 * math.pi, rel=2e-4)
    points = sample(line, 1.0)
    np.testing.assert_allclose(np.hypot(points[:, 0], points[:, 1] - 20), 20, atol=0.01)
    np.testing.assert_allclose(points[1:-1, 5], 0.05, rtol=0.03)
    np.testing.assert_allclose(points[:, 3], points[:, 6] / 20, atol=3e-3)  # continuous beyond pi
    steps = np.hypot(*np.diff(points[:, :2], axis=0).T)
    assert np.ptp(steps) < 1e-4


def test_length_agrees_with_a_fine_polyline():
    line = arc(8.0, 1.2, 3)
    fine = sample(line, 0.001)
    assert length(line) == pytest.approx(np.hypot(*np.diff(fine[:, :2], axis=0).T).sum(), abs=1e-6)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(
    curvatures=st.lists(st.floats(-0.15, 0.15), min_size=1, max_size=4),
    narrowing=st.floats(-1.5, 1.5),
    turn=st.floats(-3.1, 3.1),
)
def test_fit_stays_within_the_tolerance(curvatures, narrowing, turn):
    s = np.linspace(0, 12.0 * len(curvatures), 24 * len(curvatures) + 1)
    curvature = np.interp(s, np.linspace(0, s[-1], len(curvatures)), curvatures)
    heading = turn + np.concatenate([[0], np.cumsum((curvature[1:] + curvature[:-1]) / 2 * np.diff(s))])
    middle = (heading[1:] + heading[:-1]) / 2
    step = s[1] * np.sinc(np.diff(heading) / 2 / np.pi)  # the chord of an arc
    x, y = (np.concatenate([[0], np.cumsum(f(middle) * step)]) for f in (np.cos, np.sin))
    dense = np.column_stack([x, y, np.sin(s / 10), heading, 3.5 + narrowing * (s / s[-1]) ** 2])
    line = fit(dense, 0.02)
    fine = sample(line, 0.02)
    gaps = np.linalg.norm(dense[:, None, [0, 1, 2]] - fine[None, :, :3], axis=2).min(axis=1)
    assert gaps.max() < 0.04  # 2 cm in the plane, 2 cm in height, and what the samples leave out
    assert np.array_equal(line[[0, -1]], dense[[0, -1]])
    assert len(line) < len(dense) / 2 or len(dense) < 30


def test_fit_finds_the_shape_of_a_closed_circle():
    points = sample(fit(arc(10.0, 2 * math.pi, 64)), 0.5)
    np.testing.assert_allclose(np.hypot(points[:, 0], points[:, 1] - 10), 10, atol=0.011)
    assert points[-1, 6] == pytest.approx(20 * math.pi, rel=1e-3)


@pytest.mark.parametrize("rounds", [2, 3, 6])
def test_fit_follows_a_line_that_returns_to_its_own_place(rounds):
    dense = arc(10.0, 2 * math.pi * rounds, 63 * rounds + 1)  # knots at whole rounds would lie in one place
    line = fit(dense)
    points = sample(line, 0.5)
    np.testing.assert_allclose(np.hypot(points[:, 0], points[:, 1] - 10), 10, atol=0.011)
    assert points[-1, 6] == pytest.approx(20 * math.pi * rounds, rel=1e-3)
    assert len(line) < 16 * rounds


def test_fit_follows_a_line_there_and_back():
    x = np.concatenate([np.linspace(0, 50, 101), np.linspace(50, 0, 101)[1:]])
    heading = np.where(np.arange(201) <= 100, 0.0, math.pi)
    dense = np.column_stack([x, 0 * x, 0 * x, heading, 3.5 + 0 * x])
    points = sample(fit(dense), 0.5)
    assert np.abs(points[:, 1]).max() < 0.011 and points[:, 0].max() == pytest.approx(50, abs=0.3)
    assert np.array_equal(points[[0, -1], 0], [0.0, 0.0])


def test_fit_keeps_only_the_ends_of_a_straight_line():
    x = np.linspace(0, 300, 301)
    assert len(fit(np.column_stack([x, 0 * x, 0.01 * x, 0 * x, 3.5 + 0 * x]))) == 2


def test_spacing_must_be_positive():
    with pytest.raises(ValueError, match=r"spacing=0\.0"):
        sample(straight(0, 0, 1, 0), 0.0)


# The file


def test_a_map_comes_back_as_it_was_written(tmp_path):
    lanes = {
        "südring.1": Lane(
            "südring.1", np.round(arc(30, 1.0, 4) * [100, 100, 100, 1e4, 100]) / [100, 100, 100, 1e4, 100],
            speed=11.176, left="b", right="c",
        ),
        "b": Lane("b", straight(0, 4, 30, 4), junction="J7", signal="s"),
        "c": Lane("c", straight(0, -4, 30, -4), successors=("b", "südring.1")),
        "p": Lane("p", straight(0, -8, 30, -8, 2.0), kind="parking", speed=2.5),
    }  # fmt: skip
    outline = np.array([[0, 0, 0.5], [2, 0, 0.5], [2.25, 3, 0.5], [0, 3, 0.5]])
    written = RoadMap(
        "test", lanes, {"s": Signal("s", "stop", "g")}, {"w": Crosswalk("w", outline)}, True, "hand", "MIT", "nobody"
    )
    save(written, tmp_path / "test.lanes.json")
    assert same(load(tmp_path / "test.lanes.json"), written)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(st.lists(st.floats(-1e4, 1e4), min_size=6, max_size=6), st.floats(-10, 10), st.floats(-0.0049, 0.0049))
def test_rounding_happens_once_and_opens_no_gap(tmp_path_factory, places, heading, gap):
    folder = tmp_path_factory.mktemp("maps")
    a, b, middle = np.array(places[:2]), np.array(places[2:4]), np.array(places[4:])
    if min(np.hypot(*(a - middle)), np.hypot(*(b - middle))) < 0.1:
        return
    first = np.array([[*a, 1.0, heading, 3.5], [*middle, 2.005, heading, 3.3333]])
    second = np.array([[*(middle + [0, gap]), 2.005, heading, 3.3333], [*b, 0.0, -heading, 1.0]])
    written = RoadMap("m", {"1": Lane("1", first, successors=("2",)), "2": Lane("2", second)})
    save(written, folder / "one.lanes.json")
    once = load(folder / "one.lanes.json")
    assert np.array_equal(once.lanes["1"].line[-1, :3], once.lanes["2"].line[0, :3])
    assert np.abs(once.lanes["1"].line - first).max() <= 0.0101
    save(once, folder / "two.lanes.json")
    assert (folder / "one.lanes.json").read_bytes() == (folder / "two.lanes.json").read_bytes()
    assert same(load(folder / "two.lanes.json"), once)


def test_ends_that_meet_in_a_chain_stay_together(tmp_path):
    lanes = {f"in{n}": Lane(f"in{n}", straight(0, 9 * n, 20, 0.004 * n), successors=("x", "y")) for n in range(2)}
    lanes |= {name: Lane(name, straight(20, 0.002, 40, y)) for name, y in (("x", 5.0), ("y", -5.0))}
    save(RoadMap("m", lanes), tmp_path / "m.lanes.json")
    read = load(tmp_path / "m.lanes.json")
    assert summary(read)["max_link_gap_m"] == 0.0


def test_the_file_has_a_head_and_one_lane_a_line(tmp_path):
    save(ring(), tmp_path / "ring.lanes.json")
    text = (tmp_path / "ring.lanes.json").read_text(encoding="utf-8")
    lines = text.splitlines()
    assert lines[1:4] == ['"format": "gigaflow-lanes",', '"version": 1,', '"name": "ring",']
    assert '"a": {"kind":"driving","line":[[0,0,0,0,350],[5000,0,0,0,350]],"speed":13.9,"successors":["b"]},' in lines
    assert sum(line.startswith(('"a"', '"b"')) for line in lines) == 2
    assert json.loads(text)["signals"] == {"light": {"group": "J", "kind": "light"}}


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "ring.lanes.json"
    save(ring(), path)
    before = path.read_bytes()

    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="disk full"):
        save(ring(name="other"), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_knots_that_round_to_one_point_become_one(tmp_path):
    # The close ones are 14 mm apart.
    knots = [(0, 0), (0.0149, 0.0049), (0.0051, -0.0049), (9.9951, 0.0049), (10.0049, -0.0049)]
    line = np.array([[x, y, 0, 0, 3.5] for x, y in knots])
    save(RoadMap("m", {"a": Lane("a", line)}), tmp_path / "m.lanes.json")
    assert load(tmp_path / "m.lanes.json").lanes["a"].line[:, 0].tolist() == [0.0, 0.01, 10.0]


def broken_file(change):
    def of(text: str) -> str:
        given = json.loads(text)
        change(given)
        return json.dumps(given)

    return of


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda text: text.replace('"version": 1,', '"version": 1'), r"not a readable map: .*line 4"),
        (lambda text: text.replace('"a": {', '"b": {', 1), r"'b' is given twice"),
        (lambda text: "[]", r"the head must say"),
        (broken_file(lambda m: m.update(format="other")), r"the head must say"),
        (broken_file(lambda m: m.update(version=2)), r"version 2 of gigaflow-lanes.*reads version 1"),
        (broken_file(lambda m: m.pop("licence")), r"head: 'licence' is missing"),
        (broken_file(lambda m: m.update(author="x")), r"head: unknown key 'author'"),
        (broken_file(lambda m: m["lanes"]["a"].update(colour="red")), r"lane 'a': unknown key 'colour'"),
        (broken_file(lambda m: m["lanes"]["a"].pop("speed")), r"lane 'a': 'speed' is missing"),
        (broken_file(lambda m: m["lanes"]["a"].update(speed="fast")), r"lane 'a': 'speed' is 'fast'"),
        (broken_file(lambda m: m["lanes"]["a"].update(successors=[1])), r"lane 'a': 'successors' are \[1\]"),
        (broken_file(lambda m: m["lanes"]["a"]["line"][1].append(3)), r"lane 'a': point 1 is .* 5 whole numbers"),
        (broken_file(lambda m: m["lanes"]["a"]["line"][0].__setitem__(0, 0.5)), r"lane 'a': point 0"),
        (broken_file(lambda m: m["lanes"].update(a=[])), r"lane 'a': expected an object"),
        (broken_file(lambda m: m["signals"]["light"].update(kind="siren")), r"signal 'light': kind 'siren'"),
        (broken_file(lambda m: m["lanes"]["a"].update(successors=["z"])), r"lane 'a': its successor 'z' does not exist"),
    ],
)
def test_a_bad_file_is_refused_with_place_and_reason(tmp_path, change, message):
    path = tmp_path / "ring.lanes.json"
    save(ring(), path)
    text = path.read_text(encoding="utf-8")
    changed = change(text)
    assert changed != text
    path.write_text(changed, encoding="utf-8")
    with pytest.raises(MapError, match=rf"ring\.lanes\.json: .*{message}"):
        load(path)


def test_other_formats_are_refused_with_those_that_are_known(tmp_path):
    (tmp_path / "town.pdf").write_bytes(b"%PDF")
    with pytest.raises(
        MapError, match=r"town\.pdf: unknown map format; supported are \*\.lanes\.json, \*\.scene\.npz, \*\.xodr"
    ):
        load(tmp_path / "town.pdf")
    with pytest.raises(MapError, match=r"town\.json: the name of a map must end with \.lanes\.json"):
        save(ring(), tmp_path / "town.json")
    with pytest.raises(FileNotFoundError, match=r"absent\.lanes\.json"):
        load(tmp_path / "absent.lanes.json")


@pytest.mark.parametrize("installed", [True, False])
def test_shipped_towns_are_found_in_a_wheel_and_in_a_checkout(tmp_path, monkeypatch, installed):
    folder = tmp_path / "gigaflow_env" / "maps" if installed else tmp_path / "maps"
    (tmp_path / "gigaflow_env" / "roads").mkdir(parents=True)
    monkeypatch.setattr(loading, "__file__", str(tmp_path / "gigaflow_env" / "roads" / "mapfiles.py"))
    assert shipped() == {}
    folder.mkdir()
    (folder / "README.md").write_text("no map")
    save(ring(), folder / "ring.lanes.json")
    assert shipped() == {"ring": folder / "ring.lanes.json"}


# What is wrong with a map


def with_lane(name: str, **changes: object) -> RoadMap:
    road_map = ring()
    return replace(road_map, lanes=road_map.lanes | {name: replace(road_map.lanes[name], **changes)})  # type: ignore[arg-type]


def with_knot(row: int, column: int, number: float) -> RoadMap:
    line = ring().lanes["a"].line.copy()
    line[row, column] = number
    return with_lane("a", line=line)


SHOULDER = Lane("s", straight(0, 5, 9, 5), kind="shoulder")


@pytest.mark.parametrize(
    ("road_map", "message"),
    [
        (RoadMap("empty", {}), r"map 'empty' has no driving lane"),
        (RoadMap("m", {"s": SHOULDER}), r"no driving lane"),
        (with_lane("a", id="z"), r"lane 'z' is filed under 'a'"),
        (with_lane("a", kind="canal"), r"lane 'a': kind 'canal' is not one of driving, shoulder"),
        (with_lane("a", speed=0.0), r"lane 'a': speed 0\.0"),
        (with_lane("a", speed=math.nan), r"lane 'a': speed nan"),
        (with_lane("a", signal="x"), r"lane 'a' obeys signal 'x', which does not exist"),
        (with_lane("a", successors=("x",)), r"lane 'a': its successor 'x' does not exist"),
        (with_lane("a", successors=("b", "b")), r"lane 'a' names a successor twice"),
        (with_lane("a", left="x"), r"lane 'a': its left 'x' does not exist"),
        (with_lane("a", right="x"), r"lane 'a': its right 'x' does not exist"),
        (with_lane("a", left="a"), r"lane 'a': left 'a' and right None must be two other lanes"),
        (with_lane("a", left="b", right="b"), r"lane 'a': left 'b' and right 'b' must be two other lanes"),
        (with_lane("a", line=np.zeros((1, 5))), r"lane 'a': the line has shape \(1, 5\)"),
        (with_lane("a", line=np.zeros((2, 4))), r"lane 'a': the line has shape \(2, 4\)"),
        (with_knot(1, 0, math.inf), r"lane 'a': knot 1 has a number that is not finite"),
        (with_knot(1, 0, 0.009), r"lane 'a': knots 0 and 1 are 0\.0090 m apart"),
        (with_knot(1, 4, 0.0), r"lane 'a': width 0\.0 m at knot 1"),
        (with_knot(0, 4, -1.0), r"lane 'a': width -1\.0 m at knot 0"),
        (ring(signals={"light": Signal("light", "siren")}), r"signal 'light': kind 'siren'"),
        (ring(signals={"light": Signal("x")}), r"signal 'x' is filed under 'light'"),
        (ring(crosswalks={"c": Crosswalk("c", np.zeros((2, 3)))}), r"crosswalk 'c': the outline"),
        (ring(crosswalks={"c": Crosswalk("x", np.zeros((3, 3)))}), r"crosswalk 'x' is filed under 'c'"),
    ],
)
def test_what_is_wrong_is_named(road_map, message):
    with pytest.raises(MapError, match=message):
        validate(road_map)


def test_only_driving_lanes_are_linked():
    road_map = with_lane("a", successors=("s",))
    with pytest.raises(MapError, match=r"lane 'a': its successor is 's', but 's' is a shoulder lane"):
        validate(replace(road_map, lanes=road_map.lanes | {"s": SHOULDER}))


def test_neighbours_agree_on_their_sides():
    lanes = {name: Lane(name, straight(0, y, 20, y)) for name, y in (("l", 4), ("m", 0), ("r", -4))}
    lanes["m"] = replace(lanes["m"], left="l")
    validate(RoadMap("one way", lanes))  # a change may be permitted in one direction only
    with pytest.raises(MapError, match=r"lane 'm' has 'l' on its left, but that has 'r' on its right"):
        validate(RoadMap("m", lanes | {"l": replace(lanes["l"], right="r")}))


def test_a_good_map_and_a_shoulder_that_begins_with_no_width_pass():
    line = straight(0, 5, 9, 5)
    line[0, 4] = 0.0
    road_map = ring()
    validate(replace(road_map, lanes=road_map.lanes | {"s": replace(SHOULDER, line=line)}))


def test_the_summary_counts_what_is_there():
    lanes = {
        "a": Lane("a", straight(0, 0, 100, 0), successors=("b",), left="c"),
        "b": Lane("b", straight(100, 0.03, 200, 0.03), successors=("a",), junction="J", signal="l"),
        "c": Lane("c", straight(0, 3.5, 100, 3.5), right="a", signal="y"),
        "dead end": Lane("dead end", straight(0, 90, 100, 90)),
        "s": SHOULDER,
    }
    signals = {"l": Signal("l"), "y": Signal("y", "yield")}
    found = summary(RoadMap("m", lanes, signals, {"w": Crosswalk("w", np.zeros((3, 3)))}, licence="MIT", source="hand"))
    assert found["lane_km"] == pytest.approx(0.4)
    counts = {
        "lanes": 4, "links": 2, "junctions": 1, "traffic_lights": 1, "stop_signs": 0, "yield_signs": 1, "stop_lines": 2,
        "crosswalks": 1,
    }  # fmt: skip
    assert {key: found[key] for key in counts} == counts
    assert found["max_link_gap_m"] == pytest.approx(math.hypot(200, 0.03))
    assert found["largest_component"] == 0.75  # a, b, and c by a lane change
    assert found["bounds"] == pytest.approx((0, -1.75, 200, 91.75))
    assert (found["name"], found["left_hand"], found["source"], found["licence"]) == ("m", False, "hand", "MIT")
    json.dumps(found)


def test_one_way_lane_changes_do_not_connect_strongly():
    lanes = {
        "a": Lane("a", straight(0, 0, 50, 0), left="b"),
        "b": Lane("b", straight(0, 4, 50, 4)),
    }
    assert summary(RoadMap("m", lanes))["largest_component"] == 0.5


def test_damaged_files_end_in_a_map_or_an_error(tmp_path):
    save(ring(), tmp_path / "whole.lanes.json")
    text = (tmp_path / "whole.lanes.json").read_text(encoding="utf-8")
    read = {what: survives(load, tmp_path / "a.lanes.json", what, data) for what, data in damaged(text, 4, 120)}
    assert read["gzip"] and read["zip"] and not any(read[what] for what in ("nothing", "utf-16"))
    assert sum(read.values()) > 10 and sum(not good for good in read.values()) > 100  # both happen


def test_a_line_of_200_000_knots_ends_in_time(tmp_path):
    save(ring(), tmp_path / "whole.lanes.json")
    text = (tmp_path / "whole.lanes.json").read_text(encoding="utf-8")
    first = re.search(r'"line":\[(\[[^]]*\])', text)
    many = text.replace(first[1], ",".join(f"[{10 * k},0,0,0,3500]" for k in range(200_000)), 1)
    survives(load, tmp_path / "a.lanes.json", "many knots", many.encode())
