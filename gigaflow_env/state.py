"""Every array that changes, declared once, grouped by concept.

`allocate(State...)` makes them; kernels get the groups they touch.
"""

from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.declare import allocate, array, number, row_type
from gigaflow_env.layout import GOALS
from gigaflow_env.packs import EIGHT, whole
from gigaflow_env.population import ROAD_USERS

i8, i32, u32, flag = np.int8, np.int32, np.uint32, np.bool_

# Status of a row.
ABSENT, WAITING, ENDED, LIVE, FROZEN, PLAYED = range(6)
"""ABSENT: the row has no agent, or it has left. WAITING: the agent waits to spawn and is not on the road. ENDED: its episode
ended in this step; others observe it for the last time. LIVE: it drives. FROZEN: a wreck. PLAYED: it follows a recorded
track, is seen and can be hit, and nobody judges it. So agents with at least ENDED are observed, and agents with at least
LIVE can be collided with."""

# Driver of a row.
POLICY, IDM, REPLAY = range(3)
"""POLICY: the actions given to `step`. IDM: the rules of sim/traffic/drive.py. REPLAY: a recorded track, see
sim/traffic/replay.py."""
OVERLAPS, OFF_ROAD = 1, 2
"""Bits of `Tracks.conflict`: how the start of a recorded scene is unfair to who is controlled."""
NOWHERE = -1e9
"""[m] `goals.best` where no way leads on from the final goal: the episode ends there."""
ELSEWHERE = 2e9
"""[m] `goals.best` of a rule-based driver that gives its goal up: it gets a new route."""

# Colours of a light.
OFF, GREEN, YELLOW, RED = range(4)


class Clock(NamedTuple):
    """Time and chance, per world."""

    seed: np.ndarray = array("two", "", "key of the random numbers", u32)
    number: np.ndarray = array("world", "", "its number, for the random numbers of dropout, routes and erratic drivers", i32)
    map: np.ndarray = array("world", "", "number of its map", i32)
    tick: np.ndarray = array("world", "", "steps since the environment's reset: never repeats", i32)
    step: np.ndarray = array("world", "steps", "age of the world", i32)
    room: np.ndarray = array("world", "", "rows of the world", i32)
    agents: np.ndarray = array(
        "world", "", "rows that have an agent, until the world ends; those beyond are ABSENT; 0: not begun", i32
    )


class Rows(NamedTuple):
    """Status, age and driver of each row."""

    status: np.ndarray = array("world agent", "", "ABSENT, WAITING, ENDED, LIVE, FROZEN or PLAYED", i8)
    episode: np.ndarray = array("world agent", "", "episodes begun", i32)
    steps: np.ndarray = array("world agent", "steps", "age of the episode, or of the wreck", i32)
    score: np.ndarray = array("world agent", "", "sum of the rewards of the episode")
    erratic: np.ndarray = array("world agent", "", "bits: 1 inattentive (at times sees no others), 2 phantom braking", i8)
    driver: np.ndarray = array("world agent", "", "POLICY, IDM or REPLAY", i8)


class Pose(NamedTuple):
    """Center and direction of the box, now and before this step."""

    x: np.ndarray = array("world agent", "m", "center of the box")
    y: np.ndarray = array("world agent", "m", "center of the box")
    z: np.ndarray = array("world agent", "m", "height of the road under it")
    cos: np.ndarray = array("world agent", "", "of the heading, counter-clockwise from x")
    sin: np.ndarray = array("world agent", "", "of the heading")
    old_x: np.ndarray = array("world agent", "m", "x before the step")
    old_y: np.ndarray = array("world agent", "m", "y before the step")
    old_cos: np.ndarray = array("world agent", "", "cos before the step")
    old_sin: np.ndarray = array("world agent", "", "sin before the step")


class Motion(NamedTuple):
    """Speed, accelerations, steering and jerks."""

    speed: np.ndarray = array("world agent", "m/s", "signed")
    acceleration: np.ndarray = array("world agent", "m/s^2", "longitudinal")
    lateral: np.ndarray = array("world agent", "m/s^2", "lateral acceleration, left positive")
    steer: np.ndarray = array("world agent", "rad", "steering angle, left positive")
    jerk: np.ndarray = array("world agent", "m/s^3", "longitudinal jerk of the last action")
    side_jerk: np.ndarray = array("world agent", "m/s^3", "lateral jerk of the last action")
    distance: np.ndarray = array("world agent", "m", "distance travelled in the last step")


