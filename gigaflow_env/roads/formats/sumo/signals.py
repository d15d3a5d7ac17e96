"""Traffic lights, stop and yield signs of a SUMO network, by the connections that they control."""

from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.sumo.lanes import Net
from gigaflow_env.roads.formats.sumo.links import Link, junction_of
from gigaflow_env.roads.import_report import left_out
from gigaflow_env.roads.road_map import Signal

PRIORITY = "M"
YIELD = "m="
STOP = "sw"
"""States of connections without traffic light: major; minor and equal; stop and all-way stop."""
OPEN = set("GgOo")
"""States in which a light does not stop anybody: green, and switched off."""


def read_signals(root: etree._Element, net: Net, links: list[Link]) -> tuple[dict[str, Signal], dict[str, str]]:
    """All signals that control the entry of a lane, and the signal of each such lane.

    Connections of one program that are always shown the same are one light; those that never have to stop have none. A sign
    stands where an edge ends at a junction and nothing leads on with priority. Where several connections lead into a lane
    directly, without a lane inside of the junction, its entry is controlled if all are controlled by the same signal.
    """
    programs: dict[str, list[str]] = {}
    for element in root.iterfind("tlLogic"):
        with left_out("signal", element.get("id") or "", line=element.sourceline):
            states = [xml.text(phase, "state") for phase in element.iterfind("phase")]
            programs.setdefault(xml.text(element, "id"), states)  # of several programs the first one
    signs = _signs(root, net)
    first: dict[tuple[str, ...], int] = {}
    entries: dict[str, set[Signal | None]] = {}
    for link in links:
        found = [_signal(element, programs, signs, first, net) for element in link.connections]
        entries.setdefault(link.end, set()).add(next((signal for signal in found if signal is not None), None))
    chosen = {lane: signal for lane, found in entries.items() for signal in found if len(found) == 1 and signal is not None}
    return {signal.id: signal for signal in chosen.values()}, {lane: signal.id for lane, signal in chosen.items()}


def _signal(
    element: etree._Element,
    programs: dict[str, list[str]],
    signs: dict[str, Signal],
    first: dict[tuple[str, ...], int],
    net: Net,
) -> Signal | None:
    """What controls a connection. `first` remembers the lowest link of each light."""
    start, tl = xml.text(element, "from"), element.get("tl")
    if tl is None:
        return signs.get(start)
    index, states = -1, programs.get(tl, [])
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
    return Signal(f"{tl}/{first.setdefault((tl, *shown), index)}", "light", tl)


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
