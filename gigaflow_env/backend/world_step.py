"""One step of one world: the stages in their order, the same for every backend.

A world is processed by one or several workers. `first` and `stride` select a worker's agents: all of them (0, 1) on the CPU,
every 64th or so on CUDA, where the workers are the threads of a block. Before a stage that reads what other agents wrote
there is a `barrier`, at which the workers of a world wait for each other. On the CPU it does nothing.
"""

import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

from gigaflow_env.jit import alone, anyone, barrier, f32, fetch_ahead, i32, place_among, rule, stage, u32
from gigaflow_env.roads.compiled.tables import Roads
from gigaflow_env.sim.collision import collide, leave_road, run_light, run_lights
from gigaflow_env.sim.dynamics import decide, move
from gigaflow_env.sim.fault import record_contact
from gigaflow_env.sim.goals import arrive
from gigaflow_env.sim.lanes import find_place, find_places, measure_angle
from gigaflow_env.sim.lights import schedule, switch
from gigaflow_env.sim.new_world import begin, populate
from gigaflow_env.sim.noise import add_noise, add_noise_to_all
from gigaflow_env.sim.observe import blank, list_near, measure_routes, observe, order_neighbours, window
from gigaflow_env.sim.reset import end_episode, propose, resolve_spawns, spawn
from gigaflow_env.sim.rewards import score
from gigaflow_env.sim.traffic.drive import follow, intend
from gigaflow_env.sim.traffic.replay import begin_scene, enter, find_start_conflict, follow_track, leave_scene, show_recorded
from gigaflow_env.sim.variant import warp
from gigaflow_env.state import ABSENT, ENDED, LIVE, WAITING, State

SAME_STEP, NEXT_STEP, DISABLED = range(3)
"""When a row whose episode ended starts anew: in the same step, in the next one, or when `reset` is called for it."""

RESET_ATTEMPTS = i32(64)
"""Rounds of spawning in a reset: with all agents waiting at once there are more conflicts than in a step."""


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
    conflicts: Any  # conflict_zones.Conflicts; None if no row has a rule-based driver
    contacts: Any  # event_log.Contacts; None without a log
    tracks: Any  # tracks.Tracks; None where worlds are no recorded scenes
    p: Any  # config.Params


def known(parts: Parts) -> dict[str, Any]:
    """All arguments of kernels, by the name of the parameter."""
    return {**parts._asdict(), **parts.state._asdict(), **parts.roads._asdict()}


@functools.cache
def parameters(kernel: Callable) -> tuple[str, ...]:
    """Names of a kernel's parameters: its arguments in `known`. So no list of arrays has to be kept in order by hand."""
    function: Any = getattr(kernel, "body", None) or getattr(kernel, "py_func", kernel)
    return tuple(inspect.signature(function).parameters)


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
        switch(w, k, clock, network, lights, p)


@stage
def plan_traffic(
    w, first, stride,
    clock, rows, pose, motion, body, lane_position, goals, lights, neighbours, traffic, variant, network, grid, conflicts, p,
):  # fmt: skip
    """Rule-based drivers decide, from the state of the last observation."""
    agents = rows.status.shape[1]
    for a in range(first, agents, stride):
        intend(
            w, a, clock, rows, pose, motion, body, lane_position, goals, lights, neighbours, variant, network,
            conflicts, traffic, p,
        )  # fmt: skip
    barrier()  # follow reads the intentions of others
    for a in range(first, agents, stride):
        follow(w, a, clock, rows, pose, motion, body, lane_position, goals, variant, network, grid, conflicts, traffic, p)


@stage
def record_contacts(w, first, stride, clock, rows, pose, motion, body, lane_position, events, variant, network, contacts):
    """Which agents collided, for the event log. Writes: contacts."""
    if first == 0:
        contacts.map[w] = clock.map[w]
    for a in range(first, rows.status.shape[1], stride):
        record_contact(w, a, rows, pose, motion, body, lane_position, events, variant, network, contacts)


