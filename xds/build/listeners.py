"""Listeners (envoy.config.listener.v3.Listener)."""

from datetime import timedelta
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import TrafficDirection
from envoy_data_plane.envoy.config.listener.v3 import (
    FilterChain,
    FilterChainMatch,
    ListenerFilter,
)
from envoy_data_plane.envoy.config.listener.v3 import Listener as EnvoyListener
from envoy_data_plane.envoy.extensions.filters.listener.http_inspector.v3 import HttpInspector
from envoy_data_plane.envoy.extensions.filters.listener.tls_inspector.v3 import TlsInspector

from xds import types
from xds.build import tls
from xds.build.access_log import refused_log
from xds.build.config import address
from xds.build.http import connection_manager
from xds.build.tcp import tcp_proxy
from xds.ir.listener import Chain, Direction, Http, Listener
from xds.wire.encode import encode, pack
from xds.wire.resource import Resource, make

SILENCE: Final = timedelta(seconds=1)
"""How long a listener with inspectors and a plaintext chain waits for a client that says nothing.
After it the connection counts as plaintext: protocols where the server speaks first need that. It
must be long against the scheduling delays of a busy machine, or mTLS would be taken for plaintext.
"""

_DIRECTION: Final = {
    Direction.INBOUND: TrafficDirection.INBOUND,
    Direction.OUTBOUND: TrafficDirection.OUTBOUND,
}
_TLS_INSPECTOR: Final = ListenerFilter(
    name="envoy.filters.listener.tls_inspector", typed_config=pack(TlsInspector())
)
_HTTP_INSPECTOR: Final = ListenerFilter(
    name="envoy.filters.listener.http_inspector", typed_config=pack(HttpInspector())
)


def listener(source: Listener, bucket: timedelta) -> Resource:
    """Build one listener. ``bucket`` is the length of the time bucket in names asked for on demand
    (below a minute every second is one, below an hour every minute)."""
    inspectors = [_TLS_INSPECTOR] * source.inspect_tls + [_HTTP_INSPECTOR] * source.inspect_http
    plain = any(chain.tls is None for chain in source.chains)
    message = EnvoyListener(
        name=source.name,
        address=address(source.address, source.port),
        traffic_direction=_DIRECTION[source.direction],
        listener_filters=inspectors,
        listener_filters_timeout=SILENCE if inspectors and plain else None,
        continue_on_listener_filters_timeout=bool(inspectors) and plain,
        filter_chains=[_chain(chain, bucket) for chain in source.chains],
        # With reuse two Envoys of one uid would share an address without an error.
        enable_reuse_port=False,
        access_log=[refused_log(source.name, source.direction)],
    )
    return make(types.LISTENER, source.name, encode(message))


def _chain(source: Chain, bucket: timedelta) -> FilterChain:
    match source.filters:
        case Http() as http:
            network = connection_manager(http, bucket)
        case tcp:
            network = tcp_proxy(tcp, authenticated=source.tls is not None)
    return FilterChain(
        name=source.name,
        filter_chain_match=_match(source),
        filters=[network],
        transport_socket=None if source.tls is None else tls.downstream(source.tls),
    )


def _match(source: Chain) -> FilterChainMatch | None:
    """TLS chains match TLS and their ALPN; a chain without either matches what is left over."""
    if source.tls is None and not source.alpn:
        return None
    return FilterChainMatch(
        transport_protocol="" if source.tls is None else "tls",
        application_protocols=list(source.alpn),
    )
