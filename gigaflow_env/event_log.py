"""The event log: who met whom, where, when, and whose fault it was. One entry for each crash of two, not for each step."""

from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.declare import allocate, array, number, record
from gigaflow_env.simulator import Simulator

i32, i8, flag = np.int32, np.int8, np.bool_

COLLISION, OFFROAD, RED_LIGHT = range(3)
EVENT_KINDS = ("collision", "offroad", "red_light")
"""The kinds by number."""

REPEAT = 2.0
"""[s] The same trouble of the same agents again within this time is the same event. Ours, for crashes that don't end."""


BLOCK = 4096
"""Entries that are kept as tuples at most: packed, an entry takes a tenth of the memory."""


class Contacts(NamedTuple):
    """What the kernels say of each agent in each step."""

    other: np.ndarray = array("world agent", "", "agent that it met, -1: none", i32)
    side: np.ndarray = array("world agent", "", "NONE, FRONT, REAR or SIDE of its own, see sim/fault.py", i8)
    fault: np.ndarray = array("world agent", "", "its own fault", flag)
    x: np.ndarray = array("world agent", "m", "where it was at the end of the step")
    y: np.ndarray = array("world agent", "m", "where it was")
    speed: np.ndarray = array("world agent", "m/s", "how fast it was")
    age: np.ndarray = array("world agent", "steps", "age of its episode", i32)
    map: np.ndarray = array("world", "", "map of the world, which may begin anew with another one in the same step", i32)


class Event(NamedTuple):
    """An entry of the log."""

    tick: int = number("steps", "since the environment's reset", i32)
    world: int = number("", "", i32)
    kind: int = number("", "COLLISION, OFFROAD or RED_LIGHT", i8)
    crash: int = number("", "events of one pile-up share this number", i32)
    row: int = number(
        "", "row of the environment; in a collision the lower one of the two. In scenes: world * agents + place", i32
    )
    other: int = number("", "row that it met, -1: none", i32)
    fault: bool = number("", "the row is at fault", flag)
    other_fault: bool = number("", "the other is", flag)
    side: int = number("", "side of the row on which they met: NONE, FRONT, REAR or SIDE", i8)
    other_side: int = number("", "the same for the other", i8)
    x: float = number("m", "place of the row in the map's source coordinates", np.float64)
    y: float = number("m", "place of the row in the map's source coordinates", np.float64)
    speed: float = number("m/s", "of the row")
    other_speed: float = number("m/s", "of the other")
    age: int = number("steps", "age of the younger episode: crashes of the first two seconds may come from the start", i32)


class EventLog:
    """Collects the events of a simulator, step by step, on the host: on CUDA every step waits for the device."""

    def __init__(self, simulator: Simulator) -> None:
        self.contacts: Contacts = simulator.put(allocate(Contacts, {"world": simulator.worlds, "agent": simulator.agents}))
        self.clear()

    def clear(self) -> None:
        """Forget all events."""
        self._blocks: list[np.ndarray] = []
        self._entries: list[tuple] = []
        self._last: dict[tuple[int, int, int, int], int] = {}
        self._crashes = self._tick = self._repeat = 0

    @property
    def array(self) -> np.ndarray:
        """All entries, in order: structured, one field for each of `Event`."""
        return np.concatenate([*self._blocks, np.array(self._entries, record(Event))])

    def take(self) -> np.ndarray:
        """All entries since the last call, which are forgotten: memory stays flat for who takes them now and then."""
        found = self.array
        self._blocks, self._entries = [], []
        self._last = {key: tick for key, tick in self._last.items() if tick >= self._tick - self._repeat}
        return found

    def add(self, simulator: Simulator) -> None:
        """Take down what happened in the step that was just made. Waits for a device."""
        if len(self._entries) >= BLOCK:
            self._blocks.append(np.array(self._entries, record(Event)))
            self._entries.clear()
        events, host = simulator.state.events, simulator.host
        contacts, ticks = Contacts(*map(host, self.contacts)), host(simulator.state.clock.tick)
        self._tick, self._repeat = int(ticks.max()), round(REPEAT / simulator.config.dt)
        found: list[tuple[int, int, int, int]] = []  # kind, world, agent, other
        for kind, flags in enumerate((events.collision, events.offroad, events.red_light)):
            where = np.nonzero(host(flags))
            w, a = where
            b = contacts.other[where] if kind == COLLISION else np.full(len(a), -1)
            first, second = np.where(b >= 0, np.minimum(a, b), a), np.maximum(a, b)
            second[b < 0] = -1
            found += zip([kind] * len(a), w.tolist(), first.tolist(), second.tolist(), strict=True)
        self._take_down(list(dict.fromkeys(found)), contacts, ticks, simulator)

    def _take_down(
        self, found: list[tuple[int, int, int, int]], contacts: Contacts, ticks: np.ndarray, simulator: Simulator
    ) -> None:
        """Entries for what happened: kind, world, agent and the other one, or -1, of each."""
        if not found:
            return
        _, w, a, b = np.array(found).T
        met, agents = b >= 0, simulator.agents
        one, other = (w, a), (w, np.where(met, b, a))
        age = np.minimum(contacts.age[one], contacts.age[other]).tolist()
        place = simulator.roads.origins[contacts.map[w]][:, :2] + np.stack([contacts.x[one], contacts.y[one]], axis=1)
        # The note of an agent that met two is about the nearer one: its side and fault count for both.
        columns: tuple[Any, ...] = (
            w * agents + a, np.where(met, w * agents + b, -1), contacts.fault[one], contacts.fault[other] & met,
            contacts.side[one], np.where(met, contacts.side[other], 0), *place.T, contacts.speed[one],
            np.where(met, contacts.speed[other], np.float32(0)),
        )  # fmt: skip
        rest = zip(*(column.tolist() for column in columns), strict=True)
        crash: dict[tuple[int, int], int] = {}  # of an agent of a world
        for key, tick, young, others in zip(found, ticks[w].tolist(), age, rest, strict=True):
            kind, world, first, second = key
            last = self._last.get(key)
            self._last[key] = tick
            if last is not None and tick - last <= self._repeat and tick - last < young:  # not that of an episode before
                continue
            known = crash.get((world, first))
            if known is None and second >= 0:
                known = crash.get((world, second))
            if known is None:
                known = self._crashes
                self._crashes += 1
            crash[world, first] = known
            if second >= 0:
                crash[world, second] = known
            self._entries.append((tick, world, kind, known, *others, young))
