"""A referee for swept collisions: `boxes_met` in float32, shapely in float64, a million pairs: `python benchmarks/swept.py`.

What is judged is the rule that `boxes_met` states. In the moving frame of one box the corners of the other draw straight
segments, from where they were before the step to where they are after it. The pair met if one of these four segments touches
the resting box, or one of the four the other way round does, or if the boxes overlap after the step. The referee builds
these nine shapes in float64 from the float32 poses. A miss is a pair that met by more than 1 mm (it still meets with both
boxes 1 mm smaller on every side) and isn't found; a false hit one that is found although all nine stay more than 1 mm apart.

Beside it, for information: how often boxes that move along, interpolated between the two poses, overlap by more than 1 cm at
one of some moments and the rule does not see it. That is the rule's own error, as the source states it, not float32's.
"""

import json
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import shapely
import tyro

from gigaflow_env.bench.machine import machine
from gigaflow_env.declare import allocate
from gigaflow_env.files import write_text
from gigaflow_env.jit import kernel
from gigaflow_env.sim.collision import boxes_met
from gigaflow_env.state import Body, Pose

MARGIN = 1e-3
"""[m]"""
DEEP = 1e-2
"""[m] Overlap that counts on the way."""
MOMENTS = 16
CHUNK = 50_000


@dataclass(frozen=True)
class Swept:
    """Judge the swept collision test on random pairs."""

    pairs: int = 1_000_000
    """Pairs of moving boxes."""
    seed: int = 0
    json: Path | None = None
    """Write the result into this file."""


@kernel
def found(pose, body, out):
    for w in range(len(out)):
        out[w] = boxes_met(w, 0, 1, pose, body)


def draw(rng: np.random.Generator, pairs: int) -> tuple[Pose, Body]:
    """Pairs whose ways come near each other: of every size, up to 30 m/s for 0.3 s, turning by up to 60 degrees."""
    sizes = {"world": pairs, "agent": 2}
    pose, body = allocate(Pose, sizes), allocate(Body, sizes)
    body.length[:] = rng.uniform(0.8, 7.0, (pairs, 2))
    body.width[:] = np.minimum(rng.uniform(0.5, 3.0, (pairs, 2)), body.length)
    before = rng.uniform(-np.pi, np.pi, (pairs, 2))
    after = before + rng.normal(0.0, 0.3, (pairs, 2))
    way = rng.uniform(-1.0, 9.0, (pairs, 2))
    # Somewhere on the map, as rounding depends on it; the second box near the middle of the first one's way.
    place = rng.uniform(-1000.0, 1000.0, (pairs, 1, 2)) + rng.normal(0.0, 3.0, (pairs, 2, 2))
    middle = (before + after) / 2
    step = np.stack([np.cos(middle), np.sin(middle)], axis=-1) * way[..., None]
    pose.old_x[:], pose.old_y[:] = np.moveaxis(place - step / 2, -1, 0)
    pose.x[:], pose.y[:] = np.moveaxis(place + step / 2, -1, 0)
    pose.old_cos[:], pose.old_sin[:], pose.cos[:], pose.sin[:] = np.cos(before), np.sin(before), np.cos(after), np.sin(after)
    return pose, body


def corners(x: Any, y: Any, cos: Any, sin: Any, half_length: Any, half_width: Any) -> np.ndarray:
    """(n, 4, 2), around."""
    ahead, left = np.array([1, -1, -1, 1]) * half_length[:, None], np.array([1, 1, -1, -1]) * half_width[:, None]
    x, y, cos, sin = (part[:, None] for part in (x, y, cos, sin))
    return np.stack([x + ahead * cos - left * sin, y + ahead * sin + left * cos], axis=-1)


def seen_from(one: tuple, other: tuple) -> tuple[np.ndarray, ...]:
    """Pose `other` (x, y, cos, sin) in the frame of pose `one`."""
    (x, y, c, s), (ox, oy, oc, os) = one, other
    dx, dy = ox - x, oy - y
    return dx * c + dy * s, dy * c - dx * s, oc * c + os * s, os * c - oc * s


