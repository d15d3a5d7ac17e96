"""The README's tables, made from the declarations and from the committed results: `python -m gigaflow_env.readme`.

A part of the README between `<!-- begin NAME -->` and `<!-- end NAME -->` belongs to the function of that name; a test
compares.
"""

import dataclasses
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gigaflow_env.bounds import Bounds
from gigaflow_env.config import CONDITIONING, PRESETS, Config
from gigaflow_env.declare import fields
from gigaflow_env.files import write_text
from gigaflow_env.layout import ACTIONS, FEATURES, LATERAL_JERKS, LONGITUDINAL_JERKS, Blocks, Layout

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def actions() -> str:
    rows = []
    for action in range(ACTIONS):
        forward, sideways = divmod(action, len(LATERAL_JERKS))
        rows.append([str(action), f"{LONGITUDINAL_JERKS[forward]:+g}", f"{LATERAL_JERKS[sideways]:+g}"])
    return table(["action", "longitudinal jerk [m/s^3]", "lateral jerk [m/s^3], left positive"], rows)


def observation() -> str:
    layouts = [Layout(preset()) for preset in PRESETS.values()]
    rows = []
    for name, group in zip(Blocks._fields, FEATURES, strict=True):
        features = ", ".join(f"`{feature}` {field.unit}".strip() for feature, field in fields(group).items())
        sizes = [f"{getattr(layout.counts, name)} x {len(fields(group))}" for layout in layouts]
        rows.append([f"`{name}`", *sizes, features])
    rows.append(["all", *(str(layout.size) for layout in layouts), "float32 in [-1, 1]"])
    return table(["block", *PRESETS, "features, divided by"], rows)


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        low, high = value
        return f"{low:g}" if low == high else f"{low:g} to {high:g}"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _allowed(declared: Mapping[str, Any]) -> str:
    """What a value may be: its bounds, in its unit, or one of some words."""
    if "choices" in declared:
        return ", ".join(f"`{word}`" for word in declared["choices"])
    bounds: Bounds = declared["bounds"]
    return bounds.text()


def _config_rows(names: list[str]) -> list[list[str]]:
    declared = {field.name: field.metadata for field in dataclasses.fields(Config)}
    presets = [preset() for preset in PRESETS.values()]
    return [
        [
            f"`{name}`",
            *(_shown(getattr(preset, name)) for preset in presets),
            _allowed(declared[name]),
            declared[name]["unit"],
            declared[name]["meaning"],
        ]
        for name in names
    ]


def conditioning() -> str:
    return table(["coefficient", *PRESETS, "bounds", "unit", "meaning"], _config_rows(list(CONDITIONING)))


def config() -> str:
    names = [field.name for field in dataclasses.fields(Config) if field.name not in CONDITIONING]
    return table(["name", *PRESETS, "bounds", "unit", "meaning"], _config_rows(names))


