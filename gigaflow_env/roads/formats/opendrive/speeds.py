"""Speed limits of OpenDRIVE's lanes: their own, their road's, or that of the lanes they are linked to."""

from dataclasses import replace

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.opendrive.lanes import name_of
from gigaflow_env.roads.formats.opendrive.strips import Key, Strip
from gigaflow_env.roads.road_map import Lane

UNITS = {"m/s": 1.0, "km/h": 1 / 3.6, "mph": 0.44704}
DEFAULT_SPEED = 13.9
"""[m/s] 50 km/h, where neither a lane nor its road nor what it is linked to has a limit."""


def _speed(strip: Strip) -> float | None:
    """Limit of the lane or, without one, of its road in the middle of the section [m/s]; None: not given."""
    road, section = strip.road, strip.key[1]
    low, high = road.bounds[section : section + 2]
    limits = [(low + xml.number(e, "sOffset", 0.0), e) for e in strip.element.iterfind("speed")]
    limits = limits or [(xml.number(e.getparent(), "s", 0.0), e) for e in road.element.iterfind("type/speed")]
    begun = [e for start, e in limits if start <= (low + high) / 2]
    if not begun or begun[-1].get("max") in ("no limit", "undefined"):
        return None
    unit = begun[-1].get("unit", "m/s")
    if unit not in UNITS:
        raise xml.wrong(begun[-1], f"unit={unit!r} is not one of {', '.join(UNITS)}")
    speed = xml.number(begun[-1], "max") * UNITS[unit]
    return speed if speed > 0 else None  # some programs write 0 or -1 for no limit


def with_speeds(lanes: dict[str, Lane], strips: dict[Key, Strip]) -> dict[str, Lane]:
    """Lanes with their limits. Connectors often have none: they take the one of what leads in, else of what they lead to."""
    behind: dict[str, list[str]] = {name: [] for name in lanes}
    for lane in lanes.values():
        for other in lane.successors:
            behind[other].append(lane.id)
    known = {
        name: speed
        for strip in strips.values()
        for name in (name_of(strip.key), name_of(strip.key, back=True))
        if name in lanes and (speed := _speed(strip)) is not None
    }
    for edges in ({name: lane.successors for name, lane in lanes.items()}, behind):
        queue = list(known)
        for name in queue:
            for other in edges[name]:
                if other not in known:
                    known[other] = known[name]
                    queue.append(other)
    return {name: replace(lane, speed=known.get(name, DEFAULT_SPEED)) for name, lane in lanes.items()}
