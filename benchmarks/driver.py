"""How the pretrained driver drives, for its model card: `python benchmarks/driver.py`, or `make driver`.

Every row is one drive with its own settings; the result file is written after each one, and rows that it has already are not
driven again as long as the policy is the same. Sections:

    ladder         goals, crashes and red lights in the towns of the training, in random towns and in real maps it never saw
    longform       the paper's safety evaluation: km per incident, with the exact interval
    robustness     the ladder's random towns, harder: noise, other dynamics, rule-based traffic, erratic drivers, density
    conditioning   the same towns, each reward coefficient at the ends of its trained range, and all from careful to hasty

Real maps are those beside the checkout, in ../shared/maps/carla, where there are any.
"""

import functools
import hashlib
import json
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tyro

from gigaflow_env import Config, GigaflowVectorEnv, driver
from gigaflow_env.bench.machine import machine
from gigaflow_env.config import longform
from gigaflow_env.files import write_text
from gigaflow_train import towns
from gigaflow_train.benchmark import town_suites
from gigaflow_train.benchmark.counter import Counter
from gigaflow_train.config import TOWNS
from gigaflow_train.evaluate import baselines, metrics, policies, robustness
from gigaflow_train.evaluate import longform as longform_counts
from gigaflow_train.evaluate.run import Result, as_json, figures

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "driver.json"
SHARED = ROOT.parent / "shared" / "maps" / "carla"
REAL = ("Town01", "Town02", "Town04", "Town06")
UNSEEN = "random:1000001-1000020"
"""Seeds that no training may use."""
STYLES = {f"10 {style} random towns": f"random:{style}:1000001-1000010" for style in ("old", "tight", "wide")}
"""And of the other styles of random towns."""
BACKING = 0.3
"""[m/s] Who is faster backwards drives in reverse."""
AGENTS = (4, 32)
"""Of a world, however many the last stage of the training had: so rows of different drivers compare."""
FEWER = 6
"""Other sections have so much fewer agents than the ladder, whose rows are held against limits."""


@dataclass(frozen=True)
class Card:
    """Drive everything that the model card says, and write it into one file."""

    policy: str = driver.PRETRAINED
    """`pretrained`, a run directory or a .safetensors file."""
    out: Path = RESULTS
    """The result file."""
    section: tuple[str, ...] = ()
    """Of ladder, longform, robustness, conditioning; all by default."""
    num_envs: int = 1536
    """Agents that drive at once in the ladder; `FEWER` times less in `robustness` and `conditioning`."""
    steps: int = 800
    """Steps of a row, but for `longform`, which has its `hours`: an episode of the evaluation, twice one of the training."""
    hours: float = 30.0
    """Agent-hours of each long-form row."""
    threads: int | None = None
    """CPU threads of the simulator."""
    seed: int = 1
    """Of worlds and actions; training has used 0."""
    plot: Path | None = None
    """Draw what the coefficients change into this file, *.png, and drive nothing."""


class Row(NamedTuple):
    """One drive."""

    section: str
    name: str
    maps: tuple[str, ...]
    config: Config
    rows: int
    steps: int
    traffic: float = 0.0
    delay: int = 0
    conditioning: dict[str, float] | None = None
    other_scales: bool = False


def real() -> dict[str, tuple[str, ...]]:
    """Real maps by name, as far as they are there."""
    files = {name: SHARED / f"{name}.xodr" for name in REAL}
    return {name: (str(file),) for name, file in files.items() if file.is_file()}


def evaluated(config: Config) -> Config:
    """Episodes twice as long as in training: a route has half of one, see `metrics.Ages`. As many agents in every card."""
    return config.replace(max_steps=2 * config.max_steps, agents_per_world=AGENTS)


def plain(card: Card) -> Config:
    """The training's environment on the maps as they are, nobody erratic."""
    return evaluated(town_suites.plain_config(card.policy))


def ladder(card: Card, config: Config) -> Iterator[Row]:
    """Towns of the training, random towns, and real maps; with and without map variants."""
    styles = {name: (maps,) for name, maps in STYLES.items()}
    for name, maps in {"towns of the training": TOWNS, "20 random towns": (UNSEEN,), **styles, **real()}.items():
        yield Row("ladder", name, maps, plain(card), card.num_envs, card.steps)
    yield Row("ladder", "20 random towns, map variants and erratic drivers as in training", (UNSEEN,), evaluated(config),
              card.num_envs, card.steps)  # fmt: skip