class Body(NamedTuple):
    """The agent's body and its dynamics coefficients, drawn anew for every episode."""

    length: np.ndarray = array("world agent", "m", "")
    width: np.ndarray = array("world agent", "m", "")
    c_throttle: np.ndarray = array("world agent", "", "coefficient of longitudinal jerk")
    c_steer: np.ndarray = array("world agent", "", "coefficient of lateral jerk")
    c_acc: np.ndarray = array("world agent", "", "coefficient of the strongest acceleration")
    c_vel: np.ndarray = array("world agent", "", "coefficient of the top speed")
    kind: np.ndarray = array("world agent", "", "number in population.ROAD_USERS", i32)


class Kinds(NamedTuple):
    """The population: ranges from which a body is drawn, by kind. Filled once, from population.ROAD_USERS and the config."""

    until: np.ndarray = array("kind", "", "upper end of its range of unit draws; the lower end is that of the kind before")
    length_low: np.ndarray = array("kind", "m", "")
    length_high: np.ndarray = array("kind", "m", "")
    width_low: np.ndarray = array("kind", "m", "")
    width_high: np.ndarray = array("kind", "m", "")
    speed: np.ndarray = array("kind", "", "factor of c_vel")
    acceleration: np.ndarray = array("kind", "", "factor of c_acc")


class LanePosition(NamedTuple):
    """Where the agent is on its lane (Frenet)."""

    section: np.ndarray = array("world agent", "", "its quad: between this section and the next", i32)
    fraction: np.ndarray = array("world agent", "", "position inside the quad, 0..1 along the lane")
    offset: np.ndarray = array("world agent", "m", "from the lane center, left positive")
    cos: np.ndarray = array("world agent", "", "of the angle to the lane")
    angle: np.ndarray = array("world agent", "rad", "heading relative to the lane, left positive")
    route_distance: np.ndarray = array("world agent", "m", "route distance to the next goal")
    stood: np.ndarray = array("world agent", "", "stop line of the stop sign at which it has stopped, -1: none", i32)


class Goals(NamedTuple):
    """The agent's goal sequence."""

    x: np.ndarray = array("world agent goal", "m", "")
    y: np.ndarray = array("world agent goal", "m", "")
    section: np.ndarray = array("world agent goal", "", "its quad", i32)
    count: np.ndarray = array("world agent", "", "goals of this route", i32)  # type: ignore[assignment]
    next: np.ndarray = array("world agent", "", "the one to be reached next", i32)
    routes: np.ndarray = array("world agent", "", "routes begun in this episode", i32)
    best: np.ndarray = array(
        "world agent", "m", "shortest route distance to the next goal so far: progress counts once; -1e9: no way leads on"
    )
    gained: np.ndarray = array("world agent", "m", "progress along the route in the last step")


class RewardWeights(NamedTuple):
    """The agent's reward coefficients, in the order of `config.CONDITIONING`."""

    coefficients: np.ndarray = array("world agent coefficient", "", "drawn anew for every episode")


class Events(NamedTuple):
    """What happened to the agent in this step."""

    collision: np.ndarray = array("world agent", "", "its box touched another agent's", flag)
    offroad: np.ndarray = array("world agent", "", "its box touched the edge of the road", flag)
    red_light: np.ndarray = array("world agent", "", "crossed a stop line at red", flag)
    goal: np.ndarray = array("world agent", "", "reached a goal", flag)
    route_done: np.ndarray = array("world agent", "", "reached the final goal", flag)
    timeout: np.ndarray = array("world agent", "", "its episode was max_steps old", flag)


class Outcome(NamedTuple):
    """What `step` returns, besides the observation."""

    reward: np.ndarray = array("world agent", "", "")
    terminated: np.ndarray = array("world agent", "", "ended by crash or by its final goal", flag)
    truncated: np.ndarray = array("world agent", "", "ended by its own time or the world's", flag)
    active: np.ndarray = array("world agent", "", "the row's observation is a live agent's", flag)
    erratic: np.ndarray = array("world agent", "", "the same, and the driver is erratic: left out of training", flag)
    episode_return: np.ndarray = array("world agent", "", "of the episode that ended last")
    episode_length: np.ndarray = array("world agent", "steps", "of the episode that ended last", i32)


class Lights(NamedTuple):
    """The times of each world's lights; colours follow from the world's age. With programs, times in a cycle."""

    colour: np.ndarray = array("world light", "", "OFF, GREEN, YELLOW or RED", i8)
    red: np.ndarray = array("world light", "s", "red time, 0: no light")
    yellow: np.ndarray = array("world light", "s", "yellow time; with programs the shortest")
    green: np.ndarray = array("world light", "s", "green time")
    offset: np.ndarray = array("world light", "s", "time in its cycle when the world began")


