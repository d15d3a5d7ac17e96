"""Observation: what an agent sees, in its own frame, normalised to [-1, 1]. Blocks and features: layout.py."""

import math

from gigaflow_env.config import CONDITIONING
from gigaflow_env.jit import f32, i32, rule, stage, u32
from gigaflow_env.layout import (
    ACCELERATION_SCALE,
    COEFFICIENT_SCALE,
    CONDITIONING_BOUNDS,
    CURVATURE_SCALE,
    FEATURES,
    GOALS,
    HEIGHT_SCALE,
    LANE_WIDTH_SCALE,
    LENGTH_SCALE,
    OFFSET_SCALE,
    SPEED_SCALE,
    WIDTH_SCALE,
    Boundary,
    Ego,
    Goal,
    LaneSample,
    Neighbour,
    StopLine,
)
from gigaflow_env.sim.collision import nearby_row
from gigaflow_env.sim.geometry import HALF, ONE, ZERO, atan2, clip, into_frame
from gigaflow_env.sim.lanes import FAR, place_s, way
from gigaflow_env.state import ENDED, GREEN, LIVE, OFF, RED, YELLOW

_OFFSET, _ANGLE, _CURVATURE = f32(1 / OFFSET_SCALE), f32(1 / math.pi), f32(1 / CURVATURE_SCALE)
_SPEED, _ACCELERATION, _COEFFICIENT = f32(1 / SPEED_SCALE), f32(1 / ACCELERATION_SCALE), f32(1 / COEFFICIENT_SCALE)
_LENGTH, _WIDTH, _LANE_WIDTH, _HEIGHT = f32(1 / LENGTH_SCALE), f32(1 / WIDTH_SCALE), f32(1 / LANE_WIDTH_SCALE), f32(1 / HEIGHT_SCALE)
_LOW = tuple(f32(low) for low, _ in CONDITIONING_BOUNDS)
_GAIN = tuple(f32(2 / (high - low)) for low, high in CONDITIONING_BOUNDS)
NOBODY = u32(0xFFFFFFFF)
_KEY_STEPS, _KEY_SHIFT, _KEY_AGENT = f32(2.0**24), u32(8), u32(0xFF)
_COEFFICIENTS = len(CONDITIONING)
_GOAL_SIZE, _LANE_SIZE, _BOUNDARY_SIZE, _STOP_SIZE, _AGENT_SIZE = (len(group._fields) for group in FEATURES[2:])


@rule
def put(obs, w, a, at, features):
    """Store a declared tuple at a column, clipped to [-1, 1]."""
    for i in range(len(features)):
        obs[w, a, at + i] = clip(features[i], -ONE, ONE)


@stage
def watch(w, a, rows, pose, near, p):
    """The agents nearest to this one. Writes: near.

    A key is the squared distance in units of 2^-24 of the squared range, and the agent's number for ties. Keys are kept
    farthest first: inserting one is then a shift that vectorises.
    """
    seen = near.key.shape[2]
    for k in range(seen):
        near.key[w, a, k] = NOBODY
    x, y, scale = pose.x[w, a], pose.y[w, a], _KEY_STEPS / (p.view_range * p.view_range)
    for b in range(rows.status.shape[1]):
        dx, dy = pose.x[w, b] - x, pose.y[w, b] - y
        distance = (dx * dx + dy * dy) * scale
        visible = rows.status[w, b] == LIVE or rows.status[w, b] == ENDED
        if not visible or distance >= _KEY_STEPS or b == a:
            continue
        key = u32(u32(u32(distance) << _KEY_SHIFT) | u32(b))
        if key >= near.key[w, a, 0]:
            continue
        for k in range(seen - 1):
            near.key[w, a, k] = max(near.key[w, a, k + 1], min(near.key[w, a, k], key))
        near.key[w, a, seen - 1] = min(near.key[w, a, seen - 1], key)


