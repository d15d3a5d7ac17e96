"""Packs: several numbers as one value, with which the processor computes at once.

Rules that add, multiply, divide, compare and take roots are written once, for numbers and for packs of them. Packs are
LLVM's vectors, which it turns into whatever the processor has. Each of their numbers is rounded like a number alone: results
are the same everywhere. Only on the CPU: on CUDA threads share such work.
"""

import math
import operator
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import intrinsic, overload, register_model

EIGHT = 8
"""Elements that are computed at once: as many as fit a vector of AVX2."""


def whole(count: int) -> int:
    """Numbers for which an array has to have room so that `count` of them are read or written EIGHT at a time."""
    return -(-count // EIGHT) * EIGHT


_BYTE, _WORD, _SIZE, _FLOAT = ir.IntType(8), ir.IntType(32), ir.IntType(64), ir.FloatType()
_KINDS = {"float32": _FLOAT, "int32": _WORD, "flag": ir.IntType(1)}


class Pack(types.Type):
    """Numba's type of `count` numbers of a kind: float32, int32, or flag, a truth value."""

    def __init__(self, kind: str, count: int) -> None:
        self.kind, self.count = kind, count
        super().__init__(name=f"pack_{kind}_{count}")

    @property
    def vector(self) -> Any:
        """LLVM's type of it."""
        return ir.VectorType(_KINDS[self.kind], self.count)


@register_model(Pack)
class _PackModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, kind.vector)


_FLOATS, _WORDS = Pack("float32", EIGHT), Pack("int32", EIGHT)
_TWO_PACKS, _FOUR_PACKS = (types.UniTuple(_FLOATS, count) for count in (2, 4))  # type: ignore[attr-defined]


def _same(builder: Any, value: Any, kind: Pack) -> Any:
    """A pack of the same number."""
    nothing = ir.Constant(kind.vector, ir.Undefined)
    first = builder.insert_element(nothing, value, _WORD(0))
    return builder.shuffle_vector(first, nothing, ir.Constant(ir.VectorType(_WORD, kind.count), [0] * kind.count))


def _shuffled(builder: Any, one: Any, other: Any, places: list[int]) -> Any:
    """Numbers of two vectors, counted through both."""
    return builder.shuffle_vector(one, other, ir.Constant(ir.VectorType(_WORD, len(places)), places))


def _loaded(builder: Any, address: Any, kind: Any) -> Any:
    found = builder.load(builder.bitcast(address, kind.as_pointer()))
    found.align = 4  # of a number; by itself it would be that of a whole vector
    return found


def _stored(builder: Any, value: Any, address: Any) -> None:
    builder.store(value, builder.bitcast(address, value.type.as_pointer())).align = 4


class _Table:
    """An array of one axis, of numbers or records, given to the code that is written here."""

    def __init__(self, context: Any, builder: Any, kind: Any, array: Any) -> None:
        made = context.make_array(kind)(context, builder, array)
        self._builder = builder
        self._first = builder.bitcast(made.data, _BYTE.as_pointer())
        self._length = kind.dtype.size if isinstance(kind.dtype, types.Record) else kind.dtype.bitwidth // 8

    def at(self, row: Any, offset: int = 0) -> Any:
        """The address of a row, or of what lies `offset` bytes behind its first."""
        builder = self._builder
        place = builder.mul(row, _SIZE(self._length))
        return builder.gep(self._first, [builder.add(place, _SIZE(offset)) if offset else place])


def _each(context: Any, builder: Any, kind: Any, places: Any, at: Any) -> list[Any]:
    """EIGHT numbers of rows, from an array of int32 or a pack."""
    if isinstance(kind, Pack):
        found = [builder.extract_element(places, _WORD(k)) for k in range(EIGHT)]
    else:
        row = _Table(context, builder, kind, places)
        found = [builder.load(builder.bitcast(row.at(builder.add(at, _SIZE(k))), _WORD.as_pointer())) for k in range(EIGHT)]
    return [builder.zext(one, _SIZE) for one in found]


