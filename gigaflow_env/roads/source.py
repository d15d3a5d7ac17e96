"""RoadMap: the readable map. Every importer and the town generator make one; the compiler turns it into kernel tables.

Coordinates are metres in a right-handed frame (x east, y north, z up), headings radians counter-clockwise from x.
"""

import json
import math
import os
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

X, Y, Z, HEADING, WIDTH = range(5)
"""Columns of `Lane.line`."""

LANE_KINDS = ("driving", "shoulder", "parking", "biking")
SIGNAL_KINDS = ("light", "stop", "yield")

SUFFIX = ".lanes.json"
FORMAT, VERSION = "gigaflow-lanes", 1
SCALES = np.array([100.0, 100.0, 100.0, 1e4, 100.0])
"""What a unit of each column of `Lane.line` is in the integers of the file."""
HEAD = {"name": str, "left_hand": bool, "source": str, "licence": str, "attribution": str}
LANE_REQUIRED = {"kind": str, "line": list, "speed": (int, float), "successors": list}
LANE_OPTIONAL = {"left": str, "right": str, "junction": str, "signal": str}


class MapError(ValueError):
    """A map that can't be read or is not consistent; the message names file, element and line, and what would be right."""


@dataclass(frozen=True)
class Lane:
    """A directed strip of road.

    `line` holds the knots of the centre line along the direction of travel, float64 (knots, 5): x, y, z [m], heading [rad],
    width [m]. Between two knots the centre is the cubic Hermite curve whose end tangents point along the headings and are
    as long as the chord; z and width are linear. At least two knots, consecutive knots at least 1 cm apart.
    """

    id: str
    line: np.ndarray
    kind: str = "driving"  # one of LANE_KINDS; only driving lanes are routed, all kinds belong to the drivable area
    speed: float = 13.9  # limit [m/s]
    successors: tuple[str, ...] = ()  # lanes which begin where this one ends
    left: str | None = None  # neighbour of the same direction into which a lane change is permitted
    right: str | None = None
    junction: str | None = None  # id of the junction this connector belongs to
    signal: str | None = None  # what controls the entry: its stop line is the start of this lane


@dataclass(frozen=True)
class Signal:
    """A traffic light, stop or yield sign; the lanes that obey it name it in `Lane.signal`."""

    id: str
    kind: str = "light"  # one of SIGNAL_KINDS
    group: str = ""  # lights of one group belong to one controller (as a rule: one junction)


@dataclass(frozen=True)
class Crosswalk:
    id: str
    outline: np.ndarray  # (corners, 3): x, y, z [m]


@dataclass(frozen=True)
class RoadMap:
    name: str
    lanes: dict[str, Lane]
    signals: dict[str, Signal] = field(default_factory=dict)
    crosswalks: dict[str, Crosswalk] = field(default_factory=dict)
    left_hand: bool = False  # traffic keeps left
    source: str = ""  # where the map comes from
    licence: str = ""
    attribution: str = ""


def length(line: np.ndarray) -> float:
    """Length of a line in the x-y plane [m]."""
    return float(_piece_lengths(line).sum())


def sample(line: np.ndarray, spacing: float) -> np.ndarray:
    """Points at equal distances along a line, both ends included.

    Returns float64 (n, 7): x, y, z [m], heading [rad, continuous], width [m], curvature [1/m, left positive] and s, the
    length of the line up to the point [m]; n - 1 is the length divided by `spacing`, rounded, at least 1. The curvature is
    the mean between the neighbouring points: the one of the curve itself would show every centimetre of noise in the knots.
    """
    if not spacing > 0:
        raise ValueError(f"spacing={spacing}: must be above 0")
    starts = np.concatenate([[0.0], np.cumsum(_piece_lengths(line))])
    pieces = max(1, round(starts[-1] / spacing))
    s = starts[-1] * np.arange(pieces + 1) / pieces
    k = np.clip(np.searchsorted(starts, s, side="right") - 1, 0, len(line) - 2)
    u = (s - starts[k]) / (starts[k + 1] - starts[k])
    for _ in range(4):  # Newton: the speed |dp/du| is nearly constant, so this converges to rounding errors
        speed = np.linalg.norm(_curve(line, k, u)[1], axis=-1)
        u = np.clip(u - (starts[k] + _length_to(line, k, u) - s) / speed, 0.0, 1.0)
    position, velocity = _curve(line, k, u)
    heading = np.unwrap(np.arctan2(velocity[:, 1], velocity[:, 0]))
    z, width = (line[k][:, [Z, WIDTH]] * (1 - u)[:, None] + line[k + 1][:, [Z, WIDTH]] * u[:, None]).T
    return np.column_stack([position, z, heading, width, np.gradient(heading, s), s])


