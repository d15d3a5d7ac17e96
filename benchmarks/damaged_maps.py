"""Damaged maps: whatever is missing in a file, it ends in a map or an error, and no loss is silent.

`python benchmarks/damaged_maps.py FILE ...` deletes, empties and dangles every kind of attribute (XML), key (JSON) or field
(a record of Waymo) of each file, and deletes every kind of element, one at a time. Recorded traffic of TFRecord and GPUDrive
files is read and compared, too. A kind is a path of names from the root; of each kind the first, the
last and those between are taken, `each` in all; of very many damaged versions `sample` are drawn. What is lost is found by
comparing counts with those of the intact file.
Exit status 1 if a file ends in anything but a map or a MapError, or loses something without an entry in the import report.
"""

import copy
import json
import random
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import damaged_records
import tyro
from lxml import etree

from gigaflow_env.bench.machine import machine
from gigaflow_env.files import write_text
from gigaflow_env.roads import MapError, MapWarning, RoadMap, Scenario, load, load_scene
from gigaflow_env.roads.scenario import LIGHT_STATES

FREE = (
    "objects/object type dangling", "type/speed max empty", "lane/speed max empty", "] k dangling",
    "trafficSignID text dangling", "edge/lane allow empty", "road rule deleted", "lane direction deleted",
)  # fmt: skip
"""Ends of what is no damage: any word is right there, or none, and another one means another map."""
OPTIONAL = ("/tl_states", "/metadata", "/sdc_track_index", "/tracks_to_predict")
"""Keys of GPUDrive's scenes that older ones don't have."""
UNKNOWN = LIGHT_STATES.index("unknown")
TRACKS = ("valid", "x", "y", "z", "heading", "velocity_x", "velocity_y", "length", "width")
NOWHERE = "nowhere"
"""What a reference leads to, and what a number or a word becomes."""


@dataclass(frozen=True)
class Damage:
    """Damage map files in every way, and count what comes of it."""

    files: Annotated[tuple[Path, ...], tyro.conf.Positional]
    each: int = 2
    """Places of each kind."""
    sample: int | None = None
    """Damaged versions of each file, drawn by `seed`; all of them without it."""
    seed: int = 0
    limit: float = 60.0
    """Processor seconds that one damaged file may take."""
    json: Path | None = None
    """Write the result into this file."""


class Damaged(NamedTuple):
    """A file with one thing wrong."""

    what: str
    data: Callable[[], bytes]  # to be called before the next version is asked for
    whole: bool = False  # a whole element is gone, or another one is there: nobody can know of the first one
    word: bool = False  # a value is emptied or leads nowhere, and it is no name: the map is the same, or it is told


def damaged(path: Path, each: int) -> Iterator[Damaged]:
    """All damaged versions of a file: XML, JSON or TFRecord."""
    if ".tfrecord" in path.name:
        return _damaged_record(path, each)
    data = path.read_bytes()
    return _damaged_xml(data, each) if data.lstrip()[:1] == b"<" else _damaged_json(data, each)


def _damaged_xml(data: bytes, each: int) -> Iterator[Damaged]:
    root = etree.fromstring(data, etree.XMLParser(huge_tree=True))
    write = partial(etree.tostring, root)
    kinds: dict[str, list[etree._Element]] = {}
    for element in root.iter(etree.Element):
        kinds.setdefault(_path_of(element), []).append(element)
    for kind, elements in kinds.items():
        for element in _some(elements, each):
            where = f"{kind} (line {element.sourceline})"
            for name, given in dict(element.attrib).items():
                for done, new in (("deleted", None), ("empty", ""), ("dangling", NOWHERE)):
                    if new is None:
                        del element.attrib[name]
                    else:
                        element.attrib[name] = new
                    free = f"{kind} {name} {done}".endswith(FREE)
                    yield Damaged(f"{where} {name} {done}", write, free, new is not None and name != "id" and not free)
                    element.attrib[name] = given
            if element.text and element.text.strip() and not len(element):
                given = element.text
                for done, new in (("empty", ""), ("dangling", NOWHERE)):
                    element.text = new
                    free = f"{kind} text {done}".endswith(FREE)
                    yield Damaged(f"{where} text {done}", write, free, word=not free)
                element.text = given
            parent = element.getparent()
            if parent is not None:
                at = parent.index(element)
                parent.remove(element)
                yield Damaged(f"{where} deleted", write, whole=True)
                parent.insert(at, element)


