"""Filter chains and what they match (envoy.config.listener.v3.FilterChain)."""

from datetime import timedelta
from ipaddress import ip_network

from envoy_data_plane.envoy.config.core.v3 import CidrRange
from envoy_data_plane.envoy.config.listener.v3 import Filter, FilterChain, FilterChainMatch

from xds.build import tls
from xds.build.http import connection_manager
from xds.build.tcp import by_destination, first_contact, tcp_proxy
from xds.ir.listener import ByDestination, Chain, FirstContact, Http, Tcp


def filter_chain(source: Chain, bucket: timedelta, *, matching: bool = True) -> FilterChain:
    """One chain; without its conditions when ``matching`` is false (the default chain)."""
    return FilterChain(
        name=source.name,
        filter_chain_match=_match(source) if matching else None,
        filters=_filters(source, bucket),
        transport_socket=None if source.tls is None else tls.downstream(source.tls),
    )


def _filters(source: Chain, bucket: timedelta) -> list[Filter]:
    match source.filters:
        case Http() as http:
            return [connection_manager(http, bucket)]
        case Tcp() as tcp:
            return tcp_proxy(tcp, authenticated=source.tls is not None)
        case FirstContact() as asking:
            return first_contact(asking, bucket)
        case ByDestination() as named:
            return by_destination(named)


def _match(source: Chain) -> FilterChainMatch | None:
    """TLS chains match TLS and their ALPN; a chain without conditions what is left over."""
    transport = "tls" if source.tls is not None else source.transport
    port, ranges = source.destination_port, source.ranges
    if not (transport or source.alpn or ranges) and port is None:
        return None
    return FilterChainMatch(
        destination_port=port,
        prefix_ranges=[_range(text) for text in ranges],
        server_names=list(source.server_names),
        transport_protocol=transport,
        application_protocols=list(source.alpn),
    )


def _range(text: str) -> CidrRange:
    network = ip_network(text, strict=False)
    return CidrRange(address_prefix=str(network.network_address), prefix_len=network.prefixlen)
