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
