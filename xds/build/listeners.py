"""Listeners (envoy.config.listener.v3.Listener).

Replicas, and in proxy mode all workloads, have listeners that differ in their address alone:
everything else is built once and kept as bytes (fields may stand in any order on the wire).
"""

from dataclasses import replace
from datetime import timedelta
from functools import lru_cache
from typing import Final

from envoy_data_plane.envoy.config.core.v3 import TrafficDirection
from envoy_data_plane.envoy.config.listener.v3 import Listener as EnvoyListener
from envoy_data_plane.envoy.config.listener.v3 import (
    ListenerFilter,
    ListenerFilterChainMatchPredicate,
    ListenerFilterChainMatchPredicateMatchSet,
)
from envoy_data_plane.envoy.extensions.filters.listener.http_inspector.v3 import HttpInspector
from envoy_data_plane.envoy.extensions.filters.listener.original_dst.v3 import OriginalDst
from envoy_data_plane.envoy.extensions.filters.listener.proxy_protocol.v3 import ProxyProtocol
from envoy_data_plane.envoy.extensions.filters.listener.tls_inspector.v3 import TlsInspector
from envoy_data_plane.envoy.type.v3 import Int32Range

from xds import types
from xds.build.access_log import refused_log
from xds.build.chains import filter_chain
from xds.build.config import address
from xds.ir.listener import Direction, Listener
from xds.wire.encode import encode, pack
from xds.wire.resource import Resource, make
from xds.wire.varint import delimited

_ADDRESS: Final = 2
"""Field number of Listener.address."""
SILENCE: Final = timedelta(seconds=1)
"""How long a listener with inspectors and a plaintext chain waits for a client that says nothing.
After it the connection counts as plaintext: protocols where the server speaks first need that. It
must be long against the scheduling delays of a busy machine, or mTLS would be taken for plaintext.
"""

_DIRECTION: Final = {
    Direction.INBOUND: TrafficDirection.INBOUND,
    Direction.OUTBOUND: TrafficDirection.OUTBOUND,
}
_ORIGINAL_DST: Final = ListenerFilter(
    name="envoy.filters.listener.original_dst", typed_config=pack(OriginalDst())
)
_PROXY_PROTOCOL: Final = ListenerFilter(
    name="envoy.filters.listener.proxy_protocol", typed_config=pack(ProxyProtocol())
)
_TLS_INSPECTOR: Final = ListenerFilter(
    name="envoy.filters.listener.tls_inspector", typed_config=pack(TlsInspector())
)


def listener(source: Listener, bucket: timedelta) -> Resource:
    """Build one listener. ``bucket`` is the length of the time bucket in names asked for on demand
    (below a minute every second is one, below an hour every minute)."""
    where = encode(address(source.address, source.port, source.ipv4_compat))
    body = _anywhere(replace(source, address=""), bucket) + delimited(_ADDRESS, where)
    return make(types.LISTENER, source.name, body)


@lru_cache(maxsize=1024)
def _anywhere(source: Listener, bucket: timedelta) -> bytes:
    """A listener without its address."""
    inspects = source.inspect_tls or source.inspect_http
    every = (*source.chains, *([source.default] if source.default else ()))
    waits = inspects and any(chain.tls is None for chain in every)
    message = EnvoyListener(
        name=source.name,
        traffic_direction=_DIRECTION[source.direction],
        listener_filters=_listener_filters(source),
        listener_filters_timeout=(source.silence or SILENCE) if waits else None,
        continue_on_listener_filters_timeout=waits,
        use_original_dst=True if source.use_original_dst else None,
        filter_chains=[filter_chain(chain, bucket) for chain in source.chains],
        default_filter_chain=(
            filter_chain(source.default, bucket, matching=False) if source.default else None
        ),
        **_binding(source),
    )
    return encode(message)


def _binding(source: Listener) -> dict[str, object]:
    """What depends on whether it has a socket. One without takes what another listener accepted:
    there is nothing that it refuses, and one such listener per destination should be small."""
    if not source.bind_to_port:
        return {"bind_to_port": False}
    return {
        # With reuse two Envoys of one uid would share an address without an error.
        "enable_reuse_port": False,
        "access_log": [refused_log(source.name, source.direction)],
    }


def _listener_filters(source: Listener) -> list[ListenerFilter]:
    """What restores addresses stands before what looks at them and at the first bytes."""
    return (
        [_ORIGINAL_DST] * source.original_dst
        + [_PROXY_PROTOCOL] * source.proxy_protocol
        + [_TLS_INSPECTOR] * source.inspect_tls
        + [_http_inspector(source.inspect_http_ports)] * source.inspect_http
    )


def _http_inspector(ports: tuple[int, ...]) -> ListenerFilter:
    """On these destination ports only, so that servers of others may speak first at once."""
    return ListenerFilter(
        name="envoy.filters.listener.http_inspector",
        typed_config=pack(HttpInspector()),
        filter_disabled=(
            ListenerFilterChainMatchPredicate(not_match=_any_port(ports)) if ports else None
        ),
    )


def _any_port(ports: tuple[int, ...]) -> ListenerFilterChainMatchPredicate:
    rules = [
        ListenerFilterChainMatchPredicate(destination_port_range=Int32Range(start=p, end=p + 1))
        for p in ports
    ]
    if len(rules) == 1:  # a set of rules needs two
        return rules[0]
    return ListenerFilterChainMatchPredicate(
        or_match=ListenerFilterChainMatchPredicateMatchSet(rules=rules)
    )
