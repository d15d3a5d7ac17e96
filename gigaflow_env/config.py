"""Every number of the simulator, with unit, meaning and source. A preset is a function that returns a Config.

Confidence marks of the figures: (A) two or more independent sources agree, (B) one good source, (C) sources conflict,
(D) not published: ours. Paper: arXiv 2502.03349.
"""

import dataclasses
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np

Range = tuple[float, float]


def value(default: Any, unit: str, meaning: str) -> Any:
    return dataclasses.field(default=default, metadata={"unit": unit, "meaning": meaning})


@dataclass(frozen=True)
class Config:
    # Time and population
    dt: float = value(0.3, "s", "time step (A)")
    max_steps: int = value(1200, "steps", "an agent's episode is truncated after this many (A)")
    world_steps: int = value(
        1200, "steps", "a world ends after this many: its agents are truncated, its lights drawn anew (A)"
    )
    world_stagger: float = value(1.0, "share", "first ends of the worlds are spread over this share of world_steps (D)")
    agents_per_world: int = value(64, "agents", "rows of one world (D: the paper draws 1-150)")
    on_crash: str = value(
        "respawn", "", "collision or off-road: `respawn` ends the episode, `continue` only costs reward (C)"
    )
    on_route_done: str = value("new_route", "", "final goal reached: `new_route` goes on, `respawn` ends the episode (D)")

    # Observation: how many elements of each set, and how far they are seen
    lane_count: int = value(80, "", "nearest lane samples (A)")
    lane_spacing: float = value(40.0, "m", "distance of lane samples (A)")
    boundary_count: int = value(80, "", "nearest boundary points (A)")
    stop_count: int = value(
        5, "", "nearest stop lines; agents are judged by the same, so 0 means that nobody minds red lights (C)"
    )
    agent_count: int = value(20, "", "nearest agents (A)")
    view_range: float = value(200.0, "m", "positions are divided by it, agents beyond it are not seen (A)")
    route_range: float = value(400.0, "m", "route distances are divided by it and clipped (D)")

    # Body: cars (the paper's l ~ U(0.8, 7), w ~ U(0.8, 3) spans pedestrians to trucks)
    length: Range = value((3.6, 5.4), "m", "vehicle length")
    width: Range = value((1.6, 2.1), "m", "vehicle width, at most the length")
    wheelbase: float = value(0.6, "lengths", "wheelbase (A)")
    throttle_spread: float = value(1.25, "", "C_throttle ~ X(a) = half U(1/a, 1), half U(1, a) (A)")
    steer_spread: float = value(1.25, "", "C_steer ~ X(a) (A)")
    acc_spread: float = value(1.5, "", "C_acc ~ X(a) (A)")
    vel_spread: float = value(1.5, "", "C_vel ~ X(a) (A)")

    # Dynamics
    speed_min: float = value(-2.0, "m/s", "fastest reversing (A)")
    speed_max: float = value(20.0, "m/s", "top speed, times C_vel (A)")
    brake_max: float = value(5.0, "m/s^2", "strongest braking (A)")
    throttle_max: float = value(2.5, "m/s^2", "strongest acceleration, times C_acc (A)")
    lateral_max: float = value(4.0, "m/s^2", "largest lateral acceleration (A)")
    steer_max: float = value(0.55, "rad", "largest steering angle (A)")
    steer_rate: float = value(0.6, "rad/s", "fastest change of the steering angle (A)")

    # Goals
    waypoints_max: int = value(3, "", "intermediate goals ~ U{0..max}, at most 3 (A)")
    goal_distance: Range = value((20.0, 200.0), "m", "way between consecutive goals (A)")
    first_goal: str = value("map", "", "`map`: anywhere on the map (A); `near`: within goal_distance of the start")
    goal_speed: float = value(3.0, "m/s", "the final goal counts below this speed (A)")

    # Spawning
    spawn_attempts: int = value(8, "", "places tried per agent and step; an agent without place waits one step (D)")
    spawn_gap: float = value(2.0, "m", "free distance to other agents, besides what both need to brake (D)")
    spawn_speed: float = value(8.0, "m/s", "start speed ~ U(0, min(this, speed limit, what the curve allows)) (D)")

    # Traffic lights
    light_red: Range = value((0.3, 10.0), "s", "red time of a light (A)")
    light_yellow: Range = value((1.5, 2.25), "s", "yellow time of a light (A)")
    light_green: Range = value((1.0, 10.0), "s", "green time of a light (A)")
    lights_off: float = value(0.2, "share", "worlds without lights (A)")
    light_groups_removed: float = value(0.2, "share", "groups that are removed (A)")
    lights_removed: float = value(0.2, "share", "single lights that are removed (A)")
    lights_green: float = value(0.05, "share", "remaining lights that are always green (A)")

    # Reward coefficients, drawn per agent and episode: conditioning (Table A2)
    goal_radius: Range = value((2.0, 12.0), "m", "distance at which a goal is reached (A)")
    collision: Range = value((0.0, 3.0), "", "collision penalty (A)")
    offroad: Range = value((0.0, 3.0), "", "off-road penalty (A)")
    comfort: Range = value((0.0, 0.1), "", "penalty for harsh acceleration, cornering and jerk (A)")
    lane_align: Range = value((2.5e-4, 2.5e-2), "1/s", "driving along the lane direction (A)")
    velocity_align: Range = value((0.0, 1.0), "", "weight of speed against the lane direction (A)")
    lane_center: Range = value((2.5e-4, 7.5e-3), "1/(m s)", "penalty for distance from the lane centre (A)")
    center_bias: Range = value((-0.5, 0.5), "m", "where the agent takes the lane centre to be (A)")
    velocity: Range = value((2.5e-3, 2.5e-3), "1/s", "moving along the lane (A)")
    reverse: Range = value((2.5e-4, 7.5e-3), "1/s", "penalty for reversing (A)")
    stop_line: Range = value((0.0, 1.0), "", "penalty for crossing a stop line at red (A)")
    timestep: Range = value((2.5e-5, 2.5e-5), "1/s", "penalty for time while moving (A)")
    progress: Range = value((0.0, 0.0), "1/m", "way gained towards the goal; ours, 0 in the paper")

    # Reward constants
    goal_reward: float = value(1.0, "", "reward of each goal (A)")
    collision_speed: float = value(0.1, "s/m", "extra collision penalty per speed (A)")
    comfort_acceleration: float = value(3.0, "m/s^2", "harsh above this, both axes (A)")
    comfort_jerk: float = value(5.0, "m/s^3", "harsh above this, per axis (C)")
    center_gate: float = value(0.5, "", "lane centre counts where cos(angle to the lane) is above this (A)")

    # Rule-based traffic (sim/traffic.py)
    idm_acceleration: float = value(1.5, "m/s^2", "rule-based drivers: acceleration at low speed (D)")
    idm_deceleration: float = value(2.0, "m/s^2", "rule-based drivers: comfortable braking (D)")
    idm_headway: float = value(1.2, "s", "rule-based drivers: time gap to the leader (D)")
    idm_gap: float = value(2.0, "m", "rule-based drivers: gap to a leader that stands (D)")
    idm_lateral: float = value(1.5, "m/s^2", "rule-based drivers: lateral acceleration in curves (D)")

    def __post_init__(self) -> None:
        choices = {
            "on_crash": ("respawn", "continue"),
            "on_route_done": ("new_route", "respawn"),
            "first_goal": ("map", "near"),
        }
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name}={getattr(self, name)!r}: choose one of {', '.join(map(repr, allowed))}")
        for field in dataclasses.fields(self):
            given = getattr(self, field.name)
            if isinstance(field.default, tuple):
                low_high = tuple(given) if isinstance(given, (tuple, list)) else ()
                if len(low_high) != 2 or not low_high[0] <= low_high[1]:
                    raise ValueError(f"{field.name}={given!r}: a range is (low, high) with low <= high")
                object.__setattr__(self, field.name, (float(low_high[0]), float(low_high[1])))
            elif isinstance(field.default, int) and (isinstance(given, bool) or not isinstance(given, (int, np.integer))):
                raise ValueError(f"{field.name}={given!r} is not a whole number")
            elif isinstance(field.default, float) and not isinstance(given, (int, float, np.number)):
                raise ValueError(f"{field.name}={given!r} is not a number")
        if not 0 <= self.waypoints_max <= 3:
            raise ValueError(f"waypoints_max={self.waypoints_max}: the observation has room for 0 to 3")
        for name in (
            "dt",
            "lane_spacing",
            "view_range",
            "route_range",
            "idm_acceleration",
            "idm_deceleration",
            "idm_lateral",
        ):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name}={getattr(self, name)}: must be above 0")
        for name in (
            "max_steps",
            "world_steps",
            "agents_per_world",
            "lane_count",
            "boundary_count",
            "spawn_attempts",
        ):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}={getattr(self, name)}: must be at least 1")
        if not 0 < self.steer_max <= 0.78:
            raise ValueError(f"steer_max={self.steer_max}: must be above 0 and at most 0.78 rad (45 degrees)")
        if self.agents_per_world > 256:
            raise ValueError(f"agents_per_world={self.agents_per_world}: a world has room for 256")
        for name in ("stop_count", "agent_count"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name}={getattr(self, name)}: must not be negative")

    def replace(self, **changes: Any) -> "Config":
        """A copy with some values changed; an unknown name is an error that says which names are near."""
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                import difflib

                near = difflib.get_close_matches(name, names)
                raise ValueError(f"unknown configuration {name!r}" + (f": did you mean {', '.join(near)}?" if near else ""))
        return dataclasses.replace(self, **changes)


