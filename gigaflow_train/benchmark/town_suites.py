"""The suites that need no recording: long form and robustness, in towns."""

import dataclasses
import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env import Config
from gigaflow_env.config import longform as longform_preset
from gigaflow_train import environment, towns
from gigaflow_train.benchmark import bundles, drivers
from gigaflow_train.benchmark.counter import Counter
from gigaflow_train.benchmark.request import HELD_OUT, Request, word
from gigaflow_train.benchmark.results import Outcome, plain
from gigaflow_train.evaluate import longform, robustness
from gigaflow_train.evaluate.baselines import Act
from gigaflow_train.evaluate.run import drive, figures
from gigaflow_train.files import write_text
from gigaflow_train.interrupts import interruptible

WORLD_SECONDS = 600.0
"""[s] How long a world of the long form lasts, as published."""
STEPS = 800
"""Steps of each robustness check, where none are given."""
MINUTES = 5.0
"""Budget of the long form, where neither steps nor minutes are given."""
SAVE_EVERY = 30.0
"""[s] Counts are on disk so often."""
AGENTS = 50
"""Agents of a world of the long form, about as many as published."""
SEEDS_APART = 1000
"""Between the worlds of two stretches of the long form: each has seeds of its own."""

Advance = Callable[[float], None]
"""Called with how much of the work is done, 0..1."""


def longform_config(policy: str) -> Config:
    """The published safety evaluation as a policy knows how to see and to act: with its own view and time step.

    Coefficients are as careful as its training knew them: what it never saw it can't obey.
    """
    trained, published = drivers.config_of(policy), longform_preset()
    seen = (
        "dt", "lane_count", "lane_spacing", "boundary_count", "stop_count", "agent_count", "view_range", "route_range",
        "first_goal", "goal_distance", "waypoints_max", "population", "velocity", "timestep", "progress",
    )  # fmt: skip
    changes: dict[str, Any] = {name: getattr(trained, name) for name in seen}
    for name in ("goal_radius", "comfort", "lane_align", "velocity_align", "lane_center", "center_bias", "reverse"):
        low, high = getattr(trained, name)
        changes[name] = (min(max(getattr(published, name)[0], low), high),) * 2
    changes |= {name: (getattr(trained, name)[1],) * 2 for name in ("collision", "offroad", "stop_line")}
    steps = round(WORLD_SECONDS / trained.dt)
    return published.replace(**changes, max_steps=steps, world_steps=steps)


def plain_config(policy: str) -> Config:
    """A policy's training environment on maps as they are, nobody erratic, goals no farther aside than by default."""
    return drivers.config_of(policy).replace(
        variant_scale=(1.0, 1.0), variant_shear=(0.0, 0.0), variant_flip=0.0, variant_turn=(0.0, 0.0), inattentive=0.0,
        phantom=0.0, noise_position=0.0, noise_heading=0.0, noise_speed=0.0, world_stagger=0.0,
        goal_lane_changes=Config().goal_lane_changes,
    )  # fmt: skip


def make(request: Request, policy: str, config: Config, *, traffic: float = 0.0, events: bool = False,
         maps: tuple[str, ...] = ()) -> Any:  # fmt: skip
    """The environment of a town suite."""
    return environment.make(
        maps=maps or request.maps or (HELD_OUT,),
        preset="paper",
        config=dataclasses.asdict(config),
        num_envs=request.rows,
        agents_per_world=None,
        threads=request.threads,
        backend=request.backend,
        traffic=1.0 if policy == "idm" else traffic,
        events=events,
        action=drivers.action_of(policy),
    )


