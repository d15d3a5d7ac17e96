"""Physics does not depend on where a map lies, how it's turned, and which side is left."""

import math
from dataclasses import replace

import numpy as np
import pytest
from conftest import crossing, motorway, ring, simulator

from gigaflow_env.config import laptop
from gigaflow_env.declare import fields
from gigaflow_env.layout import Ego

STEPS, ROWS = 40, 24
CONFIG = laptop().replace(agents_per_world=8, center_bias=(0.0, 0.0))
EVENTS = ("collision", "offroad", "red_light", "goal", "route_done", "timeout")


def moved(road_map, *, x=0.0, y=0.0, angle=0.0, mirror=False):
    """The map mirrored at the x axis, turned around the origin and shifted, in this order."""
    lanes = {}
    for lane in road_map.lanes.values():
        line = lane.line.copy()
        sign = -1.0 if mirror else 1.0
        at = (line[:, 0] + 1j * sign * line[:, 1]) * np.exp(1j * angle) + complex(x, y)
        line[:, 0], line[:, 1], line[:, 3] = at.real, at.imag, sign * line[:, 3] + angle
        left, right = (lane.right, lane.left) if mirror else (lane.left, lane.right)
        lanes[lane.id] = replace(lane, line=line, left=left, right=right)
    return replace(road_map, lanes=lanes, left_hand=mirror)


def drive(road_map, *, mirror=False):
    """Events, rewards and some blocks of what was seen, of every step."""
    sim = simulator(road_map, ROWS, CONFIG, seed=10)
    rng, history = np.random.default_rng(0), []
    for _ in range(STEPS):
        actions = rng.choice([3, 4, 6, 7, 7, 8, 9, 10, 10, 11], ROWS)
        sim.step(3 * (actions // 3) + 2 - actions % 3 if mirror else actions)
        blocks = sim.layout.split(sim.observations)
        events = np.stack([getattr(sim.state.events, name) for name in EVENTS])
        history.append(
            (events, sim.state.outcome.reward.copy(), *(b.copy() for b in (blocks.ego, blocks.goals, blocks.agents)))
        )
    return [np.array(part) for part in zip(*history, strict=True)]


@pytest.fixture(scope="module", params=[ring, motorway, lambda: crossing(lights=True)], ids=["ring", "motorway", "crossing"])
def scene(request):
    road_map = request.param()
    return road_map, drive(road_map)


def compare(here, there, flip_ego=(), flip_y=False):
    events, reward, ego, goals, agents = here
    other_events, other_reward, other_ego, other_goals, other_agents = (part.copy() for part in there)
    assert events.any(axis=(0, 2, 3)).sum() >= 2, "the scene should see more than one kind of event"
    assert np.array_equal(events, other_events)
    assert np.abs(reward - other_reward).max() < 2e-3
    for column in flip_ego:
        other_ego[..., list(fields(Ego)).index(column)] *= -1
    if flip_y:
        other_goals[..., 1] *= -1
        other_agents[..., [1, 4, 6]] *= -1
    assert np.abs(goals - other_goals).max() < 1e-3
    assert np.abs(agents - other_agents).max() < 5e-3
    angle = list(fields(Ego)).index("angle")
    turned = np.abs(ego - other_ego)
    turned[..., angle] = np.minimum(turned[..., angle], 2 - turned[..., angle])  # -1 and 1 are the same direction
    assert turned.max() < 5e-3


def test_shift_of_ten_kilometres(scene):
    road_map, here = scene
    compare(here, drive(moved(road_map, x=10_000, y=-7_000)))


def test_turn(scene):
    road_map, here = scene
    compare(here, drive(moved(road_map, angle=math.radians(37))))


@pytest.mark.parametrize("make", [ring, lambda: crossing(lights=True)], ids=["ring", "crossing"])
def test_mirror(make):
    """Not on the motorway: a change to the left is drawn where its mirror image draws one to the right."""
    road_map = make()
    there = drive(moved(road_map, mirror=True), mirror=True)
    compare(drive(road_map), there, flip_ego=("offset", "angle", "curvature", "steer", "lateral"), flip_y=True)
