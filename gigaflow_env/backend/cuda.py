"""The CUDA backend: a world is a block, and its threads share the agents.

With cuda_state.py the only file that imports numba.cuda; nobody imports it before CUDA is asked for.

The stages are those of the CPU, in the order of backend/world_step.py. A step is four launches: `drive`;
`write_observation` of the rows that ended; `respawn`; `write_observation` of all rows. `plan_traffic` comes before them if
rows have rule-based drivers, and `record_contacts` after `drive` if there is an event log. In recorded scenes `play_tracks`
comes before `drive`, and `enter_scene` takes the place of `respawn`. In `write_observation` eight threads share a row, see
cuda_rows.py: they select what the agent sees, write it to shared memory, and from there to the observation, so that
neighbouring threads store neighbouring columns.
Counters are in device memory and no kernel waits for the host: a step can be recorded as a CUDA graph.

Agents are not copied to shared memory: the poses of a world are some 2 KB, which stay in the L1 cache.
Kernels are compiled at first use and cached on disk, by the hash of all kernel sources (jit.SOURCE_HASH). To ship them
compiled would save half a minute once per machine, and tie the wheel to cards and drivers.
"""

import ctypes
import itertools
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np

if not hasattr(np, "row_stack"):
    np.row_stack = np.vstack  # type: ignore[attr-defined]  # numba-cuda 0.30 asks numpy for it, which lost it in 2.5

import numba
from numba import cuda

from gigaflow_env.backend import world_step
from gigaflow_env.backend.world_step import DISABLED, RESET_ATTEMPTS, SAME_STEP, Parts, known, parameters
from gigaflow_env.extras import remedy
from gigaflow_env.jit import SOURCE_HASH, alone, anyone, barrier, fetch_ahead, i32, place_among, stage, u32
from gigaflow_env.layout import FLOAT32
from gigaflow_env.sim.observe import clipped, select_lane_samples
from gigaflow_env.sim.precision import half_bits
from gigaflow_env.state import ENDED, LIVE

WARPS = 4
"""Of a block in `write_observation`, where shared memory suffices."""
MOST_SHARED = 48 * 1024
"""[bytes] of shared memory that a block may have without asking."""
MOST_THREADS = 256
INSTALL = f"for CUDA 13 {remedy('cuda13')}, for CUDA 12 the same with cuda12"

if getattr(cuda, "implementation", "") != "NVIDIA":
    # Numba's own target of that name is no longer maintained, and fails at kernels like these.
    raise ImportError(f"backend='cuda' needs the package numba-cuda, which is missing: {INSTALL}")

from cuda.bindings import driver as bindings  # noqa: E402  # after the check, which says what is missing
from numba.cuda.core import config  # noqa: E402
from numba.cuda.extending import overload  # type: ignore[attr-defined]  # noqa: E402

from gigaflow_env.backend.cuda_rows import (  # noqa: E402
    ALL,
    GROUPS,
    LANES,
    MOST,
    WARP,
    copy_row,
    find_neighbours,
    first_of,
    our_group,
    our_lane,
    without_first,
)
from gigaflow_env.backend.cuda_state import addresses, lengths, shaped  # noqa: E402

# It warns of small grids, at every launch: few worlds are what people try first.
config.CUDA_LOW_OCCUPANCY_WARNINGS = 0


@overload(barrier)
def _barrier_of_block() -> Any:
    return lambda: cuda.syncthreads()  # type: ignore[call-arg]


@overload(anyone)
def _anyone_of_block(flag):  # type: ignore[no-untyped-def]
    return lambda flag: cuda.syncthreads_or(numba.int32(flag)) != 0


@overload(alone)
def _one_of_many() -> Any:
    return lambda: False


