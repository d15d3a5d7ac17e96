"""Traffic lights. Source: arXiv 2502.03349, App. B.4: every light has its own times, drawn when its world begins.

Ours: with `lights="program"` all run the programs of the map instead, the same in every world; what they show follows from
the world's age and the tables.
"""

from gigaflow_env.jit import f32, i32, rule, stage
from gigaflow_env.packs import chosen, picked
from gigaflow_env.roads.compiled.tables import YIELD_SIGN
from gigaflow_env.sim.geometry import ZERO, floor
from gigaflow_env.sim.random_numbers import LIGHTS, between, draws
from gigaflow_env.state import GREEN, OFF, RED, YELLOW

_ALWAYS = f32(1e9)
_GROUP = 100_000  # numbers of the draws of a group or of the whole world, not of a light
_WORLD = 200_000


@rule
def colour_at(time, red, yellow, green):
    """Colour of a light after `time` seconds of cycles of green, yellow and red. Red time 0 means no light."""
    if red <= ZERO:
        return OFF
    cycle = green + yellow + red
    phase = time - cycle * floor(time / cycle)
    if phase < green:
        return GREEN
    return YELLOW if phase < green + yellow else RED


@rule
def colour_of(program, phases, time):
    """Colour that a ProgramRow shows after `time` seconds of it."""
    phase = time - program.cycle * floor(time / program.cycle)
    k = program.phases_at
    while k < program.phases_at + program.phases - 1 and phase >= phases[k].until:
        k = i32(k + i32(1))
    return i32(phases[k].colour)


@stage
def shown(w, a, number, light, lane_position, lights, p):
    """Colour of stop line `number` for agent a. A stop sign is red until the agent has stopped at it, a yield sign yellow.

    Ours: the paper does not say how stop signs are observed, but its agents hardly ever run CARLA's.
    """
    if light >= 0:
        return i32(lights.colour[w, light])
    if light == YIELD_SIGN:
        return i32(YELLOW)
    if p.signs_count == 0:
        return i32(OFF)
    return i32(GREEN) if lane_position.stood[w, a] == number else i32(RED)


@rule
def eight_shown(w, a, numbers, light, lane_position, lights, p):
    """`shown` of EIGHT stop lines, a pack."""
    red = light - light + i32(RED)
    colour = red - i32(RED)
    if p.signs_count != 0:
        colour = chosen(numbers == lane_position.stood[w, a], red - i32(RED - GREEN), red)
    colour = chosen(light == i32(YIELD_SIGN), red - i32(RED - YELLOW), colour)
    lit = light >= i32(0)
    return chosen(lit, picked(lights.colour[w], 0, chosen(lit, light, light - light)), colour)


@stage
def schedule(w, k, clock, network, lights, p):
    """Draw the times of light `k` for a new world, or take its program's. Writes: lights.red, yellow, green, offset."""
    number = network.maps[clock.map[w]].lights_at + k
    if p.lights_run_programs:
        program = network.programs[number]
        lights.red[w, k], lights.yellow[w, k], lights.green[w, k] = program.red, program.yellow, program.green
        lights.offset[w, k] = program.offset
        return
    tick, group = clock.tick[w], network.light_group[number]
    red, yellow, green, offset = draws(clock.seed, w, k, tick, LIGHTS, 0)
    removed, always_green, _, _ = draws(clock.seed, w, k, tick, LIGHTS, 1)
    group_removed, _, _, _ = draws(clock.seed, w, group + _GROUP, tick, LIGHTS, 0)
    all_off, _, _, _ = draws(clock.seed, w, _WORLD, tick, LIGHTS, 0)

    lights.red[w, k] = between(red, p.light_red_low, p.light_red_high)
    lights.yellow[w, k] = between(yellow, p.light_yellow_low, p.light_yellow_high)
    lights.green[w, k] = between(green, p.light_green_low, p.light_green_high)
    if removed < p.lights_removed or group_removed < p.light_groups_removed or all_off < p.lights_off:
        lights.red[w, k] = ZERO
    elif always_green < p.lights_green:
        lights.green[w, k] = _ALWAYS
    cycle = lights.green[w, k] + lights.yellow[w, k] + lights.red[w, k]
    lights.offset[w, k] = ZERO if lights.green[w, k] == _ALWAYS else offset * cycle


@stage
def switch(w, k, clock, network, lights, p):
    """Colour of light `k` at the world's current age. Writes: lights.colour."""
    time = lights.offset[w, k] + f32(clock.step[w]) * p.dt
    if p.lights_run_programs:
        program = network.programs[network.maps[clock.map[w]].lights_at + k]
        lights.colour[w, k] = colour_of(program, network.phases, time)
        return
    lights.colour[w, k] = colour_at(time, lights.red[w, k], lights.yellow[w, k], lights.green[w, k])