@stage
def drive(
    w, first, stride, mode, actions, wanted,
    clock, rows, pose, motion, body, lane_position, goals, reward_weights, events, outcome, lights, neighbours, variant,
    perceived, network, grid, nearby, p,
):  # fmt: skip
    """One step of world w, from the actions to the rewards."""
    agents = rows.status.shape[1]
    # In these modes a world that is over is kept for one more step: its agents are still to observe it.
    over = mode != SAME_STEP and clock.step[w] >= p.world_steps
    barrier()
    if first == 0:
        clock.tick[w] += i32(1)
    barrier()
    if over:
        begin_world(w, first, stride, clock, rows, lights, variant, network, p)
    if mode == NEXT_STEP:
        for a in range(first, agents, stride):
            end_episode(w, a, rows, pose, motion, events, p)
    for a in range(first, agents, stride):
        decide(w, a, actions, wanted, rows, motion, p)
    for a in range(first, agents, stride):
        move(w, a, clock, rows, pose, motion, body, p)
    if alone():
        find_places(w, clock, rows, pose, goals, variant, network, grid, neighbours, lane_position)
    else:
        for a in range(first, agents, stride):
            find_place(w, a, clock, rows, pose, goals, variant, network, grid, lane_position)
    for a in range(first, agents, stride):
        measure_angle(w, a, rows, lane_position)
    barrier()  # collide reads the poses of others
    for a in range(first, agents, stride):
        collide(w, a, rows, pose, motion, body, neighbours, events)
    for a in range(first, agents, stride):
        leave_road(w, a, clock, rows, pose, body, variant, network, grid, events)
    if alone():
        run_lights(w, rows, pose, motion, body, lane_position, lights, variant, network, nearby, neighbours, events, p)
    else:
        for a in range(first, agents, stride):
            run_light(w, a, rows, pose, motion, body, lane_position, lights, variant, network, nearby, events, p)
    for a in range(first, agents, stride):
        arrive(w, a, clock, rows, pose, motion, reward_weights, variant, network, events, goals, lane_position, p)
    barrier()  # score changes the status, which collide reads of others
    for a in range(first, agents, stride):
        score(w, a, clock, rows, motion, lane_position, reward_weights, events, outcome, goals, p)
    if alone() and p.noisy != 0:
        add_noise_to_all(w, clock, rows, pose, motion, perceived, p)
    else:
        for a in range(first, agents, stride):
            add_noise(w, a, clock, rows, pose, motion, perceived, p)
    barrier()  # score and run_light read what changes now: red lights are judged by the colours that the agents saw
    if first == 0:
        clock.step[w] += i32(1)
    barrier()
    for k in range(first, network.maps[clock.map[w]].lights, stride):
        switch(w, k, clock, network, lights, p)


@stage
def list_waiting(w, first, rows, overrides, who):
    """The number of agents that wait to spawn; `who` are they, in order. On CUDA a worker has one agent at most."""
    agents = i32(rows.status.shape[1])
    if not alone():
        waits = first < agents and rows.status[w, min(i32(first), i32(agents - i32(1)))] == WAITING
        place, waiting = place_among(waits)
        if waits:
            who[u32(place)] = i32(first)
        return i32(waiting)
    count = i32(0)
    for a in range(agents):
        if rows.status[w, a] == WAITING:
            fetch_ahead((overrides.low[w], overrides.high[w]), a)  # nobody has read them for long
            who[count] = i32(a)
            count += i32(1)
    return count


@stage
def respawn(
    w, first, stride, mode, anew, attempts,
    clock, rows, pose, motion, body, lane_position, goals, reward_weights, events, lights, overrides, proposal,
    lane_routes, kinds, variant, perceived,
    network, grid, p,
):  # fmt: skip
    """Waiting agents spawn; if `anew`, a world that is over begins anew.

    An agent that finds no free pose in `attempts` rounds goes on waiting.
    """
    agents = rows.status.shape[1]
    over = clock.step[w] >= p.world_steps
    # A world whose last observation is still needed begins anew when the last of its rows has been reset.
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
            end_episode(w, a, rows, pose, motion, events, p)
    who = proposal.who[w]
    for attempt in range(attempts):
        barrier()  # spawn changes the status of agents that another worker counts
        # Few wait: workers take them from a list, as to be idle beside one that works costs as much.
        waiting = list_waiting(w, first, rows, overrides, who)
        if waiting == 0:
            break
        barrier()
        for k in range(first, waiting, stride):
            a = u32(who[u32(k)])
            propose(w, a, attempt, clock, rows, variant, network, overrides, proposal, kinds, p)
        barrier()
        for k in range(first, waiting, stride):
            a = u32(who[u32(k)])
            resolve_spawns(w, a, clock, rows, pose, motion, body, proposal, variant, network, grid, p)
        barrier()
        for k in range(first, waiting, stride):
            a = u32(who[u32(k)])
            spawn(
                w, a, clock, rows, pose, motion, body, lane_position, goals, reward_weights, overrides, proposal,
                lane_routes, kinds, variant, perceived,
                network, p,
            )  # fmt: skip


