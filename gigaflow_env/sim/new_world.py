"""New worlds: what is drawn when a world begins, and which of its rows have an agent."""

from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.sim.geometry import ZERO
from gigaflow_env.sim.random_numbers import STAGGER, WORLD, draws, pick
from gigaflow_env.state import ABSENT, WAITING


@rule
def kind_of(u, kinds):
    """Number of the kind of road user for a unit draw."""
    kind = i32(0)
    while kind < len(kinds.until) - 1 and u >= kinds.until[kind]:
        kind = i32(kind + i32(1))
    return kind


@stage
def begin(w, clock, network, p):
    """Draw map, age and number of agents of a new world. Writes: clock.step, clock.map, clock.agents.

    Source: arXiv 2502.03349, section 2: up to 150 agents (A), a random number in each world (B), uniform (C).
    """
    clock.step[w] = 0
    if clock.tick[w] == 0:
        # The first worlds begin at different ages, so that they do not all end in the same step.
        age, _, _, _ = draws(clock.seed, w, 0, 0, STAGGER, 0)
        clock.step[w] = i32(age * p.world_stagger * f32(p.world_steps))
    many, which, _, _ = draws(clock.seed, w, 0, clock.tick[w], WORLD, 0)
    last = len(network.maps) - 1
    if network.maps[last].until > ZERO:
        number = i32(0)
        while number < last and which >= network.maps[number].until:
            number = i32(number + i32(1))
        clock.map[w] = number
    count = i32(p.agents_low + pick(many, i32(p.agents_high - p.agents_low + i32(1))))
    clock.agents[w] = min(count, clock.room[w])


@stage
def populate(w, a, clock, rows):
    """Status of a row of a new world: WAITING to spawn, or ABSENT until the world ends. Writes: rows.status."""
    rows.status[w, a] = WAITING if a < clock.agents[w] else ABSENT
