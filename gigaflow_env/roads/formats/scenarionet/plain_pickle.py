"""Pickles of plain data: dicts, lists, texts, numbers and NumPy arrays of numbers. Nothing in the file is executed.

A pickle is a program: it may name any function of the machine and call it. Here no name leads to one. The few names that
data needs, see NAMES, lead to the stand-ins below, which only keep what they are given; every other name refuses the file.
Arrays are made afterwards, of checked sizes, by us. So a file can waste no more than memory in proportion to its size.
"""

import io
import pickle
import pickletools
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

from gigaflow_env.roads.road_map import MapError

DEEPEST = 50
"""Containers inside of each other. Ours: scenes have some 8."""
_PLAIN = re.compile(r"[?]|[biuf][1248]|U[0-9]{1,4}")  # NumPy's types of truth, numbers and texts; none that holds objects
_FORBIDDEN = frozenset(("PERSID", "BINPERSID", "EXT1", "EXT2", "EXT4", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "NEXT_BUFFER"))
_BUILTINS = ("builtins", "__builtin__")  # the latter in old pickles
_PUTS = frozenset(("PUT", "BINPUT", "LONG_BINPUT"))


class _Type:
    """A NumPy type, as its pickle describes it."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code, self.order = code, "="

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]

    def made(self) -> np.dtype:
        """The type. Raises ValueError for one that holds objects."""
        if not isinstance(self.code, str) or not _PLAIN.fullmatch(self.code) or self.order not in ("<", ">", "=", "|"):
            raise ValueError(f"an array of the NumPy type {self.code!r:.20}, which is not plain numbers")
        return np.dtype(self.code).newbyteorder(self.order)  # type: ignore[arg-type]


class _Array:
    """An array, as its pickle describes it."""

    def __init__(self, *_: Any) -> None:
        self.state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def made(self) -> np.ndarray:
        """The array. Raises ValueError where its parts don't fit."""
        _, shape, kind, by_column, data = self.state
        return _filled(data, kind, shape, "F" if by_column else "C")


def _filled(data: Any, kind: Any, shape: Any, order: Any) -> np.ndarray:
    if not isinstance(kind, _Type) or order not in ("C", "F"):
        raise ValueError("an array without a type")
    if not isinstance(data, (bytes, bytearray)):
        raise ValueError(f"an array of the NumPy type {kind.code!r:.20}, which is not plain numbers")
    shape = (shape,) if isinstance(shape, int) else shape
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError(f"an array of the shape {shape!r:.40}")
    return np.frombuffer(data, kind.made()).reshape(shape, order=order).copy()


class _Buffer(_Array):
    """The same in newer pickles."""

    def __init__(self, data: Any, kind: Any, shape: Any, order: Any = "C") -> None:
        self.state = (1, shape, kind, order == "F", data)


def _scalar(kind: Any, data: Any) -> Any:
    return _filled(data, kind, (1,), "C")[0].item()


def _bytes(text: Any = "", encoding: Any = "latin1") -> bytes:
    if not isinstance(text, str) or encoding != "latin1":
        raise ValueError("bytes of an unknown kind")
    return text.encode("latin1")


def _dict(*_: Any) -> dict[Any, Any]:
    """An empty one; what it would make for unknown keys is of no use here."""
    return {}


def _list(*items: Any) -> list[Any]:
    """A set, which has no order here, either."""
    return list(*items)


NAMES: dict[str, Any] = {
    "numpy.ndarray": "numpy.ndarray",  # a text: it can't be called
    "numpy.dtype": _Type,
    **{f"numpy.{core}.multiarray._reconstruct": _Array for core in ("core", "_core")},
    **{f"numpy.{core}.multiarray.scalar": _scalar for core in ("core", "_core")},
    **{f"numpy.{core}.numeric._frombuffer": _Buffer for core in ("core", "_core")},
    "collections.defaultdict": _dict,
    "collections.OrderedDict": _dict,
    "_codecs.encode": _bytes,
    **{f"{module}.{name}": name for module in _BUILTINS for name in ("int", "long", "float", "str", "bool", "list", "dict")},
    **{f"{module}.{name}": stand_in for module in _BUILTINS for name, stand_in in (("set", _list), ("bytes", _bytes))},
}
"""What a pickle of plain data names, and what stands for it here."""


class _Callable:
    """A stand-in as the file gets hold of it: it can be called, and not be changed."""

    __slots__ = ("_make",)

    def __init__(self, make: Any) -> None:
        self._make = make

    def __call__(self, *arguments: Any) -> Any:
        return self._make(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("it would change what a name means: it may be made to do harm")


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """The stand-in for a name. Raises UnpicklingError for any other."""
        if f"{module}.{name}" not in NAMES:
            raise pickle.UnpicklingError(
                f"it names {module}.{name}, and data needs no such thing: it may be made to do harm"
            )
        stand_in = NAMES[f"{module}.{name}"]
        return _Callable(stand_in) if callable(stand_in) else stand_in


def read_plain(path: Path) -> Any:
    """The data of a pickle. Raises MapError for what is damaged, and for what is not plain data."""
    data = path.read_bytes()
    try:
        _check(data)
        return _plain(_Reader(io.BytesIO(data)).load(), {}, 0)
    except MapError:
        raise
    except (pickle.UnpicklingError, EOFError, ValueError, TypeError, AttributeError, IndexError, KeyError, MemoryError,
            OverflowError, RecursionError, struct.error) as error:  # fmt: skip
        raise MapError(
            f"not readable as a pickle of plain data: {' '.join(str(error).split()) or 'it is damaged'}"
        ) from error


def _check(data: bytes) -> None:
    """Raises MapError for instructions that data does not need, and for numbers that would only fill the memory."""
    for place, (code, argument, _) in enumerate(pickletools.genops(data)):
        if code.name in _FORBIDDEN or (code.name in _PUTS and int(argument or 0) > place):
            raise MapError(
                f"not readable as a pickle of plain data: it has the instruction {code.name} {argument or ''}".strip()
            )


def _plain(given: Any, known: dict[int, Any], depth: int) -> Any:
    """The data with arrays for their stand-ins. What is used twice is made once."""
    if given is None or isinstance(given, (bool, int, float, str, bytes)):
        return given
    if depth > DEEPEST:
        raise ValueError(f"containers inside of each other, more than {DEEPEST}")
    if id(given) in known:
        return known[id(given)]
    if isinstance(given, _Array):
        made: Any = given.made()
    elif isinstance(given, dict):
        made = {_key(key): _plain(value, known, depth + 1) for key, value in given.items()}
    elif isinstance(given, (list, tuple, set, frozenset)):
        made = [_plain(value, known, depth + 1) for value in given]
    else:
        raise ValueError(f"a {type(given).__name__}, where data was expected")
    known[id(given)] = made
    return made


def _key(given: Any) -> Any:
    if not isinstance(given, (str, int, float)):
        raise ValueError(f"a key {given!r:.40}, which is neither a text nor a number")
    return given
