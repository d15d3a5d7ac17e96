"""One step of one world: the stages in their order, the same for every backend.

A world is driven by one or several workers. `first` and `stride` say which agents are this worker's: all of them (0, 1) on
the CPU, every 64th or so on CUDA, where the workers are the threads of a block. Stages that read what another agent wrote
have a `barrier` before them, at which the workers of a world wait for each other; on the CPU it's nothing.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from gigaflow_env.jit import anyone, barrier, f32, i32, stage
from gigaflow_env.roads.tables import Roads
from gigaflow_env.sim.blame import note
from gigaflow_env.sim.collision import collide, leave_road, run_light
from gigaflow_env.sim.dynamics import decide, move
from gigaflow_env.sim.goals import arrive
from gigaflow_env.sim.lanes import locate
from gigaflow_env.sim.lights import schedule, switch
from gigaflow_env.sim.noise import blur
from gigaflow_env.sim.observe import blank, look, survey, watch
from gigaflow_env.sim.reset import enter, propose, release, settle
from gigaflow_env.sim.rewards import score
from gigaflow_env.sim.traffic import follow, intend
from gigaflow_env.sim.variant import warp
from gigaflow_env.sim.world import begin, populate
from gigaflow_env.state import ABSENT, ENDED, LIVE, WAITING, State

SAME_STEP, NEXT_STEP, DISABLED = range(3)
"""When a row whose episode ended starts anew: in the same step, in the next one, or when `reset` is called for it."""

RESET_ATTEMPTS = i32(64)
"""Rounds in which a reset looks for places: with every agent waiting at once there are more conflicts than in a step."""


class Parts(NamedTuple):
    """What a backend works on: its own arrays, and numbers."""

    mode: int
    obs_dtype: int  # FLOAT32, FLOAT16 or BFLOAT16
    state: State
    roads: Roads
    actions: Any  # int32 (worlds, agents)
    wanted: Any  # float32 (worlds, agents, 2), or empty where actions are discrete
    obs: Any  # float32, or uint16: the bits of half precision (worlds, agents, columns)
    final_obs: Any  # the same; empty if mode is not SAME_STEP
    starts: Any  # columns of the blocks
    conflicts: Any  # roads.conflicts.Conflicts; None where no row has a rule-based driver
    notes: Any  # eventlog.Notes; None without a log
    p: Any  # config.Params


def known(parts: Parts) -> dict[str, Any]:
    """Everything that a kernel may want, by the name of its parameter."""
    return {**parts._asdict(), **parts.state._asdict(), **parts.roads._asdict()}


@functools.cache
def parameters(kernel: Callable) -> tuple[str, ...]:
    """Names of a kernel's parameters: what it wants of `known`. So no list of arrays has to be kept in order by hand."""
    return tuple(inspect.signature(getattr(kernel, "py_func", kernel)).parameters)


@stage
def begin_world(w, first, stride, clock, rows, lights, variant, network, p):
    """A new world: its map, variant, agents and lights are drawn anew. Writes: clock, rows.status, lights, variant."""
    if first == 0:
        begin(w, clock, network, p)
        warp(w, clock, variant, p)
    barrier()
    for a in range(first, rows.status.shape[1], stride):
        populate(w, a, clock, rows)
    for k in range(first, network.maps[clock.map[w]].lights, stride):
        schedule(w, k, clock, network, lights, p)
        switch(w, k, clock, lights, p)


@stage
def guide(
    w, first, stride,
    clock, rows, pose, motion, body, place, goals, lights, near, traffic, variant, network, conflicts, p,
):  # fmt: skip
    """Rule-based drivers look at what everybody saw last, and decide."""
    agents = rows.status.shape[1]
    for a in range(first, agents, stride):
        intend(w, a, clock, rows, pose, motion, body, place, goals, lights, near, variant, network, conflicts, traffic, p)
    barrier()  # follow reads what others are about to do
    for a in range(first, agents, stride):
        follow(w, a, rows, motion, body, place, variant, network, conflicts, traffic, p)


@stage
def write_down(w, first, stride, clock, rows, pose, motion, body, place, events, variant, network, notes):
    """Who met whom, for the event log. Writes: notes."""
    if first == 0:
        notes.map[w] = clock.map[w]
    for a in range(first, rows.status.shape[1], stride):
        note(w, a, rows, pose, motion, body, place, events, variant, network, notes)


@stage
def drive(
    w, first, stride, mode, actions, wanted,
    clock, rows, pose, motion, body, place, goals, wishes, events, outcome, lights, near, variant, seen,
    network, grid, nearby, p,
):  # fmt: skip
    """World w lives one step, from the action to the reward."""
    agents = rows.status.shape[1]
    # In these modes a world outlives its end by the look at it which its agents are still to have.
    over = mode != SAME_STEP and clock.step[w] >= p.world_steps
    barrier()
    if first == 0:
        clock.tick[w] += i32(1)
    barrier()
    if over:
        begin_world(w, first, stride, clock, rows, lights, variant, network, p)
    if mode == NEXT_STEP:
        for a in range(first, agents, stride):
            release(w, a, rows, pose, motion, events, p)
    for a in range(first, agents, stride):
        decide(w, a, actions, wanted, rows, motion)
    for a in range(first, agents, stride):
        move(w, a, clock, rows, pose, motion, body, p)
    for a in range(first, agents, stride):
        locate(w, a, clock, rows, pose, goals, variant, network, grid, place)
    barrier()  # collide reads the poses of others
    for a in range(first, agents, stride):
        collide(w, a, rows, pose, motion, body, near, events)
    for a in range(first, agents, stride):
        leave_road(w, a, clock, rows, pose, body, variant, network, grid, events)
    for a in range(first, agents, stride):
        run_light(w, a, rows, pose, motion, body, place, lights, variant, network, nearby, events, p)
    for a in range(first, agents, stride):
        arrive(w, a, clock, rows, pose, motion, wishes, variant, network, events, goals, place, p)
    barrier()  # score changes the status, which collide reads of others
    for a in range(first, agents, stride):
        score(w, a, clock, rows, motion, place, wishes, events, outcome, goals, p)
    for a in range(first, agents, stride):
        blur(w, a, clock, rows, pose, motion, seen, p)
    barrier()  # score and run_light read what changes now: red lights are judged by the colours that the agents saw
    if first == 0:
        clock.step[w] += i32(1)
    barrier()
    for k in range(first, network.maps[clock.map[w]].lights, stride):
        switch(w, k, clock, lights, p)


