"""Obstacles and traffic lights of CommonRoad over time, as a Scenario.

Uncertain states count with the middle of their intervals and regions. Not read: sets of occupied places, environment and
phantom obstacles. Planning problems have no vehicle of their own, so a CommonRoad scenario has no ego.
"""

from typing import NamedTuple

import numpy as np
from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.commonroad.values import child, number, place, points, step, value
from gigaflow_env.roads.import_report import left_out
from gigaflow_env.roads.road_map import MapError, Phase, Program
from gigaflow_env.roads.scenario import LIGHT_STATES, Scenario, masked

OBSTACLE_TYPES = {
    **dict.fromkeys(("car", "truck", "bus", "motorcycle", "priorityVehicle", "parkedVehicle", "taxi"), "vehicle"),
    "pedestrian": "pedestrian",
    "bicycle": "cyclist",
}
"""Obstacle types; all others (train, roadBoundary, constructionZone, ...) are "other"."""

COLOURS = {"green": "green", "yellow": "yellow", "red": "red", "redYellow": "red", "inactive": "off"}
MAX_STEPS, MAX_STATES = 100_000, 50_000_000
"""Ours: more steps, or agents times steps, are a mistake in the file rather than a recording."""


class Track(NamedTuple):
    """An obstacle: rows of `states` are step, x, y, z [m], heading [rad], speed [m/s]."""

    id: str
    kind: str
    length: float  # [m]
    width: float  # [m]
    moves: bool
    states: np.ndarray


def read_traffic(root: etree._Element, name: str, source: str) -> Scenario:
    """All obstacles with their states, from step 0 to the last one that any of them has."""
    tracks = [_track(e) for e in root.iterchildren("obstacle", "dynamicObstacle", "staticObstacle")]
    if not tracks:
        raise MapError("the file has no recorded traffic: neither dynamic nor static obstacles")
    steps = int(max(track.states[-1, 0] for track in tracks)) + 1
    if steps > MAX_STEPS or steps * len(tracks) > MAX_STATES:
        raise MapError(f"{len(tracks)} obstacles with {steps} steps: at most {MAX_STEPS} steps, {MAX_STATES} states in all")
    states = np.full((len(tracks), steps, 5), np.nan)
    for agent, track in enumerate(tracks):
        if track.moves:
            states[agent, track.states[:, 0].astype(int)] = track.states[:, 1:]
        else:
            states[agent] = track.states[0, 1:]
    x, y, z, heading, speed = np.moveaxis(states, -1, 0)
    valid = ~np.isnan(x)
    return Scenario(
        name=name,
        dt=xml.number(root, "timeStepSize"),
        ids=tuple(track.id for track in tracks),
        kinds=tuple(track.kind for track in tracks),
        valid=valid,
        x=x.copy(),
        y=y.copy(),
        z=z.copy(),
        heading=heading.copy(),
        velocity_x=speed * np.cos(heading),
        velocity_y=speed * np.sin(heading),
        length=masked(np.array([[track.length] for track in tracks]), valid),
        width=masked(np.array([[track.width] for track in tracks]), valid),
        lights={xml.text(light, "id"): _light_states(light, steps) for light in root.iterfind("trafficLight")},
        source=source,
    )


def _track(element: etree._Element) -> Track:
    role = element.findtext("role", element.tag).strip()
    if role not in ("static", "dynamic", "staticObstacle", "dynamicObstacle"):
        raise xml.wrong(element, f"role {role!r} is neither 'static' nor 'dynamic'")
    length, width = _size(child(element, "shape"))
    first = child(element, "initialState")
    rows = [_state(state) for state in (first, *element.iterfind("trajectory/state"))]
    times = [row[0] for row in rows]
    for state, before, after in zip(element.iterfind("trajectory/state"), times[:-1], times[1:], strict=True):
        if after <= before:
            raise xml.wrong(state, f"time {after:.0f} does not come after {before:.0f}")
    kind = OBSTACLE_TYPES.get(child(element, "type").text or "", "other")
    return Track(xml.text(element, "id"), kind, length, width, role.startswith("dynamic"), np.array(rows))


