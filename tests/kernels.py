"""Compile what the tests call before they begin, side by side: `python tests/kernels.py`.

Kernels of a step and the loops around single stages (conftest.looped) consist of the same stages. Compiled in one process,
Numba infers the types of each stage once, which is most of the work; as the tests come to them, each would be done anew.
"""

import gc
import subprocess
import sys
import time
from collections.abc import Callable

import numpy as np
import recorded_scenes
from conftest import STAGES, crossing, plain, run

from gigaflow_env.backend import cpu, world_step
from gigaflow_env.config import laptop
from gigaflow_env.event_log import EventLog
from gigaflow_env.scenes.cast import Casting
from gigaflow_env.scenes.sources import sources
from gigaflow_env.scenes.stream import Stream
from gigaflow_env.simulator import Simulator

KEPT = "observe_chosen"
"""The kernel of states that are kept, which no step calls."""
PARTS = (
    ("respawn", "write_observation", "write_observation_half", KEPT, "record_contacts", "enter_scene", "play_tracks"),
    ("drive", "plan_traffic", "clear"),
)
"""Kernels, by the process that compiles them: both take as long."""


def stages_in(function: Callable) -> set[str]:
    """The stages that a function of the backend calls, or what it calls of world_step."""
    called = set(plain(function).__code__.co_names)
    inner = [plain(getattr(world_step, name)) for name in called - set(STAGES) if hasattr(world_step, name)]
    own = [one for one in inner if getattr(one, "__module__", "") == world_step.__name__]
    return (called & set(STAGES)).union(*map(stages_in, own))


def stages_of(kernel: str) -> set[str]:
    """The stages that a kernel is the first of all to call; with the first one come those that none calls by itself."""
    everything = [name for part in PARTS for name in part]
    called = {name: stages_in(getattr(cpu, name)) for name in everything}
    before = set().union(*(called[name] for name in everything[: everything.index(kernel)]))
    others = set(STAGES).difference(*called.values()) if kernel == everything[0] else set()
    return (called[kernel] | others) - before


def simulators() -> list[Simulator]:
    """What calls the kernels, all together: rule-based drivers, both kinds of observations, recorded scenes."""
    drivers = {"policy": 0.5, "idm": 0.5}
    towns = [
        Simulator(crossing(lights=True), 4, laptop(), threads=1, drivers=drivers, obs_dtype=obs_dtype)
        for obs_dtype in ("float32", "float16")
    ]
    stream = Stream(sources([recorded_scenes.scene(steps=7)], None), Casting("all", "idm"), laptop(), processes=0)
    stream.close()
    seats = stream.shape.seats
    return [*towns, Simulator(stream.page, seats, stream.config, threads=1, seats=seats)]


def main(names: list[str]) -> None:
    """Compile these kernels and the loops around their stages."""
    gc.disable()  # a tenth of the time, as in gigaflow_env.compiling
    done = set()
    for sim in simulators():
        sim.contacts = EventLog(sim).contacts
        for kernel, args in cpu._calls(sim._parts):
            name = kernel.py_func.__name__
            if name in names and name not in done:
                done.add(name)
                kernel.compile(tuple(map(kernel.typeof_pyval, args)))
                for stage in sorted(stages_of(name)):
                    run(stage, sim, [])  # compiled, and none of it done
    if KEPT in names:
        nobody = np.zeros(0, np.int64)
        sim.observe_chosen(sim.state, np.zeros(2, np.int64), nobody, nobody, np.zeros((0, sim.layout.size), np.float32))


if __name__ == "__main__":
    if sys.argv[1:]:
        main(sys.argv[1:])
    else:
        print("compiling the kernels of the tests, some minutes where none is on disk yet", flush=True)
        start = time.perf_counter()
        running = [subprocess.Popen([sys.executable, __file__, *names]) for names in PARTS]
        if any([one.wait() for one in running]):
            sys.exit("kernels of the tests could not be compiled, see above")
        print(f"kernels are there after {time.perf_counter() - start:.0f} s", flush=True)