def paper() -> Config:
    """The published training setting, for cars."""
    return Config()


def laptop() -> Config:
    """Learns to drive on two CPU cores in minutes: fewer elements in view, near goals, reward for progress.

    The paper's action set brakes on average and a crash costs more than standing; so the conditioning leaves no agent for
    whom standing still is best: progress pays, and crashing always costs more than a goal is worth.
    """
    return Config(
        max_steps=300,
        on_route_done="respawn",
        lane_count=16,
        lane_spacing=12.0,
        boundary_count=16,
        stop_count=2,
        agent_count=8,
        view_range=60.0,
        route_range=200.0,
        agents_per_world=16,
        first_goal="near",
        goal_distance=(30.0, 90.0),
        waypoints_max=1,
        goal_radius=(4.0, 8.0),
        collision=(2.0, 3.0),
        offroad=(2.0, 3.0),
        comfort=(0.0, 0.01),
        stop_line=(0.5, 1.0),
        progress=(0.02, 0.02),
    )


PRESETS = {"paper": paper, "laptop": laptop}

CONDITIONING = (
    "goal_radius", "collision", "offroad", "comfort", "lane_align", "velocity_align", "lane_center", "center_bias",
    "velocity", "reverse", "stop_line", "timestep", "progress",
)  # fmt: skip
"""The reward coefficients in the order in which the policy sees them. Their published ranges normalise what it sees."""

