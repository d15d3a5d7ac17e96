"""What the processor does with many keys at once, where LLVM finds no way by itself.

Written in LLVM's own vectors, as packs are. Only on the CPU: on CUDA threads share such work. Arrays are of uint32, and have
room for a whole multiple of AT_ONCE.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

AT_ONCE = 16
"""Keys that are compared at once."""

_WORD, _SIZE = ir.IntType(32), ir.IntType(64)
_WORDS = ir.VectorType(_WORD, AT_ONCE)
_SIGN = 0x80000000

_MOVED = 8
"""Keys that are moved at once: a table says for each of 256 cases which of them come to the front."""
_FEW, _CASE = ir.VectorType(_WORD, _MOVED), ir.VectorType(ir.IntType(8), _MOVED)
_CASES = [sorted(range(_MOVED), key=lambda k, case=case: not case >> k & 1) for case in range(1 << _MOVED)]  # type: ignore[misc]


def whole(count: int) -> int:
    """Numbers for which an array of `count` has to have room."""
    return -(-count // AT_ONCE) * AT_ONCE


class _Row:
    """An array of one axis, given to the code that is written here."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any) -> None:
        made = context.make_array(kind)(context, builder, array)
        self._builder, self._first, self.size = builder, made.data, builder.extract_value(made.shape, 0)

    def _at(self, index: Any, kind: Any) -> Any:
        return self._builder.bitcast(self._builder.gep(self._first, [index]), kind.as_pointer())

    def load(self, index: Any, kind: Any = _WORDS) -> Any:
        """What begins at an element."""
        found = self._builder.load(self._at(index, kind))
        found.align = 4  # of a number; by itself it would be that of a whole vector
        return found

    def store(self, value: Any, index: Any) -> None:
        """Write numbers from an element on."""
        self._builder.store(value, self._at(index, value.type)).align = 4


def _same(builder: Any, value: Any, kind: Any = _WORDS) -> Any:
    """A vector of the same number."""
    nothing = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(nothing, value, _WORD(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_WORD, kind.count), [0] * kind.count))


def _picked(builder: Any, some: Any, case: Any) -> Any:
    """Of eight keys those of a case first. LLVM makes one instruction of it, where the processor has one."""
    kind = ir.ArrayType(_CASE, len(_CASES))
    table = cgutils.global_constant(
        builder.module, "gigaflow_cases", ir.Constant(kind, [ir.Constant(_CASE, one) for one in _CASES])
    )
    which = builder.zext(builder.load(builder.gep(table, [_SIZE(0), case])), _FEW)
    found = ir.Constant(_FEW, ir.Undefined)
    for k in range(_MOVED):
        one = builder.extract_element(some, builder.extract_element(which, _WORD(k)))
        found = builder.insert_element(found, one, _WORD(k))
    return found


@contextmanager
def _steps(builder: Any, count: Any, step: int = AT_ONCE) -> Iterator[Any]:
    with cgutils.for_range_slice(builder, _SIZE(0), count, _SIZE(step), _SIZE) as (k, _):
        yield k


@intrinsic
def keep_up_to(typing: Any, keys: Any, bound: Any) -> Any:
    """Move the keys that are at most `bound` to the front of `keys`, in order. Returns how many they are.

    What is behind them afterwards is of no use.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, limit = _Row(context, builder, signature.args[0], arguments[0]), _same(builder, arguments[1], _FEW)
        kept = cgutils.alloca_once(builder, _SIZE)
        builder.store(_SIZE(0), kept)
        with _steps(builder, row.size, _MOVED) as k:
            some, count = row.load(k, _FEW), builder.load(kept)
            near = builder.icmp_unsigned("<=", some, limit)
            case = builder.zext(builder.bitcast(near, ir.IntType(_MOVED)), _SIZE)
            # All eight, of which the kept ones come first: what was behind them has been read.
            row.store(_picked(builder, some, case), count)
            builder.store(builder.add(count, builder.ctpop(case)), kept)
        return builder.load(kept)

    return types.int64(keys, types.uint32), generate


@intrinsic
def find_places(typing: Any, keys: Any, count: Any, places: Any) -> Any:
    """Of each of the first `count` keys, the number of smaller ones among them. Writes: places."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        row, found = (_Row(context, builder, signature.args[k], arguments[k]) for k in (0, 2))
        count, none, sign = arguments[1], ir.Constant(_WORDS, [0] * AT_ONCE), ir.Constant(_WORDS, [_SIGN] * AT_ONCE)
        smaller = cgutils.alloca_once(builder, _WORDS)
        with _steps(builder, count) as k:
            # AVX2 compares numbers with a sign only: their highest bit is turned around.
            ours = builder.xor(row.load(k), sign)
            builder.store(none, smaller)
            with _steps(builder, count, 1) as j:
                less = builder.icmp_signed("<", builder.xor(_same(builder, row.load(j, _WORD)), sign), ours)
                builder.store(builder.sub(builder.load(smaller), builder.sext(less, _WORDS)), smaller)
            found.store(builder.load(smaller), k)
        return context.get_dummy_value()

    return types.void(keys, types.int64, places), generate