class Proposal(NamedTuple):
    """The pose and body with which a waiting agent would spawn."""

    section: np.ndarray = array("world agent", "", "its quad", i32)
    x: np.ndarray = array("world agent", "m", "")
    y: np.ndarray = array("world agent", "m", "")
    z: np.ndarray = array("world agent", "m", "")
    cos: np.ndarray = array("world agent", "", "")
    sin: np.ndarray = array("world agent", "", "")
    speed: np.ndarray = array("world agent", "m/s", "")
    length: np.ndarray = array("world agent", "m", "")
    width: np.ndarray = array("world agent", "m", "")
    free: np.ndarray = array("world agent", "", "no other agent and no edge of the road is too near", flag)
    kind: np.ndarray = array("world agent", "", "number in population.ROAD_USERS", i32)
    who: np.ndarray = array("world agent", "", "workspace: the agents that wait, one after the other", i32)


class SeenRow(NamedTuple):
    """What others observe of an agent, one number behind the other."""

    x: float = number("m", "perceived, as the four below")
    y: float = number("m", "")
    cos: float = number("", "")
    sin: float = number("", "")
    speed: float = number("m/s", "")
    z: float = number("m", "height")
    length: float = number("m", "")
    width: float = number("m", "")


class Neighbours(NamedTuple):
    """The agents nearest to each agent."""

    agent: np.ndarray = array("world agent neighbour", "", "agent, nearest first, -1: none", i32)
    key: np.ndarray = array(
        "world two whole", "", "workspace: distance and number of who is near, of one agent and the next", i32
    )
    place: np.ndarray = array("world whole", "", "workspace: the place of each of them", i32)
    near: np.ndarray = array("world whole", "", "workspace: who they are", i32)
    ordered: np.ndarray = array("world whole", "", "workspace: the same in order", i32)
    seen: np.ndarray = array("world other", "", "workspace: SeenRow, what others observe of each agent", row_type(SeenRow))
    scratch: np.ndarray = array(
        "world worker other", "", "workspace: an entry for each agent; one worker does all where none needs more", u32
    )


class LaneRoutes(NamedTuple):
    """Which elements of its Nearby row an agent observes, and the route distances from its lane samples to its next goal."""

    lane: np.ndarray = array("world agent", "", "the first lane sample that it observes", i32)
    boundary: np.ndarray = array("world agent", "", "the first boundary point that it observes", i32)
    route_distance: np.ndarray = array("world agent sample", "m", "from each lane sample that it observes, in their order")
    smallest: np.ndarray = array("world agent", "m", "the smallest of those that it observes")
    row: np.ndarray = array("world agent", "", "the Nearby row they belong to", i32)
    goal: np.ndarray = array("world agent", "", "quad of the goal they lead to, -1: not yet measured", i32)
    next_lane: np.ndarray = array("world other", "", "workspace: `lane` of the choice that comes", i32)
    next_boundary: np.ndarray = array("world other", "", "workspace: `boundary` of the choice that comes", i32)
    twice: np.ndarray = array("world twice_sample", "", "workspace: a row of Nearby.samples, and the same again", i32)


class Variant(NamedTuple):
    """The affine map from each world's road map to the world, and what follows from it; see sim/variant.py."""

    xx: np.ndarray = array("world", "", "to the world: x' = xx x + xy y")
    xy: np.ndarray = array("world", "", "")
    yx: np.ndarray = array("world", "", "y' = yx x + yy y")
    yy: np.ndarray = array("world", "", "")
    back_xx: np.ndarray = array("world", "", "its inverse")
    back_xy: np.ndarray = array("world", "", "")
    back_yx: np.ndarray = array("world", "", "")
    back_yy: np.ndarray = array("world", "", "")
    det: np.ndarray = array("world", "", "determinant, negative for a flip")
    mean: np.ndarray = array("world", "", "lengths grow by mean + along cos 2t + across sin 2t in the direction t")
    along: np.ndarray = array("world", "", "")
    across: np.ndarray = array("world", "", "")
    plain: np.ndarray = array("world", "", "the world is the map as it is", flag)


class Perceived(NamedTuple):
    """The agent's state as others observe it: with noise, the same for all observers."""

    x: np.ndarray = array("world agent", "m", "")
    y: np.ndarray = array("world agent", "m", "")
    cos: np.ndarray = array("world agent", "", "of the heading")
    sin: np.ndarray = array("world agent", "", "of the heading")
    speed: np.ndarray = array("world agent", "m/s", "signed")


class Overrides(NamedTuple):
    """Ranges set by hand for a row's next episodes, in the order of `config.CHOICES`; nan: as in the Config."""

    low: np.ndarray = array("world agent choice", "", "lower end of the range")
    high: np.ndarray = array("world agent choice", "", "upper end")


