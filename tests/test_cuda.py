"""The CUDA backend without a card: what its kernels compile to is sound, and on the CPU it does what the CPU's kernels do.

On a card: test_cuda_card.py.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import cuda_scenes
import pytest

from benchmarks.emulator import launch as emulator
from gigaflow_env.event_log import COLLISION, OFFROAD

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("numba_cuda") is None, reason="numba-cuda is not installed: pip install 'gigaflow-env[dev]'"
)


def python(*args, **environment):
    """A process of its own: which driver there is is decided when CUDA is loaded."""
    return subprocess.run(
        [sys.executable, *map(str, args)], capture_output=True, text=True, cwd=ROOT / "tests", timeout=900,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where the emulator is."""
    if shutil.which("gcc") is None or sys.platform != "linux":
        pytest.skip("compiled CUDA kernels run on the CPU by gcc, on Linux")
    return emulator.build(tmp_path_factory.mktemp("emulator"))


def scenes_of(folder, what, *names):
    """What became of each scene on the emulated card, and the code of each kernel."""
    done = python("cuda_scenes.py", folder, what, *names, **emulator.environment(folder))
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    scenes = {one["scene"]: one for one in found if "scene" in one}
    return scenes | {"kernels": {one["kernel"]: one for one in found if "kernel" in one}}


QUICK = ("next step, beside rule-based drivers", "the paper's world")
"""Every kernel is in them but the two of recorded scenes; the others vary how a world begins, ends and is steered."""
SLOW = tuple(name for name in cuda_scenes.SCENES if name not in QUICK)


@pytest.fixture(scope="module")
def driven(folder):
    return scenes_of(folder, "ptx", *QUICK)


@pytest.fixture(scope="module")
def driven_slowly(folder):
    return scenes_of(folder, "ptx", *SLOW)


TIPPED = {"outcome.reward", "rows.score"}
"""What may differ for one of ten rows in one of twelve steps: to move costs a little, and where the card's multiply-add
rounds once and the CPU twice, one car stands still and the other moves at a millionth of a metre in a second."""


