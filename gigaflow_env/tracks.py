"""Tracks: recorded traffic as the kernels read it. A page holds the scenes of all worlds, one a world.

Positions are relative to the origin of the scene's map, as in roads/compiled/tables.py. Moment 0 is that at which a scene
starts; what was recorded before is not here.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.declare import array
from gigaflow_env.roads.compiled.tables import Roads

i8, i32, flag = np.int8, np.int32, np.bool_


class Tracks(NamedTuple):
    """The scenes of a page. Rows of a world: first those that are controlled, then all others."""

    steps: np.ndarray = array("world", "steps", "how long the scene is; 0: the world has none", i32)
    there: np.ndarray = array("world agent", "", "the row has an agent when the scene starts, or later", flag)
    driver: np.ndarray = array("world agent", "", "POLICY, IDM or REPLAY", i8)
    judged: np.ndarray = array("world agent", "", "it is controlled: LIVE, where it would be PLAYED otherwise", flag)
    kind: np.ndarray = array("world agent", "", "number in population.ROAD_USERS", i32)
    top: np.ndarray = array("world agent", "", "c_vel: top speed as a multiple of Config.speed_max")
    brisk: np.ndarray = array("world agent", "", "c_acc: strongest acceleration likewise")
    section: np.ndarray = array("world agent", "", "quad at which it starts", i32)
    acceleration: np.ndarray = array("world agent", "m/s^2", "longitudinal, when the scene starts")
    turning: np.ndarray = array("world agent", "rad/s", "yaw rate, when the scene starts")
    goal_x: np.ndarray = array("world agent goal", "m", "way-points of the recorded way, and its end")
    goal_y: np.ndarray = array("world agent goal", "m", "")
    goal_section: np.ndarray = array("world agent goal", "", "its quad", i32)
    goals: np.ndarray = array("world agent", "", "number of goals, at least 1 for a row that is LIVE", i32)
    seen: np.ndarray = array("world moment agent", "", "the record has the agent at this moment", flag)
    x: np.ndarray = array("world moment agent", "m", "center of the box")
    y: np.ndarray = array("world moment agent", "m", "center of the box")
    z: np.ndarray = array("world moment agent", "m", "height of the road under it")
    cos: np.ndarray = array("world moment agent", "", "of the heading")
    sin: np.ndarray = array("world moment agent", "", "of the heading")
    speed: np.ndarray = array("world moment agent", "m/s", "along the heading, signed")
    length: np.ndarray = array("world moment agent", "m", "")
    width: np.ndarray = array("world moment agent", "m", "")
    light: np.ndarray = array("world moment light", "", "OFF, GREEN, YELLOW or RED", i8)
    conflict: np.ndarray = array(
        "world agent", "", "bits, found when the scene starts: OVERLAPS another box, OFF_ROAD: touches its edge", i8
    )


class Page(NamedTuple):
    """Scenes that run at the same time, world w the w-th of them. A world without scene has `Tracks.steps` 0."""

    roads: Roads  # map w is that of world w; fewer where the last worlds have no scene
    tracks: Tracks
    maps: Sequence[Any]  # of each map its RoadMap, or what loads it when it's looked at
    keys: tuple[str, ...]  # of each scene what tells it from all others
    conflicts: Callable[[], Any]  # the tables of roads/compiled/conflict_zones.py, made when rules drive


def steps_of(page: Page) -> int:
    """Steps until all scenes of a page are over."""
    return int(page.tracks.steps.max())
