"""Random towns: a spec drawn from a seed, and the town it makes. The same seed gives the same town on every machine.

A town is a bent grid of streets without its corners, some of them removed: crossings with lights, signs or nothing,
roundabouts, arterials with pockets, one-way streets, winding streets, crosswalks between crossings, and bulbs outside.
`STYLES` are kinds of towns: what is drawn for each, and how large it is.
"""

from random import Random
from typing import Any, NamedTuple

from gigaflow_env.roads.centerline import length
from gigaflow_env.roads.road_map import MapError, RoadMap
from gigaflow_env.roads.towns.generate import generate

TRIES = 100
"""Specs drawn for one seed before it is given up. One in three is rejected, so that this does not happen."""

Place = tuple[int, int]
"""Column and row in the grid."""


class Style(NamedTuple):
    """What is drawn for the towns of a kind: ranges, and choices of equal chance."""

    columns: tuple[int, int] = (3, 8)
    rows: tuple[int, int] = (3, 7)
    spacing: tuple[float, float] = (130.0, 180.0)  # of the grid [m]
    bent: float = 12.0  # a crossing is at most so far from its place in the grid [m]
    lane_width: tuple[float, float] = (3.1, 3.6)  # [m]
    corner: tuple[float, float] = (7.0, 10.0)  # radius of right turns [m]
    around: tuple[int, int] = (35, 60)  # radius of the road around a corner of the grid [m]
    wide: int = 1  # columns, and rows, that are arterials
    wide_lanes: tuple[int, ...] = (2,)  # of an arterial, in each direction
    wide_speed: tuple[float, float] = (12.0, 16.0)  # [m/s]
    ring: int = 1  # lanes of the roads around the town, in each direction
    one_way: float = 0.6  # chance that one of the rows is one-way
    one_way_lanes: tuple[int, ...] = (1, 2)
    one_way_too: float = 0.0  # chance of each other row and column
    speed: tuple[float, float] = (8.0, 13.0)  # [m/s]
    bend: int = 30  # radius of winding streets [m]
    winding_speed: tuple[float, float] = (7.0, 9.0)  # [m/s]
    around_speed: tuple[float, float] = (8.0, 9.5)  # [m/s]
    spread: bool = False  # all lanes of a road that ends at a crossing turn side by side
    roundabouts: float = 0.2  # share of the crossings
    lights: float = 0.35  # share of the crossings; the others have signs or nothing
    lane_km: tuple[float, float] = (5.0, 40.0)  # a town has at least and at most this


STYLES = {
    "": Style(),
    "old": Style(
        columns=(3, 5), rows=(3, 5), spacing=(60.0, 95.0), bent=6.0, lane_width=(3.3, 3.7), corner=(3.2, 5.5),
        around=(12, 22), bend=10, winding_speed=(4.0, 5.0), around_speed=(4.0, 5.5), wide=0, one_way_lanes=(1,),
        speed=(6.0, 10.0), roundabouts=0.0, lights=0.5, lane_km=(2.0, 40.0),
    ),
    "tight": Style(
        columns=(3, 5), rows=(3, 5), spacing=(65.0, 130.0), bent=6.0, lane_width=(3.3, 4.0), corner=(3.2, 6.5),
        around=(7, 20), bend=9, winding_speed=(8.0, 14.0), around_speed=(9.0, 15.0), wide=0, one_way_lanes=(1,),
        speed=(9.0, 14.0), roundabouts=0.0, lights=0.5, lane_km=(2.0, 40.0),
    ),
    "wide": Style(
        columns=(3, 5), rows=(3, 4), spacing=(220.0, 340.0), lane_width=(3.3, 3.7), corner=(8.0, 12.0), around=(60, 90),
        wide=1, wide_lanes=(3, 4, 5), wide_speed=(14.0, 22.0), ring=4, one_way_too=0.7, one_way_lanes=(4, 5), spread=True,
        speed=(10.0, 20.0), roundabouts=0.0, lights=0.5,
    ),
}  # fmt: skip
"""Styles by the name in `random:STYLE:SEED`; the first one is that of `random:SEED`.

`old` has short streets and tight corners, and is small, so that its cars meet often. `tight` is as small, and no speed limit
tells of its bends, which are as narrow as corners: many real maps have one limit for all their streets. `wide` has up to
five lanes a direction and many one-way streets, so that who passes a goal has a long way around.
"""


class Drawn(NamedTuple):
    """A random town, and how many draws it took."""

    town: RoadMap
    rejected: int  # specs that made no town, or one of the wrong size


