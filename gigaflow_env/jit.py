"""The only place that knows Numba's options.

`rule` marks a pure scalar function, `stage` marks a function that loads, calls rules and stores one agent's row, `kernel`
marks the loop around the stages that Python calls. `barrier` and `anyone` are what the workers of a world have in common;
backend/cuda.py says what they are on CUDA.
"""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from gigaflow_env.inlined import DistinctArrays, InlinedCompiler
from gigaflow_env.kernel_cache import KernelCache

f32 = np.float32
i32 = np.int32
u32 = np.uint32
u64 = np.uint64

_PACKAGE = Path(__file__).parent
_KERNEL_SOURCES = (
    "config.py",
    "declare.py",
    "inlined.py",
    "jit.py",
    "packs.py",
    "prepared.py",
    "layout.py",
    "state.py",
    "population.py",
    "roads/levels.py",
    "roads/road_map.py",
    "roads/compiled/tables.py",
    "sim/**/*.py",
    "backend/*.py",
)


def source_hash() -> str:
    """Hash of every file that takes part in a kernel.

    Numba's cache key covers the kernel's own file only: an edit of a rule in another file would run the old machine code.
    With this hash in the kernel's name, the name of the cache entry changes with every edit.
    """
    digest = hashlib.sha256(numba.__version__.encode())
    for pattern in _KERNEL_SOURCES:
        for path in sorted(_PACKAGE.glob(pattern)):
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


SOURCE_HASH = source_hash()


# Numba counts references of an array at every access through a tuple, with atomic instructions in the innermost loops.
# Kernels allocate nothing, so that is waste: without it (`_nrt=False`) `locate` is 18 times and `move` 3 times faster.
_OPTIONS: Any = {"error_model": "numpy", "_nrt": False}  # Any: Numba's stubs do not know all of its options


# Nobody calls rules and stages from Python: wrappers for that took two thirds of the compile time.
_INLINED: Any = {
    "pipeline_class": InlinedCompiler,
    "forceinline": True,
    "no_cpython_wrapper": True,
    "no_cfunc_wrapper": True,
    **_OPTIONS,
}
_KERNEL: Any = {"nogil": True, **_OPTIONS}


def rule(function: Callable) -> Callable:
    """Numbers in, numbers out. Always inlined: what lets LLVM vectorise the loops of the stages that call it."""
    return numba.njit(function, **_INLINED)


def stage(function: Callable) -> Callable:
    """One concept for agent `a` of world `w`: loads, calls rules, stores. Writes only row (w, a)."""
    return numba.njit(function, **_INLINED)


def distinct(function: Callable) -> Callable:
    """What a kernel does, inlined into it, where no two of its arrays overlap.

    LLVM may then keep what it read whatever is stored elsewhere, and computes several agents at once: `move` is five times
    as fast. Not everywhere: where elements are picked from tables that makes loops slower.
    """
    return numba.njit(function, **{**_INLINED, "pipeline_class": DistinctArrays})


def kernel(function: Callable, *, cache: bool = True) -> Callable:
    """A loop over worlds, compiled once and cached on disk; releases the GIL so that threads may share the worlds."""
    if not cache:
        return numba.njit(function, **_KERNEL)
    function.__qualname__ = f"{function.__qualname__}_{SOURCE_HASH}"
    compiled: Any = numba.njit(function, **_KERNEL)
    compiled._cache = KernelCache(function, SOURCE_HASH)  # what `cache=True` does, with a cache of our own
    return compiled


def barrier() -> None:
    """The workers of a world wait for each other: what one wrote before, all see after."""


def anyone(flag: Any) -> Any:
    """Whether the flag of any worker of the world is set; a barrier, too."""
    return flag


def alone() -> bool:
    """Whether one worker does all agents of a world, as on the CPU: its loops over agents are to vectorise."""
    return True


def place_among(flag: Any) -> Any:
    """Of this worker's place among those whose flag is set, and their number; a barrier, too. Not for one that is alone."""
    return 0, 1 if flag else 0


def least_of_row(value: Any) -> Any:
    """The smallest value [float32, not negative] of the workers that share a row of the observation."""
    return value


def lowest_bit(bits: Any) -> Any:
    """Place of the lowest bit that is set in an uint64, which is not 0; on CUDA in its lower half."""
    return (int(bits) & -int(bits)).bit_length() - 1


def row_at(table: Any, index: Any) -> Any:
    """The row of a table of records, which is read at random; on CUDA 16 bytes at a time."""
    return table[index]


def fetch_ahead(table: Any, row: Any) -> None:
    """Have a row of a table brought nearer, or that row of each in a tuple, which is read soon.

    It changes nothing but time; on CUDA it does nothing.
    """


def fetch_to_write(table: Any, row: Any) -> None:
    """The same for what is written soon: memory is read before it is written, too. Only on the CPU."""


