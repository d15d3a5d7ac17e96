"""Traffic lights, stop and yield signs of a SUMO network, by the connections that they control."""

from itertools import groupby
from typing import NamedTuple

from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.sumo.lanes import Net
from gigaflow_env.roads.formats.sumo.links import Link, junction_of
from gigaflow_env.roads.import_report import left_out, note
from gigaflow_env.roads.road_map import MapError, Phase, Program, Signal

PRIORITY = "M"
YIELD = "m="
STOP = "sw"
"""States of connections without traffic light: major; minor and equal; stop and all-way stop."""
OPEN = set("GgOo")
"""States in which a light does not stop anybody: green, and switched off."""
FOR_TRAINS = ("rail_signal", "rail_crossing")
"""Types of junctions and of programs whose lights wait for trains. They have no phases."""
LETTERS = set("rRuyYgGsoO")
"""All states of a link."""
SHOWN = {**dict.fromkeys("Ggs", "green"), **dict.fromkeys("yY", "yellow"), **dict.fromkeys("oO", "off")}
"""What is seen of a state; others are red. Who turns at an arrow (s) may go, too: a light can't ask to stop first."""


class Logic(NamedTuple):
    """A program of the lights of a junction."""

    name: str  # the attribute programID
    states: list[str]  # of each phase: a letter for each link
    seconds: list[float]  # of each phase; empty where they can't be read
    offset: float  # [s] by which the program begins later


def read_signals(
    root: etree._Element, net: Net, links: list[Link], program: str | None = None
) -> tuple[dict[str, Signal], dict[str, str]]:
    """All signals that control the entry of a lane, and the signal of each such lane.

    program: name of the lights' program, where there are several; else the last one in the file holds, as in SUMO.

    Connections of one program that are always shown the same are one light; those that never have to stop have none. A sign
    stands where an edge ends at a junction and nothing leads on with priority. Where several connections lead into a lane
    directly, without a lane inside of the junction, its entry is controlled if all are controlled by the same signal.
    """
    programs = _logics(root, program)
    crossings = {junction.get("id", "") for junction in root.iterfind("junction") if junction.get("type") in FOR_TRAINS}
    signs = _signs(root, net)
    first: dict[tuple[str, ...], int] = {}
    entries: dict[str, set[Signal | None]] = {}
    for link in links:
        found = [_signal(element, programs, signs, first, crossings) for element in link.connections]
        entries.setdefault(link.end, set()).add(next((signal for signal in found if signal is not None), None))
    chosen = {lane: signal for lane, found in entries.items() for signal in found if len(found) == 1 and signal is not None}
    return {signal.id: signal for signal in chosen.values()}, {lane: signal.id for lane, signal in chosen.items()}


def _logics(root: etree._Element, program: str | None) -> dict[str, Logic]:
    """The program of each junction with lights."""
    every: dict[str, list[Logic]] = {}
    for element in root.iterfind("tlLogic"):
        with left_out("signal", element.get("id") or "", line=element.sourceline):
            states = [_state(phase) for phase in element.iterfind("phase")]
            if not states and element.get("type") in FOR_TRAINS:
                continue
            if not states:
                raise xml.wrong(element, "a program without phases")
            logic = Logic(element.get("programID", ""), states, _seconds(element), xml.number_or(element, "offset", 0.0))
            every.setdefault(xml.text(element, "id"), []).append(logic)
    names = {logic.name for logics in every.values() for logic in logics}
    if program is not None and program not in names:
        raise MapError(f"program={program!r}: no light has it; the file has {', '.join(map(repr, sorted(names))) or 'none'}")
    return {name: next((logic for logic in logics if logic.name == program), logics[-1]) for name, logics in every.items()}


def _state(phase: etree._Element) -> str:
    """The letters of a phase, one for each link; those that there are not are reported, and red."""
    state = xml.text(phase, "state")
    if odd := set(state) - LETTERS:
        xml.fault(phase, "value", f"state={state!r} has {', '.join(map(repr, sorted(odd)))}, which is none", "red there")
    return state