def _by_two(name: Any, compares: str = "") -> Any:
    """What makes of two packs a third, number by number, or of a pack and a number.

    name: LLVM's name of it, or what calls LLVM. compares: how, where it does so.
    """

    @intrinsic
    def made(typing: Any, one: Any, other: Any) -> Any:
        kind = one if isinstance(one, Pack) else other
        result = Pack("flag", kind.count) if compares else kind
        number = {"float32": types.float32, "int32": types.int32}.get(kind.kind)
        given = [one if isinstance(one, Pack) else number, other if isinstance(other, Pack) else number]

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            both = [
                value if isinstance(its, Pack) else _same(builder, value, kind)
                for value, its in zip(arguments, signature.args, strict=True)
            ]
            if callable(name):
                return name(builder, *both)
            return getattr(builder, name)(compares, *both) if compares else getattr(builder, name)(*both)

        return result(*given), generate

    return made


def _operator(function: Any, kinds: dict[str, Any]) -> None:
    """Make an operator of Python known for packs. kinds: what does it, by kind."""

    @overload(function, target="cpu")
    def made(one, other):  # type: ignore[no-untyped-def]
        pack = one if isinstance(one, Pack) else other if isinstance(other, Pack) else None
        if pack is None or pack.kind not in kinds:
            return None
        does = kinds[pack.kind]
        return lambda one, other: does(one, other)


_operator(operator.add, {"float32": _by_two("fadd"), "int32": _by_two("add")})
_operator(operator.sub, {"float32": _by_two("fsub"), "int32": _by_two("sub")})
_operator(operator.mul, {"float32": _by_two("fmul"), "int32": _by_two("mul")})
_operator(operator.truediv, {"float32": _by_two("fdiv")})
_operator(operator.floordiv, {"int32": _by_two("udiv")})  # of what is not negative
_operator(operator.mod, {"int32": _by_two("urem")})
_operator(operator.lt, {"float32": _by_two("fcmp_ordered", "<"), "int32": _by_two("icmp_signed", "<")})
_operator(operator.ge, {"float32": _by_two("fcmp_ordered", ">="), "int32": _by_two("icmp_signed", ">=")})
_operator(operator.gt, {"float32": _by_two("fcmp_ordered", ">"), "int32": _by_two("icmp_signed", ">")})
_operator(operator.eq, {"int32": _by_two("icmp_signed", "==")})
_operator(operator.le, {"float32": _by_two("fcmp_ordered", "<="), "int32": _by_two("icmp_signed", "<=")})
_operator(operator.ne, {"float32": _by_two("fcmp_unordered", "!="), "int32": _by_two("icmp_signed", "!=")})
_operator(operator.and_, {"flag": _by_two("and_"), "int32": _by_two("and_")})
_operator(operator.or_, {"flag": _by_two("or_")})