CHOICES = (*CONDITIONING, "length", "width", "c_throttle", "c_steer", "c_acc", "c_vel")
"""What may be chosen by hand, per row, instead of being drawn as the Config says."""


def _flat_names() -> list[str]:
    names = []
    for field in dataclasses.fields(Config):
        if isinstance(field.default, tuple):
            names += [f"{field.name}_low", f"{field.name}_high"]
        elif not isinstance(field.default, str):
            names.append(field.name)
    return names


_SWITCHES = ("crash_ends", "route_ends", "near_first")
Params = namedtuple("Params", [*_flat_names(), *_SWITCHES])  # type: ignore[misc]
"""What the kernels see of a Config: the same names as float32 and int32 scalars; a range gives name_low and name_high."""


def params(config: Config) -> Params:
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        given = getattr(config, field.name)
        if isinstance(field.default, tuple):
            flat[f"{field.name}_low"], flat[f"{field.name}_high"] = np.float32(given[0]), np.float32(given[1])
        elif isinstance(field.default, int):
            flat[field.name] = np.int32(given)
        elif isinstance(field.default, float):
            flat[field.name] = np.float32(given)
    flat["crash_ends"] = np.int32(config.on_crash == "respawn")
    flat["route_ends"] = np.int32(config.on_route_done == "respawn")
    flat["near_first"] = np.int32(config.first_goal == "near")
    return Params(**flat)
