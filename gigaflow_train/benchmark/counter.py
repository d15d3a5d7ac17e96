"""Trouble in an environment with an event log, counted step by step: what the long form and the model card count alike."""

from typing import Any

import numpy as np

from gigaflow_env.event_log import COLLISION, OFFROAD, RED_LIGHT
from gigaflow_train.evaluate import longform

WRONG_WAY, WRONG_SPEED = -0.5, 1.0
"""Cosine of the angle to the lane, and [m/s]: who drives against it. Ours."""
KINDS = {COLLISION: "collision", OFFROAD: "offroad", RED_LIGHT: "red_light"}


def troubles(events: np.ndarray, stuck: np.ndarray, wrong: np.ndarray, age: np.ndarray, dt: float) -> list[longform.Trouble]:
    """What went wrong in a step: entries of the event log, rows that got stuck, rows that drive against their lane."""
    found = []
    for event in events:
        agents = (int(event["row"]), int(event["other"])) if event["other"] >= 0 else (int(event["row"]),)
        fault = int(event["fault"]) + int(event["other_fault"])
        found.append(longform.Trouble(KINDS[int(event["kind"])], agents, float(event["age"]) * dt, fault))
    for name, rows in (("stuck", stuck), ("wrong_way", wrong)):
        found += [longform.Trouble(name, (int(row),), float(age[row]) * dt) for row in np.flatnonzero(rows)]
    return found


class Counter:
    """Looks on from a reset of all worlds on. judged: rows that count, bool (rows,)."""

    def __init__(self, env: Any, judged: np.ndarray) -> None:
        self.env, self.judged, self.dt = env.unwrapped, judged, env.unwrapped.config.dt
        self.names = [road_map.name for road_map in self.env.simulator.maps]
        self.incidents = longform.Incidents(len(judged))
        self.standing = longform.Standing(len(judged), self.dt)
        self.seconds = 0.0
        self.events = np.zeros(0)
        """Entries of the log that the last step brought, of judged rows."""

    def add(self, active: np.ndarray, ended: np.ndarray, info: Any) -> dict[str, longform.Counts]:
        """What a step brought, by name of its map. active: rows that acted and are judged; ended: whose episode is over."""
        simulator = self.env.simulator
        state = simulator.state
        number = simulator.host(state.clock.map)[self.env.world_of_row]
        speed, cos, age = (
            simulator.host(simulator.per_row(one)) for one in (state.motion.speed, state.lane_position.cos, state.rows.steps)
        )
        wrong = active & (cos < WRONG_WAY) & (speed > WRONG_SPEED)
        stuck = self.standing.add(info["distance"], active, ended)
        events = self.env.take_events()
        other = events["other"]
        self.events = events[self.judged[events["row"]] | ((other >= 0) & self.judged[other])]
        met = troubles(self.events, stuck, wrong, age, self.dt)
        self.seconds += self.dt
        found: dict[str, longform.Counts] = {}
        for k in np.unique(number):
            some = active & (number == k)
            goals, routes = (int((some & info[name]).sum()) for name in ("goal", "route_done"))
            new = longform.driven(speed, info["distance"], some, goals, routes, self.dt)
            new = new.plus(self.incidents.add(self.seconds, [one for one in met if number[one.agents[0]] == k]))
            name = self.names[int(k)]
            found[name] = found.get(name, longform.Counts()).plus(new)
        return found
