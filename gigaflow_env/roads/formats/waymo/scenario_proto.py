"""Scenario messages of the Waymo Open Motion Dataset. Fields have the numbers of its scenario.proto and map.proto.

The dataset's program writes all fields of a state and of a point, also those that are 0: where one is missing, the message
is damaged. What can't be read costs the part that it belongs to.
"""

from collections.abc import Callable

import numpy as np

from gigaflow_env.roads.formats.common.limits import MAX_COORDINATE
from gigaflow_env.roads.formats.waymo.protobuf import Fields, decode, floats, integers, number, parts, text, whole
from gigaflow_env.roads.formats.waymo.recording import (
    AGENT_KINDS,
    FASTEST,
    LANE_KINDS,
    MPH,
    STATE,
    STATES,
    UNKNOWN,
    Center,
    Control,
    Recording,
    Track,
    checked,
    lane_speed,
    mark,
    reading,
    traffic,
    usual_steps,
)
from gigaflow_env.roads.import_report import fault
from gigaflow_env.roads.road_map import MapError
from gigaflow_env.roads.scenario import Scenario

_TIMES, _TRACKS, _ID, _EGO, _LIGHTS, _MAP, _PREDICT = 1, 2, 5, 6, 7, 8, 11
_LANE, _LINE, _EDGE, _STOP, _CROSSWALK = 3, 4, 5, 7, 8  # what a map feature can be
_OTHER_FEATURES = (9, 10)  # speed bumps and driveways
_SOLID = (2, 3, 6, 7)  # types of road lines
_POINT = np.dtype([("is_x", "u1"), ("x", "<f8"), ("is_y", "u1"), ("y", "<f8"), ("is_z", "u1"), ("z", "<f8")])
_STATE = {"x": 2, "y": 3, "z": 4, "length": 5, "width": 6, "heading": 8, "velocity_x": 9, "velocity_y": 10}
_FIELDS = tuple(_STATE[key] for key in STATE)
_VALID = 11
_MAX_STEPS = 100_000  # ours: the dataset has 91, or 201


def is_scenario(fields: Fields) -> bool:
    """Whether a message has what a Scenario is made of: its id, tracks or map features."""
    return bool({_ID, _TRACKS, _MAP} & set(fields))


def read_message(fields: Fields, name: str, source: str, with_traffic: bool) -> Recording:
    """A Recording from the fields of a Scenario message; `name` is that of one without id.

    Raises MapError naming the part that is wrong, where reading is strict and where nothing is left.
    """
    try:
        name = text(fields, _ID) or name
    except MapError as error:
        fault("value", "scenario_id", str(error), f"named {name}")
    if _ID not in fields:
        fault("value", "scenario_id", "it is missing", f"named {name}")
    made = Recording(name, source, {}, [], {}, {}, _traffic(fields, name, source) if with_traffic else None)
    for place, data in enumerate(_messages(fields, _MAP, "map features")):
        with reading("map feature", str(place)):
            _read_feature(decode(data), made, place)
    for light, point in _stop_points(fields).items():
        made.controls[light] = Control("light", (light,), point)
    return made


def _messages(fields: Fields, key: int, what: str) -> list[bytes]:
    """The messages of a field without those that are none."""
    given = fields.get(key, [])
    found = [part for part in given if isinstance(part, bytes)]
    if len(found) < len(given):
        fault("value", what, f"{len(given) - len(found)} of {len(given)} are numbers, not messages", "left out")
    return found


def _whole(fields: Fields, key: int, element: str, what: str, default: int, done: str) -> int:
    """A whole number of an element; where it is missing or none, that is told, and the default counts."""
    try:
        if key in fields:
            return whole(fields, key)
        wrong = f"its {what} is missing"
    except MapError as error:
        wrong = f"its {what}: {error}"
    fault("value", element, wrong, done)
    return default