@pytest.mark.parametrize("name", QUICK)
def test_compiled_kernels_do_what_the_cpu_does(driven, name):
    check(driven[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_compiled_kernels_do_what_the_cpu_does_in_more_scenes(driven_slowly, name):
    check(driven_slowly[name])


def check(found):
    """Every array after every step, within rounding; the log; observations made anew; any order of threads; no race."""
    tipped = [one for one in found["different"] if set(one) == TIPPED and max(one.values()) <= 0.1]
    assert found["different"] == tipped and len(tipped) <= 1
    assert found["ended"] > 0, "the scene should see episodes end"
    assert found["same_events"] and {COLLISION, OFFROAD} <= set(found["kinds"]), "the scene should see events of both kinds"
    assert found["observed_anew"]
    assert found["orders"] == 1, "the order of threads changes what a step does"


FAULTS = """
import sys
from pathlib import Path
import numpy as np
from numba import cuda
from benchmarks.emulator.launch import attach
from gigaflow_env.backend import cuda as backend

mode = attach(Path({folder!r})).mode

@cuda.jit
def race(out):
    out[0] = cuda.threadIdx.x

@cuda.jit
def neighbour(out):
    i = cuda.threadIdx.x
    out[i] = out[(i + 1) % 32] + 1

@cuda.jit
def barrier(out):
    if cuda.threadIdx.x < 16:
        cuda.syncthreads()

@cuda.jit
def ordered(out):
    i = cuda.threadIdx.x
    held = out[(i + 1) % 32]
    cuda.syncthreads()
    out[i] = held

mode.races = 1
for kernel in (race, neighbour, barrier, ordered):
    print("begin", kernel.py_func.__name__, file=sys.stderr, flush=True)
    try:
        backend.Launch(kernel, (cuda.to_device(np.zeros(64, np.int32)),))(1, 32, 0, 0)
        print("no fault", file=sys.stderr, flush=True)
    except RuntimeError as error:
        print(error, file=sys.stderr, flush=True)
"""


@pytest.fixture(scope="module")
def faults(folder):
    """What is said of kernels with a fault each, by kernel."""
    done = python("-c", FAULTS.format(folder=str(folder)), **emulator.environment(folder))
    assert done.returncode == 0, done.stderr
    return {part.partition("\n")[0]: part.partition("\n")[2] for part in done.stderr.split("begin ")[1:]}


@pytest.mark.parametrize(
    ("kernel", "told"),
    [
        ("race", "two threads write one address"),
        ("neighbour", "a thread reads what another writes"),
        ("barrier", "threads have returned before a barrier of their block"),
    ],
)
def test_the_emulator_finds_faults(faults, kernel, told):
    """Else its silence about the kernels would say nothing."""
    assert f"kernel: {told}" in faults[kernel] and "CUDA refused to launch a kernel" in faults[kernel]
    assert "no fault" not in faults[kernel]


def test_the_emulator_is_silent_where_there_is_no_fault(faults):
    assert faults["ordered"] == "no fault\n"


# Most registers of a thread: what was measured, and some room. With 96 as many observing blocks fit as shared memory allows.
REGISTERS = {
    "clear": 40,
    "plan_traffic": 184,
    "drive": 144,
    "record_contacts": 88,
    "respawn": 160,
    "write_observation": 88,
    "write_observation_half": 88,
    "play_tracks": 160,
    "enter_scene": 255,
}

# Fewest stores to global memory: one an array that the kernel writes. Where a dead-code pass goes wrong they vanish.
STORES = {
    "clear": 15,
    "plan_traffic": 15,
    "drive": 45,
    "record_contacts": 8,
    "respawn": 45,
    "write_observation": 8,
    "write_observation_half": 8,
}
OF_SCENES = {"play_tracks": 30, "enter_scene": 90}

# Arrays which the kernel must reach, at least.
SHOWN = (
    "Pose.x", "Network.samples", "Nearby.samples", "Nearby.boundaries", "Nearby.stops", "Neighbours.agent",
    "RewardWeights.coefficients", "LaneRoutes.lane", "LaneRoutes.route_distance", "LaneRoutes.smallest", "Outcome.active",
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
    "write_observation": SHOWN,
    "write_observation_half": SHOWN,
    "play_tracks": ("Tracks.seen", "Tracks.x", "Tracks.judged", "Pose.old_x", "Motion.distance", "Rows.status"),
    "enter_scene": ("Tracks.there", "Tracks.goal_section", "Tracks.light", "Tracks.conflict", "Lights.colour", "Pose.x",
                    "Goals.section", "LanePosition.section", "RewardWeights.coefficients", "Grid.edges", "Rows.status"),
}  # fmt: skip


@pytest.mark.parametrize("kernel", STORES)
def test_ptx(driven, kernel):
    check_ptx(kernel, driven["kernels"][kernel], STORES[kernel])


@pytest.mark.slow
@pytest.mark.parametrize("kernel", OF_SCENES)
def test_ptx_of_scenes(driven_slowly, kernel):
    check_ptx(kernel, driven_slowly["kernels"][kernel], OF_SCENES[kernel])


def check_ptx(kernel, row, stores):
    assert row["ptx_doubles"] == 0, "double precision is slow, and a sign of a forgotten float32"
    assert row["ptx_global_stores"] >= stores
    assert not set(TOUCHED[kernel]) & set(row["untouched"])


@pytest.mark.slow
def test_machine_code(folder):
    """For the A100 the figures are the same: `python benchmarks/cuda_compile.py 8.0`."""
    for kernel, row in scenes_of(folder, "machine", *cuda_scenes.SCENES)["kernels"].items():
        assert row["double_instructions"] == row["spilled_bytes"] == row["stack_bytes"] == 0, kernel
        assert row["local_instructions"] == 0 and row["registers"] <= REGISTERS[kernel], kernel


LEAKY = """
import json
from types import SimpleNamespace
import numba.cuda.dispatcher
from numba import cuda, float32, void
from benchmarks.cuda_compile import read_ptx

numba.cuda.dispatcher.get_current_device = lambda: SimpleNamespace(compute_capability=(9, 0))
found = []
for leak in ("x[0] + x[1]", "x[i] * 0.1", "x[i] + i", "x[i] * x[i] * i"):
    space = {}
    exec(f"def leaky(x):\\n    for i in range(len(x)):\\n        x[i] = {leak}", space)
    ptx, _ = cuda.compile(space["leaky"], void(float32[:]), cc=(9, 0), device=False, abi="numba", output="ptx")
    found.append(ptx.count(".f64") > 0)
print(json.dumps(found))
"""


def test_double_precision_would_be_found():
    """The stages are those of the CPU: what leaks there leaks here."""
    done = python("-c", LEAKY)
    assert done.returncode == 0 and json.loads(done.stdout) == [False, True, True, True], done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("actions", ["random", "brake"])
def test_a_step_does_no_more_than_it_did(actions, folder, tmp_path):
    """Five in a hundred above what was committed last."""
    done = python(ROOT / "benchmarks" / "cuda_cost.py", "--actions", actions, "--json", tmp_path / "now")
    assert done.returncode == 0, done.stderr
    lines = map(json.loads, (ROOT / "benchmarks" / "results" / "cuda_cost.jsonl").read_text().splitlines())
    before = [line["together"] for line in lines if line["settings"].get("actions") == actions][-1]
    now = json.loads((tmp_path / "now").read_text())["together"]
    for what in ("warp_instructions", "load_sectors", "store_sectors"):
        assert now[what] <= 1.05 * before[what], what


def test_every_kernel_is_compiled(driven):
    assert set(driven["kernels"]) == set(STORES) and {*STORES, *OF_SCENES} == set(REGISTERS) == set(TOUCHED)


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