def town(seed: int, style: str = "") -> Drawn:
    """The town of a seed, at least 0. Specs that make none are drawn again. Raises ValueError for another seed or style."""
    if style not in STYLES:
        raise ValueError(f"style={style!r} is not one of {', '.join(map(repr, STYLES))}")
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        raise ValueError(f"seed={seed!r}: a random town needs a whole number, at least 0")
    reason, drawn = "", STYLES[style]
    for rejected in range(TRIES):
        try:
            made = generate(spec(seed, rejected, style))
        except MapError as error:
            reason = str(error)
            continue
        lane_km = sum(length(lane.line) for lane in made.lanes.values() if lane.kind == "driving") / 1000
        if drawn.lane_km[0] <= lane_km <= drawn.lane_km[1]:
            return Drawn(made, rejected)
        reason = f"{lane_km:.1f} lane-km"
    raise MapError(f"seed={seed}: none of {TRIES} specs made a town, the last for: {reason}")


def spec(seed: int, attempt: int, style: str = "") -> dict[str, Any]:
    """What is drawn for a seed; may contradict the generator's rules."""
    rng, drawn = Random(seed * TRIES + attempt), STYLES[style]
    columns, rows = rng.randint(*drawn.columns), rng.randint(*drawn.rows)
    spacing = rng.uniform(*drawn.spacing)
    corners = {(0, 0), (columns - 1, 0), (0, rows - 1), (columns - 1, rows - 1)}
    places = {
        (i, j): (_about(rng, i * spacing, drawn.bent), _about(rng, j * spacing, drawn.bent))
        for i in range(columns)
        for j in range(rows)
    }
    joined = _grid(rng, columns, rows, corners)
    degree = {place: sum(place in pair for pair in joined) for place in places}
    wide = {
        line: _one(rng, drawn.wide_lanes)
        for _ in range(drawn.wide)
        for line in (("column", rng.randrange(1, columns - 1)), ("row", rng.randrange(1, rows - 1)))
    }
    if drawn.ring > 1:
        wide |= dict.fromkeys((("column", 0), ("column", columns - 1), ("row", 0), ("row", rows - 1)), drawn.ring)
    one_way = {("row", rng.randrange(1, rows - 1)): rng.random() < 0.5} if rng.random() < drawn.one_way else {}
    if drawn.one_way_too:  # else nothing is drawn
        inside = [("column", i) for i in range(1, columns - 1)] + [("row", j) for j in range(1, rows - 1)]
        one_way |= {line: rng.random() < 0.5 for line in inside if rng.random() < drawn.one_way_too}

    roads = [_road(rng, drawn, pair, places, degree, wide, one_way) for pair in joined]
    roads += [_corner(rng, drawn, corner, places, columns, rows) for corner in sorted(corners)]
    nodes: dict[str, dict[str, Any]] = {}
    for place, at in places.items():
        if place not in corners:
            nodes[_name(place)] = {"at": list(at)} | _kind(rng, drawn, place, roads)
            outside = place[0] in (0, columns - 1) or place[1] in (0, rows - 1)
            if outside and rng.random() < 0.25:
                _add_bulb(rng, place, at, columns, rows, nodes, roads)
    roads = [part for road in roads for part in _with_crosswalk(rng, road, nodes)]
    return {
        "name": f"random:{style}:{seed}" if style else f"random:{seed}",
        "licence": "MIT",
        "defaults": {"width": round(rng.uniform(*drawn.lane_width), 1), "corner": round(rng.uniform(*drawn.corner), 1)},
        "nodes": nodes,
        "roads": roads,
    }


def _about(rng: Random, value: float, spread: float) -> float:
    return round(value + rng.uniform(-spread, spread), 1)


def _one(rng: Random, choices: tuple[int, ...]) -> int:
    """One of the choices; where there is only one, nothing is drawn."""
    return rng.choice(choices) if len(choices) > 1 else choices[0]


def _name(place: Place) -> str:
    return f"{'abcdefgh'[place[0]]}{place[1] + 1}"


def _grid(rng: Random, columns: int, rows: int, corners: set[Place]) -> list[tuple[Place, Place]]:
    """Neighbours in the grid that are joined: all, less some between places that keep three roads."""
    pairs = [((i, j), (i + 1, j)) for j in range(rows) for i in range(columns - 1)]
    pairs += [((i, j), (i, j + 1)) for i in range(columns) for j in range(rows - 1)]
    pairs = [pair for pair in pairs if not corners & set(pair)]
    roads_at = {(i, j): 4 for i in range(1, columns - 1) for j in range(1, rows - 1)}  # those outside have three
    for pair in rng.sample(pairs, len(pairs)):
        if all(roads_at.get(place, 3) == 4 for place in pair) and rng.random() < 0.4:
            pairs.remove(pair)
            for place in pair:
                roads_at[place] -= 1
    return pairs


