"""Random towns: one seed one town, within their sizes, plausible like the others. `make towns` checks 200."""

import re
from pathlib import Path

import pytest
from plausibility import CHECKS, driving

from gigaflow_env.roads import MapError, RoadMap, save
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
    for check in CHECKS:
        check(towns[seed])
    low, high = random_town.LANE_KM
    assert low <= lane_km(towns[seed]) <= high


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
    smallest = min(towns, key=lambda seed: lane_km(towns[seed]))
    least = lane_km(towns[smallest])
    monkeypatch.setattr(random_town, "LANE_KM", (least + 0.1, 40.0))
    again = random_town.town(smallest)
    assert again.rejected > 0 and lane_km(again.town) > least
    monkeypatch.setattr(random_town, "LANE_KM", (900.0, 901.0))
    monkeypatch.setattr(random_town, "TRIES", 2)
    with pytest.raises(MapError, match="seed=0: none of 2 specs made a town, the last for: "):
        random_town.town(0)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "7"])
def test_a_seed_is_a_whole_number(seed: object) -> None:
    with pytest.raises(ValueError, match="a random town needs a whole number, at least 0"):
        random_town.town(seed)
