"""Responses joined from entries that are already encoded.

The nonce belongs to one stream and the body to all, so the nonce is appended last
(envoy.service.discovery.v3.DeltaDiscoveryResponse: resources = 2, type_url = 4, nonce = 5,
removed_resources = 6; the order of fields on the wire is free).
"""

from collections.abc import Iterable

from xds.wire.varint import delimited, varint


def join(type_url: str, entries: Iterable[bytes], removed: Iterable[str] = ()) -> bytes:
    """A DeltaDiscoveryResponse without its nonce.

    ``entries`` are `xds.wire.resource.Resource.entry` values of this type; ``removed`` are names
    the client must drop, or that it asked for and that do not exist.
    """
    gone = (delimited(6, name.encode()) for name in removed)
    return b"".join((delimited(4, type_url.encode()), *entries, *gone))


def with_nonce(body: bytes, nonce: str) -> bytes:
    """``body`` of `join` with the stream's own nonce."""
    encoded = nonce.encode()
    return b"%b*%b%b" % (body, varint(len(encoded)), encoded)  # "*": field 5, length-delimited
