"""What must never be seen in a running simulator, judged at every step: plain loops in float64 over its arrays.

Nothing but the arrays is shared with what is judged: no rule, no order, no precision. A new kind of anomaly is a line in
`Anomalies`, and a `note` where it is seen.
"""

import math
from typing import NamedTuple

import numpy as np

from gigaflow_env.declare import array
from gigaflow_env.jit import kernel, rule, stage
from gigaflow_env.roads.compiled.tables import CELL
from gigaflow_env.state import ABSENT, ENDED, FROZEN, LIVE, WAITING

f64, i64 = np.float64, np.int64

LEVEL = 2.5  # m: things further apart in height are on different levels
LONG_WAIT = 200  # steps: a row is lost. On small crowded maps, where all that drive are 13 m apart, some queue for 60
ASTRAY = 30.0  # m
OVERLAP = 0.01  # m: boxes that overlap by less are in doubt
LARGEST = 5.0  # m: half of the length and width of the largest body
BESIDE = 1.0  # m: sections are about 1 m apart, so whoever is on the lane is not further from one than this and half a width


def _notes(meaning: str) -> np.ndarray:
    return array("note", "", meaning, i64)


class Anomalies(NamedTuple):
    """Three numbers each: how often, and world and agent where it was seen first. None is permitted."""

    state_not_finite: np.ndarray = _notes("a number of the state is NaN or infinite")
    observation_not_finite: np.ndarray = _notes("a number of an observation is NaN or infinite")
    observation_outside: np.ndarray = _notes("a number of an observation is outside of -1 to 1")
    row_lost: np.ndarray = _notes("a row with an agent is neither on the road nor waiting, or one without an agent is")
    waits_long: np.ndarray = _notes("a row found no place in more than 200 steps")
    foreign_section: np.ndarray = _notes("an agent's section or goal is no quad of its own map")
    lost_section: np.ndarray = _notes("an agent on the road is more than 30 m away from its section")
    jump: np.ndarray = _notes("an agent moved further than the fastest can")
    spawn_overlap: np.ndarray = _notes("an agent started in the box of another")
    off_road_unnoticed: np.ndarray = _notes("an agent whose episode should have ended at the road's edge is beyond it")
    collision_without_partner: np.ndarray = _notes("a collision is reported, but no other agent of the same level is near")
    overlap_unnoticed: np.ndarray = _notes("two boxes on one level overlap, but no collision is reported")


class Counts(NamedTuple):
    """What is counted besides, in agent-steps; three numbers likewise."""

    agent_steps: np.ndarray = _notes("rows with an agent")
    episodes: np.ndarray = _notes("agents that started")
    collisions: np.ndarray = _notes("reported collisions")
    off_road: np.ndarray = _notes("reported ways off the road")
    red_lights: np.ndarray = _notes("reported red lights")
    goals: np.ndarray = _notes("reported goals")
    waiting: np.ndarray = _notes("rows that wait for a place")
    wrecks: np.ndarray = _notes("wrecks that stand in the way")
    outside_grid: np.ndarray = _notes("agents beyond the map's cells")
    astray: np.ndarray = _notes("agents more than 30 m from their own section")
    over_another: np.ndarray = _notes("agents whose box lies over or under another one on another level")


class Before(NamedTuple):
    """What a step is compared with."""

    episode: np.ndarray = array("world agent", "", "episodes begun", np.int32)
    live: np.ndarray = array("world agent", "", "on the road", np.bool_)
    wreck: np.ndarray = array("world agent", "", "stood as a wreck", np.bool_)
    x: np.ndarray = array("world agent", "m", "")
    y: np.ndarray = array("world agent", "m", "")
    z: np.ndarray = array("world agent", "m", "")
    waited: np.ndarray = array("world agent", "steps", "in a row, this step included", np.int32)


class Doubts(NamedTuple):
    """Agents whose places this file can't judge: Shapely is asked."""

    astray: np.ndarray = array("world agent", "", "far from its section: no road may be there", np.bool_)
    beside: np.ndarray = array("world agent", "", "beside its lane: another road must be there", np.bool_)
    driven: np.ndarray = array("world agent", "", "drove here in this step", np.bool_)


@rule
def in_the_way(status):
    """Whether others can run into a row of this status."""
    return status == LIVE or status == FROZEN


@rule
def record_contact(notes, w, a):
    """Count what agent a of world w shows, and keep the first place."""
    if notes[0] == 0:
        notes[1], notes[2] = w, a
    notes[0] += 1


@rule
def reach(w, a, body):
    """Radius [m] of a circle around the box."""
    return (f64(body.length[w, a]) + f64(body.width[w, a])) / 2.0


@rule
def depth_along(ux, uy, dx, dy, ac, as_, al, aw, bc, bs, bl, bw):
    """How deep [m] the shadows of two boxes on the axis (ux, uy) overlap; (dx, dy) leads from one to the other."""
    one = al * abs(ux * ac + uy * as_) + aw * abs(uy * ac - ux * as_)
    other = bl * abs(ux * bc + uy * bs) + bw * abs(uy * bc - ux * bs)
    return one + other - abs(ux * dx + uy * dy)


