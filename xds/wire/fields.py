"""Reads the protobuf wire format without decoding what is not wanted.

Source: https://protobuf.dev/programming-guides/encoding/. For scanners of what any network peer may
send: nothing is copied, every bound is checked, time is linear in the bytes looked at.
"""

from collections.abc import Iterator
from typing import Final

VARINT: Final = 0
FIXED64: Final = 1
LEN: Final = 2
FIXED32: Final = 5
"""Wire types."""


class Malformed(ValueError):
    """The bytes are no acceptable message; the text says what is wrong and where."""


def varint_at(data: bytes, position: int, end: int) -> tuple[int, int]:
    """The value at ``position`` and the position behind it."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise Malformed(f"varint cut off at byte {position}")
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            if value >> 64:
                break
            return value, position
    raise Malformed(f"varint over 64 bits before byte {position}")


def fields(data: bytes, position: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Each field between two positions as (number, wire type, value or start, end)."""
    while position < end:
        key = data[position]
        if key < 0x80:
            position += 1
        else:
            key, position = varint_at(data, position, end)
        number, wire = key >> 3, key & 7
        if not 0 < number < 1 << 29:
            raise Malformed(f"field number {number} before byte {position}")
        if wire == LEN:
            length = data[position] if position < end else 0x80
            if length < 0x80:
                position += 1
            else:
                length, position = varint_at(data, position, end)
            start, position = position, position + length
            if position > end:
                raise Malformed(f"field {number} of {length} bytes at byte {start} is cut off")
            yield number, wire, start, position
        elif wire == VARINT:
            value, position = varint_at(data, position, end)
            yield number, wire, value, position
        elif wire in (FIXED64, FIXED32):
            start, position = position, position + (8 if wire == FIXED64 else 4)
            if position > end:
                raise Malformed(f"field {number} at byte {start} is cut off")
            yield number, wire, start, position
        else:
            raise Malformed(f"wire type {wire} before byte {position}")
