"""Kernels come from disk, or are compiled side by side with a word about it; what goes wrong is said, and nothing hangs."""

import fcntl
import importlib
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from numba.core.errors import TypingError

from gigaflow_env import compiling, kernel_cache, progress
from gigaflow_env.jit import SOURCE_HASH

KERNELS = """
from gigaflow_env.jit import kernel

@kernel
def double(x):
    for i in range(len(x)):
        x[i] = 2 * x[i]

@kernel
def triple(x):
    for i in range(len(x)):
        x[i] = 3 * x[i]

@kernel
def wrong(x):
    x.no_such_thing()
"""
ONES = np.ones(3, np.float32)


@pytest.fixture
def little(tmp_path, monkeypatch):
    """A module of three kernels, an empty cache, and nothing said yet."""
    name = f"little_{tmp_path.name}"  # a new one for each test
    (tmp_path / f"{name}.py").write_text(KERNELS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("GIGAFLOW_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.delenv("GIGAFLOW_QUIET", raising=False)
    kernel_cache.announce.cache_clear()
    kernel_cache._warn.cache_clear()
    return importlib.import_module(name)


def kept(tmp_path):
    return sorted(path.name.partition("-")[0].partition(".")[2] for path in (tmp_path / "cache").rglob("*.kernel"))


def results(module):
    x = ONES.copy()
    module.double(x)
    module.triple(x)
    return x.tolist()


def test_kernels_are_compiled_in_other_processes_and_named(little, tmp_path, capfd):
    compiling.ready([(little.double, [ONES]), (little.triple, [ONES])], 2)
    assert kept(tmp_path) == ["double", "triple"]
    for kernel in (little.double, little.triple):
        assert sum(kernel.stats.cache_hits.values()) == 1 and not kernel.stats.cache_misses, "compiled here, not aside"
    assert results(little) == [6, 6, 6]
    printed = capfd.readouterr()
    lines = printed.err.splitlines()
    assert printed.out == ""
    assert lines[0].startswith("gigaflow-env: compiling kernels, once per installation, about 30 s")
    assert sorted(line.split()[1] for line in lines[1:3]) == ["double", "triple"] and lines[1].endswith(" s")
    assert lines[3].startswith("gigaflow-env: 2 kernels in ") and str(tmp_path / "cache") in lines[3] and len(lines) == 4


def test_nothing_is_said_when_they_are_on_disk(little, tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("GIGAFLOW_QUIET", "1")
    compiling.ready([(little.double, [ONES]), (little.triple, [ONES])], 1)
    monkeypatch.delenv("GIGAFLOW_QUIET")
    program = (
        f"import numpy as np, {little.__name__} as m; x = np.ones(3, np.float32); m.double(x); m.triple(x); print(x[0])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("6.0\n", "")
    assert capfd.readouterr().err == ""


def test_one_processor_compiles_here(little, tmp_path, capfd):
    compiling.ready([(little.double, [ONES]), (little.triple, [ONES])], 1)
    assert not little.double.stats.cache_hits and kept(tmp_path) == ["double", "triple"]
    assert [line.split()[1] for line in capfd.readouterr().err.splitlines()] == ["compiling", "double", "triple", "2"]


@pytest.mark.parametrize(
    ("executable", "reason"),
    [("", "there is no Python to start another process with"), ("/no/such/python", "no process could be started"),
     ("/bin/false", "ended early")],
)  # fmt: skip
def test_without_other_processes_it_compiles_here_and_says_why(little, monkeypatch, capfd, executable, reason):
    monkeypatch.setattr(sys, "executable", executable)
    compiling.ready([(little.double, [ONES]), (little.triple, [ONES])], 2)
    assert results(little) == [6, 6, 6] and not little.double.stats.cache_hits
    printed = capfd.readouterr().err
    assert reason in printed and "compiling in this process" in printed


def test_errors_of_a_kernel_surface(little, capfd):
    with pytest.raises(TypingError, match="no_such_thing"):
        compiling.ready([(little.wrong, [ONES]), (little.double, [ONES])], 2)
    assert "wrong could not be compiled in a process of its own (TypingError" in capfd.readouterr().err


def test_a_damaged_file_is_replaced(little, tmp_path):
    little.double(ONES.copy())
    (path,) = (tmp_path / "cache").rglob("*.kernel")
    whole = path.read_bytes()
    for damaged in (whole[:-1], b"", whole[:100] + b"\x00\xff" + whole[102:]):
        path.write_bytes(damaged)
        cache, (signature,) = little.double._cache, little.double.signatures
        assert cache.load_overload(signature, little.double.targetctx) is None
    little.double.overloads.clear()
    little.double.compile(signature)
    assert len(path.read_bytes()) > 1000 and cache.load_overload(signature, little.double.targetctx) is not None


def test_another_signature_or_source_is_another_file(little, tmp_path):
    little.double(ONES.copy())
    little.double(np.ones(3, np.float64))
    little.triple(ONES.copy())
    assert kept(tmp_path) == ["double", "double", "triple"]
    names = {path.name for path in (tmp_path / "cache").rglob("*.kernel")}
    source = tmp_path / f"{little.__name__}.py"
    # Of another length: Python takes a source of the same second and size for the one it knows, and runs the old bytecode.
    source.write_text(source.read_text().replace("2 * x", "50 * x"))
    program = f"import numpy as np, {little.__name__} as m; x = np.ones(3, np.float32); m.double(x); print(x[0])"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.stdout == "50.0\n"
    assert len({path.name for path in (tmp_path / "cache").rglob("*.kernel")} - names) == 1


def test_an_unwritable_cache_warns_once_and_works(little, tmp_path):
    (tmp_path / "cache").write_text("not a directory")
    with pytest.warns(RuntimeWarning, match="GIGAFLOW_CACHE_DIR") as warned:
        compiling.ready([(little.double, [ONES]), (little.triple, [ONES])], 1)
    assert len(warned) == 1 and results(little) == [6, 6, 6]


def test_a_lock_left_behind_hinders_nobody(little):
    place = kernel_cache.folder(SOURCE_HASH)
    place.mkdir(parents=True)
    (place / "lock").write_text("left by a process that was killed")
    compiling.ready([(little.double, [ONES])], 2)
    assert results(little) == [6, 6, 6]


def test_who_finds_another_at_it_waits_but_not_for_ever(little, monkeypatch, capfd):
    monkeypatch.setattr(compiling, "LOCK_WAIT", 0.5)
    place = kernel_cache.folder(SOURCE_HASH)
    place.mkdir(parents=True)
    with open(place / "lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        compiling.ready([(little.double, [ONES])], 2)
    assert "another process compiles kernels: waiting for it" in capfd.readouterr().err
    assert results(little) == [6, 6, 6]


@pytest.mark.slow
def test_processes_that_start_together_compile_once(little, tmp_path):
    program = (
        f"import numpy as np, {little.__name__} as m; from gigaflow_env.compiling import ready\n"
        "x = np.ones(3, np.float32); ready([(m.double, [x]), (m.triple, [x])], 2); m.double(x); print(x[0])"
    )
    command = [sys.executable, "-c", program]
    started = [
        subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(3)
    ]
    ended = [process.communicate(timeout=300) for process in started]
    assert [out for out, _ in ended] == ["2.0\n"] * 3
    assert sum("2 kernels in" in said for _, said in ended) == 1, ended
    assert kept(tmp_path) == ["double", "triple"]


def test_old_machine_code_of_others_goes(little):
    mine = kernel_cache.folder(SOURCE_HASH)
    old, new = mine.with_name("0123456789ab-0123456789ab"), mine.with_name("ba9876543210-0123456789ab")
    for place in (mine, old, new):
        place.mkdir(parents=True)
    long_ago = time.time() - (kernel_cache.KEPT_DAYS + 1) * 86400
    os.utime(old, (long_ago, long_ago))
    os.utime(mine, (long_ago, long_ago))
    assert kernel_cache.prune(SOURCE_HASH) == [old]
    assert mine.exists() and new.exists() and not old.exists()


ALL = """
import json, sys
from gigaflow_env import GigaflowVectorEnv
from gigaflow_env.backend import cpu
for mode in ("SameStep", "NextStep", "Disabled"):
    for options in ({}, {"drivers": "idm", "events": True, "obs_dtype": "float16"}, {"action": "continuous"}):
        env = GigaflowVectorEnv(4, map="loop", preset="laptop", agents_per_world=4, autoreset_mode=mode, **options)
        env.reset(seed=0)
        env.step(env.action_space.sample())
        env.reset(options={"reset_mask": env.simulator.drivers >= 0, "conditioning": {"collision": 3.0}})
kernels = {name: thing for name, thing in vars(cpu).items() if hasattr(thing, "py_func") and thing._cache.cache_path}
print(json.dumps({name: [len(k.signatures), sum(k.stats.cache_hits.values()), sum(k.stats.cache_misses.values())]
                  for name, k in kernels.items()}))
"""


def test_a_second_process_finds_every_kernel():
    """Modes and kinds of actions make no other machine code; the first process may have to compile."""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", ALL], capture_output=True, text=True, check=True)

    found = json.loads(done.stdout)
    for name in ("observe_chosen", "enter_scene", "play_tracks"):  # for `env.state_memory`, for recorded scenes
        assert found.pop(name) == [0, 0, 0]
    assert set(found) == {
        "clear", "respawn", "drive", "plan_traffic", "record_contacts", "write_observation", "write_observation_half"
    }  # fmt: skip
    assert found == dict.fromkeys(found, [1, 1, 0])


def test_what_takes_long_is_said(monkeypatch, capsys):
    monkeypatch.delenv("GIGAFLOW_QUIET", raising=False)
    monkeypatch.setattr(progress, "PATIENCE", 0.05)
    with progress.slow("thinking"):
        time.sleep(0.3)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "gigaflow-env: thinking ..." and lines[1].startswith("gigaflow-env: thinking: 0.") and len(lines) == 2
    monkeypatch.setattr(progress, "PATIENCE", 600.0)
    with progress.slow("thinking"):
        pass
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("value", "silent"), [("1", True), ("0", False), ("", False)])
def test_quiet(monkeypatch, capsys, value, silent):
    monkeypatch.setenv("GIGAFLOW_QUIET", value)
    progress.say("hello")
    assert capsys.readouterr().err == ("" if silent else "gigaflow-env: hello\n")


@pytest.mark.parametrize("value", ["yes", "no", "2"])
def test_another_word_for_quiet_is_refused(monkeypatch, value):
    monkeypatch.setenv("GIGAFLOW_QUIET", value)
    for speak in (lambda: progress.say("hello"), lambda: progress.slow("thinking").__enter__()):
        with pytest.raises(ValueError, match=f"GIGAFLOW_QUIET='{value}': must be 1 or 0"):
            speak()