def _path_of(element: etree._Element) -> str:
    """Names from the root; with the key of an OpenStreetMap tag, and the value where that is a kind."""
    names = [element.tag, *(parent.tag for parent in element.iterancestors())][::-1]
    key = element.get("k", "")
    of = f"[{key}={element.get('v')}]" if key in ("type", "subtype") else f"[{key}]"
    return "/".join(map(str, names)) + (of if element.tag == "tag" else "")


def _damaged_json(data: bytes, each: int) -> Iterator[Damaged]:
    given = json.loads(data)
    kinds: dict[str, list[tuple[Any, Any]]] = {}

    def walk(value: Any, path: str) -> None:
        for key, inside in value.items() if isinstance(value, dict) else enumerate(value):
            # Keys that are ids, and places in lists, are not kinds.
            name = f"{path}/{key}" if isinstance(value, dict) and not str(key).lstrip("-").isdigit() else f"{path}/*"
            kinds.setdefault(name, []).append((value, key))
            if isinstance(inside, (dict, list)):
                walk(inside, name)

    walk(given, "")
    for kind, places in kinds.items():
        for place, key in _some(places, each):
            before = copy.copy(place)
            for done, new in (("deleted", None), ("null", None), ("empty", type(place[key])()), ("dangling", NOWHERE)):
                if done == "deleted":
                    del place[key]
                else:
                    place[key] = new
                whole = done == "deleted" and (isinstance(place, list) or kind.endswith("*"))
                # An empty list may be so, and a lane segment without neighbour.
                whole |= done == "empty" and isinstance(before[key], (list, dict))
                whole |= done == "null" and str(key).endswith("_neighbor_id")
                whole |= done == "empty" and isinstance(before[key], bool)  # no is an answer
                whole |= done in ("deleted", "null") and kind.endswith(OPTIONAL)
                word = done == "dangling" and key != "id"  # a number that is emptied is 0, which is one
                yield Damaged(f"{kind} ({key}) {done}", lambda: json.dumps(given).encode(), whole, word)
                place.clear()  # the order stays
                place.update(before) if isinstance(place, dict) else place.extend(before)


def _damaged_record(path: Path, each: int) -> Iterator[Damaged]:
    for change in damaged_records.changes(damaged_records.record_of(path), each):
        what = f"{change.kind} {change.where} {change.done}"
        yield Damaged(what, partial(damaged_records.framed, change.record), change.whole, change.word)


def _some(places: list, each: int) -> list:
    """The first, the last and those between them at even distances."""
    count = min(each, len(places))
    return [places[round(k * (len(places) - 1) / max(count - 1, 1))] for k in range(count)]


def _has_traffic(path: Path) -> bool:
    """Whether a file has recorded traffic that is compared, too."""
    return ".tfrecord" in path.name or (path.suffix == ".json" and b'"valid"' in path.read_bytes())


def sizes(road_map: RoadMap, scenario: Scenario | None = None) -> dict[str, float]:
    """What of a map and its traffic may be lost."""
    lanes = road_map.lanes.values()
    traffic = (
        {}
        if scenario is None
        else {
            "agents": scenario.agents,
            "moments": float(scenario.valid.sum()),
            "states of lights": float(sum((states != UNKNOWN).sum() for states in scenario.lights.values())),
            "ego": float(scenario.ego is not None),
            "to predict": len(scenario.predict),
            "road edges": len(scenario.road_edges),
        }
    )
    return traffic | {
        "lanes": len(lanes),
        "driving lanes": sum(lane.kind == "driving" for lane in lanes),
        "links": sum(len(lane.successors) for lane in lanes),
        "lane changes": sum((lane.left is not None) + (lane.right is not None) for lane in lanes),
        "lanes in junctions": sum(lane.junction is not None for lane in lanes),
        "lanes with a signal": sum(lane.signal is not None for lane in lanes),
        "programs": sum(signal.program is not None for signal in road_map.signals.values()),
        "crosswalks": len(road_map.crosswalks),
    }


