"""What a town is made of: nodes and roads, read from a TOML file and checked.

    name = "cross"                         # optional: licence, attribution
    [defaults]                             # for all nodes and roads that don't give their own
    width = 3.5
    [nodes]
    centre = { at = [0, 0], control = "light", crosswalks = true }
    ...
    [[roads]]
    between = ["centre", "east"]
    bends = [[120, 0, 30], [120, 90, 30]]  # the road runs straight to these points, x, y, and rounds them with this radius

`Node` and `Road` below say what else can be given. Every node is a junction of three roads or more. Traffic keeps right.
"""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

from gigaflow_env.roads.source import MapError

MIN_RADIUS = 5.5
"""[m] Tightest lane centre: what a car can drive with margin (wheelbase 2.7 m at 0.45 rad)."""

MIN_MEDIAN = 1.0
"""[m] Narrowest strip between two directions: less would be a slit that an agent can hardly see but leaves the road in."""

CONTROLS = ("none", "light", "stop")


class Node(NamedTuple):
    """A junction."""

    at: tuple[float, float]  # x, y [m]
    control: str = "none"  # one of CONTROLS: nothing, a light or a stop sign for every approach
    crosswalks: bool = False  # one across every road
    corner: float = 8.0  # radius of the lane centre in right turns [m]


class Road(NamedTuple):
    """A road between two nodes, in the direction from the first to the second."""

    between: tuple[str, str]
    lanes: tuple[int, int] = (1, 1)  # forward, backward; (n, 0) is a one-way road
    width: float = 3.5  # of a lane [m]
    speed: float = 11.0  # limit [m/s]
    bends: tuple[tuple[float, float, float], ...] = ()  # x, y, radius of the road's axis [m]
    median: float = 0.0  # strip between the directions [m]; 0: none, else at least MIN_MEDIAN
    pockets: tuple[float, float] = (0.0, 0.0)  # length of a left-turn lane in the median, forward and backward [m]; 0: none


def read(spec: dict[str, Any]) -> tuple[dict[str, Node], list[Road]]:
    """Nodes by name and roads of a spec, checked one by one. Raises MapError for what is missing, unknown or wrong."""
    _known(spec, ("name", "licence", "attribution", "defaults", "nodes", "roads"), "the spec")
    for key in ("name", "nodes", "roads"):
        if key not in spec:
            raise MapError(f"the spec has no {key!r}")
    for key, kind, called in (("name", str, "text"), ("nodes", dict, "a table"), ("roads", list, "an array of tables")):
        if not isinstance(spec[key], kind):
            raise MapError(f"{key}={spec[key]!r} is not {called}")
    defaults = spec.get("defaults", {})
    _known(defaults, (*Node._field_defaults, *Road._field_defaults), "defaults")
    nodes = {name: _node(table, defaults, f"node {name!r}") for name, table in spec["nodes"].items()}
    roads = [_road(table, defaults, f"road {k}", nodes) for k, table in enumerate(spec["roads"])]

    seen: set[frozenset[str]] = set()
    for road in roads:
        if frozenset(road.between) in seen:
            raise MapError(f"the road {road.between[0]} to {road.between[1]} is given twice: there can be one")
        seen.add(frozenset(road.between))
    return nodes, roads


def _node(table: dict[str, Any], defaults: dict[str, Any], where: str) -> Node:
    given = _with_defaults(Node, table, defaults, where)
    node = Node(
        at=_numbers(given["at"], 2, f"{where}: at"),
        control=given["control"],
        crosswalks=given["crosswalks"],
        corner=_number(given["corner"], f"{where}: corner"),
    )
    if node.control not in CONTROLS:
        raise MapError(f"{where}: control={node.control!r} is not one of {', '.join(CONTROLS)}")
    if not isinstance(node.crosswalks, bool):
        raise MapError(f"{where}: crosswalks={node.crosswalks!r} is neither true nor false")
    if node.corner < MIN_RADIUS:
        raise MapError(f"{where}: corner={node.corner} m is tighter than {MIN_RADIUS} m")
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
