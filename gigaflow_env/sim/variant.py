"""Map variants: every world is an affine image of its map. Nothing of the map is copied.

A world draws a linear map A of the plane: scales along x and y, shear, flip and turn, around the map's origin. Its agents
drive in the image. Look-ups go back through A^-1 to the stored tables. For a lane of unit direction d, with `gain` = |A d|:

    direction   A d / gain            width       w |det A| / gain        (the distance of two parallels)
    offset      o det A / gain        curvature   k det A / gain^3        (a flip turns left into right)
    length      gain, piece by piece

so that stored lists and shares of lanes stay valid. A cross-section of a lane becomes slanted: a lane position is a share of
a quad that A maps as a whole, as if the quads of the paper were warped.

Source: arXiv 2502.03349, section 1: random rescale, shear, flip and reflection make 128 variants of 8 maps (A). Differs:
drawn anew for every world, amplitudes are ours (D).
"""

import math

from gigaflow_env.jit import f32, rule, stage
from gigaflow_env.packs import like, root
from gigaflow_env.sim.geometry import HALF, ONE, ZERO, into_frame, sincos
from gigaflow_env.sim.random_numbers import VARIANT, between, draws

_MEAN2, _MEAN4 = f32(1 / 16), f32(15 / 1024)
_SECOND1, _SECOND3, _SECOND5 = f32(1 / 2), f32(3 / 64), f32(35 / 2048)


@rule
def to_world(w, variant, x, y):
    """A vector or position of the map in world coordinates: (x, y). Also of packs."""
    return variant.xx[w] * x + variant.xy[w] * y, variant.yx[w] * x + variant.yy[w] * y


@rule
def to_map(w, variant, x, y):
    """A vector or position of the world in map coordinates: (x, y)."""
    return variant.back_xx[w] * x + variant.back_xy[w] * y, variant.back_yx[w] * x + variant.back_yy[w] * y


@rule
def turned(w, variant, cos, sin):
    """Direction in the world of a unit direction of the map, and its gain: (cos, sin, gain). Also of packs."""
    if variant.plain[w]:
        return cos, sin, like(ONE, cos)
    x, y = to_world(w, variant, cos, sin)
    gain = root(x * x + y * y)
    scale = ONE / gain
    return x * scale, y * scale, gain


@rule
def most_gain(w, variant):
    """Not less than the gain of any direction: the Frobenius norm of A."""
    return f32(math.sqrt(
        variant.xx[w] * variant.xx[w] + variant.xy[w] * variant.xy[w]
        + variant.yx[w] * variant.yx[w] + variant.yy[w] * variant.yy[w]
    ))  # fmt: skip


@rule
def placed(w, variant, offset, half_width, cos, sin):
    """Frenet offset [m] and lane of the map as they are in the world: (offset, half width, cos, sin). Also of packs."""
    cos, sin, gain = turned(w, variant, cos, sin)
    return offset * variant.det[w] / gain, half_width * abs(variant.det[w]) / gain, cos, sin


@rule
def curved(w, variant, curvature, cos, sin):
    """Curvature in the world of a lane of this direction. Also of packs."""
    _, _, gain = turned(w, variant, cos, sin)
    return curvature * variant.det[w] / (gain * gain * gain)


@rule
def frame_of(w, variant, cos, sin):
    """Matrix (xx, xy, yx, yy) from vectors of the map to a frame of the world that is turned by (cos, sin)."""
    xx, yx = into_frame(variant.xx[w], variant.yx[w], cos, sin)
    xy, yy = into_frame(variant.xy[w], variant.yy[w], cos, sin)
    return xx, xy, yx, yy


@rule
def seen_from(frame, dx, dy):
    """A vector of the map in the frame of `frame_of`: (ahead, left)."""
    return frame[0] * dx + frame[1] * dy, frame[2] * dx + frame[3] * dy


@rule
def shape_of(w, variant):
    """The shape of world w for `stretch`: (mean, along, across)."""
    return variant.mean[w], variant.along[w], variant.across[w]


@rule
def stretch(shape, cos2, sin2):
    """Length of a path in the world, divided by its length in the map.

    cos2, sin2: means of cos 2t and sin 2t along the path, t its direction. shape: see `shape_of`; (1, 0, 0) for the map
    itself.

    The length of a path is the integral of gains. The gain of a direction t is s (1 + e cos(2 t - 2 t0))^(1/2), where
    s^2 = (lambda1^2 + lambda2^2) / 2 and e = (lambda1^2 - lambda2^2) / (2 s^2), from the singular values of A. Its mean over
    all t and its term in 2 t are linear in the given means. Terms in 4 t and higher are left out: an error of at most
    1.5 e^2 / 16 of the length, 0.4 % for scales of 1 and 1.25, 1 % for 1 and 1.5. The mean scale |det A|^(1/2) alone would
    have an error of e / 2: 11 % and 19 %.
    """
    return shape[0] + shape[1] * cos2 + shape[2] * sin2


@rule
def lane_stretch(w, variant, lane):
    """`stretch` of a lane. It is used for parts of the lane, too: a lane position is a share of the lane's length."""
    return ONE if variant.plain[w] else stretch(shape_of(w, variant), lane.cos2, lane.sin2)


@stage
def warp(w, clock, variant, p):
    """Draw the variant of a new world: A = turn * shear * scale and flip. Writes: variant."""
    tick = clock.tick[w]
    scale_x, scale_y, shear, flip = draws(clock.seed, w, 0, tick, VARIANT, 0)
    angle, _, _, _ = draws(clock.seed, w, 0, tick, VARIANT, 1)
    sin, cos = sincos(between(angle, p.variant_turn_low, p.variant_turn_high))
    scale_x = between(scale_x, p.variant_scale_low, p.variant_scale_high)
    scale_y = between(scale_y, p.variant_scale_low, p.variant_scale_high)
    scale_y = -scale_y if flip < p.variant_flip else scale_y
    sheared = between(shear, p.variant_shear_low, p.variant_shear_high) * scale_y
    set_variant(
        w, variant, cos * scale_x, cos * sheared - sin * scale_y, sin * scale_x, sin * sheared + cos * scale_y
    )  # fmt: skip


@rule
def set_variant(w, variant, xx, xy, yx, yy):
    """Make world w the image under A = [[xx, xy], [yx, yy]]."""
    det = xx * yy - xy * yx
    variant.xx[w], variant.xy[w], variant.yx[w], variant.yy[w] = xx, xy, yx, yy
    variant.back_xx[w], variant.back_xy[w] = yy / det, -xy / det
    variant.back_yx[w], variant.back_yy[w] = -yx / det, xx / det
    variant.det[w] = det
    variant.plain[w] = xx == ONE and yy == ONE and xy == ZERO and yx == ZERO
    # A^T A = square * (1 + [[c, s], [s, -c]]): the squared gain is square * (1 + c cos 2t + s sin 2t).
    square = HALF * (xx * xx + yx * yx + xy * xy + yy * yy)
    c = HALF * (xx * xx + yx * yx - xy * xy - yy * yy) / square
    s = (xx * xy + yx * yy) / square
    e2 = c * c + s * s
    size = f32(math.sqrt(square))
    variant.mean[w] = size * (ONE - e2 * (_MEAN2 + e2 * _MEAN4))
    second = size * (_SECOND1 + e2 * (_SECOND3 + e2 * _SECOND5))
    variant.along[w], variant.across[w] = second * c, second * s