def fit(dense: np.ndarray, tolerance: float = 0.01) -> np.ndarray:
    """The few rows of `dense` that are enough as knots: the curve passes all other rows within `tolerance` [m].

    dense: (n, 5) with the columns of `Lane.line`, close enough to show the shape (1 m on roads), but at least 1 cm apart.
    Height and width are kept within the tolerance, too. First and last row always stay.
    """
    along = np.concatenate([[0.0], np.cumsum(np.hypot(*np.diff(dense[:, :2], axis=0).T))])
    knots = np.array([0, len(dense) - 1])
    if np.hypot(*(dense[-1, :2] - dense[0, :2])) < along[-1] / 2:
        knots = np.unique(np.linspace(0, len(dense) - 1, 4).astype(int))  # a loop: the chord would say nothing
    while len(bad := np.flatnonzero((errors := _misses(dense, along, knots)) > tolerance)):
        added = []
        for piece in bad:
            # On an arc the error grows with the fourth power of the length: split into as many as that asks for.
            first, last = knots[piece], knots[piece + 1]
            parts = min(last - first, max(2, math.ceil((errors[piece] / tolerance) ** 0.25)))
            targets = along[first] + (along[last] - along[first]) * np.arange(1, parts) / parts
            added.append(np.clip(np.searchsorted(along, targets), first + 1, last - 1))
        knots = np.unique(np.concatenate([knots, *added]))
    for first in (1, 2) if len(knots) > 2 else ():
        # Drop what turns out not to be needed, among every second knot, then among the others.
        tried = knots[first:-1:2]
        rest = np.setdiff1d(knots, tried)
        errors = _misses(dense, along, rest)
        needed = errors[np.searchsorted(rest, tried) - 1] > tolerance
        knots = np.union1d(rest, tried[needed])
    return dense[knots]


def _misses(dense: np.ndarray, along: np.ndarray, knots: np.ndarray) -> np.ndarray:
    """Largest distance of the rows of `dense` to each piece between two knots [m]; 0 where no row lies between."""
    line = dense[knots]
    k = np.repeat(np.arange(len(knots) - 1), np.diff(knots))
    rows = np.arange(knots[-1])
    u = (along[rows] - along[knots[k]]) / (along[knots[k + 1]] - along[knots[k]])
    position, velocity = _curve(line, k, u)
    ahead = ((dense[rows, :2] - position) * velocity).sum(axis=-1)
    u = np.clip(u + ahead / (velocity**2).sum(axis=-1), 0.0, 1.0)  # Newton: the curve's point abreast of the row
    position = _curve(line, k, u)[0]
    miss = np.hypot(*(dense[rows, :2] - position).T)
    for column in (Z, WIDTH):
        linear = line[k, column] * (1 - u) + line[k + 1, column] * u
        miss = np.maximum(miss, np.abs(dense[rows, column] - linear))
    return np.maximum.reduceat(miss, knots[:-1])


_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(6)