@stage
def play_tracks(w, first, stride, mode, clock, rows, pose, motion, body, events, tracks, p):
    """Before `drive`, in a recorded scene: rows with a track move to the next moment."""
    agents = rows.status.shape[1]
    if mode == NEXT_STEP:
        for a in range(first, agents, stride):
            leave_scene(w, a, rows, pose, motion, events, p)
    for a in range(first, agents, stride):
        follow_track(w, a, clock, rows, pose, motion, body, tracks, p)


@stage
def enter_scene(
    w, first, stride, mode,
    clock, rows, pose, motion, body, lane_position, goals, reward_weights, events, lights, overrides, lane_routes, variant,
    perceived, network, grid, tracks, p,
):  # fmt: skip
    """What `respawn` is to other worlds: who has left is gone, and a world whose scene is to begin begins it."""
    agents = rows.status.shape[1]
    begins = clock.agents[w] == 0  # `clear`, or the turn of a page, left it empty
    barrier()
    if mode == SAME_STEP and not begins:
        for a in range(first, agents, stride):
            leave_scene(w, a, rows, pose, motion, events, p)
    if begins:
        if first == 0:
            begin_scene(w, clock, lights, variant, tracks, p)
        barrier()
        for a in range(first, agents, stride):
            enter(
                w, a, clock, rows, pose, motion, body, lane_position, goals, reward_weights, overrides, lane_routes, variant,
                perceived, network, grid, tracks, p,
            )  # fmt: skip
        barrier()  # the poses of others
        for a in range(first, agents, stride):
            find_start_conflict(w, a, clock, rows, pose, body, variant, network, grid, tracks)
    barrier()
    for k in range(first, tracks.light.shape[2], stride):
        show_recorded(w, k, clock, lights, tracks, p)


@stage
def say_active(w, a, rows, outcome):
    """Whether the row's observation is a live agent's. Writes: outcome.active, erratic."""
    live = rows.status[w, a] == LIVE
    outcome.active[w, a] = live
    outcome.erratic[w, a] = live and rows.erratic[w, a] != 0


@rule
def observes(status, only_ended):
    """Whether a row of this status has an agent that observes something."""
    return status == ENDED or (status == LIVE and not only_ended)


@stage
def look_around(w, a, only_ended, clock, rows, pose, neighbours, p):
    """What `prepare_observation` is given as `near`. Done for the next agent first, see observe.list_near."""
    agents = rows.status.shape[1]
    return list_near(w, a, clock, rows, pose, neighbours, p) if a < agents and observes(rows.status[w, a], only_ended) else 0


@stage
def prepare_observation(
    w, a, near, only_ended, clock, rows, pose, lane_position, goals, outcome, neighbours, lane_routes, variant, network,
    nearby, p,
):  # fmt: skip
    """Select what agent a observes of others and of its route. Returns whether the row is to be observed.

    Writes: outcome.active, erratic, neighbours, lane_routes.
    """
    status = rows.status[w, a]
    if only_ended and status != ENDED:
        return False
    say_active(w, a, rows, outcome)
    if observes(status, only_ended):
        order_neighbours(w, a, near, neighbours)
        begin, boundary = lane_routes.next_lane[w, a], lane_routes.next_boundary[w, a]  # see draw_windows
        if only_ended:  # few: to draw for all costs more
            samples, points = nearby.samples.shape[1], nearby.boundaries.shape[1]
            begin, boundary = window(clock.seed, clock.number[w], a, clock.tick[w], samples, points, p)
        measure_routes(
            w, a, 0, 1, begin, boundary, clock, lane_position, goals, lane_routes, variant, network, nearby, p
        )  # fmt: skip
    return True


@stage
def write_observation(
    w, a, first, stride, out, starts,
    clock, rows, pose, motion, body, lane_position, goals, reward_weights, lights, neighbours, lane_routes, variant,
    perceived, network, nearby, p,
):  # fmt: skip
    """Write the observation of a row to `out`, or zeros if it has no agent.

    Of each block this worker writes the elements first, first + stride, ...
    """
    status = rows.status[w, a]
    if status == LIVE or status == ENDED:
        observe(
            w, a, first, stride, out, starts,
            pose, motion, body, lane_position, goals, reward_weights, lights, neighbours, lane_routes, variant,
            perceived, network, nearby, p,
        )  # fmt: skip
    else:
        blank(first, stride, out)


@stage
def clear(w, first, stride, every, key, chosen_rows, clock, rows, pose, motion, events, outcome, p):
    """Before a reset: the rows of `chosen_rows` wait to spawn; with `every` the clocks start at 0, too.

    key: two uint32, or none to keep the old ones.

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
                end_episode(w, a, rows, pose, motion, events, p)
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
            # The draws must differ from those of the step before. Only in worlds with chosen rows: others do not change.
            clock.tick[w] += i32(1)
