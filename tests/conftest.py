"""Small maps made by hand, simulators on them, and every stage as a kernel of its own, so that tests can call it alone."""

import functools
import inspect
import math
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest
import shapely
from hypothesis import settings
from hypothesis import strategies as st

from gigaflow_env.backend.cpu import FIRST, STRIDE
from gigaflow_env.config import Config, laptop
from gigaflow_env.files import cache_directory
from gigaflow_env.jit import kernel
from gigaflow_env.roads import Lane, RoadMap, Signal
from gigaflow_env.sim.collision import collide, leave_road, run_light
from gigaflow_env.sim.dynamics import decide, move
from gigaflow_env.sim.fault import record_contact
from gigaflow_env.sim.goals import arrive, plan
from gigaflow_env.sim.lanes import locate
from gigaflow_env.sim.lights import schedule, switch
from gigaflow_env.sim.new_world import populate
from gigaflow_env.sim.noise import add_noise
from gigaflow_env.sim.observe import blank, find_neighbours, line_up, observe, select_lane_samples
from gigaflow_env.sim.reset import condition, end_episode, propose, resolve_spawns, spawn
from gigaflow_env.sim.rewards import score
from gigaflow_env.sim.traffic.drive import follow, intend
from gigaflow_env.simulator import Simulator
from gigaflow_env.state import ABSENT, LIVE

# A number that isn't finite stops every test (finite.py). Here, not in a fixture: modules make simulators at their import.
os.environ.setdefault("GIGAFLOW_CHECK", "1")

# Properties: the same examples in every run. No deadline: the first call of a rule compiles it.
settings.register_profile("repeatable", deadline=None, derandomize=True)
settings.register_profile("thorough", deadline=None, max_examples=5000)  # pytest --hypothesis-profile=thorough
settings.load_profile("repeatable")


def reals(low: float, high: float) -> st.SearchStrategy[float]:
    """Numbers of float32 between two. Below 1e-6 there is only 0: products of smaller ones are lost."""
    between = st.floats(float(np.float32(low)), float(np.float32(high)), width=32)
    return between.map(lambda x: x if abs(x) > 1e-6 else 0.0)


@functools.cache
def call(rule: Callable) -> Callable:
    """A rule for Python's numbers: they go in as float32 and int32, as in a kernel."""
    compiled = kernel(plain(rule), cache=False)
    types = {float: np.float32, int: np.int32}
    return lambda *given: compiled(*(types.get(type(one), lambda same: same)(one) for one in given))


# Maps. Lanes are 3.5 m wide.


def straight(name: str, x1: float, y1: float, x2: float, y2: float, *, z: tuple = (0.0, 0.0), **links: Any) -> Lane:
    heading = math.atan2(y2 - y1, x2 - x1)
    return Lane(name, np.array([[x1, y1, z[0], heading, 3.5], [x2, y2, z[1], heading, 3.5]], float), **links)


def bend(name: str, x: float, y: float, radius: float, begin: float, end: float, **links: Any) -> Lane:
    """Left turn around (x, y), from angle `begin` to `end` [rad]."""
    at = np.linspace(begin, end, 9)
    columns = [x + radius * np.cos(at), y + radius * np.sin(at), 0 * at, at + math.pi / 2, 0 * at + 3.5]
    return Lane(name, np.column_stack(columns), **links)


def road_map(name: str, *lanes: Lane, signals: Iterable[Signal] = ()) -> RoadMap:
    return RoadMap(name, {lane.id: lane for lane in lanes}, {signal.id: signal for signal in signals})


def ring() -> RoadMap:
    """Two carriageways of 200 m, 20 m apart, and half circles around their ends: 462.8 m of one lane, driven to the left."""
    half = math.pi / 2
    return road_map(
        "ring",
        straight("east", 0, -10, 200, -10, successors=("east end",)),
        bend("east end", 200, 0, 10, -half, half, successors=("west",)),
        straight("west", 200, 10, 0, 10, successors=("west end",)),
        bend("west end", 0, 0, 10, half, 3 * half, successors=("east",)),
    )


