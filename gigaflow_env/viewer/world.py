"""A world that people watch: it drives by a policy or by rules, obeys its viewers, and lets one of them drive.

A policy decides as often as in its training, every 0.3 s; the world moves three times as often, with the jerk held in
between. So people's hands are at most a tenth of a second away, and crashes are seen where they happen.
"""

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gigaflow_env import driver
from gigaflow_env.bounds import Bounds, choice, real, whole
from gigaflow_env.conditioning import clear_overrides, override, ranges_of
from gigaflow_env.config import CONDITIONING, OLDEST_WORLD, Config, laptop
from gigaflow_env.env import GigaflowVectorEnv
from gigaflow_env.layout import NO_JERK
from gigaflow_env.replay.frame import BIT, Frame, body_of, frame_of
from gigaflow_env.replay.insight import TERMS, reward_terms, seen_of
from gigaflow_env.replay.page import STEPS
from gigaflow_env.roads import RoadMap
from gigaflow_env.roads.compiled.compile import capacity
from gigaflow_env.state import LIVE

SUBSTEPS = 3
"""Steps of the world for one decision of a policy."""
MOST = 150
"""Cars of a world."""
WRECK_TIME = 4.0
"""[s] How long a crashed car stands in the way."""
LONGEST = 300.0
"""[s] An episode: who stands in the way for good disappears some time."""
COAST = 0.4
"""[m/s^2] A car slows down by that with neither pedal."""

DRIVERS = ("policy", "mixed", "idm")
"""Who drives: the policy, half of the cars each, or rules."""


@dataclass(frozen=True)
class Settings:
    """What viewers may change; a change begins the world anew."""

    agents: int = 40
    erratic: float = 0.0  # share of the drivers
    lights: str = "on"  # or "off"
    drivers: str = "policy"