def judge(pose: Pose, body: Body) -> tuple[np.ndarray, np.ndarray]:
    """(met for sure, apart for sure), bool (pairs,) each; what is neither is nearer to the line than MARGIN."""
    f = {name: array.astype(np.float64) for name, array in {**pose._asdict(), **body._asdict()}.items()}
    now = [(f["x"][:, a], f["y"][:, a], f["cos"][:, a], f["sin"][:, a]) for a in (0, 1)]
    before = [(f["old_x"][:, a], f["old_y"][:, a], f["old_cos"][:, a], f["old_sin"][:, a]) for a in (0, 1)]
    half = [(f["length"][:, a] / 2, f["width"][:, a] / 2) for a in (0, 1)]

    def rest(a: int, less: float) -> np.ndarray:
        length, width = half[a][0] - less, half[a][1] - less
        return shapely.box(-length, -width, length, width)

    def shapes(a: int, b: int, less: float) -> list[np.ndarray]:
        """In the frame of a: the box of b after the step, and the segments that its corners draw."""
        length, width = half[b][0] - less, half[b][1] - less
        last = corners(*seen_from(now[a], now[b]), length, width)
        first = corners(*seen_from(before[a], before[b]), length, width)
        return [
            shapely.polygons(last),
            *(shapely.linestrings(np.stack([first[:, k], last[:, k]], axis=1)) for k in range(4)),
        ]

    met, nearest = np.zeros(len(f["x"]), bool), np.full(len(f["x"]), np.inf)
    for a, b in ((0, 1), (1, 0)):
        for small, full in zip(shapes(a, b, MARGIN), shapes(a, b, 0.0), strict=True):
            met |= shapely.intersects(rest(a, MARGIN), small)
            nearest = np.minimum(nearest, shapely.distance(rest(a, 0.0), full))
    return met, nearest > MARGIN


def on_the_way(pose: Pose, body: Body) -> np.ndarray:
    """Whether boxes that move evenly overlap by more than DEEP at one of MOMENTS moments."""
    f = {name: array.astype(np.float64) for name, array in {**pose._asdict(), **body._asdict()}.items()}
    first = np.arctan2(f["old_sin"], f["old_cos"])
    turn = np.angle(np.exp(1j * (np.arctan2(f["sin"], f["cos"]) - first)))
    overlap = np.zeros(len(first), bool)
    for share in np.linspace(0.0, 1.0, MOMENTS):
        boxes = []
        for a in (0, 1):
            heading = first[:, a] + share * turn[:, a]
            x, y = ((1 - share) * f[f"old_{axis}"][:, a] + share * f[axis][:, a] for axis in ("x", "y"))
            lengths, widths = f["length"][:, a] / 2 - DEEP, f["width"][:, a] / 2 - DEEP
            boxes.append(shapely.polygons(corners(x, y, np.cos(heading), np.sin(heading), lengths, widths)))
        overlap |= shapely.intersects(*boxes)
    return overlap


def run(swept: Swept) -> dict[str, Any]:
    """Judge all pairs; the result is ready for JSON."""
    rng, start = np.random.default_rng(swept.seed), time.perf_counter()
    counts = dict.fromkeys(("pairs", "met", "apart", "misses", "false_hits", "overlap_on_the_way", "of_these_not_seen"), 0)
    while counts["pairs"] < swept.pairs:
        size = min(CHUNK, swept.pairs - counts["pairs"])
        pose, body = draw(rng, size)
        out = np.zeros(size, np.bool_)
        found(pose, body, out)
        met, apart = judge(pose, body)
        way = on_the_way(pose, body)
        for name, flags in (
            ("pairs", np.ones(size, bool)), ("met", met), ("apart", apart), ("misses", met & ~out),
            ("false_hits", apart & out),
            ("overlap_on_the_way", way), ("of_these_not_seen", way & ~out),
        ):  # fmt: skip
            counts[name] += int(flags.sum())
    settings = {"pairs": swept.pairs, "seed": swept.seed, "margin_m": MARGIN, "deep_m": DEEP, "moments": MOMENTS}
    return {**counts, "seconds": round(time.perf_counter() - start, 1), "settings": settings, **machine()}


if __name__ == "__main__":
    given = tyro.cli(Swept)
    result = run(given)
    result["command"] = "python benchmarks/swept.py " + " ".join(sys.argv[1:])
    text = json.dumps(result, indent=1) + "\n"
    if given.json is not None:
        write_text(given.json, text)
    print(text, end="")
    sys.exit(1 if result["misses"] or result["false_hits"] else 0)
