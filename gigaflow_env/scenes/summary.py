"""What a scene holds, at a glance."""

from typing import Any

import numpy as np

from gigaflow_env import bounds
from gigaflow_env.roads.road_map import RoadMap
from gigaflow_env.roads.scenario import AGENT_KINDS, LIGHT_STATES, Scenario
from gigaflow_env.scenes.feasible import flags


def scene_summary(road_map: RoadMap, scenario: Scenario, step: int = 0) -> dict[str, Any]:
    """What people ask about a scene: a flat dict of numbers, names and ids, ready for JSON.

    step: at which agents are taken to start. The conflicts are ids of agents, see `feasible.Flags`. Raises ValueError for a
    step that the scene does not have.
    """
    step = bounds.whole("step", step, bounds.Bounds(0, scenario.steps - 1))
    found = flags(scenario, road_map, step)
    speeds = np.hypot(scenario.velocity_x, scenario.velocity_y)
    states = np.concatenate([np.zeros(0, np.int8), *scenario.lights.values()])

    def ids(flagged: np.ndarray) -> list[str]:
        return [scenario.ids[agent] for agent in np.flatnonzero(flagged)]

    return {
        "name": scenario.name,
        "agents": scenario.agents,
        "steps": scenario.steps,
        "dt_s": scenario.dt,
        **{f"{kind}s": scenario.kinds.count(kind) for kind in AGENT_KINDS[:3]},
        "others": scenario.kinds.count("other"),
        "at_the_start": int(scenario.valid[:, step].sum()),
        "seen_all_along": int(scenario.valid.all(axis=1).sum()),
        "mean_speed_mps": float(np.nanmean(speeds)) if scenario.valid.any() else 0.0,
        "ego": None if scenario.ego is None else scenario.ids[scenario.ego],
        "predict": [scenario.ids[agent] for agent in scenario.predict],
        "lights": len(scenario.lights),
        "light_states": [state for k, state in enumerate(LIGHT_STATES) if (states == k).any()],
        "lanes": len(road_map.lanes),
        "start_overlap": ids(found.overlap),
        "start_off_road": ids(found.off_road),
        "infeasible": ids(found.infeasible),
        "source": scenario.source,
    }
