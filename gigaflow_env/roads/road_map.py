"""RoadMap: the readable map. Every importer and the town generator make one; the compiler turns it into kernel tables.

Coordinates are metres in a right-handed frame (x east, y north, z up), headings radians counter-clockwise from x.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

X, Y, Z, HEADING, WIDTH = range(5)
"""Columns of `Lane.line`."""

LANE_KINDS = ("driving", "shoulder", "parking", "biking")
SIGNAL_KINDS = ("light", "stop", "yield")
COLOURS = ("off", "green", "yellow", "red")
"""What a light shows; the places are those of the kernels, see state.py."""
MAX_CYCLE = 86_400.0
"""[s] Ours: a program of lights takes a day at most."""
DEFAULT_SPEED = 13.9
"""[m/s] Limit of a lane where a file gives none. Ours: 50 km/h, the limit of most towns."""


class MapError(ValueError):
    """A map that can't be read or is not consistent; the message names file, element and line, and what would be right.

    line: of the file, where the error is about one; reason: the message without it.
    """

    def __init__(self, message: str, *, line: int | None = None, reason: str | None = None) -> None:
        super().__init__(message)
        self.line, self.reason = line, message if reason is None else reason


class MapWarning(UserWarning):
    """Something of a map file was repaired or left out; `RoadMap.report` has all of it."""


@dataclass(frozen=True)
class Lane:
    """A directed strip of road.

    `line` holds the knots of the center line along the direction of travel, float64 (knots, 5): x, y, z [m], heading [rad],
    width [m]. Between two knots the center is the cubic Hermite curve whose end tangents point along the headings and are
    as long as the chord; z and width are linear. At least two knots, consecutive knots at least 1 cm apart.
    """

    id: str
    line: np.ndarray
    kind: str = "driving"  # one of LANE_KINDS; only driving lanes are routed, all kinds belong to the drivable area
    speed: float = DEFAULT_SPEED  # limit [m/s]
    successors: tuple[str, ...] = ()  # lanes which begin where this one ends
    left: str | None = None  # neighbour of the same direction into which a lane change is permitted
    right: str | None = None
    junction: str | None = None  # id of the junction this connector belongs to
    signal: str | None = None  # what controls the entry: its stop line is the start of this lane
    twin: str | None = None  # the lane of the other direction on the same surface, where traffic may go both ways


class Phase(NamedTuple):
    """One colour of a light, and for how long."""

    colour: str  # one of COLOURS
    seconds: float


class Program(NamedTuple):
    """What a light shows, over and over: its phases one after the other."""

    phases: tuple[Phase, ...]
    offset: float = 0.0  # [s] time in its cycle when the world begins

    @property
    def cycle(self) -> float:
        """Length of a round [s]."""
        return sum(phase.seconds for phase in self.phases)


@dataclass(frozen=True)
class Signal:
    """A traffic light, stop or yield sign; the lanes that obey it name it in `Lane.signal`.

    A light's program is the file's; `signal_phases.programs` makes one where a file gives none, in which lights of one group
    and one stage are green together, and stages have their turns in order.
    """

    id: str
    kind: str = "light"  # one of SIGNAL_KINDS
    group: str = ""  # lights of one group belong to one controller (as a rule: one junction)
    stage: int | None = None  # when it has its turn in its group, where the file says
    program: Program | None = None  # its times, where the file says


@dataclass(frozen=True)
class Crosswalk:
    """Where people on foot cross: an outline."""

    id: str
    outline: np.ndarray  # (corners, 3): x, y, z [m]


class Entry(NamedTuple):
    """One thing that an import repaired, assumed or left out."""

    kind: str  # what it is about: road, lane, link, reference, geometry, value, signal, crosswalk, junction, ...
    element: str  # its name in the file
    done: str  # what was wrong, and what was done about it
    line: int | None = None  # of the file, where it has lines
    place: tuple[float, float] | None = None  # x, y [m], where there is one
    amount: float | None = None  # how much, in `unit`
    unit: str = ""

    def __str__(self) -> str:
        where = [] if self.line is None else [f"line {self.line}"]
        where += [] if self.place is None else [f"at ({self.place[0]:.1f}, {self.place[1]:.1f})"]
        return f"{self.kind} {self.element}{' (' + ', '.join(where) + ')' if where else ''}: {self.done}"


@dataclass(frozen=True)
class RoadMap:
    """A map: lanes, signals and crosswalks by id, and where it comes from. See `validate` for what must hold."""

    name: str
    lanes: dict[str, Lane]
    signals: dict[str, Signal] = field(default_factory=dict)
    crosswalks: dict[str, Crosswalk] = field(default_factory=dict)
    left_hand: bool = False  # traffic keeps left
    source: str = ""  # where the map comes from
    licence: str = ""
    attribution: str = ""
    report: tuple[Entry, ...] = field(default=(), compare=False)  # what its import repaired or left out


def validate(road_map: RoadMap) -> None:
    """Raise MapError for the first thing that is wrong, naming the lane, signal or crosswalk it is about."""
    if not any(lane.kind == "driving" for lane in road_map.lanes.values()):
        raise MapError(f"map {road_map.name!r} has no driving lane")
    for key, signal in road_map.signals.items():
        if key != signal.id:
            raise MapError(f"signal {signal.id!r} is filed under {key!r}: the key must be the id")
        if signal.kind not in SIGNAL_KINDS:
            raise MapError(f"signal {key!r}: kind {signal.kind!r} is not one of {', '.join(SIGNAL_KINDS)}")
        if signal.program is not None and (wrong := program_fault(signal.program)) is not None:
            raise MapError(f"signal {key!r}: {wrong}")
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
        if lane.twin is not None and (lane.twin not in road_map.lanes or road_map.lanes[lane.twin].twin != key):
            raise MapError(f"lane {key!r}: its twin {lane.twin!r} must be another lane, whose twin it is")
        _validate_line(lane)
        _validate_links(lane, road_map.lanes)


def program_fault(program: Program) -> str | None:
    """What is wrong with a program; None: nothing."""
    for number, phase in enumerate(program.phases):
        if phase.colour not in COLOURS:
            return f"phase {number} of its program shows {phase.colour!r}, which is not one of {', '.join(COLOURS)}"
        if not 0 < phase.seconds <= MAX_CYCLE:
            return f"phase {number} of its program lasts {phase.seconds} s: it must be above 0, at most {MAX_CYCLE:.0f} s"
    if not 0 < program.cycle <= MAX_CYCLE:
        return f"its program takes {program.cycle} s: it must have phases, and take at most {MAX_CYCLE:.0f} s"
    if not math.isfinite(program.offset):
        return f"its program begins at {program.offset} s: that must be a finite number"
    return None


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
    for side, beside, back in (("left", lane.left, "right"), ("right", lane.right, "left")):
        found = None if beside is None else getattr(lanes[beside], back)
        if found not in (None, lane.id):
            raise MapError(f"lane {lane.id!r} has {beside!r} on its {side}, but that has {found!r} on its {back}")
