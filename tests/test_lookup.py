"""The comparison of the lane look-up with Shapely in short, and that it would find what it looks for."""

import dataclasses
import json
import math
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from conftest import bend, bridge, crossing, motorway, ring, road_map, straight

from gigaflow_env.roads import RoadMap
from gigaflow_env.roads.compiled.compile import compile_roads

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import lookup


def tight() -> RoadMap:
    """Turns of 6 m radius one way and of 4 m the other, and a lane that crosses both on their level."""
    half = math.pi / 2
    return road_map(
        "tight",
        straight("in", -30, -6, 0, -6, successors=("left",)),
        bend("left", 0, 0, 6, -half, half, successors=("out",)),
        straight("out", 0, 6, -30, 6),
        straight("across", 2, -40, 2, 40),
        bend("other", 20, 0, 4, 0, 3 * half),
    )


def kink(radius: float) -> RoadMap:
    """Lanes of 3.5 m that turn by 118 degrees."""
    bent = bend("bend", 0, radius, radius, -math.pi / 2, 0.5)
    return road_map("kink", straight("in", -30, 0, 0, 0, successors=("bend",)), bent)


@pytest.mark.parametrize("made", [ring, crossing, motorway, bridge, tight, partial(kink, 2.0)])
def test_kernels_and_shapely_agree(made: Callable[[], RoadMap]) -> None:
    found = lookup.compare(made(), 4000, seed=3)
    assert found["wrong"] == 0 and found["folded"] == 0, found
    assert found["worst_mm"] < 1.0, found  # the borders of quads are straight, in tight bends, too
    assert 700 < found["inside"] < 3000


def test_the_levels_of_a_bridge_are_told_apart() -> None:
    made = bridge()
    roads = compile_roads(made, cache=False)
    z = np.array([0.0, 8.0]) - roads.origins[0, 2]
    points = lookup.Points(np.zeros(2), np.zeros(2), z, np.zeros(2))
    found = lookup.look_up(roads, points, np.random.default_rng(0))
    assert found.inside.all()
    assert [list(made.lanes)[k] for k in found.lane] == ["ground", "deck"]
    swapped = found._replace(lane=found.lane[::-1])
    differ, _ = lookup.differences(lookup.outlines(made, roads.origins[0]), points, swapped)
    assert np.isinf(differ).all()


def test_a_lane_that_is_not_looked_up_and_one_too_many_are_found() -> None:
    made = crossing()
    roads = compile_roads(made, cache=False)
    rng = np.random.default_rng(1)
    lanes = lookup.outlines(made, roads.origins[0])
    points = lookup.scatter(lanes, 4000, rng)

    empty = roads._replace(grid=roads.grid._replace(quads_at=np.zeros_like(roads.grid.quads_at)))
    differ, inside = lookup.differences(lanes, points, lookup.look_up(empty, points, rng))
    assert (differ > lookup.TOLERANCE).sum() > 0.8 * inside.sum()

    sections = roads.network.sections.copy()
    sections["half_width"] += 0.05
    wide = roads._replace(network=roads.network._replace(sections=sections))
    differ, _ = lookup.differences(lanes, points, lookup.look_up(wide, points, rng))
    assert 0.03 < differ.max() < 0.06 and (differ > lookup.TOLERANCE).sum() > 10


def test_the_result_is_written_and_the_exit_status_tells(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(lookup, "shipped", lambda: ["loop"])
    argv = ["--points", "3000", "--json", str(tmp_path / "lookup.json")]
    assert lookup.main(argv) == 0
    result = json.loads((tmp_path / "lookup.json").read_text(encoding="utf-8"))
    assert (result["points"], result["wrong"], list(result["maps"])) == (3000, 0, ["loop"])
    assert "0 of 3,000 points wrong, 0 of 0 in folds" in capsys.readouterr().out

    narrow = {key: dataclasses.replace(lane, line=lane.line - [0, 0, 0, 0, 0.2]) for key, lane in ring().lanes.items()}
    roads = compile_roads(dataclasses.replace(ring(), lanes=narrow), cache=False)
    monkeypatch.setattr(lookup, "find", lambda _: ring())
    monkeypatch.setattr(lookup, "compile_roads", lambda _: roads)
    assert lookup.main(argv[:2]) == 1


def test_lanes_that_fold_over_are_counted_apart() -> None:
    found = lookup.compare(kink(1.5), 20_000, seed=0)
    assert found["wrong"] == 0 and 50 < found["folded"] < 3000