def _curve(line: np.ndarray, k: np.ndarray, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Position and its derivative by u of pieces `k` at `u` in 0..1, each (..., 2)."""
    p0, h0, h1 = line[k, :2], line[k, HEADING], line[k + 1, HEADING]
    d = line[k + 1, :2] - p0
    chord = np.hypot(d[..., 0], d[..., 1])[..., None]
    t0 = chord * np.stack([np.cos(h0), np.sin(h0)], axis=-1)
    t1 = chord * np.stack([np.cos(h1), np.sin(h1)], axis=-1)
    u = u[..., None]
    # The cubic with p(0) = p0, p(1) = p0 + d, p'(0) = t0, p'(1) = t1, in Horner form
    b, c = 3 * d - 2 * t0 - t1, t0 + t1 - 2 * d
    return p0 + u * (t0 + u * (b + u * c)), t0 + u * (2 * b + u * 3 * c)


def _length_to(line: np.ndarray, k: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Length of pieces `k` from their start to `u` [m], by Gauss-Legendre integration."""
    at = u[:, None] * (_NODES + 1) / 2
    velocity = _curve(line, np.broadcast_to(k[:, None], at.shape), at)[1]
    return np.hypot(velocity[..., 0], velocity[..., 1]) @ _WEIGHTS * u / 2


def _piece_lengths(line: np.ndarray) -> np.ndarray:
    return _length_to(line, np.arange(len(line) - 1), np.ones(len(line) - 1))


def validate(road_map: RoadMap) -> None:
    """Raise MapError for the first thing that is wrong, naming the lane, signal or crosswalk it is about."""
    if not any(lane.kind == "driving" for lane in road_map.lanes.values()):
        raise MapError(f"map {road_map.name!r} has no driving lane")
    for key, signal in road_map.signals.items():
        if key != signal.id:
            raise MapError(f"signal {signal.id!r} is filed under {key!r}: the key must be the id")
        if signal.kind not in SIGNAL_KINDS:
            raise MapError(f"signal {key!r}: kind {signal.kind!r} is not one of {', '.join(SIGNAL_KINDS)}")
    for key, crosswalk in road_map.crosswalks.items():
        if key != crosswalk.id:
            raise MapError(f"crosswalk {crosswalk.id!r} is filed under {key!r}: the key must be the id")
        outline = crosswalk.outline
        if outline.ndim != 2 or outline.shape[1] != 3 or len(outline) < 3 or not np.isfinite(outline).all():
            raise MapError(f"crosswalk {key!r}: the outline must be (corners, 3) finite numbers with at least 3 corners")
    for key, lane in road_map.lanes.items():
        if key != lane.id:
            raise MapError(f"lane {lane.id!r} is filed under {key!r}: the key must be the id")
        if lane.kind not in LANE_KINDS:
            raise MapError(f"lane {key!r}: kind {lane.kind!r} is not one of {', '.join(LANE_KINDS)}")
        if not (lane.speed > 0 and math.isfinite(lane.speed)):
            raise MapError(f"lane {key!r}: speed {lane.speed} m/s must be above 0")
        if lane.signal is not None and lane.signal not in road_map.signals:
            raise MapError(f"lane {key!r} obeys signal {lane.signal!r}, which does not exist")
        _validate_line(lane)
        _validate_links(lane, road_map.lanes)


def _validate_line(lane: Lane) -> None:
    line, where = lane.line, f"lane {lane.id!r}"
    if line.ndim != 2 or line.shape[1] != 5 or len(line) < 2:
        raise MapError(f"{where}: the line has shape {line.shape}, it must be (knots, 5) with at least 2 knots")
    if not np.isfinite(line).all():
        raise MapError(f"{where}: knot {np.argwhere(~np.isfinite(line))[0, 0]} has a number that is not finite")
    gaps = np.hypot(*np.diff(line[:, :2], axis=0).T)
    if gaps.min() < 0.01 - 1e-9:
        raise MapError(f"{where}: knots {gaps.argmin()} and {gaps.argmin() + 1} are {gaps.min():.4f} m apart, at least 0.01")
    knot = line[:, WIDTH].argmin()
    if line[knot, WIDTH] < 0 or (lane.kind == "driving" and line[knot, WIDTH] == 0) or line[:, WIDTH].max() == 0:
        raise MapError(f"{where}: width {line[knot, WIDTH]} m at knot {knot}: a {lane.kind} lane must be wider than that")


def _validate_links(lane: Lane, lanes: dict[str, Lane]) -> None:
    linked = [("successor", other) for other in lane.successors]
    linked += [(side, other) for side, other in (("left", lane.left), ("right", lane.right)) if other is not None]
    for role, other in linked:
        if other not in lanes:
            raise MapError(f"lane {lane.id!r}: its {role} {other!r} does not exist")
        for part in (lane, lanes[other]):
            if part.kind != "driving":
                raise MapError(f"lane {lane.id!r}: its {role} is {other!r}, but {part.id!r} is a {part.kind} lane")
    if len(set(lane.successors)) < len(lane.successors):
        raise MapError(f"lane {lane.id!r} names a successor twice: {', '.join(lane.successors)}")
    if lane.id in (lane.left, lane.right) or (lane.left is not None and lane.left == lane.right):
        raise MapError(f"lane {lane.id!r}: left {lane.left!r} and right {lane.right!r} must be two other lanes")
    for side, other, back in (("left", lane.left, "right"), ("right", lane.right, "left")):
        found = None if other is None else getattr(lanes[other], back)
        if found not in (None, lane.id):
            raise MapError(f"lane {lane.id!r} has {other!r} on its {side}, but that has {found!r} on its {back}")


def summary(road_map: RoadMap) -> dict[str, Any]:
    """What people ask about a map: a flat dict of numbers and names, ready for JSON. Lanes are driving lanes throughout.

    largest_component is the share of lanes in the largest set where each is reachable from each over successors and
    permitted lane changes; bounds are (x low, y low, x high, y high) of the lanes' edges [m].
    """
    lanes = {lane.id: lane for lane in road_map.lanes.values() if lane.kind == "driving"}
    gaps = [
        float(np.linalg.norm(lane.line[-1, :3] - lanes[other].line[0, :3]))
        for lane in lanes.values()
        for other in lane.successors
    ]
    edges = []
    for lane in lanes.values():
        x, y, _, heading, width = sample(lane.line, 2.0).T[:5]
        across = np.column_stack([-np.sin(heading), np.cos(heading)]) * width[:, None] / 2
        edges += [np.column_stack([x, y]) + across, np.column_stack([x, y]) - across]
    corners = np.concatenate(edges)
    return {
        "name": road_map.name,
        "lane_km": sum(length(lane.line) for lane in lanes.values()) / 1000,
        "lanes": len(lanes),
        "links": len(gaps),
        "junctions": len({lane.junction for lane in lanes.values()} - {None}),
        "traffic_lights": sum(signal.kind == "light" for signal in road_map.signals.values()),
        "stop_lines": sum(lane.signal is not None for lane in lanes.values()),
        "crosswalks": len(road_map.crosswalks),
        "max_link_gap_m": max(gaps, default=0.0),
        "largest_component": max(map(len, _components(lanes))) / len(lanes),
        "bounds": tuple(map(float, (*corners.min(axis=0), *corners.max(axis=0)))),
        "left_hand": road_map.left_hand,
        "source": road_map.source,
        "licence": road_map.licence,
    }


def _components(lanes: dict[str, Lane]) -> list[list[str]]:
    """Strongly connected components of the lane graph (Kosaraju: reverse finishing order, then the reversed graph)."""
    ahead = {a: [b for b in (*lane.successors, lane.left, lane.right) if b is not None] for a, lane in lanes.items()}
    behind: dict[str, list[str]] = {a: [] for a in lanes}
    for a, others in ahead.items():
        for b in others:
            behind[b].append(a)
    seen: set[str] = set()
    finished = [a for start in lanes for a in _finish(start, ahead, seen)]
    seen.clear()
    return [found for start in reversed(finished) if (found := _finish(start, behind, seen))]


def _finish(start: str, edges: dict[str, list[str]], seen: set[str]) -> list[str]:
    """Unseen lanes reachable from `start`, in the order in which a depth-first search leaves them."""
    if start in seen:
        return []
    seen.add(start)
    left, path = [], [(start, iter(edges[start]))]
    while path:
        a, others = path[-1]
        b = next((b for b in others if b not in seen), None)
        if b is None:
            left.append(a)
            path.pop()
        else:
            seen.add(b)
            path.append((b, iter(edges[b])))
    return left


def shipped() -> dict[str, Path]:
    """The towns that come with the package: name -> `*.lanes.json`."""
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "maps", package.parent / "maps"):  # inside the wheel; in a checkout
        if folder.is_dir():
            return {path.name.removesuffix(SUFFIX): path for path in sorted(folder.glob("*" + SUFFIX))}
    return {}


