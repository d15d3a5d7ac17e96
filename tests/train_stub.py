"""A vector environment with GigaFlow's contract and a task learned in seconds: name the action which the ego block shows.

Random play earns 1/12 a step, the best policy 1. Episodes end in every way there is, and some rows wait a step before
the next one begins. Chance depends on (seed, tick) alone, so a snapshot is a few arrays.
"""

from typing import Any

import numpy as np
from gymnasium import spaces

from gigaflow_env import ACTIONS, Config, Layout

LONGEST = 9  # steps: then an episode is truncated
ENDING = 0.1  # chance that a step terminates an episode


class Stub:
    def __init__(self, num_envs: int = 128, *, shuffled: bool = False, breaks_at: int | None = None) -> None:
        self.config = Config(
            lane_count=3, boundary_count=2, stop_count=0, agent_count=2, agents_per_world=4, max_steps=LONGEST,
            on_route_done="respawn",
        )  # fmt: skip
        self.layout = Layout(self.config)
        self.num_envs = num_envs
        self.single_action_space = spaces.Discrete(ACTIONS)
        self.agents_per_world = 4
        self.shuffled = shuffled  # rewards go to other rows: there is nothing to learn
        self.breaks_at = breaks_at  # tick at which the machine "crashes"
        self.erratic = np.zeros(num_envs, bool)
        self.obs = np.zeros((num_envs, self.layout.size), np.float32)
        self.final_obs = np.zeros_like(self.obs)

    def chance(self) -> np.random.Generator:
        return np.random.default_rng([int(self.seed), int(self.tick)])

    def look(self, generator: np.random.Generator, rows: np.ndarray) -> None:
        self.target[rows] = generator.integers(ACTIONS, size=rows.sum())
        self.obs[rows] = generator.uniform(-1, 1, (rows.sum(), self.layout.size))
        self.layout.split(self.obs).ego[rows, :ACTIONS] = np.eye(ACTIONS)[self.target[rows]]

    def reset(self, *, seed: int) -> tuple[np.ndarray, dict[str, Any]]:
        self.seed, self.tick = np.array(seed), np.array(0)
        self.target = np.zeros(self.num_envs, np.int64)
        self.age = np.zeros(self.num_envs, np.int64)
        self.score = np.zeros(self.num_envs, np.float32)
        self.active = np.ones(self.num_envs, bool)
        self.look(self.chance(), self.active)
        nobody = np.zeros(self.num_envs, bool)
        return self.obs, {"active": self.active, "erratic": self.erratic, "traffic": nobody}

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        self.tick += 1
        if self.tick == self.breaks_at:
            raise RuntimeError("the machine crashed")
        generator = self.chance()
        acted = self.active.copy()
        reward = np.where(acted & (actions == self.target), 1.0, 0.0).astype(np.float32)
        if self.shuffled:
            reward = np.where(acted, generator.permutation(reward), 0.0).astype(np.float32)
        self.age += acted
        self.score += reward
        crash = acted & (generator.random(self.num_envs) < ENDING)
        timeout = acted & ~crash & (self.age >= LONGEST)
        ended = crash | timeout
        self.look(generator, acted)
        self.final_obs[ended] = self.obs[ended]
        episode = {"r": self.score.copy(), "l": self.age.copy()}
        self.active = ~(ended & (np.arange(self.num_envs) % 4 == 0))  # every fourth row waits for a place
        self.obs[~self.active] = 0.0
        self.look(generator, ended & self.active | ~acted & self.active)
        self.age[ended], self.score[ended] = 0, 0.0
        nothing = np.zeros(self.num_envs, bool)
        info = {
            "active": self.active, "erratic": self.erratic,
            "final_obs": self.final_obs, "_final_obs": ended, "episode": episode, "_episode": ended,
            "collision": crash, "offroad": nothing, "red_light": nothing, "goal": nothing, "route_done": nothing,
            "timeout": timeout, "traffic": nothing, "distance": acted.astype(np.float32),
        }  # fmt: skip
        return self.obs, reward, crash, timeout, info

    def snapshot(self) -> dict[str, np.ndarray]:
        names = ("seed", "tick", "target", "age", "score", "active", "obs")
        return {name: getattr(self, name).copy() for name in names}

    def restore(self, state: dict[str, np.ndarray]) -> tuple[np.ndarray, dict[str, Any]]:
        if state["obs"].shape != self.obs.shape:
            raise ValueError(f"the snapshot has {len(state['obs'])} rows, this environment {self.num_envs}")
        for name, array in state.items():
            setattr(self, name, array)
        return self.obs, {"active": self.active, "erratic": self.erratic, "traffic": np.zeros(self.num_envs, bool)}


class Pointing(Stub):
    """The reward is how near the two numbers are to the first two of the ego block."""

    def __init__(self, num_envs=128):
        super().__init__(num_envs)
        self.single_action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)

    def step(self, actions):
        assert actions.shape == (self.num_envs, 2) and np.abs(actions).max() <= 1.0  # in the box, always
        aim = self.layout.split(self.obs).ego[:, :2].copy()
        acted = self.active.copy()
        obs, _, *rest = super().step(np.zeros(self.num_envs, np.int64))
        reward = np.where(acted, 1.0 - np.abs(actions - aim).mean(axis=1), 0.0).astype(np.float32)
        return obs, reward, *rest


def earned(env: Stub, act: Any, steps: int = 50) -> float:
    """Mean reward of the live rows."""
    obs, info = env.reset(seed=99)
    total, live = 0.0, 0
    for _ in range(steps):
        live += int(info["active"].sum())
        obs, reward, _, _, info = env.step(act(obs))
        total += float(reward.sum())
    return total / live
