"""The README says what is true: its tables are the code's, its example runs, its files exist."""

import re

import pytest

from gigaflow_env import readme

TEXT = (readme.ROOT / "README.md").read_text()


def test_tables_are_those_of_the_declarations_and_results() -> None:
    assert readme.filled(TEXT) == TEXT, "run `python -m gigaflow_env.readme`"


def test_every_table_is_in_it() -> None:
    assert set(re.findall(r"<!-- begin (\w+) -->", TEXT)) == set(readme.PARTS)


def test_a_table_that_differs_is_noticed() -> None:
    assert readme.filled(TEXT.replace("`agents_per_world`", "`agents`")) == TEXT


def test_an_unknown_part_is_an_error() -> None:
    with pytest.raises(ValueError, match="'weather'"):
        readme.filled("<!-- begin weather -->\n<!-- end weather -->")


def test_the_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", TEXT, flags=re.DOTALL)
    exec(compile(example, "README.md", "exec"), {})
    assert "(1024, 20, 10)" in capsys.readouterr().out


def test_its_links_lead_somewhere() -> None:
    linked = [target for target in re.findall(r"\]\(([^)]+)\)", TEXT) if not target.startswith(("http", "#"))]
    missing = [target for target in linked if not (readme.ROOT / target).exists()]
    assert linked and not missing


def test_what_the_table_of_the_paper_names_is_there() -> None:
    """Files, and names in them, of the middle column."""
    table = TEXT.split("## The paper, line by line")[1].split("\n## ")[0]
    rows = [
        line.split("|")[2] for line in table.splitlines() if line.startswith("| ") and not line.startswith("| the paper")
    ]
    assert len(rows) > 40
    package = "\n".join(path.read_text() for path in (readme.ROOT / "gigaflow_env").rglob("*.py"))
    for cell in rows:
        file = None
        for name in re.findall(r"`([^`]+)`", cell):
            if name.endswith((".py", "/")):
                places = [readme.ROOT / name, readme.ROOT / "gigaflow_env" / name]
                file = next((place for place in places if place.exists()), None)
                assert file, f"{name} is not there"
            elif not name.startswith("make "):
                text = file.read_text() if file and file.is_file() else package
                assert name.removeprefix("env.") in text, f"{name} is not in {file or 'the package'}"
