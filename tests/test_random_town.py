"""Random towns: one seed one town, within their sizes, plausible like the others. `make towns` checks 200."""

import re
from pathlib import Path

import numpy as np
import pytest
from plausibility import check_all, driving, sections

from gigaflow_env.roads import MapError, RoadMap, find, save
from gigaflow_env.roads.centerline import length
from gigaflow_env.roads.towns import random_town

SEEDS = range(5)


@pytest.fixture(scope="module")
def towns() -> dict[int, RoadMap]:
    return {seed: random_town.town(seed).town for seed in SEEDS}


def lane_km(town: RoadMap) -> float:
    return sum(length(lane.line) for lane in driving(town).values()) / 1000


@pytest.mark.parametrize("seed", SEEDS)
def test_random_towns_are_plausible(seed: int, towns: dict[int, RoadMap]) -> None:
    assert check_all(towns[seed]) == []
    low, high = random_town.STYLES[""].lane_km
    assert low <= lane_km(towns[seed]) <= high


@pytest.mark.parametrize(("style", "seed"), [("old", 0), ("old", 63), ("tight", 0), ("tight", 8), ("wide", 0), ("wide", 1)])
def test_towns_of_a_style_are_plausible(style: str, seed: int) -> None:
    town = find(f"random:{style}:{seed}")
    assert check_all(town, style) == []
    assert town.name == f"random:{style}:{seed}" and town.lanes.keys() != random_town.town(seed).town.lanes.keys()


def test_styles_are_what_they_are_called() -> None:
    def corners(town: RoadMap) -> float:
        return min(1 / np.abs(sections(lane).curvature).max() for lane in driving(town).values() if lane.junction)

    def lanes(town: RoadMap) -> int:
        return max(int(key.rpartition(".")[2]) for key, lane in driving(town).items() if lane.junction is None) + 1

    def faster(town: RoadMap) -> float:
        """How many times as fast as a car can turn (`lateral_max`, 4 m/s^2) the limit of a road is at worst."""
        roads = [lane for lane in driving(town).values() if lane.junction is None]
        return max(lane.speed * np.sqrt(np.abs(sections(lane).curvature).max() / 4.0) for lane in roads)

    assert corners(random_town.town(0, "old").town) < 5.0 < 5.4 < corners(random_town.town(0).town)
    assert lanes(random_town.town(0).town) == 2 < lanes(random_town.town(0, "wide").town)
    assert all(faster(random_town.town(0, style).town) < 1 for style in random_town.STYLES if style != "tight")
    assert faster(random_town.town(0, "tight").town) > 2
    with pytest.raises(ValueError, match="style='odd' is not one of '', 'old', 'tight', 'wide'"):
        random_town.town(0, "odd")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("random:odd:7", "there is no style 'odd' of random towns, only old, tight, wide, for example random:old:7"),
        ("random::7", "there is no style ''"),
        ("random:old:x", "a random town is named by a whole number"),
    ],
)
def test_names_of_styles(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find(name)


def test_a_seed_is_a_town(towns: dict[int, RoadMap], tmp_path: Path) -> None:
    files = []
    for k, town in enumerate((towns[3], random_town.town(3).town, towns[4])):
        path = tmp_path / f"{k}.lanes.json"
        save(town, path)
        files.append(path.read_bytes())
    assert files[0] == files[1] != files[2]
    assert towns[3].name == "random:3"


def test_they_have_something_of_everything(towns: dict[int, RoadMap]) -> None:
    kinds = {signal.kind for town in towns.values() for signal in town.signals.values()}
    assert kinds == {"light", "stop", "yield"}
    lanes = [key for town in towns.values() for key in driving(town)]
    for pattern in (r".*:in", r".*\.in\.0", r".*\.pocket\.1", r".*>.*\.1"):  # bulbs, roundabouts, pockets, second lanes
        assert any(re.fullmatch(pattern, key) for key in lanes), pattern
    assert any(town.crosswalks for town in towns.values())


def test_specs_of_the_wrong_size_are_drawn_again(towns: dict[int, RoadMap], monkeypatch: pytest.MonkeyPatch) -> None:
    def size(low: float, high: float) -> None:
        monkeypatch.setitem(random_town.STYLES, "", random_town.STYLES[""]._replace(lane_km=(low, high)))

    smallest = min(towns, key=lambda seed: lane_km(towns[seed]))
    least = lane_km(towns[smallest])
    size(least + 0.1, 40.0)
    again = random_town.town(smallest)
    assert again.rejected > 0 and lane_km(again.town) > least
    size(900.0, 901.0)
    monkeypatch.setattr(random_town, "TRIES", 2)
    with pytest.raises(MapError, match="seed=0: none of 2 specs made a town, the last for: "):
        random_town.town(0)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "7"])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(ValueError, match="a random town needs a whole number, at least 0"):
        random_town.town(seed)
