"""Fault: which agent another one collided with, on which side, and whose fault it was. Read by the event log only.

Source: the at-fault rule of nuPlan's closed-loop metrics. At fault is an agent that hits a standing one, hits another with
its front, or with its side while its box isn't fully inside one lane. An agent that stands, or is hit from behind, is not at
fault. Differs: the side is taken from the poses before the step, as the boxes may have passed through each other by its end.
"""

from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.sim.collision import boxes_met, relative
from gigaflow_env.sim.geometry import HALF, ZERO
from gigaflow_env.sim.variant import placed
from gigaflow_env.state import ENDED, FROZEN

NONE, FRONT, REAR, SIDE = range(4)
"""Side of its own box on which an agent collided."""

STANDING = f32(0.05)
"""[m/s] An agent that is slower stands, as in nuPlan."""


@rule
def side_of(ahead, left, cos, sin, half_length, half_width, other_length, other_width):
    """Side on which another box lies: FRONT or REAR if it is wholly ahead or behind, else SIDE.

    The other box is at (ahead, left) [m] in the own frame, turned by (cos, sin). Lengths and widths are half extents [m].
    """
    reach = other_length * abs(cos) + other_width * abs(sin)
    if ahead - reach >= half_length:
        return FRONT
    return REAR if ahead + reach <= -half_length else SIDE


@rule
def at_fault(side, speed, other_speed, in_lane):
    """Whether an agent is at fault for a collision on this side of its own box."""
    if abs(speed) < STANDING:
        return False
    if abs(other_speed) < STANDING:
        return True
    forwards = side == FRONT if speed > ZERO else side == REAR
    return forwards or (side == SIDE and not in_lane)


@stage
def record_contact(w, a, rows, pose, motion, body, lane_position, events, variant, network, contacts):
    """With which agent this one collided in this step, and how. Writes: contacts."""
    contacts.other[w, a], contacts.side[w, a], contacts.fault[w, a] = i32(-1), NONE, False
    contacts.x[w, a], contacts.y[w, a], contacts.speed[w, a] = pose.x[w, a], pose.y[w, a], motion.speed[w, a]
    contacts.age[w, a] = rows.steps[w, a]
    if not events.collision[w, a]:
        contacts.fault[w, a] = events.offroad[w, a] or events.red_light[w, a]
        return
    x, y, best = pose.x[w, a], pose.y[w, a], f32(1e9)
    for b in range(rows.status.shape[1]):
        if b == a or rows.status[w, b] < ENDED:
            continue
        dx, dy = pose.x[w, b] - x, pose.y[w, b] - y
        # Both orders: rounding may find the contact in one of them only. Wrecks and tracks have no collision event.
        if (
            (events.collision[w, b] or rows.status[w, b] >= FROZEN)
            and dx * dx + dy * dy < best
            and (boxes_met(w, a, b, pose, body) or boxes_met(w, b, a, pose, body))
        ):
            best, contacts.other[w, a] = dx * dx + dy * dy, i32(b)
    b = contacts.other[w, a]
    if b < 0:
        return
    half_length, half_width = HALF * body.length[w, a], HALF * body.width[w, a]
    ahead, left, cos, sin = relative(
        pose.old_x[w, a], pose.old_y[w, a], pose.old_cos[w, a], pose.old_sin[w, a],
        pose.old_x[w, b], pose.old_y[w, b], pose.old_cos[w, b], pose.old_sin[w, b],
    )  # fmt: skip
    side = side_of(ahead, left, cos, sin, half_length, half_width, HALF * body.length[w, b], HALF * body.width[w, b])
    section = network.sections[lane_position.section[w, a]]
    _, lane_half_width, _, _ = placed(w, variant, ZERO, section.half_width, section.cos, section.sin)
    reach = half_width * abs(lane_position.cos[w, a]) + half_length * abs(lane_position.angle[w, a])
    in_lane = abs(lane_position.offset[w, a]) + reach <= lane_half_width
    contacts.side[w, a] = side
    contacts.fault[w, a] = at_fault(side, motion.speed[w, a], motion.speed[w, b], in_lane)
