"""The suites on recorded scenes: waymax, nuplan, wosac and scenes. Each scene is driven once, or once a rollout."""

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from gigaflow_env import Config
from gigaflow_env.replay import Clip, Recorder
from gigaflow_env.roads.road_map import RoadMap
from gigaflow_env.roads.scenario import Scenario
from gigaflow_env.scenes.cast import IDM_NUPLAN
from gigaflow_env.scenes.sources import Source
from gigaflow_env.scenes.stream import MOST_AGENTS
from gigaflow_env.state import ENDED, REPLAY
from gigaflow_train.benchmark import bundles, drivers, town_suites
from gigaflow_train.benchmark.compare import bootstrap, bootstrap_of
from gigaflow_train.benchmark.request import Request
from gigaflow_train.benchmark.results import Outcome, plain
from gigaflow_train.evaluate import gpudrive, nuplan, surroundings, waymax, wosac
from gigaflow_train.evaluate.metrics import Estimate, proportion
from gigaflow_train.evaluate.polylines import pieces_of
from gigaflow_train.evaluate.trajectories import ARRAYS, Trajectories, from_scenario
from gigaflow_train.interrupts import interruptible

START = wosac.HISTORY - 1
"""Moment at which a scene begins to be driven: those before are the history that every agent may know."""
CONTROL = {"waymax": "ego", "nuplan": "ego", "wosac": "all", "scenes": "predict"}
"""Who is driven by the policy in each suite."""
USUAL = 3
"""Steps of 0.1 s for which an action of 0.3 s holds: what most scenes and policies have."""

Advance = Callable[[float], None]


class Driven(NamedTuple):
    """A scene that was driven to its end."""

    name: str
    scenario: Scenario
    road_map: RoadMap
    trajectories: Trajectories  # all agents of the Scenario at all its moments; the history is the record's
    start: int
    last: int  # the moment at which it ended
    controlled: np.ndarray  # numbers of the Scenario's agents that were driven
    conflict: dict[int, int]  # bits by agent: how its start is unfair, see gigaflow_env.state
    clip: Clip | None
    actions: np.ndarray  # (steps, rows) of its world
    left_out: int  # agents for which its world had no room: the farthest
    about: dict[str, Any]  # what a bundle needs to drive it again


def config_of(policy: str, others: str) -> Config:
    """A policy's environment for scenes: its own view, cautious, crashes end nothing, and the world as it was recorded."""
    config = town_suites.longform_config(policy).replace(
        on_crash="continue", on_route_done="new_route", max_steps=10**6, world_steps=10**5, vel_spread=1.0, acc_spread=1.0,
        throttle_spread=1.0, steer_spread=1.0,
    )  # fmt: skip
    return config.replace(**IDM_NUPLAN) if others == "idm" or policy == "idm" else config


def decisions(policy: str, dt: float) -> int:
    """For how many steps of a scene an action holds: as long as in the training, about."""
    return max(1, round(drivers.config_of(policy).dt / dt))


def make(request: Request, policy: str, scenes: Sequence[Any]) -> Any:
    """The environment of a scene suite; a page of worlds goes to its end before the next one begins."""

    def opened(every: int) -> Any:
        return gymnasium.make_vec(
            "gigaflow_env:GigaFlow-v0", scenes=list(scenes), control=CONTROL[request.suite], others=request.others,
            drivers=drivers.seat(policy), start_step=START, decision_every=every, config=config_of(policy, request.others),
            threads=request.threads, backend=request.backend, action=drivers.action_of(policy), autoreset_mode="NextStep",
            copy=False, events=True, worlds=request.worlds,
        )  # fmt: skip

    env = opened(USUAL)
    every = decisions(policy, env.unwrapped.config.dt)
    if every != USUAL:  # scenes of other data sets have another time step, which is known when one is open
        env.close()
        env = opened(every)
    return env


