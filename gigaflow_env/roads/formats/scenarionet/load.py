"""Scenes of ScenarioNet, *.pkl, to RoadMap and Scenario. They hold scenes of Waymo, nuPlan, nuScenes, Argoverse and others.

Read are lanes, road lines and edges, crosswalks, stop signs, lights and tracks. Not read: driveways, speed bumps, sidewalks
and drivable areas. Source: ScenarioNet's scenario description, metadrive/scenario/scenario_description.py and type.py.
"""

from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env.roads.formats.scenarionet.plain_pickle import read_plain
from gigaflow_env.roads.formats.waymo import recording
from gigaflow_env.roads.formats.waymo.recording import (
    DT,
    FREEWAY_SPEED,
    STREET_SPEED,
    UNKNOWN,
    Center,
    Control,
    Recording,
    Track,
    checked,
    mark,
    reading,
    traffic,
)
from gigaflow_env.roads.import_report import fault
from gigaflow_env.roads.road_map import MapError, RoadMap
from gigaflow_env.roads.scenario import LIGHT_STATES, Scenario

_COLOURS = {"STOP": "red", "CAUTION": "yellow", "GO": "green", "RED": "red", "YELLOW": "yellow", "GREEN": "green"}
_KINDS = {"VEHICLE": "vehicle", "PEDESTRIAN": "pedestrian", "CYCLIST": "cyclist"}
_TRACKS = {"heading": 1, "length": 1, "width": 1, "position": 3, "velocity": 2}
"""Arrays of a track and how many numbers they have at each step; positions may lack heights."""
_MAX_STEPS = 100_000  # ours: scenes have some hundred
_FASTEST = 250.0
"""[km/h] Ours: limits above it, or not above 0, say that there is none."""


def read(path: Path) -> RoadMap:
    """The map of a scene. Raises MapError for what is damaged or no consistent map, and where data would be executed."""
    return recording.road_map(_read(path))


def read_scenario(path: Path) -> Scenario:
    """The traffic of a scene; errors as for `read`."""
    return recording.scenario(_read(path))


def read_both(path: Path) -> tuple[RoadMap, Scenario]:
    """Map and traffic; errors as for `read`."""
    return recording.both(_read(path))


def _read(path: Path) -> Recording:
    given = read_plain(path)
    if not isinstance(given, dict) or not all(isinstance(given.get(key), dict) for key in ("tracks", "map_features")):
        raise MapError(
            "not a scene of ScenarioNet: it must have dicts of 'tracks' and 'map_features' (dataset_summary.pkl and "
            "dataset_mapping.pkl only list scenes)"
        )
    about = given.get("metadata")
    if not isinstance(about, dict):
        fault("value", "metadata", "it is missing", "no ego, nobody to predict, and steps of 0.1 s")
        about = {}
    name = next((id for id in (given.get("id"), about.get("scenario_id")) if isinstance(id, str) and id), path.stem)
    source = f"ScenarioNet scene {path.name}, from the data set {str(about.get('dataset', 'unknown')):.40}"
    steps = given.get("length")
    if type(steps) is not int or not 0 < steps <= _MAX_STEPS:
        raise MapError(f"'length' is {steps!r:.40}: it must be a number of steps, 1..{_MAX_STEPS}")
    lights, points = _lights(given.get("dynamic_map_states"), steps)
    made = Recording(name, source, {}, [], {}, {}, _traffic(given["tracks"], about, name, source, steps, lights))
    for key, feature in given["map_features"].items():
        with reading("road", str(key)):
            _read_feature(str(key), feature, made)
    for light, point in points.items():
        made.controls[light] = Control("light", (light,), point)
    return made


