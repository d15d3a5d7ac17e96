"""Lanelets as strips between two ways, in their direction of travel, and what their tags say about who drives there."""

import re
from typing import NamedTuple

import numpy as np

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.lanelet2.elements import Elements, Relation, Way
from gigaflow_env.roads.import_report import fault, is_strict, note, note_closed
from gigaflow_env.roads.road_map import MapError

SUBTYPES = {
    **dict.fromkeys(("road", "lane", "highway", "play_street", "exit"), "driving"),
    **dict.fromkeys(("emergency_lane", "road_shoulder", "bus_lane"), "shoulder"),
    "bicycle_lane": "biking",
}
"""Subtypes of lanelets that cars can drive on."""
OTHER_SUBTYPES = (
    "walkway",
    "shared_walkway",
    "crosswalk",
    "stairs",
    "rail",
    "tram",
    "railway",
    "waterway",
    "private",
    "parking",
)
"""Subtypes of lanelets that are not part of the map."""
MARKS = (
    "line_thin", "line_thick", "virtual", "curbstone", "road_border", "guard_rail", "wall", "fence", "jersey_barrier",
    "zebra_marking", "pedestrian_marking", "bike_marking", "keepout", "rail", "zig-zag", "stop_line", "gate", "door",
)  # fmt: skip
"""Types of ways that bound lanelets."""
LINES = ("solid", "dashed")
"""Words of the subtypes of painted lines."""

CARS = {"vehicle", "vehicle:car", "vehicle:car:electric", "vehicle:car:combustion"}
"""Participants whose lanelets are driving lanes."""
OTHER_MOTORS = {"vehicle:bus", "vehicle:taxi", "vehicle:truck", "vehicle:motorcycle", "vehicle:emergency"}
"""Those whose lanelets are paved, but not for cars. Source: Lanelet2, Tagging Lanelets and Areas, for these and bus_lane."""

ANSWERS = ("yes", "true", "no", "false")
"""Values of what is a yes or a no."""

UNITS = {"": 1 / 3.6, "km/h": 1 / 3.6, "kmh": 1 / 3.6, "kph": 1 / 3.6, "mph": 0.44704, "m/s": 1.0, "mps": 1.0}
SPEEDS = {
    ("play_street", "urban"): 1.9,
    ("play_street", "nonurban"): 1.9,
    ("highway", "urban"): 36.1,
    ("highway", "nonurban"): 36.1,
}
"""[m/s] by subtype and location, where nothing says more: 7 and 130 km/h, as the Lanelet2 library takes them in Germany."""
URBAN, NONURBAN = 13.9, 27.8
"""[m/s] for all other subtypes: 50 and 100 km/h."""


class Bound(NamedTuple):
    """A way, and whether travel follows its nodes."""

    way: str
    forward: bool


class Lanelet(NamedTuple):
    """A lanelet, its bounds in the direction of travel."""

    id: str
    relation: Relation
    kind: str
    left: Bound
    right: Bound
    both: bool  # may be used the other way, too


def read_lanelets(elements: Elements) -> list[Lanelet]:
    """All lanelets that cars can drive on. Raises MapError for a lanelet without exactly one way on each side."""
    lanelets = []
    for relation in elements.relations.values():
        kind = _kind(relation.tags) if relation.tags.get("type") == "lanelet" else None
        _tell(relation)
        if kind is not None:
            try:
                left, right = read_bounds(relation, elements.ways)
            except MapError as error:
                if is_strict():
                    raise
                note("lane", relation.id, f"{error.reason}: left out", line=error.line)
                continue
            if kind == "shoulder" and relation.tags.get("subtype") not in ("emergency_lane", "road_shoulder"):
                note_closed(relation.id, relation.element.sourceline)
            both = relation.tags.get("one_way", relation.tags.get("one_way:vehicle", "yes")) in ("no", "false")
            lanelets.append(Lanelet(relation.id, relation, kind, left, right, both))
    return lanelets


def _tell(relation: Relation) -> None:
    """Report what may be a lanelet but does not say so."""
    kind, subtype = relation.tags.get("type"), relation.tags.get("subtype", "road")
    wrong = None
    if kind != "lanelet" and relation.members("left") and relation.members("right"):
        wrong = f"type={kind!r} of a relation with a left and a right bound: a lanelet's is 'lanelet'"
    elif kind == "lanelet" and subtype not in SUBTYPES and subtype not in OTHER_SUBTYPES:
        wrong = f"subtype={subtype!r} is none of {', '.join((*SUBTYPES, *OTHER_SUBTYPES))}"
    if wrong is not None:
        xml.fault(relation.element, "lane", wrong, "not part of the map unless a participant says more")
    if kind != "lanelet":
        return
    if "subtype" not in relation.tags:
        note("lane", relation.id, "a lanelet without subtype: taken for a road", line=relation.element.sourceline)
    for key, answer in relation.tags.items():
        if key.startswith("participant:") and answer not in ANSWERS:
            what = f"{key}={answer!r} is none of {', '.join(ANSWERS)}"
            xml.fault(relation.element, "value", what, "counts as no")


