"""Protocol buffers without their library: messages as numbered fields. Source: protobuf.dev, "Encoding"."""

import struct
from collections.abc import Iterable
from typing import Any

import numpy as np

from gigaflow_env.roads.road_map import MapError

Value = int | float | bytes
Fields = dict[int, list[Value]]
"""Number of a field -> its values in the order of the message. Whole numbers are signed; 8 and 4 bytes are a double and a
float: the messages that we read have no other fields of these sizes."""

_DOUBLE, _FLOAT = struct.Struct("<d"), struct.Struct("<f")


def encode(fields: Iterable[tuple[int, Any]]) -> bytes:
    """A message with these fields, in their order: the opposite of `decode`.

    Whole numbers and truth values are varints, floats are doubles, texts and bytes (messages, too) have their length before
    them, and float32 arrays are packed lists of floats. Raises ValueError for a number that doesn't fit, TypeError for
    anything else.
    """
    made = bytearray()
    for key, value in fields:
        if isinstance(value, (bool, int)):
            made += _written(key << 3) + _written(value)
        elif isinstance(value, float):
            made += _written(key << 3 | 1) + _DOUBLE.pack(value)
        else:
            if isinstance(value, np.ndarray) and value.dtype == np.float32 and value.ndim == 1:
                value = value.astype("<f4").tobytes()
            body = value.encode() if isinstance(value, str) else value
            if not isinstance(body, bytes):
                raise TypeError(f"field {key} is {value!r:.40}: expected a number, a text, bytes or a list of float32")
            made += _written(key << 3 | 2) + _written(len(body)) + body
    return bytes(made)


def decode(data: bytes) -> Fields:
    """The fields of a message. Raises MapError where it isn't one."""
    fields: Fields = {}
    wrong = _decode_into(fields, data)
    if wrong is not None:
        raise wrong
    return fields


def decode_start(data: bytes) -> tuple[Fields, MapError | None]:
    """The fields of a message before the place where it is damaged, and what is wrong there.

    Of a text or message that goes on after the end there is what is left of it.
    """
    fields: Fields = {}
    return fields, _decode_into(fields, data)


def _decode_into(fields: Fields, data: bytes) -> MapError | None:
    """Add the fields of a message until it ends, or until the error that is returned."""
    at, end = 0, len(data)
    try:
        while at < end:
            key = data[at]
            at += 1
            if key > 127:
                key, at = _varint(data, at - 1)
            wire = key & 7
            value: Value
            if wire == 1 and at + 8 <= end:
                value = _DOUBLE.unpack_from(data, at)[0]
                at += 8
            elif wire == 5 and at + 4 <= end:
                value = _FLOAT.unpack_from(data, at)[0]
                at += 4
            elif wire == 0:
                value, at = _varint(data, at)
            elif wire == 2:
                size, at = _varint(data, at)
                if not 0 <= size <= end - at:
                    fields.setdefault(key >> 3, []).append(data[at:])
                    return MapError(f"field {key >> 3} at byte {at} has {size} bytes, but its message ends after {end - at}")
                value = data[at : at + size]
                at += size
            else:
                return MapError(f"field {key >> 3} at byte {at}: no protocol buffer, or it is damaged (wire type {wire})")
            fields.setdefault(key >> 3, []).append(value)
    except MapError as error:
        return error
    return None


def number(fields: Fields, key: int, default: float = 0.0) -> float:
    """A field that is a number; as in the library, the last one counts."""
    given = fields.get(key, [default])[-1]
    if isinstance(given, bytes):
        raise MapError(f"field {key} must be a number, not {len(given)} bytes")
    return given


def whole(fields: Fields, key: int, default: int = 0) -> int:
    """A field that is a whole number."""
    given = fields.get(key, [default])[-1]
    if not isinstance(given, int):
        raise MapError(f"field {key} must be a whole number")
    return given


def parts(fields: Fields, key: int) -> list[bytes]:
    """A repeated field of messages or bytes."""
    given = fields.get(key, [])
    if not all(isinstance(part, bytes) for part in given):
        raise MapError(f"field {key} must be a message or a text, not a number")
    return given  # type: ignore[return-value]


def text(fields: Fields, key: int, default: str = "") -> str:
    """A field that is a text."""
    given = parts(fields, key)
    return given[-1].decode("utf-8", "replace") if given else default


def integers(fields: Fields, key: int) -> np.ndarray:
    """A repeated field of whole numbers, packed or not: int64 (n,)."""
    found = [np.zeros(0, np.int64)]
    for given in fields.get(key, ()):
        if isinstance(given, float):
            raise MapError(f"field {key} must be whole numbers")
        found.append(_varints(given) if isinstance(given, bytes) else np.array([given], np.int64))
    return np.concatenate(found)


def floats(fields: Fields, key: int, kind: str) -> np.ndarray:
    """A repeated field of numbers, packed or not: float64 (n,). kind: "<f8" or "<f4", what they are if packed."""
    size = np.dtype(kind).itemsize
    found = []
    for given in fields.get(key, ()):
        if isinstance(given, bytes):
            if len(given) % size:
                raise MapError(f"field {key} has {len(given)} bytes, they must be numbers of {size} bytes")
            with np.errstate(invalid="ignore"):  # of what is no number: damaged bytes may be a NaN that signals
                found.append(np.frombuffer(given, kind).astype(np.float64))
        else:
            found.append(np.array([given], np.float64))
    return np.concatenate(found) if found else np.zeros(0)


def _written(value: int) -> bytes:
    """A whole number as a varint; negative ones as 64 bits of two's complement."""
    if not -(1 << 63) <= value < 1 << 64:
        raise ValueError(f"{value} has more than 64 bits")
    value &= 0xFFFFFFFFFFFFFFFF
    made = bytearray()
    while value > 127:
        made.append(value & 127 | 128)
        value >>= 7
    return bytes([*made, value])


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number and where it ends."""
    read = shift = 0
    for place in range(at, min(at + 10, len(data))):
        byte = data[place]
        read |= (byte & 127) << shift
        if byte < 128:
            read &= 0xFFFFFFFFFFFFFFFF
            return (read - (1 << 64) if read >> 63 else read), place + 1
        shift += 7
    raise MapError(f"byte {at}: a whole number does not end: the message is damaged")


def _varints(data: bytes) -> np.ndarray:
    """Whole numbers that follow each other."""
    given = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(given < 128)
    if len(given) and (not len(ends) or ends[-1] != len(given) - 1):
        raise MapError("packed whole numbers do not end: the message is damaged")
    if not len(ends):
        return np.zeros(0, np.int64)
    starts = np.concatenate([[0], ends[:-1] + 1])
    sizes = ends - starts + 1
    if sizes.max() > 10:
        raise MapError("a packed whole number has more than 10 bytes: the message is damaged")
    place = np.arange(len(given)) - np.repeat(starts, sizes)
    shifted = (given & 127).astype(np.uint64) << (7 * place).astype(np.uint64)
    return np.add.reduceat(shifted, starts).view(np.int64)
