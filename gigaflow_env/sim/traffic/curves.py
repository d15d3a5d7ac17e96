"""Curves: how fast a rule-based driver may be for the bends of the road ahead."""

from gigaflow_env.jit import alone, by_one, f32, i32, rule, stage
from gigaflow_env.packs import EIGHT, chosen, columns, counted, larger, last_of, shifted, sizes, smaller, smallest_of
from gigaflow_env.sim.geometry import HALF, ZERO
from gigaflow_env.sim.lanes import FAR
from gigaflow_env.sim.traffic.car_following import WALK, curve_speed, stopping_speed
from gigaflow_env.sim.traffic.others import STRIDE, sample_distance
from gigaflow_env.sim.variant import curved

_SPAN = f32(2.0)  # m, over which the steering angle may change where the curvature does at once
_TIGHT = f32(0.7)  # share of the body's curvature: lanes that need more are driven at walking pace


@rule
def speed_before(curvature, change, distance, limit, wheelbase, tightest, preview, p):
    """Highest speed [m/s] now for a place of the road `distance` [m] ahead. Also of packs.

    curvature, change: of the road there [1/m], and how much it differs from that a sample before. limit: speed limit [m/s].
    wheelbase: of the own body [m]. tightest: curvature [1/m] that it can follow. preview: distance [m] at which it steers.
    """
    speed, turn, fastest_turn = curve_speed(curvature, p), change * wheelbase, _SPAN * p.steer_rate
    # The steering needs time.
    speed = chosen(turn * limit > fastest_turn, smaller(speed, larger(fastest_turn / turn, WALK)), speed)
    speed = chosen(abs(curvature) > _TIGHT * tightest, WALK, speed)
    return stopping_speed(distance - HALF * preview, smaller(speed, limit), p)


@stage
def slow_for_curves(
    w, k, until, passed, row, scale, cap, before, wheelbase, tightest, preview, variant, network, p
):  # fmt: skip
    """Bound a speed `cap` [m/s] by what the samples of a lane from k to `until` ask for: (cap, curvature [1/m] of the last).

    before: curvature [1/m] of the sample before. passed: distance [m] to the lane's start. scale: metres of the world per
    metre of the map.
    """
    while k <= until and sample_distance(f32(k), passed, row, scale) < -row.step * scale:
        k = i32(k + STRIDE)  # behind
    if alone():
        if k <= until:
            most, before = curves_alone(
                w, k, until, passed, row, scale, before, wheelbase, tightest, preview, variant, network, p
            )
            cap = min(cap, most)
    else:
        while k <= until:
            at = network.sections[row.first + k]
            curvature, distance = (
                curved(w, variant, at.curvature, at.cos, at.sin),
                sample_distance(f32(k), passed, row, scale),
            )
            change, before = abs(curvature - before), curvature
            cap = min(cap, speed_before(curvature, change, distance, row.speed, wheelbase, tightest, preview, p))
            k = i32(k + STRIDE)
    return cap, before


@by_one(nothing=(FAR, ZERO))
def curves_alone(w, k, until, passed, row, scale, before, wheelbase, tightest, preview, variant, network, p):
    """What `slow_for_curves` does, EIGHT samples at a time, for one who is alone. Some of the last ones repeat the last."""
    most, samples = FAR, (until - k) // STRIDE + 1
    for first in range(0, samples, EIGHT):
        places = counted(first, samples - 1) * STRIDE + k
        cos, sin, curvature, _ = columns(network.sections, places + row.first, 0, "cos")
        curvature = curved(w, variant, curvature, cos, sin)
        change, before = abs(curvature - shifted(before, curvature)), last_of(curvature)
        distance = sample_distance(sizes(places), passed, row, scale)
        speeds = speed_before(curvature, change, distance, row.speed, wheelbase, tightest, preview, p)
        most = min(most, smallest_of(speeds))
    return most, before
