"""Transport sockets: mutual TLS by SDS over ADS, plain text, and plain text after a PROXY header.

TLS 1.3 is named as minimum and maximum because the default maximum of an upstream context is 1.2.
Sessions are never resumed: a resumed session keeps the identity of the first handshake, also after
that certificate has expired, and connections of a mesh live long enough to pay for a full one.
Sources: envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext, DownstreamTlsContext.
"""

from collections.abc import Iterable
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import (
    ProxyProtocolConfig,
    ProxyProtocolConfigVersion,
    TransportSocket,
)
from envoy_data_plane.envoy.extensions.transport_sockets.proxy_protocol.v3 import (
    ProxyProtocolUpstreamTransport,
)
from envoy_data_plane.envoy.extensions.transport_sockets.raw_buffer.v3 import RawBuffer
from envoy_data_plane.envoy.extensions.transport_sockets.tls.v3 import (
    CertificateValidationContext,
    CommonTlsContext,
    CommonTlsContextCombinedCertificateValidationContext,
    DownstreamTlsContext,
    SdsSecretConfig,
    SubjectAltNameMatcher,
    SubjectAltNameMatcherSanType,
    TlsParameters,
    TlsParametersTlsProtocol,
    UpstreamTlsContext,
)
from envoy_data_plane.envoy.type.matcher.v3 import StringMatcher

from xds import names
from xds.build.config import ADS
from xds.ir.cluster import UpstreamTls
from xds.ir.listener import DownstreamTls
from xds.wire.encode import pack

NOBODY: Final = "plait:nobody"
"""A SAN that no certificate of ours carries; an empty list of matchers would accept every peer."""

PLAIN: Final = TransportSocket(
    name="envoy.transport_sockets.raw_buffer", typed_config=pack(RawBuffer())
)

PROXY_PROTOCOL: Final = TransportSocket(
    name="envoy.transport_sockets.upstream_proxy_protocol",
    typed_config=pack(
        ProxyProtocolUpstreamTransport(
            config=ProxyProtocolConfig(version=ProxyProtocolConfigVersion.V2),
            transport_socket=PLAIN,
        )
    ),
)
"""Plain text that begins with a PROXY header: the client's own two addresses."""

_TLS: Final = "envoy.transport_sockets.tls"
_PARAMETERS: Final = TlsParameters(
    tls_minimum_protocol_version=TlsParametersTlsProtocol.TLSv1_3,
    tls_maximum_protocol_version=TlsParametersTlsProtocol.TLSv1_3,
)
_IDENTITY: Final = SdsSecretConfig(name=names.IDENTITY_SECRET, sds_config=ADS)


def upstream(tls: UpstreamTls) -> TransportSocket:
    """A client side that accepts exactly the SPIFFE ids of ``tls.peers``; of none, nobody."""
    matchers = [StringMatcher(exact=peer) for peer in tls.peers or (NOBODY,)]
    context = UpstreamTlsContext(
        common_tls_context=_common(tls.trust_domain, matchers, tls.alpn),
        sni=tls.sni,
        max_session_keys=0,
    )
    return TransportSocket(name=_TLS, typed_config=pack(context))


def downstream(tls: DownstreamTls) -> TransportSocket:
    """A server side that requires a certificate of the trust domain.

    Raises `ValueError` for any other number of trust domains than one: roots of several domains
    in one context would let each of them vouch for the others.
    """
    if len(tls.trust_domains) != 1:
        raise ValueError(f"one trust domain per chain, not {len(tls.trust_domains)}")
    domain = tls.trust_domains[0]
    matchers = [StringMatcher(prefix=f"spiffe://{domain}/")]
    context = DownstreamTlsContext(
        common_tls_context=_common(domain, matchers, tls.alpn),
        require_client_certificate=True,
        disable_stateless_session_resumption=True,
        disable_stateful_session_resumption=True,
    )
    return TransportSocket(name=_TLS, typed_config=pack(context))


def _common(
    trust_domain: str, matchers: Iterable[StringMatcher], alpn: tuple[str, ...]
) -> CommonTlsContext:
    uri = SubjectAltNameMatcherSanType.URI
    return CommonTlsContext(
        tls_params=_PARAMETERS,
        tls_certificate_sds_secret_configs=[_IDENTITY],
        combined_validation_context=CommonTlsContextCombinedCertificateValidationContext(
            default_validation_context=CertificateValidationContext(
                match_typed_subject_alt_names=[
                    SubjectAltNameMatcher(san_type=uri, matcher=matcher) for matcher in matchers
                ]
            ),
            validation_context_sds_secret_config=SdsSecretConfig(
                name=names.roots_secret(trust_domain), sds_config=ADS
            ),
        ),
        alpn_protocols=list(alpn),
    )
