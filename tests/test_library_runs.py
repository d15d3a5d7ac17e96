"""The runner of `make test-libraries`: what it tries, and when it fails."""

import json
import re
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

import libraries
import library_steps

ROOT = libraries.ROOT
GOOD = (
    "299008 steps in 67 s; before: 0.1 goals and 74.8 crashes in 1,000 steps; "
    "after: 27.9 goals and 27.9 crashes in 1,000 steps"
)


def test_every_list_names_the_same_libraries():
    names = set(libraries.LIBRARIES)
    assert {path.stem for path in libraries.FILES.glob("*.txt") if ".no-deps" not in path.name} == names
    assert set(library_steps.PAIRS) == names
    workflow = (ROOT / ".github" / "workflows" / "libraries.yml").read_text(encoding="utf-8")
    assert set(re.search(r"library: \[(.*)\]", workflow)[1].split(", ")) == names
    for library in libraries.LIBRARIES.values():
        assert (ROOT / "examples" / library.example).exists()


def test_what_an_environment_installs_is_pinned():
    """The library, and torch, of which a free choice takes several GB of CUDA packages along."""
    for name, library in libraries.LIBRARIES.items():
        text = "".join(path.read_text(encoding="utf-8") for path in libraries.FILES.glob(f"{name}.*txt"))
        pinned = re.search(rf"^{re.escape(library.package)}(\[\w+\])?==", text, re.MULTILINE)
        assert pinned or not library.package, name
        assert "gymnasium==" in text and ("torch==2.13.0" in text or name == "pettingzoo")


def test_a_last_line_that_is_learning():
    found = libraries.learning(f"noise\n{GOOD}\n")
    assert (found["steps"], found["seconds"]) == (299008, 67.0)
    assert found["before"] == {"goals": 0.1, "crashes": 74.8} and found["after"] == {"goals": 27.9, "crashes": 27.9}


@pytest.mark.parametrize(
    ("printed", "message"),
    [
        ("", "says nothing of before and after"),
        (f"{GOOD}\nbye", "says nothing of before and after"),
        (GOOD.replace("after: 27.9 goals", "after: 7.9 goals"), "that is no learning"),
        (GOOD.replace("and 27.9 crashes", "and 67.9 crashes"), "that is no learning"),
    ],
)
def test_what_is_none(printed, message):
    with pytest.raises(SystemExit, match=message):
        libraries.learning(printed)


def test_a_result_replaces_the_old_one_in_its_place(tmp_path):
    path = tmp_path / "results.jsonl"
    for name, value in (("skrl", 1), ("cleanrl", 2), ("skrl", 3)):
        libraries.keep(path, {"library": name, "value": value})
    assert libraries.kept(path, "skrl") == libraries.kept(path, "puffer") == {}
    libraries.keep(path, {"library": "puffer", "value": 4, **libraries.learning(GOOD)})
    assert libraries.kept(path, "puffer") == libraries.learning(GOOD), "what was learned, and nothing else"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(line["library"], line["value"]) for line in lines] == [("cleanrl", 2), ("skrl", 3), ("puffer", 4)]


def test_through_the_environment_as_it_is_costs_nothing_else():
    """Agent-steps are counted, of either."""
    for step in (library_steps.arrays("Disabled"), library_steps.simulator(), library_steps.pettingzoo()):
        driven = sum(step() for _ in range(12))
        assert 0 < driven <= 12 * library_steps.ROWS