def motorway() -> RoadMap:
    """A ring of two lanes of the same direction with lane changes between them; `inner` is on the left."""
    half, lanes = math.pi / 2, []
    for name, y, beside in (("inner", 20.0, {"right": "outer"}), ("outer", 23.5, {"left": "inner"})):
        side, other = next(iter(beside.items()))
        lanes += [
            straight(f"{name} 0", 0, -y, 150, -y, successors=(f"{name} 1",), **{side: f"{other} 0"}),
            bend(f"{name} 1", 150, 0, y, -half, half, successors=(f"{name} 2",), **{side: f"{other} 1"}),
            straight(f"{name} 2", 150, y, 0, y, successors=(f"{name} 3",), **{side: f"{other} 2"}),
            bend(f"{name} 3", 0, 0, y, half, 3 * half, successors=(f"{name} 0",), **{side: f"{other} 3"}),
        ]
    return road_map("motorway", *lanes)


def crossing(*, lights: bool = False) -> RoadMap:
    """T crossing at (0, 0): arms west, east and south of 60 m, which begin 12 m from the middle and have a lane each way.

    With lights there is one for each arm, on the stop line 12 m from the middle; west and east share a group.
    """
    arms = {"west": (-1, 0), "east": (1, 0), "south": (0, -1)}
    lanes, ends = [], {}
    for arm, (x, y) in arms.items():
        for way, side in (("in", 1), ("out", -1)):
            near = np.array([12 * x - side * 1.75 * y, 12 * y + side * 1.75 * x])  # traffic keeps to the right
            far = near + 60 * np.array([x, y])
            ends[arm, way] = near
            first, last = (far, near) if way == "in" else (near, far)
            others = tuple(f"{arm}-{other}" for other in arms if other != arm) if way == "in" else ()
            lanes.append(straight(f"{arm} {way}", *first, *last, successors=others))
    for arm, (x, y) in arms.items():
        for other, (ox, oy) in arms.items():
            if other != arm:
                start = [*ends[arm, "in"], 0, math.atan2(-y, -x), 3.5]
                line = np.array([start, [*ends[other, "out"], 0, math.atan2(oy, ox), 3.5]])
                signal = f"light {arm}" if lights else None
                lanes.append(Lane(f"{arm}-{other}", line, successors=(f"{other} out",), junction="j", signal=signal))
    groups = {"west": "main", "east": "main", "south": "side"}
    signals = [Signal(f"light {arm}", group=groups[arm]) for arm in arms] if lights else []
    return road_map("lights" if lights else "crossing", *lanes, signals=signals)


def bridge() -> RoadMap:
    """A lane along x on the ground; one along y that climbs to 8 m over it in three linked lanes."""
    return road_map(
        "bridge",
        straight("ground", -100, 0, 100, 0),
        straight("up", 0, -150, 0, -30, z=(0, 8), successors=("deck",)),
        straight("deck", 0, -30, 0, 30, z=(8, 8), successors=("down",)),
        straight("down", 0, 30, 0, 150, z=(8, 0)),
    )


# Simulators

SMALL = {"lane_count": 1, "boundary_count": 1, "stop_count": 1, "agent_count": 0}
"""Settings of a small observation, for tests with thousands of rows."""


def key(number: int) -> np.ndarray:
    return np.array([number, 0], np.uint32)


def simulator(maps: Any, rows: int = 4, config: Config | None = None, *, seed: int = 1, **arguments: Any) -> Simulator:
    """A simulator after its reset, on one thread."""
    made = Simulator(maps, rows, config or laptop(), threads=1, **arguments)
    made.reset(key(seed))
    return made


def clear(sim: Simulator) -> None:
    """Take all agents off the road, so that a scene can be set by hand."""
    sim.state.rows.status[:] = ABSENT


