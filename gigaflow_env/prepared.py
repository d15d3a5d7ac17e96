"""Kernels whose arguments are prepared once: a call passes a few numbers and an address.

A step touches some 150 arrays in 20 groups. Numba looks at each of them as an object, and takes it apart, at every call:
25 microseconds a kernel, as much as fifty agents take. Here the addresses of a group's arrays are written down once,
in a table, and the kernel reads them from there.

What is declared with the axes "world agent" has the same size in all groups, so the table has it only once. A kernel then
computes one index for all arrays of an agent, and not one for each.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import typeof, types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.extending import NativeValue, intrinsic, register_model, typeof_impl, unbox
from numba.np.arrayobj import make_array, populate_array

from gigaflow_env.declare import Declared
from gigaflow_env.jit import distinct, kernel, stage

SHARED = ("world", "agent")
"""Axes whose sizes come first in a table. Only where they are an array's first axes."""

_SLOT = 8  # bytes of a number or an address


class TableType(types.Type):
    """Numba's type of a table: the address of the slots from which `opened` makes values of the types `members`."""

    def __init__(self, members: tuple[Any, ...]) -> None:
        self.members = members
        kinds = hashlib.sha256(repr(members).encode()).hexdigest()[:16]  # the names are long, and become those of symbols
        super().__init__(name=f"table_{kinds}")


@register_model(TableType)
class _TableModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, ir.IntType(64))


@unbox(TableType)
def _address(kind: Any, table: Any, c: Any) -> NativeValue:
    number = c.pyapi.object_getattr_string(table, "address")
    found = NativeValue(c.pyapi.long_as_longlong(number))
    c.pyapi.decref(number)
    return found


@intrinsic
def opened(typing: Any, table: Any) -> Any:
    """The groups of a table, as a tuple."""

    def read(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        reader = _Reader(context, builder, arguments[0])
        return context.make_tuple(builder, signature.return_type, [reader.value(one) for one in table.members])

    return types.Tuple(table.members)(table), read  # type: ignore[attr-defined]


class _Reader:
    """Writes the code that reads slot by slot, in the order in which `_slots` fills them."""

    def __init__(self, context: Any, builder: Any, address: Any) -> None:
        self._context, self._builder, self._address = context, builder, address
        self._next = 0
        self._sizes = [self._read(ir.IntType(64)) for _ in SHARED]

    def _read(self, kind: Any) -> Any:
        """What the next slot holds. It never changes: it may be read again instead of being kept in a register."""
        place = self._builder.add(self._address, ir.Constant(ir.IntType(64), self._next * _SLOT))
        self._next += 1
        found = self._builder.load(self._builder.inttoptr(place, kind.as_pointer()))
        found.set_metadata("invariant.load", self._builder.module.add_metadata([]))
        return found

    def value(self, kind: Any, shared: int = 0) -> Any:
        """A value of this type; shared: so many of an array's axes are those of SHARED."""
        context, builder = self._context, self._builder
        if isinstance(kind, types.BaseNamedTuple):  # type: ignore[attr-defined]
            parts = zip(kind.types, shared_axes(kind.instance_class), strict=True)
            return context.make_tuple(builder, kind, [self.value(one, axes) for one, axes in parts])
        if isinstance(kind, types.Array):
            return self._array(kind, shared)
        if isinstance(kind, types.NoneType):  # type: ignore[attr-defined]
            return context.get_dummy_value()
        stored = context.data_model_manager[kind].get_data_type()
        return context.data_model_manager[kind].from_data(builder, self._read(stored))

    def _array(self, kind: Any, shared: int) -> Any:
        context, builder = self._context, self._builder
        data = self._read(context.get_data_type(kind.dtype).as_pointer())
        shape = self._sizes[:shared] + [self._read(ir.IntType(64)) for _ in range(shared, kind.ndim)]
        itemsize = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(kind.dtype)))
        strides = [itemsize]
        for size in reversed(shape[1:]):
            strides.insert(0, builder.mul(strides[0], size))
        array = make_array(kind)(context, builder)
        populate_array(
            array, data=data, shape=cgutils.pack_array(builder, shape), strides=cgutils.pack_array(builder, strides),
            itemsize=itemsize, meminfo=None,
        )  # fmt: skip
        return array._getvalue()


