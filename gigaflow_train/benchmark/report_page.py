"""report.html: a benchmark's result, its scenes by type, worst first, each with its replay; one file, no network."""

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from gigaflow_env.replay import Clip
from gigaflow_env.replay.page import replay
from gigaflow_train.benchmark.published import WORDS
from gigaflow_train.benchmark.results import estimates
from gigaflow_train.benchmark.table import shown
from gigaflow_train.evaluate.metrics import Estimate
from gigaflow_train.files import write_text

HIDDEN = ("scene", "type", "policy", "badness", "bundle")
"""Of a scene's row: what has no column."""


def write(directory: Path, content: Mapping[str, Any], clips: Sequence[tuple[str, Clip]] = ()) -> Path:
    """Write report.html. clips: of scenes, by the names of their rows."""
    path = directory / "report.html"
    write_text(path, page(content, clips))
    return path


def page(content: Mapping[str, Any], clips: Sequence[tuple[str, Clip]] = ()) -> str:
    """The page's text: template, styles, script, the result, and a replay page with all clips."""
    web = resources.files("gigaflow_env.render") / "web"
    style = "\n".join((web / name).read_text(encoding="utf-8") for name in ("page.css", "report.css"))
    viewer = replay([clip for _, clip in clips]) if clips else ""
    parts = {
        "STYLE": style,
        "DATA": _json(given(content, [name for name, _ in clips])),
        "VIEWER": _json(viewer),
        "SCRIPT": (web / "report.js").read_text(encoding="utf-8"),
    }
    found, rest = [], (web / "report.html").read_text(encoding="utf-8")
    for name, part in parts.items():  # one after the other: what is put in must not be searched for the next name
        before, _, rest = rest.partition("{{" + name + "}}")
        found += [before, part]
    return "".join([*found, rest])


def given(content: Mapping[str, Any], clips: Sequence[str] = ()) -> dict[str, Any]:
    """What the script of the page shows."""
    mine = estimates(content["figures"])
    baselines = {name: estimates(one["figures"]) for name, one in content["baselines"].items()}
    published = content["published"]
    policy = content["policy"]
    facts = [
        f"{content['program']['name']} {content['program']['version']}, commit {content['program']['commit'] or 'unknown'}",
        f"policy {policy['name']}" + (f", SHA-256 {policy['sha256'][:12]}" if policy["sha256"] else ""),
        f"{len(content['scenes'])} scenes, seeds {', '.join(map(str, content['seeds'][:5]))}",
        f"{content['hardware'].get('processor', '')}, {content['hardware']['date']}, {content['seconds']:.0f} s",
    ]
    return {
        "title": f"{content['suite']}: {policy['name']}",
        "facts": " · ".join(facts),
        "columns": [policy["name"], *baselines, *([WORDS] if published else [])],
        "figures": [
            {
                "name": name.replace("_", " "),
                "cells": [_cell(name, one.get(name)) for one in (mine, *baselines.values())],
                "published": "; ".join(
                    f"{one['who']} {shown(name, one['value'])}" for one in published if one["figure"] == name
                ) if published else None,
            }
            for name in mine
        ],
        "grey": f"{WORDS}: {'; '.join(sorted({one['source'] for one in published}))}" if published else None,
        "types": _types(content, clips),
        "left": content["left_out"],
        "settings": json.dumps({"settings": content["settings"], "program": content["program"]}, indent=1),
    }  # fmt: skip


def _types(content: Mapping[str, Any], clips: Sequence[str]) -> list[dict[str, Any]]:
    """The scenes of each type, the worst first; types in the order of their worst scene. Clips without a row come first."""
    number = {name: k for k, name in enumerate(clips)}
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for scene in content["scenes"]:
        groups.setdefault(scene.get("type") or "scenes", []).append(scene)
    found: list[dict[str, Any]] = []
    for kind, rows in groups.items():
        columns = [name for name in dict.fromkeys(key for one in rows for key in one) if name not in HIDDEN]
        ordered = sorted(rows, key=lambda one: -float(one.get("badness") or 0.0))
        scores = [one["score"] for one in rows if isinstance(one.get("score"), (int, float))]
        found.append(
            {
                "name": kind,
                "columns": [name.replace("_", " ") for name in columns],
                "mean": f"mean score {sum(scores) / len(scores):.3g}" if scores else "",
                "worst": float(ordered[0].get("badness") or 0.0),
                "scenes": [
                    {
                        "name": one["scene"],
                        "cells": [_text(one.get(name)) for name in columns],
                        "wrong": float(one.get("badness") or 0.0) > 0.0,
                        "clip": number.get(one["scene"]),
                    }
                    for one in ordered
                ],
            }
        )
    known = {one["scene"] for one in content["scenes"]}
    alone = [name for name in clips if name not in known]
    if alone:
        scenes = [{"name": name, "cells": [], "wrong": True, "clip": number[name]} for name in alone]
        found.append({"name": "failures", "columns": [], "mean": "", "worst": float("inf"), "scenes": scenes})
    found.sort(key=lambda one: -one["worst"])
    return [{name: value for name, value in one.items() if name != "worst"} for one in found]


def _cell(name: str, estimate: Estimate | None) -> dict[str, str]:
    if estimate is None:
        return {"value": "", "interval": "", "n": ""}
    value = shown(name, estimate.value)
    if estimate.value is None and estimate.low is not None:
        value = f"> {shown(name, estimate.low)}"
    told = estimate.low is not None and estimate.high is not None and estimate.low != estimate.high
    interval = f"{shown(name, estimate.low)} to {shown(name, estimate.high)}" if told else ""
    return {"value": value, "interval": interval, "n": f"n = {estimate.n:,}"}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"
    return str(value)


def _json(value: Any) -> str:
    """ASCII JSON that can't end the element which it stands in."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
