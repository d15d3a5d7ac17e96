"""The tables of README.md and of the pages in docs/, made from the declarations and results: `python -m docs_tools.tables`.

What stands between `<!-- begin NAME -->` and `<!-- end NAME -->` belongs to the function of that name; a test compares.
"""

import ast
import dataclasses
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gigaflow_env.bounds import Bounds
from gigaflow_env.config import CONDITIONING, PRESETS, Config
from gigaflow_env.declare import describe, fields
from gigaflow_env.files import write_text
from gigaflow_env.layout import ACTIONS, FEATURES, LATERAL_JERKS, LONGITUDINAL_JERKS, Blocks, Layout
from gigaflow_env.population import ROAD_USERS
from gigaflow_env.state import GROUPS

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"

RENAMED = {
    "blur": "add_noise",
    "watch": "find_neighbours",
    "survey": "select_lane_samples",
    "look_ego": "observe_ego",
    "look_conditioning": "observe_conditioning",
    "look_goals": "observe_goals",
    "look_agents": "observe_agents",
    "look_lanes": "observe_lanes",
    "look_boundaries": "observe_boundaries",
    "look_stops": "observe_stops",
    "renew": "respawn",
    "guide": "plan_traffic",
    "write_down": "record_contacts",
    "notice": "prepare_observation",
    "show": "write_observation",
    "show_half": "write_observation_half",
}
"""Results keep the names that stages had when they were measured; tables show the names of today."""