def _read_feature(name: str, feature: Any, made: Recording) -> None:
    """Add a map feature to a recording."""
    kind = _get(feature, "type", str)
    if kind.startswith("LANE"):
        made.lanes[name] = _lane(feature, kind, name)
    elif kind.startswith(("ROAD_LINE", "ROAD_EDGE")):
        solid = kind.startswith("ROAD_EDGE") or ("SOLID" in kind and "BROKEN" not in kind)
        # The converters of other data sets keep no direction.
        edge = kind.startswith("ROAD_EDGE") and "waymo" in made.source
        made.marks.append(mark(_points(feature, "polyline", name), name, solid, edge))
    elif kind == "CROSSWALK":
        made.crosswalks[name] = _points(feature, "polygon", name)
    elif kind == "STOP_SIGN":
        controlled = tuple(map(str, _get(feature, "lane", list)))
        made.controls[name] = Control("stop", controlled, _points(feature, "position", name)[0])


def _lane(feature: dict[str, Any], kind: str, name: str) -> Center:
    exits = _names(feature.get("exit_lanes"))
    sides = [_names(feature.get(f"{side}_neighbor")) for side in ("left", "right")]
    beside = None if sides[0] is None or sides[1] is None else frozenset(sides[0] + sides[1])
    given: Any = feature.get("speed_limit_kmh")
    speed = FREEWAY_SPEED if "FREEWAY" in kind else STREET_SPEED
    if type(given) in (int, float) and 0 < given <= _FASTEST:
        speed = given / 3.6
    return Center(_points(feature, "polyline", name), "biking" if "BIKE" in kind else "driving", speed, exits, beside)


def _names(given: Any) -> tuple[str, ...] | None:
    """Ids of lanes, of which some files make records; None: the file doesn't say."""
    if isinstance(given, np.ndarray):
        given = given.tolist()
    if not isinstance(given, list):
        return None
    named = [one.get("feature_id") if isinstance(one, dict) else one for one in given]
    return tuple(dict.fromkeys(str(one) for one in named if isinstance(one, (str, int))))


def _get(record: Any, key: str, kind: Any) -> Any:
    if not isinstance(record, dict) or not isinstance(record.get(key), kind):
        found = record.get(key, "missing") if isinstance(record, dict) else record
        raise MapError(f"{key!r} is {str(found):.40}, which is of the wrong type")
    return record[key]


def _numbers(given: Any, what: str) -> np.ndarray:
    """An array of numbers as float64."""
    try:
        array = np.asarray(given)
        if array.dtype.kind not in "biuf":
            raise ValueError(f"of the type {array.dtype}")
    except ValueError as error:
        raise MapError(f"{what!r} is no array of numbers: {error}") from error
    return array.astype(np.float64)


def _points(feature: dict[str, Any], key: str, name: str) -> np.ndarray:
    """Points (n, 3) of one or several; heights that are missing are 0."""
    points = _numbers(_get(feature, key, (np.ndarray, list)), key)
    points = points.reshape(1, -1) if points.ndim == 1 else points
    if points.ndim != 2 or points.shape[1] not in (2, 3) or not len(points):
        raise MapError(f"{key!r} is {points.shape}: it must be (points, 3)")
    return checked(np.pad(points, ((0, 0), (0, 3 - points.shape[1]))), name)


def _traffic(
    tracks: dict[Any, Any], about: dict[str, Any], name: str, source: str, steps: int, lights: dict[str, np.ndarray]
) -> Scenario:
    found: dict[int, Track] = {}
    for place, (key, track) in enumerate(tracks.items()):
        with reading("agent", str(key)):
            kind = _get(track, "type", str)
            found[place] = Track(str(key), _KINDS.get(kind, "other"), *_track(_get(track, "state", dict), steps))
    if not found:
        raise MapError("the scene has no tracks that can be read")
    ego, predict = _roles(about, list(map(str, tracks)))
    return traffic(name, source, found, lights, ego, predict, _step(about))


