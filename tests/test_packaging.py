"""What is built has everything that it needs, the version is one, and no public document names a wrong one."""

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

from gigaflow_env import __version__

ROOT = Path(__file__).resolve().parents[1]
NOT_SHIPPED = (".ci/", ".github/", ".gitignore", ".pre-commit-config.yaml")
"""Only of use in the repository."""


def tracked():
    """Files under version control. Skips where there is no git, as in an unpacked sdist."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True)
    return sorted(name for name in done.stdout.split("\0") if name and (ROOT / name).exists())


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(sdist, wheel, what was printed), built from a clean copy of the tracked files without network."""
    pytest.importorskip("build", reason="needs the extra dev")
    pytest.importorskip("setuptools", reason="needs the extra dev")
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("out")
    for name in tracked():
        (copy / name).parent.mkdir(parents=True, exist_ok=True)
        (copy / name).write_bytes((ROOT / name).read_bytes())
    command = [
        sys.executable,
        "-m",
        "build",
        "--no-isolation",
        "--outdir",
        str(out),
        str(copy),
    ]  # the wheel comes from the sdist
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,), (wheel,) = out.glob("*.tar.gz"), out.glob("*.whl")
    return sdist, wheel, done.stdout + done.stderr


def test_the_build_does_not_warn(built):
    """What setuptools says of patterns in MANIFEST.in that match nothing, and of byte-compiling, is no fault."""
    said = re.findall(r"^.*(?:Warning|warning: |absent from).*$", built[2], re.MULTILINE)
    faults = [line for line in said if "no previously-included" not in line and "byte-compiling" not in line]
    assert not faults, faults


def test_the_sdist_has_every_file(built):
    with tarfile.open(built[0]) as file:
        inside = {name.partition("/")[2] for name in file.getnames()}
    missing = [name for name in tracked() if name not in inside and not name.startswith(NOT_SHIPPED)]
    assert not missing


def test_the_wheel_has_both_packages_with_their_data_and_nothing_else(built):
    with zipfile.ZipFile(built[1]) as file:
        inside = {name for name in file.namelist() if ".dist-info/" not in name}
    expected = set()
    for name in tracked():
        if name.startswith(("gigaflow_env/", "gigaflow_train/")):
            expected.add(name)
        elif name.startswith("maps/"):
            expected.add(f"gigaflow_env/{name}")
    assert inside == expected
    assert {"gigaflow_env/py.typed", "gigaflow_train/py.typed", "gigaflow_env/maps/loop.lanes.json"} <= inside
    assert any(name.startswith("gigaflow_env/render/web/") for name in inside)


def test_the_version_is_written_once(built):
    assert f"-{__version__}.tar.gz" in built[0].name and f"-{__version__}-" in built[1].name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert "version" not in project["project"] and project["project"]["dynamic"] == ["version"]
    written = re.search(r"^version: (.*)$", (ROOT / "CITATION.cff").read_text(encoding="utf-8"), re.MULTILINE)
    assert written and written[1] == __version__
    head = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert head and head[1] == __version__


def test_extras_that_are_named_exist():
    """In messages, examples and documents: `gigaflow-env[...]` and `.[...]`."""
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])
    files = [ROOT / name for name in tracked() if name.endswith((".py", ".md", ".yml", "Makefile"))]
    named = {
        one: path
        for path in files
        for group in re.findall(r"(?:gigaflow-env|\"\.)\[([\w,-]+)\]", path.read_text(encoding="utf-8"))
        for one in group.split(",")
    }
    assert {"train", "render", "sb3"} <= set(named)
    assert not {name: str(path) for name, path in named.items() if name not in extras}


def test_every_makefile_target_says_what_it_does():
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", text, re.MULTILINE)[1].replace("\\\n", " ").split()
    described = set(re.findall(r"^([a-z-]+):.*## \S", text, re.MULTILINE))
    assert set(phony) == described
