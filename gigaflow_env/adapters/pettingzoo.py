"""PettingZoo: one world as a parallel environment, in which every agent has a name of its own."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from gigaflow_env import bounds
from gigaflow_env.config import Config
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.extras import needed
from gigaflow_env.layout import NO_JERK
from gigaflow_env.presets import make_config
from gigaflow_env.roads.loading import MapLike
from gigaflow_env.simulator import Drivers
from gigaflow_env.state import POLICY

with needed("the adapter needs pettingzoo", "pettingzoo", "pettingzoo"):
    from pettingzoo import ParallelEnv

INFO = ("collision", "offroad", "red_light", "goal", "route_done", "timeout", "distance", "erratic")
"""What the info of an agent has of the vector environment's."""

_AGENTS = Config.__dataclass_fields__["agents_per_world"].metadata["bounds"]


class ParallelGigaflow(ParallelEnv[str, np.ndarray, Any]):
    """One world as PettingZoo's ParallelEnv; `parallel_env` makes it.

    The agents are `car_0`, `car_1`, ... Whoever's episode ends, by a crash or otherwise, leaves `agents` and the road, and
    the name does not come back before `reset`. At the end of the world the others are truncated. An agent without a free
    place to start enters later.
    """

    metadata: dict[str, Any]

    def __init__(self, vector: GigaflowVectorEnv) -> None:
        self.vector = vector
        self.metadata = {**vector.metadata, "name": "gigaflow_v0", "is_parallelizable": True}
        self.render_mode = vector.render_mode
        driven = np.arange(vector.num_envs)[vector.simulator.drivers == POLICY]
        self._row = {f"car_{row}": int(row) for row in driven}
        self.possible_agents = list(self._row)
        self.agents: list[str] = []
        # The same object for a name whenever it's asked for, as seeds of spaces are the user's.
        self.observation_spaces: dict[str, Any] = dict.fromkeys(self._row, vector.single_observation_space)
        self.action_spaces: dict[str, Any] = {name: _copy(vector.single_action_space) for name in self._row}
        shape = (vector.num_envs, vector.layout.size)
        self.state_space = spaces.Box(-1.0, 1.0, shape, np.float32)
        continuous = isinstance(vector.single_action_space, spaces.Box)
        self._rest = np.zeros((vector.num_envs, 2), np.float32) if continuous else np.full(vector.num_envs, NO_JERK)
        self._seen = np.zeros(shape, np.float32)

    def observation_space(self, agent: str) -> spaces.Space:
        """Space of one agent's observations: float32 (size,) in -1..1."""
        return self.observation_spaces[agent]

    def action_space(self, agent: str) -> spaces.Space:
        """Space of one agent's actions."""
        return self.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[dict[str, np.ndarray], dict[str, dict[str, Any]]]:
        """A new world. `options["conditioning"]`: values chosen by hand, see `GigaflowVectorEnv.reset`.

        An option "options" is ignored: PettingZoo's own test gives it. Raises ValueError for other ones.
        """
        given = None if options is None else {name: value for name, value in options.items() if name != "options"}
        self._seen, info = self.vector.reset(seed=seed, options=given)
        self.agents = [name for name, row in self._row.items() if info["active"][row]]
        self._entered = set(self.agents)
        return {name: self._seen[self._row[name]] for name in self.agents}, {
            name: _of(info, self._row[name]) for name in self.agents
        }

    def step(
        self, actions: Mapping[str, Any]
    ) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Drive one step, with an action for each of `agents`. Who has just entered is among those returned.

        Raises ValueError for an action that is missing, or for somebody who is not there.
        """
        if not self.agents:
            return {}, {}, {}, {}, {}  # the world is over: PettingZoo's loops end by it
        if actions.keys() != set(self.agents):
            missing, extra = sorted(set(self.agents) - actions.keys()), sorted(actions.keys() - set(self.agents))
            raise ValueError(f"actions: missing are those of {missing}, and not in the world are {extra}")
        chosen = self._rest.copy()
        for name, action in actions.items():
            chosen[self._row[name]] = action
        self._seen, reward, terminated, truncated, info = self.vector.step(chosen)
        over = bool(truncated.any())
        entered = [] if over else [n for n, row in self._row.items() if info["active"][row] and n not in self._entered]
        self._entered.update(entered)
        names = self.agents + entered
        rows = [self._row[name] for name in names]
        self.agents = [n for n, row in zip(names, rows, strict=True) if not (terminated[row] or truncated[row])]
        if over:
            self.agents = []
        return (
            {name: self._seen[row] for name, row in zip(names, rows, strict=True)},
            {name: float(reward[row]) for name, row in zip(names, rows, strict=True)},
            {name: bool(terminated[row]) for name, row in zip(names, rows, strict=True)},
            {name: bool(truncated[row]) for name, row in zip(names, rows, strict=True)},
            {name: _of(info, row) for name, row in zip(names, rows, strict=True)},
        )

    def state(self) -> np.ndarray:
        """The observations of all rows together, float32 (rows, size): 0 for who has left."""
        return self._seen.copy()

    def render(self) -> np.ndarray | None:
        """With render_mode="rgb_array": the world from above, around the first agent that is still there."""
        if self.render_mode != "rgb_array":
            return None
        return self.vector.render_world(0, self._row[(self.agents or self.possible_agents)[0]])

    def close(self) -> None:
        """Close the world."""
        self.vector.close()


def parallel_env(
    agents: int = 16,
    *,
    map: MapLike = "loop",
    preset: str | None = None,
    config: Config | Mapping[str, Any] | None = None,
    max_steps: int | None = None,
    action: str = "discrete",
    drivers: Drivers = "policy",
    render_mode: str | None = None,
) -> ParallelGigaflow:
    """One world of some agents as PettingZoo's parallel environment.

    max_steps: of the world, by default the preset's; all agents have as many. drivers: rows with rule-based or trained
    drivers are traffic, and no agents. The other arguments are as in GigaflowVectorEnv. An agent whose episode ended leaves:
    raises ValueError for a config with another `on_crash` than "leave". `distance` and the events are in the infos.
    """
    made = make_config(preset, config)
    chosen = isinstance(config, Config) or "on_crash" in (config or ())
    if chosen and made.on_crash != "leave":
        raise ValueError(
            f"on_crash={made.on_crash!r}: PettingZoo's agents leave for good when their episode ends, which is "
            'on_crash="leave"'
        )
    rows = bounds.whole("agents", agents, _AGENTS)
    steps = made.max_steps if max_steps is None else max_steps
    made = made.replace(on_crash="leave", agents_per_world=rows, max_steps=steps, world_steps=steps, world_stagger=0.0)
    # NextStep: what an agent saw last comes back with the step in which it ended.
    vector = GigaflowVectorEnv(
        rows, map=map, config=made, threads=1, action=action, drivers=drivers, render_mode=render_mode,
        autoreset_mode="NextStep",
    )  # fmt: skip
    return ParallelGigaflow(vector)


def _copy(space: spaces.Space) -> spaces.Space:
    """A space of an agent's own, so that it can be seeded for itself."""
    if isinstance(space, spaces.Discrete):
        return spaces.Discrete(int(space.n))
    return spaces.Box(-1.0, 1.0, space.shape, np.float32)


def _of(info: Mapping[str, Any], row: int) -> dict[str, Any]:
    """One agent's part of an info, as plain numbers."""
    return {name: info[name][row].item() for name in INFO}
