"""Listeners and their filter chains."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

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
class Chain:
    """A filter chain; it matches on ALPN when ``alpn`` is given, else on anything."""

    name: str
    filters: Http | Tcp
    alpn: tuple[str, ...] = ()
    tls: DownstreamTls | None = None


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
