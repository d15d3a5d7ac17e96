"""What an agent sees and why it is rewarded, for people: drawn from its observation and from the rules of the rewards."""

import math
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.config import CONDITIONING
from gigaflow_env.layout import FEATURES
from gigaflow_env.sim.rewards import ALIGN_BONUS, CENTER_BONUS, CENTER_PLATEAU, MOVING
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import GREEN, LIVE, OFF, RED, YELLOW

TERMS = (
    "goal", "collision", "offroad", "stop_line", "progress", "comfort", "lane_align", "lane_center", "velocity", "reverse",
    "timestep",
)  # fmt: skip
"""The terms of the reward, in the order in which viewers list them."""


def reward_terms(simulator: Simulator, world: int) -> np.ndarray:
    """The terms of each agent's last reward, float64 (agents, TERMS): they add up to it. nan for rows that do not drive.

    An agent whose episode has just ended is a new one already: its terms are nan. Source: sim/rewards.py, of which this is
    the same in NumPy; a test compares.
    """
    state, config = simulator.state, simulator.config

    def row(array: Any) -> np.ndarray:
        return simulator.host(array[world : world + 1])[0].astype(np.float64)

    c = dict(zip(CONDITIONING, row(state.reward_weights.coefficients).T, strict=True))
    events = {name: row(getattr(state.events, name)) for name in ("goal", "collision", "offroad", "red_light")}
    speed, acceleration, lateral = (row(getattr(state.motion, name)) for name in ("speed", "acceleration", "lateral"))
    jerk, side = row(state.motion.jerk), row(state.motion.side_jerk)
    cos, angle, offset = (row(getattr(state.lane_position, name)) for name in ("cos", "angle", "offset"))
    harsh = (
        (np.abs(acceleration) > config.comfort_acceleration).astype(float)
        + (np.abs(lateral) > config.comfort_acceleration)
        + ((np.abs(jerk) > config.comfort_jerk) | (np.abs(side) > config.comfort_jerk))
    )
    along = (
        np.minimum(cos, 0)
        + c["velocity_align"] * np.minimum(speed * cos, 0)
        + float(ALIGN_BONUS) * (1 - np.abs(angle) / (math.pi / 2))
    )
    away = np.abs(offset - c["center_bias"])
    center = np.where(cos > config.center_gate, away, 0.0) - float(CENTER_BONUS) / np.exp(away - float(CENTER_PLATEAU))
    moving = (np.abs(speed) > 0) | (np.abs(acceleration) > 0)
    terms = {
        "goal": config.goal_reward * events["goal"],
        "collision": -(c["collision"] + config.collision_speed * np.abs(speed)) * events["collision"],
        "offroad": -c["offroad"] * events["offroad"],
        "stop_line": -c["stop_line"] * events["red_light"],
        "progress": row(state.goals.gained) * c["progress"],
        "comfort": -c["comfort"] * harsh,
        "lane_align": c["lane_align"] * config.dt * along,
        "lane_center": -c["lane_center"] * config.dt * center,
        "velocity": c["velocity"] * config.dt * np.where(np.abs(speed) > MOVING, np.maximum(cos, 0), 0.0),
        "reverse": -c["reverse"] * config.dt * (speed < 0),
        "timestep": -c["timestep"] * config.dt * moving,
    }
    found = np.stack([terms[name] for name in TERMS], axis=1)
    drives = (row(state.rows.status) == LIVE) & (row(state.rows.steps) > 0)
    found[~drives] = np.nan
    return found


class Seen(NamedTuple):
    """What the agents of a world see, in the coordinates of the kernel tables. Columns are [m] where not said otherwise."""

    lanes: np.ndarray  # (agents, samples, 3): x, y, route distance to the next goal; inf: no way leads there
    edges: np.ndarray  # (agents, points, 2): x, y
    stops: np.ndarray  # (agents, stops, 3): x, y, colour: OFF, GREEN, YELLOW or RED; OFF: no stop line
    others: np.ndarray  # (agents, neighbours) int: row of each, -1: none


def seen_of(simulator: Simulator, world: int, obs: np.ndarray) -> Seen:
    """What a world's agents see, from their observations float32 (agents, size)."""
    state, config = simulator.state, simulator.config
    blocks = simulator.layout.split(obs.astype(np.float64))
    pose = {
        name: simulator.host(getattr(state.pose, name)[world : world + 1])[0, :, None] for name in ("x", "y", "cos", "sin")
    }

    def placed(block: np.ndarray) -> np.ndarray:
        ahead, left = block[..., 0] * config.view_range, block[..., 1] * config.view_range
        x = pose["x"] + ahead * pose["cos"] - left * pose["sin"]
        y = pose["y"] + ahead * pose["sin"] + left * pose["cos"]
        return np.stack([x, y], axis=-1)

    def column(block: str, name: str) -> Any:
        return getattr(blocks, block)[..., getattr(FEATURES, block)._fields.index(name)]

    distance = column("lanes", "distance")
    distance = np.where(distance >= 1.0, np.inf, distance * config.route_range)
    colour = np.full(blocks.stops.shape[:-1], OFF)
    for name, code in (("green", GREEN), ("yellow", YELLOW), ("red", RED)):
        colour[column("stops", name) > 0.5] = code
    others = simulator.host(state.neighbours.agent[world : world + 1])[0][:, : config.agent_count]
    return Seen(
        lanes=np.concatenate([placed(blocks.lanes), distance[..., None]], axis=-1),
        edges=placed(blocks.boundaries),
        stops=np.concatenate([placed(blocks.stops), colour[..., None]], axis=-1),
        others=others.astype(np.int32),
    )