def place(
    sim: Simulator, a: int, x: float, y: float, heading: float = 0.0, *, z: float = 0.0, speed: float = 0.0,
    length: float = 4.5, width: float = 2.0, coming_from: tuple[float, float, float] | None = None, w: int = 0,
) -> None:  # fmt: skip
    """Put agent `a` at (x, y, heading) in the map's own coordinates, where it came from `coming_from`, or rested."""
    state, origin = sim.state, sim.roads.origins[sim.state.clock.map[w]]
    old_x, old_y, old_heading = coming_from or (x, y, heading)
    pose = state.pose
    pose.x[w, a], pose.y[w, a], pose.z[w, a] = np.array([x, y, z]) - origin
    pose.cos[w, a], pose.sin[w, a] = math.cos(heading), math.sin(heading)
    pose.old_x[w, a], pose.old_y[w, a] = np.array([old_x, old_y]) - origin[:2]
    pose.old_cos[w, a], pose.old_sin[w, a] = math.cos(old_heading), math.sin(old_heading)
    for array in state.motion:
        array[w, a] = 0
    state.motion.speed[w, a] = speed
    state.motion.distance[w, a] = math.hypot(x - old_x, y - old_y)
    state.body.length[w, a], state.body.width[w, a] = length, width
    for array in (state.body.c_throttle, state.body.c_steer, state.body.c_acc, state.body.c_vel):
        array[w, a] = 1
    for seen, one in zip(state.perceived, (pose.x, pose.y, pose.cos, pose.sin, state.motion.speed), strict=True):
        seen[w, a] = one[w, a]
    state.rows.status[w, a] = LIVE


def lane_number(road_map: RoadMap, name: str) -> int:
    """Number of a driving lane in the tables."""
    return [lane.id for lane in road_map.lanes.values() if lane.kind == "driving"].index(name)


def section_at(sim: Simulator, name: str, s: float, number: int = 0) -> int:
    """First section of the quad `s` metres down a lane, named, of a map of the simulator."""
    row = sim.roads.network.maps[number]
    lane = sim.roads.network.lanes[row["lanes_at"] + lane_number(sim.maps[number], name)]
    return int(lane["first"] + min(int(s / lane["step"]), lane["quads"] - 1))


def aim_at(sim: Simulator, a: int, *goals: tuple[str, float], w: int = 0) -> None:
    """Give agent `a` goals by hand: each a lane and the metres down that lane."""
    state, sections = sim.state, sim.roads.network.sections
    for k, (lane, s) in enumerate(goals):
        section = section_at(sim, lane, s)
        state.goals.section[w, a, k] = section
        middle = [(sections[name][section] + sections[name][section + 1]) / 2 for name in ("x", "y")]
        matrix = np.reshape([array[w] for array in state.variant[:4]], (2, 2))
        state.goals.x[w, a, k], state.goals.y[w, a, k] = matrix @ middle
    state.goals.count[w, a], state.goals.next[w, a] = len(goals), 0


# Shapely as the judge of shapes


def box(x: Any, y: Any, angle: Any, half_length: Any, half_width: Any) -> np.ndarray:
    """Shapely boxes of float64 arrays."""
    ahead = np.array([1, -1, -1, 1])[:, None] * half_length
    left = np.array([1, 1, -1, -1])[:, None] * half_width
    corners = [x + ahead * np.cos(angle) - left * np.sin(angle), y + ahead * np.sin(angle) + left * np.cos(angle)]
    return shapely.polygons(np.moveaxis(np.array(corners), (0, 1, 2), (2, 1, 0)))


def agrees(found: np.ndarray, one: np.ndarray, other: np.ndarray, margin: float = 1e-3) -> bool:
    """Whether `found` is True where polygon `one` and shape `other` overlap by more than the margin [m], False where they
    are further apart than that."""
    apart = shapely.distance(one, other) > margin
    met = shapely.intersects(shapely.buffer(one, -margin), other)
    assert apart.sum() > len(found) / 20 and met.sum() > len(found) / 20, "the sample has too few of one kind"
    return not (found & apart).any() and not (~found & met).any()