class LiveWorld:
    """One world with what viewers want of it. Not for several threads at once.

    policy: a checkpoint, "pretrained", or "idm" for rules alone. Raises CheckpointError, MapError, ValueError.
    """

    def __init__(self, road_map: RoadMap, policy: str, settings: Settings, seed: int = 0) -> None:
        self.road_map, self.policy, self.seed = road_map, policy, seed
        self.base = laptop() if policy == "idm" else driver.config_of(policy)
        if policy == "idm":
            settings = dataclasses.replace(settings, drivers="idm")
        self.choices = ("idm",) if policy == "idm" else DRIVERS
        self.chosen: dict[str, float | None] = {}
        self.number = 0  # of this world among those that began anew
        self._bodies = 0
        self._sent: set[int] = set()  # bodies that the viewers know
        self.human = -1
        self.score: dict[str, float] = {}
        self.env: GigaflowVectorEnv | None = None
        self.most = MOST
        self._build(settings)

    @property
    def dt(self) -> float:
        """[s] Time of a step."""
        return self.config.dt

    @property
    def ranges(self) -> dict[str, tuple[float, float]]:
        """Lowest and highest value of each coefficient that the policy was trained with."""
        return {name: getattr(self.base, name) for name in CONDITIONING}

    def change(self, changes: dict[str, Any]) -> None:
        """Begin anew with other settings. Raises ValueError for those that make no world; the old one then goes on."""
        given = dataclasses.asdict(self.settings) | {name: changes[name] for name in changes if name != "do"}
        unknown = set(given) - {field.name for field in dataclasses.fields(Settings)}
        if unknown:
            raise ValueError(f"unknown setting {', '.join(sorted(unknown))}")
        self._build(Settings(**given))

    def again(self) -> None:
        """Begin anew, with other cars in other places."""
        self.seed += 1
        self._build(self.settings)

    def _build(self, settings: Settings) -> None:
        checked = Settings(
            agents=whole("agents", settings.agents, Bounds(1, MOST)),
            erratic=real("erratic", settings.erratic, Bounds(0, 1)),
            lights=choice("lights", settings.lights, ("on", "off")),
            drivers=choice("drivers", settings.drivers, self.choices),
        )
        config = self._config(checked)
        drivers: Any = {"policy": "policy", "idm": "idm", "mixed": {"policy": 0.5, "idm": 0.5}}[checked.drivers]
        env = GigaflowVectorEnv(
            checked.agents, map=self.road_map, config=config, threads=1, copy=False, events=True, drivers=drivers
        )
        trained = None
        if checked.drivers != "idm":
            # The decisions come as in training, though the steps are shorter.
            trained = driver.load(self.policy, env.layout, config.replace(dt=self.base.dt))
        if self.env is not None:
            self.env.close()
        self.env, self.config, self.settings, self.trained = env, config, checked, trained
        self.most = min(MOST, max(1, int(capacity(env.simulator.roads, 0))))
        self.number += 1
        self.steps = 0
        self.totals = dict.fromkeys(("goal", "route_done", "collision", "offroad", "red_light", "timeout"), 0)
        self._actions = np.full(checked.agents, NO_JERK)
        self._told: dict[tuple[int, int], int] = {}
        self.release()
        self._choose()
        self._obs, self._info = env.reset(seed=self.seed)
        self.frame = frame_of(env.simulator, 0)

    def _config(self, settings: Settings) -> Config:
        base = self.base
        return base.replace(
            dt=base.dt / SUBSTEPS,
            max_steps=round(LONGEST * SUBSTEPS / base.dt),
            world_steps=int(OLDEST_WORLD / base.dt) - 1,  # with the longer steps of the policy's training, too
            world_stagger=0.0,
            agents_per_world=settings.agents,
            on_crash="freeze",
            freeze_time=WRECK_TIME,
            on_route_done="new_route",
            variant_scale=(1.0, 1.0),
            variant_shear=(0.0, 0.0),
            variant_flip=0.0,
            variant_turn=(0.0, 0.0),
            inattentive=settings.erratic / 2,
            phantom=settings.erratic / 2,
            lights="default" if settings.lights == "on" else "random",
            lights_off=1.0 if settings.lights == "off" else 0.0,
        )

    # Conditioning

    def condition(self, values: dict[str, Any]) -> None:
        """Coefficients of all cars, from now on; None: each draws its own again. Raises ValueError for wrong ones."""
        given = {name: None if value is None else float(value) for name, value in values.items()}
        ranges_of(given, self.settings.agents)  # refuses what is wrong before anything changes
        self.chosen |= given
        self.chosen = {name: value for name, value in self.chosen.items() if value is not None}
        self._choose()
        simulator = self._simulator
        coefficients = simulator.state.reward_weights.coefficients
        for name, value in given.items():
            column = CONDITIONING.index(name)
            if value is not None:
                coefficients[0, :, column] = value
            else:
                low, high = getattr(self.config, name)
                coefficients[0, :, column] = np.random.default_rng(self.steps).uniform(low, high, self.settings.agents)
        self._told.clear()

    def _choose(self) -> None:
        clear_overrides(self._simulator)
        override(self._simulator, ranges_of(self.chosen, self.settings.agents))

    @property
    def _simulator(self) -> Any:
        assert self.env is not None
        return self.env.simulator

    # Driving by hand

    def take(self, row: int) -> None:
        """Let a person drive a row; below 0: one that drives. Raises ValueError where there is no such row."""
        row = whole("car", row, Bounds(-1, self.settings.agents - 1))
        status = self._simulator.state.rows.status[0]
        if row < 0 or status[row] != LIVE:
            live = np.flatnonzero((status == LIVE) & (self._simulator.drivers == 0))
            if not len(live):
                raise ValueError("no car is free: another driver than rules has to be at some wheels")
            row = int(live[0])
        if self._simulator.drivers[row]:
            raise ValueError(f"car {row} is driven by rules: take another one")
        self.release()
        self.human = row
        self.pedals = {"gas": 0.0, "brake": 0.0, "steer": 0.0}
        self.score = {"goals": 0, "crashes": 0, "red_lights": 0, "metres": 0.0, "seconds": 0.0, "harsh": 0.0}

    def release(self) -> None:
        """Give the wheel back."""
        self.human = -1
        self.pedals = {"gas": 0.0, "brake": 0.0, "steer": 0.0}
        self.score = {}
        self._angle, self._reverses, self._before = 0.0, False, 0.0

    def wheel(self, gas: Any, brake: Any, steer: Any) -> None:
        """Pedals 0 to 1 and the wheel -1 to 1, left positive. Raises ValueError for others."""
        self.pedals = {
            "gas": real("gas", gas, Bounds(0, 1)),
            "brake": real("brake", brake, Bounds(0, 1)),
            "steer": real("steer", steer, Bounds(-1, 1)),
        }

    def _drive(self) -> None:
        """What the person does to the car in this step: written into its motion, the jerk of its action is 0."""
        state, config, a = self._simulator.state, self.config, self.human
        state.rows.erratic[0, a] = 0
        speed, length = float(state.motion.speed[0, a]), float(state.body.length[0, a])
        gas, brake, steer = (self.pedals[name] for name in ("gas", "brake", "steer"))
        if brake == 0.0:
            self._reverses = speed <= 0.05
        if brake > 0.0 and (speed > 0.05 or not self._reverses):
            wanted = -config.brake_max * brake if speed > 0.0 else 0.0
        elif brake > 0.0:
            wanted = -1.5 * brake
        elif gas > 0.0:
            wanted = 2.0 * config.throttle_max * gas if speed < 0 else config.throttle_max * gas
        else:
            wanted = -math.copysign(min(COAST, abs(speed) / config.dt), speed) if speed else 0.0
        if speed > 0.0 and wanted < 0.0:
            wanted = max(wanted, -speed / config.dt)  # comes to stand, and does not roll back
        wheelbase = config.wheelbase * length
        # The faster, the less: at the limit of what the tyres hold.
        most = min(config.steer_max, math.atan(0.9 * config.lateral_max * wheelbase / max(speed * speed, 0.1)))
        change = 3.0 * config.dt * config.steer_max
        self._angle += max(-change, min(change, steer * most - self._angle))
        state.motion.acceleration[0, a] = wanted
        state.motion.lateral[0, a] = speed * speed * math.tan(self._angle) / wheelbase
        state.motion.jerk[0, a] = state.motion.side_jerk[0, a] = 0.0
        harsh = abs(wanted - self._before) > 4.0 or abs(float(state.motion.lateral[0, a])) > config.comfort_acceleration
        self.score["harsh"] += config.dt * (harsh or abs(wanted) > config.comfort_acceleration)
        self._before = wanted

    # Time

    def step(self) -> None:
        """Move everything by one step."""
        simulator = self._simulator
        if self.trained is not None and self.steps % SUBSTEPS == 0:
            every = np.arange(self.settings.agents)
            self._actions = self.trained.act(simulator, every, np.asarray(self._obs))
        if self.human >= 0:
            self._actions[self.human] = NO_JERK
            if simulator.state.rows.status[0, self.human] == LIVE:
                self._drive()
        assert self.env is not None
        self._obs, _, _, _, self._info = self.env.step(self._actions)
        self.steps += 1
        self.frame = frame_of(simulator, 0)
        for name in self.totals:
            self.totals[name] += int(self._info[name].sum())
        self.totals["goal"] -= int(self._info["route_done"].sum())
        if self.human >= 0:
            a = self.human
            self.score["goals"] += int(self._info["goal"][a])
            self.score["crashes"] += int(self._info["collision"][a] or self._info["offroad"][a])
            self.score["red_lights"] += int(self._info["red_light"][a])
            self.score["metres"] += float(self._info["distance"][a])
            self.score["seconds"] += self.config.dt * bool(self._info["active"][a])

    def moment(self) -> dict[str, Any]:
        """What is new, as a viewer's script takes it."""
        frame = self.frame
        message: dict[str, Any] = columns(frame) | {
            "kind": "moment",
            "world": self.number,
            "t": self.steps,
            "totals": self.totals,
        }
        numbers = [self._body(a, int(frame.episode[a])) for a in range(len(frame.x))]
        message["body"] = numbers
        message["bodies"] = {
            str(number): body_of(self._simulator, 0, a) for a, number in enumerate(numbers) if number not in self._sent
        }
        self._sent.update(numbers)
        message["events"] = list(self._events())
        if self.human >= 0:
            message["score"] = self.scored()
        return message

    def everything(self) -> None:
        """The next moment tells all bodies, for a viewer that has just come."""
        self._sent.clear()

    def _body(self, agent: int, episode: int) -> int:
        """Number of the body that a row has in an episode; another one once its conditioning was changed by hand."""
        key = (agent, episode)
        if key not in self._told:
            self._bodies += 1
            self._told[key] = self._bodies
        return self._told[key]

    def _events(self) -> Any:
        frame = self.frame
        for kind in ("collision", "offroad", "red_light", "goal", "timeout"):
            for row in np.flatnonzero(frame.flags & BIT[kind]).tolist():
                yield {
                    "kind": kind, "row": row, "x": round(float(frame.hit_x[row]), 2), "y": round(float(frame.hit_y[row]), 2),
                    "fault": bool(frame.flags[row] & BIT["fault"]),
                }  # fmt: skip

    def scored(self) -> dict[str, float]:
        """The score of whoever drives by hand: goals, crashes, comfort."""
        found = self.score
        comfort = 1.0 - found["harsh"] / max(found["seconds"], 1.0)
        points = 100 * found["goals"] + found["metres"] / 10 - 150 * found["crashes"] - 50 * found["red_lights"]
        speed = float(self._simulator.state.motion.speed[0, self.human])
        return found | {"comfort": max(0.0, comfort), "points": points * max(0.0, comfort), "speed": abs(speed)}

    def insight(self, row: int) -> dict[str, Any] | None:
        """What a row sees, wants and earns; None where it isn't on the road."""
        simulator = self._simulator
        if not 0 <= row < self.settings.agents or simulator.state.rows.status[0, row] != LIVE:
            return None
        seen = seen_of(simulator, 0, np.asarray(self._obs))
        x, y = simulator.state.pose.x[0], simulator.state.pose.y[0]
        found: dict[str, Any] = {
            "kind": "seen",
            "row": row,
            "terms": [round(float(v), 5) for v in np.nan_to_num(reward_terms(simulator, 0)[row])],
            "seen": {
                "lanes": [
                    {"x": round(px, 2), "y": round(py, 2), "d": round(d, 1) if math.isfinite(d) else None}
                    for px, py, d in seen.lanes[row].tolist()
                ],
                "edges": [{"x": round(px, 2), "y": round(py, 2)} for px, py in seen.edges[row].tolist()],
                "stops": [
                    {"x": round(px, 2), "y": round(py, 2), "colour": int(c)} for px, py, c in seen.stops[row].tolist()
                ],
                "others": [
                    {"x": round(float(x[b]), 2), "y": round(float(y[b]), 2)} for b in seen.others[row].tolist() if b >= 0
                ],
            },
        }
        if self.trained is not None and simulator.drivers[row] == 0:
            logits, values = self.trained.network(np.asarray(self._obs)[row : row + 1])
            found["p"] = [round(float(p), 4) for p in driver.softmax(logits)[0]]
            found["value"] = round(float(values[0]), 3)
        return found

    def state(self) -> dict[str, Any]:
        """Settings and choices, for the controls."""
        names = {"policy": "trained policy", "mixed": "half trained, half rules", "idm": "rules"}
        return {
            "kind": "state",
            "world": self.number,
            "map": self.road_map.name,
            "rows": self.settings.agents,
            "most": self.most,
            "settings": dataclasses.asdict(self.settings),
            "choices": [[name, names[name]] for name in self.choices],
            "conditioning": {name: self.chosen.get(name) for name in CONDITIONING},
            "human": self.human,
        }

    def close(self) -> None:
        """Close the world."""
        if self.env is not None:
            self.env.close()


