"""What went wrong in an evaluation, as clips of the moments before and after, the worst first."""

import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.replay import BIT, Clip, Recorder, write_replay

BEFORE, AFTER = 10.0, 3.0
"""[s] of a clip around its moment."""
MOST = 20
"""Clips of a page."""
WORST = {"collision": 2.0, "offroad": 1.5, "red_light": 1.0}
"""What weighs how much; a crash by the car's own fault counts 1 more, and speed 1 for each 15 m/s."""
APART = 5.0
"""[s] Two moments of one car within this time are one."""


class Failure(NamedTuple):
    """A moment that went wrong."""

    weight: float
    world: int
    tick: int
    row: int
    kind: str
    fault: bool
    speed: float


class Failures:
    """Looks on while an evaluation drives: `add` after each step. Keeps a clip of each failure that is among the worst.

    policy: whose probabilities and values the clips show; None: nobody's.
    """

    def __init__(self, env: Any, policy: Any = None) -> None:
        self.simulator = env.unwrapped.simulator
        self.dt = self.simulator.config.dt
        last = round((BEFORE + AFTER) / self.dt) + 2
        self._make = lambda world: Recorder(self.simulator, world, policy=policy, last=last)
        self.recorders = [self._make(world) for world in range(self.simulator.worlds)]
        self.found: list[tuple[Failure, Clip]] = []
        self._due: list[Failure] = []
        self._last: dict[tuple[int, int], int] = {}

    def add(self) -> None:
        """Look at the step that was just made."""
        for world, recorder in enumerate(self.recorders):
            recorder.add()
            if recorder.over:  # another map: what came before can't be shown with it
                self._due = [one for one in self._due if one.world != world]
                self.recorders[world] = self._make(world)
                self.recorders[world].add()
                continue
            moments = recorder.moments
            frame = moments[-1].frame
            # Who crashes begins anew at once: how fast it was is in the moment before.
            before = moments[-2].frame if len(moments) > 1 else frame
            for kind in WORST:
                for row in np.flatnonzero(frame.flags & BIT[kind]).tolist():
                    if frame.tick - self._last.get((world, row), -(10**9)) < APART / self.dt:
                        continue
                    self._last[world, row] = frame.tick
                    fault, speed = bool(frame.flags[row] & BIT["fault"]), abs(float(before.speed[row]))
                    weight = WORST[kind] + fault + speed / 15.0
                    self._due.append(Failure(weight, world, frame.tick, row, kind, fault, speed))
            self._cut(world, frame.tick)

    def _cut(self, world: int, tick: int) -> None:
        """Keep the clips whose end has come."""
        done = [one for one in self._due if one.world == world and tick - one.tick >= AFTER / self.dt]
        self._due = [one for one in self._due if one not in done]
        for failure in done:
            least = min((kept.weight for kept, _ in self.found), default=-math.inf)
            if len(self.found) >= MOST and failure.weight <= least:
                continue
            by = ", own fault" if failure.fault else ""
            title = f"{failure.kind.replace('_', ' ')}{by}, car {failure.row}, {3.6 * failure.speed:.0f} km/h"
            recorder = self.recorders[world]
            first = failure.tick - round(BEFORE / self.dt)
            clip = recorder.clip(title, first=first, focus=failure.row)
            start = max(0.0, (failure.tick - clip.moments[0].frame.tick) * self.dt - 6.0)
            self.found.append((failure, clip._replace(title=f"{title}, {clip.road_map.name}", start=start)))
            self.found = sorted(self.found, key=lambda one: -one[0].weight)[:MOST]

    def write(self, path: Path) -> int:
        """Write the page, the worst first; returns the number of clips. Writes nothing where nothing went wrong."""
        clips = [clip._replace(title=f"{k}. {clip.title}") for k, (_, clip) in enumerate(self.found, 1)]
        if clips:
            write_replay(clips, path)
        return len(clips)