def _results(file: str) -> list[dict[str, Any]]:
    path = RESULTS / file
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def throughput() -> str:
    rows = []
    for result in _results("throughput.jsonl"):
        settings = result["settings"]
        rows.append(
            [
                Path(settings["map"]).stem,
                settings["preset"],
                str(settings["agents_per_world"]),
                str(result["observation_bytes"] // 4),
                f"{result['agent_steps_per_s_one_thread'] / 1e6:.2f} M",
                f"{result['agent_steps_per_s'] / 1e6:.2f} M ({settings['threads']} threads)",
                f"{result['share_of_cartpole_one_thread']:.4f}",
                f"{result['first_step_cold_s']:.1f} / {result['first_step_cached_s']:.2f}",
            ]
        )
    head = ["map", "preset", "agents a world", "floats", "one core", "all", "of CartPole", "first step cold / cached [s]"]
    return table(head, rows)


def stages() -> str:
    results = _results("throughput.jsonl")
    names = list(results[-1]["stages_ns"]) if results else []
    settings = [r["settings"] for r in results]
    columns = [f"{Path(s['map']).stem}, {s['preset']}, {s['agents_per_world']} agents" for s in settings]
    rows = [[f"`{name}`", *(f"{r['stages_ns'][name]:.0f}" for r in results)] for name in names]
    return table(["stage [ns an agent-step]", *columns], rows)


def parts() -> str:
    results = _results("parts.jsonl")
    rows = [[name, f"{ns:+.0f}"] for result in results for name, ns in result["parts_ns"].items()]
    return table(["part", "ns an agent-step"], rows)


def learning() -> str:
    rows = []
    for result in _results("learning.jsonl"):

        def shown(name: str, factor: float = 100.0, unit: str = " %", result: dict[str, Any] = result) -> str:
            rate = result[name]
            low, high = (f"{factor * rate[end]:.1f}" for end in ("low", "high"))
            return f"{factor * rate['value']:.1f}{unit} ({low} to {high})"

        rows.append(
            [
                result["policy"], result["trained_on"], result["map"], shown("goal_rate"), shown("collision_rate"),
                shown("offroad_rate"), shown("red_light_rate", 1.0, ""), f"{result['km']['value']:.0f}",
            ]
        )  # fmt: skip
    head = ["policy", "trained on", "driven on", "goal reached", "collided", "left the road", "red lights run per km", "km"]
    return table(head, rows)


def traffic() -> str:
    rows = []
    for result in _results("traffic.jsonl"):
        per = 1000 / result["km"]
        rows.append(
            [
                result["map"], f"{result['km']:.0f}", str(result["collisions"]), str(result["at_fault"]),
                f"{result['offroads'] * per:.1f}", f"{result['red_lights'] * per:.1f}", f"{result['mean_speed_mps']:.1f}",
                str(result["stuck"]), f"{result['ns_an_agent_step']:.0f}",
            ]
        )  # fmt: skip
    head = [
        "map", "km", "collisions", "of these by fault", "off the road / 1000 km", "red lights / 1000 km", "mean speed [m/s]",
        "stuck at the end", "ns an agent-step",
    ]  # fmt: skip
    return table(head, rows)


def soak() -> str:
    """All maps of the soak together, a column for each of its passes."""
    path = RESULTS / "soak.json"
    nothing: dict[str, Any] = {"maps": {}, "anomalies": 0, "agent_steps": 0}
    found = json.loads(path.read_text()) if path.exists() else nothing
    maps = found["maps"]
    passes = list(next(iter(maps.values()))["passes"]) if maps else []

    def total(name: str, kind: str) -> int:
        return sum(one["passes"][name][kind] for one in maps.values())

    counted = ("agent_steps", "episodes", "collisions", "off_road", "red_lights", "goals", "wrecks")
    rows = [[kind.replace("_", " "), *(f"{total(name, kind) / 1e6:.1f} M" for name in passes)] for kind in counted]
    head = f"{found['agent_steps'] / 1e6:.0f} M on {len(maps)} maps: {found['anomalies']} anomalies"
    return table([head, *(f'`on_crash="{name}"`' for name in passes)], rows)


def cuda_code() -> str:
    rows = []
    for r in _results("cuda_code.jsonl"):
        spilled, share = r["spilled_bytes"] + r["stack_bytes"], f"{100 * r['occupancy']:.0f} %"
        facts = (r["registers"], spilled, r["double_instructions"], r["instructions"], share, f"{r['compile_s']:.0f}")
        rows.append([f"`{r['kernel']}`", f"sm_{r['cc'].replace('.', '')}", *map(str, facts)])
    head = ["kernel", "for", "registers", "spilled bytes", "double", "instructions", "occupancy", "compile [s]"]
    return table(head, rows)


PARTS = {
    part.__name__: part
    for part in (actions, observation, conditioning, config, throughput, stages, parts, cuda_code, learning, traffic, soak)
}


def filled(text: str) -> str:
    """The README with every part made anew. Raises ValueError for a marker without a function."""

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in PARTS:
            raise ValueError(f"README.md has a part {name!r}: there is {', '.join(PARTS)}")
        return f"<!-- begin {name} -->\n{PARTS[name]()}\n<!-- end {name} -->"

    return re.sub(r"<!-- begin (?P<name>\w+) -->.*?<!-- end (?P=name) -->", fill, text, flags=re.DOTALL)


if __name__ == "__main__":
    readme = ROOT / "README.md"
    write_text(readme, filled(readme.read_text()))
    sys.stdout.write(f"{readme}: {', '.join(PARTS)}\n")
