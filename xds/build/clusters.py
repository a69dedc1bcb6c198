"""Clusters (envoy.config.cluster.v3.Cluster).

Answers on demand differ in their names and each Service's cluster in its names and identities; what
they have in common is built once and kept as bytes (fields may stand in any order on the wire).
"""

from dataclasses import replace
from functools import lru_cache
from typing import Final

from envoy_data_plane.envoy.config.cluster.v3 import (
    Cluster,
    ClusterDiscoveryType,
    ClusterDnsLookupFamily,
    ClusterEdsClusterConfig,
    ClusterLbPolicy,
    ClusterTransportSocketMatch,
)
from envoy_data_plane.envoy.config.core.v3 import (
    BindConfig,
    ExtraSourceAddress,
    SocketAddress,
    TransportSocket,
)
from envoy_data_plane.envoy.config.endpoint.v3 import (
    ClusterLoadAssignment,
    Endpoint,
    LbEndpoint,
    LocalityLbEndpoints,
)

from xds import types
from xds.build import tls
from xds.build.balancing import LAST_RESORT, balancing, breakers, outliers
from xds.build.config import ADS, address, struct
from xds.build.protocols import keepalive, upstream_options
from xds.ir import cluster as ir
from xds.wire.encode import encode
from xds.wire.resource import Resource, make
from xds.wire.varint import delimited

TLS_MATCH: Final = "tls"
"""Key of the endpoint metadata ``envoy.transport_socket_match`` that selects mutual TLS."""
TLS_VALUE: Final = "mtls"

FIRST: Final = "first"
"""Name in statistics of all answers that lead nowhere for good: loops and nothing."""
_LOOPBACK: Final = "127.0.0.1"
_LOAD_ASSIGNMENT: Final = 33
"""Field number of Cluster.load_assignment."""


def cluster(source: ir.Cluster) -> Resource:
    """Build one cluster; its name and version are those of the resource."""
    match source:
        case ir.EdsCluster():
            body = encode(_eds(source)) + _settings(source.wire, source.connection, source.breakers)
        case ir.OriginalDstCluster():
            body = encode(_original_dst(source))
        case ir.StaticCluster():
            body = _static(source)
        case ir.DnsCluster():
            body = encode(_dns(source))
    return make(types.CLUSTER, source.name, body)


def asked_cluster(name: str, host: str, port: int) -> Resource:
    """The answer to a name asked for on demand: the loop listener at ``host``:``port``, in the
    protocol of the client. ``name`` is used as it was asked, whatever it is."""
    return cluster(ir.StaticCluster(name, host, port, ir.Wire.AS_CLIENT))


def asked_loop(name: str, port: int) -> Resource:
    """The answer to ``f|...`` of a destination that speaks HTTP, or of which it is not declared
    what it speaks: the connection goes through the listener on 127.0.0.1:``port`` and tells it by
    PROXY protocol where it was going."""
    loop = ir.StaticCluster(
        name, _LOOPBACK, port, ir.Wire.TCP, proxy_protocol=True, stat_name=FIRST
    )
    return cluster(loop)


def asked_backend(name: str, backend: ir.EdsCluster | ir.OriginalDstCluster) -> Resource:
    """The answer to ``f|...`` of a TCP or TLS destination: its backend under the name asked for.
    Both count together in statistics, so connections that stay on it show as use."""
    return cluster(replace(backend, name=name, stat_name=backend.stat_name or backend.name))


def asked_nothing(name: str) -> Resource:
    """The answer to ``f|...`` where nothing is: connections are closed at once."""
    return cluster(ir.StaticCluster(name, "", 0, ir.Wire.TCP, stat_name=FIRST))


def _eds(source: ir.EdsCluster) -> Cluster:
    return Cluster(
        name=source.name,
        alt_stat_name=source.stat_name,
        type=ClusterDiscoveryType.EDS,
        eds_cluster_config=ClusterEdsClusterConfig(eds_config=ADS, service_name=source.endpoints),
        outlier_detection=outliers(source.outliers),
        load_balancing_policy=balancing(source.balancing),
        common_lb_config=LAST_RESORT,
        transport_socket_matches=_sockets(source.tls),
    )


