"""Every number of the simulator, with unit, meaning and source. A preset is a function that returns a Config.

Confidence marks of the figures: (A) two or more independent sources agree, (B) one good source, (C) sources conflict,
(D) not published: ours. Paper: arXiv 2502.03349.
"""

import dataclasses
import math
from collections import namedtuple
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gigaflow_env import bounds
from gigaflow_env.bounds import Bounds
from gigaflow_env.population import shares

Range = tuple[float, float]


def value(
    default: Any, unit: str, meaning: str, low: float, high: float, *, open_low: bool = False, open_high: bool = False
) -> Any:
    """Declare a number, or a range (low, high) of numbers, and the lowest and highest that make sense.

    Inside of these bounds everything simulates finitely.
    """
    declared = Bounds(low, high, open_low, open_high)
    return dataclasses.field(default=default, metadata={"unit": unit, "meaning": meaning, "bounds": declared})


def choice(choices: str, meaning: str) -> Any:
    """Declare one of some words; the first is the default."""
    words = tuple(choices.split(", "))
    return dataclasses.field(default=words[0], metadata={"unit": "", "meaning": meaning, "choices": words})


OLDEST_WORLD = 100_000.0
"""[s] So old a world may become: a float32 then still tells hundredths of a second apart, by which lights go."""


