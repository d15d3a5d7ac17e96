"""Records of the Waymo Open Motion Dataset with one thing missing each: what `damaged_maps.py` does to XML and JSON.

A record is a message of numbered fields. Each field is deleted, emptied (no bytes, the number 0) and dangled (bytes that are
no message, a number that nothing has), one at a time, and so is each list of a tf.Example.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from gigaflow_env.roads.formats.waymo.protobuf import Fields, decode, encode, floats, integers, parts, text
from gigaflow_env.roads.formats.waymo.tf_example import is_example
from gigaflow_env.roads.formats.waymo.tfrecord import bytes_of, masked_crc32c, places

NOWHERE, NOTHING = 987_654_321, b"\xff\xff\xff"
"""A number that nothing has, and bytes that are no message, no text and no list of numbers."""


class Kind(NamedTuple):
    """What is known of a field of a message."""

    name: str
    inside: "dict[int, Kind] | None" = None  # of a message
    free: bool = False  # any other value is right there, or none: nobody can know


_POINT = {1: Kind("x"), 2: Kind("y"), 3: Kind("z")}
_LANE = {
    1: Kind("speed"), 2: Kind("type"), 8: Kind("point", _POINT), 9: Kind("entries"), 10: Kind("exits"),
    11: Kind("left", {1: Kind("lane")}), 12: Kind("right", {1: Kind("lane")}),
}  # fmt: skip
_LINE = {1: Kind("type"), 2: Kind("point", _POINT)}
_STATE = dict(enumerate(map(Kind, ("x", "y", "z", "length", "width", "height", "heading", "vx", "vy", "valid")), 2))
_LIGHT = {1: Kind("lane"), 2: Kind("state"), 3: Kind("point", _POINT)}
_STOP = {1: Kind("lanes", free=True), 2: Kind("point", _POINT)}
_FEATURE = {
    1: Kind("id", free=True), 3: Kind("lane", _LANE), 4: Kind("line", _LINE), 5: Kind("edge", _LINE), 7: Kind("stop", _STOP),
    8: Kind("crosswalk", {1: Kind("point", _POINT)}),
}  # fmt: skip
SCENARIO = {
    1: Kind("timestamp"),
    2: Kind("track", {1: Kind("id", free=True), 2: Kind("type"), 3: Kind("state", _STATE)}),
    5: Kind("scenario id", free=True),
    6: Kind("ego"),
    7: Kind("moment", {1: Kind("light", _LIGHT)}, free=True),
    8: Kind("feature", _FEATURE),
    11: Kind("predict", {1: Kind("track")}),
}
FREE_LISTS = ("state/id", "scenario/id")
"""Those of a tf.Example of which any other value is right."""


class Part(NamedTuple):
    """A field somewhere in a message."""

    way: tuple[tuple[int, int], ...]  # numbers of the fields that lead to it, and which of these
    kind: Kind
    path: str  # names from the outermost message
    value: Any


class Change(NamedTuple):
    """What is done to a record."""

    kind: str
    where: str
    done: str
    record: bytes
    whole: bool  # as in damaged_maps.Damaged
    word: bool


def record_of(path: Path) -> bytes:
    """The first record of a file."""
    return bytes_of(path, places(path)[0])


def framed(record: bytes) -> bytes:
    """A file with one record, and its right checksums."""
    head = struct.pack("<Q", len(record))
    sums = [struct.pack("<I", masked_crc32c(part)) for part in (head, record)]
    return head + sums[0] + record + sums[1]


def changes(record: bytes, each: int) -> Iterator[Change]:
    """All that is done to a record: to the first, the last and some between, `each` in all, of each kind of field."""
    fields = decode(record)
    return _changed_lists(record, fields) if is_example(fields) else _changed_fields(record, fields, each)


def _changed_fields(record: bytes, fields: Fields, each: int) -> Iterator[Change]:
    found: dict[str, list[Part]] = {}
    for part in _parts(fields, SCENARIO, (), ""):
        found.setdefault(part.path, []).append(part)
    for path, parts_of_kind in found.items():
        for k in np.unique(np.linspace(0, len(parts_of_kind) - 1, each).round().astype(int)).tolist():
            part = parts_of_kind[k]
            is_number, message = not isinstance(part.value, bytes), part.kind.inside is not None
            free = part.kind.free
            nowhere: Any = type(part.value)(NOWHERE) if is_number else NOTHING
            # Of a message that is gone nobody knows, and 0 is a number.
            yield Change(path, str(part.way), "deleted", _with(record, part.way, []), message or free, False)
            nothing: Any = type(part.value)(0) if is_number else b""
            yield Change(path, str(part.way), "empty", _with(record, part.way, [nothing]), is_number or free, False)
            word = not (free and is_number) and path != "scenario id"
            yield Change(path, str(part.way), "dangling", _with(record, part.way, [nowhere]), not word, word)


def _parts(fields: Fields, known: dict[int, Kind], before: tuple[tuple[int, int], ...], path: str) -> Iterator[Part]:
    """All fields that are known, messages before what is in them."""
    for number, kind in known.items():
        for place, value in enumerate(fields.get(number, ())):
            part = Part((*before, (number, place)), kind, f"{path}/{kind.name}", value)
            yield part
            if kind.inside is not None and isinstance(value, bytes):
                yield from _parts(decode(value), kind.inside, part.way, part.path)


def _with(data: bytes, way: tuple[tuple[int, int], ...], values: list[Any]) -> bytes:
    """A message in which a field became others, or none."""
    (number, place), *rest = way
    fields = decode(data)
    inner = fields[number][place]
    fields[number][place : place + 1] = [_with(inner, tuple(rest), values)] if rest and isinstance(inner, bytes) else values
    return encode((key, value) for key, given in fields.items() for value in given)


def _changed_lists(record: bytes, fields: Fields) -> Iterator[Change]:
    """What is done to each list of a tf.Example."""
    entries = parts(decode(parts(fields, 1)[-1]), 1)
    for place, entry in enumerate(entries):
        name = text(decode(entry), 1)
        feature = decode(parts(decode(entry), 2)[-1])
        ((kind, bodies),) = feature.items()
        body = decode(parts({kind: bodies}, kind)[-1])
        free = name in FREE_LISTS

        def made(values: np.ndarray, name: str = name) -> bytes:
            packed = values.astype(np.float32) if values.dtype.kind == "f" else b"".join(map(_varint, values.tolist()))
            which = 2 if values.dtype.kind == "f" else 3
            return encode([(1, name), (2, encode([(which, encode([(1, packed)]))]))])

        new = {"deleted": None, "empty": encode([(1, name), (2, b"")]), "dangling": encode([(1, name), (2, NOTHING)])}
        values = floats(body, 1, "<f4") if kind == 2 else integers(body, 1) if kind == 3 else np.zeros(0)
        if len(values):
            new["shorter"] = made(values[:-1])
            for where, at in (("first", 0), ("middle", len(values) // 2), ("last", -1)):
                other = values.copy()
                other[at] = NOWHERE
                new[f"{where} number dangling"] = made(other)
        for done, changed in new.items():
            others = [*entries[:place], *([] if changed is None else [changed]), *entries[place + 1 :]]
            data = encode([(1, encode([(1, one) for one in others]))])
            word = done.endswith("dangling") and not free
            yield Change(name, "", done, data, free and done.endswith("number dangling"), word)


def _varint(value: int) -> bytes:
    return encode([(0, value)])[1:]
