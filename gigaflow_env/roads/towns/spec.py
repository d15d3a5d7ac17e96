"""What a town is made of: nodes and roads, read from a TOML file and checked.

    name = "cross"                         # optional: licence, attribution
    [defaults]                             # for all nodes and roads that don't give their own
    width = 3.5
    [nodes]
    center = { at = [0, 0], control = "light", crosswalks = true }
    ...
    [[roads]]
    between = ["center", "east"]
    bends = [[120, 0, 30], [120, 90, 30]]  # the road runs straight to these points, x, y, and rounds them with this radius

`Node` and `Road` below say what else can be given. Traffic keeps right, or left with `left_hand = true` in the head.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from gigaflow_env.roads.road_map import MapError

MIN_RADIUS = 5.5
"""[m] Tightest lane center: what a car can drive with margin (wheelbase 2.7 m at 0.45 rad)."""
MIN_CORNER = 3.0
"""[m] Tightest `corner` of a node. Real corners of old towns are as tight; where lanes are wide a car swings out."""

MIN_MEDIAN = 1.0
"""[m] Narrowest strip between two directions: less would be a slit that an agent can hardly see but leaves the road in."""

MIN_BULB = 6.5
"""[m] Tightest turn of a bulb: a car that turns back needs room to err."""
MIN_RING = 9.0
"""[m] Smallest roundabout: what it goes around is then larger than 20 m^2 and seen as an island."""

CONTROLS = ("none", "light", "stop", "yield")
AXES = ("middle", "left")
NODE_KINDS = {
    "crossing": ("control", "main", "crosswalks", "corner", "spread"),
    "roundabout": ("control", "main", "crosswalks", "corner", "radius", "rings"),
    "bulb": ("corner", "radius"),
    "joint": ("taper",),
    "midblock": ("control",),
}
"""Kinds of nodes, and what can be given for each besides `at` and `kind`."""


class Node(NamedTuple):
    """Where roads meet or end."""

    at: tuple[float, float]  # x, y [m]
    kind: str = "crossing"  # one of NODE_KINDS: crossing of three roads or more, roundabout, end, joint, crosswalk
    control: str = "none"  # one of CONTROLS: nothing, or a light or sign for every approach
    main: tuple[str, ...] = ()  # nodes at the other ends of roads with the right of way: signs are for the others
    crosswalks: bool = False  # one across every road
    # Radius of the lane center in right turns [m], also into roundabouts and bulbs; no turn is tighter than this or 5.5 m.
    corner: float = 8.0
    spread: bool = False  # where a road can't go straight on, all its lanes turn side by side; else the outermost alone
    radius: float = 16.0  # of the innermost lane's center around a roundabout, or of the turn of a bulb [m]
    rings: int = 1  # lanes around a roundabout
    taper: float = 70.0  # length over which a joint adds or drops a lane [m]


class Road(NamedTuple):
    """A road between two nodes, in the direction from the first to the second."""

    between: tuple[str, str]
    lanes: tuple[int, int] = (1, 1)  # forward, backward; (n, 0) is a one-way road
    width: float = 3.5  # of a lane [m]
    speed: float = 11.0  # limit [m/s]
    bends: tuple[tuple[float, float, float], ...] = ()  # x, y, radius of the road's axis [m]
    median: float = 0.0  # strip between the directions [m]; 0: none, else at least MIN_MEDIAN
    pockets: tuple[float, float] = (0.0, 0.0)  # length of a left-turn lane in the median, forward and backward [m]; 0: none
    axis: str = "middle"  # of a one-way road, one of AXES: in the middle or at the left edge of its lanes
    ramp: bool = False  # a one-way road that begins or ends on the right of another, at a joint
    parking: float = 0.0  # width of a strip to park on, on the right of the lanes in both directions [m]
    bridge: tuple[float, float, float] = (0.0, 0.0, 0.0)  # x, y, height [m]: the road rises to cross others there; 0: none


def parse(spec: dict[str, Any]) -> tuple[dict[str, Node], list[Road]]:
    """Nodes by name and roads of a spec, checked one by one. Raises MapError for what is missing, unknown or wrong."""
    _known(spec, ("name", "licence", "attribution", "left_hand", "defaults", "nodes", "roads"), "the spec")
    for key in ("name", "nodes", "roads"):
        if key not in spec:
            raise MapError(f"the spec has no {key!r}")
    for key, kind, called in (("name", str, "text"), ("nodes", dict, "a table"), ("roads", list, "an array of tables")):
        if not isinstance(spec[key], kind):
            raise MapError(f"{key}={spec[key]!r} is not {called}")
    if not isinstance(spec.get("left_hand", False), bool):
        raise MapError(f"left_hand={spec['left_hand']!r} is neither true nor false")
    defaults = spec.get("defaults", {})
    _known(defaults, (*Node._field_defaults, *Road._field_defaults), "defaults")
    nodes = {name: _node(table, defaults, f"node {name!r}") for name, table in spec["nodes"].items()}
    roads = [_road(table, defaults, f"road {k}", nodes) for k, table in enumerate(spec["roads"])]

    seen: set[frozenset[str]] = set()
    for road in roads:
        if frozenset(road.between) in seen:
            raise MapError(f"the road {road.between[0]} to {road.between[1]} is given twice: there can be one")
        seen.add(frozenset(road.between))
    for name, node in nodes.items():
        for other in node.main:
            if frozenset((name, other)) not in seen:
                raise MapError(f"node {name!r}: main={list(node.main)} names {other!r}, to which there is no road")
    return nodes, roads


def _node(table: dict[str, Any], defaults: dict[str, Any], where: str) -> Node:
    given = _with_defaults(Node, table, defaults, where)
    kind = given["kind"]
    if kind not in NODE_KINDS:
        raise MapError(f"{where}: kind={kind!r} is not one of {', '.join(NODE_KINDS)}")
    _known(table, ("at", "kind", *NODE_KINDS[kind]), f"{where}, a {kind}")
    if not isinstance(given["main"], (list, tuple)) or not all(isinstance(other, str) for other in given["main"]):
        raise MapError(f"{where}: main={given['main']!r} is not a list of nodes")
    node = Node(
        at=_numbers(given["at"], 2, f"{where}: at"),
        kind=kind,
        control=given["control"],
        main=tuple(given["main"]),
        crosswalks=given["crosswalks"],
        corner=_number(given["corner"], f"{where}: corner"),
        spread=given["spread"],
        radius=_number(given["radius"], f"{where}: radius"),
        rings=given["rings"],
        taper=_number(given["taper"], f"{where}: taper"),
    )
    if node.control not in CONTROLS:
        raise MapError(f"{where}: control={node.control!r} is not one of {', '.join(CONTROLS)}")
    if kind == "roundabout" and node.control == "light":
        raise MapError(f"{where}: control='light' is not for a roundabout; there are none, stop, yield")
    if node.main and node.control not in ("stop", "yield"):
        raise MapError(f"{where}: main={list(node.main)} needs control stop or yield, not {node.control!r}")
    for key in ("crosswalks", "spread"):
        if not isinstance(given[key], bool):
            raise MapError(f"{where}: {key}={given[key]!r} is neither true nor false")
    if node.corner < MIN_CORNER:
        raise MapError(f"{where}: corner={node.corner} m is tighter than {MIN_CORNER} m")
    least = {"bulb": MIN_BULB, "roundabout": MIN_RING}.get(kind, 0.0)
    if node.radius < least:
        raise MapError(f"{where}: radius={node.radius} m is tighter than {least} m, the least for a {kind}")
    if isinstance(node.rings, bool) or node.rings not in (1, 2, 3):
        raise MapError(f"{where}: rings={node.rings!r} must be 1, 2 or 3")
    if node.taper < 40.0:
        raise MapError(f"{where}: taper={node.taper} m is too short to change the lane, at least 40 are needed")
    return node


def _road(table: dict[str, Any], defaults: dict[str, Any], where: str, nodes: Iterable[str]) -> Road:
    given = _with_defaults(Road, table, defaults, where)
    between = given["between"]
    if not isinstance(between, (list, tuple)) or len(between) != 2 or between[0] == between[1]:
        raise MapError(f"{where}: between={between!r} must name two different nodes")
    for name in between:
        if name not in nodes:
            raise MapError(f"{where}: node {name!r} does not exist; there are {', '.join(nodes)}")
    where = f"the road {between[0]} to {between[1]}"
    lanes = _numbers(given["lanes"], 2, f"{where}: lanes")
    if any(count != int(count) or count < 0 for count in lanes) or lanes[0] < 1:
        raise MapError(f"{where}: lanes={given['lanes']!r} must be whole numbers, the first at least 1")
    if not isinstance(given["bends"], (list, tuple)):
        raise MapError(f"{where}: bends={given['bends']!r} is not a list of [x, y, radius]")
    road = Road(
        between=(between[0], between[1]),
        lanes=(int(lanes[0]), int(lanes[1])),
        width=_number(given["width"], f"{where}: width"),
        speed=_number(given["speed"], f"{where}: speed"),
        bends=tuple(_numbers(bend, 3, f"{where}: bend {k}") for k, bend in enumerate(given["bends"])),
        median=_number(given["median"], f"{where}: median"),
        pockets=_numbers(given["pockets"], 2, f"{where}: pockets"),
        axis=given["axis"],
        ramp=given["ramp"],
        parking=_number(given["parking"], f"{where}: parking"),
        bridge=_numbers(given["bridge"], 3, f"{where}: bridge"),
    )
    for bend in road.bends:
        if bend[2] < MIN_RADIUS:
            raise MapError(f"{where}: the bend {bend} has a radius of less than {MIN_RADIUS} m")
    if not (2.5 <= road.width <= 5.0 and road.speed > 0 and road.median >= 0 and min(road.pockets) >= 0):
        raise MapError(f"{where}: width must be 2.5 to 5 m, speed above 0, median and pockets not negative: {given}")
    if 0 < road.median < MIN_MEDIAN:
        raise MapError(f"{where}: median={road.median} m is too narrow: it must be 0 or at least {MIN_MEDIAN} m")
    if road.median and 0 in road.lanes:
        raise MapError(f"{where}: a one-way road has no median, median={road.median} m")
    if any(road.pockets) and (0 in road.lanes or road.median < 2.5):
        raise MapError(f"{where}: pockets need two directions and a median of at least 2.5 m, not {road.median} m")
    if road.axis not in AXES or not isinstance(road.ramp, bool):
        raise MapError(f"{where}: axis={road.axis!r} must be middle or left, ramp={road.ramp!r} true or false")
    if road.lanes[1] and (road.ramp or road.axis != "middle"):
        raise MapError(f"{where}: ramp and axis are for one-way roads, but it has lanes={list(road.lanes)}")
    if road.ramp and road.axis != "middle":
        raise MapError(f"{where}: the axis of a ramp is the middle of its lanes, not {road.axis!r}")
    if road.parking and not 2.0 <= road.parking <= 6.0:
        raise MapError(f"{where}: parking={road.parking} m must be 0 or 2 to 6 m wide")
    if road.bridge[2] and not 5.0 <= road.bridge[2] <= 12.0:
        raise MapError(f"{where}: a bridge of {road.bridge[2]} m: 5 to 12 m of height leave room for traffic beneath")
    if road.bridge[2] and any(road.pockets):
        raise MapError(f"{where}: there are no pockets on a road with a bridge")
    return road


def _with_defaults(kind: type, table: dict[str, Any], defaults: dict[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise MapError(f"{where}: {table!r} is not a table")
    names, optional = kind._fields, kind._field_defaults  # type: ignore[attr-defined]
    _known(table, names, where)
    given = optional | {name: value for name, value in defaults.items() if name in optional} | table
    for name in names:
        if name not in given:
            raise MapError(f"{where} has no {name!r}")
    return given


def _known(table: dict[str, Any], names: Iterable[str], where: str) -> None:
    for name in table:
        if name not in names:
            raise MapError(f"{where}: {name!r} is unknown; there are {', '.join(names)}")


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise MapError(f"{where}={value!r} is not a number")
    return float(value)


def _numbers(value: Any, count: int, where: str) -> tuple[Any, ...]:
    if not isinstance(value, (list, tuple)) or len(value) != count:
        raise MapError(f"{where}={value!r} must be {count} numbers")
    return tuple(_number(one, where) for one in value)
