"""State-of-the-world responses, joined from the same entries as delta ones.

A delta entry holds the resource's ``google.protobuf.Any`` as its field 2, and field 2 of a
DiscoveryResponse is that ``Any``: the bytes are taken over as they are, tag included, and nothing
is encoded twice (envoy.service.discovery.v3.DiscoveryResponse: version_info = 1, resources = 2,
type_url = 4, nonce = 5, which is the delta response's number too: see `xds.wire.response`).
"""

from collections.abc import Iterable
from typing import Final

from xds.wire.varint import delimited

_RESOURCE_TAG: Final = 0x12


def packed(entry: bytes) -> memoryview:
    """The ``resources`` field of a DiscoveryResponse (tag included) within an entry as
    `xds.wire.resource.make` writes it: version, resource, name."""
    start = _length(entry, 1)[1]
    size, position = _length(entry, start + 1)
    position += size  # behind the version
    if entry[position] != _RESOURCE_TAG:
        raise ValueError("an entry whose second field is not its resource")
    size, body = _length(entry, position + 1)
    return memoryview(entry)[position : body + size]


def join_state(type_url: str, version: str, entries: Iterable[bytes]) -> bytes:
    """A DiscoveryResponse without its nonce; ``entries`` as in `xds.wire.response.join`."""
    head = delimited(1, version.encode()) + delimited(4, type_url.encode())
    return b"".join((head, *(packed(entry) for entry in entries)))


def _length(data: bytes, position: int) -> tuple[int, int]:
    """The varint at ``position`` and the position behind it."""
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