def drive(
    request: Request, policy: str, env: Any, names: Mapping[str, str], *, seed: int, rounds: int = 1, record: bool = False,
    limit: int | None = None, crowded: list[Source] | None = None, advance: Advance = lambda share: None,
) -> Iterator[Driven]:  # fmt: skip
    """Every scene that can be driven, page by page, each page some times: what follows from a scene is there soon.

    names: of scenes, as `short` gives them. limit: scenes at most. In each round but the first the page begins as it did,
    with other chance; only the first is recorded. crowded: scenes are added that have more agents to control than there are
    rows; they are not among those that come.
    """
    inner = env.unwrapped
    act = drivers.acting(policy, env, seed, greedy=request.greedy)
    every = decisions(policy, inner.config.dt)
    sources = inner.scene_count
    wanted = sources if limit is None else min(limit, sources)
    obs, _ = env.reset(seed=seed)
    seen: set[int] = set()
    while True:
        page = inner.scenes
        fresh = [one.number not in seen for one in page]
        if not any(fresh) or len(seen) >= wanted:  # the first page again
            break
        mine = [w for w, new in enumerate(fresh) if new][: wanted - len(seen)]
        seen.update(page[w].number for w in mine)
        if crowded is not None:
            crowded += [page[w].source for w in mine if page[w].uncontrolled]
            mine = [w for w in mine if not page[w].uncontrolled]
        begin = inner.snapshot() if rounds > 1 else {}
        for turn in range(rounds):
            if turn:
                key = np.random.default_rng([seed, turn]).integers(0, 2**32, 2, dtype=np.uint32)
                obs, _ = inner.restore({**begin, "clock.seed": key})
            tapes = [_Tape(inner, w, one) for w, one in enumerate(page)]
            facts = [about(inner, w, every) for w in range(len(page))]
            recorders = [Recorder(inner.simulator, w) for w in range(len(page))] if record and not turn else []
            for recorder in recorders:
                recorder.add()
            action, actions = None, []
            for step in range(max(one.steps for one in page)):
                if action is None or step % every == 0:
                    action = act(obs).copy()
                actions.append(action)
                obs, *_ = env.step(action)
                for tape in tapes:
                    tape.add()
                for recorder, one in zip(recorders, page, strict=bool(recorders)) if recorders else ():
                    if step < one.steps:
                        recorder.add()
            for w in mine:
                name = names[page[w].name]
                clip = recorders[w].clip(name, focus=0) if recorders else None
                taken = np.stack(actions[: page[w].steps])[:, inner.world_of_row == w] if clip else np.zeros((0, 1))
                yield tapes[w].driven(name, clip, taken, facts[w])
            advance((len(seen) + len(inner.scenes_left_out) - len(mine) * (1 - (turn + 1) / rounds)) / sources)
            inner.take_events()  # the recorders have seen them: a log of days needs no memory
        obs, *_ = env.step(action)  # the page turns: nothing else happens


def about(env: Any, world: int, every: int) -> dict[str, Any]:
    """What a bundle needs of a scene that begins now."""
    return {
        "decision_every": every, "config": plain(dataclasses.asdict(env.config)), "rows_per_world": env.agents_per_world,
        "agents_per_world": env.simulator.agents, "chance": bundles.chance_of(env, world),
    }  # fmt: skip


def named(source: str) -> str:
    """A scene's name in reports: that of its file, with the record, but not its folder, which another machine has not."""
    return source if source.startswith("scenario ") else source.replace("\\", "/").rpartition("/")[2]


def short(sources: Sequence[str]) -> dict[str, str]:
    """Names of scenes in reports by what messages call them: of two files of one name with as many folders as they need.

    Raises ValueError for a scene that is given twice: its rows could not be told apart.
    """
    parts = {source: source.replace("\\", "/").split("/") for source in sources}
    twice = [source for source in parts if list(sources).count(source) > 1] if len(parts) < len(sources) else []
    if twice:
        raise ValueError(f"{twice[0]} is given twice: name each scene once")
    found = {source: named(source) for source in sources}
    folders = 1
    while len(set(found.values())) < len(found):
        folders += 1
        clash = {name for name, count in Counter(found.values()).items() if count > 1}
        found |= {source: "/".join(parts[source][-folders:]) for source, name in found.items() if name in clash}
    return found


