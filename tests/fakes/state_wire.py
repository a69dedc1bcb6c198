"""Encodes state-of-the-world requests and decodes their responses, apart from `xds.wire`.

A DiscoveryResponse names no resources: name and content are read from the bodies that
`tests.fakes.handler.resource` makes (name 1, content 1000).
"""

from collections.abc import Iterable
from dataclasses import dataclass

from tests.fakes.delta_wire import Received, fields, text


def encode_state(
    type_url: str,
    names: Iterable[str] = (),
    *,
    node: str = "",
    version: str = "",
    nonce: str = "",
    error: str = "",
) -> bytes:
    """A DiscoveryRequest; ``error`` makes it a NACK."""
    parts = [text(1, version)] if version else []
    if node:
        parts.append(text(2, text(1, node) + text(2, "test")))
    parts.extend(text(3, name) for name in names)
    parts.append(text(4, type_url))
    if nonce:
        parts.append(text(5, nonce))
    if error:
        parts.append(text(6, b"\x08\x0d" + text(2, error)))
    return b"".join(parts)


@dataclass(frozen=True, slots=True)
class StateResponse:
    """A DiscoveryResponse. ``removed`` is what a client concludes, and never on the wire."""

    type_url: str
    version: str
    resources: tuple[Received, ...]
    nonce: str
    removed: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        return [resource.name for resource in self.resources]


def decode_state(data: bytes) -> StateResponse:
    """Decode a whole DiscoveryResponse. Every resource must be of the response's type."""
    type_url = nonce = info = ""
    found: list[tuple[str, bytes]] = []
    for number, content in fields(data):
        if number == 1:
            info = content.decode()
        elif number == 2:
            packed = dict(fields(content))
            found.append((packed[1].decode(), packed.get(2, b"")))
        elif number == 4:
            type_url = content.decode()
        elif number == 5:
            nonce = content.decode()
    assert all(kind == type_url for kind, _ in found), found
    resources = []
    for _, body in found:
        message = dict(fields(body))
        name, version = message.get(1, b"").decode(), message.get(1000, b"").decode()
        resources.append(Received(name, version, body))
    return StateResponse(type_url, info, tuple(resources), nonce)