def _read_feature(feature: Fields, made: Recording, place: int) -> None:
    """Add a map feature to a recording."""
    id = _whole(feature, 1, f"map feature {place}", "id", -1, "it has one of its own")
    name = f"feature {place}" if id == -1 else str(id)
    if not any(key in feature for key in (_LANE, _LINE, _EDGE, _STOP, _CROSSWALK, *_OTHER_FEATURES)):
        raise MapError(f"it is nothing that is known: it has the fields {', '.join(map(str, feature)) or 'none'}")
    for kind in (_LANE, _LINE, _EDGE, _STOP, _CROSSWALK):
        for data in parts(feature, kind):
            body = decode(data)
            if kind == _LANE:
                if name in made.lanes:
                    raise MapError(f"lane {name} is given twice")
                made.lanes[name] = _lane(body, name)
            elif kind in (_LINE, _EDGE):
                solid = kind == _EDGE or _whole(body, 1, f"line {name}", "type", 0, "it may be crossed") in _SOLID
                made.marks.append(mark(_points(body, 2, f"line {name}"), f"line {name}", solid, kind == _EDGE))
            elif kind == _CROSSWALK:
                made.crosswalks[name] = _points(body, 1, f"crosswalk {name}")
            else:
                made.controls[name] = Control("stop", tuple(map(str, integers(body, 1).tolist())), _point(body, 2))


def _lane(body: Fields, name: str) -> Center:
    kind = _whole(body, 2, f"lane {name}", "type", 0, "a driving lane")
    if kind not in LANE_KINDS:
        fault("value", f"lane {name}", f"lane of type {kind}, known are 0..3", "a driving lane")
        kind = 0
    speed = lane_speed(kind)
    with reading("value", f"limit of lane {name}"):
        given = number(body, 1) * MPH
        if not 0 <= given <= FASTEST:
            raise MapError(f"{given:.4g} m/s")
        speed = given or speed
    exits, entries = (_lanes_of(body, key, f"{what} of lane {name}") for key, what in ((10, "exits"), (9, "entries")))
    beside: set[str] = set()
    for data in (*_messages(body, 11, f"left of lane {name}"), *_messages(body, 12, f"right of lane {name}")):
        with reading("reference", f"neighbour of lane {name}"):
            neighbour = decode(data)
            if 1 not in neighbour:
                raise MapError("it does not say which lane it is")
            beside.add(str(whole(neighbour, 1)))
    return Center(_points(body, 8, f"lane {name}"), LANE_KINDS[kind], speed, exits, frozenset(beside), entries)


def _lanes_of(body: Fields, key: int, what: str) -> tuple[str, ...]:
    """Ids of lanes."""
    found: tuple[str, ...] = ()
    with reading("reference", what):
        found = tuple(dict.fromkeys(map(str, integers(body, key).tolist())))
    return found


def _points(body: Fields, key: int, name: str) -> np.ndarray:
    """A field of MapPoints as (n, 3)."""
    given = body.get(key, [])
    data = [part for part in given if isinstance(part, bytes) and len(part) == _POINT.itemsize]
    if data and len(data) == len(given):
        points = np.frombuffer(b"".join(data), _POINT)
        if all((points[name] == tag).all() for name, tag in (("is_x", 0x09), ("is_y", 0x11), ("is_z", 0x19))):
            return checked(np.column_stack([points["x"], points["y"], points["z"]]), name)
    return checked(np.array([_coordinates(part) for part in given], np.float64).reshape(-1, 3), name)


def _point(body: Fields, key: int) -> np.ndarray:
    """The last MapPoint of a field: (3,)."""
    if key not in body:
        raise MapError("it has no place")
    place = np.array(_coordinates(body[key][-1]))
    if not (np.abs(place) < MAX_COORDINATE).all():
        raise MapError(f"its place is {place.tolist()}")
    return place


def _coordinates(part: object) -> list[float]:
    """x, y, z of a MapPoint; NaN what can't be read."""
    try:
        fields = decode(part) if isinstance(part, bytes) else {}
        return [number(fields, key, np.nan) for key in (1, 2, 3)]
    except MapError:
        return [np.nan] * 3


def _each_light(moments: list[bytes], take: Callable[[int, str, Fields], None]) -> None:
    """Call `take` with step, lane and fields of every state of a light; one that can't be read is left out, and told."""
    for step, data in enumerate(moments):
        with reading("signal", f"at step {step}"):
            for part in parts(decode(data), 1):
                with reading("signal", f"at step {step}"):
                    light = decode(part)
                    if 1 not in light:
                        raise MapError("a light has no lane")
                    take(step, str(whole(light, 1)), light)