class _Tape:
    """Takes down where everybody of a world is, moment by moment."""

    def __init__(self, env: Any, world: int, scene: Any) -> None:
        self.env, self.world, self.scene = env, world, scene
        scenario = scene.scenario
        self.places = np.flatnonzero(scene.agents >= 0)
        self.agents = scene.agents[self.places]
        self.start, self.end = scene.start_step, scene.start_step + scene.steps
        shape = (scenario.agents, self.end + 1)
        self.valid = np.zeros(shape, bool)
        self.arrays = np.full((8, *shape), np.nan)
        past = slice(0, self.start)
        self.valid[:, past] = scenario.valid[:, past]
        for k, name in enumerate(ARRAYS):
            self.arrays[k][:, past] = getattr(scenario, name)[:, past]
        self.at = self.start
        self.road_map = env.simulator.maps[world]
        self.origin = np.array(env.simulator.roads.origins[world], float)
        self._take()

    def add(self) -> None:
        """The moment after a step; nothing once the scene is over."""
        if self.at < self.end:
            self.at += 1
            self._take()

    def _take(self) -> None:
        simulator, state = self.env.simulator, self.env.simulator.state

        def of(array: Any) -> np.ndarray:
            return simulator.host(array[self.world : self.world + 1])[0][self.places].astype(float)

        there = of(state.rows.status) >= ENDED  # the last moment of a scene ends the episodes
        speed, cos, sin = of(state.motion.speed), of(state.pose.cos), of(state.pose.sin)
        now = (of(state.pose.x) + self.origin[0], of(state.pose.y) + self.origin[1], of(state.pose.z) + self.origin[2],
               np.arctan2(sin, cos), speed * cos, speed * sin, of(state.body.length), of(state.body.width))  # fmt: skip
        rows = self.agents[there]
        self.valid[rows, self.at] = True
        for array, values in zip(self.arrays, now, strict=True):
            array[rows, self.at] = values[there]
        # The simulator knows the speed along the heading, and the height of the road: who follows a track has its own.
        tracked = rows[of(state.rows.driver)[there] == REPLAY]
        for name in ("z", "velocity_x", "velocity_y"):
            self.arrays[ARRAYS.index(name)][tracked, self.at] = getattr(self.scene.scenario, name)[tracked, self.at]

    def driven(self, name: str, clip: Clip | None, actions: np.ndarray, about: dict[str, Any]) -> Driven:
        """What was taken down. Heights are moved to the middles of boxes, where recordings have them."""
        scenario, scene = self.scene.scenario, self.scene
        z = self.arrays[2]
        now = self.valid[:, self.start :] & scenario.valid[:, self.start : self.end + 1]
        for agent in np.flatnonzero(now.any(axis=1)):
            first = self.start + int(now[agent].argmax())
            z[agent, self.start :] += scenario.z[agent, first] - z[agent, first]
        made = Trajectories(scenario.dt, scenario.ids, scenario.kinds, self.valid, *self.arrays)
        rows = np.flatnonzero(scene.controlled & (scene.agents[: len(scene.controlled)] >= 0))
        controlled = scene.agents[rows]
        conflict = {int(agent): int(scene.start_conflict[row]) for row, agent in zip(rows, controlled, strict=True)}
        return Driven(
            name,
            scenario,
            self.road_map,
            made,
            self.start,
            self.end,
            controlled,
            conflict,
            clip,
            actions,
            scene.left_out,
            about,
        )


def logged(scene: Driven) -> Trajectories:
    """The record of a scene up to where it was driven."""
    whole = from_scenario(scene.scenario)
    return Trajectories(whole.dt, whole.ids, whole.kinds, *(array[:, : scene.last + 1] for array in whole[3:]))


def kind_of(scene: Driven) -> str:
    """By which word reports group it: a tag of its recording, one of nuPlan's types before others, else what its ego did."""
    tags = scene.scenario.tags
    typical = [tag for tag in tags if tag in nuplan.TYPES] or tags
    return typical[0] if typical else surroundings.types_of(scene.scenario, int(scene.controlled[0]))


def waymax_row(scene: Driven) -> dict[str, Any]:
    """The row of a scene: its ego by Waymax's metrics."""
    around = surroundings.of_scenario(scene.scenario, scene.road_map)
    log, ego = logged(scene), int(scene.controlled[0])
    paths: dict[int, Sequence[waymax.Path]] = {ego: surroundings.paths_of(log, ego, around)}
    found = waymax.of_scene(scene.trajectories, log, [ego], surroundings.waymax_edges(around), paths, first=scene.start)[0]
    incident = found.overlap or found.offroad
    ratio = min(found.distance / found.logged_distance, 1.0) if found.logged_distance > 1.0 else 1.0
    return {
        "score": ratio * (not incident), "collision": found.overlap, "offroad": found.offroad,
        "start_conflict": bool(scene.conflict[ego]), "progress_ratio": found.progress_ratio,
        "log_divergence": found.log_divergence, "kinematic_infeasibility": found.kinematic_infeasibility,
        "wrong_way": found.wrong_way, "off_route": found.off_route, "distance": found.distance,
        "logged_distance": found.logged_distance, "edges": "recorded" if around.recorded else "of lanes",
        "badness": 2.0 * found.overlap + 1.5 * found.offroad + max(0.0, 1.0 - ratio),
    }  # fmt: skip


