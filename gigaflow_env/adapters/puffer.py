"""PufferLib: its native environment, which steps the simulator into the buffers that its trainer shares.

On the simulator and not on the Gymnasium environment, as PufferLib is pinned below Gymnasium 1.0.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from gymnasium import spaces

from gigaflow_env import bounds
from gigaflow_env.config import Config
from gigaflow_env.extras import needed
from gigaflow_env.layout import ACTIONS
from gigaflow_env.presets import make_config
from gigaflow_env.roads.loading import MapLike
from gigaflow_env.simulator import ROWS, Drivers, Simulator
from gigaflow_env.state import POLICY

with needed("the adapter needs pufferlib", "puffer", "pufferlib"):
    import pufferlib

_SCALE = bounds.Bounds(0, 1000, open_low=True)
_CLAMP = 1.0  # PufferLib 3.0, pufferl.py: torch.clamp(r, -1, 1)


class PufferGigaflow(pufferlib.PufferEnv):
    """PufferLib's environment with `rows` agents. Rows start anew in the step in which their episode ends.

    PufferLib's trainer clamps rewards to -1..1, by which a crash at 2 or 3 costs no more than one at 1: rewards are
    multiplied by `reward_scale` before, by default as much of 1 as keeps all of a crash. `masks` are the rows to learn from,
    neither waiting, nor traffic, nor erratic; PufferLib 3.0 counts them, and learns from all. The other arguments are those
    of GigaflowVectorEnv. Raises ValueError for a scale with which the clamp would take something of a crash.
    """

    def __init__(
        self,
        rows: int = 128,
        *,
        map: MapLike | Sequence[MapLike] = "loop",
        preset: str | None = None,
        config: Config | Mapping[str, Any] | None = None,
        reward_scale: float | None = None,
        action: str = "discrete",
        drivers: Drivers = "policy",
        threads: int | None = None,
        buf: Any = None,
        seed: int = 0,
    ) -> None:
        bounds.choice("action", action, ("discrete", "continuous"))
        self.num_agents = bounds.whole("rows", rows, ROWS)
        made = make_config(preset, config)
        fastest = made.speed_max * made.vel_spread
        worst = made.collision[1] + made.collision_speed * fastest + made.offroad[1]
        most = min(1.0, _CLAMP / worst) if worst > 0 else 1.0
        self.reward_scale = most if reward_scale is None else bounds.real("reward_scale", reward_scale, _SCALE)
        if self.reward_scale > most:
            raise ValueError(
                f"reward_scale={reward_scale}: PufferLib clamps rewards to -1..1, and a crash costs up to {worst:g}: "
                f"at most {most:.3g} keeps all of it"
            )
        self.simulator = Simulator(map, rows, made, threads=threads, continuous=action == "continuous", drivers=drivers)
        self._learns = self.simulator.drivers == POLICY
        size = self.simulator.layout.size
        self.single_observation_space = spaces.Box(-1.0, 1.0, (size,), np.float32)
        self.single_action_space: spaces.Space = spaces.Discrete(ACTIONS)
        if action == "continuous":
            self.single_action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self._seed = seed
        super().__init__(buf)

    def reset(self, seed: int | None = None) -> tuple[np.ndarray, list[dict[str, Any]]]:
        """Start all rows: the observations, float32 (rows, size), and no infos."""
        chosen = bounds.seed(self._seed if seed is None else seed)
        self.simulator.reset(np.random.SeedSequence(chosen).generate_state(2))
        self._show()
        return self.observations, []

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, list[dict[str, Any]]]:
        """Drive one step, into the buffers. The info has means over the episodes that ended, and shares of steps."""
        continuous = bool(self.simulator.wanted.size)
        self.simulator.step(np.asarray(actions) if continuous else np.asarray(actions).reshape(-1))
        state, of = self.simulator.state, self.simulator.per_row
        np.multiply(of(state.outcome.reward), np.float32(self.reward_scale), out=self.rewards)
        self.terminals[:], self.truncations[:] = of(state.outcome.terminated), of(state.outcome.truncated)
        self._show()
        info = {
            "goals_a_step": float(of(state.events.goal).mean()),
            "crashes_a_step": float((of(state.events.collision) | of(state.events.offroad)).mean()),
        }
        ended = self.terminals | self.truncations
        if ended.any():
            info["episode_return"] = float(of(state.outcome.episode_return)[ended].mean())
            info["episode_length"] = float(of(state.outcome.episode_length)[ended].mean())
        return self.observations, self.rewards, self.terminals, self.truncations, [info]

    def close(self) -> None:
        """Stop the simulator's threads."""
        self.simulator.close()

    def _show(self) -> None:
        """Observations and masks into the buffers."""
        outcome, of = self.simulator.state.outcome, self.simulator.per_row
        self.observations[:] = of(self.simulator.observations)
        self.masks[:] = of(outcome.active) & ~of(outcome.erratic) & self._learns
