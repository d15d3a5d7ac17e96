"""The name of a cached kernel changes with every edit of a file that takes part in it."""

import shutil

import pytest

from gigaflow_env import jit


@pytest.fixture
def copied(tmp_path, monkeypatch):
    """A copy of the package, of which the hash is taken."""
    root = tmp_path / "package"
    shutil.copytree(jit._PACKAGE, root, ignore=shutil.ignore_patterns("__pycache__"))
    assert jit.source_hash() == jit.SOURCE_HASH
    monkeypatch.setattr(jit, "_PACKAGE", root)
    assert jit.source_hash() == jit.SOURCE_HASH, "the hash is of contents, not of places"
    return root


@pytest.mark.parametrize(
    "file",
    ["config.py", "declare.py", "inlined.py", "jit.py", "layout.py", "population.py", "state.py", "roads/levels.py",
     "roads/compiled/tables.py", "sim/geometry.py", "sim/traffic/right_of_way.py", "backend/world_step.py", "backend/cpu.py",
     "backend/cuda.py"],
)  # fmt: skip
def test_an_edit_is_noticed(copied, file):
    path = copied / file
    path.write_text(path.read_text() + "\n# edited\n")
    assert jit.source_hash() != jit.SOURCE_HASH


def test_a_new_rule_is_noticed_and_a_picture_is_not(copied):
    (copied / "render" / "topview.py").write_text("edited = True\n")
    assert jit.source_hash() == jit.SOURCE_HASH
    for folder in ("sim", "sim/traffic"):
        before = jit.source_hash()
        (copied / folder / "new.py").write_text("rule = None\n")
        assert jit.source_hash() != before


def test_kernels_have_the_hash_in_their_names():
    from gigaflow_env.backend import cpu

    for kernel in (cpu.drive, cpu.respawn, cpu.write_observation, cpu.write_observation_half, cpu.clear):
        assert jit.SOURCE_HASH in kernel.py_func.__qualname__
