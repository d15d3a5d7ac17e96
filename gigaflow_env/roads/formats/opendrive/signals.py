"""Traffic lights, stop and yield signs of OpenDRIVE, and the lanes that obey them."""

from collections.abc import Collection
from dataclasses import replace

from lxml import etree

from gigaflow_env.roads.formats.common import xml_file as xml
from gigaflow_env.roads.formats.common.sign_catalogues import STOPS, YIELDS, is_one
from gigaflow_env.roads.formats.opendrive.lanes import driving_lane
from gigaflow_env.roads.formats.opendrive.limit_signs import ORIENTATIONS, is_limit, sign_country
from gigaflow_env.roads.formats.opendrive.road import Road
from gigaflow_env.roads.formats.opendrive.strips import Key, Strip
from gigaflow_env.roads.import_report import left_out, note
from gigaflow_env.roads.road_map import Lane, Signal

LIGHTS = ("1000001", "1000009", "1000010", "1000011", "1000012")
"""Signal types of lights for vehicles, round or arrows. Pedestrian, bicycle and tram lights are left out."""

SIGNAL_REACH = 30.0
"""[m] Ours: a signal that stands on an ordinary road governs the junction ahead if it is nearer than this to it."""


def with_signals(
    lanes: dict[str, Lane], strips: dict[Key, Strip], roads: dict[str, Road], root: etree._Element
) -> tuple[dict[str, Lane], dict[str, Signal]]:
    """Lanes with what controls their entries, and the signals that control any: a light before a stop before a yield.

    A lane obeys one signal. Of two lights at one stop line, the second head on the other side of the road controls none.
    """
    kinds = {e.get("id", ""): _kind(e) for e in root.iterfind("road/signals/signal")}
    rank = ("light", "stop", "yield").index
    chosen: dict[str, str] = {}
    for road in roads.values():
        for element in road.element.iterfind("signals/*"):
            if element.tag not in ("signal", "signalReference"):
                continue
            with left_out("signal", element.get("id") or f"of road {road.id}"):
                signal = xml.text(element, "id")
                if signal not in kinds:
                    raise xml.wrong(element, f"id={signal!r}: there is no such signal")
                if (kind := kinds[signal]) is None:
                    continue
                for name in _governed(element, road, strips, lanes):
                    if name not in chosen or rank(kind) < rank(kinds[chosen[name]]):
                        chosen[name] = signal
    turns = _turns(root, kinds.keys())
    signals: dict[str, Signal] = {}
    for name, signal in chosen.items():
        group, stage = turns.get(signal, (None, None))
        group = lanes[name].junction or "" if group is None else group
        signals.setdefault(signal, Signal(signal, kinds[signal] or "", group, stage))
    return {name: replace(lane, signal=chosen.get(name)) for name, lane in lanes.items()}, signals


def _kind(element: etree._Element) -> str | None:
    """Kind of a signal; None: none that stops anybody.

    Catalogues differ by country, so that only what has no type, or is no known light, is reported.
    """
    kind, of = element.get("type", ""), sign_country(element)
    if kind in LIGHTS:
        return "light"
    for name, catalogues in (("stop", STOPS), ("yield", YIELDS)):
        if is_one(kind, of, catalogues):
            return name
    if not kind:
        xml.fault(element, "signal", f"type={element.get('type')!r}", "left out")
    elif element.get("dynamic") == "yes" and not is_limit(element) and not kind.startswith("1000"):
        note("signal", element.get("id", ""), f"type={kind!r} is no light that is known: left out", line=element.sourceline)
    return None


def _turns(root: etree._Element, signals: Collection[str]) -> dict[str, tuple[str | None, int]]:
    """The junction of each signal that has a controller, and when its controller has its turn there.

    Signals of one controller are always shown the same; controllers of a junction go by their `sequence`. Those that no
    junction names go by theirs, in the junctions of their signals: None.
    """
    controllers = {e.get("id", ""): e for e in root.iterfind("controller")}
    controlled = {
        name: xml.references(element.iterfind("control"), "signalId", signals, "signal", f"control of controller {name}")
        for name, element in controllers.items()
    }
    turns: dict[str, tuple[str | None, int]] = {}
    alone = sorted(controllers.items(), key=lambda pair: xml.number_or(pair[1], "sequence", 0.0))
    for stage, (name, _) in enumerate(alone):
        turns |= dict.fromkeys(controlled[name], (None, stage))
    for junction in root.iterfind("junction"):
        named: list[tuple[float, etree._Element]] = []
        for element in junction.iterfind("controller"):
            with left_out("reference", f"controller of junction {junction.get('id')}"):
                if xml.text(element, "id") not in controllers:
                    raise xml.wrong(element, f"id={element.get('id')!r}: there is no such controller")
                controller = controllers[element.get("id", "")]
                own = xml.number_or(controller, "sequence", 0.0)
                named.append((xml.number_or(element, "sequence", own), controller))
        for stage, (_, controller) in enumerate(sorted(named, key=lambda pair: pair[0])):
            turns |= dict.fromkeys(controlled[controller.get("id", "")], (junction.get("id", ""), stage))
    return turns


def _governed(element: etree._Element, road: Road, strips: dict[Key, Strip], lanes: dict[str, Lane]) -> list[str]:
    """The connectors whose entries a signal or a reference to one controls.

    On a connecting road these are its own lanes, on another road those into which its lanes lead. The validity elements
    name the lanes; without any, the orientation says which direction is meant.
    """
    s, last = xml.number(element, "s"), len(road.sections) - 1
    valid = [(xml.integer(e, "fromLane"), xml.integer(e, "toLane")) for e in element.iterfind("validity")]
    orientation = xml.word(element, "orientation", ORIENTATIONS, "none")
    names: list[str] = []
    for forward in (True, False):
        if road.junction is None and (road.length - s if forward else s) > SIGNAL_REACH:
            continue
        section = 0 if forward == (road.junction is not None) else last  # where lanes begin here, where they end there
        for lane in road.sections[section].iterfind("*/lane"):
            number = xml.integer(lane, "id")
            named = any(min(pair) <= number <= max(pair) for pair in valid)
            meant = named if valid else orientation != ("-" if forward else "+")
            if meant and (name := driving_lane(strips, (road.id, section, number), forward)) is not None:
                names.append(name)
    if road.junction is not None:
        return names
    return [other for name in names for other in lanes[name].successors if lanes[other].junction is not None]