def waymax_figures(rows: Sequence[dict[str, Any]]) -> dict[str, Estimate]:
    """The figures of Waymax over scenes; those with an unfair start count, and are told."""
    drove, recorded, bad = (
        np.array([float(row[name]) for row in rows]) for name in ("distance", "logged_distance", "collision")
    )
    bad = np.maximum(bad, [float(row["offroad"]) for row in rows])

    def score(chosen: np.ndarray) -> np.ndarray:
        whole = np.maximum(recorded[chosen].sum(axis=-1), 1e-9)
        return np.minimum(drove[chosen].sum(axis=-1) / whole, 1.0) * (1.0 - bad[chosen].mean(axis=-1))

    low, high = bootstrap_of(score, len(rows))
    every = np.arange(len(rows))
    fair = [row for row in rows if not row["start_conflict"]]
    return {
        "score": Estimate(float(score(every)) if len(rows) else None, low, high, len(rows)),
        **{
            name: proportion(sum(row[name] for row in rows), len(rows))
            for name in ("collision", "offroad", "start_conflict")
        },
        "collision_of_fair_starts": proportion(sum(row["collision"] for row in fair), len(fair)),
        "offroad_of_fair_starts": proportion(sum(row["offroad"] for row in fair), len(fair)),
        **{name: _mean(rows, name) for name in ("progress_ratio", "log_divergence", "kinematic_infeasibility")},
        **{name: proportion(sum(row[name] for row in rows), len(rows)) for name in ("wrong_way", "off_route")},
    }


def nuplan_row(scene: Driven) -> dict[str, Any]:
    """The row of a scene: its ego by nuPlan's score."""
    around = surroundings.of_scenario(scene.scenario, scene.road_map)
    ego = int(scene.controlled[0])
    edges = pieces_of(around.edges) if around.recorded else None
    terms = nuplan.of_scene(scene.trajectories, logged(scene), ego, around.lanes, edges, first=scene.start)
    score = nuplan.score(terms)
    row = {"score": score, **terms._asdict(), "start_conflict": bool(scene.conflict[ego])}
    return row | {"badness": 1.0 - score + (terms.no_ego_at_fault_collisions < 1.0)}


def nuplan_figures(rows: Sequence[dict[str, Any]]) -> dict[str, Estimate]:
    """Means over scenes of score and terms; of the score by type, too, where there are several, and of fair starts."""
    types = sorted({row["type"] for row in rows})
    return {
        **{name: _mean(rows, name) for name in ("score", *nuplan.Terms._fields)},
        "score_of_fair_starts": _mean([row for row in rows if not row["start_conflict"]], "score"),
        "start_conflict": proportion(sum(row["start_conflict"] for row in rows), len(rows)),
        **{f"score_{one}": _mean([row for row in rows if row["type"] == one], "score") for one in types if len(types) > 1},
    }


def scenes_row(scene: Driven) -> dict[str, Any]:
    """The row of a scene: all its controlled agents by GPUDrive's outcomes."""
    around = surroundings.of_scenario(scene.scenario, scene.road_map)
    log, agents = logged(scene), [int(agent) for agent in scene.controlled]
    ends = [int(np.flatnonzero(log.valid[agent])[-1]) for agent in agents]
    goals = np.array([[log.x[agent, end], log.y[agent, end]] for agent, end in zip(agents, ends, strict=True)])
    edges = surroundings.waymax_edges(around)
    found = gpudrive.of_scene(scene.trajectories, agents, goals, edges, first_step=scene.start)
    apart = waymax.log_divergence(scene.trajectories, log)[agents][:, scene.start :]
    counts = {name: sum(getattr(one, name) for one in found) for name in gpudrive.Outcome._fields}
    fair = [one for one, agent in zip(found, agents, strict=True) if not scene.conflict[agent]]
    return {
        **{name: count / len(agents) for name, count in counts.items()}, "agents": len(agents),
        **{f"{name}_of_fair_starts": sum(getattr(one, name) for one in fair) / len(fair) if fair else None
           for name in counts},
        "start_conflicts": len(agents) - len(fair), "log_divergence": float(np.nanmean(apart)),
        "edges": "recorded" if around.recorded else "of lanes",
        "badness": (2.0 * counts["collided"] + 1.5 * counts["offroad"] + counts["unfinished"]) / len(agents),
    }  # fmt: skip