def _stop_points(fields: Fields) -> dict[str, np.ndarray]:
    """Where the traffic of each lane with a light stops."""
    found: dict[str, np.ndarray] = {}

    def take(step: int, name: str, light: Fields) -> None:
        if name not in found:
            found[name] = _point(light, 3)

    _each_light(_messages(fields, _LIGHTS, "lights"), take)
    return found


def _traffic(fields: Fields, name: str, source: str) -> Scenario:
    given: dict[int, tuple[str, Fields]] = {}
    for place, data in enumerate(_messages(fields, _TRACKS, "tracks")):
        with reading("agent", f"track {place}"):
            track = decode(data)
            parts(track, 3)
            own = _whole(track, 1, f"track {place}", "id", -1, "it has one of its own")
            given[place] = f"track {place}" if own == -1 else str(own), track
    steps = _steps(fields, [len(track.get(3, ())) for _, track in given.values()])
    tracks: dict[int, Track] = {}
    for place, (id, track) in given.items():
        with reading("agent", id):
            tracks[place] = _track(track, id, steps)
    predict: list[int] = []
    for data in _messages(fields, _PREDICT, "tracks to predict"):
        with reading("reference", "tracks to predict"):
            predict.append(_whole(decode(data), 1, "tracks to predict", "track", -1, "left out"))
    ego = _whole(fields, _EGO, "ego", "track", -1, "no ego")
    predict = [place for place in predict if place != -1]
    return traffic(name, source, tracks, _lights(fields, steps), None if ego == -1 else ego, predict)


def _steps(fields: Fields, of_tracks: list[int]) -> int:
    """How many moments the scenario has: what most of its parts say."""
    stamps = 0
    with reading("value", "timestamps"):
        stamps = len(floats(fields, _TIMES, "<f8"))
    steps = usual_steps([stamps, *of_tracks]) if of_tracks else stamps
    if not 0 < steps < _MAX_STEPS:
        raise MapError(f"the scenario has {steps} timestamps, 1..{_MAX_STEPS - 1} are possible")
    if steps != stamps:
        fault("value", "timestamps", f"there are {stamps}, most tracks have {steps} states", f"{steps} steps")
    return steps


def _track(track: Fields, id: str, steps: int) -> Track:
    """A track; moments that can't be read are not seen."""
    moments = parts(track, 3)
    if len(moments) != steps:
        raise MapError(f"{len(moments)} states, the scenario has {steps} timestamps")
    kind = _whole(track, 2, f"agent {id}", "type", 0, "of another kind")
    if kind not in range(5):
        fault("value", f"agent {id}", f"type {kind}, known are 0..4", "of another kind")
    valid, states = np.zeros(steps, bool), np.zeros((len(_FIELDS), steps))
    for step, data in enumerate(moments):
        with reading("agent", f"{id} at step {step}"):
            state = decode(data)
            here = bool(whole(state, _VALID))
            if _VALID not in state:
                raise MapError("it does not say whether it was seen")
            if here:
                states[:, step] = [number(state, place, np.nan) for place in _FIELDS]
                valid[step] = True
    return Track(id, AGENT_KINDS.get(kind, "other"), valid, states)


def _lights(fields: Fields, steps: int) -> dict[str, np.ndarray]:
    """States (steps,) of the lights, by the lane that each controls."""
    lights: dict[str, np.ndarray] = {}
    seen = _messages(fields, _LIGHTS, "lights")
    if seen and len(seen) != steps:
        done = f"{len(seen) - steps} left out" if len(seen) > steps else "unknown at the last ones"
        fault("signal", "lights", f"the scenario has {len(seen)} moments of lights and {steps} timestamps", done)

    def take(step: int, name: str, light: Fields) -> None:
        shown = _whole(light, 2, f"light {name} at step {step}", "state", 0, "unknown")
        if shown not in STATES and shown:
            fault("value", f"light {name} at step {step}", f"state {shown}, known are 0..8", "unknown")
        lights.setdefault(name, np.full(steps, UNKNOWN, np.int8))[step] = STATES.get(shown, UNKNOWN)

    _each_light(seen[:steps], take)
    return lights