def shared_axes(group: type) -> list[int]:
    """For each field of a group, how many of its first axes are SHARED."""
    found = []
    for declared in (group._field_defaults.get(name) for name in group._fields):  # type: ignore[attr-defined]
        axes = declared.axes if isinstance(declared, Declared) else ()
        found.append(next((k for k, axis in enumerate(SHARED) if axes[k : k + 1] != (axis,)), len(SHARED)))
    return found


class Table:
    """Groups of arrays, numbers, or None, prepared for kernels. It holds on to them, as they are used by their addresses."""

    def __init__(self, groups: Sequence[Any]) -> None:
        self.groups = groups
        self._sizes: dict[str, int] = {}
        slots = [slot for group in groups for slot in self._slots(group)]
        sizes = [self._sizes.get(axis, 0) for axis in SHARED]
        self._slots_kept = np.array(sizes + slots, np.int64)
        self.address = self._slots_kept.ctypes.data

    def size(self, axis: str) -> int:
        """How many there are along one of SHARED."""
        return self._sizes[axis]

    def _slots(self, value: Any, shared: int = 0) -> Iterator[int]:
        if isinstance(value, tuple):
            for one, axes in zip(value, shared_axes(type(value)), strict=True):
                yield from self._slots(one, axes)
        elif isinstance(value, np.ndarray):
            if not value.flags.c_contiguous:
                raise ValueError("arrays of kernels must be contiguous")
            for axis, size in zip(SHARED[:shared], value.shape, strict=False):
                if self._sizes.setdefault(axis, size) != size:
                    raise ValueError(f"an array has {size} of axis {axis!r}, and another one {self._sizes[axis]}")
            yield value.ctypes.data
            yield from value.shape[shared:]
        elif value is not None:
            yield int.from_bytes(np.asarray(value).tobytes().ljust(_SLOT, b"\0"), "little", signed=True)


@typeof_impl.register(Table)
def _type_of(table: Table, context: Any) -> TableType:
    return TableType(tuple(typeof_impl(group, context) for group in table.groups))


class Call(NamedTuple):
    """A kernel with all of its arguments but the range of worlds: `call(begin, end)`."""

    kernel: Any
    entry: Callable
    loose: tuple
    table: Table

    def __call__(self, begin: int, end: int) -> None:
        """Run it on a range of worlds."""
        self.entry((begin, end, *self.loose), self.table)


def prepared(function: Callable, *, inlined: Callable = stage) -> Callable:
    """A kernel of loose arguments, numbers and single arrays, and after them groups.

    It is compiled for two arguments, a tuple of those that are loose and a Table of the groups: `arguments` makes them.
    """
    inner = inlined(function)

    def loop(loose, groups):  # type: ignore[no-untyped-def]
        inner(*(loose + opened(groups)))

    loop.__module__, loop.__name__, loop.__qualname__ = function.__module__, function.__name__, function.__qualname__
    compiled: Any = kernel(loop)
    compiled.body = function
    return compiled


def prepared_distinct(function: Callable) -> Callable:
    """The same where no two arrays overlap, see `jit.distinct`."""
    return prepared(function, inlined=distinct)


def arguments(given: Sequence[Any]) -> tuple[tuple, Table]:
    """What a prepared kernel takes, from the arguments of its function."""
    groups_at = next((k for k, one in enumerate(given) if one is None or isinstance(one, tuple)), len(given))
    return tuple(given[:groups_at]), Table(tuple(given[groups_at:]))


def bind(kernel: Any, given: Sequence[Any]) -> Call:
    """A prepared kernel with the arguments of its function but the first two, a range of worlds. Compiles it, if need be."""
    loose, table = arguments(given)
    kinds = (types.int64, types.int64, *map(typeof, loose))
    signature = types.Tuple(kinds), typeof(table)  # type: ignore[attr-defined]
    return Call(kernel, kernel.compile(signature), loose, table)
