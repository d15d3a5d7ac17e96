"""A road map as one HTML page: pan, zoom, layers, search, and the facts of what is clicked. Needs no library, no network.

What the import repaired or left out, and what a mapping engineer should look at, are layers of it to click through.
"""

import json
from importlib import resources
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env.files import write_text
from gigaflow_env.render.pieces import Piece, crosswalk_levels, cut, edges
from gigaflow_env.roads import import_report, problems
from gigaflow_env.roads.formats.lanes_json import document
from gigaflow_env.roads.road_map import RoadMap
from gigaflow_env.roads.summary import summary

SCRIPTS = ("model.js", "paint.js", "marks.js", "view.js", "panel.js", "main.js")
"""In the order in which they build on each other."""


def write_page(road_map: RoadMap, path: str | Path) -> None:
    """Write the map as a page for a browser, complete or not at all.

    Raises MapError for an inconsistent map, ValueError for another suffix than .html, OSError where it can't be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise ValueError(f"{path}: pages are written as .html")
    write_text(path, page(road_map))


def page(road_map: RoadMap) -> str:
    """The page's text: template, style and scripts of `render/web`, and the map as JSON in the format of `*.lanes.json`."""
    given = given_map(road_map) | {
        "report": import_report.records(road_map.report),
        "problems": problems.records(problems.problems(road_map)),
    }
    web = resources.files("gigaflow_env.render") / "web"
    parts = {
        "STYLE": (web / "page.css").read_text(encoding="utf-8"),
        "SCRIPT": "\n".join((web / name).read_text(encoding="utf-8") for name in SCRIPTS),
        "DATA": _json(given),
    }
    text = (web / "page.html").read_text(encoding="utf-8")
    # Split first: what is put in must not be searched for the next name.
    head, _, rest = text.partition("{{STYLE}}")
    middle, _, rest = rest.partition("{{DATA}}")
    gap, _, tail = rest.partition("{{SCRIPT}}")
    return "".join([head, parts["STYLE"], middle, parts["DATA"], gap, parts["SCRIPT"], tail])


def given_map(road_map: RoadMap) -> dict[str, Any]:
    """What the scripts of `render/web` make their map of, ready for JSON. Raises MapError for an inconsistent map."""
    records = document(road_map)  # first: it validates
    pieces = cut(road_map)
    return {
        "map": records,
        "facts": summary(road_map),
        "levels": _levels(pieces),
        "edges": [[_steps(line) for line in lines] for lines in edges(pieces)],
        "crosswalk_levels": {key: level for key, level in crosswalk_levels(road_map, pieces).items() if level},
    }


def _levels(pieces: list[Piece]) -> dict[str, list[list[Any]]]:
    """Of each lane that is not on the ground all along: its parts, [start [m], end [m], level]."""
    found = {}
    for lane, own in groupby(pieces, key=lambda piece: piece.lane.id):
        runs = [list(run) for _, run in groupby(own, key=attrgetter("level"))]
        if any(run[0].level for run in runs):
            found[lane] = [[round(run[0].start, 2), round(run[-1].end, 2), run[0].level] for run in runs]
    return found


def _steps(line: np.ndarray) -> list[int]:
    """A line (points, 2) [m] in centimetres: x, y of its first point, then the steps to the next ones."""
    points = np.rint(line * 100).astype(np.int64)
    return np.diff(points, axis=0, prepend=np.zeros((1, 2), np.int64)).ravel().tolist()


def _json(given: Any) -> str:
    """ASCII JSON that can't end the element which it stands in, whatever the map's names are."""
    text = json.dumps(given, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