class Traffic(NamedTuple):
    """The intention of each driver, for rule-based drivers: announced anew in every step."""

    next: np.ndarray = array("world agent", "", "lane with conflicts that it enters next, -1: none near", i32)
    gap: np.ndarray = array("world agent", "m", "from its front to that lane")
    priority: np.ndarray = array("world agent", "m", "the same as an order: agents in a junction come before all others")
    inside: np.ndarray = array("world agent", "", "lane in which its front is, or will be soon", i32)
    front: np.ndarray = array("world agent", "m", "its front from the start of `inside`")
    may_enter: np.ndarray = array("world agent", "", "it could enter that lane: no red light, and room behind", flag)
    committed: np.ndarray = array("world agent", "", "it can no longer stop before that lane", flag)
    yielded: np.ndarray = array("world agent", "", "it gave way in the last step", flag)
    leader: np.ndarray = array("world agent", "", "the nearest body in its path, -1: none, or not looked for", i32)
    leader_gap: np.ndarray = array("world agent", "m", "from its front to that body")
    beside: np.ndarray = array("world agent", "", "who is in the way of the lane change that it needs, -1: nobody", i32)
    wish: np.ndarray = array("world agent", "", "lane to which it has to change before it can go on, -1: none", i32)
    short: np.ndarray = array("world agent", "", "its lane ends too soon for that change: it has to back up", flag)
    turn: np.ndarray = array("world agent", "", "it ends a cycle of waiting, or makes room behind one, see cycles.py", i32)
    waits_for: np.ndarray = array("world agent", "", "because of whom it stands, -1: it moves, or for no agent", i32)
    waits_how: np.ndarray = array("world agent", "", "how it could end that, see cycles.py", i32)
    still: np.ndarray = array("world agent", "steps", "for how long it has stood", i32)
    backing: np.ndarray = array("world agent", "steps", "for how long it still backs up", i32)
    stop: np.ndarray = array("world agent", "m", "from its front to a line at which it has to stop")
    cap: np.ndarray = array("world agent", "m/s", "speed permitted by the road, lights, the goal and a leader")
    brake: np.ndarray = array("world agent", "m/s^2", "deceleration for a leader")
    curvature: np.ndarray = array("world agent", "1/m", "that it steers to")


class State(NamedTuple):
    """All groups: everything that changes."""

    clock: Clock
    rows: Rows
    pose: Pose
    motion: Motion
    body: Body
    lane_position: LanePosition
    goals: Goals
    reward_weights: RewardWeights
    events: Events
    outcome: Outcome
    lights: Lights
    proposal: Proposal
    neighbours: Neighbours
    lane_routes: LaneRoutes
    kinds: Kinds
    variant: Variant
    perceived: Perceived
    overrides: Overrides
    traffic: Traffic


_GROUPS: tuple[Any, ...] = (
    Clock, Rows, Pose, Motion, Body, LanePosition, Goals, RewardWeights, Events, Outcome, Lights, Proposal, Neighbours,
    LaneRoutes, Kinds, Variant,
    Perceived, Overrides, Traffic,
)  # fmt: skip
GROUPS = State(*_GROUPS)


def make(
    worlds: int,
    agents: int,
    coefficients: int,
    lights: int,
    neighbours: int,
    samples: int,
    choices: int,
    workers: int = 1,
    goals: int = GOALS,
    kept: int | None = None,
) -> State:
    """A State before the first reset. workers: how many agents of a world are processed at the same time.

    samples: of a row of Nearby.samples; kept: of these, how many an agent observes, all by default. goals: most goals of a
    route, GOALS at least.
    """
    sizes = {
        "two": 2, "world": worlds, "agent": agents, "coefficient": coefficients, "goal": goals,
        "light": max(lights, 1), "neighbour": max(neighbours, 1), "worker": workers, "other": agents,
        "sample": kept or samples, "twice_sample": 2 * samples,
        "whole": whole(max(agents, neighbours)) + EIGHT,  # and a pack that is nobody's behind them
        "kind": len(ROAD_USERS), "choice": choices,
    }  # fmt: skip
    groups: Any = GROUPS
    state = State(*(allocate(group, sizes) for group in groups))
    state.lane_routes.goal[:] = -1
    state.neighbours.agent[:] = -1  # never one twice: who is farther away than all of them is none of the nearest
    for one in ("xx", "yy", "back_xx", "back_yy", "det", "mean", "plain"):
        getattr(state.variant, one)[:] = 1
    population = [(*kind.length, *kind.width, kind.speed, kind.acceleration) for kind in ROAD_USERS.values()]
    for column, values in zip(state.kinds[1:], zip(*population, strict=True), strict=True):
        column[:] = values
    state.overrides.low[:] = state.overrides.high[:] = np.nan
    return state
