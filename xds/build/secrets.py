"""Secrets for SDS (envoy.extensions.transport_sockets.tls.v3.Secret)."""

from functools import lru_cache
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import DataSource
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    Secret,
)

from xds import types
from xds.ir.secret import LeafSecret, RootsSecret
from xds.wire.encode import encode
from xds.wire.resource import Resource, make
from xds.wire.varint import delimited

_CERTIFICATE: Final = 2
"""Field numbers: Secret.tls_certificate, then of TlsCertificate and of DataSource."""
_CHAIN: Final = 1
_KEY: Final = 2
_INLINE_BYTES: Final = 2


def leaf(source: LeafSecret) -> Resource:
    """A workload's chain and key. The version is the leaf's own and no hash: a client reports it
    when it reconnects, and the renewal is scheduled from it."""
    # Written without messages: a fleet that starts gets a thousand different ones.
    certificate = _inline(_CHAIN, source.chain) + _inline(_KEY, source.key)
    body = delimited(1, source.name.encode()) + delimited(_CERTIFICATE, certificate)
    return make(types.SECRET, source.name, body, source.version or None)


def _inline(number: int, data: bytes) -> bytes:
    """A DataSource with ``inline_bytes`` as field ``number``."""
    return delimited(number, delimited(_INLINE_BYTES, data))


@lru_cache(maxsize=64)
def roots(source: RootsSecret) -> Resource:
    """The trusted roots of one trust domain, which every stream of it shares."""
    message = Secret(
        name=source.name,
        validation_context=CertificateValidationContext(
            trusted_ca=DataSource(inline_bytes=source.roots)
        ),
    )
    return make(types.SECRET, source.name, encode(message))