@stage
def look_ego(w, a, obs, starts, motion, body, place, network, p):
    """Writes: obs."""
    first, second = network.sections[place.section[w, a]], network.sections[place.section[w, a] + 1]
    curvature = first.curvature + place.fraction[w, a] * (second.curvature - first.curvature)
    limit = min(network.lanes[first.lane].speed, p.speed_max * body.c_vel[w, a])
    ego = Ego(
        offset=place.offset[w, a] * _OFFSET,
        angle=atan2(place.sin[w, a], place.cos[w, a]) * _ANGLE,
        curvature=curvature * _CURVATURE,
        speed=motion.speed[w, a] * _SPEED,
        speed_limit=limit * _SPEED,
        steer=motion.steer[w, a] / p.steer_max,
        acceleration=motion.acceleration[w, a] * _ACCELERATION,
        lateral=motion.lateral[w, a] * _ACCELERATION,
        c_acc=body.c_acc[w, a] * _COEFFICIENT,
        c_throttle=body.c_throttle[w, a] * _COEFFICIENT,
        c_steer=body.c_steer[w, a] * _COEFFICIENT,
        length=body.length[w, a] * _LENGTH,
        width=body.width[w, a] * _WIDTH,
    )
    put(obs, w, a, starts.ego, ego)


@stage
def look_conditioning(w, a, obs, starts, wishes):
    """Writes: obs."""
    for i in range(_COEFFICIENTS):
        value = (wishes.coefficients[w, a, i] - _LOW[i]) * _GAIN[i] - ONE
        obs[w, a, starts.conditioning + i] = clip(value, -ONE, ONE)


@stage
def look_goals(w, a, obs, starts, pose, goals, p):
    """Writes: obs."""
    x, y, cos, sin, scale = pose.x[w, a], pose.y[w, a], pose.cos[w, a], pose.sin[w, a], ONE / p.view_range
    last = goals.count[w, a] - 1
    for i in range(GOALS):
        k = min(goals.next[w, a] + i, last)
        ahead, left = into_frame(goals.x[w, a, k] - x, goals.y[w, a, k] - y, cos, sin)
        goal = Goal(x=ahead * scale, y=left * scale, final=ONE if k == last else ZERO)
        put(obs, w, a, starts.goals + i * _GOAL_SIZE, goal)


@stage
def look_lanes(w, a, row, obs, starts, clock, pose, place, goals, network, nearby, p):
    """Writes: obs."""
    map_row = network.maps[clock.map[w]]
    x, y, cos, sin = pose.x[w, a], pose.y[w, a], pose.cos[w, a], pose.sin[w, a]
    scale, route_scale = ONE / p.view_range, ONE / p.route_range
    goal = goals.section[w, a, goals.next[w, a]]
    goal_lane, goal_s = network.sections[goal].lane, place_s(network, goal, HALF)
    smallest = FAR
    for k in range(nearby.samples.shape[1]):
        sample = nearby.samples[row, k]
        distance = way(network, map_row.route_at, map_row.lanes, sample.lane, sample.s, goal_lane, goal_s)
        smallest = min(smallest, distance)
        obs[w, a, starts.lanes + k * _LANE_SIZE] = distance  # kept here until the smallest is known
    for k in range(nearby.samples.shape[1]):
        sample = nearby.samples[row, k]
        distance = obs[w, a, starts.lanes + k * _LANE_SIZE]
        ahead, left = into_frame(sample.x - x, sample.y - y, cos, sin)
        lane_cos, lane_sin = into_frame(sample.cos, sample.sin, cos, sin)
        lane = LaneSample(
            x=ahead * scale,
            y=left * scale,
            cos=lane_cos,
            sin=lane_sin,
            width=sample.width * _LANE_WIDTH,
            distance=distance * route_scale,
            relative=(distance - smallest) * route_scale,
        )
        put(obs, w, a, starts.lanes + k * _LANE_SIZE, lane)