@dataclass(frozen=True)
class Config:
    """Every number of the simulator. `replace` makes a changed copy; nonsense is a ValueError that names value and bound."""

    # Time and population
    dt: float = value(0.3, "s", "time step (A)", 0.001, 3)
    max_steps: int = value(1200, "steps", "an agent's episode is truncated after this many (A)", 1, 10**9)
    world_steps: int = value(
        1200, "steps", "a world ends after this many: its agents are truncated, its lights drawn anew (A)", 1, 10**8
    )
    world_stagger: float = value(
        1.0, "share", "first ends of the worlds are spread over this share of world_steps (D)", 0, 1
    )
    agents_per_world: int | tuple[int, int] = value(
        64,
        "agents",
        "of one world; a range (low, high) is drawn anew when a world begins, rows beyond stay empty (A)",
        1,
        256,
    )
    on_crash: str = choice(
        "respawn, freeze, leave, continue",
        "collision or off-road: `respawn` ends the episode, `freeze` too, but the wreck stands in the way, `leave` too, and "
        "whoever's episode ended, by a crash or otherwise, is gone until the world ends, `continue` only costs reward (C)",
    )
    on_route_done: str = choice(
        "new_route, respawn", "final goal reached: `new_route` goes on, `respawn` ends the episode (D)"
    )
    freeze_time: float = value(
        0.0, "s", "how long a wreck stands before its row starts anew; 0: until its world ends (D)", 0, 86_400
    )

    # Observation: how many elements of each set, and how far they are seen
    lane_count: int = value(80, "", "nearest lane samples (A)", 1, 1024)
    lane_spacing: float = value(40.0, "m", "distance of lane samples (A)", 1, 1000)
    boundary_count: int = value(80, "", "nearest boundary points (A)", 1, 1024)
    stop_count: int = value(
        5, "", "nearest stop lines; agents are judged by the same, so 0 means that nobody minds red lights (C)", 0, 64
    )
    agent_count: int = value(20, "", "nearest agents (A)", 0, 255)
    view_range: float = value(200.0, "m", "positions are divided by it, agents beyond it are not seen (A)", 10, 10_000)
    route_range: float = value(400.0, "m", "route distances are divided by it and clipped (D)", 10, 100_000)

    # Observation: what is left out and blurred
    lane_dropout: float = value(
        0.0, "share", "lane samples that are left out, others in each step (A: 50 %)", 0, 1, open_high=True
    )
    boundary_dropout: float = value(
        0.0, "share", "boundary points that are left out, others in each step (A: 40 %)", 0, 1, open_high=True
    )
    noise_position: float = value(0.0, "m", "other agents are seen up to this off, along each axis (D)", 0, 10)
    noise_heading: float = value(0.0, "rad", "other agents are seen turned by up to this (D)", 0, 0.5)
    noise_speed: float = value(0.0, "m/s", "other agents are seen up to this slower or faster (D)", 0, 10)

    # Map variants: each world is the image of its map under scales, shear, flip and turn of its own
    variant_scale: Range = value((1.0, 1.0), "", "scales along the map's x and y, each drawn (D)", 0.5, 2)
    variant_shear: Range = value((0.0, 0.0), "", "shear, x grows by it times y (D)", -0.5, 0.5)
    variant_flip: float = value(0.0, "share", "mirrored worlds: traffic keeps to the other side (D)", 0, 1)
    variant_turn: Range = value((0.0, 0.0), "rad", "turn (D)", -2 * math.pi, 2 * math.pi)

    # Body
    population: str | Mapping[str, float] = choice(
        "cars, paper",
        "`paper`: any size from pedestrian to truck (A); `cars`; or shares of the kinds of population.py, that add up to 1",
    )
    wheelbase: float = value(0.6, "lengths", "wheelbase (A)", 0.1, 1)
    throttle_spread: float = value(1.25, "", "C_throttle ~ X(a) = half U(1/a, 1), half U(1, a) (A)", 1, 4)
    steer_spread: float = value(1.25, "", "C_steer ~ X(a) (A)", 1, 4)
    acc_spread: float = value(1.5, "", "C_acc ~ X(a) (A)", 1, 4)
    vel_spread: float = value(1.5, "", "C_vel ~ X(a) (A)", 1, 4)

    # Erratic drivers: flagged in the info, for trainers leave them out
    inattentive: float = value(0.0, "share", "agents that at times see no others (A: 5 %)", 0, 1)
    inattentive_time: float = value(3.0, "s", "how long such a moment is: a glance at a phone (D)", 0, 1000, open_low=True)
    inattentive_share: float = value(0.5, "share", "such moments in their time (D)", 0, 1)
    phantom: float = value(0.0, "share", "agents that at times brake for nothing (A: 10 %)", 0, 1)
    phantom_time: float = value(1.2, "s", "how long: from 10 m/s to about half (D)", 0, 1000, open_low=True)
    phantom_share: float = value(0.08, "share", "such moments in their time: once in 15 s (D)", 0, 1)
    phantom_jerk: float = value(
        -15.0, "m/s^3", "jerk of such braking: the strongest that agents have (D)", -100, 0, open_high=True
    )

    # Dynamics
    speed_min: float = value(-2.0, "m/s", "fastest reversing (A)", -20, 0)
    speed_max: float = value(20.0, "m/s", "top speed, times C_vel (A)", 1, 100)
    brake_max: float = value(5.0, "m/s^2", "strongest braking (A)", 0.5, 50)
    throttle_max: float = value(2.5, "m/s^2", "strongest acceleration, times C_acc (A)", 0.1, 50)
    lateral_max: float = value(4.0, "m/s^2", "largest lateral acceleration (A)", 0.1, 50)
    steer_max: float = value(0.55, "rad", "largest steering angle (A)", 0.01, 0.78)
    steer_rate: float = value(0.6, "rad/s", "fastest change of the steering angle (A)", 0.01, 10)

    # Goals
    waypoints_max: int = value(3, "", "intermediate goals ~ U{0..max}, at most 3 (A)", 0, 3)
    goal_distance: Range = value((20.0, 200.0), "m", "route distance between consecutive goals (A)", 1, 10_000)
    first_goal: str = choice("map, near", "`map`: anywhere on the map (A); `near`: within goal_distance of the start")
    goal_lane_changes: int = value(
        1, "lanes", "a goal lies up to so many lanes aside, from each lane of the way to it; training wants more (D)", 0, 16
    )
    goal_speed: float = value(3.0, "m/s", "the final goal counts below this speed (A)", 0.1, 100)

    # Spawning
    spawn_attempts: int = value(8, "", "places tried per agent and step; an agent without place waits one step (D)", 1, 1000)
    spawn_gap: float = value(2.0, "m", "free distance to other agents, besides what both need to brake (D)", 0, 100)
    spawn_speed: float = value(8.0, "m/s", "start speed ~ U(0, min(this, speed limit, what the curve allows)) (D)", 0, 100)

    # Traffic lights
    light_red: Range = value((0.3, 10.0), "s", "red time of a light (A)", 0.1, 3600)
    light_yellow: Range = value((1.5, 2.25), "s", "yellow time of a light (A)", 0, 60)
    light_green: Range = value((1.0, 10.0), "s", "green time of a light (A)", 0.1, 3600)
    lights_off: float = value(0.2, "share", "worlds without lights (A)", 0, 1)
    light_groups_removed: float = value(0.2, "share", "groups that are removed (A)", 0, 1)
    lights_removed: float = value(0.2, "share", "single lights that are removed (A)", 0, 1)
    lights_green: float = value(0.05, "share", "remaining lights that are always green (A)", 0, 1)
    lights: str = choice(
        "random, default, program",
        "`random`: as above; `default`: 2 s red, 3 s yellow, 10 s green, none removed (A); `program`: coordinated, by the "
        "programs of the map file, or made ones without greens in conflict (D)",
    )
    stop_signs: str = choice(
        "obey, ignore",
        "`obey`: a line that is red until the agent has stood at it; `ignore`: none. On, as who never met one would not "
        "stop near enough (D)",
    )
    yield_signs: str = choice(
        "hide, show", "`show`: the line of a yield sign is a yellow one of the stop lines, and may be crossed (D)"
    )
    stop_sign_speed: float = value(0.1, "m/s", "below this an agent stands (D)", 0.01, 30)
    stop_sign_distance: float = value(4.0, "m", "where it has to stand: from the line to its front, at most (D)", 0.1, 100)

    # Reward coefficients, drawn per agent and episode: conditioning (Table A2)
    goal_radius: Range = value((2.0, 12.0), "m", "distance at which a goal is reached (A)", 0.1, 100)
    collision: Range = value((0.0, 3.0), "", "collision penalty (A)", 0, 100)
    offroad: Range = value((0.0, 3.0), "", "off-road penalty (A)", 0, 100)
    comfort: Range = value((0.0, 0.1), "", "penalty for harsh acceleration, cornering and jerk (A)", 0, 10)
    lane_align: Range = value((2.5e-4, 2.5e-2), "1/s", "driving along the lane direction (A)", 0, 10)
    velocity_align: Range = value((0.0, 1.0), "", "weight of speed against the lane direction (A)", 0, 10)
    lane_center: Range = value((2.5e-4, 7.5e-3), "1/(m s)", "penalty for distance from the lane center (A)", 0, 10)
    center_bias: Range = value((-0.5, 0.5), "m", "where the agent takes the lane center to be (A)", -5, 5)
    velocity: Range = value((2.5e-3, 2.5e-3), "1/s", "moving along the lane (A)", 0, 10)
    reverse: Range = value((2.5e-4, 7.5e-3), "1/s", "penalty for reversing (A)", 0, 10)
    stop_line: Range = value((0.0, 1.0), "", "penalty for crossing a stop line at red (A)", 0, 100)
    timestep: Range = value((2.5e-5, 2.5e-5), "1/s", "penalty for time while moving (A)", 0, 10)
    progress: Range = value((0.0, 0.0), "1/m", "route distance gained towards the goal; ours, 0 in the paper", 0, 10)

    # Reward constants
    goal_reward: float = value(1.0, "", "reward of each goal (A)", 0, 1000)
    collision_speed: float = value(0.1, "s/m", "extra collision penalty per speed (A)", 0, 100)
    comfort_acceleration: float = value(3.0, "m/s^2", "harsh above this, both axes (A)", 0, 1000)
    comfort_jerk: float = value(5.0, "m/s^3", "harsh above this, per axis (C)", 0, 1000)
    center_gate: float = value(0.5, "", "lane center counts where cos(angle to the lane) is above this (A)", -1, 1)

    # Rule-based traffic (sim/traffic/drive.py)
    idm_acceleration: float = value(1.5, "m/s^2", "rule-based drivers: acceleration at low speed (D)", 0.1, 20)
    idm_deceleration: float = value(2.0, "m/s^2", "rule-based drivers: comfortable braking (D)", 0.1, 20)
    idm_headway: float = value(1.2, "s", "rule-based drivers: time gap to the leader (D)", 0, 60)
    idm_gap: float = value(2.0, "m", "rule-based drivers: gap to a leader that stands (D)", 0.1, 100)
    idm_lateral: float = value(1.5, "m/s^2", "rule-based drivers: lateral acceleration in curves (D)", 0.1, 20)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _checked(field, getattr(self, field.name)))
        oldest = self.world_steps * self.dt
        if oldest > OLDEST_WORLD:
            raise ValueError(
                f"world_steps={self.world_steps}: with dt={self.dt} worlds would become {oldest:g} s old, and must be at "
                f"most {OLDEST_WORLD:g} s, or lights keep no time: lower one of them"
            )

    @property
    def agents(self) -> tuple[int, int]:
        """Fewest and most agents of a world; the most are its rows."""
        given = self.agents_per_world
        return given if isinstance(given, tuple) else (given, given)

    @property
    def lanes_kept(self) -> int:
        """Lane samples in an observation: what is left of lane_count. The same number always; at least 1."""
        return max(1, round(self.lane_count * (1 - self.lane_dropout)))

    @property
    def boundaries_kept(self) -> int:
        """Boundary points in an observation, likewise."""
        return max(1, round(self.boundary_count * (1 - self.boundary_dropout)))

    @property
    def drops(self) -> bool:
        """Whether an observation shows less than the lists hold."""
        return (self.lanes_kept, self.boundaries_kept) != (self.lane_count, self.boundary_count)

    def replace(self, **changes: Any) -> "Config":
        """A copy with some values changed; an unknown name is an error that says which names are near."""
        names = [field.name for field in dataclasses.fields(self)]
        for name in changes:
            if name not in names:
                import difflib

                near = difflib.get_close_matches(name, names)
                raise ValueError(f"unknown configuration {name!r}" + (f": did you mean {', '.join(near)}?" if near else ""))
        return dataclasses.replace(self, **changes)


