"""Encodes delta requests and decodes delta responses for clients in tests and benches.

Written apart from `xds.wire`, so that a mistake there cannot hide behind the same mistake here.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def text(number: int, value: str | bytes) -> bytes:
    """One length-delimited field."""
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def encode_request(
    type_url: str,
    *,
    node: str = "",
    cluster: str = "test",
    subscribe: Iterable[str] = (),
    unsubscribe: Iterable[str] = (),
    versions: Mapping[str, str] | None = None,
    nonce: str = "",
    error: str = "",
) -> bytes:
    """A DeltaDiscoveryRequest; ``error`` makes it a NACK (code 13, as Envoy sends)."""
    parts = []
    if node:
        parts.append(text(1, text(1, node) + text(2, cluster)))
    parts.append(text(2, type_url))
    parts.extend(text(3, name) for name in subscribe)
    parts.extend(text(4, name) for name in unsubscribe)
    for name, version in (versions or {}).items():
        parts.append(text(5, text(1, name) + text(2, version)))
    if nonce:
        parts.append(text(6, nonce))
    if error:
        parts.append(text(7, b"\x08\x0d" + text(2, error)))
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class Received:
    """One resource of a response. ``body`` is the google.protobuf.Any's value."""

    name: str
    version: str
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Response:
    """A DeltaDiscoveryResponse."""

    type_url: str
    resources: tuple[Received, ...]
    removed: tuple[str, ...]
    nonce: str
    size: int

    @property
    def names(self) -> list[str]:
        return [resource.name for resource in self.resources]


def fields(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Number and content of each length-delimited field; varint fields are skipped."""
    position = 0

    def number() -> int:
        nonlocal position
        value = shift = 0
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7

    while position < len(data):
        key = number()
        if key & 7 == 0:
            number()
            continue
        assert key & 7 == 2, f"wire type {key & 7}"
        length = number()
        yield key >> 3, data[position : position + length]
        position += length


def decode_response(data: bytes) -> Response:
    """Decode a whole DeltaDiscoveryResponse."""
    type_url = nonce = ""
    resources = []
    removed = []
    for number, content in fields(data):
        if number == 4:
            type_url = content.decode()
        elif number == 5:
            nonce = content.decode()
        elif number == 6:
            removed.append(content.decode())
        elif number == 2:
            found = {1: b"", 2: b"", 3: b""}
            found.update(fields(content))
            body = dict(fields(found[2])).get(2, b"")
            resources.append(Received(found[3].decode(), found[1].decode(), body))
    return Response(type_url, tuple(resources), tuple(removed), nonce, len(data))


def nonce_of(data: bytes) -> str:
    """The nonce of a response in which it is the last field, as Plait writes it; any shorter way
    to find it keeps load clients cheap."""
    mark = data.rfind(b"\x2a", max(0, len(data) - 40))
    while mark >= 0 and data[mark + 1] != len(data) - mark - 2:
        mark = data.rfind(b"\x2a", max(0, len(data) - 40), mark)
    assert mark >= 0, "no nonce at the end of the response"
    return data[mark + 2 :].decode()
