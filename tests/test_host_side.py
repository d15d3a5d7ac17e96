"""The host's side of the CUDA backend on a driver that knows no card (benchmarks/emulator/driver.c).

Which kernels are launched, in what order, on what stream; that a step waits for nothing; that the benchmark runs. What
kernels do is for test_cuda.py, and for a card. This file comes long after that one, whose kernels it then finds on disk.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from typing import NamedTuple

import pytest

from benchmarks.emulator import launch as emulator

pytestmark = [
    pytest.mark.skipif(importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed"),
    pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc, which compiles the driver's stand-in"),
    pytest.mark.skipif(sys.platform != "linux", reason="the driver's stand-in is a Linux library"),
]

PROGRAM = """
import json
import numpy as np
from benchmarks.emulator.launch import leave_unlinked
from gigaflow_env import GigaflowVectorEnv, snapshot
from gigaflow_env.bench import cuda as bench_cuda

leave_unlinked()

def mark(text):
    with open({log!r}, "a") as file:
        file.write(text + "\\n")

env = GigaflowVectorEnv(40, map="loop", preset="laptop", backend="cuda", obs_dtype="float16")
mark("reset")
obs, info = env.reset(seed=0)
assert obs.dtype == np.float16 and obs.shape == (40, env.layout.size) and set(info) > {{"active", "collision"}}
env.step(np.full(40, 7))
env.simulator.stream = 0x5555
mark("step")
env.simulator.step(env.simulator.actions)
mark("end")
env.reset(options={{"reset_mask": np.arange(40) == 3}})
assert env.simulator.host(env.simulator.chosen).ravel()[:40].tolist() == [k == 3 for k in range(40)]
assert env.simulator.host(env.simulator.actions).ravel()[:40].tolist() == [7] * 40
assert env.scene(1).x.shape == (16,)
assert env.render_world(0, 0, size=64).shape == (64, 64, 3)
env.close()

env = GigaflowVectorEnv(40, map="loop", preset="laptop", backend="cuda", events=True)
env.reset(seed=0)
sim = env.simulator
offroad = np.zeros((3, 16), bool)
offroad[1, 3] = True
sim.write(sim.state.events.offroad, offroad)  # this driver's kernels do nothing: so it stays
env.step(np.full(40, 7))
(event,) = env.event_log
assert (event["kind"], event["world"], event["row"], event["other"]) == (1, 1, 19, -1)

mark("observe")
states = {{name: np.stack([array] * 50) for name, array in env.observation_state().items()}}
assert snapshot.CHUNK < 150 and env.observe(states).shape == (50, 3, 16, env.layout.size)
prepared = len(sim._machine._launches)
assert env.observe(env.observation_state()).shape == (3, 16, env.layout.size)
assert len(sim._machine._launches) == prepared, "a launch for every call"
mark("logged step")
sim.step(sim.actions)
mark("end")

found = bench_cuda.run(map="loop", preset="laptop", agents=(16,), rows=(64,), steps=3)
print(json.dumps(found, allow_nan=False))
"""


class Driven(NamedTuple):
    log: list[str]
    said: str

    def part(self, name: str) -> list[str]:
        """What the driver was asked for from one mark to the next."""
        after = self.log[self.log.index(name) + 1 :]
        ends = [k for k, line in enumerate(after) if line in MARKS]
        return after[: ends[0]]


MARKS = ("reset", "step", "observe", "logged step", "end")


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    return emulator.build(tmp_path_factory.mktemp("driver"))


def run(program, library, **environment):
    environment = {**os.environ, **emulator.environment(library), **environment}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, timeout=900, env=environment
    )


@pytest.fixture(scope="module")
def driven(library, tmp_path_factory):
    """One process for all that needs compiled kernels: what stages have in common is compiled once."""
    log = tmp_path_factory.mktemp("log") / "log"
    done = run(PROGRAM.format(log=str(log)), library, STUB_LOG=str(log))
    assert done.returncode == 0, done.stderr
    return Driven(log.read_text().splitlines(), done.stdout)


def kernels(lines):
    return [re.search(r"cuda\d+([a-z_]+?)_[0-9a-f]{12}", line)[1] for line in lines if line.startswith("launch")]


def test_a_step_is_four_launches_and_waits_for_nothing(driven):
    step = driven.part("step")
    assert kernels(step) == [
        "drive",
        "write_observation_half",
        "respawn",
        "write_observation_half",
    ]
    assert len(step) == 4, "a copy or a synchronisation within a step"
    assert all(line.endswith("0x5555") for line in step)
    assert kernels(driven.part("reset"))[:3] == ["clear", "respawn", "write_observation_half"]


def test_a_step_with_a_log_is_five_launches_and_observing_keeps_its_own(driven):
    step = driven.part("logged step")
    expected = [
        "drive",
        "record_contacts",
        "write_observation",
        "respawn",
        "write_observation",
    ]
    assert kernels(step) == expected and len(step) == len(expected)
    looked = kernels(driven.part("observe"))
    assert looked == ["write_observation"] * 4, "three chunks of 150 worlds, and one of 3"


def test_the_benchmark_runs(driven):
    found = json.loads(driven.said)
    assert found["card"] == "stub" and set(found["kernels"]) == {
        "clear",
        "drive",
        "respawn",
        "write_observation",
    }
    (line,) = found["measured"]
    # Between any two events lies a millisecond on this driver.
    assert line["agent_steps_per_s"] == 3 * 64 * 1000
    assert set(line["ns_by_kernel"]) == {
        "drive",
        "write_observation 1",
        "respawn",
        "write_observation 2",
    }


def test_too_little_memory_is_said_before_it_is_taken(library):
    program = "import gigaflow_env; gigaflow_env.GigaflowVectorEnv(4096, preset='laptop', backend='cuda')"
    done = run(program, library, STUB_FREE="1000000")
    last = done.stderr.splitlines()[-1]
    assert re.fullmatch(
        r"MemoryError: .* do not fit into memory: 256 worlds of 0\.0\d MiB need 0\.01 GiB, "
        r"and device 0 has 0\.00 GiB left: \d\d worlds fit",
        last,
    ), last


def test_a_device_that_is_not_there(library):
    done = run("import gigaflow_env; gigaflow_env.GigaflowVectorEnv(4, backend='cuda', device='cuda:3')", library)
    assert "device=3: this machine has 1 CUDA devices" in done.stderr


REFUSED = """
import numpy as np
from numba import cuda
from gigaflow_env.backend import cuda as backend

@cuda.jit
def nothing(out):
    pass

backend.Launch(nothing, (cuda.to_device(np.zeros(64, np.int32)),))(1, 32, 0, 0)
"""


def test_a_refused_launch_is_an_error(library):
    done = run(REFUSED, library, STUB_REFUSE="1")
    assert "CUDA refused to launch a kernel of 1 blocks of 32 threads" in done.stderr
