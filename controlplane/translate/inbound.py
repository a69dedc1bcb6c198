"""Inbound in proxy mode: a listener per port on the pod's address, forwarding to the application.

Chains match on ALPN, and every port has all of them: a change of a port's protocol breaks no client
that still has the older configuration. What is spoken to the application: HTTP/1.1 on a port
declared http, HTTP/2 on one declared http2 or grpc, what the client spoke on an undeclared one.
"""

from datetime import timedelta
from typing import Final, NamedTuple

from controlplane.graph import Reader, query
from controlplane.translate import mesh
from controlplane.translate.clusters import TCP_ALPN
from controlplane.translate.endpoints import target_port
from controlplane.translate.instances import instance, labels_of
from controlplane.translate.policies.mutual_tls import strict
from controlplane.translate.protocols import Protocol, protocol_of
from controlplane.translate.services import shape
from controlplane.translate.workloads import PROXY_LOOP_PORT, PROXY_PORT, Workload, workload
from controlplane.world.rows import Key, Labels
from controlplane.world.schema import SERVICES_BY_SELECTOR, label_buckets
from xds.ir.cluster import CircuitBreakers, ConnectionSettings, StaticCluster, Wire
from xds.ir.listener import Chain, Codec, Direction, DownstreamTls, Http, Listener, Tcp
from xds.ir.route import Backend, Forward, Match, Route, RouteTable, VirtualHost
from xds.names import inbound_cluster, inbound_listener

H1_ALPN: Final = "plait-h1"
H2_ALPN: Final = "plait-h2"
W1_ALPN: Final = "plait-w1"
GRPC_ALPN: Final = "h2"
"""What gRPC's own client offers, which has certificates of the mesh and no sidecar."""
GRPC_CHAIN: Final = "plait-grpc"
GRPC_NAMES: Final = (f"*.{mesh.PROXYLESS_DOMAIN}",)
HTTP1_ALPN: Final = ("http/1.0", "http/1.1")
H2C_ALPN: Final = ("h2c",)
"""What Envoy's HTTP inspector reports for plain text."""

_APP_IDLE: Final = timedelta(milliseconds=1500)
"""Servers close idle connections after 2 s (gunicorn), 5 s (Node.js, uvicorn) or more. The sidecar
closes first, or a request would now and then meet a closing connection and fail."""

_UNLIMITED: Final = CircuitBreakers(*([4_294_967_295] * 4))
"""Limits are the client's (TrafficPolicy); Envoy's default of 1,024 would be one of its own."""

_WIRES: Final = {"h1": Wire.HTTP1, "h2": Wire.HTTP2, "tcp": Wire.TCP}


class InboundPort(NamedTuple):
    port: int
    protocol: Protocol


@query
def services_of(q: Reader, cluster: str, namespace: str, labels: Labels) -> tuple[Key, ...]:
    """Services whose selector matches a pod's labels, sorted."""
    carried = set(labels)
    return tuple(
        sorted(
            {
                row.key
                for bucket in label_buckets(namespace, labels)
                for row in q.find(SERVICES_BY_SELECTOR, bucket)
                if row.key.cluster == cluster and carried.issuperset(row.selector)
            }
        )
    )


@query
def declared_ports(q: Reader, pod: Key) -> tuple[InboundPort, ...]:
    """Container ports and the target ports of selecting Services, by number.

    The protocol is what the Services declare: a declared one before an undeclared one, else the
    first by Service. A port that no Service names goes by its own name.
    """
    found = instance(q, pod)
    if found is None:
        return ()
    ports = {port.port: protocol_of("", port.name) for port in found.ports}
    declared: dict[int, Protocol] = {}
    for key in services_of(q, pod.cluster, pod.namespace, found.labels):
        service = shape(q, key)
        for port in service.ports if service else ():
            number = target_port(q, pod, port.target, port.port)
            if number is None:
                continue
            protocol = protocol_of(port.app_protocol, port.name)
            if declared.get(number, Protocol.UNDECLARED) is Protocol.UNDECLARED:
                declared[number] = protocol
    return tuple(InboundPort(*item) for item in sorted({**ports, **declared}.items()))


@query
def inbound_ports(q: Reader, pod: Key) -> tuple[InboundPort, ...]:
    """The declared ports that the sidecar serves: not those that it needs itself."""
    return tuple(p for p in declared_ports(q, pod) if p.port not in (PROXY_PORT, PROXY_LOOP_PORT))


@query
def inbound_protocol(q: Reader, pod: Key, port: int) -> Protocol | None:
    return next((p.protocol for p in inbound_ports(q, pod) if p.port == port), None)


@query
def inbound_strict(q: Reader, pod: Key) -> bool:
    labels = labels_of(q, pod)
    return labels is not None and strict(q, pod.namespace, labels)


