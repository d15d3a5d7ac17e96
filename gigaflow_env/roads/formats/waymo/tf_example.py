"""tf.Examples of the Waymo Open Motion Dataset: the same records as flat lists. Source: the dataset's tf.Example format.

The road is a list of points, each with the number and the type of its map element. Lanes have no links and no limits, and
stop signs don't say which lanes they control: they are left out.
"""

import numpy as np

from gigaflow_env.roads.formats.waymo.protobuf import Fields, decode, floats, integers, parts, text
from gigaflow_env.roads.formats.waymo.recording import (
    AGENT_KINDS,
    CROSSWALK,
    EDGE_TYPES,
    LANE_KINDS,
    LINE_TYPES,
    SOLID_TYPES,
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

_PERIODS = ("past", "current", "future")
_STATE = {"x": "x", "y": "y", "z": "z", "length": "length", "width": "width", "heading": "bbox_yaw"} | {
    "velocity_x": "velocity_x",
    "velocity_y": "velocity_y",
}

Features = dict[str, np.ndarray]


def is_example(fields: Fields) -> bool:
    """Whether a message is a tf.Example: its only field holds the features."""
    return list(fields) == [1] and all(isinstance(value, bytes) for value in fields[1])


def read_example(fields: Fields, name: str, source: str) -> Recording:
    """A Recording from the fields of a tf.Example. Raises MapError naming the feature that is wrong."""
    features, texts = _features(fields)
    name = texts.get("scenario/id", name)
    points = _shaped(features, "roadgraph_samples/xyz", (-1, 3))
    ids, kinds, valid = (_whole(features, f"roadgraph_samples/{key}", (len(points),)) for key in ("id", "type", "valid"))
    made = Recording(name, source, {}, [], {}, {}, _traffic(features, name, source))
    order = np.argsort(ids, kind="stable")
    order = order[valid[order] > 0]
    for rows in np.split(order, np.flatnonzero(np.diff(ids[order])) + 1) if len(order) else ():
        key, kind = str(ids[rows[0]]), int(kinds[rows[0]])
        try:
            element = checked(points[rows])
        except MapError as error:
            raise MapError(f"map element {key}: {error}") from error
        if kind in LANE_KINDS:
            made.lanes[key] = Center(element, LANE_KINDS[kind], lane_speed(kind))
        elif kind in LINE_TYPES or kind in EDGE_TYPES:
            made.marks.append(Mark(element, kind in SOLID_TYPES or kind in EDGE_TYPES, kind in EDGE_TYPES))
        elif kind == CROSSWALK:
            made.crosswalks[key] = element
    for light, point in _lights(features)[1].items():
        made.controls[light] = Control("light", (light,), point)
    return made


def _features(fields: Fields) -> tuple[Features, dict[str, str]]:
    """The lists of numbers and the texts of a tf.Example, by name."""
    numbers: Features = {}
    texts: dict[str, str] = {}
    for entry in parts(decode(parts(fields, 1)[-1]), 1):
        given = decode(entry)
        name = text(given, 1)
        for data in parts(given, 2):
            feature = decode(data)
            for kind, body in ((kind, decode(parts(feature, kind)[-1])) for kind in feature):
                if kind == 1:
                    texts[name] = text(body, 1)
                elif kind == 2:
                    numbers[name] = floats(body, 1, "<f4")
                elif kind == 3:
                    numbers[name] = integers(body, 1)
    return numbers, texts


def _shaped(features: Features, name: str, shape: tuple[int, ...]) -> np.ndarray:
    if name not in features:
        raise MapError(f"feature {name!r} is missing")
    try:
        return features[name].reshape(shape).astype(np.float64)
    except ValueError as error:
        raise MapError(f"feature {name!r} has {features[name].size} numbers, they must be {shape}") from error


def _whole(features: Features, name: str, shape: tuple[int, ...]) -> np.ndarray:
    given = _shaped(features, name, shape)
    if not (np.abs(given) < 2**53).all():
        raise MapError(f"feature {name!r} must be whole numbers")
    return given.astype(np.int64)


def _series(features: Features, group: str, name: str, rows: int, axis: int) -> np.ndarray:
    """A feature of past, current and future in a row: (rows, steps), where each is (rows, steps) (axis 1) or turned (0)."""
    found = []
    for period in _PERIODS:
        key = f"{group}/{period}/{name}"
        if period == "current" or key in features:  # test sets have no future, and lights never have one
            found.append(_shaped(features, key, (rows, -1) if axis else (-1, rows)))
    return np.concatenate(found if axis else [given.T for given in found], axis=1)


def _traffic(features: Features, name: str, source: str) -> Scenario:
    ids = _whole(features, "state/id", (-1,))
    if not len(ids):
        raise MapError("feature 'state/id' is empty")
    kept = np.flatnonzero(ids >= 0)  # the lists have a fixed length, filled up with -1

    def each(key: str) -> np.ndarray:
        return _whole(features, f"state/{key}", (len(ids),))[kept]

    series = {key: _series(features, "state", given, len(ids), 1)[kept] for key, given in _STATE.items()}
    valid = _series(features, "state", "valid", len(ids), 1)[kept] > 0
    for key, given in series.items():
        if given.shape != valid.shape:
            raise MapError(f"feature 'state/*/{_STATE[key]}' is {given.shape}, but 'state/*/valid' {valid.shape}")
    seen, _ = _lights(features)
    lights = {light: np.full(valid.shape[1], UNKNOWN, np.int8) for light in seen}
    for light, states in seen.items():
        lights[light][: len(states)] = states[: valid.shape[1]]
    egos = np.flatnonzero(each("is_sdc") > 0).tolist()
    predict = np.flatnonzero(each("tracks_to_predict") > 0).tolist()
    kinds = [AGENT_KINDS.get(kind, "other") for kind in each("type").tolist()]
    names = [str(given) for given in ids[kept]]
    return traffic(name, source, names, kinds, valid, series, lights, egos[0] if egos else None, predict)


def _lights(features: Features) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """States (steps,) and stop points (3,) of the lights, by lane. The places of the lists are not the same at all times."""
    group = "traffic_light_state"
    if f"{group}/current/id" not in features:
        return {}, {}
    rows = features[f"{group}/current/id"].size
    if not rows:
        return {}, {}
    ids, valid, state, *point = (_series(features, group, key, rows, 0) for key in ("id", "valid", "state", "x", "y", "z"))
    if any(given.shape != ids.shape for given in (valid, state, *point)):
        raise MapError(f"features '{group}/*' have different lengths")
    states: dict[str, np.ndarray] = {}
    points: dict[str, np.ndarray] = {}
    if not (np.abs(ids) < 2**53).all() or not (np.abs(state) < 2**53).all():
        raise MapError(f"features '{group}/*/id' and state must be whole numbers")
    for row, step in np.argwhere(valid > 0).tolist():
        light = str(int(ids[row, step]))
        states.setdefault(light, np.full(ids.shape[1], UNKNOWN, np.int8))
        states[light][step] = STATES.get(int(state[row, step]), UNKNOWN)
        place = np.array([axis[row, step] for axis in point])
        if not np.isfinite(place).all():
            raise MapError(f"features '{group}/*': the stop point of light {light} is not finite")
        points.setdefault(light, place)
    return states, points
