"""One world at one moment, as a viewer wants it: where everybody is, what just happened to them, and the lights."""

from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.config import CONDITIONING
from gigaflow_env.population import ROAD_USERS
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import FROZEN, IDM, LIVE, PLAYED

FLAGS = (
    "live", "wreck", "collision", "offroad", "red_light", "goal", "route_done", "timeout", "erratic", "rules", "fault",
)  # fmt: skip
"""Names of the bits of `Frame.flags`, from the lowest. The events are those of the step that led here: of the episode
before, where one ended. fault: the agent caused its collision, known where there is an event log."""

BIT = {name: 1 << k for k, name in enumerate(FLAGS)}
ON_ROAD = BIT["live"] | BIT["wreck"]


class Frame(NamedTuple):
    """All rows of a world, at one moment. Arrays have one entry a row."""

    tick: int  # steps since the environment's reset
    step: int  # age of the world
    x: np.ndarray  # [m] in the coordinates of the kernel tables
    y: np.ndarray
    heading: np.ndarray  # [rad]
    speed: np.ndarray  # [m/s]
    steer: np.ndarray  # [rad]
    flags: np.ndarray  # int32, bits of FLAGS
    episode: np.ndarray  # int32: episodes begun
    goal_x: np.ndarray  # [m] the next goal
    goal_y: np.ndarray
    goals_left: np.ndarray  # int32
    hit_x: np.ndarray  # [m] where it was at the end of the step, before a new episode began; nan without an event log
    hit_y: np.ndarray
    lights: np.ndarray  # int8 (lights,): OFF, GREEN, YELLOW, RED


def frame_of(simulator: Simulator, world: int) -> Frame:
    """The frame of a world as it is now. Copies; waits for a device."""

    def row(array: Any) -> np.ndarray:
        return simulator.host(array[world : world + 1])[0]

    state = simulator.state
    status = row(state.rows.status)
    events = state.events
    fault = np.zeros(len(status), bool)
    x, y = row(state.pose.x).copy(), row(state.pose.y).copy()
    hit_x = hit_y = np.full(len(x), np.nan, np.float32)
    if simulator.contacts is not None:
        fault = row(simulator.contacts.fault) & row(events.collision)
        hit_x, hit_y = row(simulator.contacts.x).copy(), row(simulator.contacts.y).copy()
    bits = (
        (status == LIVE) | (status == PLAYED), status == FROZEN,
        row(events.collision), row(events.offroad), row(events.red_light),
        row(events.goal), row(events.route_done), row(events.timeout), row(state.rows.erratic) != 0,
        row(state.rows.driver) == IDM, fault,
    )  # fmt: skip
    flags = sum(bit.astype(np.int32) << k for k, bit in enumerate(bits))
    following = np.minimum(row(state.goals.next), np.maximum(row(state.goals.count) - 1, 0))
    every = np.arange(len(status))
    number = int(simulator.host(state.clock.map)[world])
    return Frame(
        tick=int(simulator.host(state.clock.tick)[world]),
        step=int(simulator.host(state.clock.step)[world]),
        x=x,
        y=y,
        heading=np.arctan2(row(state.pose.sin), row(state.pose.cos)),
        speed=row(state.motion.speed).copy(),
        steer=row(state.motion.steer).copy(),
        flags=np.asarray(flags, np.int32),
        episode=row(state.rows.episode).copy(),
        goal_x=row(state.goals.x)[every, following],
        goal_y=row(state.goals.y)[every, following],
        goals_left=(row(state.goals.count) - row(state.goals.next)).astype(np.int32),
        hit_x=hit_x,
        hit_y=hit_y,
        lights=row(state.lights.colour)[: int(simulator.roads.network.maps[number]["lights"])].copy(),
    )


def body_of(simulator: Simulator, world: int, agent: int) -> dict[str, Any]:
    """What stays the same through an episode of an agent: its body, dynamics and reward coefficients."""
    body, weights = simulator.state.body, simulator.state.reward_weights
    coefficients = simulator.host(weights.coefficients[world : world + 1])[0, agent]
    found = {
        name: float(simulator.host(getattr(body, name)[world : world + 1])[0, agent])
        for name in ("length", "width", "c_throttle", "c_steer", "c_acc", "c_vel")
    }
    kind = int(simulator.host(body.kind[world : world + 1])[0, agent])
    return {
        "kind": list(ROAD_USERS)[kind],
        **{name: round(value, 4) for name, value in found.items()},
        "conditioning": {name: float(f"{v:.4g}") for name, v in zip(CONDITIONING, coefficients.tolist(), strict=True)},
    }