def app_wires(protocol: Protocol) -> tuple[str, ...]:
    """The kinds of cluster that a port's chains lead to."""
    match protocol:
        case Protocol.HTTP:
            return ("h1", "tcp")
        case Protocol.HTTP2:
            return ("h2", "tcp")
        case _:
            return ("h1", "h2", "tcp")


def _http(port: int, name: str, wire: str, codec: Codec, limit: timedelta | None) -> Http:
    cluster = inbound_cluster(port, wire)
    route = Route("inbound", Match(), Forward((Backend(cluster),)))
    return Http(
        stat_prefix=inbound_listener(port),
        codec=codec,
        routes=RouteTable(name, (VirtualHost("app", ("*",), (route,)),)),
        direction=Direction.INBOUND,
        max_connection_duration=limit,
        forward_client_identity=True,
    )


def _tls_chains(port: int, protocol: Protocol, domain: str, limit: timedelta) -> tuple[Chain, ...]:
    def chain(alpn: str, filters: Http | Tcp, name: str = "", sni: tuple[str, ...] = ()) -> Chain:
        tls = DownstreamTls((domain,), (alpn,))
        return Chain(name or alpn, filters, (alpn,), tls, server_names=sni)

    one = "h2" if protocol is Protocol.HTTP2 else "h1"
    two = "h1" if protocol is Protocol.HTTP else "h2"
    tcp = Tcp(inbound_listener(port), inbound_cluster(port, "tcp"), Direction.INBOUND)
    chains = (
        chain(H1_ALPN, _http(port, H1_ALPN, one, Codec.HTTP2, limit)),
        chain(H2_ALPN, _http(port, H2_ALPN, two, Codec.HTTP2, limit)),
        chain(W1_ALPN, _http(port, W1_ALPN, one, Codec.HTTP1, limit)),
        chain(TCP_ALPN, tcp),
    )
    if protocol is Protocol.HTTP2:
        http = _http(port, GRPC_CHAIN, "h2", Codec.HTTP2, limit)
        return (*chains, chain(GRPC_ALPN, http, GRPC_CHAIN, GRPC_NAMES))
    return chains


def _plain_chains(port: int, protocol: Protocol) -> tuple[Chain, ...]:
    """Plain text; one for TCP stands last and is the default chain, which takes the application's
    own TLS as well: Envoy never gives TLS to a chain without conditions beside one that asks for
    it."""
    tcp = Tcp(inbound_listener(port), inbound_cluster(port, "tcp"), Direction.INBOUND)
    match protocol:
        case Protocol.HTTP | Protocol.HTTP2:
            wire = "h1" if protocol is Protocol.HTTP else "h2"
            return (Chain("plain", _http(port, "plain", wire, Codec.AUTO, None)),)
        case Protocol.UNDECLARED:
            return (
                Chain("plain-h1", _http(port, "plain-h1", "h1", Codec.HTTP1, None), HTTP1_ALPN),
                Chain("plain-h2", _http(port, "plain-h2", "h2", Codec.HTTP2, None), H2C_ALPN),
                Chain("plain", tcp),
            )
        case _:
            return (Chain("plain", tcp),)


@query
def inbound_listener_ir(q: Reader, pod: Key, port: int) -> Listener | None:
    """The listener ``in|port`` of a pod in proxy mode; None when the pod has no such port.

    Strict: there is no plain chain, so a connection that is not mTLS finds none and is closed.
    """
    found, protocol = workload(q, pod), inbound_protocol(q, pod, port)
    if found is None or protocol is None or not found.address:
        return None
    refuse_plain = inbound_strict(q, pod)
    chains = _tls_chains(port, protocol, found.scope.trust_domain, mesh.connection_lifetime(q))
    default = None
    if not refuse_plain:
        chains = (*chains, *_plain_chains(port, protocol))
        if isinstance(chains[-1].filters, Tcp):
            *others, default = chains
            chains = tuple(others)
    return Listener(
        name=inbound_listener(port),
        address=found.address,
        port=port,
        direction=Direction.INBOUND,
        chains=chains,
        inspect_tls=True,
        inspect_http=protocol is Protocol.UNDECLARED and not refuse_plain,
        default=default,
    )


@query
def inbound_cluster_ir(q: Reader, pod: Key, port: int, wire: str) -> StaticCluster | None:
    """The cluster ``in|port|wire``: the application's own port."""
    found: Workload | None = workload(q, pod)
    if found is None or not found.app_address or inbound_protocol(q, pod, port) is None:
        return None
    connection = ConnectionSettings(idle_timeout=None if wire == "tcp" else _APP_IDLE)
    return StaticCluster(
        inbound_cluster(port, wire), found.app_address, port, _WIRES[wire], connection, _UNLIMITED
    )