def load(path: str | os.PathLike[str]) -> RoadMap:
    """Read and validate a map; the name's ending says the format: `.lanes.json` or `.xodr` (OpenDRIVE).

    Raises MapError for a format that is not supported and for content that is not a consistent map.
    """
    path = Path(path)
    if path.name.endswith(SUFFIX):
        return _read(path)
    if path.suffix == ".xodr":
        # Here, because importers build on this file and nobody else needs their parser.
        from gigaflow_env.roads import opendrive

        return opendrive.load(path)
    raise MapError(f"{path}: unknown map format; supported are *{SUFFIX} and *.xodr (OpenDRIVE)")


def save(road_map: RoadMap, path: str | os.PathLike[str]) -> None:
    """Write `*.lanes.json`, made to be read and diffed: one lane a line, integer centimetres, 1e-4 rad and 0.001 m/s.

    Linked ends within 5 mm stay together: rounding must not open gaps. The file is replaced as a whole or not at all.
    Raises MapError for an inconsistent map.
    """
    path = Path(path)
    if not path.name.endswith(SUFFIX):
        raise MapError(f"{path}: the name of a map must end with {SUFFIX}")
    validate(road_map)
    ends = _weld(road_map.lanes)
    head = {"format": FORMAT, "version": VERSION, **{name: getattr(road_map, name) for name in HEAD}}
    parts = {
        "crosswalks": {key: {"outline": _integers(c.outline, 100.0)} for key, c in road_map.crosswalks.items()},
        "lanes": {key: _lane_record(lane, ends) for key, lane in road_map.lanes.items()},
        "signals": {key: {"group": s.group, "kind": s.kind} for key, s in road_map.signals.items()},
    }
    lines = [f"{_json(key)}: {_json(given)}" for key, given in head.items()]
    for part, records in parts.items():
        rows = [f"\n{_json(key)}: {_json(record)}" for key, record in records.items()]
        lines.append(f"{_json(part)}: {{{','.join(rows)}\n}}")
    text = "{\n" + ",\n".join(lines) + "\n}\n"

    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with open(handle, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
        os.chmod(temporary, 0o644)  # mkstemp makes it private
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def _json(given: Any) -> str:
    return json.dumps(given, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _integers(numbers: np.ndarray, scale: Any) -> list[list[int]]:
    return np.rint(numbers * scale).astype(np.int64).tolist()


def _lane_record(lane: Lane, ends: dict[tuple[str, int], np.ndarray]) -> dict[str, Any]:
    line = lane.line.copy()
    for end in (0, -1):
        line[end, :3] = ends.get((lane.id, end), line[end, :3])
    knots = np.rint(line * SCALES).astype(np.int64)
    moves = (np.diff(knots[:, :2], axis=0) != 0).any(axis=1)
    if not moves.any():
        raise MapError(f"lane {lane.id!r} is too short to be saved: {length(lane.line):.4f} m, its ends round to one point")
    last = np.flatnonzero(moves)[-1] + 1  # the last knot takes the place of those that round to the same point
    keep = np.concatenate([[True], moves])
    keep[last] = False
    knots = np.concatenate([knots[keep], knots[-1:]])
    record = {"kind": lane.kind, "line": knots.tolist(), "speed": round(lane.speed, 3), "successors": lane.successors}
    return record | {name: getattr(lane, name) for name in LANE_OPTIONAL if getattr(lane, name) is not None}


def _weld(lanes: dict[str, Lane]) -> dict[tuple[str, int], np.ndarray]:
    """Common position (x, y, z) of linked lane ends within 5 mm, by (lane, 0: start or -1: end)."""
    root: dict[tuple[str, int], tuple[str, int]] = {}

    def find(end: tuple[str, int]) -> tuple[str, int]:
        while root.setdefault(end, end) != end:
            end = root[end]
        return end

    for lane in lanes.values():
        for other in lane.successors:
            if np.linalg.norm(lane.line[-1, :3] - lanes[other].line[0, :3]) < 0.005:
                root[find((other, 0))] = find((lane.id, -1))
    return {end: lanes[find(end)[0]].line[find(end)[1], :3] for end in root}


def _read(path: Path) -> RoadMap:
    try:
        given = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:  # JSONDecodeError names line and column
        raise MapError(f"{path}: not a readable map: {error}") from error
    if not isinstance(given, dict) or given.get("format") != FORMAT:
        raise MapError(f"{path}: not a map: the head must say \"format\": \"{FORMAT}\"")
    if given.get("version") != VERSION:
        raise MapError(f"{path}: version {given.get('version')!r} of {FORMAT}; this program reads version {VERSION}")
    place = "head"
    try:
        _expect(given, {"format": str, "version": int, **HEAD, "crosswalks": dict, "lanes": dict, "signals": dict})
        lanes, signals, crosswalks = {}, {}, {}
        for key, record in given["lanes"].items():
            place = f"lane {key!r}"
            _expect(record, LANE_REQUIRED, LANE_OPTIONAL)
            if not all(isinstance(other, str) for other in record["successors"]):
                raise MapError(f"'successors' are {record['successors']!r}: they must be names of lanes")
            line = _numbers(record["line"], 5) / SCALES
            lanes[key] = Lane(id=key, **(record | {"line": line, "successors": tuple(record["successors"])}))
        for key, record in given["signals"].items():
            place = f"signal {key!r}"
            _expect(record, {"group": str, "kind": str})
            signals[key] = Signal(id=key, **record)
        for key, record in given["crosswalks"].items():
            place = f"crosswalk {key!r}"
            _expect(record, {"outline": list})
            crosswalks[key] = Crosswalk(id=key, outline=_numbers(record["outline"], 3) / 100.0)
    except MapError as error:
        raise MapError(f"{path}: {place}: {error}") from error
    road_map = RoadMap(lanes=lanes, signals=signals, crosswalks=crosswalks, **{name: given[name] for name in HEAD})
    try:
        validate(road_map)
    except MapError as error:
        raise MapError(f"{path}: {error}") from error
    return road_map


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, given in pairs:
        if key in made:
            raise ValueError(f"{key!r} is given twice")
        made[key] = given
    return made


def _expect(record: Any, required: dict[str, Any], optional: dict[str, Any] | None = None) -> None:
    types = required | (optional or {})
    if not isinstance(record, dict):
        raise MapError(f"expected an object with {', '.join(types)}")
    for key in required:
        if key not in record:
            raise MapError(f"{key!r} is missing")
    for key, given in record.items():
        if key not in types:
            raise MapError(f"unknown key {key!r}; known are {', '.join(types)}")
        if not isinstance(given, types[key]):
            raise MapError(f"{key!r} is {given!r}, which is of the wrong type")


def _numbers(rows: list[Any], columns: int) -> np.ndarray:
    for number, row in enumerate(rows):
        if not isinstance(row, list) or len(row) != columns or any(type(n) is not int for n in row):
            raise MapError(f"point {number} is {row!r}: it must be {columns} whole numbers")
    return np.array(rows, np.float64).reshape(-1, columns)