def run_longform(request: Request, policy: str, advance: Advance) -> Outcome:
    """Drive until the budget is spent, in worlds of ten minutes, and count incidents by map.

    What an earlier call counted with the same policy and settings in the same directory is taken up: counts.json has it,
    and worlds go on with the next seed. Ctrl-C ends the drive with what was counted.
    """
    config = longform_config(policy)
    config = config.replace(agents_per_world=min(AGENTS, request.rows))
    env = make(request, policy, config, events=True)
    act = drivers.acting(policy, env, request.seed, greedy=request.greedy)
    names = [road_map.name for road_map in env.unwrapped.simulator.maps]
    key = plain({
        "policy": drivers.identity(policy)._asdict(), "config": dataclasses.asdict(config), "maps": names,
        "rows": request.rows, "seed": request.seed, "greedy": request.greedy,
    })  # fmt: skip
    path = request.out / f"counts-{word(policy)}.json"
    counts, segment, before = _earlier(path, key, names)
    began = time.monotonic()
    budget = request.minutes if request.minutes is not None else (None if request.steps else MINUTES)
    done, saved = 0, began
    keeper = bundles.Keeper(env, request, policy, config)
    if segment and request.keep > 0:
        keeper.take_up()
    with interruptible() as interrupted:
        over = False
        while not over:
            seed = request.seed + SEEDS_APART * segment
            obs, info = env.reset(seed=seed)
            judged = ~info["traffic"] | info["traffic"].all()
            counter = Counter(env, judged)
            active = info["active"] & judged
            keeper.begin(seed)
            for step in range(config.world_steps):
                action = act(obs)
                keeper.before(step, action)
                obs, _, terminated, truncated, info = env.step(action)
                for name, one in counter.add(active, terminated | truncated, info).items():
                    counts[name] = counts[name].plus(one)
                keeper.after(step, counter.events)
                active = info["active"] & judged
                done += 1
                now = time.monotonic()
                spent = (now - began) / 60.0
                share = done / request.steps if request.steps else 0.0
                share = max(share, spent / budget if budget else 0.0)
                advance(min(share, 1.0))
                over = interrupted.is_set() or share >= 1.0
                if now - saved > SAVE_EVERY:
                    _save(path, key, counts, segment + 1, before + now - began)
                    saved = now
                if over:
                    break
            segment += 1
    seconds = before + time.monotonic() - began
    _save(path, key, counts, segment, seconds)
    paths = keeper.write()
    env.close()
    clips = [bundles.show(path, threads=request.threads) for path in paths]
    whole = longform.total(counts.values())
    rows = [{"scene": name, "type": "town", **one._asdict()} for name, one in counts.items()]
    seeds = [request.seed + SEEDS_APART * k for k in range(segment)]
    advance(1.0)
    stopped = interrupted.is_set()
    return Outcome(longform.figures(whole), rows, [], dataclasses.asdict(config), seeds, seconds, clips, stopped)


def _earlier(path: Path, key: Any, names: list[str]) -> tuple[dict[str, longform.Counts], int, float]:
    """Counts by map of earlier runs with the same settings, the next segment, and their seconds."""
    fresh = dict.fromkeys(names, longform.Counts()), 0, 0.0
    if not path.is_file():
        return fresh
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        if kept["key"] != key:
            raise ValueError(
                f"{path} has counts of another policy, config, maps or seed: choose another --out, or remove the file"
            )
        counts = {name: longform.from_json(kept["counts"][name]) for name in names}
        return counts, int(kept["segments"]), float(kept["seconds"])
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is no file of counts: {error}") from None


def _save(path: Path, key: Any, counts: dict[str, longform.Counts], segments: int, seconds: float) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    by_map = {name: one._asdict() for name, one in counts.items()}
    kept = {"key": key, "counts": by_map, "segments": segments, "seconds": seconds}
    write_text(path, json.dumps(kept, indent=1) + "\n")


def run_robustness(request: Request, policy: str, advance: Advance) -> Outcome:
    """Drive every check of `robustness.CHECKS` with the same seed, and compare its goals with those of the first."""
    base = plain_config(policy)
    steps = request.steps or STEPS
    known = request.maps or _trained_maps(policy)
    found, began, done = [], time.monotonic(), itertools.count(1)

    def show() -> None:
        advance(next(done) / (steps * len(robustness.CHECKS)))

    for check in robustness.CHECKS:
        maps = (HELD_OUT,) if check.maps == "held out" else known
        env = make(request, policy, base.replace(**check.config), traffic=check.traffic, maps=maps)
        act = drivers.acting(policy, env, request.seed, greedy=request.greedy)
        found.append((check, figures(drive(env, late(act, check.delay), steps=steps, seed=request.seed, show=show))))
        env.close()
    rows = []
    for line in robustness.table(found):
        estimates = {"goals": line.goals, "collisions": line.collisions, "offroads": line.offroads}
        rows.append(
            {"scene": line.check, "type": line.group or "as trained", "loss": line.loss}
            | {f"{name}{end}": getattr(one, part) for name, one in estimates.items()
               for end, part in (("", "value"), ("_low", "low"), ("_high", "high"), ("_n", "n"))}
        )  # fmt: skip
    seconds = time.monotonic() - began
    return Outcome(found[0][1], rows, [], dataclasses.asdict(base), [request.seed], seconds)


def late(act: Act, delay: int) -> Act:
    """A policy whose actions come some steps late; the first ones are those that came first."""
    waiting: deque[np.ndarray] = deque()

    def act_late(obs: np.ndarray) -> np.ndarray:
        waiting.append(act(obs).copy())
        return waiting.popleft() if len(waiting) > delay else waiting[0]

    return act_late if delay else act


def _trained_maps(policy: str) -> tuple[str, ...]:
    """Maps that are like the training's: its first ones, for it may have had hundreds."""
    if not drivers.is_trained(policy):
        return (HELD_OUT,)
    from gigaflow_train import checkpoint

    return tuple(towns.names(checkpoint.read_facts(policy).config.maps)[:9])