def scenes_figures(rows: Sequence[dict[str, Any]]) -> dict[str, Estimate]:
    """Shares of agents over all scenes."""
    agents, unfair = (sum(row[name] for row in rows) for name in ("agents", "start_conflicts"))

    def share(name: str, of: Callable[[dict[str, Any]], int], total: int) -> Estimate:
        return proportion(round(sum(row[name] * of(row) for row in rows if row[name] is not None)), total)

    names = ("goal", "score", "collided", "offroad", "unfinished")
    return {
        **{name: share(name, lambda row: row["agents"], agents) for name in names},
        **{f"{name}_of_fair_starts": share(f"{name}_of_fair_starts", lambda row: row["agents"] - row["start_conflicts"],
                                           agents - unfair) for name in ("score", "collided", "offroad")},
        "start_conflict": proportion(unfair, agents),
        "log_divergence": _mean(rows, "log_divergence"),
    }  # fmt: skip


def _mean(rows: Sequence[dict[str, Any]], name: str) -> Estimate:
    """Mean over scenes, with a bootstrap of them: few scenes, and shares, are not normal."""
    values = np.array([float(row[name]) for row in rows if row[name] is not None and math.isfinite(row[name])])
    low, high = bootstrap(values)
    return Estimate(float(values.mean()) if len(values) else None, low, high, len(values))


def _wosac_judged(scene: Driven) -> list[int]:
    return [agent for agent in surroundings.judged_by_wosac(scene.scenario) if scene.trajectories.valid[agent, scene.start]]


