"""Listeners and their filter chains."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from xds.ir.route import RouteTable


class Codec(StrEnum):
    AUTO = "auto"
    HTTP1 = "http1"
    HTTP2 = "http2"


class Direction(StrEnum):
    INBOUND = "inbound"
    OUTBOUND = "outbound"


@dataclass(frozen=True, slots=True)
class DownstreamTls:
    """Inbound mTLS: a client certificate of ``trust_domains`` is required."""

    trust_domains: tuple[str, ...]
    alpn: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Http:
    """An HTTP connection manager."""

    stat_prefix: str
    codec: Codec
    routes: RouteTable | str
    """Inline, or the name of a route configuration that comes over RDS."""
    direction: Direction
    asks: bool = False
    """Proxy mode: unknown authorities are asked for (early header ``x-plait-ask``, on_demand)."""
    stamp_destination: bool = False
    """Redirect mode: early header ``x-plait-dst`` says where the connection was going, ``IP:port``;
    one that the client sent is overwritten."""
    max_connection_duration: timedelta | None = None
    max_requests_per_connection: int | None = None
    forward_client_identity: bool = False
    """Inbound: sanitise x-forwarded-client-cert and set it from the peer's certificate."""
    http_slots: tuple[object, ...] = ()
    """Reserved, ordered: authentication, deny, allow, ext_authz, rate limit, extension."""


@dataclass(frozen=True, slots=True)
class Tcp:
    """A tcp_proxy to one cluster."""

    stat_prefix: str
    cluster: str
    direction: Direction
    idle_timeout: timedelta | None = None
    max_connection_duration: timedelta | None = None


@dataclass(frozen=True, slots=True)
class FirstContact:
    """Holds a connection while the cluster ``f|IP:port|bucket`` of its destination is asked for.

    More than ``per_second`` new connections, with bursts of ``burst``, are closed at once.
    """

    stat_prefix: str
    direction: Direction
    per_second: int = 50
    burst: int = 200


@dataclass(frozen=True, slots=True)
class ByDestination:
    """A tcp_proxy to the cluster ``d|IP:port`` of a connection's destination, which must be there:
    it is not asked for."""

    stat_prefix: str
    direction: Direction


Filters = Http | Tcp | FirstContact | ByDestination


@dataclass(frozen=True, slots=True)
class Chain:
    """A filter chain. What is not given matches anything.

    Envoy goes by destination port, then range, server name, transport, ALPN, and never comes back:
    a connection whose port some chain names does not reach a chain without a port (but the default
    one).
    """

    name: str
    filters: Filters
    alpn: tuple[str, ...] = ()
    tls: DownstreamTls | None = None
    destination_port: int | None = None
    ranges: tuple[str, ...] = ()
    """CIDR texts of the destination."""
    server_names: tuple[str, ...] = ()
    """SNI: names, or ``*.suffix``. One that matches here reaches no chain without server names."""
    transport: Literal["", "raw_buffer", "tls"] = ""
    """As the TLS inspector found it; a chain with ``tls`` matches TLS."""


@dataclass(frozen=True, slots=True)
class Listener:
    """Binds ``address``:``port`` with enable_reuse_port false, so that two Envoys of one uid
    cannot share an address silently."""

    name: str
    address: str
    port: int
    direction: Direction
    chains: tuple[Chain, ...]
    inspect_tls: bool = False
    inspect_http: bool = False
    inspect_http_ports: tuple[int, ...] = ()
    """Look for HTTP on these destination ports only; empty: on all."""
    silence: timedelta | None = None
    """How long inspectors wait for a client that says nothing; ``None``: a second."""
    default: Chain | None = None
    """Takes what no other chain matches; its own conditions are not read."""
    bind_to_port: bool = True
    """False: takes only connections that a listener with ``use_original_dst`` hands over."""
    original_dst: bool = False
    """Restore the destination that a connection had before it was redirected."""
    use_original_dst: bool = False
    """Hand connections over to the listener of their original destination, if there is one."""
    proxy_protocol: bool = False
    """Connections begin with a PROXY header, which says where they come from and were going."""
    ipv4_compat: bool = False
    """With address ``::``: take IPv4 too."""
