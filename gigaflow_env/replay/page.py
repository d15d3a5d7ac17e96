"""A replay as one HTML page: the map, the trajectories and what the agents saw, packed; needs no library, no network.

What is packed: tables of whole numbers, a row a moment. Of each column the differences from moment to moment, as zigzag
numbers (0, -1, 1, -2, ...) of four bytes, all lowest bytes first, then all second ones, and so on; then deflate. Most of the
upper bytes are 0, so hardly anything is left of them.
"""

import base64
import json
import zlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env.config import CONDITIONING
from gigaflow_env.files import write_text
from gigaflow_env.layout import LATERAL_JERKS, LONGITUDINAL_JERKS
from gigaflow_env.render.page import given_map
from gigaflow_env.replay.clip import Clip, events
from gigaflow_env.replay.frame import FLAGS
from gigaflow_env.replay.insight import TERMS

SCRIPTS = (
    "model.js", "paint.js", "marks.js", "view.js", "panel.js", "tape.js", "cars.js", "inspect.js", "wheel.js", "live.js",
    "watch.js",
)  # fmt: skip
"""In the order in which they build on each other."""

STEPS = {
    "x": 0.01, "y": 0.01, "h": 0.001, "v": 0.01, "steer": 0.001, "gx": 0.1, "gy": 0.1, "p": 1 / 255, "value": 0.001,
    "terms": 1e-4, "far": 1 / 250,
}  # fmt: skip
"""What 1 means in the tables: metres, radians, shares. Columns that are not named are whole numbers."""


def write_replay(clips: Sequence[Clip], path: str | Path) -> int:
    """Write clips as a page for a browser, complete or not at all; the first one is shown first. Returns its bytes.

    Raises ValueError for another suffix than .html or no clip, OSError where it can't be written.
    """
    path = Path(path)
    if path.suffix.lower() != ".html":
        raise ValueError(f"{path}: replays are written as .html")
    if not clips:
        raise ValueError(f"{path}: there is nothing to show")
    write_text(path, replay(clips))
    return path.stat().st_size


def replay(clips: Sequence[Clip]) -> str:
    """The page's text."""
    blob = Blob()
    maps: list[Any] = []
    entries = []
    for clip in clips:
        known = [k for k, one in enumerate(maps) if one is clip.road_map]
        if not known:
            maps.append(clip.road_map)
        entries.append(_entry(clip, known[0] if known else len(maps) - 1, blob))
    head = about() | {
        "kind": "replay",
        "ranges": _ranges(clips),
        "maps": [blob.text(json.dumps(given_map(one), separators=(",", ":"), allow_nan=False)) for one in maps],
        "clips": entries,
    }
    return page(head, blob)


def about() -> dict[str, Any]:
    """Names that the page needs to know."""
    return {
        "flags": list(FLAGS), "terms": list(TERMS), "coefficients": list(CONDITIONING), "steps": STEPS,
        "jerks": [list(LONGITUDINAL_JERKS), list(LATERAL_JERKS)],
    }  # fmt: skip


