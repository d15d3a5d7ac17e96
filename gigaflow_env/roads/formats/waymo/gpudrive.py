"""Scenes of GPUDrive and PufferDrive, *.json, to RoadMap and Scenario.

They hold the Waymo Open Motion Dataset. Read are lanes, road lines and edges, crosswalks, objects, and the lights of files
that have any. Links and limits of lanes are not in these files. Stop signs don't say what they control: they are left out.
"""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env.roads.formats.waymo import recording
from gigaflow_env.roads.formats.waymo.recording import (
    EDGE_TYPES,
    LANE_KINDS,
    SOLID_TYPES,
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
from gigaflow_env.roads.import_report import fault, note
from gigaflow_env.roads.road_map import MapError, RoadMap
from gigaflow_env.roads.scenario import AGENT_KINDS, LIGHT_STATES, Scenario

_NOT_READ = ("stop_sign", "speed_bump", "driveway", "unknown")
_HEADING = STATE.index("heading")
FULL_TURN = 360.0
"""[degrees] Ours: who turned more than twice was not measured."""
_COLOURS = {"stop": "red", "caution": "yellow", "go": "green"}


def read(path: Path) -> RoadMap:
    """The map of a scene. Raises MapError naming the place for what is damaged or no consistent map."""
    return recording.road_map(_read(path, with_traffic=False))


def read_scenario(path: Path) -> Scenario:
    """The traffic of a scene; errors as for `read`."""
    return recording.scenario(_read(path, with_traffic=True))


def read_both(path: Path) -> tuple[RoadMap, Scenario]:
    """Map and traffic of a scene; errors as for `read`."""
    return recording.both(_read(path, with_traffic=True))


def _read(path: Path, with_traffic: bool) -> Recording:
    try:
        given = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise MapError(f"not a readable scene: {error}") from error
    needed = ("objects", "roads") if with_traffic else ("roads",)
    if not isinstance(given, dict) or not all(isinstance(given.get(key), list) for key in needed):
        raise MapError("not a scene of GPUDrive or PufferDrive: it must have lists of 'objects' and 'roads'")
    name = str(given.get("scenario_id") or given.get("name") or path.stem)
    source = f"GPUDrive scene {path.name}, from the Waymo Open Motion Dataset"
    lights, points = _lights(given.get("tl_states") or {})
    made = Recording(name, source, {}, [], {}, {}, _traffic(given, name, source, lights) if with_traffic else None)
    for place, road in enumerate(given["roads"]):
        with reading("road", str(place)):
            _read_road(road, made, place)
    for light, point in points.items():
        made.controls[light] = Control("light", (light,), point)
    return made


def _read_road(road: Any, made: Recording, place: int) -> None:
    """Add a map element to a recording.

    Older files have no ids, their places in the list are unique as well; without map_element_id a lane is of unknown type, a
    line may be crossed and an edge may not.
    """
    kind = _get(road, "type", str)
    name = str(_get(road, "id", int) if "id" in road else place)
    unknown = EDGE_TYPES[0] if kind == "road_edge" else 0
    element = _get(road, "map_element_id", int) if "map_element_id" in road else unknown
    if kind == "lane":
        if element not in LANE_KINDS:
            raise MapError(f"map_element_id={element}: lanes have 0..3")
        if name in made.lanes:
            raise MapError(f"lane {name} is given twice")
        made.lanes[name] = Center(_points(road, name), LANE_KINDS[element], lane_speed(element))
    elif kind in ("road_line", "road_edge"):
        solid = element in SOLID_TYPES or element in EDGE_TYPES
        made.marks.append(mark(_points(road, name), name, solid, kind == "road_edge"))
    elif kind == "crosswalk":
        made.crosswalks[name] = _points(road, name)
    elif kind not in _NOT_READ:
        raise MapError(f"type {kind!r:.40}: not known")


def _get(record: Any, key: str, kind: Any) -> Any:
    if not isinstance(record, dict):
        raise MapError(f"{record!r:.40} is not an object with {key!r}")
    if key not in record:
        raise MapError(f"{key!r} is missing")
    if not isinstance(record[key], kind) or isinstance(record[key], bool) != (kind is bool):
        raise MapError(f"{key!r} is {record[key]!r:.40}, which is of the wrong type")
    return record[key]


def _points(road: Any, name: str) -> np.ndarray:
    return checked(_numbers(_get(road, "geometry", list), ("x", "y", "z")), name)


def _numbers(records: list[Any], keys: tuple[str, ...]) -> np.ndarray:
    """Numbers of a list of objects: (n, keys), NaN where they can't be read. Old files have no heights: they are 0."""
    rows = []
    for record in records:
        row = [record.get(key, 0.0) for key in keys] if isinstance(record, dict) and "x" in record else [None] * len(keys)
        rows.append([number if _is_finite(number) else math.nan for number in row])
    return np.array(rows, np.float64).reshape(-1, len(keys))


def _is_finite(given: Any) -> bool:
    return type(given) in (int, float) and -1e300 < given < 1e300  # math.isfinite fails for integers of many digits


def _traffic(given: dict[str, Any], name: str, source: str, lights: dict[str, dict[int, int]]) -> Scenario:
    found: dict[int, Track] = {}
    for place, record in enumerate(given["objects"]):
        with reading("object", str(place)):
            seen, states = _track(record)
            kind = str(record.get("type", "other"))
            if kind not in (*AGENT_KINDS, "unset"):
                fault("value", f"object {place}", f"type {kind!r:.40}, known are {', '.join(AGENT_KINDS)}", "other")
            found[place] = Track(str(record.get("id", place)), kind if kind in AGENT_KINDS else "other", seen, states)
    steps = usual_steps([len(track.valid) for track in found.values()])
    tracks: dict[int, Track] = {}
    for place, track in found.items():
        with reading("object", str(place)):
            if len(track.valid) != steps:
                raise MapError(f"{len(track.valid)} steps, most others have {steps}")
            tracks[place] = track
    if not tracks:
        raise MapError("the scene has no objects that can be read")
    shown_lights = {}
    for light, moments in lights.items():
        shown_lights[light] = np.full(steps, UNKNOWN, np.int8)
        for step, state in moments.items():
            if 0 <= step < steps:
                shown_lights[light][step] = state
            else:
                fault("signal", light, f"time_index={step}: the scene has steps 0..{steps - 1}", "left out")
    ego, predict = _roles(given)
    return traffic(name, source, _in_radians(tracks), shown_lights, ego, predict)


def _in_radians(tracks: dict[int, Track]) -> dict[int, Track]:
    """The tracks with headings in radians: the first versions of these files have degrees. Larger numbers are neither."""
    angles = np.concatenate([np.abs(track.states[_HEADING, track.valid]) for track in tracks.values()] or [np.zeros(0)])
    largest = angles[angles <= 2 * FULL_TURN].max(initial=0.0)
    unit = 1.0
    if largest > 2 * math.pi:
        note("value", "heading", f"headings reach {largest:.4g}: read as degrees")
        unit = math.radians(1)
    for track in tracks.values():
        angle = track.states[_HEADING]
        track.states[_HEADING] = np.where(np.abs(angle) <= 2 * FULL_TURN, angle * unit, np.nan)
    return tracks


def _track(record: Any) -> tuple[np.ndarray, np.ndarray]:
    """Where an object was seen (steps,), and its states in the order of STATE: (8, steps)."""
    seen = _get(record, "valid", list)
    if not all(type(one) in (bool, int) for one in seen):
        raise MapError("'valid' must be a list of true and false")
    steps = len(seen)
    position = _numbers(_get(record, "position", list), ("x", "y", "z"))
    velocity = _numbers(_get(record, "velocity", list), ("x", "y"))
    heading = _get(record, "heading", list)
    for key, length in (("position", len(position)), ("velocity", len(velocity)), ("heading", len(heading))):
        if length != steps:
            raise MapError(f"{length} values of {key!r} and {steps} of 'valid'")
    angles = [angle if _is_finite(angle) else np.nan for angle in heading]
    size = [np.full(steps, _get(record, key, (int, float)), np.float64) for key in ("length", "width")]
    return np.array(seen, bool), np.vstack([position.T, np.array(angles, np.float64), velocity.T, *size])


def _roles(given: dict[str, Any]) -> tuple[int | None, list[int]]:
    """The object that recorded the others, and those to predict."""
    about = given.get("metadata") or {}
    if not isinstance(about, dict):
        fault("value", "metadata", f"it is {about!r:.40}, it must be an object", "no ego, nobody to predict")
        about = {}
    ego = about.get("sdc_track_index")
    if ego is None:
        objects = (record if isinstance(record, dict) else {} for record in given["objects"])
        ego = next((k for k, record in enumerate(objects) if record.get("is_sdc")), None)
    if ego is not None and type(ego) is not int:
        fault("reference", "sdc_track_index", f"it is {ego!r:.40}, it must be a whole number", "no ego")
        ego = None
    wanted = about.get("tracks_to_predict") or []
    if not isinstance(wanted, list):
        fault("reference", "tracks_to_predict", f"it is {wanted!r:.40}, it must be a list", "nobody to predict")
        wanted = []
    predict: list[int] = []
    for place, record in enumerate(wanted):
        with reading("reference", f"tracks_to_predict {place}"):
            predict.append(_get(record, "track_index", int))
    return ego, predict


def _lights(given: Any) -> tuple[dict[str, dict[int, int]], dict[str, np.ndarray]]:
    """States of the lights by step, and their stop points, by lane."""
    states: dict[str, dict[int, int]] = {}
    points: dict[str, np.ndarray] = {}
    if not isinstance(given, dict):
        fault("signal", "tl_states", f"they are {given!r:.40}, it must be an object", "no lights")
        return states, points
    for light, record in given.items():
        with reading("signal", light):
            columns = {key: _get(record, key, list) for key in ("state", "time_index", "x", "y", "z")}
            if len({len(column) for column in columns.values()}) != 1 or not columns["state"]:
                raise MapError("its lists are empty or differ in length")
            if not all(type(step) is int for step in columns["time_index"]):
                raise MapError("'time_index' must be whole numbers")
            place = {key: columns[key][0] for key in ("x", "y", "z")}
            (point,) = _numbers([place], ("x", "y", "z"))
            if not np.isfinite(point).all():
                raise MapError(f"its stop point is {place!r:.60}")
            points[light] = point
            states[light] = {}
            for step, state in zip(columns["time_index"], columns["state"], strict=True):
                if step in states[light]:
                    fault("signal", light, f"time_index={step} is given twice", "the last one counts")
                states[light][step] = _colour(state, light)
    return states, points


def _colour(state: Any, light: str) -> int:
    """Place in LIGHT_STATES of a state, which is a number or a name as "arrow_stop"."""
    if type(state) is int and 0 <= state <= len(STATES):
        return STATES.get(state, UNKNOWN)
    name = str(state).removeprefix("arrow_")
    if name.startswith("flashing"):
        return LIGHT_STATES.index("off")
    if name not in _COLOURS and name != "unknown":
        fault("value", f"light {light}", f"state {state!r:.40}", "unknown")
    return LIGHT_STATES.index(_COLOURS.get(name, "unknown"))