def columns(frame: Frame) -> dict[str, list[int]]:
    """A frame as whole numbers in the units of `STEPS`, a list for each column."""

    def whole_numbers(values: np.ndarray, unit: float = 1.0) -> list[int]:
        return np.rint(values / unit).astype(int).tolist()

    return {
        "x": whole_numbers(frame.x, STEPS["x"]), "y": whole_numbers(frame.y, STEPS["y"]),
        "h": whole_numbers(frame.heading, STEPS["h"]), "v": whole_numbers(frame.speed, STEPS["v"]),
        "steer": whole_numbers(frame.steer, STEPS["steer"]), "flags": whole_numbers(frame.flags),
        "episode": whole_numbers(frame.episode), "gx": whole_numbers(frame.goal_x, STEPS["gx"]),
        "gy": whole_numbers(frame.goal_y, STEPS["gy"]), "left": whole_numbers(frame.goals_left),
        "lights": whole_numbers(frame.lights),
    }  # fmt: skip


def clip_of(world: LiveWorld) -> dict[str, Any]:
    """What the page has to know of a live world before its first moment."""
    origin = world._simulator.roads.origins[0]
    return {
        "title": world.road_map.name,
        "map": 0,
        "origin": [float(origin[0]), float(origin[1])],
        "warp": [1, 0, 0, 1],
        "dt": world.dt,
        "rows": world.settings.agents,
        "lights": sorted(signal.id for signal in world.road_map.signals.values() if signal.kind == "light"),
    }


__all__ = ["DRIVERS", "MOST", "SUBSTEPS", "TERMS", "LiveWorld", "Settings", "clip_of", "columns"]