def _road(
    rng: Random,
    drawn: Style,
    pair: tuple[Place, Place],
    places: dict[Place, tuple[float, float]],
    degree: dict[Place, int],
    wide: dict[tuple[str, int], int],
    one_way: dict[tuple[str, int], bool],
) -> dict[str, Any]:
    a, b = pair
    line = ("row", a[1]) if a[1] == b[1] else ("column", a[0])
    road: dict[str, Any] = {"between": [_name(a), _name(b)], "speed": round(rng.uniform(*drawn.speed), 1)}
    if line in one_way:
        if one_way[line]:
            road["between"].reverse()
        return road | {"lanes": [_one(rng, drawn.one_way_lanes), 0]}
    if line in wide:
        road |= {"lanes": [wide[line]] * 2, "speed": round(rng.uniform(*drawn.wide_speed), 1)}
        # A pocket must have a left turn: not at three roads, and not into a one-way street that comes from there.
        turns = all(degree[place] == 4 and not one_way.keys() & {("row", place[1]), ("column", place[0])} for place in pair)
        if turns and rng.random() < 0.6:
            road |= {"median": 3.2, "pockets": [25, 25]}
        return road
    if rng.random() < 0.4:
        (ax, ay), (bx, by) = places[a], places[b]
        aside = rng.choice((-1, 1)) * rng.uniform(0.04, 0.1)
        bends = [
            (ax + (bx - ax) * t - (by - ay) * s, ay + (by - ay) * t + (bx - ax) * s)
            for t, s in ((0.38, aside), (0.62, -aside))
        ]
        road |= {
            "bends": [[round(x, 1), round(y, 1), drawn.bend] for x, y in bends],
            "speed": round(rng.uniform(*drawn.winding_speed), 1),
        }
    return road


def _corner(
    rng: Random, drawn: Style, corner: Place, places: dict[Place, tuple[float, float]], columns: int, rows: int
) -> dict[str, Any]:
    """The road around a corner of the grid."""
    i, j = corner
    beside, above = (1 if i == 0 else columns - 2, j), (i, 1 if j == 0 else rows - 2)
    radius = rng.randint(*drawn.around)
    bend = [places[above][0], places[beside][1], radius]
    road = {"between": [_name(beside), _name(above)], "bends": [bend], "speed": round(rng.uniform(*drawn.around_speed), 1)}
    return road | {"lanes": [drawn.ring] * 2} if drawn.ring > 1 else road


def _kind(rng: Random, style: Style, place: Place, roads: list[dict[str, Any]]) -> dict[str, Any]:
    """What a node is besides its place."""
    name = _name(place)
    lanes = max(max(road.get("lanes", (1, 1))) for road in roads if name in road["between"])
    median = any("median" in road for road in roads if name in road["between"])
    drawn = rng.random()
    crosswalks = rng.random() < 0.5
    if drawn < style.roundabouts and not median:
        radius, corner = rng.randint(14, 20) + 8 * (lanes - 1), rng.randint(10, 12)
        return {
            "kind": "roundabout",
            "control": "yield",
            "radius": radius,
            "corner": corner,
            "rings": lanes,
            "crosswalks": crosswalks,
        }
    lit = drawn < style.roundabouts + style.lights
    found = {"control": "light" if lit else rng.choice(("stop", "none", "yield")), "crosswalks": crosswalks}
    return found | {"spread": True} if style.spread else found


def _with_crosswalk(rng: Random, road: dict[str, Any], nodes: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """The two halves of a road with a crosswalk between them, in one of eight straight roads; else the road alone."""
    straight = not road.keys() & {"bends", "pockets"} and not any("." in name for name in road["between"])
    if not straight or rng.random() >= 0.125:
        return [road]
    first, second = road["between"]
    (ax, ay), (bx, by) = nodes[first]["at"], nodes[second]["at"]
    share = rng.uniform(0.45, 0.55)
    # To the millimetre: rounded to more, the halves of a wide road would not be straight enough to meet.
    at = [round(ax + (bx - ax) * share, 3), round(ay + (by - ay) * share, 3)]
    name = f"{first}.{second}"
    nodes[name] = {"at": at, "kind": "midblock", "control": "light" if rng.random() < 0.7 else "none"}
    return [road | {"between": [first, name]}, road | {"between": [name, second]}]


def _add_bulb(
    rng: Random,
    place: Place,
    at: tuple[float, float],
    columns: int,
    rows: int,
    nodes: dict[str, dict[str, Any]],
    roads: list[dict[str, Any]],
) -> None:
    """A street that leads out of the grid and ends in a bulb."""
    out = {0: (-1, 0), columns - 1: (1, 0)}.get(place[0]) or {0: (0, -1), rows - 1: (0, 1)}[place[1]]
    distance = rng.uniform(70.0, 110.0)
    end = [_about(rng, at[k] + out[k] * distance, 8.0) for k in (0, 1)]
    nodes[f"{_name(place)}.end"] = {"at": end, "kind": "bulb", "radius": round(rng.uniform(6.5, 9.0), 1)}
    roads.append({"between": [_name(place), f"{_name(place)}.end"], "speed": 8.0})
