"""TFRecord files: records after each other, each with its length and two checksums. Source: TensorFlow, record_writer.h."""

import os
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from gigaflow_env.roads.import_report import fault
from gigaflow_env.roads.road_map import MapError

_HEAD, _TAIL = struct.Struct("<QI"), struct.Struct("<I")
_MASK = 0xA282EAD8  # added to a rotated checksum, so that checksums of data which hold checksums stay good ones
_BLOCK = 512  # bytes whose checksums are computed side by side


class Place(NamedTuple):
    """Where a record lies in its file."""

    at: int
    size: int


def places(path: Path) -> list[Place]:
    """All records of a file, from their heads. Raises MapError where nothing says where the first one is.

    A last record that is cut off is a fault, and so is a head whose checksum is wrong: where its length leads to the next
    record it is right, and else it is the last one.
    """
    found: list[Place] = []
    total, at = os.path.getsize(path), 0
    with open(path, "rb") as file:
        while at < total:
            file.seek(at)
            head = file.read(_HEAD.size)
            if head[:2] in (b"\x1f\x8b", b"PK"):
                raise MapError("the file is compressed: unpack it first")
            number = str(len(found))
            wrong = _wrong_head(head, at, number)
            begin, size = at + _HEAD.size, _HEAD.unpack(head)[0] if len(head) == _HEAD.size else 0
            at = begin + size + _TAIL.size
            if wrong is not None:
                if len(head) == _HEAD.size and _ends_well(file, at, total):
                    fault("record", number, wrong, "its length is right")
                elif found:
                    fault("record", number, wrong, "it and what comes after it is left out")
                    break
                else:
                    raise MapError(wrong)
            if at > total:
                wrong = f"byte {begin - _HEAD.size}: record {number} has {size} bytes, but the file ends before"
                fault("record", number, wrong, "what is left of it is read")
            found.append(Place(begin, min(size, total - begin)))
    if not found:
        raise MapError("the file is empty: a TFRecord file holds one record at least")
    return found


def _wrong_head(head: bytes, at: int, number: str) -> str | None:
    if len(head) < _HEAD.size:
        return f"byte {at}: the file ends within the head of record {number}"
    if _HEAD.unpack(head)[1] != masked_crc32c(head[:8]):
        return f"byte {at}: no TFRecord: the checksum of the length of record {number} is wrong"
    return None


def _ends_well(file: BinaryIO, at: int, total: int) -> bool:
    """Whether a record begins there, or the file ends."""
    if at >= total:
        return at == total
    file.seek(at)
    return _wrong_head(file.read(_HEAD.size), at, "") is None


def bytes_of(path: Path, place: Place) -> bytes:
    """A record, whatever its checksum says."""
    with open(path, "rb") as file:
        file.seek(place.at)
        return file.read(place.size)


def read_record(path: Path, place: Place) -> bytes:
    """A record. It is a fault where its checksum says that it is damaged."""
    data = bytes_of(path, place)
    with open(path, "rb") as file:
        file.seek(place.at + place.size)
        tail = file.read(_TAIL.size)
    if len(tail) == _TAIL.size and _TAIL.unpack(tail)[0] != masked_crc32c(data):
        wrong = "the checksum of the record is wrong: the file is damaged"
        fault("record", f"at byte {place.at}", wrong, "read all the same: any number in it may be another one")
    return data


def masked_crc32c(data: bytes) -> int:
    """The checksum that TFRecord keeps of some bytes."""
    crc = _crc32c(data)
    return ((crc >> 15 | crc << 17) + _MASK) & 0xFFFFFFFF


def _table() -> np.ndarray:
    crc = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        crc = crc >> np.uint32(1) ^ np.where(crc & np.uint32(1), np.uint32(0x82F63B78), np.uint32(0))
    return crc


_TABLE = _table()


def _crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli). Whole blocks are computed side by side, each from 0, and then joined: the checksum is linear."""
    whole = len(data) // _BLOCK
    crc = np.uint32(0xFFFFFFFF)
    if whole:
        blocks = np.frombuffer(data, np.uint8, whole * _BLOCK).reshape(whole, _BLOCK)
        sums = np.zeros(whole, np.uint32)
        for column in blocks.T:
            sums = _TABLE[(sums ^ column) & 0xFF] ^ sums >> np.uint32(8)
        skipped = _skip_table()
        for part in sums:
            moved = skipped[0, crc & 255] ^ skipped[1, crc >> 8 & 255] ^ skipped[2, crc >> 16 & 255] ^ skipped[3, crc >> 24]
            crc = moved ^ part
    result = int(crc)
    table = _TABLE.tolist() if len(data) > whole * _BLOCK else []
    for byte in data[whole * _BLOCK :]:
        result = table[(result ^ byte) & 255] ^ result >> 8
    return result ^ 0xFFFFFFFF


def _skip_table() -> np.ndarray:
    """What _BLOCK bytes of 0 make of each byte of a checksum: (4, 256)."""
    sums = np.arange(256, dtype=np.uint32) << (8 * np.arange(4, dtype=np.uint32))[:, None]
    for _ in range(_BLOCK):
        sums = _TABLE[sums & 0xFF] ^ sums >> np.uint32(8)
    return sums
