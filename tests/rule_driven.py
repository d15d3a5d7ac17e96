"""Scenes of rule-based drivers, set by hand."""

import math

import numpy as np
from conftest import aim_at, clear, place, section_at, simulator

from gigaflow_env.config import laptop


def scene(town, rows=3, **changes):
    """A world of a map with room for so many drivers, of whom nobody is there yet."""
    config = laptop().replace(agents_per_world=rows, on_route_done="new_route", lights_off=0.0, **changes)
    sim = simulator(town, rows, config, drivers="idm")
    clear(sim)
    return sim


def put(sim, a, lane, s, goal, speed=0.0):
    """Put an agent on the middle of a lane, on its way to a goal. Metres of the map."""
    sections = sim.roads.network.sections
    section = section_at(sim, lane, s)
    first, second = sections[section], sections[section + 1]
    matrix = np.reshape([array[0] for array in sim.state.variant[:4]], (2, 2))
    x, y = matrix @ [(first["x"] + second["x"]) / 2, (first["y"] + second["y"]) / 2]
    along = matrix @ [first["cos"], first["sin"]]
    origin = sim.roads.origins[0]
    place(sim, a, float(x + origin[0]), float(y + origin[1]), math.atan2(along[1], along[0]), speed=speed)
    sim.state.lane_position.section[0, a] = section
    sim.state.lane_position.fraction[0, a], sim.state.lane_position.offset[0, a], sim.state.lane_position.angle[0, a] = (
        0.5,
        0,
        0,
    )
    sim.state.lane_position.stood[0, a] = -1
    aim_at(sim, a, goal)
    sim.state.reward_weights.coefficients[0, a, 0] = 3.0