@overload(place_among)
def _place_in_block(flag):  # type: ignore[no-untyped-def]
    def place(flag):  # type: ignore[no-untyped-def]
        counts = cuda.shared.array(0, numba.uint32)
        bits, warp = u32(cuda.ballot_sync(ALL, flag)), u32(cuda.threadIdx.x // WARP)
        if cuda.laneid == 0:
            counts[warp] = u32(cuda.popc(bits))
        cuda.syncthreads()
        before, every, k = u32(0), u32(0), u32(0)
        while k < u32(cuda.blockDim.x // WARP):
            every = u32(every + counts[k])
            before = u32(before + (counts[k] if k < warp else u32(0)))
            k = u32(k + u32(1))
        cuda.syncthreads()  # before the counts of another time
        return u32(before + u32(cuda.popc(u32(bits & u32(u32(1 << cuda.laneid) - u32(1)))))), every

    return place


@overload(fetch_ahead)
def _nothing_ahead(table, row):  # type: ignore[no-untyped-def]
    return lambda table, row: None


def clear(every, key, chosen_rows, state, lengths, p):  # type: ignore[no-untyped-def]
    """A world a block, see world_step.clear."""
    s = shaped(state, lengths)
    world_step.clear(
        cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x,
        every, key, chosen_rows, s.clock, s.rows, s.pose, s.motion, s.events, s.outcome, p,
    )  # fmt: skip


def plan_traffic(state, lengths, network, grid, conflicts, p):  # type: ignore[no-untyped-def]
    """A world a block, see world_step.plan_traffic."""
    s = shaped(state, lengths)
    world_step.plan_traffic(
        cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x,
        s.clock, s.rows, s.pose, s.motion, s.body, s.lane_position, s.goals, s.lights, s.neighbours, s.traffic, s.variant,
        network, grid, conflicts, p,
    )  # fmt: skip


def record_contacts(state, lengths, network, contacts):  # type: ignore[no-untyped-def]
    """A world a block, see world_step.record_contacts."""
    s = shaped(state, lengths)
    world_step.record_contacts(
        cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x,
        s.clock, s.rows, s.pose, s.motion, s.body, s.lane_position, s.events, s.variant, network, contacts,
    )  # fmt: skip


def drive(mode, actions, wanted, state, lengths, network, grid, nearby, p):  # type: ignore[no-untyped-def]
    """A world a block, see world_step.drive."""
    s = shaped(state, lengths)
    world_step.drive(
        cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x, mode, actions, wanted,
        s.clock, s.rows, s.pose, s.motion, s.body, s.lane_position, s.goals, s.reward_weights, s.events, s.outcome, s.lights,
        s.neighbours, s.variant, s.perceived,
        network, grid, nearby, p,
    )  # fmt: skip


def respawn(mode, anew, attempts, state, lengths, network, grid, p):  # type: ignore[no-untyped-def]
    """A world a block, see world_step.respawn."""
    s = shaped(state, lengths)
    world_step.respawn(
        cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x, mode, anew, attempts,
        s.clock, s.rows, s.pose, s.motion, s.body, s.lane_position, s.goals, s.reward_weights, s.events, s.lights,
        s.overrides, s.proposal, s.lane_routes, s.kinds, s.variant, s.perceived,
        network, grid, p,
    )  # fmt: skip


def play_tracks(mode, state, lengths, tracks, p):  # type: ignore[no-untyped-def]
    """A world a block, see world_step.play_tracks."""
    s = shaped(state, lengths)
    world_step.play_tracks(
        cuda.blockIdx.x,
        cuda.threadIdx.x,
        cuda.blockDim.x,
        mode,
        s.clock,
        s.rows,
        s.pose,
        s.motion,
        s.body,
        s.events,
        tracks,
        p,
    )


def enter_scene(mode, state, lengths, network, grid, tracks, p):  # type: ignore[no-untyped-def]
    """A world a block, see world_step.enter_scene."""
    s = shaped(state, lengths)
    world_step.enter_scene(
        cuda.blockIdx.x, cuda.threadIdx.x, cuda.blockDim.x, mode,
        s.clock, s.rows, s.pose, s.motion, s.body, s.lane_position, s.goals, s.reward_weights, s.events, s.lights,
        s.overrides, s.lane_routes, s.variant, s.perceived, network, grid, tracks, p,
    )  # fmt: skip


@stage
def observe_row(w, a, lane, out, keys, starts, s, network, nearby, p):
    """What agent a observes, in shared memory: what it sees of others and of its route is selected, then all is written."""
    status = s.rows.status[w, a]
    if lane == 0:
        world_step.say_active(w, a, s.rows, s.outcome)
    if status == LIVE or status == ENDED:
        find_neighbours(w, a, lane, keys, s.clock, s.rows, s.pose, s.neighbours, p)
        select_lane_samples(
            w, a, lane, LANES, s.clock, s.lane_position, s.goals, s.lane_routes, s.variant, network, nearby, p
        )  # fmt: skip
    cuda.syncwarp(our_group())
    world_step.write_observation(
        w, a, lane, LANES, out, starts,
        s.clock, s.rows, s.pose, s.motion, s.body, s.lane_position, s.goals, s.reward_weights, s.lights, s.neighbours,
        s.lane_routes, s.variant, s.perceived, network, nearby, p,
    )  # fmt: skip
    cuda.syncwarp(our_group())


@stage
def rows_of_warp(only_ended, worlds, agents, rows):
    """The first row of this warp, and which from there on it is to observe, a bit each: some of WARP, or all of GROUPS."""
    warp, every = u32(u32(u32(cuda.blockIdx.x) * u32(cuda.blockDim.x) + u32(cuda.threadIdx.x)) // WARP), u32(worlds * agents)
    if not only_ended:
        first = u32(warp * GROUPS)
        return first, u32((1 << min(GROUPS, max(i32(every) - i32(first), 0))) - 1)
    first = u32(warp * WARP)
    row = u32(first + u32(cuda.laneid))
    ended = row < every and rows.status[u32(row // agents), u32(row % agents)] == ENDED
    return first, u32(cuda.ballot_sync(ALL, ended))


def write_observation(only_ended, obs, starts, state, lengths, network, nearby, p):  # type: ignore[no-untyped-def]
    """A row is LANES threads'."""
    s = shaped(state, lengths)
    shared, bits = cuda.shared.array(0, numba.float32), cuda.shared.array(0, numba.uint32)  # the same memory
    agents, columns = u32(obs.shape[1] & MOST), u32(obs.shape[2] & MOST)
    begin = u32(cuda.threadIdx.x // LANES) * max(columns, agents)
    out, keys = shared[begin : begin + columns], bits[begin : begin + agents]
    first, todo = rows_of_warp(only_ended, obs.shape[0], agents, s.rows)
    todo = without_first(todo, cuda.laneid // LANES)
    while todo != 0:
        row = u32(first + first_of(todo))
        w, a = u32(row // agents), u32(row % agents)
        lane = our_lane()
        observe_row(w, a, lane, out, keys, starts, s, network, nearby, p)
        copy_row(obs[w, a], out, lane, columns)
        todo = without_first(todo, GROUPS)
        cuda.syncwarp(our_group())


def write_observation_half(  # type: ignore[no-untyped-def]
    only_ended, obs_dtype, obs, starts, state, lengths, network, nearby, p
):
    """The same in half precision."""
    s = shaped(state, lengths)
    shared, bits = cuda.shared.array(0, numba.float32), cuda.shared.array(0, numba.uint32)
    agents, columns = u32(obs.shape[1] & MOST), u32(obs.shape[2] & MOST)
    begin = u32(cuda.threadIdx.x // LANES) * max(columns, agents)
    out, keys, as_bits = shared[begin : begin + columns], bits[begin : begin + agents], bits[begin : begin + columns]
    first, todo = rows_of_warp(only_ended, obs.shape[0], agents, s.rows)
    todo = without_first(todo, cuda.laneid // LANES)
    while todo != 0:
        row = u32(first + first_of(todo))
        w, a = u32(row // agents), u32(row % agents)
        lane = our_lane()
        observe_row(w, a, lane, out, keys, starts, s, network, nearby, p)
        line, i = obs[w, a], lane
        while i < columns:
            out[i] = clipped(out[i])
            line[i] = half_bits(as_bits[i], obs_dtype)
            i = u32(i + u32(LANES))
        todo = without_first(todo, GROUPS)
        cuda.syncwarp(our_group())


def _compiled(function: Any) -> Any:
    """A kernel, compiled at first use. The cache's key covers a kernel's own file only, so its name covers all others."""
    function.__qualname__ = f"{function.__qualname__}_{SOURCE_HASH}"
    try:
        return cuda.jit(function, cache=True)
    except RuntimeError:  # no directory for the cache: compile in every process
        return cuda.jit(function)


FUNCTIONS = {
    function.__name__: function
    for function in (
        clear,
        plan_traffic,
        drive,
        record_contacts,
        respawn,
        play_tracks,
        enter_scene,
        write_observation,
        write_observation_half,
    )  # fmt: skip
}
KERNELS = {name: _compiled(function) for name, function in FUNCTIONS.items()}


def arguments(name: str, have: dict[str, Any]) -> tuple[Any, ...]:
    """What a kernel gets."""
    given = {**have, "state": addresses(have["state"]), "lengths": lengths(have["state"])}
    return tuple(given[parameter] for parameter in parameters(FUNCTIONS[name]))


class Launch:
    """A kernel with its arguments, ready for the driver.

    Numba turns the arguments into some 400 numbers at every launch, which takes milliseconds; here that is done once. What
    it calls is numba-cuda's own, and not public: pyproject.toml names the versions.
    """

    alive: Any = None
    """What the addresses among the arguments are of."""

    def __init__(self, kernel: Any, args: tuple) -> None:
        self._args = args
        self.compiled = compiled = kernel.compile(tuple(kernel.typeof_pyval(arg) for arg in args))
        numbers: list[Any] = []
        for kind, arg in zip(compiled.argument_types, args, strict=True):
            compiled._prepare_args(kind, arg, 0, [], numbers)
        # One slot of 8 bytes for each number, at which the driver reads as many bytes as the kernel declares.
        self._slots = (ctypes.c_uint64 * len(numbers))()
        start = ctypes.addressof(self._slots)
        self._places = (ctypes.c_void_p * len(numbers))(*range(start, start + 8 * len(numbers), 8))
        for place, number in zip(self._places, numbers, strict=True):
            value = number if isinstance(number, ctypes._SimpleCData) else ctypes.c_int64(number)
            ctypes.memmove(place, ctypes.addressof(value), ctypes.sizeof(value))
        self._function = bindings.CUfunction(int(compiled._codelibrary.get_cufunc().handle))

    def __call__(self, blocks: int, threads: int, shared: int, stream: int) -> None:
        """Launch the kernel."""
        self.threads, self.shared = threads, shared
        places = ctypes.addressof(self._places)
        (status,) = bindings.cuLaunchKernel(self._function, blocks, 1, 1, threads, 1, 1, shared, stream, places, 0)
        if status != bindings.CUresult.CUDA_SUCCESS:
            raise RuntimeError(f"CUDA refused to launch a kernel of {blocks} blocks of {threads} threads: {status.name}")


class Device:
    """A card: arrays are numba's device arrays, kernels run on `stream`, the number of a CUDA stream (0: the default)."""

    threads = 1

    def __init__(self, device: int = 0) -> None:
        if not 0 <= device < len(cuda.gpus):
            raise ValueError(f"device={device}: this machine has {len(cuda.gpus)} CUDA devices, numbered from 0")
        self.device = device
        self.stream = 0
        self._launches: dict[tuple, Launch] = {}
        self.watched: list[tuple[str, Any]] | None = None
        self._key = self.zeros((2,), np.uint32)
        self._same_key = self.zeros((1,), np.uint32)

    def _here(self) -> AbstractContextManager:
        return cuda.gpus[self.device]

    def expect(self, worlds: int, nbytes: int) -> None:
        """Raises MemoryError where arrays of so many bytes a world don't fit."""
        with self._here():
            free = int(cuda.current_context().get_memory_info()[0])
        if worlds * nbytes > free:
            raise MemoryError(
                f"{worlds} worlds of {nbytes / 2**20:.2f} MiB need {worlds * nbytes / 2**30:.2f} GiB, and device "
                f"{self.device} has {free / 2**30:.2f} GiB left: {free // nbytes} worlds fit"
            )

    def put(self, group: Any) -> Any:
        """A group of arrays as the kernels want them: copies on the device."""
        with self._here():
            return type(group)(*(cuda.to_device(array) for array in group))

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """A new array of the device, filled with 0."""
        with self._here():
            array = cuda.device_array(shape, dtype)
            if array.nbytes:
                cuda.cudadrv.driver.device_memset(array, 0, array.nbytes)
            return array

    def write(self, array: Any, values: np.ndarray) -> None:
        """Copy values from the host into an array of the device."""
        with self._here():
            array.copy_to_device(np.ascontiguousarray(values, array.dtype), stream=self._stream())

    def fetch(self, array: Any) -> np.ndarray:
        """A copy on the host, after all work of the device is done: a graph may run on another stream than kernels."""
        with self._here():
            cuda.synchronize()
            return array.copy_to_host()

    def prepare(self, parts: Parts) -> None:
        """Nothing: kernels are compiled at their first launch."""

    def clear(self, parts: Parts, every: bool, key: np.ndarray, chosen_rows: Any) -> None:
        """Chosen rows wait to spawn, see world_step.clear."""
        if len(key):
            self.write(self._key, key)
        given = {"every": every, "key": self._key if len(key) else self._same_key, "chosen_rows": chosen_rows}
        self._worlds("clear", known(parts) | given)

    def reset(self, parts: Parts) -> None:
        """Waiting rows spawn, and all rows are observed."""
        have = known(parts)
        name = "respawn" if parts.tracks is None else "enter_scene"
        self._worlds(name, {**have, "mode": DISABLED, "anew": True, "attempts": RESET_ATTEMPTS})
        self._show(have, False, parts.obs)

    def observe(self, parts: Parts) -> None:
        """Observe all rows as they are."""
        self._show(known(parts), False, parts.obs)

    def step(self, parts: Parts) -> None:
        """One step of all worlds."""
        have, same_step = known(parts), parts.mode == SAME_STEP
        if parts.conflicts is not None:
            self._worlds("plan_traffic", have)
        scenes = parts.tracks is not None
        if scenes:
            self._worlds("play_tracks", have)
        # A scene's world begins anew only where its page is turned, see Simulator.turn.
        self._worlds("drive", {**have, "mode": SAME_STEP} if scenes else have)
        if parts.contacts is not None:
            # Before respawn: it moves crashed agents away.
            self._worlds("record_contacts", have)
        if same_step:
            # Before respawn: the last observation of an episode shows the world in which it ended.
            self._show(have, True, parts.final_obs)
        # Before the last observations: an agent that spawns must not be observed at its old position.
        name = "enter_scene" if scenes else "respawn"
        self._worlds(name, {**have, "anew": same_step, "attempts": parts.p.spawn_attempts})
        self._show(have, False, parts.obs)

    def _show(self, have: dict[str, Any], only_ended: bool, obs: Any) -> None:
        have = {**have, "only_ended": only_ended, "obs": obs}
        worlds, agents, columns = have["obs"].shape
        wide = max(columns, agents) * 4
        warps = min(WARPS, MOST_SHARED // (GROUPS * wide))
        if warps == 0:
            raise ValueError(f"an observation of {columns} columns: on CUDA {MOST_SHARED // 4 // GROUPS} fit")
        blocks = -(-worlds * agents // (warps * (WARP if only_ended else GROUPS)))
        name = "write_observation" if have["obs_dtype"] == FLOAT32 else "write_observation_half"
        self._launch(name, blocks, warps * WARP, warps * GROUPS * wide, have)

    def _worlds(self, name: str, have: dict[str, Any]) -> None:
        """A block a world, a thread an agent, in whole warps."""
        worlds, agents = have["rows"].status.shape
        threads = min(MOST_THREADS, -(-agents // WARP) * WARP)
        self._launch(name, worlds, threads, threads // WARP * 4, have)  # a count for each warp, see place_among

    def _launch(self, name: str, blocks: int, threads: int, shared: int, have: dict[str, Any]) -> None:
        args = [have[parameter] for parameter in parameters(FUNCTIONS[name]) if parameter != "lengths"]
        with self._here():
            # By identity: arrays, groups and parameters live as long as the simulator, and the launch holds on to them.
            key = (name, *(arg if isinstance(arg, int) else id(arg) for arg in args))
            if key not in self._launches:
                self._launches[key] = Launch(KERNELS[name], arguments(name, have))
                self._launches[key].alive = args
            self._launches[key](blocks, threads, shared, self.stream)
            if self.watched is not None:
                self.watched.append((name, self._moment()))

    def _stream(self) -> Any:
        return cuda.external_stream(self.stream) if self.stream else 0

    # For the benchmark

    def timed(self, function: Callable[[], Any]) -> float:
        """Time [s] on the device of what `function` launches on the default stream."""
        with self._here():
            cuda.synchronize()
            start = self._moment()
            function()
            end = self._moment()
            cuda.synchronize()
            return cuda.event_elapsed_time(start, end) / 1e3

    def timed_by_kernel(self, function: Callable[[], Any]) -> list[tuple[str, float]]:
        """The same of each kernel, in order, by name."""
        with self._here():
            cuda.synchronize()
            moments = self.watched = [("", self._moment())]
            function()
            self.watched = None
            cuda.synchronize()
            return [
                (name, cuda.event_elapsed_time(before, after) / 1e3)
                for (_, before), (name, after) in itertools.pairwise(moments)
            ]

    def _moment(self) -> Any:
        event = cuda.event()
        event.record()
        return event

    def copy_rate(self, nbytes: int = 2**30) -> float:
        """Bytes a second that the device reads and writes when it copies: the fastest of some copies."""
        with self._here():
            one, other = (cuda.device_array(nbytes, np.uint8) for _ in range(2))
            return 2 * nbytes / min(self.timed(lambda: other.copy_to_device(one)) for _ in range(5))

    def facts(self) -> dict[str, Any]:
        """The card, and what each kernel that was launched needs of it."""
        kernels = {}
        with self._here():
            context = cuda.current_context()
            most = context.device.MAX_THREADS_PER_MULTIPROCESSOR
            for (name, *_), launch in self._launches.items():
                blocks = context.get_active_blocks_per_multiprocessor(
                    launch.compiled._codelibrary.get_cufunc(), launch.threads, launch.shared
                )
                kernels[name] = {
                    "registers": launch.compiled.regs_per_thread,
                    "local_bytes": launch.compiled.local_mem_per_thread,
                    "threads": launch.threads,
                    "occupancy": round(blocks * launch.threads / most, 3),
                }
            name = context.device.name
            card = name.decode() if isinstance(name, bytes) else str(name)
            driver: tuple[int, int] = cuda.cudadrv.driver.driver.get_version()  # type: ignore[attr-defined]
        return {"card": card, "driver_cuda": f"{driver[0]}.{driver[1]}", "kernels": kernels}

    def forget(self) -> None:
        """Launches that are ready hold on to their arrays: make them anew. Memory is given back when the device is done."""
        self._launches.clear()

    def close(self) -> None:
        """Release all resources."""
        self._launches.clear()

    def __getstate__(self) -> dict[str, Any]:
        raise TypeError("an environment on a CUDA device can't be pickled or copied: make another one")


def missing() -> str:
    """What is missing for kernels to be compiled and run, and what to do about it; empty if nothing is."""
    if not cuda.is_available():
        why = " ".join(str(cuda.cuda_error() or "no card found").split())
        return f"backend='cuda': no usable CUDA device ({why})"
    driver: tuple[int, int] = cuda.cudadrv.driver.driver.get_version()  # type: ignore[attr-defined]
    toolkit: tuple[int, int] = cuda.cudadrv.runtime.runtime.get_version()
    if driver[0] < toolkit[0]:  # within a major version any driver runs what any toolkit made
        return (
            f"backend='cuda': the driver is for CUDA {driver[0]}.{driver[1]}, the libraries here are of CUDA "
            f"{toolkit[0]}.{toolkit[1]}: update the driver, or take older libraries: {INSTALL}"
        )
    return ""