@stage
def look_boundaries(w, a, row, obs, starts, pose, nearby, p):
    """Writes: obs."""
    x, y, cos, sin, scale = pose.x[w, a], pose.y[w, a], pose.cos[w, a], pose.sin[w, a], ONE / p.view_range
    for k in range(nearby.boundaries.shape[1]):
        ahead, left = into_frame(nearby.boundaries[row, k, 0] - x, nearby.boundaries[row, k, 1] - y, cos, sin)
        put(obs, w, a, starts.boundaries + k * _BOUNDARY_SIZE, Boundary(x=ahead * scale, y=left * scale))


@stage
def look_stops(w, a, row, obs, starts, pose, lights, network, nearby, p):
    """Writes: obs."""
    x, y, cos, sin, scale = pose.x[w, a], pose.y[w, a], pose.cos[w, a], pose.sin[w, a], ONE / p.view_range
    for k in range(nearby.stops.shape[1]):
        number = nearby.stops[row, k]
        at = starts.stops + k * _STOP_SIZE
        stop = network.stops[max(number, 0)]
        colour = lights.colour[w, stop.light] if number >= 0 else OFF
        ahead, left = into_frame(stop.x - x, stop.y - y, cos, sin)
        if colour == OFF or ahead * ahead + left * left > p.view_range * p.view_range:
            put(obs, w, a, at, StopLine(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO))
            continue
        stop_cos, stop_sin = into_frame(stop.cos, stop.sin, cos, sin)
        line = StopLine(
            x=ahead * scale,
            y=left * scale,
            cos=stop_cos,
            sin=stop_sin,
            red=ONE if colour == RED else ZERO,
            yellow=ONE if colour == YELLOW else ZERO,
            green=ONE if colour == GREEN else ZERO,
        )
        put(obs, w, a, at, line)


@stage
def look_agents(w, a, obs, starts, pose, motion, body, near, p):
    """Writes: obs."""
    x, y, z, cos, sin, scale = pose.x[w, a], pose.y[w, a], pose.z[w, a], pose.cos[w, a], pose.sin[w, a], ONE / p.view_range
    for k in range(p.agent_count):
        key = near.key[w, a, p.agent_count - 1 - k]  # nearest first
        at = starts.agents + k * _AGENT_SIZE
        if key == NOBODY:
            put(obs, w, a, at, Neighbour(ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO))
            continue
        b = i32(key & _KEY_AGENT)
        ahead, left = into_frame(pose.x[w, b] - x, pose.y[w, b] - y, cos, sin)
        other_cos, other_sin = into_frame(pose.cos[w, b], pose.sin[w, b], cos, sin)
        other = Neighbour(
            x=ahead * scale,
            y=left * scale,
            z=(pose.z[w, b] - z) * _HEIGHT,
            cos=other_cos,
            sin=other_sin,
            velocity_x=motion.speed[w, b] * other_cos * _SPEED,
            velocity_y=motion.speed[w, b] * other_sin * _SPEED,
            length=body.length[w, b] * _LENGTH,
            width=body.width[w, b] * _WIDTH,
            present=ONE,
        )
        put(obs, w, a, at, other)


@stage
def look(w, a, obs, starts, clock, pose, motion, body, place, goals, wishes, lights, near, network, nearby, p):
    """The whole observation of agent a. Writes: obs."""
    row = nearby_row(network, place.section[w, a])
    look_ego(w, a, obs, starts, motion, body, place, network, p)
    look_conditioning(w, a, obs, starts, wishes)
    look_goals(w, a, obs, starts, pose, goals, p)
    look_lanes(w, a, row, obs, starts, clock, pose, place, goals, network, nearby, p)
    look_boundaries(w, a, row, obs, starts, pose, nearby, p)
    look_stops(w, a, row, obs, starts, pose, lights, network, nearby, p)
    look_agents(w, a, obs, starts, pose, motion, body, near, p)


@stage
def blank(w, a, obs):
    """The observation of a row without agent. Writes: obs."""
    for i in range(obs.shape[2]):
        obs[w, a, i] = ZERO
