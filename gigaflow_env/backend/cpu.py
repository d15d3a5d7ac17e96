"""The CPU backend: a range of worlds per thread, one worker a world.

No OpenMP: its barrier spins on shared cores (seven times slower than serial) and kills forked workers. A kernel over a range
of worlds releases the GIL, and a small pool of our own threads takes the ranges. Worlds don't touch each other: results are
bit-equal for any number of threads.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from gigaflow_env.backend import world_step
from gigaflow_env.backend.world_step import DISABLED, RESET_ATTEMPTS, SAME_STEP, Parts, known, parameters
from gigaflow_env.bounds import Bounds, whole
from gigaflow_env.compiling import ready
from gigaflow_env.jit import fetch_ahead, fetch_to_write, i32, stage
from gigaflow_env.layout import FLOAT32
from gigaflow_env.prepared import Call, arguments, bind, prepared, prepared_distinct
from gigaflow_env.sim.observe import draw_windows, line_up
from gigaflow_env.sim.precision import half_bits
from gigaflow_env.state import ENDED

THREADS = Bounds(1, 1024)
"""More than processors have; ten thousand would exhaust what the system gives a process."""

FIRST, STRIDE = 0, 1
"""One worker drives all agents of a world."""

FEW = 1024
"""Agents whose state and observations stay in the second-level cache from one step to the next."""


@stage
def fetch_next_world(w, rows, pose, motion, body, lane_position, goals, events, outcome, neighbours, perceived):
    """Have brought nearer what `drive` reads and writes of the world after w: small pieces of many arrays."""
    if rows.status.size <= FEW:
        return
    w = min(w + 1, len(rows.status) - 1)
    fetch_to_write((pose, motion, lane_position, events, outcome, perceived), w)
    fetch_ahead((body, goals, neighbours.agent), w)


@stage
def fetch_row(w, a, only_ended, rows, lane_routes, obs):
    """Have the memory of an observation brought nearer, while what it shows is still looked for."""
    if rows.status.size > FEW and (not only_ended or rows.status[w, a] == ENDED):
        fetch_to_write((lane_routes.route_distance[w], obs[w]), a)


@prepared
def clear(begin, end, every, key, chosen_rows, clock, rows, pose, motion, events, outcome, p):
    """Worlds `begin` to `end`, see world_step.clear."""
    for w in range(begin, end):
        world_step.clear(w, FIRST, STRIDE, every, key, chosen_rows, clock, rows, pose, motion, events, outcome, p)


@prepared
def plan_traffic(
    begin, end,
    clock, rows, pose, motion, body, lane_position, goals, lights, neighbours, traffic, variant, network, grid,
    conflicts, p,
):  # fmt: skip
    """Worlds `begin` to `end`, see world_step.plan_traffic."""
    for w in range(begin, end):
        world_step.plan_traffic(
            w, FIRST, STRIDE,
            clock, rows, pose, motion, body, lane_position, goals, lights, neighbours, traffic, variant, network,
            grid, conflicts, p,
        )  # fmt: skip


@prepared
def record_contacts(begin, end, clock, rows, pose, motion, body, lane_position, events, variant, network, contacts):
    """Worlds `begin` to `end`, see world_step.record_contacts."""
    for w in range(begin, end):
        world_step.record_contacts(
            w, FIRST, STRIDE, clock, rows, pose, motion, body, lane_position, events, variant, network, contacts
        )


@prepared_distinct
def drive(
    begin, end, mode, actions, wanted,
    clock, rows, pose, motion, body, lane_position, goals, reward_weights, events, outcome, lights, neighbours, variant,
    perceived, network, grid, nearby, p,
):  # fmt: skip
    """Worlds `begin` to `end`, see world_step.drive."""
    for w in range(begin, end):
        fetch_next_world(w, rows, pose, motion, body, lane_position, goals, events, outcome, neighbours, perceived)
        world_step.drive(
            w, FIRST, STRIDE, mode, actions, wanted,
            clock, rows, pose, motion, body, lane_position, goals, reward_weights, events, outcome, lights, neighbours,
            variant, perceived,
            network, grid, nearby, p,
        )  # fmt: skip


@prepared
def respawn(
    begin, end, mode, anew, attempts,
    clock, rows, pose, motion, body, lane_position, goals, reward_weights, events, lights, overrides, proposal,
    lane_routes, kinds, variant, perceived,
    network, grid, p,
):  # fmt: skip
    """Worlds `begin` to `end`, see world_step.respawn."""
    for w in range(begin, end):
        world_step.respawn(
            w, FIRST, STRIDE, mode, anew, attempts,
            clock, rows, pose, motion, body, lane_position, goals, reward_weights, events, lights, overrides, proposal,
            lane_routes, kinds, variant,
            perceived, network, grid, p,
        )  # fmt: skip


@prepared
def play_tracks(begin, end, mode, clock, rows, pose, motion, body, events, tracks, p):
    """Worlds `begin` to `end`, see world_step.play_tracks."""
    for w in range(begin, end):
        world_step.play_tracks(w, FIRST, STRIDE, mode, clock, rows, pose, motion, body, events, tracks, p)


@prepared
def enter_scene(
    begin, end, mode,
    clock, rows, pose, motion, body, lane_position, goals, reward_weights, events, lights, overrides, lane_routes, variant,
    perceived, network, grid, tracks, p,
):  # fmt: skip
    """Worlds `begin` to `end`, see world_step.enter_scene."""
    for w in range(begin, end):
        world_step.enter_scene(
            w, FIRST, STRIDE, mode,
            clock, rows, pose, motion, body, lane_position, goals, reward_weights, events, lights, overrides, lane_routes,
            variant, perceived, network, grid, tracks, p,
        )  # fmt: skip


@prepared
def write_observation(
    begin, end, only_ended, obs, starts,
    clock, rows, pose, motion, body, lane_position, goals, reward_weights, outcome, lights, neighbours, lane_routes,
    variant, perceived,
    network, nearby, p,
):  # fmt: skip
    """Observations of all rows, or only of those whose episode has just ended."""
    for w in range(begin, end):
        for a in range(rows.status.shape[1]):  # more than are observed, where some have no row
            line_up(w, a, pose, body, neighbours, perceived)
        if not only_ended:
            draw_windows(w, clock, lane_routes, nearby, p)
        following = world_step.look_around(w, 0, only_ended, clock, rows, pose, neighbours, p)
        for a in range(obs.shape[1]):
            near, following = following, world_step.look_around(w, a + 1, only_ended, clock, rows, pose, neighbours, p)
            fetch_row(w, a, only_ended, rows, lane_routes, obs)
            if world_step.prepare_observation(
                w, a, near, only_ended, clock, rows, pose, lane_position, goals, outcome, neighbours, lane_routes, variant,
                network, nearby, p,
            ):  # fmt: skip
                world_step.write_observation(
                    w, a, FIRST, STRIDE, obs[w, a], starts,
                    clock, rows, pose, motion, body, lane_position, goals, reward_weights, lights, neighbours,
                    lane_routes, variant, perceived,
                    network, nearby, p,
                )  # fmt: skip


@prepared
def write_observation_half(
    begin, end, only_ended, obs_dtype, row, bits, obs, starts,
    clock, rows, pose, motion, body, lane_position, goals, reward_weights, outcome, lights, neighbours, lane_routes,
    variant, perceived,
    network, nearby, p,
):  # fmt: skip
    """The same in half precision. `row`, float32 (worlds, columns), holds one row at a time; `bits` are its uint32."""
    for w in range(begin, end):
        for a in range(rows.status.shape[1]):  # more than are observed, where some have no row
            line_up(w, a, pose, body, neighbours, perceived)
        if not only_ended:
            draw_windows(w, clock, lane_routes, nearby, p)
        following = world_step.look_around(w, 0, only_ended, clock, rows, pose, neighbours, p)
        for a in range(obs.shape[1]):
            near, following = following, world_step.look_around(w, a + 1, only_ended, clock, rows, pose, neighbours, p)
            fetch_row(w, a, only_ended, rows, lane_routes, obs)
            if world_step.prepare_observation(
                w, a, near, only_ended, clock, rows, pose, lane_position, goals, outcome, neighbours, lane_routes, variant,
                network, nearby, p,
            ):  # fmt: skip
                world_step.write_observation(
                    w, a, FIRST, STRIDE, row[w], starts,
                    clock, rows, pose, motion, body, lane_position, goals, reward_weights, lights, neighbours,
                    lane_routes, variant, perceived,
                    network, nearby, p,
                )  # fmt: skip
                for i in range(obs.shape[2]):
                    obs[w, a, i] = half_bits(bits[w, i], obs_dtype)


@prepared
def observe_chosen(
    begin, end, first, agents, places, obs, starts,
    clock, rows, pose, motion, body, lane_position, goals, reward_weights, outcome, lights, neighbours, lane_routes,
    variant, perceived,
    network, nearby, p,
):  # fmt: skip
    """Observations of some agents of each world, from a state of which only what they follow from is known."""
    for w in range(begin, end):
        for a in range(rows.status.shape[1]):
            line_up(w, a, pose, body, neighbours, perceived)
        draw_windows(w, clock, lane_routes, nearby, p)
        for i in range(first[w], first[w + 1]):
            a = agents[i]
            lane_routes.goal[w, a] = i32(-1)  # not yet measured: it was another world's
            near = world_step.look_around(w, a, False, clock, rows, pose, neighbours, p)
            world_step.prepare_observation(
                w, a, near, False, clock, rows, pose, lane_position, goals, outcome, neighbours, lane_routes, variant,
                network, nearby, p,
            )  # fmt: skip
            world_step.write_observation(
                w, a, FIRST, STRIDE, obs[places[i]], starts,
                clock, rows, pose, motion, body, lane_position, goals, reward_weights, lights, neighbours, lane_routes,
                variant, perceived,
                network, nearby, p,
            )  # fmt: skip


TOGETHER = 512
"""Agents that make a step together, in whole worlds. Ours: their state is 510 KB, which fits the second-level cache."""

KEPT = 8
"""Calls that are kept prepared: those of a step and a reset, and of what else goes on meanwhile."""


class Threads:
    """The processors: arrays are numpy's, and a range of worlds is a thread's.

    The pool is made at first use and anew in a forked process, where threads don't survive.
    """

    def __init__(self, threads: int | None) -> None:
        instead = ", or None for all processors"
        self.threads = default_threads() if threads is None else whole("threads", threads, THREADS, instead=instead)
        self.stream = 0
        self._process = 0
        self._workers: Any = None  # ThreadPoolExecutor, made at first use
        self._row = np.zeros((0, 0), np.float32)
        self._compiled: Any = None  # what the kernels were compiled for
        self._kept: dict[tuple, tuple[Parts, list[Call]]] = {}
        self._latest: tuple[Any, list[int], Parts, list[Call]] | None = None  # the last of them

    def expect(self, worlds: int, nbytes: int) -> None:
        """Before arrays of so many bytes a world are made. The operating system minds the memory."""

    def put(self, group: Any) -> Any:
        """A group of arrays as the kernels want them: as they are."""
        return group

    def zeros(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """A new array of the device, filled with 0."""
        return np.zeros(shape, dtype)

    def write(self, array: np.ndarray, values: np.ndarray) -> None:
        """Copy values from the host into an array of the device."""
        array[...] = values

    def fetch(self, array: np.ndarray) -> np.ndarray:
        """The array itself."""
        return array

    def prepare(self, parts: Parts) -> None:
        """Compile the kernels of a reset and a step, or load them from disk; what is there is left alone."""
        kinds = (parts.obs_dtype, parts.conflicts is None, parts.contacts is None, parts.tracks is None)
        if self._compiled != kinds:
            ready(_calls(parts), default_threads())
            self._compiled = kinds

    def clear(self, parts: Parts, every: bool, key: np.ndarray, chosen_rows: np.ndarray) -> None:
        """Rows that are chosen wait for a place, see world_step.clear."""
        self.prepare(parts)
        have = known(parts) | {"every": every, "key": key, "chosen_rows": chosen_rows}
        self._share(len(parts.obs), [_call(clear, have)])

    def reset(self, parts: Parts) -> None:
        """Find places for the waiting rows, and show all."""
        self._run(self._reset, parts)

    def step(self, parts: Parts) -> None:
        """All worlds live one step."""
        self._run(self._step, parts)

    def observe(self, parts: Parts) -> None:
        """Show all rows as they are."""
        self._run(self._observe, parts)

    def observe_chosen(self, parts: Parts, first: np.ndarray, agents: np.ndarray, places: np.ndarray) -> None:
        """Some agents of each world of a state that was kept, see Backend."""
        have = known(parts) | {"first": first, "agents": agents, "places": places}
        self._share(len(first) - 1, [_call(observe_chosen, have)])

    def _reset(self, have: dict[str, Any]) -> list[Call]:
        arrivals = respawn if have["tracks"] is None else enter_scene
        spawn = _call(arrivals, {**have, "mode": DISABLED, "anew": True, "attempts": RESET_ATTEMPTS})
        return [spawn, self._show(have, False, have["obs"])]

    def _step(self, have: dict[str, Any]) -> list[Call]:
        calls = []
        if have["conflicts"] is not None:
            calls.append(_call(plan_traffic, have))
        scenes = have["tracks"] is not None
        if scenes:
            calls.append(_call(play_tracks, have))
        # A scene's world begins anew only where its page is turned, see Simulator.turn.
        calls.append(_call(drive, {**have, "mode": SAME_STEP} if scenes else have))
        if have["contacts"] is not None:
            # Before respawn: it moves those who crashed to other places.
            calls.append(_call(record_contacts, have))
        same_step = have["mode"] == SAME_STEP
        if same_step:
            # Before respawn: the last observation of an episode shows the world in which it ended.
            calls.append(self._show(have, True, have["final_obs"]))
        # Before the last observations: an agent that starts anew must not be seen at its old place.
        arrivals = enter_scene if scenes else respawn
        calls.append(_call(arrivals, {**have, "anew": same_step, "attempts": have["p"].spawn_attempts}))
        return [*calls, self._show(have, False, have["obs"])]

    def _observe(self, have: dict[str, Any]) -> list[Call]:
        return [self._show(have, False, have["obs"])]

    def _show(self, have: dict[str, Any], only_ended: bool, obs: np.ndarray) -> Call:
        have = {**have, "only_ended": only_ended, "obs": obs}
        if have["obs_dtype"] == FLOAT32:
            return _call(write_observation, have)
        worlds, _, columns = obs.shape
        if self._row.shape != (worlds, columns):
            self._row = np.zeros((worlds, columns), np.float32)
        return _call(write_observation_half, {**have, "row": self._row, "bits": self._row.view(np.uint32)})

    def _run(self, calls_of: Callable[[dict[str, Any]], list[Call]], parts: Parts) -> None:
        """Make these calls for all worlds. They are prepared once, as long as the parts are the same."""
        latest, same = self._latest, list(map(id, parts))
        if latest is None or latest[0] != calls_of or latest[1] != same:
            latest = self._latest = calls_of, same, parts, self._calls_for(calls_of, parts)
        self._share(len(parts.obs), latest[3])

    def _calls_for(self, calls_of: Callable[[dict[str, Any]], list[Call]], parts: Parts) -> list[Call]:
        """The calls for these parts: those of before, if need be with other observations, or new ones."""
        # By identity: that of `parts` itself would not do, as it's made anew. What is kept holds on to all of them.
        lasting = parts._replace(obs=None, final_obs=None)
        key = (calls_of.__name__, *map(id, lasting))
        kept = self._kept.get(key)
        if kept is None:
            self.prepare(parts)
            if len(self._kept) >= KEPT:
                self._kept.clear()
            kept = self._kept[key] = parts, calls_of(known(parts))
        elif kept[0].obs is not parts.obs or kept[0].final_obs is not parts.final_obs:
            new = {id(kept[0].obs): parts.obs, id(kept[0].final_obs): parts.final_obs}
            calls = [call._replace(loose=tuple(new.get(id(one), one) for one in call.loose)) for call in kept[1]]
            kept = self._kept[key] = parts, calls
        return kept[1]

    def _share(self, worlds: int, calls: list[Call]) -> None:
        """Make these calls for ranges that cover all worlds; the caller's thread takes the first."""
        ranges = min(self.threads, worlds)
        if ranges == 1:
            self._perform(calls, 0, worlds)
            return
        bounds = [worlds * part // ranges for part in range(ranges + 1)]
        if self._process != os.getpid():
            self._process, self._workers = os.getpid(), ThreadPoolExecutor(self.threads - 1, "gigaflow")
        others = [self._workers.submit(self._perform, calls, *pair) for pair in zip(bounds[1:-1], bounds[2:], strict=True)]
        self._perform(calls, bounds[0], bounds[1])
        for other in others:
            other.result()

    def _perform(self, calls: list[Call], begin: int, end: int) -> None:
        """Some worlds at a time make all of the calls: what one call wrote is then near for the next one."""
        agents = calls[0].table.size("agent")
        together = max(TOGETHER // agents, 1)
        for first in range(begin, end, together):
            for call in calls:
                call(first, min(first + together, end))

    def forget(self) -> None:
        """Tables were replaced: what was prepared for them goes."""
        self._kept.clear()
        self._latest = None

    def close(self) -> None:
        """Give back what is held."""
        if self._workers is not None and self._process == os.getpid():
            self._workers.shutdown()
        self._workers, self._process = None, 0
        self.forget()

    def __getstate__(self) -> dict[str, Any]:
        # Threads and addresses can't be copied.
        return {**self.__dict__, "_workers": None, "_process": 0, "_kept": {}, "_latest": None}


def _call(function: Callable, have: dict[str, Any]) -> Call:
    return bind(function, [have[name] for name in parameters(function)[2:]])


def _calls(parts: Parts) -> list[tuple[Callable, list[Any]]]:
    """The kernels of a reset and a step, with arguments of the types that they get: the slowest to compile come first."""
    row = np.zeros((0, 0), np.float32)
    have = known(parts) | {
        "begin": 0, "end": 0, "every": True, "key": np.zeros(0, np.uint32), "chosen_rows": parts.state.rows.status > 0,
        "anew": True, "attempts": RESET_ATTEMPTS, "only_ended": False, "row": row, "bits": row.view(np.uint32),
    }  # fmt: skip
    writer = write_observation if parts.obs_dtype == FLOAT32 else write_observation_half
    traffic = [plan_traffic] if parts.conflicts is not None else []
    log = [record_contacts] if parts.contacts is not None else []
    arrivals = [respawn] if parts.tracks is None else [enter_scene, play_tracks]
    kernels = [*arrivals, drive, *traffic, writer, *log, clear]
    return [(function, list(arguments([have[name] for name in parameters(function)]))) for function in kernels]


def default_threads() -> int:
    """The processors which this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
