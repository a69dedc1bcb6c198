"""Varints, tags and length-delimited fields of the protobuf wire format.

Source: https://protobuf.dev/programming-guides/encoding/. Writing only; `xds.wire.request` reads.
"""

from typing import Final

_MASK_64: Final = (1 << 64) - 1


def _long_varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


_TABLE: Final = tuple(_long_varint(value) for value in range(2048))


def varint(value: int) -> bytes:
    """Base-128 encoding; a negative value as its 64-bit two's complement (ten bytes)."""
    if 0 <= value < 2048:
        return _TABLE[value]
    if 0 <= value < 16384:  # ports
        return bytes((value & 0x7F | 0x80, value >> 7))
    return _long_varint(value & _MASK_64)


def zigzag(value: int) -> int:
    """Map signed onto unsigned integers (``sint32``, ``sint64``): 0, -1, 1, -2 to 0, 1, 2, 3."""
    return value << 1 if value >= 0 else ~(value << 1)


def tag(number: int, wire_type: int) -> bytes:
    """Key of a field. Wire types: 0 varint, 1 64-bit, 2 length-delimited, 5 32-bit."""
    return varint(number << 3 | wire_type)


def delimited(number: int, body: bytes) -> bytes:
    """A complete length-delimited field: tag, length, body."""
    return b"".join((varint(number << 3 | 2), varint(len(body)), body))
