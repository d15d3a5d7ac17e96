"""Scenario: recorded traffic on a map. Importers of formats with tracks make one beside their RoadMap.

Coordinates are those of the RoadMap that the same file gives, and lights have the ids of its signals.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from gigaflow_env.roads.road_map import MapError

AGENT_KINDS = ("vehicle", "pedestrian", "cyclist", "other")
LIGHT_STATES = ("off", "green", "yellow", "red", "unknown")
"""`Scenario.lights` holds places in this list; the first four are the simulator's own colours. Off: the light does not work;
unknown: nobody saw it."""

_TRACKS = ("x", "y", "z", "heading", "velocity_x", "velocity_y", "length", "width")


@dataclass(frozen=True)
class Scenario:
    """Tracks of `agents` road users over `steps` moments `dt` apart.

    Arrays are float64 (agents, steps); x, y, z are the middle of the box. Where `valid` is False the agent was not seen and
    all its numbers are NaN: see `masked`.
    """

    name: str
    dt: float  # [s] from step to step
    ids: tuple[str, ...]  # (agents,) unique
    kinds: tuple[str, ...]  # (agents,) each one of AGENT_KINDS
    valid: np.ndarray  # (agents, steps) bool
    x: np.ndarray  # [m]
    y: np.ndarray  # [m]
    z: np.ndarray  # [m] 0 where the format has no heights
    heading: np.ndarray  # [rad] counter-clockwise from x
    velocity_x: np.ndarray  # [m/s]
    velocity_y: np.ndarray  # [m/s]
    length: np.ndarray  # [m] above 0
    width: np.ndarray  # [m] above 0
    lights: dict[str, np.ndarray] = field(default_factory=dict)  # id of a signal -> (steps,) int8, places in LIGHT_STATES
    ego: int | None = None  # number of the agent that recorded the others
    predict: tuple[int, ...] = ()  # numbers of the agents to predict or to control
    source: str = ""  # where the recording comes from
    # Lines (points, 3) [m]: the border of the road, which is on their left; as in the file.
    road_edges: tuple[np.ndarray, ...] = ()
    tags: tuple[str, ...] = ()  # what the file says happens here: nuPlan's types of scenarios

    @property
    def agents(self) -> int:
        """Number of road users."""
        return self.valid.shape[0]

    @property
    def steps(self) -> int:
        """Number of moments."""
        return self.valid.shape[1]


def masked(given: np.ndarray, valid: np.ndarray) -> np.ndarray:
    """Numbers with NaN where they are not valid; both (agents, steps), or `given` (agents, 1) for what does not change."""
    return np.where(valid, np.asarray(given, np.float64), np.nan)


def validate_scenario(scenario: Scenario) -> None:
    """Raise MapError for the first thing that is wrong, naming the agent, array or light."""
    where = f"scenario {scenario.name!r}"
    if not (scenario.dt > 0 and math.isfinite(scenario.dt)):
        raise MapError(f"{where}: dt={scenario.dt} s must be above 0")
    valid = scenario.valid
    if valid.ndim != 2 or valid.dtype != bool or valid.size == 0:
        raise MapError(f"{where}: valid is {valid.dtype} {valid.shape}, it must be bool (agents, steps), one each at least")
    agents, steps = valid.shape
    for name in ("ids", "kinds"):
        if len(getattr(scenario, name)) != agents:
            raise MapError(f"{where}: {len(getattr(scenario, name))} {name} for {agents} agents")
    if len(set(scenario.ids)) < agents:
        twice = next(a for k, a in enumerate(scenario.ids) if a in scenario.ids[:k])
        raise MapError(f"{where}: id {twice!r} is given twice")
    for agent, kind in zip(scenario.ids, scenario.kinds, strict=True):
        if kind not in AGENT_KINDS:
            raise MapError(f"{where}: agent {agent!r}: kind {kind!r} is not one of {', '.join(AGENT_KINDS)}")
    for name in _TRACKS:
        _validate_track(scenario, name, where)
    for light, states in scenario.lights.items():
        if states.shape != (steps,) or states.dtype != np.int8:
            raise MapError(f"{where}: light {light!r}: states are {states.dtype} {states.shape}, must be int8 ({steps},)")
        if states.min() < 0 or states.max() >= len(LIGHT_STATES):
            raise MapError(f"{where}: light {light!r}: states must lie in 0..{len(LIGHT_STATES) - 1}")
    for name, numbers in (("ego", () if scenario.ego is None else (scenario.ego,)), ("predict", scenario.predict)):
        if any(not 0 <= number < agents for number in numbers):
            raise MapError(f"{where}: {name}={getattr(scenario, name)}: agents have the numbers 0..{agents - 1}")
    if not all(isinstance(tag, str) for tag in scenario.tags):
        raise MapError(f"{where}: tags={scenario.tags!r:.80} must be texts")
    for number, line in enumerate(scenario.road_edges):
        if line.ndim != 2 or line.shape[1] != 3 or line.dtype != np.float64 or not np.isfinite(line).all():
            raise MapError(f"{where}: road edge {number} is {line.dtype} {line.shape}: must be finite float64 (points, 3)")


def _validate_track(scenario: Scenario, name: str, where: str) -> None:
    track, valid = getattr(scenario, name), scenario.valid
    if track.shape != valid.shape or track.dtype != np.float64:
        raise MapError(f"{where}: {name} is {track.dtype} {track.shape}, it must be float64 {valid.shape}")
    bad = np.where(valid, ~np.isfinite(track), ~np.isnan(track))
    if name in ("length", "width"):
        bad |= valid & (track <= 0)
    if bad.any():
        agent, step = np.argwhere(bad)[0]
        found = f"agent {scenario.ids[agent]!r}: {name}={track[agent, step]} at step {step}"
        wanted = "above 0" if name in ("length", "width") else "a finite number"
        raise MapError(f"{where}: {found} must be {wanted if valid[agent, step] else 'NaN, for it is not valid'}")
