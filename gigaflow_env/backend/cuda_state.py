"""Arrays as CUDA kernels get and read them: of the state an address for each, and the length of each axis once.

Numba gives a kernel nine numbers for an array, its shape among them, and the kernel computes the place of row (w, a) anew
for every array, as it can't know that they have one shape. With lengths in common it computes that place once.
"""

from collections import namedtuple
from typing import Any

from llvmlite import ir
from numba.cuda import types
from numba.cuda.extending import intrinsic, overload  # type: ignore[attr-defined]
from numba.cuda.np.arrayobj import populate_array
from numba.cuda.np.numpy_support import from_dtype
from numpy import dtype

from gigaflow_env.declare import fields
from gigaflow_env.jit import row_at
from gigaflow_env.state import GROUPS, State

DECLARED = [list(fields(group).values()) for group in GROUPS]  # type: ignore[arg-type]
AXES = tuple(dict.fromkeys(axis for group in DECLARED for field in group for axis in field.axes))
Lengths = namedtuple("Lengths", AXES)  # type: ignore[misc]
"""Of all axes in the state's declarations."""
GLOBAL = 1
"""The address space of what kernels share with each other."""


def lengths(state: State) -> Any:
    """Lengths of the axes of a state's arrays. Raises ValueError where two arrays have one axis with two lengths."""
    found: dict[str, int] = {}
    for group, declared in zip(list[Any](state), DECLARED, strict=True):
        for name, array, field in zip(group._fields, group, declared, strict=True):
            for axis, length in zip(field.axes, array.shape, strict=True):
                if found.setdefault(axis, length) != length:
                    raise ValueError(f"{type(group).__name__}.{name}: axis {axis!r} of {length}, elsewhere {found[axis]}")
    return Lengths(**found)


def addresses(state: State) -> Any:
    """The state's groups, with the address of each array in its place."""
    groups: list[Any] = [type(group)(*map(_address, group)) for group in list[Any](state)]
    return State(*groups)


def _address(array: Any) -> int:
    """Of an array of the device; or of the host, where kernels are only compiled."""
    return (getattr(array, "__cuda_array_interface__", None) or array.__array_interface__)["data"][0]


@intrinsic
def shaped(typing_context, state, lengths):  # type: ignore[no-untyped-def]
    """Inside a kernel: the state's arrays from their `addresses` and `lengths`."""
    groups = [
        types.NamedTuple([types.Array(from_dtype(dtype(field.dtype)), len(field.axes), "C") for field in declared], group)
        for group, declared in zip(GROUPS, DECLARED, strict=True)
    ]
    arrays = types.NamedTuple(groups, State)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        places, sizes = arguments
        size = {axis: builder.extract_value(sizes, k) for k, axis in enumerate(AXES)}

        def made(kind, place, field):  # type: ignore[no-untyped-def]
            data = context.get_data_type(kind.dtype)
            itemsize = context.get_abi_sizeof(data)
            shape, strides = [size[axis] for axis in field.axes], [context.get_constant(types.intp, itemsize)]
            for length in shape[:0:-1]:
                strides.insert(0, builder.mul(strides[0], length))
            pointer = builder.inttoptr(place, data.as_pointer(GLOBAL))
            array = context.make_array(kind)(context, builder)
            populate_array(array, builder.addrspacecast(pointer, data.as_pointer()), shape, strides, itemsize, meminfo=None)
            return array._getvalue()

        return context.make_tuple(
            builder,
            arrays,
            [
                context.make_tuple(
                    builder,
                    group,
                    [
                        made(kind, builder.extract_value(places, [k, i]), field)
                        for i, (kind, field) in enumerate(zip(group.types, declared, strict=True))
                    ],
                )
                for k, (group, declared) in enumerate(zip(groups, DECLARED, strict=True))
            ],
        )

    return arrays(state, lengths), generate


WORD, WIDEST = 4, 16
"""[bytes] What fields are made of, and what a thread loads at once."""


@intrinsic
def loaded(typing_context, table, index):  # type: ignore[no-untyped-def]
    """A row of records of 4-byte fields, with as few loads as its size allows; a tuple with the fields' names."""
    record = table.dtype
    names = list(record.fields)
    kinds = [record.typeof(name) for name in names]
    row = types.NamedTuple(kinds, namedtuple("_".join(names), names))
    wide = next(size for size in (WIDEST, 2 * WORD, WORD) if record.size % size == 0)

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        array = context.make_array(table)(context, builder, value=arguments[0])
        at = builder.mul(builder.zext(arguments[1], ir.IntType(64)), ir.Constant(ir.IntType(64), record.size))
        start = builder.inttoptr(
            builder.add(builder.ptrtoint(array.data, ir.IntType(64)), at), ir.IntType(8).as_pointer(GLOBAL)
        )
        several = ir.VectorType(ir.IntType(8 * WORD), wide // WORD)
        words = []
        for k in range(record.size // wide):
            part = builder.gep(start, [ir.Constant(ir.IntType(32), k * wide)])
            vector = builder.load(builder.bitcast(part, several.as_pointer(GLOBAL)), align=wide)
            words += [builder.extract_element(vector, ir.Constant(ir.IntType(32), i)) for i in range(wide // WORD)]
        values = []
        for name, kind in zip(names, kinds, strict=True):
            word = words[record.offset(name) // WORD]
            values.append(builder.bitcast(word, context.get_value_type(kind)))
        return context.make_tuple(builder, row, values)

    return row(table, index), generate


@overload(row_at)
def _row_in_few_loads(table, index):  # type: ignore[no-untyped-def]
    record = table.dtype
    if any(record.typeof(name).bitwidth != 8 * WORD for name in record.fields):
        return lambda table, index: table[index]
    return lambda table, index: loaded(table, index)
