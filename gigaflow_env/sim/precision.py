"""Half precision: a float32 of the observation as 16 bits, rounded to nearest, ties to even.

Computed with integers, as kernels have no such numbers; by the processor itself where it has an instruction
for it. The same on every backend.
"""

from gigaflow_env.jit import half_by_processor, rule, u32
from gigaflow_env.layout import BFLOAT16

_SIGN, _REST = u32(0x8000), u32(0x7FFFFFFF)
_SIXTEEN, _THIRTEEN, _MANTISSA_BITS = u32(16), u32(13), u32(23)
_MANTISSA, _HIDDEN = u32(0x7FFFFF), u32(0x800000)
_SMALLEST_NORMAL = u32(0x38800000)  # 2^-14, below which a float16 has no hidden one
_REBIAS = u32((127 - 15) << 23)
_INFINITY, _NAN = u32(0x7F800000), u32(0x7FC0)  # of a float32; of a float16 and a bfloat16
_ONE, _BELOW_HALF_13, _BELOW_HALF_16 = u32(1), u32(0xFFF), u32(0x7FFF)
_TO_SUBNORMAL, _VANISHED = u32(126), u32(24)


@rule
def bfloat16_bits(bits):
    """The upper half of a float32, rounded. Not for NaN."""
    odd = u32(u32(bits >> _SIXTEEN) & _ONE)
    return u32(u32(u32(bits + _BELOW_HALF_16) + odd) >> _SIXTEEN)


@rule
def float16_bits(bits):
    """Bits of the nearest float16. For magnitudes below 65520, not for NaN."""
    sign, rest = u32(u32(bits >> _SIXTEEN) & _SIGN), u32(bits & _REST)
    if rest >= _SMALLEST_NORMAL:
        odd = u32(u32(rest >> _THIRTEEN) & _ONE)
        return u32(sign | u32(u32(u32(u32(rest - _REBIAS) + _BELOW_HALF_13) + odd) >> _THIRTEEN))
    # Multiples of 2^-24: the mantissa with its hidden one, shifted to that unit.
    shift = u32(_TO_SUBNORMAL - u32(rest >> _MANTISSA_BITS))
    if shift > _VANISHED:
        return sign
    mantissa = u32(u32(rest & _MANTISSA) | _HIDDEN)
    odd = u32(u32(mantissa >> shift) & _ONE)
    below_half = u32(u32(_ONE << u32(shift - _ONE)) - _ONE)
    return u32(sign | u32(u32(u32(mantissa + below_half) + odd) >> shift))


nearest_half = half_by_processor(float16_bits)
"""`float16_bits`, by the processor itself where it can; on CUDA the rule."""


@rule
def half_bits(bits, kind):
    """16 bits of a float32 in the observation's type: `layout.FLOAT16` or `layout.BFLOAT16`. NaN stays NaN."""
    rounded = bfloat16_bits(bits) if kind == BFLOAT16 else nearest_half(bits)
    return _NAN if u32(bits & _REST) > _INFINITY else rounded
