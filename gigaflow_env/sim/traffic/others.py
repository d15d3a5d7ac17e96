"""Others: who is so near to a driver that it has to look at them."""

from gigaflow_env.jit import alone, by_one, f32, i32, rule, stage, u32
from gigaflow_env.packs import EIGHT, counted, eight_from, keep, within, words_of_bytes
from gigaflow_env.sim.geometry import ZERO, into_frame
from gigaflow_env.sim.lanes import FAR
from gigaflow_env.state import LIVE

STRIDE = i32(2)
"""Sections from one sample of the road ahead to the next: 2 m of the map."""

MARGIN = f32(0.3)
"""m, left free at the sides."""

_CATCHES_UP = f32(2.0)  # s: who is faster is seen from so much farther, before a lane change


@rule
def sample_distance(k, passed, row, scale):
    """Distance [m] to the k-th section of a lane; k is a float32, or a pack of such.

    passed: distance [m] to the start of the lane. scale: metres of the world per metre of the map.
    """
    return passed + k * row.step * scale


@rule
def last_sample(k, quads):
    """The last of the sections k, k + STRIDE, ... before the `quads`-th."""
    return i32(k + (quads - i32(1) - k) // STRIDE * STRIDE)


@stage
def around(w, a, reach, ahead, rows, pose, motion, close):
    """Number of agents on the road, and wrecks, within `reach` [m], faster ones from farther; writes who to `close`.

    ahead: only those that are not behind agent a.
    """
    xs, ys, speeds, status, count = pose.x[w], pose.y[w], motion.speed[w], rows.status[w], i32(0)
    x, y, cos, sin, speed, agents = xs[a], ys[a], pose.cos[w, a], pose.sin[w, a], speeds[a], len(xs)
    least = ZERO if ahead else -FAR
    at_once = agents - agents % EIGHT if alone() else 0
    if alone():
        count = around_alone(at_once, a, x, y, cos, sin, speed, reach, least, xs, ys, speeds, status, close)
    for b in range(at_once, agents):
        dx, dy, far = xs[b] - x, ys[b] - y, reach + max(speeds[b] - speed, ZERO) * _CATCHES_UP
        before, _ = into_frame(dx, dy, cos, sin)
        if dx * dx + dy * dy < far * far and before >= least and b != a and status[b] >= LIVE:
            close[u32(count)] = u32(b)
            count = i32(count + i32(1))
    return count


@by_one(nothing=i32(0))
def around_alone(agents, a, x, y, cos, sin, speed, reach, least, xs, ys, speeds, status, close):
    """What `around` does with the first agents, EIGHT at a time, for one who is alone."""
    count = 0
    for first in range(0, agents, EIGHT):
        dx, dy, others = eight_from(xs, first) - x, eight_from(ys, first) - y, counted(first, agents)
        far = within(eight_from(speeds, first) - speed, ZERO, FAR) * _CATCHES_UP + reach
        drives = (words_of_bytes(status, first) >= i32(LIVE)) & (others != i32(a))
        before, _ = into_frame(dx, dy, cos, sin)
        count = keep(close, count, others, (dx * dx + dy * dy < far * far) & (before >= least) & drives)
    return i32(count)