@overload(barrier, target="cpu")
def _barrier_of_one() -> Callable:
    return lambda: None


@overload(anyone, target="cpu")
def _anyone_of_one(flag):  # type: ignore[no-untyped-def]
    return lambda flag: flag


@overload(alone, target="cpu")
def _alone() -> Callable:
    return lambda: True


@overload(place_among, target="cpu")
def _place_of_one(flag):  # type: ignore[no-untyped-def]
    return lambda flag: (0, i32(flag))


@overload(least_of_row, target="cpu")
def _least_of_one(value):  # type: ignore[no-untyped-def]
    return lambda value: value


@intrinsic
def _trailing_zeros(typing: Any, bits: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.uint64(types.uint64), generate


@overload(lowest_bit, target="cpu")
def _lowest_bit(bits):  # type: ignore[no-untyped-def]
    return lambda bits: _trailing_zeros(bits)


@overload(row_at, target="cpu")
def _row_as_it_is(table, index):  # type: ignore[no-untyped-def]
    return lambda table, index: table[index]


@overload(fetch_ahead, target="cpu")
def _fetch_lines(table, row):  # type: ignore[no-untyped-def]
    return lambda table, row: _prefetch(table, row)


@overload(fetch_to_write, target="cpu")
def _fetch_lines_to_write(table, row):  # type: ignore[no-untyped-def]
    return lambda table, row: _prefetch_to_write(table, row)


_LINE = 64  # bytes that come from memory at once


def _fetching(level: int) -> Any:
    """The code that has lines of memory fetched, into all levels of the cache (3) or all but the first (2)."""

    def fetch(context: Any, builder: Any, kind: Any, table: Any, row: Any) -> None:
        if not isinstance(kind, types.Array):  # a tuple of tables
            for place, part in enumerate(kind):
                fetch(context, builder, part, builder.extract_value(table, place), row)
            return
        array = context.make_array(kind)(context, builder, table)
        length = builder.extract_value(array.strides, 0)
        first = builder.ptrtoint(array.data, length.type)
        first = builder.add(first, builder.mul(row, length))
        pointer, flag = ir.PointerType(ir.IntType(8)), ir.IntType(32)
        signature = ir.FunctionType(ir.VoidType(), [pointer, flag, flag, flag])
        prefetch = cgutils.get_or_insert_function(builder.module, signature, "llvm.prefetch.p0")
        step = ir.Constant(length.type, _LINE)
        with cgutils.for_range_slice(builder, ir.Constant(length.type, 0), length, step, length.type) as (offset, _):
            builder.call(prefetch, [builder.inttoptr(builder.add(first, offset), pointer), flag(0), flag(level), flag(1)])

    @intrinsic
    def made(typing: Any, table: Any, row: Any) -> Any:
        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> None:
            fetch(context, builder, table, arguments[0], context.cast(builder, arguments[1], row, types.intp))

        return types.void(table, row), generate

    return made


_prefetch, _prefetch_to_write = _fetching(level=3), _fetching(level=2)


ONLY_BY_ONE: dict[Callable, Any] = {}
"""What `by_one` marks, and what each returns where it does nothing."""


def by_one(nothing: Any = None) -> Callable:
    """Marks a stage only for one who is alone, with the packs of the CPU. On CUDA, where nobody is, it does nothing.

    nothing: what it then returns, of the type that it returns otherwise.
    """

    def mark(function: Callable) -> Callable:
        inner = stage(function)

        def known(*arguments: Any) -> Any:
            """Known only to compiled code."""

        @overload(known, target="cpu")
        def _known(*arguments):  # type: ignore[no-untyped-def]
            return lambda *arguments: inner(*arguments)

        ONLY_BY_ONE[known] = nothing
        return known

    return mark


def half_by_processor(by_integers: Callable) -> Callable:
    """What rounds the bits of a float32 to those of a float16: an instruction of the processor, else the given rule.

    All processors with AVX2 have that instruction. backend/cuda.py says what it is on CUDA.
    """
    features = binding.get_host_cpu_features()
    by_itself = "f16c" in features and features["f16c"]

    def nearest_half(bits: Any) -> Any:
        """Known only to compiled code."""

    @overload(nearest_half, target="cpu")
    def _nearest_half(bits):  # type: ignore[no-untyped-def]
        return (lambda bits: _half(bits)) if by_itself else (lambda bits: by_integers(bits))

    return nearest_half


def write_half(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
    """Code for the target's own conversion: the bits of a float32 to those of the nearest float16."""
    half = builder.fptrunc(builder.bitcast(arguments[0], ir.FloatType()), ir.HalfType())
    return builder.zext(builder.bitcast(half, ir.IntType(16)), ir.IntType(32))


@intrinsic
def _half(typing: Any, bits: Any) -> Any:
    return types.uint32(types.uint32), write_half