@lru_cache(maxsize=1024)
def _settings(
    wire: ir.Wire, connection: ir.ConnectionSettings, limits: ir.CircuitBreakers
) -> bytes:
    """The fields of a cluster that are no one's in particular."""
    return encode(
        Cluster(
            connect_timeout=connection.connect_timeout,
            circuit_breakers=breakers(limits),
            typed_extension_protocol_options=upstream_options(wire, connection),
            upstream_connection_options=keepalive(connection),
        )
    )


def _sockets(upstream: ir.UpstreamTls | None) -> list[ClusterTransportSocketMatch]:
    """Mutual TLS to endpoints marked so, plain text to the rest; the first match counts."""
    if upstream is None:
        return []
    return [
        ClusterTransportSocketMatch(
            name="mtls",
            match=struct({TLS_MATCH: TLS_VALUE}),
            transport_socket=tls.upstream(upstream),
        ),
        ClusterTransportSocketMatch(name="plain", match=struct({}), transport_socket=tls.PLAIN),
    ]


def _original_dst(source: ir.OriginalDstCluster) -> Cluster:
    return Cluster(
        name=source.name,
        alt_stat_name=source.stat_name,
        type=ClusterDiscoveryType.ORIGINAL_DST,
        lb_policy=ClusterLbPolicy.CLUSTER_PROVIDED,
        connect_timeout=source.connection.connect_timeout,
        circuit_breakers=breakers(source.breakers),
        transport_socket=None if source.tls is None else tls.upstream(source.tls),
        upstream_bind_config=_bound(source.sources),
        typed_extension_protocol_options=upstream_options(source.wire, source.connection),
        upstream_connection_options=keepalive(source.connection),
    )


def _bound(sources: tuple[str, ...]) -> BindConfig | None:
    """Envoy takes the first address of the destination's family."""
    if not sources:
        return None
    first, *others = (SocketAddress(address=each, port_value=0) for each in sources)
    return BindConfig(
        source_address=first,
        extra_source_addresses=[ExtraSourceAddress(address=each) for each in others],
    )


def _static(source: ir.StaticCluster) -> bytes:
    name = delimited(1, source.name.encode())
    assignment = delimited(_LOAD_ASSIGNMENT, name + _only(source.address, source.port))
    return name + assignment + _nameless(replace(source, name="", address="", port=0))


@lru_cache(maxsize=1024)
def _nameless(source: ir.StaticCluster) -> bytes:
    """A static cluster without its name and its endpoint."""
    own = Cluster(
        alt_stat_name=source.stat_name,
        type=ClusterDiscoveryType.STATIC,
        transport_socket=_socket(source),
    )
    return encode(own) + _settings(source.wire, source.connection, source.breakers)


@lru_cache(maxsize=16384)
def _only(host: str, port: int) -> bytes:
    """The fields of a load assignment beside its name."""
    return encode(_fixed("", host, port))


def _socket(source: ir.StaticCluster) -> TransportSocket | None:
    if source.proxy_protocol:
        return tls.PROXY_PROTOCOL
    return None if source.tls is None else tls.upstream(source.tls)


def _dns(source: ir.DnsCluster) -> Cluster:
    return Cluster(
        name=source.name,
        type=ClusterDiscoveryType.STRICT_DNS,
        # AUTO takes IPv6 alone when a name has both, also where IPv6 leads nowhere.
        dns_lookup_family=ClusterDnsLookupFamily.V4_PREFERRED,
        connect_timeout=source.connection.connect_timeout,
        load_assignment=_fixed(source.name, source.host, source.port),
        typed_extension_protocol_options=upstream_options(source.wire, source.connection),
        upstream_connection_options=keepalive(source.connection),
    )


def _fixed(name: str, host: str, port: int) -> ClusterLoadAssignment:
    """One endpoint, or none when ``host`` is empty: then every request is refused with UH."""
    if not host:
        return ClusterLoadAssignment(cluster_name=name)
    only = LbEndpoint(endpoint=Endpoint(address=address(host, port)))
    return ClusterLoadAssignment(
        cluster_name=name, endpoints=[LocalityLbEndpoints(lb_endpoints=[only])]
    )
