"""What each stage of a step costs: nanoseconds per agent-step, timed on one thread after real steps."""

import copy
import time
from collections.abc import Collection
from typing import Any

import numpy as np

from gigaflow_env.backend import cpu
from gigaflow_env.backend.cpu import FIRST, STRIDE
from gigaflow_env.backend.world_step import known, parameters
from gigaflow_env.jit import kernel
from gigaflow_env.layout import ACTIONS
from gigaflow_env.sim import collision, dynamics, goals, lanes, noise, observe, rewards
from gigaflow_env.simulator import Simulator

STAGE_PASSES = 10
"""Steps after each of which a stage is timed; the median counts."""

AGENT_STAGES = (
    dynamics.move, lanes.locate, collision.collide, collision.leave_road, collision.run_light, goals.arrive, rewards.score,
    noise.add_noise, observe.find_neighbours, observe.select_lane_samples,
)  # fmt: skip
"""Stages of one agent, in the order of a step."""
BLOCK_STAGES = {
    "ego": observe.observe_ego, "conditioning": observe.observe_conditioning, "goals": observe.observe_goals,
    "agents": observe.observe_agents, "lanes": observe.observe_lanes, "boundaries": observe.observe_boundaries,
    "stops": observe.observe_stops,
}  # fmt: skip
"""Stages that write one block of an observation, by its name in the layout."""


def stage_times(simulator: Simulator, stages: Collection[str] | None = None) -> dict[str, float]:
    """Time of each stage alone [ns per agent], on one thread; of all stages, or of those named.

    The median of some passes, each after a step with random actions: a stage then finds what it finds in a step, rows of
    tables that have to be fetched. `respawn` is the start of those whose episode ended, as a share of all agents.
    """
    have = known(simulator._parts)
    loops = {stage.__name__: (_each_agent(stage), _wanted(stage, have)) for stage in AGENT_STAGES}
    for block, stage in BLOCK_STAGES.items():
        start = getattr(simulator.layout.starts, block)
        given = have["obs"], start, have["lane_position"], have["network"]
        loops[stage.__name__] = _each_row(stage), [*given, *_wanted(stage, have)]
    if stages is not None:
        loops = {name: loop for name, loop in loops.items() if name in stages}
    sizes = simulator.worlds, simulator.agents
    actions = np.random.default_rng(1).integers(0, ACTIONS, (STAGE_PASSES, simulator.rows))
    lane_routes = simulator.state.lane_routes
    machine, timed = simulator._machine, _Timed(1)
    simulator._machine = timed
    seconds: dict[str, list[float]] = {}
    for name, (loop, args) in loops.items():
        loop(*sizes, *args)  # compiles
        for drawn in actions:
            before = copy.deepcopy(lane_routes)
            simulator.step(drawn)
            if name == "select_lane_samples":  # it measures only for those who came to another row of the lists
                for array, values in zip(lane_routes, before, strict=True):
                    array[:] = values
            began = time.perf_counter()
            loop(*sizes, *args)
            seconds.setdefault(name, []).append(time.perf_counter() - began)
    simulator._machine, seconds["respawn"] = machine, timed.seconds
    return {name: float(np.median(values)) / simulator.rows * 1e9 for name, values in seconds.items()}


def _wanted(stage: Any, have: dict[str, Any]) -> list[Any]:
    """The groups that a stage takes, in its order; the loop around it gives the rest."""
    return [have[name] for name in parameters(stage) if name not in ("w", "a", "first", "stride", "row", "out")]


class _Timed(cpu.Threads):
    """Measures how long `respawn` takes in each step."""

    def __init__(self, threads: int) -> None:
        super().__init__(threads)
        self.seconds: list[float] = []

    def _perform(self, calls: list[Any], begin: int, end: int) -> None:
        for call in calls:
            start = time.perf_counter()
            call(begin, end)
            if call.kernel is cpu.respawn:
                self.seconds.append(time.perf_counter() - start)


def _share(stage: Any) -> tuple[int, ...]:
    """What the stage is told of the one worker that does all, where several may share a row."""
    names = parameters(stage)
    return (FIRST, STRIDE)[: ("first" in names) + ("stride" in names)]


def _each_agent(stage: Any) -> Any:
    share = _share(stage)

    def loop(worlds, agents, *args):  # type: ignore[no-untyped-def]
        for w in range(worlds):
            for a in range(agents):
                stage(w, a, *share, *args)

    return kernel(loop, cache=False)


def _each_row(stage: Any) -> Any:
    """A loop over a stage of one block: some share its elements among workers, some read the lists of a row."""
    share, nearby_row = _share(stage), collision.nearby_row

    def plain(worlds, agents, obs, start, lane_position, network, *args):  # type: ignore[no-untyped-def]
        for w in range(worlds):
            for a in range(agents):
                stage(w, a, *share, obs[w, a, start:], *args)

    def listed(worlds, agents, obs, start, lane_position, network, *args):  # type: ignore[no-untyped-def]
        for w in range(worlds):
            for a in range(agents):
                stage(w, a, *share, nearby_row(network, lane_position.section[w, a]), obs[w, a, start:], *args)

    return kernel(listed if "row" in parameters(stage) else plain, cache=False)