@stage
def renew(
    w, first, stride, mode, anew, attempts,
    clock, rows, pose, motion, body, place, goals, wishes, events, lights, chosen, proposal, ways, kinds, variant, seen,
    network, grid, p,
):  # fmt: skip
    """Agents that wait start anew; if `anew`, so does a world that is over. Who finds no place in `attempts` rounds waits
    on."""
    agents = rows.status.shape[1]
    over = clock.step[w] >= p.world_steps
    # A world whose end is still looked at begins when the last of its rows has been reset.
    shown = False
    for a in range(first, agents, stride):
        shown = shown or (mode != SAME_STEP and rows.status[w, a] == ENDED)
    if over and (anyone(shown) or not anew):
        return
    begins = over or clock.agents[w] == 0  # `clear` left it empty
    barrier()
    if begins:
        begin_world(w, first, stride, clock, rows, lights, variant, network, p)
    if mode == SAME_STEP:
        for a in range(first, agents, stride):
            release(w, a, rows, pose, motion, events, p)
    for attempt in range(attempts):
        waiting = False
        for a in range(first, agents, stride):
            waiting = waiting or rows.status[w, a] == WAITING
        if not anyone(waiting):
            break
        for a in range(first, agents, stride):
            propose(w, a, attempt, clock, rows, variant, network, chosen, proposal, kinds, p)
        barrier()
        for a in range(first, agents, stride):
            settle(w, a, clock, rows, pose, motion, body, proposal, variant, network, grid, p)
        barrier()
        for a in range(first, agents, stride):
            enter(
                w, a, clock, rows, pose, motion, body, place, goals, wishes, chosen, proposal, ways, kinds, variant, seen,
                network, p,
            )  # fmt: skip


@stage
def notice(w, a, only_ended, clock, rows, pose, place, goals, outcome, near, ways, variant, network, nearby, p):
    """What agent a sees of others and of its way; whether there is anything to see. Writes: outcome.active, erratic, near,
    ways."""
    status = rows.status[w, a]
    if only_ended and status != ENDED:
        return False
    outcome.active[w, a] = status == LIVE
    outcome.erratic[w, a] = status == LIVE and rows.erratic[w, a] != 0
    if status == LIVE or status == ENDED:
        watch(w, a, clock, rows, pose, near, p)
        survey(w, a, clock, place, goals, ways, variant, network, nearby, p)
    return True


@stage
def show(
    w, a, first, stride, out, starts,
    clock, rows, pose, motion, body, place, goals, wishes, lights, near, ways, variant, seen, network, nearby, p,
):  # fmt: skip
    """The observation of a row in `out`, or zeros where there is no agent; of every block the elements first, first +
    stride, ..."""
    status = rows.status[w, a]
    if status == LIVE or status == ENDED:
        look(
            w, a, first, stride, out, starts,
            pose, motion, body, place, goals, wishes, lights, near, ways, variant, seen, network, nearby, p,
        )  # fmt: skip
    else:
        blank(first, stride, out)


@stage
def clear(w, first, stride, every, key, chosen_rows, clock, rows, pose, motion, events, outcome, p):
    """Before a reset: the rows of `chosen_rows` wait for a place; with `every` the clocks start anew, too. key: two uint32,
    or none, to keep the old ones.

    Writes: clock, rows, pose, motion, events, outcome.
    """
    agents = rows.status.shape[1]
    touched = False
    for a in range(first, agents, stride):
        touched = touched or chosen_rows[w, a]
        if every:
            rows.status[w, a], rows.episode[w, a] = ABSENT, 0
        if chosen_rows[w, a]:
            if rows.status[w, a] == ENDED:
                release(w, a, rows, pose, motion, events, p)
            elif every or rows.status[w, a] != ABSENT:
                rows.status[w, a] = WAITING
            outcome.reward[w, a], outcome.terminated[w, a], outcome.truncated[w, a] = f32(0.0), False, False
        # A reset is no step: nothing happened in it.
        motion.distance[w, a] = f32(0.0)
        events.collision[w, a], events.offroad[w, a], events.red_light[w, a] = False, False, False
        events.goal[w, a], events.route_done[w, a], events.timeout[w, a] = False, False, False
    touched = anyone(touched)
    if first == 0:
        if w == 0 and len(key) == 2:
            clock.seed[0], clock.seed[1] = key[0], key[1]
        if every:
            clock.tick[w], clock.step[w], clock.agents[w] = 0, 0, 0
        elif touched:
            # The draws must differ from those of the step before. Other worlds don't notice: a light that began with this
            # tick would be drawn anew.
            clock.tick[w] += i32(1)