def tell_mark(name: str, way: Way) -> None:
    """Report a way between two lanes whose type is none that could be crossed or not."""
    kind, subtype = way.tags.get("type"), way.tags.get("subtype", "")
    painted = kind in ("line_thin", "line_thick")
    if "lane_change" in way.tags or "lane_change:left" in way.tags or "lane_change:right" in way.tags:
        return
    if kind not in MARKS or (painted and not set(subtype.split("_")) <= set(LINES)):
        fault("mark", name, f"a way of type={kind!r}, subtype={subtype!r} between lanes", "lanes may not be changed over it")


def read_bounds(relation: Relation, ways: dict[str, Way]) -> tuple[Bound, Bound]:
    """Left and right bound of a lanelet: ways may run either way, travel keeps the left one on its left."""
    names = []
    for role in ("left", "right"):
        members = relation.members(role)
        if len(members) != 1 or members[0] not in ways:
            given = ", ".join(members) or "none"
            raise xml.wrong(relation.element, f"{role} bound of lanelet {relation.id}: {given}; it must be one existing way")
        names.append(members[0])
    left, right = (ways[name].points[:, :2] for name in names)
    ends = np.array([[left[0], left[-1]], [right[0], right[-1]]])
    straight = np.linalg.norm(ends[0] - ends[1], axis=1).sum()
    crossed = np.linalg.norm(ends[0] - ends[1, ::-1], axis=1).sum()
    parallel = bool(straight <= crossed)
    ring = np.concatenate([left, right[::-1] if parallel else right])
    x, y = (ring - ring[0]).T
    # Clockwise is there along the left bound and back along the right one.
    clockwise = bool((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() <= 0)
    return Bound(names[0], clockwise), Bound(names[1], clockwise == parallel)


def points(bound: Bound, ways: dict[str, Way]) -> np.ndarray:
    """The vertices of a bound (n, 3) in the direction of travel."""
    return ways[bound.way].points[:: 1 if bound.forward else -1]


def end_nodes(bound: Bound, ways: dict[str, Way]) -> tuple[str, str]:
    """Ids of the nodes at the start and at the end."""
    nodes = ways[bound.way].nodes
    return (nodes[0], nodes[-1]) if bound.forward else (nodes[-1], nodes[0])


def turned(bound: Bound) -> Bound:
    """The bound, travelled the other way."""
    return Bound(bound.way, not bound.forward)


def may_cross(way: Way, leftwards: bool) -> bool:
    """Whether lanes may be changed over a way, to its left or to its right."""
    tags = way.tags
    permission = tags.get("lane_change", tags.get("lane_change:left" if leftwards else "lane_change:right"))
    if permission is not None:
        return permission in ("yes", "true")
    # A double line is named from left to right; what counts is the line on one's own side.
    lines = tags.get("subtype", "").split("_")
    return tags.get("type") in ("line_thin", "line_thick") and lines[-1 if leftwards else 0] == "dashed"


def default_speed(tags: dict[str, str]) -> float:
    """Limit by subtype and location [m/s], where neither the lanelet nor a sign gives one."""
    location = "nonurban" if tags.get("location") == "nonurban" else "urban"
    return SPEEDS.get((tags.get("subtype", "road"), location), URBAN if location == "urban" else NONURBAN)


def speed(given: str) -> float | None:
    """A limit as written, such as `50`, `50 km/h`, `de274-50` or `30mph` [m/s]; None: no limit that is understood."""
    match = re.fullmatch(r"(?:de274(?:\.1)?-|\s*)(\d+(?:\.\d*)?)\s*([a-z/]*)\s*", given.lower())
    if match is None or match[2] not in UNITS or float(match[1]) == 0:
        return None
    return float(match[1]) * UNITS[match[2]]


def _kind(tags: dict[str, str]) -> str | None:
    """One of LANE_KINDS; None: no way for cars."""
    given = SUBTYPES.get(tags.get("subtype", "road"))
    named = {key.removeprefix("participant:"): answer for key, answer in tags.items() if key.startswith("participant:")}
    allowed = {name for name, answer in named.items() if answer in ("yes", "true")}
    if allowed & CARS:
        return "driving"
    if allowed & OTHER_MOTORS:
        return "shoulder"
    if not named or given not in ("driving", None):
        return given
    return "biking" if "bicycle" in allowed and "pedestrian" not in allowed else None
