"""The CPU backend: the stages in their order, a range of worlds per thread.

No OpenMP: its barrier spins on shared cores (seven times slower than serial) and kills forked workers. A kernel over a
range of worlds
releases the GIL, and a small pool of our own threads takes the ranges. Worlds don't touch each other: results are
bit-equal for any number of threads.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gigaflow_env.jit import f32, i32, kernel, stage
from gigaflow_env.sim.blame import note
from gigaflow_env.sim.chance import STAGGER, draws
from gigaflow_env.sim.collision import collide, leave_road, run_light
from gigaflow_env.sim.dynamics import decide, move
from gigaflow_env.sim.goals import arrive
from gigaflow_env.sim.lanes import locate
from gigaflow_env.sim.lights import schedule, switch
from gigaflow_env.sim.observe import blank, look, survey, watch
from gigaflow_env.sim.reset import enter, propose, settle
from gigaflow_env.sim.rewards import score
from gigaflow_env.sim.traffic import follow, intend
from gigaflow_env.state import ENDED, LIVE, WAITING

SAME_STEP, NEXT_STEP, DISABLED = range(3)
"""When a row whose episode ended starts anew: in the same step, in the next one, or when `reset` is called for it."""

RESET_ATTEMPTS = i32(64)
"""Rounds in which a reset looks for places: with every agent waiting at once there are more conflicts than in a step."""


@stage
def begin_world(w, clock, lights, network, p):
    """A new world: its lights are drawn anew. Writes: clock.step, lights."""
    clock.step[w] = 0
    if clock.tick[w] == 0:
        # The first worlds begin at different ages, so that they do not all end, and start anew, in one step.
        age, _, _, _ = draws(clock.seed, w, 0, 0, STAGGER, 0)
        clock.step[w] = i32(age * p.world_stagger * f32(p.world_steps))
    for k in range(network.maps[clock.map[w]].lights):
        schedule(w, k, clock, network, lights, p)
        switch(w, k, clock, lights, p)


@kernel
def guide(
    begin, end, clock, rows, pose, motion, body, place, goals, lights, near, traffic, network, conflicts, p,
):  # fmt: skip
    """Rule-based drivers look at what everybody saw last, and decide."""
    agents = rows.status.shape[1]
    for w in range(begin, end):
        for a in range(agents):
            intend(w, a, clock, rows, pose, motion, body, place, goals, lights, near, network, conflicts, traffic, p)
        for a in range(agents):
            follow(w, a, rows, motion, body, place, network, conflicts, traffic, p)


@kernel
def drive(
    begin, end, mode, actions, wanted,
    clock, rows, pose, motion, body, place, goals, wishes, events, outcome, lights, near, network, grid, nearby, p,
):  # fmt: skip
    """Worlds begin .. end-1 live one step, from the action to the reward."""
    agents = rows.status.shape[1]
    for w in range(begin, end):
        clock.tick[w] += i32(1)
        # In these modes a world outlives its end by the look at it which its agents are still to have.
        if mode != SAME_STEP and clock.step[w] >= p.world_steps:
            begin_world(w, clock, lights, network, p)
        if mode == NEXT_STEP:
            for a in range(agents):
                if rows.status[w, a] == ENDED:
                    rows.status[w, a] = WAITING
        for a in range(agents):
            decide(w, a, actions, wanted, rows, motion)
        for a in range(agents):
            move(w, a, rows, pose, motion, body, p)
        for a in range(agents):
            locate(w, a, clock, rows, pose, goals, network, grid, place)
        for a in range(agents):
            collide(w, a, rows, pose, motion, body, near, events)
        for a in range(agents):
            leave_road(w, a, clock, rows, pose, body, network, grid, events)
        for a in range(agents):
            run_light(w, a, rows, pose, body, place, lights, network, nearby, events)
        for a in range(agents):
            arrive(w, a, clock, rows, pose, motion, wishes, network, events, goals, place, p)
        for a in range(agents):
            score(w, a, clock, rows, motion, place, wishes, events, outcome, goals, p)
        # After the judgement of red lights, which is by the colours that the agents saw.
        clock.step[w] += i32(1)
        for k in range(network.maps[clock.map[w]].lights):
            switch(w, k, clock, lights, p)


@kernel
def renew(
    begin, end, mode, anew, attempts,
    clock, rows, pose, motion, body, place, goals, wishes, lights, chosen, proposal, network, p,
):  # fmt: skip
    """Agents that wait start anew; if `anew`, so do worlds that are over. Who finds no place in `attempts` rounds waits
    on."""
    agents = rows.status.shape[1]
    for w in range(begin, end):
        over = clock.step[w] >= p.world_steps
        if over and not anew:
            continue
        if over or clock.tick[w] == 0:
            begin_world(w, clock, lights, network, p)
        if mode == SAME_STEP:
            for a in range(agents):
                if rows.status[w, a] == ENDED:
                    rows.status[w, a] = WAITING
        for attempt in range(attempts):
            waiting = False
            for a in range(agents):
                waiting = waiting or rows.status[w, a] == WAITING
            if not waiting:
                break
            for a in range(agents):
                propose(w, a, attempt, clock, rows, network, chosen, proposal, p)
            for a in range(agents):
                settle(w, a, rows, pose, motion, body, proposal, p)
            for a in range(agents):
                enter(w, a, clock, rows, pose, motion, body, place, goals, wishes, chosen, proposal, network, p)


@kernel
def show(
    begin, end, only_ended, obs, starts,
    clock, rows, pose, motion, body, place, goals, wishes, outcome, lights, near, ways, network, nearby, p,
):  # fmt: skip
    """Observations of all rows, zeros where there is no agent; or only of the rows whose episode has just ended."""
    for w in range(begin, end):
        for a in range(rows.status.shape[1]):
            status = rows.status[w, a]
            if only_ended and status != ENDED:
                continue
            outcome.active[w, a] = status == LIVE
            if status == LIVE or status == ENDED:
                watch(w, a, rows, pose, near, p)
                survey(w, a, clock, place, goals, ways, network, nearby)
                look(w, a, obs, starts, pose, motion, body, place, goals, wishes, lights, near, ways, network, nearby, p)
            else:
                blank(w, a, obs)


@kernel
def write_down(begin, end, rows, pose, motion, body, place, events, network, notes):
    """Who met whom, for the event log."""
    for w in range(begin, end):
        for a in range(rows.status.shape[1]):
            note(w, a, rows, pose, motion, body, place, events, network, notes)


def step(begin, end, mode, actions, wanted, obs, final_obs, starts, state, roads, conflicts, notes, p):
    """One step of worlds begin .. end-1. conflicts: None where no row has a rule-based driver. notes: None without a log."""
    clock, rows, pose, motion, body, place, goals, wishes, events, outcome, lights, proposal, near, ways, chosen, traffic = (
        state
    )
    network, grid, nearby = roads.network, roads.grid, roads.nearby
    if conflicts is not None:
        guide(begin, end, clock, rows, pose, motion, body, place, goals, lights, near, traffic, network, conflicts, p)
    drive(
        begin, end, mode, actions, wanted,
        clock, rows, pose, motion, body, place, goals, wishes, events, outcome, lights, near, network, grid, nearby, p,
    )  # fmt: skip
    if notes is not None:
        # Before renew: it moves those who crashed to other places.
        write_down(begin, end, rows, pose, motion, body, place, events, network, notes)
    if mode == SAME_STEP:
        # Before renew: the last observation of an episode shows the world in which it ended.
        show(
            begin, end, True, final_obs, starts,
            clock, rows, pose, motion, body, place, goals, wishes, outcome, lights, near, ways, network, nearby, p,
        )  # fmt: skip
    # Before the last show: an agent that starts anew must not be seen at its old place.
    renew(
        begin, end, mode, mode == SAME_STEP, p.spawn_attempts,
        clock, rows, pose, motion, body, place, goals, wishes, lights, chosen, proposal, network, p,
    )  # fmt: skip
    show(
        begin, end, False, obs, starts,
        clock, rows, pose, motion, body, place, goals, wishes, outcome, lights, near, ways, network, nearby, p,
    )  # fmt: skip


def reset(begin, end, obs, starts, state, roads, p):
    """Find places for the waiting rows of worlds begin .. end-1, and show all."""
    clock, rows, pose, motion, body, place, goals, wishes, _, outcome, lights, proposal, near, ways, chosen, _ = state
    renew(
        begin, end, DISABLED, True, RESET_ATTEMPTS,
        clock, rows, pose, motion, body, place, goals, wishes, lights, chosen, proposal, roads.network, p,
    )  # fmt: skip
    show(
        begin, end, False, obs, starts,
        clock, rows, pose, motion, body, place, goals, wishes, outcome, lights, near, ways, roads.network, roads.nearby, p,
    )  # fmt: skip


def observe(begin, end, obs, starts, state, roads, p):
    """Show all rows of worlds begin .. end-1 of a state in which nothing else changes."""
    clock, rows, pose, motion, body, place, goals, wishes, _, outcome, lights, _, near, ways, *_ = state
    show(
        begin, end, False, obs, starts,
        clock, rows, pose, motion, body, place, goals, wishes, outcome, lights, near, ways, roads.network, roads.nearby, p,
    )  # fmt: skip


class Pool:
    """Worker threads for ranges of worlds. Made at first use and anew in a forked process, where threads don't survive."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self._process = 0
        self._workers: Any = None  # ThreadPoolExecutor, made at first use

    def run(self, function: Callable, worlds: int, *args: Any) -> None:
        """Call `function(begin, end, *args)` for ranges that cover all worlds; the caller's thread takes the first."""
        parts = min(self.threads, worlds)
        bounds = [worlds * part // parts for part in range(parts + 1)]
        if parts > 1 and self._process != os.getpid():
            self._process, self._workers = os.getpid(), ThreadPoolExecutor(self.threads - 1, "gigaflow")
        others = [self._workers.submit(function, *pair, *args) for pair in zip(bounds[1:-1], bounds[2:], strict=True)]
        function(bounds[0], bounds[1], *args)
        for other in others:
            other.result()

    def close(self) -> None:
        if self._workers is not None and self._process == os.getpid():
            self._workers.shutdown()
        self._workers, self._process = None, 0


def default_threads() -> int:
    """The processors which this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