def content(road_map: RoadMap, scenario: Scenario | None = None) -> tuple[Any, ...]:
    """All that cars meet of a map and its traffic, to be compared."""
    lanes = [
        (lane.id, lane.kind, lane.speed, lane.left, lane.right, lane.successors, lane.junction, lane.signal, lane.twin,
         lane.line.tobytes())
        for lane in road_map.lanes.values()
    ]  # fmt: skip
    crosswalks = [(crosswalk.id, crosswalk.outline.tobytes()) for crosswalk in road_map.crosswalks.values()]
    traffic: list[Any] = []
    if scenario is not None:
        lights = [(light, states.tolist()) for light, states in scenario.lights.items()]
        tracks = [getattr(scenario, name).tobytes() for name in TRACKS]
        traffic = [scenario.ids, scenario.kinds, scenario.ego, scenario.predict, lights, tracks, scenario.dt]
    return lanes, list(road_map.signals.values()), crosswalks, road_map.left_hand, traffic


def examined(
    path: Path,
    each: int,
    limit: float,
    read: Callable[[Path], RoadMap | tuple[RoadMap, Scenario]] | None = None,
    sample: int | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """What comes of all damaged versions of a file, or of a sample of them: counts, and every one that is wrong."""
    counts: Counter[str] = Counter()
    every = range(sum(1 for _ in damaged(path, each)))
    drawn = set(every if sample is None else random.Random(seed).sample(every, min(sample, len(every))))
    wrong: list[str] = []
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", MapWarning)
        warnings.filterwarnings("ignore", message=r".*lane changes are left out", category=UserWarning)
        read = read or (load_scene if _has_traffic(path) else load)
        intact = _both(read(path))
        before, told = sizes(*intact), Counter(entry[:3] for entry in intact[0].report)
        whole_map = content(*intact)
        for number, (what, data, whole, word) in enumerate(damaged(path, each)):
            if number not in drawn:
                continue
            target = Path(folder) / path.name
            target.write_bytes(data())
            began = time.process_time()
            counts["files"] += 1
            try:
                found = _both(read(target))
            except MapError as error:
                counts["errors"] += 1
                if path.name not in str(error):
                    wrong.append(f"{what}: the error does not name the file: {error}")
                continue
            except Exception as error:  # what this looks for
                wrong.append(f"{what}: {type(error).__name__}: {error}")
                continue
            counts["maps"] += 1
            said = Counter(entry[:3] for entry in found[0].report) - told
            counts["maps with a warning"] += bool(said)
            lost = [f"{name} {before[name]:g} to {now:g}" for name, now in sizes(*found).items() if now < before[name]]
            if lost and not said and not whole:
                wrong.append(f"{what}: lost in silence: {', '.join(lost)}")
            elif word and not said and content(*found) != whole_map:
                wrong.append(f"{what}: another map in silence")
            if (seconds := time.process_time() - began) > limit:
                wrong.append(f"{what}: {seconds:.0f} s")
    return {**counts, "of": len(every), "wrong": wrong}


def _both(given: RoadMap | tuple[RoadMap, Scenario]) -> tuple[RoadMap, Scenario | None]:
    return (given, None) if isinstance(given, RoadMap) else given


def main(argv: Sequence[str] | None = None) -> int:
    given = tyro.cli(Damage, args=argv)
    found = {}
    for path in given.files:
        found[path.name] = examined(path, given.each, given.limit, sample=given.sample, seed=given.seed)
        print(path.name, json.dumps(found[path.name], indent=1), flush=True)
        if given.json is not None:  # after each file: all of them take an hour
            command = " ".join(["benchmarks/damaged_maps.py", *sys.argv[1:]])
            result = {"maps": found, "each": given.each, **machine(), "command": command}
            write_text(given.json, json.dumps(result, indent=1) + "\n")
    return int(any(one["wrong"] for one in found.values()))


if __name__ == "__main__":
    sys.exit(main())
