"""Speed limits of OpenDRIVE's lanes: their own, that of a sign, their road's, or that of the lanes they are linked to."""

from dataclasses import replace
from typing import Any

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.opendrive.lanes import directions, names
from gigaflow_env.roads.formats.opendrive.limit_signs import LimitSign, in_metres, read_limit_signs
from gigaflow_env.roads.formats.opendrive.strips import Key, Strip
from gigaflow_env.roads.import_report import note
from gigaflow_env.roads.road_map import DEFAULT_SPEED, Lane


def _speed(strip: Strip) -> float | None:
    """Limit of the lane or, without one, of its road in the middle of the section [m/s]; None: not given."""
    road, section = strip.road, strip.key[1]
    low, high = road.bounds[section : section + 2]
    limits = [(low + xml.number_or(e, "sOffset", 0.0), e) for e in strip.element.iterfind("speed")]
    limits = limits or [(xml.number_or(e.getparent(), "s", 0.0), e) for e in road.element.iterfind("type/speed")]
    begun = [e for start, e in limits if start <= (low + high) / 2]
    if not begun:
        return None
    return in_metres(begun[-1], begun[-1].get("max", ""), begun[-1].get("unit", "m/s"))


def _meant(sign: LimitSign, lane: int, forward: bool) -> bool:
    """Whether a sign is for the traffic of a lane in one direction."""
    return sign.orientation != ("-" if forward else "+") and (
        not sign.lanes or any(min(pair) <= lane <= max(pair) for pair in sign.lanes)
    )


def _sign(strip: Strip, forward: bool, signs: list[LimitSign]) -> LimitSign | None:
    """The last sign that traffic in one direction has passed in the middle of a section; None: there is none.

    Signs count up to the end of their road. A sign further along the road is passed first by those who come back.
    """
    section, lane = strip.key[1:]
    middle = strip.road.bounds[section : section + 2].mean()
    passed = [sign for sign in signs if (sign.s <= middle if forward else sign.s >= middle) and _meant(sign, lane, forward)]
    return min(passed, key=lambda sign: abs(sign.s - middle)) if passed else None


def _limits(lanes: dict[str, Lane], strips: dict[Key, Strip]) -> dict[str, float]:
    """Limits that lanes have [m/s]: the lane's own, else the sign's, else the road's."""
    roads = {strip.road.id: strip.road for strip in strips.values()}
    signs = {road.id: read_limit_signs(road.element) for road in roads.values()}
    passed = {
        (strip.key, forward): _sign(strip, forward, signs[strip.road.id])
        for strip in strips.values()
        for forward in (directions(strip) if strip.lines else ())
    }
    held = {(key[0], forward, *sign[1:]) for (key, forward), sign in passed.items() if sign is not None}
    late = _late(lanes, strips, list(passed), signs, held)
    known: dict[str, float] = {}
    for (key, forward), sign in passed.items():
        strip = strips[key]
        own = strip.element.find("speed") is not None
        for name in names(strip, forward):
            said = sign.speed if sign is not None else late.get(name)
            speed = _speed(strip) if own or said is None else said
            if speed is not None:
                known[name] = speed
    return known


def _late(
    lanes: dict[str, Lane],
    strips: dict[Key, Strip],
    driven: list[tuple[Key, bool]],
    signs: dict[str, list[LimitSign]],
    held: set[tuple[Any, ...]],
) -> dict[str, float]:
    """Limits [m/s] of signs so near to the end of their road that no lane of it is behind them.

    They hold on the next road, where a lane leads to one lane only. What holds nowhere is told.

    held: road, direction and facts of the signs that lanes pass; one with the same facts on its other side is the same.
    """
    road_of = {name: key[0] for key, forward in driven for name in names(strips[key], forward)}
    found: dict[str, float] = {}
    said: set[tuple[Any, ...]] = set()
    for road, standing in signs.items():
        for sign in standing:
            facts = sign[1:]
            if sign.speed is None or (road, *facts) in said:
                continue
            said.add((road, *facts))
            before = [
                name
                for key, forward in driven
                if key[0] == road and _meant(sign, key[2], forward) and (road, forward, *facts) not in held
                for name in names(strips[key], forward)
            ]
            behind = {other for name in before for other in _next_road(name, lanes, road_of)}
            found |= dict.fromkeys(behind, sign.speed)
            if behind or not {(road, True, *facts), (road, False, *facts)} & held:
                what = f"a limit at {sign.s:.1f} m of road {road}: no lane of its direction goes on for long behind it"
                done = f"holds on the next road, on {len(behind)} lanes" if behind else "left out"
                note("signal", sign.element.get("id", ""), f"{what}: {done}", line=sign.element.sourceline)
    return found


def _next_road(name: str, lanes: dict[str, Lane], road_of: dict[str, str]) -> list[str]:
    """The lanes of the next road to which a lane leads, where there is only one way to go."""
    found: list[str] = []
    while name in lanes and len(lanes[name].successors) == 1:
        (other,) = lanes[name].successors
        if other in found or road_of.get(other) == road_of[name] and not found:
            break
        if found and road_of.get(other) != road_of[found[0]]:
            break
        found.append(other)
        name = other
    return found


def with_speeds(lanes: dict[str, Lane], strips: dict[Key, Strip]) -> dict[str, Lane]:
    """Lanes with their limits. Connectors often have none: they take the one of what leads in, else of what they lead to."""
    behind: dict[str, list[str]] = {name: [] for name in lanes}
    for lane in lanes.values():
        for other in lane.successors:
            behind[other].append(lane.id)
    known = _limits(lanes, strips)
    for edges in ({name: lane.successors for name, lane in lanes.items()}, behind):
        queue = list(known)
        for name in queue:
            for other in edges[name]:
                if other not in known:
                    known[other] = known[name]
                    queue.append(other)
    return {name: replace(lane, speed=known.get(name, DEFAULT_SPEED)) for name, lane in lanes.items()}
