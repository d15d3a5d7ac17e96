"""Trajectories made by hand, and what may be done to them without changing what metrics say."""

import math

import numpy as np

from gigaflow_train.evaluate.trajectories import Trajectories

DT = 0.1


def tracks(*agents, dt=DT):
    """Trajectories of agents, each a dict: x, y, heading, speed as numbers or (steps,); kind, length, width, valid.

    A number for x or y is where it begins; it then goes along its heading with its speed.
    """
    steps = max(np.size(value) for agent in agents for value in agent.values() if not isinstance(value, str))
    arrays = {name: [] for name in ("valid", "x", "y", "z", "heading", "velocity_x", "velocity_y", "length", "width")}
    for agent in agents:
        heading = np.broadcast_to(np.asarray(agent.get("heading", 0.0), float), steps)
        speed = np.broadcast_to(np.asarray(agent.get("speed", 0.0), float), steps)
        way = np.concatenate([[0.0], np.cumsum(speed[:-1] * dt)])
        for name, along in (("x", np.cos(heading)), ("y", np.sin(heading))):
            given = np.asarray(agent.get(name, 0.0), float)
            arrays[name].append(given if given.ndim else given + way * along)
        arrays["z"].append(np.broadcast_to(np.asarray(agent.get("z", 0.0), float), steps))
        arrays["heading"].append(heading)
        arrays["velocity_x"].append(speed * np.cos(heading))
        arrays["velocity_y"].append(speed * np.sin(heading))
        for name, usual in (("length", 4.0), ("width", 2.0)):
            arrays[name].append(np.full(steps, float(agent.get(name, usual))))
        arrays["valid"].append(np.broadcast_to(np.asarray(agent.get("valid", True), bool), steps))
    valid = np.array(arrays.pop("valid"))
    made = {name: np.where(valid, np.array(rows), np.nan) for name, rows in arrays.items()}
    kinds = tuple(agent.get("kind", "vehicle") for agent in agents)
    return Trajectories(dt, tuple(map(str, range(len(agents)))), kinds, valid, **made)


def standing(steps, **more):
    return {"speed": np.zeros(steps), **more}


def moved(given, turn, dx, dy):
    """The same in another frame: turned [rad] around the origin, then shifted."""
    if isinstance(given, Trajectories):
        x, y = turned(given.x, given.y, turn)
        vx, vy = turned(given.velocity_x, given.velocity_y, turn)
        heading = np.where(given.valid, np.remainder(given.heading + turn + math.pi, 2 * math.pi) - math.pi, np.nan)
        return given._replace(x=x + dx, y=y + dy, velocity_x=vx, velocity_y=vy, heading=heading)
    x, y = turned(given[..., 0], given[..., 1], turn)
    return np.concatenate([np.stack([x + dx, y + dy], axis=-1), given[..., 2:]], axis=-1)


def turned(x, y, turn):
    return x * math.cos(turn) - y * math.sin(turn), x * math.sin(turn) + y * math.cos(turn)


def backwards(given):
    """The same seen in reversed time: who drove ahead now drives in reverse."""
    arrays = {name: getattr(given, name)[:, ::-1] for name in Trajectories._fields[3:]}
    return given._replace(**{**arrays, "velocity_x": -arrays["velocity_x"], "velocity_y": -arrays["velocity_y"]})


FRAMES = [(0.0, 100.0, -30.0), (math.pi / 2, 0.0, 0.0), (2.5, -1000.0, 400.0), (-math.pi, 7.0, 7.0)]
"""Turn [rad] and shift [m]."""
