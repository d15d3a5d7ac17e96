"""Noise: agents observe each other with small errors."""

from gigaflow_env.jit import stage
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
        u0, u1, u2, u3 = draws(clock.seed, w, a, clock.tick[w], NOISE, 0)
        x += between(u0, -p.noise_position, p.noise_position)
        y += between(u1, -p.noise_position, p.noise_position)
        speed += between(u2, -p.noise_speed, p.noise_speed)
        side, along = sincos_small(between(u3, -p.noise_heading, p.noise_heading))
        cos, sin = cos * along - sin * side, sin * along + cos * side
    perceived.x[w, a], perceived.y[w, a], perceived.cos[w, a], perceived.sin[w, a], perceived.speed[w, a] = (
        x,
        y,
        cos,
        sin,
        speed,
    )