def _checked(field: dataclasses.Field, given: Any) -> Any:
    """The value of a field as the Config keeps it. Raises ValueError that names field, value, bounds and unit."""
    name, unit = field.name, field.metadata["unit"]
    if name == "population":
        found = shares(given)
        return given if isinstance(given, str) else {kind: found[kind] for kind in given}
    if "choices" in field.metadata:
        return bounds.choice(name, given, field.metadata["choices"])
    allowed = field.metadata["bounds"]
    if name == "agents_per_world":
        return bounds.whole_or_span(name, given, allowed, unit)
    if isinstance(field.default, tuple):
        return bounds.span(name, given, allowed, unit)
    if isinstance(field.default, int):
        return bounds.whole(name, given, allowed, unit)
    return bounds.real(name, given, allowed, unit)


def paper() -> Config:
    """The published training setting."""
    return Config(
        population="paper",
        agents_per_world=(1, 150),
        inattentive=0.05,
        phantom=0.1,
        lane_dropout=0.5,
        boundary_dropout=0.4,
        noise_position=0.2,
        noise_heading=0.02,
        noise_speed=0.3,
        variant_scale=(0.85, 1.2),
        variant_shear=(-0.15, 0.15),
        variant_flip=0.5,
        variant_turn=(-math.pi, math.pi),
    )


