"""The unit that travels: an encoded, versioned resource, shared by every stream that needs it.

An entry is made once per change and joined into the responses of all streams
(envoy.service.discovery.v3.Resource: name = 3, version = 1, resource = 2).
"""

from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from xds.wire.varint import delimited

RESOURCES: Final = 2
"""Field number of DeltaDiscoveryResponse.resources."""


@dataclass(frozen=True, slots=True)
class Resource:
    """``entry`` is the complete ``resources`` field of a DeltaDiscoveryResponse (field 2: tag,
    length, envoy.service.discovery.v3.Resource), ready to be joined with others."""

    type_url: str
    name: str
    version: str
    entry: bytes

    def __repr__(self) -> str:
        # Entries may hold keys; a repr never shows bytes.
        return f"Resource({self.name}@{self.version}, {len(self.entry)} B)"


def make(type_url: str, name: str, body: bytes, version: str | None = None) -> Resource:
    """Wrap the encoded message ``body`` of type ``type_url``.

    ``version`` defaults to a hash of ``body`` (16 hex digits), so that replicas agree on it and a
    client that reconnects is sent only what differs.
    """
    if version is None:
        version = blake2b(body, digest_size=8).hexdigest()
    packed = delimited(1, type_url.encode()) + delimited(2, body)
    entry = delimited(1, version.encode()) + delimited(2, packed) + delimited(3, name.encode())
    return Resource(type_url, name, version, delimited(RESOURCES, entry))
