"""The documents say what is true: tables are the code's, examples run, links and names lead somewhere."""

import ast
import os
import re
import subprocess
import sys

import pytest

from docs_tools import tables

PAGES = {str(page.relative_to(tables.ROOT)): page.read_text(encoding="utf-8") for page in tables.pages()}
OTHERS = ("CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", "CHANGELOG.md", "maps/README.md")
TEXTS = PAGES | {name: (tables.ROOT / name).read_text(encoding="utf-8") for name in OTHERS}


@pytest.mark.parametrize("page", PAGES)
def test_tables_are_those_of_the_declarations_and_results(page):
    assert tables.filled(PAGES[page]) == PAGES[page], "run `make tables`"


def test_every_table_is_somewhere():
    assert {name for text in PAGES.values() for name in re.findall(r"<!-- begin (\w+) -->", text)} == set(tables.PARTS)


def test_a_table_that_differs_is_noticed():
    page = PAGES["docs/reference/config.md"]
    assert "`agents_per_world`" in page
    assert tables.filled(page.replace("`agents_per_world`", "`agents`")) == page


def test_an_unknown_part_is_an_error():
    with pytest.raises(ValueError, match="'weather'"):
        tables.filled("<!-- begin weather -->\n<!-- end weather -->")


def test_every_command_is_in_the_reference():
    """Told from the programs' own help."""
    page = PAGES["docs/reference/cli.md"]
    for program, module in (("gigaflow-env", "gigaflow_env"), ("gigaflow-train", "gigaflow_train")):
        command = [sys.executable, "-m", module, "--help"]
        environment = {**os.environ, "PYTHONPATH": str(tables.ROOT), "COLUMNS": "120", "NO_COLOR": "1"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
        if done.returncode == 2 and "it needs" in done.stderr:
            continue  # without the extra `train`
        (words,) = re.findall(r"\{([\w,-]+)\}", done.stdout.splitlines()[0])
        for word in words.split(","):
            assert f"### {program} {word}" in page, f"{program} {word} has no place in docs/reference/cli.md"


def test_the_readme_is_short():
    assert len(TEXTS["README.md"].splitlines()) <= 150


EXAMPLES = [(page, code) for page, text in TEXTS.items() for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]


@pytest.mark.parametrize(("page", "code"), EXAMPLES, ids=[f"{page}-{k}" for k, (page, _) in enumerate(EXAMPLES)])
def test_examples_run(page, code, tmp_path, monkeypatch, capsys):
    if page == "maps/README.md":
        pytest.skip("writes the shipped towns anew")
    if "write_video" in code:
        pytest.importorskip("imageio_ffmpeg", reason="needs the extra render")
    monkeypatch.chdir(tmp_path)
    exec(compile(code, page, "exec"), {})
    printed = capsys.readouterr().out
    assert printed.strip(), "an example prints what the reader should see"
    for claimed in re.findall(r"^print\(.*\)  # (True|False|\(.*\))", code, re.MULTILINE):
        assert claimed in printed


def test_there_are_examples():
    assert {"README.md", "docs/guide/snapshots.md", "docs/start/quickstart.md"} <= {page for page, _ in EXAMPLES}


def anchors(text):
    """The ids of a page's headings, as the site makes them."""
    plain = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    heads = re.findall(r"^#+ (.*)$", plain, re.MULTILINE)
    return {re.sub(r"[\s]+", "-", re.sub(r"[^\w\s-]", "", head.lower()).strip()) for head in heads}


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", TEXTS[page]):
        if target.startswith(("http", "mailto:")):
            continue
        name, _, anchor = target.partition("#")
        file = (tables.ROOT / page).parent / name if name else tables.ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor:
            assert anchor in anchors(file.read_text(encoding="utf-8")), f"{page}: {target} has no such heading"


FILE = re.compile(r"[\w./-]+\.(?:py|toml|jsonl?|md|cff|yml|svg|png|webp|gif)$")
ABSENT = {
    "counts-POLICY.json",
    "curve.png",
    "evaluations.jsonl",
    "map.png",
    "metrics.jsonl",
    "my.png",
    "report.html",
    "report.json",
    "results.json",
    "setup.cfg",
    "sweep.json",
    "sweep.md",
    "sweep.png",
    "traffic.png",
}
"""Files that a page speaks of and that a user makes."""


@pytest.mark.parametrize("page", sorted(set(TEXTS) - {"CHANGELOG.md"}))  # which speaks of files that were
def test_files_that_are_named_are_there(page):
    """Names in backticks that are paths: below the root, the package, or the page's folder."""
    for name in re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", TEXTS[page], flags=re.DOTALL)):
        if not FILE.match(name) or name in ABSENT or name.isupper() or "NAME" in name:
            continue
        roots = (tables.ROOT, tables.ROOT / "gigaflow_env", (tables.ROOT / page).parent)
        near = (tables.ROOT / "gigaflow_env/roads/formats/common",) if page.endswith("add-a-format.md") else ()
        assert any((root / name).exists() for root in (*roots, *near)), f"{page}: `{name}` is not there"


def named(cell):
    """(file or None, name) of each name in backticks of a table's cell; a name belongs to the files before it."""
    files = []
    for name in re.findall(r"`([^`]+)`", cell):
        if name.endswith((".py", "/")):
            roots = (tables.ROOT, tables.ROOT / "gigaflow_env")
            files += [path for root in roots if (path := root / name).exists()]
        elif not name.startswith("make "):
            yield list(files), name.split(".")[-1]


def test_what_the_table_of_the_paper_names_is_there():
    """Files, and names in them, of the middle column."""
    lines = [line for line in PAGES["docs/paper/line-by-line.md"].splitlines() if line.startswith("| ")]
    rows = [line.split("|")[2] for line in lines if not line.startswith("| the paper")]
    assert len(rows) > 40
    package = "\n".join(path.read_text(encoding="utf-8") for path in (tables.ROOT / "gigaflow_env").rglob("*.py"))
    for cell in rows:
        for files, name in named(cell):
            text = "\n".join(file.read_text(encoding="utf-8") for file in files if file.is_file()) or package
            assert re.search(rf"\b{re.escape(name)}\b", text), f"{name} is not in {files or 'the package'}"


def declared(file):
    """Names that a file defines: functions, classes, their fields, and module-level names."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
        elif isinstance(node, ast.Assign):
            found |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    return found


def test_the_five_ways_of_contributing_lead_to_definitions():
    """Each name in the last column is defined in one of the files of the middle one."""
    rows = [line.split("|") for line in TEXTS["CONTRIBUTING.md"].splitlines() if re.match(r"\| .*\?\s*\|", line)]
    assert len(rows) == 5
    for _, question, files, names, _ in rows:
        paths = [tables.ROOT / "gigaflow_env" / name for name in re.findall(r"`([^`]+\.py)`", files)]
        assert paths and all(path.exists() for path in paths), question
        defined = set().union(*map(declared, paths))
        for name in re.findall(r"`([^`]+)`", names):
            assert name.split(".")[-1] in defined, f"{question.strip()} {name} is not defined in {files.strip()}"


def test_the_site_builds_strictly(tmp_path):
    pytest.importorskip("mkdocs", reason="needs the extra docs")
    pytest.importorskip("material", reason="needs the extra docs")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=tables.ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = list((tmp_path / "site").rglob("*.html"))
    assert len(pages) > 35
    for page in pages:
        fetched = re.findall(
            r"<(?:script|img|link)\b[^>]*\b(?:src|href)=\"?(https?:[^\s\">]+)", page.read_text(encoding="utf-8")
        )
        # The canonical address of a page is a name, not something to fetch.
        assert all(target.startswith("https://gigaflow-env.github.io/") for target in fetched), (
            f"{page.name} fetches {fetched}"
        )