def laptop() -> Config:
    """Learns to drive on two CPU cores in minutes: fewer elements in view, near goals, reward for progress.

    The paper's action set brakes on average, and a crash costs more than standing: an untrained policy would learn to stand
    still. So every agent is paid for progress, and a crash always costs more than a goal is worth.
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


def longform() -> Config:
    """The published safety evaluation: ten minutes of 50 cautious agents a world, everything as it is.

    Source: arXiv 2502.03349, section 8.5 and Table A2 (A; the coefficients besides collision, off-road and stop line: B).
    Nobody leaves a world before it ends: who crashed starts anew, who has arrived gets a new route.
    """
    return Config(
        dt=0.066,
        max_steps=9000,
        world_steps=9000,
        world_stagger=0.0,
        population="paper",
        agents_per_world=50,
        agent_count=40,
        lights="default",
        vel_spread=1.0,  # at most 20 m/s; the other spreads are half of the training's (D: "reduced")
        acc_spread=1.25,
        throttle_spread=1.125,
        steer_spread=1.125,
        goal_radius=(10.0, 10.0),
        collision=(3.0, 3.0),
        offroad=(3.0, 3.0),
        comfort=(0.05, 0.05),
        lane_align=(2.5e-2, 2.5e-2),
        lane_center=(3.8e-3, 3.8e-3),
        velocity=(2.5e-3, 2.5e-3),
        reverse=(5e-3, 5e-3),
        stop_line=(1.0, 1.0),
        timestep=(2.5e-5, 2.5e-5),
        velocity_align=(1.0, 1.0),  # D
        center_bias=(0.0, 0.0),  # D
    )


PRESETS = {"paper": paper, "laptop": laptop, "longform": longform}

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
        elif not isinstance(field.default, str) and field.name != "agents_per_world":
            names.append(field.name)
    return names


DEFAULT_LIGHTS: dict[str, Any] = {
    "light_red": (2.0, 2.0), "light_yellow": (3.0, 3.0), "light_green": (10.0, 10.0),
    "lights_off": 0.0, "light_groups_removed": 0.0, "lights_removed": 0.0, "lights_green": 0.0,
}  # fmt: skip
"""What `lights="default"` means: CARLA's phase times (arXiv 2502.03349, App. B.4, A)."""