def _size(shape: etree._Element) -> tuple[float, float]:
    """Length and width [m] of a rectangle, a circle, or of the box around a polygon."""
    if len(shape) != 1 or shape[0].tag not in ("rectangle", "circle", "polygon"):
        raise xml.wrong(shape, "it must be one rectangle, circle or polygon")
    form = shape[0]
    if form.tag == "rectangle":
        size = number(form, "length"), number(form, "width")
    elif form.tag == "circle":
        size = 2 * number(form, "radius"), 2 * number(form, "radius")
    else:
        size = tuple(np.ptp(points(shape, "polygon")[:, :2], axis=0).tolist())
    if min(size) <= 0:
        raise xml.wrong(form, f"length {size[0]} and width {size[1]} m must be above 0")
    return size


def _state(element: etree._Element) -> list[float]:
    """Step, x, y, z [m], heading [rad] and speed [m/s]; a state without velocity stands."""
    speed = value(element, "velocity") if element.find("velocity") is not None else 0.0
    return [step(element, "time"), *_position(child(element, "position")), value(element, "orientation"), speed]


def _position(element: etree._Element) -> list[float]:
    """x, y, z [m]; of a region its middle."""
    for region in ("point", "rectangle/center", "circle/center"):
        found = element.find(region)
        if found is not None:
            return place(found)
    if element.find("polygon") is not None:
        corners = points(element, "polygon")
        return ((corners.min(axis=0) + corners.max(axis=0)) / 2).tolist()
    raise xml.wrong(element, "it must be a point, rectangle, circle or polygon")


def _light_states(light: etree._Element, steps: int) -> np.ndarray:
    """Places in LIGHT_STATES, one for each step: the cycle's, or unknown where the light has none."""
    if light.findtext("active", "true").strip() == "false":
        return np.full(steps, LIGHT_STATES.index("off"), np.int8)
    cycle = light.find("cycle")
    if cycle is None:
        return np.full(steps, LIGHT_STATES.index("unknown"), np.int8)
    parts, offset = _cycle(cycle)
    ends, colours = np.cumsum([duration for _, duration in parts]), [LIGHT_STATES.index(colour) for colour, _ in parts]
    at = np.remainder(np.arange(steps) - offset, ends[-1])
    return np.array(colours, np.int8)[np.minimum(np.searchsorted(ends, at, side="right"), len(ends) - 1)]


def read_program(light: etree._Element, root: etree._Element) -> Program | None:
    """The times of a light; None where the file gives none."""
    if light.findtext("active", "true").strip() == "false":
        return Program((Phase("off", 1.0),))
    cycle = light.find("cycle")
    if cycle is None:
        return None
    program = None
    with left_out("value", f"times of light {light.get('id')}", line=cycle.sourceline):
        (parts, offset), dt = _cycle(cycle), xml.number(root, "timeStepSize")
        if dt <= 0:
            raise xml.wrong(root, f"timeStepSize={dt}: it must be above 0 s")
        phases = tuple(Phase(colour, duration * dt) for colour, duration in parts)
        program = Program(phases, -offset * dt % sum(phase.seconds for phase in phases))
    return program


def _cycle(cycle: etree._Element) -> tuple[list[tuple[str, float]], float]:
    """Colours of a light with their durations, and by how much the first begins later; both in steps."""
    parts = []
    for part in cycle.iterfind("cycleElement"):
        colour, duration = part.findtext("color", "").strip(), number(part, "duration")
        if colour not in COLOURS or duration <= 0:
            raise xml.wrong(part, f"{colour!r} for {duration} steps: a light is {', '.join(COLOURS)} for more than 0 steps")
        parts.append((COLOURS[colour], duration))
    if not parts:
        raise xml.wrong(cycle, "it has no <cycleElement>")
    return parts, number(cycle, "timeOffset") if cycle.find("timeOffset") is not None else 0.0