@rule
def depth(w, a, b, pose, body):
    """How deep [m] the boxes of agents a and b overlap, by separating axes: 0 or less where they don't."""
    dx, dy = f64(pose.x[w, b]) - f64(pose.x[w, a]), f64(pose.y[w, b]) - f64(pose.y[w, a])
    ac, as_, bc, bs = f64(pose.cos[w, a]), f64(pose.sin[w, a]), f64(pose.cos[w, b]), f64(pose.sin[w, b])
    a_norm, b_norm = math.hypot(ac, as_), math.hypot(bc, bs)
    ac, as_, bc, bs = ac / a_norm, as_ / a_norm, bc / b_norm, bs / b_norm
    al, aw, bl, bw = body.length[w, a] / 2.0, body.width[w, a] / 2.0, body.length[w, b] / 2.0, body.width[w, b] / 2.0
    return min(
        depth_along(ac, as_, dx, dy, ac, as_, al, aw, bc, bs, bl, bw),
        depth_along(-as_, ac, dx, dy, ac, as_, al, aw, bc, bs, bl, bw),
        depth_along(bc, bs, dx, dy, ac, as_, al, aw, bc, bs, bl, bw),
        depth_along(-bs, bc, dx, dy, ac, as_, al, aw, bc, bs, bl, bw),
    )


@rule
def own_section(section, map_row, network):
    """Whether it is a quad of the map."""
    if section < 0 or section >= len(network.sections):
        return False
    number = network.sections[section].lane
    if number < map_row.lanes_at or number >= map_row.lanes_at + map_row.lanes:
        return False
    lane = network.lanes[number]
    return lane.first <= section < lane.first + lane.quads


@stage
def count(w, a, fresh, counts, rows, events):
    """What the simulator reports. Writes: counts."""
    if rows.status[w, a] == ABSENT:
        return
    record_contact(counts.agent_steps, w, a)
    if fresh:
        record_contact(counts.episodes, w, a)
    if rows.status[w, a] == WAITING:
        record_contact(counts.waiting, w, a)
    if rows.status[w, a] == FROZEN:
        record_contact(counts.wrecks, w, a)
    if events.collision[w, a]:
        record_contact(counts.collisions, w, a)
    if events.offroad[w, a]:
        record_contact(counts.off_road, w, a)
    if events.red_light[w, a]:
        record_contact(counts.red_lights, w, a)
    if events.goal[w, a]:
        record_contact(counts.goals, w, a)


@stage
def check_row(w, a, seen, before, clock, rows):
    """Status, and how long a row waits. Writes: seen, before.waited."""
    status = rows.status[w, a]
    known = status == LIVE or status == ENDED or status == WAITING or status == FROZEN
    if (a < clock.agents[w]) != known or not (known or status == ABSENT):
        record_contact(seen.row_lost, w, a)
    before.waited[w, a] = before.waited[w, a] + 1 if status == WAITING else 0
    if before.waited[w, a] > LONG_WAIT:
        record_contact(seen.waits_long, w, a)


@stage
def check_place(w, a, fresh, seen, counts, before, doubts, farthest, map_x, map_y, clock, pose, place, goals, network):
    """An agent on the road: its way, its section, its goals. Writes: seen, counts, doubts."""
    if before.live[w, a] and not fresh:
        if math.hypot(f64(pose.x[w, a]) - f64(before.x[w, a]), f64(pose.y[w, a]) - f64(before.y[w, a])) > farthest:
            record_contact(seen.jump, w, a)
    map_row = network.maps[clock.map[w]]
    x, y = f64(map_x[w, a]), f64(map_y[w, a])
    right, top = f64(map_row.x) + CELL * map_row.columns, f64(map_row.y) + CELL * map_row.rows
    if x < map_row.x or x > right or y < map_row.y or y > top:
        record_contact(counts.outside_grid, w, a)
    for k in range(goals.count[w, a]):
        if not own_section(goals.section[w, a, k], map_row, network):
            record_contact(seen.foreign_section, w, a)
    if not own_section(place.section[w, a], map_row, network):
        record_contact(seen.foreign_section, w, a)
        if place.section[w, a] < 0 or place.section[w, a] >= len(network.sections):
            return
    if fresh:
        return
    section = network.sections[place.section[w, a]]
    away = math.hypot(x - section.x, y - section.y)
    doubts.driven[w, a] = True
    doubts.beside[w, a] = away > section.half_width + BESIDE or abs(f64(pose.z[w, a]) - section.z) > LEVEL
    doubts.astray[w, a] = away > ASTRAY
    if away > ASTRAY:
        record_contact(counts.astray, w, a)