def _of_each(name: str) -> Any:
    """A function of LLVM, for each number of a pack of float32."""

    @intrinsic
    def made(typing: Any, pack: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            kind = ir.FunctionType(pack.vector, [pack.vector])
            return builder.call(
                cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{pack.count}f32"), arguments
            )

        return pack(pack), generate

    return made


_size, _root = _of_each("fabs"), _of_each("sqrt")


@overload(abs, target="cpu")
def _size_of_each(value):  # type: ignore[no-untyped-def]
    return (lambda value: _size(value)) if isinstance(value, Pack) and value.kind == "float32" else None


def root(value: Any) -> Any:
    """The square root of a float32, or of each in a pack. backend/cuda_rows.py says what it is on CUDA."""
    return np.float32(math.sqrt(value))


@overload(root, target="cpu")
def _root_of_either(value):  # type: ignore[no-untyped-def]
    if isinstance(value, Pack):
        return lambda value: _root(value)
    return lambda value: np.float32(math.sqrt(value))


def like(number: Any, value: Any) -> Any:
    """A number beside another one, or a pack of it beside a pack. backend/cuda_rows.py says what it is on CUDA."""
    return number


@overload(like, target="cpu")
def _like_either(number, value):  # type: ignore[no-untyped-def]
    return (lambda number, value: repeated((number,))) if isinstance(value, Pack) else (lambda number, value: number)


def _first_if(compares: str) -> Any:
    """Of each two numbers the first where it compares so with the second."""
    return _by_two(lambda builder, *both: builder.select(builder.fcmp_ordered(compares, *both), *both))


_smaller, _larger = _first_if("<"), _first_if(">")


def smaller(one: Any, other: Any) -> Any:
    """The smaller of two float32, or of each two, where one is a pack. backend/cuda_rows.py says what it is on CUDA."""
    return min(one, other)


def larger(one: Any, other: Any) -> Any:
    """The larger of two float32, or of each two, where one is a pack. backend/cuda_rows.py says what it is on CUDA."""
    return max(one, other)


def chosen(flag: Any, one: Any, other: Any) -> Any:
    """The first of two numbers where the flag is set, else the second; with a pack of flags for each of them.

    backend/cuda_rows.py says what it is on CUDA.
    """
    return one if flag else other


@overload(smaller, target="cpu")
def _smaller_of_either(one, other):  # type: ignore[no-untyped-def]
    if isinstance(one, Pack) or isinstance(other, Pack):
        return lambda one, other: _smaller(one, other)
    return lambda one, other: min(one, other)


@overload(larger, target="cpu")
def _larger_of_either(one, other):  # type: ignore[no-untyped-def]
    if isinstance(one, Pack) or isinstance(other, Pack):
        return lambda one, other: _larger(one, other)
    return lambda one, other: max(one, other)


@intrinsic
def _chosen(typing: Any, flags: Any, one: Any, other: Any) -> Any:
    result = one if isinstance(one, Pack) else other if isinstance(other, Pack) else _FLOATS
    number = {"float32": types.float32, "int32": types.int32}[result.kind]
    given = [kind if isinstance(kind, Pack) else number for kind in (one, other)]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        both = [
            value if isinstance(its, Pack) else _same(builder, value, result)
            for value, its in zip(arguments[1:], signature.args[1:], strict=True)
        ]
        return builder.select(arguments[0], *both)

    return result(flags, *given), generate


@overload(chosen, target="cpu")
def _chosen_of_either(flag, one, other):  # type: ignore[no-untyped-def]
    if isinstance(flag, Pack):
        return lambda flag, one, other: _chosen(flag, one, other)
    return lambda flag, one, other: one if flag else other


def _within(builder: Any, value: Any, low: Any, high: Any) -> Any:
    low, high = (_same(builder, bound, _FLOATS) for bound in (low, high))
    value = builder.select(builder.fcmp_ordered("<=", value, low), low, value)
    return builder.select(builder.fcmp_ordered(">=", value, high), high, value)


def within(value: Any, low: Any, high: Any) -> Any:
    """`geometry.clip` of a float32, or of each in a pack. backend/cuda_rows.py says what it is on CUDA."""
    value = low if value <= low else value
    return high if value >= high else value


@intrinsic
def _limited(typing: Any, pack: Any, low: Any, high: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _within(builder, *arguments)

    return _FLOATS(pack, types.float32, types.float32), generate


@overload(within, target="cpu")
def _within_of_either(value, low, high):  # type: ignore[no-untyped-def]
    if isinstance(value, Pack):
        return lambda value, low, high: _limited(value, low, high)

    def limited(value, low, high):  # type: ignore[no-untyped-def]
        value = low if value <= low else value
        return high if value >= high else value

    return limited


@intrinsic
def where(typing: Any, flags: Any, packs: Any) -> Any:
    """A tuple of packs, with 0 where the flag is not set."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zero = ir.Constant(_FLOATS.vector, [0.0] * EIGHT)
        given = [builder.extract_value(arguments[1], k) for k in range(len(packs))]
        return context.make_tuple(builder, packs, [builder.select(arguments[0], one, zero) for one in given])

    return packs(flags, packs), generate


@intrinsic
def smallest_of(typing: Any, pack: Any) -> Any:
    """The smallest number of a pack."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left, count = arguments[0], signature.args[0].count
        while count > 1:
            count //= 2
            low = _shuffled(builder, left, left, list(range(count)))
            high = _shuffled(builder, left, left, list(range(count, 2 * count)))
            left = builder.select(builder.fcmp_ordered("<", low, high), low, high)
        return builder.extract_element(left, _WORD(0))

    return types.float32(pack), generate


@intrinsic
def bits_of(typing: Any, flags: Any) -> Any:
    """A bit for each flag, an uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.zext(builder.bitcast(arguments[0], ir.IntType(flags.count)), _SIZE)

    return types.uint64(flags), generate


@intrinsic
def counted(typing: Any, first: Any, most: Any) -> Any:
    """A pack of first, first + 1, ..., none of them beyond `most`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        begin, most = (_same(builder, builder.trunc(one, _WORD), _WORDS) for one in arguments)
        found = builder.add(begin, ir.Constant(_WORDS.vector, list(range(EIGHT))))
        return builder.select(builder.icmp_signed("<", found, most), found, most)

    return _WORDS(types.int64, types.int64), generate


@intrinsic
def words(typing: Any, pack: Any) -> Any:
    """The same bits as int32: of a column that is none of float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], signature.return_type.vector)

    return Pack("int32", pack.count)(pack), generate


@intrinsic
def truncated(typing: Any, pack: Any) -> Any:
    """Each float32 as int32, rounded towards 0. What does not fit becomes any number."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fptosi(arguments[0], _WORDS.vector)

    return _WORDS(pack), generate


@intrinsic
def sizes(typing: Any, pack: Any) -> Any:
    """How far each int32 is from 0, as float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given, zero = arguments[0], ir.Constant(arguments[0].type, [0] * signature.args[0].count)
        positive = builder.select(builder.icmp_signed("<", given, zero), builder.sub(zero, given), given)
        return builder.sitofp(positive, signature.return_type.vector)

    return Pack("float32", pack.count)(pack), generate


@intrinsic
def repeated(typing: Any, numbers: Any) -> Any:
    """A pack of these numbers, float32 or int32, over and over."""
    result = {types.float32: _FLOATS, types.int32: _WORDS}[numbers.dtype]

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        found, count = ir.Constant(result.vector, ir.Undefined), len(signature.args[0])
        for k in range(count):
            found = builder.insert_element(found, builder.extract_value(arguments[0], k), _WORD(k))
        return _shuffled(builder, found, found, [k % count for k in range(EIGHT)])

    return result(numbers), generate


@intrinsic
def swapped(typing: Any, pack: Any) -> Any:
    """Each two numbers side by side the other way round."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _shuffled(builder, arguments[0], arguments[0], [k ^ 1 for k in range(pack.count)])

    return pack(pack), generate


@intrinsic
def shifted(typing: Any, number: Any, pack: Any) -> Any:
    """A number, and behind it those of a pack of float32 but the last."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number, pack = arguments
        return _shuffled(builder, _same(builder, number, _FLOATS), pack, [0, *range(EIGHT, 2 * EIGHT - 1)])

    return _FLOATS(types.float32, pack), generate


@intrinsic
def last_of(typing: Any, pack: Any) -> Any:
    """The last number of a pack of float32."""
    return types.float32(pack), lambda context, builder, signature, given: builder.extract_element(
        given[0], _WORD(EIGHT - 1)
    )


@intrinsic
def eight_from(typing: Any, table: Any, at: Any) -> Any:
    """EIGHT numbers from row `at` on, of int32 or float32, or of records of float32. Of other kinds: see `words`."""
    result = _WORDS if table.dtype == types.int32 else _FLOATS

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _loaded(builder, _Table(context, builder, table, arguments[0]).at(arguments[1]), result.vector)

    return result(table, types.int64), generate


@intrinsic
def one_alone(typing: Any, row: Any, at: Any) -> Any:
    """A number of an array of int32 whose neighbours have just been written, too, but not with it.

    A processor reads what it wrote at once only where one write covers it. All at once, such numbers could only be read when
    they have reached the cache, and meanwhile little else would be done.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _Table(context, builder, row, arguments[0]).at(arguments[1])
        # Of ordered reads LLVM makes no vector.
        return builder.load_atomic(builder.bitcast(address, _WORD.as_pointer()), "monotonic", 4)

    return types.int32(row, types.int64), generate


@intrinsic
def words_of_bytes(typing: Any, row: Any, at: Any) -> Any:
    """EIGHT int8 of an array from `at` on, as int32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        address = _Table(context, builder, row, arguments[0]).at(arguments[1])
        few = builder.load(builder.bitcast(address, ir.VectorType(_BYTE, EIGHT).as_pointer()))
        few.align = 1
        return builder.sext(few, _WORDS.vector)

    return _WORDS(row, types.int64), generate


@intrinsic
def words_until(typing: Any, row: Any, at: Any, end: Any) -> Any:
    """EIGHT int32 from `at` on; -1 instead of those from `end` on, which are not read."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, left = _Table(context, builder, row, arguments[0]), builder.sub(arguments[2], arguments[1])
        address = builder.bitcast(source.at(arguments[1]), _WORDS.vector.as_pointer())
        places = ir.Constant(_WORDS.vector, list(range(EIGHT)))
        wanted = builder.icmp_signed("<", places, _same(builder, builder.trunc(left, _WORD), _WORDS))
        none = ir.Constant(_WORDS.vector, [-1] * EIGHT)
        kinds = [address.type, _WORD, wanted.type, none.type]
        load = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(none.type, kinds), f"llvm.masked.load.v{EIGHT}i32.p0"
        )
        return builder.call(load, [address, _WORD(4), wanted, none])

    return _WORDS(row, types.int64, types.int64), generate


@intrinsic
def put_eight(typing: Any, row: Any, at: Any, pack: Any) -> Any:
    """Write EIGHT numbers into an array of such, from `at` on."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _stored(builder, arguments[2], _Table(context, builder, row, arguments[0]).at(arguments[1]))
        return context.get_dummy_value()

    return types.void(row, types.int64, pack), generate


_CASE = ir.VectorType(_BYTE, EIGHT)
_CASES = [sorted(range(EIGHT), key=lambda k, case=case: not case >> k & 1) for case in range(1 << EIGHT)]  # type: ignore[misc]


@intrinsic
def keep(typing: Any, row: Any, at: Any, pack: Any, flags: Any) -> Any:
    """Write those numbers of a pack whose flag is set into an array, from `at` on. Returns where the next ones belong.

    EIGHT are written: what is behind those that are kept is of no use. AVX2 can't compress, so a table says for each of 256
    cases which numbers come first.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        case = builder.zext(builder.bitcast(arguments[3], ir.IntType(EIGHT)), _SIZE)
        kind = ir.ArrayType(_CASE, len(_CASES))
        cases = ir.Constant(kind, [ir.Constant(_CASE, one) for one in _CASES])
        table = cgutils.global_constant(builder.module, "gigaflow_cases", cases)
        which = builder.zext(builder.load(builder.gep(table, [_SIZE(0), case])), _WORDS.vector)
        found = ir.Constant(arguments[2].type, ir.Undefined)
        for k in range(EIGHT):  # LLVM makes one instruction of it
            one = builder.extract_element(arguments[2], builder.extract_element(which, _WORD(k)))
            found = builder.insert_element(found, one, _WORD(k))
        _stored(builder, found, _Table(context, builder, row, arguments[0]).at(arguments[1]))
        return builder.add(arguments[1], builder.ctpop(case))

    return types.int64(row, types.int64, pack, flags), generate


def _across(builder: Any, rows: list[Any]) -> list[Any]:
    """Of four vectors of 2 x 4 numbers the four whose numbers are at the same place in all: each half by itself."""
    low, high = [0, 8, 1, 9, 4, 12, 5, 13], [2, 10, 3, 11, 6, 14, 7, 15]
    pairs = [_shuffled(builder, rows[k], rows[k + 1], how) for k in (0, 2) for how in (low, high)]
    first, second = [0, 1, 8, 9, 4, 5, 12, 13], [2, 3, 10, 11, 6, 7, 14, 15]
    return [_shuffled(builder, pairs[k], pairs[k + 2], how) for k in range(2) for how in (first, second)]


@intrinsic
def columns(typing: Any, table: Any, places: Any, at: Any, name: Any) -> Any:
    """The column `name` and the three behind it of EIGHT rows of a table of records of 4 bytes, a pack each.

    places: the rows: an array of int32, from `at` on, or a pack.
    """
    literal = getattr(name, "literal_value", None)
    if literal is None:
        return None  # Numba asks again, with the literal
    offset = table.dtype.offset(literal)

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        source, few = _Table(context, builder, table, arguments[0]), ir.VectorType(_FLOAT, 4)
        rows = _each(context, builder, places, *arguments[1:3])
        each = [_loaded(builder, source.at(row, offset), few) for row in rows]
        both = [_shuffled(builder, each[k], each[k + 4], list(range(EIGHT))) for k in range(4)]
        return context.make_tuple(builder, signature.return_type, _across(builder, both))

    return _FOUR_PACKS(table, places, types.int64, name), generate


@intrinsic
def picked(typing: Any, table: Any, first: Any, places: Any) -> Any:
    """EIGHT entries of a table: those at `places`, a pack of int32, counted from `first`.

    int8 and int32 become a pack of int32, float32 and uint16 one of float32, records of two int8 two of float32.
    """
    stored = ir.IntType(16) if isinstance(table.dtype, types.Record) else ir.IntType(table.dtype.bitwidth)
    pair, whole = isinstance(table.dtype, types.Record), table.dtype in (types.int8, types.int32)
    result = _TWO_PACKS if pair else _WORDS if whole else _FLOATS

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        origin = builder.bitcast(_Table(context, builder, table, arguments[0]).at(arguments[1]), stored.as_pointer())
        entries = ir.Constant(ir.VectorType(stored, EIGHT), ir.Undefined)
        for k in range(EIGHT):
            one = builder.load(builder.gep(origin, [builder.zext(builder.extract_element(arguments[2], _WORD(k)), _SIZE)]))
            one.align = 1 if pair else stored.width // 8
            entries = builder.insert_element(entries, one, _WORD(k))
        if table.dtype == types.float32:
            return builder.bitcast(entries, _FLOATS.vector)
        if not pair:
            return builder.sext(entries, _WORDS.vector) if whole else builder.uitofp(entries, _FLOATS.vector)
        few, byte = ir.VectorType(_BYTE, EIGHT), ir.Constant(entries.type, [8] * EIGHT)
        both = [builder.trunc(entries, few), builder.trunc(builder.lshr(entries, byte), few)]
        return context.make_tuple(builder, result, [builder.sitofp(one, _FLOATS.vector) for one in both])

    return result(table, types.int64, _WORDS), generate


@intrinsic
def put_columns(typing: Any, out: Any, at: Any, packs: Any, low: Any, high: Any, rows: Any) -> Any:
    """Write packs as the columns of rows that lie one behind the other in an array of float32, from `at` on.

    Numbers beyond `low` and `high` become these. rows: so many of EIGHT are written. There are four columns at least.
    """
    count = len(packs)
    firsts = [*range(0, count - 4, 4), count - 4]  # four columns at a time; some of the last ones twice

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        target, at, rows = _Table(context, builder, out, arguments[0]), arguments[1], arguments[5]
        given = [_within(builder, builder.extract_value(arguments[2], k), *arguments[3:5]) for k in range(count)]
        turned = [_across(builder, given[k : k + 4]) for k in firsts]
        for row in range(EIGHT):
            half = 4 * (row // 4)
            with builder.if_then(builder.icmp_signed("<", _SIZE(row), rows)):
                for first, four in zip(firsts, turned, strict=True):
                    numbers = _shuffled(builder, four[row % 4], four[row % 4], list(range(half, half + 4)))
                    _stored(builder, numbers, target.at(builder.add(at, _SIZE(row * count + first))))
        return context.get_dummy_value()

    return types.void(out, types.int64, packs, types.float32, types.float32, types.int64), generate
