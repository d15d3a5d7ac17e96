"""tf.Examples of the Waymo Open Motion Dataset: the same records as flat lists. Source: the dataset's tf.Example format.

The road is a list of points, each with the number and the type of its map element. Lanes have no links and no limits, and
stop signs don't say which lanes they control: they are left out. A list that is missing or of the wrong length costs what it
is about: all that was seen in its period, or a role. Without points, their numbers and types there is no map.
"""

import numpy as np

from gigaflow_env.roads.formats.common.limits import MAX_COORDINATE
from gigaflow_env.roads.formats.waymo.protobuf import Fields, decode, decode_start, floats, integers, parts, text
from gigaflow_env.roads.formats.waymo.recording import (
    AGENT_KINDS,
    CROSSWALK,
    EDGE_TYPES,
    LANE_KINDS,
    LINE_TYPES,
    SOLID_TYPES,
    STATE,
    STATES,
    STOP_SIGN,
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

_PERIODS = ("past", "current", "future")
_LIGHT = ("id", "valid", "state", "x", "y", "z")
_NOT_READ = (STOP_SIGN, 19, 20)  # and speed bumps and driveways
_NAMES = {key: "bbox_yaw" if key == "heading" else key for key in STATE}
"""Rows of `Track.states` and their features."""

Features = dict[str, np.ndarray]


def is_example(fields: Fields) -> bool:
    """Whether a message is a tf.Example: its only field holds the features."""
    return list(fields) == [1] and all(isinstance(value, bytes) for value in fields[1])


def read_example(fields: Fields, name: str, source: str, with_traffic: bool) -> Recording:
    """A Recording from the fields of a tf.Example; `name` is that of one without id.

    Raises MapError naming the feature that is wrong, where reading is strict and where nothing is left.
    """
    features, texts = _features(fields)
    if "scenario/id" not in texts:
        fault("value", "scenario/id", "it is missing", f"named {name}")
    name = texts.get("scenario/id", name)
    periods = _periods(features)
    made = Recording(name, source, {}, [], {}, {}, _traffic(features, periods, name, source) if with_traffic else None)
    _read_road(features, made)
    for light, point in _lights(features, periods)[1].items():
        made.controls[light] = Control("light", (light,), point)
    return made


def _features(fields: Fields) -> tuple[Features, dict[str, str]]:
    """The lists of numbers and the texts of a tf.Example, by name."""
    numbers: Features = {}
    texts: dict[str, str] = {}
    entries, wrong = decode_start(parts(fields, 1)[-1])
    if wrong is not None:
        fault("value", "features", str(wrong), "what comes after it is left out")
    for place, entry in enumerate(parts(entries, 1)):
        name = f"number {place}"
        with reading("feature", name):
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


def _read_road(features: Features, made: Recording) -> None:
    """Add lanes, lines, edges and crosswalks to a recording."""
    lists = {key: features.get(f"roadgraph_samples/{key}") for key in ("xyz", "id", "type", "valid")}
    if lists["valid"] is None and lists["id"] is not None:
        fault("value", "roadgraph_samples/valid", "it is missing", "all points with a number count")
        lists["valid"] = lists["id"] >= 0
    sizes = {}
    for key, given in lists.items():
        if given is None:
            raise MapError(f"feature 'roadgraph_samples/{key}' is missing")
        sizes[key] = len(given) / 3 if key == "xyz" else len(given)
    count = int(min(sizes.values()))
    if max(sizes.values()) > count:
        said = ", ".join(f"{key} {size:g}" for key, size in sizes.items())
        fault("value", "roadgraph_samples", f"lists of different lengths: {said}", f"the first {count} points count")
    points = features["roadgraph_samples/xyz"][: 3 * count].reshape(-1, 3).astype(np.float64)
    ids, kinds, valid = (np.asarray(lists[key])[:count].astype(np.float64) for key in ("id", "type", "valid"))
    known = (*LANE_KINDS, *LINE_TYPES, *EDGE_TYPES, CROSSWALK, *_NOT_READ)
    strange = (valid > 0) & ~(np.isin(kinds, known) & (ids == np.rint(ids)) & (np.abs(ids) < 2**53))
    if strange.any():
        first = int(strange.argmax())
        wrong = f"point {first}: number {ids[first]:g} and type {kinds[first]:g}: a whole number, and 0..20 but 4"
        number = int(np.count_nonzero(strange))
        fault("geometry", "roadgraph_samples", wrong, f"{number} left out", amount=float(number), unit="points")
    order = np.argsort(ids, kind="stable")
    order = order[(valid > 0)[order] & ~strange[order]]
    for rows in np.split(order, np.flatnonzero(np.diff(ids[order])) + 1) if len(order) else ():
        key = str(int(ids[rows[0]]))
        with reading("map element", key):
            _read_element(key, _kind_of(kinds[rows], key), points[rows], made)


def _kind_of(kinds: np.ndarray, key: str) -> int:
    """The type of a map element: that of most of its points."""
    if (kinds == kinds[0]).all():
        return int(kinds[0])
    kind = usual_steps(kinds.astype(int).tolist())
    fault(
        "value",
        f"map element {key}",
        f"points of the types {', '.join(map('{:g}'.format, np.unique(kinds)))}",
        f"type {kind}",
    )
    return kind


def _read_element(key: str, kind: int, points: np.ndarray, made: Recording) -> None:
    element = checked(points, f"map element {key}")
    if kind in LANE_KINDS:
        made.lanes[key] = Center(element, LANE_KINDS[kind], lane_speed(kind))
    elif kind in LINE_TYPES or kind in EDGE_TYPES:
        made.marks.append(mark(element, f"map element {key}", kind in SOLID_TYPES or kind in EDGE_TYPES, kind in EDGE_TYPES))
    elif kind == CROSSWALK:
        made.crosswalks[key] = element


def _agents(features: Features) -> int:
    """How many rows the lists of agents have."""
    for key in ("state/id", "state/current/valid", "state/current/x"):
        if len(features.get(key, ())):
            return len(features[key])
    raise MapError("features 'state/id' and 'state/current/valid' are missing or empty")


def _periods(features: Features) -> dict[str, slice]:
    """The steps of each period, of those that the file has: test sets have no future."""
    found: dict[str, slice] = {}
    at = 0
    try:
        agents = _agents(features)
    except MapError:  # said where it is needed: a map is one without traffic
        return found
    for period in _PERIODS:
        given = [features.get(f"state/{period}/{key}", np.zeros(0)) for key in ("valid", *_NAMES.values())]
        steps = usual_steps([len(one) // agents for one in given if len(one)])
        if steps:
            found[period] = slice(at, at + steps)
            at += steps
    return found


def _each(features: Features, name: str, agents: int, otherwise: float, done: str) -> np.ndarray:
    """A number of each agent; `otherwise` where the list is wrong."""
    given = features.get(name, np.zeros(0)).astype(np.float64)
    if len(given) != agents:
        fault("value", name, f"{len(given)} numbers for {agents} agents", done)
        return np.full(agents, otherwise)
    bad = ~(np.abs(given) < 2**53) | (given != np.rint(given))
    if bad.any():
        fault("value", name, f"{given[bad][0]} is no whole number", f"{done} at {np.count_nonzero(bad)} places")
    return np.where(bad, otherwise, given)


def _flags(features: Features, name: str, agents: int) -> np.ndarray:
    """Yes or no of each agent, as 1 and 0; the lists are filled up with -1."""
    given = _each(features, name, agents, 0, "nobody")
    bad = ~np.isin(given, (-1, 0, 1))
    if bad.any():
        fault("value", name, f"{given[bad][0]:g} is neither 1 nor 0", f"nobody at {np.count_nonzero(bad)} places")
    return np.where(bad, 0, given)


def _traffic(features: Features, periods: dict[str, slice], name: str, source: str) -> Scenario:
    agents = _agents(features)
    steps = max((part.stop for part in periods.values()), default=0)
    states, valid = np.full((len(STATE), agents, steps), np.nan), np.zeros((agents, steps), bool)
    for period, part in periods.items():
        wanted = agents * (part.stop - part.start)
        lists = {
            key: features.get(f"state/{period}/{given}", np.zeros(0)) for key, given in (("valid", "valid"), *_NAMES.items())
        }
        wrong = {key: len(given) for key, given in lists.items() if len(given) != wanted}
        if wrong:
            said = ", ".join(f"{key} {size}" for key, size in wrong.items())
            fault("value", f"state/{period}", f"lists must have {wanted} numbers, but {said}", "nobody is seen then")
            continue
        strange = ~np.isin(lists["valid"], (-1, 0, 1))
        if strange.any():
            what = f"{lists['valid'][strange][0]:g} is neither 1 nor 0"
            fault("value", f"state/{period}/valid", what, f"not seen at {np.count_nonzero(strange)} places")
        valid[:, part] = (lists["valid"] == 1).reshape(agents, -1)
        for row, key in enumerate(STATE):
            states[row, :, part] = lists[key].reshape(agents, -1)
    ids = _each(features, "state/id", agents, np.nan, "named by their places")
    kinds = _each(features, "state/type", agents, 0, "of another kind")
    egos, wanted_ones = (_flags(features, f"state/{key}", agents) for key in ("is_sdc", "tracks_to_predict"))
    # Who has no number is one of the list only if it was seen.
    there = [k for k in range(agents) if (ids[k] >= 0 if np.isfinite(ids[k]) else valid[k].any())]
    _tell_lost(there, valid, ids)
    tracks = {
        k: Track(
            str(int(ids[k])) if np.isfinite(ids[k]) else f"track {k}", AGENT_KINDS.get(int(kinds[k]), "other"), valid[k],
            states[:, k],
        )
        for k in there
    }  # fmt: skip
    for k in there:
        if kinds[k] not in range(5):
            fault("value", f"agent {tracks[k].id}", f"type {kinds[k]:g}, known are 0..4", "of another kind")
    named = np.flatnonzero(egos > 0).tolist()
    if len(named) != 1:
        fault("reference", "state/is_sdc", f"it names {len(named)} agents", "the first is the ego" if named else "no ego")
    ego = named[0] if named else None
    predict = np.flatnonzero(wanted_ones > 0).tolist()
    return traffic(name, source, tracks, _lights(features, periods)[0], ego, predict)


def _tell_lost(there: list[int], valid: np.ndarray, ids: np.ndarray) -> None:
    """Say who was seen though its number says that it is nobody."""
    for k in sorted(set(np.flatnonzero(valid.any(axis=1)).tolist()) - set(there)):
        fault("agent", f"track {k}", f"its number is {ids[k]:g}, but it was seen", "left out")


def _lights(features: Features, periods: dict[str, slice]) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """States (steps,) and stop points (3,) of the lights, by lane. The places of the lists are not the same at all times."""
    seen: list[tuple[int, int, list[float]]] = []  # place in the lists, step, and what they say
    for period, part in periods.items():
        given = {key: features.get(f"traffic_light_state/{period}/{key}", np.zeros(0)) for key in _LIGHT}
        sizes, steps = {len(one) for one in given.values()}, part.stop - part.start
        if sizes == {0}:
            continue  # test sets have no future
        if len(sizes) > 1 or max(sizes) % steps:
            said = ", ".join(f"{key} {len(one)}" for key, one in given.items())
            fault("signal", f"traffic_light_state/{period}", f"lists of different lengths: {said}", "unknown then")
            continue
        columns = np.array([one.reshape(steps, -1) for one in given.values()], np.float64)
        at = np.argwhere(columns[_LIGHT.index("valid")] > 0)
        seen += [(place, part.start + step, columns[:, step, place].tolist()) for step, place in at.tolist()]
    states: dict[str, np.ndarray] = {}
    points: dict[str, np.ndarray] = {}
    total = max((part.stop for part in periods.values()), default=0)
    for _, step, (id, _, state, *point) in sorted(seen):
        wrong = f"lane {id:g}, state {state:g}, stop point {point} at step {step}"
        if not ((np.abs(point) < MAX_COORDINATE).all() and 0 <= id < 2**53 and id == round(id)):
            fault("signal", "traffic_light_state", wrong, "left out")
            continue
        if state not in range(9):
            fault("signal", "traffic_light_state", wrong, "unknown then")
            state = 0
        light = str(int(id))
        points.setdefault(light, np.array(point))
        states.setdefault(light, np.full(total, UNKNOWN, np.int8))[step] = STATES.get(int(state), UNKNOWN)
    return states, points