@stage
def check_start(w, a, seen, rows, pose, body):
    """Who starts must not touch anybody. Writes: seen."""
    for b in range(rows.status.shape[1]):
        if b == a or not in_the_way(rows.status[w, b]) or abs(f64(pose.z[w, b]) - f64(pose.z[w, a])) >= LEVEL:
            continue
        if depth(w, a, b, pose, body) > 0.0:
            record_contact(seen.spawn_overlap, w, a)
            return


@rule
def took_part(w, b, before, rows):
    """Whether a row drove in this step, or stood in the way: its box is where it was judged."""
    status = rows.status[w, b]
    fresh = status == LIVE and rows.episode[w, b] != before.episode[w, b]
    return (in_the_way(status) or status == ENDED) and not fresh


@rule
def cleared(w, x, y, z, near, before, rows):
    """Whether a wreck near this place was cleared away in this step, after it had been run into."""
    for b in range(rows.status.shape[1]):
        if before.wreck[w, b] and rows.status[w, b] != FROZEN and abs(f64(before.z[w, b]) - z) < LEVEL:
            if math.hypot(before.x[w, b] - x, before.y[w, b] - y) < near + LARGEST:
                return True
    return False


@stage
def check_collision(w, a, seen, counts, before, rows, pose, motion, body, events):
    """Collisions against the boxes as they are now. Writes: seen, counts."""
    xs, ys, lengths, widths, moved = pose.x[w], pose.y[w], body.length[w], body.width[w], motion.distance[w]
    x, y = f64(xs[a]), f64(ys[a])
    near = reach(w, a, body) + moved[a] + OVERLAP
    # Two loops, as the first one vectorises: most agents have nobody within reach but themselves.
    within = 0
    for b in range(len(xs)):
        dx, dy = f64(xs[b]) - x, f64(ys[b]) - y
        far = near + (f64(lengths[b]) + f64(widths[b])) / 2.0 + moved[b]
        within += dx * dx + dy * dy < far * far
    partner, overlaps, over = False, False, False
    if within > 1:
        for b in range(len(xs)):
            dx, dy = f64(xs[b]) - x, f64(ys[b]) - y
            far = near + (f64(lengths[b]) + f64(widths[b])) / 2.0 + moved[b]
            if b == a or dx * dx + dy * dy >= far * far or not took_part(w, b, before, rows):
                continue
            level = abs(f64(pose.z[w, b]) - f64(pose.z[w, a])) < LEVEL
            deep = depth(w, a, b, pose, body)
            partner = partner or level
            overlaps = overlaps or (level and deep > OVERLAP)
            over = over or (not level and deep > 0.0)
    if over:
        record_contact(counts.over_another, w, a)
    if events.collision[w, a] and not partner and not cleared(w, x, y, f64(pose.z[w, a]), near, before, rows):
        record_contact(seen.collision_without_partner, w, a)
    if overlaps and not events.collision[w, a]:
        record_contact(seen.overlap_unnoticed, w, a)


@kernel
def judge(
    seen, counts, before, doubts, farthest, same_step, map_x, map_y,
    clock, rows, pose, motion, body, place, goals, events, outcome, network,
):  # fmt: skip
    """The step that has just been made; `farthest` [m] is the longest way of a step.

    Writes: seen, counts, before.waited, doubts.
    """
    worlds, agents = rows.status.shape
    for w in range(worlds):
        gone = False
        for a in range(agents):
            status = rows.status[w, a]
            fresh = status == LIVE and rows.episode[w, a] != before.episode[w, a]
            # In mode SAME_STEP the boxes of agents that ended are gone: nobody can say whom they met.
            gone = gone or (same_step and (outcome.terminated[w, a] or outcome.truncated[w, a]))
            doubts.driven[w, a] = doubts.beside[w, a] = doubts.astray[w, a] = False
            count(w, a, fresh, counts, rows, events)
            check_row(w, a, seen, before, clock, rows)
            if status == LIVE:
                check_place(
                    w, a, fresh, seen, counts, before, doubts, farthest, map_x, map_y, clock, pose, place, goals, network
                )  # fmt: skip
            if fresh:
                check_start(w, a, seen, rows, pose, body)
        for a in range(agents):
            if not gone and rows.status[w, a] != FROZEN and took_part(w, a, before, rows):
                check_collision(w, a, seen, counts, before, rows, pose, motion, body, events)


@kernel
def check_numbers(numbers, limit, every, chosen, infinite, outside):
    """Note numbers (worlds, agents, k) that are not finite or larger than the limit, of every row or of the chosen ones."""
    worlds, agents, columns = numbers.shape
    for w in range(worlds):
        for a in range(agents):
            if not (every or chosen[w, a]):
                continue
            values = numbers[w, a]
            wrong = 0
            for k in range(columns):
                wrong += not abs(values[k]) <= limit
            if wrong == 0:
                continue
            for k in range(columns):
                if not math.isfinite(values[k]):
                    record_contact(infinite, w, a)
                elif abs(values[k]) > limit:
                    record_contact(outside, w, a)
