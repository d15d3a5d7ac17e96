"""Scenes of a simulator: one of its worlds as it is now, as topview.py draws it."""

from typing import Any

import numpy as np

from gigaflow_env.config import CONDITIONING
from gigaflow_env.render.picture import RoadPicture, road_picture, warped
from gigaflow_env.render.topview import Scene
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import LIVE, PLAYED

GOAL_RADIUS = CONDITIONING.index("goal_radius")

VARIANTS_KEPT = 8
"""Pictures of warped roads: a world keeps its variant for hundreds of frames."""


class Scenes:
    """Scenes of a simulator. Pictures of its roads are kept: one of each map, and of the variants drawn last."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self._plain: dict[int, RoadPicture] = {}
        self._warped: dict[tuple, RoadPicture] = {}

    def of(self, world: int, agent: int) -> Scene:
        """World `world`, following its agent `agent`."""
        roads, state, config = self.simulator.roads, self.simulator.world_state(world), self.simulator.config
        number = int(state.clock.map)
        first, count = state.goals.next[agent], state.goals.count[agent]
        others = state.neighbours.agent[agent, : config.agent_count]
        lights = int(roads.network.maps[number]["lights"])
        live = (state.rows.status == LIVE) | (state.rows.status == PLAYED)
        age = state.clock.step
        if self.simulator.tracks is not None:
            age = age - config.world_steps + self.simulator.host(self.simulator.tracks.steps)[world]
        moments = age * config.dt
        return Scene(
            roads=self._roads(number, state.variant),
            x=state.pose.x,
            y=state.pose.y,
            z=state.pose.z,
            heading=np.arctan2(state.pose.sin, state.pose.cos),
            length=state.body.length,
            width=state.body.width,
            speed=state.motion.speed,
            active=live,
            lights=state.lights.colour[:lights],
            followed=agent if live[agent] else -1,
            neighbours=others[others >= 0].astype(np.int64),
            goals=np.stack([state.goals.x[agent, first:count], state.goals.y[agent, first:count]], axis=1),
            goal_radius=float(state.reward_weights.coefficients[agent, GOAL_RADIUS]),
            text=(
                f"{roads.names[number]}  world {world}  {moments:.1f} s",
                f"agent {agent}  {3.6 * state.motion.speed[agent]:.0f} km/h  {count - first} goals left",
            ),
        )

    def _roads(self, number: int, variant: Any) -> RoadPicture:
        """The roads of a map as they are in a map variant."""
        if number not in self._plain:
            self._plain[number] = road_picture(self.simulator.roads, number)
        if variant.plain:
            return self._plain[number]
        matrix = tuple(map(float, variant[:4]))
        if (number, matrix) not in self._warped:
            if len(self._warped) >= VARIANTS_KEPT:
                del self._warped[next(iter(self._warped))]
            self._warped[number, matrix] = warped(self._plain[number], np.reshape(matrix, (2, 2)))
        return self._warped[number, matrix]
