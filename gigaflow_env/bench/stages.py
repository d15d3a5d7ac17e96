"""What each stage of a step costs: nanoseconds per agent-step, timed on one thread after real steps."""

import copy
import time
from typing import Any

import numpy as np

from gigaflow_env.backend import cpu
from gigaflow_env.backend.cpu import FIRST, STRIDE
from gigaflow_env.jit import kernel
from gigaflow_env.layout import ACTIONS
from gigaflow_env.sim import collision, dynamics, goals, lanes, noise, observe, rewards
from gigaflow_env.simulator import Simulator

STAGE_PASSES = 10
"""Steps after each of which a stage is timed; the median counts."""


def stage_times(simulator: Simulator) -> dict[str, float]:
    """Time of each stage alone [ns per agent], on one thread.

    The median of some passes, each after a step with random actions: a stage then finds what it finds in a step, places
    whose tables have to be fetched. `renew` is the restart of those whose episode ended, as a share of all agents.
    """
    (
        clock,
        rows,
        pose,
        motion,
        body,
        lane_position,
        goal,
        reward_weights,
        events,
        outcome,
        lights,
        _,
        neighbours,
        lane_routes,
        *_,
    ) = simulator.state
    variant, perceived = simulator.state.variant, simulator.state.perceived
    network, grid, nearby = simulator.roads.network, simulator.roads.grid, simulator.roads.nearby
    p, starts, obs = simulator._params, simulator.layout.starts, simulator.observations
    agent: dict[str, Any] = {
        "move": (dynamics.move, clock, rows, pose, motion, body, p),
        "locate": (lanes.locate, clock, rows, pose, goal, variant, network, grid, lane_position),
        "collide": (collision.collide, rows, pose, motion, body, neighbours, events),
        "leave_road": (collision.leave_road, clock, rows, pose, body, variant, network, grid, events),
        "run_light": (
            collision.run_light,
            rows,
            pose,
            motion,
            body,
            lane_position,
            lights,
            variant,
            network,
            nearby,
            events,
            p,
        ),
        "arrive": (
            goals.arrive,
            clock,
            rows,
            pose,
            motion,
            reward_weights,
            variant,
            network,
            events,
            goal,
            lane_position,
            p,
        ),
        "score": (rewards.score, clock, rows, motion, lane_position, reward_weights, events, outcome, goal, p),
        "add_noise": (noise.add_noise, clock, rows, pose, motion, perceived, p),
        "find_neighbours": (observe.find_neighbours, clock, rows, pose, neighbours, p),
        "select_lane_samples": (
            observe.select_lane_samples,
            clock,
            lane_position,
            goal,
            lane_routes,
            variant,
            network,
            nearby,
            p,
        ),
    }
    row: dict[str, Any] = {
        "observe_ego": (observe.observe_ego, (FIRST,), starts.ego, motion, body, lane_position, variant, network, p),
        "observe_conditioning": (observe.observe_conditioning, (FIRST, STRIDE), starts.conditioning, reward_weights),
        "observe_goals": (observe.observe_goals, (FIRST, STRIDE), starts.goals, pose, goal, p),
        "observe_agents": (observe.observe_agents, (FIRST, STRIDE), starts.agents, pose, body, neighbours, perceived, p),
    }
    listed: dict[str, Any] = {
        "observe_lanes": (observe.observe_lanes, starts.lanes, pose, lane_routes, variant, network, nearby, p),
        "observe_boundaries": (observe.observe_boundaries, starts.boundaries, pose, lane_routes, variant, nearby, p),
        "observe_stops": (observe.observe_stops, starts.stops, pose, lane_position, lights, variant, network, nearby, p),
    }
    loops = {name: (_each_agent(stage), *args) for name, (stage, *args) in agent.items()}
    loops |= {name: (_each_row(stage, share), obs, *args) for name, (stage, share, *args) in row.items()}
    loops |= {
        name: (_each_listed_row(stage), obs, start, lane_position, network, *args)
        for name, (stage, start, *args) in listed.items()
    }
    sizes = simulator.worlds, simulator.agents
    actions = np.random.default_rng(1).integers(0, ACTIONS, (STAGE_PASSES, simulator.rows))
    machine, timed = simulator._machine, _Timed(1)
    simulator._machine = timed
    seconds: dict[str, list[float]] = {}
    for name, (loop, *args) in loops.items():
        loop(*sizes, *args)  # compiles
        for drawn in actions:
            before = copy.deepcopy(lane_routes)
            simulator.step(drawn)
            if name == "select_lane_samples":  # the ways of those who came to another place are to be measured once more
                for array, values in zip(lane_routes, before, strict=True):
                    array[:] = values
            start = time.perf_counter()
            loop(*sizes, *args)
            seconds.setdefault(name, []).append(time.perf_counter() - start)
    simulator._machine, seconds["respawn"] = machine, timed.seconds
    return {name: float(np.median(values)) / simulator.rows * 1e9 for name, values in seconds.items()}


class _Timed(cpu.Threads):
    """Notes how long `renew` takes in each step."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.seconds: list[float] = []

    def _call(self, begin: int, end: int, function: Any, have: dict[str, Any]) -> None:
        start = time.perf_counter()
        super()._call(begin, end, function, have)
        if function is cpu.respawn:
            self.seconds.append(time.perf_counter() - start)


def _each_agent(stage: Any) -> Any:
    def loop(worlds, agents, *args):  # type: ignore[no-untyped-def]
        for w in range(worlds):
            for a in range(agents):
                stage(w, a, *args)

    return kernel(loop, cache=False)


def _each_row(stage: Any, share: tuple[int, ...]) -> Any:
    def loop(worlds, agents, obs, start, *args):  # type: ignore[no-untyped-def]
        for w in range(worlds):
            for a in range(agents):
                stage(w, a, *share, obs[w, a, start:], *args)

    return kernel(loop, cache=False)


def _each_listed_row(stage: Any) -> Any:
    nearby_row = collision.nearby_row

    def loop(worlds, agents, obs, start, lane_position, network, *args):  # type: ignore[no-untyped-def]
        for w in range(worlds):
            for a in range(agents):
                stage(w, a, FIRST, STRIDE, nearby_row(network, lane_position.section[w, a]), obs[w, a, start:], *args)

    return kernel(loop, cache=False)
