"""TrafficPolicy: how sidecars spread load over a Service port and protect it.

Layers: port (sectionName), Service, namespace, mesh. ``loadBalancing`` and ``outlierDetection``
are taken whole, since their fields only make sense together; limits of ``circuitBreakers`` and
``connection`` are merged one by one.
"""

from typing import Any, Final

from controlplane.api.policy import Algorithm, HashSource, LoadBalancingSpec, TrafficPolicySpec
from controlplane.graph import Reader, query
from controlplane.translate.policies.attachment import Bucket, layer
from controlplane.translate.policies.order import Setting, Settings, layered, sources
from controlplane.translate.scope import PortRef
from controlplane.translate.services import service_port
from controlplane.world.rows import Object
from controlplane.world.schema import MESH_BUCKET, TRAFFIC_POLICIES_BY_TARGET
from xds.ir.cluster import (
    CircuitBreakers,
    ConnectionSettings,
    Hashed,
    LeastRequest,
    LoadBalancing,
    OutlierDetection,
    Random,
    RoundRobin,
)
from xds.ir.route import HashOn

KIND: Final = "TrafficPolicy"


def flatten(row: Object[TrafficPolicySpec]) -> Settings:
    """The fields that a policy sets, by their path in spec."""
    spec = row.spec
    values: dict[str, Any] = {
        "loadBalancing": spec.load_balancing,
        "outlierDetection": spec.outlier_detection,
    }
    if breakers := spec.circuit_breakers:
        values["circuitBreakers.maxConnections"] = breakers.max_connections
        values["circuitBreakers.maxPendingRequests"] = breakers.max_pending_requests
        values["circuitBreakers.maxRequests"] = breakers.max_requests
        values["circuitBreakers.maxRetries"] = breakers.max_retries
    if connection := spec.connection:
        values["connection.connectTimeout"] = connection.connect_timeout
        values["connection.idleTimeout"] = connection.idle_timeout
        values["connection.maxRequestsPerConnection"] = connection.max_requests_per_connection
        if keepalive := connection.tcp_keepalive:
            values["connection.tcpKeepalive.time"] = keepalive.time
            values["connection.tcpKeepalive.interval"] = keepalive.interval
            values["connection.tcpKeepalive.probes"] = keepalive.probes
    source = f"{KIND} {row.key.namespace}/{row.key.name}"
    return tuple(
        Setting(field, value, source)
        for field, value in sorted(values.items())
        if value is not None
    )


@query
def traffic_layer(q: Reader, bucket: Bucket, section: str) -> Settings:
    """Merged settings of the policies of one target and section."""
    return layer(q.find(TRAFFIC_POLICIES_BY_TARGET, bucket), bucket, section, flatten)


@query
def namespace_layer(q: Reader, namespace: str) -> Settings:
    """Settings for all of a namespace: its own over the mesh's."""
    return layered(traffic_layer(q, (namespace,), ""), traffic_layer(q, MESH_BUCKET, ""))


@query
def traffic_settings(q: Reader, ref: PortRef) -> Settings:
    """Settings in effect for a Service port."""
    bucket = (ref.namespace, "Service", ref.service)
    port = service_port(q, ref)
    named = traffic_layer(q, bucket, port.name) if port and port.name else ()
    return layered(
        named,
        traffic_layer(q, bucket, str(ref.port)),
        traffic_layer(q, bucket, ""),
        namespace_layer(q, ref.namespace),
    )


@query
def traffic_sources(q: Reader, ref: PortRef) -> tuple[str, ...]:
    """``TrafficPolicy namespace/name`` of the policies in effect, for access logs."""
    return sources(traffic_settings(q, ref))


def _balancing(spec: LoadBalancingSpec | None) -> LoadBalancing:
    match spec.algorithm if spec else Algorithm.LEAST_REQUEST:
        case Algorithm.ROUND_ROBIN:
            return RoundRobin()
        case Algorithm.RANDOM:
            return Random()
        case Algorithm.RING_HASH:
            return Hashed("ring-hash")
        case Algorithm.MAGLEV:
            return Hashed("maglev")
        case _:
            return LeastRequest()


@query
def balancing(q: Reader, ref: PortRef) -> LoadBalancing:
    return _balancing(_values(traffic_settings(q, ref)).get("loadBalancing"))


@query
def hash_on(q: Reader, ref: PortRef) -> tuple[HashOn, ...]:
    """What routes to a Service port hash; empty unless its balancer is a hashed one."""
    spec: LoadBalancingSpec | None = _values(traffic_settings(q, ref)).get("loadBalancing")
    if spec is None or spec.algorithm not in (Algorithm.RING_HASH, Algorithm.MAGLEV):
        return ()
    found: list[HashOn] = []
    for key in spec.hash_on:
        match key.source:
            case HashSource.HEADER:
                found.append(HashOn("header", key.name))
            case HashSource.COOKIE:
                found.append(HashOn("cookie", key.name))
            case HashSource.SOURCE_ADDRESS:
                found.append(HashOn("source-address"))
    return tuple(found)


@query
def breakers(q: Reader, ref: PortRef) -> CircuitBreakers:
    values = _values(traffic_settings(q, ref))
    return CircuitBreakers(
        max_connections=values.get("circuitBreakers.maxConnections"),
        max_pending_requests=values.get("circuitBreakers.maxPendingRequests"),
        max_requests=values.get("circuitBreakers.maxRequests"),
        max_retries=values.get("circuitBreakers.maxRetries"),
    )


@query
def outliers(q: Reader, ref: PortRef) -> OutlierDetection | None:
    spec = _values(traffic_settings(q, ref)).get("outlierDetection")
    if spec is None:
        return None
    default = OutlierDetection()
    return OutlierDetection(
        consecutive_5xx=spec.consecutive_5xx,
        consecutive_gateway_errors=spec.consecutive_gateway_errors,
        interval=spec.interval or default.interval,
        base_ejection_time=spec.base_ejection_time or default.base_ejection_time,
        max_ejection_percent=spec.max_ejection_percent,
    )


@query
def connection(q: Reader, ref: PortRef) -> ConnectionSettings:
    values = _values(traffic_settings(q, ref))
    return ConnectionSettings(
        connect_timeout=values.get(
            "connection.connectTimeout", ConnectionSettings().connect_timeout
        ),
        idle_timeout=values.get("connection.idleTimeout"),
        max_requests_per_connection=values.get("connection.maxRequestsPerConnection"),
        keepalive_time=values.get("connection.tcpKeepalive.time"),
        keepalive_interval=values.get("connection.tcpKeepalive.interval"),
        keepalive_probes=values.get("connection.tcpKeepalive.probes"),
    )


def _values(settings: Settings) -> dict[str, Any]:
    return {setting.field: setting.value for setting in settings}
