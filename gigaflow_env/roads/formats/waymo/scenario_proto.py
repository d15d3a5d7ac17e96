"""Scenario messages of the Waymo Open Motion Dataset. Fields have the numbers of its scenario.proto and map.proto."""

import numpy as np

from gigaflow_env.roads.formats.waymo.protobuf import Fields, decode, floats, integers, number, parts, text, whole
from gigaflow_env.roads.formats.waymo.recording import (
    AGENT_KINDS,
    LANE_KINDS,
    MPH,
    STATES,
    UNKNOWN,
    Center,
    Control,
    Mark,
    Recording,
    checked,
    lane_speed,
    traffic,
)
from gigaflow_env.roads.road_map import MapError
from gigaflow_env.roads.scenario import Scenario

SCENARIO_ID = 5
_TIMES, _TRACKS, _EGO, _LIGHTS, _MAP, _PREDICT = 1, 2, 6, 7, 8, 11
_LANE, _LINE, _EDGE, _STOP, _CROSSWALK = 3, 4, 5, 7, 8  # what a map feature can be
_SOLID = (2, 3, 6, 7)  # types of road lines
_POINT = np.dtype([("is_x", "u1"), ("x", "<f8"), ("is_y", "u1"), ("y", "<f8"), ("is_z", "u1"), ("z", "<f8")])
_STATE = {"x": 2, "y": 3, "z": 4, "length": 5, "width": 6, "heading": 8, "velocity_x": 9, "velocity_y": 10}
_VALID = 11
_MAX_STEPS = 100_000  # ours: the dataset has 91, or 201


def read_message(fields: Fields, source: str) -> Recording:
    """A Recording from the fields of a Scenario message. Raises MapError naming the part that is wrong."""
    name = text(fields, SCENARIO_ID)
    made = Recording(name, source, {}, [], {}, {}, _traffic(fields, name, source))
    for place, data in enumerate(parts(fields, _MAP)):
        try:
            _read_feature(decode(data), made)
        except MapError as error:
            raise MapError(f"map feature {place}: {error}") from error
    for light, point in _stop_points(fields).items():
        made.controls[light] = Control("light", (light,), point)
    return made


def _read_feature(feature: Fields, made: Recording) -> None:
    """Add a map feature to a recording."""
    name = str(whole(feature, 1))
    for kind in (_LANE, _LINE, _EDGE, _STOP, _CROSSWALK):
        for data in parts(feature, kind):
            body = decode(data)
            if kind == _LANE:
                if name in made.lanes:
                    raise MapError(f"lane {name} is given twice")
                made.lanes[name] = _lane(body)
            elif kind in (_LINE, _EDGE):
                made.marks.append(Mark(_points(body, 2), kind == _EDGE or whole(body, 1) in _SOLID, kind == _EDGE))
            elif kind == _CROSSWALK:
                made.crosswalks[name] = _points(body, 1)
            elif 2 in body:
                controlled = tuple(map(str, integers(body, 1).tolist()))
                made.controls[name] = Control("stop", controlled, _points(body, 2)[-1])


def _lane(body: Fields) -> Center:
    kind = whole(body, 2)
    if kind not in LANE_KINDS:
        raise MapError(f"lane of type {kind}, known are 0..3")
    speed = number(body, 1) * MPH or lane_speed(kind)
    beside = frozenset(str(whole(decode(data), 1)) for side in (11, 12) for data in parts(body, side))
    exits = tuple(dict.fromkeys(map(str, integers(body, 10).tolist())))
    return Center(_points(body, 8), LANE_KINDS[kind], speed, exits, beside)


def _points(body: Fields, key: int) -> np.ndarray:
    """A field of MapPoints as (n, 3)."""
    given = parts(body, key)
    if given and all(len(data) == _POINT.itemsize for data in given):
        points = np.frombuffer(b"".join(given), _POINT)
        if all((points[name] == tag).all() for name, tag in (("is_x", 0x09), ("is_y", 0x11), ("is_z", 0x19))):
            return checked(np.column_stack([points["x"], points["y"], points["z"]]))
    fields = [decode(data) for data in given]
    return checked(np.array([[number(f, 1), number(f, 2), number(f, 3)] for f in fields], np.float64).reshape(-1, 3))


def _stop_points(fields: Fields) -> dict[str, np.ndarray]:
    """Where the traffic of each lane with a light stops."""
    found: dict[str, np.ndarray] = {}
    for step in parts(fields, _LIGHTS):
        for data in parts(decode(step), 1):
            state = decode(data)
            if 3 in state:
                found.setdefault(str(whole(state, 1)), _points(state, 3)[-1])
    return found


def _traffic(fields: Fields, name: str, source: str) -> Scenario:
    steps, tracks = len(floats(fields, _TIMES, "<f8")), [decode(data) for data in parts(fields, _TRACKS)]
    if not 0 < steps < _MAX_STEPS:
        raise MapError(f"the scenario has {steps} timestamps, 1..{_MAX_STEPS - 1} are possible")
    states = {key: np.zeros((len(tracks), steps)) for key in _STATE}
    valid = np.zeros((len(tracks), steps), bool)
    for agent, track in enumerate(tracks):
        moments = parts(track, 3)
        if len(moments) != steps:
            raise MapError(f"track {agent} has {len(moments)} states, the scenario {steps} timestamps")
        for step, data in enumerate(moments):
            state = decode(data)
            if valid_here := bool(number(state, _VALID)):
                valid[agent, step] = valid_here
                for key, place in _STATE.items():
                    states[key][agent, step] = number(state, place)
    lights: dict[str, np.ndarray] = {}
    seen = parts(fields, _LIGHTS)
    if len(seen) > steps:
        raise MapError(f"the scenario has {len(seen)} moments of lights and {steps} timestamps")
    for step, data in enumerate(seen):
        for light in map(decode, parts(decode(data), 1)):
            track_of_light = lights.setdefault(str(whole(light, 1)), np.full(steps, UNKNOWN, np.int8))
            track_of_light[step] = STATES.get(whole(light, 2), UNKNOWN)
    predict = [whole(decode(data), 1) for data in parts(fields, _PREDICT)]
    ids = [str(whole(track, 1)) for track in tracks]
    kinds = [AGENT_KINDS.get(whole(track, 2), "other") for track in tracks]
    ego = whole(fields, _EGO) if _EGO in fields else None
    return traffic(name, source, ids, kinds, valid, states, lights, ego, predict)