class Blob:
    """Bytes behind each other; what is put in says where it lies."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.size = 0

    def append(self, raw: bytes) -> list[int]:
        """Bytes, and where they lie: [start, bytes]."""
        self.parts.append(raw)
        self.size += len(raw)
        return [self.size - len(raw), len(raw)]

    def text(self, text: str) -> list[int]:
        """A text as UTF-8."""
        return self.append(text.encode())

    def table(self, values: np.ndarray) -> list[int]:
        """Whole numbers (moments, columns): [start, moments, columns]."""
        whole = np.asarray(values, np.int64)
        whole = whole.reshape(len(whole), -1)
        steps = np.diff(whole, axis=0, prepend=0)
        zigzag = ((steps << 1) ^ (steps >> 63)).astype("<u4")
        planes = np.ascontiguousarray(zigzag.T).view(np.uint8).reshape(-1, 4).T
        start, _ = self.append(planes.tobytes())
        return [start, *whole.shape]

    def packed(self) -> str:
        """All of it, deflated, in base64."""
        return base64.b64encode(zlib.compress(b"".join(self.parts), 9)).decode()


def page(head: dict[str, Any], blob: Blob, connects: str = "'none'") -> str:
    """The page of a replay or of a live world: template, styles, scripts and data. connects: what it may connect to."""
    web = resources.files("gigaflow_env.render") / "web"
    style = "\n".join((web / name).read_text(encoding="utf-8") for name in ("page.css", "watch.css"))
    script = "\n".join((web / name).read_text(encoding="utf-8") for name in SCRIPTS)
    text = (web / "watch.html").read_text(encoding="utf-8")
    data = json.dumps(head, separators=(",", ":"), allow_nan=False)
    data = data.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    found, rest = [], text
    # Split one after the other: what is put in must not be searched for the next name.
    for name, part in (
        ("CONNECTS", connects),
        ("STYLE", style),
        ("HEAD", data),
        ("BLOB", blob.packed()),
        ("SCRIPT", script),
    ):
        before, _, rest = rest.partition("{{" + name + "}}")
        found += [before, part]
    return "".join([*found, rest])


def _entry(clip: Clip, number: int, blob: Blob) -> dict[str, Any]:
    moments = clip.moments
    frames = [moment.frame for moment in moments]

    def each(name: str, unit: float = 1.0) -> list[int]:
        return blob.table(np.rint(np.stack([getattr(frame, name) for frame in frames]) / unit))

    def turned(name: str) -> list[int]:
        return blob.table(np.rint(np.unwrap(np.stack([getattr(frame, name) for frame in frames]), axis=0) / STEPS["h"]))

    def known(values: list[Any], unit: float = 1.0) -> list[int]:
        stacked = np.stack(values).astype(np.float64)
        return blob.table(np.rint(np.nan_to_num(stacked) / unit).reshape(len(moments), -1))

    tables = {
        "x": each("x", STEPS["x"]), "y": each("y", STEPS["y"]), "h": turned("heading"), "v": each("speed", STEPS["v"]),
        "steer": each("steer", STEPS["steer"]), "flags": each("flags"), "episode": each("episode"),
        "gx": each("goal_x", STEPS["gx"]), "gy": each("goal_y", STEPS["gy"]), "left": each("goals_left"),
        "body": known([moment.bodies for moment in moments]),
        "terms": known([moment.terms for moment in moments], STEPS["terms"]),
        "others": known([np.sort(moment.others, axis=1) for moment in moments]),
        "set": known([moment.sets for moment in moments]),
        "colours": known([moment.colours for moment in moments]),
        # The farthest value says that no way leads there.
        "far": known([np.minimum(moment.distances / clip.route_range, 1.0) for moment in moments], STEPS["far"]),
    }  # fmt: skip
    if moments[0].probabilities is not None:
        tables["p"] = known([moment.probabilities for moment in moments], STEPS["p"])
        tables["value"] = known([moment.values for moment in moments], STEPS["value"])
    lights = max(len(frame.lights) for frame in frames)
    if lights:
        tables["lights"] = blob.table(np.stack([frame.lights for frame in frames]))
    used = sorted({int(k) for moment in moments for k in moment.sets if k >= 0})
    bodies = sorted({int(k) for moment in moments for k in moment.bodies if k >= 0})
    return {
        "title": clip.title,
        "map": number,
        "origin": list(clip.origin),
        "warp": list(clip.warp),
        "dt": clip.dt,
        "range": clip.route_range,
        "rows": len(frames[0].x),
        "tick": frames[0].tick,
        "focus": clip.focus,
        "start": clip.start,
        "tables": tables,
        "lights": sorted(signal.id for signal in clip.road_map.signals.values() if signal.kind == "light"),
        "events": list(events(clip)),
        "bodies": blob.text(json.dumps({str(k): clip.bodies[k] for k in bodies}, separators=(",", ":"))),
        "sets": blob.text(
            json.dumps({str(k): [_points(part) for part in clip.sets[k]] for k in used}, separators=(",", ":"))
        ),
    }


def _ranges(clips: Sequence[Clip]) -> dict[str, list[float]]:
    """Lowest and highest value of each coefficient that occurs: the ends of the bars."""
    met = {
        k: clip.bodies[k]["conditioning"] for clip in clips for moment in clip.moments[:1] for k in moment.bodies if k >= 0
    }
    return {
        name: [min((one[name] for one in met.values()), default=0.0), max((one[name] for one in met.values()), default=1.0)]
        for name in CONDITIONING
    }


def _points(points: np.ndarray) -> list[int]:
    """Points (n, 2) [m] as x, y, x, y ... [dm]."""
    return np.rint(points * 10).astype(int).ravel().tolist()