@pytest.fixture(scope="session", autouse=True)
def map_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Compiled maps of the tests don't go to the user's cache. Kernels do: to compile them takes minutes."""
    own, kernels = tmp_path_factory.mktemp("maps"), cache_directory() / "kernels"
    kernels.mkdir(parents=True, exist_ok=True)
    (own / "kernels").symlink_to(kernels.resolve())
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GIGAFLOW_CACHE_DIR", str(own))
        patch.setenv("GIGAFLOW_QUIET", "1")
        yield


# Stages, each over the agents or lights of world w that are given, in that order


PER_LIGHT = ("schedule", "switch")
"""Stages of which a world has one call for each light; all others have one for each agent."""
BOUND = ("w", "a", "k", "first", "stride")
"""Parameters of stages that the loop around them fills in."""

STAGES: dict[str, Callable] = {
    stage.__name__: stage
    for stage in (
        record_contact, intend, follow, decide, move, locate, collide, leave_road, run_light, arrive, plan, score, schedule,
        switch, populate, end_episode, propose, resolve_spawns, condition, spawn, find_neighbours, select_lane_samples,
        observe, add_noise, blank,
    )
}  # fmt: skip
"""Every stage by name."""


@functools.cache
def looped(name: str) -> Callable:
    """A kernel that runs one stage for some agents or lights of a world. `out` is the agent's own row."""
    stage = STAGES[name]
    if name == "observe":
        names = list(inspect.signature(plain(stage)).parameters)[5:]
        pose, body, neighbours, perceived = (names.index(one) for one in ("pose", "body", "neighbours", "perceived"))

        def loop(elements, w, out, *groups):
            for a in range(out.shape[1]):
                line_up(w, a, groups[pose], groups[body], groups[neighbours], groups[perceived])
            for a in elements:
                stage(w, a, FIRST, STRIDE, out[w, a], *groups)
    elif name == "select_lane_samples":

        def loop(elements, w, *groups):
            for a in elements:
                stage(w, a, FIRST, STRIDE, *groups)
    elif name == "blank":

        def loop(elements, w, out):
            for a in elements:
                stage(FIRST, STRIDE, out[w, a])
    else:

        def loop(elements, w, *groups):
            for a in elements:
                stage(w, a, *groups)

    loop.__name__ = name
    return kernel(loop)


def plain(function: Callable) -> Callable:
    """The Python function behind a compiled one."""
    return getattr(function, "body", None) or getattr(function, "py_func", function)


def arguments(name: str, sim: Simulator, order: Iterable[int] | None = None, *, w: int = 0, **given: Any) -> tuple[Any, ...]:
    """What `looped` takes to run a stage in world `w`, for all agents (or lights) or in the `order` given."""
    state, roads = sim.state, sim.roads
    known = {
        **state._asdict(), **roads._asdict(), "p": sim._params, "actions": sim.actions, "wanted": sim.wanted,
        "conflicts": sim.conflicts, "contacts": sim.contacts, "out": sim.observations, "starts": sim.layout.starts,
        "attempt": 0, **given,
    }  # fmt: skip
    if order is None:
        lights = int(roads.network.maps["lights"][state.clock.map[w]])
        order = range(lights if name in PER_LIGHT else sim.agents)
    wanted = [one for one in inspect.signature(plain(STAGES[name])).parameters if one not in BOUND]
    return np.array(list(order), np.int64), w, *(known[one] for one in wanted)


def run(
    name: str,
    sim: Simulator,
    order: Iterable[int] | None = None,
    *,
    w: int = 0,
    launch: Callable | None = None,
    **given: Any,
) -> None:
    """Run one stage, see `arguments`; `launch` replaces `looped`."""
    (launch or looped(name))(*arguments(name, sim, order, w=w, **given))