_SWITCHES = (
    "agents_low", "agents_high", "crash_ends", "crash_freezes", "ended_leave", "route_ends", "near_first", "signs_count",
    "lights_run_programs", "inattentive_steps", "phantom_steps", "lanes_kept", "boundaries_kept", "drops", "noisy",
    "decision_every", "judged", "stays",
)  # fmt: skip
Params = namedtuple("Params", [*_flat_names(), *_SWITCHES])  # type: ignore[misc]
"""What the kernels see of a Config: the same names as float32 and int32 scalars; a range gives name_low and name_high.

decision_every: steps for which an action holds. judged: rows of a world whose crashes end their episode, from the first one;
those beyond are traffic of a scene. stays: these rows are there until the scene ends, also where the road ends before."""


def params(config: Config, *, scene_rows: int | None = None, decision_every: int = 1) -> Params:
    """The numbers as the kernels read them: flat, as float32 and int32.

    scene_rows: controlled rows of each world, where worlds are recorded scenes: nobody starts anew within a scene, and where
    the recorded way ends the episode, it does so at any speed. decision_every: steps for which an action holds.
    """
    if config.lights == "default":
        config = config.replace(**DEFAULT_LIGHTS)
    flat: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        given = getattr(config, field.name)
        if isinstance(field.default, tuple):
            flat[f"{field.name}_low"], flat[f"{field.name}_high"] = np.float32(given[0]), np.float32(given[1])
        elif field.name == "agents_per_world":
            flat["agents_low"], flat["agents_high"] = map(np.int32, config.agents)
        elif isinstance(field.default, int):
            flat[field.name] = np.int32(given)
        elif isinstance(field.default, float):
            flat[field.name] = np.float32(given)
    flat["crash_ends"] = np.int32(config.on_crash != "continue")
    flat["crash_freezes"] = np.int32(config.on_crash == "freeze")
    flat["ended_leave"] = np.int32(config.on_crash == "leave")
    flat["lanes_kept"], flat["boundaries_kept"] = map(np.int32, (config.lanes_kept, config.boundaries_kept))
    flat["drops"] = np.int32(config.drops)
    flat["noisy"] = np.int32(max(config.noise_position, config.noise_heading, config.noise_speed) > 0)
    flat["lights_run_programs"] = np.int32(config.lights == "program")
    flat["signs_count"] = np.int32(config.stop_signs == "obey" and config.stop_count > 0)
    for name in ("inattentive", "phantom"):
        flat[f"{name}_steps"] = np.int32(max(1, round(getattr(config, f"{name}_time") / config.dt)))
    flat["decision_every"] = np.int32(decision_every)
    flat["judged"] = np.int32(config.agents[1] if scene_rows is None else scene_rows)
    flat["stays"] = np.int32(scene_rows is not None and config.on_crash == "continue")
    if scene_rows is not None:
        flat["ended_leave"] = np.int32(config.on_crash != "freeze")
        if config.on_route_done == "respawn":
            flat["goal_speed"] = np.float32(1e9)
    flat["route_ends"] = np.int32(config.on_route_done == "respawn")
    flat["near_first"] = np.int32(config.first_goal == "near")
    return Params(**flat)
