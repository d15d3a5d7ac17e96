"""Noise: agents observe each other with small errors."""

from gigaflow_env.jit import by_one, rule, stage
from gigaflow_env.sim.geometry import sincos_small
from gigaflow_env.sim.random_numbers import NOISE, between, draws
from gigaflow_env.state import ENDED


@stage
def add_noise(w, a, clock, rows, pose, motion, perceived, p):
    """State of agent a as others observe it in this step. Writes: perceived.

    Source: arXiv 2502.03349, section 4: others' states carry minimal random noise; its size isn't published (D). Ours:
    uniform, and drawn once per observed agent, not once per observer. An observer can't tell the difference.
    """
    if rows.status[w, a] < ENDED:
        return
    x, y, cos, sin, speed = pose.x[w, a], pose.y[w, a], pose.cos[w, a], pose.sin[w, a], motion.speed[w, a]
    if p.noisy != 0:
        drawn = draws(clock.seed, w, a, clock.tick[w], NOISE, 0)
        x, y, cos, sin, speed = noisy(drawn, x, y, cos, sin, speed, p.noise_position, p.noise_heading, p.noise_speed)
    perceived.x[w, a], perceived.y[w, a] = x, y
    perceived.cos[w, a], perceived.sin[w, a], perceived.speed[w, a] = cos, sin, speed


@by_one()
def add_noise_to_all(w, clock, rows, pose, motion, perceived, p):
    """What `add_noise` does where there is noise, for all agents of a world and one who is alone.

    LLVM draws for several at once, as there is no branch: who isn't seen is seen as before.
    """
    seed, tick, status = (clock.seed[0], clock.seed[1]), clock.tick[w], rows.status[w]
    position, heading, change = p.noise_position, p.noise_heading, p.noise_speed
    xs, ys, coses, sines, speeds = pose.x[w], pose.y[w], pose.cos[w], pose.sin[w], motion.speed[w]
    x, y, cos, sin, speed = perceived.x[w], perceived.y[w], perceived.cos[w], perceived.sin[w], perceived.speed[w]
    for a in range(len(status)):
        before = x[a], y[a], cos[a], sin[a], speed[a]
        drawn = draws(seed, w, a, tick, NOISE, 0)
        now = noisy(drawn, xs[a], ys[a], coses[a], sines[a], speeds[a], position, heading, change)
        x[a], y[a], cos[a], sin[a], speed[a] = now if status[a] >= ENDED else before


@rule
def noisy(drawn, x, y, cos, sin, speed, position, heading, change):
    """A state with errors up to these [m, rad, m/s], from four unit draws."""
    side, along = sincos_small(between(drawn[3], -heading, heading))
    return (
        x + between(drawn[0], -position, position), y + between(drawn[1], -position, position),
        cos * along - sin * side, sin * along + cos * side, speed + between(drawn[2], -change, change),
    )  # fmt: skip