def _track(state: dict[str, Any], steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Where an agent was seen (steps,), and its numbers (8, steps)."""
    shown = _numbers(state.get("valid"), "valid").reshape(-1) > 0
    if len(shown) != steps:
        raise MapError(f"'valid' has {len(shown)} steps, the scene {steps}")
    columns = {}
    for key, size in _TRACKS.items():
        given = _numbers(state.get(key), key)
        given = np.full((steps, 1), float(given)) if given.ndim == 0 else given
        given = given[:, None] if given.ndim == 1 else given
        if key == "position" and given.shape == (steps, 2):
            given = np.pad(given, ((0, 0), (0, 1)))
        if given.shape != (steps, size):
            raise MapError(f"{key!r} is {given.shape}: it must be ({steps}, {size})")
        columns[key] = given.T
    return shown, np.concatenate([columns[key] for key in ("position", "heading", "velocity", "length", "width")])


def _roles(about: dict[str, Any], given: list[str]) -> tuple[int | None, list[int]]:
    """Places of the agent that recorded the others and of those to predict."""
    ego = about.get("sdc_id")
    if ego is None and type(place := about.get("sdc_track_index")) is int and 0 <= place < len(given):
        ego = given[place]
    if ego is not None and str(ego) not in given:
        fault("reference", "sdc_id", f"there is no track {str(ego)!r:.40}", "no ego")
        ego = None
    wanted = about.get("tracks_to_predict", {})
    if not isinstance(wanted, (dict, list)):
        fault("reference", "tracks_to_predict", f"it is {wanted!r:.40}, not a dict", "nobody to predict")
        wanted = {}
    predict = []
    for key, record in wanted.items() if isinstance(wanted, dict) else ((one, None) for one in wanted):
        track = str(record.get("track_id", key) if isinstance(record, dict) else key)
        if track in given:
            predict.append(given.index(track))
        else:
            fault("reference", f"tracks_to_predict {track:.40}", "there is no such track", "left out")
    return (None if ego is None else given.index(str(ego))), sorted(set(predict))


def _step(about: dict[str, Any]) -> float:
    """Seconds from step to step."""
    times = about.get("ts")
    if not isinstance(times, np.ndarray) or times.dtype.kind not in "iuf" or times.ndim != 1 or len(times) < 2:
        return DT
    with np.errstate(invalid="ignore"):
        dt = round(float(np.median(np.diff(times.astype(np.float64)))), 3)
    if not 0.001 <= dt <= 10:
        fault("value", "metadata ts", f"{dt} s from step to step", f"read as {DT} s")
        return DT
    return dt


def _lights(given: Any, steps: int) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """States (steps,) and stop points (3,) of the lights, by the lane that each controls."""
    states: dict[str, np.ndarray] = {}
    points: dict[str, np.ndarray] = {}
    if given is not None and not isinstance(given, dict):
        fault("signal", "dynamic_map_states", f"they are {given!r:.40}, not a dict", "no lights")
        return states, points
    for key, record in (given or {}).items():
        with reading("signal", str(key)):
            if _get(record, "type", str) != "TRAFFIC_LIGHT":
                continue
            shown = _get(_get(record, "state", dict), "object_state", (list, np.ndarray))
            shown = list(np.ravel(shown)) if isinstance(shown, np.ndarray) else shown
            if len(shown) > steps:
                raise MapError(f"{len(shown)} states, but the scene has {steps} steps")
            light = str(record.get("lane", key))
            point = _points(record, "stop_point", light)[0]
            states[light] = np.full(steps, UNKNOWN, np.int8)
            states[light][: len(shown)] = [_colour(state) for state in shown]
            points[light] = point
    return states, points


def _colour(state: Any) -> int:
    """Place in LIGHT_STATES of a state as LANE_STATE_ARROW_STOP or TRAFFIC_LIGHT_RED."""
    if isinstance(state, str) and "FLASHING" in state:
        return LIGHT_STATES.index("off")
    return LIGHT_STATES.index(_COLOURS.get(str(state).split("_")[-1], "unknown"))