def long_form(card: Card, config: Config) -> Iterator[Row]:
    """The published safety evaluation as the driver sees it: at its own time step, and at the paper's 15 Hz."""
    careful = town_suites.longform_config(card.policy)
    for name, dt in ((f"{1 / config.dt:.1f} Hz, as trained", config.dt), ("15 Hz, as in the paper", longform().dt)):
        steps = round(town_suites.WORLD_SECONDS / dt)
        made = careful.replace(dt=dt, max_steps=steps, world_steps=steps, agents_per_world=32)
        rows = 256
        maps = (UNSEEN, *(one for maps in real().values() for one in maps))
        yield Row("longform", name, maps, made, rows, max(1, round(card.hours * 3600.0 / dt / rows)), other_scales=True)


def harder(card: Card, config: Config) -> Iterator[Row]:
    """The random towns, one thing changed at a time: all checks of the benchmark but that of the maps, which all are new."""
    for check in robustness.CHECKS:
        if check.maps == "same":
            made = plain(card).replace(**check.config)
            rows = max(1, card.num_envs // FEWER // made.agents[1]) * made.agents[1]
            yield Row("robustness", check.name, (UNSEEN,), made, rows, card.steps, check.traffic, check.delay)


CAREFUL = ("collision", "offroad", "stop_line", "comfort", "lane_center")
"""Coefficients that are high for a careful driver and low for a hasty one."""


def ends(config: Config) -> list[str]:
    """Coefficients that the training drew from a range."""
    from gigaflow_env import CONDITIONING

    return [name for name in CONDITIONING if getattr(config, name)[0] < getattr(config, name)[1]]


def conditioning(card: Card, config: Config) -> Iterator[Row]:
    """All coefficients from careful to hasty, then each one alone; and the body's top speed, which is conditioning, too."""
    calm = plain(card)

    def at(name: str, share: float) -> float:
        low, high = getattr(config, name)
        return low + share * (high - low)

    for name, share in (("careful", 1.0), ("in between", 0.5), ("hasty", 0.0)):
        chosen = {one: at(one, share) for one in CAREFUL if one in ends(config)}
        chosen["c_vel"] = 1.0 + 0.3 * (0.5 - share)
        yield Row("conditioning", name, (UNSEEN,), calm, card.num_envs // FEWER, card.steps, conditioning=chosen)
    for one in ends(config):
        for share in (0.0, 1.0):
            value = at(one, share)
            yield Row("conditioning", f"{one} {value:g}", (UNSEEN,), calm, card.num_envs // FEWER, card.steps,
                      conditioning={one: value})  # fmt: skip


SECTIONS: dict[str, Callable[[Card, Config], Iterator[Row]]] = {
    "ladder": ladder, "longform": long_form, "robustness": harder, "conditioning": conditioning,
}  # fmt: skip


@functools.cache
def opened_towns(maps: tuple[str, ...]) -> towns.Towns:
    """The maps of a row; most rows have the same."""
    return towns.open_all(maps, "equal")


def drive(card: Card, row: Row) -> dict[str, Any]:
    """Figures of one row."""
    opened = opened_towns(row.maps)
    env = GigaflowVectorEnv(
        row.rows, map=opened.maps, map_shares=opened.shares, config=row.config, threads=card.threads, copy=False,
        events=True, drivers={"policy": 1.0 - row.traffic, "idm": row.traffic},
    )  # fmt: skip
    act = town_suites.late(policies.trained(card.policy, env, card.seed, other_scales=row.other_scales), row.delay)
    options = {} if row.conditioning is None else {"options": {"conditioning": row.conditioning}}
    obs, info = env.reset(seed=card.seed, **options)
    judged = ~info["traffic"]
    active = info["active"] & judged
    known = metrics.ages_of(row.config, np.zeros(row.rows, np.int64), np.zeros(row.rows, np.int64))
    tallies, distance, lived = [], np.zeros(row.rows), np.zeros(row.rows)
    counter, counts, manner = Counter(env, judged), longform_counts.Counts(), np.zeros(5)
    dt = row.config.dt
    for _ in range(row.steps):
        obs, _, terminated, truncated, info = env.step(act(obs))
        tallies.append(metrics.count(known, active, terminated, truncated, info))
        counts = longform_counts.total([counts, *counter.add(active, terminated | truncated, info).values()])
        distance += np.where(active, info["distance"], 0.0)
        lived += active
        active = info["active"] & judged
        manner += manners(env, obs[active])
    there = lived > 0
    result = Result(metrics.total(tallies), distance[there] / lived[there] / dt)
    found: dict[str, Any] = as_json(figures(result))
    found.pop("red_light_rate", None)
    *sums, samples = manner
    names = ("offset_m", "harsh_share", "bias_m", "reverse_share")
    found |= {name: float(part / max(1.0, samples)) for name, part in zip(names, sums, strict=True)}
    found |= {
        "stuck": counts.stuck + counts.start_stuck,
        "collision_incidents": counts.collision,
        "offroad_incidents": counts.offroad,
        "incidents_at_start": counts.start_collision + counts.start_offroad,
        "km_per_incident": longform_counts.figures(counts)["km_between_incidents"]._asdict(),
        "hours": counts.seconds / 3600.0,
    }
    env.close()
    return found


def manners(env: Any, obs: np.ndarray) -> np.ndarray:
    """Sums over rows: |offset| [m], acceleration or cornering beyond comfort, offset [m], reverse; and how many rows."""
    ego = env.layout.split(obs).ego
    offset = baselines.metric(ego, "offset")
    limit = env.config.comfort_acceleration
    hard = (np.abs(baselines.metric(ego, "acceleration")) > limit) | (np.abs(baselines.metric(ego, "lateral")) > limit)
    back = baselines.metric(ego, "speed") < -BACKING
    return np.array([np.abs(offset).sum(), hard.sum(), offset.sum(), back.sum(), len(obs)], float)


def plot(results: dict[str, Any], path: Path) -> None:
    """What each coefficient changes: its figures at the low and the high end of the trained range."""
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    rows = [row for row in results["rows"] if row["section"] == "conditioning"]
    shown = (
        ("goal_rate", "goals reached [%]", 100), ("red_lights_per_km", "red lights run per km", 1),
        ("mean_speed_mps", "mean speed [m/s]", 1), ("offset_m", "distance from the lane's center [m]", 1),
    )  # fmt: skip
    figure, axes = pyplot.subplots(1, len(shown), figsize=(13, 0.34 * len(rows) + 1.2), sharey=True)
    for axis, (name, title, factor) in zip(axes, shown, strict=True):
        for place, row in enumerate(reversed(rows)):
            found = row[name]
            one = found if isinstance(found, dict) else {"value": found, "low": found, "high": found}
            if one["value"] is None or one["low"] is None or one["high"] is None:
                continue
            value, low, high = (factor * one[part] for part in ("value", "low", "high"))
            colour = {"careful": "#2a7de1", "hasty": "#d6453d"}.get(row["name"], "#555d69")
            axis.errorbar(value, place, xerr=[[max(0, value - low)], [max(0, high - value)]], fmt="o", ms=4, color=colour)
        axis.set_title(title, fontsize=9)
        axis.grid(axis="x", alpha=0.3)
        axis.tick_params(labelsize=8)
    axes[0].set_yticks(range(len(rows)), [row["name"] for row in reversed(rows)], fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(card: Card) -> None:
    """Drive what the result file lacks."""
    file = driver.file_of(card.policy)
    sha = hashlib.sha256(file.read_bytes()).hexdigest()
    before = json.loads(card.out.read_text()) if card.out.is_file() else {}
    results = before if before.get("policy", {}).get("sha256") == sha else {"rows": []}
    if card.plot is not None:
        plot(results, card.plot)
        return
    facts, config = driver.read_facts(card.policy), driver.config_of(card.policy)
    results["policy"] = {"sha256": sha, "samples": facts.step, "bytes": file.stat().st_size, "config": facts.config}
    results |= machine() | {"command": "python benchmarks/driver.py " + " ".join(sys.argv[1:])}
    for section in card.section or tuple(SECTIONS):
        if section not in SECTIONS:
            raise SystemExit(f"--section {section}: choose of {', '.join(SECTIONS)}")
        for row in SECTIONS[section](card, config):
            settings = {"rows": row.rows, "steps": row.steps, "seed": card.seed, "conditioning": row.conditioning}
            known = [r for r in results["rows"] if (r["section"], r["name"]) == (row.section, row.name)]
            if known and known[0]["settings"] == settings:
                continue
            start = time.perf_counter()
            found = drive(card, row)
            maps = [Path(name).stem for name in row.maps]
            entry = {"section": row.section, "name": row.name, "maps": maps, **found, "settings": settings}
            entry["seconds"] = round(time.perf_counter() - start, 1)
            results["rows"] = [r for r in results["rows"] if r not in known] + [entry]
            results["rows"].sort(key=lambda r: list(SECTIONS).index(r["section"]))
            write_text(card.out, json.dumps(rounded(results), indent=1, allow_nan=False) + "\n")
            goal = found["goal_rate"]["value"]
            print(f"{row.section}: {row.name}: {math.nan if goal is None else goal:.1%} goals, "
                  f"{found['collision_rate']['n']} routes, {entry['seconds']:.0f} s", flush=True)  # fmt: skip


def rounded(given: Any) -> Any:
    """Numbers with five digits: more are noise."""
    if isinstance(given, dict):
        return {name: rounded(value) for name, value in given.items()}
    if isinstance(given, list):
        return [rounded(value) for value in given]
    return float(f"{given:.5g}") if isinstance(given, float) and math.isfinite(given) else given


if __name__ == "__main__":
    main(tyro.cli(Card, config=(tyro.conf.FlagCreatePairsOff,)))