def _seconds(element: etree._Element) -> list[float]:
    """How long each phase of a program lasts; none where one of them is missing or is no time."""
    kind, name = element.get("type", "static"), element.get("id") or ""
    if kind == "NEMA":
        note("signal", name, "two rings of phases at a time (NEMA) are not read: a program is made", line=element.sourceline)
        return []
    phases = element.findall("phase")
    if kind != "static" or any(phase.get("next") for phase in phases):
        what = f"type {kind!r}" if kind != "static" else "phases that do not follow each other"
        note("signal", name, f"{what}: its phases run in order, for their usual times", line=element.sourceline)
    seconds: list[float] = []
    with left_out("value", f"times of light {name}", line=element.sourceline):
        found = [xml.number(phase, "duration") for phase in phases]
        for phase, duration in zip(phases, found, strict=True):
            if duration < 0:
                raise xml.wrong(phase, f"duration={duration}: it must be at least 0 s")
        seconds = found
    return seconds if sum(seconds) > 0 else []


def _program(logic: Logic, index: int) -> Program | None:
    """What one link is shown, as a program."""
    if not logic.seconds:
        return None
    shown = [
        (SHOWN.get(state[index], "red"), seconds)
        for state, seconds in zip(logic.states, logic.seconds, strict=True)
        if seconds > 0
    ]
    phases = tuple(
        Phase(colour, sum(seconds for _, seconds in parts)) for colour, parts in groupby(shown, key=lambda part: part[0])
    )
    return Program(phases, -logic.offset % sum(logic.seconds))  # a positive offset delays


def _signal(
    element: etree._Element,
    programs: dict[str, Logic],
    signs: dict[str, Signal],
    first: dict[tuple[str, ...], int],
    crossings: set[str],
) -> Signal | None:
    """What controls a connection. `first` remembers the lowest link of each light; crossings: of a railway."""
    start, tl = xml.text(element, "from"), element.get("tl")
    if tl in crossings and tl not in programs:
        note("signal", tl, "lights that wait for trains, which there are not: left out", line=element.sourceline)
        return None
    if tl is None:
        if element.get("linkIndex") is not None:
            what = f"linkIndex={element.get('linkIndex')!r} of a connection without tl"
            xml.fault(element, "signal", what, "no light there")
        return signs.get(start)
    index, states = -1, programs[tl].states if tl in programs else []
    with left_out("signal", f"light of the connection from {start}", line=element.sourceline):
        if tl not in programs:
            raise xml.wrong(element, f"tl={tl!r}: there is no such tlLogic")
        index = xml.integer(element, "linkIndex")
        if not all(0 <= index < len(state) for state in states):
            wrong, index = index, -1
            raise xml.wrong(element, f"linkIndex={wrong}: the states of tlLogic {tl!r} are shorter than that")
    if index < 0:
        return None
    shown = tuple(state[index] for state in states)
    if OPEN.issuperset(shown):
        return None
    if set(shown) == {"r"}:
        note("signal", f"{tl}/{index}", "it is always red", line=element.sourceline)
    return Signal(f"{tl}/{first.setdefault((tl, *shown), index)}", "light", tl, program=_program(programs[tl], index))


def _signs(root: etree._Element, net: Net) -> dict[str, Signal]:
    """Signs at the ends of edges, by edge."""
    states: dict[str, set[str]] = {}
    for element in root.iterfind("connection"):
        edge = net.edges.get(element.get("from", ""))
        if edge is None:
            continue  # reported with the links
        if element.get("tl") is None and edge.get("function") != "internal":
            states.setdefault(xml.text(edge, "id"), set()).add(element.get("state", PRIORITY))
    signs = {}
    for name, found in states.items():
        kind = "stop" if found & set(STOP) else "yield" if found <= set(YIELD) and "m" in found else None
        if kind is not None:
            junction = junction_of(net.edges[name])
            signs[name] = Signal(f"{junction}/{name}/{kind}", kind, junction)
    return signs
