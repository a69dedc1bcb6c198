"""Secrets for SDS (envoy.extensions.transport_sockets.tls.v3.Secret)."""

from functools import lru_cache

from envoy_data_plane.envoy.config.core.v3 import DataSource
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    Secret,
    TlsCertificate,
)

from xds import types
from xds.ir.secret import LeafSecret, RootsSecret
from xds.wire.encode import encode
from xds.wire.resource import Resource, make


def leaf(source: LeafSecret) -> Resource:
    """A workload's chain and key. The version is the leaf's own and no hash: a client reports it
    when it reconnects, and the renewal is scheduled from it."""
    message = Secret(
        name=source.name,
        tls_certificate=TlsCertificate(
            certificate_chain=DataSource(inline_bytes=source.chain),
            private_key=DataSource(inline_bytes=source.key),
        ),
    )
    return make(types.SECRET, source.name, encode(message), source.version or None)


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