def wosac_scored(
    request: Request, scenes: Iterator[Driven], rounds: int, left: list[dict[str, str]]
) -> Iterator[tuple[Driven, dict[str, Any]]]:
    """Each scene's first rollout, and its row by WOSAC's score of the year asked for, from as many rollouts.

    scenes: each comes `rounds` times. left: scenes with nobody to judge are added.
    """
    waiting: dict[str, tuple[Driven, wosac.Roads, list[int], list[wosac.Rollout]]] = {}
    for scene in scenes:
        if scene.name not in waiting:
            around = surroundings.of_scenario(scene.scenario, scene.road_map)
            roads = surroundings.wosac_roads(around, scene.road_map, scene.scenario)
            waiting[scene.name] = (scene, roads, _wosac_judged(scene), [])
            if not waiting[scene.name][2]:
                left.append({"scene": scene.name, "reason": f"nobody who is to be judged is there at step {START}"})
        first, roads, judged, several = waiting[scene.name]
        if not judged:
            continue
        several.append(wosac.rollout(scene.trajectories, logged(scene), judged, roads, request.year))
        if len(several) < rounds:
            continue
        del waiting[scene.name]  # memory doesn't grow with the number of scenes
        several = several * (request.rollouts // rounds)
        found = wosac.of_rollouts(several, logged(scene), judged, roads, request.year)
        rates = {name: getattr(found, name) for name in ("min_ade", "ade", "collision_rate", "offroad_rate")}
        counts = {"agents": len(judged), "rollouts": len(several)}
        row = {"scene": scene.name, "type": kind_of(scene), f"composite_{request.year}": found.composite}
        yield first, row | rates | found.likelihoods | counts | {"badness": 1.0 - found.composite}


def wosac_figures(rows: Sequence[dict[str, Any]], year: int) -> dict[str, Estimate]:
    """Means over scenes."""
    names = [f"composite_{year}", *wosac.YEARS[year].histograms, *wosac.YEARS[year].bernoulli, "min_ade", "ade",
             "collision_rate", "offroad_rate"]  # fmt: skip
    return {name: _mean(rows, name) for name in names}


ROWS = {"waymax": waymax_row, "nuplan": nuplan_row, "scenes": scenes_row}
FIGURES = {"waymax": waymax_figures, "nuplan": nuplan_figures, "scenes": scenes_figures}


def run(request: Request, policy: str, advance: Advance) -> Outcome:
    """Drive all scenes with a policy; a row each, and the clips of the worst, which are kept as bundles, too.

    An environment has one time step, and as many rows as its first scenes need: what doesn't fit is driven in environments
    of its own, one after the other. After Ctrl-C there are the scenes that were scored until then, and it says how many
    were not.
    """
    began = time.monotonic()
    rows: list[dict[str, Any]] = []
    left: list[dict[str, str]] = []
    worst: dict[str, Driven] = {}
    badness: dict[str, float] = {}
    config: Config | None = None
    names: dict[str, str] = {}
    total = 0
    following: list[Sequence[Any]] = [request.data]
    with interruptible() as interrupted:
        while following and not interrupted.is_set() and (request.limit is None or len(rows) < request.limit):
            env = make(request, policy, following.pop(0))
            try:
                inner = env.unwrapped
                if config is None:
                    config, names, total = inner.config, short(inner.scene_names), inner.scene_count

                def part(share: float, here: int = inner.scene_count, whole: int = total) -> None:
                    advance(1.0 - (1.0 - share) * here / whole)

                limit = None if request.limit is None else request.limit - len(rows)
                crowded: list[Source] = []
                for scene, row in scored(request, policy, env, names, left, crowded, limit, part):
                    rows.append(row | {"left_out": scene.left_out})
                    if request.keep > 0:
                        worst[scene.name], badness[scene.name] = scene, row["badness"]
                        keep_worst(worst, badness, request.keep)
                    if interrupted.is_set():
                        break
                slower = [one for one in inner.scenes_left_out if one.dt is not None]
                left += [
                    {"scene": names[one.source.name], "reason": one.reason}
                    for one in inner.scenes_left_out
                    if one.dt is None
                ]
                if inner.agents_per_world == MOST_AGENTS:
                    reason = f"it has more agents to control than the {MOST_AGENTS} rows that a world can have"
                    left += [{"scene": names[one.name], "reason": reason} for one in crowded]
                    crowded = []
            finally:
                env.close()
            following += [crowded] if crowded else []
            following += [[one.source for one in slower if one.dt == dt] for dt in dict.fromkeys(one.dt for one in slower)]
    assert config is not None, "there was an environment"
    if interrupted.is_set():
        left.append({"scene": "all others", "reason": f"interrupted: {total - len(rows) - len(left)} scenes are not scored"})
    figures = wosac_figures(rows, request.year) if request.suite == "wosac" else FIGURES[request.suite](rows)
    advance(1.0)
    order = sorted(worst, key=lambda name: -badness[name])
    write_bundles(request, policy, [worst[name] for name in order])
    clips = [(name, clip) for name in order if (clip := worst[name].clip) is not None]
    seconds = time.monotonic() - began
    return Outcome(figures, rows, left, dataclasses.asdict(config), [request.seed], seconds, clips, interrupted.is_set())


def scored(
    request: Request,
    policy: str,
    env: Any,
    names: Mapping[str, str],
    left: list[dict[str, str]],
    crowded: list[Source],
    limit: int | None,
    advance: Advance,
) -> Iterator[tuple[Driven, dict[str, Any]]]:
    """Each scene of an environment, driven, and its row. left: scenes that can't be judged are added. crowded: see `drive`.

    Who does not draw by chance is driven once in wosac: all rollouts would be the same.
    """
    alike = policy in drivers.RULES or policy == "constant" or (request.greedy and drivers.is_trained(policy))
    rounds = 1 if alike or request.suite != "wosac" else request.rollouts
    scenes = drive(
        request, policy, env, names, seed=request.seed, rounds=rounds, record=request.keep > 0, limit=limit, crowded=crowded,
        advance=advance,
    )  # fmt: skip
    if request.suite == "wosac":
        yield from wosac_scored(request, scenes, rounds, left)
        return
    for scene in scenes:
        yield scene, {"scene": scene.name, "type": kind_of(scene), **ROWS[request.suite](scene)}


def write_bundles(request: Request, policy: str, scenes: Sequence[Driven]) -> None:
    """Write scenes that went worst as bundles."""
    if request.keep <= 0:
        return
    about = {
        "suite": request.suite, "policy": policy, "seed": request.seed, "control": CONTROL[request.suite],
        "others": request.others, "drivers": drivers.seat(policy), "start_step": START, "action": drivers.action_of(policy),
    }  # fmt: skip
    kept = []
    for scene in scenes:
        ego = int(scene.controlled[0])
        last = int(np.flatnonzero(scene.trajectories.valid[ego])[-1])  # it may have gone before the scene ends
        place = float(scene.trajectories.x[ego, last]), float(scene.trajectories.y[ego, last])
        kept.append(bundles.Scene(scene.name, scene.scenario, scene.road_map, scene.actions, place, scene.about))
    bundles.write_scenes(request.out / "failures", kept, about)


def keep_worst(kept: dict[str, Any], badness: Mapping[str, float], keep: int) -> None:
    """Forget what is kept beyond the worst scenes: memory doesn't grow with their number."""
    for name in sorted(kept, key=lambda name: -badness[name])[keep:]:
        del kept[name]
