"""The CUDA backend without a card: simulated, it equals the CPU to the bit; compiled for real cards, its code is sound.

On a card: test_cuda_card.py.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import cuda_simulated
import numpy as np
import pytest

from gigaflow_env.event_log import COLLISION, OFFROAD

ROOT = Path(__file__).parents[1]
COMPILE = ROOT / "benchmarks" / "cuda_compile.py"

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed: pip install 'gigaflow-env[dev]'"
)


def python(*args, **environment):
    """A process of its own: whether CUDA is simulated is decided at import."""
    return subprocess.run(
        [sys.executable, *map(str, args)], capture_output=True, text=True, cwd=ROOT / "tests", timeout=900,
        env={**os.environ, **environment},
    )  # fmt: skip


@pytest.mark.parametrize("name", cuda_simulated.SCENES)
def test_simulated_device_equals_the_cpu(name, tmp_path):
    """Every array after every step: state, observations, last observations; the event log; observations made anew."""
    done = python("cuda_simulated.py", name, tmp_path / "found.npz", NUMBA_ENABLE_CUDASIM="1")
    assert done.returncode == 0, done.stderr
    expected = cuda_simulated.drive(name)
    with np.load(tmp_path / "found.npz") as found:
        assert set(found.files) == set(expected)
        different = [
            key
            for key, values in expected.items()
            if not np.array_equal(values, found[key], equal_nan=values.dtype.kind == "f")
        ]
    assert different == []
    ended = sum(expected[f"{step} outcome.{flag}"].sum() for step in range(12) for flag in ("terminated", "truncated"))
    assert ended > 0, "the scene should see episodes end"
    assert any(expected[f"{step} events.{event}"].any() for step in range(12) for event in ("collision", "offroad", "goal"))
    assert {COLLISION, OFFROAD} <= set(expected["log"]["kind"]), "the scene should see events of both kinds"
    if expected["0 obs"].dtype == np.float32:
        seen = [expected[f"{step} obs"] for step in range(0, 12, cuda_simulated.REMEMBERED)]
        assert np.array_equal(expected["observed"], seen)


@pytest.fixture(scope="module")
def compiled():
    """What each kernel compiles to, by kernel and compute capability of the card."""
    processes = [
        subprocess.Popen([sys.executable, COMPILE, cc], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)
        for cc in ("8.0", "9.0")
    ]
    rows = []
    for process in processes:
        out, err = process.communicate(timeout=900)
        assert process.returncode == 0, err
        rows += [json.loads(line) for line in out.splitlines()]
    return {(row["kernel"], row["cc"]): row for row in rows}


# Most registers of a thread: with more, a block of 256 threads would not fit. What was measured, and some room.
REGISTERS = {
    "clear": 160,
    "plan_traffic": 255,
    "drive": 255,
    "record_contacts": 176,
    "respawn": 255,
    "prepare_observation": 64,
    "write_observation": 80,
    "write_observation_half": 80,
}

# Fewest stores to global memory: one an array that the kernel writes. Where a dead-code pass goes wrong they vanish.
STORES = {
    "clear": 15,
    "plan_traffic": 15,
    "drive": 45,
    "record_contacts": 8,
    "respawn": 45,
    "prepare_observation": 6,
    "write_observation": 1,
    "write_observation_half": 1,
}

# Arrays which the kernel must reach, at least.
SHOWN = (
    "Pose.x", "Network.samples", "Nearby.samples", "Nearby.boundaries", "Nearby.stops", "Neighbours.agent",
    "RewardWeights.coefficients",
)  # fmt: skip
TOUCHED = {
    "clear": ("Clock.seed", "Clock.tick", "Rows.status", "Events.collision", "Outcome.reward"),
    "plan_traffic": ("Traffic.next", "Traffic.cap", "Motion.jerk", "Neighbours.scratch", "Conflicts.rows", "Conflicts.stops",
              "Network.route", "Lights.colour"),
    "drive": ("Pose.x", "Motion.speed", "LanePosition.section", "Events.collision", "Events.offroad", "Events.red_light",
              "Outcome.reward", "Rows.status", "Lights.colour", "Grid.quads", "Grid.edges", "Network.route"),
    "record_contacts": ("Contacts.other", "Contacts.side", "Contacts.fault", "Contacts.x", "Contacts.y", "Contacts.speed",
                        "Contacts.age", "Contacts.map", "Events.collision", "Events.offroad", "Events.red_light",
                        "Pose.old_x", "Network.sections"),
    "respawn": ("Proposal.x", "Pose.x", "Goals.section", "RewardWeights.coefficients", "Body.length", "Rows.status",
                "Lights.red"),
    "prepare_observation": ("Neighbours.agent", "Neighbours.key", "LaneRoutes.lane",
                            "LaneRoutes.route_distance", "LaneRoutes.smallest",
                            "Outcome.active"),
    "write_observation": SHOWN,
    "write_observation_half": SHOWN,
}  # fmt: skip


@pytest.mark.parametrize("cc", ["8.0", "9.0"])
@pytest.mark.parametrize("kernel", REGISTERS)
def test_machine_code(compiled, kernel, cc):
    row = compiled[kernel, cc]
    assert row["ptx_doubles"] == row["double_instructions"] == 0, (
        "double precision is slow, and a sign of a forgotten float32"
    )
    assert row["spilled_bytes"] == row["stack_bytes"] == row["local_instructions"] == 0
    assert row["registers"] <= REGISTERS[kernel]
    assert row["ptx_global_stores"] >= STORES[kernel]
    assert not set(TOUCHED[kernel]) & set(row["untouched"])


def test_every_kernel_is_compiled(compiled):
    assert {kernel for kernel, _ in compiled} == set(REGISTERS)


def test_kernels_are_cached_by_all_sources():
    program = (
        "from gigaflow_env.backend import cuda; from gigaflow_env.jit import SOURCE_HASH\n"
        "for kernel in cuda.KERNELS.values():\n"
        "    assert SOURCE_HASH in kernel.py_func.__qualname__ and kernel._cache.cache_path, kernel\n"
    )
    done = python("-c", program)
    assert done.returncode == 0, done.stderr


MAKE = "import gigaflow_env; gigaflow_env.GigaflowVectorEnv(4, backend='cuda', output='torch')"


@pytest.mark.parametrize(
    ("before", "message"),
    [
        ("cuda.implementation = 'Built-in'", 'numba-cuda, which is missing: for CUDA 13 pip install "gigaflow-env[cuda13]"'),
        ("cuda.is_available = lambda: False", "no usable CUDA device"),
        ("cuda.is_available = lambda: True; driver.get_version = lambda: (12, 4); runtime.get_version = lambda: (13, 0)",
         "the driver is for CUDA 12.4, the libraries here are of CUDA 13.0: update the driver"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(before, message):
    parts = "from numba.cuda.cudadrv.driver import driver; from numba.cuda.cudadrv.runtime import runtime"
    done = python("-c", f"from numba import cuda; {parts}; {before}; {MAKE}")
    assert done.returncode == 1 and "MissingDevice: backend='cuda'" in done.stderr
    assert message in done.stderr.splitlines()[-1]
