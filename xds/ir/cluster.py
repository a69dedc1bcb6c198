"""Clusters: what a sidecar may send to, and how."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum


class Wire(StrEnum):
    """What is spoken on an upstream connection."""

    HTTP1 = "http1"
    HTTP2 = "http2"
    AS_CLIENT = "as-client"
    """The protocol of the downstream request (use_downstream_protocol_config)."""
    TCP = "tcp"


@dataclass(frozen=True, slots=True)
class RoundRobin:
    """envoy.extensions.load_balancing_policies.round_robin.v3"""


@dataclass(frozen=True, slots=True)
class LeastRequest:
    """envoy.extensions.load_balancing_policies.least_request.v3; power of ``choices`` choices."""

    choices: int = 2


@dataclass(frozen=True, slots=True)
class Random:
    """envoy.extensions.load_balancing_policies.random.v3"""


@dataclass(frozen=True, slots=True)
class Hashed:
    """Ring hash or Maglev; the hash itself stands on the routes (`xds.ir.route.HashOn`)."""

    algorithm: str
    """``ring-hash`` or ``maglev``."""


LoadBalancing = RoundRobin | LeastRequest | Random | Hashed


@dataclass(frozen=True, slots=True)
class CircuitBreakers:
    """envoy.config.cluster.v3.CircuitBreakers, default priority. ``None`` keeps Envoy's default."""

    max_connections: int | None = None
    max_pending_requests: int | None = None
    max_requests: int | None = None
    max_retries: int | None = None


@dataclass(frozen=True, slots=True)
class OutlierDetection:
    """envoy.config.cluster.v3.OutlierDetection; only what is set is enforced."""

    consecutive_5xx: int | None = None
    consecutive_gateway_errors: int | None = None
    interval: timedelta = timedelta(seconds=10)
    base_ejection_time: timedelta = timedelta(seconds=30)
    max_ejection_percent: int = 10


@dataclass(frozen=True, slots=True)
class ConnectionSettings:
    """Settings of upstream connections."""

    connect_timeout: timedelta = timedelta(seconds=5)
    idle_timeout: timedelta | None = None
    max_requests_per_connection: int | None = None
    keepalive_time: timedelta | None = None
    keepalive_interval: timedelta | None = None
    keepalive_probes: int | None = None


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    """mTLS to endpoints that have a sidecar; the others are spoken to in plain text."""

    sni: str
    trust_domain: str
    peers: tuple[str, ...]
    """SPIFFE ids that the endpoint may present, sorted. Empty: none is accepted."""
    alpn: tuple[str, ...] = ()
    """Empty for HTTP, where the request's own filter state names it."""


@dataclass(frozen=True, slots=True)
class EdsCluster:
    """A Service port's backend; endpoints come over EDS under ``endpoints``."""

    name: str
    endpoints: str
    wire: Wire
    tls: UpstreamTls | None = None
    balancing: LoadBalancing = field(default_factory=LeastRequest)
    breakers: CircuitBreakers = field(default_factory=CircuitBreakers)
    outliers: OutlierDetection | None = None
    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    stat_name: str = ""
    """Name in statistics; empty: the cluster's own. Clusters of one name count together."""


@dataclass(frozen=True, slots=True)
class OriginalDstCluster:
    """Connections go on to the address that they were made to."""

    name: str
    wire: Wire
    tls: UpstreamTls | None = None
    """Mutual TLS on every connection, or plain text."""
    sources: tuple[str, ...] = ()
    """Bind to the one of these addresses that is of the destination's family."""
    breakers: CircuitBreakers = field(default_factory=CircuitBreakers)
    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    stat_name: str = ""


@dataclass(frozen=True, slots=True)
class StaticCluster:
    """One fixed address: the application behind an inbound port, or a loop listener.

    ``address`` empty makes a cluster without endpoints (BlackHole).
    """

    name: str
    address: str
    port: int
    wire: Wire
    connection: ConnectionSettings = field(default_factory=ConnectionSettings)
    breakers: CircuitBreakers = field(default_factory=CircuitBreakers)
    tls: UpstreamTls | None = None
    proxy_protocol: bool = False
    """Connections begin with a PROXY header (version 2) with the client's two addresses."""
    stat_name: str = ""


@dataclass(frozen=True, slots=True)
class DnsCluster:
    """A host outside the mesh, by name (STRICT_DNS)."""

    name: str
    host: str
    port: int
    wire: Wire
    connection: ConnectionSettings = field(default_factory=ConnectionSettings)


Cluster = EdsCluster | OriginalDstCluster | StaticCluster | DnsCluster
