"""Plane geometry in float32, with own elementary functions.

Own sine, arc tangent and exponential: the machine's libm differs in the last bit between platforms, and CUDA's versions use
double precision and local memory. These are the same on every target.
"""

import math

from gigaflow_env.jit import f32, i32, rule
from gigaflow_env.roads.levels import LEVEL_GAP as _LEVEL_GAP

ZERO, HALF, ONE, TWO = f32(0.0), f32(0.5), f32(1.0), f32(2.0)
PI, HALF_PI = f32(math.pi), f32(math.pi / 2)
EPSILON = f32(1e-6)

LEVEL_GAP = f32(_LEVEL_GAP)

_PER_TURN = f32(2 / math.pi)
# Half a pi in three parts, so that x - n * pi / 2 loses nothing for |n| < 1000 (Cody and Waite).
_PIO2_HIGH, _PIO2_MIDDLE, _PIO2_LOW = f32(1.5703125), f32(4.8351287841796875e-04), f32(3.1385570764541626e-07)
# Least-squares polynomials on [-pi/4, pi/4]: errors below 1e-7.
_S3, _S5, _S7 = f32(-1.6666654611e-1), f32(8.3321608736e-3), f32(-1.9515295891e-4)
_C4, _C6, _C8 = f32(4.166664568298827e-2), f32(-1.388731625493765e-3), f32(2.443315711809948e-5)
# Arc tangent on [-tan(pi/8), tan(pi/8)].
_A3, _A5, _A7, _A9 = f32(-3.33329491539e-1), f32(1.99777106478e-1), f32(-1.38776856032e-1), f32(8.05374449538e-2)
_TAN_PI_8, _QUARTER_PI = f32(math.tan(math.pi / 8)), f32(math.pi / 4)
_SHARE = f32(1 / 64)


@rule
def clip(x, low, high):
    """`x` limited to [low, high]. NaN stays NaN: it must not become a number."""
    y = low if x <= low else x
    return high if y >= high else y


@rule
def floor(x):
    """Largest whole number not above x, for |x| < 2^31.

    Unlike math.floor it does not call libm, so loops around it vectorise.
    """
    whole = f32(i32(x))
    return whole - ONE if whole > x else whole


@rule
def sincos_small(x):
    """Sine and cosine for |x| <= pi / 4, error below 1e-7."""
    x2 = x * x
    sine = x + x * x2 * (_S3 + x2 * (_S5 + x2 * _S7))
    return sine, ONE - HALF * x2 + x2 * x2 * (_C4 + x2 * (_C6 + x2 * _C8))


@rule
def sincos(x):
    """Sine and cosine, error below 2e-7 for |x| < 1000."""
    n = floor(x * _PER_TURN + HALF)
    s, c = sincos_small(((x - n * _PIO2_HIGH) - n * _PIO2_MIDDLE) - n * _PIO2_LOW)
    quadrant = i32(n) & i32(3)
    swap = (quadrant & i32(1)) != 0
    sine = c if swap else s
    cosine = s if swap else c
    sine = -sine if quadrant >= i32(2) else sine
    cosine = -cosine if quadrant == i32(1) or quadrant == i32(2) else cosine
    return sine, cosine


@rule
def atan_small(x):
    """Arc tangent for |x| <= 1, error below 2e-7."""
    t = abs(x)
    middle = t > _TAN_PI_8
    t = (t - ONE) / (t + ONE) if middle else t
    t2 = t * t
    y = t + t * t2 * (_A3 + t2 * (_A5 + t2 * (_A7 + t2 * _A9)))
    y = y + _QUARTER_PI if middle else y
    return y if x >= ZERO else -y


@rule
def atan(x):
    """Arc tangent, error below 2e-7."""
    steep = abs(x) > ONE
    y = atan_small(ONE / x if steep else x)
    return (HALF_PI if x > ZERO else -HALF_PI) - y if steep else y


@rule
def atan2(y, x):
    """Angle of (x, y) in [-pi, pi]; 0 for (0, 0)."""
    flat = abs(x) < EPSILON and abs(y) < EPSILON
    angle = atan(y / (ONE if x == ZERO else x))
    upright = HALF_PI if y > ZERO else -HALF_PI
    turned = angle + PI if y >= ZERO else angle - PI
    angle = turned if x < ZERO else angle
    angle = upright if x == ZERO else angle
    return ZERO if flat else angle


@rule
def exp(x):
    """The exponential of x, relative error below 1e-5. `x` is limited to [-16, 16].

    The 64th power of exp(x / 64). The usual reduction would call libm for the exponent.
    """
    r = clip(x, f32(-16.0), f32(16.0)) * _SHARE
    y = f32(8.3334519073e-3) + r * (f32(1.3981999507e-3) + r * f32(1.9875691500e-4))
    y = f32(5.0000001201e-1) + r * (f32(1.6666665459e-1) + r * (f32(4.1665795894e-2) + r * y))
    y = ONE + r + r * r * y
    for _ in range(6):
        y = y * y
    return y


@rule
def into_frame(dx, dy, cos, sin):
    """Offset (dx, dy) in a frame turned by (cos, sin): (ahead, left)."""
    return dx * cos + dy * sin, dy * cos - dx * sin


@rule
def segment_hits_box(x1, y1, x2, y2, half_length, half_width):
    """Whether a segment touches the box around the origin. Source: separating axes of the box and of the segment."""
    x, y = HALF * (x1 + x2), HALF * (y1 + y2)
    along_x, along_y = HALF * (x2 - x1), HALF * (y2 - y1)
    reach_x, reach_y = abs(along_x), abs(along_y)
    # All three without a branch: a processor can't predict which of them separates.
    return (
        (abs(x) <= half_length + reach_x)
        & (abs(y) <= half_width + reach_y)
        & (abs(x * along_y - y * along_x) <= half_length * reach_y + half_width * reach_x)
    )


@rule
def segments_cross(ax, ay, bx, by, cx, cy, dx, dy):
    """Whether the path a-b crosses the segment c-d.

    The ends of c-d belong to it: a path exactly over the corner of two edges crosses them.
    """
    side_c = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    side_d = (bx - ax) * (dy - ay) - (by - ay) * (dx - ax)
    side_a = (dx - cx) * (ay - cy) - (dy - cy) * (ax - cx)
    side_b = (dx - cx) * (by - cy) - (dy - cy) * (bx - cx)
    return (side_c * side_d <= ZERO) & (side_a * side_b < ZERO)


@rule
def boxes_overlap(dx, dy, cos, sin, half_length, half_width, other_length, other_width):
    """Whether two boxes overlap: one around the origin, one at (dx, dy), turned by (cos, sin).

    Lengths and widths are half extents [m]. Source: separating axes.
    """
    c, s = abs(cos), abs(sin)
    ahead, left = into_frame(dx, dy, cos, sin)
    return (
        abs(dx) <= half_length + other_length * c + other_width * s
        and abs(dy) <= half_width + other_length * s + other_width * c
        and abs(ahead) <= other_length + half_length * c + half_width * s
        and abs(left) <= other_width + half_length * s + half_width * c
    )