def table(head: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def actions() -> str:
    """The twelve discrete actions."""
    rows = []
    for action in range(ACTIONS):
        forward, sideways = divmod(action, len(LATERAL_JERKS))
        rows.append([str(action), f"{LONGITUDINAL_JERKS[forward]:+g}", f"{LATERAL_JERKS[sideways]:+g}"])
    return table(["action", "longitudinal jerk [m/s^3]", "lateral jerk [m/s^3], left positive"], rows)


def observation() -> str:
    """Blocks of the observation, with their sizes in each preset."""
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
    """Reward coefficients in each preset."""
    return table(["coefficient", *PRESETS, "bounds", "unit", "meaning"], _config_rows(list(CONDITIONING)))


def config() -> str:
    """Every other value of the Config."""
    names = [field.name for field in dataclasses.fields(Config) if field.name not in CONDITIONING]
    return table(["name", *PRESETS, "bounds", "unit", "meaning"], _config_rows(names))


def _results(file: str) -> list[dict[str, Any]]:
    path = RESULTS / file
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def throughput() -> str:
    """Rates of each scene that was measured."""
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
    """What each stage costs."""
    results = _results("throughput.jsonl")
    names = list(results[-1]["stages_ns"]) if results else []
    settings = [r["settings"] for r in results]
    columns = [f"{Path(s['map']).stem}, {s['preset']}, {s['agents_per_world']} agents" for s in settings]
    rows = [[f"`{RENAMED.get(name, name)}`", *(f"{r['stages_ns'][name]:.0f}" for r in results)] for name in names]
    return table(["stage [ns an agent-step]", *columns], rows)


def parts() -> str:
    """What parts of the paper's world cost."""
    results = _results("parts.jsonl")
    rows = [[name, f"{ns:+.0f}"] for result in results for name, ns in result["parts_ns"].items()]
    return table(["part", "ns an agent-step"], rows)


def _against() -> dict[str, Any]:
    path = RESULTS / "against.json"
    return json.loads(path.read_text())["cases"] if path.exists() else {}


def against() -> str:
    """Steps of this tree beside those of another revision."""
    rows = []
    for case in _against().values():
        options = ", ".join(f"`{name}={value!r}`" for name, value in case.get("options", {}).items())
        low, high = case["faster"]["quartiles"]
        rows.append(
            [
                Path(case["map"]).stem, str(case["agents_per_world"]), f"{case['rows']:,}", options,
                f"{case['faster']['median']:.2f} ({low:.2f} to {high:.2f})", f"{case['other_ns']:.0f}", f"{case['ns']:.0f}",
                f"{case['memory']['read_ns']:.1f} / {case['memory']['store_ns']:.1f}",
            ]
        )  # fmt: skip
    head = ["map", "agents a world", "rows", "with", "times as fast", "before [ns]", "now [ns]", "read / store [ns]"]
    return table(head, rows)


def against_kernels() -> str:
    """What each kernel takes in both, in the cases without further arguments."""
    cases = {name: case for name, case in _against().items() if not case.get("options")}
    names = list(next(iter(cases.values()))["kernels"]) if cases else []
    rows = [
        [f"`{name.partition(' ')[0]}`{name.partition('write_observation')[2]}"]
        + [f"{case['other_kernels'][name]:.0f} / {case['kernels'][name]:.0f}" for case in cases.values()]
        for name in names
    ]
    columns = [f"{Path(case['map']).stem}, {case['agents_per_world']}, {case['rows']:,} rows" for case in cases.values()]
    return table(["kernel", *columns], rows)


def learning() -> str:
    """Policies that were trained, and baselines, with 95 % intervals."""
    rows = []
    for result in _results("learning.jsonl"):
        red_lights = "red_lights_per_km" if "red_lights_per_km" in result else "red_light_rate"  # its name until 0.1

        def shown(name: str, factor: float = 100.0, unit: str = " %", result: dict[str, Any] = result) -> str:
            rate = result[name]
            low, high = (f"{factor * rate[end]:.1f}" for end in ("low", "high"))
            return f"{factor * rate['value']:.1f}{unit} ({low} to {high})"

        rows.append(
            [
                result["policy"], result["trained_on"], result["map"], shown("goal_rate"), shown("collision_rate"),
                shown("offroad_rate"), shown(red_lights, 1.0, ""), f"{result['km']['value']:.0f}",
            ]
        )  # fmt: skip
    head = ["policy", "trained on", "driven on", "goal reached", "collided", "left the road", "red lights run per km", "km"]
    return table(head, rows)


def traffic() -> str:
    """Rule-based drivers on every town and shared map, and on all random towns together."""
    results = _results("traffic.jsonl")
    drawn = [result for result in results if result["map"].startswith("random:")]
    rows = [_traffic_row(result["map"], [result]) for result in results if result not in drawn]
    if drawn:
        rows.append(_traffic_row(f"{len(drawn)} random towns", drawn))
    head = [
        "map", "km", "collisions", "of these by fault", "off the road / 1000 km", "red lights / 1000 km", "mean speed [m/s]",
        "stuck", "longest stand [s]", "ns an agent-step",
    ]  # fmt: skip
    return table(head, rows)


def _traffic_row(name: str, results: list[dict[str, Any]]) -> list[str]:
    """The cells of one or several maps: sums, means over them, and the longest stand."""
    km = sum(result["km"] for result in results)

    def total(key: str) -> int:
        return sum(result[key] for result in results)

    def mean(key: str) -> float:
        return total(key) / len(results)

    return [
        name, f"{km:.0f}", str(total("collisions")), str(total("at_fault")), f"{1000 * total('offroads') / km:.1f}",
        f"{1000 * total('red_lights') / km:.1f}", f"{mean('mean_speed_mps'):.1f}", str(total("stuck")),
        f"{max(result['longest_stand_s'] for result in results):.0f}", f"{mean('ns_an_agent_step'):.0f}",
    ]  # fmt: skip


def large_maps() -> str:
    """Towns by size: what they take, and how fast one drives there."""
    rows = []
    for result in _results("large_maps.jsonl"):
        side = result["side_km"]
        rows.append(
            [
                f"{side:.0f} x {side:.0f} km", f"{result['lane_km']:.0f}", f"{result['lanes']:,}",
                f"{result['compile_s']:.0f}", f"{result['compile_ms_a_lane_km']:.0f}", f"{result['tables_MB']:.0f}",
                f"{result['grid_MB']:.0f}", f"{result['peak_MB']:.0f}", f"{result['speed_of_the_smallest']:.2f}",
            ]
        )  # fmt: skip
    head = [
        "town", "km of lanes", "lanes", "compiled in [s]", "[ms] a km of lanes", "tables [MB]", "of these grids [MB]",
        "most memory [MB]", "agent-steps/s, over the smallest town's",
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


def scenes() -> str:
    """Recorded scenes: how fast they load, what memory holds, and what they cost beside a town."""
    path = RESULTS / "scenes.json"
    if not path.exists():
        return table(["scenes", "measured"], [])
    found = json.loads(path.read_text())
    loading, driving = found["loading"], found["driving"]
    cached, memory = loading["cached"], loading["cached"]["memory_mib"]
    rows = [
        [
            f"{loading['scenes']} scenes read and compiled for the first time",
            f"{loading['read']['scenes_per_second']:g} a second",
        ],
        ["the same from the cache", f"{cached['scenes_per_processor_second']:.0f} a second of one processor"],
        [
            f"memory of the process after page 2, in the middle, after page {cached['pages']}",
            f"{memory['second_page']}, {memory['half']}, {memory['end']} MiB",
        ],
        *(
            [f"speed for each agent on the road, control {name}", f"{one['speed_beside_town']:g} times a town's"]
            for name, one in driving.items()
            if isinstance(one, dict) and name != "town"
        ),
    ]
    return table([f"{driving['worlds']} worlds of some {driving['agents_per_world']} agents", "measured"], rows)


def _driver(section: str, file: str = "driver.json") -> list[dict[str, Any]]:
    """Rows of one section of what `benchmarks/driver.py` measured."""
    path = RESULTS / file
    found = json.loads(path.read_text()) if path.exists() else {"rows": []}
    return [row for row in found["rows"] if row["section"] == section]


def _with_interval(found: Mapping[str, Any], factor: float = 1.0, digits: int = 2, unit: str = "") -> str:
    """A figure and its interval; a dash where nothing was observed."""
    if found["value"] is None:
        return f"at least {factor * found['low']:.{digits}f}{unit}" if found["low"] else "-"
    ends = [f"{factor * found[end]:.{digits}f}" if found[end] is not None else "..." for end in ("low", "high")]
    return f"{factor * found['value']:.{digits}f}{unit} ({ends[0]} to {ends[1]})"


def _driven(rows: list[dict[str, Any]], first: str) -> str:
    cells = [
        [
            row["name"], *(_with_interval(row[f"{one}_rate"], 100, 1, " %") for one in ("goal", "collision", "offroad")),
            _with_interval(row["red_lights_per_km"]), str(row["stuck"]), f"{row['mean_speed_mps']['value']:.1f}",
            f"{100 * row['reverse_share']:.1f} %" if "reverse_share" in row else "-", str(row["goal_rate"]["n"]),
        ]
        for row in rows
    ]  # fmt: skip
    head = [
        first, "goal reached", "collided", "left the road", "red lights run per km", "stuck", "mean speed [m/s]",
        "in reverse", "routes",
    ]  # fmt: skip
    return table(head, cells)


def driver_ladder() -> str:
    """The pretrained driver in towns that it knows and in such that it never saw."""
    return _driven(_driver("ladder"), "towns")


def driver_second_seed() -> str:
    """The same ladder with other worlds and actions."""
    return _driven(_driver("ladder", "driver_second_seed.json"), "towns")


RUNS = (71, 72)
"""Seeds of the runs of the last stage. The pretrained driver is the mean of their weights."""


def driver_again() -> str:
    """The pretrained driver beside the ends of the runs that it is the mean of."""
    runs = [{row["name"]: row for row in _driver("ladder", f"driver_seed_{seed}.json")} for seed in RUNS]
    rows = []
    for row in _driver("ladder"):
        beside = (row, *(run[row["name"]] for run in runs))
        for what, kind in (("goal reached", "goal"), ("collided", "collision"), ("left the road", "offroad")):
            found = [_with_interval(one[f"{kind}_rate"], 100, 1, " %") for one in beside]
            rows.append([row["name"] if kind == "goal" else "", what, *found])
    return table(["towns", "", "pretrained", *(f"run with seed {seed}" for seed in RUNS)], rows)


def driver_robustness() -> str:
    """The pretrained driver in harder worlds."""
    return _driven(_driver("robustness"), "what is different")


def driver_longform() -> str:
    """Kilometres per incident, with the exact interval."""
    rows = []
    for row in _driver("longform"):
        per = row["km_per_incident"]
        incidents = row["collision_incidents"] + row["offroad_incidents"]
        kinds = f"{row['collision_incidents']} collisions, {row['offroad_incidents']} off the road"
        rows.append(
            [
                row["name"], f"{row['km']['value']:.0f}", f"{row['hours']:.0f}", f"{incidents} ({kinds})",
                str(row["incidents_at_start"]), _with_interval(per), _with_interval(row["red_lights_per_km"]),
                str(row["stuck"]), f"{row['mean_speed_mps']['value']:.1f}",
            ]
        )  # fmt: skip
    head = [
        "decisions", "km", "agent-hours", "incidents", "in the first 2 s", "km per incident", "red lights run per km",
        "stuck", "mean speed [m/s]",
    ]  # fmt: skip
    return table(head, rows)


def driver_conditioning() -> str:
    """What each coefficient changes, at the ends of the range in which it was drawn."""
    rows = [
        [
            row["name"], _with_interval(row["goal_rate"], 100, 1, " %"), _with_interval(row["collision_rate"], 100, 1, " %"),
            _with_interval(row["red_lights_per_km"]), _with_interval(row["mean_speed_mps"]), f"{row['offset_m']:.2f}",
            f"{row['bias_m']:+.2f}", f"{100 * row['harsh_share']:.1f} %",
        ]
        for row in _driver("conditioning")
    ]  # fmt: skip
    head = [
        "coefficient", "goal reached", "collided", "red lights run per km", "mean speed [m/s]", "from the lane's center [m]",
        "to its left [m]", "harsh",
    ]  # fmt: skip
    return table(head, rows)


def cuda_code() -> str:
    """What the compiler makes of the kernels."""
    rows = []
    for r in _results("cuda_code.jsonl"):
        spilled, share = r["spilled_bytes"] + r["stack_bytes"], f"{100 * r['occupancy']:.0f} %"
        facts = (r["registers"], spilled, r["double_instructions"], r["instructions"], share, f"{r['compile_s']:.0f}")
        rows.append([f"`{RENAMED.get(r['kernel'], r['kernel'])}`", f"sm_{r['cc'].replace('.', '')}", *map(str, facts)])
    head = ["kernel", "for", "registers", "spilled bytes", "double", "instructions", "occupancy", "compile [s]"]
    return table(head, rows)


def cuda_cost() -> str:
    """What a step does on CUDA, counted: one line a revision and way of driving, in the order of their measurement."""
    rows = []
    for r in _results("cuda_cost.jsonl"):
        of, ended = r["together"], f"{r['ended']:.1%}" if "ended" in r else ""
        counts = [f"{of[what]:,.0f}" for what in ("warp_instructions", "load_sectors", "store_sectors")]
        rows.append(
            [r["commit"].rstrip("+"), r["settings"].get("actions", "random"), ended, str(len(r["kernels"])), *counts]
        )
    return table(
        ["revision", "actions", "rows that end", "launches", "warp instructions", "load sectors", "store sectors"], rows
    )


def cuda_cost_kernels() -> str:
    """The last line of random driving, by kernel, beside the first."""
    random = [r["kernels"] for r in _results("cuda_cost.jsonl") if r["settings"].get("actions", "random") == "random"]
    rows = [
        [f"`{name.split()[0]}`{name.partition(' ')[1]}{name.partition(' ')[2]}", f"{of['warp_instructions']:,.0f}",
         f"{of['busy_lanes']:.0%}", f"{of['load_sectors']:,.0f}", f"{of['store_sectors']:,.0f}"]
        for kernels in (random[0], random[-1]) for name, of in kernels.items()
    ]  # fmt: skip
    split = len(random[0])
    rows = [[when, *row] for k, row in enumerate(rows) for when in ["first" if k < split else "now"]]
    return table(["", "kernel", "warp instructions", "busy lanes", "load sectors", "store sectors"], rows)


def _sweep(name: str) -> str:
    """Settings at equal numbers of samples: the mean of the seeds with Student's interval."""
    result = json.loads((RESULTS / f"{name}.json").read_text())
    rows = []
    for setting, of in result["table"].items():
        rates = [
            f"{100 * of[f'{one}_rate']['mean']:.0f} % ± {100 * of[f'{one}_rate']['half']:.0f}"
            for one in ("goal", "collision", "offroad")
        ]
        seeds = " ".join(f"{100 * value:.0f}" for value in of["goal_rate"]["values"])
        kept = result["kept_at_the_end"][setting]
        rows.append([setting.replace("-", " "), *rates, seeds, f"{100 * sum(kept) / len(kept):.0f} %"])
    return table(["setting", "goal reached", "collided", "left the road", "goals by seed [%]", "kept at the end"], rows)


def ablations() -> str:
    """Settings of the trainer and of the world, each judged in its own world."""
    return _sweep("ablations")


def driver_worlds() -> str:
    """What the driver's worlds give it: one thing left out at a time, all judged in the same world."""
    return _sweep("worlds")


def training_against() -> str:
    """Training beside the revision before, in turns."""
    rows = []
    for r in _results("training_against.jsonl"):
        ratios = [
            f"{r[one]['median']:.2f} ({r[one]['quartiles'][0]:.2f} to {r[one]['quartiles'][1]:.2f})"
            for one in ("faster_by_cpu", "faster_by_cpu_second_half", "faster_by_wall")
        ]
        cells = [
            " / ".join(f"{value:{form}}" for value in r[one])
            for one, form in (("us_cpu_a_sample", ".1f"), ("kept", ".0%"), ("goal_rate", ".1%"))
        ]
        rows.append([str(r["threads"]), f"{r['samples'] / 1e6:.0f} M", *ratios, *cells])
    head = [
        "threads",
        "samples",
        "faster by processor time",
        "in the second half",
        "by the clock",
        "us a sample, now / before",
        "kept",
        "goals",
    ]
    return table(head, rows)


def sizes() -> str:
    """Cost of an agent-step by rows, and by map."""
    found = json.loads((RESULTS / "sizes.json").read_text())
    few, maps = found["rows"][::2], found["maps"]
    rows = [["rows of downtown", *(f"{rows:,}" for rows, _ in few)], ["ns an agent-step", *(f"{ns:.0f}" for _, ns in few)]]
    towns = [["map, 4,096 rows", "km of lanes", "ns an agent-step"], *([n, f"{km:g}", f"{ns:.0f}"] for n, km, ns in maps)]
    return table(rows[0], rows[1:]) + "\n\n" + table(towns[0], towns[1:])


def shared_lines() -> str:
    """Lines of memory that two threads write in a step."""
    found = json.loads((RESULTS / "sizes.json").read_text())["threads"]
    return table(
        ["threads", "lines that two of them write", f"of all lines that a step of {found['rows']:,} rows writes"],
        [[n, f"{lines:,}", f"{lines / found['lines_written']:.2%}"] for n, lines in found["lines_shared"].items()],
    )


def _instructions(file: str, kernels: Sequence[str]) -> str:
    found = json.loads((RESULTS / file).read_text())
    columns = [(event, when) for event in ("Ir", "Bc", "Bcm") for when in ("before", "now")]
    names = {"Ir": "instructions", "Bc": "branches", "Bcm": "mispredicted"}
    rows = []
    for kernel in kernels:
        name, ended, _ = kernel.partition(" of ended")
        rows.append([f"`{name}`{ended}", *(f"{found[when][kernel][event]:,.0f}" for event, when in columns)])
    totals = [f"{sum(counts[event] for counts in found[when].values()):,.0f}" for event, when in columns]
    return table(["kernel", *(f"{names[event]} {when}" for event, when in columns)], [*rows, ["all", *totals]])


def instructions() -> str:
    """Instructions of an agent-step by kernel, before and now."""
    return _instructions("instructions.json", ("drive", "write_observation of ended", "respawn", "write_observation"))


def instructions_idm() -> str:
    """The same where a fifth of the drivers go by rules: what that adds, and all."""
    return _instructions("instructions_idm.json", ("plan_traffic",))


def newcomer() -> str:
    """What a newcomer waits for, step by step, and until then."""
    result, rows, until = json.loads((RESULTS / "newcomer.json").read_text()), [], 0.0
    for row in result["steps"]:
        until += row["seconds"]
        rows.append([row["step"], f"{row['seconds']:.0f} s", f"{until:.0f} s"])
    return table(["step", "takes", "since the clone"], rows)


def headline() -> str:
    """What the README shows: policies that were trained, of `learning`, and the pretrained driver where it is new.

    Random towns of one style are on the model card.
    """
    rows = [r for r in _results("learning.jsonl") if r["policy"].startswith("self-play")]

    def percent(rate: dict[str, float]) -> str:
        return f"{100 * rate['value']:.1f} %"

    cells = [
        [r["policy"], r["trained_on"], r["map"], *(percent(r[f"{one}_rate"]) for one in ("goal", "collision", "offroad"))]
        for r in rows
    ]
    results = json.loads((RESULTS / "driver.json").read_text())
    shipped = [f"the pretrained driver, {results['policy']['samples'] / 1e6:.0f} M samples", "11 towns, 160 random ones"]
    cells += [
        [*shipped, row["name"], *(percent(row[f"{one}_rate"]) for one in ("goal", "collision", "offroad"))]
        for row in _driver("ladder")
        if len(row["maps"]) == 1 and "," not in row["name"] and not row["name"].startswith("10 ")
    ]
    return table(["policy", "trained on", "driven on", "goal reached", "collided", "left the road"], cells)


def speed() -> str:
    """The columns of `throughput` that the README shows."""
    rows = []
    for r in _results("throughput.jsonl"):
        settings = r["settings"]
        name = f"{Path(settings['map']).stem}, `{settings['preset']}`, {settings['agents_per_world']} agents a world"
        rates = (r["agent_steps_per_s_one_thread"], r["agent_steps_per_s"])
        rows.append([name, str(r["observation_bytes"] // 4), *(f"{rate / 1e6:.2f} M" for rate in rates)])
    return table(["world", "floats an observation", "agent-steps/s, one core", "two cores"], rows)


def population() -> str:
    """Kinds of road users."""
    rows = [
        [
            f"`{name}`",
            f"{k.length[0]:g} to {k.length[1]:g}",
            f"{k.width[0]:g} to {k.width[1]:g}",
            f"{k.speed:g}",
            f"{k.acceleration:g}",
        ]
        for name, k in ROAD_USERS.items()
    ]
    return table(["kind", "length [m]", "width [m]", "top speed, of a car's", "acceleration, of a car's"], rows)


def state() -> str:
    """Every array of the simulator, group by group."""
    parts = []
    for name, group in GROUPS._asdict().items():
        rows = [
            [f"`{name}.{array}`", " x ".join(f.axes), getattr(f.dtype, "__name__", "record").rstrip("_"), f.unit, f.meaning]
            for array, f in fields(group).items()
        ]
        said = " ".join((group.__doc__ or "").split())
        said = "" if said.startswith(f"{group.__name__}(") else f"{said}\n\n"  # a NamedTuple writes one itself
        parts.append(f"### {group.__name__}\n\n{said}{table(['array', 'axes', 'dtype', 'unit', 'meaning'], rows)}")
    return "\n\n".join(parts)


def events() -> str:
    """The fields of an entry of the event log."""
    from gigaflow_env.event_log import Event

    return describe(Event)


def _commands(file: Path) -> list[tuple[str, ast.ClassDef]]:
    """(words of the command line, class) of each command that a file declares, read without importing it."""
    module = ast.parse(file.read_text(encoding="utf-8"))
    classes = {node.name: node for node in module.body if isinstance(node, ast.ClassDef)}

    def within(node: ast.AST, words: str) -> list[tuple[str, ast.ClassDef]]:
        found = []
        for part in sorted(ast.walk(node), key=lambda part: (getattr(part, "lineno", 0), getattr(part, "col_offset", 0))):
            if (
                isinstance(part, ast.Subscript)
                and isinstance(part.slice, ast.Tuple)
                and ast.unparse(part.value) == "Annotated"
            ):
                kind, *rest = part.slice.elts
                for call in rest:
                    if isinstance(call, ast.Call) and ast.unparse(call.func) == "subcommand":
                        cls, name = classes[ast.unparse(kind)], f"{words} {ast.literal_eval(call.args[0])}"
                        found += within(cls, name) or [(name, cls)]
        return found

    (union,) = [node for node in module.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "Command"]
    return within(union, "")


def _arguments(command: ast.ClassDef) -> list[list[str]]:
    rows = []
    for node, below in zip(command.body, [*command.body[1:], None], strict=True):
        if not isinstance(node, ast.AnnAssign):
            continue
        said = below.value.value if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant) else ""
        name, annotation = ast.unparse(node.target), ast.unparse(node.annotation)
        flag = name.upper() if "Positional[" in annotation else f"--{name.replace('_', '-')}"
        if "aliases=" in annotation:
            flag += ", " + re.findall(r"aliases=\[.([^']+).", annotation)[0]
        default = "required" if node.value is None else ast.unparse(node.value)
        default = {"None": "", "False": "off", "()": ""}.get(default, default)
        rows.append(
            [
                f"`{flag}`",
                default and f"`{default}`" if default not in ("required", "off") else default,
                " ".join(str(said).split()),
            ]
        )
    return rows


def cli() -> str:
    """Every command with its arguments."""
    parts = []
    for program, file in (("gigaflow-env", "gigaflow_env/cli.py"), ("gigaflow-train", "gigaflow_train/cli.py")):
        for words, command in _commands(ROOT / file):
            said = " ".join((ast.get_docstring(command) or "").split())
            rows = _arguments(command)
            parts.append(f"### {program}{words}\n\n{said}\n\n{table(['argument', 'default', 'meaning'], rows)}")
    return "\n\n".join(parts)


def _code_lines(path: Path) -> int:
    """Lines of a module with code: neither blank, nor comment, nor docstring, nor import."""
    text = path.read_text(encoding="utf-8")
    left_out: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        said = isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
        if isinstance(node, ast.stmt) and (said or isinstance(node, (ast.Import, ast.ImportFrom))):
            left_out |= set(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    lines = enumerate(map(str.strip, text.splitlines()), 1)
    return sum(bool(line) and line[0] != "#" and number not in left_out for number, line in lines)


def libraries() -> str:
    """Libraries of reinforcement learning that were tried: how they are driven, what they learned, and what they cost."""
    rows = []
    for r in _results("libraries.jsonl"):
        adapter = ROOT / "gigaflow_env" / "adapters" / f"{r['library']}.py"
        learned = "an interface, no trainer"
        if "after" in r:
            before, after = r["before"], r["after"]
            learned = (
                f"goals {before['goals']:.1f} to {after['goals']:.1f}, crashes {before['crashes']:.0f} to "
                f"{after['crashes']:.0f}; {r['steps'] // 1000} k steps"
            )
        rows.append(
            [
                f"{r['title']} {r['version']}".strip(), f"`{r['mode']}`", r["gymnasium"],
                f"{_code_lines(adapter)}" if adapter.exists() else "0", learned,
                f"{r['library_steps_per_s'] / 1000:.0f} k of {r['raw_steps_per_s'] / 1000:.0f} k",
                f"{100 * r['overhead']:.0f} %", f"`{r['command'].removeprefix('python ')}`",
            ]
        )  # fmt: skip
    head = [
        "library", "autoreset mode", "Gymnasium", "lines of the adapter", "learned, in 1,000 agent-steps",
        "agent-steps/s through it, of as it is", "overhead", "command",
    ]  # fmt: skip
    return table(head, rows)


def _estimate(one: Mapping[str, Any] | None, form: str = "{:.2f}") -> str:
    """A figure with its interval."""
    if one is None or one["value"] is None:
        return ""
    told = None not in (one["low"], one["high"])
    low, high = (form.format(one[end]) for end in ("low", "high")) if told else ("", "")
    return form.format(one["value"]) + (f"<br>{low} to {high}" if low != high else "")


BENCHMARK_FIGURES = {
    "waymax": {
        "score": "score", "collision": "overlap", "offroad": "off-road", "log_divergence": "log divergence [m]",
        "progress_ratio": "progress ratio", "kinematic_infeasibility": "kinematic infeasibility",
    },
    "nuplan": {"score": "score", "no_ego_at_fault_collisions": "no collision at fault"},
    "wosac": {"composite_2025": "composite 2025", "min_ade": "minADE [m]"},
    "scenes": {"score": "goal before any collision", "collided": "collided", "offroad": "off-road"},
    "carla-routes": {
        "driving_score": "driving score", "route_completion": "route completion", "vehicle_per_km": "vehicles hit per km",
        "red_light_per_km": "red lights run per km",
    },
}  # fmt: skip


def _benchmarks(routes: bool) -> str:
    file = RESULTS / ("routes.json" if routes else "recorded.json")
    found = json.loads(file.read_text(encoding="utf-8"))["suites"]
    policies = ["replay", "pretrained", "idm", "constant", "random"][routes:]
    rows = []
    for name, figures in found.items():
        suite, _, where = name.partition(", ")
        for figure, words in BENCHMARK_FIGURES[suite].items():
            form = "{:.1f}" if routes else "{:.2f}"
            n = figures["pretrained"][next(iter(BENCHMARK_FIGURES[suite]))]["n"]
            values = [_estimate(figures.get(policy, {}).get(figure), form) for policy in policies]
            rows.append([f"{suite}, {where}" if not routes else where, words, f"{n}", *values])
    return table(["town" if routes else "suite, data", "figure", "n", *policies], rows)


def benchmark_scenes() -> str:
    """Figures of policies on recorded scenes."""
    return _benchmarks(False)


def benchmark_routes() -> str:
    """Figures of policies on routes of CARLA's towns."""
    return _benchmarks(True)


PARTS = {
    part.__name__: part
    for part in (
        actions, observation, conditioning, config, population, state, events, cli, throughput, speed, stages, parts,
        against, against_kernels, cuda_code, cuda_cost, cuda_cost_kernels, ablations, newcomer, training_against, sizes,
        instructions, instructions_idm, shared_lines, learning, headline, traffic, large_maps, soak, scenes, driver_ladder,
        driver_second_seed, driver_again,
        driver_longform, driver_robustness, driver_conditioning, driver_worlds, libraries, benchmark_scenes,
        benchmark_routes,
    )
}  # fmt: skip


def pages() -> list[Path]:
    """README.md and every page of docs/."""
    return [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def filled(text: str) -> str:
    """A page with every part made anew. Raises ValueError for a marker without a function."""

    def fill(match: re.Match[str]) -> str:
        name = match["name"]
        if name not in PARTS:
            raise ValueError(f"a page has a part {name!r}: there is {', '.join(PARTS)}")
        return f"<!-- begin {name} -->\n\n{PARTS[name]()}\n\n<!-- end {name} -->"

    return re.sub(r"<!-- begin (?P<name>\w+) -->.*?<!-- end (?P=name) -->", fill, text, flags=re.DOTALL)


if __name__ == "__main__":
    for page in pages():
        text = page.read_text(encoding="utf-8")
        if (made := filled(text)) != text:
            write_text(page, made)
            sys.stdout.write(f"{page.relative_to(ROOT)}\n")
